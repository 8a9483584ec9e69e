//! A folder on a local disk.
//!
//! A [`Batch`] collects new files in a hidden folder of its own, makes them durable together, and renames each into its
//! place; nobody ever sees half a file. What a killed process left behind is such a hidden folder, swept by the next
//! batch.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::ReadFiles;
use super::staging::{self, Staging};

/// Up to this many files are synchronised one by one; above it the whole file system is, once.
pub(super) const FEW: usize = 16;
/// How many bytes of a listing are read at once.
#[cfg(target_os = "linux")]
const LISTED: usize = 128 << 10;
/// How often a lock that another process holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A folder whose files are read and replaced by name.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// The folder itself, where it is held open.
    handle: Option<Arc<OwnedFd>>,
    /// Files that are going to be put here, and are read as if they had been.
    planned: Option<Arc<BTreeMap<String, Vec<u8>>>>,
}

impl Folder {
    /// Names a folder; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), handle: None, planned: None }
    }

    /// Holds the folder open, so that its files are found without the way to it: where many are looked for. What is put in
    /// its place later is not seen.
    pub fn held(&self) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // a folder that cannot be opened may still be walked through
        let handle = rustix::fs::open(&self.path, flags, Mode::empty()).ok().map(Arc::new);
        Self { path: self.path.clone(), handle, planned: self.planned.clone() }
    }

    /// Looks at the folder as it will be once some files have been put there: those are read and listed in the place of what
    /// has their names now.
    pub fn with_planned(self, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { planned: Some(Arc::new(files)), ..self }
    }

    fn planned(&self, name: &str) -> Option<&Vec<u8>> {
        self.planned.as_ref()?.get(name)
    }

    /// Returns where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file by its name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Tells whether the folder is there.
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Lists the names of the plain files directly in the folder, sorted; nothing where there is no folder.
    /// Hidden names are left out.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        self.each_name(|name| names.push(name.to_owned()))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Hands out the names that [`Folder::names`] lists, in no order.
    ///
    /// # Errors
    /// As [`Folder::names`].
    pub fn each_name(&self, mut take: impl FnMut(&str)) -> io::Result<()> {
        for name in self.planned.iter().flat_map(|files| files.keys()).filter(|name| !name.contains('/')) {
            take(name);
        }
        let shown = |name: &str, is_folder: bool| {
            if !is_folder && !name.starts_with('.') && self.planned(name).is_none() {
                take(name);
            }
        };
        match each_entry(&self.path, shown) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            listed => listed,
        }
    }

    /// Returns the length of a file in bytes; `None` where there is no such plain file.
    ///
    /// # Errors
    /// Where the file cannot be looked at.
    pub fn length(&self, name: &str) -> io::Result<Option<u64>> {
        if let Some(bytes) = self.planned(name) {
            return Ok(Some(bytes.len() as u64));
        }
        let found = match &self.handle {
            Some(folder) => {
                rustix::fs::statat(folder, name, AtFlags::empty()).map_err(io::Error::from).map(|found| {
                    (
                        FileType::from_raw_mode(found.st_mode).is_file(),
                        u64::try_from(found.st_size).unwrap_or(0),
                    )
                })
            }
            None => fs::metadata(self.file(name)).map(|found| (found.is_file(), found.len())),
        };
        match found {
            Ok((is_file, length)) => Ok(is_file.then_some(length)),
            Err(error) if is_absent(&error) || is_no_file(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a file that the repository needs: anything else in its place is a failure.
    ///
    /// # Errors
    /// As [`ReadFiles::read`]; [`io::ErrorKind::InvalidInput`] for what is no regular file.
    pub fn read_own(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.read(name, limit)? {
            None if self.file(name).symlink_metadata().is_ok() => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"))
            }
            read => Ok(read),
        }
    }

    /// Opens a file to be read.
    ///
    /// # Errors
    /// Where there is none, or it cannot be opened.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let Some(folder) = &self.handle else { return open_regular(&self.file(name)) };
        let open = || rustix::fs::openat(folder, name, TO_READ, Mode::empty());
        refuse_special(rustix::io::retry_on_intr(open)?.into())
    }

    /// Removes files, then makes that durable. A file that is gone already is no failure.
    ///
    /// # Errors
    /// At the first file that cannot be removed; those before it are gone.
    pub fn remove<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for name in names {
            let path = self.file(name);
            match fs::remove_file(&path) {
                Err(error) if is_absent(&error) => {}
                removed => removed?,
            }
            let parent = path.parent().filter(|parent| folders.last().is_none_or(|last| last != parent));
            folders.extend(parent.map(Path::to_owned));
        }
        sync_folders(folders)
    }

    /// Removes files of the folder itself in any order, then makes that durable. A file that is gone already is no failure.
    ///
    /// # Errors
    /// Where a file cannot be removed; others are gone then.
    pub fn remove_any(&self, names: &[String]) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        names.par_iter().with_min_len(64).try_for_each(|name| match fs::remove_file(self.file(name)) {
            Err(error) if is_absent(&error) => Ok(()),
            removed => removed,
        })?;
        sync_folders(vec![self.path.clone()])
    }

    /// Starts a batch of new files, and sweeps what killed ones left behind.
    ///
    /// # Errors
    /// Where the hidden folder cannot be made.
    pub fn batch(&self) -> io::Result<Batch<'_>> {
        Ok(Batch { folder: self, staging: Staging::begin(&self.path)?, files: Vec::new() })
    }

    /// Puts a file with the given bytes unless something has its name.
    ///
    /// # Errors
    /// Of kind [`io::ErrorKind::AlreadyExists`] where something has; where it cannot be written.
    pub fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let staging = Staging::begin(&self.path)?;
        let (path, mut file) = staging.create()?;
        file.write_all(bytes)?;
        file.sync_all()?;
        staging.put_new(&path, &self.file(name))?;
        sync_folders(vec![self.path.clone()])
    }

    /// Removes what killed processes left behind in their hidden folders; those of living ones stay.
    ///
    /// # Errors
    /// Where the folder cannot be opened.
    pub fn sweep(&self) -> io::Result<()> {
        staging::sweep(&self.path)
    }

    /// Takes the lock of the folder: an advisory lock on the folder itself, so that no file is left and a process that
    /// dies gives it back. Waits up to `wait` for another process.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self, wait: Duration) -> Result<Lock, LockError> {
        lock_open(File::open(&self.path)?, wait)
    }

    /// Returns which folder it is, by the numbers of its device and of itself there; `None` where there is none.
    pub fn identity(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&self.path).ok().filter(fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()))
    }

    /// Tells whether two folders are one, however they are named.
    pub fn is_same(&self, other: &Self) -> bool {
        let found = fs::metadata(&self.path).ok().zip(fs::metadata(&other.path).ok());
        found.is_some_and(|(one, other)| is_same(&one, &other))
    }
}

