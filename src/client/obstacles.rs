//! What stands in the way of a target, and whether it may go.
//!
//! A path may be a file today and a folder tomorrow, or one role may list `a` and another one `a/b`. Of two listed targets
//! the one that a search finds first has the place. What stands there goes only where the record says that `tuf-fetch`
//! put it, unchanged, and where no trusted role lists it before the target that needs the place.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;

use super::confined::Folder;
use super::listing::MOST_PARTS;
use super::record::{Content, Home, Record};
use super::target_dir::Standing;
use super::{ClientError, ListedTarget, TargetDir, Updater};
use crate::metadata::TargetPath;

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
    files: Vec<(String, Content)>,
    folders: Vec<String>,
}

impl Clearing {
    /// Tells whether anything stands in the way.
    pub fn is_needed(&self) -> bool {
        !(self.files.is_empty() && self.folders.is_empty())
    }

    /// Returns the paths of what is to go.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| path).chain(&self.folders).map(String::as_str)
    }

    /// Removes it.
    pub fn clear(&self, dir: &TargetDir) -> io::Result<()> {
        let changed =
            |path: &str| io::Error::other(format!("'{}' has changed meanwhile", path.escape_debug()));
        for (path, content) in &self.files {
            if !dir.remove_recorded(path, content)? {
                return Err(changed(path));
            }
        }
        for path in &self.folders {
            if !dir.remove_empty(path) {
                return Err(changed(path));
            }
        }
        Ok(())
    }
}

/// The places of targets in the order in which searches find them, known once they are asked for.
#[derive(Default)]
pub(super) struct Order(Option<BTreeMap<String, usize>>);

impl Order {
    fn of(&mut self, updater: &mut Updater<'_>, path: &str) -> Result<Option<usize>, ClientError> {
        let places = match &mut self.0 {
            Some(places) => places,
            none => {
                let targets = updater.list()?.targets.into_iter().enumerate();
                none.insert(targets.map(|(place, target)| (target.path.as_str().to_owned(), place)).collect())
            }
        };
        Ok(places.get(path).copied())
    }
}

impl Updater<'_> {
    /// Drops from some targets those that need a folder where another one needs a file, or the other way round: the one
    /// that a search finds first stays.
    pub(super) fn without_conflicts<'t>(
        &mut self,
        wanted: &'t [ListedTarget],
        order: &mut Order,
        faults: &mut Vec<ClientError>,
    ) -> Result<Vec<&'t ListedTarget>, ClientError> {
        let paths: BTreeSet<&str> = wanted.iter().map(|target| target.path.as_str()).collect();
        let in_conflict = |target: &&ListedTarget| {
            folders_above(&target.path).any(|above| paths.contains(above))
                || below(&paths, target.path.as_str()).is_some()
        };
        let (conflicting, mut kept): (Vec<_>, Vec<_>) = wanted.iter().partition(in_conflict);
        let mut ordered = Vec::new();
        for target in conflicting {
            ordered.push((order.of(self, target.path.as_str())?.unwrap_or(usize::MAX), target));
        }
        ordered.sort_by_key(|(place, _)| *place);
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        for (_, target) in ordered {
            let first = folders_above(&target.path).find(|above| taken.contains(above));
            match first.or_else(|| below(&taken, target.path.as_str())) {
                Some(first) => faults.push(in_the_way(target, first, Obstacle::Listed)),
                None => {
                    taken.insert(target.path.as_str());
                    kept.push(target);
                }
            }
        }
        Ok(kept)
    }

    /// Finds what has to go before a target can be put.
    pub(super) fn clearing(
        &mut self,
        target: &ListedTarget,
        dir: &TargetDir,
        home: &Home,
        record: &mut Option<Record>,
        order: &mut Order,
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
            Standing::File(path) => ours.file(&path, &mut clearing).map_err(failed)?,
            Standing::Folder => ours.folder(target.path.as_str(), &mut clearing).map_err(failed)?,
        };
        if let Err(foreign) = found {
            return Err(in_the_way(target, &foreign, Obstacle::Foreign));
        }
        for (path, _) in &clearing.files {
            let stays = match self.target_info(path) {
                Ok(None) => None,
                Ok(Some(_)) => {
                    let (there, wanted) = (order.of(self, path)?, order.of(self, target.path.as_str())?);
                    let gives_way = matches!((there, wanted), (Some(there), Some(wanted)) if wanted < there);
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
    fn file(&self, path: &str, clearing: &mut Clearing) -> io::Result<Result<(), String>> {
        let Some(content) = self.record.put.get(&(self.home.clone(), path.to_owned())) else {
            return Ok(Err(path.to_owned()));
        };
        if self.dir.recorded(path, content)?.is_none() {
            return Ok(Err(path.to_owned()));
        }
        clearing.files.push((path.to_owned(), content.clone()));
        Ok(Ok(()))
    }

    /// Takes a folder that was made, with all that is in it; else returns the path of what was not put or made.
    fn folder(&self, path: &str, clearing: &mut Clearing) -> io::Result<Result<(), String>> {
        // nothing of ours lies so deep, and each level keeps a folder open
        if path.split('/').count() > MOST_PARTS {
            return Ok(Err(path.to_owned()));
        }
        let Some(folder) = self.dir.folder_at(path)? else { return Ok(Err(path.to_owned())) };
        if !folder.names_are_text()? {
            return Ok(Err(path.to_owned()));
        }
        for name in folder.names()? {
            let below = format!("{path}/{name}");
            let is_folder = matches!(Folder::folder(&folder, &name), Ok(Some(_)));
            let taken = if is_folder { self.folder(&below, clearing)? } else { self.file(&below, clearing)? };
            if taken.is_err() {
                return Ok(taken);
            }
        }
        if !self.record.made.contains(&(self.home.clone(), path.to_owned())) {
            return Ok(Err(path.to_owned()));
        }
        clearing.folders.push(path.to_owned());
        Ok(Ok(()))
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
