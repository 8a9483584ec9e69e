//! A repository made by others is taken over as it is: verified from a trusted root, then copied byte for byte, so that
//! every signature stays valid and nothing is rewritten until its role is edited.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::accepted::children;
use super::add_targets::same_file;
use super::bins::left_out;
use super::check::{Finding, Severity, unjudged_files};
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::fault::{Fault, Ground};
use super::history::{Entry, HISTORY, first_history};
use super::init::{Execution, refuse_existing};
use super::layout::{Layout, METADATA, POLICY, STAGED, TARGETS};
use super::lock;
use super::policy::{ADOPTED, TEMPLATE};
use super::role_names::awkward_names;
use super::scan::copy_digested;
use super::unfit::{Unfit, refuse_unfit_of_top_level, unfit_targets};
use super::ways::Ways;
use crate::metadata::{Algorithm, Metadata, RoleName, Root, TargetFile, TargetPath};
use crate::storage::{Batch, Folder, MadeFolders, NewFolder, ReadFiles, regular_or_none};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet};
use crate::verify::Delegator;

/// The largest root that is read from a source, in bytes.
const LARGEST_ROOT: u64 = 4 << 20;
/// The largest timestamp.
const LARGEST_TIMESTAMP: u64 = 1 << 20;
/// The largest of the other files, where nothing that was verified before states their length.
const LARGEST: u64 = 1 << 28;

/// Where a repository is taken from.
pub trait Source {
    /// Reads a metadata file; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read, or is longer than `limit` bytes.
    fn metadata(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Copies at most `limit` bytes of a target file into an empty file; tells whether there is one.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    fn target(&self, name: &str, limit: u64, to: &mut File) -> io::Result<bool>;
}

/// A repository in a folder: with `metadata/` and `targets/` in it, or the metadata folder itself.
#[derive(Debug, Clone)]
pub struct FolderSource {
    metadata: Folder,
    targets: Folder,
}

impl FolderSource {
    /// Looks at a folder.
    pub fn new(path: &Path) -> Self {
        let (metadata, targets) = match path.join(METADATA).is_dir() {
            true => (path.join(METADATA), path.join(TARGETS)),
            false => (path.to_owned(), path.join("..").join(TARGETS)),
        };
        Self { metadata: Folder::new(metadata), targets: Folder::new(targets) }
    }
}

impl Source for FolderSource {
    fn metadata(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.metadata.read(name, limit)
    }

    fn target(&self, name: &str, limit: u64, to: &mut File) -> io::Result<bool> {
        let file = match File::open(self.targets.file(name)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            file => file?,
        };
        io::copy(&mut io::Read::take(file, limit), to)?;
        Ok(true)
    }
}

/// What was taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The roles and versions.
    pub roles: BTreeMap<RoleName, u64>,
    /// The files made, relative to the repository.
    pub put: Vec<String>,
    /// The first root of the history that was found; clients that start from an older one are stranded already.
    pub first_root: u64,
    /// Listed target files that the source does not have.
    pub missing: Vec<String>,
    /// Roles that have expired.
    pub expired: Vec<RoleName>,
    /// What is wrong with delegated roles of the source, and with what they list: that is left as it is.
    pub warnings: Vec<Finding>,
    /// Whether the files are named with versions and hashes.
    pub consistent_snapshot: bool,
}

/// Takes over a repository into a new folder, trusting the given root. Waits up to `wait` for another process that makes a
/// repository there. `progress` is told the bytes of targets.
///
/// # Errors
/// [`RepositoryError::Refused`] where a client that trusts the root would not accept what the source publishes;
/// [`super::InputError::AlreadyThere`], [`RepositoryError::Locked`]. Nothing has been made then.
pub fn adopt(
    dir: &Path,
    source: &dyn Source,
    trusted_root: &[u8],
    now: DateTime<Utc>,
    execution: Execution,
    wait: Duration,
    progress: &dyn Fn(u64),
) -> Result<Adopted, RepositoryError> {
    refuse_existing(dir)?;
    let taken = Taken::follow(source, trusted_root)?;
    let mut adopted = taken.summary(now);
    adopted.put = taken.names();
    taken.refuse_other_history(dir)?;
    if execution == Execution::DryRun {
        return Ok(adopted);
    }
    let made = MadeFolders::make(dir).at(dir)?;
    let _lock = lock(&Folder::new(dir), wait)?;
    // another process may have made one meanwhile
    refuse_existing(dir)?;
    taken.refuse_other_history(dir)?;
    taken.put(dir, source, &mut adopted, progress)?;
    made.keep();
    Ok(adopted)
}

