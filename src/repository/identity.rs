//! Whether a folder is this repository's: its first root is the one that is written here, byte for byte.

use super::Repository;
use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{DRAFTS, MAX_METADATA};
use crate::storage::{Folder, Storage};

impl Repository {
    /// Refuses a place where another repository is published: of its files nothing is known here. Where no first root is, a
    /// client's check finds fault with that.
    ///
    /// # Errors
    /// [`Refusal::OtherRepository`]; [`RepositoryError::NothingWritten`] where nothing here tells which repository this is.
    pub(super) fn refuse_others(&self, published: &dyn Storage) -> Result<(), RepositoryError> {
        let name = self.first_root_name();
        match read(published, &name)? {
            Some(theirs) if self.first_root_bytes(&name)? != theirs => {
                let file = published.place(&name).display().to_string();
                Err(RepositoryError::Refused { file, reason: Refusal::OtherRepository })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a folder of written metadata that another repository works in; a copy of this repository may. One that has
    /// nothing but drafts is not a copy: a copy has the first root.
    ///
    /// # Errors
    /// [`Refusal::OtherWorkshop`]; [`RepositoryError::NothingWritten`] where nothing here tells which repository this is.
    pub(super) fn refuse_other_workshop(&self, staged: &Folder) -> Result<(), RepositoryError> {
        let drafts = Folder::new(staged.file(DRAFTS));
        let is_free =
            staged.names().at(staged.path())?.is_empty() && drafts.names().at(drafts.path())?.is_empty();
        let name = self.first_root_name();
        if is_free || read(staged, &name)? == Some(self.first_root_bytes(&name)?) {
            return Ok(());
        }
        let file = staged.file(&name).display().to_string();
        Err(RepositoryError::Refused { file, reason: Refusal::OtherWorkshop })
    }

    fn first_root_name(&self) -> String {
        format!("{}.root.json", self.policy.first_root())
    }

    fn first_root_bytes(&self, name: &str) -> Result<Vec<u8>, RepositoryError> {
        let staged = self.staged.folder();
        read(staged, name)?
            .ok_or_else(|| RepositoryError::NothingWritten { folder: staged.path().to_owned() })
    }
}

fn read(folder: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
    folder.read(name, MAX_METADATA).at(folder.place(name))
}
