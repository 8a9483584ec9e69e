//! `clean`: what tuf-fetch has put and nobody trusts any more goes.

use serde_json::{Value, json};
use tuf::cli::text::one_line;
use tuf::client::{self, Cleaned, Kept, Limits, LocalMetadata, Removal, TargetDir};

use crate::failure::{Failure, Failures};
use crate::session::Session;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Print what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Returns the words that say the options again.
    pub fn options(&self) -> Vec<String> {
        self.dry_run.then(|| "--dry-run".to_owned()).into_iter().collect()
    }
}

pub fn run(session: &Session<'_>, args: &Args) -> Result<(), Failures> {
    let local = LocalMetadata::open(session.metadata_dir())?;
    let targets = TargetDir::open_existing(session.target_dir())?;
    let removal = if args.dry_run { Removal::Planned } else { Removal::Done };
    let cleaned = client::clean(&local, targets.as_ref(), &Limits::default(), session.now, removal)?;
    let failed = |kept: &Kept| Failure::io(kept.what.as_str(), kept.reason.as_str());
    let failures = Failures(cleaned.failed.iter().map(failed).collect());
    let mut json = json!({
        "dry_run": args.dry_run,
        "removed_roles": cleaned.roles,
        "removed_targets": cleaned.targets,
        "removed_unfinished": cleaned.unfinished,
        "kept": cleaned.kept.iter().chain(&cleaned.unsure).map(kept_json).collect::<Vec<_>>(),
    });
    failures.add_to(&mut json, &session.given);
    let done = if args.dry_run { "would remove" } else { "removed" };
    session.output.result(|| removed(&cleaned, done), json)?;
    for kept in cleaned.kept.iter().chain(&cleaned.unsure) {
        session.output.talk(&format!("kept {}: {}", kept.what, kept.reason));
    }
    if !cleaned.unsure.is_empty() {
        // it fetches the metadata of all roles
        session.output.talk(&format!("next: {}", session.given.next(&["list"])));
    }
    if args.dry_run {
        session.output.talk("nothing was removed: --dry-run");
    }
    failures.end()
}

fn removed(cleaned: &Cleaned, done: &str) -> String {
    let roles = cleaned.roles.iter().map(|role| format!("{done} metadata {}\n", one_line(role.as_str())));
    let targets = cleaned.targets.iter().map(|path| format!("{done} target {}\n", one_line(path)));
    let unfinished = match cleaned.unfinished {
        0 => String::new(),
        count => format!("{done} {count} unfinished\n"),
    };
    roles.chain(targets).collect::<String>() + &unfinished
}

fn kept_json(kept: &Kept) -> Value {
    json!({ "what": kept.what, "reason": kept.reason })
}
