//! The rules of the trusted set by themselves: from both sides of each bound, and what is left after a refusal.

use std::sync::Arc;

use chrono::TimeZone;

use super::*;
use crate::crypto::{KeyType, PrivateKey, Signer};
use crate::metadata::{DelegatedRole, Extra, KeyId, MetaMap, RoleKeys, Signature, SuccinctRoles, Threshold};

fn at(year: i32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap()
}

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate(KeyType::Ed25519).unwrap())
}

fn id(key: &PrivateKey) -> KeyId {
    key.public_key().id()
}

fn signed<T: Signed>(signed: &T, keys: &[&PrivateKey]) -> Vec<u8> {
    let mut metadata = Metadata::unsigned(signed.clone()).unwrap();
    for key in keys {
        let bytes = key.sign(&key.public_key().scheme, metadata.signed_bytes()).unwrap();
        metadata.signatures.push(Signature::new(id(key), &bytes));
    }
    metadata.to_bytes().unwrap()
}

fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

/// A root whose four roles one key signs, and the key.
struct Repository {
    key: Arc<PrivateKey>,
    root: Root,
}

impl Repository {
    fn new() -> Self {
        let mut repository = Self { key: key(), root: Root::new(true, at(2031)) };
        let own = Arc::clone(&repository.key);
        for name in ["root", "timestamp", "snapshot", "targets"] {
            repository.trust(name, &[&own], 1);
        }
        repository
    }

    fn trust(&mut self, name: &str, keys: &[&Arc<PrivateKey>], threshold: u64) {
        let keyids = keys.iter().map(|key| id(key)).collect();
        for key in keys {
            self.root.keys.insert(id(key), key.public_key().clone());
        }
        let threshold = Threshold::new(threshold).unwrap();
        self.root.roles.insert(name.to_owned(), RoleKeys { keyids, threshold, extra: Extra::new() });
    }

    fn sign<T: Signed>(&self, metadata: &T) -> Vec<u8> {
        signed(metadata, &[&self.key])
    }

    fn root(&self, version: u64) -> Vec<u8> {
        let mut root = self.root.clone();
        root.version = version;
        self.sign(&root)
    }

    fn timestamp(&self, version: u64, snapshot: u64, expires: i32) -> Vec<u8> {
        let mut timestamp = Timestamp::new(MetaFile::new(snapshot), at(expires));
        timestamp.version = version;
        self.sign(&timestamp)
    }

    fn snapshot(&self, version: u64, targets: u64, expires: i32) -> Vec<u8> {
        let mut meta = MetaMap::new();
        meta.insert("targets.json", MetaFile::new(targets)).unwrap();
        meta.insert("d.json", MetaFile::new(1)).unwrap();
        let mut snapshot = Snapshot::new(meta, at(expires));
        snapshot.version = version;
        self.sign(&snapshot)
    }

    fn targets(&self, version: u64, expires: i32) -> Vec<u8> {
        let mut targets = Targets::new(at(expires));
        targets.version = version;
        self.sign(&targets)
    }

    /// What a client trusts that has loaded version 1 of everything in 2030.
    fn trusted(&self) -> TrustedMetadataSet {
        let mut trusted = TrustedMetadataSet::new(&self.root(1), at(2030)).unwrap();
        trusted.update_timestamp(&self.timestamp(1, 1, 2031)).unwrap();
        trusted.update_snapshot(&self.snapshot(1, 1, 2031), Origin::Remote).unwrap();
        trusted.update_targets(&self.targets(1, 2031), &RoleName::targets(), &RoleName::root()).unwrap();
        trusted
    }
}

/// The versions that are trusted: root, timestamp, snapshot, targets.
fn versions(trusted: &TrustedMetadataSet) -> (u64, Option<u64>, Option<u64>, Option<u64>) {
    let targets = trusted.targets(&RoleName::targets()).map(|targets| targets.version);
    let timestamp = trusted.timestamp().map(|timestamp| timestamp.version);
    (trusted.root().version, timestamp, trusted.snapshot().map(|snapshot| snapshot.version), targets)
}

const ALL: (u64, Option<u64>, Option<u64>, Option<u64>) = (1, Some(1), Some(1), Some(1));

/// Spec 5.3.5: exactly the next version, neither the same, nor an older, nor one further on.
#[test]
fn a_root_that_is_too_high_is_refused_as_one_that_is_too_low() {
    let repository = Repository::new();
    let mut trusted = TrustedMetadataSet::new(&repository.root(5), at(2030)).unwrap();
    for found in [1, 4, 5, 7, 8, 1000, crate::metadata::MAX_NUMBER] {
        let error = trusted.update_root(&repository.root(found)).unwrap_err();
        assert_eq!(error, TrustError::Version { role: role("root"), expected: 6, found });
        assert_eq!(trusted.root().version, 5);
    }
    assert_eq!(trusted.update_root(&repository.root(6)).unwrap().version, 6);
}

