//! What was published last to the bucket of the policy: a file beside the policy that may be deleted at any time. `status` asks
//! no server; it would otherwise not know what is live there and say `publish` for ever.
//!
//! Nothing that is checked relies on it: `publish` and `verify --live` read the bucket. Where the file is not there, not
//! understood or about another place, nothing is known to be live; `publish` then finds everything in place, and it is known again.

use serde::{Deserialize, Serialize};

use super::Repository;
use super::error::{AtPath, RepositoryError};
use super::layout::Layout;
use super::policy::Policy;
use super::publish::PublishPlan;
use super::status::{Live, live_file};
use crate::metadata::{RoleName, Signed, Snapshot};
use crate::storage::{BucketUrl, Folder, ReadFiles};

/// The file, in the repository's folder.
const FILE: &str = ".tuf-published";
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 16;

/// A publication, in the words of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Publication {
    /// The bucket, as the policy names it.
    to: Vec<String>,
    root: u64,
    timestamp: u64,
    snapshot: u64,
}

impl Policy {
    /// Returns the bucket that is published to by default, in the policy's words; `None` where it is a folder.
    fn bucket(&self) -> Option<Vec<String>> {
        let places: Vec<&str> = match (self.publish_apart(), self.publish_to()) {
            (Some((metadata, targets)), _) => vec![metadata, targets],
            (None, Some(to)) if BucketUrl::is_meant(to) => vec![to],
            (None, _) => return None,
        };
        Some(places.into_iter().chain(self.publish_endpoint()).map(str::to_owned).collect())
    }
}

impl Repository {
    /// Tells whether the policy has the repository published to a bucket, which is not asked where nobody publishes.
    pub(super) fn publishes_to_bucket(&self) -> bool {
        self.policy.bucket().is_some()
    }

    /// Remembers that a publication to the policy's own place has been carried out. Of a folder nothing is remembered: it can
    /// be looked at.
    ///
    /// # Errors
    /// [`RepositoryError::Io`]: the publication is complete all the same.
    pub fn remember_published(&self, plan: &PublishPlan) -> Result<(), RepositoryError> {
        let Some(to) = self.policy.bucket() else { return Ok(()) };
        let version = |role: RoleName| plan.roles.get(&role).copied().unwrap_or_default();
        let publication = Publication {
            to,
            root: version(RoleName::root()),
            timestamp: version(RoleName::timestamp()),
            snapshot: version(RoleName::snapshot()),
        };
        let bytes = serde_json::to_vec(&publication).map_err(std::io::Error::from).at(self.dir())?;
        let folder = Folder::new(&self.dir);
        let mut batch = folder.batch().at(&self.dir)?;
        batch.put(FILE, &bytes).at(folder.file(FILE))?;
        batch.commit().at(&self.dir)
    }

    /// Returns what clients see, as far as that is known here.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] where live metadata cannot be read.
    pub(super) fn live_versions(&self) -> Result<Live, RepositoryError> {
        let Some(to) = self.policy.bucket() else { return Live::read(&self.published_folder()) };
        let bytes = Folder::new(&self.dir).read(FILE, LONGEST).ok().flatten();
        let known: Option<Publication> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(known) = known.filter(|known| known.to == to) else { return Ok(Live::default()) };
        // versioned files are never written again with other bytes: the one here is the one there
        let layouts = [Layout::Consistent, Layout::Plain];
        let snapshot = layouts
            .iter()
            .filter_map(|layout| {
                let name = layout.metadata_name(&RoleName::snapshot(), known.snapshot);
                live_file::<Snapshot>(self.staged.folder(), &name)
            })
            .find(|snapshot| snapshot.version() == known.snapshot);
        Ok(Live::of(known.root, known.timestamp, snapshot))
    }
}
