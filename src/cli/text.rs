//! Foreign text in our lines: nothing in it may break a line, steer a terminal or be typed as another word.

use std::io;
use std::path::Path;

/// Returns the text with what would break or disguise a line escaped: control characters, line separators
/// and marks that turn the direction of writing.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible_command(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn is_invisible_command(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the text as one word of a shell's command line, quoted where it must be.
pub fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Returns a path as people are shown it in a sentence: in quotes, on one line.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", one_line(&path.to_string_lossy()))
}

/// Returns the cause of an I/O error in words, without the number of the operating system.
pub fn io_cause(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_escapes_what_breaks_or_disguises_a_line() {
        assert_eq!(one_line("a\nb\r\t\u{1b}[2J\u{9b}"), r"a\nb\r\t\u{1b}[2J\u{9b}");
        assert_eq!(one_line("a\u{202e}b\u{2028}"), r"a\u{202e}b\u{2028}");
        assert_eq!(one_line("naïve 'Größe' 目录"), "naïve 'Größe' 目录");
    }

    #[test]
    fn a_shell_word_is_typed_as_it_stands() {
        assert_eq!(shell_word("keystore/root_key.pub"), "keystore/root_key.pub");
        assert_eq!(shell_word("my key"), "'my key'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("*.txt"), "'*.txt'");
    }

    #[test]
    fn an_io_cause_has_no_number() {
        let error = std::fs::read("/nonexistent/file").unwrap_err();
        assert_eq!(io_cause(&error), "No such file or directory");
        assert_eq!(io_cause(&io::Error::other("broken")), "broken");
    }
}
