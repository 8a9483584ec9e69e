//! The record of what `tuf-fetch` itself has put: a target, a folder for one, a delegated role's file.
//!
//! Nothing is ever removed without an entry here. It lies beside the trusted metadata, a line of JSON for each thing, the
//! later line wins; what is not such a line is none. A line is added once the thing is in its place: what a process that
//! was killed in between has put stays for good. A line that takes an entry back is added before the thing goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use super::confined::Folder;
use super::unfinished::replace;
use crate::metadata::{Algorithm, Hasher, RoleName};

/// The name of the record; not `.json`, so that nobody takes it for metadata. The folder that holds it is a client's.
pub(super) const NAME: &str = ".tuf-put";
/// The largest record that is read.
const LARGEST: u64 = 1 << 30;
/// A record of fewer lines than this is never written anew to drop those that later ones have overtaken.
const WORTH_SHORTENING: usize = 1000;

/// A target folder: the same one only where all three are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Home {
    pub device: u64,
    pub inode: u64,
    /// The real path; bytes that are no text are escaped.
    pub path: String,
}

/// The bytes that a file had when it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub length: u64,
    /// In hexadecimal.
    pub sha256: String,
}

impl Content {
    /// Reads a file from its start.
    pub fn of(mut file: &File) -> io::Result<Self> {
        let mut hasher = Hasher::new([Algorithm::Sha256]);
        let mut buffer = vec![0; 64 * 1024];
        file.seek(SeekFrom::Start(0))?;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let (length, hashes) = hasher.finish();
        Ok(Self { length, sha256: hashes.of(Algorithm::Sha256).unwrap_or_default().to_owned() })
    }

    pub fn of_bytes(bytes: &[u8]) -> Self {
        let hashes = Hasher::digest([Algorithm::Sha256], bytes);
        let sha256 = hashes.of(Algorithm::Sha256).unwrap_or_default().to_owned();
        Self { length: bytes.len() as u64, sha256 }
    }

    /// Tells whether a file has these bytes.
    pub fn is_in(&self, file: &File) -> io::Result<bool> {
        Ok(file.metadata()?.len() == self.length && Self::of(file)? == *self)
    }
}

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A target is in its place.
    Put { folder: Home, path: String, content: Content },
    /// A folder for targets was made, and so were the last ones above it, `last` with itself.
    Made {
        folder: Home,
        path: String,
        #[serde(default = "one")]
        last: usize,
    },
    /// A target or a folder is about to go.
    Gone { folder: Home, path: String },
    /// The file of a delegated role is in the metadata folder.
    Stored { role: RoleName, content: Content },
}

/// What the lines come to.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub put: BTreeMap<(Home, String), Content>,
    pub made: BTreeSet<(Home, String)>,
    pub stored: BTreeMap<RoleName, Content>,
    lines: usize,
}

impl Record {
    /// Reads the record of a metadata folder; where there is none it is empty.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be read.
    pub fn read(metadata: &Folder) -> io::Result<Self> {
        let mut record = Self::default();
        let Some(file) = metadata.file(NAME)? else { return Ok(record) };
        // half of it would say that what the other half names was not put, or has not gone
        if file.metadata()?.len() > LARGEST {
            let reason = format!("the record is longer than {LARGEST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        for line in BufReader::new(file.take(LARGEST)).split(b'\n') {
            // half a line is what a loss of power left
            if let Ok(line) = serde_json::from_slice(&line?) {
                record.take(line);
            }
        }
        Ok(record)
    }

    /// Makes an empty record where there is none: it also marks the folder as a client's. To be called under the lock of
    /// the metadata folder.
    ///
    /// # Errors
    /// [`io::Error`] where that fails.
    pub fn start(metadata: &Folder) -> io::Result<()> {
        if metadata.has(NAME)? {
            return Ok(());
        }
        metadata.append(NAME)?;
        metadata.sync()
    }

    fn take(&mut self, line: Line) {
        self.lines += 1;
        match line {
            Line::Put { folder, path, content } => drop(self.put.insert((folder, path), content)),
            Line::Made { folder, path, last } => {
                for above in folders_up(&path).take(last) {
                    self.made.insert((folder.clone(), above.to_owned()));
                }
            }
            Line::Gone { folder, path } => self.forget(&(folder, path)),
            Line::Stored { role, content } => drop(self.stored.insert(role, content)),
        }
    }

    /// Drops what is said of a path.
    pub fn forget(&mut self, path: &(Home, String)) {
        self.put.remove(path);
        self.made.remove(path);
    }

    /// Writes the record anew, in one step. To be called under the lock of the metadata folder.
    ///
    /// # Errors
    /// [`io::Error`] where that fails; the old one is still there then.
    pub fn write(&self, metadata: &Folder) -> io::Result<()> {
        let put = self.put.iter().map(|((folder, path), content)| Line::Put {
            folder: folder.clone(),
            path: path.clone(),
            content: content.clone(),
        });
        let made = self.chains();
        let stored = self
            .stored
            .iter()
            .map(|(role, content)| Line::Stored { role: role.clone(), content: content.clone() });
        replace(metadata, NAME, &text(put.chain(made).chain(stored))?)
    }

    /// Returns a line for each made folder that holds no other one, and the made ones above it: a line for each folder
    /// would name the upper ones again and again.
    fn chains(&self) -> impl Iterator<Item = Line> {
        let mut told: BTreeSet<(&Home, &str)> = BTreeSet::new();
        // a folder comes after those that it holds
        self.made.iter().rev().filter_map(move |(folder, path)| {
            if told.contains(&(folder, path.as_str())) {
                return None;
            }
            let is_made = |above: &&str| self.made.contains(&(folder.clone(), (*above).to_owned()));
            let last = folders_up(path).take_while(is_made).count();
            told.extend(folders_up(path).take(last).map(|above| (folder, above)));
            Some(Line::Made { folder: folder.clone(), path: path.clone(), last })
        })
    }

    /// Adds lines, durably. To be called under the lock of the metadata folder.
    ///
    /// # Errors
    /// [`io::Error`] where that fails.
    pub fn add(metadata: &Folder, lines: impl IntoIterator<Item = Line>) -> io::Result<()> {
        let mut text = text(lines)?;
        if text.is_empty() {
            return Ok(());
        }
        let mut file = metadata.append(NAME)?;
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                // the end of what a loss of power left
                text.insert(0, b'\n');
            }
        }
        file.write_all(&text)?;
        file.sync_all()?;
        metadata.sync()
    }

    /// Writes the record anew where most of its lines say nothing any more. To be called under the lock.
    ///
    /// # Errors
    /// [`io::Error`] where that fails.
    pub fn shorten(metadata: &Folder) -> io::Result<()> {
        let record = Self::read(metadata)?;
        let needed = record.put.len() + record.made.len() + record.stored.len();
        if record.lines >= WORTH_SHORTENING && record.lines / 2 > needed {
            record.write(metadata)?;
        }
        Ok(())
    }
}

