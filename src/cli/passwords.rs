//! Which password opens which key: the ones given, in the order of the keys, or the ones a person types.

use std::fmt;

use super::failure::{Failure, Outcome};
use super::hint::Hint;
use super::password_source::{PasswordSource, read_passwords};
use super::secret_variables::SecretVariables;
use super::terminal::{ControllingTerminal, Interaction, Terminal};
use super::text::{io_cause, one_line};
use crate::crypto::{KeyError, Password, PrivateKey, is_encrypted};

/// How often a person is asked for the same password.
const ATTEMPTS: usize = 3;

/// The passwords of one command.
pub struct Passwords {
    given: Vec<Password>,
    terminal: Option<Box<dyn Terminal>>,
    flag: &'static str,
    secrets: SecretVariables,
}

/// A private key in its file's bytes, not yet opened.
#[derive(Debug, Clone, Copy)]
pub struct LockedKey<'a> {
    /// The key as the command names it.
    pub name: &'a str,
    /// The type for the prompt, such as `RSA`, where it is known before the key is open.
    pub keytype: Option<&'a str>,
    /// What the file holds.
    pub contents: &'a [u8],
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords({} given)", self.given.len())
    }
}

impl Passwords {
    /// Reads the passwords that are given; without any, a person is asked where that is allowed. `secrets` are the
    /// variables that a program which is started for a key is not given.
    ///
    /// # Errors
    /// As [`read_passwords`].
    pub fn read(
        sources: &[PasswordSource],
        interaction: Interaction,
        secrets: SecretVariables,
    ) -> Result<Self, Failure> {
        let given = read_passwords(sources)?;
        let from_variables = sources.iter().all(|source| matches!(source, PasswordSource::Variable(_)));
        let flag = if from_variables && !sources.is_empty() { "--password-env" } else { "--password-file" };
        Ok(Self { given, terminal: terminal(interaction), flag, secrets })
    }

    /// Returns the variables that no other program is given.
    pub(super) fn secrets(&self) -> &SecretVariables {
        &self.secrets
    }

    /// Names the flag that hints should name instead of `--password-file`.
    pub fn from_flag(self, flag: &'static str) -> Self {
        Self { flag, ..self }
    }

    /// Parts the password of a key that is about to be written from the one that opens it now: one given serves
    /// both, of two the second is the new one.
    pub fn part_new(&mut self, interaction: Interaction) -> Self {
        let given = match self.given.len() {
            1 => self.given.first().map(|password| Password::new(password.as_str().to_owned())),
            2 => self.given.pop(),
            _ => None,
        };
        Self {
            given: given.into_iter().collect(),
            terminal: terminal(interaction),
            flag: "--new-password-file",
            secrets: self.secrets.clone(),
        }
    }

    /// Opens all keys, or none.
    ///
    /// One password serves all keys; as many as there are keys go by position; as many as there are encrypted
    /// keys go to those in order. Without passwords a person is asked for each encrypted key.
    ///
    /// # Errors
    /// Of kind `Key`: a password is missing or wrong, their number fits nothing, or a key is unreadable.
    pub fn unlock(&mut self, keys: &[LockedKey<'_>]) -> Result<Vec<PrivateKey>, Failure> {
        let needs: Vec<_> = keys.iter().map(|key| Need::of(key.contents)).collect();
        let plan = self.plan(&needs)?;
        keys.iter().zip(plan).map(|(key, opening)| self.open(key, opening)).collect()
    }

    /// Decides how each of a command's keys is opened.
    pub(super) fn plan(&self, needs: &[Need]) -> Result<Vec<Opening>, Failure> {
        assign(self.given.len(), needs)
    }

    pub(super) fn open(&mut self, key: &LockedKey<'_>, opening: Opening) -> Result<PrivateKey, Failure> {
        let asked = format!("a password for the encrypted {}", noun(key.keytype));
        self.open_by(key.name, &asked, opening, |password| PrivateKey::read(key.contents, password))
    }

    /// Opens a key, a token or anything else that takes a password. `asked` is what a prompt asks for, such as `the PIN of the token`.
    pub(super) fn open_by<T>(
        &mut self,
        name: &str,
        asked: &str,
        opening: Opening,
        open: impl Fn(Option<&Password>) -> Result<T, KeyError>,
    ) -> Result<T, Failure> {
        let result = match opening {
            Opening::Plain => open(None),
            Opening::Given(index) => open(self.given.get(index)),
            Opening::Asked => return self.ask_to_open(name, asked, open),
        };
        result.map_err(|error| match error {
            KeyError::WrongPassword => refused(name, &error)
                .with_hint(Hint::advice(format!("leave {} out to be asked for the password", self.flag))),
            error => refused(name, &error),
        })
    }

    /// Returns the password for a key that is about to be written, asked for twice where it is typed. `what` is
    /// what the prompt asks for, such as `a password for the new ED25519 key`.
    ///
    /// # Errors
    /// Of kind `Key`: no password, several, an empty one, or two that differ three times.
    pub fn choose(&mut self, what: &str, name: &str) -> Result<Password, Failure> {
        if self.given.len() > 1 {
            let count = self.given.len();
            return Err(Failure::key(format!("{count} passwords were given for one key, '{name}'")));
        }
        let password = match self.given.pop() {
            Some(password) => password,
            None => self.ask_twice(what, name)?,
        };
        if password.as_str().is_empty() {
            return Err(Failure::key(format!("the password for '{name}' is empty"))
                .with_hint(Hint::advice("--no-password, in its place, writes a key that is not encrypted")));
        }
        Ok(password)
    }

    fn ask_to_open<T>(
        &mut self,
        name: &str,
        asked: &str,
        open: impl Fn(Option<&Password>) -> Result<T, KeyError>,
    ) -> Result<T, Failure> {
        let prompt = format!("Enter {asked} '{}': ", one_line(name));
        let terminal = self.terminal.as_deref_mut().ok_or_else(|| {
            Failure::key(format!("the private key '{name}' is encrypted and no password was given"))
                .with_hint(Hint::again("give one", format!("{} FILE", self.flag)))
        })?;
        for _ in 1..ATTEMPTS {
            let password = ask(terminal, &prompt, name)?;
            match open(Some(&password)) {
                Err(KeyError::WrongPassword) => {
                    terminal.say("This password does not open the key. Try again.");
                }
                result => return result.map_err(|error| refused(name, &error)),
            }
        }
        let password = ask(terminal, &prompt, name)?;
        open(Some(&password)).map_err(|error| refused(name, &error))
    }

    fn ask_twice(&mut self, what: &str, name: &str) -> Result<Password, Failure> {
        let prompt = format!("Enter {what} '{}': ", one_line(name));
        let terminal = self.terminal.as_deref_mut().ok_or_else(|| {
            Failure::key(format!("no password was given for '{name}'"))
                .with_hint(Hint::again("add --no-password, or give one", format!("{} FILE", self.flag)))
        })?;
        for _ in 0..ATTEMPTS {
            let first = ask(terminal, &prompt, name)?;
            if first.as_str().is_empty() {
                return Ok(first);
            }
            if ask(terminal, "Confirm: ", name)?.as_str() == first.as_str() {
                return Ok(first);
            }
            terminal.say("The two passwords differ.");
        }
        Err(Failure::key(format!("the two passwords typed for '{name}' differed {ATTEMPTS} times")))
    }
}

fn terminal(interaction: Interaction) -> Option<Box<dyn Terminal>> {
    match interaction {
        Interaction::Allowed => Some(Box::new(ControllingTerminal)),
        Interaction::Forbidden => None,
    }
}

/// What a key needs to be of use to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Its password.
    Password,
    /// No password.
    Nothing,
}

