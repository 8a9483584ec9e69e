//! Public keys: from the spellings of metadata and of PEM to a key that can verify, and back.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::VerifyingKey as P256Key;
use p384::ecdsa::VerifyingKey as P384Key;
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{Decode, Document};
use rsa::pkcs1::RsaPublicKeyRef;
use rsa::{BoxedUint, RsaPublicKey};
use spki::{AlgorithmIdentifierRef, EncodePublicKey, ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::error::KeyError;
use super::scheme::Scheme;
use super::{MAX_RSA_BITS, MIN_RSA_BITS, pem};
use crate::metadata::Key;

/// Returns a public key in PEM (SubjectPublicKeyInfo), lines ended by a line feed, the last one too.
///
/// # Errors
/// [`KeyError`] where the key's type is unknown or the key is malformed.
pub fn public_key_to_pem(key: &Key) -> Result<String, KeyError> {
    PublicKey::of(key)?.to_pem()
}

/// Reads a public key in PEM as metadata would state it, with the default scheme of its type.
///
/// `keyval` is spelled as securesystemslib 1.x spells it, so the ids are the same: hexadecimal for Ed25519,
/// else the PEM of [`public_key_to_pem`] however the given PEM looks.
///
/// # Errors
/// [`KeyError`] where the text holds no public key or one that is not supported.
pub fn public_key_from_pem(pem: &[u8]) -> Result<Key, KeyError> {
    PublicKey::from_pem(pem)?.to_key()
}

/// States a key of any spelling as this crate states it; its scheme is kept where it is one of the type.
///
/// # Errors
/// [`KeyError`] where the key's type is unknown or the key is malformed.
pub fn respelled(key: &Key) -> Result<Key, KeyError> {
    Ok(with_scheme_of(PublicKey::of(key)?.to_key()?, &key.scheme))
}

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// What an algorithm identifier in a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Ed25519,
    Rsa,
    P256,
    P384,
}

impl Algorithm {
    /// Reads an algorithm identifier.
    pub(super) fn identified_by(identifier: AlgorithmIdentifierRef<'_>) -> Result<Self, KeyError> {
        match identifier.oid {
            ED25519 => Ok(Self::Ed25519),
            RSA => Ok(Self::Rsa),
            EC => match identifier.parameters_oid() {
                Ok(curve) => Self::of_curve(curve),
                Err(_) => Err(KeyError::Unsupported { what: "an elliptic curve without a name".into() }),
            },
            oid => Err(KeyError::Unsupported { what: format!("the key algorithm {oid}") }),
        }
    }

    /// Reads the name of a curve.
    pub(super) fn of_curve(curve: ObjectIdentifier) -> Result<Self, KeyError> {
        match curve {
            P256 => Ok(Self::P256),
            P384 => Ok(Self::P384),
            curve => Err(KeyError::Unsupported { what: format!("the elliptic curve {curve}") }),
        }
    }
}

/// A public key that can verify: sound, of a permitted length, on its curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PublicKey {
    Ed25519(Ed25519Key),
    Rsa(Box<RsaPublicKey>),
    P256(P256Key),
    P384(P384Key),
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::NotAPublicKey { reason }
}

impl PublicKey {
    /// Reads what metadata states, for any scheme.
    pub(super) fn of(key: &Key) -> Result<Self, KeyError> {
        let public = key.public();
        let public = || public.ok_or(malformed("keyval has no text \"public\""));
        match key.keytype.as_str() {
            "ed25519" => {
                let bytes = hex::decode(public()?).map_err(|_| malformed("it is not hexadecimal"))?;
                Self::ed25519(&bytes)
            }
            "rsa" => match Self::from_pem(public()?.as_bytes())? {
                key @ Self::Rsa(_) => Ok(key),
                _ => Err(malformed("its PEM holds a key of another type")),
            },
            "ecdsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" => Self::ecdsa(public()?),
            other => Err(KeyError::Unsupported { what: format!("the key type {other:?}") }),
        }
    }

