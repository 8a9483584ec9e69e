//! What a `pull` changes here, in words: role by role, what vanishes, and which versions run ahead.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::Repository;
use super::super::diff::{Difference, RoleDiff};
use super::super::error::AtPath;
use super::super::error::{InputError, RepositoryError};
use super::super::layout::{MAX_METADATA, METADATA};
use super::super::lifetime::MAX_VERSION;
use super::Live;
use crate::metadata::{MAX_NUMBER, RoleName, Targets};
use crate::storage::ReadFiles;

/// By how much a version may go up before a person is asked: whoever holds a stolen key can use versions up.
const FARTHEST_JUMP: u64 = 1000;

impl Repository {
    /// Returns the roles whose files are taken over, with their versions.
    pub(super) fn roles_of(&self, live: &Live, taken: &[(String, Vec<u8>)]) -> BTreeMap<RoleName, u64> {
        let names: HashSet<&str> = taken.iter().map(|(name, _)| name.as_str()).collect();
        let layout = live.checked.layout;
        let versions = live.checked.report.versions.iter();
        let is_taken = |role: &RoleName, version: u64| names.contains(&*layout.metadata_name(role, version));
        versions
            .filter(|(role, version)| is_taken(role, **version))
            .map(|(role, version)| (role.clone(), *version))
            .collect()
    }

    /// Says what changes, and what vanishes.
    pub(super) fn changes_by(
        &self,
        live: &Live,
        roles: &BTreeMap<RoleName, u64>,
    ) -> Result<(Vec<RoleDiff>, Vec<String>), RepositoryError> {
        let staged = self.staged.folder();
        let mut changes = Vec::new();
        for (role, version) in roles {
            let old = self.written_name(role);
            let old = old
                .map(|name| staged.read(&name, MAX_METADATA).at(staged.file(&name)))
                .transpose()?
                .flatten();
            let new = live.bytes(&live.checked.layout.metadata_name(role, *version)).unwrap_or_default();
            changes.push(RoleDiff {
                role: role.clone(),
                new: format!("live v{version}"),
                old: self
                    .staged
                    .written_version(role)
                    .map_or("nothing".to_owned(), |it| format!("written v{it}")),
                differences: self
                    .changed_words(role, new, old.as_deref())
                    .into_iter()
                    .map(Difference)
                    .collect(),
            });
        }
        Ok((changes, self.gone(live)))
    }

    /// Returns the name of the written file of a role.
    fn written_name(&self, role: &RoleName) -> Option<String> {
        let version = match role.as_str() {
            "snapshot" => self.staged.listed_snapshot(),
            _ => self.staged.written_version(role)?,
        };
        Some(self.staged.layout().metadata_name(role, version))
    }

    /// Names the targets and roles that this copy has and live has not.
    fn gone(&self, live: &Live) -> Vec<String> {
        let (mut roles, mut targets) = (BTreeSet::new(), BTreeSet::new());
        let theirs = &live.checked.targets;
        for (role, ours) in self.staged.written_targets() {
            let kept = theirs.get(role);
            let faulty = live.checked.faults.iter().any(|fault| fault.role == *role);
            if kept.is_none() && !faulty {
                roles.insert(role.clone());
            }
            if kept.is_none_or(|kept| kept.targets != ours.targets) {
                let listed = |path: &str| kept.is_some_and(|kept| kept.targets.contains_key(path));
                targets
                    .extend(ours.targets.keys().filter(|path| !listed(path)).map(|path| path.into_owned()));
            }
        }
        if !targets.is_empty() {
            let elsewhere =
                |role: &Targets| role.targets.keys().map(|path| path.into_owned()).collect::<Vec<_>>();
            let all: HashSet<String> = theirs.values().flat_map(elsewhere).collect();
            targets.retain(|path| !all.contains(path));
        }
        let roles = roles.into_iter().map(|role| format!("role '{role}'"));
        let targets = targets.into_iter().map(|path| format!("target '{}'", path.escape_debug()));
        roles.chain(targets).collect()
    }

    /// Names the versions that jump farther than people's work would have them: of the roles that were verified, and of all
    /// that the snapshot lists.
    ///
    /// # Errors
    /// [`InputError::LastVersion`] for one that leaves no room for the next.
    pub(super) fn jumps_to(&self, live: &Live) -> Result<Vec<String>, RepositoryError> {
        let before = |role: &RoleName| match role.as_str() {
            "snapshot" => self.staged.listed_snapshot(),
            _ => self.staged.written_version(role).unwrap_or_else(|| self.staged.listed_version(role)),
        };
        let listed = live.checked.snapshot.iter().flat_map(|snapshot| &snapshot.meta);
        let listed = listed.filter_map(|(path, file)| Some((RoleName::from_metapath(&path)?, file.version)));
        let mut versions: BTreeMap<RoleName, u64> = listed.collect();
        versions.extend(live.checked.report.versions.iter().map(|(role, version)| (role.clone(), *version)));
        let mut jumps = Vec::new();
        for (role, new) in versions {
            let old = before(&role);
            let jumps_far = new.saturating_sub(old) > FARTHEST_JUMP;
            // who has come to the highest version that can be chosen may go on one by one
            if new >= MAX_NUMBER || (jumps_far && new > MAX_VERSION) {
                return Err(InputError::LastVersion { role, version: new }.into());
            }
            if jumps_far {
                jumps.push(format!("{METADATA}: {role} v{old} to v{new}"));
            }
        }
        Ok(jumps)
    }

    /// Names the versions of what is derived that would go down here: somebody may lead this copy back. Of the roles that list
    /// targets each file is compared with this copy's own.
    pub(super) fn going_back(&self, live: &Live) -> Vec<String> {
        let (snapshot, timestamp) = (RoleName::snapshot(), RoleName::timestamp());
        let written = [
            (&snapshot, self.staged.listed_snapshot()),
            (&timestamp, self.staged.written_version(&timestamp).unwrap_or(0)),
        ];
        let lower = written.into_iter().filter(|(role, ours)| live.version(role) < *ours);
        lower
            .map(|(role, ours)| format!("{METADATA}: {role} v{ours} back to v{}", live.version(role)))
            .collect()
    }
}
