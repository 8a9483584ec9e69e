//! Where trust begins: pinned keys, and what `clean` leaves of it.

use tuf::client::{
    ClientError, Code, FirstRoot, Limits, LocalMetadata, Mirrors, Repository, TargetDir, clean,
    init_from_repository,
};
use tuf::crypto::Signer;
use tuf::metadata::KeyId;
use url::Url;

use crate::simulator::{BASE, Client, Simulator, key, now, role};

fn pin(simulator: &Simulator, pins: &[KeyId]) -> Result<u64, ClientError> {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalMetadata::create(folder.path()).unwrap();
    let first = FirstRoot::Pinned(pins.to_vec());
    let mirrors = Mirrors::from(Repository::at(&Url::parse(BASE).unwrap()));
    let version = init_from_repository(&local, simulator, &mirrors, &first, &Limits::default(), now());
    assert_eq!(local.load(&role("root")).unwrap().is_some(), version.is_ok());
    version
}

/// A repository whose first root needs two of three keys, and the ids of these.
fn two_of_three() -> (Simulator, Vec<KeyId>) {
    let mut simulator = Simulator::new();
    simulator.trust("root", vec![key(), key(), key()], 2);
    simulator.publish_root();
    let ids = simulator.keys["root"].iter().map(|key| key.public_key().id()).collect();
    (simulator, ids)
}

#[test]
fn a_root_signed_by_enough_pinned_keys_is_a_start() {
    let (simulator, ids) = two_of_three();
    assert_eq!(pin(&simulator, &ids).unwrap(), 1);
    assert_eq!(pin(&simulator, &ids[1..]).unwrap(), 1);
    assert_eq!(simulator.requests(), ["1.root.json", "1.root.json"]);
}

#[test]
fn a_root_signed_by_too_few_pinned_keys_is_refused() {
    let (simulator, ids) = two_of_three();
    let error = pin(&simulator, &ids[..1]).unwrap_err();
    assert_eq!(error.code(), Code::BadSignature);
    assert!(
        matches!(error, ClientError::NotPinned { version: 1, found: 1, threshold } if threshold.get() == 2)
    );
    let stranger = key().public_key().id();
    let error = pin(&simulator, &[ids[0].clone(), stranger]).unwrap_err();
    assert!(matches!(error, ClientError::NotPinned { found: 1, .. }), "{error}");
    // the same id twice is one key
    assert!(pin(&simulator, &[ids[0].clone(), ids[0].clone()]).is_err());
}

#[test]
fn a_pinned_id_counts_only_where_it_is_the_hash_of_its_key() {
    let honest = key().public_key().id();
    let mut simulator = Simulator::new();
    // an attacker's key under the pinned name
    let forged = simulator.keys["root"][0].public_key().clone();
    simulator.root.keys.insert(honest.clone(), forged);
    simulator.root.roles.get_mut("root").unwrap().keyids = vec![honest.clone()];
    simulator.publish_root();
    let mut value: serde_json::Value =
        serde_json::from_slice(&simulator.files["/metadata/1.root.json"]).unwrap();
    value["signatures"][0]["keyid"] = honest.as_str().into();
    simulator.files.insert("/metadata/1.root.json".to_owned(), value.to_string().into_bytes());
    // it is a root by its own word
    assert!(tuf::trusted_set::TrustedMetadataSet::new(value.to_string().as_bytes(), now()).is_ok());
    assert!(matches!(pin(&simulator, &[honest]), Err(ClientError::NotPinned { found: 0, .. })));
}

#[test]
fn a_first_root_of_another_version_is_refused() {
    let (mut simulator, ids) = two_of_three();
    simulator.root.version = 2;
    simulator.publish_root();
    let second = simulator.files["/metadata/2.root.json"].clone();
    simulator.files.insert("/metadata/1.root.json".to_owned(), second);
    assert_eq!(pin(&simulator, &ids).unwrap_err().code(), Code::BadVersionNumber);
}

#[test]
fn the_chain_is_walked_from_a_pinned_root() {
    let (mut simulator, ids) = two_of_three();
    simulator.next_root(|simulator| simulator.trust("root", vec![key()], 1));
    let client = Client::new(&simulator);
    std::fs::remove_file(client.file("root.json")).unwrap();
    let mirrors = Mirrors::from(Repository::at(&Url::parse(BASE).unwrap()));
    let first = FirstRoot::Pinned(ids);
    let limits = Limits::default();
    init_from_repository(&client.local(), &simulator, &mirrors, &first, &limits, now()).unwrap();
    client.refresh(&simulator).unwrap();
    assert_eq!(client.trusted(), "root v2 snapshot v1 targets v1 timestamp v1");
}

fn cleaned(client: &Client) -> (Vec<String>, Vec<String>) {
    let dir = TargetDir::create(&client.targets()).unwrap();
    let cleaned = clean(&client.local(), Some(&dir), &client.limits).unwrap();
    (cleaned.roles.iter().map(ToString::to_string).collect(), cleaned.targets)
}

#[test]
fn clean_leaves_what_is_trusted() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "a/b", |role| role.paths = Some(vec!["dir/*".into()]));
    simulator.add_target("targets", "file", b"content");
    simulator.add_target("a/b", "dir/file", b"below");
    simulator.publish_all();
    let mut client = Client::new(&simulator);
    client.download(&simulator, "file").unwrap();
    client.download(&simulator, "dir/file").unwrap();
    assert_eq!(cleaned(&client), (vec![], vec![]));
    // what has expired was trusted once
    client.now = simulator.root.expires;
    assert_eq!(cleaned(&client), (vec![], vec![]));
}

#[test]
fn clean_drops_metadata_that_nobody_vouches_for() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "gone", |_| ());
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.find(&simulator, "anything").unwrap();
    std::fs::write(client.file("stranger.json"), b"{}").unwrap();
    std::fs::write(client.file("notes.txt"), b"mine").unwrap();
    simulator.targets.get_mut("targets").unwrap().delegations = None;
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    assert_eq!(cleaned(&client).0, ["gone", "stranger"]);
    assert!(client.file("notes.txt").exists());
    std::fs::write(client.file("timestamp.json"), b"damaged").unwrap();
    let (roles, _) = cleaned(&client);
    assert_eq!(roles, ["snapshot", "timestamp"]);
    client.refresh(&simulator).unwrap();
}

#[test]
fn clean_drops_targets_that_are_not_listed_or_not_what_is_listed() {
    let mut simulator = Simulator::new();
    for path in ["kept", "changed", "dir/gone", "dir/deep/gone"] {
        simulator.add_target("targets", path, path.as_bytes());
    }
    simulator.publish_all();
    let client = Client::new(&simulator);
    for path in ["kept", "changed", "dir/gone", "dir/deep/gone"] {
        client.download(&simulator, path).unwrap();
    }
    simulator.targets.get_mut("targets").unwrap().targets.retain(|path| !path.starts_with("dir/"));
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    std::fs::write(client.targets().join("changed"), b"CHANGED").unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), b"untouched").unwrap();
    std::os::unix::fs::symlink(outside.path(), client.targets().join("link")).unwrap();
    assert_eq!(cleaned(&client).1, ["changed", "dir/deep/gone", "dir/gone", "link"]);
    let left: Vec<_> = std::fs::read_dir(client.targets()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"untouched");
}

#[test]
fn clean_touches_no_target_before_there_is_metadata_to_judge_by() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "file", b"content");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download(&simulator, "file").unwrap();
    std::fs::remove_file(client.file("snapshot.json")).unwrap();
    assert_eq!(cleaned(&client), (vec![], vec![]));
    assert!(client.targets().join("file").exists());
}
