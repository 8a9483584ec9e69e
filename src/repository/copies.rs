//! Copies of targets named by their hashes (specification 6.2.1): which are to be made, and how.

use std::fs::File;
use std::path::PathBuf;

use rayon::prelude::*;

use super::Repository;
use super::error::{AtPath, InputError, Refusal, RepositoryError};
use super::layout::{Layout, TARGETS};
use super::presence::Presence;
use super::scan::{Told, copy_digested, digest_file, total_length};
use super::unfit::Unfit;
use super::ways::Ways;
use crate::metadata::{Algorithm, RoleName, TargetFile, TargetMap, TargetPath};
use crate::storage::open_regular;

/// Copies of targets to make; in the plain layout, targets whose bytes are to be checked. There may be a great many: of each
/// only its place is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies {
    layout: Layout,
    roles: Vec<RoleCopies>,
    /// How many bytes of targets are read.
    bytes: u64,
}

/// Copies of targets that one role lists.
#[derive(Debug, Clone)]
struct RoleCopies {
    role: RoleName,
    listed: TargetMap,
    places: Vec<Place>,
}

/// A target by its place in a map, and which of its hash names have no file yet: the bits of their places.
type Place = (u32, u8);

/// One target whose bytes are to be checked, and the names that it is copied to.
struct Copy<'a> {
    role: &'a RoleName,
    path: TargetPath,
    file: TargetFile,
    names: Vec<String>,
}

impl RoleCopies {
    fn copy(&self, layout: Layout, (index, missing): Place) -> Option<Copy<'_>> {
        let (path, file) = self.listed.at(index as usize)?;
        let path = TargetPath::parse(&path).ok()?;
        let names = match layout {
            Layout::Plain => Vec::new(),
            Layout::Consistent => {
                let all = layout.target_names(&path, &file).into_iter().enumerate();
                all.filter(|(bit, _)| missing & (1 << bit) != 0).map(|(_, name)| name).collect()
            }
        };
        Some(Copy { role: &self.role, path, file, names })
    }
}

impl Copies {
    /// Returns how many bytes of targets are read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the names of the files that are made, in the folder of targets.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let of_role = |copies: &RoleCopies| -> Vec<String> {
            let copies = copies.places.iter().filter_map(|place| copies.copy(self.layout, *place));
            copies.flat_map(|copy| copy.names).collect()
        };
        self.roles.iter().flat_map(of_role)
    }
}

impl Repository {
    /// Returns the targets that the drafts of some roles list anew, with the copies that are not there yet.
    ///
    /// # Errors
    /// [`InputError::TargetThere`] where a file of another length has the name of a copy: no copy ever replaces a file;
    /// [`InputError::LeadsOutside`] where a link leads out of the folder of targets.
    pub(super) fn target_copies(
        &self,
        layout: Layout,
        roles: &[RoleName],
    ) -> Result<Copies, RepositoryError> {
        let folder = self.targets_folder();
        let none = TargetMap::new();
        let anew = |role: &RoleName| -> Option<(RoleName, TargetMap, Vec<usize>)> {
            let state = self.staged.targets(role)?;
            let listed = &state.draft.as_ref()?.metadata.signed().targets;
            let old = state.written.as_ref().map_or(&none, |written| &written.signed().targets);
            let mut new = listed.differing(old);
            if !old.is_empty() {
                new.retain(|index| !old.has_bytes_of(listed, *index));
            }
            (!new.is_empty()).then(|| (role.clone(), listed.clone(), new))
        };
        let anew: Vec<_> = roles.par_iter().filter_map(anew).collect();
        let presence = Presence::of(&folder, anew.iter().map(|(.., new)| new.len()).sum())?;
        let role_copies = |(role, listed, new): (RoleName, TargetMap, Vec<usize>)| {
            let elsewhere = self.staged.role(&role).is_some_and(|state| state.pins().elsewhere);
            if elsewhere && presence.is_empty() {
                return Ok((0, RoleCopies { role, listed, places: Vec::new() }));
            }
            let look = |index: usize| look(layout, &presence, &listed, index, elsewhere);
            let found = new.into_par_iter().map(look).filter_map(Result::transpose);
            let found: Vec<(Place, u64)> = found.collect::<Result<_, RepositoryError>>()?;
            let bytes = total_length(found.iter().map(|(_, bytes)| *bytes));
            let places = found.into_iter().map(|(place, _)| place).collect();
            Ok((bytes, RoleCopies { role, listed, places }))
        };
        let found = anew.into_par_iter().map(role_copies);
        let found: Vec<(u64, RoleCopies)> = found.collect::<Result<_, RepositoryError>>()?;
        let bytes = total_length(found.iter().map(|(bytes, _)| *bytes));
        let roles = found.into_iter().map(|(_, copies)| copies).filter(|copies| !copies.places.is_empty());
        let copies = Copies { layout, roles: roles.collect(), bytes };
        let mut ways = Ways::into(&folder)?;
        copies.names().try_for_each(|name| ways.refuse_outside(&name))?;
        Ok(copies)
    }

