//! The client's two folders are apart from each other, and from those of a repository.
//!
//! A target may have any path below the target folder. Were the metadata folder there, whoever may list a target could
//! replace the trusted root.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::ClientError;
use super::confined::Identity;

/// What a maintainer works on; it stands beside a repository's metadata and targets.
const STAGED: &str = "metadata.staged";
/// The folders of a repository.
const OF_A_REPOSITORY: [&str; 3] = ["metadata", "targets", STAGED];

/// How the two folders of a client stand to each other, or one of them to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// They are the same folder.
    Same,
    /// The metadata folder lies in the target folder.
    MetadataInTargets,
    /// The target folder lies in the metadata folder.
    TargetsInMetadata,
    /// The metadata folder is a repository's.
    RepositoryMetadata,
    /// The target folder is a repository, or one of its folders.
    RepositoryTargets,
}

/// Refuses two folders that are equal, or one within the other, however they are spelled or linked, and folders of a
/// repository. Neither needs to be there yet.
///
/// # Errors
/// [`ClientError::Folders`].
pub fn check_folders(metadata: &Path, targets: &Path) -> Result<(), ClientError> {
    // where a way cannot be followed nobody can put a file either
    let (Ok(own), Ok(other)) = (Way::to(metadata), Way::to(targets)) else { return Ok(()) };
    let conflict = if other.is_at_or_above(&own) && own.is_at_or_above(&other) {
        Conflict::Same
    } else if other.is_at_or_above(&own) {
        Conflict::MetadataInTargets
    } else if own.is_at_or_above(&other) {
        Conflict::TargetsInMetadata
    } else if is_repository_metadata(metadata, &own) {
        Conflict::RepositoryMetadata
    } else if is_of_a_repository(targets, &other) {
        Conflict::RepositoryTargets
    } else {
        return Ok(());
    };
    Err(ClientError::Folders { metadata: metadata.to_owned(), targets: targets.to_owned(), conflict })
}

/// The way to a folder, links followed: what is there of it, and the names of what is not.
struct Way {
    /// The real path of the deepest folder that is there.
    real: PathBuf,
    /// That folder and those above it, the deepest first.
    there: Vec<Identity>,
    missing: Vec<OsString>,
}