/// Spec 5.4.3.1 and 5.4.3.2: the same timestamp again is nothing new, whatever else it says.
#[test]
fn a_timestamp_of_the_same_version_is_not_taken_for_a_new_one() {
    let repository = Repository::new();
    for (version, snapshot) in [(1, 1), (1, 2), (1, 900)] {
        let mut trusted = repository.trusted();
        let error = trusted.update_timestamp(&repository.timestamp(version, snapshot, 2032)).unwrap_err();
        assert_eq!(error, TrustError::SameTimestamp { version: 1 });
        let kept = trusted.timestamp().unwrap();
        assert_eq!((kept.snapshot().map(|file| file.version), kept.expires), (Some(1), at(2031)));
    }
    let mut trusted = repository.trusted();
    trusted.update_timestamp(&repository.timestamp(2, 1, 2031)).unwrap();
    let error = trusted.update_timestamp(&repository.timestamp(3, 0, 2031));
    assert!(error.is_err());
    assert_eq!(versions(&trusted).1, Some(2));
}

#[test]
fn a_snapshot_that_is_newer_or_older_than_announced_leaves_no_trace() {
    let repository = Repository::new();
    for found in [1, 2, 4, 900] {
        let mut trusted = repository.trusted();
        trusted.update_timestamp(&repository.timestamp(2, 3, 2031)).unwrap();
        let error =
            trusted.update_snapshot(&repository.snapshot(found, 9, 2031), Origin::Remote).unwrap_err();
        assert_eq!(error, TrustError::Version { role: role("snapshot"), expected: 3, found });
        assert_eq!(versions(&trusted).2, Some(1));
        // what was refused makes nothing else a rollback
        trusted.update_snapshot(&repository.snapshot(3, 1, 2031), Origin::Remote).unwrap();
    }
}

#[test]
fn an_expired_snapshot_that_was_downloaded_leaves_no_trace_and_a_local_one_is_kept() {
    let repository = Repository::new();
    for (origin, kept) in [(Origin::Remote, 1), (Origin::Local, 2)] {
        let mut trusted = repository.trusted();
        trusted.update_timestamp(&repository.timestamp(2, 2, 2031)).unwrap();
        let error = trusted.update_snapshot(&repository.snapshot(2, 5, 2029), origin).unwrap_err();
        assert!(matches!(error, TrustError::Expired { version: 2, .. }), "{error}");
        assert_eq!(versions(&trusted).2, Some(kept));
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let (repository, stranger) = (Repository::new(), key());
    type Offer<'a> = Box<dyn Fn(&mut TrustedMetadataSet) -> Result<(), TrustError> + 'a>;
    let mut by_stranger = repository.root.clone();
    by_stranger.version = 2;
    let by_stranger = signed(&by_stranger, &[&stranger]);
    let offers: Vec<Offer<'_>> = vec![
        Box::new(|trusted| trusted.update_root(&by_stranger).map(drop)),
        Box::new(|trusted| trusted.update_root(b"{}").map(drop)),
        Box::new(|trusted| trusted.update_timestamp(b"").map(drop)),
        Box::new(|trusted| trusted.update_timestamp(&repository.snapshot(2, 1, 2031)).map(drop)),
        Box::new(|trusted| {
            let mut timestamp = Timestamp::new(MetaFile::new(2), at(2031));
            timestamp.version = 2;
            trusted.update_timestamp(&signed(&timestamp, &[&stranger])).map(drop)
        }),
        Box::new(|trusted| trusted.update_snapshot(b"{}", Origin::Remote).map(drop)),
        Box::new(|trusted| {
            trusted
                .update_targets(&repository.targets(2, 2031), &RoleName::targets(), &RoleName::root())
                .map(drop)
        }),
        Box::new(|trusted| {
            trusted
                .update_targets(&repository.targets(1, 2029), &RoleName::targets(), &RoleName::root())
                .map(drop)
        }),
        Box::new(|trusted| {
            trusted.update_targets(&repository.targets(1, 2031), &role("d"), &RoleName::targets()).map(drop)
        }),
        Box::new(|trusted| {
            trusted.update_targets(&repository.targets(1, 2031), &role("x"), &RoleName::targets()).map(drop)
        }),
    ];
    for (index, offer) in offers.iter().enumerate() {
        let mut trusted = repository.trusted();
        assert!(offer(&mut trusted).is_err(), "{index}");
        assert_eq!(versions(&trusted), ALL, "{index}");
        assert!(trusted.targets(&role("d")).is_none() && !trusted.keys_rotated(), "{index}");
    }
}

