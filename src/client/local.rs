//! The folder of trusted metadata: one file for a role, byte for byte as served.
//!
//! A file here has been verified once. It is verified again whenever it is read: what lies on a disk is only bytes.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ClientError;
use super::confined::{Folder, Identity};
use super::noted::{FileIdentity, NotedTargets};
use super::of_repository::Spot;
use super::record::{self, Content, Line, Record};
use super::rotation;
use super::unfinished::{replace, sweep};
use crate::metadata::{RoleName, TOP_LEVEL};

/// The largest local file that is read. It is no judgement on metadata: a client stores no more than it accepted.
const LARGEST: u64 = 1 << 30;
/// The name of the lock; not `.json`, so that nobody takes it for metadata.
const LOCK: &str = ".lock";
/// How long a client waits at most for another one that holds the lock.
pub const LOCK_WAIT: Duration = Duration::from_secs(300);
/// The pause between two attempts to get the lock.
const LOCK_STEP: Duration = Duration::from_millis(50);
/// The name of the note on the targets metadata that was verified last.
const NOTE: &str = ".verified";

/// A folder of trusted metadata.
pub struct LocalMetadata {
    path: PathBuf,
    folder: Folder,
}

/// Keeps other clients from changing the same folder while it lives.
pub struct LocalLock(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl LocalMetadata {
    /// Opens the folder.
    ///
    /// # Errors
    /// [`ClientError::NotInitialised`] where there is none, [`ClientError::Local`].
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        match Folder::open(path) {
            Ok(folder) => Self::of(path, folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ClientError::NotInitialised { path: path.to_owned() })
            }
            Err(error) => Err(ClientError::local(path, error)),
        }
    }

    /// Opens the folder, made where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn create(path: &Path) -> Result<Self, ClientError> {
        let folder = Folder::create(path).map_err(|error| ClientError::local(path, error))?;
        Self::of(path, folder)
    }

    /// Takes an open folder, unless it is a repository's. Its path was looked at before; it may lead elsewhere by now.
    fn of(path: &Path, folder: Folder) -> Result<Self, ClientError> {
        let is_a_repositorys = Spot::open(&folder).is_metadata();
        if is_a_repositorys.map_err(|error| ClientError::local(path, error))? {
            let error = io::Error::other("it is a repository's, and no place for what a client trusts");
            return Err(ClientError::local(path, error));
        }
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Returns where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open folder.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns which folder it is.
    pub(super) fn folder_identity(&self) -> Result<Identity, ClientError> {
        self.folder.identity().map_err(|error| ClientError::local(&self.path, error))
    }

    /// Waits until no other client changes the folder, [`LOCK_WAIT`] at most.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn lock(&self) -> Result<LocalLock, ClientError> {
        let locked = self.folder.lock_file(LOCK).and_then(|file| wait_for(file, LOCK_WAIT));
        locked.map_err(|error| ClientError::local(&self.path.join(LOCK), error))
    }

    /// Waits as [`Self::lock`] does, for one who changes nothing: no lock is made. `None` where there is none that this user
    /// may open.
    pub(super) fn lock_that_is_there(&self) -> Result<Option<LocalLock>, ClientError> {
        let locked = match self.folder.file(LOCK) {
            Ok(file) => file.map(|file| wait_for(file, LOCK_WAIT)).transpose(),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error),
        };
        locked.map_err(|error| ClientError::local(&self.path.join(LOCK), error))
    }

    /// Tells whether another client changes the folder just now.
    pub fn is_locked(&self) -> bool {
        let Ok(Some(file)) = self.folder.file(LOCK) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Marks the folder as a client's, which it stays. To be called under the lock.
    pub(super) fn mark(&self) -> Result<(), ClientError> {
        Record::start(&self.folder).map_err(|error| self.record_failed(error))
    }

    /// Removes what killed clients left behind.
    pub(super) fn sweep(&self) -> Result<(), ClientError> {
        sweep(&self.folder).map_err(|error| ClientError::local(&self.path, error))
    }

    /// Reads the record of what was put.
    pub(super) fn record(&self) -> Result<Record, ClientError> {
        Record::read(&self.folder).map_err(|error| self.record_failed(error))
    }

    /// Adds to the record. To be called under the lock.
    pub(super) fn add_to_record(&self, lines: Vec<Line>) -> Result<(), ClientError> {
        let add = || Record::add(&self.folder, lines.clone()).map_err(|error| self.record_failed(error));
        // what a target needs comes before what can be downloaded again
        self.with_room_of_delegated(&add)
    }

    /// Replaces the record, where it says anything else. To be called under the lock.
    pub(super) fn replace_record_if_changed(&self, record: &Record) -> Result<(), ClientError> {
        if self.record()? == *record {
            return Ok(());
        }
        record.write(&self.folder).map_err(|error| self.record_failed(error))
    }

    fn record_failed(&self, error: io::Error) -> ClientError {
        ClientError::local(&self.path.join(record::NAME), error)
    }

    /// Reads a role's file; `None` where there is none, and for timestamp and snapshot also where the root that is here has
    /// withdrawn a key of theirs since they were stored.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn load(&self, role: &RoleName) -> Result<Option<Vec<u8>>, ClientError> {
        let is_judged = [RoleName::timestamp(), RoleName::snapshot()].contains(role);
        if is_judged && self.is_rotated()? {
            return Ok(None);
        }
        self.read(&name(role)).map_err(|error| ClientError::local(&self.file(role), error))
    }

    /// Tells whether the root that is here has withdrawn keys, and the files that it leaves worthless are still there.
    fn is_rotated(&self) -> Result<bool, ClientError> {
        if !rotation::is_noted(&self.folder).map_err(|error| self.note_failed(error))? {
            return Ok(false);
        }
        let Some(root) = self.load(&RoleName::root())? else { return Ok(false) };
        rotation::is_by(&self.folder, &root).map_err(|error| self.note_failed(error))
    }

    /// Replaces the root by one that withdraws a key of timestamp or snapshot, after which both files are gone: whenever the
    /// process is killed, either the old root is here and they count, or the new one and they do not. To be called under the
    /// lock.
    pub(super) fn rotate(&self, root: &[u8]) -> Result<(), ClientError> {
        let known = [self.identity(&RoleName::timestamp())?, self.identity(&RoleName::snapshot())?];
        if known.iter().all(Option::is_none) {
            return self.store_first(&RoleName::root(), root);
        }
        self.with_room_of_delegated(&|| {
            rotation::begin(&self.folder, root).map_err(|error| self.note_failed(error))
        })?;
        self.store_first(&RoleName::root(), root)?;
        self.finish_rotation()
    }

    /// Ends what [`Self::rotate`] began. To be called under the lock.
    pub(super) fn finish_rotation(&self) -> Result<(), ClientError> {
        if !rotation::is_noted(&self.folder).map_err(|error| self.note_failed(error))? {
            return Ok(());
        }
        if self.is_rotated()? {
            self.remove(&RoleName::timestamp())?;
            self.remove(&RoleName::snapshot())?;
            // what a loss of power brought back would count without the note
            self.folder.sync().map_err(|error| ClientError::local(&self.path, error))?;
        }
        rotation::end(&self.folder).map_err(|error| self.note_failed(error))
    }

    fn note_failed(&self, error: io::Error) -> ClientError {
        ClientError::local(&self.path.join(rotation::NAME), error)
    }

    /// Replaces a role's file in one step.
    ///
    /// # Errors
    /// [`ClientError::Local`]; the old file is still there then.
    pub fn store(&self, role: &RoleName, bytes: &[u8]) -> Result<(), ClientError> {
        let stored = replace(&self.folder, &name(role), bytes);
        stored.map_err(|error| ClientError::local(&self.file(role), error))
    }

    /// Replaces the file of a top-level role as [`Self::store`] does. Where there is no room, the files of delegated roles give
    /// way: who holds one chooses how long it is, and what was taken away from him would stand in the way for good. They are
    /// downloaded again when they are asked for. To be called under the lock.
    pub(super) fn store_first(&self, role: &RoleName, bytes: &[u8]) -> Result<(), ClientError> {
        self.with_room_of_delegated(&|| self.store(role, bytes))
    }

    /// Does something that needs room, once more where there was none before the files of delegated roles went.
    fn with_room_of_delegated(
        &self,
        action: &dyn Fn() -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        match action() {
            Err(error) if error.is_of_room() => {
                self.forget_delegated()?;
                action()
            }
            done => done,
        }
    }

    /// Replaces the file of a delegated role as [`Self::store`] does, with a line in the record first: a file without one would
    /// stay for good. Where there is no room, the older file of the role goes; where there is none then either, nothing of the
    /// role is stored: what has been verified is used all the same, and downloaded again by the next run. To be called under
    /// the lock.
    pub(super) fn store_delegated(&self, role: &RoleName, bytes: &[u8]) -> Result<(), ClientError> {
        let line = Line::Stored { role: role.clone(), content: Content::of_bytes(bytes) };
        let store = || {
            let noted = Record::note(&self.folder, [line.clone()]);
            noted.map_err(|error| self.record_failed(error))?;
            self.store(role, bytes)
        };
        match store() {
            // without an older file of the role nothing can make room, and the record need not be read
            Err(error) if error.is_of_room() && self.load(role)?.is_none() => Ok(()),
            Err(error) if error.is_of_room() => {
                self.forget_stored(&|other| other == role)?;
                match store() {
                    Err(error) if error.is_of_room() => Ok(()),
                    stored => stored,
                }
            }
            stored => stored,
        }
    }

    /// Makes sure that the lines of delegated roles in the record survive a loss of power. To be called under the lock.
    pub(super) fn sync_record(&self) -> Result<(), ClientError> {
        match Record::sync(&self.folder).map_err(|error| self.record_failed(error)) {
            // a file that is not in the record would stay for good; what it said has been read
            Err(error) if error.is_of_room() => self.forget_delegated(),
            synced => synced,
        }
    }

    /// Removes the files of delegated roles that are as they were stored.
    fn forget_delegated(&self) -> Result<(), ClientError> {
        self.forget_stored(&|_| true)
    }

    /// Removes the files of some delegated roles where they are as they were stored.
    fn forget_stored(&self, is_meant: &dyn Fn(&RoleName) -> bool) -> Result<(), ClientError> {
        let record = self.record()?;
        for (role, contents) in
            record.stored.iter().filter(|(role, _)| !role.is_top_level() && is_meant(role))
        {
            if self.load(role)?.is_some_and(|bytes| contents.hold(&bytes)) {
                self.remove(role)?;
            }
        }
        Ok(())
    }

    /// Removes a role's file, if there is one.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn remove(&self, role: &RoleName) -> Result<(), ClientError> {
        self.folder.remove(&name(role)).map_err(|error| ClientError::local(&self.file(role), error))
    }

    /// Lists the roles that there are files of.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn roles(&self) -> Result<Vec<RoleName>, ClientError> {
        let names = self.folder.names().map_err(|error| ClientError::local(&self.path, error))?;
        Ok(names.iter().filter_map(|file| role(file)).collect())
    }

    /// Returns what the system knows of a role's file; `None` where there is none.
    pub(super) fn identity(&self, role: &RoleName) -> Result<Option<FileIdentity>, ClientError> {
        let found = || {
            let Some(file) = self.folder.linked_file(&name(role))? else { return Ok(None) };
            let found = file.metadata()?;
            Ok(Some(FileIdentity {
                device: found.dev(),
                inode: found.ino(),
                length: found.len(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            }))
        };
        found().map_err(|error| ClientError::local(&self.file(role), error))
    }

    /// Reads the note on the targets metadata that was verified last. One that cannot be read counts as missing.
    pub(super) fn noted(&self) -> Option<NotedTargets> {
        NotedTargets::from_bytes(&self.read(NOTE).ok()??)
    }

    /// Replaces that note.
    pub(super) fn note(&self, noted: &NotedTargets) -> Result<(), ClientError> {
        if self.noted().as_ref() == Some(noted) {
            return Ok(());
        }
        let replaced = replace(&self.folder, NOTE, &noted.to_bytes());
        replaced.map_err(|error| ClientError::local(&self.path.join(NOTE), error))
    }

    /// Reads a regular file; `None` where there is none. Links are followed: python-tuf keeps `root.json` as one.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.folder.linked_file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        Ok(Some(bytes))
    }

    fn file(&self, role: &RoleName) -> PathBuf {
        self.path.join(name(role))
    }
}

