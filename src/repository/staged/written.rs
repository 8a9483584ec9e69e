//! The written metadata, followed from the timestamp down as a client does, without the hash bins.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rayon::prelude::*;
use serde::Deserialize;

use super::super::bins::{BinSet, Delegatee, delegatees};
use super::super::error::{AtPath, Refusal, RepositoryError};
use super::super::layout::{Layout, MAX_METADATA, STAGED};
use super::draft_of;
use crate::metadata::{Metadata, ParseError, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles, regular_or_none};
use crate::verify::Delegator;

/// What is written.
pub(super) struct Written {
    pub(super) root: Option<Metadata<Root>>,
    pub(super) timestamp: Option<Metadata<Timestamp>>,
    pub(super) snapshot: Option<Metadata<Snapshot>>,
    /// The roles that list targets and are no hash bins.
    pub(super) targets: BTreeMap<RoleName, Metadata<Targets>>,
    /// The hash bins that they delegate to.
    pub(super) bins: Vec<BinSet>,
    /// The delegated roles whose files are missing, no metadata, or of another version than the snapshot lists.
    pub(super) damaged: Damaged,
}

/// Delegated roles whose written files cannot be read: their fault is no reason to refuse the others.
pub(super) type Damaged = BTreeMap<RoleName, Damage>;

/// Why the written file of a delegated role cannot be read.
#[derive(Debug, Clone)]
pub(in crate::repository) struct Damage {
    /// The file, relative to the repository.
    pub(in crate::repository) file: String,
    /// What is wrong.
    pub(in crate::repository) reason: String,
}

impl Damage {
    /// Takes the damage of a delegated role's written file; any other failure stays one.
    pub(super) fn take<T>(
        role: &RoleName,
        read: Result<T, RepositoryError>,
    ) -> Result<Result<T, Self>, RepositoryError> {
        match read {
            Err(RepositoryError::Refused { file, reason })
                if !role.is_top_level() && draft_of(&file).is_none() =>
            {
                Ok(Err(Self { file, reason: reason.to_string() }))
            }
            other => other.map(Ok),
        }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file, self.reason)
    }
}

impl From<Damage> for RepositoryError {
    fn from(Damage { file, reason }: Damage) -> Self {
        Self::Refused { file, reason: Refusal::Finding(reason) }
    }
}

impl Written {
    pub(super) fn read(folder: &Folder) -> Result<Self, RepositoryError> {
        let mut written = Self {
            root: None,
            timestamp: None,
            snapshot: None,
            targets: BTreeMap::new(),
            bins: Vec::new(),
            damaged: Damaged::new(),
        };
        // a `write` that was killed between N.root.json and root.json: clients take the former
        let root = read_written::<Root>(folder, "root.json")?;
        let root = root.map_or_else(|| read_written(folder, "1.root.json"), |root| Ok(Some(root)))?;
        let Some(mut root) = root else { return Ok(written) };
        while let Some(next) =
            read_written::<Root>(folder, &format!("{}.root.json", root.signed().version + 1))?
        {
            root = next;
        }
        let layout = Layout::of(root.signed().consistent_snapshot);
        written.root = Some(root);
        let Some(timestamp) = read_written::<Timestamp>(folder, "timestamp.json")? else {
            return Ok(written);
        };
        let version = timestamp.signed().snapshot().map_or(0, |listed| listed.version);
        written.timestamp = Some(timestamp);
        let snapshot: Metadata<Snapshot> =
            required(folder, &layout.metadata_name(&RoleName::snapshot(), version))?;
        written.follow(folder, layout, snapshot.signed())?;
        // whoever edits asks for this, and meanwhile the names of the files are still being listed
        if let Some(authority) =
            written.root.as_ref().and_then(|root| root.signed().authority(&RoleName::snapshot()))
        {
            authority.check(snapshot.covered());
        }
        written.snapshot = Some(snapshot);
        Ok(written)
    }

