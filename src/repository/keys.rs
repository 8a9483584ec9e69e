//! Trust: which keys a role has, and how many of them must sign.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use super::error::{InputError, RepositoryError};
use crate::crypto::fingerprint;
use crate::metadata::{DelegatedRole, Delegations, Key, KeyId, RoleKeys, RoleName, Root, Targets, Threshold};

/// What a key argument for removal is: a key, or the start of an id.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyChoice {
    /// The key itself.
    Key(Key),
    /// An id, or at least its first eight characters.
    Id(String),
}

/// What becomes of an edit after which more keys would have to sign than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadEnd {
    /// It is refused.
    Refuse,
    /// It is made all the same: keys are to follow.
    Allow,
}

/// The fewest characters of a key id that are taken for it.
const SHORTEST_ID: usize = 8;

impl Repository {
    /// Trusts a key for a role. Returns the id under which the delegator lists it, and whether anything changed.
    ///
    /// # Errors
    /// [`InputError`] for a role that is not there or has several delegators.
    pub fn add_key(
        &mut self,
        role: &RoleName,
        key: &Key,
        delegator: Option<&RoleName>,
    ) -> Result<(KeyId, bool), RepositoryError> {
        self.edit_keys(role, delegator, DeadEnd::Allow, |keys, role_keys| {
            let id = id_for(keys, key);
            let present = role_keys
                .keyids()
                .iter()
                .any(|listed| *listed == id || keys.get(listed).is_some_and(|other| same_key(other, key)));
            if !present {
                keys.insert(id.clone(), key.clone());
                role_keys.keyids_mut().push(id.clone());
            }
            Ok(id)
        })
    }

    /// Distrusts a key of a role. Returns its id.
    ///
    /// # Errors
    /// [`InputError::NoSuchKey`], [`InputError::AmbiguousKey`], [`InputError::DeadEnd`], and as [`Repository::add_key`].
    pub fn remove_key(
        &mut self,
        role: &RoleName,
        choice: &KeyChoice,
        delegator: Option<&RoleName>,
        dead_end: DeadEnd,
    ) -> Result<(KeyId, bool), RepositoryError> {
        let name = role.clone();
        self.edit_keys(role, delegator, dead_end, |keys, role_keys| {
            let id = chosen(&name, choice, role_keys.keyids(), keys)?;
            role_keys.keyids_mut().retain(|listed| *listed != id);
            Ok(id)
        })
    }

    /// Trusts a key for a role in the place of another one. Returns the ids of the old and the new key, and whether
    /// anything changed.
    ///
    /// # Errors
    /// As [`Repository::remove_key`].
    pub fn rotate_key(
        &mut self,
        role: &RoleName,
        old: &KeyChoice,
        new: &Key,
        delegator: Option<&RoleName>,
        dead_end: DeadEnd,
    ) -> Result<((KeyId, KeyId), bool), RepositoryError> {
        let name = role.clone();
        self.edit_keys(role, delegator, dead_end, |keys, role_keys| {
            let out = chosen(&name, old, role_keys.keyids(), keys)?;
            let into = id_for(keys, new);
            keys.insert(into.clone(), new.clone());
            let keyids = role_keys.keyids_mut();
            match keyids.contains(&into) {
                true => keyids.retain(|id| *id == into || *id != out),
                false => keyids.iter_mut().filter(|id| **id == out).for_each(|id| id.clone_from(&into)),
            }
            Ok((out, into))
        })
    }

    /// Sets how many distinct keys of a role must sign. Tells whether anything changed.
    ///
    /// # Errors
    /// [`InputError::DeadEnd`], and as [`Repository::add_key`].
    pub fn set_threshold(
        &mut self,
        role: &RoleName,
        threshold: Threshold,
        delegator: Option<&RoleName>,
        dead_end: DeadEnd,
    ) -> Result<bool, RepositoryError> {
        let changed = self.edit_keys(role, delegator, dead_end, |_, role_keys| {
            *role_keys.threshold_mut() = threshold;
            Ok(())
        })?;
        Ok(changed.1)
    }

