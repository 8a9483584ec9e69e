//! Delegated roles whose current metadata clients do not accept: what it was meant to list cannot be told. One party's fault
//! does not stop a collection; whatever such a role may list stays, and its metadata does anyway, since the snapshot lists it.

use std::collections::BTreeSet;

use super::super::check::{Finding, Severity};
use super::super::layout::{Layout, parse_hash_named};
use super::snapshots::{Held, Side};
use super::trust::Together;
use crate::metadata::RoleName;

/// What roles at fault are trusted for.
#[derive(Default)]
pub(super) struct Undecided {
    /// By the delegations in all that is current and verified, and in older retained metadata that leads to such a role; nothing
    /// where no role is at fault.
    trusted: Option<Together>,
}

impl Undecided {
    pub(super) fn of(sides: &[Side<'_>], held: &mut Held) -> Self {
        let roles: BTreeSet<RoleName> = sides.iter().flat_map(|side| &side.at_fault).cloned().collect();
        let mut known = std::mem::take(&mut held.leading);
        if roles.is_empty() {
            return Self::default();
        }
        for (by, to) in sides.iter().flat_map(|side| &side.delegations) {
            known.learn(by, to.clone());
        }
        Self { trusted: Some(known.trusting(roles)) }
    }

    /// Tells whether such a role may list the target that a file is for.
    pub(super) fn may_list(&self, file: &str, layout: Layout) -> bool {
        let Some(trusted) = &self.trusted else { return false };
        let (folder, name) = file.split_at(file.rfind('/').map_or(0, |slash| slash + 1));
        let of = parse_hash_named(name).filter(|_| layout == Layout::Consistent);
        trusted.trusts(file) || of.is_some_and(|(_, name)| trusted.trusts(&[folder, name].concat()))
    }
}

/// Says what is wrong with such roles, and that nothing of theirs goes.
pub(super) fn warnings(sides: &[Side<'_>]) -> Vec<Finding> {
    let warning = |fault: &super::super::fault::Fault| {
        let file = fault.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        let message =
            format!("{file}{}: no target that '{}' may list is collected", fault.reason, fault.role);
        Finding { severity: Severity::Warning, message, ..fault.finding() }
    };
    sides.iter().flat_map(|side| &side.faults).map(warning).collect()
}