/// How a file is opened to be read: a pipe that nobody writes to is opened at once, and refused then.
const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Opens a file to be read. Never waits: a pipe or a device in the place of a file is refused.
///
/// # Errors
/// Of kind [`io::ErrorKind::InvalidInput`] for what is neither a file nor a folder; where it cannot be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let open = || rustix::fs::open(path, TO_READ, Mode::empty());
    refuse_special(rustix::io::retry_on_intr(open)?.into())
}

/// Takes a file that is longer than it may be for none, where whoever has put it there must not stop others.
///
/// # Errors
/// Any other failure.
pub fn regular_or_none<T>(read: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
        read => read,
    }
}

/// Tells whether something else than a file lies there: a pipe, a device, a folder, or a link that leads to itself.
fn is_no_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Refuses a pipe, a socket or a device. To read a folder fails by itself.
fn refuse_special(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"))
}

/// Takes the lock of a file that may be replaced: of the one that has the name once the lock is taken. Links are followed.
/// Waits up to `wait` for another process.
///
/// # Errors
/// [`LockError`].
pub fn lock_file(path: &Path, wait: Duration) -> Result<Lock, LockError> {
    let deadline = Instant::now() + wait;
    loop {
        let lock = lock_open(open_to_lock(path)?, deadline.saturating_duration_since(Instant::now()))?;
        // whoever had the lock may have put another file in the place of the one that we waited for
        if is_same(&fs::metadata(path)?, &lock.file.metadata()?) {
            return Ok(lock);
        }
    }
}

