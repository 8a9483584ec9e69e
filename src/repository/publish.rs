//! Staged metadata goes live: checked as a new client and as an old one, target files first, the timestamp last. Nothing
//! is ever deleted, and a run that was killed is finished by the next.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;

use super::Repository;
use super::check::{Expiry, Finding, Report, TargetBytes, check_metadata};
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::gate::refuse_succession;
use super::layout::{Layout, MAX_METADATA, METADATA, STAGED, TARGETS, is_versioned};
use super::place::{BucketPlace, Destination};
use super::presence::set_aside_elsewhere;
use super::scan::{Told, copy_digested, digest_file, digest_stored};
use super::target_files::{ListedAt, all_listed, check_target_files};
use super::write::put_metadata;
use crate::metadata::{Algorithm, Hashes, RoleName, TargetFile, TargetMap, TargetPath, Targets};
use crate::storage::{Folder, Lock, ReadFiles, Storage};

/// A planned publication.
#[derive(Debug)]
pub struct PublishPlan {
    /// The roles and versions that clients will see.
    pub roles: BTreeMap<RoleName, u64>,
    /// How many files are there already.
    pub kept: usize,
    /// What is worth knowing: expired metadata that was allowed.
    pub warnings: Vec<Finding>,
    pub(super) layout: Layout,
    pub(super) metadata: Vec<(String, Vec<u8>)>,
    pub(super) targets: Vec<TargetCopy>,
    place: Place,
}

/// Where it is published, as it was found.
#[derive(Debug)]
enum Place {
    Folder { live: Folder, targets: Folder, lock: Option<Lock> },
    Bucket(BucketPlace),
}

impl Place {
    fn metadata(&self) -> &dyn Storage {
        match self {
            Self::Folder { live, .. } => live,
            Self::Bucket(place) => &place.metadata,
        }
    }

    fn targets(&self) -> &dyn Storage {
        match self {
            Self::Folder { targets, .. } => targets,
            Self::Bucket(place) => &place.targets,
        }
    }
}

#[derive(Debug)]
pub(super) struct TargetCopy {
    /// The role that lists it.
    pub(super) role: Arc<str>,
    pub(super) name: String,
    pub(super) file: TargetFile,
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

impl PublishPlan {
    /// Returns the files that are put, relative to the destination.
    pub fn put(&self) -> Vec<String> {
        let targets = self.targets.iter().map(|copy| format!("{TARGETS}/{}", copy.name));
        targets.chain(self.metadata.iter().map(|(name, _)| format!("{METADATA}/{name}"))).collect()
    }

    /// Returns how many bytes of targets are copied.
    pub fn target_bytes(&self) -> u64 {
        self.targets.iter().map(|copy| copy.file.length).sum()
    }

    /// Tells whether everything is live already.
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.targets.is_empty()
    }
}

