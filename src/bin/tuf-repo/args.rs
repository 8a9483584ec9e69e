//! The command line: the flags that every command takes, and the command.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::{OsStringValueParser, TypedValueParser};
use tuf::cli::clock::{parse_duration, parse_time};
use tuf::cli::output::{ColorChoice, Format, Output, Verbosity};

use crate::commands::Command;

/// Makes, signs, checks and publishes a repository of The Update Framework (TUF).
#[derive(Debug, clap::Parser)]
#[command(name = "tuf-repo", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The repository's folder.
    #[arg(short, long, global = true, env = "TUF_REPO", hide_env_values = true)]
    #[arg(default_value = ".", value_name = "DIR")]
    #[arg(value_parser = OsStringValueParser::new().map(repo_path))]
    pub repo: PathBuf,

    /// Print the result as one JSON object.
    #[arg(long, global = true)]
    pub json: bool,

    /// Print results, warnings and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Tell each step.
    #[arg(short, long, global = true)]
    pub verbose: bool,

    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    #[arg(help = "When to colour: auto (which heeds NO_COLOR), always or never")]
    pub color: ColorChoice,

    /// Never ask; fail where a password would be asked for.
    #[arg(long, global = true)]
    pub no_input: bool,

    /// How long to wait for another process's lock, such as 30s [default: not at all].
    #[arg(long, global = true, value_parser = parse_duration, value_name = "DURATION")]
    pub wait: Option<TimeDelta>,

    /// The time to work by, such as 2030-01-31T12:00:00Z [default: the clock; no environment variable sets it].
    #[arg(long, global = true, value_parser = parse_time, value_name = "RFC3339")]
    pub time: Option<DateTime<Utc>>,
}

/// An empty `TUF_REPO` is as good as none.
fn repo_path(text: OsString) -> PathBuf {
    if text.is_empty() { PathBuf::from(".") } else { text.into() }
}

impl Global {
    /// Returns where the command's words go.
    pub fn output(&self) -> Output {
        let format = if self.json { Format::Json } else { Format::Human };
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Output::new(format, verbosity, self.color)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use tuf::cli::password_source::PasswordSource;

    use super::*;
    use crate::commands::common::PasswordArgs;

    #[derive(Parser)]
    struct Tool {
        #[command(flatten)]
        passwords: PasswordArgs,
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn passwords_keep_the_order_in_which_they_were_typed() {
        let words =
            ["tool", "--password-env", "A", "--password-file", "b", "--password-env=C", "--password-file=-"];
        let expected = [
            PasswordSource::Variable("A".into()),
            PasswordSource::File("b".into()),
            PasswordSource::Variable("C".into()),
            PasswordSource::Stdin,
        ];
        assert_eq!(Tool::parse_from(words).passwords.sources, expected);
        assert_eq!(Tool::parse_from(["tool"]).passwords.sources, []);
    }
}
