//! Finds a target (5.6.7) and fetches it (5.7): verified before it becomes visible.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::apart::check_open_folders;
use super::arrivals::{Arrivals, Arrived, Source, There};
use super::listing::{FAILURES, NAMED, waiting_names};
use super::matching::{Matching, Parties};
use super::obstacles::Clearing;
use super::record::Line;
use super::target_dir::Recorded;
use super::transfer::{OnBytes, Transfer, copy_if_right, holds, refused};
use super::unfinished::{NewFile, Removal, Unfinished};
use super::{ClientError, ListedTarget, TargetDir, Updater};
use crate::metadata::{RoleName, TargetFile, TargetPath};
use crate::trusted_set::{TargetSearch, Visit};

/// How many targets, and about how many bytes of them, become durable and visible together. Each is an open file until
/// then; systems allow a process 256 or more.
const TOGETHER: (usize, u64) = (200, 1 << 30);

/// Where a verified target is.
#[derive(Debug, Clone, PartialEq)]
pub struct Downloaded {
    /// The target path.
    pub path: TargetPath,
    /// The file.
    pub file: PathBuf,
    /// What metadata says of it.
    pub info: TargetFile,
    /// Whether it was in place already.
    pub cached: bool,
}

/// What a run brought.
#[derive(Debug, Default)]
pub struct Downloads {
    /// The targets that are in their places now.
    pub downloaded: Vec<Downloaded>,
    /// Why others are not.
    pub faults: Vec<ClientError>,
}

