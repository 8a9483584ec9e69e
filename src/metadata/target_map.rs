//! The target files that a role lists, by path.

use std::io::Write;
use std::ops::Range;

use super::hashes::write_digits;
use super::{Algorithm, Computed, Extra, Hashes, Incoming, Listed, TargetFile, TextMap};
use crate::canonical::{self, Scanner};

/// Target files by path, sorted by path. Any string may be one; see [`super::TargetPath`] for those that can be stored.
pub type TargetMap = TextMap<TargetFile>;

impl TargetMap {
    /// Tells whether the bytes of a file that another map lists, by its place there, are listed of the same path here.
    pub fn has_bytes_of(&self, other: &Self, index: usize) -> bool {
        let Some((path, file)) = other.at(index) else { return false };
        self.get(&path).is_some_and(|mine| mine.length == file.length && mine.hashes == file.hashes)
    }
}

/// A file with a length and one SHA-256 and nothing else, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainFile<'a> {
    pub(crate) path: &'a str,
    /// In lower-case hexadecimal.
    pub(crate) sha256: &'a str,
    pub(crate) length: u64,
}

impl TargetMap {
    /// Returns what is listed at a place in the order of paths, without a copy; `None` where more is listed, or less, or
    /// anything is escaped.
    pub(crate) fn plain_at(&self, index: usize) -> Option<PlainFile<'_>> {
        if index >= self.len() {
            return None;
        }
        let text = self.entry(index);
        let mut scanner = Scanner::new(text, 0);
        let path = scanner.plain_string()?;
        let (mut found, mut others) = (None, 0);
        let length = scanner.skip(b":").then(|| {
            usual(&mut scanner, |name, digest| match &text[name] {
                b"sha256" if found.is_none() => found = Some(digest),
                _ => others += 1,
            })
        })??;
        let part = |place: Range<usize>| std::str::from_utf8(&text[place]).ok();
        let (path, sha256) = (part(path)?, part(found.filter(|_| others == 0)?)?);
        let is_digest =
            sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_digest.then_some(PlainFile { path, sha256, length })
    }
}

impl Listed for TargetFile {
    const NOUN: &'static str = "target";
    const MEMBER: &'static str = "targets";

    fn skip_usual(scanner: &mut Scanner<'_>) -> bool {
        scanner.common_object() || usual(scanner, |_, _| ()).is_some()
    }

    fn read_usual(value: &[u8]) -> Option<Self> {
        let mut hashes = Hashes::default();
        let text = |place: Range<usize>| std::str::from_utf8(&value[place]).unwrap_or_default();
        let length =
            usual(&mut Scanner::new(value, 0), |name, digest| hashes.insert(text(name), text(digest)))?;
        Some(Self { length, hashes, custom: None, extra: Extra::new() })
    }

    fn write_usual(&self, to: &mut Vec<u8>) -> bool {
        if self.custom.is_some() || !self.extra.is_empty() {
            return false;
        }
        to.push(b'{');
        self.hashes.write(to);
        write_length(self.length, to);
        true
    }
}

/// Goes behind a file that lists nothing but digests and a length. Hands out the digests by algorithm; returns the length.
/// `None` for a file that has more, or in which anything is escaped.
fn usual(scanner: &mut Scanner<'_>, digest: impl FnMut(Range<usize>, Range<usize>)) -> Option<u64> {
    if !(scanner.skip(b"{") && Hashes::skip(scanner, digest) && scanner.skip(b",\"length\":")) {
        return None;
    }
    let length = scanner.number()?;
    scanner.skip(b"}").then_some(length)
}

impl<P: AsRef<str>> Incoming<P> {
    /// Adds a file with nothing but its length and digests that were computed, at least one.
    pub(crate) fn push_plain(&mut self, path: P, length: u64, computed: &Computed) {
        self.push_with(path, |path, text| write_plain_entry(path, length, computed, text));
    }
}

/// Writes the entry of a file that has nothing but its length and digests that were computed.
pub(crate) fn write_plain_entry(path: &str, length: u64, computed: &Computed, to: &mut Vec<u8>) {
    canonical::write_string(path, to);
    let mut before: &[u8] = b":{\"hashes\":{";
    for algorithm in Algorithm::ALL {
        let Some(digest) = computed.of(algorithm) else { continue };
        to.extend_from_slice(before);
        canonical::write_string(algorithm.name(), to);
        to.extend_from_slice(b":\"");
        write_digits(digest, to);
        to.push(b'"');
        before = b",";
    }
    to.push(b'}');
    write_length(length, to);
}

