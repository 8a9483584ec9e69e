//! Whether the files of the targets that metadata lists are there, and are what is listed.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::check::{Finding, Severity, TargetBytes};
use super::error::{AtPath, RepositoryError};
use super::layout::{Layout, TARGETS};
use super::scan::digest_stored;
use crate::metadata::{Algorithm, RoleName, TargetFile, TargetMap, TargetPath, Targets};
use crate::storage::Storage;

/// A target that a role lists, by its place among the role's.
pub(super) type ListedAt<'a> = (&'a RoleName, &'a TargetMap, usize);

/// Returns all targets that roles list.
pub(super) fn all_listed(roles: &BTreeMap<RoleName, Targets>) -> Vec<ListedAt<'_>> {
    let mut all = Vec::new();
    for (role, Targets { targets, .. }) in roles {
        all.extend((0..targets.len()).map(|index| (role, targets, index)));
    }
    all
}

/// Looks at the files of targets that metadata lists.
pub(super) fn check_target_files(
    folder: &dyn Storage,
    layout: Layout,
    listed: &[ListedAt<'_>],
    how: TargetBytes,
) -> Result<Vec<Finding>, RepositoryError> {
    look_at_all(layout, listed, |name, file| {
        let wrong = wrong_length(folder, name, file)?;
        if wrong.is_some() || how != TargetBytes::Digest {
            Ok(wrong)
        } else {
            wrong_bytes(folder, name, file)
        }
    })
}

/// Reads the files of targets that were found there.
pub(super) fn check_target_bytes(
    folder: &dyn Storage,
    layout: Layout,
    listed: &[ListedAt<'_>],
) -> Result<Vec<Finding>, RepositoryError> {
    look_at_all(layout, listed, |name, file| wrong_bytes(folder, name, file))
}

/// What is wrong with a file; nothing where it is what is listed.
type Wrong = Result<Option<String>, RepositoryError>;

/// Looks at the files of targets on all cores, by their names.
fn look_at_all(
    layout: Layout,
    listed: &[ListedAt<'_>],
    look: impl Fn(&str, &TargetFile) -> Wrong + Sync,
) -> Result<Vec<Finding>, RepositoryError> {
    let look_at = |(role, map, index): &ListedAt<'_>| -> Result<Vec<Finding>, RepositoryError> {
        let finding = |name: Option<&str>, message: String| Finding {
            severity: Severity::Error,
            role: Some((*role).clone()),
            file: name.map(|name| format!("{TARGETS}/{name}")),
            message,
        };
        let Some((path, file)) = map.at(*index) else { return Ok(Vec::new()) };
        let target = match TargetPath::parse(&path) {
            Ok(target) => target,
            Err(error) => return Ok(vec![finding(None, error.to_string())]),
        };
        let names = layout.target_names(&target, &file);
        if names.is_empty() {
            return Ok(vec![finding(
                None,
                format!("'{target}' is listed with unknown digest algorithms only"),
            )]);
        }
        let mut findings = Vec::new();
        for name in names {
            findings.extend(look(&name, &file)?.map(|wrong| finding(Some(&name), wrong)));
        }
        Ok(findings)
    };
    let findings: Vec<Vec<Finding>> = listed
        .par_iter()
        .map(look_at)
        .filter(|found| !matches!(found, Ok(found) if found.is_empty()))
        .collect::<Result<_, _>>()?;
    Ok(findings.into_iter().flatten().collect())
}

fn wrong_length(folder: &dyn Storage, name: &str, file: &TargetFile) -> Wrong {
    Ok(match folder.length(name).at_place(|| folder.place(name))? {
        None => Some("missing".to_owned()),
        Some(length) if length != file.length => Some(format!("is {length} bytes long, not {}", file.length)),
        Some(_) => None,
    })
}

fn wrong_bytes(folder: &dyn Storage, name: &str, file: &TargetFile) -> Wrong {
    let algorithms: Vec<Algorithm> = file.hashes.known().collect();
    let found = digest_stored(folder, name, &algorithms).at_place(|| folder.place(name))?;
    Ok(match found {
        None => Some("missing".to_owned()),
        Some((length, _)) if length != file.length => {
            Some(format!("is {length} bytes long, not {}", file.length))
        }
        Some((_, hashes)) => file.hashes.compare(&hashes).err().map(|mismatch| mismatch.to_string()),
    })
}
