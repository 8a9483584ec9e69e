//! Several places that hold the same repository, asked in order.
//!
//! What a mirror sends is verified before the next one is spared the question, so one that is dead, stale or lying
//! costs time and nothing else.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use super::{ClientError, Code, shown, urls};

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The base URL of metadata.
    pub metadata: Url,
    /// The base URL of targets.
    pub targets: Url,
}

impl Repository {
    /// Takes a repository that holds both in folders of their usual names.
    pub fn at(base: &Url) -> Self {
        Self { metadata: urls::folder(base, "metadata"), targets: urls::folder(base, "targets") }
    }
}

/// A repository and its mirrors, in the order in which they are asked.
#[derive(Debug)]
pub struct Mirrors(Vec<Mirror>);

#[derive(Debug)]
struct Mirror {
    repository: Repository,
    /// Set when the network to it failed: it is asked last from then on.
    failed: AtomicBool,
}

impl From<Repository> for Mirrors {
    fn from(repository: Repository) -> Self {
        Self::new(repository, [])
    }
}

impl Mirrors {
    /// Puts a repository before its mirrors.
    pub fn new(repository: Repository, mirrors: impl IntoIterator<Item = Repository>) -> Self {
        let all = std::iter::once(repository).chain(mirrors);
        Self(all.map(|repository| Mirror { repository, failed: AtomicBool::new(false) }).collect())
    }

    /// Makes an attempt with one after the other until one succeeds or this machine fails. Of a repository without
    /// mirrors the failure is returned as it is.
    pub(super) fn attempt<T>(
        &self,
        what: &dyn fmt::Display,
        mut attempt: impl FnMut(&Repository) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if let [only] = self.0.as_slice() {
            return attempt(&only.repository);
        }
        let failed = |(_, mirror): &(usize, &Mirror)| mirror.failed.load(Ordering::Relaxed);
        let (last, first): (Vec<_>, Vec<_>) = self.0.iter().enumerate().partition(failed);
        let mut causes = Vec::new();
        for (index, mirror) in first.into_iter().chain(last) {
            match attempt(&mirror.repository) {
                Err(error) if error.code() != Code::Io => {
                    if matches!(error.code(), Code::Download | Code::SlowRetrieval) && !error.is_not_found() {
                        mirror.failed.store(true, Ordering::Relaxed);
                    }
                    causes.push((index, MirrorFailure { mirror: mirror.repository.clone(), error }));
                }
                outcome => return outcome,
            }
        }
        causes.sort_by_key(|(index, _)| *index);
        let causes = causes.into_iter().map(|(_, failure)| failure).collect();
        Err(ClientError::NoWorkingMirror { what: what.to_string(), causes })
    }
}

/// What one mirror did wrong.
#[derive(Debug)]
pub struct MirrorFailure {
    /// The mirror.
    pub mirror: Repository,
    /// What it did.
    pub error: ClientError,
}

impl fmt::Display for MirrorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", shown(&self.mirror.metadata), self.error.code(), self.error)
    }
}
