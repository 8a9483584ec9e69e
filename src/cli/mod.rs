//! What the two binaries share: exit codes, output, prompts, keys as arguments, times. No TUF rule lives here.

pub mod clock;
pub mod failure;
pub mod hint;
pub mod key_argument;
pub mod key_files;
pub mod keys;
pub mod output;
pub mod password_source;
pub mod passwords;
pub mod progress;
mod remote_keys;
pub mod secret_variables;
mod static_body;
pub mod static_server;
pub mod terminal;
pub mod text;
pub mod usage;
