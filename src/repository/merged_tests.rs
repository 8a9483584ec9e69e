//! Publications by a copy whose files or history were merged with another copy's, by version control or by hand: a file or a
//! line that only lies beside this copy's own makes no ancestor.

use std::fs;

use super::ancestry_tests::{Copy, LAYOUTS, Site, not_ours, refused, sites};
use super::*;

/// Copies the files of one version of another copy into the written folder.
fn take_files(from: &Copy, into: &Copy, version: u64) {
    let staged = from.path().join(STAGED);
    for entry in fs::read_dir(&staged).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(&format!("{version}.")) {
            fs::copy(staged.join(&name), into.path().join(STAGED).join(&name)).unwrap();
        }
    }
}

/// Keeps the lines of both copies, as a merge in version control does.
fn merge_histories(from: &Copy, into: &Copy) {
    let [theirs, ours] = [from, into].map(|copy| fs::read_to_string(copy.path().join(HISTORY)).unwrap());
    fs::write(into.path().join(HISTORY), ours + &theirs).unwrap();
}

/// Two copies of a published repository: the first one has released some roles, of which the second knows nothing.
fn one_ahead(layout: Layout, site: &Site, released: &[&str]) -> (Copy, Copy) {
    let one = Copy::first(layout);
    one.publish(site).unwrap();
    let other = one.twin();
    one.release(released).publish(site).unwrap();
    (one, other)
}

fn bump_to(copy: &Copy, version: u64, roles: &[&str]) {
    copy.edit(|repository| {
        for name in roles {
            let found = repository.find_role(name).unwrap();
            repository.bump(&found, Some(version)).unwrap();
        }
    });
    copy.write();
}

#[test]
fn a_colleagues_files_that_are_copied_beside_the_written_ones_are_no_ancestors() {
    for released in [&["targets"][..], &["team"], &["bins-1", "team"], &["snapshot"]] {
        for site in sites() {
            let (one, other) = one_ahead(Layout::Consistent, &site, released);
            other.release(&["targets"]).release(&["targets", "team", "bins-1"]);
            take_files(&one, &other, 2);
            not_ours(other.publish(&site));
        }
    }
}

#[test]
fn a_merge_that_takes_the_colleagues_files_and_the_lines_of_both_sides_makes_no_ancestors() {
    for released in [&["targets"][..], &["team"], &["bins-1"]] {
        for site in sites() {
            let (one, other) = one_ahead(Layout::Consistent, &site, released);
            other.release(&["targets"]).release(&["targets", "team", "bins-1"]);
            take_files(&one, &other, 2);
            merge_histories(&one, &other);
            refused(other.publish(&site));
            // nor after the next release
            refused(other.release(&["targets"]).publish(&site));
        }
    }
}

#[test]
fn a_colleagues_root_that_is_copied_between_the_own_roots_is_no_ancestor() {
    for layout in LAYOUTS {
        for merged in [false, true] {
            for site in sites() {
                let one = Copy::first(layout);
                one.publish(&site).unwrap();
                let other = one.twin();
                one.rotate("targets", 1, 5);
                one.write();
                one.publish(&site).unwrap();
                other.release(&["root"]).release(&["root", "snapshot"]);
                let name = "2.root.json";
                fs::copy(one.path().join(STAGED).join(name), other.path().join(STAGED).join(name)).unwrap();
                if merged {
                    merge_histories(&one, &other);
                }
                refused(other.publish(&site));
            }
        }
    }
}

#[test]
fn versions_that_this_copy_has_skipped_are_the_colleagues_whatever_the_history_says_after_a_merge() {
    let all = ["targets", "team", "snapshot", "timestamp"];
    for layout in LAYOUTS {
        for version in [3, 40, 2_000_000] {
            for site in sites() {
                let (one, other) = one_ahead(layout, &site, &["targets", "team"]);
                bump_to(&other, version, &all);
                merge_histories(&one, &other);
                refused(other.publish(&site));
                take_files(&one, &other, 2);
                refused(other.publish(&site));
                // nor where the merge comes before the next release
                refused(other.release(&["targets"]).publish(&site));
            }
        }
    }
}

#[test]
fn a_merge_before_the_jump_makes_no_ancestors_either() {
    let all = ["targets", "team", "snapshot", "timestamp"];
    for layout in LAYOUTS {
        for site in sites() {
            let (one, other) = one_ahead(layout, &site, &["targets"]);
            one.release(&["team"]).release(&["targets"]).publish(&site).unwrap();
            merge_histories(&one, &other);
            bump_to(&other, 9, &all);
            refused(other.publish(&site));
            merge_histories(&one, &other);
            refused(other.publish(&site));
        }
    }
}

#[test]
fn a_copy_that_skips_versions_goes_on_from_its_own_older_places() {
    for layout in LAYOUTS {
        let [one, other] = sites();
        let copy = Copy::first(layout);
        copy.publish(&one).unwrap();
        bump_to(&copy, 7, &["targets", "snapshot"]);
        copy.publish(&other).unwrap();
        bump_to(&copy, 5_000, &["targets", "team", "snapshot", "timestamp"]);
        copy.publish(&one).unwrap();
        copy.publish(&other).unwrap();
        copy.rotate("snapshot", 2, 5);
        copy.write();
        copy.publish(&one).unwrap();
    }
}

/// Takes a colleague's history in the place of the own one, as `git checkout --theirs .tuf-history` does.
fn take_history(from: &Copy, into: &Copy) {
    fs::copy(from.path().join(HISTORY), into.path().join(HISTORY)).unwrap();
}

