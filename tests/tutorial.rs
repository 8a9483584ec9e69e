//! Runs `docs/tutorial.md` as a reader would, so that it cannot rot: each command of its `console` blocks, in order, in
//! one shell, once for each layout; what is printed must be what the page says.
//!
//! After every command the written metadata is copied out with `cp -r`, as the page says a maintainer may do, and checked
//! as a client would.
//!
//! `TUTORIAL_BLESS=1 cargo test --test tutorial` writes what the commands print into the page; read the difference
//! before it is committed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use support::programs::path_at;
use tuf::repository::{CheckOptions, Expiry, Side, TargetBytes, check};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tutorial.md");
/// The clock that the page was written by.
const NOW: &str = "2026-01-01T00:00:00Z";
/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The port that the page names; each run takes a free one instead.
const PORT: &str = "127.0.0.1:8001";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Consistent,
    Plain,
}

/// One command of the page with what the page says it prints.
#[derive(Debug, Clone)]
struct Step {
    /// The line of the page that the command starts on, from 0.
    line: usize,
    command: String,
    expected: Vec<String>,
    /// The lines of the page that hold what is expected.
    output: std::ops::Range<usize>,
    only: Option<Layout>,
}

/// Takes the commands out of a page. A block is fenced as ```` ```console ````, with `consistent` or `plain` after it
/// where it holds in one layout only. A command starts with `$ ` and goes on over lines that end in a backslash.
fn steps(page: &str) -> Vec<Step> {
    let lines: Vec<&str> = page.lines().collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<Option<Layout>> = None;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if let Some(fence) = line.strip_prefix("```") {
            block = match (block, fence.strip_prefix("console").map(str::trim)) {
                (Some(_), _) | (None, None) => None,
                (None, Some("")) => Some(None),
                (None, Some("consistent")) => Some(Some(Layout::Consistent)),
                (None, Some("plain")) => Some(Some(Layout::Plain)),
                (None, Some(other)) => panic!("line {}: no such kind of block: {other}", at + 1),
            };
            at += 1;
            // a block of another kind is skipped as a whole
            if block.is_none() && !fence.is_empty() {
                while at < lines.len() && lines[at] != "```" {
                    at += 1;
                }
                at += 1;
            }
            continue;
        }
        let Some(only) = block else {
            at += 1;
            continue;
        };
        if let Some(first) = line.strip_prefix("$ ") {
            let start = at;
            let mut command = first.to_owned();
            while command.ends_with('\\') {
                at += 1;
                command.push('\n');
                command.push_str(lines[at]);
            }
            at += 1;
            steps.push(Step { line: start, command, expected: Vec::new(), output: at..at, only });
        } else {
            let step = steps.last_mut().expect("a block starts with a command");
            step.expected.push(line.to_owned());
            at += 1;
            step.output.end = at;
        }
    }
    steps
}

/// A shell that runs one command after another, so that folders, variables and jobs last.
struct Shell {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    outputs: PathBuf,
    count: usize,
}

impl Shell {
    fn start(work: &Path, outputs: &Path) -> Self {
        let path = path_at(&outputs.join("programs"), NOW);
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(work)
            .env("PATH", path)
            .env("LC_ALL", "C")
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("TUF_REPO")
            .env_remove("BASH_ENV")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || lines.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { child, commands, answers, outputs: outputs.to_owned(), count: 0 }
    }

