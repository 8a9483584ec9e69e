//! Live metadata that was signed only by keys which a newer root here takes away: after the theft of a key, what the thief has
//! published. Nobody takes it over; it gives way to the new root (`publish --recover`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Repository;
use super::accepted::{Accepted, Extent, Known, Twin};
use super::error::{AtPath, Refusal, RepositoryError};
use super::history::History;
use super::layout::METADATA;
use super::place::Destination;
use super::publish::Place;
use super::staged::AnyRole;
use crate::crypto::{Fingerprint, fingerprint};
use crate::metadata::{RoleName, Root, Signed, Timestamp};
use crate::storage::Storage;
use crate::verify::{Delegator, Verified};

/// What is live and was signed only by keys that the newest root here takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenAway {
    /// The roles: targets, snapshot, timestamp.
    pub roles: Vec<RoleName>,
    /// Whether something else is live that this copy does not know, signed with keys that stay.
    pub others: bool,
}

/// The file that says where clients begin.
const ROOT: &str = "root.json";

impl Repository {
    /// Returns the roles (targets, snapshot, timestamp) whose metadata at a place is not of this copy and was signed only by keys
    /// that the newest root here, written or drafted, takes away.
    ///
    /// # Errors
    /// [`RepositoryError::Io`], [`super::InputError::History`], [`RepositoryError::Locked`].
    pub fn taken_away(&self, at: &Destination, wait: Duration) -> Result<TakenAway, RepositoryError> {
        let place = Place::look_at(&self.dir, at, wait)?;
        self.taken_away_at(place.metadata())
    }

    /// Does what [`Repository::taken_away`] does, at a place that is open already.
    ///
    /// # Errors
    /// As [`Repository::taken_away`].
    pub(super) fn taken_away_at(&self, live: &dyn Storage) -> Result<TakenAway, RepositoryError> {
        let newest = self.staged.root.effective();
        let written = self.staged.folder();
        if newest.is_none() || live.length(ROOT).at(live.place(ROOT))?.is_none() {
            return Ok(TakenAway::default());
        }
        let accepted = Accepted::read(live, written, self.policy.first_root(), Extent::Whole)?;
        let old = accepted.root.as_ref().map(|known| known.metadata.signed());
        let Some((old, new)) = old.zip(newest).filter(|(old, new)| new.version > old.version) else {
            return Ok(TakenAway::default());
        };
        let history = History::recorded(&self.dir)?.unwrap_or_default();
        let foreign: BTreeSet<&RoleName> = accepted
            .files
            .iter()
            .filter(|file| file.entry.as_ref().is_some_and(|entry| !history.vouches_for(entry)))
            .map(|file| &file.role)
            .collect();
        let is_foreign = |role: &RoleName| foreign.contains(role);
        let targets = RoleName::targets();
        let mut found = Vec::new();
        let is_foreign_targets = is_foreign(&targets);
        if let Some(known) = accepted.targets.get(&targets).filter(|_| is_foreign_targets)
            && loses_all_signers(known, old, new, &targets)
        {
            found.push(targets);
        }
        let snapshot = RoleName::snapshot();
        let is_foreign_snapshot = is_foreign(&snapshot);
        if let Some(known) = accepted.snapshot.as_ref().filter(|_| is_foreign_snapshot)
            && loses_all_signers(&known.metadata, old, new, &snapshot)
        {
            found.push(snapshot);
        }
        let timestamp = RoleName::timestamp();
        if let Some(known) = &accepted.timestamp
            && (is_foreign_snapshot || self.is_in_front(known))
            && known.twin != Twin::Same
            && loses_all_signers(&known.metadata, old, new, &timestamp)
        {
            found.push(timestamp);
        }
        let others = !found.is_empty() && foreign.iter().any(|role| !found.contains(role));
        Ok(TakenAway { roles: found, others })
    }

    /// Tells whether a live timestamp is at least as new as the written one.
    fn is_in_front(&self, live: &Known<Timestamp>) -> bool {
        self.staged.timestamp.written_version().is_none_or(|ours| ours <= live.metadata.signed().version)
    }

    /// Refuses to take over live metadata that was signed only by keys which the newest root here takes away.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`], and as [`Repository::taken_away`].
    pub(super) fn refuse_taken_away(&self, live: &dyn Storage) -> Result<(), RepositoryError> {
        let taken = self.taken_away_at(live)?;
        let root = self.staged.root.draft_version().or(self.staged.root.written_version()).unwrap_or(0);
        match taken.roles.is_empty() {
            true => Ok(()),
            false => Err(RepositoryError::Refused {
                file: format!("{METADATA}/timestamp.json"),
                reason: Refusal::TakenAway { taken, root },
            }),
        }
    }
}

/// Tells whether a new root trusts none of the keys whose signatures on a role's metadata are valid under the old one.
fn loses_all_signers<T: Signed>(metadata: &Verified<T>, old: &Root, new: &Root, role: &RoleName) -> bool {
    let Some(authority) = old.authority(role) else { return false };
    let result = authority.check(metadata.metadata().covered());
    let signers = result.signed().iter().filter_map(|id| fingerprint(authority.key(id)?));
    let signers: BTreeSet<Fingerprint> = signers.collect();
    let kept = new.authority(role);
    let kept = kept.iter().flat_map(|authority| authority.keys());
    let kept: BTreeSet<Fingerprint> = kept.filter_map(|(_, key)| fingerprint((*key)?)).collect();
    !signers.is_empty() && signers.is_disjoint(&kept)
}
