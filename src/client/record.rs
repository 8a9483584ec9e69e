//! The record of what `tuf-fetch` itself has put: a target, a folder for one, a delegated role's file.
//!
//! Nothing is ever removed without an entry here. It lies beside the trusted metadata, a line of JSON for each thing.
//! The line of a target names the very file, by device, inode and time of modification, and counts only while that file is
//! in its place. So it is added before the file is put, and taken back after the file has gone: whenever a process is
//! killed, the record neither forgets a target nor names anybody else's file. The line of a delegated role's file comes first
//! too, and names its bytes. The line of a folder is added after the folder
//! was made: one that was made when a process was killed stays for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use super::confined::Folder;
use super::unfinished::replace;
use crate::metadata::{Algorithm, Hasher, RoleName};

/// The name of the record; not `.json`, so that nobody takes it for metadata. The folder that holds it is a client's.
pub(super) const NAME: &str = ".tuf-put";
/// The largest record that is read, in bytes.
const LARGEST: u64 = 1 << 30;
/// A record of fewer bytes than this is never written anew to drop the lines that later ones have overtaken.
const WORTH_SHORTENING: u64 = 1 << 16;
/// The most files that are remembered for one path, and contents for one role: where a process was killed, an older one than
/// the last may be in the place.
const FILES_OF_A_PATH: usize = 4;

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

/// Which file it is: under the same name, and with the same bytes, somebody else's is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileMark {
    device: u64,
    inode: u64,
    /// When its bytes were changed last, in seconds and nanoseconds; a rename changes nothing of it.
    modified: (i64, i64),
}

impl FileMark {
    fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Self { device: found.dev(), inode: found.ino(), modified })
    }
}

/// A file that was put, or was about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Put {
    file: FileMark,
    content: Content,
}

impl Put {
    /// Describes a finished file that has this content.
    pub fn new(file: &File, content: Content) -> io::Result<Self> {
        Ok(Self { file: FileMark::of(file)?, content })
    }
}

/// The files that may be in one place, the last one at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files(Vec<Put>);

impl Files {
    /// Tells whether a file is one of these, as it was put.
    pub fn hold(&self, file: &File) -> io::Result<bool> {
        let mark = FileMark::of(file)?;
        match self.0.iter().find(|put| put.file == mark) {
            Some(put) => put.content.is_in(file),
            None => Ok(false),
        }
    }

    fn add(&mut self, put: Put) {
        self.0.retain(|known| known.file != put.file);
        self.0.push(put);
        let overtaken = self.0.len().saturating_sub(FILES_OF_A_PATH);
        self.0.drain(..overtaken);
    }
}

/// The contents that the file of a delegated role may have, the last one at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(Vec<Content>);

impl Contents {
    /// Tells whether a file with these bytes is as it was stored.
    pub fn hold(&self, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        self.0.iter().any(|content| content.length == length) && self.0.contains(&Content::of_bytes(bytes))
    }

    fn add(&mut self, content: Content) {
        self.0.retain(|known| *known != content);
        self.0.push(content);
        let overtaken = self.0.len().saturating_sub(FILES_OF_A_PATH);
        self.0.drain(..overtaken);
    }
}

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// This very file is about to be put in the place of a target.
    Put { folder: Home, path: String, put: Put },
    /// A folder for targets was made, and so were those above it: their inodes, the lowest folder's first.
    Made { folder: Home, path: String, inodes: Vec<u64> },
    /// A target has gone. A folder may have its place by now.
    Gone { folder: Home, path: String },
    /// A folder that was made has gone. A target may have its place by now.
    Unmade { folder: Home, path: String },
    /// The file of a delegated role is about to be stored in the metadata folder.
    Stored { role: RoleName, content: Content },
}

/// What the lines come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub put: BTreeMap<(Home, String), Files>,
    /// Folders, with their inodes.
    pub made: BTreeMap<(Home, String), u64>,
    pub stored: BTreeMap<RoleName, Contents>,
    lines: usize,
}

