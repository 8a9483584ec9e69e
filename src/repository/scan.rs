//! Target files are digested, on all cores, one read each.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rayon::prelude::*;

use super::digest_cache::DigestCache;
use super::error::{AtPath, RepositoryError};
use super::find::FoundTarget;
use crate::metadata::{Algorithm, Hasher, Hashes};
use crate::storage::Storage;

/// How much of a file is in memory at a time, in bytes.
const CHUNK: usize = 256 * 1024;

/// Reads a file once and returns its length and digests.
///
/// # Errors
/// Where the file cannot be read.
pub fn digest_file(file: &Path, algorithms: &[Algorithm]) -> io::Result<(u64, Hashes)> {
    copy_digested(&mut File::open(file)?, &mut io::sink(), algorithms)
}

/// Reads a file, wherever it is stored, once and returns its length and digests; `None` where there is none.
///
/// # Errors
/// Where the file cannot be read.
pub fn digest_stored(
    storage: &dyn Storage,
    name: &str,
    algorithms: &[Algorithm],
) -> io::Result<Option<(u64, Hashes)>> {
    let Some(mut file) = storage.open(name)? else { return Ok(None) };
    copy_digested(&mut file, &mut io::sink(), algorithms).map(Some)
}

/// A stream that tells the bytes that are read from it.
pub(super) struct Told<'a, R> {
    pub(super) from: R,
    pub(super) told: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        (self.told)(length as u64);
        Ok(length)
    }
}

/// Copies a stream and returns its length and digests.
///
/// # Errors
/// Where reading or writing fails.
pub fn copy_digested(
    from: &mut impl Read,
    to: &mut impl Write,
    algorithms: &[Algorithm],
) -> io::Result<(u64, Hashes)> {
    thread_local! {
        // of most files there are many and each is short: memory for a chunk costs more than to read it
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
    }
    let mut hasher = Hasher::new(algorithms.iter().copied());
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            let length = match from.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&buffer[..length]);
            to.write_all(&buffer[..length])?;
        }
    })
}

/// Digests many files on all cores, in the order given; those whose digests are known are not read. `told` is
/// told the bytes as they are read, or of a file that is not read its length.
///
/// # Errors
/// [`RepositoryError::Io`] for the first file that cannot be read.
pub fn digest_all(
    found: &[FoundTarget],
    algorithms: &[Algorithm],
    cache: &DigestCache,
    told: &(dyn Fn(u64) + Sync),
) -> Result<Vec<(u64, Hashes)>, RepositoryError> {
    let digest = |target: &FoundTarget| cache.digest(&target.file, algorithms, told).at(&target.file);
    found.par_iter().map(digest).collect()
}
