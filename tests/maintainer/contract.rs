//! The command-line contract to the letter: JSON keys and shapes, first lines, exit codes, variables, same bytes.

use std::fs;

use serde_json::Value;

use crate::cli::{NOW, Site};
use crate::support::{Ran, finish};
use crate::world::{contents, difference, tree};

const ALL_KEYS: [&str; 4] = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

/// Asserts that an object has at least these members, in whatever order.
fn has(value: &Value, wanted: &[&str]) {
    for name in wanted {
        assert!(keys(value).contains(name), "no '{name}' in {value}");
    }
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn keygen_and_key_id_tell_the_same_of_a_key() {
    let site = Site::empty();
    for (kind, keytype, scheme) in [
        ("ed25519", "ed25519", "ed25519"),
        ("ecdsa", "ecdsa", "ecdsa-sha2-nistp256"),
        ("rsa", "rsa", "rsassa-pss-sha256"),
    ] {
        let mut args = vec!["keygen", kind, "--type", kind, "--no-password", "--json"];
        if kind == "rsa" {
            args.extend(["--bits", "2048"]);
        }
        let made = site.folder.run(&args).exits(0).json();
        let told = site.folder.run(&["key", "id", kind, "--json"]).exits(0).json();
        for json in [&made, &told] {
            has(json, &["schema_version", "keyid", "keytype", "scheme", "private", "public"]);
            assert_eq!(json["keytype"], keytype);
            assert_eq!(json["scheme"], scheme);
            assert_eq!(json["keyid"], made["keyid"]);
            assert_eq!(json["schema_version"], 1);
        }
        assert_eq!(made["private"], kind);
        assert_eq!(made["public"], format!("{kind}.pub"));
    }
}

#[test]
fn status_has_the_fixed_keys_and_the_old_words() {
    let site = Site::made(&[]);
    let text = site.run(&["status"]).exits(0).stdout;
    assert_eq!(text.lines().next(), Some("Dirty roles: root, targets, snapshot, timestamp"));
    assert!(text.contains("'targets' role contains 0 / 1 public keys.\n"), "{text}");
    site.run(&["add-key", "root", "../key-0.pub", "../key-4.pub"]).exits(0);
    site.run(&["threshold", "root", "2"]).exits(0);
    for (number, role) in [(1, "targets"), (2, "snapshot"), (3, "timestamp")] {
        site.run(&["add-key", role, &format!("../key-{number}.pub")]).exits(0);
    }
    site.run(&["sign", "root", "--key=../key-4"]).exits(0);
    let text = site.run(&["status"]).exits(0).stdout;
    assert!(text.contains("'root' role contains 1 / 2 signatures.\n"), "{text}");
    assert!(text.contains("'targets' role contains 0 / 1 signatures.\n"), "{text}");
    let json = site.json(&["status"], 0);
    has(&json, &["schema_version", "dirty", "next", "consistent_snapshot", "roles"]);
    assert_eq!(words(&json["dirty"]), ["root", "targets", "snapshot", "timestamp"]);
    assert!(words(&json["next"])[0].starts_with("tuf-repo "), "{json}");
    assert_eq!(json["consistent_snapshot"], true);
    let root = &json["roles"]["root"];
    has(
        root,
        &["written", "live", "draft", "expires", "threshold", "keyids", "signed_by", "missing", "reasons"],
    );
    assert_eq!([&root["written"], &root["live"]], [&Value::Null, &Value::Null]);
    assert_eq!([&root["draft"], &root["threshold"], &root["missing"]], [1, 2, 1]);
    assert_eq!(root["expires"], "2032-02-29T12:00:00Z");
    assert_eq!(words(&root["keyids"]).len(), 2);
    assert_eq!(words(&root["signed_by"]).len(), 1);
    assert!(!words(&root["reasons"]).is_empty());
    site.run(&[&["write", "--key=../key-4"], &ALL_KEYS[..]].concat()).exits(0);
    let text = site.run(&["status"]).exits(0).stdout;
    assert_eq!(text.lines().next(), Some("No dirty roles"));
    site.run(&["publish"]).exits(0);
    let json = site.json(&["status"], 0);
    assert_eq!(words(&json["dirty"]), Vec::<&str>::new());
    for (name, role) in json["roles"].as_object().unwrap() {
        assert_eq!([&role["written"], &role["live"]], [1, 1], "{name}");
        assert_eq!([&role["draft"], &role["missing"]], [&Value::Null, &Value::from(0)], "{name}");
        assert_eq!(words(&role["reasons"]), Vec::<&str>::new(), "{name}");
        assert_eq!(role["signed_by"], role["keyids"], "{name}");
    }
}

#[test]
fn status_check_exits_with_3_where_somebody_should_look() {
    let site = Site::trusted(&[]);
    site.run(&["status"]).exits(0);
    site.run(&["status", "--check"]).exits(3);
    site.write_all().exits(0);
    site.run(&["status", "--check"]).exits(0);
    // the timestamp lasts a day, the snapshot a week
    site.run(&["status", "--check", "--expires-within", "23h"]).exits(0);
    let ran = site.run(&["status", "--check", "--expires-within", "2d"]).exits(3);
    assert!(ran.stderr.contains("timestamp") && !ran.stderr.contains("snapshot"), "{ran:?}");
    site.run(&["status", "--expires-within", "2d"]).exits(0);
    site.run(&["bump", "targets"]).exits(0);
    let json = site.json(&["status", "--check"], 3);
    assert_eq!(words(&json["dirty"]), ["targets", "snapshot", "timestamp"]);
}

#[test]
fn list_has_the_fixed_keys() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = Site::written_with(flags);
        site.put("dir/a", "12345");
        site.run(&["add-targets", "targets/dir/a", "--custom", "{\"k\": [1]}"]).exits(0);
        let json = site.json(&["list"], 0);
        let target = &json["targets"]["dir/a"];
        has(target, &["role", "length", "hashes", "custom"]);
        assert_eq!(target["role"], "targets");
        assert_eq!(target["length"], 5);
        assert_eq!(target["custom"]["k"][0], 1);
        let sha256 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";
        assert_eq!(target["hashes"]["sha256"], sha256);
        assert_eq!(site.json(&["list", "dir/*"], 0), json);
    }
}

