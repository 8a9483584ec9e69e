//! PKCS#8: private keys as this crate writes them, plain or encrypted by PBES2 (RFC 5958, RFC 8018, RFC 7914).

use ed25519_dalek::SigningKey as Ed25519Key;
use p256::ecdsa::SigningKey as P256Key;
use p384::ecdsa::SigningKey as P384Key;
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{self, Decode, ErrorKind, Tag};
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID, Parameters};
use pkcs8::pkcs5::{self, scrypt};
use pkcs8::{
    AlgorithmIdentifierRef, EncodePrivateKey, EncryptedPrivateKeyInfoRef, ObjectIdentifier,
    PrivateKeyInfoRef, SecretDocument,
};
use zeroize::Zeroizing;

use super::MAX_PBKDF2_ITERATIONS;
use super::error::KeyError;
use super::password::Password;
use super::pem;
use super::private_key::{PrivateKey, Secret};
use super::public_key::Algorithm;
use super::traditional::read_pkcs1;

const DES_EDE3_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.3.7");

impl PrivateKey {
    /// Writes the key as PKCS#8 in PEM, with a password encrypted: AES-256-CBC under scrypt (N = 2^14, r = 8,
    /// p = 1, the most that OpenSSL reads).
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`] or [`KeyError::NotWritten`].
    pub fn to_pkcs8_pem(&self, password: Option<&Password>) -> Result<Zeroizing<String>, KeyError> {
        let not_written = KeyError::NotWritten { reason: "it has no PKCS#8 form" };
        let der = self.secret.to_pkcs8().map_err(|_| not_written.clone())?;
        let pem = match password {
            None => pem::write("PRIVATE KEY", der.as_bytes()),
            Some(password) => pem::write("ENCRYPTED PRIVATE KEY", encrypt(&der, password)?.as_bytes()),
        };
        pem.ok_or(not_written)
    }
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::NotAPrivateKey { reason }
}

fn unsupported(what: String) -> KeyError {
    KeyError::Unsupported { what }
}

fn unsupported_encryption(oid: ObjectIdentifier) -> KeyError {
    unsupported(format!("the encryption {oid} of the private key"))
}

/// Reads a private key from PKCS#8 in DER.
pub(super) fn read(der: &[u8]) -> Result<Secret, KeyError> {
    if let Some(halves) = RingKey::of(der) {
        return halves.read();
    }
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| malformed("it does not hold PKCS#8"))?;
    Ok(match Algorithm::identified_by(info.algorithm)? {
        Algorithm::Ed25519 => {
            let key = info.try_into().map_err(|_| malformed("its Ed25519 bytes make no key"))?;
            Secret::Ed25519(Box::new(key))
        }
        Algorithm::Rsa => read_pkcs1(info.private_key.as_bytes())?,
        Algorithm::P256 => {
            let key =
                p256::SecretKey::try_from(info).map_err(|_| malformed("its P-256 bytes make no key"))?;
            Secret::P256(Box::new(P256Key::from(key)))
        }
        Algorithm::P384 => {
            let key =
                p384::SecretKey::try_from(info).map_err(|_| malformed("its P-384 bytes make no key"))?;
            Secret::P384(Box::new(P384Key::from(key)))
        }
    })
}

/// An Ed25519 key as the crate ring writes it: version 2 of PKCS#8 with the public half under an explicit tag, where
/// RFC 5958 has an implicit one.
struct RingKey<'a> {
    seed: &'a [u8; 32],
    public: &'a [u8; 32],
}

impl<'a> RingKey<'a> {
    const HEAD: [u8; 16] = *b"\x30\x53\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    const MIDDLE: [u8; 5] = *b"\xa1\x23\x03\x21\x00";

    fn of(der: &'a [u8]) -> Option<Self> {
        let (seed, rest) = der.strip_prefix(&Self::HEAD)?.split_first_chunk()?;
        let public = rest.strip_prefix(&Self::MIDDLE)?.try_into().ok()?;
        Some(Self { seed, public })
    }

    fn read(&self) -> Result<Secret, KeyError> {
        let key = Ed25519Key::from_bytes(self.seed);
        if key.verifying_key().as_bytes() != self.public {
            return Err(malformed("its Ed25519 bytes make no key"));
        }
        Ok(Secret::Ed25519(Box::new(key)))
    }
}

impl Secret {
    fn to_pkcs8(&self) -> pkcs8::Result<SecretDocument> {
        match self {
            Self::Ed25519(key) => {
                // Version 1, without the public half: OpenSSL 3.0 does not read version 2.
                ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None }
                    .to_pkcs8_der()
            }
            Self::Rsa(key) => key.to_pkcs8_der(),
            Self::P256(key) => key.to_pkcs8_der(),
            Self::P384(key) => key.to_pkcs8_der(),
        }
    }
}

/// Decrypts PKCS#8 to what it holds.
pub(super) fn decrypt(der: &[u8], password: Option<&Password>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let not_pkcs8 = malformed("it does not hold encrypted PKCS#8");
    let scheme = encryption_scheme(der).map_err(|_| not_pkcs8.clone())?;
    if scheme != PBES2_OID {
        return Err(unsupported_encryption(scheme));
    }
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
        ErrorKind::OidUnknown { oid } => unsupported_encryption(oid),
        _ => not_pkcs8,
    })?;
    let parameters = info.encryption_algorithm.pbes2().ok_or(unsupported_encryption(scheme))?;
    check_cost(&parameters.kdf)?;
    let password = password.ok_or(KeyError::PasswordNeeded)?;
    parameters.decrypt(password.as_str(), info.encrypted_data.as_bytes()).map(Zeroizing::new).map_err(
        |error| match error {
            pkcs5::Error::DecryptFailed => KeyError::WrongPassword,
            pkcs5::Error::UnsupportedAlgorithm { oid } => unsupported_encryption(oid),
            _ => malformed("its encryption has invalid parameters"),
        },
    )
}

/// Reads only by what scheme a key is encrypted, so that an unknown one can be named.
fn encryption_scheme(der: &[u8]) -> der::Result<ObjectIdentifier> {
    AnyRef::from_der(der)?.sequence(|reader| {
        let scheme = AlgorithmIdentifierRef::decode(reader)?;
        AnyRef::decode(reader)?;
        if scheme.oid == PBES2_OID
            && let Some(parameters) = scheme.parameters
        {
            check_des_iv(parameters)?;
        }
        Ok(scheme.oid)
    })
}

/// Refuses an initialisation vector of DES that is not 8 bytes long: pkcs5 0.8 would take the first 8 unasked.
fn check_des_iv(parameters: AnyRef<'_>) -> der::Result<()> {
    parameters.sequence(|reader| {
        AnyRef::decode(reader)?;
        let cipher = AlgorithmIdentifierRef::decode(reader)?;
        if cipher.oid == DES_EDE3_CBC && cipher.parameters.is_none_or(|iv| iv.value().len() != 8) {
            return Err(Tag::OctetString.length_error().into());
        }
        Ok(())
    })
}

/// Refuses what cannot be computed, and what would take more than about a minute or a gigabyte.
fn check_cost(kdf: &Kdf) -> Result<(), KeyError> {
    const MAX_SCRYPT_BYTES: u64 = 1 << 30;
    const MAX_SCRYPT_LANES: u16 = 16;
    let fine = match kdf {
        Kdf::Pbkdf2(pbkdf2) => (1..=MAX_PBKDF2_ITERATIONS).contains(&pbkdf2.iteration_count),
        Kdf::Scrypt(scrypt) => {
            let bytes = scrypt.cost_parameter.checked_mul(128 * u64::from(scrypt.block_size));
            scrypt.cost_parameter > 1
                && bytes.is_some_and(|bytes| bytes <= MAX_SCRYPT_BYTES)
                && scrypt.parallelization <= MAX_SCRYPT_LANES
        }
        _ => false,
    };
    if fine { Ok(()) } else { Err(unsupported("the cost of deriving the encryption key".into())) }
}

fn encrypt(der: &SecretDocument, password: &Password) -> Result<SecretDocument, KeyError> {
    let mut salt = [0; 16];
    let mut iv = [0; 16];
    getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut iv)).map_err(|_| KeyError::NoRandomness)?;
    let cost = scrypt::Params::new(14, 8, 1)
        .map_err(|_| KeyError::NotWritten { reason: "scrypt refused its cost" })?;
    let parameters = Parameters::generate_scrypt_aes256cbc(cost, &salt, iv)
        .map_err(|_| KeyError::NotWritten { reason: "PBES2 refused its parameters" })?;
    PrivateKeyInfoRef::from_der(der.as_bytes())
        .map_err(pkcs8::Error::from)
        .and_then(|info| info.encrypt_with_params(parameters, password.as_str()))
        .map_err(|_| KeyError::NotWritten { reason: "it could not be encrypted" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::container::{is_encrypted, is_private};
    use super::super::legacy_vectors::*;
    use super::super::signer::Signer;
    use super::super::test_vectors::*;
    use super::*;

    fn open(pem: &str, password: Option<&str>) -> Result<String, KeyError> {
        let password = password.map(|text| Password::new(text.into()));
        PrivateKey::from_pem(pem.as_bytes(), password.as_ref()).map(|key| key.public_key().id().to_string())
    }

    #[test]
    fn reads_the_keys_that_openssl_writes() {
        assert_eq!(open(ED25519_PRIVATE, None).unwrap(), ED25519_ID);
        assert_eq!(open(ED25519_PRIVATE_V2, None).unwrap(), ED25519_ID);
        assert_eq!(open(RSA_PRIVATE, None).unwrap(), RSA_ID);
        assert_eq!(open(P256_PRIVATE, None).unwrap(), P256_ID);
        assert_eq!(open(P384_PRIVATE, None).unwrap(), P384_ID);
    }

    #[test]
    fn reads_the_encrypted_keys_that_openssl_writes() {
        assert_eq!(open(ED25519_ENCRYPTED_PBKDF2, Some(PASSWORD)).unwrap(), ED25519_ID);
        assert_eq!(open(P256_ENCRYPTED_SCRYPT, Some(PASSWORD)).unwrap(), P256_ID);
        assert_eq!(open(P256_ENCRYPTED_DES3, Some(PASSWORD)).unwrap(), P256_ID);
        assert_eq!(open(ED25519_ENCRYPTED_SHA1, Some(PASSWORD)).unwrap(), ED25519_ID);
    }

    /// A defect of pkcs5 0.8: it takes the first 8 bytes of what may have fewer.
    #[test]
    fn refuses_an_initialisation_vector_of_des_of_another_length() {
        for length in 0..=20 {
            // SEQUENCE { NULL, SEQUENCE { des-ede3-cbc, OCTET STRING } }
            let cipher =
                [&b"\x06\x08\x2a\x86\x48\x86\xf7\x0d\x03\x07\x04"[..], &[length], &vec![0; length.into()]]
                    .concat();
            let der = [&[0x30, length + 16, 5, 0, 0x30, length + 12][..], &cipher[..]].concat();
            let verdict = check_des_iv(AnyRef::from_der(&der).unwrap());
            assert_eq!(verdict.is_ok(), length == 8, "{length}");
        }
    }

    #[test]
    fn reads_the_ed25519_keys_that_ring_writes() {
        let standard = pem::envelopes(ED25519_PRIVATE_V2.as_bytes()).next().unwrap().contents().unwrap();
        let mut der = [&standard[..48], b"\xa1\x23\x03\x21\x00", &standard[51..]].concat();
        der[1] = 0x53;
        let key = PrivateKey::read(&der, None).unwrap();
        assert_eq!(key.public_key().id().as_str(), ED25519_ID);
        der[84] ^= 1;
        assert_eq!(PrivateKey::read(&der, None).map(|_| ()), Err(malformed("its Ed25519 bytes make no key")));
    }

    #[test]
    fn says_when_a_password_is_needed_or_wrong() {
        for pem in [ED25519_ENCRYPTED_PBKDF2, P256_ENCRYPTED_SCRYPT] {
            assert_eq!(open(pem, None), Err(KeyError::PasswordNeeded));
            for wrong in ["", "Correct horse", "correct horse "] {
                assert_eq!(open(pem, Some(wrong)), Err(KeyError::WrongPassword));
            }
        }
    }

    #[test]
    fn wrong_passwords_that_decrypt_to_something_are_wrong_too() {
        // One wrong password in 256 leaves a valid padding: ask until some have.
        let key = PrivateKey::from_pem(ED25519_PRIVATE.as_bytes(), None).unwrap();
        let der = key.secret.to_pkcs8().unwrap();
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1, b"salt", [7; 16]).unwrap();
        let info = PrivateKeyInfoRef::from_der(der.as_bytes()).unwrap();
        let encrypted = info.encrypt_with_params(parameters, "right").unwrap();
        for attempt in 0..2000 {
            let wrong = Password::new(attempt.to_string());
            let opened = decrypt(encrypted.as_bytes(), Some(&wrong)).map(|der| read(&der).is_ok());
            assert!(matches!(opened, Err(KeyError::WrongPassword) | Ok(false)), "{attempt}");
        }
    }

    #[test]
    fn ignores_the_password_of_a_plain_key() {
        assert_eq!(open(P256_PRIVATE, Some("any")).unwrap(), P256_ID);
    }

    #[test]
    fn reads_back_what_it_writes() {
        let password = Password::new("ünïcödé".into());
        for pem in [ED25519_PRIVATE, RSA_PRIVATE, P256_PRIVATE, P384_PRIVATE] {
            let key = PrivateKey::from_pem(pem.as_bytes(), None).unwrap();
            assert_eq!(*key.to_pkcs8_pem(None).unwrap(), pem, "the same as OpenSSL");

            let encrypted = key.to_pkcs8_pem(Some(&password)).unwrap();
            assert_eq!(open(&encrypted, None), Err(KeyError::PasswordNeeded));
            assert_eq!(open(&encrypted, Some("wrong")), Err(KeyError::WrongPassword));
            assert_eq!(open(&encrypted, Some("ünïcödé")).unwrap(), key.public_key().id().as_str());
            assert_ne!(
                encrypted,
                key.to_pkcs8_pem(Some(&password)).unwrap(),
                "salt and IV are new each time"
            );
        }
    }

    #[test]
    fn names_what_it_does_not_support() {
        for (pem, text) in [
            (SECP256K1_PRIVATE, "the elliptic curve 1.3.132.0.10 is not supported"),
            (RSA_PSS_PRIVATE, "the key algorithm 1.2.840.113549.1.1.10 is not supported"),
            (X25519_PRIVATE, "the key algorithm 1.3.101.110 is not supported"),
            (
                P256_ENCRYPTED_PBES1,
                "the encryption 1.2.840.113549.1.12.1.3 of the private key is not supported",
            ),
        ] {
            let error = open(pem, Some(PASSWORD)).unwrap_err();
            assert!(matches!(error, KeyError::Unsupported { .. }), "{error}");
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_private_key() {
        for pem in
            ["", "hello", P256_PUBLIC, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            assert!(matches!(open(pem, None), Err(KeyError::NotAPrivateKey { .. })), "{pem}");
        }
        assert_eq!(open(RSA_1024_PRIVATE, None), Err(KeyError::RsaBits { bits: 1024 }));
    }

    #[test]
    fn refuses_a_key_whose_public_half_is_another_s() {
        let flipped = ED25519_PRIVATE_V2.replace("TTwAbF6q", "TTwAbF6r");
        assert_eq!(open(&flipped, None), Err(malformed("its Ed25519 bytes make no key")));
    }

    #[test]
    fn refuses_the_cost_of_a_key_that_would_exhaust_memory() {
        let too_costly = Err(unsupported("the cost of deriving the encryption key".into()));
        let salt = [1; 16];
        for (log_n, r, p) in [(40, 8, 1), (14, 8, 1000), (20, 65535, 1)] {
            let parameters = scrypt::Params::new(log_n, r, p).unwrap();
            let parameters = Parameters::generate_scrypt_aes256cbc(parameters, &salt, [0; 16]).unwrap();
            assert_eq!(check_cost(&parameters.kdf), too_costly);
        }
        let mut parameters =
            Parameters::generate_pbkdf2_sha256_aes256cbc(100_000_000, &salt, [0; 16]).unwrap();
        assert_eq!(check_cost(&parameters.kdf), too_costly);
        parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(0, &salt, [0; 16]).unwrap();
        assert_eq!(check_cost(&parameters.kdf), too_costly);
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(
            label in prop::sample::select(vec!["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "PUBLIC KEY"]),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            noise in "[-A-Z =/+\n]{0,80}",
        ) {
            let password = Password::new("any".into());
            let pem = pem::write(label, &bytes).unwrap();
            for text in [pem.as_bytes(), &bytes, noise.as_bytes(), &[noise.as_bytes(), pem.as_bytes()].concat()] {
                let _ = PrivateKey::from_pem(text, Some(&password));
                let _ = (is_private(text), is_encrypted(text));
            }
        }

        #[test]
        fn never_panics_on_a_key_with_other_bytes(
            which in prop::sample::select(vec![
                ED25519_PRIVATE, ED25519_PRIVATE_V2, RSA_PRIVATE, P256_PRIVATE, P384_PRIVATE, SECP256K1_PRIVATE,
            ]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let envelope = pem::envelopes(which.as_bytes()).next().unwrap();
            let mut der = envelope.contents().unwrap();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let text = pem::write(envelope.label, &der).unwrap();
            if let Ok(key) = PrivateKey::from_pem(text.as_bytes(), None) {
                let scheme = key.public_key().scheme.clone();
                let _ = (key.sign(&scheme, b"message"), key.to_pkcs8_pem(None));
            }
        }

        #[test]
        fn never_panics_on_an_encrypted_key_with_another_header(
            at in 0_usize..90,
            byte in any::<u8>(),
        ) {
            let envelope = pem::envelopes(P256_ENCRYPTED_SCRYPT.as_bytes()).next().unwrap();
            let mut der = envelope.contents().unwrap();
            der[at] = byte;
            // Without a password, so that no key is derived, which takes seconds.
            let text = pem::write(envelope.label, &der).unwrap();
            prop_assert!(PrivateKey::from_pem(text.as_bytes(), None).is_err());
        }
    }
}
