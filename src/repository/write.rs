//! Drafts become written metadata: signed, derived, checked as a client would, then put in place, the timestamp last.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use rayon::prelude::*;

use super::Repository;
use super::check::Finding;
use super::copies::Copies;
use super::error::{AtPath, InputError, Lacking, Refusal, RepositoryError};
use super::follow::{Extent, dirty, follow, keys_changed};
use super::history::{Entry, History, Testimony};
use super::layout::{Layout, MAX_METADATA, STAGED, TARGETS, is_versioned, parse_versioned};
use super::sign::{SigningKey, Verified, sign_drafts, signing_order};
use super::staged::{AnyRole, DraftPlan, Saved};
use super::view::View;
use crate::metadata::{KeyId, RoleName};
use crate::storage::{Folder, ReadFiles, regular_or_none};

/// Which drafts are to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All, or these and what they cannot do without; nothing moves unless each of them is complete.
    Whole(Vec<RoleName>),
    /// Of all, or of these, the ones that are complete; the others stay drafts.
    Complete(Vec<RoleName>),
}

/// A planned `write`.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// The roles to be written and their versions.
    pub roles: BTreeMap<RoleName, u64>,
    /// The roles whose drafts stay, with what they lack.
    pub left: Vec<Lacking>,
    /// Faults of delegated roles that were there before.
    pub warnings: Vec<Finding>,
    /// Metadata files in the order in which they are put.
    metadata: Vec<(String, FileBytes)>,
    /// Hash-named copies of targets to make, or plain targets to check.
    copies: Copies,
    /// The drafts with their new signatures.
    drafts: DraftPlan,
    /// What this copy will have written.
    history: History,
}

impl Written {
    /// Returns the files that are put, relative to the repository.
    pub fn put(&self) -> Vec<String> {
        let copies = self.copies.names().map(|name| format!("{TARGETS}/{name}"));
        copies.chain(self.metadata.iter().map(|(name, _)| format!("{STAGED}/{name}"))).collect()
    }

    /// Returns how many bytes of targets are read.
    pub fn target_bytes(&self) -> u64 {
        self.copies.bytes()
    }

    /// Returns the metadata files that are put, by name.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &FileBytes)> {
        self.metadata.iter().map(|(name, bytes)| (name.as_str(), bytes))
    }

    /// Tells whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty()
    }
}

/// Length in bytes from which on a role's file is laid out while it is verified.
const LARGE: usize = 4 << 20;

/// The bytes of a metadata file that is to be put.
#[derive(Debug, Clone)]
pub(super) enum FileBytes {
    /// These.
    Known(Vec<u8>),
    /// The draft of a role with its signatures: made when it is needed, since there may be many.
    Drafted(RoleName),
    /// The same, made already.
    LaidOut(Bytes),
}

impl FileBytes {
    /// Tells whether they are those of a draft with its signatures.
    pub(super) fn is_draft(&self) -> bool {
        matches!(self, Self::Drafted(_) | Self::LaidOut(_))
    }
}

