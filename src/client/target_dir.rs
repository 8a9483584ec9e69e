//! The folder of verified targets: nothing else is ever visible in it, and nothing outside it is ever touched.
//!
//! Unfinished targets have names that begin with a dot. Small ones wait in a hidden folder that ends with the run; a
//! large one stays under the name of its digest, so that the next run can take it up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::ClientError;
use super::clean::clean_folder;
use super::confined::Folder;
use super::staging::{Staging, make_durable, make_renames_durable};
use crate::metadata::{TargetFile, TargetPath};

/// From this length in bytes on a target that was interrupted is worth keeping.
const WORTH_KEEPING: u64 = 1 << 20;
/// What the names of kept unfinished targets start and end with.
const KEPT: (&str, &str) = (".tuf-fetch.", ".rest");

/// A folder for verified targets. Links on the way to it are followed, links in it are not.
pub struct TargetDir {
    path: PathBuf,
    folder: Folder,
}

impl TargetDir {
    /// Opens the folder, made where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn create(path: &Path) -> Result<Self, ClientError> {
        let folder = Folder::create(path).map_err(|error| ClientError::local(path, error))?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Returns where a target is, or would be.
    pub fn file(&self, target: &TargetPath) -> PathBuf {
        self.path.join(target.as_str())
    }

    /// Opens the file at a target's place, whatever it holds; `None` where there is no regular file.
    ///
    /// # Errors
    /// [`ClientError::Local`] where something other than a folder stands above that place, or a folder at it.
    pub(super) fn open(&self, target: &TargetPath) -> Result<Option<File>, ClientError> {
        self.find(target).map_err(|error| ClientError::local(&self.file(target), error))
    }

    fn find(&self, target: &TargetPath) -> io::Result<Option<File>> {
        let (folders, name) = parts(target);
        let mut above: Option<Folder> = None;
        for folder in folders {
            match above.as_ref().unwrap_or(&self.folder).folder(folder)? {
                Some(folder) => above = Some(folder),
                None => return Ok(None),
            }
        }
        let above = above.as_ref().unwrap_or(&self.folder);
        // a link, a pipe and the like hold no target; putting one there replaces them
        match above.file(name) {
            Ok(file) => Ok(file),
            Err(_) if above.folder(name).is_ok_and(|folder| folder.is_some()) => {
                Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder stands there"))
            }
            Err(_) => Ok(None),
        }
    }

    /// Starts to take targets. Nothing is made before the first one comes.
    pub(super) fn arrivals(&self) -> Arrivals<'_> {
        Arrivals { dir: self, staging: OnceLock::new() }
    }

    /// Opens the folder; `None` where there is none.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, ClientError> {
        match Folder::open(path) {
            Ok(folder) => Ok(Some(Self { path: path.to_owned(), folder })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ClientError::local(path, error)),
        }
    }

    /// Removes whatever is not a file to keep, and left-overs; notes the paths of what was visible.
    pub(super) fn clean(
        &self,
        keep: &dyn Fn(&str, &File) -> io::Result<bool>,
        removed: &mut Vec<String>,
    ) -> Result<(), ClientError> {
        let failed = |error| ClientError::local(&self.path, error);
        self.folder.sweep().map_err(failed)?;
        self.forget_unfinished()?;
        clean_folder(&self.folder, "", keep, removed).map_err(failed)
    }

    /// Removes kept unfinished targets that nobody is at work on.
    ///
    /// # Errors
    /// [`ClientError::Local`].
    pub fn forget_unfinished(&self) -> Result<(), ClientError> {
        let forget = || {
            for name in self.folder.names()? {
                if name.starts_with(KEPT.0)
                    && name.ends_with(KEPT.1)
                    && let Ok(Some(_owned)) = self.folder.own(&name)
                {
                    self.folder.remove(&name)?;
                }
            }
            Ok(())
        };
        forget().map_err(|error| ClientError::local(&self.path, error))
    }

    /// Opens the folder above a target's place, made where it is not there.
    fn folder_above(&self, target: &TargetPath) -> io::Result<Option<Folder>> {
        let mut above: Option<Folder> = None;
        for folder in parts(target).0 {
            above = Some(above.as_ref().unwrap_or(&self.folder).make_folder(folder)?);
        }
        Ok(above)
    }
}

/// Targets on their way into a folder. Several threads may bring them.
pub(super) struct Arrivals<'a> {
    dir: &'a TargetDir,
    staging: OnceLock<Staging<'a>>,
}

/// An unfinished target.
pub(super) struct Unfinished {
    /// The file, open at its end.
    pub file: File,
    place: Place,
}

