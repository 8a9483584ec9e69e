//! Which requests an update makes, what it keeps, and what it refuses.

use tuf::client::{ClientError, Code, Limits};
use tuf::crypto::Signer;
use tuf::metadata::{Hashes, KeyId, Threshold};

use crate::simulator::{Client, Listing, Simulator, earlier, key, later};

fn code(result: Result<(), ClientError>) -> Code {
    result.unwrap_err().code()
}

#[test]
fn a_fresh_refresh_asks_for_the_next_root_and_three_roles() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
    for name in ["root", "timestamp", "snapshot", "targets"] {
        let stored = std::fs::read(client.file(&format!("{name}.json"))).unwrap();
        assert_eq!(stored, simulator.files[&format!("/metadata/{name}.json")]);
    }
}

#[test]
fn nothing_new_costs_two_requests() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.requests();
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn a_new_timestamp_of_a_known_snapshot_costs_two_requests() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.requests();
    simulator.timestamp.version += 1;
    simulator.publish_timestamp();
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json"]);
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v2");
}

#[test]
fn the_plain_layout_has_no_versions_in_names_but_the_roots() {
    let simulator = Simulator::plain();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"]);
}

#[test]
fn the_layout_may_change_from_root_to_root() {
    let mut simulator = Simulator::plain();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.requests();
    simulator.next_root(|simulator| simulator.root.consistent_snapshot = true);
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    let expected = ["2.root.json", "3.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];
    assert_eq!(simulator.requests(), expected);
}

#[test]
fn files_are_stored_byte_for_byte_and_nothing_else_is_visible() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.files.get_mut("/metadata/timestamp.json").unwrap().extend_from_slice(b" \n ");
    client.refresh(&simulator).unwrap();
    let stored = std::fs::read(client.file("timestamp.json")).unwrap();
    assert_eq!(stored, simulator.files["/metadata/timestamp.json"]);
    let names = std::fs::read_dir(client.path().join("metadata")).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [".lock", ".tuf-put", ".verified", "root.json", "snapshot.json", "targets.json", "timestamp.json"]
    );
}

#[test]
fn each_root_of_a_chain_is_stored_as_it_is_verified() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    for _ in 0..3 {
        simulator.next_root(|simulator| simulator.trust("root", vec![key(), key()], 2));
    }
    simulator.statuses.insert("/metadata/4.root.json".to_owned(), 500);
    assert_eq!(code(client.refresh(&simulator)), Code::Download);
    assert_eq!(client.trusted(), "root v3");
    simulator.statuses.clear();
    simulator.requests();
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests()[..2], ["4.root.json", "5.root.json"]);
    assert_eq!(client.trusted(), "root v4 snapshot v1 targets v1 timestamp v1");
}

#[test]
fn forbidden_missing_and_gone_mean_no_newer_root() {
    for status in [403, 404, 410] {
        let mut simulator = Simulator::new();
        let client = Client::new(&simulator);
        simulator.statuses.insert("/metadata/2.root.json".to_owned(), status);
        client.refresh(&simulator).unwrap();
    }
}

#[test]
fn one_update_takes_a_bounded_number_of_roots() {
    let mut simulator = Simulator::new();
    let mut client = Client::new(&simulator);
    client.limits = Limits { root_rotations: 2, ..Limits::default() };
    for _ in 0..3 {
        simulator.next_root(|_| ());
    }
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests()[..3], ["2.root.json", "3.root.json", "timestamp.json"]);
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v4 snapshot v1 targets v1 timestamp v1");
}

#[test]
fn an_expired_intermediate_root_is_passed_by() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.next_root(|simulator| simulator.root.expires = earlier());
    simulator.next_root(|simulator| simulator.root.expires = later());
    client.refresh(&simulator).unwrap();
}

#[test]
fn an_expired_final_root_is_stored_and_ends_the_update() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.next_root(|simulator| simulator.root.expires = earlier());
    assert_eq!(code(client.refresh(&simulator)), Code::ExpiredMetadata);
    assert_eq!(simulator.requests(), ["2.root.json", "3.root.json"]);
    assert_eq!(client.trusted(), "root v2");
}

