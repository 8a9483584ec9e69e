//! What a `write` comes to, judged as a client does that trusts what is written now, before a byte moves.
//!
//! Only roles that change or that the snapshot lists anew are looked at, those they delegate to, and those above them: the others were
//! judged when they were written. A delegated role's fault that the change did not cause is a warning (`fault`).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::Repository;
use super::bins::left_out;
use super::check::{Finding, misplaced, missing_bin};
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::fault::{Fault, Ground, Leading, refuse_caused, same_chain};
use super::gate::kept_or_dropped;
use super::layout::{Layout, MAX_METADATA, STAGED};
use super::listing::is_covered;
use super::view::{Graph, View};
use super::write::{FileBytes, Written};
use crate::metadata::{Metadata, RoleName, Signed, Targets};
use crate::storage::{ReadFiles, regular_or_none};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet};
use crate::verify::Verified;

impl Repository {
    /// Checks the outcome as a client that trusts what is written now; as a new one where nothing is. Returns warnings of
    /// faults that delegated roles had before.
    pub(super) fn check_as_client(
        &self,
        view: &View<'_>,
        written: &Written,
    ) -> Result<Vec<Finding>, RepositoryError> {
        let outcome = Outcome::of(self, view, written);
        let mut set = outcome.roots()?;
        self.trust_written(&mut set)?;
        outcome.timestamp_and_snapshot(&mut set)?;
        let mut faults = outcome.targets(&mut set)?;
        faults.extend(outcome.damaged());
        faults.extend(outcome.expired()?);
        faults.extend(outcome.unlisted_bins(&set));
        faults.extend(outcome.left_out());
        let (before, after) = (self.leading_before(), outcome.leading(&set));
        faults.extend(outcome.strays(&before, &after));
        refuse_caused(faults, &before, &after)
    }

    /// Lets a client trust what is written now, as far as it still does: it protects against going back.
    fn trust_written(&self, set: &mut TrustedMetadataSet) -> Result<(), RepositoryError> {
        // a client's own copies may be signed by keys that are gone: it goes on without them then
        if set.keys_rotated() {
            return Ok(());
        }
        if let Some(written) = &self.staged.timestamp.written {
            let what = || RoleName::timestamp().to_string();
            let bytes =
                written.to_bytes().map_err(|reason| InputError::Canonical { what: what(), reason })?;
            kept_or_dropped(set.update_timestamp(&bytes))
                .map_err(|error| refused("timestamp.json", error))?;
        }
        if let Some(written) = self.staged.snapshot.written.as_ref().filter(|_| set.timestamp().is_some()) {
            let version = written.signed().version;
            let name = self.staged.layout().metadata_name(&RoleName::snapshot(), version);
            kept_or_dropped(set.update_read_snapshot(written.clone(), Origin::Local))
                .map_err(|error| refused(&name, error))?;
        }
        Ok(())
    }

    /// Returns how what is written leads to delegated roles.
    fn leading_before(&self) -> Leading<'_> {
        let view = View::of(&self.staged, BTreeSet::new());
        let folder = self.staged.folder();
        Leading {
            layout: self.staged.layout(),
            snapshot: self.staged.snapshot.written.as_ref().map(Metadata::signed),
            delegators: delegators(&view, &view.graph()),
            read: Box::new(move |name| {
                regular_or_none(folder.read(name, MAX_METADATA)).at(folder.file(name))
            }),
        }
    }
}

/// Returns the roles that delegate.
fn delegators<'a>(view: &View<'a>, graph: &Graph) -> BTreeMap<RoleName, &'a Targets> {
    let delegating = graph.order.iter().filter_map(|role| Some((role.clone(), view.targets(role)?)));
    delegating.filter(|(_, targets)| targets.delegations.is_some()).collect()
}

/// The files as they will be.
struct Outcome<'a> {
    repository: &'a Repository,
    view: &'a View<'a>,
    graph: Graph,
    written: &'a Written,
    /// The files that are put, by name.
    new: BTreeMap<&'a str, &'a FileBytes>,
    layout: Layout,
    /// The roles that list targets and are looked at.
    needed: BTreeSet<RoleName>,
}

