//! How what is written here stands to what is live, by the bytes of the files: versions alone would call two copies that went
//! apart the same.

use super::Repository;
use super::error::{AtPath, RepositoryError};
use super::history::{Entry, History};
use super::layout::MAX_METADATA;
use super::staged::AnyRole;
use super::status::Live;
use super::view::Graph;
use crate::metadata::{Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles, regular_or_none};

/// How what is written here stands to what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Published,
    /// What is written here goes on from what is live.
    Ahead,
    /// What is live goes on from what is written here: somebody else has published.
    Behind,
    /// Each has something that the other does not know.
    Diverged,
    /// Nothing is live, as far as that is known.
    Unpublished,
}

impl Relation {
    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Ahead => "ahead",
            Self::Behind => "behind",
            Self::Diverged => "diverged",
            Self::Unpublished => "unpublished",
        }
    }

    /// Tells whether live has something that this copy does not know.
    pub fn has_news(self) -> bool {
        matches!(self, Self::Behind | Self::Diverged)
    }
}

/// A file that is live, and what its namesake here says.
struct Pair {
    role: RoleName,
    name: String,
    theirs: Vec<u8>,
    is_same: bool,
}

impl Repository {
    /// Compares what is written with what is live. Of hash bins only the versions are compared. A bucket is not asked: what
    /// was last brought there is known by its versions.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] where live metadata cannot be read; [`super::InputError::History`].
    pub(super) fn relation(&self, graph: &Graph, live: &Live) -> Result<Relation, RepositoryError> {
        if live.version(&RoleName::root()).is_none() {
            return Ok(Relation::Unpublished);
        }
        let same_versions = self.is_published(graph, live);
        if self.publishes_to_bucket() {
            return Ok(if same_versions { Relation::Published } else { Relation::Ahead });
        }
        let pairs = self.pairs(graph, live)?;
        if same_versions && pairs.iter().all(|pair| pair.is_same) {
            return Ok(Relation::Published);
        }
        let is_known = self.knows(&pairs, live)?;
        Ok(match (is_known, self.has_unpublished(graph, live, &pairs)) {
            (true, _) => Relation::Ahead,
            (false, false) => Relation::Behind,
            (false, true) => Relation::Diverged,
        })
    }

    /// Reads what is live of the roles that are no hash bins.
    fn pairs(&self, graph: &Graph, live: &Live) -> Result<Vec<Pair>, RepositoryError> {
        let (staged, published) = (self.staged.folder(), self.published_folder());
        let roles = super::sign::signing_order(graph);
        let lost = self.lost_roles(graph);
        let mut pairs = Vec::new();
        for role in roles.into_iter().filter(|role| graph.bins_of(role).is_none()) {
            let Some(version) = live.version(&role) else { continue };
            let name = live.layout().metadata_name(&role, version);
            let read =
                |folder: &Folder| regular_or_none(folder.read(&name, MAX_METADATA)).at(folder.file(&name));
            let Some(theirs) = read(&published)? else { continue };
            let is_lost = lost.contains(&role) && self.staged.listed_version(&role) == version;
            let is_same = is_lost || read(staged)?.as_ref() == Some(&theirs);
            pairs.push(Pair { role, name, theirs, is_same });
        }
        Ok(pairs)
    }

    /// Tells whether this copy has written or taken over all that is live. What is no metadata no client has taken.
    fn knows(&self, pairs: &[Pair], live: &Live) -> Result<bool, RepositoryError> {
        let history = History::read(&self.dir, self.staged.folder(), self.staged.layout())?;
        // as `publish` judges: what is written now is of this copy, an older file only by the history
        let is_written_now =
            |pair: &Pair| pair.is_same && self.staged.written_version(&pair.role) == live.version(&pair.role);
        let is_known = |pair: &Pair| {
            is_written_now(pair)
                || pair.role.as_str() == "timestamp"
                || stated(&pair.role, &pair.theirs).is_none_or(|version| {
                    let entry = Entry::of(live.layout(), &pair.name, &pair.theirs, |_| Some(version));
                    entry.is_none_or(|entry| history.vouches_for(&entry))
                })
        };
        Ok(pairs.iter().all(is_known) && !self.has_later_timestamp(pairs, live))
    }

    /// Tells whether the live timestamp is at least as new as the written one, and another one: it stands in the way of
    /// all that is published next.
    fn has_later_timestamp(&self, pairs: &[Pair], live: &Live) -> bool {
        let timestamp = pairs.iter().find(|pair| pair.role.as_str() == "timestamp");
        let ours = self.staged.timestamp.draft_version().or(self.staged.timestamp.written_version());
        timestamp.is_some_and(|pair| !pair.is_same) && live.version(&RoleName::timestamp()) >= ours
    }

