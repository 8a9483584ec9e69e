//! Places that have lost a root while somebody else has published there: what is signed by nobody known is no damage, and is
//! neither replaced nor put out of sight.

use std::time::Duration;

use super::ancestry_tests::{Copy, LAYOUTS, Published, Site, not_ours, refused, role, sites};
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
fn a_release_beside_a_timestamp_that_was_put_back_is_named_and_not_overwritten() {
    for rotates in [true, false] {
        for site in sites() {
            let one = Copy::first(Layout::Consistent);
            one.publish(&site).unwrap();
            let stale = one.twin();
            let old = written(&one, "timestamp.json");
            one.release(&["targets"]).publish(&site).unwrap();
            site.spoil("timestamp.json", Some(&old));
            stale.release(&["targets"]);
            // under the same number it is in the way
            let error = stale.publish(&site).unwrap_err();
            assert!(matches!(error, RepositoryError::Refused { reason: Refusal::Taken, .. }), "{error:?}");
            // the copy that wrote it goes on, and then the refusal is the usual one
            one.publish(&site).unwrap();
            refused(stale.publish(&site));
            site.spoil("timestamp.json", Some(&old));
            if rotates {
                stale.rotate("timestamp", 3, 7);
            }
            stale.release(&["targets"]);
            let published = stale.publish(&site).unwrap();
            assert_eq!(named(&published), ["metadata/2.snapshot.json"]);
            // the copy that wrote it learns that it was overtaken
            refused(one.publish(&site));
        }
    }
}

#[test]
fn a_publication_that_was_overtaken_stops_nobody() {
    for site in sites() {
        let one = Copy::first(Layout::Consistent);
        one.publish(&site).unwrap();
        let late = one.twin();
        one.release(&["targets"]);
        late.release(&["targets"]).release(&["targets"]);
        // all but the timestamp is there when the other copy's timestamp comes
        for name in ["3.targets.json", "3.snapshot.json"] {
            site.spoil(name, Some(&written(&late, name)));
        }
        for role in ["timestamp", "timestamp", "targets"] {
            assert_eq!(named(&one.publish(&site).unwrap()), ["metadata/3.snapshot.json"]);
            one.release(&[role]);
        }
        // the one that lost goes on above what is live, and above what it has left there
        refused(late.publish(&site));
        let mut repository = Repository::open_locked(late.path(), late.now, Duration::ZERO).unwrap();
        let request = PullRequest { targets: TargetFiles::Leave, work: Work::SetAside, wait: Duration::ZERO };
        let plan = repository.plan_pull_with(&site.destination(), request).unwrap();
        assert!(plan.warnings.iter().any(|warning| warning.message.contains("3.snapshot.json")));
        repository.execute_pull(&plan, &site.destination(), &|_| {}).unwrap();
        drop((plan, repository));
        late.edit(|repository| assert_eq!(repository.bump(&role("targets"), Some(4)).unwrap(), 4));
        late.edit(|repository| assert_eq!(repository.bump(&role("snapshot"), Some(4)).unwrap(), 4));
        late.write();
        late.publish(&site).unwrap();
        refused(one.publish(&site));
    }
}

/// The files that a publication warned of.
fn named(published: &Published) -> Vec<String> {
    published.warnings.iter().filter_map(|warning| warning.file.clone()).collect()
}

fn written(copy: &Copy, name: &str) -> Vec<u8> {
    std::fs::read(copy.path().join(STAGED).join(name)).unwrap()
}
