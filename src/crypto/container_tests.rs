//! Every container of private and public keys, read as another tool wrote it and with other bytes.

use proptest::prelude::*;

use super::super::legacy_vectors::*;
use super::super::signer::Signer;
use super::super::test_vectors::*;
use super::*;

fn open(contents: &[u8], password: Option<&str>) -> Result<String, KeyError> {
    let password = password.map(|text| Password::new(text.into()));
    PrivateKey::read(contents, password.as_ref()).map(|key| key.public_key().id().to_string())
}

/// The bytes inside the first envelope of a text.
fn der(pem: &str) -> Vec<u8> {
    pem::envelopes(pem.as_bytes()).next().unwrap().contents().unwrap().to_vec()
}

/// The PKCS#1 form of the RSA key: what its PKCS#8 form holds.
fn rsa_pkcs1() -> Vec<u8> {
    let der = der(RSA_PRIVATE);
    pkcs8::PrivateKeyInfoRef::from_der(&der).unwrap().private_key.as_bytes().to_vec()
}

/// Found by fuzzing: whether a password is asked for was told by any key of a file, and the first one is read.
#[test]
fn of_several_keys_in_a_file_the_first_one_counts() {
    let encrypted = P256_ENCRYPTED_SCRYPT;
    let both = |first: &str, second: &str| [first.as_bytes(), b"\n", second.as_bytes()].concat();
    let plain_first = both(ED25519_PRIVATE, encrypted);
    assert!(!is_encrypted(&plain_first));
    assert_eq!(open(&plain_first, None).unwrap(), ED25519_ID);
    let encrypted_first = both(encrypted, ED25519_PRIVATE);
    assert!(is_encrypted(&encrypted_first));
    assert!(matches!(open(&encrypted_first, None), Err(KeyError::PasswordNeeded)));
    // a public key before them does not count
    assert!(is_encrypted(&both(P256_PUBLIC, encrypted)));
}

/// Every private key that needs no password, with its id.
fn plain() -> Vec<(Vec<u8>, &'static str)> {
    let mut all = vec![
        (ED25519_JSON.into(), ED25519_ID),
        (P256_SEC1.into(), P256_ID),
        (P384_SEC1.into(), P384_ID),
        (rsa_pkcs1(), RSA_ID),
        (pem::write("RSA PRIVATE KEY", &rsa_pkcs1()).unwrap().as_bytes().to_vec(), RSA_ID),
        (der(P256_SEC1), P256_ID),
        (der(P384_SEC1), P384_ID),
    ];
    for (pem, id) in [
        (ED25519_PRIVATE, ED25519_ID),
        (ED25519_PRIVATE_V2, ED25519_ID),
        (RSA_PRIVATE, RSA_ID),
        (P256_PRIVATE, P256_ID),
        (P384_PRIVATE, P384_ID),
    ] {
        all.push((pem.into(), id));
        all.push((der(pem), id));
    }
    all
}

/// Every private key that [`PASSWORD`] opens, with its id.
fn encrypted() -> Vec<(Vec<u8>, &'static str)> {
    let mut all = vec![(ED25519_SECURESYSTEMSLIB.into(), ED25519_ID), (RSA_SECURESYSTEMSLIB.into(), RSA_ID)];
    for pem in [P256_OLD_AES128, P256_OLD_DES3, P256_OLD_AES192, P256_OLD_AES256] {
        all.push((pem.into(), P256_ID));
    }
    for (pem, id) in [(ED25519_ENCRYPTED_PBKDF2, ED25519_ID), (P256_ENCRYPTED_SCRYPT, P256_ID)] {
        all.push((pem.into(), id));
        all.push((der(pem), id));
    }
    all
}

#[test]
fn reads_every_plain_container() {
    for (contents, id) in plain() {
        let text = String::from_utf8_lossy(&contents);
        assert!(is_private(&contents) && !is_encrypted(&contents), "{text}");
        assert_eq!(open(&contents, None).as_deref(), Ok(id), "{text}");
        assert_eq!(open(&contents, Some("any")).as_deref(), Ok(id), "{text}");
    }
}

#[test]
fn reads_every_encrypted_container_by_its_password_only() {
    for (contents, id) in encrypted() {
        let text = String::from_utf8_lossy(&contents);
        assert!(is_private(&contents) && is_encrypted(&contents), "{text}");
        assert_eq!(open(&contents, Some(PASSWORD)).as_deref(), Ok(id), "{text}");
        assert_eq!(open(&contents, None), Err(KeyError::PasswordNeeded), "{text}");
        for wrong in ["", "Correct horse"] {
            assert_eq!(open(&contents, Some(wrong)), Err(KeyError::WrongPassword), "{text}");
        }
    }
}

#[test]
fn reads_files_with_line_feeds_of_another_system_and_text_around() {
    for text in [P256_OLD_AES256, RSA_SECURESYSTEMSLIB] {
        let untidy = format!("a comment\r\n{}", text.replace('\n', "\r\n"));
        assert!(open(untidy.as_bytes(), Some(PASSWORD)).is_ok());
    }
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    assert_eq!(open(format!("{parameters}{P256_SEC1}").as_bytes(), None).as_deref(), Ok(P256_ID));
}

#[test]
fn wrong_passwords_of_the_old_encryption_never_open_or_damage_anything() {
    // one in 256 leaves a valid padding: ask until some have
    for attempt in 0..1000 {
        let verdict = open(P256_OLD_AES256.as_bytes(), Some(&attempt.to_string()));
        assert_eq!(verdict, Err(KeyError::WrongPassword), "{attempt}");
    }
}

