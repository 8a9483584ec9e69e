//! Hints: what can be typed to get further, with the options that were typed.

use std::path::{Path, PathBuf};

use tuf::cli::text::shell_word;

use crate::args::{Command, Options};

/// The command line that was typed, as far as it is worth saying again.
pub struct Given {
    /// Options with their values.
    options: Vec<String>,
    names_repository: bool,
    target_dir: PathBuf,
    command: Vec<String>,
}

impl Given {
    pub fn new(options: &Options, command: &Command) -> Self {
        let names_repository = options.repo.is_some() || options.metadata_url.is_some();
        let names = options.target_name.iter().flat_map(|name| with_value("--target-name", name));
        let command = names.chain(command.words()).collect();
        let target_dir = options.target_dir.clone().unwrap_or_else(|| PathBuf::from("targets"));
        Self { options: options.words(), names_repository, target_dir, command }
    }

    /// Says what comes next, with the same options; the time that was given is that of one run.
    pub fn next(&self, command: &[&str]) -> String {
        self.with(self.options.chunks(2).filter(|pair| pair[0] != "--time").flatten(), command)
    }

    /// Says another command with the same options.
    fn other(&self, command: &[&str]) -> String {
        self.with(self.options.iter(), command)
    }

    fn with<'w>(&'w self, options: impl Iterator<Item = &'w String>, command: &[&'w str]) -> String {
        let repository = if self.names_repository { &[][..] } else { &["--repo", "URL"] };
        let given = options.map(String::as_str);
        line(given.chain(repository.iter().copied()).chain(command.iter().copied()))
    }

    /// Says another command that asks no repository, with the same options.
    fn offline(&self, command: &[&str]) -> String {
        line(self.options.iter().map(String::as_str).chain(command.iter().copied()))
    }

    /// Says the same command with other values of some options.
    fn again(&self, changes: &[(&'static str, String)]) -> String {
        let is_changed = |option: &str| changes.iter().any(|(changed, _)| *changed == option);
        let kept = self.options.chunks(2).filter(|pair| !is_changed(&pair[0])).flatten();
        let changed = changes.iter().flat_map(|(option, value)| [*option, value.as_str()]);
        line(kept.map(String::as_str).chain(changed).chain(self.command.iter().map(String::as_str)))
    }
}

/// What can be typed to get further.
#[derive(Debug)]
pub enum Hint {
    /// Words that are no command of this program.
    Words(String),
    /// The command that was typed, with other values of some options; and what for.
    Again { why: &'static str, changes: Vec<(&'static str, String)> },
    /// Another command with the options that were typed; and what for.
    Other { why: &'static str, command: Vec<String> },
    /// Something below the target folder is in the way.
    MoveAway { path: String },
    /// The same as another command, for one that asks no repository.
    Offline { why: &'static str, command: Vec<String> },
}

impl Hint {
    pub fn words(words: impl Into<String>) -> Self {
        Self::Words(words.into())
    }

    pub fn again(why: &'static str, changes: &[(&'static str, &str)]) -> Self {
        let changes = changes.iter().map(|(option, value)| (*option, (*value).to_owned())).collect();
        Self::Again { why, changes }
    }

    pub fn other(why: &'static str, command: &[&str]) -> Self {
        Self::Other { why, command: command.iter().map(|word| (*word).to_owned()).collect() }
    }

    pub fn offline(why: &'static str, command: &[&str]) -> Self {
        Self::Offline { why, command: command.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// Says it, for a command line that was typed.
    pub fn said(&self, given: &Given) -> String {
        match self {
            Self::Words(words) => words.clone(),
            Self::MoveAway { path } => {
                let path = given.target_dir.join(path);
                let name = path.file_name().unwrap_or_default();
                // where another file of that name is kept already, nothing would move
                let folder = free(|number| match number {
                    1 => Path::new("kept").join(name),
                    number => Path::new(&format!("kept-{number}")).join(name),
                });
                let folder = path_word(folder.parent().unwrap_or(Path::new("kept")));
                format!("keep it elsewhere: mkdir -p {folder} && mv -n -- {} {folder}/", path_word(&path))
            }
            Self::Again { why, changes } => format!("{why}: {}", given.again(changes)),
            Self::Other { why, command } => format!("{why}: {}", given.other(&words(command))),
            Self::Offline { why, command } => format!("{why}: {}", given.offline(&words(command))),
        }
    }
}

/// Returns the first of some numbered paths, from 1 on, at which nothing stands.
pub fn free(numbered: impl Fn(u32) -> PathBuf) -> PathBuf {
    let stands = |path: &PathBuf| path.symlink_metadata().is_ok();
    let mut number = 1;
    while number < u32::MAX && stands(&numbered(number)) {
        number += 1;
    }
    numbered(number)
}

/// Returns a path as a shell reads it.
pub fn path_word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// Returns an option with its value, as one word where the value would be taken for an option.
pub fn with_value(option: &str, value: &str) -> Vec<String> {
    if value.starts_with('-') {
        return vec![format!("{option}={value}")];
    }
    vec![option.to_owned(), value.to_owned()]
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn line<'w>(words: impl Iterator<Item = &'w str>) -> String {
    std::iter::once("tuf-fetch".to_owned()).chain(words.map(shell_word)).collect::<Vec<_>>().join(" ")
}
