//! Manifests: targets listed without their bytes, one JSON object a line.
//!
//! A manifest may have millions of lines and its targets may fall into tens of thousands of hash bins. Each line is
//! checked when it is read and kept in few bytes until its bin is made.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Repository;
use super::add_targets::{Added, Paths, Replace, check_name_length};
use super::error::{InputError, RepositoryError};
use super::listing::{Custom, Entry};
use crate::canonical;
use crate::metadata::{Algorithm, Extra, Hashes, RoleName, TargetFile, TargetPath};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 16 << 20;
/// How many lines are checked at a time, on all cores.
const LINES_AT_A_TIME: usize = 4096;

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
        let mut kept = Kept::default();
        {
            let trusted = self.trusts_by(&lister);
            let check = |number: u64, line: &[u8]| -> Result<Option<(RoleName, Vec<u8>)>, RepositoryError> {
                let refused = |reason: String| InputError::Manifest { line: number, reason };
                let Some((path, file)) = parse(line).map_err(refused)? else { return Ok(None) };
                if !trusted(path.as_str()) {
                    return Err(refused(format!("'{}' is not trusted for '{path}'", manifest.role)).into());
                }
                let mut encoded = Vec::with_capacity(line.len());
                encode(number, path.as_str(), &file, &mut encoded);
                Ok(Some((lister.role_for(path.as_str())?, encoded)))
            };
            read_lines(manifest.lines, manifest.progress, &check, &mut kept)?;
        }
        let Kept { bytes, mut places, roles } = kept;
        places.par_sort_unstable();
        let groups = places.chunk_by(|a, b| a.0 == b.0).map(|group| {
            let role = roles[group[0].0 as usize].clone();
            (role, group)
        });
        let groups: Vec<(RoleName, &[(u32, u64)])> = groups.collect();
        let decode_group = |group: &[(u32, u64)], _: &RoleName| -> Result<Vec<Entry>, RepositoryError> {
            let mut lines: BTreeMap<String, u64> = BTreeMap::new();
            let mut entries = Vec::with_capacity(group.len());
            for (_, place) in group {
                let Some((number, path, file)) = decode(&bytes, *place) else { continue };
                if let Some(first) = lines.insert(path.clone(), number) {
                    let reason = format!("'{}' is on line {first} already", path.escape_debug());
                    return Err(InputError::Manifest { line: number, reason }.into());
                }
                entries.push(Entry { path, file, bytes: None });
            }
            Ok(entries)
        };
        self.list_groups(
            &lister,
            groups,
            (manifest.replace, Custom::KeepUnlessNew, manifest.paths),
            decode_group,
        )
    }
}

/// What is kept of the lines: their bytes one after the other, and for each its role and where it starts.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    places: Vec<(u32, u64)>,
    roles: Vec<RoleName>,
}

type Checked = Result<Option<(RoleName, Vec<u8>)>, RepositoryError>;

/// Reads all lines, checks them on all cores, and keeps them in their order.
fn read_lines(
    lines: &mut dyn BufRead,
    progress: &dyn Fn(u64),
    check: &(dyn Fn(u64, &[u8]) -> Checked + Sync),
    kept: &mut Kept,
) -> Result<(), RepositoryError> {
    let mut numbers: BTreeMap<RoleName, u32> = BTreeMap::new();
    let mut number = 0;
    loop {
        let mut read: Vec<(u64, Vec<u8>)> = Vec::with_capacity(LINES_AT_A_TIME);
        while read.len() < LINES_AT_A_TIME {
            let mut line = Vec::new();
            let refused =
                |line: u64, error: io::Error| InputError::Manifest { line, reason: error.to_string() };
            let length = io::Read::take(&mut *lines, LONGEST_LINE + 1).read_until(b'\n', &mut line);
            let length = length.map_err(|error| refused(number + 1, error))? as u64;
            if length == 0 {
                break;
            }
            number += 1;
            if length > LONGEST_LINE {
                let reason = format!("is longer than {LONGEST_LINE} bytes");
                return Err(InputError::Manifest { line: number, reason }.into());
            }
            progress(length);
            read.push((number, line));
        }
        if read.is_empty() {
            return Ok(());
        }
        let checked: Vec<Checked> = read.par_iter().map(|(number, line)| check(*number, line)).collect();
        for checked in checked {
            let Some((role, encoded)) = checked? else { continue };
            let next = numbers.len() as u32;
            let at = *numbers.entry(role).or_insert_with_key(|role| {
                kept.roles.push(role.clone());
                next
            });
            kept.places.push((at, kept.bytes.len() as u64));
            kept.bytes.extend_from_slice(&encoded);
        }
    }
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
    check_name_length(&path, &algorithms).map_err(|error| error.to_string())?;
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

/// Keeps a target in few bytes: digests as they are and not in hexadecimal.
fn encode(number: u64, path: &str, file: &TargetFile, to: &mut Vec<u8>) {
    let mut part = |bytes: &[u8]| {
        to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        to.extend_from_slice(bytes);
    };
    part(&number.to_le_bytes());
    part(path.as_bytes());
    part(&file.length.to_le_bytes());
    part(&[file.hashes.iter().count() as u8]);
    for (algorithm, hash) in file.hashes.iter() {
        part(algorithm.as_bytes());
        match hex::decode(hash) {
            // one spelling only: the digest is told from other text by its first byte
            Ok(digest) if hex::encode(&digest) == hash => part(&[&[1], digest.as_slice()].concat()),
            _ => part(&[&[0], hash.as_bytes()].concat()),
        }
    }
    part(file.custom.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
}

/// Reads what [`encode`] has kept.
fn decode(bytes: &[u8], place: u64) -> Option<(u64, String, TargetFile)> {
    let mut rest = bytes.get(usize::try_from(place).ok()?..)?;
    let mut part = || -> Option<&[u8]> {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (part, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = tail;
        Some(part)
    };
    let number = u64::from_le_bytes(part()?.try_into().ok()?);
    let path = String::from_utf8(part()?.to_vec()).ok()?;
    let length = u64::from_le_bytes(part()?.try_into().ok()?);
    let mut hashes = Hashes::default();
    for _ in 0..*part()?.first()? {
        let algorithm = std::str::from_utf8(part()?).ok()?;
        let (kind, hash) = part()?.split_first()?;
        match kind {
            1 => hashes.insert(algorithm, &hex::encode(hash)),
            _ => hashes.insert(algorithm, std::str::from_utf8(hash).ok()?),
        }
    }
    let custom = part()?;
    let custom = if custom.is_empty() { None } else { serde_json::from_slice(custom).ok() };
    Some((number, path, TargetFile { length, hashes, custom, extra: Extra::new() }))
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
        let mut kept = b"before".to_vec();
        encode(3, path.as_str(), &file, &mut kept);
        kept.extend_from_slice(b"after");
        assert_eq!(decode(&kept, 6), Some((3, "a/ö.txt".to_owned(), file)));
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
