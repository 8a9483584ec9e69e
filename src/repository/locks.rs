//! Who may write where: whoever writes into a repository, or into a folder that one was published to, holds its lock.
//!
//! Locks are waited for in a fixed order, so that no two processes wait for each other: first the repositories, the own one
//! and the one in the destination, by device and inode, then the metadata that is live there. A process that has its own
//! repository and wants one that comes before it only tries; as long as it has read nothing it gives its own lock back and
//! begins anew.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{InputError, RepositoryError};
use super::layout::{METADATA, STAGED};
use super::place::Destination;
use super::policy::Policy;
use super::{Repository, Unread};
use crate::storage::{Folder, Lock, LockError};

/// The locks of a folder that is published to or collected in, beside that of the own repository.
#[derive(Debug, Default)]
pub(super) struct DestinationLocks {
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

    /// Returns the locks where something is live in the folder that is locked.
    fn of_live(self, folder: &Path) -> Result<Self, RepositoryError> {
        if self.holds_live() {
            return Ok(self);
        }
        let reason = "no repository has been published there";
        Err(InputError::NoFile { path: folder.to_owned(), reason }.into())
    }
}

/// All locks that a collection needs.
#[derive(Debug)]
pub(super) struct CollectionLocks {
    _own: Arc<Lock>,
    _destination: DestinationLocks,
}

impl Repository {
    /// Takes the locks of a place that is going to be collected. A bucket has none.
    ///
    /// # Errors
    /// [`InputError::NoFile`] where nothing was published there, [`RepositoryError::Locked`].
    pub(super) fn lock_collection(
        &self,
        at: &Destination,
        wait: Duration,
    ) -> Result<CollectionLocks, RepositoryError> {
        let own = match &self.lock {
            Some(held) => held.clone(),
            None => Arc::new(lock_staged(&self.dir, wait)?),
        };
        let destination = match at {
            Destination::Own => lock_written(&self.dir, &self.dir, wait)?,
            Destination::Bucket(_) => DestinationLocks::default(),
            Destination::Folder(folder) => lock_written(&self.dir, folder, wait)?.of_live(folder)?,
        };
        Ok(CollectionLocks { _own: own, _destination: destination })
    }
}

/// A repository and a place that it is published at, both locked; of the repository only the policy has been read. What is
/// made of the policy's words is made now: nobody changes it any more.
#[derive(Debug)]
pub struct LockedPlace {
    pub(super) unread: Unread,
    pub(super) at: Destination,
    pub(super) locks: DestinationLocks,
}

/// What came of locking a place.
#[derive(Debug)]
pub enum PlaceLock {
    /// The locks are held.
    Held(LockedPlace),
    /// The own lock was given back for a moment, and somebody has changed the policy meanwhile: the place may be another one
    /// now. The own lock is held, those of the place are not.
    PolicyChanged(Unread),
}

impl LockedPlace {
    /// Returns the repository's folder.
    pub fn dir(&self) -> &Path {
        self.unread.dir()
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        self.unread.policy()
    }

    /// Returns the place.
    pub fn at(&self) -> &Destination {
        &self.at
    }

    /// Reads the repository to collect what is there. A bucket has no locks.
    ///
    /// # Errors
    /// As [`Repository::lock_collection`] and [`Repository::open_locked`].
    pub(super) fn read_to_collect(self) -> Result<ToCollect, RepositoryError> {
        let Self { unread, at, locks } = self;
        let destination = match &at {
            Destination::Folder(folder) => locks.of_live(folder)?,
            Destination::Own | Destination::Bucket(_) => locks,
        };
        let repository = unread.read_past_drafts()?;
        let own = repository.lock.clone();
        let own = own.map_or_else(|| lock_staged(&repository.dir, Duration::ZERO).map(Arc::new), Ok)?;
        Ok(ToCollect { repository, at, locks: CollectionLocks { _own: own, _destination: destination } })
    }
}

/// A repository that was read to collect a place, and the locks of both.
pub(super) struct ToCollect {
    pub(super) repository: Repository,
    pub(super) at: Destination,
    pub(super) locks: CollectionLocks,
}

