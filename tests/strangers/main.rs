//! Both programs as a stranger meets them: names, roles and folders at random, judged from outside. What a client should
//! install is known from a search of its own ([`search`]), and what a command touched from the whole tree before and after
//! ([`tree`]). `PROPTEST_CASES` raises the number of cases.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod fetch;
mod maintain;
mod search;
#[path = "../client/simulator.rs"]
mod simulator;
mod tree;

/// Few cases by default, so that the whole takes seconds.
fn config(default: u32) -> proptest::test_runner::Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    proptest::test_runner::Config {
        cases,
        max_shrink_iters: 300,
        max_shrink_time: 40_000,
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
