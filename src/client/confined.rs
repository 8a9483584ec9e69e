//! Files below one folder, whatever stands there: no name leads out of it, and no symbolic link is followed.
//!
//! Each step goes from an open folder to an entry of it, so that nobody can put a link in between.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, mkdirat, openat, renameat, statat, unlinkat,
};

/// What the names of unfinished files and of folders of such files start and end with.
const UNFINISHED: (&str, &str) = (".tuf-fetch.", ".part");

/// An open folder.
pub struct Folder(OwnedFd);

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

    /// Opens a folder in this one, made where there is nothing of that name.
    ///
    /// # Errors
    /// As [`Folder::folder`].
    pub fn make_folder(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, entry(name)?, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.folder(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
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

    /// Tells whether there is anything of that name, a link included.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        match statat(&self.0, entry(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

    /// Puts bytes under a name in one step: whoever reads it sees the old bytes or the new ones.
    ///
    /// # Errors
    /// [`io::Error`] where that fails; the old bytes are still there then.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut staged = self.stage()?;
        io::Write::write_all(staged.file(), bytes)?;
        staged.put(self, name)
    }

    /// Starts an unfinished file under a name that begins with a dot; it is gone unless [`Staged::put`] is called.
    ///
    /// # Errors
    /// [`io::Error`] where the folder takes no file.
    pub fn stage(&self) -> io::Result<Staged<'_>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut number: u32 = 0;
        loop {
            let name = format!("{}{}.{number}{}", UNFINISHED.0, std::process::id(), UNFINISHED.1);
            number = number.checked_add(1).ok_or(io::ErrorKind::AlreadyExists)?;
            let file = match openat(&self.0, name.as_str(), flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => File::from(file),
                Err(rustix::io::Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // the lock tells others that this file has an owner; file systems without locks go without
            let _ = file.try_lock();
            if file.metadata()?.nlink() > 0 {
                return Ok(Staged { folder: self, file, name, state: State::Unfinished });
            }
            // somebody took it for a left-over before it was locked
        }
    }

    /// Makes an empty folder for unfinished files, under a name that begins with a dot, locked for as long as it is
    /// open. Returns it with its name.
    ///
    /// # Errors
    /// [`io::Error`] where this folder takes no other.
    pub fn stage_folder(&self) -> io::Result<(Self, String)> {
        let mut number: u32 = 0;
        loop {
            let name = format!("{}{}.{number}{}", UNFINISHED.0, std::process::id(), UNFINISHED.1);
            number = number.checked_add(1).ok_or(io::ErrorKind::AlreadyExists)?;
            match mkdirat(&self.0, name.as_str(), Mode::from_raw_mode(0o700)) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            }
            // somebody may take it for a left-over before it is locked
            let Some(folder) = self.folder(&name)? else { continue };
            match folder.try_lock() {
                // somebody does, and is about to remove it
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // a file system without locks sweeps nothing
                Ok(()) | Err(_) => {}
            }
            if self.holds(&name, &folder.0)? {
                return Ok((folder, name));
            }
        }
    }

    /// Opens a file for reading and writing, made where there is none, that stays when its owner is killed and has one
    /// owner at a time; `None` where it has one, or where the file system cannot tell.
    ///
    /// # Errors
    /// [`io::Error`] for anything but a regular file, a link to one included.
    pub fn own(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, entry(name)?, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => File::from(file),
            Err(error) => return Err(self.explain(name, error, "not a file")),
        };
        if !file.metadata()?.is_file() {
            return Err(invalid("it is not a regular file"));
        }
        // whoever owned it before may have put it in its place meanwhile: it is no longer ours to write to then
        Ok((file.try_lock().is_ok() && self.holds(name, &file)?).then_some(file))
    }

    /// Removes unfinished files, and folders of them, whose owners are gone.
    ///
    /// # Errors
    /// [`io::Error`] where the folder cannot be read.
    pub fn sweep(&self) -> io::Result<()> {
        for name in self.names()? {
            if !(name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1)) {
                continue;
            }
            // what cannot be opened or is locked is not ours to remove; nor what has come to the name since
            if let Ok(Some(file)) = self.file(&name) {
                if file.try_lock().is_ok() && self.holds(&name, &file)? {
                    self.remove(&name)?;
                }
            } else if let Ok(Some(folder)) = self.folder(&name)
                && folder.try_lock().is_ok()
                && self.holds(&name, &folder.0)?
            {
                folder.remove_files()?;
                self.remove_folder(&name)?;
            }
        }
        Ok(())
    }

    /// Removes the files in this folder.
    ///
    /// # Errors
    /// [`io::Error`] where one stays.
    pub fn remove_files(&self) -> io::Result<()> {
        self.names()?.iter().try_for_each(|name| self.remove(name))
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

    /// Makes sure that whatever has been written to this folder's file system survives a loss of power, where the
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

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    fn try_lock(&self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::NonBlockingLockExclusive)?)
    }

    /// Tells whether a name is still that of an open file or folder.
    fn holds(&self, name: &str, open: impl std::os::fd::AsFd) -> io::Result<bool> {
        let open = rustix::fs::fstat(open)?;
        match statat(&self.0, entry(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

/// An unfinished file.
pub struct Staged<'a> {
    folder: &'a Folder,
    file: File,
    name: String,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Unfinished,
    Put,
}

impl Staged<'_> {
    /// Returns the file to write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts the file under a name of a folder, in one step and for good. What was there under that name is gone; a link
    /// is replaced, not followed.
    ///
    /// # Errors
    /// [`io::Error`] where that fails; nothing has changed then.
    pub fn put(mut self, folder: &Folder, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        renameat(&self.folder.0, self.name.as_str(), &folder.0, entry(name)?)?;
        self.state = State::Put;
        folder.sync()
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.state == State::Unfinished {
            // where this fails the next sweep removes it
            let _ = unlinkat(&self.folder.0, self.name.as_str(), AtFlags::empty());
        }
    }
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
            assert!(folder.make_folder(name).is_err(), "{name}");
            assert!(folder.replace(name, b"").is_err(), "{name}");
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
        assert!(folder.make_folder("folder").is_err());
        assert!(folder.file("file").is_err());
        folder.replace("file", b"inside").unwrap();
        assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"outside");
        assert_eq!(std::fs::read(root.path().join("file")).unwrap(), b"inside");
    }

    /// A sweep that came between the making of a folder and its lock once emptied it, and then found it full again.
    #[test]
    fn folders_that_are_made_while_others_sweep_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let work = || {
            for _ in 0..200 {
                folder.sweep().unwrap();
                let (staged, name) = folder.stage_folder().unwrap();
                std::fs::write(root.path().join(&name).join("file"), b"").unwrap();
                std::thread::yield_now();
                assert_eq!(staged.names().unwrap(), ["file"]);
                staged.remove_files().unwrap();
                folder.remove_folder(&name).unwrap();
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    }

    #[test]
    fn an_unfinished_file_is_gone_and_a_killed_one_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let alive = folder.stage().unwrap();
        drop(folder.stage().unwrap());
        std::fs::write(root.path().join(".tuf-fetch.1.0.part"), b"left over").unwrap();
        Folder::open(root.path()).unwrap().sweep().unwrap();
        assert_eq!(folder.names().unwrap(), [alive.name.as_str()]);
    }
}
