//! Staged metadata goes live: checked as a new client and as an old one, target files first, the timestamp last. Nothing
//! is ever deleted, and a run that was killed is finished by the next.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Repository;
use super::accepted::{Accepted, AcceptedFile, Damaged, Extent, named};
use super::ancestry::{
    DamagedRoots, LostSnapshot, Permissions, RECOVERABLE, Recovered, Signers, Successor, refuse_taken,
    refuse_what_is_not_ours, unknown_above,
};
use super::check::{Checked, Expiry, Finding, Report, Severity, TargetBytes, check_metadata, unjudged_files};
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::fault::{Fault, refuse_caused};
use super::gate::refuse_succession;
use super::layout::{
    CLIENT_RECORD, Layout, MAX_METADATA, METADATA, POLICY, STAGED, TARGETS, is_versioned, parse_plain,
    parse_versioned,
};
use super::locks::{DestinationLocks, LockedPlace, lock_written};
use super::place::{BucketPlace, Destination};
use super::presence::set_aside_elsewhere;
use super::publish_targets::{Anew, TargetCopy, TargetFault, plan_targets};
use super::recovery::Recovery;
use super::scan::total_length;
use super::staged::AnyRole;
use super::target_files::{ListedAt, all_listed, check_target_bytes, check_target_files};
use super::write::put_metadata;
use crate::metadata::{Metadata, RoleName, Targets};
use crate::storage::{Folder, ReadFiles, Storage, regular_or_none};
use crate::verify::Verified;

/// What is asked of a publication.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// What is made of metadata that has expired.
    pub expiry: Expiry,
    /// How long to wait for the lock of the live folder.
    pub wait: Duration,
    /// What becomes of a place where no root can be read, or whose timestamp names a snapshot that is not there and that this
    /// copy cannot vouch for.
    pub damaged_roots: DamagedRoots,
    /// The roles whose live metadata gives way, though it is not of this copy or has a higher version: a new root takes away
    /// the keys that signed it.
    pub recover: BTreeSet<RoleName>,
}

impl PublishRequest {
    /// Asks for a publication that goes on from what is live.
    pub fn new(expiry: Expiry, wait: Duration) -> Self {
        Self { expiry, wait, damaged_roots: DamagedRoots::Refuse, recover: BTreeSet::new() }
    }
}

/// A planned publication.
#[derive(Debug)]
pub struct PublishPlan {
    /// The roles and versions that clients will see.
    pub roles: BTreeMap<RoleName, u64>,
    /// How many files are there already.
    pub kept: usize,
    /// What is worth knowing: expired metadata that was allowed, faults of delegated roles that were there before.
    pub warnings: Vec<Finding>,
    /// What gives way to it; nothing unless a role is recovered.
    pub recovery: Recovery,
    pub(super) layout: Layout,
    pub(super) metadata: Vec<(String, Vec<u8>)>,
    /// The versioned files among them that take the place of others, which no client accepts.
    pub(super) replaced: BTreeSet<String>,
    pub(super) targets: Vec<TargetCopy>,
    pub(super) place: Place,
}

/// Where it is published, as it was found.
#[derive(Debug)]
pub(super) enum Place {
    Folder { live: Folder, targets: Folder, locks: DestinationLocks },
    Bucket(BucketPlace),
}

impl Place {
    /// Looks at a destination: takes the lock of a folder, lists a bucket.
    pub(super) fn look_at(
        repository: &Path,
        destination: &Destination,
        wait: Duration,
    ) -> Result<Self, RepositoryError> {
        // another repository may publish here as well, or be here
        let locks = match destination {
            Destination::Own => lock_written(repository, repository, wait)?,
            Destination::Folder(folder) => lock_written(repository, folder, wait)?,
            Destination::Bucket(_) => DestinationLocks::default(),
        };
        Self::look_at_locked(repository, destination, locks)
    }

