//! Canonical JSON: the only source of bytes to sign.
//!
//! The dialect is OLPC's as securesystemslib encodes it: object keys sorted by code point, no white
//! space, `"` and `\` the only escaped characters, integers only. Unicode is not normalised. Duplicate
//! keys, floats, exponents, `-0` and integers that do not fit 64 bits are refused, so that what passes
//! here has one meaning only.
//!
//! The encoder reads JSON text and writes canonical text in one pass, without a tree in between.

mod common;
mod encoder;
mod layout;
mod scan;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;

use encoder::{Encoder, meant};
pub use layout::pretty;
pub(crate) use layout::{pretty_parts, write_pretty_parts};
pub(crate) use scan::{Scanner, member};

/// The deepest nesting of objects and arrays that is read.
pub const MAX_DEPTH: usize = 64;

/// Up to this many bytes of a member are copied, to let go of the rest.
const FEW_BYTES: usize = 1 << 20;

/// Why a text has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The text is not JSON.
    #[error("not valid JSON at byte {offset}: expected {expected}")]
    Syntax {
        /// Where reading stopped, in bytes from the start.
        offset: usize,
        /// What could have stood there.
        expected: &'static str,
    },
    /// An object names one key twice, so readers may disagree on its value.
    #[error("the key \"{key}\" stands twice in one object")]
    DuplicateKey {
        /// The key, control characters made visible.
        key: String,
    },
    /// Canonical JSON knows integers only; some readers do not take `-0` for one.
    #[error("the number at byte {offset} is not an integer of 64 bits")]
    NotAnInteger {
        /// Where the number starts.
        offset: usize,
    },
    /// What is to be listed could not be read again.
    #[error("the {noun} '{name}' cannot be listed: {reason}")]
    Unlistable {
        /// What is listed: a target, a metadata file.
        noun: &'static str,
        /// Its name, control characters made visible.
        name: String,
        /// What a reader would say.
        reason: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Where the limit was passed.
        offset: usize,
    },
}

/// Returns the canonical form of a JSON text.
///
/// # Errors
/// [`CanonicalError`] where the text is not JSON or has no canonical form.
pub fn from_json(text: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    Encoder::encode(checked(text.to_vec())?, &mut [])
}

/// Reads a JSON text whole, and finds some members of the object that it is.
///
/// # Errors
/// As [`from_json`], wherever in the text the fault is.
pub fn members_from_json<'a, const N: usize>(
    text: Vec<u8>,
    names: [&'a str; N],
) -> Result<Members<'a, N>, CanonicalError> {
    let mut members = names.map(|name| Member { name, place: None });
    let canonical = Encoder::encode(checked(text)?, &mut members)?;
    Ok(Members { canonical, members })
}

fn checked(text: Vec<u8>) -> Result<String, CanonicalError> {
    String::from_utf8(text).map_err(|error| CanonicalError::Syntax {
        offset: error.utf8_error().valid_up_to(),
        expected: "UTF-8",
    })
}

/// Members of an object that was read whole.
pub struct Members<'a, const N: usize> {
    canonical: Vec<u8>,
    members: [Member<'a>; N],
}

/// One of them: where its value stands in the canonical form.
struct Member<'a> {
    name: &'a str,
    place: Option<Range<usize>>,
}

impl<const N: usize> Members<'_, N> {
    /// Returns the value of a member in canonical form; `None` where there is no such member.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.canonical.get(self.place(name)?)
    }

    /// Returns the value of a member as [`Members::get`] does, to be kept.
    pub fn take(self, name: &str) -> Option<Bytes> {
        let place = self.place(name)?;
        // what is kept may be one of many, and what is large costs as much to copy
        match self.canonical.get(place.clone())? {
            few if few.len() <= FEW_BYTES => Some(Bytes::copy_from_slice(few)),
            _ => Some(Bytes::from(self.canonical).slice(place)),
        }
    }

    fn place(&self, name: &str) -> Option<Range<usize>> {
        self.members.iter().find(|member| member.name == name)?.place.clone()
    }
}

/// Returns the canonical form of a value that serialises to JSON.
///
/// # Errors
/// [`CanonicalError`] where the value holds a float, a map key that is not a string, or a duplicate key.
pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    from_value_within(value, 0)
}

/// Returns the canonical form of a value as [`from_value`] does that will stand within this many objects and arrays.
pub(crate) fn from_value_within<T: Serialize + ?Sized>(
    value: &T,
    depth: usize,
) -> Result<Vec<u8>, CanonicalError> {
    let text = serde_json::to_vec(value)
        .map_err(|_| CanonicalError::Syntax { offset: 0, expected: "a value that JSON can express" })?;
    Encoder::encode_within(checked(text)?, depth, &mut [])
}