impl Repository {
    /// Checks what would be live and plans how it gets there. Holds the lock of the live folder; of a bucket, remembers what
    /// was read there.
    ///
    /// # Errors
    /// [`RepositoryError::NothingWritten`]; [`RepositoryError::Refused`] with the first reason why clients would fail.
    pub fn plan_publish(
        &self,
        destination: &Destination,
        expiry: Expiry,
        wait: Duration,
    ) -> Result<PublishPlan, RepositoryError> {
        let place = self.look_at(destination, wait)?;
        let live = place.metadata();
        let staged = self.staged.folder();
        if self.staged.timestamp.written.is_none() {
            return Err(RepositoryError::NothingWritten { folder: staged.path().to_owned() });
        }
        // a client's whole work, on what is staged and on what is live: one core each where one role lists nearly all
        let first_root = self.policy.first_root();
        let (checked, published) = rayon::join(
            || check_metadata(staged, STAGED, first_root, expiry, self.now),
            || check_metadata(live, METADATA, first_root, Expiry::Allow, self.now),
        );
        let mut checked = checked?;
        refuse_errors(&checked.report)?;
        refuse_errors(&Report { findings: std::mem::take(&mut checked.strays), ..Report::default() })?;
        let published = match live.read("root.json", MAX_METADATA).at(live.place("root.json"))? {
            // a first publication may have been cut short: without a timestamp no client has been served from there
            None if live.read("timestamp.json", MAX_METADATA).at(live.place("timestamp.json"))?.is_none() => {
                BTreeMap::new()
            }
            // without it nobody can tell what the clients of this folder trust
            None => {
                let file = format!("{METADATA}/root.json");
                return Err(RepositoryError::Refused { file, reason: Refusal::Missing });
            }
            Some(_) => {
                refuse_succession(staged, live, checked.layout, &checked.files)?;
                published?.targets
            }
        };
        let elsewhere = match self.policy.targets_elsewhere() {
            true => set_aside_elsewhere(&self.targets_folder(), &mut checked.targets)?,
            false => None,
        };
        let (new, old) = new_and_old(&checked.targets, &published);
        let checked_as = |listed: &[ListedAt<'_>], how: TargetBytes| -> Result<(), RepositoryError> {
            let findings = check_target_files(&self.targets_folder(), checked.layout, listed, how)?;
            refuse_errors(&Report { findings, ..Report::default() })
        };
        // what is copied within a file system is digested on the way, before it has its name
        let copies = matches!(destination, Destination::Folder(_));
        checked_as(&new, if copies { TargetBytes::Present } else { TargetBytes::Digest })?;
        checked_as(&old, TargetBytes::Present)?;
        let mut warnings = checked.report.findings;
        warnings.extend(elsewhere);
        let mut plan = PublishPlan {
            roles: checked.report.versions.clone(),
            kept: 0,
            warnings,
            layout: checked.layout,
            metadata: Vec::new(),
            targets: Vec::new(),
            place,
        };
        self.plan_metadata(&mut plan, checked.layout, &checked.files)?;
        if !matches!(destination, Destination::Own) {
            plan_targets(&mut plan, checked.layout, &checked.targets)?;
        }
        if copies {
            let copied: HashMap<&str, &TargetFile> =
                plan.targets.iter().map(|copy| (&*copy.name, &copy.file)).collect();
            let is_copied = |(_, map, index): &ListedAt<'_>| {
                let (path, file) = map.at(*index)?;
                let names = checked.layout.target_names(&TargetPath::parse(&path).ok()?, &file);
                // in the plain layout another role may list the file with other digests
                let same = |copy: &&TargetFile| copy.length == file.length && copy.hashes == file.hashes;
                names.iter().all(|name| copied.get(name.as_str()).is_some_and(same)).then_some(())
            };
            let is_there = |listed: &&ListedAt<'_>| is_copied(listed).is_none();
            let there: Vec<ListedAt<'_>> = new.par_iter().filter(is_there).copied().collect();
            checked_as(&there, TargetBytes::Digest)?;
        }
        Ok(plan)
    }

    /// Looks at a destination: takes the lock of a folder, lists a bucket.
    fn look_at(&self, destination: &Destination, wait: Duration) -> Result<Place, RepositoryError> {
        let base = match destination {
            Destination::Own => self.dir.clone(),
            Destination::Folder(folder) => folder.clone(),
            Destination::Bucket(place) => {
                let place = place.with_twins(vec![self.staged.folder().clone()], self.targets_folder());
                for part in [&place.metadata, &place.targets] {
                    part.survey().at(part.place(""))?;
                }
                return Ok(Place::Bucket(place));
            }
        };
        let (live, targets) = (Folder::new(base.join(METADATA)), Folder::new(base.join(TARGETS)));
        // another repository may publish here as well
        let lock = if live.exists() { Some(super::lock(&live, wait)?) } else { None };
        Ok(Place::Folder { live, targets, lock })
    }

    /// Carries a planned publication out. `progress` is told the bytes of targets as they are copied.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]; clients then see the old state, or the new one where only the end failed.
    /// [`RepositoryError::Overtaken`] where another publisher came first.
    pub fn execute_publish(
        &self,
        plan: &PublishPlan,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        let (live, targets, lock) = match &plan.place {
            Place::Folder { live, targets, lock } => (live, targets, lock),
            Place::Bucket(place) => return self.publish_to_bucket(plan, place, progress),
        };
        let is_absent = |folder: &&Path| !folder.exists();
        let mut made: Vec<PathBuf> = [live, targets]
            .iter()
            .flat_map(|folder| folder.path().ancestors().take_while(is_absent).map(Path::to_owned))
            .collect();
        for folder in [live, targets] {
            fs::create_dir_all(folder.path()).at(folder.path())?;
        }
        // a folder that was not there when this was planned could not be locked then: whoever came first has it now
        let first = lock.is_none() && live.path() != self.live_folder().path();
        let lock = if first { Some(super::lock(live, Duration::ZERO)?) } else { None };
        if lock.is_some() && !live.names().at(live.path())?.is_empty() {
            let reason = Refusal::Finding("somebody else has published there meanwhile".to_owned());
            return Err(RepositoryError::Refused { file: live.path().display().to_string(), reason });
        }
        for folder in [live, targets] {
            folder.sweep().at(folder.path())?;
        }
        let copied = self.copy_published(plan, targets, progress);
        if copied.is_err() {
            // nothing is left where nothing was; a folder that somebody else has filled stays
            made.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
            made.iter().for_each(|folder| drop(fs::remove_dir(folder)));
        }
        copied?;
        put_metadata(live, &plan.metadata, METADATA, &|bytes: &Vec<u8>| Ok(Cow::Borrowed(bytes)))
    }

    /// Plans which metadata files are put. A versioned one that is there with other bytes is refused.
    fn plan_metadata(
        &self,
        plan: &mut PublishPlan,
        layout: Layout,
        names: &[String],
    ) -> Result<(), RepositoryError> {
        let staged = self.staged.folder();
        for name in self.with_revoked(layout, names)? {
            let Some(bytes) = staged.read(&name, MAX_METADATA).at(staged.file(&name))? else { continue };
            let live = plan.place.metadata();
            let present = live.read(&name, MAX_METADATA).at(live.place(&name))?;
            match present {
                Some(present) if present == bytes => plan.kept += 1,
                Some(_) if is_versioned(layout, &name) => {
                    return Err(RepositoryError::Refused {
                        file: format!("{METADATA}/{name}"),
                        reason: Refusal::OtherBytes,
                    });
                }
                _ => plan.metadata.push((name, bytes)),
            }
        }
        Ok(())
    }

    /// Adds the files of revoked roles, which the snapshot still lists for old clients, in front of the others.
    fn with_revoked(&self, layout: Layout, names: &[String]) -> Result<Vec<String>, RepositoryError> {
        let listed = self.staged.snapshot.written.iter().flat_map(|snapshot| &snapshot.signed().meta);
        let files = listed.filter_map(|(path, file)| {
            Some(layout.metadata_name(&RoleName::from_metapath(&path)?, file.version))
        });
        let known: BTreeSet<&String> = names.iter().collect();
        let revoked = files.filter(|name| !known.contains(name));
        Ok(revoked.chain(names.iter().cloned()).collect())
    }

    /// Checks the bytes that a planned publication to a folder would copy; without a dry run they are checked on the way.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] for the first target that is not what is listed.
    pub fn check_copies(&self, plan: &PublishPlan) -> Result<(), RepositoryError> {
        if !matches!(plan.place, Place::Folder { .. }) {
            return Ok(());
        }
        let source = self.targets_folder();
        plan.targets.par_iter().try_for_each(|copy| {
            let algorithms: Vec<Algorithm> = copy.file.hashes.known().collect();
            let from = source.file(&copy.name);
            let (length, hashes) = digest_file(&from, &algorithms).at(&from)?;
            copy.check(length, &hashes)
        })
    }

    fn copy_published(
        &self,
        plan: &PublishPlan,
        live_targets: &Folder,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        if plan.targets.is_empty() {
            return Ok(());
        }
        let source = self.targets_folder();
        let mut batch = live_targets.batch().at(live_targets.path())?;
        let copy_one = |copy: &TargetCopy| -> Result<(PathBuf, String), RepositoryError> {
            let from = source.file(&copy.name);
            let (path, mut to) = batch.create().at(live_targets.path())?;
            let algorithms: Vec<Algorithm> = copy.file.hashes.known().collect();
            let mut reader = Told { from: File::open(&from).at(&from)?, told: progress };
            let (length, hashes) = copy_digested(&mut reader, &mut to, &algorithms).at(&from)?;
            copy.check(length, &hashes)?;
            Ok((path, copy.name.clone()))
        };
        let made: Vec<_> = plan.targets.par_iter().map(copy_one).collect::<Result<_, _>>()?;
        for (path, name) in made {
            batch.place(path, name);
        }
        batch.commit().at(live_targets.path())
    }
}

