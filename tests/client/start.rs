//! Where trust begins: pinned keys.

use tuf::client::{
    ClientError, Code, FirstRoot, Limits, LocalMetadata, Mirrors, Repository, init_from_repository,
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
