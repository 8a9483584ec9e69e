//! The maintainer's side: a repository on disk, its drafts, signing, writing, checking, publishing, collecting.
//!
//! Every operation is a function of what is on disk: it reads the state, changes it in memory, plans what must happen
//! to the files, and only then does it. Nothing here prints or asks.

mod accepted;
mod add_targets;
mod adopt;
mod ancestry;
#[cfg(test)]
mod ancestry_tests;
mod archive;
pub mod bins;
#[cfg(test)]
mod bucket_tests;
mod bundle_file;
mod ceremony;
mod check;
mod copies;
mod delegation;
mod diff;
mod digest_cache;
mod doctor;
pub mod duration;
mod error;
mod fault;
mod find;
mod follow;
mod gate;
mod gc;
mod graph;
mod history;
mod identity;
mod init;
mod keyring;
mod keys;
mod layout;
mod lifetime;
mod listing;
mod locks;
#[cfg(test)]
mod lost_snapshot_tests;
mod manifest;
#[cfg(test)]
mod merged_tests;
mod next;
mod outcome;
mod own_copies;
mod own_live;
mod place;
mod policy;
mod presence;
mod publication;
mod publish;
mod publish_bucket;
mod publish_targets;
mod published;
mod pull;
mod recovery;
mod refresh;
mod relation;
mod role_names;
mod scan;
mod sign;
mod signed_by;
mod staged;
mod status;
mod taken_away;
#[cfg(test)]
mod taken_away_tests;
mod target_files;
mod targets;
#[cfg(test)]
mod testing;
mod unfit;
mod unknown_signer;
#[cfg(test)]
mod unknown_signer_tests;
mod view;
mod ways;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use add_targets::{AddTargets, Added, Paths, Replace, Tally};
pub use adopt::{Adopted, FolderSource, Source, adopt};
pub use ancestry::{DamagedRoots, Recovered};
pub use archive::Archive;
pub use bundle_file::sweep_beside;
pub use ceremony::{Bundle, BundleThreshold, Imported};
pub use check::{CheckOptions, Expiry, Finding, Report, Severity, Side, TargetBytes, check, check_beside};
pub use delegation::{BinKind, Delegation, Trust};
pub use diff::{Difference, RoleDiff};
pub use error::{InputError, Lacking, Refusal, RepositoryError, RootMark};
pub use find::{FoundTarget, FoundTargets, Symlinks, TargetSource, Walk, find_targets};
pub use follow::Reason;
pub use gc::{Collection, Deletions, Explanation, GcPlan, Left, Named, Retention};
pub use graph::Picture;
pub use history::HISTORY;
pub use init::{Execution, init};
pub use keyring::{KeyNames, Keyring, KnownKey, policy_path, short_words};
pub use keys::{DeadEnd, KeyChoice};
pub use layout::{ASIDE, DRAFTS, Layout, METADATA, POLICY, STAGED, TARGETS};
pub use lifetime::{Haste, Spelling};
pub use locks::{LockedPlace, PlaceLock};
pub use manifest::Manifest;
pub use next::{KeyToUse, Step};
pub use place::{BucketPlace, Destination};
pub use policy::Policy;
pub use publish::{PublishPlan, PublishRequest};
pub use pull::{PullPlan, PullRequest, TargetFiles, Work};
pub use recovery::Recovery;
pub use relation::Relation;
pub use sign::{SignReport, SigningKey};
pub use staged::{AnyRole, DraftPlan, Staged, draft_of};
pub use status::{KeyStatus, RoleStatus, Status, ThresholdStatus};
pub use taken_away::TakenAway;
pub use targets::Listed;
pub use unfit::Unfit;
pub use view::{DelegatedBins, Graph, View};
pub use write::{Selection, Written};

use crate::metadata::RoleName;
use crate::storage::{Folder, Lock};
use error::AtPath;
use follow::Extent;
use history::History;
use locks::{lock, lock_staged};
use staged::{draft_name, drafted_role};

/// A repository on disk, at a fixed time.
#[derive(Debug)]
pub struct Repository {
    dir: PathBuf,
    policy: Policy,
    now: DateTime<Utc>,
    staged: Staged,
    /// Drafts that cannot be used, with the reason; they are looked away from.
    unreadable: BTreeMap<RoleName, String>,
    /// What stands in the place of those drafts in memory: what is signed of a role that only other drafts name.
    implied: BTreeMap<RoleName, Vec<u8>>,
    /// The roles whose drafts a person has given up.
    discarded: BTreeSet<RoleName>,
    keyring: OnceLock<Keyring>,
    /// A plan to collect keeps it too.
    lock: Option<Arc<Lock>>,
}

