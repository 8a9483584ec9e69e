//! Who may write where: whoever writes into a repository, or into a folder that one was published to, holds its lock.
//!
//! The order is fixed: the own repository, then the repository in the destination, then the metadata that is live there.

use std::path::Path;
use std::time::Duration;

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::layout::{METADATA, STAGED};
use super::place::Destination;
use crate::storage::{Folder, Lock, LockError};

/// The locks of a folder that is published to or collected in, beside that of the own repository.
#[derive(Debug, Default)]
pub struct DestinationLocks {
    /// Of the repository that is in the folder, where that is not the own one: its commands write into `targets/` too.
    _staged: Option<Lock>,
    /// Of the metadata that is live there. `None` where none is.
    live: Option<Lock>,
}

impl DestinationLocks {
    /// Tells whether something was live when the locks were taken.
    pub(super) fn holds_live(&self) -> bool {
        self.live.is_some()
    }
}

impl Repository {
    /// Takes the locks of a place that is going to be collected, for as long as the value lives. A bucket has none.
    ///
    /// # Errors
    /// [`InputError::NoFile`] where nothing was published there, [`RepositoryError::Locked`].
    pub fn lock_destination(
        &self,
        at: &Destination,
        wait: Duration,
    ) -> Result<DestinationLocks, RepositoryError> {
        match at {
            Destination::Own => lock_written(&self.dir, &self.dir, wait),
            Destination::Bucket(_) => Ok(DestinationLocks::default()),
            Destination::Folder(folder) => {
                let locks = lock_written(&self.dir, folder, wait)?;
                if !locks.holds_live() {
                    let reason = "no repository has been published there";
                    return Err(InputError::NoFile { path: folder.clone(), reason }.into());
                }
                Ok(locks)
            }
        }
    }
}

/// Takes the locks of a folder that a repository writes into, whose own lock is held already.
pub(super) fn lock_written(
    repository: &Path,
    base: &Path,
    wait: Duration,
) -> Result<DestinationLocks, RepositoryError> {
    let (own, staged) = (Folder::new(repository.join(STAGED)), Folder::new(base.join(STAGED)));
    let other = staged.exists() && !staged.is_same(&own);
    let staged = if other { Some(lock(&staged, wait)?) } else { None };
    let live = Folder::new(base.join(METADATA));
    let live = if live.exists() { Some(lock(&live, wait)?) } else { None };
    Ok(DestinationLocks { _staged: staged, live })
}

/// Takes the lock of a repository.
pub(super) fn lock_staged(dir: &Path, wait: Duration) -> Result<Lock, RepositoryError> {
    let folder = Folder::new(dir.join(STAGED));
    if !folder.exists() {
        return Err(InputError::NotARepository(dir.to_owned()).into());
    }
    lock(&folder, wait)
}

/// Takes the lock of a folder.
pub(super) fn lock(folder: &Folder, wait: Duration) -> Result<Lock, RepositoryError> {
    folder.lock(wait).map_err(|error| not_locked(folder.path(), error))
}

/// Says what could not be locked.
pub(super) fn not_locked(path: &Path, error: LockError) -> RepositoryError {
    match error {
        LockError::Held { holder } => RepositoryError::Locked { folder: path.to_owned(), holder },
        LockError::Io(source) => RepositoryError::Io { path: path.to_owned(), source },
    }
}
