//! One coherent look at the staged state: some drafts in force, the others not.
//!
//! `write` may take some drafts and leave others; whether a role is complete depends on which of its delegators'
//! drafts are taken. A view answers such questions without changing anything.

use std::collections::{BTreeMap, BTreeSet};

use super::bins::{BinSet, Delegatee, delegatees};
use super::error::Lacking;
use super::staged::{AnyRole, Staged};
use crate::metadata::{Covered, Metadata, RoleName, Root, Targets};
use crate::verify::{Authority, Delegator};

/// Which drafts are in force.
#[derive(Debug, Clone)]
enum Taken {
    All,
    Only(BTreeSet<RoleName>),
}

/// The staged state with some drafts in force.
#[derive(Debug, Clone)]
pub struct View<'a> {
    staged: &'a Staged,
    taken: Taken,
}

/// The roles that list targets and can be reached by delegation. Of hash bins those that have been read are among them, and new
/// ones, which have no files yet; the others are as they are written, and are known by their sets.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The roles in pre-order, `targets` first.
    pub order: Vec<RoleName>,
    /// Who delegates to each, without hash bins whose names no other delegation has.
    pub delegators: BTreeMap<RoleName, Vec<RoleName>>,
    /// The sets of hash bins.
    pub bins: Vec<DelegatedBins>,
}

/// Hash bins and who delegates to them.
#[derive(Debug, Clone)]
pub struct DelegatedBins {
    /// The bins.
    pub bins: BinSet,
    /// The roles that delegate to them.
    pub delegators: Vec<RoleName>,
}

/// How hash bins are looked at: there may be tens of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bins {
    /// As a set.
    Together,
    /// Each as a role of its own.
    OneByOne,
}

impl Graph {
    /// Tells whether a role can be reached.
    pub fn contains(&self, role: &RoleName) -> bool {
        self.delegators.contains_key(role) || self.bins_of(role).is_some()
    }

    /// Returns who delegates to a role.
    pub fn delegators(&self, role: &RoleName) -> &[RoleName] {
        let delegators = self.delegators.get(role);
        delegators.or_else(|| Some(&self.bins_of(role)?.delegators)).map(Vec::as_slice).unwrap_or_default()
    }

    fn add_bins(&mut self, bins: BinSet, delegator: RoleName) {
        match self.bins.iter_mut().find(|set| set.bins == bins) {
            Some(set) => set.delegators.push(delegator),
            None => self.bins.push(DelegatedBins { bins, delegators: vec![delegator] }),
        }
    }

    /// Returns the set of hash bins that a role belongs to.
    pub fn bins_of(&self, role: &RoleName) -> Option<&DelegatedBins> {
        self.bins.iter().find(|set| set.bins.contains(role))
    }

    /// Returns the roles in pre-order, with the first hash bin of each set in the place of all: they have the same keys.
    pub fn representatives(&self) -> Vec<RoleName> {
        let bins = self.bins.iter().filter_map(|set| set.bins.bin(0));
        self.order.iter().filter(|role| self.bins_of(role).is_none()).cloned().chain(bins).collect()
    }
}

impl<'a> View<'a> {
    /// All drafts are in force.
    pub fn of_all(staged: &'a Staged) -> Self {
        Self { staged, taken: Taken::All }
    }

    /// Only the drafts of some roles are in force.
    pub fn of(staged: &'a Staged, roles: BTreeSet<RoleName>) -> Self {
        Self { staged, taken: Taken::Only(roles) }
    }

    /// Tells whether a role's draft, if any, is in force.
    pub fn takes(&self, role: &RoleName) -> bool {
        match &self.taken {
            Taken::All => true,
            Taken::Only(roles) => roles.contains(role),
        }
    }

