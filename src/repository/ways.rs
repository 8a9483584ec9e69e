//! The ways to files in a folder of targets: where a link leads out of that folder, no command puts a file.

use std::collections::BTreeSet;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{AtPath, InputError, RepositoryError};
use crate::storage::Folder;

/// The folders on the way to files of a folder of targets, each looked at once.
pub(super) struct Ways<'a> {
    targets: &'a Folder,
    /// The folder of targets itself, links followed; `None` where it is not there, so that nothing is in it.
    top: Option<PathBuf>,
    seen: BTreeSet<String>,
}

impl<'a> Ways<'a> {
    /// Looks at a folder of targets.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn into(targets: &'a Folder) -> Result<Self, RepositoryError> {
        let top = match targets.path().canonicalize() {
            Err(error) if is_absent(&error) => None,
            top => Some(top.at(targets.path())?),
        };
        Ok(Self { targets, top, seen: BTreeSet::new() })
    }

    /// Refuses the way to a file where a link leads out of the folder of targets, or something else than a folder is in the way.
    ///
    /// # Errors
    /// [`InputError::LeadsOutside`], [`InputError::NotOurFile`].
    pub(super) fn refuse_outside(&mut self, name: &str) -> Result<(), RepositoryError> {
        let Some(top) = &self.top else { return Ok(()) };
        for (end, _) in name.match_indices('/') {
            if !self.seen.contains(&name[..end]) {
                refuse_obstacle(top, self.targets.file(&name[..end]))?;
                self.seen.insert(name[..end].to_owned());
            }
        }
        Ok(())
    }
}

/// Refuses the ways to files of a folder of targets as [`Ways::refuse_outside`] does.
///
/// # Errors
/// As [`Ways::refuse_outside`].
pub(super) fn refuse_ways_outside<'n>(
    targets: &Folder,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), RepositoryError> {
    let mut ways = Ways::into(targets)?;
    names.into_iter().try_for_each(|name| ways.refuse_outside(name))
}

/// Refuses what is no folder in the place of one of the folder of targets.
fn refuse_obstacle(top: &Path, folder: PathBuf) -> Result<(), RepositoryError> {
    match kind_of(&folder)? {
        Some(kind) if kind.is_symlink() => match folder.canonicalize() {
            Ok(real) if real.starts_with(top) && real.is_dir() => Ok(()),
            _ => Err(InputError::LeadsOutside { place: folder }.into()),
        },
        Some(kind) if !kind.is_dir() => Err(InputError::NotOurFile { place: folder }.into()),
        _ => Ok(()),
    }
}

/// Returns what is at a place, links not followed; `None` where there is nothing.
pub(super) fn kind_of(place: &Path) -> Result<Option<FileType>, RepositoryError> {
    match place.symlink_metadata() {
        Ok(found) => Ok(Some(found.file_type())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).at(place),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Finds the link in a path by which it leaves a folder; `None` where no link does.
pub(super) fn link_out_of(path: &Path, base: &Path) -> Option<PathBuf> {
    let mut prefixes: Vec<&Path> = path.ancestors().filter(|prefix| !prefix.as_os_str().is_empty()).collect();
    prefixes.reverse();
    let leaves = |prefix: &&Path| {
        let above = prefix.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_inside = |path: &Path| path.canonicalize().is_ok_and(|real| real.starts_with(base));
        prefix.is_symlink() && is_inside(above) && !is_inside(prefix)
    };
    prefixes.into_iter().find(leaves).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::testing::scratch;
    use super::*;

    #[test]
    fn a_link_leads_on_inside_the_folder_and_nowhere_else() {
        let dir = scratch();
        let targets = dir.path().join("targets");
        for folder in ["targets/real/deep", "outside", "targets/x"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(targets.join("file"), "x").unwrap();
        for (to, link) in [("real", "inside"), ("../outside", "out"), ("nowhere", "dangling"), (".", "self")]
        {
            symlink(to, targets.join(link)).unwrap();
        }
        symlink("../out", targets.join("x/twice")).unwrap();
        let folder = Folder::new(&targets);
        let judged = |name: &str| refuse_ways_outside(&folder, [name]).map_err(|error| error.to_string());
        for name in ["a", "real/a", "inside/a", "inside/deep/a", "self/real/a", "new/folder/a", "out", "file"]
        {
            assert_eq!(judged(name), Ok(()), "{name}");
        }
        for name in ["out/a", "dangling/a", "x/twice/a", "self/out/a", "file/a"] {
            assert!(judged(name).is_err(), "{name}");
        }
        let real = targets.canonicalize().unwrap();
        assert_eq!(link_out_of(&targets.join("self/out/a"), &real), Some(targets.join("self/out")));
        assert_eq!(link_out_of(&targets.join("inside/a"), &real), None);
        assert_eq!(refuse_ways_outside(&Folder::new(dir.path().join("none")), ["a/b"]).ok(), Some(()));
    }
}
