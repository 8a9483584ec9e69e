//! Publications by several copies of one repository, to folders and to a bucket in memory: which of them go on from what is
//! live, which are refused, and what is said.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

use super::testing::{copy, keys, open, scratch, start};
use super::*;
use chrono::{DateTime, TimeDelta, Utc};

use crate::crypto::{KeyType, PrivateKey, Signer};
use crate::metadata::{RoleName, Threshold};
use crate::storage::testing::Memory;

pub(super) fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

/// Where copies publish.
pub(super) enum Site {
    Folder(TempDir),
    Bucket(Memory),
}

impl Site {
    pub(super) fn destination(&self) -> Destination {
        match self {
            Self::Folder(folder) => Destination::Folder(folder.path().join("www")),
            Self::Bucket(memory) => Destination::Bucket(BucketPlace::under(&memory.bucket())),
        }
    }

    /// Puts other bytes in place of a metadata file; `None` removes it.
    pub(super) fn spoil(&self, name: &str, bytes: Option<&[u8]>) {
        match (self, bytes) {
            (Self::Folder(folder), bytes) => {
                let path = folder.path().join("www/metadata").join(name);
                match bytes {
                    Some(bytes) => fs::write(path, bytes).unwrap(),
                    None => fs::remove_file(path).unwrap(),
                }
            }
            (Self::Bucket(memory), Some(bytes)) => memory.plant(&format!("metadata/{name}"), bytes),
            (Self::Bucket(memory), None) => memory.lose(&format!("metadata/{name}")),
        }
    }
}

/// The places that each case is tried at.
pub(super) fn sites() -> [Site; 2] {
    [Site::Folder(scratch()), Site::Bucket(Memory::new())]
}

/// What came of a publication.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) is_empty: bool,
    pub(super) warnings: Vec<Finding>,
    pub(super) recovery: Recovery,
}

/// A copy of a repository.
pub(super) struct Copy {
    pub(super) dir: TempDir,
    /// Of root, targets, snapshot, timestamp and the delegated roles; then keys that are nobody's yet.
    pub(super) keys: Rc<Vec<PrivateKey>>,
    /// Each copy's clock is off by another minute: what two of them write under one version differs.
    pub(super) now: DateTime<Utc>,
}

impl Copy {
    /// A repository with a delegated role and hash bins, written once.
    pub(super) fn first(layout: Layout) -> Self {
        let mut all = Vec::from(keys());
        all.extend((0..4).map(|_| PrivateKey::generate(KeyType::Ed25519).unwrap()));
        let copy = Self { dir: scratch(), keys: Rc::new(all), now: start() };
        init(copy.path(), layout, start(), Execution::Real, Duration::ZERO).unwrap();
        copy.edit(|repository| {
            for (name, key) in ["root", "targets", "snapshot", "timestamp"].iter().zip(copy.keys.iter()) {
                repository.add_key(&role(name), key.public_key(), None).unwrap();
            }
            let bins = Trust::Bins { number: 4, kind: BinKind::Classic };
            for (name, trust) in [("team", Trust::Paths(vec!["team/*".to_owned()])), ("bins", bins)] {
                repository
                    .delegate(Delegation {
                        name: role(name),
                        from: RoleName::targets(),
                        keys: vec![copy.keys[4].public_key().clone()],
                        threshold: Threshold::ONE,
                        trust,
                        terminating: false,
                        before: None,
                    })
                    .unwrap();
            }
        });
        copy.write();
        copy
    }

