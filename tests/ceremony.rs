//! Ceremonies as key holders meet them: a file leaves, is signed where there is no repository, and comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding};
use serde_json::Value;
use support::{Folder, Ran};

/// Makes a repository whose root has five keys, three of which must sign.
fn three_of_five() -> Folder {
    let folder = Folder::new();
    for key in ["a", "b", "c", "d", "e", "f", "targets", "snapshot", "timestamp"] {
        folder.run(&["keygen", "--no-password", &format!("keys/{key}")]).exits(0);
    }
    folder.run(&["init", "repo"]).exits(0);
    let keys = ["a", "b", "c", "d", "e"].map(|key| format!("keys/{key}.pub"));
    let mut add = vec!["-r", "repo", "add-key", "root"];
    add.extend(keys.iter().map(String::as_str));
    folder.run(&add).exits(0);
    folder.run(&["-r", "repo", "threshold", "root", "3"]).exits(0);
    for role in ["targets", "snapshot", "timestamp"] {
        folder.run(&["-r", "repo", "add-key", role, &format!("keys/{role}.pub")]).exits(0);
    }
    write(&folder, &["a", "b", "c", "targets", "snapshot", "timestamp"]).exits(0);
    folder
}

fn write(folder: &Folder, keys: &[&str]) -> Ran {
    let paths: Vec<String> = keys.iter().map(|key| format!("keys/{key}")).collect();
    let mut args = vec!["-r", "repo", "write"];
    paths.iter().for_each(|path| args.extend(["--key", path.as_str()]));
    folder.run(&args)
}

/// Sends the exported file to a holder, who signs it in a folder of their own.
fn holder(folder: &Folder, key: &str, bundle: &str) -> String {
    let holder = Folder::new();
    fs::copy(folder.path(bundle), holder.path("bundle.json")).unwrap();
    fs::copy(folder.path(&format!("keys/{key}")), holder.path("key")).unwrap();
    let ran = holder.run(&["sign", "--bundle", "bundle.json", "--key", "key"]).exits(0);
    assert!(ran.stderr.contains("changes:") && ran.stderr.contains("Signed."), "{ran:?}");
    let name = format!("signed-by-{key}.json");
    fs::copy(holder.path("bundle.json"), folder.path(&name)).unwrap();
    name
}

fn refused_without_a_trace(folder: &Folder, args: &[&str], code: i32, cause: &str) {
    let before = folder.files();
    let ran = folder.run(args).exits(code);
    assert!(ran.stderr.contains("error: ") && ran.stderr.contains(cause), "{cause} is not in {ran:?}");
    assert_eq!(folder.files(), before, "{args:?}");
}

#[test]
fn a_root_ceremony_of_three_in_five_over_five_folders_without_a_repository() {
    let folder = three_of_five();
    folder.run(&["-r", "repo", "rotate-key", "root", "--old", "keys/e", "--new", "keys/f.pub"]).exits(0);
    let ran = folder.run(&["-r", "repo", "sign", "--export", "root.bundle", "root"]).exits(0);
    assert!(
        ran.stdout.contains("'root' no longer trusts") && ran.stdout.contains("'root' trusts"),
        "{ran:?}"
    );
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--export", "root.bundle", "root"],
        2,
        "is there already",
    );
    refused_without_a_trace(
        &folder,
        &["sign", "--bundle", "root.bundle", "--key", "keys/targets"],
        4,
        "may not sign for 'root'",
    );
    let signed: Vec<String> =
        ["a", "b", "d", "e", "f"].iter().map(|key| holder(&folder, key, "root.bundle")).collect();
    // five people brought five files; any number in any order, even none of them enough
    folder.run(&["-r", "repo", "sign", "--import", &signed[4], &signed[0]]).exits(0);
    let ran = write(&folder, &["targets", "snapshot", "timestamp"]).exits(3);
    assert!(ran.stderr.contains("root v2 has 1 of 3 required signatures of root v1's keys"), "{ran:?}");
    let status = folder.run(&["-r", "repo", "status"]).exits(0).stdout;
    let change = status.lines().find(|line| line.starts_with("root v2: v1 keys 1 of 3 (")).expect(&status);
    assert!(change.contains("v2 keys 2 of 3 (") && change.contains("missing "), "{change}");
    // one that came before is refused, the others are taken
    let ran = folder.run(&["-r", "repo", "sign", "--import", &signed[0], &signed[1], &signed[2]]).exits(3);
    assert!(ran.stderr.contains("has signed already"), "{ran:?}");
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", &signed[1]],
        5,
        "has signed already",
    );
    write(&folder, &[]).exits(0);
    folder.run(&["-r", "repo", "verify"]).exits(0);
    let status = folder.run(&["-r", "repo", "status", "--json"]).exits(0).json();
    assert_eq!(status["roles"]["root"]["written"], 2);
    // what was late comes to nothing
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", &signed[3]],
        5,
        "there is no draft of it any more",
    );
}

