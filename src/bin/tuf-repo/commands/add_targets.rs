//! `add-targets`: lists files.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::output::Format;
use tuf::cli::progress::Progress;
use tuf::metadata::RoleName;
use tuf::repository::{
    AddTargets, Added, FoundTargets, Manifest, Paths, Replace, Repository, RepositoryError, Symlinks,
    TARGETS, TargetSource, Walk, find_targets,
};

use super::common::{DryRun, progress_bytes};
use super::edit::{count, finish_planned, open_locked_beside};
use crate::context::Context;
use crate::failure::failure;

/// List files as targets: files under targets/, or files from elsewhere that are copied there with --base or --prefix.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders whose files are meant.
    #[arg(required_unless_present = "from_manifest", conflicts_with = "from_manifest", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// List the targets of a manifest, whose files need not be here: one JSON object a line, with `path`, `length`, `hashes`
    /// and perhaps `custom`. `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recursive", "follow_links", "prefix", "base", "custom"])]
    from_manifest: Option<PathBuf>,

    /// The role that lists them, or the prefix of hash bins: the path of each target chooses its bin.
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
    // a large tree and a large role are read at the same time
    let (mut repository, found) = open_locked_beside(context, || find(&args, &context.repo))?;
    let role = repository.find_lister(&args.role).map_err(failure)?;
    let replace = if args.replace { Replace::Allow } else { Replace::Refuse };
    let added = match &args.from_manifest {
        Some(file) => add_manifest(&mut repository, &role, file, replace, context)?,
        None => add_files(&mut repository, &role, found.map_err(failure)?, custom, replace, context)?,
    };
    let plan = repository.plan_edit().map_err(failure)?;
    let mut words = Vec::new();
    for (number, verb) in [(added.added.number, "added"), (added.replaced.number, "replaced")] {
        if number > 0 {
            words.push(format!("{} {verb}", count(number, "target")));
        }
    }
    if words.is_empty() {
        words.push(format!("{} listed already", count(added.unchanged, "target")));
    }
    let copies = match added.own_copies {
        0 => String::new(),
        1 => ", 1 copy that write made left out".to_owned(),
        number => format!(", {number} copies that write made left out"),
    };
    let what = format!("{} in '{role}'{copies}", words.join(", "));
    let more = Map::from_iter([
        ("role".to_owned(), json!(role)),
        ("added".to_owned(), json!(added.added.paths)),
        ("replaced".to_owned(), json!(added.replaced.paths)),
        ("unchanged".to_owned(), json!(added.unchanged)),
        ("copies".to_owned(), json!(added.own_copies)),
    ]);
    finish_planned(context, repository, &plan, args.dry_run, &what, more, |repository, plan| {
        let bar = progress_bytes(context, added.copied_bytes(), "Copying targets");
        repository.save_added(&added, plan, &|bytes| bar.advance(bytes)).map_err(failure)
    })
}

/// Finds the files that are named.
fn find(args: &Args, repository: &Path) -> Result<FoundTargets, RepositoryError> {
    if args.from_manifest.is_some() {
        return Ok(FoundTargets::default());
    }
    let source = TargetSource {
        targets: &repository.join(TARGETS),
        base: args.base.as_deref(),
        prefix: args.prefix.as_deref(),
        walk: if args.recursive { Walk::Recursive } else { Walk::Flat },
        symlinks: if args.follow_links { Symlinks::Follow } else { Symlinks::Refuse },
    };
    find_targets(&args.paths, &source)
}

fn add_files(
    repository: &mut Repository,
    role: &RoleName,
    found: FoundTargets,
    custom: Option<Map<String, Value>>,
    replace: Replace,
    context: &Context,
) -> Result<Added, Failure> {
    let length = if Progress::is_watched(context.output.verbosity()) { found.bytes() } else { 0 };
    let bar = progress_bytes(context, length, "Digesting");
    let (paths, progress) = (paths_kept(context), |bytes: u64| bar.advance(bytes));
    let request = AddTargets { role, found: &found, custom, replace, paths, progress: &progress };
    repository.add_targets(&request).map_err(failure)
}

fn add_manifest(
    repository: &mut Repository,
    role: &RoleName,
    file: &Path,
    replace: Replace,
    context: &Context,
) -> Result<Added, Failure> {
    let label = "Reading the manifest";
    let (mut lines, bar): (Box<dyn BufRead>, Progress) = if file.as_os_str() == "-" {
        (Box::new(std::io::stdin().lock()), Progress::stream(context.output.verbosity(), label))
    } else {
        let opened = File::open(file).map_err(|error| {
            Failure::usage(Failure::cannot("read", file, &error).message)
                .with_hint(Hint::advice("give --from-manifest FILE, or - for standard input"))
        })?;
        let length = opened.metadata().map_or(0, |metadata| metadata.len());
        (Box::new(BufReader::with_capacity(1 << 16, opened)), progress_bytes(context, length, label))
    };
    let (paths, progress) = (paths_kept(context), |bytes: u64| bar.advance(bytes));
    let manifest = Manifest { role, lines: &mut *lines, replace, paths, progress: &progress };
    repository.add_manifest(manifest).map_err(failure)
}

/// Only who reads JSON is told each path.
fn paths_kept(context: &Context) -> Paths {
    if context.output.format() == Format::Json { Paths::Kept } else { Paths::Counted }
}

fn custom_object(text: &str) -> Result<Map<String, Value>, Failure> {
    let refused = |why: String| {
        Failure::usage(format!("--custom: {why}"))
            .with_hint(Hint::advice("give an object: --custom '{\"key\": \"value\"}'"))
    };
    tuf::canonical::from_json(text.as_bytes()).map_err(|error| refused(error.to_string()))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refused("not a JSON object".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}
