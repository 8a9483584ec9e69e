//! The cron job: roles that are about to expire are signed again, and nothing else is touched.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::layout::Layout;
use super::policy::Policy;
use super::sign::{SigningKey, signing_order};
use super::staged::AnyRole;
use super::view::View;
use super::write::{Selection, Written};
use crate::metadata::RoleName;

impl Repository {
    /// Returns the roles that are to be signed again: those whose written metadata expires within their window, the one given
    /// or the policy's, and in the plain layout those that a killed run has left behind the others. Of hash bins those that
    /// have been read.
    pub fn due(&self, within: Option<TimeDelta>) -> Vec<RoleName> {
        let left = self.left_behind();
        let due = |role: &RoleName| {
            let horizon = self.horizon(role, within);
            let written = self.staged.role(role).and_then(AnyRole::written_expires);
            let expires = written.is_some_and(|expires| horizon.is_none_or(|horizon| expires <= horizon));
            expires || left.contains(role)
        };
        signing_order(&self.staged.graph()).into_iter().filter(due).collect()
    }

    /// Returns the roles that are due and stay as they are, since they have drafts that change more than version and expiry, or
    /// that cannot be used: those are somebody's edits. A role without a refresh window counts once it has expired.
    pub fn due_with_edits(&self, within: Option<TimeDelta>) -> Vec<RoleName> {
        let mut due = self.due(within);
        due.retain(|role| self.is_edited(role));
        due
    }

    fn is_asked(&self, role: &RoleName, within: Option<TimeDelta>) -> bool {
        within.is_some() || self.policy.asks_for_refresh(role)
    }

    fn is_edited(&self, role: &RoleName) -> bool {
        if self.unusable_drafts().contains_key(role) {
            return true;
        }
        let drafted = self.staged.role(role).is_some_and(|state| state.draft_version().is_some());
        drafted && !self.staged.says_what_is_written(role)
    }

    fn horizon(&self, role: &RoleName, within: Option<TimeDelta>) -> Option<DateTime<Utc>> {
        horizon(&self.policy, self.now, role, within)
    }

    /// Finds out whether what is written of the snapshot and the timestamp is behind what is written of the others. In the
    /// plain layout, whose names are overwritten, a killed run leaves that.
    pub(super) fn left_behind(&self) -> Vec<RoleName> {
        let written = |role: &RoleName| self.staged.role(role).and_then(AnyRole::written_version);
        let listed =
            self.staged.timestamp.written.as_ref().and_then(|timestamp| timestamp.signed().snapshot());
        let Some(listed) = listed.filter(|_| self.staged.layout() == Layout::Plain) else {
            return Vec::new();
        };
        let graph = View::of(&self.staged, BTreeSet::new()).graph();
        let is_behind =
            |role: &RoleName| written(role).is_some_and(|at| at != self.staged.listed_version(role));
        if graph.order.iter().any(is_behind) {
            return vec![RoleName::snapshot(), RoleName::timestamp()];
        }
        let timestamp = written(&RoleName::snapshot()).is_some_and(|at| at != listed.version);
        if timestamp { vec![RoleName::timestamp()] } else { Vec::new() }
    }

    /// Reads the hash bins that are due: the expiry of all, and the rest of those.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] for files that are no metadata or missing.
    pub fn read_due_bins(&mut self, within: Option<TimeDelta>) -> Result<(), RepositoryError> {
        let (policy, now) = (&self.policy, self.now);
        let horizon =
            |role: &RoleName| horizon(policy, now, role, within).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.staged.read_expiring_bins(&horizon)
    }

