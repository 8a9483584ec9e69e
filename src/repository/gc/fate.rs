//! What becomes of each file, by its name wherever that is enough.

use std::io;

use chrono::{DateTime, Utc};

use super::super::error::RepositoryError;
use super::super::layout::{Layout, parse_plain, parse_versioned};
use super::counts::{Counts, is_copy};
use super::snapshots::{Side, required};
use crate::metadata::Targets;
use crate::storage::Storage;

/// What becomes of a metadata file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It stays, and its name is not understood.
    Unknown,
    /// It goes, being a snapshot.
    Snapshot,
    /// It goes, being other metadata.
    Metadata,
}

/// Judges the metadata file of a name; `retained` are the versions of the snapshots that are retained, the newest first.
pub(super) fn fate(
    side: &Side<'_>,
    name: &str,
    retained: &[u64],
    counts: &Counts,
) -> Result<Fate, RepositoryError> {
    if matches!(name, "root.json" | "timestamp.json") {
        return Ok(Fate::Stays);
    }
    if side.layout == Layout::Plain {
        return plain_fate(side, name, counts);
    }
    let Some((version, role)) = parse_versioned(name) else { return Ok(Fate::Unknown) };
    // what is newer than all that is listed is what a killed `write` or `publish` has put: the next run goes on from it,
    // and its version must not be taken for a free one
    let is_newer = |newest: Option<u64>| newest.is_none_or(|newest| version > newest);
    Ok(match role.as_str() {
        "root" => Fate::Stays,
        "timestamp" => Fate::Unknown,
        "snapshot" if is_newer(retained.first().copied()) => Fate::Stays,
        "snapshot" if retained.binary_search_by(|other| version.cmp(other)).is_ok() => Fate::Stays,
        "snapshot" => Fate::Snapshot,
        role if is_newer(counts.newest(role)) || counts.state(role, version).is_some() => Fate::Stays,
        _ => Fate::Metadata,
    })
}

/// In the plain layout only the files of roles that the snapshot no longer lists are left over.
fn plain_fate(side: &Side<'_>, name: &str, counts: &Counts) -> Result<Fate, RepositoryError> {
    if parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root") {
        return Ok(Fate::Stays);
    }
    let Some(role) = parse_plain(name) else { return Ok(Fate::Unknown) };
    if role.as_str() == "snapshot" || counts.newest(role.as_str()).is_some() {
        return Ok(Fate::Stays);
    }
    match required::<Targets>(side.folder, side.prefix, name) {
        Ok(_) => Ok(Fate::Metadata),
        Err(RepositoryError::Refused { .. }) => Ok(Fate::Unknown),
        Err(error) => Err(error),
    }
}

/// Whose files a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The maintainer's own among them.
    Workshop,
    /// Only those that `publish` has put.
    Published,
    /// The same, where no lock keeps a publisher away.
    Bucket,
}

/// What tells which target files go.
pub(super) struct TargetFiles<'a> {
    pub(super) folder: &'a dyn Storage,
    pub(super) layout: Layout,
    pub(super) place: Place,
    pub(super) counts: &'a Counts,
    /// Published files that are younger may belong to a publication under way: those of the plain layout, and all in a
    /// bucket.
    pub(super) oldest: DateTime<Utc>,
}

impl TargetFiles<'_> {
    /// With consistent snapshots only hash-named copies go: a file of another name is somebody's work.
    pub(super) fn may_go(&self, path: &str) -> io::Result<bool> {
        let named = match self.layout {
            Layout::Consistent => is_copy(path),
            // plain names tell nothing: where people work, a file that nothing lists may be about to be added
            Layout::Plain => {
                self.place != Place::Workshop && !path.rsplit('/').next().unwrap_or(path).starts_with('.')
            }
        };
        if !named || self.counts.holds_target(path) {
            return Ok(false);
        }
        if self.layout == Layout::Consistent && self.place != Place::Bucket {
            return Ok(true);
        }
        let modified = self.folder.modified(path)?.map(DateTime::<Utc>::from);
        Ok(modified.is_some_and(|modified| modified < self.oldest))
    }
}