    /// Looks at a destination whose locks are held.
    pub(super) fn look_at_locked(
        repository: &Path,
        destination: &Destination,
        locks: DestinationLocks,
    ) -> Result<Self, RepositoryError> {
        let base = match destination {
            Destination::Own => repository,
            Destination::Folder(folder) => folder,
            Destination::Bucket(place) => {
                let own = |folder| Folder::new(repository.join(folder));
                let place = place.with_twins(vec![own(STAGED)], own(TARGETS));
                for part in [&place.metadata, &place.targets] {
                    part.survey().at(part.place(""))?;
                }
                return Ok(Self::Bucket(place));
            }
        };
        let (live, targets) = (Folder::new(base.join(METADATA)), Folder::new(base.join(TARGETS)));
        Ok(Self::Folder { live, targets, locks })
    }

    /// Refuses a folder whose metadata is what a client trusts.
    fn refuse_clients_folder(&self) -> Result<(), RepositoryError> {
        let Self::Folder { live, targets, .. } = self else { return Ok(()) };
        let is_clients = |folder: &&Folder| folder.file(CLIENT_RECORD).symlink_metadata().is_ok();
        match [live, targets].into_iter().find(is_clients) {
            Some(folder) => {
                let reason = "it holds what a client trusts ('.tuf-put' is there)";
                Err(InputError::Destination { path: folder.path().to_owned(), reason }.into())
            }
            None => Ok(()),
        }
    }

    pub(super) fn metadata(&self) -> &dyn Storage {
        match self {
            Self::Folder { live, .. } => live,
            Self::Bucket(place) => &place.metadata,
        }
    }

    pub(super) fn targets(&self) -> &dyn Storage {
        match self {
            Self::Folder { targets, .. } => targets,
            Self::Bucket(place) => &place.targets,
        }
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
        total_length(self.targets.iter().map(|copy| copy.file.length))
    }

    /// Tells whether everything is live already.
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.targets.is_empty()
    }
}

impl LockedPlace {
    /// Reads the repository and plans its publication at the place, as [`Repository::plan_publish`] does. What is live is looked
    /// at meanwhile.
    ///
    /// # Errors
    /// As [`Repository::open_locked`] and [`Repository::plan_publish`].
    pub fn plan_publish(
        self,
        request: &PublishRequest,
    ) -> Result<(Repository, PublishPlan), RepositoryError> {
        let Self { unread, at, locks } = self;
        let (dir, first_root) = (unread.dir.clone(), unread.policy.first_root());
        let read_and_check = || {
            let repository = unread.read_past_drafts()?;
            let checked = repository.check_staged(request.expiry)?;
            Ok::<_, RepositoryError>((repository, checked))
        };
        let look = || Live::look(&dir, first_root, Place::look_at_locked(&dir, &at, locks)?);
        let (staged, live) = rayon::join(read_and_check, look);
        let (repository, checked) = staged?;
        let plan = repository.plan_over(checked, live?, &at, request)?;
        Ok((repository, plan))
    }
}

/// What is live where it is published.
struct Live {
    place: Place,
    /// What clients accept of it.
    accepted: Result<Accepted, RepositoryError>,
}

impl Live {
    /// Follows the metadata.
    fn look(repository: &Path, first_root: u64, place: Place) -> Result<Self, RepositoryError> {
        let written = Folder::new(repository.join(STAGED));
        let accepted = Accepted::read(place.metadata(), &written, first_root, Extent::Whole);
        Ok(Self { place, accepted })
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
        self.plan_publication(destination, &PublishRequest::new(expiry, wait))
    }

    /// Plans a publication as [`Repository::plan_publish`] does, with more to ask of it.
    ///
    /// # Errors
    /// As [`Repository::plan_publish`].
    pub fn plan_publication(
        &self,
        destination: &Destination,
        request: &PublishRequest,
    ) -> Result<PublishPlan, RepositoryError> {
        let first_root = self.policy.first_root();
        // a client's whole work, on what is staged and on what is live: one core each where one role lists nearly all
        let (staged, live) = rayon::join(
            || self.check_staged(request.expiry),
            || Live::look(&self.dir, first_root, Place::look_at(&self.dir, destination, request.wait)?),
        );
        self.plan_over(staged?, live?, destination, request)
    }

