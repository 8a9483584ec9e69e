//! What this copy of a repository has written or taken over: a file beside the policy, kept in version control with the
//! written metadata. A publication goes on from what is live only where this file, or the written metadata, knows it.
//!
//! One line a file: role (percent-encoded, as in the names of files), version, SHA-256 of its bytes. The lines are sorted
//! by role, version and digest, and there is no header, so that a merge may keep the lines of both sides in any order.
//! Timestamps are not in it: the snapshot that a timestamp names vouches for it.
//!
//! A copy that skips versions (`bump --version`) adds one line for all of them: the last version that it skipped, with the
//! digest of the file before. After a merge nothing in between is vouched for: another copy has written it. A history that was
//! lost and made again has such a line, with a digest of zeros, below each of its files: it knows nothing of what was before.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::str;

use rayon::prelude::*;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::error::{AtPath, InputError, RepositoryError};
use super::layout::{Layout, MAX_METADATA, is_versioned, parse_plain, parse_versioned};
use crate::metadata::{MAX_NUMBER, Metadata, RoleName, Snapshot, Timestamp};
use crate::storage::{Folder, ReadFiles, regular_or_none};

/// The file, in the repository's folder.
pub const HISTORY: &str = ".tuf-history";

/// The SHA-256 of a metadata file.
pub(super) type Sha256 = [u8; 32];

/// Digests the bytes of a metadata file.
pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut made = Sha256::default();
    made.copy_from_slice(digest(&SHA256, bytes).as_ref());
    made
}

/// A file of a role, as a line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PutFile {
    version: u64,
    sha256: Sha256,
}

/// What a history says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Testimony {
    /// This copy has written it or taken it over.
    Ours,
    /// It has a line, and so has another file of its version, or the version was skipped: two histories were merged.
    Disputed,
    /// It has no line.
    Unknown,
}

/// One file of a role's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) role: RoleName,
    pub(super) version: u64,
    pub(super) sha256: Sha256,
}

impl Entry {
    /// Describes the file of a role that has some bytes.
    pub(super) fn new(role: RoleName, version: u64, bytes: &[u8]) -> Self {
        Self { role, version, sha256: sha256(bytes) }
    }

    /// Describes the file of a role in a layout; `None` of `root.json` and the timestamp, which have no line.
    /// `version` says what a file states whose name does not.
    pub(super) fn of(
        layout: Layout,
        name: &str,
        bytes: &[u8],
        version: impl FnOnce(&RoleName) -> Option<u64>,
    ) -> Option<Self> {
        let named = parse_versioned(name).filter(|_| is_versioned(layout, name));
        let (version, role) = match named {
            Some(named) => named,
            None => {
                let role = parse_plain(name)?;
                // with versions in their names the others are no files of roles
                let is_file = layout == Layout::Plain && !matches!(role.as_str(), "root" | "timestamp");
                (is_file.then(|| version(&role)).flatten()?, role)
            }
        };
        Some(Self::new(role, version, bytes))
    }
}

/// The files that this copy has written or taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The files of each role, by its percent-encoded name; sorted, none twice.
    roles: BTreeMap<Box<str>, Vec<PutFile>>,
}

impl History {
    /// Reads the history of a repository. One that does not know what is written here now is another copy's. In its place,
    /// and where there is none, one is made of the files that are written now: what else lies beside them may be anybody's.
    ///
    /// # Errors
    /// [`InputError::History`] for a line that is not understood; [`RepositoryError::Io`].
    pub(super) fn read(dir: &Path, written: &Folder, layout: Layout) -> Result<Self, RepositoryError> {
        let newest = Newest::read(written, layout)?;
        match Self::recorded(dir)? {
            Some(history) if newest.is_known_to(&history) => Ok(history),
            _ => Self::of_files(written, layout, newest.files(layout)),
        }
    }

