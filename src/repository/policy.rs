//! The policy of a repository: `tuf-repo.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::error::{AtPath, InputError, RepositoryError};
use super::gc::Retention;
use super::layout::POLICY;
use crate::metadata::{Algorithm, RoleName};
use crate::storage::Folder;

/// The longest policy that is read, in bytes.
const MAX_POLICY: u64 = 1 << 20;

/// What `init` writes; the values are the defaults, which follow the original tool's.
pub const TEMPLATE: &str = r#"# The policy of this TUF repository. Durations: 90s, 15m, 6h, 15d, 2w, 1y and sums of them.

# The digests that new targets are listed with: sha256, sha512 or both.
hashes = ["sha256"]

# Where keys lie whose files tell what they are called and can be proposed by `status` (relative to this file)
# [default: keystore and keys, here and beside the repository]. Only public halves are read.
# key-dirs = ["keystore"]

# How long new metadata of a role is valid, how long before its expiry `refresh` signs it again [default: half of that
# for snapshot and timestamp, never before it has expired for the others], and the keys that sign it when no --key is
# given (paths are relative to this file). A delegated role without an entry follows targets.
[roles.root]
expires = "1y"
keys = []

[roles.targets]
expires = "13w"
keys = []

[roles.snapshot]
expires = "1w"
keys = []

[roles.timestamp]
expires = "1d"
keys = []

# Where `publish` puts the repository when no --to is given; without it, beside metadata.staged. A folder or a bucket
# (s3://, gs://, az://), or two of its prefixes; a folder that does not begin with / is relative to this file's folder.
# endpoint is the server of a bucket that is not the cloud's own.
# [publish]
# to = "/srv/www/tuf"
# metadata-to = "s3://bucket/metadata"
# targets-to = "s3://bucket/targets"
# endpoint = "https://s3.example.com"
# targets-elsewhere = true    # targets without a file here are served by another host
# shared-targets = true       # other repositories keep their files in the same folder of targets: `gc` deletes none there

# What `gc` retains when no --keep and no --keep-within is given: the last so many snapshots, and those that were
# replaced less than so long ago [default: as long as a timestamp is valid].
[gc]
keep = 10
# keep-within = "1d"
"#;

/// What stands in front of the section that `init --from` adds to [`TEMPLATE`].
pub const ADOPTED: &str =
    "\n# The first root of the history that was taken over: older clients were stranded before.\n";