impl Repository {
    /// Reads a repository to look at it.
    ///
    /// # Errors
    /// [`RepositoryError`] where there is none or its files are no metadata.
    pub fn open(dir: &Path, now: DateTime<Utc>) -> Result<Self, RepositoryError> {
        let policy = Policy::read(dir)?;
        Ok(Self {
            staged: Staged::read(dir, &policy, now)?,
            dir: dir.to_owned(),
            policy,
            now,
            unreadable: BTreeMap::new(),
            implied: BTreeMap::new(),
            discarded: BTreeSet::new(),
            keyring: OnceLock::new(),
            lock: None,
        })
    }

    /// Reads a repository as [`Repository::open`] does, but looks away from drafts that cannot be used: to tell of them,
    /// and to discard them.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open_damaged(dir: &Path, now: DateTime<Utc>) -> Result<Self, RepositoryError> {
        let policy = Policy::read(dir)?;
        let usable = Usable::read(dir, &policy, now)?;
        Ok(Self {
            dir: dir.to_owned(),
            policy,
            now,
            implied: usable.implied(),
            discarded: BTreeSet::new(),
            staged: usable.staged,
            unreadable: usable.unreadable,
            keyring: OnceLock::new(),
            lock: None,
        })
    }

    /// Returns the roles whose drafts cannot be used and were looked away from, with the reasons.
    pub fn unusable_drafts(&self) -> &BTreeMap<RoleName, String> {
        &self.unreadable
    }

    /// Refuses to write roles whose drafts cannot be used: what is written would go on without them.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`], which names the draft.
    fn refuse_unusable<'a>(
        &self,
        mut roles: impl Iterator<Item = &'a RoleName>,
    ) -> Result<(), RepositoryError> {
        let Some((role, reason)) = roles.find_map(|role| self.unreadable.get_key_value(role)) else {
            return Ok(());
        };
        let file = format!("{STAGED}/{DRAFTS}/{}", draft_name(role));
        Err(RepositoryError::Refused { file, reason: Refusal::UnusableDraft(reason.clone()) })
    }

    /// Reads again what has changed on disk. Drafts that were looked away from still are.
    fn read_again(&mut self) -> Result<(), RepositoryError> {
        let aside: BTreeSet<String> = self.unreadable.keys().map(draft_name).collect();
        self.staged = Staged::read_besides(&self.dir, &self.policy, self.now, &aside)?;
        Ok(())
    }

    /// Reads a repository as [`Repository::open_damaged`] does, to change it.
    ///
    /// # Errors
    /// As [`Repository::open_locked`].
    pub fn open_damaged_locked(
        dir: &Path,
        now: DateTime<Utc>,
        wait: Duration,
    ) -> Result<Self, RepositoryError> {
        let lock = lock_staged(dir, wait)?;
        Ok(Self { lock: Some(Arc::new(lock)), ..Self::open_damaged(dir, now)? })
    }

    /// Reads a repository to change it: holds its lock for as long as the value lives. Waits up to `wait` for another
    /// process.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`], and as [`Repository::open`].
    pub fn open_locked(dir: &Path, now: DateTime<Utc>, wait: Duration) -> Result<Self, RepositoryError> {
        Self::lock(dir, now, wait)?.read()
    }

    /// Takes the lock of a repository, for what has more to read than the repository. Waits up to `wait` for another process.
    ///
    /// # Errors
    /// As [`Repository::open_locked`].
    pub fn lock(dir: &Path, now: DateTime<Utc>, wait: Duration) -> Result<Unread, RepositoryError> {
        let lock = lock_staged(dir, wait)?;
        Ok(Unread { dir: dir.to_owned(), policy: Policy::read(dir)?, now, lock })
    }

    /// Reads a repository to edit it, as [`Unread::read_past_drafts`] does, and does something else at the same time that needs
    /// the lock and not what is read. Returns what that comes to, too.
    ///
    /// # Errors
    /// As [`Repository::open_locked`].
    pub fn open_locked_beside<T: Send>(
        dir: &Path,
        now: DateTime<Utc>,
        wait: Duration,
        beside: impl FnOnce() -> T + Send,
    ) -> Result<(Self, T), RepositoryError> {
        let unread = Self::lock(dir, now, wait)?;
        let (opened, done) = rayon::join(|| unread.read_past_drafts(), beside);
        Ok((opened?, done))
    }

    /// Returns the repository's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the time that the repository is looked at.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns the keys that are known by their files.
    pub fn keyring(&self) -> &Keyring {
        self.keyring.get_or_init(|| Keyring::read(&self.dir, &self.policy))
    }

    /// Returns the state of the metadata.
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// Returns the folder of target files.
    pub fn targets_folder(&self) -> Folder {
        Folder::new(self.dir.join(TARGETS))
    }

    /// Returns the folder of published metadata.
    pub fn live_folder(&self) -> Folder {
        Folder::new(self.dir.join(METADATA))
    }

    /// Plans what an edit must do to the drafts: roles that nobody delegates to lose theirs, drafts that follow from
    /// others are brought in line.
    ///
    /// # Errors
    /// [`InputError::Canonical`], [`InputError::FarExpiry`].
    pub fn plan_edit(&mut self) -> Result<DraftPlan, RepositoryError> {
        self.staged.settle()?;
        self.staged.drop_unreachable();
        follow::follow(&mut self.staged, None, Extent::Present, &self.policy, self.now)?;
        let mut plan = self.staged.plan_drafts()?;
        self.leave_unusable(&mut plan)?;
        Ok(plan)
    }

    /// Leaves the drafts that cannot be used as they are, and refuses an edit that would take the place of one. Drafts of roles
    /// that nothing leads to stay too: one that cannot be used may delegate to them.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`], which names the draft.
    fn leave_unusable(&self, plan: &mut DraftPlan) -> Result<(), RepositoryError> {
        let is_edited = |role: &&RoleName| {
            let drafted = self.staged.role(role).and_then(AnyRole::draft_bytes);
            drafted.is_some_and(|drafted| self.implied.get(*role).map(Vec::as_slice) != Some(drafted.bytes))
        };
        self.refuse_unusable(self.unreadable.keys().filter(is_edited))?;
        plan.put.retain(|(_, role)| !self.unreadable.contains_key(role));
        if self.unreadable.keys().any(RoleName::lists_targets) {
            let goes = |role: RoleName| self.staged.role(&role).is_some() || self.discarded.contains(&role);
            plan.remove.retain(|name| drafted_role(name).is_none_or(goes));
        }
        Ok(())
    }

    /// Carries a planned edit out, and removes what a killed command left behind.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub fn save_edit(&self, plan: &DraftPlan) -> Result<(), RepositoryError> {
        self.sweep()?;
        self.staged.save(plan)
    }

    /// Returns the drafts, planned against what is on disk, without any change of their own.
    ///
    /// # Errors
    /// As [`Repository::plan_edit`].
    pub fn plan_drafts(&self) -> Result<DraftPlan, RepositoryError> {
        self.staged.plan_drafts()
    }

    /// Returns the role a user named.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_role(&mut self, name: &str) -> Result<RoleName, RepositoryError> {
        if let Some(role) = self.unreadable.keys().find(|role| role.as_str() == name) {
            return Ok(role.clone());
        }
        // what is written may name a role that has never been made: whoever names it here makes it
        if let Some(role) = RoleName::new(name).ok().filter(|role| self.staged.graph().contains(role))
            && !self.staged.read_bin(&role)?
            && self.staged.is_unmade(&role)
        {
            self.staged.add_targets_role(&role, self.expiry(&role)?)?;
        }
        self.staged.find_role(name)
    }

    /// Finds the roles whose drafts a user means: as [`Repository::find_roles`], and those that have nothing but a
    /// draft that nobody delegates to.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_drafted(&mut self, names: &[String]) -> Result<Vec<RoleName>, RepositoryError> {
        let mut found = Vec::new();
        for name in names {
            let orphan = RoleName::new(name.as_str()).ok().filter(|role| self.staged.has_draft_file(role));
            match (self.find_roles(std::slice::from_ref(name)), orphan) {
                (Err(RepositoryError::Input(InputError::UnknownRole(_))), Some(role)) => found.push(role),
                (roles, _) => found.extend(roles?),
            }
        }
        Ok(found)
    }

    /// Reads all hash bins, for what looks at every role.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] for files that are no metadata or missing.
    pub fn read_all(&mut self) -> Result<(), RepositoryError> {
        self.staged.read_all_bins()
    }

    /// Finds the roles that a user named; the prefix of hash bins stands for those that have a draft.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_roles(&mut self, names: &[String]) -> Result<Vec<RoleName>, RepositoryError> {
        let mut found = Vec::new();
        for name in names {
            match RoleName::new(name.as_str()).ok().and_then(|prefix| self.find_bins(&prefix)) {
                Some(set) => {
                    let mut bins = self.staged.bins_read(&set.bins);
                    bins.retain(|bin| {
                        self.staged.role(bin).is_some_and(|state| state.draft_version().is_some())
                    });
                    if bins.is_empty() {
                        // one of them stands for all, and none of them means every role
                        let first = set.bins.bin(0).unwrap_or_else(RoleName::targets);
                        self.staged.read_bins_named(vec![first.clone()])?;
                        bins.push(first);
                    }
                    found.extend(bins);
                }
                None => found.push(self.find_role(name)?),
            }
        }
        Ok(found)
    }

    /// Finds the role that a user named; the prefix of hash bins stands for all of them.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_members(&mut self, name: &str) -> Result<Vec<RoleName>, RepositoryError> {
        match RoleName::new(name).ok().and_then(|prefix| self.find_bins(&prefix)) {
            Some(set) => {
                self.staged.read_bins(&set.bins)?;
                Ok(self.staged.bins_read(&set.bins))
            }
            None => Ok(vec![self.find_role(name)?]),
        }
    }

    /// Returns the expiry of metadata of a role that is made now.
    fn expiry(&self, role: &RoleName) -> Result<DateTime<Utc>, InputError> {
        self.policy.expiry(role, self.now)
    }

    fn sweep(&self) -> Result<(), RepositoryError> {
        let own = Folder::new(&self.dir);
        let folders = [
            self.staged.folder(),
            self.staged.drafts_folder(),
            &self.targets_folder(),
            &self.live_folder(),
            &own,
        ];
        for folder in folders {
            folder.sweep().at(folder.path())?;
        }
        Ok(())
    }
}

