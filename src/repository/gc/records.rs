//! Records: metadata that goes and is this repository's own. A target file is deleted only where such metadata lists it.
//!
//! The name of a file says nothing of whose it is, and whoever can put a file into a folder of metadata must not have target
//! files deleted by it. So a role file goes only if the history knows it as one that was written here or taken over: a key
//! that was taken away, or that of a delegate, still signs what it likes. It must also be the metadata that its name says,
//! signed as a root of this repository, of any version, or a delegation in metadata that was accepted before it,
//! demands, and what it lists counts only under paths that such delegations trust it for. Any other file stays and is told.

use std::collections::{BTreeSet, HashSet};

use rayon::prelude::*;

use super::super::error::{AtPath, RepositoryError};
use super::super::history::{Entry, History, sha256};
use super::super::layout::{Layout, MAX_METADATA};
use super::counts::{Counts, mark};
use super::snapshots::Side;
use super::trust::{Delegated, Known, leads_to};
use crate::metadata::{
    Algorithm, Delegations, Metadata, RoleName, Root, Signed, Snapshot, TargetFile, TargetPath, Targets,
};
use crate::verify::{Authority, Delegator};

/// A metadata file that no retained snapshot needs, by its name.
#[derive(Clone)]
pub(super) struct Dropped<'a> {
    pub(super) side: &'a Side<'a>,
    pub(super) name: &'a str,
    pub(super) role: RoleName,
    /// The version that its name states; none in the plain layout.
    pub(super) version: Option<u64>,
}

impl Dropped<'_> {
    /// Reads the file; `None` where it is not the metadata that its name says.
    fn read<T: Signed>(&self) -> Result<Option<Metadata<T>>, RepositoryError> {
        let bytes = self.side.folder.read(self.name, MAX_METADATA).at(self.side.folder.place(self.name))?;
        let metadata = bytes.and_then(|bytes| Metadata::<T>::from_file(bytes).ok());
        Ok(metadata
            .filter(|metadata| self.version.is_none_or(|version| metadata.signed().version() == version)))
    }

    /// Reads the file of a role; `None` where the history does not vouch for exactly this file, either.
    fn read_known(&self, history: &History) -> Result<Option<Metadata<Targets>>, RepositoryError> {
        let bytes = self.side.folder.read(self.name, MAX_METADATA).at(self.side.folder.place(self.name))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let sha256 = sha256(&bytes);
        let is_known = |metadata: &Metadata<Targets>| {
            let version = metadata.signed().version;
            self.version.is_none_or(|stated| stated == version)
                && history.vouches_for(&Entry { role: self.role.clone(), version, sha256 })
        };
        Ok(Metadata::from_file(bytes).ok().filter(is_known))
    }

    fn told(&self) -> String {
        format!("{}/{}", self.side.prefix, self.name)
    }
}

/// What metadata that goes lists and no other holds: marks of the names of files with their lengths.
#[derive(Debug, Default)]
pub(super) struct Listed {
    files: HashSet<u128>,
    /// In the plain layout, where a name does not state a digest, marks with the digests too.
    digests: HashSet<u128>,
}

impl Listed {
    /// Adds the files of a target, as far as nothing holds them.
    fn add(&mut self, path: &TargetPath, file: &TargetFile, layout: Layout, counts: &Counts) {
        for name in layout.target_names(path, file) {
            if counts.holds_target(&name) {
                continue;
            }
            self.files.insert(file_mark(&name, file.length));
            if layout == Layout::Plain {
                let digests = file.hashes.known().filter_map(|algorithm| file.hashes.of(algorithm));
                self.digests.extend(digests.map(|digest| digest_mark(&name, digest)));
            }
        }
    }

