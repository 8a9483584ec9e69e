//! A hash bin's state in little memory: the bytes that signatures cover, without the model of what they say.
//!
//! A repository may have tens of thousands of bins with a million targets, and hardly anything asks what they list:
//! signing, writing and counting need the bytes, the version, the expiry and the signatures.

use chrono::{DateTime, Utc};

use super::state::{AnyRole, Draft, NOTE, Pins, RoleState};
use crate::canonical::{self, CanonicalError};
use crate::metadata::{Metadata, ParseError, Signature, Signed, Targets, file_bytes};

/// Metadata whose content is kept as the bytes that signatures cover.
#[derive(Debug, Clone, PartialEq)]
struct Packed {
    version: u64,
    expires: DateTime<Utc>,
    signatures: Vec<Signature>,
    signed: Vec<u8>,
}

impl Packed {
    fn new(metadata: &Metadata<Targets>) -> Self {
        Self {
            version: metadata.signed().version,
            expires: metadata.signed().expires,
            signatures: metadata.signatures.clone(),
            signed: metadata.signed_bytes().to_vec(),
        }
    }

    fn unpacked(&self) -> Result<Metadata<Targets>, ParseError> {
        let mut metadata = from_signed_bytes(&self.signed)?;
        metadata.signatures.clone_from(&self.signatures);
        Ok(metadata)
    }
}

/// Reads metadata from the bytes that signatures cover.
///
/// # Errors
/// [`ParseError`].
pub fn from_signed_bytes<T: Signed>(signed: &[u8]) -> Result<Metadata<T>, ParseError> {
    let mut json = b"{\"signatures\":[],\"signed\":".to_vec();
    // canonical text becomes JSON by its control characters being escaped
    match signed.iter().any(|byte| *byte < b' ') {
        true => json.extend_from_slice(&canonical::pretty(signed)),
        false => json.extend_from_slice(signed),
    }
    json.push(b'}');
    Metadata::from_bytes(&json)
}

/// What is written and what is drafted of a hash bin.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedRole {
    written: Option<Packed>,
    draft: Option<(Packed, Pins)>,
    floor: u64,
    /// Whether the draft's file says something else, or is not there.
    unsaved: bool,
}

impl PackedRole {
    /// Packs a state; `unsaved` tells whether the draft's file says something else.
    pub(super) fn new(state: &RoleState<Targets>, unsaved: bool) -> Self {
        Self {
            written: state.written.as_ref().map(Packed::new),
            draft: state.draft.as_ref().map(|draft| (Packed::new(&draft.metadata), draft.pins)),
            floor: state.floor,
            unsaved,
        }
    }

    /// Returns the state with its content.
    ///
    /// # Errors
    /// [`ParseError`]; what was packed had been read, so that this cannot fail.
    pub(super) fn unpacked(&self) -> Result<RoleState<Targets>, ParseError> {
        let draft = |(draft, pins): &(Packed, Pins)| {
            Ok::<_, ParseError>(Draft { metadata: draft.unpacked()?, pins: *pins })
        };
        Ok(RoleState {
            written: self.written.as_ref().map(Packed::unpacked).transpose()?,
            draft: self.draft.as_ref().map(draft).transpose()?,
            floor: self.floor,
        })
    }

    /// Tells whether the draft's file says something else, or is not there.
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// Changes the state by way of its content.
    fn change<R>(
        &mut self,
        change: impl FnOnce(&mut RoleState<Targets>) -> Result<R, CanonicalError>,
    ) -> Result<R, CanonicalError> {
        let mut state = self.unpacked().map_err(|error| match error {
            ParseError::Canonical(error) => error,
            _ => CanonicalError::Syntax { offset: 0, expected: "targets metadata" },
        })?;
        let result = change(&mut state)?;
        let changed = Self::new(&state, true);
        if changed.draft != self.draft {
            *self = changed;
        }
        Ok(result)
    }
}

impl AnyRole for PackedRole {
    fn written_version(&self) -> Option<u64> {
        self.written.as_ref().map(|written| written.version)
    }

    fn draft_version(&self) -> Option<u64> {
        self.draft.as_ref().map(|(draft, _)| draft.version)
    }

    fn next_version(&self) -> u64 {
        self.floor + 1
    }

    fn expires(&self) -> Option<DateTime<Utc>> {
        self.draft.as_ref().map(|(draft, _)| draft).or(self.written.as_ref()).map(|packed| packed.expires)
    }

    fn written_expires(&self) -> Option<DateTime<Utc>> {
        self.written.as_ref().map(|written| written.expires)
    }

    fn draft_bytes(&self) -> Option<(&[u8], &[Signature])> {
        self.draft.as_ref().map(|(draft, _)| (draft.signed.as_slice(), draft.signatures.as_slice()))
    }

    fn written_bytes(&self) -> Option<(&[u8], &[Signature])> {
        self.written.as_ref().map(|written| (written.signed.as_slice(), written.signatures.as_slice()))
    }

    fn add_signatures(&mut self, signatures: Vec<Signature>) {
        if let Some((draft, _)) = &mut self.draft {
            super::state::add_signatures(&mut draft.signatures, signatures);
            self.unsaved = true;
        }
    }

    fn draft_as_written(&self) -> Result<Option<Vec<u8>>, CanonicalError> {
        let file = |(draft, _): &(Packed, Pins)| file_bytes(&draft.signatures, &draft.signed, None);
        self.draft.as_ref().map(file).transpose()
    }

    fn draft_file(&self) -> Result<Option<Vec<u8>>, CanonicalError> {
        let Some((draft, pins)) = &self.draft else { return Ok(None) };
        let note = pins.to_value();
        file_bytes(&draft.signatures, &draft.signed, note.as_ref().map(|note| (NOTE, note))).map(Some)
    }

    fn pins(&self) -> Pins {
        self.draft.as_ref().map(|(_, pins)| *pins).unwrap_or_default()
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
        self.change(|state| state.bump(expires, version, pins))
    }

    fn pin_expiry(&mut self, expires: DateTime<Utc>) -> Result<bool, CanonicalError> {
        self.change(|state| state.pin_expiry(expires))
    }
}
