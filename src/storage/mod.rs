//! Files by name below one folder: bounded reads, atomic replacement in durable batches. Knows no TUF.

mod local;

pub use local::{Batch, Folder, Holder, Lock, LockError};

use std::io;

/// Reads files by name, `a/b` for a file in a folder.
pub trait ReadFiles: Sync {
    /// Reads a whole file; `None` where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read, or is longer than `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
}
