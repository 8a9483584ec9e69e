//! `list`: shows the targets.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;
use tuf::cli::text::one_line;

use super::edit::open;
use crate::context::Context;
use crate::failure::failure;

/// Show the targets with the drafts in force: length, role and path.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Patterns of target paths; `*` and `?` do not match a slash.
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut repository = open(context)?;
    repository.read_all().map_err(failure)?;
    let listed = repository.list(&args.globs).map_err(failure)?;
    let text = || {
        let width = listed.values().map(|target| target.file.length.to_string().len()).max().unwrap_or(0);
        let roles = listed.values().map(|target| one_line(target.role.as_str()).len()).max().unwrap_or(0);
        let line = |(path, target): (&String, &tuf::repository::Listed)| {
            let role = one_line(target.role.as_str());
            format!("{:>width$}  {role:<roles$}  {}\n", target.file.length, one_line(path))
        };
        listed.iter().map(line).collect()
    };
    let targets: Map<String, serde_json::Value> = listed
        .iter()
        .map(|(path, target)| {
            let file = &target.file;
            (path.clone(), json!({"role": target.role, "length": file.length, "hashes": file.hashes, "custom": file.custom}))
        })
        .collect();
    context.output.result(text, json!({ "targets": targets }))
}
