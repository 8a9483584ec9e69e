//! The folders of a repository: how they are known, by a path or from an open folder.
//!
//! What stands beside a folder, or above it, tells; what lies in a target folder was chosen by metadata and never does.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};

use super::confined::{Folder, Identity};
use super::record;

/// What a maintainer works on; it stands beside a repository's metadata and targets.
const STAGED: &str = "metadata.staged";
/// The folders of a repository.
const ALL: [&str; 3] = ["metadata", "targets", STAGED];
/// Where a checkout of tuf-on-ci keeps the versions of the root, below its metadata.
const ROOT_HISTORY: &str = "root_history";

/// A file or folder by the way to it, links followed: from the current folder, or from an open one.
pub(super) struct Spot<'a> {
    from: BorrowedFd<'a>,
    way: PathBuf,
}

impl<'a> Spot<'a> {
    /// Looks at what a path leads to.
    pub fn at(path: &Path) -> Spot<'static> {
        Spot { from: CWD, way: path.to_owned() }
    }

    /// Looks at an open folder: where its path leads by now says nothing.
    pub fn open(folder: &'a Folder) -> Self {
        Self { from: folder.as_fd(), way: PathBuf::from(".") }
    }

    fn join(&self, name: &str) -> Self {
        Self { from: self.from, way: self.way.join(name) }
    }

    /// Tells whether this is a repository's metadata folder by what it holds, or, from an open folder, by what stands beside it.
    pub fn is_metadata(&self) -> io::Result<bool> {
        Ok(self.holds_published()? || self.join("..").join(STAGED).is_folder()?)
    }

    /// Tells whether a repository's folders are in this one.
    pub fn is_repository(&self) -> io::Result<bool> {
        Ok(self.join(STAGED).is_folder()? || self.join("metadata").holds_published()?)
    }

    /// Tells whether this is one of a repository's folders, or lies in one. For a folder that is there.
    pub fn is_inside(&self) -> io::Result<bool> {
        let mut folder = self.join(".");
        loop {
            let above = folder.join("..");
            let (own, up) = (folder.identity()?, above.identity()?);
            // the root of the file system is above itself
            if own == up || own.is_none() {
                return Ok(false);
            }
            for name in ALL {
                if above.join(name).identity()? == own && above.is_repository()? {
                    return Ok(true);
                }
            }
            folder = above;
        }
    }

    /// Tells whether a folder is marked as a client's metadata folder. No target has such a name.
    pub fn is_clients(&self) -> io::Result<bool> {
        let found = present(statat(self.from, &self.join(record::NAME).way, AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(found.is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile))
    }

    /// Tells whether a folder holds published metadata: a root with a version in its name beside a timestamp. A client
    /// keeps its root without, and a user may keep the root that trust began with in the client's folder, which is marked.
    pub fn holds_published(&self) -> io::Result<bool> {
        if self.join("timestamp.json").found()?.is_none() || self.is_clients()? {
            return Ok(false);
        }
        if self.holds_versioned_root()? {
            return Ok(true);
        }
        // python-tuf's client keeps all roots like tuf-on-ci; its `root.json` is a link to one of them
        let leads = readlinkat(self.from, &self.join("root.json").way, Vec::new());
        let is_linked =
            leads.is_ok_and(|leads| Path::new(OsStr::from_bytes(leads.as_bytes())).starts_with(ROOT_HISTORY));
        Ok(!is_linked && self.join(ROOT_HISTORY).holds_versioned_root()?)
    }

    fn holds_versioned_root(&self) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(folder) = present(openat(self.from, &self.way, flags, Mode::empty()))? else {
            return Ok(false);
        };
        for entry in Dir::read_from(&folder)? {
            if entry?.file_name().to_str().is_ok_and(is_versioned_root) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_folder(&self) -> io::Result<bool> {
        let found = self.found()?;
        Ok(found.is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory))
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        Ok(self.found()?.as_ref().map(Identity::from))
    }

    fn found(&self) -> io::Result<Option<Stat>> {
        present(statat(self.from, &self.way, AtFlags::empty()))
    }
}

/// Tells whether a path is one of a repository's folders, or lies in one, as it is spelled: a part of it may be missing.
pub(super) fn is_spelled_inside(path: &Path) -> io::Result<bool> {
    for (folder, above) in path.ancestors().zip(path.ancestors().skip(1)) {
        let name = folder.file_name().and_then(OsStr::to_str);
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        if name.is_some_and(|name| ALL.contains(&name)) && Spot::at(above).is_repository()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells whether a repository's folders stand beside a path, as it is spelled.
pub(super) fn is_spelled_beside(path: &Path) -> io::Result<bool> {
    let Some(above) = path.parent() else { return Ok(false) };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    Spot::at(above).join(STAGED).is_folder()
}

fn is_versioned_root(name: &str) -> bool {
    let version = name.strip_suffix(".root.json");
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Tells what was found from what is not there. An error other than 'not found' is reported; the folder is not used then.
fn present<T>(found: rustix::io::Result<T>) -> io::Result<Option<T>> {
    use rustix::io::Errno;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
