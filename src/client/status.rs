//! What a local folder holds, without a request: each role, its version, and whether it would still be trusted.

use chrono::{DateTime, Utc};

use super::{ClientError, LocalMetadata};
use crate::metadata::{Metadata, RoleName, Root, Signed, Snapshot, Targets, Timestamp};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet};

/// A role's file in a local folder.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRole {
    /// The role.
    pub role: RoleName,
    /// The version and the expiry that the file states; `None` where it is not metadata.
    pub stated: Option<(u64, DateTime<Utc>)>,
    /// Whether it is trusted.
    pub standing: Standing,
}

/// Whether local metadata is trusted.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is.
    Trusted,
    /// It was, until it expired.
    Expired,
    /// It is of no use any more: what the next update would say of it.
    Refused(TrustError),
    /// A delegated role: whoever delegates to it decides when it is needed.
    NotJudged,
}

/// Describes the roles of a local folder: the top-level ones in the order of the workflow, then the delegated ones.
///
/// # Errors
/// [`ClientError::NotInitialised`], [`ClientError::Local`], and [`ClientError::Trust`] where the root is not one.
pub fn status(local: &LocalMetadata, now: DateTime<Utc>) -> Result<Vec<LocalRole>, ClientError> {
    let not_initialised = || ClientError::NotInitialised { path: local.path().to_owned() };
    let root = local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
    let mut trusted = TrustedMetadataSet::new(&root, now)?;
    let mut roles = vec![described::<Root>(RoleName::root(), &root, trusted.check_root_expiry())];
    if let Some(bytes) = local.load(&RoleName::timestamp())? {
        let judged = trusted.update_timestamp(&bytes).map(|_| ());
        roles.push(described::<Timestamp>(RoleName::timestamp(), &bytes, judged));
    }
    if let Some(bytes) = local.load(&RoleName::snapshot())? {
        let judged = trusted.update_snapshot(&bytes, Origin::Local).map(|_| ());
        roles.push(described::<Snapshot>(RoleName::snapshot(), &bytes, judged));
    }
    if let Some(bytes) = local.load(&RoleName::targets())? {
        let judged = trusted.update_targets(&bytes, &RoleName::targets(), &RoleName::root()).map(|_| ());
        roles.push(described::<Targets>(RoleName::targets(), &bytes, judged));
    }
    for role in local.roles()?.into_iter().filter(|role| !role.is_top_level()) {
        if let Some(bytes) = local.load(&role)? {
            let stated = stated::<Targets>(&bytes);
            roles.push(LocalRole { role, stated, standing: Standing::NotJudged });
        }
    }
    Ok(roles)
}

fn described<T: Signed>(role: RoleName, bytes: &[u8], judged: Result<(), TrustError>) -> LocalRole {
    let standing = match judged {
        Ok(()) => Standing::Trusted,
        Err(TrustError::Expired { role: expired, .. }) if expired == role => Standing::Expired,
        Err(error) => Standing::Refused(error),
    };
    LocalRole { role, stated: stated::<T>(bytes), standing }
}

fn stated<T: Signed>(bytes: &[u8]) -> Option<(u64, DateTime<Utc>)> {
    let metadata: Metadata<T> = Metadata::from_bytes(bytes).ok()?;
    Some((metadata.signed().version(), metadata.signed().expires()))
}
