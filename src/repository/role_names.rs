//! Which names a new role may have beside the roles that are there: the names of their files must stay apart on every file
//! system. What a name must be by itself, [`RoleName::parse`] says.

use std::collections::BTreeMap;

use super::Repository;
use super::bins::{BinSet, Delegatee, delegatees};
use super::error::InputError;
use super::layout::Layout;
use crate::metadata::{RoleName, RoleNameError, Targets};

/// What is said of a name in the plain layout.
const LIKE_A_VERSION: &str = "begins with digits and a dot, as the names of files with versions do";

impl Repository {
    /// Refuses the name of a role, or of hash bins, that somebody is about to delegate to for the first time.
    ///
    /// # Errors
    /// [`InputError::RoleName`]; [`InputError::AlikeRole`] for one that differs from another role's only in capitals or in the way
    /// its letters are written.
    pub(super) fn refuse_new_name(&self, new: &Delegatee) -> Result<(), InputError> {
        let (name, set) = match new {
            Delegatee::Role(role) => (RoleName::parse(role.as_str())?, None),
            Delegatee::Bins(set) => {
                RoleName::parse(&set.name(set.number() - 1))?;
                // without a prefix the bins have nothing that others could be like
                let Ok(prefix) = RoleName::new(set.prefix()) else { return Ok(()) };
                (prefix, Some(set))
            }
        };
        if self.staged.layout() == Layout::Plain && name.starts_like_a_version() {
            let name = name.as_str().escape_debug().to_string();
            return Err(RoleNameError::Unwise { name, reason: LIKE_A_VERSION }.into());
        }
        let graph = self.staged.graph();
        let listed = self.staged.listed_roles();
        let alike = |other: RoleName| InputError::AlikeRole { name: name.clone(), other };
        // files of revoked roles are still there
        let known = graph.order.iter().chain(&listed).filter(|role| role.lists_targets());
        if let Some(other) = known.into_iter().find(|role| is_alike(&name, set, role)) {
            return Err(alike(other.clone()));
        }
        let sets = graph.bins.iter().map(|known| &known.bins);
        let is_set_alike = |known: &&BinSet| match (set, RoleName::new(known.prefix())) {
            (Some(set), Ok(prefix)) => prefix.folded() == name.folded() && set.prefix() != known.prefix(),
            (None, Ok(prefix)) => {
                let folded = BinSet::new(&prefix.folded(), known.number());
                let bin = RoleName::new(name.folded());
                folded.zip(bin.ok()).is_some_and(|(set, bin)| set.contains(&bin)) && !known.contains(&name)
            }
            (_, Err(_)) => false,
        };
        match sets.into_iter().find(is_set_alike).and_then(|set| set.bin(0)) {
            Some(other) => Err(alike(other)),
            None => Ok(()),
        }
    }

    /// Refuses the names that metadata made elsewhere delegates to and the role does not yet.
    ///
    /// # Errors
    /// As [`Repository::refuse_new_name`].
    pub(super) fn refuse_new_names(&self, role: &RoleName, targets: &Targets) -> Result<(), InputError> {
        let all = |targets: &Targets| targets.delegations.as_ref().map(delegatees).unwrap_or_default();
        let present =
            self.staged.targets(role).and_then(|state| state.effective()).map(all).unwrap_or_default();
        let mut folded: BTreeMap<String, RoleName> = BTreeMap::new();
        for delegatee in all(targets) {
            if !present.contains(&delegatee) {
                self.refuse_new_name(&delegatee)?;
            }
            if let Delegatee::Role(name) = delegatee
                && let Some(other) = folded.insert(name.folded(), name.clone())
            {
                return Err(InputError::AlikeRole { name, other });
            }
        }
        Ok(())
    }
}

/// Tells whether a new name, or a bin of a new set, is another role's but for capitals and the way its letters are written.
fn is_alike(name: &RoleName, set: Option<&BinSet>, other: &RoleName) -> bool {
    let folded = other.folded();
    match set {
        None => *other != *name && folded == name.folded(),
        Some(set) => {
            let bins = BinSet::new(&name.folded(), set.number());
            let folded = RoleName::new(folded).ok();
            bins.zip(folded).is_some_and(|(bins, folded)| bins.contains(&folded)) && !set.contains(other)
        }
    }
}

/// Finds the names of roles that a file system may take for one, in metadata that is read: each with another one that came
/// before. In the plain layout those too that begin as versions do.
pub(super) fn awkward_names<'a>(
    layout: Layout,
    names: impl Iterator<Item = &'a RoleName>,
) -> Vec<(RoleName, String)> {
    let mut folded: BTreeMap<String, &RoleName> = BTreeMap::new();
    let mut found = Vec::new();
    for name in names {
        if layout == Layout::Plain && name.starts_like_a_version() {
            found.push((name.clone(), format!("the role name '{name}' {LIKE_A_VERSION}")));
        }
        if let Some(other) = folded.insert(name.folded(), name).filter(|other| *other != name) {
            found.push((name.clone(), alike_words(name, other)));
        }
    }
    found
}

/// Says that two names are hard to tell apart.
pub(super) fn alike_words(name: &RoleName, other: &RoleName) -> String {
    let (name, other) = (name.as_str().escape_debug(), other.as_str().escape_debug());
    format!(
        "'{name}' differs from the role '{other}' only in capitals or in how its letters are written, and some file systems \
         take their files for one"
    )
}
