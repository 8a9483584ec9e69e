//! Targets on their way into a folder: unfinished, then verified, then in their places, and then in the record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::confined::{Folder, Identity};
use super::obstacles::Clearing;
use super::owners::Owners;
use super::record::{Content, Home, Line, Put};
use super::target_dir::parts;
use super::unfinished::{NewFile, Unfinished, is_digest};
use super::{ClientError, Obstacle, TargetDir, record};
use crate::metadata::{Algorithm, Hasher, TargetFile, TargetPath};

/// From this length in bytes on a target that was interrupted is worth keeping.
const WORTH_KEEPING: u64 = 1 << 20;
/// Up to this many files are made durable one by one; above it the whole file system is, at once.
const FEW: usize = 4;

/// Takes targets for a folder. Several threads may bring them.
pub(super) struct Arrivals<'a> {
    dir: &'a TargetDir,
    /// The folder of trusted metadata.
    forbidden: Identity,
    owners: Owners,
    unfinished: OnceLock<Unfinished<'a>>,
    /// The files that are in their places, with the paths that they are there for: file systems may take two paths for
    /// one.
    taken: Mutex<BTreeMap<Identity, String>>,
}

/// A file at the place of a target.
pub(super) struct There {
    pub file: File,
    /// Whether no other user can change it there.
    pub is_kept: bool,
}

/// Where the bytes of a verified target come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// They were downloaded.
    Mirror,
    /// They were in the place already, where another user could change them, and were copied.
    Place,
}

/// A verified target that is not in its place yet.
pub(super) struct Arrived<'t> {
    pub new: NewFile,
    pub source: Source,
    pub path: &'t TargetPath,
    pub info: &'t TargetFile,
    /// What has to go first.
    pub clearing: &'t Clearing,
}

/// What became of some targets.
pub(super) struct Placed {
    /// For each target, in their order.
    pub outcomes: Vec<Result<(), ClientError>>,
    /// What the record is to say of them.
    pub lines: Vec<Line>,
}

impl<'a> Arrivals<'a> {
    pub fn new(dir: &'a TargetDir, forbidden: Identity) -> Result<Self, ClientError> {
        let failed = |error| ClientError::local(dir.path(), error);
        let owners = Owners::of(&dir.folder).map_err(failed)?;
        let arrivals = Self { dir, forbidden, owners, unfinished: OnceLock::new(), taken: Mutex::default() };
        arrivals.check(&dir.folder).map_err(failed)?;
        Ok(arrivals)
    }

    /// Opens the file at a target's place; `None` where there is no regular file.
    ///
    /// # Errors
    /// [`ClientError::Local`] where something other than a folder stands above that place, or somebody else's, or a folder
    /// at it.
    pub fn open(&self, target: &TargetPath) -> Result<Option<There>, ClientError> {
        self.find(target).map_err(|error| self.failed(target, error))
    }

    fn find(&self, target: &TargetPath) -> io::Result<Option<There>> {
        let (folders, name) = parts(target)?;
        let (mut above, mut owners): (Option<Folder>, Owners) = (None, self.owners);
        for name in folders {
            match above.as_ref().unwrap_or(&self.dir.folder).folder(name)? {
                Some(folder) => above = Some(self.allowed(folder, name, &mut owners)?),
                None => return Ok(None),
            }
        }
        let above = above.as_ref().unwrap_or(&self.dir.folder);
        // a link, a pipe and the like hold no target; putting one there replaces them
        match above.file(name) {
            Ok(Some(file)) => Ok(Some(There { is_kept: owners.keep(&file)?, file })),
            Ok(None) => Ok(None),
            Err(_) if above.folder(name).is_ok_and(|folder| folder.is_some()) => {
                Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder stands there"))
            }
            Err(_) => Ok(None),
        }
    }

