//! Folders that a command makes on its way: where it fails, they go again, and the disk is as it was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that were made and are empty until something is put there.
///
/// Dropped without [`MadeFolders::keep`] those go that are empty still.
#[derive(Debug, Default)]
#[must_use = "dropped, the folders go again"]
pub struct MadeFolders {
    /// The outermost first.
    made: Vec<PathBuf>,
}

impl MadeFolders {
    /// Makes a folder, and those above it, as far as they are not there.
    ///
    /// # Errors
    /// Where one cannot be made, or something else is in its place; those that were made are gone again.
    pub fn make(path: &Path) -> io::Result<Self> {
        let mut all = Self::default();
        let mut missing: Vec<&Path> =
            path.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.is_dir()).collect();
        missing.reverse();
        for folder in missing {
            match fs::create_dir(folder) {
                Ok(()) => all.made.push(folder.to_owned()),
                // `..` behind a folder that has just been made, or another process was faster
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Lets the folders stay.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        // one that somebody has put something into stays
        self.made.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_not_kept_go_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("there")).unwrap();
        drop(MadeFolders::make(&at("there/a/b")).unwrap());
        drop(MadeFolders::make(&at("there")).unwrap());
        drop(MadeFolders::make(&at("new/../there")).unwrap());
        assert!(at("there").is_dir() && !at("there/a").exists() && !at("new").exists());
        let made = MadeFolders::make(&at("a/b/c")).unwrap();
        fs::write(at("a/mine"), "").unwrap();
        drop(made);
        assert!(at("a/mine").exists() && !at("a/b").exists());
        MadeFolders::make(&at("x/y")).unwrap().keep();
        assert!(at("x/y").is_dir());
        fs::write(at("file"), "").unwrap();
        assert!(MadeFolders::make(&at("z/../file/d")).is_err());
        assert!(!at("z").exists());
    }
}
