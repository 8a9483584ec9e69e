//! Finds a target (5.6.7) and fetches it (5.7): verified before it becomes visible.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::confined::Staged;
use super::{ClientError, TargetDir, Updater, urls};
use crate::metadata::{Hasher, Mismatch, RoleName, TargetFile, TargetPath};
use crate::trusted_set::TargetSearch;

/// Where a verified target is.
#[derive(Debug, Clone, PartialEq)]
pub struct Downloaded {
    /// The target path.
    pub path: TargetPath,
    /// The file.
    pub file: PathBuf,
    /// What metadata says of it.
    pub info: TargetFile,
    /// Whether it was in place already.
    pub cached: bool,
}

impl Updater<'_> {
    /// Searches the delegations for a target, loading the roles that the search reaches and no others. Returns the
    /// role that answered and what it says.
    ///
    /// # Errors
    /// [`ClientError`] where a role on the way cannot be trusted.
    pub fn target_info(&mut self, path: &str) -> Result<Option<(RoleName, TargetFile)>, ClientError> {
        // the top-level role is not counted
        let mut search = TargetSearch::new(path, self.limits.delegations.saturating_add(1));
        while let Some(visit) = search.next_visit() {
            let targets = self.role(&visit)?;
            if let Some(file) = search.look(&visit, targets) {
                return Ok(Some((visit.role, file.clone())));
            }
        }
        Ok(None)
    }

    /// Brings a target into a folder, unless its bytes are there already. `progress` hears how many more bytes came.
    ///
    /// # Errors
    /// [`ClientError`]; what was at the target's place is still there then.
    pub fn download_target(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        dir: &TargetDir,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Downloaded, ClientError> {
        let downloaded =
            |cached| Downloaded { path: path.clone(), file: dir.file(path), info: info.clone(), cached };
        // before any request: without a digest that can be computed nothing can be accepted
        if info.hashes.known().next().is_none() {
            let mismatch = info.hashes.compare(&Default::default()).err();
            return mismatch.map_or(Ok(downloaded(false)), |mismatch| Err(refused(path, mismatch)));
        }
        if let Some(file) = dir.open(path)?
            && holds(file, info).map_err(|error| ClientError::local(&dir.file(path), error))?
        {
            return Ok(downloaded(true));
        }
        let staged = self.fetch_target(path, info, dir, progress)?;
        dir.put(staged, path)?;
        Ok(downloaded(false))
    }

    /// Downloads a target into an unfinished file and verifies it (5.7.3).
    fn fetch_target<'d>(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        dir: &'d TargetDir,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Staged<'d>, ClientError> {
        let hash = info.hashes.known().next().and_then(|algorithm| info.hashes.of(algorithm));
        let hash = hash.filter(|_| self.trusted.root().consistent_snapshot);
        let url = urls::target(&self.repository.targets, path, hash);
        let mut staged = dir.stage()?;
        let mut sink = Sink { file: staged.file(), hasher: Hasher::new(info.hashes.known()), progress };
        // a longer body is cut at the length and judged by its digest
        let fetched = self.fetcher.fetch(&url, info.length, &mut sink);
        fetched.map_err(|source| ClientError::Target { path: path.to_string(), source: source.into() })?;
        judge(sink.hasher, info).map_err(|mismatch| refused(path, mismatch))?;
        Ok(staged)
    }
}

/// Takes the bytes of a target: written, digested and counted as they come.
struct Sink<'a> {
    file: &'a mut std::fs::File,
    hasher: Hasher,
    progress: &'a mut dyn FnMut(u64),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        (self.progress)(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Tells whether a file holds what metadata says.
fn holds(mut file: std::fs::File, info: &TargetFile) -> io::Result<bool> {
    if file.metadata()?.len() != info.length {
        return Ok(false);
    }
    let mut hasher = Hasher::new(info.hashes.known());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(judge(hasher, info).is_ok()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn judge(hasher: Hasher, info: &TargetFile) -> Result<(), Mismatch> {
    let (found, hashes) = hasher.finish();
    if found != info.length {
        return Err(Mismatch::Length { expected: info.length, found });
    }
    info.hashes.compare(&hashes)
}

fn refused(path: &TargetPath, mismatch: Mismatch) -> ClientError {
    ClientError::Mismatch { path: path.to_string(), mismatch }
}
