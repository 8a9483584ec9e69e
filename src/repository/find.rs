//! Target files on disk, found by path: on all cores, since a folder may have a hundred thousand.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, statat};

use super::digest_cache::{DigestCache, Stamp};
use super::error::{AtPath, InputError, RepositoryError};
use super::layout::parse_hash_named;
use super::ways::link_out_of;
use crate::metadata::TargetPath;

/// How many entries of a folder a core takes at a time.
const SOME_ENTRIES: usize = 512;

/// Whether folders are walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Only the files directly in a folder.
    Flat,
    /// The folders inside as well.
    Recursive,
}

/// What is done about symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Left out in a folder, refused where named.
    Refuse,
    /// Followed.
    Follow,
}

/// Where the files to list are, and what they are called.
#[derive(Debug, Clone)]
pub struct TargetSource<'a> {
    /// The repository's folder of targets.
    pub targets: &'a Path,
    /// Where target paths start outside the folder of targets; `None` means that files must lie inside.
    pub base: Option<&'a Path>,
    /// What the target paths of files from outside start with.
    pub prefix: Option<&'a str>,
    /// Whether folders are walked through.
    pub walk: Walk,
    /// What is done about symbolic links.
    pub symlinks: Symlinks,
}

/// A file that is to become a target.
#[derive(Debug, Clone)]
pub struct FoundTarget {
    /// What it will be called; its last part is the name of the file.
    pub path: TargetPath,
    /// The folder that the file lies in.
    folder: Arc<Path>,
    /// Whether it lies in the folder of targets already.
    pub in_place: bool,
    /// What it is where it is a copy that `write` made: its name and its place do not rule that out.
    pub(super) maybe_copy: Option<Box<MaybeCopy>>,
    /// What the file was when it was found, where digests are known.
    pub(super) stamp: Option<Stamp>,
}

/// A file that is named as a copy is.
#[derive(Debug, Clone)]
pub(super) struct MaybeCopy {
    /// Whether it lies in the folder of targets, so that it may be one.
    pub(super) inside: bool,
    /// The path of the target that it would be a copy of.
    pub(super) of: String,
    /// The digest that its name states.
    pub(super) digest: String,
}

impl FoundTarget {
    /// Returns where the file is.
    pub fn file(&self) -> PathBuf {
        self.folder.join(self.path.split().1)
    }

    /// Tells files apart: by what they will be called, then by where they are.
    fn place(&self) -> (&TargetPath, &Path) {
        (&self.path, &self.folder)
    }
}

/// Files that are to become targets, sorted by what they will be called.
#[derive(Debug, Default)]
pub struct FoundTargets {
    pub(super) targets: Vec<FoundTarget>,
    /// The digests that are known of files.
    pub(super) known: DigestCache,
}

impl FoundTargets {
    /// Returns how long the files are together, in bytes; one that cannot be looked at counts for nothing.
    pub fn bytes(&self) -> u64 {
        let length = |target: &FoundTarget| fs::metadata(target.file()).map_or(0, |metadata| metadata.len());
        self.targets.par_iter().map(length).sum()
    }
}

/// Finds the files that paths, as typed, mean, and reads what is known of them. Folders in the folder of targets that these
/// programs keep for themselves are left out.
///
/// # Errors
/// [`InputError`] for what is not there, not a file, or outside the folder of targets without a base.
pub fn find_targets(paths: &[PathBuf], source: &TargetSource<'_>) -> Result<FoundTargets, RepositoryError> {
    let folder = canonical_place(source.targets)?;
    let known = DigestCache::is_beside(source.targets);
    let find = || {
        let mut found = Vec::new();
        for path in paths {
            let finder = Finder { source, targets: &folder, typed: path, stamped: known };
            join(&mut found, finder.find()?);
        }
        Ok::<_, RepositoryError>(found)
    };
    let (found, known) = match known && paths.iter().any(|path| path.is_dir()) {
        true => rayon::join(find, || DigestCache::read_beside(source.targets)),
        false => {
            let found = find()?;
            let known =
                if known { DigestCache::read_for(source.targets, &found) } else { DigestCache::default() };
            (Ok(found), known)
        }
    };
    let mut targets = found?;
    // stable, since that makes use of the order in which folders are listed
    targets.par_sort_by(|a, b| a.place().cmp(&b.place()));
    targets.dedup_by(|later, first| later.place() == first.place());
    if let Some(pair) = targets.windows(2).find(|pair| pair[0].path == pair[1].path) {
        let reason =
            format!("both {} and {} would be it", pair[0].file().display(), pair[1].file().display());
        return Err(InputError::Clash { path: pair[0].path.to_string(), reason }.into());
    }
    Ok(FoundTargets { targets, known })
}

