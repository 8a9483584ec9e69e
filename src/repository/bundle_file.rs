//! The file of a bundle, which several people may sign at once: signatures are added to what the file holds by then.
//!
//! Keys are asked before the file is locked: a password may take minutes to type. Then the file is locked, read, merged and
//! replaced, which takes milliseconds. The lock is on the file itself, so that links to it lead to the same lock; a waiter
//! looks once more which file has the name. On a file system without locks the same is done without one.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::ceremony::Bundle;
use super::error::{AtPath, InputError, RepositoryError};
use super::locks::not_locked;
use crate::storage::{Folder, Lock, LockError, ReadFiles, lock_file};

/// The longest file that is read as a bundle, in bytes.
pub(super) const LONGEST: u64 = 1 << 28;

impl Bundle {
    /// Adds the signatures of this bundle to the file that it was read from, and keeps what others have added meanwhile. Waits up
    /// to `wait` for others who do the same. Returns what the file holds now.
    ///
    /// # Errors
    /// [`InputError::BundleReplaced`] where the file holds another draft by now or is gone, [`RepositoryError::Locked`],
    /// [`RepositoryError::Io`]. The file is what it was then.
    pub fn add_to_file(&self, file: &Path, wait: Duration) -> Result<Self, RepositoryError> {
        let replaced = || RepositoryError::from(InputError::BundleReplaced { path: file.to_owned() });
        // what a link leads to is signed, and the link stays
        let path = match fs::canonicalize(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(replaced()),
            path => path.at(file)?,
        };
        let _lock = lock(&path, wait)?;
        let (above, name) =
            path.parent().zip(path.file_name().and_then(|name| name.to_str())).ok_or_else(replaced)?;
        let folder = Folder::new(above);
        let bytes = folder.read(name, LONGEST).at(file)?.ok_or_else(replaced)?;
        let mut bundle = Self::from_bytes(&bytes).map_err(|_| replaced())?;
        if !bundle.take_signatures(self)? {
            return Err(replaced());
        }
        let bytes = bundle.to_bytes()?;
        let put = || {
            let mut batch = folder.batch()?;
            let filled = batch.fill_with(|to| {
                io::Write::write_all(to, &bytes)?;
                // whoever could read the file before can read it now
                to.set_permissions(fs::metadata(&path)?.permissions())
            })?;
            batch.place(filled, name);
            batch.commit()
        };
        put().at(file)?;
        Ok(bundle)
    }
}

/// Removes what killed signers have left beside the file of a bundle.
pub fn sweep_beside(file: &Path) {
    // what cannot be removed is in nobody's way
    if let Some(above) = fs::canonicalize(file).ok().as_deref().and_then(Path::parent) {
        let _ = Folder::new(above).sweep();
    }
}

/// Takes the lock of a file; `None` on a file system that has none.
fn lock(path: &Path, wait: Duration) -> Result<Option<Lock>, RepositoryError> {
    match lock_file(path, wait) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Io(error)) if has_no_locks(&error) => Ok(None),
        Err(error) => Err(not_locked(path, error)),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    let known = [Errno::NOLCK, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS, Errno::BADF];
    Errno::from_io_error(error).is_some_and(|error| known.contains(&error))
}
