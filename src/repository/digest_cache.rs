//! Digests of files that have not changed since they were read: a derived file beside the policy, which may be deleted at
//! any time.
//!
//! An entry counts while path, length, inode, and the times of the last change of the file's bytes (mtime) and of its
//! inode (ctime) are the same. A file that was changed shortly before the cache was written could be changed again within
//! the resolution of its times, so that such entries are left out. Nothing that is checked relies on it: `write` and
//! `verify --targets` read the bytes themselves.
//!
//! The entries are sorted by path, as the files are that are looked for.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Stat, fstat};

use super::error::{AtPath, RepositoryError};
use super::find::FoundTarget;
use super::scan::{Told, compute_digests};
use crate::metadata::{Algorithm, Computed};
use crate::storage::{Folder, ReadFiles};

/// The file, in the repository's folder.
pub(super) const CACHE: &str = ".tuf-digests";
/// What the file starts with.
const MAGIC: &[u8] = b"tuf-repo digests 2\n";
/// The longest file that is read, in bytes: places in it are of 32 bits.
const LONGEST: u64 = u32::MAX as u64;
/// From this many files or bytes on a cache is made.
const MANY_FILES: usize = 1000;
const MANY_BYTES: u64 = 64 << 20;
/// Fewer files than these are read without it, where they are small.
const FEW_FILES: usize = 100;
/// How long before the cache was written a file must have changed last for its entry to count, in nanoseconds.
const SETTLED: i64 = 2_000_000_000;

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    inode: u64,
    /// In nanoseconds since 1970.
    modified: i64,
    changed: i64,
}

impl Stamp {
    /// Returns what a file is; `None` of times that are centuries away, and of a time of change in whole seconds: file systems
    /// whose times were made up, such as images, have those, and there another file may have the same.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        let nanoseconds =
            |seconds: i64, rest| seconds.checked_mul(1_000_000_000)?.checked_add(i64::try_from(rest).ok()?);
        Some(Self {
            length: u64::try_from(stat.st_size).ok()?,
            inode: stat.st_ino,
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec)?,
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec)
                .filter(|time| time % 1_000_000_000 != 0)?,
        })
    }

    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.length.to_le_bytes());
        to.extend_from_slice(&self.inode.to_le_bytes());
        to.extend_from_slice(&self.modified.to_le_bytes());
        to.extend_from_slice(&self.changed.to_le_bytes());
    }

    fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let [length, inode, modified, changed] = bytes.as_chunks::<8>().0 else { return None };
        Some(Self {
            length: u64::from_le_bytes(*length),
            inode: u64::from_le_bytes(*inode),
            modified: i64::from_le_bytes(*modified),
            changed: i64::from_le_bytes(*changed),
        })
    }
}

/// One entry, as it lies in the file.
#[derive(Clone, Copy)]
struct Entry<'a> {
    path: &'a [u8],
    stamp: &'a [u8; 32],
    /// For each algorithm that is known one bit, the first one lowest; then the digests.
    digests: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of some bytes. Returns those behind it, too.
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (path, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (stamp, rest) = rest.split_first_chunk::<32>()?;
        let kinds = rest.first()?;
        let known = Algorithm::ALL.iter().enumerate().filter(|(index, _)| kinds >> index & 1 == 1);
        let length = known.map(|(_, algorithm)| length_of(*algorithm)).sum::<usize>();
        let (digests, rest) = rest.split_at_checked(1 + length)?;
        Some((Self { path, stamp, digests }, rest))
    }

    /// Returns the digests by some algorithms; `None` where one is not there.
    fn digests(self, algorithms: &[Algorithm]) -> Option<Computed> {
        let (kinds, mut rest) = self.digests.split_first()?;
        let mut found = Computed::default();
        for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            let is_known = kinds >> index & 1 == 1;
            let (digest, tail) = rest.split_at_checked(if is_known { length_of(algorithm) } else { 0 })?;
            rest = tail;
            if algorithms.contains(&algorithm) {
                found.insert(algorithm, is_known.then_some(digest)?);
            }
        }
        Some(found)
    }

    /// Returns the bytes of this entry.
    fn copy(self, to: &mut Vec<u8>) {
        // what was read from a file fits again
        to.extend_from_slice(&(self.path.len() as u16).to_le_bytes());
        to.extend_from_slice(self.path);
        to.extend_from_slice(self.stamp);
        to.extend_from_slice(self.digests);
    }
}

