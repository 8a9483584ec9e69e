//! Targets metadata and delegations (specification 4.5, TAP 15 for hash bins).

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::roles::{SIGNED_DEPTH, Signed, signed};
use super::target_path::{Steps, path_hash, pattern_matches_within};
use super::{Extra, Hashes, Key, KeyId, RoleName, SPEC_VERSION, TargetMap, Text, Threshold};
use crate::canonical::{self, CanonicalError};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum TargetsType {
    #[default]
    #[serde(rename = "targets")]
    Targets,
}

/// What metadata says of one target file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetFile {
    /// The length in bytes.
    pub length: u64,
    /// The digests.
    pub hashes: Hashes,
    /// Data for the application, opaque here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Target files and delegations of one role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Targets {
    #[serde(rename = "_type")]
    kind: TargetsType,
    /// The version of the specification.
    pub spec_version: String,
    /// The version of this metadata.
    pub version: u64,
    /// When it stops being trusted.
    #[serde(with = "super::time")]
    pub expires: DateTime<Utc>,
    /// The files by target path.
    pub targets: TargetMap,
    /// Whom this role trusts in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Targets {
    /// Version 1, empty.
    pub fn new(expires: DateTime<Utc>) -> Self {
        let mut targets = Self {
            kind: TargetsType::Targets,
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            expires,
            targets: TargetMap::new(),
            delegations: None,
            extra: Extra::new(),
        };
        targets.set_expires(expires);
        targets
    }
}

impl Targets {
    /// Gives up the members that this crate does not know, and all of a key but its public half: in memory they may be a
    /// hundred times as long as in the file.
    pub(crate) fn forget_unknown(&mut self) {
        self.extra = Extra::new();
        let Some(delegations) = &mut self.delegations else { return };
        delegations.extra = Extra::new();
        for key in delegations.keys.values_mut() {
            key.extra = Extra::new();
            key.keyval.retain(|name, _| name == "public");
        }
        delegations.roles.iter_mut().flatten().for_each(|role| role.extra = Extra::new());
        if let Some(bins) = &mut delegations.succinct_roles {
            bins.extra = Extra::new();
        }
    }
}

signed!(
    Targets,
    "targets",
    |targets: &Targets| targets.delegations.as_ref().map_or(Ok(()), Delegations::check),
    listing targets
);

/// A role's delegations: the keys, and the roles in order of priority or the hash bins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delegations {
    /// The keys of all delegated roles by id.
    pub keys: BTreeMap<KeyId, Key>,
    /// The delegated roles, the first one trusted most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<DelegatedRole>>,
    /// Hash bins (TAP 15), instead of `roles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succinct_roles: Option<SuccinctRoles>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
    /// Where each role stands, for look-ups.
    #[serde(skip)]
    pub places: Places,
}

/// Where in a long list of delegations each role stands, found out when it is first asked for. The list may have been
/// edited since: what is found is checked, and what is not is searched for.
#[derive(Default)]
pub struct Places(OnceLock<HashMap<RoleName, usize>>);

impl Clone for Places {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

/// Up to this many delegations are searched one by one.
const FEW_DELEGATIONS: usize = 16;

impl Delegations {
    /// No delegation yet.
    pub fn new() -> Self {
        Self { roles: Some(Vec::new()), ..Self::default() }
    }

    /// Returns the delegated roles in order; none where hash bins are used.
    pub fn roles(&self) -> &[DelegatedRole] {
        self.roles.as_deref().unwrap_or_default()
    }

    /// Finds a delegated role by name.
    pub fn role(&self, name: &RoleName) -> Option<&DelegatedRole> {
        let roles = self.roles();
        if roles.len() > FEW_DELEGATIONS {
            let places = self.places.0.get_or_init(|| {
                roles.iter().enumerate().map(|(place, role)| (role.name.clone(), place)).collect()
            });
            let found = places.get(name).and_then(|place| roles.get(*place));
            if let Some(role) = found.filter(|role| role.name == *name) {
                return Some(role);
            }
        }
        roles.iter().find(|role| role.name == *name)
    }

