//! A planned collection: what goes, in which order, and why.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;

use super::super::layout::{Layout, TARGETS, parse_plain, parse_versioned};
use super::super::place::BucketPlace;
use crate::storage::{Folder, Storage};

/// A planned collection.
#[derive(Debug, Clone)]
pub struct GcPlan {
    /// The files that go, in the order in which they go: snapshots first, then the metadata they list, then target files,
    /// so that a crash leaves no reference to a missing file.
    pub delete: Deletions,
    /// How many files stay.
    pub kept: usize,
    /// Files whose names are not understood; they stay.
    pub unknown: Vec<String>,
    /// Files that a retained snapshot lists for roles that nobody delegates to any more, and that are no metadata: what
    /// they held cannot be told. They stay.
    pub unreadable: Vec<String>,
    /// The versions of the snapshots that are retained.
    pub retained: BTreeSet<u64>,
    pub(in super::super) base: Base,
}

impl GcPlan {
    pub(super) fn new(base: Base) -> Self {
        Self {
            delete: Deletions::new(Layout::Consistent),
            kept: 0,
            unknown: Vec::new(),
            unreadable: Vec::new(),
            retained: BTreeSet::new(),
            base,
        }
    }

    /// Returns the names of the files that go, relative to the repository.
    pub fn deleted(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator + Clone {
        self.delete.names()
    }
}

/// Who holds a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Each of them, for people.
    pub holders: Vec<String>,
    /// Why it would go, in one sentence; `None` where it would stay.
    pub would_go: Option<String>,
}

/// The files that go. There may be a million of them: their names share one piece of memory, and why a file goes is put into
/// words when somebody asks.
#[derive(Debug, Clone)]
pub struct Deletions {
    layout: Layout,
    text: String,
    names: Vec<Range<usize>>,
}

impl Deletions {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, text: String::new(), names: Vec::new() }
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
        metadata.unwrap_or_else(|| "no retained metadata lists it".to_owned())
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
}
