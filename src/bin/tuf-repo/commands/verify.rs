//! `verify`: a full client's check.

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::text::one_line;
use tuf::repository::{
    CheckOptions, Expiry, Finding, InputError, STAGED, Severity, Side, TargetBytes, check,
};

use crate::context::Context;
use crate::failure::failure;

/// Check written metadata as a client would that starts from the first root.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check what is live in metadata/ instead of metadata.staged/.
    #[arg(long)]
    live: bool,

    /// Read every target file and compare its digests.
    #[arg(long)]
    targets: bool,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let side = if args.live { Side::Live } else { Side::Staged };
    let targets = if args.targets { TargetBytes::Digest } else { TargetBytes::Present };
    let options = CheckOptions { side, expiry: Expiry::Enforce, targets };
    if !context.repo.join(STAGED).is_dir() {
        return Err(failure(InputError::NotARepository(context.repo.clone()).into()));
    }
    if !context.repo.join(side.folder()).join("root.json").exists() {
        let nothing = format!("there is no metadata in {} yet", side.folder());
        let next = if args.live { "tuf-repo publish" } else { "tuf-repo write --key KEY" };
        return Err(Failure::attention(nothing).with_hint(next));
    }
    let report = check(&context.repo, options, context.now).map_err(failure)?;
    let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
    let versions: Vec<String> =
        report.versions.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let human = || {
        let mut text: String = report.findings.iter().map(finding_line).collect();
        if report.ok() {
            text.push_str(&format!("{} verifies: {}\n", side.folder(), versions.join(", ")));
        }
        text
    };
    let json = json!({ "ok": report.ok(), "findings": findings, "roles": report.versions });
    context.output.result(human, json)?;
    match report.findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => Err(Failure::verification(format!("{}: 1 error", side.folder()))),
        errors => Err(Failure::verification(format!("{}: {errors} errors", side.folder()))),
    }
}

/// Tells a finding on one line.
pub fn finding_line(finding: &Finding) -> String {
    let file = finding.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
    let role = finding.role.as_ref().filter(|_| finding.file.is_none());
    let role = role.map(|role| format!("{role}: ")).unwrap_or_default();
    format!("{}: {}\n", finding.severity.name(), one_line(&format!("{file}{role}{}", finding.message)))
}

/// Tells a finding in JSON.
pub fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "severity": finding.severity.name(),
        "role": finding.role,
        "file": finding.file,
        "message": one_line(&finding.message),
    })
}
