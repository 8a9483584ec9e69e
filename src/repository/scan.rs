//! Target files are digested, one read each.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::metadata::{Algorithm, Computed, Hasher, Hashes};
use crate::storage::{Storage, open_regular};

/// How much of a file is in memory at a time, in bytes.
const CHUNK: usize = 256 * 1024;

/// Reads a file once and returns its length and digests.
///
/// # Errors
/// Where the file cannot be read.
pub fn digest_file(file: &Path, algorithms: &[Algorithm]) -> io::Result<(u64, Hashes)> {
    copy_digested(&mut open_regular(file)?, &mut io::sink(), algorithms)
}

/// Adds lengths up that metadata states: whoever may list targets may state any, so that the sum stops at the highest number.
pub(super) fn total_length(lengths: impl Iterator<Item = u64>) -> u64 {
    lengths.fold(0, u64::saturating_add)
}

/// Reads a stream and returns its length and digests in bytes.
///
/// # Errors
/// Where it cannot be read.
pub fn compute_digests(from: &mut impl Read, algorithms: &[Algorithm]) -> io::Result<(u64, Computed)> {
    copy_hashed(from, &mut io::sink(), algorithms).map(Hasher::compute)
}

/// Reads a file once, in a folder or a bucket, and returns its length and digests; `None` where there is none.
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
    copy_hashed(from, to, algorithms).map(Hasher::finish)
}

fn copy_hashed(from: &mut impl Read, to: &mut impl Write, algorithms: &[Algorithm]) -> io::Result<Hasher> {
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
                return Ok(hasher);
            }
            hasher.update(&buffer[..length]);
            to.write_all(&buffer[..length])?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_overflow_add_up_to_the_highest_number() {
        assert_eq!(total_length([1, 2].into_iter()), 3);
        assert_eq!(total_length([u64::MAX, u64::MAX, 1].into_iter()), u64::MAX);
    }
}
