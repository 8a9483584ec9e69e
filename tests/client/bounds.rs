//! Bounds on what a repository may send: metadata that is built to exhaust a reader is refused by name.

use serde_json::{Value, json};
use tuf::client::{Code, Limits};

use crate::simulator::{Client, Simulator};

/// Returns the code that a refresh fails with when the timestamp is this text.
fn refused(timestamp: &[u8]) -> Code {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    simulator.files.insert("/metadata/timestamp.json".to_owned(), timestamp.to_vec());
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!(client.trusted(), "root v1");
    error.code()
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 1500;
        assert_eq!(
            refused((open.repeat(depth) + "1" + &close.repeat(depth)).as_bytes()),
            Code::InvalidMetadata
        );
        assert_eq!(refused(open.repeat(depth).as_bytes()), Code::InvalidMetadata);
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let simulator = Simulator::new();
    let honest = &simulator.files["/metadata/timestamp.json"];
    let honest = String::from_utf8(honest.clone()).unwrap();
    for number in [
        "99999999999999999999999999",
        "18446744073709551615",
        "9223372036854775808",
        "-1",
        "0",
        "1.0",
        "1e3",
        "1e999999999",
        "NaN",
        "\"1\"",
    ] {
        let text = honest.replace("\"version\": 1", &format!("\"version\": {number}"));
        assert_ne!(text, honest);
        assert_eq!(refused(text.as_bytes()), Code::InvalidMetadata, "{number}");
    }
    let long = honest.replacen("\"version\": 1", &format!("\"version\": {}", "9".repeat(10_000)), 1);
    assert_eq!(refused(long.as_bytes()), Code::InvalidMetadata);
}

#[test]
fn the_highest_version_has_no_successor_that_is_asked_for_in_vain() {
    let mut simulator = Simulator::new();
    simulator.timestamp.version = tuf::metadata::MAX_NUMBER;
    simulator.snapshot.version = tuf::metadata::MAX_NUMBER;
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    client.refresh(&simulator).unwrap();
}

#[test]
fn metadata_is_cut_one_byte_beyond_its_bound_and_taken_at_it() {
    let simulator = Simulator::new();
    let length = simulator.files["/metadata/1.targets.json"].len() as u64;
    let mut client = Client::new(&simulator);
    client.limits = Limits { targets: length - 1, ..Limits::default() };
    assert_eq!(client.refresh(&simulator).unwrap_err().code(), Code::EndlessData);
    client.limits = Limits { targets: length, ..Limits::default() };
    client.refresh(&simulator).unwrap();
}

#[test]
fn a_length_that_metadata_lists_is_a_bound_even_if_it_is_a_lie() {
    let mut simulator = Simulator::new();
    simulator.timestamp.meta.get_mut("snapshot.json").unwrap().length = Some(1);
    simulator.publish_timestamp();
    let client = Client::new(&simulator);
    assert_eq!(client.refresh(&simulator).unwrap_err().code(), Code::EndlessData);
}

#[test]
fn a_target_may_claim_any_length() {
    for length in [0, 8, u64::MAX / 2, tuf::metadata::MAX_NUMBER] {
        let mut simulator = Simulator::new();
        let mut file = crate::simulator::target_file(b"content", &tuf::metadata::Algorithm::ALL);
        file.length = length;
        simulator.add_target_file("targets", "file", b"content", file);
        simulator.publish_all();
        let client = Client::new(&simulator);
        let code = client.download(&simulator, "file").unwrap_err().code();
        assert!(matches!(code, Code::LengthMismatch | Code::BadHash), "{length}: {code}");
    }
}

#[test]
fn garbage_in_the_note_beside_the_metadata_changes_nothing() {
    let mut simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    let note = std::fs::read(client.file(".verified")).unwrap();
    for bytes in [&b""[..], b"{}", b"\xff", &note[..note.len() / 2]] {
        std::fs::write(client.file(".verified"), bytes).unwrap();
        client.refresh(&simulator).unwrap();
        assert_eq!(std::fs::read(client.file(".verified")).unwrap(), note);
    }
    // a note that promises the moon: what is asked for is verified all the same
    let mut forged: Value = serde_json::from_slice(&note).unwrap();
    (forged["version"], forged["expires"]) = (json!(99), json!(i64::MAX));
    std::fs::write(client.file(".verified"), forged.to_string()).unwrap();
    client.refresh(&simulator).unwrap();
    simulator.targets.get_mut("targets").unwrap().expires = crate::simulator::earlier();
    simulator.update_all();
    assert_eq!(client.refresh(&simulator).unwrap_err().code(), Code::ExpiredMetadata);
}

#[test]
fn known_targets_metadata_still_expires() {
    let mut simulator = Simulator::new();
    let soon = crate::simulator::now() + chrono::Duration::hours(1);
    simulator.targets.get_mut("targets").unwrap().expires = soon;
    simulator.publish_all();
    let mut client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    client.refresh(&simulator).unwrap();
    client.now = soon;
    let error = client.refresh(&simulator).unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::ExpiredMetadata, "targets"));
}

#[test]
fn known_targets_metadata_that_was_damaged_is_noticed() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    std::fs::remove_file(client.file("targets.json")).unwrap();
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v1 snapshot v1 targets v1 timestamp v1");
}
