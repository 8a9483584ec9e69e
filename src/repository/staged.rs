//! What `metadata.staged` holds: for each role what is written and what is drafted, and who delegates to whom.
//!
//! Everything is derived from the files; there is no other state. Reading changes nothing: a draft that a killed
//! `write` had finished, or whose delegation is gone, is left out here and removed by the next plan.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::layout::{DRAFTS, Layout, MAX_METADATA, STAGED, parse_versioned};
use super::view::{Graph, View};
use crate::canonical::CanonicalError;
use crate::metadata::{KeyId, Metadata, RoleName, Root, Signature, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles};

/// The member of a draft's file, beside `signatures` and `signed`, that holds its [`Pins`].
const NOTE: &str = "draft";

/// What of a draft a person has set by hand, so that it is not derived again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// `bump`: the draft stays although it changes nothing, with its version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub version: bool,
    /// `expire`: the expiry is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expires: bool,
}

impl Pins {
    /// Tells whether anything is set by hand.
    pub fn any(self) -> bool {
        self.version || self.expires
    }
}

/// An edit that is not yet complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft<T> {
    /// The metadata with the signatures it has so far.
    pub metadata: Metadata<T>,
    /// What is set by hand.
    pub pins: Pins,
}

/// One role: what is written, what is drafted.
#[derive(Debug, Clone)]
pub struct RoleState<T> {
    /// The complete metadata that a copy of the folder publishes.
    pub written: Option<Metadata<T>>,
    /// The edit upon it.
    pub draft: Option<Draft<T>>,
    /// The highest version that clients may have seen: the written one, that of a role that was revoked, or that of a
    /// file which a killed `write` has put.
    pub floor: u64,
}

impl<T: Signed> RoleState<T> {
    fn new(written: Option<Metadata<T>>) -> Self {
        let floor = written.as_ref().map_or(0, |written| written.signed().version());
        Self { written, draft: None, floor }
    }

    /// Returns the draft, or else what is written.
    pub fn effective(&self) -> Option<&T> {
        self.draft
            .as_ref()
            .map(|draft| draft.metadata.signed())
            .or(self.written.as_ref().map(Metadata::signed))
    }

    /// Puts a draft in place, unsigned.
    ///
    /// # Errors
    /// [`CanonicalError`] where `custom` or unknown members hold what canonical JSON refuses.
    pub fn set_draft(&mut self, signed: T, pins: Pins) -> Result<(), CanonicalError> {
        self.draft = Some(Draft { metadata: Metadata::unsigned(signed)?, pins });
        Ok(())
    }

    /// Edits the draft, or a copy of what is written: the version goes to the next one once, the expiry to `expires`
    /// unless a person set it, and signatures over other bytes are dropped. An edit that changes nothing makes no draft;
    /// one that leads back to what is written removes it. Tells whether anything changed.
    ///
    /// # Errors
    /// [`CanonicalError`] as [`RoleState::set_draft`].
    pub fn edit(
        &mut self,
        expires: DateTime<Utc>,
        change: impl FnOnce(&mut T),
    ) -> Result<bool, CanonicalError> {
        let Some(before) = self.effective() else { return Ok(false) };
        let mut after = before.clone();
        change(&mut after);
        if after == *before {
            return Ok(false);
        }
        let pins = self.draft.as_ref().map(|draft| draft.pins).unwrap_or_default();
        if let Some(written) = self.written.as_ref().filter(|_| !pins.any()) {
            after.set_version(written.signed().version());
            after.set_expires(written.signed().expires());
            if after == *written.signed() {
                self.draft = None;
                return Ok(true);
            }
        }
        // a version set by hand stays, unless a killed `write` has given it to a file
        if !pins.version || after.version() <= self.floor {
            after.set_version(self.floor + 1);
        }
        if !pins.expires {
            after.set_expires(expires);
        }
        self.set_draft(after, pins)?;
        Ok(true)
    }
}