    /// The same, in another folder.
    pub(super) fn twin(&self) -> Self {
        let dir = scratch();
        copy(self.path(), dir.path());
        Self { dir, keys: Rc::clone(&self.keys), now: self.now + TimeDelta::minutes(1) }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn edit(&self, edit: impl FnOnce(&mut Repository)) {
        let mut repository = open(self.path(), self.now);
        edit(&mut repository);
        let plan = repository.plan_edit().unwrap();
        repository.save_edit(&plan).unwrap();
    }

    pub(super) fn try_write(&self) -> Result<(), RepositoryError> {
        let mut repository = open(self.path(), self.now);
        let used = self.keys.iter().filter(|key| repository.may_sign(key.public_key(), &[]));
        let keys: Vec<SigningKey<'_>> = used.map(|signer| SigningKey { name: "key", signer }).collect();
        let written = repository.plan_write(&Selection::Whole(Vec::new()), &keys)?;
        repository.execute_write(&written, &|_| {})
    }

    pub(super) fn write(&self) {
        self.try_write().unwrap();
    }

    /// Writes the next version of roles.
    pub(super) fn release(&self, roles: &[&str]) -> &Self {
        self.edit(|repository| {
            for name in roles {
                let found = repository.find_role(name).unwrap();
                repository.bump(&found, None).unwrap();
            }
        });
        self.write();
        self
    }

    pub(super) fn ask(&self, site: &Site, request: &PublishRequest) -> Result<Published, RepositoryError> {
        let repository = open(self.path(), self.now);
        let plan = repository.plan_publication(&site.destination(), request)?;
        repository.execute_publish(&plan, &|_| {})?;
        let is_empty = plan.is_empty();
        Ok(Published { is_empty, warnings: plan.warnings, recovery: plan.recovery })
    }

    pub(super) fn publish(&self, site: &Site) -> Result<Published, RepositoryError> {
        self.ask(site, &PublishRequest::new(Expiry::Enforce, Duration::ZERO))
    }

    pub(super) fn recover(&self, site: &Site, roles: &[&str]) -> Result<Published, RepositoryError> {
        let recover: BTreeSet<RoleName> = roles.iter().map(|name| role(name)).collect();
        self.ask(site, &PublishRequest { recover, ..PublishRequest::new(Expiry::Enforce, Duration::ZERO) })
    }

    /// Replaces the key of a role.
    pub(super) fn rotate(&self, name: &str, old: usize, new: usize) {
        self.edit(|repository| {
            let old = KeyChoice::Key(self.keys[old].public_key().clone());
            repository.remove_key(&role(name), &old, None, DeadEnd::Allow).unwrap();
            repository.add_key(&role(name), self.keys[new].public_key(), None).unwrap();
        });
    }
}

/// Takes off what a refusal says besides of keys that a new root takes away.
pub(super) fn plain(error: RepositoryError) -> RepositoryError {
    match error {
        RepositoryError::Refused { file, reason: Refusal::GivesWay { why, .. } } => {
            RepositoryError::Refused { file, reason: *why }
        }
        error => error,
    }
}

/// Asserts that a publication or a `write` is refused since live is not of this copy, and returns the file that is named.
#[track_caller]
pub(super) fn not_ours<T: std::fmt::Debug>(result: Result<T, RepositoryError>) -> String {
    match plain(result.unwrap_err()) {
        RepositoryError::Refused { file, reason: Refusal::NotOurs { .. } | Refusal::Unannounced { .. } } => {
            file
        }
        error => panic!("{error:?}"),
    }
}

/// Asserts that a publication or a `write` is refused for any reason of ancestry, and returns the message.
#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, RepositoryError>) -> String {
    match plain(result.unwrap_err()) {
        error @ RepositoryError::Refused {
            reason:
                Refusal::NotOurs { .. }
                | Refusal::Behind { .. }
                | Refusal::Disputed
                | Refusal::OtherBytes
                | Refusal::Taken,
            ..
        } => error.to_string(),
        error => panic!("{error:?}"),
    }
}

pub(super) const LAYOUTS: [Layout; 2] = [Layout::Consistent, Layout::Plain];

#[test]
fn a_stale_copy_that_has_written_twice_does_not_take_the_others_release_away() {
    for layout in LAYOUTS {
        for released in [&["targets"][..], &["team"], &["bins-1"], &["timestamp"]] {
            for site in sites() {
                let one = Copy::first(layout);
                one.publish(&site).unwrap();
                let other = one.twin();
                one.release(released).publish(&site).unwrap();
                other.release(&["targets"]).release(&["targets"]).release(&["team", "bins-1"]);
                let file = other.publish(&site);
                if released == ["timestamp"] {
                    // nothing is lost: the snapshot that it names is of both
                    file.unwrap();
                    refused(one.release(&["timestamp"]).publish(&site));
                    continue;
                }
                let named = not_ours(file);
                assert!(named.contains(released[0]), "{layout:?} {released:?}: {named}");
                // nor with versions that are far above
                other.edit(|repository| {
                    for name in ["targets", "team", "bins-1", "snapshot", "timestamp"] {
                        let found = repository.find_role(name).unwrap();
                        repository.bump(&found, Some(90)).unwrap();
                    }
                });
                other.write();
                not_ours(other.publish(&site));
            }
        }
    }
}

