//! All targets that a client can trust: for each path the answer that the search for it would give.
//!
//! A role that fails is that role's fault: what its search does not pass is listed all the same. A path whose search
//! would pass it is not, since the role might have listed it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::arrivals::waiting_name;
use super::matching::{Matching, Parties};
use super::{ClientError, Updater};
use crate::metadata::{Delegations, RoleName, Snapshot, TargetFile, TargetPath, Targets};
use crate::trusted_set::{TargetSearch, TrustError, Visit};

/// After this many of them could not be had, because the network failed or the server has no such file, the roles that a
/// delegator delegates to, or the targets that a role lists, are not asked for any more: neither a dead server nor the names
/// that one role chooses hold up a run for long.
pub(super) const FAILURES: usize = 3;

/// The most roles below one delegator, and targets of one role, that are named when they fail; the others are counted.
pub(super) const NAMED: usize = 3;

/// The most parts a target path may have.
pub(super) const MOST_PARTS: usize = TargetPath::MOST_PARTS;

/// A target and the role that answers for it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedTarget {
    /// The path.
    pub path: TargetPath,
    /// The role.
    pub role: RoleName,
    /// What the role says.
    pub info: TargetFile,
}

/// The targets of a repository, and what kept others from being listed.
#[derive(Debug, Default)]
pub struct Listing {
    /// The targets, in the order of the roles, and of the paths in each.
    pub targets: Vec<ListedTarget>,
    /// Roles that cannot be trusted or had, and targets that have no path to be stored under.
    pub faults: Vec<ClientError>,
}

