//! What follows from what: a role whose keys changed must be signed again, the snapshot follows the roles that list
//! targets, the timestamp follows the snapshot. Derived from the state, never remembered.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::error::{InputError, RepositoryError};
use super::layout::Layout;
use super::policy::Policy;
use super::staged::{AnyRole, Draft, Pins, RoleState, Staged};
use super::view::{Graph, View};
use crate::canonical::CanonicalError;
use crate::metadata::{MetaFile, MetaMap, Metadata, RoleName, Signed, Snapshot, Timestamp};
use crate::verify::Delegator;

/// Why a role is dirty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It has a draft.
    Drafted,
    /// Its written signatures do not meet the threshold of the keys it has now.
    KeysChanged,
    /// It must list these roles anew.
    Follows(RoleName),
    /// It has a draft that is no metadata, or that was made upon something older than what is written.
    Unreadable(String),
    /// Its written file is missing or no metadata.
    Damaged(String),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Drafted => f.write_str("has a draft"),
            Self::KeysChanged => f.write_str("must be signed again: its keys changed"),
            Self::Follows(role) => write!(f, "follows {role}"),
            Self::Unreadable(reason) => write!(f, "has a draft that cannot be used: {reason}"),
            Self::Damaged(reason) => write!(f, "cannot be read: {reason}"),
        }
    }
}

/// Which drafts that follow from others are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that are there already are brought up to date or removed.
    Present,
    /// Missing ones are made as well, and unsigned ones get a fresh expiry.
    All,
}

/// Returns the dirty roles with their reasons, in the order in which they are signed: root, targets and delegated roles,
/// snapshot, timestamp.
pub fn dirty(view: &View<'_>, staged: &Staged) -> Vec<(RoleName, Vec<Reason>)> {
    let graph = view.graph();
    let mut dirty: Vec<(RoleName, Vec<Reason>)> = Vec::new();
    for role in std::iter::once(RoleName::root()).chain(graph.order.iter().cloned()) {
        if let Some(reason) = own_reason(view, staged, &role, &graph) {
            dirty.push((role, vec![reason]));
        }
    }
    let listed: Vec<RoleName> =
        dirty.iter().map(|(role, _)| role).filter(|role| role.lists_targets()).cloned().collect();
    let mut snapshot: Vec<Reason> =
        own_reason(view, staged, &RoleName::snapshot(), &graph).into_iter().collect();
    snapshot.extend(listed.into_iter().map(Reason::Follows));
    if snapshot.is_empty() && meta_is_stale(view, staged, &graph) {
        snapshot.push(Reason::Follows(RoleName::targets()));
    }
    let mut timestamp: Vec<Reason> =
        own_reason(view, staged, &RoleName::timestamp(), &graph).into_iter().collect();
    if !snapshot.is_empty() {
        timestamp.push(Reason::Follows(RoleName::snapshot()));
        dirty.push((RoleName::snapshot(), snapshot));
    }
    if !timestamp.is_empty() {
        dirty.push((RoleName::timestamp(), timestamp));
    }
    dirty
}

fn own_reason(view: &View<'_>, staged: &Staged, role: &RoleName, graph: &Graph) -> Option<Reason> {
    let state = staged.role(role)?;
    if state.draft_version().is_some() && view.takes(role) {
        return Some(Reason::Drafted);
    }
    keys_changed(view, staged, role, graph).then_some(Reason::KeysChanged)
}

/// Tells whether what is written would no longer verify under the keys in force.
pub fn keys_changed(view: &View<'_>, staged: &Staged, role: &RoleName, graph: &Graph) -> bool {
    let Some(covered) = staged.role(role).and_then(AnyRole::written_bytes) else { return false };
    if role.as_str() == "root" || trust_is_as_written(view, staged, role, graph) {
        return false;
    }
    view.authorities(role, graph).iter().any(|(authority, _)| !authority.check(covered).is_verified())
}

/// Tells whether nothing has changed in who must sign a delegated role: what is written verified when it was written.
/// In the plain layout a killed `write` may have left files that do not fit, so that nothing is taken for granted there.
fn trust_is_as_written(view: &View<'_>, staged: &Staged, role: &RoleName, graph: &Graph) -> bool {
    let as_written = |delegator: &RoleName| {
        let Some(state) = staged.targets(delegator) else { return false };
        let Some(written) = state.written.as_ref() else { return false };
        let draft = state.draft.as_ref().filter(|_| view.takes(delegator));
        let authority = written.signed().authority(role);
        authority.is_some()
            && draft.is_none_or(|draft| {
                draft.metadata.signed().delegations == written.signed().delegations
                    || draft.metadata.signed().authority(role) == authority
            })
    };
    staged.layout() == Layout::Consistent
        && !role.is_top_level()
        && graph.delegators(role).iter().all(as_written)
}