    /// Plans the next versions of the roles that are due, saying what is written now, for longer. Drafts that change nothing but
    /// version and expiry are gone on with, whoever made them: a refresh that was killed, or somebody by hand. Such a draft is
    /// written as it is where it expires after the window; otherwise it gets the policy's expiry. Drafts of other roles, and
    /// [`Repository::due_with_edits`], stay what they are. Nothing is on disk yet; the plan is carried out as that of a
    /// `write`.
    ///
    /// # Errors
    /// As [`Repository::plan_write`]; [`super::Refusal::UnusableDraft`] for a draft of the snapshot or the timestamp.
    pub fn plan_refresh(
        &mut self,
        within: Option<TimeDelta>,
        keys: &[SigningKey<'_>],
    ) -> Result<Written, RepositoryError> {
        self.read_due_bins(within)?;
        let mut due = self.due(within);
        // what nobody asked to be refreshed must not keep the rest from it: a role of somebody else's may expire
        due.retain(|role| {
            !self.is_edited(role) && (self.is_asked(role, within) || self.can_complete(role, keys))
        });
        if due.is_empty() {
            return self.plan_newest_root();
        }
        let before = self.staged.clone();
        self.staged.set_drafts_aside();
        for role in &due {
            let (expires, enough) = (self.expiry(role)?, self.horizon(role, within));
            self.staged.restore(role, &before);
            let renewed = self.staged.known_role(role)?.renew(expires, enough);
            renewed.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
        let written = self.plan_write(&Selection::Whole(due), keys)?;
        self.refuse_unusable(written.roles.keys())?;
        Ok(written)
    }
}

/// Returns the time up to which a role that expires is due; none where all time is.
fn horizon(
    policy: &Policy,
    now: DateTime<Utc>,
    role: &RoleName,
    within: Option<TimeDelta>,
) -> Option<DateTime<Utc>> {
    now.checked_add_signed(within.unwrap_or_else(|| policy.refresh_window(role)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, open, publish, repository, scratch, start};
    use super::super::{CheckOptions, Expiry, Side, TargetBytes, check};
    use super::*;
    use crate::crypto::Signer;

    #[test]
    fn a_year_of_refreshing_with_the_timestamp_key_alone_never_lets_anything_expire() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let mut writes = 0;
        for hour in (1..=365 * 24).step_by(6) {
            let now = start() + TimeDelta::hours(hour);
            let options =
                CheckOptions { side: Side::Live, expiry: Expiry::Enforce, targets: TargetBytes::Ignore };
            assert!(check(dir.path(), options, now).unwrap().ok(), "expired after {hour} hours");
            let mut repository = open(dir.path(), now);
            let due = !repository.due(None).is_empty();
            let signing = [SigningKey { name: "key", signer: &keys[3] }];
            let written = repository.plan_refresh(None, &signing).unwrap();
            assert_eq!(written.is_empty(), !due);
            if due {
                assert_eq!(written.roles.keys().map(RoleName::as_str).collect::<Vec<_>>(), ["timestamp"]);
                repository.execute_write(&written, &|_| {}).unwrap();
                drop(repository);
                publish(dir.path(), now);
                writes += 1;
            }
        }
        // every half day from the 13th hour on
        assert_eq!(writes, 729);
    }

    #[test]
    fn a_role_that_is_due_without_its_key_is_named_and_nothing_is_written() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start());
        let signing = [SigningKey { name: "key", signer: &keys[3] }];
        let error = repository.plan_refresh(Some(TimeDelta::days(800)), &signing).unwrap_err();
        let RepositoryError::Incomplete(lacking) = error else { panic!("{error}") };
        let roles: Vec<&str> = lacking.iter().map(|lacking| lacking.role.as_str()).collect();
        assert_eq!(roles, ["root", "targets", "snapshot"]);
    }

