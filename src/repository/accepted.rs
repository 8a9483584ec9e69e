//! What clients accept of the metadata at a place: followed from the newest root there, whatever has expired. A publication
//! goes on from these files. What no client accepts (cut off, damaged, not signed) is nobody's work to be kept, and only
//! named.
//!
//! Nothing is decided here: whose the files are is for [`super::ancestry`].

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::bins::{Delegatee, delegatees};
use super::error::{AtPath, RepositoryError};
use super::fault::Leading;
use super::history::{Entry, stated_version};
use super::layout::{Layout, MAX_METADATA, is_versioned, parse_plain, parse_versioned};
use super::signed_by::SignedBy;
use super::unknown_signer::{KnownRoots, Unreached, is_root};
use crate::metadata::{MetaFile, Metadata, ParseError, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles, Storage, regular_or_none};
use crate::verify::{Authority, Delegator, Verified, verify_delegate, verify_self_signed, verify_successor};

const ROOT: &str = "root.json";
const TIMESTAMP: &str = "timestamp.json";

/// How far a place is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// The roots alone.
    Roots,
    /// Down to the snapshot.
    Snapshot,
    /// With all roles that list targets.
    Whole,
    /// The same, with the delegations of this role in the place of those that the live `targets` states.
    WholeUnder(&'a Targets),
}

/// How a live file compares with the written file of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twin {
    /// It has the same bytes.
    Same,
    /// It has other bytes.
    Other,
    /// Nothing is written under that name.
    None,
}

/// A live file that clients accept.
#[derive(Debug, Clone)]
pub(super) struct AcceptedFile {
    pub(super) name: String,
    pub(super) role: RoleName,
    pub(super) version: u64,
    pub(super) twin: Twin,
    /// The line of a history that would vouch for it; made only where the file is not written here as well.
    pub(super) entry: Option<Entry>,
    /// The keys of the root that signed it; known of targets and of snapshots.
    pub(super) signed_by: SignedBy,
}

/// A live file that no client accepts.
#[derive(Debug, Clone)]
pub(super) struct Damaged {
    pub(super) name: String,
    pub(super) role: RoleName,
    pub(super) reason: String,
}

/// Metadata as it lies at a place.
#[derive(Debug, Clone)]
pub(super) struct Known<T> {
    pub(super) metadata: Verified<T>,
    pub(super) bytes: Vec<u8>,
    pub(super) twin: Twin,
}

/// What the roots of a place come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roots {
    /// Clients can follow them.
    Whole,
    /// There is none yet: a first publication may have been cut short.
    None,
    /// Those that are there, if any, cannot be read, and clients trust somebody.
    Unreadable,
    /// Clients can follow them, and the first one is not the one that is written here.
    Foreign,
}

/// What clients accept of a place.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) roots: Roots,
    /// The newest root that clients reach; where there is none, the newest that is written here.
    pub(super) root: Option<Known<Root>>,
    pub(super) timestamp: Option<Known<Timestamp>>,
    /// The snapshot that the timestamp names; where clients accept none, the newest that is there and signed well.
    pub(super) snapshot: Option<Known<Snapshot>>,
    pub(super) targets: BTreeMap<RoleName, Verified<Targets>>,
    /// The newest metadata of roles that list targets and that no snapshot leads to, where the newest snapshot is damaged:
    /// clients may have it.
    pub(super) stranded: BTreeMap<RoleName, Targets>,
    /// What stands in the place of the live `targets` where that gives way: its delegations count, those of the live one do
    /// not.
    instead: Option<Targets>,
    pub(super) files: Vec<AcceptedFile>,
    pub(super) damaged: Vec<Damaged>,
    /// A file that is whole, and that no known root leads to.
    pub(super) unreached: Option<Unreached>,
    /// Snapshots above the one that the timestamp names, signed well: a timestamp was put back, or a publication goes on or
    /// was cut short.
    pub(super) above: Vec<AcceptedFile>,
}

