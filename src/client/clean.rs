//! Removes what `tuf-fetch` has put and nobody trusts any more, without a request.
//!
//! Only what the record names goes, only while it is byte for byte what was put, and only where every role that might
//! still want it is at hand and says nothing of it. Everything else stays.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::listing::digests;
use super::matching::{Matching, Parties};
use super::record::{Content, Record};
use super::unfinished::Removal;
use super::{ClientError, Limits, LocalMetadata, TargetDir, storable};
use crate::metadata::{Delegations, RoleName, TargetFile, Targets};
use crate::trusted_set::{Origin, TargetSearch, TrustError, TrustedMetadataSet, Visit};
use crate::verify::Delegator;

/// What [`clean`] removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Delegated roles whose files are gone.
    pub roles: Vec<RoleName>,
    /// Paths below the target folder that are gone.
    pub targets: Vec<String>,
    /// How many unfinished downloads are gone.
    pub unfinished: usize,
    /// What stays though no role that is at hand wants it.
    pub kept: Vec<Kept>,
    /// What was put and cannot be looked at in its place, where something else stands on the way.
    pub unreachable: Vec<Kept>,
}

/// Something that may be of no use any more, and stays because that cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// A path below the target folder, or a role.
    pub what: String,
    /// What is missing.
    pub reason: String,
}

/// Removes from a folder of metadata, and from a folder of targets if there is one, what was put there and is not trusted
/// any more at this time.
///
/// # Errors
/// [`ClientError::NotInitialised`], [`ClientError::Local`], and [`ClientError::Trust`] where the root is not one.
pub fn clean(
    local: &LocalMetadata,
    targets: Option<&TargetDir>,
    limits: &Limits,
    now: DateTime<Utc>,
    removal: Removal,
) -> Result<Cleaned, ClientError> {
    let not_initialised = || ClientError::NotInitialised { path: local.path().to_owned() };
    local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
    let _lock = local.lock()?;
    let root = local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
    let mut known = Known::read(local, &root, limits, now)?;
    let mut record = local.record()?;
    let mut cleaned = Cleaned::default();
    if removal == Removal::Done {
        local.sweep()?;
    }
    plan_roles(local, &mut known, &record, &mut cleaned)?;
    if let Some(dir) = targets {
        let plan = plan_targets(dir, &mut known, &record, &mut cleaned)?;
        let wanted = known.digests();
        if removal == Removal::Done {
            dir.sweep()?;
            plan.carry_out(local, dir, &mut record)?;
        }
        if let Some(wanted) = wanted {
            cleaned.unfinished = dir.forget(&|digest| wanted.contains(digest), removal)?;
        }
    }
    if removal == Removal::Done && !cleaned.roles.is_empty() {
        cleaned.roles.iter().for_each(|role| drop(record.stored.remove(role)));
        local.replace_record(&record)?;
        cleaned.roles.iter().try_for_each(|role| local.remove(role))?;
    }
    Ok(cleaned)
}

/// Finds the files of delegated roles that were stored and that nobody delegates to any more.
fn plan_roles(
    local: &LocalMetadata,
    known: &mut Known<'_>,
    record: &Record,
    cleaned: &mut Cleaned,
) -> Result<(), ClientError> {
    for (role, content) in &record.stored {
        let unchanged = match local.load(role)? {
            Some(bytes) => Content::of_bytes(&bytes) == *content,
            None => false,
        };
        if role.is_top_level() || !unchanged {
            continue;
        }
        let is_delegated = |delegations: &Delegations| delegations.authority(role).is_some();
        if known.delegations().any(is_delegated) {
            continue;
        }
        match &known.missing {
            None => cleaned.roles.push(role.clone()),
            Some(reason) => cleaned.kept.push(Kept { what: role.to_string(), reason: reason.clone() }),
        }
    }
    Ok(())
}

/// What is to go from a target folder.
struct Plan {
    targets: BTreeSet<String>,
    /// The deepest first.
    folders: Vec<String>,
}

/// Finds the targets that were put, are as they were put, and are not listed any more; and folders that were made and
/// hold nothing else.
fn plan_targets(
    dir: &TargetDir,
    known: &mut Known<'_>,
    record: &Record,
    cleaned: &mut Cleaned,
) -> Result<Plan, ClientError> {
    let home = dir.home()?;
    let mut plan = Plan { targets: BTreeSet::new(), folders: Vec::new() };
    for ((folder, path), content) in &record.put {
        if *folder != home || storable(path).is_err() {
            continue;
        }
        match dir.recorded(path, content) {
            Ok(Some(_)) => {}
            Ok(None) => continue,
            // a link or a file has come to the place of a folder above it, or it cannot be read
            Err(error) => {
                cleaned.unreachable.push(Kept { what: path.clone(), reason: error.to_string() });
                continue;
            }
        }
        match known.listed(path) {
            Ok(Some(_)) => {}
            Ok(None) => {
                plan.targets.insert(path.clone());
                cleaned.targets.push(path.clone());
            }
            Err(reason) => cleaned.kept.push(Kept { what: path.clone(), reason }),
        }
    }
    let mut going = BTreeSet::new();
    // a folder comes after those that it holds
    let made = record.made.iter().rev().filter(|(folder, path)| *folder == home && storable(path).is_ok());
    for (_, path) in made {
        let Ok(Some(folder)) = dir.folder_at(path) else { continue };
        let goes = |name: &String| {
            let below = format!("{path}/{name}");
            plan.targets.contains(&below) || going.contains(&below)
        };
        // one that cannot be read stays
        if folder.names_are_text().unwrap_or(false)
            && folder.names().is_ok_and(|names| names.iter().all(goes))
        {
            plan.folders.push(path.clone());
            going.insert(path.clone());
        }
    }
    Ok(plan)
}

