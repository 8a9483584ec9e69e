//! Targets that no client takes, whoever lists them: by their paths, or by what stands in the place of a digest. One rule for
//! every way in (a file, a manifest, an import), and for what checks find. Where such a target has been live, whoever lists it is
//! at fault (`fault`), and nobody else is stopped: no command makes a file of it.

use std::fmt;

use super::bins::left_out;
use super::error::InputError;
use crate::metadata::{Algorithm, RoleName, TargetFile, TargetPath, Targets};

/// Why no client takes a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its path is none that can lie below a folder.
    Path(&'static str),
    /// A part of its path begins with `.tuf-`.
    Reserved,
    /// Its path has more than [`TargetPath::MOST_PARTS`] parts.
    Deep,
    /// What is listed as its digest by an algorithm is no digest.
    Digest(Algorithm),
    /// It has a digest by no algorithm that is known here.
    UnknownDigests,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(reason) => write!(f, "its path {reason}"),
            Self::UnknownDigests => f.write_str("it is listed with unknown digest algorithms only"),
            Self::Reserved => {
                f.write_str("names that begin with .tuf- are kept for files of tuf-repo and tuf-fetch")
            }
            Self::Deep => write!(f, "clients take at most {} parts between slashes", TargetPath::MOST_PARTS),
            Self::Digest(algorithm) => write!(f, "its {} is no digest in hexadecimal", algorithm.name()),
        }
    }
}

impl Unfit {
    /// Judges a target.
    pub(super) fn of(path: &str, file: &TargetFile) -> Option<Self> {
        Self::of_path(path).or_else(|| Self::of_digests(file))
    }

    /// Judges a path, also one that is no [`TargetPath`].
    pub(super) fn of_path(path: &str) -> Option<Self> {
        if let Err(error) = TargetPath::check(path) {
            return Some(Self::Path(error.reason));
        }
        if TargetPath::is_reserved_name(path) {
            return Some(Self::Reserved);
        }
        TargetPath::is_deep_name(path).then_some(Self::Deep)
    }

    fn of_digests(file: &TargetFile) -> Option<Self> {
        if file.hashes.known().next().is_none() {
            return Some(Self::UnknownDigests);
        }
        let is_none = |algorithm: &Algorithm| file.hashes.name_digest(*algorithm).is_none();
        file.hashes.known().find(is_none).map(Self::Digest)
    }

    /// Says what is wrong where a role lists the path.
    pub(super) fn words(self, path: &str) -> String {
        format!("lists '{}', which cannot be a target: {self}", path.escape_debug())
    }
}

/// A target that no client takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnfitTarget {
    pub(super) path: String,
    pub(super) why: Unfit,
}

impl UnfitTarget {
    pub(super) fn words(&self) -> String {
        self.why.words(&self.path)
    }

    fn refused(self, role: &RoleName) -> InputError {
        let path = self.path.escape_debug().to_string();
        InputError::Unfit { path, role: Some(role.clone()), why: self.why }
    }
}

/// Finds the targets of a role that no client takes.
pub(super) fn unfit_targets(targets: &Targets) -> impl Iterator<Item = UnfitTarget> {
    let map = &targets.targets;
    (0..map.len()).filter_map(|index| {
        // nearly all are listed plainly: with one digest, which is one
        if let Some(plain) = map.plain_at(index) {
            return Unfit::of_path(plain.path).map(|why| UnfitTarget { path: plain.path.to_owned(), why });
        }
        let (path, file) = map.at(index)?;
        let why = Unfit::of(&path, &file)?;
        Some(UnfitTarget { path: path.into_owned(), why })
    })
}

/// Refuses metadata made elsewhere that lists targets which no client takes, or that leads to names of roles that would not do
/// here either.
///
/// # Errors
/// [`InputError::Unfit`], [`InputError::RoleName`].
pub(super) fn refuse_unfit(role: &RoleName, targets: &Targets) -> Result<(), InputError> {
    if let Some(unfit) = unfit_targets(targets).next() {
        return Err(unfit.refused(role));
    }
    match targets.delegations.as_ref().map(left_out).unwrap_or_default().into_iter().next() {
        Some((_, reason)) => Err(reason.into()),
        None => Ok(()),
    }
}

/// Refuses what a top-level role of others lists under names that these programs keep for themselves, or too deep: nobody but
/// its maintainers can list that, and they are the ones who take it over. Of delegated roles it is told.
///
/// # Errors
/// [`InputError::Unfit`].
pub(super) fn refuse_unfit_of_top_level(role: &RoleName, targets: &Targets) -> Result<(), InputError> {
    let is_kept = |unfit: &UnfitTarget| matches!(unfit.why, Unfit::Reserved | Unfit::Deep);
    match unfit_targets(targets).find(is_kept).filter(|_| role.is_top_level()) {
        Some(unfit) => Err(unfit.refused(role)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Extra, Hashes, TargetMap};

    #[test]
    fn a_path_that_leads_out_of_its_folder_or_into_ours_is_no_targets() {
        for path in
            ["team//x", "/etc/x", "..", "a/../b", "", "a\u{1b}b", &"n".repeat(300), ".tuf-x", "a/.TUF-x/b"]
        {
            assert!(Unfit::of_path(path).is_some(), "{path}");
        }
        for path in ["a", "a/b c", "\u{e9}/.x", "tuf-x", "..."] {
            assert_eq!(Unfit::of_path(path), None, "{path}");
        }
    }

    fn file(hashes: &[(&str, &str)]) -> TargetFile {
        let mut all = Hashes::default();
        hashes.iter().for_each(|(name, digest)| all.insert(name, digest));
        TargetFile { length: 1, hashes: all, custom: None, extra: Extra::new() }
    }

    #[test]
    fn a_text_in_the_place_of_a_digest_is_found_beside_a_good_one_too() {
        let (sha256, sha512) = ("0a".repeat(32), "1b".repeat(64));
        for (hashes, expected) in [
            (vec![("sha256", &*sha256)], None),
            (vec![("sha256", &*sha256), ("sha512", &*sha512)], None),
            (vec![("sha256", &*sha256), ("blake2b", "anything")], None),
            (vec![("blake2b", "anything")], Some(Unfit::UnknownDigests)),
            (vec![("sha256", "../../x")], Some(Unfit::Digest(Algorithm::Sha256))),
            (vec![("sha256", "")], Some(Unfit::Digest(Algorithm::Sha256))),
            (vec![("sha256", &*sha512)], Some(Unfit::Digest(Algorithm::Sha256))),
            (vec![("sha256", &sha256[1..])], Some(Unfit::Digest(Algorithm::Sha256))),
            (vec![("sha256", &*sha256), ("sha512", "zz")], Some(Unfit::Digest(Algorithm::Sha512))),
        ] {
            let map = TargetMap::of([("a", file(&hashes)), ("b", file(&[("sha256", &sha256)]))]).unwrap();
            let mut targets = Targets::new(chrono::DateTime::UNIX_EPOCH);
            targets.targets = map;
            let found: Vec<UnfitTarget> = unfit_targets(&targets).collect();
            let expected = expected.map(|why| UnfitTarget { path: "a".to_owned(), why });
            assert_eq!(found, Vec::from_iter(expected), "{hashes:?}");
        }
    }
}
