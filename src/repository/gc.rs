//! Garbage collection by reference counts: a snapshot holds a count on itself, on each targets metadata version that it
//! lists, and each of those on its target files. What no retained snapshot holds may go.
//!
//! The plan has no way to name a root version, and names only files whose names it understands; what it does not
//! understand stays and is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::archive::Archive;
use super::check::{Expiry, check_metadata};
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{
    Layout, MAX_METADATA, METADATA, STAGED, TARGETS, parse_hash_named, parse_plain, parse_versioned,
};
use super::place::{BucketPlace, Destination};
use super::publish::refuse_errors;
use crate::metadata::{Metadata, RoleName, Signed, Snapshot, TargetPath, Targets, Timestamp};
use crate::storage::{Folder, Storage};

/// What is retained beside the live and the staged snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The last so many snapshots, the current one included.
    pub keep: u64,
    /// Snapshots that were replaced no longer ago than this, so that a client in the middle of an update finishes.
    pub keep_within: TimeDelta,
}

/// A file that goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its name, relative to the repository.
    pub name: String,
    /// One sentence.
    pub why: String,
}

/// A planned collection.
#[derive(Debug, Clone, Default)]
pub struct GcPlan {
    /// The files that go, in the order in which they go: snapshots first, then the metadata they list, then target files,
    /// so that a crash leaves no reference to a missing file.
    pub delete: Vec<Doomed>,
    /// How many files stay.
    pub kept: usize,
    /// Files whose names are not understood; they stay.
    pub unknown: Vec<String>,
    /// The versions of the snapshots that are retained.
    pub retained: BTreeSet<u64>,
    pub(super) base: Base,
    held: Held,
}

/// What is collected.
#[derive(Debug, Clone)]
pub(super) enum Base {
    Folder(PathBuf),
    Bucket(BucketPlace),
}

impl Default for Base {
    fn default() -> Self {
        Self::Folder(PathBuf::new())
    }
}

impl Base {
    /// Returns what holds a file of the plan, and the file's name there.
    pub(super) fn part<'a>(&'a self, name: &'a str) -> (Box<dyn Storage + 'a>, &'a str) {
        match self {
            Self::Folder(base) => (Box::new(Folder::new(base)), name),
            Self::Bucket(place) => {
                let (bucket, rest) = place.part(name).unwrap_or((&place.metadata, name));
                (Box::new(bucket.clone()), rest)
            }
        }
    }
}

/// What the retained snapshots hold, and which of them holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    /// Targets metadata by role and version: the snapshots that list it.
    metadata: BTreeMap<RoleName, BTreeMap<u64, BTreeSet<u64>>>,
    /// Target files: the role versions that list them.
    targets: BTreeMap<String, BTreeSet<Holder>>,
}

/// What holds a target file: a version of a role, or its draft.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Version(RoleName, u64),
    Draft(RoleName),
}

impl GcPlan {
    /// Returns the names of the files that go.
    pub fn deleted(&self) -> Vec<&str> {
        self.delete.iter().map(|doomed| doomed.name.as_str()).collect()
    }

    /// Says who holds a file, named relative to the repository, and how many counts that makes.
    pub fn explain(&self, file: &str) -> (usize, Vec<String>) {
        let name = file.trim_start_matches("./");
        if let Some(target) = name.strip_prefix(TARGETS).and_then(|rest| rest.strip_prefix('/')) {
            let holders: Vec<String> = self
                .held
                .targets
                .get(target)
                .into_iter()
                .flatten()
                .map(|holder| self.words(holder))
                .collect();
            return (holders.len(), holders);
        }
        let bare = name.rsplit('/').next().unwrap_or(name);
        let Some((version, role)) = parse_versioned(bare) else { return (0, Vec::new()) };
        match role.as_str() {
            "root" => (1, vec!["every client that starts from an older root".to_owned()]),
            "snapshot" if self.retained.contains(&version) => {
                (1, vec![format!("snapshot v{version} is retained")])
            }
            _ => {
                let snapshots = self.held.metadata.get(&role).and_then(|versions| versions.get(&version));
                let holders: Vec<String> =
                    snapshots.into_iter().flatten().map(|snapshot| format!("snapshot v{snapshot}")).collect();
                (holders.len(), holders)
            }
        }
    }

