//! The commonest object in metadata: a file with one SHA-256 and its length, `{"hashes":{"sha256":"…"},"length":…}`, however
//! it is laid out. A role may list a hundred thousand of them, so that they are read at a glance; what else stands
//! there is left to whoever reads anything.

use std::ops::Range;

/// What stands before the digest in canonical form, and between the digest and the length.
const BEFORE: &[u8; 21] = b"{\"hashes\":{\"sha256\":\"";
const BEHIND: &[u8; 12] = b"\"},\"length\":";
/// How many hexadecimal digits a SHA-256 has.
const DIGITS: usize = 64;
/// Numbers of this many digits fit every reader.
const MOST_DIGITS: usize = 18;

/// Such an object, by places from its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommonObject {
    digest: Range<usize>,
    length: Range<usize>,
    /// Where it ends.
    pub(super) end: usize,
}

impl CommonObject {
    /// Finds one at the start of JSON text.
    #[inline]
    pub(super) fn laid_out(text: &[u8]) -> Option<Self> {
        let mut at = 0;
        for word in [&b"{"[..], b"\"hashes\"", b":", b"{", b"\"sha256\"", b":", b"\""] {
            at = behind(text, at, word)?;
        }
        let digest = at..at + DIGITS;
        is_hex(text.get(digest.clone())?).then_some(())?;
        at = digest.end;
        // the quote stands right behind the digest
        text[at..].starts_with(b"\"").then(|| at += 1)?;
        for word in [&b"}"[..], b",", b"\"length\"", b":"] {
            at = behind(text, at, word)?;
        }
        at = spaces(text, at);
        let length = at..at + number(&text[at..])?;
        let end = behind(text, length.end, b"}")?;
        Some(Self { digest, length, end })
    }

    /// Finds one at the start of canonical text. Returns where it ends.
    #[inline]
    pub(super) fn canonical(text: &[u8]) -> Option<usize> {
        let rest = text.strip_prefix(BEFORE)?;
        let (digest, rest) = rest.split_first_chunk::<DIGITS>()?;
        let rest = rest.strip_prefix(BEHIND)?;
        let length = number(rest)?;
        let ends = rest.get(length) == Some(&b'}') && is_hex(digest);
        ends.then_some(BEFORE.len() + DIGITS + BEHIND.len() + length + 1)
    }

    /// Writes it in canonical form at an earlier place, or the same, of the text that it stands in from `from` on. Returns
    /// where that ends.
    #[inline]
    pub(super) fn write(&self, text: &mut [u8], from: usize, to: usize) -> usize {
        let moved = |place: &Range<usize>| from + place.start..from + place.end;
        // what is written never reaches what is still to be read
        let mut end = put(text, to, BEFORE);
        text.copy_within(moved(&self.digest), end);
        end = put(text, end + DIGITS, BEHIND);
        text.copy_within(moved(&self.length), end);
        put(text, end + self.length.len(), b"}")
    }
}

#[inline]
fn put(text: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    text[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}

/// Goes behind white space.
#[inline]
fn spaces(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// Goes behind white space and a word.
#[inline]
fn behind(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let at = spaces(text, at);
    text.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// Returns how many digits there are of a number that has one meaning only and is not too long.
#[inline]
fn number(text: &[u8]) -> Option<usize> {
    let length = text.iter().take(MOST_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let leads_with_zero = length > 1 && text[0] == b'0';
    ((1..=MOST_DIGITS).contains(&length) && !leads_with_zero).then_some(length)
}

/// Tells whether all bytes are lower-case hexadecimal digits.
#[inline]
fn is_hex(bytes: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() | (b'a'..=b'f').contains(byte);
    bytes.iter().fold(true, |all, byte| all & is_digit(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{from_json, from_value};
    use super::*;

    /// A text of words with something between them.
    fn text(words: &[&str], between: &[String]) -> String {
        words.iter().zip(between.iter().cycle()).map(|(word, between)| format!("{between}{word}")).collect()
    }

    proptest! {
        #[test]
        fn is_read_as_any_reader_does_wherever_it_stands_and_however_it_is_laid_out(
            digest in prop_oneof![4 => "[0-9a-f]{64}", 1 => "[0-9a-g]{63,65}", 1 => "[0-9A-F]{64}", 1 => "[0-9a-f]{62}(\\\\n|é)"],
            length in prop_oneof![
                4 => any::<u32>().prop_map(|length| length.to_string()),
                1 => any::<u64>().prop_map(|length| length.to_string()),
                1 => "0[0-9]?|-?[0-9]{17,19}|1\\.5|",
            ],
            between in prop::collection::vec("[ \n]{0,3}|\t|\r\n", 1..6),
            wrong in prop::option::weighted(0.2, (0..21_usize, "[]\\[{}:,\"x]?")),
            name in "[a-z]{0,3}",
        ) {
            let (name, digest) = (format!("\"{name}\""), format!("\"{digest}\""));
            let mut words = vec![
                "{", &name, ":", "{", "\"hashes\"", ":", "{", "\"sha256\"", ":", &digest, "}", ",", "\"length\"",
                ":", &length, "}", ",", "\"zz\"", ":", "[]", "}",
            ];
            if let Some((at, word)) = &wrong {
                words[*at] = word;
            }
            let text = text(&words, &between);
            let read = serde_json::from_str::<Value>(&text).ok().and_then(|value| from_value(&value).ok());
            let found = from_json(text.as_bytes()).ok();
            // a key that stands twice is nothing to serde_json
            if found != read {
                let twice = text.matches("\"zz\"").count() > 1;
                prop_assert!(found.is_none() && twice, "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn is_found_in_canonical_text_only_as_it_would_be_written() {
        let digest = "0a".repeat(32);
        let good = format!("{{\"hashes\":{{\"sha256\":\"{digest}\"}},\"length\":10}}");
        assert_eq!(CommonObject::canonical(format!("{good},").as_bytes()), Some(good.len()));
        assert_eq!(CommonObject::laid_out(good.as_bytes()).map(|found| found.end), Some(good.len()));
        let long = "1".repeat(19);
        for (from, to) in [
            ("10", "010"),
            ("10", ""),
            ("10", "-1"),
            ("10", "1.5"),
            ("10", long.as_str()),
            ("0a0a", "0A0a"),
            ("0a0a", "0a"),
            ("sha256", "sha512"),
            ("length", "Length"),
            ("}}", "}"),
            ("10}", "10,\"x\":1}"),
        ] {
            let text = good.replacen(from, to, 1);
            let text = if from == "}}" { good.replacen("},", ",", 1) } else { text };
            assert_eq!(CommonObject::canonical(text.as_bytes()), None, "{from} to {to}");
            assert_eq!(CommonObject::laid_out(text.as_bytes()), None, "{from} to {to}");
        }
        assert_eq!(CommonObject::canonical(good.replace(':', ": ").as_bytes()), None);
        assert!(CommonObject::laid_out(good.replace(':', ": ").as_bytes()).is_some());
        for end in 0..good.len() {
            assert_eq!(CommonObject::canonical(&good.as_bytes()[..end]), None);
            assert_eq!(CommonObject::laid_out(&good.as_bytes()[..end]), None);
        }
    }
}
