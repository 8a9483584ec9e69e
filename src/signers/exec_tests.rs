//! The words of a command and its answers. What is run is in `tests/exec_signer.rs`: a process that starts others shares
//! its locks with them for a moment, and the tests in here hold some.

use proptest::prelude::*;

use super::*;

fn words(text: &str) -> Result<Vec<String>, &'static str> {
    CommandLine::parse(text).map(|line| line.words)
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
