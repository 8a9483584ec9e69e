//! What somebody else has published is taken over: verified from what this copy has, then put byte for byte beside what is
//! written, so that the next change goes on from it.
//!
//! Work in the way, drafts and what is written here and not live, is named, and nothing moves; where somebody asks for it, it is
//! kept in a folder that no command goes on from, to be made again. A root that went apart is never taken: two histories of trust
//! cannot be made one.
//!
//! All is planned before anything moves, the drafts that follow from what is taken over among it.

mod ancestor;
mod aside;
mod changes;
mod lost_keys;
mod once;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;
use std::time::Duration;

use rayon::prelude::*;

use once::ReadOnce;

use super::Repository;
use super::adopt::{FolderSource, Source, copy_target, lies_there};
use super::check::{Checked, Expiry, Finding, check_metadata};
use super::diff::RoleDiff;
use super::error::{AtPath, InputError, RepositoryError};
use super::history::{Entry, History};
use super::layout::{MAX_METADATA, METADATA, STAGED, TARGETS, parse_versioned};
use super::locks::LockedPlace;
use super::place::Destination;
use super::publish::{Place, refuse_errors};
use super::scan::total_length;
use super::staged::{AnyRole, DraftPlan, Pins, Staged};
use super::unfit::{Unfit, refuse_unfit_of_top_level};
use super::ways::refuse_ways_outside;
use super::write::put_metadata;
use crate::metadata::{RoleName, TargetFile, TargetPath};
use crate::storage::{MadeFolders, ReadFiles, Storage};

/// Whether target files are taken over as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetFiles {
    /// Only metadata: the bytes stay where they are published.
    Leave,
    /// The files that clients ask for are copied.
    Copy,
}

/// What becomes of work of this copy that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It is named, and nothing is taken over.
    Refuse,
    /// It is kept in a folder that no command goes on from.
    SetAside,
}

/// What is to be taken over.
#[derive(Debug, Clone, Copy)]
pub struct PullRequest {
    /// Whether target files are copied.
    pub targets: TargetFiles,
    /// What becomes of work that is in the way.
    pub work: Work,
    /// How long to wait for another process at the place.
    pub wait: Duration,
}

/// A planned `pull`.
#[derive(Debug, Default)]
pub struct PullPlan {
    /// The roles whose files are taken over, and their versions.
    pub roles: BTreeMap<RoleName, u64>,
    /// What that changes here, role by role.
    pub changes: Vec<RoleDiff>,
    /// What this copy lists or trusts and live does not: targets and roles, in words.
    pub gone: Vec<String>,
    /// Versions that jump so far that somebody may have run ahead with them, in words.
    pub jumps: Vec<String>,
    /// Faults of what is live that stop nobody from taking it over.
    pub warnings: Vec<Finding>,
    /// The version of the timestamp that is drafted, where what is written here goes on from live in all but that.
    pub timestamp: Option<u64>,
    /// Whether anything is published there.
    pub is_published: bool,
    /// Where work of this copy is kept that gives way, relative to the repository.
    pub aside: BTreeMap<String, Vec<u8>>,
    /// The roles whose written metadata gives way without a question: the live root takes away all keys that signed it.
    pub lost_keys: Vec<RoleName>,
    /// The drafts that give way, by the names of their files.
    given_up: BTreeSet<String>,
    metadata: Vec<(String, Vec<u8>)>,
    /// What this copy has written or taken over from then on; `None` where that stays as it is.
    history: Option<History>,
    targets: Vec<PulledTarget>,
    /// The state that this leads to, and what must happen to the drafts.
    after: Option<After>,
}

/// A target file that is taken over.
#[derive(Debug)]
struct PulledTarget {
    /// Its name below `targets/`.
    name: String,
    file: TargetFile,
    /// The role that lists it: a top-level one where that does.
    role: RoleName,
}

/// The state that a `pull` leads to.
#[derive(Debug)]
struct After {
    staged: Staged,
    drafts: DraftPlan,
}

impl PullPlan {
    /// Returns the files that are put, relative to the repository.
    pub fn put(&self) -> Vec<String> {
        let targets = self.targets.iter().map(|target| format!("{TARGETS}/{}", target.name));
        let metadata = self.metadata.iter().map(|(name, _)| format!("{STAGED}/{name}"));
        targets.chain(self.aside.keys().cloned()).chain(metadata).collect()
    }

    /// Tells whether the metadata stays as it is.
    pub fn metadata_is_same(&self) -> bool {
        self.metadata.is_empty()
    }

