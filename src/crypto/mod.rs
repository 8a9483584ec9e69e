//! Keys at work: signatures are made and checked here, and keys are read and written.
//!
//! [`verify_signature`] and [`Signer`] work on plain bytes and know nothing of roles, thresholds or files:
//! what is signed is decided in [`crate::metadata`] and how many signatures are enough by the verifier. A
//! public key enters as a metadata [`Key`](crate::metadata::Key), a private one as the bytes of a key file.

mod container;
mod ed25519;
mod error;
mod fingerprint;
#[cfg(test)]
mod legacy_vectors;
mod password;
mod pem;
mod pkcs8_file;
mod private_key;
mod public_key;
mod read_keys;
mod scheme;
mod securesystemslib;
mod signer;
#[cfg(test)]
mod test_vectors;
mod traditional;
mod verify;

pub use container::{is_encrypted, is_private, read_public_key};
pub use error::KeyError;
pub use fingerprint::{Fingerprint, fingerprint};
pub use password::Password;
pub use private_key::{KeyType, PrivateKey};
pub use public_key::{public_key_from_pem, public_key_to_pem, respelled, rsa_bits};
pub use signer::{Occasion, SignError, Signer};
pub(crate) use verify::verify_made;
pub use verify::{SignatureError, verify_signature};

/// The shortest RSA modulus that is accepted anywhere, in bits.
pub const MIN_RSA_BITS: usize = 2048;

/// The longest RSA modulus that is accepted anywhere, in bits: a foreign key must not cost a verifier seconds.
pub const MAX_RSA_BITS: usize = 16384;

/// The most iterations of PBKDF2 that a key file may ask for: about a minute.
const MAX_PBKDF2_ITERATIONS: u32 = 50_000_000;