/// The metadata that a client would take from a source.
struct Taken {
    /// The files by name, in the order in which they are put.
    files: Vec<(String, Vec<u8>)>,
    first_root: u64,
    set: TrustedMetadataSet,
    roles: Vec<RoleName>,
    /// What is wrong with delegated roles.
    faults: Vec<Fault>,
}

impl Taken {
    fn follow(source: &dyn Source, trusted_root: &[u8]) -> Result<Self, RepositoryError> {
        // expiry is reported, not enforced: an expired repository may be taken over to be revived
        let now = DateTime::<Utc>::MIN_UTC;
        let set =
            TrustedMetadataSet::new(trusted_root, now).map_err(|error| refused("the trusted root", error))?;
        let first_root = set.root().version;
        let mut taken = Self { files: Vec::new(), first_root, set, roles: Vec::new(), faults: Vec::new() };
        taken.older_roots(source, trusted_root)?;
        taken.newer_roots(source)?;
        let layout = Layout::of(taken.set.root().consistent_snapshot);
        let timestamp = required(source, "timestamp.json", LARGEST_TIMESTAMP)?;
        let result = taken.set.update_timestamp(&timestamp).map(drop);
        result.map_err(|error| refused("timestamp.json", error))?;
        let listed = taken.set.timestamp().and_then(|timestamp| timestamp.snapshot());
        let (version, length) = listed.map_or((0, None), |listed| (listed.version, listed.length));
        let name = layout.metadata_name(&RoleName::snapshot(), version);
        let snapshot = required(source, &name, length.unwrap_or(LARGEST).min(LARGEST))?;
        let result = taken.set.update_snapshot(&snapshot, Origin::Remote).map(drop);
        result.map_err(|error| refused(&name, error))?;
        taken.delegations(source, layout)?;
        taken.revoked(source, layout)?;
        taken.files.push((name, snapshot));
        let newest = format!("{}.root.json", taken.set.root().version);
        let root = taken.files.iter().find(|(name, _)| *name == newest).map(|(_, bytes)| bytes.clone());
        taken.files.extend(root.map(|bytes| ("root.json".to_owned(), bytes)));
        taken.files.push(("timestamp.json".to_owned(), timestamp));
        Ok(taken)
    }

    /// Takes the history in front of the trusted root as far back as it is there, leads to it, and is signed by a
    /// threshold of the trusted root's own keys. That an old root leads to a trusted one says nothing about the old one:
    /// whoever has a key can make a root that trusts this key and the trusted root's alike.
    fn older_roots(&mut self, source: &dyn Source, trusted_root: &[u8]) -> Result<(), RepositoryError> {
        let version = self.set.root().version;
        let mut chain = vec![trusted_root.to_vec()];
        for older in (1..version).rev() {
            let Some(bytes) = read(source, &format!("{older}.root.json"), LARGEST_ROOT)? else { break };
            let newer = chain.last().map(Vec::as_slice).unwrap_or_default();
            if !self.vouches_for(&bytes, older, newer) {
                break;
            }
            chain.push(bytes);
        }
        self.first_root = version + 1 - chain.len() as u64;
        for (version, bytes) in (self.first_root..).zip(chain.into_iter().rev()) {
            self.files.push((format!("{version}.root.json"), bytes));
        }
        Ok(())
    }

    /// Tells whether the trusted root's keys have signed an older root, and that one leads to the next.
    fn vouches_for(&self, older: &[u8], version: u64, newer: &[u8]) -> bool {
        let Ok(metadata) = Metadata::<Root>::from_bytes(older) else { return false };
        let signed = self
            .set
            .root()
            .authority(&RoleName::root())
            .is_some_and(|authority| authority.check(metadata.covered()).is_verified());
        let mut set = TrustedMetadataSet::new(older, DateTime::<Utc>::MIN_UTC);
        signed
            && metadata.signed().version == version
            && set.as_mut().is_ok_and(|set| set.update_root(newer).is_ok())
    }

