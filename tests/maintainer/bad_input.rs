//! Bad input: one line that names the object and the cause, one hint, the exit code of the contract, and a disk on which
//! nothing has changed.

use std::fs;
use std::time::{Duration, Instant};

use tuf::repository::Repository;

use crate::cli::{NOW, Site};
use crate::support::{Ran, finish};
use crate::world::{difference, tree};

const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];
const PASSWORD: &str = "correct-horse-battery";

/// A repository with targets, delegations, a locked key, a draft, and files of every awkward kind around it.
fn prepared(flags: &[&str]) -> Site {
    let site = Site::trusted(flags);
    site.folder.write("password", &format!("{PASSWORD}\n"));
    site.folder.write("wrong", "wrong-horse\n");
    site.folder.write("empty", "");
    site.folder.write("garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    site.folder.run(&["keygen", "locked", "--password-file", "password"]).exits(0);
    site.keygen("stranger");
    site.run(&["add-key", "targets", "../locked.pub"]).exits(0);
    for name in ["a.txt", "changed.txt", "dir/file"] {
        site.put(name, name);
    }
    site.run(&["add-targets", "-R", "targets"]).exits(0);
    site.run(&["delegate", "django", "--key", "../key-4.pub", "--paths", "django/*"]).exits(0);
    site.run(&["delegate", "shared", "--key", "../key-5.pub", "--paths", "django/*"]).exits(0);
    site.run(&["delegate", "shared", "--from", "django", "--key", "../key-5.pub", "--paths", "django/*"])
        .exits(0);
    let all: Vec<String> = (0..6).map(|number| format!("--key=../key-{number}")).collect();
    let write: Vec<&str> = ["write"].into_iter().chain(all.iter().map(String::as_str)).collect();
    site.run(&write).exits(0);
    site.put("changed.txt", "other bytes");
    site.put("new.txt", "new");
    site.put("django/ok", "ok");
    site.run(&["add-targets", "--role", "django", "targets/django/ok"]).exits(0);
    for name in ["outside/plain", "outside/a.txt/inner", "outside/dir", "outside/changed.txt"] {
        let path = site.folder.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "from outside").unwrap();
    }
    site.folder.write(&format!("outside/{}", "n".repeat(200)), "a long name");
    #[cfg(unix)]
    awkward(&site);
    site
}

#[cfg(unix)]
fn awkward(site: &Site) {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    symlink("a.txt", site.path("targets/link")).unwrap();
    symlink("nowhere", site.path("targets/dangling")).unwrap();
    symlink("../../key-0", site.path("targets/secret")).unwrap();
    let odd = site.folder.path("odd");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8")), "x").unwrap();
    fs::create_dir(site.folder.path("control")).unwrap();
    fs::write(site.folder.path("control/a\nb"), "x").unwrap();
}

/// Runs a command that must fail, both for people and for scripts.
fn refused(site: &Site, args: &[&str], code: i32, name: &str, cause: &str) {
    let before = tree(&site.folder.path(""));
    let ran = site.run(args);
    judge(&ran, args, code, cause);
    assert_eq!(ran.stdout, "", "{args:?}");
    let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let told = site.run(&all);
    judge(&told, args, code, cause);
    let json = told.json();
    assert_eq!(json["schema_version"], 1, "{args:?}");
    assert_eq!(json["error"]["code"], name, "{args:?}");
    let message = json["error"]["message"].as_str().unwrap();
    assert!(told.stderr.starts_with(&format!("error: {message}\n")), "{told:?}");
    match json["error"]["hint"].as_str() {
        Some(hint) => assert!(told.stderr.ends_with(&format!("hint: {hint}\n")), "{told:?}"),
        None => assert!(!told.stderr.contains("hint:"), "{told:?}"),
    }
    let changed = difference(&before, &tree(&site.folder.path("")));
    assert!(changed.is_empty(), "{args:?} changed {changed:?}");
}

