//! `discard`: drops drafts.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;

use super::common::DryRun;
use super::edit::{finish, open_damaged_locked};
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
    let mut repository = open_damaged_locked(context)?;
    let roles = repository.find_drafted(&args.roles).map_err(failure)?;
    let dropped = repository.discard(&roles).map_err(failure)?;
    let names: Vec<String> = dropped.iter().map(|role| format!("'{role}'")).collect();
    let what = match names.is_empty() {
        true => "there is no draft".to_owned(),
        false => format!("dropped the drafts of {}", names.join(", ")),
    };
    let more = Map::from_iter([("discarded".to_owned(), json!(dropped))]);
    finish(context, repository, args.dry_run, &what, more)
}
