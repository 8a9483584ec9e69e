//! What a role lists by name, kept as the canonical text that signatures cover.
//!
//! A role may list a hundred thousand targets, a snapshot tens of thousands of files, and an edit concern one of them. A
//! tree of all would take several times the memory of the text and most of the time of an edit; the text with the places
//! of its entries is searched as fast, and an edit copies what it does not change (docs/adr/0012-targets-stay-text.md).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::roles::SIGNED_DEPTH;
use crate::canonical::{self, CanonicalError, Scanner};

/// What may be listed by name in a [`TextMap`].
pub trait Listed: Serialize + for<'de> Deserialize<'de> + fmt::Debug {
    /// What one is called in an error.
    const NOUN: &'static str;
    /// The member of the signed part that lists them.
    const MEMBER: &'static str;

    /// Goes behind a value of the usual form, which is valid then. Tells whether it is one; else the place is lost.
    fn skip_usual(scanner: &mut Scanner<'_>) -> bool;
    /// Reads a value of the usual form.
    fn read_usual(value: &[u8]) -> Option<Self>
    where
        Self: Sized;
    /// Writes it in canonical form if it has the usual one. Tells whether it has.
    fn write_usual(&self, to: &mut Vec<u8>) -> bool;
}

/// Around entries of this many bytes there is room for the rest of what is signed.
const LARGE: usize = 1 << 20;
/// How many bytes of it there are before and behind the entries.
const ROOM: usize = 4 << 10;

/// Values by name, sorted by name.
pub struct TextMap<V> {
    /// Canonical text that has the entries somewhere, one after the other.
    text: Bytes,
    /// Where each entry starts, and behind the last one where one more would.
    places: Arc<[u32]>,
    values: PhantomData<fn() -> V>,
}

impl<V> Clone for TextMap<V> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), places: self.places.clone(), values: PhantomData }
    }
}

impl<V: Listed> Default for TextMap<V> {
    fn default() -> Self {
        Self { text: Bytes::from_static(b"{}"), places: Arc::new([1]), values: PhantomData }
    }
}

impl<V: Listed> TextMap<V> {
    /// Lists nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists values; of two by one name the last one counts.
    ///
    /// # Errors
    /// [`CanonicalError`] where a value holds what canonical JSON refuses.
    pub fn of<P: AsRef<str>>(values: impl IntoIterator<Item = (P, V)>) -> Result<Self, CanonicalError> {
        let mut map = Self::new();
        map.extend(values)?;
        Ok(map)
    }

    /// Reads the entries out of the canonical text of what is signed. Returns that text without them, too; `None` where the
    /// member is missing.
    ///
    /// # Errors
    /// A sentence that names the first value that is not one.
    pub(super) fn taken_from(signed: &Bytes) -> Result<Option<(Self, Vec<u8>)>, serde_json::Error> {
        let Some(start) = canonical::member(signed, V::MEMBER) else { return Ok(None) };
        let (map, end) = Self::within(signed, start).map_err(serde::de::Error::custom)?;
        let rest = [&signed[..start], b"{}", &signed[end..]].concat();
        Ok(Some((map, rest)))
    }

    /// Reads the entries of an object within canonical text. Returns where it ends, too.
    fn within(text: &Bytes, start: usize) -> Result<(Self, usize), String> {
        let not_an_object = || format!("'{}' is not an object", V::MEMBER);
        let mut scanner = Scanner::new(text, start);
        if !scanner.skip(b"{") {
            return Err(not_an_object());
        }
        let mut places = Vec::with_capacity(1 + (text.len() - start) / 128);
        if scanner.skip(b"}") {
            places.push(place(start + 1).ok_or_else(not_an_object)?);
            return Ok((
                Self { text: text.clone(), places: places.into(), values: PhantomData },
                scanner.at(),
            ));
        }
        loop {
            places.push(place(scanner.at()).ok_or_else(not_an_object)?);
            let key = scanner.string().ok_or_else(not_an_object)?;
            scanner.skip(b":");
            let from = scanner.at();
            if !V::skip_usual(&mut scanner) {
                scanner = Scanner::new(text, from);
                scanner.value().ok_or_else(not_an_object)?;
                let value = text.get(from..scanner.at()).unwrap_or_default();
                by_serde::<V>(value).map_err(|error| {
                    let name = String::from_utf8_lossy(&text[key]).chars().take(128).collect::<String>();
                    format!("the {} '{}': {error}", V::NOUN, name.escape_debug())
                })?;
            }
            if !scanner.skip(b",") {
                break;
            }
        }
        // one more entry would start behind a comma
        places.push(place(scanner.at() + 1).ok_or_else(not_an_object)?);
        Ok((Self { text: text.clone(), places: places.into(), values: PhantomData }, scanner.at() + 1))
    }

