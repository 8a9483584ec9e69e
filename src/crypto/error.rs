//! Why a key is refused. The texts never quote what a key file holds.

use super::{MAX_RSA_BITS, MIN_RSA_BITS};

/// Why a key cannot be read, made or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The private key is encrypted and no password was given.
    #[error("the private key is encrypted and needs a password")]
    PasswordNeeded,
    /// Decryption gave no key. A file that was damaged after it was encrypted looks the same.
    #[error("the password does not open the private key")]
    WrongPassword,
    /// The bytes are not a private key, or a damaged one.
    #[error("not a private key: {reason}")]
    NotAPrivateKey {
        /// What is missing or wrong.
        reason: &'static str,
    },
    /// The bytes are not a public key, or a damaged one.
    #[error("not a public key: {reason}")]
    NotAPublicKey {
        /// What is missing or wrong.
        reason: &'static str,
    },
    /// The key may be sound, but this crate does not work with its kind or its container.
    #[error("{what} is not supported")]
    Unsupported {
        /// What it is, with its object identifier where it has one.
        what: String,
    },
    /// The modulus of an RSA key is too short to be safe or too long to be handled.
    #[error("an RSA key of {bits} bits is refused, its length must be {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")]
    RsaBits {
        /// The length of the modulus, in bits.
        bits: usize,
    },
    /// The operating system's source of randomness failed.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// The key is kept elsewhere, by a device or another program, which does not let it be used.
    #[error("{reason}")]
    OutOfReach {
        /// What happened there.
        reason: String,
    },
    /// A key could not be made or put into its container.
    #[error("the key could not be written: {reason}")]
    NotWritten {
        /// The step that failed.
        reason: &'static str,
    },
}
