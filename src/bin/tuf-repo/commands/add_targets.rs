//! `add-targets`: lists files.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::progress::Progress;
use tuf::repository::{AddTargets, Replace, Symlinks, TARGETS, TargetSource, Walk, find_targets};

use super::common::{DryRun, progress};
use super::edit::{count, finish_planned, open_locked};
use crate::context::Context;
use crate::failure::failure;

/// List files as targets: files under targets/, or files from elsewhere that are copied there with --base or --prefix.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders whose files are meant.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// The role that lists them.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    role: String,

    /// Take the files of folders within folders too.
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Follow symbolic links; without it they are left out.
    #[arg(long)]
    follow_links: bool,

    /// What the target paths of files copied in start with.
    #[arg(long, value_name = "P")]
    prefix: Option<String>,

    /// Copy files in from outside targets/: their target paths start below this folder.
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,

    /// Data for the application, a JSON object, attached to each target.
    #[arg(long, value_name = "JSON")]
    custom: Option<String>,

    /// Take the new bytes of targets that are listed with others.
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let custom = args.custom.as_deref().map(custom_object).transpose()?;
    let mut repository = open_locked(context)?;
    let role = repository.find_role(&args.role).map_err(failure)?;
    let targets = repository.dir().join(TARGETS);
    let source = TargetSource {
        targets: &targets,
        base: args.base.as_deref(),
        prefix: args.prefix.as_deref(),
        walk: if args.recursive { Walk::Recursive } else { Walk::Flat },
        symlinks: if args.follow_links { Symlinks::Follow } else { Symlinks::Refuse },
    };
    let found = find_targets(&args.paths, &source).map_err(failure)?;
    let bar: Progress = progress(context, found.len() as u64, "Digesting");
    let request = AddTargets {
        role: &role,
        found: &found,
        custom,
        replace: if args.replace { Replace::Allow } else { Replace::Refuse },
        progress: &|_| bar.advance(1),
    };
    let added = repository.add_targets(&request).map_err(failure)?;
    drop(bar);
    let plan = repository.plan_edit().map_err(failure)?;
    let mut words = Vec::new();
    for (number, verb) in [(added.added.len(), "added"), (added.replaced.len(), "replaced")] {
        if number > 0 {
            words.push(format!("{} {verb}", count(number, "target")));
        }
    }
    if words.is_empty() {
        words.push(format!("{} listed already", count(added.unchanged, "target")));
    }
    let what = format!("{} in '{role}'", words.join(", "));
    let more = Map::from_iter([
        ("role".to_owned(), json!(role)),
        ("added".to_owned(), json!(added.added)),
        ("replaced".to_owned(), json!(added.replaced)),
        ("unchanged".to_owned(), json!(added.unchanged)),
    ]);
    finish_planned(context, repository, &plan, args.dry_run, &what, more, |repository, plan| {
        repository.save_added(&added, plan).map_err(failure)
    })
}

fn custom_object(text: &str) -> Result<Map<String, Value>, Failure> {
    let refused =
        |why: String| Failure::usage(format!("--custom: {why}")).with_hint("--custom '{\"key\": \"value\"}'");
    tuf::canonical::from_json(text.as_bytes()).map_err(|error| refused(error.to_string()))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refused("not a JSON object".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}