/// Tells whether the written snapshot lists other versions than those in force.
fn meta_is_stale(view: &View<'_>, staged: &Staged, graph: &Graph) -> bool {
    if staged.snapshot.written.is_none() {
        return staged.snapshot.draft.is_none();
    }
    let differs =
        |role: &RoleName| view.version(role).is_some_and(|version| version != staged.listed_version(role));
    graph.order.iter().any(differs)
}

/// Returns what the snapshot must list: the roles in force, and the revoked ones at the versions that old clients know
/// (specification 5.5.5 forbids dropping them).
fn snapshot_meta(view: &View<'_>, staged: &Staged, graph: &Graph) -> Result<MetaMap, CanonicalError> {
    let mut meta =
        staged.snapshot.written.as_ref().map(|written| written.signed().meta.clone()).unwrap_or_default();
    let mut changes = Vec::new();
    for role in &graph.order {
        let Some(version) = view.version(role) else { continue };
        if staged.listed_version(role) != version {
            changes.push((role.metapath(), MetaFile::new(version)));
        }
    }
    meta.extend(changes)?;
    Ok(meta)
}

/// Brings the drafts that follow from others in line with the drafts in force.
///
/// # Errors
/// [`InputError::FarExpiry`], [`InputError::Canonical`].
pub fn follow(
    staged: &mut Staged,
    taken: Option<&BTreeSet<RoleName>>,
    extent: Extent,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<(), RepositoryError> {
    if taken.is_none() {
        drop_repetitions(staged);
    }
    if extent == Extent::All {
        take_free_versions(staged, taken, policy, now)?;
        sign_again(staged, taken, policy, now)?;
    }
    let refused = |role: RoleName| move |reason| InputError::Canonical { what: role.to_string(), reason };
    let snapshot = {
        let view = view(staged, taken);
        let graph = view.graph();
        let keys_changed = keys_changed(&view, staged, &RoleName::snapshot(), &graph);
        let wanted = snapshot_meta(&view, staged, &graph).map_err(refused(RoleName::snapshot()))?;
        Wanted { keys_changed, differs: meta_is_stale(&view, staged, &graph), meta: wanted }
    };
    let follows = snapshot.differs || snapshot.keys_changed || staged.snapshot.written.is_none();
    let expires = policy.expiry(&RoleName::snapshot(), now)?;
    let base = staged.snapshot.effective().cloned().unwrap_or_else(|| Snapshot::new(MetaMap::new(), expires));
    let changed = apply(
        &mut staged.snapshot,
        snapshot,
        extent,
        expires,
        now,
        base,
        |snapshot, meta| snapshot.meta = meta,
        |s| &s.meta,
    );
    changed.map_err(refused(RoleName::snapshot()))?;

    // a snapshot that must follow and has no draft yet will have this version: a timestamp signed for it stays
    let next = follows.then(|| staged.snapshot.next_version());
    let drafted = staged.snapshot.draft_version().or(next).or(staged.snapshot.written_version());
    let version = drafted.unwrap_or(1);
    let timestamp = {
        let view = view(staged, taken);
        let graph = view.graph();
        let written = staged.timestamp.written.as_ref().map(Metadata::signed);
        let listed = written.and_then(Timestamp::snapshot).cloned();
        let file =
            listed.filter(|listed| listed.version == version).unwrap_or_else(|| MetaFile::new(version));
        let meta = BTreeMap::from([(RoleName::snapshot().metapath(), file)]);
        let differs = written.map_or(staged.timestamp.draft.is_none(), |written| written.meta != meta);
        Wanted { keys_changed: keys_changed(&view, staged, &RoleName::timestamp(), &graph), differs, meta }
    };
    let expires = policy.expiry(&RoleName::timestamp(), now)?;
    let base = staged
        .timestamp
        .effective()
        .cloned()
        .unwrap_or_else(|| Timestamp::new(MetaFile::new(version), expires));
    let changed = apply(
        &mut staged.timestamp,
        timestamp,
        extent,
        expires,
        now,
        base,
        |timestamp, meta| timestamp.meta = meta,
        |t| &t.meta,
    );
    changed.map_err(refused(RoleName::timestamp()))?;
    Ok(())
}

fn view<'a>(staged: &'a Staged, taken: Option<&BTreeSet<RoleName>>) -> View<'a> {
    match taken {
        None => View::of_all(staged),
        Some(roles) => View::of(staged, roles.clone()),
    }
}