#[test]
fn write_publish_and_gc_tell_what_they_put_and_delete() {
    let site = Site::trusted(&[]);
    site.put("a", "first");
    site.run(&["add-targets", "targets/a"]).exits(0);
    let json = site.json(&[&["write"], &ALL_KEYS[..]].concat(), 0);
    has(&json, &["schema_version", "dry_run", "roles", "put", "deleted", "kept"]);
    assert_eq!(json["dry_run"], false);
    assert_eq!(json["roles"], serde_json::json!({"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}));
    assert_eq!(words(&json["deleted"]), Vec::<&str>::new());
    assert!(json["kept"].is_u64());
    let put = words(&json["put"]);
    for name in &put {
        assert!(site.path(name).is_file(), "{name}");
    }
    assert!(put[0].starts_with("targets/") && put[0].ends_with(".a"), "{put:?}");
    assert_eq!(put.last(), Some(&"metadata.staged/timestamp.json"));
    let json = site.json(&["publish"], 0);
    has(&json, &["schema_version", "dry_run", "roles", "put", "deleted", "kept"]);
    assert_eq!(json["roles"], serde_json::json!({"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}));
    let put = words(&json["put"]);
    assert!(put.contains(&"metadata/1.targets.json"), "{put:?}");
    assert_eq!(put.last(), Some(&"metadata/timestamp.json"));
    site.put("a", "second");
    site.run(&["add-targets", "targets/a", "--replace"]).exits(0);
    site.run(&["write", ALL_KEYS[1], ALL_KEYS[2], ALL_KEYS[3]]).exits(0);
    site.run(&["publish"]).exits(0);
    let before = contents(&site.repository());
    let json = site.json(&["gc", "--keep", "1"], 0);
    has(&json, &["schema_version", "dry_run", "roles", "put", "deleted", "kept", "retained"]);
    assert_eq!(json["retained"], serde_json::json!([2]));
    let deleted = words(&json["deleted"]);
    let gone = difference(&before, &contents(&site.repository()));
    let mut told: Vec<String> = deleted.iter().map(|name| format!("- {name}")).collect();
    told.sort();
    assert_eq!(told, gone);
    for name in ["metadata/1.targets.json", "metadata/1.snapshot.json", "metadata.staged/1.snapshot.json"] {
        assert!(deleted.contains(&name), "{deleted:?}");
    }
    assert_eq!(deleted.len(), 5, "two sides, and one copy");
    site.run(&["verify", "--live", "--targets"]).exits(0);
    let again = site.json(&["gc", "--keep", "1"], 0);
    assert_eq!(words(&again["deleted"]), Vec::<&str>::new());
}

#[test]
fn verify_tells_its_findings() {
    let site = Site::written();
    site.put("a", "first");
    site.run(&["add-targets", "targets/a"]).exits(0);
    site.run(&["write", ALL_KEYS[1], ALL_KEYS[2], ALL_KEYS[3]]).exits(0);
    let json = site.json(&["verify"], 0);
    has(&json, &["schema_version", "ok", "findings"]);
    assert_eq!(json["ok"], true);
    let copy = contents(&site.path("targets")).into_keys().find(|name| name.ends_with(".a")).unwrap();
    fs::write(site.path("targets").join(&copy), "F1rst").unwrap();
    site.run(&["verify"]).exits(0);
    let json = site.json(&["verify", "--targets"], 5);
    assert_eq!(json["ok"], false);
    let finding = &json["findings"][0];
    has(finding, &["severity", "role", "file", "message"]);
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["role"], "targets");
    assert_eq!(finding["file"], format!("targets/{copy}"));
}

#[test]
fn commands_that_edit_tell_what_they_drafted_and_what_comes_next() {
    let site = Site::written();
    site.put("a", "a");
    site.put("d/a", "a");
    for args in [
        &["add-key", "snapshot", "../key-5.pub"][..],
        &["threshold", "snapshot", "1"],
        &["remove-key", "snapshot", "../key-5.pub"],
        &["expire", "targets", "30d"],
        &["bump", "root"],
        &["add-targets", "targets/a"],
        &["remove-targets", "a"],
        &["delegate", "d", "--key", "../key-4.pub", "--paths", "d/*"],
        &["add-targets", "targets/d/a", "--role", "d"],
        &["sign", "--key=../key-0"],
        &["revoke", "d"],
        &["discard"],
    ] {
        let json = site.json(args, 0);
        has(&json, &["schema_version", "dry_run", "changed", "dirty", "next", "put", "deleted"]);
        assert_eq!(json["dry_run"], false, "{args:?}");
        words(&json["dirty"]);
        words(&json["next"]);
    }
    site.run(&["status", "--check"]).exits(0);
}

#[test]
fn sign_with_nothing_dirty_has_nothing_to_do() {
    let site = Site::written();
    let before = tree(&site.repository());
    site.run(&["sign", "--key=../key-1"]).exits(0);
    site.run(&["sign", "targets", "--key=../key-1"]).exits(0);
    site.run(&["sign"]).exits(0);
    site.write_all().exits(0);
    assert_eq!(difference(&before, &tree(&site.repository())), Vec::<String>::new());
}

#[test]
fn write_without_enough_signatures_exits_with_3_and_names_role_and_keys() {
    let site = Site::trusted(&[]);
    let json = site.json(&["write", "--key=../key-0"], 3);
    assert_eq!(json["error"]["code"], "signatures_missing");
    let message = json["error"]["message"].as_str().unwrap();
    for number in 1..4 {
        let keyid =
            site.folder.run(&["key", "id", &format!("key-{number}"), "--json"]).json()["keyid"].clone();
        assert!(message.contains(keyid.as_str().unwrap()), "{message}");
    }
    assert!(!message.contains("root"), "{message}");
}

#[test]
fn the_same_commands_at_the_same_time_give_the_same_bytes() {
    let made = |flags: &[&str]| {
        let site = Site::made(flags);
        site.folder.write("rsa", include_str!("keys/rsa-1.pem"));
        for (number, role) in [(0, "root"), (2, "snapshot"), (3, "timestamp")] {
            site.run(&["add-key", role, &format!("../key-{number}.pub")]).exits(0);
        }
        site.run(&["add-key", "targets", "../rsa", "--scheme", "rsa-pkcs1v15-sha256"]).exits(0);
        site.put("dir/a", "a");
        site.put("d/b", "b");
        site.run(&["delegate", "d", "--key", "../key-4.pub", "--key", "../key-5.pub", "--paths", "d/*"])
            .exits(0);
        site.run(&["add-targets", "targets/dir/a", "--custom", "{\"z\": 1, \"a\": \"ä\"}"]).exits(0);
        site.run(&["add-targets", "targets/d/b", "--role", "d"]).exits(0);
        let keys = ["--key=../key-5", "--key=../key-4", "--key=../rsa"];
        site.run(&[&["write"], &keys[..], &["--key=../key-0", "--key=../key-2", "--key=../key-3"]].concat())
            .exits(0);
        site.run(&["publish"]).exits(0);
        contents(&site.repository())
    };
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let (first, second) = (made(flags), made(flags));
        assert_eq!(difference(&first, &second), Vec::<String>::new());
        assert!(first.len() > 15, "{}", first.len());
    }
}

#[test]
fn publish_to_a_folder_puts_metadata_and_targets_there() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = Site::written_with(flags);
        site.put("dir/a", "hello");
        site.run(&["add-targets", "targets/dir/a"]).exits(0);
        site.run(&["write", ALL_KEYS[1], ALL_KEYS[2], ALL_KEYS[3]]).exits(0);
        let json = site.json(&["publish", "--to", "../www/tuf"], 0);
        for name in words(&json["put"]) {
            assert!(site.folder.path("www/tuf").join(name).is_file(), "{name}");
        }
        let again = site.json(&["publish", "--to", "../www/tuf"], 0);
        assert_eq!(words(&again["put"]), Vec::<&str>::new());
        assert!(!site.path("metadata/timestamp.json").exists());
        let url = format!("file://{}", site.folder.path("www/tuf").display());
        let root = site.folder.path("www/tuf/metadata/1.root.json");
        let fetch = |args: &[&str]| -> Ran {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command
                .current_dir(site.folder.path(""))
                .args(["--metadata-dir", "trusted", "--time", NOW])
                .args(args);
            finish(command)
        };
        fetch(&["init", root.to_str().unwrap()]).exits(0);
        fetch(&["--target-dir", "fetched", "--repo", &url]).exits(0);
        assert_eq!(fs::read(site.folder.path("fetched/dir/a")).unwrap(), b"hello");
    }
}

#[test]
fn completions_and_pages_are_printed() {
    let site = Site::empty();
    for shell in ["bash", "zsh", "fish"] {
        let ran = site.folder.run(&["completions", shell]).exits(0);
        assert!(ran.stdout.contains("add-targets"), "{shell}");
    }
    site.folder.run(&["completions", "no-shell"]).exits(2);
    site.folder.run(&["man", "pages"]).exits(0);
    let page = fs::read_to_string(site.folder.path("pages/tuf-repo.1")).unwrap();
    assert!(page.starts_with(".") && page.contains("tuf"), "{page}");
    assert!(contents(&site.folder.path("pages")).len() > 10);
}

#[test]
fn quiet_means_results_and_failures_only() {
    let site = Site::written();
    let ran = site.run(&["bump", "targets", "-q"]).exits(0);
    assert_eq!(ran.words(), "");
    let ran = site.run(&["write", "-q", ALL_KEYS[1], ALL_KEYS[2], ALL_KEYS[3]]).exits(0);
    assert_eq!(ran.words(), "");
    let ran = site.run(&["status", "-q"]).exits(0);
    assert!(ran.stdout.starts_with("No dirty roles\n") && ran.stderr.is_empty(), "{ran:?}");
    let ran = site.run(&["bump", "nobody", "-q"]).exits(2);
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
}

#[test]
fn talk_goes_to_stderr_and_says_what_to_type_next() {
    let site = Site::written();
    let ran = site.run(&["bump", "targets"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("Next: tuf-repo "), "{ran:?}");
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let site = Site::written();
    let colourless = |ran: &Ran| !ran.words().contains('\x1b');
    assert!(colourless(&site.run(&["bump", "nobody"])));
    assert!(!colourless(&site.run(&["bump", "nobody", "--color", "always"])));
    assert!(colourless(&site.run(&["bump", "nobody", "--color", "never"])));
    let mut command = site.command(&["bump", "nobody"]);
    command.env("NO_COLOR", "1");
    assert!(colourless(&finish(command)));
}

#[test]
fn the_repository_comes_from_the_environment_too_unless_a_flag_names_it() {
    let site = Site::trusted(&[]);
    let run = |args: &[&str]| {
        let mut command = site.folder.command(args);
        command.env("TUF_REPO", site.repository()).args(["--time", NOW]);
        finish(command)
    };
    let json = run(&["status", "--json"]).exits(0).json();
    assert_eq!(json["roles"]["targets"]["expires"], "2031-05-31T12:00:00Z");
    run(&["status", "-r", "nowhere"]).exits(2);
}

#[test]
fn any_folder_name_and_the_names_of_the_layout_are_as_fixed() {
    let site = Site::trusted(&[]);
    let mut names: Vec<String> = contents(&site.repository()).into_keys().collect();
    names.retain(|name| !name.contains(".drafts/") || name.ends_with("root.json"));
    assert_eq!(
        names,
        ["metadata.staged/", "metadata.staged/.drafts/root.json", "metadata/", "targets/", "tuf-repo.toml"]
    );
    site.write_all().exits(0);
    site.run(&["delegate", "a/b", "--key", "../key-4.pub", "--paths", "x"]).exits(0);
    site.run(&["write", ALL_KEYS[1], ALL_KEYS[2], ALL_KEYS[3], "--key=../key-4"]).exits(0);
    for name in
        ["root.json", "1.root.json", "2.snapshot.json", "2.targets.json", "1.a%2Fb.json", "timestamp.json"]
    {
        assert!(site.path("metadata.staged").join(name).is_file(), "{name}");
    }
    let plain = Site::written_with(&["--no-consistent-snapshot"]);
    for name in ["root.json", "1.root.json", "snapshot.json", "targets.json", "timestamp.json"] {
        assert!(plain.path("metadata.staged").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_copy_of_the_staged_folder_serves_clients_after_every_command() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = Site::written_with(flags);
        site.put("a", "a");
        site.put("d/a", "a");
        site.put("d/e/a", "a");
        let all: Vec<String> = (0..6).map(|number| format!("--key=../key-{number}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let history: &[&[&str]] = &[
            &["add-targets", "targets/a"],
            &["delegate", "d", "--key", "../key-4.pub", "--paths", "d/*", "d/e/*"],
            &["write", "targets", all[1], all[2], all[3], all[4]],
            &["add-targets", "-R", "targets/d", "--role", "d"],
            &["delegate", "e", "--from", "d", "--key", "../key-5.pub", "--paths", "d/e/*"],
            &["sign", "--key=../key-5"],
            &["write", "--partial", all[1], all[2], all[3]],
            &["write", all[2], all[3], all[4], all[5]],
            &["add-key", "timestamp", "../key-5.pub"],
            &["remove-key", "timestamp", "../key-3.pub"],
            &["threshold", "d", "1"],
            &["write", all[0], all[5]],
            &["expire", "snapshot", "3d"],
            &["revoke", "e"],
            &["discard", "e"],
            &["discard", "d"],
            &["bump", "d"],
            &["revoke", "d"],
            &["write", all[1], all[2], all[5]],
            &["remove-targets", "a"],
            &["delegate", "d", "--key", "../key-5.pub", "--paths", "*"],
            &["write", all[1], all[2], all[5]],
            &["publish"],
            &["gc", "--keep", "1"],
        ];
        for (number, args) in history.iter().enumerate() {
            let ran = site.run(args);
            assert!([0, 2, 3].contains(&ran.code), "{args:?}: {ran:?}");
            let copy = site.folder.path(&format!("copy-{number}"));
            crate::world::copy_folder(&site.path("metadata.staged"), &copy.join("metadata"));
            crate::world::copy_folder(&site.path("targets"), &copy.join("targets"));
            let url = format!("file://{}", copy.display());
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command.current_dir(&copy).args(["--metadata-dir", "trusted", "--target-dir", "downloads"]);
            command.args(["--time", NOW]);
            command.args(["init", "metadata/1.root.json"]);
            finish(command).exits(0);
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command.current_dir(&copy).args(["--metadata-dir", "trusted", "--target-dir", "downloads"]);
            command.args(["--time", NOW, "--repo", &url]);
            let ran = finish(command);
            assert_eq!(ran.code, 0, "after {args:?}: {ran:?}");
        }
    }
}
