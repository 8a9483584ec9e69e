//! Garbage collection by reference counts: a snapshot holds a count on itself, on each targets metadata version that it
//! lists, and each of those on its target files. What no retained snapshot holds may go.
//!
//! The plan has no way to name a root version, and names only files whose names it understands; what it does not
//! understand stays and is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::check::{Expiry, check_metadata};
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::layout::{
    Layout, MAX_METADATA, METADATA, STAGED, TARGETS, parse_hash_named, parse_plain, parse_versioned,
};
use super::publish::refuse_errors;
use crate::metadata::{Metadata, RoleName, Signed, Snapshot, TargetPath, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles};

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    base: PathBuf,
    held: Held,
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
            let state = self.staged.content(&role)?;
            if let Some(draft) = state.as_ref().and_then(|state| state.draft.as_ref()) {
                held.hold_targets(draft.metadata.signed(), self.staged.layout(), &Holder::Draft(role));
            }
        }
        plan(&self.dir, &folders, held, retention, (Place::Workshop, self.policy.first_root(), self.now))
    }

    /// Plans the same for a folder that was published to, with `metadata/` and `targets/` in it.
    ///
    /// # Errors
    /// As [`Repository::plan_gc`].
    pub fn plan_gc_of(&self, published: &Path, retention: Retention) -> Result<GcPlan, RepositoryError> {
        let folders = [(Folder::new(published.join(METADATA)), METADATA)];
        let rules = (Place::Published, self.policy.first_root(), self.now);
        plan(published, &folders, Held::default(), retention, rules)
    }

    /// Carries a planned collection out. With an archive, each file is copied there and made durable before any goes.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] at the first file that cannot be kept or removed.
    pub fn execute_gc(&self, plan: &GcPlan, archive: Option<&Path>) -> Result<(), RepositoryError> {
        self.sweep()?;
        if let Some(archive) = archive {
            refuse_archive(&plan.base, archive)?;
            archive_files(plan, archive)?;
        }
        Folder::new(&plan.base).remove(plan.deleted()).at(&plan.base)
    }
}

/// Refuses an archive where a collection would find its own copies, or take the files themselves for them.
fn refuse_archive(base: &Path, archive: &Path) -> Result<(), RepositoryError> {
    fs::create_dir_all(archive).at(archive)?;
    let inside = fs::canonicalize(archive).at(archive)?;
    let base = fs::canonicalize(base).at(base)?;
    let parts = [METADATA, STAGED, TARGETS]
        .map(|part| fs::canonicalize(base.join(part)).unwrap_or_else(|_| base.join(part)));
    if inside == base || parts.iter().any(|part| inside.starts_with(part)) {
        return Err(InputError::ArchiveInside { archive: archive.to_owned() }.into());
    }
    Ok(())
}

/// Copies the files of a plan to another folder. A file that is there already stays there only with the same bytes.
fn archive_files(plan: &GcPlan, archive: &Path) -> Result<(), RepositoryError> {
    fs::create_dir_all(archive).at(archive)?;
    let folder = Folder::new(archive);
    let mut batch = folder.batch().at(archive)?;
    for name in plan.deleted() {
        let from = plan.base.join(name);
        let place = folder.file(name);
        if place.exists() {
            if fs::read(&place).at(&place)? == fs::read(&from).at(&from)? {
                continue;
            }
            return Err(RepositoryError::Refused {
                file: place.display().to_string(),
                reason: Refusal::OtherBytes,
            });
        }
        let (path, mut to) = batch.create().at(archive)?;
        let mut reader = fs::File::open(&from).at(&from)?;
        std::io::copy(&mut reader, &mut to).at(&path)?;
        batch.place(path, name);
    }
    batch.commit().at(archive)
}

