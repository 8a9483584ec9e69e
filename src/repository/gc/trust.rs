//! Which paths a role is trusted for, by the delegations that records and retained metadata hold. A client reaches a role only
//! through the roles that lead to it, so that each of these must be trusted for a path as well.

use crate::metadata::{Delegations, RoleName};

/// The delegations of different roles, each once.
#[derive(Default)]
pub(super) struct Known(Vec<Delegation>);

/// The delegations in some metadata of a role.
struct Delegation {
    by: RoleName,
    to: Delegations,
}

impl Delegation {
    fn trusts(&self, role: &RoleName, path: &str) -> bool {
        match (self.to.role(role), &self.to.succinct_roles) {
            (Some(delegated), _) => delegated.trusts(path),
            (None, Some(bins)) => bins.bin_for(path) == role.as_str(),
            (None, None) => false,
        }
    }

    /// Tells whether two of them say the same of a role.
    fn is_same_for(&self, other: &Self, role: &RoleName) -> bool {
        self.by == other.by
            && self.to.succinct_roles.as_ref().map(|bins| (&bins.name_prefix, bins.bit_length))
                == other.to.succinct_roles.as_ref().map(|bins| (&bins.name_prefix, bins.bit_length))
            && self.to.role(role).map(|role| (&role.paths, &role.path_hash_prefixes))
                == other.to.role(role).map(|role| (&role.paths, &role.path_hash_prefixes))
    }
}

impl Known {
    pub(super) fn learn(&mut self, by: &RoleName, to: Delegations) {
        // versions that follow one another nearly always say the same
        if !self.0.iter().rev().any(|known| known.by == *by && known.to == to) {
            self.0.push(Delegation { by: by.clone(), to });
        }
    }

    pub(super) fn number(&self) -> usize {
        self.0.len()
    }

    /// Returns the delegations after the first ones, as many as the number says; all of them without a number.
    pub(super) fn since(&self, number: Option<usize>) -> impl DoubleEndedIterator<Item = &Delegations> {
        self.0.iter().skip(number.unwrap_or(0)).map(|known| &known.to)
    }

    /// Returns what leads to a role.
    pub(super) fn of<'k>(&'k self, role: &'k RoleName) -> Delegated<'k> {
        Delegated { known: self, role, by: self.leading_to(role) }
    }

    fn leading_to(&self, role: &RoleName) -> Vec<&Delegation> {
        let mut found: Vec<&Delegation> = Vec::new();
        for known in &self.0 {
            if leads_to(&known.to, role) && !found.iter().any(|other| other.is_same_for(known, role)) {
                found.push(known);
            }
        }
        found
    }

    /// Tells whether any delegation trusts a role for a path, whoever leads to that one.
    pub(super) fn trusts(&self, role: &RoleName, path: &str) -> bool {
        self.0.iter().any(|known| known.trusts(role, path))
    }

    /// Tells whether a client that searches for a path comes to a role; `seen` are the roles that were asked about.
    fn leads_to(&self, role: &RoleName, path: &str, seen: &mut Vec<RoleName>) -> bool {
        if role.as_str() == "targets" {
            return true;
        }
        if seen.contains(role) {
            return false;
        }
        seen.push(role.clone());
        self.0.iter().any(|known| known.trusts(role, path) && self.leads_to(&known.by, path, seen))
    }
}

/// Tells whether delegations name a role, for whichever paths.
pub(super) fn leads_to(delegations: &Delegations, role: &RoleName) -> bool {
    let bins = delegations.succinct_roles.as_ref();
    delegations.role(role).is_some() || bins.is_some_and(|bins| bins.is_bin(role.as_str()))
}

/// A role, and the delegations that lead to it directly.
pub(super) struct Delegated<'k> {
    known: &'k Known,
    role: &'k RoleName,
    by: Vec<&'k Delegation>,
}

impl Delegated<'_> {
    /// Tells whether the role is trusted for a path.
    pub(super) fn trusts(&self, path: &str) -> bool {
        let mut seen = vec![self.role.clone()];
        let mut leads = |known: &Delegation| {
            known.trusts(self.role, path) && self.known.leads_to(&known.by, path, &mut seen)
        };
        self.role.as_str() == "targets" || self.by.iter().any(|known| leads(known))
    }
}
