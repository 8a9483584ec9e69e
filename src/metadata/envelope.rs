//! The envelope around signed metadata: reading bytes, keeping what was signed as it was received.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Extra, KeyId, MAX_NUMBER, Signed, Targets};
use crate::canonical::{self, CanonicalError};

/// A signature over the canonical form of `signed` (specification 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The id of the key that made it.
    pub keyid: KeyId,
    /// The signature in hexadecimal. What is not hexadecimal simply does not count.
    pub sig: String,
    /// Members this crate does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Signature {
    /// Makes a signature of bytes.
    pub fn new(keyid: KeyId, signature: &[u8]) -> Self {
        Self { keyid, sig: hex::encode(signature), extra: Extra::new() }
    }
}

/// Why bytes are not metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No JSON, or JSON of two meanings.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// JSON, but not what the specification describes.
    #[error("not {kind} metadata: {reason}")]
    Malformed {
        /// The `_type` wanted.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Another major version of the specification, or none (before 1.0).
    #[error("{}", version_words(.found))]
    SpecVersion {
        /// What the metadata states.
        found: String,
    },
    /// The specification 4.2 wants key ids to be unique among signatures.
    #[error("has two signatures by the key id {keyid}")]
    DuplicateSignature {
        /// The id.
        keyid: KeyId,
    },
}

fn version_words(found: &str) -> String {
    match found {
        "" => "states no spec_version: it is from before version 1.0 of the specification".to_owned(),
        found => format!("follows version '{found}' of the specification, not 1.x"),
    }
}

/// Which signatures over bytes have been found valid and which wrong, so that nobody has to find it again. What one is found
/// by is for [`crate::verify`] to say; no finding is ever about other bytes.
#[derive(Default)]
pub struct Proofs(Mutex<HashMap<Box<[u8]>, bool>>);

impl Proofs {
    /// Tells whether a signature was found valid; `None` where nothing was found yet.
    pub(crate) fn found(&self, proof: &[u8]) -> Option<bool> {
        self.0.lock().ok()?.get(proof).copied()
    }

    /// Notes what was found.
    pub(crate) fn add(&self, proof: Vec<u8>, is_valid: bool) {
        if let Ok(mut proofs) = self.0.lock() {
            proofs.insert(proof.into(), is_valid);
        }
    }
}

impl Clone for Proofs {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().map(|proofs| proofs.clone()).unwrap_or_default()))
    }
}

impl PartialEq for Proofs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proofs")
    }
}

/// Bytes, the signatures over them, and what was found of these.
#[derive(Debug, Clone, Copy)]
pub struct Covered<'a> {
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// The signatures.
    pub(crate) signatures: &'a [Signature],
    pub(crate) proofs: &'a Proofs,
}

/// Metadata with its signatures, and the very bytes that the signatures cover.
///
/// Reading it says that it is well-formed, not that anyone signed it: see [`crate::verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata<T> {
    /// The signatures, one for a key id at most.
    pub signatures: Vec<Signature>,
    signed: T,
    canonical: Bytes,
    proofs: Proofs,
}

impl Metadata<Targets> {
    /// Gives up what this crate does not know of it. The bytes that signatures cover stay.
    pub(crate) fn forget_unknown(&mut self) {
        self.signed.forget_unknown();
        self.signatures.iter_mut().for_each(|signature| signature.extra = Extra::new());
    }
}