impl Record {
    /// Reads the record of a metadata folder; where there is none it is empty.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be read, or a line of it: what that line said of a file is not guessed.
    pub fn read(metadata: &Folder) -> io::Result<Self> {
        let mut record = Self::default();
        let Some(file) = metadata.file(NAME)? else { return Ok(record) };
        // half of it would say that what the other half names was not put, or has not gone
        if file.metadata()?.len() > LARGEST {
            return Err(invalid(format!("the record is longer than {LARGEST} bytes")));
        }
        let (mut reader, mut line) = (BufReader::new(file.take(LARGEST)), Vec::new());
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            // without its end it was never whole: a loss of power, or a writer that is still at it
            let Some(text) = line.strip_suffix(b"\n") else { return Ok(record) };
            let number = record.lines + 1;
            let line = serde_json::from_slice(text);
            record.take(line.map_err(|error| invalid(format!("line {number} cannot be read: {error}")))?);
        }
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
            Line::Put { folder, path, put } => self.put.entry((folder, path)).or_default().add(put),
            Line::Made { folder, path, inodes } => {
                for (above, inode) in folders_up(&path).zip(inodes) {
                    self.made.insert((folder.clone(), above.to_owned()), inode);
                }
            }
            Line::Gone { folder, path } => drop(self.put.remove(&(folder, path))),
            Line::Unmade { folder, path } => drop(self.made.remove(&(folder, path))),
            Line::Stored { role, content } => self.stored.entry(role).or_default().add(content),
        }
    }

    /// Writes the record anew, in one step. To be called under the lock of the metadata folder.
    ///
    /// # Errors
    /// [`io::Error`] where that fails; the old one is still there then.
    pub fn write(&self, metadata: &Folder) -> io::Result<()> {
        let put = self.put.iter().flat_map(|((folder, path), files)| {
            let line = |put: &Put| Line::Put { folder: folder.clone(), path: path.clone(), put: put.clone() };
            files.0.iter().map(line)
        });
        let stored = self.stored.iter().flat_map(|(role, contents)| {
            let line = |content: &Content| Line::Stored { role: role.clone(), content: content.clone() };
            contents.0.iter().map(line)
        });
        replace(metadata, NAME, &text(put.chain(self.chains()).chain(stored))?)
    }

    /// Returns a line for each made folder that holds no other one, and the made ones above it: a line for each folder
    /// would name the upper ones again and again.
    fn chains(&self) -> impl Iterator<Item = Line> {
        let mut told: BTreeSet<(&Home, &str)> = BTreeSet::new();
        // a folder comes after those that it holds
        self.made.keys().rev().filter_map(move |(folder, path)| {
            if told.contains(&(folder, path.as_str())) {
                return None;
            }
            let inode = |above: &str| self.made.get(&(folder.clone(), above.to_owned())).copied();
            let inodes: Vec<u64> = folders_up(path).map_while(inode).collect();
            told.extend(folders_up(path).take(inodes.len()).map(|above| (folder, above)));
            Some(Line::Made { folder: folder.clone(), path: path.clone(), inodes })
        })
    }

    /// Adds lines, durably. To be called under the lock of the metadata folder.
    ///
    /// The record is written anew, without what later lines have overtaken, where its length comes to twice what it was
    /// when that was thought of last: all together that costs no more than a few readings of the lines that were added.
    ///
    /// # Errors
    /// [`io::Error`] where that fails.
    pub fn add(metadata: &Folder, lines: impl IntoIterator<Item = Line>) -> io::Result<()> {
        if Self::note(metadata, lines)? { Self::sync(metadata) } else { Ok(()) }
    }

    /// Makes sure that the record survives a loss of power.
    ///
    /// # Errors
    /// [`io::Error`] where that fails.
    pub fn sync(metadata: &Folder) -> io::Result<()> {
        metadata.append(NAME)?.sync_all()?;
        metadata.sync()
    }

    /// Adds lines as [`Self::add`] does, so that they survive the process but not a loss of power, and tells whether there were
    /// any.
    ///
    /// # Errors
    /// [`io::Error`] where that fails.
    pub fn note(metadata: &Folder, lines: impl IntoIterator<Item = Line>) -> io::Result<bool> {
        let text = text(lines)?;
        if text.is_empty() {
            return Ok(false);
        }
        let mut file = open_to_add(metadata)?;
        let whole = length_of_whole_lines(&mut file)?;
        // what a loss of power left of a line says nothing
        file.set_len(whole)?;
        file.write_all(&text)?;
        let doublings = |length: u64| length.max(WORTH_SHORTENING).ilog2();
        if doublings(whole) < doublings(whole + text.len() as u64) {
            file.sync_all()?;
            Self::shorten(metadata)?;
        }
        Ok(true)
    }

    /// Writes the record anew where most of its lines say nothing any more.
    fn shorten(metadata: &Folder) -> io::Result<()> {
        let record = Self::read(metadata)?;
        let put: usize = record.put.values().map(|files| files.0.len()).sum();
        let stored: usize = record.stored.values().map(|contents| contents.0.len()).sum();
        if record.lines / 2 > put + record.made.len() + stored {
            record.write(metadata)?;
        }
        Ok(())
    }
}