    /// Follows the delegations level by level, each level on all cores.
    fn follow(
        &mut self,
        folder: &Folder,
        layout: Layout,
        snapshot: &Snapshot,
    ) -> Result<(), RepositoryError> {
        let mut level = vec![RoleName::targets()];
        let mut seen = BTreeSet::new();
        while !level.is_empty() {
            level.retain(|role| seen.insert(role.clone()));
            let listed = level.into_iter().filter_map(|role| Some((snapshot.role(&role)?.version, role)));
            let listed: Vec<(u64, RoleName)> = listed.collect();
            let delegators = || self.targets.values().map(Metadata::signed);
            let read = |(version, role): (u64, RoleName)| {
                let read = listed_role(folder, layout, &role, version, delegators());
                Ok::<_, RepositoryError>((Damage::take(&role, read)?, role))
            };
            let read: Vec<_> = listed.into_par_iter().map(read).collect::<Result<_, _>>()?;
            level = Vec::new();
            for (read, role) in read {
                let metadata = match read {
                    Ok(metadata) => metadata,
                    Err(damage) => {
                        self.damaged.insert(role, damage);
                        continue;
                    }
                };
                for delegatee in metadata.signed().delegations.as_ref().map(delegatees).unwrap_or_default() {
                    match delegatee {
                        Delegatee::Role(role) => level.push(role),
                        Delegatee::Bins(bins) => self.bins.push(bins),
                    }
                }
                self.targets.insert(role, metadata);
            }
        }
        Ok(())
    }
}

/// Reads a file that must be there.
///
/// # Errors
/// [`RepositoryError::Refused`] where it is not, or is no metadata of its kind.
pub(super) fn required<T: Signed>(folder: &Folder, name: &str) -> Result<Metadata<T>, RepositoryError> {
    let missing = || RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason: Refusal::Missing };
    read_written(folder, name)?.ok_or_else(missing)
}

/// Reads the file of a role that lists targets and that the written snapshot lists at a version. The file states that
/// version. In the plain layout a killed `write` may have put the next one, signed for one of the delegators: anything else
/// that states a higher version was put by somebody, and no snapshot may list it.
///
/// # Errors
/// As [`required`]; [`RepositoryError::Refused`] where the file states another version.
pub(super) fn listed_role<'a>(
    folder: &Folder,
    layout: Layout,
    role: &RoleName,
    version: u64,
    mut delegators: impl Iterator<Item = &'a Targets>,
) -> Result<Metadata<Targets>, RepositoryError> {
    let name = layout.metadata_name(role, version);
    let metadata = required::<Targets>(folder, &name)?;
    let stated = metadata.signed().version;
    let mut is_put = |metadata: &Metadata<Targets>| {
        let signed_for = |delegator: &Targets| {
            let authority = delegator.authority(role);
            authority.is_some_and(|authority| authority.check(metadata.covered()).is_verified())
        };
        stated > version && delegators.any(signed_for)
    };
    let fits = match layout {
        _ if stated == version => true,
        Layout::Consistent => false,
        // what a killed `write` left of it is judged by whoever writes next; an older file was put back
        Layout::Plain => (role.is_top_level() && stated > version) || is_put(&metadata),
    };
    if fits {
        return Ok(metadata);
    }
    let reason = format!("states version {stated}, and the snapshot lists version {version}");
    Err(RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason: Refusal::Finding(reason) })
}

fn read_written<T: Signed>(folder: &Folder, name: &str) -> Result<Option<Metadata<T>>, RepositoryError> {
    let refused = |reason| RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason };
    let bytes = regular_or_none(folder.read(name, MAX_METADATA)).at(folder.file(name))?;
    let Some(bytes) = bytes else { return Ok(None) };
    Metadata::from_file(bytes).map(Some).map_err(|error| refused(Refusal::Unreadable(error)))
}

/// Reads when a role's metadata expires, and nothing else of it.
///
/// # Errors
/// As [`required`].
pub(super) fn read_expiry(folder: &Folder, name: &str) -> Result<DateTime<Utc>, RepositoryError> {
    #[derive(Deserialize)]
    struct File {
        signed: Head,
    }

    #[derive(Deserialize)]
    struct Head {
        #[serde(with = "crate::metadata::time")]
        expires: DateTime<Utc>,
    }

    let refused = |reason| RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason };
    let bytes = regular_or_none(folder.read(name, MAX_METADATA)).at(folder.file(name))?;
    let bytes = bytes.ok_or_else(|| refused(Refusal::Missing))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| {
        refused(Refusal::Unreadable(ParseError::Malformed { kind: Targets::TYPE, reason: error.to_string() }))
    })?;
    Ok(file.signed.expires)
}
