//! Keys by name, changes that lead nowhere, and what is shown before a password is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Folder, Ran};

/// A repository whose root has the keys alice and bob, both of which must sign.
fn two_holders() -> Folder {
    let folder = Folder::new();
    for key in ["alice", "bob", "carol", "targets", "snapshot", "timestamp"] {
        folder.run(&["keygen", "--no-password", &format!("keys/{key}")]).exits(0);
    }
    folder.run(&["init"]).exits(0);
    folder.run(&["add-key", "root", "keys/alice.pub", "keys/bob.pub"]).exits(0);
    folder.run(&["threshold", "root", "2"]).exits(0);
    for role in ["targets", "snapshot", "timestamp"] {
        folder.run(&["add-key", role, &format!("keys/{role}.pub")]).exits(0);
    }
    write(&folder, &["alice", "bob", "targets", "snapshot", "timestamp"]).exits(0);
    folder
}

fn write(folder: &Folder, keys: &[&str]) -> Ran {
    let mut args = vec!["write".to_owned()];
    args.extend(keys.iter().map(|key| format!("--key=keys/{key}")));
    folder.run(&args)
}

fn id(folder: &Folder, key: &str) -> String {
    folder.run(&["key", "id", &format!("keys/{key}.pub")]).exits(0).stdout.trim().to_owned()
}

fn refused(folder: &Folder, args: &[&str], cause: &str) {
    let before = folder.files();
    let ran = folder.run(args).exits(2);
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{ran:?}");
    assert!(ran.stderr.contains(cause) && ran.stderr.contains("--force"), "{ran:?}");
    assert_eq!(folder.files(), before, "{args:?}");
}

#[test]
fn a_root_change_names_the_keys_of_both_roots() {
    let folder = two_holders();
    let ran =
        folder.run(&["rotate-key", "root", "--old", "keys/bob.pub", "--new", "keys/carol.pub"]).exits(0);
    let short = |key: &str| format!("{key} {}", &id(&folder, key)[..8]);
    let (alice, bob, carol) = (short("alice"), short("bob"), short("carol"));
    assert!(ran.stderr.contains("2 of the keys of root v1 must sign too: "), "{ran:?}");
    assert!(ran.stderr.contains(&alice) && ran.stderr.contains(&bob), "{ran:?}");
    folder.run(&["sign", "root", "--key", "keys/alice"]).exits(0);
    let status = folder.run(&["status"]).exits(0).stdout;
    let change = format!(
        "root v2: v1 keys 1 of 2 ({alice}), missing {bob}, v2 keys 1 of 2 ({alice}), missing {carol}\n"
    );
    assert!(status.contains(&change), "{change} is not in\n{status}");
    let ran = write(&folder, &[]).exits(3);
    let words = format!("required signatures of root v1's keys, missing {} (bob)", id(&folder, "bob"));
    assert!(ran.stderr.contains(&words), "{words} is not in {ran:?}");
    let json = folder.run(&["--json", "status"]).exits(0).json();
    assert_eq!(json["roles"]["root"]["names"][id(&folder, "carol")], "carol");
    let diff = folder.run(&["diff", "root"]).exits(0).stdout;
    assert!(diff.contains(&format!("key {} (bob)", id(&folder, "bob"))), "{diff}");
    // the names go along with what is to be signed elsewhere
    folder.run(&["sign", "--export", "bundle", "root"]).exits(0);
    let away = Folder::new();
    fs::copy(folder.path("bundle"), away.path("bundle")).unwrap();
    fs::copy(folder.path("keys/carol"), away.path("mine")).unwrap();
    let ran = away.run(&["sign", "--bundle", "bundle", "--key", "mine"]).exits(0);
    assert!(ran.stderr.contains(&format!("root v1: 1 of 2 signatures (missing {bob})")), "{ran:?}");
    assert!(ran.stderr.contains("(carol)"), "{ran:?}");
}

#[test]
fn who_holds_a_key_is_read_from_its_metadata() {
    let folder = two_holders();
    let place = folder.path("metadata.staged/.drafts/root.json");
    folder.run(&["bump", "root"]).exits(0);
    let mut draft: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    draft["signed"]["keys"][id(&folder, "bob")]["x-tuf-on-ci-keyowner"] = json!("@robert\u{1b}");
    fs::write(&place, draft.to_string()).unwrap();
    let status = folder.run(&["status"]).exits(0).stdout;
    assert!(status.contains("@robert\\u{1b} ") && !status.contains('\u{1b}'), "{status}");
}

