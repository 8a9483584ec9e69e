//! The metadata model of the TUF specification 1.0.34, section 4: pure data, no I/O and no clock.
//!
//! What is read here is well-formed, not yet trusted: see [`crate::verify`].

mod key;

pub use key::{Key, KeyId};

/// Members of a JSON object that this crate does not know; they survive a round trip.
pub type Extra = serde_json::Map<String, serde_json::Value>;
