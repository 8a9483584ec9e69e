//! Target files are listed: digested where they are, or copied in from outside.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::Repository;
use super::digest_cache::DigestCache;
use super::error::{AtPath, InputError, RepositoryError};
use super::find::FoundTarget;
use super::layout::TARGETS;
use super::listing::{Custom, Entry, Lister};
use super::scan::{Told, copy_digested, digest_all, digest_file};
use super::staged::DraftPlan;
use crate::metadata::{Algorithm, Extra, Hashes, RoleName, TargetFile};

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
struct NewTarget<'a> {
    found: &'a FoundTarget,
    file: TargetFile,
}

/// A request to list targets.
pub struct AddTargets<'a> {
    /// The role that lists them, or the prefix of hash bins.
    pub role: &'a RoleName,
    /// The files found.
    pub found: &'a [FoundTarget],
    /// Data for the application; `None` keeps what is listed.
    pub custom: Option<Map<String, Value>>,
    /// What happens to targets that are listed with other bytes.
    pub replace: Replace,
    /// Told the bytes of files as they are read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Targets, counted, and named where somebody wants that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub number: usize,
    /// Their paths, where they are kept.
    pub paths: Vec<String>,
}

/// Whether the paths of what is listed are kept, beside their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// They are.
    Kept,
    /// Only their number is: there may be millions.
    Counted,
}

impl Tally {
    pub(super) fn count(&mut self, path: &str, paths: Paths) {
        self.number += 1;
        if paths == Paths::Kept {
            self.paths.push(path.to_owned());
        }
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.number += more.number;
        self.paths.extend(more.paths);
    }
}

/// What a request to list targets comes to.
#[derive(Debug, Default)]
pub struct Added {
    /// Targets listed for the first time.
    pub added: Tally,
    /// Targets listed with other bytes or other custom data than before.
    pub replaced: Tally,
    /// How many were listed already, just so.
    pub unchanged: usize,
    /// The files to copy in from outside.
    copies: Vec<(FoundTarget, TargetFile)>,
    /// What is known of files from now on.
    digests: DigestCache,
}

impl Added {
    /// Returns how many bytes are copied in from outside.
    pub fn copied_bytes(&self) -> u64 {
        self.copies.iter().map(|(_, file)| file.length).sum()
    }
}

impl Repository {
    /// Digests the files and lists them in the role's draft; nothing is on disk yet.
    ///
    /// # Errors
    /// [`InputError`] for paths that the role is not trusted for, changed bytes without [`Replace::Allow`], and names that
    /// clash.
    pub fn add_targets(&mut self, request: &AddTargets<'_>) -> Result<Added, RepositoryError> {
        let lister = self.lister(request.role)?;
        let trusted = self.trusts_by(&lister);
        for target in request.found {
            let path = target.path.as_str();
            if !trusted(path) {
                let (role, path) = (request.role.clone(), path.to_owned());
                return Err(InputError::NotTrusted { role, path }.into());
            }
            check_name_length(target.path.as_str(), self.policy.hashes())?;
        }
        drop(trusted);
        let files = request.found.iter().map(|target| target.file.as_path());
        let known = DigestCache::read_for(&self.dir, files);
        let digests = digest_all(request.found, self.policy.hashes(), &known, request.progress)?;
        let new: Vec<NewTarget<'_>> = request
            .found
            .iter()
            .zip(digests)
            .map(|(found, (length, hashes))| NewTarget { found, file: target_file(length, hashes, request) })
            .collect();
        for target in new.iter().filter(|target| !target.found.in_place) {
            self.check_place(target, request.replace)?;
        }
        let mut copies = Vec::new();
        copies.extend(
            new.iter()
                .filter(|target| !target.found.in_place)
                .map(|target| (target.found.clone(), target.file.clone())),
        );
        let groups: Vec<(RoleName, Vec<NewTarget<'_>>)> = match &lister {
            Lister::Role(role) => vec![(role.clone(), new)],
            Lister::Bins { .. } => {
                let mut groups: BTreeMap<u32, Vec<NewTarget<'_>>> = BTreeMap::new();
                for target in new {
                    groups.entry(lister.index_for(target.found.path.as_str())).or_default().push(target);
                }
                let named = groups.into_iter().map(|(index, group)| Ok((lister.role_at(index)?, group)));
                named.collect::<Result<_, InputError>>()?
            }
        };
        let custom = if request.custom.is_none() { Custom::Keep } else { Custom::Replace };
        let mut added =
            self.list_groups(&lister, groups, (request.replace, custom, Paths::Kept), |group, _| {
                let entries = group.into_iter().map(|NewTarget { found, file }| {
                    let path = Cow::Borrowed(found.path.as_str());
                    Entry { path, file, bytes: Some(&found.file) }
                });
                Ok(entries.collect())
            })?;
        added.copies = copies;
        added.digests = known;
        Ok(added)
    }

