//! Records: metadata that goes and is this repository's own. A target file is deleted only where such metadata lists it.
//!
//! The name of a file says nothing of whose it is, and whoever can put a file into a folder of metadata must not have target
//! files deleted by it. So a metadata file goes only if it is the metadata that its name says, signed as a root of this
//! repository, of whichever version, or a delegation in metadata that was accepted before it, demands. Any other file stays
//! and is told.

use std::collections::HashSet;

use rayon::prelude::*;

use super::super::error::{AtPath, RepositoryError};
use super::super::layout::{Layout, MAX_METADATA};
use super::counts::{Counts, mark};
use super::snapshots::Side;
use crate::metadata::{
    Algorithm, Delegations, Metadata, RoleName, Root, Signed, Snapshot, TargetFile, TargetPath, Targets,
};
use crate::verify::{Authority, Delegator};

/// A metadata file of which the name says that no retained snapshot needs it.
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

    /// Reads the file; `None` where it is not signed as one of the authorities demands, either.
    fn read_signed<T: Signed>(
        &self,
        authorities: &[Authority<'_>],
    ) -> Result<Option<Metadata<T>>, RepositoryError> {
        let is_signed = |metadata: &Metadata<T>| {
            authorities.iter().any(|authority| authority.check(metadata.covered()).is_verified())
        };
        Ok(self.read()?.filter(is_signed))
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

    /// Adds all that metadata lists. No record leads to a name that these programs keep for themselves.
    fn of(targets: &Targets, layout: Layout, counts: &Counts) -> Self {
        let mut listed = Self::default();
        for (path, file) in targets.targets.iter() {
            match TargetPath::parse(&path) {
                Ok(path) if !path.is_reserved() => listed.add(&path, &file, layout, counts),
                _ => {}
            }
        }
        listed
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
    ) -> Result<Self, RepositoryError> {
        let roots: Vec<&Root> = sides.iter().flat_map(|side| &side.roots).collect();
        let mut records = Self::default();
        records.read_snapshots(snapshots, &authorities(roots.iter().copied(), &RoleName::snapshot()))?;
        let mut known: Vec<Delegations> = Vec::new();
        sides.iter().flat_map(|side| &side.delegations).for_each(|found| learn(&mut known, found.clone()));
        let mut vouching = Vouching { roots, known, counts };
        let mut waiting: Vec<Waiting<'a>> =
            roles.into_iter().map(|file| Waiting { file, goes: true, tried: None }).collect();
        let mut has_asked_retained = false;
        loop {
            let (ready, rest) = waiting.into_iter().partition(|waiting| vouching.may_accept(waiting));
            waiting = rest;
            if !Vec::is_empty(&ready) {
                waiting.extend(records.read_round(ready, &mut vouching)?);
            } else if waiting.is_empty() || has_asked_retained {
                break;
            } else {
                // older metadata that is retained is read again only where something waits for its delegations
                has_asked_retained = true;
                let delegators = counts.delegators();
                let files = sides.iter().flat_map(|side| side.files_of(&delegators));
                waiting.extend(files.map(|file| Waiting { file, goes: false, tried: None }));
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
        let is_ours = |file: &Dropped<'_>| Ok(file.read_signed::<Snapshot>(authorities)?.is_some());
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
        vouching: &mut Vouching<'_>,
    ) -> Result<Vec<Waiting<'a>>, RepositoryError> {
        let (tried, mut later, mut round, mut learned) =
            (vouching.known.len(), Vec::new(), Vec::new(), Vec::new());
        let mut ready = ready.into_iter();
        loop {
            // a few at a time are in memory
            let few: Vec<Waiting<'a>> = ready.by_ref().take(4 * rayon::current_num_threads()).collect();
            if few.is_empty() {
                break;
            }
            let judged: Vec<_> = few.par_iter().map(|waiting| vouching.judge(waiting)).collect();
            for (waiting, judged) in few.into_iter().zip(judged) {
                let Some((listed, delegations)) = judged? else {
                    later.push(Waiting { tried: Some(tried), ..waiting });
                    continue;
                };
                learned.extend(delegations);
                if waiting.goes {
                    self.listed.extend(listed);
                    round.push(waiting.file);
                }
            }
        }
        learned.into_iter().for_each(|delegations| learn(&mut vouching.known, delegations));
        self.rounds.push(round);
        Ok(later)
    }

    /// Leaves out the role files that list one of some files, which stay for now, and those that vouch for them: they are
    /// the only record of these files.
    pub(super) fn keep_records_of(&mut self, files: &HashSet<u128>) -> Result<usize, RepositoryError> {
        if files.is_empty() {
            return Ok(0);
        }
        let (mut kept, mut is_vouched_for) = (0, false);
        for round in self.rounds.iter_mut().rev() {
            let stays = |file: &Dropped<'_>| -> Result<bool, RepositoryError> {
                let Some(metadata) = file.read::<Targets>()? else { return Ok(false) };
                let targets = metadata.signed();
                let vouches = is_vouched_for && targets.delegations.is_some();
                Ok(vouches || lists_any(targets, file.side.layout, files))
            };
            let stay: Vec<bool> = round.par_iter().map(stays).collect::<Result<_, _>>()?;
            let before = round.len();
            let mut stay = stay.into_iter();
            round.retain(|_| !stay.next().unwrap_or(false));
            kept += before - round.len();
            is_vouched_for |= before > round.len();
        }
        Ok(kept)
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
struct Vouching<'a> {
    roots: Vec<&'a Root>,
    /// The delegations in metadata that was accepted, each once.
    known: Vec<Delegations>,
    counts: &'a Counts,
}

impl Vouching<'_> {
    /// Tells whether somebody who has not been asked yet may vouch for a file.
    fn may_accept(&self, waiting: &Waiting<'_>) -> bool {
        let role = &waiting.file.role;
        match role.as_str() {
            "targets" => waiting.tried.is_none(),
            _ => self.unasked(waiting).any(|delegations| {
                let bins = delegations.succinct_roles.as_ref();
                delegations.role(role).is_some() || bins.is_some_and(|bins| bins.is_bin(role.as_str()))
            }),
        }
    }

    fn unasked(&self, waiting: &Waiting<'_>) -> std::slice::Iter<'_, Delegations> {
        self.known.get(waiting.tried.unwrap_or(0)..).unwrap_or_default().iter()
    }

    /// Reads a file. Returns what it lists and to whom it delegates; `None` where nobody vouches for it.
    fn judge(&self, waiting: &Waiting<'_>) -> Result<Option<(Listed, Option<Delegations>)>, RepositoryError> {
        let (file, role) = (&waiting.file, &waiting.file.role);
        let authorities = match role.as_str() {
            "targets" => authorities(self.roots.iter().copied(), role),
            _ => authorities(self.unasked(waiting), role),
        };
        let Some(metadata) = file.read_signed::<Targets>(&authorities)? else { return Ok(None) };
        let targets = metadata.into_signed();
        let listed = match waiting.goes {
            true => Listed::of(&targets, file.side.layout, self.counts),
            false => Listed::default(),
        };
        Ok(Some((listed, targets.delegations)))
    }
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

fn learn(known: &mut Vec<Delegations>, delegations: Delegations) {
    // versions that follow one another nearly always say the same
    if !known.iter().rev().any(|other| *other == delegations) {
        known.push(delegations);
    }
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
