//! Signatures on drafts: made with the keys at hand, only where a key may sign, each checked before it is kept.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::follow::{Extent, follow};
use super::staged::{AnyRole, Staged};
use super::view::{DelegatedBins, Graph, View};
use crate::crypto::{Occasion, SignError, Signer, fingerprint, verify_signature};
use crate::metadata::{Key, KeyId, RoleName, Signature};
use crate::verify::{Made, note_made};

/// When new signatures are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verified {
    /// As they are made.
    Now,
    /// By whoever asked for them, before anything is put.
    Later,
}

/// A key that can sign, and what the user called it.
pub struct SigningKey<'a> {
    /// What the user called it.
    pub name: &'a str,
    /// The key.
    pub signer: &'a dyn Signer,
}

impl SigningKey<'_> {
    /// Signs bytes under an id, with the scheme that metadata states for the key, and checks the signature.
    ///
    /// A key in memory is not checked where everything is verified afterwards anyhow.
    pub(super) fn sign(
        &self,
        role: &RoleName,
        id: &KeyId,
        public: &Key,
        bytes: &[u8],
        verified: Verified,
    ) -> Result<Signature, RepositoryError> {
        let refused = |reason: SignError| RepositoryError::Signing {
            keyid: id.clone(),
            name: self.name.to_owned(),
            reason,
        };
        let occasion = Occasion { role: role.as_str(), keyid: id.as_str() };
        let made = self.signer.sign_for(occasion, &public.scheme, bytes).map_err(refused)?;
        // a signer may be a device or another program: nothing is used that does not verify
        if verified == Verified::Now || !self.signer.is_concurrent() {
            verify_signature(public, bytes, &made)
                .map_err(|error| refused(SignError::Failed { reason: error.to_string() }))?;
        }
        Ok(Signature::new(id.clone(), &made))
    }
}

/// What was signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignReport {
    /// Each role that got signatures, its version, and the ids of the keys that made them.
    pub signed: Vec<(RoleName, u64, Vec<KeyId>)>,
}

