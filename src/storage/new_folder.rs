//! A folder that appears as a whole: filled aside, made durable, and renamed once. A [`super::Batch`] renames each of its
//! files, which for a great many takes as long as to write them; where nothing is yet, there is nothing to mix them with.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Folder;
use super::local::FEW;
use super::staging::Staging;

/// A folder that is being filled aside.
///
/// Dropped without [`NewFolder::commit`] it leaves nothing.
#[derive(Debug)]
pub struct NewFolder {
    /// Where it will be.
    place: PathBuf,
    /// Beside it.
    staging: Staging,
    /// Where it is filled.
    tree: PathBuf,
    files: AtomicUsize,
}

impl NewFolder {
    /// Starts to fill a folder, and sweeps what killed processes left behind beside its place; `None` where something is in
    /// its place.
    ///
    /// # Errors
    /// Where the hidden folder cannot be made.
    pub fn begin(folder: &Folder) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(folder.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::begin_over_empty(folder).map(Some),
            there => there.map(|_| None),
        }
    }

    /// Starts to fill a folder whose place may be taken by an empty one, which gives way.
    ///
    /// # Errors
    /// As [`NewFolder::begin`].
    pub fn begin_over_empty(folder: &Folder) -> io::Result<Self> {
        let place = folder.path().to_owned();
        let staging = Staging::begin(above(&place))?;
        let tree = staging.tree();
        fs::create_dir(&tree)?;
        Ok(Self { place, staging, tree, files: AtomicUsize::new(0) })
    }

    /// Creates an empty file to be filled, `a/b` for one in a folder. May be called from many threads.
    ///
    /// # Errors
    /// Where the file cannot be made, or is there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.tree.join(name);
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
        self.staging.put(&self.tree, &self.place)?;
        File::open(above(&self.place))?.sync_all()
    }

    fn barrier(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if self.files.load(Ordering::Relaxed) > FEW {
            return self.staging.sync_file_system();
        }
        sync_below(&self.tree)
    }
}

/// Returns the folder that a place is in.
fn above(place: &Path) -> &Path {
    place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