impl Repository {
    /// Signs what the keys may sign, derives snapshot and timestamp, and checks the outcome as a client would that trusts
    /// what is written now. Nothing is on disk yet.
    ///
    /// # Errors
    /// [`RepositoryError::Incomplete`] where signatures are missing, [`RepositoryError::Refused`] where a client would
    /// not accept the outcome, [`RepositoryError::MayNotSign`] for a key that is no role's.
    pub fn plan_write(
        &mut self,
        selection: &Selection,
        keys: &[SigningKey<'_>],
    ) -> Result<Written, RepositoryError> {
        let (Selection::Whole(named) | Selection::Complete(named)) = selection;
        for role in named {
            if self.staged.role(role).is_none() {
                self.staged.read_bin(role)?;
            }
            self.staged.known_role(role)?;
        }
        self.refuse_strangers(&[], keys)?;
        self.staged.settle()?;
        self.staged.drop_unreachable();
        let mut before = self.staged.clone();
        follow(&mut self.staged, None, Extent::All, &self.policy, self.now)?;
        let all = self.drafted(&[]);
        let derived = [RoleName::snapshot(), RoleName::timestamp()];
        if !all.is_empty() || derived.iter().any(|role| self.has_draft(role)) {
            // before anybody signs
            self.refuse_other_writer()?;
        }
        let mut taken = self.drafted(named);
        self.complete_selection(&mut taken);
        // a signature is an assent: a draft that is not to be written gets none
        let asked: BTreeSet<RoleName> = taken.iter().cloned().chain(derived.clone()).collect();
        // what is signed and shared would be copied first
        before.keep_only(|role| !asked.contains(role));
        sign_drafts(&mut self.staged, Some(&asked), &[], keys, Verified::Later)?;
        let mut left = Vec::new();
        if let Selection::Complete(_) = selection {
            self.drop_incomplete(&mut taken, &mut left);
        }
        self.drop_repetitions(&mut taken);
        if taken != all {
            follow(&mut self.staged, Some(&taken), Extent::All, &self.policy, self.now)?;
            let taken: BTreeSet<RoleName> = taken.iter().cloned().chain(derived.clone()).collect();
            sign_drafts(&mut self.staged, Some(&taken), &[], keys, Verified::Later)?;
        }
        for role in signing_order(&self.staged.graph()).iter().filter(|role| !asked.contains(*role)) {
            self.staged.restore(role, &before);
        }
        taken.extend(derived);
        let view = View::of(&self.staged, taken);
        let roles: Vec<RoleName> = dirty(&view, &self.staged).into_iter().map(|(role, _)| role).collect();
        let graph = view.graph();
        // where one role lists nearly all, one core verifies it while another lays its file out
        let (lacking, largest) = rayon::join(
            || roles.par_iter().filter_map(|role| view.lacking(role, &graph)).collect::<Vec<Lacking>>(),
            || self.largest_file(&roles),
        );
        if !lacking.is_empty() {
            return Err(self.incomplete(&view, lacking));
        }
        if roles.is_empty() && !left.is_empty() {
            return Err(self.incomplete(&view, left));
        }
        if roles.is_empty() {
            return self.plan_newest_root();
        }
        let mut written = self.collect(&view, &roles, largest?)?;
        written.left = left;
        written.warnings = self.check_as_client(&view, &written)?;
        Ok(written)
    }

    /// Carries a planned `write` out: target copies, signed drafts, versioned files, `root.json`, the timestamp last; then
    /// the drafts that are written now are removed. `progress` is told the bytes of targets as they are read. The repository
    /// is then what it would be if it were read again.
    ///
    /// # Errors
    /// [`Refusal::TargetChanged`] before anything has moved; [`RepositoryError::Io`].
    pub fn execute_write(
        &mut self,
        written: &Written,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        self.sweep()?;
        self.copy_targets(&written.copies, progress)?;
        // the signatures are kept first: killed from here on, the next run puts the very same bytes
        self.staged.save(&written.drafts)?;
        if !written.roles.is_empty() {
            // before the files: whoever finds one of them live knows that it is of this copy
            written.history.save(&self.dir)?;
        }
        let folder = self.staged.folder();
        put_metadata(folder, &written.metadata, STAGED, &|file: &FileBytes| self.file_bytes(file))?;
        if let Some(done) = self.staged.drafts_done(&written.drafts, &written.roles) {
            self.staged.save(&done)?;
            // what a killed run had put stays as it is, with the signatures it has
            let as_drafted = written.metadata.iter().all(|(_, file)| file.is_draft());
            if as_drafted && self.staged.layout() == Layout::Consistent {
                self.staged.promote(&written.roles);
            } else {
                self.read_again()?;
            }
            return Ok(());
        }
        // of the drafts that stay some may say something else now
        self.read_again()?;
        let plan = self.plan_edit()?;
        self.staged.save(&plan)?;
        self.read_again()?;
        Ok(())
    }

    /// Says that signatures are missing, and what the keys are called that could still sign.
    fn incomplete(&self, view: &View<'_>, mut lacking: Vec<Lacking>) -> RepositoryError {
        let (graph, names) = (view.graph(), self.keyring().names());
        for lacking in &mut lacking {
            let authorities = view.authorities(&lacking.role, &graph);
            let key = |id: &KeyId| authorities.iter().find_map(|(authority, _)| authority.key(id));
            let named = lacking.missing.iter().filter_map(|id| Some((id.clone(), names.of(key(id)?)?)));
            lacking.names = named.collect();
        }
        RepositoryError::Incomplete(lacking)
    }

    /// Returns the roles with drafts, without snapshot and timestamp; only those named where any is named.
    pub(super) fn drafted(&self, named: &[RoleName]) -> BTreeSet<RoleName> {
        let graph = self.staged.graph();
        let roles = std::iter::once(RoleName::root()).chain(graph.order);
        let wanted = |role: &RoleName| named.is_empty() || named.contains(role);
        roles.filter(|role| wanted(role) && self.has_draft(role)).collect()
    }

    fn has_draft(&self, role: &RoleName) -> bool {
        self.staged.role(role).is_some_and(|state| state.draft_version().is_some())
    }

    fn is_written(&self, role: &RoleName) -> bool {
        self.staged.role(role).is_some_and(|state| state.written_version().is_some())
    }

    /// Adds to a selection what it cannot do without: root and targets the first time, the delegators of new roles, the
    /// new roles of delegators, and roles that must be signed again because of it.
    fn complete_selection(&self, taken: &mut BTreeSet<RoleName>) {
        loop {
            let mut more: Vec<RoleName> = Vec::new();
            let all = self.staged.graph();
            for role in [RoleName::root(), RoleName::targets()] {
                if !self.is_written(&role) {
                    more.push(role);
                }
            }
            for role in taken.iter().filter(|role| !self.is_written(role)) {
                more.extend(
                    all.delegators(role).iter().filter(|delegator| self.has_draft(delegator)).cloned(),
                );
            }
            let view = View::of(&self.staged, taken.clone());
            let graph = view.graph();
            for role in graph.order.iter().filter(|role| self.has_draft(role)) {
                if !taken.contains(role) && (!self.is_written(role) || view.lacking(role, &graph).is_some()) {
                    more.push(role.clone());
                }
            }
            let size = taken.len();
            taken.extend(more);
            if taken.len() == size {
                return;
            }
        }
    }

    /// Takes out of a selection what was drafted only for new signatures that the drafts in force do not ask for.
    fn drop_repetitions(&self, taken: &mut BTreeSet<RoleName>) {
        let view = View::of(&self.staged, taken.clone());
        let graph = view.graph();
        taken.retain(|role| {
            !self.staged.repeats_written(role) || keys_changed(&view, &self.staged, role, &graph)
        });
    }

    /// Takes out of a selection what is not complete, and what would not be coherent without it.
    fn drop_incomplete(&self, taken: &mut BTreeSet<RoleName>, left: &mut Vec<Lacking>) {
        loop {
            let view = View::of(&self.staged, taken.clone());
            let graph = view.graph();
            let mut out: BTreeSet<RoleName> = BTreeSet::new();
            for role in std::iter::once(RoleName::root()).chain(graph.order.iter().cloned()) {
                // what cannot be read, or was not signed enough before, is no fault of these drafts
                let absent = view.bytes(&role).is_none() && self.staged.damage(&role).is_none();
                let is_ours = || taken.contains(&role) || keys_changed(&view, &self.staged, &role, &graph);
                let lacking = view.lacking(&role, &graph).filter(|_| is_ours());
                if !absent && lacking.is_none() {
                    continue;
                }
                if let Some(lacking) = lacking.filter(|_| !left.iter().any(|known| known.role == role)) {
                    left.push(lacking);
                }
                if taken.contains(&role) {
                    out.insert(role);
                } else {
                    // what is written does not verify under what was taken: its delegators have to wait
                    let delegators = graph.delegators(&role).iter().cloned();
                    out.extend(delegators.filter(|delegator| taken.contains(delegator)));
                }
            }
            // a role that nobody in force delegates to has to wait as well
            out.extend(taken.iter().filter(|role| role.lists_targets() && !graph.contains(role)).cloned());
            if out.is_empty() {
                return;
            }
            taken.retain(|role| !out.contains(role));
        }
    }

    /// Collects the files of the roles to be written.
    fn collect(
        &self,
        view: &View<'_>,
        roles: &[RoleName],
        largest: Option<(RoleName, Bytes)>,
    ) -> Result<Written, RepositoryError> {
        let layout = Layout::of(view.root().is_some_and(|root| root.consistent_snapshot));
        let mut written = Written { drafts: self.staged.plan_drafts()?, ..Written::default() };
        // signatures are kept; a draft is removed only once it is written
        written.drafts.remove.clear();
        // where only signatures are missing a run that was killed is finished by the same keys, or by what it has put; a
        // root is named by its version alone
        let signed_only = |role: &RoleName| {
            let saved = self.staged.role(role).and_then(AnyRole::draft_saved);
            role.as_str() != "root" && saved == Some(Saved::WithoutSignatures)
        };
        let new: BTreeSet<&RoleName> = roles.iter().collect();
        written.drafts.put.retain(|(_, role)| !new.contains(role) || !signed_only(role));
        let (mut versioned, mut last) = (Vec::new(), Vec::new());
        last.extend(self.newest_root()?.map(|(name, bytes)| (name, FileBytes::Known(bytes))));
        for role in roles {
            let Some(version) = self.staged.role(role).and_then(AnyRole::draft_version) else { continue };
            written.roles.insert(role.clone(), version);
            let drafted = match largest.as_ref().filter(|(largest, _)| largest == role) {
                Some((_, file)) => FileBytes::LaidOut(file.clone()),
                None => FileBytes::Drafted(role.clone()),
            };
            let name = layout.metadata_name(role, version);
            match role.as_str() {
                "timestamp" => last.push((name, drafted)),
                "root" => {
                    // clients that see the new root must find all that it wants signed by other keys
                    last = vec![(name, drafted.clone()), ("root.json".to_owned(), drafted)];
                }
                _ => {
                    let put = self.staged.put_already(role)?.map(FileBytes::Known);
                    versioned.push((name, put.unwrap_or(drafted)));
                }
            }
        }
        for (name, bytes) in versioned.iter().chain(&last) {
            match parse_versioned(name) {
                Some((version, role)) if self.staged.is_free(&role, version) => {}
                _ => self.refuse_other_bytes(layout, name, bytes)?,
            }
        }
        written.metadata = versioned.into_iter().chain(last).collect();
        written.history = self.next_history(layout, &written)?;
        written.copies = self.target_copies(layout, roles)?;
        Ok(written)
    }

    /// Returns what this copy has written once the files are put.
    fn next_history(&self, layout: Layout, written: &Written) -> Result<History, RepositoryError> {
        let staged = &self.staged;
        let mut history = History::read(&self.dir, staged.folder(), staged.layout())?;
        // where another copy's history lies beside the files of this one, it vouches for nothing of those roles
        self.unknown_that_give_way(&history, written)?.iter().for_each(|entry| history.begin_with(entry));
        history.forget_above(|role| {
            // in the plain layout a killed `write` may have put a file that the snapshot does not list yet
            let read = staged.role(role).and_then(AnyRole::written_version);
            read.unwrap_or(0).max(staged.listed_version(role))
        });
        let entry = |(name, file): &(String, FileBytes)| -> Result<Option<Entry>, RepositoryError> {
            let bytes = self.file_bytes(file)?;
            Ok(Entry::of(layout, name, &bytes, |role| written.roles.get(role).copied()))
        };
        let entries: Vec<Option<Entry>> = written.metadata.par_iter().map(entry).collect::<Result<_, _>>()?;
        entries.iter().flatten().for_each(|entry| history.add_next(entry));
        Ok(history)
    }

    /// Finds the files that a history has no line of, among those that a new version takes the place of, and those that the
    /// written snapshot lists at another version. A file that is damaged is none.
    fn unknown_that_give_way(
        &self,
        history: &History,
        written: &Written,
    ) -> Result<Vec<Entry>, RepositoryError> {
        let (folder, layout) = (self.staged.folder(), self.staged.layout());
        let others = self.staged.written_targets().filter(|(role, targets)| {
            targets.version != self.staged.listed_version(role) && !written.roles.contains_key(*role)
        });
        let asked: Vec<&RoleName> = written.roles.keys().chain(others.map(|(role, _)| role)).collect();
        let unknown = |role: &&RoleName| -> Result<Option<Entry>, RepositoryError> {
            let Some(version) = self.staged.role(role).and_then(AnyRole::written_version) else {
                return Ok(None);
            };
            let name = layout.metadata_name(role, version);
            let bytes = regular_or_none(folder.read(&name, MAX_METADATA)).at(folder.file(&name))?;
            let entry = bytes.and_then(|bytes| Entry::of(layout, &name, &bytes, |_| Some(version)));
            Ok(entry.filter(|entry| history.testimony(entry) == Testimony::Unknown))
        };
        let unknown: Vec<Option<Entry>> = asked.par_iter().map(unknown).collect::<Result<_, _>>()?;
        Ok(unknown.into_iter().flatten().collect())
    }

    /// Plans nothing but what a killed run has left: `root.json`, where that is behind.
    pub(super) fn plan_newest_root(&self) -> Result<Written, RepositoryError> {
        let newest = self.newest_root()?.map(|(name, bytes)| (name, FileBytes::Known(bytes)));
        Ok(Written { metadata: newest.into_iter().collect(), ..Written::default() })
    }

    /// Returns `root.json` where a killed `write` has left it behind the newest of the versioned roots.
    pub(super) fn newest_root(&self) -> Result<Option<(String, Vec<u8>)>, RepositoryError> {
        let (folder, name) = (self.staged.folder(), "root.json");
        let Some(version) = self.staged.root.written_version() else { return Ok(None) };
        let read = |name: &str| folder.read(name, MAX_METADATA).at(folder.file(name));
        let newest = read(&Layout::Plain.metadata_name(&RoleName::root(), version))?;
        let present = read(name)?;
        Ok(newest.filter(|newest| present.as_ref() != Some(newest)).map(|newest| (name.to_owned(), newest)))
    }

    /// A versioned file is never written again with other bytes.
    fn refuse_other_bytes(
        &self,
        layout: Layout,
        name: &str,
        bytes: &FileBytes,
    ) -> Result<(), RepositoryError> {
        if !is_versioned(layout, name) {
            return Ok(());
        }
        let folder = self.staged.folder();
        match folder.read(name, MAX_METADATA).at(folder.file(name))? {
            Some(present) if present != *self.file_bytes(bytes)? => Err(RepositoryError::Refused {
                file: format!("{STAGED}/{name}"),
                reason: Refusal::OtherBytes,
            }),
            _ => Ok(()),
        }
    }

    /// Lays out the file of the longest draft, if that is long.
    fn largest_file(&self, roles: &[RoleName]) -> Result<Option<(RoleName, Bytes)>, RepositoryError> {
        let length = |role: &RoleName| Some(self.staged.role(role)?.draft_bytes()?.bytes.len());
        let largest = roles.iter().max_by_key(|role| length(role));
        let Some(role) = largest.filter(|role| length(role) >= Some(LARGE)) else { return Ok(None) };
        let file = FileBytes::Drafted(role.clone());
        Ok(Some((role.clone(), self.file_bytes(&file)?.into_owned().into())))
    }

    /// Returns the bytes of a metadata file that is to be put.
    pub(super) fn file_bytes<'f>(&self, file: &'f FileBytes) -> Result<Cow<'f, [u8]>, RepositoryError> {
        let role = match file {
            FileBytes::Known(bytes) => return Ok(Cow::Borrowed(bytes)),
            FileBytes::LaidOut(bytes) => return Ok(Cow::Borrowed(bytes)),
            FileBytes::Drafted(role) => role,
        };
        let bytes = self.staged.role(role).map_or(Ok(None), AnyRole::draft_as_written);
        let bytes = bytes.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        Ok(Cow::Owned(bytes.unwrap_or_default()))
    }
}

