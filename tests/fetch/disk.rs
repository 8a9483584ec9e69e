//! A disk that fails, clients that are killed, clients that meet: what is trusted is the old state or the new one.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::faults::{can_trace, traced};
use crate::host::{Answer, Host};
use crate::scene::{Run, Scene, simulator};
use crate::simulator::Simulator;

/// Runs the program by a shell that does something first; `None` where this machine does not let it.
pub fn after(scene: &Scene, preparation: &str, args: &[&str]) -> Option<Run> {
    let program = env!("CARGO_BIN_EXE_tuf-fetch");
    let script = format!("{preparation} || exit 77; exec \"$0\" --time 2030-01-01T00:00:00Z \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, program]).args(args).current_dir(scene.work());
    let output = command.output().ok()?;
    if output.status.code() == Some(77) || String::from_utf8_lossy(&output.stderr).starts_with("unshare:") {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    Some(Run(output))
}

/// Version 1 of a repository is trusted, version 2 is published.
fn between_versions() -> (Scene, Simulator) {
    let mut simulator = simulator();
    let scene = Scene::started(&simulator);
    scene.run(&["--repo", &scene.file_url()]).succeeds();
    simulator.add_target("targets", "one.txt", &[b'1'; 300_000]);
    simulator.update_all();
    scene.publish(&simulator);
    (scene, simulator)
}

fn files(scene: &Scene, folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(scene.work().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.push((
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            ));
        }
    }
    files.sort();
    files
}

#[test]
fn a_file_that_cannot_grow_leaves_the_old_state() {
    let (scene, _) = between_versions();
    let (metadata, targets) = (files(&scene, "metadata"), files(&scene, "targets"));
    let refused = |limit: &str| {
        let program = env!("CARGO_BIN_EXE_tuf-fetch");
        let script = format!("ulimit -f {limit}; trap '' XFSZ; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program, "--time", "2030-01-01T00:00:00Z", "--repo", &scene.file_url()]);
        Run(command.current_dir(scene.work()).output().unwrap())
    };
    let run = refused("0");
    assert_eq!(run.code(), 1);
    assert!(run.stderr().contains(": io: ") && run.stderr().contains("File too large"), "{}", run.stderr());
    assert_eq!(files(&scene, "metadata"), metadata);
    // room for metadata, but not for the target
    let run = refused("200");
    assert!(run.stderr().starts_with("error: one.txt: io: "), "{}", run.stderr());
    assert_eq!(files(&scene, "targets"), targets);
    scene.run(&["--repo", &scene.file_url()]).succeeds();
}

#[test]
fn a_full_disk_leaves_the_old_state() {
    let (scene, _) = between_versions();
    let url = scene.file_url();
    let prepare = "mkdir -p full && mount -t tmpfs -o size=64k tmpfs full && cp -r metadata full/ \
                   && rm full/metadata/a%2Fb.json \
                   && mkdir full/targets && echo old >full/targets/one.txt && (cat /dev/zero >full/rest 2>/dev/null; true)";
    let dirs = ["--metadata-dir", "full/metadata", "--target-dir", "full/targets", "--repo", &url];
    let Some(run) = after(&scene, prepare, &[&dirs[..], &["refresh"]].concat()) else { return };
    assert_eq!(run.code(), 1);
    assert!(run.stderr().contains("No space left on device"), "{}", run.stderr());
    // the state is as it was: what is left of the mount is looked at from within
    let check = format!(
        "{prepare} && (\"$0\" --time 2030-01-01T00:00:00Z {} refresh; true) && rm full/rest",
        dirs.join(" ")
    );
    let run =
        after(&scene, &check, &["--metadata-dir", "full/metadata", "status", "--json"]).unwrap().succeeds();
    let status = run.json();
    assert_eq!((&status["root"], &status["targets"]), (&1.into(), &1.into()));
    // the target does not fit: the old one stays
    let check =
        prepare.replace("; (cat", "").replace("&& (cat /dev/zero >full/rest 2>/dev/null; true)", "&& true");
    let run = after(&scene, &check, &dirs).unwrap();
    assert!(run.stderr().starts_with("error: one.txt: io: "), "{}", run.stderr());
}

#[test]
fn a_read_only_folder_is_named_and_nothing_changes() {
    let (scene, _) = between_versions();
    let url = scene.file_url();
    let before = files(&scene, "metadata");
    let prepare = "mount --bind metadata metadata && mount -o remount,bind,ro metadata";
    let Some(run) = after(&scene, prepare, &["--repo", &url, "refresh"]) else { return };
    assert!(run.stderr().starts_with("error: metadata/.lock: io: "), "{}", run.stderr());
    assert_eq!(files(&scene, "metadata"), before);
    let prepare = "mount --bind targets targets && mount -o remount,bind,ro targets";
    let run = after(&scene, prepare, &["--repo", &url]).unwrap();
    assert_eq!(run.code(), 1);
    assert!(run.stderr().contains("Read-only file system"), "{}", run.stderr());
    // what is in place already needs no writing
    scene.run(&["--repo", &url]).succeeds();
    after(&scene, prepare, &["--repo", &url]).unwrap().succeeds();
}

#[test]
fn a_client_that_is_killed_anywhere_is_in_the_old_state_or_the_new_one() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "large", &vec![1; 2 << 20]);
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    let mut trusted = 1;
    for round in 0..24_u64 {
        simulator.next_root(|_| ());
        let body = vec![u8::try_from(round).unwrap(); 2 << 20];
        simulator.add_target("targets", "large", &body);
        simulator.update_all();
        scene.publish(&simulator);
        let mut command = scene.command(&["--repo", &scene.file_url()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // not a wait for something to happen: the moment is the subject
        std::thread::sleep(Duration::from_millis(3 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let status = scene.run(&["status", "--json"]).succeeds().json();
        let version = status["root"].as_u64().unwrap();
        assert!(version >= trusted, "root v{version} after v{trusted}");
        trusted = version;
        for (name, role) in status["roles"].as_object().unwrap() {
            assert!(role["version"].is_u64(), "{name}: {role}");
        }
        for (_, bytes) in targets(&scene) {
            assert!(bytes.len() == 2 << 20 && bytes.iter().all(|b| *b == bytes[0]));
        }
    }
    scene.run(&["--repo", &scene.file_url()]).succeeds();
    let left = targets(&scene);
    assert_eq!(left.len(), 1, "{:?}", left.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(left[0].1, vec![23; 2 << 20]);
    assert_eq!(std::fs::read_dir(scene.work().join("targets")).unwrap().count(), 1);
}

fn targets(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    if scene.work().join("targets").exists() { files(scene, "targets") } else { Vec::new() }
}

#[test]
fn clients_in_one_folder_do_each_other_no_harm() {
    let (scene, simulator) = between_versions();
    let host = Host::start(&scene.repository(), |_| Answer::Serve);
    let started: Vec<_> = (0..6)
        .map(|_| {
            let mut command = scene.command(&["--repo", &host.url]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in started {
        Run(child.wait_with_output().unwrap()).succeeds();
    }
    let metadata = files(&scene, "metadata");
    for (name, bytes) in metadata.iter().filter(|(name, _)| name.ends_with(".json")) {
        assert_eq!(*bytes, simulator.files[&format!("/metadata/{name}")], "{name}");
    }
    assert_eq!(files(&scene, "targets").len(), 1);
    assert_eq!(std::fs::read(scene.work().join("targets/one.txt")).unwrap(), [b'1'; 300_000]);
}

/// Runs the program on a small file system, where `prepare` comes first, and returns the files that it leaves there.
fn on_a_small_disk(scene: &Scene, size: &str, prepare: &str, args: &str) -> Option<(Run, String)> {
    let prepare = format!(
        "mkdir -p full && mount -t tmpfs -o size={size} tmpfs full && cp -r metadata full/ && mkdir full/targets && {prepare} \
         && (\"$0\" --time 2030-01-01T00:00:00Z --metadata-dir full/metadata --target-dir full/targets {args} >said 2>&1; true) \
         && find full -type f >seen"
    );
    let run = after(scene, &prepare, &["--metadata-dir", "full/metadata", "status"])?;
    let read = |name: &str| std::fs::read_to_string(scene.work().join(name)).unwrap();
    eprintln!("{}", read("said"));
    Some((run, read("seen")))
}

#[test]
fn a_target_too_large_for_the_disk_stops_no_other_and_does_not_stay_in_the_way() {
    let mut simulator = simulator();
    for party in ["evil", "rel"] {
        simulator.delegate("targets", party, |role| role.paths = Some(vec![format!("{party}/*")]));
    }
    simulator.add_target("evil", "evil/huge", &vec![7; 9 << 20]);
    for index in 0..40 {
        simulator.add_target("rel", &format!("rel/{index}"), format!("{index}").as_bytes());
    }
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    for jobs in ["1", "8"] {
        let args = format!("--jobs {jobs} --repo {}", scene.file_url());
        let Some((_, seen)) = on_a_small_disk(&scene, "6m", "true", &args) else { return };
        assert_eq!(seen.lines().filter(|name| name.starts_with("full/targets/rel/")).count(), 40, "{seen}");
        assert!(!seen.contains(".rest"), "{seen}");
    }
}

/// Role evil, with three roles below it that have long metadata.
fn with_evil() -> Simulator {
    let mut simulator = simulator();
    simulator.delegate("targets", "evil", |role| role.paths = Some(vec!["evil/*".into()]));
    for index in 0..3 {
        let name = format!("z{index}");
        simulator.delegate("evil", &name, |role| role.paths = Some(vec!["evil/*".into()]));
        let pad = serde_json::Value::from("x".repeat(400_000));
        simulator.targets.get_mut(&name).unwrap().extra.insert("pad".to_owned(), pad);
    }
    simulator.publish_all();
    simulator
}

fn without_evil(simulator: &mut Simulator) {
    let delegations = simulator.targets.get_mut("targets").unwrap().delegations.as_mut().unwrap();
    delegations.roles.as_mut().unwrap().retain(|role| role.name.as_str() != "evil");
    simulator.update_all();
}

/// The record named delegated roles at the end of a listing: the files of a run that was killed before stayed for good, and
/// on a full disk no timestamp found room any more.
#[test]
fn metadata_of_a_role_that_a_killed_listing_has_stored_gives_way_once_the_role_is_taken_away() {
    if !can_trace() {
        return;
    }
    // after the file of evil and that of a/b: while the second, the third of the long ones is stored
    for when in [4, 5] {
        let mut simulator = with_evil();
        let scene = Scene::started(&simulator);
        scene.run(&["--repo", &scene.file_url(), "refresh"]).succeeds();
        let inject = format!("inject=renameat:signal=KILL:when={when}");
        let killed =
            traced(&scene, &["-o", "/dev/null", "-e", &inject], &["--repo", &scene.file_url(), "list"]);
        assert_eq!(killed.status.code(), None, "{killed:?}");
        assert!(scene.work().join("metadata/z0.json").exists());
        without_evil(&mut simulator);
        scene.publish(&simulator);
        let args = format!("--repo {} refresh", scene.file_url());
        // the unfinished file of the killed process would give its room
        let fill = "rm -r full/metadata/.tuf-fetch && (cat /dev/zero >full/rest 2>/dev/null; true)";
        let Some((run, seen)) = on_a_small_disk(&scene, "2m", fill, &args) else { return };
        assert!(run.succeeds().stdout().contains("timestamp"), "{seen}");
        assert!(!seen.contains("full/metadata/z"), "{seen}");
        scene.run(&["--repo", &scene.file_url(), "list"]).succeeds();
        scene.run(&["clean"]).succeeds();
        assert!(files(&scene, "metadata").iter().all(|(name, _)| !name.starts_with('z')), "{when}");
    }
}

/// Another role's targets had filled the disk: the metadata of a role that had no room was not used, and its targets stayed
/// as they were for good.
#[test]
fn metadata_that_was_verified_and_has_no_room_is_used_all_the_same() {
    let mut simulator = with_evil();
    simulator.delegate("targets", "rel", |role| role.paths = Some(vec!["rel/*".into()]));
    for name in ["rel", "z0"] {
        simulator.add_target("rel", &format!("rel/{name}"), b"old");
    }
    let pad = |simulator: &mut Simulator, count: usize| {
        let pad = serde_json::Value::from("y".repeat(count));
        simulator.targets.get_mut("rel").unwrap().extra.insert("pad".to_owned(), pad);
    };
    for longer in [60_000, 300_000] {
        pad(&mut simulator, 60_000);
        simulator.update_all();
        let scene = Scene::started(&simulator);
        scene.run(&["--repo", &scene.file_url()]).succeeds();
        simulator.add_target("rel", "rel/rel", b"new");
        pad(&mut simulator, longer);
        simulator.update_all();
        scene.publish(&simulator);
        let fill = "(cat /dev/zero >full/rest 2>/dev/null; truncate -s -90k full/rest; true)";
        let args = format!("--repo {}", scene.file_url());
        let Some((run, seen)) = on_a_small_disk(&scene, "4m", fill, &args) else { return };
        run.succeeds();
        let said = std::fs::read_to_string(scene.work().join("said")).unwrap();
        assert!(said.contains("downloaded full/targets/rel/rel"), "{said}{seen}");
        assert!(!said.contains("rel.json"), "{said}");
    }
}

/// What was interrupted holds the room of what can be brought whole: with another role's fault in each run it was never let go.
#[test]
fn an_interrupted_download_gives_way_where_the_disk_is_full() {
    let mut simulator = simulator();
    simulator.delegate("targets", "evil", |role| role.paths = Some(vec!["evil/*".into()]));
    simulator.delegate("evil", "ghost", |role| role.paths = Some(vec!["evil/*".into()]));
    simulator.add_target("targets", "app", &vec![1; 3 << 20]);
    simulator.publish_all();
    let hide = |simulator: &mut Simulator| {
        simulator.snapshot.meta.retain(|name| name != "ghost.json");
        simulator.publish_snapshot();
        simulator.publish_timestamp();
    };
    hide(&mut simulator);
    let scene = Scene::started(&simulator);
    for digest in ["a", "b"] {
        let rest = format!(
            "mkdir -p full/targets/.tuf-fetch && head -c 2500000 /dev/zero >full/targets/.tuf-fetch/{}.rest",
            digest.repeat(64)
        );
        let args = format!("--repo {}", scene.file_url());
        let Some((_, seen)) = on_a_small_disk(&scene, "5m", &rest, &args) else { return };
        assert!(seen.contains("full/targets/app\n") && !seen.contains(".rest"), "{seen}");
    }
}

/// Many empty targets of one role took all the inodes while they waited for each other, in every run.
#[test]
fn many_small_targets_of_one_role_do_not_take_the_inodes_of_anothers() {
    let mut simulator = simulator();
    for party in ["evil", "rel"] {
        simulator.delegate("targets", party, |role| role.paths = Some(vec![format!("{party}/*")]));
    }
    for index in 0..400 {
        simulator.add_target("evil", &format!("evil/{index}"), b"");
    }
    for index in 0..3 {
        simulator.add_target("rel", &format!("rel/{index}"), format!("{index}").as_bytes());
    }
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    for jobs in ["1", "4"] {
        let args = format!("--jobs {jobs} --repo {}", scene.file_url());
        let Some((_, seen)) = on_a_small_disk(&scene, "20m,nr_inodes=120", "true", &args) else { return };
        assert_eq!(seen.lines().filter(|name| name.starts_with("full/targets/rel/")).count(), 3, "{seen}");
    }
}

/// Who lists as much as the disk holds left no room for the next version of anything.
#[test]
fn a_disk_that_one_role_has_filled_has_room_for_the_next_version_of_anothers_target() {
    let mut simulator = simulator();
    for party in ["evil", "rel"] {
        simulator.delegate("targets", party, |role| role.paths = Some(vec![format!("{party}/*")]));
    }
    for index in 0..300 {
        simulator.add_target("evil", &format!("evil/{index:03}"), &vec![index as u8; 12_000]);
    }
    simulator.add_target("rel", "rel/app", b"old");
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    let old = scene.repository().with_file_name("old");
    let copied = Command::new("cp").arg("-r").arg(scene.repository()).arg(&old).status();
    assert!(copied.unwrap().success());
    simulator.add_target("rel", "rel/app", b"new");
    simulator.update_all();
    scene.publish(&simulator);
    for size in ["3m", "3m,nr_inodes=150"] {
        let first = format!(
            "(\"$0\" --time 2030-01-01T00:00:00Z --metadata-dir full/metadata --target-dir full/targets --repo file://{} >before 2>&1; true)",
            old.display()
        );
        let args = format!("--repo {}", scene.file_url());
        let Some((_, seen)) = on_a_small_disk(&scene, size, &first, &args) else { return };
        let read = |name: &str| std::fs::read_to_string(scene.work().join(name)).unwrap();
        let (before, said) = (read("before"), read("said"));
        assert!(before.contains("downloaded full/targets/rel/app"), "{before}");
        assert!(before.contains("No space left on device") && before.contains("evil"), "{before}");
        assert!(said.contains("downloaded full/targets/rel/app"), "{said}{seen}");
    }
}

#[test]
fn metadata_of_a_role_that_was_taken_away_gives_way_to_the_next_timestamp() {
    let mut simulator = with_evil();
    let scene = Scene::started(&simulator);
    scene.run(&["--repo", &scene.file_url(), "list"]).succeeds();
    without_evil(&mut simulator);
    scene.publish(&simulator);
    let args = format!("--repo {} refresh", scene.file_url());
    let fill = "(cat /dev/zero >full/rest 2>/dev/null; true)";
    let Some((run, seen)) = on_a_small_disk(&scene, "2m", fill, &args) else { return };
    assert!(run.succeeds().stdout().contains("timestamp"), "{seen}");
    assert!(!seen.contains("full/metadata/z0.json"), "{seen}");
    assert!(std::fs::read_to_string(scene.work().join("said")).unwrap().contains("timestamp v2"));
}
