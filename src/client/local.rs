//! The folder of trusted metadata: one file for a role, byte for byte as served.
//!
//! A file here has been verified once. It is verified again whenever it is read: what lies on a disk is only bytes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ClientError;
use super::confined::Folder;
use super::noted::{FileIdentity, NotedTargets};
use crate::metadata::RoleName;

/// The largest local file that is read. It is no judgement on metadata: a client stores no more than it accepted.
const LARGEST: u64 = 1 << 30;
/// The name of the lock; not `.json`, so that nobody takes it for metadata.
const LOCK: &str = ".lock";
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
            Ok(folder) => Ok(Self { path: path.to_owned(), folder }),
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
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Returns where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other client changes the folder, and removes what killed ones left behind.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn lock(&self) -> Result<LocalLock, ClientError> {
        let path = self.path.join(LOCK);
        let locked =
            File::options().create(true).append(true).open(&path).and_then(|file| file.lock().map(|()| file));
        let lock = locked.map_err(|error| ClientError::local(&path, error))?;
        self.folder.sweep().map_err(|error| ClientError::local(&self.path, error))?;
        Ok(LocalLock(lock))
    }

    /// Reads a role's file; `None` where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn load(&self, role: &RoleName) -> Result<Option<Vec<u8>>, ClientError> {
        let path = self.file(role);
        match read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ClientError::local(&path, error)),
        }
    }

    /// Replaces a role's file in one step.
    ///
    /// # Errors
    /// [`ClientError::Local`]; the old file is still there then.
    pub fn store(&self, role: &RoleName, bytes: &[u8]) -> Result<(), ClientError> {
        let stored = self.folder.replace(&name(role), bytes);
        stored.map_err(|error| ClientError::local(&self.file(role), error))
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
        Ok(names.iter().filter_map(|name| RoleName::from_encoded(name.strip_suffix(".json")?)).collect())
    }

    /// Returns what the system knows of a role's file; `None` where there is none.
    pub(super) fn identity(&self, role: &RoleName) -> Result<Option<FileIdentity>, ClientError> {
        let path = self.file(role);
        match std::fs::metadata(&path) {
            Ok(found) => Ok(Some(FileIdentity {
                device: found.dev(),
                inode: found.ino(),
                length: found.len(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ClientError::local(&path, error)),
        }
    }

    /// Reads the note on the targets metadata that was verified last. One that cannot be read is none.
    pub(super) fn noted(&self) -> Option<NotedTargets> {
        NotedTargets::from_bytes(&read(&self.path.join(NOTE)).ok()?)
    }

    /// Replaces that note.
    pub(super) fn note(&self, noted: &NotedTargets) -> Result<(), ClientError> {
        if self.noted().as_ref() == Some(noted) {
            return Ok(());
        }
        let replaced = self.folder.replace(NOTE, &noted.to_bytes());
        replaced.map_err(|error| ClientError::local(&self.path.join(NOTE), error))
    }

    fn file(&self, role: &RoleName) -> PathBuf {
        self.path.join(name(role))
    }
}

fn name(role: &RoleName) -> String {
    format!("{}.json", role.encoded())
}

/// Reads a regular file. Links are followed: python-tuf keeps `root.json` as one.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let refused = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    if !std::fs::metadata(path)?.is_file() {
        return refused("it is not a regular file");
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { refused("it is too large") } else { Ok(bytes) }
}