/// What returns the bytes of a file that is to be put.
type BytesOf<'b, F> = dyn Fn(&F) -> Result<Cow<'_, [u8]>, RepositoryError> + Sync + 'b;

/// Puts metadata files in place in their order; those that are there with the same bytes are left. What a client asks
/// for first comes last, after everything else is durable.
pub(super) fn put_metadata<F: Sync>(
    folder: &Folder,
    files: &[(String, F)],
    prefix: &str,
    bytes: &BytesOf<'_, F>,
) -> Result<(), RepositoryError> {
    let entry = |name: &str| {
        let is_root = parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root");
        is_root || matches!(name, "root.json" | "timestamp.json")
    };
    let (last, first): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| entry(name));
    for group in [first, last] {
        let mut batch = folder.batch().at(folder.path())?;
        let fill = |(name, file): &&(String, F)| -> Result<Option<PathBuf>, RepositoryError> {
            let bytes = bytes(file)?;
            if folder.read(name, MAX_METADATA).at(folder.file(name))?.as_deref() == Some(&*bytes) {
                return Ok(None);
            }
            Ok(Some(batch.fill(&bytes).at(format!("{prefix}/{name}"))?))
        };
        let filled: Vec<Option<PathBuf>> = group.par_iter().map(fill).collect::<Result<_, _>>()?;
        for (filled, (name, _)) in filled.into_iter().zip(&group) {
            if let Some(filled) = filled {
                batch.place(filled, name);
            }
        }
        if !batch.is_empty() {
            batch.commit().at(folder.path())?;
        }
    }
    Ok(())
}
