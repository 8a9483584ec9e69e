//! Expiry and versions set by hand.

use chrono::{DateTime, Utc};

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::staged::Pins;
use crate::metadata::{RoleName, time};

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
        let state = self.staged.known_role(role)?;
        let (next, written) = (state.next_version(), state.next_version() - 1);
        if let Some(version) = version.filter(|version| *version < next) {
            return Err(InputError::VersionNotHigher { role: role.clone(), version, written }.into());
        }
        if role.as_str() == "root" && version.is_some_and(|version| version != next) {
            // spec 5.3.5: clients take the roots one by one
            let version = version.unwrap_or_default();
            return Err(InputError::RootVersion { version, next }.into());
        }
        let pins = Pins { version: true, expires: false };
        state
            .bump(expires, version, pins)
            .map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        Ok(state.draft_version().unwrap_or(next))
    }
}
