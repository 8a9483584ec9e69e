//! Garbage collection by reference counts: a snapshot holds a count on itself, on each targets metadata version that it
//! lists, and each of those on its target files. What no retained snapshot holds may go, if it is this repository's own.
//!
//! The plan has no way to name a root version. It names only role files that this repository wrote or took over, and only
//! target files that those list. Everything else stays and is reported.

mod counts;
mod fate;
mod files;
mod gave_way;
mod plan;
mod records;
mod snapshots;
mod trust;
mod undecided;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::archive::Archive;
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::history::History;
use super::layout::{DRAFTS, Layout, MAX_METADATA, METADATA, STAGED, TARGETS, parse_versioned};
use super::locks::{CollectionLocks, LockedPlace, ToCollect};
use super::place::Destination;
use super::policy::Policy;
use super::staged::draft_name;
use crate::metadata::{Metadata, RoleName, Targets};
use crate::storage::{Folder, ReadFiles, Storage, regular_or_none};
use counts::{Counts, Holder};
use fate::{Fate, fate};
use files::{Place, TargetFiles};
use gave_way::{AheadFile, gave_way};
pub(super) use plan::Base;
pub use plan::{Collection, Deletions, Explanation, GcPlan, Left, Named};
use records::{Dropped, Records};
use snapshots::{Held, Part, Purpose, Side, hold_snapshots};
use undecided::Undecided;

/// What is retained beside the live and the staged snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// This many snapshots, the newest ones.
    pub keep: u64,
    /// Snapshots that were replaced no longer ago than this, so that a client in the middle of an update finishes.
    pub keep_within: TimeDelta,
}

/// Who else keeps files in a folder of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Nobody.
    Alone,
    /// Other repositories.
    Others,
    /// It lies apart from the metadata, so that others may, and the policy says nothing about them.
    Unsaid,
}

impl Sharing {
    fn of(policy: &Policy, at: &Destination, repository: &Path) -> Self {
        match policy.shared_targets() {
            Some(true) => Self::Others,
            Some(false) => Self::Alone,
            None if at.keeps_targets_apart(repository) => Self::Unsaid,
            None => Self::Alone,
        }
    }
}

impl LockedPlace {
    /// Reads the repository and plans what [`Repository::plan_gc_of`] does for the place.
    ///
    /// # Errors
    /// As [`Repository::open_locked`] and [`Repository::plan_gc_of`].
    pub fn plan_gc(self, retention: Retention) -> Result<(Repository, GcPlan), RepositoryError> {
        let ToCollect { repository, at, locks } = self.read_to_collect()?;
        let plan = repository.count(&at, retention, None)?.plan(locks);
        Ok((repository, plan))
    }

    /// Reads the repository and tells what [`Repository::explain_gc`] does of the place.
    ///
    /// # Errors
    /// As [`LockedPlace::plan_gc`].
    pub fn explain_gc(self, retention: Retention, file: &str) -> Result<Explanation, RepositoryError> {
        let ToCollect { repository, at, locks: _locks } = self.read_to_collect()?;
        repository.explain_gc(&at, retention, file)
    }
}

impl Repository {
    /// Plans which files of the repository no retained snapshot refers to. Retained are the live and the staged snapshot,
    /// and in each folder what the retention says; drafts keep what they refer to.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] where retained metadata is missing or no client would accept it: nothing may go then. What
    /// is wrong with delegated roles in what is current is a warning, and nothing goes that they may list.
    pub fn plan_gc(&self, retention: Retention, wait: Duration) -> Result<GcPlan, RepositoryError> {
        self.plan_gc_of(&Destination::Own, retention, wait)
    }

    /// Plans the same for a place that was published to, with `metadata/` and `targets/` in it. What is written or drafted
    /// here keeps its target files there as well. The plan holds the locks of the place, so that nothing of it changes before
    /// the plan is carried out. Waits up to `wait` for each, but does not wait for a lock that sorts before one it holds.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`], [`InputError::NoFile`] where nothing was published there;
    /// As [`Repository::plan_gc`]; [`RepositoryError::Refused`] where another repository is published or worked on there.
    pub fn plan_gc_of(
        &self,
        at: &Destination,
        retention: Retention,
        wait: Duration,
    ) -> Result<GcPlan, RepositoryError> {
        let locks = self.lock_collection(at, wait)?;
        Ok(self.count(at, retention, None)?.plan(locks))
    }