    /// Plans how what is staged and was checked takes the place of what is live.
    fn plan_over(
        &self,
        (mut checked, files): (Checked, Result<FoundFiles, RepositoryError>),
        Live { place, accepted }: Live,
        destination: &Destination,
        request: &PublishRequest,
    ) -> Result<PublishPlan, RepositoryError> {
        refuse_errors(&checked.report).map_err(|error| self.cut_short(error))?;
        place.refuse_clients_folder()?;
        let live = self.refuse_other_ancestors(place.metadata(), accepted?, request)?;
        if let Destination::Folder(folder) = destination {
            self.refuse_other_workshop(&Folder::new(folder.join(STAGED)))?;
        }
        let whole = live.whole.as_ref().unwrap_or(&live.accepted);
        let recovery = Recovery::of(live.recovered, whole, &checked);
        let (live, of_ancestors) = (live.accepted, live.warnings);
        let faults = std::mem::take(&mut checked.faults);
        let faults = self.refuse_caused_at(&place, &live, &checked, faults)?;
        let files = files?;
        let listed = all_listed(&checked.targets);
        let mut new = listed_anew(&checked.targets, &live.targets);
        let lies_apart = !files.findings.is_empty() && !matches!(destination, Destination::Own);
        if !files.findings.is_empty() {
            let folder = self.targets_folder().held();
            let listed = at_places(&listed, &new);
            refuse_findings(check_target_files(&folder, checked.layout, &listed, TargetBytes::Present)?)?;
        }
        // what is live already need not be here, unless its clients look for it here
        let absent = if lies_apart { Vec::new() } else { faults_of_targets(files.findings)? };
        let absent = self.refuse_caused_by_targets(&place, &live, &checked, absent)?;
        // what is copied within a file system is digested on the way, before it has its name
        let copies = matches!(destination, Destination::Folder(_));
        let check_bytes = |listed: &[ListedAt<'_>]| {
            refuse_findings(check_target_bytes(&self.targets_folder().held(), checked.layout, listed)?)
        };
        if !copies {
            check_bytes(&at_places(&listed, &new))?;
        }
        let mut warnings = std::mem::take(&mut checked.report.findings);
        warnings.extend(of_ancestors);
        warnings.extend(faults);
        warnings.extend(absent);
        warnings.extend(files.elsewhere);
        let mut plan = PublishPlan {
            roles: checked.report.versions.clone(),
            kept: 0,
            warnings,
            recovery,
            layout: checked.layout,
            metadata: Vec::new(),
            replaced: BTreeSet::new(),
            targets: Vec::new(),
            place,
        };
        let names = PlannedNames { layout: checked.layout, names: &checked.files, judged: files.metadata };
        let root = self.staged.root.written.as_ref().map(Metadata::signed);
        let signers = Signers { root, targets: &checked.targets };
        self.plan_metadata(&mut plan, names, |name, theirs| {
            let recovered = named(checked.layout, name).is_some_and(|role| request.recover.contains(&role));
            if recovered { Ok(()) } else { refuse_taken(&live, &signers, name, theirs) }
        })?;
        let damaged = damage_warnings(&live.damaged, &plan);
        plan.warnings.extend(damaged);
        let mut said = BTreeSet::new();
        plan.warnings.retain(|warning| said.insert((warning.file.clone(), warning.message.clone())));
        if !matches!(destination, Destination::Own) {
            let is_workshop = match destination {
                Destination::Folder(folder) => [STAGED, POLICY].iter().any(|name| folder.join(name).exists()),
                Destination::Own | Destination::Bucket(_) => false,
            };
            let anew =
                Anew { places: &new, live: &live.targets, damaged: request.damaged_roots, is_workshop };
            let planned = plan_targets(&mut plan, &listed, &anew)?;
            let mut faults = planned.faults;
            if lies_apart {
                faults.extend(self.refuse_absent(&mut plan.targets)?);
            }
            let faults = self.refuse_caused_by_targets(&plan.place, &live, &checked, faults)?;
            plan.warnings.extend(faults);
            if copies {
                new.retain(|place| !planned.is_copied[*place]);
                check_bytes(&at_places(&listed, &new))?;
            }
        }
        Ok(plan)
    }

    /// Refuses faults of delegated roles that what is staged brings to a place, and returns warnings of the others.
    fn refuse_caused_at(
        &self,
        place: &Place,
        live: &Accepted,
        checked: &Checked,
        faults: Vec<Fault>,
    ) -> Result<Vec<Finding>, RepositoryError> {
        let after = checked.leading(self.staged.folder()).over(place.metadata());
        refuse_caused(faults, &live.leading(place.metadata()), &after)
    }

