//! Bounds on what a repository may send: metadata that is built to exhaust a reader is refused by name.

use serde_json::{Value, json};
use tuf::client::{Code, Limits};
use tuf::crypto::Signer;

use crate::simulator::{Client, Simulator, key};

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

/// Parties contrib, which delegates to many names, and release, whose own delegate lists rel/app.
fn parties(names: usize, are_published: bool) -> Simulator {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "contrib", |role| role.paths = Some(vec!["contrib/*".into()]));
    simulator.delegate("targets", "release", |role| role.paths = Some(vec!["rel/*".into()]));
    simulator.delegate("release", "release-x86", |role| role.paths = Some(vec!["rel/*".into()]));
    simulator.add_target("release-x86", "rel/app", b"app");
    let honest: Vec<String> = simulator.targets.keys().cloned().collect();
    for index in 0..names {
        simulator.delegate("contrib", &format!("z{index}"), |role| role.paths = Some(vec!["q".into()]));
    }
    if are_published {
        simulator.publish_all();
    } else {
        honest.iter().for_each(|name| simulator.publish_targets(name));
        simulator.publish_snapshot();
        simulator.publish_timestamp();
    }
    simulator
}

/// Returns the paths that are listed, and what failed.
fn listed(client: &Client, simulator: &Simulator) -> (Vec<String>, Vec<tuf::client::ClientError>) {
    let mut updater = client.updater(simulator).unwrap();
    let tuf::client::Listing { targets, faults } = updater.list().unwrap();
    (targets.iter().map(|target| target.path.to_string()).collect(), faults)
}

#[test]
fn a_role_that_delegates_to_more_names_than_a_listing_asks_for_keeps_no_other_party_out() {
    let simulator = parties(60, true);
    let mut client = Client::new(&simulator);
    client.limits.listed_roles = 20;
    let (paths, faults) = listed(&client, &simulator);
    assert_eq!(paths, ["rel/app"]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].code(), Code::EndlessData);
}

#[test]
fn names_that_the_snapshot_does_not_list_cost_no_request_and_one_line() {
    let simulator = parties(60, false);
    let mut client = Client::new(&simulator);
    client.limits.listed_roles = 5;
    let (paths, faults) = listed(&client, &simulator);
    assert_eq!(paths, ["rel/app"]);
    let said: Vec<String> = faults.iter().map(|fault| format!("{}: {fault}", fault.subject())).collect();
    assert_eq!(said, ["contrib: the snapshot lists neither z0 nor 59 more roles that contrib delegates to"]);
    assert!(simulator.requests().iter().all(|request| !request.contains('z')));
}

/// Some roles below evil, each with hash bins of a prefix that `prefix` chooses for it, beside an honest party.
fn many_with_bins(roles: usize, prefix: impl Fn(usize) -> String) -> Simulator {
    let mut simulator = parties(0, false);
    let signer = key();
    for index in 0..roles {
        let name = format!("z-{index:08x}");
        simulator.keys.insert(name.clone(), vec![signer.clone()]);
        simulator.delegate("contrib", &name, |role| role.paths = Some(vec!["contrib/*".into()]));
        let bins = tuf::metadata::SuccinctRoles {
            keyids: vec![signer.public_key().id()],
            threshold: tuf::metadata::Threshold::ONE,
            bit_length: 32,
            name_prefix: prefix(index),
            extra: tuf::metadata::Extra::new(),
        };
        let mut delegations = tuf::metadata::Delegations::new();
        delegations.succinct_roles = Some(bins);
        delegations.roles = None;
        delegations.keys.insert(signer.public_key().id(), signer.public_key().clone());
        simulator.targets.get_mut(&name).unwrap().delegations = Some(delegations);
    }
    simulator.publish_all();
    simulator
}

/// What the snapshot does not list is neither asked for nor a fault of hash bins.
#[test]
fn roles_with_hash_bins_that_the_snapshot_does_not_list_are_loaded_as_others_are() {
    let simulator = many_with_bins(60, |index| format!("q{index}"));
    let client = Client::new(&simulator);
    for _ in 0..2 {
        let (paths, faults) = listed(&client, &simulator);
        assert_eq!((paths.as_slice(), faults.len()), (&["rel/app".to_owned()][..], 0), "{faults:?}");
    }
}