/// A role of any kind, for what does not depend on the kind.
pub trait AnyRole {
    /// Returns the version of the written metadata.
    fn written_version(&self) -> Option<u64>;
    /// Returns the version of the draft.
    fn draft_version(&self) -> Option<u64>;
    /// Returns the version that the next written metadata will have at least.
    fn next_version(&self) -> u64;
    /// Returns the expiry of the draft, or else of the written metadata.
    fn expires(&self) -> Option<DateTime<Utc>>;
    /// Returns the expiry of the written metadata.
    fn written_expires(&self) -> Option<DateTime<Utc>>;
    /// Returns the bytes to sign and the signatures of the draft.
    fn draft_bytes(&self) -> Option<(&[u8], &[Signature])>;
    /// Returns the bytes that were signed and the signatures of the written metadata.
    fn written_bytes(&self) -> Option<(&[u8], &[Signature])>;
    /// Adds signatures to the draft, replacing those by the same key ids; signatures stay sorted by key id.
    fn add_signatures(&mut self, signatures: Vec<Signature>);
    /// Returns the draft as the file it will be when it is written.
    ///
    /// # Errors
    /// [`CanonicalError`] where a signature's unknown members hold what canonical JSON refuses.
    fn draft_as_written(&self) -> Result<Option<Vec<u8>>, CanonicalError>;
    /// Returns the draft as its file in the drafts folder.
    ///
    /// # Errors
    /// As [`AnyRole::draft_as_written`].
    fn draft_file(&self) -> Result<Option<Vec<u8>>, CanonicalError>;
    /// Returns what of the draft is set by hand.
    fn pins(&self) -> Pins;
    /// Drops the draft.
    fn drop_draft(&mut self);
    /// Makes a draft of the written metadata with the next version, to be signed again, unless there is one. Tells
    /// whether there is a draft now.
    ///
    /// # Errors
    /// As [`RoleState::set_draft`].
    fn bump(
        &mut self,
        expires: DateTime<Utc>,
        version: Option<u64>,
        pins: Pins,
    ) -> Result<bool, CanonicalError>;
    /// Sets the expiry by hand. Tells whether anything changed.
    ///
    /// # Errors
    /// As [`RoleState::set_draft`].
    fn pin_expiry(&mut self, expires: DateTime<Utc>) -> Result<bool, CanonicalError>;
}

impl<T: Signed> AnyRole for RoleState<T> {
    fn written_version(&self) -> Option<u64> {
        self.written.as_ref().map(|written| written.signed().version())
    }

    fn draft_version(&self) -> Option<u64> {
        self.draft.as_ref().map(|draft| draft.metadata.signed().version())
    }

    fn next_version(&self) -> u64 {
        self.floor + 1
    }

    fn expires(&self) -> Option<DateTime<Utc>> {
        self.effective().map(Signed::expires)
    }

    fn written_expires(&self) -> Option<DateTime<Utc>> {
        self.written.as_ref().map(|written| written.signed().expires())
    }

    fn draft_bytes(&self) -> Option<(&[u8], &[Signature])> {
        self.draft.as_ref().map(|draft| (draft.metadata.signed_bytes(), draft.metadata.signatures.as_slice()))
    }

    fn written_bytes(&self) -> Option<(&[u8], &[Signature])> {
        self.written.as_ref().map(|written| (written.signed_bytes(), written.signatures.as_slice()))
    }

    fn add_signatures(&mut self, signatures: Vec<Signature>) {
        let Some(draft) = &mut self.draft else { return };
        let new: BTreeSet<KeyId> = signatures.iter().map(|signature| signature.keyid.clone()).collect();
        let all = &mut draft.metadata.signatures;
        all.retain(|signature| !new.contains(&signature.keyid));
        all.extend(signatures);
        all.sort_by(|a, b| a.keyid.cmp(&b.keyid));
    }

    fn draft_as_written(&self) -> Result<Option<Vec<u8>>, CanonicalError> {
        self.draft.as_ref().map(|draft| draft.metadata.to_bytes()).transpose()
    }

    fn draft_file(&self) -> Result<Option<Vec<u8>>, CanonicalError> {
        let Some(draft) = &self.draft else { return Ok(None) };
        let pins = serde_json::to_value(draft.pins).unwrap_or(Value::Null);
        let note = draft.pins.any().then_some((NOTE, &pins));
        draft.metadata.to_bytes_with(note).map(Some)
    }

    fn pins(&self) -> Pins {
        self.draft.as_ref().map(|draft| draft.pins).unwrap_or_default()
    }

    fn drop_draft(&mut self) {
        self.draft = None;
    }

