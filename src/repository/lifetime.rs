//! Drafts as such: expiry and versions set by hand, and drafts dropped.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::error::{AtPath, InputError, RepositoryError};
use super::init::Execution;
use super::layout::{DRAFTS, Layout, STAGED};
use super::locks::lock_staged;
use super::staged::{AnyRole, Pins, Saved, draft_name, drafted_in};
use crate::metadata::{MetaFile, MetaMap, RoleName, Root, Snapshot, Targets, Timestamp, time};
use crate::storage::Folder;

/// What is shorter than this was hardly meant: clients refuse the role before anybody can sign it again.
const LEAST_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// What is shorter than this, written in minutes alone, was hardly meant for a role that is signed by hand.
const LEAST_LIFETIME_IN_MINUTES: TimeDelta = TimeDelta::days(1);

/// How an expiry was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As minutes alone, such as `6m`: months may have been meant.
    Minutes,
    /// In another way.
    Other,
}

/// What there is to say against an expiry that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Nothing.
    None,
    /// The role is due for a refresh at once.
    WithinRefreshWindow,
    /// The role expires in less than an hour.
    TooShort,
    /// Minutes were asked for, of a role that is signed by hand.
    MinutesForMonths,
}

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

    /// Judges whether a role would expire sooner than anybody means.
    pub fn haste(&self, role: &RoleName, expires: DateTime<Utc>, spelling: Spelling) -> Haste {
        let left = expires - self.now;
        let by_hand = role.as_str() == "root" || role.lists_targets();
        if spelling == Spelling::Minutes && by_hand && left < LEAST_LIFETIME_IN_MINUTES {
            Haste::MinutesForMonths
        } else if left < LEAST_LIFETIME {
            Haste::TooShort
        } else if left < self.policy.refresh_window(role) {
            Haste::WithinRefreshWindow
        } else {
            Haste::None
        }
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

    /// Removes the drafts of the roles named, or all of them, where what is written cannot be read: only the files of drafts are
    /// looked at. Returns the roles. A dry run removes nothing.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`], [`RepositoryError::Io`]; [`InputError::UnknownRole`] for a role without a draft.
    pub fn discard_unread(
        dir: &Path,
        names: &[String],
        execution: Execution,
        wait: Duration,
    ) -> Result<Vec<RoleName>, RepositoryError> {
        let _lock = lock_staged(dir, wait)?;
        let drafts = Folder::new(dir.join(STAGED).join(DRAFTS));
        let there = drafted_in(&drafts)?;
        for name in names {
            if there.iter().all(|role| role.as_str() != name) {
                return Err(InputError::UnknownRole(name.escape_debug().to_string()).into());
            }
        }
        let wanted = |role: &RoleName| names.is_empty() || names.iter().any(|name| role.as_str() == name);
        let dropped: Vec<RoleName> = there.into_iter().filter(wanted).collect();
        if execution == Execution::Real {
            let files: Vec<String> = dropped.iter().map(draft_name).collect();
            drafts.remove_any(&files).at(drafts.path())?;
        }
        Ok(dropped)
    }

    /// Drops the drafts of the roles named, or all of them, and those that cannot be read. A role that has never been
    /// written starts over, empty; one that nobody delegates to without those drafts is gone. Returns the roles whose
    /// drafts were dropped, the latter last.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn discard(&mut self, roles: &[RoleName]) -> Result<Vec<RoleName>, RepositoryError> {
        let layout = self.staged.layout();
        self.discarded.extend(roles.iter().cloned());
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

    /// Drafts a role anew whose draft cannot be read, unless it has been written or nobody knows it. A written file that is
    /// missing or damaged counts: an empty draft would take its targets off the list.
    fn start_unreadable_over(&mut self, role: &RoleName, layout: Layout) -> Result<(), RepositoryError> {
        let is_read = self.staged.role(role).is_some_and(|state| state.written_version().is_some());
        let is_damaged = self.staged.damage_of_written(role).is_some();
        if is_read || is_damaged || self.staged.listed_version(role) > 0 {
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

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, open, repository, scratch, start};
    use super::*;

    #[test]
    fn what_expires_sooner_than_anybody_means_is_judged_by_role_and_spelling() {
        let dir = scratch();
        repository(dir.path(), &keys());
        let repository = open(dir.path(), start());
        let judge = |role: &str, left: TimeDelta, spelling| {
            repository.haste(&RoleName::new(role).unwrap(), start() + left, spelling)
        };
        let (minutes, other) = (Spelling::Minutes, Spelling::Other);
        for (role, left, spelling, expected) in [
            ("root", TimeDelta::minutes(6), minutes, Haste::MinutesForMonths),
            ("targets", TimeDelta::minutes(90), minutes, Haste::MinutesForMonths),
            ("team", TimeDelta::minutes(1439), minutes, Haste::MinutesForMonths),
            ("targets", TimeDelta::minutes(1440), minutes, Haste::None),
            ("root", TimeDelta::minutes(90), other, Haste::None),
            ("root", TimeDelta::minutes(59), other, Haste::TooShort),
            ("timestamp", TimeDelta::minutes(59), minutes, Haste::TooShort),
            ("timestamp", TimeDelta::seconds(3599), other, Haste::TooShort),
            ("timestamp", TimeDelta::minutes(90), minutes, Haste::WithinRefreshWindow),
            ("timestamp", TimeDelta::hours(13), other, Haste::None),
        ] {
            assert_eq!(judge(role, left, spelling), expected, "{role} {left} {spelling:?}");
        }
    }
}
