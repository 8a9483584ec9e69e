//! The retained snapshots: which they are, and what they hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::super::check::{Expiry, check_metadata};
use super::super::error::{AtPath, Refusal, RepositoryError};
use super::super::fault::Fault;
use super::super::layout::{Layout, MAX_METADATA, parse_versioned};
use super::super::publish::refuse_errors;
use super::Retention;
use super::counts::{Counts, Holder, Listing, State};
use super::records::Dropped;
use super::trust::{Known, leads_to};
use crate::metadata::{Delegations, Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::Storage;

/// A folder of metadata whose current state is whole.
pub(super) struct Side<'a> {
    pub(super) folder: &'a dyn Storage,
    pub(super) prefix: &'a str,
    pub(super) layout: Layout,
    /// The names of its files.
    pub(super) names: Vec<String>,
    pub(super) purpose: Purpose,
    /// The roots, verified one from the other.
    pub(super) roots: Vec<Root>,
    /// The delegations in its current metadata, verified, and the roles that delegate.
    pub(super) delegations: Vec<(RoleName, Delegations)>,
    /// The versions of the snapshots that are retained in it.
    pub(super) retained: BTreeSet<u64>,
    /// What is wrong with delegated roles in its current metadata.
    pub(super) faults: Vec<Fault>,
    /// The roles that this is about.
    pub(super) at_fault: BTreeSet<RoleName>,
}

/// Why a folder of metadata is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is collected.
    Collect,
    /// What it lists stays; its own files are not looked at.
    Hold,
}

/// A folder of metadata, and why it is read.
pub(super) struct Part<'a> {
    pub(super) folder: &'a dyn Storage,
    /// What it is called in findings and in the plan.
    pub(super) prefix: &'a str,
    pub(super) purpose: Purpose,
    pub(super) retention: Retention,
}

impl<'a> Side<'a> {
    /// Checks what is current in a folder, counts what that lists, and finds out which snapshots are retained; `None` where
    /// nothing is there.
    pub(super) fn read(
        part: Part<'a>,
        first_root: u64,
        now: DateTime<Utc>,
        counts: &mut Counts,
    ) -> Result<Option<Self>, RepositoryError> {
        let Part { folder, prefix, purpose, retention } = part;
        let names = folder.names().at(folder.place(""))?;
        if folder.length("root.json").at(folder.place("root.json"))?.is_none() {
            // what this folder's clients need is not known without it
            return if names.is_empty() { Ok(None) } else { Err(missing(prefix, "root.json")) };
        }
        // what is current must be whole, but for what one party is to blame for: on a broken repository counts mean nothing
        let mut checked = check_metadata(folder, prefix, first_root, Expiry::Allow, now, None)?;
        // of what no client finds nothing is asked for either
        checked.faults.retain(|fault| !fault.is_stray());
        refuse_errors(&checked.report)?;
        let faults = std::mem::take(&mut checked.faults);
        let layout = checked.layout;
        let roots = checked.files.iter().filter(|name| is_root(name));
        let roots = roots.map(|name| required(folder, prefix, name)).collect::<Result<_, _>>()?;
        let of_role =
            |(role, targets): (&RoleName, &Targets)| Some((role.clone(), targets.delegations.clone()?));
        let delegations = checked.targets.iter().filter_map(of_role).collect();
        let counting = &*counts;
        let listed = |(role, targets): (RoleName, Targets)| {
            let listing = counting.listing(&targets, layout);
            (Holder::Version(role, targets.version), listing)
        };
        let listed: Vec<(Holder, Listing)> = checked.targets.into_par_iter().map(listed).collect();
        listed.into_iter().for_each(|(holder, listing)| counts.hold(holder, listing));
        let timestamp: Timestamp = required(folder, prefix, "timestamp.json")?;
        let newest = timestamp.snapshot().map_or(0, |listed| listed.version);
        let retained = match layout {
            Layout::Plain => BTreeSet::from([newest]),
            Layout::Consistent => retained_versions(folder, &names, newest, retention, now)?,
        };
        let at_fault = faults.iter().map(|fault| fault.role.clone()).collect();
        Ok(Some(Self {
            folder,
            prefix,
            layout,
            names,
            purpose,
            roots,
            delegations,
            retained,
            faults,
            at_fault,
        }))
    }