impl Unread {
    /// Takes the locks of a place that is written into, collected or taken over from. Gives the own lock back for a moment where
    /// somebody has the lock of a repository there that comes before the own one. A bucket has no locks.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`]; as [`Policy::read`], since the policy is read again then.
    pub fn lock_place(self, at: Destination, wait: Duration) -> Result<PlaceLock, RepositoryError> {
        let base = match &at {
            Destination::Bucket(_) => {
                let locks = DestinationLocks::default();
                return Ok(PlaceLock::Held(LockedPlace { unread: self, at, locks }));
            }
            Destination::Own => self.dir.clone(),
            Destination::Folder(folder) => folder.clone(),
        };
        let deadline = Instant::now() + wait;
        let left = || deadline.saturating_duration_since(Instant::now());
        if other_repository(&self.dir, &base) != Some(Order::Before) {
            let locks = lock_written(&self.dir, &base, wait)?;
            return Ok(PlaceLock::Held(LockedPlace { unread: self, at, locks }));
        }
        let staged = Folder::new(base.join(STAGED));
        let (unread, staged) = match lock(&staged, Duration::ZERO) {
            Err(RepositoryError::Locked { .. }) if !wait.is_zero() => {
                let Self { dir, policy: old, now, lock: own } = self;
                drop(own);
                let staged = lock(&staged, left())?;
                let own = lock_staged(&dir, left())?;
                let unread = Self { policy: Policy::read(&dir)?, dir, now, lock: own };
                if unread.policy != old {
                    return Ok(PlaceLock::PolicyChanged(unread));
                }
                (unread, staged)
            }
            staged => (self, staged?),
        };
        let locks = DestinationLocks { _staged: Some(staged), live: lock_live(&base, left())? };
        Ok(PlaceLock::Held(LockedPlace { unread, at, locks }))
    }
}

/// Where another repository stands beside the own one in the order of locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Before,
    After,
}

/// Looks for another repository than the own one in a folder.
fn other_repository(own: &Path, base: &Path) -> Option<Order> {
    let place = |dir: &Path| Folder::new(dir.join(STAGED)).identity();
    let (own, other) = (place(own), place(base)?);
    match own.cmp(&Some(other)) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(Order::After),
        std::cmp::Ordering::Greater => Some(Order::Before),
    }
}

/// Takes the locks of a folder that a repository writes into, whose own lock is held already and stays so: it waits for no
/// repository that comes before the own one.
pub(super) fn lock_written(
    repository: &Path,
    base: &Path,
    wait: Duration,
) -> Result<DestinationLocks, RepositoryError> {
    let staged = Folder::new(base.join(STAGED));
    let staged = match other_repository(repository, base) {
        None => None,
        Some(Order::After) => Some(lock(&staged, wait)?),
        Some(Order::Before) => Some(lock(&staged, Duration::ZERO)?),
    };
    Ok(DestinationLocks { _staged: staged, live: lock_live(base, wait)? })
}

