//! The folder of verified targets: nothing else is ever visible in it, and nothing outside it is ever touched.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::ClientError;
use super::arrivals::Arrivals;
use super::confined::{Folder, Identity};
use super::record::{Files, Home};
use super::unfinished::{Removal, forget, sweep};
use crate::metadata::TargetPath;

/// A folder for verified targets. Links on the way to it are followed, links in it are not.
pub struct TargetDir {
    path: PathBuf,
    pub(super) folder: Folder,
    /// What the record knows the folder by.
    home: Home,
}

/// What new targets leave free on a disk that had no room for all of them, in bytes and in files, at most: newer metadata, and
/// newer versions of what is there, need it for a moment. Else whoever lists as much as the disk holds would stop those for good.
const RESERVE: (u64, u64) = (128 << 10, 16);
/// On a small disk the reserve is this part of it.
const RESERVED_PART: u64 = 16;

/// What there is at the place of a file that was put.
pub(super) enum Recorded {
    /// That file, as it was put.
    Ours(File),
    /// Something else, or that file with other bytes.
    Other,
    /// Nothing.
    Gone,
}

/// What there is at the place of a target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing that keeps a target from being put.
    Free,
    /// A folder.
    Folder,
    /// A file at the place of a folder above: its path.
    File(String),
}

