//! One target on its way from a mirror into an unfinished file: digested as it comes, taken up where it broke, judged
//! at its end.
//!
//! Bytes of an earlier run or of a connection that broke are only a guess at the beginning of the file: where the whole
//! is not what metadata says, it is downloaded once more from its start.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use url::Url;

use super::digesting::Digesting;
use super::{ClientError, FetchCause, FetchError, Repository, Sink, Updater, urls};
use crate::metadata::{Mismatch, TargetFile, TargetPath};

/// Hears how many more bytes of a target are there.
pub type OnBytes<'a> = &'a (dyn Fn(u64) + Sync);

/// A target that is being downloaded.
pub(super) struct Transfer<'a> {
    file: &'a mut File,
    info: &'a TargetFile,
    digesting: Digesting,
    have: u64,
    /// At how many places bytes of different requests meet.
    joints: u32,
    /// How many bytes have been told already.
    told: u64,
    progress: OnBytes<'a>,
}

impl<'a> Transfer<'a> {
    /// Takes up what a file holds.
    pub fn new(file: &'a mut File, info: &'a TargetFile, progress: OnBytes<'a>) -> io::Result<Self> {
        let mut digesting = Digesting::of(info);
        file.seek(SeekFrom::Start(0))?;
        let have = digest(file, &mut digesting)?;
        progress(have);
        Ok(Self { file, info, digesting, have, joints: 0, told: have, progress })
    }

    /// Downloads what is missing from one mirror, and judges the whole (5.7.3). Bytes that are refused are gone.
    pub fn run(
        &mut self,
        updater: &Updater<'_>,
        mirror: &Repository,
        path: &TargetPath,
    ) -> Result<(), ClientError> {
        let hash =
            self.info.hashes.known().next().and_then(|algorithm| self.info.hashes.name_digest(algorithm));
        let hash = hash.filter(|_| updater.trusted.root().consistent_snapshot);
        let url = urls::target(&mirror.targets, path, hash);
        let failed = |source| ClientError::Target { path: path.to_string(), source: Box::new(source) };
        self.joints = 0;
        match self.fetch(updater, &url) {
            Err(error) if matches!(error.cause, FetchCause::OtherRange) => {}
            fetched => fetched.map_err(failed)?,
        }
        let mut judged = self.judge();
        if judged.is_err() && self.joints > 0 {
            self.start_over().map_err(|error| failed(FetchError::new(&url, FetchCause::Write(error))))?;
            self.fetch(updater, &url).map_err(failed)?;
            judged = self.judge();
        }
        if judged.is_err() {
            self.start_over().map_err(|error| failed(FetchError::new(&url, FetchCause::Write(error))))?;
        }
        judged.map_err(|mismatch| refused(path, mismatch))
    }

    fn fetch(&mut self, updater: &Updater<'_>, url: &Url) -> Result<(), FetchError> {
        if self.have > 0 && self.have >= self.info.length {
            // an earlier run came as far as this
            self.joints += 1;
            return Ok(());
        }
        // a longer body is cut at the length and judged by its digest
        updater.fetcher.fetch(url, self.info.length, self).map(drop)
    }

    fn judge(&mut self) -> Result<(), Mismatch> {
        judge(std::mem::replace(&mut self.digesting, Digesting::none()), self.info)
    }

    fn start_over(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.digesting = Digesting::of(self.info);
        (self.have, self.joints) = (0, 0);
        Ok(())
    }
}

impl Sink for Transfer<'_> {
    fn begin(&mut self) -> io::Result<u64> {
        self.joints += u32::from(self.have > 0);
        Ok(self.have)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.digesting.update(bytes);
        self.have += bytes.len() as u64;
        // what is downloaded again has been told
        if let Some(more) = self.have.checked_sub(self.told) {
            (self.progress)(more);
            self.told = self.have;
        }
        Ok(())
    }
}

/// Tells whether a file holds what metadata says.
pub(super) fn holds(mut file: &File, info: &TargetFile) -> io::Result<bool> {
    if file.metadata()?.len() != info.length {
        return Ok(false);
    }
    let mut digesting = Digesting::of(info);
    digest(&mut file, &mut digesting)?;
    Ok(judge(digesting, info).is_ok())
}

/// Copies a file into an empty one if it holds what metadata says: the bytes that are judged are the bytes that are written.
/// Else nothing is in the other one.
pub(super) fn copy_if_right(from: &File, to: &mut File, info: &TargetFile) -> io::Result<bool> {
    if from.metadata()?.len() != info.length {
        return Ok(false);
    }
    let mut digesting = Digesting::of(info);
    // a file that grows meanwhile has the wrong length
    let mut bytes = from.take(info.length.saturating_add(1));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                digesting.update(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let is_right = judge(digesting, info).is_ok();
    if !is_right {
        to.set_len(0)?;
    }
    Ok(is_right)
}

/// Digests the rest of a file, and returns how many bytes that was.
fn digest(file: &mut impl Read, digesting: &mut Digesting) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                digesting.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn judge(digesting: Digesting, info: &TargetFile) -> Result<(), Mismatch> {
    let (found, hashes) = digesting.finish();
    if found != info.length {
        return Err(Mismatch::Length { expected: info.length, found });
    }
    info.hashes.compare(&hashes)
}

pub(super) fn refused(path: &TargetPath, mismatch: Mismatch) -> ClientError {
    ClientError::Mismatch { path: path.to_string(), mismatch }
}