    fn bump(
        &mut self,
        expires: DateTime<Utc>,
        version: Option<u64>,
        pins: Pins,
    ) -> Result<bool, CanonicalError> {
        let present = self.pins();
        let pins =
            Pins { version: pins.version || present.version, expires: pins.expires || present.expires };
        let Some(effective) = self.effective() else { return Ok(false) };
        let mut signed = effective.clone();
        let kept = self.draft.as_ref().map(|draft| draft.metadata.signed().version());
        signed.set_version(version.or(kept).unwrap_or(self.floor + 1));
        if self.draft.is_none() {
            signed.set_expires(expires);
        }
        match &mut self.draft {
            Some(draft) if *draft.metadata.signed() == signed => draft.pins = pins,
            _ => self.set_draft(signed, pins)?,
        }
        Ok(true)
    }

    fn pin_expiry(&mut self, expires: DateTime<Utc>) -> Result<bool, CanonicalError> {
        let Some(effective) = self.effective() else { return Ok(false) };
        let mut signed = effective.clone();
        signed.set_expires(expires);
        if signed == *effective {
            return Ok(false);
        }
        let pins = Pins { expires: true, ..self.pins() };
        if self.written.as_ref().is_some_and(|written| !pins.version && repeats(&signed, written.signed())) {
            self.draft = None;
            return Ok(true);
        }
        if self.draft.is_none() || signed.version() <= self.floor {
            signed.set_version(self.floor + 1);
        }
        self.set_draft(signed, pins)?;
        Ok(true)
    }
}

/// Tells whether metadata differs from what is written in its version only.
fn repeats<T: Signed>(signed: &T, written: &T) -> bool {
    let mut numbered = signed.clone();
    numbered.set_version(written.version());
    numbered == *written
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
    targets: BTreeMap<RoleName, RoleState<Targets>>,
    /// The highest version of each role, without root, whose name a versioned file has taken.
    spent: BTreeMap<RoleName, u64>,
    /// The drafts as they are on disk, by file name.
    on_disk: BTreeMap<String, Vec<u8>>,
}

impl Staged {
    /// Reads the state of the repository in a folder.
    ///
    /// # Errors
    /// [`InputError::NotARepository`], [`RepositoryError::Refused`] for files that are no metadata or missing.
    pub fn read(repository: &std::path::Path) -> Result<Self, RepositoryError> {
        Self::read_besides(repository, &BTreeSet::new())
    }

    /// Reads the state as [`Staged::read`] does, as if some drafts, by file name, were not there. Their files are left.
    ///
    /// # Errors
    /// As [`Staged::read`].
    pub fn read_besides(
        repository: &std::path::Path,
        besides: &BTreeSet<String>,
    ) -> Result<Self, RepositoryError> {
        let folder = Folder::new(repository.join(STAGED));
        if !folder.exists() {
            return Err(InputError::NotARepository(repository.to_owned()).into());
        }
        let drafts = Folder::new(folder.file(DRAFTS));
        let mut on_disk = BTreeMap::new();
        for name in drafts.names().at(drafts.path())?.into_iter().filter(|name| !besides.contains(name)) {
            let bytes = drafts.read(&name, MAX_METADATA).at(drafts.file(&name))?.unwrap_or_default();
            on_disk.insert(name, bytes);
        }
        let written = Written::read(&folder)?;
        let mut staged = Self {
            folder,
            drafts,
            root: RoleState::new(written.root),
            timestamp: RoleState::new(written.timestamp),
            snapshot: RoleState::new(written.snapshot),
            targets: BTreeMap::new(),
            spent: BTreeMap::new(),
            on_disk,
        };
        staged.root.draft = staged.read_draft(&RoleName::root(), &staged.root)?;
        for (role, metadata) in written.targets {
            staged.targets.insert(role, RoleState::new(Some(metadata)));
        }
        staged.spent = staged.read_spent()?;
        staged.snapshot.draft = staged.read_draft(&RoleName::snapshot(), &staged.snapshot)?;
        staged.snapshot.floor = staged.snapshot.floor.max(staged.spent_version(&RoleName::snapshot()));
        staged.timestamp.draft = staged.read_draft(&RoleName::timestamp(), &staged.timestamp)?;
        staged.read_target_drafts()?;
        Ok(staged)
    }

