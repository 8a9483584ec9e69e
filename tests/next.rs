//! From any state, doing literally what `next` of `status --json` says leads to one where nothing is left to do: the
//! commands are given to a shell as they stand.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::Folder;
use support::programs::path_at;
use tempfile::TempDir;

/// The clock of every state; what is expired is so by this one.
const NOW: &str = "2030-01-01T00:00:00Z";
/// How often `next` may be asked: no state is further away from a clean one.
const MOST_STEPS: usize = 6;

/// A folder with a repository and, beside it, its keys.
struct Scene {
    folder: Folder,
    /// Where the shell finds the programs.
    programs: TempDir,
    now: &'static str,
}

impl Scene {
    fn new() -> Self {
        Self { folder: Folder::new(), programs: tempfile::tempdir().unwrap(), now: NOW }
    }

    /// A repository with a role `team`, published.
    fn published() -> Self {
        let scene = Self::new();
        for key in ["root_key", "root_key2", "targets_key", "snapshot_key", "timestamp_key", "team_key"] {
            scene.run(&["keygen", "--no-password", &format!("keystore/{key}")]);
        }
        scene.run(&["init"]);
        scene.run(&["add-key", "root", "keystore/root_key.pub", "keystore/root_key2.pub"]);
        for role in ["targets", "snapshot", "timestamp"] {
            scene.run(&["add-key", role, &format!("keystore/{role}_key.pub")]);
        }
        scene.run(&["delegate", "team", "--key", "keystore/team_key.pub", "--paths", "team/*"]);
        scene.write_all();
        scene.run(&["publish"]);
        scene
    }

    fn run(&self, args: &[&str]) {
        self.folder.run(&[&["--time", self.now], args].concat()).exits(0);
    }

    fn write_all(&self) {
        let keys = ["root_key", "root_key2", "targets_key", "snapshot_key", "timestamp_key", "team_key"];
        let paths: Vec<String> = keys.iter().map(|key| format!("--key=keystore/{key}")).collect();
        let mut args = vec!["write"];
        args.extend(paths.iter().map(String::as_str));
        self.run(&args);
    }

    fn add_target(&self, name: &str) {
        fs::create_dir_all(self.folder.path("targets/team")).unwrap();
        self.folder.write(&format!("targets/{name}"), name);
        self.run(&["add-targets", &format!("targets/{name}")]);
    }

    fn status(&self) -> Value {
        self.folder.run(&["--time", self.now, "--json", "status"]).exits(0).json()
    }

    /// Types one command into a shell, as `next` has it.
    fn shell(&self, line: &str) {
        let path = path_at(self.programs.path(), self.now);
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder.path("")).env("PATH", path);
        shell.env_remove("TUF_REPO").stdin(std::process::Stdio::null());
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Does what `next` says until it says nothing, and returns all that was typed.
    fn walk(&self) -> Vec<String> {
        let mut typed = Vec::new();
        for _ in 0..MOST_STEPS {
            let status = self.status();
            let next: Vec<String> = status["next"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line.as_str().unwrap().to_owned())
                .collect();
            if next.is_empty() {
                self.is_clean(&status);
                return typed;
            }
            for line in next {
                self.shell(&line);
                typed.push(line);
            }
        }
        panic!("not clean after {typed:#?}");
    }

    /// Clean: nothing dirty, nothing expired, everything live, and clients agree.
    fn is_clean(&self, status: &Value) {
        assert_eq!(status["dirty"], Value::Array(Vec::new()), "{status}");
        assert_eq!(status["expiring"], Value::Array(Vec::new()), "{status}");
        assert_eq!(status["published"], true, "{status}");
        self.run(&["status", "--check"]);
        self.run(&["verify", "--live", "--targets"]);
        assert!(!self.folder.path("metadata.staged/.tuf-tmp-0").exists());
        let drafts = fs::read_dir(self.folder.path("metadata.staged/.drafts"));
        assert!(drafts.is_ok_and(|mut drafts| drafts.next().is_none()), "a draft is left");
    }
}

