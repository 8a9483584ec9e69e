//! `list`: the targets of a repository, with the roles that answer for them.

use serde_json::{Map, Value, json};
use tuf::cli::text::one_line;
use tuf::client::{ListedTarget, Listing};
use tuf::metadata::pattern_matches;

use crate::failure::{Failure, Failures};
use crate::session::{Need, Session};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Patterns of targets: `*` and `?` do not match a slash
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
}

impl Args {
    /// Returns the patterns.
    pub fn globs(&self) -> &[String] {
        &self.globs
    }
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failures> {
    let mirrors = session.mirrors(Need::Metadata)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, mirrors)?;
    let matches = |path: &str| args.globs.iter().any(|glob| glob == path || pattern_matches(glob, path));
    let Listing { targets: mut listed, mut faults } = updater.list()?;
    let is_asked_for = |path: &str| args.globs.is_empty() || matches(path);
    listed.retain(|target| is_asked_for(target.path.as_str()));
    faults.retain(|fault| fault.unstorable().is_none_or(is_asked_for));
    let failures = Failures(faults.into_iter().map(Failure::from).collect());
    let versions = updater.versions();
    let targets: Map<String, Value> =
        listed.iter().map(|target| (target.path.to_string(), target_json(target))).collect();
    let mut json = json!({
        "root": versions.root,
        "timestamp": versions.timestamp,
        "snapshot": versions.snapshot,
        "targets": targets,
    });
    failures.add_to(&mut json, &session.given);
    session.output.result(|| listed.iter().map(target_line).collect(), json)?;
    failures.end()
}

fn target_line(target: &ListedTarget) -> String {
    format!(
        "{}\t{} bytes\t{}\n",
        one_line(target.path.as_str()),
        target.info.length,
        one_line(target.role.as_str())
    )
}

fn target_json(target: &ListedTarget) -> Value {
    json!({
        "role": target.role,
        "length": target.info.length,
        "hashes": target.info.hashes,
        "custom": target.info.custom,
    })
}
