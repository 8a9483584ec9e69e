//! Lint with advice: nothing here stops a client today, and each of it has stranded or exposed somebody.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use super::check::{Finding, Severity};
use super::error::{AtPath, InputError, RepositoryError};
use super::history::{HISTORY, History};
use super::layout::{Layout, STAGED, parse_plain, parse_versioned};
use super::sign::signing_order_of;
use super::unfit::unfit_targets;
use super::view::View;
use crate::crypto::{Fingerprint, fingerprint, rsa_bits};
use crate::metadata::{Key, KeyId, RoleName, Targets, pattern_matches, time};
use crate::verify::Authority;

/// RSA keys below this many bits are pointed out: NIST SP 800-57 rates 3072 bits at 128 bits of security.
const ADVISED_RSA_BITS: usize = 3072;

impl Repository {
    /// Looks at the staged state, drafts in force, for what a maintainer may come to regret.
    ///
    /// # Errors
    /// [`RepositoryError::Io`] where a folder cannot be read.
    pub fn doctor(&self) -> Result<Vec<Finding>, RepositoryError> {
        let view = self.staged.effective();
        let mut doctor = Doctor { repository: self, view, findings: Vec::new() };
        doctor.damaged();
        doctor.history()?;
        doctor.keys();
        doctor.expired();
        doctor.expiry_order();
        doctor.delegations();
        doctor.stale_files()?;
        Ok(doctor.findings)
    }
}

struct Doctor<'a> {
    repository: &'a Repository,
    view: View<'a>,
    findings: Vec<Finding>,
}

impl<'a> Doctor<'a> {
    fn advise(&mut self, role: Option<&RoleName>, file: Option<String>, message: String) {
        self.findings.push(Finding { severity: Severity::Warning, role: role.cloned(), file, message });
    }

    fn damaged(&mut self) {
        let staged = self.repository.staged();
        for (role, damage) in staged.damaged().filter(|(role, _)| staged.damage(role).is_some()) {
            let message = format!("{}, and no client gets anything from it", damage.reason);
            self.advise(Some(role), Some(damage.file.clone()), message);
        }
    }

    /// Names a line of the history that cannot be read: all that changes the repository is refused because of it.
    fn history(&mut self) -> Result<(), RepositoryError> {
        match History::recorded(&self.repository.dir) {
            Err(RepositoryError::Input(InputError::History { line, reason, .. })) => {
                let advice = "keep the lines of both sides of the merge, and no others";
                self.advise(None, Some(HISTORY.to_owned()), format!("line {line} {reason}: {advice}"));
                Ok(())
            }
            read => read.map(drop),
        }
    }

    fn keys(&mut self) {
        let graph = self.view.graph();
        let mut holders: BTreeMap<Fingerprint, BTreeSet<RoleName>> = BTreeMap::new();
        let mut names: BTreeMap<Fingerprint, KeyId> = BTreeMap::new();
        for role in signing_order_of(graph.representatives()) {
            let current =
                self.view.authorities(&role, &graph).into_iter().filter(|(_, old_root)| old_root.is_none());
            for (authority, _) in current {
                for (id, key) in authority.keys() {
                    if let Some(identity) = key.and_then(fingerprint) {
                        holders.entry(identity).or_default().insert(role.clone());
                        names.entry(identity).or_insert_with(|| (*id).clone());
                    }
                }
                self.threshold(&role, &authority);
                self.weak_keys(&role, &authority);
            }
        }
        for (identity, roles) in holders.into_iter().filter(|(_, roles)| roles.len() > 1) {
            let names = names.get(&identity).map_or_else(String::new, |id| id.short().to_owned());
            let roles: Vec<String> = roles.iter().map(|role| format!("'{role}'")).collect();
            self.advise(
                None,
                None,
                format!("key {names} signs for {}: whoever takes it has them all", roles.join(" and ")),
            );
        }
        self.unused_keys();
    }

    fn threshold(&mut self, role: &RoleName, authority: &Authority<'_>) {
        let keys = authority.distinct_keys();
        if role.as_str() == "root" && keys as u64 == authority.threshold().get() {
            let message = format!(
                "all of its {keys} keys must sign: the loss of one ends the repository. Add a spare key"
            );
            self.advise(Some(role), None, message);
        }
    }

    fn weak_keys(&mut self, role: &RoleName, authority: &Authority<'_>) {
        for (id, key) in authority.keys() {
            if let Some(bits) = key.and_then(rsa_bits).filter(|bits| *bits < ADVISED_RSA_BITS) {
                let message =
                    format!("RSA key {} has {bits} bits, fewer than {ADVISED_RSA_BITS}", id.short());
                self.advise(Some(role), None, message);
            }
        }
    }

