//! What to do next: from any state, the steps that lead to one where nothing is dirty, nothing has expired and all that
//! is written is live. How a step is typed is the command line's affair.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::TimeDelta;

use super::Repository;
use super::bins::BinSet;
use super::error::{AtPath, RepositoryError};
use super::follow::dirty;
use super::keyring::policy_path;
use super::relation::Relation;
use super::sign::{signing_order, signing_order_of};
use super::staged::{AnyRole, Staged};
use super::taken_away::TakenAway;
use super::view::{Graph, View};
use crate::crypto::{Fingerprint, fingerprint};
use crate::metadata::{Key, RoleName};

/// A key to sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyToUse {
    /// The policy names it: it is taken without being named again.
    Policy(String),
    /// It lies in this file.
    File(PathBuf),
    /// Nothing here tells where it is.
    Unknown,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Drop drafts that cannot be read.
    Discard(Vec<RoleName>),
    /// Make a key for a role and write it here.
    MakeKey(PathBuf),
    /// Trust the key in this file for a role, whose delegator is named where there are several.
    AddKey {
        /// The role.
        role: RoleName,
        /// The file of the public half.
        key: PathBuf,
        /// Who is to trust it.
        delegator: Option<RoleName>,
    },
    /// Let a draft that has expired before it was written be valid for as long from now on as the policy has it.
    Expire {
        /// The role.
        role: RoleName,
        /// How long.
        lifetime: TimeDelta,
    },
    /// Draft roles again that have expired, so that they are written with the others.
    Bump(Vec<RoleName>),
    /// Sign with these keys and write.
    Write(Vec<KeyToUse>),
    /// Sign again with these keys what has expired.
    Refresh(Vec<KeyToUse>),
    /// Take over what somebody else has published.
    Pull,
    /// Make live what is written, over what was published of these roles with keys that the new root takes away.
    Recover(Vec<RoleName>),
    /// Make live what is written.
    Publish,
}

impl Repository {
    /// Returns the steps that lead on from here, in their order; none where there is nothing to do. Where more is to be
    /// done after them, the state that they lead to tells.
    ///
    /// # Errors
    /// As [`Repository::plan_edit`].
    pub(super) fn next_steps(&self, relation: Relation) -> Result<Vec<Step>, RepositoryError> {
        if !self.unreadable.is_empty() {
            return Ok(vec![Step::Discard(self.unreadable.keys().cloned().collect())]);
        }
        // a thief's metadata gives way; anything else that is live must be known before more is written
        let taken_away = match relation.has_news() {
            true => self.taken_away_at(&self.published_folder())?,
            false => TakenAway::default(),
        };
        if relation.has_news() && taken_away.roles.is_empty() {
            return Ok(vec![Step::Pull]);
        }
        let published = relation == Relation::Published;
        let derived;
        let staged = if self.would_change() {
            derived = self.derived()?;
            &derived
        } else {
            &self.staged
        };
        let planner = Planner { repository: self, staged, view: staged.effective(), graph: staged.graph() };
        let keys = planner.missing_keys();
        if !keys.is_empty() {
            return Ok(keys);
        }
        let dirty: Vec<RoleName> = dirty(&planner.view, staged).into_iter().map(|(role, _)| role).collect();
        if !dirty.is_empty() {
            let stale = planner.stale(&dirty);
            let write = || Step::Write(planner.keys_for(&dirty));
            return Ok(if stale.is_empty() { vec![write()] } else { stale });
        }
        if self.newest_root()?.is_some() {
            return Ok(vec![Step::Write(Vec::new())]);
        }
        let refresh = planner.to_refresh();
        // a delegated role that has expired keeps nobody from publishing
        let is_urgent = |role: &RoleName| role.is_top_level() && planner.has_expired(role);
        if !refresh.is_empty() && (published || refresh.iter().any(is_urgent)) {
            return Ok(vec![Step::Refresh(planner.keys_for(&refresh))]);
        }
        if published && self.finds_lost_files(&planner.graph)? {
            return Ok(vec![Step::Pull]);
        }
        Ok(match published {
            true => Vec::new(),
            // where others' work is live too, the refusal of `publish` says what leads on
            false if taken_away.roles.is_empty() || taken_away.others => vec![Step::Publish],
            false => vec![Step::Recover(taken_away.roles)],
        })
    }

