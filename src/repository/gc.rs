//! Garbage collection by reference counts: a snapshot holds a count on itself, on each targets metadata version that it
//! lists, and each of those on its target files. What no retained snapshot holds may go.
//!
//! The plan has no way to name a root version, and names only files whose names it understands.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Repository;
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{Layout, MAX_METADATA, METADATA, STAGED, TARGETS, parse_hash_named, parse_versioned};
use crate::metadata::{Metadata, RoleName, Signed, Snapshot, TargetPath, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles};

/// A planned collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcPlan {
    /// The files that go, relative to the repository, in the order in which they go: snapshots first, then the metadata
    /// they list, then target files, so that a crash leaves no reference to a missing file.
    pub delete: Vec<String>,
    /// How many files stay.
    pub kept: usize,
    /// The versions of the snapshots that are retained.
    pub retained: BTreeSet<u64>,
}

/// What the retained snapshots hold.
#[derive(Debug, Default)]
struct Held {
    snapshots: BTreeSet<u64>,
    metadata: BTreeSet<(u64, RoleName)>,
    targets: BTreeSet<String>,
}

impl Repository {
    /// Plans which files no retained snapshot refers to: retained are the live and the staged snapshot and the last
    /// `keep` in each folder. Drafts keep what they refer to.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] where retained metadata is missing or unreadable: nothing may go then.
    pub fn plan_gc(&self, keep: u64) -> Result<GcPlan, RepositoryError> {
        let mut plan = GcPlan::default();
        if self.staged.layout() == Layout::Plain {
            // plain names are overwritten as they are: there is nothing old to collect
            return Ok(plan);
        }
        let mut held = Held::default();
        let folders =
            [(Folder::new(self.dir.join(METADATA)), METADATA), (self.staged.folder().clone(), STAGED)];
        for (folder, prefix) in &folders {
            hold_snapshots(folder, prefix, keep, &mut held)?;
        }
        for role in self.staged.graph().order {
            let drafted = self.staged.targets(&role).and_then(|state| state.effective());
            drafted.iter().for_each(|targets| hold_targets(targets, &mut held.targets));
        }
        plan.retained.clone_from(&held.snapshots);
        let (mut snapshots, mut metadata) = (Vec::new(), Vec::new());
        for (folder, prefix) in &folders {
            for name in folder.names().at(folder.path())? {
                let doomed = match parse_versioned(&name) {
                    Some((_, role)) if matches!(role.as_str(), "root" | "timestamp") => None,
                    Some((version, role)) if role.as_str() == "snapshot" => {
                        (!held.snapshots.contains(&version)).then_some(&mut snapshots)
                    }
                    Some(key) => (!held.metadata.contains(&key)).then_some(&mut metadata),
                    None => None,
                };
                match doomed {
                    Some(list) => list.push(format!("{prefix}/{name}")),
                    None => plan.kept += 1,
                }
            }
        }
        let mut targets = Vec::new();
        doomed_targets(&self.dir.join(TARGETS), "", &held.targets, &mut targets, &mut plan.kept)?;
        plan.delete = snapshots.into_iter().chain(metadata).chain(targets).collect();
        Ok(plan)
    }

    /// Carries a planned collection out.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] at the first file that cannot be removed.
    pub fn execute_gc(&self, plan: &GcPlan) -> Result<(), RepositoryError> {
        self.sweep()?;
        let folder = Folder::new(&self.dir);
        folder.remove(plan.delete.iter().map(String::as_str)).at(&self.dir)
    }
}

