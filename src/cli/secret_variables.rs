//! Variables of the environment that hold secrets for this program. Another program that it starts, such as an `exec:`
//! signer, is not given them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::failure::Failure;
use super::key_argument::{KeyArgument, Place};
use crate::repository::Policy;

/// The flags whose value is the name of a variable that holds passwords.
const PASSWORD_FLAGS: [&str; 2] = ["password_env", "new_password_env"];

/// The variables that a command line and the policy of a repository name as secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretVariables {
    typed: BTreeSet<String>,
    repository: Option<PathBuf>,
}

impl SecretVariables {
    /// Finds the variables that a command line names: by `env:` anywhere, and by the flags for passwords.
    pub fn typed_in(matches: &ArgMatches) -> Self {
        let mut typed = BTreeSet::new();
        collect(matches, &mut typed);
        Self { typed, repository: None }
    }

    /// Adds the `env:` keys of the policy in a repository's folder. The policy is read when [`Self::names`] is called.
    pub fn with_policy_of(self, repository: &Path) -> Self {
        Self { repository: Some(repository.to_owned()), ..self }
    }

    /// Returns the names of the variables, those of all roles' keys among them.
    ///
    /// # Errors
    /// Of kind `Usage` where the policy cannot be read: nobody knows then what is secret.
    pub fn names(&self) -> Result<BTreeSet<String>, Failure> {
        let mut names = self.typed.clone();
        if let Some(repository) = &self.repository {
            let policy = Policy::read(repository).map_err(|error| Failure::usage(error.to_string()))?;
            names.extend(policy.keys().iter().filter_map(|key| variable_of(key)));
        }
        Ok(names)
    }
}

/// Takes the names out of the arguments of a command and of its subcommand.
fn collect(matches: &ArgMatches, names: &mut BTreeSet<String>) {
    for id in matches.ids() {
        let Ok(Some(values)) = matches.try_get_raw(id.as_str()) else { continue };
        let values = values.filter_map(|value| value.to_str());
        if PASSWORD_FLAGS.contains(&id.as_str()) {
            names.extend(values.map(str::to_owned));
        } else {
            names.extend(values.filter_map(variable_of));
        }
    }
    if let Some((_, matches)) = matches.subcommand() {
        collect(matches, names);
    }
}

/// Returns the variable that a key reference names.
fn variable_of(reference: &str) -> Option<String> {
    match reference.parse::<KeyArgument>().ok()?.place() {
        Place::Variable(name) => Some(name.clone()),
        Place::File(_) | Place::Command(_) | Place::Agent(_) | Place::Token(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    fn typed(words: &[&str]) -> Vec<String> {
        let flag = |name| Arg::new(name).long(name).action(ArgAction::Append);
        let inner = Command::new("inner")
            .arg(Arg::new("role"))
            .arg(flag("key"))
            .arg(Arg::new("password_env").long("password-env").action(ArgAction::Append))
            .arg(Arg::new("new_password_env").long("new-password-env"))
            .arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue));
        let matches = Command::new("tool").subcommand(inner).try_get_matches_from(words).unwrap();
        SecretVariables::typed_in(&matches).names().unwrap().into_iter().collect()
    }

    #[test]
    fn every_way_to_name_a_variable_is_found() {
        let words =
            ["tool", "inner", "env:A", "--key", "env:B", "--key=env:C", "--password-env", "D", "--quiet"];
        assert_eq!(typed(&words), ["A", "B", "C", "D"]);
        let words = ["tool", "inner", "--password-env=A", "--password-env=B", "--new-password-env", "C"];
        assert_eq!(typed(&words), ["A", "B", "C"]);
        let words = ["tool", "inner", "A", "--key", "file:env:B", "--key=./env:C", "--key", "exec:env D"];
        assert_eq!(typed(&words), [""; 0]);
    }

    #[test]
    fn the_keys_of_every_role_of_the_policy_are_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = SecretVariables::default().with_policy_of(folder.path());
        assert!(secrets.names().unwrap().is_empty());
        let policy = "[roles.root]\nkeys = [\"env:ROOT\", \"a/file\"]\n[roles.'a b']\nkeys = ['exec:x', 'env:OTHER']\n";
        std::fs::write(folder.path().join("tuf-repo.toml"), policy).unwrap();
        assert_eq!(secrets.names().unwrap().into_iter().collect::<Vec<_>>(), ["OTHER", "ROOT"]);
        std::fs::write(folder.path().join("tuf-repo.toml"), "[roles").unwrap();
        assert!(secrets.names().is_err());
    }
}
