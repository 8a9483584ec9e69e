//! Targets on their way into drafts: which role lists each, whether it is trusted for it, and what that changes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::Repository;
use super::add_targets::{Added, Paths, Replace};
use super::bins::BinSet;
use super::error::{AtPath, InputError, RepositoryError};
use super::find::FoundTarget;
use super::scan::digest_file;
use super::staged::{Pins, RoleState};
use crate::metadata::{
    Algorithm, Computed, Delegations, Extra, Hashes, Incoming, RoleName, TargetFile, TargetMap, Targets,
};

/// Who lists targets: one role, or hash bins among which their paths choose.
#[derive(Debug, Clone)]
pub(super) enum Lister {
    /// One role.
    Role(RoleName),
    /// Hash bins.
    Bins {
        /// The bins.
        set: BinSet,
        /// Who delegates to them.
        delegators: Vec<RoleName>,
    },
}

impl Lister {
    /// Returns the index of the bin that lists a path; 0 where one role lists all.
    pub(super) fn index_for(&self, path: &str) -> u32 {
        match self {
            Self::Role(_) => 0,
            // there are at most 2^32 bins
            Self::Bins { set, .. } => u32::try_from(set.index_for(path)).unwrap_or(u32::MAX),
        }
    }

    /// Returns to which of some parts of all bins the one of an index belongs; bins that follow one another go together.
    pub(super) fn part_of(&self, index: u32, parts: usize) -> usize {
        match self {
            Self::Role(_) => 0,
            Self::Bins { set, .. } => {
                let part = u128::from(index) * parts as u128 / u128::from(set.number());
                usize::try_from(part).unwrap_or(0).min(parts - 1)
            }
        }
    }

    /// Returns how many of some parts any bin belongs to.
    pub(super) fn parts(&self, parts: usize) -> usize {
        match self {
            Self::Role(_) => 1,
            Self::Bins { set, .. } => usize::try_from(set.number()).unwrap_or(parts).min(parts),
        }
    }

    /// Returns the role of an index.
    ///
    /// # Errors
    /// [`InputError::RoleName`] where a foreign prefix makes names that are too long.
    pub(super) fn role_at(&self, index: u32) -> Result<RoleName, InputError> {
        match self {
            Self::Role(role) => Ok(role.clone()),
            Self::Bins { set, .. } => Ok(RoleName::new(set.name(u64::from(index)))?),
        }
    }
}

/// A target that is to be listed.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) path: Cow<'a, str>,
    pub(super) file: NewFile,
    /// The file with its bytes, where they are at hand.
    pub(super) bytes: Option<&'a FoundTarget>,
}

/// What is to be listed of a target.
#[derive(Debug, Clone)]
pub(super) enum NewFile {
    /// Its length and digests, and nothing else: what is listed of nearly all.
    Plain { length: u64, digests: Computed },
    /// Anything.
    Any(TargetFile),
}

impl From<NewFile> for TargetFile {
    fn from(file: NewFile) -> Self {
        match file {
            NewFile::Any(file) => file,
            NewFile::Plain { length, digests } => {
                Self { length, hashes: digests.to_hashes(), custom: None, extra: Extra::new() }
            }
        }
    }
}

/// What becomes of the custom data of a target that is listed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Custom {
    /// It stays.
    Keep,
    /// It becomes that of the new entry.
    Replace,
    /// It stays where the new entry has none.
    KeepUnlessNew,
}

impl Repository {
    /// Finds who lists targets under a name: a role, or hash bins with that prefix.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`], [`InputError::ListsNoTargets`].
    pub(super) fn lister(&self, role: &RoleName) -> Result<Lister, RepositoryError> {
        if !role.lists_targets() {
            return Err(InputError::ListsNoTargets { role: role.clone() }.into());
        }
        let graph = self.staged.graph();
        if self.staged.role(role).is_some() || graph.contains(role) {
            return Ok(Lister::Role(role.clone()));
        }
        let set = graph.bins.into_iter().find(|set| set.bins.prefix() == role.as_str());
        let set = set.ok_or_else(|| InputError::UnknownRole(role.to_string()))?;
        Ok(Lister::Bins { set: set.bins, delegators: set.delegators })
    }

    /// Finds who lists targets by the name a user typed: a role, or the prefix of hash bins.
    ///
    /// # Errors
    /// [`InputError::UnknownRole`].
    pub fn find_lister(&mut self, name: &str) -> Result<RoleName, RepositoryError> {
        let prefix = RoleName::new(name).ok();
        match prefix.filter(|prefix| self.find_bins(prefix).is_some()) {
            Some(prefix) => Ok(prefix),
            None => self.find_role(name),
        }
    }

    /// Finds hash bins by their prefix.
    pub fn find_bins(&self, prefix: &RoleName) -> Option<super::DelegatedBins> {
        let graph = self.staged.graph();
        if graph.contains(prefix) {
            return None;
        }
        graph.bins.into_iter().find(|set| set.bins.prefix() == prefix.as_str())
    }

