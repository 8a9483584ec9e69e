//! One role: what is written of it, what is drafted, and what may be done with either. All kinds of roles are alike here.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::note::{Base, NOTE, Note};
use crate::canonical::CanonicalError;
use crate::metadata::{Covered, FileText, KeyId, Metadata, Signature, Signed};

/// What of a draft a person has set by hand, so that it is not derived again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// `bump`: the draft stays although it changes nothing, with its version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub version: bool,
    /// `expire`: the expiry is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expires: bool,
    /// A manifest listed targets whose files need not be here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

impl Pins {
    /// Tells whether the version or the expiry is set by hand.
    pub fn any(self) -> bool {
        self.version || self.expires
    }
}

/// What the file of a draft says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// What the draft says.
    Whole,
    /// The same, but for signatures that were added since.
    WithoutSignatures,
    /// Something else, or there is no file.
    No,
    /// There is no file, and need be none: that of a new hash bin in which nothing is listed yet.
    Implied,
}

/// An edit that is not yet complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft<T> {
    /// The metadata with the signatures it has so far.
    pub metadata: Metadata<T>,
    /// What is set by hand.
    pub pins: Pins,
    /// What its file says.
    pub saved: Saved,
}

impl<T: Signed> Draft<T> {
    /// Adds the signatures over the same bytes that another copy has, where there is none by their keys.
    pub(super) fn take_signatures_of(&mut self, other: Metadata<T>) {
        let known: BTreeSet<&KeyId> =
            self.metadata.signatures.iter().map(|signature| &signature.keyid).collect();
        let mut more = other.signatures;
        more.retain(|signature| !known.contains(&signature.keyid));
        self.add_signatures(more);
    }

    fn add_signatures(&mut self, signatures: Vec<Signature>) {
        if signatures.is_empty() {
            return;
        }
        add_signatures(&mut self.metadata.signatures, signatures);
        self.saved = match self.saved {
            Saved::Whole => Saved::WithoutSignatures,
            Saved::Implied => Saved::No,
            saved => saved,
        };
    }

