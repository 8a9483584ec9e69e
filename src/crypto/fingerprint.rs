//! One key, one fingerprint: the identity of a key apart from the names that metadata gives it.

use std::fmt;

use sha2::{Digest, Sha256};

use super::public_key::PublicKey;
use super::read_keys;
use crate::metadata::Key;

/// The identity of a public key, under any id, scheme or spelling in metadata: SHA-256 over its
/// SubjectPublicKeyInfo in DER, points uncompressed.
///
/// One key under two ids counts once towards a threshold, and a private key finds its metadata key though
/// the id there was computed by other rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", hex::encode(self.0))
    }
}

/// Computes the fingerprint of a key; none where its type is unknown or the key is malformed.
pub fn fingerprint(key: &Key) -> Option<Fingerprint> {
    read_keys::read(key).ok()?.fingerprint
}

impl Fingerprint {
    pub(super) fn of(public: &PublicKey) -> Option<Self> {
        let der = public.to_spki().ok()?;
        Some(Self(Sha256::digest(der.as_bytes()).into()))
    }

    /// Returns the fingerprint as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_vectors::*;
    use super::*;

    fn of(keytype: &str, scheme: &str, public: &str) -> Option<Fingerprint> {
        fingerprint(&Key::new(keytype, scheme, public))
    }

    #[test]
    fn is_one_for_all_spellings_of_a_key() {
        let p256 = of("ecdsa", "ecdsa-sha2-nistp256", P256_PUBLIC);
        assert!(p256.is_some());
        for spelling in [P256_POINT, P256_POINT_LONG, &P256_POINT.to_uppercase(), P256_PUBLIC.trim_end()] {
            assert_eq!(of("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", spelling), p256, "{spelling}");
        }
        let p384 = of("ecdsa", "ecdsa-sha2-nistp384", P384_PUBLIC);
        assert!(p384.is_some());
        assert_eq!(of("ecdsa", "ecdsa-sha2-nistp384", P384_POINT), p384);

        let rsa = of("rsa", "rsassa-pss-sha256", RSA_PUBLIC);
        assert!(rsa.is_some());
        for spelling in [RSA_PUBLIC_PKCS1, &RSA_PUBLIC.replace('\n', "\r\n")] {
            assert_eq!(of("rsa", "rsa-pkcs1v15-sha256", spelling), rsa, "{spelling}");
        }

        let ed25519 = of("ed25519", "ed25519", ED25519_PUBLIC);
        assert!(ed25519.is_some());
        assert_eq!(of("ed25519", "ed25519", &ED25519_PUBLIC.to_uppercase()), ed25519);
    }

    #[test]
    fn does_not_depend_on_the_scheme() {
        assert_eq!(of("rsa", "rsassa-pss-sha512", RSA_PUBLIC), of("rsa", "rsassa-pss-sha256", RSA_PUBLIC));
    }

    #[test]
    fn is_none_for_unknown_and_malformed_keys() {
        assert_eq!(of("sphincs", "sphincs", ED25519_PUBLIC), None);
        assert_eq!(of("ed25519", "ed25519", "00"), None);
        assert_eq!(of("rsa", "rsassa-pss-sha256", RSA_1024_PUBLIC), None);
    }

    #[test]
    fn tells_keys_apart() {
        let mut all = [
            of("ed25519", "ed25519", ED25519_PUBLIC),
            of("rsa", "rsassa-pss-sha256", RSA_PUBLIC),
            of("ecdsa", "ecdsa-sha2-nistp256", P256_PUBLIC),
            of("ecdsa", "ecdsa-sha2-nistp384", P384_PUBLIC),
        ];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