    /// Returns what tells whether a chain of delegations from `targets` down to the lister covers a path: no client would
    /// look there otherwise.
    pub(super) fn trusts_by(&self, lister: &Lister) -> impl Fn(&str) -> bool + Sync + use<'_> {
        let graph = self.staged.graph();
        let lister = lister.clone();
        move |path: &str| {
            let delegations = |role: &RoleName| {
                let state = self.staged.targets(role).and_then(|state| state.effective());
                state.and_then(|targets| targets.delegations.as_ref())
            };
            let covered =
                |role: &RoleName| is_covered(role, path, &|role| graph.delegators(role), &delegations);
            match &lister {
                Lister::Role(role) => covered(role),
                // the path chooses the bin, so that only the way to the bins is in question
                Lister::Bins { delegators, .. } => delegators.iter().any(covered),
            }
        }
    }

    /// Lists targets in the drafts of their roles, on all cores; `entries` makes those of each group, and is told the
    /// role.
    ///
    /// # Errors
    /// [`InputError::Changed`], [`InputError::Clash`], [`InputError::Canonical`], and those of `entries`.
    pub(super) fn list_groups<'e, G: Send, E: IntoIterator<Item = Entry<'e>>>(
        &mut self,
        lister: &Lister,
        groups: Vec<(RoleName, G)>,
        rules: (Replace, Custom, Paths),
        entries: impl Fn(G, &RoleName) -> Result<E, RepositoryError> + Sync,
    ) -> Result<Added, RepositoryError> {
        let mut all = Added::default();
        match lister {
            Lister::Role(_) => {
                for (role, group) in groups {
                    self.staged.read_bin(&role)?;
                    let expires = self.expiry(&role)?;
                    let entries = entries(group, &role)?;
                    let unknown = || InputError::UnknownRole(role.to_string());
                    let state = self.staged.targets_mut(&role).ok_or_else(unknown)?;
                    all.extend(list(state, &role, entries, rules, expires)?);
                }
            }
            Lister::Bins { set, .. } => {
                let prefix = RoleName::new(set.prefix()).map_err(InputError::from)?;
                let expires = self.expiry(&prefix)?;
                let change = |(role, group): (RoleName, G)| {
                    let unknown = || InputError::UnknownRole(role.to_string());
                    let mut state = self.staged.bin_state(&role)?.ok_or_else(unknown)?;
                    let added = list(&mut state, &role, entries(group, &role)?, rules, expires)?;
                    Ok::<_, RepositoryError>((role, state, added))
                };
                let changed: Vec<_> = groups.into_par_iter().map(change).collect::<Result<_, _>>()?;
                for (role, state, added) in changed {
                    self.staged.put_bin(role, state);
                    all.extend(added);
                }
            }
        }
        Ok(all)
    }
}

impl Added {
    pub(super) fn extend(&mut self, more: Self) {
        self.added.extend(more.added);
        self.replaced.extend(more.replaced);
        self.unchanged += more.unchanged;
    }
}

/// Lists targets in a role's draft.
fn list<'e>(
    state: &mut RoleState<Targets>,
    role: &RoleName,
    new: impl IntoIterator<Item = Entry<'e>>,
    (replace, custom, paths): (Replace, Custom, Paths),
    expires: DateTime<Utc>,
) -> Result<Added, RepositoryError> {
    let mut added = Added::default();
    let empty = TargetMap::new();
    let listed = state.effective().map_or(&empty, |targets| &targets.targets);
    let canonical = |reason| InputError::Canonical { what: "custom data".to_owned(), reason };
    let mut elsewhere = false;
    let mut entries = Incoming::default();
    for Entry { path, file, bytes } in new {
        elsewhere |= bytes.is_none();
        match listed.get(&path) {
            None => {
                added.added.count(&path, paths);
                match file {
                    NewFile::Plain { length, digests } => entries.push_plain(path, length, &digests),
                    NewFile::Any(file) => entries.push(path, &file).map_err(canonical)?,
                }
            }
            Some(old) => {
                let mut file = TargetFile::from(file);
                let hashes = file_hashes(&file, bytes, &old.hashes)?;
                let same_bytes = old.length == file.length && old.hashes.compare(&hashes).is_ok();
                if !same_bytes && replace == Replace::Refuse {
                    return Err(InputError::Changed { path: path.into_owned(), role: role.clone() }.into());
                }
                if custom == Custom::Keep || (custom == Custom::KeepUnlessNew && file.custom.is_none()) {
                    file.custom.clone_from(&old.custom);
                }
                file.extra.clone_from(&old.extra);
                if same_bytes && bytes.is_some() {
                    file.hashes.clone_from(&old.hashes);
                }
                if file == old {
                    added.unchanged += 1;
                    continue;
                }
                added.replaced.count(&path, paths);
                entries.push(path, &file).map_err(canonical)?;
            }
        }
    }
    check_folders(listed, &entries)?;
    if !entries.is_empty() {
        let mut taken = Ok(());
        let edited = state.edit(expires, |targets: &mut Targets| taken = targets.targets.take(entries));
        taken.and(edited).map_err(canonical)?;
    }
    if let Some(draft) = state.draft.as_mut().filter(|_| elsewhere) {
        draft.pin(Pins { elsewhere: true, ..draft.pins });
    }
    Ok(added)
}

