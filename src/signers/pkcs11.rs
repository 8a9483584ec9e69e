//! Keys on a token, behind a PKCS#11 module: RSA, ECDSA on P-256 and P-384, Ed25519 where the token has it.
//!
//! The message is hashed here, but for Ed25519: a token sees a digest and every token can sign one.

use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use pkcs8::der::asn1::{OctetStringRef, UintRef};
use pkcs8::der::{Decode, Encode};
use rsa::pkcs1::RsaPublicKey;
use sha2::{Digest, Sha256, Sha384};

use super::token_uri::TokenUri;
use super::{ecdsa, out_of_reach};
use crate::crypto::{KeyError, Password, SignError, Signer, read_public_key, respelled};
use crate::metadata::Key;

/// What precedes a SHA-256 digest under PKCS #1 v1.5 (RFC 8017, section 9.2).
const SHA256_INFO: [u8; 19] =
    *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// The names of the curves P-256 and P-384 in DER.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";

/// A token that a URI names, perhaps still locked.
pub struct Token {
    uri: TokenUri,
    session: Session,
    info: TokenInfo,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.info.label())
    }
}

impl Token {
    /// Loads the module and finds the token.
    ///
    /// # Errors
    /// [`KeyError::OutOfReach`] where there is no module, no such token or more than one.
    pub fn find(uri: &TokenUri) -> Result<Self, KeyError> {
        let path = uri.module.as_deref().ok_or_else(|| {
            out_of_reach("no PKCS#11 module is named: add ?module-path=FILE, or set PKCS11_MODULE_PATH")
        })?;
        let failed = |error: Error| {
            out_of_reach(format!("the PKCS#11 module '{}' failed: {}", path.display(), brief(&error)))
        };
        let module = Pkcs11::new(path).map_err(failed)?;
        // Modules are not made to be unloaded while the program runs, and one may serve several keys.
        mem::forget(module.clone());
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut found = Vec::new();
        for slot in module.get_slots_with_initialized_token().map_err(failed)? {
            let info = module.get_token_info(slot).map_err(failed)?;
            if is_named(uri, slot, &info) {
                found.push((slot, info));
            }
        }
        let (slot, info) = only(found, "token")?;
        let session = module.open_ro_session(slot).map_err(failed)?;
        Ok(Self { uri: uri.clone(), session, info })
    }

    /// Tells whether the token wants a PIN before it signs. One with a keypad of its own asks there.
    pub fn wants_pin(&self) -> bool {
        self.info.login_required() && !self.info.protected_authentication_path()
    }

    /// Returns the public half where the token shows it; one that is locked may hide it.
    ///
    /// # Errors
    /// Where the URI names several keys or the key is of a kind that is not supported.
    pub fn public_key(&self) -> Result<Option<Key>, KeyError> {
        match self.objects(ObjectClass::PUBLIC_KEY)? {
            none if none.is_empty() => Ok(None),
            some => self.public_half(only(some, "public key")?).map(Some),
        }
    }

    /// Unlocks the token. A PIN for one that wants none is ignored.
    ///
    /// # Errors
    /// [`KeyError::PasswordNeeded`] and [`KeyError::WrongPassword`], or why the token refuses any PIN.
    pub fn unlock(&self, pin: Option<&Password>) -> Result<(), KeyError> {
        if !self.info.login_required() {
            return Ok(());
        }
        let pin = match (self.wants_pin(), pin) {
            (false, _) => None,
            (true, None) => return Err(KeyError::PasswordNeeded),
            (true, Some(pin)) => Some(AuthPin::from(pin.as_str().to_owned())),
        };
        match self.session.login(UserType::User, pin.as_ref()) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                Err(KeyError::WrongPassword)
            }
            Err(error) => Err(out_of_reach(format!("the token refuses to be unlocked: {}", brief(&error)))),
        }
    }

    /// Finds the key on an unlocked token.
    ///
    /// # Errors
    /// Where the URI names no key, several, or one whose public half the token does not tell.
    pub fn into_key(self) -> Result<TokenKey, KeyError> {
        let private = only(self.objects(ObjectClass::PRIVATE_KEY)?, "private key")?;
        let public = match self.public_key()? {
            Some(public) => public,
            // that of an RSA key is in its private half too
            None => self.public_half(private)?,
        };
        Ok(TokenKey { session: Mutex::new(self.session), private, public })
    }

    fn objects(&self, class: ObjectClass) -> Result<Vec<ObjectHandle>, KeyError> {
        let label = self.uri.object.clone().map(Attribute::Label);
        let id = self.uri.id.clone().map(Attribute::Id);
        let template: Vec<_> = [Attribute::Class(class)].into_iter().chain(label).chain(id).collect();
        self.session.find_objects(&template).map_err(refused)
    }

    fn public_half(&self, object: ObjectHandle) -> Result<Key, KeyError> {
        const WANTED: [AttributeType; 5] = [
            AttributeType::KeyType,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::EcParams,
            AttributeType::EcPoint,
        ];
        let attributes = self.session.get_attributes(object, &WANTED).map_err(refused)?;
        public_key(&attributes)
    }
}

