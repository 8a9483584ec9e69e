//! The specification's client workflow, 5.3 to 5.6, as a pure state: fed with bytes, with the time given.
//!
//! The order of the calls is the workflow's: roots, timestamp, snapshot, targets, delegated roles. Metadata that
//! turns out to be expired still serves to judge newer metadata, as the specification wants, but nothing is built
//! upon it. No I/O: whoever holds the set reads, downloads and stores.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::canonical::CanonicalError;
use crate::crypto::{Fingerprint, fingerprint};
use crate::metadata::{
    Delegations, MetaFile, Metadata, Mismatch, ParseError, RoleName, Root, Signed, Snapshot, Steps,
    TargetFile, Targets, Timestamp, time,
};
use crate::verify::{
    Authority, Delegator, Unsigned, Verified, require, verify_delegate, verify_self_signed, verify_successor,
};

/// Why metadata is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The bytes are not metadata.
    #[error("{role} {}", predicate(.reason))]
    Invalid {
        /// The role.
        role: RoleName,
        /// What is wrong.
        reason: ParseError,
    },
    /// Not signed by a threshold.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// Older than what is trusted already (5.4.3, 5.5.5).
    #[error("{role} v{found} is older than v{trusted}, which is trusted already")]
    Rollback {
        /// The role.
        role: RoleName,
        /// The version trusted.
        trusted: u64,
        /// The version offered.
        found: u64,
    },
    /// A snapshot forgot a role that an older one listed (5.5.5).
    #[error("snapshot v{version} no longer lists {role}")]
    RoleDropped {
        /// The role that is gone.
        role: RoleName,
        /// The version of the snapshot.
        version: u64,
    },
    /// Not the version that was announced or asked for (5.3.5, 5.5.4, 5.6.4).
    #[error("{role} has version {found}, not {expected}")]
    Version {
        /// The role.
        role: RoleName,
        /// The version announced.
        expected: u64,
        /// The version found.
        found: u64,
    },
    /// The timestamp offered is the one that is trusted already (5.4.3.1): no failure, nothing new.
    #[error("timestamp v{version} is trusted already")]
    SameTimestamp {
        /// The version.
        version: u64,
    },
    /// No longer to be trusted (5.3.10, 5.4.4, 5.5.6, 5.6.5).
    #[error("{role} v{version} expired on {}", time::format(.expires))]
    Expired {
        /// The role.
        role: RoleName,
        /// The version.
        version: u64,
        /// When.
        expires: DateTime<Utc>,
    },
    /// Not the bytes that were announced (5.5.2, 5.6.2).
    #[error("{role} {mismatch}")]
    Mismatch {
        /// The role.
        role: RoleName,
        /// How they differ.
        mismatch: Mismatch,
    },
    /// The snapshot does not list the role.
    #[error("snapshot v{version} does not list {role}")]
    NotInSnapshot {
        /// The role.
        role: RoleName,
        /// The version of the snapshot.
        version: u64,
    },
    /// The delegator does not delegate to the role.
    #[error("{delegator} does not delegate to {role}")]
    NotDelegated {
        /// The role.
        role: RoleName,
        /// Who should.
        delegator: RoleName,
    },
    /// Metadata that comes earlier in the workflow has not been loaded.
    #[error("{missing} has not been loaded yet")]
    OutOfOrder {
        /// What is needed first.
        missing: RoleName,
    },
}

/// Says of a role what keeps it from being read.
fn predicate(reason: &ParseError) -> String {
    match reason {
        ParseError::Canonical(CanonicalError::Syntax { .. } | CanonicalError::TooDeep { .. })
        | ParseError::Malformed { .. } => format!("is {reason}"),
        ParseError::Canonical(_) => format!("cannot be read: {reason}"),
        ParseError::SpecVersion { .. } | ParseError::DuplicateSignature { .. } => reason.to_string(),
    }
}

/// Where a snapshot's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Trusted once, read from local storage: the timestamp may announce another one by now.
    Local,
    /// Just downloaded: must be what the timestamp announces.
    Remote,
}

