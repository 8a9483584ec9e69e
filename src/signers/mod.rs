//! Keys that are not in a file: another program's, an agent's, a token's.
//!
//! Each kind is found by what names it, tells its public half, and then is a [`Signer`](crate::crypto::Signer). Nothing
//! here asks a person or trusts an answer: who uses a signature verifies it first.

mod ecdsa;
pub mod exec;
pub mod pkcs11;
#[cfg(unix)]
pub mod ssh_agent;
pub mod token_uri;

use crate::crypto::KeyError;

/// Makes the error of a key that its keeper does not let be used.
fn out_of_reach(reason: impl Into<String>) -> KeyError {
    KeyError::OutOfReach { reason: reason.into() }
}