    /// Returns how many bytes of targets are copied.
    pub fn target_bytes(&self) -> u64 {
        total_length(self.targets.iter().map(|target| target.file.length))
    }

    /// Tells whether there is nothing to take over.
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.targets.is_empty() && self.timestamp.is_none()
    }

    /// Tells whether a person should look at it before it is carried out.
    pub fn is_doubtful(&self) -> bool {
        !self.gone.is_empty() || !self.jumps.is_empty()
    }
}

/// Tells whether a file is a root, under its number or as the newest.
fn is_root_file(name: &str) -> bool {
    name == "root.json" || parse_versioned(name).is_some_and(|(_, role)| role == RoleName::root())
}

/// What is live, as it was read.
struct Live {
    checked: Checked,
    /// The files that clients may ask for, in the order in which they are put: first those that nobody could judge.
    files: Vec<(String, Vec<u8>)>,
    /// How many of them nobody could judge.
    unjudged: usize,
    /// Where each file stands among them.
    places: HashMap<String, usize>,
}

impl Live {
    fn of(checked: Checked, unjudged: Vec<(String, Vec<u8>)>, judged: Vec<(String, Vec<u8>)>) -> Self {
        let (unjudged, files) = (unjudged.len(), [unjudged, judged].concat());
        let places = files.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        Self { checked, files, unjudged, places }
    }

    fn version(&self, role: &RoleName) -> u64 {
        match self.checked.report.versions.get(role) {
            Some(version) => *version,
            None => self.checked.snapshot.as_ref().and_then(|it| it.role(role)).map_or(0, |it| it.version),
        }
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        let (_, bytes) = self.files.get(*self.places.get(name)?)?;
        Some(bytes)
    }

    /// Returns the files that were verified.
    fn verified(&self) -> &[(String, Vec<u8>)] {
        self.files.get(self.unjudged..).unwrap_or_default()
    }

    /// Returns the files that nobody could judge: of revoked and of faulty roles.
    fn unjudged(&self) -> &[(String, Vec<u8>)] {
        self.files.get(..self.unjudged).unwrap_or_default()
    }

    /// Describes each file that has a line in the history: those that were verified.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        let layout = self.checked.layout;
        let entry = move |(name, bytes): &(String, Vec<u8>)| {
            Entry::of(layout, name, bytes, |role| Some(self.version(role)))
        };
        self.verified().iter().filter_map(entry)
    }
}

impl LockedPlace {
    /// Reads the repository and plans to take over what is published at the place, as [`Repository::plan_pull_with`] does.
    ///
    /// # Errors
    /// As [`Repository::open_locked`] and [`Repository::plan_pull_with`].
    pub fn plan_pull(
        self,
        targets: TargetFiles,
        work: Work,
    ) -> Result<(Repository, PullPlan), RepositoryError> {
        let Self { unread, at, locks } = self;
        let mut repository = unread.read_past_drafts()?;
        let dir = repository.dir.clone();
        let look = || Place::look_at_locked(&dir, &at, locks);
        let plan = repository.plan_pull_from(look, &at, targets, work)?;
        Ok((repository, plan))
    }
}

impl Repository {
    /// Plans to take over what is published at a place.
    ///
    /// # Errors
    /// [`RepositoryError::NothingWritten`]; [`RepositoryError::Forked`] where the roots went apart;
    /// [`RepositoryError::InTheWay`] where work here would be lost, [`RepositoryError::UnusableDrafts`] where nobody knows what
    /// work it is; [`RepositoryError::Refused`] where a client that stands on
    /// what this copy has would not accept what is live.
    pub fn plan_pull(
        &mut self,
        from: &Destination,
        targets: TargetFiles,
        wait: Duration,
    ) -> Result<PullPlan, RepositoryError> {
        self.plan_pull_with(from, PullRequest { targets, work: Work::Refuse, wait })
    }

    /// Plans as [`Repository::plan_pull`] does; what becomes of work that is in the way is said.
    ///
    /// # Errors
    /// As [`Repository::plan_pull`].
    pub fn plan_pull_with(
        &mut self,
        from: &Destination,
        PullRequest { targets, work, wait }: PullRequest,
    ) -> Result<PullPlan, RepositoryError> {
        let dir = self.dir.clone();
        self.plan_pull_from(|| Place::look_at(&dir, from, wait), from, targets, work)
    }

