//! The built program with a fault at each system call by which it changes the disk: killed there, or told that the disk
//! is full, broken or read-only, once or from there on. Clients look at what is left, and the command is given again.
//!
//! `strace` injects the faults (Debian's package of that name). Where it is missing, or may not trace, the tests say so
//! and pass. A run takes a sample of the calls; `TUF_FAULTS=all` takes every one, as `.ci/run` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use tuf::repository::{Layout, Replace};

use crate::cli::NOW;
use crate::client::{Standing, served};
use crate::world::{World, contents, difference, pem, public, role};

/// The calls that change a disk or make a change durable. Of `openat` those count that may create, of `write` those to
/// files.
const CHANGES: [&str; 24] = [
    "chmod",
    "copy_file_range",
    "fallocate",
    "fchmod",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "symlinkat",
    "syncfs",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
];

const ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EROFS"];

/// A call that changes the disk.
#[derive(Debug, Clone)]
struct Call {
    name: String,
    /// Which of the calls of that name in its thread it is, from 1; of its path where it is not the first thread's.
    ordinal: usize,
    /// The path, for calls of other threads than the first: those `strace` is told by their path.
    path: Option<String>,
    /// As `strace` wrote it.
    line: String,
}

/// Tells whether `strace` is here and may trace; says why not.
fn can_trace() -> bool {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("skipped: strace may not trace here: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            eprintln!("skipped: no strace here ({error}); apt-get install strace");
            false
        }
    }
}

/// A command on trial.
struct Trial<'a> {
    world: &'a World,
    args: &'a [&'a str],
    /// What clients download from, and whether they may find the new state there after the command.
    serving: &'a [&'a str],
    layout: Layout,
    time: &'a str,
    /// The exit code of a command without a fault.
    clean: i32,
    /// The exit code, beside 0 and that one, of a command that finds everything done already.
    done: Option<i32>,
    end: End,
}

/// Where a command ends that is given again after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Where one without a fault does, to the byte.
    Same,
    /// In a sound state: the command does more each time that it is given.
    Sound,
}

impl<'a> Trial<'a> {
    /// Tries a command at a repository with consistent snapshots.
    fn of(world: &'a World, args: &'a [&'a str]) -> Self {
        let (layout, time) = (Layout::Consistent, NOW);
        Self { world, args, serving: &BOTH, layout, time, clean: 0, done: None, end: End::Same }
    }

    /// The same with another command.
    fn with(&self, args: &'a [&'a str]) -> Self {
        Self { args, ..*self }
    }

    fn command(&self, world: &World, strace: &[String]) -> Command {
        let program = env!("CARGO_BIN_EXE_tuf-repo");
        let mut command = match strace {
            [] => Command::new(program),
            _ => {
                let mut command = Command::new("strace");
                command.args(strace).arg(program);
                command
            }
        };
        command.args(self.args).args(["--time", self.time, "--wait", "20s"]).current_dir(world.dir());
        command.env_remove("TUF_REPO").env("RAYON_NUM_THREADS", "1");
        command
    }

    fn run(&self, world: &World, strace: &[String]) -> Output {
        self.command(world, strace).output().unwrap()
    }

