//! `refresh`: the cron job.

use chrono::TimeDelta;
use tuf::cli::clock::parse_duration;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::text::shell_word;
use tuf::metadata::RoleName;
use tuf::repository::SigningKey;

use super::common::{DryRun, KeyArgs};
use super::edit::open_locked;
use super::write::{execute, over_own_live};
use crate::context::Context;
use crate::failure::failure;

/// Sign roles again that are about to expire, and touch nothing else. If a key is missing nothing is written. A draft that
/// changes nothing but version and expiry is gone on with; one that changes more is left, with exit code 3, and the other
/// roles are signed.
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
    let mut repository = open_locked(context)?;
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
    let written = repository
        .plan_refresh(args.within, &keys)
        .map_err(|error| over_own_live(error, &repository, context))?;
    drop(loaded);
    let told = |role: &RoleName| written.warnings.iter().any(|warning| warning.role.as_ref() == Some(role));
    let is_left =
        |role: &&RoleName| !written.roles.contains_key(*role) && !edited.contains(role) && !told(role);
    for role in due.iter().filter(is_left) {
        context
            .output
            .warn(&format!("'{role}' has expired and is left: its keys are not at hand, or it has a draft"));
    }
    let nothing =
        if edited.is_empty() { "no role is about to expire" } else { "only roles with edits are due" };
    execute(context, repository, &written, args.dry_run, nothing)?;
    refuse_edited(&edited)
}

/// Tells of roles that are due and have drafts that somebody must write or discard.
fn refuse_edited(edited: &[RoleName]) -> Outcome {
    let [first, ..] = edited else { return Ok(()) };
    let names: Vec<String> = edited.iter().map(|role| format!("'{role}'")).collect();
    let verbs = if edited.len() == 1 { "is due and has a draft" } else { "are due and have drafts" };
    Err(Failure::attention(format!("{} {verbs} with more than new dates: left as it is", names.join(", ")))
        .with_hint(format!("tuf-repo write, or tuf-repo discard {}", shell_word(first.as_str()))))
}
