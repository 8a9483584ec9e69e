//! The commands on keys as a person or a script meets them: files, modes, words, exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::process::Command;

use serde_json::json;
use support::{Folder, Ran};

/// A password that no message has a reason to contain.
const PASSWORD: &str = "correct-horse-battery";

/// Makes an encrypted key and the file of its password.
fn folder_with_key(kind: &str) -> Folder {
    let folder = Folder::new();
    folder.write("password", &format!("{PASSWORD}\n"));
    folder.run(&["keygen", "key", "--type", kind, "--password-file", "password"]).exits(0);
    folder
}

/// Asserts a failure of one line and one hint that changed nothing.
fn fails_without_a_trace(folder: &Folder, args: &[&str], code: i32, cause: &str) -> Ran {
    let before = folder.files();
    let ran = folder.run(args).exits(code);
    assert_eq!(folder.files(), before, "{args:?}");
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(cause), "{ran:?}");
    assert!(ran.stderr.lines().count() <= 2, "{ran:?}");
    ran
}

#[cfg(unix)]
fn mode(folder: &Folder, name: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn keygen_writes_an_encrypted_key_that_only_its_owner_may_read() {
    let folder = Folder::new();
    folder.write("password", PASSWORD);
    let ran = folder.run(&["keygen", "keystore/root_key", "--password-file", "password"]).exits(0);
    assert_eq!(ran.stdout.trim().len(), 64, "the keyid alone: {ran:?}");
    assert!(ran.stderr.contains("tuf-repo add-key ROLE keystore/root_key.pub"), "{ran:?}");
    let private = fs::read_to_string(folder.path("keystore/root_key")).unwrap();
    assert!(private.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    let public = fs::read_to_string(folder.path("keystore/root_key.pub")).unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    #[cfg(unix)]
    assert_eq!((mode(&folder, "keystore/root_key"), mode(&folder, "keystore/root_key.pub")), (0o600, 0o644));
}

/// A trap of the old tools: key files were mode 0644.
#[cfg(unix)]
#[test]
fn key_files_stay_private_under_any_umask() {
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_tuf-repo");
    for (umask, name) in [("000", "open"), ("077", "closed")] {
        let line = format!("umask {umask}; exec '{program}' keygen {name} --no-password");
        let status = folder_shell(&folder, &line);
        assert!(status.success());
        assert_eq!((mode(&folder, name), mode(&folder, &format!("{name}.pub"))), (0o600, 0o644), "{umask}");
    }
}

#[cfg(unix)]
fn folder_shell(folder: &Folder, line: &str) -> std::process::ExitStatus {
    let output = Command::new("sh").args(["-c", line]).current_dir(folder.path("")).output().unwrap();
    output.status
}

#[test]
fn keygen_never_overwrites_without_force() {
    let folder = folder_with_key("ed25519");
    let args = ["keygen", "key", "--no-password"];
    let ran = fails_without_a_trace(&folder, &args, 2, "'key' exists already");
    assert!(ran.stderr.contains("hint: choose another PATH, or replace it: tuf-repo "), "{ran:?}");
    fs::remove_file(folder.path("key")).unwrap();
    fails_without_a_trace(&folder, &args, 2, "'key.pub' exists already");

    folder.run(&["keygen", "key", "--no-password", "--force"]).exits(0);
    let id = folder.run(&["key", "id", "key"]).exits(0).stdout;
    assert_eq!(folder.run(&["key", "id", "key.pub"]).exits(0).stdout, id);
}

#[test]
fn keygen_makes_every_type_and_refuses_unsafe_lengths() {
    let folder = Folder::new();
    for (name, args, keytype, scheme) in [
        ("a", &[][..], "ed25519", "ed25519"),
        ("b", &["--type", "rsa", "--bits", "2048"], "rsa", "rsassa-pss-sha256"),
        ("c", &["--type", "ecdsa"], "ecdsa", "ecdsa-sha2-nistp256"),
        ("d", &["--type", "ecdsa", "--bits", "384"], "ecdsa", "ecdsa-sha2-nistp384"),
    ] {
        let args = [&["--json", "keygen", name, "--no-password"], args].concat();
        let json = folder.run(&args).exits(0).json();
        assert_eq!(json["keytype"], keytype);
        assert_eq!(json["scheme"], scheme);
    }
    for (args, cause) in [
        (&["--type", "rsa", "--bits", "2047"][..], "an RSA key of 2047 bits is refused"),
        (&["--type", "rsa", "--bits", "99999"], "an RSA key of 99999 bits is refused"),
        (&["--type", "ecdsa", "--bits", "521"], "an ecdsa key of 521 bits is not supported"),
        (&["--bits", "256"], "an ed25519 key has one length only"),
        (&["--type", "dsa"], "invalid value 'dsa'"),
    ] {
        fails_without_a_trace(&folder, &[&["keygen", "x", "--no-password"], args].concat(), 2, cause);
    }
}

#[test]
fn keygen_and_key_id_print_the_same_json() {
    let folder = Folder::new();
    let made = folder.run(&["keygen", "my key", "--no-password", "--json"]).exits(0).json();
    let seen = folder.run(&["--json", "key", "id", "my key"]).exits(0).json();
    for json in [&made, &seen] {
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["keytype"], "ed25519");
        assert_eq!(json["scheme"], "ed25519");
        assert_eq!(json["private"], "my key");
        assert_eq!(json["public"], "my key.pub");
        assert_eq!(json["encrypted"], false);
        assert_eq!(json["keyid"], made["keyid"]);
    }
    let public = folder.run(&["--json", "key", "id", "my key.pub"]).exits(0).json();
    assert_eq!((&public["keyid"], &public["private"]), (&made["keyid"], &json!(null)));
}

#[test]
fn key_show_tells_all_but_the_secret() {
    let folder = folder_with_key("ecdsa");
    let public = fs::read_to_string(folder.path("key.pub")).unwrap();
    let ran = folder.run(&["key", "show", "key"]).exits(0);
    assert!(ran.stdout.contains("scheme   ecdsa-sha2-nistp256"), "{ran:?}");
    assert!(ran.stdout.contains("private  encrypted"), "{ran:?}");
    assert!(ran.stdout.ends_with(&public), "{ran:?}");
    let json = folder.run(&["key", "show", "--json", "key"]).exits(0).json();
    assert_eq!((&json["public_pem"], &json["encrypted"]), (&json!(public), &json!(true)));
}

#[test]
fn a_key_in_a_variable_is_read() {
    let folder = Folder::new();
    let made = folder.run(&["keygen", "key", "--no-password"]).exits(0);
    let mut command = folder.command(&["key", "id", "env:THE_KEY"]);
    let output = command.env("THE_KEY", fs::read_to_string(folder.path("key")).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), made.stdout);
    fails_without_a_trace(
        &folder,
        &["key", "id", "env:NOT_SET_ANYWHERE"],
        4,
        "'NOT_SET_ANYWHERE' is not set",
    );
}

