//! One signature, one key, some bytes: does it hold?

use ed25519_dalek::{Signature as Ed25519Signature, verify_batch};
use p256::ecdsa::DerSignature as P256Signature;
use p384::ecdsa::DerSignature as P384Signature;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest, Sha256};
use signature::Verifier;

use super::ed25519;
use super::public_key::PublicKey;
use super::read_keys;
use super::scheme::Scheme;
use crate::metadata::Key;

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// This crate does not compute the scheme, or not for keys of this type.
    #[error("the signature scheme {scheme:?} of the key type {keytype:?} is not supported")]
    UnsupportedScheme {
        /// The type of the key.
        keytype: String,
        /// The scheme that the key states.
        scheme: String,
    },
    /// The key cannot verify anything.
    #[error("the key of type {keytype:?} is unusable: {reason}")]
    MalformedKey {
        /// The type of the key.
        keytype: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key did not make this signature over this message.
    #[error("the signature is invalid")]
    Invalid,
}

/// Checks a signature by a key over bytes, by the scheme that the key states.
///
/// RSA-PSS is accepted with any salt length, ECDSA in ASN.1 DER with a high or a low `s`. Ed25519 is RFC 8032
/// less the keys and signatures of small order, which no honest signer makes.
///
/// # Errors
/// [`SignatureError`]: the signature must not count.
pub fn verify_signature(key: &Key, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let scheme = Scheme::named(&key.scheme).filter(|scheme| scheme.suits(&key.keytype)).ok_or_else(|| {
        SignatureError::UnsupportedScheme { keytype: key.keytype.clone(), scheme: key.scheme.clone() }
    })?;
    let malformed = |reason: String| SignatureError::MalformedKey { keytype: key.keytype.clone(), reason };
    let read = read_keys::read(key).map_err(|error| malformed(error.to_string()))?;
    let valid = match (scheme, &read.public) {
        (Scheme::Ed25519, PublicKey::Ed25519(key)) => Ed25519Signature::from_slice(signature)
            .is_ok_and(|signature| ed25519::is_valid(key, message, &signature)),
        (Scheme::RsaPssSha256, PublicKey::Rsa(key)) => verify_pss(key, message, signature),
        (Scheme::RsaPkcs1v15Sha256, PublicKey::Rsa(key)) => {
            key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok()
        }
        (Scheme::EcdsaP256Sha256, PublicKey::P256(key)) => {
            P256Signature::from_bytes(signature).and_then(|signature| key.verify(message, &signature)).is_ok()
        }
        (Scheme::EcdsaP384Sha384, PublicKey::P384(key)) => {
            P384Signature::from_bytes(signature).and_then(|signature| key.verify(message, &signature)).is_ok()
        }
        _ => return Err(malformed("it does not fit its scheme".into())),
    };
    if valid { Ok(()) } else { Err(SignatureError::Invalid) }
}

/// Tells whether all of many signatures by one Ed25519 key, each over a message of its own, are valid; `false` says nothing
/// where there is no such key. For signatures that were made here: many are verified together for less than half of what
/// each alone costs, but a signature whose point has a part of small order, which only who has the private key could make,
/// may pass where [`verify_signature`] refuses it.
pub(crate) fn verify_made(key: &Key, made: &[(&[u8], &[u8])]) -> bool {
    let is_ed25519 =
        Scheme::named(&key.scheme) == Some(Scheme::Ed25519) && Scheme::Ed25519.suits(&key.keytype);
    let Some(read) = read_keys::read(key).ok().filter(|_| is_ed25519) else { return false };
    let PublicKey::Ed25519(public) = &read.public else { return false };
    let signatures: Result<Vec<_>, _> =
        made.iter().map(|(_, signature)| Ed25519Signature::from_slice(signature)).collect();
    let messages: Vec<&[u8]> = made.iter().map(|(message, _)| *message).collect();
    let keys = vec![*public; made.len()];
    !public.is_weak()
        && signatures.is_ok_and(|signatures| verify_batch(&messages, &signatures, &keys).is_ok())
}

