//! A new repository: the folders, the policy, and the unsigned drafts of the four top-level roles.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::{AtPath, InputError, RepositoryError};
use super::history::HISTORY;
use super::layout::{DRAFTS, Layout, METADATA, POLICY, STAGED, TARGETS};
use super::lock;
use super::policy::{ADOPTED, Policy, TEMPLATE};
use super::staged::draft_name;
use crate::metadata::{MetaFile, MetaMap, Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, MadeFolders, NewFolder};

/// Makes a repository in a folder, which is made too where it is missing. Returns the files made, relative to it. Waits up
/// to `wait` for another process that makes one there. A dry run makes nothing.
///
/// # Errors
/// [`InputError::AlreadyThere`] where any part of a repository is there, [`RepositoryError::Locked`]; nothing has changed
/// then.
pub fn init(
    dir: &Path,
    layout: Layout,
    now: DateTime<Utc>,
    execution: Execution,
    wait: Duration,
) -> Result<Vec<String>, RepositoryError> {
    refuse_existing(dir)?;
    refuse_history(dir)?;
    let policy = Policy::default();
    let drafts = first_drafts(layout, &policy, now)?;
    let mut put: Vec<String> = drafts.iter().map(|(name, _)| format!("{STAGED}/{DRAFTS}/{name}")).collect();
    put.push(POLICY.to_owned());
    if execution == Execution::DryRun {
        return Ok(put);
    }
    let made = MadeFolders::make(dir).at(dir)?;
    let _lock = lock(&Folder::new(dir), wait)?;
    // another process may have made one while this one waited
    refuse_existing(dir)?;
    refuse_history(dir)?;
    let inside = [TARGETS, METADATA].map(|folder| dir.join(folder));
    let [targets, live] = inside.each_ref().map(|folder| MadeFolders::make(folder).at(folder));
    let (targets, live) = (targets?, live?);
    // the drafts appear all at once, last: killed before, the next run starts over
    let staged = Folder::new(dir.join(STAGED));
    let unborn = NewFolder::begin(&staged).at(dir)?;
    let unborn = unborn.ok_or_else(|| InputError::AlreadyThere(staged.path().to_owned()))?;
    for (name, bytes) in drafts {
        let file = format!("{DRAFTS}/{name}");
        unborn.create(&file).and_then(|mut to| to.write_all(&bytes)).at(staged.file(&file))?;
    }
    let folder = Folder::new(dir);
    let mut batch = folder.batch().at(dir)?;
    batch.put(POLICY, TEMPLATE.as_bytes()).at(dir.join(POLICY))?;
    batch.commit().at(dir)?;
    let born = unborn.commit().at(staged.path());
    // with its drafts in place the repository is complete: its folders stay, also where an error followed
    if born.is_ok() || staged.exists() {
        [made, targets, live].into_iter().for_each(MadeFolders::keep);
    }
    born?;
    Ok(put)
}

/// Refuses a history of another repository, or what stands in its place: what is made here has none yet.
fn refuse_history(dir: &Path) -> Result<(), InputError> {
    let history = dir.join(HISTORY);
    let is_there = history.symlink_metadata().is_ok_and(|found| found.len() > 0);
    if is_there { Err(InputError::AlreadyThere(history)) } else { Ok(()) }
}

/// Refuses a folder that holds a part of a repository. Empty folders and the policy that `init` writes are no such part:
/// a killed `init` leaves them.
pub(super) fn refuse_existing(dir: &Path) -> Result<(), InputError> {
    let refused = |path: PathBuf| Err(InputError::AlreadyThere(path));
    let (staged, live, policy) = (dir.join(STAGED), dir.join(METADATA), dir.join(POLICY));
    if staged.symlink_metadata().is_ok() {
        return refused(staged);
    }
    if live.symlink_metadata().is_ok() && fs::read_dir(&live).map_or(true, |mut files| files.next().is_some())
    {
        return refused(live);
    }
    let is_ours = |text: String| {
        text.strip_prefix(TEMPLATE).is_some_and(|rest| rest.is_empty() || rest.starts_with(ADOPTED))
    };
    if policy.symlink_metadata().is_ok() && !fs::read_to_string(&policy).is_ok_and(is_ours) {
        return refused(policy);
    }
    Ok(())
}

/// Whether a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// It is.
    Real,
    /// It is only made.
    DryRun,
}

fn first_drafts(
    layout: Layout,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
    let (root, targets) = (RoleName::root(), RoleName::targets());
    let (snapshot, timestamp) = (RoleName::snapshot(), RoleName::timestamp());
    let meta = MetaMap::of([(targets.metapath(), MetaFile::new(1))]);
    let meta = meta.map_err(|reason| InputError::Canonical { what: snapshot.to_string(), reason })?;
    Ok(vec![
        draft(&root, Root::new(layout == Layout::Consistent, policy.expiry(&root, now)?))?,
        draft(&targets, Targets::new(policy.expiry(&targets, now)?))?,
        draft(&snapshot, Snapshot::new(meta, policy.expiry(&snapshot, now)?))?,
        draft(&timestamp, Timestamp::new(MetaFile::new(1), policy.expiry(&timestamp, now)?))?,
    ])
}

fn draft<T: Signed>(role: &RoleName, signed: T) -> Result<(String, Vec<u8>), RepositoryError> {
    let bytes = Metadata::unsigned(signed).and_then(|metadata| metadata.to_bytes());
    let bytes = bytes.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
    Ok((draft_name(role), bytes))
}