/// Tells targets that are listed anew from those that are live already with the same bytes.
fn new_and_old<'a>(
    targets: &'a BTreeMap<RoleName, Targets>,
    published: &BTreeMap<RoleName, Targets>,
) -> (Vec<ListedAt<'a>>, Vec<ListedAt<'a>>) {
    let none = TargetMap::new();
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for (role, listed) in targets {
        let listed = &listed.targets;
        let live = published.get(role).map_or(&none, |live| &live.targets);
        let mut differing = listed.differing(live).into_iter().peekable();
        for index in 0..listed.len() {
            let differs = differing.next_if_eq(&index).is_some() && !live.has_bytes_of(listed, index);
            (if differs { &mut new } else { &mut old }).push((role, listed, index));
        }
    }
    (new, old)
}

/// Plans which target files are copied to another place.
fn plan_targets(
    plan: &mut PublishPlan,
    layout: Layout,
    roles: &BTreeMap<RoleName, Targets>,
) -> Result<(), RepositoryError> {
    let names: BTreeMap<&RoleName, Arc<str>> =
        roles.keys().map(|role| (role, Arc::from(role.as_str()))).collect();
    let live = plan.place.targets();
    let in_bucket = matches!(plan.place, Place::Bucket(_));
    // what is not there yet need not be looked for
    let is_new = matches!(&plan.place, Place::Folder { targets, .. } if !targets.exists());
    let look = |(role, map, index): &ListedAt<'_>| -> Result<Vec<(TargetCopy, bool)>, RepositoryError> {
        let Some((path, file)) = map.at(*index) else { return Ok(Vec::new()) };
        let path = TargetPath::parse(&path).map_err(InputError::from)?;
        let mut looked = Vec::with_capacity(1);
        for name in layout.target_names(&path, &file) {
            let length = if is_new { None } else { live.length(&name).at(live.place(&name))? };
            let same = length == Some(file.length)
                && (layout == Layout::Consistent || same_bytes(live, &name, &file).at(live.place(&name))?);
            if length.is_some() && !same && layout == Layout::Consistent && in_bucket {
                let reason = format!("is in the bucket and not {} bytes long, as it is listed", file.length);
                let file = format!("{TARGETS}/{name}");
                return Err(RepositoryError::Refused { file, reason: Refusal::Finding(reason) });
            }
            let role = names.get(role).cloned().unwrap_or_default();
            looked.push((TargetCopy { role, name, file: file.clone() }, same));
        }
        Ok(looked)
    };
    let looked: Vec<Vec<_>> = all_listed(roles).par_iter().map(look).collect::<Result<_, _>>()?;
    let mut looked: Vec<(TargetCopy, bool)> = looked.into_iter().flatten().collect();
    // several roles may list one file
    looked.par_sort_by(|a, b| a.0.name.cmp(&b.0.name));
    looked.dedup_by(|later, first| later.0.name == first.0.name);
    let kept = looked.iter().filter(|(_, same)| *same).count();
    plan.targets.extend(looked.into_iter().filter(|(_, same)| !same).map(|(copy, _)| copy));
    plan.kept += kept;
    Ok(())
}

