//! Work of this copy that gives way to what is live: it is kept in a folder that no command reads, to be made again.

use super::super::Repository;
use super::super::error::{AtPath, RepositoryError};
use super::super::history::{History, sha256};
use super::super::layout::{ASIDE, DRAFTS, MAX_METADATA, STAGED};
use super::super::staged::draft_name;
use super::ancestor::InTheWay;
use super::{Live, PullPlan, Work};
use crate::metadata::RoleName;
use crate::storage::{Folder, ReadFiles};

/// How many hexadecimal digits of a file's digest stand in its name: two works of one version do not meet.
const DIGITS: usize = 12;

impl Repository {
    /// Plans to keep the work that is in the way. A written root that is not live stays in the way: it may be the one that
    /// people agree on.
    ///
    /// # Errors
    /// [`RepositoryError::InTheWay`], [`RepositoryError::Io`].
    pub(super) fn set_aside(
        &self,
        plan: &mut PullPlan,
        history: &mut History,
        live: &Live,
        work: InTheWay,
        what: Work,
    ) -> Result<(), RepositoryError> {
        let is_root = |(role, _): &(RoleName, u64)| role.as_str() == "root";
        if what == Work::Refuse || work.unpublished.iter().any(is_root) {
            return Err(work.refused());
        }
        let (staged, drafts) = (self.staged.folder(), self.staged.drafts_folder());
        for role in &work.drafted {
            let name = draft_name(role);
            if let Some(bytes) = drafts.read(&name, MAX_METADATA).at(drafts.file(&name))? {
                plan.aside.insert(place_aside(role, "draft", &bytes), bytes);
            }
            plan.given_up.insert(name);
        }
        for (role, version) in &work.unpublished {
            let name = self.staged.layout().metadata_name(role, self.staged.listed_version(role));
            if let Some(bytes) = staged.read(&name, MAX_METADATA).at(staged.file(&name))? {
                plan.aside.insert(place_aside(role, &format!("v{version}"), &bytes), bytes);
            }
        }
        // what gave way is no ancestor of what is written next
        let gave_way = |role: &RoleName| work.unpublished.iter().any(|(given, _)| given == role);
        history.forget_above(|role| if gave_way(role) { live.version(role) } else { u64::MAX });
        Ok(())
    }

    /// Puts the work that gives way where it is kept. Once it is durable there, its drafts are removed.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn keep_aside(&self, plan: &PullPlan) -> Result<(), RepositoryError> {
        if plan.aside.is_empty() {
            return Ok(());
        }
        let folder = Folder::new(self.staged.drafts_folder().file(ASIDE));
        std::fs::create_dir_all(folder.path()).at(folder.path())?;
        let mut batch = folder.batch().at(folder.path())?;
        for (place, bytes) in &plan.aside {
            let name = place.rsplit('/').next().unwrap_or(place);
            let kept = folder.read(name, MAX_METADATA).at(folder.file(name))?;
            if kept.as_ref() != Some(bytes) {
                batch.put(name, bytes).at(folder.file(name))?;
            }
        }
        batch.commit().at(folder.path())?;
        let (drafts, given_up) = (self.staged.drafts_folder(), Vec::from_iter(plan.given_up.iter().cloned()));
        drafts.remove_any(&given_up).at(drafts.path())
    }
}

/// Returns where the work of a role is kept, relative to the repository.
fn place_aside(role: &RoleName, what: &str, bytes: &[u8]) -> String {
    let digest = hex::encode(sha256(bytes));
    let (digest, _) = digest.split_at(DIGITS);
    format!("{STAGED}/{DRAFTS}/{ASIDE}/{}.{what}.{digest}.json", role.encoded())
}
