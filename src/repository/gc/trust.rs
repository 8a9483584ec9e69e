//! Which paths a role is trusted for, by the delegations that records and retained metadata hold. A client reaches a role only
//! through the roles that lead to it, so that each of these must be trusted for a path as well.

use std::collections::BTreeSet;

use super::super::history::sha256;
use crate::metadata::{DelegatedRole, Delegations, RoleName, SuccinctRoles};

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

    /// Returns what any delegation trusts some roles for, whoever leads to them.
    pub(super) fn trusting(&self, roles: BTreeSet<RoleName>) -> Together {
        let mut together = Together::default();
        self.0.iter().for_each(|known| together.learn(&known.to, &roles));
        Together { roles, ..together }
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

/// What delegations trust some roles for, taken together: a path is looked up once, however many roles there are.
#[derive(Default)]
pub(super) struct Together {
    roles: BTreeSet<RoleName>,
    /// Delegations by patterns, one of those with the same patterns.
    by_pattern: Vec<DelegatedRole>,
    /// The patterns of those.
    patterns: BTreeSet<Vec<String>>,
    /// The prefixes of hashes of paths, and their lengths.
    prefixes: BTreeSet<String>,
    lengths: BTreeSet<usize>,
    /// The sets of hash bins that have at least one of the roles.
    bins: Vec<SuccinctRoles>,
}

impl Together {
    fn learn(&mut self, delegations: &Delegations, roles: &BTreeSet<RoleName>) {
        for delegated in delegations.roles().iter().filter(|delegated| roles.contains(&delegated.name)) {
            match (&delegated.paths, &delegated.path_hash_prefixes) {
                (Some(patterns), _) if self.patterns.insert(patterns.clone()) => {
                    self.by_pattern.push(delegated.clone());
                }
                (Some(_), _) | (None, None) => {}
                (None, Some(prefixes)) => {
                    self.lengths.extend(prefixes.iter().map(String::len));
                    self.prefixes.extend(prefixes.iter().cloned());
                }
            }
        }
        if let Some(bins) = &delegations.succinct_roles {
            let is_same = |known: &SuccinctRoles| {
                known.name_prefix == bins.name_prefix && known.bit_length == bins.bit_length
            };
            let is_new = !self.bins.iter().any(is_same);
            if is_new && roles.iter().any(|role| bins.is_bin(role.as_str())) {
                self.bins.push(bins.clone());
            }
        }
    }

    /// Tells whether one of the roles is trusted for a path.
    pub(super) fn trusts(&self, path: &str) -> bool {
        let in_bin = |bins: &SuccinctRoles| self.roles.contains(bins.bin_for(path).as_str());
        self.by_pattern.iter().any(|delegated| delegated.trusts(path))
            || self.has_prefix_of(path)
            || self.bins.iter().any(in_bin)
    }

    fn has_prefix_of(&self, path: &str) -> bool {
        if self.prefixes.is_empty() {
            return false;
        }
        let hash = hex::encode(sha256(path.as_bytes()));
        let is_prefix = |length: &usize| hash.get(..*length).is_some_and(|head| self.prefixes.contains(head));
        self.lengths.iter().any(is_prefix)
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::metadata::Targets;

    fn delegations(member: &str, value: Value) -> Delegations {
        let mut text = json!({
            "_type": "targets", "expires": "2030-01-01T00:00:00Z", "spec_version": "1.0.31", "targets": {}, "version": 1,
            "delegations": { "keys": {} },
        });
        text["delegations"][member] = value;
        serde_json::from_value::<Targets>(text).unwrap().delegations.unwrap()
    }

    fn role(name: &str, trusted: &str, what: Value) -> Value {
        json!({ "keyids": ["a".repeat(64)], "name": name, "terminating": false, "threshold": 1, trusted: what })
    }

    fn names(names: &[&str]) -> BTreeSet<RoleName> {
        names.iter().map(|name| RoleName::new(*name).unwrap()).collect()
    }

    #[test]
    fn roles_taken_together_are_trusted_for_what_any_of_them_is_trusted_for_by_itself() {
        let mut known = Known::default();
        let top = RoleName::targets();
        let classic = [
            role("bin-0", "path_hash_prefixes", json!(["0", "1", "2", "3", "4", "5", "6", "7"])),
            role("bin-8", "path_hash_prefixes", json!(["8", "9", "a", "b", "c", "d", "e", "f"])),
            role("team", "paths", json!(["team/*", "x"])),
            role("other", "paths", json!(["*/*"])),
            role("nobody", "paths", json!([])),
        ];
        known.learn(&top, delegations("roles", json!(classic)));
        known.learn(&top, delegations("roles", json!([role("team", "paths", json!(["older/*"]))])));
        let bins =
            json!({ "bit_length": 3, "keyids": ["a".repeat(64)], "name_prefix": "new", "threshold": 1 });
        known.learn(&RoleName::new("team").unwrap(), delegations("succinct_roles", bins));
        let all = ["bin-0", "bin-8", "team", "other", "nobody", "new-0", "new-5", "unknown"];
        let paths: Vec<String> = (0..50)
            .flat_map(|number| ["", "team/", "older/", "a/b/"].map(|folder| format!("{folder}{number}")))
            .chain(["x".to_owned()])
            .collect();
        for number in 0..1 << all.len() {
            let some: Vec<&str> = all
                .iter()
                .enumerate()
                .filter(|(at, _)| number >> at & 1 == 1)
                .map(|(_, name)| *name)
                .collect();
            let some = names(&some);
            let together = known.trusting(some.clone());
            for path in &paths {
                let one_by_one = some.iter().any(|role| known.0.iter().any(|known| known.trusts(role, path)));
                assert_eq!(together.trusts(path), one_by_one, "{some:?} {path}");
            }
        }
    }
}
