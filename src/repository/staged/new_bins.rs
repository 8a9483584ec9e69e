//! Hash bins that only drafts delegate to: what there is of them follows from the delegation until something is in them
//! (docs/adr/0013-new-bins-are-implied.md).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::super::bins::{BinSet, MOST_BINS};
use super::super::error::{InputError, RepositoryError};
use super::super::policy::Policy;
use super::super::view::Graph;
use super::Staged;
use super::state::{Draft, Pins, RoleState, Saved};
use crate::metadata::{Metadata, RoleName, Targets};

impl Staged {
    /// Makes known the hash bins that only drafts delegate to, as far as nothing is known of them.
    ///
    /// # Errors
    /// As [`Staged::read`].
    pub(in crate::repository) fn imply_new_bins(
        &mut self,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> Result<(), RepositoryError> {
        for bins in self.new_bins(&self.graph()) {
            // without a name that a role can have they would not have been found to be new
            let Ok(prefix) = RoleName::new(bins.prefix()) else { continue };
            self.make_bins(&bins, policy.expiry(&prefix, now)?)?;
        }
        Ok(())
    }

    /// Returns the sets of hash bins that only drafts delegate to: bins without drafts and written files are implied.
    /// Sets that no `delegate` makes, in metadata from elsewhere, are left alone.
    pub(in crate::repository) fn new_bins(&self, graph: &Graph) -> Vec<BinSet> {
        let is_usual = |bins: &&BinSet| {
            let last = bins.number() - 1;
            bins.number() <= MOST_BINS
                && RoleName::parse(bins.prefix()).is_ok()
                && RoleName::parse(&bins.name(last)).is_ok()
        };
        let sets = graph.bins.iter().map(|set| &set.bins);
        sets.filter(|bins| !self.written_bins.contains(bins)).filter(is_usual).cloned().collect()
    }

    /// Has nothing listed in a hash bin of a new set.
    ///
    /// # Errors
    /// As [`Staged::add_targets_role`].
    pub(in crate::repository) fn start_bin_over(
        &mut self,
        role: RoleName,
        expires: DateTime<Utc>,
    ) -> Result<(), RepositoryError> {
        let state = self.new_targets_role(&role, expires, Saved::Implied)?;
        self.targets.insert(role, Arc::new(state));
        Ok(())
    }

    /// Makes new hash bins known, as [`Staged::add_targets_role`] does.
    ///
    /// # Errors
    /// As [`Staged::add_targets_role`].
    pub fn add_bins(&mut self, bins: &BinSet, expires: DateTime<Utc>) -> Result<(), RepositoryError> {
        if !self.written_bins.contains(bins) {
            self.sort_out(bins, expires)?;
        }
        self.make_bins(bins, expires)
    }

    /// Makes those hash bins of a set known that have neither a draft nor a written file. Where what is written does not delegate to the set,
    /// their drafts follow from that and need no files.
    fn make_bins(&mut self, bins: &BinSet, expires: DateTime<Utc>) -> Result<(), RepositoryError> {
        let saved = if self.written_bins.contains(bins) { Saved::No } else { Saved::Implied };
        let new: Vec<RoleName> =
            bins.all().filter(|role| self.role(role).is_none() && !self.is_written_bin(role)).collect();
        let made = new.into_par_iter().map(|role| {
            let state = self.new_targets_role(&role, expires, saved)?;
            Ok((role, Arc::new(state)))
        });
        let made: Vec<_> = made.collect::<Result<_, RepositoryError>>()?;
        self.targets.extend(made);
        Ok(())
    }

    /// Takes off the lists of roles that are to be hash bins what falls into other bins: they were bins of another number, or
    /// no bins at all.
    fn sort_out(&mut self, bins: &BinSet, expires: DateTime<Utc>) -> Result<(), RepositoryError> {
        let known = |role: &RoleName| self.role(role).is_some() || self.is_written_bin(role);
        self.read_bins_named(bins.all().filter(known).collect())?;
        for index in 0..bins.number() {
            let Some(role) = bins.bin(index) else { continue };
            let Some(state) = self.targets_mut(&role) else { continue };
            let edited =
                state.edit(expires, |targets| targets.targets.retain(|path| bins.index_for(path) == index));
            edited.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
        Ok(())
    }

    pub(super) fn new_targets_role(
        &self,
        role: &RoleName,
        expires: DateTime<Utc>,
        saved: Saved,
    ) -> Result<RoleState<Targets>, RepositoryError> {
        let mut state = RoleState::new(None);
        state.floor = self.listed_version(role).max(self.spent_version(role)?);
        let mut targets = Targets::new(expires);
        targets.version = state.floor + 1;
        let metadata = Metadata::unsigned(targets)
            .map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        state.draft = Some(Draft { metadata, pins: Pins::default(), saved });
        Ok(state)
    }
}
