//! The target files that a role lists, kept as the canonical text that signatures cover.
//!
//! A role may list a hundred thousand targets and an edit concern one of them. A tree of all would take several times the
//! memory of the text and most of the time of an edit; the text with the places of its entries is searched as fast, and
//! an edit copies what it does not change (docs/adr/0012-targets-stay-text.md).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::hashes::write_digits;
use super::roles::SIGNED_DEPTH;
use super::{Algorithm, Computed, Hashes, TargetFile};
use crate::canonical::{self, CanonicalError, Scanner};

/// Target files by path, sorted by path. Any string may be one; see [`super::TargetPath`] for those that can be stored.
#[derive(Clone)]
pub struct TargetMap {
    /// Canonical text that has the entries somewhere, one after the other.
    text: Bytes,
    /// Where each entry starts, and behind the last one where one more would.
    places: Arc<[u32]>,
}

impl Default for TargetMap {
    fn default() -> Self {
        Self { text: Bytes::from_static(b"{}"), places: Arc::new([1]) }
    }
}

impl TargetMap {
    /// Lists nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists files; of two with one path the last one counts.
    ///
    /// # Errors
    /// [`CanonicalError`] where `custom` or unknown members hold what canonical JSON refuses.
    pub fn of<P: AsRef<str>>(
        files: impl IntoIterator<Item = (P, TargetFile)>,
    ) -> Result<Self, CanonicalError> {
        let mut map = Self::new();
        map.extend(files)?;
        Ok(map)
    }

    /// Reads the entries of an object within canonical text. Returns where it ends, too.
    ///
    /// # Errors
    /// A sentence that names the first target that is listed wrongly.
    pub(super) fn within(text: &Bytes, start: usize) -> Result<(Self, usize), String> {
        let not_an_object = || "'targets' is not an object".to_owned();
        let mut scanner = Scanner::new(text, start);
        if !scanner.skip(b"{") {
            return Err(not_an_object());
        }
        let mut places = Vec::with_capacity(1 + (text.len() - start) / 128);
        if scanner.skip(b"}") {
            places.push(place(start + 1).ok_or_else(not_an_object)?);
            return Ok((Self { text: text.clone(), places: places.into() }, scanner.at()));
        }
        loop {
            places.push(place(scanner.at()).ok_or_else(not_an_object)?);
            let key = scanner.string().ok_or_else(not_an_object)?;
            scanner.skip(b":");
            let from = scanner.at();
            let plain = plain(&mut scanner, |_, _| ()).is_some();
            if !plain {
                scanner = Scanner::new(text, from);
                scanner.value().ok_or_else(not_an_object)?;
                let value = text.get(from..scanner.at()).unwrap_or_default();
                by_serde(value).map_err(|error| {
                    let path = String::from_utf8_lossy(&text[key]).chars().take(128).collect::<String>();
                    format!("the target '{}': {error}", path.escape_debug())
                })?;
            }
            if !scanner.skip(b",") {
                break;
            }
        }
        // one more entry would start behind a comma
        places.push(place(scanner.at() + 1).ok_or_else(not_an_object)?);
        Ok((Self { text: text.clone(), places: places.into() }, scanner.at() + 1))
    }

    /// Puts the entries into a text that lists none, at the place of the empty object where they belong. Returns the whole,
    /// and the map within it.
    pub(super) fn put_into(&self, text: &[u8], object: usize) -> Result<(Bytes, Self), CanonicalError> {
        let entries = self.entries();
        let (before, after) = text.split_at((object + 1).min(text.len()));
        let mut whole = Vec::with_capacity(text.len() + entries.len());
        whole.extend_from_slice(before);
        whole.extend_from_slice(&self.text[entries.clone()]);
        whole.extend_from_slice(after);
        place(whole.len()).ok_or_else(too_long)?;
        let moved = |place: &u32| place - entries.start as u32 + before.len() as u32;
        let text = Bytes::from(whole);
        let map = Self { text: text.clone(), places: self.places.iter().map(moved).collect() };
        Ok((text, map))
    }

