//! Finds places in canonical text. Such text has no white space and was checked when it was made, so that what is skipped
//! need not be understood.

use std::ops::Range;

use super::common::CommonObject;
use super::plain_run;

/// A place in canonical text.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at a place of a text.
    pub fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// Returns the place, in bytes from the start.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Tells whether some bytes stand here.
    pub fn starts_with<const N: usize>(&self, bytes: &[u8; N]) -> bool {
        self.text.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) == Some(bytes)
    }

    /// Goes behind some bytes where they stand here. Tells whether they do.
    #[inline]
    pub fn skip<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        let here = self.starts_with(bytes);
        if here {
            self.at += N;
        }
        here
    }

    /// Goes behind a string. Returns where it stands, without its quotes.
    pub fn string(&mut self) -> Option<Range<usize>> {
        let mut at = self.at + 1;
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        loop {
            at += plain_run(self.text.get(at..)?);
            match self.text.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        let found = self.at + 1..at;
        self.at = at + 1;
        Some(found)
    }

    /// Goes behind a string in which nothing is escaped. Returns where it stands, without its quotes.
    pub fn plain_string(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..).filter(|rest| rest.first() == Some(&b'"'))?;
        let length = plain_run(&rest[1..]);
        if rest.get(1 + length) != Some(&b'"') {
            return None;
        }
        let found = self.at + 1..self.at + 1 + length;
        self.at = found.end + 1;
        Some(found)
    }

    /// Goes behind the commonest object of all: a file with one SHA-256 and its length. Tells whether it stands here.
    #[inline]
    pub fn common_object(&mut self) -> bool {
        let found = self.text.get(self.at..).and_then(CommonObject::canonical);
        self.at += found.unwrap_or(0);
        found.is_some()
    }

    /// Goes behind a number without a sign.
    pub fn number(&mut self) -> Option<u64> {
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let number = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
        self.at += length;
        Some(number)
    }

    /// Goes behind a value.
    pub fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => self.word(),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Goes behind a number or a literal.
    fn word(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
        self.at += end.unwrap_or(rest.len());
    }
}

/// Finds where the value of a member starts in the object that a canonical text is.
pub fn member(text: &[u8], name: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text, 0);
    if !scanner.skip(b"{") {
        return None;
    }
    loop {
        let key = scanner.string()?;
        if !scanner.skip(b":") {
            return None;
        }
        if text[key] == *name.as_bytes() {
            return Some(scanner.at());
        }
        scanner.value()?;
        if !scanner.skip(b",") {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_json;
    use super::*;

    #[test]
    fn finds_a_member_behind_whatever_stands_before_it() {
        let before = [
            r#""a":{"b":[1,-2,{"t":"}"}],"c":{}}"#,
            r#""a":"\"}\\""#,
            r#""a":true,"b":null,"c":[[],[[]]]"#,
            r#""a":"\n\u0001""#,
            r#""a":{"t":0}"#,
        ];
        for before in before {
            let text = from_json(format!("{{{before},\"t\":[7],\"u\":0}}").as_bytes()).unwrap();
            let place = member(&text, "t").unwrap();
            let mut scanner = Scanner::new(&text, place);
            assert_eq!(scanner.value(), Some(()));
            assert_eq!(&text[place..scanner.at()], b"[7]", "{before}");
            assert_eq!(member(&text, "x"), None);
        }
        for text in [
            "",
            "{}",
            "[]",
            "\"t\"",
            "{\"t\"",
            "{\"a\":",
            "{\"a\":[",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":]}",
        ] {
            assert_eq!(member(text.as_bytes(), "t"), None, "{text}");
        }
    }
}
