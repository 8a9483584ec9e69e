//! The client's two folders are apart from each other, and from those of a repository.
//!
//! A target may have any path below the target folder. Were the metadata folder there, whoever may list a target could
//! replace the trusted root. What lies in the target folder was chosen by metadata: it never decides here.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use url::Url;

use super::confined::Identity;
use super::of_repository::{Spot, is_spelled_beside, is_spelled_inside};
use super::{ClientError, LocalMetadata, TargetDir, record};

/// The most links that are followed on the way to a folder that is not there yet; Linux follows as many.
const LINKS: usize = 40;

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
    /// The target folder is one of a repository's folders, or lies in one.
    RepositoryTargets,
    /// The target folder is some client's metadata folder.
    ClientMetadata,
}

/// Refuses two folders that are equal, or one within the other, however they are spelled or linked, and folders of a
/// repository. Neither needs to be there yet.
///
/// # Errors
/// [`ClientError::Folders`]; [`ClientError::Local`] where the way to one of them cannot be followed.
pub fn check_folders(metadata: &Path, targets: &Path) -> Result<(), ClientError> {
    let (own, other) = (way(metadata)?, way(targets)?);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ClientError::local(&path, error)
    };
    let conflict = if other.is_at_or_above(&own) && own.is_at_or_above(&other) {
        Conflict::Same
    } else if other.is_at_or_above(&own) {
        Conflict::MetadataInTargets
    } else if own.is_at_or_above(&other) {
        Conflict::TargetsInMetadata
    } else if is_repository_metadata(metadata, &own).map_err(failed(metadata))? {
        Conflict::RepositoryMetadata
    } else if is_of_a_repository(targets, &other).map_err(failed(targets))? {
        Conflict::RepositoryTargets
    } else if Spot::at(&other.path()).is_clients().map_err(failed(targets))? {
        Conflict::ClientMetadata
    } else {
        return Ok(());
    };
    Err(ClientError::Folders { metadata: metadata.to_owned(), targets: targets.to_owned(), conflict })
}

/// Refuses two open folders as [`check_folders`] does. Their paths may lead elsewhere by now: here the folders themselves
/// count, and those above them.
///
/// # Errors
/// As [`check_folders`].
pub(super) fn check_open_folders(local: &LocalMetadata, dir: &TargetDir) -> Result<(), ClientError> {
    let (metadata, targets) = (local.path(), dir.path());
    let ways = local.folder().with_those_above().map_err(|error| ClientError::local(metadata, error));
    let (own, other) = (ways?, dir.folder.with_those_above());
    let other = other.map_err(|error| ClientError::local(targets, error))?;
    let conflict = if own.first() == other.first() {
        Conflict::Same
    } else if other.first().is_some_and(|targets| own.contains(targets)) {
        Conflict::MetadataInTargets
    } else if own.first().is_some_and(|metadata| other.contains(metadata)) {
        Conflict::TargetsInMetadata
    } else if dir.folder.has(record::NAME).map_err(|error| ClientError::local(targets, error))? {
        Conflict::ClientMetadata
    } else if Spot::open(local.folder()).is_metadata().map_err(|error| ClientError::local(metadata, error))? {
        Conflict::RepositoryMetadata
    } else if Spot::open(&dir.folder).is_inside().map_err(|error| ClientError::local(targets, error))? {
        Conflict::RepositoryTargets
    } else {
        return check_folders(metadata, targets);
    };
    Err(ClientError::Folders { metadata: metadata.to_owned(), targets: targets.to_owned(), conflict })
}

/// Refuses the folders from which a `file:` URL of the same command reads: what is written there would change what the
/// repository's other clients read. A target could lie anywhere below its folder, so that one must not hold them either.
///
/// # Errors
/// [`ClientError::ReadFrom`]; [`ClientError::Local`] where the way to one of them cannot be followed.
pub fn check_sources<'u>(
    metadata: &Path,
    targets: &Path,
    sources: impl IntoIterator<Item = &'u Url>,
) -> Result<(), ClientError> {
    let (own, other) = (way(metadata)?, way(targets)?);
    for url in sources.into_iter().filter(|url| url.scheme() == "file") {
        // of another machine: it is not read either
        let Ok(path) = url.to_file_path() else { continue };
        let source = way(&path)?;
        let is_own = own.is_at_or_above(&source) && source.is_at_or_above(&own);
        let is_other = other.is_at_or_above(&source) || source.is_at_or_above(&other);
        if let Some(folder) = is_own.then_some(metadata).or_else(|| is_other.then_some(targets)) {
            return Err(ClientError::ReadFrom { folder: folder.to_owned(), url: url.clone() });
        }
    }
    Ok(())
}

