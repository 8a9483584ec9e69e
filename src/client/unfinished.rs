//! Files that are not finished: they lie below the name `.tuf-fetch` of a folder, where no target path leads and no
//! role's file, and each is known by its descriptor. Where another user has that name, they lie below `.tuf-fetch-UID`: the
//! folder is always the user's own, and nobody else may write to it.
//!
//! Small ones lie in a folder of the process, which ends with it; a large one lies under its digest, so that the next
//! run can take it up. A file is moved to its place only where its name still leads to the file that is open.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::geteuid;

use super::confined::{Folder, Identity};

/// The name below which unfinished files lie, in the folder that they are for. Where it is another user's, a hyphen and the
/// number of the own user follow.
const PLACE: &str = ".tuf-fetch";
/// What the name of a process's folder ends with.
const PART: &str = ".part";
/// What the name of a large file that is kept ends with; before it stands its digest.
const KEPT: &str = ".rest";
/// What the name begins with of a file that somebody put in the place of a verified one; two numbers follow. Nobody sweeps it.
const ASIDE: &str = "exchanged-";
/// How often a folder is made again that others remove as empty at the same time.
const ATTEMPTS: usize = 1000;

/// A folder of new files. What is still there when it is dropped goes with it; what a killed process left is swept by
/// the next.
pub struct Unfinished<'a> {
    above: &'a Folder,
    place: Place,
    part: Folder,
    name: String,
    next: AtomicU64,
}

/// A folder below which unfinished files of this user lie.
struct Place {
    folder: Folder,
    name: String,
}

/// Other users have both names that the folder for unfinished files may have.
#[derive(Debug, thiserror::Error)]
#[error("'{name}' is no folder of the user who runs this command, and neither is '.tuf-fetch'")]
pub struct PlaceTaken {
    name: String,
}

impl Place {
    /// Returns the names that a place may have, the one for this user only first.
    fn names() -> [String; 2] {
        [format!("{PLACE}-{}", geteuid().as_raw()), PLACE.to_owned()]
    }

    /// Opens the place of a name; `None` where there is none, or where it is not this user's.
    fn open(above: &Folder, name: &str) -> io::Result<Option<Self>> {
        let folder = match above.folder(name) {
            Ok(Some(folder)) if folder.is_own()? => folder,
            Ok(_) => return Ok(None),
            // a folder of another user need not be readable, and a link or a file may have the name
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        folder.shut()?;
        Ok(Some(Self { folder, name: name.to_owned() }))
    }

    /// Opens the places of this user that are there.
    fn all(above: &Folder) -> io::Result<Vec<Self>> {
        let places = Self::names().into_iter().map(|name| Self::open(above, &name));
        places.filter_map(io::Result::transpose).collect()
    }

    /// Makes a place, or opens the one that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where others remove it meanwhile; [`PlaceTaken`].
    fn make(above: &Folder) -> io::Result<Self> {
        let [own, common] = Self::names();
        // an interrupted target may lie there
        if let Some(place) = Self::open(above, &own)? {
            return Ok(place);
        }
        for name in [&common, &own] {
            let is_made = match above.make_private_folder(name) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => return Err(io::Error::new(error.kind(), format!("'{name}': {error}"))),
            };
            if let Some(place) = Self::open(above, name)? {
                return Ok(place);
            }
            if !above.has(name)? {
                return Err(io::ErrorKind::NotFound.into());
            }
            if is_made {
                // a file system that gives new files another owner
                let _ = above.remove_folder(name);
            }
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, PlaceTaken { name: own }))
    }

    /// Removes the place where it holds nothing.
    fn remove_if_empty(&self, above: &Folder) {
        let _ = above.remove_folder(&self.name);
    }
}

/// A new file, known by its descriptor.
pub struct NewFile {
    /// The file, open for reading and writing.
    pub file: File,
    lies: Lies,
}

/// When somebody else may come in between while a file is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// After the last look at the file, before its rename.
    BeforeRename,
    /// After another file that came has been moved away, before the old one is put back.
    BeforeRestoring,
}

/// Where a new file lies.
enum Lies {
    /// In the folder of the process, under a number.
    Part(String),
    /// Beside that folder, under its digest; the open file is its lock.
    Kept(String),
}

