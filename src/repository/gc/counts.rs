//! Counts: which retained snapshots list which metadata, and which target files that metadata lists.
//!
//! A long history says nearly the same a thousand times over, so what is kept is small where it repeats itself: of a version
//! of a role the stretches of snapshots that list it, of a target file a mark of its name. Two names with one mark would
//! keep a file that could go, never the other way round.

use std::collections::{BTreeSet, HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::super::layout::{Layout, parse_hash_named};
use crate::metadata::{RoleName, TargetPath, Targets};

/// The counts of all files.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Where each role stands among `roles`.
    numbers: HashMap<RoleName, usize>,
    /// The versions of each role that are known, in order.
    roles: Vec<Vec<Version>>,
    targets: HashSet<u128>,
    asked: Option<Asked>,
}

/// A version of a role's metadata.
#[derive(Debug)]
struct Version {
    number: u64,
    state: State,
    snapshots: Stretches,
}

/// What is known of a version of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its file has not been read so far, or cannot be.
    Lost,
    /// What it lists is counted, and it delegates to nobody.
    Leaf,
    /// What it lists is counted, and it delegates.
    Delegator,
}

/// The first and the last of each stretch of snapshots, by their places among all that are retained.
#[derive(Debug, Default)]
struct Stretches(Vec<(usize, usize)>);

impl Stretches {
    /// Adds a snapshot. Those that come in order make one stretch.
    fn add(&mut self, snapshot: usize) {
        match self.0.last_mut() {
            Some((first, last)) if (*first..=*last + 1).contains(&snapshot) => *last = snapshot.max(*last),
            _ => self.0.push((snapshot, snapshot)),
        }
    }

    fn places(&self) -> BTreeSet<usize> {
        self.0.iter().flat_map(|&(first, last)| first..=last).collect()
    }
}

/// A target file whose holders are wanted by name.
#[derive(Debug)]
struct Asked {
    name: String,
    holders: BTreeSet<Holder>,
}

/// What holds a target file: a version of a role, or its draft.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Version(RoleName, u64),
    Draft(RoleName),
}

/// What targets metadata counts for.
#[derive(Debug)]
pub(super) struct Listing {
    state: State,
    targets: Vec<u128>,
    /// Whether the file that was asked for is among them.
    asked: bool,
}

impl Counts {
    /// Starts to count, with an eye on one target file.
    pub(super) fn asking(target: Option<&str>) -> Self {
        let asked = target.map(|name| Asked { name: name.to_owned(), holders: BTreeSet::new() });
        Self { asked, ..Self::default() }
    }

    /// Looks at what metadata lists. Counts nothing yet, so that many threads may do so.
    pub(super) fn listing(&self, targets: &Targets, layout: Layout) -> Listing {
        let asked = self.asked.as_ref().map(|asked| asked.name.as_str());
        let state = if targets.delegations.is_some() { State::Delegator } else { State::Leaf };
        let mut listing = Listing { state, targets: Vec::new(), asked: false };
        for (path, file) in targets.targets.iter() {
            let Ok(path) = TargetPath::parse(&path) else { continue };
            let names = layout.target_names(&path, &file);
            let is_asked = |name: &str| asked == Some(name);
            listing.asked |= is_asked(path.as_str()) || names.iter().any(|name| is_asked(name));
            listing.targets.extend(names.iter().map(|name| name_mark(name)));
            // a file may be called like a copy and be a target itself
            if layout == Layout::Consistent && looks_like_copy(path.as_str()) {
                listing.targets.push(name_mark(path.as_str()));
            }
        }
        listing
    }

    /// Counts what metadata lists for who holds it.
    pub(super) fn hold(&mut self, holder: Holder, listing: Listing) {
        self.targets.extend(listing.targets);
        if let Holder::Version(role, number) = &holder {
            self.version(role, *number).state = listing.state;
        }
        if let Some(asked) = self.asked.as_mut().filter(|_| listing.asked) {
            asked.holders.insert(holder);
        }
    }

    /// Counts what a metadata file lists that stays although no retained snapshot lists it.
    pub(super) fn hold_apart(&mut self, listing: Listing) {
        self.targets.extend(listing.targets);
    }

    /// Returns the versions of roles that delegate.
    pub(super) fn delegators(&self) -> Vec<(RoleName, u64)> {
        let of_role = |(role, place): (&RoleName, &usize)| {
            let delegates = |version: &&Version| version.state == State::Delegator;
            let versions = self.roles[*place].iter().filter(delegates);
            versions.map(|version| (role.clone(), version.number)).collect::<Vec<_>>()
        };
        self.numbers.iter().flat_map(of_role).collect()
    }

