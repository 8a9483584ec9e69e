//! Keys as securesystemslib kept them before version 1: JSON, plain or encrypted. They are read only.
//!
//! An encrypted key is `salt@@@@iterations@@@@hmac@@@@iv@@@@ciphertext`, the numbers in hexadecimal but the
//! iterations: PBKDF2-HMAC-SHA256 makes the key of both AES-256-CTR and the HMAC-SHA256 over the ciphertext.

use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::MAX_PBKDF2_ITERATIONS;
use super::error::KeyError;
use super::password::Password;
use super::private_key::{PrivateKey, Secret};
use super::public_key::{PublicKey, respelled};
use super::signer::Signer;
use crate::metadata::Key;

/// What parts the fields of an encrypted key.
pub(super) const DELIMITER: &str = "@@@@";

/// The longest salt that is read, in bytes; the tool made 16.
const MAX_SALT: usize = 64;

/// A key in JSON. What else is in it, such as `keyid`, says nothing that the key itself does not.
#[derive(Deserialize)]
struct KeyFile<'a> {
    keytype: String,
    scheme: Option<String>,
    #[serde(borrow)]
    keyval: KeyValue<'a>,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    public: String,
    /// As it stands in the text: a parser that unescapes it would leave copies behind.
    #[serde(borrow)]
    private: Option<&'a RawValue>,
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::NotAPrivateKey { reason }
}

/// Tells whether a JSON text holds a private key.
pub(super) fn is_private(json: &[u8]) -> bool {
    KeyFile::parse(json).is_some_and(|file| file.private().is_some())
}

/// Reads a public key, or the public half of a private one.
pub(super) fn read_public(json: &[u8]) -> Result<Key, KeyError> {
    let not_a_key = KeyError::NotAPublicKey { reason: "its JSON has no keytype and keyval" };
    respelled(&KeyFile::parse(json).ok_or(not_a_key)?.stated())
}

/// Reads a private key that is not encrypted.
pub(super) fn read_private(json: &[u8]) -> Result<PrivateKey, KeyError> {
    let file = KeyFile::parse(json).ok_or(malformed("its JSON has no keytype and keyval"))?;
    let text = file.private().ok_or(malformed("its JSON holds no private half"))?;
    let text = unescaped(text).ok_or(malformed("its private half is no plain text"))?;
    let key = match file.keytype.as_str() {
        "ed25519" => {
            let mut seed = Zeroizing::new([0; 32]);
            hex::decode_to_slice(text.as_bytes(), &mut *seed)
                .map_err(|_| malformed("its private half is not 32 bytes in hexadecimal"))?;
            PrivateKey::of(Secret::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))))?
        }
        "rsa" | "ecdsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" => {
            PrivateKey::from_pem(text.as_bytes(), None)?
        }
        other => return Err(KeyError::Unsupported { what: format!("the key type {other:?}") }),
    };
    let stated = PublicKey::of(&file.stated())?;
    if stated != PublicKey::of(key.public_key())? {
        return Err(malformed("its two halves do not belong together"));
    }
    Ok(key)
}

/// Opens an encrypted key. The seal is checked before anything is decrypted.
pub(super) fn open(contents: &[u8], password: Option<&Password>) -> Result<PrivateKey, KeyError> {
    let sealed = Sealed::parse(contents)?;
    if !(1..=MAX_PBKDF2_ITERATIONS).contains(&sealed.iterations) {
        return Err(KeyError::Unsupported { what: "the cost of deriving the encryption key".into() });
    }
    let password = password.ok_or(KeyError::PasswordNeeded)?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_str().as_bytes(), &sealed.salt, sealed.iterations, &mut *key);
    let mut seal =
        Hmac::<Sha256>::new_from_slice(&*key).map_err(|_| malformed("its seal cannot be computed"))?;
    seal.update(&sealed.ciphertext);
    // in constant time
    seal.verify_slice(&sealed.hmac).map_err(|_| KeyError::WrongPassword)?;
    let mut text = Zeroizing::new(sealed.ciphertext);
    Ctr128BE::<aes::Aes256>::new((&*key).into(), (&sealed.iv).into()).apply_keystream(&mut text);
    read_private(&text)
}

/// An encrypted key in its parts.
struct Sealed {
    salt: Vec<u8>,
    iterations: u32,
    hmac: [u8; 32],
    iv: [u8; 16],
    ciphertext: Vec<u8>,
}

impl Sealed {
    fn parse(contents: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(contents).map_err(|_| malformed("it is no text"))?;
        let fields: Vec<&str> = text.trim().split(DELIMITER).collect();
        let [salt, iterations, hmac, iv, ciphertext] = fields[..] else {
            return Err(malformed("it does not have the five fields of a securesystemslib key"));
        };
        let salt = hex::decode(salt).ok().filter(|salt| salt.len() <= MAX_SALT);
        Ok(Self {
            salt: salt.ok_or(malformed("its salt is damaged"))?,
            iterations: iterations.parse().map_err(|_| malformed("its number of iterations is damaged"))?,
            hmac: array(hmac).ok_or(malformed("its HMAC is damaged"))?,
            iv: array(iv).ok_or(malformed("its initialisation vector is damaged"))?,
            ciphertext: hex::decode(ciphertext).map_err(|_| malformed("its encrypted bytes are damaged"))?,
        })
    }
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

impl<'a> KeyFile<'a> {
    fn parse(json: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
    }

    /// Returns the private half, still escaped; an empty one counts as missing.
    fn private(&self) -> Option<&'a str> {
        self.keyval.private.map(RawValue::get).filter(|text| *text != "\"\"" && *text != "null")
    }

    fn stated(&self) -> Key {
        Key::new(&self.keytype, self.scheme.clone().unwrap_or_default(), &self.keyval.public)
    }
}

/// Takes the quotes and the escapes that keys need off a JSON text, into a buffer of its final size.
fn unescaped(json: &str) -> Option<Zeroizing<String>> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut text = Zeroizing::new(String::with_capacity(json.len()));
    while let Some(character) = rest.next() {
        text.push(match character {
            '\\' => match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                plain @ ('"' | '\\' | '/') => plain,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(text)
}

#[cfg(test)]
#[path = "securesystemslib_tests.rs"]
mod tests;