    /// Reads the drafts of all roles that list targets and can be reached, from the top down: a draft may delegate to
    /// roles that are drafts themselves.
    fn read_target_drafts(&mut self) -> Result<(), RepositoryError> {
        let mut pending = vec![RoleName::targets()];
        let mut seen = BTreeSet::new();
        while let Some(role) = pending.pop() {
            if !seen.insert(role.clone()) {
                continue;
            }
            let mut state = self.targets.remove(&role).unwrap_or_else(|| RoleState::new(None));
            state.floor = state.floor.max(self.listed_version(&role));
            state.draft = self.read_draft(&role, &state)?;
            state.floor = state.floor.max(self.spent_version(&role));
            if let Some(targets) = state.effective() {
                pending.extend(self.delegated_by(targets));
            }
            if state.effective().is_some() {
                self.targets.insert(role, state);
            }
        }
        // a written role that a draft revokes stays known: the draft may be discarded
        self.targets.retain(|role, state| seen.contains(role) || state.written.is_some());
        Ok(())
    }

    /// Returns the names of the roles that one delegates to; of hash bins those that exist.
    pub(super) fn delegated_by(&self, targets: &Targets) -> Vec<RoleName> {
        let Some(delegations) = &targets.delegations else { return Vec::new() };
        let Some(bins) = &delegations.succinct_roles else {
            return delegations.roles().iter().map(|role| role.name.clone()).collect();
        };
        let drafted =
            self.on_disk.keys().filter_map(|name| RoleName::from_encoded(name.strip_suffix(".json")?));
        let listed = self.snapshot.written.iter().flat_map(|snapshot| snapshot.signed().meta.keys());
        let listed = listed.filter_map(|metapath| RoleName::from_metapath(metapath));
        let all: BTreeSet<RoleName> = drafted
            .chain(listed)
            .chain(self.targets.keys().cloned())
            .filter(|role| bins.is_bin(role.as_str()))
            .collect();
        all.into_iter().collect()
    }

    /// Returns the version that the written snapshot lists for a role, 0 where it does not.
    fn listed_version(&self, role: &RoleName) -> u64 {
        let snapshot = self.snapshot.written.as_ref().and_then(|snapshot| snapshot.signed().role(role));
        snapshot.map_or(0, |listed| listed.version)
    }

    /// Finds the versions that a killed `write` has given a file: it is never rewritten with other bytes.
    fn read_spent(&self) -> Result<BTreeMap<RoleName, u64>, RepositoryError> {
        let mut spent: BTreeMap<RoleName, u64> = BTreeMap::new();
        let names = self.folder.names().at(self.folder.path())?;
        for name in names {
            let found = match self.layout() {
                Layout::Consistent => parse_versioned(&name),
                Layout::Plain => self.plain_version(&name)?,
            };
            // the next root follows from the roots themselves
            let Some((version, role)) = found.filter(|(_, role)| role.as_str() != "root") else { continue };
            let highest = spent.entry(role).or_insert(version);
            *highest = version.max(*highest);
        }
        Ok(spent)
    }

    /// Returns the version of a plain file that lists targets; what is reached from the timestamp is known anyway.
    fn plain_version(&self, name: &str) -> Result<Option<(u64, RoleName)>, RepositoryError> {
        let role = name.strip_suffix(".json").and_then(RoleName::from_encoded);
        let Some(role) = role.filter(|role| role.lists_targets() && !self.targets.contains_key(role)) else {
            return Ok(None);
        };
        let bytes = self.folder.read(name, MAX_METADATA).at(self.folder.file(name))?;
        let put = bytes.and_then(|bytes| Metadata::<Targets>::from_bytes(&bytes).ok());
        Ok(put.map(|put| (put.signed().version, role)))
    }

    fn spent_version(&self, role: &RoleName) -> u64 {
        self.spent.get(role).copied().unwrap_or(0)
    }

    /// Returns the file of a draft that a killed `write` has put already: it stays as it is, though the draft may have
    /// got more signatures since.
    pub(super) fn put_already(&self, role: &RoleName) -> Result<Option<Vec<u8>>, RepositoryError> {
        match role.as_str() {
            "snapshot" => self.put_of(role, self.snapshot.draft.as_ref().map(|draft| &draft.metadata)),
            _ => {
                let draft = self.targets.get(role).and_then(|state| state.draft.as_ref());
                self.put_of(role, draft.map(|draft| &draft.metadata))
            }
        }
    }

