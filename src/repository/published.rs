//! A full client's check of a place where a repository is published.

use super::Repository;
use super::check::{Expiry, Report, TargetBytes, check_metadata};
use super::error::{AtPath, InputError, RepositoryError};
use super::layout::{METADATA, TARGETS};
use super::place::Destination;
use super::presence::set_aside_elsewhere;
use super::target_files::{all_listed, check_target_files};
use crate::storage::{Folder, Storage};

impl Repository {
    /// Checks what is published at a place as a client would that starts from the first root.
    ///
    /// # Errors
    /// [`InputError::NoFile`] where nothing is published there; [`RepositoryError::Refused`] where another repository is;
    /// [`RepositoryError::Io`]. What a client would not accept is in the report.
    pub fn check_published(&self, at: &Destination, how: TargetBytes) -> Result<Report, RepositoryError> {
        match at {
            Destination::Own => self.check_storage(&self.live_folder(), &self.targets_folder().held(), how),
            Destination::Folder(base) => {
                let part = |name: &str| Folder::new(base.join(name));
                self.check_storage(&part(METADATA), &part(TARGETS).held(), how)
            }
            Destination::Bucket(place) => {
                for part in [&place.metadata, &place.targets] {
                    part.survey().at(part.place(""))?;
                }
                self.check_storage(&place.metadata, &place.targets, how)
            }
        }
    }

    fn check_storage(
        &self,
        metadata: &dyn Storage,
        targets: &dyn Storage,
        how: TargetBytes,
    ) -> Result<Report, RepositoryError> {
        let place = metadata.place("");
        if metadata.names().at(&place)?.is_empty() {
            let reason = "no repository has been published there";
            return Err(InputError::NoFile { path: place, reason }.into());
        }
        self.refuse_others(metadata)?;
        let first_root = self.policy.first_root();
        let mut checked = check_metadata(metadata, METADATA, first_root, Expiry::Enforce, self.now, None)?;
        let mut report = checked.whole_report();
        if how != TargetBytes::Ignore {
            if self.policy.targets_elsewhere() {
                // as `publish` has it: what is not in the repository was not brought there
                report.findings.extend(set_aside_elsewhere(&self.targets_folder(), &mut checked.targets)?);
            }
            report.findings.extend(check_target_files(
                targets,
                checked.layout,
                &all_listed(&checked.targets),
                how,
            )?);
        }
        Ok(report)
    }
}