/// Runs a table of commands that must fail, to its end.
fn all_refused(site: &Site, table: &[(&[&str], &str)], code: i32, name: &str) {
    let one = |(args, cause): &(&[&str], &str)| {
        let run = std::panic::AssertUnwindSafe(|| refused(site, args, code, name, cause));
        std::panic::catch_unwind(run).is_err()
    };
    let failed: Vec<_> = table.iter().filter(|row| one(row)).map(|(args, _)| args).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn judge(ran: &Ran, args: &[&str], code: i32, cause: &str) {
    assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].starts_with("error: ") && lines[0].contains(cause), "{args:?}: {ran:?}");
    // what the machine does wrong has no remedy that could be typed
    assert!(code == 1 || lines.len() == 2, "{args:?}: {ran:?}");
    assert!(lines.iter().skip(1).all(|line| line.starts_with("hint: ")), "{args:?}: {ran:?}");
    assert!(!ran.words().contains(PASSWORD), "{args:?}");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    for flags in LAYOUTS {
        let site = prepared(flags);
        let key = "--key=../key-1";
        let table: &[(&[&str], &str)] = &[
            // the command line
            (&["frobnicate"], "frobnicate"),
            (&["write", "--frobnicate"], "--frobnicate"),
            (&["status", "--expires-within", "soon"], "soon"),
            (&["status", "--time", "yesterday"], "yesterday"),
            (&["bump"], "ROLE"),
            (&["bump", "targets", "snapshot", "--version", "9"], "--version"),
            // repositories
            (&["init"], "metadata.staged is there already"),
            (&["status", "-r", "../outside"], "outside is not a repository"),
            (&["status", "-r", "../absent"], "absent is not a repository"),
            (&["publish", "--to", "ftp://example.invalid/x"], "a ftp URL"),
            (&["gc", "--to", "nowhere"], "no repository has been published there"),
            // roles
            (&["bump", "nobody"], "there is no role 'nobody'"),
            (&["bump", "Targets"], "there is no role 'Targets'"),
            (&["write", "nobody", key], "there is no role 'nobody'"),
            (&["sign", "nobody", key], "there is no role 'nobody'"),
            (&["discard", "nobody"], "there is no role 'nobody'"),
            (&["diff", "nobody"], "there is no role 'nobody'"),
            (&["expire", "nobody", "5d"], "there is no role 'nobody'"),
            (&["add-targets", "targets/new.txt", "--role", "nobody"], "there is no role 'nobody'"),
            (&["add-targets", "targets/new.txt", "--role", "snapshot"], "'snapshot' does not list targets"),
            (&["remove-targets", "a.txt", "--role", "root"], "'root' does not list targets"),
            // keys and thresholds
            (&["threshold", "root", "0"], "'root'"),
            // a draft with such a number could not be read again
            (&["threshold", "root", "9223372036854775808", "--force"], "must be at most 9223372036854775807"),
            (&["threshold", "targets", "18446744073709551615", "--force"], "must be at most"),
            (&["threshold", "django", "0", "--force"], "'django' must be at least 1"),
            (&["threshold", "root", "18446744073709551616", "--force"], "18446744073709551616"),
            (&["threshold", "root", "-1"], "-1"),
            (&["threshold", "root", "many"], "many"),
            (&["threshold", "shared", "1"], "'shared' is delegated by 'django' and 'targets'"),
            (&["add-key", "shared", "../key-4.pub"], "name one"),
            (
                &["add-key", "shared", "../key-4.pub", "--delegator", "root"],
                "'root' does not delegate to 'shared'",
            ),
            (&["remove-key", "root", "../key-5.pub"], "'root' has no key"),
            (&["remove-key", "root", "0123456789abcdef"], "'root' has no key 0123456789abcdef"),
            // lifetimes
            (&["expire", "targets", "2001-01-01"], "'targets'"),
            (&["expire", "targets", NOW], "which has passed"),
            (&["expire", "targets", "0s"], "which has passed"),
            (&["expire", "targets", "tomorrow"], "tomorrow"),
            (&["expire", "targets", "99999999y"], "99999999y"),
            (&["bump", "targets", "--version", "1"], "version 1 of 'targets' is not higher"),
            (&["bump", "targets", "--version", "0"], "version 0 of 'targets' is not higher"),
            (&["bump", "targets", "--version", "18446744073709551615"], "18446744073709551615"),
            (&["bump", "root", "--version", "7"], "the next root is v2"),
            // target files
            (&["add-targets", "targets/absent"], "targets/absent: no such file"),
            (&["add-targets", "targets/new.txt", "targets/absent"], "targets/absent: no such file"),
            (
                &["add-targets", "targets/changed.txt"],
                "'changed.txt' is listed in 'targets' with other bytes",
            ),
            (&["add-targets", "-R", "targets"], "'changed.txt'"),
            (&["add-targets", "../outside/plain"], "../outside/plain is not under"),
            (&["add-targets", "../outside/plain", "--base", "targets"], "../outside/plain is not under"),
            (&["add-targets", "../outside/plain", "--prefix", ".."], "'../plain'"),
            (&["add-targets", "../outside/plain", "--prefix", "/"], "is absolute"),
            (
                &["add-targets", "../outside/changed.txt", "--base", "../outside"],
                "targets/changed.txt exists with other bytes",
            ),
            (&["add-targets", "-R", "../outside/a.txt", "--base", "../outside"], "'a.txt"),
            (&["add-targets", "../outside/dir", "--base", "../outside"], "'dir"),
            (
                &["add-targets", "targets/new.txt", "--role", "django"],
                "'django' is not trusted for 'new.txt'",
            ),
            (&["add-targets", "targets/new.txt", "--custom", "[1]"], "--custom: not a JSON object"),
            (&["add-targets", "targets/new.txt", "--custom", "{"], "--custom"),
            (&["add-targets", "targets/new.txt", "--custom", "{\"a\": 1.5}"], "--custom"),
            (&["add-targets", "targets/new.txt", "--custom", "{\"a\": 1, \"a\": 2}"], "stands twice"),
            (&["remove-targets", "absent*"], "no target matches 'absent*'"),
            (&["remove-targets", "a.txt", "absent*"], "no target matches 'absent*'"),
            (&["list", "absent*"], "no target matches 'absent*'"),
            // delegations
            (&["delegate", "targets", "--key", "../key-4.pub", "--paths", "*"], "'targets'"),
            (
                &["delegate", "django", "--key", "../key-4.pub", "--paths", "*"],
                "'targets' delegates to 'django' already",
            ),
            (&["delegate", "x", "--key", "../key-4.pub"], "--paths"),
            (&["delegate", "x", "--key", "../key-4.pub", "--paths", "*", "--threshold", "0"], "'x'"),
            (&["delegate", "x", "--key", "../key-4.pub", "--paths", "*", "--threshold", "2"], "'x'"),
            (&["delegate", "x", "--key", "../key-4.pub", "--paths", "/abs"], "/abs"),
            (&["delegate", "x", "--key", "../key-4.pub", "--path-hash-prefixes", "xyz"], "'xyz'"),
            (&["delegate", "x", "--key", "../key-4.pub", "--paths", "*", "--from", "root"], "'root'"),
            (&["delegate", "x", "--key", "../key-4.pub", "--paths", "*", "--from", "nobody"], "'nobody'"),
            (&["delegate", "x", "--key", "../key-4.pub", "--paths", "*", "--before", "nobody"], "'nobody'"),
            (
                &["delegate", "django", "--from", "shared", "--key", "../key-4.pub", "--paths", "*"],
                "leads back",
            ),
            (
                &["delegate", "django", "--from", "django", "--key", "../key-4.pub", "--paths", "*"],
                "leads back",
            ),
            (&["revoke", "nobody"], "'nobody'"),
            (&["revoke", "targets"], "'targets'"),
            (&["revoke", "shared"], "'shared' is delegated by"),
            (&["revoke", "django", "--from", "shared"], "'shared' does not delegate to 'django'"),
            // keys that are in the way
            (&["keygen", "../key-0", "--no-password"], "key-0"),
            (&["keygen", "../new", "--no-password", "--type", "rsa", "--bits", "1024"], "2048"),
        ];
        all_refused(&site, table, 2, "usage");
        let long = format!("targets/{}", "n".repeat(300));
        let named = format!("../outside/{}", "n".repeat(200));
        let role = "r".repeat(300);
        let key = ["--key", "../key-4.pub", "--paths", "*"];
        refused(&site, &[&["delegate", role.as_str()], &key[..]].concat(), 2, "usage", "is too long");
        refused(&site, &["add-targets", &named, "--base", "../outside"], 2, "usage", "too long");
        let ran = site.run(&["add-targets", &long]);
        assert!([1, 2].contains(&ran.code), "{ran:?}");
    }
}