impl TargetDir {
    /// Opens the folder, made where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn create(path: &Path) -> Result<Self, ClientError> {
        let opened = Folder::create(path).and_then(|folder| Self::of(path, folder));
        opened.map_err(|error| ClientError::local(path, error))
    }

    /// Opens the folder; `None` where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, ClientError> {
        match Folder::open(path).and_then(|folder| Self::of(path, folder)) {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ClientError::local(path, error)),
        }
    }

    /// Finds the real path of a folder that is open. From then on nothing asks where the path leads: it may be switched.
    fn of(path: &Path, folder: Folder) -> io::Result<Self> {
        let identity = folder.identity()?;
        let real = path.canonicalize()?;
        if Identity::at(&real)? != identity {
            return Err(io::Error::other("another folder has come in its place"));
        }
        let real = real.as_os_str().as_encoded_bytes().escape_ascii().to_string();
        let home = Home { device: identity.device, inode: identity.inode, path: real };
        Ok(Self { path: path.to_owned(), folder, home })
    }

    /// Returns where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether the disk has a reserve left once a file of this length is there. Where that cannot be found out it has.
    pub(super) fn keeps_reserve(&self, length: u64) -> bool {
        let Ok(found) = rustix::fs::fstatvfs(&self.folder) else { return true };
        let bytes = found.f_bavail.saturating_mul(found.f_frsize);
        let whole = found.f_blocks.saturating_mul(found.f_frsize);
        let reserve = RESERVE.0.min(whole / RESERVED_PART);
        // what does not fit at all says so itself
        let has_bytes = bytes < length || bytes - length >= reserve;
        // some file systems do not count files
        has_bytes && found.f_favail >= RESERVE.1.min(found.f_files / RESERVED_PART)
    }

    /// Returns where a target is, or would be.
    pub fn file(&self, target: &TargetPath) -> PathBuf {
        self.path.join(target.as_str())
    }

    /// Returns what the record knows the folder by.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Starts to take targets. Nothing is made before the first one comes, and nothing is put in the `forbidden` folder,
    /// wherever it is mounted.
    ///
    /// # Errors
    /// [`ClientError::Local`] where this is that folder, or another client's.
    pub(super) fn arrivals(&self, forbidden: Identity) -> Result<Arrivals<'_>, ClientError> {
        Arrivals::new(self, forbidden)
    }

    /// Finds out whether anything keeps a target from its place.
    pub(super) fn standing(&self, target: &TargetPath) -> io::Result<Standing> {
        let (folders, name) = parts(target)?;
        let mut above: Option<Folder> = None;
        let mut length = 0;
        for folder in folders {
            length += folder.len();
            let opened = match above.as_ref().unwrap_or(&self.folder).folder(folder) {
                Ok(opened) => opened,
                Err(error) => {
                    let is_file =
                        above.as_ref().unwrap_or(&self.folder).file(folder).is_ok_and(|file| file.is_some());
                    let file = || target.as_str()[..length].to_owned();
                    return if is_file { Ok(Standing::File(file())) } else { Err(error) };
                }
            };
            let Some(opened) = opened else { return Ok(Standing::Free) };
            above = Some(opened);
            // the slash
            length += 1;
        }
        let there = above.as_ref().unwrap_or(&self.folder).folder(name);
        Ok(if matches!(there, Ok(Some(_))) { Standing::Folder } else { Standing::Free })
    }

    /// Opens the folder above a path that is there, with the last name of the path.
    pub(super) fn above<'p>(&self, path: &'p str) -> io::Result<Option<(Option<Folder>, &'p str)>> {
        let (folders, name) = match path.rsplit_once('/') {
            Some((folders, name)) => (folders.split('/').collect(), name),
            None => (Vec::new(), path),
        };
        let mut above: Option<Folder> = None;
        for folder in folders {
            match above.as_ref().unwrap_or(&self.folder).folder(folder)? {
                Some(folder) => above = Some(folder),
                None => return Ok(None),
            }
        }
        Ok(Some((above, name)))
    }

    /// Opens a folder below this one; `None` where there is none.
    pub(super) fn folder_at(&self, path: &str) -> io::Result<Option<Folder>> {
        match self.above(path)? {
            Some((above, name)) => above.as_ref().unwrap_or(&self.folder).folder(name),
            None => Ok(None),
        }
    }

    /// Opens a file below this folder if it is one that was put there, as it was put.
    pub(super) fn recorded(&self, path: &str, files: &Files) -> io::Result<Recorded> {
        let Some((above, name)) = self.above(path)? else { return Ok(Recorded::Gone) };
        match above.as_ref().unwrap_or(&self.folder).file(name) {
            Ok(Some(file)) if files.hold(&file)? => Ok(Recorded::Ours(file)),
            Ok(Some(_)) => Ok(Recorded::Other),
            Ok(None) => Ok(Recorded::Gone),
            // a link, a pipe and the like were not put
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Recorded::Other),
            Err(error) => Err(error),
        }
    }

    /// Removes a file if it is still one that was put there; tells whether it is gone.
    pub(super) fn remove_recorded(&self, path: &str, files: &Files) -> io::Result<bool> {
        let file = match self.recorded(path, files)? {
            Recorded::Ours(file) => file,
            Recorded::Gone => return Ok(true),
            Recorded::Other => return Ok(false),
        };
        let Some((above, name)) = self.above(path)? else { return Ok(true) };
        let above = above.as_ref().unwrap_or(&self.folder);
        if !above.holds(name, &file)? {
            return Ok(false);
        }
        above.remove(name).map(|()| true)
    }

    /// Opens a folder below this one if it is the one that was made there.
    pub(super) fn made(&self, path: &str, inode: u64) -> io::Result<Option<Folder>> {
        let Some(folder) = self.folder_at(path)? else { return Ok(None) };
        Ok((folder.identity()?.inode == inode).then_some(folder))
    }

    /// Removes an empty folder if it is the one that was made there; tells whether it is gone.
    pub(super) fn remove_made(&self, path: &str, inode: u64) -> io::Result<bool> {
        let Some((above, name)) = self.above(path)? else { return Ok(true) };
        let above = above.as_ref().unwrap_or(&self.folder);
        let Some(folder) = above.folder(name)? else { return Ok(true) };
        if folder.identity()?.inode != inode || !above.holds(name, &folder)? {
            return Ok(false);
        }
        match above.remove_folder(name) {
            Ok(()) => Ok(true),
            // somebody has put something there
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what killed processes left unfinished.
    pub(super) fn sweep(&self) -> Result<(), ClientError> {
        sweep(&self.folder).map_err(|error| ClientError::local(&self.path, error))
    }

    /// Finds the unfinished large targets that nobody wants, as [`forget`] does.
    pub(super) fn forget(
        &self,
        is_wanted: &dyn Fn(&str) -> bool,
        removal: Removal,
    ) -> Result<usize, ClientError> {
        forget(&self.folder, is_wanted, removal).map_err(|error| ClientError::local(&self.path, error))
    }
}

/// Splits a target path into the folders above the file and the file's name. A name that is kept for our own files is
/// none for a target.
pub(super) fn parts(target: &TargetPath) -> io::Result<(impl Iterator<Item = &str>, &str)> {
    if target.is_reserved() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is kept for unfinished files"));
    }
    let (folders, name) = target.split();
    Ok((folders.split_terminator('/'), name))
}
