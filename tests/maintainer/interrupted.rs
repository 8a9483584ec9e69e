//! ^C at a command that is surely in the middle of its work: it ends at once as any program does, every file is what it was or
//! what it will be, and the same command again ends where one that was left alone does.
//!
//! Nothing here waits for a time. What is waited for can be seen from outside: the hidden folder that new files are filled in,
//! or bytes that the command has taken from a pipe. Where the signal comes too late all the same, the trial starts anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;

use serde_json::Value;
use tuf::metadata::Threshold;
use tuf::repository::{BinKind, Delegation, Layout, Replace, Trust};

use crate::cli::NOW;
use crate::faults::live;
use crate::world::{World, contents, difference, public, role};

const INTERRUPT: i32 = 2;
/// How often a signal may come too late.
const TRIES: usize = 20;
/// More than a pipe holds, and more than a command may read ahead.
const SURELY_READ: usize = 1 << 20;

type Tree = BTreeMap<String, Vec<u8>>;

/// A command that is interrupted.
struct Trial<'a> {
    world: &'a World,
    args: &'a [&'a str],
    input: &'a str,
}

impl Trial<'_> {
    fn command(&self, world: &World) -> Command {
        let mut command = interruptible(env!("CARGO_BIN_EXE_tuf-repo"));
        // between fork and exec the child of another test holds the lock of this process
        command.args(self.args).args(["--time", NOW, "--wait", "20s"]).current_dir(world.dir());
        command.env_remove("TUF_REPO").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs the command and leaves it alone.
    fn run(&self, world: &World) {
        let input = world.dir().with_extension("input");
        fs::write(&input, self.input).unwrap();
        let mut command = self.command(world);
        command.stdin(File::open(&input).unwrap()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{:?}: {output:?}", self.args);
    }

    /// Interrupts the command while this hidden folder is there.
    fn at(&self, hidden: &str) {
        let end = self.end();
        for _ in 0..TRIES {
            let state = self.world.twin();
            let place = state.path(hidden).join(".tuf-tmp-0");
            let mut child = self.command(&state).spawn().unwrap();
            while !place.exists() && child.try_wait().unwrap().is_none() {
                thread::yield_now();
            }
            let status = interrupt(child);
            let is_finished = difference(&end, &settled(&state)).is_empty();
            if status.signal() == Some(INTERRUPT) && !is_finished {
                return self.judge(&state, &end);
            }
            assert!(is_finished, "{:?}: {status}", self.args);
        }
        panic!("{:?} was done {TRIES} times before the signal came", self.args);
    }

    /// Interrupts the command when it has read a part of its input and waits for the rest.
    fn while_it_reads(&self) {
        let end = self.end();
        let state = self.world.twin();
        let mut child = self.command(&state).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&self.input.as_bytes()[..SURELY_READ]).unwrap();
        let status = interrupt(child);
        assert_eq!(status.signal(), Some(INTERRUPT), "{status}");
        drop(pipe);
        assert_eq!(contents(&state.dir()), contents(&self.world.dir()));
        self.judge(&state, &end);
    }

    /// Returns what the command comes to where nobody interrupts it.
    fn end(&self) -> Tree {
        let clean = self.world.twin();
        self.run(&clean);
        let end = settled(&clean);
        assert!(!difference(&settled(self.world), &end).is_empty(), "{:?} changes nothing", self.args);
        end
    }

    /// What must hold after ^C, and after the next run.
    fn judge(&self, state: &World, end: &Tree) {
        let (before, found) = (settled(self.world), settled(state));
        let known: BTreeSet<String> = [&before, end].into_iter().flat_map(signed_parts).collect();
        for (name, bytes) in &found {
            let is_old_or_new = before.get(name) == Some(bytes) || end.get(name) == Some(bytes);
            // a draft may have got signatures that it did not have
            let is_signed = || name.contains("/.drafts/") && known.contains(&signed_part(bytes));
            assert!(is_old_or_new || is_signed(), "{:?}: {name} is neither old nor new", self.args);
        }
        let lost: Vec<_> =
            before.keys().filter(|name| !found.contains_key(*name) && end.contains_key(*name)).collect();
        assert!(lost.is_empty(), "{:?}: {lost:?}", self.args);
        for check in [&["verify"][..], &["verify", "--live"], &["verify", "--live", "--to", "www"]] {
            Trial { world: state, args: check, input: "" }.run(state);
        }
        self.run(state);
        let after = contents(&state.dir());
        assert!(!after.keys().any(|name| name.contains(".tuf-tmp")), "{:?}: not swept", self.args);
        let differs = difference(end, &settled(state));
        assert!(differs.is_empty(), "{:?}: {differs:?}", self.args);
    }
}

