//! The names of roles, and the names of their files.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// The four roles that the root delegates to.
pub const TOP_LEVEL: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// The longest file name, in bytes, that a role may lead to; leaves room for a version and `.json` in the
/// 255 bytes of common file systems.
const LONGEST_ENCODED: usize = 220;
/// The longest part of a new role's name between two slashes, in bytes.
const LONGEST_PART: usize = 200;

/// The name of a role, as metadata states it: any string that is not empty and not over-long.
///
/// A name never is a path: files are named by [`RoleName::encoded`].
///
/// [`RoleName::parse`] says which names these programs give to roles; a repository of others may have any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

/// Why a string is no name for a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleNameError {
    /// Nothing there.
    #[error("a role's name may not be empty")]
    Empty,
    /// The file name would be too long.
    #[error("the role name '{0}…' is too long")]
    TooLong(String),
    /// Reserved for one of the four top-level roles.
    #[error("'{0}' is the name of a top-level role")]
    TopLevel(String),
    /// Legal in metadata, but asking for trouble in a new delegation.
    #[error("the role name '{name}' {reason}")]
    Unwise {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl RoleName {
    /// Reads a name that metadata states.
    ///
    /// # Errors
    /// [`RoleNameError`] where the name is empty or over-long.
    pub fn new(name: impl Into<String>) -> Result<Self, RoleNameError> {
        let name = Self(name.into());
        if name.0.is_empty() {
            return Err(RoleNameError::Empty);
        }
        if name.encoded_length() > LONGEST_ENCODED {
            return Err(RoleNameError::TooLong(name.0.chars().take(32).collect()));
        }
        Ok(name)
    }

    /// Reads the name of a delegation that is about to be made: stricter than [`RoleName::new`], so that no
    /// client, file system or shell is put to the test.
    ///
    /// # Errors
    /// [`RoleNameError`] for a top-level name in capitals or small letters, a part that is empty, leaves its folder, is hidden,
    /// looks like the name of a metadata file or is over-long, control characters, backslashes and colons, and `N.root`, which
    /// would shadow a root version.
    pub fn parse(name: &str) -> Result<Self, RoleNameError> {
        let role = Self::new(name)?;
        // there may be many thousand names, nearly all of them plain
        let is_like = |known: &&str| name.eq_ignore_ascii_case(known);
        if TOP_LEVEL.iter().any(is_like) || (!name.is_ascii() && TOP_LEVEL.contains(&role.folded().as_str()))
        {
            return Err(RoleNameError::TopLevel(role.0));
        }
        let unwise = |reason| Err(RoleNameError::Unwise { name: name.escape_debug().to_string(), reason });
        if name.chars().any(char::is_control) {
            return unwise("has a control character");
        }
        if name.contains(['\\', ':']) {
            return unwise("has a backslash or a colon");
        }
        for part in name.split('/') {
            if matches!(part, "" | "." | "..") {
                return unwise("is not a plain relative path");
            }
            if part.starts_with('.') {
                return unwise("has a part that starts with a dot");
            }
            if ends_like(part, ".json") {
                return unwise("has a part that ends in .json");
            }
            if part.len() > LONGEST_PART {
                return unwise("has a part of more than 200 bytes");
            }
        }
        let is_digits = |before: &[u8]| before.iter().all(u8::is_ascii_digit);
        if ends_like(name, ".root") && is_digits(&name.as_bytes()[..name.len() - ".root".len()]) {
            return unwise("looks like a version of root");
        }
        Ok(role)
    }

    /// Returns the name as a file system may see it that knows neither capitals nor Unicode's two ways to write a letter.
    pub fn folded(&self) -> String {
        if self.0.is_ascii() {
            return self.0.to_ascii_lowercase();
        }
        let decomposed: String = self.0.nfd().collect();
        decomposed.to_uppercase().to_lowercase().nfc().collect()
    }

    /// Tells whether the name begins with digits and a dot, as the names of files with versions do.
    pub fn starts_like_a_version(&self) -> bool {
        let version = self.0.split_once('.').map(|(version, _)| version);
        version
            .is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The root role.
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    /// The top-level targets role.
    pub fn targets() -> Self {
        Self("targets".to_owned())
    }

    /// The snapshot role.
    pub fn snapshot() -> Self {
        Self("snapshot".to_owned())
    }

    /// The timestamp role.
    pub fn timestamp() -> Self {
        Self("timestamp".to_owned())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether the root delegates to this role.
    pub fn is_top_level(&self) -> bool {
        TOP_LEVEL.contains(&self.as_str())
    }

    /// Tells whether this role's metadata is of type `targets`: the top-level one or a delegated one.
    pub fn lists_targets(&self) -> bool {
        !matches!(self.as_str(), "root" | "snapshot" | "timestamp")
    }

    /// Returns the name percent-encoded: letters, digits, `_.-~` stand for themselves.
    pub fn encoded(&self) -> String {
        let mut encoded = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if is_plain(byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        encoded
    }

    /// Returns how long the percent-encoded name is, in bytes.
    fn encoded_length(&self) -> usize {
        self.0.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
    }

    /// Reads a percent-encoded name; the inverse of [`RoleName::encoded`].
    pub fn from_encoded(encoded: &str) -> Option<Self> {
        // what stands for itself is read by the million
        if (1..=LONGEST_ENCODED).contains(&encoded.len()) && encoded.bytes().all(is_plain) {
            return Some(Self(encoded.to_owned()));
        }
        let mut bytes = Vec::with_capacity(encoded.len());
        let mut rest = encoded.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            } else {
                bytes.push(byte);
            }
        }
        let name = Self::new(String::from_utf8(bytes).ok()?).ok()?;
        // one spelling only
        (name.encoded() == encoded).then_some(name)
    }

    /// Returns the role's key in the `meta` of a snapshot: the bare name and `.json`.
    pub fn metapath(&self) -> String {
        format!("{}.json", self.0)
    }

    /// Reads a key of the `meta` of a snapshot.
    pub fn from_metapath(metapath: &str) -> Option<Self> {
        Self::new(metapath.strip_suffix(".json")?).ok()
    }
}

/// Tells whether a text ends so, in small letters or capitals.
fn ends_like(text: &str, end: &str) -> bool {
    let at = text.len().checked_sub(end.len());
    at.is_some_and(|at| text.as_bytes()[at..].eq_ignore_ascii_case(end.as_bytes()))
}

/// Tells whether a byte stands for itself in the name of a file.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte)
}

impl TryFrom<String> for RoleName {
    type Error = RoleNameError;

    fn try_from(name: String) -> Result<Self, RoleNameError> {
        Self::new(name)
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for RoleName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_names_as_python_tuf_does() {
        for (name, encoded) in [
            ("a/b", "a%2Fb"),
            ("../x", "..%2Fx"),
            ("?", "%3F"),
            ("#", "%23"),
            ("é", "%C3%A9"),
            ("a_b.c-d~", "a_b.c-d~"),
        ] {
            let role = RoleName::new(name).unwrap();
            assert_eq!(role.encoded(), encoded);
            assert_eq!(RoleName::from_encoded(encoded), Some(role));
        }
        assert_eq!(RoleName::from_encoded("a/b"), None);
        assert_eq!(RoleName::from_encoded("%2f"), None);
        assert_eq!(RoleName::from_encoded("%zz"), None);
    }

    #[test]
    fn refuses_names_for_new_delegations_that_would_brick_a_repository() {
        // the old tool accepted a delegation named "targets" and could not load the repository again
        assert_eq!(RoleName::parse("targets"), Err(RoleNameError::TopLevel("targets".into())));
        for name in ["", "../root", "/x", "a//b", "a/./b", ".hidden", "a/.hidden", "a\nb", "1.root", "a/"] {
            assert!(RoleName::parse(name).is_err(), "{name}");
        }
        for name in ["root.json", "timestamp.JSON", "a.json/b", "2.ROOT", "a\\b", "c:x", "a:b"] {
            assert!(RoleName::parse(name).is_err(), "{name}");
        }
        for name in ["TARGETS", "ROOT", "Timestamp", "snapShot", "\u{17f}napshot"] {
            assert_eq!(RoleName::parse(name), Err(RoleNameError::TopLevel(name.to_owned())), "{name}");
        }
        assert!(RoleName::parse(&"x".repeat(201)).is_err());
        for name in ["django", "a/b", "project 1", "1.targets", "bin-0f", "json", "a.json5", "roots"] {
            assert!(RoleName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_a_file_system_may_take_for_one_fold_to_one() {
        let folded = |name: &str| RoleName::new(name).unwrap().folded();
        for (one, other) in [
            ("Team", "tEAM"),
            ("\u{e9}", "e\u{301}"),
            ("\u{c9}t\u{e9}", "e\u{301}te\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{212a}elvin", "kelvin"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("e"), folded("\u{e9}"));
        let is_like = |name: &str| RoleName::new(name).unwrap().starts_like_a_version();
        assert!(
            is_like("1.snapshot") && is_like("002.x") && !is_like("a1.x") && !is_like(".x") && !is_like("12")
        );
    }
}
