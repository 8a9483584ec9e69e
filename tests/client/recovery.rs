//! Recovery: from rotated keys, from damaged files, from clients that were killed.

use tuf::client::{
    ClientError, Code, FirstRoot, Limits, LocalMetadata, Mirrors, Repository, init, init_from_repository,
};
use tuf::metadata::MetaMap;
use url::Url;

use crate::simulator::{BASE, Client, Simulator, key, now, role};

#[test]
fn a_rotated_timestamp_key_recovers_from_a_fast_forward() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.timestamp.version = 1000;
    simulator.publish_timestamp();
    client.refresh(&simulator).unwrap();
    simulator.next_root(|simulator| simulator.trust("timestamp", vec![key()], 1));
    simulator.timestamp.version = 2;
    simulator.publish_timestamp();
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v2 snapshot v1 targets v1 timestamp v2");
}

#[test]
fn a_rotated_snapshot_key_recovers_from_a_fast_forward() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.snapshot.version = 1000;
    simulator.targets.get_mut("targets").unwrap().version = 1000;
    simulator.delegate("targets", "gone", |_| ());
    simulator.publish_all();
    client.refresh(&simulator).unwrap();
    simulator.next_root(|simulator| simulator.trust("snapshot", vec![key()], 1));
    simulator.targets.remove("gone");
    simulator.snapshot.meta = MetaMap::new();
    simulator.targets.get_mut("targets").unwrap().version = 2;
    (simulator.snapshot.version, simulator.timestamp.version) = (2, 2);
    simulator.publish_all();
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v2 snapshot v2 targets v2 timestamp v2");
}

#[test]
fn a_key_that_is_dropped_beside_others_counts_as_rotated() {
    let mut simulator = Simulator::new();
    let (kept, dropped) = (key(), key());
    simulator.next_root(|simulator| simulator.trust("timestamp", vec![kept.clone(), dropped], 1));
    simulator.timestamp.version = 1000;
    simulator.publish_timestamp();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.next_root(|simulator| simulator.trust("timestamp", vec![kept], 1));
    simulator.timestamp.version = 2;
    simulator.publish_timestamp();
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v3 snapshot v1 targets v1 timestamp v2");
}

#[test]
fn a_key_that_is_added_lets_local_copies_be() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.requests();
    let old = simulator.keys["snapshot"][0].clone();
    simulator.next_root(|simulator| simulator.trust("snapshot", vec![old, key()], 1));
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests(), ["2.root.json", "3.root.json", "timestamp.json"]);
}

#[test]
fn damaged_local_files_are_replaced_and_never_trusted() {
    for damage in [&b""[..], b"{}", b"not json", &[0xff; 100]] {
        let simulator = Simulator::new();
        let client = Client::new(&simulator);
        client.refresh(&simulator).unwrap();
        for name in ["timestamp.json", "snapshot.json", "targets.json"] {
            std::fs::write(client.file(name), damage).unwrap();
        }
        client.refresh(&simulator).unwrap();
        assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v1");
    }
}

#[test]
fn a_local_file_with_a_forged_signature_is_nothing() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    let honest = simulator.keys["timestamp"].clone();
    simulator.keys.insert("timestamp".to_owned(), vec![key()]);
    simulator.timestamp.version = 1000;
    simulator.publish_timestamp();
    std::fs::write(client.file("timestamp.json"), &simulator.files["/metadata/timestamp.json"]).unwrap();
    simulator.keys.insert("timestamp".to_owned(), honest);
    simulator.timestamp.version = 1;
    simulator.publish_timestamp();
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v1");
}

#[test]
fn an_update_that_broke_off_is_finished_by_the_next() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    simulator.update_all();
    for file in ["2.snapshot.json", "2.targets.json"] {
        simulator.statuses.insert(format!("/metadata/{file}"), 503);
        assert_eq!(client.refresh(&simulator).unwrap_err().code(), Code::Download);
        simulator.statuses.clear();
    }
    simulator.requests();
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json", "2.targets.json"]);
}

#[test]
fn a_snapshot_that_is_missing_is_named() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.files.remove("/metadata/1.snapshot.json");
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::Download, "snapshot"));
    assert_eq!(client.trusted(), "root v1 timestamp v1");
}

#[test]
fn left_overs_of_killed_clients_are_swept() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    let left_over = client.file(".tuf-fetch/1.0.part");
    std::fs::create_dir_all(&left_over).unwrap();
    std::fs::write(left_over.join("0"), b"half a root").unwrap();
    client.refresh(&simulator).unwrap();
    assert!(!client.file(".tuf-fetch").exists());
}

#[test]
fn a_folder_without_a_root_is_left_as_it_is() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    std::fs::remove_dir_all(client.path().join("metadata")).unwrap();
    std::fs::create_dir(client.path().join("metadata")).unwrap();
    assert!(matches!(client.refresh(&simulator), Err(ClientError::NotInitialised { .. })));
    assert_eq!(std::fs::read_dir(client.path().join("metadata")).unwrap().count(), 0);
    assert_eq!(simulator.requests(), [""; 0]);
}

#[test]
fn a_damaged_local_root_is_named_and_no_request_is_made() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    std::fs::write(client.file("root.json"), b"{}").unwrap();
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::InvalidMetadata, "root"));
    assert_eq!(simulator.requests(), [""; 0]);
    init(&client.local(), &simulator.files["/metadata/root.json"], now()).unwrap();
    client.refresh(&simulator).unwrap();
}

#[test]
fn another_root_over_a_trusted_one_is_refused() {
    let (one, other) = (Simulator::new(), Simulator::new());
    let client = Client::new(&one);
    let again = init(&client.local(), &one.files["/metadata/root.json"], now());
    assert_eq!(again.unwrap(), 1);
    let refused = init(&client.local(), &other.files["/metadata/root.json"], now());
    assert!(matches!(refused, Err(ClientError::AlreadyInitialised { version: 1, .. })));
}

#[test]
fn a_root_that_its_own_keys_did_not_sign_is_no_start() {
    let mut simulator = Simulator::new();
    simulator.keys.insert("root".to_owned(), vec![key()]);
    simulator.publish_root();
    let folder = tempfile::tempdir().unwrap();
    let local = LocalMetadata::create(folder.path()).unwrap();
    let error = init(&local, &simulator.files["/metadata/root.json"], now()).unwrap_err();
    assert_eq!(error.code(), Code::BadSignature);
    assert!(local.load(&role("root")).unwrap().is_none());
}

#[test]
fn first_use_is_trusted_once() {
    let simulator = Simulator::new();
    let folder = tempfile::tempdir().unwrap();
    let local = LocalMetadata::create(folder.path()).unwrap();
    let mirrors = Mirrors::from(Repository::at(&Url::parse(BASE).unwrap()));
    let limits = Limits::default();
    assert_eq!(
        init_from_repository(&local, &simulator, &mirrors, &FirstRoot::TrustFirstUse, &limits, now())
            .unwrap(),
        1
    );
    assert_eq!(simulator.requests(), ["1.root.json"]);
    let again = init_from_repository(&local, &simulator, &mirrors, &FirstRoot::TrustFirstUse, &limits, now());
    assert!(matches!(again, Err(ClientError::AlreadyInitialised { .. })));
    assert_eq!(simulator.requests(), [""; 0]);
}
