//! Delegations: made and revoked.

use super::Repository;
use super::bins::{BinSet, Delegatee, MOST_BINS};
use super::error::{InputError, RepositoryError};
use super::keys::{id_for, prune};
use super::view::DelegatedBins;
use crate::metadata::{DelegatedRole, Delegations, Extra, Key, RoleName, SuccinctRoles, Targets, Threshold};

/// What a delegated role is trusted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Patterns of target paths.
    Paths(Vec<String>),
    /// Prefixes of the SHA-256 of target paths, in hexadecimal.
    PathHashPrefixes(Vec<String>),
    /// All paths, shared out among hash bins whose names start with that of the delegation.
    Bins {
        /// How many: a power of two.
        number: u64,
        /// How they are stated.
        kind: BinKind,
    },
}

/// How a delegation to hash bins is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinKind {
    /// In one member, `succinct_roles` (TAP 15).
    Succinct,
    /// Role by role with `path_hash_prefixes`, for clients that do not know TAP 15.
    Classic,
}

/// A delegation to be made.
#[derive(Debug, Clone)]
pub struct Delegation {
    /// The role that is trusted.
    pub name: RoleName,
    /// Who trusts it.
    pub from: RoleName,
    /// Its keys.
    pub keys: Vec<Key>,
    /// How many of them must sign.
    pub threshold: Threshold,
    /// What it is trusted for.
    pub trust: Trust,
    /// Whether the search for a target that matches ends with it.
    pub terminating: bool,
    /// The delegation that it takes precedence over; the last place where none is named.
    pub before: Option<RoleName>,
}

impl Delegation {
    /// States the delegation in the delegator's metadata; of hash bins with the set that they are.
    fn put_into(&self, targets: &mut Targets, set: Option<&BinSet>) {
        let delegations = targets.delegations.get_or_insert_with(Delegations::new);
        let mut keyids = Vec::new();
        for key in &self.keys {
            let id = id_for(&delegations.keys, key);
            delegations.keys.insert(id.clone(), key.clone());
            if !keyids.contains(&id) {
                keyids.push(id);
            }
        }
        if let (Some(set), Trust::Bins { kind: BinKind::Succinct, .. }) = (set, &self.trust) {
            delegations.roles = None;
            delegations.succinct_roles = Some(SuccinctRoles {
                keyids,
                threshold: self.threshold,
                bit_length: set.bits(),
                name_prefix: set.prefix().to_owned(),
                extra: Extra::new(),
            });
            return;
        }
        let role = |name: RoleName, paths, path_hash_prefixes| DelegatedRole {
            name,
            keyids: keyids.clone(),
            threshold: self.threshold,
            terminating: self.terminating,
            paths,
            path_hash_prefixes,
            extra: Extra::new(),
        };
        let new: Vec<DelegatedRole> = match (&self.trust, set) {
            (Trust::Paths(paths), _) => vec![role(self.name.clone(), Some(paths.clone()), None)],
            (Trust::PathHashPrefixes(prefixes), _) => {
                vec![role(self.name.clone(), None, Some(prefixes.clone()))]
            }
            (Trust::Bins { .. }, Some(set)) => (0..set.number())
                .filter_map(|index| Some(role(set.bin(index)?, None, Some(set.path_hash_prefixes(index)))))
                .collect(),
            (Trust::Bins { .. }, None) => Vec::new(),
        };
        let roles = delegations.roles.get_or_insert_default();
        let before = self.before.as_ref();
        let place = before.and_then(|before| roles.iter().position(|role| role.name == *before));
        let place = place.unwrap_or(roles.len());
        roles.splice(place..place, new);
    }
}

impl Repository {
    /// Delegates to a role, and drafts the role's own metadata at once where it has none: a repository is never without
    /// the metadata of a role that it names. That of new hash bins follows from the delegation, and needs no files.
    ///
    /// # Errors
    /// [`InputError`] where another delegation to the role is there, or this one leads back to itself, trusts nothing, or
    /// cannot be met.
    pub fn delegate(&mut self, delegation: Delegation) -> Result<(), RepositoryError> {
        if self.stands(&delegation) {
            return Ok(());
        }
        let Delegation { name, from, trust, before, .. } = &delegation;
        if !from.lists_targets() {
            return Err(InputError::ListsNoTargets { role: from.clone() }.into());
        }
        self.refuse_bins(name, from, trust)?;
        let bins = match &trust {
            Trust::Bins { number, kind } => Some((bin_set(name, *number)?, *kind)),
            _ => None,
        };
        self.refuse_new_name(&match &bins {
            Some((set, _)) => Delegatee::Bins(set.clone()),
            None => Delegatee::Role(name.clone()),
        })?;
        check_trust(trust)?;
        let (expires, child_expires) = (self.expiry(from)?, self.expiry(name)?);
        self.refuse_cycle(name, from)?;
        let unknown = || InputError::UnknownRole(from.to_string());
        let delegations = self
            .staged
            .targets(from)
            .and_then(|state| state.effective())
            .ok_or_else(unknown)?
            .delegations
            .as_ref();
        if delegations.is_some_and(|delegations| delegations.succinct_roles.is_some()) {
            return Err(InputError::Delegation(format!(
                "'{from}' delegates to hash bins, and cannot delegate otherwise too"
            ))
            .into());
        }
        let succinct = matches!(bins, Some((_, BinKind::Succinct)));
        if succinct && (before.is_some() || delegations.is_some_and(|all| !all.roles().is_empty())) {
            return Err(InputError::Delegation(format!(
                "'{from}' has other delegations, and succinct hash bins take the place of all: --classic, or another --from"
            ))
            .into());
        }
        if delegations.is_some_and(|delegations| delegations.role(name).is_some()) {
            return Err(InputError::DelegationThere { name: name.clone(), delegator: from.clone() }.into());
        }
        if let Some(before) =
            before.as_ref().filter(|before| delegations.is_none_or(|all| all.role(before).is_none()))
        {
            return Err(InputError::NotDelegatedBy { role: before.clone(), delegator: from.clone() }.into());
        }
        let state = self.staged.targets_mut(from).ok_or_else(unknown)?;
        let set = bins.as_ref().map(|(set, _)| set);
        let edited = state.edit(expires, |targets| delegation.put_into(targets, set));
        edited.map_err(|reason| InputError::Canonical { what: from.to_string(), reason })?;
        match bins {
            Some((set, _)) => self.staged.add_bins(&set, child_expires),
            None => self.staged.add_targets_role(name, child_expires),
        }
    }

