//! Which keys signed a very file, and whether a root takes all of them away: then the file gives way to that root. `publish
//! --recover`, a `write` into the own `metadata/`, the refusal of `pull` and the hints ask the one rule here.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::{Fingerprint, fingerprint};
use crate::metadata::{RoleName, Root, Signed};
use crate::verify::{Authority, Delegator, VerificationResult, Verified};

/// The keys that signed a file, by their ids; none where nobody knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SignedBy(BTreeMap<String, Fingerprint>);

impl SignedBy {
    /// Finds the keys of a role whose signatures on its metadata are valid.
    pub(super) fn of<T: Signed>(metadata: &Verified<T>, authority: Option<&Authority<'_>>) -> Self {
        let Some(authority) = authority else { return Self::default() };
        let mut signed_by = Self::default();
        signed_by.add(&authority.check(metadata.metadata().covered()), authority);
        signed_by
    }

    /// Adds the keys of an authority whose signatures were found valid.
    pub(super) fn add(&mut self, result: &VerificationResult, authority: &Authority<'_>) {
        let key = |id| Some((ToString::to_string(id), fingerprint(authority.key(id)?)?));
        self.0.extend(result.signed().iter().filter_map(key));
    }

    /// Finds a key that signed the file and that an authority still trusts.
    pub(super) fn kept_by(&self, authority: Option<&Authority<'_>>) -> Option<&str> {
        let keys = authority.into_iter().flat_map(Authority::keys);
        let kept: BTreeSet<Fingerprint> = keys.filter_map(|(_, key)| fingerprint((*key)?)).collect();
        self.0.iter().find(|(_, key)| kept.contains(key)).map(|(id, _)| id.as_str())
    }

    /// Tells whether nobody knows who signed the file.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes sure that a root takes away all keys that signed the file. Where nobody knows them, it does not.
    ///
    /// # Errors
    /// What keeps the file from giving way, in words.
    pub(super) fn refuse_kept(&self, role: &RoleName, new: &Root) -> Result<(), String> {
        if self.0.is_empty() {
            return Err("nobody can tell which keys have signed it".to_owned());
        }
        match self.kept_by(new.authority(role).as_ref()) {
            Some(id) => Err(format!("key {id} has signed it, and root v{} keeps that key", new.version)),
            None => Ok(()),
        }
    }
}