#[test]
fn says_what_is_damaged_before_a_password_is_asked_for() {
    for (text, reason) in [
        (P256_OLD_AES256.replace("DEK-Info", "DEK"), "its PEM does not say how it is encrypted"),
        (
            P256_OLD_AES256.replace("AES-256-CBC,7A", "AES-256-CBC,"),
            "its PEM has no initialisation vector as long as its cipher's",
        ),
        (P256_OLD_AES256.replace("BMowvpc=", "BMowvg=="), "its encrypted bytes are cut off"),
    ] {
        assert_eq!(open(text.as_bytes(), None), Err(KeyError::NotAPrivateKey { reason }), "{text}");
    }
}

#[test]
fn names_what_it_does_not_support() {
    for (text, message) in [
        (
            P256_OLD_AES256.replace("AES-256-CBC", "CAMELLIA-128-CBC"),
            "the encryption \"CAMELLIA-128-CBC\" of the private key is not supported",
        ),
        (
            P256_SEC1.replace("EC PRIVATE", "OPENSSH PRIVATE"),
            "the private key container \"OPENSSH PRIVATE KEY\" is not supported",
        ),
        (ED25519_JSON.replace("\"ed25519\"", "\"sphincs\""), "the key type \"sphincs\" is not supported"),
    ] {
        assert_eq!(open(text.as_bytes(), Some(PASSWORD)).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_public_key_is_the_same_in_every_container() {
    for (contents, id) in [
        (ED25519_JSON_PUBLIC.as_bytes().to_vec(), ED25519_ID),
        (ED25519_JSON.as_bytes().to_vec(), ED25519_ID),
        (RSA_PUBLIC_PKCS1.as_bytes().to_vec(), RSA_ID),
        (der(RSA_PUBLIC_PKCS1), RSA_ID),
        (der(RSA_PUBLIC), RSA_ID),
        (P256_PUBLIC.as_bytes().to_vec(), P256_ID),
        (der(P384_PUBLIC), P384_ID),
    ] {
        assert_eq!(read_public_key(&contents).unwrap().id().as_str(), id);
    }
    for contents in [ED25519_JSON_PUBLIC.as_bytes(), P256_PUBLIC.as_bytes(), &der(RSA_PUBLIC_PKCS1)] {
        assert!(!is_private(contents) && !is_encrypted(contents));
        assert!(matches!(open(contents, None), Err(KeyError::NotAPrivateKey { .. })));
    }
}

#[test]
fn the_scheme_that_json_states_is_kept_where_it_is_one_of_the_type() {
    let json = |keytype: &str, scheme: &str, public: &str| {
        serde_json::json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}}).to_string()
    };
    let scheme = |text: String| read_public_key(text.as_bytes()).unwrap().scheme;
    assert_eq!(scheme(json("rsa", "rsa-pkcs1v15-sha256", RSA_PUBLIC)), "rsa-pkcs1v15-sha256");
    assert_eq!(scheme(json("rsa", "ed25519", RSA_PUBLIC)), "rsassa-pss-sha256");
    assert_eq!(scheme(json("ecdsa", "ecdsa-sha2-nistp256", P384_PUBLIC)), "ecdsa-sha2-nistp384");
    let old =
        read_public_key(json("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", P256_POINT).as_bytes()).unwrap();
    assert_eq!(old.id().as_str(), P256_ID);
}

#[test]
fn what_is_no_key_is_refused() {
    for contents in
        [&b""[..], b"hello", b"{}", b"[]", b"\x30\x00", b"\x30\x03\x02\x01\x00", b"a@@@@b", b"\xff\xfe"]
    {
        assert!(open(contents, Some("any")).is_err());
        assert!(read_public_key(contents).is_err());
    }
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[-@{}\":,a-f0-9 A-Z\n]{0,120}") {
        let password = Password::new("any".into());
        for contents in [&bytes[..], text.as_bytes()] {
            let _ = (is_private(contents), is_encrypted(contents), read_public_key(contents).is_ok());
            let _ = PrivateKey::read(contents, Some(&password));
        }
    }

    #[test]
    fn never_panics_on_a_plain_key_with_other_bytes(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut contents, _) = plain().swap_remove(which.index(plain().len()));
        for (at, byte) in changes {
            let at = at.index(contents.len());
            contents[at] = byte;
        }
        let _ = (is_private(&contents), is_encrypted(&contents), read_public_key(&contents).is_ok());
        if let Ok(key) = PrivateKey::read(&contents, None) {
            let scheme = key.public_key().scheme.clone();
            let _ = (key.sign(&scheme, b"message"), key.to_pkcs8_pem(None));
        }
    }

    #[test]
    fn never_panics_on_an_encrypted_key_with_other_bytes(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut contents, _) = encrypted().swap_remove(which.index(encrypted().len()));
        let at = at.index(contents.len());
        contents[at] = byte;
        // without a password, so that no key is derived, which takes seconds
        let _ = PrivateKey::read(&contents, None);
        contents.truncate(cut.index(contents.len()));
        let _ = PrivateKey::read(&contents, None);
    }

    #[test]
    fn never_panics_on_the_old_encryption_with_other_bytes(
        which in prop::sample::select(vec![P256_OLD_AES128, P256_OLD_DES3, P256_OLD_AES192, P256_OLD_AES256]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut contents = which.as_bytes().to_vec();
        let at = at.index(contents.len());
        contents[at] = byte;
        let password = Password::new(PASSWORD.into());
        let _ = PrivateKey::read(&contents, Some(&password));
    }
}
