//! Removes what `tuf-fetch` has put and nobody trusts any more, without a request.
//!
//! Only what the record names goes, only while it is byte for byte what was put, and only where every role that might
//! still want it is at hand and says nothing of it. Everything else stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::apart::check_open_folders;
use super::confined::Folder;
use super::listing::waiting_names;
use super::matching::{Matching, Parties};
use super::record::{Files, Home, Record};
use super::target_dir::Recorded;
use super::unfinished::Removal;
use super::{ClientError, Limits, LocalMetadata, TargetDir, storable};
use crate::metadata::{Delegations, RoleName, SuccinctRoles, TargetFile, Targets};
use crate::trusted_set::{Origin, TargetSearch, TrustError, TrustedMetadataSet, Visit};

/// What [`clean`] removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Delegated roles whose files are gone.
    pub roles: Vec<RoleName>,
    /// Paths below the target folder that are gone.
    pub targets: Vec<String>,
    /// How many unfinished downloads are gone.
    pub unfinished: usize,
    /// What stays though no role that is at hand wants it, or because it is not what was put.
    pub kept: Vec<Kept>,
    /// Why others may be of no use any more and stay all the same: a role is not at hand that may want them.
    pub unsure: Vec<Kept>,
    /// What could not be looked at or removed, because this machine failed.
    pub failed: Vec<Kept>,
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// A path below the target folder, a role, or a file of the client.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Kept {
    fn new(what: impl Into<String>, reason: impl ToString) -> Self {
        Self { what: what.into(), reason: reason.to_string() }
    }
}

impl Cleaned {
    /// Notes what failed; everything else goes on.
    fn note<T>(&mut self, done: Result<T, ClientError>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                let reason = match &error {
                    ClientError::Local { source, .. } => source.to_string(),
                    other => other.to_string(),
                };
                self.failed.push(Kept::new(error.subject(), reason));
                None
            }
        }
    }
}

/// Removes from a folder of metadata, and from a folder of targets if there is one, what was put there and is not trusted
/// any more at this time. What cannot be removed keeps nothing else from going.
///
/// # Errors
/// [`ClientError::NotInitialised`], [`ClientError::Local`] where the record cannot be read, and [`ClientError::Trust`] where
/// the root is not one.
pub fn clean(
    local: &LocalMetadata,
    targets: Option<&TargetDir>,
    limits: &Limits,
    now: DateTime<Utc>,
    removal: Removal,
) -> Result<Cleaned, ClientError> {
    let not_initialised = || ClientError::NotInitialised { path: local.path().to_owned() };
    local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
    if let Some(dir) = targets {
        check_open_folders(local, dir)?;
    }
    let _lock = match removal {
        Removal::Done => Some(local.lock()?),
        Removal::Planned => local.lock_that_is_there()?,
    };
    let root = local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
    let mut known = Known::read(local, &root, limits, now)?;
    let mut record = local.record()?;
    let mut cleaned = Cleaned::default();
    if removal == Removal::Done {
        cleaned.note(local.sweep());
    }
    let roles = plan_roles(local, &known, &record, &mut cleaned);
    let plan = targets.map(|dir| plan_targets(dir, &mut known, &record, &mut cleaned)).transpose()?;
    if removal == Removal::Planned {
        cleaned.roles = roles;
        cleaned.targets = plan.map(|plan| plan.targets.into_keys().collect()).unwrap_or_default();
    } else {
        for role in roles {
            if cleaned.note(local.remove(&role)).is_some() {
                record.stored.remove(&role);
                cleaned.roles.push(role);
            }
        }
        if let Some((dir, plan)) = targets.zip(plan) {
            cleaned.note(dir.sweep());
            plan.carry_out(dir, &mut record, &mut cleaned);
        }
        cleaned.note(local.replace_record_if_changed(&record));
    }
    if let Some(dir) = targets {
        // on a full disk nothing else can be brought while it waits for its rest
        let wanted = if lacks_room(dir.path()) { Some(BTreeSet::new()) } else { known.waiting_names() };
        let forgotten = wanted.map(|wanted| dir.forget(&|name| wanted.contains(name), removal));
        cleaned.unfinished = forgotten.and_then(|forgotten| cleaned.note(forgotten)).unwrap_or_default();
    }
    Ok(cleaned)
}

/// With fewer bytes than this left on its file system the target folder is short of room.
const LITTLE_ROOM: u64 = 4 << 20;

/// Tells whether the file system of a folder is almost full. Where that cannot be found out it is not.
fn lacks_room(folder: &Path) -> bool {
    let found = rustix::fs::statvfs(folder);
    found.is_ok_and(|found| found.f_blocks > 0 && found.f_bavail.saturating_mul(found.f_frsize) < LITTLE_ROOM)
}

