//! Target files are listed: digested where they are, or copied in from outside.

use std::collections::BTreeMap;
use std::fs::File;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::Repository;
use super::error::{AtPath, InputError, RepositoryError};
use super::layout::TARGETS;
use super::scan::{FoundTarget, copy_digested, digest_all, digest_file};
use super::staged::DraftPlan;
use super::view::Graph;
use crate::metadata::{Algorithm, Delegations, Extra, Hashes, RoleName, TargetFile, TargetPath, Targets};

/// What happens to a target that is listed with other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It is refused.
    Refuse,
    /// It is replaced.
    Allow,
}

/// A file with its digests, ready to be listed.
#[derive(Debug, Clone)]
pub struct NewTarget {
    found: FoundTarget,
    file: TargetFile,
}

/// A request to list targets.
pub struct AddTargets<'a> {
    /// The role that lists them.
    pub role: &'a RoleName,
    /// The files found.
    pub found: &'a [FoundTarget],
    /// Data for the application; `None` keeps what is listed.
    pub custom: Option<Map<String, Value>>,
    /// What happens to targets that are listed with other bytes.
    pub replace: Replace,
    /// Told the bytes of each file as it has been read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What a request to list targets comes to.
#[derive(Debug, Clone, Default)]
pub struct Added {
    /// Target paths listed for the first time.
    pub added: Vec<String>,
    /// Target paths listed with other bytes or other custom data than before.
    pub replaced: Vec<String>,
    /// How many were listed already, just so.
    pub unchanged: usize,
    /// The files to copy in from outside.
    copies: Vec<NewTarget>,
}

impl Repository {
    /// Digests the files and lists them in the role's draft; nothing is on disk yet.
    ///
    /// # Errors
    /// [`InputError`] for paths that the role is not trusted for, changed bytes without [`Replace::Allow`], and names that
    /// clash.
    pub fn add_targets(&mut self, request: &AddTargets<'_>) -> Result<Added, RepositoryError> {
        let role = request.role;
        if !role.lists_targets() {
            return Err(InputError::ListsNoTargets { role: role.clone() }.into());
        }
        if self.staged.targets(role).is_none() {
            return Err(InputError::UnknownRole(role.to_string()).into());
        }
        self.check_trusted(role, request.found)?;
        for target in request.found {
            check_name_length(&target.path, self.policy.hashes())?;
        }
        let digests = digest_all(request.found, self.policy.hashes(), request.progress)?;
        let new: Vec<NewTarget> = request
            .found
            .iter()
            .zip(digests)
            .map(|(found, (length, hashes))| NewTarget {
                found: found.clone(),
                file: target_file(length, hashes, request),
            })
            .collect();
        for target in new.iter().filter(|target| !target.found.in_place) {
            self.check_place(target, request.replace)?;
        }
        self.list_targets(role, new, request)
    }

    fn list_targets(
        &mut self,
        role: &RoleName,
        new: Vec<NewTarget>,
        request: &AddTargets<'_>,
    ) -> Result<Added, RepositoryError> {
        let expires = self.expiry(role)?;
        let state = self.staged.targets_mut(role).ok_or_else(|| InputError::UnknownRole(role.to_string()))?;
        let mut added = Added::default();
        let empty = BTreeMap::new();
        let listed = state.effective().map_or(&empty, |targets| &targets.targets);
        let mut entries = Vec::with_capacity(new.len());
        for target in &new {
            let path = target.found.path.as_str();
            let mut file = target.file.clone();
            match listed.get(path) {
                None => added.added.push(path.to_owned()),
                Some(old) => {
                    let same_bytes = old.length == file.length
                        && old.hashes.compare(&file_hashes(target, &old.hashes)?).is_ok();
                    if !same_bytes && request.replace == Replace::Refuse {
                        return Err(InputError::Changed { path: path.to_owned(), role: role.clone() }.into());
                    }
                    if request.custom.is_none() {
                        file.custom = old.custom.clone();
                    }
                    file.extra = old.extra.clone();
                    if same_bytes {
                        file.hashes = old.hashes.clone();
                    }
                    if file == *old {
                        added.unchanged += 1;
                        continue;
                    }
                    added.replaced.push(path.to_owned());
                }
            }
            entries.push((path.to_owned(), file));
        }
        check_folders(listed, &entries)?;
        let edited = state.edit(expires, |targets: &mut Targets| targets.targets.extend(entries));
        edited.map_err(|reason| InputError::Canonical { what: "custom data".to_owned(), reason })?;
        added.copies = new.into_iter().filter(|target| !target.found.in_place).collect();
        Ok(added)
    }

    /// Copies in what came from outside, then saves the drafts. The bytes are checked while they are copied.
    ///
    /// # Errors
    /// [`RepositoryError::Io`], or [`InputError::NoFile`] where a file changed since it was digested.
    pub fn save_added(&self, added: &Added, plan: &DraftPlan) -> Result<(), RepositoryError> {
        self.sweep()?;
        let folder = self.targets_folder();
        let mut batch = folder.batch().at(folder.path())?;
        let missing = |target: &&NewTarget| !matches!(folder.length(target.found.path.as_str()), Ok(Some(length)) if length == target.file.length && same_file(&folder.file(target.found.path.as_str()), &target.file));
        let copied: Vec<_> = added
            .copies
            .par_iter()
            .filter(missing)
            .map(|target| {
                let (path, mut to) = batch.create().at(folder.path())?;
                let mut from = File::open(&target.found.file).at(&target.found.file)?;
                let algorithms: Vec<Algorithm> = target.file.hashes.known().collect();
                let (length, hashes) =
                    copy_digested(&mut from, &mut to, &algorithms).at(&target.found.file)?;
                if length != target.file.length || target.file.hashes.compare(&hashes).is_err() {
                    let reason = "changed while it was read";
                    return Err(RepositoryError::from(InputError::NoFile {
                        path: target.found.file.clone(),
                        reason,
                    }));
                }
                Ok((path, target.found.path.as_str()))
            })
            .collect::<Result<_, _>>()?;
        for (path, name) in copied {
            batch.place(path, name);
        }
        batch.commit().at(folder.path())?;
        self.staged.save(plan)
    }