impl<T: Signed> Metadata<T> {
    /// Reads metadata from JSON.
    ///
    /// # Errors
    /// [`ParseError`] where the bytes are not metadata of this kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::from_file(bytes.to_vec())
    }

    /// Reads metadata from JSON that nobody needs any more.
    ///
    /// # Errors
    /// As [`Metadata::from_bytes`].
    pub fn from_file(file: Vec<u8>) -> Result<Self, ParseError> {
        Self::from_file_with(file, "").map(|(metadata, _)| metadata)
    }

    /// Reads metadata from JSON, and the text of one more member beside `signatures` and `signed`; a draft's notes.
    ///
    /// # Errors
    /// As [`Metadata::from_bytes`].
    pub fn from_file_with(file: Vec<u8>, note: &str) -> Result<(Self, Option<Vec<u8>>), ParseError> {
        let malformed = |reason: String| ParseError::Malformed { kind: T::TYPE, reason };
        let json = |error: serde_json::Error| malformed(error.to_string());
        // the whole is checked for duplicate keys, floats and depth before anything else reads it
        let envelope = canonical::members_from_json(file, ["signatures", "signed", note])?;
        let missing = |name: &str| malformed(format!("'{name}' is missing"));
        if envelope.get("signed").is_none() {
            return Err(missing("signed"));
        }
        let signatures = envelope.get("signatures").ok_or_else(|| missing("signatures"))?;
        let signatures: Vec<Signature> =
            serde_json::from_slice(&canonical::as_json(signatures)).map_err(json)?;
        let note = envelope.get(note).map(|note| canonical::as_json(note).into_owned());
        let canonical = envelope.take("signed").ok_or_else(|| missing("signed"))?;
        let signed = match T::read(&canonical) {
            Ok(signed) => signed,
            Err(error) => {
                // metadata from before 1.0 is told apart from broken metadata
                check_spec_version(&spec_version::<T>(&canonical)?)?;
                return Err(json(error));
            }
        };
        let metadata = Self { signatures, signed, canonical, proofs: Proofs::default() };
        metadata.check()?;
        Ok((metadata, note))
    }

    /// Reads metadata from the bytes that signatures cover; it has no signatures then.
    ///
    /// # Errors
    /// As [`Metadata::from_bytes`].
    pub fn from_signed_bytes(signed: &[u8]) -> Result<Self, ParseError> {
        let json = canonical::as_json(signed);
        Self::from_file([b"{\"signatures\":[],\"signed\":", &*json, b"}"].concat())
    }

    /// Checks what the types do not say: whether a file of it could be read.
    ///
    /// # Errors
    /// As [`Metadata::from_bytes`].
    pub fn check(&self) -> Result<(), ParseError> {
        let malformed = |reason: String| ParseError::Malformed { kind: T::TYPE, reason };
        check_spec_version(self.signed.spec_version())?;
        let version = self.signed.version();
        if !(1..=MAX_NUMBER).contains(&version) {
            return Err(malformed(format!("version {version} where 1 to {MAX_NUMBER} belongs")));
        }
        self.signed.check().map_err(malformed)?;
        let mut keyids = BTreeSet::new();
        match self.signatures.iter().find(|signature| !keyids.insert(&signature.keyid)) {
            Some(twice) => Err(ParseError::DuplicateSignature { keyid: twice.keyid.clone() }),
            None => Ok(()),
        }
    }

    /// Wraps metadata that nobody has signed yet.
    ///
    /// # Errors
    /// [`CanonicalError`] where `custom` or unknown members hold what canonical JSON refuses.
    pub fn unsigned(signed: T) -> Result<Self, CanonicalError> {
        let (signed, canonical) = signed.into_canonical()?;
        Ok(Self { signatures: Vec::new(), signed, canonical, proofs: Proofs::default() })
    }

    /// Returns what is signed.
    pub fn signed(&self) -> &T {
        &self.signed
    }

    /// Gives up the envelope.
    pub fn into_signed(self) -> T {
        self.signed
    }

    /// Returns the bytes that signatures cover: the canonical form of `signed` as it was received.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.canonical
    }

    /// Returns what is to be verified.
    pub fn covered(&self) -> Covered<'_> {
        Covered { bytes: &self.canonical, signatures: &self.signatures, proofs: &self.proofs }
    }

    /// Writes the file: deterministic, members sorted, signatures in their order.
    ///
    /// # Errors
    /// [`CanonicalError`] where a signature's unknown members hold what canonical JSON refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        Ok(self.file(None)?.to_bytes())
    }

    /// Returns the file with one more member beside `signatures` and `signed`, a draft's notes, to be laid out.
    ///
    /// # Errors
    /// As [`Metadata::to_bytes`].
    pub fn file(&self, note: Option<(&str, &serde_json::Value)>) -> Result<FileText, CanonicalError> {
        let mut text = b"{".to_vec();
        if let Some((name, value)) = note {
            text.extend_from_slice(&canonical::from_value(name)?);
            text.push(b':');
            text.extend_from_slice(&canonical::from_value(value)?);
            text.push(b',');
        }
        text.extend_from_slice(b"\"signatures\":");
        text.extend_from_slice(&canonical::from_value(&self.signatures)?);
        text.extend_from_slice(b",\"signed\":");
        Ok(FileText { head: text, signed: self.canonical.clone(), form: Form::Lines })
    }
}

