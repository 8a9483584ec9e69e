//! Copies that `write` has made among the files of targets, told from people's own files: by what metadata lists, never by
//! their names alone.
//!
//! A file `dir/HASH.name` is such a copy where a role file of this repository lists `dir/name` with HASH, and its bytes have that
//! digest: a draft, written metadata of any version that is still there, what is live in `metadata/`, or work that `pull` has set
//! aside. Any other file of such a name is an ordinary one.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::Repository;
use super::digest_cache::{DigestCache, Digested};
use super::error::{AtPath, InputError, RepositoryError};
use super::find::{FoundTarget, FoundTargets, MaybeCopy};
use super::layout::{ASIDE, Layout, MAX_METADATA, parse_versioned};
use crate::metadata::{Algorithm, Metadata, RoleName, Targets};
use crate::storage::{Folder, ReadFiles};

/// What was found out about files that are named as copies are.
#[derive(Default)]
pub(super) struct OwnCopies {
    /// The files that are copies, by their places among those found.
    copies: BTreeSet<usize>,
    /// What is known of the digests of the others that were read, by place.
    read: BTreeMap<usize, Digested>,
}

impl OwnCopies {
    pub(super) fn contains(&self, place: usize) -> bool {
        self.copies.contains(&place)
    }

    pub(super) fn number(&self) -> usize {
        self.copies.len()
    }

    /// Returns what was read of an ordinary file, with the digests by these algorithms.
    pub(super) fn digested(&self, place: usize, algorithms: &[Algorithm]) -> Option<Digested> {
        let found = self.read.get(&place)?;
        let has_all = algorithms.iter().all(|algorithm| found.digests.of(*algorithm).is_some());
        let has_only = Algorithm::ALL
            .iter()
            .all(|algorithm| found.digests.of(*algorithm).is_none() || algorithms.contains(algorithm));
        (has_all && has_only).then(|| found.clone())
    }

    /// Returns the copies that were read, for those that note digests.
    pub(super) fn all_read<'a>(
        &'a self,
        found: &'a FoundTargets,
    ) -> impl Iterator<Item = (&'a FoundTarget, &'a Digested)> + Clone {
        let read = self.read.iter().filter(|(_, digested)| digested.read);
        read.filter_map(|(place, digested)| Some((found.targets.get(*place)?, digested)))
    }
}

/// A file that is named as a copy is.
struct Candidate<'a> {
    place: usize,
    found: &'a FoundTarget,
    /// Whether it lies in the folder of targets; a file from outside may come into the place of a copy.
    inside: bool,
    /// The target that it would be a copy of.
    of: &'a str,
    digest: &'a str,
    algorithm: Algorithm,
}

impl Candidate<'_> {
    fn is_listed_in(&self, targets: &Targets) -> bool {
        let listed = targets.targets.get(self.of);
        listed.is_some_and(|file| {
            file.hashes.of(self.algorithm).is_some_and(|digest| digest.eq_ignore_ascii_case(self.digest))
        })
    }
}

