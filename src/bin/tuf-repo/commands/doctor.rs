//! `doctor`: lint with advice.

use serde_json::json;
use tuf::cli::failure::Outcome;
use tuf::repository::{Finding, Refusal, Repository, RepositoryError, Severity};

use super::verify::{finding_json, finding_line};
use crate::context::Context;
use crate::failure::failure;

/// Look for what may be regretted one day: keys in several roles, no spare root key, patterns that match nothing, files
/// left over. Advice only; `verify` says whether clients are served.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: Args, context: &Context) -> Outcome {
    let findings = match Repository::open_damaged(&context.repo, context.now).and_then(examine) {
        Ok(findings) => findings,
        // a file that cannot be read is what there is to point out first
        Err(RepositoryError::Refused { file, reason }) => vec![unreadable(file, &reason)],
        Err(error) => return Err(failure(error)),
    };
    let human = || match findings.is_empty() {
        true => "Nothing to point out\n".to_owned(),
        false => findings.iter().map(finding_line).collect(),
    };
    let ok = findings.iter().all(|finding| finding.file.is_none() || finding.severity < Severity::Error);
    let json = json!({ "ok": ok, "findings": findings.iter().map(finding_json).collect::<Vec<_>>() });
    context.output.result(human, json)
}

fn examine(mut repository: Repository) -> Result<Vec<Finding>, RepositoryError> {
    let unusable = repository.unusable_drafts().iter().map(|(role, reason)| Finding {
        severity: Severity::Warning,
        role: Some(role.clone()),
        file: None,
        message: format!("the draft of '{role}' cannot be used: {reason}; `discard` gives it up"),
    });
    let mut findings: Vec<Finding> = unusable.collect();
    repository.read_all()?;
    findings.extend(repository.doctor()?);
    Ok(findings)
}

fn unreadable(file: String, reason: &Refusal) -> Finding {
    let message =
        format!("{file}: {reason}; put it back from version control, a backup or what is published");
    Finding { severity: Severity::Error, role: None, file: Some(file), message }
}
