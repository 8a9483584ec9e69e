//! Drafts against written metadata, and written against live, in words of TUF.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use super::error::RepositoryError;
use super::keyring::KeyNames;
use super::layout::{Layout, MAX_METADATA};
use super::staged::RoleState;
use super::status::Live;
use crate::crypto::fingerprint;
use crate::metadata::{
    Algorithm, DelegatedRole, Delegations, Key, KeyId, MetaFile, MetaMap, Metadata, ParseError, RoleKeys,
    RoleName, Root, Signed, Snapshot, TargetFile, TargetMap, Targets, Timestamp, time,
};
use crate::storage::{Folder, ReadFiles};

/// One difference: a sentence such as `target 'a.txt' added (5 bytes)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(pub String);

/// The differences of one role between two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDiff {
    /// The role.
    pub role: RoleName,
    /// What is new: `draft v3`.
    pub new: String,
    /// What it is held against: `written v2`, or `nothing`.
    pub old: String,
    /// The differences, the ones that matter most first.
    pub differences: Vec<Difference>,
}

impl Repository {
    /// Reads the hash bins that clients do not see as they are written.
    ///
    /// # Errors
    /// [`RepositoryError`] for files that are no metadata or missing.
    pub fn read_unpublished(&mut self) -> Result<(), RepositoryError> {
        let live = Live::read(&self.live_folder())?;
        for set in self.staged.graph().bins {
            let mut bins = self.staged.listed_bins(&set.bins);
            bins.retain(|bin| live.version(bin) != Some(self.staged.listed_version(bin)));
            self.staged.read_bins_named(bins)?;
        }
        Ok(())
    }

    /// Compares drafts with what is written, and what is written with what is live, for the roles named or all.
    ///
    /// # Errors
    /// [`RepositoryError`] for a role that is not there.
    pub fn diff(&self, roles: &[RoleName]) -> Result<Vec<RoleDiff>, RepositoryError> {
        let derived = self.derived()?;
        let folder = self.published_folder();
        let live = Published { versions: Live::read(&folder)?, folder };
        let names = self.keyring().names();
        let root = |old: Option<&Root>, new: &Root| root_differences(names, old, new);
        let targets = |old: Option<&Targets>, new: &Targets| targets_differences(names, old, new);
        let all = super::sign::signing_order(&derived.graph());
        let mut diffs = Vec::new();
        for role in all.iter().filter(|role| roles.is_empty() || roles.contains(role)) {
            let layout = self.staged.layout();
            match role.as_str() {
                "root" => role_diff(role, &derived.root, &live, layout, root, &mut diffs),
                "snapshot" => {
                    role_diff(role, &derived.snapshot, &live, layout, snapshot_differences, &mut diffs)
                }
                "timestamp" => {
                    role_diff(role, &derived.timestamp, &live, layout, timestamp_differences, &mut diffs)
                }
                _ => {
                    if let Some(state) = derived.targets(role) {
                        role_diff(role, state, &live, layout, targets, &mut diffs);
                    }
                }
            }
        }
        Ok(diffs)
    }

    /// Says what a role's file changes against another one. What is no metadata is said to be that.
    pub(super) fn changed_words(&self, role: &RoleName, new: &[u8], old: Option<&[u8]>) -> Vec<String> {
        let names = self.keyring().names();
        let root = |old: Option<&Root>, new: &Root| root_differences(names, old, new);
        let targets = |old: Option<&Targets>, new: &Targets| targets_differences(names, old, new);
        match role.as_str() {
            "root" => file_words(new, old, root),
            "snapshot" => file_words(new, old, snapshot_differences),
            "timestamp" => file_words(new, old, timestamp_differences),
            _ => file_words(new, old, targets),
        }
    }

