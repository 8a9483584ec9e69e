//! What a person can do after a failure: words, and perhaps a command.
//!
//! The command can be pasted as it stands, once its words in capitals (`KEY`, `ROLE`) are filled in. So nothing ever
//! stands behind it: the words that explain it stand before it.

use std::ffi::OsString;
use std::fmt;

use super::text::shell_word;

/// The most bytes of a command line that is given again with one option more.
const LONGEST_REPEATED: usize = 1000;

/// What a person can do to get further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    words: Option<String>,
    typed: Option<Typed>,
}

/// What there is to type.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Typed {
    /// A command.
    Command(String),
    /// The command that failed, with this option besides.
    Again(String),
    /// The command that failed, with this option and its values in the place of those that were given.
    Instead(String),
}

impl Hint {
    /// A command that says by itself what it does.
    pub fn command(command: impl Into<String>) -> Self {
        Self { words: None, typed: Some(Typed::Command(command.into())) }
    }

    /// A command, after words that say what it is for.
    pub fn explained(words: impl Into<String>, command: impl Into<String>) -> Self {
        Self { words: Some(words.into()), typed: Some(Typed::Command(command.into())) }
    }

    /// The command that failed, with an option besides, after words that say what the option is for.
    pub fn again(words: impl Into<String>, option: impl Into<String>) -> Self {
        Self { words: Some(words.into()), typed: Some(Typed::Again(option.into())) }
    }

    /// The command that failed, with an option whose values were too few or wrong, after words that say what it is for. Behind the
    /// values of such an option stand only further options.
    pub fn instead(words: impl Into<String>, option: impl Into<String>) -> Self {
        Self { words: Some(words.into()), typed: Some(Typed::Instead(option.into())) }
    }

    /// Words alone, where no command leads on.
    pub fn advice(words: impl Into<String>) -> Self {
        Self { words: Some(words.into()), typed: None }
    }

    /// Changes the command, where there is one.
    pub fn map_command(self, change: impl FnOnce(String) -> String) -> Self {
        match self.typed {
            Some(Typed::Command(command)) => {
                Self { words: self.words, typed: Some(Typed::Command(change(command))) }
            }
            typed => Self { words: self.words, typed },
        }
    }

    /// Puts the command line that failed in the place of "the same command": a program's name and the words after it.
    pub fn over(self, program: &str, words: &[OsString]) -> Self {
        let Some(Typed::Again(option) | Typed::Instead(option)) = &self.typed else { return self };
        let (name, _) = option.split_once(' ').unwrap_or((option.as_str(), ""));
        let has_it = |word: &&OsString| {
            let word = word.to_string_lossy();
            word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        let words: Vec<&OsString> = match &self.typed {
            Some(Typed::Instead(_)) => without(words, has_it),
            // most options are given once
            _ if words.iter().any(|word| has_it(&word)) => return self,
            _ => words.iter().collect(),
        };
        let all: Vec<String> = words.iter().map(|word| shell_word(&word.to_string_lossy())).collect();
        // behind `--` no word is an option
        let end = words.iter().position(|word| *word == "--").unwrap_or(all.len());
        let (before, after) = all.split_at(end);
        let line = [&[program.to_owned()], before, std::slice::from_ref(option), after].concat().join(" ");
        if line.len() > LONGEST_REPEATED {
            return self;
        }
        Self { typed: Some(Typed::Command(line)), ..self }
    }
}

/// Leaves out an option and its values, which go as far as the next option.
fn without(words: &[OsString], is_option: impl Fn(&&OsString) -> bool) -> Vec<&OsString> {
    let mut is_left_out = false;
    let keeps = |word: &&OsString| {
        is_left_out = is_option(word) || (is_left_out && !word.to_string_lossy().starts_with('-'));
        !is_left_out
    };
    words.iter().filter(keeps).collect()
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = self.typed.as_ref().map(|typed| match typed {
            Typed::Command(command) => command.clone(),
            Typed::Again(option) | Typed::Instead(option) => format!("the same command with {option}"),
        });
        let parts: Vec<&str> = [self.words.as_deref(), typed.as_deref()].into_iter().flatten().collect();
        f.write_str(&parts.join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Vec<OsString> {
        all.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_words_stand_before_the_command() {
        let hint = Hint::explained("take over what is live", "tuf-repo pull");
        assert_eq!(hint.to_string(), "take over what is live: tuf-repo pull");
        assert_eq!(Hint::command("tuf-repo pull").to_string(), "tuf-repo pull");
        assert_eq!(Hint::advice("choose another name").to_string(), "choose another name");
    }

    #[test]
    fn the_command_that_failed_is_given_again_with_one_option_more() {
        let hint = Hint::again("take the new bytes", "--replace");
        assert_eq!(hint.to_string(), "take the new bytes: the same command with --replace");
        let typed = words(&["-r", "my repository", "add-targets", "a"]);
        let line = "take the new bytes: tuf-repo -r 'my repository' add-targets a --replace";
        assert_eq!(hint.clone().over("tuf-repo", &typed).to_string(), line);
        let typed = words(&["add-targets", "--", "-a"]);
        let line = "take the new bytes: tuf-repo add-targets --replace -- -a";
        assert_eq!(hint.clone().over("tuf-repo", &typed).to_string(), line);
        // an option that was given already, with another value perhaps
        let hint = Hint::again("wait for the other process", "--wait 30s");
        assert_eq!(hint.clone().over("tuf-repo", &words(&["write", "--wait=1s"])), hint);
        // values that were too few give way
        let hint = Hint::instead("name all of them", "--recover a b");
        for typed in [
            &["publish", "--recover", "a", "--to", "x"][..],
            &["publish", "--to", "x", "--recover", "b"],
            &["publish", "--recover=c", "--to", "x", "--recover", "a", "b"],
        ] {
            let line = "name all of them: tuf-repo publish --to x --recover a b";
            assert_eq!(hint.clone().over("tuf-repo", &words(typed)).to_string(), line);
        }
        let hint = Hint::again("take the new bytes", "--replace");
        // thousands of names are not said again
        let long = words(&["add-targets"; 1000]);
        assert_eq!(hint.clone().over("tuf-repo", &long), hint);
    }
}
