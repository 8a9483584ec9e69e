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
    let hint = format!("hint: with the file of a root that you trust: tuf-fetch --repo {}", scene.file_url());
    assert!(run.stderr().contains(&hint) && run.stderr().ends_with(" init ROOT.json\n"), "{}", run.stderr());
    assert_eq!(std::fs::read_dir(scene.work()).unwrap().count(), 0);
}

/// Types what a hint says, in the same place, as a shell takes it.
fn typed(scene: &Scene, run: &Run, instead: &[(&str, &str)]) -> Run {
    let hint = run.stderr().lines().find_map(|line| line.strip_prefix("hint: "));
    let (_, command) = hint.and_then(|hint| hint.split_once(": ")).unwrap();
    let command = instead.iter().fold(command.to_owned(), |text, (word, other)| text.replace(word, other));
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_tuf-fetch")).parent().unwrap().to_owned();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(scene.work()).env("PATH", path).env("NO_PROXY", "*");
    Run(shell.output().unwrap())
}

/// The folders, the repository and the time that were typed belong to the case: a hint without them fails, or works elsewhere.
#[test]
fn a_hint_that_is_typed_works_for_the_very_case() {
    let scene = Scene::new(&simulator());
    let (work, url) = (scene.work(), scene.file_url());
    let root = scene.repository().join("metadata/1.root.json");
    let given = ["--metadata-dir", "my trust/m", "--target-dir", "in/t", "--repo", &url];
    let with = |words: &[&'static str]| [&given[..], words].concat();
    // no root yet
    let run = scene.run(&with(&["update"])).fails(1, "my trust/m: io: there is no trusted root");
    typed(&scene, &run, &[("ROOT.json", root.to_str().unwrap())]).succeeds();
    assert!(work.join("my trust/m/root.json").exists());
    // another name
    let run = scene.run(&with(&["download", "absent"])).fails(1, "absent: UnknownTargetError");
    assert!(typed(&scene, &run, &[]).succeeds().stdout().starts_with("one.txt\t"));
    let run = scene.run(&with(&["download"])).fails(2, "download: usage: ");
    assert!(typed(&scene, &run, &[]).succeeds().stdout().starts_with("one.txt\t"));
    // a folder of somebody else where a file is to be, and a file where a folder is to be
    std::fs::create_dir_all(work.join("in/t/one.txt/notes")).unwrap();
    std::fs::write(work.join("in/t/dir"), b"mine").unwrap();
    for target in ["one.txt", "dir/two +#%.txt"] {
        let run = scene.run(&with(&["update", target])).fails(1, &format!("{target}: io: '"));
        typed(&scene, &run, &[]).succeeds();
        scene.run(&with(&["update", target])).succeeds();
    }
    assert_eq!(read(&work.join("kept/dir")), "mine");
    assert!(work.join("kept/one.txt/notes").is_dir());
    // folders that overlap: the rest of the command is as it was
    let overlap =
        ["--metadata-dir", "my trust/m", "--target-dir", "my trust", "--repo", &url, "update", "one.txt"];
    let run = scene.run(&overlap).fails(2, "my trust: usage: ");
    assert!(typed(&scene, &run, &[]).succeeds().stdout().ends_with("/one.txt\n"));
    // a damaged record
    std::fs::write(work.join("my trust/m/.tuf-put"), "no line\n").unwrap();
    let run = scene.run(&with(&["clean"])).fails(1, "my trust/m/.tuf-put: io: my trust/m/.tuf-put: line 1");
    typed(&scene, &run, &[]).succeeds();
    scene.run(&with(&["clean"])).succeeds();
    assert_eq!(read(&work.join("my trust/m/.tuf-put.damaged")), "no line\n");
    // the same line again destroys neither the copy nor the new record
    std::fs::write(work.join("my trust/m/.tuf-put"), "new\n").unwrap();
    typed(&scene, &run, &[]).succeeds();
    assert_eq!(read(&work.join("my trust/m/.tuf-put")), "new\n");
    assert_eq!(read(&work.join("my trust/m/.tuf-put.damaged")), "no line\n");
    // the new record is damaged too
    let run = scene.run(&with(&["clean"])).fails(1, "my trust/m/.tuf-put: io: my trust/m/.tuf-put: line 1");
    typed(&scene, &run, &[]).succeeds();
    assert_eq!(read(&work.join("my trust/m/.tuf-put.damaged-2")), "new\n");
    scene.run(&with(&["clean"])).succeeds();
    // a file of that name is kept already
    std::fs::remove_file(work.join("in/t/one.txt")).unwrap();
    std::fs::create_dir_all(work.join("in/t/one.txt/more")).unwrap();
    let run = scene.run(&with(&["update", "one.txt"])).fails(1, "one.txt: io: '");
    typed(&scene, &run, &[]).succeeds();
    assert!(work.join("kept-2/one.txt/more").is_dir() && work.join("kept/one.txt/notes").is_dir());
    scene.run(&with(&["update", "one.txt"])).succeeds();
}

#[test]
fn a_first_root_that_is_not_had_leaves_no_folder_behind() {
    let scene = Scene::new(&simulator());
    let nowhere = format!("file://{}", scene.work().join("nowhere").display());
    std::fs::write(scene.work().join("no.json"), "{}").unwrap();
    for args in [
        &["--metadata-dir", "new/trust", "--repo", &nowhere, "init", "--trust-first-use"][..],
        &["--metadata-dir", "new/trust", "init", "no.json"],
    ] {
        assert_eq!(scene.run(args).code(), 1);
        assert!(!scene.work().join("new").exists());
    }
    // a folder that was there stays
    std::fs::create_dir(scene.work().join("mine")).unwrap();
    scene.run(&["--metadata-dir", "mine/trust", "init", "no.json"]);
    assert_eq!(std::fs::read_dir(scene.work().join("mine")).unwrap().count(), 0);
}

#[test]
fn a_target_name_that_looks_like_an_option_is_hinted_as_one_word() {
    let scene = Scene::started(&simulator());
    let url = scene.file_url();
    let overlap = ["--target-dir", "metadata", "--repo", &url, "--target-name=-x", "download"];
    let run = scene.run(&overlap).fails(2, "metadata: usage: ");
    assert!(run.stderr().contains(" --target-name=-x download"), "{}", run.stderr());
}

#[test]
fn a_refused_url_is_said_without_its_password() {
    let scene = Scene::new(&simulator());
    for url in [
        "https://user:s3cret@h:99999/x",
        "htp://user:s3cret@h/x",
        "ftp://s3cret@h/x",
        "https://h:x/?sig=s3cret",
    ] {
        for args in [&["--repo", url][..], &[&format!("--mirror={url}")], &["--json", "--metadata-url", url]]
        {
            let run = scene.run(args);
            assert_eq!(run.code(), 2);
            let said = format!("{}{}", run.stdout(), run.stderr());
            assert!(!said.contains("s3cret") && said.contains("***"), "{said}");
        }
    }
}

#[test]
fn a_hint_says_no_secret_of_a_url() {
    let scene = Scene::started(&simulator());
    let url = "http://me:S3CRET@localhost:1/x?sig=S3CRET";
    for words in [&["update"][..], &["--target-dir", "metadata", "list"], &["download"]] {
        let run = scene.run(&[&["--repo", url, "--mirror", url], words].concat());
        assert!(run.code() != 0 && !run.stderr().contains("S3CRET"), "{}", run.stderr());
    }
}

/// A container may allow a process no second thread.
#[test]
fn a_machine_without_threads_to_spare_is_no_reason_to_fail() {
    let mut simulator = Simulator::new();
    for index in 0..6 {
        simulator.add_target("targets", &format!("t{index}"), &vec![index; 5 << 20]);
    }
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    for path in [scene.work(), scene.work().join("metadata")] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    // a copy that everybody may run; the user may make one process, which this is
    let program = scene.work().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_tuf-fetch"), &program).unwrap();
    for name in [".lock", ".tuf-put", "root.json"] {
        use std::os::unix::fs::PermissionsExt;
        let path = scene.work().join("metadata").join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", "--nproc=1:1"]);
    command.arg(&program).args([
        "--time",
        "2030-01-01T00:00:00Z",
        "--jobs",
        "4",
        "--repo",
        &scene.file_url(),
    ]);
    let Ok(output) = command.current_dir(scene.work()).output() else {
        eprintln!("skipped: no setpriv here");
        return;
    };
    if String::from_utf8_lossy(&output.stderr).starts_with("setpriv:") {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let run = Run(output).succeeds();
    assert_eq!(run.stdout().lines().count(), 6);
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
