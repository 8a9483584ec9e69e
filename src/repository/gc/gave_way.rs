//! Files that stood live and gave way to a new root (`publish --recover`): what a thief has published. Nothing that is retained
//! lists them, though their versions may be above all that is listed, where a killed `write` leaves its files too.
//!
//! A file gave way where roots of this repository vouch for its signatures, and the newest root has none of the keys that made
//! them; a delegated role's, where only such files delegate to the keys that signed it. Such a file goes like any other that is
//! dropped: a role file only if the history knows it. The others stay, and are named.

use std::collections::BTreeSet;

use super::super::error::{AtPath, RepositoryError};
use super::super::layout::MAX_METADATA;
use super::super::signed_by::SignedBy;
use super::snapshots::Side;
use crate::metadata::{Delegations, Metadata, RoleName, Root, Signed, Snapshot, Targets};
use crate::verify::{Authority, Delegator};

/// A file whose version is above all that is listed, or whose role nobody lists.
pub(super) struct AheadFile<'a> {
    pub(super) name: &'a str,
    pub(super) role: RoleName,
    pub(super) version: u64,
}

/// A role file, read.
struct RoleFile<'a> {
    file: &'a AheadFile<'a>,
    metadata: Metadata<Targets>,
}

/// Finds the files that gave way among those of a folder that are ahead; `sides` are all folders that are read.
pub(super) fn gave_way<'a>(
    side: &Side<'_>,
    ahead: &'a [AheadFile<'a>],
    sides: &[Side<'_>],
) -> Result<BTreeSet<&'a str>, RepositoryError> {
    let mut found = BTreeSet::new();
    let newest = side.roots.iter().max_by_key(|root| root.version);
    let Some(newest) = newest.filter(|_| side.roots.len() > 1) else { return Ok(found) };
    let mut waiting = Vec::new();
    for file in ahead {
        if file.role.as_str() == "snapshot" {
            let snapshot = read::<Snapshot>(side, file)?;
            if snapshot.is_some_and(|snapshot| has_lost_its_keys(&snapshot, &file.role, &side.roots, newest))
            {
                found.insert(file.name);
            }
        } else if let Some(metadata) = read::<Targets>(side, file)? {
            waiting.push(RoleFile { file, metadata });
        }
    }
    let (lost, mut waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|read| {
        let role = &read.file.role;
        role.as_str() == "targets" && has_lost_its_keys(&read.metadata, role, &side.roots, newest)
    });
    let mut led: Vec<RoleFile<'_>> = lost;
    while !led.is_empty() {
        found.extend(led.iter().map(|read| read.file.name));
        let old: Vec<&Delegations> =
            led.iter().filter_map(|read| read.metadata.signed().delegations.as_ref()).collect();
        let current = sides.iter().flat_map(|side| &side.delegations).map(|(_, delegations)| delegations);
        let ahead = waiting.iter().filter_map(|read| read.metadata.signed().delegations.as_ref());
        let trusted: Vec<&Delegations> = current.chain(ahead).collect();
        let is_led = |read: &RoleFile<'_>| {
            let signed_by =
                signers(&read.metadata, old.iter().filter_map(|by| by.authority(&read.file.role)));
            let is_kept =
                |by: &&Delegations| signed_by.kept_by(by.authority(&read.file.role).as_ref()).is_some();
            !signed_by.is_empty() && !trusted.iter().any(is_kept)
        };
        let are_led: Vec<bool> = waiting.iter().map(is_led).collect();
        let mut are_led = are_led.into_iter();
        (led, waiting) = waiting.into_iter().partition(|_| are_led.next().unwrap_or(false));
    }
    Ok(found)
}

/// Tells whether roots vouch for metadata and the newest one has none of the keys that signed it.
fn has_lost_its_keys<T: Signed>(
    metadata: &Metadata<T>,
    role: &RoleName,
    roots: &[Root],
    newest: &Root,
) -> bool {
    signers(metadata, roots.iter().filter_map(|root| root.authority(role))).refuse_kept(role, newest).is_ok()
}

/// Returns the keys that signed metadata; none where no authority is met.
fn signers<'d, T: Signed>(
    metadata: &Metadata<T>,
    authorities: impl Iterator<Item = Authority<'d>>,
) -> SignedBy {
    let (mut signed_by, mut is_verified) = (SignedBy::default(), false);
    for authority in authorities {
        let result = authority.check(metadata.covered());
        is_verified |= result.is_verified();
        signed_by.add(&result, &authority);
    }
    if is_verified { signed_by } else { SignedBy::default() }
}

/// Reads a file; `None` where it is not the metadata that its name says.
fn read<T: Signed>(side: &Side<'_>, file: &AheadFile<'_>) -> Result<Option<Metadata<T>>, RepositoryError> {
    let bytes = side.folder.read(file.name, MAX_METADATA).at(side.folder.place(file.name))?;
    let metadata = bytes.and_then(|bytes| Metadata::<T>::from_file(bytes).ok());
    Ok(metadata.filter(|metadata| metadata.signed().version() == file.version))
}