    /// Returns where the entries stand, without the brackets around them.
    fn entries(&self) -> Range<usize> {
        let start = self.places[0] as usize;
        if self.is_empty() { start..start } else { start..self.places[self.len()] as usize - 1 }
    }

    /// Returns how many files are listed.
    pub fn len(&self) -> usize {
        self.places.len() - 1
    }

    /// Tells whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the text of an entry: its path in quotes, a colon, the file.
    fn entry(&self, index: usize) -> &[u8] {
        &self.text[self.places[index] as usize..self.places[index + 1] as usize - 1]
    }

    /// Returns the path of an entry as it stands in the text, and the text behind its colon.
    fn split(&self, index: usize) -> (&[u8], &[u8]) {
        let entry = self.entry(index);
        let key = Scanner::new(entry, 0).string().unwrap_or(0..0);
        let value = entry.get(key.end + 2..).unwrap_or_default();
        (&entry[key], value)
    }

    fn path(&self, index: usize) -> Cow<'_, str> {
        canonical::meaning(self.split(index).0)
    }

    /// Returns a file by its place in the order of paths.
    pub fn at(&self, index: usize) -> Option<(Cow<'_, str>, TargetFile)> {
        if index >= self.len() {
            return None;
        }
        let (key, value) = self.split(index);
        Some((canonical::meaning(key), file(value)?))
    }

    /// Finds the first entry whose path is not lower than a path; tells whether it is that path's.
    fn find(&self, path: &str) -> (usize, bool) {
        self.find_from(0, path)
    }

    fn find_from(&self, from: usize, path: &str) -> (usize, bool) {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match canonical::compare_meaning(self.split(middle).0, path) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// Returns the place of a path in the order of paths.
    pub(crate) fn position(&self, path: &str) -> Option<usize> {
        let (index, found) = self.find(path);
        found.then_some(index)
    }

    /// Tells whether the entry at a place is some text: its path in quotes, a colon, the file, in canonical form.
    pub(crate) fn reads(&self, index: usize, text: &[u8]) -> bool {
        index < self.len() && self.entry(index) == text
    }

    /// Returns what is listed of a path.
    pub fn get(&self, path: &str) -> Option<TargetFile> {
        let (index, found) = self.find(path);
        found.then(|| file(self.split(index).1)).flatten()
    }

    /// Tells whether a path is listed.
    pub fn contains_key(&self, path: &str) -> bool {
        self.find(path).1
    }

    /// Returns the first path that is not lower than another.
    pub fn first_from(&self, path: &str) -> Option<Cow<'_, str>> {
        let (index, _) = self.find(path);
        (index < self.len()).then(|| self.path(index))
    }

    /// Iterates over paths and files, sorted by path.
    pub fn iter(&self) -> Iter<'_> {
        Iter { map: self, next: 0 }
    }

    /// Iterates over the paths, sorted.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.len()).map(|index| self.path(index))
    }

    /// Returns the places, in the order of paths, of the files that another map does not list just so.
    pub fn differing(&self, other: &Self) -> Vec<usize> {
        let mut different = Vec::new();
        let mut there = 0;
        for here in 0..self.len() {
            let mine = self.entry(here);
            // the same entry next is what is found nearly always
            if there < other.len() && other.entry(there) == mine {
                there += 1;
                continue;
            }
            let (index, found) = other.find_from(there, &self.path(here));
            there = index + usize::from(found);
            if !found || other.entry(index) != mine {
                different.push(here);
            }
        }
        different
    }

    /// Tells whether the bytes of a file that another map lists, by its place there, are listed of the same path here.
    pub fn has_bytes_of(&self, other: &Self, index: usize) -> bool {
        let Some((path, file)) = other.at(index) else { return false };
        self.get(&path).is_some_and(|mine| mine.length == file.length && mine.hashes == file.hashes)
    }

    /// Lists files; what is listed of their paths is replaced.
    ///
    /// # Errors
    /// [`CanonicalError`] where `custom` or unknown members hold what canonical JSON refuses; nothing has changed then.
    pub fn extend<P: AsRef<str>>(
        &mut self,
        files: impl IntoIterator<Item = (P, TargetFile)>,
    ) -> Result<(), CanonicalError> {
        let mut incoming = Incoming::default();
        for (path, file) in files {
            incoming.push(path, &file)?;
        }
        self.take(incoming)
    }

    /// Lists files as [`TargetMap::extend`] does.
    ///
    /// # Errors
    /// [`CanonicalError`] where the whole would be too long; nothing has changed then.
    pub(crate) fn take<P: AsRef<str>>(&mut self, incoming: Incoming<P>) -> Result<(), CanonicalError> {
        let Incoming { text, mut files } = incoming;
        files.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let last_of_equals = |index: &usize| {
            files.get(index + 1).is_none_or(|next| next.0.as_ref() != files[*index].0.as_ref())
        };
        let changes: Vec<(&str, &[u8])> = (0..files.len())
            .filter(last_of_equals)
            .map(|index| (files[index].0.as_ref(), &text[files[index].1.clone()]))
            .collect();
        *self = self.with(&changes)?;
        Ok(())
    }

    /// Copies the entries with some put in place, sorted by path; one without text is left out.
    fn with(&self, changes: &[(&str, &[u8])]) -> Result<Self, CanonicalError> {
        let new: usize = changes.iter().map(|(_, text)| text.len() + 1).sum();
        let mut text = Vec::with_capacity(self.entries().len() + new + 3);
        let mut places = Vec::with_capacity(self.places.len() + changes.len());
        text.push(b'{');
        let mut from = 0;
        for (path, entry) in changes {
            let (index, found) = self.find_from(from, path);
            self.copy(from..index, &mut text, &mut places)?;
            if !entry.is_empty() {
                places.push(place(text.len()).ok_or_else(too_long)?);
                text.extend_from_slice(entry);
                text.push(b',');
            }
            from = index + usize::from(found);
        }
        self.copy(from..self.len(), &mut text, &mut places)?;
        places.push(place(text.len()).ok_or_else(too_long)?);
        if places.len() > 1 {
            text.pop();
        }
        text.push(b'}');
        Ok(Self { text: text.into_boxed_slice().into(), places: places.into() })
    }

    /// Copies entries that follow one another, each with a comma behind it.
    fn copy(
        &self,
        entries: Range<usize>,
        text: &mut Vec<u8>,
        places: &mut Vec<u32>,
    ) -> Result<(), CanonicalError> {
        if entries.is_empty() {
            return Ok(());
        }
        let (start, end) = (self.places[entries.start] as usize, self.places[entries.end] as usize);
        let to = text.len();
        place(to + end - start).ok_or_else(too_long)?;
        text.extend_from_slice(&self.text[start..end - 1]);
        text.push(b',');
        places.extend(self.places[entries].iter().map(|place| (*place as usize - start + to) as u32));
        Ok(())
    }

    /// Lists one file; what is listed of its path is replaced.
    ///
    /// # Errors
    /// As [`TargetMap::extend`].
    pub fn insert(&mut self, path: impl AsRef<str>, file: TargetFile) -> Result<(), CanonicalError> {
        self.extend([(path, file)])
    }

    /// Keeps only the files whose paths are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        let gone: Vec<Cow<'_, str>> = self.keys().filter(|path| !wanted(path)).collect();
        let changes: Vec<(&str, &[u8])> = gone.iter().map(|path| (&**path, &b""[..])).collect();
        if changes.is_empty() {
            return;
        }
        // fewer entries cannot be too long
        if let Ok(kept) = self.with(&changes) {
            *self = kept;
        }
    }
}

