//! Which target files are there: asked one by one where few are wanted, listed once where they are many.
//!
//! The bytes of a target that a manifest lists may be hosted elsewhere. Then neither the file nor a copy named by a hash
//! is in the folder of targets.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::check::{Finding, Severity};
use super::error::{AtPath, RepositoryError};
use super::layout::Layout;
use crate::metadata::{RoleName, TargetFile, TargetPath, Targets};
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

/// Leaves out the targets that have neither a file nor a copy in a folder: their bytes must be hosted elsewhere, as a manifest wants it.
/// Returns a word about them.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn set_aside_elsewhere(
    folder: &Folder,
    targets: &mut BTreeMap<RoleName, Targets>,
) -> Result<Option<Finding>, RepositoryError> {
    let presence = Presence::of(folder, targets.values().map(|role| role.targets.len()).sum())?;
    let (mut number, mut first) = (0_usize, None);
    for role in targets.values_mut() {
        let listed = &role.targets;
        let is_elsewhere = |index: usize| -> Result<bool, RepositoryError> {
            let Some((path, file)) = listed.at(index) else { return Ok(false) };
            TargetPath::parse(&path).map_or(Ok(false), |path| presence.is_elsewhere(&path, &file))
        };
        let gone = (0..listed.len()).into_par_iter().map(is_elsewhere);
        let gone: Vec<bool> = gone.collect::<Result<_, _>>()?;
        let mut gone = gone.into_iter();
        role.targets.retain(|path| {
            let gone = gone.next().unwrap_or(false);
            if gone {
                number += 1;
                first.get_or_insert_with(|| path.escape_debug().to_string());
            }
            !gone
        });
    }
    Ok(first.map(|path| Finding {
        severity: Severity::Warning,
        role: None,
        file: None,
        message: format!(
            "{number} targets such as '{path}' have no file here: clients must find them where they are hosted"
        ),
    }))
}

fn walk(folder: &Path, below: &str, names: &mut HashSet<Box<str>>) -> Result<(), RepositoryError> {
    // a folder is closed before those in it are opened, however deep they lie
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let name = format!("{below}{name}");
        let kind = entry.file_type().at(entry.path())?;
        // a link may lead to a folder
        if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
            folders.push((entry.path(), format!("{name}/")));
        } else {
            names.insert(name.into());
        }
    }
    folders.into_iter().try_for_each(|(folder, below)| walk(&folder, &below, names))
}
