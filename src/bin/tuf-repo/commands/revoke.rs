//! `revoke`: takes a delegation back.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;
use tuf::metadata::RoleName;
use tuf::repository::Repository;

use super::common::DryRun;
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Take a delegation back. The role keeps its place in the snapshot, which old clients need.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role that is trusted no longer, or the prefix of hash bins.
    name: String,

    /// Who delegates to it, where several do.
    #[arg(long, value_name = "ROLE")]
    from: Option<String>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut repository = open_past_drafts(context)?;
    let from = args.from.as_deref().map(|name| repository.find_role(name)).transpose().map_err(failure)?;
    let prefix = RoleName::new(args.name.as_str()).ok();
    if let Some((prefix, set)) =
        prefix.and_then(|prefix| Some((prefix.clone(), repository.find_bins(&prefix)?)))
    {
        let gone = repository.revoke_bins(&set, from.as_ref()).map_err(failure)?;
        let what = format!("the {} hash bins '{prefix}' are trusted no longer", set.bins.number());
        let more =
            Map::from_iter([("role".to_owned(), json!(prefix)), ("unreachable".to_owned(), json!(gone))]);
        return finish(context, repository, args.dry_run, &what, more);
    }
    let role = match repository.find_trusted(&args.name) {
        Err(error) => match (repository.find_left_out(&args.name), repository.find_revoked(&args.name)) {
            (Some(role), _) => role,
            (None, Some(role)) => return finish_revoked(context, repository, args.dry_run, &role),
            (None, None) => return Err(failure(error)),
        },
        Ok(role) => role,
    };
    let gone = repository.revoke(&role, from.as_ref()).map_err(failure)?;
    let also: Vec<String> =
        gone.iter().filter(|other| **other != role).map(|other| format!("'{other}'")).collect();
    let what = match also.is_empty() {
        true => format!("'{role}' is trusted no longer"),
        false => format!("'{role}' is trusted no longer, nor what only it delegated to: {}", also.join(", ")),
    };
    let more = Map::from_iter([("role".to_owned(), json!(role)), ("unreachable".to_owned(), json!(gone))]);
    finish(context, repository, args.dry_run, &what, more)
}

/// A revocation that was killed, or given once more: the files that it left go.
fn finish_revoked(context: &Context, repository: Repository, dry_run: DryRun, role: &RoleName) -> Outcome {
    let none: [&RoleName; 0] = [];
    let more = Map::from_iter([("role".to_owned(), json!(role)), ("unreachable".to_owned(), json!(none))]);
    finish(context, repository, dry_run, &format!("'{role}' is trusted no longer"), more)
}
