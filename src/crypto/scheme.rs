//! The signature schemes this crate computes, by their names in metadata (specification 4.2).

/// A signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Ed25519,
    RsaPssSha256,
    RsaPkcs1v15Sha256,
    EcdsaP256Sha256,
    EcdsaP384Sha384,
}

impl Scheme {
    /// Finds a scheme by its name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ed25519" => Self::Ed25519,
            "rsassa-pss-sha256" => Self::RsaPssSha256,
            "rsa-pkcs1v15-sha256" => Self::RsaPkcs1v15Sha256,
            "ecdsa-sha2-nistp256" => Self::EcdsaP256Sha256,
            "ecdsa-sha2-nistp384" => Self::EcdsaP384Sha384,
            _ => return None,
        })
    }

    /// Tells whether metadata may name this scheme for a key type. The types `ecdsa-sha2-…` stand in older
    /// repositories.
    pub(super) fn suits(self, keytype: &str) -> bool {
        match self {
            Self::Ed25519 => keytype == "ed25519",
            Self::RsaPssSha256 | Self::RsaPkcs1v15Sha256 => keytype == "rsa",
            Self::EcdsaP256Sha256 => matches!(keytype, "ecdsa" | "ecdsa-sha2-nistp256"),
            Self::EcdsaP384Sha384 => matches!(keytype, "ecdsa" | "ecdsa-sha2-nistp384"),
        }
    }
}