    /// Finds the role whose keys or whose delegation a user means: a role, or for the prefix of hash bins the first of them,
    /// whose keys are those of all. The file of a delegated role may be missing or damaged: what is edited is its delegator.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_trusted(&mut self, name: &str) -> Result<RoleName, RepositoryError> {
        let set = RoleName::new(name).ok().and_then(|prefix| self.find_bins(&prefix));
        if let Some(bin) = set.and_then(|set| set.bins.bin(0)) {
            return Ok(bin);
        }
        let damaged =
            self.staged.damaged().find(|(role, _)| role.as_str() == name).map(|(role, _)| role.clone());
        damaged.map_or_else(|| self.find_role(name), Ok)
    }

    /// Finds who delegates to a role: the root to the top-level roles; of several the one named.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`], [`InputError::AmbiguousDelegator`], [`InputError::NotDelegatedBy`].
    pub fn delegator_of(
        &self,
        role: &RoleName,
        named: Option<&RoleName>,
    ) -> Result<RoleName, RepositoryError> {
        let graph = self.staged.graph();
        let delegators = match role.is_top_level() {
            true => vec![RoleName::root()],
            false if graph.contains(role) => graph.delegators(role).to_vec(),
            false => self.delegators_to(role),
        };
        if delegators.is_empty() {
            return Err(InputError::UnknownRole(role.to_string()).into());
        }
        match named {
            Some(named) if delegators.contains(named) => Ok(named.clone()),
            Some(named) => {
                Err(InputError::NotDelegatedBy { role: role.clone(), delegator: named.clone() }.into())
            }
            None if delegators.len() > 1 => {
                Err(InputError::AmbiguousDelegator { role: role.clone(), delegators }.into())
            }
            None => Ok(delegators[0].clone()),
        }
    }

    /// Edits the keys of a role in its delegator's draft. Returns what the edit returns, and whether anything changed.
    fn edit_keys<R>(
        &mut self,
        role: &RoleName,
        delegator: Option<&RoleName>,
        dead_end: DeadEnd,
        edit: impl FnOnce(&mut BTreeMap<KeyId, Key>, &mut dyn EditKeys) -> Result<R, InputError>,
    ) -> Result<(R, bool), RepositoryError> {
        let delegator = self.delegator_of(role, delegator)?;
        let expires = self.expiry(&delegator)?;
        let mut result = Err(InputError::UnknownRole(role.to_string()));
        let set = self.staged.graph().bins_of(role).cloned();
        let edit = |keys: &mut BTreeMap<KeyId, Key>, role_keys: &mut dyn EditKeys| match dead_end {
            DeadEnd::Allow => edit(keys, role_keys),
            DeadEnd::Refuse => unless_dead_end(role, keys, role_keys, edit),
        };
        let changed = if delegator.as_str() == "root" {
            self.staged.root.edit(expires, |root| {
                let Root { keys, roles, .. } = root;
                if let Some(role_keys) = roles.get_mut(role.as_str()) {
                    result = edit(keys, role_keys);
                }
                prune_root(root);
            })
        } else {
            let state = self
                .staged
                .targets_mut(&delegator)
                .ok_or_else(|| InputError::UnknownRole(delegator.to_string()))?;
            state.edit(expires, |targets| {
                let Some(delegations) = &mut targets.delegations else { return };
                let Delegations { keys, roles, succinct_roles, .. } = delegations;
                let at = roles.iter().flatten().position(|delegated| delegated.name == *role);
                if let Some((at, roles)) = at.zip(roles.as_mut()) {
                    result = edit(keys, &mut roles[at]);
                    let (keyids, threshold) = (roles[at].keyids.clone(), roles[at].threshold);
                    // the bins of a set have the same keys
                    let same = |other: &&mut DelegatedRole| {
                        set.as_ref().is_some_and(|set| set.bins.contains(&other.name))
                    };
                    for other in roles.iter_mut().filter(same) {
                        other.keyids.clone_from(&keyids);
                        other.threshold = threshold;
                    }
                } else if let Some(bins) = succinct_roles {
                    result = edit(keys, bins);
                }
                prune(targets);
            })
        };
        let changed =
            changed.map_err(|reason| InputError::Canonical { what: delegator.to_string(), reason })?;
        Ok((result?, changed))
    }
}

/// Anything in metadata that has keys and a threshold.
trait EditKeys {
    fn keyids(&self) -> &[KeyId];
    fn keyids_mut(&mut self) -> &mut Vec<KeyId>;
    fn threshold_mut(&mut self) -> &mut Threshold;
}

