//! Arguments that several commands take.

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use tuf::cli::failure::{Failure, FailureKind};
use tuf::cli::keys::{KeyArgument, LoadedKey, describe, load_public, load_signers};
use tuf::cli::output::Format;
use tuf::cli::password_source::PasswordSource;
use tuf::cli::passwords::Passwords;
use tuf::cli::progress::Progress;
use tuf::cli::terminal::Interaction;
use tuf::cli::text::one_line;
use tuf::metadata::{RoleName, Threshold};
use tuf::repository::{DeadEnd, Finding, InputError, KeyChoice, Repository};

use super::counted::counted;
use crate::context::Context;
use crate::failure::failure;

/// The keys to sign with.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// A private key to sign with: a path or a reference (file:, env:, exec:, ssh-agent:, pkcs11:). Repeat it for several.
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<KeyArgument>,

    #[command(flatten)]
    pub passwords: PasswordArgs,
}

impl KeyArgs {
    /// Where no key is given, takes the ones that the policy names, as far as they are at hand and may sign for the
    /// roles, or for any role where none is named. Their paths are relative to the repository.
    pub fn add_policy_keys(
        &mut self,
        repository: &Repository,
        roles: &[RoleName],
        context: &Context,
    ) -> Result<(), Failure> {
        if !self.keys.is_empty() {
            return Ok(());
        }
        for key in repository.policy().keys() {
            let relative = key.strip_prefix("file:").unwrap_or(&key);
            let is_path = key.starts_with("file:") || !key.contains(':');
            let reference = match is_path {
                true => format!("file:{}", repository.dir().join(relative).display()),
                false => key.clone(),
            };
            let refused = |reason| Failure::usage(format!("tuf-repo.toml: {reason}"));
            let argument: KeyArgument = reference.parse().map_err(refused)?;
            let at_hand = argument.path().is_none_or(Path::exists);
            if at_hand && may_sign(&argument, repository, roles, context)? != Some(false) {
                self.keys.push(argument);
            }
        }
        Ok(())
    }

    /// Opens all keys, or none, and passes on the warnings. What they sign is counted and shown until they are dropped.
    pub fn load(&self, context: &Context) -> Result<Vec<LoadedKey>, Failure> {
        let loaded = load_signers(&self.keys, &mut self.passwords.read(context)?)?;
        loaded.warnings.iter().for_each(|warning| context.output.warn(warning));
        Ok(counted(loaded.keys, context.output.verbosity()))
    }
}

/// Whether a threshold may be above the number of keys.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Force {
    /// Do it although more keys would have to sign than there are.
    #[arg(long)]
    force: bool,
}

impl Force {
    /// Returns what becomes of an edit after which nobody could sign.
    pub fn dead_end(self) -> DeadEnd {
        if self.force { DeadEnd::Allow } else { DeadEnd::Refuse }
    }
}

/// Reads how many keys of a role must sign.
pub fn threshold(role: &RoleName, number: u64) -> Result<Threshold, Failure> {
    let refused = || failure(InputError::Threshold { role: role.clone(), number }.into());
    Threshold::new(number).ok_or_else(refused)
}

/// Whether to change anything.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct DryRun {
    /// Tell what would be done and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Where passwords are read from, in the order in which they were typed.
#[derive(Debug, Clone, Default)]
pub struct PasswordArgs {
    pub sources: Vec<PasswordSource>,
}

impl PasswordArgs {
    /// Reads the passwords; without any, the person at the terminal is asked when one is needed.
    pub fn read(&self, context: &Context) -> Result<Passwords, Failure> {
        Passwords::read(&self.sources, context.interaction, context.secrets.clone())
    }
}

const FILE: &str = "password_file";
const VARIABLE: &str = "password_env";

