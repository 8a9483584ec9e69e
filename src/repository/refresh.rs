//! The cron job: roles that are about to expire are signed again, and nothing else is touched.

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::sign::{SigningKey, signing_order};
use super::staged::{AnyRole, Pins};
use super::write::{Selection, Written};
use crate::metadata::RoleName;

impl Repository {
    /// Returns the roles whose written metadata expires within their window: the one given, or the policy's. Of hash bins
    /// those that have been read.
    pub fn due(&self, within: Option<TimeDelta>) -> Vec<RoleName> {
        let due = |role: &RoleName| {
            let window = within.unwrap_or_else(|| self.policy.refresh_window(role));
            let horizon = self.now.checked_add_signed(window);
            let written = self.staged.role(role).and_then(AnyRole::written_expires);
            written.is_some_and(|expires| horizon.is_none_or(|horizon| expires <= horizon))
        };
        signing_order(&self.staged.graph()).into_iter().filter(due).collect()
    }

    /// Reads the hash bins that are due: the expiry of all, and the rest of those.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] for files that are no metadata or missing.
    pub fn read_due_bins(&mut self, within: Option<TimeDelta>) -> Result<(), RepositoryError> {
        let horizon = |role: &RoleName| {
            let window = within.unwrap_or_else(|| self.policy.refresh_window(role));
            self.now.checked_add_signed(window).unwrap_or(DateTime::<Utc>::MAX_UTC)
        };
        self.staged.read_expiring_bins(&horizon)
    }

    /// Plans the next versions of the roles that are due, saying what is written now, for longer. Drafts of other roles
    /// stay what they are. Nothing is on disk yet; the plan is carried out as that of a `write`.
    ///
    /// # Errors
    /// [`InputError::DraftInTheWay`] for a role that is due and has a draft; otherwise as [`Repository::plan_write`].
    pub fn plan_refresh(
        &mut self,
        within: Option<TimeDelta>,
        keys: &[SigningKey<'_>],
    ) -> Result<Written, RepositoryError> {
        self.read_due_bins(within)?;
        let mut due = self.due(within);
        // what nobody asked to be refreshed must not keep the rest from it: a role of somebody else's may expire
        due.retain(|role| {
            let asked = within.is_some() || self.policy.asks_for_refresh(role);
            let drafted = self.staged.role(role).is_some_and(|state| state.draft_version().is_some());
            asked || (!drafted && self.can_complete(role, keys))
        });
        if due.is_empty() {
            return Ok(Written::default());
        }
        let drafted = |role: &&RoleName| {
            let derived = matches!(role.as_str(), "snapshot" | "timestamp");
            let state = self.staged.role(role);
            state.is_some_and(|state| state.draft_version().is_some() && (!derived || state.pins().any()))
        };
        if let Some(role) = due.iter().find(drafted) {
            return Err(InputError::DraftInTheWay { role: role.clone() }.into());
        }
        self.staged.set_drafts_aside();
        for role in &due {
            let expires = self.expiry(role)?;
            let pins = Pins { version: true, ..Pins::default() };
            let bumped = self.staged.known_role(role)?.bump(expires, None, pins);
            bumped.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
        self.plan_write(&Selection::Whole(due), keys)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, open, publish, repository, scratch, start};
    use super::super::{CheckOptions, Expiry, Side, TargetBytes, check};
    use super::*;

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
        repository.bump(&RoleName::targets(), None).unwrap();
        let plan = repository.plan_edit().unwrap();
        repository.save_edit(&plan).unwrap();
        drop(repository);
        let draft = dir.path().join("metadata.staged/.drafts/targets.json");
        let before = std::fs::read(&draft).unwrap();
        let mut repository = open(dir.path(), start() + TimeDelta::hours(13));
        let signing = [SigningKey { name: "key", signer: &keys[3] }];
        let written = repository.plan_refresh(None, &signing).unwrap();
        assert_eq!(written.roles.len(), 1);
        repository.execute_write(&written, &|_| {}).unwrap();
        drop(repository);
        assert_eq!(std::fs::read(&draft).unwrap(), before);
        let mut repository = open(dir.path(), start() + TimeDelta::days(800));
        let error = repository.plan_refresh(Some(TimeDelta::zero()), &signing).unwrap_err();
        assert!(matches!(error, RepositoryError::Input(InputError::DraftInTheWay { .. })), "{error}");
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