/// The metadata that a client trusts at a fixed time.
#[derive(Debug, Clone)]
pub struct TrustedMetadataSet {
    now: DateTime<Utc>,
    root: Verified<Root>,
    timestamp: Option<Verified<Timestamp>>,
    snapshot: Option<Verified<Snapshot>>,
    targets: BTreeMap<RoleName, Verified<Targets>>,
    keys_rotated: bool,
}

impl TrustedMetadataSet {
    /// Starts from a root that is trusted already (5.2), at the time at which the update began (5.1).
    ///
    /// # Errors
    /// [`TrustError::Invalid`], [`TrustError::Unsigned`] where the root is not signed by its own keys.
    pub fn new(root: &[u8], now: DateTime<Utc>) -> Result<Self, TrustError> {
        let root = verify_self_signed(parse(&RoleName::root(), root)?)?;
        Ok(Self { now, root, timestamp: None, snapshot: None, targets: BTreeMap::new(), keys_rotated: false })
    }

    /// Returns the time that expiry is judged by.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns the trusted root.
    pub fn root(&self) -> &Root {
        self.root.signed()
    }

    /// Tells whether a root taken since the start withdrew a key of timestamp or snapshot: local copies of both are
    /// then to be deleted (5.3.11).
    pub fn keys_rotated(&self) -> bool {
        self.keys_rotated
    }

