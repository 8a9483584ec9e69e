//! Where trust begins: the first root of a local folder.

use chrono::{DateTime, Utc};

use super::updater::fetch_metadata;
use super::{ClientError, Fetcher, Limits, LocalMetadata, Mirrors, urls};
use crate::metadata::{KeyId, Metadata, RoleName, Root};
use crate::trusted_set::{TrustError, TrustedMetadataSet};
use crate::verify::Delegator;

/// Stores a root that the caller trusts, byte for byte, and returns its version. Its expiry does not matter: newer
/// roots may follow it (5.2).
///
/// The same bytes again are fine; a local root that is damaged is replaced.
///
/// # Errors
/// [`ClientError::Trust`] where it is not a root signed by its own keys, [`ClientError::AlreadyInitialised`] where
/// another one is trusted already, [`ClientError::Local`].
pub fn init(local: &LocalMetadata, root: &[u8], now: DateTime<Utc>) -> Result<u64, ClientError> {
    let version = TrustedMetadataSet::new(root, now)?.root().version;
    let _lock = local.lock()?;
    if let Some(present) = local.load(&RoleName::root())? {
        if present == root {
            local.mark()?;
            return Ok(version);
        }
        if let Ok(trusted) = TrustedMetadataSet::new(&present, now) {
            let version = trusted.root().version;
            return Err(ClientError::AlreadyInitialised { path: local.path().to_owned(), version });
        }
    }
    // before the root: with it the folder is a client's, however the next run finds it
    local.mark()?;
    local.store(&RoleName::root(), root)?;
    Ok(version)
}

/// How a first root that comes from a repository is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstRoot {
    /// Whoever answers is believed.
    TrustFirstUse,
    /// It must be signed, to its own threshold, by keys with these ids. An id counts only where it is the hash of the
    /// key that it names: a root may name its keys as it likes.
    Pinned(Vec<KeyId>),
}

/// Takes the first root (`1.root.json`) from a repository and returns its version. Never a second time.
///
/// # Errors
/// As [`init`]; [`ClientError::AlreadyInitialised`] also where the very same root is trusted already, and
/// [`ClientError::NotPinned`].
pub fn init_from_repository(
    local: &LocalMetadata,
    fetcher: &dyn Fetcher,
    mirrors: &Mirrors,
    first: &FirstRoot,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<u64, ClientError> {
    let role = RoleName::root();
    if let Some(present) = local.load(&role)? {
        let version = TrustedMetadataSet::new(&present, now)?.root().version;
        return Err(ClientError::AlreadyInitialised { path: local.path().to_owned(), version });
    }
    let root = mirrors.attempt(&role, |mirror| {
        let url = urls::metadata(&mirror.metadata, &role, Some(1));
        let root = fetch_metadata(fetcher, &url, &role, limits.root)?;
        let found = TrustedMetadataSet::new(&root, now)?.root().version;
        if found != 1 {
            return Err(TrustError::Version { role: role.clone(), expected: 1, found }.into());
        }
        if let FirstRoot::Pinned(pins) = first {
            check_pins(&root, pins)?;
        }
        Ok(root)
    })?;
    init(local, &root, now)
}

/// Checks that keys whose hashes are pinned signed a root, to its threshold.
fn check_pins(bytes: &[u8], pins: &[KeyId]) -> Result<(), ClientError> {
    let role = RoleName::root();
    let invalid = |reason| TrustError::Invalid { role: role.clone(), reason };
    let root: Metadata<Root> = Metadata::from_bytes(bytes).map_err(invalid)?;
    let authority = root
        .signed()
        .authority(&role)
        .ok_or(TrustError::NotDelegated { role: role.clone(), delegator: role.clone() })?;
    let pinned = authority.with_only(|id, key| pins.contains(id) && key.id() == *id);
    let result = pinned.check(root.covered());
    if result.is_verified() {
        return Ok(());
    }
    let (version, found) = (root.signed().version, result.signed().len());
    Err(ClientError::NotPinned { version, found, threshold: result.threshold() })
}
