//! `gc`: deletes what no retained snapshot refers to.

use serde_json::json;
use tuf::cli::failure::Outcome;

use super::common::DryRun;
use super::edit::{count, open_locked};
use crate::context::Context;
use crate::failure::failure;

/// Collect garbage: delete metadata and HASH.name copies that no retained snapshot refers to. Never a root, never a file
/// whose name it does not know.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many snapshots to retain, the live one included [default: gc.keep of tuf-repo.toml].
    #[arg(long, value_name = "N")]
    keep: Option<u64>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let repository = open_locked(context)?;
    let keep = args.keep.unwrap_or_else(|| repository.policy().keep());
    let plan = repository.plan_gc(keep).map_err(failure)?;
    if !args.dry_run.dry_run {
        repository.execute_gc(&plan).map_err(failure)?;
    }
    let line = match (plan.delete.is_empty(), args.dry_run.dry_run) {
        (true, _) => "Nothing to do: every file is held by a retained snapshot.".to_owned(),
        (false, true) => {
            format!("Dry run, nothing changed: would delete {}.", count(plan.delete.len(), "file"))
        }
        (false, false) => format!("Deleted {}.", count(plan.delete.len(), "file")),
    };
    context.output.talk(&format!("{line} {} retained.", count(plan.retained.len(), "snapshot")));
    let json = json!({
        "dry_run": args.dry_run.dry_run,
        "roles": {},
        "put": [],
        "deleted": plan.delete,
        "kept": plan.kept,
        "retained": plan.retained,
    });
    context.output.result(|| plan.delete.iter().map(|name| format!("delete {name}\n")).collect(), json)
}
