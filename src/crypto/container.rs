//! Key files of any kind, told apart by what they hold and not by their names.
//!
//! What each kind looks like inside is in [`super::pkcs8_file`], [`super::traditional`],
//! [`super::securesystemslib`] and [`super::public_key`].

use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode, Tag, Tagged};

use super::error::KeyError;
use super::password::Password;
use super::pem::{self, Envelope};
use super::private_key::{PrivateKey, Secret};
use super::public_key::PublicKey;
use super::{pkcs8_file, securesystemslib, traditional};
use crate::metadata::Key;

/// Tells whether a file holds a private key, in any form.
pub fn is_private(contents: &[u8]) -> bool {
    match Container::of(contents) {
        Some(Container::Pem) => pem::envelopes(contents).any(|envelope| envelope.is_private()),
        Some(Container::Der(form)) => !matches!(form, DerForm::Spki | DerForm::Pkcs1Public),
        Some(Container::Json) => securesystemslib::is_private(contents),
        Some(Container::Sealed) => true,
        None => false,
    }
}

/// Tells whether a file holds a private key that a password protects.
pub fn is_encrypted(contents: &[u8]) -> bool {
    match Container::of(contents) {
        // of several keys the first one is read
        Some(Container::Pem) => pem::envelopes(contents)
            .find(Envelope::is_private)
            .is_some_and(|envelope| envelope.is_encrypted()),
        Some(Container::Der(form)) => form == DerForm::Pkcs8Encrypted,
        Some(Container::Sealed) => true,
        Some(Container::Json) | None => false,
    }
}

/// Reads a public key as metadata would state it: PEM, DER, or the JSON of securesystemslib, whose scheme is kept.
///
/// `keyval` is spelled as securesystemslib 1.x spells it, so the ids are the same: hexadecimal for Ed25519, else
/// the PEM of [`public_key_to_pem`](super::public_key_to_pem) however the file looks.
///
/// # Errors
/// [`KeyError`] where the file holds no public key or one that is not supported.
pub fn read_public_key(contents: &[u8]) -> Result<Key, KeyError> {
    match Container::of(contents) {
        Some(Container::Json) => securesystemslib::read_public(contents),
        Some(Container::Der(DerForm::Spki)) => PublicKey::from_spki(contents)?.to_key(),
        Some(Container::Der(DerForm::Pkcs1Public)) => PublicKey::rsa(contents)?.to_key(),
        Some(Container::Der(_) | Container::Sealed) => {
            Err(KeyError::NotAPublicKey { reason: "it is a private key" })
        }
        Some(Container::Pem) | None => PublicKey::from_pem(contents)?.to_key(),
    }
}

impl PrivateKey {
    /// Reads a private key from a file of any kind: PKCS#8, PKCS#1 and SEC1 in PEM or DER, and what securesystemslib
    /// wrote before version 1. A password for a key that is not encrypted is ignored.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn read(contents: &[u8], password: Option<&Password>) -> Result<Self, KeyError> {
        match Container::of(contents) {
            Some(Container::Pem) => Self::from_pem(contents, password),
            Some(Container::Der(form)) => Self::of(secret_in(form, contents, password)?),
            Some(Container::Json) => securesystemslib::read_private(contents),
            Some(Container::Sealed) => securesystemslib::open(contents, password),
            None => Err(KeyError::NotAPrivateKey { reason: "it is in no form that keys are kept in" }),
        }
    }

    /// Reads the first private key in a PEM text. A password for a key that is not encrypted is ignored.
    ///
    /// # Errors
    /// [`KeyError::PasswordNeeded`] and [`KeyError::WrongPassword`] where asking again may help,
    /// [`KeyError::Unsupported`] for another container or algorithm, else what is wrong with the key.
    pub fn from_pem(pem: &[u8], password: Option<&Password>) -> Result<Self, KeyError> {
        let malformed = |reason| KeyError::NotAPrivateKey { reason };
        let envelope = pem::envelopes(pem)
            .find(Envelope::is_private)
            .ok_or(malformed("it has no PEM envelope of a private key"))?;
        let form = DerForm::labelled(envelope.label)?;
        let contents = envelope.contents().map_err(|_| malformed("its PEM is not Base64"))?;
        let old_encryption = envelope.is_encrypted() && form != DerForm::Pkcs8Encrypted;
        let secret = if old_encryption {
            let der = traditional::decrypt(&envelope, contents, password)?;
            secret_in(form, &der, None).map_err(wrong_where_garbled)?
        } else {
            secret_in(form, &contents, password)?
        };
        Self::of(secret)
    }
}

