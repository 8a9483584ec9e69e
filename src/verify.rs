//! Whether metadata is signed as its delegator demands. [`Verified`] is made here and nowhere else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;

use crate::crypto::{Fingerprint, fingerprint, verify_made, verify_signature};
use crate::metadata::{
    Covered, Delegations, Key, KeyId, Metadata, RoleKeys, RoleName, Root, Signature, Signed, Targets,
    Threshold,
};

/// The keys that a delegator trusts for a role, and how many of them must sign.
///
/// Without a signature nothing is verified, since no [`Threshold`] is zero:
///
/// ```
/// use std::collections::BTreeMap;
/// use tuf::metadata::{Metadata, RoleName, Root, Threshold};
/// use tuf::verify::Authority;
/// let keys = BTreeMap::new();
/// let nobody = Authority::new(RoleName::root(), Threshold::ONE, &[], &keys);
/// let root = Metadata::unsigned(Root::new(true, chrono::DateTime::UNIX_EPOCH))?;
/// assert!(!nobody.check(root.covered()).is_verified());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Authority<'a> {
    role: RoleName,
    threshold: Threshold,
    /// In the delegator's order, each id once.
    keys: Vec<(&'a KeyId, Option<&'a Key>)>,
}

impl<'a> Authority<'a> {
    /// Makes the authority of the keys with these ids; an id that is listed twice counts once.
    pub fn new(
        role: RoleName,
        threshold: Threshold,
        keyids: &'a [KeyId],
        keys: &'a BTreeMap<KeyId, Key>,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let keys = keyids.iter().filter(|id| seen.insert(*id)).map(|id| (id, keys.get(id))).collect();
        Self { role, threshold, keys }
    }

    /// Leaves out the keys that are not wanted. As many must sign as before.
    pub fn with_only(mut self, wanted: impl Fn(&KeyId, &Key) -> bool) -> Self {
        self.keys.retain(|(id, key)| key.is_some_and(|key| wanted(id, key)));
        self
    }

    /// Returns the role that is trusted.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// Returns how many distinct keys must sign.
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Returns the keys by id, in the delegator's order. An id without a key is listed with `None`.
    pub fn keys(&self) -> &[(&'a KeyId, Option<&'a Key>)] {
        &self.keys
    }

    /// Finds the key of an id.
    pub fn key(&self, id: &KeyId) -> Option<&'a Key> {
        self.keys.iter().find(|(listed, _)| *listed == id).and_then(|(_, key)| *key)
    }

    /// Tells how many distinct usable keys there are: one public key under two ids is one key.
    pub fn distinct_keys(&self) -> usize {
        let mut usable = self.keys.iter().filter_map(|(_, key)| key.and_then(fingerprint));
        match self.keys.len() {
            // most roles have one
            1 => usize::from(usable.next().is_some()),
            _ => usable.collect::<BTreeSet<_>>().len(),
        }
    }

    /// Returns what is found where nothing is signed.
    pub fn unsigned(&self) -> VerificationResult {
        let missing = self.keys.iter().map(|(id, _)| (*id).clone()).collect();
        VerificationResult { threshold: self.threshold, signed: Vec::new(), missing }
    }

    /// Checks signatures over bytes. What is found valid is noted beside them, and not computed again.
    pub fn check(&self, covered: Covered<'_>) -> VerificationResult {
        let mut counted: BTreeSet<Fingerprint> = BTreeSet::new();
        let mut result =
            VerificationResult { threshold: self.threshold, signed: Vec::new(), missing: Vec::new() };
        let signatures = Signatures::of(covered, self.keys.len());
        for (id, key) in &self.keys {
            match key.and_then(|key| holds(covered, key, signatures.by(id)?)) {
                Some(identity) => {
                    if counted.insert(identity) {
                        result.signed.push((*id).clone());
                    }
                }
                None => result.missing.push((*id).clone()),
            }
        }
        result
    }

    /// Tells whether enough distinct keys signed, with no more work than that takes: it ends with the signature that meets
    /// the threshold, and gives up where signatures cost more than [`MOST_WORK`]. Who signs and who delegates choose how many
    /// keys and signatures there are.
    pub fn is_met(&self, covered: Covered<'_>) -> bool {
        let mut counted: BTreeSet<Fingerprint> = BTreeSet::new();
        let signatures = Signatures::of(covered, self.keys.len());
        let mut work = MOST_WORK;
        for (id, key) in &self.keys {
            let Some((key, signature)) = key.zip(signatures.by(id)) else { continue };
            let Some((identity, proof)) = proof_of(key, signature) else { continue };
            if counted.contains(&identity) {
                continue;
            }
            let is_valid = match covered.proofs.found(&proof) {
                Some(is_valid) => is_valid,
                None => {
                    let cost = SIGNATURE_WORK.saturating_add(covered.bytes.len() as u64);
                    let Some(left) = work.checked_sub(cost) else { return false };
                    work = left;
                    computed(covered, key, signature, proof)
                }
            };
            if is_valid && counted.insert(identity) && self.threshold.lacking(counted.len()) == 0 {
                return true;
            }
        }
        false
    }

    /// Returns what [`Self::check`] finds where [`Self::is_met`] says no, without computing any signature.
    fn lacking(&self, covered: Covered<'_>) -> VerificationResult {
        let signatures = Signatures::of(covered, self.keys.len());
        let (mut counted, mut result) = (BTreeSet::new(), self.unsigned());
        result.missing.clear();
        for (id, key) in &self.keys {
            let proof = key.zip(signatures.by(id)).and_then(|(key, signature)| proof_of(key, signature));
            match proof.filter(|(_, proof)| covered.proofs.found(proof) == Some(true)) {
                Some((identity, _)) => {
                    if counted.insert(identity) {
                        result.signed.push((*id).clone());
                    }
                }
                None => result.missing.push((*id).clone()),
            }
        }
        result
    }
}

