//! The drafts folder: what must happen there for it to say what the state says.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::super::error::{AtPath, InputError, RepositoryError};
use super::super::layout::{DRAFTS, MAX_METADATA, STAGED};
use super::Staged;
use super::named::children_first;
use super::state::{AnyRole, Saved};
use crate::metadata::{FileText, RoleName};
use crate::storage::{Folder, ReadFiles};

/// Changes to the drafts folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftPlan {
    /// Files to put, by name, with the roles whose drafts they hold.
    pub put: Vec<(String, RoleName)>,
    /// Files to remove.
    pub remove: Vec<String>,
}

impl DraftPlan {
    /// Tells whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

/// Returns the file name of a role's draft.
pub fn draft_name(role: &RoleName) -> String {
    format!("{}.json", role.encoded())
}

/// Returns the role of a draft's file, named relative to the repository.
pub fn draft_of(file: &str) -> Option<RoleName> {
    role_of(file.strip_prefix(STAGED)?.strip_prefix('/')?.strip_prefix(DRAFTS)?.strip_prefix('/')?)
}

/// Returns the role of a draft's file, named relative to the drafts folder.
pub(in crate::repository) fn role_of(name: &str) -> Option<RoleName> {
    RoleName::from_encoded(name.strip_suffix(".json")?).filter(|role| draft_name(role) == name)
}

/// Lists the roles that have the file of a draft in a folder of drafts.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(in crate::repository) fn drafted_in(drafts: &Folder) -> Result<Vec<RoleName>, RepositoryError> {
    Ok(drafts.names().at(drafts.path())?.iter().filter_map(|name| role_of(name)).collect())
}

impl Staged {
    /// Plans what must happen in the drafts folder for it to say what this state says.
    ///
    /// # Errors
    /// [`InputError::Canonical`].
    pub fn plan_drafts(&self) -> Result<DraftPlan, RepositoryError> {
        let mut plan = DraftPlan::default();
        let mut wanted = BTreeSet::new();
        // a bin is implied only for as long as what delegates to it is a set of bins
        let new = self.new_bins(&self.graph());
        let tops = [RoleName::root(), RoleName::snapshot(), RoleName::timestamp()];
        let drafted: Vec<(&RoleName, Saved)> = tops
            .iter()
            .chain(self.targets.keys())
            .filter_map(|role| Some((role, self.role(role)?.draft_saved()?)))
            .filter(|(role, saved)| *saved != Saved::Implied || !new.iter().any(|bins| bins.contains(role)))
            .collect();
        let look = |(role, saved): (&RoleName, Saved)| -> Result<(String, bool), RepositoryError> {
            let name = draft_name(role);
            let same = match saved {
                _ if !self.on_disk.contains(&name) => false,
                Saved::Whole => true,
                Saved::WithoutSignatures => false,
                Saved::No | Saved::Implied => self.is_file_of(&name, role)?,
            };
            Ok((name, same))
        };
        let looked: Vec<_> = drafted.par_iter().copied().map(look).collect::<Result<_, _>>()?;
        for ((role, _), (name, same)) in drafted.into_iter().zip(looked) {
            if !same {
                plan.put.push((name.clone(), role.clone()));
            }
            wanted.insert(name);
        }
        plan.remove = self.on_disk.difference(&wanted).cloned().collect();
        if self.damaged().next().is_some() {
            // whoever delegates to a role that is not known may be one that cannot be read
            let role = |name: &str| RoleName::from_encoded(name.strip_suffix(".json")?);
            let is_known = |role: RoleName| self.role(&role).is_some() || self.damaged.contains_key(&role);
            plan.remove.retain(|name| role(name).is_none_or(is_known));
        }
        Ok(plan)
    }

    /// Plans the removal of all drafts, where each is of a role that has just been written; `saved` was carried out before.
    pub fn drafts_done(&self, saved: &DraftPlan, written: &BTreeMap<RoleName, u64>) -> Option<DraftPlan> {
        let done: BTreeSet<String> = written.keys().map(draft_name).collect();
        let present: BTreeSet<&String> =
            self.on_disk.iter().chain(saved.put.iter().map(|(name, _)| name)).collect();
        let all_done = present.iter().all(|name| done.contains(*name));
        let remove = present.into_iter().cloned().collect();
        all_done.then_some(DraftPlan { put: Vec::new(), remove })
    }

    /// Carries a plan of drafts out. The bytes are made one by one, since there may be many. A role's draft is put before those
    /// of its delegators, so that an edit that is killed has never named a role that is not there.
    ///
    /// # Errors
    /// [`RepositoryError::Io`], [`InputError::Canonical`].
    pub fn save(&self, plan: &DraftPlan) -> Result<(), RepositoryError> {
        if !plan.put.is_empty() {
            std::fs::create_dir_all(self.drafts.path()).at(self.drafts.path())?;
            let mut batch = self.drafts.batch().at(self.drafts.path())?;
            let made = plan.put.par_iter().map(|(name, role)| {
                let Some(draft) = self.draft_file(role)? else { return Ok(None) };
                let filled = batch.fill_with(|file| draft.write_to(file)).at(self.drafts.file(name))?;
                Ok(Some((filled, name, role)))
            });
            let made: Vec<_> = made.collect::<Result<_, RepositoryError>>()?;
            let places = children_first(&self.graph());
            let mut made: Vec<_> = made.into_iter().flatten().collect();
            made.sort_by_cached_key(|(_, _, role)| places.get(*role).copied().unwrap_or(0));
            for (filled, name, _) in made {
                batch.place(filled, name);
            }
            batch.commit().at(self.drafts.path())?;
        }
        self.drafts.remove_any(&plan.remove).at(self.drafts.path())
    }

    /// Tells whether a file says what the draft of a role does.
    fn is_file_of(&self, name: &str, role: &RoleName) -> Result<bool, RepositoryError> {
        let signed =
            self.role(role).and_then(AnyRole::draft_bytes).map_or(0, |draft| draft.bytes.len() as u64);
        // a file is longer than what its signatures cover
        if self.drafts.length(name).at(self.drafts.file(name))?.is_none_or(|length| length < signed) {
            return Ok(false);
        }
        Ok(self.draft_on_disk(name)? == self.draft_file(role)?.map(|draft| draft.to_bytes()))
    }

    /// Returns the draft of a role as its file, to be laid out.
    fn draft_file(&self, role: &RoleName) -> Result<Option<FileText>, RepositoryError> {
        let file = self.role(role).map_or(Ok(None), AnyRole::draft_file);
        Ok(file.map_err(|reason| InputError::Canonical { what: format!("the draft of '{role}'"), reason })?)
    }

    /// Reads the file of a draft; `None` where there is none.
    pub(super) fn draft_on_disk(&self, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        if !self.on_disk.contains(name) {
            return Ok(None);
        }
        self.drafts.read(name, MAX_METADATA).at(self.drafts.file(name))
    }
}