impl Repository {
    /// Finds the copies that this repository has made among files that were found.
    ///
    /// # Errors
    /// [`InputError::Clash`] for a file in the place of a copy that has other bytes; [`RepositoryError::Io`].
    pub(super) fn find_own_copies(
        &mut self,
        found: &FoundTargets,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<OwnCopies, RepositoryError> {
        if self.staged.layout() == Layout::Plain {
            return Ok(OwnCopies::default());
        }
        let candidates: Vec<Candidate<'_>> =
            found.targets.iter().enumerate().filter_map(|(place, found)| candidate(place, found)).collect();
        if candidates.is_empty() {
            return Ok(OwnCopies::default());
        }
        for set in self.staged.graph().bins {
            let bins: BTreeSet<RoleName> =
                candidates.iter().filter_map(|file| set.bins.bin(set.bins.index_for(file.of))).collect();
            self.staged.read_bins_named(bins.into_iter().collect())?;
        }
        let roles: Vec<RoleName> = self.staged.graph().order;
        let judge = |file: &Candidate<'_>| self.judge_copy(file, &roles, &found.known, progress);
        let judged: Vec<(Verdict, Option<Digested>)> =
            candidates.par_iter().map(judge).collect::<Result<_, _>>()?;
        let mut own = OwnCopies::default();
        let mut unsure = Vec::new();
        for (file, (verdict, digested)) in candidates.iter().zip(judged) {
            match verdict {
                Verdict::Copy => drop(own.copies.insert(file.place)),
                Verdict::Ordinary => {}
                Verdict::Unsure => unsure.push(file),
            }
            own.read.extend(digested.map(|digested| (file.place, digested)));
        }
        own.copies.extend(self.find_in_other_metadata(&unsure)?);
        Ok(own)
    }

    /// Judges a file by what is written now and by the drafts.
    fn judge_copy(
        &self,
        file: &Candidate<'_>,
        roles: &[RoleName],
        known: &DigestCache,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Verdict, Option<Digested>), RepositoryError> {
        let states = roles.iter().filter_map(|role| self.staged.targets(role));
        let listed = states.flat_map(|state| {
            let draft = state.draft.iter().map(|draft| draft.metadata.signed());
            draft.chain(state.written.iter().map(Metadata::signed))
        });
        let (mut is_listed, mut is_target) = (false, false);
        for targets in listed {
            is_listed |= file.is_listed_in(targets);
            is_target |= targets.targets.contains_key(file.found.path.as_str());
        }
        if !is_listed && (is_target || !file.inside) {
            return Ok((Verdict::Ordinary, None));
        }
        let hashes = self.policy.hashes();
        let all = if hashes.contains(&file.algorithm) { hashes } else { &Algorithm::ALL };
        let digested = known.look_up(all).digest(file.found, progress)?;
        let has_digest = digested
            .digests
            .of(file.algorithm)
            .is_some_and(|found| hex::encode(found).eq_ignore_ascii_case(file.digest));
        let verdict = match (is_listed, has_digest) {
            (true, true) if file.inside => Verdict::Copy,
            (true, true) => Verdict::Ordinary,
            (true, false) => {
                let (path, reason) = (
                    file.found.path.to_string(),
                    format!("the copy of '{}' for clients has this name", file.of),
                );
                return Err(InputError::Clash { path, reason }.into());
            }
            (false, true) if !is_target => Verdict::Unsure,
            (false, _) => Verdict::Ordinary,
        };
        Ok((verdict, Some(digested)))
    }

    /// Looks into role files that are neither written now nor drafts for files that have the digest which their names state: a
    /// target that was replaced, taken off the list or set aside leaves its copy.
    fn find_in_other_metadata(&self, files: &[&Candidate<'_>]) -> Result<BTreeSet<usize>, RepositoryError> {
        let (staged, live) = (self.staged.folder(), self.live_folder());
        let aside = Folder::new(self.staged.drafts_folder().file(ASIDE));
        let bins = self.staged.graph().bins;
        // the bins of today list a path in one of them; older sets of bins of the same name did so in others
        let is_likely = |role: &RoleName| match bins.iter().find(|set| set.bins.contains(role)) {
            None => true,
            Some(set) => {
                files.iter().any(|file| set.bins.bin(set.bins.index_for(file.of)).as_ref() == Some(role))
            }
        };
        let role_files = |folder: &Folder| -> Result<(Vec<String>, Vec<String>), RepositoryError> {
            let names = folder.names().at(folder.path())?.into_iter();
            let of_role = |name: String| {
                let (_, role) = parse_versioned(&name)?;
                role.lists_targets().then_some((is_likely(&role), name))
            };
            let (likely, others): (Vec<_>, Vec<_>) =
                names.filter_map(of_role).partition(|(likely, _)| *likely);
            let bare = |named: Vec<(bool, String)>| named.into_iter().map(|(_, name)| name).collect();
            Ok((bare(likely), bare(others)))
        };
        let mut found = BTreeSet::new();
        let mut search = |folder: &Folder, names: &[String]| -> Result<(), RepositoryError> {
            let unsure: Vec<&Candidate<'_>> =
                files.iter().filter(|file| !found.contains(&file.place)).copied().collect();
            if !unsure.is_empty() {
                found.extend(listed_in(folder, names, &unsure)?);
            }
            Ok(())
        };
        if files.is_empty() {
            return Ok(found);
        }
        let (likely, unlikely) = role_files(staged)?;
        search(staged, &likely)?;
        search(&aside, &aside.names().at(aside.path())?)?;
        let (live_likely, live_unlikely) = role_files(&live)?;
        search(&live, &live_likely)?;
        search(staged, &unlikely)?;
        search(&live, &live_unlikely)?;
        Ok(found)
    }
}

/// Finds the files whose targets role files list.
fn listed_in(
    folder: &Folder,
    names: &[String],
    files: &[&Candidate<'_>],
) -> Result<Vec<usize>, RepositoryError> {
    let search = |name: &String| -> Result<Vec<usize>, RepositoryError> {
        let bytes = folder.read(name, MAX_METADATA).at(folder.file(name))?.unwrap_or_default();
        let states = |file: &&&Candidate<'_>| memchr::memmem::find(&bytes, file.digest.as_bytes()).is_some();
        let stated: Vec<&&Candidate<'_>> = files.iter().filter(states).collect();
        if stated.is_empty() {
            return Ok(Vec::new());
        }
        // what is no metadata lists nothing
        let Ok(metadata) = Metadata::<Targets>::from_file(bytes) else { return Ok(Vec::new()) };
        let listed = stated.into_iter().filter(|file| file.is_listed_in(metadata.signed()));
        Ok(listed.map(|file| file.place).collect())
    };
    let found: Vec<Vec<usize>> = names.par_iter().map(search).collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// What a file is.
enum Verdict {
    /// A copy that this repository has made.
    Copy,
    Ordinary,
    /// One that has the digest of its name, which neither what is written now nor a draft lists.
    Unsure,
}

fn candidate(place: usize, found: &FoundTarget) -> Option<Candidate<'_>> {
    let MaybeCopy { inside, of, digest } = found.maybe_copy.as_deref()?;
    let algorithm = if digest.len() == 64 { Algorithm::Sha256 } else { Algorithm::Sha512 };
    Some(Candidate { place, found, inside: *inside, of, digest, algorithm })
}
