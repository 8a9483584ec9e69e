//! A planned collection: what goes, in which order, and why.

use std::collections::BTreeSet;
use std::ops::{Deref, Range};
use std::path::PathBuf;

use rayon::prelude::*;

use super::super::check::Finding;
use super::super::error::{AtPath, RepositoryError};
use super::super::layout::{Layout, METADATA, STAGED, TARGETS, parse_plain, parse_versioned};
use super::super::locks::CollectionLocks;
use super::super::place::BucketPlace;
use crate::storage::{Folder, Storage};

/// A planned collection. It holds the locks of what is collected for as long as it lives: nobody can carry it out without
/// them, or after somebody else has had them.
#[derive(Debug)]
pub struct GcPlan {
    pub(super) collection: Collection,
    pub(super) _locks: CollectionLocks,
}

impl GcPlan {
    /// Gives the locks back: what the plan says can be told, and not be carried out any more.
    pub fn into_collection(self) -> Collection {
        self.collection
    }
}

impl Deref for GcPlan {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.collection
    }
}

/// What goes and what stays in a collection.
#[derive(Debug)]
pub struct Collection {
    /// The files that go, in the order in which they go: snapshots first, so that a crash leaves no reference to a missing
    /// file; then target files, then the metadata that lists them, so that the next run still knows whose they are.
    pub delete: Deletions,
    /// How many files stay.
    pub kept: usize,
    /// Files whose names are not understood; they stay.
    pub unknown: Vec<String>,
    /// Metadata files that no retained snapshot needs and that the history does not know, that are not signed by this
    /// repository's keys, or that are no metadata: somebody has put them there. They stay.
    pub strangers: Vec<String>,
    /// Such files that stood live and gave way to a new root (`publish --recover`): what a thief has published. They
    /// stay.
    pub recovered: Vec<String>,
    /// Target files that stay although they look like some that go.
    pub left: Left,
    /// Files that a retained snapshot lists for roles that nobody delegates to any more, and that are no metadata: what
    /// they held cannot be told. They stay.
    pub unreadable: Vec<String>,
    /// What is wrong with delegated roles in what is current: nothing goes that they may list.
    pub warnings: Vec<Finding>,
    /// The versions of the snapshots that are retained.
    pub retained: BTreeSet<u64>,
    pub(in super::super) base: Base,
}

impl Collection {
    pub(super) fn new(base: Base) -> Self {
        Self {
            delete: Deletions::new(Layout::Consistent),
            kept: 0,
            unknown: Vec::new(),
            strangers: Vec::new(),
            recovered: Vec::new(),
            left: Left::default(),
            unreadable: Vec::new(),
            warnings: Vec::new(),
            retained: BTreeSet::new(),
            base,
        }
    }

    /// Returns the names of the files that go, relative to the repository.
    pub fn deleted(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator + Clone {
        self.delete.names()
    }
}

/// Target files that stay although they look like some that go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Files that look like copies of targets, or in the plain layout any files, that no metadata lists which was read: they
    /// are somebody's.
    pub unlisted: Named,
    /// Files that metadata lists which goes, with other bytes.
    pub changed: Named,
    /// How many only metadata lists which goes, in a folder that others use too by the policy.
    pub shared: usize,
    /// How many only metadata lists which goes, in a folder that is apart from the metadata, so that others may use it.
    pub unsaid: usize,
    /// How many only metadata lists which goes, and a delegated role may list whose current metadata no client accepts.
    pub undecided: usize,
    /// How many go later: they are so young that a publisher may just have put them.
    pub young: usize,
}

/// Files, counted, and the first of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// How many.
    pub number: usize,
    /// The names of the first of them, relative to the folder of targets.
    pub names: Vec<String>,
}

/// The most files that are named; there may be millions.
const MOST_NAMED: usize = 1000;

impl Named {
    pub(super) fn add(&mut self, name: &str) {
        self.number += 1;
        if self.names.len() < MOST_NAMED {
            self.names.push(name.to_owned());
        }
    }
}

/// Who holds a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Each of them, for people.
    pub holders: Vec<String>,
    /// Why it would go, in one sentence; `None` where it would stay.
    pub would_go: Option<String>,
    /// Whether there is such a file; a target may be listed whose file is not here.
    pub is_there: bool,
}

/// The files that go. There may be a million of them: their names share one piece of memory, and why a file goes is put into
/// words when somebody asks.
#[derive(Debug, Clone)]
pub struct Deletions {
    layout: Layout,
    text: String,
    names: Vec<Range<usize>>,
    /// How many names the layers before each one have, of those that are complete.
    layers: Vec<usize>,
}

