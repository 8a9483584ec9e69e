//! `write`: turns drafts into written metadata.

use std::path::PathBuf;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::repository::{Lacking, Repository, RepositoryError, Selection, SigningKey, Written};

use super::common::{DryRun, KeyArgs, key_dir, progress_bytes, show_trust, warn_of};
use super::destination::{Way, folder_options};
use super::edit::{open_damaged, open_locked, some};
use super::next;
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::{failure, failure_over, recover_hint};

/// Write drafts: sign what the keys may sign, derive snapshot and timestamp, check the outcome as a client would, and
/// put it in place. If a signature is missing nothing moves.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The roles [default: all that are dirty].
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,

    #[command(flatten)]
    keys: KeyArgs,

    /// Sign with the keys of this folder that may sign for any role.
    #[arg(long, value_name = "DIR")]
    key_dir: Option<PathBuf>,

    /// Write the roles that are complete and leave the others as drafts.
    #[arg(long)]
    partial: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(mut args: Args, context: &Context) -> Outcome {
    let mut repository = open_locked(context)?;
    let roles = repository.find_roles(&args.roles).map_err(failure)?;
    if let Some(dir) = &args.key_dir {
        args.keys.keys.extend(key_dir(dir, &repository, &[], context)?);
    }
    args.keys.add_policy_keys(&repository, &[], context)?;
    show_trust(&repository, &roles, &args.keys, context);
    let loaded = args.keys.load(context)?;
    let keys: Vec<SigningKey<'_>> =
        loaded.iter().map(|key| SigningKey { name: &key.name, signer: key.signer.as_ref() }).collect();
    let selection = if args.partial { Selection::Complete(roles) } else { Selection::Whole(roles) };
    let written = repository
        .plan_write(&selection, &keys)
        .map_err(|error| over_own_live(error, &repository, context))?;
    drop(loaded);
    execute(context, repository, &written, args.dry_run, "no role is dirty")
}

/// Turns a failure of a plan to write; where the repository's own metadata/ is not of this copy, says how it is taken over.
pub fn over_own_live(error: RepositoryError, repository: &Repository, context: &Context) -> Failure {
    let policy = repository.policy();
    let elsewhere = policy.publish_to().is_some() || policy.publish_apart().is_some();
    // `pull` takes from where it is published, unless it is told
    let own = context.repo.display().to_string();
    let named = |way| elsewhere.then(|| folder_options(way, &own));
    let recover = |roles: &str| recover_hint(roles, named(Way::To).as_deref());
    failure_over(error, named(Way::From).as_deref(), recover)
}

/// Carries a planned `write` out unless it is a dry run, and tells; `nothing` says why there is nothing to do.
pub fn execute(
    context: &Context,
    mut repository: Repository,
    written: &Written,
    dry_run: DryRun,
    nothing: &str,
) -> Outcome {
    // with nothing to write too: what a killed command left behind goes
    if !dry_run.dry_run {
        let bar = progress_bytes(context, written.target_bytes(), "Copying targets");
        repository.execute_write(written, &|bytes| bar.advance(bytes)).map_err(failure)?;
        drop(bar);
    }
    let status = match dry_run.dry_run {
        true => open_damaged(context)?.status().map_err(failure)?,
        false => repository.status().map_err(failure)?,
    };
    drop(repository);
    warn_of(&written.warnings, context);
    let next = next::commands(&status.steps, context);
    let names: Vec<String> =
        written.roles.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let verb = if dry_run.dry_run { "Dry run, nothing changed: would write" } else { "Wrote" };
    let mut line = match names.is_empty() {
        true => format!("Nothing to do: {nothing}."),
        false => format!("{verb} {}.", some(&names)),
    };
    if !written.left.is_empty() {
        let left: Vec<String> = written.left.iter().map(lacking).collect();
        line.push_str(&format!(" Left as drafts: {}.", some(&left)));
    }
    if let Some(next) = next.first() {
        line.push_str(&format!(" Next: {next}"));
    }
    context.output.talk(&line);
    let left: Vec<_> = written.left.iter().map(|lacking| &lacking.role).collect();
    let json = json!({
        "dry_run": dry_run.dry_run,
        "roles": written.roles,
        "put": written.put(),
        "deleted": [],
        "kept": status.roles.len().saturating_sub(written.roles.len()),
        "left": left,
        "warnings": written.warnings.iter().map(finding_json).collect::<Vec<_>>(),
        "next": next,
    });
    let human = || match dry_run.dry_run {
        true => written.put().iter().map(|name| format!("put {name}\n")).collect(),
        false => String::new(),
    };
    context.output.result(human, json)
}

fn lacking(lacking: &Lacking) -> String {
    format!("{} ({} / {} signatures)", lacking.role, lacking.signed, lacking.threshold)
}