    fn newer_roots(&mut self, source: &dyn Source) -> Result<(), RepositoryError> {
        loop {
            let name = format!("{}.root.json", self.set.root().version + 1);
            let Some(bytes) = read(source, &name, LARGEST_ROOT)? else { return Ok(()) };
            self.set.update_root(&bytes).map(drop).map_err(|error| refused(&name, error))?;
            self.files.push((name, bytes));
        }
    }

    /// Takes the roles that list targets. What is wrong with a delegated one is its own fault: the others are taken.
    fn delegations(&mut self, source: &dyn Source, layout: Layout) -> Result<(), RepositoryError> {
        let mut pending = vec![(RoleName::targets(), RoleName::root())];
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        let mut delegators: BTreeMap<RoleName, Vec<RoleName>> = BTreeMap::new();
        while let Some((role, delegator)) = pending.pop() {
            if !seen.insert((role.clone(), delegator.clone())) {
                continue;
            }
            let taken = match self.set.targets(&role) {
                Some(_) => {
                    let again = self.set.verify_again(&role, &delegator).map(drop);
                    again.map(|()| None).map_err(|error| refused(role.as_str(), error))
                }
                None => self.take_targets(source, layout, &role, &delegator),
            };
            let file = match taken {
                Ok(file) => file,
                Err(RepositoryError::Refused { file, reason }) if !role.is_top_level() => {
                    let ground = Ground::Delegator(delegator);
                    self.faults.push(Fault { role, ground, file: Some(file), reason });
                    continue;
                }
                Err(error) => return Err(error),
            };
            delegators.entry(role.clone()).or_default().push(delegator);
            let Some((name, bytes)) = file else { continue };
            if let (Some(targets), Some(snapshot)) = (self.set.targets(&role), self.set.snapshot()) {
                pending
                    .extend(children(targets, snapshot).into_iter().rev().map(|child| (child, role.clone())));
                let unnamed = targets.delegations.as_ref().map(left_out).unwrap_or_default();
                let unnamed = unnamed.into_iter().map(|named| Fault::of_left_out(&role, named, name.clone()));
                self.faults.extend(unnamed);
            }
            files.push((name, bytes));
            self.roles.push(role);
        }
        self.note_unfit(layout, &delegators);
        // the roles that others lead to come first
        self.files.extend(files.into_iter().rev());
        Ok(())
    }

    /// Takes the file of a role that lists targets.
    fn take_targets(
        &mut self,
        source: &dyn Source,
        layout: Layout,
        role: &RoleName,
        delegator: &RoleName,
    ) -> Result<Option<(String, Vec<u8>)>, RepositoryError> {
        let snapshot = self.set.current_snapshot().map_err(|error| refused("snapshot", error))?;
        let Some(listed) = snapshot.role(role) else {
            let error = TrustError::NotInSnapshot { role: role.clone(), version: snapshot.version };
            return Err(refused(role.as_str(), error));
        };
        let name = layout.metadata_name(role, listed.version);
        let limit = listed.length.unwrap_or(LARGEST).min(LARGEST);
        let bytes = match required(source, &name, limit) {
            Err(RepositoryError::Io { path, source }) if source.kind() == io::ErrorKind::FileTooLarge => {
                let reason = Refusal::Finding(source.to_string());
                return Err(RepositoryError::Refused { file: path.display().to_string(), reason });
            }
            bytes => bytes?,
        };
        let taken = self.set.update_targets(&bytes, role, delegator);
        refuse_unfit_of_top_level(role, taken.map_err(|error| refused(&name, error))?)?;
        Ok(Some((name, bytes)))
    }