impl<'a> Unfinished<'a> {
    /// Makes a folder for new files in another one, after sweeping what killed processes left there.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn new(above: &'a Folder) -> io::Result<Self> {
        let mut number: u32 = 0;
        for _ in 0..ATTEMPTS {
            // others remove the place whenever it is empty
            let place = match Place::make(above) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                made => made?,
            };
            sweep_place(&place.folder)?;
            let name = format!("{}.{number}{PART}", std::process::id());
            number = number.wrapping_add(1);
            match place.folder.make_private_folder(&name) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) =>
                {
                    continue;
                }
                made => made?,
            }
            // somebody may take it for a left-over before it is locked
            let Ok(Some(part)) = place.folder.folder(&name) else { continue };
            match part.try_lock() {
                // somebody does, and is about to remove it
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // a file system without locks sweeps nothing
                Ok(()) | Err(_) => {}
            }
            if place.folder.holds(&name, &part)? {
                return Ok(Self { above, place, part, name, next: AtomicU64::new(0) });
            }
        }
        Err(io::Error::other(format!("others remove {PLACE} again and again")))
    }

    /// Makes an empty file that ends with the process.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn file(&self) -> io::Result<NewFile> {
        let name = self.next_name();
        Ok(NewFile { file: self.part.make_file(&name)?, lies: Lies::Part(name) })
    }

    /// Opens the file that is kept under a digest in hexadecimal, made where there is none; `None` where somebody else
    /// is at work on it, or something else stands there.
    ///
    /// # Errors
    /// [`io::Error`] where the disk fails.
    pub fn kept(&self, digest: &str) -> io::Result<Option<NewFile>> {
        let name = format!("{digest}{KEPT}");
        // something else stands there: the target is fetched without it
        let Ok(Some(mut file)) = self.place.folder.own(&name) else { return Ok(None) };
        file.seek(SeekFrom::End(0))?;
        Ok(Some(NewFile { file, lies: Lies::Kept(name) }))
    }

    /// Moves a file to a name in a folder, in one step: the file that is open, or none. What was there under that name
    /// is gone; a link is replaced, not followed.
    ///
    /// Where somebody exchanges the file at that very moment, the one that came does not stay under the name: it lies below
    /// `.tuf-fetch` then, for whoever wants to look at it, and what was there before is back.
    ///
    /// # Errors
    /// [`io::Error`] where that fails, or where another file has come to the name of this one.
    pub fn put(&self, new: &NewFile, folder: &Folder, to: &str) -> io::Result<()> {
        self.put_while(new, folder, to, &|_| ())
    }

    /// Puts as [`Self::put`] does; `meanwhile` is what happens to come at a moment.
    fn put_while(
        &self,
        new: &NewFile,
        folder: &Folder,
        to: &str,
        meanwhile: &dyn Fn(Moment),
    ) -> io::Result<()> {
        let (from, name) = self.lies(&new.lies);
        if !from.holds(name, &new.file)? {
            return Err(self.exchanged(None));
        }
        // keeps a hard link to the old file; without one the old file cannot be restored
        let (there, before) = (folder.named(to)?, self.next_name());
        let old = there.filter(|_| folder.link(to, &self.part, &before).is_ok());
        meanwhile(Moment::BeforeRename);
        let put = from.rename(name, folder, to).and_then(|()| {
            if folder.holds(to, &new.file)? {
                return Ok(());
            }
            let aside = self.set_aside(folder, to)?;
            meanwhile(Moment::BeforeRestoring);
            if old.is_some() && self.part.named(&before)? == old {
                self.part.rename(&before, folder, to)?;
                // that name too can be given to another file
                if folder.named(to)? != old {
                    self.set_aside(folder, to)?;
                }
            }
            Err(self.exchanged(aside))
        });
        match (put, old) {
            (Ok(()), Some(_)) => self.part.remove(&before),
            (Err(error), Some(old)) => Err(self.keep_old(error, &before, old, folder, to)),
            (put, None) => put,
        }
    }

    /// Keeps an old file that could not be put back: what is still in a process's folder at its end is removed. Returns the
    /// failure, with the name that the old file has now.
    fn keep_old(
        &self,
        error: io::Error,
        before: &str,
        old: Identity,
        folder: &Folder,
        to: &str,
    ) -> io::Error {
        if !matches!(self.part.named(before), Ok(Some(there)) if there == old) {
            return error;
        }
        if matches!(folder.named(to), Ok(Some(there)) if there == old) {
            // it is where it was; this is only its second name
            let _ = self.part.remove(before);
            return error;
        }
        match self.set_aside(&self.part, before) {
            Ok(Some(name)) => {
                let reason = format!(
                    "{error}; the file that was there before lies under {}/{name} now",
                    self.place.name
                );
                io::Error::new(error.kind(), reason)
            }
            _ => error,
        }
    }

    /// Moves away what has come to a name in the place of the file that was verified; nothing of it is removed. Returns the
    /// name that it has below the folder for unfinished files; `None` where nothing is there any more.
    fn set_aside(&self, folder: &Folder, name: &str) -> io::Result<Option<String>> {
        loop {
            let aside = format!("{ASIDE}{}-{}", std::process::id(), self.next_name());
            if self.place.folder.has(&aside)? {
                continue;
            }
            return match folder.rename(name, &self.place.folder, &aside) {
                Ok(()) => Ok(Some(aside)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
    }

    fn next_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Leaves a file behind that could not be finished, where the next run can take it up; else removes it.
    ///
    /// # Errors
    /// [`io::Error`] where it stays.
    pub fn leave(&self, new: NewFile) -> io::Result<()> {
        if matches!(new.lies, Lies::Kept(_)) && new.file.metadata()?.len() > 0 {
            return Ok(());
        }
        self.discard(new)
    }

    /// Removes a file that could not be finished.
    ///
    /// # Errors
    /// [`io::Error`] where it stays.
    pub fn discard(&self, new: NewFile) -> io::Result<()> {
        let (folder, name) = self.lies(&new.lies);
        if folder.holds(name, &new.file)? { folder.remove(name) } else { Ok(()) }
    }

    fn lies<'p>(&'p self, lies: &'p Lies) -> (&'p Folder, &'p str) {
        match lies {
            Lies::Part(name) => (&self.part, name),
            Lies::Kept(name) => (&self.place.folder, name),
        }
    }

    fn exchanged(&self, aside: Option<String>) -> io::Error {
        let mut reason = "another file came in the place of the one that was verified".to_owned();
        if let Some(name) = aside {
            reason.push_str(&format!("; it lies under {}/{name} now", self.place.name));
        }
        io::Error::other(reason)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // where this fails the next sweep removes it; the place itself stays while it holds anything
        let _ = remove_numbered(&self.part).and_then(|()| self.place.folder.remove_folder(&self.name));
        self.place.remove_if_empty(self.above);
    }
}

/// Puts bytes under a name of a folder in one step, durably: whoever reads it sees the old bytes or the new ones.
///
/// # Errors
/// [`io::Error`] where that fails; the old bytes are still there then.
pub fn replace(folder: &Folder, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = Unfinished::new(folder)?;
    let mut new = unfinished.file()?;
    new.file.write_all(bytes)?;
    new.file.sync_all()?;
    unfinished.put(&new, folder, name)?;
    folder.sync()
}

/// Removes from a folder the unfinished files of processes that are gone, those excepted that can be taken up.
///
/// # Errors
/// [`io::Error`] where the folder cannot be read.
pub fn sweep(above: &Folder) -> io::Result<()> {
    for place in Place::all(above)? {
        sweep_place(&place.folder)?;
        place.remove_if_empty(above);
    }
    Ok(())
}

/// Whether what is of no use any more is removed, or only named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Done,
    /// It is named.
    Planned,
}