/// From this many bytes on a file that is read by this program alone is not laid out.
const LONG: usize = 4 << 10;

/// How a file stands on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Laid out for people and version control.
    Lines,
    /// As short as it can be.
    OneLine,
}

/// A metadata file that has not been made yet.
#[derive(Debug, Clone)]
pub struct FileText {
    head: Vec<u8>,
    signed: Bytes,
    form: Form,
}

impl FileText {
    /// Puts it on one line if it is long: it is read again soon, and by this program alone.
    #[must_use]
    pub fn for_ourselves(mut self) -> Self {
        // canonical text with control characters is no JSON
        let is_json = |text: &[u8]| text.iter().all(|byte| *byte >= b' ');
        if self.signed.len() >= LONG && is_json(&self.signed) && is_json(&self.head) {
            self.form = Form::OneLine;
        }
        self
    }

    fn parts(&self) -> [&[u8]; 3] {
        [&self.head, &self.signed, b"}"]
    }

    /// Makes it in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.form {
            Form::Lines => canonical::pretty_parts(&self.parts()),
            Form::OneLine => self.parts().concat(),
        }
    }

    /// Tells whether some bytes are this file.
    pub fn is(&self, bytes: &[u8]) -> bool {
        struct Same<'a>(&'a [u8]);
        impl Write for Same<'_> {
            fn write(&mut self, more: &[u8]) -> io::Result<usize> {
                self.0 = self.0.strip_prefix(more).ok_or(io::ErrorKind::InvalidData)?;
                Ok(more.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut rest = Same(bytes);
        self.write_to(&mut rest).is_ok() && rest.0.is_empty()
    }

    /// Makes it while it is written.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        match self.form {
            Form::Lines => canonical::write_pretty_parts(&self.parts(), to),
            Form::OneLine => self.parts().iter().try_for_each(|part| to.write_all(part)),
        }
    }
}

/// Reads `spec_version` alone.
fn spec_version<T: Signed>(canonical: &[u8]) -> Result<String, ParseError> {
    #[derive(Deserialize)]
    struct Only {
        #[serde(default)]
        spec_version: Option<String>,
    }
    let only: Only = serde_json::from_slice(&canonical::as_json(canonical))
        .map_err(|error| ParseError::Malformed { kind: T::TYPE, reason: error.to_string() })?;
    Ok(only.spec_version.unwrap_or_default())
}

