//! Replays the kept corpus of every fuzz target.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod fuzz_harness;

use std::path::Path;

fn replay(target: &str, harness: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    if !folder.exists() {
        eprintln!("skipped: the corpus is in the repository, not in the package");
        return;
    }
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        harness(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "no corpus for {target}");
}

#[test]
fn metadata_from_the_corpus() {
    replay("metadata", fuzz_harness::metadata);
}

#[test]
fn canonical_json_from_the_corpus() {
    replay("canonical", fuzz_harness::canonical);
}

#[test]
fn paths_patterns_and_names_from_the_corpus() {
    replay("paths", fuzz_harness::paths);
}

#[test]
fn keys_from_the_corpus() {
    replay("keys", fuzz_harness::keys);
}

#[test]
fn sequences_from_the_corpus() {
    replay("trusted_set", fuzz_harness::trusted_set);
}
