//! Where new files wait until they are whole: a hidden folder inside the folder they are for, which one process owns.
//!
//! The owner holds a lock on its staging folder for as long as it lives. Whoever gets that lock knows that the owner is
//! gone, and may clear the folder; nobody else does. So two processes never have a staging folder in common, and files
//! are moved out of it by the open folder, never by a name that another process could have taken meanwhile.
//!
//! On a file system without locks a staging folder in which nothing has changed for a week is a left-over.
//!
//! Staging folders are called `.tuf-tmp-0`, `.tuf-tmp-1` and so on. What stands in the way of one (a file, a link, the
//! folder of another user) is left alone, and the next number is taken.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, flock, linkat, mkdirat, openat, renameat,
    statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

/// What the name of a staging folder starts with; a number follows.
const FOLDER: &str = ".tuf-tmp-";
/// What the name of a file in a staging folder starts with; a number follows.
const FILE: &str = ".tuf-";
/// The name of a whole folder that waits in a staging folder.
const TREE: &str = ".tuf-new";
/// The most staging folders that are looked at when the left-overs of killed processes are removed.
const SWEPT: u32 = 8;
/// The most staging folders that may be in use, or in the way, in one folder.
const MOST: u32 = 1 << 12;
/// Age in seconds after which a staging folder counts as left over, on a file system without locks: a week, longer than any
/// command works at one file.
const FORGOTTEN: i64 = 7 * 24 * 60 * 60;

/// A staging folder of our own. Dropped, it is gone with all that is still in it.
#[derive(Debug)]
pub(super) struct Staging {
    /// The folder that the files are for.
    above: OwnedFd,
    name: String,
    folder: OwnedFd,
    path: PathBuf,
    next: AtomicUsize,
}

