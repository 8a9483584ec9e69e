//! `tuf-fetch` killed at the calls by which it changes the disk, and the order of those calls: what is trusted is the old
//! state or the new one, the same command goes on, and a loss of power takes nothing that was put.
//!
//! `strace` (Debian's package of that name) kills and writes the calls down. Where it is missing, or may not trace, the tests
//! say so and pass. A run takes every call that moves, links or removes something and a sample of the others;
//! `TUF_FAULTS=all` takes every one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use crate::scene::{Run, Scene, simulator};
use crate::simulator::{Simulator, key};

/// The calls that change a disk or make a change durable.
const CHANGES: [&str; 14] = [
    "fdatasync",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "renameat",
    "renameat2",
    "rmdir",
    "syncfs",
    "unlink",
    "unlinkat",
    "write",
];
/// Of these every one is tried.
const MOVES: [&str; 6] = ["linkat", "mkdirat", "renameat", "renameat2", "unlink", "unlinkat"];

pub fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: strace is not here or may not trace; apt-get install strace");
    }
    can
}

/// Runs the program under `strace`.
pub fn traced(scene: &Scene, strace: &[&str], args: &[&str]) -> Output {
    let plain = scene.command(args);
    let mut command = Command::new("strace");
    command.args(strace).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(scene.work()).env("NO_PROXY", "*").output().unwrap()
}

/// The calls by which a command changes the disk, in their order.
fn calls(scene: &Scene, args: &[&str]) -> Vec<String> {
    let file = scene.work().with_extension("trace");
    let trace = format!("trace={}", CHANGES.join(","));
    let strace = ["-f", "-y", "-o", file.to_str().unwrap(), "-s", "64", "-e", &trace];
    Run(traced(scene, &strace, args)).succeeds();
    let text = std::fs::read_to_string(file).unwrap();
    let call = |line: &str| Some(line.split_once(char::is_whitespace)?.1.trim_start().to_owned());
    text.lines().filter_map(call).collect()
}

/// A call: its name, which of that name it is, and how it was written down.
struct Call {
    name: String,
    ordinal: usize,
    line: String,
}

fn to_try(calls: &[String]) -> Vec<Call> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut chosen, mut others) = (Vec::new(), 0);
    let all = std::env::var_os("TUF_FAULTS").is_some_and(|value| value == "all");
    for line in calls {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let count = counts.entry(name).or_default();
        *count += 1;
        let changes = match name {
            "openat" => rest.contains("O_CREAT"),
            "write" => !rest.starts_with("1<") && !rest.starts_with("2<"),
            _ => CHANGES.contains(&name),
        };
        others += usize::from(changes);
        if changes && (all || MOVES.contains(&name) || others % 6 == 0) {
            chosen.push(Call { name: name.to_owned(), ordinal: *count, line: line.clone() });
        }
    }
    chosen
}

