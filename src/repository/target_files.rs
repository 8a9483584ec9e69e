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
    let check = |(role, map, index): &ListedAt<'_>| -> Result<Vec<Finding>, RepositoryError> {
        let Some((path, file)) = map.at(*index) else { return Ok(Vec::new()) };
        check_target_file(folder, layout, role, &path, &file, how)
    };
    let findings: Vec<Vec<Finding>> = listed
        .par_iter()
        .map(check)
        .filter(|found| !matches!(found, Ok(found) if found.is_empty()))
        .collect::<Result<_, _>>()?;
    Ok(findings.into_iter().flatten().collect())
}

fn check_target_file(
    folder: &dyn Storage,
    layout: Layout,
    role: &RoleName,
    path: &str,
    file: &TargetFile,
    how: TargetBytes,
) -> Result<Vec<Finding>, RepositoryError> {
    let finding = |name: Option<&str>, message: String| Finding {
        severity: Severity::Error,
        role: Some(role.clone()),
        file: name.map(|name| format!("{TARGETS}/{name}")),
        message,
    };
    let target = match TargetPath::parse(path) {
        Ok(target) => target,
        Err(error) => return Ok(vec![finding(None, error.to_string())]),
    };
    let names = layout.target_names(&target, file);
    if names.is_empty() {
        return Ok(vec![finding(None, format!("'{target}' is listed with unknown digest algorithms only"))]);
    }
    let mut findings = Vec::new();
    for name in names {
        match folder.length(&name).at(folder.place(&name))? {
            None => findings.push(finding(Some(&name), "missing".to_owned())),
            Some(length) if length != file.length => {
                findings.push(finding(Some(&name), format!("is {length} bytes long, not {}", file.length)));
            }
            Some(_) if how == TargetBytes::Digest => {
                let algorithms: Vec<Algorithm> = file.hashes.known().collect();
                let found = digest_stored(folder, &name, &algorithms).at(folder.place(&name))?;
                let Some((_, hashes)) = found else {
                    findings.push(finding(Some(&name), "missing".to_owned()));
                    continue;
                };
                if let Err(mismatch) = file.hashes.compare(&hashes) {
                    findings.push(finding(Some(&name), mismatch.to_string()));
                }
            }
            Some(_) => {}
        }
    }
    Ok(findings)
}
