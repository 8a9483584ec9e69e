//! Brings trusted metadata up to date with exactly the requests that the specification's workflow needs.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use url::Url;

use super::local::LocalLock;
use super::{ClientError, Fetched, Fetcher, LocalMetadata, urls};
use crate::metadata::{RoleName, Targets};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet, Visit};

/// Bounds for what a repository may ask of a client; the defaults are python-tuf's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many newer roots one update takes.
    pub root_rotations: u32,
    /// How many delegated roles the search for one target visits, beside the top-level targets role.
    pub delegations: usize,
    /// The largest root in bytes.
    pub root: u64,
    /// The largest timestamp in bytes.
    pub timestamp: u64,
    /// The largest snapshot in bytes, where the timestamp lists no length.
    pub snapshot: u64,
    /// The largest targets metadata in bytes, where the snapshot lists no length.
    pub targets: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_rotations: 256,
            delegations: 32,
            root: 512_000,
            timestamp: 16_384,
            snapshot: 2_000_000,
            targets: 5_000_000,
        }
    }
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The base URL of metadata.
    pub metadata: Url,
    /// The base URL of targets.
    pub targets: Url,
}

impl Repository {
    /// Takes a repository that holds both in folders of their usual names.
    pub fn at(base: &Url) -> Self {
        Self { metadata: urls::folder(base, "metadata"), targets: urls::folder(base, "targets") }
    }
}

/// The versions that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Of the root.
    pub root: u64,
    /// Of the timestamp, where there is one.
    pub timestamp: Option<u64>,
    /// Of the snapshot, where there is one.
    pub snapshot: Option<u64>,
    /// Of the top-level targets metadata, where there is any.
    pub targets: Option<u64>,
}

/// One update cycle of a client, at a fixed time (5.1).
pub struct Updater<'a> {
    pub(super) fetcher: &'a dyn Fetcher,
    pub(super) repository: Repository,
    pub(super) limits: Limits,
    pub(super) trusted: TrustedMetadataSet,
    local: LocalMetadata,
    /// Held from the reading of the root to the end of the refresh: two clients in one folder take turns.
    lock: Option<LocalLock>,
    /// The roles that have been verified, and through whom.
    verified: BTreeSet<(RoleName, RoleName)>,
}

impl<'a> Updater<'a> {
    /// Starts from the trusted root of a local folder (5.2).
    ///
    /// # Errors
    /// [`ClientError::NotInitialised`] where there is none, [`ClientError::Trust`] where it is not one,
    /// [`ClientError::Local`].
    pub fn new(
        fetcher: &'a dyn Fetcher,
        local: LocalMetadata,
        repository: Repository,
        limits: Limits,
        now: DateTime<Utc>,
    ) -> Result<Self, ClientError> {
        let not_initialised = || ClientError::NotInitialised { path: local.path().to_owned() };
        // looked for before the lock is made, so that a folder without a root stays as it is
        local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
        let lock = local.lock()?;
        let root = local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
        let trusted = TrustedMetadataSet::new(&root, now)?;
        Ok(Self { fetcher, repository, limits, trusted, local, lock: Some(lock), verified: BTreeSet::new() })
    }