    /// Notes that a file is in the place of a target, and what it has to be.
    pub fn keep(&self, target: &TargetPath, file: &File) -> Result<(), ClientError> {
        let kept = Identity::of(file).map(|identity| self.taken().insert(identity, target.to_string()));
        kept.map(drop).map_err(|error| self.failed(target, error))
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Identity, String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets any folder pass but one of trusted metadata: this client's, which may be mounted in here, or another one's. By
    /// its mark it is known through mounts of every kind. Nor does another user's folder pass, where it need not be.
    fn allowed(&self, folder: Folder, name: &str, owners: &mut Owners) -> io::Result<Folder> {
        self.check(&folder)?;
        owners.enter(&folder, name).map(|()| folder)
    }

    fn check(&self, folder: &Folder) -> io::Result<()> {
        if folder.identity()? == self.forbidden {
            return Err(io::Error::other("the folder of trusted metadata stands there"));
        }
        if folder.has(record::NAME)? {
            return Err(io::Error::other("a folder of what a client trusts stands there"));
        }
        Ok(())
    }

    /// Starts an unfinished file for a target, or takes up the one of an earlier run.
    pub fn start(&self, path: &TargetPath, info: &TargetFile) -> Result<NewFile, ClientError> {
        let started = || {
            if let Some(name) = waiting_name(path.as_str(), info)
                && let Some(kept) = self.unfinished()?.kept(&name)?
            {
                if kept.file.metadata()?.len() > info.length {
                    kept.file.set_len(0)?;
                }
                return Ok(kept);
            }
            self.unfinished()?.file()
        };
        started().map_err(|error| ClientError::local(self.dir.path(), error))
    }

    /// Starts an empty file that ends with the process.
    pub fn start_copy(&self) -> Result<NewFile, ClientError> {
        let started = self.unfinished().and_then(|unfinished| unfinished.file());
        started.map_err(|error| ClientError::local(self.dir.path(), error))
    }

    fn unfinished(&self) -> io::Result<&Unfinished<'a>> {
        if let Some(unfinished) = self.unfinished.get() {
            return Ok(unfinished);
        }
        let made = Unfinished::new(&self.dir.folder)?;
        // of two threads the second one's goes as it came
        Ok(self.unfinished.get_or_init(|| made))
    }

    /// Leaves a file behind that could not be finished, where that is worth it; else removes it.
    pub fn interrupted(&self, new: NewFile) -> Result<(), ClientError> {
        let left = self.unfinished().and_then(|unfinished| unfinished.leave(new));
        left.map_err(|error| ClientError::local(self.dir.path(), error))
    }

    /// Removes a file that could not be finished.
    pub fn discard(&self, new: NewFile) -> Result<(), ClientError> {
        let gone = self.unfinished().and_then(|unfinished| unfinished.discard(new));
        gone.map_err(|error| ClientError::local(self.dir.path(), error))
    }

    /// Makes verified targets durable where they are, and returns what the record has to say before they are put: a line
    /// for each, in their order.
    ///
    /// # Errors
    /// [`ClientError::Local`] where the disk fails.
    pub fn prepare(&self, arrived: &[Arrived<'_>], home: &Home) -> Result<Vec<Line>, ClientError> {
        let files: Vec<&File> = arrived.iter().map(|arrived| &arrived.new.file).collect();
        self.make_durable(&files).map_err(|error| ClientError::local(self.dir.path(), error))?;
        let line = |arrived: &Arrived<'_>| {
            let put = content(arrived).and_then(|content| Put::new(&arrived.new.file, content));
            let put = put.map_err(|error| self.failed(arrived.path, error))?;
            Ok(Line::Put { folder: home.clone(), path: arrived.path.as_str().to_owned(), put })
        };
        arrived.iter().map(line).collect()
    }

