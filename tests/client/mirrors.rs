//! Mirrors: what one does wrong another one makes good, and nothing unverified is ever taken from any.

use std::collections::BTreeMap;

use tuf::client::{ClientError, Code};

use crate::simulator::{Client, Network, Simulator, key, now};

const BOTH: [&str; 2] = ["one", "two"];

/// Two hosts that hold the same repository, with a target, and a client that trusts it.
fn two() -> (Network, Client) {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "file", b"content");
    simulator.publish_all();
    let client = Client::new(&simulator);
    (Network(BTreeMap::from([("one", simulator.copy()), ("two", simulator)])), client)
}

fn host<'a>(network: &'a mut Network, name: &str) -> &'a mut Simulator {
    network.0.get_mut(name).unwrap()
}

#[test]
fn the_first_one_is_enough_where_it_works() {
    let (network, client) = two();
    client.update_from(&network, &BOTH, Some("file")).unwrap();
    // but for the question whether there is a newer root, which each is asked
    assert_eq!(network.0["two"].requests(), ["2.root.json"]);
    assert_eq!(network.0["one"].requests().len(), 5);
}

#[test]
fn a_dead_one_is_passed_by_and_asked_last_from_then_on() {
    let (mut network, client) = two();
    let dead = host(&mut network, "one");
    for path in dead.files.keys().cloned().chain(["/metadata/2.root.json".to_owned()]) {
        dead.statuses.insert(path, 502);
    }
    client.update_from(&network, &BOTH, Some("file")).unwrap();
    assert_eq!(network.0["one"].requests(), ["2.root.json"]);
}

#[test]
fn a_stale_one_is_passed_by() {
    let (mut network, client) = two();
    client.update_from(&network, &BOTH, None).unwrap();
    host(&mut network, "two").update_all();
    client.update_from(&network, &["two"], None).unwrap();
    // older than what is trusted already
    client.update_from(&network, &BOTH, Some("file")).unwrap();
    assert_eq!(client.trusted(), "root v1 snapshot v2 targets v2 timestamp v2");
}

#[test]
fn an_expired_one_is_passed_by() {
    let (mut network, mut client) = two();
    let fresh = host(&mut network, "two");
    fresh.timestamp.expires += chrono::Duration::days(3650);
    fresh.update_all();
    host(&mut network, "one").timestamp.expires = now();
    host(&mut network, "one").publish_timestamp();
    client.now = now();
    client.update_from(&network, &BOTH, None).unwrap();
    assert_eq!(client.trusted(), "root v1 snapshot v2 targets v2 timestamp v2");
}

#[test]
fn one_that_hides_a_newer_root_does_not_keep_it_from_the_client() {
    let (mut network, client) = two();
    host(&mut network, "two").next_root(|_| ());
    client.update_from(&network, &BOTH, None).unwrap();
    assert_eq!(client.trusted(), "root v2 snapshot v1 targets v1 timestamp v1");
}

#[test]
fn one_that_serves_bad_metadata_is_passed_by() {
    for file in ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let (mut network, client) = two();
        host(&mut network, "one").files.insert(format!("/metadata/{file}"), b"{}".to_vec());
        client.update_from(&network, &BOTH, None).unwrap();
    }
    let (mut network, client) = two();
    let forger = host(&mut network, "one");
    forger.keys.insert("timestamp".to_owned(), vec![key()]);
    forger.timestamp.version = 9;
    forger.publish_timestamp();
    client.update_from(&network, &BOTH, None).unwrap();
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v1");
}

#[test]
fn one_that_serves_a_bad_target_is_passed_by() {
    for bad in [&b"malware"[..], b"cont", b"malware and more"] {
        let (mut network, client) = two();
        for (path, bytes) in &mut host(&mut network, "one").files {
            if path.starts_with("/targets/") {
                *bytes = bad.to_vec();
            }
        }
        client.update_from(&network, &BOTH, Some("file")).unwrap();
        assert_eq!(std::fs::read(client.targets().join("file")).unwrap(), b"content");
    }
}