/// How much one check of a threshold may cost, in bytes that are hashed: a signature is verified over the whole of the
/// metadata. That is about half a second; the largest metadata has fifty signatures then, and a small one thousands.
const MOST_WORK: u64 = 256 << 20;
/// What a signature costs beside the bytes that it covers, in bytes that are hashed meanwhile.
const SIGNATURE_WORK: u64 = 32 << 10;
/// Up to this many keys each look for their signature among all of them.
const FEW_KEYS: usize = 4;
/// More digits than the signature of any key has that is understood here: no more of them are read.
const MOST_DIGITS: usize = 1 << 14;

/// The signatures of some metadata, to be found by the id of their key.
enum Signatures<'a> {
    /// For few keys.
    Few(&'a [Signature]),
    /// For many keys, or else each would be compared with each.
    Many(HashMap<&'a KeyId, &'a Signature>),
}

impl<'a> Signatures<'a> {
    fn of(covered: Covered<'a>, keys: usize) -> Self {
        if keys <= FEW_KEYS {
            return Self::Few(covered.signatures);
        }
        // of two by one id the first counts
        let last_first = covered.signatures.iter().rev();
        Self::Many(last_first.map(|signature| (&signature.keyid, signature)).collect())
    }

    fn by(&self, id: &KeyId) -> Option<&'a Signature> {
        match self {
            Self::Few(all) => all.iter().find(|signature| signature.keyid == *id),
            Self::Many(by_id) => by_id.get(id).copied(),
        }
    }
}

/// A signature that has just been made here.
pub(crate) struct Made<'a> {
    /// The bytes that were signed.
    pub(crate) covered: Covered<'a>,
    /// The key, as metadata states it.
    pub(crate) key: &'a Key,
    /// The signature.
    pub(crate) signature: &'a Signature,
}

/// Notes which of many signatures that have just been made here are valid: those by one key together, for less than half of
/// what each alone costs. Of those that are not noted, [`Authority::check`] computes each as ever.
pub(crate) fn note_made<'a>(all: impl Iterator<Item = Made<'a>>) {
    let mut by_key: BTreeMap<(&str, &str, Fingerprint), Vec<Made<'a>>> = BTreeMap::new();
    for made in all {
        if let Some(identity) = fingerprint(made.key) {
            let same = (made.key.keytype.as_str(), made.key.scheme.as_str(), identity);
            by_key.entry(same).or_default().push(made);
        }
    }
    let note = |some: &[Made<'_>]| {
        let decode = |made: &Made<'_>| hex::decode(&made.signature.sig).ok();
        let decoded: Option<Vec<Vec<u8>>> = some.iter().map(decode).collect();
        let Some((decoded, first)) = decoded.zip(some.first()) else { return };
        let bytes = some.iter().map(|made| made.covered.bytes);
        let pairs: Vec<(&[u8], &[u8])> = bytes.zip(decoded.iter().map(Vec::as_slice)).collect();
        if verify_made(first.key, &pairs) {
            for made in some {
                proof_of(made.key, made.signature)
                    .into_iter()
                    .for_each(|(_, proof)| made.covered.proofs.add(proof, true));
            }
        }
    };
    for together in by_key.values().filter(|together| together.len() >= FEW_SIGNATURES) {
        together.par_chunks(SOME_SIGNATURES).for_each(note);
    }
}

