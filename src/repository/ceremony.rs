//! Ceremonies: a draft leaves the repository in one self-contained file, is signed where there is no repository, and its
//! signatures come back, each of them verified.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::Repository;
use super::diff::words_of;
use super::error::{InputError, Refusal, RepositoryError};
use super::follow::{Extent, follow};
use super::keyring::KeyNames;
use super::sign::{SigningKey, Verified};
use super::staged::{AnyRole, DraftPlan, Pins};
use super::unfit::refuse_unfit;
use crate::canonical;
use crate::crypto::{fingerprint, verify_signature};
use crate::metadata::{
    Key, KeyId, Metadata, ParseError, RoleName, Root, Signature, Signed, Snapshot, Targets, Threshold,
    Timestamp, time,
};
use crate::verify::Delegator;

/// What the `format` member of a bundle says.
const FORMAT: &str = "tuf-repo signing bundle";
/// The version of the format.
const FORMAT_VERSION: u64 = 1;

/// A draft to be signed somewhere else: what `sign --export` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    format: String,
    v: u64,
    role: RoleName,
    version: u64,
    /// What the payload changes, in words, for whoever reads the file; tools derive it from the payload again.
    changes: Vec<String>,
    /// The bytes to sign, in base64.
    payload_b64: String,
    /// The bytes that were signed before, in base64, so that the changes can be told without the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_b64: Option<String>,
    thresholds: Vec<BundleThreshold>,
    keys: Vec<BundleKey>,
    signatures: Vec<Signature>,
}

/// One threshold that the signatures must meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleThreshold {
    /// Whose keys: `root v6`, `targets`.
    pub by: String,
    /// How many of them must sign.
    pub threshold: Threshold,
    /// Their ids.
    pub keyids: Vec<KeyId>,
}

