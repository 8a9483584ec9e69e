//! `doctor`: lint with advice.

use serde_json::json;
use tuf::cli::failure::Outcome;

use super::edit::open;
use super::verify::{finding_json, finding_line};
use crate::context::Context;
use crate::failure::failure;

/// Look for what may be regretted one day: keys in several roles, no spare root key, patterns that match nothing, files
/// left over. Advice only; `verify` says whether clients are served.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: Args, context: &Context) -> Outcome {
    let mut repository = open(context)?;
    repository.read_all().map_err(failure)?;
    let findings = repository.doctor().map_err(failure)?;
    let human = || match findings.is_empty() {
        true => "Nothing to point out\n".to_owned(),
        false => findings.iter().map(finding_line).collect(),
    };
    let json = json!({ "ok": true, "findings": findings.iter().map(finding_json).collect::<Vec<_>>() });
    context.output.result(human, json)
}