fn length_of(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    }
}

/// A file's length and digests.
#[derive(Clone)]
pub(super) struct Digested {
    pub(super) length: u64,
    pub(super) digests: Computed,
    /// What the file was when it had these; nothing where it changed meanwhile.
    stamp: Option<Stamp>,
    /// Whether it was read to know.
    pub(super) read: bool,
}

impl Digested {
    /// Writes an entry of a file with a path that is not too long.
    fn encode(&self, path: &[u8], stamp: Stamp, to: &mut Vec<u8>) {
        to.extend_from_slice(&(path.len() as u16).to_le_bytes());
        to.extend_from_slice(path);
        stamp.encode(to);
        let kinds = to.len();
        to.push(0);
        for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            if let Some(digest) = self.digests.of(algorithm) {
                to[kinds] |= 1 << index;
                to.extend_from_slice(digest);
            }
        }
    }
}

/// What a file is called here: as a target, or by its absolute path where it is elsewhere.
fn key(found: &FoundTarget) -> Cow<'_, [u8]> {
    match found.in_place {
        true => Cow::Borrowed(found.path.as_str().as_bytes()),
        false => Cow::Owned(found.file().into_os_string().into_encoded_bytes()),
    }
}

/// The digests that are known.
#[derive(Default)]
pub(super) struct DigestCache {
    bytes: Vec<u8>,
    /// Where the entries that count start, sorted by path.
    places: Vec<u32>,
}

impl DigestCache {
    /// Tells whether there is a cache for the repository of a folder of targets.
    pub(super) fn is_beside(targets: &Path) -> bool {
        targets.with_file_name(CACHE).exists()
    }

    /// Reads the cache of a repository. One that is not there, or not understood, is empty.
    fn read(repository: &Path) -> Self {
        Self::understood(repository).unwrap_or_default()
    }

    fn understood(repository: &Path) -> Option<Self> {
        let folder = Folder::new(repository);
        let bytes = folder.read(CACHE, LONGEST).ok()??;
        let written = Stamp::of(&rustix::fs::stat(folder.file(CACHE)).ok()?)?.modified;
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let mut places = Vec::with_capacity(rest.len() / 64);
        let mut last: Option<&[u8]> = None;
        while !rest.is_empty() {
            let at = u32::try_from(bytes.len() - rest.len()).ok()?;
            let (entry, behind) = Entry::first(rest)?;
            if last.is_some_and(|last| last >= entry.path) {
                return None;
            }
            let stamp = Stamp::decode(entry.stamp)?;
            if stamp.modified.max(stamp.changed).checked_add(SETTLED).is_some_and(|settled| settled < written)
            {
                places.push(at);
            }
            (last, rest) = (Some(entry.path), behind);
        }
        Some(Self { bytes, places })
    }

    /// Reads the cache of the repository of a folder of targets.
    pub(super) fn read_beside(targets: &Path) -> Self {
        targets.parent().map(Self::read).unwrap_or_default()
    }

    /// Reads the cache as [`DigestCache::read_beside`] does, unless these files are little to read.
    pub(super) fn read_for(targets: &Path, found: &[FoundTarget]) -> Self {
        let bytes = found.iter().try_fold(0_u64, |sum, target| sum.checked_add(target.stamp?.length));
        let little = found.len() < FEW_FILES && bytes.is_some_and(|bytes| bytes < MANY_BYTES);
        if little { Self::default() } else { Self::read_beside(targets) }
    }

