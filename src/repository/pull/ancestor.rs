//! How what is live stands to what this copy has: what they have in common, and what of this copy is in the way.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::super::Repository;
use super::super::check::{Finding, Severity};
use super::super::error::{AtPath, Refusal, RepositoryError, RootMark};
use super::super::history::{Entry, History};
use super::super::layout::{Layout, MAX_METADATA, METADATA, is_versioned, parse_versioned};
use super::super::staged::AnyRole;
use super::{Live, Work};
use crate::metadata::{Metadata, RoleName, Root, Targets};
use crate::storage::{ReadFiles, Storage};

/// The work of this copy that would be lost.
pub(super) struct InTheWay {
    /// The roles with drafts.
    pub(super) drafted: Vec<RoleName>,
    /// The roles that are written here and not live, with their versions.
    pub(super) unpublished: Vec<(RoleName, u64)>,
}

impl InTheWay {
    pub(super) fn is_empty(&self) -> bool {
        self.drafted.is_empty() && self.unpublished.is_empty()
    }

    /// Tells whether all of it is written metadata that some roles lost their keys for.
    pub(super) fn is_only_of(&self, roles: &BTreeSet<RoleName>) -> bool {
        self.drafted.is_empty() && self.unpublished.iter().all(|(role, _)| roles.contains(role))
    }

    /// Returns the failure that names the work.
    pub(super) fn refused(self) -> RepositoryError {
        RepositoryError::InTheWay { drafted: self.drafted, unpublished: self.unpublished }
    }
}

/// How a role's written file stands to the live one.
enum Standing {
    /// It is live, or was.
    Past,
    /// It is not live, and live has nothing that came after it.
    Unpublished(u64),
}

impl Repository {
    /// Returns the version of the newest root that this copy and live have in common.
    ///
    /// # Errors
    /// [`RepositoryError::Forked`] where they went apart.
    pub(super) fn common_root(&self, live: &dyn Storage, newest: u64) -> Result<u64, RepositoryError> {
        let (role, staged) = (RoleName::root(), self.staged.folder());
        let name = |version: u64| Layout::Plain.metadata_name(&role, version);
        let theirs = |name: &str| live.read(name, MAX_METADATA).at(live.place(name));
        let mut common = newest;
        if theirs(&name(newest))?.is_none() {
            // this copy may have a root that was never published
            let bytes = theirs("root.json")?.unwrap_or_default();
            let stated = Metadata::<Root>::from_bytes(&bytes).map(|root| root.signed().version);
            common = stated.ok().filter(|version| *version < newest).unwrap_or(newest);
        }
        let name = name(common);
        let ours = staged.read(&name, MAX_METADATA).at(staged.file(&name))?;
        match theirs(&name)? {
            None => {
                Err(RepositoryError::Refused { file: format!("{METADATA}/{name}"), reason: Refusal::Missing })
            }
            theirs if theirs == ours => Ok(common),
            Some(theirs) => Err(RepositoryError::Forked {
                version: common,
                place: live.place(""),
                ours: RootMark::of(&ours.unwrap_or_default()),
                theirs: RootMark::of(&theirs),
            }),
        }
    }

    /// Finds a snapshot of this copy that lies at the place above the one that the timestamp names there, while somebody else
    /// has published: this copy was overtaken in the midst of a publication, or live was led back, and no client that saw
    /// this copy's would take the step (unless the live root takes away all keys that signed it, specification 5.3.11). It is
    /// refused, unless a person has this copy's work set aside.
    pub(super) fn own_snapshot_above(
        &self,
        metadata: &dyn Storage,
        live: &Live,
        work: Work,
    ) -> Result<Option<Finding>, RepositoryError> {
        let (role, layout) = (RoleName::snapshot(), live.checked.layout);
        let (found, ours) = (live.version(&role), self.staged.listed_snapshot());
        if layout == Layout::Plain || found >= ours {
            return Ok(None);
        }
        let history = History::read(&self.dir, self.staged.folder(), self.staged.layout())?;
        if live.entries().all(|entry| history.vouches_for(&entry)) {
            return Ok(None);
        }
        let is_own = |name: &String| -> Result<bool, RepositoryError> {
            let Some((version, of)) = parse_versioned(name) else { return Ok(false) };
            if of != role || version <= found {
                return Ok(false);
            }
            let bytes = metadata.read(name, MAX_METADATA).at(metadata.place(name))?;
            let Some(bytes) = bytes else { return Ok(false) };
            let entry = Entry::of(layout, name, &bytes, |_| None);
            let is_known = entry.is_some_and(|entry| history.vouches_for(&entry));
            Ok(is_known && !self.has_lost_its_keys(live, &bytes))
        };
        for name in metadata.names().at(metadata.place(""))? {
            if is_own(&name)? {
                let (file, reason) = (format!("{METADATA}/{name}"), Refusal::LedBack { snapshot: found });
                if work == Work::Refuse {
                    return Err(RepositoryError::Refused { file, reason });
                }
                let message = format!("{file}: {reason}");
                return Ok(Some(Finding {
                    severity: Severity::Warning,
                    role: Some(role),
                    message,
                    file: Some(file),
                }));
            }
        }
        Ok(None)
    }