    fn words(&self, holder: &Holder) -> String {
        match holder {
            Holder::Draft(role) => format!("the draft of {role}"),
            Holder::Version(role, version) => {
                let snapshots = self.held.metadata.get(role).and_then(|versions| versions.get(version));
                let snapshots: Vec<String> =
                    snapshots.into_iter().flatten().map(|version| format!("v{version}")).collect();
                match snapshots.is_empty() {
                    true => format!("{role} v{version}"),
                    false => format!("{role} v{version} (snapshot {})", snapshots.join(", ")),
                }
            }
        }
    }
}

impl Repository {
    /// Plans which files of the repository no retained snapshot refers to. Retained are the live and the staged snapshot,
    /// and in each folder what the retention says; drafts keep what they refer to.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] where retained metadata is missing or no client would accept it: nothing may go then.
    pub fn plan_gc(&self, retention: Retention) -> Result<GcPlan, RepositoryError> {
        let folders = [(self.live_folder(), METADATA), (self.staged.folder().clone(), STAGED)];
        let mut held = Held::default();
        for role in self.staged.graph().order {
            if let Some(draft) = self.staged.targets(&role).and_then(|state| state.draft.as_ref()) {
                held.hold_targets(draft.metadata.signed(), self.staged.layout(), &Holder::Draft(role));
            }
        }
        let [live, staged] = &folders;
        let parts: [(&dyn Storage, &str); 2] = [(&live.0, live.1), (&staged.0, staged.1)];
        let rules = (Place::Workshop, self.policy.first_root(), self.now);
        plan(Base::Folder(self.dir.clone()), &parts, &self.targets_folder(), held, retention, rules)
    }

    /// Plans the same for a place that was published to, with `metadata/` and `targets/` in it.
    ///
    /// # Errors
    /// As [`Repository::plan_gc`].
    pub fn plan_gc_of(&self, at: &Destination, retention: Retention) -> Result<GcPlan, RepositoryError> {
        let rules = |place| (place, self.policy.first_root(), self.now);
        match at {
            Destination::Own => self.plan_gc(retention),
            Destination::Folder(published) => {
                let (live, targets) = (published.join(METADATA), Folder::new(published.join(TARGETS)));
                let base = Base::Folder(published.clone());
                let parts: [(&dyn Storage, &str); 1] = [(&Folder::new(live), METADATA)];
                plan(base, &parts, &targets, Held::default(), retention, rules(Place::Published))
            }
            Destination::Bucket(published) => {
                let twins = vec![self.live_folder(), self.staged.folder().clone()];
                let place = published.with_twins(twins, self.targets_folder());
                place.metadata.survey().at(place.metadata.place(""))?;
                let base = Base::Bucket(place.clone());
                let parts: [(&dyn Storage, &str); 1] = [(&place.metadata, METADATA)];
                plan(base, &parts, &place.targets, Held::default(), retention, rules(Place::Bucket))
            }
        }
    }

    /// Carries a planned collection out. With an archive, each file is copied there and made durable before any goes.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] at the first file that cannot be kept or removed; [`RepositoryError::Overtaken`] where
    /// somebody has published to a bucket since this was planned.
    pub fn execute_gc(&self, plan: &GcPlan, archive: Option<&Archive>) -> Result<(), RepositoryError> {
        self.sweep()?;
        if let Some(archive) = archive {
            archive.keep(plan)?;
        }
        let place = match &plan.base {
            Base::Folder(base) => return Folder::new(base).remove(plan.deleted()).at(base),
            Base::Bucket(place) => place,
        };
        let object = place.metadata.place("timestamp.json");
        if !place.metadata.is_as_seen("timestamp.json").at(&object)? {
            return Err(RepositoryError::Overtaken { object: object.display().to_string() });
        }
        // a store removes many at once and in no order: so one layer after the other
        let names = plan.deleted();
        for layer in names.chunk_by(|one, other| layer(one) == layer(other)) {
            for bucket in [&place.metadata, &place.targets] {
                let inside = |name: &&str| {
                    place
                        .part(name)
                        .filter(|(part, _)| std::ptr::eq(*part, bucket))
                        .map(|(_, rest)| rest.to_owned())
                };
                let part: Vec<String> = layer.iter().filter_map(inside).collect();
                if !part.is_empty() {
                    let part: Vec<&str> = part.iter().map(String::as_str).collect();
                    bucket.remove(&part).at(bucket.place(""))?;
                }
            }
        }
        Ok(())
    }
}

