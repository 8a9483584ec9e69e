//! What was live once: the files that a client followed, and what they list. Read from JSON, by no code of the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::Seen;

pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Returns the targets that a role lists, with their digests.
pub fn targets_of(signed: &Value) -> BTreeMap<String, String> {
    let all = signed["targets"].as_object().into_iter().flatten();
    all.map(|(path, file)| (path.clone(), file["hashes"]["sha256"].as_str().unwrap().to_owned())).collect()
}

/// The files of a release by role, each as its digest. The timestamp is no part of it: a cron job makes a new one.
pub type Files = BTreeMap<String, String>;

/// What is live at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    pub root: String,
    pub files: Files,
    /// The versions of all roles; of those that the snapshot lists what it says.
    pub versions: BTreeMap<String, u64>,
    /// The targets that clients find, with their digests.
    pub targets: BTreeMap<String, String>,
    pub timestamp: Vec<u8>,
}

impl Release {
    pub fn of(seen: &Seen) -> Self {
        let snapshot = seen.standing.snapshot.as_ref().unwrap();
        let timestamp = seen.standing.timestamp.clone().unwrap();
        let mut release = Self {
            root: digest(&seen.standing.root),
            files: Files::from([("snapshot".to_owned(), digest(snapshot))]),
            versions: BTreeMap::from([("root".to_owned(), seen.root)]),
            targets: BTreeMap::new(),
            timestamp,
        };
        for (role, bytes) in [("timestamp", &release.timestamp), ("snapshot", snapshot)] {
            let version = json(bytes)["signed"]["version"].as_u64().unwrap();
            release.versions.insert(role.to_owned(), version);
        }
        release.versions.extend(meta(snapshot));
        for (name, bytes) in &seen.roles {
            let role = name.strip_suffix(".json").unwrap();
            let role = role.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('.');
            release.files.insert(role.to_owned(), digest(bytes));
            release.targets.extend(targets_of(&json(bytes)["signed"]));
        }
        release
    }
}

/// Returns the roles that a snapshot lists, with their versions.
fn meta(snapshot: &[u8]) -> BTreeMap<String, u64> {
    let snapshot = json(snapshot);
    let all = snapshot["signed"]["meta"].as_object().unwrap().iter();
    let one = |(name, file): (&String, &Value)| {
        (name.trim_end_matches(".json").to_owned(), file["version"].as_u64().unwrap())
    };
    all.map(one).collect()
}

/// The states that a copy has gone through.
#[derive(Debug, Clone, Default)]
pub struct Past {
    roots: BTreeSet<String>,
    states: Vec<Files>,
}

impl Past {
    /// Adds the states that lie in a folder of written metadata.
    pub fn look_into(&mut self, staged: &Path) {
        for entry in fs::read_dir(staged).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with("root.json") {
                self.roots.insert(digest(&fs::read(staged.join(&name)).unwrap()));
            }
            if !name.ends_with("snapshot.json") {
                continue;
            }
            let snapshot = fs::read(staged.join(&name)).unwrap();
            let mut files = Files::from([("snapshot".to_owned(), digest(&snapshot))]);
            for (role, version) in meta(&snapshot) {
                let name = if name == "snapshot.json" {
                    format!("{role}.json")
                } else {
                    format!("{version}.{role}.json")
                };
                if let Ok(bytes) = fs::read(staged.join(name)) {
                    files.insert(role, digest(&bytes));
                }
            }
            if !self.states.contains(&files) {
                self.states.push(files);
            }
        }
    }

    pub fn join(&mut self, other: &Self) {
        self.roots.extend(other.roots.iter().cloned());
        self.states.extend(other.states.iter().cloned());
    }

    /// Tells whether a release is one of the states, by the files that are known of both.
    pub fn has(&self, release: &Release) -> bool {
        let is_same = |files: &Files| {
            files["snapshot"] == release.files["snapshot"]
                && files
                    .iter()
                    .all(|(role, digest)| release.files.get(role).is_none_or(|other| other == digest))
        };
        self.roots.contains(&release.root) && self.states.iter().any(is_same)
    }
}