/// Finds the files of delegated roles that were stored and that nobody delegates to any more.
fn plan_roles(
    local: &LocalMetadata,
    known: &Known<'_>,
    record: &Record,
    cleaned: &mut Cleaned,
) -> Vec<RoleName> {
    let mut roles = Vec::new();
    let delegated = known.delegated_names();
    for (role, contents) in record.stored.iter().filter(|(role, _)| !role.is_top_level()) {
        if delegated.hold(role) {
            continue;
        }
        let Some(Some(bytes)) = cleaned.note(local.load(role)) else { continue };
        if !contents.hold(&bytes) {
            cleaned.kept.push(Kept::new(role.as_str(), CHANGED));
            continue;
        }
        match &known.missing {
            None => roles.push(role.clone()),
            Some(reason) => cleaned.unsure.push(Kept::new(role.as_str(), reason)),
        }
    }
    roles
}

/// Why something stays that was put, and is not what was put any more.
const CHANGED: &str = "it is not as tuf-fetch put it";

/// What is to go from a target folder.
struct Plan {
    /// What the record knows the folder by. Found out before anything goes: what has gone is always told and recorded.
    home: Home,
    targets: BTreeMap<String, Files>,
    /// The deepest first, with their inodes.
    folders: Vec<(String, u64)>,
    /// What has gone already.
    gone: Vec<String>,
}

/// Finds the targets that were put, are as they were put, and are not listed any more; and folders that were made and
/// hold nothing else.
fn plan_targets(
    dir: &TargetDir,
    known: &mut Known<'_>,
    record: &Record,
    cleaned: &mut Cleaned,
) -> Result<Plan, ClientError> {
    let home = dir.home();
    let failed = |path: &str, error| Err(ClientError::local(&dir.path().join(path), error));
    let mut plan =
        Plan { home: home.clone(), targets: BTreeMap::new(), folders: Vec::new(), gone: Vec::new() };
    for ((folder, path), files) in &record.put {
        if folder != home || storable(path).is_err() {
            continue;
        }
        let listed = match known.listed(path) {
            Ok(Some(_)) => continue,
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        match (dir.recorded(path, files), listed) {
            (Ok(Recorded::Gone), _) => plan.gone.push(path.clone()),
            (Ok(Recorded::Ours(_)), Ok(())) => drop(plan.targets.insert(path.clone(), files.clone())),
            (Ok(Recorded::Ours(_)), Err(reason)) => cleaned.unsure.push(Kept::new(path, reason)),
            (Ok(Recorded::Other), _) => cleaned.kept.push(Kept::new(path, CHANGED)),
            // a link or a file has come to the place of a folder above it
            (Err(error), _) if error.kind() == io::ErrorKind::InvalidInput => {
                cleaned.kept.push(Kept::new(path, error));
            }
            (Err(error), _) => drop(cleaned.note::<()>(failed(path, error))),
        }
    }
    let mut going = BTreeSet::new();
    // a folder comes after those that it holds
    let made =
        record.made.iter().rev().filter(|((folder, path), _)| folder == home && storable(path).is_ok());
    for ((_, path), inode) in made {
        let goes = |name: &String| {
            let below = format!("{path}/{name}");
            plan.targets.contains_key(&below) || going.contains(&below)
        };
        let holds_only_what_goes =
            |folder: &Folder| Ok(folder.names_are_text()? && folder.names()?.iter().all(goes));
        let found =
            dir.made(path, *inode).and_then(|folder| folder.as_ref().map(holds_only_what_goes).transpose());
        match found {
            Ok(Some(true)) => {
                plan.folders.push((path.clone(), *inode));
                going.insert(path.clone());
            }
            // another folder, or something else in its place
            Ok(Some(false) | None) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => drop(cleaned.note::<()>(failed(path, error))),
        }
    }
    Ok(plan)
}

impl Plan {
    /// Removes what is planned, each thing by itself, and drops from the record what has gone. The record speaks of the very
    /// files, so that it is right before, in between and afterwards.
    fn carry_out(self, dir: &TargetDir, record: &mut Record, cleaned: &mut Cleaned) {
        let home = self.home;
        let failed = |path: &str, error| ClientError::local(&dir.path().join(path), error);
        for path in self.gone {
            record.put.remove(&(home.clone(), path));
        }
        for (path, files) in self.targets {
            let removed = dir.remove_recorded(&path, &files);
            match cleaned.note(removed.map_err(|error| failed(&path, error))) {
                Some(true) => {
                    record.put.remove(&(home.clone(), path.clone()));
                    cleaned.targets.push(path);
                }
                Some(false) => cleaned.kept.push(Kept::new(path, CHANGED)),
                None => {}
            }
        }
        for (path, inode) in self.folders {
            let removed = dir.remove_made(&path, inode);
            // somebody may have put something there meanwhile, or a target has stayed in it
            if cleaned.note(removed.map_err(|error| failed(&path, error))) == Some(true) {
                record.made.remove(&(home.clone(), path));
            }
        }
    }
}

/// The metadata that is at hand and trusted.
struct Known<'a> {
    local: &'a LocalMetadata,
    trusted: TrustedMetadataSet,
    limits: &'a Limits,
    matching: Matching,
    /// What each delegation that was followed came to.
    followed: BTreeMap<(RoleName, RoleName), Result<(), String>>,
    /// Why not everything that may be delegated to is known.
    missing: Option<String>,
}