fn is_named(uri: &TokenUri, slot: Slot, info: &TokenInfo) -> bool {
    let fits =
        |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is.trim_end());
    fits(&uri.token, info.label())
        && fits(&uri.manufacturer, info.manufacturer_id())
        && fits(&uri.model, info.model())
        && fits(&uri.serial, info.serial_number())
        && uri.slot_id.is_none_or(|id| id == slot.id())
}

fn only<T>(mut found: Vec<T>, what: &str) -> Result<T, KeyError> {
    match (found.len(), found.pop()) {
        (1, Some(one)) => Ok(one),
        (0, _) => Err(out_of_reach(format!("no {what} is what the URI names"))),
        (count, _) => Err(out_of_reach(format!("the URI names {count} {what}s: add token=, object= or id="))),
    }
}

fn refused(error: Error) -> KeyError {
    out_of_reach(format!("the token failed: {}", brief(&error)))
}

/// Returns the name of an error; the texts of the standard are paragraphs.
fn brief(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{code:?} in {function}"),
        other => other.to_string(),
    }
}

/// Reads a public key from the attributes of its object.
fn public_key(attributes: &[Attribute]) -> Result<Key, KeyError> {
    let malformed = || out_of_reach("the token does not tell the public half of the key");
    let mut kind = None;
    let (mut modulus, mut exponent, mut curve, mut point) = (None, None, None, None);
    for attribute in attributes {
        match attribute {
            Attribute::KeyType(value) => kind = Some(*value),
            Attribute::Modulus(value) => modulus = Some(value.as_slice()),
            Attribute::PublicExponent(value) => exponent = Some(value.as_slice()),
            Attribute::EcParams(value) => curve = Some(value.as_slice()),
            Attribute::EcPoint(value) => point = Some(value.as_slice()),
            _ => {}
        }
    }
    match kind.ok_or_else(malformed)? {
        KeyType::RSA => {
            let (modulus, exponent) = modulus.zip(exponent).ok_or_else(malformed)?;
            let der = rsa_der(modulus, exponent).ok_or_else(malformed)?;
            read_public_key(&der)
        }
        KeyType::EC => {
            let scheme = match curve {
                Some(P256) => "ecdsa-sha2-nistp256",
                Some(P384) => "ecdsa-sha2-nistp384",
                _ => return Err(KeyError::Unsupported { what: "the elliptic curve of the key".into() }),
            };
            let point = unwrapped(point.ok_or_else(malformed)?);
            respelled(&Key::new("ecdsa", scheme, hex::encode(point)))
        }
        KeyType::EC_EDWARDS => {
            let point = unwrapped(point.ok_or_else(malformed)?);
            respelled(&Key::new("ed25519", "ed25519", hex::encode(point)))
        }
        _ => Err(KeyError::Unsupported { what: "the type of the key on the token".into() }),
    }
}

fn rsa_der(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let key =
        RsaPublicKey { modulus: UintRef::new(modulus).ok()?, public_exponent: UintRef::new(exponent).ok()? };
    key.to_der().ok()
}

/// Returns a point out of the OCTET STRING that the standard puts it in and some tokens leave out.
fn unwrapped(point: &[u8]) -> &[u8] {
    <&OctetStringRef>::from_der(point).map_or(point, |string| string.as_bytes())
}