    /// Does as [`Repository::refuse_caused_at`] what is asked of the files of targets.
    fn refuse_caused_by_targets(
        &self,
        place: &Place,
        live: &Accepted,
        checked: &Checked,
        faults: Vec<TargetFault>,
    ) -> Result<Vec<Finding>, RepositoryError> {
        let leading = checked.leading(self.staged.folder());
        let faults = faults.into_iter().map(|fault| fault.fault(&leading)).collect();
        self.refuse_caused_at(place, live, checked, faults)
    }

    /// Refuses to go on from what this copy does not know, and what a client would not take that stands on what is live.
    fn refuse_other_ancestors(
        &self,
        place: &dyn Storage,
        mut accepted: Accepted,
        request: &PublishRequest,
    ) -> Result<Ancestors, RepositoryError> {
        if let Some(role) = request.recover.iter().find(|role| !RECOVERABLE.contains(&role.as_str())) {
            return Err(InputError::NotRecoverable { role: role.clone() }.into());
        }
        let (written, mut whole) = (self.staged.folder(), None);
        if request.recover.contains("targets") {
            // whom a stolen key delegates to is nobody's ancestor; whom this copy delegates to still is
            whole = Some(std::mem::replace(&mut accepted, self.follow_own_targets(place)?));
        }
        let lost_snapshot = match request.damaged_roots {
            DamagedRoots::Refuse => LostSnapshot::Refuse,
            DamagedRoots::Replace => LostSnapshot::Replace,
        };
        let permissions =
            Permissions { damaged_roots: request.damaged_roots, lost_snapshot, recover: &request.recover };
        let recovered = refuse_what_is_not_ours(&accepted, self.successor(), &self.ours(), permissions)
            .map_err(|refusal| self.with_what_gives_way(place, refusal))?;
        refuse_succession(written, &accepted)?;
        let above = unknown_above(&accepted, self.successor(), &self.ours())?;
        let warnings = above.into_iter().map(newer_than_named).collect();
        Ok(Ancestors { accepted, whole, recovered, warnings })
    }

