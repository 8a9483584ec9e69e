//! A copy of the repository, and what the model knows of it: the states that it has gone through, and what a person took
//! away there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::release::{Past, json, targets_of};
use crate::world::{copy_folder, public};

/// How many keys there are.
pub const KEYS: usize = 8;

/// What a copy has gone through.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub past: Past,
    /// The targets that somebody took off a list; what ends in a slash or a star stands for all that begin so.
    pub removed: BTreeSet<String>,
}

impl Known {
    pub fn was_removed(&self, path: &str) -> bool {
        self.removed.iter().any(|removed| match removed.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == removed,
        })
    }

    /// Takes over what somebody else knew.
    pub fn join(&mut self, other: &Self) {
        self.past.join(&other.past);
        self.removed.extend(other.removed.iter().cloned());
    }
}

/// One of the copies.
pub struct Copy {
    pub name: &'static str,
    pub dir: PathBuf,
    pub known: Known,
    /// What was known when the backup was made that lies beside the copy.
    pub backup: Option<Known>,
}

impl Copy {
    pub fn new(name: &'static str, dir: PathBuf) -> Self {
        Self { name, dir, known: Known::default(), backup: None }
    }

    fn staged(&self) -> PathBuf {
        self.dir.join("metadata.staged")
    }

    /// Looks at what is written.
    pub fn look(&mut self) {
        self.known.past.look_into(&self.dir.join("metadata.staged"));
    }

    fn backup_dir(&self) -> PathBuf {
        self.dir.with_file_name(format!("backup-{}", self.name))
    }

    /// Keeps the staged metadata and the history, beside the copy.
    pub fn back_up(&mut self) {
        let _ = fs::remove_dir_all(self.backup_dir());
        copy_folder(&self.staged(), &self.backup_dir().join("metadata.staged"));
        fs::copy(self.dir.join(".tuf-history"), self.backup_dir().join(".tuf-history")).unwrap();
        self.backup = Some(self.known.clone());
    }

    /// Puts the backup back: the staged metadata, with or without the history.
    pub fn restore(&mut self, history: bool) {
        let Some(known) = self.backup.clone() else { return };
        fs::remove_dir_all(self.staged()).unwrap();
        copy_folder(&self.backup_dir().join("metadata.staged"), &self.staged());
        if history {
            fs::copy(self.backup_dir().join(".tuf-history"), self.dir.join(".tuf-history")).unwrap();
        }
        self.known = known;
    }

    /// Returns what roles say as they are written, and with their drafts in force.
    pub fn effective(&self) -> Effective {
        let staged = self.staged();
        let read =
            |name: String| fs::read(staged.join(name)).ok().map(|bytes| json(&bytes)["signed"].clone());
        let mut written = BTreeMap::new();
        let mut root = 1;
        while let Some(found) = read(format!("{root}.root.json")) {
            written.insert("root".to_owned(), found);
            root += 1;
        }
        let is_plain = written["root"]["consistent_snapshot"] == false;
        let of = |role: &str, version: &Value| match is_plain {
            true => read(format!("{role}.json")),
            false => read(format!("{version}.{role}.json")),
        };
        let timestamp = read("timestamp.json".to_owned()).unwrap();
        let snapshot = of("snapshot", &timestamp["meta"]["snapshot.json"]["version"]).unwrap();
        for (name, file) in snapshot["meta"].as_object().unwrap() {
            let role = name.strip_suffix(".json").unwrap();
            if let Some(found) = of(role, &file["version"]) {
                written.insert(role.to_owned(), found);
            }
        }
        written.extend([("snapshot".to_owned(), snapshot), ("timestamp".to_owned(), timestamp)]);
        let mut roles = written.clone();
        for name in names(&staged.join(".drafts")) {
            if let Some(role) = name.strip_suffix(".json") {
                roles.insert(role.to_owned(), read(format!(".drafts/{name}")).unwrap());
            }
        }
        Effective { written, roles }
    }
}

/// The names in a folder; none where there is no folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The newest files of a copy.
pub struct Effective {
    written: BTreeMap<String, Value>,
    roles: BTreeMap<String, Value>,
}

impl Effective {
    /// Returns the roles that are delegated to, on a way from the top-level one, with it.
    fn reachable(&self) -> Vec<String> {
        let (mut found, mut pending) = (Vec::new(), vec!["targets".to_owned()]);
        while let Some(role) = pending.pop() {
            if found.contains(&role) {
                continue;
            }
            if let Some(signed) = self.roles.get(&role) {
                let delegations = &signed["delegations"];
                let named = delegations["roles"].as_array().into_iter().flatten();
                pending.extend(named.map(|role| role["name"].as_str().unwrap().to_owned()));
                if let Some(prefix) = delegations["succinct_roles"]["name_prefix"].as_str() {
                    let bins = self.roles.keys().filter(|role| role.starts_with(&format!("{prefix}-")));
                    pending.extend(bins.cloned());
                }
            }
            found.push(role);
        }
        found
    }

    pub fn delegates_to(&self, role: &str) -> bool {
        self.reachable().iter().any(|found| found == role || found.starts_with(&format!("{role}-")))
    }

    /// Returns the targets that are listed, with their digests.
    pub fn targets(&self) -> BTreeMap<String, String> {
        self.reachable().iter().filter_map(|role| self.roles.get(role)).flat_map(targets_of).collect()
    }

    pub fn version(&self, role: &str) -> u64 {
        self.roles.get(role).and_then(|signed| signed["version"].as_u64()).unwrap_or(0)
    }

    /// Returns the numbers of the keys of a role.
    pub fn keys(&self, role: &str) -> Vec<usize> {
        let mut keyids = BTreeSet::new();
        // a new root needs the keys of the old one, too
        let sources = if role == "root" { vec![&self.written, &self.roles] } else { vec![&self.roles] };
        for source in sources {
            for (name, signed) in source {
                let trusted = if name == "root" { &signed["roles"][role] } else { &Value::Null };
                let named = signed["delegations"]["roles"].as_array().into_iter().flatten();
                let named = named.filter(|entry| entry["name"] == role);
                let bins = Some(&signed["delegations"]["succinct_roles"]);
                let bins = bins.filter(|bins| bins["name_prefix"] == role);
                for entry in std::iter::once(trusted).chain(named).chain(bins) {
                    let all = entry["keyids"].as_array().into_iter().flatten();
                    keyids.extend(all.map(|id| id.as_str().unwrap().to_owned()));
                }
            }
        }
        (0..KEYS).filter(|number| keyids.contains(public(*number).id().as_str())).collect()
    }

    /// Returns the numbers of the keys that may sign something.
    pub fn all_keys(&self) -> BTreeSet<usize> {
        let mut roles: Vec<String> = ["root", "snapshot", "timestamp", "bin"].map(str::to_owned).to_vec();
        roles.extend(self.reachable());
        roles.iter().flat_map(|role| self.keys(role)).collect()
    }
}