#[test]
fn an_expired_timestamp_is_not_stored() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.timestamp.expires = earlier();
    simulator.update_all();
    assert_eq!(code(client.refresh(&simulator)), Code::ExpiredMetadata);
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v1");
}

#[test]
fn an_expired_snapshot_is_not_stored() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.snapshot.expires = earlier();
    simulator.update_all();
    assert_eq!(code(client.refresh(&simulator)), Code::ExpiredMetadata);
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v2");
}

#[test]
fn expired_targets_are_not_stored() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.targets.get_mut("targets").unwrap().expires = earlier();
    simulator.update_all();
    assert_eq!(code(client.refresh(&simulator)), Code::ExpiredMetadata);
    assert_eq!(client.trusted(), "root v1 snapshot v2 targets v1 timestamp v2");
}

#[test]
fn a_frozen_repository_is_noticed_when_its_timestamp_expires() {
    let simulator = Simulator::new();
    let mut client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.requests();
    client.now = later();
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::ExpiredMetadata, "root"));
    assert_eq!(simulator.requests(), ["2.root.json"]);
}

#[test]
fn the_same_timestamp_again_does_not_outlive_its_expiry() {
    let mut simulator = Simulator::new();
    simulator.timestamp.expires = crate::simulator::now() + chrono::TimeDelta::days(1);
    simulator.publish_timestamp();
    let mut client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.requests();
    client.now += chrono::TimeDelta::days(2);
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::ExpiredMetadata, "timestamp"));
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn a_timestamp_that_goes_back_is_a_replay() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    simulator.timestamp.version = 1;
    simulator.publish_timestamp();
    assert_eq!(code(client.refresh(&simulator)), Code::ReplayedMetadata);
    assert_eq!(client.trusted(), "root v1 snapshot v2 targets v2 timestamp v2");
}

#[test]
fn an_expired_local_timestamp_still_unmasks_a_replay() {
    let mut simulator = Simulator::new();
    let mut client = Client::new(&simulator);
    simulator.timestamp.expires = crate::simulator::now() + chrono::TimeDelta::days(1);
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    client.now += chrono::TimeDelta::days(2);
    (simulator.timestamp.version, simulator.timestamp.expires) = (1, later());
    simulator.publish_timestamp();
    assert_eq!(code(client.refresh(&simulator)), Code::ReplayedMetadata);
}

#[test]
fn a_snapshot_that_goes_back_is_a_replay() {
    for listing in [Listing::Versions, Listing::Digests] {
        let mut simulator = Simulator::new();
        simulator.listing = listing;
        let client = Client::new(&simulator);
        simulator.update_all();
        client.refresh(&simulator).unwrap();
        simulator.snapshot.version = 1;
        simulator.timestamp.version = 3;
        simulator.publish_all();
        assert_eq!(code(client.refresh(&simulator)), Code::ReplayedMetadata);
        assert_eq!(client.trusted(), "root v1 snapshot v2 targets v2 timestamp v2");
    }
}

#[test]
fn targets_that_go_back_are_a_replay() {
    for listing in [Listing::Versions, Listing::Digests] {
        let mut simulator = Simulator::new();
        simulator.listing = listing;
        let client = Client::new(&simulator);
        simulator.update_all();
        client.refresh(&simulator).unwrap();
        simulator.targets.get_mut("targets").unwrap().version = 1;
        (simulator.snapshot.version, simulator.timestamp.version) = (3, 3);
        simulator.publish_all();
        assert_eq!(code(client.refresh(&simulator)), Code::ReplayedMetadata);
        assert_eq!(client.trusted(), "root v1 snapshot v2 targets v2 timestamp v3");
    }
}

#[test]
fn rejects_snapshot_that_drops_a_role() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "a", |_| ());
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.snapshot.meta.retain(|name| name != "a.json");
    (simulator.snapshot.version, simulator.timestamp.version) = (2, 2);
    simulator.publish_snapshot();
    simulator.publish_timestamp();
    assert_eq!(code(client.refresh(&simulator)), Code::ReplayedMetadata);
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v2");
}

