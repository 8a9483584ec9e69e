//! Digests of files that have not changed since they were read: a derived file beside the policy, which may be deleted at
//! any time.
//!
//! An entry counts while path, length, inode, and the times of the last change of the file's bytes (mtime) and of its
//! inode (ctime) are the same. A file that was changed shortly before the cache was written could be changed again within
//! the resolution of its times, so that such entries are left out. Nothing that is checked relies on it: `write` and
//! `verify --targets` read the bytes themselves.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use super::error::{AtPath, RepositoryError};
use super::scan::{Told, copy_digested};
use crate::metadata::{Algorithm, Hashes};
use crate::storage::{Folder, ReadFiles};

/// The file, in the repository's folder.
pub(super) const CACHE: &str = ".tuf-digests";
/// What the file starts with.
const MAGIC: &[u8] = b"tuf-repo digests 1\n";
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 32;
/// From so many files or bytes on a cache is made.
const MANY_FILES: u64 = 1000;
const MANY_BYTES: u64 = 64 << 20;
/// Fewer files than these are read without it, where they are small.
const FEW_FILES: usize = 100;
/// How long before the cache was written a file must have changed last for its entry to count, in nanoseconds.
const SETTLED: i128 = 2_000_000_000;

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    inode: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Some(Self {
            length: metadata.len(),
            inode: metadata.ino(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Option<Self> {
        None
    }

    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.length.to_le_bytes());
        to.extend_from_slice(&self.inode.to_le_bytes());
        to.extend_from_slice(&self.modified.to_le_bytes());
        to.extend_from_slice(&self.changed.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (modified, rest) = rest.split_first_chunk()?;
        Some(Self {
            length: u64::from_le_bytes(*length),
            inode: u64::from_le_bytes(*inode),
            modified: i128::from_le_bytes(*modified),
            changed: i128::from_le_bytes(*rest.first_chunk()?),
        })
    }
}

/// One entry, as it lies in the file.
#[derive(Clone, Copy)]
struct Entry<'a> {
    path: &'a [u8],
    stamp: Stamp,
    /// For each algorithm one byte that tells which, and the digest.
    digests: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at a place. Returns where the next one starts, too.
    fn at(bytes: &'a [u8], place: usize) -> Option<(Self, usize)> {
        let mut rest = bytes.get(place..)?;
        let mut part = || -> Option<&'a [u8]> {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (part, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = tail;
            Some(part)
        };
        let (path, stamp, digests) = (part()?, Stamp::decode(part()?)?, part()?);
        Some((Self { path, stamp, digests }, bytes.len() - rest.len()))
    }

    fn encode(self, to: &mut Vec<u8>) {
        let mut stamp = Vec::with_capacity(48);
        self.stamp.encode(&mut stamp);
        for part in [self.path, &stamp, self.digests] {
            to.extend_from_slice(&(part.len() as u32).to_le_bytes());
            to.extend_from_slice(part);
        }
    }

    fn hashes(self, algorithms: &[Algorithm]) -> Option<Hashes> {
        let mut rest = self.digests;
        let mut found = Vec::with_capacity(algorithms.len());
        while let Some((kind, tail)) = rest.split_first() {
            let algorithm = Algorithm::ALL.get(usize::from(*kind)).copied()?;
            let (digest, tail) = tail.split_at_checked(length_of(algorithm))?;
            rest = tail;
            if algorithms.contains(&algorithm) {
                found.push((algorithm, hex::encode(digest)));
            }
        }
        (found.len() == algorithms.len()).then(|| found.into_iter().collect())
    }
}

fn length_of(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    }
}

/// The digests that are known, and those that come to be known.
#[derive(Default)]
pub(super) struct DigestCache {
    bytes: Vec<u8>,
    /// Where the entries that count start, sorted by path.
    places: Vec<usize>,
    fresh: Mutex<Vec<u8>>,
}

impl DigestCache {
    /// Reads the cache of a repository. One that is not there, or not understood, is empty.
    pub(super) fn read(repository: &Path) -> Self {
        let folder = Folder::new(repository);
        let Ok(Some(bytes)) = folder.read(CACHE, LONGEST) else { return Self::default() };
        let written = fs::metadata(folder.file(CACHE)).ok().and_then(|metadata| Stamp::of(&metadata));
        let Some(written) = written.filter(|_| bytes.starts_with(MAGIC)) else { return Self::default() };
        let mut places = Vec::new();
        let mut at = MAGIC.len();
        while at < bytes.len() {
            let Some((entry, next)) = Entry::at(&bytes, at) else { return Self::default() };
            if entry.stamp.modified.max(entry.stamp.changed) + SETTLED < written.modified {
                places.push(at);
            }
            at = next;
        }
        Self { bytes, places, fresh: Mutex::default() }
    }