    /// Reads the history of a repository; where there is none, makes it of all the files in the folder of written metadata,
    /// older ones too.
    ///
    /// # Errors
    /// As [`History::read`].
    pub(super) fn with_older_files(
        dir: &Path,
        written: &Folder,
        layout: Layout,
    ) -> Result<Self, RepositoryError> {
        match Self::recorded(dir)? {
            Some(history) => Ok(history),
            None => Self::of_files(written, layout, written.names().at(written.path())?),
        }
    }

    /// Reads the history of a repository; `None` where there is no such file.
    ///
    /// # Errors
    /// As [`History::read`].
    pub(super) fn recorded(dir: &Path) -> Result<Option<Self>, RepositoryError> {
        let folder = Folder::new(dir);
        let Some(bytes) = folder.read_own(HISTORY, MAX_METADATA).at(folder.file(HISTORY))? else {
            return Ok(None);
        };
        let refused = |line, reason| InputError::History { path: folder.file(HISTORY), line, reason };
        Ok(Some(Self::parse(&bytes).map_err(|(line, reason)| refused(line, reason))?))
    }

    /// Makes the history of some files in the folder of written metadata. What is no metadata there is left out.
    fn of_files(written: &Folder, layout: Layout, names: Vec<String>) -> Result<Self, RepositoryError> {
        let read = |name: &String| -> Result<Option<Entry>, RepositoryError> {
            let bytes = regular_or_none(written.read(name, MAX_METADATA)).at(written.file(name))?;
            Ok(bytes.and_then(|bytes| Entry::of(layout, name, &bytes, |_| stated_version(&bytes))))
        };
        let entries: Vec<Option<Entry>> = names.par_iter().map(read).collect::<Result<_, _>>()?;
        let mut history = Self::default();
        entries.into_iter().flatten().for_each(|entry| history.add(&entry));
        history.end_below();
        Ok(history)
    }

    /// Says of each role that nothing is known below its first file. Roots lead to one another and say so themselves.
    fn end_below(&mut self) {
        for (role, files) in &mut self.roles {
            let first = files.first().map_or(0, |file| file.version);
            if first > 1 && **role != *RoleName::root().encoded() {
                files.insert(0, PutFile { version: first - 1, sha256: NOTHING_KNOWN });
            }
        }
    }

    /// Begins the history of a role anew with a file: of what was before it nothing is known.
    pub(super) fn begin_with(&mut self, entry: &Entry) {
        let mut files = Vec::new();
        if entry.version > 1 {
            files.push(PutFile { version: entry.version - 1, sha256: NOTHING_KNOWN });
        }
        files.push(PutFile { version: entry.version, sha256: entry.sha256 });
        self.roles.insert(entry.role.encoded().into(), files);
    }