#[cfg(unix)]
#[test]
fn awkward_files_are_refused_and_change_nothing() {
    for flags in LAYOUTS {
        let site = prepared(flags);
        let table: &[(&[&str], &str)] = &[
            (&["add-targets", "targets/link"], "targets/link: is a symbolic link"),
            (&["add-targets", "targets/dangling"], "targets/dangling: is a symbolic link"),
            (&["add-targets", "targets/secret"], "targets/secret: is a symbolic link"),
            (&["add-targets", "../odd", "--base", "../odd"], "its name is not UTF-8"),
            (&["add-targets", "../control", "--base", "../control"], "control character"),
            (&["add-targets", "/dev/null", "--base", "/dev"], "/dev/null: is not a regular file"),
        ];
        all_refused(&site, table, 2, "usage");
        // a link within a folder is somebody else's business
        site.run(&["add-targets", "targets", "--replace", "--dry-run"]).exits(0);
    }
}

#[test]
fn a_key_or_password_that_is_missing_or_wrong_is_refused_before_anything_changes() {
    for flags in LAYOUTS {
        let site = prepared(flags);
        let locked = "--key=../locked";
        let table: &[(&[&str], &str)] = &[
            (&["sign", locked, "--password-file", "../wrong"], "'../locked'"),
            (&["write", locked, "--password-file", "../wrong"], "'../locked'"),
            (&["write", "--key=../key-4", locked, "--password-file", "../wrong"], "'../locked'"),
            (&["sign", locked, "--password-file", "../empty"], "empty"),
            (&["sign", locked, "--password-file", "../absent"], "absent"),
            (&["sign", locked, "--password-env", "ABSENT_PASSWORD"], "'ABSENT_PASSWORD' is not set"),
            // nobody is at a terminal
            (&["sign", locked], "'../locked' is encrypted and no password was given"),
            (&["write", locked, "--no-input"], "'../locked' is encrypted and no password was given"),
            (&["keygen", "../fresh"], "no password was given"),
            (&["sign", "--key=../absent"], "'../absent'"),
            (&["write", "--key=../absent"], "'../absent'"),
            (&["sign", "--key=../garbage"], "'../garbage'"),
            (&["sign", "--key=../key-4.pub"], "'../key-4.pub' is a public key"),
            (&["sign", "--key=env:ABSENT_KEY"], "'ABSENT_KEY' is not set"),
            (&["sign", "--key=../stranger"], "../stranger"),
            (&["write", "--key=../key-4", "--key=../stranger"], "../stranger"),
            (&["sign", "root", "--key=../key-4"], "may not sign for 'root'"),
            (&["add-key", "root", "../absent.pub"], "'../absent.pub'"),
            (&["add-key", "root", "../password"], "'../password'"),
            (&["delegate", "x", "--key", "../absent.pub", "--paths", "*"], "'../absent.pub'"),
        ];
        all_refused(&site, table, 4, "key");
    }
}