    fn entry(&self, place: usize) -> Option<Entry<'_>> {
        Entry::at(&self.bytes, place).map(|(entry, _)| entry)
    }

    fn find(&self, path: &[u8]) -> Option<Entry<'_>> {
        let order = |place: &usize| self.entry(*place).map_or(&b""[..], |entry| entry.path).cmp(path);
        let found = self.places.binary_search_by(order).ok()?;
        self.entry(self.places[found])
    }

    /// Returns the length and the digests of a file, which is read only where they are not known. `told` is told the bytes
    /// as they are read, or all at once.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn digest(
        &self,
        file: &Path,
        algorithms: &[Algorithm],
        told: &(dyn Fn(u64) + Sync),
    ) -> std::io::Result<(u64, Hashes)> {
        let name = file.as_os_str().as_encoded_bytes();
        if let Some(entry) = self.find(name)
            && Stamp::of(&fs::metadata(file)?) == Some(entry.stamp)
            && let Some(hashes) = entry.hashes(algorithms)
        {
            told(entry.stamp.length);
            return Ok((entry.stamp.length, hashes));
        }
        let opened = File::open(file)?;
        let before = Stamp::of(&opened.metadata()?);
        let mut reader = Told { from: &opened, told };
        let (length, hashes) = copy_digested(&mut reader, &mut std::io::sink(), algorithms)?;
        if let Some(stamp) = before.filter(|stamp| stamp.length == length)
            && Stamp::of(&opened.metadata()?) == Some(stamp)
        {
            let mut digests = Vec::with_capacity(65);
            for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
                if let Some(digest) = hashes.of(algorithm).and_then(|digest| hex::decode(digest).ok()) {
                    digests.push(index as u8);
                    digests.extend_from_slice(&digest);
                }
            }
            let mut encoded = Vec::with_capacity(160);
            Entry { path: name, stamp, digests: &digests }.encode(&mut encoded);
            // what another thread may have left by a panic is whole entries all the same
            self.fresh.lock().unwrap_or_else(|left| left.into_inner()).extend_from_slice(&encoded);
        }
        Ok((length, hashes))
    }

    /// Reads the cache of a repository for some files. Where these are little to read, the cache is not looked at.
    pub(super) fn read_for<'f>(
        repository: &Path,
        mut files: impl ExactSizeIterator<Item = &'f Path>,
    ) -> Self {
        let few = files.len() < FEW_FILES;
        let bytes = files
            .by_ref()
            .take(FEW_FILES)
            .try_fold(0_u64, |sum, file| Some(sum + fs::metadata(file).ok()?.len()));
        let little = few && bytes.is_some_and(|bytes| bytes < MANY_BYTES);
        if little { Self::default() } else { Self::read(repository) }
    }

    /// Makes what has come to be known the new cache of a repository, with what was known of other files. Where little has
    /// been read, the cache stays as it is: reading again costs nothing, and the repository stays the same to the byte
    /// wherever the same commands are run.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn save(&self, repository: &Path) -> Result<(), RepositoryError> {
        let (mut files, mut bytes, mut at) = (0_u64, 0_u64, 0);
        {
            let fresh = self.fresh.lock().unwrap_or_else(|left| left.into_inner());
            while let Some((entry, next)) = Entry::at(&fresh, at).filter(|_| at < fresh.len()) {
                (files, bytes, at) = (files + 1, bytes + entry.stamp.length, next);
            }
        }
        if files >= MANY_FILES || bytes >= MANY_BYTES { self.write(repository) } else { Ok(()) }
    }

    fn write(&self, repository: &Path) -> Result<(), RepositoryError> {
        let fresh = self.fresh.lock().unwrap_or_else(|left| left.into_inner());
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut at = 0;
        while let Some((entry, next)) = Entry::at(&fresh, at).filter(|_| at < fresh.len()) {
            entries.push(entry);
            at = next;
        }
        entries.extend(self.places.iter().filter_map(|place| self.entry(*place)));
        // of two for one file the first is the new one
        entries.sort_by(|a, b| a.path.cmp(b.path));
        entries.dedup_by(|later, first| later.path == first.path);
        let folder = Folder::new(repository);
        let mut batch = folder.batch().at(repository)?;
        let (filled, file) = batch.create().at(folder.file(CACHE))?;
        let mut to = BufWriter::new(file);
        let mut bytes = MAGIC.to_vec();
        for entry in entries {
            entry.encode(&mut bytes);
            to.write_all(&bytes).at(&filled)?;
            bytes.clear();
        }
        to.write_all(&bytes).and_then(|()| to.flush()).at(&filled)?;
        drop(to);
        batch.place(filled, CACHE);
        batch.commit().at(repository)
    }
}