#[test]
fn metadata_of_another_version_than_its_name_is_refused() {
    for (name, trusted) in [
        ("root", "root v1"),
        ("snapshot", "root v1 timestamp v2"),
        ("targets", "root v1 snapshot v2 timestamp v2"),
    ] {
        let mut simulator = Simulator::new();
        let client = Client::new(&simulator);
        simulator.update_all();
        let old = simulator.files[&format!("/metadata/1.{name}.json")].clone();
        simulator.files.insert(format!("/metadata/2.{name}.json"), old);
        assert_eq!(code(client.refresh(&simulator)), Code::BadVersionNumber, "{name}");
        assert_eq!(client.trusted(), trusted);
    }
}

#[test]
fn metadata_below_its_threshold_is_refused() {
    for (name, trusted) in [
        ("timestamp", "root v2"),
        ("snapshot", "root v2 timestamp v2"),
        ("targets", "root v2 snapshot v2 timestamp v2"),
    ] {
        let mut simulator = Simulator::new();
        let client = Client::new(&simulator);
        simulator.next_root(|simulator| simulator.trust(name, vec![key(), key()], 2));
        simulator.keys.get_mut(name).unwrap().pop();
        simulator.update_all();
        let error = client.refresh(&simulator).unwrap_err();
        assert_eq!((error.code(), error.subject().as_str()), (Code::BadSignature, name));
        assert_eq!(client.trusted(), trusted);
    }
}

#[test]
fn a_root_by_new_keys_alone_is_refused() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.root.version = 2;
    simulator.trust("root", vec![key()], 1);
    simulator.publish_root();
    assert_eq!(code(client.refresh(&simulator)), Code::BadSignature);
    assert_eq!(client.trusted(), "root v1");
}

#[test]
fn metadata_that_is_not_what_was_announced_is_refused() {
    let mut simulator = Simulator::new();
    simulator.listing = Listing::Digests;
    let client = Client::new(&simulator);
    simulator.update_all();
    let wrong = simulator.timestamp.meta.get_mut("snapshot.json").unwrap();
    let mut hashes = Hashes::default();
    hashes.insert("sha256", &"0".repeat(64));
    wrong.hashes = Some(hashes);
    simulator.publish_timestamp();
    assert_eq!(code(client.refresh(&simulator)), Code::BadHash);
    assert_eq!(client.trusted(), "root v1 timestamp v2");
}

#[test]
fn shorter_metadata_than_announced_is_refused() {
    let mut simulator = Simulator::new();
    simulator.listing = Listing::Digests;
    let client = Client::new(&simulator);
    simulator.update_all();
    simulator.files.get_mut("/metadata/2.snapshot.json").unwrap().pop();
    assert_eq!(code(client.refresh(&simulator)), Code::LengthMismatch);
}

#[test]
fn endless_metadata_is_cut_off() {
    for (file, subject) in [
        ("2.root.json", "root"),
        ("timestamp.json", "timestamp"),
        ("1.snapshot.json", "snapshot"),
        ("1.targets.json", "targets"),
    ] {
        let mut simulator = Simulator::new();
        let client = Client::new(&simulator);
        simulator.files.insert(format!("/metadata/{file}"), vec![b' '; 5_000_001]);
        let error = client.refresh(&simulator).unwrap_err();
        assert_eq!((error.code(), error.subject().as_str()), (Code::EndlessData, subject));
    }
}

#[test]
fn a_listed_length_is_the_bound() {
    let mut simulator = Simulator::new();
    simulator.listing = Listing::Digests;
    let client = Client::new(&simulator);
    simulator.update_all();
    simulator.files.get_mut("/metadata/2.targets.json").unwrap().push(b' ');
    assert_eq!(code(client.refresh(&simulator)), Code::EndlessData);
}

#[test]
fn what_is_not_metadata_is_named() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.files.insert("/metadata/timestamp.json".to_owned(), b"<html>".to_vec());
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::InvalidMetadata, "timestamp"));
}

#[test]
fn metadata_of_another_type_is_refused_though_it_is_signed_well() {
    let mut simulator = Simulator::new();
    let timestamp = simulator.keys["timestamp"].clone();
    simulator.next_root(|simulator| simulator.trust("snapshot", timestamp, 1));
    let client = Client::new(&simulator);
    simulator.update_all();
    let snapshot = simulator.files["/metadata/snapshot.json"].clone();
    simulator.files.insert("/metadata/timestamp.json".to_owned(), snapshot);
    assert_eq!(code(client.refresh(&simulator)), Code::InvalidMetadata);
}

