//! Keys at work: signatures are made and checked here, and keys are read and written.
//!
//! [`verify_signature`] and [`Signer`] work on plain bytes and know nothing of roles, thresholds or files:
//! what is signed is decided in [`crate::metadata`] and how many signatures are enough by the verifier. A
//! public key enters as a metadata [`Key`](crate::metadata::Key), a private one as PEM.

mod error;
mod fingerprint;
mod password;
mod pem;
mod pkcs8_file;
mod private_key;
mod public_key;
mod scheme;
mod signer;
#[cfg(test)]
mod test_vectors;
mod verify;

pub use error::KeyError;
pub use fingerprint::{Fingerprint, fingerprint};
pub use password::Password;
pub use pkcs8_file::{is_encrypted, is_private};
pub use private_key::{KeyType, PrivateKey};
pub use public_key::{public_key_from_pem, public_key_to_pem, rsa_bits};
pub use signer::{SignError, Signer};
pub use verify::{SignatureError, verify_signature};

/// The shortest RSA modulus that is accepted anywhere, in bits.
pub const MIN_RSA_BITS: usize = 2048;

/// The longest RSA modulus that is accepted anywhere, in bits: a foreign key must not cost a verifier seconds.
pub const MAX_RSA_BITS: usize = 16384;
