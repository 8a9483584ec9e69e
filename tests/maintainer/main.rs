//! The maintainer's side on trial: traps of older tools, bad input, random histories, rotations, crashes, the contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod after_theft;
mod ancestors;
mod at_once;
mod bad_input;
mod cli;
mod client;
mod collect;
mod contract;
mod copies_made_here;
mod crash;
mod delegates;
mod destination;
mod environment;
mod expiry;
#[cfg(target_os = "linux")]
mod faults;
mod foreign;
mod fresh_clone;
mod gate;
mod histories;
#[cfg(target_os = "linux")]
mod interrupted;
mod leftovers;
mod lineage;
mod links;
mod merged;
mod model;
mod new_bins;
mod others_names;
mod ownership;
mod places;
mod planted;
mod proposals;
mod pull;
mod role_files;
mod rotations;
#[path = "../support/mod.rs"]
mod support;
mod traps;
mod wedges;
mod world;
mod writers;