    /// Runs one command to its end, or to the moment when it is a job that has said as much as is expected.
    fn run(&mut self, command: &str, lines: usize) -> (i32, String) {
        self.count += 1;
        let output = self.outputs.join(self.count.to_string());
        let script =
            format!("{{\n{command}\n}} >'{}' 2>&1 </dev/null\necho \"ended $?\"\n", output.display());
        self.commands.write_all(script.as_bytes()).unwrap();
        self.commands.flush().unwrap();
        let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{command}: {error}"));
        let code = answer.strip_prefix("ended ").and_then(|code| code.parse().ok());
        let printed = || fs::read_to_string(&output).unwrap();
        let is_job = command.trim_end().ends_with('&');
        let start = Instant::now();
        while is_job && printed().lines().count() < lines && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        (code.unwrap(), printed())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // the jobs it has left, such as a server, then the shell itself
        let _ = self.commands.write_all(b"kill $(jobs -p)\nexit\n");
        let _ = self.commands.flush();
        let start = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if start.elapsed() > Duration::from_secs(10) {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The key ids of the page and those of this run: keys are random, their ids stand for each other from where a command
/// prints one alone on a line.
#[derive(Default)]
struct KeyIds(BTreeMap<String, String>);

impl KeyIds {
    fn learn(&mut self, expected: &[String], printed: &[&str]) {
        for (page, run) in expected.iter().zip(printed) {
            if is_keyid(page) && is_keyid(run) {
                self.0.insert(page.clone(), (*run).to_owned());
            }
        }
    }

    /// Puts the ids of this run in the place of the page's.
    fn to_run(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (page, run)| {
            text.replace(page.as_str(), run).replace(&page[..8], &run[..8])
        })
    }

    /// Puts the page's ids in the place of this run's.
    fn to_page(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (page, run)| {
            text.replace(run.as_str(), page).replace(&run[..8], &page[..8])
        })
    }
}

fn is_keyid(line: &str) -> bool {
    line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Compares lines: `…` alone stands for any lines, `…` or `[..]` within a line for any characters.
fn lines_match(expected: &[String], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((any, expected)), rest) if any == "…" => {
            lines_match(expected, printed)
                || rest
                    .is_some_and(|(_, printed)| lines_match(&[&["…".to_owned()], expected].concat(), printed))
        }
        (Some(_), None) => false,
        (Some((first, expected)), Some((line, printed))) => {
            line_matches(first, line) && lines_match(expected, printed)
        }
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let expected = expected.replace("[..]", "…");
    let mut parts = expected.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

fn difference(expected: &[String], printed: &[&str]) -> String {
    let mut text = String::new();
    for at in 0..expected.len().max(printed.len()) {
        match (expected.get(at), printed.get(at)) {
            (Some(page), Some(line)) if line_matches(page, line) => text.push_str(&format!("  {line}\n")),
            (page, line) => {
                page.iter().for_each(|page| text.push_str(&format!("- {page}\n")));
                line.iter().for_each(|line| text.push_str(&format!("+ {line}\n")));
            }
        }
    }
    text
}

/// Copies the written metadata out and checks the copy as a client would. Before the first `write` there is nothing.
fn check_a_copy(work: &Path, aside: &Path, step: &Step) {
    let repository = work.join("repository");
    if !repository.join("metadata.staged/root.json").exists() {
        return;
    }
    let _ = fs::remove_dir_all(aside);
    fs::create_dir_all(aside).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(repository.join("metadata.staged"))
        .arg(aside.join("metadata"))
        .status()
        .unwrap();
    assert!(copied.success());
    std::os::unix::fs::symlink(repository.join("targets"), aside.join("targets")).unwrap();
    let now: DateTime<Utc> = NOW.parse().unwrap();
    let options = CheckOptions { side: Side::Live, expiry: Expiry::Enforce, targets: TargetBytes::Digest };
    let report = check(aside, options, now).unwrap();
    assert!(report.ok(), "after line {}, {}: {:?}", step.line + 1, step.command, report.findings);
}

/// Runs the page and returns its commands with what they printed, in the ids of the page.
fn run(page: &str, layout: Layout) -> Vec<(Step, String)> {
    let folder = tempfile::tempdir().unwrap();
    let [work, outputs, aside] = ["work", "outputs", "aside"].map(|name| folder.path().join(name));
    [&work, &outputs].iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut shell = Shell::start(&work, &outputs);
    let mut ids = KeyIds::default();
    let mut ran = Vec::new();
    for step in steps(page) {
        if step.only.is_some_and(|only| only != layout) {
            continue;
        }
        let mut command = ids.to_run(&step.command).replace(PORT, &free);
        if layout == Layout::Plain && command == "tuf-repo init repository" {
            command.push_str(" --no-consistent-snapshot");
        } else if command.starts_with("tuf-repo serve") {
            command = command.replace("tuf-repo serve", &format!("tuf-repo serve --bind {free}"));
        }
        let (code, printed) = shell.run(&command, step.expected.len());
        // the clock of the programs here is no part of what a reader types
        let printed = printed.replace(&free, PORT).replace(&format!(" --time {NOW}"), "");
        let lines: Vec<&str> = printed.lines().collect();
        ids.learn(&step.expected, &lines);
        check_a_copy(&work, &aside, &step);
        // a page that shows an error expects the failure; any other command must do what it is there for
        let fails = lines.iter().any(|line| line.starts_with("error: "));
        assert_eq!(code != 0, fails, "line {}: {command} ended with {code}:\n{printed}", step.line + 1);
        ran.push((step, printed));
    }
    for (step, printed) in &mut ran {
        *printed = ids.to_page(printed);
        let lines: Vec<&str> = printed.lines().collect();
        if !lines_match(&step.expected, &lines) && !blessing() {
            let difference = difference(&step.expected, &lines);
            panic!("docs/tutorial.md, line {} ({layout:?}): $ {}\n{difference}", step.line + 1, step.command);
        }
    }
    ran
}

fn blessing() -> bool {
    std::env::var_os("TUTORIAL_BLESS").is_some()
}

/// Writes what was printed into the page, but for what its wildcards cover already.
fn bless(page: &str, runs: &[(Step, String)]) {
    let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by_key(|(step, _)| std::cmp::Reverse(step.line));
    for (step, printed) in runs {
        let printed: Vec<&str> = printed.lines().collect();
        if !lines_match(&step.expected, &printed) {
            lines.splice(step.output.clone(), printed.iter().map(|line| (*line).to_owned()));
        }
    }
    fs::write(PAGE, lines.join("\n") + "\n").unwrap();
}

#[test]
fn the_tutorial_prints_what_it_says_in_both_layouts() {
    let page = fs::read_to_string(PAGE).unwrap();
    if blessing() {
        let mut runs = run(&page, Layout::Consistent);
        let plain = run(&page, Layout::Plain);
        runs.extend(plain.into_iter().filter(|(step, _)| step.only == Some(Layout::Plain)));
        return bless(&page, &runs);
    }
    for layout in [Layout::Consistent, Layout::Plain] {
        let ran = run(&page, layout);
        assert!(ran.len() > 50, "the page has only {} commands for {layout:?}", ran.len());
    }
}

#[test]
fn a_wildcard_stands_for_text_and_for_lines() {
    let expected = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(lines_match(&expected(&["a … c", "…", "z"]), &["a b c", "1", "2", "z"]));
    assert!(lines_match(&expected(&["…"]), &[]));
    assert!(!lines_match(&expected(&["a … c"]), &["a b d"]));
    assert!(!lines_match(&expected(&["a"]), &["a", "b"]));
    assert!(line_matches("a[..]b[..]", "a12b"));
}

#[test]
fn blocks_of_other_kinds_are_not_run() {
    let page = "```text\n$ no\n```\n```console plain\n$ a \\\n  b\nout\n$ c\n```\n$ no\n";
    let steps = steps(page);
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert_eq!((steps[0].command.as_str(), steps[0].expected.len()), ("a \\\n  b", 1));
    assert_eq!(steps[1].only, Some(Layout::Plain));
}