    fn entry(&self, index: usize) -> Option<Entry<'_>> {
        Some(Entry::first(self.bytes.get(*self.places.get(index)? as usize..)?)?.0)
    }

    /// Finds the entry of a path, and its index; `next` is that nearly always.
    fn find(&self, next: usize, path: &[u8]) -> Option<(usize, Entry<'_>)> {
        if let Some(entry) = self.entry(next).filter(|entry| entry.path == path) {
            return Some((next, entry));
        }
        let (mut low, mut high) = (0, self.places.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle)?;
            match entry.path.cmp(path) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some((middle, entry)),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Starts to look up files, one after the other.
    pub(super) fn look_up<'c>(&'c self, algorithms: &'c [Algorithm]) -> LookUp<'c> {
        LookUp { cache: self, algorithms, next: 0, bytes: 0 }
    }

    /// Returns the cache as it is from now on, of what was read and of what was known. `None` where little has been read, and
    /// the cache stays as it is: reading again costs nothing, and the repository stays the same to the byte wherever the same
    /// commands are run.
    pub(super) fn renewed<'r>(
        &self,
        read: impl Iterator<Item = (&'r FoundTarget, &'r Digested)> + Clone,
    ) -> Option<Vec<u8>> {
        let bytes: u64 = read.clone().map(|(_, digested)| digested.length).sum();
        (bytes >= MANY_BYTES || read.clone().count() >= MANY_FILES).then(|| self.with(read))
    }

    fn with<'r>(&self, read: impl Iterator<Item = (&'r FoundTarget, &'r Digested)>) -> Vec<u8> {
        let stamped = |(target, digested): (_, &'r Digested)| Some((key(target), digested, digested.stamp?));
        let mut new: Vec<(Cow<'_, [u8]>, &Digested, Stamp)> = read.filter_map(stamped).collect();
        new.retain(|(path, ..)| path.len() <= usize::from(u16::MAX));
        new.sort_by(|a, b| a.0.cmp(&b.0));
        // one file may become several targets
        new.dedup_by(|later, first| later.0 == first.0);
        // without SHA-512, which few want
        let length: usize = new.iter().map(|(path, ..)| path.len() + 67).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.bytes.len() + length);
        bytes.extend_from_slice(MAGIC);
        let mut new = new.into_iter().peekable();
        for entry in (0..self.places.len()).filter_map(|index| self.entry(index)) {
            while let Some((path, digested, stamp)) = new.next_if(|(path, ..)| **path < *entry.path) {
                digested.encode(&path, stamp, &mut bytes);
            }
            // what is known by now is put in its place
            if new.peek().is_none_or(|(path, ..)| **path != *entry.path) {
                entry.copy(&mut bytes);
            }
        }
        for (path, digested, stamp) in new {
            digested.encode(&path, stamp, &mut bytes);
        }
        bytes
    }
}

/// Looks up files that follow one another.
pub(super) struct LookUp<'c> {
    cache: &'c DigestCache,
    algorithms: &'c [Algorithm],
    /// Where the next file stands nearly always.
    next: usize,
    /// How long the files are together that were not read.
    pub(super) bytes: u64,
}

impl LookUp<'_> {
    /// Digests a file, which is read where its digests are not known; `told` is told the bytes as they are read then.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] where it cannot be read.
    pub(super) fn digest(
        &mut self,
        target: &FoundTarget,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<Digested, RepositoryError> {
        let (cache, algorithms) = (self.cache, self.algorithms);
        if let Some(stamp) = target.stamp
            && let Some((index, entry)) = cache.find(self.next, &key(target))
        {
            self.next = index + 1;
            if Stamp::decode(entry.stamp) == Some(stamp)
                && let Some(digests) = entry.digests(algorithms)
            {
                self.bytes += stamp.length;
                return Ok(Digested { length: stamp.length, digests, stamp: Some(stamp), read: false });
            }
        }
        let file = target.file();
        read(&file, algorithms, told).at(file)
    }
}

fn read(file: &Path, algorithms: &[Algorithm], told: &(dyn Fn(u64) + Sync)) -> io::Result<Digested> {
    let file = File::open(file)?;
    let before = Stamp::of(&fstat(&file)?);
    let (length, digests) = compute_digests(&mut Told { from: &file, told }, algorithms)?;
    let stamp = before.filter(|stamp| stamp.length == length);
    let stamp = if stamp == Stamp::of(&fstat(&file)?) { stamp } else { None };
    Ok(Digested { length, digests, stamp, read: true })
}