#[test]
fn a_new_root_that_drops_keys_lets_no_version_go_down() {
    for layout in LAYOUTS {
        for (name, old) in [("timestamp", 3), ("snapshot", 2), ("targets", 1)] {
            for site in sites() {
                let one = Copy::first(layout);
                one.publish(&site).unwrap();
                let stale = one.twin();
                for _ in 0..3 {
                    one.release(&["targets"]);
                }
                one.publish(&site).unwrap();
                stale.rotate(name, old, 5);
                stale.write();
                not_ours(stale.publish(&site));
                // nor where it is only the timestamp that would go down
                let other = one.twin();
                one.release(&["timestamp"]).release(&["timestamp"]).publish(&site).unwrap();
                other.rotate(name, old, 5);
                other.write();
                let said = refused(other.publish(&site));
                assert!(said.contains("timestamp"), "{said}");
            }
        }
    }
}

#[test]
fn own_places_at_different_versions_are_served_alternately() {
    for layout in LAYOUTS {
        let [one, other] = sites();
        let copy = Copy::first(layout);
        copy.publish(&one).unwrap();
        copy.publish(&other).unwrap();
        for round in 0..3 {
            copy.release(&["targets", "team"]);
            copy.publish(&one).unwrap();
            if round == 1 {
                copy.rotate("timestamp", 3, 5);
                copy.write();
                copy.publish(&one).unwrap();
            }
        }
        copy.publish(&other).unwrap();
        assert!(copy.publish(&other).unwrap().is_empty);
    }
}

#[test]
fn without_its_history_a_copy_knows_what_is_written_and_nothing_older_where_files_are_gone() {
    let [site, old] = sites();
    let copy = Copy::first(Layout::Consistent);
    copy.publish(&old).unwrap();
    fs::remove_file(copy.path().join(HISTORY)).unwrap();
    copy.release(&["targets"]).publish(&site).unwrap();
    fs::remove_file(copy.path().join(HISTORY)).unwrap();
    for name in ["1.snapshot.json", "1.targets.json"] {
        fs::remove_file(copy.path().join(STAGED).join(name)).unwrap();
    }
    copy.publish(&site).unwrap();
    assert_eq!(not_ours(copy.publish(&old)), "metadata/1.targets.json");
    // in the plain layout nothing older is there
    let [site, old] = sites();
    let copy = Copy::first(Layout::Plain);
    copy.publish(&site).unwrap();
    copy.publish(&old).unwrap();
    copy.release(&["targets"]).publish(&site).unwrap();
    fs::remove_file(copy.path().join(HISTORY)).unwrap();
    copy.publish(&site).unwrap();
    assert_eq!(not_ours(copy.publish(&old)), "metadata/targets.json");
}

#[test]
fn two_copies_whose_histories_are_merged_do_not_lose_the_side_that_is_not_written() {
    for layout in LAYOUTS {
        for site in sites() {
            let one = Copy::first(layout);
            one.publish(&site).unwrap();
            let other = one.twin();
            one.release(&["targets"]).publish(&site).unwrap();
            other.release(&["team"]);
            let [ours, theirs] =
                [&other, &one].map(|copy| fs::read_to_string(copy.path().join(HISTORY)).unwrap());
            fs::write(other.path().join(HISTORY), ours + &theirs).unwrap();
            refused(other.publish(&site));
            other.release(&["team"]).release(&["targets"]);
            refused(other.publish(&site));
        }
    }
}

#[test]
fn a_backup_that_is_put_back_does_not_go_on_from_what_was_published_since() {
    for layout in LAYOUTS {
        for site in sites() {
            let copy = Copy::first(layout);
            copy.publish(&site).unwrap();
            let backup = copy.twin();
            copy.release(&["targets"]).release(&["team"]).publish(&site).unwrap();
            let staged = copy.path().join(STAGED);
            fs::remove_dir_all(&staged).unwrap();
            fs::create_dir(&staged).unwrap();
            super::testing::copy(&backup.path().join(STAGED), &staged);
            refused(copy.publish(&site));
            copy.edit(|repository| {
                for name in ["targets", "snapshot", "timestamp"] {
                    repository.bump(&role(name), Some(9)).unwrap();
                }
            });
            copy.write();
            refused(copy.publish(&site));
            copy.release(&["targets"]);
            refused(copy.publish(&site));
        }
    }
}