/// An updater is one update. A second refresh of the same one failed always, and after a rotation it had lost its targets.
#[test]
fn a_program_that_lives_long_makes_an_updater_for_each_update_and_sees_all_that_is_new() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "app", b"first");
    simulator.publish_all();
    let client = Client::new(&simulator);
    for round in 2..6 {
        assert_eq!(client.updater(&simulator).unwrap().versions().timestamp, Some(round - 1));
        // nothing new
        assert_eq!(client.updater(&simulator).unwrap().versions().timestamp, Some(round - 1));
        simulator.next_root(|simulator| match round % 2 {
            0 => simulator.trust("timestamp", vec![key()], 1),
            _ => simulator.trust("targets", vec![key()], 1),
        });
        simulator.add_target("targets", "app", format!("{round}").as_bytes());
        simulator.update_all();
        let mut updater = client.updater(&simulator).unwrap();
        assert_eq!((updater.versions().root, updater.versions().targets), (round, Some(round)));
        let (role, info) = updater.target_info("app").unwrap().unwrap();
        assert_eq!((role.as_str(), info.length), ("targets", 1));
    }
}

/// Spec 5.3.5: exactly the next version.
#[test]
fn a_root_that_skips_versions_is_refused_in_both_layouts() {
    for mut simulator in [Simulator::new(), Simulator::plain()] {
        let client = Client::new(&simulator);
        for _ in 0..2 {
            simulator.next_root(|_| ());
        }
        let third = simulator.files["/metadata/3.root.json"].clone();
        simulator.files.insert("/metadata/2.root.json".to_owned(), third);
        assert_eq!(code(client.refresh(&simulator)), Code::BadVersionNumber);
        assert_eq!(client.trusted(), "root v1");
        let first = simulator.files["/metadata/1.root.json"].clone();
        simulator.files.insert("/metadata/2.root.json".to_owned(), first);
        assert_eq!(code(client.refresh(&simulator)), Code::BadVersionNumber);
        assert_eq!(client.trusted(), "root v1");
    }
}

/// Spec 5.4.3.1: what stands there under the same version is not taken, whatever it says.
#[test]
fn a_timestamp_of_the_same_version_with_other_content_is_nothing_new() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    let before = std::fs::read(client.file("timestamp.json")).unwrap();
    simulator.snapshot.version = 2;
    simulator.targets.get_mut("targets").unwrap().version = 2;
    simulator.timestamp.expires += chrono::Duration::days(9);
    simulator.publish_all();
    client.refresh(&simulator).unwrap();
    assert_eq!(std::fs::read(client.file("timestamp.json")).unwrap(), before);
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v1");
}

/// A threshold counts keys. One key that a root names twice signs once.
#[test]
fn one_key_under_two_ids_meets_no_threshold_of_two() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut simulator = Simulator::new();
        let client = Client::new(&simulator);
        simulator.next_root(|simulator| {
            let alias = KeyId::new("alias");
            let own = simulator.keys[role][0].public_key().clone();
            simulator.root.keys.insert(alias.clone(), own);
            let keys = simulator.root.roles.get_mut(role).unwrap();
            keys.keyids.push(alias);
            keys.threshold = Threshold::new(2).unwrap();
        });
        simulator.update_all();
        // each file of the role, signed under both ids
        let names: Vec<String> =
            simulator.files.keys().filter(|name| name.ends_with(&format!("{role}.json"))).cloned().collect();
        for name in names {
            let mut value: serde_json::Value = serde_json::from_slice(&simulator.files[&name]).unwrap();
            let mut twin = value["signatures"][0].clone();
            twin["keyid"] = "alias".into();
            value["signatures"].as_array_mut().unwrap().push(twin);
            simulator.files.insert(name, value.to_string().into_bytes());
        }
        let error = client.refresh(&simulator).unwrap_err();
        assert_eq!((error.code(), error.subject().as_str()), (Code::BadSignature, role), "{error}");
        assert!(error.to_string().contains("has 1 of 2 required signatures"), "{error}");
    }
}
