//! Commands that sign, fail, dawdle and babble.

use proptest::prelude::*;

use super::*;
use crate::crypto::{KeyType, PrivateKey, verify_signature};

fn words(text: &str) -> Result<Vec<String>, &'static str> {
    CommandLine::parse(text).map(|line| line.0)
}

/// Returns the command line that runs a script, told nothing but what it reads.
fn script(text: &str) -> CommandLine {
    CommandLine(vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn find(text: &str) -> Result<ExecKey, KeyError> {
    ExecKey::find("exec:a test", script(text), Duration::from_secs(20))
}

#[test]
fn words_are_split_by_the_rules_that_are_documented() {
    assert_eq!(words("sign  --key\t1 ").unwrap(), ["sign", "--key", "1"]);
    assert_eq!(words(r#"a 'b c' "d e" f\ g"#).unwrap(), ["a", "b c", "d e", "f g"]);
    assert_eq!(words(r#"a '' "" b'c'"d""#).unwrap(), ["a", "", "", "bcd"]);
    assert_eq!(
        words(r#"a '\"$HOME' "\"\\\n" ~ * $X"#).unwrap(),
        ["a", r#"\"$HOME"#, r#""\\n"#, "~", "*", "$X"]
    );
    for text in ["", "  ", "''", "a 'b", "a \"b", "a \"\\", "a\\", "a\0"] {
        assert!(words(text).is_err(), "{text:?}");
    }
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
    let found = find(&text).unwrap();
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
            "digest_hex": hex::encode(Sha256::digest(message)),
        })
    );
    assert_eq!((&asked[2]["role"], &asked[2]["keyid"]), (&json!("a/b"), &json!("01")));
}

#[test]
fn what_goes_wrong_is_told() {
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
        let error = find(text).unwrap_err();
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
    let missing = CommandLine::parse("/nonexistent/signer").unwrap();
    let error = ExecKey::find("exec:x", missing, PATIENCE).unwrap_err();
    assert!(error.to_string().contains("cannot be run"), "{error}");
}

#[test]
fn a_command_that_dawdles_is_ended() {
    for text in ["sleep 30", "exec sleep 30", "exec >&-; exec sleep 30"] {
        let start = Instant::now();
        let error = ExecKey::find("exec:x", script(text), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("took longer than 0.2 s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_question_that_nobody_reads_does_not_block() {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let public = serde_json::to_string(key.public_key()).unwrap();
    let found = find(&format!("echo '{public}'")).unwrap();
    let error = found.sign("ed25519", &vec![b'x'; 1 << 20]).unwrap_err();
    assert!(error.to_string().contains("has no text \"sig\""), "{error}");
}

#[test]
fn the_digest_is_the_one_that_the_scheme_signs() {
    assert_eq!(digest("ecdsa-sha2-nistp384", b"").len(), 96);
    assert_eq!(digest("rsassa-pss-sha256", b"").len(), 64);
}

proptest! {
    #[test]
    fn words_in_quotes_come_back_as_they_were(all in prop::collection::vec("[^\0']{1,8}", 1..5)) {
        let text = all.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        prop_assert_eq!(words(&text).unwrap(), all);
    }

    #[test]
    fn never_panics_on_any_line_or_answer(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (words(&text), parse_answer(&bytes), parse_answer(text.as_bytes()));
    }
}
