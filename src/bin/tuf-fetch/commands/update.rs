//! `update`: the basic client, which also runs where no command is given.

use super::download::{Wanted, fetch, named};
use crate::failure::Failures;
use crate::session::Session;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Targets, or patterns of targets; all of them where none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

impl Args {
    /// Returns the targets.
    pub fn targets(&self) -> &[String] {
        &self.targets
    }
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failures> {
    let wanted = named(session, args.targets);
    if wanted.is_empty() { fetch(session, &[Wanted::All]) } else { fetch(session, &wanted) }
}