    /// Runs the command to its end and returns the calls by which it changes the disk, in their order.
    fn calls(&self, world: &World) -> Vec<Call> {
        let file = world.dir().with_extension("trace");
        let trace = format!("trace=execve,{}", CHANGES.join(","));
        let args = ["-f", "-o", file.to_str().unwrap(), "-s", "0", "-e", &trace].map(str::to_owned);
        let output = self.run(world, &args);
        assert_eq!(output.status.code(), Some(self.clean), "{:?}: {output:?}", self.args);
        let text = fs::read_to_string(file).unwrap();
        let first = text.split_whitespace().next().unwrap().to_owned();
        let mut counts: BTreeMap<(String, String, Option<String>), usize> = BTreeMap::new();
        let mut calls = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
            let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
            let is_first = thread == first;
            // a descriptor is told by the file that was opened last: one file at a time is filled in another thread
            let path = if is_first { None } else { opened(&text, thread, index, rest) };
            let count = counts.entry((thread.to_owned(), name.to_owned(), path.clone())).or_default();
            *count += 1;
            let changes = match name {
                "openat" => rest.contains("O_CREAT"),
                "write" => !rest.starts_with("1,") && !rest.starts_with("2,"),
                _ => CHANGES.contains(&name),
            };
            if changes && (is_first || path.is_some()) {
                calls.push(Call {
                    name: name.to_owned(),
                    ordinal: *count,
                    path,
                    line: call.trim_start().to_owned(),
                });
            }
        }
        calls
    }

    /// What must hold after any fault: clients find the old state or the new one, whole.
    fn look(&self, state: &World, outcomes: &[Standing], why: &str) {
        if self.layout == Layout::Plain {
            return;
        }
        for folder in self.serving {
            let folder = state.path(folder);
            for client in [&outcomes[0], &Standing { root: first_root(&folder), ..bare() }] {
                let (reached, _) = client
                    .update(&folder)
                    .unwrap_or_else(|error| panic!("{why}: {}: {error}", folder.display()));
                let seen = (&reached.timestamp, &reached.snapshot);
                let known = outcomes.iter().any(|known| seen == (&known.timestamp, &known.snapshot));
                assert!(known, "{why}: a client of {} sees neither the old nor the new", folder.display());
                served(&folder, &folder.join("../targets"), &reached, why);
            }
        }
    }

    /// Gives the command once more: it ends where one without a fault does.
    fn finish(&self, state: &World, end: &BTreeMap<String, Vec<u8>>, why: &str) {
        let again = self.run(state, &[]);
        let is_done = again.status.code() == self.done;
        let is_clean = again.status.code() == Some(self.clean);
        assert!(is_clean || is_done, "{why}: {again:?}");
        if self.end == End::Sound {
            let verify = self.with(&["verify"]).run(state, &[]);
            assert!(verify.status.success(), "{why}: {verify:?}");
            return;
        }
        let mut found = contents(&state.dir());
        // where nothing was left to do, nothing was tidied up either
        found.retain(|name, _| !is_done || !name.contains(".tuf-tmp-"));
        let differs = difference(end, &found);
        assert!(differs.is_empty(), "{why}: {differs:?}");
    }

    /// Puts a fault at every call, or at a sample of them.
    fn all(&self) {
        if !can_trace() {
            return;
        }
        let clean = self.world.twin();
        let calls = self.calls(&clean);
        assert!(calls.len() >= 3, "{calls:?}");
        let end = contents(&clean.dir());
        let step = if std::env::var_os("TUF_FAULTS").is_some_and(|value| value == "all") { 1 } else { 7 };
        let start = self.world.path(self.serving[0]);
        let old = Standing { root: first_root(&start), ..bare() }.update(&start).unwrap().0;
        let new = old.update(&clean.path(self.serving[0])).unwrap().0;
        let outcomes = [old, new];
        for at in (0..calls.len()).step_by(step) {
            self.kill(&calls[at], &outcomes, &end);
        }
        for at in (3 % step..calls.len()).step_by(step) {
            for (number, error) in ERRORS.iter().enumerate() {
                if step == 1 || at % ERRORS.len() == number {
                    self.fail(&calls[at], error, &outcomes, &end);
                }
            }
        }
        for at in (5 % step..calls.len()).step_by(step) {
            self.fail_from(&calls, at, &outcomes, &end);
        }
    }

    fn kill(&self, call: &Call, outcomes: &[Standing], end: &BTreeMap<String, Vec<u8>>) {
        let state = self.world.twin();
        let why = format!("{:?} killed at {}", self.args, call.line);
        let output = self.run(&state, &call.inject(&state, "signal=KILL"));
        assert_eq!(output.status.signal(), Some(9), "{why}: {output:?}");
        self.look(&state, outcomes, &why);
        self.finish(&state, end, &why);
    }

    fn fail(&self, call: &Call, error: &str, outcomes: &[Standing], end: &BTreeMap<String, Vec<u8>>) {
        let state = self.world.twin();
        let why = format!("{:?}, {error} at {}", self.args, call.line);
        let output = self.run(&state, &call.inject(&state, &format!("error={error}")));
        self.judge(&output, &state, outcomes, end, &why);
    }

    /// From one call on, each that changes the disk is refused.
    fn fail_from(&self, calls: &[Call], at: usize, outcomes: &[Standing], end: &BTreeMap<String, Vec<u8>>) {
        let error = ERRORS[at % 2 * 2];
        let state = self.world.twin();
        let why = format!("{:?}, {error} from {} on", self.args, calls[at].line);
        let mut options: Vec<String> = ["-f", "-o", "/dev/null"].map(str::to_owned).to_vec();
        let mut named = BTreeSet::new();
        for call in calls[at..].iter().filter(|call| call.path.is_none()) {
            // to read must be possible, and to say what is wrong
            if !matches!(call.name.as_str(), "openat" | "write") && named.insert(&call.name) {
                options.extend([
                    "-e".to_owned(),
                    format!("inject={}:error={error}:when={}+", call.name, call.ordinal),
                ]);
            }
        }
        if named.is_empty() {
            return;
        }
        let output = self.run(&state, &options);
        self.judge(&output, &state, outcomes, end, &why);
    }

    fn judge(
        &self,
        output: &Output,
        state: &World,
        outcomes: &[Standing],
        end: &BTreeMap<String, Vec<u8>>,
        why: &str,
    ) {
        let words = String::from_utf8_lossy(&output.stderr);
        let words: String = words
            .lines()
            .filter(|line| !line.starts_with("strace: "))
            .map(|line| format!("{line}\n"))
            .collect();
        self.look(state, outcomes, why);
        match output.status.code() {
            Some(1) => {
                // what was said before is talk; the failure itself is one line, and a hint perhaps
                let end: Vec<&str> = words.lines().skip_while(|line| !line.starts_with("error: ")).collect();
                let errors = end.iter().filter(|line| !line.starts_with("hint: ")).count();
                assert_eq!(errors, 1, "{why}: {words}");
            }
            // what failed was to tidy up: all is done, and the next run tidies up
            Some(code) if code == self.clean => {
                let done: BTreeMap<String, Vec<u8>> = contents(&state.dir())
                    .into_iter()
                    .filter(|(name, _)| !name.contains(".tuf-tmp"))
                    .collect();
                let differs = difference(end, &done);
                assert!(differs.is_empty(), "{why} and said nothing of it: {differs:?}");
            }
            _ => panic!("{why}: {output:?}"),
        }
        self.finish(state, end, why);
    }
}

