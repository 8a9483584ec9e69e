//! What `metadata.staged` holds: for each role what is written and what is drafted, and who delegates to whom.
//!
//! Everything is derived from the files; there is no other state. Reading changes nothing: a draft that a killed
//! `write` had finished, or whose delegation is gone, is left out here and removed by the next plan. Hash bins are read
//! only where they have a draft, where a draft changes who may sign them, or where somebody asks; new ones of which there is
//! no file are made up from the delegation.

mod drafts;
mod named;
mod new_bins;
mod note;
mod spent;
mod state;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::bins::{BinSet, Delegatee, delegatees};
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::layout::{DRAFTS, Layout, MAX_METADATA, STAGED};
use super::policy::Policy;
use super::view::{Graph, View};
use crate::metadata::{Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles};
use crate::verify::Delegator;
pub use drafts::{DraftPlan, draft_name, draft_of};
pub(super) use drafts::{drafted_in, role_of as drafted_role};
use note::{NOTE, Note, is_work};
use spent::Spent;
use state::repeats;
pub use state::{AnyRole, Draft, Pins, RoleState, Saved};
pub(super) use written::Damage;
use written::{Damaged, Written, listed_role};

/// What a draft's file says; nothing where there is none.
type ReadDraft<T> = Result<Option<(Metadata<T>, Note)>, RepositoryError>;

fn read_draft<T: Signed>(drafts: &Folder, name: &str) -> ReadDraft<T> {
    let Some(bytes) = drafts.read(name, MAX_METADATA).at(drafts.file(name))? else { return Ok(None) };
    let refused = |reason| RepositoryError::Refused { file: format!("{STAGED}/{DRAFTS}/{name}"), reason };
    let read = Metadata::<T>::from_file_with(bytes, NOTE)
        .and_then(|(metadata, note)| Ok((metadata, Note::read::<T>(note.as_deref())?)));
    read.map(Some).map_err(|error| refused(Refusal::Unreadable(error)))
}

/// Tells whether a draft differs from what is written in its version and expiry only.
fn is_dated<T: Signed>(state: &RoleState<T>) -> bool {
    let both = state.draft.as_ref().zip(state.written.as_ref());
    both.is_some_and(|(draft, written)| repeats_but_dates(draft.metadata.signed(), written.signed()))
}

fn repeats_but_dates<T: Signed>(draft: &T, written: &T) -> bool {
    let mut dated = draft.clone();
    dated.set_expires(written.expires());
    repeats(&dated, written)
}

/// Returns why a draft of people's work cannot be used: the draft was made upon something else than what is written, and would
/// undo that. A draft that changes dates only undoes nothing. A draft of an older release does not say what it was made upon;
/// its version must be above the written one.
fn undoes<T: Signed>(draft: &Metadata<T>, note: &Note, state: &RoleState<T>) -> Option<Refusal> {
    if !is_work::<T>() {
        return None;
    }
    let goes_on = note.made_upon.as_ref().is_none_or(|base| base.is_base_of(state));
    match &state.written {
        Some(written) => {
            let version = written.signed().version();
            let is_above = draft.signed().version() > version;
            let undoes_nothing = (goes_on && is_above) || repeats_but_dates(draft.signed(), written.signed());
            (!undoes_nothing).then_some(Refusal::StaleDraft { written: version })
        }
        None => (!goes_on).then_some(Refusal::LostBase),
    }
}

/// Up to this many drafts are read at the same time as what is written.
const FEW_DRAFTS: usize = 16;

/// Reads the drafts of roles that list targets where they are few, by their names.
fn read_few(drafts: &Folder, names: &BTreeSet<String>) -> HashMap<String, ReadDraft<Targets>> {
    if names.len() > FEW_DRAFTS {
        return HashMap::new();
    }
    let lists = |name: &&String| {
        let role = name.strip_suffix(".json").and_then(RoleName::from_encoded);
        role.is_some_and(|role| role.lists_targets())
    };
    names.par_iter().filter(lists).map(|name| (name.clone(), read_draft(drafts, name))).collect()
}

