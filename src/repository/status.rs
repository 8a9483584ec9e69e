//! What a maintainer wants to know at a glance: what is dirty and why, what is missing, what expires, what to type next.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::Repository;
use super::bins::BinSet;
use super::error::{InputError, Lacking, RepositoryError};
use super::follow::{Extent, Reason, dirty, follow};
use super::history::History;
use super::keyring::short_words;
use super::layout::{Layout, MAX_METADATA, METADATA};
use super::next::Step;
use super::relation::Relation;
use super::sign::signing_order;
use super::staged::Staged;
use super::view::{Graph, View};
use crate::metadata::{KeyId, Metadata, RoleName, Root, Signed, Snapshot, Timestamp};
use crate::storage::{BucketUrl, Folder, ReadFiles};
use crate::verify::Authority;

/// A key of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its id.
    pub keyid: KeyId,
    /// What people call it: who holds it, or the name of its file.
    pub name: Option<String>,
    /// Whether it has signed what is drafted, or else what is written.
    pub signed: bool,
}

/// One threshold that a role's signatures must meet; a new root has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdStatus {
    /// The older root whose keys these are; `None` for the keys that the role has now.
    pub old_root: Option<u64>,
    /// How many distinct keys must sign.
    pub threshold: u64,
    /// The keys that have.
    pub signed: Vec<KeyId>,
    /// The keys that have not.
    pub missing: Vec<KeyId>,
}

/// One role at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleStatus {
    /// The role.
    pub role: RoleName,
    /// The version in `metadata.staged`.
    pub written: Option<u64>,
    /// The version in `metadata`.
    pub live: Option<u64>,
    /// The version of the draft.
    pub draft: Option<u64>,
    /// When the draft, or else the written metadata, expires.
    pub expires: Option<DateTime<Utc>>,
    /// How many distinct keys must sign.
    pub threshold: u64,
    /// The thresholds that the signatures must meet, each with its keys.
    pub thresholds: Vec<ThresholdStatus>,
    /// The keys that may sign.
    pub keys: Vec<KeyStatus>,
    /// How many distinct usable keys there are.
    pub distinct_keys: usize,
    /// How many signatures are missing.
    pub missing: u64,
    /// What is missing, in data.
    pub lacking: Option<Lacking>,
    /// Why the role is dirty.
    pub reasons: Vec<Reason>,
}

/// Up to this many dirty hash bins are named one by one.
const MOST_BINS_NAMED: usize = 8;
impl RoleStatus {
    /// Returns what a key of the role is called and the start of its id.
    pub fn key_words(&self, id: &KeyId) -> String {
        let known = self.keys.iter().find(|key| key.keyid == *id);
        short_words(id, known.and_then(|key| key.name.as_deref()))
    }
}

/// A repository at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The roles in the order in which they are signed.
    pub roles: Vec<RoleStatus>,
    /// The sets of hash bins.
    pub bins: Vec<BinSet>,
    /// Whether files are named with versions and hashes.
    pub consistent_snapshot: bool,
    /// Whether everything written is live.
    pub published: bool,
    /// How what is written stands to what is live.
    pub relation: Relation,
    /// What to do next.
    pub steps: Vec<Step>,
}

impl Status {
    /// Returns the dirty roles.
    pub fn dirty(&self) -> Vec<&RoleName> {
        self.roles.iter().filter(|role| !role.reasons.is_empty()).map(|role| &role.role).collect()
    }

    /// Returns what is missing, in the words of the original tool.
    pub fn missing_words(&self) -> Vec<String> {
        let words = |role: &RoleStatus| {
            let RoleStatus { role: name, threshold, distinct_keys, missing, .. } = role;
            if (*distinct_keys as u64) < *threshold {
                return Some(format!("'{name}' role contains {distinct_keys} / {threshold} public keys."));
            }
            let have = threshold - missing;
            (!role.reasons.is_empty() && *missing > 0)
                .then(|| format!("'{name}' role contains {have} / {threshold} signatures."))
        };
        let folded = self.folded();
        let is_folded = |role: &&RoleStatus| folded.iter().any(|set| set.contains(&role.role));
        let (bins, others): (Vec<&RoleStatus>, Vec<&RoleStatus>) = self.roles.iter().partition(is_folded);
        let mut all: Vec<String> = others.into_iter().filter_map(words).collect();
        for set in folded {
            let lacking =
                bins.iter().filter(|role| set.contains(&role.role) && words(role).is_some()).count();
            if lacking > 0 {
                all.push(format!("{lacking} of the hash bins '{}' lack signatures or keys.", set.prefix()));
            }
        }
        all
    }