/// Opens a file to be locked. Over a network a file must be open for writing for that.
fn open_to_lock(path: &Path) -> io::Result<File> {
    let refused = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
    match File::options().read(true).write(true).open(path) {
        Err(error) if refused.contains(&error.kind()) => File::open(path),
        file => file,
    }
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn lock_open(file: File, wait: Duration) -> Result<Lock, LockError> {
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { file }),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { holder: holder(&file) }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

impl ReadFiles for Folder {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.planned(name) {
            return Ok(Some(bytes.clone()));
        }
        let file = match self.open_file(name) {
            Err(error) if is_absent(&error) || is_no_file(&error) => return Ok(None),
            file => file?,
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(None);
        }
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes"));
        if found.len() > limit {
            return Err(too_long());
        }
        // as long as it is, and one byte more to see that it ends there
        let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0).saturating_add(1));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(too_long());
        }
        Ok(Some(bytes))
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The lock of a folder or a file; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("another process holds the lock")]
    Held {
        /// Who that is, where the system tells.
        holder: Option<Holder>,
    },
    /// The folder cannot be locked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub process: u32,
    /// The program and its command, such as `tuf-repo write`, without any other argument.
    pub command: Option<String>,
}

/// Finds who holds the lock on an open folder or file, from the kernel's list of locks.
fn holder(folder: &File) -> Option<Holder> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = folder.metadata().ok()?.ino().to_string();
        let locks = fs::read_to_string("/proc/locks").ok()?;
        // a line is "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF"
        let process = locks.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (kind, pid, place) = (fields.next()?, fields.nth(2)?, fields.next()?);
            (kind == "FLOCK" && place.rsplit(':').next()? == inode).then(|| pid.parse().ok())?
        })?;
        let arguments = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        Some(Holder { process, command: command(&arguments) })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        None
    }
}

/// Names the program of an argument list and the word that follows it: nothing that somebody typed as a value.
#[cfg(target_os = "linux")]
fn command(arguments: &[u8]) -> Option<String> {
    let mut arguments = arguments.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).ok());
    let program = arguments.next()??.rsplit('/').next().filter(|name| !name.is_empty())?;
    let is_word = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let word = arguments.next().flatten().filter(is_word);
    let all = program.to_owned() + &word.map(|word| format!(" {word}")).unwrap_or_default();
    Some(all.chars().filter(|letter| !letter.is_control()).take(64).collect())
}

/// New files that appear together: written aside, made durable, then renamed into their places in order.
///
/// Dropped without [`Batch::commit`] it leaves nothing.
pub struct Batch<'a> {
    folder: &'a Folder,
    staging: Staging,
    files: Vec<(PathBuf, String)>,
}

