//! Target files that are listed: shown, and taken off the list.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Repository;
use super::error::{InputError, RepositoryError};
use super::listing::Lister;
use super::staged::RoleState;
use crate::metadata::{RoleName, TargetFile, pattern_matches};

/// A target and the role that lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The role.
    pub role: RoleName,
    /// What is listed.
    pub file: TargetFile,
}

impl Repository {
    /// Returns the targets that match any of the patterns, all of them where there is no pattern, with drafts in force.
    /// Of a path that several roles list, the one that clients find first.
    ///
    /// # Errors
    /// [`InputError::NoMatch`] for a pattern that matches nothing.
    pub fn list(&self, patterns: &[String]) -> Result<BTreeMap<String, Listed>, RepositoryError> {
        let mut listed = BTreeMap::new();
        let mut matched = vec![false; patterns.len()];
        for role in self.staged.graph().order {
            let Some(targets) = self.staged.targets(&role).and_then(RoleState::effective) else { continue };
            for (path, file) in &targets.targets {
                let hits = hits(patterns, &path, &mut matched);
                if hits || patterns.is_empty() {
                    listed.entry(path.into_owned()).or_insert_with(|| Listed { role: role.clone(), file });
                }
            }
        }
        refuse_unmatched(patterns, &matched)?;
        Ok(listed)
    }

    /// Takes targets off the list of a role, or of every role that lists them. The files stay. Returns the paths by role.
    ///
    /// # Errors
    /// [`InputError::NoMatch`] for a pattern that matches nothing.
    pub fn remove_targets(
        &mut self,
        patterns: &[String],
        role: Option<&RoleName>,
    ) -> Result<BTreeMap<RoleName, Vec<String>>, RepositoryError> {
        let roles = self.roles_to_search(patterns, role)?;
        let mut matched = vec![false; patterns.len()];
        let mut removed: BTreeMap<RoleName, Vec<String>> = BTreeMap::new();
        for role in roles {
            let Some(targets) = self.staged.targets(&role).and_then(RoleState::effective) else { continue };
            let hit = targets.targets.keys().filter(|path| hits(patterns, path, &mut matched));
            let paths: Vec<String> = hit.map(Cow::into_owned).collect();
            if !paths.is_empty() {
                removed.insert(role, paths);
            }
        }
        refuse_unmatched(patterns, &matched)?;
        for (role, paths) in &removed {
            let expires = self.expiry(role)?;
            self.staged.read_bin(role)?;
            let Some(state) = self.staged.targets_mut(role) else { continue };
            let edited = state.edit(expires, |targets| {
                targets.targets.retain(|path| paths.binary_search_by(|gone| gone.as_str().cmp(path)).is_err())
            });
            edited.map_err(|reason| InputError::Canonical { what: role.to_string(), reason })?;
        }
        Ok(removed)
    }

    /// Returns the roles that may list what the patterns match. Hash bins are read: those that the patterns fall into where
    /// they are plain paths, else all.
    fn roles_to_search(
        &mut self,
        patterns: &[String],
        role: Option<&RoleName>,
    ) -> Result<Vec<RoleName>, RepositoryError> {
        let sets = match role.map(|role| self.lister(role)).transpose()? {
            Some(Lister::Role(role)) => {
                self.staged.read_bin(&role)?;
                return Ok(vec![role]);
            }
            Some(Lister::Bins { set, .. }) => vec![set],
            None => self.staged.graph().bins.into_iter().map(|set| set.bins).collect(),
        };
        let plain = !patterns.iter().any(|pattern| pattern.contains(['*', '?', '[']));
        let mut bins = Vec::new();
        for set in sets {
            let names = match plain {
                true => patterns.iter().filter_map(|path| set.bin(set.index_for(path))).collect(),
                false => self.staged.listed_bins(&set),
            };
            self.staged.read_bins_named(names)?;
            bins.extend(self.staged.bins_read(&set));
        }
        Ok(if role.is_some() { bins } else { self.staged.graph().order })
    }
}

/// Tells whether any pattern matches a path, and notes which did. A path always matches itself.
fn hits(patterns: &[String], path: &str, matched: &mut [bool]) -> bool {
    let mut any = false;
    for (pattern, matched) in patterns.iter().zip(matched) {
        if pattern == path || pattern_matches(pattern, path) {
            *matched = true;
            any = true;
        }
    }
    any
}

fn refuse_unmatched(patterns: &[String], matched: &[bool]) -> Result<(), InputError> {
    let unmatched = patterns.iter().zip(matched).find(|(_, matched)| !**matched);
    unmatched.map_or(Ok(()), |(pattern, _)| Err(InputError::NoMatch(pattern.escape_debug().to_string())))
}
