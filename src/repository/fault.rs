//! What is wrong with a delegated role, and the one rule that tells whether the change under way caused it.
//!
//! One party's fault is that party's: `write`, `refresh` and `publish` refuse a fault that they would bring to clients, and
//! warn of one that clients have met before. Top-level roles have no place here: their faults stop every client.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::check::{Finding, Severity};
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{Layout, MAX_METADATA};
use crate::metadata::{
    DelegatedRole, Delegations, RoleName, RoleNameError, Snapshot, SuccinctRoles, Targets,
};
use crate::storage::{Storage, regular_or_none};
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

    /// Finds a role that one delegates to under a name that no role has here.
    pub(super) fn of_left_out(
        delegator: &RoleName,
        (role, reason): (RoleName, RoleNameError),
        file: String,
    ) -> Self {
        let ground = Ground::Delegator(delegator.clone());
        Self { role, ground, file: Some(file), reason: Refusal::RoleName(reason) }
    }

    /// Returns the fault of what others have published as a warning.
    pub(super) fn warning_of_live(&self) -> Finding {
        let role = self.role.as_str().escape_debug();
        let outcome = match self.reason {
            Refusal::RoleName(_) => "it is left as it is, and nothing of that role is taken over".to_owned(),
            _ if self.is_stray() => format!("clients take everything else that '{role}' lists"),
            _ => format!("clients get nothing from '{role}'"),
        };
        self.told(&outcome)
    }

    /// Returns the fault as a warning that names the role, who delegates to it, and what is wrong.
    fn warning(&self) -> Finding {
        let outcome = match self.reason {
            Refusal::RoleName(_) => "This change did not cause it, and nothing is done for that role",
            _ => "This change did not cause it, and clients get everything else",
        };
        self.told(outcome)
    }

    fn told(&self, outcome: &str) -> Finding {
        let by: Vec<String> = self
            .ground
            .delegators()
            .iter()
            .map(|role| format!("'{}'", role.as_str().escape_debug()))
            .collect();
        let delegates = if by.len() == 1 { "delegates" } else { "delegate" };
        let file = self.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        let message = format!(
            "{file}{} ({} {delegates} to '{}'). {outcome}",
            self.reason,
            by.join(" and "),
            self.role.as_str().escape_debug(),
        );
        Finding { severity: Severity::Warning, message, ..self.finding() }
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
    /// Takes what has no file here as it lies at a place: a publication deletes nothing there.
    pub(super) fn over(self, place: &'a dyn Storage) -> Self {
        let here = self.read;
        let read = move |name: &str| match here(name)? {
            Some(bytes) => Ok(Some(bytes)),
            None => regular_or_none(place.read(name, MAX_METADATA)).at_place(|| place.place(name)),
        };
        Self { read: Box::new(read), ..self }
    }

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

    /// Returns all delegations that lead to a role, for a fault that rests on them.
    pub(super) fn chain_to(&self, role: &RoleName) -> Ground {
        Ground::Chain(self.delegators_of(role).into_iter().cloned().collect())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{keys, open, repository, scratch, start};
    use super::super::{Delegation, Trust};
    use super::*;
    use crate::crypto::{KeyType, PrivateKey, Signer};
    use crate::metadata::{MetaFile, MetaMap, Threshold};
    use crate::storage::Folder;

    fn role(name: &str) -> RoleName {
        RoleName::new(name).unwrap()
    }

    /// Metadata of `targets` that delegates to some roles, each for its own folder.
    fn delegating(key: &PrivateKey, names: &[&str]) -> Targets {
        let dir = scratch();
        repository(dir.path(), &keys());
        let mut repository = open(dir.path(), start());
        for name in names {
            repository
                .delegate(Delegation {
                    name: role(name),
                    from: RoleName::targets(),
                    keys: vec![key.public_key().clone()],
                    threshold: Threshold::ONE,
                    trust: Trust::Paths(vec![format!("{name}/*")]),
                    terminating: false,
                    before: None,
                })
                .unwrap();
        }
        let view = repository.staged().effective();
        view.targets(&RoleName::targets()).unwrap().clone()
    }

    fn snapshot(team: u64) -> Snapshot {
        let mut listed = MetaMap::new();
        listed.insert(role("team").metapath(), MetaFile::new(team)).unwrap();
        Snapshot::new(listed, start())
    }

    fn leading<'a>(targets: &'a Targets, snapshot: &'a Snapshot, bytes: Option<&'static str>) -> Leading<'a> {
        Leading {
            layout: Layout::Consistent,
            snapshot: Some(snapshot),
            delegators: BTreeMap::from([(RoleName::targets(), targets)]),
            read: Box::new(move |_| Ok(bytes.map(|bytes| bytes.as_bytes().to_vec()))),
        }
    }

    fn fault() -> Fault {
        Fault {
            role: role("team"),
            ground: Ground::Delegator(RoleName::targets()),
            file: Some("metadata.staged/1.team.json".to_owned()),
            reason: Refusal::Missing,
        }
    }

    #[test]
    fn a_fault_is_caused_by_a_change_of_the_file_the_entry_the_delegation_or_its_place() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        let other = PrivateKey::generate(KeyType::Ed25519).unwrap();
        let [same, more, reordered] =
            [&["team", "b"][..], &["x", "team", "b"], &["b", "team"]].map(|names| delegating(&key, names));
        let rekeyed = delegating(&other, &["team", "b"]);
        let (one, two) = (snapshot(1), snapshot(2));
        let before = leading(&same, &one, Some("a"));
        for (after, is_caused) in [
            (leading(&same, &one, Some("a")), false),
            (leading(&more, &one, Some("a")), false),
            (leading(&same, &one, Some("b")), true),
            (leading(&same, &one, None), true),
            (leading(&same, &two, Some("a")), true),
            (leading(&reordered, &one, Some("a")), true),
            (leading(&rekeyed, &one, Some("a")), true),
        ] {
            let judged = refuse_caused(vec![fault()], &before, &after);
            assert_eq!(judged.is_err(), is_caused);
            if let Ok(warnings) = judged {
                let [warning] = &warnings[..] else { panic!("{warnings:?}") };
                assert_eq!(warning.severity, Severity::Warning);
                assert!(warning.message.contains("('targets' delegates to 'team')"), "{}", warning.message);
            }
        }
    }

    #[test]
    fn a_file_that_only_the_place_has_stays_there_and_is_nobodys_fault() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        let (targets, listed, place) = (delegating(&key, &["team"]), snapshot(1), scratch());
        fs::write(place.path().join("1.team.json"), "a").unwrap();
        let place = Folder::new(place.path());
        let before = leading(&targets, &listed, Some("a"));
        let gone = || leading(&targets, &listed, None);
        assert!(refuse_caused(vec![fault()], &before, &gone()).is_err());
        assert_eq!(refuse_caused(vec![fault()], &before, &gone().over(&place)).unwrap().len(), 1);
        // what is here goes before what is there
        let changed = leading(&targets, &listed, Some("b")).over(&place);
        assert!(refuse_caused(vec![fault()], &before, &changed).is_err());
    }

    #[test]
    fn without_a_state_before_every_fault_is_caused() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        let (targets, listed) = (delegating(&key, &["team"]), snapshot(1));
        let nothing = Leading {
            layout: Layout::Consistent,
            snapshot: None,
            delegators: BTreeMap::new(),
            read: Box::new(|_| Ok(None)),
        };
        assert!(refuse_caused(vec![fault()], &nothing, &leading(&targets, &listed, None)).is_err());
        assert!(refuse_caused(Vec::new(), &nothing, &nothing).unwrap().is_empty());
    }
}
