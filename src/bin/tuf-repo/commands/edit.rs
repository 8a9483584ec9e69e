//! What all commands that edit drafts share: open under the lock, edit, plan, save, report.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tuf::cli::failure::Failure;
use tuf::cli::text::{one_line, shell_word};
use tuf::repository::{DRAFTS, DraftPlan, Repository, STAGED};

use super::common::DryRun;
use super::next;
use crate::context::Context;
use crate::failure::failure;

/// Opens the repository to sign what is drafted, or to write it: every draft must be one that can be used.
pub fn open_locked(context: &Context) -> Result<Repository, Failure> {
    Repository::open_locked(&context.repo, context.now, wait(context)).map_err(failure)
}

/// Opens the repository to change it, for a command that leaves the drafts of other roles as they are: one that cannot be used
/// is no reason to refuse. It is told.
pub fn open_past_drafts(context: &Context) -> Result<Repository, Failure> {
    let unread = Repository::lock(&context.repo, context.now, wait(context)).map_err(failure)?;
    let repository = unread.read_past_drafts().map_err(failure)?;
    warn_of_drafts(&repository, context);
    Ok(repository)
}

/// Tells of the drafts that cannot be used.
pub fn warn_of_drafts(repository: &Repository, context: &Context) {
    let program = next::program(&context.repo);
    for (role, reason) in repository.unusable_drafts() {
        context.output.warn(&one_line(&format!(
            "the draft of '{role}' cannot be used and is left as it is: {reason}; to give it up: {program} discard {}",
            shell_word(role.as_str())
        )));
    }
}

/// Opens the repository to change it, and does something else at the same time that does not depend on what it says.
pub fn open_locked_beside<T: Send>(
    context: &Context,
    beside: impl FnOnce() -> T + Send,
) -> Result<(Repository, T), Failure> {
    let opened = Repository::open_locked_beside(&context.repo, context.now, wait(context), beside);
    let (repository, done) = opened.map_err(failure)?;
    warn_of_drafts(&repository, context);
    Ok((repository, done))
}

/// Returns how long a command waits for the lock.
pub fn wait(context: &Context) -> Duration {
    context.wait.and_then(|wait| wait.to_std().ok()).unwrap_or(Duration::ZERO)
}

/// Opens the repository to look at it, although some drafts are no metadata.
pub fn open_damaged(context: &Context) -> Result<Repository, Failure> {
    Repository::open_damaged(&context.repo, context.now).map_err(failure)
}

/// Opens the repository to look at it.
pub fn open(context: &Context) -> Result<Repository, Failure> {
    Repository::open(&context.repo, context.now).map_err(failure)
}

/// Plans the edit, carries it out unless it is a dry run, and tells.
pub fn finish(
    context: &Context,
    mut repository: Repository,
    dry_run: DryRun,
    what: &str,
    more: Map<String, Value>,
) -> Result<(), Failure> {
    let plan = repository.plan_edit().map_err(failure)?;
    finish_planned(context, repository, &plan, dry_run, what, more, |repository, plan| {
        repository.save_edit(plan).map_err(failure)
    })
}

/// As [`finish`], with a plan and a way to carry it out.
pub fn finish_planned(
    context: &Context,
    repository: Repository,
    plan: &DraftPlan,
    dry_run: DryRun,
    what: &str,
    more: Map<String, Value>,
    save: impl FnOnce(&Repository, &DraftPlan) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !dry_run.dry_run {
        save(&repository, plan)?;
    }
    let (dirty, steps) = repository.prospects().map_err(failure)?;
    let next = next::commands(&steps, context);
    let drafts = |names: Vec<&String>| {
        names.into_iter().map(|name| format!("{STAGED}/{DRAFTS}/{name}")).collect::<Vec<_>>()
    };
    let put = drafts(plan.put.iter().map(|(name, _)| name).collect());
    let mut json = json!({
        "dry_run": dry_run.dry_run,
        "changed": !plan.is_empty(),
        "dirty": dirty,
        "next": next,
        "put": put,
        "deleted": drafts(plan.remove.iter().collect()),
    });
    if let Some(object) = json.as_object_mut() {
        object.extend(more);
    }
    let assent = match plan.put.iter().any(|(name, _)| name == "root.json") {
        true => {
            let words = repository.status().map_err(failure)?.old_root_words();
            words.map(|words| format!(" ({words})")).unwrap_or_default()
        }
        false => String::new(),
    };
    // the process ends here, and the lock with it; to take apart what was read of many hash bins would cost as much as to
    // put together a good part of it
    std::mem::forget(repository);
    context.output.talk(&sentence(&format!("{what}{assent}"), plan.is_empty(), dry_run, &next));
    context.output.result(String::new, json)
}

/// One line: what changed, and what to type next.
fn sentence(what: &str, nothing: bool, dry_run: DryRun, next: &[String]) -> String {
    let done = match (nothing, dry_run.dry_run) {
        (true, _) => format!("Nothing to do: {what}."),
        (false, true) => format!("Dry run, nothing changed: {what}."),
        (false, false) => format!("{}.", capitalised(what)),
    };
    match next.first() {
        Some(next) => format!("{done} Next: {next}"),
        None => done,
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Names things, the first of them where they are many.
pub fn some(names: &[String]) -> String {
    const MOST: usize = 20;
    match names.len() {
        0..=MOST => names.join(", "),
        number => format!("{} and {} more", names[..MOST / 2].join(", "), number - MOST / 2),
    }
}

/// Counts things in words: `1 target`, `2 targets`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
