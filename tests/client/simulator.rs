//! A repository in memory that can do wrong: metadata is edited freely, signed and served by URL, and every request
//! is written down.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeZone, Utc};
use tuf::client::{
    ClientError, FetchCause, FetchError, Fetched, Fetcher, Limits, ListedTarget, LocalMetadata, Mirrors,
    Repository, Sink, TargetDir, Updater, init, storable,
};
use tuf::crypto::{KeyType, PrivateKey, Signer};
use tuf::metadata::{
    Algorithm, DelegatedRole, Delegations, Extra, Hasher, KeyId, MetaFile, MetaMap, Metadata, RoleKeys,
    RoleName, Root, Signature, Signed, Snapshot, SuccinctRoles, TargetFile, TargetPath, Targets, Threshold,
    Timestamp,
};
use url::Url;

pub const BASE: &str = "http://repository.test";

pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap()
}

pub fn later() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2031, 1, 1, 0, 0, 0).unwrap()
}

pub fn earlier() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2029, 12, 31, 0, 0, 0).unwrap()
}

pub fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

pub fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate(KeyType::Ed25519).unwrap())
}

pub fn target_file(bytes: &[u8], algorithms: &[Algorithm]) -> TargetFile {
    let hashes = Hasher::digest(algorithms.iter().copied(), bytes);
    TargetFile { length: bytes.len() as u64, hashes, custom: None, extra: Extra::new() }
}

/// Whether timestamp and snapshot list length and digests of what they name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Versions,
    Digests,
}

pub struct Simulator {
    pub root: Root,
    pub timestamp: Timestamp,
    pub snapshot: Snapshot,
    /// The top-level targets role and the delegated ones.
    pub targets: BTreeMap<String, Targets>,
    /// Who signs for a role.
    pub keys: BTreeMap<String, Vec<Arc<PrivateKey>>>,
    pub listing: Listing,
    /// What is served, by path below the base URL.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Paths that are answered with this status instead.
    pub statuses: BTreeMap<String, u16>,
    /// Paths whose connection breaks after so many bytes, each time.
    pub breaks: BTreeMap<String, usize>,
    requests: Mutex<Vec<String>>,
}

impl Simulator {
    /// A repository with consistent snapshots, one key for each role, everything at version 1.
    pub fn new() -> Self {
        Self::with_layout(true)
    }

    /// A repository whose files have no versions and hashes in their names.
    pub fn plain() -> Self {
        Self::with_layout(false)
    }

    fn with_layout(consistent_snapshot: bool) -> Self {
        let mut simulator = Self {
            root: Root::new(consistent_snapshot, later()),
            timestamp: Timestamp::new(MetaFile::new(1), later()),
            snapshot: Snapshot::new(MetaMap::new(), later()),
            targets: BTreeMap::from([("targets".to_owned(), Targets::new(later()))]),
            keys: BTreeMap::new(),
            listing: Listing::Versions,
            files: BTreeMap::new(),
            statuses: BTreeMap::new(),
            breaks: BTreeMap::new(),
            requests: Mutex::default(),
        };
        for name in ["root", "timestamp", "snapshot", "targets"] {
            simulator.trust(name, vec![key()], 1);
        }
        simulator.publish_root();
        simulator.publish_all();
        simulator
    }

    /// Makes the root trust these keys for a role, and sign it with them.
    pub fn trust(&mut self, name: &str, keys: Vec<Arc<PrivateKey>>, threshold: u64) {
        let keyids: Vec<KeyId> = keys.iter().map(|key| key.public_key().id()).collect();
        for key in &keys {
            self.root.keys.insert(key.public_key().id(), key.public_key().clone());
        }
        let threshold = Threshold::new(threshold).unwrap();
        self.root.roles.insert(name.to_owned(), RoleKeys { keyids, threshold, extra: Extra::new() });
        self.keys.insert(name.to_owned(), keys);
    }

    fn sign<T: Signed>(&self, name: &str, signed: &T) -> Vec<u8> {
        let mut metadata = Metadata::unsigned(signed.clone()).unwrap();
        for key in &self.keys[name] {
            let bytes = key.sign(&key.public_key().scheme, metadata.signed_bytes()).unwrap();
            metadata.signatures.push(Signature::new(key.public_key().id(), &bytes));
        }
        metadata.to_bytes().unwrap()
    }

