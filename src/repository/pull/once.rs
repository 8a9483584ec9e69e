//! Files of which each is read once: what is taken over are the bytes that were judged, not those of a second look.

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
    /// Looks at files, of which none has been read.
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