impl Updater<'_> {
    /// Lists all targets, loading every role that can be reached.
    ///
    /// A path that a role lists without being trusted for it is not there.
    ///
    /// # Errors
    /// [`ClientError`] where the top-level targets role cannot be trusted.
    pub fn list(&mut self) -> Result<Listing, ClientError> {
        let mut listing = Listing { targets: Vec::new(), faults: self.load_all()? };
        self.is_complete = listing.faults.is_empty();
        let (mut matching, mut exhausted) = (Matching::new(self.limits.matching), BTreeSet::new());
        for role in &self.in_order() {
            let Some(targets) = self.trusted.targets(role) else { continue };
            for (path, info) in &targets.targets {
                match self.answers(&path, &mut matching) {
                    Ok(answering) if answering.as_ref() == Some(role) => {}
                    Ok(_) => continue,
                    Err(error) => {
                        if exhausted.insert(error.subject()) {
                            listing.faults.push(error);
                        }
                        continue;
                    }
                }
                match storable(&path) {
                    Ok(path) => listing.targets.push(ListedTarget { path, role: role.clone(), info }),
                    Err(error) => listing.faults.push(error),
                }
            }
        }
        self.record_stored()?;
        Ok(listing)
    }

    /// Loads every role that can be reached, each delegation verified. The parties that the top-level role delegates to
    /// take turns, and each asks first for what is nearest: what one role delegates to keeps no other from being asked.
    /// Returns what failed.
    fn load_all(&mut self) -> Result<Vec<ClientError>, ClientError> {
        let top = Visit { role: RoleName::targets(), delegator: RoleName::root() };
        self.role(&top)?;
        let mut faults = Faults::default();
        let mut asked = BTreeSet::from([top.role.clone()]);
        let mut parties: VecDeque<Party> =
            self.below(&top.role, 1, &mut faults)?.into_iter().map(Party::new).collect();
        let mut seen = BTreeSet::from([top.role]);
        while let Some(mut party) = parties.pop_front() {
            let Some((visit, depth)) = party.pending.pop_front() else { continue };
            if faults.are_too_many(&visit.delegator) {
                faults.left(&visit.delegator);
                parties.push_front(party);
                continue;
            }
            asked.insert(visit.role.clone());
            if asked.len() > self.limits.listed_roles {
                faults
                    .all
                    .push(ClientError::TooManyRoles { limit: self.limits.listed_roles, role: visit.role });
                break;
            }
            match self.role(&visit).map(drop) {
                Err(error) => faults.note(&visit.delegator, error),
                Ok(()) if seen.insert(visit.role.clone()) => {
                    party.bytes = party.bytes.saturating_add(self.trusted.length(&visit.role));
                    if party.bytes > self.limits.listed_bytes {
                        let limit = self.limits.listed_bytes;
                        faults.all.push(ClientError::TooManyBytes { role: party.name, limit });
                        continue;
                    }
                    let limit = self.limits.delegated();
                    // no search goes deeper than it may visit roles
                    if depth < self.limits.delegations && party.delegated <= limit {
                        let mut below = self.below(&visit.role, depth + 1, &mut faults)?;
                        let room = limit - party.delegated;
                        party.delegated += below.len();
                        if below.len() > room {
                            below.truncate(room);
                            let role = party.name.clone();
                            faults.all.push(ClientError::TooManyDelegations { role, limit });
                        }
                        party.pending.extend(below);
                    }
                }
                Ok(()) => {}
            }
            parties.push_back(party);
        }
        Ok(faults.end())
    }

    /// Returns the visits that a role's delegations lead to, without the roles that the snapshot does not list: there is no
    /// file to ask for.
    fn below(
        &self,
        delegator: &RoleName,
        depth: usize,
        faults: &mut Faults,
    ) -> Result<Vec<(Visit, usize)>, ClientError> {
        let snapshot = self.trusted.current_snapshot()?;
        let children = self.children(delegator)?;
        let (listed, absent): (Vec<_>, Vec<_>) =
            children.into_iter().partition(|role| snapshot.role(role).is_some());
        match absent.as_slice() {
            [] => {}
            [role] => {
                let error = TrustError::NotInSnapshot { role: role.clone(), version: snapshot.version };
                faults.note(delegator, error.into());
            }
            [role, others @ ..] => faults.all.push(ClientError::NotInSnapshot {
                delegator: delegator.clone(),
                role: role.clone(),
                more: others.len(),
            }),
        }
        let visit = |role| (Visit { role, delegator: delegator.clone() }, depth);
        Ok(listed.into_iter().map(visit).collect())
    }

    /// Returns the roles that have been loaded, in pre-order.
    fn in_order(&self) -> Vec<RoleName> {
        // by delegator: to look for the bins of each role anew would cost the square of their number
        let mut verified: BTreeMap<&RoleName, Vec<&RoleName>> = BTreeMap::new();
        for (role, delegators) in &self.verified {
            delegators.iter().for_each(|delegator| verified.entry(delegator).or_default().push(role));
        }
        let mut pending = vec![Visit { role: RoleName::targets(), delegator: RoleName::root() }];
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(visit) = pending.pop() {
            if !self.is_verified(&visit) || !seen.insert(visit.role.clone()) {
                continue;
            }
            let delegations =
                self.trusted.targets(&visit.role).and_then(|targets| targets.delegations.as_ref());
            let children = match delegations {
                Some(delegations) if delegations.succinct_roles.is_none() => {
                    delegations.roles().iter().map(|role| &role.name).collect()
                }
                // the names of bins have one length: they are in the order of their numbers
                Some(_) => verified.remove(&visit.role).unwrap_or_default(),
                None => Vec::new(),
            };
            let next = children.into_iter().rev();
            pending.extend(next.map(|role| Visit { role: role.clone(), delegator: visit.role.clone() }));
            order.push(visit.role);
        }
        order
    }

    fn children(&self, role: &RoleName) -> Result<Vec<RoleName>, ClientError> {
        let snapshot = self.trusted.current_snapshot()?;
        let delegations = self.trusted.targets(role).and_then(|targets| targets.delegations.as_ref());
        Ok(delegations.map(|delegations| children(delegations, snapshot)).unwrap_or_default())
    }

    /// Returns the role that the search for a path ends at, among the roles that have been loaded.
    fn answers(&self, path: &str, matching: &mut Matching) -> Result<Option<RoleName>, ClientError> {
        let mut search = TargetSearch::new(path, self.limits.delegations.saturating_add(1));
        let mut parties = Parties::default();
        while let Some(visit) = search.next_visit() {
            if !self.is_verified(&visit) {
                // its answer would have counted: nobody behind it is asked
                return Ok(None);
            }
            let Some(targets) = self.trusted.targets(&visit.role) else { return Ok(None) };
            if matching.look(&mut search, &visit, targets, &mut parties)?.is_some() {
                return Ok(Some(visit.role));
            }
        }
        Ok(None)
    }
}