/// The state of a repository's metadata.
#[derive(Debug, Clone)]
pub struct Staged {
    folder: Folder,
    drafts: Folder,
    /// The root role.
    pub root: RoleState<Root>,
    /// The timestamp role.
    pub timestamp: RoleState<Timestamp>,
    /// The snapshot role.
    pub snapshot: RoleState<Snapshot>,
    /// The roles that list targets and have been read, and new hash bins, which have no file yet.
    targets: BTreeMap<RoleName, Arc<RoleState<Targets>>>,
    /// The hash bins that what is written delegates to.
    written_bins: Vec<BinSet>,
    /// The delegated roles whose written files cannot be read, hash bins that nobody asked for apart.
    damaged: Damaged,
    /// The versions whose names are taken.
    spent: Arc<Spent>,
    /// The names of the drafts' files.
    on_disk: BTreeSet<String>,
}

impl Staged {
    /// Reads the state of the repository in a folder. New hash bins in which nothing is listed yet have no files: they expire
    /// as the policy says, counted from now.
    ///
    /// # Errors
    /// [`InputError::NotARepository`], [`InputError::FarExpiry`], [`RepositoryError::Refused`] for files that are no metadata
    /// or missing.
    pub fn read(
        repository: &std::path::Path,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> Result<Self, RepositoryError> {
        Self::read_besides(repository, policy, now, &BTreeSet::new())
    }

    /// Reads the state as [`Staged::read`] does, as if some drafts, by file name, were not there. Their files are left.
    ///
    /// # Errors
    /// As [`Staged::read`].
    pub fn read_besides(
        repository: &std::path::Path,
        policy: &Policy,
        now: DateTime<Utc>,
        besides: &BTreeSet<String>,
    ) -> Result<Self, RepositoryError> {
        Self::read_planned(repository, policy, now, besides, BTreeMap::new())
    }

    /// Reads the state as [`Staged::read_besides`] does, as if some files, by name, had been written.
    ///
    /// # Errors
    /// As [`Staged::read`].
    pub(super) fn read_planned(
        repository: &std::path::Path,
        policy: &Policy,
        now: DateTime<Utc>,
        besides: &BTreeSet<String>,
        planned: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, RepositoryError> {
        let folder = Folder::new(repository.join(STAGED));
        let folder = if planned.is_empty() { folder } else { folder.with_planned(planned) };
        if !folder.exists() {
            return Err(InputError::NotARepository(repository.to_owned()).into());
        }
        let drafts = Folder::new(folder.file(DRAFTS));
        let mut on_disk: BTreeSet<String> = drafts.names().at(drafts.path())?.into_iter().collect();
        // what else lies there is nobody's draft, and stays
        on_disk.retain(|name| !besides.contains(name) && drafts::role_of(name).is_some());
        // what is written and what is drafted of one role may both be large, and the files many
        let (written, (read, spent)) =
            rayon::join(|| Written::read(&folder), || (read_few(&drafts, &on_disk), Spent::read(&folder)));
        let (written, spent) = (written?, spent?);
        let mut staged = Self {
            folder,
            drafts,
            root: RoleState::new(written.root),
            timestamp: RoleState::new(written.timestamp),
            snapshot: RoleState::new(written.snapshot),
            targets: BTreeMap::new(),
            written_bins: written.bins,
            damaged: written.damaged,
            spent: Arc::new(spent),
            on_disk,
        };
        staged.root.draft = staged.read_draft(&RoleName::root(), &staged.root, 0)?;
        let spent = staged.spent_version(&RoleName::snapshot())?;
        staged.snapshot.draft = staged.read_draft(&RoleName::snapshot(), &staged.snapshot, spent)?;
        staged.snapshot.floor = staged.snapshot.floor.max(spent);
        let spent = staged.spent_version(&RoleName::timestamp())?;
        staged.timestamp.draft = staged.read_draft(&RoleName::timestamp(), &staged.timestamp, spent)?;
        staged.read_targets(written.targets, read)?;
        staged.imply_new_bins(policy, now)?;
        staged.imply_named_roles(policy, now)?;
        Ok(staged)
    }

    /// Reads the drafts of all roles that list targets and can be reached, from the top down: a draft may delegate to
    /// roles that are drafts themselves.
    fn read_targets(
        &mut self,
        mut written: BTreeMap<RoleName, Metadata<Targets>>,
        mut read: HashMap<String, ReadDraft<Targets>>,
    ) -> Result<(), RepositoryError> {
        let mut pending = vec![RoleName::targets()];
        let mut seen = BTreeSet::new();
        let mut bins: Vec<BinSet> = Vec::new();
        while let Some(role) = pending.pop() {
            if !seen.insert(role.clone()) {
                continue;
            }
            let read = read.remove(&draft_name(&role));
            let Some(state) = self.read_role(&role, written.remove(&role), read)? else { continue };
            let delegations = state.effective().and_then(|targets| targets.delegations.as_ref());
            for delegatee in delegations.map(delegatees).unwrap_or_default() {
                match delegatee {
                    Delegatee::Role(role) => pending.push(role),
                    Delegatee::Bins(set) => bins.push(set),
                }
            }
            self.targets.insert(role, Arc::new(state));
        }
        let drafted: Vec<RoleName> = self
            .on_disk
            .iter()
            .filter_map(|name| RoleName::from_encoded(name.strip_suffix(".json")?))
            .filter(|role| bins.iter().any(|bins| bins.contains(role)))
            .collect();
        // a role that was no hash bin when it was written may be one in a draft
        for role in &drafted {
            if let Some(metadata) = written.remove(role)
                && let Some(state) = self.read_role(role, Some(metadata), None)?
            {
                self.targets.insert(role.clone(), Arc::new(state));
            }
        }
        // a written role that a draft revokes stays known: the draft may be discarded
        for (role, metadata) in written {
            self.targets.insert(role, Arc::new(RoleState::new(Some(metadata))));
        }
        self.read_bins_named(drafted)?;
        self.settle()
    }

    /// Reads a role that lists targets; `None` where there is nothing of it.
    fn read_role(
        &self,
        role: &RoleName,
        written: Option<Metadata<Targets>>,
        read: Option<ReadDraft<Targets>>,
    ) -> Result<Option<RoleState<Targets>>, RepositoryError> {
        let written = match written {
            None if self.is_written_bin(role) => {
                let delegators = self.written_targets().map(|(_, targets)| targets);
                let version = self.listed_version(role);
                Some(listed_role(&self.folder, self.layout(), role, version, delegators)?)
            }
            written => written,
        };
        // the file of a role that is written is known in the plain layout
        let spent = match self.layout() {
            Layout::Plain if written.is_some() => 0,
            _ => self.spent_version(role)?,
        };
        let mut state = RoleState::new(written);
        state.floor = state.floor.max(self.listed_version(role));
        state.draft = match read {
            Some(read) => self.take_draft(role, &state, spent, read)?,
            None => self.read_draft(role, &state, spent)?,
        };
        state.floor = state.floor.max(spent);
        Ok(state.effective().is_some().then_some(state))
    }

    /// Reads hash bins, on all cores, those that have not been read yet and have a draft or a written file.
    pub(super) fn read_bins_named(&mut self, bins: Vec<RoleName>) -> Result<(), RepositoryError> {
        let unread = |role: &RoleName| !self.targets.contains_key(role);
        let read = |role: RoleName| {
            let read = Damage::take(&role, self.read_role(&role, None, None))?;
            Ok::<_, RepositoryError>((role, read))
        };
        let read: Vec<_> = bins.into_par_iter().filter(unread).map(read).collect::<Result<_, _>>()?;
        for (role, read) in read {
            match read {
                Ok(Some(state)) => drop(self.targets.insert(role, Arc::new(state))),
                Ok(None) => {}
                Err(damage) => drop(self.damaged.insert(role, damage)),
            }
        }
        Ok(())
    }

    /// Tells whether what is written delegates to a role as a hash bin and has it.
    fn is_written_bin(&self, role: &RoleName) -> bool {
        self.written_bins.iter().any(|bins| bins.contains(role)) && self.listed_version(role) > 0
    }

    /// Reads the hash bins whose keys or threshold a draft changes: what is written of them may have to be signed again.
    /// In the plain layout, where a killed `write` may leave files that do not fit, reads all.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] for files that are no metadata or missing.
    pub fn settle(&mut self) -> Result<(), RepositoryError> {
        let mut unsettled = Vec::new();
        for (role, state) in &self.targets {
            let Some(delegations) = state.effective().and_then(|targets| targets.delegations.as_ref()) else {
                continue;
            };
            let old = state.written.as_ref().and_then(|written| written.signed().delegations.as_ref());
            let untouched = state.draft.is_none() || old == Some(delegations);
            if untouched && self.layout() == Layout::Consistent {
                continue;
            }
            for delegatee in delegatees(delegations) {
                let Delegatee::Bins(bins) = delegatee else { continue };
                let first = bins.bin(0);
                let same = first.as_ref().is_some_and(|first| {
                    old.and_then(|old| old.authority(first)) == delegations.authority(first)
                });
                if !same || self.layout() == Layout::Plain {
                    unsettled.push((role.clone(), bins));
                }
            }
        }
        for (_, bins) in unsettled {
            self.read_bins(&bins)?;
        }
        Ok(())
    }

    /// Reads all bins of a set that there are.
    ///
    /// # Errors
    /// As [`Staged::settle`].
    pub fn read_bins(&mut self, bins: &BinSet) -> Result<(), RepositoryError> {
        let listed = self.listed_bins(bins);
        self.read_bins_named(listed)
    }

    /// Returns the bins of a set that the written snapshot lists.
    pub(super) fn listed_bins(&self, bins: &BinSet) -> Vec<RoleName> {
        let Some(snapshot) = &self.snapshot.written else { return Vec::new() };
        bins.listed_by(snapshot.signed()).collect()
    }

    /// Reads the bins of all sets that the drafts in force delegate to.
    ///
    /// # Errors
    /// As [`Staged::settle`].
    pub fn read_all_bins(&mut self) -> Result<(), RepositoryError> {
        for set in self.graph().bins {
            self.read_bins(&set.bins)?;
        }
        Ok(())
    }

    /// Reads the hash bins that expire at or before a moment, which may differ from bin to bin.
    ///
    /// # Errors
    /// As [`Staged::settle`].
    pub fn read_expiring_bins(
        &mut self,
        horizon: &(dyn Fn(&RoleName) -> DateTime<Utc> + Sync),
    ) -> Result<(), RepositoryError> {
        let expires_soon = |role: &RoleName| -> Result<Result<bool, Damage>, RepositoryError> {
            let name = self.layout().metadata_name(role, self.listed_version(role));
            let expires = Damage::take(role, written::read_expiry(&self.folder, &name))?;
            Ok(expires.map(|expires| expires <= horizon(role)))
        };
        let (mut due, mut damaged) = (Vec::new(), Vec::new());
        for set in self.graph().bins {
            let unread = self.listed_bins(&set.bins).into_iter().filter(|role| self.role(role).is_none());
            let unread: Vec<RoleName> = unread.collect();
            let soon: Vec<_> = unread.par_iter().map(expires_soon).collect::<Result<_, _>>()?;
            for (role, soon) in unread.into_iter().zip(soon) {
                match soon {
                    Ok(true) => due.push(role),
                    Ok(false) => {}
                    Err(damage) => damaged.push((role, damage)),
                }
            }
        }
        self.damaged.extend(damaged);
        self.read_bins_named(due)
    }

    /// Reads a hash bin with what it lists. Tells whether there is anything of it; other roles are there anyway.
    ///
    /// # Errors
    /// As [`Staged::settle`].
    pub fn read_bin(&mut self, role: &RoleName) -> Result<bool, RepositoryError> {
        if self.role(role).is_none()
            && let Some(state) = self.read_role(role, None, None)?
        {
            self.targets.insert(role.clone(), Arc::new(state));
        }
        Ok(self.role(role).is_some())
    }

    /// Returns the state of a hash bin with what it lists, to be changed aside; `None` where there is no such bin.
    ///
    /// # Errors
    /// As [`Staged::settle`].
    pub(super) fn bin_state(&self, role: &RoleName) -> Result<Option<RoleState<Targets>>, RepositoryError> {
        match self.targets(role) {
            Some(state) => Ok(Some(state.clone())),
            None => self.read_role(role, None, None),
        }
    }

    /// Takes the new state of a hash bin.
    pub(super) fn put_bin(&mut self, role: RoleName, state: RoleState<Targets>) {
        self.targets.insert(role, Arc::new(state));
    }

    /// Returns the names of the roles that one delegates to; of hash bins those that have been read.
    pub(super) fn delegated_by(&self, targets: &Targets) -> Vec<RoleName> {
        let mut names = Vec::new();
        for delegatee in targets.delegations.as_ref().map(delegatees).unwrap_or_default() {
            match delegatee {
                Delegatee::Role(role) => names.push(role),
                Delegatee::Bins(bins) => names.extend(self.bins_read(&bins)),
            }
        }
        names
    }

    /// Returns the bins of a set that have been read, in order.
    pub(super) fn bins_read(&self, bins: &BinSet) -> Vec<RoleName> {
        let same = |role: &&RoleName| role.as_str().starts_with(bins.prefix());
        let from = self.targets.range::<str, _>((Bound::Included(bins.prefix()), Bound::Unbounded));
        from.map(|(role, _)| role).take_while(same).filter(|role| bins.contains(role)).cloned().collect()
    }

    /// Returns the version that the written snapshot lists for a role, 0 where it does not.
    pub(super) fn listed_version(&self, role: &RoleName) -> u64 {
        let snapshot = self.snapshot.written.as_ref().and_then(|snapshot| snapshot.signed().role(role));
        snapshot.map_or(0, |listed| listed.version)
    }

    /// Reads one draft. One that is written already, byte for byte, is finished and left out; one whose version a killed run
    /// has given to another file is carried on as the next version, unsigned, and so is one of what is derived. People's work
    /// that was not made upon what is written now would undo what another copy has written since.
    ///
    /// # Errors
    /// [`Refusal::StaleDraft`] and [`Refusal::LostBase`] for that; [`Refusal::Unreadable`].
    fn read_draft<T: Signed>(
        &self,
        role: &RoleName,
        state: &RoleState<T>,
        spent: u64,
    ) -> Result<Option<Draft<T>>, RepositoryError> {
        let name = draft_name(role);
        match self.on_disk.contains(&name) {
            true => self.take_draft(role, state, spent, read_draft(&self.drafts, &name)),
            false => Ok(None),
        }
    }

    /// Takes what was read of a draft as [`Staged::read_draft`] does.
    fn take_draft<T: Signed>(
        &self,
        role: &RoleName,
        state: &RoleState<T>,
        spent: u64,
        read: ReadDraft<T>,
    ) -> Result<Option<Draft<T>>, RepositoryError> {
        let Some((metadata, note)) = read? else { return Ok(None) };
        let file = format!("{STAGED}/{DRAFTS}/{}", draft_name(role));
        let refused = |reason| RepositoryError::Refused { file, reason };
        if state.written.as_ref().is_some_and(|written| written.signed_bytes() == metadata.signed_bytes()) {
            return Ok(None);
        }
        if let Some(reason) = undoes(&metadata, &note, state) {
            return Err(refused(reason));
        }
        let pins = note.pins;
        let (version, floor) = (metadata.signed().version(), state.floor.max(spent));
        if version > floor {
            return Ok(Some(Draft { metadata, pins, saved: Saved::Whole }));
        }
        if version > state.floor
            && let Some((_, put)) = self.put_of::<T>(role, version, metadata.signed_bytes())?
        {
            // the file has the signatures of the run that was killed; the draft may have got others since
            let mut draft = Draft { metadata, pins, saved: Saved::Whole };
            draft.take_signatures_of(put);
            return Ok(Some(draft));
        }
        let mut signed = metadata.into_signed();
        signed.set_version(floor + 1);
        let metadata =
            Metadata::unsigned(signed).map_err(|error| refused(Refusal::Unreadable(error.into())))?;
        Ok(Some(Draft { metadata, pins, saved: Saved::No }))
    }

    /// Returns the folder of written metadata.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns the folder of drafts.
    pub fn drafts_folder(&self) -> &Folder {
        &self.drafts
    }

    /// Returns how written files are named.
    pub fn layout(&self) -> Layout {
        let root = self.root.written.as_ref().map(Metadata::signed).or(self.root.effective());
        Layout::of(root.is_some_and(|root| root.consistent_snapshot))
    }

    /// Returns the state of a role that lists targets and has been read.
    pub fn targets(&self, role: &RoleName) -> Option<&RoleState<Targets>> {
        self.targets.get(role).map(Arc::as_ref)
    }

    /// Returns the state of a role that lists targets and has been read, to edit it.
    pub fn targets_mut(&mut self, role: &RoleName) -> Option<&mut RoleState<Targets>> {
        self.targets.get_mut(role).map(Arc::make_mut)
    }

    /// Makes a role that lists targets known, with an empty first draft upon the versions that clients may have seen.
    ///
    /// # Errors
    /// [`InputError::Canonical`], [`RepositoryError::Io`].
    pub fn add_targets_role(
        &mut self,
        role: &RoleName,
        expires: DateTime<Utc>,
    ) -> Result<(), RepositoryError> {
        if self.role(role).is_none() && !self.is_written_bin(role) {
            let state = self.new_targets_role(role, expires, Saved::No)?;
            self.targets.insert(role.clone(), Arc::new(state));
        }
        Ok(())
    }

    /// Returns the state of any role that has been read.
    pub fn role(&self, role: &RoleName) -> Option<&dyn AnyRole> {
        match role.as_str() {
            "root" => Some(&self.root),
            "snapshot" => Some(&self.snapshot),
            "timestamp" => Some(&self.timestamp),
            _ => self.targets(role).map(|state| state as &dyn AnyRole),
        }
    }

    /// Returns the state of any role that has been read, to change it.
    pub fn role_mut(&mut self, role: &RoleName) -> Option<&mut dyn AnyRole> {
        match role.as_str() {
            "root" => Some(&mut self.root),
            "snapshot" => Some(&mut self.snapshot),
            "timestamp" => Some(&mut self.timestamp),
            _ => self.targets_mut(role).map(|state| state as &mut dyn AnyRole),
        }
    }

    /// Returns any role's state, or says that there is no such role.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn known_role(&mut self, role: &RoleName) -> Result<&mut dyn AnyRole, InputError> {
        self.role_mut(role).ok_or_else(|| InputError::UnknownRole(role.to_string()))
    }

    /// Finds a role by the name a user typed; a hash bin is read then.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`], and as [`Staged::settle`].
    pub fn find_role(&mut self, name: &str) -> Result<RoleName, RepositoryError> {
        let unknown = || InputError::UnknownRole(name.escape_debug().to_string());
        let role = RoleName::new(name).map_err(|_| unknown())?;
        if let Some(damage) = self.damage(&role) {
            return Err(damage.clone().into());
        }
        let reachable = role.is_top_level() || self.graph().contains(&role);
        if reachable && self.read_bin(&role)? { Ok(role) } else { Err(unknown().into()) }
    }

    /// Looks away from all drafts: what is planned from here on leaves their files as they are.
    pub fn set_drafts_aside(&mut self) {
        self.root.draft = None;
        self.snapshot.draft = None;
        self.timestamp.draft = None;
        self.drop_drafts(|_| true);
    }

    /// Drops the drafts of roles that list targets.
    fn drop_drafts(&mut self, which: impl Fn(&RoleName) -> bool) {
        for (_, state) in self.targets.iter_mut().filter(|(role, _)| which(role)) {
            if state.draft.is_some() {
                Arc::make_mut(state).draft = None;
            }
        }
        self.targets.retain(|_, state| state.effective().is_some());
    }

    /// Lets go of everything but some roles: what [`Staged::restore`] needs of an earlier state.
    pub fn keep_only(&mut self, wanted: impl Fn(&RoleName) -> bool) {
        self.targets.retain(|role, _| wanted(role));
    }

    /// Makes drafts what is written, as if their files had been read: those of all roles that had one.
    pub(super) fn promote(&mut self, written: &BTreeMap<RoleName, u64>) {
        self.root.promote();
        self.snapshot.promote();
        self.timestamp.promote();
        for role in written.keys() {
            self.damaged.remove(role);
            if let Some(state) = self.targets_mut(role) {
                state.promote();
            }
        }
        self.on_disk.clear();
        let spent = Arc::make_mut(&mut self.spent);
        for (role, version) in written.iter().filter(|(role, _)| role.as_str() != "root") {
            spent.add(role, *version);
        }
        // bins without a draft are read when somebody asks, and what nobody delegates to is not read
        let graph = self.graph();
        let is_bin = |role: &RoleName| graph.bins_of(role).is_some() && !graph.delegators.contains_key(role);
        self.targets.retain(|role, _| graph.contains(role) && !is_bin(role));
        self.damaged.retain(|role, _| !is_bin(role));
        self.written_bins = graph.bins.into_iter().map(|set| set.bins).collect();
    }

    /// Takes a role's draft back from an earlier state.
    pub fn restore(&mut self, role: &RoleName, earlier: &Self) {
        match role.as_str() {
            "root" => self.root.draft.clone_from(&earlier.root.draft),
            "snapshot" => self.snapshot.draft.clone_from(&earlier.snapshot.draft),
            "timestamp" => self.timestamp.draft.clone_from(&earlier.timestamp.draft),
            _ => {
                self.drop_drafts(|other| other == role);
                if let Some(state) = earlier.targets.get(role) {
                    self.targets.insert(role.clone(), state.clone());
                }
            }
        }
    }

    /// Looks at the state with all drafts in force.
    pub fn effective(&self) -> View<'_> {
        View::of_all(self)
    }