/// Fewer signatures by one key are left to be verified one by one.
const FEW_SIGNATURES: usize = 16;
/// At most this many are verified together, by one core.
const SOME_SIGNATURES: usize = 512;

/// Returns whose signature one would be if it were valid, and what would be noted of it then.
fn proof_of(key: &Key, signature: &Signature) -> Option<(Fingerprint, Vec<u8>)> {
    if signature.sig.len() > MOST_DIGITS {
        return None;
    }
    let identity = fingerprint(key)?;
    let stated = [key.keytype.as_str(), &key.scheme, &signature.sig].join("\0");
    Some((identity, [identity.as_bytes(), stated.as_bytes()].concat()))
}

/// Returns whose signature one is; `None` where it is not valid.
fn holds(covered: Covered<'_>, key: &Key, signature: &Signature) -> Option<Fingerprint> {
    let (identity, proof) = proof_of(key, signature)?;
    let is_valid = match covered.proofs.found(&proof) {
        Some(is_valid) => is_valid,
        None => computed(covered, key, signature, proof),
    };
    is_valid.then_some(identity)
}

/// Computes whether a signature is valid, and notes it.
fn computed(covered: Covered<'_>, key: &Key, signature: &Signature, proof: Vec<u8>) -> bool {
    let bytes = hex::decode(&signature.sig).ok();
    let is_valid = bytes.is_some_and(|bytes| verify_signature(key, covered.bytes, &bytes).is_ok());
    covered.proofs.add(proof, is_valid);
    is_valid
}

/// What a check of signatures found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationResult {
    threshold: Threshold,
    signed: Vec<KeyId>,
    missing: Vec<KeyId>,
}

impl VerificationResult {
    /// Tells whether enough keys signed.
    pub fn is_verified(&self) -> bool {
        self.lacking() == 0
    }

    /// Tells how many more signatures are needed.
    pub fn lacking(&self) -> u64 {
        self.threshold.lacking(self.signed.len())
    }

    /// Returns how many distinct keys must sign.
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Returns the ids of the distinct keys that did; one public key under two ids counts once.
    pub fn signed(&self) -> &[KeyId] {
        &self.signed
    }

    /// Returns the ids of the keys that may sign and did not, or not validly.
    pub fn missing(&self) -> &[KeyId] {
        &self.missing
    }
}

/// Metadata was not signed as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} v{version} has {} of {} required signatures", .result.signed.len(), .result.threshold)]
pub struct Unsigned {
    /// The role.
    pub role: RoleName,
    /// The version that the metadata states.
    pub version: u64,
    /// Which keys signed and which did not.
    pub result: VerificationResult,
}

/// Whoever delegates trust: a root or a role with delegations.
pub trait Delegator {
    /// Returns the keys and the threshold of a role; `None` where there is no such delegation.
    fn authority(&self, role: &RoleName) -> Option<Authority<'_>>;
}

impl Delegator for Root {
    fn authority(&self, role: &RoleName) -> Option<Authority<'_>> {
        let RoleKeys { keyids, threshold, .. } = self.roles.get(role.as_str())?;
        Some(Authority::new(role.clone(), *threshold, keyids, &self.keys))
    }
}

impl Delegator for Delegations {
    fn authority(&self, role: &RoleName) -> Option<Authority<'_>> {
        if let Some(delegated) = self.role(role) {
            return Some(Authority::new(role.clone(), delegated.threshold, &delegated.keyids, &self.keys));
        }
        let bins = self.succinct_roles.as_ref().filter(|bins| bins.is_bin(role.as_str()))?;
        Some(Authority::new(role.clone(), bins.threshold, &bins.keyids, &self.keys))
    }
}

impl Delegator for Targets {
    fn authority(&self, role: &RoleName) -> Option<Authority<'_>> {
        self.delegations.as_ref()?.authority(role)
    }
}

/// Metadata that was signed by a threshold of the keys its delegator trusts. Whether it is current is for
/// [`crate::trusted_set`] to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T>(Metadata<T>);

