//! Manifests: targets listed without their bytes, one JSON object a line.
//!
//! A manifest may have millions of lines and its targets may fall into tens of thousands of hash bins. Each line is
//! checked when it is read and kept in few bytes until its bin is made.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Repository;
use super::add_targets::{Added, Paths, Replace, check_place_of};
use super::error::{InputError, RepositoryError};
use super::listing::{Custom, Entry, Lister, NewFile};
use crate::canonical::{self, Scanner};
use crate::metadata::{Algorithm, Computed, Extra, Hashes, RoleName, TargetFile, TargetPath};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 16 << 20;
/// About how many bytes are read at a time, and in how many bytes a core gets its share of them.
const BLOCK: u64 = 4 << 20;
const PIECE: usize = 128 << 10;

/// A request to list the targets of a manifest.
pub struct Manifest<'a> {
    /// The role that lists them, or the prefix of hash bins.
    pub role: &'a RoleName,
    /// The lines.
    pub lines: &'a mut dyn BufRead,
    /// What happens to targets that are listed with other bytes.
    pub replace: Replace,
    /// Whether the paths of what is listed are kept.
    pub paths: Paths,
    /// Told the bytes of the lines that have been read.
    pub progress: &'a dyn Fn(u64),
}

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    length: u64,
    hashes: Hashes,
    #[serde(borrow, default)]
    custom: Option<&'a RawValue>,
}

impl Repository {
    /// Lists the targets of a manifest in the drafts of their roles; nothing is on disk yet. Their files need not be there.
    /// Of a target that is listed already the custom data stays where the line has none.
    ///
    /// # Errors
    /// [`InputError::Manifest`] with the number of the first line that is wrong; [`InputError::Changed`] for other hashes
    /// without [`Replace::Allow`].
    pub fn add_manifest(&mut self, manifest: Manifest<'_>) -> Result<Added, RepositoryError> {
        let lister = self.lister(manifest.role)?;
        let mut kept = parts(0, PARTS);
        {
            let trusted = self.trusts_by(&lister);
            let keep = |number: u64, line: &[u8], kept: &mut Parts| -> Result<(), InputError> {
                let refused = |reason: String| InputError::Manifest { line: number, reason };
                let checked = |path: &str| match trusted(path) {
                    true => Ok(lister.index_for(path)),
                    false => Err(refused(format!("'{}' is not trusted for '{path}'", manifest.role))),
                };
                if let Some((path, length, digest)) = plain_line(line) {
                    TargetPath::check(path).map_err(|error| refused(error.to_string()))?;
                    check_place_of(path, &[Algorithm::Sha256]).map_err(|error| refused(error.to_string()))?;
                    let bin = checked(path)?;
                    kept[lister.part_of(bin, PARTS)].keep_plain(bin, number, path, length, &digest);
                } else if let Some((path, file)) = parse(line).map_err(refused)? {
                    let bin = checked(path.as_str())?;
                    kept[lister.part_of(bin, PARTS)].keep(bin, number, path.as_str(), &file);
                }
                Ok(())
            };
            let used = lister.parts(PARTS);
            read_lines(manifest.lines, manifest.progress, used, &keep, &mut kept)?;
        }
        let rules = (manifest.replace, Custom::KeepUnlessNew, manifest.paths);
        let mut added = Added::default();
        // what is kept of a share of the bins is let go once they are made
        for part in kept {
            added.extend(self.list_part(&lister, part, rules)?);
        }
        Ok(added)
    }