    /// Says whom the drafts of the roles named, or of all, trust otherwise than what is written: the keys, thresholds and
    /// delegations that whoever signs them assents to.
    pub fn trust_changes(&self, roles: &[RoleName]) -> Vec<RoleDiff> {
        let names = self.keyring().names();
        let none = Delegations::new();
        let mut changes = Vec::new();
        let all = super::sign::signing_order(&self.staged.graph());
        for role in all.into_iter().filter(|role| roles.is_empty() || roles.contains(role)) {
            let mut found = Vec::new();
            if let Some(draft) = self.staged.root.draft.as_ref().filter(|_| role.as_str() == "root") {
                let written = self.staged.root.written.as_ref().map(Metadata::signed);
                found =
                    sentences(written, draft.metadata.signed(), |old, new| root_differences(names, old, new));
            } else if let Some(state) = self.staged.targets(&role)
                && let Some(draft) = &state.draft
            {
                let written =
                    state.written.as_ref().and_then(|written| written.signed().delegations.as_ref());
                let drafted = draft.metadata.signed().delegations.as_ref();
                delegation_differences(names, written.unwrap_or(&none), drafted.unwrap_or(&none), &mut found);
            }
            if let Some(state) = self.staged.role(&role).filter(|_| !found.is_empty()) {
                let version =
                    |place: &str, version: Option<u64>| version.map(|version| format!("{place} v{version}"));
                let new = version("draft", state.draft_version()).unwrap_or_default();
                let old = version("written", state.written_version()).unwrap_or_else(|| "nothing".to_owned());
                let differences = found.into_iter().map(Difference).collect();
                changes.push(RoleDiff { role, new, old, differences });
            }
        }
        changes
    }
}

fn role_diff<T: Signed>(
    role: &RoleName,
    state: &RoleState<T>,
    live: &Published,
    layout: Layout,
    differences: impl Fn(Option<&T>, &T) -> Vec<String>,
    diffs: &mut Vec<RoleDiff>,
) {
    let mut push = |new: (&str, &T), old: Option<(&str, &T)>| {
        let found = sentences(old.map(|(_, old)| old), new.1, &differences);
        let name = |(place, signed): (&str, &T)| format!("{place} v{}", signed.version());
        diffs.push(RoleDiff {
            role: role.clone(),
            new: name(new),
            old: old.map_or_else(|| "nothing".to_owned(), name),
            differences: found.into_iter().map(Difference).collect(),
        });
    };
    let written = state.written.as_ref().map(Metadata::signed);
    if let Some(draft) = &state.draft {
        push(("draft", draft.metadata.signed()), written.map(|written| ("written", written)));
    }
    let Some(written) = written else { return };
    let published = published::<T>(role, live, layout);
    if published.as_ref() != Some(written) {
        push(("written", written), published.as_ref().map(|published| ("live", published)));
    }
}

/// Says what new metadata changes, its expiry included.
fn sentences<T: Signed>(
    old: Option<&T>,
    new: &T,
    differences: impl Fn(Option<&T>, &T) -> Vec<String>,
) -> Vec<String> {
    let mut found = differences(old, new);
    let expiry = time::format(&new.expires());
    match old {
        Some(old) if old.expires() != new.expires() => {
            found.push(format!("expires {expiry}, was {}", time::format(&old.expires())));
        }
        None => found.push(format!("expires {expiry}")),
        Some(_) => {}
    }
    found
}

/// Says what the bytes to sign of a role change against those that were signed before.
///
/// # Errors
/// [`ParseError`] where either is no metadata of the role's kind.
pub(super) fn words_of(
    role: &RoleName,
    new: &[u8],
    old: Option<&[u8]>,
    names: &KeyNames,
) -> Result<Vec<String>, ParseError> {
    match role.as_str() {
        "root" => parsed_words(new, old, |old, new| root_differences(names, old, new)),
        "snapshot" => parsed_words::<Snapshot>(new, old, snapshot_differences),
        "timestamp" => parsed_words::<Timestamp>(new, old, timestamp_differences),
        _ => parsed_words(new, old, |old, new| targets_differences(names, old, new)),
    }
}

fn parsed_words<T: Signed>(
    new: &[u8],
    old: Option<&[u8]>,
    differences: impl Fn(Option<&T>, &T) -> Vec<String>,
) -> Result<Vec<String>, ParseError> {
    let new = Metadata::<T>::from_signed_bytes(new)?;
    let old = old.map(Metadata::<T>::from_signed_bytes).transpose()?;
    Ok(sentences(old.as_ref().map(Metadata::signed), new.signed(), differences))
}

fn file_words<T: Signed>(
    new: &[u8],
    old: Option<&[u8]>,
    differences: impl Fn(Option<&T>, &T) -> Vec<String>,
) -> Vec<String> {
    let old = old.and_then(|old| Metadata::<T>::from_bytes(old).ok());
    match Metadata::<T>::from_bytes(new) {
        Ok(new) => sentences(old.as_ref().map(Metadata::signed), new.signed(), differences),
        Err(error) => vec![error.to_string()],
    }
}

