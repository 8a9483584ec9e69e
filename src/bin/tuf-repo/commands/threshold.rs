//! `threshold`: sets how many keys of a role must sign.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;

use super::common::{DryRun, Force, threshold};
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Set how many distinct keys of a role must sign.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role.
    role: String,

    /// The number of keys, at least 1.
    #[arg(value_name = "N")]
    threshold: u64,

    /// Who delegates to the role, where several do.
    #[arg(long, value_name = "ROLE")]
    delegator: Option<String>,

    #[command(flatten)]
    force: Force,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut repository = open_past_drafts(context)?;
    let role = repository.find_trusted(&args.role).map_err(failure)?;
    let delegator =
        args.delegator.as_deref().map(|name| repository.find_role(name)).transpose().map_err(failure)?;
    repository
        .set_threshold(&role, threshold(&role, args.threshold)?, delegator.as_ref(), args.force.dead_end())
        .map_err(failure)?;
    let what = format!("the threshold of '{role}' is {}", args.threshold);
    let more =
        Map::from_iter([("role".to_owned(), json!(role)), ("threshold".to_owned(), json!(args.threshold))]);
    finish(context, repository, args.dry_run, &what, more)
}