    fn list_part(
        &mut self,
        lister: &Lister,
        part: Kept,
        rules: (Replace, Custom, Paths),
    ) -> Result<Added, RepositoryError> {
        let Kept { pieces, mut places, .. } = part;
        places.par_sort_unstable();
        let groups = places.chunk_by(|a, b| a.0 == b.0).map(|group| Ok((lister.role_at(group[0].0)?, group)));
        let groups: Vec<(RoleName, &[(u32, u64)])> = groups.collect::<Result<_, InputError>>()?;
        let decode_group = |group: &[(u32, u64)], _: &RoleName| -> Result<Vec<Entry<'_>>, RepositoryError> {
            let mut lines: Vec<(u64, &str, NewFile)> =
                group.iter().filter_map(|(_, place)| decode(&pieces, *place)).collect();
            lines.sort_by_key(|(_, path, _)| *path);
            if let Some(twice) = lines.windows(2).find(|pair| pair[0].1 == pair[1].1) {
                let ((first, ..), (number, path, _)) = (&twice[0], &twice[1]);
                let reason = format!("'{}' is on line {first} already", path.escape_debug());
                return Err(InputError::Manifest { line: *number, reason }.into());
            }
            Ok(lines
                .into_iter()
                .map(|(_, path, file)| Entry { path: Cow::Borrowed(path), file, bytes: None })
                .collect())
        };
        self.list_groups(lister, groups, rules, decode_group)
    }
}

/// Into how many parts the bins are shared out.
const PARTS: usize = 16;

/// What is kept of the lines, by the parts that their bins belong to.
type Parts = [Kept; PARTS];

/// Makes room for what is kept of some bytes of lines, among as many parts as are used.
fn parts(bytes: usize, used: usize) -> Parts {
    std::array::from_fn(|_| Kept { room: bytes / used.max(1), ..Kept::default() })
}

/// What is kept of some lines: their bytes piece by piece, and for each the index of its bin and where it starts.
#[derive(Default)]
struct Kept {
    pieces: Vec<Vec<u8>>,
    /// The piece that is being filled.
    bytes: Vec<u8>,
    places: Vec<(u32, u64)>,
    /// How many bytes are likely to come.
    room: usize,
}

/// How many bits of a place tell where in its piece a line starts; a piece is read from a little more than [`PIECE`] bytes
/// or one line of [`LONGEST_LINE`].
const PLACE_BITS: u32 = 40;

/// Lines are mostly longer than this, in bytes.
const SHORT_LINE: usize = 128;

/// Behind the path of a kept line: a length and the bytes of a SHA-256, which is what most lines have.
const DIGEST: u8 = 1;
/// Behind the path of a kept line: JSON.
const JSON: u8 = 0;

impl Kept {
    /// Keeps a target in few bytes.
    fn keep(&mut self, bin: u32, number: u64, path: &str, file: &TargetFile) {
        let mut hashes = file.hashes.iter();
        let only = hashes.next().filter(|_| hashes.next().is_none() && file.custom.is_none());
        if let Some(("sha256", hash)) = only
            && let Some(digest) = sha256_of(hash.as_bytes())
        {
            return self.keep_plain(bin, number, path, file.length, &digest);
        }
        // a file that was read from JSON can be written as JSON
        let json = serde_json::to_vec(file).unwrap_or_default();
        self.start(bin, number, path, JSON);
        self.bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&json);
    }

    /// Keeps a target that has a length and a SHA-256 and nothing else.
    fn keep_plain(&mut self, bin: u32, number: u64, path: &str, length: u64, digest: &[u8; 32]) {
        self.start(bin, number, path, DIGEST);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(digest);
    }

    fn start(&mut self, bin: u32, number: u64, path: &str, kind: u8) {
        if self.places.is_empty() {
            self.bytes.reserve(self.room);
            self.places.reserve(self.room / SHORT_LINE);
        }
        self.places.push((bin, self.bytes.len() as u64));
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(kind);
    }

    fn append(&mut self, mut more: Self) {
        if more.places.is_empty() {
            return;
        }
        let piece = (self.pieces.len() as u64) << PLACE_BITS;
        more.bytes.shrink_to_fit();
        self.pieces.push(more.bytes);
        self.places.extend(more.places.iter().map(|(bin, place)| (*bin, piece | place)));
    }
}