    /// Finds a role that nobody delegates to any more, by its name: one that the snapshot lists for old clients, or one that
    /// has a draft left by a killed edit.
    pub fn find_revoked(&self, name: &str) -> Option<RoleName> {
        let role = RoleName::new(name).ok().filter(RoleName::lists_targets)?;
        let is_known = self.staged.has_draft_file(&role) || self.staged.listed_version(&role) > 0;
        (is_known && !self.staged.graph().contains(&role)).then_some(role)
    }

    /// Finds a name that no role has here and that somebody delegates to, in metadata that others made: it can be revoked.
    pub fn find_left_out(&self, name: &str) -> Option<RoleName> {
        let role = RoleName::new(name).ok().filter(|role| RoleName::parse(role.as_str()).is_err())?;
        (!role.is_top_level() && !self.delegators_to(&role).is_empty()).then_some(role)
    }

    /// Returns the roles that delegate to a name. The name may be one that no role can have.
    pub(super) fn delegators_to(&self, name: &RoleName) -> Vec<RoleName> {
        let graph = self.staged.graph();
        let names = |by: &&RoleName| {
            let delegator = self.staged.targets(by).and_then(|state| state.effective());
            delegator
                .and_then(|targets| targets.delegations.as_ref())
                .is_some_and(|all| all.role(name).is_some())
        };
        graph.order.iter().filter(names).cloned().collect()
    }

    /// Takes a delegation back. Returns the roles that nobody delegates to any more; their drafts go with the plan of the
    /// edit, their snapshot entries stay for old clients.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`], [`InputError::NotDelegatedBy`], [`InputError::AmbiguousDelegator`].
    pub fn revoke(
        &mut self,
        name: &RoleName,
        from: Option<&RoleName>,
    ) -> Result<Vec<RoleName>, RepositoryError> {
        if name.is_top_level() {
            return Err(
                InputError::RoleName(crate::metadata::RoleNameError::TopLevel(name.to_string())).into()
            );
        }
        if let Some(set) = self.staged.graph().bins_of(name) {
            let bins = set.bins.prefix().to_owned();
            return Err(InputError::HashBin { bin: name.clone(), bins }.into());
        }
        let from = self.delegator_of(name, from)?;
        let expires = self.expiry(&from)?;
        let before = self.staged.graph();
        let state =
            self.staged.targets_mut(&from).ok_or_else(|| InputError::UnknownRole(from.to_string()))?;
        let edited = state.edit(expires, |targets| {
            if let Some(delegations) = &mut targets.delegations
                && let Some(roles) = &mut delegations.roles
            {
                roles.retain(|role| role.name != *name);
            }
            drop_empty(targets);
        });
        edited.map_err(|reason| InputError::Canonical { what: from.to_string(), reason })?;
        let after = self.staged.graph();
        Ok(before.order.into_iter().filter(|role| !after.contains(role)).collect())
    }

    /// Takes the delegation to hash bins back. Returns the bins.
    ///
    /// # Errors
    /// As [`Repository::revoke`].
    pub fn revoke_bins(
        &mut self,
        set: &DelegatedBins,
        from: Option<&RoleName>,
    ) -> Result<Vec<RoleName>, RepositoryError> {
        let delegators = set.delegators.clone();
        let first = set.bins.bin(0).unwrap_or_else(RoleName::targets);
        let from = match from {
            Some(from) if delegators.contains(from) => from.clone(),
            Some(from) => {
                return Err(InputError::NotDelegatedBy { role: first, delegator: from.clone() }.into());
            }
            None if delegators.len() > 1 => {
                return Err(InputError::AmbiguousDelegator { role: first, delegators }.into());
            }
            None => delegators[0].clone(),
        };
        let expires = self.expiry(&from)?;
        let state =
            self.staged.targets_mut(&from).ok_or_else(|| InputError::UnknownRole(from.to_string()))?;
        let edited = state.edit(expires, |targets| {
            if let Some(delegations) = &mut targets.delegations {
                delegations.succinct_roles = None;
                let roles = delegations.roles.get_or_insert_default();
                roles.retain(|role| !set.bins.contains(&role.name));
            }
            drop_empty(targets);
        });
        edited.map_err(|reason| InputError::Canonical { what: from.to_string(), reason })?;
        let after = self.staged.graph();
        Ok(set.bins.all().filter(|role| !after.contains(role)).collect())
    }