    /// Returns the trusted timestamp, which may have expired.
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref().map(Verified::signed)
    }

    /// Returns the trusted snapshot, which may have expired or be older than the timestamp announces.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().map(Verified::signed)
    }

    /// Returns the trusted metadata of a role that lists targets.
    pub fn targets(&self, role: &RoleName) -> Option<&Targets> {
        self.targets.get(role).map(Verified::signed)
    }

    /// Gives up what nobody asks a trusted role for: members that this crate does not know. For who writes nothing of it.
    pub(crate) fn forget_unknown(&mut self, role: &RoleName) {
        if let Some(targets) = self.targets.get_mut(role) {
            targets.forget_unknown();
        }
    }

    /// Returns how many bytes of a role's metadata are signed; 0 where it is not trusted.
    pub(crate) fn length(&self, role: &RoleName) -> u64 {
        self.targets.get(role).map_or(0, |targets| targets.metadata().signed_bytes().len() as u64)
    }

    /// Takes the next root (5.3.4 to 5.3.8). Its expiry is judged later, by [`Self::check_root_expiry`].
    ///
    /// # Errors
    /// [`TrustError`] where the root is not the successor of the trusted one; nothing has changed then.
    pub fn update_root(&mut self, bytes: &[u8]) -> Result<&Root, TrustError> {
        let role = RoleName::root();
        let trusted = self.root.signed();
        let root = verify_successor(trusted, parse(&role, bytes)?)?;
        let (expected, found) = (trusted.version + 1, root.signed().version);
        // spec 5.3.5: exactly the next version
        if found != expected {
            return Err(TrustError::Version { role, expected, found });
        }
        // spec 5.3.11: a key that is trusted no longer may have signed a fast-forward
        let rotated = [RoleName::timestamp(), RoleName::snapshot()]
            .iter()
            .any(|role| drops_a_key(trusted, root.signed(), role));
        if rotated {
            self.keys_rotated = true;
            self.timestamp = None;
            self.snapshot = None;
        }
        self.targets.clear();
        self.root = root;
        Ok(self.root.signed())
    }

    /// Judges the final root (5.3.10).
    ///
    /// # Errors
    /// [`TrustError::Expired`].
    pub fn check_root_expiry(&self) -> Result<(), TrustError> {
        self.unexpired(&RoleName::root(), self.root.signed())
    }

    /// Takes a timestamp (5.4.2 to 5.4.4).
    ///
    /// # Errors
    /// [`TrustError`] where it is not trusted. After [`TrustError::Expired`] it is kept, to judge newer ones by;
    /// after [`TrustError::SameTimestamp`] the present one stays.
    pub fn update_timestamp(&mut self, bytes: &[u8]) -> Result<&Timestamp, TrustError> {
        let role = RoleName::timestamp();
        self.check_root_expiry()?;
        let timestamp: Verified<Timestamp> = self.verified_by_root(&role, bytes)?;
        if let Some(trusted) = &self.timestamp {
            let (trusted, found) = (trusted.signed(), timestamp.signed());
            // spec 5.4.3.1
            if found.version < trusted.version {
                return Err(TrustError::Rollback { role, trusted: trusted.version, found: found.version });
            }
            if found.version == trusted.version {
                return Err(TrustError::SameTimestamp { version: found.version });
            }
            // spec 5.4.3.2
            let (trusted, found) = (announced(trusted), announced(found));
            if found < trusted {
                return Err(TrustError::Rollback { role: RoleName::snapshot(), trusted, found });
            }
        }
        let timestamp = self.timestamp.insert(timestamp).signed();
        // spec 5.4.4, after it has been kept: an expired one still protects against older ones
        unexpired(&role, timestamp, self.now)?;
        Ok(timestamp)
    }

    /// Takes a snapshot (5.5.2 to 5.5.6).
    ///
    /// # Errors
    /// [`TrustError`] where it is not trusted. A local one that has expired or is not the announced one is kept,
    /// to judge newer ones by, though the error says so.
    pub fn update_snapshot(&mut self, bytes: &[u8], origin: Origin) -> Result<&Snapshot, TrustError> {
        let role = RoleName::snapshot();
        let timestamp = self.current_timestamp()?;
        // spec 5.5.2; a local copy was checked when it was downloaded, against the timestamp of its time
        if origin == Origin::Remote {
            check_bytes(&role, timestamp.snapshot(), bytes)?;
        }
        self.take_snapshot(parse(&role, bytes)?, origin)
    }

    /// Takes as [`Self::update_snapshot`] does what has been read already and is the file as [`Metadata::to_bytes`] writes
    /// it.
    ///
    /// # Errors
    /// As [`Self::update_snapshot`].
    pub fn update_read_snapshot(
        &mut self,
        metadata: Metadata<Snapshot>,
        origin: Origin,
    ) -> Result<&Snapshot, TrustError> {
        let listed = self.current_timestamp()?.snapshot();
        // a local copy was checked against the timestamp of its time
        let listed = listed.filter(|_| origin == Origin::Remote);
        check_read(&RoleName::snapshot(), listed, &metadata)?;
        self.take_snapshot(metadata, origin)
    }

    fn current_timestamp(&self) -> Result<&Timestamp, TrustError> {
        let timestamp = self.timestamp().ok_or(TrustError::OutOfOrder { missing: RoleName::timestamp() })?;
        self.unexpired(&RoleName::timestamp(), timestamp)?;
        Ok(timestamp)
    }

    fn take_snapshot(
        &mut self,
        metadata: Metadata<Snapshot>,
        origin: Origin,
    ) -> Result<&Snapshot, TrustError> {
        let role = RoleName::snapshot();
        let expected = announced(self.current_timestamp()?);
        let snapshot = self.signed_by_root(&role, metadata)?;
        let found = snapshot.signed().version;
        // spec 5.5.4
        if origin == Origin::Remote && found != expected {
            return Err(TrustError::Version { role, expected, found });
        }
        if let Some(trusted) = &self.snapshot {
            check_rollback(trusted.signed(), snapshot.signed())?;
        }
        if origin == Origin::Remote {
            // spec 5.5.6; a local one that has expired is kept below
            self.unexpired(&role, snapshot.signed())?;
        }
        self.snapshot = Some(snapshot);
        self.current_snapshot()
    }

    /// Returns the snapshot that the timestamp announces, unexpired.
    ///
    /// # Errors
    /// [`TrustError::OutOfOrder`], [`TrustError::Version`], [`TrustError::Expired`].
    pub fn current_snapshot(&self) -> Result<&Snapshot, TrustError> {
        let role = RoleName::snapshot();
        let timestamp = self.timestamp().ok_or(TrustError::OutOfOrder { missing: RoleName::timestamp() })?;
        let snapshot = self.snapshot().ok_or(TrustError::OutOfOrder { missing: role.clone() })?;
        let (expected, found) = (announced(timestamp), snapshot.version);
        if found != expected {
            return Err(TrustError::Version { role, expected, found });
        }
        self.unexpired(&role, snapshot)?;
        Ok(snapshot)
    }

    /// Takes targets metadata (5.6.2 to 5.6.5) of the top-level role, delegated by `root`, or of a delegated one.
    ///
    /// # Errors
    /// [`TrustError`] where it is not trusted; nothing has changed then.
    pub fn update_targets(
        &mut self,
        bytes: &[u8],
        role: &RoleName,
        delegator: &RoleName,
    ) -> Result<&Targets, TrustError> {
        let targets = self.verify_targets(bytes, role, delegator)?;
        Ok(self.keep_targets(role, targets))
    }

    /// Keeps what [`Self::verify_targets`] has let through, as [`Self::update_targets`] does.
    pub fn keep_targets(&mut self, role: &RoleName, targets: Verified<Targets>) -> &Targets {
        self.targets.remove(role);
        self.targets.entry(role.clone()).or_insert(targets).signed()
    }

    /// Judges targets metadata as [`Self::update_targets`] does, and keeps nothing: many may be judged at a time.
    ///
    /// # Errors
    /// As [`Self::update_targets`].
    pub fn verify_targets(
        &self,
        bytes: impl Into<Vec<u8>>,
        role: &RoleName,
        delegator: &RoleName,
    ) -> Result<Verified<Targets>, TrustError> {
        let (listed, bytes) = (self.listed(role)?, bytes.into());
        check_bytes(role, Some(&listed), &bytes)?;
        self.judge(parse(role, bytes)?, listed.version, role, delegator)
    }

    /// Judges as [`Self::verify_targets`] does what has been read already and is the file as [`Metadata::to_bytes`] writes
    /// it.
    ///
    /// # Errors
    /// As [`Self::update_targets`].
    pub fn verify_read_targets(
        &self,
        metadata: Metadata<Targets>,
        role: &RoleName,
        delegator: &RoleName,
    ) -> Result<Verified<Targets>, TrustError> {
        let listed = self.listed(role)?;
        check_read(role, Some(&listed), &metadata)?;
        self.judge(metadata, listed.version, role, delegator)
    }

    fn listed(&self, role: &RoleName) -> Result<MetaFile, TrustError> {
        let snapshot = self.current_snapshot()?;
        let unlisted = || TrustError::NotInSnapshot { role: role.clone(), version: snapshot.version };
        snapshot.role(role).ok_or_else(unlisted)
    }

    fn judge(
        &self,
        metadata: Metadata<Targets>,
        expected: u64,
        role: &RoleName,
        delegator: &RoleName,
    ) -> Result<Verified<Targets>, TrustError> {
        let targets = self.verified_by(delegator, role, metadata)?;
        let found = targets.signed().version;
        if found != expected {
            return Err(TrustError::Version { role: role.clone(), expected, found });
        }
        self.unexpired(role, targets.signed())?;
        Ok(targets)
    }

    /// Checks a role that has been taken through one delegator again for another one.
    ///
    /// # Errors
    /// [`TrustError::Unsigned`], [`TrustError::NotDelegated`], [`TrustError::OutOfOrder`].
    pub fn verify_again(&self, role: &RoleName, delegator: &RoleName) -> Result<&Targets, TrustError> {
        let targets = self.targets.get(role).ok_or(TrustError::OutOfOrder { missing: role.clone() })?;
        let authority = self.authority(delegator, role)?;
        require(&authority, targets.metadata())?;
        Ok(targets.signed())
    }

    fn verified_by(
        &self,
        delegator: &RoleName,
        role: &RoleName,
        metadata: Metadata<Targets>,
    ) -> Result<Verified<Targets>, TrustError> {
        Ok(verify_delegate(&self.authority(delegator, role)?, metadata)?)
    }

    /// Returns the keys that a delegator trusts for a role.
    fn authority(&self, delegator: &RoleName, role: &RoleName) -> Result<Authority<'_>, TrustError> {
        let authority = if delegator.as_str() == "root" {
            self.root.signed().authority(role)
        } else {
            let trusted =
                self.targets(delegator).ok_or(TrustError::OutOfOrder { missing: delegator.clone() })?;
            trusted.authority(role)
        };
        let not_delegated = || TrustError::NotDelegated { role: role.clone(), delegator: delegator.clone() };
        authority.ok_or_else(not_delegated)
    }

    /// Gives up everything but the metadata that lists targets.
    pub fn into_targets(self) -> BTreeMap<RoleName, Targets> {
        self.targets.into_iter().map(|(role, targets)| (role, targets.into_signed())).collect()
    }

    fn verified_by_root<T: Signed>(&self, role: &RoleName, bytes: &[u8]) -> Result<Verified<T>, TrustError> {
        self.signed_by_root(role, parse(role, bytes)?)
    }

    fn signed_by_root<T: Signed>(
        &self,
        role: &RoleName,
        metadata: Metadata<T>,
    ) -> Result<Verified<T>, TrustError> {
        let not_delegated = || TrustError::NotDelegated { role: role.clone(), delegator: RoleName::root() };
        let authority = self.root.signed().authority(role).ok_or_else(not_delegated)?;
        Ok(verify_delegate(&authority, metadata)?)
    }

    fn unexpired<T: Signed>(&self, role: &RoleName, signed: &T) -> Result<(), TrustError> {
        unexpired(role, signed, self.now)
    }
}