    /// Sets by hand what is not to be derived again.
    pub fn pin(&mut self, pins: Pins) {
        if self.pins != pins {
            self.pins = pins;
            self.saved = Saved::No;
        }
    }
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
    pub(super) fn new(written: Option<Metadata<T>>) -> Self {
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

    /// Makes the draft what is written.
    pub(super) fn promote(&mut self) {
        if let Some(Draft { metadata, .. }) = self.draft.take() {
            self.floor = self.floor.max(metadata.signed().version());
            self.written = Some(metadata);
        }
    }

    /// Puts a draft in place, unsigned.
    ///
    /// # Errors
    /// [`CanonicalError`] where `custom` or unknown members hold what canonical JSON refuses.
    pub fn set_draft(&mut self, signed: T, pins: Pins) -> Result<(), CanonicalError> {
        self.draft = Some(Draft { metadata: Metadata::unsigned(signed)?, pins, saved: Saved::No });
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
    /// Returns what the file of the draft says.
    fn draft_saved(&self) -> Option<Saved>;
    /// Returns the bytes to sign and the signatures of the draft.
    fn draft_bytes(&self) -> Option<Covered<'_>>;
    /// Returns the bytes that were signed and the signatures of the written metadata.
    fn written_bytes(&self) -> Option<Covered<'_>>;
    /// Tells whether a file says what was read of the written metadata, signatures included.
    fn is_written(&self, file: &[u8]) -> bool;
    /// Adds signatures to the draft, replacing those by the same key ids; signatures stay sorted by key id.
    fn add_signatures(&mut self, signatures: Vec<Signature>);
    /// Returns the draft as the file it will be when it is written.
    ///
    /// # Errors
    /// [`CanonicalError`] where a signature's unknown members hold what canonical JSON refuses.
    fn draft_as_written(&self) -> Result<Option<Vec<u8>>, CanonicalError>;
    /// Returns the draft as its file in the drafts folder, to be laid out.
    ///
    /// # Errors
    /// As [`AnyRole::draft_as_written`].
    fn draft_file(&self) -> Result<Option<FileText>, CanonicalError>;
    /// Returns what of the draft is set by hand.
    fn pins(&self) -> Pins;
    /// Drops the draft.
    fn drop_draft(&mut self);
    /// Has a draft that is implied saved: it is to stay as it is, to the byte.
    fn keep_draft(&mut self);
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
    /// Has the role written again although nothing else changes: the draft, or a copy of what is written, with the next
    /// version, to expire at a time. A draft that expires then or later, or later than `enough`, stays as it is.
    ///
    /// # Errors
    /// As [`RoleState::set_draft`].
    fn renew(&mut self, expires: DateTime<Utc>, enough: Option<DateTime<Utc>>) -> Result<(), CanonicalError>;
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

    fn draft_saved(&self) -> Option<Saved> {
        self.draft.as_ref().map(|draft| draft.saved)
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

    fn draft_bytes(&self) -> Option<Covered<'_>> {
        self.draft.as_ref().map(|draft| draft.metadata.covered())
    }

    fn written_bytes(&self) -> Option<Covered<'_>> {
        self.written.as_ref().map(Metadata::covered)
    }

    fn is_written(&self, file: &[u8]) -> bool {
        let Some(written) = &self.written else { return false };
        // what others have made may be laid out in another way
        let says_the_same = |file: Metadata<T>| {
            file.signed_bytes() == written.signed_bytes() && file.signatures == written.signatures
        };
        written.file(None).is_ok_and(|made| made.is(file))
            || Metadata::from_bytes(file).is_ok_and(says_the_same)
    }

    fn add_signatures(&mut self, signatures: Vec<Signature>) {
        if let Some(draft) = &mut self.draft {
            draft.add_signatures(signatures);
        }
    }

    fn draft_as_written(&self) -> Result<Option<Vec<u8>>, CanonicalError> {
        self.draft.as_ref().map(|draft| draft.metadata.to_bytes()).transpose()
    }

    fn draft_file(&self) -> Result<Option<FileText>, CanonicalError> {
        let Some(draft) = &self.draft else { return Ok(None) };
        // a draft that is read is refused unless it goes on from what is written: that is its base from then on
        let note = Note { pins: draft.pins, made_upon: Base::now(self) }.to_value();
        let file = draft.metadata.file(note.as_ref().map(|note| (NOTE, note)))?;
        Ok(Some(file.for_ourselves()))
    }

    fn pins(&self) -> Pins {
        self.draft.as_ref().map(|draft| draft.pins).unwrap_or_default()
    }

    fn drop_draft(&mut self) {
        self.draft = None;
    }

    fn keep_draft(&mut self) {
        if let Some(draft) = self.draft.as_mut().filter(|draft| draft.saved == Saved::Implied) {
            draft.saved = Saved::No;
        }
    }

    fn bump(
        &mut self,
        expires: DateTime<Utc>,
        version: Option<u64>,
        pins: Pins,
    ) -> Result<bool, CanonicalError> {
        let present = self.pins();
        let pins = Pins {
            version: pins.version || present.version,
            expires: pins.expires || present.expires,
            elsewhere: present.elsewhere,
        };
        let Some(effective) = self.effective() else { return Ok(false) };
        let mut signed = effective.clone();
        let kept = self.draft.as_ref().map(|draft| draft.metadata.signed().version());
        signed.set_version(version.or(kept).unwrap_or(self.floor + 1));
        if self.draft.is_none() {
            signed.set_expires(expires);
        }
        match &mut self.draft {
            Some(draft) if *draft.metadata.signed() == signed => draft.pin(pins),
            _ => self.set_draft(signed, pins)?,
        }
        Ok(true)
    }

    fn renew(&mut self, expires: DateTime<Utc>, enough: Option<DateTime<Utc>>) -> Result<(), CanonicalError> {
        let pins = Pins { version: true, ..self.pins() };
        let Some(draft) = &mut self.draft else { return self.bump(expires, None, pins).map(drop) };
        let mut signed = draft.metadata.signed().clone();
        if signed.expires() >= expires || enough.is_some_and(|enough| signed.expires() > enough) {
            draft.pin(pins);
            return Ok(());
        }
        signed.set_expires(expires);
        // a killed run may have given the version to a file, which says something else
        if signed.version() <= self.floor {
            signed.set_version(self.floor + 1);
        }
        self.set_draft(signed, Pins { expires: false, ..pins })
    }

    fn pin_expiry(&mut self, expires: DateTime<Utc>) -> Result<bool, CanonicalError> {
        let Some(effective) = self.effective() else { return Ok(false) };
        let mut signed = effective.clone();
        signed.set_expires(expires);
        if signed == *effective {
            // what a draft expires on by chance is kept from now on
            let chance = self.draft.as_mut().filter(|draft| !draft.pins.expires);
            return Ok(chance.map(|draft| draft.pin(Pins { expires: true, ..draft.pins })).is_some());
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

/// Adds signatures, replacing those by the same key ids; all stay sorted by key id.
fn add_signatures(all: &mut Vec<Signature>, signatures: Vec<Signature>) {
    let new: BTreeSet<KeyId> = signatures.iter().map(|signature| signature.keyid.clone()).collect();
    all.retain(|signature| !new.contains(&signature.keyid));
    all.extend(signatures);
    all.sort_by(|a, b| a.keyid.cmp(&b.keyid));
    // a foreign id may be that of two keys
    all.dedup_by(|later, first| later.keyid == first.keyid);
}

/// Tells whether metadata differs from what is written in its version only.
pub(super) fn repeats<T: Signed>(signed: &T, written: &T) -> bool {
    let mut numbered = signed.clone();
    numbered.set_version(written.version());
    numbered == *written
}