#[test]
fn what_is_not_signed_enough_is_not_written_and_the_role_and_keys_are_named() {
    for flags in LAYOUTS {
        let site = prepared(flags);
        let django = tuf::crypto::Signer::public_key(&crate::world::keys()[4]).id().to_string();
        refused(&site, &["write"], 3, "signatures_missing", &django);
        refused(
            &site,
            &["write", "--key=../key-2", "--key=../key-3"],
            3,
            "signatures_missing",
            "django v2 has 0 of 1",
        );
        refused(&site, &["write", "--key=../key-4", "--key=../key-3"], 3, "signatures_missing", "snapshot");
        refused(&site, &["write", "--partial"], 3, "signatures_missing", "django v2 has 0 of 1");
        found_wrong(&site, &["status", "--check"], 3);
    }
}

/// As [`refused`] for commands that print their result before they fail.
fn found_wrong(site: &Site, args: &[&str], code: i32) {
    let before = tree(&site.folder.path(""));
    let ran = site.run(args).exits(code);
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{ran:?}");
    assert_eq!(difference(&before, &tree(&site.folder.path(""))), Vec::<String>::new());
}

#[test]
fn broken_files_are_named_and_left_alone() {
    let broken: [(&str, &[u8]); 6] = [
        ("metadata.staged/.drafts/django.json", b"{"),
        ("metadata.staged/.drafts/django.json", b"{\"signatures\": [], \"signed\": {\"_type\": \"root\"}}"),
        ("metadata.staged/root.json", b""),
        ("metadata.staged/timestamp.json", b"{\"signatures\": []}"),
        ("metadata.staged/timestamp.json", b"\xff\xfe"),
        ("tuf-repo.toml", b"[roles.root]\nexpires = \"soon\"\n"),
    ];
    for flags in LAYOUTS {
        for (name, bytes) in broken {
            let site = prepared(flags);
            fs::write(site.path(name), bytes).unwrap();
            let (code, kind) = if name == "tuf-repo.toml" { (2, "usage") } else { (5, "verification") };
            for args in
                [&["status"][..], &["write", "--key=../key-4"], &["bump", "targets"], &["publish"], &["gc"]]
            {
                // a draft that cannot be read is told of, and stops no other role; what is written can be published
                if !(name.contains(".drafts") && matches!(args[0], "status" | "bump" | "publish")) {
                    refused(&site, args, code, kind, name);
                }
            }
            if !name.contains(".drafts") {
                let before = tree(&site.repository());
                let ran = site.run(&["discard", "--dry-run"]).exits(0);
                assert!(ran.stderr.contains(name), "{ran:?}");
                site.run(&["discard", "nobody"]).exits(2);
                assert_eq!(tree(&site.repository()), before);
                site.run(&["discard"]).exits(0);
                let left = tree(&site.repository()).into_keys();
                assert_eq!(
                    left.filter(|name| name.contains(".drafts/") && name.ends_with(".json")).count(),
                    0
                );
            }
            if name.contains(".drafts") {
                let before = tree(&site.repository());
                site.run(&["status", "--check"]).exits(3);
                let ran = site.run(&["discard", "targets"]).exits(0);
                assert!(ran.stderr.contains("Nothing to do"), "{ran:?}");
                assert_eq!(tree(&site.repository()), before);
                site.run(&["discard", "django"]).exits(0);
                site.run(&["status", "--check"]).exits(0);
            }
        }
    }
}

