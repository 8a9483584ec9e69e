//! `download`: targets by name, by pattern, or all of them.

use serde_json::{Value, json};
use tuf::cli::progress::Progress;
use tuf::cli::text::one_line;
use tuf::client::{ClientError, Downloaded, TargetDir, Updater};
use tuf::metadata::{TargetFile, TargetPath, pattern_matches};

use crate::failure::Failure;
use crate::session::{Need, Session, versions_json, versions_text};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Download every target
    #[arg(long, conflicts_with = "globs")]
    all: bool,
    /// Targets, or patterns of targets: `*` and `?` do not match a slash
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failure> {
    let mut wanted = named(session, args.globs);
    if args.all {
        wanted.push(Wanted::All);
    }
    if wanted.is_empty() {
        let failure = Failure::usage("download", "no target is named");
        return Err(failure.with_hint("name some: --target-name NAME, or GLOB, or --all"));
    }
    fetch(session, &wanted)
}

/// Which targets to fetch.
pub enum Wanted {
    /// All that are listed.
    All,
    /// One, exactly as it is listed.
    Name(String),
    /// One, or those that a pattern matches.
    Pattern(String),
}

/// Puts the targets named by option and by argument in order.
pub fn named(session: &Session<'_>, globs: Vec<String>) -> Vec<Wanted> {
    let names = session.target_names().iter().cloned().map(Wanted::Name);
    names.chain(globs.into_iter().map(Wanted::Pattern)).collect()
}

/// Brings the metadata up to date, then fetches targets in the order in which they are wanted. The first failure
/// ends it.
pub fn fetch(session: &Session<'_>, wanted: &[Wanted]) -> Result<(), Failure> {
    let repository = session.repository(Need::Targets)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, repository)?;
    let dir = TargetDir::create(session.target_dir())?;
    let mut downloaded = Vec::new();
    for wanted in wanted {
        let batch = resolve(&mut updater, wanted)?;
        fetch_batch(session, &updater, &dir, batch, &mut downloaded)?;
    }
    let versions = updater.versions();
    let mut json = versions_json(versions);
    json["downloaded"] = downloaded.iter().map(target_json).collect();
    session.output.result(|| downloaded.iter().map(target_line).collect(), json)?;
    let kept = downloaded.iter().filter(|target| target.cached).count();
    let new = downloaded.len() - kept;
    session.output.talk(&format!("{new} downloaded, {kept} in place already ({})", versions_text(versions)));
    Ok(())
}

/// Targets by path.
type Batch = Vec<(String, TargetFile)>;

fn resolve(updater: &mut Updater<'_>, wanted: &Wanted) -> Result<Batch, Failure> {
    match wanted {
        Wanted::All => Ok(updater.list()?.into_iter().map(|target| (target.path, target.info)).collect()),
        Wanted::Pattern(pattern) if pattern.contains(['*', '?', '[']) => {
            let matches = |path: &str| path == pattern || pattern_matches(pattern, path);
            let listed = updater.list()?.into_iter().filter(|target| matches(&target.path));
            let batch: Batch = listed.map(|target| (target.path, target.info)).collect();
            if batch.is_empty() { Err(unknown(pattern)) } else { Ok(batch) }
        }
        Wanted::Name(name) | Wanted::Pattern(name) => {
            let (_, info) = updater.target_info(name)?.ok_or_else(|| unknown(name))?;
            Ok(vec![(name.clone(), info)])
        }
    }
}

fn unknown(path: &str) -> Failure {
    ClientError::UnknownTarget { path: path.to_owned() }.into()
}

fn fetch_batch(
    session: &Session<'_>,
    updater: &Updater<'_>,
    dir: &TargetDir,
    batch: Batch,
    downloaded: &mut Vec<Downloaded>,
) -> Result<(), Failure> {
    let length = batch.iter().fold(0_u64, |sum, (_, info)| sum.saturating_add(info.length));
    let progress = Progress::bytes(session.output.verbosity(), length, "");
    for (path, info) in batch {
        let path = TargetPath::parse(&path).map_err(|source| ClientError::UnsafePath { source })?;
        progress.label(path.as_str());
        let target = updater.download_target(&path, &info, dir, &mut |bytes| progress.advance(bytes))?;
        if target.cached {
            progress.advance(info.length);
        }
        downloaded.push(target);
    }
    Ok(())
}

fn target_line(target: &Downloaded) -> String {
    let done = if target.cached { "unchanged " } else { "downloaded" };
    format!("{done} {}\n", one_line(&target.file.to_string_lossy()))
}

fn target_json(target: &Downloaded) -> Value {
    json!({
        "path": target.path.as_str(),
        "file": target.file.to_string_lossy(),
        "length": target.info.length,
        "hashes": target.info.hashes,
        "cached": target.cached,
    })
}