    /// Returns what is written, as what takes the place of what is live.
    pub(super) fn successor(&self) -> Successor<'_> {
        let staged = &self.staged;
        Successor {
            root: staged.root.written.as_ref().map(Metadata::signed),
            timestamp: staged.timestamp.written_version(),
            snapshot: staged.snapshot.written.as_ref().map(Metadata::signed),
        }
    }

    /// Says that a `write` was killed, where that is why the written files do not go together: in the plain layout it
    /// overwrites their names.
    fn cut_short(&self, error: RepositoryError) -> RepositoryError {
        match error {
            RepositoryError::Refused { file, reason } if !self.left_behind().is_empty() => {
                RepositoryError::Refused { file, reason: Refusal::CutShort(reason.to_string()) }
            }
            error => error,
        }
    }

    /// Refuses a target that would be copied and is not here. One that a delegated role lists, live as well, is not copied: it is
    /// that role's fault.
    fn refuse_absent(&self, targets: &mut Vec<TargetCopy>) -> Result<Vec<TargetFault>, RepositoryError> {
        let own = self.targets_folder();
        let (mut copied, mut faults) = (Vec::with_capacity(targets.len()), Vec::new());
        for copy in targets.drain(..) {
            let TargetCopy { role, name, file, is_new } = &copy;
            if own.length(name).at(own.file(name))? == Some(file.length) {
                copied.push(copy);
                continue;
            }
            let reason = "missing, here and where it is published".to_owned();
            match RoleName::new(&**role) {
                Ok(role) if !is_new => faults.push(TargetFault { role, name: name.clone(), reason }),
                _ => {
                    let reason = Refusal::Finding(format!("{reason}, as '{role}' lists it"));
                    return Err(RepositoryError::Refused { file: format!("{TARGETS}/{name}"), reason });
                }
            }
        }
        *targets = copied;
        Ok(faults)
    }

    /// Checks what is staged, and whether the files of the targets that it lists are there.
    fn check_staged(
        &self,
        expiry: Expiry,
    ) -> Result<(Checked, Result<FoundFiles, RepositoryError>), RepositoryError> {
        if self.staged.timestamp.written.is_none() {
            return Err(RepositoryError::NothingWritten { folder: self.staged.folder().path().to_owned() });
        }
        // what was read under the lock has not changed since
        let known = self.lock.is_some().then_some(&self.staged);
        let first_root = self.policy.first_root();
        let mut checked = check_metadata(self.staged.folder(), STAGED, first_root, expiry, self.now, known)?;
        if !checked.report.ok() {
            return Ok((checked, Ok(FoundFiles::default())));
        }
        let (layout, names) = (checked.layout, checked.files.clone());
        let (targets, metadata) =
            rayon::join(|| self.look_at_targets(&mut checked), || self.read_judged(layout, &names));
        let found = targets.and_then(|targets| Ok(FoundFiles { metadata: metadata?, ..targets }));
        Ok((checked, found))
    }

    /// Reads the files of the roles that have been read and judged, and refuses one that says something else by now.
    fn read_judged(
        &self,
        layout: Layout,
        names: &[String],
    ) -> Result<BTreeMap<String, Vec<u8>>, RepositoryError> {
        let staged = self.staged.folder();
        let mut judged = BTreeMap::new();
        for name in names.iter().filter(|name| self.judged_role(layout, name).is_some()) {
            if let Some(bytes) = staged.read(name, MAX_METADATA).at(staged.file(name))? {
                self.refuse_changed(layout, name, &bytes)?;
                judged.insert(name.clone(), bytes);
            }
        }
        Ok(judged)
    }

    /// Looks at the files of the targets that are listed; leaves out those that are elsewhere.
    fn look_at_targets(&self, checked: &mut Checked) -> Result<FoundFiles, RepositoryError> {
        let folder = self.targets_folder().held();
        let elsewhere = match self.policy.targets_elsewhere() {
            true => set_aside_elsewhere(&folder, &mut checked.targets)?,
            false => None,
        };
        let listed = all_listed(&checked.targets);
        let findings = check_target_files(&folder, checked.layout, &listed, TargetBytes::Present)?;
        Ok(FoundFiles { elsewhere, findings, ..FoundFiles::default() })
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
        let (live, targets, locks) = match &plan.place {
            Place::Folder { live, targets, locks } => (live, targets, locks),
            Place::Bucket(place) => return self.publish_to_bucket(plan, place, progress),
        };
        let is_absent = |folder: &&Path| !folder.exists();
        let mut made: Vec<PathBuf> = [live, targets]
            .iter()
            .flat_map(|folder| folder.path().ancestors().take_while(is_absent).map(Path::to_owned))
            .collect();
        fs::create_dir_all(live.path()).at(live.path())?;
        // a folder that was not there when this was planned could not be locked then: whoever came first has it now
        let first = !locks.holds_live() && live.path() != self.live_folder().path();
        let lock = if first { Some(super::lock(live, Duration::ZERO)?) } else { None };
        if lock.is_some() && !live.names().at(live.path())?.is_empty() {
            let reason = Refusal::Finding("somebody else has published there meanwhile".to_owned());
            return Err(RepositoryError::Refused { file: live.path().display().to_string(), reason });
        }
        // where there is no targets folder yet, it is filled beside its place
        let beside = targets.path().parent().map(Folder::new);
        for folder in [live, targets].into_iter().chain(&beside) {
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

    /// Plans which metadata files are put. Whether a versioned one may take the place of other bytes is for `refuse_taken`.
    fn plan_metadata(
        &self,
        plan: &mut PublishPlan,
        PlannedNames { layout, names, mut judged }: PlannedNames<'_>,
        refuse_taken: impl Fn(&str, &[u8]) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let staged = self.staged.folder();
        let snapshot = self.staged.snapshot.written.as_ref().map(Metadata::signed);
        let unjudged = snapshot.map(|snapshot| unjudged_files(layout, snapshot, names)).unwrap_or_default();
        let revoked = unjudged.len();
        for (index, name) in unjudged.into_iter().chain(names.iter().cloned()).enumerate() {
            let read = match judged.remove(&name) {
                Some(bytes) => Some(bytes),
                None => regular_or_none(staged.read(&name, MAX_METADATA)).at(staged.file(&name))?,
            };
            let Some(bytes) = read else {
                // the file of a revoked role may be gone; one that was judged was there a moment ago
                if index < revoked {
                    continue;
                }
                let file = format!("{STAGED}/{name}");
                return Err(RepositoryError::Refused { file, reason: Refusal::Missing });
            };
            let live = plan.place.metadata();
            let present = live.read(&name, MAX_METADATA).at(live.place(&name))?;
            match present {
                Some(present) if present == bytes => plan.kept += 1,
                // nobody vouches for the file here of a role that was revoked or is at fault
                Some(_) if index < revoked => plan.kept += 1,
                Some(present) if is_versioned(layout, &name) => {
                    refuse_taken(&name, &present)?;
                    plan.replaced.insert(name.clone());
                    plan.metadata.push((name, bytes));
                }
                _ => plan.metadata.push((name, bytes)),
            }
        }
        Ok(())
    }

    /// Returns the role whose written metadata was read from a file; `None` of hash bins, which are read one at a time.
    fn judged_role(&self, layout: Layout, name: &str) -> Option<&dyn AnyRole> {
        let parsed = parse_versioned(name).filter(|_| is_versioned(layout, name));
        let role = parsed.as_ref().map(|(_, role)| role.clone()).or_else(|| parse_plain(name))?;
        let state = self.staged.role(&role)?;
        let read = state.written_version()?;
        parsed.is_none_or(|(version, _)| version == read).then_some(state)
    }

    /// Refuses a file that no longer says what was read of it, and judged.
    fn refuse_changed(&self, layout: Layout, name: &str, bytes: &[u8]) -> Result<(), RepositoryError> {
        if self.judged_role(layout, name).is_some_and(|role| !role.is_written(bytes)) {
            let reason = Refusal::Finding("changed while it was read".to_owned());
            return Err(RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason });
        }
        Ok(())
    }
}

