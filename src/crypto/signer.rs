//! What makes signatures, wherever the private key lives.

use crate::metadata::Key;

/// A private key that can be asked for signatures: in memory, or behind a device or an agent.
pub trait Signer: Send + Sync {
    /// Returns the public half, with the default scheme of its type.
    fn public_key(&self) -> &Key;

    /// Tells whether many signatures may be asked for at a time, from many threads: not so where a device or a program makes
    /// them.
    fn is_concurrent(&self) -> bool {
        false
    }

    /// Signs bytes by a scheme, named as the metadata's key names it.
    ///
    /// # Errors
    /// [`SignError::UnsupportedScheme`] where the key cannot sign so, [`SignError::Failed`] where it should.
    fn sign(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Signs bytes as [`sign`](Self::sign) does, telling a signer that wants to know what the signature is for.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    fn sign_for(&self, _occasion: Occasion<'_>, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign(scheme, message)
    }
}

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion<'a> {
    /// The name of the role that is signed.
    pub role: &'a str,
    /// The id under which the metadata lists the key.
    pub keyid: &'a str,
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The scheme is unknown or is not one of this type of key.
    #[error("a key of type {keytype:?} cannot sign by the scheme {scheme:?}")]
    UnsupportedScheme {
        /// The type of the key.
        keytype: String,
        /// The scheme asked for.
        scheme: String,
    },
    /// The key could not be used this time.
    #[error("signing failed: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
}
