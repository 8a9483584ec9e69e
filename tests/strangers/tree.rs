//! A folder with all that is in it, as it can be seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Something in a folder. Two that are equal are the same thing: not written again, even with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File { bytes: Vec<u8>, inode: u64, mode: u32, modified: (i64, i64) },
    Link(PathBuf),
    Folder,
}

impl Entry {
    /// Returns what a file holds.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::File { bytes, .. } => Some(bytes),
            Self::Link(_) | Self::Folder => None,
        }
    }
}

/// What is in a folder, by its path below it.
pub type Tree = BTreeMap<String, Entry>;

/// Reads a folder; links are not followed.
pub fn tree(top: &Path) -> Tree {
    let mut all = Tree::new();
    collect(top, top, &mut all);
    all
}

fn collect(top: &Path, folder: &Path, all: &mut Tree) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if metadata.is_dir() {
            all.insert(name, Entry::Folder);
            collect(top, &path, all);
        } else if metadata.is_symlink() {
            all.insert(name, Entry::Link(fs::read_link(&path).unwrap()));
        } else {
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            let bytes = fs::read(&path).unwrap();
            let entry = Entry::File { bytes, inode: metadata.ino(), mode: metadata.mode(), modified };
            all.insert(name, entry);
        }
    }
}

/// How something differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    New(Entry),
    Changed(Entry, Entry),
    Gone(Entry),
}

/// Returns what differs, by its path.
pub fn changes(before: &Tree, after: &Tree) -> BTreeMap<String, Change> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let gone = gone.map(|(name, entry)| (name.clone(), Change::Gone(entry.clone())));
    let other = after.iter().filter_map(|(name, entry)| {
        let change = match before.get(name) {
            None => Change::New(entry.clone()),
            Some(old) if old != entry => Change::Changed(old.clone(), entry.clone()),
            Some(_) => return None,
        };
        Some((name.clone(), change))
    });
    gone.chain(other).collect()
}

/// Puts a file where nothing is in the way; tells whether it could.
pub fn plant(path: &Path, bytes: &[u8]) -> bool {
    if path.symlink_metadata().is_ok() {
        return false;
    }
    let parent = path.parent().unwrap();
    fs::create_dir_all(parent).is_ok() && fs::write(path, bytes).is_ok()
}
