//! Which target files are there: asked one by one where few are wanted, listed once where they are many.
//!
//! The bytes of a target that a manifest lists may be hosted elsewhere. Then neither the file nor a copy named by a hash
//! is in the folder of targets.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::error::{AtPath, RepositoryError};
use super::layout::Layout;
use crate::metadata::{TargetFile, TargetPath};
use crate::storage::Folder;

/// Up to this many targets are asked for one by one.
const FEW: usize = 1000;

/// The files below a folder of targets.
pub(super) enum Presence<'a> {
    /// Asked for.
    Asked(&'a Folder),
    /// Listed.
    Listed(&'a Folder, HashSet<Box<str>>),
}

impl<'a> Presence<'a> {
    /// Looks at a folder in which a number of targets are wanted.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn of(folder: &'a Folder, wanted: usize) -> Result<Self, RepositoryError> {
        if wanted <= FEW {
            return Ok(Self::Asked(folder));
        }
        let mut names = HashSet::new();
        walk(folder.path(), "", &mut names)?;
        Ok(Self::Listed(folder, names))
    }

    /// Tells whether it is known that nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Listed(_, names) if names.is_empty())
    }

    /// Returns the length of a file, `None` where it is not there.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn length(&self, name: &str) -> Result<Option<u64>, RepositoryError> {
        match self {
            Self::Listed(_, names) if !names.contains(name) => Ok(None),
            Self::Asked(folder) | Self::Listed(folder, _) => folder.length(name).at(folder.file(name)),
        }
    }

    /// Tells whether nothing of a target is there, so that its bytes must be hosted elsewhere.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn is_elsewhere(&self, path: &TargetPath, file: &TargetFile) -> Result<bool, RepositoryError> {
        if self.length(path.as_str())?.is_some() {
            return Ok(false);
        }
        for name in Layout::Consistent.target_names(path, file) {
            if self.length(&name)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn walk(folder: &Path, below: &str, names: &mut HashSet<Box<str>>) -> Result<(), RepositoryError> {
    for entry in fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let name = format!("{below}{name}");
        let kind = entry.file_type().at(entry.path())?;
        // a link may lead to a folder
        if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
            walk(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.insert(name.into());
        }
    }
    Ok(())
}