/// Reads what [`Kept::keep`] has kept: the number of the line, the path, the file.
fn decode(pieces: &[Vec<u8>], place: u64) -> Option<(u64, &str, NewFile)> {
    let piece = pieces.get(usize::try_from(place >> PLACE_BITS).ok()?)?;
    let rest = piece.get(usize::try_from(place & ((1 << PLACE_BITS) - 1)).ok()?..)?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (kind, rest) = rest.split_first()?;
    let file = if *kind == DIGEST {
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let mut digests = Computed::default();
        digests.insert(Algorithm::Sha256, rest.first_chunk::<32>()?);
        NewFile::Plain { length: u64::from_le_bytes(*length), digests }
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        NewFile::Any(serde_json::from_slice(rest.get(..u32::from_le_bytes(*length) as usize)?).ok()?)
    };
    Some((u64::from_le_bytes(*number), std::str::from_utf8(path).ok()?, file))
}

type KeepLine<'k> = dyn Fn(u64, &[u8], &mut Parts) -> Result<(), InputError> + Sync + 'k;

/// Reads all lines, checks them on all cores, and keeps them in their order, in as many parts as are used.
fn read_lines(
    lines: &mut dyn BufRead,
    progress: &dyn Fn(u64),
    used: usize,
    keep: &KeepLine<'_>,
    kept: &mut Parts,
) -> Result<(), RepositoryError> {
    let mut number = 0;
    let (mut block, mut next) = (Vec::new(), Vec::new());
    read_block(lines, &mut block, 0)?;
    while !block.is_empty() {
        progress(block.len() as u64);
        let pieces = pieces(&block, &mut number);
        let piece = |(first, lines): &(u64, &[u8])| -> Result<Parts, InputError> {
            let mut kept = parts(lines.len(), used);
            for (number, line) in (*first..).zip(lines.split_inclusive(|byte| *byte == b'\n')) {
                if line.len() as u64 > LONGEST_LINE {
                    let reason = format!("is longer than {LONGEST_LINE} bytes");
                    return Err(InputError::Manifest { line: number, reason });
                }
                keep(number, line, &mut kept)?;
            }
            Ok(kept)
        };
        let mut checked: Vec<Option<Result<Parts, InputError>>> = pieces.iter().map(|_| None).collect();
        // the next lines are read meanwhile
        let read = rayon::in_place_scope(|scope| {
            for (checked, lines) in checked.iter_mut().zip(&pieces) {
                let piece = &piece;
                scope.spawn(move |_| *checked = Some(piece(lines)));
            }
            read_block(lines, &mut next, number)
        });
        for piece in checked.into_iter().flatten() {
            for (kept, piece) in kept.iter_mut().zip(piece?) {
                kept.append(piece);
            }
        }
        read?;
        std::mem::swap(&mut block, &mut next);
    }
    Ok(())
}

/// Reads some whole lines, none at the end; `number` lines were read before.
fn read_block(lines: &mut dyn BufRead, block: &mut Vec<u8>, number: u64) -> Result<(), InputError> {
    let refused = |error: io::Error| InputError::Manifest { line: number + 1, reason: error.to_string() };
    block.clear();
    lines.take(BLOCK).read_to_end(block).map_err(refused)?;
    if block.last().is_some_and(|last| *last != b'\n') {
        lines.take(LONGEST_LINE + 1).read_until(b'\n', block).map_err(refused)?;
    }
    Ok(())
}

/// Cuts lines into pieces for all cores, each with the number of its first line; counts the lines.
fn pieces<'b>(mut block: &'b [u8], number: &mut u64) -> Vec<(u64, &'b [u8])> {
    let mut pieces = Vec::new();
    while !block.is_empty() {
        let end = block.len().min(PIECE);
        let end =
            end + block[end..].iter().position(|byte| *byte == b'\n').map_or(block.len() - end, |at| at + 1);
        let (piece, rest) = block.split_at(end);
        pieces.push((*number + 1, piece));
        // the last piece of all may end without a line break; nothing is numbered behind it
        *number += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        block = rest;
    }
    pieces
}

