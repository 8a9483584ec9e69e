//! Which target files go: those that metadata lists which goes itself, that nothing else lists, and that still are what it
//! lists. Everything else in a folder of targets is somebody's.

use std::collections::HashSet;
use std::io;

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::super::layout::{Layout, TARGETS};
use super::super::scan::digest_stored;
use super::Sharing;
use super::counts::{Counts, looks_like_copy};
use super::plan::{Deletions, Left};
use super::records::{Listed, file_mark, stated_digest};
use super::undecided::Undecided;
use crate::metadata::Algorithm;
use crate::storage::Storage;

/// Up to this many bytes a file is read before it is deleted, and must have the digest that is listed; of a longer one the
/// length must do.
const MAX_DIGESTED: u64 = 16 << 20;

/// Whose files a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The maintainer's own among them.
    Workshop,
    /// Those that `publish` has put, and those that people put there.
    Published,
    /// The same, where no lock keeps a publisher away.
    Bucket,
}

/// What tells which target files go.
pub(super) struct TargetFiles<'a> {
    pub(super) folder: &'a dyn Storage,
    pub(super) layout: Layout,
    pub(super) place: Place,
    pub(super) sharing: Sharing,
    pub(super) counts: &'a Counts,
    pub(super) listed: &'a Listed,
    /// Delegated roles at fault: what they may list stays.
    pub(super) undecided: &'a Undecided,
    /// Published files that are younger may belong to a publication under way: those of the plain layout, and all in a
    /// bucket.
    pub(super) oldest: DateTime<Utc>,
}

/// What becomes of a target file, as far as its name and its length tell.
enum Fate {
    /// It stays, and there is nothing to say about it.
    Stays,
    /// It may go, if its bytes are those listed.
    Goes,
    /// It stays although it looks like a file that goes.
    Left(Reason),
}

enum Reason {
    Unlisted,
    Shared,
    /// It goes later, so that its record must stay.
    Later(Later),
}

enum Later {
    Undecided,
    Unsaid,
    Young,
}

impl TargetFiles<'_> {
    /// Goes through the folder. Adds the files that go to a plan, and counts the others. Returns marks of those that go
    /// later.
    pub(super) fn plan(
        &self,
        delete: &mut Deletions,
        left: &mut Left,
        kept: &mut usize,
    ) -> io::Result<HashSet<u128>> {
        let mut later = HashSet::new();
        let mut going = Deletions::new(self.layout);
        self.folder.walk(&mut |path| {
            let length = self.length(path)?;
            match self.fate(path, length)? {
                Fate::Goes => {
                    going.push(TARGETS, path);
                    return Ok(());
                }
                Fate::Stays => {}
                Fate::Left(Reason::Unlisted) => left.unlisted.add(path),
                Fate::Left(Reason::Shared) => left.shared += 1,
                Fate::Left(Reason::Later(why)) => {
                    later.insert(file_mark(path, length.unwrap_or_default()));
                    match why {
                        Later::Undecided => left.undecided += 1,
                        Later::Unsaid => left.unsaid += 1,
                        Later::Young => left.young += 1,
                    }
                }
            }
            *kept += 1;
            Ok(())
        })?;
        going.sort_from(0);
        let names: Vec<&str> = going.names().collect();
        let is_listed: Vec<bool> =
            names.par_iter().map(|name| self.has_listed_bytes(bare(name))).collect::<io::Result<_>>()?;
        for (name, is_listed) in names.into_iter().zip(is_listed) {
            if is_listed {
                delete.push(TARGETS, bare(name));
            } else {
                left.changed.add(bare(name));
                *kept += 1;
            }
        }
        Ok(later)
    }

    /// Tells whether a file may be one that was published or copied here. People's own files have any other name.
    fn is_looked_at(&self, path: &str) -> bool {
        match self.layout {
            Layout::Consistent => looks_like_copy(path),
            // under a plain name lies the maintainer's own file where he works, not a copy of it
            Layout::Plain => self.place != Place::Workshop,
        }
    }

    /// Returns the length of a file that may go; nothing of any other.
    fn length(&self, path: &str) -> io::Result<Option<u64>> {
        if self.listed.is_empty() || !self.is_looked_at(path) { Ok(None) } else { self.folder.length(path) }
    }

    fn fate(&self, path: &str, length: Option<u64>) -> io::Result<Fate> {
        if !self.is_looked_at(path) || self.counts.holds_target(path) {
            return Ok(Fate::Stays);
        }
        if !length.is_some_and(|length| self.listed.has(path, length)) {
            return Ok(Fate::Left(Reason::Unlisted));
        }
        if self.undecided.may_list(path, self.layout) {
            return Ok(Fate::Left(Reason::Later(Later::Undecided)));
        }
        Ok(match self.sharing {
            Sharing::Others => Fate::Left(Reason::Shared),
            Sharing::Unsaid => Fate::Left(Reason::Later(Later::Unsaid)),
            Sharing::Alone if self.is_young(path)? => Fate::Left(Reason::Later(Later::Young)),
            Sharing::Alone => Fate::Goes,
        })
    }

    fn is_young(&self, path: &str) -> io::Result<bool> {
        if self.layout == Layout::Consistent && self.place != Place::Bucket {
            return Ok(false);
        }
        let modified = self.folder.modified(path)?.map(DateTime::<Utc>::from);
        Ok(modified.is_none_or(|modified| modified >= self.oldest))
    }

    /// Tells whether a file that goes by its name and its length has the digest that is listed.
    fn has_listed_bytes(&self, path: &str) -> io::Result<bool> {
        if self.folder.length(path)?.is_some_and(|length| length > MAX_DIGESTED) {
            return Ok(true);
        }
        let algorithms = match (self.layout, stated_digest(path)) {
            (Layout::Consistent, Some((algorithm, _))) => vec![algorithm],
            _ => Algorithm::ALL.to_vec(),
        };
        let Some((length, hashes)) = digest_stored(self.folder, path, &algorithms)? else { return Ok(false) };
        let is_listed = |algorithm: &Algorithm| {
            let Some(found) = hashes.of(*algorithm) else { return false };
            match (self.layout, stated_digest(path)) {
                (Layout::Consistent, stated) => {
                    stated.is_some_and(|(_, digest)| digest.eq_ignore_ascii_case(found))
                }
                (Layout::Plain, _) => self.listed.has_digest(path, found),
            }
        };
        Ok(self.listed.has(path, length) && algorithms.iter().any(is_listed))
    }
}

/// Returns the name of a target file within the folder of targets.
fn bare(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, path)| path)
}
