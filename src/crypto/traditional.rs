//! The forms of private keys before PKCS#8: PKCS#1 for RSA (RFC 8017), SEC1 for elliptic curves (RFC 5915), and the
//! encryption of PEM that OpenSSL had for both. They are read only.
//!
//! That encryption derives its key by one round of MD5 and has no seal: nothing tells a wrong password from damage.

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use md5::{Digest, Md5};
use p256::ecdsa::SigningKey as P256Key;
use p384::ecdsa::SigningKey as P384Key;
use pkcs8::der::Decode;
use rsa::RsaPrivateKey;
use rsa::pkcs1::RsaPrivateKeyRef;
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

use super::error::KeyError;
use super::password::Password;
use super::pem::Envelope;
use super::private_key::Secret;
use super::public_key::{Algorithm, check_rsa_bits};

fn malformed(reason: &'static str) -> KeyError {
    KeyError::NotAPrivateKey { reason }
}

/// Reads the PKCS#1 form, which is also the inside of PKCS#8.
pub(super) fn read_pkcs1(der: &[u8]) -> Result<Secret, KeyError> {
    let parts = RsaPrivateKeyRef::from_der(der).map_err(|_| malformed("it does not hold RSA numbers"))?;
    check_rsa_bits(&parts.modulus)?;
    let key = RsaPrivateKey::try_from(parts).map_err(|_| malformed("its RSA numbers make no key"))?;
    Ok(Secret::Rsa(Box::new(key)))
}

/// Reads the SEC1 form. Where it names no curve, its length does.
pub(super) fn read_sec1(der: &[u8]) -> Result<Secret, KeyError> {
    let parts =
        EcPrivateKey::from_der(der).map_err(|_| malformed("it does not hold an elliptic curve's key"))?;
    let curve =
        match (parts.parameters.and_then(|parameters| parameters.named_curve()), parts.private_key.len()) {
            (Some(curve), _) => Algorithm::of_curve(curve)?,
            (None, 32) => Algorithm::P256,
            (None, 48) => Algorithm::P384,
            (None, _) => {
                return Err(KeyError::Unsupported { what: "an elliptic curve without a name".into() });
            }
        };
    Ok(match curve {
        Algorithm::P384 => {
            let key =
                p384::SecretKey::try_from(parts).map_err(|_| malformed("its P-384 bytes make no key"))?;
            Secret::P384(Box::new(P384Key::from(key)))
        }
        _ => {
            let key =
                p256::SecretKey::try_from(parts).map_err(|_| malformed("its P-256 bytes make no key"))?;
            Secret::P256(Box::new(P256Key::from(key)))
        }
    })
}

/// Decrypts what an envelope holds by the headers `Proc-Type` and `DEK-Info`.
pub(super) fn decrypt(
    envelope: &Envelope<'_>,
    ciphertext: Zeroizing<Vec<u8>>,
    password: Option<&Password>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let info = envelope.header("DEK-Info").ok_or(malformed("its PEM does not say how it is encrypted"))?;
    let (name, iv) = info.split_once(',').unwrap_or((info, ""));
    let cipher = Cipher::named(name.trim()).ok_or_else(|| KeyError::Unsupported {
        what: format!("the encryption {:?} of the private key", name.trim()),
    })?;
    let iv = hex::decode(iv.trim())
        .ok()
        .filter(|iv| iv.len() == cipher.block_len())
        .ok_or(malformed("its PEM has no initialisation vector as long as its cipher's"))?;
    if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(cipher.block_len()) {
        return Err(malformed("its encrypted bytes are cut off"));
    }
    let password = password.ok_or(KeyError::PasswordNeeded)?;
    let mut key = Zeroizing::new(vec![0; cipher.key_len()]);
    derive(password.as_str().as_bytes(), &iv[..8], &mut key);
    cipher.decrypt(&key, &iv, ciphertext).ok_or(KeyError::WrongPassword)
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn derive(password: &[u8], salt: &[u8], key: &mut [u8]) {
    let mut block = Zeroizing::new([0; 16]);
    for (index, part) in key.chunks_mut(16).enumerate() {
        let mut md5 = Md5::new();
        if index > 0 {
            md5.update(*block);
        }
        md5.update(password);
        md5.update(salt);
        md5.finalize_into((&mut *block).into());
        part.copy_from_slice(&block[..part.len()]);
    }
}

/// The ciphers of the old PEM encryption that are read, all of them in CBC mode.
#[derive(Debug, Clone, Copy)]
enum Cipher {
    DesEde3,
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "DES-EDE3-CBC" => Self::DesEde3,
            "AES-128-CBC" => Self::Aes128,
            "AES-192-CBC" => Self::Aes192,
            "AES-256-CBC" => Self::Aes256,
            _ => return None,
        })
    }

    fn block_len(self) -> usize {
        match self {
            Self::DesEde3 => 8,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
        }
    }

    fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::DesEde3 | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// Decrypts in place; none where the padding is wrong.
    fn decrypt(self, key: &[u8], iv: &[u8], bytes: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::DesEde3 => decrypt_cbc::<des::TdesEde3>(key, iv, bytes),
            Self::Aes128 => decrypt_cbc::<aes::Aes128>(key, iv, bytes),
            Self::Aes192 => decrypt_cbc::<aes::Aes192>(key, iv, bytes),
            Self::Aes256 => decrypt_cbc::<aes::Aes256>(key, iv, bytes),
        }
    }
}

fn decrypt_cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    mut bytes: Zeroizing<Vec<u8>>,
) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let length = cipher.decrypt_padded::<Pkcs7>(&mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_as_openssl_does() {
        // openssl enc -aes-256-cbc -md md5 -S 0102030405060708 -k secret -P
        let mut key = [0; 32];
        derive(b"secret", &[1, 2, 3, 4, 5, 6, 7, 8], &mut key);
        assert_eq!(hex::encode(key), "c9e5a1bd216dbe1317e230cef48f38ee7f0e17ad64022144bccec4a1aa2879ab");
    }
}
