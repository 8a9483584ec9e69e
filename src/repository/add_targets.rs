//! Target files are listed: digested where they are, or copied in from outside.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::Repository;
use super::digest_cache::{self, Digested};
use super::error::{AtPath, InputError, RepositoryError};
use super::find::{FoundTarget, FoundTargets};
use super::layout::TARGETS;
use super::listing::{Custom, Entry, Lister, NewFile};
use super::own_copies::OwnCopies;
use super::scan::{Told, copy_digested, digest_file, total_length};
use super::staged::DraftPlan;
use super::unfit::Unfit;
use super::ways::refuse_ways_outside;
use crate::metadata::{Algorithm, Extra, RoleName, TargetFile, write_plain_entry};
use crate::storage::open_regular;

/// What happens to a target that is listed with other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It is refused.
    Refuse,
    /// It is replaced.
    Allow,
}

/// At most this many files that follow one another are looked at by one core, and a share of all where they are few: each may
/// be large.
const SOME_FILES: usize = 64;

/// A file with its digests, ready to be listed.
struct NewTarget<'a> {
    found: &'a FoundTarget,
    digested: Box<Digested>,
    /// Whether it is listed with these bytes, and with nothing else.
    is_listed: bool,
}

/// A request to list targets.
pub struct AddTargets<'a> {
    /// The role that lists them, or the prefix of hash bins.
    pub role: &'a RoleName,
    /// The files found.
    pub found: &'a FoundTargets,
    /// Data for the application; `None` keeps what is listed.
    pub custom: Option<Map<String, Value>>,
    /// What happens to targets that are listed with other bytes.
    pub replace: Replace,
    /// Whether the paths of what is listed are kept.
    pub paths: Paths,
    /// Told the bytes of files as they are read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Targets, counted, and named where somebody wants that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub number: usize,
    /// Their paths, where they are kept.
    pub paths: Vec<String>,
}

/// Whether the paths of what is listed are kept, beside their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// They are.
    Kept,
    /// Only their number is: there may be millions.
    Counted,
}

impl Tally {
    pub(super) fn count(&mut self, path: &str, paths: Paths) {
        self.number += 1;
        if paths == Paths::Kept {
            self.paths.push(path.to_owned());
        }
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.number += more.number;
        self.paths.extend(more.paths);
    }
}

/// What a request to list targets comes to.
#[derive(Debug, Default)]
pub struct Added {
    /// Targets listed for the first time.
    pub added: Tally,
    /// Targets listed with other bytes or other custom data than before.
    pub replaced: Tally,
    /// How many were listed already, just so.
    pub unchanged: usize,
    /// How many of the files are copies that `write` made, which are no targets.
    pub own_copies: usize,
    /// The files to copy in from outside.
    copies: Vec<(FoundTarget, TargetFile)>,
    /// The digests that are known from now on, where they are to be noted.
    digests: Option<Vec<u8>>,
}

impl Added {
    /// Returns how many bytes are copied in from outside.
    pub fn copied_bytes(&self) -> u64 {
        total_length(self.copies.iter().map(|(_, file)| file.length))
    }
}

