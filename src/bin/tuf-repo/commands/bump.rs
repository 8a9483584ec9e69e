//! `bump`: marks roles dirty.

use serde_json::{Map, json};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;

use super::common::DryRun;
use super::edit::{finish, open_past_drafts, some};
use crate::context::Context;
use crate::failure::failure;

/// Mark roles dirty: their next version is written although nothing else changes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The roles.
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,

    /// The next version, higher than the written one.
    #[arg(long, value_name = "N")]
    version: Option<u64>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    if args.version.is_some() && args.roles.len() > 1 {
        return Err(Failure::usage("--version goes with one role only")
            .with_hint(Hint::explained("for each role", "tuf-repo bump ROLE --version N")));
    }
    let mut repository = open_past_drafts(context)?;
    let mut versions = Map::new();
    for name in &args.roles {
        for role in repository.find_members(name).map_err(failure)? {
            let version = repository.bump(&role, args.version).map_err(failure)?;
            versions.insert(role.to_string(), json!(version));
        }
    }
    let shown: Vec<String> = versions.iter().map(|(role, version)| format!("'{role}' v{version}")).collect();
    let what = format!("{} will be written", some(&shown));
    let more = Map::from_iter([("roles".to_owned(), json!(versions))]);
    finish(context, repository, args.dry_run, &what, more)
}
