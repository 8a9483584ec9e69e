//! The commands, one file each: `Args`, whose doc comments are the help, and `run`.

pub mod common;
mod completions;
mod key;
mod keygen;
mod man;

use tuf::cli::failure::Outcome;

use crate::context::Context;

/// Makes the enum of commands from a table of variants and their modules, in the order of the help.
macro_rules! commands {
    ($($variant:ident => $module:ident),+ $(,)?) => {
        #[derive(Debug, clap::Subcommand)]
        pub enum Command {
            $($variant($module::Args),)+
        }

        impl Command {
            /// Runs the command.
            pub fn run(self, context: &Context) -> Outcome {
                match self {
                    $(Self::$variant(args) => $module::run(args, context),)+
                }
            }
        }
    };
}

commands! {
    Keygen => keygen,
    Key => key,
    Completions => completions,
    Man => man,
}