#[test]
fn a_written_file_that_is_gone_or_forged_is_no_base_for_anything() {
    let site = prepared(&[]);
    let name = site.path("metadata.staged/1.django.json");
    let good = fs::read_to_string(&name).unwrap();
    fs::write(&name, good.replace("2031", "2032")).unwrap();
    found_wrong(&site, &["verify"], 5);
    refused(&site, &["publish"], 5, "verification", "django");
    fs::remove_file(&name).unwrap();
    // status names it and goes on: one role's file is no reason to say nothing of the others
    let told = site.run(&["status"]).exits(0);
    assert!(told.stdout.contains("cannot be read: metadata.staged/1.django.json: missing"), "{told:?}");
    refused(&site, &["publish"], 5, "verification", "metadata.staged/1.django.json: missing");
    // a collection goes on without what that role may list
    let ran = site.run(&["gc", "--keep", "1"]).exits(0);
    assert!(ran.stderr.contains("warning: metadata.staged/1.django.json: missing"), "{ran:?}");
}

#[test]
fn a_live_state_that_would_go_back_is_not_published_over() {
    let site = Site::written();
    let old = site.folder.path("old");
    crate::world::copy_folder(&site.repository(), &old);
    site.run(&["bump", "targets", "--version", "5"]).exits(0);
    site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"]).exits(0);
    site.run(&["publish"]).exits(0);
    // a backup is put back over what was worked on
    fs::remove_dir_all(site.path("metadata.staged")).unwrap();
    crate::world::copy_folder(&old.join("metadata.staged"), &site.path("metadata.staged"));
    refused(&site, &["publish"], 5, "verification", "what is written here is v1");
}

#[test]
fn expired_metadata_is_not_published() {
    let site = Site::written();
    for args in
        [&["publish", "--time", "2031-03-02T12:00:00Z"][..], &["verify", "--time", "2031-03-02T12:00:00Z"]]
    {
        let before = tree(&site.repository());
        let ran = finish({
            let mut command = site.folder.command(args);
            command.current_dir(site.repository());
            command
        });
        assert_eq!(ran.code, 5, "{ran:?}");
        assert!(ran.words().contains("timestamp v1 expired on 2031-03-02T12:00:00Z"), "{ran:?}");
        assert_eq!(tree(&site.repository()), before);
    }
}

#[test]
fn nothing_written_yet_is_told_with_the_next_command() {
    let site = Site::trusted(&[]);
    refused(&site, &["publish"], 3, "attention", "nothing has been written");
    refused(&site, &["verify"], 3, "attention", "no metadata in metadata.staged");
    refused(&site, &["verify", "--live"], 3, "attention", "no metadata in metadata");
    refused(&site, &["write"], 3, "signatures_missing", "root v1 has 0 of 1");
    let keyless = Site::made(&[]);
    refused(&keyless, &["write"], 3, "signatures_missing", "'root' role contains 0 / 1 public keys");
}