impl Staging {
    /// Makes a staging folder inside a folder, after a sweep of it.
    ///
    /// # Errors
    /// Where the folder takes no other.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        sweep(path)?;
        let above = open_folder(CWD, path)?;
        for number in 0..MOST {
            let name = format!("{FOLDER}{number}");
            if let Some(Claimed { folder, owner }) = claim(&above, &name)? {
                if owner == Owner::Untold {
                    clear_forgotten(&above, number, &folder);
                }
                let path = path.join(&name);
                return Ok(Self { above, name, folder, path, next: AtomicUsize::new(0) });
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "the names of staging folders are all taken"))
    }

    /// Creates an empty file. May be called from many threads.
    pub(super) fn create(&self) -> io::Result<(PathBuf, File)> {
        let path = self.path.join(format!("{FILE}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((path, file))
    }

    /// Returns where a whole folder waits: nothing is there yet.
    pub(super) fn tree(&self) -> PathBuf {
        self.path.join(TREE)
    }

    /// Moves a file that was created here, or the whole folder, to its place, in one step. A file that is there is replaced.
    pub(super) fn put(&self, made: &Path, place: &Path) -> io::Result<()> {
        let name = made.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(renameat(&self.folder, name, CWD, place)?)
    }

    /// Moves a file that was created here to its place, in one step, unless something is there.
    pub(super) fn put_new(&self, made: &Path, place: &Path) -> io::Result<()> {
        let name = made.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        match linkat(&self.folder, name, CWD, place, AtFlags::empty()) {
            Ok(()) => Ok(unlinkat(&self.folder, name, AtFlags::empty())?),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) if place.symlink_metadata().is_err() => {
                // a file system without hard links: a moment is left in which another's file would be lost
                self.put(made, place)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes durable all that has been written to the file system of the staging folder.
    #[cfg(target_os = "linux")]
    pub(super) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.folder)?)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // nothing to report to: what stays is hidden, and swept when this process has ended
        if unlinkat(&self.above, self.name.as_str(), AtFlags::REMOVEDIR).is_err() {
            let _ = empty(&self.folder);
            let _ = unlinkat(&self.above, self.name.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

/// Tells whether a name is that of a staging folder.
pub(super) fn is_staging(name: &str) -> bool {
    numbered(name, FOLDER)
}

/// Removes the staging folders inside a folder whose owners are gone. One that cannot be removed stays, and hinders nobody.
///
/// # Errors
/// Where the folder is there and cannot be opened.
pub(super) fn sweep(path: &Path) -> io::Result<()> {
    let above = match open_folder(CWD, path) {
        Err(error) if super::local::is_absent(&error) => return Ok(()),
        above => above?,
    };
    (0..SWEPT).for_each(|number| clear(&above, &format!("{FOLDER}{number}")));
    Ok(())
}

/// A staging folder that was just made.
struct Claimed {
    folder: OwnedFd,
    owner: Owner,
}

/// Whether others can tell that a staging folder has an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// By its lock.
    Locked,
    /// Not at all: the file system has no locks.
    Untold,
}

/// Makes a staging folder and locks it; `None` where somebody else has the name.
fn claim(above: &OwnedFd, name: &str) -> io::Result<Option<Claimed>> {
    clear(above, name);
    match mkdirat(above, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // before it is locked somebody may take it for a left-over, and remove it or be about to
    let Ok(folder) = open_folder(above, Path::new(name)) else { return Ok(None) };
    let owner = match lock(&folder) {
        Ok(()) => Owner::Locked,
        Err(Errno::WOULDBLOCK) => return Ok(None),
        // a file system without locks: there only age tells that an owner is gone
        Err(_) => Owner::Untold,
    };
    Ok(is_named(above, name, &folder).then_some(Claimed { folder, owner }))
}

/// Removes the staging folders before one that was just made, on a file system without locks, in which nothing has changed for
/// [`FORGOTTEN`] seconds. Both times are the file system's own.
fn clear_forgotten(above: &OwnedFd, number: u32, new: &OwnedFd) {
    let Ok(now) = rustix::fs::fstat(new).map(|new| new.st_mtime) else { return };
    for name in (0..number).map(|number| format!("{FOLDER}{number}")) {
        let Ok(folder) = open_folder(above, Path::new(&name)) else { continue };
        if last_change(&folder).is_some_and(|changed| now.saturating_sub(changed) > FORGOTTEN) {
            remove(above, &name, &folder);
        }
    }
}

/// Returns when a staging folder or a file in it was changed last; `None` where that cannot be told.
fn last_change(folder: &OwnedFd) -> Option<i64> {
    let inside = entries(folder).ok()?;
    let changed = |(name, _): &(String, FileType)| {
        statat(folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok().map(|file| file.st_mtime)
    };
    let own = rustix::fs::fstat(folder).ok()?.st_mtime;
    inside.iter().map(changed).try_fold(own, |last, changed| Some(last.max(changed?)))
}

/// Removes a staging folder whose owner is gone, as far as what is in it was made here.
fn clear(above: &OwnedFd, name: &str) {
    let Ok(folder) = open_folder(above, Path::new(name)) else { return };
    if lock(&folder).is_ok() {
        remove(above, name, &folder);
    }
}

/// Removes what was made in a staging folder, and the folder if nothing else is in it.
fn remove(above: &OwnedFd, name: &str, folder: &OwnedFd) {
    if is_named(above, name, folder) {
        let _ = empty(folder);
        let _ = unlinkat(above, name, AtFlags::REMOVEDIR);
    }
}

fn lock(folder: &OwnedFd) -> Result<(), Errno> {
    retry_on_intr(|| flock(folder, FlockOperation::NonBlockingLockExclusive))
}

/// Opens a folder, and not what a link leads to where the folder is named inside another one.
fn open_folder(above: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let flags = if name.as_os_str().as_encoded_bytes().starts_with(b".tuf-") {
        flags | OFlags::NOFOLLOW
    } else {
        flags
    };
    Ok(openat(above, name, flags, Mode::empty())?)
}

/// Tells whether a name is still that of an open folder.
fn is_named(above: &OwnedFd, name: &str, folder: &OwnedFd) -> bool {
    let named = statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
    let open = rustix::fs::fstat(folder);
    matches!((named, open), (Ok(named), Ok(open)) if (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
}

/// Removes what staging makes in a staging folder, and nothing else.
fn empty(folder: &OwnedFd) -> io::Result<()> {
    for (name, kind) in entries(folder)? {
        match kind {
            FileType::RegularFile if numbered(&name, FILE) => {
                unlinkat(folder, name.as_str(), AtFlags::empty())?
            }
            FileType::Directory if name == TREE => remove_tree(folder, &name)?,
            _ => {}
        }
    }
    Ok(())
}

/// Removes a folder with all that is in it. Links are removed, not followed.
fn remove_tree(above: &OwnedFd, name: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(above, name, flags, Mode::empty())?;
    for (inside, kind) in entries(&folder)? {
        match kind {
            FileType::Directory => remove_tree(&folder, &inside)?,
            _ => unlinkat(&folder, inside.as_str(), AtFlags::empty())?,
        }
    }
    Ok(unlinkat(above, name, AtFlags::REMOVEDIR)?)
}

/// Lists a folder: the names that are text, each with what it names.
fn entries(folder: &OwnedFd) -> io::Result<Vec<(String, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

/// Tells whether a name is a word and a number in its shortest form.
fn numbered(name: &str, word: &str) -> bool {
    let digits = name.strip_prefix(word).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.is_some_and(|digits| digits == "0" || (!digits.is_empty() && !digits.starts_with('0')))
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