#[test]
fn signatures_over_stale_content_are_refused() {
    let folder = three_of_five();
    folder.run(&["-r", "repo", "bump", "root"]).exits(0);
    folder.run(&["-r", "repo", "sign", "--export", "root.bundle", "root"]).exits(0);
    let signed = holder(&folder, "a", "root.bundle");
    folder.run(&["-r", "repo", "expire", "root", "700d"]).exits(0);
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", &signed],
        5,
        "no longer the draft's",
    );
}

#[test]
fn an_altered_bundle_is_refused() {
    let folder = three_of_five();
    folder.run(&["-r", "repo", "bump", "root"]).exits(0);
    folder.run(&["-r", "repo", "sign", "--export", "root.bundle", "root"]).exits(0);
    let signed = holder(&folder, "a", "root.bundle");
    let mut bundle: Value = serde_json::from_slice(&fs::read(folder.path(&signed)).unwrap()).unwrap();
    let good = bundle["signatures"][0]["sig"].as_str().unwrap().to_owned();
    bundle["signatures"][0]["sig"] = Value::from(good.replace(['0', '1'], "2"));
    folder.write("forged.json", &bundle.to_string());
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", "forged.json"],
        5,
        "is not valid for the draft",
    );
    bundle["signatures"][0]["keyid"] = Value::from("0".repeat(64));
    folder.write("foreign.json", &bundle.to_string());
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", "foreign.json"],
        5,
        "may not sign for it",
    );
    // words that do not match the payload are no help to a forger: the version is read from the payload
    bundle["version"] = Value::from(9);
    folder.write("liar.json", &bundle.to_string());
    refused_without_a_trace(
        &folder,
        &["sign", "--bundle", "liar.json", "--key", "keys/a"],
        2,
        "its payload says 2",
    );
    // a bundle that says that nobody need sign it would be complete without a signature
    bundle["version"] = Value::from(2);
    bundle["thresholds"][0]["threshold"] = Value::from(0);
    folder.write("open.json", &bundle.to_string());
    for args in [
        &["sign", "--bundle", "open.json", "--key", "keys/a"][..],
        &["-r", "repo", "sign", "--import", "open.json"],
    ] {
        refused_without_a_trace(&folder, args, 2, "0 where an integer from 1 to");
    }
    folder.write("noise.json", "{}");
    refused_without_a_trace(
        &folder,
        &["sign", "--bundle", "noise.json", "--key", "keys/a"],
        2,
        "not a signing bundle",
    );
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--export", "x.json", "timestamp"],
        2,
        "has no draft to sign",
    );
}

#[test]
fn what_is_signed_is_shown_before_a_password_is_asked_for() {
    let folder = Folder::new();
    folder.write("password", "correct-horse-battery\n");
    folder.run(&["keygen", "key", "--password-file", "password"]).exits(0);
    folder.run(&["init", "repo"]).exits(0);
    folder.run(&["-r", "repo", "add-key", "root", "key.pub"]).exits(0);
    folder.run(&["-r", "repo", "sign", "--export", "root.bundle", "root"]).exits(0);
    let before = folder.files();
    let ran = folder.run(&["sign", "--bundle", "root.bundle", "--key", "key"]).exits(4);
    assert!(ran.stderr.find("'root' trusts").unwrap() < ran.stderr.find("error: ").unwrap(), "{ran:?}");
    assert_eq!(folder.files(), before);
}

fn openssl(folder: &Folder, args: &[&str]) -> bool {
    let output = Command::new("openssl").args(args).current_dir(folder.path("")).output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            eprintln!("skipped: no openssl command here");
            false
        }
    }
}