impl std::fmt::Debug for DigestCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestCache").field("entries", &self.places.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOTH: [Algorithm; 2] = Algorithm::ALL;

    /// Makes a file that has not changed for long, as far as the cache can tell: the cache is from the future.
    fn settled(dir: &Path, later: Duration) {
        let file = File::options().write(true).open(dir.join(CACHE)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now + later).unwrap();
    }

    /// Makes a cache say of every file that it has the digests of nothing.
    fn forge(dir: &Path) {
        let cache = DigestCache::read(dir);
        let mut bytes = MAGIC.to_vec();
        for place in &cache.places {
            let entry = cache.entry(*place).unwrap();
            let digests = [&[0][..], &[7; 32], &[1], &[7; 64]].concat();
            Entry { digests: &digests, ..entry }.encode(&mut bytes);
        }
        fs::write(dir.join(CACHE), bytes).unwrap();
    }

    #[test]
    fn a_file_is_read_again_only_where_it_has_changed_or_may_have() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, b"one").unwrap();
        fs::write(&two, b"two").unwrap();
        let cache = DigestCache::read(dir.path());
        let real = cache.digest(&one, &BOTH, &|_| ()).unwrap();
        cache.digest(&two, &BOTH, &|_| ()).unwrap();
        cache.save(dir.path()).unwrap();
        assert!(!dir.path().join(CACHE).exists(), "two small files are not worth it");
        cache.write(dir.path()).unwrap();
        // just written: may change within the resolution of its times
        assert!(DigestCache::read(dir.path()).places.is_empty());
        settled(dir.path(), Duration::from_secs(60));
        forge(dir.path());
        settled(dir.path(), Duration::from_secs(60));
        let forged = DigestCache::read(dir.path()).digest(&one, &BOTH, &|_| ()).unwrap();
        assert_eq!(forged.1.of(Algorithm::Sha256).unwrap(), "07".repeat(32), "known, and not read");
        // the same length, other times
        fs::write(&one, b"eno").unwrap();
        let cache = DigestCache::read(dir.path());
        assert_ne!(cache.digest(&one, &BOTH, &|_| ()).unwrap().1, forged.1);
        fs::write(&one, b"one").unwrap();
        assert_eq!(cache.digest(&one, &BOTH, &|_| ()).unwrap(), real);
        assert_eq!(cache.digest(&two, &BOTH, &|_| ()).unwrap().1, forged.1, "the other one is still known");
        fs::write(dir.path().join(CACHE), b"anything else").unwrap();
        assert_eq!(DigestCache::read(dir.path()).digest(&one, &BOTH, &|_| ()).unwrap(), real);
        fs::remove_file(dir.path().join(CACHE)).unwrap();
        assert_eq!(DigestCache::read(dir.path()).digest(&one, &BOTH, &|_| ()).unwrap(), real);
    }

    #[test]
    fn an_algorithm_that_is_not_known_yet_is_computed() {
        let dir = tempfile::tempdir().unwrap();
        let one = dir.path().join("one");
        fs::write(&one, b"one").unwrap();
        let cache = DigestCache::read(dir.path());
        cache.digest(&one, &BOTH[..1], &|_| ()).unwrap();
        cache.write(dir.path()).unwrap();
        settled(dir.path(), Duration::from_secs(60));
        let (length, hashes) = DigestCache::read(dir.path()).digest(&one, &BOTH, &|_| ()).unwrap();
        assert_eq!((length, hashes.known().count()), (3, 2));
    }
}