#[test]
fn a_copy_that_took_a_repository_over_does_not_go_back_behind_its_source() {
    for layout in LAYOUTS {
        let source = Copy::first(layout);
        let site = Site::Folder(scratch());
        source.publish(&site).unwrap();
        let Site::Folder(folder) = &site else { unreachable!() };
        let (from, dir) = (folder.path().join("www"), scratch());
        let root = fs::read(from.join("metadata/1.root.json")).unwrap();
        adopt(
            dir.path(),
            &FolderSource::new(&from),
            &root,
            start(),
            Execution::Real,
            Duration::ZERO,
            &|_| {},
        )
        .unwrap();
        let taken = Copy { dir, keys: Rc::clone(&source.keys), now: start() + TimeDelta::minutes(1) };
        taken.release(&["team"]).publish(&site).unwrap();
        assert!(not_ours(source.release(&["targets"]).publish(&site)).contains("team"));
        let last = taken.twin();
        taken.release(&["targets"]).publish(&site).unwrap();
        assert!(not_ours(last.release(&["team"]).release(&["team"]).publish(&site)).contains("targets"));
    }
}

#[test]
fn a_file_that_no_client_accepts_is_named_and_replaced_and_no_ancestor() {
    for layout in LAYOUTS {
        let snapshot = layout.metadata_name(&RoleName::snapshot(), 1);
        let targets = layout.metadata_name(&RoleName::targets(), 1);
        for name in ["timestamp.json", "root.json", "1.root.json", &snapshot, &targets] {
            for bytes in [None, Some(&b"{"[..]), Some(b"{\"signatures\": [], \"signed\": {}}")] {
                for site in sites() {
                    let copy = Copy::first(layout);
                    copy.publish(&site).unwrap();
                    let stale = copy.twin();
                    site.spoil(name, bytes);
                    copy.release(&["timestamp"]);
                    let plan = copy.publish(&site).unwrap();
                    let file = format!("metadata/{name}");
                    let named = plan.warnings.iter().any(|found| found.file.as_ref() == Some(&file));
                    assert_eq!(named, bytes.is_some(), "{layout:?} {name}: {:?}", plan.warnings);
                    assert!(copy.publish(&site).unwrap().is_empty);
                    refused(stale.publish(&site));
                }
            }
        }
    }
}

#[test]
fn a_stale_copy_does_not_win_through_a_damaged_timestamp_or_snapshot() {
    for layout in LAYOUTS {
        let snapshot = layout.metadata_name(&RoleName::snapshot(), 2);
        for (name, released) in [
            ("timestamp.json", "targets"),
            ("timestamp.json", "team"),
            (&*snapshot, "targets"),
            (&snapshot, "team"),
            (&snapshot, "bins-3"),
        ] {
            for bytes in [None, Some(&b""[..]), Some(b"<html>")] {
                for site in sites() {
                    let one = Copy::first(layout);
                    one.publish(&site).unwrap();
                    let stale = one.twin();
                    one.release(&[released]).publish(&site).unwrap();
                    site.spoil(name, bytes);
                    stale.release(&["team"]).release(&["targets", "bins-3"]).release(&["team"]);
                    let named = not_ours(stale.publish(&site));
                    assert!(named.contains(released), "{layout:?} {name} {released}: {named}");
                    // the copy that published it mends it, though it has written since
                    one.release(&["timestamp"]);
                    one.publish(&site).unwrap();
                    not_ours(stale.publish(&site));
                }
            }
        }
    }
}

#[test]
fn another_repositorys_place_is_refused_with_its_first_root() {
    for layout in LAYOUTS {
        for site in sites() {
            let (one, other) = (Copy::first(layout), Copy::first(layout));
            one.publish(&site).unwrap();
            let error = other.publish(&site).unwrap_err();
            let RepositoryError::Refused { file, reason: Refusal::OtherRepository } = error else {
                panic!("{error:?}")
            };
            assert_eq!(file, "metadata/1.root.json");
        }
    }
}