/// Files on their way into a [`TargetMap`], in canonical form already.
pub(crate) struct Incoming<P> {
    text: Vec<u8>,
    files: Vec<(P, Range<usize>)>,
}

impl<P> Default for Incoming<P> {
    fn default() -> Self {
        Self { text: Vec::new(), files: Vec::new() }
    }
}

impl<P: AsRef<str>> Incoming<P> {
    /// Adds a file.
    ///
    /// # Errors
    /// [`CanonicalError`] where `custom` or unknown members hold what canonical JSON refuses.
    pub(crate) fn push(&mut self, path: P, file: &TargetFile) -> Result<(), CanonicalError> {
        let from = self.text.len();
        write_entry(path.as_ref(), file, &mut self.text)?;
        self.files.push((path, from..self.text.len()));
        Ok(())
    }

    /// Returns the paths, in the order in which they were added.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| path.as_ref())
    }

    /// Tells whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Goes over the files of a [`TargetMap`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    map: &'a TargetMap,
    next: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Cow<'a, str>, TargetFile);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.map.at(self.next)?;
        self.next += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.map.len() - self.next;
        (left, Some(left))
    }
}

impl<'a> IntoIterator for &'a TargetMap {
    type Item = (Cow<'a, str>, TargetFile);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for TargetMap {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.text[self.entries()] == other.text[other.entries()]
    }
}

