//! `remove-targets`: takes files off the list.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;

use super::common::DryRun;
use super::edit::{count, finish, open_past_drafts, some};
use crate::context::Context;
use crate::failure::failure;

/// Take targets off the list. The files stay where they are until `gc` collects their copies.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Patterns of target paths; `*` and `?` do not match a slash.
    #[arg(required = true, value_name = "GLOB")]
    globs: Vec<String>,

    /// The role that lists them [default: every role].
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut repository = open_past_drafts(context)?;
    let role = args.role.as_deref().map(|name| repository.find_lister(name)).transpose().map_err(failure)?;
    let removed = repository.remove_targets(&args.globs, role.as_ref()).map_err(failure)?;
    let total = removed.values().map(Vec::len).sum();
    let roles: Vec<String> = removed.keys().map(|role| format!("'{role}'")).collect();
    let what = format!("{} removed from {}", count(total, "target"), some(&roles));
    let more = Map::from_iter([("removed".to_owned(), json!(removed))]);
    finish(context, repository, args.dry_run, &what, more)
}