    /// Copies targets to their hash names, checking the bytes on the way; in the plain layout only checks them. `progress`
    /// is told the bytes as they are read.
    ///
    /// # Errors
    /// [`Refusal::TargetChanged`] before anything has moved; [`RepositoryError::Io`].
    pub(super) fn copy_targets(
        &self,
        copies: &Copies,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RepositoryError> {
        if copies.roles.is_empty() {
            return Ok(());
        }
        let folder = self.targets_folder();
        let mut batch = folder.batch().at(folder.path())?;
        let copy_one = |copy: Copy<'_>| -> Result<Vec<(PathBuf, String)>, RepositoryError> {
            let source = folder.file(copy.path.as_str());
            let changed = |reason: String| RepositoryError::Refused {
                file: format!("{TARGETS}/{}", copy.path),
                reason: Refusal::TargetChanged(format!("{}: {reason}", copy.role)),
            };
            let algorithms: Vec<Algorithm> = copy.file.hashes.known().collect();
            let mut made = Vec::with_capacity(copy.names.len());
            let mut names = copy.names.into_iter();
            let (length, hashes) = match names.next() {
                None => digest_file(&source, &algorithms)
                    .inspect(|(length, _)| progress(*length))
                    .map_err(|error| changed(error.to_string()))?,
                Some(name) => {
                    let from = open_regular(&source).map_err(|error| changed(error.to_string()))?;
                    let mut from = Told { from, told: progress };
                    let (path, mut to) = batch.create().at(folder.path())?;
                    let digested = copy_digested(&mut from, &mut to, &algorithms).at(&source)?;
                    made.push((path, name));
                    digested
                }
            };
            if length != copy.file.length {
                return Err(changed(format!("{length} bytes, {} listed", copy.file.length)));
            }
            copy.file.hashes.compare(&hashes).map_err(|mismatch| changed(format!("it {mismatch}")))?;
            for name in names {
                let (path, mut to) = batch.create().at(folder.path())?;
                let mut from = File::open(&made[0].0).at(&made[0].0)?;
                std::io::copy(&mut from, &mut to).at(&path)?;
                made.push((path, name));
            }
            Ok(made)
        };
        let of_role = |role| all_of(copies.layout, role);
        let made: Vec<Vec<(PathBuf, String)>> =
            copies.roles.par_iter().flat_map(of_role).map(copy_one).collect::<Result<_, _>>()?;
        for (path, name) in made.into_iter().flatten() {
            batch.place(path, name);
        }
        batch.commit().at(folder.path())
    }
}

fn all_of(layout: Layout, copies: &RoleCopies) -> impl ParallelIterator<Item = Copy<'_>> {
    copies.places.par_iter().filter_map(move |place| copies.copy(layout, *place))
}

/// Looks at the files of a target. Returns the place of one that is to be copied or checked, and its length.
fn look(
    layout: Layout,
    presence: &Presence<'_>,
    listed: &TargetMap,
    index: usize,
    elsewhere: bool,
) -> Result<Option<(Place, u64)>, RepositoryError> {
    let Some((path, file)) = listed.at(index) else { return Ok(None) };
    // the draft itself is found fault with
    let Ok(path) = TargetPath::parse(&path) else { return Ok(None) };
    if Unfit::of(path.as_str(), &file).is_some() {
        return Ok(None);
    }
    let mut missing = 0;
    if layout == Layout::Consistent {
        for (bit, name) in layout.target_names(&path, &file).into_iter().enumerate() {
            match presence.length(&name)? {
                None => missing |= 1 << bit,
                Some(length) if length == file.length => {}
                // whoever put a file there, its bytes are nowhere else
                Some(_) => return Err(InputError::TargetThere { path: name }.into()),
            }
        }
        if missing == 0 {
            return Ok(None);
        }
    }
    if elsewhere && presence.is_elsewhere(&path, &file)? {
        return Ok(None);
    }
    // a map has fewer than 2^32 entries
    Ok(u32::try_from(index).ok().map(|index| ((index, missing), file.length)))
}