impl Updater<'_> {
    /// Searches the delegations for a target, loading the roles that the search reaches and no others. Returns the
    /// role that answered and what it says.
    ///
    /// # Errors
    /// [`ClientError`] where a role on the way cannot be trusted.
    pub fn target_info(&mut self, path: &str) -> Result<Option<(RoleName, TargetFile)>, ClientError> {
        let mut matching = Matching::new(self.limits.matching);
        Ok(self.way(path, &mut matching)?.map(|(way, info)| (last_role(&way), info)))
    }

    /// Searches as [`Self::target_info`] does, and returns the visits that lead from the top-level targets role, which is not
    /// one of them, to the role that answers.
    pub(super) fn way(
        &mut self,
        path: &str,
        matching: &mut Matching,
    ) -> Result<Option<(Vec<Visit>, TargetFile)>, ClientError> {
        let found = self.search(path, matching);
        self.record_stored()?;
        found
    }

    fn search(
        &mut self,
        path: &str,
        matching: &mut Matching,
    ) -> Result<Option<(Vec<Visit>, TargetFile)>, ClientError> {
        // the top-level role is not counted
        let mut search = TargetSearch::new(path, self.limits.delegations.saturating_add(1));
        let mut parties = Parties::default();
        let mut visits: BTreeMap<RoleName, Visit> = BTreeMap::new();
        while let Some(visit) = search.next_visit() {
            let targets = self.role(&visit)?;
            let found = matching.look(&mut search, &visit, targets, &mut parties)?;
            let mut role = visit.role.clone();
            visits.insert(visit.role.clone(), visit);
            if let Some(file) = found {
                let mut way = Vec::new();
                while role != RoleName::targets()
                    && let Some(visit) = visits.remove(&role)
                {
                    role = visit.delegator.clone();
                    way.push(visit);
                }
                way.reverse();
                return Ok(Some((way, file)));
            }
        }
        Ok(None)
    }

    /// Brings targets into a folder, unless their bytes are there already, up to `jobs` of them at once. `progress`
    /// hears how many more bytes are there.
    ///
    /// A target that fails leaves what was at its place, and does not keep the others from theirs.
    ///
    /// # Errors
    /// [`ClientError`] where nothing can be put at all.
    pub fn download_targets(
        &mut self,
        wanted: &[ListedTarget],
        dir: &TargetDir,
        jobs: NonZeroUsize,
        progress: OnBytes<'_>,
    ) -> Result<Downloads, ClientError> {
        check_open_folders(&self.local, dir)?;
        let (mut downloaded, mut faults) = (Vec::new(), Faults::default());
        // where all is in place already, nothing else would come by what a killed process left
        faults.all.extend(dir.sweep().err());
        let plan = self.plan(wanted, dir, &mut faults)?;
        let arrivals = dir.arrivals(self.local.folder_identity()?)?;
        let failures = Failures::default();
        let mut rest: Vec<&Planned<'_>> = plan.iter().collect();
        let mut jobs = jobs;
        while !rest.is_empty() && !failures.is_over() {
            // what waits to become visible with others would take their room
            let count = if failures.are_one_by_one() { 1 } else { together(&rest) };
            let mut later = rest.split_off(count);
            let mut outcomes = self.fetch_at_once(&rest, dir, &arrivals, jobs, &failures, progress);
            if failures.notice_lack_of_room() {
                // what waits for its rest holds the room of what can be brought whole
                faults.all.extend(dir.forget(&|_| false, Removal::Done).err());
                // targets of one role have taken the room of others: once more one by one
                jobs = NonZeroUsize::MIN;
                later.extend(lacked_room(&rest, &mut outcomes, &arrivals)?);
                later = in_turns(later);
            }
            downloaded.extend(self.settle(&rest, outcomes, dir, &arrivals, &mut faults)?);
            rest = later;
        }
        faults.all.extend(failures.end());
        drop(arrivals);
        self.forget_unfinished(dir)?;
        Ok(Downloads { downloaded, faults: faults.end() })
    }

    /// Removes what interrupted runs left of targets that no role lists any more, where all roles are known.
    fn forget_unfinished(&self, dir: &TargetDir) -> Result<(), ClientError> {
        if !self.is_complete {
            return Ok(());
        }
        let listed = OnceCell::new();
        let is_listed = |name: &str| listed.get_or_init(|| self.waiting_names()).contains(name);
        dir.forget(&is_listed, Removal::Done).map(drop)
    }

    /// Returns what the large targets wait under that the roles list which have been loaded.
    fn waiting_names(&self) -> BTreeSet<String> {
        let roles = self.verified.keys().filter_map(|role| self.trusted.targets(role));
        roles.flat_map(waiting_names).collect()
    }

    /// Finds for each target what has to go before it can be put; those that cannot be put are faults.
    fn plan<'t>(
        &mut self,
        wanted: &'t [ListedTarget],
        dir: &TargetDir,
        faults: &mut Faults,
    ) -> Result<Vec<Planned<'t>>, ClientError> {
        let mut record = None;
        let mut matching = Matching::new(self.limits.matching);
        let mut plan = Vec::with_capacity(wanted.len());
        for target in self.without_conflicts(wanted, &mut matching, faults) {
            match self.clearing(target, dir, dir.home(), &mut record, &mut matching) {
                Ok(clearing) => plan.push(Planned { target, clearing }),
                Err(error) => faults.note(&target.role, error),
            }
        }
        Ok(plan)
    }

    /// Puts what was fetched in its place, and records it. Other clients wait meanwhile: none of them removes a folder
    /// that is about to be used.
    fn settle(
        &self,
        planned: &[&Planned<'_>],
        outcomes: Vec<Option<Result<Outcome, ClientError>>>,
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
        faults: &mut Faults,
    ) -> Result<Vec<Downloaded>, ClientError> {
        let (mut arrived, mut done) = (Vec::new(), Vec::new());
        for (Planned { target, clearing }, outcome) in planned.iter().zip(outcomes) {
            match outcome {
                Some(Ok(Outcome::InPlace)) => done.push((*target, None)),
                Some(Ok(Outcome::Arrived(new, source))) => {
                    done.push((*target, Some(arrived.len())));
                    arrived.push(Arrived { new, source, path: &target.path, info: &target.info, clearing });
                }
                Some(Err(error)) => faults.note(&target.role, error),
                // not tried, because others failed
                Some(Ok(Outcome::GivenUp)) | None => {}
            }
        }
        let mut outcomes = self.put(&arrived, dir, arrivals)?;
        let mut downloaded = Vec::with_capacity(done.len());
        for (target, place) in done {
            if let Some(Err(error)) = place.map(|index| std::mem::replace(&mut outcomes[index], Ok(()))) {
                faults.note(&target.role, error);
                continue;
            }
            let (path, info) = (target.path.clone(), target.info.clone());
            let file = dir.file(&path);
            let cached = place.is_none_or(|index| arrived[index].source == Source::Place);
            downloaded.push(Downloaded { file, path, info, cached });
        }
        Ok(downloaded)
    }

    fn put(
        &self,
        arrived: &[Arrived<'_>],
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        if arrived.is_empty() {
            return Ok(Vec::new());
        }
        let _lock = self.locked()?;
        let lines = arrivals.prepare(arrived, dir.home())?;
        self.local.add_to_record(self.of_own(arrived, lines, dir)?)?;
        let placed = arrivals.put(arrived, dir.home())?;
        self.local.add_to_record(placed.lines)?;
        Ok(placed.outcomes)
    }

    /// Drops the lines of targets whose bytes were in their places already, put there by somebody else: as a copy they are
    /// still nobody's to remove.
    fn of_own(
        &self,
        arrived: &[Arrived<'_>],
        lines: Vec<Line>,
        dir: &TargetDir,
    ) -> Result<Vec<Line>, ClientError> {
        if arrived.iter().all(|arrived| arrived.source == Source::Mirror) {
            return Ok(lines);
        }
        let record = self.local.record()?;
        let is_own = |arrived: &Arrived<'_>| {
            let known = record.put.get(&(dir.home().clone(), arrived.path.to_string()));
            let is_there = known.is_some_and(|files| {
                matches!(dir.recorded(arrived.path.as_str(), files), Ok(Recorded::Ours(_)))
            });
            arrived.source == Source::Mirror || is_there
        };
        Ok(arrived.iter().zip(lines).filter(|(arrived, _)| is_own(arrived)).map(|(_, line)| line).collect())
    }

    /// Fetches targets by several threads.
    fn fetch_at_once(
        &self,
        planned: &[&Planned<'_>],
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
        jobs: NonZeroUsize,
        failures: &Failures,
        progress: OnBytes<'_>,
    ) -> Vec<Option<Result<Outcome, ClientError>>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(planned) = planned.get(index) else { return done };
                if failures.is_over() || failures.lack_room() {
                    continue;
                }
                if !failures.may_try(&planned.target.role) {
                    done.push((index, Ok(Outcome::GivenUp)));
                    continue;
                }
                let fetch = || self.fetch(planned, dir, arrivals, failures, progress);
                // a defect of a fetcher, say, must not pass for a target that was not wanted
                let outcome = catch_unwind(AssertUnwindSafe(fetch)).unwrap_or_else(|_| {
                    let file = dir.file(&planned.target.path);
                    Err(ClientError::local(
                        &file,
                        io::Error::other("what was to fetch it has failed by a defect"),
                    ))
                });
                if let Err(error) = &outcome {
                    failures.note(&planned.target.role, error, dir.path());
                }
                done.push((index, outcome));
            }
        };
        let mut outcomes: Vec<_> = planned.iter().map(|_| None).collect();
        thread::scope(|scope| {
            // where the system has no more threads, there are fewer
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..jobs.get().min(planned.len())).map_while(start).collect();
            let mut done = work();
            for other in others {
                // what could panic in a worker is caught there
                done.extend(other.join().unwrap_or_default());
            }
            for (index, outcome) in done {
                outcomes[index] = Some(outcome);
            }
        });
        outcomes
    }

    fn fetch(
        &self,
        planned: &Planned<'_>,
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
        failures: &Failures,
        progress: OnBytes<'_>,
    ) -> Result<Outcome, ClientError> {
        let ListedTarget { path, info, .. } = planned.target;
        digestible(path, info)?;
        let mut replaced = None;
        if !planned.clearing.is_needed()
            && let Some(there) = arrivals.open(path)?
        {
            if let Some(outcome) = self.in_place(planned, &there, dir, arrivals)? {
                progress(info.length);
                return Ok(outcome);
            }
            replaced = there.file.metadata().ok().map(|found| found.len());
        }
        let is_more = replaced.is_none_or(|length| length < info.length);
        if failures.are_one_by_one() && is_more && !dir.keeps_reserve(info.length) {
            return Err(ClientError::local(&dir.file(path), rustix::io::Errno::NOSPC.into()));
        }
        let mut unfinished = arrivals.start(path, info)?;
        match self.transfer(path, info, &mut unfinished, &dir.file(path), progress) {
            Ok(()) => Ok(Outcome::Arrived(unfinished, Source::Mirror)),
            // what is kept would take the room of metadata and of others' targets, in every run
            Err(error) if error.is_of_room() => arrivals.discard(unfinished).and(Err(error)),
            Err(error) => arrivals.interrupted(unfinished).and(Err(error)),
        }
    }

    /// Takes the file that is at a target's place, where it has the right bytes: as it is, or a copy where another user could
    /// change it there.
    fn in_place(
        &self,
        planned: &Planned<'_>,
        there: &There,
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
    ) -> Result<Option<Outcome>, ClientError> {
        let ListedTarget { path, info, .. } = planned.target;
        let failed = |error| ClientError::local(&dir.file(path), error);
        if there.is_kept {
            if !holds(&there.file, info).map_err(failed)? {
                return Ok(None);
            }
            return arrivals.keep(path, &there.file).map(|()| Some(Outcome::InPlace));
        }
        let mut copy = arrivals.start_copy()?;
        match copy_if_right(&there.file, &mut copy.file, info).map_err(failed) {
            Ok(true) => Ok(Some(Outcome::Arrived(copy, Source::Place))),
            Ok(false) => arrivals.discard(copy).map(|()| None),
            Err(error) => arrivals.discard(copy).and(Err(error)),
        }
    }

    /// Opens a verified target for reading: a copy of the one that is in its place in a folder, else one that is
    /// downloaded. It lies in the metadata folder and is gone when it is closed: nobody who may write to the target folder
    /// changes what is read.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn open_target(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        dir: Option<&TargetDir>,
        progress: OnBytes<'_>,
    ) -> Result<File, ClientError> {
        digestible(path, info)?;
        let waiting = self.local.path().join(path.as_str());
        let local = |error: io::Error| ClientError::local(&waiting, error);
        let unfinished = Unfinished::new(self.local.folder()).map_err(local)?;
        let mut new = unfinished.file().map_err(local)?;
        let is_copied = match dir {
            Some(dir) => self.copy(path, info, dir, &mut new)?,
            None => false,
        };
        if is_copied {
            progress(info.length);
        } else {
            self.transfer(path, info, &mut new, &waiting, progress)?;
        }
        new.file.seek(SeekFrom::Start(0)).map_err(local)?;
        Ok(new.file)
    }

    /// Copies the target that is in its place in a folder; tells whether the copy is right. Else it is empty.
    fn copy(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        dir: &TargetDir,
        new: &mut NewFile,
    ) -> Result<bool, ClientError> {
        check_open_folders(&self.local, dir)?;
        let Some(there) = dir.arrivals(self.local.folder_identity()?)?.open(path)? else { return Ok(false) };
        copy_if_right(&there.file, &mut new.file, info)
            .map_err(|error| ClientError::local(&dir.file(path), error))
    }

    /// Downloads a target into an unfinished file, from the first mirror whose bytes are right.
    fn transfer(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        unfinished: &mut NewFile,
        file: &Path,
        progress: OnBytes<'_>,
    ) -> Result<(), ClientError> {
        let transfer = Transfer::new(&mut unfinished.file, info, progress);
        let mut transfer = transfer.map_err(|error| ClientError::local(file, error))?;
        self.mirrors.attempt(path, |mirror| transfer.run(self, mirror, path))
    }
}