/// Tells whether a key that a root trusted for a role is no longer trusted by its successor.
fn drops_a_key(old: &Root, new: &Root, role: &RoleName) -> bool {
    let keys = |root: &Root| -> Vec<Option<Fingerprint>> {
        let authority = root.authority(role);
        authority
            .iter()
            .flat_map(|authority| authority.keys())
            .map(|(_, key)| key.and_then(fingerprint))
            .collect()
    };
    let kept = keys(new);
    keys(old).iter().any(|key| !kept.contains(key))
}

/// The expiry must be higher than the time (5.3.10 and its like).
fn unexpired<T: Signed>(role: &RoleName, signed: &T, now: DateTime<Utc>) -> Result<(), TrustError> {
    let expires = signed.expires();
    if expires > now {
        return Ok(());
    }
    Err(TrustError::Expired { role: role.clone(), version: signed.version(), expires })
}

fn parse<T: Signed>(role: &RoleName, bytes: impl Into<Vec<u8>>) -> Result<Metadata<T>, TrustError> {
    Metadata::from_file(bytes.into()).map_err(|reason| TrustError::Invalid { role: role.clone(), reason })
}

fn check_bytes(role: &RoleName, listed: Option<&MetaFile>, bytes: &[u8]) -> Result<(), TrustError> {
    let checked = listed.map_or(Ok(()), |file| file.check(bytes));
    checked.map_err(|mismatch| TrustError::Mismatch { role: role.clone(), mismatch })
}