#[test]
fn passwd_changes_the_password_and_nothing_else() {
    let folder = folder_with_key("ed25519");
    let id = folder.run(&["key", "id", "key"]).exits(0).stdout;
    folder.write("new", "another\r\n");
    folder
        .run(&["key", "passwd", "key", "--password-file", "password", "--new-password-file", "new"])
        .exits(0);
    #[cfg(unix)]
    assert_eq!(mode(&folder, "key"), 0o600);
    fs::remove_file(folder.path("key.pub")).unwrap();
    assert_eq!(folder.run(&["key", "id", "key", "--password-file", "new"]).exits(0).stdout, id);
    fails_without_a_trace(
        &folder,
        &["key", "id", "key", "--password-file", "password"],
        4,
        "does not open the private key 'key'",
    );

    folder.run(&["key", "passwd", "key", "--password-file", "new", "--no-password"]).exits(0);
    assert_eq!(folder.run(&["key", "id", "key"]).exits(0).stdout, id);
}

#[test]
fn a_wrong_password_changes_nothing() {
    let folder = folder_with_key("ed25519");
    folder.write("wrong", "wrong");
    for rest in [&["--no-password"][..], &["--new-password-file", "password"]] {
        let args = [&["key", "passwd", "key", "--password-file", "wrong"], rest].concat();
        fails_without_a_trace(&folder, &args, 4, "the password does not open the private key 'key'");
    }
}

#[test]
fn an_empty_new_password_is_refused() {
    let folder = folder_with_key("ed25519");
    folder.write("empty", "\n");
    for args in [
        &["keygen", "other", "--password-file", "empty"][..],
        &["key", "passwd", "key", "--password-file", "password", "--new-password-file", "empty"],
    ] {
        let ran = fails_without_a_trace(&folder, args, 4, "is empty");
        assert!(ran.stderr.contains("hint: --no-password, in its place"), "{ran:?}");
    }
}