// By hand because the derived form loses the order between the two flags.
impl clap::Args for PasswordArgs {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(FILE)
                    .long("password-file")
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Read passwords from a file, one per line; `-` is standard input"),
            )
            .arg(
                Arg::new(VARIABLE)
                    .long("password-env")
                    .value_name("VAR")
                    .action(ArgAction::Append)
                    .help("Read passwords from an environment variable, one per line"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PasswordArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let files = typed::<PathBuf>(matches, FILE).map(|(at, path)| (at, PasswordSource::file(path)));
        let variables =
            typed::<String>(matches, VARIABLE).map(|(at, name)| (at, PasswordSource::Variable(name)));
        let mut sources: Vec<_> = files.chain(variables).collect();
        sources.sort_by_key(|(at, _)| *at);
        Ok(Self { sources: sources.into_iter().map(|(_, source)| source).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Returns the values of a flag with their positions on the command line.
fn typed<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    id: &str,
) -> impl Iterator<Item = (usize, T)> {
    let given = matches.value_source(id) == Some(ValueSource::CommandLine);
    let values = given.then(|| matches.get_many::<T>(id)).flatten().into_iter().flatten().cloned();
    let positions = given.then(|| matches.indices_of(id)).flatten().into_iter().flatten();
    positions.zip(values)
}

/// The signature schemes that an RSA key can be listed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// RSASSA-PSS.
    RsassaPssSha256,
    /// PKCS #1 v1.5, whose signatures are deterministic.
    RsaPkcs1v15Sha256,
}

/// Lists an RSA key with another scheme than its default.
pub fn with_scheme(
    mut key: tuf::metadata::Key,
    scheme: Option<Scheme>,
) -> Result<tuf::metadata::Key, Failure> {
    let Some(scheme) = scheme else { return Ok(key) };
    if key.keytype != "rsa" {
        return Err(Failure::usage(format!(
            "--scheme is for RSA keys, and {} is of type {}",
            key.id(),
            key.keytype
        )));
    }
    key.scheme = match scheme {
        Scheme::RsassaPssSha256 => "rsassa-pss-sha256",
        Scheme::RsaPkcs1v15Sha256 => "rsa-pkcs1v15-sha256",
    }
    .to_owned();
    Ok(key)
}

/// Makes a bar that counts bytes.
pub fn progress_bytes(context: &Context, length: u64, label: &str) -> Progress {
    Progress::bytes(context.output.verbosity(), length, label)
}

/// Shows whom the drafts trust otherwise than what is written, before anybody is asked for the password of a key that
/// signs them.
pub fn show_trust(repository: &Repository, roles: &[RoleName], keys: &KeyArgs, context: &Context) {
    if keys.keys.is_empty() || context.output.format() == Format::Json {
        return;
    }
    for change in repository.trust_changes(roles) {
        context.output.talk(&format!("{}: {} against {}", change.role, change.new, change.old));
        change.differences.iter().for_each(|difference| context.output.talk(&format!("  {}", difference.0)));
    }
}

/// Finds the keys of a folder that may sign for the roles, or for any role where none is named. What else lies in the
/// folder is left alone, and so are keys whose public half does not lie beside them and that are encrypted.
pub fn key_dir(
    dir: &Path,
    repository: &Repository,
    roles: &[RoleName],
    context: &Context,
) -> Result<Vec<KeyArgument>, Failure> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|error: std::io::Error| {
            Failure::new(FailureKind::Key, Failure::cannot("read", dir, &error).message)
        })?;
    paths.sort();
    let mut keys = Vec::new();
    let private = |path: &PathBuf| path.is_file() && path.extension().is_none_or(|end| end != "pub");
    for path in paths.into_iter().filter(private) {
        let Some(argument) =
            path.to_str().and_then(|text| format!("file:{text}").parse::<KeyArgument>().ok())
        else {
            continue;
        };
        if may_sign(&argument, repository, roles, context)? == Some(true) {
            keys.push(argument);
        }
    }
    Ok(keys)
}

/// Tells whether a private key may sign, as far as its public half can be known without a password.
fn may_sign(
    key: &KeyArgument,
    repository: &Repository,
    roles: &[RoleName],
    context: &Context,
) -> Result<Option<bool>, Failure> {
    let mut nobody = Passwords::read(&[], Interaction::Forbidden, context.secrets.clone())?;
    let found = describe(key, &mut nobody).ok();
    Ok(found.map(|found| found.private.is_some() && repository.may_sign(&found.key, roles)))
}

/// Reads what a key to be removed was named by: a file or a reference, else an id.
pub fn key_choice(typed: &str, passwords: &mut Passwords) -> Result<KeyChoice, Failure> {
    let argument: Option<KeyArgument> = typed.parse().ok();
    let is_file = |key: &KeyArgument| key.path().is_none_or(Path::exists);
    match argument.filter(is_file) {
        Some(argument) => Ok(KeyChoice::Key(load_public(&argument, passwords)?)),
        None => Ok(KeyChoice::Id(typed.to_owned())),
    }
}

/// How many warnings of one kind are shown: a repository may have tens of thousands of hash bins.
const MOST_WARNINGS: usize = 20;

/// Tells what a plan is worth knowing of and goes on all the same.
pub fn warn_of(findings: &[Finding], context: &Context) {
    findings.iter().take(MOST_WARNINGS).for_each(|finding| context.output.warn(&one_line(&finding.message)));
    if let Some(more) = findings.len().checked_sub(MOST_WARNINGS).filter(|more| *more > 0) {
        context.output.warn(&format!("and {more} more, which tuf-repo verify lists"));
    }
}