impl Call {
    fn inject(&self, state: &World, fault: &str) -> Vec<String> {
        let mut options = vec!["-o".to_owned(), "/dev/null".to_owned()];
        if let Some(path) = &self.path {
            // as it is typed, and as a descriptor is told
            let full = state.dir().join(path.trim_start_matches("./"));
            options.extend(["-f", "-P", path, "-P", full.to_str().unwrap()].map(str::to_owned));
        }
        options.extend(["-e".to_owned(), format!("trace={}", self.name)]);
        options.extend(["-e".to_owned(), format!("inject={}:{fault}:when={}", self.name, self.ordinal)]);
        options
    }
}

/// Returns the path that a call of another thread is about: its own, or that of the file that the thread created last.
fn opened(text: &str, thread: &str, until: usize, rest: &str) -> Option<String> {
    let quoted = |rest: &str| rest.split('"').nth(1).filter(|path| !path.is_empty()).map(str::to_owned);
    if let Some(path) = quoted(rest) {
        return Some(path);
    }
    let before = text.lines().take(until);
    let created = before.filter(|line| line.starts_with(thread) && line.contains("O_CREAT")).last()?;
    quoted(created)
}

fn bare() -> Standing {
    Standing { root: Vec::new(), timestamp: None, snapshot: None }
}

fn first_root(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("1.root.json")).unwrap()
}