    /// Adds what metadata lists under paths that its role is trusted for. No record leads to a name that these programs keep
    /// for themselves. Also tells whether that was all.
    fn of(targets: &Targets, layout: Layout, counts: &Counts, trusted: &Delegated<'_>) -> (Self, Extent) {
        let (mut listed, mut extent) = (Self::default(), Extent::Whole);
        for (path, file) in targets.targets.iter() {
            match TargetPath::parse(&path) {
                Ok(path) if path.is_reserved() => {}
                Ok(path) if trusted.trusts(path.as_str()) => listed.add(&path, &file, layout, counts),
                Ok(_) => extent = Extent::Partial,
                Err(_) => {}
            }
        }
        (listed, extent)
    }

    fn extend(&mut self, more: Self) {
        self.files.extend(more.files);
        self.digests.extend(more.digests);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Tells whether a file of this name and length is listed.
    pub(super) fn has(&self, name: &str, length: u64) -> bool {
        self.files.contains(&file_mark(name, length))
    }

    /// Tells whether a file of this name is listed with a digest, which its name does not state.
    pub(super) fn has_digest(&self, name: &str, digest: &str) -> bool {
        self.digests.contains(&digest_mark(name, digest))
    }
}

/// How much of what metadata lists its role is trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// A part, as far as is known by now.
    Partial,
}

/// Marks a file by its name and its length.
pub(super) fn file_mark(name: &str, length: u64) -> u128 {
    mark(&[name.as_bytes(), b"\0", &length.to_le_bytes()])
}

fn digest_mark(name: &str, digest: &str) -> u128 {
    mark(&[name.as_bytes(), b"\0", digest.to_ascii_lowercase().as_bytes()])
}

/// What may go of the metadata, and what that lists.
#[derive(Default)]
pub(super) struct Records<'a> {
    /// The snapshots.
    pub(super) snapshots: Vec<Dropped<'a>>,
    /// The role files: first those that the roots vouch for, then those that these vouch for, and so on.
    pub(super) rounds: Vec<Vec<Dropped<'a>>>,
    /// What the role files list.
    pub(super) listed: Listed,
    /// The files that nobody vouches for, by name.
    pub(super) strangers: Vec<String>,
}

