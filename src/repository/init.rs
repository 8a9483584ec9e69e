//! A new repository: the folders, the policy, and the unsigned drafts of the four top-level roles.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::error::{AtPath, InputError, RepositoryError};
use super::follow::expiry;
use super::layout::{DRAFTS, Layout, METADATA, POLICY, STAGED, TARGETS};
use super::policy::{Policy, TEMPLATE};
use super::staged::draft_name;
use crate::metadata::{MetaFile, Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::Folder;

/// Makes a repository in a folder, which is made too where it is missing. Returns the files made, relative to it.
/// With `dry_run` nothing is made.
///
/// # Errors
/// [`InputError::AlreadyThere`] where any part of a repository is there; nothing has changed then.
pub fn init(
    dir: &Path,
    layout: Layout,
    now: DateTime<Utc>,
    execution: Execution,
) -> Result<Vec<String>, RepositoryError> {
    refuse_existing(dir)?;
    let policy = Policy::default();
    let drafts = first_drafts(layout, &policy, now)?;
    let mut made: Vec<String> = drafts.iter().map(|(name, _)| format!("{STAGED}/{DRAFTS}/{name}")).collect();
    made.push(POLICY.to_owned());
    if execution == Execution::DryRun {
        return Ok(made);
    }
    make_folder(dir.to_owned())?;
    make_folder(dir.join(TARGETS))?;
    make_folder(dir.join(METADATA))?;
    let repository = Folder::new(dir);
    let mut batch = repository.batch().at(dir)?;
    for (name, bytes) in &drafts {
        let name = format!("{STAGED}/{DRAFTS}/{name}");
        batch.put(&name, bytes).at(dir.join(&name))?;
    }
    batch.put(POLICY, TEMPLATE.as_bytes()).at(dir.join(POLICY))?;
    batch.commit().at(dir)?;
    Ok(made)
}

/// Refuses a folder in which any part of a repository is there.
pub(super) fn refuse_existing(dir: &Path) -> Result<(), InputError> {
    let parts = [STAGED, METADATA, POLICY].map(|part| dir.join(part));
    match parts.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(InputError::AlreadyThere(path)),
        None => Ok(()),
    }
}

/// Whether a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// It is.
    Real,
    /// It is only made.
    DryRun,
}

fn make_folder(path: PathBuf) -> Result<(), RepositoryError> {
    fs::create_dir_all(&path).at(path)
}

fn first_drafts(
    layout: Layout,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
    let (root, targets) = (RoleName::root(), RoleName::targets());
    let (snapshot, timestamp) = (RoleName::snapshot(), RoleName::timestamp());
    let meta = BTreeMap::from([(targets.metapath(), MetaFile::new(1))]);
    Ok(vec![
        draft(&root, Root::new(layout == Layout::Consistent, expiry(policy, &root, now)?))?,
        draft(&targets, Targets::new(expiry(policy, &targets, now)?))?,
        draft(&snapshot, Snapshot::new(meta, expiry(policy, &snapshot, now)?))?,
        draft(&timestamp, Timestamp::new(MetaFile::new(1), expiry(policy, &timestamp, now)?))?,
    ])
}

fn draft<T: Signed>(role: &RoleName, signed: T) -> Result<(String, Vec<u8>), RepositoryError> {
    let bytes = Metadata::unsigned(signed).and_then(|metadata| metadata.to_bytes());
    let bytes = bytes.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
    Ok((draft_name(role), bytes))
}