    /// Returns the sets of hash bins that have too many dirty bins to name each.
    fn folded(&self) -> Vec<&BinSet> {
        let many = |set: &&BinSet| {
            let dirty = self.roles.iter().filter(|role| !role.reasons.is_empty() && set.contains(&role.role));
            dirty.count() > MOST_BINS_NAMED
        };
        self.bins.iter().filter(many).collect()
    }

    /// Returns the dirty roles in words; of hash bins that are many the number.
    pub fn dirty_words(&self) -> Vec<String> {
        let mut words: Vec<(Option<&BinSet>, String, usize)> = Vec::new();
        let folded = self.folded();
        for role in self.dirty() {
            let set = folded.iter().find(|set| set.contains(role)).copied();
            match words.iter_mut().find(|(known, ..)| set.is_some() && *known == set) {
                Some((_, _, number)) => *number += 1,
                None => words.push((set, role.to_string(), 1)),
            }
        }
        let told = |(set, role, number): (Option<&BinSet>, String, usize)| match set {
            Some(set) => format!("{} ({number} of {} hash bins)", set.prefix(), set.number()),
            None => role,
        };
        words.into_iter().map(told).collect()
    }

    /// Returns both thresholds of a root change, in words: `root v7: v6 keys 2 of 2 (…), v7 keys 1 of 3, missing …`.
    pub fn root_change(&self) -> Option<String> {
        let root = self
            .roles
            .iter()
            .find(|role| role.thresholds.iter().any(|threshold| threshold.old_root.is_some()))?;
        let version = root.draft?;
        let ids = |keys: &[KeyId]| keys.iter().map(|id| root.key_words(id)).collect::<Vec<_>>().join(", ");
        let words = |threshold: &ThresholdStatus| {
            let ThresholdStatus { old_root, threshold, signed, missing } = threshold;
            let mut words = format!("v{} keys {} of {threshold}", old_root.unwrap_or(version), signed.len());
            if !signed.is_empty() {
                words.push_str(&format!(" ({})", ids(signed)));
            }
            if (signed.len() as u64) < *threshold {
                words.push_str(&format!(", missing {}", ids(missing)));
            }
            words
        };
        Some(format!("root v{version}: {}", root.thresholds.iter().map(words).collect::<Vec<_>>().join(", ")))
    }

    /// Says whose signatures a new root needs besides its own keys': `1 of the keys of root v6 must sign too: …`.
    pub fn old_root_words(&self) -> Option<String> {
        let root = self.roles.iter().find(|role| role.role == RoleName::root())?;
        let old = root.thresholds.iter().find(|threshold| threshold.old_root.is_some())?;
        let keys: Vec<String> = old.signed.iter().chain(&old.missing).map(|id| root.key_words(id)).collect();
        Some(format!(
            "{} of the keys of root v{} must sign too: {}",
            old.threshold,
            old.old_root?,
            keys.join(", ")
        ))
    }

    /// Returns the roles that expire at or before a moment.
    pub fn expiring(&self, moment: DateTime<Utc>) -> Vec<&RoleStatus> {
        self.roles.iter().filter(|role| role.expires.is_some_and(|expires| expires <= moment)).collect()
    }
}