    /// Counts a snapshot, by its place among all that are retained, for a version of a role.
    pub(super) fn list(&mut self, role: &RoleName, number: u64, snapshot: usize) {
        self.version(role, number).snapshots.add(snapshot);
    }

    /// Counts a snapshot as [`Counts::list`] does where the version is known, and returns what is known of it.
    pub(super) fn list_known(&mut self, role: &str, number: u64, snapshot: usize) -> Option<State> {
        let versions = self.roles.get_mut(*self.numbers.get(role)?)?;
        let at = versions.binary_search_by_key(&number, |version| version.number).ok()?;
        let version = versions.get_mut(at)?;
        version.snapshots.add(snapshot);
        Some(version.state)
    }

    fn version(&mut self, role: &RoleName, number: u64) -> &mut Version {
        let next = self.roles.len();
        let place = *self.numbers.entry(role.clone()).or_insert(next);
        if place == next {
            self.roles.push(Vec::new());
        }
        let versions = &mut self.roles[place];
        let at = match versions.binary_search_by_key(&number, |version| version.number) {
            Ok(at) => at,
            Err(at) => {
                let new = Version { number, state: State::Lost, snapshots: Stretches::default() };
                versions.insert(at, new);
                at
            }
        };
        &mut versions[at]
    }

    fn versions(&self, role: &str) -> &[Version] {
        self.numbers.get(role).map_or(&[], |place| &self.roles[*place])
    }

    /// Returns what is known of a version of a role; `None` where no snapshot lists it.
    pub(super) fn state(&self, role: &str, number: u64) -> Option<State> {
        let versions = self.versions(role);
        let at = versions.binary_search_by_key(&number, |version| version.number).ok()?;
        Some(versions[at].state)
    }

    /// Returns the highest version of a role that is listed.
    pub(super) fn newest(&self, role: &str) -> Option<u64> {
        self.versions(role).last().map(|version| version.number)
    }

    /// Tells whether metadata lists a file, named relative to the folder of targets.
    pub(super) fn holds_target(&self, name: &str) -> bool {
        self.targets.contains(&name_mark(name))
    }

    /// Returns the places of the snapshots that list a version of a role.
    pub(super) fn snapshots(&self, role: &str, number: u64) -> BTreeSet<usize> {
        let found = self.versions(role).iter().find(|version| version.number == number);
        found.map(|version| version.snapshots.places()).unwrap_or_default()
    }

    /// Returns who holds the target file that was asked for.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.asked.iter().flat_map(|asked| &asked.holders)
    }
}

/// Tells whether a file is named as a copy is. That says nothing of whose it is: most files are not, and need no closer
/// look.
pub(super) fn looks_like_copy(path: &str) -> bool {
    parse_hash_named(path.rsplit('/').next().unwrap_or(path)).is_some()
}

fn name_mark(name: &str) -> u128 {
    mark(&[name.as_bytes()])
}

/// Marks some bytes by 16 bytes of their SHA-256.
pub(super) fn mark(parts: &[&[u8]]) -> u128 {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    let digest: [u8; 32] = hasher.finalize().into();
    digest.iter().take(16).fold(0, |mark, byte| mark << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_table(
            lists in prop::collection::vec((0..3_usize, 1..5_u64, 0..6_usize), 0..60),
        ) {
            let names = ["targets", "a/b", "bin-0"];
            let mut counts = Counts::default();
            let mut table: BTreeMap<(&str, u64), BTreeSet<usize>> = BTreeMap::new();
            for (role, version, snapshot) in lists {
                let name = names[role];
                let known = counts.list_known(name, version, snapshot);
                prop_assert_eq!(known.is_some(), table.contains_key(&(name, version)));
                if known.is_none() {
                    counts.list(&RoleName::new(name).unwrap(), version, snapshot);
                }
                table.entry((name, version)).or_default().insert(snapshot);
            }
            for name in names {
                for version in 0..6 {
                    let expected = table.get(&(name, version)).cloned();
                    prop_assert_eq!(counts.state(name, version).is_some(), expected.is_some());
                    prop_assert_eq!(counts.snapshots(name, version), expected.unwrap_or_default());
                }
                let newest = table.keys().filter(|(known, _)| *known == name).map(|(_, version)| *version).max();
                prop_assert_eq!(counts.newest(name), newest);
            }
        }
    }

    #[test]
    fn a_version_that_many_snapshots_list_one_after_the_other_takes_one_stretch() {
        let mut counts = Counts::default();
        for snapshot in 0..1000 {
            counts.list(&RoleName::targets(), 7, snapshot);
            counts.list(&RoleName::targets(), 7, snapshot);
        }
        assert_eq!(counts.versions("targets")[0].snapshots.0, [(0, 999)]);
    }
}
