//! Which target files a publication brings to another place, and how they get into a folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::Repository;
use super::ancestry::DamagedRoots;
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::fault::{Fault, Leading};
use super::layout::{Layout, TARGETS};
use super::publish::{Place, PublishPlan};
use super::scan::{Told, copy_digested, digest_stored};
use super::target_files::ListedAt;
use super::unfit::Unfit;
use super::ways::{Ways, kind_of};
use crate::metadata::{Algorithm, Hashes, RoleName, TargetFile, TargetPath, Targets};
use crate::storage::{Folder, NewFolder, Storage};
use crate::verify::Verified;

#[derive(Debug)]
pub(super) struct TargetCopy {
    /// The role that lists it.
    pub(super) role: Arc<str>,
    pub(super) name: String,
    pub(super) file: Box<TargetFile>,
    /// Whether it is listed anew, or by a top-level role.
    pub(super) is_new: bool,
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
    /// Why the file in its place stays: it has other bytes, and nothing live leads to it.
    blocked: Option<Blocked>,
}

/// Why a file of other bytes than are listed is not replaced.
#[derive(Debug, Clone)]
enum Blocked {
    /// No live metadata lists it.
    NotOurs,
    /// It is in a bucket under a name that states the digest of other bytes.
    OtherLength,
}

/// What was planned of the target files.
pub(super) struct PlannedTargets {
    /// Of each target that is listed, whether all of its files are copied.
    pub(super) is_copied: Vec<bool>,
    /// What is wrong with the files of targets that delegated roles list, and that are listed live already.
    pub(super) faults: Vec<TargetFault>,
}

/// What is wrong with the file of a target that a delegated role lists.
#[derive(Debug)]
pub(super) struct TargetFault {
    pub(super) role: RoleName,
    /// The name of the file, below `targets/`.
    pub(super) name: String,
    /// What is wrong.
    pub(super) reason: String,
}

impl TargetFault {
    /// Returns it as a fault of the role, by all delegations that lead to the role.
    pub(super) fn fault(self, leading: &Leading<'_>) -> Fault {
        let Self { role, name, reason } = self;
        let reason = Refusal::Finding(format!("{reason}, as '{role}' lists it"));
        Fault { ground: leading.chain_to(&role), role, file: Some(format!("{TARGETS}/{name}")), reason }
    }
}

/// What a publication puts anew, beside what is live.
pub(super) struct Anew<'a> {
    /// The places, among all that is listed, of the targets that are not live already with the same bytes.
    pub(super) places: &'a [usize],
    /// The live metadata, which is this repository's own.
    pub(super) live: &'a BTreeMap<RoleName, Verified<Targets>>,
    /// Whether a person lets files give way that no live metadata leads to.
    pub(super) damaged: DamagedRoots,
    /// Whether somebody edits in the place: the files in its targets may be the only copies.
    pub(super) is_workshop: bool,
}