impl Repository {
    /// Looks at every role.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] where live metadata cannot be read; [`InputError::History`].
    pub fn status(&self) -> Result<Status, RepositoryError> {
        // also where what is live needs no line of it
        History::recorded(&self.dir)?;
        let view = self.staged.effective();
        let graph = view.graph();
        let mut dirty: BTreeMap<RoleName, Vec<Reason>> = dirty(&view, &self.staged).into_iter().collect();
        let live = self.live_versions()?;
        let names = self.keyring().names();
        let order: Vec<(RoleName, Vec<Reason>)> = self
            .roles_in_order(&graph)
            .into_iter()
            .map(|role| {
                let mut reasons = dirty.remove(&role).unwrap_or_default();
                reasons.extend(self.unreadable.get(&role).cloned().map(Reason::Unreadable));
                let damage = self.staged.damage_of_written(&role);
                reasons.extend(damage.map(|damage| Reason::Damaged(damage.to_string())));
                (role, reasons)
            })
            .collect();
        let look = |(role, reasons): (RoleName, Vec<Reason>)| {
            let mut status = role_status(&self.staged, &view, &graph, &live, role, reasons);
            let listed = view.authorities(&status.role, &graph);
            for key in &mut status.keys {
                let mut listed = listed.iter().rev().filter_map(|(authority, _)| authority.key(&key.keyid));
                key.name = listed.next().and_then(|key| names.of(key));
            }
            status
        };
        let roles: Vec<RoleStatus> = order.into_par_iter().map(look).collect();
        let relation = self.relation(&graph, &live)?;
        let published = relation == Relation::Published;
        let consistent_snapshot = view.root().is_some_and(|root| root.consistent_snapshot);
        let bins = graph.bins.iter().map(|set| set.bins.clone()).collect();
        let steps = self.next_steps(relation)?;
        Ok(Status { roles, bins, consistent_snapshot, published, relation, steps })
    }

    /// Returns the dirty roles and the steps that lead on, as [`Repository::status`] does, without a look at the keys of every
    /// role: of hash bins there may be tens of thousands.
    ///
    /// # Errors
    /// As [`Repository::status`].
    pub fn prospects(&self) -> Result<(Vec<RoleName>, Vec<Step>), RepositoryError> {
        let view = self.staged.effective();
        let graph = view.graph();
        let reasons = dirty(&view, &self.staged);
        let mut is_dirty: BTreeSet<&RoleName> = reasons.iter().map(|(role, _)| role).collect();
        is_dirty.extend(self.unreadable.keys());
        is_dirty.extend(self.damaged_roles(&graph));
        let steps = match self.relation(&graph, &self.live_versions()?) {
            // a draft can be dropped all the same; `status` says what is wrong
            Err(RepositoryError::Input(InputError::History { .. })) => Vec::new(),
            relation => self.next_steps(relation?)?,
        };
        let mut order = self.roles_in_order(&graph);
        order.retain(|role| is_dirty.contains(role));
        Ok((order, steps))
    }

    /// Returns the roles that are known: in the order in which they are signed, then hash bins that cannot be read.
    fn roles_in_order(&self, graph: &Graph) -> Vec<RoleName> {
        let mut order = signing_order(graph);
        let known: BTreeSet<&RoleName> = graph.order.iter().collect();
        order.extend(self.damaged_roles(graph).filter(|role| !known.contains(role)).cloned());
        order
    }

    /// Returns the delegated roles whose written files cannot be read.
    fn damaged_roles<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = &'a RoleName> {
        let damaged = self.staged.damaged().map(|(role, _)| role);
        damaged.filter(|role| graph.contains(role))
    }

    /// Tells whether clients see the versions of all that is written, hash bins that have not been read among it.
    pub(super) fn is_published(&self, graph: &Graph, live: &Live) -> bool {
        let written = |role: &RoleName| self.staged.written_version(role);
        let bins_are_live = |bins: &BinSet| {
            let bins = self.staged.listed_bins(bins);
            bins.iter().all(|bin| live.version(bin) == Some(self.staged.listed_version(bin)))
        };
        signing_order(graph).iter().all(|role| written(role) == live.version(role))
            && graph.bins.iter().all(|set| bins_are_live(&set.bins))
    }

    /// Returns the roles that the written snapshot lists and whose written files are missing. Of hash bins nothing is said.
    pub(super) fn lost_roles(&self, graph: &Graph) -> Vec<RoleName> {
        let is_lost = |role: &RoleName| {
            let name = self.staged.layout().metadata_name(role, self.staged.listed_version(role));
            let has_draft = self.staged.role(role).is_some_and(|state| state.draft_version().is_some());
            let is_unread = self.staged.damage_of_written(role).is_some();
            is_unread && !has_draft && matches!(self.staged.folder().length(&name), Ok(None))
        };
        let roles = graph.order.iter().filter(|role| graph.bins_of(role).is_none() && is_lost(role));
        roles.cloned().collect()
    }

    /// Returns the folder of metadata that clients see: that of the policy's destination, where it is a folder.
    pub(super) fn published_folder(&self) -> Folder {
        match self.policy().publish_to().filter(|to| !BucketUrl::is_meant(to)) {
            Some(to) => Folder::new(self.dir().join(to).join(METADATA)),
            None => self.live_folder(),
        }
    }

    /// Returns what the drafts would be if everything that follows were derived now.
    ///
    /// # Errors
    /// As [`Repository::plan_edit`].
    pub fn derived(&self) -> Result<Staged, RepositoryError> {
        let mut staged = self.staged.clone();
        follow(&mut staged, None, Extent::All, &self.policy, self.now)?;
        Ok(staged)
    }
}

