//! `completions`: prints a shell's completion script.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};

use crate::args::Cli;
use crate::context::Context;

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tuf-repo", &mut script);
    let script = String::from_utf8(script)
        .map_err(|_| Failure::io(format!("the completion script for {} is not UTF-8", args.shell)))?;
    let json = json!({ "shell": args.shell.to_string(), "script": script });
    context.output.result(|| script, json)
}
