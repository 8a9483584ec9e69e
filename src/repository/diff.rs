//! Drafts against written metadata, and written against live, in words of TUF.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use super::error::RepositoryError;
use super::layout::{Layout, MAX_METADATA};
use super::staged::{RoleState, from_signed_bytes};
use super::status::Live;
use crate::crypto::fingerprint;
use crate::metadata::{
    DelegatedRole, Delegations, Key, KeyId, MetaFile, Metadata, ParseError, RoleKeys, RoleName, Root, Signed,
    Snapshot, Targets, Timestamp, time,
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
            self.staged.read_packed(bins)?;
        }
        Ok(())
    }

    /// Compares drafts with what is written, and what is written with what is live, for the roles named or all.
    ///
    /// # Errors
    /// [`RepositoryError`] for a role that is not there.
    pub fn diff(&self, roles: &[RoleName]) -> Result<Vec<RoleDiff>, RepositoryError> {
        let derived = self.derived()?;
        let live = Published { folder: self.live_folder(), versions: Live::read(&self.live_folder())? };
        let all = super::sign::signing_order(&derived.graph());
        let mut diffs = Vec::new();
        for role in all.iter().filter(|role| roles.is_empty() || roles.contains(role)) {
            let layout = self.staged.layout();
            match role.as_str() {
                "root" => role_diff(role, &derived.root, &live, layout, root_differences, &mut diffs),
                "snapshot" => role_diff(
                    role,
                    &derived.snapshot,
                    &live,
                    layout,
                    |a, b| meta_differences(a.map(|s| &s.meta), &b.meta),
                    &mut diffs,
                ),
                "timestamp" => role_diff(
                    role,
                    &derived.timestamp,
                    &live,
                    layout,
                    |a, b| meta_differences(a.map(|t| &t.meta), &b.meta),
                    &mut diffs,
                ),
                _ => {
                    if let Some(state) = derived.content(role)? {
                        role_diff(role, &state, &live, layout, targets_differences, &mut diffs);
                    }
                }
            }
        }
        Ok(diffs)
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
pub(super) fn words_of(role: &RoleName, new: &[u8], old: Option<&[u8]>) -> Result<Vec<String>, ParseError> {
    match role.as_str() {
        "root" => parsed_words(new, old, root_differences),
        "snapshot" => {
            parsed_words::<Snapshot>(new, old, |a, b| meta_differences(a.map(|s| &s.meta), &b.meta))
        }
        "timestamp" => {
            parsed_words::<Timestamp>(new, old, |a, b| meta_differences(a.map(|t| &t.meta), &b.meta))
        }
        _ => parsed_words(new, old, targets_differences),
    }
}

fn parsed_words<T: Signed>(
    new: &[u8],
    old: Option<&[u8]>,
    differences: impl Fn(Option<&T>, &T) -> Vec<String>,
) -> Result<Vec<String>, ParseError> {
    let new = from_signed_bytes::<T>(new)?;
    let old = old.map(from_signed_bytes::<T>).transpose()?;
    Ok(sentences(old.as_ref().map(Metadata::signed), new.signed(), differences))
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
    Metadata::from_bytes(&bytes).ok().map(Metadata::into_signed)
}

fn root_differences(old: Option<&Root>, new: &Root) -> Vec<String> {
    let none = RoleKeys::none();
    let mut found = Vec::new();
    for (name, keys) in &new.roles {
        let before = old.and_then(|old| old.roles.get(name)).unwrap_or(&none);
        let old_keys = old.map(|old| &old.keys);
        key_differences(
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
            Some(own) => format!("{kind} key {} (which hashes to {own})", id.as_str().escape_debug()),
            None => format!("{kind} key {}", id.as_str().escape_debug()),
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

fn meta_differences(
    old: Option<&BTreeMap<String, MetaFile>>,
    new: &BTreeMap<String, MetaFile>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (path, file) in new {
        let name = path.strip_suffix(".json").unwrap_or(path).escape_debug().to_string();
        match old.and_then(|old| old.get(path)) {
            None => found.push(format!("lists {name} v{}", file.version)),
            Some(before) if before.version != file.version => {
                found.push(format!("lists {name} v{}, was v{}", file.version, before.version));
            }
            Some(_) => {}
        }
    }
    found
}

fn targets_differences(old: Option<&Targets>, new: &Targets) -> Vec<String> {
    let mut found = Vec::new();
    let empty = BTreeMap::new();
    let before = old.map_or(&empty, |old| &old.targets);
    for (path, file) in &new.targets {
        let shown = path.escape_debug();
        match before.get(path) {
            None => found.push(format!("target '{shown}' added ({} bytes)", file.length)),
            Some(old) if old.hashes != file.hashes || old.length != file.length => {
                found.push(format!("target '{shown}' replaced ({} bytes, was {})", file.length, old.length));
            }
            Some(old) if old != file => found.push(format!("target '{shown}': custom data changed")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|path| !new.targets.contains_key(*path));
    found.extend(gone.map(|path| format!("target '{}' removed", path.escape_debug())));
    let none = Delegations::new();
    let old_delegations = old.and_then(|old| old.delegations.as_ref()).unwrap_or(&none);
    delegation_differences(old_delegations, new.delegations.as_ref().unwrap_or(&none), &mut found);
    found
}

fn delegation_differences(old: &Delegations, new: &Delegations, found: &mut Vec<String>) {
    let names: BTreeSet<&RoleName> = old.roles().iter().chain(new.roles()).map(|role| &role.name).collect();
    for name in names {
        match (old.role(name), new.role(name)) {
            (None, Some(role)) => {
                found.push(format!("delegates {} to '{name}' (threshold {})", trust(role), role.threshold));
                key_differences(&format!("'{name}'"), (&[], None), (&role.keyids, &new.keys), found);
            }
            (Some(_), None) => found.push(format!("no longer delegates to '{name}'")),
            (Some(before), Some(role)) if before != role || old.keys != new.keys => {
                key_differences(
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
                key_differences(&format!("'{prefix}'"), (&[], None), (&bins.keyids, &new.keys), found);
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