/// A key that may sign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleKey {
    keyid: KeyId,
    key: Key,
    /// What the key is called where the bundle was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`InputError::Bundle`] where the bytes are no bundle, or say other things of itself than its payload.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InputError> {
        let refused = |reason: String| InputError::Bundle { reason };
        canonical::from_json(bytes).map_err(|error| refused(error.to_string()))?;
        let bundle: Self = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        if bundle.format != FORMAT || bundle.v != FORMAT_VERSION {
            return Err(refused(format!("its format is not '{FORMAT}' version {FORMAT_VERSION}")));
        }
        let (version, _) = version_and_expiry(&bundle.role, &bundle.payload()?)
            .map_err(|error| refused(error.to_string()))?;
        if version != bundle.version {
            return Err(refused(format!(
                "it says version {} and its payload says {version}",
                bundle.version
            )));
        }
        Ok(bundle)
    }

    /// Writes the bundle: JSON, members sorted.
    ///
    /// # Errors
    /// [`InputError::Canonical`] where a foreign key holds what canonical JSON refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InputError> {
        let text = canonical::from_value(self)
            .map_err(|reason| InputError::Canonical { what: "the bundle".to_owned(), reason })?;
        Ok(canonical::pretty(&text))
    }

    /// Returns the role to be signed.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// Returns the version to be signed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the thresholds to meet.
    pub fn thresholds(&self) -> &[BundleThreshold] {
        &self.thresholds
    }

    /// Says what the payload changes, derived from the bytes that will be signed and not from what the file says.
    ///
    /// # Errors
    /// [`InputError::Bundle`].
    pub fn changes(&self) -> Result<Vec<String>, InputError> {
        let previous = self.previous_b64.as_deref().map(decode).transpose()?;
        words_of(&self.role, &self.payload()?, previous.as_deref(), &self.names())
            .map_err(|error| InputError::Bundle { reason: error.to_string() })
    }

    /// Says all that the payload says, held against nothing: what came along as the previous version is the sender's word,
    /// and a change could be hidden behind it.
    ///
    /// # Errors
    /// [`InputError::Bundle`].
    pub fn content(&self) -> Result<Vec<String>, InputError> {
        words_of(&self.role, &self.payload()?, None, &self.names())
            .map_err(|error| InputError::Bundle { reason: error.to_string() })
    }

    /// Returns what the keys are called, by the word of whoever made the bundle.
    fn names(&self) -> KeyNames {
        let mut names = KeyNames::default();
        for BundleKey { key, name, .. } in &self.keys {
            name.iter().for_each(|name| names.insert(key, name));
        }
        names
    }

    /// Tells whether whoever made the bundle has named keys: by a word that nobody has signed.
    pub fn names_keys(&self) -> bool {
        self.keys.iter().any(|listed| listed.name.is_some())
    }

    /// Returns the keys of a threshold that have not signed validly, each by its name and the start of its id.
    pub fn missing(&self, threshold: &BundleThreshold) -> Vec<String> {
        let names = self.names();
        let unsigned = |id: &&KeyId| {
            let alone = BundleThreshold { keyids: vec![(*id).clone()], ..threshold.clone() };
            self.signed(&alone) == 0
        };
        let key = |id: &KeyId| self.keys.iter().find(|listed| listed.keyid == *id).map(|listed| &listed.key);
        threshold.keyids.iter().filter(unsigned).map(|id| names.in_short(id, key(id))).collect()
    }

    /// Takes over the signatures of another copy of this bundle, where there is no valid one by the same key. Tells whether
    /// it is a copy: of the same bytes for the same role.
    ///
    /// # Errors
    /// [`InputError::Bundle`] where the payload cannot be read: no signature could be judged.
    pub(super) fn take_signatures(&mut self, other: &Self) -> Result<bool, InputError> {
        if other.payload_b64 != self.payload_b64 || other.role != self.role {
            return Ok(false);
        }
        let payload = self.payload()?;
        let key = |id: &KeyId| self.keys.iter().find(|listed| listed.keyid == *id).map(|listed| &listed.key);
        let valid = |mine: &Signature| key(&mine.keyid).is_some_and(|key| is_valid(key, &payload, mine));
        let is_new = |theirs: &&Signature| {
            !self.signatures.iter().any(|mine| mine.keyid == theirs.keyid && valid(mine))
        };
        let new: Vec<Signature> = other.signatures.iter().filter(is_new).cloned().collect();
        self.signatures.retain(|mine| !new.iter().any(|theirs| theirs.keyid == mine.keyid));
        self.signatures.extend(new);
        self.signatures.sort_by(|a, b| a.keyid.cmp(&b.keyid));
        Ok(true)
    }

    /// Returns how many of a threshold's keys have signed validly.
    pub fn signed(&self, threshold: &BundleThreshold) -> usize {
        let Ok(payload) = self.payload() else { return 0 };
        let mut seen = BTreeSet::new();
        let valid = |id: &&KeyId| {
            let signature = self.signatures.iter().find(|signature| signature.keyid == **id);
            let key = self.keys.iter().find(|key| key.keyid == **id);
            signature.zip(key).is_some_and(|(signature, key)| {
                is_valid(&key.key, &payload, signature)
                    && fingerprint(&key.key).is_some_and(|identity| seen.insert(identity))
            })
        };
        threshold.keyids.iter().filter(valid).count()
    }

    /// Adds a key's signature. Returns the ids under which it signed; none where it had signed already.
    ///
    /// # Errors
    /// [`RepositoryError::MayNotSign`] for a key that the bundle does not list.
    pub fn sign(&mut self, key: &SigningKey<'_>) -> Result<Vec<KeyId>, RepositoryError> {
        let public = key.signer.public_key();
        let identity = fingerprint(public);
        let mine: Vec<BundleKey> = self
            .keys
            .iter()
            .filter(|listed| identity.is_some() && fingerprint(&listed.key) == identity)
            .cloned()
            .collect();
        if mine.is_empty() {
            let may = self.keys.iter().map(|key| key.keyid.clone()).collect();
            return Err(RepositoryError::MayNotSign {
                keyid: public.id(),
                name: key.name.to_owned(),
                role: Some(self.role.clone()),
                may,
            });
        }
        let payload = self.payload()?;
        let mut made = Vec::new();
        for listed in mine {
            if self
                .signatures
                .iter()
                .any(|old| old.keyid == listed.keyid && is_valid(&listed.key, &payload, old))
            {
                continue;
            }
            let signature = key.sign(&self.role, &listed.keyid, &listed.key, &payload, Verified::Now)?;
            self.signatures.retain(|old| old.keyid != listed.keyid);
            self.signatures.push(signature);
            made.push(listed.keyid);
        }
        self.signatures.sort_by(|a, b| a.keyid.cmp(&b.keyid));
        Ok(made)
    }

    fn payload(&self) -> Result<Vec<u8>, InputError> {
        decode(&self.payload_b64)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, InputError> {
    Base64::decode_vec(text)
        .map_err(|_| InputError::Bundle { reason: "its payload is not base64".to_owned() })
}

fn is_valid(key: &Key, bytes: &[u8], signature: &Signature) -> bool {
    hex::decode(&signature.sig).is_ok_and(|sig| verify_signature(key, bytes, &sig).is_ok())
}

fn version_and_expiry(role: &RoleName, payload: &[u8]) -> Result<(u64, String), ParseError> {
    fn read<T: Signed>(payload: &[u8]) -> Result<(u64, String), ParseError> {
        let metadata = Metadata::<T>::from_signed_bytes(payload)?;
        Ok((metadata.signed().version(), time::format(&metadata.signed().expires())))
    }
    match role.as_str() {
        "root" => read::<Root>(payload),
        "snapshot" => read::<Snapshot>(payload),
        "timestamp" => read::<Timestamp>(payload),
        _ => read::<Targets>(payload),
    }
}

/// What became of signatures that were brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The signatures that were taken: role, version and key id.
    pub taken: Vec<(RoleName, u64, KeyId)>,
    /// Those that were not, each with its reason.
    pub refused: Vec<String>,
}

