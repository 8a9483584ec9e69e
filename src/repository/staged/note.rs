//! What the file of a draft says beside its metadata: what a person has set by hand, and what the draft was made upon.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::history::sha256;
use super::state::{Pins, RoleState};
use crate::metadata::{Metadata, ParseError, Signed};

/// The member of a draft's file, beside `signatures` and `signed`, that holds its [`Note`].
pub(super) const NOTE: &str = "draft";

/// What was written when a draft was made: the SHA-256 of the signed part, `nothing`, or `unread N`. Version control puts drafts
/// and written metadata together that were never together, and a version alone does not show that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Base(String);

/// No version of the role was written.
const NOTHING: &str = "nothing";
/// Before the highest version that was used: its file could not be read, since it was missing or damaged, or the role revoked.
const UNREAD: &str = "unread ";

impl Base {
    fn of<T: Signed>(written: &Metadata<T>) -> Self {
        Self(hex::encode(sha256(written.signed_bytes())))
    }

    /// Returns what a draft of a role is made upon now. `None` for what is derived from other roles, and for the first root.
    pub(super) fn now<T: Signed>(state: &RoleState<T>) -> Option<Self> {
        if !is_work::<T>() {
            return None;
        }
        match &state.written {
            Some(written) => Some(Self::of(written)),
            // nobody chooses the version of the first root: it need not say so, and is the file that people hand to clients
            None if T::TYPE == "root" => None,
            None if state.floor == 0 => Some(Self(NOTHING.to_owned())),
            None => Some(Self(format!("{UNREAD}{}", state.floor))),
        }
    }

    /// Tells whether a draft that was made upon this goes on from what is written now. Of what cannot be read no higher version
    /// may be listed than then.
    pub(super) fn is_base_of<T: Signed>(&self, state: &RoleState<T>) -> bool {
        match &state.written {
            Some(written) => *self == Self::of(written),
            None if self.0 == NOTHING => state.floor == 0,
            None => {
                let used = self.0.strip_prefix(UNREAD).and_then(|version| version.parse::<u64>().ok());
                used.is_some_and(|used| state.floor <= used)
            }
        }
    }
}

/// Tells whether people edit metadata of a kind: snapshots and timestamps are derived.
pub(super) fn is_work<T: Signed>() -> bool {
    matches!(T::TYPE, "root" | "targets")
}

/// What a draft's file says beside its metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// What is set by hand.
    #[serde(flatten)]
    pub(super) pins: Pins,
    /// What the draft was made upon, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_upon: Option<Base>,
}

impl Note {
    /// Returns what the file says; nothing where there is nothing to note.
    pub(super) fn to_value(&self) -> Option<Value> {
        (*self != Self::default()).then(|| serde_json::to_value(self).unwrap_or(Value::Null))
    }

    /// Reads the note beside a draft's metadata; a draft without one has nothing set by hand.
    ///
    /// # Errors
    /// [`ParseError::Malformed`] for a note that no release of this program writes.
    pub(super) fn read<T: Signed>(note: Option<&[u8]>) -> Result<Self, ParseError> {
        let Some(note) = note else { return Ok(Self::default()) };
        let malformed = |error: serde_json::Error| format!("'{NOTE}' says what no draft does: {error}");
        serde_json::from_slice(note)
            .map_err(|error| ParseError::Malformed { kind: T::TYPE, reason: malformed(error) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Targets;

    #[test]
    fn a_note_says_what_is_set_by_hand_and_what_the_draft_was_made_upon() {
        let pins = Pins { version: true, ..Pins::default() };
        let note = Note { pins, made_upon: Some(Base("nothing".to_owned())) };
        let value = note.to_value().unwrap();
        assert_eq!(value, serde_json::json!({"made_upon": "nothing", "version": true}));
        assert_eq!(Note::read::<Targets>(Some(value.to_string().as_bytes())).unwrap(), note);
        assert_eq!(Note::default().to_value(), None);
        assert_eq!(Note::read::<Targets>(None).unwrap(), Note::default());
    }

    #[test]
    fn a_note_that_cannot_be_read_is_not_taken_for_none() {
        for note in ["1", "{\"made_upon\": 1}", "{\"version\": \"yes\"}"] {
            assert!(Note::read::<Targets>(Some(note.as_bytes())).is_err(), "{note}");
        }
    }
}
