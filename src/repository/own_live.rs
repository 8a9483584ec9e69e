//! Before anything is written: whether the repository's own `metadata/` goes with what is written here. Another copy may have
//! published there, or a backup was put back on one side only. Other places are asked by `publish`.

use std::collections::BTreeSet;

use super::Repository;
use super::accepted::{Accepted, Extent, is_signed_well};
use super::ancestry::{DamagedRoots, LostSnapshot, Permissions, refuse_what_is_not_ours};
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{Layout, MAX_METADATA, METADATA, is_versioned};
use super::staged::AnyRole;
use super::view::View;
use crate::metadata::RoleName;
use crate::storage::{Folder, ReadFiles};

/// A live file under the name of one that is to be written.
struct InTheWay {
    role: RoleName,
    version: u64,
    name: String,
    bytes: Vec<u8>,
}

impl Repository {
    /// Refuses to write upon what is live in the repository's own folder and not of this copy, or under a name that is taken
    /// there.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`], [`RepositoryError::Io`].
    pub(super) fn refuse_other_writer(&self) -> Result<(), RepositoryError> {
        let live = self.live_folder();
        if !live.exists() {
            return Ok(());
        }
        let in_the_way = self.names_taken(&live)?;
        if in_the_way.is_empty() && self.is_live_as_written(&live)? {
            return Ok(());
        }
        let written = self.staged.folder();
        let read = |extent| Accepted::read(&live, written, self.policy.first_root(), extent);
        let mut accepted = read(Extent::Snapshot)?;
        if !accepted.is_announced() {
            // then the files of all roles tell whose release it is
            accepted = read(Extent::Whole)?;
        }
        let none = BTreeSet::new();
        let permissions = Permissions {
            damaged_roots: DamagedRoots::Refuse,
            lost_snapshot: LostSnapshot::Leave,
            recover: &none,
        };
        let refused = refuse_what_is_not_ours(&accepted, self.successor(), &self.ours(), permissions).err();
        let mut recover = none.clone();
        if let Some(refusal) = refused {
            (accepted, recover) = self.let_taken_away_pass(&live, refusal)?;
        }
        let view = View::of_all(&self.staged);
        let graph = view.graph();
        for InTheWay { role, version, name, bytes } in in_the_way {
            if recover.contains(&role) {
                continue;
            }
            let ours = view.authorities(&role, &graph).into_iter().map(|(authority, _)| authority);
            let all: Vec<_> = accepted.authorities(&role).chain(ours).collect();
            if is_signed_well(&role, version, &bytes, all.into_iter()) {
                return Err(RepositoryError::Refused {
                    file: format!("{METADATA}/{name}"),
                    reason: Refusal::Taken,
                });
            }
        }
        Ok(())
    }

    /// Goes on where all that is in the way was signed only by keys that the newest root here takes away: what a thief has
    /// published there gives way once that root is written, and `publish` asks for each role. Returns what clients accept
    /// without the thief's delegations, and the roles.
    fn let_taken_away_pass(
        &self,
        live: &Folder,
        refusal: RepositoryError,
    ) -> Result<(Accepted, BTreeSet<RoleName>), RepositoryError> {
        if !matches!(&refusal, RepositoryError::Refused { reason: Refusal::GivesWay { .. }, .. }) {
            return Err(refusal);
        }
        // only now all that is live is looked at
        let taken = self.taken_away_at(live)?;
        let recover: BTreeSet<RoleName> = taken.roles.iter().cloned().collect();
        if taken.others || recover.is_empty() {
            return Err(match refusal {
                RepositoryError::Refused { file, reason: Refusal::GivesWay { why, .. } }
                    if recover.is_empty() =>
                {
                    RepositoryError::Refused { file, reason: *why }
                }
                RepositoryError::Refused { file, reason: Refusal::GivesWay { why, .. } } => {
                    RepositoryError::Refused { file, reason: Refusal::GivesWay { why, taken } }
                }
                other => other,
            });
        }
        let read = |extent| Accepted::read(live, self.staged.folder(), self.policy.first_root(), extent);
        let accepted = match recover.contains("targets") {
            true => self.follow_own_targets(live)?,
            false => read(Extent::Whole)?,
        };
        let permissions = Permissions {
            damaged_roots: DamagedRoots::Refuse,
            lost_snapshot: LostSnapshot::Leave,
            recover: &recover,
        };
        refuse_what_is_not_ours(&accepted, self.successor_with_newest_root(), &self.ours(), permissions)?;
        Ok((accepted, recover))
    }

