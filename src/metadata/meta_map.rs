//! The metadata files that a snapshot or a timestamp lists, by name.

use std::ops::Range;

use super::{Extra, Hashes, Listed, MAX_NUMBER, MetaFile, TextMap};
use crate::canonical::Scanner;

/// What is said of metadata files, by their names without a version: `ROLE.json`.
pub type MetaMap = TextMap<MetaFile>;

impl Listed for MetaFile {
    const NOUN: &'static str = "metadata file";
    const MEMBER: &'static str = "meta";

    fn skip_usual(scanner: &mut Scanner<'_>) -> bool {
        usual(scanner, |_, _| ()).is_some()
    }

    fn read_usual(value: &[u8]) -> Option<Self> {
        let mut hashes = Hashes::default();
        let text = |place: Range<usize>| std::str::from_utf8(&value[place]).unwrap_or_default();
        let (length, version) =
            usual(&mut Scanner::new(value, 0), |name, digest| hashes.insert(text(name), text(digest)))?;
        Some(Self {
            version,
            length,
            hashes: Some(hashes).filter(|all| !all.is_empty()),
            extra: Extra::new(),
        })
    }

    fn write_usual(&self, to: &mut Vec<u8>) -> bool {
        // an empty list of digests is no usual one
        if !self.extra.is_empty() || self.hashes.as_ref().is_some_and(Hashes::is_empty) {
            return false;
        }
        to.push(b'{');
        if let Some(hashes) = &self.hashes {
            hashes.write(to);
            to.push(b',');
        }
        if let Some(length) = self.length {
            to.extend_from_slice(b"\"length\":");
            to.extend_from_slice(length.to_string().as_bytes());
            to.push(b',');
        }
        to.extend_from_slice(b"\"version\":");
        to.extend_from_slice(self.version.to_string().as_bytes());
        to.push(b'}');
        true
    }
}

/// Goes behind what is said of a file by digests, length and version, as far as it has them, and nothing else. Hands out
/// the digests by algorithm; returns length and version. `None` where there is more, or anything is escaped.
fn usual(
    scanner: &mut Scanner<'_>,
    digest: impl FnMut(Range<usize>, Range<usize>),
) -> Option<(Option<u64>, u64)> {
    if !scanner.skip(b"{")
        || (scanner.starts_with(b"\"hashes\"") && !(Hashes::skip(scanner, digest) && scanner.skip(b",")))
    {
        return None;
    }
    let mut length = None;
    if scanner.skip(b"\"length\":") {
        length = Some(scanner.number()?);
        if !scanner.skip(b",") {
            return None;
        }
    }
    if !scanner.skip(b"\"version\":") {
        return None;
    }
    let version = scanner.number().filter(|version| (1..=MAX_NUMBER).contains(version))?;
    scanner.skip(b"}").then_some((length, version))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{Metadata, Snapshot};
    use super::*;
    use crate::canonical;

    fn any_file() -> impl Strategy<Value = MetaFile> {
        let hashes = prop::collection::vec(("sha256|sha512|[\"a]", "[0-9a-f]{0,8}|[\"\\\\]"), 0..3);
        (1..=MAX_NUMBER, any::<Option<u64>>(), prop::option::of(hashes), any::<bool>()).prop_map(
            |(version, length, all, more)| {
                let hashes = all.map(|all| {
                    let mut hashes = Hashes::default();
                    all.iter().for_each(|(name, digest)| hashes.insert(name, digest));
                    hashes
                });
                let extra = if more { json!({"x": 1}).as_object().cloned().unwrap() } else { Extra::new() };
                MetaFile { version, length, hashes, extra }
            },
        )
    }

    proptest! {
        #[test]
        fn a_snapshot_is_signed_and_read_as_if_it_were_a_tree(
            files in prop::collection::btree_map("[a-c]{1,2}.json|[\"\n]", any_file(), 0..12)
        ) {
            let mut files: BTreeMap<String, MetaFile> = files;
            files.insert("targets.json".to_owned(), MetaFile::new(1));
            let map = MetaMap::of(files.clone()).unwrap();
            let found: BTreeMap<String, MetaFile> = map.iter().map(|(name, file)| (name.into_owned(), file)).collect();
            prop_assert_eq!(found, files);
            let snapshot = Snapshot::new(map, chrono::DateTime::UNIX_EPOCH);
            let metadata = Metadata::unsigned(snapshot.clone()).unwrap();
            // by way of serde_json's tree, which knows nothing of all this
            let value: Value = serde_json::to_value(&snapshot).unwrap();
            prop_assert_eq!(metadata.signed_bytes(), &canonical::from_value(&value).unwrap()[..]);
            let read = Metadata::<Snapshot>::from_bytes(&metadata.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(read.signed(), &snapshot);
            prop_assert_eq!(read.signed_bytes(), metadata.signed_bytes());
            prop_assert_eq!(serde_json::from_value::<Snapshot>(value).unwrap(), snapshot);
        }
    }

    #[test]
    fn a_file_that_is_listed_wrongly_is_named() {
        for (file, words) in [
            (json!({}), "missing field `version`"),
            (json!({"version": 0}), "0 where an integer from 1"),
            (json!({"version": u64::MAX}), "where an integer from 1"),
            (json!({"version": "1"}), "invalid type"),
            (json!({"version": 1, "length": -1}), "invalid value"),
            (json!({"version": 1, "hashes": {"sha256": 1}}), "invalid type"),
            (json!([]), "invalid"),
        ] {
            let metadata = json!({"signatures": [], "signed": {
                "_type": "snapshot", "spec_version": "1.0.34", "version": 1, "expires": "2030-01-01T00:00:00Z",
                "meta": {"targets.json": {"version": 1}, "a\n.json": file}
            }});
            let error =
                Metadata::<Snapshot>::from_bytes(metadata.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains("the metadata file 'a\\n.json'") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_listed() {
        for version in [0, MAX_NUMBER + 1] {
            let error = MetaMap::of([("a.json", MetaFile::new(version))]).unwrap_err().to_string();
            assert!(error.contains("the metadata file 'a.json' cannot be listed"), "{error}");
        }
    }
}