/// Returns where a folder is, or would be made: version control keeps no empty folders, so that a fresh clone may lack it.
/// A link that leads nowhere is an error all the same.
fn canonical_place(folder: &Path) -> Result<PathBuf, RepositoryError> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    match (folder.symlink_metadata(), folder.file_name()) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = parent.unwrap_or(Path::new("."));
            Ok(fs::canonicalize(parent).at(parent)?.join(name))
        }
        _ => fs::canonicalize(folder).at(folder),
    }
}

/// Puts more to what there is, in the order that moves less.
fn join<T>(all: &mut Vec<T>, mut more: Vec<T>) {
    if all.len() < more.len() {
        std::mem::swap(all, &mut more);
    }
    all.append(&mut more);
}

struct Finder<'a> {
    source: &'a TargetSource<'a>,
    /// The folder of targets, canonical.
    targets: &'a Path,
    /// The path as typed.
    typed: &'a Path,
    /// Whether it is noted what files are when they are found.
    stamped: bool,
}

/// A folder that is walked through, canonical, and those above it.
struct Above {
    folder: PathBuf,
    above: Option<Arc<Above>>,
    /// Whether a link may lead to it: one that was typed, or is followed.
    linked: bool,
}

impl Above {
    /// Returns a folder in this one, with where it is; `None` where a link leads back to one above.
    fn below(
        self: &Arc<Self>,
        path: PathBuf,
        name: &OsStr,
    ) -> Result<Option<(PathBuf, Arc<Self>)>, RepositoryError> {
        let mut folder = self.folder.join(name);
        let linked = folder.is_symlink();
        if linked {
            folder = fs::canonicalize(&path).at(&path)?;
            let mut all = std::iter::successors(Some(self), |above| above.above.as_ref());
            if all.any(|above| above.folder == folder) {
                return Ok(None);
            }
        }
        Ok(Some((path, Arc::new(Self { folder, above: Some(self.clone()), linked }))))
    }
}

/// A folder that is being listed, for several cores.
struct Listing<'a> {
    /// As it was typed.
    path: &'a Path,
    folder: OwnedFd,
    entries: Mutex<Dir>,
}

/// Some entries of a folder: what they are, and where the name of each ends.
struct Entries {
    kinds: Vec<(FileType, usize)>,
    names: Vec<u8>,
}

impl<'a> Listing<'a> {
    fn open(path: &'a Path, linked: bool) -> io::Result<Self> {
        let follow = if linked { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let entries = Mutex::new(Dir::read_from(&folder)?);
        Ok(Self { path, folder, entries })
    }

    /// Returns the next entries; none where there are no more.
    fn some(&self) -> io::Result<Entries> {
        let mut some =
            Entries { kinds: Vec::with_capacity(SOME_ENTRIES), names: Vec::with_capacity(1 << 14) };
        // where another core panicked, the rest of the folder is there all the same
        let mut entries = self.entries.lock().unwrap_or_else(|left| left.into_inner());
        while some.kinds.len() < SOME_ENTRIES
            && let Some(entry) = entries.read()
        {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                some.names.extend_from_slice(name);
                some.kinds.push((entry.file_type(), some.names.len()));
            }
        }
        Ok(some)
    }
}

/// What the files of a folder are called.
struct Naming {
    /// The folder, canonical.
    folder: Arc<Path>,
    before: Before,
    in_place: bool,
    /// What stands before the names of files in the folder of targets, where the folder is that one or in it.
    inside: Option<String>,
}

