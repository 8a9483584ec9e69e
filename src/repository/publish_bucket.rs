//! A publication to a bucket, where there is no lock: each object is put under a condition, in an order that lets one of
//! two publishers through. docs/adr/0010 explains it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use super::Repository;
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{Layout, METADATA, TARGETS, is_versioned, parse_versioned};
use super::place::BucketPlace;
use super::publish::PublishPlan;
use super::publish_targets::TargetCopy;
use crate::metadata::{Hasher, RoleName, TargetFile};
use crate::storage::{Caching, Created, Replaced, Storage, Upload, UploadError};

const TIMESTAMP: &str = "timestamp.json";

impl Repository {
    /// Puts what is planned: target files at once, then the metadata one after the other, the timestamp last.
    pub(super) fn publish_to_bucket(
        &self,
        plan: &PublishPlan,
        place: &BucketPlace,
        progress: &dyn Fn(u64),
    ) -> Result<(), RepositoryError> {
        if plan.is_empty() {
            return Ok(());
        }
        self.upload_targets(plan, place, progress)?;
        // before the first name that others might want: it may have taken long to get here
        for name in [TIMESTAMP, "root.json"] {
            if !place.metadata.is_as_seen(name).at(place.metadata.place(name))? {
                return Err(overtaken(place, name));
            }
        }
        let mut metadata: Vec<&(String, Vec<u8>)> = plan.metadata.iter().collect();
        metadata.sort_by_cached_key(|(name, _)| rank(plan.layout, name));
        for (name, bytes) in metadata {
            if name == TIMESTAMP {
                refuse_newer_root(plan, place)?;
            }
            put(plan, place, name, bytes)?;
        }
        Ok(())
    }

    fn upload_targets(
        &self,
        plan: &PublishPlan,
        place: &BucketPlace,
        progress: &dyn Fn(u64),
    ) -> Result<(), RepositoryError> {
        let source = self.targets_folder();
        let files: BTreeMap<&str, &TargetFile> =
            plan.targets.iter().map(|TargetCopy { name, file, .. }| (name.as_str(), &**file)).collect();
        let caching = match plan.layout {
            Layout::Consistent => Caching::Forever,
            Layout::Plain => Caching::Never,
        };
        let upload =
            |copy: &TargetCopy| Upload { name: copy.name.clone(), length: copy.file.length, caching };
        let uploads: Vec<Upload> = plan.targets.iter().map(upload).collect();
        let open = |upload: &Upload| -> io::Result<Box<dyn Read + Send>> {
            let listed = files.get(upload.name.as_str()).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(Checked::new(source.open_file(&upload.name)?, listed)))
        };
        let refused =
            |name: &str, reason| RepositoryError::Refused { file: format!("{TARGETS}/{name}"), reason };
        place.targets.upload(&uploads, &open, progress).map_err(|error| match error {
            UploadError::Io { name, source } if source.kind() == io::ErrorKind::InvalidData => {
                refused(&name, Refusal::TargetChanged("it was changed during the publication".to_owned()))
            }
            UploadError::Io { name, source } => {
                RepositoryError::Io { path: place.targets.place(&name), source }
            }
            UploadError::Other { name } if plan.layout == Layout::Consistent => refused(
                &name,
                Refusal::Finding("is in the bucket with other bytes than its name says".to_owned()),
            ),
            UploadError::Other { name } => {
                RepositoryError::Overtaken { object: place.targets.place(&name).display().to_string() }
            }
        })
    }
}

fn put(plan: &PublishPlan, place: &BucketPlace, name: &str, bytes: &[u8]) -> Result<(), RepositoryError> {
    let object = place.metadata.place(name);
    let versioned = is_versioned(plan.layout, name);
    if versioned && !plan.replaced.contains(name) {
        return match place.metadata.create(name, bytes, Caching::Forever).at(object)? {
            Created::New | Created::Same => Ok(()),
            Created::Other => {
                let file = format!("{METADATA}/{name}");
                Err(RepositoryError::Refused { file, reason: Refusal::OtherBytes })
            }
        };
    }
    let caching = if versioned { Caching::Forever } else { Caching::Never };
    match place.metadata.replace(name, bytes, caching).at(object)? {
        Replaced::Done => Ok(()),
        Replaced::Overtaken => Err(overtaken(place, name)),
    }
}

/// A root that somebody else has published meanwhile may name other keys for this very timestamp.
fn refuse_newer_root(plan: &PublishPlan, place: &BucketPlace) -> Result<(), RepositoryError> {
    let version = plan.roles.get(&RoleName::root()).copied().unwrap_or_default();
    let name = format!("{}.root.json", version.saturating_add(1));
    match place.metadata.is_absent(&name).at(place.metadata.place(&name))? {
        true => Ok(()),
        false => Err(overtaken(place, &name)),
    }
}

fn overtaken(place: &BucketPlace, name: &str) -> RepositoryError {
    RepositoryError::Overtaken { object: place.metadata.place(name).display().to_string() }
}

/// Orders metadata in the same way for every publisher. Where two of them put different files under one name, the one that
/// comes to that name first goes on, and the other has nothing yet that comes after it.
fn rank(layout: Layout, name: &str) -> (u8, u64, String) {
    let (version, role) = match parse_versioned(name) {
        Some((version, role)) => (version, role.as_str().to_owned()),
        None => (0, name.strip_suffix(".json").unwrap_or(name).to_owned()),
    };
    match (layout, role.as_str()) {
        // all names are replaced in place here: first the one that every publication replaces
        (Layout::Plain, "snapshot") => (0, 0, String::new()),
        (_, "root") if version > 0 => (1, version, String::new()),
        (_, "targets") => (3, version, String::new()),
        (_, "snapshot") => (4, version, String::new()),
        (_, "root") => (5, 0, String::new()),
        (_, "timestamp") => (6, 0, String::new()),
        _ => (2, version, role),
    }
}

/// Reads a target file, and fails at its end unless it has the length and the digests that are listed.
struct Checked {
    file: File,
    listed: TargetFile,
    /// Taken at the end.
    hasher: Option<Hasher>,
}

impl Checked {
    fn new(file: File, listed: &TargetFile) -> Self {
        Self { file, listed: listed.clone(), hasher: Some(Hasher::new(listed.hashes.known())) }
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
            return Ok(count);
        }
        let Some((length, hashes)) = self.hasher.take().map(Hasher::finish) else { return Ok(0) };
        match length == self.listed.length && self.listed.hashes.compare(&hashes).is_ok() {
            true => Ok(0),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
