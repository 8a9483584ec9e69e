//! `discard`: drops drafts.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;
use tuf::cli::text::one_line;
use tuf::metadata::RoleName;
use tuf::repository::{Execution, InputError, Repository, RepositoryError};

use super::common::DryRun;
use super::edit::{finish, wait};
use crate::context::Context;
use crate::failure::failure;

/// Drop drafts, and with them every edit since the last `write`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The roles [default: all].
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let opened = Repository::open_damaged_locked(&context.repo, context.now, wait(context));
    let mut repository = match opened {
        Ok(repository) => repository,
        // what is written cannot be read, or not understood: drafts go all the same
        Err(
            error @ (RepositoryError::Refused { .. } | RepositoryError::Input(InputError::Policy { .. })),
        ) => {
            return discard_unread(&args, &error, context);
        }
        Err(error) => return Err(failure(error)),
    };
    let roles = repository.find_drafted(&args.roles).map_err(failure)?;
    let dropped = repository.discard(&roles).map_err(failure)?;
    let what = words(&dropped);
    let more = Map::from_iter([("discarded".to_owned(), json!(dropped))]);
    finish(context, repository, args.dry_run, &what, more)
}

fn words(dropped: &[RoleName]) -> String {
    let names: Vec<String> = dropped.iter().map(|role| format!("'{role}'")).collect();
    match names.is_empty() {
        true => "there is no draft".to_owned(),
        false => format!("dropped the drafts of {}", names.join(", ")),
    }
}

fn discard_unread(args: &Args, error: &RepositoryError, context: &Context) -> Outcome {
    let execution = if args.dry_run.dry_run { Execution::DryRun } else { Execution::Real };
    let dropped = Repository::discard_unread(&context.repo, &args.roles, execution, wait(context));
    let dropped = dropped.map_err(failure)?;
    context.output.warn(&one_line(&format!("what is written stays as it is: {error}")));
    let dry = if args.dry_run.dry_run { "Dry run, nothing changed: " } else { "Done: " };
    context.output.talk(&format!("{dry}{}.", words(&dropped)));
    let json = json!({
        "dry_run": args.dry_run.dry_run, "changed": !dropped.is_empty(), "discarded": dropped,
        "dirty": [], "next": [], "put": [],
    });
    context.output.result(String::new, json)
}
