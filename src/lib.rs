//! The Update Framework: a repository's maker and its client.
//!
//! [`metadata`] is the model, [`canonical`] the bytes to sign, [`crypto`] the keys, [`verify`] the checks and
//! [`trusted_set`] the client's workflow as a pure state. [`repository`] is the maintainer's side, [`client`]
//! the consumer's; both decide by [`trusted_set`]. [`signers`] are the keys that are not in a file.

pub mod canonical;
pub mod cli;
pub mod client;
pub mod crypto;
pub mod metadata;
pub mod repository;
pub mod signers;
pub mod storage;
mod tls;
pub mod trusted_set;
pub mod verify;