    /// Returns where a delegation stands among the others; a hash bin's place is its number.
    pub fn place(&self, name: &RoleName) -> Option<u64> {
        match &self.succinct_roles {
            Some(bins) => bins.index(name.as_str()),
            None => {
                let place = self.roles().iter().position(|role| role.name == *name)?;
                u64::try_from(place).ok()
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.roles.is_some() == self.succinct_roles.is_some() {
            return Err("delegations need either 'roles' or 'succinct_roles'".to_owned());
        }
        let mut names = BTreeSet::new();
        for role in self.roles() {
            if role.name.is_top_level() {
                return Err(format!("a delegation has the name of the top-level role '{}'", role.name));
            }
            if !names.insert(&role.name) {
                return Err(format!("two delegations have the name '{}'", role.name));
            }
            if role.paths.is_some() && role.path_hash_prefixes.is_some() {
                return Err(format!(
                    "the delegation '{}' has both 'paths' and 'path_hash_prefixes'",
                    role.name
                ));
            }
        }
        Ok(())
    }
}

/// One delegation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// The name of the role that is trusted.
    pub name: RoleName,
    /// The ids of its keys.
    pub keyids: Vec<KeyId>,
    /// How many distinct keys must sign.
    pub threshold: Threshold,
    /// Whether the search for a target that matches ends here.
    #[serde(default)]
    pub terminating: bool,
    /// Patterns of the paths that the role is trusted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Prefixes of the SHA-256 of the paths that the role is trusted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl DelegatedRole {
    /// Tells whether the role is trusted for a target path.
    pub fn trusts(&self, path: &str) -> bool {
        self.trusts_within(path, &OnceCell::new(), &mut Steps::new(u64::MAX))
    }

    /// Tells the same within a number of steps. `hash` keeps the digest of the path for the next role.
    pub(crate) fn trusts_within(&self, path: &str, hash: &OnceCell<String>, steps: &mut Steps) -> bool {
        if let Some(patterns) = &self.paths {
            return patterns.iter().any(|pattern| pattern_matches_within(pattern, path, steps));
        }
        let Some(prefixes) = &self.path_hash_prefixes else { return false };
        let hash = hash.get_or_init(|| path_hash(path));
        prefixes.iter().any(|prefix| steps.take(1) && hash.starts_with(prefix.as_str()))
    }
}

/// Hash bins of equal keys: `2^bit_length` roles named `PREFIX-INDEX` (TAP 15).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuccinctRoles {
    /// The ids of the keys of every bin.
    pub keyids: Vec<KeyId>,
    /// How many distinct keys must sign.
    pub threshold: Threshold,
    /// How many leading bits of a path's SHA-256 choose the bin, 1 to 32.
    #[serde(deserialize_with = "bit_length")]
    pub bit_length: u32,
    /// What the names of the bins start with.
    pub name_prefix: String,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

fn bit_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let bits = u32::deserialize(deserializer)?;
    if (1..=32).contains(&bits) {
        Ok(bits)
    } else {
        Err(serde::de::Error::custom("bit_length is not 1 to 32"))
    }
}

impl SuccinctRoles {
    /// Returns how many bins there are.
    pub fn bins(&self) -> u64 {
        1 << self.bit_length
    }

    /// Returns the name of a bin by its index.
    pub fn bin(&self, index: u64) -> String {
        let digits = (self.bit_length as usize).div_ceil(4);
        format!("{}-{index:0digits$x}", self.name_prefix)
    }

    /// Returns the name of the bin that a target path falls into.
    pub fn bin_for(&self, path: &str) -> String {
        let hash = <sha2::Sha256 as sha2::Digest>::digest(path.as_bytes());
        let head = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        self.bin(u64::from(head >> (32 - self.bit_length)))
    }

