//! `gc`: deletes what no retained snapshot refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tuf::cli::clock::parse_duration;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::output::Verbosity;
use tuf::cli::text::{one_line, quoted, shell_word};
use tuf::repository::{
    Archive, Deletions, Destination, Explanation, GcPlan, HISTORY, Left, METADATA, Named, Policy, Repository,
    Retention, TARGETS,
};
use tuf::storage::BucketUrl;

use super::common::{DryRun, warn_of};
use super::destination::{DestinationArgs, bucket, lock_place};
use super::edit::{count, warn_of_drafts};
use super::next::program;
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::failure;

/// Collect garbage: delete metadata that no retained snapshot refers to, and target files that only such metadata lists. Never
/// a root, never a file that is not this repository's own.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many snapshots to retain, the current one included [default: gc.keep of tuf-repo.toml, else 10].
    #[arg(long, value_name = "N")]
    keep: Option<u64>,

    /// Retain snapshots that were replaced less than this ago [default: as long as a timestamp is valid].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    keep_within: Option<TimeDelta>,

    /// Copy what goes to this folder or bucket before it is deleted.
    #[arg(long, value_name = "DEST")]
    archive: Option<String>,

    #[command(flatten)]
    destination: DestinationArgs,

    /// Delete nothing; tell how many counts a file has and who holds it.
    #[arg(long, value_name = "FILE")]
    explain: Option<String>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let place = lock_place(context, |policy, repository| {
        Ok(args.destination.typed(policy, repository)?.unwrap_or(Destination::Own))
    })?;
    let (policy, at) = (place.policy(), place.at().clone());
    let default = policy.retention();
    let retention = Retention {
        keep: args.keep.unwrap_or(default.keep),
        keep_within: args.keep_within.unwrap_or(default.keep_within),
    };
    let archive = args.archive.as_deref().map(|to| archive(to, &args, policy)).transpose()?;
    if let Some(file) = &args.explain {
        let name = relative(file, place.dir());
        let explanation = place.explain_gc(retention, name).map_err(failure)?;
        return explain(name, &explanation, context);
    }
    let (repository, plan) = place.plan_gc(retention).map_err(failure)?;
    warn_of_drafts(&repository, context);
    if !args.dry_run.dry_run {
        repository.execute_gc(&plan, archive.as_ref()).map_err(failure)?;
    }
    warn_of(&plan.warnings, context);
    tell(&plan, &args, context);
    if let Some(command) = elsewhere(&at, &args, &repository, context) {
        context.output.talk(&format!("That was the repository itself. Where it is published: {command}"));
    }
    let json = Collected {
        deleted: &plan.delete,
        dry_run: args.dry_run.dry_run,
        kept: plan.kept
            + plan.unknown.len()
            + plan.strangers.len()
            + plan.recovered.len()
            + plan.unreadable.len(),
        left: json!({
            "changed": plan.left.changed.number,
            "shared": plan.left.shared,
            "undecided": plan.left.undecided,
            "unlisted": plan.left.unlisted.number,
            "unsaid": plan.left.unsaid,
            "young": plan.left.young,
        }),
        put: [],
        reasons: &plan.delete,
        retained: &plan.retained,
        roles: BTreeMap::new(),
        warnings: plan.warnings.iter().map(finding_json).collect(),
        unknown: plan
            .unknown
            .iter()
            .chain(&plan.strangers)
            .chain(&plan.recovered)
            .chain(&plan.unreadable)
            .map(String::as_str)
            .collect(),
    };
    context.output.stream(
        |to| {
            let mut deleted = plan.delete.reasons();
            deleted.try_for_each(|(name, why)| writeln!(to, "delete {}: {}", one_line(name), one_line(&why)))
        },
        &json,
    )
}

/// Says what is done, and what is left alone although it looks like what goes.
fn tell(plan: &GcPlan, args: &Args, context: &Context) {
    let number = count(plan.delete.len(), "file");
    let line = match (plan.delete.is_empty(), args.dry_run.dry_run) {
        (true, _) => "Nothing to do: no file is left over.".to_owned(),
        (false, true) => format!("Dry run, nothing changed: would delete {number}."),
        (false, false) => format!("Deleted {number}."),
    };
    let kept = args.archive.as_ref().filter(|_| !plan.delete.is_empty());
    let copies = if args.dry_run.dry_run { "Copies would be kept" } else { "Copies are" };
    let kept = kept.map(|archive| format!(" {copies} in {}.", quoted(archive.as_ref())));
    let versions = count(plan.retained.len(), "snapshot");
    let talk = |line: &str| context.output.talk(line);
    talk(&format!("{line}{} {versions} retained.", kept.unwrap_or_default()));
    for (names, why) in [
        (&plan.unknown, "its name is not known here"),
        (&plan.unreadable, "it is no metadata, and its role is revoked"),
        (&plan.recovered, "keys signed it that the root has taken away since (SECURITY.md)"),
    ] {
        names.iter().for_each(|name| talk(&format!("Left alone, {why}: {}", one_line(name))));
    }
    if !plan.strangers.is_empty() {
        tell_strangers(&plan.strangers, context);
    }
    let files = |number| count(number, "target file");
    let Left { unlisted, changed, shared, unsaid, undecided, young } = &plan.left;
    for (named, why) in [
        (unlisted, "no metadata that gc read lists them"),
        (changed, "they have other bytes than dropped metadata lists"),
    ] {
        tell_files(named, why, context);
    }
    if *shared > 0 {
        talk(&format!(
            "Left {} that only dropped metadata lists: others use the folder, as publish.shared-targets says.",
            files(*shared)
        ));
    }
    if *unsaid > 0 {
        talk(&format!(
            "Left {} that only dropped metadata lists: {TARGETS} lies apart from {METADATA}, so other repositories may \
             use it. Put into [publish] of tuf-repo.toml shared-targets = true if they do, shared-targets = false if not.",
            files(*unsaid)
        ));
    }
    if *undecided > 0 {
        talk(&format!(
            "Left {} that only dropped metadata lists: a delegated role may list them whose metadata no client accepts.",
            files(*undecided)
        ));
    }
    if *young > 0 {
        talk(&format!(
            "Left {} for later: a publisher may have put them only just, less than --keep-within ago.",
            files(*young)
        ));
    }
}

