//! Sequences of metadata, each signed and dated as the input says, offered to the trusted set; after each step it must
//! hold what the specification promises.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, Duration, Utc};
use tuf::crypto::{KeyType, PrivateKey, Signer};
use tuf::metadata::{
    DelegatedRole, Delegations, Extra, MetaFile, MetaMap, Metadata, RoleKeys, RoleName, Root, Signature,
    Signed, Snapshot, Targets, Threshold, Timestamp,
};
use tuf::trusted_set::{Origin, TrustedMetadataSet};

/// How many keys there are; roles trust a few of them.
const KEYS: usize = 4;

fn keys() -> &'static [PrivateKey] {
    static KEYS_MADE: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    KEYS_MADE.get_or_init(|| (0..KEYS).map(|_| PrivateKey::generate(KeyType::Ed25519).unwrap()).collect())
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(10_000)
}

/// Reads small choices from the input; an input that has ended chooses zero.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    /// A low version, or the highest there is.
    fn version(&mut self) -> u64 {
        match self.below(16) {
            15 => tuf::metadata::MAX_NUMBER,
            low => u64::from(low % 6) + 1,
        }
    }

    fn expires(&mut self) -> DateTime<Utc> {
        now() + Duration::days(if self.below(8) == 7 { -1 } else { 1 })
    }

    fn trusted(&mut self) -> RoleKeys {
        let chosen = self.byte();
        let keyids =
            (0..KEYS).filter(|index| chosen >> index & 1 == 1).map(|index| keys()[index].public_key().id());
        let threshold = Threshold::new(u64::from(chosen >> 6) + 1).unwrap();
        RoleKeys { keyids: keyids.collect(), threshold, extra: Extra::new() }
    }

    /// Signs with the keys that the input chooses, and spoils the file where it says so.
    fn signed<T: Signed>(&mut self, role: T) -> Vec<u8> {
        let mut metadata = Metadata::unsigned(role).unwrap();
        let signers = self.byte();
        for (index, key) in keys().iter().enumerate().filter(|(index, _)| signers >> index & 1 == 1) {
            let bytes = key.sign(&key.public_key().scheme, metadata.signed_bytes()).unwrap();
            let bytes = if signers >> 6 == 3 && index == 0 { vec![0; 64] } else { bytes };
            metadata.signatures.push(Signature::new(key.public_key().id(), &bytes));
        }
        let mut bytes = metadata.to_bytes().unwrap();
        if signers >> 4 & 3 == 3 {
            let at = usize::from(self.byte()) * bytes.len() / 256;
            bytes[at] ^= 1;
        }
        bytes
    }

    fn root(&mut self, version: u64) -> Root {
        let mut root = Root::new(true, self.expires());
        root.version = version;
        for key in keys() {
            root.keys.insert(key.public_key().id(), key.public_key().clone());
        }
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let trusted = self.trusted();
            root.roles.insert(role.to_owned(), trusted);
        }
        root
    }

    fn timestamp(&mut self) -> Timestamp {
        let mut timestamp = Timestamp::new(MetaFile::new(self.version()), self.expires());
        timestamp.version = self.version();
        timestamp
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut meta = BTreeMap::from([("targets.json".to_owned(), MetaFile::new(self.version()))]);
        for name in ["a", "b"] {
            if self.below(3) > 0 {
                meta.insert(format!("{name}.json"), MetaFile::new(self.version()));
            }
        }
        let meta = MetaMap::of(meta).expect("versions that can be read");
        let mut snapshot = Snapshot::new(meta, self.expires());
        snapshot.version = self.version();
        snapshot
    }

    fn targets(&mut self) -> Targets {
        let mut targets = Targets::new(self.expires());
        targets.version = self.version();
        let mut delegations = Delegations::new();
        for key in keys() {
            delegations.keys.insert(key.public_key().id(), key.public_key().clone());
        }
        for name in ["a", "b"] {
            let RoleKeys { keyids, threshold, .. } = self.trusted();
            if self.below(2) == 1 {
                delegations.roles.get_or_insert_default().push(DelegatedRole {
                    name: RoleName::new(name).unwrap(),
                    keyids,
                    threshold,
                    terminating: self.below(2) == 1,
                    paths: Some(vec!["*".to_owned()]),
                    path_hash_prefixes: None,
                    extra: Extra::new(),
                });
            }
        }
        targets.delegations = Some(delegations);
        targets
    }
}

