//! Places that have lost a root while somebody else has published there: what is signed by nobody known is no damage, and is
//! neither replaced nor put out of sight.

use std::time::Duration;

use super::ancestry_tests::{Copy, LAYOUTS, Site, not_ours, refused, role, sites};
use super::*;

/// Asserts that a publication is refused, also with leave to replace what is damaged, and returns the name of the file.
#[track_caller]
fn unreached(copy: &Copy, site: &Site) -> String {
    let mut named = String::new();
    for damaged_roots in [DamagedRoots::Refuse, DamagedRoots::Replace] {
        let request =
            PublishRequest { damaged_roots, ..PublishRequest::new(Expiry::Enforce, Duration::ZERO) };
        match copy.ask(site, &request).unwrap_err() {
            RepositoryError::Refused { file, reason: Refusal::Unreached { .. } } => named = file,
            error => panic!("{error:?}"),
        }
    }
    named
}

/// Two copies of a published repository. The first one has published roots that take away the old keys of some roles.
fn rotated(layout: Layout, site: &Site, roles: &[(&str, usize, usize)]) -> (Copy, Copy) {
    let one = Copy::first(layout);
    one.publish(site).unwrap();
    let stale = one.twin();
    one.release(&["root"]).publish(site).unwrap();
    for (name, old, new) in roles {
        one.rotate(name, *old, *new);
    }
    one.release(&["targets"]).publish(site).unwrap();
    (one, stale)
}

const ALL: [(&str, usize, usize); 3] = [("targets", 1, 5), ("snapshot", 2, 6), ("timestamp", 3, 7)];

#[test]
fn a_stale_copy_does_not_publish_below_a_root_that_no_root_leads_to_any_more() {
    for layout in LAYOUTS {
        for spoilt in [None, Some(&b"{"[..])] {
            for site in sites() {
                let (one, stale) = rotated(layout, &site, &ALL);
                site.spoil("2.root.json", spoilt);
                stale.release(&["targets"]);
                assert_eq!(unreached(&stale, &site), "metadata/3.root.json");
                // nor where it has written a root of that number itself, which leads there
                stale.release(&["root", "targets"]);
                assert_eq!(not_ours(stale.publish(&site)), "metadata/3.root.json");
                // the copy that knows the roots mends the place
                one.publish(&site).unwrap();
                assert!(refused(stale.publish(&site)).contains("root"));
            }
        }
    }
}

#[test]
fn what_is_signed_with_keys_that_only_a_lost_root_names_is_no_damage() {
    for layout in LAYOUTS {
        for spoilt in [None, Some(&b"<html>"[..])] {
            for rotations in [&ALL[..], &ALL[2..], &ALL[1..]] {
                for site in sites() {
                    let (one, stale) = rotated(layout, &site, rotations);
                    for name in ["2.root.json", "3.root.json", "root.json"] {
                        site.spoil(name, spoilt);
                    }
                    stale.release(&["targets"]).release(&["root", "targets", "timestamp"]);
                    unreached(&stale, &site);
                    one.publish(&site).unwrap();
                }
            }
        }
    }
}

#[test]
fn without_any_root_a_place_is_replaced_on_demand_only_where_nobody_unknown_has_signed_what_is_there() {
    for layout in LAYOUTS {
        for site in sites() {
            let (one, stale) = rotated(layout, &site, &ALL);
            for name in ["1.root.json", "2.root.json", "3.root.json", "root.json"] {
                site.spoil(name, None);
            }
            stale.release(&["targets"]);
            unreached(&stale, &site);
            // another repository's place
            unreached(&Copy::first(layout), &site);
            let damaged_roots = DamagedRoots::Replace;
            let request =
                PublishRequest { damaged_roots, ..PublishRequest::new(Expiry::Enforce, Duration::ZERO) };
            one.ask(&site, &request).unwrap();
        }
    }
}

#[test]
fn damage_to_what_known_keys_have_signed_is_mended_as_before() {
    for layout in LAYOUTS {
        for site in sites() {
            let (one, _) = rotated(layout, &site, &ALL);
            one.release(&["root"]).publish(&site).unwrap();
            for name in ["timestamp.json", "4.root.json", "root.json"] {
                let bytes = std::fs::read_to_string(one.path().join(STAGED).join(name)).unwrap();
                site.spoil(name, Some(bytes.replacen("2031", "2032", 1).as_bytes()));
            }
            one.publish(&site).unwrap();
            assert!(one.publish(&site).unwrap().is_empty);
        }
    }
}

#[test]
fn a_release_beside_a_timestamp_that_was_put_back_is_replaced_only_on_demand() {
    for rotates in [true, false] {
        for site in sites() {
            let one = Copy::first(Layout::Consistent);
            one.publish(&site).unwrap();
            let stale = one.twin();
            let old = std::fs::read(one.path().join(STAGED).join("timestamp.json")).unwrap();
            one.release(&["targets"]).publish(&site).unwrap();
            site.spoil("timestamp.json", Some(&old));
            if rotates {
                stale.rotate("timestamp", 3, 7);
            }
            stale.release(&["targets"]).release(&["targets"]);
            let error = stale.publish(&site).unwrap_err();
            let RepositoryError::Refused { file, reason: Refusal::Above } = error else {
                panic!("{error:?}")
            };
            assert_eq!(file, "metadata/2.snapshot.json");
            // the copy that wrote it goes on, and then the refusal is the usual one
            let ahead = one.twin();
            one.publish(&site).unwrap();
            refused(stale.publish(&site));
            site.spoil("timestamp.json", Some(&old));
            ahead.release(&["team"]).publish(&site).unwrap();
            site.spoil("timestamp.json", Some(&old));
            let request = PublishRequest {
                damaged_roots: DamagedRoots::Replace,
                ..PublishRequest::new(Expiry::Enforce, Duration::ZERO)
            };
            // what is there is not overwritten: the next free version takes its place
            stale.edit(|repository| repository.bump(&role("team"), Some(5)).map(drop).unwrap());
            stale.release(&["targets"]).ask(&site, &request).unwrap();
        }
    }
}