/// A key on an unlocked token.
pub struct TokenKey {
    session: Mutex<Session>,
    private: ObjectHandle,
    public: Key,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.public.id())
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> &Key {
        &self.public
    }

    /// Signs bytes. PSS has a salt of 32 bytes.
    fn sign(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let sha256 = || Sha256::digest(message).to_vec();
        match (self.public.keytype.as_str(), scheme) {
            ("rsa", "rsassa-pss-sha256") => {
                let parameters = PkcsPssParams {
                    hash_alg: MechanismType::SHA256,
                    mgf: PkcsMgfType::MGF1_SHA256,
                    s_len: 32.into(),
                };
                self.make(&Mechanism::RsaPkcsPss(parameters), &sha256())
            }
            ("rsa", "rsa-pkcs1v15-sha256") => {
                self.make(&Mechanism::RsaPkcs, &[&SHA256_INFO[..], &sha256()].concat())
            }
            ("ecdsa", "ecdsa-sha2-nistp256") if self.public.scheme == scheme => self.make_ecdsa(&sha256()),
            ("ecdsa", "ecdsa-sha2-nistp384") if self.public.scheme == scheme => {
                self.make_ecdsa(&Sha384::digest(message))
            }
            ("ed25519", "ed25519") => {
                let parameters = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                self.make(&Mechanism::Eddsa(parameters), message)
            }
            (keytype, scheme) => {
                Err(SignError::UnsupportedScheme { keytype: keytype.to_owned(), scheme: scheme.to_owned() })
            }
        }
    }
}

impl TokenKey {
    fn make(&self, mechanism: &Mechanism<'_>, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        self.session()
            .sign(mechanism, self.private, bytes)
            .map_err(|error| SignError::Failed { reason: format!("the token failed: {}", brief(&error)) })
    }

    fn make_ecdsa(&self, digest: &[u8]) -> Result<Vec<u8>, SignError> {
        let raw = self.make(&Mechanism::Ecdsa, digest)?;
        ecdsa::to_der(&raw)
            .ok_or_else(|| SignError::Failed { reason: "the token's signature is malformed".to_owned() })
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // a thread that panicked while it signed leaves nothing half done in here
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_what_is_missing() {
        let uri = TokenUri::parse("pkcs11:token=a").unwrap();
        let error = Token::find(&uri).unwrap_err();
        assert!(error.to_string().contains("no PKCS#11 module is named"), "{error}");
        let uri = uri.with_default_module(Some("/nonexistent/module.so".into()));
        let error = Token::find(&uri).unwrap_err();
        assert!(error.to_string().contains("the PKCS#11 module '/nonexistent/module.so' failed"), "{error}");
    }

    #[test]
    fn reads_points_wrapped_and_bare() {
        let point =
            hex::decode("0381ff25f4bad954f9d992b4b5cde3c0967e6b4b1dcf81192b29bde2451ca77bcd").unwrap();
        let wrapped = [&[4, 33][..], &point].concat();
        let read = |point: Vec<u8>| {
            let curve = Attribute::EcParams(P256.to_vec());
            public_key(&[Attribute::KeyType(KeyType::EC), curve, Attribute::EcPoint(point)])
        };
        assert_eq!(read(point.clone()).unwrap(), read(wrapped).unwrap());
        assert!(matches!(public_key(&[]), Err(KeyError::OutOfReach { .. })));
    }

    proptest! {
        #[test]
        fn never_panics_on_any_attributes(one in prop::collection::vec(any::<u8>(), 0..100), two in prop::collection::vec(any::<u8>(), 0..100)) {
            for kind in [KeyType::RSA, KeyType::EC, KeyType::EC_EDWARDS] {
                for curve in [P256, P384, &one] {
                    let _ = public_key(&[
                        Attribute::KeyType(kind),
                        Attribute::Modulus(one.clone()),
                        Attribute::PublicExponent(two.clone()),
                        Attribute::EcParams(curve.to_vec()),
                        Attribute::EcPoint(two.clone()),
                    ]);
                }
            }
        }
    }
}