#[test]
fn a_file_that_changed_since_add_targets_stops_the_write() {
    for flags in LAYOUTS {
        for damage in [Some("same-size!"), Some("another length"), None] {
            let site = Site::written_with(flags);
            site.put("dir/file", "ten bytes!");
            site.put("dir/other", "other");
            site.run(&["add-targets", "-R", "targets"]).exits(0);
            match damage {
                Some(text) => site.put("dir/file", text),
                None => fs::remove_file(site.path("targets/dir/file")).unwrap(),
            }
            let write = ["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"];
            refused(&site, &write, 5, "verification", "targets/dir/file: changed since add-targets");
        }
    }
}

#[test]
fn another_process_at_work_is_waited_for_only_on_request() {
    let site = prepared(&[]);
    let now = NOW.parse().unwrap();
    let held = Repository::open_locked(&site.repository(), now, Duration::ZERO).unwrap();
    let holder =
        if cfg!(target_os = "linux") { format!("process {}", std::process::id()) } else { "process".into() };
    for args in [
        &["write", "--key=../key-4"][..],
        &["bump", "targets"],
        &["add-targets", "targets/new.txt"],
        &["sign", "--key=../key-4"],
        &["publish"],
        &["gc"],
        &["discard"],
        &["bump", "targets", "--dry-run"],
    ] {
        refused(&site, args, 6, "locked", &holder);
    }
    // looking does not disturb
    for args in [&["status"][..], &["list"], &["diff"], &["verify"]] {
        site.run(args).exits(0);
    }
    let began = Instant::now();
    refused(&site, &["bump", "targets", "--wait", "1s"], 6, "locked", &holder);
    assert!(began.elapsed() >= Duration::from_secs(2), "a second for people and one for scripts");
    let waiting = site.command(&["bump", "targets", "--wait", "60s"]).spawn().unwrap();
    drop(held);
    let ended = waiting.wait_with_output().unwrap();
    assert!(ended.status.success());
}

#[cfg(unix)]
#[test]
fn folders_that_cannot_be_written_are_told_as_they_are() {
    use std::os::unix::fs::PermissionsExt;
    let site = prepared(&[]);
    let staged = site.path("metadata.staged");
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o500)).unwrap();
    let denied = fs::write(staged.join(".probe"), "").is_err();
    if denied {
        let write = ["write", "--key=../key-4", "--key=../key-2", "--key=../key-3"];
        refused(&site, &write, 1, "io", "Permission denied");
    } else {
        eprintln!("skipped: this user cannot be denied");
    }
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_dry_run_changes_nothing() {
    for flags in LAYOUTS {
        let site = prepared(flags);
        site.folder.write("repository/targets/old.txt", "old");
        let keys = ["--key=../key-4", "--key=../key-2", "--key=../key-3"];
        let table: &[&[&str]] = &[
            &["init", "../another"],
            &["add-key", "root", "../key-5.pub"],
            &["remove-key", "targets", "../locked.pub"],
            &["threshold", "targets", "2"],
            &["expire", "root", "5d"],
            &["bump", "root"],
            &["add-targets", "targets/new.txt"],
            &["add-targets", "../outside/plain", "--base", "../outside"],
            &["add-targets", "targets/changed.txt", "--replace"],
            &["remove-targets", "a.txt"],
            &["delegate", "x", "--key", "../key-4.pub", "--paths", "*"],
            &["revoke", "django"],
            &["sign", "--key=../key-4"],
            &["write", keys[0], keys[1], keys[2]],
            &["rotate-key", "root", "--old", "../key-0.pub", "--new", "../key-5.pub"],
            &["refresh", "--within", "2d", keys[2]],
            &["discard"],
            &["publish", "--to", "../destination"],
            &["gc", "--keep", "1"],
        ];
        let before = tree(&site.folder.path(""));
        for args in table {
            let all: Vec<&str> = args.iter().copied().chain(["--dry-run"]).collect();
            if args[0] == "publish" && flags.len() == 1 {
                // the plain layout publishes the files themselves, one of which has changed
                site.run(&all).exits(5);
            } else {
                let json = site.json(&all, 0);
                assert_eq!(json["dry_run"], true, "{args:?}");
            }
            let changed = difference(&before, &tree(&site.folder.path("")));
            assert!(changed.is_empty(), "{args:?} changed {changed:?}");
        }
    }
}
