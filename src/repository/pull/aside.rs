//! Work of this copy that gives way to what is live: it is kept in a folder that no command goes on from, to be made again.

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
    /// Plans to keep the work that is in the way.
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
        if what == Work::Refuse {
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

    /// Returns the files in which work of this copy is kept, relative to the repository: those whose names state the digest of
    /// their bytes. They stay until a person deletes them, so a `pull` that was killed does not lose sight of them.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub fn kept_aside(&self) -> Result<Vec<String>, RepositoryError> {
        let folder = Folder::new(self.staged.drafts_folder().file(ASIDE));
        let mut kept = Vec::new();
        for name in folder.names().at(folder.path())? {
            let bytes = folder.read(&name, MAX_METADATA).at(folder.file(&name))?.unwrap_or_default();
            let digest = hex::encode(sha256(&bytes));
            if name.ends_with(&format!(".{}.json", digest.split_at(DIGITS).0)) {
                kept.push(format!("{STAGED}/{DRAFTS}/{ASIDE}/{name}"));
            }
        }
        Ok(kept)
    }
}

/// Returns where the work of a role is kept, relative to the repository.
fn place_aside(role: &RoleName, what: &str, bytes: &[u8]) -> String {
    let digest = hex::encode(sha256(bytes));
    let (digest, _) = digest.split_at(DIGITS);
    format!("{STAGED}/{DRAFTS}/{ASIDE}/{}.{what}.{digest}.json", role.encoded())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::super::ancestry_tests::{Copy, role, sites};
    use super::super::super::testing::open;
    use super::super::super::{Layout, PullRequest, TargetFiles};
    use super::*;

    #[test]
    fn work_is_kept_aside_and_gone_before_metadata_moves_so_that_the_same_again_goes_on() {
        for site in sites() {
            let copy = Copy::first(Layout::Consistent);
            copy.publish(&site).unwrap();
            let colleague = copy.twin();
            colleague.release(&["targets"]).publish(&site).unwrap();
            copy.edit(|repository| repository.bump(&role("targets"), None).map(drop).unwrap());
            let plan = |repository: &mut Repository| {
                let request =
                    PullRequest { targets: TargetFiles::Leave, work: Work::SetAside, wait: Duration::ZERO };
                repository.plan_pull_with(&site.destination(), request)
            };
            let staged = copy.path().join(STAGED);
            let [draft, aside] = ["targets.json", ASIDE].map(|name| staged.join(DRAFTS).join(name));
            assert!(draft.exists());
            let mut repository = open(copy.path(), copy.now);
            let planned = plan(&mut repository).unwrap();
            // something is in the way of the first file
            let blocked = staged.join("2.targets.json");
            fs::create_dir(&blocked).unwrap();
            repository.execute_pull(&planned, &site.destination(), &|_| {}).unwrap_err();
            assert!(!draft.exists());
            assert_eq!(fs::read_dir(&aside).unwrap().count(), 1);
            drop(repository);
            fs::remove_dir(&blocked).unwrap();
            let mut repository = open(copy.path(), copy.now);
            let planned = plan(&mut repository).unwrap();
            repository.execute_pull(&planned, &site.destination(), &|_| {}).unwrap();
            assert_eq!(fs::read_dir(&aside).unwrap().count(), 1);
        }
    }
}
