//! The textual envelope of keys (RFC 7468): read leniently, written canonically.
//!
//! Text around and between envelopes, any line length and any line ending are fine. What an envelope holds
//! is for others to judge.

use std::iter;

use pkcs8::der::pem::{Base64Decoder, LineEnding, encode_string};
use zeroize::Zeroizing;

/// One envelope, still in text.
pub(super) struct Envelope<'a> {
    /// What the envelope says it holds, such as `PUBLIC KEY`.
    pub(super) label: &'a str,
    /// The lines before the body that RFC 1421 knew, where OpenSSL's old form names its encryption.
    headers: &'a str,
    body: &'a str,
}

/// The text between the boundaries is not Base64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotBase64;

/// Finds the envelopes in a text. A text that is not UTF-8 has none.
pub(super) fn envelopes(text: &[u8]) -> impl Iterator<Item = Envelope<'_>> {
    let mut rest = std::str::from_utf8(text).unwrap_or_default();
    iter::from_fn(move || {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        rest = after;
        let (headers, body) = split_headers(body);
        Some(Envelope { label, headers, body })
    })
}

/// Parts headers from the body: they start with the first line and end with an empty one.
fn split_headers(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    if !text.lines().next().unwrap_or_default().contains(':') {
        return ("", text);
    }
    let ends = ["\n\n", "\r\n\r\n"].into_iter().filter_map(|end| text.split_once(end));
    ends.min_by_key(|(headers, _)| headers.len()).unwrap_or((text, ""))
}

impl Envelope<'_> {
    /// Tells whether the envelope holds a private key in any form.
    pub(super) fn is_private(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    /// Tells whether the envelope holds an encrypted private key. OpenSSL's old form says so in a header.
    pub(super) fn is_encrypted(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY"
            || (self.is_private() && self.header("Proc-Type").is_some_and(|kind| kind.ends_with("ENCRYPTED")))
    }

    /// Returns the value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.lines().filter_map(|line| line.split_once(':'));
        headers.filter(|(known, _)| known.trim() == name).map(|(_, value)| value.trim()).next()
    }

    /// Decodes the bytes inside.
    pub(super) fn contents(&self) -> Result<Zeroizing<Vec<u8>>, NotBase64> {
        // Buffers of their final size: growing ones would leave copies of a secret behind.
        let mut text = Zeroizing::new(Vec::with_capacity(self.body.len()));
        text.extend(self.body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let mut decoder = Base64Decoder::new(&text).map_err(|_| NotBase64)?;
        let mut bytes = Zeroizing::new(vec![0; decoder.remaining_len()]);
        decoder.decode(&mut bytes).map_err(|_| NotBase64)?;
        Ok(bytes)
    }
}

/// Writes an envelope: lines of 64 characters, each ended by a line feed.
pub(super) fn write(label: &str, bytes: &[u8]) -> Option<Zeroizing<String>> {
    encode_string(label, LineEnding::LF, bytes).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(text: &str) -> Option<(String, Result<Vec<u8>, NotBase64>)> {
        let envelope = envelopes(text.as_bytes()).next()?;
        Some((envelope.label.to_owned(), envelope.contents().map(|bytes| bytes.to_vec())))
    }

    #[test]
    fn reads_any_line_length_and_ending_and_the_text_around() {
        for text in [
            "-----BEGIN X-----\nAQIDBAU=\n-----END X-----\n",
            "-----BEGIN X-----\r\nAQID\r\nBAU=\r\n-----END X-----\r\n",
            "a comment\n-----BEGIN X-----\n\n AQIDB\nAU=\n\n-----END X-----",
            "-----BEGIN X-----AQIDBAU=-----END X----- and more",
        ] {
            assert_eq!(first(text), Some(("X".into(), Ok(vec![1, 2, 3, 4, 5]))), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_base64() {
        for body in ["", "AQID*", "AQIDBAU", "Proc-Type: 4,ENCRYPTED\nAQIDBAU="] {
            let text = format!("-----BEGIN X-----\n{body}\n-----END X-----\n");
            assert_eq!(first(&text), Some(("X".into(), Err(NotBase64))), "{body}");
        }
    }

    #[test]
    fn parts_headers_from_the_body() {
        for end in ["\n", "\r\n"] {
            let text = "-----BEGIN X KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,B\n\nAQIDBAU=\n-----END X KEY-----"
                .replace('\n', end);
            let envelope = envelopes(text.as_bytes()).next().unwrap();
            assert_eq!(envelope.header("DEK-Info"), Some("A,B"));
            assert_eq!(envelope.header("Content-Domain"), None);
            assert_eq!(envelope.contents().unwrap().to_vec(), [1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn wants_both_boundaries() {
        for text in [
            "",
            "AQID",
            "-----BEGIN X-----\nAQID\n",
            "-----BEGIN X-----\nAQID\n-----END Y-----\n",
            "-----BEGIN X",
        ] {
            assert_eq!(first(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let text = write("PUBLIC KEY", &bytes).unwrap();
            prop_assert!(text.ends_with("-----END PUBLIC KEY-----\n"));
            prop_assert_eq!(first(&text), Some(("PUBLIC KEY".into(), Ok(bytes))));
        }
    }
}