impl Repository {
    /// Digests the files and lists them in the role's draft; nothing is on disk yet.
    ///
    /// # Errors
    /// [`InputError`] for paths that the role is not trusted for, changed bytes without [`Replace::Allow`], and names that
    /// clash.
    pub fn add_targets(&mut self, request: &AddTargets<'_>) -> Result<Added, RepositoryError> {
        let lister = self.lister(request.role)?;
        let own = self.find_own_copies(request.found, request.progress)?;
        check_places(request.found, self.policy.hashes(), &own)?;
        self.check_trust(request, &lister, &own)?;
        let (mut new, digests) = self.digest(request, &lister, &own)?;
        let custom = request.custom.clone().map(Value::Object);
        let file = |NewTarget { digested, .. }: &NewTarget<'_>| {
            let (hashes, custom) = (digested.digests.to_hashes(), custom.clone());
            TargetFile { length: digested.length, hashes, custom, extra: Extra::new() }
        };
        let mut copies = Vec::new();
        for target in new.iter().filter(|target| !target.found.in_place) {
            let file = file(target);
            self.check_place(target.found, &file, request.replace)?;
            copies.push((target.found.clone(), file));
        }
        refuse_ways_outside(&self.targets_folder(), copies.iter().map(|(found, _)| found.path.as_str()))?;
        new.retain(|target| !target.is_listed);
        let unchanged = request.found.targets.len() - own.number() - new.len();
        let groups: Vec<(RoleName, Vec<NewTarget<'_>>)> = match &lister {
            Lister::Role(role) => vec![(role.clone(), new)],
            Lister::Bins { .. } => {
                let mut groups: BTreeMap<u32, Vec<NewTarget<'_>>> = BTreeMap::new();
                for target in new {
                    groups.entry(lister.index_for(target.found.path.as_str())).or_default().push(target);
                }
                let named = groups.into_iter().map(|(index, group)| Ok((lister.role_at(index)?, group)));
                named.collect::<Result<_, InputError>>()?
            }
        };
        let custom = if request.custom.is_none() { Custom::Keep } else { Custom::Replace };
        let rules = (request.replace, custom, request.paths);
        let mut added = self.list_groups(&lister, groups, rules, |group, _| {
            Ok(group.into_iter().map(|target| {
                let path = Cow::Borrowed(target.found.path.as_str());
                Entry { path, file: NewFile::Any(file(&target)), bytes: Some(target.found) }
            }))
        })?;
        added.unchanged += unchanged;
        added.own_copies = own.number();
        added.copies = copies;
        added.digests = digests;
        Ok(added)
    }

    /// Refuses paths that the role is not trusted for.
    fn check_trust(
        &self,
        request: &AddTargets<'_>,
        lister: &Lister,
        own: &OwnCopies,
    ) -> Result<(), RepositoryError> {
        let trusted = self.trusts_by(lister);
        let is_stray =
            |(place, target): &(usize, &FoundTarget)| !trusted(target.path.as_str()) && !own.contains(*place);
        let stray = request.found.targets.par_iter().enumerate().find_first(is_stray);
        stray.map_or(Ok(()), |(_, target)| {
            let (role, path) = (request.role.clone(), target.path.to_string());
            Err(InputError::NotTrusted { role, path }.into())
        })
    }

    /// Digests the files, on all cores, and looks whether they are listed just so. Returns those for which there is something to
    /// do, and the digests that are known from now on.
    fn digest<'a>(
        &mut self,
        request: &AddTargets<'a>,
        lister: &Lister,
        own: &OwnCopies,
    ) -> Result<(Vec<NewTarget<'a>>, Option<Vec<u8>>), RepositoryError> {
        let FoundTargets { targets, known } = request.found;
        let mut listed = None;
        // hash bins are read when it is known which
        if let (Lister::Role(role), None) = (lister, &request.custom) {
            self.staged.read_bin(role)?;
            listed = self.staged.targets(role).and_then(|state| Some(&state.effective()?.targets));
        }
        let look = |(first, some): (usize, &'a [FoundTarget])| {
            let mut known = known.look_up(self.policy.hashes());
            let mut listed = listed.map(|targets| (targets, 0, Vec::new()));
            let mut new = Vec::new();
            for (place, found) in (first..).zip(some).filter(|(place, _)| !own.contains(*place)) {
                let digested = match own.digested(place, self.policy.hashes()) {
                    Some(digested) => digested,
                    None => known.digest(found, request.progress)?,
                };
                let is_listed = listed.as_mut().is_some_and(|(targets, next, text)| {
                    text.clear();
                    let path = found.path.as_str();
                    write_plain_entry(path, digested.length, &digested.digests, text);
                    // the same entry next is what is found nearly always
                    let index = if targets.reads(*next, text) { Some(*next) } else { targets.position(path) };
                    *next = index.map_or(*next, |index| index + 1);
                    index.is_some_and(|index| targets.reads(index, text))
                });
                if digested.read || !is_listed || !found.in_place {
                    new.push(NewTarget { found, digested: Box::new(digested), is_listed });
                }
            }
            (request.progress)(known.bytes);
            Ok(new)
        };
        let some = (targets.len() / (4 * rayon::current_num_threads())).clamp(1, SOME_FILES);
        let chunks = targets.par_chunks(some).enumerate().map(|(index, chunk)| (index * some, chunk));
        let new: Vec<_> = chunks.map(look).collect::<Result<_, RepositoryError>>()?;
        let new: Vec<NewTarget<'a>> = new.into_iter().flatten().collect();
        let read = new.iter().filter(|target| target.digested.read);
        let read = read.map(|target| (target.found, &*target.digested));
        let digests = known.renewed(read.chain(own.all_read(request.found)));
        Ok((new, digests))
    }

    /// Copies in what came from outside, then saves the drafts. The bytes are checked while they are copied, and `progress` is
    /// told of them; a file that is there already counts too.
    ///
    /// # Errors
    /// [`RepositoryError::Io`], or [`InputError::NoFile`] where a file changed since it was digested.
    pub fn save_added(
        &self,
        added: &Added,
        plan: &DraftPlan,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        self.sweep()?;
        if !added.copies.is_empty() {
            self.copy_in(added, progress)?;
        }
        self.staged.save(plan)?;
        match &added.digests {
            Some(digests) => digest_cache::save(&self.dir, digests),
            None => Ok(()),
        }
    }

    fn copy_in(&self, added: &Added, progress: &(dyn Fn(u64) + Sync)) -> Result<(), RepositoryError> {
        let folder = self.targets_folder();
        // a fresh clone has none: version control keeps no empty folders
        fs::create_dir_all(folder.path()).at(folder.path())?;
        let mut batch = folder.batch().at(folder.path())?;
        let missing = |(found, file): &&(FoundTarget, TargetFile)| {
            let place = found.path.as_str();
            let is_there = matches!(folder.length(place), Ok(Some(length)) if length == file.length)
                && same_file(&folder.file(place), file);
            if is_there {
                progress(file.length);
            }
            !is_there
        };
        let copied: Vec<_> = added
            .copies
            .par_iter()
            .filter(missing)
            .map(|(found, file)| {
                let (path, mut to) = batch.create().at(folder.path())?;
                let place = found.file();
                let mut from = Told { from: open_regular(&place).at(&place)?, told: progress };
                let algorithms: Vec<Algorithm> = file.hashes.known().collect();
                let (length, hashes) = copy_digested(&mut from, &mut to, &algorithms).at(&place)?;
                if length != file.length || file.hashes.compare(&hashes).is_err() {
                    let reason = "changed while it was read";
                    return Err(RepositoryError::from(InputError::NoFile { path: place, reason }));
                }
                Ok((path, found.path.as_str()))
            })
            .collect::<Result<_, _>>()?;
        for (path, name) in copied {
            batch.place(path, name);
        }
        batch.commit().at(folder.path())
    }

    /// Refuses to copy over a file with other bytes.
    fn check_place(
        &self,
        found: &FoundTarget,
        file: &TargetFile,
        replace: Replace,
    ) -> Result<(), RepositoryError> {
        let folder = self.targets_folder();
        let path = found.path.as_str();
        let place = folder.file(path);
        match std::fs::symlink_metadata(&place) {
            Ok(metadata) if !metadata.is_file() => {
                let reason = format!("{TARGETS}/{path} is not a regular file");
                Err(InputError::Clash { path: path.to_owned(), reason }.into())
            }
            Ok(_) if replace == Replace::Refuse && !same_file(&place, file) => {
                Err(InputError::InTheWay { path: path.to_owned() }.into())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let reason = "a part of its folder is a file".to_owned();
                Err(InputError::Clash { path: path.to_owned(), reason }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Tells whether a file holds what is listed.
pub(super) fn same_file(place: &std::path::Path, file: &TargetFile) -> bool {
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    digest_file(place, &algorithms)
        .is_ok_and(|(length, hashes)| length == file.length && file.hashes.compare(&hashes).is_ok())
}

/// Refuses files that cannot be targets. A copy that `write` made is no target, and its name may be as long as names can be.
fn check_places(found: &FoundTargets, algorithms: &[Algorithm], own: &OwnCopies) -> Result<(), InputError> {
    let check = |(place, target): (usize, &FoundTarget)| {
        check_place_of(target.path.as_str(), algorithms).err().filter(|_| !own.contains(place))
    };
    found.targets.par_iter().enumerate().find_map_first(check).map_or(Ok(()), Err)
}

/// A target must have a path that clients take, and a hash-named copy must fit the file system's names as well.
pub(super) fn check_place_of(path: &str, algorithms: &[Algorithm]) -> Result<(), InputError> {
    if let Some(why) = Unfit::of_path(path) {
        return Err(InputError::Unfit { path: path.to_owned(), role: None, why });
    }
    let digest = if algorithms.contains(&Algorithm::Sha512) { 128 } else { 64 };
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.len() + digest < 255 {
        return Ok(());
    }
    let reason = "its name is too long beside a digest".to_owned();
    Err(InputError::Clash { path: path.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::{keys, open, repository, scratch, start};
    use super::super::{POLICY, Symlinks, TargetSource, Walk, find_targets};
    use super::*;

    /// Lists all files of the folder of targets. Returns how many were added, replaced, and listed already, and whether drafts
    /// change.
    fn add(
        repository: &mut Repository,
        custom: Option<Value>,
        replace: Replace,
    ) -> Result<(usize, usize, usize, bool), RepositoryError> {
        let targets = repository.dir().join(TARGETS);
        let (walk, symlinks) = (Walk::Flat, Symlinks::Refuse);
        let source = TargetSource { targets: &targets, base: None, prefix: None, walk, symlinks };
        let found = find_targets(std::slice::from_ref(&targets), &source)?;
        let custom = custom.and_then(|custom| custom.as_object().cloned());
        let (role, paths) = (&RoleName::targets(), Paths::Kept);
        let added = repository.add_targets(&AddTargets {
            role,
            found: &found,
            custom,
            replace,
            paths,
            progress: &|_| (),
        })?;
        let plan = repository.plan_edit()?;
        repository.save_added(&added, &plan, &|_| ())?;
        assert_eq!(
            (added.added.paths.len(), added.replaced.paths.len()),
            (added.added.number, added.replaced.number)
        );
        Ok((added.added.number, added.replaced.number, added.unchanged, !plan.is_empty()))
    }

    fn write(dir: &Path, name: &str, bytes: &str) {
        fs::write(dir.join(TARGETS).join(name), bytes).unwrap();
    }

    #[test]
    fn what_is_listed_just_so_is_left_alone_however_it_is_listed() {
        let dir = scratch();
        let dir = dir.path();
        repository(dir, &keys());
        ["a", "c", "e"].into_iter().for_each(|name| write(dir, name, name));
        let add = |custom, replace| add(&mut open(dir, start()), custom, replace);
        assert_eq!(add(None, Replace::Refuse).unwrap(), (3, 0, 0, true));
        assert_eq!(add(None, Replace::Refuse).unwrap(), (0, 0, 3, false));
        // before, between and behind what is listed
        ["0", "b", "f"].into_iter().for_each(|name| write(dir, name, name));
        assert_eq!(add(None, Replace::Refuse).unwrap(), (3, 0, 3, true));
        assert_eq!(add(None, Replace::Refuse).unwrap(), (0, 0, 6, false));
        // with data for the application, which stays
        assert_eq!(add(Some(serde_json::json!({"k": 1})), Replace::Refuse).unwrap(), (0, 6, 0, true));
        assert_eq!(add(None, Replace::Refuse).unwrap(), (0, 0, 6, false));
        // by another algorithm too
        let policy = dir.join(POLICY);
        let both = fs::read_to_string(&policy).unwrap().replace("hashes = [", "hashes = [\"sha512\", ");
        fs::write(&policy, both).unwrap();
        assert_eq!(add(None, Replace::Refuse).unwrap(), (0, 0, 6, false));
        // as long as before
        write(dir, "c", "C");
        let refused = add(None, Replace::Refuse);
        assert!(
            matches!(refused, Err(RepositoryError::Input(InputError::Changed { path, .. })) if path == "c")
        );
        assert_eq!(add(None, Replace::Allow).unwrap(), (0, 1, 5, true));
        assert_eq!(add(None, Replace::Refuse).unwrap(), (0, 0, 6, false));
    }

    #[test]
    fn a_target_does_not_lie_where_unfinished_files_are_swept() {
        let dir = scratch();
        repository(dir.path(), &keys());
        let targets = dir.path().join(TARGETS);
        let file = targets.join(".tuf-tmp/one");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, b"one").unwrap();
        let outside = dir.path().join("two");
        fs::write(&outside, b"two").unwrap();
        let mut opened = open(dir.path(), start());
        for (place, prefix) in [(&file, None), (&outside, Some(".tuf-tmp/deeper"))] {
            let (walk, symlinks) = (Walk::Flat, Symlinks::Refuse);
            let source = TargetSource { targets: &targets, base: None, prefix, walk, symlinks };
            let found = find_targets(std::slice::from_ref(place), &source).unwrap();
            let (role, replace, paths) = (&RoleName::targets(), Replace::Allow, Paths::Counted);
            let request = AddTargets { role, found: &found, custom: None, replace, paths, progress: &|_| () };
            let error = opened.add_targets(&request).unwrap_err().to_string();
            assert!(
                error.contains(".tuf-tmp/") && error.contains("are kept for files of tuf-repo"),
                "{error}"
            );
        }
        assert_eq!(fs::read(&file).unwrap(), b"one");
    }
}