#[test]
fn without_a_terminal_and_a_password_it_fails_at_once() {
    let folder = folder_with_key("ed25519");
    fs::remove_file(folder.path("key.pub")).unwrap();
    for args in [
        &["keygen", "other"][..],
        &["--no-input", "keygen", "other"],
        &["key", "id", "key"],
        &["key", "passwd", "key", "--no-password"],
        &["key", "passwd", "key", "--password-file", "password"],
    ] {
        let ran = fails_without_a_trace(&folder, args, 4, "no password was given");
        assert!(ran.stderr.contains("password-file FILE"), "{ran:?}");
    }
}

#[test]
fn a_missing_or_damaged_key_is_named() {
    let folder = Folder::new();
    folder.write("text", "hello\n");
    fails_without_a_trace(&folder, &["key", "id", "nowhere"], 4, "'nowhere': No such file or directory");
    fails_without_a_trace(&folder, &["key", "show", "text"], 4, "cannot use the key 'text'");
    fails_without_a_trace(
        &folder,
        &["key", "passwd", "text", "--no-password"],
        4,
        "'text' holds no private key",
    );
    fails_without_a_trace(&folder, &["key", "id", "a\nb"], 4, r"'a\nb': No such file");
    fails_without_a_trace(&folder, &["key", "id", "pkcs11:token=x;pin-value=1"], 2, "must not hold a PIN");
    fails_without_a_trace(&folder, &["key", "passwd", "env:X", "--no-password"], 2, "'env:X' is not a file");
}

#[test]
fn passwords_come_from_files_variables_and_stdin() {
    let folder = Folder::new();
    let args = ["keygen", "one", "--password-file", "-"];
    folder.run_with_input(&args, &format!("{PASSWORD}\n")).exits(0);
    let mut command = folder.command(&["key", "passwd", "one", "--password-env", "OLD", "--no-password"]);
    assert!(command.env("OLD", PASSWORD).output().unwrap().status.success());
    let both = ["key", "passwd", "one", "--password-file", "-", "--new-password-file", "-"];
    fails_without_a_trace(&folder, &both, 2, "standard input is named twice");
    fails_without_a_trace(
        &folder,
        &["keygen", "two", "--password-file", "none"],
        4,
        "the password file 'none'",
    );
}

#[test]
fn failures_are_objects_in_json() {
    let folder = folder_with_key("ed25519");
    for (args, code, name) in [
        (&["keygen", "key", "--no-password", "--json"][..], 2, "usage"),
        (&["--json", "keygen"], 2, "usage"),
        (&["--json", "nonsense"], 2, "usage"),
        (&["--json"], 2, "usage"),
        (&["--json", "keygen", "x", "--time", "soon"], 2, "usage"),
        (&["key", "id", "nowhere", "--json"], 4, "key"),
    ] {
        let ran = folder.run(args).exits(code);
        let json = ran.json();
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["error"]["code"], name, "{ran:?}");
        assert!(json["error"]["message"].is_string() && json["error"].get("hint").is_some(), "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    }
}

#[test]
fn help_and_version_are_no_failures() {
    let folder = Folder::new();
    for args in [&["--help"][..], &["--version"], &["keygen", "-h"], &["help", "key", "show"]] {
        let ran = folder.run(args).exits(0);
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
    }
    let ran = folder.run::<&str>(&[]).exits(2);
    assert!(ran.stderr.contains("Usage: tuf-repo"), "{ran:?}");
}

#[test]
fn quiet_leaves_results_and_errors() {
    let folder = Folder::new();
    let ran = folder.run(&["-q", "keygen", "key", "--no-password"]).exits(0);
    assert_eq!((ran.stdout.trim().len(), ran.stderr.as_str()), (64, ""));
    assert!(folder.run(&["-q", "keygen", "key", "--no-password"]).exits(2).stderr.starts_with("error: "));
}

#[test]
fn a_dry_run_changes_nothing() {
    let folder = folder_with_key("ed25519");
    let before = folder.files();
    for args in [
        &["keygen", "deep/other", "--dry-run", "--json"][..],
        &["key", "passwd", "key", "--password-file", "password", "--dry-run", "--json"],
        &["man", "manual", "--dry-run", "--json"],
    ] {
        assert_eq!(folder.run(args).exits(0).json()["dry_run"], true);
    }
    assert_eq!(folder.files(), before);
    assert!(!folder.path("deep").exists() && !folder.path("manual").exists());
}

#[test]
fn secrets_are_never_printed() {
    let folder = folder_with_key("ed25519");
    folder.run(&["keygen", "plain", "--no-password"]).exits(0);
    folder.write("wrong", "a-wrong-secret");
    let plain = fs::read_to_string(folder.path("plain")).unwrap();
    let private_line = plain.lines().nth(1).unwrap();
    fs::remove_file(folder.path("key.pub")).unwrap();
    let mut words = String::new();
    for args in [
        &["-v", "key", "show", "plain"][..],
        &["-v", "key", "show", "key", "--password-file", "password", "--json"],
        &["-v", "key", "id", "key", "--password-file", "wrong"],
        &["-v", "key", "passwd", "key", "--password-file", "password", "--new-password-file", "wrong"],
        &["-v", "key", "id", "key", "--password-file", "password", "--json"],
        &["-v", "keygen", "new", "--password-file", "password"],
        &["--password", PASSWORD, "keygen", "x"],
    ] {
        words.push_str(&folder.run(args).words());
    }
    for secret in [PASSWORD, "a-wrong-secret", private_line] {
        assert!(!words.contains(secret), "{words}");
    }
}

#[test]
fn openssl_reads_the_keys() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl here");
        return;
    }
    for kind in ["ed25519", "ecdsa"] {
        let folder = folder_with_key(kind);
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-in", "key", "-passin", "file:password", "-pubout"]);
        let output = openssl.current_dir(folder.path("")).output().unwrap();
        assert_eq!(output.stdout, fs::read(folder.path("key.pub")).unwrap(), "{output:?}");
    }
}