/// Verifies with the salt length that the signature has: 32 bytes from most signers, all that fit from others.
fn verify_pss(key: &RsaPublicKey, message: &[u8], signature: &[u8]) -> bool {
    let any_salt = Pss { blinded: true, digest: Sha256::new(), salt_len: None };
    key.verify(any_salt, &Sha256::digest(message), signature).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_vectors::*;
    use super::*;
    use crate::crypto::{KeyType, PrivateKey, Signer};

    /// Every scheme with a key and a signature over [`MESSAGE`] that another implementation made.
    fn foreign_signatures() -> Vec<(Key, Vec<u8>)> {
        [
            ("ed25519", "ed25519", ED25519_PUBLIC, ED25519_SIGNATURE),
            ("rsa", "rsassa-pss-sha256", RSA_PUBLIC, RSA_SIGNATURE),
            ("rsa", "rsassa-pss-sha256", RSA_PUBLIC, RSA_SIGNATURE_LONG_SALT),
            ("rsa", "rsa-pkcs1v15-sha256", RSA_PUBLIC, RSA_SIGNATURE_PKCS1V15),
            ("ecdsa", "ecdsa-sha2-nistp256", P256_PUBLIC, P256_SIGNATURE),
            ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", P256_POINT, P256_SIGNATURE),
            ("ecdsa", "ecdsa-sha2-nistp384", P384_PUBLIC, P384_SIGNATURE),
            ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", P384_POINT_LONG, P384_SIGNATURE),
        ]
        .map(|(keytype, scheme, public, signature)| {
            (Key::new(keytype, scheme, public), hex::decode(signature).unwrap())
        })
        .into()
    }

    #[test]
    fn accepts_what_securesystemslib_signs() {
        for (key, signature) in foreign_signatures() {
            assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &signature), Ok(()), "{key:?}");
        }
    }

    #[test]
    fn refuses_another_message_and_a_changed_length() {
        for (key, signature) in foreign_signatures() {
            let refused = Err(SignatureError::Invalid);
            assert_eq!(verify_signature(&key, b"another message", &signature), refused);
            assert_eq!(
                verify_signature(&key, MESSAGE.as_bytes(), &signature[..signature.len() - 1]),
                refused
            );
            assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &[&signature[..], &[0]].concat()), refused);
            assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &[&[0], &signature[..]].concat()), refused);
            assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &[]), refused);
        }
    }

    #[test]
    fn refuses_a_signature_by_another_scheme_of_the_same_key() {
        let signature = hex::decode(RSA_SIGNATURE_PKCS1V15).unwrap();
        let key = Key::new("rsa", "rsassa-pss-sha256", RSA_PUBLIC);
        assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &signature), Err(SignatureError::Invalid));
    }

    #[test]
    fn refuses_schemes_it_does_not_compute() {
        for (keytype, scheme) in [
            ("rsa", "rsassa-pss-sha512"),
            ("rsa", "ed25519"),
            ("ed25519", "rsassa-pss-sha256"),
            ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"),
            ("sigstore-oidc", "Fulcio"),
            ("", ""),
        ] {
            let refused =
                SignatureError::UnsupportedScheme { keytype: keytype.into(), scheme: scheme.into() };
            assert_eq!(verify_signature(&Key::new(keytype, scheme, RSA_PUBLIC), b"", b""), Err(refused));
        }
    }

    #[test]
    fn refuses_a_key_on_another_curve_than_its_scheme() {
        let key = Key::new("ecdsa", "ecdsa-sha2-nistp256", P384_PUBLIC);
        let error = verify_signature(&key, b"", b"").unwrap_err();
        assert_eq!(error.to_string(), "the key of type \"ecdsa\" is unusable: it does not fit its scheme");
    }

    #[test]
    fn accepts_ecdsa_signatures_with_a_high_and_a_low_s() {
        let signature = P256Signature::from_bytes(&hex::decode(P256_SIGNATURE).unwrap()).unwrap();
        let signature = p256::ecdsa::Signature::try_from(signature).unwrap();
        let (r, s) = signature.split_scalars();
        let key = Key::new("ecdsa", "ecdsa-sha2-nistp256", P256_PUBLIC);
        for s in [*s, -*s] {
            let twin = p256::ecdsa::Signature::from_scalars(*r, s).unwrap().to_der();
            assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), twin.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn refuses_ecdsa_signatures_of_zero() {
        let key = Key::new("ecdsa", "ecdsa-sha2-nistp256", P256_PUBLIC);
        let zeros = [0x30, 6, 2, 1, 0, 2, 1, 0];
        assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &zeros), Err(SignatureError::Invalid));
    }

    #[test]
    fn refuses_rsa_signatures_that_are_not_below_the_modulus() {
        for scheme in ["rsassa-pss-sha256", "rsa-pkcs1v15-sha256"] {
            let key = Key::new("rsa", scheme, RSA_PUBLIC);
            assert_eq!(verify_signature(&key, b"", &[0xff; 256]), Err(SignatureError::Invalid));
        }
    }

    #[test]
    fn signatures_that_were_made_here_are_verified_together() {
        let signer = PrivateKey::from_pem(ED25519_PRIVATE.as_bytes(), None).unwrap();
        let key = signer.public_key();
        let messages: Vec<Vec<u8>> = (0..300_usize).map(|index| vec![7; index]).collect();
        let made: Vec<Vec<u8>> =
            messages.iter().map(|message| signer.sign("ed25519", message).unwrap()).collect();
        let pairs = |made: &[Vec<u8>]| -> Vec<(Vec<u8>, Vec<u8>)> {
            messages.iter().cloned().zip(made.iter().cloned()).collect()
        };
        let verify = |key: &Key, pairs: &[(Vec<u8>, Vec<u8>)]| {
            let pairs: Vec<(&[u8], &[u8])> =
                pairs.iter().map(|(message, made)| (message.as_slice(), made.as_slice())).collect();
            verify_made(key, &pairs)
        };
        assert!(verify(key, &pairs(&made)));
        let (mut swapped, mut changed, mut short) = (made.clone(), made.clone(), made.clone());
        swapped.swap(3, 4);
        changed[299][40] ^= 1;
        short[0].pop();
        for wrong in [swapped, changed, short] {
            assert!(!verify(key, &pairs(&wrong)));
        }
        // another key, one that everything verifies under, and one of another kind
        let weak = Key::new("ed25519", "ed25519", "00".repeat(32));
        let other = PrivateKey::generate(KeyType::Ed25519).unwrap();
        for wrong in [other.public_key(), &weak, &Key::new("rsa", "rsassa-pss-sha256", RSA_PUBLIC)] {
            assert!(!verify(wrong, &pairs(&made)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn never_accepts_nor_panics_on_any_signature(
            length in prop::sample::select(vec![0, 8, 64, 70, 72, 102, 255, 256, 257]),
            seed in prop::collection::vec(any::<u8>(), 257..=257),
        ) {
            for (key, _) in foreign_signatures() {
                prop_assert_eq!(verify_signature(&key, b"", &seed[..length]), Err(SignatureError::Invalid));
            }
        }

        #[test]
        fn never_accepts_a_signature_with_another_bit(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            for (key, mut signature) in foreign_signatures() {
                let at = at.index(signature.len());
                signature[at] ^= 1 << bit;
                prop_assert_eq!(verify_signature(&key, MESSAGE.as_bytes(), &signature), Err(SignatureError::Invalid));
            }
        }
    }
}