    /// Puts the entries into the canonical text of what is signed that lists none. Returns the whole, and the map within it.
    ///
    /// # Errors
    /// [`CanonicalError`] where the whole is too long.
    pub(super) fn put_into(mut self, signed: &[u8]) -> Result<(Bytes, Self), CanonicalError> {
        let object = canonical::member(signed, V::MEMBER).unwrap_or(0);
        let (before, after) = signed.split_at((object + 1).min(signed.len()));
        let entries = self.entries();
        place(entries.end + after.len()).ok_or_else(too_long)?;
        if let Some(start) = entries.start.checked_sub(before.len()) {
            // around entries that nobody else holds there is room
            match std::mem::take(&mut self.text).try_into_mut() {
                Ok(mut text) => {
                    text.truncate(entries.end);
                    text.extend_from_slice(after);
                    text[start..entries.start].copy_from_slice(before);
                    self.text = text.freeze();
                    return Ok((self.text.slice(start..), self));
                }
                Err(text) => self.text = text,
            }
        }
        let mut whole = Vec::with_capacity(signed.len() + entries.len());
        whole.extend_from_slice(before);
        whole.extend_from_slice(&self.text[entries.clone()]);
        whole.extend_from_slice(after);
        place(whole.len()).ok_or_else(too_long)?;
        let moved = |place: &u32| place - entries.start as u32 + before.len() as u32;
        let text = Bytes::from(whole);
        let places = self.places.iter().map(moved).collect();
        let map = Self { text: text.clone(), places, values: PhantomData };
        Ok((text, map))
    }

    /// Returns where the entries stand, without the brackets around them.
    fn entries(&self) -> Range<usize> {
        let start = self.places[0] as usize;
        if self.is_empty() { start..start } else { start..self.places[self.len()] as usize - 1 }
    }

    /// Returns how many values are listed.
    pub fn len(&self) -> usize {
        self.places.len() - 1
    }

    /// Tells whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the text of an entry: its name in quotes, a colon, the value.
    pub(super) fn entry(&self, index: usize) -> &[u8] {
        &self.text[self.places[index] as usize..self.places[index + 1] as usize - 1]
    }

    /// Returns the name of an entry as it stands in the text, and the text behind its colon.
    fn split(&self, index: usize) -> (&[u8], &[u8]) {
        let entry = self.entry(index);
        let key = Scanner::new(entry, 0).string().unwrap_or(0..0);
        let value = entry.get(key.end + 2..).unwrap_or_default();
        (&entry[key], value)
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        canonical::meaning(self.split(index).0)
    }

    /// Returns a value by its place in the order of names.
    pub fn at(&self, index: usize) -> Option<(Cow<'_, str>, V)> {
        if index >= self.len() {
            return None;
        }
        let (key, value) = self.split(index);
        Some((canonical::meaning(key), read(value)?))
    }

    /// Finds the first entry whose name is not lower than a name; tells whether it is that name's.
    fn find(&self, name: &str) -> (usize, bool) {
        self.find_from(0, name)
    }

    fn find_from(&self, from: usize, name: &str) -> (usize, bool) {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match canonical::compare_meaning(self.split(middle).0, name) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// Returns the place of a name in the order of names.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let (index, found) = self.find(name);
        found.then_some(index)
    }

