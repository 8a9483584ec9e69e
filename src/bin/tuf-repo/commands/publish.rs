//! `publish`: makes staged metadata live.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::text::quoted;
use tuf::repository::{Destination, Expiry};

use super::common::{DryRun, progress_bytes};
use super::edit::{open_locked, some};
use crate::context::Context;
use crate::failure::failure;

/// Publish what is written: checked as a new client and as one that stands on what is live, target files first, the
/// timestamp last. Nothing is ever deleted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that gets metadata/ and targets/ [default: publish.to of tuf-repo.toml, else the repository itself].
    #[arg(long, value_name = "DEST")]
    to: Option<String>,

    /// Publish although some metadata has expired.
    #[arg(long)]
    allow_expired: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let repository = open_locked(context)?;
    let to =
        args.to.clone().or_else(|| repository.policy().publish_to().map(|to| from_policy(&repository, to)));
    let destination = match &to {
        None => Destination::Own,
        Some(to) if to.contains("://") => {
            let scheme = to.split("://").next().unwrap_or_default();
            return Err(Failure::usage(format!(
                "cannot publish to a {scheme} URL: this version publishes to folders"
            ))
            .with_hint("--to DIR"));
        }
        Some(to) => Destination::Folder(PathBuf::from(to)),
    };
    let expiry = if args.allow_expired { Expiry::Allow } else { Expiry::Enforce };
    let wait = context.wait.and_then(|wait| wait.to_std().ok()).unwrap_or(Duration::ZERO);
    let plan = repository.plan_publish(&destination, expiry, wait).map_err(failure)?;
    plan.warnings.iter().for_each(|finding| context.output.warn(&finding.message));
    // with everything live too: what a killed command left behind goes
    if !args.dry_run.dry_run {
        let bar = progress_bytes(context, plan.target_bytes(), "Copying targets");
        repository.execute_publish(&plan, &|bytes| bar.advance(bytes)).map_err(failure)?;
        drop(bar);
    }
    let place = match &destination {
        Destination::Own => repository.dir().to_owned(),
        Destination::Folder(folder) => folder.clone(),
    };
    let names: Vec<String> = plan.roles.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let line = match (plan.is_empty(), args.dry_run.dry_run) {
        (true, _) => format!("Nothing to do: {} is live in {}.", some(&names), quoted(&place)),
        (false, true) => {
            format!("Dry run, nothing changed: would publish {} to {}.", some(&names), quoted(&place))
        }
        (false, false) => format!("Published {} to {}.", some(&names), quoted(&place)),
    };
    let next = match &destination {
        Destination::Own => "serve",
        Destination::Folder(_) => "status --expires-within 7d",
    };
    let next = format!("{} {next}", super::next::program(&context.repo));
    context.output.talk(&format!("{line} Next: {next}"));
    let json = json!({
        "dry_run": args.dry_run.dry_run,
        "roles": plan.roles,
        "put": plan.put(),
        "deleted": [],
        "kept": plan.kept,
    });
    let human = || {
        if args.dry_run.dry_run {
            plan.put().iter().map(|name| format!("put {name}\n")).collect()
        } else {
            String::new()
        }
    };
    context.output.result(human, json)
}

/// A folder in the policy is relative to the policy's own folder.
fn from_policy(repository: &tuf::repository::Repository, to: &str) -> String {
    match to.contains("://") {
        true => to.to_owned(),
        false => repository.dir().join(to).to_string_lossy().into_owned(),
    }
}
