//! Whether the files of the targets that metadata lists are there, and are what is listed.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::check::{Finding, Severity, TargetBytes};
use super::error::{AtPath, RepositoryError};
use super::layout::{Layout, TARGETS};
use super::scan::digest_stored;
use super::unfit::Unfit;
use crate::metadata::{Algorithm, PlainFile, RoleName, TargetFile, TargetMap, TargetPath, Targets};
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
    if how == TargetBytes::Digest {
        return look_at_all(layout, listed, |name, file| match wrong_length(folder, name, file)? {
            None => wrong_bytes(folder, name, file),
            wrong => Ok(wrong),
        });
    }
    // nearly all are listed plainly and are there
    let is_there = |name: &mut String, (_, map, index): &ListedAt<'_>| {
        let may_be = |file: &PlainFile<'_>| Unfit::of_path(file.path).is_none();
        let Some(file) = map.plain_at(*index).filter(may_be) else { return false };
        name.clear();
        plain_name(layout, &file, name);
        matches!(folder.length(name), Ok(Some(length)) if length == file.length)
    };
    let rest =
        listed.par_iter().map_init(String::new, |name, listed| (!is_there(name, listed)).then_some(*listed));
    let rest: Vec<ListedAt<'_>> = rest.filter_map(|listed| listed).collect();
    look_at_all(layout, &rest, |name, file| wrong_length(folder, name, file))
}

/// Writes the name under which clients ask for a target: as [`Layout::target_names`] makes it.
fn plain_name(layout: Layout, file: &PlainFile<'_>, name: &mut String) {
    if layout == Layout::Plain {
        return name.push_str(file.path);
    }
    let base = file.path.rfind('/').map_or(0, |slash| slash + 1);
    for part in [&file.path[..base], file.sha256, ".", &file.path[base..]] {
        name.push_str(part);
    }
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
        let finding = |name: &str, message: String| Finding {
            severity: Severity::Error,
            role: Some((*role).clone()),
            file: Some(format!("{TARGETS}/{name}")),
            message,
        };
        let Some((path, file)) = map.at(*index) else { return Ok(Vec::new()) };
        // the metadata itself is found fault with
        let Ok(target) = TargetPath::parse(&path) else { return Ok(Vec::new()) };
        if Unfit::of(target.as_str(), &file).is_some() {
            return Ok(Vec::new());
        }
        let mut findings = Vec::new();
        for name in layout.target_names(&target, &file) {
            findings.extend(look(&name, &file)?.map(|wrong| finding(&name, wrong)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Extra, Hashes};

    #[test]
    fn a_plain_file_has_the_name_that_any_file_has() {
        let digest = "0a".repeat(32);
        let hashes = |all: &[(&str, &str)]| {
            let mut hashes = Hashes::default();
            all.iter().for_each(|(name, digest)| hashes.insert(name, digest));
            hashes
        };
        let plain = hashes(&[("sha256", &digest)]);
        let (sha512, upper) = ("1b".repeat(64), digest.to_uppercase());
        let others = [
            hashes(&[("sha512", &sha512)]),
            hashes(&[("sha256", &digest), ("sha512", &sha512)]),
            hashes(&[("sha256", "0a")]),
            hashes(&[("blake2b", &digest)]),
        ];
        let file = |hashes: &Hashes| TargetFile {
            length: 3,
            hashes: hashes.clone(),
            custom: None,
            extra: Extra::new(),
        };
        for path in ["a", "a/b", "é/b.c", "a b/-/.x"] {
            let map = TargetMap::of([(path, file(&plain))]).unwrap();
            let found = map.plain_at(0).unwrap();
            assert_eq!((found.path, found.sha256, found.length), (path, &*digest, 3));
            assert_eq!(map.plain_at(1), None);
            let target = TargetPath::parse(path).unwrap();
            for layout in [Layout::Plain, Layout::Consistent] {
                let mut name = String::new();
                plain_name(layout, &found, &mut name);
                assert_eq!(layout.target_names(&target, &file(&plain)), [name]);
            }
        }
        let with = |custom, extra| TargetFile { custom, extra, ..file(&plain) };
        let unknown: Extra = serde_json::from_str("{\"x\":1}").unwrap();
        let more = [with(Some(serde_json::json!({})), Extra::new()), with(None, unknown)];
        for file in others.iter().map(file).chain(more) {
            assert_eq!(TargetMap::of([("a", file)]).unwrap().plain_at(0), None);
        }
        assert_eq!(TargetMap::of([("a\"b", file(&plain))]).unwrap().plain_at(0), None);
        // others may list digests in capitals
        let text = format!("{{\"a\":{{\"hashes\":{{\"sha256\":\"{upper}\"}},\"length\":3}}}}");
        let map: TargetMap = serde_json::from_str(&text).unwrap();
        assert!(map.plain_at(0).is_none_or(|file| file.sha256 == digest));
    }
}