impl Repository {
    /// Exports the draft of a role, which is derived where it must follow. The draft is part of the plan, so that what is
    /// signed elsewhere is what is here when it comes back.
    ///
    /// # Errors
    /// [`InputError::NothingToSign`] where the role is not dirty.
    pub fn export(&mut self, role: &RoleName) -> Result<(Bundle, DraftPlan), RepositoryError> {
        self.staged.known_role(role)?;
        let before = self.staged.clone();
        // a draft that is there may have been exported before: it stays what it is
        let extent = match self.staged.role(role).and_then(AnyRole::draft_version) {
            Some(_) => Extent::Present,
            None => Extent::All,
        };
        follow(&mut self.staged, None, extent, &self.policy, self.now)?;
        for other in super::sign::signing_order(&self.staged.graph()).iter().filter(|other| *other != role) {
            self.staged.restore(other, &before);
        }
        // what is signed elsewhere must still be here then
        self.staged.known_role(role)?.keep_draft();
        let view = self.staged.effective();
        let graph = view.graph();
        let nothing = || InputError::NothingToSign { role: role.clone() };
        let state = self.staged.role(role).ok_or_else(nothing)?;
        let drafted = state.draft_bytes().ok_or_else(nothing)?;
        let (payload, signatures) = (drafted.bytes, drafted.signatures);
        let version = state.draft_version().ok_or_else(nothing)?;
        let previous = state.written_bytes().map(|written| written.bytes);
        let names = self.keyring().names();
        let mut keys: Vec<BundleKey> = Vec::new();
        let mut thresholds = Vec::new();
        for (authority, old_root) in view.authorities(role, &graph) {
            for (keyid, key) in authority.keys() {
                if let Some(key) = key.filter(|_| !keys.iter().any(|known| known.keyid == **keyid)) {
                    let name = names.of(key);
                    keys.push(BundleKey { keyid: (*keyid).clone(), key: key.clone(), name });
                }
            }
            let by = match (role.as_str(), old_root) {
                ("root", Some(old)) => format!("root v{old}"),
                ("root", None) => format!("root v{version}"),
                _ => role.to_string(),
            };
            let keyids = authority.keys().iter().map(|(id, _)| (*id).clone()).collect();
            thresholds.push(BundleThreshold { by, threshold: authority.threshold(), keyids });
        }
        let refused = |error: ParseError| InputError::Bundle { reason: error.to_string() };
        let bundle = Bundle {
            format: FORMAT.to_owned(),
            v: FORMAT_VERSION,
            role: role.clone(),
            version,
            changes: words_of(role, payload, previous, names).map_err(refused)?,
            payload_b64: Base64::encode_string(payload),
            previous_b64: previous.map(Base64::encode_string),
            thresholds,
            keys,
            signatures: signatures.to_vec(),
        };
        let plan = self.staged.plan_drafts()?;
        Ok((bundle, plan))
    }

