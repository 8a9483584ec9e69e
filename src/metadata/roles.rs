//! The signed parts: root, timestamp, snapshot (specification 4.3, 4.4, 4.6). Targets have a file of their own.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{
    Extra, Key, KeyId, MetaFile, MetaMap, Positive, RoleName, SPEC_VERSION, SuccinctRoles, TOP_LEVEL, Text,
    Threshold,
};
use crate::canonical::{self, CanonicalError};

/// Within how many objects the signed part of a file stands.
pub(super) const SIGNED_DEPTH: usize = 1;

/// What all four kinds of signed metadata have in common.
pub trait Signed: Serialize + for<'de> Deserialize<'de> + Clone + PartialEq {
    /// The `_type` of the kind.
    const TYPE: &'static str;

    /// Returns the version, at least 1.
    fn version(&self) -> u64;
    /// Sets the version.
    fn set_version(&mut self, version: u64);
    /// Returns when the metadata stops being trusted.
    fn expires(&self) -> DateTime<Utc>;
    /// Sets when the metadata stops being trusted; fractions of seconds are cut off.
    fn set_expires(&mut self, expires: DateTime<Utc>);
    /// Returns the version of the specification that the metadata claims to follow.
    fn spec_version(&self) -> &str;
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A sentence for people.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
    /// Reads the model from canonical text, which may be kept.
    ///
    /// # Errors
    /// Where the text is not what the specification describes.
    fn read(canonical: &Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(&canonical::as_json(canonical))
    }
    /// Puts the model into canonical form, which may be kept.
    ///
    /// # Errors
    /// [`CanonicalError`] where it holds what canonical JSON refuses.
    fn into_canonical(self) -> Result<(Self, Bytes), CanonicalError> {
        let canonical = canonical::from_value_within(&self, SIGNED_DEPTH)?;
        Ok((self, canonical.into()))
    }
}

/// Implements [`Signed`] over the fields `version`, `expires` and `spec_version`. What is listed in a [`super::TextMap`], where
/// one is named, stays in the text.
macro_rules! signed {
    ($kind:ident, $type:literal, $check:expr $(, listing $map:ident)?) => {
        impl Signed for $kind {
            const TYPE: &'static str = $type;

            fn version(&self) -> u64 {
                self.version
            }

            fn set_version(&mut self, version: u64) {
                self.version = version;
            }

            fn expires(&self) -> DateTime<Utc> {
                self.expires
            }

            fn set_expires(&mut self, expires: DateTime<Utc>) {
                self.expires = chrono::SubsecRound::trunc_subsecs(expires, 0);
            }

            fn spec_version(&self) -> &str {
                &self.spec_version
            }

            fn check(&self) -> Result<(), String> {
                ($check)(self)
            }

            $(
                fn read(canonical: &Bytes) -> Result<Self, serde_json::Error> {
                    let Some(($map, rest)) = $crate::metadata::TextMap::taken_from(canonical)? else {
                        return serde_json::from_slice(&canonical::as_json(canonical));
                    };
                    Ok(Self { $map, ..serde_json::from_slice(&canonical::as_json(&rest))? })
                }

                fn into_canonical(mut self) -> Result<(Self, Bytes), CanonicalError> {
                    let listed = std::mem::take(&mut self.$map);
                    let (whole, listed) = listed.put_into(&canonical::from_value_within(&self, SIGNED_DEPTH)?)?;
                    self.$map = listed;
                    Ok((self, whole))
                }
            )?
        }
    };
}
pub(super) use signed;