    /// Tells whether a killed `write` has put a role's draft with signatures that no longer suffice: the draft needs a
    /// version that is free.
    pub(super) fn put_in_vain(
        &self,
        view: &View<'_>,
        role: &RoleName,
        graph: &Graph,
    ) -> Result<bool, RepositoryError> {
        let Some(state) = self.role(role) else { return Ok(false) };
        let Some((signed, _)) = state.draft_bytes() else { return Ok(false) };
        let is_free = state.draft_version().is_some_and(|version| version >= state.next_version());
        if is_free || matches!(role.as_str(), "root" | "timestamp") {
            return Ok(false);
        }
        let Some(put) = self.put_already(role)? else { return Ok(false) };
        let put = match role.as_str() {
            "snapshot" => Metadata::<Snapshot>::from_bytes(&put).map(|put| put.signatures),
            _ => Metadata::<Targets>::from_bytes(&put).map(|put| put.signatures),
        };
        let signatures = put.unwrap_or_default();
        let authorities = view.authorities(role, graph);
        Ok(authorities.iter().any(|(authority, _)| !authority.check(signed, &signatures).is_verified()))
    }

    fn put_of<T: Signed>(
        &self,
        role: &RoleName,
        draft: Option<&Metadata<T>>,
    ) -> Result<Option<Vec<u8>>, RepositoryError> {
        let Some(draft) = draft else { return Ok(None) };
        let name = self.layout().metadata_name(role, draft.signed().version());
        let put = self.folder.read(&name, MAX_METADATA).at(self.folder.file(&name))?;
        let same = |bytes: &Vec<u8>| {
            Metadata::<T>::from_bytes(bytes).is_ok_and(|put| put.signed_bytes() == draft.signed_bytes())
        };
        Ok(put.filter(same))
    }

    /// Reads one draft. One that is written already, byte for byte, is finished and left out; one that was overtaken is
    /// carried on as the next version, unsigned.
    fn read_draft<T: Signed>(
        &self,
        role: &RoleName,
        state: &RoleState<T>,
    ) -> Result<Option<Draft<T>>, RepositoryError> {
        let name = draft_name(role);
        let Some(bytes) = self.on_disk.get(&name) else { return Ok(None) };
        let refused = |reason| RepositoryError::Refused { file: format!("{STAGED}/{DRAFTS}/{name}"), reason };
        let metadata = Metadata::<T>::from_bytes(bytes).map_err(|error| refused(error.into()))?;
        let pins = read_pins(bytes);
        if state.written.as_ref().is_some_and(|written| written.signed_bytes() == metadata.signed_bytes()) {
            return Ok(None);
        }
        let (version, floor) = (metadata.signed().version(), state.floor.max(self.spent_version(role)));
        if version > floor || (version > state.floor && self.put_of(role, Some(&metadata))?.is_some()) {
            return Ok(Some(Draft { metadata, pins }));
        }
        let mut signed = metadata.into_signed();
        signed.set_version(floor + 1);
        let metadata =
            Metadata::unsigned(signed).map_err(|error| refused(Refusal::Unreadable(error.into())))?;
        Ok(Some(Draft { metadata, pins }))
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

    /// Returns the state of a role that lists targets.
    pub fn targets(&self, role: &RoleName) -> Option<&RoleState<Targets>> {
        self.targets.get(role)
    }

    /// Returns the state of a role that lists targets, to edit it.
    pub fn targets_mut(&mut self, role: &RoleName) -> Option<&mut RoleState<Targets>> {
        self.targets.get_mut(role)
    }

    /// Makes a role that lists targets known, with an empty first draft upon the versions that clients may have seen.
    ///
    /// # Errors
    /// As [`RoleState::set_draft`].
    pub fn add_targets_role(
        &mut self,
        role: &RoleName,
        expires: DateTime<Utc>,
    ) -> Result<(), CanonicalError> {
        if self.targets.contains_key(role) {
            return Ok(());
        }
        let mut state = RoleState::new(None);
        state.floor = self.listed_version(role).max(self.spent_version(role));
        let mut targets = Targets::new(expires);
        targets.version = state.floor + 1;
        state.set_draft(targets, Pins::default())?;
        self.targets.insert(role.clone(), state);
        Ok(())
    }

    /// Returns any role's state.
    pub fn role(&self, role: &RoleName) -> Option<&dyn AnyRole> {
        match role.as_str() {
            "root" => Some(&self.root),
            "snapshot" => Some(&self.snapshot),
            "timestamp" => Some(&self.timestamp),
            _ => self.targets.get(role).map(|state| state as &dyn AnyRole),
        }
    }

    /// Returns any role's state, to change it.
    pub fn role_mut(&mut self, role: &RoleName) -> Option<&mut dyn AnyRole> {
        match role.as_str() {
            "root" => Some(&mut self.root),
            "snapshot" => Some(&mut self.snapshot),
            "timestamp" => Some(&mut self.timestamp),
            _ => self.targets.get_mut(role).map(|state| state as &mut dyn AnyRole),
        }
    }

    /// Returns any role's state, or says that there is no such role.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn known_role(&mut self, role: &RoleName) -> Result<&mut dyn AnyRole, InputError> {
        self.role_mut(role).ok_or_else(|| InputError::UnknownRole(role.to_string()))
    }