fn check_spec_version(found: &str) -> Result<(), ParseError> {
    let parts: Vec<&str> = found.split('.').collect();
    let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if numbers && parts[0] == "1" && (2..=3).contains(&parts.len()) {
        return Ok(());
    }
    Err(ParseError::SpecVersion {
        found: found.chars().take(32).collect::<String>().escape_debug().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};
    use serde_json::{Value, json};

    use super::super::*;
    use super::*;

    fn targets_json() -> Value {
        json!({
            "signatures": [{"keyid": "k", "sig": "00", "x-note": 1}],
            "signed": {
                "_type": "targets", "spec_version": "1.0.31", "version": 3, "expires": "2030-01-01T00:00:00Z",
                "targets": {"a": {"length": 1, "hashes": {"sha256": "ab", "blake2b": "cd"}, "custom": {"k": [1]}, "x": null}},
                "delegations": {"keys": {"k": {"keytype": "sigstore-oidc", "scheme": "Fulcio", "keyval": {"identity": "i"}, "x": 2}},
                    "roles": [{"name": "r", "keyids": ["k"], "threshold": 1, "terminating": true, "paths": ["*"], "x": 3}], "x": 4},
                "x": {"deep": [true]}
            }
        })
    }

    fn parse(value: &Value) -> Result<Metadata<Targets>, ParseError> {
        Metadata::from_bytes(value.to_string().as_bytes())
    }

    #[test]
    fn unknown_members_and_custom_survive_a_round_trip() {
        let read = parse(&targets_json()).unwrap();
        let again = Metadata::unsigned(read.signed().clone()).unwrap();
        assert_eq!(again.signed_bytes(), read.signed_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&read.to_bytes().unwrap()).unwrap(), targets_json());
    }

    #[test]
    fn refuses_what_is_not_the_metadata_wanted() {
        let edits: [(&str, Value); 12] = [
            ("/signed/_type", json!("root")),
            ("/signed/version", json!(0)),
            ("/signed/version", json!(-1)),
            ("/signed/version", json!("1")),
            ("/signed/expires", json!("tomorrow")),
            ("/signed/targets/a/length", json!(-1)),
            ("/signed/targets/a/hashes", json!({})),
            ("/signed/delegations/roles/0/threshold", json!(0)),
            ("/signed/delegations/roles/0/name", json!("targets")),
            ("/signed/delegations/roles/0/name", json!("")),
            ("/signed/delegations/roles", Value::Null),
            ("/signatures/0/keyid", json!(1)),
        ];
        for (pointer, value) in edits {
            let mut edited = targets_json();
            *edited.pointer_mut(pointer).unwrap() = value.clone();
            assert!(matches!(parse(&edited), Err(ParseError::Malformed { .. })), "{pointer} = {value}");
        }
        for version in ["2.0.0", "1", "1.x", "", "1.0.0.0", "0.9"] {
            let mut edited = targets_json();
            edited["signed"]["spec_version"] = json!(version);
            assert!(matches!(parse(&edited), Err(ParseError::SpecVersion { .. })), "{version}");
        }
        let mut twice = targets_json();
        twice["signatures"] = json!([{"keyid": "k", "sig": "00"}, {"keyid": "k", "sig": "01"}]);
        assert!(matches!(parse(&twice), Err(ParseError::DuplicateSignature { .. })));
    }

    #[test]
    fn reads_dates_generously_and_writes_them_strictly() {
        for text in ["2030-01-01T00:00:00Z", "2030-01-01T00:00:00.75Z", "2030-01-01T02:00:00+02:00"] {
            let mut dated = targets_json();
            dated["signed"]["expires"] = json!(text);
            let mut targets = parse(&dated).unwrap().into_signed();
            let expires = targets.expires();
            targets.set_expires(expires);
            let written = serde_json::to_value(&targets).unwrap();
            assert_eq!(written["expires"], "2030-01-01T00:00:00Z");
        }
    }

    #[test]
    fn signed_bytes_are_those_received_even_where_the_model_would_write_others() {
        let mut dated = targets_json();
        dated["signed"]["expires"] = json!("2030-01-01T00:00:00.5Z");
        let read = parse(&dated).unwrap();
        assert!(String::from_utf8_lossy(read.signed_bytes()).contains("00:00:00.5Z"));
    }

    #[test]
    fn a_new_root_names_all_top_level_roles() {
        let root = Root::new(true, Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap());
        let written = Metadata::unsigned(root).unwrap().to_bytes().unwrap();
        let root = Metadata::<Root>::from_bytes(&written).unwrap();
        assert_eq!(root.signed().roles.len(), 4);
        let mut value: Value = serde_json::from_slice(&written).unwrap();
        value["signed"]["roles"].as_object_mut().unwrap().remove("snapshot");
        assert!(Metadata::<Root>::from_bytes(value.to_string().as_bytes()).is_err());
    }
}