/// What clients see.
struct Published {
    folder: Folder,
    versions: Live,
}

/// Reads what clients see of a role.
fn published<T: Signed>(role: &RoleName, live: &Published, layout: Layout) -> Option<T> {
    let name = match role.as_str() {
        "root" => "root.json".to_owned(),
        _ => layout.metadata_name(role, live.versions.version(role)?),
    };
    let bytes = live.folder.read(&name, MAX_METADATA).ok()??;
    Metadata::from_file(bytes).ok().map(Metadata::into_signed)
}

fn root_differences(names: &KeyNames, old: Option<&Root>, new: &Root) -> Vec<String> {
    let none = RoleKeys::none();
    let mut found = Vec::new();
    for (name, keys) in &new.roles {
        let before = old.and_then(|old| old.roles.get(name)).unwrap_or(&none);
        let old_keys = old.map(|old| &old.keys);
        key_differences(
            names,
            &format!("'{name}'"),
            (&before.keyids, old_keys),
            (&keys.keyids, &new.keys),
            &mut found,
        );
        if before.threshold != keys.threshold {
            found.push(format!("the threshold of '{name}' is {}, was {}", keys.threshold, before.threshold));
        }
    }
    if old.is_some_and(|old| old.consistent_snapshot != new.consistent_snapshot) {
        found.push(format!("consistent snapshots: {}", new.consistent_snapshot));
    }
    found
}

fn key_differences(
    names: &KeyNames,
    whose: &str,
    (old, old_keys): (&[KeyId], Option<&BTreeMap<KeyId, Key>>),
    (new, new_keys): (&[KeyId], &BTreeMap<KeyId, Key>),
    found: &mut Vec<String>,
) {
    let words = |id: &KeyId, keys: Option<&BTreeMap<KeyId, Key>>| {
        let key = keys.and_then(|keys| keys.get(id));
        let kind = key.map_or("unknown", |key| key.keytype.as_str()).escape_debug();
        // an id is a name that whoever lists the key chose: what the key itself hashes to is told where it differs
        match key.map(Key::id).filter(|own| own != id) {
            Some(own) => format!("{kind} key {} (which hashes to {own})", names.in_full(id, key)),
            None => format!("{kind} key {}", names.in_full(id, key)),
        }
    };
    found.extend(
        old.iter()
            .filter(|id| !new.contains(id))
            .map(|id| format!("{whose} no longer trusts {}", words(id, old_keys))),
    );
    found.extend(
        new.iter()
            .filter(|id| !old.contains(id))
            .map(|id| format!("{whose} trusts {}", words(id, Some(new_keys)))),
    );
    for id in new.iter().filter(|id| old.contains(id)) {
        let before = old_keys.and_then(|keys| keys.get(id)).and_then(fingerprint);
        if before != new_keys.get(id).and_then(fingerprint) {
            found.push(format!("{whose}: the key under the id {id} is another one"));
        }
    }
}

fn snapshot_differences(old: Option<&Snapshot>, new: &Snapshot) -> Vec<String> {
    let empty = MetaMap::new();
    let old = old.map_or(&empty, |old| &old.meta);
    let changed = new.meta.differing(old).into_iter().filter_map(|place| new.meta.at(place));
    changed.filter_map(|(path, file)| meta_difference(&path, old.get(&path).as_ref(), &file)).collect()
}

fn timestamp_differences(old: Option<&Timestamp>, new: &Timestamp) -> Vec<String> {
    let before = |path: &String| old.and_then(|old| old.meta.get(path));
    new.meta.iter().filter_map(|(path, file)| meta_difference(path, before(path), file)).collect()
}

fn meta_difference(path: &str, old: Option<&MetaFile>, new: &MetaFile) -> Option<String> {
    let name = path.strip_suffix(".json").unwrap_or(path).escape_debug();
    match old {
        None => Some(format!("lists {name} v{}", new.version)),
        Some(old) if old.version != new.version => {
            Some(format!("lists {name} v{}, was v{}", new.version, old.version))
        }
        Some(_) => None,
    }
}