/// Plans which target files are copied to another place. What lies in the way of a target that a delegated role lists, live
/// as well, is that role's fault. Of what is live already under a name that states its digest only the length is looked at.
///
/// # Errors
/// [`InputError::NotOurFile`] where a file would be replaced that no live metadata leads to;
/// [`InputError::LeadsOutside`].
pub(super) fn plan_targets(
    plan: &mut PublishPlan,
    listed: &[ListedAt<'_>],
    anew: &Anew<'_>,
) -> Result<PlannedTargets, RepositoryError> {
    let layout = plan.layout;
    let held = match &plan.place {
        Place::Folder { targets, .. } => Some(targets.held()),
        Place::Bucket(_) => None,
    };
    let live = held.as_ref().map_or(plan.place.targets(), |held| held);
    // what is not there yet need not be looked for
    let is_new = held.as_ref().is_some_and(|targets| !targets.exists());
    let mut is_anew = vec![false; listed.len()];
    anew.places.iter().for_each(|place| is_anew[*place] = true);
    let look = |(place, (role, map, index)): (usize, &ListedAt<'_>)| -> Result<Vec<Wanted>, RepositoryError> {
        let Some((path, file)) = map.at(*index) else { return Ok(Vec::new()) };
        // a role that lists one is found fault with; its file has no place
        let Ok(path) = TargetPath::parse(&path) else { return Ok(Vec::new()) };
        if Unfit::of(path.as_str(), &file).is_some() {
            return Ok(Vec::new());
        }
        let mut wanted = Vec::with_capacity(1);
        for name in layout.target_names(&path, &file) {
            let length = if is_new { None } else { live.length(&name).at_place(|| live.place(&name))? };
            // a name that states a digest, and that live metadata leads to, is that of a copy which was put there
            let is_copy = layout == Layout::Consistent && !is_anew[place];
            let same = length == Some(file.length)
                && (is_copy || same_bytes(live, &name, &file).at_place(|| live.place(&name))?);
            let other_length = length.is_some_and(|found| found != file.length);
            let blocked = match length {
                Some(_) if other_length && layout == Layout::Consistent && held.is_none() => {
                    Some(Blocked::OtherLength)
                }
                Some(_) if same || is_copy || anew.may_replace_any() => None,
                Some(_) if !anew.knows(live, layout, (role, &path), &name)? => Some(Blocked::NotOurs),
                _ => None,
            };
            let missing = (!same).then(|| Box::new(file.clone()));
            wanted.push(Wanted { name, place, missing, blocked });
        }
        Ok(wanted)
    };
    let wanted: Vec<Vec<Wanted>> = listed.par_iter().enumerate().map(look).collect::<Result<_, _>>()?;
    let mut wanted: Vec<Wanted> = wanted.into_iter().flatten().collect();
    wanted.par_sort_unstable_by(|a, b| a.name.cmp(&b.name).then(a.place.cmp(&b.place)));
    let mut roles: BTreeMap<&RoleName, Arc<str>> = BTreeMap::new();
    let mut planned = PlannedTargets { is_copied: vec![true; listed.len()], faults: Vec::new() };
    let is_copied = &mut planned.is_copied;
    let mut wanted = wanted.into_iter().peekable();
    while let Some(Wanted { name, place, missing, mut blocked }) = wanted.next() {
        let mut is_new = is_anew[place] || listed[place].0.is_top_level();
        is_copied[place] &= missing.is_some();
        // several roles may list one file, in the plain layout with other bytes
        while let Some(other) = wanted.next_if(|other| other.name == name) {
            // what is there is what one of them lists
            blocked = blocked.filter(|_| other.missing.is_some());
            is_new |= is_anew[other.place] || listed[other.place].0.is_top_level();
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
        match blocked {
            Some(blocked) if is_new => return Err(blocked.refusal(live, &name, &file)),
            Some(_) => {
                let reason = "other bytes are there".to_owned();
                planned.faults.push(TargetFault { role: role.clone(), name, reason });
                continue;
            }
            None => {}
        }
        let shown = roles.entry(role).or_insert_with(|| Arc::from(role.as_str())).clone();
        plan.targets.push(TargetCopy { role: shown, name, file, is_new });
    }
    if let Place::Folder { targets, .. } = &plan.place
        && !is_new
    {
        refuse_obstacles(targets, &plan.targets)?;
    }
    Ok(planned)
}

impl Blocked {
    fn refusal(&self, live: &dyn Storage, name: &str, file: &TargetFile) -> RepositoryError {
        match self {
            Self::NotOurs => InputError::NotOurFile { place: live.place(name) }.into(),
            Self::OtherLength => {
                let reason = format!("is in the bucket and not {} bytes long, as it is listed", file.length);
                RepositoryError::Refused {
                    file: format!("{TARGETS}/{name}"),
                    reason: Refusal::Finding(reason),
                }
            }
        }
    }
}

impl Anew<'_> {
    /// Tells whether any file may give way: a person says so, and nobody edits there.
    fn may_replace_any(&self) -> bool {
        self.damaged == DamagedRoots::Replace && !self.is_workshop
    }

    /// Tells whether a file in the place of a target is one that was published there.
    fn knows(
        &self,
        live: &dyn Storage,
        layout: Layout,
        (role, path): (&RoleName, &TargetPath),
        name: &str,
    ) -> Result<bool, RepositoryError> {
        if !self.is_workshop {
            return Ok(self.leads_to(layout, role, path, name));
        }
        for targets in self.live.values() {
            let Some(file) = targets.signed().targets.get(path.as_str()) else { continue };
            let length = live.length(name).at_place(|| live.place(name))?;
            if length == Some(file.length) && same_bytes(live, name, &file).at_place(|| live.place(name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether live metadata leads clients to a file, whatever bytes are in its place: a publication that was cut short,
    /// or an accident, has put them there.
    fn leads_to(&self, layout: Layout, role: &RoleName, path: &TargetPath, name: &str) -> bool {
        // nearly always it is the same role that lists it
        let others = self.live.iter().filter(|(other, _)| *other != role).map(|(_, targets)| targets);
        let mut listed = self.live.get(role).into_iter().chain(others);
        listed.any(|targets| {
            let file = targets.signed().targets.get(path.as_str());
            file.is_some_and(|file| layout.target_names(path, &file).iter().any(|led| led == name))
        })
    }
}

/// Refuses a name at which something else than a file is, and one that a link leads out of the folder of targets.
fn refuse_obstacles(targets: &Folder, copies: &[TargetCopy]) -> Result<(), RepositoryError> {
    let mut ways = Ways::into(targets)?;
    for TargetCopy { name, .. } in copies {
        ways.refuse_outside(name)?;
        let place = targets.file(name);
        if kind_of(&place)?.is_some_and(|kind| !kind.is_file()) {
            return Err(InputError::NotOurFile { place }.into());
        }
    }
    Ok(())
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