    /// Tells whether a name is that of one of the bins.
    pub fn is_bin(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    /// Returns the index of the bin that has a name.
    pub fn index(&self, name: &str) -> Option<u64> {
        name.strip_prefix(self.name_prefix.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .filter(|index| *index < self.bins() && self.bin(*index) == name)
    }
}

/// Reads the members of an object that a visitor does not know into `extra`.
fn unknown<'de, A: MapAccess<'de>>(extra: &mut Extra, name: String, map: &mut A) -> Result<(), A::Error> {
    extra.insert(name, map.next_value()?);
    Ok(())
}

// By hand and not derived: serde's flatten buffers everything it is given, which for a large `targets` object
// costs several times the memory and the time.
impl<'de> Deserialize<'de> for TargetFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = TargetFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target file")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TargetFile, A::Error> {
                let (mut length, mut hashes, mut custom, mut extra) = (None, None, None, Extra::new());
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name.0 {
                        "length" => length = Some(map.next_value()?),
                        "hashes" => hashes = Some(map.next_value::<Hashes>()?),
                        "custom" => custom = Some(map.next_value()?),
                        _ => unknown(&mut extra, name.0.into_owned(), &mut map)?,
                    }
                }
                let missing = serde::de::Error::missing_field;
                let hashes = hashes.ok_or_else(|| missing("hashes"))?;
                if hashes.is_empty() {
                    return Err(serde::de::Error::custom("a target file lists no hash"));
                }
                Ok(TargetFile { length: length.ok_or_else(|| missing("length"))?, hashes, custom, extra })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Time(#[serde(with = "super::time")] DateTime<Utc>);
        #[derive(Deserialize)]
        struct Positive(#[serde(deserialize_with = "super::positive")] u64);

        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("targets metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Targets, A::Error> {
                let (mut kind, mut spec_version, mut version, mut expires) = (None, None, None, None);
                let (mut targets, mut delegations, mut extra) = (None, None, Extra::new());
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name.0 {
                        "_type" => kind = Some(map.next_value::<TargetsType>()?),
                        "spec_version" => spec_version = Some(map.next_value()?),
                        "version" => version = Some(map.next_value::<Positive>()?.0),
                        "expires" => expires = Some(map.next_value::<Time>()?.0),
                        "targets" => targets = Some(map.next_value()?),
                        "delegations" => delegations = Some(map.next_value()?),
                        _ => unknown(&mut extra, name.0.into_owned(), &mut map)?,
                    }
                }
                let missing = serde::de::Error::missing_field;
                Ok(Targets {
                    kind: kind.ok_or_else(|| missing("_type"))?,
                    spec_version: spec_version.ok_or_else(|| missing("spec_version"))?,
                    version: version.ok_or_else(|| missing("version"))?,
                    expires: expires.ok_or_else(|| missing("expires"))?,
                    targets: targets.ok_or_else(|| missing("targets"))?,
                    delegations,
                    extra,
                })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_bins_as_python_tuf_does() {
        let bins = |bit_length| SuccinctRoles {
            keyids: vec![],
            threshold: Threshold::ONE,
            bit_length,
            name_prefix: "bin".into(),
            extra: Extra::new(),
        };
        // tuf.api.metadata.SuccinctRoles(…).get_role_for_target("a.txt"); the SHA-256 starts with 18b7cb09
        assert_eq!(path_hash("a.txt")[..4].to_owned(), "18b7");
        assert_eq!(bins(8).bin_for("a.txt"), "bin-18");
        assert_eq!(bins(10).bin_for("a.txt"), "bin-062");
        assert_eq!(bins(32).bins(), 1 << 32);
        assert!(bins(10).is_bin("bin-3ff"));
        for name in ["bin-400", "bin-3FF", "bin-03ff", "bin-", "bin3ff", "x-3ff", "bin-+3f"] {
            assert!(!bins(10).is_bin(name), "{name}");
        }
    }

    #[test]
    fn a_delegation_trusts_by_pattern_or_by_hash_prefix() {
        let text = r#"{"name":"r","keyids":[],"threshold":1,"terminating":false,"paths":["a/*"]}"#;
        let mut role: DelegatedRole = serde_json::from_str(text).unwrap();
        assert!(role.trusts("a/b") && !role.trusts("b"));
        role.paths = None;
        assert!(!role.trusts("a/b"));
        role.path_hash_prefixes = Some(vec!["00".into(), path_hash("a/b")[..3].to_owned()]);
        assert!(role.trusts("a/b"));
    }
}
