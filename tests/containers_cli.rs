//! Keys that other tools wrote, as commands meet them: read where they lie, converted, and no worse for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::process::Command;

use support::Folder;

/// A worthless key that securesystemslib 0.28 encrypted by `correct horse`, and its public half.
const OLD_KEY: &str = "1d95eb825ab2dfc3618615df049d9c20@@@@100000@@@@4e6d62792f4be334074dbf96d8ff5aa25063e7efcdf812ed2d96113e4a0c1ee0@@@@813816416a24a80af54ec0a6b8c6d71c@@@@ccbd002a8be07aa424852c3f540669c850f8083ca0d479a6ed999a600d3a4a089dac8ba6a932d990846f328926f35d63ecb8f89689ca01f71883476f4a334c40ad9f2d00ae6ccaa68aa3b17e6917b10ba8761b2bd2e3bcce342bc109a961e5f18f499e270040d82acc98a732d9d20da99be05040e71d3634bd5282acb0772da9164ca7da99c4bfa3049f7d69bcf19ca8012315c93b31ffbe2ef615dd7c1b3ce286581be3b71ff3a7b6ace899764f4f2c9f828c460758f6e26b5eb8879e1f3d7115fd55ed9d1405f12a892369e9162703d87b27473a367e48f54996eec6e0be33ce03c7a39d07a68a084ea4054c57a3f8d2a30b7d6e979de9263d67080405a06c1de5a6ee88bc478f4110ce4a055f18886903e35c7cdee4efaa7d421ca7e8954f0753c0f45e7d1391099d7ab9dcb187128f0253694c25574a0d567408abb1f964fb9d9b12a3895cba8aae47722338be31";
const OLD_PUBLIC: &str = r#"{"keytype": "ed25519", "scheme": "ed25519", "keyid_hash_algorithms": ["sha256", "sha512"], "keyval": {"public": "2534f001b17aabf02b7a1aacd8b1cbe416ae7ba9cf63193033d0fae74f47cc4a"}}"#;
const OLD_KEY_ID: &str = "eb1a25e049f94bc202e3eecc827e2232eb4bd183d071d2524543c2dd49d8c47f";

fn folder_with_old_key() -> Folder {
    let folder = Folder::new();
    folder.write("old", OLD_KEY);
    folder.write("password", "correct horse\n");
    folder.write("wrong", "wrong\n");
    folder
}

#[test]
fn an_old_key_has_the_id_that_it_has_today() {
    let folder = folder_with_old_key();
    folder.run(&["key", "id", "old"]).exits(4);
    let ran = folder.run(&["key", "id", "old", "--password-file", "wrong"]).exits(4);
    assert!(ran.stderr.contains("does not open the private key 'old'"), "{ran:?}");
    let ran = folder.run(&["key", "id", "old", "--password-file", "password"]).exits(0);
    assert_eq!(ran.stdout.trim(), OLD_KEY_ID);
    folder.write("old.pub", OLD_PUBLIC);
    for name in ["old", "old.pub"] {
        assert_eq!(folder.run(&["key", "id", name]).exits(0).stdout.trim(), OLD_KEY_ID);
    }
}

#[test]
fn an_old_key_signs_for_the_role_it_is_listed_in() {
    let folder = folder_with_old_key();
    folder.write("old.pub", OLD_PUBLIC);
    folder.run(&["init"]).exits(0);
    folder.run(&["add-key", "targets", "old.pub"]).exits(0);
    let ran = folder.run(&["--json", "sign", "targets", "--key", "old", "--password-file", "password"]);
    assert_eq!(ran.exits(0).json()["signed"]["targets"]["keyids"][0], OLD_KEY_ID);
}

#[test]
fn convert_writes_pkcs8_under_the_same_password() {
    let folder = folder_with_old_key();
    let args = ["--json", "key", "convert", "old", "--out", "keys/new", "--password-file", "password"];
    let json = folder.run(&args).exits(0).json();
    assert_eq!(json["keyid"], OLD_KEY_ID);
    for (member, value) in
        [("keytype", "ed25519"), ("scheme", "ed25519"), ("private", "keys/new"), ("public", "keys/new.pub")]
    {
        assert_eq!(json[member], value);
    }
    assert_eq!(json["encrypted"], true);
    let private = fs::read_to_string(folder.path("keys/new")).unwrap();
    assert!(private.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("keys/new"), mode("keys/new.pub")), (0o600, 0o644));
    }
    let public = fs::read(folder.path("keys/new.pub")).unwrap();
    let seen = openssl(&folder, &["pkey", "-in", "keys/new", "-passin", "file:password", "-pubout"]);
    assert!(seen.is_none_or(|seen| seen == public));
    fs::remove_file(folder.path("keys/new.pub")).unwrap();
    folder.run(&["key", "id", "keys/new", "--password-file", "wrong"]).exits(4);
    let ran = folder.run(&["key", "id", "keys/new", "--password-file", "password"]).exits(0);
    assert_eq!(ran.stdout.trim(), OLD_KEY_ID);
}