/// Returns the command that collects where the policy says that the repository is published, where that is another place than
/// the repository itself, which was collected.
fn elsewhere(at: &Destination, args: &Args, repository: &Repository, context: &Context) -> Option<String> {
    let policy = repository.policy();
    if args.destination.is_typed() || !matches!(at, Destination::Own) {
        return None;
    }
    let program = program(&context.repo);
    if let Some((metadata, targets)) = policy.publish_apart() {
        let [metadata, targets] = [metadata, targets].map(shell_word);
        return Some(format!("{program} gc --metadata-to {metadata} --targets-to {targets}"));
    }
    let to = policy.publish_to()?;
    if BucketUrl::is_meant(to) {
        return Some(format!("{program} gc --to {}", shell_word(to)));
    }
    let folder = repository.dir().join(to);
    let is_own = matches!(Destination::folder(repository.dir(), &folder), Ok(Destination::Own));
    (!is_own).then(|| format!("{program} gc --to {}", shell_word(&folder.to_string_lossy())))
}

/// Counts metadata files that are left alone; names them where somebody asks for details.
fn tell_strangers(names: &[String], context: &Context) {
    let output = &context.output;
    let is_verbose = output.verbosity() >= Verbosity::Verbose;
    let hint = if is_verbose { "" } else { " (-v names them)" };
    let files = count(names.len(), "metadata file");
    output.talk(&format!(
        "Left {files} alone: {HISTORY} does not know them, or this repository's keys did not sign them{hint}."
    ));
    if is_verbose {
        names.iter().for_each(|name| output.talk(&format!("  {}", one_line(name))));
    }
}

/// Counts target files that are left alone; names them where somebody asks for details.
fn tell_files(named: &Named, why: &str, context: &Context) {
    if named.number == 0 {
        return;
    }
    let output = &context.output;
    let is_verbose = output.verbosity() >= Verbosity::Verbose;
    let hint = if is_verbose { "" } else { " (-v names them)" };
    output.talk(&format!("Left {} alone: {why}{hint}.", count(named.number, "target file")));
    if is_verbose {
        named.names.iter().for_each(|name| output.talk(&format!("  {TARGETS}/{}", one_line(name))));
        if named.number > named.names.len() {
            output.talk(&format!("  … and {} more", named.number - named.names.len()));
        }
    }
}

/// What a collection tells. It may be about a million files: nothing is made before it is printed.
#[derive(Serialize)]
struct Collected<'a> {
    #[serde(serialize_with = "names")]
    deleted: &'a Deletions,
    dry_run: bool,
    kept: usize,
    left: Value,
    put: [&'a str; 0],
    #[serde(serialize_with = "reasons")]
    reasons: &'a Deletions,
    retained: &'a BTreeSet<u64>,
    roles: BTreeMap<&'a str, u64>,
    warnings: Vec<Value>,
    unknown: Vec<&'a str>,
}

fn names<S: Serializer>(deletions: &&Deletions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(deletions.names())
}

fn reasons<S: Serializer>(deletions: &&Deletions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(deletions.reasons())
}

fn archive(to: &str, args: &Args, policy: &Policy) -> Result<Archive, Failure> {
    match BucketUrl::is_meant(to) {
        true => Ok(Archive::Bucket(bucket(to, args.destination.endpoint(policy))?)),
        false => Ok(Archive::Folder(PathBuf::from(to))),
    }
}

/// Returns the name of a file that was typed, relative to the repository.
fn relative<'a>(file: &'a str, repository: &Path) -> &'a str {
    let dir = repository.to_string_lossy();
    file.strip_prefix(&*dir).map_or(file, |rest| rest.trim_start_matches('/'))
}

fn explain(name: &str, explanation: &Explanation, context: &Context) -> Outcome {
    let Explanation { holders, would_go, is_there } = explanation;
    let human = || {
        let mut text = format!("{}: {}\n", one_line(name), count(holders.len(), "count"));
        holders.iter().for_each(|holder| text.push_str(&format!("  held by {}\n", one_line(holder))));
        match would_go {
            Some(why) => text.push_str(&format!("  would go: {}\n", one_line(why))),
            None if holders.is_empty() => {
                text.push_str("  would stay: no metadata that goes lists it, or it is not what is listed\n");
            }
            None => {}
        }
        if !is_there {
            text.push_str("  there is no such file: only its name is held\n");
        }
        text
    };
    let json = json!({
        "file": name,
        "count": holders.len(),
        "exists": is_there,
        "holders": holders,
        "would_delete": would_go.is_some(),
    });
    context.output.result(human, json)
}
