//! `verify`: a full client's check.

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::text::one_line;
use tuf::repository::{
    CheckOptions, Destination, Expiry, Finding, InputError, Policy, Report, STAGED, Severity, Side, TARGETS,
    TargetBytes, check, check_beside,
};

use super::destination::{DestinationArgs, shown};
use super::edit::open;
use crate::context::Context;
use crate::failure::failure;

/// Check written metadata as a client would that starts from the first root.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check what is live instead of metadata.staged/: at publish.to of tuf-repo.toml, else in metadata/.
    #[arg(long)]
    live: bool,

    /// Read every target file and compare its digests.
    #[arg(long)]
    targets: bool,

    #[command(flatten)]
    destination: DestinationArgs,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let targets = if args.targets { TargetBytes::Digest } else { TargetBytes::Present };
    if args.destination.is_typed() && !args.live {
        let refusal = "what is published at another place is live";
        return Err(Failure::usage(refusal).with_hint(Hint::again("look at what is live there", "--live")));
    }
    let (what, report) = match live_elsewhere(&args, context)? {
        None => written(&args, targets, context)?,
        Some(at) => {
            let repository = open(context)?;
            let report = repository.check_published(&at, targets).map_err(failure)?;
            (shown(&at, &repository), report)
        }
    };
    let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
    let versions: Vec<String> =
        report.versions.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let human = || {
        let mut text: String = report.findings.iter().take(MOST.findings).map(finding_line).collect();
        if let Some(more) = more_than(report.findings.len(), MOST.findings) {
            text.push_str(&format!("and {more} more, which --json lists\n"));
        }
        if report.ok() {
            let named = versions.iter().take(MOST.roles).cloned().collect::<Vec<_>>().join(", ");
            let more = more_than(versions.len(), MOST.roles);
            let more = more.map(|more| format!(", and {more} more roles")).unwrap_or_default();
            text.push_str(&format!("{what} verifies: {named}{more}\n"));
        }
        text
    };
    let json = json!({ "ok": report.ok(), "findings": findings, "roles": report.versions });
    context.output.result(human, json)?;
    match report.findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => Err(Failure::verification(format!("{what}: 1 error"))),
        errors => Err(Failure::verification(format!("{what}: {errors} errors"))),
    }
}

/// How much a person is shown; a repository may have a million targets and tens of thousands of hash bins.
struct Most {
    findings: usize,
    roles: usize,
}

const MOST: Most = Most { findings: 100, roles: 50 };

/// Returns by how many a number is beyond a bound.
fn more_than(number: usize, bound: usize) -> Option<usize> {
    number.checked_sub(bound).filter(|more| *more > 0)
}

/// Returns the place to be looked at that was typed, or where the policy says that the repository is published; `None` where
/// that is one of the repository's own folders.
fn live_elsewhere(args: &Args, context: &Context) -> Result<Option<Destination>, Failure> {
    if !args.live || !context.repo.join(STAGED).is_dir() {
        return Ok(None);
    }
    let policy = Policy::read(&context.repo).map_err(failure)?;
    let at = args.destination.or_policy(&policy, &context.repo)?;
    Ok(Some(at).filter(|at| args.destination.is_typed() || !matches!(at, Destination::Own)))
}

/// Checks one of the repository's own folders.
fn written(args: &Args, targets: TargetBytes, context: &Context) -> Result<(String, Report), Failure> {
    let side = if args.live { Side::Live } else { Side::Staged };
    let options = CheckOptions { side, expiry: Expiry::Enforce, targets };
    if !context.repo.join(STAGED).is_dir() {
        return Err(failure(InputError::NotARepository(context.repo.clone()).into()));
    }
    if !context.repo.join(side.folder()).join("root.json").exists() {
        let nothing = format!("there is no metadata in {} yet", side.folder());
        let next = if args.live { "tuf-repo publish" } else { "tuf-repo write --key KEY" };
        return Err(Failure::attention(nothing).with_hint(Hint::command(next)));
    }
    let mut report = check(&context.repo, options, context.now).map_err(failure)?;
    let is_absent = |finding: &Finding| finding.file.as_ref().is_some_and(|file| file.starts_with(TARGETS));
    if !args.live && report.findings.iter().any(is_absent) {
        // a copy may have the metadata alone: what is live already lies where it is published
        let policy = Policy::read(&context.repo).map_err(failure)?;
        let published = args.destination.or_policy(&policy, &context.repo)?;
        report = check_beside(&context.repo, options, context.now, &published).map_err(failure)?;
    }
    Ok((side.folder().to_owned(), report))
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
