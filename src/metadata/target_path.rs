//! Paths of targets, and the patterns that delegations match them with.

use std::fmt;

use sha2::{Digest, Sha256};

/// The longest path in bytes; what Linux opens in one call.
const LONGEST_PATH: usize = 4000;
/// The longest name between two slashes; what common file systems take.
const LONGEST_NAME: usize = 255;
/// How the names begin that `tuf-repo` and `tuf-fetch` give to files of their own, in whatever folder.
const OURS: &[u8] = b".tuf-";

/// A target path that is safe below any folder: relative, forward slashes, no empty, `.` or `..` part, no NUL.
///
/// What metadata lists may be any string; only a `TargetPath` ever becomes a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(String);

/// Why a string is not a path that a target can be stored under.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target path '{path}' {reason}")]
pub struct TargetPathError {
    /// The path, made printable.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl TargetPath {
    /// Reads a target path.
    ///
    /// # Errors
    /// [`TargetPathError`] for whatever would not stay inside a folder or not be a file there.
    pub fn parse(path: &str) -> Result<Self, TargetPathError> {
        Self::check(path).map(|()| Self(path.to_owned()))
    }

    /// Tells whether a string is a target path.
    ///
    /// # Errors
    /// As [`TargetPath::parse`].
    pub fn check(path: &str) -> Result<(), TargetPathError> {
        let refused = |reason| {
            let path = path.chars().take(128).collect::<String>().escape_debug().to_string();
            Err(TargetPathError { path, reason })
        };
        if path.is_empty() {
            return refused("is empty");
        }
        if path.starts_with('/') {
            return refused("is absolute");
        }
        if path.len() > LONGEST_PATH {
            return refused("is too long");
        }
        let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
        if !path.as_bytes().iter().all(is_plain) && path.chars().any(char::is_control) {
            return refused("has a control character");
        }
        for part in path.split('/') {
            match part {
                "" => return refused("has an empty part between slashes"),
                "." | ".." => return refused("has a '.' or '..' part"),
                _ if part.len() > LONGEST_NAME => return refused("has a part that is too long"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells whether the path leads to a name that these programs keep for files of their own: no target may lie there.
    pub fn is_reserved(&self) -> bool {
        Self::is_reserved_name(&self.0)
    }

    /// Tells whether any part of a path begins with `.tuf-`, in small letters or capitals: a file system may not tell them
    /// apart.
    pub fn is_reserved_name(path: &str) -> bool {
        let begins =
            |part: &[u8]| part.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS));
        path.as_bytes().split(|byte| *byte == b'/').any(begins)
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the folder, with its slash at the end (or nothing), and the file's name.
    pub fn split(&self) -> (&str, &str) {
        self.0.split_at(self.0.rfind('/').map_or(0, |slash| slash + 1))
    }

    /// Returns the path of the copy named by a hash, `dir/HASH.name` (specification 6.2.1).
    pub fn hash_named(&self, hash: &str) -> String {
        let (folder, name) = self.split();
        [folder, hash, ".", name].concat()
    }
}

impl TryFrom<String> for TargetPath {
    type Error = TargetPathError;

    fn try_from(path: String) -> Result<Self, TargetPathError> {
        Self::check(&path).map(|()| Self(path))
    }
}

impl fmt::Display for TargetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the lower-case hexadecimal SHA-256 of a target path: what hash bins are chosen by.
pub fn path_hash(path: &str) -> String {
    hex::encode(Sha256::digest(path.as_bytes()))
}

/// Tells whether a path pattern of a delegation matches a target path (specification 4.5, PATHPATTERN).
///
/// Shell patterns, part by part: `*`, `?` and `[…]` never match a slash; case matters.
pub fn pattern_matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut parts = path.split('/');
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if name_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// One element of a pattern.
enum Element {
    Star,
    One,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Element {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

/// Matches one part. Backtracks to the last star only, so the time is bounded by the product of the lengths.
fn name_matches(pattern: &str, name: &str) -> bool {
    let elements = elements(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut e, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match elements.get(e) {
            Some(Element::Star) => {
                star = Some((e, n));
                e += 1;
            }
            Some(element) if element.matches(name[n]) => {
                e += 1;
                n += 1;
            }
            _ => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                e = star_at + 1;
                n = from + 1;
            }
        }
    }
    elements[e..].iter().all(|element| matches!(element, Element::Star))
}

fn elements(pattern: &str) -> Vec<Element> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut elements = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let element = match chars[at] {
            '*' => Element::Star,
            '?' => Element::One,
            '[' => match class(&chars[at + 1..]) {
                Some((class, length)) => {
                    at += length;
                    class
                }
                None => Element::Literal('['),
            },
            c => Element::Literal(c),
        };
        at += 1;
        elements.push(element);
    }
    elements
}

/// Reads a class after its `[`; `None` where it is never closed. Returns how many characters it takes.
fn class(chars: &[char]) -> Option<(Element, usize)> {
    let negated = chars.first() == Some(&'!');
    let start = usize::from(negated);
    // a ']' that comes first stands for itself
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let members = &chars[start..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            ranges.push((members[at], members[at + 2]));
            at += 3;
        } else {
            ranges.push((members[at], members[at]));
            at += 1;
        }
    }
    Some((Element::Class { negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_paths_that_leave_their_folder() {
        // "../../etc/passwd" was an accepted target of the old tool
        for path in ["../../etc/passwd", "/abs", "a//b", "", "a/../b", "./a", "a/", "a\0b", "a\nb", ".."] {
            assert!(TargetPath::parse(path).is_err(), "{path:?}");
        }
        assert!(TargetPath::parse(&"x".repeat(256)).is_err());
        assert!(TargetPath::parse("dir/..name").is_ok());
        assert_eq!(TargetPath::parse("a/b/c.txt").unwrap().hash_named("00"), "a/b/00.c.txt");
        assert_eq!(TargetPath::parse("c.txt").unwrap().hash_named("00"), "00.c.txt");
    }

    #[test]
    fn a_path_that_leads_to_a_name_of_our_own_is_reserved() {
        for path in
            [".tuf-tmp", ".tuf-", ".tuf-tmp/x", "a/.tuf-x", "a/.tuf-x/b", ".TUF-tmp", "a/.Tuf-Digests"]
        {
            assert!(TargetPath::parse(path).unwrap().is_reserved(), "{path}");
        }
        for path in [".tuf", "tuf-tmp", "a.tuf-x", "x/.tufo", ".tu/f-x", " .tuf-x", "..tuf-x", "é/.tüf-"] {
            assert!(!TargetPath::parse(path).unwrap().is_reserved(), "{path}");
        }
    }

    #[test]
    fn patterns_match_part_by_part() {
        for (pattern, path, expected) in [
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a/*.txt", "a/b.txt", true),
            ("a/*.txt", "a/b/c.txt", false),
            ("A/*", "a/b", false),
            ("foo-version-?.tgz", "foo-version-2.tgz", true),
            ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
            ("*.tgz", "targets/foo.tgz", false),
            ("foo.tgz", "foo.tgz", true),
            ("[ab]*", "bcd", true),
            ("[!ab]*", "bcd", false),
            ("[a-c]", "b", true),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("a*b*c", "a__b__b_c", true),
            ("a*b*c", "a__b__b_", false),
            ("**", "a", true),
            ("**/b", "a/x/b", false),
            ("{a,b}", "a", false),
            ("", "", true),
            ("\\*", "x", false),
            (".*", ".hidden", true),
            ("*", ".hidden", true),
        ] {
            assert_eq!(pattern_matches(pattern, path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn stars_do_not_take_exponential_time() {
        assert!(!pattern_matches(&"*a".repeat(100), &"a".repeat(99)));
        assert!(!pattern_matches(&("*a".repeat(50) + "b"), &"a".repeat(5000)));
    }

    proptest! {
        #[test]
        fn a_path_of_plain_characters_matches_itself(path in "[a-z./_-]{0,20}") {
            prop_assert!(pattern_matches(&path, &path));
        }

        #[test]
        fn never_panics(pattern in ".{0,30}", path in ".{0,30}") {
            pattern_matches(&pattern, &path);
            let _ = TargetPath::parse(&path);
        }
    }
}