fn last_role(way: &[Visit]) -> RoleName {
    way.last().map_or_else(RoleName::targets, |visit| visit.role.clone())
}

/// A target that is wanted.
struct Planned<'t> {
    target: &'t ListedTarget,
    clearing: Clearing,
}

/// A target of fewer bytes than this is downloaded again rather than that it keeps its room before others had their turns.
const SMALL: u64 = 64 << 10;

/// Takes the targets that lacked room, or were not tried for that reason, out of some that were to be fetched; and small ones
/// that have come, to wait for their turns like those.
fn lacked_room<'p, 't>(
    planned: &[&'p Planned<'t>],
    outcomes: &mut [Option<Result<Outcome, ClientError>>],
    arrivals: &Arrivals<'_>,
) -> Result<Vec<&'p Planned<'t>>, ClientError> {
    let mut again = Vec::new();
    for (planned, outcome) in planned.iter().zip(outcomes) {
        match outcome {
            Some(Err(error)) if !error.is_of_room() => continue,
            Some(Ok(Outcome::Arrived(..))) if planned.target.info.length < SMALL => {}
            Some(Ok(_)) => continue,
            None | Some(Err(_)) => {}
        }
        if let Some(Ok(Outcome::Arrived(new, _))) = outcome.take() {
            arrivals.discard(new)?;
        }
        again.push(*planned);
    }
    Ok(again)
}

