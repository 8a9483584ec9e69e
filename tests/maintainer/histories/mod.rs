//! Histories at random: two copies of one repository, up to three commands at a time, some of them killed, and one place that
//! both publish to. Clients of every age watch it. The model knows which states each copy has gone through and what was taken
//! off the lists there; it reads files, and shares no code with the commands.
//!
//! A history follows from a kind of place and a seed; what three processes do at the same time is not the same twice. Without a
//! word a few are run. The environment says more:
//!
//! - `TUF_HISTORIES=N` runs N of them, `TUF_HISTORIES_FROM=S` begins with seed S (1);
//! - `TUF_HISTORIES_ROUNDS=3,7,8` runs these rounds only, `TUF_HISTORIES_SHRINK=1` looks for the fewest that still fail;
//! - `TUF_HISTORIES_MERGES=1` has people merge copies by version control, too;
//! - `TUF_TEST_BUCKET` and `TUF_TEST_BUCKET_URL` name a real server for the buckets (see `tests/buckets.rs`).

mod chance;
mod clients;
mod copy;
mod history;
mod merge;
mod people;
mod place;
mod release;
mod rounds;
mod server;
mod steps;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chance::Chance;
use history::History;
use place::Kind;

/// How many rounds a history has.
const ROUNDS: u64 = 30;
/// How many kinds of places there are: histories are shared out among them.
const KINDS: u64 = 5;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs rounds of a history. Returns how often which command ended how, or what went wrong.
fn run(kind: Kind, seed: u64, rounds: &[u64]) -> Result<BTreeMap<String, u64>, String> {
    let mut history = History::begin(kind, seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for round in rounds {
            history.tell(format!("# round {round}"));
            history.chance = Chance::of(seed * KINDS + kind as u64, *round);
            history.round();
        }
        history.tell("# the end".to_owned());
        history.end();
    }));
    outcome.map(|()| history.counts).map_err(|why| {
        let words = why.downcast_ref::<String>().cloned();
        let words = words.or_else(|| why.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        let words = words.unwrap_or_default();
        format!("{words}\n\n{kind:?}, seed {seed}, rounds {rounds:?}:\n{}", history.told.join("\n"))
    })
}

/// Leaves out rounds that a failure does not need.
fn shrink(kind: Kind, seed: u64, rounds: &[u64], mut why: String) -> String {
    let mut rounds = rounds.to_vec();
    let mut place = rounds.len();
    while place > 0 {
        place -= 1;
        let mut fewer = rounds.clone();
        fewer.remove(place);
        if let Err(still) = run(kind, seed, &fewer) {
            (rounds, why) = (fewer, still);
        }
    }
    why
}

fn run_all(kind: Kind) {
    let number = |name: &str| variable(name).map(|text| text.parse::<u64>().unwrap());
    let histories = number("TUF_HISTORIES").unwrap_or(KINDS).div_ceil(KINDS);
    let from = number("TUF_HISTORIES_FROM").unwrap_or(1);
    let rounds: Vec<u64> = match variable("TUF_HISTORIES_ROUNDS") {
        Some(text) => text.split(',').map(|round| round.trim().parse().unwrap()).collect(),
        None => (1..=ROUNDS).collect(),
    };
    let (mut counts, mut failures) = (BTreeMap::<String, u64>::new(), Vec::new());
    for seed in from..from + histories {
        match run(kind, seed, &rounds) {
            Ok(more) => more.into_iter().for_each(|(name, times)| *counts.entry(name).or_default() += times),
            Err(why) if variable("TUF_HISTORIES_SHRINK").is_some() => {
                failures.push(shrink(kind, seed, &rounds, why));
            }
            Err(why) => failures.push(why),
        }
    }
    println!("{kind:?}, {histories} histories: {counts:?}");
    assert!(failures.is_empty(), "{} failed\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn two_copies_that_publish_to_a_folder_lose_nothing() {
    run_all(Kind::Folder);
}

#[test]
fn two_copies_that_publish_to_a_plain_folder_lose_nothing() {
    run_all(Kind::PlainFolder);
}

#[test]
fn two_copies_that_publish_to_the_first_lose_nothing() {
    run_all(Kind::Own);
}

#[test]
fn two_copies_that_publish_to_a_bucket_lose_nothing() {
    run_all(Kind::Bucket);
}

#[test]
fn two_copies_that_publish_to_a_plain_bucket_lose_nothing() {
    run_all(Kind::PlainBucket);
}
