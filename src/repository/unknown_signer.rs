//! Live metadata that is whole and that no known root leads to. It is not damage: a root was lost on the way to it, or
//! another repository is published there, and clients trust somebody whom nobody here knows.

use super::error::{AtPath, Refusal, RepositoryError};
use super::layout::{MAX_METADATA, METADATA, parse_versioned};
use crate::metadata::{KeyId, Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::storage::{Folder, ReadFiles};
use crate::verify::{Delegator, verify_self_signed};

/// A live file that no known root leads to.
#[derive(Debug, Clone)]
pub(super) struct Unreached {
    pub(super) name: String,
    /// The version, of a root.
    pub(super) root: Option<u64>,
}

impl Unreached {
    /// Refuses the place.
    pub(super) fn refused(&self) -> RepositoryError {
        RepositoryError::Refused {
            file: format!("{METADATA}/{}", self.name),
            reason: Refusal::Unreached { root: self.root },
        }
    }
}

/// The roots that are known: those that are written here, and those that clients reach.
pub(super) struct KnownRoots {
    roots: Vec<Root>,
    /// The newest root that clients reach at the place.
    reached: u64,
    /// The newest root that is written here.
    written: u64,
}

impl KnownRoots {
    /// Collects the roots that are written here, and others.
    ///
    /// # Errors
    /// [`RepositoryError::Io`].
    pub(super) fn of(
        written: &Folder,
        others: impl Iterator<Item = Vec<u8>>,
        reached: u64,
    ) -> Result<Self, RepositoryError> {
        let mut roots = Vec::new();
        for name in written.names().at(written.path())?.iter().filter(|name| is_root(name)) {
            let bytes = written.read(name, MAX_METADATA).at(written.file(name))?;
            roots.extend(bytes.and_then(|bytes| Metadata::<Root>::from_bytes(&bytes).ok()));
        }
        let mut roots: Vec<Root> = roots.into_iter().map(Metadata::into_signed).collect();
        let newest = roots.iter().map(|root| root.version).max().unwrap_or(0);
        let others = others.filter_map(|bytes| Metadata::<Root>::from_bytes(&bytes).ok());
        roots.extend(others.map(Metadata::into_signed));
        Ok(Self { roots, reached, written: newest })
    }

    /// Judges a live file of a top-level role that clients do not accept.
    pub(super) fn unreached(&self, name: &str, role: &RoleName, bytes: &[u8]) -> Option<Unreached> {
        let unreached = |root| Unreached { name: name.to_owned(), root };
        let is_stranger = match role.as_str() {
            "root" => {
                let root = Metadata::<Root>::from_bytes(bytes).ok()?;
                let version = root.signed().version;
                let is_stranger = self.is_strangers(role, &root);
                // a root of this copy that was damaged there is replaced
                let leads_on =
                    version > self.reached && (version > self.written || verify_self_signed(root).is_ok());
                return (is_stranger || leads_on).then(|| unreached(Some(version)));
            }
            "timestamp" => self.is_strangers(role, &Metadata::<Timestamp>::from_bytes(bytes).ok()?),
            "snapshot" => self.is_strangers(role, &Metadata::<Snapshot>::from_bytes(bytes).ok()?),
            "targets" => self.is_strangers(role, &Metadata::<Targets>::from_bytes(bytes).ok()?),
            _ => false,
        };
        is_stranger.then(|| unreached(None))
    }

    /// Tells whether metadata has a signature by a key that no known root names for the role. What has none is damaged.
    fn is_strangers<T: Signed>(&self, role: &RoleName, metadata: &Metadata<T>) -> bool {
        let names = |root: &Root, id: &KeyId| {
            root.authority(role)
                .is_some_and(|authority| authority.keys().iter().any(|(listed, _)| *listed == id))
        };
        let is_known = |id: &KeyId| self.roots.iter().any(|root| names(root, id));
        metadata.signatures.iter().any(|signature| !is_known(&signature.keyid))
    }
}

/// Tells whether a file of this name is a root.
pub(super) fn is_root(name: &str) -> bool {
    name == "root.json" || parse_versioned(name).is_some_and(|(_, role)| role.as_str() == "root")
}
