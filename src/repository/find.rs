//! Target files on disk, found by path.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::error::{AtPath, InputError, RepositoryError};
use super::layout::parse_hash_named;
use crate::metadata::TargetPath;

/// Whether folders are walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Only the files directly in a folder.
    Flat,
    /// The folders inside as well.
    Recursive,
}

/// What is done about symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Left out in a folder, refused where named.
    Refuse,
    /// Followed.
    Follow,
}

/// Where the files to list are, and what they are called.
#[derive(Debug, Clone)]
pub struct TargetSource<'a> {
    /// The repository's folder of targets.
    pub targets: &'a Path,
    /// Where target paths start outside the folder of targets; `None` means that files must lie inside.
    pub base: Option<&'a Path>,
    /// What the target paths of files from outside start with.
    pub prefix: Option<&'a str>,
    /// Whether folders are walked through.
    pub walk: Walk,
    /// What is done about symbolic links.
    pub symlinks: Symlinks,
}

/// A file that is to become a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundTarget {
    /// What it will be called.
    pub path: TargetPath,
    /// The file.
    pub file: PathBuf,
    /// Whether it lies in the folder of targets already.
    pub in_place: bool,
}

/// Finds the files that paths, as typed, mean. `HASH.name` copies and hidden temporary files are left out.
///
/// # Errors
/// [`InputError`] for what is not there, not a file, or outside the folder of targets without a base.
pub fn find_targets(
    paths: &[PathBuf],
    source: &TargetSource<'_>,
) -> Result<Vec<FoundTarget>, RepositoryError> {
    let targets = fs::canonicalize(source.targets).at(source.targets)?;
    let mut found = Vec::new();
    for path in paths {
        let finder = Finder { source, targets: &targets, typed: path };
        finder.find(&mut found)?;
    }
    found.sort_unstable();
    found.dedup();
    if let Some(pair) = found.windows(2).find(|pair| pair[0].path == pair[1].path) {
        let reason = format!("both {} and {} would be it", pair[0].file.display(), pair[1].file.display());
        return Err(InputError::Clash { path: pair[0].path.to_string(), reason }.into());
    }
    Ok(found)
}

struct Finder<'a> {
    source: &'a TargetSource<'a>,
    /// The folder of targets, canonical.
    targets: &'a Path,
    /// The path as typed.
    typed: &'a Path,
}

impl Finder<'_> {
    fn find(&self, found: &mut Vec<FoundTarget>) -> Result<(), RepositoryError> {
        let no_file = |reason| InputError::NoFile { path: self.typed.to_owned(), reason };
        let metadata = match fs::symlink_metadata(self.typed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no_file("no such file").into());
            }
            metadata => metadata.at(self.typed)?,
        };
        if metadata.is_symlink() && self.source.symlinks == Symlinks::Refuse {
            return Err(no_file("is a symbolic link").into());
        }
        let metadata = fs::metadata(self.typed).at(self.typed)?;
        if metadata.is_dir() {
            return self.walk(self.typed, found, &mut Vec::new());
        }
        if !metadata.is_file() {
            return Err(no_file("is not a regular file").into());
        }
        // the folder is resolved, not the file: a link that is followed is named by its own place
        let parent = self.typed.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        found.extend(self.target(self.typed, &fs::canonicalize(folder).at(folder)?)?);
        Ok(())
    }

    /// Takes the files of a folder; `above` are the folders walked through, to notice a loop of links.
    fn walk(
        &self,
        folder: &Path,
        found: &mut Vec<FoundTarget>,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), RepositoryError> {
        let canonical = fs::canonicalize(folder).at(folder)?;
        if above.contains(&canonical) {
            return Ok(());
        }
        above.push(canonical.clone());
        let entries: Vec<_> = fs::read_dir(folder).and_then(Iterator::collect).at(folder)?;
        for entry in entries {
            let entry: fs::DirEntry = entry;
            let path = entry.path();
            let mut kind = entry.file_type().at(&path)?;
            if kind.is_symlink() {
                if self.source.symlinks == Symlinks::Refuse {
                    continue;
                }
                kind = fs::metadata(&path).at(&path)?.file_type();
            }
            if kind.is_dir()
                && self.source.walk == Walk::Recursive
                && entry.file_name() != OsStr::new(".tuf-tmp")
            {
                self.walk(&path, found, above)?;
            } else if kind.is_file() {
                found.extend(self.target(&path, &canonical)?);
            }
        }
        above.pop();
        Ok(())
    }

    /// Names a file as a target; `folder` is the canonical place of its folder.
    fn target(&self, file: &Path, folder: &Path) -> Result<Option<FoundTarget>, RepositoryError> {
        let name = file.file_name().unwrap_or_default();
        let place = folder.join(name);
        let inside = place.strip_prefix(self.targets).ok().map(Path::to_owned);
        let in_place = inside.is_some() && self.source.base.is_none() && self.source.prefix.is_none();
        let relative = match inside.filter(|_| in_place) {
            Some(relative) => relative,
            None => self.outside(&place)?,
        };
        if in_place && name.to_str().and_then(parse_hash_named).is_some() {
            return Ok(None);
        }
        let not_utf8 = || InputError::NoFile { path: file.to_owned(), reason: "its name is not UTF-8" };
        let relative = relative.to_str().ok_or_else(not_utf8)?;
        // an absolute prefix is left for the target path to refuse
        let trimmed = |prefix: &'_ str| match prefix.starts_with('/') {
            true => prefix.to_owned(),
            false => prefix.trim_end_matches('/').to_owned(),
        };
        let full = match self.source.prefix.map(trimmed).filter(|prefix| !prefix.is_empty()) {
            Some(prefix) if !in_place => format!("{prefix}/{relative}"),
            _ => relative.to_owned(),
        };
        Ok(Some(FoundTarget {
            path: TargetPath::parse(&full).map_err(InputError::from)?,
            file: place,
            in_place,
        }))
    }

    /// Returns the path of a file from outside relative to the base; where only a prefix is given, relative to the path
    /// that was typed.
    fn outside(&self, place: &Path) -> Result<PathBuf, RepositoryError> {
        let outside = || InputError::OutsideTargets {
            path: self.typed.to_owned(),
            targets: self.source.targets.to_owned(),
        };
        let typed_parent =
            || self.typed.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = match (self.source.base, self.source.prefix) {
            (Some(base), _) => base,
            (None, Some(_)) if self.typed.is_dir() => self.typed,
            (None, Some(_)) => typed_parent(),
            (None, None) => return Err(outside().into()),
        };
        let base = fs::canonicalize(base).at(base)?;
        let elsewhere = || InputError::OutsideTargets { path: self.typed.to_owned(), targets: base.clone() };
        Ok(place.strip_prefix(&base).map_err(|_| elsewhere())?.to_owned())
    }
}

/// Returns how long files are together, in bytes; one that cannot be looked at counts for nothing.
pub fn length_of(found: &[FoundTarget]) -> u64 {
    found.par_iter().map(|target| fs::metadata(&target.file).map_or(0, |metadata| metadata.len())).sum()
}