/// Checks what has been read already as [`check_bytes`] does its file, which is made only where it is described.
fn check_read<T: Signed>(
    role: &RoleName,
    listed: Option<&MetaFile>,
    metadata: &Metadata<T>,
) -> Result<(), TrustError> {
    let invalid = |reason: ParseError| TrustError::Invalid { role: role.clone(), reason };
    // what was made here and not read must be readable as well
    metadata.check().map_err(invalid)?;
    if listed.is_none_or(|listed| listed.length.is_none() && listed.hashes.is_none()) {
        return Ok(());
    }
    check_bytes(role, listed, &metadata.to_bytes().map_err(|error| invalid(error.into()))?)
}

/// Returns the version of the snapshot that a timestamp announces.
fn announced(timestamp: &Timestamp) -> u64 {
    timestamp.snapshot().map_or(0, |file| file.version)
}

/// Spec 5.5.5: no role may go back or go missing.
fn check_rollback(trusted: &Snapshot, new: &Snapshot) -> Result<(), TrustError> {
    // what both list just so has not gone back
    let changed = trusted.meta.differing(&new.meta);
    for (metapath, old) in changed.into_iter().filter_map(|place| trusted.meta.at(place)) {
        let role = RoleName::from_metapath(&metapath).unwrap_or_else(RoleName::targets);
        match new.meta.get(&metapath) {
            None => return Err(TrustError::RoleDropped { role, version: new.version }),
            Some(file) if file.version < old.version => {
                return Err(TrustError::Rollback { role, trusted: old.version, found: file.version });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// One step of the search for a target (5.6.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The role to look at.
    pub role: RoleName,
    /// Who delegates to it.
    pub delegator: RoleName,
}

/// The pre-order search through the delegations for one target path (5.6.7): says which role comes next.
#[derive(Debug, Clone)]
pub struct TargetSearch {
    path: String,
    pending: Vec<Visit>,
    visited: std::collections::BTreeSet<RoleName>,
    limit: usize,
}

impl TargetSearch {
    /// Starts at the top-level targets role; at most `limit` roles are visited.
    pub fn new(path: impl Into<String>, limit: usize) -> Self {
        let first = Visit { role: RoleName::targets(), delegator: RoleName::root() };
        Self { path: path.into(), pending: vec![first], visited: Default::default(), limit }
    }

    /// Returns the next role to visit; `None` when the search is over without a result.
    pub fn next_visit(&mut self) -> Option<Visit> {
        while self.visited.len() < self.limit {
            let visit = self.pending.pop()?;
            if self.visited.insert(visit.role.clone()) {
                return Some(visit);
            }
        }
        None
    }

    /// Looks for the target in a visited role's metadata; where it is not, lines up the role's delegations.
    pub fn look(&mut self, visit: &Visit, targets: &Targets) -> Option<TargetFile> {
        self.look_within(visit, targets, &mut Steps::new(u64::MAX))
    }

    /// Looks as [`Self::look`] does, within a number of steps. Where they are spent afterwards the search has no answer.
    pub fn look_within(&mut self, visit: &Visit, targets: &Targets, steps: &mut Steps) -> Option<TargetFile> {
        if !steps.take(LOOK) {
            return None;
        }
        if let Some(file) = targets.targets.get(&self.path) {
            return Some(file);
        }
        let (children, terminating) = trusted_children(targets.delegations.as_ref(), &self.path, steps);
        if terminating {
            self.pending.clear();
        }
        let next = children.into_iter().rev().map(|role| Visit { role, delegator: visit.role.clone() });
        self.pending.extend(next);
        None
    }
}

/// What it costs to look for a path among the targets of a role, in steps of [`Steps`].
const LOOK: usize = 64;
/// What it costs to line up a role that is delegated to.
const CHILD: usize = 32;

/// Returns the roles that are trusted for a path, in order, up to a terminating one, and whether there was one.
fn trusted_children(
    delegations: Option<&Delegations>,
    path: &str,
    steps: &mut Steps,
) -> (Vec<RoleName>, bool) {
    let Some(delegations) = delegations else { return (Vec::new(), false) };
    if let Some(bins) = &delegations.succinct_roles {
        // TAP 15: each path falls into one bin, and no bin is terminating: the search goes on behind it
        return (RoleName::new(bins.bin_for(path)).into_iter().collect(), false);
    }
    let (mut children, hash) = (Vec::new(), OnceCell::new());
    for role in delegations.roles() {
        if steps.are_spent() {
            break;
        }
        if !role.trusts_within(path, &hash, steps) {
            continue;
        }
        if !steps.take(CHILD) {
            break;
        }
        children.push(role.name.clone());
        if role.terminating {
            return (children, true);
        }
    }
    (children, false)
}

#[cfg(test)]
mod tests;
