//! `pull`: takes over what somebody else has published.

use std::time::Duration;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::output::Format;
use tuf::cli::terminal::{Interaction, confirm};
use tuf::cli::text::{one_line, shell_word};
use tuf::repository::{InputError, PullPlan, Repository, RepositoryError, RoleDiff, STAGED, TargetFiles};

use super::common::{DryRun, progress_bytes, warn_of};
use super::destination::{DestinationArgs, shown};
use super::edit::some;
use super::next;
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::failure;

/// Take over what is live where somebody else has published since: verified from what this copy has, shown, then put beside
/// what is written here. Nothing of this copy's work is given up: drafts and written metadata in the way are named, and
/// nothing moves.
///
/// After the theft of a key that signs online nobody should pull: see SECURITY.md.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The place with metadata/ and targets/ in it: a folder, s3://bucket/prefix, gs://… or az://…
    /// [default: publish.to of tuf-repo.toml, else the repository's own metadata/].
    #[arg(long, value_name = "DEST")]
    from: Option<String>,

    /// The server of the bucket, where it is not the cloud's own.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Copy the target files as well; without it they stay where they are published.
    #[arg(long)]
    targets: bool,

    /// Go on without a question, also where targets or roles vanish or versions jump.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let wait = context.wait.and_then(|wait| wait.to_std().ok()).unwrap_or(Duration::ZERO);
    let mut repository = Repository::open_locked(&context.repo, context.now, wait).map_err(failure)?;
    let destination = DestinationArgs::at(args.from.clone(), args.endpoint.clone());
    let from = destination.or_policy(repository.policy(), repository.dir())?;
    let place = shown(&from, &repository);
    let targets = if args.targets { TargetFiles::Copy } else { TargetFiles::Leave };
    let plan = repository.plan_pull(&from, targets, wait);
    let plan = plan.map_err(|error| refused(error, &args, &repository, context))?;
    if !plan.is_published && destination.is_typed() {
        let reason = "no repository has been published there";
        return Err(failure(
            InputError::NoFile { path: args.from.unwrap_or_default().into(), reason }.into(),
        ));
    }
    warn_of(&plan.warnings, context);
    if context.output.format() != Format::Json {
        show(&plan, context);
    }
    let mut absent = Vec::new();
    if !args.dry_run.dry_run {
        agree(&plan, &args, context)?;
        let bar = progress_bytes(context, plan.target_bytes(), "Copying targets");
        absent = repository.execute_pull(&plan, &from, &|bytes| bar.advance(bytes)).map_err(failure)?;
        drop(bar);
    }
    for name in &absent {
        context.output.warn(&format!("targets/{} is not there", one_line(name)));
    }
    let status = repository.status().map_err(failure)?;
    let next = next::commands(&status.steps, context);
    let line = summary(&plan, &args, &place);
    let after = next.first().map(|next| format!(" Next: {next}")).unwrap_or_default();
    context.output.talk(&format!("{line}{after}"));
    let json = json!({
        "dry_run": args.dry_run.dry_run,
        "roles": plan.roles,
        "put": plan.put(),
        "changes": plan.changes.iter().map(change_json).collect::<Vec<_>>(),
        "gone": plan.gone,
        "jumps": plan.jumps,
        "timestamp": plan.timestamp,
        "missing": absent,
        "warnings": plan.warnings.iter().map(finding_json).collect::<Vec<_>>(),
        "next": next,
    });
    context.output.result(String::new, json)
}

fn summary(plan: &PullPlan, args: &Args, place: &str) -> String {
    let names: Vec<String> = plan.roles.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let (took, drafted) = match args.dry_run.dry_run {
        true => ("Dry run, nothing changed: would take", "Dry run, nothing changed: would draft"),
        false => ("Took", "Drafted"),
    };
    match plan.timestamp {
        _ if !plan.is_published => format!("Nothing to do: nothing is published in {place} yet."),
        Some(version) => format!(
            "{drafted} timestamp v{version}: what is written here goes on from {place}, whose timestamp is as new."
        ),
        None if plan.is_empty() => format!("Nothing to do: this copy knows all that is live in {place}."),
        None if names.is_empty() => format!("{took} target files from {place}."),
        None => format!("{took} {} from {place}.", some(&names)),
    }
}

