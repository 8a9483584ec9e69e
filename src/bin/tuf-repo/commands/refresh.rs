//! `refresh`: the cron job.

use chrono::TimeDelta;
use tuf::cli::clock::parse_duration;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::text::shell_word;
use tuf::metadata::RoleName;
use tuf::repository::{Lacking, Repository, RepositoryError, SigningKey};

use super::common::{DryRun, KeyArgs};
use super::edit::{open_past_drafts, some};
use super::write::{execute, over_own_live};
use crate::context::Context;
use crate::failure::failure;

/// Sign roles again that are about to expire, and touch nothing else. If a key of snapshot, timestamp or a role with a refresh
/// window is missing nothing is written. A draft that changes nothing but version and expiry is gone on with. A role that is due
/// and has another draft, or one that cannot be used, is left: the other roles are signed and written, then the exit code is 3.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How soon a role must expire to be signed again [default: refresh of tuf-repo.toml, for each role].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    within: Option<TimeDelta>,

    #[command(flatten)]
    keys: KeyArgs,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(mut args: Args, context: &Context) -> Outcome {
    let mut repository = open_past_drafts(context)?;
    repository.read_due_bins(args.within).map_err(failure)?;
    let due = repository.due(args.within);
    let loaded = if due.is_empty() {
        Vec::new()
    } else {
        args.keys.add_policy_keys(&repository, &[], context)?;
        args.keys.load(context)?
    };
    let keys: Vec<SigningKey<'_>> =
        loaded.iter().map(|key| SigningKey { name: &key.name, signer: key.signer.as_ref() }).collect();
    let edited = repository.due_with_edits(args.within);
    let written =
        repository.plan_refresh(args.within, &keys).map_err(|error| refused(error, &repository, context))?;
    drop(loaded);
    let told = |role: &RoleName| written.warnings.iter().any(|warning| warning.role.as_ref() == Some(role));
    let is_left =
        |role: &&RoleName| !written.roles.contains_key(*role) && !edited.contains(role) && !told(role);
    let left: Vec<&RoleName> = due.iter().filter(is_left).collect();
    for role in &left {
        context.output.warn(&format!("'{role}' is due and is left: its keys are not at hand"));
    }
    let nothing = match (edited.is_empty(), left.is_empty()) {
        (false, _) => "only roles with edits are due",
        (true, false) => "no key at hand signs a role that is due",
        (true, true) => "no role is about to expire",
    };
    execute(context, repository, &written, args.dry_run, nothing)?;
    refuse_edited(&edited)
}

/// Turns a failure of a plan: where signatures are missing, the same refresh with another key makes them.
fn refused(error: RepositoryError, repository: &Repository, context: &Context) -> Failure {
    let roles = match &error {
        RepositoryError::Incomplete(lacking) => Lacking::together(lacking),
        _ => Vec::new(),
    };
    let first = |some: &&[Lacking]| some.first().map(|lacking| lacking.role.to_string());
    let names: Vec<String> = roles.iter().filter_map(first).collect();
    match names.is_empty() {
        true => over_own_live(error, repository, context),
        false => {
            failure(error).with_hint(Hint::again(format!("with a key of {}", some(&names)), "--key KEY"))
        }
    }
}

/// Tells of roles that are due and have drafts that somebody must write or discard.
fn refuse_edited(edited: &[RoleName]) -> Outcome {
    let [first, ..] = edited else { return Ok(()) };
    let names: Vec<String> = edited.iter().map(|role| format!("'{role}'")).collect();
    let verbs = if edited.len() == 1 { "is due and has a draft" } else { "are due and have drafts" };
    Err(Failure::attention(format!(
        "{} {verbs} with more than new dates, or one that cannot be used: left as it is",
        names.join(", ")
    ))
    .with_hint(Hint::explained(
        "write what is drafted, or give it up",
        format!("tuf-repo discard {}", shell_word(first.as_str())),
    )))
}