fn plan(
    base: &Path,
    folders: &[(Folder, &str)],
    mut held: Held,
    retention: Retention,
    (place, first_root, now): (Place, u64, DateTime<Utc>),
) -> Result<GcPlan, RepositoryError> {
    let mut plan = GcPlan { base: base.to_owned(), ..GcPlan::default() };
    let mut layout = None;
    for (folder, prefix) in folders {
        if folder.length("root.json").at(folder.file("root.json"))?.is_none() {
            if folder.names().at(folder.path())?.is_empty() {
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
    for (folder, prefix) in folders {
        for name in folder.names().at(folder.path())? {
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
    files.walk(&base.join(TARGETS), "")?;
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
    folder: &Folder,
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
fn plain_fate(folder: &Folder, name: &str, held: &Held) -> Result<Fate, RepositoryError> {
    if parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root") {
        return Ok(Fate::Stays);
    }
    let Some(role) = parse_plain(name) else { return Ok(Fate::Unknown) };
    if role.as_str() == "snapshot" || held.metadata.contains_key(&role) {
        return Ok(Fate::Stays);
    }
    let bytes = folder.read(name, MAX_METADATA).at(folder.file(name))?;
    Ok(match bytes.map(|bytes| Metadata::<Targets>::from_bytes(&bytes)) {
        Some(Ok(_)) => Fate::Metadata(format!("the snapshot does not list {role}")),
        _ => Fate::Unknown,
    })
}

impl Held {
    /// Holds what the retained snapshots of a metadata folder refer to. Returns the versions of those snapshots.
    fn hold_snapshots(
        &mut self,
        folder: &Folder,
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
            let Ok(path) = TargetPath::parse(path) else { continue };
            // a file may be called like a copy and be a target itself
            let named = (layout == Layout::Consistent).then(|| path.as_str().to_owned());
            for name in layout.target_names(&path, file).into_iter().chain(named) {
                self.targets.entry(name).or_default().insert(holder.clone());
            }
        }
    }
}

/// Returns the versions of the snapshots that are retained: the current one, the last of them, and the young ones.
fn retained_versions(
    folder: &Folder,
    newest: u64,
    retention: Retention,
    now: DateTime<Utc>,
) -> Result<Vec<u64>, RepositoryError> {
    let names = folder.names().at(folder.path())?;
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

fn replaced_at(folder: &Folder, next: u64) -> Result<DateTime<Utc>, RepositoryError> {
    let path = folder.file(&Layout::Consistent.metadata_name(&RoleName::snapshot(), next));
    let modified: SystemTime = fs::metadata(&path).and_then(|metadata| metadata.modified()).at(&path)?;
    Ok(modified.into())
}

/// Returns the roles that clients of a snapshot reach by delegation.
fn living_roles(
    folder: &Folder,
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
}

/// The walk over the target files.
struct TargetFiles<'a> {
    layout: Layout,
    place: Place,
    held: &'a Held,
    /// Published files of the plain layout that are younger may belong to a publication under way.
    oldest: DateTime<Utc>,
    doomed: Vec<Doomed>,
    kept: usize,
}

impl TargetFiles<'_> {
    fn walk(&mut self, folder: &Path, below: &str) -> Result<(), RepositoryError> {
        let mut entries: Vec<fs::DirEntry> = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.and_then(Iterator::collect).at(folder)?,
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| *name != ".tuf-tmp") else { continue };
            let path = format!("{below}{name}");
            let kind = entry.file_type().at(entry.path())?;
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() && self.may_go(&entry, name, &path)? {
                let why = "no retained metadata lists it".to_owned();
                self.doomed.push(Doomed { name: format!("{TARGETS}/{path}"), why });
            } else {
                self.kept += 1;
            }
        }
        Ok(())
    }

    /// With consistent snapshots only hash-named copies go: a file of another name is somebody's work.
    fn may_go(&self, entry: &fs::DirEntry, name: &str, path: &str) -> Result<bool, RepositoryError> {
        if self.held.targets.contains_key(path) {
            return Ok(false);
        }
        if self.layout == Layout::Consistent {
            return Ok(parse_hash_named(name).is_some());
        }
        // plain names tell nothing: where people work, a file that nothing lists may be about to be added
        if self.place == Place::Workshop || name.starts_with('.') {
            return Ok(false);
        }
        let modified: DateTime<Utc> =
            entry.metadata().and_then(|metadata| metadata.modified()).at(entry.path())?.into();
        Ok(modified < self.oldest)
    }
}

fn parsed<T: Signed>(folder: &Folder, prefix: &str, name: &str) -> Result<Option<T>, RepositoryError> {
    let Some(bytes) = folder.read(name, MAX_METADATA).at(folder.file(name))? else { return Ok(None) };
    let refused = |error| RepositoryError::Refused {
        file: format!("{prefix}/{name}"),
        reason: Refusal::Unreadable(error),
    };
    Ok(Some(Metadata::from_bytes(&bytes).map_err(refused)?.into_signed()))
}

fn required<T: Signed>(folder: &Folder, prefix: &str, name: &str) -> Result<T, RepositoryError> {
    parsed(folder, prefix, name)?.ok_or_else(|| missing(prefix, name))
}

fn missing(prefix: &str, name: &str) -> RepositoryError {
    RepositoryError::Refused { file: format!("{prefix}/{name}"), reason: Refusal::Missing }
}
