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

/// A merge that was committed before it was resolved got through every other test once, in a page; in a script or in data
/// it would as well.
#[test]
fn no_file_holds_the_remains_of_a_merge() {
    let files = files_below(top());
    assert!(files.iter().any(|file| file.ends_with(".ci/run")), "the walk has missed .ci/run");
    assert!(files.iter().any(|file| file.ends_with("docs/adr/0006-two-streams.md")));
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let remains = bytes.split(|byte| *byte == b'\n').any(is_remains_of_a_merge);
        assert!(!remains, "{} holds the remains of a merge", file.display());
    }
}

/// Tells whether a line is one that git puts around the sides of a conflict.
fn is_remains_of_a_merge(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // seven of a kind, alone or before a name; spelled so that this file holds none
    let mark = |of: u8| line.len() >= 7 && line[..7].iter().all(|byte| *byte == of);
    line == b"=".repeat(7)
        || ((mark(b'<') || mark(b'|') || mark(b'>')) && line.get(7).is_none_or(|byte| *byte == b' '))
}

#[test]
fn the_marks_of_a_conflict_are_known() {
    for of in ["<", "|", ">"] {
        assert!(is_remains_of_a_merge(format!("{} HEAD", of.repeat(7)).as_bytes()));
        assert!(is_remains_of_a_merge(format!("{}\r", of.repeat(7)).as_bytes()));
        assert!(!is_remains_of_a_merge(format!("{} HEAD", of.repeat(8)).as_bytes()));
    }
    assert!(is_remains_of_a_merge("=".repeat(7).as_bytes()));
    assert!(!is_remains_of_a_merge(b"| a | table |"));
}

/// Returns what lies below a folder, without what is built, fetched or git's own.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let built = ["target", ".git", ".venv"].iter().any(|name| entry.file_name() == *name);
        if kind.is_dir() && !built {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn no_command_has_two_rows_of_keys() {
    let page = read("docs/exit-codes.md");
    let mut rows = std::collections::BTreeSet::new();
    for line in page.lines().filter(|line| line.matches('|').count() == 3 && line.matches('`').count() > 2) {
        if let Some((command, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
            assert!(rows.insert(command.to_owned()), "two rows for {command}");
        }
    }
    assert!(rows.len() > 10, "{rows:?}");
}
