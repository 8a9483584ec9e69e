//! What the fuzz targets do with their input, and what must hold then. The tests replay the kept corpus through the very
//! same functions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a finding is a panic")]
#![allow(dead_code, reason = "each fuzz target uses its own part of this")]

mod sequence;

use std::borrow::Cow;

use tuf::canonical;
use tuf::cli::key_argument::KeyArgument;
use tuf::crypto::{
    PrivateKey, Signer, fingerprint, is_encrypted, is_private, public_key_to_pem, read_public_key,
    verify_signature,
};
use tuf::metadata::{
    Algorithm, Key, Metadata, NameDigest, RoleName, Root, Signed, Snapshot, TargetPath, Targets, Timestamp,
    path_hash, pattern_matches,
};
use tuf::trusted_set::{TargetSearch, TrustedMetadataSet};
use tuf::verify::verify_self_signed;

#[allow(unused_imports, reason = "each fuzz target uses its own part of this")]
pub use sequence::trusted_set;

/// Reads bytes as metadata of every kind.
pub fn metadata(data: &[u8]) {
    if let Some(root) = read::<Root>(data) {
        root.signed().keys.values().for_each(use_key);
        let _ = TrustedMetadataSet::new(data, chrono::DateTime::UNIX_EPOCH);
        let _ = verify_self_signed(root);
    }
    read::<Timestamp>(data);
    read::<Snapshot>(data);
    if let Some(targets) = read::<Targets>(data) {
        // what the text-backed map says is what a reader of JSON makes of the signed bytes
        let again: Targets = serde_json::from_slice(&canonical::pretty(targets.signed_bytes())).unwrap();
        assert!(targets.signed().targets.iter().eq(again.targets.iter()));
        let targets = targets.signed();
        if let Some(delegations) = &targets.delegations {
            delegations.keys.values().for_each(use_key);
        }
        let listed = targets.targets.keys();
        for path in listed.chain([Cow::Borrowed("a/b.txt")]) {
            let path = &*path;
            let mut search = TargetSearch::new(path, 32);
            while let Some(visit) = search.next_visit() {
                if search.look(&visit, targets).is_some() {
                    break;
                }
            }
        }
    }
}

/// What is read is written and read again as the same thing.
fn read<T: Signed + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<Metadata<T>> {
    let read = Metadata::<T>::from_bytes(data).ok()?;
    let value: serde_json::Value = serde_json::from_slice(data).unwrap();
    assert_eq!(canonical::from_value(&value["signed"]).unwrap(), read.signed_bytes());
    let written = read.to_bytes().unwrap();
    let again = Metadata::<T>::from_bytes(&written).unwrap();
    assert_eq!(again.signed_bytes(), read.signed_bytes());
    assert_eq!(again.signed(), read.signed());
    let _ = Metadata::unsigned(read.signed().clone());
    Some(read)
}

fn use_key(key: &Key) {
    let _ = key.id();
    let known = fingerprint(key);
    if verify_signature(key, b"anything", &[0; 64]).is_ok() {
        assert!(known.is_some());
    }
}

/// Writes bytes as canonical JSON.
pub fn canonical(data: &[u8]) {
    let Ok(written) = canonical::from_json(data) else { return };
    // whatever has a canonical form is JSON, and the form has one itself: the same
    let value: serde_json::Value = serde_json::from_slice(data).unwrap();
    assert_eq!(canonical::from_value(&value).unwrap(), written);
    let pretty = canonical::pretty(&written);
    assert_eq!(canonical::from_json(&pretty).unwrap(), written);
}

/// Reads bytes as a key file of any container, and as a key argument. No password is given: whatever is computable would
/// be computed, for up to a minute.
pub fn keys(data: &[u8]) {
    if let Ok(key) = read_public_key(data) {
        let pem = public_key_to_pem(&key).unwrap();
        assert_eq!(fingerprint(&read_public_key(pem.as_bytes()).unwrap()), fingerprint(&key));
    }
    if let Ok(key) = PrivateKey::read(data, None) {
        assert!(is_private(data) && !is_encrypted(data));
        let pem = key.to_pkcs8_pem(None).unwrap();
        let again = PrivateKey::read(pem.as_bytes(), None).unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }
    if let Ok(argument) = std::str::from_utf8(data).unwrap_or_default().parse::<KeyArgument>() {
        assert_eq!(argument.to_string().as_bytes(), data);
    }
}

/// Takes lines of text for a pattern, a path and a role name.
pub fn paths(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\u{1}');
    let (pattern, path, name) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if pattern_matches(pattern, path) {
        // no wildcard ever crosses a slash
        assert_eq!(pattern.matches('/').count(), path.matches('/').count());
    }
    assert_eq!(path_hash(path).len(), 64);
    if let Ok(path) = TargetPath::parse(path) {
        let parts: Vec<&str> = path.as_str().split('/').collect();
        assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..") && !part.contains('\0')));
        let (folder, file) = path.split();
        assert_eq!(format!("{folder}{file}"), path.as_str());
        let hash = path_hash(path.as_str());
        let digest = NameDigest::parse(Algorithm::Sha256, &hash).unwrap();
        assert!(path.hash_named(digest).ends_with(&format!("{hash}.{file}")));
    }
    if let Ok(role) = RoleName::new(name) {
        let encoded = role.encoded();
        // a file name is the encoded name and more, so that `..` leads nowhere
        assert!(!encoded.contains(['/', '\\', '\0']) && !encoded.is_empty());
        assert_eq!(RoleName::from_encoded(&encoded).as_ref(), Some(&role));
        assert_eq!(RoleName::from_metapath(&role.metapath()).as_ref(), Some(&role));
    }
}
