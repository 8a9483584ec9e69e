//! The maintainer's side on trial: traps of older tools, bad input, random histories, rotations, crashes, the contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod client;
mod model;
#[path = "../support/mod.rs"]
mod support;
mod world;
