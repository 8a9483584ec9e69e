//! Copies of what a collection deletes, in a folder or in a bucket.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::gc::{Base, GcPlan};
use super::layout::{METADATA, STAGED, TARGETS};
use crate::storage::{Bucket, Caching, Folder, Storage, Upload, UploadError};

/// Where copies go before files are deleted.
#[derive(Debug, Clone)]
pub enum Archive {
    /// A folder.
    Folder(PathBuf),
    /// A prefix of a bucket.
    Bucket(Bucket),
}

impl Archive {
    /// Copies the files of a plan and makes that durable. What is there already stays, if its bytes are the same.
    pub(super) fn keep(&self, plan: &GcPlan) -> Result<(), RepositoryError> {
        self.refuse_inside(&plan.base)?;
        let place: &dyn Storage = match self {
            Self::Folder(folder) => &Folder::new(folder),
            Self::Bucket(bucket) => {
                bucket.survey().at(bucket.place(""))?;
                bucket
            }
        };
        let mut missing = Vec::new();
        for name in plan.deleted() {
            match place.open(name).at(place.place(name))? {
                None => missing.push(name),
                Some(kept) => {
                    let going = open(&plan.base, name)?;
                    if !same_bytes(kept, going).at(place.place(name))? {
                        return Err(other_bytes(place, name));
                    }
                }
            }
        }
        match self {
            Self::Folder(folder) => copy(&plan.base, &missing, &Folder::new(folder)),
            Self::Bucket(bucket) => upload(&plan.base, &missing, bucket),
        }
    }

    /// Refuses an archive where a collection would find its own copies, or take the files themselves for them.
    fn refuse_inside(&self, base: &Base) -> Result<(), RepositoryError> {
        let (archive, inside) = match (self, base) {
            (Self::Folder(archive), Base::Folder(base)) => {
                fs::create_dir_all(archive).at(archive)?;
                let place = fs::canonicalize(archive).at(archive)?;
                let base = fs::canonicalize(base).at(base)?;
                let part = |name: &str| fs::canonicalize(base.join(name)).unwrap_or_else(|_| base.join(name));
                let inside = place == base
                    || [METADATA, STAGED, TARGETS].iter().any(|name| place.starts_with(part(name)));
                (archive.clone(), inside)
            }
            (Self::Bucket(archive), Base::Bucket(place)) => {
                let archive = archive.place("");
                let parts = [place.metadata.place(""), place.targets.place("")];
                // what is kept goes to metadata/ and targets/ of the archive, be they the same as those collected or above
                let inside = parts.iter().any(|part| {
                    archive.starts_with(part)
                        || [METADATA, TARGETS].iter().any(|name| part.starts_with(archive.join(name)))
                });
                (archive, inside)
            }
            (Self::Folder(archive), Base::Bucket(_)) => {
                fs::create_dir_all(archive).at(archive)?;
                return Ok(());
            }
            (Self::Bucket(_), Base::Folder(_)) => return Ok(()),
        };
        if inside { Err(InputError::ArchiveInside { archive }.into()) } else { Ok(()) }
    }
}

fn copy(base: &Base, names: &[&str], archive: &Folder) -> Result<(), RepositoryError> {
    let mut batch = archive.batch().at(archive.path())?;
    for name in names {
        let (path, mut to) = batch.create().at(archive.path())?;
        io::copy(&mut open(base, name)?, &mut to).at(&path)?;
        batch.place(path, *name);
    }
    // another repository may have kept files of the same names here meanwhile
    for name in batch.commit_new().at(archive.path())? {
        let kept = archive.open_file(&name).at(archive.file(&name))?;
        if !same_bytes(kept, open(base, &name)?).at(archive.file(&name))? {
            return Err(other_bytes(archive, &name));
        }
    }
    Ok(())
}

fn upload(base: &Base, names: &[&str], archive: &Bucket) -> Result<(), RepositoryError> {
    let mut uploads = Vec::new();
    for name in names {
        let (storage, part) = base.part(name);
        let length = storage.length(part).at(storage.place(part))?.unwrap_or_default();
        uploads.push(Upload { name: (*name).to_owned(), length, caching: Caching::Forever });
    }
    let source = |upload: &Upload| -> io::Result<Box<dyn Read + Send>> {
        let (storage, part) = base.part(&upload.name);
        storage.open(part)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    archive.upload(&uploads, &source, &|_| {}).map_err(|error| match error {
        UploadError::Io { name, source } => RepositoryError::Io { path: archive.place(&name), source },
        UploadError::Other { name } => other_bytes(archive, &name),
    })
}

fn other_bytes(place: &dyn Storage, name: &str) -> RepositoryError {
    RepositoryError::Refused { file: place.place(name).display().to_string(), reason: Refusal::OtherBytes }
}

fn open(base: &Base, name: &str) -> Result<Box<dyn Read + Send>, RepositoryError> {
    let (storage, part) = base.part(name);
    let found = storage.open(part).at(storage.place(part))?;
    found.ok_or(io::ErrorKind::NotFound.into()).at(storage.place(part))
}

fn same_bytes(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let (count, others) = (fill(&mut one, &mut left)?, fill(&mut other, &mut right)?);
        if left[..count] != right[..others] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Reads until a buffer is full or there is no more.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