    /// Looks at what a file lists; `None` where it is no metadata that lists targets.
    pub(super) fn listing(&self, name: &str, counts: &Counts) -> Result<Option<Listing>, RepositoryError> {
        let bytes = self.folder.read(name, MAX_METADATA).at(self.folder.place(name))?;
        let metadata = bytes.and_then(|bytes| Metadata::<Targets>::from_file(bytes).ok());
        Ok(metadata.map(|metadata| counts.listing(metadata.signed(), self.layout)))
    }

    /// Returns the files of some versions of roles, as those are called here.
    pub(super) fn files_of(&'a self, versions: &[(RoleName, u64)]) -> Vec<Dropped<'a>> {
        let file = |(role, version): &(RoleName, u64)| {
            let wanted = self.layout.metadata_name(role, *version);
            let name = &self.names[self.names.binary_search(&wanted).ok()?];
            let version = (self.layout == Layout::Consistent).then_some(*version);
            Some(Dropped { side: self, name, role: role.clone(), version })
        };
        versions.iter().filter_map(file).collect()
    }

    fn is_at_fault(&self, role: &RoleName) -> bool {
        self.at_fault.contains(role)
    }

    fn targets(&self, role: &RoleName, version: u64) -> Result<Targets, RepositoryError> {
        required(self.folder, self.prefix, &self.layout.metadata_name(role, version))
    }
}

fn is_root(name: &str) -> bool {
    parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root")
}

/// Returns the versions of the snapshots that are retained: the current one, the last of them, and the young ones.
fn retained_versions(
    folder: &dyn Storage,
    names: &[String],
    newest: u64,
    retention: Retention,
    now: DateTime<Utc>,
) -> Result<BTreeSet<u64>, RepositoryError> {
    let snapshots = names.iter().filter(|name| name.ends_with(".snapshot.json"));
    let versions = snapshots.filter_map(|name| parse_versioned(name));
    let is_snapshot = |(version, role): &(u64, RoleName)| role.as_str() == "snapshot" && *version <= newest;
    let mut versions: Vec<u64> = versions.filter(is_snapshot).map(|(version, _)| version).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    if versions.first() != Some(&newest) {
        versions.insert(0, newest);
    }
    let keep = usize::try_from(retention.keep).unwrap_or(usize::MAX).max(1);
    let mut retained: BTreeSet<u64> = versions.iter().take(keep).copied().collect();
    for pair in versions.windows(2).skip(keep - 1) {
        let &[next, version] = pair else { continue };
        // its age counts from when the next one replaced it
        let until = replaced_at(folder, next)?.checked_add_signed(retention.keep_within);
        if until.is_none_or(|until| until >= now) {
            retained.insert(version);
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

/// The retained snapshots, once all that they list is counted.
#[derive(Default)]
pub(super) struct Held {
    /// Their versions, the newest first: the counts know them by their places here.
    pub(super) versions: Vec<u64>,
    /// By folder the names of the files that they list for revoked roles and that are no metadata.
    unreadable: BTreeMap<String, BTreeSet<String>>,
    /// The delegations in retained metadata that lead to a role at fault whose file cannot be read.
    pub(super) leading: Known,
}

impl Held {
    pub(super) fn is_unreadable(&self, side: &Side<'_>, name: &str) -> bool {
        self.unreadable.get(side.prefix).is_some_and(|names| names.contains(name))
    }
}

/// Counts what the retained snapshots list, and what that lists in turn.
pub(super) fn hold_snapshots(sides: &[Side<'_>], counts: &mut Counts) -> Result<Held, RepositoryError> {
    let versions: BTreeSet<u64> = sides.iter().flat_map(|side| &side.retained).copied().collect();
    let versions: Vec<u64> = versions.into_iter().rev().collect();
    let mut followers: Vec<Follower<'_>> = sides.iter().map(Follower::new).collect();
    let places: Vec<(usize, u64)> = versions.iter().copied().enumerate().collect();
    // a few at a time are in memory
    for few in places.chunks(2 * rayon::current_num_threads()) {
        let read: Vec<_> = few.par_iter().map(|(_, version)| read_snapshot(sides, *version)).collect();
        for ((place, _), read) in few.iter().zip(read) {
            for Found { snapshot, on } in read? {
                for side in on {
                    let Some(follower) = followers.get_mut(side) else { continue };
                    // where nothing is lost, the same snapshot on the other side says nothing new
                    if follower.hold(&snapshot, *place, counts)? == Readable::All {
                        break;
                    }
                }
            }
        }
    }
    let mut held = Held { versions, ..Held::default() };
    for follower in followers {
        follower.leading.iter().for_each(|(by, to)| held.leading.learn(by, to.clone()));
        if follower.side.purpose == Purpose::Collect {
            held.unreadable.insert(follower.side.prefix.to_owned(), follower.unreadable);
        }
    }
    Ok(held)
}

/// A snapshot, and the sides that have it with the same bytes.
struct Found {
    snapshot: Snapshot,
    on: Vec<usize>,
}

/// Reads a snapshot on each side that retains it.
fn read_snapshot(sides: &[Side<'_>], version: u64) -> Result<Vec<Found>, RepositoryError> {
    let mut found: Vec<(Vec<u8>, Found)> = Vec::new();
    for (number, side) in sides.iter().enumerate().filter(|(_, side)| side.retained.contains(&version)) {
        let name = side.layout.metadata_name(&RoleName::snapshot(), version);
        let bytes = side.folder.read(&name, MAX_METADATA).at(side.folder.place(&name))?;
        let bytes = bytes.ok_or_else(|| missing(side.prefix, &name))?;
        match found.iter_mut().find(|(known, _)| *known == bytes) {
            Some((_, found)) => found.on.push(number),
            None => {
                let snapshot = parsed(&bytes, side.prefix, &name)?;
                found.push((bytes, Found { snapshot, on: vec![number] }));
            }
        }
    }
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// Whether all files that a snapshot lists could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    All,
    /// But for those of revoked roles.
    Some,
}

/// Follows the snapshots of a side to what they list.
struct Follower<'a> {
    side: &'a Side<'a>,
    /// The delegations of each role that delegates, in the version that was last asked for: the next snapshot has the same
    /// one nearly always.
    delegations: HashMap<RoleName, (u64, Option<Delegations>)>,
    /// The names of the files of revoked roles that are no metadata.
    unreadable: BTreeSet<String>,
    /// The delegations that lead to roles at fault whose files cannot be read, each once.
    leading: Vec<(RoleName, Delegations)>,
}

impl<'a> Follower<'a> {
    fn new(side: &'a Side<'a>) -> Self {
        Self { side, delegations: HashMap::new(), unreadable: BTreeSet::new(), leading: Vec::new() }
    }

    /// Counts what a snapshot lists; reads of that what has not been read.
    fn hold(
        &mut self,
        snapshot: &Snapshot,
        place: usize,
        counts: &mut Counts,
    ) -> Result<Readable, RepositoryError> {
        let mut unread = Vec::new();
        for (path, listed) in &snapshot.meta {
            let Some(name) = path.strip_suffix(".json") else { continue };
            if !matches!(counts.list_known(name, listed.version, place), None | Some(State::Lost)) {
                continue;
            }
            let role = RoleName::from_metapath(&path).filter(RoleName::lists_targets);
            if let Some(role) = role {
                counts.list(&role, listed.version, place);
                unread.push((role, listed.version));
            }
        }
        let (side, counting) = (self.side, &*counts);
        let read = |(role, version): &(RoleName, u64)| -> Result<Listing, RepositoryError> {
            Ok(counting.listing(&side.targets(role, *version)?, side.layout))
        };
        let read: Vec<Result<Listing, RepositoryError>> = unread.par_iter().map(read).collect();
        let mut lost = BTreeMap::new();
        for ((role, version), read) in unread.into_iter().zip(read) {
            match read {
                Ok(listing) => counts.hold(Holder::Version(role, version), listing),
                Err(refused @ RepositoryError::Refused { .. }) => drop(lost.insert(role, refused)),
                Err(error) => return Err(error),
            }
        }
        if lost.is_empty() {
            return Ok(Readable::All);
        }
        // the file of a revoked role may be gone or anything at all; one that clients reach may not, unless the role is at
        // fault in what is current: whatever it may list stays then
        if let Some(error) = self.reached(snapshot, counts, &lost)?.and_then(|role| lost.remove(&role)) {
            return Err(error);
        }
        let side = self.side;
        let junk = lost.iter().filter(|(role, error)| is_junk(error) && !side.is_at_fault(role));
        let version = |role: &RoleName| snapshot.role(role).map_or(0, |listed| listed.version);
        self.unreadable.extend(junk.map(|(role, _)| side.layout.metadata_name(role, version(role))));
        Ok(Readable::Some)
    }

    /// Finds a role among those that are lost, and not at fault, that clients of a snapshot reach by delegation. Notes what leads
    /// to those that are.
    fn reached(
        &mut self,
        snapshot: &Snapshot,
        counts: &Counts,
        lost: &BTreeMap<RoleName, RepositoryError>,
    ) -> Result<Option<RoleName>, RepositoryError> {
        let version = |role: &RoleName| snapshot.role(role).map(|listed| listed.version);
        // the others lead nowhere
        let matters = |role: &RoleName| {
            let state = version(role).and_then(|version| counts.state(role.as_str(), version));
            matches!(state, Some(State::Lost | State::Delegator))
        };
        let (mut pending, mut seen) = (vec![RoleName::targets()], BTreeSet::new());
        while let Some(role) = pending.pop() {
            let Some(version) = version(&role).filter(|_| seen.insert(role.clone())) else { continue };
            if lost.contains_key(&role) {
                if self.side.is_at_fault(&role) {
                    continue;
                }
                return Ok(Some(role));
            }
            let side = self.side;
            let Some(delegations) = self.delegations(&role, version)? else { continue };
            let is_leading = |lost: &&RoleName| side.is_at_fault(lost) && leads_to(delegations, lost);
            let leading = lost.keys().find(is_leading).map(|_| delegations.clone());
            let named = delegations.roles().iter().map(|role| &role.name);
            pending.extend(named.filter(|role| matters(role)).cloned());
            if let Some(bins) = &delegations.succinct_roles {
                let listed = snapshot.meta.keys().filter_map(|path| RoleName::from_metapath(&path));
                pending.extend(listed.filter(|role| matters(role) && bins.is_bin(role.as_str())));
            }
            if let Some(leading) = leading.map(|leading| (role, leading))
                && !self.leading.contains(&leading)
            {
                self.leading.push(leading);
            }
        }
        Ok(None)
    }

    fn delegations(
        &mut self,
        role: &RoleName,
        version: u64,
    ) -> Result<Option<&Delegations>, RepositoryError> {
        if self.delegations.get(role).is_none_or(|(known, _)| *known != version) {
            let delegations = self.side.targets(role, version)?.delegations;
            self.delegations.insert(role.clone(), (version, delegations));
        }
        Ok(self.delegations.get(role).and_then(|(_, delegations)| delegations.as_ref()))
    }
}

/// Tells a file that is no metadata from one that is not there.
fn is_junk(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Refused { reason: Refusal::Unreadable(_), .. })
}

/// Reads metadata that must be there.
pub(super) fn required<T: Signed>(
    folder: &dyn Storage,
    prefix: &str,
    name: &str,
) -> Result<T, RepositoryError> {
    let bytes = folder.read(name, MAX_METADATA).at(folder.place(name))?;
    parsed(&bytes.ok_or_else(|| missing(prefix, name))?, prefix, name)
}

fn parsed<T: Signed>(bytes: &[u8], prefix: &str, name: &str) -> Result<T, RepositoryError> {
    let refused = |error| RepositoryError::Refused {
        file: format!("{prefix}/{name}"),
        reason: Refusal::Unreadable(error),
    };
    Ok(Metadata::from_bytes(bytes).map_err(refused)?.into_signed())
}

fn missing(prefix: &str, name: &str) -> RepositoryError {
    RepositoryError::Refused { file: format!("{prefix}/{name}"), reason: Refusal::Missing }
}