impl<'a> Records<'a> {
    /// Reads the files that may go, and accepts those that are this repository's own.
    pub(super) fn read(
        snapshots: Vec<Dropped<'a>>,
        roles: Vec<Dropped<'a>>,
        sides: &'a [Side<'a>],
        counts: &Counts,
        history: &History,
    ) -> Result<Self, RepositoryError> {
        let roots: Vec<&Root> = sides.iter().flat_map(|side| &side.roots).collect();
        let mut records = Self::default();
        records.read_snapshots(snapshots, &authorities(roots.iter().copied(), &RoleName::snapshot()))?;
        let mut known = Known::default();
        for (role, delegations) in sides.iter().flat_map(|side| &side.delegations) {
            known.learn(role, delegations.clone());
        }
        let mut vouching = Vouching { roots, known, counts, history, partial: Vec::new() };
        let mut waiting: Vec<Waiting<'a>> =
            roles.into_iter().map(|file| Waiting { file, goes: true, tried: None }).collect();
        let mut has_asked_retained = false;
        loop {
            let (ready, rest) = waiting.into_iter().partition(|waiting| vouching.may_accept(waiting));
            waiting = rest;
            if !Vec::is_empty(&ready) {
                waiting.extend(records.read_round(ready, &mut vouching)?);
            } else if (waiting.is_empty() && vouching.partial.is_empty()) || has_asked_retained {
                break;
            } else {
                // older metadata that is retained is read again only where something waits for its delegations, or lists
                // more than the others trust it for
                has_asked_retained = true;
                let delegators = counts.delegators();
                let files = sides.iter().flat_map(|side| side.files_of(&delegators));
                waiting.extend(files.map(|file| Waiting { file, goes: false, tried: None }));
            }
        }
        // only now are all delegations known
        for file in std::mem::take(&mut vouching.partial) {
            if let Some(metadata) = file.read_known(history)? {
                let trusted = vouching.known.of(&file.role);
                let (listed, _) = Listed::of(metadata.signed(), file.side.layout, counts, &trusted);
                records.listed.extend(listed);
            }
        }
        records.strangers.extend(waiting.iter().filter(|waiting| waiting.goes).map(|w| w.file.told()));
        records.strangers.sort_unstable();
        Ok(records)
    }

    fn read_snapshots(
        &mut self,
        snapshots: Vec<Dropped<'a>>,
        authorities: &[Authority<'_>],
    ) -> Result<(), RepositoryError> {
        let is_ours = |file: &Dropped<'_>| {
            let snapshot = file.read::<Snapshot>()?;
            Ok(snapshot.is_some_and(|snapshot| is_signed(&snapshot, authorities)))
        };
        let ours: Vec<bool> = snapshots.par_iter().map(is_ours).collect::<Result<_, RepositoryError>>()?;
        for (file, is_ours) in snapshots.into_iter().zip(ours) {
            if is_ours {
                self.snapshots.push(file);
            } else {
                self.strangers.push(file.told());
            }
        }
        Ok(())
    }

    /// Reads the files for which somebody may vouch by now. Returns those that wait on.
    fn read_round(
        &mut self,
        ready: Vec<Waiting<'a>>,
        vouching: &mut Vouching<'a, '_>,
    ) -> Result<Vec<Waiting<'a>>, RepositoryError> {
        let (tried, mut later, mut round, mut learned) =
            (vouching.known.number(), Vec::new(), Vec::new(), Vec::new());
        let mut ready = ready.into_iter();
        loop {
            // a few at a time are in memory
            let few: Vec<Waiting<'a>> = ready.by_ref().take(4 * rayon::current_num_threads()).collect();
            if few.is_empty() {
                break;
            }
            let judged: Vec<_> = few.par_iter().map(|waiting| vouching.judge(waiting)).collect();
            for (waiting, judged) in few.into_iter().zip(judged) {
                let Some(Accepted { listed, extent, delegations }) = judged? else {
                    later.push(Waiting { tried: Some(tried), ..waiting });
                    continue;
                };
                learned.extend(delegations.map(|delegations| (waiting.file.role.clone(), delegations)));
                if waiting.goes {
                    self.listed.extend(listed);
                    if extent == Extent::Partial {
                        vouching.partial.push(waiting.file.clone());
                    }
                    round.push(waiting.file);
                }
            }
        }
        learned.into_iter().for_each(|(role, delegations)| vouching.known.learn(&role, delegations));
        self.rounds.push(round);
        Ok(later)
    }

    /// Leaves out the role files that list one of some files, which stay for now, and those that vouch for them: they are
    /// the only record of these files.
    pub(super) fn keep_records_of(&mut self, files: &HashSet<u128>) -> Result<usize, RepositoryError> {
        if files.is_empty() {
            return Ok(0);
        }
        let uses = |file: &Dropped<'_>| -> Result<Uses, RepositoryError> {
            let metadata = file.read::<Targets>()?;
            let lists = |targets| lists_any(targets, file.side.layout, files);
            Ok(Uses {
                role: file.role.clone(),
                lists: metadata.as_ref().is_some_and(|metadata| lists(metadata.signed())),
                delegations: metadata.and_then(|metadata| metadata.into_signed().delegations),
            })
        };
        let rounds = self.rounds.iter().map(|round| round.par_iter().map(uses).collect());
        let rounds: Vec<Vec<Uses>> = rounds.collect::<Result<_, _>>()?;
        // any delegation that leads to such a role may be the one that trusts it for the path of such a file
        let mut roles: BTreeSet<RoleName> = BTreeSet::new();
        loop {
            let stay = rounds.iter().flatten().filter(|uses| uses.stays(&roles));
            let found: BTreeSet<RoleName> = stay.map(|uses| uses.role.clone()).collect();
            if found == roles {
                break;
            }
            roles = found;
        }
        let mut kept = 0;
        for (round, uses) in self.rounds.iter_mut().zip(rounds) {
            let before = round.len();
            let mut uses = uses.into_iter();
            round.retain(|_| !uses.next().is_some_and(|uses| uses.stays(&roles)));
            kept += before - round.len();
        }
        Ok(kept)
    }
}