    /// Finds a role by the name a user typed.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_role(&self, name: &str) -> Result<RoleName, InputError> {
        let unknown = || InputError::UnknownRole(name.escape_debug().to_string());
        let role = RoleName::new(name).map_err(|_| unknown())?;
        let reachable = role.is_top_level() || self.graph().contains(&role);
        if reachable && self.role(&role).is_some() { Ok(role) } else { Err(unknown()) }
    }

    /// Looks away from all drafts: what is planned from here on leaves their files as they are.
    pub fn set_drafts_aside(&mut self) {
        self.root.draft = None;
        self.snapshot.draft = None;
        self.timestamp.draft = None;
        self.targets.values_mut().for_each(|state| state.draft = None);
        self.targets.retain(|_, state| state.written.is_some());
    }

    /// Takes a role's draft back from an earlier state.
    pub fn restore(&mut self, role: &RoleName, earlier: &Self) {
        match role.as_str() {
            "root" => self.root.draft.clone_from(&earlier.root.draft),
            "snapshot" => self.snapshot.draft.clone_from(&earlier.snapshot.draft),
            "timestamp" => self.timestamp.draft.clone_from(&earlier.timestamp.draft),
            _ => match (self.targets.get_mut(role), earlier.targets.get(role)) {
                (Some(state), Some(earlier)) => state.draft.clone_from(&earlier.draft),
                (Some(state), None) => state.draft = None,
                (None, _) => {}
            },
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
        let Some(state) = self.targets.get(role) else { return false };
        let Some((draft, written)) = state.draft.as_ref().zip(state.written.as_ref()) else { return false };
        let mut dated = draft.metadata.signed().clone();
        dated.set_expires(written.signed().expires());
        !draft.pins.any() && repeats(&dated, written.signed())
    }

    /// Lets the next plan remove or replace the file of a draft that was not read.
    pub(super) fn give_up(&mut self, role: &RoleName) {
        self.on_disk.entry(draft_name(role)).or_default();
    }

    /// Drops the drafts of roles that nobody delegates to any more.
    pub fn drop_unreachable(&mut self) {
        let graph = self.graph();
        for (_, state) in self.targets.iter_mut().filter(|(role, _)| !graph.contains(role)) {
            state.draft = None;
        }
        self.targets.retain(|_, state| state.written.is_some() || state.draft.is_some());
    }

    /// Plans what must happen in the drafts folder for it to say what this state says.
    ///
    /// # Errors
    /// [`InputError::Canonical`].
    pub fn plan_drafts(&self) -> Result<DraftPlan, RepositoryError> {
        let mut plan = DraftPlan::default();
        let mut wanted = BTreeSet::new();
        let tops = [RoleName::root(), RoleName::snapshot(), RoleName::timestamp()];
        for role in tops.iter().chain(self.targets.keys()) {
            let file = self.role(role).map_or(Ok(None), AnyRole::draft_file);
            let file = file
                .map_err(|reason| InputError::Canonical { what: format!("the draft of '{role}'"), reason })?;
            let Some(bytes) = file else { continue };
            let name = draft_name(role);
            if self.on_disk.get(&name) != Some(&bytes) {
                plan.put.push((name.clone(), bytes));
            }
            wanted.insert(name);
        }
        plan.remove = self.on_disk.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        Ok(plan)
    }

    /// Carries a plan of drafts out.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub fn save(&self, plan: &DraftPlan) -> Result<(), RepositoryError> {
        if !plan.put.is_empty() {
            std::fs::create_dir_all(self.drafts.path()).at(self.drafts.path())?;
            let mut batch = self.drafts.batch().at(self.drafts.path())?;
            for (name, bytes) in &plan.put {
                batch.put(name, bytes).at(self.drafts.file(name))?;
            }
            batch.commit().at(self.drafts.path())?;
        }
        self.drafts.remove(plan.remove.iter().map(String::as_str)).at(self.drafts.path())
    }
}

