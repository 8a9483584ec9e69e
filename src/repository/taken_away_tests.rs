//! What a thief has published with keys that a new root takes away, and what looks like it: which of it gives way, at every
//! place and to every command.

use std::fs;
use std::time::Duration;

use super::ancestry_tests::{Copy, LAYOUTS, Site, not_ours, role, sites};
use super::signed_by::SignedBy;
use super::testing::{open, scratch};
use super::*;
use crate::crypto::Signer;
use crate::metadata::{RoleName, Threshold};

const ALL: [&str; 3] = ["targets", "snapshot", "timestamp"];

fn rotate_all(copy: &Copy) {
    for (name, old, new) in [("targets", 1, 5), ("snapshot", 2, 6), ("timestamp", 3, 7)] {
        copy.rotate(name, old, new);
    }
}

/// Lets a thief delegate to a role of his own, and trust a key of his for `team`.
fn steal(thief: &Copy) {
    let key = thief.keys[5].public_key().clone();
    thief.edit(|repository| {
        repository.bump(&role("targets"), None).unwrap();
        repository
            .delegate(Delegation {
                name: role("evil"),
                from: RoleName::targets(),
                keys: vec![key.clone()],
                threshold: Threshold::ONE,
                trust: Trust::Paths(vec!["*".to_owned()]),
                terminating: false,
                before: None,
            })
            .unwrap();
        let old = KeyChoice::Key(thief.keys[4].public_key().clone());
        repository.add_key(&role("team"), &key, None).unwrap();
        repository.remove_key(&role("team"), &old, None, DeadEnd::Allow).unwrap();
        repository.bump(&role("team"), None).unwrap();
    });
    thief.write();
}

fn named(taken: &TakenAway) -> Vec<&str> {
    taken.roles.iter().map(RoleName::as_str).collect()
}

#[test]
fn a_recovery_judges_the_very_file_in_the_way_by_the_keys_that_signed_it() {
    // with an older snapshot left, and with none
    for lost in [&["2.snapshot.json"][..], &["1.snapshot.json", "2.snapshot.json"]] {
        for site in sites() {
            let copy = Copy::first(Layout::Consistent);
            copy.publish(&site).unwrap();
            let colleague = copy.twin();
            colleague.release(&["targets"]).publish(&site).unwrap();
            lost.iter().for_each(|name| site.spoil(name, None));
            copy.rotate("timestamp", 3, 5);
            copy.write();
            for roles in [&["targets", "timestamp"][..], &ALL] {
                let error = copy.recover(&site, roles).unwrap_err().to_string();
                assert!(error.contains("2.targets.json") && error.contains("keeps that key"), "{error}");
            }
        }
    }
}

#[test]
fn a_file_of_which_nobody_knows_who_signed_it_does_not_give_way() {
    let copy = Copy::first(Layout::Plain);
    let repository = open(copy.path(), copy.now);
    let root = repository.staged.root.effective().unwrap();
    let said = SignedBy::default().refuse_kept(&role("targets"), root).unwrap_err();
    assert!(said.contains("nobody can tell"), "{said}");
}

#[test]
fn whom_only_a_thief_delegates_to_is_in_nobodys_way_though_he_removes_his_snapshot() {
    for is_removed in [false, true] {
        for site in sites() {
            let honest = Copy::first(Layout::Consistent);
            honest.publish(&site).unwrap();
            let thief = honest.twin();
            steal(&thief);
            thief.publish(&site).unwrap();
            if is_removed {
                site.spoil("2.snapshot.json", None);
            }
            rotate_all(&honest);
            honest.release(&["team"]);
            let error = honest.publish(&site).unwrap_err();
            let RepositoryError::Refused { reason: Refusal::GivesWay { taken, .. }, .. } = error else {
                panic!("{error:?}")
            };
            assert!(!taken.others && !taken.is_drafted, "{taken:?}");
            let expected: &[&str] = if is_removed { &["targets", "timestamp"] } else { &ALL };
            assert_eq!(named(&taken), expected);
            let done = honest.recover(&site, expected).unwrap();
            assert_eq!(done.recovery.roles.len(), expected.len());
            assert!(honest.publish(&site).unwrap().is_empty);
        }
    }
}

#[test]
fn a_thief_who_removes_files_of_the_own_folder_keeps_nobody_from_writing() {
    for removed in [None, Some("root.json"), Some("2.snapshot.json")] {
        let honest = Copy::first(Layout::Consistent);
        let own = |copy: &Copy, to: &Destination| {
            let repository = open(copy.path(), copy.now);
            let plan = repository.plan_publish(to, Expiry::Enforce, Duration::ZERO).unwrap();
            repository.execute_publish(&plan, &|_| {}).unwrap();
        };
        own(&honest, &Destination::Own);
        let thief = honest.twin();
        fs::remove_dir_all(thief.path().join(METADATA)).unwrap();
        steal(&thief);
        own(&thief, &Destination::Folder(honest.path().to_owned()));
        if let Some(name) = removed {
            fs::remove_file(honest.path().join(METADATA).join(name)).unwrap();
        }
        // without a new root he is in the way
        honest.edit(|repository| repository.bump(&role("targets"), None).map(drop).unwrap());
        not_ours(honest.try_write());
        rotate_all(&honest);
        honest.try_write().unwrap();
    }
}

#[test]
fn a_release_with_a_key_that_stays_keeps_a_write_and_a_recovery_from_going_on() {
    for layout in LAYOUTS {
        let site = Site::Folder(scratch());
        let copy = Copy::first(layout);
        copy.publish(&site).unwrap();
        let colleague = copy.twin();
        colleague.release(&["targets"]).publish(&site).unwrap();
        copy.rotate("snapshot", 2, 6);
        copy.rotate("timestamp", 3, 7);
        let mut repository = open(copy.path(), copy.now);
        let error =
            repository.plan_pull(&site.destination(), TargetFiles::Leave, Duration::ZERO).unwrap_err();
        let RepositoryError::Refused { reason: Refusal::TakenAway { taken, .. }, .. } = error else {
            panic!("{error:?}")
        };
        assert!(taken.others && taken.is_drafted, "{taken:?}");
        assert_eq!(named(&taken), ["snapshot", "timestamp"]);
        drop(repository);
        copy.write();
        not_ours(copy.recover(&site, &["snapshot", "timestamp"]));
    }
}

#[test]
fn a_pull_takes_nothing_from_a_thief_who_removes_a_root() {
    for layout in LAYOUTS {
        for is_written in [false, true] {
            for site in sites() {
                let honest = Copy::first(layout);
                honest.publish(&site).unwrap();
                let thief = honest.twin();
                steal(&thief);
                thief.publish(&site).unwrap();
                site.spoil("root.json", None);
                rotate_all(&honest);
                if is_written {
                    honest.write();
                }
                let mut repository = open(honest.path(), honest.now);
                let plan = repository.plan_pull(&site.destination(), TargetFiles::Leave, Duration::ZERO);
                let error = plan.unwrap_err();
                let RepositoryError::Refused { reason: Refusal::TakenAway { taken, .. }, .. } = error else {
                    panic!("{error:?}")
                };
                assert_eq!((named(&taken), taken.others), (ALL.to_vec(), false));
            }
        }
    }
}
