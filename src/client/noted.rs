//! A note beside the trusted metadata: which targets file was verified, under which root and snapshot.
//!
//! It spares an update that finds nothing new the reading of metadata that may be large. Nothing is trusted because of
//! it: whoever asks for a target reads the file and verifies it. It lies where `root.json` lies; who can write it could
//! as well replace the root.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// What the system knows of a file; any change of the file changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    pub length: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    /// The same of the last change of any kind, which no program can set.
    pub changed: (i64, i64),
}

/// Targets metadata that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotedTargets {
    pub root: Digest,
    pub snapshot: Digest,
    pub file: FileIdentity,
    pub version: u64,
    /// The expiry in seconds of the epoch, rounded down.
    pub expires: i64,
}

impl NotedTargets {
    /// Reads a note; other bytes count as no note.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Writes the note.
    pub fn to_bytes(&self) -> Vec<u8> {
        // plain numbers and text; nothing in it can fail, and no note is a note too
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Tells whether the note is about what this root and this snapshot say.
    pub fn holds(&self, root: &Digest, snapshot: &Digest) -> bool {
        self.root == *root && self.snapshot == *snapshot
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(serde::de::Error::custom)?;
        Ok(Self(digest))
    }
}