impl<T: Signed> Verified<T> {
    /// Returns what was signed.
    pub fn signed(&self) -> &T {
        self.0.signed()
    }

    /// Gives up the signatures.
    pub fn into_signed(self) -> T {
        self.0.into_signed()
    }

    /// Returns the metadata with its signatures.
    pub fn metadata(&self) -> &Metadata<T> {
        &self.0
    }
}

impl Verified<Targets> {
    /// Gives up what this crate does not know of it. What was verified stays verified.
    pub(crate) fn forget_unknown(&mut self) {
        self.0.forget_unknown();
    }
}

/// Checks that metadata is signed by a threshold of an authority's keys.
///
/// # Errors
/// [`Unsigned`] where it is not.
pub fn verify_delegate<T: Signed>(
    authority: &Authority<'_>,
    metadata: Metadata<T>,
) -> Result<Verified<T>, Unsigned> {
    require(authority, &metadata)?;
    Ok(Verified(metadata))
}

/// Checks that some metadata is signed by a threshold of an authority's keys.
///
/// # Errors
/// [`Unsigned`] where it is not.
pub(crate) fn require<T: Signed>(authority: &Authority<'_>, metadata: &Metadata<T>) -> Result<(), Unsigned> {
    if authority.is_met(metadata.covered()) {
        return Ok(());
    }
    let result = authority.lacking(metadata.covered());
    Err(Unsigned { role: authority.role.clone(), version: metadata.signed().version(), result })
}

/// Checks a root that stands alone: signed by a threshold of its own keys.
///
/// # Errors
/// [`Unsigned`] where it is not.
pub fn verify_self_signed(root: Metadata<Root>) -> Result<Verified<Root>, Unsigned> {
    require(&own_authority(root.signed()), &root)?;
    Ok(Verified(root))
}

/// Checks a root that succeeds a trusted one: signed by a threshold of both roots' keys (specification 5.3.4).
///
/// # Errors
/// [`Unsigned`] with the first threshold that is not met.
pub fn verify_successor(trusted: &Root, root: Metadata<Root>) -> Result<Verified<Root>, Unsigned> {
    require(&own_authority(trusted), &root)?;
    verify_self_signed(root)
}

