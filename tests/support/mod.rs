//! Runs the built `tuf-repo` in a temporary folder and keeps what it said. No rule is tested here.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod programs;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How long the program may keep a test waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Returns the only object on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the run where it ended with this code.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Returns everything that was printed.
    pub fn words(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A temporary folder in which the program is run.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Returns every file below the folder with its bytes, sorted by name.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        collect(self.0.path(), self.0.path(), &mut files);
        files.sort();
        files
    }

    /// Prepares the program: in this folder, without a terminal, and with no variable that steers it.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-repo"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        for name in ["TUF_REPO", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        finish(self.command(args))
    }

    /// Runs the program with a text as its stdin.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: &[S], input: &str) -> Ran {
        self.write("stdin", input);
        let mut command = self.command(args);
        command.stdin(fs::File::open(self.path("stdin")).unwrap());
        let ran = finish(command);
        fs::remove_file(self.path("stdin")).unwrap();
        ran
    }

    /// Runs the program at a pseudo terminal, typing each answer when its prompt has appeared; none where this
    /// machine has no `script` command that can make one. Everything shown is in `stdout`.
    pub fn run_at_terminal(&self, args: &[&str], answers: &[(&str, &str)]) -> Option<Ran> {
        let words: Vec<String> = args.iter().map(|word| format!("'{word}'")).collect();
        self.run_line_at_terminal(&format!("$PROGRAM {}", words.join(" ")), answers)
    }

    /// As [`Folder::run_at_terminal`], with a line for the shell, in which `$PROGRAM` is the program.
    pub fn run_line_at_terminal(&self, line: &str, answers: &[(&str, &str)]) -> Option<Ran> {
        let mut command = Command::new("script");
        command.env("PROGRAM", env!("CARGO_BIN_EXE_tuf-repo"));
        command.args(["-q", "-e", "-c", line, "/dev/null"]).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let helps = Command::new("script").arg("--version").output();
        if !helps.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
            eprintln!("skipped: no script command of util-linux here");
            return None;
        }
        Some(converse(command.spawn().unwrap(), answers))
    }
}

pub fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    let ran = Ran {
        code: output.status.code().expect("the program was killed"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    ran.stderr.lines().filter_map(|line| line.strip_prefix("hint: ")).for_each(check_hint);
    ran
}

/// Every hint that any test meets: a command stands at its end, after the words that explain it, and nothing behind it.
fn check_hint(hint: &str) {
    let starts = ["tuf-repo ", "tuf-fetch "].iter().filter_map(|program| hint.find(program));
    let Some(at) = starts.min() else { return };
    assert!(at == 0 || hint[..at].ends_with(": "), "words before a command end with a colon: {hint}");
    // what is quoted is one word
    let typed: String = hint[at..].split('\'').step_by(2).collect();
    for prose in [", ", "; ", " takes ", " then ", " or ", " and ", ": "] {
        assert!(!typed.contains(prose), "words behind a command: {hint}");
    }
}

fn converse(mut child: Child, answers: &[(&str, &str)]) -> Ran {
    let (sender, chunks) = mpsc::channel();
    let mut screen = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut shown = Vec::new();
    let mut seen = 0;
    let mut keyboard = child.stdin.take().unwrap();
    for (prompt, answer) in answers {
        loop {
            let fresh = String::from_utf8_lossy(&shown[seen..]).into_owned();
            if fresh.contains(prompt) {
                seen = shown.len();
                break;
            }
            match chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => shown.extend(chunk),
                Err(error) => {
                    let _ = child.kill();
                    panic!("no prompt {prompt:?} ({error}) but {fresh:?}");
                }
            }
        }
        // the prompt is shown a moment before the echo is turned off
        thread::sleep(Duration::from_millis(300));
        writeln!(keyboard, "{answer}").unwrap();
    }
    while let Ok(chunk) = chunks.recv_timeout(PATIENCE) {
        shown.extend(chunk);
    }
    let code = child.wait().unwrap().code().unwrap();
    Ran { code, stdout: String::from_utf8_lossy(&shown).into_owned(), stderr: String::new() }
}

fn collect(top: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, files);
        } else {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read(&path).unwrap()));
        }
    }
}
