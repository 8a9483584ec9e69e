//! What the two binaries share: exit codes, output, prompts, times. No TUF rule lives here.

pub mod clock;
