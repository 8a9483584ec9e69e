//! What is staged as the successor of what is live: whether a client that stands on the live state would take the step.

use std::collections::BTreeSet;
use std::path::Path;

use super::accepted::{Accepted, Extent, Roots};
use super::ancestry::{
    DamagedRoots, LostSnapshot, Ours, Permissions, Signers, Successor, refuse_taken, refuse_what_is_not_ours,
};
use super::check::{Checked, Finding, Severity};
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{Layout, MAX_METADATA, METADATA, STAGED, is_versioned, parse_plain, parse_versioned};
use crate::metadata::{Metadata, RoleName, Root, Signed, Snapshot};
use crate::storage::{Folder, Storage};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet};

/// Follows the update of a client that stands on the present live state.
///
/// # Errors
/// [`RepositoryError::Refused`] with the first reason why it would fail.
pub(super) fn refuse_succession(staged: &Folder, live: &Accepted) -> Result<(), RepositoryError> {
    let Some(root) = live.root.as_ref().filter(|_| matches!(live.roots, Roots::Whole | Roots::Foreign))
    else {
        return Ok(());
    };
    let refused = |name: &str, error: TrustError| RepositoryError::Refused {
        file: format!("{STAGED}/{name}"),
        reason: Refusal::Finding(format!("a client that stands on {METADATA} would refuse it: {error}")),
    };
    let unreadable = |error: TrustError| RepositoryError::Refused {
        file: format!("{METADATA}/root.json"),
        reason: error.into(),
    };
    let now = chrono::DateTime::<chrono::Utc>::MIN_UTC;
    let mut set = TrustedMetadataSet::new(&root.bytes, now).map_err(unreadable)?;
    loop {
        let name = format!("{}.root.json", set.root().version + 1);
        let Some(bytes) = read(staged, &name)? else { break };
        set.update_root(&bytes).map_err(|error| refused(&name, error))?;
    }
    // what the client has itself counts as far as it still verifies
    if !set.keys_rotated() {
        if let Some(known) = &live.timestamp {
            let _ = set.update_timestamp(&known.bytes);
        }
        if let Some(known) = &live.snapshot {
            let _ = set.update_snapshot(&known.bytes, Origin::Local);
        }
    }
    let name = "timestamp.json";
    match set.update_timestamp(&read(staged, name)?.unwrap_or_default()) {
        Ok(_) | Err(TrustError::SameTimestamp { .. }) => {}
        Err(error) => return Err(refused(name, error)),
    }
    let version =
        set.timestamp().and_then(|timestamp| timestamp.snapshot()).map_or(0, |listed| listed.version);
    let layout = Layout::of(set.root().consistent_snapshot);
    let name = layout.metadata_name(&RoleName::snapshot(), version);
    let snapshot = read(staged, &name)?.unwrap_or_default();
    set.update_snapshot(&snapshot, Origin::Remote).map(drop).map_err(|error| refused(&name, error))
}

/// What `publish` would refuse of what is staged and was checked, as a finding.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn check_succession(
    repository: &Path,
    first_root: u64,
    checked: &Checked,
) -> Result<Option<Finding>, RepositoryError> {
    let (staged, live) = (Folder::new(repository.join(STAGED)), Folder::new(repository.join(METADATA)));
    let version = |role: &RoleName| checked.report.versions.get(role).copied();
    let named = |role: RoleName| checked.layout.metadata_name(&role, version(&role).unwrap_or(0));
    let root: Option<Metadata<Root>> = parsed(&staged, &named(RoleName::root()))?;
    let snapshot: Option<Metadata<Snapshot>> = parsed(&staged, &named(RoleName::snapshot()))?;
    let successor = Successor {
        root: root.as_ref().map(Metadata::signed),
        timestamp: version(&RoleName::timestamp()),
        snapshot: snapshot.as_ref().map(Metadata::signed),
    };
    let accepted = Accepted::read(&live, &staged, first_root, Extent::Whole)?;
    let ours = Ours::of(repository, &staged, checked.layout);
    let none = BTreeSet::new();
    let permissions = Permissions {
        damaged_roots: DamagedRoots::Refuse,
        lost_snapshot: LostSnapshot::Refuse,
        recover: &none,
    };
    let refused = refuse_what_is_not_ours(&accepted, successor, &ours, permissions)
        .and_then(|_| refuse_succession(&staged, &accepted))
        .and_then(|()| refuse_taken_names(&staged, &live, &accepted, successor.root, checked));
    match refused {
        Err(RepositoryError::Refused { file, reason }) => {
            let name = file.rsplit('/').next().unwrap_or(&file);
            let role = parse_versioned(name).map(|(_, role)| role).or_else(|| parse_plain(name));
            let message = reason.to_string();
            Ok(Some(Finding { severity: Severity::Error, role, file: Some(file), message }))
        }
        other => other.map(|()| None),
    }
}

/// Refuses versioned files that are live with other bytes and that clients may be led to.
fn refuse_taken_names(
    staged: &Folder,
    live: &dyn Storage,
    accepted: &Accepted,
    root: Option<&Root>,
    checked: &Checked,
) -> Result<(), RepositoryError> {
    let signers = Signers { root, targets: &checked.targets };
    for name in checked.files.iter().filter(|name| is_versioned(checked.layout, name)) {
        let Some(theirs) = read(live, name)? else { continue };
        if read(staged, name)?.as_ref() != Some(&theirs) {
            refuse_taken(accepted, &signers, name, &theirs)?;
        }
    }
    Ok(())
}

fn read(folder: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
    folder.read(name, MAX_METADATA).at_place(|| folder.place(name))
}

fn parsed<T: Signed>(folder: &Folder, name: &str) -> Result<Option<Metadata<T>>, RepositoryError> {
    Ok(read(folder, name)?.and_then(|bytes| Metadata::from_file(bytes).ok()))
}