    /// Returns the roles reachable by delegation with all drafts in force.
    pub fn graph(&self) -> Graph {
        self.effective().graph()
    }

    /// Tells whether a role's draft says, apart from version and expiry, what is written, and nobody asked for that.
    pub(super) fn repeats_written(&self, role: &RoleName) -> bool {
        role.lists_targets()
            && self.role(role).is_some_and(|state| !state.pins().any())
            && self.says_what_is_written(role)
    }

    /// Tells whether a role has a draft that says, apart from version and expiry, what is written: it is no edit of content.
    /// What a snapshot and a timestamp say follows from other roles, and is nobody's edit.
    pub(super) fn says_what_is_written(&self, role: &RoleName) -> bool {
        let both = |state: &dyn AnyRole| state.draft_version().is_some() && state.written_version().is_some();
        if !self.role(role).is_some_and(both) {
            return false;
        }
        match role.as_str() {
            "snapshot" | "timestamp" => true,
            "root" => is_dated(&self.root),
            _ => self.targets(role).is_some_and(|state| {
                // what is long is compared first, and copied only where it is the same
                let written = state.written.as_ref().map(|written| &written.signed().targets);
                state.effective().map(|draft| &draft.targets) == written && is_dated(state)
            }),
        }
    }

    /// Lets the next plan remove or replace the file of a draft that was not read.
    pub(super) fn give_up(&mut self, role: &RoleName) {
        self.on_disk.insert(draft_name(role));
    }