impl<'a> Outcome<'a> {
    fn of(repository: &'a Repository, view: &'a View<'a>, written: &'a Written) -> Self {
        let graph = view.graph();
        let mut changed: BTreeSet<RoleName> = written.roles.keys().cloned().collect();
        changed.extend(relisted(repository, view));
        Self {
            repository,
            view,
            written,
            new: written.files().collect(),
            layout: Layout::of(view.root().is_some_and(|root| root.consistent_snapshot)),
            needed: needed(&graph.order, |role| graph.delegators(role), &changed),
            graph,
        }
    }

    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        if let Some(bytes) = self.new.get(name) {
            return Ok(Some(self.repository.file_bytes(bytes)?.into_owned()));
        }
        let folder = self.repository.staged.folder();
        regular_or_none(folder.read(name, MAX_METADATA)).at(folder.file(name))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, RepositoryError> {
        let missing =
            || RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason: Refusal::Missing };
        self.bytes(name)?.ok_or_else(missing)
    }

    /// Takes the root that is written and its successor. Expiry is judged apart: what has expired still leads to the rest.
    fn roots(&self) -> Result<TrustedMetadataSet, RepositoryError> {
        let staged = &self.repository.staged;
        let written_root = staged.root.written.as_ref().map(|root| root.to_bytes()).transpose();
        let written_root =
            written_root.map_err(|reason| InputError::Canonical { what: "root".to_owned(), reason })?;
        let first = match &written_root {
            Some(root) => root.clone(),
            None => self.read("root.json")?,
        };
        let set = TrustedMetadataSet::new(&first, DateTime::<Utc>::MIN_UTC);
        let mut set = set.map_err(|error| refused("root.json", error))?;
        if written_root.is_some() && self.written.roles.contains_key(&RoleName::root()) {
            let name = format!("{}.root.json", set.root().version + 1);
            let bytes = self.read(&name)?;
            set.update_root(&bytes).map_err(|error| refused(&name, error))?;
        }
        self.refuse_expired(&RoleName::root(), "root.json", set.root())?;
        Ok(set)
    }

    fn timestamp_and_snapshot(&self, set: &mut TrustedMetadataSet) -> Result<(), RepositoryError> {
        let staged = &self.repository.staged;
        let bytes = self.read("timestamp.json")?;
        match set.update_timestamp(&bytes) {
            Ok(_) | Err(TrustError::SameTimestamp { .. }) => {}
            Err(error) => return Err(refused("timestamp.json", error)),
        }
        let mut listed = 0;
        if let Some(timestamp) = set.timestamp() {
            self.refuse_expired(&RoleName::timestamp(), "timestamp.json", timestamp)?;
            listed = timestamp.snapshot().map_or(0, |listed| listed.version);
        }
        let role = RoleName::snapshot();
        let name = self.layout.metadata_name(&role, listed);
        let drafted = staged.snapshot.draft.as_ref().filter(|_| self.view.takes(&role));
        let judged = match (self.new.get(&*name), drafted) {
            (Some(file), Some(draft)) if file.is_draft() => {
                set.update_read_snapshot(draft.metadata.clone(), Origin::Remote)
            }
            _ => set.update_snapshot(&self.read(&name)?, Origin::Remote),
        };
        let snapshot = judged.map_err(|error| refused(&name, error))?;
        self.refuse_expired(&role, &name, snapshot)
    }

    /// Takes the roles that list targets, each by whoever accepts it first, since another delegator may itself come later;
    /// then judges each for all who delegate to it.
    fn targets(&self, set: &mut TrustedMetadataSet) -> Result<Vec<Fault>, RepositoryError> {
        // hash bins lead to no other role, so that each can be judged by itself
        let is_bin = |role: &RoleName| self.graph.bins_of(role).is_some();
        let needed = || self.graph.order.iter().filter(|role| self.needed.contains(*role));
        let loaded =
            |set: &TrustedMetadataSet, by: &RoleName| by.as_str() == "root" || set.targets(by).is_some();
        for role in needed().filter(|role| !is_bin(role)) {
            for delegator in self.graph.delegators(role) {
                if loaded(set, delegator)
                    && let Ok(targets) = self.judge(set, role, delegator)?
                {
                    set.keep_targets(role, targets);
                    break;
                }
            }
        }
        let judge = |role: &RoleName| -> Result<Vec<Fault>, RepositoryError> {
            let mut faults = Vec::new();
            for delegator in self.graph.delegators(role).iter().filter(|by| loaded(set, by)) {
                let judged = match set.targets(role) {
                    Some(_) => set.verify_again(role, delegator).map(drop).map_err(Refusal::from),
                    None => self.judge(set, role, delegator)?.map(drop),
                };
                if let Err(reason) = judged {
                    let name = self.name(set, role);
                    if role.is_top_level() {
                        return Err(RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason });
                    }
                    faults.push(self.fault(role, Ground::Delegator(delegator.clone()), name, reason));
                }
            }
            Ok(faults)
        };
        let needed: Vec<&RoleName> = needed().collect();
        let faults: Vec<Vec<Fault>> = needed.par_iter().map(|role| judge(role)).collect::<Result<_, _>>()?;
        Ok(faults.into_iter().flatten().collect())
    }

    /// Judges the file of a role for one delegator.
    fn judge(
        &self,
        set: &TrustedMetadataSet,
        role: &RoleName,
        delegator: &RoleName,
    ) -> Result<Result<Verified<Targets>, Refusal>, RepositoryError> {
        if let Some(metadata) = self.drafted(role) {
            return Ok(set.verify_read_targets(metadata, role, delegator).map_err(Refusal::from));
        }
        let Some(bytes) = self.bytes(&self.name(set, role))? else { return Ok(Err(Refusal::Missing)) };
        Ok(set.verify_targets(bytes, role, delegator).map_err(Refusal::from))
    }

    /// Returns the draft that is put, byte for byte, and was read from there.
    fn drafted(&self, role: &RoleName) -> Option<Metadata<Targets>> {
        let draft = self.repository.staged.targets(role)?.draft.as_ref().filter(|_| self.view.takes(role))?;
        let known = self.new.get(&*self.layout.metadata_name(role, draft.metadata.signed().version))?;
        known.is_draft().then(|| draft.metadata.clone())
    }

    /// Returns the faults of roles whose written files cannot be read and are not replaced, where no check comes to them.
    fn damaged(&self) -> Vec<Fault> {
        let staged = &self.repository.staged;
        let unseen = |role: &RoleName| !(self.needed.contains(role) && self.graph.order.contains(role));
        let left = staged.damaged().filter(|(role, _)| unseen(role) && self.view.bytes(role).is_none());
        let faults = left.flat_map(|(role, damage)| {
            self.graph.delegators(role).iter().map(|delegator| Fault {
                role: role.clone(),
                ground: Ground::Delegator(delegator.clone()),
                file: Some(damage.file.clone()),
                reason: Refusal::Finding(damage.reason.clone()),
            })
        });
        faults.collect()
    }

    /// Refuses a top-level targets role that has expired, where it is looked at, and returns the faults of delegated roles
    /// that have, also where nothing else is asked of them.
    fn expired(&self) -> Result<Vec<Fault>, RepositoryError> {
        let mut faults = Vec::new();
        for role in &self.graph.order {
            let Some(targets) = self.view.targets(role) else { continue };
            let name = self.layout.metadata_name(role, targets.version);
            if role.is_top_level() {
                if self.needed.contains(role) {
                    self.refuse_expired(role, &name, targets)?;
                }
            } else if let Some(error) = self.expiry(role, targets) {
                let ground = Ground::Delegators(self.graph.delegators(role).to_vec());
                faults.push(self.fault(role, ground, name, error.into()));
            }
        }
        Ok(faults)
    }

    /// Returns the sets of hash bins that the snapshot does not list as a whole, where a role that delegates to them changes.
    fn unlisted_bins(&self, set: &TrustedMetadataSet) -> Vec<Fault> {
        let Some(snapshot) = set.snapshot() else { return Vec::new() };
        let mut faults = Vec::new();
        for bins in &self.graph.bins {
            let changed = bins.delegators.iter().filter(|by| self.written.roles.contains_key(*by));
            for delegator in changed {
                let listed: Vec<RoleName> = bins.bins.listed_by(snapshot).collect();
                if let Some((role, reason)) = missing_bin(&bins.bins, delegator, &listed) {
                    let ground = Ground::Delegator(delegator.clone());
                    faults.push(Fault { role, ground, file: None, reason: Refusal::Finding(reason) });
                }
            }
        }
        faults
    }

    /// Returns the delegations to names that no role has here.
    fn left_out(&self) -> Vec<Fault> {
        let of_role = |role: &RoleName| {
            let Some(targets) = self.view.targets(role) else { return Vec::new() };
            let named = targets.delegations.as_ref().map(left_out).unwrap_or_default();
            let file = || format!("{STAGED}/{}", self.layout.metadata_name(role, targets.version));
            named.into_iter().map(|named| Fault::of_left_out(role, named, file())).collect()
        };
        self.graph.order.iter().flat_map(of_role).collect()
    }

    /// Returns the targets that no client finds or that have names of our own, of roles that change or whose delegations do.
    fn strays(&self, before: &Leading<'_>, after: &Leading<'_>) -> Vec<Fault> {
        let delegators = |role: &RoleName| self.graph.delegators(role);
        let delegations =
            |role: &RoleName| self.view.targets(role).and_then(|role| role.delegations.as_ref());
        let concerned = |role: &&RoleName| {
            self.needed.contains(*role)
                && (self.written.roles.contains_key(*role) || !same_chain(role, before, after))
        };
        let strays = |role: &RoleName| {
            let Some(targets) = self.view.targets(role) else { return Vec::new() };
            let is_found = |path: &str| is_covered(role, path, &delegators, &delegations);
            let name = self.layout.metadata_name(role, targets.version);
            let fault = |reason: Refusal| {
                let ground = Ground::Chain(self.graph.delegators(role).to_vec());
                self.fault(role, ground, name.clone(), reason)
            };
            misplaced(targets, is_found).into_iter().map(fault).collect::<Vec<Fault>>()
        };
        self.graph.order.par_iter().filter(concerned).flat_map_iter(strays).collect()
    }

    /// Returns how the outcome leads to delegated roles.
    fn leading<'s>(&'s self, set: &'s TrustedMetadataSet) -> Leading<'s> {
        Leading {
            layout: self.layout,
            snapshot: set.snapshot(),
            delegators: delegators(self.view, &self.graph),
            read: Box::new(|name| self.bytes(name)),
        }
    }

    fn name(&self, set: &TrustedMetadataSet, role: &RoleName) -> String {
        let listed = set.snapshot().and_then(|snapshot| snapshot.role(role));
        self.layout.metadata_name(role, listed.map_or(0, |listed| listed.version))
    }

    fn fault(&self, role: &RoleName, ground: Ground, name: String, reason: Refusal) -> Fault {
        Fault { role: role.clone(), ground, file: Some(format!("{STAGED}/{name}")), reason }
    }

    fn expiry<T: Signed>(&self, role: &RoleName, signed: &T) -> Option<TrustError> {
        let (version, expires) = (signed.version(), signed.expires());
        let expired = expires <= self.repository.now;
        expired.then(|| TrustError::Expired { role: role.clone(), version, expires })
    }

    fn refuse_expired<T: Signed>(
        &self,
        role: &RoleName,
        name: &str,
        signed: &T,
    ) -> Result<(), RepositoryError> {
        self.expiry(role, signed).map_or(Ok(()), |error| Err(refused(name, error)))
    }
}