/// Decryption without a seal ends in nonsense more often than in an error.
fn wrong_where_garbled(error: KeyError) -> KeyError {
    match error {
        KeyError::NotAPrivateKey { .. } => KeyError::WrongPassword,
        error => error,
    }
}

fn secret_in(form: DerForm, der: &[u8], password: Option<&Password>) -> Result<Secret, KeyError> {
    match form {
        DerForm::Pkcs8 => pkcs8_file::read(der),
        DerForm::Pkcs8Encrypted => {
            let der = pkcs8_file::decrypt(der, password)?;
            pkcs8_file::read(&der).map_err(wrong_where_garbled)
        }
        DerForm::Pkcs1 => traditional::read_pkcs1(der),
        DerForm::Sec1 => traditional::read_sec1(der),
        DerForm::Spki | DerForm::Pkcs1Public => {
            Err(KeyError::NotAPrivateKey { reason: "it is a public key" })
        }
    }
}

/// The kinds of key files.
enum Container {
    Pem,
    Der(DerForm),
    /// JSON as securesystemslib wrote it.
    Json,
    /// The same, encrypted.
    Sealed,
}

impl Container {
    fn of(contents: &[u8]) -> Option<Self> {
        if let Some(form) = DerForm::of(contents) {
            return Some(Self::Der(form));
        }
        let text =
            std::str::from_utf8(contents).ok()?.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        if text.starts_with('{') {
            Some(Self::Json)
        } else if text.contains("-----BEGIN ") {
            Some(Self::Pem)
        } else if text.contains(securesystemslib::DELIMITER) {
            Some(Self::Sealed)
        } else {
            None
        }
    }
}

/// The structures that hold keys in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DerForm {
    Pkcs8,
    Pkcs8Encrypted,
    Pkcs1,
    Sec1,
    Spki,
    Pkcs1Public,
}

impl DerForm {
    /// Tells the structure by the types of its first elements, which differ in all.
    fn of(der: &[u8]) -> Option<Self> {
        let outer = AnyRef::from_der(der).ok().filter(|any| any.tag() == Tag::Sequence)?;
        let mut rest = outer.value();
        let mut tags = [None; 3];
        for tag in &mut tags {
            let Some((element, after)) = AnyRef::from_der_partial(rest).ok() else { break };
            (*tag, rest) = (Some(element.tag()), after);
        }
        match tags {
            [Some(Tag::Integer), Some(Tag::Sequence), _] => Some(Self::Pkcs8),
            [Some(Tag::Sequence), Some(Tag::OctetString), _] => Some(Self::Pkcs8Encrypted),
            [Some(Tag::Integer), Some(Tag::Integer), Some(Tag::Integer)] => Some(Self::Pkcs1),
            [Some(Tag::Integer), Some(Tag::OctetString), _] => Some(Self::Sec1),
            [Some(Tag::Sequence), Some(Tag::BitString), _] => Some(Self::Spki),
            [Some(Tag::Integer), Some(Tag::Integer), None] => Some(Self::Pkcs1Public),
            _ => None,
        }
    }

    fn labelled(label: &str) -> Result<Self, KeyError> {
        match label {
            "PRIVATE KEY" => Ok(Self::Pkcs8),
            "ENCRYPTED PRIVATE KEY" => Ok(Self::Pkcs8Encrypted),
            "RSA PRIVATE KEY" => Ok(Self::Pkcs1),
            "EC PRIVATE KEY" => Ok(Self::Sec1),
            other => Err(KeyError::Unsupported { what: format!("the private key container {other:?}") }),
        }
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