/// Reads a line that is written as nearly all are: path, length and one SHA-256, nothing escaped. `None` for any other
/// line, right or wrong, which [`parse`] reads.
fn plain_line(line: &[u8]) -> Option<(&str, u64, [u8; 32])> {
    fn member<const N: usize>(scanner: &mut Scanner<'_>, start: u8, name: &[u8; N]) -> Option<bool> {
        let named =
            scanner.skip(&[start]) && (scanner.skip(name) || scanner.skip(b" ") && scanner.skip(name));
        named.then(|| scanner.skip(b" "))
    }
    let mut scanner = Scanner::new(line, 0);
    member(&mut scanner, b'{', b"\"path\":")?;
    let path = scanner.plain_string()?;
    member(&mut scanner, b',', b"\"length\":")?;
    let from = scanner.at();
    let length = scanner.number()?;
    let leads_with_zero = line.get(from) == Some(&b'0') && scanner.at() > from + 1;
    member(&mut scanner, b',', b"\"hashes\":")?;
    member(&mut scanner, b'{', b"\"sha256\":")?;
    let digest = sha256_of(&line[scanner.plain_string()?])?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let ended = scanner.skip(b"}}") && line.get(scanner.at()..)?.iter().all(is_space);
    let path = std::str::from_utf8(&line[path]).ok()?;
    (ended && !leads_with_zero && i64::try_from(length).is_ok()).then_some((path, length, digest))
}

/// Reads a SHA-256 in hexadecimal.
fn sha256_of(digits: &[u8]) -> Option<[u8; 32]> {
    /// What each byte is as a digit, 0xff for none.
    const VALUES: [u8; 256] = {
        let mut values = [0xff; 256];
        let mut value = 0;
        while value < 16 {
            values[b"0123456789abcdef"[value] as usize] = value as u8;
            values[b"0123456789ABCDEF"[value] as usize] = value as u8;
            value += 1;
        }
        values
    };
    let digits: &[u8; 64] = digits.try_into().ok()?;
    let mut digest = [0; 32];
    let mut seen = 0;
    for (byte, [high, low]) in digest.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < 16).then_some(digest)
}