/// Changes to the drafts folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftPlan {
    /// Files to put, by name.
    pub put: Vec<(String, Vec<u8>)>,
    /// Files to remove.
    pub remove: Vec<String>,
}

impl DraftPlan {
    /// Tells whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

/// Returns the file name of a role's draft.
pub fn draft_name(role: &RoleName) -> String {
    format!("{}.json", role.encoded())
}

/// Returns the role of a draft's file, named relative to the repository.
pub fn draft_of(file: &str) -> Option<RoleName> {
    let name = file.strip_prefix(STAGED)?.strip_prefix('/')?.strip_prefix(DRAFTS)?.strip_prefix('/')?;
    RoleName::from_encoded(name.strip_suffix(".json")?)
}

/// Reads the note beside a draft's metadata; a draft without one has nothing pinned.
fn read_pins(bytes: &[u8]) -> Pins {
    #[derive(Deserialize)]
    struct Noted {
        #[serde(default, rename = "draft")]
        note: Option<Pins>,
    }
    serde_json::from_slice::<Noted>(bytes).ok().and_then(|noted| noted.note).unwrap_or_default()
}

/// The written metadata, followed from the timestamp down.
struct Written {
    root: Option<Metadata<Root>>,
    timestamp: Option<Metadata<Timestamp>>,
    snapshot: Option<Metadata<Snapshot>>,
    targets: Vec<(RoleName, Metadata<Targets>)>,
}

impl Written {
    fn read(folder: &Folder) -> Result<Self, RepositoryError> {
        let mut written = Self { root: None, timestamp: None, snapshot: None, targets: Vec::new() };
        // a `write` that was killed between N.root.json and root.json: clients take the former
        let root = read_written::<Root>(folder, "root.json")?;
        let root = root.map_or_else(|| read_written(folder, "1.root.json"), |root| Ok(Some(root)))?;
        let Some(mut root) = root else { return Ok(written) };
        while let Some(next) =
            read_written::<Root>(folder, &format!("{}.root.json", root.signed().version + 1))?
        {
            root = next;
        }
        let layout = Layout::of(root.signed().consistent_snapshot);
        written.root = Some(root);
        let Some(timestamp) = read_written::<Timestamp>(folder, "timestamp.json")? else {
            return Ok(written);
        };
        let version = timestamp.signed().snapshot().map_or(0, |listed| listed.version);
        written.timestamp = Some(timestamp);
        let snapshot: Metadata<Snapshot> =
            required(folder, &layout.metadata_name(&RoleName::snapshot(), version))?;
        let mut pending = vec![RoleName::targets()];
        let mut seen = BTreeSet::new();
        while let Some(role) = pending.pop() {
            let Some(listed) = snapshot.signed().role(&role) else { continue };
            if !seen.insert(role.clone()) {
                continue;
            }
            let targets: Metadata<Targets> = required(folder, &layout.metadata_name(&role, listed.version))?;
            if let Some(delegations) = &targets.signed().delegations {
                pending.extend(delegations.roles().iter().map(|role| role.name.clone()));
                if let Some(bins) = &delegations.succinct_roles {
                    let listed = snapshot
                        .signed()
                        .meta
                        .keys()
                        .filter_map(|metapath| RoleName::from_metapath(metapath));
                    pending.extend(listed.filter(|role| bins.is_bin(role.as_str())));
                }
            }
            written.targets.push((role, targets));
        }
        written.snapshot = Some(snapshot);
        Ok(written)
    }
}

fn required<T: Signed>(folder: &Folder, name: &str) -> Result<Metadata<T>, RepositoryError> {
    let missing = || RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason: Refusal::Missing };
    read_written(folder, name)?.ok_or_else(missing)
}

fn read_written<T: Signed>(folder: &Folder, name: &str) -> Result<Option<Metadata<T>>, RepositoryError> {
    let Some(bytes) = folder.read(name, MAX_METADATA).at(folder.file(name))? else { return Ok(None) };
    let refused = |reason| RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason };
    Metadata::from_bytes(&bytes).map(Some).map_err(|error| refused(Refusal::Unreadable(error)))
}
