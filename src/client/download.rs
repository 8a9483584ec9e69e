//! Finds a target (5.6.7) and fetches it (5.7): verified before it becomes visible.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::target_dir::{Arrivals, Arrived, Unfinished};
use super::transfer::{OnBytes, Transfer, holds, refused};
use super::{ClientError, TargetDir, Updater};
use crate::metadata::{RoleName, TargetFile, TargetPath};
use crate::trusted_set::TargetSearch;

/// How many targets, and about how many bytes of them, become durable and visible together.
const TOGETHER: (usize, u64) = (4096, 1 << 30);

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

    /// Brings targets into a folder, unless their bytes are there already, up to `jobs` of them at once. `progress`
    /// hears how many more bytes are there.
    ///
    /// # Errors
    /// [`ClientError`] of the first target that failed, in the order in which they are given. What was at its place is
    /// still there then, and those that were verified are in theirs.
    pub fn download_targets(
        &self,
        targets: &[(TargetPath, TargetFile)],
        dir: &TargetDir,
        jobs: NonZeroUsize,
        progress: OnBytes<'_>,
    ) -> Result<Vec<Downloaded>, ClientError> {
        let arrivals = dir.arrivals();
        let mut downloaded = Vec::with_capacity(targets.len());
        let mut rest = targets;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(together(rest));
            rest = later;
            let outcomes = self.fetch_at_once(now, dir, &arrivals, jobs, progress);
            let (mut arrived, mut failure) = (Vec::new(), Ok(()));
            for ((path, info), outcome) in now.iter().zip(outcomes) {
                let cached = match outcome {
                    Some(Ok(Outcome::InPlace)) => true,
                    Some(Ok(Outcome::Arrived(file))) => {
                        arrived.push((file, path));
                        false
                    }
                    Some(Err(error)) => {
                        failure = failure.and(Err(error));
                        continue;
                    }
                    // not tried, because another one failed
                    None => continue,
                };
                let (path, info) = (path.clone(), info.clone());
                downloaded.push(Downloaded { file: dir.file(&path), path, info, cached });
            }
            arrivals.put(&arrived)?;
            failure?;
        }
        dir.forget_unfinished()?;
        Ok(downloaded)
    }

    /// Fetches targets by several threads; the first failure ends the work of all.
    fn fetch_at_once(
        &self,
        targets: &[(TargetPath, TargetFile)],
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
        jobs: NonZeroUsize,
        progress: OnBytes<'_>,
    ) -> Vec<Option<Result<Outcome, ClientError>>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((path, info)) = targets.get(index) else { return done };
                let outcome = self.fetch(path, info, dir, arrivals, progress);
                if outcome.is_err() {
                    next.store(targets.len(), Ordering::Relaxed);
                }
                done.push((index, outcome));
            }
        };
        let mut outcomes: Vec<_> = targets.iter().map(|_| None).collect();
        thread::scope(|scope| {
            let others: Vec<_> = (1..jobs.get().min(targets.len())).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                // a thread that panicked would be a defect; its targets count as not tried
                done.extend(other.join().unwrap_or_default());
            }
            for (index, outcome) in done {
                outcomes[index] = Some(outcome);
            }
        });
        outcomes
    }

    fn fetch(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        dir: &TargetDir,
        arrivals: &Arrivals<'_>,
        progress: OnBytes<'_>,
    ) -> Result<Outcome, ClientError> {
        digestible(path, info)?;
        if let Some(file) = dir.open(path)?
            && holds(&file, info).map_err(|error| ClientError::local(&dir.file(path), error))?
        {
            progress(info.length);
            return Ok(Outcome::InPlace);
        }
        let mut unfinished = arrivals.start(info)?;
        match self.transfer(path, info, &mut unfinished, dir, progress) {
            Ok(()) => Ok(Outcome::Arrived(arrivals.verified(unfinished))),
            Err(error) => {
                arrivals.interrupted(unfinished)?;
                Err(error)
            }
        }
    }

    /// Opens a verified target for reading: the one that is in its place in a folder, else one that is downloaded and
    /// gone when it is closed, after waiting in `waiting`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn open_target(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        dir: Option<&TargetDir>,
        waiting: &TargetDir,
        progress: OnBytes<'_>,
    ) -> Result<File, ClientError> {
        digestible(path, info)?;
        let local = |error: io::Error| ClientError::local(&waiting.file(path), error);
        let rewound = |mut file: File| file.seek(SeekFrom::Start(0)).map(|_| file).map_err(local);
        if let Some(dir) = dir
            && let Some(file) = dir.open(path)?
            && holds(&file, info).map_err(|error| ClientError::local(&dir.file(path), error))?
        {
            return rewound(file);
        }
        let arrivals = waiting.arrivals();
        let mut unfinished = arrivals.start_anew().map_err(local)?;
        self.transfer(path, info, &mut unfinished, waiting, progress)?;
        rewound(unfinished.file)
    }

    /// Downloads a target into an unfinished file, from the first mirror whose bytes are right.
    fn transfer(
        &self,
        path: &TargetPath,
        info: &TargetFile,
        unfinished: &mut Unfinished,
        dir: &TargetDir,
        progress: OnBytes<'_>,
    ) -> Result<(), ClientError> {
        let transfer = Transfer::new(&mut unfinished.file, info, progress);
        let mut transfer = transfer.map_err(|error| ClientError::local(&dir.file(path), error))?;
        self.mirrors.attempt(path, |mirror| transfer.run(self, mirror, path))
    }
}

/// What became of a target that was wanted.
enum Outcome {
    /// It was there already.
    InPlace,
    /// It has been downloaded and verified.
    Arrived(Arrived),
}

/// Refuses, before any request, a target without a digest that can be computed: nothing could be accepted.
fn digestible(path: &TargetPath, info: &TargetFile) -> Result<(), ClientError> {
    match info.hashes.known().next() {
        Some(_) => Ok(()),
        None => info.hashes.compare(&Default::default()).map_err(|mismatch| refused(path, mismatch)),
    }
}

/// Returns how many of some targets, one at least, become visible together.
fn together(targets: &[(TargetPath, TargetFile)]) -> usize {
    let mut bytes: u64 = 0;
    let fits = |(_, info): &&(TargetPath, TargetFile)| {
        bytes = bytes.saturating_add(info.length);
        bytes <= TOGETHER.1
    };
    targets.iter().take(TOGETHER.0).take_while(fits).count().max(1)
}
