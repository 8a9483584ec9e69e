//! `key`: inspects a key, changes its password, or converts it.

mod convert;
mod id;
mod passwd;
mod show;

use std::path::PathBuf;

use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::password_source::PasswordSource;
use tuf::cli::passwords::{Passwords, refuse_shared_stdin};

use super::common::PasswordArgs;
use crate::context::Context;

/// Inspect a key, change its password, or convert it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    Id(id::Args),
    Show(show::Args),
    Passwd(passwd::Args),
    Convert(Box<convert::Args>),
}

pub fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        KeyCommand::Id(args) => id::run(args, context),
        KeyCommand::Show(args) => show::run(args, context),
        KeyCommand::Passwd(args) => passwd::run(args, context),
        KeyCommand::Convert(args) => convert::run(*args, context),
    }
}

/// The password of a key that is about to be written, apart from the one that opens it now.
#[derive(Debug, clap::Args)]
struct NewPassword {
    /// Read the new password from a file; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,

    /// Read the new password from an environment variable.
    #[arg(long, value_name = "VAR", conflicts_with = "new_password_file")]
    new_password_env: Option<String>,

    /// Write the key as it is, without a password.
    #[arg(long, conflicts_with_all = ["new_password_file", "new_password_env"])]
    no_password: bool,
}

impl NewPassword {
    fn source(&self) -> Vec<PasswordSource> {
        let file = self.new_password_file.clone().map(PasswordSource::file);
        let variable = self.new_password_env.clone().map(PasswordSource::Variable);
        file.into_iter().chain(variable).collect()
    }

    fn is_given(&self) -> bool {
        !self.source().is_empty()
    }

    /// Refuses standard input as the source of both the old and the new password.
    fn check(&self, old: &PasswordArgs) -> Outcome {
        refuse_shared_stdin(&old.sources, &self.source())
    }

    fn read(&self, context: &Context) -> Result<Passwords, Failure> {
        let passwords = Passwords::read(&self.source(), context.interaction, context.secrets.clone())?;
        Ok(passwords.from_flag("--new-password-file"))
    }
}
