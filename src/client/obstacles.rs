//! What stands in the way of a target, and whether it may go.
//!
//! A path may be a file today and a folder tomorrow, or one role may list `a` and another one `a/b`. Of two listed targets
//! the one that a search finds first has the place. What stands there goes only where the record says that `tuf-fetch`
//! put it, unchanged, and where no trusted role lists it before the target that needs the place.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;

use super::confined::Folder;
use super::download::Faults;
use super::listing::MOST_PARTS;
use super::matching::Matching;
use super::record::{Files, Home, Line, Record};
use super::target_dir::{Recorded, Standing};
use super::{ClientError, ListedTarget, TargetDir, Updater};
use crate::metadata::{RoleName, TargetPath};
use crate::trusted_set::TrustError;

/// Why something in the way of a target stays.
#[derive(Debug)]
pub enum Obstacle {
    /// `tuf-fetch` did not put it there, or it has changed since.
    Foreign,
    /// It is a target that comes first.
    Listed,
    /// A role that cannot be had or trusted might list it.
    Unknown(Box<ClientError>),
}

/// What has to go before a target can be put: files, then folders, the deepest first.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    files: Vec<(String, Files)>,
    /// With their inodes.
    folders: Vec<(String, u64)>,
}

impl Clearing {
    /// Tells whether anything stands in the way.
    pub fn is_needed(&self) -> bool {
        !(self.files.is_empty() && self.folders.is_empty())
    }

    /// Removes it, and adds to `lines` what the record is to say of it then: where the process is killed in between, the next
    /// one knows all that is left for its own.
    pub fn clear(&self, dir: &TargetDir, home: &Home, lines: &mut Vec<Line>) -> io::Result<()> {
        let changed =
            |path: &str| io::Error::other(format!("'{}' has changed meanwhile", path.escape_debug()));
        for (path, files) in &self.files {
            if !dir.remove_recorded(path, files)? {
                return Err(changed(path));
            }
            lines.push(Line::Gone { folder: home.clone(), path: path.clone() });
        }
        for (path, inode) in &self.folders {
            if !dir.remove_made(path, *inode)? {
                return Err(changed(path));
            }
            lines.push(Line::Unmade { folder: home.clone(), path: path.clone() });
        }
        Ok(())
    }
}

/// Where a search finds a target: the places of the delegations on its way, each among those of its delegator, then its path.
/// Of two targets the one with the lower place comes first, whatever else has been loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    way: Vec<u64>,
    path: String,
}

impl Updater<'_> {
    /// Drops from some targets those that need a folder where another one needs a file, or the other way round: the one
    /// that a search finds first stays.
    pub(super) fn without_conflicts<'t>(
        &mut self,
        wanted: &'t [ListedTarget],
        matching: &mut Matching,
        faults: &mut Faults,
    ) -> Vec<&'t ListedTarget> {
        let paths: BTreeSet<&str> = wanted.iter().map(|target| target.path.as_str()).collect();
        let in_conflict = |target: &&ListedTarget| {
            folders_above(&target.path).any(|above| paths.contains(above))
                || below(&paths, target.path.as_str()).is_some()
        };
        let (conflicting, mut kept): (Vec<_>, Vec<_>) = wanted.iter().partition(in_conflict);
        let mut ordered = Vec::new();
        for target in conflicting {
            match self.place(target.path.as_str(), matching) {
                Ok(place) => ordered.push((place, target)),
                Err(error) => faults.note(&target.role, error),
            }
        }
        ordered.sort_by(|(place, _), (other, _)| place.cmp(other));
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        for (_, target) in ordered {
            let first = folders_above(&target.path).find(|above| taken.contains(above));
            match first.or_else(|| below(&taken, target.path.as_str())) {
                Some(first) => {
                    faults.note(&target.role, in_the_way(target, first, Obstacle::Listed));
                }
                None => {
                    taken.insert(target.path.as_str());
                    kept.push(target);
                }
            }
        }
        kept
    }

    /// Finds the place of a target that is listed, loading no roles but those on the way to it.
    fn place(&mut self, path: &str, matching: &mut Matching) -> Result<Place, ClientError> {
        let unknown = || ClientError::UnknownTarget { path: path.to_owned() };
        let (way, _) = self.way(path, matching)?.ok_or_else(unknown)?;
        let missing = |role: &RoleName| TrustError::OutOfOrder { missing: role.clone() };
        let mut places = Vec::with_capacity(way.len());
        for visit in &way {
            let delegator =
                self.trusted.targets(&visit.delegator).ok_or_else(|| missing(&visit.delegator))?;
            let place = delegator.delegations.as_ref().and_then(|all| all.place(&visit.role));
            places.push(place.ok_or_else(|| missing(&visit.role))?);
        }
        Ok(Place { way: places, path: path.to_owned() })
    }

    /// Finds what has to go before a target can be put.
    pub(super) fn clearing(
        &mut self,
        target: &ListedTarget,
        dir: &TargetDir,
        home: &Home,
        record: &mut Option<Record>,
        matching: &mut Matching,
    ) -> Result<Clearing, ClientError> {
        let failed = |error| ClientError::local(&dir.file(&target.path), error);
        let mut clearing = Clearing::default();
        let standing = dir.standing(&target.path).map_err(failed)?;
        if standing == Standing::Free {
            return Ok(clearing);
        }
        let record = match record {
            Some(record) => record,
            none => none.insert(self.local.record()?),
        };
        let ours = Ours { dir, home, record };
        let found = match standing {
            Standing::Free => Ok(()),
            Standing::File(path) => ours.file(&path, &mut clearing)?,
            Standing::Folder => ours.folder(target.path.as_str(), &mut clearing)?,
        };
        if let Err(foreign) = found {
            return Err(in_the_way(target, &foreign, Obstacle::Foreign));
        }
        for (path, _) in &clearing.files {
            let stays = match self.way(path, matching) {
                Ok(None) => None,
                Ok(Some(_)) => {
                    let gives_way =
                        self.place(target.path.as_str(), matching)? < self.place(path, matching)?;
                    (!gives_way).then_some(Obstacle::Listed)
                }
                Err(error) => Some(Obstacle::Unknown(Box::new(error))),
            };
            if let Some(obstacle) = stays {
                return Err(in_the_way(target, path, obstacle));
            }
        }
        Ok(clearing)
    }
}