    /// Tells whether something is written here that is not live and not replaced there.
    fn has_unpublished(&self, graph: &Graph, live: &Live, pairs: &[Pair]) -> bool {
        let derived = |role: &RoleName| matches!(role.as_str(), "snapshot" | "timestamp");
        let is_newer = |role: &RoleName| match (self.staged.written_version(role), live.version(role)) {
            (Some(ours), Some(theirs)) => {
                let apart = pairs.iter().any(|pair| pair.role == *role && !pair.is_same);
                ours > theirs || (ours == theirs && apart)
            }
            (ours, _) => ours.is_some(),
        };
        let roles = super::sign::signing_order(graph);
        let newer_bin = |bin: &RoleName| live.version(bin) < Some(self.staged.listed_version(bin));
        roles.iter().any(|role| !derived(role) && is_newer(role))
            || graph.bins.iter().any(|set| self.staged.listed_bins(&set.bins).iter().any(newer_bin))
    }
}

/// Returns the version that a file of a role states; `None` where it is no metadata of that role.
fn stated(role: &RoleName, bytes: &[u8]) -> Option<u64> {
    fn version<T: Signed>(bytes: &[u8]) -> Option<u64> {
        Metadata::<T>::from_bytes(bytes).ok().map(|file| file.signed().version())
    }
    match role.as_str() {
        "root" => version::<Root>(bytes),
        "snapshot" => version::<Snapshot>(bytes),
        "timestamp" => version::<Timestamp>(bytes),
        _ => version::<Targets>(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::testing::{copy, keys, open, publish, repository, scratch, start, write};
    use super::super::{METADATA, STAGED};
    use super::*;
    use crate::crypto::PrivateKey;

    fn relation(dir: &Path) -> Relation {
        open(dir, start()).status().unwrap().relation
    }

    /// Writes the next version of targets at another minute than the other copies.
    fn release(dir: &Path, keys: &[PrivateKey; 4], minutes: i64) {
        let mut repository = open(dir, start() + chrono::TimeDelta::minutes(minutes));
        repository.bump(&RoleName::targets(), None).unwrap();
        write(&mut repository, keys);
    }

    fn take_live(from: &Path, into: &Path) {
        fs::remove_dir_all(into.join(METADATA)).unwrap();
        fs::create_dir(into.join(METADATA)).unwrap();
        copy(&from.join(METADATA), &into.join(METADATA));
    }

    #[test]
    fn what_is_written_stands_to_what_is_live_by_bytes_and_history() {
        let (one, other, keys) = (scratch(), scratch(), keys());
        repository(one.path(), &keys);
        copy(one.path(), other.path());
        assert_eq!(relation(one.path()), Relation::Published);
        release(one.path(), &keys, 1);
        assert_eq!(relation(one.path()), Relation::Ahead);
        publish(one.path(), start());
        assert_eq!(relation(one.path()), Relation::Published);
        take_live(one.path(), other.path());
        assert_eq!(relation(other.path()), Relation::Behind);
        release_without_asking(&other, &one, &keys);
        assert_eq!(relation(other.path()), Relation::Diverged);
        fs::remove_dir_all(other.path().join(METADATA)).unwrap();
        assert_eq!(relation(other.path()), Relation::Unpublished);
    }

    /// Writes twice before it is seen that somebody has published.
    fn release_without_asking(other: &tempfile::TempDir, one: &tempfile::TempDir, keys: &[PrivateKey; 4]) {
        fs::remove_dir_all(other.path().join(METADATA)).unwrap();
        release(other.path(), keys, 2);
        release(other.path(), keys, 3);
        fs::create_dir(other.path().join(METADATA)).unwrap();
        copy(&one.path().join(METADATA), &other.path().join(METADATA));
    }

    #[test]
    fn a_colleagues_files_that_lie_beside_the_written_ones_do_not_make_this_copy_ahead() {
        let (one, other, keys) = (scratch(), scratch(), keys());
        repository(one.path(), &keys);
        copy(one.path(), other.path());
        release(one.path(), &keys, 1);
        publish(one.path(), start());
        release_without_asking(&other, &one, &keys);
        for name in ["2.targets.json", "2.snapshot.json"] {
            fs::copy(one.path().join(METADATA).join(name), other.path().join(STAGED).join(name)).unwrap();
        }
        assert_eq!(relation(other.path()), Relation::Diverged);
    }
}
