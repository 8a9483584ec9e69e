//! `pull`: takes over what somebody else has published.

use std::collections::BTreeMap;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::output::Format;
use tuf::cli::terminal::{Interaction, confirm};
use tuf::cli::text::one_line;
use tuf::metadata::RoleName;
use tuf::repository::{InputError, PullPlan, RepositoryError, RoleDiff, TargetFiles, Work};

use super::common::{DryRun, progress_bytes, warn_of};
use super::destination::{DestinationArgs, Way, lock_place, shown};
use super::edit::some;
use super::next;
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::{failure, failure_over, recover_hint};

/// Take over what is live where somebody else has published since: verified from what this copy has, shown, then put beside
/// what is written here. Nothing of this copy's work is given up: drafts and written metadata in the way are named, and
/// nothing moves, or they are kept aside, to be made again.
///
/// After the theft of a key that signs online nobody should pull: see SECURITY.md.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The place with metadata/ and targets/ in it: a folder, s3://bucket/prefix, gs://… or az://…
    /// [default: publish.to of tuf-repo.toml, else the repository's own metadata/].
    #[arg(long, value_name = "DEST")]
    from: Option<String>,

    /// The prefix of a bucket for metadata alone, where targets are elsewhere.
    #[arg(long, value_name = "URL", requires = "targets_from", conflicts_with = "from")]
    metadata_from: Option<String>,

    /// The prefix of a bucket for targets alone.
    #[arg(long, value_name = "URL", requires = "metadata_from", conflicts_with = "from")]
    targets_from: Option<String>,

    /// The server of the bucket, where it is not the cloud's own.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Copy the target files as well; without it they stay where they are published.
    #[arg(long)]
    targets: bool,

    /// Where drafts of this copy, or metadata that is written and not live, are in the way: keep them in
    /// metadata.staged/.drafts/.aside, from which no command goes on, and take over what is live. Exit code 3 names what is
    /// kept there, until it is deleted.
    #[arg(long)]
    set_aside: bool,

    /// Go on without a question, also where targets or roles vanish or versions jump.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let apart = args.metadata_from.clone().zip(args.targets_from.clone());
    let destination = DestinationArgs::at(args.from.clone(), apart, args.endpoint.clone());
    let locked = lock_place(context, |policy, repository| destination.or_policy(policy, repository))?;
    let from = locked.at().clone();
    let targets = if args.targets { TargetFiles::Copy } else { TargetFiles::Leave };
    let work = if args.set_aside { Work::SetAside } else { Work::Refuse };
    let (mut repository, plan) =
        locked.plan_pull(targets, work).map_err(|error| refused(error, &destination))?;
    let place = shown(&from, &repository);
    if !plan.is_published && destination.is_typed() {
        let reason = "no repository has been published there";
        let path = args.from.or(args.metadata_from).unwrap_or_default().into();
        return Err(failure(InputError::NoFile { path, reason }.into()));
    }
    warn_of(&plan.warnings, context);
    if context.output.format() != Format::Json {
        show(&plan, &args, context);
    }
    let mut absent = BTreeMap::new();
    if !args.dry_run.dry_run {
        agree(&plan, &args, context)?;
        let bar = progress_bytes(context, plan.target_bytes(), "Copying targets");
        absent = repository.execute_pull(&plan, &from, &|bytes| bar.advance(bytes)).map_err(failure)?;
        drop(bar);
    }
    for (name, words) in &absent {
        context.output.warn(&one_line(&format!("targets/{name} {words}")));
    }
    // a killed run has set work aside that this one does not find in the way any more
    let aside: Vec<String> = match args.set_aside && !args.dry_run.dry_run {
        true => repository.kept_aside().map_err(failure)?,
        false => plan.aside.keys().cloned().collect(),
    };
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
        "missing": absent.keys().collect::<Vec<_>>(),
        "aside": aside,
        "warnings": plan.warnings.iter().map(finding_json).collect::<Vec<_>>(),
        "next": next,
    });
    context.output.result(String::new, json)?;
    match aside.is_empty() || args.dry_run.dry_run {
        true => Ok(()),
        false => Err(kept_aside(&plan, &aside)),
    }
}

