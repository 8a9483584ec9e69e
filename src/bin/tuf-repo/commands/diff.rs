//! `diff`: what drafts change, in words.

use serde_json::json;
use tuf::cli::failure::Outcome;

use super::edit::open;
use crate::context::Context;
use crate::failure::failure;

/// Show what drafts change against what is written, and what is written against what is live.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The roles [default: all].
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut repository = open(context)?;
    repository.read_unpublished().map_err(failure)?;
    let roles = repository.find_roles(&args.roles).map_err(failure)?;
    let diffs = repository.diff(&roles).map_err(failure)?;
    let human = || {
        let mut text = String::new();
        for diff in &diffs {
            text.push_str(&format!("{}: {} against {}\n", diff.role, diff.new, diff.old));
            diff.differences.iter().for_each(|difference| text.push_str(&format!("  {}\n", difference.0)));
        }
        if text.is_empty() { "No difference\n".to_owned() } else { text }
    };
    let differences = |diff: &tuf::repository::RoleDiff| {
        let sentences: Vec<&str> = diff.differences.iter().map(|difference| difference.0.as_str()).collect();
        json!({"role": diff.role, "new": diff.new, "old": diff.old, "differences": sentences})
    };
    context.output.result(human, json!({ "diff": diffs.iter().map(differences).collect::<Vec<_>>() }))
}