impl Repository {
    /// Signs the drafts of the roles named, or of every dirty role that the keys may sign for; snapshot and timestamp are
    /// derived first. Signatures that are there already are kept. Nothing is on disk yet.
    ///
    /// # Errors
    /// [`RepositoryError::MayNotSign`] for a key that may not sign for a role named, or for none at all.
    pub fn sign(
        &mut self,
        roles: &[RoleName],
        keys: &[SigningKey<'_>],
    ) -> Result<SignReport, RepositoryError> {
        for role in roles {
            if self.staged.role(role).is_none() {
                self.staged.read_bin(role)?;
            }
            self.staged.known_role(role)?;
        }
        self.refuse_strangers(roles, keys)?;
        self.staged.settle()?;
        let mut before = self.staged.clone();
        follow(&mut self.staged, None, Extent::All, &self.policy, self.now)?;
        let derived = derived(&before, &self.staged);
        // what is signed and shared would be copied first
        before.keep_only(|role| derived.contains(role));
        let report = sign_drafts(&mut self.staged, None, roles, keys, Verified::Now)?;
        // what was derived and not signed is left as it was: it will be derived again
        for role in derived {
            if !report.signed.iter().any(|(signed, ..)| *signed == role) {
                self.staged.restore(&role, &before);
            }
        }
        Ok(report)
    }

    /// Tells whether a key may sign for one of the roles named, or, where none is named, for any role.
    pub fn may_sign(&self, key: &Key, roles: &[RoleName]) -> bool {
        let view = self.staged.effective();
        let graph = view.graph();
        let all = signing_order_of(graph.representatives());
        let roles = if roles.is_empty() { &all } else { roles };
        roles.iter().any(|role| !ids_for(&view, &graph, role, key).is_empty())
    }

    /// Tells whether the keys at hand meet every threshold of a role.
    pub(super) fn can_complete(&self, role: &RoleName, keys: &[SigningKey<'_>]) -> bool {
        let view = self.staged.effective();
        let authorities = view.authorities(role, &view.graph());
        authorities.iter().all(|(authority, _)| {
            let identities: BTreeSet<_> =
                authority.keys().iter().filter_map(|(_, key)| key.and_then(fingerprint)).collect();
            let at_hand: BTreeSet<_> = keys
                .iter()
                .filter_map(|key| fingerprint(key.signer.public_key()))
                .filter(|id| identities.contains(id))
                .collect();
            authority.threshold().lacking(at_hand.len()) == 0
        })
    }

    /// Refuses keys that may not sign for a role named, or, where none is named, for any role.
    pub(super) fn refuse_strangers(
        &self,
        roles: &[RoleName],
        keys: &[SigningKey<'_>],
    ) -> Result<(), RepositoryError> {
        let view = self.staged.effective();
        let graph = view.graph();
        for key in keys {
            let may_sign =
                |role: &RoleName| !ids_for(&view, &graph, role, key.signer.public_key()).is_empty();
            let refused = |role: Option<&RoleName>, may: Vec<KeyId>| {
                let (keyid, name, role) = (key.signer.public_key().id(), key.name.to_owned(), role.cloned());
                Err(RepositoryError::MayNotSign { keyid, name, role, may })
            };
            if let Some(role) = roles.iter().find(|role| !may_sign(role)) {
                let authorities = view.authorities(role, &graph);
                let may = authorities
                    .iter()
                    .flat_map(|(authority, _)| authority.keys().iter().map(|(id, _)| (*id).clone()));
                return refused(Some(role), may.collect());
            }
            let mut all = signing_order_of(graph.representatives()).into_iter();
            if roles.is_empty() && !all.any(|role| may_sign(&role)) {
                return refused(None, Vec::new());
            }
        }
        Ok(())
    }
}

/// Returns the roles whose drafts differ.
fn derived(before: &Staged, after: &Staged) -> BTreeSet<RoleName> {
    fn draft<'a>(staged: &'a Staged, role: &RoleName) -> Option<&'a [u8]> {
        Some(staged.role(role)?.draft_bytes()?.bytes)
    }
    let differs = |role: &RoleName| draft(before, role) != draft(after, role);
    signing_order(&after.graph()).into_iter().filter(differs).collect()
}

/// Returns all roles in the order in which they are signed.
pub(super) fn signing_order(graph: &Graph) -> Vec<RoleName> {
    signing_order_of(graph.order.clone())
}

/// Puts the other top-level roles around roles that list targets.
pub(super) fn signing_order_of(roles: Vec<RoleName>) -> Vec<RoleName> {
    let tail = [RoleName::snapshot(), RoleName::timestamp()];
    std::iter::once(RoleName::root()).chain(roles).chain(tail).collect()
}

/// Adds to the drafts in force the signatures that the keys may make and that are not there yet.
pub(super) fn sign_drafts(
    staged: &mut Staged,
    taken: Option<&BTreeSet<RoleName>>,
    roles: &[RoleName],
    keys: &[SigningKey<'_>],
    verified: Verified,
) -> Result<SignReport, RepositoryError> {
    let mut report = SignReport::default();
    let view = match taken {
        None => View::of_all(staged),
        Some(taken) => View::of(staged, taken.clone()),
    };
    let graph = view.graph();
    let wanted: BTreeSet<&RoleName> = roles.iter().collect();
    let wanted = |role: &RoleName| (wanted.is_empty() || wanted.contains(role)) && view.takes(role);
    // hash bins have the same keys: which of them sign is found out once for all
    let first_ids = |set: &DelegatedBins| -> Vec<Vec<(KeyId, &Key)>> {
        let own = |first: &RoleName| graph.delegators(first) == set.delegators.as_slice();
        let Some(first) = set.bins.bin(0).filter(own) else { return Vec::new() };
        keys.iter().map(|key| ids_for(&view, &graph, &first, key.signer.public_key())).collect()
    };
    let shared: Vec<Vec<Vec<(KeyId, &Key)>>> = graph.bins.iter().map(first_ids).collect();
    let ids = |role: &RoleName, at: usize, key: &SigningKey<'_>| -> Vec<(KeyId, &Key)> {
        let set = graph
            .bins
            .iter()
            .position(|set| set.bins.contains(role) && graph.delegators(role) == set.delegators.as_slice());
        match set.and_then(|set| shared[set].get(at)) {
            Some(shared) => shared.clone(),
            None => ids_for(&view, &graph, role, key.signer.public_key()),
        }
    };
    let sign = |role: &RoleName| -> Result<Option<NewSignatures<'_>>, RepositoryError> {
        let Some(state) = staged.role(role).filter(|_| wanted(role)) else { return Ok(None) };
        let Some((covered, version)) = state.draft_bytes().zip(state.draft_version()) else {
            return Ok(None);
        };
        let (bytes, signatures) = (covered.bytes, covered.signatures);
        let mut new: Vec<(Signature, &Key)> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            for (id, public) in ids(role, at, key) {
                let present =
                    |signature: &Signature| signature.keyid == id && is_valid(public, bytes, signature);
                if !signatures.iter().chain(new.iter().map(|(made, _)| made)).any(present) {
                    new.push((key.sign(role, &id, public, bytes, verified)?, public));
                }
            }
        }
        Ok(Some(NewSignatures { version, new }))
    };
    let order = signing_order(&graph);
    // keys in memory sign on all cores; what is a device, an agent or a program is asked one thing at a time
    let in_memory = keys.iter().all(|key| key.signer.is_concurrent());
    let made: Vec<_> = match in_memory {
        true => order.par_iter().map(sign).collect::<Result<_, _>>()?,
        false => order.iter().map(sign).collect::<Result<_, _>>()?,
    };
    if verified == Verified::Later && in_memory {
        note(staged, &order, &made);
    }
    // without the keys, which belong to what is changed now
    let made: Vec<Option<(u64, Vec<Signature>)>> = made
        .into_iter()
        .map(|made| made.map(|made| (made.version, made.new.into_iter().map(|(new, _)| new).collect())))
        .collect();
    for (role, made) in order.into_iter().zip(made) {
        let Some((version, signatures)) = made.filter(|(_, new)| !new.is_empty()) else { continue };
        let ids = signatures.iter().map(|signature| signature.keyid.clone()).collect();
        report.signed.push((role.clone(), version, ids));
        let state = staged.role_mut(&role).ok_or_else(|| InputError::UnknownRole(role.to_string()))?;
        state.add_signatures(signatures);
    }
    Ok(report)
}

