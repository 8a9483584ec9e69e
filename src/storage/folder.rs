//! A folder as one kind of storage.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::local::is_absent;
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
        match File::open(self.file(name)) {
            Err(error) if is_absent(&error) => Ok(None),
            file => Ok(Some(Box::new(file?))),
        }
    }

    fn remove(&self, names: &[&str]) -> io::Result<()> {
        Folder::remove(self, names.iter().copied())
    }
}

fn walk(folder: &Path, below: &str, visit: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let mut entries: Vec<fs::DirEntry> = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.and_then(Iterator::collect)?,
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| *name != super::local::STAGING) else { continue };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{below}{name}/"), visit)?;
        } else if kind.is_file() {
            visit(&format!("{below}{name}"))?;
        }
    }
    Ok(())
}