    /// Reads lines in any order. Fails with the number of the first line that is none, and the reason.
    fn parse(bytes: &[u8]) -> Result<Self, (u64, &'static str)> {
        let mut roles: BTreeMap<Box<str>, Vec<PutFile>> = BTreeMap::new();
        // the lines of one role follow one another
        let mut present: (&str, Vec<PutFile>) = ("", Vec::new());
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            // an editor or a checkout may have ended lines in its own way
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let (role, file) = parse_line(line).map_err(|reason| (number, reason))?;
            if role != present.0 {
                let (role, files) = std::mem::replace(&mut present, (role, Vec::new()));
                roles.entry(role.into()).or_default().extend(files);
            }
            present.1.push(file);
        }
        roles.entry(present.0.into()).or_default().extend(present.1);
        roles.retain(|_, files| !files.is_empty());
        for files in roles.values_mut().filter(|files| !files.is_sorted_by(|one, next| one < next)) {
            files.sort_unstable();
            files.dedup();
        }
        Ok(Self { roles })
    }

    /// Lays the file out.
    fn to_text(&self) -> String {
        let lines: usize = self.roles.iter().map(|(role, files)| files.len() * (role.len() + 80)).sum();
        let mut text = String::with_capacity(lines);
        for (role, files) in &self.roles {
            for PutFile { version, sha256 } in files {
                text.push_str(role);
                text.push_str(&format!(" {version} {}\n", hex::encode(sha256)));
            }
        }
        text
    }

    /// Adds a file.
    pub(super) fn add(&mut self, entry: &Entry) {
        let file = PutFile { version: entry.version, sha256: entry.sha256 };
        let files = self.roles.entry(entry.role.encoded().into()).or_default();
        if let Err(place) = files.binary_search(&file) {
            files.insert(place, file);
        }
    }

    /// Tells whether this very file was written here or taken over, and no other one of this role and version: two copies
    /// that went apart may have been merged, and only one of them is what is written now. For the same reason nobody vouches
    /// for a version that this copy has skipped.
    pub(super) fn vouches_for(&self, entry: &Entry) -> bool {
        self.testimony(entry) == Testimony::Ours
    }

    /// Says what is known of a file.
    pub(super) fn testimony(&self, entry: &Entry) -> Testimony {
        let files = self.files_of(&entry.role);
        let (below, rest) = files.split_at(files.partition_point(|file| file.version < entry.version));
        let (same, above) = rest.split_at(rest.partition_point(|file| file.version == entry.version));
        if same.iter().all(|file| file.sha256 != entry.sha256) {
            Testimony::Unknown
        } else if same.len() > 1 || is_skipped(below, above) {
            Testimony::Disputed
        } else {
            Testimony::Ours
        }
    }

    fn files_of(&self, role: &RoleName) -> &[PutFile] {
        self.roles.get(&*role.encoded()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds a file that is written next. Where it skips versions, the line before it says so: it has the digest of the file
    /// that was written before.
    pub(super) fn add_next(&mut self, entry: &Entry) {
        let files = self.files_of(&entry.role);
        let below = &files[..files.partition_point(|file| file.version < entry.version)];
        if let Some(before) = below.last().map(|last| last.version)
            && before + 1 < entry.version
        {
            let last = below.iter().rev().take_while(|file| file.version == before);
            let skip =
                |file: &PutFile| Entry { version: entry.version - 1, sha256: file.sha256, ..entry.clone() };
            let skips: Vec<Entry> = last.map(skip).collect();
            skips.iter().for_each(|skip| self.add(skip));
        }
        self.add(entry);
    }

    /// Adds a file in the place of any other one of its role and version.
    pub(super) fn put(&mut self, entry: &Entry) {
        if let Some(files) = self.roles.get_mut(&*entry.role.encoded()) {
            files.retain(|file| file.version != entry.version);
        }
        self.add(entry);
    }

    /// Forgets files above the versions that are written now. They are no ancestors of what is written next: a backup was put
    /// back, or their `write` was killed before it put them.
    pub(super) fn forget_above(&mut self, written: impl Fn(&RoleName) -> u64) {
        for (role, files) in &mut self.roles {
            let highest = RoleName::from_encoded(role).map_or(0, |role| written(&role));
            files.truncate(files.partition_point(|file| file.version <= highest));
        }
        self.roles.retain(|_, files| !files.is_empty());
    }

    /// Puts the file in place, unless it says the same already.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn save(&self, dir: &Path) -> Result<(), RepositoryError> {
        let (folder, text) = (Folder::new(dir), self.to_text());
        if folder.read(HISTORY, MAX_METADATA).at(folder.file(HISTORY))?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        let mut batch = folder.batch().at(dir)?;
        batch.put(HISTORY, text.as_bytes()).at(folder.file(HISTORY))?;
        batch.commit().at(dir)
    }
}

/// The newest of what is written: the root, and the snapshot that the timestamp names. Every write puts one of them.
#[derive(Default)]
struct Newest {
    root: Option<Entry>,
    snapshot: Option<(Entry, Vec<u8>)>,
}

