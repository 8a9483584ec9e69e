//! A folder as one kind of storage.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::local::is_absent;
use super::staging::is_staging;
use super::{Folder, Storage};

impl Storage for Folder {
    fn place(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path().to_owned() } else { self.file(name) }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Folder::names(self)
    }

    fn walk(&self, visit: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        walk(self.path(), "", visit)
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        Folder::length(self, name)
    }

    fn modified(&self, name: &str) -> io::Result<Option<SystemTime>> {
        match fs::metadata(self.file(name)) {
            Err(error) if is_absent(&error) => Ok(None),
            metadata => metadata.and_then(|metadata| metadata.modified()).map(Some),
        }
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        match self.open_file(name) {
            Err(error) if is_absent(&error) => Ok(None),
            file => Ok(Some(Box::new(file?))),
        }
    }

    fn remove(&self, names: &[&str]) -> io::Result<()> {
        Folder::remove(self, names.iter().copied())
    }
}

/// Visits the files of a folder as the system lists them, then those of the folders in it.
fn walk(folder: &Path, below: &str, visit: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let (mut path, mut folders) = (below.to_owned(), Vec::new());
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let kind = entry.file_type()?;
        if kind.is_dir() && is_staging(name) {
            continue;
        }
        if kind.is_dir() {
            folders.push(name.to_owned());
        } else if kind.is_file() {
            path.truncate(below.len());
            path.push_str(name);
            visit(&path)?;
        }
    }
    folders.into_iter().try_for_each(|name| walk(&folder.join(&name), &format!("{below}{name}/"), visit))
}