/// How many differences of one role are shown.
const MOST_DIFFERENCES: usize = 40;

fn show(plan: &PullPlan, context: &Context) {
    for change in &plan.changes {
        context.output.talk(&format!("{}: {} against {}", change.role, change.new, change.old));
        for difference in change.differences.iter().take(MOST_DIFFERENCES) {
            context.output.talk(&format!("  {}", one_line(&difference.0)));
        }
        if let Some(more) = change.differences.len().checked_sub(MOST_DIFFERENCES).filter(|more| *more > 0) {
            context.output.talk(&format!("  and {more} more"));
        }
    }
}

/// Asks the person at the terminal; without one goes on where nothing vanishes and nothing jumps.
fn agree(plan: &PullPlan, args: &Args, context: &Context) -> Result<(), Failure> {
    if args.yes || (plan.metadata_is_same() && plan.timestamp.is_none()) {
        return Ok(());
    }
    let mut doubts: Vec<String> = Vec::new();
    if !plan.gone.is_empty() {
        doubts.push(format!("gone: {}", some(&plan.gone)));
    }
    if !plan.jumps.is_empty() {
        doubts.push(format!("versions that jump: {}", some(&plan.jumps)));
    }
    let doubts = one_line(&doubts.join("; "));
    match context.interaction {
        Interaction::Allowed => {
            let question = match doubts.is_empty() {
                true => "Take this over? [y/N] ".to_owned(),
                false => format!("{doubts}. Take this over? [y/N] "),
            };
            match confirm(&question) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(Failure::attention("nothing was taken over").with_hint("tuf-repo pull --yes"))
                }
                Err(error) => {
                    Err(Failure::attention(format!("nobody answered: {error}"))
                        .with_hint("tuf-repo pull --yes"))
                }
            }
        }
        Interaction::Forbidden if plan.is_doubtful() => {
            let again = format!("{} pull --yes", next::program(&context.repo));
            Err(Failure::attention(format!("live is not taken over without a word: {doubts}"))
                .with_hint(again))
        }
        Interaction::Forbidden => Ok(()),
    }
}

/// Says what leads on where work here is in the way.
fn refused(error: RepositoryError, args: &Args, repository: &Repository, context: &Context) -> Failure {
    let program = next::program(&context.repo);
    let policy = repository.policy();
    let in_folder = |folder: &std::path::Path| shell_word(&folder.display().to_string());
    let from = match (&args.from, policy.publish_to()) {
        (Some(from), _) => shell_word(from),
        (None, Some(to)) if to.contains("://") => shell_word(to),
        (None, Some(to)) => in_folder(&context.repo.join(to)),
        (None, None) => in_folder(&context.repo),
    };
    let root = context.repo.join(STAGED).join(format!("{}.root.json", policy.first_root()));
    let start_over = format!(
        "tuf-repo init NEW --from {from} --trusted-root {} takes live into the folder NEW; make the change again there",
        in_folder(&root)
    );
    match &error {
        RepositoryError::InTheWay { drafted, unpublished } if unpublished.is_empty() => {
            let roles: Vec<String> =
                drafted.iter().map(|role| format!(" {}", shell_word(role.as_str()))).collect();
            let hint =
                format!("{program} discard{}, then {program} pull, then make the edit again", roles.concat());
            failure(error).with_hint(hint)
        }
        RepositoryError::InTheWay { .. } | RepositoryError::Forked { .. } => {
            failure(error).with_hint(start_over)
        }
        _ => failure(error),
    }
}

fn change_json(change: &RoleDiff) -> serde_json::Value {
    let words: Vec<&str> = change.differences.iter().map(|difference| difference.0.as_str()).collect();
    json!({ "role": change.role, "new": change.new, "old": change.old, "differences": words })
}