/// Writes what stands behind the digests of a file that has nothing else.
fn write_length(length: u64, to: &mut Vec<u8>) {
    // a vector takes all that is written
    let _ = write!(to, ",\"length\":{length}}}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use std::borrow::Cow;

    use super::super::{Hasher, Metadata, Targets};
    use super::*;

    fn any_file() -> impl Strategy<Value = TargetFile> {
        let custom = prop_oneof![
            3 => Just(None),
            1 => any::<String>().prop_map(|text| Some(json!({"k\n": [text, null]})))
        ];
        let name = prop_oneof![4 => Just("sha256".to_owned()), 1 => "[a-z\"\n]{1,3}"];
        let hashes = prop::collection::vec((name, "[0-9a-f]{0,8}|[\"\\\\]"), 1..3);
        (any::<u64>(), hashes, custom, any::<bool>()).prop_map(|(length, all, custom, more)| {
            let mut hashes = Hashes::default();
            all.iter().for_each(|(name, digest)| hashes.insert(name, digest));
            let extra = if more { json!({"x": 1}).as_object().cloned().unwrap() } else { Default::default() };
            TargetFile { length, hashes, custom, extra }
        })
    }

    fn any_files() -> impl Strategy<Value = Vec<(String, TargetFile)>> {
        let path = prop_oneof![4 => "[a-c]{0,2}", 1 => "[#\"\\\\a\n\u{1f}é]{0,3}"];
        prop::collection::vec((path, any_file()), 0..12)
    }

    fn all(map: &TargetMap) -> Vec<(String, TargetFile)> {
        map.iter().map(|(path, file)| (path.into_owned(), file)).collect()
    }

    proptest! {
        #[test]
        fn is_what_a_tree_of_its_entries_is(first in any_files(), second in any_files(), gone in "[a-c\"]") {
            let mut tree: BTreeMap<String, TargetFile> = BTreeMap::new();
            let mut map = TargetMap::new();
            for files in [&first, &second] {
                tree.extend(files.iter().cloned());
                map.extend(files.iter().cloned()).unwrap();
            }
            let before = map.clone();
            tree.retain(|path, _| !path.starts_with(&gone));
            map.retain(|path| !path.starts_with(&gone));
            prop_assert_eq!(all(&map), tree.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(&TargetMap::of(tree.clone()).unwrap(), &map);
            for (path, _) in first.iter().chain(&second) {
                prop_assert_eq!(map.get(path), tree.get(path).cloned());
                prop_assert_eq!(map.contains_key(path), tree.contains_key(path));
                let next = tree.range(path.clone()..).next().map(|(path, _)| path.clone());
                prop_assert_eq!(map.first_from(path).map(Cow::into_owned), next);
            }
            let old = TargetMap::of(first.clone()).unwrap();
            let differing: Vec<String> =
                before.differing(&old).into_iter().map(|index| before.at(index).unwrap().0.into_owned()).collect();
            let expected: Vec<String> =
                before.iter().filter(|(path, file)| old.get(path).as_ref() != Some(file)).map(|(path, _)| path.into_owned()).collect();
            prop_assert_eq!(differing, expected);
        }

        #[test]
        fn metadata_is_signed_and_read_as_if_it_were_a_tree(files in any_files()) {
            let mut targets = Targets::new(chrono::DateTime::UNIX_EPOCH);
            targets.targets = TargetMap::of(files).unwrap();
            let metadata = Metadata::unsigned(targets.clone()).unwrap();
            // by way of serde_json's tree, which knows nothing of all this
            let value: Value = serde_json::to_value(&targets).unwrap();
            prop_assert_eq!(metadata.signed_bytes(), &canonical::from_value(&value).unwrap()[..]);
            let read = Metadata::<Targets>::from_bytes(&metadata.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(read.signed(), &targets);
            prop_assert_eq!(read.signed_bytes(), metadata.signed_bytes());
            prop_assert_eq!(serde_json::from_value::<Targets>(value).unwrap(), targets);
        }
    }

    #[test]
    fn a_plain_entry_is_written_as_one_of_a_file_is() {
        for algorithms in [&Algorithm::ALL[..1], &Algorithm::ALL[1..], &Algorithm::ALL] {
            let mut hasher = Hasher::new(algorithms.iter().copied());
            hasher.update(b"hello");
            let (length, computed) = hasher.compute();
            let (hashes, extra) = (computed.to_hashes(), Default::default());
            let map =
                TargetMap::of([("a", TargetFile { length: 0, hashes: hashes.clone(), custom: None, extra })]);
            let mut map = map.unwrap();
            let extra = Default::default();
            map.insert("b\"\\", TargetFile { length, hashes, custom: None, extra }).unwrap();
            let mut text = Vec::new();
            write_plain_entry("b\"\\", length, &computed, &mut text);
            assert!(map.reads(1, &text) && !map.reads(0, &text) && !map.reads(2, &text));
            assert_eq!(
                (map.position("b\"\\"), map.position("a"), map.position("b")),
                (Some(1), Some(0), None)
            );
        }
    }

    #[test]
    fn what_can_be_listed_can_be_read_again() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "k": inner }));
        let hashes: Hashes = [(Algorithm::Sha256, "00".to_owned())].into_iter().collect();
        let mut listed = 0;
        for depth in 50..70 {
            let custom = Some(nested(depth));
            let file = TargetFile { length: 1, hashes: hashes.clone(), custom, extra: Default::default() };
            let Ok(map) = TargetMap::of([("a", file)]) else { continue };
            let mut targets = Targets::new(chrono::DateTime::UNIX_EPOCH);
            targets.targets = map;
            let metadata = Metadata::unsigned(targets).unwrap();
            Metadata::<Targets>::from_bytes(&metadata.to_bytes().unwrap()).unwrap();
            listed += 1;
        }
        assert!((1..20).contains(&listed), "{listed}");
    }

    #[test]
    fn a_large_map_is_signed_and_edited_as_a_small_one_is() {
        let file = |length: u64| {
            let hashes = [(Algorithm::Sha256, format!("{length:064x}"))].into_iter().collect();
            TargetFile { length, hashes, custom: None, extra: Extra::new() }
        };
        let signed = |targets: &Targets| {
            let metadata = Metadata::unsigned(targets.clone()).unwrap();
            let value: Value = serde_json::to_value(targets).unwrap();
            assert_eq!(metadata.signed_bytes(), &canonical::from_value(&value).unwrap()[..]);
            let again = Metadata::<Targets>::from_bytes(&metadata.to_bytes().unwrap()).unwrap();
            assert!(again.signed() == metadata.signed() && metadata.signed() == targets);
            metadata.into_signed()
        };
        let mut targets = Targets::new(chrono::DateTime::UNIX_EPOCH);
        targets.targets =
            TargetMap::of((0..20_000).map(|index| (format!("file-{index:05}"), file(index)))).unwrap();
        let first = signed(&targets);
        // what is written around the entries of one is not seen by another
        let mut second = first.clone();
        second.targets.insert("file-10000a", file(7)).unwrap();
        second.version = 123_456;
        let unsigned = second.targets.clone();
        let second = signed(&second);
        let mut third = second.clone();
        third.targets.retain(|path| !path.ends_with('3'));
        third.extra.insert("x".to_owned(), json!("y".repeat(10_000)));
        let third = signed(&third);
        assert_eq!(
            (first.targets.len(), second.targets.len(), third.targets.len()),
            (20_000, 20_001, 18_001)
        );
        assert!(unsigned == second.targets && first.targets == targets.targets);
        assert_eq!(second.targets.differing(&first.targets), [10_001]);
        assert_eq!(third.targets.get("file-19999"), Some(file(19_999)));
    }

    #[test]
    fn a_file_without_a_digest_is_not_listed() {
        let file = |hashes| TargetFile { length: 1, hashes, custom: None, extra: Extra::new() };
        let mut map = TargetMap::new();
        let error = map.insert("a\n", file(Hashes::default())).unwrap_err().to_string();
        assert!(error.contains("the target 'a\\n' cannot be listed: a target file lists no hash"), "{error}");
        assert!(map.is_empty());
        map.insert("a", file([(Algorithm::Sha256, "00".to_owned())].into_iter().collect())).unwrap();
    }

    #[test]
    fn a_target_that_is_listed_wrongly_is_named() {
        for (file, words) in [
            (json!({"length": 1}), "missing field `hashes`"),
            (json!({"hashes": {"sha256": "00"}}), "missing field `length`"),
            (json!({"hashes": {}, "length": 1}), "lists no hash"),
            (json!({"hashes": {"sha256": 1}, "length": 1}), "invalid type"),
            (json!({"hashes": {"sha256": "00"}, "length": -1}), "invalid value"),
            (json!({"hashes": {"sha256": "00"}, "length": "1"}), "invalid type"),
            (json!([]), "invalid"),
        ] {
            let metadata = json!({"signatures": [], "signed": {
                "_type": "targets", "spec_version": "1.0.34", "version": 1, "expires": "2030-01-01T00:00:00Z",
                "targets": {"a": {"hashes": {"sha256": "00"}, "length": 1}, "b\n": file}
            }});
            let error =
                Metadata::<Targets>::from_bytes(metadata.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains("the target 'b\\n'") && error.contains(words), "{error}");
        }
    }
}