#[test]
fn a_bad_beginning_from_one_does_not_spoil_the_rest_from_another() {
    let mut simulator = Simulator::new();
    let body = vec![7; 3 << 20];
    simulator.add_target("targets", "large", &body);
    simulator.publish_all();
    let client = Client::new(&simulator);
    let mut bad = simulator.copy();
    for (path, bytes) in bad.files.iter_mut().filter(|(path, _)| path.starts_with("/targets/")) {
        bytes.fill(8);
        bad.breaks.insert(path.clone(), 1 << 20);
    }
    let network = Network(BTreeMap::from([("one", bad), ("two", simulator)]));
    client.update_from(&network, &BOTH, Some("large")).unwrap();
    assert_eq!(std::fs::read(client.targets().join("large")).unwrap(), body);
    let requests = network.0["two"].requests();
    assert!(requests[requests.len() - 2].ends_with(".large from 1048576"), "{requests:?}");
}

#[test]
fn when_all_fail_each_cause_is_named_in_order() {
    let (mut network, client) = two();
    host(&mut network, "two").files.insert("/metadata/timestamp.json".to_owned(), b"{}".to_vec());
    host(&mut network, "one").statuses.insert("/metadata/timestamp.json".to_owned(), 404);
    let error = client.update_from(&network, &["gone", "one", "two"], None).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::NoWorkingMirror, "timestamp"));
    let ClientError::NoWorkingMirror { causes, .. } = &error else { panic!("{error}") };
    let codes: Vec<Code> = causes.iter().map(|cause| cause.error.code()).collect();
    assert_eq!(codes, [Code::Download, Code::Download, Code::InvalidMetadata]);
    assert!(error.to_string().starts_with("http://gone.test/metadata: DownloadError: "), "{error}");
}

#[test]
fn a_failure_of_this_machine_is_no_mirrors_fault() {
    let (network, client) = two();
    std::fs::create_dir_all(client.targets().join("file")).unwrap();
    let error = client.update_from(&network, &BOTH, Some("file")).unwrap_err();
    assert_eq!(error.code(), Code::Io);
}

/// What a mirror that is ahead serves is refused, and must not make the announced snapshot of the next one a rollback.
#[test]
fn one_that_is_ahead_of_the_timestamp_is_passed_by_and_leaves_no_trace() {
    for ahead in [2, 900] {
        let (mut network, client) = two();
        client.update_from(&network, &BOTH, None).unwrap();
        for name in ["one", "two"] {
            host(&mut network, name).update_all();
        }
        let first = host(&mut network, "one");
        let announced = first.files["/metadata/timestamp.json"].clone();
        (first.snapshot.version, first.timestamp.version) = (1 + ahead, 1 + ahead);
        first.publish_all();
        // its timestamp is the common one; under the announced name lies a newer snapshot, signed well
        let newer = first.files["/metadata/snapshot.json"].clone();
        first.files.insert("/metadata/2.snapshot.json".to_owned(), newer);
        first.files.insert("/metadata/timestamp.json".to_owned(), announced);
        client.update_from(&network, &BOTH, None).unwrap();
        assert_eq!(client.trusted(), "root v1 snapshot v2 targets v2 timestamp v2", "{ahead}");
    }
}

/// Of a root that skips versions, too.
#[test]
fn one_that_serves_a_root_too_far_ahead_is_passed_by() {
    let (mut network, client) = two();
    for name in ["one", "two"] {
        host(&mut network, name).next_root(|_| ());
    }
    let first = host(&mut network, "one");
    first.next_root(|_| ());
    let third = first.files.remove("/metadata/3.root.json").unwrap();
    first.files.insert("/metadata/2.root.json".to_owned(), third);
    client.update_from(&network, &BOTH, None).unwrap();
    assert_eq!(client.trusted(), "root v2 snapshot v1 targets v1 timestamp v1");
}