/// Writes a string in canonical form.
pub(crate) fn write_string(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        to.extend_from_slice(&rest[..at]);
        to.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    to.extend_from_slice(rest);
    to.push(b'"');
}

/// Returns what a string means that stands in canonical text, without its quotes.
pub(crate) fn meaning(string: &[u8]) -> Cow<'_, str> {
    if !string.contains(&b'\\') {
        return String::from_utf8_lossy(string);
    }
    Cow::Owned(String::from_utf8_lossy(&meant(string).collect::<Vec<u8>>()).into_owned())
}

/// Compares what a string in canonical text means with a text, by code point.
pub(crate) fn compare_meaning(string: &[u8], text: &str) -> Ordering {
    match string.contains(&b'\\') {
        true => meant(string).cmp(text.bytes()),
        false => string.cmp(text.as_bytes()),
    }
}

/// Returns canonical text as JSON, which wants control characters escaped.
pub(crate) fn as_json(canonical: &[u8]) -> Cow<'_, [u8]> {
    match canonical.iter().any(|byte| *byte < b' ') {
        true => Cow::Owned(pretty(canonical)),
        false => Cow::Borrowed(canonical),
    }
}

/// Counts the bytes up to the first that is a quote, a backslash or a control character: what a string holds as it is.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // the high bit of each byte that is zero; above the lowest one it may err
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found =
            control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn canonical(text: &str) -> Result<String, CanonicalError> {
        from_json(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn sorts_keys_and_drops_white_space() {
        assert_eq!(
            canonical(r#" { "b" : [ 1 , -2 ], "a":{"y":true,"x":null} } "#).unwrap(),
            r#"{"a":{"x":null,"y":true},"b":[1,-2]}"#
        );
        assert_eq!(canonical("{}").unwrap(), "{}");
        assert_eq!(canonical("[]").unwrap(), "[]");
    }

    #[test]
    fn escapes_quote_and_backslash_only() {
        assert_eq!(canonical(r#""a\"b\\c\n\u0041\/\ud83d\ude00""#).unwrap(), "\"a\\\"b\\\\c\nA/😀\"");
    }

    #[test]
    fn does_not_normalise_unicode() {
        assert_eq!(canonical(r#""e\u0301é""#).unwrap(), "\"e\u{301}\u{e9}\"");
    }

    #[test]
    fn sorts_by_what_a_key_means_not_by_how_it_is_escaped() {
        // '"' is 0x22 and sorts before '#', though its escape starts with 0x5c
        assert_eq!(canonical(r##"{"#":1,"\"":2}"##).unwrap(), r##"{"\"":2,"#":1}"##);
        // by code point, not by UTF-16 unit
        assert_eq!(
            canonical("{\"\u{10000}\":1,\"\u{ffff}\":2}").unwrap(),
            "{\"\u{ffff}\":2,\"\u{10000}\":1}"
        );
    }

    #[test]
    fn refuses_duplicate_keys_however_they_are_spelled() {
        assert_eq!(
            canonical(r#"{"a":1,"b":2,"\u0061":3}"#),
            Err(CanonicalError::DuplicateKey { key: "a".into() })
        );
    }

    #[test]
    fn refuses_what_is_not_an_integer() {
        for text in ["1.0", "1e3", "-1E0", "-0", "18446744073709551616", "-9223372036854775809"] {
            assert_eq!(canonical(text), Err(CanonicalError::NotAnInteger { offset: 0 }), "{text}");
        }
        assert_eq!(canonical("18446744073709551615").unwrap(), "18446744073709551615");
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "01",
            "+1",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\n\"",
            "1 2",
            "{1:2}",
            "NaN",
        ] {
            assert!(matches!(canonical(text), Err(CanonicalError::Syntax { .. })), "{text}");
        }
        assert!(matches!(from_json(b"\"\xff\""), Err(CanonicalError::Syntax { .. })));
    }

    #[test]
    fn only_members_of_the_outermost_object_are_found() {
        for text in ["{\"a\": {\"b\": 1}}", "[{\"b\": 1}]", "{\"a\": [{\"b\": 1}]}", "\"b\""] {
            let members = members_from_json(text.as_bytes().to_vec(), ["b"]).unwrap();
            assert_eq!(members.get("b"), None, "{text}");
            assert_eq!(members.take("b"), None, "{text}");
        }
    }

    #[test]
    fn a_long_string_ends_where_it_ends() {
        for length in 0..40 {
            for end in ["\"", "\\n\"", "\n\"", "\u{1f}\"", "\u{e9}\"", "\u{7f}\""] {
                let text = format!("\"{}{end}", "x".repeat(length));
                let expected = serde_json::from_str::<String>(&text).map(|value| format!("\"{value}\""));
                assert_eq!(canonical(&text).ok(), expected.ok(), "{text:?}");
            }
        }
    }

    #[test]
    fn refuses_bottomless_nesting() {
        let text = "[".repeat(100_000);
        assert!(matches!(canonical(&text), Err(CanonicalError::TooDeep { .. })));
    }

    #[test]
    fn pretty_text_is_json_of_the_same_canonical_form() {
        let text = canonical(r#"{"b":[1,{"k":"line\nbreak\u0001"}],"a":{},"c":[]}"#).unwrap();
        let laid_out = pretty(text.as_bytes());
        assert_eq!(
            String::from_utf8(laid_out.clone()).unwrap(),
            "{\n \"a\": {},\n \"b\": [\n  1,\n  {\n   \"k\": \"line\\nbreak\\u0001\"\n  }\n ],\n \"c\": []\n}\n"
        );
        assert_eq!(from_json(&laid_out).unwrap(), text.as_bytes());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Writes JSON with the members of every object in another order, some keys escaped.
    fn disordered(value: &Value, turn: usize, to: &mut String) {
        match value {
            Value::Array(all) => {
                to.push('[');
                for (index, value) in all.iter().enumerate() {
                    to.push_str(if index > 0 { " , " } else { " " });
                    disordered(value, turn + 1, to);
                }
                to.push(']');
            }
            Value::Object(all) => {
                let mut members: Vec<(&String, &Value)> = all.iter().collect();
                let places = members.len().max(1);
                match turn % 3 {
                    0 => members.reverse(),
                    1 => members.rotate_left(turn % places),
                    _ => {}
                }
                to.push('{');
                for (index, (key, value)) in members.into_iter().enumerate() {
                    to.push_str(if index > 0 { ",\n" } else { "" });
                    match key.chars().next().filter(|first| turn.is_multiple_of(2) && first.is_ascii()) {
                        Some(first) => {
                            let rest = Value::from(&key[1..]).to_string();
                            to.push_str(&format!("\"\\u{:04x}{}", first as u32, &rest[1..]));
                        }
                        None => to.push_str(&Value::from(key.as_str()).to_string()),
                    }
                    to.push_str(": ");
                    disordered(value, turn + index, to);
                }
                to.push('}');
            }
            value => to.push_str(&value.to_string()),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_members_does_not_matter(value in any_json(), turn in 0..12_usize) {
            let mut text = String::new();
            disordered(&value, turn, &mut text);
            prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
            prop_assert_eq!(from_json(text.as_bytes()).unwrap(), from_value(&value).unwrap());
        }

        #[test]
        fn canonical_form_is_a_fixed_point_and_keeps_the_value(value in any_json()) {
            let first = from_value(&value).unwrap();
            let laid_out = pretty(&first);
            prop_assert_eq!(&serde_json::from_slice::<Value>(&laid_out).unwrap(), &value);
            prop_assert_eq!(from_json(&laid_out).unwrap(), first);
        }

        #[test]
        fn a_member_is_what_it_is_by_itself(value in any_json(), other in any_json(), name in "[a-z\"]{1,3}") {
            let mut object = serde_json::Map::new();
            object.insert("z".to_owned(), other.clone());
            object.insert("a".to_owned(), other);
            object.insert(name.clone(), value.clone());
            // once in order, once backwards
            let members = object.iter().map(|(key, value)| format!("{}: {value}", Value::from(key.as_str())));
            let members: Vec<String> = members.collect();
            let backwards: Vec<String> = members.iter().rev().cloned().collect();
            for members in [members, backwards] {
                let text = format!("{{{}}}", members.join(", "));
                let members = members_from_json(text.into_bytes(), [&*name]).unwrap();
                // a name that must be escaped is not looked for
                let expected = (!name.contains('"')).then(|| from_value(&value).unwrap());
                prop_assert_eq!(members.get(&name).map(<[u8]>::to_vec), expected.clone());
                prop_assert_eq!(members.take(&name).map(Vec::from), expected);
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = from_json(&bytes);
        }
    }
}
