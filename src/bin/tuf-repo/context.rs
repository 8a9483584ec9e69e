//! What every command is given besides its own arguments.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use tuf::cli::output::Output;
use tuf::cli::secret_variables::SecretVariables;
use tuf::cli::terminal::Interaction;

use crate::args::Global;

/// The surroundings of one command.
pub struct Context {
    /// The repository's folder, as typed.
    pub repo: PathBuf,
    /// The time that the command works by, read once.
    pub now: DateTime<Utc>,
    /// Where its words go.
    pub output: Output,
    /// Whether somebody may be asked for a password.
    pub interaction: Interaction,
    /// The variables that hold passwords and keys: other programs are not given them.
    pub secrets: SecretVariables,
    /// How long to wait for a lock; without it a second writer fails at once.
    pub wait: Option<TimeDelta>,
}

impl Context {
    /// Makes the context of a command.
    pub fn new(global: &Global, typed: SecretVariables, now: DateTime<Utc>, output: Output) -> Self {
        let interaction = if global.no_input { Interaction::Forbidden } else { Interaction::detect() };
        let secrets = typed.with_policy_of(&global.repo);
        Self { repo: global.repo.clone(), now, output, interaction, secrets, wait: global.wait }
    }
}