fn role_status(
    staged: &Staged,
    view: &View<'_>,
    graph: &Graph,
    live: &Live,
    role: RoleName,
    reasons: Vec<Reason>,
) -> RoleStatus {
    let state = staged.role(&role);
    let authorities = view.authorities(&role, graph);
    let (written, draft) = (staged.written_version(&role), state.and_then(|state| state.draft_version()));
    // a role that must follow and has no draft yet has no signature yet
    let bytes = match (reasons.is_empty(), draft) {
        (false, None) => None,
        _ => view.bytes(&role),
    };
    let mut keys: Vec<KeyStatus> = Vec::new();
    let mut thresholds = Vec::new();
    let (mut missing, mut threshold) = (0, 0);
    for (authority, old_root) in &authorities {
        let result = match bytes {
            Some((covered, _)) => authority.check(covered),
            None => authority.unsigned(),
        };
        missing = missing.max(result.lacking());
        thresholds.push(ThresholdStatus {
            old_root: *old_root,
            threshold: result.threshold().get(),
            signed: result.signed().to_vec(),
            missing: result.missing().to_vec(),
        });
        if old_root.is_none() {
            threshold = threshold.max(authority.threshold().get());
        }
        for (keyid, _) in authority.keys() {
            let signed = result.signed().contains(keyid);
            match keys.iter_mut().find(|known| known.keyid == **keyid) {
                Some(known) => known.signed |= signed,
                None => keys.push(KeyStatus { keyid: (*keyid).clone(), name: None, signed }),
            }
        }
    }
    let lacking = if missing > 0 { view.lacking(&role, graph) } else { None };
    let last = authorities.iter().filter(|(_, old_root)| old_root.is_none()).map(|(authority, _)| authority);
    RoleStatus {
        written,
        live: live.version(&role),
        draft,
        expires: state.and_then(|state| state.expires()),
        threshold,
        distinct_keys: last.map(Authority::distinct_keys).min().unwrap_or(0),
        missing,
        thresholds,
        lacking,
        keys,
        reasons,
        role,
    }
}

/// The versions that clients see, as far as they can be read: `verify --live` judges them.
#[derive(Default)]
pub(super) struct Live {
    root: Option<u64>,
    timestamp: Option<u64>,
    snapshot: Option<Snapshot>,
    layout: Layout,
}

impl Live {
    pub(super) fn of(root: u64, timestamp: u64, snapshot: Option<Snapshot>) -> Self {
        Self { root: Some(root), timestamp: Some(timestamp), snapshot, layout: Layout::Consistent }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn read(folder: &Folder) -> Result<Self, RepositoryError> {
        let Some(root) = live_file::<Root>(folder, "root.json") else { return Ok(Self::default()) };
        let timestamp = live_file::<Timestamp>(folder, "timestamp.json");
        let listed = timestamp.as_ref().and_then(Timestamp::snapshot).map(|listed| listed.version);
        let layout = Layout::of(root.consistent_snapshot);
        let snapshot = listed
            .and_then(|version| live_file(folder, &layout.metadata_name(&RoleName::snapshot(), version)));
        Ok(Self {
            root: Some(root.version),
            timestamp: timestamp.map(|timestamp| timestamp.version),
            snapshot,
            layout,
        })
    }

    pub(super) fn version(&self, role: &RoleName) -> Option<u64> {
        match role.as_str() {
            "root" => self.root,
            "timestamp" => self.timestamp,
            "snapshot" => self.snapshot.as_ref().map(Signed::version),
            _ => self.snapshot.as_ref()?.role(role).map(|listed| listed.version),
        }
    }
}

pub(super) fn live_file<T: Signed>(folder: &Folder, name: &str) -> Option<T> {
    let bytes = folder.read(name, MAX_METADATA).ok()??;
    Metadata::from_file(bytes).ok().map(Metadata::into_signed)
}
