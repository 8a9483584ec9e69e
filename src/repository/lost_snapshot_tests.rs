//! Publications to places whose live snapshot is missing or damaged: the files of all roles stand in its place, and a number
//! is nobody's ancestor.

use std::fs;
use std::time::Duration;

use super::ancestry_tests::{Copy, LAYOUTS, Published, Site, not_ours, refused, sites};
use super::*;
use crate::metadata::RoleName;

/// Replaces what nobody can read at a place.
fn replace_damaged(copy: &Copy, site: &Site) -> Result<Published, RepositoryError> {
    let request = PublishRequest {
        damaged_roots: DamagedRoots::Replace,
        ..PublishRequest::new(Expiry::Enforce, Duration::ZERO)
    };
    copy.ask(site, &request)
}

#[track_caller]
fn is_lost<T: std::fmt::Debug>(result: Result<T, RepositoryError>) {
    match result.unwrap_err() {
        RepositoryError::Refused { file, reason: Refusal::LostSnapshot { .. } } => {
            assert_eq!(file, "metadata/timestamp.json");
        }
        error => panic!("{error:?}"),
    }
}

const DAMAGES: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"{\"signatures\": [], \"signed\": {}}")];

#[test]
fn a_release_whose_files_are_all_damaged_is_not_taken_for_the_copys_that_knows_its_number() {
    for layout in LAYOUTS {
        for released in ["targets", "team", "bins-2"] {
            for bytes in DAMAGES {
                for site in sites() {
                    let one = Copy::first(layout);
                    one.publish(&site).unwrap();
                    let other = one.twin();
                    one.release(&[released]).publish(&site).unwrap();
                    for role in [&RoleName::snapshot(), &RoleName::new(released).unwrap()] {
                        site.spoil(&layout.metadata_name(role, 2), bytes);
                    }
                    // this copy has a snapshot of that number too
                    other.release(&["team", "targets"]).release(&["targets"]).release(&["bins-1"]);
                    is_lost(other.publish(&site));
                    // the copy that wrote the release mends the place
                    one.publish(&site).unwrap();
                    not_ours(other.publish(&site));
                }
            }
        }
    }
}

#[test]
fn where_nobody_can_tell_the_place_is_replaced_on_demand_and_what_is_known_stays_protected() {
    for layout in LAYOUTS {
        for site in sites() {
            let one = Copy::first(layout);
            one.publish(&site).unwrap();
            let other = one.twin();
            one.release(&["targets", "team"]).publish(&site).unwrap();
            for role in [RoleName::snapshot(), RoleName::targets()] {
                site.spoil(&layout.metadata_name(&role, 2), None);
            }
            // the file of the team is a colleague's; in the plain layout nobody is left who delegates to it
            match layout {
                Layout::Consistent => assert!(not_ours(replace_damaged(&other, &site)).contains("team")),
                Layout::Plain => drop(refused(replace_damaged(&other, &site))),
            }
            site.spoil(&layout.metadata_name(&RoleName::new("team").unwrap(), 2), Some(b"{}"));
            // versions that would go down are refused all the same
            refused(replace_damaged(&other, &site));
            other.release(&["targets"]).release(&["targets", "team"]).release(&["team"]);
            is_lost(other.publish(&site));
            replace_damaged(&other, &site).unwrap();
            assert!(other.publish(&site).unwrap().is_empty);
            not_ours(one.release(&["targets"]).release(&["team"]).release(&["team"]).publish(&site));
        }
    }
}

#[test]
fn a_copy_whose_own_snapshot_is_lost_mends_the_place_though_it_has_written_since() {
    for bytes in DAMAGES {
        for site in sites() {
            let copy = Copy::first(Layout::Consistent);
            copy.publish(&site).unwrap();
            copy.release(&["targets", "bins-1"]).release(&["team"]).publish(&site).unwrap();
            site.spoil("3.snapshot.json", bytes);
            copy.release(&["targets"]).release(&["bins-3"]);
            copy.publish(&site).unwrap();
            assert!(copy.publish(&site).unwrap().is_empty);
        }
    }
    // in the plain layout the older snapshot is here no more: only the newest can be compared
    for site in sites() {
        let copy = Copy::first(Layout::Plain);
        copy.release(&["targets"]).publish(&site).unwrap();
        site.spoil("snapshot.json", None);
        copy.publish(&site).unwrap();
        site.spoil("snapshot.json", None);
        copy.release(&["timestamp"]).publish(&site).unwrap();
        site.spoil("snapshot.json", None);
        copy.release(&["team"]);
        is_lost(copy.publish(&site));
        replace_damaged(&copy, &site).unwrap();
    }
}

#[test]
fn a_copy_that_took_the_release_over_mends_a_place_that_has_older_files_of_others() {
    let site = Site::Folder(tempfile::tempdir().unwrap());
    let one = Copy::first(Layout::Consistent);
    one.publish(&site).unwrap();
    let mut other = one.twin();
    for _ in 0..3 {
        one.release(&["targets", "team"]).publish(&site).unwrap();
    }
    let mut repository = Repository::open_locked(other.path(), other.now, Duration::ZERO).unwrap();
    let plan = repository.plan_pull(&site.destination(), TargetFiles::Leave, Duration::ZERO).unwrap();
    repository.execute_pull(&plan, &site.destination(), &|_| {}).unwrap();
    drop((plan, repository));
    site.spoil("4.snapshot.json", Some(b"{"));
    other.now += chrono::TimeDelta::minutes(1);
    other.release(&["targets"]).publish(&site).unwrap();
}

#[test]
fn a_write_into_the_folder_that_lost_its_snapshot_goes_on_and_its_publication_asks() {
    for layout in LAYOUTS {
        let copy = Copy::first(layout);
        let own = || open_and_publish(&copy);
        own().unwrap();
        let role = RoleName::snapshot();
        copy.release(&["targets"]);
        own().unwrap();
        fs::remove_file(copy.path().join(METADATA).join(layout.metadata_name(&role, 2))).unwrap();
        copy.release(&["team"]).release(&["timestamp"]);
        match layout {
            Layout::Consistent => own().unwrap(),
            Layout::Plain => is_lost(own()),
        }
    }
}

fn open_and_publish(copy: &Copy) -> Result<(), RepositoryError> {
    let repository = super::testing::open(copy.path(), copy.now);
    let plan = repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO)?;
    repository.execute_publish(&plan, &|_| {})
}
