//! Many new files at once: they wait in a hidden folder, become durable together, then each is put in its place.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, openat};

use super::confined::Folder;

/// Up to this many files are made durable one by one; above it the whole file system is, at once.
const FEW: usize = 4;

/// A hidden folder of new files. What is still there when it is dropped goes with it; what a killed process left is
/// swept by the next.
pub struct Staging<'a> {
    parent: &'a Folder,
    folder: Folder,
    name: String,
    next: AtomicU64,
}

impl<'a> Staging<'a> {
    /// Makes the folder in another one, after sweeping what killed processes left there.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn new(parent: &'a Folder) -> io::Result<Self> {
        parent.sweep()?;
        let (folder, name) = parent.stage_folder()?;
        Ok(Self { parent, folder, name, next: AtomicU64::new(0) })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Makes an empty file, and returns it with its name in the folder.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn file(&self) -> io::Result<(File, String)> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.folder.descriptor(), name.as_str(), flags, Mode::from_raw_mode(0o666))?;
        Ok((File::from(file), name))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // where this fails the next sweep removes it
        let _ = self.folder.remove_files().and_then(|()| self.parent.remove_folder(&self.name));
    }
}

/// Makes files durable, given as the folder and the name of each.
///
/// # Errors
/// [`io::Error`] where the disk fails.
pub fn make_durable(files: &[(&Folder, &str)]) -> io::Result<()> {
    if files.len() > FEW
        && let Some((folder, _)) = files.first()
        && folder.sync_file_system()?
    {
        return Ok(());
    }
    for (folder, name) in files {
        if let Some(file) = folder.file(name)? {
            file.sync_all()?;
        }
    }
    Ok(())
}

/// Makes renames durable, given the folders that files were renamed to.
///
/// # Errors
/// [`io::Error`] where the disk fails.
pub fn make_renames_durable(folders: &[&Folder]) -> io::Result<()> {
    if folders.len() > FEW
        && let Some(folder) = folders.first()
        && folder.sync_file_system()?
    {
        return Ok(());
    }
    folders.iter().try_for_each(|folder| folder.sync())
}