fn refused(name: &str, error: TrustError) -> RepositoryError {
    RepositoryError::Refused { file: format!("{STAGED}/{name}"), reason: error.into() }
}

/// Returns the roles whose entries in the snapshot change, whether or not their files do.
fn relisted(repository: &Repository, view: &View<'_>) -> Vec<RoleName> {
    let state = &repository.staged.snapshot;
    let draft = state.draft.as_ref().filter(|_| view.takes(&RoleName::snapshot()));
    let Some((draft, written)) = draft.zip(state.written.as_ref()) else { return Vec::new() };
    let (next, before) = (&draft.metadata.signed().meta, &written.signed().meta);
    let role = |index: usize| RoleName::from_metapath(&next.at(index)?.0);
    next.differing(before).into_iter().filter_map(role).collect()
}

/// Returns the roles that a check must look at: those that change, those they delegate to, and those above them.
fn needed<'a>(
    order: &[RoleName],
    delegators: impl Fn(&RoleName) -> &'a [RoleName],
    changed: &BTreeSet<RoleName>,
) -> BTreeSet<RoleName> {
    let touched =
        |role: &&RoleName| changed.contains(*role) || delegators(role).iter().any(|by| changed.contains(by));
    let mut pending: Vec<RoleName> = order.iter().filter(touched).cloned().collect();
    let mut needed = BTreeSet::new();
    while let Some(role) = pending.pop() {
        if role.as_str() != "root" && needed.insert(role.clone()) {
            pending.extend(delegators(&role).iter().cloned());
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_looks_at_what_changes_what_it_delegates_to_and_what_is_above() {
        let role = |name: &str| RoleName::new(name).unwrap();
        let order = ["targets", "a", "b", "a/x", "b/y"].map(role);
        let above: BTreeMap<RoleName, Vec<RoleName>> = [
            ("targets", &["root"][..]),
            ("a", &["targets"]),
            ("b", &["targets"]),
            ("a/x", &["a", "b"]),
            ("b/y", &["b"]),
        ]
        .map(|(name, by)| (role(name), by.iter().map(|by| role(by)).collect()))
        .into();
        let looked_at = |changed: &[&str]| {
            let changed = changed.iter().map(|name| role(name)).collect();
            let needed = needed(&order, |role| above[role].as_slice(), &changed);
            needed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(looked_at(&["b/y"]), ["b", "b/y", "targets"]);
        assert_eq!(looked_at(&["a"]), ["a", "a/x", "b", "targets"]);
        assert_eq!(looked_at(&["root"]), ["targets"]);
        assert_eq!(looked_at(&["timestamp"]), [""; 0]);
    }
}