/// Orders targets so that the roles that list them take turns, each with its shortest first: neither a long one nor many short
/// ones of one role take the room of the others'.
fn in_turns<'p, 't>(mut targets: Vec<&'p Planned<'t>>) -> Vec<&'p Planned<'t>> {
    targets.sort_by_key(|planned| planned.target.info.length);
    let mut turns: BTreeMap<&RoleName, usize> = BTreeMap::new();
    let mut ordered = Vec::with_capacity(targets.len());
    for planned in targets {
        let turn = turns.entry(&planned.target.role).or_default();
        *turn += 1;
        ordered.push((*turn, planned));
    }
    ordered.sort_by_key(|(turn, _)| *turn);
    ordered.into_iter().map(|(_, planned)| planned).collect()
}

/// What failed: of each role some are named, and the others counted. The top-level role is the maintainer's own.
#[derive(Default)]
pub(super) struct Faults {
    all: Vec<ClientError>,
    named: BTreeMap<RoleName, usize>,
}

impl Faults {
    /// Notes why a target that a role lists is not in its place.
    pub fn note(&mut self, role: &RoleName, error: ClientError) {
        let named = self.named.entry(role.clone()).or_default();
        *named += 1;
        if *named <= NAMED || *role == RoleName::targets() {
            self.all.push(error);
        }
    }

