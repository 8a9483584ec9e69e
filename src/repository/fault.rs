//! What is wrong with a delegated role, and the one rule that tells whether the change under way caused it.
//!
//! One party's fault is that party's: `write`, `refresh` and `publish` refuse a fault that they would bring to clients, and
//! warn of one that clients have met before. Top-level roles have no place here: their faults stop every client.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::check::{Finding, Severity};
use super::error::{Refusal, RepositoryError};
use super::layout::Layout;
use crate::metadata::{DelegatedRole, Delegations, RoleName, Snapshot, SuccinctRoles, Targets};
use crate::verify::{Authority, Delegator};

/// What is wrong with a delegated role.
#[derive(Debug)]
pub(super) struct Fault {
    /// The role.
    pub(super) role: RoleName,
    /// Which delegations make it a fault.
    pub(super) ground: Ground,
    /// The file that it is about, relative to the repository.
    pub(super) file: Option<String>,
    /// What is wrong.
    pub(super) reason: Refusal,
}

/// Which delegations a fault rests on, besides the role's file and what the snapshot says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ground {
    /// That of one delegator: others may be content.
    Delegator(RoleName),
    /// Those of all delegators of the role.
    Delegators(Vec<RoleName>),
    /// All delegations between the top-level targets role and the role.
    Chain(Vec<RoleName>),
}

impl Ground {
    fn delegators(&self) -> &[RoleName] {
        match self {
            Self::Delegator(delegator) => std::slice::from_ref(delegator),
            Self::Delegators(all) | Self::Chain(all) => all,
        }
    }
}

impl Fault {
    /// Returns the fault as a finding of a check.
    pub(super) fn finding(&self) -> Finding {
        Finding {
            severity: Severity::Error,
            role: Some(self.role.clone()),
            file: self.file.clone(),
            message: self.reason.to_string(),
        }
    }

    /// Tells whether it is about a target that no delegation trusts the role for, or that has a name of our own: no client is
    /// harmed, and none gets it.
    pub(super) fn is_stray(&self) -> bool {
        matches!(self.ground, Ground::Chain(_))
    }

    /// Returns the fault of what others have published as a warning.
    pub(super) fn warning_of_live(&self) -> Finding {
        let file = self.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        let message = format!("{file}{}: clients get nothing from '{}'", self.reason, self.role);
        Finding { severity: Severity::Warning, message, ..self.finding() }
    }

    /// Returns the fault as a warning that names the role, who delegates to it, and what is wrong.
    fn warning(&self) -> Finding {
        let by: Vec<String> = self.ground.delegators().iter().map(|role| format!("'{role}'")).collect();
        let delegates = if by.len() == 1 { "delegates" } else { "delegate" };
        let file = self.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        let message = format!(
            "{file}{} ({} {delegates} to '{}'). This change did not cause it, and clients get everything else",
            self.reason,
            by.join(" and "),
            self.role,
        );
        Finding {
            severity: Severity::Warning,
            role: Some(self.role.clone()),
            file: self.file.clone(),
            message,
        }
    }

    fn refusal(self) -> RepositoryError {
        let file = self.file.unwrap_or_else(|| self.role.to_string());
        RepositoryError::Refused { file, reason: self.reason }
    }
}

/// Reads a metadata file by its name.
pub(super) type ReadFile<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, RepositoryError> + Sync + 'a;

/// Metadata as it leads a client to delegated roles: before a change, or after it.
pub(super) struct Leading<'a> {
    pub(super) layout: Layout,
    pub(super) snapshot: Option<&'a Snapshot>,
    /// The roles that a client trusts and that delegate.
    pub(super) delegators: BTreeMap<RoleName, &'a Targets>,
    pub(super) read: Box<ReadFile<'a>>,
}

impl<'a> Leading<'a> {
    /// Returns how one role leads to another.
    fn edge(&self, delegator: &RoleName, role: &RoleName) -> Option<Edge<'_>> {
        let targets = self.delegators.get(delegator)?;
        let delegations = targets.delegations.as_ref()?;
        let bins = delegations.succinct_roles.as_ref();
        Some(Edge { authority: targets.authority(role)?, role: delegations.role(role), bins })
    }

    fn delegations(&self, delegator: &RoleName) -> Option<&'a Delegations> {
        self.delegators.get(delegator)?.delegations.as_ref()
    }

    /// Returns who delegates to a role.
    fn delegators_of(&self, role: &RoleName) -> BTreeSet<&RoleName> {
        let delegates = |targets: &&Targets| targets.authority(role).is_some();
        self.delegators.iter().filter(|(_, targets)| delegates(targets)).map(|(by, _)| by).collect()
    }

    fn bytes(&self, role: &RoleName) -> Result<Option<Vec<u8>>, RepositoryError> {
        let Some(listed) = self.snapshot.and_then(|snapshot| snapshot.role(role)) else { return Ok(None) };
        (self.read)(&self.layout.metadata_name(role, listed.version))
    }
}

