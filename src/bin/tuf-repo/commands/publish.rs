//! `publish`: makes staged metadata live.

use std::time::Duration;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::terminal::{Interaction, confirm};
use tuf::cli::text::one_line;
use tuf::metadata::RoleName;
use tuf::repository::{DamagedRoots, Destination, Expiry, InputError, PublishRequest, Recovered, Recovery};

use super::common::{DryRun, progress_bytes, warn_of};
use super::destination::{DestinationArgs, Way, lock_place, shown};
use super::edit::{count, some};
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::{GIVES_WAY, failure, failure_over};

/// Publish what is written: checked as a new client and as one that stands on what is live, target files first, the
/// timestamp last. Nothing is ever deleted. What is live must be of this copy of the repository, or taken over by `pull`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    destination: DestinationArgs,

    /// Publish although some metadata has expired.
    #[arg(long)]
    allow_expired: bool,

    /// Let what is live of these roles (targets, snapshot, timestamp) give way, also to lower versions, where a new root takes
    /// away all keys that signed it: after the theft of such a key. Says what goes and asks.
    #[arg(long, value_name = "ROLE", num_args = 1..)]
    recover: Vec<String>,

    /// Recover without a question.
    #[arg(long, requires = "recover")]
    yes: bool,

    /// Publish over a place where no root can be read any more, where the snapshot that the timestamp names is missing or
    /// damaged and nobody can tell whose release that was, or where files that no live metadata leads to lie in the places of
    /// targets. What else is live there stays protected.
    #[arg(long)]
    replace_damaged: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Args {
    fn request(&self, wait: Duration) -> Result<PublishRequest, Failure> {
        let role = |name: &String| RoleName::new(name.as_str());
        let recover = self.recover.iter().map(role).collect::<Result<_, _>>();
        Ok(PublishRequest {
            expiry: if self.allow_expired { Expiry::Allow } else { Expiry::Enforce },
            wait,
            damaged_roots: if self.replace_damaged { DamagedRoots::Replace } else { DamagedRoots::Refuse },
            recover: recover.map_err(|error| failure(InputError::RoleName(error).into()))?,
        })
    }
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let wait = context.wait.and_then(|wait| wait.to_std().ok()).unwrap_or(Duration::ZERO);
    let place = lock_place(context, |policy, repository| args.destination.or_policy(policy, repository))?;
    let destination = place.at().clone();
    let program = super::next::program(&context.repo);
    let from = args.destination.options(Way::From).filter(|_| !args.destination.is_policys(place.policy()));
    let (repository, plan) = place
        .plan_publish(&args.request(wait)?)
        .map_err(|error| failure_over(error, from.as_deref(), recover_again))?;
    super::edit::warn_of_drafts(&repository, context);
    warn_of(&plan.warnings, context);
    show_recovery(&plan.recovery, context);
    // with everything live too: what a killed command left behind goes
    if !args.dry_run.dry_run {
        agree(&plan.recovery, &args, context)?;
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
        Destination::Own => "serve".to_owned(),
        Destination::Folder(_) | Destination::Bucket(_) => {
            format!(
                "verify --live{}",
                args.destination.or_policy_typed(repository.policy(), repository.dir())
            )
        }
    };
    let next = format!("{program} {next}");
    context.output.talk(&format!("{line} Next: {next}"));
    if !args.dry_run.dry_run && !args.destination.is_policys(repository.policy()) {
        let other = repository.policy().publish_to().unwrap_or("the repository's own metadata/");
        context.output.talk(&format!(
            "status and pull look at {}, the place of tuf-repo.toml; [publish] to = … there names another one.",
            one_line(other)
        ));
    }
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
        "recovered": recovered_json(&plan.recovery),
        "gone": plan.recovery.vanishing,
        "gone_roles": plan.recovery.gone_roles,
        "changed": plan.recovery.changing,
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

/// Says how roles give way by the same command.
fn recover_again(roles: &str) -> Hint {
    Hint::instead(GIVES_WAY, format!("--recover {roles}"))
}

/// Says which roles give way and what is no longer listed then.
fn show_recovery(recovery: &Recovery, context: &Context) {
    for Recovered { role, from, to } in &recovery.roles {
        context.output.talk(&format!("{role} goes from v{from}, which is live, to v{to}"));
    }
    let roles: Vec<String> = recovery.gone_roles.iter().map(ToString::to_string).collect();
    for (names, thing, fate) in [
        (&roles, "role", "live and will not be trusted"),
        (&recovery.vanishing, "target", "live and will not be listed"),
        (&recovery.changing, "target", "live and will be listed with other bytes"),
    ] {
        if !names.is_empty() {
            let number = count(names.len(), thing);
            context.output.talk(&one_line(&format!("{number} {fate}: {}", first_ten(names))));
        }
    }
}

/// Names things, ten of them where they are more.
fn first_ten(names: &[String]) -> String {
    match names.len().checked_sub(10).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", names[..10].join(", ")),
        None => names.join(", "),
    }
}

/// Asks the person at the terminal whether what is live may give way.
fn agree(recovery: &Recovery, args: &Args, context: &Context) -> Result<(), Failure> {
    if args.yes || recovery.roles.is_empty() {
        return Ok(());
    }
    let answer = match context.interaction {
        Interaction::Allowed => confirm("Let it give way? [y/N] "),
        Interaction::Forbidden => {
            let roles: Vec<String> = recovery.roles.iter().map(|found| found.role.to_string()).collect();
            let message = format!("what is live of {} gives way only when somebody agrees", some(&roles));
            return Err(Failure::attention(message)
                .with_hint(Hint::again("once the lines above are what you want", "--yes")));
        }
    };
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::attention("nothing was published")),
        Err(error) => Err(Failure::attention(format!("nobody answered: {error}"))
            .with_hint(Hint::again("agree beforehand", "--yes"))),
    }
}

fn recovered_json(recovery: &Recovery) -> Vec<serde_json::Value> {
    let one = |Recovered { role, from, to }: &Recovered| json!({ "role": role, "from": from, "to": to });
    recovery.roles.iter().map(one).collect()
}
