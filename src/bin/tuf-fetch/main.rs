//! `tuf-fetch`: brings trusted metadata up to date and fetches verified targets.

mod args;
mod commands;
mod failure;
mod hint;
mod session;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tuf::cli::output::{ColorChoice, Output, Verbosity};
use tuf::cli::usage;

use args::{Cli, Command};
use failure::{Failure, Failures};
use session::Session;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let (options, command) = match Cli::try_parse_from(&words) {
        Ok(cli) => cli.merged(),
        Err(error) => return report_parser(&error, &words),
    };
    let output = options.output();
    let session = Session::new(options, &command, &output);
    match run(&session, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            let report = |failure: &Failure| {
                let hint = failure.hint.as_ref().map(|hint| hint.said(&session.given));
                report(&output, failure, hint.as_deref())
            };
            let codes: Vec<u8> = failures.0.iter().map(report).collect();
            codes.into_iter().max().unwrap_or(1).into()
        }
    }
}

fn run(session: &Session<'_>, command: Command) -> Result<(), Failures> {
    if !matches!(command, Command::Status) {
        session.check_folders()?;
    }
    match command {
        Command::Init(args) => Ok(commands::init::run(session, args)?),
        Command::Refresh => Ok(commands::refresh::run(session)?),
        Command::Download(args) => commands::download::run(session, args),
        Command::List(args) => commands::list::run(session, args),
        Command::Status => Ok(commands::status::run(session)?),
        Command::Clean(args) => commands::clean::run(session, &args),
        Command::Update(args) => commands::update::run(session, args),
    }
}

fn report(output: &Output, failure: &Failure, hint: Option<&str>) -> u8 {
    output.error(failure.code, &failure.line(), hint);
    failure.exit_code()
}

/// Help and the version go to stdout as the parser formats them; a refusal is told like any failure.
fn report_parser(error: &clap::Error, words: &[OsString]) -> ExitCode {
    match usage::refusal(error, &Cli::command(), words) {
        Some(refusal) => {
            let failure = Failure::usage("command line", refusal.message);
            let output = Output::new(usage::requested_format(words), Verbosity::Normal, ColorChoice::Auto);
            let hint = refusal.hint.map(|hint| hint.to_string());
            report(&output, &failure, hint.as_deref()).into()
        }
        None => {
            // a reader who is gone has seen enough of the help
            let _ = error.print();
            ExitCode::SUCCESS
        }
    }
}