fn targets_differences(names: &KeyNames, old: Option<&Targets>, new: &Targets) -> Vec<String> {
    let mut found = Vec::new();
    let empty = TargetMap::new();
    let before = old.map_or(&empty, |old| &old.targets);
    for (path, file) in &new.targets {
        let shown = path.escape_debug();
        match before.get(&path) {
            None => found.push(format!("target '{shown}' added ({} bytes)", file.length)),
            Some(old) if old.hashes != file.hashes || old.length != file.length => {
                found.push(format!("target '{shown}' replaced: {}", replacement(&old, &file)));
            }
            Some(old) if old != file => found.push(format!("target '{shown}': custom data changed")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|path| !new.targets.contains_key(path));
    found.extend(gone.map(|path| format!("target '{}' removed", path.escape_debug())));
    let none = Delegations::new();
    let old_delegations = old.and_then(|old| old.delegations.as_ref()).unwrap_or(&none);
    delegation_differences(names, old_delegations, new.delegations.as_ref().unwrap_or(&none), &mut found);
    found
}

/// Says how a target's bytes differ: `length 3→5, sha256 ab12cd34…→cd34ef56…`.
fn replacement(old: &TargetFile, new: &TargetFile) -> String {
    let mut words = Vec::new();
    if old.length != new.length {
        words.push(format!("length {}→{}", old.length, new.length));
    }
    let short = |digest: Option<&str>| match digest {
        Some(digest) => format!("{}…", digest.chars().take(8).collect::<String>().escape_debug()),
        None => "none".to_owned(),
    };
    let algorithms: BTreeSet<Algorithm> = old.hashes.known().chain(new.hashes.known()).collect();
    for algorithm in algorithms {
        let (before, after) = (old.hashes.of(algorithm), new.hashes.of(algorithm));
        if before != after {
            words.push(format!("{} {}→{}", algorithm.name(), short(before), short(after)));
        }
    }
    if words.is_empty() { "other digests".to_owned() } else { words.join(", ") }
}

fn delegation_differences(names: &KeyNames, old: &Delegations, new: &Delegations, found: &mut Vec<String>) {
    let roles: BTreeSet<&RoleName> = old.roles().iter().chain(new.roles()).map(|role| &role.name).collect();
    for name in roles {
        match (old.role(name), new.role(name)) {
            (None, Some(role)) => {
                found.push(format!("delegates {} to '{name}' (threshold {})", trust(role), role.threshold));
                key_differences(names, &format!("'{name}'"), (&[], None), (&role.keyids, &new.keys), found);
            }
            (Some(_), None) => found.push(format!("no longer delegates to '{name}'")),
            (Some(before), Some(role)) if before != role || old.keys != new.keys => {
                key_differences(
                    names,
                    &format!("'{name}'"),
                    (&before.keyids, Some(&old.keys)),
                    (&role.keyids, &new.keys),
                    found,
                );
                if before.threshold != role.threshold {
                    found.push(format!(
                        "the threshold of '{name}' is {}, was {}",
                        role.threshold, before.threshold
                    ));
                }
                if trust(before) != trust(role) {
                    found.push(format!("delegates {} to '{name}', was {}", trust(role), trust(before)));
                }
            }
            _ => {}
        }
    }
    let order = |delegations: &Delegations| {
        delegations.roles().iter().map(|role| role.name.clone()).collect::<Vec<_>>()
    };
    let common = |these: &Delegations, those: &Delegations| -> Vec<RoleName> {
        order(these).into_iter().filter(|name| those.role(name).is_some()).collect()
    };
    if common(old, new) != common(new, old) {
        found.push("the order of the delegations changed".to_owned());
    }
    if old.succinct_roles != new.succinct_roles {
        match &new.succinct_roles {
            Some(bins) => {
                let (number, prefix) = (bins.bins(), bins.name_prefix.escape_debug());
                found.push(format!(
                    "delegates to {number} hash bins named '{prefix}' (threshold {})",
                    bins.threshold
                ));
                key_differences(names, &format!("'{prefix}'"), (&[], None), (&bins.keyids, &new.keys), found);
            }
            None => found.push("no longer delegates to hash bins".to_owned()),
        }
    }
}

/// Says what a role is trusted for.
fn trust(role: &DelegatedRole) -> String {
    let listed = match (&role.paths, &role.path_hash_prefixes) {
        (Some(paths), _) => format!("paths {}", paths.join(", ").escape_debug()),
        (None, Some(prefixes)) => format!("hash prefixes {}", prefixes.join(", ").escape_debug()),
        (None, None) => "nothing".to_owned(),
    };
    if role.terminating { format!("{listed} (terminating)") } else { listed }
}