impl<'a> Known<'a> {
    fn read(
        local: &'a LocalMetadata,
        root: &[u8],
        limits: &'a Limits,
        now: DateTime<Utc>,
    ) -> Result<Self, ClientError> {
        let trusted = TrustedMetadataSet::new(root, now)?;
        let matching = Matching::new(limits.matching);
        let mut known = Self { local, trusted, limits, matching, followed: BTreeMap::new(), missing: None };
        match known.read_top()? {
            Ok(()) => known.follow_all(),
            Err(reason) => known.missing = Some(reason),
        }
        Ok(known)
    }

    /// Reads timestamp and snapshot; says what keeps them from being trusted now.
    fn read_top(&mut self) -> Result<Result<(), String>, ClientError> {
        let mut read = || -> Result<Result<(), TrustError>, ClientError> {
            let missing = |role: RoleName| Ok(Err(TrustError::OutOfOrder { missing: role }));
            let Some(timestamp) = self.local.load(&RoleName::timestamp())? else {
                return missing(RoleName::timestamp());
            };
            let Some(snapshot) = self.local.load(&RoleName::snapshot())? else {
                return missing(RoleName::snapshot());
            };
            Ok(self
                .trusted
                .check_root_expiry()
                .map(|_| ())
                .and_then(|()| self.trusted.update_timestamp(&timestamp).map(|_| ()))
                .and_then(|()| self.trusted.update_snapshot(&snapshot, Origin::Local).map(|_| ())))
        };
        Ok(read()?.map_err(|error| said(&error)))
    }

    /// Follows all delegations from the top, as far as they are at hand.
    fn follow_all(&mut self) {
        let mut pending = vec![Visit { role: RoleName::targets(), delegator: RoleName::root() }];
        let (mut seen, mut count) = (BTreeSet::new(), 0_usize);
        while let Some(visit) = pending.pop() {
            count += 1;
            if count > self.limits.delegated() {
                let reason = format!("there are more than {} delegations", self.limits.delegated());
                self.missing.get_or_insert(reason);
                return;
            }
            match self.follow(&visit) {
                // nobody has a file of it that could be asked
                Err(_) if self.is_unlisted(&visit.role) => {}
                Err(reason) => drop(self.missing.get_or_insert(reason)),
                Ok(()) if seen.insert(visit.role.clone()) => {
                    let delegations =
                        self.trusted.targets(&visit.role).and_then(|role| role.delegations.as_ref());
                    let roles =
                        delegations.map(|delegations| self.delegated(delegations)).unwrap_or_default();
                    let next = roles.into_iter().map(|role| Visit { role, delegator: visit.role.clone() });
                    pending.extend(next);
                }
                Ok(()) => {}
            }
        }
    }

    /// Tells whether the snapshot does not list a role.
    fn is_unlisted(&self, role: &RoleName) -> bool {
        self.trusted.snapshot().is_some_and(|snapshot| snapshot.role(role).is_none())
    }

    /// Returns the roles that are delegated to; of hash bins those that the snapshot lists.
    fn delegated(&self, delegations: &Delegations) -> Vec<RoleName> {
        match (&delegations.succinct_roles, self.trusted.snapshot()) {
            (Some(bins), Some(snapshot)) => snapshot.bins(bins),
            _ => delegations.roles().iter().map(|role| role.name.clone()).collect(),
        }
    }