#[test]
fn a_place_without_any_root_is_replaced_only_on_demand_and_only_by_its_own_copy() {
    for layout in LAYOUTS {
        for spoilt in [None, Some(&b"{}"[..])] {
            for site in sites() {
                let copy = Copy::first(layout);
                copy.publish(&site).unwrap();
                let stale = copy.twin();
                copy.release(&["targets"]).publish(&site).unwrap();
                for name in ["root.json", "1.root.json"] {
                    site.spoil(name, spoilt);
                }
                let error = copy.publish(&site).unwrap_err();
                assert!(
                    matches!(error, RepositoryError::Refused { reason: Refusal::NoRoot(_), .. }),
                    "{error}"
                );
                let request = PublishRequest {
                    damaged_roots: DamagedRoots::Replace,
                    ..PublishRequest::new(Expiry::Enforce, Duration::ZERO)
                };
                not_ours(stale.release(&["team"]).release(&["team"]).ask(&site, &request));
                copy.ask(&site, &request).unwrap();
                assert!(copy.publish(&site).unwrap().is_empty);
            }
        }
    }
}

#[test]
fn a_write_goes_on_only_from_what_its_own_folder_publishes() {
    for layout in LAYOUTS {
        let one = Copy::first(layout);
        let own = |copy: &Copy| -> Result<(), RepositoryError> {
            let repository = open(copy.path(), start());
            let plan = repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO)?;
            repository.execute_publish(&plan, &|_| {})
        };
        own(&one).unwrap();
        let other = one.twin();
        one.release(&["targets"]);
        let into_other = || {
            let repository = open(one.path(), one.now);
            let to = Destination::Folder(other.path().to_owned());
            let plan = repository.plan_publish(&to, Expiry::Enforce, Duration::ZERO).unwrap();
            repository.execute_publish(&plan, &|_| {}).unwrap();
        };
        into_other();
        // somebody else has published into this repository
        other.edit(|repository| repository.bump(&role("team"), None).map(drop).unwrap());
        let staged = other.path().join(STAGED);
        let before = fs::read_dir(&staged).unwrap().count();
        assert!(not_ours(other.try_write()).contains("snapshot"));
        assert_eq!(fs::read_dir(&staged).unwrap().count(), before);
        other.edit(|repository| repository.bump(&role("team"), Some(30)).map(drop).unwrap());
        not_ours(other.try_write());
        // what is written there without the history is what it is
        fs::remove_file(other.path().join(HISTORY)).unwrap();
        not_ours(other.try_write());
        // where nothing is live there is nothing to ask
        fs::remove_dir_all(other.path().join(METADATA)).unwrap();
        other.write();
    }
}

#[test]
fn metadata_that_is_copied_by_hand_is_of_this_copy() {
    for layout in LAYOUTS {
        let copy = Copy::first(layout);
        for _ in 0..3 {
            super::testing::copy(&copy.path().join(STAGED), &copy.path().join(METADATA));
            copy.release(&["targets", "bins-2"]);
            let repository = open(copy.path(), start());
            repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO).unwrap();
        }
    }
}

/// A site where somebody with stolen keys has published, the honest copy, and the copy of the thief.
fn after_a_theft(site: &Site, stolen: &[&str]) -> (Copy, Copy) {
    let honest = Copy::first(Layout::Consistent);
    honest.publish(site).unwrap();
    let thief = honest.twin();
    thief.edit(|repository| {
        for name in stolen {
            repository.bump(&role(name), Some(1 << 40)).unwrap();
        }
    });
    thief.write();
    thief.publish(site).unwrap();
    (honest, thief)
}

