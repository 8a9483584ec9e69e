//! Paths of targets, and the patterns that delegations match them with.

use std::fmt;
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use super::NameDigest;

/// The longest path in bytes; what Linux opens in one call.
const LONGEST_PATH: usize = 4000;
/// The longest name between two slashes; what common file systems take.
const LONGEST_NAME: usize = 255;
/// How the names begin that `tuf-repo` and `tuf-fetch` give to files of their own, in any folder.
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
    /// The most parts a target path may have: each folder on the way costs a client an open file, and a part of its record.
    pub const MOST_PARTS: usize = 64;

    /// Reads a target path.
    ///
    /// # Errors
    /// [`TargetPathError`] for a path that would not stay inside a folder or not be a file there.
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

    /// Tells whether a path has more than [`TargetPath::MOST_PARTS`] parts: clients refuse the target.
    pub fn is_deep_name(path: &str) -> bool {
        path.bytes().filter(|byte| *byte == b'/').count() >= Self::MOST_PARTS
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
    pub fn hash_named(&self, hash: NameDigest<'_>) -> String {
        let (folder, name) = self.split();
        [folder, hash.as_str(), ".", name].concat()
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

/// What the parts of the matching cost, in steps. A step takes about 5 nanoseconds, or less, in an optimised program.
const PATTERN: usize = 8;
/// A part of a path, between slashes.
const PART: usize = 12;
/// A byte of a pattern that is compared with a character, or looked at for one.
const BYTE: usize = 6;

/// How many more steps the matching of patterns may take: whoever writes the patterns or the paths decides about the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    left: u64,
    are_spent: bool,
}

impl Steps {
    /// Allows a number of steps, each a small part of a comparison.
    pub fn new(left: u64) -> Self {
        Self { left, are_spent: false }
    }

    /// Tells whether more steps were asked for than there are: what came out since then is no answer.
    pub fn are_spent(&self) -> bool {
        self.are_spent
    }

    /// Takes some steps; tells whether there were as many.
    pub(crate) fn take(&mut self, count: usize) -> bool {
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => (self.left, self.are_spent) = (0, true),
        }
        !self.are_spent
    }
}

/// Tells whether a path pattern of a delegation matches a target path (specification 4.5, PATHPATTERN).
///
/// Shell patterns, part by part: `*`, `?` and `[…]` never match a slash; case matters.
pub fn pattern_matches(pattern: &str, path: &str) -> bool {
    pattern_matches_within(pattern, path, &mut Steps::new(u64::MAX))
}

/// Matches as [`pattern_matches`] does, within a number of steps.
pub fn pattern_matches_within(pattern: &str, path: &str, steps: &mut Steps) -> bool {
    if !steps.take(PATTERN) {
        return false;
    }
    let mut patterns = pattern.split('/');
    let mut parts = path.split('/');
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if name_matches(pattern, part, steps) => {}
            _ => return false,
        }
    }
}

/// One element of a pattern.
enum Element<'p> {
    Star,
    One,
    Literal(char),
    Class { negated: bool, members: &'p str },
}

impl<'p> Element<'p> {
    /// Reads the first element of a pattern, and how many bytes of it were looked at and how many belong to it.
    fn first(pattern: &'p str) -> Option<(Self, Extent)> {
        let first = pattern.chars().next()?;
        let plain = Extent { seen: first.len_utf8(), length: first.len_utf8() };
        Some(match first {
            '*' => (Self::Star, plain),
            '?' => (Self::One, plain),
            '[' => match Self::class(&pattern[1..]) {
                Some((class, length)) => (class, Extent { seen: 1 + length, length: 1 + length }),
                // it is never closed
                None => (Self::Literal('['), Extent { seen: pattern.len(), length: 1 }),
            },
            literal => (Self::Literal(literal), plain),
        })
    }

    /// Reads a class after its `[`; `None` where it is never closed. Returns how many bytes it takes.
    fn class(text: &'p str) -> Option<(Self, usize)> {
        let negated = text.starts_with('!');
        let body = &text[usize::from(negated)..];
        // a ']' that comes first stands for itself
        let first = body.chars().next()?.len_utf8();
        let end = first + body[first..].find(']')?;
        Some((Self::Class { negated, members: &body[..end] }, usize::from(negated) + end + 1))
    }

    fn matches(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::Class { negated, members } => ranges(members).any(|range| range.contains(&c)) != *negated,
        }
    }
}

/// How much of a pattern was looked at for an element, and how much of it the element is, in bytes.
struct Extent {
    seen: usize,
    length: usize,
}