    /// Tells whether a delegation is there already: made once more, it would be the same.
    fn stands(&self, wanted: &Delegation) -> bool {
        let Some(present) = self.staged.targets(&wanted.from).and_then(|state| state.effective()) else {
            return false;
        };
        let set = match wanted.trust {
            Trust::Bins { number, .. } => BinSet::new(wanted.name.as_str(), number),
            _ => None,
        };
        let is_meant = |role: &DelegatedRole| match &set {
            Some(set) => set.contains(&role.name),
            None => role.name == wanted.name,
        };
        let mut again = present.clone();
        let Some(delegations) = &mut again.delegations else { return false };
        let is_there = delegations.roles().iter().any(is_meant)
            || (set.is_some() && delegations.succinct_roles.is_some());
        delegations.roles.iter_mut().for_each(|roles| roles.retain(|role| !is_meant(role)));
        delegations.succinct_roles = None;
        wanted.put_into(&mut again, set.as_ref());
        is_there && again == *present
    }

    /// Refuses what would make a hash bin a role like any other, or a role a hash bin.
    fn refuse_bins(&self, name: &RoleName, from: &RoleName, trust: &Trust) -> Result<(), InputError> {
        let graph = self.staged.graph();
        for role in [from, name] {
            if let Some(set) = graph.bins_of(role) {
                let bins = set.bins.prefix().to_owned();
                return Err(InputError::HashBin { bin: role.clone(), bins });
            }
        }
        if graph.bins.iter().any(|set| set.bins.prefix() == name.as_str()) {
            return Err(InputError::DelegationThere { name: name.clone(), delegator: from.clone() });
        }
        if let Trust::Bins { number, .. } = trust {
            let set = bin_set(name, *number)?;
            if let Some(role) = graph.order.iter().find(|role| set.contains(role) || *role == name) {
                return Err(InputError::Delegation(format!("there is a role '{role}' already")));
            }
        }
        Ok(())
    }

    /// Refuses a delegation that would lead back to the role that makes it: no client would follow it.
    fn refuse_cycle(&self, name: &RoleName, from: &RoleName) -> Result<(), InputError> {
        let cycle = || InputError::Cycle { name: name.clone(), delegator: from.clone() };
        let mut pending = vec![name.clone()];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(role) = pending.pop() {
            if role == *from {
                return Err(cycle());
            }
            if !seen.insert(role.clone()) {
                continue;
            }
            if let Some(targets) = self.staged.targets(&role).and_then(|state| state.effective()) {
                pending.extend(self.staged.delegated_by(targets));
            }
        }
        Ok(())
    }
}

/// Drops keys that no delegation uses any more, and delegations that name nobody.
fn drop_empty(targets: &mut Targets) {
    prune(targets);
    // an empty list says no more than none at all, which is what a role without delegations has
    let empty =
        |all: &Delegations| all.roles().is_empty() && all.succinct_roles.is_none() && all.extra.is_empty();
    if targets.delegations.as_ref().is_some_and(empty) {
        targets.delegations = None;
    }
}

/// Names the bins of a new delegation.
fn bin_set(name: &RoleName, number: u64) -> Result<BinSet, InputError> {
    let refused = || InputError::Delegation(format!("{number} is no power of two from 2 to {MOST_BINS}"));
    let set = BinSet::new(name.as_str(), number).ok_or_else(refused)?;
    // the longest name stands for all
    RoleName::parse(&set.name(number - 1))?;
    Ok(set)
}

fn check_trust(trust: &Trust) -> Result<(), InputError> {
    let refused = |reason: String| Err(InputError::Delegation(reason));
    match trust {
        Trust::Paths(patterns) => {
            for pattern in patterns {
                let shown = pattern.escape_debug();
                if pattern.is_empty() || pattern.chars().any(char::is_control) {
                    return refused(format!("the path pattern '{shown}' is empty or has control characters"));
                }
                if pattern.starts_with('/') {
                    return refused(format!(
                        "the path pattern '{shown}' starts with a slash, and no target path does"
                    ));
                }
            }
        }
        Trust::Bins { .. } => {}
        Trust::PathHashPrefixes(prefixes) => {
            for prefix in prefixes {
                let digits =
                    prefix.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
                if !digits || !(1..=64).contains(&prefix.len()) {
                    let shown = prefix.escape_debug();
                    return refused(format!(
                        "'{shown}' is not 1 to 64 lower-case hexadecimal digits of a path's SHA-256"
                    ));
                }
            }
        }
    }
    Ok(())
}