/// Returns the digests of a new file by the algorithms that an old entry lists; read again only where they differ.
fn file_hashes(
    file: &TargetFile,
    bytes: Option<&FoundTarget>,
    old: &Hashes,
) -> Result<Hashes, RepositoryError> {
    let Some(bytes) = bytes.filter(|_| old.known().any(|algorithm| file.hashes.of(algorithm).is_none()))
    else {
        return Ok(file.hashes.clone());
    };
    let (algorithms, place): (Vec<Algorithm>, _) = (old.known().collect(), bytes.file());
    Ok(digest_file(&place, &algorithms).at(&place)?.1)
}

/// Tells whether a chain of delegations from `targets` down to a role covers a path. Each role is looked at once.
pub(super) fn is_covered<'a>(
    role: &RoleName,
    path: &str,
    delegators: &dyn Fn(&RoleName) -> &'a [RoleName],
    delegations: &dyn Fn(&RoleName) -> Option<&'a Delegations>,
) -> bool {
    if role.as_str() == "targets" {
        return true;
    }
    let mut pending: Vec<&RoleName> = vec![role];
    let mut seen: BTreeSet<&RoleName> = BTreeSet::new();
    while let Some(role) = pending.pop() {
        if !seen.insert(role) {
            continue;
        }
        for delegator in delegators(role) {
            if delegations(delegator).is_some_and(|delegations| trusts(delegations, role, path)) {
                if delegator.as_str() == "targets" {
                    return true;
                }
                pending.push(delegator);
            }
        }
    }
    false
}

/// Tells whether delegations trust a role for a path.
pub(super) fn trusts(delegations: &Delegations, role: &RoleName, path: &str) -> bool {
    match &delegations.succinct_roles {
        Some(bins) => bins.bin_for(path) == role.as_str(),
        None => delegations.role(role).is_some_and(|delegated| delegated.trusts(path)),
    }
}

/// Refuses a target `dir` beside a target `dir/file`: a client's disk cannot hold both.
fn check_folders(listed: &TargetMap, new: &Incoming<Cow<'_, str>>) -> Result<(), InputError> {
    let clash = |path: &str, other: &str| {
        let reason = format!("'{other}' is one, and a file cannot be a folder");
        Err(InputError::Clash { path: path.to_owned(), reason })
    };
    let mut names: Vec<&str> = new.names().collect();
    // they nearly always are
    if !names.is_sorted() {
        names.sort_unstable();
    }
    let mut below = String::new();
    let is_below =
        |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    for (index, folder) in names.iter().enumerate() {
        let mut rest = &names[index + 1..];
        // what starts with the same letters and is not in a folder of that name may stand before what is
        if rest.first().is_some_and(|next| next.starts_with(folder) && !is_below(next, folder)) {
            below.clear();
            below.extend([folder, "/"]);
            rest = &rest[rest.partition_point(|name| *name < below.as_str())..];
        }
        if let Some(path) = rest.first().filter(|path| is_below(path, folder)) {
            return clash(path, folder);
        }
    }
    if listed.is_empty() {
        return Ok(());
    }
    let mut looked_at = None;
    for path in names {
        let mut end = path.len();
        while let Some(slash) = path[..end].rfind('/') {
            let folder = &path[..slash];
            // names that follow one another are often in one folder
            if end == path.len() {
                if looked_at == Some(folder) {
                    break;
                }
                looked_at = Some(folder);
            }
            if listed.contains_key(folder) {
                return clash(path, folder);
            }
            end = slash;
        }
        below.clear();
        below.extend([path, "/"]);
        if let Some(other) = listed.first_from(&below).filter(|other| other.starts_with(&below)) {
            return clash(path, &other);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds names in the order in which they are given.
    fn incoming(names: &[String]) -> Incoming<Cow<'_, str>> {
        let mut new = Incoming::default();
        let mut digests = Computed::default();
        digests.insert(Algorithm::Sha256, &[7; 32]);
        names.iter().for_each(|name| new.push_plain(Cow::Borrowed(name.as_str()), 1, &digests));
        new
    }

    proptest! {
        #[test]
        fn a_file_that_would_be_a_folder_is_found_wherever_it_stands(
            old in prop::collection::hash_set("[ab]([-/b][ab]){0,3}", 0..3),
            new in prop::collection::hash_set("[ab]([-/b][ab]){0,3}", 0..7),
        ) {
            let old: Vec<String> = old.into_iter().collect();
            let is_below = |path: &str, folder: &str| path.starts_with(&format!("{folder}/"));
            let new: Vec<String> = new.into_iter().collect();
            let all = || old.iter().chain(&new);
            let old_clash = old.iter().any(|path| old.iter().any(|other| is_below(path, other)));
            prop_assume!(!old_clash);
            let mut listed = TargetMap::new();
            listed.take(incoming(&old)).unwrap();
            let found = check_folders(&listed, &incoming(&new));
            let expected = all().any(|path| all().any(|other| is_below(path, other)));
            prop_assert_eq!(found.is_err(), expected, "{:?}", found);
        }
    }
}