/// Drops drafts that were made only for new signatures, where the written ones suffice again.
fn drop_repetitions(staged: &mut Staged) {
    let idle: Vec<RoleName> = {
        let view = View::of_all(staged);
        let graph = view.graph();
        let idle =
            |role: &&RoleName| staged.repeats_written(role) && !keys_changed(&view, staged, role, &graph);
        graph.order.iter().filter(idle).cloned().collect()
    };
    for role in idle {
        if let Some(state) = staged.role_mut(&role) {
            state.drop_draft();
        }
    }
}

/// Gives drafts another version whose present one belongs to a file of a killed `write` that nobody would accept now.
fn take_free_versions(
    staged: &mut Staged,
    taken: Option<&BTreeSet<RoleName>>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<(), RepositoryError> {
    let view = view(staged, taken);
    let graph = view.graph();
    let mut again = Vec::new();
    for role in graph.order.iter().cloned().chain([RoleName::snapshot()]) {
        if view.takes(&role) && staged.put_in_vain(&view, &role, &graph)? {
            again.push(role);
        }
    }
    for role in again {
        let expires = policy.expiry(&role, now)?;
        if let Some(state) = staged.role_mut(&role) {
            let next = state.next_version();
            state
                .bump(expires, Some(next), Pins::default())
                .map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
    }
    Ok(())
}

/// Drafts the next version of roles whose written signatures no longer suffice.
fn sign_again(
    staged: &mut Staged,
    taken: Option<&BTreeSet<RoleName>>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<(), RepositoryError> {
    let again: Vec<RoleName> = {
        let view = view(staged, taken);
        let graph = view.graph();
        let undrafted =
            |role: &&RoleName| staged.role(role).is_some_and(|state| state.draft_version().is_none());
        let changed = |role: &&RoleName| keys_changed(&view, staged, role, &graph);
        graph.order.iter().filter(undrafted).filter(changed).cloned().collect()
    };
    for role in again {
        let expires = policy.expiry(&role, now)?;
        if let Some(state) = staged.role_mut(&role) {
            state
                .bump(expires, None, Pins::default())
                .map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
    }
    Ok(())
}

/// What a derived role must say.
struct Wanted<M> {
    meta: M,
    /// What is written says something else.
    differs: bool,
    keys_changed: bool,
}

#[expect(
    clippy::too_many_arguments,
    reason = "one shape for snapshot and timestamp, whose types share no field access"
)]
fn apply<T: Signed, M: PartialEq>(
    state: &mut RoleState<T>,
    wanted: Wanted<M>,
    extent: Extent,
    expires: DateTime<Utc>,
    now: DateTime<Utc>,
    mut next: T,
    set: impl FnOnce(&mut T, M),
    meta: impl FnOnce(&T) -> &M,
) -> Result<(), CanonicalError> {
    let pins = state.draft.as_ref().map(|draft| draft.pins).unwrap_or_default();
    let needed = state.written.is_none() || wanted.differs || wanted.keys_changed || pins.any();
    if !needed {
        state.draft = None;
        return Ok(());
    }
    let Some(Draft { metadata, .. }) = &state.draft else {
        if extent == Extent::All {
            set(&mut next, wanted.meta);
            next.set_version(state.floor + 1);
            next.set_expires(expires);
            state.set_draft(next, pins)?;
        }
        return Ok(());
    };
    let stale = *meta(metadata.signed()) != wanted.meta;
    let unsigned = metadata.signatures.is_empty() && extent == Extent::All;
    let expired = metadata.signed().expires() <= now && extent == Extent::All;
    if !stale && (pins.expires || !(unsigned || expired)) {
        return Ok(());
    }
    let mut next = metadata.signed().clone();
    set(&mut next, wanted.meta);
    if !pins.version || next.version() <= state.floor {
        next.set_version(state.floor + 1);
    }
    if !pins.expires {
        next.set_expires(expires);
    }
    if next != *metadata.signed() {
        state.set_draft(next, pins)?;
    }
    Ok(())
}