/// Tells snapshots from other metadata, and that from targets.
fn layer(name: &str) -> (bool, bool) {
    let metadata = name.strip_prefix(METADATA).and_then(|rest| rest.strip_prefix('/'));
    let snapshot = metadata.and_then(parse_versioned).is_some_and(|(_, role)| role.as_str() == "snapshot");
    (metadata.is_some(), snapshot)
}

fn plan(
    base: Base,
    folders: &[(&dyn Storage, &str)],
    targets: &dyn Storage,
    mut held: Held,
    retention: Retention,
    (place, first_root, now): (Place, u64, DateTime<Utc>),
) -> Result<GcPlan, RepositoryError> {
    let mut plan = GcPlan { base, ..GcPlan::default() };
    let mut layout = None;
    for &(folder, prefix) in folders {
        if folder.length("root.json").at(folder.place("root.json"))?.is_none() {
            if folder.names().at(folder.place(""))?.is_empty() {
                continue;
            }
            // what this folder's clients need is not known without it
            return Err(missing(prefix, "root.json"));
        }
        // what is current must be whole: on a broken repository counts mean nothing
        let checked = check_metadata(folder, prefix, first_root, Expiry::Allow, now)?;
        refuse_errors(&checked.report)?;
        layout = Some(checked.layout);
        plan.retained.extend(held.hold_snapshots(folder, prefix, checked.layout, retention, now)?);
    }
    let Some(layout) = layout else { return Ok(plan) };
    let (mut snapshots, mut metadata) = (Vec::new(), Vec::new());
    for &(folder, prefix) in folders {
        for name in folder.names().at(folder.place(""))? {
            let full = format!("{prefix}/{name}");
            match fate(folder, layout, &name, &plan.retained, &held)? {
                Fate::Stays => plan.kept += 1,
                Fate::Unknown => plan.unknown.push(full),
                Fate::Snapshot(why) => snapshots.push(Doomed { name: full, why }),
                Fate::Metadata(why) => metadata.push(Doomed { name: full, why }),
            }
        }
    }
    let mut files = TargetFiles {
        layout,
        place,
        held: &held,
        oldest: now.checked_sub_signed(retention.keep_within).unwrap_or(DateTime::<Utc>::MIN_UTC),
        doomed: Vec::new(),
        kept: 0,
    };
    let visited = targets.walk(&mut |path| {
        match files.may_go(targets, path)? {
            true => {
                let why = "no retained metadata lists it".to_owned();
                files.doomed.push(Doomed { name: format!("{TARGETS}/{path}"), why });
            }
            false => files.kept += 1,
        }
        Ok(())
    });
    visited.at(targets.place(""))?;
    plan.kept += files.kept;
    plan.delete = snapshots.into_iter().chain(metadata).chain(files.doomed).collect();
    plan.held = held;
    Ok(plan)
}

/// What becomes of a metadata file.
enum Fate {
    Stays,
    Unknown,
    Snapshot(String),
    Metadata(String),
}

fn fate(
    folder: &dyn Storage,
    layout: Layout,
    name: &str,
    retained: &BTreeSet<u64>,
    held: &Held,
) -> Result<Fate, RepositoryError> {
    if matches!(name, "root.json" | "timestamp.json") {
        return Ok(Fate::Stays);
    }
    if layout == Layout::Plain {
        return plain_fate(folder, name, held);
    }
    let Some((version, role)) = parse_versioned(name) else { return Ok(Fate::Unknown) };
    // what is newer than all that is listed is what a killed `write` or `publish` has put: the next run goes on from it,
    // and its version must not be taken for a free one
    let newest = match role.as_str() {
        "snapshot" => retained.last().copied(),
        _ => held.metadata.get(&role).and_then(|versions| versions.keys().next_back()).copied(),
    };
    if newest.is_none_or(|newest| version > newest) && !matches!(role.as_str(), "root" | "timestamp") {
        return Ok(Fate::Stays);
    }
    Ok(match role.as_str() {
        "root" => Fate::Stays,
        "timestamp" => Fate::Unknown,
        "snapshot" if retained.contains(&version) => Fate::Stays,
        "snapshot" => Fate::Snapshot(format!("snapshot v{version} is not retained")),
        _ if held.metadata.get(&role).is_some_and(|versions| versions.contains_key(&version)) => Fate::Stays,
        _ => Fate::Metadata(format!("no retained snapshot lists {role} v{version}")),
    })
}