    /// Tells whether live is what this copy went on from: nothing there but a root is newer than what is written here.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn is_past(
        &self,
        live: &Live,
        differing: &[(String, Vec<u8>)],
    ) -> Result<bool, RepositoryError> {
        let Some(snapshot) = &live.checked.snapshot else { return Ok(false) };
        let layout = live.checked.layout;
        // after a merge files of two copies may lie side by side
        let has_same_number = |(name, bytes): &(String, Vec<u8>)| {
            let entry = Entry::of(layout, name, bytes, |role| Some(live.version(role)));
            entry.is_some_and(|entry| {
                entry.role != RoleName::root() && entry.version == self.staged.listed_version(&entry.role)
            })
        };
        if differing.iter().any(has_same_number) {
            return Ok(false);
        }
        let mut listed = snapshot
            .meta
            .into_iter()
            .filter_map(|(path, file)| Some((RoleName::from_metapath(&path)?, file.version)));
        let not_older = listed.all(|(role, version)| version <= self.staged.listed_version(&role));
        let (ours, theirs) = (self.staged.listed_snapshot(), snapshot.version);
        // with the same snapshot only the timestamp may be newer
        let later =
            live.version(&RoleName::timestamp()) > self.staged.timestamp.written_version().unwrap_or(0);
        Ok(match theirs == ours {
            true => not_older && !later && !self.same_number(live)?,
            false => not_older && theirs < ours,
        })
    }

    /// Tells whether the timestamps have one version and other bytes.
    fn same_number(&self, live: &Live) -> Result<bool, RepositoryError> {
        let name = "timestamp.json";
        let staged = self.staged.folder();
        let ours = staged.read(name, MAX_METADATA).at(staged.file(name))?;
        let same_version =
            self.staged.timestamp.written_version() == Some(live.version(&RoleName::timestamp()));
        Ok(same_version && ours.as_deref() != live.bytes(name))
    }

    /// Returns the version that the timestamp needs to be published over the live one, where it does not have it.
    pub(super) fn timestamp_above(&self, live: &Live) -> Option<u64> {
        let theirs = live.version(&RoleName::timestamp());
        let state = &self.staged.timestamp;
        let ours = state.draft_version().or(state.written_version()).unwrap_or(0);
        (ours <= theirs).then_some(theirs + 1)
    }

    /// Finds the work of this copy that would be lost by taking over what is live: drafts of roles that are not only signed
    /// again, and written files that are not live.
    pub(super) fn in_the_way(
        &self,
        metadata: &dyn Storage,
        live: &Live,
        taken: &[(String, Vec<u8>)],
    ) -> Result<InTheWay, RepositoryError> {
        let derived = |role: &RoleName| matches!(role.as_str(), "snapshot" | "timestamp");
        let brings_news = taken.iter().any(|(name, bytes)| {
            let entry = Entry::of(live.checked.layout, name, bytes, |role| Some(live.version(role)));
            entry.is_some_and(|entry| !derived(&entry.role))
        });
        let drafted = if brings_news { self.drafts_in_the_way() } else { Vec::new() };
        Ok(InTheWay { drafted, unpublished: self.unpublished(metadata, live)? })
    }

    /// Finds the draft of the root, which a new root is in the way of.
    pub(super) fn root_draft_in_the_way(&self) -> InTheWay {
        let mut drafted = self.drafts_in_the_way();
        drafted.retain(|role| *role == RoleName::root());
        InTheWay { drafted, unpublished: Vec::new() }
    }

    /// Returns the roles with drafts that a person made: what is derived from others is no work.
    fn drafts_in_the_way(&self) -> Vec<RoleName> {
        let is_work = |role: &RoleName| {
            let Some(state) = self.staged.role(role) else { return false };
            let derived = matches!(role.as_str(), "snapshot" | "timestamp");
            state.draft_version().is_some() && (!derived || state.pins().any())
        };
        let all = super::super::sign::signing_order(&self.staged.graph());
        all.into_iter().filter(|role| is_work(role)).collect()
    }

    /// Returns the roles that are written here and not live, with their versions. Snapshot and timestamp are derived and give
    /// way; a root that goes on from live's stays.
    fn unpublished(
        &self,
        metadata: &dyn Storage,
        live: &Live,
    ) -> Result<Vec<(RoleName, u64)>, RepositoryError> {
        let listed: BTreeSet<RoleName> = self.staged.listed_roles();
        let look = |role: &RoleName| -> Result<Option<(RoleName, u64)>, RepositoryError> {
            Ok(match self.standing(metadata, live, role)? {
                Standing::Past => None,
                Standing::Unpublished(version) => Some((role.clone(), version)),
            })
        };
        let roles: Vec<_> = listed.par_iter().map(look).collect::<Result<_, _>>()?;
        Ok(roles.into_iter().flatten().collect())
    }

    /// Compares the written file of a role with the live one, or with the one of its version that live has gone on from. Where
    /// that is gone, it was replaced there. A file that is damaged is no work.
    fn standing(
        &self,
        metadata: &dyn Storage,
        live: &Live,
        role: &RoleName,
    ) -> Result<Standing, RepositoryError> {
        if self.staged.damage_of_written(role).is_some() {
            return Ok(Standing::Past);
        }
        let (staged, layout) = (self.staged.folder(), self.staged.layout());
        let name = layout.metadata_name(role, self.staged.listed_version(role));
        let Some(ours) = staged.read(&name, MAX_METADATA).at(staged.file(&name))? else {
            return Ok(Standing::Past);
        };
        let theirs = live.bytes(&live.checked.layout.metadata_name(role, live.version(role)));
        if theirs == Some(&ours) {
            return Ok(Standing::Past);
        }
        // a killed run may have put another file than the snapshot lists, where names hold no versions
        let Ok(stated) = Metadata::<Targets>::from_bytes(&ours).map(|file| file.signed().version) else {
            return Ok(Standing::Past);
        };
        let is_past = stated < live.version(role) && {
            let there = match is_versioned(layout, &name) {
                true => metadata.read(&name, MAX_METADATA).at(metadata.place(&name))?,
                false => None,
            };
            there.is_none_or(|there| there == ours)
        };
        Ok(if is_past { Standing::Past } else { Standing::Unpublished(stated) })
    }
}