/// What a record is needed for, where files that it may list stay for now.
struct Uses {
    role: RoleName,
    /// It lists one of them.
    lists: bool,
    delegations: Option<Delegations>,
}

impl Uses {
    /// Tells whether the record stays, where records of some roles do.
    fn stays(&self, roles: &BTreeSet<RoleName>) -> bool {
        let leads = |delegations: &Delegations| roles.iter().any(|role| leads_to(delegations, role));
        self.lists || self.delegations.as_ref().is_some_and(leads)
    }
}

fn lists_any(targets: &Targets, layout: Layout, files: &HashSet<u128>) -> bool {
    targets.targets.iter().any(|(path, file)| {
        let names =
            TargetPath::parse(&path).map(|path| layout.target_names(&path, &file)).unwrap_or_default();
        names.iter().any(|name| files.contains(&file_mark(name, file.length)))
    })
}

/// A file that waits for somebody to vouch for it.
struct Waiting<'a> {
    file: Dropped<'a>,
    /// Whether it goes once it is accepted; one that is retained vouches for others only.
    goes: bool,
    /// How many delegations were known when it was read and not accepted.
    tried: Option<usize>,
}

/// Who vouches for role files.
struct Vouching<'a, 'c> {
    roots: Vec<&'c Root>,
    /// The delegations in metadata that was accepted.
    known: Known,
    counts: &'c Counts,
    history: &'c History,
    /// Files that go and list more than the delegations trusted them for that were known when they were read.
    partial: Vec<Dropped<'a>>,
}

/// A role file that is this repository's own.
struct Accepted {
    listed: Listed,
    extent: Extent,
    delegations: Option<Delegations>,
}

impl Vouching<'_, '_> {
    /// Tells whether somebody who has not been asked yet may vouch for a file.
    fn may_accept(&self, waiting: &Waiting<'_>) -> bool {
        let role = &waiting.file.role;
        match role.as_str() {
            "targets" => waiting.tried.is_none(),
            _ => self.known.since(waiting.tried).any(|delegations| leads_to(delegations, role)),
        }
    }

    /// Reads a file; `None` where nobody vouches for it.
    fn judge(&self, waiting: &Waiting<'_>) -> Result<Option<Accepted>, RepositoryError> {
        let (file, role) = (&waiting.file, &waiting.file.role);
        let authorities = match role.as_str() {
            "targets" => authorities(self.roots.iter().copied(), role),
            _ => authorities(self.known.since(waiting.tried), role),
        };
        let metadata = file.read_known(self.history)?;
        let Some(metadata) = metadata.filter(|metadata| is_signed(metadata, &authorities)) else {
            return Ok(None);
        };
        let targets = metadata.into_signed();
        let (listed, extent) = match waiting.goes {
            true => Listed::of(&targets, file.side.layout, self.counts, &self.known.of(role)),
            false => (Listed::default(), Extent::Whole),
        };
        Ok(Some(Accepted { listed, extent, delegations: targets.delegations }))
    }
}

fn is_signed<T: Signed>(metadata: &Metadata<T>, authorities: &[Authority<'_>]) -> bool {
    authorities.iter().any(|authority| authority.check(metadata.covered()).is_verified())
}

/// Returns the different demands that delegators make of a role's signatures, the newest first.
fn authorities<'d, D: Delegator + 'd>(
    delegators: impl DoubleEndedIterator<Item = &'d D>,
    role: &RoleName,
) -> Vec<Authority<'d>> {
    let mut found: Vec<Authority<'d>> = Vec::new();
    for authority in delegators.rev().filter_map(|delegator| delegator.authority(role)) {
        if !found.contains(&authority) {
            found.push(authority);
        }
    }
    found
}

/// Returns the digest that the name of a copy states, and by which algorithm.
pub(super) fn stated_digest(name: &str) -> Option<(Algorithm, &str)> {
    let (digest, _) = name.rsplit('/').next()?.split_once('.')?;
    match digest.len() {
        64 => Some((Algorithm::Sha256, digest)),
        128 => Some((Algorithm::Sha512, digest)),
        _ => None,
    }
}