    fn put(&mut self, name: &str, version: u64, bytes: Vec<u8>) {
        let encoded = role(name).encoded();
        self.files.insert(format!("/metadata/{version}.{encoded}.json"), bytes.clone());
        self.files.insert(format!("/metadata/{encoded}.json"), bytes);
    }

    fn described(&self, name: &str, version: u64) -> MetaFile {
        let bytes = &self.files[&format!("/metadata/{}.json", role(name).encoded())];
        match self.listing {
            Listing::Versions => MetaFile::new(version),
            Listing::Digests => MetaFile {
                length: Some(bytes.len() as u64),
                hashes: Some(Hasher::digest([Algorithm::Sha256], bytes)),
                ..MetaFile::new(version)
            },
        }
    }

    /// Signs the root with the keys of the role, and with those that signed the one before.
    pub fn publish_root(&mut self) {
        let bytes = self.sign("root", &self.root);
        self.put("root", self.root.version, bytes);
    }

    /// Makes the next root; `change` edits it.
    pub fn next_root(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.keys["root"].clone();
        self.root.version += 1;
        change(self);
        let own = self.keys["root"].clone();
        let both =
            own.iter().chain(before.iter().filter(|key| !own.iter().any(|other| Arc::ptr_eq(key, other))));
        let both: Vec<Arc<PrivateKey>> = both.cloned().collect();
        self.keys.insert("root".to_owned(), both);
        self.publish_root();
        self.keys.insert("root".to_owned(), own);
    }

    /// Signs a targets role and lists it in the snapshot.
    pub fn publish_targets(&mut self, name: &str) {
        let targets = self.targets[name].clone();
        let bytes = self.sign(name, &targets);
        self.put(name, targets.version, bytes);
        let described = self.described(name, targets.version);
        self.snapshot.meta.insert(role(name).metapath(), described).unwrap();
    }

    /// Signs the snapshot and names it in the timestamp.
    pub fn publish_snapshot(&mut self) {
        let bytes = self.sign("snapshot", &self.snapshot);
        self.put("snapshot", self.snapshot.version, bytes);
        let described = self.described("snapshot", self.snapshot.version);
        self.timestamp.meta.insert("snapshot.json".to_owned(), described);
    }

    pub fn publish_timestamp(&mut self) {
        let bytes = self.sign("timestamp", &self.timestamp);
        self.put("timestamp", self.timestamp.version, bytes);
    }

    /// Publishes everything but the root, as it stands.
    pub fn publish_all(&mut self) {
        for name in self.targets.keys().cloned().collect::<Vec<_>>() {
            self.publish_targets(&name);
        }
        self.publish_snapshot();
        self.publish_timestamp();
    }

    /// Publishes the next version of everything but the root.
    pub fn update_all(&mut self) {
        for targets in self.targets.values_mut() {
            targets.version += 1;
        }
        self.snapshot.version += 1;
        self.timestamp.version += 1;
        self.publish_all();
    }

    /// Lists a target in a role and serves its bytes, under its name and its SHA-256.
    pub fn add_target(&mut self, name: &str, path: &str, bytes: &[u8]) {
        self.add_target_file(name, path, bytes, target_file(bytes, &[Algorithm::Sha256]));
    }

    pub fn add_target_file(&mut self, name: &str, path: &str, bytes: &[u8], file: TargetFile) {
        if let Ok(safe) = TargetPath::parse(path) {
            self.files.insert(format!("/targets/{path}"), bytes.to_vec());
            for hash in file.hashes.known().filter_map(|algorithm| file.hashes.name_digest(algorithm)) {
                self.files.insert(format!("/targets/{}", safe.hash_named(hash)), bytes.to_vec());
            }
        }
        self.targets.get_mut(name).unwrap().targets.insert(path, file).unwrap();
    }

    /// Delegates to a role, made where it is new, with a key of its own.
    pub fn delegate(&mut self, from: &str, name: &str, change: impl FnOnce(&mut DelegatedRole)) {
        let keys = self.keys.entry(name.to_owned()).or_insert_with(|| vec![key()]).clone();
        self.targets.entry(name.to_owned()).or_insert_with(|| Targets::new(later()));
        let mut delegated = DelegatedRole {
            name: role(name),
            keyids: keys.iter().map(|key| key.public_key().id()).collect(),
            threshold: Threshold::ONE,
            terminating: false,
            paths: Some(vec!["*".to_owned()]),
            path_hash_prefixes: None,
            extra: Extra::new(),
        };
        change(&mut delegated);
        let delegations =
            self.targets.get_mut(from).unwrap().delegations.get_or_insert_with(Delegations::new);
        for key in &keys {
            delegations.keys.insert(key.public_key().id(), key.public_key().clone());
        }
        delegations.roles.get_or_insert_default().push(delegated);
    }