/// A repository that is live, with its keys in it.
pub fn live(layout: Layout) -> World {
    let world = World::written(layout);
    fs::create_dir(world.path("keystore")).unwrap();
    for number in 0..7 {
        let path = world.path("keystore").join(format!("key-{number}"));
        fs::write(&path, pem(number)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let text = tuf::crypto::public_key_to_pem(public(number)).unwrap();
        fs::write(path.with_extension("pub"), text).unwrap();
    }
    world.put("a", b"first");
    world.put("dir/b", b"second");
    world.add("targets", &["a", "dir/b"], Replace::Refuse).unwrap();
    world.delegate("targets", "django", 4, &["django/*/*"]).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    world
}

/// The same with a draft of every role: new targets and replaced ones, a new root.
fn drafted(layout: Layout) -> World {
    let world = live(layout);
    world.put("a", b"first, and better");
    world.put("django/new/c", b"third");
    world.add("targets", &["a"], Replace::Allow).unwrap();
    world.add("django", &["django/new/c"], Replace::Refuse).unwrap();
    world.edit(|repository| repository.add_key(&role("root"), public(5), None)).unwrap();
    world
}

/// The same with all of that written.
fn written(layout: Layout) -> World {
    let world = drafted(layout);
    world.write(&[0, 1, 2, 3, 4, 5]).unwrap();
    world
}

const BOTH: [&str; 2] = ["metadata.staged", "metadata"];
const WRITE: [&str; 7] = [
    "write",
    "--key=keystore/key-0",
    "--key=keystore/key-1",
    "--key=keystore/key-2",
    "--key=keystore/key-3",
    "--key=keystore/key-4",
    "--key=keystore/key-5",
];

#[test]
fn a_fault_anywhere_in_write_costs_nothing() {
    let layout = Layout::Consistent;
    Trial { layout, ..Trial::of(&drafted(layout), &WRITE) }.all();
}

#[test]
fn a_fault_anywhere_in_write_of_plain_names_is_made_good_by_the_next() {
    let layout = Layout::Plain;
    Trial { layout, ..Trial::of(&drafted(layout), &WRITE) }.all();
}

#[test]
fn a_fault_anywhere_in_publish_costs_nothing() {
    let layout = Layout::Consistent;
    Trial { serving: &["metadata"], layout, ..Trial::of(&written(layout), &["publish"]) }.all();
}

#[test]
fn a_fault_anywhere_in_publish_of_plain_names_is_made_good_by_the_next() {
    let layout = Layout::Plain;
    Trial { serving: &["metadata"], layout, ..Trial::of(&written(layout), &["publish"]) }.all();
}

#[test]
fn a_fault_anywhere_in_publish_to_a_new_folder_leaves_nothing_that_is_half_done() {
    let layout = Layout::Consistent;
    // nobody is served from the folder yet
    let args = ["publish", "--to", "www/new"];
    Trial { serving: &["metadata"], ..Trial::of(&live(layout), &args) }.all();
}

#[test]
fn a_fault_anywhere_in_publish_to_a_folder_costs_nothing() {
    let layout = Layout::Consistent;
    let world = live(layout);
    let first = ["publish", "--to", "www"];
    let trial = Trial::of(&world, &first);
    assert!(trial.run(&world, &[]).status.success());
    // from here on the folder is what clients download from, beside the repository's own
    let world = {
        world.put("e", b"fifth");
        world
    };
    world.add("targets", &["e"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    Trial { serving: &["www/metadata"], ..Trial::of(&world, &first) }.all();
}

#[test]
fn a_fault_anywhere_in_gc_costs_nothing() {
    let layout = Layout::Consistent;
    let world = written(layout);
    world.publish().unwrap();
    for args in [&["gc", "--keep", "1"][..], &["gc", "--keep", "1", "--archive", "archive"]] {
        Trial::of(&world, args).all();
    }
}

#[test]
fn a_fault_anywhere_in_an_edit_of_keys_costs_nothing() {
    let layout = Layout::Consistent;
    let args = ["add-key", "targets", "keystore/key-6.pub"];
    Trial::of(&live(layout), &args).all();
}

#[test]
fn a_fault_anywhere_in_an_edit_of_targets_costs_nothing() {
    let layout = Layout::Consistent;
    let world = live(layout);
    let outside = world.path("outside/new/folder");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("e"), b"fifth").unwrap();
    fs::write(outside.join("f"), b"sixth").unwrap();
    let args = ["add-targets", "-R", "outside", "--base", "outside"];
    Trial::of(&world, &args).all();
}

/// Each of the keys of the roles, for commands that sign.
const KEYS: [&str; 5] = [
    "--key=keystore/key-0",
    "--key=keystore/key-1",
    "--key=keystore/key-2",
    "--key=keystore/key-3",
    "--key=keystore/key-4",
];

#[test]
fn a_fault_anywhere_in_refresh_is_made_good_by_the_next_refresh() {
    let args = [&["refresh"][..], &KEYS].concat();
    // due are the timestamp, the snapshot too, all that list targets too, and the root too
    let times =
        ["2031-03-02T01:00:00Z", "2031-03-05T12:00:00Z", "2031-06-10T12:00:00Z", "2032-03-02T12:00:00Z"];
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = live(layout);
        for time in times {
            Trial { time, layout, ..Trial::of(&world, &args) }.all();
        }
    }
}

#[test]
fn a_fault_anywhere_in_a_refresh_beyond_all_expiries_is_no_end_to_it() {
    let args = [&["refresh", "--within", "400d"][..], &KEYS].concat();
    for layout in [Layout::Consistent, Layout::Plain] {
        Trial { end: End::Sound, layout, ..Trial::of(&live(layout), &args) }.all();
    }
}

#[test]
fn a_fault_anywhere_in_a_delegation_is_made_good_by_the_same_again() {
    let world = live(Layout::Consistent);
    // names that stand before the delegator's and after it
    for name in ["aaa", "zzz", "team/\u{e9}quipe"] {
        let args = ["delegate", name, "--key", "keystore/key-5.pub", "--paths", "*", "x/*"];
        Trial::of(&world, &args).all();
    }
    for name in ["a", "z"] {
        let args = ["delegate", name, "--from", "django", "--key", "keystore/key-5.pub", "--paths", "*"];
        Trial::of(&world, &args).all();
    }
    let bins = ["delegate", "zbin", "--bins", "4", "--classic", "--key", "keystore/key-5.pub"];
    Trial::of(&world, &bins).all();
    assert!(Trial::of(&world, &bins).run(&world, &[]).status.success());
    let among = ["delegate", "y", "--key", "keystore/key-6.pub", "--paths", "*", "--before", "zbin-2"];
    Trial::of(&world, &among).all();
}

#[test]
fn a_fault_anywhere_in_a_revocation_is_made_good_by_the_same_again() {
    let world = live(Layout::Consistent);
    Trial::of(&world, &["revoke", "django"]).all();
    // of roles that have never been written there is nothing but drafts
    world.delegate("django", "zzz", 5, &["django/*/*"]).unwrap();
    world.put("django/x/y", b"third");
    world.add("zzz", &["django/x/y"], Replace::Refuse).unwrap();
    // gone, it is a role like any other that has never been
    Trial { done: Some(2), ..Trial::of(&world, &["revoke", "zzz"]) }.all();
    Trial::of(&world, &["revoke", "django"]).all();
    Trial::of(&world, &["discard"]).all();
    Trial::of(&world, &["discard", "django"]).all();
}

#[test]
fn a_fault_anywhere_in_an_edit_of_delegated_keys_costs_nothing() {
    let world = live(Layout::Consistent);
    Trial::of(&world, &["add-key", "django", "keystore/key-5.pub"]).all();
    let rotate = ["rotate-key", "django", "--old", "keystore/key-4.pub", "--new", "keystore/key-6.pub"];
    Trial { done: Some(2), ..Trial::of(&world, &rotate) }.all();
    let rotate = ["rotate-key", "root", "--old", "keystore/key-0.pub", "--new", "keystore/key-6.pub"];
    Trial { done: Some(2), ..Trial::of(&world, &rotate) }.all();
}

#[test]
fn a_fault_anywhere_in_signing_costs_nothing() {
    let world = drafted(Layout::Consistent);
    Trial::of(&world, &[&["sign"][..], &KEYS].concat()).all();
    fs::create_dir(world.path("ex")).unwrap();
    let export = ["sign", "--export", "ex/root.json", "root"];
    Trial { done: Some(2), ..Trial::of(&world, &export) }.all();
    assert!(Trial::of(&world, &export).run(&world, &[]).status.success());
    let sign = ["sign", "--bundle", "ex/root.json", "--key=keystore/key-0", "--key=keystore/key-5"];
    Trial::of(&world, &sign).all();
    assert!(Trial::of(&world, &sign).run(&world, &[]).status.success());
    // signatures that are there already are refused
    Trial { done: Some(5), ..Trial::of(&world, &["sign", "--import", "ex/root.json"]) }.all();
}

#[test]
fn a_fault_anywhere_in_taking_a_role_in_costs_nothing() {
    let world = live(Layout::Consistent);
    let elsewhere = world.twin();
    elsewhere.delegate("django", "zzz", 5, &["django/x/*"]).unwrap();
    elsewhere.write(&[2, 3, 4, 5]).unwrap();
    fs::copy(elsewhere.path("metadata.staged/2.django.json"), world.path("django.json")).unwrap();
    Trial::of(&world, &["sign", "--import", "django.json"]).all();
}

#[test]
fn a_fault_anywhere_in_init_is_made_good_by_the_same_again() {
    let world = live(Layout::Consistent);
    Trial { done: Some(2), ..Trial::of(&world, &["init", "new/repository"]) }.all();
}

/// A copy that lies behind what a colleague has published to `www`.
fn behind(layout: Layout) -> World {
    let world = live(layout);
    let publish = ["publish", "--to", "www"];
    assert!(Trial::of(&world, &publish).run(&world, &[]).status.success());
    let colleague = world.twin();
    colleague.put("e", b"fifth");
    colleague.add("targets", &["e"], Replace::Refuse).unwrap();
    colleague.edit(|repository| repository.add_key(&role("root"), public(5), None)).unwrap();
    colleague.write(&[0, 1, 2, 3, 4, 5]).unwrap();
    let to = world.path("www");
    let publish = ["publish", "--to", to.to_str().unwrap()];
    assert!(Trial::of(&colleague, &publish).run(&colleague, &[]).status.success());
    world
}

#[test]
fn a_fault_anywhere_in_a_pull_is_made_good_by_the_same_again() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = behind(layout);
        // without the bytes of targets nobody can be served from the copy
        let args = ["pull", "--from", "www"];
        Trial { serving: &["www/metadata"], layout, ..Trial::of(&world, &args) }.all();
        let args = ["pull", "--from", "www", "--targets"];
        Trial { serving: &["metadata.staged"], layout, ..Trial::of(&world, &args) }.all();
    }
}

