//! Canonical JSON: the only source of bytes to sign.
//!
//! The dialect is OLPC's as securesystemslib encodes it: object keys sorted by code point, no white
//! space, `"` and `\` the only escaped characters, integers only. Unicode is not normalised. Duplicate
//! keys, floats, exponents and integers that do not fit 64 bits are refused, so that whatever passes
//! here has one meaning only.
//!
//! The encoder reads JSON text and writes canonical text in one pass, without a tree in between.

use std::ops::Range;

use serde::Serialize;

/// The deepest nesting of objects and arrays that is read.
pub const MAX_DEPTH: usize = 64;

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
    /// Canonical JSON knows integers only.
    #[error("the number at byte {offset} is not an integer of 64 bits")]
    NotAnInteger {
        /// Where the number starts.
        offset: usize,
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
    Ok(encode(text, None)?.0)
}

/// Returns the canonical form of one member of a JSON text that is an object, after reading the whole text; `None`
/// where there is no such member.
///
/// # Errors
/// As [`from_json`], wherever in the text the fault is.
pub fn member_from_json(text: &[u8], name: &str) -> Result<Option<Vec<u8>>, CanonicalError> {
    let (mut out, member) = encode(text, Some(name))?;
    Ok(member.map(|member| {
        out.truncate(member.end);
        out.drain(..member.start);
        out
    }))
}

/// Encodes a text, and finds where in the output the value of a member of the outermost object stands.
fn encode(text: &[u8], wanted: Option<&str>) -> Result<(Vec<u8>, Option<Range<usize>>), CanonicalError> {
    let out = Vec::with_capacity(text.len());
    let mut encoder = Encoder { text, at: 0, out, entries: Vec::new(), wanted, found: None };
    encoder.value(0)?;
    encoder.white_space();
    if encoder.at != text.len() {
        return Err(encoder.expected("the end of the text"));
    }
    Ok((encoder.out, encoder.found))
}

/// Returns the canonical form of a value that serialises to JSON.
///
/// # Errors
/// [`CanonicalError`] where the value holds a float, a map key that is not a string, or a duplicate key.
pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let text = serde_json::to_vec(value)
        .map_err(|_| CanonicalError::Syntax { offset: 0, expected: "a value that JSON can express" })?;
    from_json(&text)
}

