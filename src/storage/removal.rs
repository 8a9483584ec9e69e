//! Files are removed below a folder, and nowhere else: the way to each is followed step by step, and never through a link
//! that somebody has put there.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, statat, unlinkat};

use super::Folder;
use super::local::{FEW, is_absent};

impl Folder {
    /// Removes plain files in the folder and in those below it, then makes that durable. The folder itself may be reached
    /// by a link; nothing in it may. A file that is gone already is no failure, nor is one in whose place, or on the way
    /// to which, something else is by now: that stays.
    ///
    /// # Errors
    /// At the first file that cannot be removed; those before it are gone.
    pub fn remove_inside(&self, names: &[&str]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = match open(self.path(), flags, Mode::empty()).map_err(io::Error::from) {
            Err(error) if is_absent(&error) => return Ok(()),
            top => top?,
        };
        let mut changed: Vec<OwnedFd> = Vec::new();
        let mut are_many = false;
        // files that follow one another are mostly in one folder
        for some in names.chunk_by(|one, other| split(one).0 == split(other).0) {
            let Some(folder) = below(&top, some.first().map_or("", |name| split(name).0))? else { continue };
            let mut has_changed = false;
            for name in some {
                has_changed |= remove_file(&folder, split(name).1)?;
            }
            match has_changed {
                true if changed.len() < FEW => changed.push(folder),
                true => are_many = true,
                false => {}
            }
        }
        if are_many { sync_all(&top, &changed) } else { changed.iter().try_for_each(sync) }
    }
}

/// Makes removals in many folders durable.
fn sync_all(top: &OwnedFd, changed: &[OwnedFd]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let _ = changed;
        Ok(rustix::fs::syncfs(top)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        changed.iter().chain([top]).try_for_each(sync)
    }
}

fn sync(folder: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(folder)?)
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

/// Opens a folder below another one; `None` where it is not there, or a link is on the way.
fn below(top: &OwnedFd, folder: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = top.try_clone()?;
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        here = match openat(&here, part, flags, Mode::empty()) {
            Err(error) if is_elsewhere(error) => return Ok(None),
            opened => opened?,
        };
    }
    Ok(Some(here))
}

/// Removes a plain file. Tells whether there was one.
fn remove_file(folder: &OwnedFd, name: &str) -> io::Result<bool> {
    let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(error) if is_elsewhere(error) => return Ok(false),
        found => found?,
    };
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Ok(false);
    }
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(error) if is_elsewhere(error) => Ok(false),
        removed => Ok(removed.map(|()| true)?),
    }
}

fn is_elsewhere(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_never_leads_a_removal_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir_all(outside.join("b")).unwrap();
        for name in ["outside/file", "outside/b/file", "inside/a/file", "inside/a/b/file", "inside/file"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        symlink(&outside, inside.join("link")).unwrap();
        symlink(outside.join("file"), inside.join("a/link")).unwrap();
        symlink(&inside, dir.path().join("way")).unwrap();
        let names = [
            "a/b/file",
            "a/file",
            "a/link",
            "a/none",
            "file",
            "file/x",
            "link/b/file",
            "link/file",
            "none/x",
        ];
        Folder::new(dir.path().join("way")).remove_inside(&names).unwrap();
        for name in ["inside/a/file", "inside/a/b/file", "inside/file"] {
            assert!(!dir.path().join(name).exists(), "{name}");
        }
        for name in ["outside/file", "outside/b/file"] {
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), name.as_bytes());
        }
        assert!(inside.join("a/link").is_symlink() && inside.join("a/b").is_dir());
        Folder::new(dir.path().join("absent")).remove_inside(&names).unwrap();
    }
}