/// Reads the members of a class: single characters, and ranges such as `a-z`.
fn ranges(members: &str) -> impl Iterator<Item = RangeInclusive<char>> {
    let mut members = members.chars();
    std::iter::from_fn(move || {
        let from = members.next()?;
        let mut ahead = members.clone();
        if ahead.next() == Some('-')
            && let Some(to) = ahead.next()
        {
            members = ahead;
            return Some(from..=to);
        }
        Some(from..=from)
    })
}

/// Matches one part. Goes back to the last star only, so the time is bounded by the product of the lengths, and by the
/// steps.
fn name_matches(pattern: &str, name: &str, steps: &mut Steps) -> bool {
    if !steps.take(PART) {
        return false;
    }
    let (mut rest, mut at) = (pattern, 0);
    // what follows the last star, and where it is to match next
    let mut star: Option<(&str, usize)> = None;
    while let Some(c) = name[at..].chars().next() {
        let first = Element::first(rest);
        if !steps.take(BYTE * first.as_ref().map_or(1, |(_, extent)| extent.seen)) {
            return false;
        }
        match first {
            Some((Element::Star, extent)) => {
                rest = &rest[extent.length..];
                star = Some((rest, at));
            }
            Some((element, extent)) if element.matches(c) => {
                rest = &rest[extent.length..];
                at += c.len_utf8();
            }
            _ => {
                let Some((after, from)) = star else { return false };
                let next = from + name[from..].chars().next().map_or(1, char::len_utf8);
                star = Some((after, next));
                (rest, at) = (after, next);
            }
        }
    }
    steps.take(rest.len()) && rest.bytes().all(|byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::Algorithm;

    #[test]
    fn refuses_paths_that_leave_their_folder() {
        // "../../etc/passwd" was an accepted target of the old tool
        for path in ["../../etc/passwd", "/abs", "a//b", "", "a/../b", "./a", "a/", "a\0b", "a\nb", ".."] {
            assert!(TargetPath::parse(path).is_err(), "{path:?}");
        }
        for path in ["a\x7f", "\x1bx", "a/\u{85}", "\u{9f}", "a\tb", "a\r"] {
            assert!(TargetPath::parse(path).is_err(), "{path:?}");
        }
        for path in ["~", "a b", "\u{a0}", "é"] {
            assert!(TargetPath::parse(path).is_ok(), "{path:?}");
        }
        assert!(TargetPath::parse(&"x".repeat(LONGEST_NAME)).is_ok());
        assert!(TargetPath::parse(&"x".repeat(LONGEST_NAME + 1)).is_err());
        let long = |bytes: usize| "a/".repeat(bytes / 2 - 1) + "bc" + &"d".repeat(bytes % 2);
        assert!(TargetPath::parse(&long(LONGEST_PATH)).is_ok());
        assert!(TargetPath::parse(&long(LONGEST_PATH + 1)).is_err());
        assert!(TargetPath::parse("dir/..name").is_ok());
        let hash = path_hash("");
        let digest = NameDigest::parse(Algorithm::Sha256, &hash).unwrap();
        assert_eq!(TargetPath::parse("a/b/c.txt").unwrap().hash_named(digest), format!("a/b/{hash}.c.txt"));
        assert_eq!(TargetPath::parse("c.txt").unwrap().hash_named(digest), format!("{hash}.c.txt"));
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
    fn a_path_is_deep_from_one_part_more_than_clients_take() {
        let parts = |number: usize| vec!["a"; number].join("/");
        assert!(!TargetPath::is_deep_name(&parts(TargetPath::MOST_PARTS)));
        assert!(TargetPath::is_deep_name(&parts(TargetPath::MOST_PARTS + 1)));
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

    #[test]
    fn a_pattern_never_takes_more_steps_than_it_may_and_says_so() {
        let long = ("*".to_owned() + &"a".repeat(4000) + "b", "a".repeat(8000));
        let unclosed = ("*".to_owned() + &"[".repeat(4000), "[".repeat(8000));
        for (pattern, path) in [long, unclosed] {
            let mut steps = Steps::new(100_000);
            assert!(!pattern_matches_within(&pattern, &path, &mut steps));
            assert!(steps.are_spent());
        }
        let mut steps = Steps::new(200);
        assert!(pattern_matches_within("rel/*", "rel/app", &mut steps) && !steps.are_spent());
        assert!(!pattern_matches_within("rel/*", "contrib/x", &mut steps) && !steps.are_spent());
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