    fn end(mut self) -> Vec<ClientError> {
        let unnamed = self.named.into_iter().filter(|(role, _)| *role != RoleName::targets());
        self.all.extend(unnamed.filter_map(|(role, named)| {
            let more = named.checked_sub(NAMED).filter(|more| *more > 0)?;
            Some(ClientError::MoreTargetsFailed { role, more })
        }));
        self.all
    }
}

/// What keeps further targets from being tried.
#[derive(Default)]
struct Failures {
    /// How many targets of a role could not be had, or had no room, and how many more of its targets were not tried.
    counts: Mutex<BTreeMap<RoleName, (usize, usize)>>,
    /// Set where the disk takes nothing more.
    disk: AtomicBool,
    /// How often there was no room.
    room: Room,
}

/// Whether the disk had no room for a target.
#[derive(Default)]
struct Room {
    lacks: AtomicBool,
    /// Set once targets are fetched one by one for that reason.
    is_noticed: AtomicBool,
}

impl Failures {
    fn note(&self, role: &RoleName, error: &ClientError, dir: &Path) {
        // what the top-level role lists is the maintainer's own: a file that is missing there keeps no other back
        let is_party = *role != RoleName::targets();
        let has_failed = error.is_of_the_network() || (error.is_not_found() && is_party);
        // the first time it may be another role's target that has taken the room
        if has_failed || (error.is_of_room() && self.room.is_noticed.load(Ordering::Relaxed)) {
            self.counts().entry(role.clone()).or_default().0 += 1;
        }
        if error.is_of_room() {
            self.room.lacks.store(true, Ordering::Relaxed);
            return;
        }
        // what the folder itself refuses it refuses to all
        if error.is_of_the_disk() || matches!(error, ClientError::Local { path, .. } if path == dir) {
            self.disk.store(true, Ordering::Relaxed);
        }
    }