/// Opens the record for lines at its end. One that has a second name, in a backup say, is copied first: that one stays as it is.
/// So is one that another user of a shared folder has begun, which only he may write to.
fn open_to_add(metadata: &Folder) -> io::Result<File> {
    let mut file = match metadata.append(NAME) {
        Ok(file) if file.metadata()?.nlink() == 1 => return Ok(file),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => metadata.file(NAME)?.ok_or(error)?,
        opened => opened?,
    };
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(invalid(format!("the record is longer than {LARGEST} bytes")));
    }
    replace(metadata, NAME, &bytes)?;
    metadata.append(NAME)
}

/// Returns the paths of a folder and of those above it.
fn folders_up(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above))
}

/// Returns how many bytes of a file are lines with their ends.
fn length_of_whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(4096);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
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

    fn mark(inode: u64) -> FileMark {
        FileMark { device: 1, inode, modified: (3, 4) }
    }

    fn put_again(path: &str, inode: u64) -> Line {
        let put = Put { file: mark(inode), content: Content::of_bytes(path.as_bytes()) };
        Line::Put { folder: home(), path: path.to_owned(), put }
    }

    fn put(path: &str) -> Line {
        put_again(path, 5)
    }

    /// A client that was killed between the line and the file has left the older file.
    #[test]
    fn the_older_file_of_a_role_is_known_too_where_the_newer_one_was_only_about_to_be_stored() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let role = RoleName::new("evil").unwrap();
        let stored = |bytes: &[u8]| Line::Stored { role: role.clone(), content: Content::of_bytes(bytes) };
        let holds = |bytes: &[u8]| Record::read(&folder).unwrap().stored[&role].hold(bytes);
        Record::note(&folder, [stored(b"1")]).unwrap();
        Record::note(&folder, [stored(b"2")]).unwrap();
        assert!(holds(b"1") && holds(b"2") && !holds(b"3") && !holds(b""));
        Record::read(&folder).unwrap().write(&folder).unwrap();
        assert!(holds(b"1") && holds(b"2"));
        // of many the last few
        Record::note(&folder, (0..9_u8).map(|index| stored(&[index; 3]))).unwrap();
        assert!(holds(&[8; 3]) && holds(&[5; 3]) && !holds(&[4; 3]) && !holds(b"1"));
    }

    fn gone(path: &str) -> Line {
        Line::Gone { folder: home(), path: path.to_owned() }
    }

    fn paths(folder: &Folder) -> Vec<String> {
        Record::read(folder).unwrap().put.into_keys().map(|(_, path)| path).collect()
    }

    #[test]
    fn a_backup_that_is_a_second_name_of_the_record_does_not_grow() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, [put("a")]).unwrap();
        let backup = root.path().join("backup");
        std::fs::hard_link(root.path().join(NAME), &backup).unwrap();
        let before = std::fs::read(&backup).unwrap();
        Record::add(&folder, [put("b")]).unwrap();
        assert_eq!(paths(&folder), ["a", "b"]);
        assert_eq!(std::fs::read(&backup).unwrap(), before);
    }

    #[test]
    fn the_last_line_about_a_path_counts() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        assert_eq!(paths(&folder), [""; 0]);
        Record::add(&folder, [put("a"), put("b")]).unwrap();
        Record::add(&folder, [gone("a"), put("c")]).unwrap();
        assert_eq!(paths(&folder), ["b", "c"]);
        Record::read(&folder).unwrap().write(&folder).unwrap();
        assert_eq!(paths(&folder), ["b", "c"]);
    }

    /// A client that was killed before it could rename has left the file before in the place.
    #[test]
    fn the_files_that_may_be_in_a_place_are_known_and_nobody_elses_with_the_same_bytes() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let file = |name: &str| {
            std::fs::write(root.path().join(name), b"bytes").unwrap();
            File::open(root.path().join(name)).unwrap()
        };
        let (first, second, foreign) = (file("first"), file("second"), file("foreign"));
        let line = |file: &File| {
            let put = Put::new(file, Content::of_bytes(b"bytes")).unwrap();
            Line::Put { folder: home(), path: "a".to_owned(), put }
        };
        Record::add(&folder, [line(&first), line(&second), line(&second)]).unwrap();
        let files = || Record::read(&folder).unwrap().put.remove(&(home(), "a".to_owned())).unwrap();
        for _ in 0..2 {
            assert!(files().hold(&first).unwrap() && files().hold(&second).unwrap());
            assert!(!files().hold(&foreign).unwrap());
            Record::read(&folder).unwrap().write(&folder).unwrap();
        }
        std::fs::write(root.path().join("first"), b"BYTES").unwrap();
        assert!(!files().hold(&first).unwrap());
        Record::add(&folder, (10..14).map(|inode| put_again("a", inode))).unwrap();
        assert!(!files().hold(&second).unwrap(), "the list of files of one path has an end");
    }

    #[test]
    fn what_a_loss_of_power_left_of_a_line_is_none_and_spoils_no_other() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, [put("a")]).unwrap();
        let whole = std::fs::read(root.path().join(NAME)).unwrap();
        for tail in [&whole[..whole.len() / 2], &[0; 40], b"{\"put\":{}}", &[0; 9000]] {
            std::fs::write(root.path().join(NAME), [&whole[..], tail].concat()).unwrap();
            assert_eq!(paths(&folder), ["a"]);
            Record::add(&folder, [put("b")]).unwrap();
            assert_eq!(paths(&folder), ["a", "b"]);
        }
        std::fs::write(root.path().join(NAME), &whole[..whole.len() / 2]).unwrap();
        Record::add(&folder, [put("b")]).unwrap();
        assert_eq!(paths(&folder), ["b"]);
    }

    #[test]
    fn a_whole_line_that_cannot_be_read_is_refused_by_its_number_and_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, [put("a")]).unwrap();
        let whole = std::fs::read(root.path().join(NAME)).unwrap();
        for line in [&b"{}\n"[..], b"\n", &whole[1..], b"{\"took\":{}}\n", b"\0\0\0\n", b"\xff\xfe\n"] {
            for after in [&b""[..], &whole] {
                let bytes = [&whole[..], line, after].concat();
                std::fs::write(root.path().join(NAME), &bytes).unwrap();
                let error = Record::read(&folder).unwrap_err();
                assert!(error.to_string().starts_with("line 2 cannot be read: "), "{error}");
                assert_eq!(std::fs::read(root.path().join(NAME)).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn folders_that_were_made_for_deep_paths_cost_a_line_for_each_path() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let made = |path: &str, inodes: &[u64]| Line::Made {
            folder: home(),
            path: path.to_owned(),
            inodes: inodes.to_vec(),
        };
        let lines = [made("mine/a/b/c", &[3, 2, 1]), made("mine/a/x", &[4]), made("d", &[5])];
        Record::add(&folder, lines).unwrap();
        let known = |record: Record| {
            record.made.into_iter().map(|((_, path), inode)| format!("{path} {inode}")).collect::<Vec<_>>()
        };
        let expected = ["d 5", "mine/a 1", "mine/a/b 2", "mine/a/b/c 3", "mine/a/x 4"];
        assert_eq!(known(Record::read(&folder).unwrap()), expected);
        Record::read(&folder).unwrap().write(&folder).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join(NAME)).unwrap().lines().count(), 3);
        assert_eq!(known(Record::read(&folder).unwrap()), expected);
    }

    #[test]
    fn a_target_that_comes_to_the_place_of_a_folder_is_known_whatever_is_said_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Record::add(&folder, [Line::Made { folder: home(), path: "a".to_owned(), inodes: vec![1] }]).unwrap();
        Record::add(&folder, [put("a"), Line::Unmade { folder: home(), path: "a".to_owned() }]).unwrap();
        let record = Record::read(&folder).unwrap();
        assert_eq!((record.put.len(), record.made.len()), (1, 0));
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
        let length = || std::fs::metadata(root.path().join(NAME)).unwrap().len();
        for _ in 0..40 {
            Record::add(&folder, (0..100).map(|_| put("a"))).unwrap();
            assert!(length() <= 2 * WORTH_SHORTENING, "{}", length());
            assert_eq!(paths(&folder), ["a"]);
        }
    }

    /// To read it after each few targets cost the square of their number.
    #[test]
    fn a_record_is_written_anew_a_few_times_while_it_grows_and_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let inode = || std::fs::metadata(root.path().join(NAME)).map(|found| found.ino()).unwrap_or_default();
        let (mut writings, mut before) = (0, inode());
        for batch in 0..200 {
            let lines = (0..20).flat_map(|index| {
                let path = format!("{batch}/{index}");
                // of each file three lines, and of every other one none in the end
                let end = if index % 2 == 0 { gone(&path) } else { put(&path) };
                [put(&path), put(&path), end]
            });
            Record::add(&folder, lines).unwrap();
            writings += usize::from(inode() != before);
            before = inode();
        }
        assert!((2..=12).contains(&writings), "{writings}");
        assert_eq!(paths(&folder).len(), 200 * 10);
    }
}