impl Accepted {
    /// Reads a place. `written` is the folder of this repository's written metadata.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn read(
        live: &dyn Storage,
        written: &Folder,
        first_root: u64,
        extent: Extent<'_>,
    ) -> Result<Self, RepositoryError> {
        let names = live.names().at(live.place(""))?;
        let mut reader = Reader { live, written, names, found: Self::nothing() };
        if let Extent::WholeUnder(targets) = extent {
            reader.found.instead = Some(targets.clone());
        }
        reader.roots(first_root)?;
        if matches!(extent, Extent::Roots) {
            return Ok(reader.found);
        }
        reader.follow(extent)?;
        reader.look_for_strangers()?;
        reader.look_for_the_unreached()?;
        Ok(reader.found)
    }

    /// What there is of a place where nothing has been published.
    fn nothing() -> Self {
        Self {
            roots: Roots::None,
            root: None,
            timestamp: None,
            snapshot: None,
            targets: BTreeMap::new(),
            stranded: BTreeMap::new(),
            instead: None,
            files: Vec::new(),
            damaged: Vec::new(),
            unreached: None,
            above: Vec::new(),
        }
    }

    /// Returns how the place's files are named.
    pub(super) fn layout(&self) -> Layout {
        Layout::of(self.root.as_ref().is_some_and(|root| root.metadata.signed().consistent_snapshot))
    }

    /// Returns everybody who may sign for a role at this place.
    pub(super) fn authorities<'a>(&'a self, role: &'a RoleName) -> impl Iterator<Item = Authority<'a>> {
        let root = self.root.iter().filter_map(|root| root.metadata.signed().authority(role));
        let followed = self.targets.iter().map(|(name, targets)| (name, targets.signed()));
        // whom a `targets` delegates to that gives way is nobody
        let counts = |(name, _): &(&RoleName, &Targets)| self.instead.is_none() || name.as_str() != "targets";
        let targets = followed.chain(&self.stranded).filter(counts).map(|(_, targets)| targets);
        root.chain(targets.chain(&self.instead).filter_map(|targets| targets.authority(role)))
    }

    /// Returns how clients are led to delegated roles now.
    pub(super) fn leading<'a>(&'a self, live: &'a dyn Storage) -> Leading<'a> {
        let read =
            move |name: &str| regular_or_none(live.read(name, MAX_METADATA)).at_place(|| live.place(name));
        let delegates = |targets: &&Targets| targets.delegations.is_some();
        let delegator = |(role, targets): (&RoleName, &'a Verified<Targets>)| {
            Some((role.clone(), Some(targets.signed()).filter(delegates)?))
        };
        Leading {
            layout: self.layout(),
            snapshot: self.snapshot.as_ref().map(|known| known.metadata.signed()),
            delegators: self.targets.iter().filter_map(delegator).collect(),
            read: Box::new(read),
        }
    }

    /// Tells whether the timestamp names the snapshot that was found.
    pub(super) fn is_announced(&self) -> bool {
        let named = self.timestamp.as_ref().and_then(|known| known.metadata.signed().snapshot());
        let found = self.snapshot.as_ref().map(|known| known.metadata.signed().version);
        named.is_some_and(|named| Some(named.version) == found)
    }
}

/// Tells whether bytes are metadata of a role and a version that one of some authorities has signed: a client that is led to
/// them takes them.
pub(super) fn is_signed_well<'a>(
    role: &RoleName,
    version: u64,
    bytes: &[u8],
    mut authorities: impl Iterator<Item = Authority<'a>>,
) -> bool {
    fn signed<T: Signed>(version: u64, bytes: &[u8], authority: &Authority<'_>) -> bool {
        let metadata = Metadata::<T>::from_bytes(bytes).ok();
        let right = metadata.filter(|metadata| metadata.signed().version() == version);
        right.is_some_and(|metadata| authority.check(metadata.covered()).is_verified())
    }
    authorities.any(|authority| match role.as_str() {
        "root" => signed::<Root>(version, bytes, &authority),
        "snapshot" => signed::<Snapshot>(version, bytes, &authority),
        "timestamp" => signed::<Timestamp>(version, bytes, &authority),
        _ => signed::<Targets>(version, bytes, &authority),
    })
}

/// A file as it was found.
struct Found {
    bytes: Vec<u8>,
    twin: Twin,
}

/// A role that lists targets, and what was made of its file through one of its delegators.
struct Judged {
    role: RoleName,
    name: String,
    taken: Result<(AcceptedFile, Verified<Targets>), String>,
}

struct Reader<'a> {
    live: &'a dyn Storage,
    written: &'a Folder,
    /// The names of the files that are live.
    names: Vec<String>,
    found: Accepted,
}