    /// Delegates to hash bins, each made empty.
    pub fn delegate_bins(&mut self, from: &str, prefix: &str, bit_length: u32) {
        let key = key();
        let bins = SuccinctRoles {
            keyids: vec![key.public_key().id()],
            threshold: Threshold::ONE,
            bit_length,
            name_prefix: prefix.to_owned(),
            extra: Extra::new(),
        };
        for index in 0..bins.bins() {
            self.targets.insert(bins.bin(index), Targets::new(later()));
            self.keys.insert(bins.bin(index), vec![Arc::clone(&key)]);
        }
        let mut delegations = Delegations { succinct_roles: Some(bins), ..Delegations::default() };
        delegations.keys.insert(key.public_key().id(), key.public_key().clone());
        self.targets.get_mut(from).unwrap().delegations = Some(delegations);
    }

    /// A copy as it stands, that goes its own way.
    pub fn copy(&self) -> Self {
        Self {
            root: self.root.clone(),
            timestamp: self.timestamp.clone(),
            snapshot: self.snapshot.clone(),
            targets: self.targets.clone(),
            keys: self.keys.clone(),
            listing: self.listing,
            files: self.files.clone(),
            statuses: self.statuses.clone(),
            breaks: self.breaks.clone(),
            requests: Mutex::default(),
        }
    }

    /// Returns the requests since the last call, as paths below the base URL, without `/metadata/`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

impl Fetcher for Simulator {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
        let failed = |cause| FetchError { url: url.clone(), cause };
        let path = url.as_str().strip_prefix(BASE).unwrap_or_else(|| panic!("asked for {url}"));
        // the files of roles are kept under encoded names, targets under their own
        let path = if path.starts_with("/targets/") { decoded(path) } else { path.to_owned() };
        self.requests.lock().unwrap().push(path.trim_start_matches("/metadata/").to_owned());
        if let Some(status) = self.statuses.get(&path) {
            return Err(failed(match status {
                403 | 404 | 410 => FetchCause::NotFound { status: Some(*status) },
                status => FetchCause::Status { status: *status },
            }));
        }
        let not_found = || failed(FetchCause::NotFound { status: Some(404) });
        let bytes = self.files.get(&path).ok_or_else(not_found)?;
        let taken = bytes.len().min(usize::try_from(max_length).unwrap());
        let start = sink.begin().map_err(|error| failed(FetchCause::Write(error)))?;
        let start = usize::try_from(start).unwrap().min(taken);
        if start > 0 {
            self.requests.lock().unwrap().last_mut().unwrap().push_str(&format!(" from {start}"));
        }
        if let Some(count) = self.breaks.get(&path) {
            let end = taken.min(start + count);
            sink.take(&bytes[start..end]).map_err(|error| failed(FetchCause::Write(error)))?;
            return Err(failed(FetchCause::Connection { reason: "it broke".to_owned() }));
        }
        sink.take(&bytes[start..taken]).map_err(|error| failed(FetchCause::Write(error)))?;
        Ok(if taken < bytes.len() { Fetched::Cut } else { Fetched::Whole })
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
        bytes.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    String::from_utf8(bytes).unwrap()
}

/// Several hosts, each with a repository; a host that is not there refuses connections.
pub struct Network(pub BTreeMap<&'static str, Simulator>);

impl Network {
    /// Names hosts as a repository and its mirrors.
    pub fn mirrors(hosts: &[&str]) -> Mirrors {
        let at = |host: &&str| Repository::at(&Url::parse(&format!("http://{host}.test")).unwrap());
        let mut all = hosts.iter().map(at);
        Mirrors::new(all.next().unwrap(), all)
    }
}

impl Fetcher for Network {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
        let host = url.host_str().unwrap().trim_end_matches(".test");
        match self.0.get(host) {
            Some(simulator) => {
                let there = Url::parse(&format!("{BASE}{}", url.path())).unwrap();
                let fetched = simulator.fetch(&there, max_length, sink);
                fetched.map_err(|error| FetchError { url: url.clone(), ..error })
            }
            None => {
                let cause = FetchCause::Connection { reason: "nobody there".to_owned() };
                Err(FetchError { url: url.clone(), cause })
            }
        }
    }
}

/// A client's folders, with the simulator's first root trusted.
pub struct Client {
    folder: tempfile::TempDir,
    pub limits: Limits,
    pub now: DateTime<Utc>,
}

impl Client {
    pub fn new(simulator: &Simulator) -> Self {
        let client = Self { folder: tempfile::tempdir().unwrap(), limits: Limits::default(), now: now() };
        init(&client.local(), &simulator.files["/metadata/1.root.json"], now()).unwrap();
        client
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn local(&self) -> LocalMetadata {
        LocalMetadata::create(&self.path().join("metadata")).unwrap()
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.path().join("metadata").join(name)
    }

    pub fn targets(&self) -> std::path::PathBuf {
        self.path().join("targets")
    }

    pub fn updater<'a>(&self, simulator: &'a Simulator) -> Result<Updater<'a>, ClientError> {
        let repository = Repository::at(&Url::parse(BASE).unwrap());
        Updater::refreshed(simulator, self.local(), repository, self.limits.clone(), self.now)
    }

