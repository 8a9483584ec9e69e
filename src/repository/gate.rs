//! What is staged as the successor of what is live: whether a client that stands on the live state would take the step.

use super::check::{Finding, Severity};
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{Layout, MAX_METADATA, METADATA, STAGED, is_versioned, parse_plain, parse_versioned};
use crate::metadata::{Metadata, RoleName, Snapshot, Targets};
use crate::storage::{Folder, Storage};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet};

/// Follows the update of a client that stands on the present live state; `files` are those that it may ask for.
///
/// # Errors
/// [`RepositoryError::Refused`] with the first reason why it would fail, or why two clients would see two things under one
/// version.
pub(super) fn refuse_succession(
    staged: &Folder,
    live: &dyn Storage,
    layout: Layout,
    files: &[String],
) -> Result<(), RepositoryError> {
    let Some(root) = read(live, "root.json")? else { return Ok(()) };
    old_client(staged, live, &root, layout)?;
    files.iter().try_for_each(|name| refuse_other_content(staged, live, layout, name))
}

/// As [`refuse_succession`], with the refusal as a finding.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn check_succession(
    staged: &Folder,
    live: &dyn Storage,
    layout: Layout,
    files: &[String],
) -> Result<Option<Finding>, RepositoryError> {
    match refuse_succession(staged, live, layout, files) {
        Err(RepositoryError::Refused { file, reason }) => {
            let name = file.rsplit('/').next().unwrap_or(&file);
            let role = parse_versioned(name).map(|(_, role)| role).or_else(|| parse_plain(name));
            let message = reason.to_string();
            Ok(Some(Finding { severity: Severity::Error, role, file: Some(file), message }))
        }
        other => other.map(|()| None),
    }
}

fn read(folder: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
    folder.read(name, MAX_METADATA).at(folder.place(name))
}

fn old_client(
    staged: &Folder,
    live: &dyn Storage,
    root: &[u8],
    layout: Layout,
) -> Result<(), RepositoryError> {
    let refused = |name: &str, error: TrustError| RepositoryError::Refused {
        file: format!("{STAGED}/{name}"),
        reason: Refusal::Finding(format!("a client that stands on {METADATA} would refuse it: {error}")),
    };
    let unreadable = |error: TrustError| RepositoryError::Refused {
        file: format!("{METADATA}/root.json"),
        reason: error.into(),
    };
    let now = chrono::DateTime::<chrono::Utc>::MIN_UTC;
    let mut set = TrustedMetadataSet::new(root, now).map_err(unreadable)?;
    refuse_root_fork(staged, live, set.root().version)?;
    loop {
        let name = format!("{}.root.json", set.root().version + 1);
        let Some(bytes) = read(staged, &name)? else { break };
        set.update_root(&bytes).map_err(|error| refused(&name, error))?;
    }
    // what the client has itself counts as far as it still verifies
    if !set.keys_rotated() {
        if let Some(bytes) = read(live, "timestamp.json")? {
            let _ = set.update_timestamp(&bytes);
        }
        let listed = set.timestamp().and_then(|timestamp| timestamp.snapshot()).map(|listed| listed.version);
        if let Some(version) = listed
            && let Some(bytes) = read(live, &layout.metadata_name(&RoleName::snapshot(), version))?
        {
            let _ = set.update_snapshot(&bytes, Origin::Local);
        }
    }
    let name = "timestamp.json";
    let timestamp = read(staged, name)?.unwrap_or_default();
    match set.update_timestamp(&timestamp) {
        Ok(_) => {}
        Err(TrustError::SameTimestamp { .. }) => {
            if read(live, name)?.as_deref() != Some(timestamp.as_slice()) {
                return Err(other_bytes(name));
            }
        }
        Err(error) => return Err(refused(name, error)),
    }
    let version =
        set.timestamp().and_then(|timestamp| timestamp.snapshot()).map_or(0, |listed| listed.version);
    let name = layout.metadata_name(&RoleName::snapshot(), version);
    let snapshot = read(staged, &name)?.unwrap_or_default();
    set.update_snapshot(&snapshot, Origin::Remote).map(drop).map_err(|error| refused(&name, error))
}

/// Refuses a staged history of roots that is not the live one's continuation.
fn refuse_root_fork(staged: &Folder, live: &dyn Storage, version: u64) -> Result<(), RepositoryError> {
    let name = format!("{version}.root.json");
    match (read(staged, &name)?, read(live, &name)?) {
        (_, None) => Ok(()),
        (Some(ours), Some(theirs)) if ours == theirs => Ok(()),
        (Some(_), Some(_)) => Err(other_bytes(&name)),
        (None, Some(_)) => Err(RepositoryError::Refused {
            file: format!("{STAGED}/{name}"),
            reason: Refusal::Finding(format!("missing, and clients that stand on {METADATA} have it")),
        }),
    }
}

/// Refuses a file that is live in the same version with other content. Where the name holds the version it is enough to
/// compare bytes; plain names are replaced as versions go up.
fn refuse_other_content(
    staged: &Folder,
    live: &dyn Storage,
    layout: Layout,
    name: &str,
) -> Result<(), RepositoryError> {
    if matches!(name, "root.json" | "timestamp.json") {
        return Ok(());
    }
    let Some(theirs) = read(live, name)? else { return Ok(()) };
    let ours = read(staged, name)?.unwrap_or_default();
    let same_version = || match parse_plain(name).filter(|_| !is_versioned(layout, name)) {
        None => true,
        Some(role) => version(&role, &theirs).is_some_and(|theirs| Some(theirs) == version(&role, &ours)),
    };
    if ours != theirs && same_version() { Err(other_bytes(name)) } else { Ok(()) }
}

/// Returns the version that a file states; `None` where it is no metadata, which no client has taken.
fn version(role: &RoleName, bytes: &[u8]) -> Option<u64> {
    match role.as_str() {
        "snapshot" => Metadata::<Snapshot>::from_bytes(bytes).ok().map(|file| file.signed().version),
        _ => Metadata::<Targets>::from_bytes(bytes).ok().map(|file| file.signed().version),
    }
}

fn other_bytes(name: &str) -> RepositoryError {
    RepositoryError::Refused { file: format!("{METADATA}/{name}"), reason: Refusal::OtherBytes }
}