#[test]
fn convert_takes_a_new_password_or_none() {
    let folder = folder_with_old_key();
    folder.write("two", "correct horse\nanother\n");
    folder.write("another", "another\n");
    let convert = ["key", "convert", "old", "--out"];
    folder.run(&[&convert[..], &["a", "--password-file", "two"]].concat()).exits(0);
    let new = ["b", "--password-file", "password", "--new-password-file", "another"];
    folder.run(&[&convert[..], &new].concat()).exits(0);
    folder.run(&[&convert[..], &["c", "--password-file", "password", "--no-password"]].concat()).exits(0);
    for name in ["a", "b", "c"] {
        fs::remove_file(folder.path(&format!("{name}.pub"))).unwrap();
        let ran = folder.run(&["key", "id", name, "--password-file", "another"]).exits(0);
        assert_eq!(ran.stdout.trim(), OLD_KEY_ID);
    }
    assert!(fs::read_to_string(folder.path("c")).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn convert_changes_nothing_where_it_fails() {
    let folder = folder_with_old_key();
    folder.write("new.pub", "mine");
    folder.write("empty", "\n");
    folder.run(&["keygen", "plain", "--no-password"]).exits(0);
    let before = folder.files();
    for (args, code, cause) in [
        (&["old", "--out", "new", "--password-file", "password"][..], 2, "'new.pub' exists already"),
        (&["old", "--out", "x", "--password-file", "wrong"], 4, "does not open the private key 'old'"),
        (&["old", "--out", "x"], 4, "no password was given"),
        (&["plain", "--out", "x"], 4, "no password was given for 'x'"),
        (&["plain", "--out", "x", "--new-password-file", "empty"], 4, "is empty"),
        (&["plain.pub", "--out", "x", "--no-password"], 4, "is a public key"),
        (&["plain", "--out", "env:X", "--no-password"], 2, "written to a file, not to 'env:X'"),
    ] {
        let ran = folder.run(&[&["key", "convert"], args].concat()).exits(code);
        assert!(ran.stderr.contains(cause), "{ran:?}");
        assert_eq!(folder.files(), before, "{args:?}");
    }
    folder
        .run(&["key", "convert", "plain", "--out", "new", "--no-password", "--dry-run", "--force"])
        .exits(0);
    assert_eq!(folder.files(), before);
    folder.run(&["key", "convert", "plain", "--out", "new", "--no-password", "--force"]).exits(0);
    assert_eq!(fs::read(folder.path("new")).unwrap(), fs::read(folder.path("plain")).unwrap());
}

/// Runs openssl in the folder; none where there is none.
fn openssl(folder: &Folder, args: &[&str]) -> Option<Vec<u8>> {
    match Command::new("openssl").args(args).current_dir(folder.path("")).output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        Ok(output) => panic!("openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            eprintln!("skipped: no openssl here");
            None
        }
    }
}

#[test]
fn every_file_that_openssl_writes_is_read() {
    let folder = Folder::new();
    folder.write("password", "correct horse\n");
    for (kind, args, old) in [
        ("ec", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..], true),
        ("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], true),
        ("ed25519", &["-algorithm", "ED25519"], false),
    ] {
        let made = openssl(&folder, &[&["genpkey", "-out", "key"], args].concat());
        if made.is_none() {
            return;
        }
        openssl(&folder, &["pkey", "-in", "key", "-pubout", "-out", "key.pub"]);
        let id = folder.run(&["key", "id", "key.pub"]).exits(0).stdout;
        let pass = ["-passout", "file:password"];
        let pkcs8 = ["pkcs8", "-topk8", "-in", "key", "-out", "other"];
        let mut writers = vec![
            [&pkcs8[..], &["-nocrypt"]].concat(),
            [&pkcs8[..], &["-nocrypt", "-outform", "DER"]].concat(),
            [&pkcs8[..], &["-outform", "DER"], &pass].concat(),
            [&pkcs8[..], &["-scrypt"], &pass].concat(),
            [&pkcs8[..], &["-v2", "des3"], &pass].concat(),
            [&pkcs8[..], &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"], &pass].concat(),
        ];
        if old {
            let traditional = ["pkey", "-traditional", "-in", "key", "-out", "other"];
            writers.push(traditional.to_vec());
            writers.push([&traditional[..], &["-outform", "DER"]].concat());
            for cipher in ["-des3", "-aes128", "-aes192", "-aes256"] {
                writers.push([&traditional[..], &[cipher], &pass].concat());
            }
        }
        for writer in writers {
            openssl(&folder, &writer);
            let ran = folder.run(&["key", "id", "other", "--password-file", "password"]).exits(0);
            assert_eq!(ran.stdout, id, "{kind} {writer:?}");
        }
        openssl(&folder, &["pkey", "-in", "key", "-pubout", "-outform", "DER", "-out", "other"]);
        assert_eq!(folder.run(&["key", "id", "other"]).exits(0).stdout, id, "{kind}");
    }
}
