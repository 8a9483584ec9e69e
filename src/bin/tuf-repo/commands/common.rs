//! Arguments that several commands take.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use tuf::cli::failure::Failure;
use tuf::cli::keys::{KeyArgument, LoadedKey, load_signers};
use tuf::cli::password_source::PasswordSource;
use tuf::cli::passwords::Passwords;

use crate::context::Context;

/// The keys to sign with.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// A private key to sign with: a path, file:PATH or env:VAR. Repeat it for several.
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<KeyArgument>,

    #[command(flatten)]
    pub passwords: PasswordArgs,
}

#[expect(dead_code, reason = "the commands that sign are yet to come")]
impl KeyArgs {
    /// Opens all keys, or none, and passes on the warnings.
    pub fn load(&self, context: &Context) -> Result<Vec<LoadedKey>, Failure> {
        let loaded = load_signers(&self.keys, &mut self.passwords.read(context)?)?;
        loaded.warnings.iter().for_each(|warning| context.output.warn(warning));
        Ok(loaded.keys)
    }
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
        Passwords::read(&self.sources, context.interaction)
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
