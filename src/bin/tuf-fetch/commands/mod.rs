//! The commands, one file each.

pub mod clean;
pub mod download;
pub mod init;
pub mod list;
pub mod refresh;
pub mod status;
pub mod update;