#[test]
fn signatures_made_by_openssl_are_taken_for_ed25519_ecdsa_and_rsa_pss() {
    let kinds: [(&str, &[&str], &[&str]); 3] = [
        (
            "ed25519",
            &["--type", "ed25519"],
            &["pkeyutl", "-sign", "-rawin", "-inkey", "key", "-in", "payload", "-out", "sig"],
        ),
        ("ecdsa", &["--type", "ecdsa"], &["dgst", "-sha256", "-sign", "key", "-out", "sig", "payload"]),
        (
            "rsa",
            &["--type", "rsa", "--bits", "2048"],
            &[
                "dgst",
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:digest",
                "-sign",
                "key",
                "-out",
                "sig",
                "payload",
            ],
        ),
    ];
    for (name, kind, sign) in kinds {
        let folder = Folder::new();
        let mut keygen = vec!["keygen", "--no-password", "key"];
        keygen.extend(kind);
        let keyid = folder.run(&keygen).exits(0).stdout.trim().to_owned();
        let clock = ["--time", "2030-01-01T00:00:00Z"];
        folder.run(&["init", "repo"]).exits(0);
        folder.run(&[&clock[..], &["-r", "repo", "add-key", "root", "key.pub"]].concat()).exits(0);
        folder.run(&["-r", "repo", "sign", "--export", "bundle", "root"]).exits(0);
        let bundle: Value = serde_json::from_slice(&fs::read(folder.path("bundle")).unwrap()).unwrap();
        fs::write(
            folder.path("payload"),
            Base64::decode_vec(bundle["payload_b64"].as_str().unwrap()).unwrap(),
        )
        .unwrap();
        if !openssl(&folder, sign) {
            return;
        }
        let raw = fs::read(folder.path("sig")).unwrap();
        let import = ["-r", "repo", "sign", "root", "--key-id", keyid.as_str(), "--sig", "sig"];
        folder.write("sig", "00ff");
        refused_without_a_trace(&folder, &import, 5, "is not valid for the draft");
        for bytes in [hex::encode(&raw).into_bytes(), (Base64::encode_string(&raw) + "\n").into_bytes(), raw]
        {
            fs::write(folder.path("sig"), bytes).unwrap();
            folder.run(&import).exits(0);
            let status = folder.run(&["-r", "repo", "status", "--json"]).exits(0).json();
            assert_eq!(status["roles"]["root"]["missing"], 0, "{name}");
            // once more in another spelling
            folder.run(&["-r", "repo", "discard", "root"]).exits(0);
            folder.run(&[&clock[..], &["-r", "repo", "add-key", "root", "key.pub"]].concat()).exits(0);
        }
    }
}

#[test]
fn the_metadata_of_a_delegated_role_made_elsewhere_is_taken_in_and_verified() {
    let folder = three_of_five();
    folder.run(&["keygen", "--no-password", "keys/project"]).exits(0);
    folder
        .run(&["-r", "repo", "delegate", "project", "--key", "keys/project.pub", "--paths", "project/*"])
        .exits(0);
    write(&folder, &["targets", "snapshot", "timestamp", "project"]).exits(0);
    // the third party works on a copy of its own
    copy_tree(&folder.path("repo"), &folder.path("theirs"));
    fs::create_dir_all(folder.path("theirs/targets/project")).unwrap();
    folder.write("theirs/targets/project/file", "theirs");
    folder.run(&["-r", "theirs", "add-targets", "--role", "project", "theirs/targets/project/file"]).exits(0);
    let keys = ["--key", "keys/project", "--key", "keys/snapshot", "--key", "keys/timestamp"];
    folder.run(&[&["-r", "theirs", "write"][..], &keys[..]].concat()).exits(0);
    fs::copy(folder.path("theirs/metadata.staged/2.project.json"), folder.path("2.project.json")).unwrap();
    let forged =
        fs::read_to_string(folder.path("2.project.json")).unwrap().replace("project/file", "project/fake");
    fs::create_dir(folder.path("forged")).unwrap();
    folder.write("forged/project.json", &forged);
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", "forged/project.json"],
        5,
        "has 0 of 1 signatures",
    );
    fs::create_dir_all(folder.path("repo/targets/project")).unwrap();
    folder.write("repo/targets/project/file", "theirs");
    folder.run(&["-r", "repo", "sign", "--import", "2.project.json"]).exits(0);
    write(&folder, &["snapshot", "timestamp"]).exits(0);
    let listed = folder.run(&["-r", "repo", "list", "--json"]).exits(0).json();
    assert_eq!(listed["targets"]["project/file"]["role"], "project");
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", "2.project.json"],
        5,
        "version 2 is written",
    );
}

#[test]
fn metadata_made_elsewhere_that_lays_hands_on_somebody_else_s_role_is_refused() {
    let folder = three_of_five();
    for (role, key) in [("project", "a"), ("other", "b")] {
        let (key, paths) = (format!("keys/{key}.pub"), format!("{role}/*"));
        folder.run(&["-r", "repo", "delegate", role, "--key", &key, "--paths", &paths]).exits(0);
    }
    write(&folder, &["targets", "snapshot", "timestamp", "a", "b"]).exits(0);
    copy_tree(&folder.path("repo"), &folder.path("theirs"));
    // a key that the owners of the other role do not have
    let grab = ["delegate", "other", "--from", "project", "--key", "keys/f.pub", "--paths", "project/*"];
    folder.run(&[&["-r", "theirs"], &grab[..]].concat()).exits(0);
    folder.run(&["-r", "theirs", "sign", "project", "--key", "keys/a"]).exits(0);
    let draft = folder.path("theirs/metadata.staged/.drafts/project.json");
    fs::copy(draft, folder.path("project.json")).unwrap();
    refused_without_a_trace(
        &folder,
        &["-r", "repo", "sign", "--import", "project.json"],
        5,
        "delegates to 'other', which is a role of 'targets'",
    );
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_tree(&entry.path(), &place),
            false => drop(fs::copy(entry.path(), place).unwrap()),
        }
    }
}