/// Notes which of the signatures that were made are valid, as far as many by one key can be verified together.
fn note(staged: &Staged, order: &[RoleName], made: &[Option<NewSignatures<'_>>]) {
    note_made(order.iter().zip(made).flat_map(|(role, made)| {
        let covered = staged.role(role).and_then(AnyRole::draft_bytes);
        let new = made.iter().flat_map(|made| &made.new);
        new.filter_map(move |(signature, key)| Some(Made { covered: covered?, key, signature }))
    }));
}

/// The signatures that were made for a version of a role, each with its key as metadata states it.
struct NewSignatures<'k> {
    version: u64,
    new: Vec<(Signature, &'k Key)>,
}

/// Returns the ids under which a role's authorities list a key, with the key as they state it.
fn ids_for<'a>(view: &View<'a>, graph: &Graph, role: &RoleName, key: &Key) -> Vec<(KeyId, &'a Key)> {
    let Some(identity) = fingerprint(key) else { return Vec::new() };
    let mut ids: Vec<(KeyId, &'a Key)> = Vec::new();
    for (authority, _) in view.authorities(role, graph) {
        for &(id, listed) in authority.keys() {
            let Some(listed) = listed.filter(|listed| fingerprint(listed) == Some(identity)) else {
                continue;
            };
            if !ids.iter().any(|(known, _)| known == id) {
                ids.push((id.clone(), listed));
            }
        }
    }
    ids
}

fn is_valid(key: &Key, bytes: &[u8], signature: &Signature) -> bool {
    hex::decode(&signature.sig).is_ok_and(|sig| verify_signature(key, bytes, &sig).is_ok())
}
