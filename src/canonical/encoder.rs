//! Reads JSON text and writes canonical text, in one pass.

use std::cmp::Ordering;
use std::ops::Range;

use super::common::CommonObject;
use super::{CanonicalError, MAX_DEPTH, Member, Scanner, plain_run};

/// Eight spaces.
const SPACES: u64 = 0x2020_2020_2020_2020;

/// A key of an object: where it stands in the output, without its quotes.
struct Key {
    place: Range<usize>,
    /// Nothing in it is escaped.
    plain: bool,
}

/// One member of an object: its key, and where the whole of it stands in the output.
struct Entry {
    key: Key,
    whole: Range<usize>,
}

/// Where reading and writing have come to. Canonical text is never longer than what it is of, so that it is written over
/// what has been read: a large text needs no second buffer.
pub(super) struct Encoder<'a, 'm> {
    text: Vec<u8>,
    /// Where reading has come to.
    at: usize,
    /// Where writing has come to; never beyond `at`.
    end: usize,
    /// The members of the outermost object whose places are asked for.
    wanted: &'m mut [Member<'a>],
}

impl<'a, 'm> Encoder<'a, 'm> {
    /// Returns the canonical form of a text; notes where wanted members of the object that it is stand.
    pub fn encode(text: String, wanted: &'m mut [Member<'a>]) -> Result<Vec<u8>, CanonicalError> {
        Self::encode_within(text, 0, wanted)
    }

    /// Encodes a text as [`Encoder::encode`] does that will stand within this many objects and arrays.
    pub fn encode_within(
        text: String,
        depth: usize,
        wanted: &'m mut [Member<'a>],
    ) -> Result<Vec<u8>, CanonicalError> {
        let mut encoder = Self { text: text.into_bytes(), at: 0, end: 0, wanted };
        encoder.value(depth)?;
        encoder.white_space();
        if encoder.at != encoder.text.len() {
            return Err(encoder.expected("the end of the text"));
        }
        encoder.text.truncate(encoder.end);
        Ok(encoder.text)
    }

    /// Writes bytes for as many or more that have been read.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.text[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Reads a mark and writes it.
    #[inline]
    fn mark(&mut self) {
        self.text[self.end] = self.text[self.at];
        self.at += 1;
        self.end += 1;
    }

    /// Reads bytes and writes them as they are.
    #[inline]
    fn keep(&mut self, length: usize) {
        // what is laid out already stays where it is
        if self.end != self.at {
            self.text.copy_within(self.at..self.at + length, self.end);
        }
        self.at += length;
        self.end += length;
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> CanonicalError {
        CanonicalError::Syntax { offset: self.at, expected }
    }

    #[inline]
    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            // lines are laid out with many spaces
            while let Some(word) = self.text.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let spaces = (u64::from_le_bytes(*word) ^ SPACES).trailing_zeros() / 8;
                self.at += spaces as usize;
                if spaces < 8 {
                    break;
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if depth > MAX_DEPTH {
            return Err(CanonicalError::TooDeep { offset: self.at });
        }
        self.white_space();
        match self.peek() {
            Some(b'{') => match self.common_object(depth) {
                true => Ok(()),
                false => self.object(depth),
            },
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.expected("a value")),
        }
    }

    /// Reads and writes the commonest object of all. Tells whether it stands here.
    fn common_object(&mut self, depth: usize) -> bool {
        // members of the outermost object may be asked for, and what is within the object is two levels deeper
        if depth == 0 || depth + 2 > MAX_DEPTH {
            return false;
        }
        if let Some(length) = CommonObject::canonical(&self.text[self.at..]) {
            self.keep(length);
            return true;
        }
        let Some(found) = CommonObject::laid_out(&self.text[self.at..]) else { return false };
        self.end = found.write(&mut self.text, self.at, self.end);
        self.at += found.end;
        true
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), CanonicalError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("true, false or null"));
        }
        self.keep(word.len());
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.mark();
        self.white_space();
        if self.peek() != Some(b']') {
            loop {
                self.value(depth + 1)?;
                self.white_space();
                match self.peek() {
                    Some(b',') => self.mark(),
                    Some(b']') => break,
                    _ => return Err(self.expected("',' or ']'")),
                }
            }
        }
        self.mark();
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.mark();
        let start = self.end;
        let mut last: Option<Key> = None;
        let mut sorted = true;
        self.white_space();
        if self.peek() != Some(b'}') {
            loop {
                self.white_space();
                if self.peek() != Some(b'"') {
                    return Err(self.expected("a key in quotes"));
                }
                let from = self.end;
                let plain = self.string()?;
                let key = Key { place: from + 1..self.end - 1, plain };
                self.white_space();
                if self.peek() != Some(b':') {
                    return Err(self.expected("':'"));
                }
                self.mark();
                self.value(depth + 1)?;
                if depth == 0 {
                    self.note(&key, self.end);
                }
                if sorted && let Some(last) = &last {
                    match self.order(last, &key) {
                        Ordering::Less => {}
                        Ordering::Equal => return Err(self.twice(&key)),
                        Ordering::Greater => sorted = false,
                    }
                }
                last = Some(key);
                self.white_space();
                match self.peek() {
                    Some(b',') => self.mark(),
                    Some(b'}') => break,
                    _ => return Err(self.expected("',' or '}'")),
                }
            }
        }
        if !sorted {
            self.sort_members(start, depth)?;
        }
        self.mark();
        Ok(())
    }

    /// Notes where the value of a member of the outermost object stands if it is wanted; it ends at `end`.
    fn note(&mut self, key: &Key, end: usize) {
        let name = &self.text[key.place.clone()];
        if let Some(member) = self.wanted.iter_mut().find(|member| member.name.as_bytes() == name) {
            // after the key its quote and the colon
            member.place = Some(key.place.end + 2..end);
        }
    }

    /// Compares two keys by what they mean.
    fn order(&self, a: &Key, b: &Key) -> Ordering {
        let (key, other) = (&self.text[a.place.clone()], &self.text[b.place.clone()]);
        if a.plain && b.plain { key.cmp(other) } else { meant(key).cmp(meant(other)) }
    }

    fn twice(&self, key: &Key) -> CanonicalError {
        let key = String::from_utf8_lossy(&self.text[key.place.clone()]).escape_debug().to_string();
        CanonicalError::DuplicateKey { key }
    }

    /// Puts the members written since `start` into the order of their keys. Nearly all objects come sorted, so that only here
    /// it is found out where their members stand.
    fn sort_members(&mut self, start: usize, depth: usize) -> Result<(), CanonicalError> {
        let mut members = self.members(start);
        members.sort_by(|a, b| self.order(&a.key, &b.key));
        if let Some(pair) = members.windows(2).find(|pair| self.order(&pair[0].key, &pair[1].key).is_eq()) {
            return Err(self.twice(&pair[0].key));
        }
        let mut text = Vec::with_capacity(self.end - start);
        for (index, member) in members.iter_mut().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            let to = start + text.len();
            text.extend_from_slice(&self.text[member.whole.clone()]);
            member.key.place = to + 1..to + 1 + member.key.place.len();
            member.whole = to..to + member.whole.len();
        }
        self.text[start..self.end].copy_from_slice(&text);
        if depth == 0 {
            for member in &members {
                self.note(&member.key, member.whole.end);
            }
        }
        Ok(())
    }

    /// Finds the members that have been written since `start`.
    fn members(&self, start: usize) -> Vec<Entry> {
        let mut members = Vec::new();
        let mut scanner = Scanner::new(&self.text[..self.end], start);
        loop {
            let from = scanner.at();
            let Some(place) = scanner.string() else { break };
            scanner.skip(b":");
            if scanner.value().is_none() {
                break;
            }
            let plain = !self.text[place.clone()].contains(&b'\\');
            members.push(Entry { key: Key { place, plain }, whole: from..scanner.at() });
            if !scanner.skip(b",") {
                break;
            }
        }
        members
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
        let length = self.at - start;
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
            return Err(refused);
        }
        // the integer 0 to some readers, a float to others
        if text == "-0" {
            return Err(refused);
        }
        self.at = start;
        self.keep(length);
        Ok(())
    }

    /// Tells whether nothing is escaped.
    fn string(&mut self) -> Result<bool, CanonicalError> {
        // most strings hold nothing that is escaped: they are copied with their quotes
        let rest = &self.text[self.at..];
        let plain = 1 + plain_run(&rest[1..]);
        if rest.get(plain) == Some(&b'"') {
            self.keep(plain + 1);
            return Ok(true);
        }
        self.mark();
        loop {
            let rest = &self.text[self.at..];
            let plain = plain_run(rest);
            self.keep(plain);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(self.expected("the end of the string")),
            }
        }
        self.mark();
        Ok(false)
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
        self.write(bytes);
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
            '"' => self.write(b"\\\""),
            '\\' => self.write(b"\\\\"),
            _ => self.write(character.encode_utf8(&mut [0; 4]).as_bytes()),
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

/// Returns the characters that a string in canonical text means.
pub(super) fn meant(key: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut bytes = key.iter().copied();
    std::iter::from_fn(move || match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    })
}