impl fmt::Debug for TargetMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for TargetMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (path, file) in self.iter() {
            map.serialize_entry(&path, &file)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for TargetMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = TargetMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("target files by path")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TargetMap, A::Error> {
                let mut entries: Vec<(String, TargetFile)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                TargetMap::of(entries).map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn place(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}

fn too_long() -> CanonicalError {
    CanonicalError::Syntax { offset: u32::MAX as usize, expected: "metadata of less than 4 GiB" }
}

/// Goes behind a file that lists nothing but digests and a length. Hands out the digests by algorithm; returns the length.
/// `None` for a file that has more, or in which anything is escaped.
fn plain<'a>(scanner: &mut Scanner<'a>, mut digest: impl FnMut(Range<usize>, Range<usize>)) -> Option<u64> {
    if !scanner.skip(b"{\"hashes\":{") {
        return None;
    }
    loop {
        let name = scanner.plain_string()?;
        if !scanner.skip(b":") {
            return None;
        }
        digest(name, scanner.plain_string()?);
        if !scanner.skip(b",") {
            break;
        }
    }
    if !scanner.skip(b"},\"length\":") {
        return None;
    }
    let length = scanner.number()?;
    scanner.skip(b"}").then_some(length)
}

/// Reads what stands behind a path.
fn file(value: &[u8]) -> Option<TargetFile> {
    let mut hashes = Hashes::default();
    let text = |place: Range<usize>| std::str::from_utf8(&value[place]).unwrap_or_default();
    let length = plain(&mut Scanner::new(value, 0), |name, digest| hashes.insert(text(name), text(digest)));
    match length {
        Some(length) => Some(TargetFile { length, hashes, custom: None, extra: super::Extra::new() }),
        None => by_serde(value).ok(),
    }
}

fn by_serde(value: &[u8]) -> Result<TargetFile, serde_json::Error> {
    serde_json::from_slice(&canonical::as_json(value))
}

/// Writes an entry in canonical form.
fn write_entry(path: &str, file: &TargetFile, to: &mut Vec<u8>) -> Result<(), CanonicalError> {
    canonical::write_string(path, to);
    to.push(b':');
    if file.custom.is_some() || !file.extra.is_empty() {
        to.extend_from_slice(&canonical::from_value_within(file, SIGNED_DEPTH + 2)?);
        return Ok(());
    }
    to.extend_from_slice(b"{\"hashes\":{");
    for (index, (name, digest)) in file.hashes.iter().enumerate() {
        if index > 0 {
            to.push(b',');
        }
        canonical::write_string(name, to);
        to.push(b':');
        canonical::write_string(digest, to);
    }
    write_length(file.length, to);
    Ok(())
}

/// Writes an entry of a file of which nothing is listed but its length and digests that were computed.
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
    write_length(length, to);
}

/// Writes what stands behind the digests of a file of which nothing else is listed.
fn write_length(length: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(b"},\"length\":");
    // a vector takes whatever is written
    let _ = write!(to, "{length}}}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{Metadata, Targets};
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
            let mut hasher = super::super::Hasher::new(algorithms.iter().copied());
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
        let hashes: Hashes = [(super::super::Algorithm::Sha256, "00".to_owned())].into_iter().collect();
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
