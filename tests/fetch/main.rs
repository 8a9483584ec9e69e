//! `tuf-fetch` as people and scripts meet it: over `file:`, over HTTP, and over servers that mean harm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod cli;
mod disk;
#[cfg(target_os = "linux")]
mod faults;
mod folders;
mod host;
mod memory;
mod network;
mod others_faults;
mod scene;
#[path = "../client/simulator.rs"]
mod simulator;
mod slow;
mod tls;
