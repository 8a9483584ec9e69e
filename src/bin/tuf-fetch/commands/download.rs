//! `download`: targets by name, by pattern, or all of them.

use std::collections::BTreeSet;
use std::io;

use serde_json::{Value, json};
use tuf::cli::output::Format;
use tuf::cli::progress::Progress;
use tuf::cli::text::one_line;
use tuf::client::{ClientError, Downloaded, ListedTarget, Listing, TargetDir, Updater, storable};
use tuf::metadata::pattern_matches;

use crate::failure::{Failure, Failures};
use crate::hint::Hint;
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

impl Args {
    /// Returns the words that say the options again.
    pub fn options(&self) -> Vec<String> {
        let all = self.all.then(|| "--all".to_owned());
        all.into_iter().chain(self.output.iter().map(|to| format!("--output={to}"))).collect()
    }

    /// Returns the targets and patterns.
    pub fn globs(&self) -> &[String] {
        &self.globs
    }
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failures> {
    let mut wanted = named(session, args.globs);
    if args.all {
        wanted.push(Wanted::All);
    }
    if wanted.is_empty() {
        let failure = Failure::usage("download", "no target is named");
        return Err(failure.with_hint(Hint::other("see what there is", &["list"])).into());
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

/// Brings the metadata up to date, then fetches targets. What fails is told and keeps no other target back.
pub fn fetch(session: &Session<'_>, wanted: &[Wanted]) -> Result<(), Failures> {
    let mirrors = session.mirrors(Need::Targets)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, mirrors)?;
    let dir = TargetDir::create(session.target_dir())?;
    let Batch { targets, mut failures, .. } = Batch::resolve(&mut updater, wanted);
    let length = targets.iter().fold(0_u64, |sum, target| sum.saturating_add(target.info.length));
    let progress = Progress::bytes(session.output.verbosity(), length, "targets");
    let advance = |bytes| progress.advance(bytes);
    let downloads = updater.download_targets(&targets, &dir, session.jobs(), &advance)?;
    drop(progress);
    failures.0.extend(downloads.faults.into_iter().map(Failure::from));
    let downloaded = downloads.downloaded;
    let versions = updater.versions();
    let mut json = versions_json(versions);
    json["downloaded"] = downloaded.iter().map(target_json).collect();
    failures.add_to(&mut json, &session.given);
    session.output.result(|| downloaded.iter().map(target_line).collect(), json)?;
    let kept = downloaded.iter().filter(|target| target.cached).count();
    let new = downloaded.len() - kept;
    if failures.0.is_empty() {
        session
            .output
            .talk(&format!("{new} downloaded, {kept} in place already ({})", versions_text(versions)));
    }
    failures.end()
}

/// Brings the metadata up to date, then prints one target.
fn print(session: &Session<'_>, wanted: &[Wanted]) -> Result<(), Failures> {
    if session.output.format() == Format::Json {
        return Err(Failure::usage("--output", "a target on standard output leaves no room for JSON").into());
    }
    let mirrors = session.mirrors(Need::Targets)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, mirrors)?;
    let Batch { targets, failures, .. } = Batch::resolve(&mut updater, wanted);
    failures.end()?;
    let [ListedTarget { path, info, .. }] = targets.as_slice() else {
        let detail = format!("{} targets are named, and one can be printed", targets.len());
        return Err(Failure::usage("--output", detail).into());
    };
    let place = TargetDir::open_existing(session.target_dir())?;
    let progress = Progress::bytes(session.output.verbosity(), info.length, path.as_str());
    let file = updater.open_target(path, info, place.as_ref(), &|bytes| progress.advance(bytes));
    let mut file = file?;
    drop(progress);
    match io::copy(&mut file, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output", error.to_string()).into())
        }
        // a reader who is gone has seen enough
        _ => Ok(()),
    }
}

/// Targets to fetch, each once, and what is wrong with others.
#[derive(Default)]
struct Batch {
    targets: Vec<ListedTarget>,
    paths: BTreeSet<String>,
    failures: Failures,
    is_listed: bool,
}

impl Batch {
    fn resolve(updater: &mut Updater<'_>, wanted: &[Wanted]) -> Self {
        let mut batch = Self::default();
        for wanted in wanted {
            if let Err(failure) = batch.add(updater, wanted) {
                batch.failures.0.push(failure);
            }
        }
        batch
    }

    fn add(&mut self, updater: &mut Updater<'_>, wanted: &Wanted) -> Result<(), Failure> {
        match wanted {
            Wanted::All => self.add_listed(updater, |_| true).map(drop),
            Wanted::Pattern(pattern) if pattern.contains(['*', '?', '[']) => {
                let matches = |path: &str| path == pattern || pattern_matches(pattern, path);
                match self.add_listed(updater, matches)? {
                    0 => Err(unknown(pattern)),
                    _ => Ok(()),
                }
            }
            Wanted::Name(name) | Wanted::Pattern(name) => {
                let (role, info) = updater.target_info(name)?.ok_or_else(|| unknown(name))?;
                self.push(ListedTarget { path: storable(name)?, role, info });
                Ok(())
            }
        }
    }

    /// Adds those of all targets that match, and says how many there are, those included that cannot be stored.
    fn add_listed(
        &mut self,
        updater: &mut Updater<'_>,
        matches: impl Fn(&str) -> bool,
    ) -> Result<usize, Failure> {
        let Listing { targets, faults } = updater.list()?;
        let mut count = 0;
        for target in targets.into_iter().filter(|target| matches(target.path.as_str())) {
            count += 1;
            self.push(target);
        }
        for fault in faults {
            match fault.unstorable() {
                Some(path) if !matches(path) => {}
                Some(_) => {
                    count += 1;
                    self.failures.0.push(fault.into());
                }
                // a role that failed is told once, however many patterns there are
                None if self.is_listed => {}
                None => self.failures.0.push(fault.into()),
            }
        }
        self.is_listed = true;
        Ok(count)
    }

    fn push(&mut self, target: ListedTarget) {
        if self.paths.insert(target.path.to_string()) {
            self.targets.push(target);
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