/// Lays canonical text out for people and version control: one member a line, indented by one space, a
/// newline at the end, control characters escaped as JSON wants them.
///
/// The text must come from [`from_json`] or [`from_value`].
pub fn pretty(canonical: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = Vec::with_capacity(canonical.len() + canonical.len() / 4);
    let mut depth = 0;
    let mut bytes = canonical.iter().copied().peekable();
    let newline = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth, b' ');
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                out.push(b'"');
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            out.push(b'\\');
                            out.extend(bytes.next());
                        }
                        b'\n' => out.extend_from_slice(b"\\n"),
                        b'\r' => out.extend_from_slice(b"\\r"),
                        b'\t' => out.extend_from_slice(b"\\t"),
                        0x00..=0x1f => {
                            out.extend_from_slice(b"\\u00");
                            out.push(HEX[usize::from(byte >> 4)]);
                            out.push(HEX[usize::from(byte & 15)]);
                        }
                        _ => out.push(byte),
                    }
                }
                out.push(b'"');
            }
            b'{' | b'[' => {
                out.push(byte);
                if bytes.peek().is_some_and(|next| matches!(next, b'}' | b']')) {
                    out.extend(bytes.next());
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth -= 1;
                newline(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(b',');
                newline(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
    }
    out.push(b'\n');
    out
}

/// One member of an object while it is written: where its key and the whole of it stand in the output.
struct Entry {
    key: Range<usize>,
    whole: Range<usize>,
}

struct Encoder<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// The members of all objects that are open, innermost last.
    entries: Vec<Entry>,
    /// A member of the outermost object whose place is asked for, and where its value stands.
    wanted: Option<&'a str>,
    found: Option<Range<usize>>,
}

impl Encoder<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> CanonicalError {
        CanonicalError::Syntax { offset: self.at, expected }
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if depth > MAX_DEPTH {
            return Err(CanonicalError::TooDeep { offset: self.at });
        }
        self.white_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.expected("a value")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), CanonicalError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("true, false or null"));
        }
        self.at += word.len();
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.at += 1;
        self.out.push(b'[');
        self.white_space();
        if self.peek() != Some(b']') {
            loop {
                self.value(depth + 1)?;
                self.white_space();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.out.push(b',');
                    }
                    Some(b']') => break,
                    _ => return Err(self.expected("',' or ']'")),
                }
            }
        }
        self.at += 1;
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        let mine = self.entries.len();
        self.at += 1;
        self.out.push(b'{');
        let start = self.out.len();
        self.white_space();
        if self.peek() != Some(b'}') {
            loop {
                self.white_space();
                if self.peek() != Some(b'"') {
                    return Err(self.expected("a key in quotes"));
                }
                let from = self.out.len();
                self.string()?;
                let key = from + 1..self.out.len() - 1;
                self.white_space();
                if self.peek() != Some(b':') {
                    return Err(self.expected("':'"));
                }
                self.at += 1;
                self.out.push(b':');
                self.value(depth + 1)?;
                self.entries.push(Entry { key, whole: from..self.out.len() });
                self.white_space();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.out.push(b',');
                    }
                    Some(b'}') => break,
                    _ => return Err(self.expected("',' or '}'")),
                }
            }
        }
        self.at += 1;
        self.sort_members(mine, start)?;
        if depth == 0
            && let Some(wanted) = self.wanted
        {
            let found = self.entries.iter().find(|entry| self.out[entry.key.clone()] == *wanted.as_bytes());
            // after the key its quote and the colon
            self.found = found.map(|entry| entry.key.end + 2..entry.whole.end);
        }
        self.entries.truncate(mine);
        self.out.push(b'}');
        Ok(())
    }

    /// Puts the members written since `start` into the order of their keys; their entries say where they stand then.
    fn sort_members(&mut self, mine: usize, start: usize) -> Result<(), CanonicalError> {
        let out = &self.out;
        let order = |a: &Entry, b: &Entry| compare_keys(&out[a.key.clone()], &out[b.key.clone()]);
        let members = &mut self.entries[mine..];
        let sorted = members.is_sorted_by(|a, b| order(a, b).is_lt());
        if !sorted {
            members.sort_by(order);
            if let Some(twice) = members.windows(2).find(|pair| order(&pair[0], &pair[1]).is_eq()) {
                let key = String::from_utf8_lossy(&out[twice[0].key.clone()]).escape_debug().to_string();
                return Err(CanonicalError::DuplicateKey { key });
            }
            let mut text = Vec::with_capacity(out.len() - start);
            for (index, member) in members.iter_mut().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                let to = start + text.len();
                text.extend_from_slice(&out[member.whole.clone()]);
                let Entry { key, whole } = member;
                (*key, *whole) = (to + 1..to + 1 + key.len(), to..to + whole.len());
            }
            self.out.truncate(start);
            self.out.extend_from_slice(&text);
        }
        Ok(())
    }

    fn integer(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let digits = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == digits {
            return Err(self.expected("a digit"));
        }
        let refused = CanonicalError::NotAnInteger { offset: start };
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(refused);
        }
        if self.text[digits] == b'0' && self.at > digits + 1 {
            self.at = digits + 1;
            return Err(self.expected("no digit after a leading zero"));
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
            return Err(refused);
        }
        // "-0" is the integer 0
        let text = if text == "-0" { "0" } else { text };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn string(&mut self) -> Result<(), CanonicalError> {
        self.at += 1;
        self.out.push(b'"');
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            let run = &self.text[start..self.at];
            if std::str::from_utf8(run).is_err() {
                self.at = start;
                return Err(self.expected("UTF-8"));
            }
            self.out.extend_from_slice(run);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(self.expected("the end of the string")),
            }
        }
        self.at += 1;
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self) -> Result<(), CanonicalError> {
        let byte = self.text.get(self.at + 1).copied();
        let plain = match byte {
            Some(b'"') => return self.escaped(b"\\\""),
            Some(b'\\') => return self.escaped(b"\\\\"),
            Some(b'/') => b"/",
            Some(b'b') => b"\x08",
            Some(b'f') => b"\x0c",
            Some(b'n') => b"\n",
            Some(b'r') => b"\r",
            Some(b't') => b"\t",
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.expected("a known escape")),
        };
        self.escaped(plain)
    }

    fn escaped(&mut self, bytes: &[u8]) -> Result<(), CanonicalError> {
        self.at += 2;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), CanonicalError> {
        let high = self.code_unit(self.at)?;
        let mut length = 6;
        let code = match high {
            0xd800..=0xdbff => {
                let low = self.code_unit(self.at + 6)?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(self.expected("the second half of a surrogate pair"));
                }
                length = 12;
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            unit => unit,
        };
        let Some(character) = char::from_u32(code) else {
            return Err(self.expected("a character, not half of a surrogate pair"));
        };
        self.at += length;
        match character {
            '"' => self.out.extend_from_slice(b"\\\""),
            '\\' => self.out.extend_from_slice(b"\\\\"),
            _ => self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        Ok(())
    }

    /// Reads `\uXXXX` that starts at `at`.
    fn code_unit(&self, at: usize) -> Result<u32, CanonicalError> {
        let four = self.text.get(at..at + 6).filter(|text| text.starts_with(b"\\u")).map(|text| &text[2..]);
        four.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or(CanonicalError::Syntax { offset: at, expected: "\\u and four hexadecimal digits" })
    }
}

/// Compares two keys as they stand in canonical text, by the characters they mean.
fn compare_keys(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    if a.contains(&b'\\') || b.contains(&b'\\') { meant(a).cmp(meant(b)) } else { a.cmp(b) }
}

fn meant(key: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut bytes = key.iter().copied();
    std::iter::from_fn(move || match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    })
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
        for text in ["1.0", "1e3", "-1E0", "18446744073709551616", "-9223372036854775809"] {
            assert_eq!(canonical(text), Err(CanonicalError::NotAnInteger { offset: 0 }), "{text}");
        }
        assert_eq!(canonical("18446744073709551615").unwrap(), "18446744073709551615");
        assert_eq!(canonical("-0").unwrap(), "0");
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

    proptest! {
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
                let member = member_from_json(text.as_bytes(), &name).unwrap();
                // a name that must be escaped is not looked for
                let expected = (!name.contains('"')).then(|| from_value(&value).unwrap());
                prop_assert_eq!(member, expected);
            }
            prop_assert_eq!(member_from_json(b"{\"a\": {\"b\": 1}}", "b").unwrap(), None);
            prop_assert_eq!(member_from_json(b"[{\"b\": 1}]", "b").unwrap(), None);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = from_json(&bytes);
        }
    }
}
