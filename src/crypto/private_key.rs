//! Private keys in memory: made here or read from a file, they sign.

use std::fmt;

use ed25519_dalek::SigningKey as Ed25519Key;
use getrandom::SysRng;
use p256::ecdsa::{DerSignature as P256Signature, SigningKey as P256Key};
use p256::elliptic_curve::Generate;
use p384::ecdsa::{DerSignature as P384Signature, SigningKey as P384Key};
use rsa::rand_core::UnwrapErr;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha2::{Digest, Sha256};
use signature::Signer as _;
use zeroize::Zeroizing;

use super::ed25519;
use super::error::KeyError;
use super::public_key::PublicKey;
use super::scheme::Scheme;
use super::signer::{SignError, Signer};
use super::{MAX_RSA_BITS, MIN_RSA_BITS};
use crate::metadata::Key;

/// The kinds of keys that [`PrivateKey::generate`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA with two primes and the exponent 65537.
    Rsa {
        /// The length of the modulus, in bits.
        bits: usize,
    },
    /// ECDSA on the curve NIST P-256.
    EcdsaP256,
    /// ECDSA on the curve NIST P-384.
    EcdsaP384,
}

/// A private key in memory. Its bytes are overwritten when it is dropped.
pub struct PrivateKey {
    pub(super) secret: Secret,
    public: Key,
}

pub(super) enum Secret {
    Ed25519(Box<Ed25519Key>),
    Rsa(Box<RsaPrivateKey>),
    P256(Box<P256Key>),
    P384(Box<P384Key>),
}

impl PrivateKey {
    /// Makes a new key. An RSA key takes a second or so, and minutes beyond 8192 bits.
    ///
    /// # Errors
    /// [`KeyError::RsaBits`] for a length that is not permitted, [`KeyError::NoRandomness`] where the
    /// operating system gives none.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        let secret = match kind {
            KeyType::Ed25519 => {
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(&mut *seed).map_err(|_| KeyError::NoRandomness)?;
                Secret::Ed25519(Box::new(Ed25519Key::from_bytes(&seed)))
            }
            KeyType::Rsa { bits } => Secret::Rsa(Box::new(generate_rsa(bits)?)),
            KeyType::EcdsaP256 => {
                let key = P256Key::try_generate_from_rng(&mut SysRng).map_err(|_| KeyError::NoRandomness)?;
                Secret::P256(Box::new(key))
            }
            KeyType::EcdsaP384 => {
                let key = P384Key::try_generate_from_rng(&mut SysRng).map_err(|_| KeyError::NoRandomness)?;
                Secret::P384(Box::new(key))
            }
        };
        Self::of(secret)
    }

    pub(super) fn of(secret: Secret) -> Result<Self, KeyError> {
        let public = match &secret {
            Secret::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            Secret::Rsa(key) => PublicKey::Rsa(Box::new(key.to_public_key())),
            Secret::P256(key) => PublicKey::P256(*key.verifying_key()),
            Secret::P384(key) => PublicKey::P384(*key.verifying_key()),
        };
        Ok(Self { public: public.to_key()?, secret })
    }
}

fn generate_rsa(bits: usize) -> Result<RsaPrivateKey, KeyError> {
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(KeyError::RsaBits { bits });
    }
    // The generator below panics where there is no randomness: a system without any is met here instead.
    getrandom::u64().map_err(|_| KeyError::NoRandomness)?;
    RsaPrivateKey::new(&mut UnwrapErr(SysRng), bits)
        .map_err(|_| KeyError::NotWritten { reason: "no RSA key came out of the generator" })
}

impl Signer for PrivateKey {
    fn is_concurrent(&self) -> bool {
        true
    }

    fn public_key(&self) -> &Key {
        &self.public
    }

    /// Signs bytes. PSS has a salt of 32 bytes, as securesystemslib's has; ECDSA is deterministic (RFC 6979).
    fn sign(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match (&self.secret, Scheme::named(scheme)) {
            (Secret::Ed25519(key), Some(Scheme::Ed25519)) => {
                ed25519::sign(key, message).map(|signature| signature.to_vec()).map_err(failed)
            }
            (Secret::Rsa(key), Some(Scheme::RsaPssSha256)) => {
                key.sign(Pss::<Sha256>::new_blinded(), &Sha256::digest(message)).map_err(failed)
            }
            (Secret::Rsa(key), Some(Scheme::RsaPkcs1v15Sha256)) => {
                key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)).map_err(failed)
            }
            (Secret::P256(key), Some(Scheme::EcdsaP256Sha256)) => key
                .try_sign(message)
                .map(|signature: P256Signature| signature.as_bytes().to_vec())
                .map_err(failed),
            (Secret::P384(key), Some(Scheme::EcdsaP384Sha384)) => key
                .try_sign(message)
                .map(|signature: P384Signature| signature.as_bytes().to_vec())
                .map_err(failed),
            _ => Err(SignError::UnsupportedScheme {
                keytype: self.public.keytype.clone(),
                scheme: scheme.to_owned(),
            }),
        }
    }
}