    /// Tells whether a written file that is lost here lies where the repository is published: `pull` brings it back. A bucket is
    /// not asked.
    fn finds_lost_files(&self, graph: &Graph) -> Result<bool, RepositoryError> {
        let live = self.published_folder();
        for role in self.lost_roles(graph) {
            let name = self.staged.layout().metadata_name(&role, self.staged.listed_version(&role));
            if live.length(&name).at(live.file(&name))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether deriving what follows would change drafts that are there: it takes signatures off them.
    fn would_change(&self) -> bool {
        let changes = |role: &RoleName| {
            let Some(state) = self.staged.role(role) else { return false };
            let Some(version) = state.draft_version() else { return false };
            let follows = matches!(role.as_str(), "snapshot" | "timestamp");
            let expired = state.expires().is_some_and(|expires| expires <= self.now);
            version < state.next_version() || (follows && expired && !state.pins().expires)
        };
        signing_order(&self.staged.graph()).iter().any(changes)
    }
}

struct Planner<'a> {
    repository: &'a Repository,
    staged: &'a Staged,
    view: View<'a>,
    graph: Graph,
}

impl<'a> Planner<'a> {
    /// Finds or makes keys for roles that have fewer than must sign.
    fn missing_keys(&self) -> Vec<Step> {
        let ring = self.repository.keyring();
        let mut steps = Vec::new();
        let mut made: Vec<PathBuf> = Vec::new();
        let mut used: Vec<&Key> = Vec::new();
        // hash bins have the same keys: one stands for all
        let order = signing_order_of(self.graph.representatives());
        for role in order.clone() {
            used.extend(
                self.authorities(&role)
                    .flat_map(|authority| authority.keys().to_vec())
                    .filter_map(|(_, key)| key),
            );
        }
        for role in order {
            let delegators = self.graph.delegators(&role);
            for (at, authority) in self.authorities(&role).enumerate() {
                let lacking = authority.threshold().lacking(authority.distinct_keys());
                let delegator = delegators.get(at).filter(|_| delegators.len() > 1).cloned();
                let add =
                    |key: PathBuf| Step::AddKey { role: role.clone(), key, delegator: delegator.clone() };
                if lacking == 0 {
                    continue;
                }
                let mut found = ring.meant_for(&role, &used).into_iter();
                // a threshold that was typed wrongly is not met by a thousand keys
                for _ in 0..lacking.min(16) {
                    if let Some(known) = found.next() {
                        steps.push(add(known.public.clone()));
                        continue;
                    }
                    let path = ring.vacant(&role, &made);
                    made.push(path.clone());
                    steps.push(Step::MakeKey(path.clone()));
                    steps.push(add(PathBuf::from(format!("{}.pub", path.display()))));
                }
            }
        }
        steps
    }

    /// Returns the thresholds that a role answers to from now on, without that of an older root.
    fn authorities(&self, role: &RoleName) -> impl Iterator<Item = crate::verify::Authority<'a>> + use<'a> {
        let all = self.view.authorities(role, &self.graph);
        all.into_iter().filter(|(_, old_root)| old_root.is_none()).map(|(authority, _)| authority)
    }

    /// Returns the steps for what has expired and would be refused by `write`.
    fn stale(&self, dirty: &[RoleName]) -> Vec<Step> {
        let is_dirty: BTreeSet<&RoleName> = dirty.iter().collect();
        let mut steps = Vec::new();
        let mut again = Vec::new();
        for role in signing_order(&self.graph) {
            let Some(state) = self.staged.role(&role) else { continue };
            let expired = state.expires().is_some_and(|expires| expires <= self.repository.now);
            let derived = matches!(role.as_str(), "snapshot" | "timestamp") && !state.pins().expires;
            match state.draft_version() {
                _ if !expired => {}
                Some(_) if !derived => {
                    let lifetime = self.repository.policy.lifetime(&role);
                    steps.push(Step::Expire { role, lifetime });
                }
                None if !is_dirty.contains(&role) && self.is_ours(&role) => again.push(role),
                _ => {}
            }
        }
        if !again.is_empty() {
            steps.push(Step::Bump(again));
        }
        steps
    }

    /// Returns the roles that `refresh` would sign again, where one of them has expired.
    fn to_refresh(&self) -> Vec<RoleName> {
        let due = self.repository.due(None);
        if !due.iter().any(|role| self.has_expired(role) && self.is_ours(role)) {
            return Vec::new();
        }
        let asked = |role: &RoleName| self.has_expired(role) || self.repository.policy.asks_for_refresh(role);
        let mut roles: BTreeSet<RoleName> =
            due.into_iter().filter(asked).filter(|role| self.is_ours(role)).collect();
        if roles.iter().any(RoleName::lists_targets) {
            roles.insert(RoleName::snapshot());
        }
        if roles.contains(&RoleName::snapshot()) {
            roles.insert(RoleName::timestamp());
        }
        signing_order(&self.graph).into_iter().filter(|role| roles.contains(role)).collect()
    }