/// Reads one line; `None` where it is empty.
fn parse(line: &[u8]) -> Result<Option<(TargetPath, TargetFile)>, String> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // "at line 1 column 7" would be taken for a line of the manifest
    let told = |error: serde_json::Error| match error.column() {
        0 => error.to_string(),
        column => {
            format!("{} at column {column}", error.to_string().split(" at line ").next().unwrap_or("?"))
        }
    };
    let Line { path, length, hashes, custom } = serde_json::from_slice(line).map_err(told)?;
    let path = TargetPath::parse(&path).map_err(|error| error.to_string())?;
    let algorithms: Vec<Algorithm> = hashes.known().collect();
    check_place_of(path.as_str(), &algorithms).map_err(|error| error.to_string())?;
    if algorithms.is_empty() {
        return Err(format!("'{path}' has neither a sha256 nor a sha512 hash"));
    }
    for algorithm in algorithms {
        let digits = if algorithm == Algorithm::Sha256 { 64 } else { 128 };
        let hash = hashes.of(algorithm).unwrap_or_default();
        if hash.len() != digits || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("the {} of '{path}' is not {digits} hexadecimal digits", algorithm.name()));
        }
    }
    if length > i64::MAX as u64 {
        return Err(format!("the length of '{path}' is too large"));
    }
    let custom = match custom {
        None => None,
        Some(custom) if custom.get().starts_with('{') => {
            canonical::from_json(custom.get().as_bytes()).map_err(|error| format!("custom is {error}"))?;
            Some(serde_json::from_str(custom.get()).map_err(told)?)
        }
        Some(_) => return Err("custom is not a JSON object".to_owned()),
    };
    Ok(Some((path, TargetFile { length, hashes, custom, extra: Extra::new() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_being_kept() {
        let sum = "0A".repeat(32);
        let text = format!(
            r#"{{"path":"a/ö.txt","length":7,"hashes":{{"sha256":"{sum}","x":"Not Hex","y":"ABCD"}},"custom":{{"k":[1,{{"l":null}}]}}}}"#
        );
        let (path, file) = parse(text.as_bytes()).unwrap().unwrap();
        let plain = TargetFile {
            hashes: [(Algorithm::Sha256, sum)].into_iter().collect(),
            custom: None,
            ..file.clone()
        };
        let (mut all, mut kept) = (Kept::default(), Kept::default());
        all.append(Kept { bytes: b"before".to_vec(), places: vec![(0, 0)], ..Kept::default() });
        kept.keep(7, 3, path.as_str(), &file);
        kept.keep(8, 4, "b", &plain);
        all.append(kept);
        let decoded =
            |place: u64| decode(&all.pieces, place).map(|(number, path, file)| (number, path, file.into()));
        assert_eq!(decoded(all.places[1].1), Some((3, "a/ö.txt", file)));
        assert_eq!(decoded(all.places[2].1), Some((4, "b", plain)));
        assert_eq!([all.places[1].0, all.places[2].0], [7, 8]);
    }

    #[test]
    fn lines_are_numbered_wherever_they_are_cut() {
        let line = "x".repeat(1000);
        let text: String = (0..500)
            .map(|index| if index % 7 == 0 { "\n".to_owned() } else { format!("{line}\n") })
            .collect();
        let mut number = 5;
        let all = pieces(text.as_bytes(), &mut number);
        assert!(all.len() > 2 && number == 505);
        let mut expected = 6;
        for (first, piece) in all {
            assert_eq!(first, expected);
            expected += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        // the last line may lack its end
        assert_eq!(pieces(b"a\nb", &mut 0), [(1, &b"a\nb"[..])]);
    }

    #[test]
    fn a_plain_line_is_read_as_any_line_is() {
        let sum = "0a".repeat(32);
        let good = format!(r#"{{"path":"a/ö","length":10,"hashes":{{"sha256":"{sum}"}}}}"#);
        let spaced = good.replace(':', ": ").replace(',', ", ");
        for line in [&good, &spaced, &format!("{good} \r\n"), &good.replace("0a0a", "0A0a")] {
            let (path, length, digest) = plain_line(line.as_bytes()).unwrap();
            let (other, file) = parse(line.as_bytes()).unwrap().unwrap();
            assert_eq!((path, length), (other.as_str(), file.length), "{line}");
            assert_eq!(Some(&*hex::encode(digest)), file.hashes.of(Algorithm::Sha256));
        }
        for (from, to) in [
            ("10", "010"),
            ("10", "-1"),
            ("10", "1.5"),
            ("10", "9223372036854775808"),
            ("10", ""),
            ("a/ö", "a\\n"),
            ("0a0a", "0g0a"),
            ("0a0a", ""),
            ("sha256", "sha512"),
            ("}}", "}"),
            ("}}", "}}x"),
            ("}}", ",\"x\":\"\"}}"),
            ("}}", "},\"custom\":{}}"),
            ("{", "["),
            ("path", "Path"),
        ] {
            assert_eq!(plain_line(good.replacen(from, to, 1).as_bytes()), None, "{from} to {to}");
        }
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong_with_it() {
        let sum = "0a".repeat(32);
        let good = format!(r#"{{"path":"a","length":1,"hashes":{{"sha256":"{sum}"}}}}"#);
        assert!(parse(good.as_bytes()).unwrap().is_some());
        assert!(parse(b" \r\n").unwrap().is_none());
        for (from, to, words) in [
            ("\"a\"", "\"../a\"", "'.' or '..'"),
            ("\"a\"", "\"/a\"", "absolute"),
            ("1", "-1", "column"),
            ("1", "1.5", "column"),
            ("\"length\":1,", "", "missing field `length`"),
            ("sha256", "md5", "neither a sha256 nor a sha512"),
            ("0a0a", "0g0a", "64 hexadecimal digits"),
            ("0a0a", "", "64 hexadecimal digits"),
            ("}}", "},\"custom\":1}", "not a JSON object"),
            ("}}", "},\"custom\":{\"a\":1.5}}", "not an integer"),
            ("}}", "},\"custom\":{\"a\":1,\"a\":2}}", "stands twice"),
            ("}}", "},\"size\":1}", "unknown field `size`"),
            ("}}", "},\"length\":2}", "duplicate field"),
            ("}}", "}", "column"),
        ] {
            let error = parse(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.contains(words) && !error.contains(" line "), "{from} to {to}: {error}");
        }
    }
}
