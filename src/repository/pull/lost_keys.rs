//! Written metadata of this copy that was signed only by keys which the live root takes away. After the theft of a key that is what
//! this copy had taken over from a thief, or work that nobody can sign again with the old key. Either way it gives way and is kept
//! aside, so that an unattended copy goes on.

use std::collections::BTreeSet;

use super::super::Repository;
use super::super::signed_by::SignedBy;
use super::super::staged::AnyRole;
use super::super::view::View;
use super::Live;
use crate::metadata::{Delegations, Metadata, RoleName, Root, Snapshot};
use crate::verify::Delegator;

impl Repository {
    /// Returns the roles, `targets` and those that it delegates to, whose written metadata was signed only by keys that the live
    /// root, and whoever delegates to them in live, do not trust any more; none where the live root is not newer.
    pub(super) fn roles_without_keys(&self, live: &Live) -> BTreeSet<RoleName> {
        let mut found = BTreeSet::new();
        let Some(root) = self.newer_root(live) else { return found };
        let view = View::of(&self.staged, BTreeSet::new());
        let graph = view.graph();
        let trusted: Vec<&Delegations> =
            live.checked.targets.values().filter_map(|targets| targets.delegations.as_ref()).collect();
        for role in &graph.order {
            let written = self.staged.targets(role).and_then(|state| state.written.as_ref());
            let Some(written) = written else { continue };
            let mut signed_by = SignedBy::default();
            for (authority, _) in view.authorities(role, &graph) {
                signed_by.add(&authority.check(written.covered()), &authority);
            }
            let is_kept = match role.as_str() {
                "targets" => signed_by.kept_by(root.authority(role).as_ref()).is_some(),
                _ => trusted.iter().any(|by| signed_by.kept_by(by.authority(role).as_ref()).is_some()),
            };
            if !signed_by.is_empty() && !is_kept {
                found.insert(role.clone());
            }
        }
        // where `targets` keeps its keys, whoever it does not trust any more is a matter of its own
        if found.contains(&RoleName::targets()) { found } else { BTreeSet::new() }
    }

    /// Tells whether a snapshot was signed only by keys that the live root takes away.
    pub(super) fn has_lost_its_keys(&self, live: &Live, snapshot: &[u8]) -> bool {
        let role = RoleName::snapshot();
        let ours = self.staged.root.written.as_ref().and_then(|root| root.signed().authority(&role));
        let (Some(root), Some(authority)) = (self.newer_root(live), ours) else { return false };
        let Ok(snapshot) = Metadata::<Snapshot>::from_bytes(snapshot) else { return false };
        let mut signed_by = SignedBy::default();
        signed_by.add(&authority.check(snapshot.covered()), &authority);
        signed_by.refuse_kept(&role, &root).is_ok()
    }

    /// Returns the live root where it is newer than the written one.
    fn newer_root(&self, live: &Live) -> Option<Root> {
        let root = Metadata::<Root>::from_bytes(live.bytes("root.json")?).ok()?.into_signed();
        (Some(root.version) > self.staged.root.written_version()).then_some(root)
    }
}