/// All of them name the same bins, which are they themselves: the square of their number of delegations.
#[test]
fn roles_that_all_delegate_to_each_other_by_hash_bins_keep_no_other_party_out() {
    for roles in [30, 60] {
        let simulator = many_with_bins(roles, |_| "z".to_owned());
        let mut client = Client::new(&simulator);
        client.limits.listed_roles = 100;
        let (paths, faults) = listed(&client, &simulator);
        assert_eq!(paths, ["rel/app"]);
        let said: Vec<String> = faults.iter().map(|fault| format!("{}: {fault}", fault.subject())).collect();
        let reason =
            "contrib and the roles below it have more than 400 delegations: further ones were not followed";
        assert_eq!(said, [format!("contrib: {reason}")], "{roles}");
        assert_eq!(faults[0].code(), Code::EndlessData);
        // what is asked for again is at hand: the same answer
        assert_eq!(listed(&client, &simulator).0, ["rel/app"]);
        let cleaned =
            tuf::client::clean(&client.local(), None, &client.limits, client.now, tuf::client::Removal::Done);
        assert!(cleaned.unwrap().roles.is_empty());
    }
}

#[test]
fn of_many_roles_that_fail_below_one_delegator_three_are_named_and_the_others_counted() {
    let mut simulator = parties(60, true);
    for (_, bytes) in simulator.files.iter_mut().filter(|(path, _)| path.contains(".z")) {
        *bytes = b"{}".to_vec();
    }
    let (paths, faults) = listed(&Client::new(&simulator), &simulator);
    assert_eq!(paths, ["rel/app"]);
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert_eq!(faults[3].to_string(), "57 more roles that contrib delegates to failed");
}

#[test]
fn a_role_whose_patterns_take_for_ever_keeps_no_other_party_out() {
    for first in ["contrib", "release"] {
        let mut simulator = Simulator::new();
        for party in [first, if first == "contrib" { "release" } else { "contrib" }] {
            // a search for rel/app has nothing to do with contrib, whatever comes first
            let paths = if party == "contrib" { &["*"][..] } else { &["*", "rel/*"] };
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            simulator.delegate("targets", party, |role| role.paths = Some(paths));
        }
        simulator.add_target("release", "rel/app", b"app");
        for (path, length) in [("short", 1), ("long", 4)] {
            simulator.add_target("release", &format!("{path}{length}"), b"x");
        }
        let patterns = (0..200).map(|index| format!("{}b{index}", "*a".repeat(100))).collect();
        simulator.delegate("contrib", "q", |role| role.paths = Some(patterns));
        simulator.delegate("contrib", "sub", |_| ());
        for index in 0..100 {
            simulator.add_target("sub", &format!("{}{index}", "a".repeat(200)), b"x");
        }
        simulator.publish_all();
        let mut client = Client::new(&simulator);
        client.limits.matching = 500_000;
        let (paths, faults) = listed(&client, &simulator);
        assert!(paths.contains(&"rel/app".to_owned()), "{paths:?}");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].code(), faults[0].subject().as_str()), (Code::EndlessData, "contrib"));
        client.limits = Limits::default();
        assert_eq!(listed(&client, &simulator).0.len(), 103);
    }
}

#[test]
fn a_text_in_the_place_of_a_digest_becomes_part_of_no_name() {
    for digest in
        ["../../admin/secret", "/etc/passwd", "", &"a".repeat(63), &"g".repeat(64), &"a".repeat(128)]
    {
        for consistent in [true, false] {
            let mut simulator = Simulator::new();
            simulator.root.consistent_snapshot = consistent;
            simulator.publish_root();
            let mut file = crate::simulator::target_file(b"x", &[tuf::metadata::Algorithm::Sha512]);
            file.hashes.insert("sha256", digest);
            simulator.add_target_file("targets", "bad", b"x", file);
            simulator.add_target("targets", "good", b"good");
            simulator.publish_all();
            let client = Client::new(&simulator);
            let (paths, faults) = client.download_all(&simulator);
            assert_eq!(paths, ["good"], "{digest}");
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!((faults[0].code(), faults[0].subject().as_str()), (Code::InvalidMetadata, "bad"));
            assert!(simulator.requests().iter().all(|request| !request.contains("bad")), "{digest}");
        }
    }
}

#[test]
fn a_path_of_too_many_parts_is_skipped_and_named() {
    let mut simulator = Simulator::new();
    let deep = |parts: usize| "a/".repeat(parts - 1) + "x";
    for parts in [64, 65, 1900] {
        simulator.add_target("targets", &deep(parts), b"x");
    }
    simulator.publish_all();
    let (paths, faults) = Client::new(&simulator).download_all(&simulator);
    assert_eq!(paths, [deep(64)]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.code() == Code::InvalidMetadata));
}

/// One client once took the file that another one had stored meanwhile for one that somebody had put there.
#[test]
fn clients_that_store_the_same_delegated_role_at_once_all_succeed() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "d", |_| ());
    simulator.add_target("d", "x", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    for _ in 0..20 {
        let _ = std::fs::remove_file(client.file("d.json"));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| assert_eq!(client.find(&simulator, "x").unwrap().as_deref(), Some("d")));
            }
        });
    }
}