    fn plan_pull_from(
        &mut self,
        look: impl FnOnce() -> Result<Place, RepositoryError>,
        from: &Destination,
        targets: TargetFiles,
        work: Work,
    ) -> Result<PullPlan, RepositoryError> {
        let Some(root) = self.staged.root.written_version() else {
            return Err(RepositoryError::NothingWritten { folder: self.staged.folder().path().to_owned() });
        };
        let place = look()?;
        let metadata = place.metadata();
        let there = |name: &str| metadata.length(name).at(metadata.place(name));
        if there("root.json")?.is_none() && there("timestamp.json")?.is_none() {
            return Ok(PullPlan::default());
        }
        if !self.unreadable.is_empty() {
            return Err(RepositoryError::UnusableDrafts(self.unreadable.clone()));
        }
        self.read_all()?;
        let start = match self.common_root(metadata, root) {
            Err(forked @ RepositoryError::Forked { .. }) => return Err(forked),
            start => start,
        };
        // what is taken over are the very bytes that were judged
        let once = ReadOnce::of(metadata);
        self.refuse_taken_away(&once)?;
        let live = self.read_live(&once, start?)?;
        let above = self.own_snapshot_above(metadata, &live, work)?;
        let mut plan = self.plan_taking(metadata, &live, work)?;
        plan.warnings.extend(above);
        if targets == TargetFiles::Copy && !matches!(from, Destination::Own) {
            plan.targets = self.missing_targets(&live.checked)?;
        }
        plan.is_published = true;
        plan.after = Some(self.after(&plan)?);
        Ok(plan)
    }