/// Finds the large files of interrupted runs that nobody is at work on and nobody wants, given by their digests, and
/// returns how many there are.
///
/// # Errors
/// [`io::Error`] where the folder cannot be read, or one stays.
pub fn forget(above: &Folder, is_wanted: &dyn Fn(&str) -> bool, removal: Removal) -> io::Result<usize> {
    let mut count = 0;
    for place in Place::all(above)? {
        for name in names(&place.folder)? {
            let Some(digest) = name.strip_suffix(KEPT).filter(|digest| is_digest(digest)) else { continue };
            if !is_wanted(digest)
                && let Ok(Some(_owned)) = place.folder.own(&name)
            {
                count += 1;
                if removal == Removal::Done {
                    place.folder.remove(&name)?;
                }
            }
        }
        if removal == Removal::Done {
            place.remove_if_empty(above);
        }
    }
    Ok(count)
}

/// Tells whether a text is a digest that a file can be kept under: hexadecimal, no longer than SHA-512.
pub fn is_digest(text: &str) -> bool {
    matches!(text.len(), 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Removes the folders of processes that are gone. What has another name is not ours.
fn sweep_place(place: &Folder) -> io::Result<()> {
    for name in names(place)? {
        if !is_part(&name) {
            continue;
        }
        // what is locked has an owner; nor is ours what has come to the name since
        if let Ok(Some(part)) = place.folder(&name)
            && part.try_lock().is_ok()
            && place.holds(&name, &part)?
        {
            remove_numbered(&part)?;
            // it stays where it holds something that we did not make
            let _ = place.remove_folder(&name);
        }
    }
    Ok(())
}

/// Lists the names in a folder; one that others have removed meanwhile is empty.
fn names(folder: &Folder) -> io::Result<Vec<String>> {
    match folder.names() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names,
    }
}

/// Tells whether a name is that of a process's folder: two numbers and the ending.
fn is_part(name: &str) -> bool {
    name.strip_suffix(PART)
        .and_then(|numbers| numbers.split_once('.'))
        .is_some_and(|(process, number)| is_number(process) && is_number(number))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Removes the files of a process's folder, which have numbers for names. A folder of such a name is not ours.
fn remove_numbered(part: &Folder) -> io::Result<()> {
    names(part)?.iter().filter(|name| is_number(name)).try_for_each(|name| match part.remove(name) {
        Err(_) if matches!(part.folder(name), Ok(Some(_))) => Ok(()),
        removed => removed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &std::path::Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn nothing_is_left_of_files_that_were_put_or_dropped() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        replace(&folder, "file", b"bytes").unwrap();
        drop(Unfinished::new(&folder).unwrap().file().unwrap());
        assert_eq!(tree(root.path()), ["file"]);
    }

    #[test]
    fn a_file_that_came_in_the_place_of_the_verified_one_is_not_put() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        std::fs::write(root.path().join("to"), b"old").unwrap();
        let digest = "0".repeat(64);
        for kept in [false, true] {
            let unfinished = Unfinished::new(&folder).unwrap();
            let new =
                if kept { unfinished.kept(&digest).unwrap().unwrap() } else { unfinished.file().unwrap() };
            let (from, name) = unfinished.lies(&new.lies);
            let mut other = Unfinished::new(&folder).unwrap().file().unwrap();
            other.file.write_all(b"owned").unwrap();
            from.remove(name).unwrap();
            from.make_file(name).unwrap().write_all(b"owned").unwrap();
            assert!(unfinished.put(&new, &folder, "to").is_err());
            assert_eq!(std::fs::read(root.path().join("to")).unwrap(), b"old");
        }
    }

    /// Exchanges the file that waits for its rename for another one, in one of the ways in which that can be done.
    fn exchange(waiting: &std::path::Path, way: usize) {
        let other = waiting.parent().unwrap().parent().unwrap().join("stranger");
        match way {
            0 => {
                std::fs::write(&other, b"owned").unwrap();
                std::fs::rename(&other, waiting).unwrap();
            }
            1 => {
                std::fs::remove_file(waiting).unwrap();
                std::os::unix::fs::symlink("/etc/hostname", waiting).unwrap();
            }
            2 => {
                std::fs::rename(waiting, other).unwrap();
                std::fs::write(waiting, b"owned").unwrap();
            }
            _ => {
                std::fs::remove_file(waiting).unwrap();
                std::fs::create_dir(waiting).unwrap();
            }
        }
    }

    #[test]
    fn a_file_that_is_exchanged_at_the_very_rename_does_not_stay_under_the_targets_name() {
        for old in [Some("old"), None] {
            for way in 0..4 {
                for kept in [false, true] {
                    let root = tempfile::tempdir().unwrap();
                    let folder = Folder::open(root.path()).unwrap();
                    if let Some(old) = old {
                        std::fs::write(root.path().join("to"), old).unwrap();
                    }
                    let unfinished = Unfinished::new(&folder).unwrap();
                    let digest = "0".repeat(64);
                    let new = if kept {
                        unfinished.kept(&digest).unwrap().unwrap()
                    } else {
                        unfinished.file().unwrap()
                    };
                    let place = root.path().join(PLACE);
                    let waiting = match &new.lies {
                        Lies::Part(name) => place.join(&unfinished.name).join(name),
                        Lies::Kept(name) => place.join(name),
                    };
                    let put = unfinished.put_while(&new, &folder, "to", &|moment| {
                        if moment == Moment::BeforeRename {
                            exchange(&waiting, way);
                        }
                    });
                    assert!(put.is_err(), "{old:?} {way} {kept}");
                    let there = std::fs::read_to_string(root.path().join("to")).ok();
                    assert_eq!(there.as_deref(), old, "{way} {kept}");
                    drop(unfinished);
                    sweep(&folder).unwrap();
                    // what came is nobody's to remove; a folder never came to the name of a file
                    let aside = tree(root.path()).iter().any(|name| name.contains(ASIDE));
                    assert_eq!(aside, way < 3 || old.is_none(), "{old:?} {way} {kept}");
                }
            }
        }
    }

    /// The folder that comes keeps the old file from its place: its only name was in the folder of the process then, which
    /// ends with it.
    #[test]
    fn an_old_file_is_not_removed_where_something_comes_to_its_place_before_it_is_put_back() {
        for comes in ["folder", "file"] {
            let root = tempfile::tempdir().unwrap();
            let folder = Folder::open(root.path()).unwrap();
            let to = root.path().join("to");
            std::fs::write(&to, b"old").unwrap();
            let unfinished = Unfinished::new(&folder).unwrap();
            let new = unfinished.file().unwrap();
            let waiting = root.path().join(PLACE).join(&unfinished.name).join("0");
            let put = unfinished.put_while(&new, &folder, "to", &|moment| match moment {
                Moment::BeforeRename => exchange(&waiting, 0),
                Moment::BeforeRestoring if comes == "file" => {}
                Moment::BeforeRestoring => std::fs::create_dir_all(to.join("deep")).unwrap(),
            });
            let said = put.unwrap_err().to_string();
            drop(unfinished);
            sweep(&folder).unwrap();
            let is_old = |name: &String| std::fs::read(root.path().join(name)).is_ok_and(|old| old == b"old");
            let old: Vec<String> = tree(root.path()).into_iter().filter(is_old).collect();
            assert_eq!(old.len(), 1, "{comes}: {said}");
            assert!(old[0] == "to" || said.contains(&format!("lies under {} now", old[0])), "{said} {old:?}");
        }
    }

    /// Somebody else with the rights of the same user exchanges whatever waits, as fast as he can.
    #[test]
    fn no_exchanger_ever_leaves_his_bytes_under_a_targets_name() {
        use std::sync::atomic::AtomicBool;
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let unfinished = Unfinished::new(&folder).unwrap();
        let part = root.path().join(PLACE).join(&unfinished.name);
        let is_over = AtomicBool::new(false);
        let exchanger = || {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                number += 1;
                for entry in std::fs::read_dir(&part).into_iter().flatten().flatten() {
                    let mine = root.path().join(PLACE).join(format!("mine{number}"));
                    // what is gone meanwhile was put
                    let _ =
                        std::fs::write(&mine, b"owned").and_then(|()| std::fs::rename(&mine, entry.path()));
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(exchanger);
            for round in 0..2000 {
                let mut new = unfinished.file().unwrap();
                new.file.write_all(b"verified").unwrap();
                let to = format!("to{}", round % 3);
                let put = unfinished.put(&new, &folder, &to);
                let there = std::fs::read_to_string(root.path().join(&to)).ok();
                match put {
                    Ok(()) => assert_eq!(there.as_deref(), Some("verified"), "{round}"),
                    Err(_) => assert_ne!(there.as_deref(), Some("owned"), "{round}"),
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_killed_process_is_swept_and_a_living_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let alive = Unfinished::new(&folder).unwrap();
        let file = alive.file().unwrap();
        let killed = root.path().join(PLACE).join("1.0.part");
        std::fs::create_dir(&killed).unwrap();
        std::fs::write(killed.join("0"), b"left over").unwrap();
        sweep(&Folder::open(root.path()).unwrap()).unwrap();
        assert!(!killed.exists());
        alive.put(&file, &folder, "file").unwrap();
        drop(alive);
        assert_eq!(tree(root.path()), ["file"]);
    }

    fn chown(path: &std::path::Path, mode: u32) {
        std::os::unix::fs::chown(path, Some(2), Some(2)).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    /// Whoever made `.tuf-fetch`, or an interrupted target in it, could write to the target afterwards.
    #[test]
    fn what_another_user_planted_for_unfinished_files_is_not_used_and_stays() {
        use std::os::unix::fs::MetadataExt;
        if !geteuid().is_root() {
            return;
        }
        let digest = "a".repeat(64);
        for kind in ["folder", "link", "file"] {
            let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let folder = Folder::open(root.path()).unwrap();
            let planted = root.path().join(PLACE);
            match kind {
                "folder" => {
                    std::fs::create_dir(&planted).unwrap();
                    std::fs::write(planted.join(format!("{digest}.rest")), b"owned").unwrap();
                    chown(&planted.join(format!("{digest}.rest")), 0o666);
                    chown(&planted, 0o777);
                }
                "link" => std::os::unix::fs::symlink(elsewhere.path(), &planted).unwrap(),
                _ => std::fs::write(&planted, b"mine").unwrap(),
            }
            let before = tree(root.path());
            let unfinished = Unfinished::new(&folder).unwrap();
            assert_eq!(unfinished.place.name, format!("{PLACE}-0"));
            let mut new = unfinished.kept(&digest).unwrap().unwrap();
            assert_eq!(new.file.metadata().unwrap().len(), 0);
            new.file.write_all(b"verified").unwrap();
            unfinished.put(&new, &folder, "to").unwrap();
            let put = std::fs::metadata(root.path().join("to")).unwrap();
            assert_eq!((put.uid(), put.mode() & 0o022), (0, 0));
            drop(unfinished);
            sweep(&folder).unwrap();
            forget(&folder, &|_| false, Removal::Done).unwrap();
            std::fs::remove_file(root.path().join("to")).unwrap();
            assert_eq!(tree(root.path()), before);
            assert_eq!(tree(elsewhere.path()), [""; 0]);
            // both names are taken
            std::fs::create_dir(root.path().join(format!("{PLACE}-0"))).unwrap();
            chown(&root.path().join(format!("{PLACE}-0")), 0o777);
            let said = Unfinished::new(&folder).err().unwrap();
            assert!(said.to_string().contains("'.tuf-fetch-0' is no folder of the user"), "{said}");
        }
    }

    #[test]
    fn a_place_that_others_may_write_to_is_shut_and_what_they_may_write_to_is_not_taken_up() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let place = root.path().join(PLACE);
        let digest = "a".repeat(64);
        let rest = place.join(format!("{digest}.rest"));
        std::fs::create_dir(&place).unwrap();
        std::fs::write(&rest, b"owned").unwrap();
        std::fs::set_permissions(&rest, PermissionsExt::from_mode(0o666)).unwrap();
        std::fs::set_permissions(&place, PermissionsExt::from_mode(0o777)).unwrap();
        let unfinished = Unfinished::new(&folder).unwrap();
        assert_eq!(std::fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
        assert!(unfinished.kept(&digest).unwrap().is_none());
        if geteuid().is_root() {
            chown(&rest, 0o644);
            assert!(unfinished.kept(&digest).unwrap().is_none());
        }
    }

    /// A default ACL takes the place of the umask.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_default_acl_gives_nobody_the_right_to_write_to_a_target() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        // version 2; for each entry its tag, its rights and whose they are: owner, user 2, group, mask, others
        let entries = [(1, 7, u32::MAX), (2, 7, 2), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 7, u32::MAX)];
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, whose) in entries {
            acl.extend([u16::to_le_bytes(tag), u16::to_le_bytes(rights)].concat());
            acl.extend(u32::to_le_bytes(whose));
        }
        let name = "system.posix_acl_default";
        if rustix::fs::setxattr(root.path(), name, &acl, rustix::fs::XattrFlags::empty()).is_err() {
            return;
        }
        let folder = Folder::open(root.path()).unwrap();
        let unfinished = Unfinished::new(&folder).unwrap();
        let place = std::fs::metadata(root.path().join(&unfinished.place.name)).unwrap();
        assert_eq!(place.mode() & 0o077, 0);
        for (path, new) in [
            ("small", unfinished.file().unwrap()),
            ("large", unfinished.kept(&"a".repeat(64)).unwrap().unwrap()),
        ] {
            unfinished.put(&new, &folder, path).unwrap();
            // the bits of the group are the most that an entry for a user gives
            assert_eq!(std::fs::metadata(root.path().join(path)).unwrap().mode() & 0o022, 0, "{path}");
        }
    }

    #[test]
    fn a_dry_run_leaves_an_empty_place() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        std::fs::create_dir(root.path().join(PLACE)).unwrap();
        forget(&folder, &|_| false, Removal::Planned).unwrap();
        assert_eq!(tree(root.path()), [PLACE]);
        forget(&folder, &|_| false, Removal::Done).unwrap();
        assert_eq!(tree(root.path()), [""; 0]);
    }

    #[test]
    fn files_that_only_look_like_ours_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let digest = "a".repeat(64);
        let mine = [
            ".tuf-fetch.1.0.part",
            ".tuf-fetch/notes",
            ".tuf-fetch/1.0.part.txt",
            ".tuf-fetch/1.x.part",
            ".tuf-fetch/2.0.part",
            ".tuf-fetch/3.0.part/letter",
            ".tuf-fetch/4.0.part/5/letter",
            ".tuf-fetch/a.rest",
        ];
        for folder in [".tuf-fetch/3.0.part", ".tuf-fetch/4.0.part/5"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        mine.iter().for_each(|name| std::fs::write(root.path().join(name), b"mine").unwrap());
        std::fs::write(root.path().join(format!(".tuf-fetch.{digest}.rest")), b"mine").unwrap();
        let before = tree(root.path());
        replace(&folder, "file", b"").unwrap();
        sweep(&folder).unwrap();
        forget(&folder, &|_| false, Removal::Done).unwrap();
        std::fs::remove_file(root.path().join("file")).unwrap();
        assert_eq!(tree(root.path()), before);
    }

    #[test]
    fn what_can_be_taken_up_goes_only_where_nobody_wants_it_or_is_at_work_on_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let [wanted, unwanted, locked] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        let unfinished = Unfinished::new(&folder).unwrap();
        for digest in [&wanted, &unwanted] {
            let mut new = unfinished.kept(digest).unwrap().unwrap();
            new.file.write_all(b"half").unwrap();
            unfinished.leave(new).unwrap();
        }
        let _at_work = unfinished.kept(&locked).unwrap().unwrap();
        assert_eq!(forget(&folder, &|digest| digest == wanted, Removal::Planned).unwrap(), 1);
        assert_eq!(forget(&folder, &|digest| digest == wanted, Removal::Done).unwrap(), 1);
        drop(unfinished);
        assert_eq!(
            tree(root.path()),
            [PLACE.to_owned(), format!("{PLACE}/{wanted}.rest"), format!("{PLACE}/{locked}.rest")]
        );
    }

    /// A sweep that came between the making of a folder and its lock once emptied it, and then found it full again.
    #[test]
    fn folders_that_are_made_while_others_sweep_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let work = |thread: usize| {
            for round in 0..200 {
                sweep(&folder).unwrap();
                let name = format!("{thread}.{round}");
                replace(&folder, &name, b"whole").unwrap();
                assert_eq!(std::fs::read(root.path().join(&name)).unwrap(), b"whole");
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || work(thread));
            }
        });
        assert_eq!(tree(root.path()).len(), 800);
    }
}
