//! Canonical text laid out for people and version control.

use std::io::{self, Write};

use super::plain_run;

/// Lays canonical text out for people and version control: one member a line, indented by one space, a
/// newline at the end, control characters escaped as JSON wants them.
///
/// The text must come from [`from_json`](super::from_json) or [`from_value`](super::from_value).
pub fn pretty(canonical: &[u8]) -> Vec<u8> {
    pretty_parts(&[canonical])
}

/// So much is laid out before it is written.
const PIECE: usize = 128 << 10;

/// Lays canonical text out as [`pretty`] does that comes in parts, cut where one value or mark ends and the next one starts,
/// but not behind an opening bracket.
pub fn pretty_parts(parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // a target's entry grows by about a quarter
    let mut out = Vec::with_capacity(length + length / 3 + 64);
    // memory takes everything
    let _ = lay_out_all(parts, &mut out, &mut |_| Ok(()));
    out
}

/// Lays canonical text out as [`pretty_parts`] does and writes it piece by piece.
///
/// # Errors
/// Where it cannot be written.
pub fn write_pretty_parts(parts: &[&[u8]], to: &mut dyn Write) -> io::Result<()> {
    let mut write = |piece: &mut Vec<u8>| {
        let written = to.write_all(piece);
        piece.clear();
        written
    };
    let mut piece = Vec::with_capacity(2 * PIECE);
    lay_out_all(parts, &mut piece, &mut write)?;
    write(&mut piece)
}

fn lay_out_all(
    parts: &[&[u8]],
    out: &mut Vec<u8>,
    full: &mut impl FnMut(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut depth = 0;
    for part in parts {
        lay_out(part, &mut depth, out, full)?;
    }
    out.push(b'\n');
    Ok(())
}

/// Lays a part out; calls `full` whenever there is a piece or more.
fn lay_out(
    canonical: &[u8],
    depth: &mut usize,
    out: &mut Vec<u8>,
    full: &mut impl FnMut(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut rest = canonical;
    let newline = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth, b' ');
    };
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'"' => rest = string(after, out),
            b'{' | b'[' => {
                out.push(*byte);
                if let [close @ (b'}' | b']'), after @ ..] = rest {
                    out.push(*close);
                    rest = after;
                } else {
                    *depth += 1;
                    newline(out, *depth);
                }
            }
            b'}' | b']' => {
                *depth = depth.saturating_sub(1);
                newline(out, *depth);
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                newline(out, *depth);
                if out.len() >= PIECE {
                    full(out)?;
                }
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(*byte),
        }
    }
    Ok(())
}

/// Writes a string, from behind its first quote on, and returns what follows it.
fn string<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    loop {
        let (plain, after) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let [byte, after @ ..] = after else { return after };
        rest = after;
        match byte {
            b'"' => {
                out.push(b'"');
                return rest;
            }
            b'\\' => {
                out.push(b'\\');
                if let [escaped, after @ ..] = rest {
                    out.push(*escaped);
                    rest = after;
                }
            }
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}