impl Newest {
    fn read(written: &Folder, layout: Layout) -> Result<Self, RepositoryError> {
        let read = |name: &str| regular_or_none(written.read(name, MAX_METADATA)).at(written.file(name));
        let mut newest = Self::default();
        // a killed `write` leaves `root.json` behind
        let plain = read("root.json")?;
        let mut version = plain.as_deref().and_then(stated_version).unwrap_or(1);
        while let Some(bytes) = read(&layout.metadata_name(&RoleName::root(), version))? {
            newest.root = Some(Entry::new(RoleName::root(), version, &bytes));
            version += 1;
        }
        let timestamp =
            read("timestamp.json")?.and_then(|bytes| Metadata::<Timestamp>::from_bytes(&bytes).ok());
        let named = timestamp.as_ref().and_then(|timestamp| timestamp.signed().snapshot());
        if let Some(named) = named {
            let name = layout.metadata_name(&RoleName::snapshot(), named.version);
            let snapshot = read(&name)?;
            newest.snapshot = snapshot.and_then(|bytes| {
                Some((Entry::of(layout, &name, &bytes, |_| stated_version(&bytes))?, bytes))
            });
        }
        Ok(newest)
    }

    /// Tells whether a history has a line of each. After a merge another copy's file of the version may have one, too.
    fn is_known_to(&self, history: &History) -> bool {
        let mut entries = self.root.iter().chain(self.snapshot.iter().map(|(entry, _)| entry));
        entries.all(|entry| history.testimony(entry) != Testimony::Unknown)
    }

    /// Returns the names of the files that are written now: these, and those that the snapshot lists.
    fn files(&self, layout: Layout) -> Vec<String> {
        let mut files: Vec<(RoleName, u64)> = Vec::new();
        files.extend(self.root.iter().map(|root| (root.role.clone(), root.version)));
        if let Some((entry, bytes)) = &self.snapshot {
            files.push((entry.role.clone(), entry.version));
            let snapshot = Metadata::<Snapshot>::from_bytes(bytes).ok();
            let listed = snapshot.iter().flat_map(|snapshot| &snapshot.signed().meta);
            let listed =
                listed.filter_map(|(path, file)| Some((RoleName::from_metapath(&path)?, file.version)));
            files.extend(listed);
        }
        files.iter().map(|(role, version)| layout.metadata_name(role, *version)).collect()
    }
}

/// The digest of a line below which nothing is known. No file has it.
const NOTHING_KNOWN: Sha256 = [0; 32];

/// Tells whether a version was skipped: a digest that stands both below and above it is that of the file before the gap.
/// Files of two versions never have one digest. Nor is a version known where a history that was made again begins above it.
fn is_skipped(below: &[PutFile], above: &[PutFile]) -> bool {
    if above.iter().any(|file| file.sha256 == NOTHING_KNOWN) {
        return true;
    }
    if below.is_empty() || above.is_empty() {
        return false;
    }
    let before: HashSet<&Sha256> = below.iter().map(|file| &file.sha256).collect();
    above.iter().any(|file| before.contains(&file.sha256))
}

/// Lays out the history of files that are taken over into a new folder.
pub(super) fn first_history<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let mut history = History::default();
    entries.into_iter().for_each(|entry| history.add(entry));
    history.to_text()
}

/// What version control puts between the sides of a merge that it leaves to a person.
const CONFLICT_MARKS: [&[u8]; 4] = [b"<<<<<<<", b"|||||||", b"=======", b">>>>>>>"];