#[test]
fn a_clean_repository_has_nothing_next() {
    let scene = Scene::published();
    assert!(scene.walk().is_empty());
}

#[test]
fn state_1_a_fresh_init_without_a_key() {
    let scene = Scene::new();
    scene.run(&["init"]);
    let typed = scene.walk();
    assert_eq!(typed[0], "tuf-repo keygen keystore/root_key --no-password");
    assert_eq!(typed[1], "tuf-repo add-key root keystore/root_key.pub");
    assert_eq!(typed.len(), 10, "{typed:#?}");
}

#[test]
fn state_2_a_fresh_init_with_keys_in_the_keystore() {
    let scene = Scene::new();
    scene.run(&["init"]);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        scene.run(&["keygen", "--no-password", &format!("keystore/{role}")]);
    }
    let typed = scene.walk();
    assert_eq!(typed[0], "tuf-repo add-key root keystore/root.pub");
    assert_eq!(
        typed[4],
        "tuf-repo write --key keystore/root --key keystore/targets --key keystore/snapshot --key keystore/timestamp"
    );
    assert_eq!(typed[5..], ["tuf-repo publish"]);
}

#[test]
fn state_3_a_role_without_keys() {
    let scene = Scene::published();
    scene.run(&["remove-key", "snapshot", "keystore/snapshot_key.pub", "--force"]);
    let typed = scene.walk();
    assert_eq!(typed[0], "tuf-repo add-key snapshot keystore/snapshot_key.pub");
}

#[test]
fn state_4_a_threshold_that_its_keys_cannot_meet() {
    let scene = Scene::published();
    scene.run(&["threshold", "targets", "2", "--force"]);
    let typed = scene.walk();
    assert_eq!(typed[0], "tuf-repo keygen keystore/targets_key2 --no-password");
    assert_eq!(typed[1], "tuf-repo add-key targets keystore/targets_key2.pub");
}

#[test]
fn state_5_a_root_ceremony_half_done() {
    let scene = Scene::published();
    scene.run(&["keygen", "--no-password", "keystore/root_key3"]);
    scene.run(&["threshold", "root", "2"]);
    scene.run(&["rotate-key", "root", "--old", "keystore/root_key.pub", "--new", "keystore/root_key3.pub"]);
    scene.run(&["sign", "root", "--key", "keystore/root_key2"]);
    let typed = scene.walk();
    assert_eq!(typed, ["tuf-repo write --key keystore/root_key3", "tuf-repo publish"]);
}

#[test]
fn state_6_targets_that_are_dirty() {
    let scene = Scene::published();
    scene.add_target("file");
    let keys = "--key keystore/targets_key --key keystore/snapshot_key --key keystore/timestamp_key";
    assert_eq!(scene.walk(), [format!("tuf-repo write {keys}"), "tuf-repo publish".to_owned()]);
}

#[test]
fn state_7_a_new_delegation_whose_role_nobody_has_signed() {
    let scene = Scene::published();
    scene.run(&["keygen", "--no-password", "keys/alice"]);
    scene.run(&["delegate", "a/b c", "--key", "keys/alice.pub", "--paths", "b/*", "--from", "team"]);
    scene.run(&["sign", "--key", "keystore/team_key"]);
    assert!(scene.walk()[0].starts_with("tuf-repo write --key keys/alice "));
}

#[test]
fn state_8_a_revoked_delegation() {
    let scene = Scene::published();
    scene.add_target("file");
    scene.run(&["revoke", "team"]);
    assert_eq!(scene.walk().len(), 2);
}

#[test]
fn state_9_an_expired_timestamp() {
    let scene = Scene { now: "2030-01-03T00:00:00Z", ..Scene::published() };
    assert_eq!(scene.walk(), ["tuf-repo refresh --key keystore/timestamp_key", "tuf-repo publish"]);
}

