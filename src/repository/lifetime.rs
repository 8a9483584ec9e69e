//! Drafts as such: expiry and versions set by hand, and drafts dropped.

use chrono::{DateTime, Utc};

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::layout::Layout;
use super::staged::{AnyRole, Pins, Saved};
use crate::metadata::{MetaFile, MetaMap, RoleName, Root, Snapshot, Targets, Timestamp, time};

/// The highest version that can be chosen by hand: what a double-precision number holds exactly, for clients that
/// read JSON into those, with room for the versions that follow.
pub(super) const MAX_VERSION: u64 = (1 << 53) - (1 << 20);

impl Repository {
    /// Sets the expiry of a role's draft, which is made where there is none, and keeps it through later edits. Tells
    /// whether anything changed.
    ///
    /// # Errors
    /// [`InputError::PastExpiry`], [`InputError::UnknownRole`].
    pub fn expire(&mut self, role: &RoleName, expires: DateTime<Utc>) -> Result<bool, RepositoryError> {
        if expires <= self.now {
            return Err(InputError::PastExpiry { role: role.clone(), expires: time::format(&expires) }.into());
        }
        if self.staged.role(role).is_none() {
            self.staged.read_bin(role)?;
        }
        let state = self.staged.known_role(role)?;
        let changed = state.pin_expiry(expires);
        Ok(changed.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?)
    }

    /// Marks a role dirty: its next version says the same, or has a version chosen by hand. Returns the draft's version.
    ///
    /// # Errors
    /// [`InputError::VersionNotHigher`], [`InputError::UnknownRole`].
    pub fn bump(&mut self, role: &RoleName, version: Option<u64>) -> Result<u64, RepositoryError> {
        let expires = self.expiry(role)?;
        if self.staged.role(role).is_none() {
            self.staged.read_bin(role)?;
        }
        let state = self.staged.known_role(role)?;
        let (next, written) = (state.next_version(), state.next_version() - 1);
        if let Some(version) = version.filter(|version| *version < next) {
            return Err(InputError::VersionNotHigher { role: role.clone(), version, written }.into());
        }
        if let Some(version) = version.filter(|version| *version > MAX_VERSION) {
            return Err(
                InputError::VersionTooHigh { role: role.clone(), version, highest: MAX_VERSION }.into()
            );
        }
        if role.as_str() == "root" && version.is_some_and(|version| version != next) {
            // spec 5.3.5: clients take the roots one by one
            let version = version.unwrap_or_default();
            return Err(InputError::RootVersion { version, next }.into());
        }
        let pins = Pins { version: true, ..Pins::default() };
        state
            .bump(expires, version, pins)
            .map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        Ok(state.draft_version().unwrap_or(next))
    }

    /// Drops the drafts of the roles named, or all of them, and those that cannot be read. A role that has never been
    /// written starts over, empty; one that nobody delegates to without those drafts is gone. Returns the roles whose
    /// drafts were dropped, the latter last.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn discard(&mut self, roles: &[RoleName]) -> Result<Vec<RoleName>, RepositoryError> {
        let layout = self.staged.layout();
        let wanted = |role: &RoleName| roles.is_empty() || roles.contains(role);
        let mut dropped: Vec<RoleName> =
            self.unreadable.keys().filter(|role| wanted(role)).cloned().collect();
        for role in &dropped {
            self.unreadable.remove(role);
            self.staged.give_up(role);
            self.start_unreadable_over(role, layout)?;
        }
        let before = self.staged.graph();
        let new_bins = self.staged.new_bins(&before);
        let all = super::sign::signing_order(&before);
        for role in
            all.iter().filter(|role| wanted(role) && !dropped.contains(role)).cloned().collect::<Vec<_>>()
        {
            let Some(state) = self.staged.role_mut(&role) else { continue };
            if state.draft_saved().is_none_or(|saved| saved == Saved::Implied) {
                continue;
            }
            state.drop_draft();
            let is_written = state.written_version().is_some();
            if let Some(bins) = new_bins.iter().find(|bins| !is_written && bins.contains(&role)) {
                let prefix = RoleName::new(bins.prefix()).map_err(InputError::from)?;
                let expires = self.expiry(&prefix)?;
                self.staged.start_bin_over(role.clone(), expires)?;
            } else if !is_written {
                self.start_over(&role, layout)?;
            }
            dropped.push(role);
        }
        let graph = self.staged.graph();
        // drafts that were made for bins of another number are nothing to those that are bins again
        for set in graph.bins.iter().filter(|set| before.bins.iter().all(|known| known.bins != set.bins)) {
            for role in self.staged.bins_read(&set.bins) {
                let Some(state) = self.staged.role_mut(&role).filter(|state| state.draft_version().is_some())
                else {
                    continue;
                };
                state.drop_draft();
                dropped.push(role);
            }
        }
        let drafted = |role: &RoleName| {
            let saved = self.staged.role(role).and_then(AnyRole::draft_saved);
            saved.is_some_and(|saved| saved != Saved::Implied)
        };
        let mut orphans: Vec<RoleName> = all
            .into_iter()
            .filter(|role| role.lists_targets() && !graph.contains(role) && drafted(role))
            .filter(|role| !dropped.contains(role))
            .collect();
        dropped.append(&mut orphans);
        // files of drafts that nobody delegated to before go with any plan
        let left = self.staged.orphans(&before).into_iter();
        let left: Vec<RoleName> = left.filter(|role| wanted(role) && !dropped.contains(role)).collect();
        dropped.extend(left);
        Ok(dropped)
    }

    /// Drafts a role anew whose draft cannot be read, unless it has been written or nobody knows it.
    fn start_unreadable_over(&mut self, role: &RoleName, layout: Layout) -> Result<(), RepositoryError> {
        if self.staged.role(role).is_some_and(|state| state.written_version().is_some()) {
            return Ok(());
        }
        if role.lists_targets() && self.staged.graph().contains(role) {
            let expires = self.expiry(role)?;
            return self.staged.add_targets_role(role, expires);
        }
        self.start_over(role, layout)
    }

    /// Drafts a role anew that has never been written.
    fn start_over(&mut self, role: &RoleName, layout: Layout) -> Result<(), RepositoryError> {
        let expires = self.expiry(role)?;
        let consistent = layout == Layout::Consistent;
        let pins = Pins::default();
        let drafted = match role.as_str() {
            "root" => self.staged.root.set_draft(Root::new(consistent, expires), pins),
            "snapshot" => self.staged.snapshot.set_draft(Snapshot::new(MetaMap::new(), expires), pins),
            "timestamp" => self.staged.timestamp.set_draft(Timestamp::new(MetaFile::new(1), expires), pins),
            _ => match self.staged.read_bin(role).map(|_| self.staged.targets_mut(role))? {
                Some(state) => {
                    let mut targets = Targets::new(expires);
                    targets.version = state.floor + 1;
                    state.set_draft(targets, pins)
                }
                None => Ok(()),
            },
        };
        Ok(drafted.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?)
    }
}