    /// Follows what is live from a root that this copy has as well. Whether it has expired is told, not judged.
    fn read_live(&self, once: &ReadOnce<'_>, start: u64) -> Result<Live, RepositoryError> {
        let checked = check_metadata(once, METADATA, start, Expiry::Allow, self.now, None)?;
        refuse_errors(&checked.report)?;
        let read = |name: &String| -> Result<Option<(String, Vec<u8>)>, RepositoryError> {
            let bytes = once.read(name, MAX_METADATA).at(once.place(name))?;
            Ok(bytes.map(|bytes| (name.clone(), bytes)))
        };
        let read = |names: &[String]| -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
            let files: Vec<_> = names.par_iter().map(read).collect::<Result<_, _>>()?;
            Ok(files.into_iter().flatten().collect())
        };
        let (unjudged, judged) = (read(&checked.unjudged())?, read(&checked.files)?);
        if let Some(targets) = checked.targets.get("targets") {
            refuse_unfit_of_top_level(&RoleName::targets(), targets)?;
        }
        Ok(Live::of(checked, unjudged, judged))
    }

    fn plan_taking(&self, there: &dyn Storage, live: &Live, work: Work) -> Result<PullPlan, RepositoryError> {
        let staged = self.staged.folder();
        let history = History::read(&self.dir, staged, self.staged.layout())?;
        let differs = |(name, bytes): &(String, Vec<u8>)| -> Result<bool, RepositoryError> {
            Ok(staged.read(name, MAX_METADATA).at(staged.file(name))?.as_deref() != Some(bytes))
        };
        let verified = live.verified();
        let differing: Vec<bool> = verified.par_iter().map(differs).collect::<Result<_, _>>()?;
        let files = verified.iter().zip(differing);
        let mut metadata: Vec<(String, Vec<u8>)> =
            files.filter(|(_, differs)| *differs).map(|(file, _)| file.clone()).collect();
        let (root, written_root) = (live.version(&RoleName::root()), self.staged.root.written_version());
        if Some(root) < written_root {
            // a root that is written and not yet live goes on from live's
            metadata.retain(|(name, _)| name != "root.json");
        }
        let mut plan = PullPlan { warnings: live.checked.report.findings.clone(), ..PullPlan::default() };
        plan.warnings.extend(live.checked.faults.iter().map(|fault| fault.warning_of_live()));
        let is_root = |entry: &Entry| entry.role == RoleName::root();
        let knows = |entry: &Entry| history.vouches_for(entry);
        let is_known = live.entries().filter(|entry| !is_root(entry)).all(|entry| knows(&entry));
        if metadata.is_empty() {
            // all that is live is what is written here: after a merge only the history may say otherwise
            let is_known = is_known && live.entries().filter(is_root).all(|entry| knows(&entry));
            plan.history = (!is_known).then(|| self.history_after(live, history));
            return Ok(plan);
        }
        if is_known && !self.has_lost(live, &metadata)? && self.is_past(live, &metadata)? {
            // nothing but roots is taken: what is written here is newer. A run that was cut short has put the root under its
            // number, and not yet as the newest
            metadata.retain(|(name, _)| is_root_file(name));
            if metadata.is_empty() {
                plan.timestamp = self.timestamp_above(live);
                if plan.timestamp.is_some() {
                    plan.jumps = self.jumps_to(live)?;
                }
                return Ok(plan);
            }
        }
        plan.jumps = self.jumps_to(live)?;
        let is_only_roots = metadata.iter().all(|(name, _)| is_root_file(name));
        plan.roles = self.roles_of(live, &metadata);
        (plan.changes, plan.gone) = self.changes_by(live, &plan.roles)?;
        if is_only_roots {
            let in_the_way = self.root_draft_in_the_way();
            let mut after = history.clone();
            live.entries().filter(is_root).for_each(|entry| after.put(&entry));
            if !in_the_way.is_empty() {
                self.set_aside(&mut plan, &mut after, live, in_the_way, work)?;
            }
            plan.history = Some(after);
            plan.gone.clear();
            plan.metadata = metadata;
            return Ok(plan);
        }
        plan.jumps.extend(self.going_back(live));
        let in_the_way = self.in_the_way(there, live, &metadata)?;
        let mut after = self.history_after(live, history);
        if !in_the_way.is_empty() {
            let lost = self.roles_without_keys(live);
            let gives_way = in_the_way.is_only_of(&lost);
            if gives_way {
                plan.lost_keys = in_the_way.unpublished.iter().map(|(role, _)| role.clone()).collect();
            }
            let work = if gives_way { Work::SetAside } else { work };
            self.set_aside(&mut plan, &mut after, live, in_the_way, work)?;
        }
        plan.history = Some(after);
        plan.metadata = self.carried_along(live)?;
        plan.metadata.extend(metadata);
        Ok(plan)
    }

    /// Tells whether a file of the very snapshot that is live is lost here: it is taken again.
    fn has_lost(&self, live: &Live, differing: &[(String, Vec<u8>)]) -> Result<bool, RepositoryError> {
        let (staged, snapshot) = (self.staged.folder(), RoleName::snapshot());
        if live.version(&snapshot) != self.staged.listed_snapshot() {
            return Ok(false);
        }
        let is_lost =
            |(name, _): &(String, Vec<u8>)| Ok(staged.length(name).at(staged.file(name))?.is_none());
        differing
            .iter()
            .map(is_lost)
            .try_fold(false, |found, lost: Result<bool, RepositoryError>| Ok(found || lost?))
    }

    /// Returns the files of revoked and faulty roles that are not here: they are carried along for old clients, as `publish`
    /// does, and nobody vouches for them. None replaces a file of this copy.
    fn carried_along(&self, live: &Live) -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
        let staged = self.staged.folder();
        let mut carried = Vec::new();
        for file in live.unjudged() {
            if staged.length(&file.0).at(staged.file(&file.0))?.is_none() {
                carried.push(file.clone());
            }
        }
        Ok(carried)
    }

    /// Returns the history with what is taken over, and without files of this copy that give way to it.
    fn history_after(&self, live: &Live, mut history: History) -> History {
        history.forget_above(|role| match role.as_str() {
            // what is derived anew gives way
            "snapshot" => live.version(role),
            _ => u64::MAX,
        });
        live.entries().for_each(|entry| history.put(&entry));
        history
    }

    /// Finds out what the state will be once a plan's files are here, and what must happen to the drafts then.
    fn after(&self, plan: &PullPlan) -> Result<After, RepositoryError> {
        let files = plan.metadata.iter().cloned().collect();
        let staged = Staged::read_planned(&self.dir, &self.policy, self.now, &plan.given_up, files)?;
        let mut then = Self {
            dir: self.dir.clone(),
            policy: self.policy.clone(),
            now: self.now,
            staged,
            unreadable: BTreeMap::new(),
            implied: BTreeMap::new(),
            discarded: BTreeSet::new(),
            keyring: OnceLock::new(),
            lock: None,
        };
        if let Some(version) = plan.timestamp {
            let (role, pins) = (RoleName::timestamp(), Pins { version: true, ..Pins::default() });
            let expires = then.expiry(&role)?;
            let bumped = then.staged.known_role(&role)?.bump(expires, Some(version), pins);
            bumped.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
        let drafts = then.plan_edit()?;
        Ok(After { staged: then.staged, drafts })
    }

    /// Finds the target files that clients of live ask for and that are not here.
    ///
    /// # Errors
    /// [`InputError::TargetThere`] where something else is in the place of one, [`InputError::LeadsOutside`] where a link leads
    /// out of the folder of targets.
    fn missing_targets(&self, live: &Checked) -> Result<Vec<PulledTarget>, RepositoryError> {
        let folder = self.targets_folder();
        let mut asked = BTreeMap::new();
        let (top, delegated): (Vec<_>, Vec<_>) =
            live.targets.iter().partition(|(role, _)| role.is_top_level());
        let roles = delegated.into_iter().chain(top);
        for (role, (path, file)) in roles.flat_map(|(role, all)| all.targets.iter().map(move |it| (role, it)))
        {
            // whoever lists it is at fault; its name is none here
            let Ok(path) = TargetPath::parse(&path) else { continue };
            if Unfit::of(path.as_str(), &file).is_some() {
                continue;
            }
            for name in live.layout.target_names(&path, &file) {
                let target = PulledTarget { name: name.clone(), file: file.clone(), role: role.clone() };
                asked.insert(name, target);
            }
        }
        let asked: Vec<PulledTarget> = asked.into_values().collect();
        refuse_ways_outside(&folder, asked.iter().map(|target| target.name.as_str()))?;
        let is_there = |target: &PulledTarget| lies_there(&folder, &target.name, &target.file);
        let there: Vec<bool> = asked.par_iter().map(is_there).collect::<Result<_, _>>()?;
        Ok(asked.into_iter().zip(there).filter(|(_, is_there)| !is_there).map(|(target, _)| target).collect())
    }

    /// Carries a planned `pull` out: target files, work that is set aside, the history, then versioned files, roots and the
    /// timestamp last, and then the drafts. Drafts that give way go before metadata moves: beside newer metadata they would be
    /// refused as made on something older.
    /// Returns the target files that were not copied, by name, and why: they are not there, or a delegated role lists other
    /// bytes. `progress` is told the bytes of targets.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]; the same command again goes on. [`RepositoryError::Refused`] for a target file with other bytes
    /// than a top-level role lists; nothing has moved then.
    pub fn execute_pull(
        &mut self,
        plan: &PullPlan,
        from: &Destination,
        progress: &dyn Fn(u64),
    ) -> Result<BTreeMap<String, String>, RepositoryError> {
        self.sweep()?;
        let absent = self.copy_from(plan, from, progress)?;
        self.keep_aside(plan)?;
        // killed from here on, the same again finds nothing that was made upon what is written now
        let given_up = plan.given_up.iter().cloned().collect();
        self.staged.save(&DraftPlan { remove: given_up, ..DraftPlan::default() })?;
        if let Some(history) = &plan.history {
            history.save(&self.dir)?;
        }
        if !plan.metadata.is_empty() {
            let folder = self.staged.folder();
            put_metadata(folder, &plan.metadata, STAGED, &|bytes: &Vec<u8>| Ok(Cow::Borrowed(bytes)))?;
        }
        if let Some(After { staged, drafts }) = &plan.after {
            staged.save(drafts)?;
        }
        self.staged = Staged::read(&self.dir, &self.policy, self.now)?;
        Ok(absent)
    }

    fn copy_from(
        &self,
        plan: &PullPlan,
        from: &Destination,
        progress: &dyn Fn(u64),
    ) -> Result<BTreeMap<String, String>, RepositoryError> {
        let source: Box<dyn Source> = match from {
            Destination::Own => return Ok(BTreeMap::new()),
            Destination::Folder(folder) => Box::new(FolderSource::new(folder)),
            Destination::Bucket(place) => Box::new(place.clone()),
        };
        let folder = self.targets_folder();
        if plan.targets.is_empty() {
            return Ok(BTreeMap::new());
        }
        let made = MadeFolders::make(folder.path()).at(folder.path())?;
        let mut batch = folder.batch().at(folder.path())?;
        let (mut absent, mut filled) = (BTreeMap::new(), Vec::new());
        for target in &plan.targets {
            let PulledTarget { name, file, role } = target;
            match copy_target(&batch, &*source, name, file) {
                Ok(Some(path)) => filled.push((path, target)),
                Ok(None) => drop(absent.insert(name.clone(), "is not there".to_owned())),
                Err(RepositoryError::Refused { reason, .. }) if !role.is_top_level() => {
                    let words = format!("{reason}, as '{role}' lists it: it is not taken over");
                    absent.insert(name.clone(), words);
                }
                Err(error) => return Err(error),
            }
            progress(file.length);
        }
        // a person may have put a file there meanwhile
        let mut missing = Vec::new();
        for (path, PulledTarget { name, file, .. }) in filled {
            if !lies_there(&folder, name, file)? {
                missing.push((path, name));
            }
        }
        missing.into_iter().for_each(|(path, name)| batch.place(path, name));
        batch.commit().at(folder.path())?;
        made.keep();
        Ok(absent)
    }
}
