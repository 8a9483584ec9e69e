//! Digests as metadata lists them, and the files they describe.

use std::fmt;
use std::ops::Range;

use ring::digest;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::{Extra, Positive, Text};
use crate::canonical::{self, Scanner};

/// A digest function that this crate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Returns the name that metadata uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Finds an algorithm by the name that metadata uses.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A digest that may become a part of a file's name: lower-case hexadecimal, as long as its algorithm's digests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameDigest<'a>(&'a str);

impl<'a> NameDigest<'a> {
    /// Reads a digest; `None` for any other text, which metadata may list in the place of one.
    pub fn parse(algorithm: Algorithm, text: &'a str) -> Option<Self> {
        let digits = match algorithm {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        };
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == digits && text.bytes().all(is_digit)).then_some(Self(text))
    }

    /// Returns the digest.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Digests of one file in lower-case hexadecimal, by the name of the algorithm; unknown algorithms are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashes(Digests);

/// A repository lists a great many targets, and almost all of them with one digest: that one is kept in place.
#[derive(Debug, Clone)]
enum Digests {
    One(Listed),
    /// Sorted by the name.
    Many(Vec<Listed>),
}

/// A digest as it is listed.
type Listed = (Name, Box<str>);

/// The name of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Known(Algorithm),
    Other(Box<str>),
}

impl Name {
    fn of(name: &str) -> Self {
        Algorithm::from_name(name).map_or_else(|| Self::Other(name.into()), Self::Known)
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Known(algorithm) => algorithm.name(),
            Self::Other(name) => name,
        }
    }
}

impl Digests {
    fn listed(&self) -> &[Listed] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Default for Digests {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl PartialEq for Digests {
    fn eq(&self, other: &Self) -> bool {
        self.listed() == other.listed()
    }
}

impl Eq for Digests {}

impl Hashes {
    /// Sets the digest of an algorithm.
    pub fn insert(&mut self, algorithm: &str, digest: &str) {
        let listed = (Name::of(algorithm), digest.to_ascii_lowercase().into_boxed_str());
        let mut many = match std::mem::take(&mut self.0) {
            Digests::Many(many) if many.is_empty() => {
                self.0 = Digests::One(listed);
                return;
            }
            Digests::One(one) => vec![one],
            Digests::Many(many) => many,
        };
        match many.binary_search_by(|(name, _)| name.as_str().cmp(algorithm)) {
            Ok(at) => many[at] = listed,
            Err(at) => many.insert(at, listed),
        }
        self.0 = Digests::Many(many);
    }

    /// Returns the digest of an algorithm.
    pub fn of(&self, algorithm: Algorithm) -> Option<&str> {
        let listed = self.0.listed().iter().find(|(name, _)| *name == Name::Known(algorithm));
        listed.map(|(_, digest)| &**digest)
    }

    /// Returns the digest of an algorithm, where it is one that may become a part of a file's name.
    pub fn name_digest(&self, algorithm: Algorithm) -> Option<NameDigest<'_>> {
        self.of(algorithm).and_then(|text| NameDigest::parse(algorithm, text))
    }

    /// Iterates over algorithm and digest, sorted by algorithm.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.listed().iter().map(|(name, digest)| (name.as_str(), &**digest))
    }

    /// Iterates over the algorithms listed that this crate computes.
    pub fn known(&self) -> impl Iterator<Item = Algorithm> {
        self.0.listed().iter().filter_map(|(name, _)| match name {
            Name::Known(algorithm) => Some(*algorithm),
            Name::Other(_) => None,
        })
    }

    /// Tells whether no digest is listed.
    pub fn is_empty(&self) -> bool {
        self.0.listed().is_empty()
    }

    /// Writes the member `hashes` of an object in canonical form.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"\"hashes\":{");
        for (index, (name, digest)) in self.iter().enumerate() {
            if index > 0 {
                to.push(b',');
            }
            canonical::write_string(name, to);
            to.push(b':');
            canonical::write_string(digest, to);
        }
        to.push(b'}');
    }

    /// Goes behind the member `hashes`; hands out where names and digests stand, without their quotes. Tells whether it is
    /// one that lists digests and in which nothing is escaped; else the place is lost.
    pub(super) fn skip(
        scanner: &mut Scanner<'_>,
        mut digest: impl FnMut(Range<usize>, Range<usize>),
    ) -> bool {
        if !scanner.skip(b"\"hashes\":{") {
            return false;
        }
        loop {
            let Some(name) = scanner.plain_string() else { return false };
            if !scanner.skip(b":") {
                return false;
            }
            let Some(text) = scanner.plain_string() else { return false };
            digest(name, text);
            if !scanner.skip(b",") {
                return scanner.skip(b"}");
            }
        }
    }
}

