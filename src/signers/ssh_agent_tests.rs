//! The agent's side of the conversation, malformed in every way, and well-formed by a stand-in.

use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use proptest::prelude::*;

use super::*;
use crate::crypto::{KeyType, PrivateKey, verify_signature};

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    put_string(&mut message, bytes);
    message
}

fn ed25519_blob(key: &Key) -> Vec<u8> {
    [string(b"ssh-ed25519"), string(&hex::decode(key.public().unwrap()).unwrap())].concat()
}

/// Answers one request per connection with the bodies given, in order.
fn stand_in(folder: &Path, answers: Vec<Vec<u8>>) -> (PathBuf, JoinHandle<()>) {
    let path = folder.join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&string(&answer)).unwrap();
        }
    });
    (path, thread)
}

fn list(blobs: &[Vec<u8>]) -> Vec<u8> {
    let mut answer = vec![IDENTITIES_ANSWER];
    answer.extend(u32::try_from(blobs.len()).unwrap().to_be_bytes());
    for blob in blobs {
        answer.extend(string(blob));
        answer.extend(string(b"a comment"));
    }
    answer
}

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn finds_a_key_by_either_name_and_signs() {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let blob = ed25519_blob(key.public_key());
    let signature = key.sign("ed25519", b"message").unwrap();
    let response =
        [vec![SIGN_RESPONSE], string(&[string(b"ssh-ed25519"), string(&signature)].concat())].concat();
    let unknown = string(b"ssh-rsa");
    let ours = list(&[unknown, blob.clone()]);
    let folder = tempfile::tempdir().unwrap();
    let (socket, thread) = stand_in(folder.path(), vec![ours.clone(), ours, response]);

    let fingerprint = format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(&blob)));
    let found = AgentKey::find(&socket, &fingerprint, PATIENCE).unwrap();
    assert_eq!(found.public_key(), key.public_key());
    let found = AgentKey::find(&socket, key.public_key().id().as_str(), PATIENCE).unwrap();
    let made = found.sign("ed25519", b"message").unwrap();
    assert_eq!(verify_signature(key.public_key(), b"message", &made), Ok(()));
    thread.join().unwrap();

    let gone = AgentKey::find(&folder.path().join("nowhere"), &fingerprint, PATIENCE);
    assert!(matches!(gone, Err(KeyError::OutOfReach { .. })));
}

#[test]
fn refusals_and_missing_keys_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, thread) =
        stand_in(folder.path(), vec![list(&[]), vec![5], vec![], vec![IDENTITIES_ANSWER, 0, 0]]);
    for reason in ["is not among them", "refused the request", "refused the request", "is malformed"] {
        let error = AgentKey::find(&socket, "SHA256:x", PATIENCE).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    thread.join().unwrap();
}

#[test]
fn an_agent_that_is_silent_is_not_waited_for_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    let _silent = UnixListener::bind(&path).unwrap();
    let error = AgentKey::find(&path, "SHA256:x", Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
}

#[test]
fn a_message_that_no_agent_takes_is_refused_before_it_is_sent() {
    let agent = Agent { socket: "/nonexistent".into(), patience: PATIENCE };
    let error = agent.ask(SIGN_REQUEST, &vec![0; MAX_MESSAGE], SIGN_RESPONSE).unwrap_err();
    assert_eq!(error, "an SSH agent takes no message longer than 262144 bytes");
}

proptest! {
    #[test]
    fn never_panics_on_any_answer(bytes in prop::collection::vec(any::<u8>(), 0..120), small in prop::collection::vec(0..40_u8, 0..120)) {
        for answer in [&bytes, &small] {
            let _ = identities(answer);
            let _ = Identity::read(answer).is_some();
            for kind in [Kind::Ed25519, Kind::Ecdsa { order: 32 }, Kind::Ecdsa { order: 48 }] {
                let _ = signature(answer, kind);
            }
        }
    }

    #[test]
    fn never_panics_on_any_numbers(r in prop::collection::vec(any::<u8>(), 0..60), s in prop::collection::vec(any::<u8>(), 0..60)) {
        let numbers = [string(&r), string(&s)].concat();
        let answer = string(&[string(b"ecdsa"), string(&numbers)].concat());
        let _ = signature(&answer, Kind::Ecdsa { order: 32 });
    }
}
