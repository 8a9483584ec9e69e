//! The documents keep their word: the README has its two commands, what it calls missing is missing, links lead somewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap()
}

/// Returns all pages: those at the top, in docs and below it.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/adr"] {
        let entries = fs::read_dir(top().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// Returns the texts between two marks, such as backticks.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close).map(|(inner, _)| inner)).collect()
}

#[test]
fn the_first_screen_of_the_readme_has_exactly_two_commands() {
    let readme = read("README.md");
    let (first_screen, _) = readme.split_once("\n## ").unwrap();
    assert_eq!(between(first_screen, "```sh\n", "\n```"), ["bash demo.sh", "cargo test"]);
    assert!(first_screen.lines().count() <= 25, "{}", first_screen.lines().count());
}

/// What a list item calls missing is in backticks: `command`, `group command` or `command --flag`.
#[test]
fn what_the_readme_calls_missing_is_missing() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("Not there yet:\n\n").unwrap();
    let list = rest.split("\n\n").next().unwrap();
    for item in list.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let mut words: Vec<&str> = item.split(' ').collect();
        let (program, last) = match words[0] {
            "tuf-fetch" => (env!("CARGO_BIN_EXE_tuf-fetch"), words.split_off(words.len() - 1)[0]),
            _ => (env!("CARGO_BIN_EXE_tuf-repo"), words.split_off(words.len() - 1)[0]),
        };
        words.retain(|word| *word != "tuf-fetch");
        let output = Command::new(program).args(&words).arg("--help").output().unwrap();
        assert!(output.status.success(), "`{item}`: {} is no command", words.join(" "));
        let help = String::from_utf8(output.stdout).unwrap();
        let is_there = help.lines().any(|line| {
            line.starts_with(' ') && line.split([' ', ',']).find(|word| word.starts_with(last)) == Some(last)
        });
        assert!(!is_there, "the README says that `{item}` is not there yet, and it is");
    }
}

#[test]
fn links_lead_to_files_that_are_there() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in between(&text, "](", ")") {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.starts_with("https://") {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{}: {link}", page.display());
        }
    }
}

/// A merge that was committed before it was resolved got through every other test once.
#[test]
fn pages_hold_no_remains_of_a_merge_and_no_row_twice() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut rows = std::collections::BTreeSet::new();
        for line in text.lines() {
            let is_mark = ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark));
            assert!(!is_mark, "{}: {line}", page.display());
            let command = line.strip_prefix("| `").and_then(|row| row.split_once('`')).map(|(name, _)| name);
            let is_keys = line.matches('|').count() == 3 && line.matches('`').count() > 2;
            if let Some(command) = command.filter(|_| is_keys && page.ends_with("docs/exit-codes.md")) {
                assert!(rows.insert(command.to_owned()), "{}: two rows for {command}", page.display());
            }
        }
    }
}