    #[test]
    fn drafts_of_other_roles_stay_what_they_are() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start());
        repository.add_key(&RoleName::root(), keys[1].public_key(), None).unwrap();
        let plan = repository.plan_edit().unwrap();
        repository.save_edit(&plan).unwrap();
        drop(repository);
        let draft = dir.path().join("metadata.staged/.drafts/root.json");
        let before = std::fs::read(&draft).unwrap();
        let mut repository = open(dir.path(), start() + TimeDelta::hours(13));
        let signing = [SigningKey { name: "key", signer: &keys[3] }];
        let written = repository.plan_refresh(None, &signing).unwrap();
        assert_eq!(written.roles.len(), 1);
        repository.execute_write(&written, &|_| {}).unwrap();
        drop(repository);
        assert_eq!(std::fs::read(&draft).unwrap(), before);
        // due itself, it is left as well, and the others are not kept back by it
        let signing: Vec<SigningKey<'_>> =
            keys.iter().map(|signer| SigningKey { name: "key", signer }).collect();
        let mut repository = open(dir.path(), start() + TimeDelta::hours(26));
        let within = Some(TimeDelta::days(800));
        assert_eq!(repository.due_with_edits(within), [RoleName::root()]);
        let written = repository.plan_refresh(within, &signing).unwrap();
        assert_eq!(
            written.roles.keys().map(RoleName::as_str).collect::<Vec<_>>(),
            ["snapshot", "targets", "timestamp"]
        );
        repository.execute_write(&written, &|_| {}).unwrap();
        drop(repository);
        assert_eq!(std::fs::read(&draft).unwrap(), before);
    }

    #[test]
    fn a_draft_that_changes_nothing_but_dates_is_gone_on_with() {
        let (timestamp, snapshot) = (RoleName::timestamp(), RoleName::snapshot());
        let keys = keys();
        let signing: Vec<SigningKey<'_>> =
            keys.iter().map(|signer| SigningKey { name: "key", signer }).collect();
        let now = start() + TimeDelta::hours(13);
        // set by hand, beyond the window, within it, and past by now
        for (by_hand, expected) in [
            (now + TimeDelta::days(2), now + TimeDelta::days(2)),
            (now + TimeDelta::minutes(5), now + TimeDelta::days(1)),
            (start() + TimeDelta::hours(1), now + TimeDelta::days(1)),
        ] {
            let dir = scratch();
            repository(dir.path(), &keys);
            let mut repository = open(dir.path(), start());
            repository.expire(&timestamp, by_hand).unwrap();
            repository.bump(&snapshot, Some(9)).unwrap();
            let plan = repository.plan_edit().unwrap();
            repository.save_edit(&plan).unwrap();
            drop(repository);
            let mut repository = open(dir.path(), now);
            let written = repository.plan_refresh(None, &signing).unwrap();
            repository.execute_write(&written, &|_| {}).unwrap();
            drop(repository);
            let repository = open(dir.path(), now);
            let state = repository.staged().role(&timestamp).unwrap();
            assert_eq!((state.written_version(), state.written_expires()), (Some(2), Some(expected)));
            assert_eq!(state.draft_version(), None);
            // a draft of a role that is not due stays
            assert_eq!(repository.staged().role(&snapshot).unwrap().draft_version(), Some(9));
            drop(repository);
            publish(dir.path(), now);
        }
    }

    #[test]
    fn an_expired_role_of_somebody_else_does_not_stop_the_timestamp() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start() + TimeDelta::hours(13));
        repository.expire(&RoleName::targets(), start() + TimeDelta::days(3)).unwrap();
        super::super::testing::write(&mut repository, &keys);
        drop(repository);
        let mut repository = open(dir.path(), start() + TimeDelta::hours(84));
        let signing = [SigningKey { name: "key", signer: &keys[3] }];
        let written = repository.plan_refresh(None, &signing).unwrap();
        assert_eq!(written.roles.keys().map(RoleName::as_str).collect::<Vec<_>>(), ["timestamp"]);
    }

    #[test]
    fn a_fully_expired_repository_is_revived() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let late = start() + TimeDelta::days(3000);
        let mut repository = open(dir.path(), late);
        let signing: Vec<SigningKey<'_>> =
            keys.iter().map(|signer| SigningKey { name: "key", signer }).collect();
        let written = repository.plan_refresh(None, &signing).unwrap();
        assert_eq!(written.roles.len(), 4);
        repository.execute_write(&written, &|_| {}).unwrap();
        drop(repository);
        publish(dir.path(), late);
    }
}
