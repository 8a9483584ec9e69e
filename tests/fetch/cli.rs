//! The command line: what is asked, printed and returned.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::scene::{Run, Scene, simulator};
use crate::simulator::{Simulator, key};

fn both_ways(test: impl Fn(&Scene, &str)) {
    let scene = Scene::started(&simulator());
    test(&scene, &scene.file_url());
    let scene = Scene::started(&simulator());
    test(&scene, &scene.http_url());
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_basic_client_fetches_everything() {
    both_ways(|scene, url| {
        let run = scene.run(&["--repo", url]).succeeds();
        assert_eq!(run.stdout(), "downloaded targets/one.txt\ndownloaded targets/dir/two +#%.txt\n");
        assert_eq!(read(&scene.work().join("targets/one.txt")), "one");
        assert_eq!(read(&scene.work().join("targets/dir/two +#%.txt")), "two");
        let again = scene.run(&["update", "--repo", url, "--json", "one.txt"]).succeeds().json();
        let downloaded = again["downloaded"].as_array().unwrap();
        assert_eq!(downloaded.len(), 1);
        assert_eq!((&downloaded[0]["path"], &downloaded[0]["cached"]), (&"one.txt".into(), &true.into()));
        assert_eq!((&again["root"], &again["timestamp"]), (&1.into(), &1.into()));
    });
}

#[test]
fn the_conformance_protocol_is_the_command_line() {
    both_ways(|scene, url| {
        let (metadata, targets) = (format!("{url}/metadata/"), format!("{url}/targets"));
        scene.run(&["--metadata-url", &metadata, "--metadata-dir", "metadata", "refresh"]).succeeds();
        let urls = ["--metadata-url", metadata.as_str(), "--target-base-url", targets.as_str()];
        let names = ["--target-name", "one.txt", "--target-name", "dir/two +#%.txt"];
        let dirs = ["--metadata-dir", "metadata", "--target-dir", "somewhere"];
        scene.run(&[&urls[..], &names, &dirs, &["download"]].concat()).succeeds();
        assert_eq!(read(&scene.work().join("somewhere/dir/two +#%.txt")), "two");
        // options after the command mean the same, and named targets add up
        let args = [&names[..2], &["download", "--json"], &names[2..], &urls, &dirs].concat();
        assert_eq!(scene.run(&args).succeeds().json()["downloaded"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_name_that_fails_is_told_and_keeps_no_other_back() {
    let scene = Scene::started(&simulator());
    let url = scene.file_url();
    let args = ["--repo", &url, "--target-name", "no", "--target-name", "one.txt", "download", "--json"];
    let json = scene.run(&args).fails(1, "no: UnknownTargetError: ").json();
    assert_eq!(json["downloaded"][0]["path"], "one.txt");
    assert_eq!(
        (&json["error"]["code"], &json["errors"][0]["code"]),
        (&"UnknownTargetError".into(), &"UnknownTargetError".into())
    );
    assert_eq!(read(&scene.work().join("targets/one.txt")), "one");
}

#[test]
fn patterns_choose_targets() {
    let scene = Scene::started(&simulator());
    let url = scene.file_url();
    let run = scene.run(&["--repo", &url, "download", "dir/*"]).succeeds();
    assert_eq!(run.stdout(), "downloaded targets/dir/two +#%.txt\n");
    scene.run(&["--repo", &url, "download", "*.zip"]).fails(1, "*.zip: UnknownTargetError: ");
    let all = scene.run(&["--repo", &url, "download", "--all", "--json"]).succeeds().json();
    assert_eq!(all["downloaded"].as_array().unwrap().len(), 2);
}

#[test]
fn list_names_the_role_that_answers() {
    let scene = Scene::started(&simulator());
    let url = scene.file_url();
    let json = scene.run(&["--repo", &url, "list", "--json"]).succeeds().json();
    assert_eq!(json["targets"]["dir/two +#%.txt"]["role"], "a/b");
    assert_eq!(json["targets"]["one.txt"]["length"], 3);
    let run = scene.run(&["--repo", &url, "list", "*"]).succeeds();
    assert_eq!(run.stdout(), "one.txt\t3 bytes\ttargets\n");
}

#[test]
fn status_needs_no_repository() {
    let scene = Scene::started(&simulator());
    let before = scene.run(&["status", "--json"]).succeeds().json();
    assert_eq!((&before["root"], &before["timestamp"]), (&1.into(), &Value::Null));
    scene.run(&["--repo", &scene.file_url()]).succeeds();
    let json = scene.run(&["status", "--json"]).succeeds().json();
    assert_eq!(json["roles"]["timestamp"]["standing"], "trusted");
    assert_eq!(json["roles"]["a/b"]["version"], 1);
    let late = scene.run_at("2031-06-01", &["status"]).succeeds();
    assert!(
        late.stdout().starts_with("root v1, expires 2031-01-01T00:00:00Z, expired\n"),
        "{}",
        late.stdout()
    );
}

#[test]
fn without_a_root_the_hint_says_how_to_start() {
    let scene = Scene::new(&simulator());
    let run = scene.run(&["--repo", &scene.file_url()]).fails(1, "metadata: io: there is no trusted root");
    assert!(
        run.stderr().contains("hint: tuf-fetch --metadata-dir metadata init ROOT.json"),
        "{}",
        run.stderr()
    );
    assert_eq!(std::fs::read_dir(scene.work()).unwrap().count(), 0);
}

#[test]
fn init_is_refused_over_another_root_and_repeatable_with_the_same() {
    let scene = Scene::started(&simulator());
    scene.init().succeeds();
    let other = Scene::new(&Simulator::new());
    let root = other.repository().join("metadata/1.root.json");
    scene
        .run(&["init", root.to_str().unwrap()])
        .fails(1, "metadata: io: metadata holds a trusted root already");
    scene.run(&["init", "absent.json"]).fails(1, "absent.json: io: the root cannot be read");
}

#[test]
fn first_use_is_trusted_explicitly_and_once() {
    let scene = Scene::new(&simulator());
    let url = scene.http_url();
    scene.run(&["--repo", &url, "init", "--trust-first-use"]).succeeds();
    scene.run(&["--repo", &url, "init", "--trust-first-use"]).fails(1, "metadata: io: ");
    scene.run(&["--repo", &url]).succeeds();
}

#[test]
fn failures_have_a_code_in_the_line_and_in_json() {
    let mut simulator = simulator();
    let scene = Scene::started(&simulator);
    let url = scene.file_url();
    scene.run(&["--repo", &url, "refresh"]).succeeds();
    simulator.keys.insert("timestamp".to_owned(), vec![key()]);
    simulator.timestamp.version = 2;
    simulator.publish_timestamp();
    scene.publish(&simulator);
    let line = "timestamp: BadSignatureError: timestamp v2 has 0 of 1 required signatures";
    let run = scene.run(&["--repo", &url, "refresh", "--json"]).fails(1, line);
    let json = run.json();
    assert_eq!(json["error"]["code"], "BadSignatureError");
    assert_eq!(json["error"]["message"], line);
    assert!(json["error"].as_object().unwrap().contains_key("hint"));
}

/// Build systems export `SOURCE_DATE_EPOCH`, just where such a client runs. By the clock of the machine, whatever it says,
/// this timestamp has expired.
#[test]
fn metadata_that_has_expired_is_not_made_fresh_by_the_environment() {
    let mut simulator = simulator();
    simulator.root.expires = "9999-01-01T00:00:00Z".parse().unwrap();
    simulator.timestamp.expires = "2001-01-01T00:00:00Z".parse().unwrap();
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    for epoch in ["978307199", "315532800", "0", "", "yesterday", "-1"] {
        for words in
            [&["refresh"][..], &["download", "--all"], &["list"], &["update"], &["update", "one.txt"]]
        {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command.current_dir(scene.work()).env("SOURCE_DATE_EPOCH", epoch).env("NO_PROXY", "*");
            command.args(["--repo", &scene.file_url()]).args(words);
            let line = "timestamp: ExpiredMetadataError: timestamp v1 expired on 2001-01-01";
            Run(command.output().unwrap()).fails(1, line);
        }
    }
    assert!(!scene.work().join("targets").exists());
}

/// Metadata that nobody need sign would be trusted without a signature.
#[test]
fn a_root_that_lets_nobody_sign_for_a_role_is_refused() {
    let scene = Scene::new(&simulator());
    let path = scene.repository().join("metadata/1.root.json");
    let honest = read(&path);
    for role in ["root", "timestamp", "snapshot", "targets"] {
        for threshold in [serde_json::json!(0), serde_json::json!(-1), serde_json::json!(u64::MAX)] {
            let mut forged: Value = serde_json::from_str(&honest).unwrap();
            forged["signed"]["roles"][role]["threshold"] = threshold;
            forged["signatures"] = serde_json::json!([]);
            std::fs::write(&path, forged.to_string()).unwrap();
            scene.init().fails(1, "root: InvalidMetadataError: ");
        }
    }
    assert!(!scene.work().join("metadata/root.json").exists());
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let scene = Scene::started(&simulator());
    scene.run(&["refresh"]).fails(2, "--metadata-url: usage: ");
    scene.run(&["--metadata-url", "file:///x", "download", "x"]).fails(2, "--target-base-url: usage: ");
    scene.run(&["--repo", "file:///x", "download"]).fails(2, "download: usage: ");
    scene.run(&["--repo", "ftp://x", "refresh"]).fails(2, "command line: usage: ");
    let json = scene.run(&["--json", "nonsense"]).fails(2, "command line: usage: ").json();
    assert_eq!(json["error"]["code"], "usage");
    assert_eq!(scene.run(&["--help"]).succeeds().stderr(), "");
}

#[test]
fn names_from_afar_cannot_steer_the_terminal() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "a\u{1b}[2Jb\nc", b"x");
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    let run = scene
        .run(&["--repo", &scene.file_url(), "list"])
        .fails(1, "a\\u{1b}[2Jb\\nc: InvalidMetadataError: ");
    assert!(!run.stderr().contains('\u{1b}'), "{}", run.stderr());
    let run = scene.run(&["--repo", &scene.file_url()]);
    assert!(!run.stderr().contains('\u{1b}'), "{}", run.stderr());
}
