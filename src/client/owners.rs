//! Whose files and folders may count for a target that is in its place.
//!
//! In a folder that is shared like `/tmp`, where nobody moves what is another user's, somebody may put a file with the right
//! bytes at the place of a target, or make a folder above it, before the client comes, and change it afterwards. What belongs
//! to this user, to the administrator, or to the owner of the target folder, who can exchange everything in it anyway, is as
//! good as ours. Where a folder on the way lets other users exchange what lies in it, its owner has given them that.

use std::fs::File;
use std::io;

use rustix::process::geteuid;

use super::confined::{Folder, Ownership};

/// The administrator's number.
const ROOT: u32 = 0;

/// Somebody else's folder stands above a target.
#[derive(Debug, thiserror::Error)]
#[error("'{}' belongs to another user, who could exchange what lies in it", .name.escape_debug())]
pub struct OthersFolder {
    name: String,
}

/// Judges what stands on the way from a target folder to a place in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners {
    trusted: [u32; 3],
    /// Whether nobody but these can exchange what lies in the folder that was entered last.
    is_shut: bool,
}

impl Owners {
    /// Starts in a target folder. Who may write to that one is the choice of whoever names it.
    pub fn of(top: &Folder) -> io::Result<Self> {
        let found = top.ownership()?;
        Ok(Self { trusted: [geteuid().as_raw(), ROOT, found.owner], is_shut: !lets_exchange(&found) })
    }

    /// Goes into a folder of the one that was entered last.
    ///
    /// # Errors
    /// [`OthersFolder`] where that one is somebody else's.
    pub fn enter(&mut self, folder: &Folder, name: &str) -> io::Result<()> {
        let found = folder.ownership()?;
        if self.is_shut && !self.trusted.contains(&found.owner) {
            let others = OthersFolder { name: name.to_owned() };
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, others));
        }
        self.is_shut = self.is_shut && !lets_exchange(&found);
        Ok(())
    }

    /// Tells whether a file in the folder that was entered last stays as it is, as far as other users go.
    pub fn keep(&self, file: &File) -> io::Result<bool> {
        let found = Ownership::of(file)?;
        Ok(!self.is_shut || (self.trusted.contains(&found.owner) && !found.others_write))
    }
}

/// Tells whether a folder lets other users exchange what is not theirs.
fn lets_exchange(found: &Ownership) -> bool {
    found.others_write && !found.is_sticky
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::path::Path;

    use super::*;

    fn set(path: &Path, mode: u32, owner: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        chown(path, Some(owner), Some(owner)).unwrap();
    }

    #[test]
    fn a_file_that_others_may_write_to_counts_only_where_they_could_exchange_it_anyway() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        std::fs::write(&path, b"bytes").unwrap();
        let own = root.path().metadata().unwrap().uid();
        let keeps = |folder: u32, file: u32| {
            set(root.path(), folder, own);
            set(&path, file, own);
            Owners::of(&Folder::open(root.path()).unwrap())
                .unwrap()
                .keep(&File::open(&path).unwrap())
                .unwrap()
        };
        for folder in [0o755, 0o1777, 0o700, 0o1775] {
            assert!(keeps(folder, 0o644) && keeps(folder, 0o400), "{folder:o}");
            assert!(!keeps(folder, 0o666) && !keeps(folder, 0o664) && !keeps(folder, 0o602), "{folder:o}");
        }
        for folder in [0o777, 0o775] {
            assert!(keeps(folder, 0o644) && keeps(folder, 0o666), "{folder:o}");
        }
    }

    #[test]
    fn another_users_file_or_folder_does_not_count_in_a_folder_like_tmp_nor_anywhere_below() {
        let root = tempfile::tempdir().unwrap();
        if root.path().metadata().unwrap().uid() != 0 {
            return;
        }
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("lib/deep")).unwrap();
        std::fs::write(at("lib/deep/file"), b"bytes").unwrap();
        let judged = |top: (u32, u32), lib: (u32, u32), deep: (u32, u32), file: (u32, u32)| {
            for (path, (mode, owner)) in
                [("", top), ("lib", lib), ("lib/deep", deep), ("lib/deep/file", file)]
            {
                set(&at(path), mode, owner);
            }
            let open = |path: &str| Folder::open(&at(path)).unwrap();
            let mut owners = Owners::of(&open("")).unwrap();
            owners.enter(&open("lib"), "lib").map_err(|error| error.to_string())?;
            owners.enter(&open("lib/deep"), "deep").map_err(|error| error.to_string())?;
            Ok(owners.keep(&File::open(at("lib/deep/file")).unwrap()).unwrap())
        };
        let refused =
            |name: &str| Err(format!("'{name}' belongs to another user, who could exchange what lies in it"));
        let (dir, own) = ((0o755, 0), (0o644, 0));
        for top in [(0o1777, 0), (0o755, 0), (0o1775, 0)] {
            assert_eq!(judged(top, dir, dir, own), Ok(true));
            assert_eq!(judged(top, (0o777, 2), dir, own), refused("lib"));
            assert_eq!(judged(top, (0o700, 2), dir, own), refused("lib"));
            assert_eq!(judged(top, dir, (0o755, 2), own), refused("deep"));
            assert_eq!(judged(top, dir, dir, (0o644, 2)), Ok(false));
            assert_eq!(judged(top, (0o1777, 0), dir, (0o400, 2)), Ok(false));
            assert_eq!(judged(top, (0o1777, 0), (0o755, 2), own), refused("deep"));
            // the owner of a folder has opened it for a group
            assert_eq!(judged(top, (0o775, 0), (0o755, 2), (0o644, 2)), Ok(true));
        }
        // whoever owns the target folder can exchange everything in it
        assert_eq!(judged((0o755, 2), (0o755, 2), dir, (0o644, 2)), Ok(true));
        assert_eq!(judged((0o755, 2), (0o755, 3), dir, own), refused("lib"));
        assert_eq!(judged((0o777, 0), (0o755, 2), (0o755, 3), (0o666, 3)), Ok(true));
    }
}
