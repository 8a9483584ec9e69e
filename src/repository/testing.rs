//! What the unit tests of this module share: a published repository in a folder in memory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::{Destination, Execution, Expiry, Layout, Repository, Selection, SigningKey, init};
use crate::crypto::{KeyType, PrivateKey, Signer};

/// The time at which the repository is made.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap()
}

/// A folder in memory where there is such a place: hundreds of durable writes take their time on a disk.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Copies what is in a folder into another one that is there.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&place).unwrap();
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

pub fn open(dir: &Path, now: DateTime<Utc>) -> Repository {
    Repository::open_locked(dir, now, Duration::ZERO).unwrap()
}

pub fn write(repository: &mut Repository, keys: &[PrivateKey]) {
    let signing: Vec<SigningKey<'_>> = keys.iter().map(|signer| SigningKey { name: "key", signer }).collect();
    let written = repository.plan_write(&Selection::Whole(Vec::new()), &signing).unwrap();
    repository.execute_write(&written, &|_| {}).unwrap();
}

pub fn publish(dir: &Path, now: DateTime<Utc>) {
    let repository = open(dir, now);
    let plan = repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO).unwrap();
    repository.execute_publish(&plan, &|_| {}).unwrap();
}

/// Keys of root, targets, snapshot and timestamp.
pub fn keys() -> [PrivateKey; 4] {
    std::array::from_fn(|_| PrivateKey::generate(KeyType::Ed25519).unwrap())
}

/// A published repository whose roles other than the timestamp live for two years.
pub fn repository(dir: &Path, keys: &[PrivateKey; 4]) {
    init(dir, Layout::Consistent, start(), Execution::Real, Duration::ZERO).unwrap();
    let mut repository = open(dir, start());
    for (role, key) in ["root", "targets", "snapshot", "timestamp"].iter().zip(keys) {
        let role = repository.find_role(role).unwrap();
        repository.add_key(&role, key.public_key(), None).unwrap();
        if role.as_str() != "timestamp" {
            repository.expire(&role, start() + TimeDelta::days(730)).unwrap();
        }
    }
    write(&mut repository, keys);
    drop(repository);
    publish(dir, start());
}