    /// Notes the targets that no client takes.
    fn note_unfit(&mut self, layout: Layout, delegators: &BTreeMap<RoleName, Vec<RoleName>>) {
        for role in &self.roles {
            let Some(targets) = self.set.targets(role) else { continue };
            for unfit in unfit_targets(targets) {
                let ground = Ground::Chain(delegators.get(role).cloned().unwrap_or_default());
                let file = Some(layout.metadata_name(role, targets.version));
                let reason = Refusal::Finding(unfit.words());
                self.faults.push(Fault { role: role.clone(), ground, file, reason });
            }
        }
    }

    /// Takes the files of roles that are listed and not delegated to, where they are there. Those of faulty roles stay where
    /// they are: nothing here goes on from them.
    fn revoked(&mut self, source: &dyn Source, layout: Layout) -> Result<(), RepositoryError> {
        let faulty = self.faults.iter().filter_map(|fault| {
            let listed = self.set.snapshot()?.role(&fault.role)?;
            Some(layout.metadata_name(&fault.role, listed.version))
        });
        let taken: Vec<String> = self.files.iter().map(|(name, _)| name.clone()).chain(faulty).collect();
        let unjudged = self.set.snapshot().map(|snapshot| unjudged_files(layout, snapshot, &taken));
        for name in unjudged.unwrap_or_default() {
            self.files.extend(read(source, &name, LARGEST)?.map(|bytes| (name, bytes)));
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let both = [STAGED, METADATA].into_iter();
        let metadata =
            both.flat_map(|folder| self.files.iter().map(move |(name, _)| format!("{folder}/{name}")));
        metadata.chain([HISTORY, POLICY].map(str::to_owned)).collect()
    }

    /// Returns the history of the files that were verified, as text.
    fn history(&self) -> String {
        let layout = Layout::of(self.set.root().consistent_snapshot);
        let version = |role: &RoleName| match role.as_str() {
            "snapshot" => self.set.snapshot().map(|snapshot| snapshot.version),
            _ => self.set.targets(role).map(|targets| targets.version),
        };
        let entries: Vec<Entry> =
            self.files.iter().filter_map(|(name, bytes)| Entry::of(layout, name, bytes, version)).collect();
        // the files of revoked roles are only copied
        let is_verified = |role: &RoleName| !role.lists_targets() || self.set.targets(role).is_some();
        first_history(entries.iter().filter(|entry| is_verified(&entry.role)))
    }

    fn summary(&self, now: DateTime<Utc>) -> Adopted {
        let mut adopted = Adopted {
            first_root: self.first_root,
            warnings: self.faults.iter().map(Fault::warning_of_live).collect(),
            consistent_snapshot: self.set.root().consistent_snapshot,
            ..Adopted::default()
        };
        let layout = Layout::of(self.set.root().consistent_snapshot);
        let awkward = awkward_names(layout, self.roles.iter().collect::<BTreeSet<_>>().into_iter())
            .into_iter()
            .map(|(role, message)| {
                let (severity, role) = (Severity::Warning, Some(role));
                Finding { severity, role, file: None, message }
            });
        adopted.warnings.extend(awkward);
        let mut note = |role: RoleName, version: u64, expires: DateTime<Utc>| {
            if expires <= now {
                adopted.expired.push(role.clone());
            }
            adopted.roles.insert(role, version);
        };
        note(RoleName::root(), self.set.root().version, self.set.root().expires);
        if let Some((timestamp, snapshot)) = self.set.timestamp().zip(self.set.snapshot()) {
            note(RoleName::timestamp(), timestamp.version, timestamp.expires);
            note(RoleName::snapshot(), snapshot.version, snapshot.expires);
        }
        for role in &self.roles {
            if let Some(targets) = self.set.targets(role) {
                note(role.clone(), targets.version, targets.expires);
            }
        }
        adopted
    }

    /// Puts all in place: targets first, then the policy and the history, then the staged metadata, which makes the folder a repository,
    /// then the live metadata. Killed before the staged metadata is there, the next run starts over; killed after that,
    /// `publish` puts the very same live metadata.
    fn put(
        &self,
        dir: &Path,
        source: &dyn Source,
        adopted: &mut Adopted,
        progress: &dyn Fn(u64),
    ) -> Result<(), RepositoryError> {
        let folder = Folder::new(dir);
        let mut batch = folder.batch().at(dir)?;
        self.copy_targets(dir, &mut batch, source, adopted, progress)?;
        batch.put(POLICY, self.policy().as_bytes()).at(dir.join(POLICY))?;
        batch.put(HISTORY, self.history().as_bytes()).at(dir.join(HISTORY))?;
        let sides = [STAGED, METADATA].map(|side| folder.file(side)).map(Folder::new);
        let mut unborn = Vec::new();
        for side in &sides {
            // an empty folder of published metadata is no part of a repository; a full one has been refused
            let new = NewFolder::begin_over_empty(side).at(dir)?;
            for (name, bytes) in &self.files {
                new.create(name).and_then(|mut to| to.write_all(bytes)).at(side.file(name))?;
            }
            unborn.push(new);
        }
        let targets = dir.join(TARGETS);
        let made = MadeFolders::make(&targets).at(targets)?;
        batch.commit().at(dir)?;
        for (new, side) in unborn.into_iter().zip(&sides) {
            new.commit().at(side.path())?;
        }
        made.keep();
        Ok(())
    }

    /// Refuses a history that is there already, unless it says just what this one will say: a run that was killed has left that.
    fn refuse_other_history(&self, dir: &Path) -> Result<(), RepositoryError> {
        let place = dir.join(HISTORY);
        match fs::read_to_string(&place) {
            Ok(text) if text.is_empty() || text == self.history() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(InputError::AlreadyThere(place).into()),
        }
    }

    fn policy(&self) -> String {
        let mut policy = TEMPLATE.to_owned();
        if self.first_root > 1 {
            policy.push_str(&format!("{ADOPTED}[adopted]\nfirst-root = {}\n", self.first_root));
        }
        policy
    }

    fn copy_targets(
        &self,
        dir: &Path,
        batch: &mut Batch<'_>,
        source: &dyn Source,
        adopted: &mut Adopted,
        progress: &dyn Fn(u64),
    ) -> Result<(), RepositoryError> {
        let layout = Layout::of(self.set.root().consistent_snapshot);
        let folder = Folder::new(dir.join(TARGETS));
        let mut ways = Ways::into(&folder)?;
        let mut seen = BTreeSet::new();
        let listed = |role| {
            self.set
                .targets(role)
                .into_iter()
                .flat_map(move |all| all.targets.iter().map(move |it| (role, it)))
        };
        for (role, (path, file)) in self.roles.iter().flat_map(listed) {
            // what cannot be a file here is listed all the same: it is the signer's affair
            let Ok(path) = TargetPath::parse(&path) else { continue };
            if Unfit::of(path.as_str(), &file).is_some() {
                continue;
            }
            for name in layout.target_names(&path, &file) {
                if !seen.insert(name.clone()) {
                    continue;
                }
                ways.refuse_outside(&name)?;
                if lies_there(&folder, &name, &file)? {
                    continue;
                }
                match copy_target(batch, source, &name, &file) {
                    Ok(Some(filled)) => {
                        batch.place(filled, format!("{TARGETS}/{name}"));
                        adopted.put.push(format!("{TARGETS}/{name}"));
                        progress(file.length);
                    }
                    Ok(None) => adopted.missing.push(name),
                    Err(RepositoryError::Refused { file, reason }) if !role.is_top_level() => {
                        let message = format!("{file}: {reason}, as '{role}' lists it: it is not taken over");
                        let (severity, role, file) = (Severity::Warning, Some(role.clone()), Some(file));
                        adopted.warnings.push(Finding { severity, role, file, message });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Tells whether a target file lies in a folder with the bytes that are listed.
///
/// # Errors
/// [`InputError::TargetThere`] where anything else is there: it is somebody's own, and is never replaced.
pub(super) fn lies_there(folder: &Folder, name: &str, file: &TargetFile) -> Result<bool, RepositoryError> {
    let place = folder.file(name);
    match place.symlink_metadata() {
        Ok(_) if same_file(&place, file) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::NotADirectory => Err(error).at(place),
        // another file, a folder, or a file where a folder of the path belongs
        _ => Err(InputError::TargetThere { path: name.to_owned() }.into()),
    }
}

/// Copies one target aside and checks its bytes; `None` where the source does not have it.
pub(super) fn copy_target(
    batch: &Batch<'_>,
    source: &dyn Source,
    name: &str,
    file: &TargetFile,
) -> Result<Option<PathBuf>, RepositoryError> {
    let place = || format!("{TARGETS}/{name}");
    let (path, mut to) = batch.create().at(place())?;
    if !source.target(name, file.length.saturating_add(1), &mut to).at(place())? {
        return Ok(None);
    }
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    let (length, hashes) =
        copy_digested(&mut File::open(&path).at(&path)?, &mut io::sink(), &algorithms).at(&path)?;
    let differs =
        |reason: String| RepositoryError::Refused { file: place(), reason: Refusal::Finding(reason) };
    if length != file.length {
        return Err(differs(format!("is not {} bytes long, as it is listed", file.length)));
    }
    file.hashes.compare(&hashes).map_err(|mismatch| differs(mismatch.to_string()))?;
    Ok(Some(path))
}

fn read(source: &dyn Source, name: &str, limit: u64) -> Result<Option<Vec<u8>>, RepositoryError> {
    regular_or_none(source.metadata(name, limit)).at(format!("{METADATA}/{name}"))
}

fn required(source: &dyn Source, name: &str, limit: u64) -> Result<Vec<u8>, RepositoryError> {
    let missing =
        || RepositoryError::Refused { file: format!("{METADATA}/{name}"), reason: Refusal::Missing };
    read(source, name, limit)?.ok_or_else(missing)
}

fn refused(name: &str, error: TrustError) -> RepositoryError {
    RepositoryError::Refused { file: name.to_owned(), reason: error.into() }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::Repository;
    use super::super::testing::{keys, open, publish, repository, scratch, start, write};
    use super::*;
    use crate::crypto::Signer;

    fn take_over(from: &Path, into: &Path, root: &str) -> Result<Adopted, RepositoryError> {
        let root = fs::read(from.join(METADATA).join(root)).unwrap();
        adopt(into, &FolderSource::new(from), &root, start(), Execution::Real, Duration::ZERO, &|_| {})
    }

    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let folder = Folder::new(folder);
        let names = folder.names().unwrap();
        names.into_iter().map(|name| (name.clone(), fs::read(folder.file(&name)).unwrap())).collect()
    }

    /// A published repository with a target and three roots.
    fn published(dir: &Path, keys: &[crate::crypto::PrivateKey; 4]) {
        repository(dir, keys);
        fs::write(dir.join("targets/a.txt"), "a").unwrap();
        let mut repository = open(dir, start());
        let found = super::super::find_targets(
            &[dir.join("targets/a.txt")],
            &super::super::TargetSource {
                targets: &dir.join(TARGETS),
                base: None,
                prefix: None,
                walk: super::super::Walk::Flat,
                symlinks: super::super::Symlinks::Refuse,
            },
        )
        .unwrap();
        let request = super::super::AddTargets {
            role: &RoleName::targets(),
            found: &found,
            custom: None,
            replace: super::super::Replace::Refuse,
            paths: super::super::Paths::Kept,
            progress: &|_| {},
        };
        let added = repository.add_targets(&request).unwrap();
        let plan = repository.plan_edit().unwrap();
        repository.save_added(&added, &plan, &|_| ()).unwrap();
        for _ in 0..2 {
            repository.bump(&RoleName::root(), None).unwrap();
            write(&mut repository, keys);
            drop(repository);
            repository = open(dir, start());
        }
        drop(repository);
        publish(dir, start());
    }

    #[test]
    fn a_published_repository_is_taken_over_byte_for_byte_and_goes_on() {
        let (from, into) = (scratch(), scratch());
        let keys = keys();
        published(from.path(), &keys);
        let adopted = take_over(from.path(), into.path(), "2.root.json").unwrap();
        assert_eq!((adopted.first_root, adopted.missing.len()), (1, 0));
        let original = files(&from.path().join(METADATA));
        let latest = |name: &String| !name.starts_with("1.snapshot") && !name.starts_with("1.targets");
        let wanted: BTreeMap<_, _> = original.into_iter().filter(|(name, _)| latest(name)).collect();
        assert_eq!(files(&into.path().join(METADATA)), wanted);
        assert_eq!(files(&into.path().join(STAGED)), wanted);
        assert_eq!(files(&into.path().join(TARGETS)).len(), 1);
        let mut repository = open(into.path(), start());
        assert!(repository.status().unwrap().dirty().is_empty());
        repository.bump(&RoleName::targets(), None).unwrap();
        write(&mut repository, &keys);
        drop(repository);
        // publishing checks that clients which accepted the old state accept the new one
        publish(into.path(), start());
    }

    #[test]
    fn a_history_without_its_oldest_roots_is_taken_over_as_far_as_it_goes() {
        let (from, into) = (scratch(), scratch());
        let keys = keys();
        published(from.path(), &keys);
        fs::remove_file(from.path().join("metadata/1.root.json")).unwrap();
        let adopted = take_over(from.path(), into.path(), "3.root.json").unwrap();
        assert_eq!(adopted.first_root, 2);
        assert_eq!(Repository::open(into.path(), start()).unwrap().policy().first_root(), 2);
        publish(into.path(), start());
    }

    #[test]
    fn a_source_that_a_client_would_refuse_is_refused_and_nothing_is_made() {
        let (from, into) = (scratch(), scratch());
        let keys = keys();
        published(from.path(), &keys);
        let targets = from.path().join("metadata/2.targets.json");
        let text = fs::read_to_string(&targets).unwrap();
        fs::write(&targets, text.replace("a.txt", "b.txt")).unwrap();
        let error = take_over(from.path(), into.path(), "1.root.json").unwrap_err();
        assert!(matches!(&error, RepositoryError::Refused { reason: Refusal::Untrusted(_), .. }), "{error}");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
        fs::write(&targets, text).unwrap();
        let other = keys[3].public_key().clone();
        let mut root = crate::metadata::Root::new(true, start() + TimeDelta::days(1));
        root.keys.insert(other.id(), other.clone());
        root.roles.get_mut("root").unwrap().keyids.push(other.id());
        let stranger = crate::verify::tests::signed(root, &[&keys[3]]).to_bytes().unwrap();
        let result = adopt(
            into.path(),
            &FolderSource::new(from.path()),
            &stranger,
            start(),
            Execution::Real,
            Duration::ZERO,
            &|_| {},
        );
        assert!(result.is_err());
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_ones_own_in_targets_is_never_overwritten() {
        let (from, into) = (scratch(), scratch());
        let keys = keys();
        published(from.path(), &keys);
        let copy = files(&from.path().join(TARGETS)).into_keys().find(|name| name != "a.txt").unwrap();
        fs::create_dir(into.path().join(TARGETS)).unwrap();
        fs::write(into.path().join(TARGETS).join(&copy), "precious").unwrap();
        let error = take_over(from.path(), into.path(), "1.root.json").unwrap_err();
        assert!(matches!(error, RepositoryError::Input(InputError::TargetThere { .. })), "{error}");
        assert_eq!(fs::read(into.path().join(TARGETS).join(&copy)).unwrap(), b"precious");
        assert!(!into.path().join(STAGED).exists());
    }

    #[test]
    fn an_altered_target_is_refused_and_a_missing_one_is_named() {
        let (from, into) = (scratch(), scratch());
        let keys = keys();
        published(from.path(), &keys);
        let folder = from.path().join(TARGETS);
        let copy = files(&folder).into_keys().find(|name| name != "a.txt").unwrap();
        fs::write(folder.join(&copy), "b").unwrap();
        let error = take_over(from.path(), into.path(), "1.root.json").unwrap_err();
        assert!(error.to_string().contains(&copy), "{error}");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
        fs::remove_file(folder.join(&copy)).unwrap();
        let adopted = take_over(from.path(), into.path(), "1.root.json").unwrap();
        assert_eq!(adopted.missing, [copy]);
        let again = take_over(from.path(), into.path(), "1.root.json").unwrap_err();
        assert!(matches!(again, RepositoryError::Input(InputError::AlreadyThere(_))));
    }
}