#[test]
fn a_person_is_asked_twice_for_a_new_password_and_sees_no_echo() {
    let folder = Folder::new();
    let prompt = "Enter a password for the new ED25519 key 'key': ";
    let answers =
        [(prompt, PASSWORD), ("Confirm: ", "mistyped"), (prompt, PASSWORD), ("Confirm: ", PASSWORD)];
    let Some(ran) = folder.run_at_terminal(&["keygen", "key"], &answers) else { return };
    let ran = ran.exits(0);
    assert!(ran.stdout.contains("The two passwords differ."), "{ran:?}");
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stdout.contains("mistyped"), "{ran:?}");

    let prompt = "Enter a password for the encrypted ED25519 key 'key': ";
    let args = ["key", "passwd", "key", "--no-password"];
    let ran = folder.run_at_terminal(&args, &[(prompt, "wrong"), (prompt, PASSWORD)]).unwrap().exits(0);
    assert!(ran.stdout.contains("This password does not open the key."), "{ran:?}");
    assert!(fs::read_to_string(folder.path("key")).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn an_interrupt_at_a_prompt_leaves_the_terminal_as_it_was() {
    let folder = Folder::new();
    let prompt = "Enter a password for the new ED25519 key 'key': ";
    let modes = "stty -a | grep -ow -e '-\\?echo' -e '-\\?icanon' -e '-\\?isig'";
    // what runs in the background of a shell, as CI may, starts with interrupts ignored
    let interruptible = "$(env --default-signal=INT true 2>/dev/null && echo env --default-signal=INT)";
    let line = format!("trap : INT; {modes}; {interruptible} $PROGRAM keygen key; echo code $?; {modes}");
    let Some(ran) = folder.run_line_at_terminal(&line, &[(prompt, "half a pass\u{3}")]) else { return };
    let shown: Vec<&str> = ran.stdout.split_whitespace().collect();
    let (before, after) = ran.stdout.split_once(prompt).unwrap();
    assert!(before.contains("icanon"), "{before}");
    let rest = after.split_once("code 130").unwrap_or_else(|| panic!("{shown:?}")).1;
    assert_eq!(before.split_whitespace().collect::<Vec<_>>(), rest.split_whitespace().collect::<Vec<_>>());
    assert!(!folder.path("key").exists());
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let folder = Folder::new();
    let mut command = folder.command(&["completions", "bash"]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let folder = Folder::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = folder.command(&["completions", "bash"]);
    assert_eq!(command.stdout(full).output().unwrap().status.code(), Some(1));
}

#[test]
fn the_manual_has_a_page_per_command() {
    let folder = Folder::new();
    folder.run(&["man", "manual"]).exits(0);
    let pages: Vec<_> = folder.files().into_iter().map(|(name, _)| name).collect();
    for page in ["tuf-repo.1", "tuf-repo-keygen.1", "tuf-repo-key-passwd.1", "tuf-repo-man.1"] {
        assert!(pages.contains(&format!("manual/{page}")), "{pages:?}");
    }
    let script = folder.run(&["completions", "bash"]).exits(0).stdout;
    assert!(script.contains("keygen"));
}