/// A repository whose contrib lists many targets, and whose release lists one.
fn many_targets(count: usize) -> Simulator {
    let mut simulator = Simulator::new();
    for party in ["contrib", "rel"] {
        simulator.delegate("targets", party, |role| role.paths = Some(vec![format!("{party}/*")]));
    }
    for index in 0..count {
        simulator.add_target("contrib", &format!("contrib/{index}"), format!("{index}").as_bytes());
    }
    simulator.add_target("rel", "rel/app", b"app");
    simulator.publish_all();
    simulator
}

#[test]
fn targets_that_a_role_lists_and_nobody_has_cost_three_requests_and_four_lines() {
    let mut simulator = many_targets(50);
    simulator.files.retain(|path, _| !path.starts_with("/targets/contrib/"));
    let (downloaded, faults) = Client::new(&simulator).download_all(&simulator);
    assert_eq!(downloaded, ["rel/app"]);
    assert_eq!(faults.len(), 4, "{faults:?}");
    let last = faults[3].to_string();
    assert_eq!(last, "47 more targets of contrib were not tried: 3 could not be had");
    let asked = simulator.requests().into_iter().filter(|path| path.starts_with("/targets/contrib/"));
    assert_eq!(asked.count(), 3);
}

#[test]
fn of_many_targets_of_a_role_that_are_wrong_three_are_named_and_the_others_counted() {
    let mut simulator = many_targets(50);
    for (_, bytes) in simulator.files.iter_mut().filter(|(path, _)| path.starts_with("/targets/contrib/")) {
        *bytes = b"?".to_vec();
    }
    let (downloaded, faults) = Client::new(&simulator).download_all(&simulator);
    assert_eq!(downloaded, ["rel/app"]);
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert_eq!(faults[3].to_string(), "47 more targets of contrib failed");
}

#[test]
fn roles_that_a_role_delegates_to_and_nobody_has_cost_three_requests() {
    let mut simulator = parties(60, true);
    simulator.files.retain(|path, _| !path.contains(".z"));
    let (paths, faults) = listed(&Client::new(&simulator), &simulator);
    assert_eq!(paths, ["rel/app"]);
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert_eq!(simulator.requests().into_iter().filter(|path| path.contains(".z")).count(), 3);
}

#[test]
fn parties_that_publish_nothing_keep_no_other_party_out() {
    let mut simulator = Simulator::new();
    for party in ["a", "b", "c", "d", "release"] {
        simulator.delegate("targets", party, |role| role.paths = Some(vec![format!("{party}/*")]));
    }
    simulator.add_target("release", "release/app", b"app");
    simulator.publish_all();
    simulator
        .files
        .retain(|path, _| !["a", "b", "c", "d"].iter().any(|role| path.ends_with(&format!(".{role}.json"))));
    let (paths, faults) = listed(&Client::new(&simulator), &simulator);
    assert_eq!(paths, ["release/app"]);
    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[test]
fn a_party_with_more_metadata_than_a_listing_keeps_no_other_party_out() {
    let mut simulator = parties(20, false);
    for index in 0..20 {
        let pad = json!(vec![json!({"": 0}); 2_000]);
        simulator.targets.get_mut(&format!("z{index}")).unwrap().extra.insert("pad".to_owned(), pad);
    }
    simulator.publish_all();
    let mut client = Client::new(&simulator);
    client.limits.listed_bytes = 100_000;
    let (paths, faults) = listed(&client, &simulator);
    assert_eq!(paths, ["rel/app"]);
    let said: Vec<(Code, String)> = faults.iter().map(|fault| (fault.code(), fault.subject())).collect();
    assert_eq!(said, [(Code::EndlessData, "contrib".to_owned())]);
    client.limits = Limits::default();
    let mut updater = client.updater(&simulator).unwrap();
    assert_eq!(updater.list().unwrap().faults.len(), 0);
    // in memory such members are a hundred times as long as in the file
    let trusted = updater.trusted().targets(&crate::simulator::role("z7")).unwrap();
    assert!(trusted.extra.is_empty());
}

#[test]
fn missing_files_of_the_top_level_role_keep_no_other_of_its_files_back() {
    let mut simulator = Simulator::new();
    for index in 0..10 {
        simulator.add_target("targets", &format!("{index}.txt"), format!("{index}").as_bytes());
    }
    simulator.publish_all();
    let is_missing =
        |path: &str| ["0", "1", "2", "3"].iter().any(|name| path.ends_with(&format!(".{name}.txt")));
    simulator.files.retain(|path, _| !is_missing(path));
    let (downloaded, faults) = Client::new(&simulator).download_all(&simulator);
    assert_eq!((downloaded.len(), faults.len()), (6, 4), "{faults:?}");
}