    /// Returns the root in force.
    pub fn root(&self) -> Option<&'a Root> {
        let root = &self.staged.root;
        if self.takes(&RoleName::root()) {
            root.effective()
        } else {
            root.written.as_ref().map(Metadata::signed)
        }
    }

    /// Returns the targets metadata of a role in force.
    pub fn targets(&self, role: &RoleName) -> Option<&'a Targets> {
        let state = self.staged.targets(role)?;
        if self.takes(role) { state.effective() } else { state.written.as_ref().map(Metadata::signed) }
    }

    /// Returns the version of a role that lists targets.
    pub fn version(&self, role: &RoleName) -> Option<u64> {
        let state = self.staged.role(role)?;
        state.draft_version().filter(|_| self.takes(role)).or(state.written_version())
    }

    /// Follows the delegations.
    pub fn graph(&self) -> Graph {
        let graph = self.visit(Bins::Together);
        // a name that is a bin's and a role's as well has delegators of both kinds
        let is_bin = |role: &RoleName| graph.bins_of(role).is_some();
        // and so have bins of two sets whose names are alike
        let mut firsts: Vec<Option<RoleName>> = graph.bins.iter().map(|set| set.bins.bin(0)).collect();
        firsts.sort_unstable();
        let alike = firsts.windows(2).any(|pair| pair[0] == pair[1]);
        if alike || graph.delegators.keys().any(is_bin) { self.visit(Bins::OneByOne) } else { graph }
    }

    fn visit(&self, kind: Bins) -> Graph {
        let mut graph = Graph::default();
        let mut pending = vec![(Delegatee::Role(RoleName::targets()), RoleName::root())];
        while let Some((delegatee, delegator)) = pending.pop() {
            let role = match delegatee {
                Delegatee::Role(role) => role,
                Delegatee::Bins(bins) => {
                    if !graph.bins.iter().any(|set| set.bins == bins) {
                        graph.order.extend(self.staged.bins_read(&bins));
                    }
                    graph.add_bins(bins, delegator);
                    continue;
                }
            };
            let seen = graph.delegators.contains_key(&role);
            graph.delegators.entry(role.clone()).or_default().push(delegator);
            if seen {
                continue;
            }
            graph.order.push(role.clone());
            let delegations = self.targets(&role).and_then(|targets| targets.delegations.as_ref());
            let mut children = Vec::new();
            for delegatee in delegations.map(delegatees).unwrap_or_default() {
                match delegatee {
                    Delegatee::Bins(bins) if kind == Bins::OneByOne => {
                        children.extend(self.staged.bins_read(&bins).into_iter().map(Delegatee::Role));
                        graph.add_bins(bins, role.clone());
                    }
                    delegatee => children.push(delegatee),
                }
            }
            pending.extend(children.into_iter().rev().map(|child| (child, role.clone())));
        }
        graph
    }

    /// Returns the authorities whose thresholds a role's metadata must meet, each with the root version it comes from
    /// where that is an older root's: a new root answers to its predecessor and to itself, a role to all its delegators.
    pub fn authorities(&self, role: &RoleName, graph: &Graph) -> Vec<(Authority<'a>, Option<u64>)> {
        let mut authorities = Vec::new();
        if role.as_str() == "root" {
            let written = self.staged.root.written.as_ref().map(Metadata::signed);
            if let Some(old) = written.filter(|_| self.takes(role) && self.staged.root.draft.is_some()) {
                authorities.extend(old.authority(role).map(|authority| (authority, Some(old.version))));
            }
            authorities
                .extend(self.root().and_then(|root| root.authority(role)).map(|authority| (authority, None)));
        } else if role.is_top_level() {
            authorities
                .extend(self.root().and_then(|root| root.authority(role)).map(|authority| (authority, None)));
        } else {
            let delegators = graph.delegators(role).iter().filter_map(|delegator| self.targets(delegator));
            authorities.extend(
                delegators.filter_map(|targets| targets.authority(role)).map(|authority| (authority, None)),
            );
        }
        authorities
    }

    /// Returns the bytes and signatures of a role in force, with the version.
    pub fn bytes(&self, role: &RoleName) -> Option<(Covered<'a>, u64)> {
        let state: &'a dyn AnyRole = self.staged.role(role)?;
        let drafted = state.draft_bytes().filter(|_| self.takes(role)).zip(state.draft_version());
        drafted.or_else(|| state.written_bytes().zip(state.written_version()))
    }

    /// Says what a role lacks to be complete: nothing, or the first threshold that its signatures do not meet.
    pub fn lacking(&self, role: &RoleName, graph: &Graph) -> Option<Lacking> {
        let (covered, version) = self.bytes(role)?;
        self.authorities(role, graph).into_iter().find_map(|(authority, old_root)| {
            let keys = authority.distinct_keys();
            let result = authority.check(covered);
            (!result.is_verified()).then(|| Lacking {
                role: role.clone(),
                version,
                signed: result.signed().len() as u64,
                threshold: result.threshold(),
                keys,
                missing: result.missing().to_vec(),
                names: BTreeMap::new(),
                old_root,
            })
        })
    }
}
