//! What a killed `write` has put: versions whose names are taken, and files that stay as they are.

use std::collections::HashMap;

use super::super::error::{AtPath, RepositoryError};
use super::super::layout::{Layout, MAX_METADATA};
use super::super::view::{Graph, View};
use super::Staged;
use super::drafts::draft_name;
use crate::metadata::{Covered, MAX_NUMBER, Metadata, RoleName, Signed, Snapshot, Targets};
use crate::storage::{Folder, ReadFiles};

/// A file that a killed `write` has put: its bytes, and what they say.
type PutFile<T> = (Vec<u8>, Metadata<T>);

/// The highest version of each role, without root, whose name a versioned file has taken, by the role's file name.
pub(super) type Spent = HashMap<Box<str>, u64>;

/// Finds the versions that a killed `write` has given a file: it is never rewritten with other bytes.
pub(super) fn read_spent(folder: &Folder) -> Result<Spent, RepositoryError> {
    let mut spent = Spent::new();
    let take = |name: &str| {
        let Some((version, role)) = name.strip_suffix(".json").and_then(|stem| stem.split_once('.')) else {
            return;
        };
        // the next root follows from the roots themselves
        if role == "root" || !version.bytes().all(|byte| byte.is_ascii_digit()) || version.starts_with('0') {
            return;
        }
        let Some(version) = version.parse::<u64>().ok().filter(|version| *version < MAX_NUMBER) else {
            return;
        };
        match spent.get_mut(role) {
            Some(highest) => *highest = version.max(*highest),
            None => drop(spent.insert(role.into(), version)),
        }
    };
    folder.each_name(take).at(folder.path())?;
    Ok(spent)
}

impl Staged {
    /// Returns the highest version of a role whose name a file has taken. In the plain layout that is the version of the
    /// file of a role that nothing written leads to.
    pub(super) fn spent_version(&self, role: &RoleName) -> Result<u64, RepositoryError> {
        if self.layout() == Layout::Consistent {
            return Ok(self.spent.get(role.encoded().as_str()).copied().unwrap_or(0));
        }
        if !role.lists_targets() {
            return Ok(0);
        }
        let name = draft_name(role);
        let bytes = self.folder.read(&name, MAX_METADATA).at(self.folder.file(&name))?;
        let put = bytes.and_then(|bytes| Metadata::<Targets>::from_bytes(&bytes).ok());
        Ok(put.map_or(0, |put| put.signed().version))
    }

    /// Returns the file of a draft that a killed `write` has put already: it stays as it is, though the draft may have
    /// got more signatures since.
    pub(in crate::repository) fn put_already(
        &self,
        role: &RoleName,
    ) -> Result<Option<Vec<u8>>, RepositoryError> {
        let Some(state) = self.role(role) else { return Ok(None) };
        let Some((draft, version)) = state.draft_bytes().zip(state.draft_version()) else {
            return Ok(None);
        };
        if self.is_free(role, version) {
            return Ok(None);
        }
        Ok(match role.as_str() {
            "snapshot" => self.put_of::<Snapshot>(role, version, draft.bytes)?.map(|(bytes, _)| bytes),
            _ => self.put_of::<Targets>(role, version, draft.bytes)?.map(|(bytes, _)| bytes),
        })
    }

    /// Tells whether a killed `write` has put a role's draft with signatures that no longer suffice: the draft needs a
    /// version that is free.
    pub(in crate::repository) fn put_in_vain(
        &self,
        view: &View<'_>,
        role: &RoleName,
        graph: &Graph,
    ) -> Result<bool, RepositoryError> {
        let Some(state) = self.role(role) else { return Ok(false) };
        let Some((draft, version)) = state.draft_bytes().zip(state.draft_version()) else { return Ok(false) };
        if version >= state.next_version() || matches!(role.as_str(), "root" | "timestamp") {
            return Ok(false);
        }
        let lacking = |put: Covered<'_>| {
            let authorities = view.authorities(role, graph);
            authorities.iter().any(|(authority, _)| !authority.check(put).is_verified())
        };
        Ok(match role.as_str() {
            "snapshot" => self
                .put_of::<Snapshot>(role, version, draft.bytes)?
                .is_some_and(|(_, put)| lacking(put.covered())),
            _ => self
                .put_of::<Targets>(role, version, draft.bytes)?
                .is_some_and(|(_, put)| lacking(put.covered())),
        })
    }

    /// Tells whether the name of a file is free, so that it need not be looked for.
    pub(in crate::repository) fn is_free(&self, role: &RoleName, version: u64) -> bool {
        let spent = self.spent.get(role.encoded().as_str());
        self.layout() == Layout::Consistent
            && role.as_str() != "root"
            && spent.is_none_or(|spent| *spent < version)
    }

    pub(super) fn put_of<T: Signed>(
        &self,
        role: &RoleName,
        version: u64,
        signed: &[u8],
    ) -> Result<Option<PutFile<T>>, RepositoryError> {
        let name = self.layout().metadata_name(role, version);
        let put = self.folder.read(&name, MAX_METADATA).at(self.folder.file(&name))?;
        let read = |bytes: Vec<u8>| Metadata::from_bytes(&bytes).ok().map(|put| (bytes, put));
        Ok(put.and_then(read).filter(|(_, put)| put.signed_bytes() == signed))
    }
}