fn failed(error: impl fmt::Display) -> SignError {
    SignError::Failed { reason: error.to_string() }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.id())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_vectors::*;
    use super::super::verify::{SignatureError, verify_signature};
    use super::*;

    fn all_kinds() -> Vec<PrivateKey> {
        [ED25519_PRIVATE, RSA_PRIVATE, P256_PRIVATE, P384_PRIVATE]
            .map(|pem| PrivateKey::from_pem(pem.as_bytes(), None).unwrap())
            .into()
    }

    const SCHEMES: [&str; 5] =
        ["ed25519", "rsassa-pss-sha256", "rsa-pkcs1v15-sha256", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"];

    #[test]
    fn what_it_signs_verifies_under_its_own_key_only() {
        let mut signed = 0;
        for key in all_kinds() {
            for scheme in SCHEMES {
                let stated = Key { scheme: scheme.into(), ..key.public_key().clone() };
                match key.sign(scheme, b"message") {
                    Ok(signature) => {
                        signed += 1;
                        assert_eq!(verify_signature(&stated, b"message", &signature), Ok(()));
                        let invalid = Err(SignatureError::Invalid);
                        assert_eq!(verify_signature(&stated, b"massage", &signature), invalid);
                        let other = other_key_like(&stated);
                        assert_eq!(verify_signature(&other, b"message", &signature), invalid);
                    }
                    Err(error) => assert!(matches!(error, SignError::UnsupportedScheme { .. }), "{error}"),
                }
            }
        }
        assert_eq!(signed, SCHEMES.len());
    }

    /// Another key of the same type and scheme.
    fn other_key_like(key: &Key) -> Key {
        let kind = match key.scheme.as_str() {
            "ed25519" => KeyType::Ed25519,
            "ecdsa-sha2-nistp256" => KeyType::EcdsaP256,
            "ecdsa-sha2-nistp384" => KeyType::EcdsaP384,
            _ => return Key::new("rsa", &key.scheme, RSA_OTHER_PUBLIC),
        };
        PrivateKey::generate(kind).unwrap().public_key().clone()
    }

    #[test]
    fn refuses_schemes_of_other_types() {
        for key in all_kinds() {
            let keytype = key.public_key().keytype.clone();
            let refused = SignError::UnsupportedScheme { keytype, scheme: "rsassa-pss-sha512".into() };
            assert_eq!(key.sign("rsassa-pss-sha512", b""), Err(refused));
        }
    }

    #[test]
    fn signs_pss_with_a_salt_as_long_as_the_digest() {
        let key = PrivateKey::from_pem(RSA_PRIVATE.as_bytes(), None).unwrap();
        let signature = key.sign("rsassa-pss-sha256", b"message").unwrap();
        let PublicKey::Rsa(public) = PublicKey::of(key.public_key()).unwrap() else { panic!("not RSA") };
        let digest = Sha256::digest(b"message");
        assert!(public.verify(Pss::<Sha256>::new_with_salt(32), &digest, &signature).is_ok());
        assert!(public.verify(Pss::<Sha256>::new_with_salt(31), &digest, &signature).is_err());
    }

    #[test]
    fn signs_ecdsa_deterministically() {
        // RFC 6979, A.2.5: P-256 with SHA-256, message "sample"
        let secret = hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let key = PrivateKey::of(Secret::P256(Box::new(P256Key::from_slice(&secret).unwrap()))).unwrap();
        let expected = "3046\
            022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
            022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
        assert_eq!(hex::encode(key.sign("ecdsa-sha2-nistp256", b"sample").unwrap()), expected);
    }

    #[test]
    fn generates_distinct_keys_of_every_type() {
        for (kind, keytype) in
            [(KeyType::Ed25519, "ed25519"), (KeyType::EcdsaP256, "ecdsa"), (KeyType::EcdsaP384, "ecdsa")]
        {
            let [one, two] = [PrivateKey::generate(kind).unwrap(), PrivateKey::generate(kind).unwrap()];
            assert_eq!(one.public_key().keytype, keytype);
            assert_ne!(one.public_key(), two.public_key());
        }
        let rsa = PrivateKey::generate(KeyType::Rsa { bits: MIN_RSA_BITS }).unwrap();
        let signature = rsa.sign("rsassa-pss-sha256", b"message").unwrap();
        assert_eq!(signature.len() * 8, MIN_RSA_BITS);
        assert_eq!(verify_signature(rsa.public_key(), b"message", &signature), Ok(()));
    }

    #[test]
    fn generates_no_rsa_key_of_unsafe_length() {
        for bits in [0, 1024, 2047, 16385, usize::MAX] {
            let refused = PrivateKey::generate(KeyType::Rsa { bits }).map(|_| ());
            assert_eq!(refused, Err(KeyError::RsaBits { bits }));
        }
    }

    #[test]
    fn shows_its_id_only() {
        let key = PrivateKey::from_pem(ED25519_PRIVATE.as_bytes(), None).unwrap();
        assert_eq!(format!("{key:?}"), format!("PrivateKey({ED25519_ID})"));
    }
}
