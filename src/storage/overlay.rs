//! Files as they would be once a plan has been carried out.

use std::collections::BTreeMap;
use std::io;

use super::ReadFiles;

/// New bytes in front of existing files: what is planned can be checked before it is done.
pub struct Overlay<'a> {
    base: &'a dyn ReadFiles,
    new: BTreeMap<String, &'a [u8]>,
}

impl<'a> Overlay<'a> {
    /// Puts new files in front of existing ones.
    pub fn new(base: &'a dyn ReadFiles, new: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self { base, new: new.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect() }
    }
}

impl ReadFiles for Overlay<'_> {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.new.get(name) {
            Some(bytes) => Ok(Some(bytes.to_vec())),
            None => self.base.read(name, limit),
        }
    }
}