fn one() -> usize {
    1
}

/// Returns the path of a folder, then those of the folders above it.
fn folders_up(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above))
}

fn text(lines: impl IntoIterator<Item = Line>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home { device: 1, inode: 2, path: "/t".to_owned() }
    }

    fn put(path: &str) -> Line {
        Line::Put { folder: home(), path: path.to_owned(), content: Content::of_bytes(path.as_bytes()) }
    }

    fn paths(folder: &Folder) -> Vec<String> {
        Record::read(folder).unwrap().put.into_keys().map(|(_, path)| path).collect()
    }

    #[test]
    fn the_last_line_about_a_path_counts() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        assert_eq!(paths(&folder), [""; 0]);
        Record::add(&folder, [put("a"), put("b")]).unwrap();
        Record::add(&folder, [Line::Gone { folder: home(), path: "a".to_owned() }, put("c")]).unwrap();
        assert_eq!(paths(&folder), ["b", "c"]);
        Record::read(&folder).unwrap().write(&folder).unwrap();
        assert_eq!(paths(&folder), ["b", "c"]);
    }

    #[test]
    fn half_a_line_is_none_and_spoils_no_other() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, [put("a")]).unwrap();
        let whole = std::fs::read(root.path().join(NAME)).unwrap();
        for tail in [&whole[..whole.len() / 2], &[0; 40], b"{\"put\":{}}"] {
            std::fs::write(root.path().join(NAME), [&whole[..], tail].concat()).unwrap();
            assert_eq!(paths(&folder), ["a"]);
            Record::add(&folder, [put("b")]).unwrap();
            assert_eq!(paths(&folder), ["a", "b"]);
        }
    }

    #[test]
    fn folders_that_were_made_for_deep_paths_cost_a_line_for_each_path() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let made = |path: &str, last| Line::Made { folder: home(), path: path.to_owned(), last };
        Record::add(&folder, [made("mine/a/b/c", 3), made("mine/a/x", 1), made("d", 1)]).unwrap();
        let paths = |record: &Record| record.made.iter().map(|(_, path)| path.clone()).collect::<Vec<_>>();
        let record = Record::read(&folder).unwrap();
        assert_eq!(paths(&record), ["d", "mine/a", "mine/a/b", "mine/a/b/c", "mine/a/x"]);
        record.write(&folder).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join(NAME)).unwrap().lines().count(), 3);
        assert_eq!(paths(&Record::read(&folder).unwrap()), paths(&record));
        // a line as it was written before
        let old = serde_json::to_string(&made("e/f", 1)).unwrap().replace(",\"last\":1", "");
        std::fs::write(root.path().join(NAME), old).unwrap();
        assert_eq!(paths(&Record::read(&folder).unwrap()), ["e/f"]);
    }

    #[test]
    fn a_record_that_is_too_long_is_refused_and_not_cut() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, [put("a")]).unwrap();
        File::options().write(true).open(root.path().join(NAME)).unwrap().set_len(LARGEST + 1).unwrap();
        assert_eq!(Record::read(&folder).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_record_does_not_grow_with_the_number_of_runs() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, (0..2000).map(|_| put("a"))).unwrap();
        Record::shorten(&folder).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join(NAME)).unwrap().lines().count(), 1);
        assert_eq!(paths(&folder), ["a"]);
    }
}
