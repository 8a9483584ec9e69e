//! The folder of verified targets: nothing else is ever visible in it, and nothing outside it is ever touched.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::ClientError;
use super::confined::{Folder, Staged};
use crate::metadata::TargetPath;

/// A folder for verified targets. Links on the way to it are followed, links in it are not.
pub struct TargetDir {
    path: PathBuf,
    folder: Folder,
    swept: Cell<Swept>,
}

/// Whether left-overs of killed clients have been removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Swept {
    NotYet,
    Done,
}

impl TargetDir {
    /// Opens the folder, made where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn create(path: &Path) -> Result<Self, ClientError> {
        let folder = Folder::create(path).map_err(|error| ClientError::local(path, error))?;
        Ok(Self { path: path.to_owned(), folder, swept: Cell::new(Swept::NotYet) })
    }

    /// Returns where a target is, or would be.
    pub fn file(&self, target: &TargetPath) -> PathBuf {
        self.path.join(target.as_str())
    }

    /// Opens the file at a target's place, whatever it holds; `None` where there is no regular file.
    ///
    /// # Errors
    /// [`ClientError::Local`] where something other than a folder stands above that place, or a folder at it.
    pub(super) fn open(&self, target: &TargetPath) -> Result<Option<File>, ClientError> {
        self.find(target).map_err(|error| ClientError::local(&self.file(target), error))
    }

    fn find(&self, target: &TargetPath) -> io::Result<Option<File>> {
        let (folders, name) = parts(target);
        let mut above: Option<Folder> = None;
        for folder in folders {
            match above.as_ref().unwrap_or(&self.folder).folder(folder)? {
                Some(folder) => above = Some(folder),
                None => return Ok(None),
            }
        }
        let above = above.as_ref().unwrap_or(&self.folder);
        if above.folder(name).is_ok_and(|folder| folder.is_some()) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder stands there"));
        }
        // a link, a pipe and the like hold no target; putting one there replaces them
        Ok(above.file(name).unwrap_or(None))
    }

    /// Starts an unfinished file.
    pub(super) fn stage(&self) -> Result<Staged<'_>, ClientError> {
        let staged = || {
            if self.swept.replace(Swept::Done) == Swept::NotYet {
                self.folder.sweep()?;
            }
            self.folder.stage()
        };
        staged().map_err(|error| ClientError::local(&self.path, error))
    }

    /// Puts a finished file at a target's place, making the folders above it.
    pub(super) fn put(&self, staged: Staged<'_>, target: &TargetPath) -> Result<(), ClientError> {
        let put = || {
            let (folders, name) = parts(target);
            let mut above: Option<Folder> = None;
            for folder in folders {
                above = Some(above.as_ref().unwrap_or(&self.folder).make_folder(folder)?);
            }
            staged.put(above.as_ref().unwrap_or(&self.folder), name)
        };
        put().map_err(|error| ClientError::local(&self.file(target), error))
    }
}

/// Splits a target path into the folders above the file and the file's name.
fn parts(target: &TargetPath) -> (impl Iterator<Item = &str>, &str) {
    let (folders, name) = target.split();
    (folders.split_terminator('/'), name)
}