/// Locks a file, and waits for whoever has locked it.
fn wait_for(file: File, most: Duration) -> io::Result<LocalLock> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(LocalLock(file)),
            Err(TryLockError::WouldBlock) if begun.elapsed() < most => std::thread::sleep(LOCK_STEP),
            Err(TryLockError::WouldBlock) => {
                let reason = format!("another process has held this lock for {} seconds", most.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Returns the name of a role's file: the role's own, percent-encoded.
fn name(role: &RoleName) -> String {
    let encoded = role.encoded();
    if is_misleading(role) {
        // one more character of it is encoded
        let (first, rest) = encoded.split_at(1);
        return first.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>() + rest + ".json";
    }
    encoded + ".json"
}

/// Returns the role that a file is of.
fn role(file: &str) -> Option<RoleName> {
    let encoded = file.strip_suffix(".json")?;
    RoleName::from_encoded(encoded).filter(|role| !is_misleading(role)).or_else(|| {
        let byte = u8::from_str_radix(encoded.strip_prefix('%')?.get(..2)?, 16).ok()?;
        let role = RoleName::from_encoded(&format!("{}{}", char::from(byte), encoded.get(3..)?))?;
        (is_misleading(&role) && name(&role) == file).then_some(role)
    })
}

/// Tells whether a role's file could be taken for another: for a top-level role's where a file system does not tell
/// small letters from capitals, or for a version of the root, by which the folder of a repository is known.
fn is_misleading(role: &RoleName) -> bool {
    let small = role.as_str().to_ascii_lowercase();
    let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (TOP_LEVEL.contains(&small.as_str()) && !role.is_top_level())
        || small.strip_suffix(".root").is_some_and(|version| !version.is_empty() && is_version(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anybody who might read the metadata folder could keep the client waiting in silence, without end.
    #[test]
    fn a_lock_that_somebody_keeps_is_waited_for_no_longer_than_said() {
        let root = tempfile::tempdir().unwrap();
        let local = LocalMetadata::open(root.path()).unwrap();
        assert!(local.lock_that_is_there().unwrap().is_none());
        assert!(!local.is_locked() && !root.path().join(LOCK).exists());
        let kept = local.lock().unwrap();
        assert!(local.is_locked());
        let other = local.folder.lock_file(LOCK).unwrap();
        let said = wait_for(other, Duration::ZERO).err().unwrap();
        assert_eq!(said.to_string(), "another process has held this lock for 0 seconds");
        drop(kept);
        assert!(!local.is_locked());
        local.lock().unwrap();
    }

    /// The files were removed first: a client that was killed before the root was stored took any old timestamp then.
    #[test]
    fn a_rotation_that_is_not_stored_takes_no_memory_of_what_is_newest_away() {
        let root = tempfile::tempdir().unwrap();
        let local = LocalMetadata::open(root.path()).unwrap();
        for (role, bytes) in
            [(RoleName::root(), b"1"), (RoleName::timestamp(), b"2"), (RoleName::snapshot(), b"3")]
        {
            local.store(&role, bytes).unwrap();
        }
        let known = || [RoleName::timestamp(), RoleName::snapshot()].map(|role| local.load(&role).unwrap());
        let before = known();
        // killed after the note
        rotation::begin(&local.folder, b"new").unwrap();
        assert_eq!(known(), before);
        // another root than the one that was noted
        local.store(&RoleName::root(), b"another").unwrap();
        assert_eq!(known(), before);
        // killed after the root
        local.store(&RoleName::root(), b"new").unwrap();
        assert_eq!(known(), [None, None]);
        assert!(root.path().join("timestamp.json").exists());
        local.finish_rotation().unwrap();
        for name in ["timestamp.json", "snapshot.json", rotation::NAME] {
            assert!(!root.path().join(name).exists(), "{name}");
        }
        // what is stored from now on counts
        local.store(&RoleName::timestamp(), b"4").unwrap();
        local.finish_rotation().unwrap();
        assert_eq!(known(), [Some(b"4".to_vec()), None]);
        // a note that nobody wrote says nothing
        std::fs::write(root.path().join(rotation::NAME), b"new").unwrap();
        assert_eq!(known(), [Some(b"4".to_vec()), None]);
        local.finish_rotation().unwrap();
        assert_eq!(known(), [Some(b"4".to_vec()), None]);
    }

    #[test]
    fn a_root_that_withdraws_keys_is_stored_before_what_it_leaves_worthless_goes() {
        let root = tempfile::tempdir().unwrap();
        let local = LocalMetadata::open(root.path()).unwrap();
        local.store(&RoleName::root(), b"old").unwrap();
        local.store(&RoleName::snapshot(), b"3").unwrap();
        // the new root cannot be stored: a folder stands in its place
        std::fs::remove_file(root.path().join("root.json")).unwrap();
        std::fs::create_dir(root.path().join("root.json")).unwrap();
        assert!(local.rotate(b"new").is_err());
        assert!(root.path().join("snapshot.json").exists());
        std::fs::remove_dir(root.path().join("root.json")).unwrap();
        local.store(&RoleName::root(), b"old").unwrap();
        assert_eq!(local.load(&RoleName::snapshot()).unwrap().as_deref(), Some(&b"3"[..]));
        local.rotate(b"new").unwrap();
        assert_eq!(local.load(&RoleName::root()).unwrap().as_deref(), Some(&b"new"[..]));
        let names = local.folder.names().unwrap();
        assert_eq!(names, ["root.json"]);
    }

    #[test]
    fn no_delegated_role_has_the_file_of_a_top_level_one_or_of_a_version_of_the_root() {
        for (role_name, file) in [
            ("root", "root.json"),
            ("Root", "%52oot.json"),
            ("TIMESTAMP", "%54IMESTAMP.json"),
            ("1.root", "%31.root.json"),
            ("22.ROOT", "%322.ROOT.json"),
            ("x.root", "x.root.json"),
            (".root", ".root.json"),
            (".lock", ".lock.json"),
            (".tuf-put", ".tuf-put.json"),
            ("../root", "..%2Froot.json"),
            ("rööt", "r%C3%B6%C3%B6t.json"),
        ] {
            let role_name = RoleName::new(role_name).unwrap();
            assert_eq!(name(&role_name), file);
            assert_eq!(role(file), Some(role_name));
        }
        for file in
            ["1.root.json", "Root.json", "%61.json", "%72oot.json", "%.json", "%é.json", ".json", ".tuf-put"]
        {
            assert_eq!(role(file), None, "{file}");
        }
    }
}