    /// Puts targets that are prepared in their places: renamed one by one, then the renames durable. A target whose place is
    /// taken by something else does not keep the others from theirs.
    ///
    /// # Errors
    /// [`ClientError::Local`] where the disk fails altogether.
    pub fn put(&self, arrived: &[Arrived<'_>], home: &Home) -> Result<Placed, ClientError> {
        let failed = |error| ClientError::local(self.dir.path(), error);
        let mut placed = Placed { outcomes: arrived.iter().map(|_| Ok(())).collect(), lines: Vec::new() };
        let folders: BTreeSet<&str> = arrived.iter().map(|arrived| arrived.path.split().0).collect();
        let at_once = folders.len() > FEW && cfg!(target_os = "linux");
        let mut open: Option<(&str, Option<Folder>)> = None;
        for (arrived, outcome) in arrived.iter().zip(&mut placed.outcomes) {
            let above = arrived.path.split().0;
            // one folder is open at a time: there may be as many as targets
            if let Some((_, Some(left))) = open.take_if(|(open, _)| *open != above).filter(|_| !at_once) {
                left.sync().map_err(failed)?;
            }
            *outcome = self.put_one(arrived, home, &mut open, &mut placed.lines);
        }
        if let Some((_, Some(left))) = open.filter(|_| !at_once) {
            left.sync().map_err(failed)?;
        }
        if !(at_once && self.dir.folder.sync_file_system().map_err(failed)?) {
            self.dir.folder.sync().map_err(failed)?;
        }
        Ok(placed)
    }

    /// Puts one target, in the folder that is open where that is the right one.
    fn put_one<'t>(
        &self,
        arrived: &Arrived<'t>,
        home: &Home,
        open: &mut Option<(&'t str, Option<Folder>)>,
        lines: &mut Vec<Line>,
    ) -> Result<(), ClientError> {
        let failed = |error| self.failed(arrived.path, error);
        arrived.clearing.clear(self.dir, home, lines).map_err(failed)?;
        let (above, name) = arrived.path.split();
        let (_, folder) = match open {
            Some(open) => open,
            closed => closed.insert((above, self.folder_above(arrived.path, home, lines).map_err(failed)?)),
        };
        let folder = folder.as_ref().unwrap_or(&self.dir.folder);
        if let Some(there) = folder.only_name(name).map_err(failed)?
            && let Some(other) = self.taken().get(&there).filter(|other| *other != arrived.path.as_str())
        {
            return Err(ClientError::InTheWay {
                path: arrived.path.to_string(),
                what: other.clone(),
                obstacle: Obstacle::Listed,
            });
        }
        self.unfinished()
            .and_then(|unfinished| unfinished.put(&arrived.new, folder, name))
            .map_err(failed)?;
        self.keep(arrived.path, &arrived.new.file)
    }

    /// Opens the folder above a target's place, made where it is not there.
    fn folder_above(
        &self,
        target: &TargetPath,
        home: &Home,
        lines: &mut Vec<Line>,
    ) -> io::Result<Option<Folder>> {
        let (mut above, mut owners): (Option<Folder>, Owners) = (None, self.owners);
        let (mut length, mut made) = (0, Vec::new());
        for folder in parts(target)?.0 {
            length += folder.len();
            let from = above.as_ref().unwrap_or(&self.dir.folder);
            let (next, is_made) = match from.folder(folder)? {
                Some(there) => (there, false),
                None => {
                    // unless somebody else comes first
                    let is_made = from.make_new_folder(folder)?;
                    (from.folder(folder)?.ok_or(io::ErrorKind::NotFound)?, is_made)
                }
            };
            if is_made {
                made.insert(0, next.identity()?.inode);
                let path = target.as_str()[..length].to_owned();
                let line = Line::Made { folder: home.clone(), path, inodes: made.clone() };
                // one line tells of all of them
                let last = lines.last_mut().filter(|_| made.len() > 1);
                match last {
                    Some(last) => *last = line,
                    None => lines.push(line),
                }
            } else {
                made.clear();
            }
            above = Some(self.allowed(next, folder, &mut owners)?);
            // the slash
            length += 1;
        }
        Ok(above)
    }

    fn make_durable(&self, files: &[&File]) -> io::Result<()> {
        if files.len() > FEW && self.dir.folder.sync_file_system()? {
            return Ok(());
        }
        files.iter().try_for_each(|file| file.sync_all())
    }

    fn failed(&self, target: &TargetPath, error: io::Error) -> ClientError {
        ClientError::local(&self.dir.file(target), error)
    }
}

/// Returns the digest that a large target waits under until it is whole; `None` where it is not worth keeping. It is made of
/// the path too: who lists the same digest elsewhere, with other bytes or another length, spoils nothing.
pub(super) fn waiting_name(path: &str, info: &TargetFile) -> Option<String> {
    let algorithm = info.hashes.known().next().filter(|_| info.length >= WORTH_KEEPING)?;
    let digest = info.hashes.of(algorithm).filter(|digest| is_digest(digest))?.to_ascii_lowercase();
    let all = format!("{path}\0{}\0{digest}", info.length);
    Hasher::digest([Algorithm::Sha256], all.as_bytes()).of(Algorithm::Sha256).map(str::to_owned)
}

/// Returns the length and the SHA-256 of a verified target: metadata lists it, or else it is read once more.
fn content(arrived: &Arrived<'_>) -> io::Result<Content> {
    match arrived.info.hashes.of(Algorithm::Sha256) {
        Some(sha256) => Ok(Content { length: arrived.info.length, sha256: sha256.to_ascii_lowercase() }),
        None => Content::of(&arrived.new.file),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::metadata::Extra;

    #[test]
    fn whoever_lists_the_digest_of_anothers_large_target_does_not_get_at_what_waits_for_it() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = TargetDir::create(root.path()).unwrap();
        let arrivals = dir.arrivals(Identity::at(elsewhere.path()).unwrap()).unwrap();
        let hashes = Hasher::digest([Algorithm::Sha256], b"whole");
        let info = |length| TargetFile { length, hashes: hashes.clone(), custom: None, extra: Extra::new() };
        let [release, evil] = ["rel/app", "evil/app"].map(|path| TargetPath::parse(path).unwrap());
        let mut half = arrivals.start(&release, &info(WORTH_KEEPING)).unwrap();
        half.file.write_all(b"half").unwrap();
        arrivals.interrupted(half).unwrap();
        for (path, length) in
            [(&evil, WORTH_KEEPING), (&evil, WORTH_KEEPING + 1), (&release, WORTH_KEEPING + 1)]
        {
            let other = arrivals.start(path, &info(length)).unwrap();
            assert_eq!(other.file.metadata().unwrap().len(), 0);
            arrivals.interrupted(other).unwrap();
        }
        let again = arrivals.start(&release, &info(WORTH_KEEPING)).unwrap();
        assert_eq!(again.file.metadata().unwrap().len(), 4);
        // what met a full disk goes
        arrivals.discard(again).unwrap();
        let anew = arrivals.start(&release, &info(WORTH_KEEPING)).unwrap();
        assert_eq!(anew.file.metadata().unwrap().len(), 0);
    }

    /// Where small letters and capitals are the same, two roles may list one file: the second would decide the bytes of
    /// the first one's target.
    #[test]
    fn a_file_that_is_there_for_one_path_is_not_replaced_for_another() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = TargetDir::create(root.path()).unwrap();
        let arrivals = dir.arrivals(Identity::at(elsewhere.path()).unwrap()).unwrap();
        std::fs::write(root.path().join("app"), b"first").unwrap();
        let [first, second] = ["APP", "app"].map(|path| TargetPath::parse(path).unwrap());
        arrivals.keep(&first, &File::open(root.path().join("app")).unwrap()).unwrap();
        let hashes = Hasher::digest([Algorithm::Sha256], b"owned");
        let info = TargetFile { length: 5, hashes, custom: None, extra: Extra::new() };
        let put = |path: &TargetPath| {
            let mut new = arrivals.start(path, &info).unwrap();
            new.file.write_all(b"owned").unwrap();
            let (source, clearing) = (Source::Mirror, &Clearing::default());
            let arrived = [Arrived { new, source, path, info: &info, clearing }];
            arrivals.prepare(&arrived, dir.home()).unwrap();
            arrivals.put(&arrived, dir.home()).unwrap().outcomes.remove(0)
        };
        assert!(matches!(put(&second), Err(ClientError::InTheWay { obstacle: Obstacle::Listed, .. })));
        assert_eq!(std::fs::read(root.path().join("app")).unwrap(), b"first");
        // of several names of one file this one is nobody else's
        std::fs::hard_link(root.path().join("app"), root.path().join("other name")).unwrap();
        assert!(matches!(put(&second), Ok(())));
        assert_eq!(std::fs::read(root.path().join("other name")).unwrap(), b"first");
    }
}
