//! Live metadata that was signed only by keys which a newer root here takes away: after the theft of a key, what the thief has
//! published. Nobody takes it over; it gives way to the new root (`publish --recover`).

use super::Repository;
use super::accepted::{Accepted, Extent, Roots};
use super::ancestry::{Ours, Successor, taken_away};
use super::error::{Refusal, RepositoryError};
use super::layout::METADATA;
use super::staged::AnyRole;
use crate::metadata::RoleName;
use crate::storage::Storage;

/// What is live and was signed only by keys that the newest root here takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenAway {
    /// The roles: targets, snapshot, timestamp.
    pub roles: Vec<RoleName>,
    /// Whether something else is live that this copy does not go on from, signed with keys that stay.
    pub others: bool,
    /// Whether the newest root here is a draft.
    pub is_drafted: bool,
}

impl TakenAway {
    /// Tells whether roles that the live `targets` delegates to may be the thief's as well.
    fn may_lead_to_others(&self) -> bool {
        self.others && self.roles.iter().any(|role| role.as_str() == "targets")
    }
}

impl Repository {
    /// Returns the roles (targets, snapshot, timestamp) whose metadata at a place is not of this copy and was signed only by keys
    /// that the newest root here, written or drafted, takes away.
    ///
    /// # Errors
    /// [`RepositoryError::Io`], [`super::InputError::History`].
    pub(super) fn taken_away_at(&self, live: &dyn Storage) -> Result<TakenAway, RepositoryError> {
        let read = |extent| Accepted::read(live, self.staged.folder(), self.policy.first_root(), extent);
        // no root is newer than the live one: nothing there is read
        let roots = read(Extent::Roots)?;
        let old = roots.root.as_ref().map(|known| known.metadata.signed().version);
        if roots.roots != Roots::Whole || self.staged.root.effective().map(|root| root.version) <= old {
            return Ok(TakenAway::default());
        }
        self.under_own_targets(live, taken_away(&read(Extent::Whole)?, self.successor(), &self.ours())?)
    }

    /// Looks again where `targets` gives way and something else does not: whom a thief delegates to is nobody, whom this copy
    /// delegates to still is.
    ///
    /// # Errors
    /// As [`Repository::taken_away_at`].
    fn under_own_targets(&self, live: &dyn Storage, taken: TakenAway) -> Result<TakenAway, RepositoryError> {
        match taken.may_lead_to_others() {
            true => taken_away(&self.follow_own_targets(live)?, self.successor(), &self.ours()),
            false => Ok(taken),
        }
    }

    /// Makes sure that a refusal leaves out whom only a thief delegates to, in what it says to recover.
    ///
    /// # Errors
    /// As [`Repository::taken_away_at`].
    pub(super) fn with_what_gives_way(
        &self,
        live: &dyn Storage,
        refusal: RepositoryError,
    ) -> RepositoryError {
        match refusal {
            RepositoryError::Refused { file, reason: Refusal::GivesWay { why, taken } } => {
                match self.under_own_targets(live, taken) {
                    Ok(taken) => RepositoryError::Refused { file, reason: Refusal::GivesWay { why, taken } },
                    Err(error) => error,
                }
            }
            other => other,
        }
    }

    /// Follows a place under the delegations of this copy's written `targets`.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn follow_own_targets(&self, live: &dyn Storage) -> Result<Accepted, RepositoryError> {
        let targets = self.staged.targets(&RoleName::targets()).and_then(|state| state.written.as_ref());
        let extent = targets.map_or(Extent::Whole, |targets| Extent::WholeUnder(targets.signed()));
        Accepted::read(live, self.staged.folder(), self.policy.first_root(), extent)
    }

    /// Returns what this copy knows of itself.
    pub(super) fn ours(&self) -> Ours<'_> {
        Ours::of(&self.dir, self.staged.folder(), self.staged.layout())
            .with_newest_root(self.staged.root.effective())
    }

    /// Returns what is written, with the newest root: what `write` would put.
    pub(super) fn successor_with_newest_root(&self) -> Successor<'_> {
        let successor = self.successor();
        Successor { root: self.staged.root.effective().or(successor.root), ..successor }
    }

    /// Refuses to take over live metadata that was signed only by keys which the newest root here takes away.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`], and as [`Repository::taken_away_at`].
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
