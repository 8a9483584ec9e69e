//! Brings trusted metadata up to date with exactly the requests that the specification's workflow needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use url::Url;

use super::local::LocalLock;
use super::noted::{Digest, NotedTargets};
use super::{ClientError, Fetched, Fetcher, LocalMetadata, Mirrors, Repository, urls};
use crate::metadata::{RoleName, Targets};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet, Visit};

/// Bounds for what a repository may ask of a client; the defaults are python-tuf's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many newer roots one update takes.
    pub root_rotations: u32,
    /// How many delegated roles the search for one target visits, beside the top-level targets role.
    pub delegations: usize,
    /// How many roles a listing of all targets asks for. Those below each delegation of the top-level targets role take
    /// turns.
    pub listed_roles: usize,
    /// How many bytes of metadata a listing keeps of the roles below each delegation of the top-level targets role.
    pub listed_bytes: u64,
    /// How many steps of looking for targets and matching patterns a listing or a search takes for the roles below each
    /// delegation of the top-level targets role; a step takes about 20 nanoseconds, in an optimised program.
    pub matching: u64,
    /// The largest root in bytes.
    pub root: u64,
    /// The largest timestamp in bytes.
    pub timestamp: u64,
    /// The largest snapshot in bytes, where the timestamp lists no length.
    pub snapshot: u64,
    /// The largest targets metadata in bytes, where the snapshot lists no length.
    pub targets: u64,
}

/// How many delegations there may be for each role that a listing asks for: one role may be delegated to by several.
const DELEGATORS: usize = 4;

impl Limits {
    /// Returns how many delegations a listing follows below one delegation of the top-level targets role. Each costs the check of
    /// a signature, and hash bins come by thousands in a few bytes.
    pub(super) fn delegated(&self) -> usize {
        self.listed_roles.saturating_mul(DELEGATORS)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_rotations: 256,
            delegations: 32,
            // 16,384 hash bins and others beside them
            listed_roles: 20_000,
            // 16,384 hash bins of 16 kB each
            listed_bytes: 256 << 20,
            // up to six seconds were measured; 16,384 classic hash bins with 20,000 targets take fewer
            matching: 1 << 28,
            root: 512_000,
            timestamp: 16_384,
            snapshot: 2_000_000,
            targets: 5_000_000,
        }
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

/// One update cycle of a client, at a fixed time (5.1): what is trusted after it, and the way to what the roles list.
///
/// It cannot be brought up to date again, since its time stands still. A program that lives long makes a new one for each
/// update.
pub struct Updater<'a> {
    pub(super) fetcher: &'a dyn Fetcher,
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) limits: Limits,
    pub(super) trusted: TrustedMetadataSet,
    pub(super) local: LocalMetadata,
    /// Digests of the trusted root and of the current snapshot.
    root_digest: Digest,
    snapshot_digest: Option<Digest>,
    /// The version of the top-level targets metadata, where it was not read because nothing can have changed.
    unread_targets: Option<u64>,
    /// Held from the reading of the root until all is up to date: two clients in one folder take turns.
    lock: Option<LocalLock>,
    /// The roles that have been verified, and through whom each.
    pub(super) verified: BTreeMap<RoleName, BTreeSet<RoleName>>,
    /// Set once every role that can be reached has been loaded.
    pub(super) is_complete: bool,
    /// Set while a loss of power would take lines of delegated roles from the record.
    has_noted: bool,
}

impl<'a> Updater<'a> {
    /// Starts from the trusted root of a local folder (5.2), and brings the four top-level roles up to date (5.3 to 5.6).
    ///
    /// Local targets metadata that was verified under this very root and snapshot, and has not expired, is not read
    /// again here: the first that asks for a target reads and verifies it.
    ///
    /// # Errors
    /// [`ClientError::NotInitialised`] where there is no root, [`ClientError::Trust`] where it is not one, and what else keeps
    /// a role from being brought up to date; what became trusted before stays, on disk too.
    pub fn refreshed(
        fetcher: &'a dyn Fetcher,
        local: LocalMetadata,
        mirrors: impl Into<Mirrors>,
        limits: Limits,
        now: DateTime<Utc>,
    ) -> Result<Self, ClientError> {
        let mut updater = Self::start(fetcher, local, mirrors.into(), limits, now)?;
        let refreshed = updater.refresh();
        updater.lock = None;
        refreshed.map(|()| updater)
    }

