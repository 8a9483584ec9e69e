//! The metadata model of the TUF specification 1.0.34, section 4: pure data, no I/O and no clock.
//!
//! What is read here is well-formed, not yet trusted: see [`crate::verify`].

mod envelope;
mod hashes;
mod key;
mod meta_map;
mod role_name;
mod roles;
mod target_map;
mod target_path;
mod targets;
mod text_map;
mod threshold;
pub mod time;

use serde::{Deserialize, Deserializer};

pub use envelope::{Covered, FileText, Metadata, ParseError, Proofs, Signature};
pub use hashes::{Algorithm, Computed, Hasher, Hashes, MetaFile, Mismatch, NameDigest};
pub use key::{Key, KeyId};
pub use meta_map::MetaMap;
pub use role_name::{RoleName, RoleNameError, TOP_LEVEL};
pub use roles::{RoleKeys, Root, Signed, Snapshot, Timestamp};
pub use target_map::TargetMap;
pub(crate) use target_map::{PlainFile, write_plain_entry};
pub use target_path::{
    Steps, TargetPath, TargetPathError, path_hash, pattern_matches, pattern_matches_within,
};
pub use targets::{DelegatedRole, Delegations, SuccinctRoles, TargetFile, Targets};
pub(crate) use text_map::Incoming;
pub use text_map::{Listed, TextMap};
pub use threshold::Threshold;

/// The version of the specification that new metadata states.
pub const SPEC_VERSION: &str = "1.0.34";

/// Members of a JSON object that this crate does not know; they survive a round trip.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// The highest version or threshold that is read: what a signed integer of 64 bits holds, as other implementations
/// have it, so that a next one always exists.
pub const MAX_NUMBER: u64 = i64::MAX as u64;

/// Text of a JSON file, copied only where it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

/// Reads a version or a threshold: an integer of at least 1.
fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if (1..=MAX_NUMBER).contains(&number) {
        return Ok(number);
    }
    Err(serde::de::Error::custom(format!("{number} where an integer from 1 to {MAX_NUMBER} belongs")))
}

/// A version or a threshold as it is read.
#[derive(Deserialize)]
struct Positive(#[serde(deserialize_with = "positive")] u64);