/// Takes the lock of the metadata that is live in a folder; it is the last one.
fn lock_live(base: &Path, wait: Duration) -> Result<Option<Lock>, RepositoryError> {
    let live = Folder::new(base.join(METADATA));
    if live.exists() { lock(&live, wait).map(Some) } else { Ok(None) }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::thread;

    use super::super::testing::{keys, repository, scratch, start};
    use super::*;

    /// Longer than a passing test ever waits.
    const LONG: Duration = Duration::from_secs(300);

    /// Two repositories, the one that comes first in the order of locks before the other.
    fn two(dir: &Path) -> [PathBuf; 2] {
        let mut both = ["a", "b"].map(|name| dir.join(name));
        for dir in &both {
            std::fs::create_dir(dir).unwrap();
            repository(dir, &keys());
        }
        both.sort_by_key(|dir| Folder::new(dir.join(STAGED)).identity());
        both
    }

    #[test]
    fn who_waits_for_a_repository_that_comes_first_has_given_its_own_lock_back() {
        let dir = scratch();
        let [first, second] = two(dir.path());
        let held = lock_staged(&first, Duration::ZERO).unwrap();
        let unread = Repository::lock(&second, start(), Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let held = unread.lock_place(Destination::Folder(first.clone()), LONG)?;
                let PlaceLock::Held(place) = held else { panic!("{held:?}") };
                assert!(place.locks.holds_live());
                drop(place.unread.read()?);
                Ok::<_, RepositoryError>(())
            });
            // the other one wants what the waiting one had
            drop(lock_staged(&second, LONG).unwrap());
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn who_gave_its_lock_back_and_finds_another_policy_asks_for_the_place_again() {
        let dir = scratch();
        let [first, second] = two(dir.path());
        let held = lock_staged(&first, Duration::ZERO).unwrap();
        let unread = Repository::lock(&second, start(), Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| unread.lock_place(Destination::Folder(first.clone()), LONG));
            let own = lock_staged(&second, LONG).unwrap();
            let policy = second.join(super::super::POLICY);
            let text = std::fs::read_to_string(&policy).unwrap().replace("\nkeep = 10\n", "\nkeep = 77\n");
            std::fs::write(&policy, text).unwrap();
            drop(own);
            drop(held);
            let again = waiting.join().unwrap().unwrap();
            let PlaceLock::PolicyChanged(unread) = again else { panic!("{again:?}") };
            assert_eq!(unread.policy().retention().keep, 77);
            // it has its own lock, and no other
            assert!(lock_staged(&second, Duration::ZERO).is_err());
            drop(lock_staged(&first, Duration::ZERO).unwrap());
        });
    }

    #[test]
    fn who_waits_for_a_repository_that_comes_later_keeps_its_own_lock() {
        let dir = scratch();
        let [first, second] = two(dir.path());
        let held = lock_staged(&second, Duration::ZERO).unwrap();
        let unread = Repository::lock(&first, start(), Duration::ZERO).unwrap();
        let (begun, has_begun) = mpsc::channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                begun.send(()).unwrap();
                unread.lock_place(Destination::Folder(second.clone()), LONG)
            });
            has_begun.recv().unwrap();
            assert!(lock_staged(&first, Duration::ZERO).is_err());
            drop(held);
            drop(waiting.join().unwrap().unwrap());
        });
    }

    #[test]
    fn who_has_read_its_repository_waits_for_none_that_comes_first() {
        let dir = scratch();
        let [first, second] = two(dir.path());
        let held = lock_staged(&first, Duration::ZERO).unwrap();
        let error = lock_written(&second, &first, LONG).unwrap_err();
        assert!(matches!(error, RepositoryError::Locked { .. }), "{error}");
        drop(held);
        assert!(lock_written(&second, &first, LONG).unwrap().holds_live());
    }

    #[test]
    fn nobody_plans_a_collection_beside_a_command_that_writes() {
        let dir = scratch();
        let [first, second] = two(dir.path());
        let retention = super::super::Retention { keep: 1, keep_within: chrono::TimeDelta::zero() };
        let reader = Repository::open(&first, start()).unwrap();
        for (held, at) in [
            (first.join(STAGED), Destination::Own),
            (first.join(METADATA), Destination::Own),
            (second.join(STAGED), Destination::Folder(second.clone())),
            (second.join(METADATA), Destination::Folder(second.clone())),
        ] {
            let held = lock(&Folder::new(held), Duration::ZERO).unwrap();
            let error = reader.plan_gc_of(&at, retention, Duration::ZERO).unwrap_err();
            assert!(matches!(error, RepositoryError::Locked { .. }), "{error}");
            drop(held);
        }
        let plan = reader.plan_gc(retention, Duration::ZERO).unwrap();
        assert!(lock_staged(&first, Duration::ZERO).is_err());
        reader.execute_gc(&plan, None).unwrap();
        drop(plan);
        drop(lock_staged(&first, Duration::ZERO).unwrap());
    }
}