    fn start(
        fetcher: &'a dyn Fetcher,
        local: LocalMetadata,
        mirrors: Mirrors,
        limits: Limits,
        now: DateTime<Utc>,
    ) -> Result<Self, ClientError> {
        let not_initialised = || ClientError::NotInitialised { path: local.path().to_owned() };
        // looked for before the lock is made, so that a folder without a root stays as it is
        local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
        let lock = local.lock()?;
        local.sweep()?;
        local.finish_rotation()?;
        let root = local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
        let trusted = TrustedMetadataSet::new(&root, now)?;
        // a root that was copied here and not brought by `init`
        local.mark()?;
        Ok(Self {
            fetcher,
            mirrors: Arc::new(mirrors),
            limits,
            trusted,
            local,
            root_digest: Digest::of(&root),
            snapshot_digest: None,
            unread_targets: None,
            lock: Some(lock),
            verified: BTreeMap::new(),
            is_complete: false,
            has_noted: false,
        })
    }

    fn refresh(&mut self) -> Result<(), ClientError> {
        self.update_root()?;
        self.update_timestamp()?;
        self.update_snapshot()?;
        self.update_targets()
    }

    /// Returns the versions that are trusted now.
    pub fn versions(&self) -> Versions {
        let trusted = &self.trusted;
        Versions {
            root: trusted.root().version,
            timestamp: trusted.timestamp().map(|timestamp| timestamp.version),
            snapshot: trusted.snapshot().map(|snapshot| snapshot.version),
            targets: trusted
                .targets(&RoleName::targets())
                .map(|targets| targets.version)
                .or(self.unread_targets),
        }
    }

    /// Returns the metadata that is trusted and has been read.
    pub fn trusted(&self) -> &TrustedMetadataSet {
        &self.trusted
    }

