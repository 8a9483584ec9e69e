//! Where trust begins: the first root of a local folder.

use chrono::{DateTime, Utc};
use url::Url;

use super::updater::fetch_metadata;
use super::{ClientError, Fetcher, Limits, LocalMetadata, urls};
use crate::metadata::RoleName;
use crate::trusted_set::TrustedMetadataSet;

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
            return Ok(version);
        }
        if let Ok(trusted) = TrustedMetadataSet::new(&present, now) {
            let version = trusted.root().version;
            return Err(ClientError::AlreadyInitialised { path: local.path().to_owned(), version });
        }
    }
    local.store(&RoleName::root(), root)?;
    Ok(version)
}

/// Trusts the first root that a repository offers, whoever answers, and returns its version. Never a second time.
///
/// # Errors
/// As [`init`]; [`ClientError::AlreadyInitialised`] also where the very same root is trusted already.
pub fn trust_first_use(
    local: &LocalMetadata,
    fetcher: &dyn Fetcher,
    metadata: &Url,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<u64, ClientError> {
    let role = RoleName::root();
    if let Some(present) = local.load(&role)? {
        let version = TrustedMetadataSet::new(&present, now)?.root().version;
        return Err(ClientError::AlreadyInitialised { path: local.path().to_owned(), version });
    }
    let root = fetch_metadata(fetcher, &urls::metadata(metadata, &role, Some(1)), &role, limits.root)?;
    init(local, &root, now)
}