impl FromIterator<(Algorithm, String)> for Hashes {
    fn from_iter<I: IntoIterator<Item = (Algorithm, String)>>(digests: I) -> Self {
        let mut hashes = Self::default();
        for (algorithm, digest) in digests {
            hashes.insert(algorithm.name(), &digest);
        }
        hashes
    }
}

impl Serialize for Hashes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.listed().len()))?;
        for (name, digest) in self.iter() {
            map.serialize_entry(name, digest)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digests;
        impl<'de> Visitor<'de> for Digests {
            type Value = Hashes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("digests by algorithm")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hashes, A::Error> {
                let mut hashes = Hashes::default();
                while let Some((name, digest)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    hashes.insert(&name.0, &digest.0);
                }
                Ok(hashes)
            }
        }
        deserializer.deserialize_map(Digests)
    }
}

/// Digests of one file as they were computed, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Computed {
    sha256: Option<[u8; 32]>,
    sha512: Option<Box<[u8; 64]>>,
}

impl Computed {
    /// Sets the digest of an algorithm. Bytes of another length than its digests have are none.
    pub fn insert(&mut self, algorithm: Algorithm, digest: &[u8]) {
        match algorithm {
            Algorithm::Sha256 => self.sha256 = digest.try_into().ok(),
            Algorithm::Sha512 => self.sha512 = digest.try_into().ok().map(Box::new),
        }
    }

    /// Returns the digest of an algorithm.
    pub fn of(&self, algorithm: Algorithm) -> Option<&[u8]> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.as_ref().map(|digest| &digest[..]),
            Algorithm::Sha512 => self.sha512.as_ref().map(|digest| &digest[..]),
        }
    }

    /// Returns the digests as metadata lists them.
    pub fn to_hashes(&self) -> Hashes {
        let computed =
            Algorithm::ALL.into_iter().filter_map(|algorithm| Some((algorithm, self.of(algorithm)?)));
        computed.map(|(algorithm, digest)| (algorithm, digits(digest))).collect()
    }
}

/// Writes a digest in hexadecimal.
pub(crate) fn digits(digest: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * digest.len());
    write_digits(digest, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

pub(super) fn write_digits(digest: &[u8], to: &mut Vec<u8>) {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    let start = to.len();
    to.resize(start + 2 * digest.len(), 0);
    for (pair, byte) in to[start..].as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
}

/// Computes the digests of one stream of bytes.
pub struct Hasher {
    contexts: Vec<(Algorithm, digest::Context)>,
    length: u64,
}

impl Hasher {
    /// Starts with the algorithms wanted.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let context = |algorithm| match algorithm {
            Algorithm::Sha256 => digest::Context::new(&digest::SHA256),
            Algorithm::Sha512 => digest::Context::new(&digest::SHA512),
        };
        let contexts = algorithms.into_iter().map(|algorithm| (algorithm, context(algorithm))).collect();
        Self { contexts, length: 0 }
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        for (_, context) in &mut self.contexts {
            context.update(bytes);
        }
    }

    /// Returns how many bytes went in, and their digests.
    pub fn finish(self) -> (u64, Hashes) {
        let (length, computed) = self.compute();
        (length, computed.to_hashes())
    }

    /// Returns how many bytes went in, and their digests in bytes.
    pub fn compute(self) -> (u64, Computed) {
        let mut computed = Computed::default();
        for (algorithm, context) in self.contexts {
            computed.insert(algorithm, context.finish().as_ref());
        }
        (self.length, computed)
    }

    /// Digests bytes that are at hand.
    pub fn digest(algorithms: impl IntoIterator<Item = Algorithm>, bytes: &[u8]) -> Hashes {
        let mut hasher = Self::new(algorithms);
        hasher.update(bytes);
        hasher.finish().1
    }
}

/// How bytes differ from what metadata says of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Not as long as listed.
    #[error("is {found} bytes long, not {expected}")]
    Length {
        /// The length in metadata.
        expected: u64,
        /// The length of the bytes.
        found: u64,
    },
    /// Another digest than listed.
    #[error("has the {algorithm} digest {found}, not {expected}")]
    Hash {
        /// The name of the algorithm.
        algorithm: String,
        /// The digest in metadata.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
    /// Digests are listed, but none that this crate computes.
    #[error("is listed with unknown digest algorithms only ({algorithms})")]
    UnsupportedAlgorithms {
        /// Their names.
        algorithms: String,
    },
}

