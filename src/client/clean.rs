//! Removes what the trusted state does not vouch for: metadata of no use any more, targets that are not listed or are
//! not what is listed. Without a request; what has expired was trusted once and stays.

use std::collections::BTreeSet;
use std::io;

use chrono::{DateTime, Utc};

use super::confined::Folder;
use super::transfer::holds;
use super::{ClientError, Limits, LocalMetadata, TargetDir};
use crate::metadata::{RoleName, TargetFile};
use crate::trusted_set::{Origin, TargetSearch, TrustError, TrustedMetadataSet, Visit};
use crate::verify::Delegator;

/// What [`clean`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Roles whose files are gone.
    pub roles: Vec<RoleName>,
    /// Paths below the target folder that are gone.
    pub targets: Vec<String>,
    /// Whether targets could be judged.
    pub judged: Judged,
}

/// Whether there is enough metadata to judge targets by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Judged {
    /// There is.
    #[default]
    All,
    /// An update has not come as far as the targets metadata: delegated metadata and targets were left alone.
    MetadataOnly,
}

/// Removes from a folder of metadata, and from a folder of targets if there is one, what is not trusted.
///
/// # Errors
/// [`ClientError::NotInitialised`], [`ClientError::Local`], and [`ClientError::Trust`] where the root is not one.
pub fn clean(
    local: &LocalMetadata,
    targets: Option<&TargetDir>,
    limits: &Limits,
) -> Result<Cleaned, ClientError> {
    let not_initialised = || ClientError::NotInitialised { path: local.path().to_owned() };
    let _lock = local.lock()?;
    let root = local.load(&RoleName::root())?.ok_or_else(not_initialised)?;
    // at the beginning of time nothing has expired
    let mut trusted = TrustedMetadataSet::new(&root, DateTime::<Utc>::MIN_UTC)?;
    let mut vouched = BTreeSet::from([RoleName::root()]);
    let judged = vouch(local, &mut trusted, &mut vouched)?;
    let mut cleaned = Cleaned { judged, ..Cleaned::default() };
    for role in local.roles()? {
        let is_judged =
            judged == Judged::All || [RoleName::timestamp(), RoleName::snapshot()].contains(&role);
        if is_judged && !vouched.contains(&role) {
            local.remove(&role)?;
            cleaned.roles.push(role);
        }
    }
    if let Some(dir) = targets.filter(|_| judged == Judged::All) {
        let keep = |path: &str, file: &std::fs::File| match listed(&trusted, path, limits) {
            Some(info) => holds(file, &info),
            None => Ok(false),
        };
        dir.clean(&keep, &mut cleaned.targets)?;
    }
    Ok(cleaned)
}

/// Finds the roles whose files are trusted, each through one delegation at least.
fn vouch(
    local: &LocalMetadata,
    trusted: &mut TrustedMetadataSet,
    vouched: &mut BTreeSet<RoleName>,
) -> Result<Judged, ClientError> {
    let role = RoleName::timestamp();
    if let Some(bytes) = local.load(&role)?
        && trusted.update_timestamp(&bytes).is_ok()
    {
        vouched.insert(role);
    }
    let role = RoleName::snapshot();
    if let Some(bytes) = local.load(&role)? {
        match trusted.update_snapshot(&bytes, Origin::Local) {
            // an older one still protects the next one against a rollback
            Ok(_) | Err(TrustError::Version { .. }) => drop(vouched.insert(role)),
            Err(_) => {}
        }
    }
    let mut pending = vec![Visit { role: RoleName::targets(), delegator: RoleName::root() }];
    while let Some(Visit { role, delegator }) = pending.pop() {
        if vouched.contains(&role) {
            continue;
        }
        let Some(bytes) = local.load(&role)? else { continue };
        let Ok(targets) = trusted.update_targets(&bytes, &role, &delegator) else { continue };
        if let Some(delegations) = &targets.delegations {
            let roles = local.roles()?.into_iter().filter(|child| delegations.authority(child).is_some());
            pending.extend(roles.map(|child| Visit { role: child, delegator: role.clone() }));
        }
        vouched.insert(role);
    }
    let complete = vouched.contains(&RoleName::targets());
    Ok(if complete { Judged::All } else { Judged::MetadataOnly })
}

/// Returns what the role that answers for a path says of it.
fn listed(trusted: &TrustedMetadataSet, path: &str, limits: &Limits) -> Option<TargetFile> {
    let mut search = TargetSearch::new(path, limits.delegations.saturating_add(1));
    while let Some(visit) = search.next_visit() {
        if let Some(info) = search.look(&visit, trusted.targets(&visit.role)?) {
            return Some(info);
        }
    }
    None
}

/// Removes from a folder and those below it whatever is not a file to keep; folders that became empty go too.
pub(super) fn clean_folder(
    folder: &Folder,
    above: &str,
    keep: &dyn Fn(&str, &std::fs::File) -> io::Result<bool>,
    removed: &mut Vec<String>,
) -> io::Result<()> {
    for name in folder.names()? {
        let path = format!("{above}{name}");
        if let Ok(Some(below)) = folder.folder(&name) {
            let before = removed.len();
            clean_folder(&below, &format!("{path}/"), keep, removed)?;
            if removed.len() > before && below.names()?.is_empty() {
                folder.remove_folder(&name)?;
            }
            continue;
        }
        // a link, a pipe and the like are no targets
        if let Ok(Some(file)) = folder.file(&name)
            && keep(&path, &file)?
        {
            continue;
        }
        folder.remove(&name)?;
        removed.push(path);
    }
    Ok(())
}
