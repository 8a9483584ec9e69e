//! The rules of which password opens which key, with a person played by a list of answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::*;
use crate::cli::failure::FailureKind;
use crate::crypto::{KeyType, Signer};

/// Answers in order and keeps what it was shown.
#[derive(Clone, Default)]
struct Script {
    answers: Rc<RefCell<VecDeque<&'static str>>>,
    shown: Rc<RefCell<Vec<String>>>,
}

impl Terminal for Script {
    fn ask(&mut self, prompt: &str) -> io::Result<Password> {
        self.shown.borrow_mut().push(prompt.to_owned());
        let answer = self.answers.borrow_mut().pop_front();
        answer
            .map(|answer| Password::new(answer.to_owned()))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn say(&mut self, line: &str) {
        self.shown.borrow_mut().push(line.to_owned());
    }
}

fn person(answers: &[&'static str]) -> (Script, Passwords) {
    let script =
        Script { answers: Rc::new(RefCell::new(answers.iter().copied().collect())), ..Script::default() };
    let terminal: Option<Box<dyn Terminal>> = Some(Box::new(script.clone()));
    (
        script,
        Passwords {
            given: Vec::new(),
            terminal,
            flag: "--password-file",
            secrets: SecretVariables::default(),
        },
    )
}

fn given(passwords: &[&str]) -> Passwords {
    let given = passwords.iter().map(|text| Password::new((*text).to_owned())).collect();
    Passwords { given, terminal: None, flag: "--password-file", secrets: SecretVariables::default() }
}

fn key(password: Option<&str>) -> (String, Vec<u8>) {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let password = password.map(|text| Password::new(text.to_owned()));
    let pem = key.to_pkcs8_pem(password.as_ref()).unwrap();
    (key.public_key().id().to_string(), pem.as_bytes().to_vec())
}

fn unlock(passwords: &mut Passwords, keys: &[&(String, Vec<u8>)]) -> Result<(), Failure> {
    let locked: Vec<_> =
        keys.iter().map(|(_, contents)| LockedKey { name: "k", keytype: Some("rsa"), contents }).collect();
    let ids: Vec<_> =
        passwords.unlock(&locked)?.iter().map(|key| key.public_key().id().to_string()).collect();
    assert_eq!(ids, keys.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn one_password_serves_all_keys() {
    let (one, two, plain) = (key(Some("a")), key(Some("a")), key(None));
    unlock(&mut given(&["a"]), &[&one, &plain, &two]).unwrap();
    unlock(&mut given(&["unneeded"]), &[&plain]).unwrap();
}

#[test]
fn several_passwords_go_in_the_order_of_the_keys() {
    let (one, two, plain) = (key(Some("a")), key(Some("b")), key(None));
    unlock(&mut given(&["a", "", "b"]), &[&one, &plain, &two]).unwrap();
    unlock(&mut given(&["a", "b"]), &[&one, &plain, &two]).unwrap();
    let failure = unlock(&mut given(&["b", "a"]), &[&one, &two]).unwrap_err();
    assert_eq!(failure.message, "the password does not open the private key 'k'");
}

#[test]
fn a_number_of_passwords_that_fits_nothing_is_refused() {
    let (one, two, plain) = (key(Some("a")), key(Some("b")), key(None));
    for passwords in [&["a", "b", "c", "d"][..], &["a", "b", "c", "d", "e"]] {
        let failure = unlock(&mut given(passwords), &[&one, &plain, &two]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Key);
        let count = passwords.len();
        assert_eq!(
            failure.message,
            format!("{count} passwords were given for 3 keys, and 2 of them need one")
        );
    }
}

#[test]
fn without_a_password_and_a_person_it_fails_at_once() {
    let failure = unlock(&mut given(&[]), &[&key(Some("a"))]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Key);
    assert_eq!(failure.message, "the private key 'k' is encrypted and no password was given");
    assert_eq!(failure.hint.unwrap(), Hint::again("give one", "--password-file FILE"));
    assert_eq!(given(&[]).choose("a password for the new RSA key", "k").unwrap_err().kind, FailureKind::Key);
}

#[test]
fn a_person_is_asked_per_encrypted_key_and_again_when_wrong() {
    let (one, plain, two) = (key(Some("a")), key(None), key(Some("b")));
    let (script, mut passwords) = person(&["a", "wrong", "b"]);
    unlock(&mut passwords, &[&one, &plain, &two]).unwrap();
    let prompt = "Enter a password for the encrypted RSA key 'k': ";
    let again = "This password does not open the key. Try again.";
    assert_eq!(*script.shown.borrow(), [prompt, prompt, again, prompt]);
}

#[test]
fn a_person_is_asked_three_times_at_most() {
    let (script, mut passwords) = person(&["1", "2", "3", "a"]);
    let failure = unlock(&mut passwords, &[&key(Some("a"))]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Key);
    assert_eq!(script.answers.borrow().len(), 1);
}

#[test]
fn a_person_who_ends_the_input_gave_no_password() {
    let (_, mut passwords) = person(&[]);
    let failure = unlock(&mut passwords, &[&key(Some("a"))]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Key);
    assert!(failure.message.starts_with("no password was entered for 'k': "), "{failure}");
}

#[test]
fn a_new_password_is_confirmed() {
    let (script, mut passwords) = person(&["one", "two", "new", "new"]);
    assert_eq!(passwords.choose("a password for the new ED25519 key", "k").unwrap().as_str(), "new");
    let prompt = "Enter a password for the new ED25519 key 'k': ";
    let differ = "The two passwords differ.";
    assert_eq!(*script.shown.borrow(), [prompt, "Confirm: ", differ, prompt, "Confirm: "]);

    let (_, mut passwords) = person(&["1", "2", "3", "4", "5", "6", "7", "7"]);
    assert_eq!(passwords.choose("a password for the new RSA key", "k").unwrap_err().kind, FailureKind::Key);
}

#[test]
fn an_empty_or_ambiguous_new_password_is_refused() {
    let hint = Hint::advice("--no-password, in its place, writes a key that is not encrypted");
    assert_eq!(
        person(&["", ""]).1.choose("a password for the new RSA key", "k").unwrap_err().hint.unwrap(),
        hint
    );
    assert_eq!(given(&[""]).choose("a password for the new RSA key", "k").unwrap_err().hint.unwrap(), hint);
    assert_eq!(
        given(&["a", "b"]).choose("a password for the new RSA key", "k").unwrap_err().kind,
        FailureKind::Key
    );
}

#[test]
fn debug_shows_no_password() {
    assert_eq!(format!("{:?}", given(&["hunter2"])), "Passwords(1 given)");
}
