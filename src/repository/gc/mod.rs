//! Garbage collection by reference counts: a snapshot holds a count on itself, on each targets metadata version that it
//! lists, and each of those on its target files. What no retained snapshot holds may go.
//!
//! The plan has no way to name a root version, and names only files whose names it understands; what it does not
//! understand stays and is reported.

mod counts;
mod fate;
mod plan;
mod snapshots;

use chrono::{DateTime, TimeDelta, Utc};

use super::Repository;
use super::archive::Archive;
use super::error::{AtPath, RepositoryError};
use super::layout::{METADATA, STAGED, TARGETS, parse_versioned};
use super::place::Destination;
use crate::storage::{Folder, Storage};
use counts::{Counts, Holder};
use fate::{Fate, Place, TargetFiles, fate};
pub(super) use plan::Base;
pub use plan::{Deletions, Explanation, GcPlan};
use snapshots::{Held, Side, hold_snapshots};

/// What is retained beside the live and the staged snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The last so many snapshots, the current one included.
    pub keep: u64,
    /// Snapshots that were replaced no longer ago than this, so that a client in the middle of an update finishes.
    pub keep_within: TimeDelta,
}

impl Repository {
    /// Plans which files of the repository no retained snapshot refers to. Retained are the live and the staged snapshot,
    /// and in each folder what the retention says; drafts keep what they refer to.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] where retained metadata is missing or no client would accept it: nothing may go then.
    pub fn plan_gc(&self, retention: Retention) -> Result<GcPlan, RepositoryError> {
        self.plan_gc_of(&Destination::Own, retention)
    }

    /// Plans the same for a place that was published to, with `metadata/` and `targets/` in it.
    ///
    /// # Errors
    /// As [`Repository::plan_gc`].
    pub fn plan_gc_of(&self, at: &Destination, retention: Retention) -> Result<GcPlan, RepositoryError> {
        Ok(self.count(at, retention, None)?.plan)
    }

    /// Tells who holds a file, named relative to the repository, and whether it would go.
    ///
    /// # Errors
    /// As [`Repository::plan_gc`].
    pub fn explain_gc(
        &self,
        at: &Destination,
        retention: Retention,
        file: &str,
    ) -> Result<Explanation, RepositoryError> {
        let name = file.trim_start_matches("./");
        let target = name.strip_prefix(TARGETS).and_then(|rest| rest.strip_prefix('/'));
        Ok(self.count(at, retention, target)?.explain(name))
    }

    fn count(
        &self,
        at: &Destination,
        retention: Retention,
        asked: Option<&str>,
    ) -> Result<Counted, RepositoryError> {
        let mut counts = Counts::asking(asked);
        let rules = |place| Rules { retention, place, first_root: self.policy.first_root(), now: self.now };
        match at {
            Destination::Own => {
                for role in self.staged.graph().order {
                    let drafted = self.staged.targets(&role).and_then(|state| state.draft.as_ref());
                    if let Some(draft) = drafted {
                        let listing = counts.listing(draft.metadata.signed(), self.staged.layout());
                        counts.hold(Holder::Draft(role), listing);
                    }
                }
                let (live, staged) = (self.live_folder(), self.staged.folder());
                let parts: [(&dyn Storage, &str); 2] = [(&live, METADATA), (staged, STAGED)];
                let base = Base::Folder(self.dir.clone());
                count(base, &parts, &self.targets_folder(), counts, rules(Place::Workshop))
            }
            Destination::Folder(published) => {
                let (live, targets) = (published.join(METADATA), Folder::new(published.join(TARGETS)));
                let base = Base::Folder(published.clone());
                let parts: [(&dyn Storage, &str); 1] = [(&Folder::new(live), METADATA)];
                count(base, &parts, &targets, counts, rules(Place::Published))
            }
            Destination::Bucket(published) => {
                let twins = vec![self.live_folder(), self.staged.folder().clone()];
                let place = published.with_twins(twins, self.targets_folder());
                place.metadata.survey().at(place.metadata.place(""))?;
                let base = Base::Bucket(place.clone());
                let parts: [(&dyn Storage, &str); 1] = [(&place.metadata, METADATA)];
                count(base, &parts, &place.targets, counts, rules(Place::Bucket))
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
        let names: Vec<&str> = plan.deleted().collect();
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

/// What a collection goes by.
#[derive(Debug, Clone, Copy)]
struct Rules {
    retention: Retention,
    place: Place,
    /// The version of the first root that is there.
    first_root: u64,
    now: DateTime<Utc>,
}

/// A plan, and what it was made from.
struct Counted {
    plan: GcPlan,
    counts: Counts,
    held: Held,
}

fn count(
    base: Base,
    folders: &[(&dyn Storage, &str)],
    targets: &dyn Storage,
    mut counts: Counts,
    rules: Rules,
) -> Result<Counted, RepositoryError> {
    let mut plan = GcPlan::new(base);
    let mut sides = Vec::new();
    for &folder in folders {
        sides.extend(Side::read(folder, rules.retention, rules.first_root, rules.now, &mut counts)?);
    }
    let Some(layout) = sides.last().map(|side| side.layout) else {
        return Ok(Counted { plan, counts, held: Held::default() });
    };
    let held = hold_snapshots(&sides, &mut counts)?;
    plan.retained.extend(&held.versions);
    plan.delete = Deletions::new(layout);
    let mut metadata = Vec::new();
    for side in &sides {
        for name in &side.names {
            match fate(side, name, &held.versions, &counts)? {
                Fate::Stays if held.is_unreadable(side, name) => {
                    plan.unreadable.push(format!("{}/{name}", side.prefix));
                }
                Fate::Stays => plan.kept += 1,
                Fate::Unknown => plan.unknown.push(format!("{}/{name}", side.prefix)),
                Fate::Snapshot => plan.delete.push(side.prefix, name),
                Fate::Metadata => metadata.push((side.prefix, name)),
            }
        }
    }
    metadata.into_iter().for_each(|(prefix, name)| plan.delete.push(prefix, name));
    let oldest = rules.now.checked_sub_signed(rules.retention.keep_within);
    let oldest = oldest.unwrap_or(DateTime::<Utc>::MIN_UTC);
    let files = TargetFiles { folder: targets, layout, place: rules.place, counts: &counts, oldest };
    let first = plan.delete.len();
    let visited = targets.walk(&mut |path| {
        match files.may_go(path)? {
            true => plan.delete.push(TARGETS, path),
            false => plan.kept += 1,
        }
        Ok(())
    });
    visited.at(targets.place(""))?;
    plan.delete.sort_from(first);
    Ok(Counted { plan, counts, held })
}

impl Counted {
    /// Says who holds a file, named relative to the repository.
    fn explain(&self, name: &str) -> Explanation {
        let doomed = self.plan.deleted().any(|doomed| doomed == name);
        let would_go = doomed.then(|| self.plan.delete.why(name));
        Explanation { holders: self.holders(name), would_go }
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