/// Takes a path that metadata lists for one that a target can be stored under.
///
/// # Errors
/// [`ClientError::UnsafePath`], [`ClientError::ReservedPath`], [`ClientError::DeepPath`].
pub fn storable(path: &str) -> Result<TargetPath, ClientError> {
    let parsed = TargetPath::parse(path).map_err(|source| ClientError::UnsafePath { source })?;
    if parsed.is_reserved() {
        return Err(ClientError::ReservedPath { path: path.to_owned() });
    }
    if TargetPath::is_deep_name(path) {
        return Err(ClientError::DeepPath { path: path.to_owned() });
    }
    Ok(parsed)
}

/// Returns what the large targets that a role lists wait under until they are whole.
pub(super) fn waiting_names(targets: &Targets) -> BTreeSet<String> {
    let listed = targets.targets.iter();
    listed.filter_map(|(path, file)| waiting_name(&path, &file)).collect()
}

/// All roles below one delegation of the top-level targets role.
struct Party {
    name: RoleName,
    /// What it leads to that has not been asked for, the nearest first, with how deep it lies.
    pending: VecDeque<(Visit, usize)>,
    /// How many delegations have been pending for it.
    delegated: usize,
    /// How long the metadata is that was loaded for it.
    bytes: u64,
}

impl Party {
    fn new(first: (Visit, usize)) -> Self {
        Self { name: first.0.role.clone(), pending: VecDeque::from([first]), delegated: 1, bytes: 0 }
    }
}

/// What failed, each once, and how often the network did for the roles of one delegator.
#[derive(Default)]
struct Faults {
    all: Vec<ClientError>,
    said: BTreeSet<String>,
    network: BTreeMap<RoleName, usize>,
    left: BTreeMap<RoleName, usize>,
    named: BTreeMap<RoleName, usize>,
}

impl Faults {
    fn note(&mut self, delegator: &RoleName, error: ClientError) {
        // what the top-level role delegates to are parties: the files that some of them do not publish keep no other from being
        // asked, but a server that is dead does
        let is_party = *delegator == RoleName::targets();
        if error.is_of_the_network() || (error.is_not_found() && !is_party) {
            *self.network.entry(delegator.clone()).or_default() += 1;
        }
        // a role that two delegate to fails twice
        if !self.said.insert(format!("{} {error}", error.subject())) {
            return;
        }
        let named = self.named.entry(delegator.clone()).or_default();
        *named += 1;
        // the top-level role is the maintainer's own, and each party below it has a line
        if *named <= NAMED || *delegator == RoleName::targets() {
            self.all.push(error);
        }
    }

    fn are_too_many(&self, delegator: &RoleName) -> bool {
        self.network.get(delegator).is_some_and(|count| *count >= FAILURES)
    }

    fn left(&mut self, delegator: &RoleName) {
        *self.left.entry(delegator.clone()).or_default() += 1;
    }

    fn end(mut self) -> Vec<ClientError> {
        let given_up = |(role, left)| ClientError::GivenUp { role, left, kind: "roles that it delegates to" };
        self.all.extend(self.left.into_iter().map(given_up));
        let unnamed = self.named.into_iter().filter(|(role, _)| *role != RoleName::targets());
        let unnamed = unnamed.filter_map(|(delegator, named)| {
            let more = named.checked_sub(NAMED).filter(|more| *more > 0)?;
            Some(ClientError::MoreFailed { delegator, more })
        });
        self.all.extend(unnamed);
        self.all
    }
}

/// Returns all roles that are delegated to. Of hash bins, those that the snapshot lists: metadata may claim four
/// thousand million of them.
fn children(delegations: &Delegations, snapshot: &Snapshot) -> Vec<RoleName> {
    match &delegations.succinct_roles {
        Some(bins) => snapshot.bins(bins),
        None => delegations.roles().iter().map(|role| role.name.clone()).collect(),
    }
}