/// What a repository holds without the drafts that cannot be used.
struct Usable {
    staged: Staged,
    /// The roles of those drafts, and why.
    unreadable: BTreeMap<RoleName, String>,
}

impl Usable {
    /// Returns what stands in the place of the drafts that cannot be used.
    fn implied(&self) -> BTreeMap<RoleName, Vec<u8>> {
        let drafted =
            |role: &RoleName| Some((role.clone(), self.staged.role(role)?.draft_bytes()?.bytes.to_vec()));
        self.unreadable.keys().filter_map(drafted).collect()
    }

    fn read(dir: &Path, policy: &Policy, now: DateTime<Utc>) -> Result<Self, RepositoryError> {
        let mut unreadable = BTreeMap::new();
        loop {
            let aside: BTreeSet<String> = unreadable.keys().map(draft_name).collect();
            let error = match Staged::read_besides(dir, policy, now, &aside) {
                Ok(staged) => return Ok(Self { staged, unreadable }),
                Err(error) => error,
            };
            let (file, reason) = match &error {
                RepositoryError::Refused { file, reason } => (file.clone(), reason.to_string()),
                RepositoryError::Io { path, source } => {
                    let file = path.strip_prefix(dir).unwrap_or(path);
                    (file.to_string_lossy().into_owned(), source.to_string())
                }
                _ => return Err(error),
            };
            let Some(role) = draft_of(&file).filter(|role| !unreadable.contains_key(role)) else {
                return Err(error);
            };
            unreadable.insert(role, reason);
        }
    }
}

