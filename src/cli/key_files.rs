//! Key files written: PATH for the private half, PATH.pub for the public one, each replaced as a whole.
//!
//! New bytes go to a dot-named file beside the old ones, to the disk, and only then under their name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::failure::{Failure, Outcome};
use super::hint::Hint;
use super::text::quoted;
use crate::storage::MadeFolders;

/// What happens to files in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Nothing is written.
    Refuse,
    /// They are replaced.
    Replace,
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Its owner: mode 0600 from the moment it exists.
    Owner,
    /// Everybody: mode 0644.
    Everybody,
}

/// Returns where the public half of the private key at a path is kept: `PATH.pub`.
pub fn public_path(private: &Path) -> PathBuf {
    let mut path = private.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

/// Finds out whether a pair of key files may be written, before anybody is asked for a password.
///
/// # Errors
/// Of kind `Usage` where the path names no file or a file is in the way.
pub fn check_place(private: &Path, overwrite: Overwrite) -> Outcome {
    file_name(private)?;
    for path in [private.to_owned(), public_path(private)] {
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Failure::usage(format!("{} lies below what is not a folder", quoted(&path))));
            }
            Err(error) => return Err(Failure::cannot("look at", &path, &error)),
            Ok(file) if file.is_dir() => {
                return Err(Failure::usage(format!("{} is a folder", quoted(&path))));
            }
            Ok(_) if overwrite == Overwrite::Refuse => return Err(in_the_way(&path)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Writes a new pair of key files, making the folder they are in.
///
/// # Errors
/// As [`check_place`], and of kind `Io`. Nothing is left behind then.
pub fn write_pair(private: &Path, private_pem: &str, public_pem: &str, overwrite: Overwrite) -> Outcome {
    check_place(private, overwrite)?;
    let folder = folder_of(private);
    let made =
        MadeFolders::make(folder).map_err(|error| Failure::cannot("make the folder", folder, &error))?;
    let public = public_path(private);
    let new_private = Unfinished::write(private, private_pem, Audience::Owner)?;
    let new_public = Unfinished::write(&public, public_pem, Audience::Everybody)?;
    match overwrite {
        Overwrite::Refuse => {
            new_private.place()?;
            if let Err(failure) = new_public.place() {
                // the private half is ours and a moment old: nobody uses it yet
                let _ = fs::remove_file(private);
                return Err(failure);
            }
        }
        Overwrite::Replace => {
            // killed in between, a private key without PATH.pub is whole; beside another's it is not
            remove_if_there(&public)?;
            new_private.replace()?;
            new_public.replace()?;
        }
    }
    made.keep();
    sync_folder(folder)
}

/// Replaces a private key file by another form of the same key. A link is followed: what it points to is
/// replaced.
///
/// # Errors
/// Of kind `Io`; the old file is intact then.
pub fn replace_private(private: &Path, pem: &str) -> Outcome {
    let path = fs::canonicalize(private).map_err(|error| Failure::cannot("find", private, &error))?;
    Unfinished::write(&path, pem, Audience::Owner)?.replace()?;
    sync_folder(folder_of(&path))
}

fn in_the_way(path: &Path) -> Failure {
    Failure::usage(format!("{} exists already", quoted(path)))
        .with_hint(Hint::again("choose another PATH, or replace it", "--force"))
}

fn file_name(path: &Path) -> Result<&OsStr, Failure> {
    // Path::file_name finds one in `a/` and `a/.` too
    let last = path.as_os_str().as_encoded_bytes().rsplit(|byte| *byte == b'/').next();
    path.file_name()
        .filter(|name| last == Some(name.as_encoded_bytes()))
        .ok_or_else(|| Failure::usage(format!("{} names no file", quoted(path))))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn remove_if_there(path: &Path) -> Outcome {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::cannot("remove", path, &error)),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> Outcome {
    let result = if cfg!(unix) { File::open(folder).and_then(|folder| folder.sync_all()) } else { Ok(()) };
    result.map_err(|error| Failure::cannot("write to the disk", folder, &error))
}

/// How many hexadecimal digits the number in an unfinished file's name has.
const NUMBER: usize = 16;

/// New contents beside their final place, on the disk. Its lock tells others that its writer lives; dropped, it
/// is removed.
struct Unfinished<'a> {
    path: PathBuf,
    destination: &'a Path,
    file: File,
}

impl<'a> Unfinished<'a> {
    fn write(destination: &'a Path, contents: &str, audience: Audience) -> Result<Self, Failure> {
        let prefix = unfinished_prefix(file_name(destination)?);
        remove_abandoned(folder_of(destination), &prefix);
        let failed = |error: io::Error| Failure::cannot("write", destination, &error);
        let mut unfinished = loop {
            let number =
                getrandom::u64().map_err(|_| Failure::io("the operating system gave no random bytes"))?;
            let mut name = prefix.clone();
            name.push(format!("{number:0NUMBER$x}"));
            let path = destination.with_file_name(name);
            let file = create(&path, audience).map_err(failed)?;
            // where the file system knows no locks nobody else takes one, and nothing is taken for abandoned
            let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // before it was locked another writer may have taken it for abandoned
            if !is_taken && fs::symlink_metadata(&path).is_ok() {
                break Self { path, destination, file };
            }
        };
        unfinished.file.write_all(contents.as_bytes()).map_err(failed)?;
        unfinished.file.sync_all().map_err(failed)?;
        Ok(unfinished)
    }

    /// Puts the contents in their place unless something is there.
    fn place(self) -> Outcome {
        match fs::hard_link(&self.path, self.destination) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(in_the_way(self.destination)),
            // a file system without hard links: a moment is left in which another's file would be lost
            Err(_) if fs::symlink_metadata(self.destination).is_err() => self.replace(),
            Err(_) => Err(in_the_way(self.destination)),
        }
    }

    /// Puts the contents in their place; a file that is there is replaced.
    fn replace(self) -> Outcome {
        fs::rename(&self.path, self.destination)
            .map_err(|error| Failure::cannot("write", self.destination, &error))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // gone already where it was renamed
        let _ = fs::remove_file(&self.path);
    }
}

fn unfinished_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".unfinished-");
    prefix
}

/// Removes what killed writers of the same file left: regular files of exactly the names that are made here, which nobody
/// has locked. What cannot be removed stays: it is in nobody's way.
fn remove_abandoned(folder: &Path, prefix: &OsStr) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let is_ours = number.is_some_and(|number| number.len() == NUMBER && number.iter().all(is_digit));
        if is_ours && open_file(&entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Opens a regular file: no link is followed, and no pipe waited for.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(unix)]
fn create(path: &Path, audience: Audience) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mode = match audience {
        Audience::Owner => 0o600,
        Audience::Everybody => 0o644,
    };
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // the umask has had its say above and may have taken too much
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

#[cfg(not(unix))]
fn create(path: &Path, _audience: Audience) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
#[path = "key_files_tests.rs"]
mod tests;
