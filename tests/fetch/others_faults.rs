//! A role, or one of its targets, that fails: the command does the rest, says each fault in a line, and ends with 1.

use serde_json::Value;

use crate::scene::{Run, Scene};
use crate::simulator::{Simulator, earlier};

/// Roles bad and good; bad has expired, and lists what good lists too.
fn simulator() -> Simulator {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "bad", |role| role.paths = Some(vec!["bad/*".into(), "shared".into()]));
    simulator.delegate("targets", "good", |role| role.paths = Some(vec!["*".into(), "good/*".into()]));
    simulator.add_target("targets", "top", b"top");
    simulator.add_target("bad", "bad/x", b"bad");
    simulator.add_target("good", "good/x", b"good");
    simulator.add_target("good", "shared", b"good");
    simulator.targets.get_mut("bad").unwrap().expires = earlier();
    simulator.publish_all();
    simulator
}

fn codes(run: &Run) -> Vec<String> {
    let json: Value = run.json();
    assert_eq!(json["error"], json["errors"][0]);
    json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["code"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_expired_role_hides_only_what_it_may_have_listed() {
    let line = "bad: ExpiredMetadataError: bad v1 expired on";
    for (command, expected) in [
        (&["update"][..], &["top", "good/x"][..]),
        (&["download", "--all"], &["top", "good/x"]),
        (&["download", "*"], &["top"]),
        (&["download", "good/*"], &["good/x"]),
        (&["download", "good/*", "t?p"], &["good/x", "top"]),
    ] {
        let scene = Scene::started(&simulator());
        let url = scene.file_url();
        let run = scene.run(&[&["--repo", &url, "--json"], command].concat()).fails(1, line);
        assert_eq!(codes(&run), ["ExpiredMetadataError"]);
        let downloaded = run.json()["downloaded"].clone();
        let paths: Vec<&str> =
            downloaded.as_array().unwrap().iter().map(|target| target["path"].as_str().unwrap()).collect();
        assert_eq!(paths, expected, "{command:?}");
        let listed = scene.run(&["--repo", &url, "--json", "list"]).fails(1, line);
        assert_eq!(codes(&listed), ["ExpiredMetadataError"]);
        let listed = listed.json()["targets"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(listed, ["good/x", "top"]);
        // by name it is the same
        scene.run(&["--repo", &url, "download", "shared"]).fails(1, line);
        assert!(!scene.work().join("targets/shared").exists());
        scene.run(&["--repo", &url, "download", "good/x"]).succeeds();
    }
}

#[test]
fn reserved_and_unsafe_paths_are_skipped_and_named_by_every_command() {
    let mut simulator = Simulator::new();
    for path in [".tuf-fetch/x", "a//b", "../evil", "dir/.TUF-x"] {
        simulator.add_target("targets", path, b"x");
    }
    simulator.add_target("targets", "good", b"good");
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    let url = scene.file_url();
    for command in [&["update"][..], &["download", "--all"], &["list"]] {
        let run = scene.run(&[&["--repo", &url, "--json"], command].concat());
        assert_eq!(run.code(), 1);
        assert_eq!(codes(&run), ["InvalidMetadataError"; 4]);
        for path in [".tuf-fetch/x: ", "a//b: ", "../evil: ", "dir/.TUF-x: "] {
            assert!(
                run.stderr().contains(&format!("error: {path}InvalidMetadataError: ")),
                "{}",
                run.stderr()
            );
        }
    }
    for command in [
        &["download", ".tuf-fetch/x", "good"][..],
        &["download", "--target-name", "dir/.TUF-x", "good"],
        &["update", ".tuf-fetch/*", "good"],
        &["download", "-o", "-", "dir/.TUF-x"],
    ] {
        let run = scene.run(&[&["--repo", &url], command].concat());
        assert_eq!(run.code(), 1, "{command:?}");
        assert_eq!(run.stderr().matches("InvalidMetadataError").count(), 1, "{command:?}: {}", run.stderr());
    }
    // a pattern that does not match them has nothing to do with them
    scene.run(&["--repo", &url, "download", "g*"]).succeeds();
    let names: Vec<_> = std::fs::read_dir(scene.work().join("targets")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_target_in_the_way_of_another_is_said_with_what_to_do() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "tools", b"tools");
    simulator.add_target("targets", "zz", b"zz");
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    std::fs::create_dir_all(scene.work().join("targets/tools")).unwrap();
    std::fs::write(scene.work().join("targets/tools/mine"), b"mine").unwrap();
    let url = scene.file_url();
    let run = scene
        .run(&["--repo", &url])
        .fails(1, "tools: io: 'tools/mine' stands in the way of the target 'tools'");
    assert!(run.stderr().contains("mv -n -- targets/tools kept/"), "{}", run.stderr());
    assert_eq!(run.stdout(), "downloaded targets/zz\n");
    std::fs::rename(scene.work().join("targets/tools/mine"), scene.work().join("mine")).unwrap();
    scene.run(&["--repo", &url]).fails(1, "tools: io: 'tools' stands in the way");
    std::fs::remove_dir(scene.work().join("targets/tools")).unwrap();
    scene.run(&["--repo", &url]).succeeds();
}