    fn unused_keys(&mut self) {
        let mut unused: Vec<(RoleName, KeyId)> = Vec::new();
        if let Some(root) = self.view.root() {
            let used: BTreeSet<&KeyId> = root.roles.values().flat_map(|role| &role.keyids).collect();
            unused.extend(unused_in(&root.keys, &used).map(|id| (RoleName::root(), id)));
        }
        for role in self.view.graph().order {
            let Some(delegations) = self.view.targets(&role).and_then(|targets| targets.delegations.as_ref())
            else {
                continue;
            };
            let bins = delegations.succinct_roles.iter().flat_map(|bins| &bins.keyids);
            let used: BTreeSet<&KeyId> =
                delegations.roles().iter().flat_map(|role| &role.keyids).chain(bins).collect();
            unused.extend(unused_in(&delegations.keys, &used).map(|id| (role.clone(), id)));
        }
        for (role, id) in unused {
            self.advise(Some(&role), None, format!("nobody uses its key {}", id.short()));
        }
    }

    /// Points out what has expired, a role of another team too: clients get nothing from it.
    fn expired(&mut self) {
        let staged = self.repository.staged();
        let top = [RoleName::root(), RoleName::snapshot(), RoleName::timestamp()];
        for role in top.into_iter().chain(self.view.graph().order) {
            let Some(state) = staged.role(&role) else { continue };
            let Some(expires) = state.expires().filter(|expires| *expires <= self.repository.now) else {
                continue;
            };
            let version = state.draft_version().or_else(|| state.written_version());
            let version = version.map(|version| format!(" v{version}")).unwrap_or_default();
            let message =
                format!("{role}{version} expired on {}: clients get nothing from it", time::format(&expires));
            self.advise(Some(&role), None, message);
        }
    }

    /// What is signed most often should expire first: a timestamp that outlives the snapshot serves nobody.
    fn expiry_order(&mut self) {
        let staged = self.repository.staged();
        let expires = |role: &RoleName| staged.role(role).and_then(|state| state.expires());
        let order = [RoleName::timestamp(), RoleName::snapshot(), RoleName::targets(), RoleName::root()];
        for pair in order.windows(2) {
            let Some((sooner, later)) = expires(&pair[0]).zip(expires(&pair[1])) else { continue };
            if sooner > later {
                self.advise(Some(&pair[1]), None, format!("expires before '{}', which follows it", pair[0]));
            }
        }
    }

    fn delegations(&mut self) {
        let graph = self.view.graph();
        for role in &graph.order {
            let Some(targets) = self.view.targets(role) else { continue };
            self.slashes(role, targets);
            self.unfit_targets(role, targets);
            let Some(delegations) = &targets.delegations else { continue };
            for delegated in delegations.roles() {
                let below: Vec<&'a Targets> =
                    self.below(&delegated.name).iter().filter_map(|role| self.view.targets(role)).collect();
                for pattern in delegated.paths.iter().flatten() {
                    let mut paths = below.iter().flat_map(|targets| targets.targets.keys());
                    if !paths.any(|path| pattern_matches(pattern, &path)) {
                        let message = format!(
                            "the pattern '{}' for '{}' matches no target",
                            pattern.escape_debug(),
                            delegated.name
                        );
                        self.advise(Some(role), None, message);
                    }
                }
            }
        }
    }

    fn slashes(&mut self, role: &RoleName, targets: &Targets) {
        let delegated = targets.delegations.iter().flat_map(|delegations| delegations.roles());
        let patterns = delegated.flat_map(|role| role.paths.iter().flatten());
        for pattern in patterns.filter(|pattern| pattern.starts_with('/')) {
            let message = format!(
                "the pattern '{}' starts with a slash, and clients differ on that",
                pattern.escape_debug()
            );
            self.advise(Some(role), None, message);
        }
        for path in targets.targets.keys().filter(|path| path.starts_with('/')) {
            let message = format!(
                "the target '{}' starts with a slash, and clients differ on that",
                path.escape_debug()
            );
            self.advise(Some(role), None, message);
        }
    }

    fn unfit_targets(&mut self, role: &RoleName, targets: &Targets) {
        unfit_targets(targets).for_each(|unfit| self.advise(Some(role), None, unfit.words()));
    }

