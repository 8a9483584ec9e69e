//! How key arguments are read and which of them need a password.

use std::fs;

use super::*;
use crate::cli::failure::FailureKind;
use crate::cli::key_files::{Overwrite, write_pair};
use crate::cli::password_source::PasswordSource;
use crate::cli::secret_variables::SecretVariables;
use crate::cli::terminal::Interaction;
use crate::crypto::{KeyType, Password, public_key_to_pem};

fn argument(typed: impl AsRef<Path>) -> KeyArgument {
    typed.as_ref().to_str().unwrap().parse().unwrap()
}

fn no_passwords() -> Passwords {
    Passwords::read(&[], Interaction::Forbidden, SecretVariables::default()).unwrap()
}

fn one_password(folder: &Path, password: &str) -> Passwords {
    let path = folder.join("password");
    fs::write(&path, password).unwrap();
    Passwords::read(&[PasswordSource::file(path)], Interaction::Forbidden, SecretVariables::default())
        .unwrap()
}

/// Writes a pair of key files and returns the public half.
fn make_key(path: &Path, password: Option<&str>) -> Key {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let password = password.map(|text| Password::new(text.to_owned()));
    let public = public_key_to_pem(key.public_key()).unwrap();
    write_pair(path, &key.to_pkcs8_pem(password.as_ref()).unwrap(), &public, Overwrite::Refuse).unwrap();
    key.public_key().clone()
}

#[test]
fn loads_all_signers_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, locked) = (folder.path().join("plain"), folder.path().join("locked"));
    let keys = [make_key(&plain, None), make_key(&locked, Some("secret"))];
    let arguments = [argument(&plain), argument(&locked)];

    let loaded = load_signers(&arguments, &mut one_password(folder.path(), "secret")).unwrap();
    let loaded_keys: Vec<_> = loaded.keys.iter().map(|key| key.signer.public_key().clone()).collect();
    assert_eq!(loaded_keys, keys);
    assert_eq!(loaded.keys[0].name, arguments[0].to_string());
    assert!(loaded.warnings.is_empty());

    let failure = load_signers(&arguments, &mut one_password(folder.path(), "wrong")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Key);
    assert!(failure.message.contains("locked"), "{failure}");
}

#[test]
fn a_key_that_cannot_sign_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    make_key(&path, None);
    fs::write(folder.path().join("text"), "hello").unwrap();
    for (name, cause) in [
        ("key.pub", "is a public key, a private one is needed"),
        ("text", "holds no private key"),
        ("missing", "No such file or directory"),
        (".", "it is a directory"),
    ] {
        let failure = load_signers(&[argument(folder.path().join(name))], &mut no_passwords()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Key);
        assert!(failure.message.contains(name) && failure.message.ends_with(cause), "{failure}");
    }
}

#[cfg(unix)]
#[test]
fn warns_once_of_a_private_key_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    make_key(&path, None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let loaded = load_signers(&[argument(&path), argument(&path)], &mut no_passwords()).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("can be read by others"), "{:?}", loaded.warnings);
}

#[test]
fn a_public_half_needs_no_password_where_it_lies_beside_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = make_key(&path, Some("secret"));
    let public = public_path(&path);
    for argument in [argument(&path), argument(&public)] {
        assert_eq!(load_public(&argument, &mut no_passwords()).unwrap(), key);
    }
    let description = describe(&argument(&path), &mut no_passwords()).unwrap();
    assert_eq!(
        (description.private, description.public),
        (Some(Protection::Encrypted), Some(public.clone()))
    );

    fs::remove_file(&public).unwrap();
    assert_eq!(load_public(&argument(&path), &mut no_passwords()).unwrap_err().kind, FailureKind::Key);
    assert_eq!(load_public(&argument(&path), &mut one_password(folder.path(), "secret")).unwrap(), key);

    fs::write(&public, "hello").unwrap();
    let failure = load_public(&argument(&path), &mut no_passwords()).unwrap_err();
    assert!(failure.message.contains("key.pub"), "{failure}");
}

#[test]
fn the_public_half_of_a_plain_key_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = make_key(&path, None);
    fs::write(public_path(&path), "stale").unwrap();
    assert_eq!(load_public(&argument(&path), &mut no_passwords()).unwrap(), key);
}

#[test]
fn passwords_go_by_the_position_of_public_keys_too() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let keys = [make_key(&one, Some("1")), make_key(&two, Some("2"))];
    fs::remove_file(public_path(&two)).unwrap();
    let arguments = [argument(&one), argument(&two)];
    for passwords in ["1\n2\n", "2\n"] {
        let mut passwords = one_password(folder.path(), passwords);
        assert_eq!(load_all_public(&arguments, &mut passwords).unwrap(), keys);
    }
}
