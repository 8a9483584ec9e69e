//! `list`: the targets of a repository, with the roles that answer for them.

use serde_json::{Map, Value, json};
use tuf::cli::text::one_line;
use tuf::client::ListedTarget;
use tuf::metadata::pattern_matches;

use crate::failure::Failure;
use crate::session::{Need, Session};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Patterns of targets: `*` and `?` do not match a slash
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failure> {
    let mirrors = session.mirrors(Need::Metadata)?;
    let fetcher = session.fetcher()?;
    let mut updater = session.refreshed(&fetcher, mirrors)?;
    let matches = |path: &str| args.globs.iter().any(|glob| glob == path || pattern_matches(glob, path));
    let mut listed = updater.list()?;
    listed.retain(|target| args.globs.is_empty() || matches(&target.path));
    let versions = updater.versions();
    let targets: Map<String, Value> =
        listed.iter().map(|target| (target.path.clone(), target_json(target))).collect();
    let json = json!({
        "root": versions.root,
        "timestamp": versions.timestamp,
        "snapshot": versions.snapshot,
        "targets": targets,
    });
    session.output.result(|| listed.iter().map(target_line).collect(), json)?;
    Ok(())
}

fn target_line(target: &ListedTarget) -> String {
    format!("{}\t{} bytes\t{}\n", one_line(&target.path), target.info.length, one_line(target.role.as_str()))
}

fn target_json(target: &ListedTarget) -> Value {
    json!({
        "role": target.role,
        "length": target.info.length,
        "hashes": target.info.hashes,
        "custom": target.info.custom,
    })
}
