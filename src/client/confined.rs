//! Files below one folder, whatever stands there: no name leads out of it, and no symbolic link is followed.
//!
//! Each step goes from an open folder to an entry of it, so that nobody can put a link in between.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, linkat, mkdirat, openat, renameat,
    statat, unlinkat,
};
use rustix::process::{Gid, geteuid};

/// Which file or folder it is, by device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The number of the device.
    pub device: u64,
    /// The number of the file on the device.
    pub inode: u64,
}

impl Identity {
    /// Returns which file is open.
    ///
    /// # Errors
    /// [`io::Error`] where the system does not say.
    pub fn of(open: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(open)?))
    }

    /// Returns which folder a path leads to, links on the way followed.
    ///
    /// # Errors
    /// [`io::Error`] where it leads to none.
    pub fn at(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

impl From<&Stat> for Identity {
    #[allow(clippy::unnecessary_cast, reason = "the width of a device number differs between systems")]
    fn from(stat: &Stat) -> Self {
        Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// Who a file or folder belongs to, and what others may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The number of the user.
    pub owner: u32,
    /// Whether another user may write to it.
    pub others_write: bool,
    /// Whether those who may write to the folder may only move what is their own.
    pub is_sticky: bool,
}

impl Ownership {
    /// Returns whose an open file or folder is.
    ///
    /// # Errors
    /// [`io::Error`] where the system does not say.
    pub fn of(open: impl AsFd) -> io::Result<Self> {
        let found = rustix::fs::fstat(open)?;
        let mode = Mode::from_raw_mode(found.st_mode);
        Ok(Self {
            owner: found.st_uid,
            others_write: mode.intersects(Mode::WGRP | Mode::WOTH),
            is_sticky: mode.contains(Mode::SVTX),
        })
    }
}

/// The mode of a new file, before the umask takes bits away. A default ACL gives no more rights than this mode.
const FILE: Mode = Mode::from_raw_mode(0o644);
/// The mode of a file that only its owner opens.
const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);
/// The mode of a folder that only its owner opens. A default ACL gives nobody rights to it.
const PRIVATE_FOLDER: Mode = Mode::from_raw_mode(0o700);

/// An open folder.
pub struct Folder(OwnedFd);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Folder {
    /// Opens a folder. Links on the way to it are followed: the way is its owner's choice.
    ///
    /// # Errors
    /// [`io::Error`] where it is not there or not a folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens a folder, made with the folders above it where it is not there.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Opens a folder in this one; `None` where there is nothing of that name.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a folder, a link to one included.
    pub fn folder(&self, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.0, entry(name)?, flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Self(folder))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(self.explain(name, error, "not a folder")),
        }
    }

    /// Tells whether the folder belongs to the user that runs this process.
    ///
    /// # Errors
    /// [`io::Error`] where the system does not say.
    pub fn is_own(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstat(&self.0)?.st_uid == geteuid().as_raw())
    }

    /// Returns whose the folder is.
    ///
    /// # Errors
    /// [`io::Error`] where the system does not say.
    pub fn ownership(&self) -> io::Result<Ownership> {
        Ownership::of(&self.0)
    }

    /// Takes the rights to an own folder away from others, where they may write to it.
    ///
    /// # Errors
    /// [`io::Error`] where the system does not say what they may.
    pub fn shut(&self) -> io::Result<()> {
        if is_written_by_others(&self.0)? {
            // a file system without modes gives the same rights to all files
            let _ = rustix::fs::fchmod(&self.0, PRIVATE_FOLDER);
        }
        Ok(())
    }

    /// Opens a file to be locked, made where there is none. Only those may open it who may write to this folder: whoever may open
    /// it may lock it.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a regular file, a link to one included.
    pub fn lock_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, entry(name)?, flags, PRIVATE_FILE) {
            Ok(file) => File::from(file),
            Err(error) => return Err(self.explain(name, error, "not a file")),
        };
        if !file.metadata()?.is_file() {
            return Err(invalid("it is not a regular file"));
        }
        self.share(&file)?;
        Ok(file)
    }

    /// Gives those who may write to this folder the right to open an own file of it, and takes it from all others.
    fn share(&self, file: &File) -> io::Result<()> {
        let (folder, found) = (rustix::fs::fstat(&self.0)?, rustix::fs::fstat(file)?);
        // another user's stays as it is, and under another name it may be anything
        if found.st_uid != geteuid().as_raw() || found.st_nlink != 1 {
            return Ok(());
        }
        let mut mode = PRIVATE_FILE;
        let writes = Mode::from_raw_mode(folder.st_mode);
        let is_of_its_group = found.st_gid == folder.st_gid
            || (writes.contains(Mode::WGRP)
                && rustix::fs::fchown(file, None, Some(Gid::from_raw(folder.st_gid))).is_ok());
        if writes.contains(Mode::WGRP) && is_of_its_group {
            mode |= Mode::RGRP | Mode::WGRP;
        }
        if writes.contains(Mode::WOTH) {
            mode |= Mode::ROTH | Mode::WOTH;
        }
        if Mode::from_raw_mode(found.st_mode) != mode {
            // a file system without modes gives the same rights to all files
            let _ = rustix::fs::fchmod(file, mode);
        }
        Ok(())
    }

    /// Makes a folder in this one; tells whether it was made, and not there before.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn make_new_folder(&self, name: &str) -> io::Result<bool> {
        match mkdirat(&self.0, entry(name)?, Mode::from_raw_mode(0o777)) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns this folder and those above it, this one first. The system goes from the open folder, so that a link that
    /// is switched meanwhile changes nothing.
    ///
    /// # Errors
    /// [`io::Error`] where a folder above cannot be reached.
    pub fn with_those_above(&self) -> io::Result<Vec<Identity>> {
        let mut found = vec![self.identity()?];
        let mut up = "..".to_owned();
        loop {
            let above = Identity::from(&statat(&self.0, up.as_str(), AtFlags::empty())?);
            // the root of the file system is above itself
            if found.last() == Some(&above) {
                return Ok(found);
            }
            found.push(above);
            up.push_str("/..");
        }
    }

    /// Opens a regular file in this folder, or one that a link of that name leads to; `None` where there is nothing.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a regular file.
    pub fn linked_file(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, entry(name)?, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(invalid("it is not a regular file")) }
    }

    /// Opens a regular file in this folder; `None` where there is nothing of that name.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a regular file, a link to one included.
    pub fn file(&self, name: &str) -> io::Result<Option<File>> {
        // a named pipe must not make us wait for its other end
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, entry(name)?, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.explain(name, error, "not a file")),
        };
        if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(invalid("it is not a regular file")) }
    }

    /// Opens a file for reading and for writing at its end, made where there is none.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a regular file, a link to one included.
    pub fn append(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.0, entry(name)?, flags, FILE) {
            Ok(file) => {
                let file = File::from(file);
                if file.metadata()?.is_file() { Ok(file) } else { Err(invalid("it is not a regular file")) }
            }
            Err(error) => Err(self.explain(name, error, "not a file")),
        }
    }

    /// Tells whether there is anything of that name, a link included.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.named(name)?.is_some())
    }

    /// Removes a file; nothing happens where there is none.
    ///
    /// # Errors
    /// [`io::Error`] where it stays.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, entry(name)?, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an empty file, open for reading and writing; fails where there is anything of that name.
    ///
    /// # Errors
    /// [`io::Error`] where the folder takes no file.
    pub fn make_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.0, entry(name)?, flags, FILE)?))
    }

    /// Makes an empty folder that only its owner reads; fails where there is anything of that name.
    ///
    /// # Errors
    /// [`io::Error`] where the folder takes no other.
    pub fn make_private_folder(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(&self.0, entry(name)?, PRIVATE_FOLDER)?)
    }

    /// Opens a file for reading and writing, made where there is none, that stays when its owner is killed and has one
    /// owner at a time; `None` where it has one, where the file system cannot tell, or where another user may write to it.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a regular file, a link to one included.
    pub fn own(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, entry(name)?, flags, FILE) {
            Ok(file) => File::from(file),
            Err(error) => return Err(self.explain(name, error, "not a file")),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(invalid("it is not a regular file"));
        }
        // under another name the file may be somebody's
        if metadata.nlink() > 1 {
            return Ok(None);
        }
        if is_written_by_others(&file)? || metadata.uid() != geteuid().as_raw() {
            return Ok(None);
        }
        // whoever owned it before may have put it in its place meanwhile: it is no longer ours to write to then
        Ok((file.try_lock().is_ok() && self.holds(name, &file)?).then_some(file))
    }

    /// Removes an empty folder in this one; nothing happens where there is none.
    ///
    /// # Errors
    /// [`io::Error`] where it stays.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, entry(name)?, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a file of this folder to a name in another one, in one step. What was there is gone; a link is replaced,
    /// not followed.
    ///
    /// # Errors
    /// [`io::Error`] where that fails; nothing has changed then.
    pub fn rename(&self, name: &str, folder: &Self, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, entry(name)?, &folder.0, entry(to)?)?)
    }

    /// Gives a file of this folder another name, in another folder; a link is named itself, not what it leads to.
    ///
    /// # Errors
    /// [`io::Error`] where there is no such file, where the name is taken, or where the file system has no second names.
    pub fn link(&self, name: &str, folder: &Self, to: &str) -> io::Result<()> {
        Ok(linkat(&self.0, entry(name)?, &folder.0, entry(to)?, AtFlags::empty())?)
    }

    /// Makes sure that all that has been written to this folder's file system survives a loss of power, where the
    /// system can do that at once; tells whether it could.
    ///
    /// # Errors
    /// [`io::Error`] where the disk fails.
    pub fn sync_file_system(&self) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            rustix::fs::syncfs(&self.0)?;
            Ok(true)
        }
        #[cfg(not(target_os = "linux"))]
        Ok(false)
    }

    /// Locks the folder for as long as it is open.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where somebody else has locked it; any other where the file system cannot.
    pub fn try_lock(&self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::NonBlockingLockExclusive)?)
    }

    /// Returns which folder this is.
    ///
    /// # Errors
    /// [`io::Error`] where the system does not say.
    pub fn identity(&self) -> io::Result<Identity> {
        Identity::of(&self.0)
    }

    /// Returns which file or folder a name leads to, a link itself; `None` where there is nothing of that name.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn named(&self, name: &str) -> io::Result<Option<Identity>> {
        match statat(&self.0, entry(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(Identity::from(&found))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns which file a name leads to, where it is the only name of that file.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn only_name(&self, name: &str) -> io::Result<Option<Identity>> {
        match statat(&self.0, entry(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok((found.st_nlink == 1).then(|| Identity::from(&found))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether a name is that of an open file or folder, and not of another that has come in its place.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn holds(&self, name: &str, open: impl AsFd) -> io::Result<bool> {
        Ok(self.named(name)? == Some(Identity::of(open)?))
    }

    /// Lists the names of the files and folders in this folder, those that are text.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Tells whether [`Folder::names`] lists everything.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn names_are_text(&self) -> io::Result<bool> {
        for entry in Dir::read_from(&self.0)? {
            if entry?.file_name().to_str().is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes sure that renames in this folder survive a loss of power.
    ///
    /// # Errors
    /// [`io::Error`] where the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Says what stands in the way; the system's words for a link are misleading.
    fn explain(&self, name: &str, error: rustix::io::Errno, otherwise: &str) -> io::Error {
        use rustix::io::Errno;
        if !matches!(error, Errno::LOOP | Errno::NOTDIR | Errno::MLINK | Errno::NXIO) {
            return error.into();
        }
        let kind = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::Symlink) => invalid(&format!("'{}' is a symbolic link", name.escape_debug())),
            _ => invalid(&format!("'{}' is {otherwise}", name.escape_debug())),
        }
    }
}

/// Tells whether another user than the owner may write to a file, or to a folder.
fn is_written_by_others(open: impl AsFd) -> io::Result<bool> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(open)?.st_mode);
    Ok(mode.intersects(Mode::WGRP | Mode::WOTH))
}

/// Accepts the name of one entry only.
fn entry(name: &str) -> io::Result<&str> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(invalid(&format!("'{}' is not the name of a file", name.escape_debug())));
    }
    Ok(name)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_name_leads_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        for name in ["", ".", "..", "a/b", "/etc", "a\0b"] {
            assert!(folder.file(name).is_err(), "{name}");
            assert!(folder.make_new_folder(name).is_err(), "{name}");
            assert!(folder.make_file(name).is_err(), "{name}");
        }
        assert_eq!(folder.names().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn links_are_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("file"), b"outside").unwrap();
        symlink(outside.path(), root.path().join("folder")).unwrap();
        symlink(outside.path().join("file"), root.path().join("file")).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let error = folder.folder("folder").err().unwrap();
        assert_eq!(error.to_string(), "'folder' is a symbolic link");
        assert!(folder.make_private_folder("folder").is_err());
        assert!(folder.lock_file("file").is_err());
        assert!(folder.file("file").is_err());
        assert!(folder.make_file("file").is_err());
        assert!(folder.own("file").is_err());
        assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"outside");
    }

    #[test]
    fn another_file_under_the_same_name_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let file = folder.make_file("file").unwrap();
        assert!(folder.holds("file", &file).unwrap());
        std::fs::write(root.path().join("other"), b"other").unwrap();
        std::fs::rename(root.path().join("other"), root.path().join("file")).unwrap();
        assert!(!folder.holds("file", &file).unwrap());
        assert!(!folder.holds("absent", &file).unwrap());
    }

    /// A pipe in the place of the lock once kept the client waiting for its other end.
    #[test]
    fn a_lock_is_a_regular_file_that_only_those_open_who_may_write_to_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let mode = || std::fs::metadata(root.path().join("lock")).unwrap().mode() & 0o777;
        folder.lock_file("lock").unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(
            root.path().join("lock"),
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )
        .unwrap();
        folder.lock_file("lock").unwrap();
        assert_eq!(mode(), 0o600);
        // whoever may write to the folder may lock it
        for (of_folder, of_lock) in [(0o2775, 0o660), (0o755, 0o600), (0o1777, 0o666), (0o700, 0o600)] {
            let mode_of = std::os::unix::fs::PermissionsExt::from_mode(of_folder);
            std::fs::set_permissions(root.path(), mode_of).unwrap();
            folder.lock_file("lock").unwrap();
            assert_eq!(mode(), of_lock, "{of_folder:o}");
        }
        // under another name the file is somebody's
        let other = root.path().join("other");
        std::fs::write(&other, b"mine").unwrap();
        std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::hard_link(&other, root.path().join("linked")).unwrap();
        folder.lock_file("linked").unwrap();
        assert_eq!(std::fs::metadata(&other).unwrap().mode() & 0o777, 0o644);
        std::fs::create_dir(root.path().join("folder")).unwrap();
        assert!(folder.lock_file("folder").is_err());
        rustix::fs::mknodat(&folder, "pipe", FileType::Fifo, PRIVATE_FILE, 0).unwrap();
        assert!(folder.lock_file("pipe").is_err());
    }

    #[test]
    fn a_file_that_has_another_name_too_is_nobodys_to_write_to() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        std::fs::write(root.path().join("letter"), b"mine").unwrap();
        std::fs::hard_link(root.path().join("letter"), root.path().join("kept")).unwrap();
        assert!(folder.own("kept").unwrap().is_none());
        assert!(folder.own("new").unwrap().is_some());
    }
}