    /// Tells who holds a file, named relative to the repository, and whether it would go; also of one that is not there, where
    /// something holds its name. Takes no lock: while somebody writes
    /// there the answer may be that of no state at all.
    ///
    /// # Errors
    /// As [`Repository::plan_gc`]; [`InputError::NoFile`] for a name that nothing has and nothing holds.
    pub fn explain_gc(
        &self,
        at: &Destination,
        retention: Retention,
        file: &str,
    ) -> Result<Explanation, RepositoryError> {
        let name = file.trim_start_matches("./");
        let target = name.strip_prefix(TARGETS).and_then(|rest| rest.strip_prefix('/'));
        self.count(at, retention, target)?.explain(name)
    }

    fn count(
        &self,
        at: &Destination,
        retention: Retention,
        asked: Option<&str>,
    ) -> Result<Counted, RepositoryError> {
        let mut counts = Counts::asking(asked);
        self.hold_drafts(&mut counts)?;
        let normal = match at {
            Destination::Folder(folder) => Destination::folder(&self.dir, folder)?,
            other => other.clone(),
        };
        let sharing = Sharing::of(&self.policy, at, &self.dir);
        let history = History::with_older_files(&self.dir, self.staged.folder(), self.staged.layout())?;
        let rules = |place| Rules {
            sharing,
            place,
            retention,
            first_root: self.policy.first_root(),
            now: self.now,
            history: &history,
        };
        let collect = |folder, prefix| Part { folder, prefix, purpose: Purpose::Collect, retention };
        let (live, staged) = (self.live_folder(), self.staged.folder());
        match &normal {
            Destination::Own => {
                let parts = vec![collect(&live as &dyn Storage, METADATA), collect(staged, STAGED)];
                let base = Base::Folder(self.dir.clone());
                count(base, parts, &self.targets_folder(), counts, &rules(Place::Workshop))
            }
            Destination::Folder(published) => {
                let part = |name: &str| Folder::new(published.join(name));
                let (metadata, targets, neighbour) = (part(METADATA), part(TARGETS), part(STAGED));
                self.refuse_others(&metadata)?;
                // another copy of this repository may work in the folder itself
                self.refuse_other_workshop(&neighbour)?;
                hold_drafts_of(&neighbour, &mut counts)?;
                let is_own_targets = targets.is_same(&self.targets_folder());
                let is_own = is_own_targets || metadata.is_same(&live);
                let place = if is_own_targets { Place::Workshop } else { Place::Published };
                let retention = if is_own { retention } else { ONLY_CURRENT };
                let hold = |folder, prefix| Part { folder, prefix, purpose: Purpose::Hold, retention };
                let mut parts = vec![collect(&metadata as &dyn Storage, METADATA)];
                parts.extend(is_own.then(|| hold(&live as &dyn Storage, METADATA)));
                parts.extend([hold(staged, STAGED), hold(&neighbour, STAGED)]);
                count(Base::Folder(published.clone()), parts, &targets, counts, &rules(place))
            }
            Destination::Bucket(published) => {
                let twins = vec![self.live_folder(), self.staged.folder().clone()];
                let place = published.with_twins(twins, self.targets_folder());
                for part in [&place.metadata, &place.targets] {
                    part.survey().at(part.place(""))?;
                }
                self.refuse_others(&place.metadata)?;
                let hold =
                    Part { folder: staged, prefix: STAGED, purpose: Purpose::Hold, retention: ONLY_CURRENT };
                let parts = vec![collect(&place.metadata, METADATA), hold];
                count(Base::Bucket(place.clone()), parts, &place.targets, counts, &rules(Place::Bucket))
            }
        }
    }

    /// Counts what drafts list, those among it that cannot be used: a person may go on with what they list.
    fn hold_drafts(&self, counts: &mut Counts) -> Result<(), RepositoryError> {
        for role in self.staged.graph().order {
            let drafted = self.staged.targets(&role).and_then(|state| state.draft.as_ref());
            if let Some(draft) = drafted {
                let listing = counts.listing(draft.metadata.signed(), self.staged.layout());
                counts.hold(Holder::Draft(role), listing);
            }
        }
        let drafts = self.staged.drafts_folder();
        for (role, reason) in self.unreadable.iter().filter(|(role, _)| role.lists_targets()) {
            let name = draft_name(role);
            let bytes = regular_or_none(drafts.read(&name, MAX_METADATA)).at(drafts.file(&name))?;
            let Some(draft) = bytes.and_then(|bytes| Metadata::<Targets>::from_file(bytes).ok()) else {
                // nobody knows what it lists, so that nothing is known to be free
                let file = format!("{STAGED}/{DRAFTS}/{name}");
                return Err(RepositoryError::Refused {
                    file,
                    reason: Refusal::UnusableDraft(reason.clone()),
                });
            };
            let listing = counts.listing(draft.signed(), self.staged.layout());
            counts.hold(Holder::Draft(role.clone()), listing);
        }
        Ok(())
    }