impl Plan {
    /// Takes the entries back first: what a killed run leaves stays for good.
    fn carry_out(
        &self,
        local: &LocalMetadata,
        dir: &TargetDir,
        record: &mut Record,
    ) -> Result<(), ClientError> {
        if self.targets.is_empty() && self.folders.is_empty() {
            return Ok(());
        }
        let home = dir.home()?;
        let before: Vec<_> = self
            .targets
            .iter()
            .filter_map(|path| Some((path, record.put.get(&(home.clone(), path.clone()))?.clone())))
            .collect();
        for path in self.targets.iter().chain(&self.folders) {
            record.forget(&(home.clone(), path.clone()));
        }
        local.replace_record(record)?;
        for (path, content) in before {
            let removed = dir.remove_recorded(path, &content);
            removed.map_err(|error| ClientError::local(&dir.path().join(path), error))?;
        }
        for path in &self.folders {
            // somebody may have put something there meanwhile
            dir.remove_empty(path);
        }
        Ok(())
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
            Ok(()) => known.follow_all()?,
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
    fn follow_all(&mut self) -> Result<(), ClientError> {
        let mut pending = vec![Visit { role: RoleName::targets(), delegator: RoleName::root() }];
        let mut seen = BTreeSet::new();
        while let Some(visit) = pending.pop() {
            match self.follow(&visit)? {
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
        Ok(())
    }

    /// Returns the roles that are delegated to; of hash bins those that the snapshot lists.
    fn delegated(&self, delegations: &Delegations) -> Vec<RoleName> {
        match (&delegations.succinct_roles, self.trusted.snapshot()) {
            (Some(bins), Some(snapshot)) => {
                let roles = snapshot.meta.keys().filter_map(|path| RoleName::from_metapath(&path));
                roles.filter(|role| bins.is_bin(role.as_str())).collect()
            }
            _ => delegations.roles().iter().map(|role| role.name.clone()).collect(),
        }
    }

    /// Takes a role through one delegation.
    fn follow(&mut self, visit: &Visit) -> Result<Result<(), String>, ClientError> {
        let edge = (visit.role.clone(), visit.delegator.clone());
        if let Some(followed) = self.followed.get(&edge) {
            return Ok(followed.clone());
        }
        let followed = if self.trusted.targets(&visit.role).is_some() {
            self.trusted.verify_again(&visit.role, &visit.delegator).map(|_| ()).map_err(|error| said(&error))
        } else {
            match self.local.load(&visit.role)? {
                Some(bytes) => {
                    let taken = self.trusted.update_targets(&bytes, &visit.role, &visit.delegator);
                    taken.map(|_| ()).map_err(|error| said(&error))
                }
                None => Err(format!("the metadata of {} is not here", visit.role)),
            }
        };
        self.followed.insert(edge, followed.clone());
        Ok(followed)
    }

    /// Returns what the role that answers for a path says of it, or why that cannot be told.
    fn listed(&mut self, path: &str) -> Result<Option<TargetFile>, String> {
        if self.trusted.targets(&RoleName::targets()).is_none() {
            return Err(self.missing.clone().unwrap_or_default());
        }
        let mut search = TargetSearch::new(path, self.limits.delegations.saturating_add(1));
        let mut parties = Parties::default();
        while let Some(visit) = search.next_visit() {
            self.follow(&visit).map_err(|error| error.to_string())??;
            let Some(targets) = self.trusted.targets(&visit.role) else { break };
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

    fn delegations(&self) -> impl Iterator<Item = &Delegations> {
        self.roles().filter_map(|targets| targets.delegations.as_ref())
    }

    /// Returns the digests of all targets that any role lists; `None` where not all roles are known.
    fn digests(&self) -> Option<BTreeSet<String>> {
        if self.missing.is_some() {
            return None;
        }
        Some(self.roles().flat_map(digests).collect())
    }
}

/// Says why a role cannot be asked.
fn said(error: &TrustError) -> String {
    match error {
        TrustError::OutOfOrder { missing } => format!("the metadata of {missing} is not here"),
        error => error.to_string(),
    }
}
