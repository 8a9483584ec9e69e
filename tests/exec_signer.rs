//! Commands that sign, fail, dawdle and babble.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::Digest;
use tempfile::TempDir;
use tuf::crypto::{KeyError, KeyType, Occasion, PrivateKey, Signer, verify_signature};
use tuf::signers::exec::{CommandLine, ExecKey, PATIENCE};

/// Returns the command line that runs a script.
fn script(folder: &TempDir, text: &str) -> CommandLine {
    let path = folder.path().join("script");
    std::fs::write(&path, text).unwrap();
    CommandLine::parse(&format!("sh '{}'", path.display())).unwrap()
}

fn find(folder: &TempDir, text: &str) -> Result<ExecKey, KeyError> {
    ExecKey::find("exec:a test", script(folder, text), Duration::from_secs(20))
}

#[test]
fn a_command_tells_its_key_and_signs() {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let message = br#"{"_type":"timestamp"}"#;
    let sig = hex::encode(key.sign("ed25519", message).unwrap());
    let public = serde_json::to_string(key.public_key()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let text = format!(
        r#"read line; echo "$line" >> '{}'; case "$line" in *'"op":"public"'*) echo '{public}';; *) echo '{{"sig":"{sig}"}}';; esac"#,
        log.display()
    );
    let found = find(&folder, &text).unwrap();
    assert_eq!(found.public_key(), key.public_key());
    let made = found.sign("ed25519", message).unwrap();
    assert_eq!(verify_signature(key.public_key(), message, &made), Ok(()));
    found.sign_for(Occasion { role: "a/b", keyid: "01" }, "ed25519", message).unwrap();

    let log = std::fs::read_to_string(log).unwrap();
    let asked: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(asked[0], json!({"v": 1, "op": "public", "uri": "exec:a test"}));
    assert_eq!(
        asked[1],
        json!({
            "v": 1, "op": "sign", "uri": "exec:a test", "keyid": key.public_key().id(), "scheme": "ed25519",
            "role": "timestamp", "payload_b64": Base64::encode_string(message),
            "digest_hex": hex::encode(sha2::Sha256::digest(message)),
        })
    );
    assert_eq!((&asked[2]["role"], &asked[2]["keyid"]), (&json!("a/b"), &json!("01")));
}

#[test]
fn what_goes_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (text, reason) in [
        ("exit 3", "failed: exit status: 3"),
        ("echo '{}'; exit 1", "failed: exit status: 1"),
        ("true", "did not answer with one line of JSON"),
        ("echo '{} {}'", "did not answer with one line of JSON"),
        ("echo '[]'", "did not answer with a JSON object"),
        ("echo '{}'", "has no keytype, scheme and keyval"),
        ("yes", "answered with more than 65536 bytes"),
        (r#"echo '{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}'"#, "not a public key"),
    ] {
        let error = find(&folder, text).unwrap_err();
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
    let missing = CommandLine::parse("/nonexistent/signer").unwrap();
    let error = ExecKey::find("exec:x", missing, PATIENCE).unwrap_err();
    assert!(error.to_string().contains("cannot be run"), "{error}");
}

#[test]
fn a_command_that_dawdles_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["sleep 30", "exec sleep 30", "exec >&-; exec sleep 30"] {
        let start = Instant::now();
        let error = ExecKey::find("exec:x", script(&folder, text), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("took longer than 0.2 s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_question_that_nobody_reads_does_not_block() {
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let public = serde_json::to_string(key.public_key()).unwrap();
    let found = find(&folder, &format!("echo '{public}'")).unwrap();
    let error = found.sign("ed25519", &vec![b'x'; 1 << 20]).unwrap_err();
    assert!(error.to_string().contains("has no text \"sig\""), "{error}");
}
