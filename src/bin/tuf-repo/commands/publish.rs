//! `publish`: makes staged metadata live.

use std::time::Duration;

use serde_json::json;
use tuf::cli::failure::Outcome;
use tuf::repository::{Destination, Expiry, PublishRequest, Repository};

use super::common::{DryRun, progress_bytes, warn_of};
use super::destination::{DestinationArgs, shown};
use super::edit::some;
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::failure;

/// Publish what is written: checked as a new client and as one that stands on what is live, target files first, the
/// timestamp last. Nothing is ever deleted.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    destination: DestinationArgs,

    /// Publish although some metadata has expired.
    #[arg(long)]
    allow_expired: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let wait = context.wait.and_then(|wait| wait.to_std().ok()).unwrap_or(Duration::ZERO);
    let unread = Repository::lock(&context.repo, context.now, wait).map_err(failure)?;
    let destination = args.destination.or_policy(unread.policy(), unread.dir())?;
    let expiry = if args.allow_expired { Expiry::Allow } else { Expiry::Enforce };
    let (repository, plan) =
        unread.plan_publish(&destination, &PublishRequest::new(expiry, wait)).map_err(failure)?;
    warn_of(&plan.warnings, context);
    // with everything live too: what a killed command left behind goes
    if !args.dry_run.dry_run {
        let label = if matches!(destination, Destination::Bucket(_)) { "Sending" } else { "Copying" };
        let bar = progress_bytes(context, plan.target_bytes(), &format!("{label} targets"));
        repository.execute_publish(&plan, &|bytes| bar.advance(bytes)).map_err(failure)?;
        drop(bar);
        if args.destination.is_policys(repository.policy())
            && let Err(error) = repository.remember_published(&plan)
        {
            context.output.warn(&format!("everything is live, but status will not know: {error}"));
        }
    }
    if args.dry_run.dry_run {
        repository.check_copies(&plan).map_err(failure)?;
    }
    let place = shown(&destination, &repository);
    let names: Vec<String> = plan.roles.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let line = match (plan.is_empty(), args.dry_run.dry_run) {
        (true, _) => format!("Nothing to do: {} is live in {place}.", some(&names)),
        (false, true) => {
            format!("Dry run, nothing changed: would publish {} to {place}.", some(&names))
        }
        (false, false) => format!("Published {} to {place}.", some(&names)),
    };
    let next = match &destination {
        Destination::Own => "serve",
        Destination::Folder(_) | Destination::Bucket(_) => "status --expires-within 7d",
    };
    let next = format!("{} {next}", super::next::program(&context.repo));
    context.output.talk(&format!("{line} Next: {next}"));
    if repository.policy().shared_targets().is_none() && destination.keeps_targets_apart(repository.dir()) {
        context.output.talk(
            "The targets lie apart from the metadata: where other repositories put files there too, say \
             shared-targets = true in [publish] of tuf-repo.toml, else shared-targets = false; until then gc leaves them.",
        );
    }
    let json = json!({
        "dry_run": args.dry_run.dry_run,
        "roles": plan.roles,
        "put": plan.put(),
        "deleted": [],
        "kept": plan.kept,
        "warnings": plan.warnings.iter().map(finding_json).collect::<Vec<_>>(),
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