    /// Tells whether nothing more is to be tried until those that had no room are tried one by one.
    fn lack_room(&self) -> bool {
        self.room.lacks.load(Ordering::Relaxed) && !self.room.is_noticed.load(Ordering::Relaxed)
    }

    /// Tells whether targets are fetched one by one, because there was no room for all that came at once.
    fn are_one_by_one(&self) -> bool {
        self.room.is_noticed.load(Ordering::Relaxed)
    }

    /// Tells, once, whether there was no room for a target.
    fn notice_lack_of_room(&self) -> bool {
        self.lack_room() && !self.room.is_noticed.swap(true, Ordering::Relaxed)
    }

    /// Tells whether a target of a role may be tried, and counts it where not.
    fn may_try(&self, role: &RoleName) -> bool {
        match self.counts().get_mut(role) {
            Some((failures, left)) if *failures >= FAILURES => {
                *left += 1;
                false
            }
            _ => true,
        }
    }

    fn is_over(&self) -> bool {
        self.disk.load(Ordering::Relaxed)
    }

    fn end(self) -> Vec<ClientError> {
        let counts = self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left = counts.into_iter().filter(|(_, (_, left))| *left > 0);
        left.map(|(role, (_, left))| ClientError::GivenUp { role, left, kind: "targets" }).collect()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<RoleName, (usize, usize)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a target that was wanted.
enum Outcome {
    /// It was there already.
    InPlace,
    /// It has been downloaded or copied, and verified.
    Arrived(NewFile, Source),
    /// It was not tried, because others of its role failed.
    GivenUp,
}

/// Refuses, before any request, a target without a digest that can be computed, or with another text in the place of one:
/// nothing could be accepted.
fn digestible(path: &TargetPath, info: &TargetFile) -> Result<(), ClientError> {
    // the digest becomes a part of a URL and of a file's name
    if let Some(algorithm) =
        info.hashes.known().find(|algorithm| info.hashes.name_digest(*algorithm).is_none())
    {
        return Err(ClientError::NoDigest { path: path.to_string(), algorithm: algorithm.name() });
    }
    match info.hashes.known().next() {
        Some(_) => Ok(()),
        None => info.hashes.compare(&Default::default()).map_err(|mismatch| refused(path, mismatch)),
    }
}

/// Returns how many of some targets, one at least, become visible together.
fn together(targets: &[&Planned<'_>]) -> usize {
    let mut bytes: u64 = 0;
    let fits = |planned: &&&Planned<'_>| {
        bytes = bytes.saturating_add(planned.target.info.length);
        bytes <= TOGETHER.1
    };
    targets.iter().take(TOGETHER.0).take_while(fits).count().max(1)
}
