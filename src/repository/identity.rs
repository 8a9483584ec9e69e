//! Whether a folder is this repository's: its first root is the one that is written here, byte for byte, or one that this copy
//! has written or taken over.

use super::Repository;
use super::accepted::{AcceptedFile, Twin, first};
use super::ancestry::Ours;
use super::error::{AtPath, Refusal, RepositoryError};
use super::history::{Entry, Testimony};
use super::layout::{DRAFTS, MAX_METADATA};
use super::signed_by::SignedBy;
use crate::metadata::RoleName;
use crate::storage::{Folder, Storage};

/// Tells whether the first root of a place, which clients accept, begins another repository.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn begins_another(ours: &Ours<'_>, first: &AcceptedFile) -> Result<bool, RepositoryError> {
    Ok(first.twin != Twin::Same && ours.testimony(first)? != Testimony::Ours)
}

impl Repository {
    /// Refuses a place where another repository is published: of its files nothing is known here. Where no first root is, or one
    /// that no client accepts, a client's check finds fault with that.
    ///
    /// # Errors
    /// [`Refusal::OtherRepository`]; [`RepositoryError::NothingWritten`] where this repository has no written root.
    pub(super) fn refuse_others(&self, published: &dyn Storage) -> Result<(), RepositoryError> {
        let (name, version) = (self.first_root_name(), self.policy.first_root());
        let theirs = read(published, &name)?.filter(|theirs| first(theirs, version).is_ok());
        let Some(theirs) = theirs else { return Ok(()) };
        let twin = match read(self.staged.folder(), &name)? {
            Some(ours) if ours == theirs => Twin::Same,
            Some(_) => Twin::Other,
            None => Twin::None,
        };
        let entry = Some(Entry::new(RoleName::root(), version, &theirs));
        let signed_by = SignedBy::default();
        let theirs =
            AcceptedFile { name: name.clone(), role: RoleName::root(), version, twin, entry, signed_by };
        if !begins_another(&Ours::of(&self.dir, self.staged.folder(), self.staged.layout()), &theirs)? {
            return Ok(());
        }
        self.first_root_bytes(&name)?;
        let file = published.place(&name).display().to_string();
        Err(RepositoryError::Refused { file, reason: Refusal::OtherRepository })
    }

    /// Refuses a folder of written metadata that another repository works in; a copy of this repository may. One that has
    /// nothing but drafts is not a copy: a copy has the first root.
    ///
    /// # Errors
    /// [`Refusal::OtherWorkshop`]; [`RepositoryError::NothingWritten`] where this repository has no written root.
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