    /// Carries a planned collection out, under the locks that the plan holds. With an archive, each file is copied there and made durable before any goes.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] at the first file that cannot be kept or removed; [`RepositoryError::Overtaken`] where
    /// somebody has published to a bucket since this was planned.
    pub fn execute_gc(&self, plan: &GcPlan, archive: Option<&Archive>) -> Result<(), RepositoryError> {
        self.sweep()?;
        if let Some(archive) = archive {
            archive.keep(plan)?;
        }
        if let Base::Bucket(place) = &plan.base {
            let object = place.metadata.place("timestamp.json");
            if !place.metadata.is_as_seen("timestamp.json").at(&object)? {
                return Err(RepositoryError::Overtaken { object: object.display().to_string() });
            }
        }
        // a store removes many at once and in no order: so one layer after the other
        plan.delete.layers().try_for_each(|layer| plan.base.remove(&layer))
    }
}

/// Why nothing can be said of a file.
const NOT_COLLECTED: &str = "no such file in what is collected";

/// Of what is written here only the current state keeps files elsewhere.
const ONLY_CURRENT: Retention = Retention { keep: 1, keep_within: TimeDelta::zero() };

/// Counts what the drafts of another copy of the repository list.
fn hold_drafts_of(staged: &Folder, counts: &mut Counts) -> Result<(), RepositoryError> {
    let drafts = Folder::new(staged.file(DRAFTS));
    for name in drafts.names().at(drafts.path())? {
        let bytes = drafts.read(&name, MAX_METADATA).at(drafts.file(&name))?;
        // drafts of other roles list nothing
        let draft = bytes.and_then(|bytes| Metadata::<Targets>::from_file(bytes).ok());
        for layout in [Layout::Consistent, Layout::Plain] {
            if let Some(draft) = &draft {
                let listing = counts.listing(draft.signed(), layout);
                counts.hold_apart(listing);
            }
        }
    }
    Ok(())
}

/// What a collection goes by.
#[derive(Debug)]
struct Rules<'a> {
    sharing: Sharing,
    place: Place,
    retention: Retention,
    /// The version of the first root that is there.
    first_root: u64,
    now: DateTime<Utc>,
    /// What was written here or taken over.
    history: &'a History,
}

/// What goes, and what that was made from.
struct Counted {
    plan: Collection,
    counts: Counts,
    held: Held,
}

fn count(
    base: Base,
    parts: Vec<Part<'_>>,
    targets: &dyn Storage,
    mut counts: Counts,
    rules: &Rules<'_>,
) -> Result<Counted, RepositoryError> {
    let mut plan = Collection::new(base);
    let mut sides = Vec::new();
    for part in parts {
        sides.extend(Side::read(part, rules.first_root, rules.now, &mut counts)?);
    }
    let collected = || sides.iter().filter(|side| side.purpose == Purpose::Collect);
    let Some(layout) = collected().next_back().map(|side| side.layout) else {
        return Ok(Counted { plan, counts, held: Held::default() });
    };
    let mut held = hold_snapshots(&sides, &mut counts)?;
    let undecided = Undecided::of(&sides, &mut held);
    plan.warnings = undecided::warnings(&sides);
    plan.retained = collected().flat_map(|side| &side.retained).copied().collect();
    plan.delete = Deletions::new(layout);
    let retained: Vec<u64> = plan.retained.iter().rev().copied().collect();
    let (mut snapshots, mut roles) = (Vec::new(), Vec::new());
    let mut recovered: BTreeSet<String> = BTreeSet::new();
    for side in collected() {
        let ahead = ahead_of(side, &retained, &counts);
        let gave_way = gave_way(side, &ahead, &sides)?;
        recovered.extend(gave_way.iter().map(|name| format!("{}/{name}", side.prefix)));
        for name in &side.names {
            let dropped = |role, version| Dropped { side, name, role, version };
            let lost = parse_versioned(name).filter(|_| gave_way.contains(name.as_str()));
            let fate = match lost {
                Some((version, role)) if role.lists_targets() => Fate::Role(role, Some(version)),
                Some((version, _)) => Fate::Snapshot(version),
                None => fate(side, name, &retained, &counts),
            };
            match fate {
                Fate::Stays if held.is_unreadable(side, name) => {
                    plan.unreadable.push(format!("{}/{name}", side.prefix));
                }
                Fate::Stays => plan.kept += 1,
                Fate::Ahead => {
                    plan.kept += 1;
                    if let Some(listing) = side.listing(name, &counts)? {
                        counts.hold_apart(listing);
                    }
                }
                Fate::Unknown => plan.unknown.push(format!("{}/{name}", side.prefix)),
                Fate::Snapshot(version) => snapshots.push(dropped(RoleName::snapshot(), Some(version))),
                Fate::Role(role, version) => roles.push(dropped(role, version)),
            }
        }
    }
    let mut records = Records::read(snapshots, roles, &sides, &counts, rules.history)?;
    let strangers = std::mem::take(&mut records.strangers).into_iter();
    (plan.recovered, plan.strangers) = strangers.partition(|name| recovered.contains(name));
    // killed after any of these, the next run still reads whose the rest is
    records.snapshots.iter().for_each(|file| plan.delete.push(file.side.prefix, file.name));
    plan.delete.end_layer();
    let oldest = rules.now.checked_sub_signed(rules.retention.keep_within);
    let files = TargetFiles {
        folder: targets,
        layout,
        place: rules.place,
        sharing: rules.sharing,
        counts: &counts,
        listed: &records.listed,
        undecided: &undecided,
        oldest: oldest.unwrap_or(DateTime::<Utc>::MIN_UTC),
    };
    let later = files.plan(&mut plan.delete, &mut plan.left, &mut plan.kept).at(targets.place(""))?;
    plan.delete.end_layer();
    plan.kept += records.keep_records_of(&later)?;
    for round in records.rounds.iter().rev() {
        round.iter().for_each(|file| plan.delete.push(file.side.prefix, file.name));
        plan.delete.end_layer();
    }
    Ok(Counted { plan, counts, held })
}