    /// Refuses a path that no chain of delegations from `targets` down to the role covers: no client would look there.
    fn check_trusted(&self, role: &RoleName, found: &[FoundTarget]) -> Result<(), InputError> {
        let graph = self.staged.graph();
        match found.iter().find(|target| !self.is_trusted(&graph, role, target.path.as_str(), &[])) {
            None => Ok(()),
            Some(target) => Err(InputError::NotTrusted { role: role.clone(), path: target.path.to_string() }),
        }
    }

    fn is_trusted(&self, graph: &Graph, role: &RoleName, path: &str, below: &[&RoleName]) -> bool {
        if role.as_str() == "targets" {
            return true;
        }
        let below: Vec<&RoleName> = below.iter().copied().chain([role]).collect();
        graph.delegators(role).iter().filter(|delegator| !below.contains(delegator)).any(|delegator| {
            let state = self.staged.targets(delegator).and_then(|state| state.effective());
            let delegations = state.and_then(|targets| targets.delegations.as_ref());
            delegations.is_some_and(|all| trusts(all, role, path))
                && self.is_trusted(graph, delegator, path, &below)
        })
    }

    /// Refuses to copy over a file with other bytes.
    fn check_place(&self, target: &NewTarget, replace: Replace) -> Result<(), RepositoryError> {
        let folder = self.targets_folder();
        let path = target.found.path.as_str();
        let place = folder.file(path);
        match std::fs::symlink_metadata(&place) {
            Ok(metadata) if !metadata.is_file() => {
                let reason = format!("{TARGETS}/{path} is not a regular file");
                Err(InputError::Clash { path: path.to_owned(), reason }.into())
            }
            Ok(_) if replace == Replace::Refuse && !same_file(&place, &target.file) => {
                Err(InputError::InTheWay { path: path.to_owned() }.into())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let reason = "a part of its folder is a file".to_owned();
                Err(InputError::Clash { path: path.to_owned(), reason }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Tells whether delegations trust a role for a path.
pub(super) fn trusts(delegations: &Delegations, role: &RoleName, path: &str) -> bool {
    match &delegations.succinct_roles {
        Some(bins) => bins.bin_for(path) == role.as_str(),
        None => delegations.role(role).is_some_and(|delegated| delegated.trusts(path)),
    }
}

fn target_file(length: u64, hashes: Hashes, request: &AddTargets<'_>) -> TargetFile {
    TargetFile { length, hashes, custom: request.custom.clone().map(Value::Object), extra: Extra::new() }
}

/// Returns the digests of a new file by the algorithms that an old entry lists; read again only where they differ.
fn file_hashes(target: &NewTarget, old: &Hashes) -> Result<Hashes, RepositoryError> {
    if old.known().all(|algorithm| target.file.hashes.of(algorithm).is_some()) {
        return Ok(target.file.hashes.clone());
    }
    let algorithms: Vec<Algorithm> = old.known().collect();
    Ok(digest_file(&target.found.file, &algorithms).at(&target.found.file)?.1)
}

/// Tells whether a file holds what is listed.
pub(super) fn same_file(place: &std::path::Path, file: &TargetFile) -> bool {
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    digest_file(place, &algorithms)
        .is_ok_and(|(length, hashes)| length == file.length && file.hashes.compare(&hashes).is_ok())
}

/// A hash-named copy must fit the file system's names as well.
fn check_name_length(path: &TargetPath, algorithms: &[Algorithm]) -> Result<(), InputError> {
    let digest = if algorithms.contains(&Algorithm::Sha512) { 128 } else { 64 };
    if path.split().1.len() + digest < 255 {
        return Ok(());
    }
    let reason = "its name is too long beside a digest".to_owned();
    Err(InputError::Clash { path: path.to_string(), reason })
}

/// Refuses a target `dir` beside a target `dir/file`: a client's disk cannot hold both.
fn check_folders(
    listed: &BTreeMap<String, TargetFile>,
    new: &[(String, TargetFile)],
) -> Result<(), InputError> {
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    names.extend(new.iter().map(|(path, _)| (path.as_str(), ())));
    for (path, _) in new {
        let clash = |other: &str| {
            let reason = format!("'{other}' is one, and a file cannot be a folder");
            Err(InputError::Clash { path: path.clone(), reason })
        };
        let mut end = path.len();
        while let Some(slash) = path[..end].rfind('/') {
            let folder = &path[..slash];
            if listed.contains_key(folder) || names.contains_key(folder) {
                return clash(folder);
            }
            end = slash;
        }
        let below = format!("{path}/");
        let first = listed.range(below.clone()..).next().map(|(other, _)| other);
        if let Some(other) = first.filter(|other| other.starts_with(&below)) {
            return clash(other);
        }
    }
    Ok(())
}
