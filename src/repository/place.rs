//! Where a repository is published: in a folder or in a bucket.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::adopt::Source;
use super::error::InputError;
use super::layout::{METADATA, STAGED, TARGETS};
use crate::storage::{Bucket, Folder, Names, ReadFiles, Storage};

/// Where a repository is published. Make one of a folder by [`Destination::folder`].
#[derive(Debug, Clone)]
pub enum Destination {
    /// The repository's own `metadata/`, beside its `targets/`.
    Own,
    /// A folder that gets `metadata/` and `targets/`.
    Folder(PathBuf),
    /// Prefixes of buckets.
    Bucket(BucketPlace),
}

impl Destination {
    /// Takes a folder, as it was typed. The repository itself is [`Destination::Own`], however it is spelled or linked.
    ///
    /// # Errors
    /// [`InputError::Destination`] where what is written here would be what is live there.
    pub fn folder(repository: &Path, folder: &Path) -> Result<Self, InputError> {
        let is_same = |one: &Path, other: &Path| Folder::new(one).is_same(&Folder::new(other));
        let is_own = |part: &str, own: &str| is_same(&folder.join(part), &repository.join(own));
        if is_same(folder, repository) || (is_own(METADATA, METADATA) && is_own(TARGETS, TARGETS)) {
            return Ok(Self::Own);
        }
        let is_part = |part: &str| is_same(folder, &repository.join(part));
        if lies_within(folder, &repository.join(STAGED)) || is_part(METADATA) || is_part(TARGETS) {
            let reason = "it is one of this repository's own folders";
            return Err(InputError::Destination { path: folder.to_owned(), reason });
        }
        if is_own(METADATA, STAGED) {
            let reason = "its metadata is the metadata.staged of this repository";
            return Err(InputError::Destination { path: folder.to_owned(), reason });
        }
        Ok(Self::Folder(folder.to_owned()))
    }

    /// Tells whether the folder of targets is apart from that of the metadata, so that others may use it as well.
    pub fn keeps_targets_apart(&self, repository: &Path) -> bool {
        match self {
            Self::Own => repository.join(TARGETS).is_symlink(),
            Self::Folder(base) => base.join(TARGETS).is_symlink(),
            Self::Bucket(place) => place.together().is_none(),
        }
    }
}

/// Tells whether a folder, which need not be there yet, is another one or lies in it, however it is spelled or linked.
fn lies_within(folder: &Path, other: &Path) -> bool {
    let Ok(other) = other.canonicalize() else { return false };
    let Ok(folder) = std::path::absolute(folder) else { return false };
    // what is not there yet has no links
    let there = folder.ancestors().find_map(|part| part.canonicalize().ok());
    there.is_some_and(|there| there.starts_with(other))
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
        self.together().unwrap_or_else(|| {
            let [metadata, targets] = self.parts();
            format!("{metadata} and {targets}")
        })
    }

    /// Returns the prefix with `metadata/` and `targets/` under it; `None` where there is no such one.
    fn together(&self) -> Option<String> {
        let [metadata, targets] = self.parts();
        let base = metadata.strip_suffix(METADATA)?;
        (targets.strip_suffix(TARGETS) == Some(base)).then(|| base.trim_end_matches('/').to_owned())
    }

    fn parts(&self) -> [String; 2] {
        [&self.metadata, &self.targets].map(|part| part.place("").display().to_string())
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
