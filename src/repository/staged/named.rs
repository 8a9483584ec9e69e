//! Roles that a draft delegates to and that have neither a draft nor written metadata.
//!
//! Metadata that was made elsewhere may name such roles, and so may the drafts that a killed edit has left. They are empty
//! drafts then, as if somebody had just delegated to them: each command can go on from there, or back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::super::error::RepositoryError;
use super::super::policy::Policy;
use super::super::view::Graph;
use super::Staged;
use crate::metadata::RoleName;
use crate::verify::Delegator;

impl Staged {
    /// Drafts the roles that only drafts name and that have neither a draft nor written metadata.
    ///
    /// # Errors
    /// As [`Staged::read`].
    pub(in crate::repository) fn imply_named_roles(
        &mut self,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> Result<(), RepositoryError> {
        let graph = self.graph();
        let is_drafted = |by: &RoleName| self.role(by).is_some_and(|state| state.draft_version().is_some());
        let is_named = |role: &&RoleName| graph.delegators(role).iter().any(is_drafted);
        let named: Vec<RoleName> =
            graph.order.iter().filter(is_named).filter(|role| self.is_unmade(role)).cloned().collect();
        named.into_iter().try_for_each(|role| self.add_targets_role(&role, policy.expiry(&role, now)?))
    }

    /// Tells whether there is nothing of a role that can be made here: neither a draft nor written metadata.
    pub(in crate::repository) fn is_unmade(&self, role: &RoleName) -> bool {
        let is_usual = role.as_str() == "targets" || RoleName::parse(role.as_str()).is_ok();
        // what is written and cannot be read is not nothing: an empty draft would replace it
        let is_damaged = self.damaged.contains_key(role) || self.is_lost(role);
        is_usual && !is_damaged && self.role(role).is_none() && !self.is_written_bin(role)
    }

    /// Tells whether a role was written and clients are led to it, though its file may be gone.
    fn is_lost(&self, role: &RoleName) -> bool {
        let is_trusted = || self.written_targets().any(|(_, targets)| targets.authority(role).is_some());
        self.listed_version(role) > 0 && is_trusted()
    }

    /// Tells whether there is a draft's file of a role, whoever delegates to it.
    pub(in crate::repository) fn has_draft_file(&self, role: &RoleName) -> bool {
        self.on_disk.contains(&super::draft_name(role))
    }

    /// Returns the roles of drafts that nobody delegates to: the next plan removes their files.
    pub(in crate::repository) fn orphans(&self, graph: &Graph) -> Vec<RoleName> {
        let roles = self.on_disk.iter().filter_map(|name| super::drafts::role_of(name));
        roles.filter(|role| role.lists_targets() && !graph.contains(role)).collect()
    }
}

/// Returns the places of roles in an order in which each role comes before those that delegate to it.
pub(super) fn children_first(graph: &Graph) -> BTreeMap<RoleName, usize> {
    let mut children: BTreeMap<&RoleName, Vec<&RoleName>> = BTreeMap::new();
    for (child, delegators) in &graph.delegators {
        delegators.iter().for_each(|by| children.entry(by).or_default().push(child));
    }
    let (mut places, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for top in &graph.order {
        let mut path = vec![(top, false)];
        while let Some((role, is_left)) = path.pop() {
            if is_left {
                places.insert(role.clone(), places.len() + 1);
            } else if seen.insert(role) {
                path.push((role, true));
                path.extend(children.get(role).into_iter().flatten().map(|child| (*child, false)));
            }
        }
    }
    places
}