/// What stands before the names of files.
enum Before {
    Text(String),
    NotUtf8,
    /// Nothing can: the folder is not below this one.
    Outside(PathBuf),
}

/// What an entry of a folder is.
struct Looked {
    /// Of a link, what it leads to.
    kind: FileType,
    stat: Option<Stat>,
    is_link: bool,
}

/// What was found in a folder: files, and folders to be walked through.
#[derive(Default)]
struct Taken {
    found: Vec<FoundTarget>,
    folders: Vec<(PathBuf, Arc<Above>)>,
}

impl<'a> Finder<'a> {
    fn find(&self) -> Result<Vec<FoundTarget>, RepositoryError> {
        let no_file = |reason| InputError::NoFile { path: self.typed.to_owned(), reason };
        let metadata = match fs::symlink_metadata(self.typed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no_file("no such file").into());
            }
            metadata => metadata.at(self.typed)?,
        };
        if metadata.is_symlink() && self.source.symlinks == Symlinks::Refuse {
            return Err(no_file("is a symbolic link").into());
        }
        let stat = rustix::fs::stat(self.typed).map_err(io::Error::from).at(self.typed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            return self.walk();
        }
        if !kind.is_file() {
            return Err(no_file("is not a regular file").into());
        }
        if metadata.is_symlink() {
            self.refuse_link_outside(self.typed)?;
        }
        // the folder is resolved, not the file: a link that is followed is named by its own place
        let parent = self.typed.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        let naming = self.naming(&fs::canonicalize(folder).at(folder)?)?;
        let name = self.typed.file_name().unwrap_or_default();
        let stamp = Stamp::of(&stat).filter(|_| self.stamped);
        Ok(vec![self.target(name, &naming, stamp, || self.typed.to_owned())?])
    }

    /// Takes the files of the folder that was typed, and of those in it, level by level.
    fn walk(&self) -> Result<Vec<FoundTarget>, RepositoryError> {
        let mut found = Vec::new();
        let canonical = fs::canonicalize(self.typed).at(self.typed)?;
        let mut level =
            vec![(self.typed.to_owned(), Arc::new(Above { folder: canonical, above: None, linked: true }))];
        while !level.is_empty() {
            let taken = level.into_par_iter().map(|(folder, here)| self.folder(&folder, &here));
            let taken: Vec<Taken> = taken.collect::<Result<_, _>>()?;
            level = Vec::new();
            for taken in taken {
                join(&mut found, taken.found);
                level.extend(taken.folders);
            }
        }
        Ok(found)
    }

    /// Takes the files of a folder, on all cores where they are many; `here` is where it is.
    fn folder(&self, folder: &Path, here: &Arc<Above>) -> Result<Taken, RepositoryError> {
        let naming = self.naming(&here.folder)?;
        let listing = Listing::open(folder, here.linked).at(folder)?;
        let mut all = Taken::default();
        if self.take_some(&listing, here, &naming, &mut all)? == SOME_ENTRIES {
            let take = |_| {
                let mut taken = Taken::default();
                while self.take_some(&listing, here, &naming, &mut taken)? > 0 {}
                Ok::<_, RepositoryError>(taken)
            };
            let cores = (0..rayon::current_num_threads()).into_par_iter().with_max_len(1);
            for taken in cores.map(take).collect::<Result<Vec<_>, _>>()? {
                join(&mut all.found, taken.found);
                join(&mut all.folders, taken.folders);
            }
        }
        Ok(all)
    }

    /// Takes some entries of a folder. Returns how many; none where all have been taken.
    fn take_some(
        &self,
        listing: &Listing<'_>,
        here: &Arc<Above>,
        naming: &Naming,
        taken: &mut Taken,
    ) -> Result<usize, RepositoryError> {
        let some = listing.some().at(listing.path)?;
        let mut from = 0;
        for (kind, end) in &some.kinds {
            let name = OsStr::from_bytes(&some.names[from..*end]);
            from = *end;
            let Some(Looked { kind, stat, is_link }) = self.look(listing, name, *kind)? else { continue };
            let path = || listing.path.join(name);
            if is_link {
                self.refuse_link_outside(&path())?;
            }
            if kind.is_dir() {
                // what other commands put aside in the folder of targets is no target
                let is_ours =
                    || naming.inside.is_some() && name.to_str().is_some_and(TargetPath::is_reserved_name);
                if self.source.walk == Walk::Recursive && !is_ours() {
                    taken.folders.extend(here.below(path(), name)?);
                }
            } else if kind.is_file() {
                // one that cannot be looked at is read, which tells why
                let look = || stat.or_else(|| statat(&listing.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok());
                let stamp = if self.stamped { look().as_ref().and_then(Stamp::of) } else { None };
                taken.found.push(self.target(name, naming, stamp, path)?);
            }
        }
        Ok(some.kinds.len())
    }

    /// Finds out what an entry is where the listing does not tell, and what a link leads to; `None` for one that is left out.
    fn look(
        &self,
        listing: &Listing<'_>,
        name: &OsStr,
        mut kind: FileType,
    ) -> Result<Option<Looked>, RepositoryError> {
        let look = |flags| {
            let stat = statat(&listing.folder, name, flags).map_err(io::Error::from);
            stat.at(listing.path.join(name))
        };
        let mut stat = None;
        if kind == FileType::Unknown {
            let found = look(AtFlags::SYMLINK_NOFOLLOW)?;
            (kind, stat) = (FileType::from_raw_mode(found.st_mode), Some(found));
        }
        let is_link = kind == FileType::Symlink;
        if is_link {
            if self.source.symlinks == Symlinks::Refuse {
                return Ok(None);
            }
            let found = look(AtFlags::empty())?;
            (kind, stat) = (FileType::from_raw_mode(found.st_mode), Some(found));
        }
        Ok(Some(Looked { kind, stat, is_link }))
    }

    /// Refuses a link that leads out of the folder in which the files to list are.
    fn refuse_link_outside(&self, link: &Path) -> Result<(), RepositoryError> {
        let base = match self.base()? {
            Some(base) => base,
            None => self.targets.to_owned(),
        };
        match link_out_of(link, &base) {
            Some(link) => Err(InputError::LinkOutside { link, base }.into()),
            None => Ok(()),
        }
    }

    /// Finds out what the files of a folder are called; `folder` is canonical.
    fn naming(&self, folder: &Path) -> Result<Naming, RepositoryError> {
        let inside = folder.strip_prefix(self.targets).ok();
        let in_place = inside.is_some() && self.source.base.is_none() && self.source.prefix.is_none();
        let text = |path: &Path| match path.to_str()? {
            "" => Some(String::new()),
            inside => Some(format!("{inside}/")),
        };
        let inside_text = inside.and_then(text);
        let naming = |before| Naming { folder: folder.into(), before, in_place, inside: inside_text.clone() };
        let base;
        let relative = match inside.filter(|_| in_place) {
            Some(relative) => relative,
            None => {
                let Some(found) = self.base()? else {
                    return Ok(naming(Before::Outside(self.source.targets.to_owned())));
                };
                base = found;
                match folder.strip_prefix(&base) {
                    Ok(relative) => relative,
                    Err(_) => return Ok(naming(Before::Outside(base))),
                }
            }
        };
        let Some(relative) = relative.to_str() else { return Ok(naming(Before::NotUtf8)) };
        // an absolute prefix is left for the target path to refuse
        let trimmed = |prefix: &'a str| match prefix.starts_with('/') {
            true => prefix,
            false => prefix.trim_end_matches('/'),
        };
        let prefix = self.source.prefix.filter(|_| !in_place).map(trimmed).unwrap_or_default();
        let parts = [prefix, relative].into_iter().filter(|part| !part.is_empty());
        Ok(naming(Before::Text(parts.map(|part| format!("{part}/")).collect())))
    }

    /// Returns where the target paths of files from outside start; where only a prefix is given, that is the path that was
    /// typed.
    fn base(&self) -> Result<Option<PathBuf>, RepositoryError> {
        let typed_parent =
            || self.typed.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = match (self.source.base, self.source.prefix) {
            (Some(base), _) => base,
            (None, Some(_)) if self.typed.is_dir() => self.typed,
            (None, Some(_)) => typed_parent(),
            (None, None) => return Ok(None),
        };
        fs::canonicalize(base).at(base).map(Some)
    }

    /// Names a file as a target; `file` tells where it is, as people write it.
    fn target(
        &self,
        name: &OsStr,
        naming: &Naming,
        stamp: Option<Stamp>,
        file: impl FnOnce() -> PathBuf,
    ) -> Result<FoundTarget, RepositoryError> {
        let parts = match (&naming.before, name.to_str()) {
            (Before::Outside(targets), _) => {
                let base = fs::canonicalize(targets).unwrap_or_else(|_| targets.clone());
                if let Some(link) = link_out_of(&file(), &base) {
                    return Err(InputError::LinkOutside { link, base: targets.clone() }.into());
                }
                let (path, targets) = (self.typed.to_owned(), targets.clone());
                return Err(InputError::OutsideTargets { path, targets }.into());
            }
            (Before::Text(before), Some(name)) => [&**before, name],
            _ => {
                let reason = "its name is not UTF-8";
                return Err(InputError::NoFile { path: file(), reason }.into());
            }
        };
        let path = TargetPath::try_from(parts.concat()).map_err(InputError::from)?;
        let (folder, in_place) = (naming.folder.clone(), naming.in_place);
        let maybe_copy = name.to_str().and_then(parse_hash_named).map(|(digest, name)| {
            let before = naming.inside.as_deref().unwrap_or_else(|| path.split().0);
            let of = [before, name].concat();
            Box::new(MaybeCopy { inside: naming.inside.is_some(), of, digest: digest.to_owned() })
        });
        Ok(FoundTarget { path, folder, in_place, maybe_copy, stamp })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Finds what is below the targets of a folder, by what it will be called.
    fn found(dir: &Path, walk: Walk, symlinks: Symlinks) -> Vec<String> {
        let targets = dir.join("targets");
        let source = TargetSource { targets: &targets, base: None, prefix: None, walk, symlinks };
        let found = find_targets(std::slice::from_ref(&targets), &source).unwrap().targets;
        assert!(found.iter().all(|target| target.in_place && target.file().is_file()));
        found.into_iter().map(|target| target.path.to_string()).collect()
    }

    #[test]
    fn each_file_of_a_wide_and_deep_tree_is_found_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (targets, mut expected) = (dir.path().join("targets"), Vec::new());
        for folder in ["", "wide/", "a/b/", "a/b/c/d/e/"] {
            fs::create_dir_all(targets.join(folder)).unwrap();
            // more than are taken at a time, and exactly as many
            let number = if folder == "wide/" { SOME_ENTRIES } else { 2 * SOME_ENTRIES + 7 };
            for number in 0..number {
                expected.push(format!("{folder}{number}"));
                fs::write(targets.join(&expected[expected.len() - 1]), "x").unwrap();
            }
        }
        expected.sort();
        assert_eq!(found(dir.path(), Walk::Recursive, Symlinks::Refuse), expected);
        expected.retain(|path| !path.contains('/'));
        assert_eq!(found(dir.path(), Walk::Flat, Symlinks::Refuse), expected);
    }

    #[test]
    fn links_are_followed_only_when_asked_and_a_loop_of_them_ends() {
        let dir = tempfile::tempdir().unwrap();
        let targets = dir.path().join("targets");
        fs::create_dir_all(targets.join("a")).unwrap();
        fs::write(targets.join("a/file"), "x").unwrap();
        symlink("a/file", targets.join("link")).unwrap();
        symlink("..", targets.join("a/up")).unwrap();
        assert_eq!(found(dir.path(), Walk::Recursive, Symlinks::Refuse), ["a/file"]);
        assert_eq!(found(dir.path(), Walk::Recursive, Symlinks::Follow), ["a/file", "link"]);
    }

    #[test]
    fn a_deep_tree_is_walked_through() {
        let dir = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(400);
        fs::create_dir_all(dir.path().join("targets").join(&deep)).unwrap();
        fs::write(dir.path().join("targets").join(&deep).join("x"), "x").unwrap();
        assert_eq!(found(dir.path(), Walk::Recursive, Symlinks::Refuse), [format!("{deep}x")]);
    }
}
