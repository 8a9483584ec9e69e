//! `tuf-repo`, the maintainer's side: parses, runs one command, reports. What commands do is in the library.

mod args;
mod commands;
mod context;
mod failure;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tuf::cli::clock;
use tuf::cli::failure::Failure;
use tuf::cli::output::{ColorChoice, Format, Output, Verbosity};
use tuf::cli::secret_variables::SecretVariables;
use tuf::cli::usage;

use args::Cli;
use context::Context;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let code = match parse(&words) {
        Ok((cli, secrets)) => run(cli, secrets, &words),
        Err(error) => report_parser(&error, &words),
    };
    code.into()
}

/// Reads the command line, and the variables that it names as secrets.
fn parse(words: &[OsString]) -> Result<(Cli, SecretVariables), clap::Error> {
    let matches = Cli::command().try_get_matches_from(words)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))?;
    Ok((cli, SecretVariables::typed_in(&matches)))
}

fn run(cli: Cli, secrets: SecretVariables, words: &[OsString]) -> u8 {
    let output = cli.global.output();
    let context = Context::new(&cli.global, secrets, clock::now(cli.global.time), output);
    match cli.command.run(&context) {
        Ok(()) => 0,
        Err(failure) => {
            let hint = failure.hint.clone().map(|hint| failure::name_repository(hint, &context.repo));
            let failure = Failure { hint, ..failure };
            context.output.failure(&failure.over("tuf-repo", words.get(1..).unwrap_or_default()))
        }
    }
}

/// Help and the version go to stdout as the parser formats them; a refusal is told like any failure. A call
/// without a command gets the whole help.
fn report_parser(error: &clap::Error, words: &[OsString]) -> u8 {
    let format = usage::requested_format(words);
    let refusal = usage::refusal(error, &Cli::command(), words);
    let wants_help = error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    match refusal {
        Some(failure) if !wants_help || format == Format::Json => {
            Output::new(format, Verbosity::Normal, ColorChoice::Auto).failure(&failure)
        }
        other => {
            // a reader who is gone has seen enough of the help
            let _ = error.print();
            other.map_or(0, |failure| failure.kind.exit_code())
        }
    }
}