impl Hashes {
    /// Compares digests listed in metadata with computed ones.
    ///
    /// # Errors
    /// [`Mismatch`] where a known digest differs or no algorithm is known.
    pub fn compare(&self, computed: &Self) -> Result<(), Mismatch> {
        let mut known = false;
        for algorithm in self.known() {
            known = true;
            let (expected, found) =
                (self.of(algorithm).unwrap_or_default(), computed.of(algorithm).unwrap_or_default());
            if expected != found {
                return Err(Mismatch::Hash {
                    algorithm: algorithm.name().to_owned(),
                    expected: expected.to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        if known {
            return Ok(());
        }
        let algorithms = self.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        Err(Mismatch::UnsupportedAlgorithms { algorithms })
    }
}

/// What timestamp and snapshot say of a metadata file (specification 4.4, METAFILES).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetaFile {
    /// The version that the file states.
    pub version: u64,
    /// The length of the file in bytes, where listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Digests of the file, where listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl MetaFile {
    /// Describes a file by its version alone.
    pub fn new(version: u64) -> Self {
        Self { version, length: None, hashes: None, extra: Extra::new() }
    }

    /// Checks bytes against the length and the digests listed, if any.
    ///
    /// # Errors
    /// [`Mismatch`] where they differ.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let found = bytes.len() as u64;
        if let Some(expected) = self.length.filter(|length| *length != found) {
            return Err(Mismatch::Length { expected, found });
        }
        match &self.hashes {
            Some(hashes) => hashes.compare(&Hasher::digest(hashes.known(), bytes)),
            None => Ok(()),
        }
    }
}

// By hand and not derived, as for target files: a snapshot may list tens of thousands.
impl<'de> Deserialize<'de> for MetaFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = MetaFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what is said of a metadata file")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MetaFile, A::Error> {
                let (mut version, mut length, mut hashes, mut extra) = (None, None, None, Extra::new());
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name.0 {
                        "version" => version = Some(map.next_value::<Positive>()?.0),
                        "length" => length = map.next_value()?,
                        "hashes" => hashes = map.next_value()?,
                        _ => drop(extra.insert(name.0.into_owned(), map.next_value()?)),
                    }
                }
                let version = version.ok_or_else(|| serde::de::Error::missing_field("version"))?;
                Ok(MetaFile { version, length, hashes, extra })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_file_survives_a_round_trip() {
        for text in [
            r#"{"version":3}"#,
            r#"{"version":3,"length":5,"hashes":{"sha256":"ab"}}"#,
            r#"{"version":1,"x":{"y":[1]}}"#,
        ] {
            let file: MetaFile = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&file).unwrap(), text);
        }
        let nothing: MetaFile = serde_json::from_str(r#"{"version":3,"length":null,"hashes":null}"#).unwrap();
        assert_eq!(nothing, MetaFile::new(3));
        for text in ["{}", r#"{"version":0}"#, r#"{"version":"1"}"#, r#"{"version":1,"length":-1}"#, "1"] {
            assert!(serde_json::from_str::<MetaFile>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn checks_any_known_digest_and_refuses_unknown_ones_alone() {
        let bytes = b"hello";
        let mut file = MetaFile::new(1);
        assert_eq!(file.check(bytes), Ok(()));
        file.length = Some(4);
        assert_eq!(file.check(bytes), Err(Mismatch::Length { expected: 4, found: 5 }));
        file.length = Some(5);
        let mut hashes = Hashes::default();
        hashes.insert("blake2b", "00");
        file.hashes = Some(hashes.clone());
        assert!(matches!(file.check(bytes), Err(Mismatch::UnsupportedAlgorithms { .. })));
        for algorithm in Algorithm::ALL {
            let mut good = hashes.clone();
            good.insert(algorithm.name(), Hasher::digest([algorithm], bytes).of(algorithm).unwrap());
            file.hashes = Some(good.clone());
            assert_eq!(file.check(bytes), Ok(()));
            assert!(matches!(file.check(b"jello"), Err(Mismatch::Hash { .. })));
        }
    }

    #[test]
    fn digests_that_were_computed_are_listed_in_hexadecimal() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new([algorithm]);
            hasher.update(b"hello");
            let (length, computed) = hasher.compute();
            assert_eq!((length, &computed.to_hashes()), (5, &Hasher::digest([algorithm], b"hello")));
            let text = hex::encode(computed.of(algorithm).unwrap());
            assert_eq!(computed.to_hashes().of(algorithm), Some(&*text));
        }
    }

    #[test]
    fn digests_survive_a_round_trip_sorted() {
        let text = r#"{"sha512":"AB","sha256":"cd","x":"1"}"#;
        let hashes: Hashes = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&hashes).unwrap(), r#"{"sha256":"cd","sha512":"ab","x":"1"}"#);
    }
}