/// In the plain layout only the files of roles that the snapshot no longer lists are left over.
fn plain_fate(folder: &dyn Storage, name: &str, held: &Held) -> Result<Fate, RepositoryError> {
    if parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root") {
        return Ok(Fate::Stays);
    }
    let Some(role) = parse_plain(name) else { return Ok(Fate::Unknown) };
    if role.as_str() == "snapshot" || held.metadata.contains_key(&role) {
        return Ok(Fate::Stays);
    }
    let bytes = folder.read(name, MAX_METADATA).at(folder.place(name))?;
    Ok(match bytes.map(|bytes| Metadata::<Targets>::from_bytes(&bytes)) {
        Some(Ok(_)) => Fate::Metadata(format!("the snapshot does not list {role}")),
        _ => Fate::Unknown,
    })
}

impl Held {
    /// Holds what the retained snapshots of a metadata folder refer to. Returns the versions of those snapshots.
    fn hold_snapshots(
        &mut self,
        folder: &dyn Storage,
        prefix: &str,
        layout: Layout,
        retention: Retention,
        now: DateTime<Utc>,
    ) -> Result<Vec<u64>, RepositoryError> {
        let timestamp: Timestamp = required(folder, prefix, "timestamp.json")?;
        let newest = timestamp.snapshot().map_or(0, |listed| listed.version);
        let versions = match layout {
            Layout::Plain => vec![newest],
            Layout::Consistent => retained_versions(folder, newest, retention, now)?,
        };
        for version in &versions {
            let name = layout.metadata_name(&RoleName::snapshot(), *version);
            let snapshot: Snapshot = required(folder, prefix, &name)?;
            let mut living = None;
            for (path, listed) in &snapshot.meta {
                let Some(role) = RoleName::from_metapath(path) else { continue };
                let holders =
                    self.metadata.entry(role.clone()).or_default().entry(listed.version).or_default();
                let known = !holders.is_empty();
                holders.insert(*version);
                if known {
                    continue;
                }
                let name = layout.metadata_name(&role, listed.version);
                let lost = match parsed::<Targets>(folder, prefix, &name) {
                    Ok(Some(targets)) => {
                        self.hold_targets(&targets, layout, &Holder::Version(role, listed.version));
                        continue;
                    }
                    Ok(None) => missing(prefix, &name),
                    Err(unreadable @ RepositoryError::Refused { .. }) => unreadable,
                    Err(error) => return Err(error),
                };
                // the file of a revoked role may be gone or anything at all; one that clients reach may not
                if living.is_none() {
                    living = Some(living_roles(folder, prefix, layout, &snapshot)?);
                }
                if living.as_ref().is_some_and(|living| living.contains(&role)) {
                    return Err(lost);
                }
            }
        }
        Ok(versions)
    }

    fn hold_targets(&mut self, targets: &Targets, layout: Layout, holder: &Holder) {
        for (path, file) in &targets.targets {
            let Ok(path) = TargetPath::parse(&path) else { continue };
            // a file may be called like a copy and be a target itself
            let named = (layout == Layout::Consistent).then(|| path.as_str().to_owned());
            for name in layout.target_names(&path, &file).into_iter().chain(named) {
                self.targets.entry(name).or_default().insert(holder.clone());
            }
        }
    }
}