fn same_bytes(live: &dyn Storage, name: &str, file: &TargetFile) -> io::Result<bool> {
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    let found = digest_stored(live, name, &algorithms)?;
    Ok(found.is_some_and(|(_, hashes)| file.hashes.compare(&hashes).is_ok()))
}

pub(super) fn refuse_errors(report: &Report) -> Result<(), RepositoryError> {
    let Some(finding) = report.first_error() else { return Ok(()) };
    let file = match (&finding.file, &finding.role) {
        (Some(file), _) => file.clone(),
        (None, Some(role)) => role.to_string(),
        (None, None) => STAGED.to_owned(),
    };
    let message = match &finding.role {
        // the name of a metadata file says whose it is
        Some(role) if file.starts_with(TARGETS) => format!("{}, as '{role}' lists it", finding.message),
        _ => finding.message.clone(),
    };
    Err(RepositoryError::Refused { file, reason: Refusal::Finding(message) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, open, repository, scratch, start};
    use super::*;

    #[test]
    fn of_two_first_publishers_to_one_folder_one_wins() {
        let (dir, to) = (scratch(), scratch());
        repository(dir.path(), &keys());
        let repository = open(dir.path(), start());
        let destination = Destination::Folder(to.path().join("new"));
        let plan = || repository.plan_publish(&destination, Expiry::Enforce, Duration::ZERO).unwrap();
        let (one, two) = (plan(), plan());
        repository.execute_publish(&one, &|_| {}).unwrap();
        let error = repository.execute_publish(&two, &|_| {}).unwrap_err();
        assert!(error.to_string().contains("somebody else has published there meanwhile"), "{error}");
        let again = plan();
        assert!(again.is_empty());
        assert!(matches!(
            super::super::lock(&Folder::new(to.path().join("new").join(METADATA)), Duration::ZERO),
            Err(RepositoryError::Locked { .. })
        ));
    }

    #[test]
    fn a_live_folder_without_its_root_is_refused() {
        let dir = scratch();
        repository(dir.path(), &keys());
        fs::remove_file(dir.path().join("metadata/root.json")).unwrap();
        let repository = open(dir.path(), start());
        let error = repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO).unwrap_err();
        assert!(matches!(error, RepositoryError::Refused { reason: Refusal::Missing, .. }), "{error}");
        let retention = super::super::Retention { keep: 1, keep_within: chrono::TimeDelta::zero() };
        assert!(repository.plan_gc(retention).is_err());
    }
}
