//! The keys that docs/exit-codes.md lists for each command are those that the commands print.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::Folder;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/exit-codes.md");

type Keys = BTreeSet<String>;

/// Returns the words in backticks in a piece of text.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the tables whose second column is `keys…`: command to keys.
fn documented() -> BTreeMap<String, Keys> {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut commands = BTreeMap::new();
    let mut in_table = false;
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "command", head, ""] => in_table = head.starts_with("keys"),
            ["", command, keys, ""] if in_table && command.starts_with('`') => {
                let keys = quoted(keys).into_iter().map(str::to_owned).collect();
                commands.insert(quoted(command)[0].to_owned(), keys);
            }
            ["", _, _, ""] => {}
            _ => in_table = false,
        }
    }
    commands
}

/// Returns the commands that a program's help lists.
fn commands(program: &str) -> Vec<String> {
    let output = Command::new(program).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // a line that goes on is indented further
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

fn keys(object: &Value) -> Keys {
    let mut keys: Keys = object.as_object().unwrap().keys().cloned().collect();
    assert!(keys.remove("schema_version"), "{object}");
    assert_eq!(object["schema_version"], 1);
    keys
}

/// Runs commands and notes the keys of what they print.
struct Notes {
    folder: Folder,
    printed: BTreeMap<String, Keys>,
}

impl Notes {
    /// Runs `tuf-repo` in the repository; the command is called by its first `words` words.
    fn repo(&mut self, words: usize, args: &[&str]) {
        let ran = self.folder.run(&[&["--json", "-r", "repository"], args].concat()).exits(0);
        self.note(&args[..words].join(" "), &ran.json());
    }

    fn fetch(&mut self, args: &[&str]) {
        let url = format!("file://{}", self.folder.path("repository").display());
        let program = env!("CARGO_BIN_EXE_tuf-fetch");
        let output = Command::new(program)
            .args(["--json", "--metadata-dir", "client", "--target-dir", "fetched", "--repo", &url])
            .args(args)
            .current_dir(self.folder.path(""))
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        self.note(&format!("tuf-fetch {}", args[0]), &serde_json::from_slice(&output.stdout).unwrap());
    }

    fn serve(&mut self) {
        let mut command = self.folder.command(&["--json", "-q", "-r", "repository", "serve"]);
        let mut server = command.args(["--bind", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        self.note("serve", &serde_json::from_str(&line).unwrap());
    }

    fn note(&mut self, command: &str, object: &Value) {
        let keys = keys(object);
        if let Some(before) = self.printed.insert(command.to_owned(), keys.clone()) {
            assert_eq!(before, keys, "{command} prints other keys another time");
        }
    }
}

#[test]
fn every_command_prints_the_keys_that_are_documented() {
    let mut notes = Notes { folder: Folder::new(), printed: BTreeMap::new() };
    for key in ["key", "other"] {
        notes.repo(1, &["keygen", key, "--no-password"]);
    }
    notes.folder.write("password", "secret\n");
    notes.repo(2, &["key", "id", "key.pub"]);
    notes.repo(2, &["key", "show", "key"]);
    notes.repo(2, &["key", "passwd", "other", "--new-password-file", "password"]);
    notes.repo(2, &["key", "convert", "key", "--out", "converted", "--no-password"]);
    notes.repo(1, &["init"]);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        notes.repo(1, &["add-key", role, "key.pub"]);
    }
    notes.repo(1, &["add-key", "root", "other.pub"]);
    notes.repo(1, &["remove-key", "root", "other.pub"]);
    notes.repo(1, &["threshold", "root", "1"]);
    notes.repo(1, &["expire", "root", "2y"]);
    notes.repo(2, &["sign", "--export", "bundle.json", "root"]);
    notes.repo(2, &["sign", "--bundle", "bundle.json", "--key", "key"]);
    notes.repo(2, &["sign", "--import", "bundle.json"]);
    notes.repo(1, &["sign", "targets", "--key", "key"]);
    notes.repo(1, &["status"]);
    for name in ["one", "two"] {
        notes.folder.write(&format!("repository/targets/{name}"), name);
    }
    notes.repo(1, &["add-targets", "repository/targets"]);
    notes.repo(1, &["delegate", "other", "--key", "other.pub", "--paths", "other/*"]);
    notes.repo(1, &["list"]);
    notes.repo(1, &["diff"]);
    notes.repo(1, &["revoke", "other"]);
    notes.repo(1, &["write", "--key", "key"]);
    notes.repo(1, &["publish"]);
    notes.repo(1, &["pull"]);
    notes.repo(1, &["remove-targets", "two"]);
    notes.repo(1, &["rotate-key", "root", "--old", "key.pub", "--new", "other.pub"]);
    notes.repo(1, &["discard"]);
    notes.repo(1, &["bump", "timestamp"]);
    notes.repo(1, &["write", "--key", "key"]);
    notes.repo(1, &["refresh", "--key", "key"]);
    notes.repo(1, &["verify"]);
    notes.repo(1, &["doctor"]);
    notes.repo(1, &["gc"]);
    notes.repo(2, &["gc", "--explain", "metadata.staged/1.targets.json"]);
    notes.repo(1, &["graph"]);
    notes.repo(1, &["completions", "bash"]);
    notes.repo(1, &["man", "man"]);
    notes.serve();
    let published = ["--from", "repository", "--trusted-root", "repository/metadata/1.root.json"];
    let ran = notes.folder.run(&[&["--json", "init", "taken-over"], &published[..]].concat()).exits(0);
    notes.note("init --from", &ran.json());
    notes.fetch(&["init", "repository/metadata/1.root.json"]);
    for command in ["refresh", "list", "status"] {
        notes.fetch(&[command]);
    }
    notes.fetch(&["download", "one"]);
    notes.fetch(&["update"]);
    notes.fetch(&["clean"]);

    let documented = documented();
    assert!(documented.len() > 30, "{documented:?}");
    for (command, keys) in &notes.printed {
        assert_eq!(documented.get(command), Some(keys), "{command}");
    }
    // a command of the page that is not run here would be a promise without a test
    let names = |commands: &BTreeMap<String, Keys>| commands.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&documented), names(&notes.printed));
}

#[test]
fn no_command_is_left_out_of_the_page() {
    let documented = documented();
    let programs = [("", env!("CARGO_BIN_EXE_tuf-repo")), ("tuf-fetch ", env!("CARGO_BIN_EXE_tuf-fetch"))];
    for (prefix, program) in programs {
        let commands = commands(program);
        assert!(commands.len() > 5, "{commands:?}");
        for command in commands {
            let name = format!("{prefix}{command}");
            // of a group of commands, such as key, each has a row of its own
            let is_there = |known: &String| *known == name || known.starts_with(&format!("{name} "));
            assert!(documented.keys().any(is_there), "docs/exit-codes.md has no row for {name}");
        }
    }
}