    /// Tells whether the entry at a place is some text: its name in quotes, a colon, the value, in canonical form.
    pub(crate) fn reads(&self, index: usize, text: &[u8]) -> bool {
        index < self.len() && self.entry(index) == text
    }

    /// Returns what is listed by a name.
    pub fn get(&self, name: &str) -> Option<V> {
        let (index, found) = self.find(name);
        found.then(|| read(self.split(index).1)).flatten()
    }

    /// Tells whether a name is listed.
    pub fn contains_key(&self, name: &str) -> bool {
        self.find(name).1
    }

    /// Returns the first name that is not lower than another.
    pub fn first_from(&self, name: &str) -> Option<Cow<'_, str>> {
        let (index, _) = self.find(name);
        (index < self.len()).then(|| self.name(index))
    }

    /// Iterates over names and values, sorted by name.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { map: self, next: 0 }
    }

    /// Iterates over the names, sorted.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.len()).map(|index| self.name(index))
    }

    /// Iterates over the names that are not lower than another, sorted.
    pub fn keys_from(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        (self.find(name).0..self.len()).map(|index| self.name(index))
    }

    /// Returns the places, in the order of names, of the values that another map does not list just so.
    pub fn differing(&self, other: &Self) -> Vec<usize> {
        if other.is_empty() {
            return (0..self.len()).collect();
        }
        let mut different = Vec::new();
        let mut there = 0;
        for here in 0..self.len() {
            let mine = self.entry(here);
            // the same entry next is what is found nearly always
            if there < other.len() && other.entry(there) == mine {
                there += 1;
                continue;
            }
            let (index, found) = other.find_from(there, &self.name(here));
            there = index + usize::from(found);
            if !found || other.entry(index) != mine {
                different.push(here);
            }
        }
        different
    }

    /// Lists values; what is listed by their names is replaced.
    ///
    /// # Errors
    /// [`CanonicalError`] where a value holds what canonical JSON refuses; nothing has changed then.
    pub fn extend<P: AsRef<str>>(
        &mut self,
        values: impl IntoIterator<Item = (P, V)>,
    ) -> Result<(), CanonicalError> {
        let mut incoming = Incoming::default();
        for (name, value) in values {
            incoming.push(name, &value)?;
        }
        self.take(incoming)
    }

    /// Lists values as [`TextMap::extend`] does.
    ///
    /// # Errors
    /// [`CanonicalError`] where the whole would be too long; nothing has changed then.
    pub(crate) fn take<P: AsRef<str>>(&mut self, incoming: Incoming<P>) -> Result<(), CanonicalError> {
        let Incoming { text, mut entries } = incoming;
        entries.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let last_of_equals = |index: &usize| {
            entries.get(index + 1).is_none_or(|next| next.0.as_ref() != entries[*index].0.as_ref())
        };
        let changes: Vec<(&str, &[u8])> = (0..entries.len())
            .filter(last_of_equals)
            .map(|index| (entries[index].0.as_ref(), &text[entries[index].1.clone()]))
            .collect();
        *self = self.with(&changes)?;
        Ok(())
    }

    /// Copies the entries with some put in place, sorted by name; one without text is left out.
    fn with(&self, changes: &[(&str, &[u8])]) -> Result<Self, CanonicalError> {
        let new: usize = changes.iter().map(|(_, text)| text.len() + 1).sum();
        let length = self.entries().len() + new;
        // what is large is not copied again when the rest of what is signed comes around it
        let room = if length >= LARGE { ROOM } else { 1 };
        let mut text = Vec::with_capacity(length + 2 * room + 1);
        let mut places = Vec::with_capacity(self.places.len() + changes.len());
        text.resize(room, b'{');
        let mut from = 0;
        for (name, entry) in changes {
            let (index, found) = self.find_from(from, name);
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
        Ok(Self { text: text.into(), places: places.into(), values: PhantomData })
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

    /// Lists one value; what is listed by its name is replaced.
    ///
    /// # Errors
    /// As [`TextMap::extend`].
    pub fn insert(&mut self, name: impl AsRef<str>, value: V) -> Result<(), CanonicalError> {
        self.extend([(name, value)])
    }

    /// Keeps only the values whose names are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        let gone: Vec<Cow<'_, str>> = self.keys().filter(|name| !wanted(name)).collect();
        let changes: Vec<(&str, &[u8])> = gone.iter().map(|name| (&**name, &b""[..])).collect();
        if changes.is_empty() {
            return;
        }
        // fewer entries cannot be too long
        if let Ok(kept) = self.with(&changes) {
            *self = kept;
        }
    }
}