/// What a publication goes on from.
struct Ancestors {
    accepted: Accepted,
    /// What clients accept, with all that a `targets` leads to that gives way; `None` where that is the same.
    whole: Option<Accepted>,
    recovered: Vec<Recovered>,
    warnings: Vec<Finding>,
}

/// The metadata files that are published.
struct PlannedNames<'a> {
    layout: Layout,
    names: &'a [String],
    /// Those of them that have been read and judged.
    judged: BTreeMap<String, Vec<u8>>,
}

/// Says of live files that no client accepts what becomes of them.
fn damage_warnings(damaged: &[Damaged], plan: &PublishPlan) -> Vec<Finding> {
    let root = plan.roles.get("root").copied().unwrap_or_default();
    let next_root = plan.layout.metadata_name(&RoleName::root(), root + 1);
    let named = damaged.iter().map(|Damaged { name, role, reason }| {
        let is_put = plan.metadata.iter().any(|(put, _)| put == name);
        let outcome = match (is_put, *name == next_root) {
            (true, _) => "what is written takes its place",
            (false, true) => {
                "every client stops at it until it is taken away by hand or root is written anew"
            }
            (false, false) => "no client is led to it any more",
        };
        damage(name, Some(role.clone()), reason, outcome)
    });
    let is_unnamed = |name: &&String| damaged.iter().all(|damaged| damaged.name != **name);
    let unnamed =
        plan.replaced.iter().filter(is_unnamed).map(|name| {
            damage(name, None, "it is not signed as it must be", "what is written takes its place")
        });
    named.chain(unnamed).collect()
}

/// Says that a snapshot is there which this copy does not know and the timestamp does not name yet, or no longer.
fn newer_than_named(snapshot: &AcceptedFile) -> Finding {
    let file = format!("{METADATA}/{}", snapshot.name);
    let message = format!(
        "{file}: is a newer snapshot than timestamp.json names there, and this copy does not know it: a publication goes on or was cut \
         short, or the timestamp was put back; let the copy that wrote it publish once more"
    );
    Finding { severity: Severity::Warning, role: Some(snapshot.role.clone()), message, file: Some(file) }
}

fn damage(name: &str, role: Option<RoleName>, reason: &str, outcome: &str) -> Finding {
    let file = format!("{METADATA}/{name}");
    let message = format!("{file}: no client accepts it ({reason}); {outcome}");
    Finding { severity: Severity::Warning, role, message, file: Some(file) }
}

