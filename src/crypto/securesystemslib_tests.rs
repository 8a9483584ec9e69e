//! The key files of securesystemslib 0.x: read back from an encoder written here, and refused where damaged.

use proptest::prelude::*;

use super::super::legacy_vectors::*;
use super::super::test_vectors::*;
use super::*;

/// Encrypts a text as `encrypt_key` of securesystemslib did.
fn seal(text: &str, password: &str, iterations: u32) -> String {
    let (salt, iv) = ([7_u8; 16], [9_u8; 16]);
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut key);
    let mut bytes = text.as_bytes().to_vec();
    Ctr128BE::<aes::Aes256>::new((&key).into(), (&iv).into()).apply_keystream(&mut bytes);
    let mut seal = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    seal.update(&bytes);
    let hmac = hex::encode(seal.finalize().into_bytes());
    [&hex::encode(salt), &iterations.to_string(), &hmac, &hex::encode(iv), &hex::encode(&bytes)]
        .map(String::as_str)
        .join(DELIMITER)
}

fn try_open(text: &str, password: &str) -> Result<String, KeyError> {
    let password = Password::new(password.into());
    open(text.as_bytes(), Some(&password)).map(|key| key.public_key().id().to_string())
}

fn json(keytype: &str, public: &str, private: &str) -> String {
    serde_json::json!({"keytype": keytype, "scheme": "any", "keyval": {"public": public, "private": private}})
        .to_string()
}

#[test]
fn reads_what_securesystemslib_wrote() {
    assert_eq!(try_open(ED25519_SECURESYSTEMSLIB, PASSWORD).as_deref(), Ok(ED25519_ID));
    assert_eq!(try_open(&format!("{ED25519_SECURESYSTEMSLIB}\n"), PASSWORD).as_deref(), Ok(ED25519_ID));
}

#[test]
fn reads_every_type_of_key_plain_and_encrypted() {
    for (keytype, public, private, id) in [
        ("ecdsa", P256_PUBLIC, P256_PRIVATE, P256_ID),
        ("ecdsa-sha2-nistp256", P256_POINT, P256_SEC1, P256_ID),
        ("ecdsa-sha2-nistp384", P384_PUBLIC, P384_SEC1, P384_ID),
        ("rsa", RSA_PUBLIC, RSA_PRIVATE, RSA_ID),
    ] {
        let text = json(keytype, public, private);
        assert_eq!(read_private(text.as_bytes()).unwrap().public_key().id().as_str(), id);
        assert_eq!(try_open(&seal(&text, "pässwörd", 3), "pässwörd").as_deref(), Ok(id));
    }
}

#[test]
fn a_broken_seal_is_a_wrong_password() {
    let sealed = seal(ED25519_JSON, "right", 2);
    assert_eq!(try_open(&sealed, "wrong"), Err(KeyError::WrongPassword));
    // any other digit of the HMAC or of the ciphertext breaks it
    for at in [16 * 2 + 9 + 4, sealed.len() - 1] {
        let mut other = sealed.clone().into_bytes();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        assert_eq!(try_open(&String::from_utf8(other).unwrap(), "right"), Err(KeyError::WrongPassword));
    }
}

#[test]
fn damage_is_named_without_a_password() {
    let sealed = seal(ED25519_JSON, "right", 2);
    let fields: Vec<&str> = sealed.split(DELIMITER).collect();
    for (at, value, reason) in [
        (0, "xx", "its salt is damaged"),
        (1, "-1", "its number of iterations is damaged"),
        (1, "99999999999", "its number of iterations is damaged"),
        (2, "00", "its HMAC is damaged"),
        (3, "00", "its initialisation vector is damaged"),
        (4, "0", "its encrypted bytes are damaged"),
    ] {
        let mut other = fields.clone();
        other[at] = value;
        let verdict = open(other.join(DELIMITER).as_bytes(), None).map(|_| ());
        assert_eq!(verdict, Err(malformed(reason)));
    }
    let verdict = open(fields[..4].join(DELIMITER).as_bytes(), None).map(|_| ());
    assert_eq!(verdict, Err(malformed("it does not have the five fields of a securesystemslib key")));
    assert!(matches!(try_open(&seal("hello", "right", 2), "right"), Err(KeyError::NotAPrivateKey { .. })));
}

#[test]
fn a_cost_without_bound_is_refused() {
    let sealed = seal(ED25519_JSON, "right", 2);
    for iterations in ["0", "50000001", "4294967295"] {
        let costly = sealed.replacen("@@@@2@@@@", &format!("@@@@{iterations}@@@@"), 1);
        assert!(matches!(try_open(&costly, "right"), Err(KeyError::Unsupported { .. })), "{iterations}");
    }
}

#[test]
fn halves_of_two_keys_are_refused() {
    for text in [json("rsa", RSA_OTHER_PUBLIC, RSA_PRIVATE), json("ecdsa", P384_PUBLIC, P256_PRIVATE)] {
        let verdict = read_private(text.as_bytes()).map(|_| ());
        assert_eq!(verdict, Err(malformed("its two halves do not belong together")));
    }
}

#[test]
fn a_private_half_that_is_empty_is_none() {
    for text in
        [json("ed25519", ED25519_PUBLIC, ""), json("ed25519", ED25519_PUBLIC, "").replace("\"\"", "null")]
    {
        assert!(!is_private(text.as_bytes()), "{text}");
        assert!(read_public(text.as_bytes()).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_password_opens_what_it_sealed(password in ".{0,20}", other in ".{0,20}") {
        let sealed = seal(ED25519_JSON, &password, 1);
        prop_assert_eq!(try_open(&sealed, &password), Ok(ED25519_ID.to_owned()));
        if other != password {
            prop_assert_eq!(try_open(&sealed, &other), Err(KeyError::WrongPassword));
        }
    }

    #[test]
    fn never_panics_on_any_sealed_text(text in "\\PC{0,80}") {
        let _ = try_open(&seal(&text, "right", 1), "right");
    }

    #[test]
    fn takes_escapes_off_as_a_json_parser_does(text in "[a-z\\\\/\"\n\r\té]{0,40}") {
        let json = serde_json::to_string(&text).unwrap();
        let plain = unescaped(&json).unwrap();
        prop_assert_eq!(plain.as_str(), text);
    }
}