    /// Takes a role through one delegation.
    fn follow(&mut self, visit: &Visit) -> Result<(), String> {
        let edge = (visit.role.clone(), visit.delegator.clone());
        if let Some(followed) = self.followed.get(&edge) {
            return followed.clone();
        }
        let followed = if self.trusted.targets(&visit.role).is_some() {
            self.trusted.verify_again(&visit.role, &visit.delegator).map(|_| ()).map_err(|error| said(&error))
        } else {
            match self.local.load(&visit.role) {
                Ok(Some(bytes)) => {
                    let taken = self.trusted.update_targets(&bytes, &visit.role, &visit.delegator);
                    let taken = taken.map(|_| ()).map_err(|error| said(&error));
                    // memory holds it many times as long as the file is
                    self.trusted.forget_unknown(&visit.role);
                    taken
                }
                Ok(None) => Err(format!("the metadata of {} is not here", visit.role)),
                Err(error) => Err(error.to_string()),
            }
        };
        self.followed.insert(edge, followed.clone());
        followed
    }

    /// Returns what the role that answers for a path says of it, or why that cannot be told.
    fn listed(&mut self, path: &str) -> Result<Option<TargetFile>, String> {
        if self.trusted.targets(&RoleName::targets()).is_none() {
            return Err(self.missing.clone().unwrap_or_default());
        }
        let mut search = TargetSearch::new(path, self.limits.delegations.saturating_add(1));
        let mut parties = Parties::default();
        while let Some(visit) = search.next_visit() {
            self.follow(&visit)?;
            let unknown = || format!("the metadata of {} is not here", visit.role);
            let targets = self.trusted.targets(&visit.role).ok_or_else(unknown)?;
            let found = self.matching.look(&mut search, &visit, targets, &mut parties);
            if let Some(info) = found.map_err(|error| error.to_string())? {
                return Ok(Some(info));
            }
        }
        Ok(None)
    }

    fn roles(&self) -> impl Iterator<Item = &Targets> {
        let followed = self.followed.iter().filter(|(_, followed)| followed.is_ok());
        let roles: BTreeSet<&RoleName> = followed.map(|((role, _), _)| role).collect();
        roles.into_iter().filter_map(|role| self.trusted.targets(role))
    }

    /// Returns the names of all roles that somebody delegates to, found out once: who delegates chooses how many there are.
    fn delegated_names(&self) -> DelegatedNames<'_> {
        let mut names = DelegatedNames::default();
        for delegations in self.roles().filter_map(|targets| targets.delegations.as_ref()) {
            names.roles.extend(delegations.roles().iter().map(|role| &role.name));
            if let Some(bins) = &delegations.succinct_roles {
                names.bins.entry((bins.name_prefix.as_str(), bins.bit_length)).or_insert(bins);
            }
        }
        names
    }

    /// Returns what the large targets wait under that any role lists which is at hand; `None` where the top-level role is not.
    /// A delegated role that is missing keeps nothing: whoever delegates to one that nobody publishes would hold everybody's
    /// room, and what goes is only downloaded again.
    fn waiting_names(&self) -> Option<BTreeSet<String>> {
        self.trusted.targets(&RoleName::targets())?;
        Some(self.roles().flat_map(waiting_names).collect())
    }
}

/// The names of the roles that some delegators delegate to.
#[derive(Default)]
struct DelegatedNames<'a> {
    roles: BTreeSet<&'a RoleName>,
    /// Those of a prefix and a number of bits once.
    bins: BTreeMap<(&'a str, u32), &'a SuccinctRoles>,
}

impl DelegatedNames<'_> {
    fn hold(&self, role: &RoleName) -> bool {
        // the prefix of a bin ends before its number
        let prefix = role.as_str().rsplit_once('-').map(|(prefix, _)| prefix);
        let mut bins =
            prefix.into_iter().flat_map(|prefix| self.bins.range((prefix, 0)..=(prefix, u32::MAX)));
        self.roles.contains(role) || bins.any(|(_, bins)| bins.is_bin(role.as_str()))
    }
}

/// Says why a role cannot be asked.
fn said(error: &TrustError) -> String {
    match error {
        TrustError::OutOfOrder { missing } => format!("the metadata of {missing} is not here"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Extra, Threshold};

    #[test]
    fn a_bin_is_known_by_its_prefix_whatever_hyphens_that_has() {
        let bins = |prefix: &str| SuccinctRoles {
            keyids: Vec::new(),
            threshold: Threshold::ONE,
            bit_length: 4,
            name_prefix: prefix.to_owned(),
            extra: Extra::new(),
        };
        let (hyphens, plain) = (bins("a-b"), bins("c"));
        let mut names = DelegatedNames::default();
        for bins in [&hyphens, &plain] {
            names.bins.insert((bins.name_prefix.as_str(), bins.bit_length), bins);
        }
        let holds = |name: &str| names.hold(&RoleName::new(name).unwrap());
        assert!(holds("a-b-f") && holds("c-0"));
        assert!(!["a-b", "a-b-10", "a-f", "c", "c-g", "c-00", "-0"].into_iter().any(holds));
    }
}