#[test]
fn state_10_everything_has_expired() {
    let scene = Scene { now: "2040-01-01T00:00:00Z", ..Scene::published() };
    assert_eq!(scene.walk().len(), 2);
    let scene = Scene::published();
    scene.add_target("file");
    let scene = Scene { now: "2040-01-01T00:00:00Z", ..scene };
    // a draft that nobody wrote in time, upon roles that have expired too
    assert_eq!(scene.walk()[..2], ["tuf-repo expire targets 13w", "tuf-repo bump root team"]);
}

/// Takes files of a later state away again, as if a command had been killed before it put them.
fn take_away(scene: &Scene, names: &[&str]) {
    names.iter().for_each(|name| fs::remove_file(scene.folder.path(name)).unwrap());
}

fn copy(scene: &Scene, from: &str, to: &str) {
    let target = scene.folder.path(to);
    fs::remove_dir_all(&target).ok();
    let status = Command::new("cp").arg("-r").arg(scene.folder.path(from)).arg(target).status().unwrap();
    assert!(status.success());
}

#[test]
fn state_11_a_write_that_was_killed() {
    let scene = Scene::published();
    scene.add_target("file");
    scene.run(&["expire", "root", "300d"]);
    let keys = ["root_key", "targets_key", "snapshot_key", "timestamp_key"];
    keys.iter().for_each(|key| scene.run(&["sign", "--key", &format!("keystore/{key}")]));
    copy(&scene, "metadata.staged", "signed");
    scene.write_all();
    copy(&scene, "metadata.staged", "written");
    // everything was put, but not the timestamp; the drafts are still there
    for left in [
        &["timestamp.json"][..],
        &["timestamp.json", "root.json"],
        &["timestamp.json", "root.json", "2.root.json"],
    ] {
        copy(&scene, "written", "metadata.staged");
        left.iter().for_each(|name| {
            take_away(&scene, &[&format!("metadata.staged/{name}")]);
            let before = scene.folder.path(&format!("signed/{name}"));
            if before.exists() {
                fs::copy(before, scene.folder.path(&format!("metadata.staged/{name}"))).unwrap();
            }
        });
        copy(&scene, "signed/.drafts", "metadata.staged/.drafts");
        fs::create_dir_all(scene.folder.path("metadata.staged/.tuf-tmp-0")).unwrap();
        scene.folder.write("metadata.staged/.tuf-tmp-0/.tuf-0", "half a fi");
        assert_eq!(scene.walk()[0], "tuf-repo write", "{left:?}");
        fs::remove_dir_all(scene.folder.path("metadata")).unwrap();
    }
    // only the root was to be written, and root.json is behind
    scene.run(&["bump", "root"]);
    scene.run(&["write", "--key", "keystore/root_key"]);
    fs::copy(
        scene.folder.path("metadata.staged/2.root.json"),
        scene.folder.path("metadata.staged/root.json"),
    )
    .unwrap();
    assert_eq!(scene.walk()[0], "tuf-repo write");
}

#[test]
fn state_12_a_publication_that_was_killed() {
    let scene = Scene::published();
    copy(&scene, "metadata", "before");
    scene.add_target("file");
    scene.run(&["bump", "root"]);
    scene.write_all();
    scene.run(&["publish"]);
    fs::copy(scene.folder.path("before/timestamp.json"), scene.folder.path("metadata/timestamp.json"))
        .unwrap();
    assert_eq!(scene.walk(), ["tuf-repo publish"]);
    fs::copy(scene.folder.path("before/root.json"), scene.folder.path("metadata/root.json")).unwrap();
    assert_eq!(scene.walk(), ["tuf-repo publish"]);
}