    fn update_root(&mut self) -> Result<(), ClientError> {
        let role = RoleName::root();
        for _ in 0..self.limits.root_rotations {
            let Some(next) = self.trusted.root().version.checked_add(1) else { break };
            let limit = self.limits.root;
            let (bytes, ()) = match self
                .download(&role, Some(next), limit, |trusted, bytes| trusted.update_root(bytes).map(|_| ()))
            {
                // spec 5.3.3: no newer root; of several mirrors each has been asked
                Err(error) if error.is_not_found() => break,
                downloaded => downloaded?,
            };
            if self.trusted.keys_rotated() {
                // spec 5.3.11
                self.local.rotate(&bytes)?;
            } else {
                // spec 5.3.8
                self.local.store_first(&role, &bytes)?;
            }
            self.root_digest = Digest::of(&bytes);
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
        let downloaded = self.download(&role, None, self.limits.timestamp, |trusted, bytes| {
            match trusted.update_timestamp(bytes) {
                Ok(_) => Ok(News::New),
                // spec 5.4.3.1: nothing new; but what is trusted must not have expired meanwhile
                Err(TrustError::SameTimestamp { version }) => match trusted.timestamp() {
                    Some(timestamp) if timestamp.expires <= trusted.now() => Err(TrustError::Expired {
                        role: RoleName::timestamp(),
                        version,
                        expires: timestamp.expires,
                    }),
                    _ => Ok(News::Known),
                },
                Err(error) => Err(error),
            }
        });
        match downloaded? {
            (bytes, News::New) => self.local.store_first(&role, &bytes),
            (_, News::Known) => Ok(()),
        }
    }

    fn update_snapshot(&mut self) -> Result<(), ClientError> {
        let role = RoleName::snapshot();
        if let Some(bytes) = self.local.load(&role)? {
            match self.trusted.update_snapshot(&bytes, Origin::Local) {
                Ok(_) => {
                    self.snapshot_digest = Some(Digest::of(&bytes));
                    return Ok(());
                }
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
        let (bytes, ()) = self.download(&role, self.versioned(version), limit, |trusted, bytes| {
            trusted.update_snapshot(bytes, Origin::Remote).map(|_| ())
        })?;
        self.local.store_first(&role, &bytes)?;
        self.snapshot_digest = Some(Digest::of(&bytes));
        Ok(())
    }

    /// Reads the top-level targets metadata, unless nothing about it can have changed since it was verified.
    fn update_targets(&mut self) -> Result<(), ClientError> {
        let Some(snapshot) = self.snapshot_digest else {
            return Err(TrustError::OutOfOrder { missing: RoleName::snapshot() }.into());
        };
        let noted = self.local.noted().filter(|noted| noted.holds(&self.root_digest, &snapshot));
        let file = self.local.identity(&RoleName::targets())?;
        // expired or not known so well, it is read: that tells what is wrong with it
        if let Some(noted) = noted
            && file.is_some_and(|file| file == noted.file)
            && noted.expires > self.trusted.now().timestamp()
        {
            self.unread_targets = Some(noted.version);
            return Ok(());
        }
        let targets = self.role(&Visit { role: RoleName::targets(), delegator: RoleName::root() })?;
        let (version, expires) = (targets.version, targets.expires.timestamp());
        if let Some(file) = self.local.identity(&RoleName::targets())? {
            let noted = NotedTargets { root: self.root_digest, snapshot, file, version, expires };
            // without it the next update reads more
            let _ = self.local.note(&noted);
        }
        Ok(())
    }

    /// Returns a role's metadata, verified as its delegator demands: from memory, else from the local folder, else
    /// downloaded (5.6).
    pub(super) fn role(&mut self, visit: &Visit) -> Result<&Targets, ClientError> {
        let Visit { role, delegator } = visit;
        if !self.is_verified(visit) {
            if self.trusted.targets(role).is_some() {
                // known through somebody else, whose keys say nothing here
                self.trusted.verify_again(role, delegator)?;
            } else {
                self.load_role(visit)?;
                // only their maintainers write them again
                self.trusted.forget_unknown(role);
            }
            self.verified.entry(role.clone()).or_default().insert(delegator.clone());
        }
        Ok(self.trusted.targets(role).ok_or_else(|| TrustError::OutOfOrder { missing: role.clone() })?)
    }

    /// Tells whether a role has been verified as this delegator demands.
    pub(super) fn is_verified(&self, visit: &Visit) -> bool {
        self.verified.get(&visit.role).is_some_and(|delegators| delegators.contains(&visit.delegator))
    }

    /// Makes what the record says of the delegated roles that have been stored durable, of all at once.
    pub(super) fn record_stored(&mut self) -> Result<(), ClientError> {
        if !std::mem::take(&mut self.has_noted) {
            return Ok(());
        }
        let _lock = self.locked()?;
        self.local.sync_record()
    }

    /// Locks the metadata folder, unless this update has locked it already.
    pub(super) fn locked(&self) -> Result<Option<LocalLock>, ClientError> {
        if self.lock.is_some() { Ok(None) } else { self.local.lock().map(Some) }
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
        let (bytes, ()) = self.download(role, self.versioned(version), limit, |trusted, bytes| {
            trusted.update_targets(bytes, role, delegator).map(|_| ())
        })?;
        // no other client is about to replace the file
        let _lock = self.locked()?;
        if role.is_top_level() {
            return self.local.store_first(role, &bytes);
        }
        self.has_noted = true;
        self.local.store_delegated(role, &bytes)
    }

    /// Returns the version that stands in file names: none without consistent snapshots (5.3.12).
    fn versioned(&self, version: u64) -> Option<u64> {
        self.trusted.root().consistent_snapshot.then_some(version)
    }

    /// Downloads a role's file from the first mirror whose copy is accepted.
    fn download<T>(
        &mut self,
        role: &RoleName,
        version: Option<u64>,
        limit: u64,
        mut accept: impl FnMut(&mut TrustedMetadataSet, &[u8]) -> Result<T, TrustError>,
    ) -> Result<(Vec<u8>, T), ClientError> {
        let mirrors = Arc::clone(&self.mirrors);
        mirrors.attempt(role, |mirror: &Repository| {
            let url = urls::metadata(&mirror.metadata, role, version);
            let bytes = fetch_metadata(self.fetcher, &url, role, limit)?;
            let accepted = accept(&mut self.trusted, &bytes)?;
            Ok((bytes, accepted))
        })
    }
}

/// What a timestamp comes to.
enum News {
    /// It is trusted now.
    New,
    /// It was trusted before.
    Known,
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