/// What `tuf-repo.toml` says, or the defaults.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    #[serde(deserialize_with = "algorithms")]
    hashes: Vec<Algorithm>,
    #[serde(rename = "key-dirs")]
    key_dirs: Option<Vec<String>>,
    roles: BTreeMap<String, RolePolicy>,
    publish: Publish,
    gc: Gc,
    adopted: Adopted,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RolePolicy {
    #[serde(deserialize_with = "duration")]
    expires: Option<TimeDelta>,
    #[serde(deserialize_with = "duration")]
    refresh: Option<TimeDelta>,
    keys: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Publish {
    to: Option<String>,
    metadata_to: Option<String>,
    targets_to: Option<String>,
    endpoint: Option<String>,
    targets_elsewhere: bool,
    shared_targets: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Gc {
    keep: u64,
    #[serde(deserialize_with = "duration")]
    keep_within: Option<TimeDelta>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Adopted {
    first_root: u64,
}

impl Default for Adopted {
    fn default() -> Self {
        Self { first_root: 1 }
    }
}

impl Default for Gc {
    fn default() -> Self {
        Self { keep: 10, keep_within: None }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            hashes: vec![Algorithm::Sha256],
            key_dirs: None,
            roles: BTreeMap::new(),
            publish: Publish::default(),
            gc: Gc::default(),
            adopted: Adopted::default(),
        }
    }
}

impl Policy {
    /// Reads the policy of a repository; the defaults where there is no file.
    ///
    /// # Errors
    /// [`InputError::Policy`] where the file is not understood.
    pub fn read(repository: &Path) -> Result<Self, RepositoryError> {
        let path = repository.join(POLICY);
        let Some(bytes) = Folder::new(repository).read_own(POLICY, MAX_POLICY).at(&path)? else {
            return Ok(Self::default());
        };
        let refused = |reason: String| InputError::Policy { path: path.clone(), reason };
        let text = String::from_utf8(bytes).map_err(|_| refused("not UTF-8".to_owned()))?;
        let policy: Self = toml::from_str(&text).map_err(|error| refused(one_line(&text, &error)))?;
        let Publish { to, metadata_to, targets_to, .. } = &policy.publish;
        if metadata_to.is_some() != targets_to.is_some() || (to.is_some() && metadata_to.is_some()) {
            let reason = "publish has either to, or both metadata-to and targets-to";
            return Err(refused(reason.to_owned()).into());
        }
        Ok(policy)
    }

    /// Returns how long new metadata of a role is valid.
    pub fn lifetime(&self, role: &RoleName) -> TimeDelta {
        let listed = |name: &str| self.roles.get(name).and_then(|role| role.expires);
        let name = if role.is_top_level() { None } else { listed(self.entry_for(role)) };
        let top = if role.lists_targets() { "targets" } else { role.as_str() };
        // the original tool's: one year, three months, one week, one day
        name.or_else(|| listed(top)).unwrap_or_else(|| match top {
            "root" => TimeDelta::days(365),
            "targets" => TimeDelta::weeks(13),
            "snapshot" => TimeDelta::weeks(1),
            _ => TimeDelta::days(1),
        })
    }

    /// Returns the expiry of metadata of a role that is made now.
    ///
    /// # Errors
    /// [`InputError::FarExpiry`].
    pub fn expiry(&self, role: &RoleName, now: DateTime<Utc>) -> Result<DateTime<Utc>, InputError> {
        let sum = now.checked_add_signed(self.lifetime(role));
        let sum = sum.filter(|time| chrono::Datelike::year(time) <= 9999);
        sum.ok_or_else(|| InputError::FarExpiry(role.clone()))
    }

    /// Returns the name of the entry for a role: its own, or for a hash bin that of its prefix where it has none itself.
    fn entry_for<'r>(&self, role: &'r RoleName) -> &'r str {
        let own = role.as_str();
        let is_index = |index: &str| index.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let prefix = own.rsplit_once('-').filter(|(_, index)| !index.is_empty() && is_index(index));
        match prefix {
            Some((prefix, _)) if !self.roles.contains_key(own) => prefix,
            _ => own,
        }
    }

    /// Returns how long before its expiry `refresh` signs a role again. Without an entry half a lifetime for snapshot and
    /// timestamp, whose keys are online; the others only once they have expired, so that a cron job without their keys
    /// goes on.
    pub fn refresh_window(&self, role: &RoleName) -> TimeDelta {
        let listed = |name: &str| self.roles.get(name).and_then(|role| role.refresh);
        let top = if role.lists_targets() { "targets" } else { role.as_str() };
        listed(self.entry_for(role)).or_else(|| listed(top)).unwrap_or_else(|| match top {
            "snapshot" | "timestamp" => self.lifetime(role) / 2,
            _ => TimeDelta::zero(),
        })
    }

    /// Tells whether a role is to be refreshed in any case: snapshot and timestamp, and those with a window of their own.
    pub fn asks_for_refresh(&self, role: &RoleName) -> bool {
        let listed = |name: &str| self.roles.get(name).is_some_and(|role| role.refresh.is_some());
        let top = if role.lists_targets() { "targets" } else { role.as_str() };
        matches!(role.as_str(), "snapshot" | "timestamp") || listed(self.entry_for(role)) || listed(top)
    }

    /// Returns the references of the keys that sign a role by default; all roles' where none is named.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for key in self.roles.values().flat_map(|role| &role.keys) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// Returns the references of the keys that sign a role by default.
    pub fn role_keys(&self, role: &RoleName) -> &[String] {
        self.roles.get(role.as_str()).map(|role| role.keys.as_slice()).unwrap_or_default()
    }

    /// Returns the folders in which keys lie, relative to the policy; none where it says nothing about them.
    pub fn key_dirs(&self) -> Option<&[String]> {
        self.key_dirs.as_deref()
    }

    /// Returns the digests that new targets are listed with.
    pub fn hashes(&self) -> &[Algorithm] {
        &self.hashes
    }

    /// Tells whether targets without a file in the repository are served by another host, and not missing.
    pub fn targets_elsewhere(&self) -> bool {
        self.publish.targets_elsewhere
    }

    /// Tells whether other repositories keep files in the same folder of targets; `None` where nothing is said about it.
    pub fn shared_targets(&self) -> Option<bool> {
        self.publish.shared_targets
    }

    /// Returns where to publish by default.
    pub fn publish_to(&self) -> Option<&str> {
        self.publish.to.as_deref()
    }

    /// Returns where to publish metadata and targets by default, where they go to different prefixes of buckets.
    pub fn publish_apart(&self) -> Option<(&str, &str)> {
        self.publish.metadata_to.as_deref().zip(self.publish.targets_to.as_deref())
    }

    /// Returns the server of buckets by default.
    pub fn publish_endpoint(&self) -> Option<&str> {
        self.publish.endpoint.as_deref()
    }

    /// Returns the first root that the repository has: 1, unless it was taken over without its oldest roots.
    pub fn first_root(&self) -> u64 {
        self.adopted.first_root.max(1)
    }

    /// Returns what a collection retains by default.
    pub fn retention(&self) -> Retention {
        let keep_within = self.gc.keep_within.unwrap_or_else(|| self.lifetime(&RoleName::timestamp()));
        Retention { keep: self.gc.keep, keep_within }
    }
}

/// Says where and why the policy is not understood.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    format!("line {line}: {}", error.message().lines().next().unwrap_or("not understood"))
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<TimeDelta>, D::Error> {
    let text = String::deserialize(deserializer)?;
    super::duration::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

fn algorithms<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Algorithm>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let known = |name: &String| {
        Algorithm::from_name(name)
            .ok_or_else(|| serde::de::Error::custom(format!("'{name}' is neither sha256 nor sha512")))
    };
    let mut algorithms = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    algorithms.sort_unstable();
    algorithms.dedup();
    if algorithms.is_empty() {
        Err(serde::de::Error::custom("hashes may not be empty"))
    } else {
        Ok(algorithms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_states_the_defaults() {
        let template: Policy = toml::from_str(TEMPLATE).unwrap();
        for role in [RoleName::root(), RoleName::targets(), RoleName::snapshot(), RoleName::timestamp()] {
            assert_eq!(template.lifetime(&role), Policy::default().lifetime(&role), "{role}");
        }
        assert_eq!(template.hashes(), Policy::default().hashes());
        assert_eq!(template.retention(), Policy::default().retention());
    }

    #[test]
    fn a_delegated_role_follows_targets_unless_it_has_its_own_entry() {
        let policy: Policy =
            toml::from_str("[roles.targets]\nexpires = \"2w\"\n[roles.django]\nexpires = \"3d\"\n").unwrap();
        assert_eq!(policy.lifetime(&RoleName::new("other").unwrap()), TimeDelta::weeks(2));
        assert_eq!(policy.lifetime(&RoleName::new("django").unwrap()), TimeDelta::days(3));
    }

    #[test]
    fn a_typing_error_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(POLICY), "\n[roles.root]\nexpirse = \"1y\"\n").unwrap();
        let error = Policy::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("expirse"), "{error}");
    }
}
