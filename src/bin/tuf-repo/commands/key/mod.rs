//! `key`: inspects a key, or changes its password.

mod id;
mod passwd;
mod show;

use tuf::cli::failure::Outcome;

use crate::context::Context;

/// Inspect a key, or change its password.
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
}

pub fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        KeyCommand::Id(args) => id::run(args, context),
        KeyCommand::Show(args) => show::run(args, context),
        KeyCommand::Passwd(args) => passwd::run(args, context),
    }
}