/// Returns a root's own keys; a root without them trusts nobody, and nobody meets a threshold without keys.
fn own_authority(root: &Root) -> Authority<'_> {
    let nobody = Authority { role: RoleName::root(), threshold: Threshold::ONE, keys: Vec::new() };
    root.authority(&RoleName::root()).unwrap_or(nobody)
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::{DateTime, TimeZone, Utc};

    use super::*;
    use crate::crypto::{KeyType, PrivateKey, Signer};
    use crate::metadata::{Extra, Root};

    pub(crate) fn key() -> PrivateKey {
        PrivateKey::generate(KeyType::Ed25519).unwrap()
    }

    pub(crate) fn later() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2040, 1, 1, 0, 0, 0).unwrap()
    }

    pub(crate) fn trust(root: &mut Root, role: &str, keys: &[&PrivateKey], threshold: u64) {
        for key in keys {
            root.keys.insert(key.public_key().id(), key.public_key().clone());
        }
        let keyids = keys.iter().map(|key| key.public_key().id()).collect();
        let threshold = Threshold::new(threshold).unwrap();
        root.roles.insert(role.to_owned(), RoleKeys { keyids, threshold, extra: Extra::new() });
    }

    pub(crate) fn signed<T: Signed>(signed: T, keys: &[&PrivateKey]) -> Metadata<T> {
        let mut metadata = Metadata::unsigned(signed).unwrap();
        metadata.signatures = keys
            .iter()
            .map(|key| {
                let bytes = key.sign(&key.public_key().scheme, metadata.signed_bytes()).unwrap();
                Signature::new(key.public_key().id(), &bytes)
            })
            .collect();
        metadata
    }

    #[test]
    fn counts_distinct_keys_not_ids() {
        let (one, two) = (key(), key());
        let mut root = Root::new(true, later());
        trust(&mut root, "root", &[&one, &two], 2);
        let alias = KeyId::new("another-name");
        root.keys.insert(alias.clone(), one.public_key().clone());
        root.roles.get_mut("root").unwrap().keyids.push(alias.clone());
        let mut metadata = signed(root.clone(), &[&one]);
        let again = Signature { keyid: alias, ..metadata.signatures[0].clone() };
        metadata.signatures.push(again);
        let error = verify_self_signed(metadata).unwrap_err();
        assert_eq!(error.to_string(), "root v1 has 1 of 2 required signatures");
        assert!(verify_self_signed(signed(root, &[&one, &two])).is_ok());
    }

    #[test]
    fn an_id_listed_twice_counts_once() {
        let one = key();
        let mut root = Root::new(true, later());
        trust(&mut root, "root", &[&one], 2);
        let id = one.public_key().id();
        root.roles.get_mut("root").unwrap().keyids = vec![id.clone(), id];
        assert!(verify_self_signed(signed(root, &[&one])).is_err());
    }

    #[test]
    fn bad_signatures_beside_enough_good_ones_do_no_harm() {
        let (one, two, stranger) = (key(), key(), key());
        let mut root = Root::new(true, later());
        trust(&mut root, "root", &[&one, &two], 1);
        let mut metadata = signed(root, &[&stranger, &one, &two]);
        metadata.signatures[2].sig = "not hexadecimal".into();
        assert!(verify_self_signed(metadata).is_ok());
    }

    #[test]
    fn an_unknown_scheme_simply_does_not_count() {
        let one = key();
        let mut root = Root::new(true, later());
        trust(&mut root, "root", &[&one], 1);
        root.keys.insert(KeyId::new("alien"), Key::new("alien", "alien-sig", "x"));
        root.roles.get_mut("root").unwrap().keyids.insert(0, KeyId::new("alien"));
        let mut metadata = signed(root, &[&one]);
        metadata.signatures.push(Signature::new(KeyId::new("alien"), b"x"));
        assert!(verify_self_signed(metadata).is_ok());
    }

    #[test]
    fn a_successor_needs_both_thresholds() {
        let (old, new) = (key(), key());
        let mut trusted = Root::new(true, later());
        trust(&mut trusted, "root", &[&old], 1);
        let mut next = trusted.clone();
        next.version = 2;
        trust(&mut next, "root", &[&new], 1);
        assert!(verify_successor(&trusted, signed(next.clone(), &[&old])).is_err());
        assert!(verify_successor(&trusted, signed(next.clone(), &[&new])).is_err());
        assert!(verify_successor(&trusted, signed(next, &[&old, &new])).is_ok());
    }

    #[test]
    fn signatures_made_together_are_noted_and_one_that_is_wrong_is_not() {
        let (one, other) = (key(), key());
        let all: Vec<Metadata<Root>> = (0..FEW_SIGNATURES as u64)
            .map(|index| {
                let mut root = Root::new(true, later());
                root.version = index + 1;
                signed(root, &[&one])
            })
            .collect();
        fn made<'a>(all: &'a [Metadata<Root>], key: &'a Key) -> impl Iterator<Item = Made<'a>> {
            all.iter().map(move |metadata| Made {
                covered: metadata.covered(),
                key,
                signature: &metadata.signatures[0],
            })
        }
        let noted = |all: &[Metadata<Root>]| {
            let proof =
                |metadata: &Metadata<Root>| proof_of(one.public_key(), &metadata.signatures[0]).unwrap().1;
            all.iter()
                .filter(|metadata| metadata.covered().proofs.found(&proof(metadata)) == Some(true))
                .count()
        };
        note_made(made(&all[1..], one.public_key()));
        assert_eq!(noted(&all), 0, "few are left to be verified alone");
        note_made(made(&all, other.public_key()));
        assert_eq!(noted(&all), 0, "by another key");
        let mut wrong = all.clone();
        wrong[3].signatures = all[4].signatures.clone();
        note_made(made(&wrong, one.public_key()));
        assert_eq!(noted(&wrong), 0);
        let id = one.public_key().id();
        let keys = vec![(&id, Some(one.public_key()))];
        let authority = Authority { role: RoleName::root(), threshold: Threshold::ONE, keys };
        assert!(!authority.check(wrong[3].covered()).is_verified());
        assert!(authority.check(wrong[4].covered()).is_verified());
        note_made(made(&all, one.public_key()));
        assert_eq!(noted(&all), all.len());
    }

    #[test]
    fn a_foreign_key_id_is_a_name_not_a_sum() {
        let one = key();
        let mut root = Root::new(true, later());
        let id = KeyId::new("release-key-2019");
        root.keys.insert(id.clone(), one.public_key().clone());
        root.roles.get_mut("root").unwrap().keyids.push(id.clone());
        let mut metadata = signed(root, &[&one]);
        metadata.signatures[0].keyid = id;
        assert!(verify_self_signed(metadata).is_ok());
    }

    /// A delegation that lists many ids, and a role with as many signatures: each was once compared with each.
    #[test]
    fn ids_without_a_key_and_signatures_by_nobody_cost_no_more_than_they_are_long() {
        let one = key();
        let mut root = Root::new(true, later());
        trust(&mut root, "root", &[&one], 1);
        let keyids = &mut root.roles.get_mut("root").unwrap().keyids;
        keyids.splice(0..0, (0..40_000).map(|index| KeyId::new(format!("k{index}"))));
        let mut metadata = signed(root, &[&one]);
        let bogus = (0..40_000).map(|index| Signature::new(KeyId::new(format!("s{index}")), b"x"));
        metadata.signatures.splice(0..0, bogus);
        let start = std::time::Instant::now();
        assert!(own_authority(metadata.signed()).check(metadata.covered()).is_verified());
        assert!(verify_self_signed(metadata).is_ok());
        // each with each took minutes here
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    /// Keys by these many ids, with a signature by each that is wrong; the last one is right.
    fn wrong_ones(count: usize, root: &mut Root) -> Metadata<Root> {
        let one = key();
        trust(root, "root", &[&one], 1);
        let others: Vec<KeyId> = (0..count).map(|index| KeyId::new(format!("k{index}"))).collect();
        for id in &others {
            root.keys.insert(id.clone(), key().public_key().clone());
        }
        root.roles.get_mut("root").unwrap().keyids.splice(0..0, others.clone());
        let mut metadata = signed(root.clone(), &[&one]);
        let bogus = others.into_iter().map(|id| Signature::new(id, &[1; 64]));
        metadata.signatures.splice(0..0, bogus);
        metadata
    }

    #[test]
    fn a_wrong_signature_is_computed_once_however_many_delegate_to_the_role() {
        let mut root = Root::new(true, later());
        let metadata = wrong_ones(20, &mut root);
        let authority = own_authority(metadata.signed());
        assert!(authority.is_met(metadata.covered()));
        for (id, key) in &authority.keys()[..20] {
            let signature = metadata.signatures.iter().find(|signature| signature.keyid == **id).unwrap();
            let proof = proof_of(key.unwrap(), signature).unwrap().1;
            assert_eq!(metadata.covered().proofs.found(&proof), Some(false));
        }
        let few = authority.with_only(|id, _| id.as_str().starts_with('k'));
        let error = require(&few, &metadata).unwrap_err();
        assert_eq!((error.result.signed().len(), error.result.missing().len()), (0, 20));
    }

    #[test]
    fn wrong_signatures_over_long_metadata_do_not_hold_a_client_up_for_long() {
        let mut root = Root::new(true, later());
        let metadata = wrong_ones(70, &mut root);
        let long = vec![b'x'; 5 << 20];
        let covered = Covered { bytes: &long, ..metadata.covered() };
        let authority = own_authority(metadata.signed());
        assert!(!authority.is_met(covered));
        let tried = |(id, key): &&(&KeyId, Option<&Key>)| {
            let signature = metadata.signatures.iter().find(|signature| signature.keyid == **id).unwrap();
            covered.proofs.found(&proof_of(key.unwrap(), signature).unwrap().1).is_some()
        };
        assert_eq!(authority.keys().iter().filter(tried).count(), 50);
        // as long as metadata is in truth, there is room for all of them
        assert!(verify_self_signed(wrong_ones(300, &mut Root::new(true, later()))).is_ok());
    }

    #[test]
    fn once_the_threshold_is_met_no_more_signatures_are_computed_but_status_sees_them_all() {
        let (one, two, three) = (key(), key(), key());
        let mut root = Root::new(true, later());
        trust(&mut root, "root", &[&one, &two, &three], 2);
        let metadata = signed(root, &[&one, &two, &three]);
        let authority = own_authority(metadata.signed());
        assert!(authority.is_met(metadata.covered()));
        let known = |signature: &&Signature| {
            let proof = proof_of(authority.key(&signature.keyid).unwrap(), signature).unwrap().1;
            metadata.covered().proofs.found(&proof).is_some()
        };
        assert_eq!(metadata.signatures.iter().filter(known).count(), 2);
        assert_eq!(authority.check(metadata.covered()).signed().len(), 3);
    }
}
