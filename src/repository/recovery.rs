//! What becomes of live metadata that a publication does not go on from: which roles go down, and what vanishes with them. A
//! person agrees to just this.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::accepted::Accepted;
use super::ancestry::Recovered;
use super::check::Checked;
use crate::metadata::{RoleName, Targets};
use crate::verify::Verified;

/// What becomes of live metadata that a publication does not go on from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The roles that give way, and delegated ones that go down with them.
    pub roles: Vec<Recovered>,
    /// The delegated roles that are live and will not be trusted, or not be there, any more.
    pub gone_roles: Vec<RoleName>,
    /// The targets that are live and will no longer be listed.
    pub vanishing: Vec<String>,
    /// The targets that will be listed with other bytes than are live.
    pub changing: Vec<String>,
}

impl Recovery {
    /// Compares what clients accept of a place, whoever signed it, with what takes its place; nothing where no role is
    /// recovered.
    pub(super) fn of(mut roles: Vec<Recovered>, live: &Accepted, staged: &Checked) -> Self {
        if roles.is_empty() {
            return Self::default();
        }
        let theirs = all_of(live);
        let known: BTreeSet<&RoleName> = roles.iter().map(|recovered| &recovered.role).collect();
        let lower: Vec<Recovered> = theirs
            .iter()
            .filter_map(|(role, targets)| {
                let (from, to) = (targets.version, staged.targets.get(*role)?.version);
                (from > to && !known.contains(role)).then(|| Recovered { role: (*role).clone(), from, to })
            })
            .collect();
        roles.extend(lower);
        let (vanishing, changing) = lost_targets(&theirs, &staged.targets);
        Self { roles, gone_roles: gone_roles(&theirs, live, staged), vanishing, changing }
    }
}

/// Returns what clients have of the roles that list targets.
fn all_of(live: &Accepted) -> BTreeMap<&RoleName, &Targets> {
    let followed = live.targets.iter().map(|(role, targets)| (role, Verified::signed(targets)));
    live.stranded.iter().chain(followed).collect()
}

fn gone_roles(theirs: &BTreeMap<&RoleName, &Targets>, live: &Accepted, staged: &Checked) -> Vec<RoleName> {
    let listed = live.snapshot.iter().flat_map(|known| &known.metadata.signed().meta);
    let listed = listed.filter_map(|(path, _)| RoleName::from_metapath(&path));
    let is_listed =
        |role: &RoleName| staged.snapshot.as_ref().is_some_and(|snapshot| snapshot.role(role).is_some());
    let unlisted = listed.filter(|role| !is_listed(role));
    // what is only at fault is still delegated to
    let stays = |role: &RoleName| {
        staged.targets.contains_key(role) || staged.faults.iter().any(|fault| fault.role == *role)
    };
    let untrusted = theirs.keys().filter(|role| !stays(role)).map(|role| (*role).clone());
    let gone: BTreeSet<RoleName> = untrusted.chain(unlisted).filter(|role| !role.is_top_level()).collect();
    gone.into_iter().collect()
}

/// Returns the targets that nobody lists any more, and those that are listed with other bytes.
fn lost_targets(
    theirs: &BTreeMap<&RoleName, &Targets>,
    ours: &BTreeMap<RoleName, Targets>,
) -> (Vec<String>, Vec<String>) {
    let (mut vanishing, mut changing) = (BTreeSet::new(), BTreeSet::new());
    for (role, live) in theirs {
        // nearly all is listed by the same role with the same bytes
        let same = ours.get(*role).map(|ours| &ours.targets);
        for (path, file) in live.targets.iter() {
            if same.and_then(|same| same.get(&path)).is_some_and(|ours| has_same_bytes(&ours, &file)) {
                continue;
            }
            let listed: Vec<_> = ours.values().filter_map(|ours| ours.targets.get(&path)).collect();
            match listed.iter().any(|ours| has_same_bytes(ours, &file)) {
                true => {}
                false if listed.is_empty() => drop(vanishing.insert(Cow::into_owned(path))),
                false => drop(changing.insert(Cow::into_owned(path))),
            }
        }
    }
    (vanishing.into_iter().collect(), changing.into_iter().collect())
}

fn has_same_bytes(one: &crate::metadata::TargetFile, other: &crate::metadata::TargetFile) -> bool {
    one.length == other.length && one.hashes == other.hashes
}
