//! The client against a repository in memory: the workflow of specification section 5, and what goes wrong in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod at_random;
mod bounds;
mod clean;
mod delegations;
mod faults;
mod listing;
mod mirrors;
mod places;
mod recovery;
mod resume;
mod simulator;
mod start;
mod targets;
mod workflow;