/// Makes bytes the cache of a repository.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn save(repository: &Path, cache: &[u8]) -> Result<(), RepositoryError> {
    let folder = Folder::new(repository);
    let mut batch = folder.batch().at(repository)?;
    batch.put(CACHE, cache).at(folder.file(CACHE))?;
    batch.commit().at(repository)
}

impl std::fmt::Debug for DigestCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestCache").field("entries", &self.places.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::find::{Symlinks, TargetSource, Walk, find_targets};
    use super::*;

    const BOTH: [Algorithm; 2] = Algorithm::ALL;

    /// A repository as far as the cache needs one: with a folder of targets that has two files.
    fn scene() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("targets")).unwrap();
        for name in ["one", "two"] {
            fs::write(dir.path().join("targets").join(name), name).unwrap();
        }
        dir
    }

    /// Finds the files of a folder, under a prefix where they are not in place.
    fn find(dir: &Path, folder: &Path, prefix: Option<&str>) -> Vec<FoundTarget> {
        let targets = dir.join("targets");
        let (walk, symlinks) = (Walk::Recursive, Symlinks::Refuse);
        let source = TargetSource { targets: &targets, base: None, prefix, walk, symlinks };
        find_targets(&[folder.to_owned()], &source).unwrap().targets
    }

    fn found(dir: &Path) -> Vec<FoundTarget> {
        find(dir, &dir.join("targets"), None)
    }

    /// Reads what is not known, and notes it. Returns the digests by SHA-256, and how many files were read.
    fn digest_now(dir: &Path, found: &[FoundTarget], algorithms: &[Algorithm]) -> (Vec<String>, usize) {
        let cache = DigestCache::read(dir);
        let mut look_up = cache.look_up(algorithms);
        let all: Vec<Digested> =
            found.iter().map(|target| look_up.digest(target, &|_| ()).unwrap()).collect();
        let read = found.iter().zip(&all).filter(|(_, digested)| digested.read);
        assert!(cache.renewed(read.clone()).is_none(), "two small files are not worth it");
        save(dir, &cache.with(read.clone())).unwrap();
        let sha256 =
            all.iter().filter_map(|digested| digested.digests.of(BOTH[0]).map(hex::encode)).collect();
        (sha256, read.count())
    }

    /// As [`digest_now`], of files that have not changed for long.
    fn digest(dir: &Path, found: &[FoundTarget], algorithms: &[Algorithm]) -> (Vec<String>, usize) {
        let digested = digest_now(dir, found, algorithms);
        settle(dir);
        digested
    }

    /// Makes all files such that have not changed for long, as far as the cache can tell: it is from the future.
    fn settle(dir: &Path) {
        let file = File::options().write(true).open(dir.join(CACHE)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now + Duration::from_secs(60)).unwrap();
    }

    /// Makes a cache say of every file that it has other digests.
    fn forge(dir: &Path) {
        let cache = DigestCache::read(dir);
        let mut bytes = MAGIC.to_vec();
        for index in 0..cache.places.len() {
            let digests = [&[3][..], &[7; 32], &[7; 64]].concat();
            Entry { digests: &digests, ..cache.entry(index).unwrap() }.copy(&mut bytes);
        }
        fs::write(dir.join(CACHE), bytes).unwrap();
        settle(dir);
    }

    #[test]
    fn a_file_is_read_again_only_where_it_has_changed() {
        let dir = scene();
        let dir = dir.path();
        let (real, read) = digest(dir, &found(dir), &BOTH);
        assert_eq!(read, 2);
        assert_eq!(digest(dir, &found(dir), &BOTH), (real.clone(), 0));
        forge(dir);
        let forged = "07".repeat(32);
        assert_eq!(digest(dir, &found(dir), &BOTH), (vec![forged.clone(); 2], 0), "known, and not read");
        // the same length, other times
        fs::write(dir.join("targets/one"), b"eno").unwrap();
        let (now, read) = digest(dir, &found(dir), &BOTH);
        assert_eq!((read, &now[1]), (1, &forged), "the other one is still known");
        assert!(now[0] != forged && now[0] != real[0]);
        fs::write(dir.join(CACHE), b"anything else").unwrap();
        assert_eq!(digest(dir, &found(dir), &BOTH).1, 2);
        fs::remove_file(dir.join(CACHE)).unwrap();
        assert_eq!(digest(dir, &found(dir), &BOTH).1, 2);
    }

    #[test]
    fn a_file_that_may_change_within_the_resolution_of_its_times_is_read_again() {
        let dir = scene();
        let dir = dir.path();
        assert_eq!(digest_now(dir, &found(dir), &BOTH).1, 2);
        assert!(DigestCache::read(dir).places.is_empty());
        settle(dir);
        assert_eq!(DigestCache::read(dir).places.len(), 2);
    }

    #[test]
    fn an_algorithm_that_is_not_known_yet_is_computed() {
        let dir = scene();
        assert_eq!(digest(dir.path(), &found(dir.path()), &BOTH[..1]).1, 2);
        assert_eq!(digest(dir.path(), &found(dir.path()), &BOTH[..1]).1, 0);
        assert_eq!(digest(dir.path(), &found(dir.path()), &BOTH).1, 2);
        assert_eq!(digest(dir.path(), &found(dir.path()), &BOTH[1..]).1, 0);
    }

    #[test]
    fn files_in_place_and_from_elsewhere_are_known_side_by_side() {
        let (dir, other) = (scene(), scene());
        let dir = dir.path();
        assert_eq!(digest(dir, &found(dir), &BOTH).1, 2);
        // the same names, first without a cache that could know them
        let outside: PathBuf = other.path().join("targets");
        assert_eq!(digest(dir, &find(dir, &outside, Some("p")), &BOTH).1, 2);
        fs::write(dir.join("targets/three"), b"three").unwrap();
        assert_eq!(digest(dir, &found(dir), &BOTH).1, 1);
        assert_eq!(digest(dir, &find(dir, &outside, Some("p")), &BOTH).1, 0);
        assert_eq!(digest(dir, &found(dir), &BOTH).1, 0);
        assert_eq!(DigestCache::read(dir).places.len(), 5);
    }

    #[test]
    fn a_time_of_change_that_was_made_up_tells_nothing() {
        let dir = scene();
        let mut stat = rustix::fs::stat(dir.path().join("targets/one")).unwrap();
        stat.st_ctime_nsec = 1;
        assert!(Stamp::of(&stat).is_some());
        // two images mounted one after the other may hold files of one length, inode and time
        stat.st_ctime_nsec = 0;
        assert!(Stamp::of(&stat).is_none());
    }

    #[test]
    fn one_file_that_becomes_two_targets_has_one_entry() {
        let (dir, other) = (scene(), tempfile::tempdir().unwrap());
        let outside = other.path().join("d");
        fs::create_dir_all(outside.join("sub")).unwrap();
        for name in ["one", "sub/two"] {
            fs::write(outside.join(name), name).unwrap();
        }
        let targets = dir.path().join("targets");
        let (walk, symlinks) = (Walk::Recursive, Symlinks::Refuse);
        let source = TargetSource { targets: &targets, base: None, prefix: Some("z"), walk, symlinks };
        let find = || find_targets(&[outside.clone(), outside.join("sub")], &source).unwrap().targets;
        assert_eq!((find().len(), digest(dir.path(), &find(), &BOTH).1), (3, 3));
        assert_eq!(digest(dir.path(), &find(), &BOTH).1, 0);
    }

    #[test]
    fn a_cache_that_was_cut_or_is_not_in_order_is_none() {
        let dir = scene();
        let dir = dir.path();
        digest(dir, &found(dir), &BOTH);
        let whole = fs::read(dir.join(CACHE)).unwrap();
        for length in MAGIC.len() + 1..whole.len() {
            fs::write(dir.join(CACHE), &whole[..length]).unwrap();
            settle(dir);
            let cache = DigestCache::read(dir);
            // cut between two entries it is one of fewer files
            assert!(cache.places.is_empty() || cache.bytes.len() == length && cache.places.len() == 1);
        }
        let twice = [&whole[..], &whole[MAGIC.len()..]].concat();
        fs::write(dir.join(CACHE), twice).unwrap();
        settle(dir);
        assert!(DigestCache::read(dir).places.is_empty(), "its entries are not in order");
    }
}
