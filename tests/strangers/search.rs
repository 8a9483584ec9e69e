//! Which role answers for a target path: the pre-order search of the specification (5.6.7), written anew over plain JSON, with
//! nothing of the library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// How many roles a client asks for one target.
const MOST_ROLES: usize = 32;

/// What is live: the roles that list targets, by name. A role whose file is not there is none.
#[derive(Debug, Clone, Default)]
pub struct Live(BTreeMap<String, Value>);

/// What a role lists under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub role: String,
    pub length: u64,
    pub sha256: String,
}

impl Listed {
    /// Tells whether these are the bytes that are listed.
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.length == bytes.len() as u64 && self.sha256 == hex::encode(Sha256::digest(bytes))
    }
}

impl Live {
    /// Reads published metadata from its timestamp on.
    pub fn read(metadata: &Path) -> Self {
        let json = |name: &str| -> Option<Value> {
            let bytes = fs::read(metadata.join(name)).ok()?;
            let mut json: Value = serde_json::from_slice(&bytes).unwrap();
            Some(json["signed"].take())
        };
        let versioned = |name: &str, version: &Value| {
            json(&format!("{version}.{name}.json")).or_else(|| json(&format!("{name}.json")))
        };
        let timestamp = json("timestamp.json").unwrap();
        let snapshot = versioned("snapshot", &timestamp["meta"]["snapshot.json"]["version"]).unwrap();
        let mut roles = BTreeMap::new();
        for (file, listed) in snapshot["meta"].as_object().unwrap() {
            let name = file.strip_suffix(".json").unwrap();
            let version = &listed["version"];
            // as a web server would have it, or as it is asked for
            let found = versioned(&percent_encoded(name), version).or_else(|| versioned(name, version));
            let found = found.filter(|found| found["version"] == *version);
            roles.extend(found.map(|found| (name.to_owned(), found)));
        }
        Self(roles)
    }

    /// Returns every path that any role lists.
    pub fn paths(&self) -> BTreeSet<String> {
        let listed = |role: &Value| role["targets"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        self.0.values().flat_map(listed).collect()
    }

    /// Returns what the role that answers for a path lists; none where no role does, or one on the way is not there.
    pub fn find(&self, path: &str) -> Option<Listed> {
        let mut visited: BTreeSet<&str> = BTreeSet::new();
        let mut to_visit = vec!["targets"];
        while let Some(name) = to_visit.pop() {
            if visited.contains(name) {
                continue;
            }
            if visited.len() >= MOST_ROLES {
                return None;
            }
            let role = self.0.get(name)?;
            if let Some(found) = role["targets"].get(path) {
                return Some(Listed {
                    role: name.to_owned(),
                    length: found["length"].as_u64().unwrap(),
                    sha256: found["hashes"]["sha256"].as_str().unwrap().to_owned(),
                });
            }
            visited.insert(name);
            let mut children = Vec::new();
            for delegation in role["delegations"]["roles"].as_array().into_iter().flatten() {
                let patterns = delegation["paths"].as_array().into_iter().flatten();
                if patterns.into_iter().any(|pattern| fits(pattern.as_str().unwrap(), path)) {
                    children.push(delegation["name"].as_str().unwrap());
                    if delegation["terminating"] == true {
                        to_visit.clear();
                        break;
                    }
                }
            }
            to_visit.extend(children.into_iter().rev());
        }
        None
    }
}

/// Tells whether a path fits a pattern, part by part: `*` and `?` stand for no slash.
fn fits(pattern: &str, path: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let fit = |(pattern, part): (&&str, &&str)| {
        part_fits(&pattern.chars().collect::<Vec<_>>(), &part.chars().collect::<Vec<_>>())
    };
    patterns.len() == parts.len() && patterns.iter().zip(&parts).all(fit)
}

fn part_fits(pattern: &[char], part: &[char]) -> bool {
    match (pattern, part) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=part.len()).any(|taken| part_fits(rest, &part[taken..])),
        (['?', rest @ ..], [_, others @ ..]) => part_fits(rest, others),
        ([one, rest @ ..], [other, others @ ..]) => one == other && part_fits(rest, others),
        _ => false,
    }
}

/// Encodes a name as clients ask for it.
pub fn percent_encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[test]
fn patterns_fit_part_by_part() {
    for (pattern, path, fit) in [
        ("*", "a", true),
        ("*", "a/b", false),
        ("*/*", "a/b", true),
        ("a*b?", "a--bc", true),
        ("a*b?", "a--b", false),
        ("", "", true),
        ("*.bin", ".bin", true),
    ] {
        assert_eq!(fits(pattern, path), fit, "{pattern} {path}");
    }
}
