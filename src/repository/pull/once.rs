//! Reads each file once: what is taken over are the bytes that were judged, not those of a second look.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::storage::{ReadFiles, Storage};

/// Keeps what was read of other files.
pub(super) struct ReadOnce<'a> {
    files: &'a dyn Storage,
    kept: Mutex<HashMap<String, Option<Vec<u8>>>>,
}

impl<'a> ReadOnce<'a> {
    /// Looks at files; none has been read yet.
    pub(super) fn of(files: &'a dyn Storage) -> Self {
        Self { files, kept: Mutex::default() }
    }
}

impl ReadFiles for ReadOnce<'_> {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept().get(name) {
            return Ok(bytes.clone());
        }
        // not under the lock: others read meanwhile, and the first of two looks counts
        let bytes = self.files.read(name, limit)?;
        Ok(kept().entry(name.to_owned()).or_insert(bytes).clone())
    }
}

impl Storage for ReadOnce<'_> {
    fn place(&self, name: &str) -> PathBuf {
        self.files.place(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }

    fn walk(&self, visit: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        self.files.walk(visit)
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.files.length(name)
    }

    fn modified(&self, name: &str) -> io::Result<Option<SystemTime>> {
        self.files.modified(name)
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        self.files.open(name)
    }

    fn remove(&self, names: &[&str]) -> io::Result<()> {
        self.files.remove(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Folder;

    #[test]
    fn a_file_that_somebody_replaces_meanwhile_is_what_it_was_when_it_was_judged() {
        let dir = tempfile::tempdir().unwrap();
        let (there, missing) = (dir.path().join("there"), dir.path().join("missing"));
        std::fs::write(&there, "judged").unwrap();
        let folder = Folder::new(dir.path());
        let once = ReadOnce::of(&folder);
        assert_eq!(once.read("there", 100).unwrap().unwrap(), b"judged");
        assert_eq!(once.read("missing", 100).unwrap(), None);
        std::fs::write(&there, "exchanged").unwrap();
        std::fs::write(&missing, "put since").unwrap();
        assert_eq!(once.read("there", 100).unwrap().unwrap(), b"judged");
        assert_eq!(once.read("missing", 100).unwrap(), None);
        // a look that failed is no look
        std::fs::write(dir.path().join("long"), "longer than it may be").unwrap();
        assert!(once.read("long", 3).is_err());
        std::fs::write(dir.path().join("long"), "new").unwrap();
        assert_eq!(once.read("long", 3).unwrap().unwrap(), b"new");
    }
}