impl Batch<'_> {
    /// Creates an empty file to be filled; hand it to [`Batch::place`] when it is. May be called from many threads.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn create(&self) -> io::Result<(PathBuf, File)> {
        self.staging.create()
    }

    /// Makes a file with the given bytes; hand it to [`Batch::place`]. May be called from many threads.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn fill(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        self.fill_with(|file| file.write_all(bytes))
    }

    /// Makes a file that somebody writes; hand it to [`Batch::place`]. May be called from many threads.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn fill_with(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<PathBuf> {
        let (path, mut file) = self.create()?;
        write(&mut file)?;
        Ok(path)
    }

    /// Lines up a filled file for its place.
    pub fn place(&mut self, filled: PathBuf, name: impl Into<String>) {
        self.files.push((filled, name.into()));
    }

    /// Adds a file with the given bytes.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn put(&mut self, name: impl Into<String>, bytes: &[u8]) -> io::Result<()> {
        let path = self.fill(bytes)?;
        self.place(path, name);
        Ok(())
    }

    /// Tells whether no file has been added.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Makes all files durable, renames them into place in the order they were added, and makes that durable.
    ///
    /// # Errors
    /// Where a step fails; some files may be in place then, each of them whole.
    pub fn commit(self) -> io::Result<()> {
        self.commit_by(|staging, path, place| staging.put(path, place))
    }

    /// Does what [`Batch::commit`] does, but replaces nothing. Returns the names of the files that were there already.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub fn commit_new(self) -> io::Result<Vec<String>> {
        let mut there = Vec::new();
        let folder = self.folder;
        self.commit_by(|staging, path, place| match staging.put_new(path, place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                there.push(place.strip_prefix(folder.path()).unwrap_or(place).to_string_lossy().into_owned());
                Ok(())
            }
            put => put,
        })?;
        Ok(there)
    }

    fn commit_by(mut self, mut put: impl FnMut(&Staging, &Path, &Path) -> io::Result<()>) -> io::Result<()> {
        let files = std::mem::take(&mut self.files);
        self.barrier(&files)?;
        let mut folders = Vec::new();
        for (path, name) in &files {
            let place = self.folder.file(name);
            if let Err(error) = put(&self.staging, path, &place) {
                let parent =
                    place.parent().filter(|_| error.kind() == io::ErrorKind::NotFound).ok_or(error)?;
                // each new folder is an entry in the one above it, which has to be durable too
                let made = parent.ancestors().take_while(|folder| !folder.exists());
                folders.extend(made.filter_map(Path::parent).map(Path::to_owned));
                fs::create_dir_all(parent)?;
                put(&self.staging, path, &place)?;
            }
            // nearly all are in one folder
            let parent = place.parent().filter(|parent| folders.last().map(PathBuf::as_path) != Some(parent));
            folders.extend(parent.map(Path::to_owned));
        }
        sync_folders(folders)
    }

    fn barrier(&self, files: &[(PathBuf, String)]) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if files.len() > FEW {
            return self.staging.sync_file_system();
        }
        files.iter().try_for_each(|(path, _)| File::open(path)?.sync_all())
    }
}

