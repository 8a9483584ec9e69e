//! `download`: targets by name, by pattern, or all of them.

use std::collections::BTreeSet;
use std::io;

use serde_json::{Value, json};
use tuf::cli::output::Format;
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
    /// `-` prints the one target that is named, verified, to standard output and keeps no file
    #[arg(short, long, value_name = "-", value_parser = ["-"], conflicts_with = "all")]
    output: Option<String>,
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
    if args.output.is_some() { print(session, &wanted) } else { fetch(session, &wanted) }
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

/// Brings the metadata up to date, then fetches targets. The first failure, in the order in which they are wanted,
/// ends it.
pub fn fetch(session: &Session<'_>, wanted: &[Wanted]) -> Result<(), Failure> {
    let mirrors = session.mirrors(Need::Targets)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, mirrors)?;
    let dir = TargetDir::create(session.target_dir())?;
    let mut batch = Batch::default();
    // those before one that is not there are fetched all the same
    let resolved = wanted.iter().try_for_each(|wanted| resolve(&mut updater, wanted, &mut batch));
    let length = batch.0.iter().fold(0_u64, |sum, (_, info)| sum.saturating_add(info.length));
    let progress = Progress::bytes(session.output.verbosity(), length, "targets");
    let advance = |bytes| progress.advance(bytes);
    let downloaded = updater.download_targets(&batch.0, &dir, session.jobs(), &advance)?;
    drop(progress);
    resolved?;
    let versions = updater.versions();
    let mut json = versions_json(versions);
    json["downloaded"] = downloaded.iter().map(target_json).collect();
    session.output.result(|| downloaded.iter().map(target_line).collect(), json)?;
    let kept = downloaded.iter().filter(|target| target.cached).count();
    let new = downloaded.len() - kept;
    session.output.talk(&format!("{new} downloaded, {kept} in place already ({})", versions_text(versions)));
    Ok(())
}

/// Brings the metadata up to date, then prints one target.
fn print(session: &Session<'_>, wanted: &[Wanted]) -> Result<(), Failure> {
    if session.output.format() == Format::Json {
        return Err(Failure::usage("--output", "a target on standard output leaves no room for JSON"));
    }
    let mirrors = session.mirrors(Need::Targets)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, mirrors)?;
    let mut batch = Batch::default();
    wanted.iter().try_for_each(|wanted| resolve(&mut updater, wanted, &mut batch))?;
    let [(path, info)] = batch.0.as_slice() else {
        let detail = format!("{} targets are named, and one can be printed", batch.0.len());
        return Err(Failure::usage("--output", detail));
    };
    let place = TargetDir::open_existing(session.target_dir())?;
    let waiting = TargetDir::create(session.metadata_dir())?;
    let progress = Progress::bytes(session.output.verbosity(), info.length, path.as_str());
    let file = updater.open_target(path, info, place.as_ref(), &waiting, &|bytes| progress.advance(bytes));
    let mut file = file?;
    drop(progress);
    match io::copy(&mut file, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output", error.to_string()))
        }
        // a reader who is gone has seen enough
        _ => Ok(()),
    }
}

/// Targets to fetch, each once.
#[derive(Default)]
struct Batch(Vec<(TargetPath, TargetFile)>, BTreeSet<String>);

impl Batch {
    fn add(&mut self, path: String, info: TargetFile) -> Result<(), Failure> {
        let parsed = TargetPath::parse(&path).map_err(|source| ClientError::UnsafePath { source })?;
        if self.1.insert(path) {
            self.0.push((parsed, info));
        }
        Ok(())
    }
}

fn resolve(updater: &mut Updater<'_>, wanted: &Wanted, batch: &mut Batch) -> Result<(), Failure> {
    match wanted {
        Wanted::All => updater.list()?.into_iter().try_for_each(|target| batch.add(target.path, target.info)),
        Wanted::Pattern(pattern) if pattern.contains(['*', '?', '[']) => {
            let matches = |path: &str| path == pattern || pattern_matches(pattern, path);
            let mut listed = updater.list()?;
            listed.retain(|target| matches(&target.path));
            if listed.is_empty() {
                return Err(unknown(pattern));
            }
            listed.into_iter().try_for_each(|target| batch.add(target.path, target.info))
        }
        Wanted::Name(name) | Wanted::Pattern(name) => {
            let (_, info) = updater.target_info(name)?.ok_or_else(|| unknown(name))?;
            batch.add(name.clone(), info)
        }
    }
}

fn unknown(path: &str) -> Failure {
    ClientError::UnknownTarget { path: path.to_owned() }.into()
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
