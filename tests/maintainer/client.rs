//! Clients that stand somewhere: at nothing but the first root, or at what was published once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tuf::metadata::RoleName;
use tuf::repository::bins::{Delegatee, delegatees};
use tuf::repository::{CheckOptions, Expiry, Layout, Side, TargetBytes, check};
use tuf::trusted_set::{Origin, TrustError, TrustedMetadataSet};

/// What a client keeps between two updates.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub root: Vec<u8>,
    pub timestamp: Option<Vec<u8>>,
    pub snapshot: Option<Vec<u8>>,
}

impl Standing {
    /// A client that knows one root and nothing else.
    pub fn at_root(folder: &Path, version: u64) -> Self {
        let root = fs::read(folder.join(format!("{version}.root.json"))).unwrap();
        Self { root, timestamp: None, snapshot: None }
    }

    /// Follows the specification's workflow through a folder, without regard to expiry. Returns what it stands at then
    /// and the version of its root.
    pub fn update(&self, folder: &Path) -> Result<(Self, u64), String> {
        let seen = self.follow(&|name| fs::read(folder.join(name)).ok())?;
        Ok((seen.standing, seen.root))
    }

    /// Follows the specification's workflow through metadata that is read by name, without regard to expiry.
    pub fn follow(&self, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Seen, String> {
        let needed = |name: &str| read(name).ok_or_else(|| format!("{name} is missing"));
        let told = |name: &str, error: TrustError| format!("{name}: {error}");
        let mut root = self.root.clone();
        let mut set = TrustedMetadataSet::new(&root, DateTime::<Utc>::MIN_UTC)
            .map_err(|error| told("trusted root", error))?;
        while let Some(next) = read(&format!("{}.root.json", set.root().version + 1)) {
            let after = format!("the root after v{}", set.root().version);
            set.update_root(&next).map_err(|error| told(&after, error))?;
            root = next;
        }
        if !set.keys_rotated() {
            if let Some(timestamp) = &self.timestamp {
                let _ = set.update_timestamp(timestamp);
            }
            if let Some(snapshot) = &self.snapshot {
                let _ = set.update_snapshot(snapshot, Origin::Local);
            }
        }
        let layout = Layout::of(set.root().consistent_snapshot);
        let timestamp = needed("timestamp.json")?;
        match set.update_timestamp(&timestamp).map(drop) {
            Err(TrustError::SameTimestamp { .. }) if self.timestamp.as_ref() == Some(&timestamp) => {}
            taken => taken.map_err(|error| told("timestamp.json", error))?,
        }
        let announced =
            set.timestamp().and_then(|timestamp| timestamp.snapshot()).map_or(0, |file| file.version);
        let name = layout.metadata_name(&RoleName::snapshot(), announced);
        let snapshot = needed(&name)?;
        set.update_snapshot(&snapshot, Origin::Remote).map_err(|error| told(&name, error))?;
        let mut roles = BTreeMap::new();
        let mut pending = vec![(RoleName::targets(), RoleName::root())];
        while let Some((role, delegator)) = pending.pop() {
            if set.targets(&role).is_some() {
                set.verify_again(&role, &delegator).map_err(|error| told(role.as_str(), error))?;
                continue;
            }
            let listed = set.snapshot().and_then(|snapshot| snapshot.role(&role));
            let name = layout.metadata_name(&role, listed.map_or(0, |file| file.version));
            let bytes = needed(&name)?;
            let targets =
                set.update_targets(&bytes, &role, &delegator).map_err(|error| told(&name, error))?;
            for delegatee in targets.delegations.as_ref().map(delegatees).unwrap_or_default() {
                match delegatee {
                    Delegatee::Role(child) => pending.push((child, role.clone())),
                    Delegatee::Bins(set) => pending.extend(set.all().map(|bin| (bin, role.clone()))),
                }
            }
            roles.insert(name, bytes);
        }
        let version = set.root().version;
        let standing = Self { root, timestamp: Some(timestamp), snapshot: Some(snapshot) };
        Ok(Seen { standing, root: version, roles })
    }
}

/// What a client has seen in an update.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Where it stands now.
    pub standing: Standing,
    /// The version of its root.
    pub root: u64,
    /// The files of the roles that list targets, by name.
    pub roles: BTreeMap<String, Vec<u8>>,
}

/// Asserts that every target of the snapshot that a client trusts can be had, in the consistent layout. Returns how many
/// there are.
pub fn served(metadata: &Path, targets: &Path, client: &Standing, why: &str) -> usize {
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let mut count = 0;
    let snapshot = json(client.snapshot.as_ref().unwrap());
    for (name, listed) in snapshot["signed"]["meta"].as_object().unwrap() {
        let role = json(&fs::read(metadata.join(format!("{}.{name}", listed["version"]))).unwrap());
        for (path, file) in role["signed"]["targets"].as_object().unwrap() {
            let hash = file["hashes"]["sha256"].as_str().unwrap();
            let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
            let place = targets.join(folder).join(format!("{hash}.{name}"));
            let bytes =
                fs::read(&place).unwrap_or_else(|error| panic!("{why}: {}: {error}", place.display()));
            assert_eq!(hex::encode(Sha256::digest(&bytes)), hash, "{why}: {}", place.display());
            count += 1;
        }
    }
    count
}

/// Checks one side of a repository as a new client does, target files too where their names hold digests.
pub fn new_client(repository: &Path, side: Side, layout: Layout) -> Result<(), String> {
    let targets = match layout {
        Layout::Consistent => TargetBytes::Digest,
        // a plain target is edited in place: what is live changes with it
        Layout::Plain => TargetBytes::Ignore,
    };
    let options = CheckOptions { side, expiry: Expiry::Allow, targets };
    let report = check(repository, options, DateTime::<Utc>::MIN_UTC).map_err(|error| error.to_string())?;
    report.first_error().map_or(Ok(()), |finding| Err(format!("{finding:?}")))
}