/// Starts a program that interrupts end: what runs in the background of a shell, as CI may, has them ignored, and so have the
/// programs that it starts.
fn interruptible(program: &str) -> Command {
    static CAN_RESET: OnceLock<bool> = OnceLock::new();
    let reset = "--default-signal=INT";
    let can_reset = CAN_RESET.get_or_init(|| {
        let tried = Command::new("env").args([reset, "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if !can_reset {
        return Command::new(program);
    }
    let mut command = Command::new("env");
    command.args([reset, program]);
    command
}

/// Presses ^C, as a terminal does it, and waits for the end. A child that has been waited for is not there any more.
fn interrupt(mut child: Child) -> ExitStatus {
    if let Some(status) = child.try_wait().unwrap() {
        return status;
    }
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    child.wait().unwrap()
}

/// What is in a repository, without what is hidden and swept, and without the digests that are remembered: they name the times
/// of files, which a copy of the repository does not share.
fn settled(world: &World) -> Tree {
    let mut tree = contents(&world.dir());
    tree.retain(|name, _| !name.contains(".tuf-tmp") && !name.ends_with(".tuf-digests"));
    tree
}

fn signed_parts(tree: &Tree) -> impl Iterator<Item = String> {
    tree.iter().filter(|(name, _)| name.ends_with(".json")).map(|(_, bytes)| signed_part(bytes))
}

/// Returns what a metadata file has signatures for; a file that is not whole fails the test.
fn signed_part(bytes: &[u8]) -> String {
    let file: Value = serde_json::from_slice(bytes).unwrap();
    file["signed"].to_string()
}

/// A repository that is live, in `www` too, with 256 hash bins.
fn with_bins() -> World {
    let world = live(Layout::Consistent);
    let bins = Delegation {
        name: role("bin"),
        from: role("django"),
        keys: vec![public(4).clone()],
        threshold: Threshold::ONE,
        trust: Trust::Bins { number: 256, kind: BinKind::Succinct },
        terminating: false,
        before: None,
    };
    world.edit(|repository| repository.delegate(bins)).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    Trial { world: &world, args: &PUBLISH, input: "" }.run(&world);
    world
}

const WRITE: [&str; 5] =
    ["write", "--key=keystore/key-1", "--key=keystore/key-2", "--key=keystore/key-3", "--key=keystore/key-4"];
const PUBLISH: [&str; 3] = ["publish", "--to", "www"];

/// The same with 2,000 more target files, which nearly every bin lists in a draft.
fn drafted() -> World {
    let world = with_bins();
    let names: Vec<String> = (0..2000).map(|number| format!("django/new/{number}")).collect();
    for name in &names {
        world.put(name, format!("what is in {name}\n").as_bytes());
    }
    world.add("bin", &names.iter().map(String::as_str).collect::<Vec<_>>(), Replace::Refuse).unwrap();
    world
}

/// The same, written.
fn written() -> World {
    let world = drafted();
    world.write(&[1, 2, 3, 4]).unwrap();
    world
}

/// A repository that is live, in `www` too, with 512 new hash bins that nobody has written.
fn with_new_bins() -> World {
    let world = with_bins();
    let bins = Delegation {
        name: role("fresh"),
        from: role("targets"),
        keys: vec![public(4).clone()],
        threshold: Threshold::ONE,
        trust: Trust::Bins { number: 512, kind: BinKind::Classic },
        terminating: false,
        before: None,
    };
    world.edit(|repository| repository.delegate(bins)).unwrap();
    world
}

#[test]
fn a_first_write_of_new_bins_that_is_interrupted_is_finished_by_the_next() {
    let world = with_new_bins();
    for hidden in ["metadata.staged/.drafts", "metadata.staged"] {
        Trial { world: &world, args: &WRITE, input: "" }.at(hidden);
    }
}

#[test]
fn a_manifest_that_is_interrupted_changes_nothing() {
    let world = with_bins();
    let line = |number: usize| {
        format!(
            "{{\"path\":\"django/{number}/x\",\"length\":7,\"hashes\":{{\"sha256\":\"{number:064x}\"}}}}\n"
        )
    };
    let input: String = (0..12_000).map(line).collect();
    assert!(input.len() > SURELY_READ);
    let args = ["add-targets", "--role", "bin", "--from-manifest", "-"];
    Trial { world: &world, args: &args, input: &input }.while_it_reads();
}

#[test]
fn files_that_are_copied_in_are_interrupted_and_listed_by_the_next_run() {
    let world = with_bins();
    let outside = world.path("outside/django/new");
    fs::create_dir_all(&outside).unwrap();
    for number in 0..2000 {
        fs::write(outside.join(number.to_string()), format!("what is in {number}\n")).unwrap();
    }
    let args = ["add-targets", "-R", "outside", "--base", "outside", "--role", "bin"];
    Trial { world: &world, args: &args, input: "" }.at("targets");
}

#[test]
fn a_write_that_is_interrupted_is_finished_by_the_next() {
    let world = drafted();
    for hidden in ["targets", "metadata.staged"] {
        Trial { world: &world, args: &WRITE, input: "" }.at(hidden);
    }
}

#[test]
fn a_publication_that_is_interrupted_is_finished_by_the_next() {
    let world = written();
    for hidden in ["www/targets", "www/metadata"] {
        Trial { world: &world, args: &PUBLISH, input: "" }.at(hidden);
    }
}
