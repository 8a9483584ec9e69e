//! What becomes of each metadata file, as far as its name tells. What may go is read before it does: see
//! [`super::records`].

use super::super::layout::{Layout, parse_plain, parse_versioned};
use super::counts::Counts;
use super::snapshots::Side;
use crate::metadata::RoleName;

/// What becomes of a metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It stays although no retained snapshot lists it: what the role lists there stays too.
    Ahead,
    /// It stays, and its name is not understood.
    Unknown,
    /// It may go, being a snapshot of this version.
    Snapshot(u64),
    /// It may go, being the metadata of a role, in this version where its name states one.
    Role(RoleName, Option<u64>),
}

/// Judges the metadata file of a name; `retained` are the versions of the snapshots that are retained, the newest first.
pub(super) fn fate(side: &Side<'_>, name: &str, retained: &[u64], counts: &Counts) -> Fate {
    if matches!(name, "root.json" | "timestamp.json") {
        return Fate::Stays;
    }
    if side.layout == Layout::Plain {
        return plain_fate(name, counts);
    }
    let Some((version, role)) = parse_versioned(name) else { return Fate::Unknown };
    // what is newer than all that is listed is what a killed `write` or `publish` has put: the next run goes on from it,
    // and its version must not be taken for a free one
    let is_newer = |newest: Option<u64>| newest.is_none_or(|newest| version > newest);
    match role.as_str() {
        "root" => Fate::Stays,
        "timestamp" => Fate::Unknown,
        "snapshot" if is_newer(retained.first().copied()) => Fate::Ahead,
        "snapshot" if retained.binary_search_by(|other| version.cmp(other)).is_ok() => Fate::Stays,
        "snapshot" => Fate::Snapshot(version),
        name if is_newer(counts.newest(name)) => Fate::Ahead,
        name if counts.state(name, version).is_some() => Fate::Stays,
        _ => Fate::Role(role, Some(version)),
    }
}

/// In the plain layout only the files of roles that the snapshot does not list are left over.
fn plain_fate(name: &str, counts: &Counts) -> Fate {
    if parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root") {
        return Fate::Stays;
    }
    match parse_plain(name) {
        None => Fate::Unknown,
        Some(role) if role.as_str() == "snapshot" || counts.newest(role.as_str()).is_some() => Fate::Stays,
        Some(role) => Fate::Role(role, None),
    }
}
