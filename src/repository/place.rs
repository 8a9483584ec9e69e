//! Where a repository is published: in a folder or in a bucket.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::adopt::Source;
use super::layout::{METADATA, TARGETS};
use crate::storage::{Bucket, Folder, Names, ReadFiles, Storage};

/// Where a repository is published.
#[derive(Debug, Clone)]
pub enum Destination {
    /// The repository's own `metadata/`, beside its `targets/`.
    Own,
    /// A folder that gets `metadata/` and `targets/`.
    Folder(PathBuf),
    /// Prefixes of buckets.
    Bucket(BucketPlace),
}

/// The prefixes of a bucket, or of two, that metadata and targets are published at.
#[derive(Debug, Clone)]
pub struct BucketPlace {
    pub(super) metadata: Bucket,
    pub(super) targets: Bucket,
}

impl BucketPlace {
    /// Takes one prefix, with `metadata/` and `targets/` under it.
    pub fn under(bucket: &Bucket) -> Self {
        Self::apart(&bucket.below(METADATA), &bucket.below(TARGETS))
    }

    /// Takes a prefix for metadata and one for targets.
    pub fn apart(metadata: &Bucket, targets: &Bucket) -> Self {
        // clients ask for a role's file by a name that is percent-encoded, and the store decodes what it is asked for
        Self { metadata: metadata.with_names(Names::Encoded), targets: targets.clone() }
    }

    /// Says where it is.
    pub fn shown(&self) -> String {
        let [metadata, targets] =
            [&self.metadata, &self.targets].map(|part| part.place("").display().to_string());
        match (metadata.strip_suffix(METADATA), targets.strip_suffix(TARGETS)) {
            (Some(one), Some(other)) if one == other => one.trim_end_matches('/').to_owned(),
            _ => format!("{metadata} and {targets}"),
        }
    }

    /// Takes files of the repository's own instead of objects with the same bytes.
    pub(super) fn with_twins(&self, metadata: Vec<Folder>, targets: Folder) -> Self {
        Self { metadata: self.metadata.with_twins(metadata), targets: self.targets.with_twins(vec![targets]) }
    }

    /// Returns the part that a name such as `metadata/1.root.json` lies in, and the name within it.
    pub(super) fn part<'a>(&self, name: &'a str) -> Option<(&Bucket, &'a str)> {
        let (folder, rest) = name.split_once('/')?;
        match folder {
            METADATA => Some((&self.metadata, rest)),
            TARGETS => Some((&self.targets, rest)),
            _ => None,
        }
    }
}

impl Source for BucketPlace {
    fn metadata(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.metadata.read(name, limit)
    }

    fn target(&self, name: &str, limit: u64, to: &mut File) -> io::Result<bool> {
        let Some(reader) = self.targets.open(name)? else { return Ok(false) };
        io::copy(&mut reader.take(limit), to)?;
        Ok(true)
    }
}
