//! `remove-key`: distrusts keys of a role.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;

use super::common::{DryRun, Force, PasswordArgs, key_choice};
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Distrust keys of a role.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role.
    role: String,

    /// The keys: ids, at least their first eight characters, or PEM files.
    #[arg(required = true, value_name = "KEYID|KEY")]
    keys: Vec<String>,

    /// Who delegates to the role, where several do.
    #[arg(long, value_name = "ROLE")]
    delegator: Option<String>,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    force: Force,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut passwords = args.passwords.read(context)?;
    let choices =
        args.keys.iter().map(|typed| key_choice(typed, &mut passwords)).collect::<Result<Vec<_>, _>>()?;
    let mut repository = open_past_drafts(context)?;
    let role = repository.find_trusted(&args.role).map_err(failure)?;
    let delegator =
        args.delegator.as_deref().map(|name| repository.find_role(name)).transpose().map_err(failure)?;
    let mut keyids = Vec::new();
    for choice in &choices {
        let (id, _) = repository
            .remove_key(&role, choice, delegator.as_ref(), args.force.dead_end())
            .map_err(failure)?;
        keyids.push(id);
    }
    let shown: Vec<&str> = keyids.iter().map(|id| id.short()).collect();
    let what = format!("'{role}' no longer trusts {}", shown.join(", "));
    let more = Map::from_iter([("role".to_owned(), json!(role)), ("keyids".to_owned(), json!(keyids))]);
    finish(context, repository, args.dry_run, &what, more)
}