/// Returns the files of a folder whose versions are above all that is listed, or whose roles nobody lists.
fn ahead_of<'a>(side: &'a Side<'_>, retained: &[u64], counts: &Counts) -> Vec<AheadFile<'a>> {
    let ahead = |name: &'a String| match fate(side, name, retained, counts) {
        Fate::Ahead => parse_versioned(name).map(|(version, role)| AheadFile { name, role, version }),
        _ => None,
    };
    side.names.iter().filter_map(ahead).collect()
}

impl Counted {
    /// Returns the plan, which holds the locks that it was made under.
    fn plan(self, locks: CollectionLocks) -> GcPlan {
        GcPlan { collection: self.plan, _locks: locks }
    }

    /// Says who holds a file, named relative to the repository.
    fn explain(&self, name: &str) -> Result<Explanation, RepositoryError> {
        let doomed = self.plan.deleted().any(|doomed| doomed == name);
        let would_go = doomed.then(|| self.plan.delete.why(name));
        let holders = self.holders(name);
        let is_there = self.plan.base.has(name)?;
        if holders.is_empty() && !is_there {
            return Err(InputError::NoFile { path: name.into(), reason: NOT_COLLECTED }.into());
        }
        Ok(Explanation { holders, would_go, is_there })
    }

    fn holders(&self, name: &str) -> Vec<String> {
        if name.strip_prefix(TARGETS).is_some_and(|rest| rest.starts_with('/')) {
            return self.counts.holders().map(|holder| self.words(holder)).collect();
        }
        let bare = name.rsplit('/').next().unwrap_or(name);
        let Some((version, role)) = parse_versioned(bare) else { return Vec::new() };
        match role.as_str() {
            "root" => vec!["every client that starts from an older root".to_owned()],
            "snapshot" if self.held.versions.contains(&version) => {
                vec![format!("snapshot v{version} is retained")]
            }
            role => self.snapshots(role, version).map(|snapshot| format!("snapshot v{snapshot}")).collect(),
        }
    }

    fn words(&self, holder: &Holder) -> String {
        match holder {
            Holder::Draft(role) => format!("the draft of {role}"),
            Holder::Version(role, version) => {
                let snapshots = self.snapshots(role.as_str(), *version);
                let snapshots: Vec<String> = snapshots.map(|version| format!("v{version}")).collect();
                match snapshots.is_empty() {
                    true => format!("{role} v{version}"),
                    false => format!("{role} v{version} (snapshot {})", snapshots.join(", ")),
                }
            }
        }
    }

    /// Returns the versions of the snapshots that list a version of a role, the oldest first.
    fn snapshots(&self, role: &str, version: u64) -> impl Iterator<Item = u64> {
        let places = self.counts.snapshots(role, version);
        places.into_iter().rev().filter_map(|place| self.held.versions.get(place).copied())
    }
}