/// Kills a command at its calls, each time in a new scene; looks at what is left, gives the command again, and looks once more.
fn killed_anywhere(
    prepare: impl Fn() -> (Scene, Vec<String>),
    left: impl Fn(&Scene, &str),
    end: impl Fn(&Scene, &str),
) {
    if !can_trace() {
        return;
    }
    let (scene, args) = prepare();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let calls = to_try(&calls(&scene, &args));
    end(&scene, "not killed");
    assert!(calls.len() > 5, "{}", calls.len());
    for call in calls {
        let (scene, args) = prepare();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let inject = format!("inject={}:signal=KILL:when={}", call.name, call.ordinal);
        let output = traced(&scene, &["-o", "/dev/null", "-e", &inject], &args);
        let why = format!("{args:?} killed at {}", call.line);
        assert_eq!(output.status.signal(), Some(9), "{why}: {output:?}");
        left(&scene, &why);
        let again = scene.run(&args);
        assert_eq!(again.code(), 0, "{why}, and again: {}{}", again.stdout(), again.stderr());
        end(&scene, &why);
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn relist(simulator: &mut Simulator, targets: &[(&str, &[u8])]) {
    simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
    targets.iter().for_each(|(path, bytes)| simulator.add_target("targets", path, bytes));
}

/// A client that has the targets before, and a repository that lists those after.
fn between(before: &[(&str, &[u8])], after: &[(&str, &[u8])]) -> Scene {
    let mut simulator = Simulator::new();
    relist(&mut simulator, before);
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    scene.run(&["--repo", &scene.file_url()]).succeeds();
    // one path may be a file before and a folder after
    simulator.files.retain(|path, _| !path.starts_with("/targets/"));
    std::fs::remove_dir_all(scene.repository().join("targets")).unwrap();
    relist(&mut simulator, after);
    simulator.update_all();
    scene.publish(&simulator);
    scene
}

/// Everything below the target folder, and whether nothing else is left of unfinished work.
fn targets(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let top = scene.work().join("targets");
    let (mut found, mut folders) = (BTreeMap::new(), vec![top.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn expected(targets: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    targets.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

/// The lines that took the record back came before the removal: a client that was killed between the two took its own file
/// for somebody else's, and the target that needed the place was refused for ever.
#[test]
fn a_client_that_is_killed_while_a_file_becomes_a_folder_goes_on_with_the_same_command() {
    let (before, after) = ([("tools", &b"1"[..]), ("zz", b"z")], [("tools/deep/x", &b"2"[..]), ("zz", b"Z")]);
    let prepare = || {
        let scene = between(&before, &after);
        let args = words(&["--jobs", "1", "--repo", &scene.file_url()]);
        (scene, args)
    };
    killed_anywhere(prepare, |_, _| (), |scene, why| assert_eq!(targets(scene), expected(&after), "{why}"));
}

#[test]
fn a_client_that_is_killed_while_a_folder_becomes_a_file_goes_on_with_the_same_command() {
    let (before, after) = ([("b/deep/x", &b"1"[..]), ("b/y", b"2")], [("b", &b"3"[..])]);
    let prepare = || {
        let scene = between(&before, &after);
        let args = words(&["--jobs", "1", "--repo", &scene.file_url(), "download", "b"]);
        (scene, args)
    };
    killed_anywhere(prepare, |_, _| (), |scene, why| assert_eq!(targets(scene), expected(&after), "{why}"));
}

#[test]
fn a_clean_that_is_killed_goes_on_with_the_same_command_and_takes_nothing_else() {
    let (before, after) = ([("a/b/x", &b"1"[..]), ("a/y", b"2"), ("kept", b"3")], [("kept", &b"3"[..])]);
    let prepare = || {
        let scene = between(&before, &after);
        scene.run(&["--repo", &scene.file_url(), "refresh"]).succeeds();
        std::fs::write(scene.work().join("targets/a/b/mine"), b"mine").unwrap();
        (scene, words(&["clean"]))
    };
    let end = |scene: &Scene, why: &str| {
        assert_eq!(targets(scene), expected(&[("a/b/mine", b"mine"), ("kept", b"3")]), "{why}");
    };
    killed_anywhere(prepare, |_, _| (), end);
}

/// Spec 5.3.11: a fast-forward that a withdrawn key has signed must not outlive the root that withdraws the key, whenever the
/// client is killed. Nor must the memory of what is newest go before that root is there: a mirror that does not show the new
/// root and replays an old state brought old bytes then.
#[test]
fn a_client_that_is_killed_in_a_rotation_of_keys_takes_neither_a_replay_nor_files_of_the_old_keys() {
    for rotated in [&["timestamp"][..], &["snapshot"], &["timestamp", "snapshot"]] {
        let prepare = || {
            let mut simulator = simulator();
            let scene = Scene::started(&simulator);
            let copied = Command::new("cp").arg("-r").arg(scene.repository()).arg(replay(&scene)).status();
            assert!(copied.unwrap().success());
            // whoever has the keys fast-forwards
            (simulator.timestamp.version, simulator.snapshot.version) = (900, 900);
            simulator.publish_all();
            scene.publish(&simulator);
            scene.run(&["--repo", &scene.file_url()]).succeeds();
            simulator
                .next_root(|simulator| rotated.iter().for_each(|role| simulator.trust(role, vec![key()], 1)));
            let again = if rotated.contains(&"snapshot") { 2 } else { 901 };
            (simulator.timestamp.version, simulator.snapshot.version) = (2, again);
            simulator.publish_all();
            scene.publish(&simulator);
            let args = words(&["--repo", &scene.file_url(), "refresh"]);
            (scene, args)
        };
        let left = |scene: &Scene, why: &str| {
            let status = scene.run(&["status"]);
            match version(scene, "root") {
                Some(1) => {
                    let url = format!("file://{}", replay(scene).display());
                    let run = scene.run(&["--repo", &url]);
                    assert!(run.stderr().contains(": ReplayedMetadataError: "), "{why}: {}", run.stderr());
                }
                // files of the old keys count for nothing
                _ => assert!(!status.stdout().contains("900"), "{why}: {}", status.stdout()),
            }
        };
        let end = |scene: &Scene, why: &str| {
            assert_eq!((version(scene, "root"), version(scene, "timestamp")), (Some(2), Some(2)), "{why}");
            assert!(!scene.work().join("metadata/.rotated").exists(), "{why}");
        };
        killed_anywhere(prepare, left, end);
    }
}

/// With a full disk no kill was needed.
#[test]
fn a_root_that_withdraws_keys_and_has_no_room_leaves_the_memory_of_what_is_newest() {
    if !can_trace() {
        return;
    }
    for call in ["mkdirat", "renameat", "openat", "write"] {
        for when in 1..=12 {
            let mut simulator = simulator();
            let scene = Scene::started(&simulator);
            let copied = Command::new("cp").arg("-r").arg(scene.repository()).arg(replay(&scene)).status();
            assert!(copied.unwrap().success());
            simulator.update_all();
            scene.publish(&simulator);
            scene.run(&["--repo", &scene.file_url()]).succeeds();
            simulator.next_root(|simulator| {
                ["timestamp", "snapshot"].iter().for_each(|role| simulator.trust(role, vec![key()], 1));
            });
            simulator.update_all();
            scene.publish(&simulator);
            let inject = format!("inject={call}:error=ENOSPC:when={when}");
            let strace = ["-o", "/dev/null", "-e", &inject];
            traced(&scene, &strace, &["--repo", &scene.file_url(), "refresh"]);
            if version(&scene, "root") == Some(1) {
                let url = format!("file://{}", replay(&scene).display());
                let run = scene.run(&["--repo", &url]);
                let why = format!("{call} {when}");
                assert!(run.stderr().contains(": ReplayedMetadataError: "), "{why}: {}", run.stderr());
            }
            scene.run(&["--repo", &scene.file_url()]).succeeds();
            assert_eq!((version(&scene, "root"), version(&scene, "timestamp")), (Some(2), Some(3)));
        }
    }
}

/// A copy of the repository as it once was.
fn replay(scene: &Scene) -> std::path::PathBuf {
    scene.work().with_file_name("replay")
}

/// The version of a role's file in the metadata folder.
fn version(scene: &Scene, role: &str) -> Option<u64> {
    let bytes = std::fs::read(scene.work().join(format!("metadata/{role}.json"))).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    value["signed"]["version"].as_u64()
}

/// A kill takes no page from the cache of the system; a loss of power does. So the order of the calls is looked at: a file is
/// durable before it is renamed, and the folder is afterwards.
#[test]
fn a_loss_of_power_takes_no_file_that_was_put() {
    if !can_trace() {
        return;
    }
    for (folders, count) in [(1, 2), (1, 12), (9, 12)] {
        let mut simulator = simulator();
        for index in 0..count {
            let path = format!("d{}/{index}", index % folders);
            simulator.add_target("targets", &path, format!("{index}").as_bytes());
        }
        simulator.publish_all();
        let scene = Scene::started(&simulator);
        let calls = calls(&scene, &["--jobs", "1", "--repo", &scene.file_url()]);
        // files that were written and are not durable yet; folders whose names are not
        let (mut loose, mut unsure) = (BTreeSet::new(), BTreeSet::new());
        let (mut to_targets, mut to_metadata) = (0, 0);
        for line in &calls {
            let Some((name, rest)) = line.split_once('(') else { continue };
            let opened = || {
                rest.split_once('<')
                    .and_then(|(_, rest)| rest.split_once('>'))
                    .map(|(path, _)| path.to_owned())
            };
            match name {
                "write" if !rest.starts_with("1<") && !rest.starts_with("2<") => loose.extend(opened()),
                "fsync" | "fdatasync" => {
                    let path = opened().unwrap();
                    loose.remove(&path);
                    unsure.remove(&path);
                }
                "syncfs" => {
                    loose.clear();
                    unsure.clear();
                }
                "renameat" | "renameat2" => {
                    let parts: Vec<&str> = rest.split(['<', '>', '"']).collect();
                    let [_, from, _, name, _, to, _, new, ..] = parts.as_slice() else { panic!("{line}") };
                    assert!(
                        !loose.contains(&format!("{from}/{name}")),
                        "not durable before {line}\n{calls:#?}"
                    );
                    unsure.insert((*to).to_owned());
                    to_targets += usize::from(to.contains("/targets"));
                    to_metadata += usize::from(new.ends_with(".json"));
                }
                _ => {}
            }
        }
        assert_eq!(unsure, BTreeSet::new(), "renamed into, and never made durable");
        assert_eq!((to_targets, to_metadata >= 4), (count + 2, true), "{calls:#?}");
    }
}