#[test]
fn state_13_a_draft_that_cannot_be_read() {
    let scene = Scene::published();
    scene.add_target("file");
    scene.folder.write("metadata.staged/.drafts/targets.json", "{ half a dra");
    let ran = scene.folder.run(&["write"]).exits(5);
    assert!(ran.stderr.contains("hint: tuf-repo discard targets"), "{ran:?}");
    let status = scene.folder.run(&["--time", NOW, "status"]).exits(0);
    assert!(status.stdout.contains("has a draft that cannot be used"), "{status:?}");
    assert_eq!(scene.walk(), ["tuf-repo discard targets"]);
    // as well where nothing has been written yet, and several at once
    let scene = Scene::new();
    scene.run(&["init"]);
    scene.folder.write("metadata.staged/.drafts/root.json", "{}");
    scene.folder.write("metadata.staged/.drafts/targets.json", "\u{fffd}");
    assert_eq!(scene.walk()[0], "tuf-repo discard root targets");
}

#[test]
fn state_14_a_snapshot_alone() {
    let scene = Scene::published();
    scene.run(&["bump", "snapshot"]);
    let keys = "--key keystore/snapshot_key --key keystore/timestamp_key";
    assert_eq!(scene.walk(), [format!("tuf-repo write {keys}"), "tuf-repo publish".to_owned()]);
    // signed, and then left until it had expired
    scene.run(&["bump", "snapshot"]);
    scene.run(&["sign", "--key", "keystore/snapshot_key", "--key", "keystore/timestamp_key"]);
    let scene = Scene { now: "2030-02-01T00:00:00Z", ..scene };
    assert_eq!(scene.walk(), [format!("tuf-repo write {keys}"), "tuf-repo publish".to_owned()]);
}

#[test]
fn state_15_written_and_not_published() {
    let scene = Scene::published();
    scene.run(&["bump", "timestamp"]);
    scene.run(&["write", "--key", "keystore/timestamp_key"]);
    assert_eq!(scene.walk(), ["tuf-repo publish"]);
    // to where the policy says
    let policy = fs::read_to_string(scene.folder.path("tuf-repo.toml")).unwrap();
    scene.folder.write("tuf-repo.toml", &format!("{policy}\n[publish]\nto = \"www\"\n"));
    assert_eq!(scene.status()["next"], serde_json::json!(["tuf-repo publish"]));
    scene.shell("tuf-repo publish");
    assert_eq!(scene.status()["next"], serde_json::json!([]));
}

#[test]
fn state_16_an_adopted_repository_that_was_edited() {
    let scene = Scene::published();
    let root = ["--trusted-root", "metadata/1.root.json"];
    scene.run(&[&["init", "taken over", "--from", "."], &root[..]].concat());
    let args = ["-r", "taken over", "bump", "team"];
    scene.run(&args);
    let ask = || scene.folder.run(&["--time", NOW, "--json", "-r", "taken over", "status"]).exits(0).json();
    let keys = "--key keystore/team_key --key keystore/snapshot_key --key keystore/timestamp_key";
    let next = ask()["next"][0].as_str().unwrap().to_owned();
    assert_eq!(next, format!("tuf-repo -r 'taken over' write {keys}"));
    scene.shell(&next);
    let next = ask()["next"][0].as_str().unwrap().to_owned();
    assert_eq!(next, "tuf-repo -r 'taken over' publish");
    scene.shell(&next);
    assert_eq!(ask()["next"], serde_json::json!([]));
}

#[test]
fn state_17_keys_that_the_policy_names_are_not_named_again() {
    let scene = Scene::published();
    let policy = fs::read_to_string(scene.folder.path("tuf-repo.toml")).unwrap();
    let mut text = String::new();
    let mut role = "";
    for line in policy.lines() {
        role = line.strip_prefix("[roles.").and_then(|rest| rest.strip_suffix(']')).unwrap_or(role);
        match line {
            "keys = []" => text.push_str(&format!("keys = [\"keystore/{role}_key\"]\n")),
            line => text.push_str(&format!("{line}\n")),
        }
    }
    scene.folder.write("tuf-repo.toml", &text);
    scene.add_target("file");
    assert_eq!(scene.walk(), ["tuf-repo write", "tuf-repo publish"]);
    let scene = Scene { now: "2040-01-01T00:00:00Z", ..scene };
    let typed = scene.walk();
    assert!(typed[0].starts_with("tuf-repo refresh --key keystore/root_key "), "{typed:?}");
}