/// Removes the files of one version, as `gc` does.
fn lose_files(copy: &Copy, version: u64) {
    let staged = copy.path().join(STAGED);
    for entry in fs::read_dir(&staged).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(&format!("{version}.")) && !name.ends_with("root.json") {
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn a_colleagues_history_in_the_place_of_the_own_one_vouches_for_nothing_of_the_colleague() {
    let all = ["targets", "team", "snapshot", "timestamp"];
    for layout in LAYOUTS {
        for gone in [&[][..], &[2], &[1, 2]] {
            for jumps in [true, false] {
                for site in sites() {
                    let (one, other) = one_ahead(layout, &site, &["targets", "bins-1"]);
                    if jumps {
                        bump_to(&other, 3, &all);
                    } else {
                        other.release(&["targets"]).release(&["targets", "team", "bins-1"]);
                    }
                    take_history(&one, &other);
                    gone.iter().for_each(|version| lose_files(&other, *version));
                    refused(other.publish(&site));
                    // nor after the next release, which goes on from no line of the colleague
                    refused(other.release(&["targets"]).publish(&site));
                    take_files(&one, &other, 2);
                    refused(other.publish(&site));
                    fs::write(other.path().join(HISTORY), "").unwrap();
                    refused(other.publish(&site));
                    one.release(&["team"]).publish(&site).unwrap();
                }
            }
        }
    }
}

#[test]
fn without_its_history_a_copy_is_not_deceived_by_a_colleagues_files_beside_the_written_ones() {
    for released in [&["targets"][..], &["team"], &["bins-1", "team"]] {
        for site in sites() {
            let (one, other) = one_ahead(Layout::Consistent, &site, released);
            other.release(&["targets"]).release(&["targets", "team", "bins-1"]);
            fs::remove_file(other.path().join(HISTORY)).unwrap();
            lose_files(&other, 2);
            take_files(&one, &other, 2);
            not_ours(other.publish(&site));
            not_ours(other.release(&["targets"]).publish(&site));
        }
    }
}

#[test]
fn a_colleagues_root_among_the_own_ones_is_no_ancestor_with_the_colleagues_history_or_with_none() {
    for layout in LAYOUTS {
        for history in [true, false] {
            for site in sites() {
                let one = Copy::first(layout);
                one.publish(&site).unwrap();
                let other = one.twin();
                one.rotate("targets", 1, 5);
                one.write();
                one.publish(&site).unwrap();
                other.release(&["root"]).release(&["root"]);
                let name = "2.root.json";
                fs::copy(one.path().join(STAGED).join(name), other.path().join(STAGED).join(name)).unwrap();
                if history {
                    take_history(&one, &other);
                } else {
                    fs::remove_file(other.path().join(HISTORY)).unwrap();
                }
                refused(other.publish(&site));
            }
        }
    }
}

#[test]
fn a_copy_that_has_lost_its_history_goes_on_from_what_is_live_whatever_roots_lead_there() {
    for layout in LAYOUTS {
        for site in sites() {
            let copy = Copy::first(layout);
            copy.release(&["root"]).release(&["root", "targets"]).publish(&site).unwrap();
            fs::remove_file(copy.path().join(HISTORY)).unwrap();
            assert!(copy.publish(&site).unwrap().is_empty);
            copy.release(&["root", "team"]).publish(&site).unwrap();
            // also where somebody else's has come in its place
            take_history(&Copy::first(layout), &copy);
            copy.publish(&site).unwrap();
            copy.release(&["targets"]).publish(&site).unwrap();
        }
    }
}

/// Takes files of a colleague's written metadata over this copy's, as `git checkout --theirs` does.
fn take_written(from: &Copy, into: &Copy, names: &[&str]) {
    for name in names {
        fs::copy(from.path().join(STAGED).join(name), into.path().join(STAGED).join(name)).unwrap();
    }
}

#[test]
fn a_colleagues_history_and_snapshot_beside_the_own_targets_vouch_for_nothing() {
    for role in ["targets", "team", "bins-1"] {
        for site in sites() {
            let (one, other) = one_ahead(Layout::Plain, &site, &[role]);
            other.release(&[role]);
            take_written(&one, &other, &["timestamp.json", "snapshot.json"]);
            take_history(&one, &other);
            refused(other.publish(&site));
            // nor after the next release of that role, or of another one
            let next = other.twin();
            refused(next.release(&[role]).publish(&site));
            refused(other.release(&["bins-2"]).publish(&site));
        }
    }
}

/// Removes the files of the first two versions of some roles and of the snapshot.
fn lose_older(copy: &Copy, roles: &[&str]) {
    for role in roles.iter().chain(&["snapshot"]) {
        for version in [1, 2] {
            let name = format!("{version}.{role}.json");
            let path = copy.path().join(STAGED).join(name);
            if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn nor_where_this_copy_is_two_writes_ahead_and_writes_something_else_next() {
    for role in ["targets", "team", "bins-1"] {
        for next in [&["timestamp"][..], &["snapshot"], &["bins-2"]] {
            for site in sites() {
                let (one, other) = one_ahead(Layout::Plain, &site, &[role]);
                other.release(&[role]).release(&[role]);
                take_written(&one, &other, &["timestamp.json", "snapshot.json"]);
                take_history(&one, &other);
                other.release(next);
                refused(other.publish(&site));
            }
        }
    }
}

#[test]
fn a_history_that_was_lost_once_vouches_for_nothing_older_after_a_merge() {
    for layout in LAYOUTS {
        for released in [&["targets"][..], &["team", "bins-1"]] {
            for site in sites() {
                let (one, other) = one_ahead(layout, &site, released);
                other.release(released).release(released);
                fs::remove_file(other.path().join(HISTORY)).unwrap();
                lose_older(&other, released);
                other.release(released);
                merge_histories(&one, &other);
                refused(other.publish(&site));
                refused(other.release(released).publish(&site));
            }
        }
    }
}