/// Tells of work that is kept aside, and what becomes of it.
fn kept_aside(plan: &PullPlan, aside: &[String]) -> Failure {
    if plan.lost_keys.is_empty() {
        let message = format!("work of this copy is kept aside: {}", some(aside));
        return Failure::attention(message).with_hint(Hint::advice(
            "make these changes again on top of what is live, then delete the files, which show what they were",
        ));
    }
    let roles: Vec<String> = plan.lost_keys.iter().map(RoleName::to_string).collect();
    Failure::attention(format!(
        "what is written here of {} is kept aside, since only keys signed it that the live root takes away: {}",
        some(&roles),
        some(aside)
    ))
    .with_hint(Hint::advice(
        "a thief may have published it: make only the changes again that are known to be yours, then delete the files",
    ))
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

fn show(plan: &PullPlan, args: &Args, context: &Context) {
    for change in &plan.changes {
        context.output.talk(&format!("{}: {} against {}", change.role, change.new, change.old));
        for difference in change.differences.iter().take(MOST_DIFFERENCES) {
            context.output.talk(&format!("  {}", one_line(&difference.0)));
        }
        if let Some(more) = change.differences.len().checked_sub(MOST_DIFFERENCES).filter(|more| *more > 0) {
            context.output.talk(&format!("  and {more} more"));
        }
    }
    // elsewhere the question says it, or the refusal
    if args.dry_run.dry_run || args.yes {
        doubts(plan).iter().for_each(|doubt| context.output.talk(&one_line(doubt)));
    }
    if !plan.aside.is_empty() {
        let kept: Vec<String> = plan.aside.keys().cloned().collect();
        context.output.talk(&one_line(&format!("kept aside: {}", some(&kept))));
    }
}

/// Says what a person should know before live is taken over: what would vanish, and which versions jump.
fn doubts(plan: &PullPlan) -> Vec<String> {
    let mut doubts = Vec::new();
    if !plan.gone.is_empty() {
        doubts.push(format!("{} would vanish", some(&plan.gone)));
    }
    if !plan.jumps.is_empty() {
        doubts.push(format!("versions would jump: {}", some(&plan.jumps)));
    }
    doubts
}

/// Asks the person at the terminal; without one goes on where nothing vanishes and nothing jumps.
fn agree(plan: &PullPlan, args: &Args, context: &Context) -> Result<(), Failure> {
    if args.yes || (plan.metadata_is_same() && plan.timestamp.is_none()) {
        return Ok(());
    }
    let doubts = one_line(&doubts(plan).join("; "));
    let beforehand = || Hint::again("agree beforehand", "--yes");
    match context.interaction {
        Interaction::Allowed => {
            let question = match doubts.is_empty() {
                true => "Take this over? [y/N] ".to_owned(),
                false => format!("{doubts}. Take this over? [y/N] "),
            };
            match confirm(&question) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Failure::attention("nothing was taken over")),
                Err(error) => {
                    Err(Failure::attention(format!("nobody answered: {error}")).with_hint(beforehand()))
                }
            }
        }
        Interaction::Forbidden if plan.is_doubtful() => {
            Err(Failure::attention(format!("`pull` needs `--yes`: {doubts}"))
                .with_hint(Hint::again("where that is what you want", "--yes")))
        }
        Interaction::Forbidden => Ok(()),
    }
}

/// Says what leads on where work here is in the way, or what is live was signed with keys that this copy takes away.
fn refused(error: RepositoryError, from: &DestinationArgs) -> Failure {
    match &error {
        RepositoryError::InTheWay { .. } => failure(error).with_hint(Hint::again(
            "keep this work in metadata.staged/.drafts/.aside, to be made again, and take over what is live",
            "--set-aside",
        )),
        _ => {
            let recover = |roles: &str| recover_hint(roles, from.options(Way::To).as_deref());
            failure_over(error, from.options(Way::From).as_deref(), recover)
        }
    }
}

fn change_json(change: &RoleDiff) -> serde_json::Value {
    let words: Vec<&str> = change.differences.iter().map(|difference| difference.0.as_str()).collect();
    json!({ "role": change.role, "new": change.new, "old": change.old, "differences": words })
}
