//! Public keys and their names. What a key can do with bytes is in [`crate::crypto`].

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Extra;
use crate::canonical;

/// The name of a key in metadata: any string. Ids made by this crate are the lower-case hexadecimal SHA-256
/// of the key's canonical form; ids made by others are kept as they are (TAP 12).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// Takes a string as the name of a key.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns at most the first eight characters, for people.
    pub fn short(&self) -> &str {
        self.0.char_indices().nth(8).map_or(self.0.as_str(), |(end, _)| &self.0[..end])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key as metadata states it (specification 4.2).
///
/// Key types and schemes that this crate does not know are kept: their signatures do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `ed25519`, `rsa`, `ecdsa`, the old `ecdsa-sha2-nistp256`, or something else.
    pub keytype: String,
    /// The signature scheme, such as `rsassa-pss-sha256`.
    pub scheme: String,
    /// The key itself; for the types known here `{"public": …}`, hexadecimal or PEM.
    pub keyval: Map<String, Value>,
    /// Members this crate does not know, such as `keyid_hash_algorithms`.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Key {
    /// Makes a key whose `keyval` is `{"public": public}`.
    pub fn new(keytype: impl Into<String>, scheme: impl Into<String>, public: impl Into<String>) -> Self {
        let keyval = Map::from_iter([("public".to_owned(), Value::from(public.into()))]);
        Self { keytype: keytype.into(), scheme: scheme.into(), keyval, extra: Extra::new() }
    }

    /// Returns the public half as metadata spells it, if the key has one.
    pub fn public(&self) -> Option<&str> {
        self.keyval.get("public").and_then(Value::as_str)
    }

    /// Returns who holds the key, where its metadata states that, as tuf-on-ci does: the member `x-…-keyowner`, or else
    /// the place `x-…-online-uri` of a key that a service holds.
    pub fn owner(&self) -> Option<&str> {
        let stated = |end: &str| {
            let mut members =
                self.extra.iter().filter(|(name, _)| name.starts_with("x-") && name.ends_with(end));
            members.find_map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        stated("-keyowner").or_else(|| stated("-online-uri"))
    }

    /// Computes the key's default id: SHA-256 over the canonical form of `keytype`, `scheme` and `keyval`.
    pub fn id(&self) -> KeyId {
        #[derive(Serialize)]
        struct Hashed<'a> {
            keytype: &'a str,
            keyval: &'a Map<String, Value>,
            scheme: &'a str,
        }
        let hashed = Hashed { keytype: &self.keytype, keyval: &self.keyval, scheme: &self.scheme };
        // A foreign `keyval` may hold what canonical JSON refuses; its id then covers nothing and matches nothing.
        let bytes = canonical::from_value(&hashed).unwrap_or_default();
        KeyId(hex::encode(Sha256::digest(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_id_that_securesystemslib_computes() {
        // securesystemslib.signer.SSlibKey.from_crypto over the public key of 32 zero bytes' ed25519 private key
        let key = Key::new(
            "ed25519",
            "ed25519",
            "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
        );
        assert_eq!(key.id().as_str(), "4cc3f338069d638e761ed397f5c53df4129a276face46a446c202617331ca1b3");
    }
}