    /// Returns a role and all that it delegates to in the end.
    fn below(&self, role: &RoleName) -> BTreeSet<RoleName> {
        let mut below = BTreeSet::new();
        let mut pending = vec![role.clone()];
        while let Some(role) = pending.pop() {
            if let Some(targets) = self.view.targets(&role).filter(|_| below.insert(role.clone())) {
                pending.extend(self.repository.staged().delegated_by(targets));
            }
        }
        below
    }

    /// Points out metadata of roles that the snapshot does not know.
    fn stale_files(&mut self) -> Result<(), RepositoryError> {
        let staged = self.repository.staged();
        let Some(snapshot) = staged.snapshot.written.as_ref().map(|written| written.signed()) else {
            return Ok(());
        };
        let folder = staged.folder();
        for name in folder.names().at(folder.path())? {
            let role = match staged.layout() {
                Layout::Consistent => parse_versioned(&name).map(|(_, role)| role),
                Layout::Plain => parse_versioned(&name).map(|(_, role)| role).or_else(|| parse_plain(&name)),
            };
            let Some(role) = role.filter(RoleName::lists_targets) else { continue };
            if snapshot.role(&role).is_none() {
                let message = format!("no snapshot lists '{role}': the file is left over");
                self.advise(Some(&role), Some(format!("{STAGED}/{name}")), message);
            }
        }
        Ok(())
    }
}

fn unused_in<'k>(
    keys: &'k BTreeMap<KeyId, Key>,
    used: &'k BTreeSet<&KeyId>,
) -> impl Iterator<Item = KeyId> + 'k {
    keys.keys().filter(|id| !used.contains(id)).cloned()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::testing::{keys, open, repository, scratch, start, write};
    use super::super::{Delegation, Trust};
    use super::*;
    use crate::crypto::Signer;
    use crate::metadata::Threshold;

    fn messages(repository: &Repository) -> Vec<String> {
        let named =
            |finding: &Finding| finding.role.as_ref().map(|role| format!("{role}: ")).unwrap_or_default();
        repository
            .doctor()
            .unwrap()
            .iter()
            .map(|finding| format!("{}{}", named(finding), finding.message))
            .collect()
    }

    #[test]
    fn points_out_what_may_be_regretted_one_day() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start());
        assert_eq!(
            messages(&repository),
            ["root: all of its 1 keys must sign: the loss of one ends the repository. Add a spare key"]
        );
        repository.add_key(&RoleName::root(), keys[1].public_key(), None).unwrap();
        repository.expire(&RoleName::snapshot(), start() + TimeDelta::hours(1)).unwrap();
        let trust = Trust::Paths(vec!["none/*".into()]);
        let delegation = Delegation {
            name: RoleName::parse("empty").unwrap(),
            from: RoleName::targets(),
            keys: vec![keys[2].public_key().clone()],
            threshold: Threshold::ONE,
            trust,
            terminating: false,
            before: None,
        };
        repository.delegate(delegation).unwrap();
        std::fs::write(dir.path().join("metadata.staged/7.gone.json"), "{}").unwrap();
        let found = messages(&repository).join("\n");
        for words in [
            "signs for 'root' and 'targets'",
            "signs for 'empty' and 'snapshot'",
            "snapshot: expires before 'timestamp', which follows it",
            "targets: the pattern 'none/*' for 'empty' matches no target",
            "gone: no snapshot lists 'gone': the file is left over",
        ] {
            assert!(found.contains(words), "{words} is not in\n{found}");
        }
        assert!(!found.contains("must sign"), "{found}");
    }

    #[test]
    fn rotating_a_key_leaves_its_role_to_be_signed_again() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let new = crate::crypto::PrivateKey::generate(crate::crypto::KeyType::Ed25519).unwrap();
        let mut repository = open(dir.path(), start());
        let old = super::super::KeyChoice::Key(keys[1].public_key().clone());
        let ((_, into), changed) = repository
            .rotate_key(&RoleName::targets(), &old, new.public_key(), None, super::super::DeadEnd::Refuse)
            .unwrap();
        assert!(changed && into == new.public_key().id());
        let status = repository.status().unwrap();
        let dirty: Vec<&str> = status.dirty().into_iter().map(RoleName::as_str).collect();
        assert_eq!(dirty, ["root", "targets", "snapshot", "timestamp"]);
        let [root, _, snapshot, timestamp] = keys;
        write(&mut repository, &[root, new, snapshot, timestamp]);
        drop(repository);
        let repository = open(dir.path(), start());
        assert!(repository.status().unwrap().dirty().is_empty());
        assert_eq!(
            repository
                .staged()
                .targets(&RoleName::targets())
                .unwrap()
                .written
                .as_ref()
                .unwrap()
                .signed()
                .version,
            2
        );
    }
}