#[test]
fn a_change_after_which_nobody_could_sign_is_refused_unless_it_is_forced() {
    let folder = two_holders();
    let dead_end = "'root' would have 2 keys for a threshold of 3: nobody could sign for it";
    refused(&folder, &["threshold", "root", "3"], dead_end);
    let dead_end = "'root' would have 1 keys for a threshold of 2: nobody could sign for it";
    refused(&folder, &["remove-key", "root", "keys/bob.pub"], dead_end);
    // a key that is there already does not stand for two
    refused(&folder, &["rotate-key", "root", "--old", "keys/bob.pub", "--new", "keys/alice.pub"], dead_end);
    folder.run(&["threshold", "root", "4", "--force"]).exits(0);
    let status = folder.run(&["status"]).exits(0).stdout;
    assert!(status.contains("'root' role contains 2 / 4 public keys."), "{status}");
    // the way back, and a way on, are open
    folder.run(&["threshold", "root", "3"]).exits(0);
    folder.run(&["add-key", "root", "keys/carol.pub"]).exits(0);
    folder.run(&["remove-key", "root", "keys/bob.pub", "--force"]).exits(0);
}

#[test]
fn whom_a_draft_trusts_is_shown_before_a_password_is_asked_for() {
    let folder = two_holders();
    folder.write("password", "correct-horse-battery\n");
    folder.run(&["keygen", "keys/locked", "--password-file", "password"]).exits(0);
    folder.run(&["add-key", "root", "keys/locked.pub"]).exits(0);
    folder.run(&["delegate", "team", "--key", "keys/carol.pub", "--paths", "team/*"]).exits(0);
    let locked = format!("'root' trusts ed25519 key {} (locked)", id(&folder, "locked"));
    for command in ["sign", "write"] {
        let ran = folder.run(&[command, "--key", "keys/locked"]).exits(4);
        let error = ran.stderr.find("error: ").unwrap();
        for words in [locked.as_str(), "delegates paths team/* to 'team' (threshold 1)"] {
            assert!(ran.stderr.find(words).is_some_and(|at| at < error), "{words} is not in {ran:?}");
        }
        for quiet in ["-q", "--json"] {
            let ran = folder.run(&[quiet, command, "--key", "keys/locked"]).exits(4);
            assert!(!ran.stderr.contains("trusts"), "{ran:?}");
        }
    }
    // what only lists targets is not asked about
    folder.run(&["discard"]).exits(0);
    folder.run(&["bump", "targets"]).exits(0);
    let ran = folder.run(&["sign", "--key", "keys/targets"]).exits(0);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn other_bytes_of_a_target_are_told_by_their_digests() {
    let folder = two_holders();
    folder.write("targets/a.bin", "abc");
    folder.run(&["add-targets", "targets/a.bin"]).exits(0);
    write(&folder, &["targets", "snapshot", "timestamp"]).exits(0);
    folder.write("targets/a.bin", "hello");
    folder.run(&["add-targets", "targets/a.bin", "--replace"]).exits(0);
    let words = "target 'a.bin' replaced: length 3→5, sha256 ba7816bf…→2cf24dba…";
    let diff = folder.run(&["diff", "targets"]).exits(0).stdout;
    assert!(diff.contains(words), "{diff}");
    let ran = folder.run(&["sign", "--export", "bundle", "targets"]).exits(0);
    assert!(ran.stdout.contains(words), "{ran:?}");
    let ran = folder.run(&["sign", "--bundle", "bundle", "--key", "keys/targets"]).exits(0);
    assert!(ran.stderr.contains(words), "{ran:?}");
}

#[test]
fn a_role_whose_delegation_is_discarded_is_named() {
    let folder = two_holders();
    folder.run(&["delegate", "team", "--key", "keys/carol.pub", "--paths", "team/*"]).exits(0);
    let ran = folder.run(&["--json", "discard", "targets"]).exits(0);
    assert_eq!(ran.json()["discarded"], json!(["targets", "team"]));
    assert!(ran.stderr.contains("Dropped the drafts of 'targets', 'team'."), "{ran:?}");
}