    /// Returns why the written file of a delegated role cannot be read.
    pub(super) fn damage_of_written(&self, role: &RoleName) -> Option<&Damage> {
        self.damaged.get(role)
    }

    /// Returns why the written file of a delegated role cannot be read, where no draft takes its place.
    pub(super) fn damage(&self, role: &RoleName) -> Option<&Damage> {
        self.damaged.get(role).filter(|_| self.role(role).is_none())
    }

    /// Returns the version of a role that is written, also where its file cannot be read.
    pub(super) fn written_version(&self, role: &RoleName) -> Option<u64> {
        match self.damage_of_written(role) {
            Some(_) => Some(self.listed_version(role)),
            None => self.role(role).and_then(AnyRole::written_version),
        }
    }

    /// Returns the version of the written snapshot, 0 where there is none.
    pub(super) fn listed_snapshot(&self) -> u64 {
        self.snapshot.written_version().unwrap_or(0)
    }

    /// Returns the roles that the written snapshot lists.
    pub(super) fn listed_roles(&self) -> BTreeSet<RoleName> {
        let listed = self.snapshot.written.iter().flat_map(|snapshot| &snapshot.signed().meta);
        listed.filter_map(|(path, _)| RoleName::from_metapath(&path)).collect()
    }

    /// Returns what is written of the roles that list targets and have been read.
    pub(super) fn written_targets(&self) -> impl Iterator<Item = (&RoleName, &Targets)> {
        self.targets.iter().filter_map(|(role, state)| Some((role, state.written.as_ref()?.signed())))
    }

    /// Returns the delegated roles whose written files cannot be read, and why.
    pub(super) fn damaged(&self) -> impl Iterator<Item = (&RoleName, &Damage)> {
        self.damaged.iter()
    }

    /// Drops the drafts of roles that nobody delegates to any more. Where a delegator cannot be read nobody knows which.
    pub fn drop_unreachable(&mut self) {
        if !self.damaged.is_empty() {
            return;
        }
        let graph = self.graph();
        self.drop_drafts(|role| !graph.contains(role));
    }
}