#[test]
fn a_fault_anywhere_in_a_pull_that_drafts_a_timestamp_is_made_good_by_the_same_again() {
    let world = live(Layout::Consistent);
    let publish = ["publish", "--to", "www"];
    assert!(Trial::of(&world, &publish).run(&world, &[]).status.success());
    let job = world.twin();
    for _ in 0..2 {
        job.edit(|repository| repository.bump(&role("timestamp"), None)).unwrap();
        job.write(&[3]).unwrap();
    }
    let to = world.path("www");
    let publish = ["publish", "--to", to.to_str().unwrap()];
    assert!(Trial::of(&job, &publish).run(&job, &[]).status.success());
    // a release of this copy waits
    world.put("e", b"fifth");
    world.add("targets", &["e"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    Trial { serving: &["metadata.staged"], ..Trial::of(&world, &["pull", "--from", "www", "--yes"]) }.all();
}

#[test]
fn a_fault_anywhere_in_a_pull_that_keeps_work_aside_is_made_good_by_the_same_again() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let args = ["pull", "--from", "www", "--set-aside", "--yes"];
        // drafts: of a role that is live, of a new role that it delegates to, and of one that nobody else changed
        let world = behind(layout);
        world.put("zzz/f", b"sixth");
        world.put("django/x/y", b"seventh");
        world.delegate("targets", "aaa", 5, &["zzz/*"]).unwrap();
        world.add("aaa", &["zzz/f"], Replace::Refuse).unwrap();
        world.add("django", &["django/x/y"], Replace::Refuse).unwrap();
        Trial { serving: &["www/metadata"], layout, clean: 3, ..Trial::of(&world, &args) }.all();
        // a release that is written and not live, and a draft upon it
        let world = behind(layout);
        world.put("f", b"sixth");
        world.add("targets", &["f"], Replace::Refuse).unwrap();
        world.write(&[1, 2, 3]).unwrap();
        world.put("g", b"seventh");
        world.add("targets", &["g"], Replace::Refuse).unwrap();
        Trial { serving: &["www/metadata"], layout, clean: 3, ..Trial::of(&world, &args) }.all();
    }
}