/// Holds the snapshots of a metadata folder that are retained, and all that they refer to.
fn hold_snapshots(folder: &Folder, prefix: &str, keep: u64, held: &mut Held) -> Result<(), RepositoryError> {
    let Some(timestamp) = parsed::<Timestamp>(folder, prefix, "timestamp.json")? else { return Ok(()) };
    let newest = timestamp.snapshot().map_or(0, |listed| listed.version);
    let names = folder.names().at(folder.path())?;
    let mut versions: Vec<u64> = names
        .iter()
        .filter_map(|name| parse_versioned(name))
        .filter(|(version, role)| role.as_str() == "snapshot" && *version <= newest)
        .map(|(version, _)| version)
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let first = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
    versions.truncate(first);
    if !versions.contains(&newest) {
        versions.push(newest);
    }
    for version in versions {
        held.snapshots.insert(version);
        let name = Layout::Consistent.metadata_name(&RoleName::snapshot(), version);
        let snapshot: Snapshot = required(folder, prefix, &name)?;
        let living = living_roles(folder, prefix, &snapshot)?;
        for (path, listed) in &snapshot.meta {
            let Some(role) = RoleName::from_metapath(path) else { continue };
            let key = (listed.version, role);
            if !held.metadata.insert(key.clone()) {
                continue;
            }
            let name = Layout::Consistent.metadata_name(&key.1, key.0);
            match parsed::<Targets>(folder, prefix, &name)? {
                Some(targets) => hold_targets(&targets, &mut held.targets),
                // the file of a revoked role may be gone; one that clients reach may not
                None if living.contains(&key.1) => return Err(missing(prefix, &name)),
                None => {}
            }
        }
    }
    Ok(())
}

/// Returns the roles that clients of a snapshot reach by delegation.
fn living_roles(
    folder: &Folder,
    prefix: &str,
    snapshot: &Snapshot,
) -> Result<BTreeSet<RoleName>, RepositoryError> {
    let mut living = BTreeSet::new();
    let mut pending = vec![RoleName::targets()];
    while let Some(role) = pending.pop() {
        let Some(listed) = snapshot.role(&role) else { continue };
        if !living.insert(role.clone()) {
            continue;
        }
        let targets: Targets =
            required(folder, prefix, &Layout::Consistent.metadata_name(&role, listed.version))?;
        if let Some(delegations) = &targets.delegations {
            pending.extend(delegations.roles().iter().map(|role| role.name.clone()));
            if let Some(bins) = &delegations.succinct_roles {
                let listed = snapshot.meta.keys().filter_map(|path| RoleName::from_metapath(path));
                pending.extend(listed.filter(|role| bins.is_bin(role.as_str())));
            }
        }
    }
    Ok(living)
}

fn hold_targets(targets: &Targets, held: &mut BTreeSet<String>) {
    for (path, file) in &targets.targets {
        if let Ok(path) = TargetPath::parse(path) {
            held.extend(Layout::Consistent.target_names(&path, file));
            // a file may be called like a copy and be a target itself
            held.insert(path.as_str().to_owned());
        }
    }
}

/// Finds hash-named copies that nobody holds. A file of any other name is somebody's: it stays.
fn doomed_targets(
    folder: &Path,
    below: &str,
    held: &BTreeSet<String>,
    doomed: &mut Vec<String>,
    kept: &mut usize,
) -> Result<(), RepositoryError> {
    let mut entries: Vec<fs::DirEntry> = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.and_then(Iterator::collect).at(folder)?,
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| *name != ".tuf-tmp") else { continue };
        let path = format!("{below}{name}");
        let kind = entry.file_type().at(entry.path())?;
        if kind.is_dir() {
            doomed_targets(&entry.path(), &format!("{path}/"), held, doomed, kept)?;
        } else if kind.is_file() && parse_hash_named(name).is_some() && !held.contains(&path) {
            doomed.push(format!("{TARGETS}/{path}"));
        } else {
            *kept += 1;
        }
    }
    Ok(())
}

fn parsed<T: Signed>(folder: &Folder, prefix: &str, name: &str) -> Result<Option<T>, RepositoryError> {
    let Some(bytes) = folder.read(name, MAX_METADATA).at(folder.file(name))? else { return Ok(None) };
    let refused = |error| RepositoryError::Refused {
        file: format!("{prefix}/{name}"),
        reason: Refusal::Unreadable(error),
    };
    Ok(Some(Metadata::from_bytes(&bytes).map_err(refused)?.into_signed()))
}

fn required<T: Signed>(folder: &Folder, prefix: &str, name: &str) -> Result<T, RepositoryError> {
    parsed(folder, prefix, name)?.ok_or_else(|| missing(prefix, name))
}

fn missing(prefix: &str, name: &str) -> RepositoryError {
    RepositoryError::Refused { file: format!("{prefix}/{name}"), reason: Refusal::Missing }
}