impl Way {
    fn to(path: &Path) -> io::Result<Self> {
        let components: Vec<Component<'_>> = path.components().collect();
        for count in (0..=components.len()).rev() {
            let start: PathBuf = components[..count].iter().collect();
            let start = if start.as_os_str().is_empty() { Path::new(".") } else { start.as_path() };
            match start.canonicalize() {
                Ok(mut real) => {
                    let missing = step(&mut real, &components[count..]);
                    if components[count..].contains(&Component::ParentDir) {
                        // what is spelled by a detour may be there all the same
                        return Self::to(&real.join(missing.iter().collect::<PathBuf>()));
                    }
                    let there = real.ancestors().map(Identity::at).collect::<io::Result<_>>()?;
                    return Ok(Self { real, there, missing });
                }
                // a link that leads nowhere can be no folder
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link(start) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_at_or_above(&self, other: &Self) -> bool {
        let Some(own) = self.there.first() else { return false };
        if self.missing.is_empty() {
            return other.there.contains(own);
        }
        // below what is not there yet nothing is there either
        other.there.first() == Some(own) && other.missing.starts_with(&self.missing)
    }

    /// Returns the whole path.
    fn path(&self) -> PathBuf {
        self.real.join(self.missing.iter().collect::<PathBuf>())
    }
}

/// Goes from a folder along components that are not there yet; returns the names below where that leads.
fn step(real: &mut PathBuf, components: &[Component<'_>]) -> Vec<OsString> {
    let mut missing = Vec::new();
    for component in components {
        match component {
            Component::Normal(name) => missing.push((*name).to_owned()),
            Component::ParentDir if missing.pop().is_none() => drop(real.pop()),
            _ => {}
        }
    }
    missing
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_symlink())
}

/// Tells whether a folder is a repository's metadata: by what it holds, or by what stands beside it, under the path as
/// it is spelled or the real one.
fn is_repository_metadata(spelled: &Path, way: &Way) -> bool {
    let real = way.path();
    let beside = |path: &Path| path.parent().is_some_and(|above| above.join(STAGED).is_dir());
    holds_published(&real) || beside(&real) || beside(spelled)
}

/// Tells whether a folder is a repository, or lies in one of its folders.
fn is_of_a_repository(spelled: &Path, way: &Way) -> bool {
    let real = way.path();
    let is_inside = |path: &Path| {
        path.ancestors().zip(path.ancestors().skip(1)).any(|(folder, above)| {
            let name = folder.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| OF_A_REPOSITORY.contains(&name)) && is_repository(above)
        })
    };
    is_repository(&real) || holds_published(&real) || is_inside(&real) || is_inside(spelled)
}

fn is_repository(folder: &Path) -> bool {
    folder.join(STAGED).is_dir() || holds_published(&folder.join("metadata"))
}

/// Tells whether a folder holds published metadata: a root with a version in its name beside a timestamp. A client
/// keeps its root without.
fn holds_published(folder: &Path) -> bool {
    let is_versioned_root = |name: &str| {
        let version = name.strip_suffix(".root.json");
        version
            .is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let Ok(entries) = folder.read_dir() else { return false };
    folder.join("timestamp.json").exists()
        && entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_versioned_root))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn conflict(metadata: &Path, targets: &Path) -> Option<Conflict> {
        match check_folders(metadata, targets) {
            Ok(()) => None,
            Err(ClientError::Folders { conflict, .. }) => Some(conflict),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn folders_that_overlap_are_seen_through_any_spelling() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("there/metadata/deep")).unwrap();
        symlink("there", at("link")).unwrap();
        symlink(at("there/metadata"), at("far")).unwrap();
        use Conflict::{MetadataInTargets, Same, TargetsInMetadata};
        for (metadata, targets, expected) in [
            ("there", "there", Some(Same)),
            ("there/metadata", "link/metadata", Some(Same)),
            ("far", "there/./deep/../metadata", Some(Same)),
            ("absent", "absent", Some(Same)),
            ("absent", "there/no/../../absent/", Some(Same)),
            ("far/no/../new", "link/metadata/new", Some(Same)),
            ("there/metadata", "there", Some(MetadataInTargets)),
            ("far", "link", Some(MetadataInTargets)),
            ("far/absent/new", "there/metadata/absent", Some(MetadataInTargets)),
            ("absent/metadata", ".", Some(MetadataInTargets)),
            ("there", "far/deep", Some(TargetsInMetadata)),
            ("link", "no/../there/metadata/new", Some(TargetsInMetadata)),
            ("absent", "absent/targets", Some(TargetsInMetadata)),
            ("there/metadata", "there/targets", None),
            ("there/metadata", "there/metadata.d", None),
            ("absent/a", "absent/b", None),
            ("far/new", "there/new", None),
        ] {
            assert_eq!(conflict(&at(metadata), &at(targets)), expected, "{metadata} {targets}");
        }
    }

    #[test]
    fn the_folders_of_a_repository_are_no_clients() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in
            ["repo/metadata.staged", "repo/targets/sub", "repo/client", "live/metadata", "live/targets", "c"]
        {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in
            ["live/metadata/12.root.json", "live/metadata/timestamp.json", "c/root.json", "c/timestamp.json"]
        {
            fs::write(at(file), b"{}").unwrap();
        }
        symlink("live/metadata", at("link")).unwrap();
        symlink("../c", at("repo/metadata")).unwrap();
        symlink("../repo/targets/sub", at("c/files")).unwrap();
        use Conflict::{RepositoryMetadata, RepositoryTargets};
        for (metadata, targets, expected) in [
            ("live/metadata", "out", Some(RepositoryMetadata)),
            ("link", "out", Some(RepositoryMetadata)),
            ("repo/metadata", "out", Some(RepositoryMetadata)),
            ("repo/metadata.staged", "out", Some(RepositoryMetadata)),
            ("repo/not-there-yet", "out", Some(RepositoryMetadata)),
            ("out", "repo", Some(RepositoryTargets)),
            ("out", "repo/targets", Some(RepositoryTargets)),
            ("out", "repo/targets/new/deep", Some(RepositoryTargets)),
            ("out", "c/files", Some(RepositoryTargets)),
            ("out", "live", Some(RepositoryTargets)),
            ("out", "live/targets", Some(RepositoryTargets)),
            ("out", "link/deep", Some(RepositoryTargets)),
            ("c", "out", None),
            ("repo/client/metadata", "repo/client/targets", None),
            ("out", "repo/download", None),
        ] {
            assert_eq!(conflict(&at(metadata), &at(targets)), expected, "{metadata} {targets}");
        }
    }
}