/// What was found beside the metadata that was read.
#[derive(Debug, Default)]
struct FoundFiles {
    /// A word about targets that are elsewhere.
    elsewhere: Option<Finding>,
    /// What is wrong with the files of targets.
    findings: Vec<Finding>,
    /// The metadata files that say what was judged, by name.
    metadata: BTreeMap<String, Vec<u8>>,
}

/// Returns the places, among all that is listed, of the targets that are not live already with the same bytes.
pub(super) fn listed_anew(
    targets: &BTreeMap<RoleName, Targets>,
    published: &BTreeMap<RoleName, Verified<Targets>>,
) -> Vec<usize> {
    let (mut new, mut before) = (Vec::new(), 0);
    for (role, Targets { targets: listed, .. }) in targets {
        match published.get(role).map(|live| &live.signed().targets).filter(|live| !live.is_empty()) {
            None => new.extend(before..before + listed.len()),
            Some(live) => {
                let differing = listed.differing(live).into_iter();
                new.extend(
                    differing.filter(|index| !live.has_bytes_of(listed, *index)).map(|index| before + index),
                );
            }
        }
        before += listed.len();
    }
    new
}

pub(super) fn at_places<'a>(listed: &[ListedAt<'a>], places: &[usize]) -> Vec<ListedAt<'a>> {
    places.iter().filter_map(|place| listed.get(*place)).copied().collect()
}

/// Refuses what is wrong with the files of targets that a top-level role lists, and returns what delegated roles list.
fn faults_of_targets(findings: Vec<Finding>) -> Result<Vec<TargetFault>, RepositoryError> {
    let mut faults = Vec::new();
    for finding in findings {
        let name = finding.file.as_deref().and_then(|file| file.strip_prefix(TARGETS)?.strip_prefix('/'));
        match (&finding.role, name) {
            (Some(role), Some(name)) if !role.is_top_level() => {
                let (role, name) = (role.clone(), name.to_owned());
                faults.push(TargetFault { role, name, reason: finding.message });
            }
            _ => refuse_findings(vec![finding])?,
        }
    }
    Ok(faults)
}

fn refuse_findings(findings: Vec<Finding>) -> Result<(), RepositoryError> {
    refuse_errors(&Report { findings, ..Report::default() })
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
    use super::super::testing::{keys, open, repository, scratch, start, write};
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
    fn a_role_that_changes_while_it_is_read_is_refused() {
        let (dir, keys) = (scratch(), keys());
        repository(dir.path(), &keys);
        let mut edited = open(dir.path(), start());
        edited.expire(&RoleName::targets(), start() + chrono::TimeDelta::days(700)).unwrap();
        write(&mut edited, &keys);
        let name =
            format!("metadata.staged/{}.targets.json", edited.staged().listed_version(&RoleName::targets()));
        drop(edited);
        let repository = open(dir.path(), start());
        let text = fs::read_to_string(dir.path().join(&name)).unwrap();
        let put = |text: &str| {
            fs::write(dir.path().join(&name), text).unwrap();
            repository
                .plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO)
                .map(|plan| plan.put().len())
        };
        // laid out in another way it says the same
        let one_line = text.replace("\n", "");
        assert_eq!((put(&text).unwrap(), put(&one_line).unwrap()), (3, 3));
        for changed in [
            text.replace("\"sig\": \"", "\"sig\": \"00"),
            text.replacen("\"version\": ", "\"version\": 1", 1),
        ] {
            let error = put(&changed).unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains("changed while it was read"), "{error}");
        }
    }

    #[test]
    fn a_live_folder_without_its_roots_is_refused() {
        let dir = scratch();
        repository(dir.path(), &keys());
        fs::remove_file(dir.path().join("metadata/root.json")).unwrap();
        fs::remove_file(dir.path().join("metadata/1.root.json")).unwrap();
        let repository = open(dir.path(), start());
        let error = repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO).unwrap_err();
        assert!(matches!(error, RepositoryError::Refused { reason: Refusal::NoRoot(_), .. }), "{error}");
        let retention = super::super::Retention { keep: 1, keep_within: chrono::TimeDelta::zero() };
        assert!(repository.plan_gc(retention, Duration::ZERO).is_err());
    }
}