    /// Copies in what came from outside, then saves the drafts. The bytes are checked while they are copied, and `progress` is
    /// told of them; a file that is there already counts too.
    ///
    /// # Errors
    /// [`RepositoryError::Io`], or [`InputError::NoFile`] where a file changed since it was digested.
    pub fn save_added(
        &self,
        added: &Added,
        plan: &DraftPlan,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        self.sweep()?;
        let folder = self.targets_folder();
        let mut batch = folder.batch().at(folder.path())?;
        let missing = |(found, file): &&(FoundTarget, TargetFile)| {
            let place = found.path.as_str();
            let is_there = matches!(folder.length(place), Ok(Some(length)) if length == file.length)
                && same_file(&folder.file(place), file);
            if is_there {
                progress(file.length);
            }
            !is_there
        };
        let copied: Vec<_> = added
            .copies
            .par_iter()
            .filter(missing)
            .map(|(found, file)| {
                let (path, mut to) = batch.create().at(folder.path())?;
                let mut from = Told { from: File::open(&found.file).at(&found.file)?, told: progress };
                let algorithms: Vec<Algorithm> = file.hashes.known().collect();
                let (length, hashes) = copy_digested(&mut from, &mut to, &algorithms).at(&found.file)?;
                if length != file.length || file.hashes.compare(&hashes).is_err() {
                    let reason = "changed while it was read";
                    return Err(RepositoryError::from(InputError::NoFile {
                        path: found.file.clone(),
                        reason,
                    }));
                }
                Ok((path, found.path.as_str()))
            })
            .collect::<Result<_, _>>()?;
        for (path, name) in copied {
            batch.place(path, name);
        }
        batch.commit().at(folder.path())?;
        self.staged.save(plan)?;
        added.digests.save(&self.dir)
    }

    /// Refuses to copy over a file with other bytes.
    fn check_place(&self, target: &NewTarget<'_>, replace: Replace) -> Result<(), RepositoryError> {
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

fn target_file(length: u64, hashes: Hashes, request: &AddTargets<'_>) -> TargetFile {
    TargetFile { length, hashes, custom: request.custom.clone().map(Value::Object), extra: Extra::new() }
}

/// Tells whether a file holds what is listed.
pub(super) fn same_file(place: &std::path::Path, file: &TargetFile) -> bool {
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    digest_file(place, &algorithms)
        .is_ok_and(|(length, hashes)| length == file.length && file.hashes.compare(&hashes).is_ok())
}

/// A hash-named copy must fit the file system's names as well.
pub(super) fn check_name_length(path: &str, algorithms: &[Algorithm]) -> Result<(), InputError> {
    let digest = if algorithms.contains(&Algorithm::Sha512) { 128 } else { 64 };
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.len() + digest < 255 {
        return Ok(());
    }
    let reason = "its name is too long beside a digest".to_owned();
    Err(InputError::Clash { path: path.to_string(), reason })
}
