//! Targets that no client takes, whoever lists them: by their paths, or by what stands in the place of a digest. One rule for
//! every way in (a file, a manifest, an import, another repository), and for what checks find. Of what has been live elsewhere only
//! the paths are refused, not the digests.

use std::fmt;

use super::bins::{Delegatee, delegatees};
use super::error::InputError;
use crate::metadata::{Algorithm, RoleName, TargetFile, TargetPath, Targets};

/// Why no client takes a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// A part of its path begins with `.tuf-`.
    Reserved,
    /// Its path has more than [`TargetPath::MOST_PARTS`] parts.
    Deep,
    /// What is listed as its digest by an algorithm is no digest.
    Digest(Algorithm),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => {
                f.write_str("names that begin with .tuf- are kept for files of tuf-repo and tuf-fetch")
            }
            Self::Deep => write!(f, "clients take at most {} parts between slashes", TargetPath::MOST_PARTS),
            Self::Digest(algorithm) => write!(f, "its {} is no digest in hexadecimal", algorithm.name()),
        }
    }
}

impl Unfit {
    /// Judges a path, also one that is no [`TargetPath`].
    pub(super) fn of_path(path: &str) -> Option<Self> {
        if TargetPath::is_reserved_name(path) {
            return Some(Self::Reserved);
        }
        TargetPath::is_deep_name(path).then_some(Self::Deep)
    }

    fn of_digests(file: &TargetFile) -> Option<Self> {
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
        let why = Unfit::of_path(&path).or_else(|| Unfit::of_digests(&file))?;
        Some(UnfitTarget { path: path.into_owned(), why })
    })
}

/// Refuses metadata made elsewhere that lists targets which no client takes, or that leads to names of roles that would not do
/// here either.
///
/// # Errors
/// [`InputError::Unfit`], [`InputError::RoleName`].
pub(super) fn refuse_unfit(role: &RoleName, targets: &Targets) -> Result<(), InputError> {
    match unfit_targets(targets).next() {
        Some(unfit) => Err(unfit.refused(role)),
        None => refuse_role_names(targets),
    }
}

/// Refuses as [`refuse_unfit`] does what has been live elsewhere. There a text in the place of a digest harms nobody but whoever
/// has listed it: clients pass that target by, and checks find it.
///
/// # Errors
/// As [`refuse_unfit`].
pub(super) fn refuse_unfit_paths(role: &RoleName, targets: &Targets) -> Result<(), InputError> {
    match unfit_targets(targets).find(|unfit| !matches!(unfit.why, Unfit::Digest(_))) {
        Some(unfit) => Err(unfit.refused(role)),
        None => refuse_role_names(targets),
    }
}

fn refuse_role_names(targets: &Targets) -> Result<(), InputError> {
    for delegatee in targets.delegations.as_ref().map(delegatees).unwrap_or_default() {
        match delegatee {
            Delegatee::Role(role) => drop(RoleName::parse(role.as_str())?),
            Delegatee::Bins(set) => drop(RoleName::parse(&set.name(0))?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Extra, Hashes, TargetMap};

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
            (vec![("sha256", "../../x")], Some(Algorithm::Sha256)),
            (vec![("sha256", "")], Some(Algorithm::Sha256)),
            (vec![("sha256", &*sha512)], Some(Algorithm::Sha256)),
            (vec![("sha256", &sha256[1..])], Some(Algorithm::Sha256)),
            (vec![("sha256", &*sha256), ("sha512", "zz")], Some(Algorithm::Sha512)),
        ] {
            let map = TargetMap::of([("a", file(&hashes)), ("b", file(&[("sha256", &sha256)]))]).unwrap();
            let mut targets = Targets::new(chrono::DateTime::UNIX_EPOCH);
            targets.targets = map;
            let found: Vec<UnfitTarget> = unfit_targets(&targets).collect();
            let expected =
                expected.map(|algorithm| UnfitTarget { path: "a".to_owned(), why: Unfit::Digest(algorithm) });
            assert_eq!(found, Vec::from_iter(expected), "{hashes:?}");
        }
    }
}