macro_rules! edit_keys {
    ($($kind:ty),*) => {$(
        impl EditKeys for $kind {
            fn keyids(&self) -> &[KeyId] {
                &self.keyids
            }

            fn keyids_mut(&mut self) -> &mut Vec<KeyId> {
                &mut self.keyids
            }

            fn threshold_mut(&mut self) -> &mut Threshold {
                &mut self.threshold
            }
        }
    )*};
}
edit_keys!(RoleKeys, crate::metadata::DelegatedRole, crate::metadata::SuccinctRoles);

/// Edits keys, and takes the edit back where more keys would be missing for the threshold than before.
fn unless_dead_end<R>(
    role: &RoleName,
    keys: &mut BTreeMap<KeyId, Key>,
    role_keys: &mut dyn EditKeys,
    edit: impl FnOnce(&mut BTreeMap<KeyId, Key>, &mut dyn EditKeys) -> Result<R, InputError>,
) -> Result<R, InputError> {
    let count = |keys: &BTreeMap<KeyId, Key>, keyids: &[KeyId]| -> usize {
        let identities = keyids.iter().filter_map(|id| keys.get(id).and_then(fingerprint));
        identities.collect::<BTreeSet<_>>().len()
    };
    let before = (keys.clone(), role_keys.keyids().to_vec(), *role_keys.threshold_mut());
    let lacked = before.2.lacking(count(keys, role_keys.keyids()));
    let result = edit(keys, role_keys)?;
    let (number, threshold) = (count(keys, role_keys.keyids()), *role_keys.threshold_mut());
    if threshold.lacking(number) <= lacked {
        return Ok(result);
    }
    (*keys, *role_keys.keyids_mut(), *role_keys.threshold_mut()) = before;
    Err(InputError::DeadEnd { role: role.clone(), keys: number, threshold })
}

/// Tells whether two keys are one: the same public half and scheme.
pub(super) fn same_key(a: &Key, b: &Key) -> bool {
    a.scheme == b.scheme && fingerprint(a).is_some_and(|identity| fingerprint(b) == Some(identity))
}

/// Returns the id under which a key is listed already, or its own.
pub(super) fn id_for(keys: &BTreeMap<KeyId, Key>, key: &Key) -> KeyId {
    let listed = keys.iter().find(|(_, other)| same_key(other, key)).map(|(id, _)| id.clone());
    listed.unwrap_or_else(|| key.id())
}

fn chosen(
    role: &RoleName,
    choice: &KeyChoice,
    keyids: &[KeyId],
    keys: &BTreeMap<KeyId, Key>,
) -> Result<KeyId, InputError> {
    let (matches, shown): (Vec<&KeyId>, String) = match choice {
        KeyChoice::Key(key) => {
            let identity = fingerprint(key);
            let same = |id: &&KeyId| identity.is_some() && keys.get(*id).and_then(fingerprint) == identity;
            (keyids.iter().filter(same).collect(), key.id().to_string())
        }
        KeyChoice::Id(id) => {
            let exact = keyids.iter().filter(|listed| listed.as_str() == id).collect::<Vec<_>>();
            let start = |listed: &&KeyId| id.len() >= SHORTEST_ID && listed.as_str().starts_with(id.as_str());
            (
                if exact.is_empty() { keyids.iter().filter(start).collect() } else { exact },
                id.escape_debug().to_string(),
            )
        }
    };
    match matches.as_slice() {
        [] => Err(InputError::NoSuchKey { role: role.clone(), key: shown }),
        [id] => Ok((*id).clone()),
        _ => Err(InputError::AmbiguousKey { role: role.clone(), key: shown }),
    }
}

/// Drops keys that no role uses any more.
fn prune_root(root: &mut Root) {
    let used: Vec<&KeyId> = root.roles.values().flat_map(|role| &role.keyids).collect();
    root.keys.retain(|id, _| used.contains(&id));
}

/// Drops keys that no delegation uses any more.
pub(super) fn prune(targets: &mut Targets) {
    let Some(delegations) = &mut targets.delegations else { return };
    let roles = delegations.roles.iter().flatten().flat_map(|role| &role.keyids);
    let used: Vec<&KeyId> =
        roles.chain(delegations.succinct_roles.iter().flat_map(|bins| &bins.keyids)).collect();
    delegations.keys.retain(|id, _| used.contains(&id));
}