    /// Tells whether the timestamp and the snapshot that are live are those that are written, and no newer root is there.
    fn is_live_as_written(&self, live: &Folder) -> Result<bool, RepositoryError> {
        let staged = &self.staged;
        let Some((root, snapshot)) = staged.root.written_version().zip(staged.snapshot.written_version())
        else {
            return Ok(false);
        };
        let name = |role: RoleName, version| staged.layout().metadata_name(&role, version);
        let newest = name(RoleName::root(), root);
        for name in [&*newest, "timestamp.json", &name(RoleName::snapshot(), snapshot)] {
            let (theirs, ours) = (read(live, name)?, read(staged.folder(), name)?);
            if theirs.is_none() || theirs != ours {
                return Ok(false);
            }
        }
        let next = name(RoleName::root(), root + 1);
        Ok(live.length(&next).at(live.file(&next))?.is_none())
    }

    /// Finds live files under the names of those that are to be written, with other bytes than are written there already.
    fn names_taken(&self, live: &Folder) -> Result<Vec<InTheWay>, RepositoryError> {
        let layout = Layout::of(self.staged.root.effective().is_some_and(|root| root.consistent_snapshot));
        let live = live.held();
        let mut taken = Vec::new();
        for role in self.drafted(&[]).into_iter().chain([RoleName::snapshot()]) {
            let Some(version) = self.staged.role(&role).and_then(AnyRole::draft_version) else { continue };
            let name = layout.metadata_name(&role, version);
            if !is_versioned(layout, &name) || live.length(&name).at_place(|| live.file(&name))?.is_none() {
                continue;
            }
            let (theirs, ours) = (read(&live, &name)?, read(self.staged.folder(), &name)?);
            if let Some(bytes) = theirs.filter(|theirs| ours.as_ref() != Some(theirs)) {
                taken.push(InTheWay { role, version, name, bytes });
            }
        }
        Ok(taken)
    }
}

fn read(folder: &Folder, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
    folder.read(name, MAX_METADATA).at_place(|| folder.file(name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{copy, keys, open, publish, repository, scratch, start, write};
    use super::super::{InputError, STAGED};
    use super::*;

    #[test]
    fn what_is_live_as_it_is_written_or_was_written_before_lets_a_write_go_on() {
        let (dir, keys) = (scratch(), keys());
        repository(dir.path(), &keys);
        for published in [true, false, false, true] {
            let mut repository = open(dir.path(), start());
            repository.bump(&RoleName::targets(), None).unwrap();
            repository.refuse_other_writer().unwrap();
            write(&mut repository, &keys);
            drop(repository);
            if published {
                publish(dir.path(), start());
            }
        }
    }

    #[test]
    fn a_version_that_somebody_has_put_into_the_own_folder_is_refused_whoever_signed_it_well() {
        let (dir, other, keys) = (scratch(), scratch(), keys());
        repository(dir.path(), &keys);
        copy(dir.path(), other.path());
        let mut twin = open(other.path(), start() + chrono::TimeDelta::minutes(1));
        twin.bump(&RoleName::targets(), None).unwrap();
        write(&mut twin, &keys);
        drop(twin);
        let live = dir.path().join(METADATA).join("2.targets.json");
        let refusal = || {
            let mut repository = open(dir.path(), start());
            repository.bump(&RoleName::targets(), None).unwrap();
            repository.refuse_other_writer()
        };
        // nobody is led to it yet: a publication was cut short
        fs::copy(other.path().join(STAGED).join("2.targets.json"), &live).unwrap();
        let error = refusal().unwrap_err();
        assert!(matches!(error, RepositoryError::Refused { reason: Refusal::Taken, .. }), "{error}");
        // what nobody signed is in nobody's way
        fs::write(&live, "{}").unwrap();
        refusal().unwrap();
    }

    #[test]
    fn a_history_that_cannot_be_read_stops_the_repository_from_being_opened_to_change_it() {
        let dir = scratch();
        repository(dir.path(), &keys());
        fs::write(dir.path().join(super::super::HISTORY), "<<<<<<< HEAD\n").unwrap();
        let error = Repository::open_locked(dir.path(), start(), std::time::Duration::ZERO).unwrap_err();
        assert!(matches!(error, RepositoryError::Input(InputError::History { line: 1, .. })), "{error}");
        Repository::open_damaged_locked(dir.path(), start(), std::time::Duration::ZERO).unwrap();
    }
}