    /// Brings the four top-level roles up to date (5.3 to 5.6).
    ///
    /// # Errors
    /// [`ClientError`]; what became trusted before stays, on disk too.
    pub fn refresh(&mut self) -> Result<(), ClientError> {
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => self.local.lock()?,
        };
        self.update_root()?;
        self.update_timestamp()?;
        self.update_snapshot()?;
        drop(lock);
        self.role(&Visit { role: RoleName::targets(), delegator: RoleName::root() })?;
        Ok(())
    }

    /// Returns the versions that are trusted now.
    pub fn versions(&self) -> Versions {
        let trusted = &self.trusted;
        Versions {
            root: trusted.root().version,
            timestamp: trusted.timestamp().map(|timestamp| timestamp.version),
            snapshot: trusted.snapshot().map(|snapshot| snapshot.version),
            targets: trusted.targets(&RoleName::targets()).map(|targets| targets.version),
        }
    }

    /// Returns the metadata that is trusted now.
    pub fn trusted(&self) -> &TrustedMetadataSet {
        &self.trusted
    }

    fn update_root(&mut self) -> Result<(), ClientError> {
        let role = RoleName::root();
        for _ in 0..self.limits.root_rotations {
            let Some(next) = self.trusted.root().version.checked_add(1) else { break };
            let bytes = match self.download(&role, Some(next), self.limits.root) {
                // spec 5.3.3: no newer root
                Err(ClientError::Metadata { source, .. }) if source.is_not_found() => break,
                downloaded => downloaded?,
            };
            self.trusted.update_root(&bytes)?;
            // spec 5.3.11, before the root is stored: a client killed in between sees the rotation again
            if self.trusted.keys_rotated() {
                self.local.remove(&RoleName::timestamp())?;
                self.local.remove(&RoleName::snapshot())?;
            }
            // spec 5.3.8
            self.local.store(&role, &bytes)?;
        }
        self.trusted.check_root_expiry()?;
        Ok(())
    }

    fn update_timestamp(&mut self) -> Result<(), ClientError> {
        let role = RoleName::timestamp();
        if let Some(bytes) = self.local.load(&role)? {
            // expired, it still protects against older ones; signed by keys of the past or damaged, it is nothing
            match self.trusted.update_timestamp(&bytes) {
                Ok(_)
                | Err(TrustError::Expired { .. } | TrustError::Invalid { .. } | TrustError::Unsigned(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let bytes = self.download(&role, None, self.limits.timestamp)?;
        match self.trusted.update_timestamp(&bytes) {
            Ok(_) => self.local.store(&role, &bytes),
            // spec 5.4.3.1: nothing new; but what is trusted must not have expired meanwhile
            Err(TrustError::SameTimestamp { version }) => match self.trusted.timestamp() {
                Some(timestamp) if timestamp.expires <= self.trusted.now() => {
                    Err(TrustError::Expired { role, version, expires: timestamp.expires }.into())
                }
                _ => Ok(()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn update_snapshot(&mut self) -> Result<(), ClientError> {
        let role = RoleName::snapshot();
        if let Some(bytes) = self.local.load(&role)? {
            match self.trusted.update_snapshot(&bytes, Origin::Local) {
                Ok(_) => return Ok(()),
                // the timestamp announces this very one: another copy of it would be as old
                Err(error @ TrustError::Expired { .. }) => return Err(error.into()),
                // an older one, kept to judge the next by; or nothing: signed by keys of the past, or damaged
                Err(TrustError::Version { .. } | TrustError::Invalid { .. } | TrustError::Unsigned(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let timestamp =
            self.trusted.timestamp().ok_or(TrustError::OutOfOrder { missing: RoleName::timestamp() })?;
        let listed = timestamp.snapshot().ok_or(TrustError::OutOfOrder { missing: RoleName::timestamp() })?;
        let (version, limit) = (listed.version, listed.length.unwrap_or(self.limits.snapshot));
        let bytes = self.download(&role, self.versioned(version), limit)?;
        self.trusted.update_snapshot(&bytes, Origin::Remote)?;
        self.local.store(&role, &bytes)
    }

    /// Returns a role's metadata, verified as its delegator demands: from memory, else from the local folder, else
    /// downloaded (5.6).
    pub(super) fn role(&mut self, visit: &Visit) -> Result<&Targets, ClientError> {
        let Visit { role, delegator } = visit;
        let edge = (role.clone(), delegator.clone());
        if !self.verified.contains(&edge) {
            if self.trusted.targets(role).is_some() {
                // known through somebody else, whose keys say nothing here
                self.trusted.verify_again(role, delegator)?;
            } else {
                self.load_role(visit)?;
            }
            self.verified.insert(edge);
        }
        Ok(self.trusted.targets(role).ok_or_else(|| TrustError::OutOfOrder { missing: role.clone() })?)
    }

    fn load_role(&mut self, Visit { role, delegator }: &Visit) -> Result<(), ClientError> {
        let snapshot = self.trusted.current_snapshot()?;
        let listed = snapshot
            .role(role)
            .ok_or_else(|| TrustError::NotInSnapshot { role: role.clone(), version: snapshot.version })?;
        let (version, limit) = (listed.version, listed.length.unwrap_or(self.limits.targets));
        if let Some(bytes) = self.local.load(role)? {
            match self.trusted.update_targets(&bytes, role, delegator) {
                Ok(_) => return Ok(()),
                // the snapshot names this very one: another copy of it would be as old
                Err(error @ TrustError::Expired { .. }) => return Err(error.into()),
                // an older one, or one signed by keys of the past, or damaged
                Err(
                    TrustError::Version { .. }
                    | TrustError::Mismatch { .. }
                    | TrustError::Invalid { .. }
                    | TrustError::Unsigned(_),
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let bytes = self.download(role, self.versioned(version), limit)?;
        self.trusted.update_targets(&bytes, role, delegator)?;
        self.local.store(role, &bytes)
    }

    /// Returns the version that stands in file names: none without consistent snapshots (5.3.12).
    fn versioned(&self, version: u64) -> Option<u64> {
        self.trusted.root().consistent_snapshot.then_some(version)
    }

    fn download(&self, role: &RoleName, version: Option<u64>, limit: u64) -> Result<Vec<u8>, ClientError> {
        let url = urls::metadata(&self.repository.metadata, role, version);
        fetch_metadata(self.fetcher, &url, role, limit)
    }
}

/// Downloads a metadata file of at most `limit` bytes.
pub(super) fn fetch_metadata(
    fetcher: &dyn Fetcher,
    url: &Url,
    role: &RoleName,
    limit: u64,
) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    match fetcher.fetch(url, limit, &mut bytes) {
        Ok(Fetched::Whole) => Ok(bytes),
        Ok(Fetched::Cut) => Err(ClientError::Endless { role: role.clone(), limit }),
        Err(source) => Err(ClientError::Metadata { role: role.clone(), source: source.into() }),
    }
}