/// What the record says of a target folder.
struct Ours<'a> {
    dir: &'a TargetDir,
    home: &'a Home,
    record: &'a Record,
}

impl Ours<'_> {
    /// Takes a file that was put; else returns its path.
    fn file(&self, path: &str, clearing: &mut Clearing) -> Result<Result<(), String>, ClientError> {
        let Some(files) = self.record.put.get(&(self.home.clone(), path.to_owned())) else {
            return Ok(Err(path.to_owned()));
        };
        match self.dir.recorded(path, files).map_err(|error| self.failed(path, error))? {
            Recorded::Other => return Ok(Err(path.to_owned())),
            Recorded::Ours(_) => clearing.files.push((path.to_owned(), files.clone())),
            Recorded::Gone => {}
        }
        Ok(Ok(()))
    }

    /// Takes a folder that was made, with all that is in it; else returns the path of what was not put or made.
    fn folder(&self, path: &str, clearing: &mut Clearing) -> Result<Result<(), String>, ClientError> {
        let foreign = || Ok(Err(path.to_owned()));
        // nothing of ours lies so deep, and each level keeps a folder open
        if path.split('/').count() > MOST_PARTS {
            return foreign();
        }
        let failed = |error| self.failed(path, error);
        let Some(folder) = self.dir.folder_at(path).map_err(failed)? else { return Ok(Ok(())) };
        if !folder.names_are_text().map_err(failed)? {
            return foreign();
        }
        for name in folder.names().map_err(failed)? {
            let below = format!("{path}/{name}");
            let is_folder = matches!(Folder::folder(&folder, &name), Ok(Some(_)));
            let taken = if is_folder { self.folder(&below, clearing)? } else { self.file(&below, clearing)? };
            if taken.is_err() {
                return Ok(taken);
            }
        }
        let inode = folder.identity().map_err(failed)?.inode;
        if self.record.made.get(&(self.home.clone(), path.to_owned())) != Some(&inode) {
            return foreign();
        }
        clearing.folders.push((path.to_owned(), inode));
        Ok(Ok(()))
    }

    fn failed(&self, path: &str, error: io::Error) -> ClientError {
        ClientError::local(&self.dir.path().join(path), error)
    }
}

fn in_the_way(target: &ListedTarget, what: &str, obstacle: Obstacle) -> ClientError {
    ClientError::InTheWay { path: target.path.to_string(), what: what.to_owned(), obstacle }
}

/// Returns the paths of the folders above a target.
fn folders_above(path: &TargetPath) -> impl Iterator<Item = &str> {
    path.as_str().match_indices('/').map(|(at, _)| &path.as_str()[..at])
}

/// Returns a path below another one.
fn below<'p>(paths: &BTreeSet<&'p str>, path: &str) -> Option<&'p str> {
    let folder = format!("{path}/");
    let next = paths.range::<str, _>((Bound::Included(folder.as_str()), Bound::Unbounded)).next()?;
    next.starts_with(&folder).then_some(*next)
}