    /// Reads the first public key in a PEM text.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let mut private = false;
        for envelope in pem::envelopes(text) {
            let contents = || envelope.contents().map_err(|_| malformed("its PEM is not Base64"));
            match envelope.label {
                "PUBLIC KEY" => return Self::from_spki(&contents()?),
                "RSA PUBLIC KEY" => return Self::rsa(&contents()?),
                _ => private |= envelope.is_private(),
            }
        }
        Err(malformed(if private { "it is a private key" } else { "it has no PEM envelope of a public key" }))
    }

    pub(super) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|_| malformed("it does not hold a SubjectPublicKeyInfo"))?;
        let algorithm = Algorithm::identified_by(info.algorithm)?;
        let bytes = info.subject_public_key.as_bytes().ok_or(malformed("it does not end on a byte"))?;
        match algorithm {
            Algorithm::Ed25519 => Self::ed25519(bytes),
            Algorithm::Rsa => Self::rsa(bytes),
            Algorithm::P256 => Self::p256(bytes),
            Algorithm::P384 => Self::p384(bytes),
        }
    }

    fn ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| malformed("an Ed25519 key has 32 bytes"))?;
        let key = Ed25519Key::from_bytes(bytes).map_err(|_| malformed("it is not a point of the curve"))?;
        // Anyone can sign for a point of small order; a point in a second spelling would be a second key.
        if key.is_weak() || Ed25519Key::from(key.to_edwards()) != key {
            return Err(malformed("no private key has this public half"));
        }
        Ok(Self::Ed25519(key))
    }

    /// Reads the PKCS#1 form, which is also the inside of a SubjectPublicKeyInfo.
    pub(super) fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let parts =
            RsaPublicKeyRef::from_der(der).map_err(|_| malformed("it does not hold two RSA numbers"))?;
        // Before any arithmetic: both numbers are as long as whoever wrote them liked.
        check_rsa_bits(&parts.modulus)?;
        if parts.public_exponent.as_bytes().len() > 8 {
            return Err(malformed("its RSA exponent is too large"));
        }
        let modulus = BoxedUint::from_be_slice_vartime(parts.modulus.as_bytes());
        let exponent = BoxedUint::from_be_slice_vartime(parts.public_exponent.as_bytes());
        RsaPublicKey::new_with_size_limits(modulus, exponent, MIN_RSA_BITS..=MAX_RSA_BITS)
            .map(|key| Self::Rsa(Box::new(key)))
            .map_err(|_| malformed("its RSA numbers make no key"))
    }

    /// Reads PEM or, from older repositories, a point in hexadecimal, whose length names its curve.
    fn ecdsa(public: &str) -> Result<Self, KeyError> {
        if public.contains("-----BEGIN ") {
            return match Self::from_pem(public.as_bytes())? {
                key @ (Self::P256(_) | Self::P384(_)) => Ok(key),
                _ => Err(malformed("its PEM holds a key of another type")),
            };
        }
        let point = hex::decode(public).map_err(|_| malformed("it is neither PEM nor hexadecimal"))?;
        match point.len() {
            33 | 65 => Self::p256(&point),
            49 | 97 => Self::p384(&point),
            _ => Err(malformed("it is not as long as a point")),
        }
    }

    fn p256(point: &[u8]) -> Result<Self, KeyError> {
        check_point_form(point)?;
        P256Key::from_sec1_bytes(point)
            .map(Self::P256)
            .map_err(|_| malformed("it is not a point of the curve P-256"))
    }

    fn p384(point: &[u8]) -> Result<Self, KeyError> {
        check_point_form(point)?;
        P384Key::from_sec1_bytes(point)
            .map(Self::P384)
            .map_err(|_| malformed("it is not a point of the curve P-384"))
    }

    /// Encodes the key as a SubjectPublicKeyInfo in DER, the same bytes for all spellings.
    pub(super) fn to_spki(&self) -> Result<Document, KeyError> {
        match self {
            Self::Ed25519(key) => key.to_public_key_der(),
            Self::Rsa(key) => key.to_public_key_der(),
            Self::P256(key) => key.to_public_key_der(),
            Self::P384(key) => key.to_public_key_der(),
        }
        .map_err(|_| KeyError::NotWritten { reason: "its public half has no DER form" })
    }

    fn to_pem(&self) -> Result<String, KeyError> {
        let der = self.to_spki()?;
        pem::write("PUBLIC KEY", der.as_bytes())
            .map(|text| text.to_string())
            .ok_or(KeyError::NotWritten { reason: "its public half has no PEM form" })
    }

    /// States the key as metadata does, with the default scheme of its type.
    pub(super) fn to_key(&self) -> Result<Key, KeyError> {
        Ok(match self {
            Self::Ed25519(key) => Key::new("ed25519", "ed25519", hex::encode(key.as_bytes())),
            Self::Rsa(_) => Key::new("rsa", "rsassa-pss-sha256", self.to_pem()?),
            Self::P256(_) => Key::new("ecdsa", "ecdsa-sha2-nistp256", self.to_pem()?),
            Self::P384(_) => Key::new("ecdsa", "ecdsa-sha2-nistp384", self.to_pem()?),
        })
    }
}