    pub fn refresh(&self, simulator: &Simulator) -> Result<(), ClientError> {
        self.updater(simulator).map(drop)
    }

    /// Refreshes from one of several hosts, and downloads a target if one is named.
    pub fn update_from(
        &self,
        network: &Network,
        hosts: &[&str],
        target: Option<&str>,
    ) -> Result<(), ClientError> {
        let mirrors = Network::mirrors(hosts);
        let mut updater = Updater::refreshed(network, self.local(), mirrors, self.limits.clone(), self.now)?;
        if let Some(path) = target {
            let (role, info) = updater.target_info(path)?.unwrap();
            self.fetch(&mut updater, ListedTarget { path: storable(path)?, role, info })?;
        }
        Ok(())
    }

    /// Refreshes, and returns which role lists a target.
    pub fn find(&self, simulator: &Simulator, path: &str) -> Result<Option<String>, ClientError> {
        let mut updater = self.updater(simulator)?;
        Ok(updater.target_info(path)?.map(|(role, _)| role.to_string()))
    }

    /// Refreshes, and downloads a target; returns whether it was in place already.
    pub fn download(&self, simulator: &Simulator, path: &str) -> Result<bool, ClientError> {
        let mut updater = self.updater(simulator)?;
        let unknown = || ClientError::UnknownTarget { path: path.to_owned() };
        let (role, info) = updater.target_info(path)?.ok_or_else(unknown)?;
        self.fetch(&mut updater, ListedTarget { path: storable(path)?, role, info })
    }

    fn fetch(&self, updater: &mut Updater<'_>, target: ListedTarget) -> Result<bool, ClientError> {
        let dir = TargetDir::create(&self.targets())?;
        let mut downloads = updater.download_targets(&[target], &dir, NonZeroUsize::MIN, &|_| ())?;
        match downloads.faults.pop() {
            Some(fault) => Err(fault),
            None => Ok(downloads.downloaded[0].cached),
        }
    }

    /// Refreshes, and downloads all targets; returns the paths of those that are in place, and what failed.
    pub fn download_all(&self, simulator: &Simulator) -> (Vec<String>, Vec<ClientError>) {
        let mut updater = self.updater(simulator).unwrap();
        let tuf::client::Listing { targets, mut faults } = updater.list().unwrap();
        let dir = TargetDir::create(&self.targets()).unwrap();
        let downloads = updater.download_targets(&targets, &dir, NonZeroUsize::MIN, &|_| ()).unwrap();
        faults.extend(downloads.faults);
        (downloads.downloaded.iter().map(|target| target.path.to_string()).collect(), faults)
    }

    /// Returns the roles and versions in the local folder: `root v1 snapshot v1`.
    pub fn trusted(&self) -> String {
        let roles = tuf::client::status(&self.local(), self.now).unwrap();
        let mut lines: Vec<String> =
            roles.iter().map(|role| format!("{} v{}", role.role, role.stated.unwrap().0)).collect();
        lines.sort();
        lines.join(" ")
    }
}