fn way(path: &Path) -> Result<Way, ClientError> {
    Way::to(path).map_err(|error| ClientError::local(path, error))
}

/// The way to a folder, links followed: the part that exists, and the names of the parts that are missing.
struct Way {
    /// The real path of the deepest folder that is there.
    real: PathBuf,
    /// That folder and those above it, the deepest first.
    there: Vec<Identity>,
    missing: Vec<OsString>,
}

impl Way {
    fn to(path: &Path) -> io::Result<Self> {
        Self::follow(path, LINKS)
    }

    fn follow(path: &Path, links: usize) -> io::Result<Self> {
        let components: Vec<Component<'_>> = path.components().collect();
        for count in (0..=components.len()).rev() {
            let start: PathBuf = components[..count].iter().collect();
            let start = if start.as_os_str().is_empty() { Path::new(".") } else { start.as_path() };
            match start.canonicalize() {
                Ok(mut real) => {
                    let missing = step(&mut real, &components[count..]);
                    if components[count..].contains(&Component::ParentDir) {
                        // what is spelled by a detour may be there all the same
                        let spelled = real.join(missing.iter().collect::<PathBuf>());
                        return Self::follow(&spelled, links);
                    }
                    let there = real.ancestors().map(Identity::at).collect::<io::Result<_>>()?;
                    return Ok(Self { real, there, missing });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // a link that leads nowhere yet: whoever makes what it names makes the folder
                    if let Ok(leads) = start.read_link() {
                        let links = links.checked_sub(1).ok_or(error)?;
                        let above = start.parent().unwrap_or(Path::new("/")).join(leads);
                        let rest: PathBuf = components[count..].iter().collect();
                        return Self::follow(&above.join(rest), links);
                    }
                }
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
        // a missing folder has no content
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

/// Tells whether a folder is a repository's metadata: by what it holds, or by what stands beside it, under the path as
/// it is spelled or the real one.
fn is_repository_metadata(spelled: &Path, way: &Way) -> io::Result<bool> {
    let real = way.path();
    Ok(Spot::at(&real).holds_published()? || is_spelled_beside(&real)? || is_spelled_beside(spelled)?)
}

/// Tells whether a folder is one of a repository's, or lies in one: by what stands beside those, never by what it holds.
fn is_of_a_repository(spelled: &Path, way: &Way) -> io::Result<bool> {
    Ok(is_spelled_inside(&way.path())? || is_spelled_inside(spelled)?)
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

    /// Somebody with rights in the folder above switched the path between the two checks and the opening: a target named
    /// `1.root.json` replaced a repository's root.
    #[test]
    fn a_repositorys_folder_is_known_when_it_is_open_wherever_its_path_leads_by_now() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["repo/metadata.staged", "repo/metadata", "repo/targets/deep", "own", "real/deep"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::create_dir_all(at("live/metadata")).unwrap();
        for file in ["live/metadata/1.root.json", "live/metadata/timestamp.json"] {
            fs::write(at(file), b"{}").unwrap();
        }
        fs::create_dir(at("live/targets")).unwrap();
        symlink("../repo/targets/deep", at("live/link")).unwrap();
        let local = LocalMetadata::create(&at("own")).unwrap();
        for folder in [
            "repo/metadata",
            "repo/metadata.staged",
            "repo/targets",
            "repo/targets/deep",
            "live/metadata",
            "live/targets",
            "live/link",
        ] {
            fs::remove_file(at("switched")).unwrap_or_default();
            symlink(at(folder), at("switched")).unwrap();
            let dir = TargetDir::open_existing(&at("switched")).unwrap().unwrap();
            fs::remove_file(at("switched")).unwrap();
            symlink(at("real/deep"), at("switched")).unwrap();
            let said = check_open_folders(&local, &dir);
            let conflict = Conflict::RepositoryTargets;
            assert!(
                matches!(said, Err(ClientError::Folders { conflict: found, .. }) if found == conflict),
                "{folder}"
            );
        }
        let dir = TargetDir::open_existing(&at("switched")).unwrap().unwrap();
        assert!(check_open_folders(&local, &dir).is_ok());
        // what lies in the target folder never counts
        fs::create_dir(at("real/deep/metadata.staged")).unwrap();
        fs::write(at("real/deep/1.root.json"), b"{}").unwrap();
        fs::write(at("real/deep/timestamp.json"), b"{}").unwrap();
        assert!(check_open_folders(&local, &dir).is_ok());
        // nor does anybody trust anything in a repository's folder that his path led to for a moment
        for folder in ["repo/metadata", "live/metadata"] {
            let said = LocalMetadata::open(&at(folder)).err().unwrap().to_string();
            assert!(said.contains("it is a repository's"), "{said}");
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
            ("out", "repo/targets", Some(RepositoryTargets)),
            ("out", "repo/targets/new/deep", Some(RepositoryTargets)),
            ("out", "c/files", Some(RepositoryTargets)),
            ("out", "live/targets", Some(RepositoryTargets)),
            ("out", "link/deep", Some(RepositoryTargets)),
            ("c", "out", None),
            ("repo/client/metadata", "repo/client/targets", None),
            ("out", "repo/download", None),
        ] {
            assert_eq!(conflict(&at(metadata), &at(targets)), expected, "{metadata} {targets}");
        }
    }

    #[test]
    fn what_a_role_lists_never_makes_a_target_folder_look_like_a_repositorys() {
        for listed in [
            &["metadata.staged/x"][..],
            &["1.root.json", "timestamp.json"],
            &["metadata/1.root.json", "metadata/timestamp.json"],
            &["targets/x", "metadata.staged/root.json"],
            &["root_history/1.root.json", "timestamp.json"],
        ] {
            let root = tempfile::tempdir().unwrap();
            for file in listed {
                let file = root.path().join("targets").join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, b"{}").unwrap();
            }
            fs::create_dir(root.path().join("metadata")).unwrap();
            symlink("targets", root.path().join("link")).unwrap();
            for targets in ["targets", "link", "targets/."] {
                let found = conflict(&root.path().join("metadata"), &root.path().join(targets));
                assert_eq!(found, None, "{listed:?} {targets}");
            }
        }
    }

    #[test]
    fn a_checkout_with_a_history_of_roots_is_a_repositorys_and_a_marked_or_linked_one_a_clients() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("metadata/root_history")).unwrap();
        for file in ["root_history/1.root.json", "root.json", "timestamp.json"] {
            fs::write(at("metadata").join(file), b"{}").unwrap();
        }
        assert_eq!(conflict(&at("metadata"), &at("out")), Some(Conflict::RepositoryMetadata));
        assert_eq!(conflict(&at("own"), &at("targets")), Some(Conflict::RepositoryTargets));
        fs::write(at("metadata/.tuf-put"), b"").unwrap();
        assert_eq!(conflict(&at("metadata"), &at("targets")), None);
        // a folder of python-tuf's client
        fs::remove_file(at("metadata/.tuf-put")).unwrap();
        fs::remove_file(at("metadata/root.json")).unwrap();
        symlink("root_history/1.root.json", at("metadata/root.json")).unwrap();
        assert_eq!(conflict(&at("metadata"), &at("targets")), None);
        // what stands beside the folder counts, not what it holds
        fs::write(at("metadata/.tuf-put"), b"").unwrap();
        fs::create_dir(at("metadata.staged")).unwrap();
        assert_eq!(conflict(&at("metadata"), &at("out")), Some(Conflict::RepositoryMetadata));
    }

    #[test]
    fn a_link_that_leads_nowhere_yet_is_the_folder_that_it_names() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for (link, leads) in [("a", "new"), ("b", "a"), ("deep", "new/x"), ("circle", "circle")] {
            symlink(leads, at(link)).unwrap();
        }
        symlink(at("new"), at("far")).unwrap();
        for targets in ["a", "b", "far", "a/.", "a/x/.."] {
            assert_eq!(conflict(&at("new"), &at(targets)), Some(Conflict::Same), "{targets}");
        }
        assert_eq!(conflict(&at("new"), &at("deep")), Some(Conflict::TargetsInMetadata));
        assert_eq!(conflict(&at("b/m"), &at("a")), Some(Conflict::MetadataInTargets));
        assert_eq!(conflict(&at("other"), &at("b")), None);
        // an error other than 'not found' is reported
        assert!(matches!(check_folders(&at("new"), &at("circle")), Err(ClientError::Local { .. })));
        fs::write(at("file"), b"").unwrap();
        assert!(matches!(check_folders(&at("file/m"), &at("out")), Err(ClientError::Local { .. })));
    }

    #[test]
    fn the_folder_that_a_url_reads_is_no_clients() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("live/sub")).unwrap();
        symlink("live", at("link")).unwrap();
        let url = Url::from_directory_path(at("live")).unwrap();
        for (metadata, targets, refused) in [
            ("live", "out", true),
            ("link", "out", true),
            ("own", "live", true),
            ("own", "link/sub", true),
            ("own", "link/sub/new", true),
            ("own", ".", true),
            ("own", "out", false),
            ("own", "live.d", false),
        ] {
            let found = check_sources(&at(metadata), &at(targets), [&url]);
            assert_eq!(matches!(found, Err(ClientError::ReadFrom { .. })), refused, "{metadata} {targets}");
            let away = Url::parse("https://example.org/live").unwrap();
            check_sources(&at(metadata), &at(targets), [&away]).unwrap();
        }
    }
}
