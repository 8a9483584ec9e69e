//! The commands, one file each: `Args`, whose doc comments are the help, and `run`.

mod add_key;
mod add_targets;
mod bump;
mod ceremony;
pub mod common;
mod completions;
mod counted;
mod delegate;
mod destination;
mod diff;
mod discard;
mod doctor;
mod edit;
mod expire;
mod gc;
mod graph;
mod init;
mod key;
mod keygen;
mod list;
mod man;
pub mod next;
mod publish;
mod pull;
mod refresh;
mod remove_key;
mod remove_targets;
mod revoke;
mod rotate_key;
mod serve;
mod sign;
mod status;
mod threshold;
mod verify;
mod write;

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
    Init => init,
    AddKey => add_key,
    RemoveKey => remove_key,
    RotateKey => rotate_key,
    Threshold => threshold,
    Expire => expire,
    Bump => bump,
    AddTargets => add_targets,
    RemoveTargets => remove_targets,
    List => list,
    Delegate => delegate,
    Revoke => revoke,
    Sign => sign,
    Status => status,
    Diff => diff,
    Discard => discard,
    Write => write,
    Refresh => refresh,
    Verify => verify,
    Doctor => doctor,
    Pull => pull,
    Publish => publish,
    Gc => gc,
    Serve => serve,
    Graph => graph,
    Completions => completions,
    Man => man,
}
