//! A folder that appears as a whole: filled aside, made durable, and renamed once. A [`super::Batch`] renames each of its
//! files, which for a great many takes as long as to write them; where nothing is yet, there is nothing to mix them with.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Folder;
use super::local::{FEW, STAGING, is_absent};

/// A folder that is being filled aside.
///
/// Dropped without [`NewFolder::commit`] it leaves nothing.
#[derive(Debug)]
pub struct NewFolder {
    /// Where it will be.
    place: PathBuf,
    /// Where it is filled.
    staging: PathBuf,
    files: AtomicUsize,
}

impl NewFolder {
    /// Starts to fill a folder, and sweeps what a killed process left behind; `None` where something is in its place.
    ///
    /// # Errors
    /// Where the hidden folder cannot be made.
    pub fn begin(folder: &Folder) -> io::Result<Option<Self>> {
        let place = folder.path().to_owned();
        match fs::symlink_metadata(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            there => return there.map(|_| None),
        }
        Self::sweep(folder)?;
        let staging = Self::aside(folder);
        fs::create_dir(&staging)?;
        Ok(Some(Self { place, staging, files: AtomicUsize::new(0) }))
    }

    /// Returns where a folder is filled: beside it, under a name that no batch in the folder above has.
    pub fn aside(folder: &Folder) -> PathBuf {
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
        folder.path().with_file_name(format!("{STAGING}-{name}"))
    }

    /// Removes what a killed process left behind.
    ///
    /// # Errors
    /// Where that cannot be removed.
    pub fn sweep(folder: &Folder) -> io::Result<()> {
        match fs::remove_dir_all(Self::aside(folder)) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates an empty file to be filled, `a/b` for one in a folder. May be called from many threads.
    ///
    /// # Errors
    /// Where the file cannot be made, or is there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.staging.join(name);
        let create = || OpenOptions::new().write(true).create_new(true).open(&path);
        match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                create()
            }
            created => created,
        }
    }

    /// Makes the folder durable with all that is in it, renames it into its place, and makes that durable.
    ///
    /// # Errors
    /// Where a step fails, or something has come into its place meanwhile.
    pub fn commit(self) -> io::Result<()> {
        self.barrier()?;
        fs::rename(&self.staging, &self.place)?;
        let above = self.place.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn barrier(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if self.files.load(Ordering::Relaxed) > FEW {
            return Ok(rustix::fs::syncfs(File::open(&self.staging)?)?);
        }
        sync_below(&self.staging)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // nothing to report to: what stays is hidden and swept by the next
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// Makes a folder durable with all that is in it.
fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_below(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::ReadFiles;
    use super::*;

    fn fill(new: &NewFolder, names: &[&str]) {
        for name in names {
            new.create(name).unwrap().write_all(name.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_new_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("new"));
        let new = NewFolder::begin(&folder).unwrap().unwrap();
        fill(&new, &["a", "sub/dir/b"]);
        assert!(!folder.exists());
        drop(new);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let new = NewFolder::begin(&folder).unwrap().unwrap();
        fill(&new, &["a", "sub/dir/b"]);
        let many: Vec<String> = (0..40).map(|number| format!("many/{number}")).collect();
        fill(&new, &many.iter().map(String::as_str).collect::<Vec<_>>());
        new.commit().unwrap();
        for name in ["a", "sub/dir/b", "many/39"] {
            assert_eq!(folder.read(name, 20).unwrap().unwrap(), name.as_bytes());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_in_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("new"));
        fs::create_dir(folder.path()).unwrap();
        assert!(NewFolder::begin(&folder).unwrap().is_none());
        fs::remove_dir(folder.path()).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path()).unwrap();
        assert!(NewFolder::begin(&folder).unwrap().is_none());
        fs::remove_file(folder.path()).unwrap();
        let new = NewFolder::begin(&folder).unwrap().unwrap();
        fill(&new, &["a"]);
        fs::create_dir(folder.path()).unwrap();
        fs::write(folder.file("theirs"), b"").unwrap();
        assert!(new.commit().is_err());
        assert_eq!(folder.names().unwrap(), ["theirs"]);
        assert!(!NewFolder::aside(&folder).exists());
    }

    #[test]
    fn sweeps_what_a_killed_process_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("new"));
        let killed = NewFolder::begin(&folder).unwrap().unwrap();
        fill(&killed, &["half"]);
        std::mem::forget(killed);
        let new = NewFolder::begin(&folder).unwrap().unwrap();
        fill(&new, &["a"]);
        new.commit().unwrap();
        assert_eq!(folder.names().unwrap(), ["a"]);
    }
}
