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
    if !set.keys_rotated() {
        let live_file = |name: &str, error: TrustError| RepositoryError::Refused {
            file: format!("{METADATA}/{name}"),
            reason: error.into(),
        };
        if let Some(known) = &live.timestamp {
            kept_or_dropped(set.update_timestamp(&known.bytes))
                .map_err(|error| live_file("timestamp.json", error))?;
        }
        if let Some(known) = live.snapshot.as_ref().filter(|_| set.timestamp().is_some()) {
            let name = live.layout().metadata_name(&RoleName::snapshot(), known.metadata.signed().version);
            kept_or_dropped(set.update_snapshot(&known.bytes, Origin::Local))
                .map_err(|error| live_file(&name, error))?;
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

/// What a client has itself counts as far as it still verifies: it goes on without a file whose keys are gone, and keeps one that
/// has expired or is not the one announced.
///
/// # Errors
/// Every other failure: no client could have the file.
pub(super) fn kept_or_dropped<T>(taken: Result<T, TrustError>) -> Result<(), TrustError> {
    match taken {
        Ok(_)
        | Err(
            TrustError::Unsigned(_)
            | TrustError::Expired { .. }
            | TrustError::Version { .. }
            | TrustError::SameTimestamp { .. },
        ) => Ok(()),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{copy, keys, open, publish, repository, scratch, start, write};
    use super::*;

    #[test]
    fn a_client_drops_what_does_not_verify_and_keeps_what_is_only_old() {
        let role = RoleName::timestamp;
        let fine: [Result<(), TrustError>; 4] = [
            Ok(()),
            Err(TrustError::SameTimestamp { version: 1 }),
            Err(TrustError::Version { role: role(), expected: 2, found: 1 }),
            Err(TrustError::Expired { role: role(), version: 1, expires: start() }),
        ];
        for taken in fine {
            assert_eq!(kept_or_dropped(taken), Ok(()));
        }
        for error in [
            TrustError::Rollback { role: role(), trusted: 2, found: 1 },
            TrustError::RoleDropped { role: role(), version: 1 },
        ] {
            assert!(kept_or_dropped::<()>(Err(error)).is_err());
        }
    }

    #[test]
    fn a_client_on_the_live_state_takes_the_next_one_and_none_that_goes_back() {
        let (dir, old, keys) = (scratch(), scratch(), keys());
        repository(dir.path(), &keys);
        copy(dir.path(), old.path());
        let mut repository = open(dir.path(), start());
        repository.bump(&RoleName::targets(), None).unwrap();
        write(&mut repository, &keys);
        drop(repository);
        let [new, older] = [&dir, &old].map(|dir| Folder::new(dir.path().join(STAGED)));
        let live = || {
            let live = Folder::new(dir.path().join(METADATA));
            Accepted::read(&live, &new, 1, Extent::Whole).unwrap()
        };
        refuse_succession(&new, &live()).unwrap();
        publish(dir.path(), start());
        refuse_succession(&new, &live()).unwrap();
        let error = refuse_succession(&older, &live()).unwrap_err().to_string();
        assert!(error.contains("a client that stands on metadata would refuse it"), "{error}");
        fs::write(dir.path().join(STAGED).join("timestamp.json"), "{}").unwrap();
        assert!(refuse_succession(&new, &live()).is_err());
    }
}