/// Makes renames and removals durable.
fn sync_folders(mut folders: Vec<PathBuf>) -> io::Result<()> {
    folders.sort_unstable();
    folders.dedup();
    #[cfg(target_os = "linux")]
    if let Some(first) = folders.first().filter(|_| folders.len() > FEW) {
        return Ok(rustix::fs::syncfs(File::open(first)?)?);
    }
    folders.iter().try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Hands out what is in a folder by name, without a copy of each name, and whether it is a folder. What is not named in
/// UTF-8 is left out.
#[cfg(target_os = "linux")]
fn each_entry(path: &Path, mut take: impl FnMut(&str, bool)) -> io::Result<()> {
    use rustix::fs::{RawDir, open, statat};
    let folder = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut listed: Vec<u8> = Vec::with_capacity(LISTED);
    let mut entries = RawDir::new(&folder, listed.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        take(name, kind == FileType::Directory);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn each_entry(path: &Path, mut take: impl FnMut(&str, bool)) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str() {
            take(name, entry.file_type()?.is_dir());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_files_are_read_and_listed_in_the_place_of_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b"), "there").unwrap();
        std::fs::write(dir.path().join("c"), "stays").unwrap();
        let planned = [("a", "new"), ("b", "planned")];
        let planned = planned.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let folder = Folder::new(dir.path()).with_planned(BTreeMap::from(planned));
        assert_eq!(folder.names().unwrap(), ["a", "b", "c"]);
        for (name, text) in [("a", "new"), ("b", "planned"), ("c", "stays")] {
            assert_eq!(folder.read(name, 100).unwrap().unwrap(), text.as_bytes());
            assert_eq!(folder.length(name).unwrap(), Some(text.len() as u64));
        }
        assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"there");
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        (dir, folder)
    }

    #[test]
    fn a_batch_appears_whole_or_not_at_all() {
        let (_dir, folder) = folder();
        let mut batch = folder.batch().unwrap();
        batch.put("a", b"1").unwrap();
        batch.put("sub/dir/b", b"2").unwrap();
        assert!(folder.names().unwrap().is_empty());
        drop(batch);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut batch = folder.batch().unwrap();
        for index in 0..40 {
            batch.put(format!("many/{index}"), b"x").unwrap();
        }
        batch.put("a", b"1").unwrap();
        batch.commit().unwrap();
        assert_eq!(folder.read("many/39", 10).unwrap().unwrap(), b"x");
        assert_eq!(folder.names().unwrap(), ["a"]);
        assert!(!folder.file(".tuf-tmp-0").exists());
    }

    #[test]
    fn a_folder_that_is_held_open_is_looked_into_as_any_other() {
        let (dir, folder) = folder();
        let folder = Folder::new(folder.file("held"));
        let absent = folder.held();
        assert_eq!(absent.length("a").unwrap(), None);
        fs::create_dir_all(folder.file("sub")).unwrap();
        fs::write(folder.file("sub/a"), b"123").unwrap();
        std::os::unix::fs::symlink("sub/a", folder.file("link")).unwrap();
        for folder in [absent, folder.clone(), folder.held()] {
            for (name, length) in
                [("sub/a", Some(3)), ("link", Some(3)), ("sub", None), ("b", None), ("sub/a/b", None)]
            {
                assert_eq!(folder.length(name).unwrap(), length, "{name}");
                assert_eq!(
                    folder.read(name, 9).ok().flatten().map(|bytes| bytes.len() as u64),
                    length,
                    "{name}"
                );
            }
        }
        let held = folder.held();
        fs::rename(folder.path(), dir.path().join("elsewhere")).unwrap();
        assert_eq!(held.length("sub/a").unwrap(), Some(3));
        assert_eq!(folder.length("sub/a").unwrap(), None);
    }

    #[test]
    fn reads_no_more_than_the_limit() {
        let (_dir, folder) = folder();
        fs::write(folder.file("a"), b"12345").unwrap();
        assert_eq!(folder.read("a", 5).unwrap().unwrap(), b"12345");
        assert!(folder.read("a", 4).is_err());
        assert_eq!(folder.read("b", 4).unwrap(), None);
        assert_eq!(folder.read("a/b", 4).unwrap(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_holder_is_named_by_its_program_and_command_alone() {
        let named = |words: &str| command(words.replace(' ', "\0").as_bytes());
        assert_eq!(named("/usr/bin/tuf-repo write --key ../key").as_deref(), Some("tuf-repo write"));
        assert_eq!(named("tuf-repo add-key root").as_deref(), Some("tuf-repo add-key"));
        assert_eq!(named("tuf-repo --repo secret write").as_deref(), Some("tuf-repo"));
        assert_eq!(named("program ../Some/Path").as_deref(), Some("program"));
        assert_eq!(named(""), None);
    }

    #[test]
    fn a_second_lock_is_refused_and_names_its_holder() {
        let (_dir, folder) = folder();
        let held = folder.lock(Duration::ZERO).unwrap();
        match folder.lock(Duration::ZERO) {
            Err(LockError::Held { holder }) => {
                if cfg!(target_os = "linux") {
                    assert_eq!(holder.unwrap().process, std::process::id());
                }
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        folder.lock(Duration::ZERO).unwrap();
    }
}