/// Values on their way into a [`TextMap`], in canonical form already.
pub(crate) struct Incoming<P> {
    text: Vec<u8>,
    entries: Vec<(P, Range<usize>)>,
}

impl<P> Default for Incoming<P> {
    fn default() -> Self {
        Self { text: Vec::new(), entries: Vec::new() }
    }
}

impl<P: AsRef<str>> Incoming<P> {
    /// Adds a value.
    ///
    /// # Errors
    /// [`CanonicalError`] where it holds what canonical JSON refuses.
    pub(crate) fn push<V: Listed>(&mut self, name: P, value: &V) -> Result<(), CanonicalError> {
        let mut written = Ok(());
        self.push_with(name, |name, text| written = write_entry(name, value, text));
        written
    }

    /// Adds a value that somebody writes, in canonical form behind its name and a colon.
    pub(super) fn push_with(&mut self, name: P, write: impl FnOnce(&str, &mut Vec<u8>)) {
        let from = self.text.len();
        write(name.as_ref(), &mut self.text);
        self.entries.push((name, from..self.text.len()));
    }

    /// Returns the names, in the order in which they were added.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_ref())
    }

    /// Tells whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Goes over the values of a [`TextMap`].
pub struct Iter<'a, V> {
    map: &'a TextMap<V>,
    next: usize,
}

impl<'a, V: Listed> Iterator for Iter<'a, V> {
    type Item = (Cow<'a, str>, V);

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

impl<'a, V: Listed> IntoIterator for &'a TextMap<V> {
    type Item = (Cow<'a, str>, V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<V: Listed> PartialEq for TextMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.text[self.entries()] == other.text[other.entries()]
    }
}

impl<V: Listed> fmt::Debug for TextMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Listed> Serialize for TextMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(&name, &value)?;
        }
        map.end()
    }
}

impl<'de, V: Listed> Deserialize<'de> for TextMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<fn() -> V>);
        impl<'de, V: Listed> Visitor<'de> for Entries<V> {
            type Value = TextMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}s by name", V::NOUN)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextMap<V>, A::Error> {
                let mut entries: Vec<(String, V)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                TextMap::of(entries).map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

fn place(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}

fn too_long() -> CanonicalError {
    CanonicalError::Syntax { offset: u32::MAX as usize, expected: "metadata of less than 4 GiB" }
}

/// Reads what stands behind a name.
fn read<V: Listed>(value: &[u8]) -> Option<V> {
    V::read_usual(value).or_else(|| by_serde(value).ok())
}

fn by_serde<V: Listed>(value: &[u8]) -> Result<V, serde_json::Error> {
    serde_json::from_slice(&canonical::as_json(value))
}

/// Writes an entry in canonical form, which can be read again.
fn write_entry<V: Listed>(name: &str, value: &V, to: &mut Vec<u8>) -> Result<(), CanonicalError> {
    canonical::write_string(name, to);
    to.push(b':');
    let start = to.len();
    if value.write_usual(to) && V::skip_usual(&mut Scanner::new(to, start)) {
        return Ok(());
    }
    to.truncate(start);
    let text = canonical::from_value_within(value, SIGNED_DEPTH + 2)?;
    by_serde::<V>(&text).map_err(|error| CanonicalError::Unlistable {
        noun: V::NOUN,
        name: name.escape_debug().to_string(),
        reason: error.to_string(),
    })?;
    to.extend_from_slice(&text);
    Ok(())
}
