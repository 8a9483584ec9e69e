//! Where a repository's files are, by name.

use crate::metadata::{RoleName, TargetFile, TargetPath};

/// The folder of published metadata.
pub const METADATA: &str = "metadata";
/// The folder of written metadata and drafts.
pub const STAGED: &str = "metadata.staged";
/// The folder of drafts, inside [`STAGED`].
pub const DRAFTS: &str = ".drafts";
/// The folder of work that gave way to what is live, inside [`DRAFTS`]: no command goes on from it.
pub const ASIDE: &str = ".aside";
/// The folder of target files.
pub const TARGETS: &str = "targets";
/// The file by which `tuf-fetch` marks a folder that a client trusts.
pub(super) const CLIENT_RECORD: &str = ".tuf-put";
/// The file of the policy.
pub const POLICY: &str = "tuf-repo.toml";
/// The most that one metadata file may hold when it is read from a maintainer's own disk, in bytes.
pub const MAX_METADATA: u64 = 1 << 30;

/// How files are named: with versions and hashes (consistent snapshots, specification 6.2) or plainly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// `N.targets.json`, `HASH.name`.
    #[default]
    Consistent,
    /// `targets.json`, `name`.
    Plain,
}

impl Layout {
    /// Chooses by the `consistent_snapshot` of a root.
    pub fn of(consistent_snapshot: bool) -> Self {
        if consistent_snapshot { Self::Consistent } else { Self::Plain }
    }

    /// Returns the name under which a client asks for a role's metadata.
    pub fn metadata_name(self, role: &RoleName, version: u64) -> String {
        match (self, role.as_str()) {
            (_, "timestamp") => "timestamp.json".to_owned(),
            (_, "root") | (Self::Consistent, _) => format!("{version}.{}.json", role.encoded()),
            (Self::Plain, _) => format!("{}.json", role.encoded()),
        }
    }

    /// Returns the names under which clients ask for a target: one for each hash listed, or the path itself.
    pub fn target_names(self, path: &TargetPath, file: &TargetFile) -> Vec<String> {
        match self {
            Self::Plain => vec![path.as_str().to_owned()],
            Self::Consistent => file
                .hashes
                .known()
                // a text that is no digest names no file: clients refuse the target
                .filter_map(|algorithm| file.hashes.name_digest(algorithm))
                .map(|hash| path.hash_named(hash))
                .collect(),
        }
    }
}

/// Splits `N.role.json` into version and role.
pub fn parse_versioned(name: &str) -> Option<(u64, RoleName)> {
    let (version, rest) = name.strip_suffix(".json")?.split_once('.')?;
    let number: u64 = version.parse().ok()?;
    // one spelling only: no leading zeros, no sign
    (number > 0 && !version.starts_with(['0', '+'])).then_some(())?;
    Some((number, RoleName::from_encoded(rest)?))
}

/// Reads the role of a plainly named file, `role.json`.
pub fn parse_plain(name: &str) -> Option<RoleName> {
    RoleName::from_encoded(name.strip_suffix(".json")?)
}

/// Tells whether a metadata file may never change once a client may have seen it.
pub fn is_versioned(layout: Layout, name: &str) -> bool {
    match parse_versioned(name) {
        Some((_, role)) => layout == Layout::Consistent || role.as_str() == "root",
        None => false,
    }
}

/// Splits `HASH.name` into hash and name, where HASH has the length of a digest that is known here. Whether such a file is
/// a copy that `write` made, only metadata tells that lists `name` with HASH: people name files like this, too.
pub fn parse_hash_named(name: &str) -> Option<(&str, &str)> {
    let (hash, rest) = name.split_once('.')?;
    let is_digest = matches!(hash.len(), 64 | 128)
        && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (is_digest && !rest.is_empty()).then_some((hash, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_as_clients_ask_for_them() {
        let role = RoleName::new("a/b").unwrap();
        assert_eq!(Layout::Consistent.metadata_name(&role, 3), "3.a%2Fb.json");
        assert_eq!(Layout::Plain.metadata_name(&role, 3), "a%2Fb.json");
        assert_eq!(Layout::Plain.metadata_name(&RoleName::root(), 3), "3.root.json");
        assert_eq!(Layout::Consistent.metadata_name(&RoleName::timestamp(), 3), "timestamp.json");
        assert_eq!(parse_versioned("3.a%2Fb.json"), Some((3, role)));
        assert_eq!(parse_versioned("3.1.targets.json"), Some((3, RoleName::new("1.targets").unwrap())));
        for name in
            ["root.json", "03.root.json", "0.root.json", "+3.root.json", "3.root", "3.json", "x.root.json"]
        {
            assert_eq!(parse_versioned(name), None, "{name}");
        }
    }

    #[test]
    fn knows_a_hash_named_copy_by_its_name() {
        let hash = "a".repeat(64);
        assert_eq!(parse_hash_named(&format!("{hash}.x.tar.gz")), Some((hash.as_str(), "x.tar.gz")));
        for name in [
            "x.tar.gz",
            &format!("{hash}."),
            &format!("{}.x", "A".repeat(64)),
            &format!("{}.x", "a".repeat(63)),
        ] {
            assert_eq!(parse_hash_named(name), None, "{name}");
        }
    }
}