fn parse_line(line: &[u8]) -> Result<(&str, PutFile), &'static str> {
    const WORDS: &str = "is not a role, a version and a SHA-256";
    if CONFLICT_MARKS.iter().any(|mark| line.starts_with(mark)) {
        return Err("is the mark of a merge that nobody has finished");
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(role), Some(version), Some(digits), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(WORDS);
    };
    let role = str::from_utf8(role).map_err(|_| WORDS)?;
    RoleName::from_encoded(role).ok_or("names no role")?;
    let number = str::from_utf8(version).ok().filter(|version| !version.starts_with(['0', '+']));
    let version: Option<u64> = number.and_then(|version| version.parse().ok());
    let version = version.filter(|version| *version <= MAX_NUMBER).ok_or("states no version")?;
    let mut sha256 = Sha256::default();
    // one spelling only
    let is_lower = !digits.iter().any(u8::is_ascii_uppercase);
    if !is_lower || hex::decode_to_slice(digits, &mut sha256).is_err() {
        return Err("states no SHA-256");
    }
    Ok((role, PutFile { version, sha256 }))
}

/// Returns the version that a metadata file states, whatever its role.
pub(super) fn stated_version(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct File {
        signed: Head,
    }

    #[derive(Deserialize)]
    struct Head {
        version: u64,
    }

    serde_json::from_slice::<File>(bytes).ok().map(|file| file.signed.version)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, open, repository, scratch, start, write};
    use super::super::{Execution, FolderSource, STAGED, adopt};
    use super::*;

    fn entry(role: &str, version: u64, bytes: &str) -> Entry {
        Entry { role: RoleName::new(role).unwrap(), version, sha256: sha256(bytes.as_bytes()) }
    }

    fn history(entries: &[Entry]) -> History {
        let mut history = History::default();
        entries.iter().for_each(|entry| history.add(entry));
        history
    }

    #[test]
    fn lines_are_sorted_by_role_then_by_number_and_hold_three_words() {
        let entries =
            [entry("b c", 10, "x"), entry("b c", 9, "y"), entry("a/b", 1, "z"), entry("b c", 9, "y")];
        let made = history(&entries);
        let text = made.to_text();
        let heads: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(heads, ["a%2Fb 1", "b%20c 9", "b%20c 10"]);
        assert_eq!(History::parse(text.as_bytes()).unwrap(), made);
    }

    #[test]
    fn a_merge_that_keeps_the_lines_of_both_sides_is_read_as_both() {
        let one = history(&[entry("targets", 1, "a"), entry("targets", 2, "b")]).to_text();
        let other = history(&[entry("targets", 1, "a"), entry("snapshot", 2, "c")]).to_text();
        for merged in [format!("{one}{other}"), format!("{other}\n{one}"), one.replace('\n', "\r\n") + &other]
        {
            let read = History::parse(merged.as_bytes()).unwrap();
            assert_eq!(read.to_text().lines().count(), 3, "{merged}");
            assert!(read.vouches_for(&entry("snapshot", 2, "c")));
        }
    }

    #[test]
    fn of_two_files_of_one_version_neither_is_vouched_for() {
        let both = history(&[entry("targets", 2, "a"), entry("targets", 2, "b"), entry("targets", 3, "c")]);
        for (version, bytes, ours) in [(2, "a", false), (2, "b", false), (3, "c", true), (3, "a", false)] {
            assert_eq!(both.vouches_for(&entry("targets", version, bytes)), ours, "{version} {bytes}");
        }
        assert!(!both.vouches_for(&entry("team", 3, "c")));
    }

    #[test]
    fn versions_that_were_skipped_get_one_line_and_nobody_vouches_for_them() {
        let mut made = history(&[entry("targets", 1, "a"), entry("team", 1, "t")]);
        made.add_next(&entry("targets", 2, "b"));
        made.add_next(&entry("targets", 20_261_201, "c"));
        made.add_next(&entry("targets", 20_261_203, "d"));
        // the same again changes nothing
        let once = made.clone();
        made.add_next(&entry("targets", 20_261_203, "d"));
        assert_eq!(made, once);
        let text = made.to_text();
        let heads: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let targets = [1, 2, 20_261_200, 20_261_201, 20_261_202, 20_261_203].map(|v| format!("targets {v}"));
        assert_eq!(heads[..6], targets);
        let other = [3, 500, 20_261_199, 20_261_200, 20_261_202];
        for version in other {
            let line = entry("targets", version, "another copy's");
            let mut merged = made.clone();
            merged.add(&line);
            assert!(!merged.vouches_for(&line), "{version}");
            for (version, bytes) in [(1, "a"), (2, "b"), (20_261_201, "c"), (20_261_203, "d")] {
                assert!(merged.vouches_for(&entry("targets", version, bytes)), "{version}");
            }
        }
        assert!(made.vouches_for(&entry("team", 1, "t")));
    }

    #[test]
    fn of_two_copies_that_both_skip_versions_neither_vouches_for_the_others() {
        let (mut one, mut other) =
            (history(&[entry("targets", 1, "a")]), history(&[entry("targets", 1, "a")]));
        one.add_next(&entry("targets", 5, "one"));
        other.add_next(&entry("targets", 8, "other"));
        other.add_next(&entry("targets", 9, "more"));
        let merged = History::parse((one.to_text() + &other.to_text()).as_bytes()).unwrap();
        assert!(!merged.vouches_for(&entry("targets", 5, "one")));
        assert!(merged.vouches_for(&entry("targets", 9, "more")));
        assert!(one.vouches_for(&entry("targets", 5, "one")));
    }

    #[test]
    fn a_first_version_above_one_skips_nothing() {
        let mut made = History::default();
        made.add_next(&entry("team", 7, "a"));
        assert_eq!(made, history(&[entry("team", 7, "a")]));
    }

    #[test]
    fn what_lies_above_what_is_written_is_forgotten() {
        let mut kept = history(&[entry("targets", 2, "a"), entry("targets", 4, "b"), entry("team", 1, "c")]);
        kept.forget_above(|role| if role.as_str() == "targets" { 3 } else { 0 });
        assert_eq!(kept, history(&[entry("targets", 2, "a")]));
    }

    #[test]
    fn a_line_that_is_none_is_refused_with_its_number() {
        let good = history(&[entry("targets", 1, "a")]).to_text();
        let digest = good.trim().rsplit_once(' ').unwrap().1.to_owned();
        let lines = [
            "<<<<<<< HEAD",
            "targets 1",
            "targets 01 DIGEST",
            "targets 0 DIGEST",
            "targets -1 DIGEST",
            "targets 1 DIGEST more",
            "a/b 1 DIGEST",
            "targets 1 DIGES",
            "targets 1 abcd",
            "targets  1 DIGEST",
            "\u{7f}\u{fe} 1 DIGEST",
        ];
        for line in lines {
            let text = format!("{good}{}\n", line.replace("DIGEST", &digest));
            assert_eq!(History::parse(text.as_bytes()).unwrap_err().0, 2, "{line}");
        }
        let upper = format!("{good}targets 2 {}\n", digest.to_uppercase());
        assert!(History::parse(upper.as_bytes()).is_err());
        let dir = scratch();
        std::fs::write(
            dir.path().join(HISTORY),
            format!("{good}{}", good.trim().rsplit_once('0').unwrap().0),
        )
        .unwrap();
        let error = History::recorded(dir.path()).unwrap_err().to_string();
        assert!(error.contains(".tuf-history") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_write_adds_its_files_and_what_is_missing_is_made_again_from_what_is_written() {
        let (dir, keys) = (scratch(), keys());
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start());
        repository.bump(&RoleName::root(), None).unwrap();
        repository.bump(&RoleName::targets(), None).unwrap();
        write(&mut repository, &keys);
        drop(repository);
        let read = || std::fs::read_to_string(dir.path().join(HISTORY)).unwrap();
        let text = read();
        let heads: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(heads, ["root 1", "root 2", "snapshot 1", "snapshot 2", "targets 1", "targets 2"]);
        super::super::testing::publish(dir.path(), start());
        std::fs::remove_file(dir.path().join(HISTORY)).unwrap();
        let staged = Folder::new(dir.path().join(STAGED));
        let again = History::read(dir.path(), &staged, Layout::Consistent).unwrap();
        let heads = |history: &History| -> Vec<String> {
            let text = history.to_text();
            text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
        };
        // what only lies beside the files that are written now may be anybody's
        assert_eq!(heads(&again), ["root 2", "snapshot 1", "snapshot 2", "targets 1", "targets 2"]);
        assert_eq!(again.to_text().lines().filter(|line| line.ends_with(&"0".repeat(64))).count(), 2);
        let all = History::with_older_files(dir.path(), &staged, Layout::Consistent).unwrap();
        assert_eq!(all.to_text(), text);
        let mut repository = open(dir.path(), start());
        repository.bump(&RoleName::timestamp(), None).unwrap();
        write(&mut repository, &keys);
        assert_eq!(read(), again.to_text());
    }

    #[test]
    fn a_history_that_does_not_know_the_written_root_or_snapshot_is_another_copys() {
        let (dir, keys) = (scratch(), keys());
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start());
        repository.bump(&RoleName::root(), None).unwrap();
        repository.bump(&RoleName::targets(), None).unwrap();
        write(&mut repository, &keys);
        drop(repository);
        let whole = std::fs::read_to_string(dir.path().join(HISTORY)).unwrap();
        let staged = Folder::new(dir.path().join(STAGED));
        let read = || History::read(dir.path(), &staged, Layout::Consistent).unwrap();
        assert_eq!(read().to_text(), whole);
        let theirs = hex::encode(sha256(b"theirs"));
        let made_again = ["root 2 ", "snapshot 2 ", "targets 2 "];
        for line in ["root 2 ", "snapshot 2 "] {
            let line = whole.lines().find(|found| found.starts_with(line)).unwrap();
            let (head, ours) = line.rsplit_once(' ').unwrap();
            for text in [whole.replace(line, ""), whole.replace(ours, &theirs), String::new()] {
                std::fs::write(dir.path().join(HISTORY), text).unwrap();
                let kept: Vec<&str> = whole
                    .lines()
                    .filter(|line| made_again.iter().any(|head| line.starts_with(head)))
                    .collect();
                let read = read().to_text();
                let known: Vec<&str> = read.lines().filter(|line| !line.ends_with(&"0".repeat(64))).collect();
                assert_eq!(known, kept, "{head}");
            }
            // after a merge both have a line
            let merged = format!("{whole}{head} {theirs}\n");
            std::fs::write(dir.path().join(HISTORY), merged).unwrap();
            assert_eq!(read().to_text().lines().count(), whole.lines().count() + 1, "{head}");
        }
    }

    #[test]
    fn a_repository_that_is_taken_over_begins_with_what_was_verified() {
        let (from, into) = (scratch(), scratch());
        repository(from.path(), &keys());
        let root = std::fs::read(from.path().join("metadata/1.root.json")).unwrap();
        let source = FolderSource::new(from.path());
        let adopted =
            adopt(into.path(), &source, &root, start(), Execution::Real, std::time::Duration::ZERO, &|_| {})
                .unwrap();
        assert!(adopted.put.iter().any(|name| name == HISTORY), "{:?}", adopted.put);
        let read = |dir: &Path| std::fs::read_to_string(dir.join(HISTORY)).unwrap();
        assert_eq!(read(into.path()), read(from.path()));
    }

    #[test]
    fn tens_of_thousands_of_lines_are_read_and_laid_out_again() {
        let entries: Vec<Entry> = (0..40_000)
            .map(|number| entry(&format!("bins-{:04x}", number % 16_384), 1 + number, "x"))
            .collect();
        let made = history(&entries);
        assert_eq!(History::parse(made.to_text().as_bytes()).unwrap(), made);
    }
}