/// Returns the versions of the snapshots that are retained: the current one, the last of them, and the young ones.
fn retained_versions(
    folder: &dyn Storage,
    newest: u64,
    retention: Retention,
    now: DateTime<Utc>,
) -> Result<Vec<u64>, RepositoryError> {
    let names = folder.names().at(folder.place(""))?;
    let is_snapshot = |(version, role): &(u64, RoleName)| role.as_str() == "snapshot" && *version <= newest;
    let mut versions: Vec<u64> = names
        .iter()
        .filter_map(|name| parse_versioned(name))
        .filter(is_snapshot)
        .map(|(version, _)| version)
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    if versions.first() != Some(&newest) {
        versions.insert(0, newest);
    }
    let keep = usize::try_from(retention.keep).unwrap_or(usize::MAX).max(1);
    let mut retained = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let young = match index.checked_sub(1).and_then(|newer| versions.get(newer)) {
            None => true,
            // its age counts from when the next one replaced it
            Some(next) => {
                let until = replaced_at(folder, *next)?.checked_add_signed(retention.keep_within);
                until.is_none_or(|until| until >= now)
            }
        };
        if index < keep || young {
            retained.push(*version);
        }
    }
    Ok(retained)
}

fn replaced_at(folder: &dyn Storage, next: u64) -> Result<DateTime<Utc>, RepositoryError> {
    let name = Layout::Consistent.metadata_name(&RoleName::snapshot(), next);
    let modified = folder.modified(&name).at(folder.place(&name))?;
    // one that is not there is refused when it is read
    Ok(modified.map_or(DateTime::<Utc>::MAX_UTC, DateTime::from))
}

/// Returns the roles that clients of a snapshot reach by delegation.
fn living_roles(
    folder: &dyn Storage,
    prefix: &str,
    layout: Layout,
    snapshot: &Snapshot,
) -> Result<BTreeSet<RoleName>, RepositoryError> {
    let mut living = BTreeSet::new();
    let mut pending = vec![RoleName::targets()];
    while let Some(role) = pending.pop() {
        let Some(listed) = snapshot.role(&role) else { continue };
        if !living.insert(role.clone()) {
            continue;
        }
        let targets: Targets = required(folder, prefix, &layout.metadata_name(&role, listed.version))?;
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

/// Whose files a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The maintainer's own among them.
    Workshop,
    /// Only those that `publish` has put.
    Published,
    /// The same, where no lock keeps a publisher away.
    Bucket,
}

/// The walk over the target files.
struct TargetFiles<'a> {
    layout: Layout,
    place: Place,
    held: &'a Held,
    /// Published files that are younger may belong to a publication under way: those of the plain layout, and all in a
    /// bucket.
    oldest: DateTime<Utc>,
    doomed: Vec<Doomed>,
    kept: usize,
}

impl TargetFiles<'_> {
    /// With consistent snapshots only hash-named copies go: a file of another name is somebody's work.
    fn may_go(&self, targets: &dyn Storage, path: &str) -> io::Result<bool> {
        if self.held.targets.contains_key(path) {
            return Ok(false);
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let named = match self.layout {
            Layout::Consistent => parse_hash_named(name).is_some(),
            // plain names tell nothing: where people work, a file that nothing lists may be about to be added
            Layout::Plain => self.place != Place::Workshop && !name.starts_with('.'),
        };
        if !named || (self.layout == Layout::Consistent && self.place != Place::Bucket) {
            return Ok(named);
        }
        let modified = targets.modified(path)?.map(DateTime::<Utc>::from);
        Ok(modified.is_some_and(|modified| modified < self.oldest))
    }
}

fn parsed<T: Signed>(folder: &dyn Storage, prefix: &str, name: &str) -> Result<Option<T>, RepositoryError> {
    let Some(bytes) = folder.read(name, MAX_METADATA).at(folder.place(name))? else { return Ok(None) };
    let refused = |error| RepositoryError::Refused {
        file: format!("{prefix}/{name}"),
        reason: Refusal::Unreadable(error),
    };
    Ok(Some(Metadata::from_bytes(&bytes).map_err(refused)?.into_signed()))
}

fn required<T: Signed>(folder: &dyn Storage, prefix: &str, name: &str) -> Result<T, RepositoryError> {
    parsed(folder, prefix, name)?.ok_or_else(|| missing(prefix, name))
}

fn missing(prefix: &str, name: &str) -> RepositoryError {
    RepositoryError::Refused { file: format!("{prefix}/{name}"), reason: Refusal::Missing }
}