    /// Merges the signatures of a bundle into the draft they were made over. Each is verified; what is not taken is
    /// reported with its reason.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn import(&mut self, bundle: &Bundle, imported: &mut Imported) -> Result<(), RepositoryError> {
        let payload = bundle.payload()?;
        let (role, version) = (bundle.role.clone(), bundle.version);
        if self.staged.graph().contains(&role) {
            self.staged.read_bin(&role)?;
        }
        if self.staged.role(&role).is_none() {
            imported.refused.push(format!("there is no role '{role}' here"));
            return Ok(());
        }
        let stale = match self.staged.role(&role).and_then(AnyRole::draft_bytes) {
            Some(drafted) if drafted.bytes == payload => None,
            Some(_) => Some(format!("{role} v{version}: signed over content that is no longer the draft's")),
            None => Some(format!("{role} v{version}: there is no draft of it any more")),
        };
        if let Some(reason) = stale {
            imported.refused.push(reason);
            return Ok(());
        }
        let (taken, refused) = (imported.taken.len(), imported.refused.len());
        let mut there = Vec::new();
        for signature in &bundle.signatures {
            let present = self.staged.role(&role).and_then(AnyRole::draft_bytes);
            if present.is_some_and(|present| present.signatures.contains(signature)) {
                let listed = bundle.keys.iter().find(|listed| listed.keyid == signature.keyid);
                let key = self.keyring().names().in_full(&signature.keyid, listed.map(|listed| &listed.key));
                there.push(format!("{role} v{version}: key {key} has signed already"));
            } else {
                self.import_signature(&role, signature.clone(), imported)?;
            }
        }
        // signatures that were exported come back with every copy; a copy that brings nothing else is a duplicate
        if imported.taken.len() == taken && imported.refused.len() == refused {
            imported.refused.extend(there);
        }
        Ok(())
    }

    /// Merges one signature into a role's draft.
    ///
    /// # Errors
    /// [`InputError::NothingToSign`] where there is no draft.
    pub fn import_signature(
        &mut self,
        role: &RoleName,
        signature: Signature,
        imported: &mut Imported,
    ) -> Result<(), RepositoryError> {
        let verdict = {
            let view = self.staged.effective();
            let graph = view.graph();
            let state = self.staged.role(role).ok_or_else(|| InputError::UnknownRole(role.to_string()))?;
            let draft = state.draft_bytes().zip(state.draft_version());
            let (drafted, version) = draft.ok_or_else(|| InputError::NothingToSign { role: role.clone() })?;
            let (bytes, present) = (drafted.bytes, drafted.signatures);
            let authorities = view.authorities(role, &graph);
            let key = authorities.iter().find_map(|(authority, _)| authority.key(&signature.keyid));
            let keyid = &signature.keyid;
            let shown = self.keyring().names().in_full(keyid, key);
            match key {
                None => Err(format!("{role} v{version}: key {shown} may not sign for it")),
                Some(key) if !is_valid(key, bytes, &signature) => {
                    Err(format!("{role} v{version}: the signature by key {shown} is not valid for the draft"))
                }
                Some(key) if present.iter().any(|old| old.keyid == *keyid && is_valid(key, bytes, old)) => {
                    Err(format!("{role} v{version}: key {shown} has signed already"))
                }
                Some(_) => Ok(version),
            }
        };
        match verdict {
            Err(reason) => imported.refused.push(reason),
            Ok(version) => {
                imported.taken.push((role.clone(), version, signature.keyid.clone()));
                self.staged.known_role(role)?.add_signatures(vec![signature]);
            }
        }
        Ok(())
    }

    /// Refuses metadata made elsewhere that delegates to a name to which others delegate: that role would have to be signed
    /// as both demand, and whoever made the metadata could keep it from ever being written.
    fn refuse_shared_names(&self, role: &RoleName, targets: &Targets) -> Result<(), RepositoryError> {
        let graph = self.staged.graph();
        for name in self.staged.delegated_by(targets) {
            let other = graph.delegators(&name).iter().find(|delegator| *delegator != role);
            let words = match other {
                _ if name == *role || name.is_top_level() => {
                    format!("delegates to '{name}', which no client follows")
                }
                Some(other) => format!("delegates to '{name}', which is a role of '{other}'"),
                None => continue,
            };
            return Err(RepositoryError::Refused { file: role.metapath(), reason: Refusal::Finding(words) });
        }
        Ok(())
    }

    /// Takes in the metadata of a delegated role that was made and signed elsewhere: it becomes the role's draft, if it is
    /// newer than what is written and signed as its delegations demand.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`], [`InputError`].
    pub fn import_metadata(
        &mut self,
        role: &RoleName,
        bytes: &[u8],
        imported: &mut Imported,
    ) -> Result<(), RepositoryError> {
        if role.is_top_level() {
            return Err(InputError::NotDelegated { role: role.clone() }.into());
        }
        let file = role.metapath();
        let refused = |reason: Refusal| RepositoryError::Refused { file: file.clone(), reason };
        let metadata = Metadata::<Targets>::from_bytes(bytes).map_err(|error| refused(error.into()))?;
        let view = self.staged.effective();
        let graph = view.graph();
        for delegator in graph.delegators(role) {
            let authority = view.targets(delegator).and_then(|targets| targets.authority(role));
            let authority = authority.ok_or_else(|| InputError::UnknownRole(role.to_string()))?;
            let result = authority.check(metadata.covered());
            if !result.is_verified() {
                let words = format!(
                    "has {} of {} signatures that '{delegator}' demands",
                    result.signed().len(),
                    result.threshold()
                );
                return Err(refused(Refusal::Finding(words)));
            }
        }
        refuse_unfit(role, metadata.signed())?;
        self.refuse_new_names(role, metadata.signed())?;
        self.refuse_shared_names(role, metadata.signed())?;
        let version = metadata.signed().version;
        let state = self.staged.targets_mut(role).ok_or_else(|| InputError::UnknownRole(role.to_string()))?;
        if version > super::lifetime::MAX_VERSION {
            return Err(InputError::LastVersion { role: role.clone(), version }.into());
        }
        if version <= state.floor {
            let words = format!("is version {version}, and version {} is written", state.floor);
            return Err(refused(Refusal::Finding(words)));
        }
        let keyids = metadata.signatures.iter().map(|signature| signature.keyid.clone());
        imported.taken.extend(keyids.map(|keyid| (role.clone(), version, keyid)));
        let pins = Pins { version: true, expires: true, ..Pins::default() };
        state.draft = Some(super::staged::Draft { metadata, pins, saved: super::staged::Saved::No });
        self.staged.imply_new_bins(&self.policy, self.now)?;
        self.staged.imply_named_roles(&self.policy, self.now)
    }
}