/// What must not go back.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    root: u64,
    timestamp: Option<u64>,
    announced: Option<u64>,
    snapshot: Option<BTreeMap<String, u64>>,
}

fn seen(set: &TrustedMetadataSet) -> Seen {
    let versions = |snapshot: &Snapshot| {
        snapshot.meta.iter().map(|(name, file)| (name.into_owned(), file.version)).collect::<BTreeMap<_, _>>()
    };
    Seen {
        root: set.root().version,
        timestamp: set.timestamp().map(|timestamp| timestamp.version),
        announced: set.timestamp().and_then(|timestamp| timestamp.snapshot()).map(|file| file.version),
        snapshot: set.snapshot().map(versions),
    }
}

/// Offers metadata to a trusted set, step by step.
pub fn trusted_set(data: &[u8]) {
    let mut choices = Choices(data);
    // a first root that is what it should be, so that the input need not find one
    let mut root = choices.root(1);
    for role in root.roles.values_mut() {
        role.keyids = keys()[..2].iter().map(|key| key.public_key().id()).collect();
        role.threshold = role.threshold.min(Threshold::new(2).unwrap());
    }
    let first = Choices(&[0x0f]).signed(root);
    let mut set = TrustedMetadataSet::new(&first, now()).unwrap();
    for _ in 0..24 {
        if choices.0.is_empty() {
            return;
        }
        let before = seen(&set);
        let is_root = step(&mut set, &mut choices);
        check(&before, &set, is_root);
    }
}

/// Makes one offer; tells whether it was a root that was taken.
fn step(set: &mut TrustedMetadataSet, choices: &mut Choices<'_>) -> bool {
    let targets = RoleName::targets();
    let delegated = RoleName::new(if choices.below(2) == 0 { "a" } else { "b" }).unwrap();
    match choices.below(8) {
        0 => {
            let version = if choices.below(4) == 0 { choices.version() } else { set.root().version + 1 };
            let root = choices.root(version);
            let bytes = choices.signed(root);
            return set.update_root(&bytes).is_ok();
        }
        1 | 2 => {
            let timestamp = choices.timestamp();
            let _ = set.update_timestamp(&choices.signed(timestamp));
        }
        3 | 4 => {
            let snapshot = choices.snapshot();
            let origin = if choices.below(2) == 0 { Origin::Local } else { Origin::Remote };
            let _ = set.update_snapshot(&choices.signed(snapshot), origin);
        }
        5 => {
            let metadata = choices.targets();
            let _ = set.update_targets(&choices.signed(metadata), &targets, &RoleName::root());
        }
        6 => {
            let delegator = if choices.below(2) == 0 { &targets } else { &RoleName::new("a").unwrap() };
            let metadata = choices.targets();
            let _ = set.update_targets(&choices.signed(metadata), &delegated, delegator);
        }
        _ => {
            let _ = set.verify_again(&delegated, &targets);
        }
    }
    false
}

fn check(before: &Seen, set: &TrustedMetadataSet, is_root: bool) {
    let after = seen(set);
    if is_root {
        assert_eq!(after.root, before.root + 1);
        assert!(
            set.targets(&RoleName::targets()).is_none(),
            "targets outlived the root that vouched for them"
        );
        return;
    }
    assert_eq!(after.root, before.root);
    // spec 5.4.3, 5.5.5: nothing goes back, nothing goes missing
    assert!(after.timestamp >= before.timestamp && after.announced >= before.announced);
    if let (Some(old), Some(new)) = (&before.snapshot, &after.snapshot) {
        assert!(old.iter().all(|(name, version)| new.get(name).is_some_and(|new| new >= version)));
    }
    // nothing is built upon what is missing or has expired
    if set.current_snapshot().is_ok() {
        assert!(set.snapshot().unwrap().expires > set.now());
        assert_eq!(set.snapshot().unwrap().version, after.announced.unwrap());
    }
    for name in ["targets", "a", "b"] {
        if let Some(targets) = set.targets(&RoleName::new(name).unwrap()) {
            assert!(targets.expires > set.now());
            assert!(after.snapshot.is_some() && after.timestamp.is_some());
        }
    }
}