/// A date as it is read.
#[derive(Deserialize)]
struct Time(#[serde(with = "super::time")] DateTime<Utc>);

/// The `_type` member: one value only for each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RootType {
    #[default]
    #[serde(rename = "root")]
    Root,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TimestampType {
    #[default]
    #[serde(rename = "timestamp")]
    Timestamp,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SnapshotType {
    #[default]
    #[serde(rename = "snapshot")]
    Snapshot,
}

/// The keys of a role and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// The ids of the keys.
    pub keyids: Vec<KeyId>,
    /// How many distinct keys must sign.
    pub threshold: Threshold,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl RoleKeys {
    /// No keys yet, threshold 1.
    pub fn none() -> Self {
        Self { keyids: Vec::new(), threshold: Threshold::ONE, extra: Extra::new() }
    }
}

/// The root of trust: the keys of the top-level roles (specification 4.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    #[serde(rename = "_type")]
    kind: RootType,
    /// The version of the specification.
    pub spec_version: String,
    /// The version of this metadata.
    #[serde(deserialize_with = "super::positive")]
    pub version: u64,
    /// When it stops being trusted.
    #[serde(with = "super::time")]
    pub expires: DateTime<Utc>,
    /// Whether metadata and targets are published under versioned and hash-named files.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// The keys by their ids.
    pub keys: BTreeMap<KeyId, Key>,
    /// Keys and threshold of each top-level role.
    pub roles: BTreeMap<String, RoleKeys>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Root {
    /// Version 1, no keys, threshold 1 for every role.
    pub fn new(consistent_snapshot: bool, expires: DateTime<Utc>) -> Self {
        let mut root = Self {
            kind: RootType::Root,
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            expires,
            consistent_snapshot,
            keys: BTreeMap::new(),
            roles: TOP_LEVEL.iter().map(|role| ((*role).to_owned(), RoleKeys::none())).collect(),
            extra: Extra::new(),
        };
        root.set_expires(expires);
        root
    }
}

signed!(Root, "root", |root: &Root| {
    match TOP_LEVEL.iter().find(|role| !root.roles.contains_key(**role)) {
        Some(role) => Err(format!("the role '{role}' is missing")),
        None => Ok(()),
    }
});

/// The newest snapshot's version (specification 4.6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timestamp {
    #[serde(rename = "_type")]
    kind: TimestampType,
    /// The version of the specification.
    pub spec_version: String,
    /// The version of this metadata.
    #[serde(deserialize_with = "super::positive")]
    pub version: u64,
    /// When it stops being trusted.
    #[serde(with = "super::time")]
    pub expires: DateTime<Utc>,
    /// `snapshot.json` and what is known of it.
    pub meta: BTreeMap<String, MetaFile>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Timestamp {
    /// Version 1, naming a snapshot.
    pub fn new(snapshot: MetaFile, expires: DateTime<Utc>) -> Self {
        let mut timestamp = Self {
            kind: TimestampType::Timestamp,
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            expires,
            meta: BTreeMap::from([(RoleName::snapshot().metapath(), snapshot)]),
            extra: Extra::new(),
        };
        timestamp.set_expires(expires);
        timestamp
    }

    /// Returns what is said of `snapshot.json`; always there in metadata that was read.
    pub fn snapshot(&self) -> Option<&MetaFile> {
        self.meta.get("snapshot.json")
    }
}

signed!(Timestamp, "timestamp", |timestamp: &Timestamp| {
    timestamp.snapshot().map(|_| ()).ok_or_else(|| "'snapshot.json' is missing in 'meta'".to_owned())
});

/// The versions of all targets metadata (specification 4.4).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    #[serde(rename = "_type")]
    kind: SnapshotType,
    /// The version of the specification.
    pub spec_version: String,
    /// The version of this metadata.
    pub version: u64,
    /// When it stops being trusted.
    #[serde(with = "super::time")]
    pub expires: DateTime<Utc>,
    /// Each targets role's file, as `ROLE.json`.
    pub meta: MetaMap,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Snapshot {
    /// Version 1, listing files.
    pub fn new(meta: MetaMap, expires: DateTime<Utc>) -> Self {
        let mut snapshot = Self {
            kind: SnapshotType::Snapshot,
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            expires,
            meta,
            extra: Extra::new(),
        };
        snapshot.set_expires(expires);
        snapshot
    }

    /// Returns those of some hash bins that are listed, in the order of their numbers, without going over the other roles.
    pub fn bins(&self, bins: &SuccinctRoles) -> Vec<RoleName> {
        let first = format!("{}-", bins.name_prefix);
        let names = self.meta.keys_from(&first).take_while(|name| name.starts_with(&first));
        names
            .filter_map(|name| RoleName::from_metapath(&name))
            .filter(|role| bins.is_bin(role.as_str()))
            .collect()
    }

    /// Returns what is said of a role's file.
    pub fn role(&self, role: &RoleName) -> Option<MetaFile> {
        self.meta.get(&role.metapath())
    }
}

// By hand and not derived, as for targets metadata.
impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Snapshot;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("snapshot metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Snapshot, A::Error> {
                let (mut kind, mut spec_version, mut version, mut expires) = (None, None, None, None);
                let (mut meta, mut extra) = (None, Extra::new());
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name.0 {
                        "_type" => kind = Some(map.next_value::<SnapshotType>()?),
                        "spec_version" => spec_version = Some(map.next_value()?),
                        "version" => version = Some(map.next_value::<Positive>()?.0),
                        "expires" => expires = Some(map.next_value::<Time>()?.0),
                        "meta" => meta = Some(map.next_value()?),
                        _ => drop(extra.insert(name.0.into_owned(), map.next_value()?)),
                    }
                }
                let missing = serde::de::Error::missing_field;
                Ok(Snapshot {
                    kind: kind.ok_or_else(|| missing("_type"))?,
                    spec_version: spec_version.ok_or_else(|| missing("spec_version"))?,
                    version: version.ok_or_else(|| missing("version"))?,
                    expires: expires.ok_or_else(|| missing("expires"))?,
                    meta: meta.ok_or_else(|| missing("meta"))?,
                    extra,
                })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

signed!(
    Snapshot,
    "snapshot",
    |snapshot: &Snapshot| match snapshot.meta.contains_key("targets.json") {
        true => Ok(()),
        false => Err("'targets.json' is missing in 'meta'".to_owned()),
    },
    listing meta
);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use chrono::TimeZone;

    use super::*;

    fn bins(prefix: &str, bit_length: u32) -> SuccinctRoles {
        SuccinctRoles {
            keyids: Vec::new(),
            threshold: Threshold::ONE,
            bit_length,
            name_prefix: prefix.to_owned(),
            extra: Extra::new(),
        }
    }

    fn listing(names: impl IntoIterator<Item = String>) -> Snapshot {
        let files = names.into_iter().map(|name| (format!("{name}.json"), MetaFile::new(1)));
        let expires = Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap();
        Snapshot::new(MetaMap::of(files).unwrap(), expires)
    }

    #[test]
    fn bins_are_found_among_names_that_look_like_theirs() {
        let names = [
            "a", "a-", "a-0", "a-1", "a-00", "a-b-0", "a-F", "a-f", "a.b", "a0", "aa-0", "-0", "-1", "é-0",
            "targets",
        ];
        let snapshot = listing(names.map(str::to_owned));
        for (prefix, bit_length, expected) in [
            ("a", 4, &["a-0", "a-1", "a-f"][..]),
            ("a", 1, &["a-0", "a-1"]),
            ("a", 8, &["a-00"]),
            ("a-b", 4, &["a-b-0"]),
            ("", 4, &["-0", "-1"]),
            ("é", 3, &["é-0"]),
            ("a-", 4, &[]),
            ("b", 4, &[]),
        ] {
            let found = snapshot.bins(&bins(prefix, bit_length));
            let found: Vec<&str> = found.iter().map(RoleName::as_str).collect();
            assert_eq!(found, expected, "{prefix} {bit_length}");
        }
    }

    /// Each of 4,000 roles with hash bins of its own cost a walk over all names: more than a minute for 3 MB.
    #[test]
    fn roles_with_hash_bins_that_are_not_listed_cost_no_walk_over_all_names() {
        let snapshot = listing((0..4000).map(|index| format!("z{index}")));
        let begun = Instant::now();
        for index in 0..4000 {
            assert!(snapshot.bins(&bins(&format!("q{index}"), 1)).is_empty());
        }
        // it takes a few milliseconds
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}