#[test]
fn a_key_that_is_not_here_is_a_word_to_fill_in() {
    let scene = Scene::published();
    fs::remove_file(scene.folder.path("keystore/root_key")).unwrap();
    fs::remove_file(scene.folder.path("keystore/root_key2")).unwrap();
    scene.run(&["bump", "root"]);
    assert_eq!(scene.status()["next"], serde_json::json!(["tuf-repo write --key KEY"]));
}

#[test]
fn a_role_of_another_team_that_has_expired_is_not_for_us_to_sign() {
    let scene = Scene::published();
    scene.add_target("file");
    fs::remove_file(scene.folder.path("keystore/team_key")).unwrap();
    let scene = Scene { now: "2040-01-01T00:00:00Z", ..scene };
    let next = serde_json::json!(["tuf-repo expire targets 13w", "tuf-repo bump root"]);
    assert_eq!(scene.status()["next"], next);
    // all else is as new, and the other team's role alone has expired
    let scene = Scene { now: NOW, ..scene };
    scene.run(&["discard"]);
    scene.run(&["expire", "root", "9y"]);
    scene.run(&["expire", "targets", "9y"]);
    scene.run(&["expire", "snapshot", "9y"]);
    scene.run(&["expire", "timestamp", "9y"]);
    let keys = ["root_key", "root_key2", "targets_key", "snapshot_key", "timestamp_key"];
    let keys: Vec<String> = keys.iter().map(|key| format!("--key=keystore/{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    scene.run(&[&["write"][..], &keys].concat());
    scene.run(&["publish"]);
    let scene = Scene { now: "2035-01-01T00:00:00Z", ..scene };
    assert_eq!(scene.status()["expiring"], serde_json::json!(["team"]));
    assert_eq!(scene.status()["next"], serde_json::json!([]));
}

#[test]
fn a_refresh_without_a_key_asks_for_one_and_says_nothing_that_is_not_so() {
    let scene = Scene::published();
    let late = "2030-01-06T00:00:00Z";
    let ran = scene.folder.run(&["--time", late, "refresh"]).exits(3);
    let again = format!(": tuf-repo --time {late} refresh --key KEY\n");
    assert!(ran.stderr.contains("hint: with a key of snapshot") && ran.stderr.ends_with(&again), "{ran:?}");
    // targets have expired, which nobody asked to be refreshed
    let late = "2030-05-01T00:00:00Z";
    let keys = ["--key=keystore/snapshot_key", "--key=keystore/timestamp_key"];
    scene.folder.run(&[&["--time", late, "refresh"][..], &keys].concat()).exits(0);
    let ran = scene.folder.run(&[&["--time", late, "refresh"][..], &keys].concat()).exits(0);
    assert!(ran.stderr.contains("'targets' is due and is left"), "{ran:?}");
    assert!(!ran.stderr.contains("no role is about to expire"), "{ran:?}");
}

#[test]
fn what_publish_names_next_works_and_status_marks_the_roles_that_it_means() {
    let scene = Scene::published();
    let to = scene.folder.run(&["--time", NOW, "publish", "--to", "my www"]).exits(0);
    assert!(to.stderr.contains("status and pull look at the repository's own metadata/"), "{to:?}");
    let (_, next) = to.stderr.lines().next().unwrap().split_once(" Next: ").unwrap();
    assert_eq!(next, "tuf-repo verify --live --to 'my www'");
    scene.shell(next);
    let within = scene.folder.run(&["--time", NOW, "status", "--expires-within", "2d"]).exits(0);
    let marked: Vec<&str> = within.stdout.lines().filter(|line| line.contains(" WITHIN 2d")).collect();
    assert!(matches!(marked[..], [line] if line.starts_with("timestamp ")), "{within:?}");
    let check = scene.folder.run(&["--time", NOW, "status", "--check", "--expires-within", "2d"]).exits(3);
    assert!(check.stdout.contains(" WITHIN 2d") && check.stderr.contains("expiring: timestamp"), "{check:?}");
}