#[test]
fn a_fast_forward_by_stolen_keys_gives_way_to_a_root_that_takes_them_away() {
    let keys = [("targets", 1), ("snapshot", 2), ("timestamp", 3)];
    for stolen in [&["timestamp"][..], &["snapshot", "timestamp"], &["targets", "snapshot", "timestamp"]] {
        for site in sites() {
            let (honest, thief) = after_a_theft(&site, stolen);
            refused(honest.release(&["timestamp"]).publish(&site));
            let none = honest.recover(&site, stolen).unwrap_err();
            assert!(none.to_string().contains("no new root is part of this publication"), "{none}");
            // a new root that keeps one of the keys is not enough
            for (name, number) in keys.iter().filter(|(name, _)| stolen.contains(name)) {
                honest.edit(|repository| {
                    repository.add_key(&role(name), honest.keys[number + 4].public_key(), None).unwrap();
                });
            }
            honest.write();
            let kept = honest.recover(&site, stolen).unwrap_err().to_string();
            assert!(kept.contains("keeps that key"), "{kept}");
            for (name, number) in keys.iter().filter(|(name, _)| stolen.contains(name)) {
                honest.edit(|repository| {
                    let old = KeyChoice::Key(honest.keys[*number].public_key().clone());
                    repository.remove_key(&role(name), &old, None, DeadEnd::Allow).unwrap();
                });
            }
            honest.write();
            // each role that is not named stays bounded
            refused(honest.publish(&site));
            if stolen.len() > 1 {
                refused(honest.recover(&site, &stolen[1..]));
                refused(honest.recover(&site, &stolen[..1]));
            }
            let plan = honest.recover(&site, stolen).unwrap();
            let mut gone: Vec<&str> = plan.recovery.roles.iter().map(|found| found.role.as_str()).collect();
            gone.sort_by_key(|name| stolen.iter().position(|stolen| stolen == name));
            assert_eq!(gone, stolen);
            assert!(plan.recovery.roles.iter().all(|found| found.from == 1 << 40 && found.to < 9));
            // the same again has nothing left to do, and the thief is out
            assert!(honest.recover(&site, stolen).unwrap().is_empty);
            assert!(honest.publish(&site).unwrap().is_empty);
            refused(thief.release(&["timestamp"]).publish(&site));
        }
    }
}

#[test]
fn a_recovery_of_targets_binds_the_roles_that_this_copy_delegates_to_and_not_the_thiefs() {
    for site in sites() {
        let honest = Copy::first(Layout::Consistent);
        honest.publish(&site).unwrap();
        let thief = honest.twin();
        let colleague = thief.twin();
        // a colleague releases in time, the thief goes on from there and delegates to a role of his own
        colleague.release(&["team"]).publish(&site).unwrap();
        thief.edit(|repository| {
            repository.bump(&role("targets"), Some(50)).unwrap();
            let evil = Delegation {
                name: role("evil"),
                from: RoleName::targets(),
                keys: vec![thief.keys[5].public_key().clone()],
                threshold: Threshold::ONE,
                trust: Trust::Paths(vec!["*".to_owned()]),
                terminating: false,
                before: None,
            };
            repository.delegate(evil).unwrap();
            for name in ["team", "snapshot", "timestamp"] {
                repository.bump(&role(name), None).unwrap();
            }
        });
        // the thief has the files of the colleague's release
        let staged = thief.path().join(STAGED);
        for name in ["2.team.json", "2.snapshot.json", "timestamp.json"] {
            fs::copy(colleague.path().join(STAGED).join(name), staged.join(name)).unwrap();
        }
        fs::copy(colleague.path().join(HISTORY), thief.path().join(HISTORY)).unwrap();
        thief.edit(|repository| {
            drop(repository.discard(&[role("team"), role("snapshot"), role("timestamp")]).unwrap())
        });
        thief.write();
        thief.publish(&site).unwrap();
        let all = ["targets", "snapshot", "timestamp"];
        for (name, old, new) in [("targets", 1, 5), ("snapshot", 2, 6), ("timestamp", 3, 7)] {
            honest.rotate(name, old, new);
            colleague.rotate(name, old, new);
        }
        honest.write();
        colleague.write();
        // the colleague's release is no part of the recovery
        assert!(not_ours(honest.recover(&site, &all)).contains("2.team.json"));
        colleague.recover(&site, &all).unwrap();
    }
}

#[test]
fn only_roles_whose_keys_the_root_names_can_be_recovered() {
    let site = Site::Folder(scratch());
    let copy = Copy::first(Layout::Consistent);
    for name in ["root", "team"] {
        let error = copy.recover(&site, &[name]).unwrap_err();
        assert!(matches!(error, RepositoryError::Input(InputError::NotRecoverable { .. })), "{error}");
    }
}
