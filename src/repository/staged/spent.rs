//! What a killed `write` has put: versions whose names are taken, and files that stay as they are.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::error::{AtPath, RepositoryError};
use super::super::layout::{Layout, MAX_METADATA};
use super::super::view::{Graph, View};
use super::Staged;
use super::drafts::draft_name;
use crate::metadata::{Covered, MAX_NUMBER, Metadata, RoleName, Signed, Snapshot, Targets};
use crate::storage::{Folder, ReadFiles, regular_or_none};

/// A file that a killed `write` has put: its bytes, and what they say.
type PutFile<T> = (Vec<u8>, Metadata<T>);

/// The highest version of each role, without root, whose name a versioned file has taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent {
    /// The roles' file names, one behind the other.
    names: String,
    /// Where each name stands, and a version of it.
    files: Vec<(Range<usize>, u64)>,
    /// The versions by name, made once many have been asked for: of hash bins there may be tens of thousands.
    by_name: OnceLock<HashMap<Box<str>, u64>>,
    asked: Asked,
}

/// How often something was asked.
#[derive(Debug, Default)]
struct Asked(AtomicUsize);

impl Clone for Asked {
    fn clone(&self) -> Self {
        Self(AtomicUsize::new(self.0.load(Ordering::Relaxed)))
    }
}

/// How many times the files are gone through one by one before an index is made.
const FEW: usize = 16;

impl Spent {
    /// Finds the versions that a killed `write` has given a file: it is never rewritten with other bytes.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub(super) fn read(folder: &Folder) -> Result<Self, RepositoryError> {
        let mut spent = Self::default();
        let take = |name: &str| {
            let parts = name.strip_suffix(".json").and_then(|stem| stem.split_once('.'));
            let Some((version, role)) = parts else { return };
            // the next root follows from the roots themselves
            if role == "root"
                || !version.bytes().all(|byte| byte.is_ascii_digit())
                || version.starts_with('0')
            {
                return;
            }
            if let Some(version) = version.parse::<u64>().ok().filter(|version| *version < MAX_NUMBER) {
                spent.push(role, version);
            }
        };
        folder.each_name(take).at(folder.path())?;
        Ok(spent)
    }

    fn push(&mut self, name: &str, version: u64) {
        let start = self.names.len();
        self.names.push_str(name);
        self.files.push((start..self.names.len(), version));
    }

    /// Notes that a file has been put.
    pub(super) fn add(&mut self, role: &RoleName, version: u64) {
        self.push(&role.encoded(), version);
        self.by_name = OnceLock::new();
    }

    fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|(name, version)| (&self.names[name.clone()], *version))
    }

    /// Returns the highest version of a role that a file has; 0 where there is none.
    fn of(&self, role: &RoleName) -> u64 {
        let name = role.encoded();
        if self.by_name.get().is_none() && self.asked.0.fetch_add(1, Ordering::Relaxed) < FEW {
            let versions = self.all().filter(|(known, _)| *known == name).map(|(_, version)| version);
            return versions.max().unwrap_or(0);
        }
        let by_name = self.by_name.get_or_init(|| {
            let mut highest: HashMap<Box<str>, u64> = HashMap::with_capacity(self.files.len());
            for (name, version) in self.all() {
                match highest.get_mut(name) {
                    Some(known) => *known = version.max(*known),
                    None => drop(highest.insert(name.into(), version)),
                }
            }
            highest
        });
        by_name.get(name.as_str()).copied().unwrap_or(0)
    }
}

impl Staged {
    /// Returns the highest version of a role whose name a file has taken. In the plain layout that is the version of the
    /// file of a role that nothing written leads to.
    pub(super) fn spent_version(&self, role: &RoleName) -> Result<u64, RepositoryError> {
        if self.layout() == Layout::Consistent {
            return Ok(self.spent.of(role));
        }
        // what is damaged gives way to the next file, whatever version it states
        if !role.lists_targets() || self.damaged.contains_key(role) {
            return Ok(0);
        }
        let name = draft_name(role);
        let bytes = regular_or_none(self.folder.read(&name, MAX_METADATA)).at(self.folder.file(&name))?;
        let put = bytes.and_then(|bytes| Metadata::<Targets>::from_file(bytes).ok());
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
        self.layout() == Layout::Consistent && role.as_str() != "root" && self.spent.of(role) < version
    }

    pub(super) fn put_of<T: Signed>(
        &self,
        role: &RoleName,
        version: u64,
        signed: &[u8],
    ) -> Result<Option<PutFile<T>>, RepositoryError> {
        let name = self.layout().metadata_name(role, version);
        let put = regular_or_none(self.folder.read(&name, MAX_METADATA)).at(self.folder.file(&name))?;
        let read = |bytes: Vec<u8>| Metadata::from_bytes(&bytes).ok().map(|put| (bytes, put));
        Ok(put.and_then(read).filter(|(_, put)| put.signed_bytes() == signed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::scratch;
    use super::*;

    #[test]
    fn the_highest_version_counts_however_often_it_is_asked_for() {
        let dir = scratch();
        for name in [
            "2.a.json",
            "10.a.json",
            "9.a.json",
            "01.a.json",
            "x.a.json",
            "7.root.json",
            "3.b.c.json",
            "4.a.txt",
        ] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let mut spent = Spent::read(&Folder::new(dir.path())).unwrap();
        let role = |name: &str| RoleName::new(name.to_owned()).unwrap();
        for _ in 0..2 * FEW {
            assert_eq!([spent.of(&role("a")), spent.of(&role("b.c")), spent.of(&role("c"))], [10, 3, 0]);
        }
        spent.add(&role("c"), 1);
        assert_eq!([spent.of(&role("a")), spent.of(&role("c"))], [10, 1]);
    }
}