impl Deletions {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, text: String::new(), names: Vec::new(), layers: Vec::new() }
    }

    /// Ends a layer: what is added from now on goes only once all before is gone.
    pub(super) fn end_layer(&mut self) {
        self.layers.push(self.names.len());
    }

    /// Returns the names layer by layer. Within a layer they go in any order.
    pub(in super::super) fn layers(&self) -> impl Iterator<Item = Vec<&str>> {
        let ends = self.layers.iter().copied().chain([self.names.len()]);
        let starts = std::iter::once(0).chain(self.layers.iter().copied());
        let names = |(start, end): (usize, usize)| -> Vec<&str> {
            self.names[start..end].iter().map(|name| &self.text[name.clone()]).collect()
        };
        starts.zip(ends).filter(|(start, end)| start < end).map(names)
    }

    pub(super) fn push(&mut self, folder: &str, name: &str) {
        let start = self.text.len();
        for part in [folder, "/", name] {
            self.text.push_str(part);
        }
        self.names.push(start..self.text.len());
    }

    /// Sorts the names from the one of an index on.
    pub(super) fn sort_from(&mut self, first: usize) {
        let text = &self.text;
        if let Some(names) = self.names.get_mut(first..) {
            names.par_sort_unstable_by(|one, other| text[one.clone()].cmp(&text[other.clone()]));
        }
    }

    /// Returns how many files go.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Tells whether none goes.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the names in the order in which the files go, relative to the repository.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator + Clone {
        self.names.iter().map(|name| &self.text[name.clone()])
    }

    /// Returns each name with one sentence that says why the file goes.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, String)> {
        self.names().map(|name| (name, self.why(name)))
    }

    /// Says why a file of these goes, named relative to the repository.
    pub(super) fn why(&self, name: &str) -> String {
        let named = name.split_once('/').filter(|(folder, _)| *folder != TARGETS);
        let metadata = named.and_then(|(_, name)| match self.layout {
            Layout::Plain => Some(format!("the snapshot does not list {}", parse_plain(name)?)),
            Layout::Consistent => Some(match parse_versioned(name)? {
                (version, role) if role.as_str() == "snapshot" => {
                    format!("snapshot v{version} is not retained")
                }
                (version, role) => format!("no retained snapshot lists {role} v{version}"),
            }),
        });
        metadata.unwrap_or_else(|| "only metadata that goes lists it".to_owned())
    }
}

/// What is collected.
#[derive(Debug, Clone)]
pub(in super::super) enum Base {
    Folder(PathBuf),
    Bucket(BucketPlace),
}

impl Base {
    /// Returns what holds a file of the plan, and the file's name there.
    pub(in super::super) fn part<'a>(&'a self, name: &'a str) -> (Box<dyn Storage + 'a>, &'a str) {
        match self {
            Self::Folder(base) => (Box::new(Folder::new(base)), name),
            Self::Bucket(place) => {
                let (bucket, rest) = place.part(name).unwrap_or((&place.metadata, name));
                (Box::new(bucket.clone()), rest)
            }
        }
    }

    /// Tells whether there is a file, named as those of the plan are.
    pub(super) fn has(&self, name: &str) -> Result<bool, RepositoryError> {
        let is_collected =
            [METADATA, STAGED, TARGETS].iter().any(|folder| within_folder(name, folder).is_some());
        let (storage, name) = self.part(name);
        Ok(is_collected && storage.length(name).at(storage.place(name))?.is_some())
    }

    /// Removes files of the plan that go at the same time, and makes that durable.
    pub(super) fn remove(&self, names: &[&str]) -> Result<(), RepositoryError> {
        for folder in [METADATA, STAGED, TARGETS] {
            let part: Vec<&str> =
                names.iter().copied().filter_map(|name| within_folder(name, folder)).collect();
            if part.is_empty() {
                continue;
            }
            match self {
                // no link that lies among the targets leads elsewhere
                Self::Folder(base) if folder == TARGETS => {
                    let targets = Folder::new(base.join(TARGETS));
                    targets.remove_inside(&part).at(targets.path())?;
                }
                Self::Folder(base) => {
                    let metadata = Folder::new(base.join(folder));
                    metadata.remove(part.iter().copied()).at(metadata.path())?;
                }
                Self::Bucket(place) => {
                    let bucket = if folder == TARGETS { &place.targets } else { &place.metadata };
                    bucket.remove(&part).at(bucket.place(""))?;
                }
            }
        }
        Ok(())
    }
}

fn within_folder<'n>(name: &'n str, folder: &str) -> Option<&'n str> {
    name.strip_prefix(folder)?.strip_prefix('/')
}