/// Where an unfinished target waits.
enum Place {
    /// In the hidden folder, under a number.
    Staged(String),
    /// In the folder itself, under the name of its digest; the open file is its lock.
    Kept(String),
}

/// A verified target that is not in its place yet.
pub(super) struct Arrived {
    place: Place,
    /// Keeps a kept file locked.
    _lock: Option<File>,
}

impl<'a> Arrivals<'a> {
    /// Starts an unfinished file for a target, or takes up the one of an earlier run.
    pub fn start(&self, info: &TargetFile) -> Result<Unfinished, ClientError> {
        let started = || {
            let digest = info.hashes.known().next().and_then(|algorithm| info.hashes.of(algorithm));
            // a digest is hexadecimal wherever it can be matched; anything else is not worth a file name
            let digest = digest.filter(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if let Some(digest) = digest.filter(|digest| info.length >= WORTH_KEEPING && digest.len() <= 128)
            {
                let name = format!("{}{digest}{}", KEPT.0, KEPT.1);
                // whatever else stands there: the target is fetched without it
                if let Ok(Some(mut file)) = self.dir.folder.own(&name) {
                    if file.metadata()?.len() > info.length {
                        file.set_len(0)?;
                    }
                    file.seek(SeekFrom::End(0))?;
                    return Ok(Unfinished { file, place: Place::Kept(name) });
                }
            }
            self.start_anew()
        };
        started().map_err(|error| ClientError::local(&self.dir.path, error))
    }

    /// Starts an empty file that ends with the run.
    pub fn start_anew(&self) -> io::Result<Unfinished> {
        let (file, name) = self.staging()?.file()?;
        Ok(Unfinished { file, place: Place::Staged(name) })
    }

    fn staging(&self) -> io::Result<&Staging<'a>> {
        if let Some(staging) = self.staging.get() {
            return Ok(staging);
        }
        let made = Staging::new(&self.dir.folder)?;
        // of two threads the second one's goes as it came
        Ok(self.staging.get_or_init(|| made))
    }

    /// Takes a file that has been verified.
    pub fn verified(&self, unfinished: Unfinished) -> Arrived {
        let Unfinished { file, place } = unfinished;
        // a few thousand staged files must not stay open
        let lock = matches!(place, Place::Kept(_)).then_some(file);
        Arrived { place, _lock: lock }
    }

    /// Leaves a file behind that could not be finished, where that is worth it; else removes it.
    pub fn interrupted(&self, unfinished: Unfinished) -> Result<(), ClientError> {
        let leave = || {
            if matches!(unfinished.place, Place::Kept(_)) && unfinished.file.metadata()?.len() > 0 {
                return Ok(());
            }
            let (folder, name) = self.place(&unfinished.place);
            folder.remove(name)
        };
        leave().map_err(|error| ClientError::local(&self.dir.path, error))
    }

    fn place<'p>(&'p self, place: &'p Place) -> (&'p Folder, &'p str) {
        match (place, self.staging.get()) {
            (Place::Staged(name), Some(staging)) => (staging.folder(), name),
            (Place::Staged(name) | Place::Kept(name), _) => (&self.dir.folder, name),
        }
    }

    /// Puts verified targets in their places: all of them durable first, then renamed one by one, then the renames
    /// durable. A target whose place is taken by something else does not keep the others from theirs.
    ///
    /// # Errors
    /// [`ClientError::Local`] with the first target that could not be put.
    pub fn put(&self, arrived: &[(Arrived, &TargetPath)]) -> Result<(), ClientError> {
        let failed = |error| ClientError::local(&self.dir.path, error);
        let files: Vec<_> = arrived.iter().map(|(arrived, _)| self.place(&arrived.place)).collect();
        make_durable(&files).map_err(failed)?;
        let mut folders: BTreeMap<&str, Option<Folder>> = BTreeMap::new();
        let mut first = Ok(());
        for ((_, target), (folder, name)) in arrived.iter().zip(files) {
            let mut put = || {
                let (above, to) = target.split();
                if !folders.contains_key(above) {
                    folders.insert(above, self.dir.folder_above(target)?);
                }
                let above = folders.get(above).and_then(Option::as_ref).unwrap_or(&self.dir.folder);
                folder.rename(name, above, to)
            };
            let put = put().map_err(|error| ClientError::local(&self.dir.file(target), error));
            first = first.and(put);
        }
        let mut renamed: Vec<&Folder> = folders.values().flatten().collect();
        renamed.push(&self.dir.folder);
        make_renames_durable(&renamed).map_err(failed)?;
        first
    }
}

/// Splits a target path into the folders above the file and the file's name.
fn parts(target: &TargetPath) -> (impl Iterator<Item = &str>, &str) {
    let (folders, name) = target.split();
    (folders.split_terminator('/'), name)
}
