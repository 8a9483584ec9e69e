//! `init`: makes a repository.

use std::path::PathBuf;

use serde_json::json;
use tuf::cli::failure::Outcome;
use tuf::cli::text::{quoted, shell_word};
use tuf::repository::{Execution, Layout};

use super::common::DryRun;
use crate::context::Context;
use crate::failure::failure;

/// Make a repository: its folders, its policy, and unsigned drafts of the four top-level roles.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the repository [default: that of --repo].
    dir: Option<PathBuf>,

    /// Name files plainly: targets.json instead of N.targets.json, name instead of HASH.name.
    #[arg(long)]
    no_consistent_snapshot: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let dir = args.dir.as_ref().unwrap_or(&context.repo);
    let layout = if args.no_consistent_snapshot { Layout::Plain } else { Layout::Consistent };
    let execution = if args.dry_run.dry_run { Execution::DryRun } else { Execution::Real };
    let put = tuf::repository::init(dir, layout, context.now, execution).map_err(failure)?;
    let made = if args.dry_run.dry_run { "Dry run, nothing changed: would make" } else { "Made" };
    let option = match dir.to_str() {
        Some(".") => String::new(),
        _ => format!("-r {} ", shell_word(&dir.to_string_lossy())),
    };
    let next = format!("tuf-repo {option}add-key root KEY.pub");
    context.output.talk(&format!("{made} the repository {} with unsigned drafts. Next: {next}", quoted(dir)));
    let json = json!({
        "dry_run": args.dry_run.dry_run,
        "repository": dir.to_string_lossy(),
        "consistent_snapshot": layout == Layout::Consistent,
        "put": put,
        "next": [next],
    });
    context.output.result(String::new, json)
}
