//! All targets that a client can trust: for each path the answer that the search for it would give.

use std::collections::BTreeSet;

use super::{ClientError, Updater};
use crate::metadata::{Delegations, RoleName, Snapshot, TargetFile};
use crate::trusted_set::{TargetSearch, Visit};

/// A target and the role that answers for it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedTarget {
    /// The path.
    pub path: String,
    /// The role.
    pub role: RoleName,
    /// What the role says.
    pub info: TargetFile,
}

impl Updater<'_> {
    /// Lists all targets, loading every role that can be reached: in the order of the roles, and of the paths in each.
    ///
    /// A path that a role lists without being trusted for it is not there.
    ///
    /// # Errors
    /// [`ClientError`] where a role cannot be trusted.
    pub fn list(&mut self) -> Result<Vec<ListedTarget>, ClientError> {
        let roles = self.load_all()?;
        let mut listed = Vec::new();
        for role in &roles {
            let Some(targets) = self.trusted.targets(role) else { continue };
            for (path, info) in &targets.targets {
                if self.answers(&path).as_ref() == Some(role) {
                    listed.push(ListedTarget { path: path.into_owned(), role: role.clone(), info });
                }
            }
        }
        Ok(listed)
    }

    /// Loads every role that can be reached, each delegation verified; returns them in pre-order.
    fn load_all(&mut self) -> Result<Vec<RoleName>, ClientError> {
        let mut pending = vec![Visit { role: RoleName::targets(), delegator: RoleName::root() }];
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(visit) = pending.pop() {
            self.role(&visit)?;
            if !seen.insert(visit.role.clone()) {
                continue;
            }
            let snapshot = self.trusted.current_snapshot()?;
            let delegations =
                self.trusted.targets(&visit.role).and_then(|targets| targets.delegations.as_ref());
            let children = delegations.map(|delegations| children(delegations, snapshot)).unwrap_or_default();
            let next = children.into_iter().rev().map(|role| Visit { role, delegator: visit.role.clone() });
            pending.extend(next);
            order.push(visit.role);
        }
        Ok(order)
    }

    /// Returns the role that the search for a path ends at, among the roles that have been loaded.
    fn answers(&self, path: &str) -> Option<RoleName> {
        let mut search = TargetSearch::new(path, self.limits.delegations.saturating_add(1));
        while let Some(visit) = search.next_visit() {
            let targets = self.trusted.targets(&visit.role)?;
            if search.look(&visit, targets).is_some() {
                return Some(visit.role);
            }
        }
        None
    }
}

/// Returns all roles that are delegated to. Of hash bins, those that the snapshot lists: metadata may claim four
/// thousand million of them.
fn children(delegations: &Delegations, snapshot: &Snapshot) -> Vec<RoleName> {
    match &delegations.succinct_roles {
        Some(bins) => {
            let roles = snapshot.meta.keys().filter_map(|metapath| RoleName::from_metapath(&metapath));
            roles.filter(|role| bins.is_bin(role.as_str())).collect()
        }
        None => delegations.roles().iter().map(|role| role.name.clone()).collect(),
    }
}
