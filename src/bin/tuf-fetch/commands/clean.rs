//! `clean`: what tuf-fetch has put and nobody trusts any more goes.

use serde_json::{Value, json};
use tuf::cli::text::one_line;
use tuf::client::{self, Cleaned, Kept, Limits, LocalMetadata, Removal, TargetDir};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Print what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(session: &Session<'_>, args: &Args) -> Result<(), Failure> {
    let local = LocalMetadata::open(session.metadata_dir())?;
    let targets = TargetDir::open_existing(session.target_dir())?;
    let removal = if args.dry_run { Removal::Planned } else { Removal::Done };
    let cleaned = client::clean(&local, targets.as_ref(), &Limits::default(), session.now, removal)?;
    let json = json!({
        "dry_run": args.dry_run,
        "removed_roles": cleaned.roles,
        "removed_targets": cleaned.targets,
        "removed_unfinished": cleaned.unfinished,
        "kept": cleaned.kept.iter().chain(&cleaned.unreachable).map(kept_json).collect::<Vec<_>>(),
    });
    session.output.result(|| removed(&cleaned), json)?;
    for kept in cleaned.kept.iter().chain(&cleaned.unreachable) {
        session.output.talk(&format!("kept {}: {}", kept.what, kept.reason));
    }
    if !cleaned.kept.is_empty() {
        session.output.talk("next: tuf-fetch --repo URL list, which fetches the metadata of all roles");
    }
    if args.dry_run {
        session.output.talk("nothing was removed: --dry-run");
    }
    Ok(())
}

fn removed(cleaned: &Cleaned) -> String {
    let roles = cleaned.roles.iter().map(|role| format!("removed metadata {}\n", one_line(role.as_str())));
    let targets = cleaned.targets.iter().map(|path| format!("removed target {}\n", one_line(path)));
    let unfinished = match cleaned.unfinished {
        0 => String::new(),
        count => format!("removed {count} unfinished\n"),
    };
    roles.chain(targets).collect::<String>() + &unfinished
}

fn kept_json(kept: &Kept) -> Value {
    json!({ "what": kept.what, "reason": kept.reason })
}