/// A delegation: keys and threshold, paths, whether it ends a search. Its place among others is compared apart.
#[derive(PartialEq)]
struct Edge<'a> {
    authority: Authority<'a>,
    role: Option<&'a DelegatedRole>,
    bins: Option<&'a SuccinctRoles>,
}

/// Refuses the first fault that a change causes, and returns warnings of the others.
///
/// # Errors
/// [`RepositoryError::Refused`], [`RepositoryError::Io`].
pub(super) fn refuse_caused(
    faults: Vec<Fault>,
    before: &Leading<'_>,
    after: &Leading<'_>,
) -> Result<Vec<Finding>, RepositoryError> {
    if faults.is_empty() {
        return Ok(Vec::new());
    }
    let judge = Judge { before, after, reordered: reordered(before, after) };
    let caused: Vec<bool> =
        faults.par_iter().map(|fault| judge.is_caused(fault)).collect::<Result<_, _>>()?;
    let mut warnings = Vec::with_capacity(faults.len());
    for (fault, is_caused) in faults.into_iter().zip(caused) {
        if is_caused {
            return Err(fault.refusal());
        }
        warnings.push(fault.warning());
    }
    Ok(warnings)
}

struct Judge<'a> {
    before: &'a Leading<'a>,
    after: &'a Leading<'a>,
    /// The delegators whose delegations stand in another order.
    reordered: BTreeSet<&'a RoleName>,
}

impl Judge<'_> {
    /// Tells whether a change caused a fault: unless the role's file, what the snapshot says of it and the delegations that
    /// the fault rests on are all what they were before.
    fn is_caused(&self, fault: &Fault) -> Result<bool, RepositoryError> {
        let listed = |side: &Leading<'_>| side.snapshot.and_then(|snapshot| snapshot.role(&fault.role));
        let same_edges = match &fault.ground {
            Ground::Delegator(delegator) => self.is_same_edge(delegator, &fault.role),
            Ground::Delegators(all) => all.iter().all(|by| self.is_same_edge(by, &fault.role)),
            Ground::Chain(_) => self.is_same_chain(&fault.role),
        };
        let same_bytes =
            || Ok::<_, RepositoryError>(self.before.bytes(&fault.role)? == self.after.bytes(&fault.role)?);
        Ok(!(same_edges && listed(self.before) == listed(self.after) && same_bytes()?))
    }

    fn is_same_edge(&self, delegator: &RoleName, role: &RoleName) -> bool {
        let (before, after) = (self.before.edge(delegator, role), self.after.edge(delegator, role));
        before.is_some() && before == after && !self.reordered.contains(delegator)
    }

    /// Tells whether the same delegations lead to a role, from the top-level targets role down.
    fn is_same_chain(&self, role: &RoleName) -> bool {
        let (mut pending, mut seen) = (vec![role], BTreeSet::new());
        while let Some(role) = pending.pop() {
            if role.as_str() == "targets" || !seen.insert(role) {
                continue;
            }
            let delegators = self.after.delegators_of(role);
            if delegators != self.before.delegators_of(role)
                || !delegators.iter().all(|by| self.is_same_edge(by, role))
            {
                return false;
            }
            pending.extend(delegators);
        }
        true
    }
}

/// Tells whether the same delegations lead to a role as before.
pub(super) fn same_chain(role: &RoleName, before: &Leading<'_>, after: &Leading<'_>) -> bool {
    Judge { before, after, reordered: BTreeSet::new() }.is_same_chain(role)
}

/// Finds the delegators that have put the delegations they had before in another order: the order is what a search follows,
/// and a fault that is reached earlier hides more. New and removed delegations change the place of no other.
fn reordered<'a>(before: &'a Leading<'a>, after: &'a Leading<'a>) -> BTreeSet<&'a RoleName> {
    let names = |delegations: &'a Delegations| delegations.roles().iter().map(|role| &role.name);
    let is_reordered = |delegator: &&'a RoleName| {
        let (Some(old), Some(new)) = (before.delegations(delegator), after.delegations(delegator)) else {
            return false;
        };
        let (was, is): (BTreeSet<_>, BTreeSet<_>) = (names(old).collect(), names(new).collect());
        !names(old).filter(|name| is.contains(name)).eq(names(new).filter(|name| was.contains(name)))
    };
    after.delegators.keys().filter(is_reordered).collect()
}