/// A repository that is locked to be changed; only its policy has been read.
#[derive(Debug)]
pub struct Unread {
    dir: PathBuf,
    policy: Policy,
    now: DateTime<Utc>,
    lock: Lock,
}

impl Unread {
    /// Returns the repository's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Reads the repository.
    ///
    /// # Errors
    /// As [`Repository::open`]; [`InputError::History`] where a line of `.tuf-history` cannot be read, after a merge mostly:
    /// nothing is changed then that the history must know.
    pub fn read(self) -> Result<Repository, RepositoryError> {
        let read = |unread: &Self| {
            let staged = Staged::read(&unread.dir, &unread.policy, unread.now)?;
            Ok(Usable { staged, unreadable: BTreeMap::new() })
        };
        self.read_by(read)
    }

    /// Reads the repository as [`Unread::read`] does, but looks away from drafts that cannot be used: for commands whose work
    /// is none of theirs.
    ///
    /// # Errors
    /// As [`Unread::read`].
    pub fn read_past_drafts(self) -> Result<Repository, RepositoryError> {
        self.read_by(|unread| Usable::read(&unread.dir, &unread.policy, unread.now))
    }

    fn read_by(
        self,
        read: impl FnOnce(&Self) -> Result<Usable, RepositoryError> + Send,
    ) -> Result<Repository, RepositoryError> {
        let (usable, history) = rayon::join(|| read(&self), || History::recorded(&self.dir));
        let usable = usable?;
        history?;
        Ok(Repository {
            implied: usable.implied(),
            discarded: BTreeSet::new(),
            staged: usable.staged,
            dir: self.dir,
            policy: self.policy,
            now: self.now,
            unreadable: usable.unreadable,
            keyring: OnceLock::new(),
            lock: Some(Arc::new(self.lock)),
        })
    }
}