/// The new root may trust other keys for targets: what the old ones signed says nothing any more.
#[test]
fn a_new_root_makes_the_set_forget_the_targets_and_withdrawn_keys_timestamp_and_snapshot_too() {
    let mut repository = Repository::new();
    let mut trusted = repository.trusted();
    trusted.update_root(&repository.root(2)).unwrap();
    assert_eq!(versions(&trusted), (2, Some(1), Some(1), None));
    let error = trusted.current_snapshot().map(|snapshot| snapshot.version);
    assert_eq!(error, Ok(1));
    for name in ["timestamp", "snapshot"] {
        let (mut trusted, own) = (trusted.clone(), Arc::clone(&repository.key));
        repository.trust(name, &[&key()], 1);
        trusted.update_root(&repository.root(3)).unwrap();
        assert_eq!(versions(&trusted), (3, None, None, None), "{name}");
        assert!(trusted.keys_rotated());
        repository.trust(name, &[&own], 1);
    }
}

#[test]
fn one_key_under_two_ids_meets_no_threshold_of_two() {
    let mut repository = Repository::new();
    let (key, other) = (Arc::clone(&repository.key), key());
    let alias = KeyId::new("alias");
    repository.root.keys.insert(alias.clone(), key.public_key().clone());
    let threshold = Threshold::new(2).unwrap();
    let keyids = vec![id(&key), alias.clone(), id(&other)];
    repository.root.keys.insert(id(&other), other.public_key().clone());
    let keys = RoleKeys { keyids, threshold, extra: Extra::new() };
    repository.root.roles.insert("timestamp".to_owned(), keys);
    let timestamp = Timestamp::new(MetaFile::new(1), at(2031));
    let mut metadata = Metadata::unsigned(timestamp).unwrap();
    let sign = |key: &PrivateKey, id: KeyId, metadata: &Metadata<Timestamp>| {
        Signature::new(id, &key.sign(&key.public_key().scheme, metadata.signed_bytes()).unwrap())
    };
    for id in [id(&key), alias] {
        let signature = sign(&key, id, &metadata);
        metadata.signatures.push(signature);
    }
    let mut trusted = TrustedMetadataSet::new(&repository.root(1), at(2030)).unwrap();
    let error = trusted.update_timestamp(&metadata.to_bytes().unwrap()).unwrap_err();
    assert!(
        matches!(&error, TrustError::Unsigned(unsigned) if unsigned.result.signed().len() == 1),
        "{error}"
    );
    let signature = sign(&other, id(&other), &metadata);
    metadata.signatures.push(signature);
    trusted.update_timestamp(&metadata.to_bytes().unwrap()).unwrap();
}

#[test]
fn only_the_names_of_bins_have_the_keys_of_bins() {
    let key = key();
    let bins = SuccinctRoles {
        keyids: vec![id(&key)],
        threshold: Threshold::ONE,
        bit_length: 2,
        name_prefix: "bin".to_owned(),
        extra: Extra::new(),
    };
    let mut delegations = Delegations { succinct_roles: Some(bins), ..Delegations::default() };
    delegations.keys.insert(id(&key), key.public_key().clone());
    for (name, is_bin) in [
        ("bin-0", true),
        ("bin-3", true),
        ("bin-4", false),
        ("bin-00", false),
        ("bin-zz", false),
        ("bin-", false),
        ("bin", false),
        ("BIN-0", false),
        ("x", false),
        ("targets", false),
    ] {
        assert_eq!(delegations.authority(&role(name)).is_some(), is_bin, "{name}");
    }
    // beside classic delegations there are none
    let mut classic = Delegations::new();
    classic.roles.get_or_insert_default().push(DelegatedRole {
        name: role("d"),
        keyids: vec![id(&key)],
        threshold: Threshold::ONE,
        terminating: false,
        paths: None,
        path_hash_prefixes: None,
        extra: Extra::new(),
    });
    assert!(classic.authority(&role("d")).is_some() && classic.authority(&role("bin-0")).is_none());
}

#[test]
fn what_keeps_a_role_from_being_read_is_said_in_a_sentence() {
    let said = |signed: &str| {
        let file = format!(r#"{{"signatures":[],"signed":{signed}}}"#);
        TrustedMetadataSet::new(file.as_bytes(), at(2030)).unwrap_err().to_string()
    };
    assert_eq!(
        said(r#"{"_type":"root","spec_version":"2.0.0","version":1}"#),
        "root follows version '2.0.0' of the specification, not 1.x"
    );
    assert_eq!(said(r#"{"a":1,"a":2}"#), r#"root cannot be read: the key "a" stands twice in one object"#);
    assert!(said("[").starts_with("root is not valid JSON at byte "));
    assert!(said("{}").starts_with("root states no spec_version: "));
}
