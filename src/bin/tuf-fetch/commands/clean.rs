//! `clean`: what is not trusted goes.

use serde_json::json;
use tuf::cli::text::one_line;
use tuf::client::{self, Cleaned, Judged, Limits, LocalMetadata, TargetDir};

use crate::failure::Failure;
use crate::session::Session;

pub fn run(session: &Session<'_>) -> Result<(), Failure> {
    let local = LocalMetadata::open(session.metadata_dir())?;
    let targets = TargetDir::open_existing(session.target_dir())?;
    let cleaned = client::clean(&local, targets.as_ref(), &Limits::default())?;
    let json = json!({ "removed_roles": cleaned.roles, "removed_targets": cleaned.targets });
    session.output.result(|| removed(&cleaned), json)?;
    if cleaned.judged == Judged::MetadataOnly {
        session.output.talk("targets were left alone: there is no current targets metadata to judge them by");
        session.output.talk("next: tuf-fetch --repo URL refresh");
    }
    Ok(())
}

fn removed(cleaned: &Cleaned) -> String {
    let roles = cleaned.roles.iter().map(|role| format!("removed metadata {}\n", one_line(role.as_str())));
    let targets = cleaned.targets.iter().map(|path| format!("removed target {}\n", one_line(path)));
    roles.chain(targets).collect()
}