impl Need {
    fn of(contents: &[u8]) -> Self {
        if is_encrypted(contents) { Self::Password } else { Self::Nothing }
    }
}

/// How a key is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is not encrypted.
    Plain,
    /// By the password given at this position.
    Given(usize),
    /// By a person.
    Asked,
}

fn assign(given: usize, needs: &[Need]) -> Result<Vec<Opening>, Failure> {
    let locked = needs.iter().filter(|need| **need == Need::Password).count();
    let by_position = given == needs.len();
    if given > 1 && !by_position && given != locked {
        let keys = if needs.len() == 1 { "1 key".to_owned() } else { format!("{} keys", needs.len()) };
        return Err(Failure::key(format!(
            "{given} passwords were given for {keys}, and {locked} of them need one"
        ))
        .with_hint(Hint::advice(
            "give one password for all keys, or one for each key in the order of the keys",
        )));
    }
    let mut turn = 0;
    let plan = needs.iter().enumerate().map(|(position, need)| match (need, given) {
        (Need::Nothing, _) => Opening::Plain,
        (Need::Password, 0) => Opening::Asked,
        (Need::Password, 1) => Opening::Given(0),
        (Need::Password, _) if by_position => Opening::Given(position),
        (Need::Password, _) => {
            turn += 1;
            Opening::Given(turn - 1)
        }
    });
    Ok(plan.collect())
}

fn ask(terminal: &mut dyn Terminal, prompt: &str, name: &str) -> Result<Password, Failure> {
    terminal
        .ask(prompt)
        .map_err(|error| Failure::key(format!("no password was entered for '{name}': {}", io_cause(&error))))
}

fn refused(name: &str, error: &KeyError) -> Failure {
    match error {
        KeyError::WrongPassword => {
            Failure::key(format!("the password does not open the private key '{name}'"))
        }
        other => unusable(name, other),
    }
}

/// Makes the failure of a key that is there but cannot be used.
pub(super) fn unusable(name: &str, error: &KeyError) -> Failure {
    let hint = match error {
        KeyError::OutOfReach { .. } => {
            Hint::advice("docs/signers.md tells how keys that are kept elsewhere are named")
        }
        _ => Hint::explained("make a key", "tuf-repo keygen PATH"),
    };
    Failure::key(format!("cannot use the key '{name}': {error}")).with_hint(hint)
}

/// Returns what prompts call a key of a type: `RSA key`, or `key` where the type is not known.
pub fn noun(keytype: Option<&str>) -> String {
    keytype.map_or_else(|| "key".to_owned(), |keytype| format!("{} key", one_line(keytype).to_uppercase()))
}

/// Refuses two groups of sources that would both read stdin.
///
/// # Errors
/// Of kind `Usage`.
pub fn refuse_shared_stdin(one: &[PasswordSource], other: &[PasswordSource]) -> Outcome {
    if one.contains(&PasswordSource::Stdin) && other.contains(&PasswordSource::Stdin) {
        return Err(Failure::usage("standard input is named twice as the source of passwords"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "passwords_tests.rs"]
mod tests;
