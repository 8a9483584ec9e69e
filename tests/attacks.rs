//! The tour of attacks, run as a reader runs it, and held against what `docs/attacks.md` prints of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Finds the attacker's program; made where only this test was asked for.
fn attacker() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_tuf-fetch")).parent().unwrap();
    let attacker = programs.join("examples/attacker");
    if !attacker.exists() {
        let target = programs.parent().unwrap();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--example", "attacker", "--target-dir"]).arg(target);
        assert!(command.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    attacker
}

/// Returns the starts of the lines that name failures: `error: WHAT: CODE`.
fn refusals(text: &str) -> Vec<String> {
    let errors = text.lines().filter(|line| line.starts_with("error: "));
    errors.map(|line| line.splitn(4, ": ").take(3).collect::<Vec<_>>().join(": ")).collect()
}

#[test]
fn each_attack_of_the_tour_is_refused_as_the_tour_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut command = Command::new("bash");
    command
        .arg(folder.join("attacks.sh"))
        .env("TUF_REPO_BIN", env!("CARGO_BIN_EXE_tuf-repo"))
        .env("TUF_FETCH_BIN", env!("CARGO_BIN_EXE_tuf-fetch"))
        .env("ATTACKER_BIN", attacker());
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.ends_with("Every attack was refused.\n"), "{stdout}");
    let told = std::fs::read_to_string(folder.join("attacks.md")).unwrap();
    assert_eq!(refusals(&stdout), refusals(&told));
    assert_eq!(refusals(&told).len(), 9);
}
