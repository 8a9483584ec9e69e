//! Which target files a publication brings to another place, and how they get into a folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::Repository;
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::layout::{Layout, TARGETS};
use super::publish::{Place, PublishPlan};
use super::scan::{Told, copy_digested, digest_stored};
use super::target_files::ListedAt;
use super::unfit::Unfit;
use crate::metadata::{Algorithm, Hashes, RoleName, TargetFile, TargetPath};
use crate::storage::{Folder, NewFolder, Storage};

#[derive(Debug)]
pub(super) struct TargetCopy {
    /// The role that lists it.
    pub(super) role: Arc<str>,
    pub(super) name: String,
    pub(super) file: Box<TargetFile>,
}

impl TargetCopy {
    /// Refuses bytes that are not those listed.
    fn check(&self, length: u64, hashes: &Hashes) -> Result<(), RepositoryError> {
        let reason = match self.file.hashes.compare(hashes) {
            _ if length != self.file.length => format!("is {length} bytes long, not {}", self.file.length),
            Err(mismatch) => mismatch.to_string(),
            Ok(()) => return Ok(()),
        };
        let reason = Refusal::Finding(format!("{reason}, as '{}' lists it", self.role));
        Err(RepositoryError::Refused { file: format!("{TARGETS}/{}", self.name), reason })
    }
}

/// A file of a target, as it was found where it is published.
struct Wanted {
    name: String,
    /// Which target it is, among all that is listed.
    place: usize,
    /// What is to be copied; nothing where it is there.
    missing: Option<Box<TargetFile>>,
}

/// Plans which target files are copied to another place. Tells of each target that is listed whether all of its files are.
pub(super) fn plan_targets(
    plan: &mut PublishPlan,
    listed: &[ListedAt<'_>],
) -> Result<Vec<bool>, RepositoryError> {
    let layout = plan.layout;
    let held = match &plan.place {
        Place::Folder { targets, .. } => Some(targets.held()),
        Place::Bucket(_) => None,
    };
    let live = held.as_ref().map_or(plan.place.targets(), |held| held);
    // what is not there yet need not be looked for
    let is_new = held.as_ref().is_some_and(|targets| !targets.exists());
    let look = |(place, (_, map, index)): (usize, &ListedAt<'_>)| -> Result<Vec<Wanted>, RepositoryError> {
        let Some((path, file)) = map.at(*index) else { return Ok(Vec::new()) };
        let path = TargetPath::parse(&path).map_err(InputError::from)?;
        // a role that lists one is found fault with; its file has no place
        if Unfit::of_path(path.as_str()).is_some() {
            return Ok(Vec::new());
        }
        let mut wanted = Vec::with_capacity(1);
        for name in layout.target_names(&path, &file) {
            let length = if is_new { None } else { live.length(&name).at_place(|| live.place(&name))? };
            let same = length == Some(file.length)
                && (layout == Layout::Consistent || same_bytes(live, &name, &file).at(live.place(&name))?);
            if length.is_some() && !same && layout == Layout::Consistent && held.is_none() {
                let reason = format!("is in the bucket and not {} bytes long, as it is listed", file.length);
                let file = format!("{TARGETS}/{name}");
                return Err(RepositoryError::Refused { file, reason: Refusal::Finding(reason) });
            }
            let missing = (!same).then(|| Box::new(file.clone()));
            wanted.push(Wanted { name, place, missing });
        }
        Ok(wanted)
    };
    let wanted: Vec<Vec<Wanted>> = listed.par_iter().enumerate().map(look).collect::<Result<_, _>>()?;
    let mut wanted: Vec<Wanted> = wanted.into_iter().flatten().collect();
    wanted.par_sort_unstable_by(|a, b| a.name.cmp(&b.name).then(a.place.cmp(&b.place)));
    let mut roles: BTreeMap<&RoleName, Arc<str>> = BTreeMap::new();
    let mut is_copied = vec![true; listed.len()];
    let mut wanted = wanted.into_iter().peekable();
    while let Some(Wanted { name, place, missing }) = wanted.next() {
        is_copied[place] &= missing.is_some();
        // several roles may list one file, in the plain layout with other bytes
        while let Some(other) = wanted.next_if(|other| other.name == name) {
            is_copied[other.place] &= match (&missing, &other.missing) {
                (Some(copied), Some(listed)) => {
                    copied.length == listed.length && copied.hashes == listed.hashes
                }
                _ => false,
            };
        }
        let Some(file) = missing else {
            plan.kept += 1;
            continue;
        };
        let role = listed[place].0;
        let role = roles.entry(role).or_insert_with(|| Arc::from(role.as_str())).clone();
        plan.targets.push(TargetCopy { role, name, file });
    }
    Ok(is_copied)
}

fn same_bytes(live: &dyn Storage, name: &str, file: &TargetFile) -> io::Result<bool> {
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    let found = digest_stored(live, name, &algorithms)?;
    Ok(found.is_some_and(|(_, hashes)| file.hashes.compare(&hashes).is_ok()))
}

impl Repository {
    /// Checks the bytes that a planned publication to a folder would copy; without a dry run they are checked on the way.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] for the first target that is not what is listed.
    pub fn check_copies(&self, plan: &PublishPlan) -> Result<(), RepositoryError> {
        if !matches!(plan.place, Place::Folder { .. }) {
            return Ok(());
        }
        let source = self.targets_folder().held();
        plan.targets.par_iter().try_for_each(|copy| {
            let algorithms: Vec<Algorithm> = copy.file.hashes.known().collect();
            let from = source.open_file(&copy.name);
            let digested = from.and_then(|mut from| copy_digested(&mut from, &mut io::sink(), &algorithms));
            let (length, hashes) = digested.at_place(|| source.file(&copy.name))?;
            copy.check(length, &hashes)
        })
    }

    /// Copies target files to a folder, each checked before it has its name there.
    pub(super) fn copy_published(
        &self,
        plan: &PublishPlan,
        live_targets: &Folder,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        let at = live_targets.path();
        if plan.targets.is_empty() {
            return fs::create_dir_all(at).at(at);
        }
        let source = self.targets_folder().held();
        let copy_to = |copy: &TargetCopy, mut to: File| -> Result<(), RepositoryError> {
            let place = || source.file(&copy.name);
            let mut from = Told { from: source.open_file(&copy.name).at_place(place)?, told: progress };
            let algorithms: Vec<Algorithm> = copy.file.hashes.known().collect();
            let (length, hashes) = copy_digested(&mut from, &mut to, &algorithms).at_place(place)?;
            copy.check(length, &hashes)
        };
        if let Some(new) = NewFolder::begin(live_targets).at(at)? {
            let copy_one = |copy: &TargetCopy| copy_to(copy, new.create(&copy.name).at(at)?);
            plan.targets.par_iter().try_for_each(copy_one)?;
            return new.commit().at(at);
        }
        let mut batch = live_targets.batch().at(at)?;
        let copy_one = |copy: &TargetCopy| -> Result<PathBuf, RepositoryError> {
            let (path, to) = batch.create().at(at)?;
            copy_to(copy, to)?;
            Ok(path)
        };
        let made: Vec<PathBuf> = plan.targets.par_iter().map(copy_one).collect::<Result<_, _>>()?;
        for (path, copy) in made.into_iter().zip(&plan.targets) {
            batch.place(path, copy.name.as_str());
        }
        batch.commit().at(at)
    }
}