impl Reader<'_> {
    fn look(&self, name: &str) -> Result<Option<Found>, RepositoryError> {
        let Some(bytes) = self.live.read(name, MAX_METADATA).at_place(|| self.live.place(name))? else {
            return Ok(None);
        };
        // what is not as long is not read
        let length = self.written.length(name).at(self.written.file(name))?;
        let twin = match length {
            None => Twin::None,
            Some(length) if length == bytes.len() as u64 => {
                let written =
                    regular_or_none(self.written.read(name, MAX_METADATA)).at(self.written.file(name))?;
                if written.as_ref() == Some(&bytes) { Twin::Same } else { Twin::Other }
            }
            Some(_) => Twin::Other,
        };
        Ok(Some(Found { bytes, twin }))
    }

    fn accept(&mut self, name: String, role: RoleName, version: u64, found: &Found, signed_by: SignedBy) {
        self.found.files.push(AcceptedFile { signed_by, ..accepted_file(name, role, version, found) });
    }

    fn note_damage(&mut self, name: &str, role: RoleName, twin: Twin, reason: String) {
        // what is written here under that name is put there, and says the same
        let is_noted = self.found.damaged.iter().any(|damaged| damaged.name == name);
        if twin != Twin::Same && !is_noted {
            self.found.damaged.push(Damaged { name: name.to_owned(), role, reason });
        }
    }

    /// Follows the roots as far as they go. Where a file is missing or damaged, the one that is written here leads on if a
    /// live root follows it.
    fn roots(&mut self, first_root: u64) -> Result<(), RepositoryError> {
        let plain = self.look(ROOT)?;
        let first_name = root_name(first_root);
        let ours = self.written.read(&first_name, MAX_METADATA).at(self.written.file(&first_name))?;
        let ours = ours.and_then(|bytes| first(&bytes, first_root).ok());
        let (mut readable, mut foreign) = (false, false);
        let theirs = self.live_root(first_root, plain.as_ref(), |bytes| first(bytes, first_root))?;
        if let Some((root, found)) = theirs {
            (readable, foreign) = (true, found.twin != Twin::Same);
            self.accept(first_name, RoleName::root(), first_root, &found, SignedBy::default());
            self.found.root = Some(Known { metadata: root, bytes: found.bytes, twin: found.twin });
        }
        let mut current = match self.found.root.as_ref().map(|root| root.metadata.clone()).or(ours) {
            Some(root) => root,
            None => return self.no_root(),
        };
        loop {
            let next = current.signed().version + 1;
            let judge = |bytes: &[u8]| successor(current.signed(), bytes);
            if let Some((root, found)) = self.live_root(next, plain.as_ref(), judge)? {
                readable = true;
                self.accept(root_name(next), RoleName::root(), next, &found, SignedBy::default());
                self.found.root =
                    Some(Known { metadata: root.clone(), bytes: found.bytes, twin: found.twin });
                current = root;
            } else if let Some(root) = self.bridge(&current, plain.as_ref())? {
                current = root;
            } else {
                break;
            }
        }
        if !readable {
            return self.no_root();
        }
        self.found.roots = if foreign { Roots::Foreign } else { Roots::Whole };
        if let Some(found) = plain
            && let Some(newest) = &self.found.root
            && found.bytes != newest.bytes
        {
            let older = Metadata::<Root>::from_bytes(&found.bytes);
            let known = |root: Metadata<Root>| {
                let version = root.signed().version;
                self.found.files.iter().any(|file| file.role.as_str() == "root" && file.version == version)
            };
            // a publication that was cut short leaves it behind the others
            if !older.is_ok_and(known) {
                let reason = format!("it is not {}.root.json", newest.metadata.signed().version);
                self.note_damage(ROOT, RoleName::root(), found.twin, reason);
            }
        }
        Ok(())
    }

    /// Finds the live root of a version that stands the judge: under its own name, else as `root.json`.
    fn live_root(
        &mut self,
        version: u64,
        plain: Option<&Found>,
        judge: impl Fn(&[u8]) -> Result<Verified<Root>, String>,
    ) -> Result<Option<(Verified<Root>, Found)>, RepositoryError> {
        let name = root_name(version);
        if let Some(found) = self.look(&name)? {
            match judge(&found.bytes) {
                Ok(root) => return Ok(Some((root, found))),
                Err(reason) => self.note_damage(&name, RoleName::root(), found.twin, reason),
            }
        }
        let Some(plain) = plain else { return Ok(None) };
        let Ok(root) = judge(&plain.bytes) else { return Ok(None) };
        let written = self.written.read(&name, MAX_METADATA).at(self.written.file(&name))?;
        let twin = match written {
            None => Twin::None,
            Some(written) if written == plain.bytes => Twin::Same,
            Some(_) => Twin::Other,
        };
        Ok(Some((root, Found { bytes: plain.bytes.clone(), twin })))
    }

    /// Goes on by the roots that are written here up to the one before the next that is live.
    fn bridge(
        &mut self,
        current: &Verified<Root>,
        plain: Option<&Found>,
    ) -> Result<Option<Verified<Root>>, RepositoryError> {
        let mut at = current.clone();
        loop {
            let name = root_name(at.signed().version + 1);
            let bytes = self.written.read(&name, MAX_METADATA).at(self.written.file(&name))?;
            let Some(root) = bytes.and_then(|bytes| successor(at.signed(), &bytes).ok()) else {
                return Ok(None);
            };
            at = root;
            let next = at.signed().version + 1;
            let found = self.live.read(&root_name(next), MAX_METADATA).at(self.live.place(ROOT))?;
            let found = found.iter().chain(plain.map(|plain| &plain.bytes));
            if found.into_iter().any(|bytes| successor(at.signed(), bytes).is_ok()) {
                return Ok(Some(at));
            }
        }
    }

    /// No root is live that clients could follow. What else is there is judged by the newest root that is written here.
    fn no_root(&mut self) -> Result<(), RepositoryError> {
        let served = self.names.iter().any(|name| name == TIMESTAMP || is_root(name));
        self.found.roots = if served { Roots::Unreadable } else { Roots::None };
        let bytes = self.written.read(ROOT, MAX_METADATA).at(self.written.file(ROOT))?;
        let parsed = bytes.and_then(|bytes| Some((Metadata::from_bytes(&bytes).ok()?, bytes)));
        let own = parsed.and_then(|(root, bytes)| Some((verify_self_signed(root).ok()?, bytes)));
        self.found.root = own.map(|(metadata, bytes)| Known { metadata, bytes, twin: Twin::Same });
        Ok(())
    }

    /// A place without roots and a timestamp is free only where all metadata there is of this repository, whose first
    /// publication was cut short: another one may have lost its roots.
    fn look_for_strangers(&mut self) -> Result<(), RepositoryError> {
        if self.found.roots == Roots::None {
            for name in &self.names {
                if self.is_strange(name)? {
                    self.found.roots = Roots::Unreadable;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Looks for a file that is whole and that no known root leads to, among those that clients do not accept.
    fn look_for_the_unreached(&mut self) -> Result<(), RepositoryError> {
        let reached = self.found.root.as_ref().map_or(0, |root| root.metadata.signed().version);
        let has_roots = matches!(self.found.roots, Roots::Whole | Roots::Foreign);
        let is_announced = self.found.is_announced();
        let layout = self.found.layout();
        let leads_nowhere = |name: &String| match named(layout, name)?.as_str() {
            "root" if name == ROOT => (!has_roots).then(RoleName::root),
            "root" => (parse_versioned(name)?.0 > reached).then(RoleName::root),
            "targets" => (!is_announced).then(RoleName::targets),
            _ => None,
        };
        let damaged = self.found.damaged.iter().map(|damaged| (damaged.name.clone(), damaged.role.clone()));
        let unled = self.names.iter().filter_map(|name| Some((name.clone(), leads_nowhere(name)?)));
        let mut suspects: Vec<(String, RoleName)> = damaged.chain(unled).collect();
        let place = |role: &RoleName| {
            ["root", "timestamp", "snapshot", "targets"].iter().position(|name| *name == role.as_str())
        };
        // 3.root.json says more than root.json
        suspects.sort_by_key(|(name, role)| (place(role), name == ROOT));
        suspects.retain(|(name, role)| {
            place(role).is_some() && self.found.files.iter().all(|file| file.name != *name)
        });
        if suspects.is_empty() {
            return Ok(());
        }
        let theirs = self.found.files.iter().filter(|file| is_root(&file.name) && file.twin != Twin::Same);
        let theirs =
            theirs.map(|file| self.live.read(&file.name, MAX_METADATA).at_place(|| self.live.place(ROOT)));
        let theirs: Vec<Option<Vec<u8>>> = theirs.collect::<Result<_, _>>()?;
        let newest = self.found.root.iter().map(|root| root.bytes.clone());
        let roots = KnownRoots::of(self.written, theirs.into_iter().flatten().chain(newest), reached)?;
        for (name, role) in suspects {
            let found = self.look(&name)?.filter(|found| found.twin != Twin::Same);
            if let Some(unreached) = found.and_then(|found| roots.unreached(&name, &role, &found.bytes)) {
                self.found.unreached = Some(unreached);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells whether a file is metadata that this repository neither has nor could have signed.
    fn is_strange(&self, name: &str) -> Result<bool, RepositoryError> {
        let plain = || {
            let role = parse_plain(name)?;
            let is_role =
                self.found.layout() == Layout::Plain || matches!(role.as_str(), "snapshot" | "targets");
            is_role.then_some((None, role))
        };
        let versioned = parse_versioned(name).map(|(version, role)| (Some(version), role));
        let Some((named, role)) = versioned.or_else(plain) else { return Ok(false) };
        if self.found.files.iter().any(|file| file.name == name) {
            return Ok(false);
        }
        let Some(found) = self.look(name)? else { return Ok(false) };
        let Some(stated) = stated_version(&found.bytes).filter(|_| found.twin != Twin::Same) else {
            return Ok(false);
        };
        let version = named.unwrap_or(stated);
        Ok(!is_signed_well(&role, version, &found.bytes, self.found.authorities(&role)))
    }

    /// Follows the timestamp, the snapshot and what that lists.
    fn follow(&mut self, extent: Extent<'_>) -> Result<(), RepositoryError> {
        let Some(root) = self.found.root.as_ref().map(|root| root.metadata.signed().clone()) else {
            return Ok(());
        };
        let layout = self.found.layout();
        self.found.timestamp = self.take(&root, &RoleName::timestamp(), TIMESTAMP, None)?;
        let listed =
            self.found.timestamp.as_ref().and_then(|known| known.metadata.signed().snapshot().cloned());
        let role = RoleName::snapshot();
        if let Some(listed) = listed {
            let name = layout.metadata_name(&role, listed.version);
            self.found.snapshot = self.take(&root, &role, &name, Some(&listed))?;
        }
        if self.found.snapshot.is_none() {
            self.found.snapshot = self.newest_snapshot(&root, layout)?;
        }
        let snapshot = self.found.snapshot.as_ref().map(|known| known.metadata.signed().clone());
        match (&snapshot, extent) {
            (None, _) | (_, Extent::Roots | Extent::Snapshot) => {}
            (Some(snapshot), Extent::Whole) => self.delegations(&root, snapshot, layout, None)?,
            (Some(snapshot), Extent::WholeUnder(targets)) => {
                self.delegations(&root, snapshot, layout, Some(targets))?;
            }
        }
        if !self.found.is_announced() {
            self.stranded(&root, snapshot.as_ref(), layout)?;
        } else if let Some(snapshot) = snapshot.filter(|_| layout == Layout::Consistent) {
            self.found.above = self.snapshots_above(&root, snapshot.version)?;
        }
        Ok(())
    }

    /// Finds the snapshots above the one that the timestamp names. In the plain layout there is no file of another one.
    fn snapshots_above(&self, root: &Root, named: u64) -> Result<Vec<AcceptedFile>, RepositoryError> {
        let role = RoleName::snapshot();
        let Some(authority) = root.authority(&role) else { return Ok(Vec::new()) };
        let mut above = Vec::new();
        for name in &self.names {
            let version = match parse_versioned(name) {
                Some((version, of)) if of == role && version > named => version,
                _ => continue,
            };
            let Some(found) = self.look(name)? else { continue };
            if let Ok(snapshot) = judge::<Snapshot>(&authority, &found.bytes, Some(&MetaFile::new(version))) {
                let signed_by = SignedBy::of(&snapshot, Some(&authority));
                let file = accepted_file(name.clone(), role.clone(), version, &found);
                above.push(AcceptedFile { signed_by, ..file });
            }
        }
        Ok(above)
    }

    /// Where what led clients to the newest state is damaged, takes the files of roles above the snapshot that was found:
    /// clients may have them.
    fn stranded(
        &mut self,
        root: &Root,
        snapshot: Option<&Snapshot>,
        layout: Layout,
    ) -> Result<(), RepositoryError> {
        let listed = |role: &RoleName| {
            snapshot.and_then(|snapshot| snapshot.role(role)).map_or(0, |listed| listed.version)
        };
        let mut above: Vec<(RoleName, String)> = Vec::new();
        for name in &self.names {
            let versioned = parse_versioned(name).filter(|_| is_versioned(layout, name));
            let role = match (versioned, layout) {
                (Some((version, role)), _) if version > listed(&role) => Some(role),
                (None, Layout::Plain) => parse_plain(name),
                _ => None,
            };
            let role = role.filter(|role| role.lists_targets());
            above.extend(role.map(|role| (role, name.clone())));
        }
        above.retain(|(_, name)| self.found.files.iter().all(|file| file.name != *name));
        // whom a role delegates to is known once it has been read
        loop {
            let mut left = Vec::new();
            let before = above.len();
            for (role, name) in above {
                if !self.take_stranded(root, &role, &name, layout)? {
                    left.push((role, name));
                }
            }
            if left.is_empty() || left.len() == before {
                return Ok(());
            }
            above = left;
        }
    }

    /// Takes the file of a role that no snapshot leads to, where somebody known has signed it.
    fn take_stranded(
        &mut self,
        root: &Root,
        role: &RoleName,
        name: &str,
        layout: Layout,
    ) -> Result<bool, RepositoryError> {
        let Some(found) = self.look(name)? else { return Ok(false) };
        let taken = {
            let mut here = root.authority(role).into_iter().chain(self.found.authorities(role));
            here.find_map(|authority| judge::<Targets>(&authority, &found.bytes, None).ok())
        };
        let Some(taken) = taken else { return Ok(false) };
        let signed_by = SignedBy::of(&taken, root.authority(role).as_ref());
        let version = taken.signed().version;
        let named = parse_versioned(name).filter(|_| is_versioned(layout, name));
        if named.is_some_and(|(named, _)| named != version) {
            return Ok(false);
        }
        self.accept(name.to_owned(), role.clone(), version, &found, signed_by);
        if self.found.stranded.get(role).is_none_or(|known| known.version < version) {
            self.found.stranded.insert(role.clone(), taken.into_signed());
        }
        Ok(true)
    }

    /// Takes the file of a role that the root delegates to, where clients do.
    fn take<T: Signed>(
        &mut self,
        root: &Root,
        role: &RoleName,
        name: &str,
        listed: Option<&MetaFile>,
    ) -> Result<Option<Known<T>>, RepositoryError> {
        let Some(found) = self.look(name)? else { return Ok(None) };
        let judged = match root.authority(role) {
            Some(authority) => judge::<T>(&authority, &found.bytes, listed),
            None => Err(format!("no root names keys for {role}")),
        };
        match judged {
            Ok(metadata) => {
                if role.as_str() != "timestamp" {
                    let signed_by = SignedBy::of(&metadata, root.authority(role).as_ref());
                    self.accept(
                        name.to_owned(),
                        role.clone(),
                        metadata.signed().version(),
                        &found,
                        signed_by,
                    );
                }
                Ok(Some(Known { metadata, bytes: found.bytes, twin: found.twin }))
            }
            Err(reason) => {
                self.note_damage(name, role.clone(), found.twin, reason);
                Ok(None)
            }
        }
    }

    /// Finds the newest snapshot that is signed well: clients may have it, though no timestamp leads there now.
    fn newest_snapshot(
        &mut self,
        root: &Root,
        layout: Layout,
    ) -> Result<Option<Known<Snapshot>>, RepositoryError> {
        let role = RoleName::snapshot();
        let mut versions: Vec<u64> = match layout {
            Layout::Plain => vec![0],
            Layout::Consistent => {
                let parsed = self.names.iter().filter_map(|name| parse_versioned(name));
                parsed.filter(|(_, named)| *named == role).map(|(version, _)| version).collect()
            }
        };
        versions.sort_unstable();
        while let Some(version) = versions.pop() {
            let name = layout.metadata_name(&role, version);
            let listed = (layout == Layout::Consistent).then(|| MetaFile::new(version));
            let known = self.take(root, &role, &name, listed.as_ref())?;
            if known.is_some() {
                return Ok(known);
            }
        }
        Ok(None)
    }

    /// Takes the roles that list targets, level by level, each on all cores.
    fn delegations(
        &mut self,
        root: &Root,
        snapshot: &Snapshot,
        layout: Layout,
        instead: Option<&Targets>,
    ) -> Result<(), RepositoryError> {
        let mut level = vec![(RoleName::targets(), RoleName::root())];
        let mut seen: BTreeSet<(RoleName, RoleName)> = BTreeSet::new();
        let mut failed: BTreeMap<RoleName, Damaged> = BTreeMap::new();
        while !level.is_empty() {
            level.retain(|pair| !self.found.targets.contains_key(&pair.0) && seen.insert(pair.clone()));
            let judge = |(role, delegator): &(RoleName, RoleName)| {
                self.judge_targets(root, snapshot, layout, role, delegator, instead)
            };
            let judged: Vec<Option<Judged>> = level.par_iter().map(judge).collect::<Result<_, _>>()?;
            level.clear();
            for Judged { role, name, taken } in judged.into_iter().flatten() {
                match taken {
                    Ok(_) if self.found.targets.contains_key(&role) => {}
                    Ok((file, targets)) => {
                        let followed =
                            instead.filter(|_| role.as_str() == "targets").unwrap_or(targets.signed());
                        level.extend(
                            children(followed, snapshot).into_iter().map(|child| (child, role.clone())),
                        );
                        failed.remove(&role);
                        self.found.files.push(file);
                        self.found.targets.insert(role, targets);
                    }
                    Err(reason) => {
                        if role.as_str() == "targets"
                            && let Some(targets) = instead
                        {
                            level.extend(
                                children(targets, snapshot).into_iter().map(|child| (child, role.clone())),
                            );
                        }
                        failed.insert(role.clone(), Damaged { name, role, reason });
                    }
                }
            }
        }
        self.found.damaged.extend(failed.into_values());
        Ok(())
    }

    /// Judges the file of a role that lists targets through one of its delegators; `None` where it is not listed, not there,
    /// or only a copy of what is written here that nobody accepts yet.
    fn judge_targets(
        &self,
        root: &Root,
        snapshot: &Snapshot,
        layout: Layout,
        role: &RoleName,
        delegator: &RoleName,
        instead: Option<&Targets>,
    ) -> Result<Option<Judged>, RepositoryError> {
        let Some(listed) = snapshot.role(role) else { return Ok(None) };
        let authority = match delegator.as_str() {
            "root" => root.authority(role),
            "targets" if instead.is_some() => instead.and_then(|targets| targets.authority(role)),
            _ => self.found.targets.get(delegator).and_then(|targets| targets.signed().authority(role)),
        };
        let Some(authority) = authority else { return Ok(None) };
        let name = layout.metadata_name(role, listed.version);
        let Some(found) = self.look(&name)? else { return Ok(None) };
        let taken = match judge::<Targets>(&authority, &found.bytes, Some(&listed)) {
            Ok(metadata) => {
                let signed_by = SignedBy::of(&metadata, root.authority(role).as_ref());
                let file = accepted_file(name.clone(), role.clone(), listed.version, &found);
                Ok((AcceptedFile { signed_by, ..file }, metadata))
            }
            Err(_) if found.twin == Twin::Same => return Ok(None),
            Err(reason) => Err(reason),
        };
        Ok(Some(Judged { role: role.clone(), name, taken }))
    }
}

fn root_name(version: u64) -> String {
    Layout::Plain.metadata_name(&RoleName::root(), version)
}

fn accepted_file(name: String, role: RoleName, version: u64, found: &Found) -> AcceptedFile {
    let entry = (found.twin != Twin::Same).then(|| Entry::new(role.clone(), version, &found.bytes));
    AcceptedFile { name, role, version, twin: found.twin, entry, signed_by: SignedBy::default() }
}

fn parse<T: Signed>(bytes: &[u8]) -> Result<Metadata<T>, String> {
    Metadata::from_file(bytes.to_vec()).map_err(|error: ParseError| error.to_string())
}

pub(super) fn first(bytes: &[u8], version: u64) -> Result<Verified<Root>, String> {
    let root = verify_self_signed(parse(bytes)?).map_err(|error| error.to_string())?;
    let found = root.signed().version;
    if found == version { Ok(root) } else { Err(format!("it is root v{found}")) }
}

fn successor(trusted: &Root, bytes: &[u8]) -> Result<Verified<Root>, String> {
    let root = verify_successor(trusted, parse(bytes)?).map_err(|error| error.to_string())?;
    let found = root.signed().version;
    if found == trusted.version + 1 { Ok(root) } else { Err(format!("it is root v{found}")) }
}

/// Judges a file as a client does, but for its expiry (specification 5.4.2, 5.5.2 to 5.5.4, 5.6.2 to 5.6.4).
fn judge<T: Signed>(
    authority: &Authority<'_>,
    bytes: &[u8],
    listed: Option<&MetaFile>,
) -> Result<Verified<T>, String> {
    if let Some(listed) = listed {
        listed.check(bytes).map_err(|mismatch| mismatch.to_string())?;
    }
    let verified = verify_delegate(authority, parse::<T>(bytes)?).map_err(|error| error.to_string())?;
    let found = verified.signed().version();
    match listed.filter(|listed| listed.version != found) {
        Some(listed) => Err(format!("it has version {found}, not {}", listed.version)),
        None => Ok(verified),
    }
}

/// Returns the roles that one delegates to and a snapshot lists.
pub(super) fn children(targets: &Targets, snapshot: &Snapshot) -> Vec<RoleName> {
    let found = targets.delegations.as_ref().map(delegatees).unwrap_or_default().into_iter();
    let names = found.flat_map(|delegatee| match delegatee {
        Delegatee::Role(role) => vec![role],
        Delegatee::Bins(set) => set.listed_by(snapshot).collect(),
    });
    names.collect()
}

/// Returns the role that the name of a metadata file stands for.
pub(super) fn named(layout: Layout, name: &str) -> Option<RoleName> {
    let versioned = parse_versioned(name).filter(|_| is_versioned(layout, name));
    versioned.map(|(_, role)| role).or_else(|| parse_plain(name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::testing::{copy, keys, open, repository, scratch, start, write};
    use super::super::{METADATA, STAGED};
    use super::*;

    /// A repository with three roots and two targets, published once per write.
    fn three_roots(dir: &Path) {
        let keys = keys();
        repository(dir, &keys);
        for _ in 0..2 {
            let mut repository = open(dir, start());
            repository.bump(&RoleName::root(), None).unwrap();
            repository.bump(&RoleName::targets(), None).unwrap();
            write(&mut repository, &keys);
            drop(repository);
            super::super::testing::publish(dir, start());
        }
    }

    fn read(live: &Path, repository: &Path) -> Accepted {
        let written = Folder::new(repository.join(STAGED));
        Accepted::read(&Folder::new(live), &written, 1, Extent::Whole).unwrap()
    }

    fn names(accepted: &Accepted) -> Vec<&str> {
        accepted.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn what_clients_are_led_to_is_accepted_and_compared_with_what_is_written() {
        let dir = scratch();
        three_roots(dir.path());
        let live = dir.path().join(METADATA);
        let accepted = read(&live, dir.path());
        assert_eq!((accepted.roots, accepted.is_announced()), (Roots::Whole, true));
        let expected = ["1.root.json", "2.root.json", "3.root.json", "3.snapshot.json", "3.targets.json"];
        assert_eq!(names(&accepted), expected);
        assert!(accepted.files.iter().all(|file| file.twin == Twin::Same && file.entry.is_none()));
        // without written files beside them they are the same files, to be asked of a history
        let other = scratch();
        let staged = other.path().join(STAGED);
        fs::create_dir_all(&staged).unwrap();
        fs::copy(dir.path().join(STAGED).join("1.root.json"), staged.join("1.root.json")).unwrap();
        fs::write(staged.join("3.targets.json"), "{}").unwrap();
        let accepted = read(&live, other.path());
        let twins: Vec<Twin> = accepted.files.iter().map(|file| file.twin).collect();
        assert_eq!(twins, [Twin::Same, Twin::None, Twin::None, Twin::None, Twin::Other]);
        assert!(accepted.files[1..].iter().all(|file| file.entry.is_some()));
    }

    #[test]
    fn a_root_that_is_missing_or_damaged_is_bridged_by_the_written_one() {
        for bytes in [None, Some("{}")] {
            let dir = scratch();
            three_roots(dir.path());
            let live = dir.path().join(METADATA);
            let middle = live.join("2.root.json");
            match bytes {
                None => fs::remove_file(middle).unwrap(),
                Some(bytes) => fs::write(middle, bytes).unwrap(),
            }
            let accepted = read(&live, dir.path());
            assert_eq!(accepted.roots, Roots::Whole);
            assert_eq!(names(&accepted)[..2], ["1.root.json", "3.root.json"]);
            assert_eq!(accepted.damaged.len(), usize::from(bytes.is_some()));
        }
    }

    #[test]
    fn a_place_is_free_damaged_or_a_strangers_by_what_is_there() {
        let (dir, other) = (scratch(), scratch());
        repository(dir.path(), &keys());
        repository(other.path(), &keys());
        let all = ["1.root.json", "root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"];
        for (from, left, expected) in [
            (&dir, &[][..], Roots::None),
            (&dir, &["1.targets.json"], Roots::None),
            (&dir, &["1.targets.json", "1.snapshot.json"], Roots::None),
            (&dir, &["1.targets.json", "timestamp.json"], Roots::Unreadable),
            (&other, &["1.targets.json"], Roots::Unreadable),
            (&other, &["1.snapshot.json"], Roots::Unreadable),
            (&other, &all, Roots::Foreign),
        ] {
            let live = scratch();
            for name in left {
                fs::copy(from.path().join(METADATA).join(name), live.path().join(name)).unwrap();
            }
            // files that are no metadata are nobody's roles
            fs::write(live.path().join("1.notes.json"), "{\"a\": 1}").unwrap();
            fs::write(live.path().join("package.json"), "{}").unwrap();
            assert_eq!(read(live.path(), dir.path()).roots, expected, "{left:?}");
        }
    }

    #[test]
    fn what_no_snapshot_leads_to_is_taken_where_somebody_known_has_signed_it() {
        let dir = scratch();
        three_roots(dir.path());
        let live = scratch();
        copy(&dir.path().join(METADATA), live.path());
        for name in ["1.snapshot.json", "2.snapshot.json", "3.snapshot.json"] {
            fs::write(live.path().join(name), "<html>").unwrap();
        }
        let accepted = read(live.path(), dir.path());
        assert!(!accepted.is_announced() && accepted.snapshot.is_none());
        let targets: Vec<&str> =
            names(&accepted).into_iter().filter(|name| name.contains("targets")).collect();
        assert_eq!(targets, ["1.targets.json", "2.targets.json", "3.targets.json"]);
        assert_eq!(accepted.stranded[&RoleName::targets()].version, 3);
    }

    #[test]
    fn only_the_role_and_version_that_a_name_states_are_signed_well() {
        let dir = scratch();
        repository(dir.path(), &keys());
        let live = dir.path().join(METADATA);
        let accepted = read(&live, dir.path());
        let bytes = fs::read(live.join("1.targets.json")).unwrap();
        let role = |name: &str| RoleName::new(name).unwrap();
        for (name, version, expected) in
            [("targets", 1, true), ("targets", 2, false), ("snapshot", 1, false), ("team", 1, false)]
        {
            let role = role(name);
            let good = is_signed_well(&role, version, &bytes, accepted.authorities(&role));
            assert_eq!(good, expected, "{name} {version}");
        }
    }
}
