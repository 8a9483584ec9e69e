//! A note that keeps a rotation of keys whole (spec 5.3.11): a root that withdraws a key of timestamp or snapshot is stored,
//! and the local files of both roles count no more, in one step.
//!
//! Were the files removed before the root is stored, a client that is killed in between would stand on the old root with no
//! memory of what is newest; were they removed after it, what a thief of the old key has signed would outlive the key. So
//! the note comes first. It names the root that is about to be stored, and says something only once that root is there.

use std::io::{self, Read};

use super::confined::Folder;
use super::noted::Digest;
use super::unfinished::replace;

/// The name of the note; not `.json`, so that nobody takes it for metadata.
pub(super) const NAME: &str = ".rotated";
/// More bytes than this are no note.
const LARGEST: u64 = 4096;

/// Notes the root that is about to be stored.
///
/// # Errors
/// [`io::Error`] where that fails; nothing has changed then.
pub(super) fn begin(metadata: &Folder, root: &[u8]) -> io::Result<()> {
    let text = serde_json::to_vec(&Digest::of(root))?;
    replace(metadata, NAME, &text)
}

/// Tells whether a root is the one that was noted: what is stored of timestamp and snapshot was signed under the root before.
///
/// # Errors
/// [`io::Error`] where the note is there and cannot be read.
pub(super) fn is_by(metadata: &Folder, root: &[u8]) -> io::Result<bool> {
    Ok(noted(metadata)?.is_some_and(|noted| noted == Digest::of(root)))
}

/// Tells whether there is a note.
///
/// # Errors
/// [`io::Error`] where the folder cannot be read.
pub(super) fn is_noted(metadata: &Folder) -> io::Result<bool> {
    metadata.has(NAME)
}

/// Removes the note.
///
/// # Errors
/// [`io::Error`] where it stays.
pub(super) fn end(metadata: &Folder) -> io::Result<()> {
    metadata.remove(NAME)
}

fn noted(metadata: &Folder) -> io::Result<Option<Digest>> {
    let Some(file) = metadata.file(NAME)? else { return Ok(None) };
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    // it is replaced in one step: other bytes were never ours
    Ok(serde_json::from_slice(&text).ok())
}