/// Gives a key a scheme instead of the default of its type, where it is one of this type's.
fn with_scheme_of(key: Key, scheme: &str) -> Key {
    match Scheme::named(scheme).filter(|known| known.suits(&key.keytype)) {
        // the curve decides, not what is stated
        Some(_) if key.keytype != "ecdsa" => Key { scheme: scheme.to_owned(), ..key },
        _ => key,
    }
}

/// Returns the length of an RSA key's modulus in bits; `None` for keys of other types or malformed ones.
pub fn rsa_bits(key: &Key) -> Option<usize> {
    match PublicKey::of(key).ok()? {
        PublicKey::Rsa(key) => Some(rsa::traits::PublicKeyParts::n(&*key).bits() as usize),
        _ => None,
    }
}

/// Refuses a modulus that is too short or too long.
pub(super) fn check_rsa_bits(modulus: &UintRef<'_>) -> Result<(), KeyError> {
    let bytes = modulus.as_bytes();
    let bits = bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize);
    if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::RsaBits { bits }) }
}

/// Admits the compressed and the uncompressed form of a point, not the rare others of SEC 1.
fn check_point_form(point: &[u8]) -> Result<(), KeyError> {
    match point.first() {
        Some(2..=4) => Ok(()),
        _ => Err(malformed("it is not a point, compressed or not")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_vectors::*;
    use super::*;

    #[test]
    fn ids_are_those_of_securesystemslib() {
        for (pem, id) in [(RSA_PUBLIC, RSA_ID), (P256_PUBLIC, P256_ID), (P384_PUBLIC, P384_ID)] {
            assert_eq!(public_key_from_pem(pem.as_bytes()).unwrap().id().as_str(), id);
        }
        let ed25519 = Key::new("ed25519", "ed25519", ED25519_PUBLIC);
        let pem = public_key_to_pem(&ed25519).unwrap();
        assert_eq!(public_key_from_pem(pem.as_bytes()).unwrap(), ed25519);
        assert_eq!(ed25519.id().as_str(), ED25519_ID);
    }

    #[test]
    fn writes_one_pem_for_all_spellings() {
        let untidy = format!("a key\r\n{}", RSA_PUBLIC.trim_end().replace('\n', "\r\n"));
        for pem in [RSA_PUBLIC, &untidy, RSA_PUBLIC_PKCS1] {
            let key = public_key_from_pem(pem.as_bytes()).unwrap();
            assert_eq!(key, Key::new("rsa", "rsassa-pss-sha256", RSA_PUBLIC));
        }
        for point in [P256_POINT, P256_POINT_LONG] {
            let key = Key::new("ecdsa", "ecdsa-sha2-nistp256", point);
            assert_eq!(public_key_to_pem(&key).unwrap(), P256_PUBLIC);
        }
    }

    #[test]
    fn refuses_rsa_keys_of_unsafe_length() {
        let refused = Err(KeyError::RsaBits { bits: 1024 });
        assert_eq!(public_key_from_pem(RSA_1024_PUBLIC.as_bytes()), refused);
        let key = Key::new("rsa", "rsassa-pss-sha256", RSA_1024_PUBLIC);
        assert_eq!(PublicKey::of(&key), Err(KeyError::RsaBits { bits: 1024 }));
        // SEQUENCE { INTEGER of 2049 bytes, INTEGER 3 }
        let mut der = vec![0x30, 0x82, 0x08, 0x08, 0x02, 0x82, 0x08, 0x01];
        der.extend([0x7f; 2049]);
        der.extend([2, 1, 3]);
        assert_eq!(PublicKey::rsa(&der), Err(KeyError::RsaBits { bits: 2049 * 8 - 1 }));
    }

    #[test]
    fn refuses_ed25519_points_that_anyone_can_sign_for() {
        let identity = format!("01{}", "00".repeat(31));
        // 2^255 - 18 means y = 1, the identity again
        let second_spelling = format!("ee{}7f", "ff".repeat(30));
        for point in [identity, second_spelling, "00".repeat(32)] {
            let key = Key::new("ed25519", "ed25519", point);
            assert_eq!(PublicKey::of(&key), Err(malformed("no private key has this public half")));
        }
    }

    #[test]
    fn refuses_keys_that_are_not_what_their_type_says() {
        for (keytype, public) in [
            ("rsa", P256_PUBLIC),
            ("ecdsa", RSA_PUBLIC),
            ("ecdsa", ED25519_PUBLIC),
            ("ed25519", P256_POINT),
            ("rsa", RSA_PRIVATE),
            ("rsa", ""),
            ("ecdsa", "05"),
        ] {
            let refusal = PublicKey::of(&Key::new(keytype, "any", public)).unwrap_err();
            assert!(matches!(refusal, KeyError::NotAPublicKey { .. }), "{keytype} {public}: {refusal}");
        }
        let without_text = Key { keyval: serde_json::Map::new(), ..Key::new("rsa", "any", "") };
        assert!(matches!(PublicKey::of(&without_text), Err(KeyError::NotAPublicKey { .. })));
    }

    #[test]
    fn names_the_object_identifier_of_what_it_does_not_support() {
        // The SubjectPublicKeyInfo of an X25519 key
        let mut der = hex::decode("302a300506032b656e032100").unwrap();
        der.extend([9; 32]);
        let pem = pem::write("PUBLIC KEY", &der).unwrap();
        let refusal = public_key_from_pem(pem.as_bytes()).unwrap_err();
        assert_eq!(refusal.to_string(), "the key algorithm 1.3.101.110 is not supported");
    }

    fn any_key() -> impl Strategy<Value = Key> {
        let keytype = prop_oneof![Just("ed25519"), Just("rsa"), Just("ecdsa"), Just("ecdsa-sha2-nistp256")];
        let bytes = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            prop::collection::vec(any::<u8>(), 32..=32),
            prop::collection::vec(any::<u8>(), 64..=64).prop_map(|mut point| {
                point.insert(0, 4);
                point
            }),
            prop::collection::vec(any::<u8>(), 48..=48).prop_map(|mut point| {
                point.insert(0, 2);
                point
            }),
        ];
        let public = prop_oneof![
            ".*",
            bytes.clone().prop_map(hex::encode),
            bytes.prop_map(|bytes| pem::write("PUBLIC KEY", &bytes).unwrap().to_string()),
        ];
        (keytype, public).prop_map(|(keytype, public)| Key::new(keytype, "any", public))
    }

    proptest! {
        #[test]
        fn never_panics_on_any_key(key in any_key()) {
            if let Ok(public) = PublicKey::of(&key) {
                prop_assert_eq!(PublicKey::of(&public.to_key().unwrap()).unwrap(), public);
            }
        }

        #[test]
        fn never_panics_on_a_key_with_other_bytes(
            which in prop::sample::select(vec![RSA_PUBLIC, P256_PUBLIC, P384_PUBLIC, RSA_PUBLIC_PKCS1]),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let envelope = pem::envelopes(which.as_bytes()).next().unwrap();
            let mut der = envelope.contents().unwrap();
            let at = at.index(der.len());
            der[at] = byte;
            let text = pem::write(envelope.label, &der).unwrap();
            if let Ok(key) = public_key_from_pem(text.as_bytes()) {
                prop_assert!(public_key_to_pem(&key).is_ok());
            }
        }
    }
}