    /// Tells whether it is for people here to sign a role: those of the root, and others whose keys are at hand.
    fn is_ours(&self, role: &RoleName) -> bool {
        role.is_top_level() || !self.keys_for(std::slice::from_ref(role)).contains(&KeyToUse::Unknown)
    }

    fn has_expired(&self, role: &RoleName) -> bool {
        let written = self.staged.role(role).and_then(AnyRole::written_expires);
        written.is_some_and(|expires| expires <= self.repository.now)
    }

    /// Chooses keys that meet every threshold of the roles, beside the signatures that are there. None is named where
    /// the policy names them all.
    fn keys_for(&self, roles: &[RoleName]) -> Vec<KeyToUse> {
        let mut chosen: Vec<(Option<Fingerprint>, KeyToUse)> = Vec::new();
        let mut sets: Vec<&BinSet> = Vec::new();
        for role in roles {
            // of hash bins the first that lacks signatures stands for all
            let set = self.graph.bins_of(role).map(|set| &set.bins);
            if set.is_some_and(|set| sets.contains(&set)) {
                continue;
            }
            let fresh = self.staged.role(role).is_none_or(|state| state.draft_version().is_none());
            let drafted = self.view.bytes(role).filter(|_| !fresh);
            for (authority, _) in self.view.authorities(role, &self.graph) {
                // what has no draft yet has no signature yet
                let result = match drafted {
                    Some((covered, _)) => authority.check(covered),
                    None => authority.unsigned(),
                };
                let mut lacking = result.lacking();
                if lacking > 0 {
                    sets.extend(set);
                }
                let missing: Vec<&Key> = result.missing().iter().filter_map(|id| authority.key(id)).collect();
                let identities: BTreeSet<Fingerprint> =
                    missing.iter().filter_map(|key| fingerprint(key)).collect();
                let has =
                    |identity: &Option<Fingerprint>| identity.is_some_and(|id| identities.contains(&id));
                lacking = lacking.saturating_sub(chosen.iter().filter(|(id, _)| has(id)).count() as u64);
                for (identity, key) in self.candidates(role, &missing) {
                    if lacking == 0 {
                        break;
                    }
                    let is_new = match identity {
                        Some(_) => !chosen.iter().any(|(known, _)| *known == identity),
                        None => !chosen.iter().any(|(_, known)| *known == key),
                    };
                    if is_new {
                        chosen.push((identity, key));
                        lacking -= 1;
                    }
                }
                let unknown: Vec<Fingerprint> = identities
                    .into_iter()
                    .filter(|identity| !chosen.iter().any(|(known, _)| *known == Some(*identity)))
                    .take(usize::try_from(lacking).unwrap_or(usize::MAX))
                    .collect();
                chosen.extend(unknown.into_iter().map(|identity| (Some(identity), KeyToUse::Unknown)));
            }
        }
        let keys: Vec<KeyToUse> = chosen.into_iter().map(|(_, key)| key).collect();
        if keys.iter().all(|key| matches!(key, KeyToUse::Policy(_))) { Vec::new() } else { keys }
    }

    /// Returns the keys at hand that may sign for a role and have not, the ones that the policy names first.
    fn candidates(&self, role: &RoleName, missing: &[&Key]) -> Vec<(Option<Fingerprint>, KeyToUse)> {
        let (ring, dir) = (self.repository.keyring(), self.repository.dir());
        let known: Vec<_> = missing
            .iter()
            .filter_map(|key| ring.find(key).zip(fingerprint(key)))
            .filter_map(|(known, identity)| known.private.clone().map(|path| (identity, path)))
            .collect();
        let references = self.repository.policy().keys();
        let paths: Vec<PathBuf> =
            references.iter().filter_map(|reference| policy_path(dir, reference)).collect();
        let (named, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, path)| paths.contains(path));
        let policy = |path: PathBuf| KeyToUse::Policy(path.display().to_string());
        let mut keys: Vec<_> = named.into_iter().map(|(id, path)| (Some(id), policy(path))).collect();
        // of a key that is elsewhere nothing is known until it is asked: the policy says that it is this role's
        let elsewhere = self.repository.policy().role_keys(role).iter();
        let elsewhere = elsewhere.filter(|reference| {
            policy_path(dir, reference).is_none_or(|path| {
                path.is_file() && !PathBuf::from(format!("{}.pub", path.display())).is_file()
            })
        });
        keys.extend(elsewhere.map(|reference| {
            let typed = policy_path(dir, reference)
                .map_or_else(|| reference.clone(), |path| path.display().to_string());
            (None, KeyToUse::Policy(typed))
        }));
        keys.extend(others.into_iter().map(|(id, path)| (Some(id), KeyToUse::File(path))));
        keys
    }
}
