//! Files by name, in a folder or in a bucket: bounded reads, listings, atomic replacement. Knows no TUF.

mod bucket;
mod cause;
mod connect;
mod folder;
mod local;
mod made_folders;
mod new_folder;
mod removal;
mod staging;
#[cfg(test)]
pub(crate) mod testing;
mod upload;

pub use bucket::{Bucket, Caching, Created, Names, Replaced};
pub use connect::{BucketUrl, BucketUrlError};
pub use local::{Batch, Folder, Holder, Lock, LockError, lock_file, open_regular, regular_or_none};
pub use made_folders::MadeFolders;
pub use new_folder::NewFolder;
pub use upload::{OpenUpload, Upload, UploadError};

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

/// Reads files by name, `a/b` for a file in a folder.
pub trait ReadFiles: Sync {
    /// Reads a whole file; `None` where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read, or is longer than `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
}

/// Files that can be read, listed and removed, wherever they are.
pub trait Storage: ReadFiles {
    /// Returns where a file is, to be told to people; of the empty name, the place itself.
    fn place(&self, name: &str) -> PathBuf;

    /// Lists the names of the plain files directly here, sorted; nothing where there is no such place. Hidden names are
    /// left out.
    ///
    /// # Errors
    /// Where the place cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Visits the names of all plain files here and below, in any order. Hidden ones are among them, except what this
    /// module itself puts aside.
    ///
    /// # Errors
    /// Where the place cannot be read, and as the visitor.
    fn walk(&self, visit: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()>;

    /// Returns the length of a file in bytes; `None` where there is no such plain file.
    ///
    /// # Errors
    /// Where the file cannot be looked at.
    fn length(&self, name: &str) -> io::Result<Option<u64>>;

    /// Returns when a file was last changed; `None` where there is none.
    ///
    /// # Errors
    /// Where the file cannot be looked at.
    fn modified(&self, name: &str) -> io::Result<Option<SystemTime>>;

    /// Opens a file to be read from its start; `None` where there is none.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>>;

    /// Removes files, then makes that durable. A file that is gone already is no failure.
    ///
    /// # Errors
    /// At the first file that cannot be removed; others may be gone.
    fn remove(&self, names: &[&str]) -> io::Result<()>;
}
