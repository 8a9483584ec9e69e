//! Keys that commands were given by a reference to another program, an SSH agent or a token.

use std::env;
use std::time::Duration;

use super::failure::Failure;
use super::hint::Hint;
use super::key_argument::{KeyArgument, Place};
use super::passwords::{Need, Opening, Passwords, unusable};
use super::secret_variables::SecretVariables;
use crate::crypto::{KeyError, Signer};
use crate::metadata::Key;
use crate::signers::exec::{ExecKey, PATIENCE};
use crate::signers::pkcs11::Token;
use crate::signers::token_uri::TokenUri;

/// How many seconds an `exec:` command or an agent may take.
const TIMEOUT_VARIABLE: &str = "TUF_SIGNER_TIMEOUT";

/// The module of `pkcs11:` references that name none.
const MODULE_VARIABLE: &str = "PKCS11_MODULE_PATH";

/// A key that is kept elsewhere, as it was found there.
pub(super) struct Remote {
    name: String,
    kind: Kind,
}

enum Kind {
    Ready(Box<dyn Signer>),
    Token(Box<Token>),
}

/// Finds the key that a reference names; none where the argument is a file or a variable. A command runs without the
/// variables that hold secrets.
pub(super) fn find_remote(
    argument: &KeyArgument,
    secrets: &SecretVariables,
) -> Result<Option<Remote>, Failure> {
    let name = argument.to_string();
    let found = match argument.place() {
        Place::File(_) | Place::Variable(_) => return Ok(None),
        Place::Command(command) => {
            let command = command.clone().without_variables(secrets.names()?);
            ExecKey::find(&name, command, patience()?).map(|key| Kind::Ready(Box::new(key)))
        }
        Place::Agent(fingerprint) => find_in_agent(fingerprint)?,
        Place::Token(uri) => Token::find(&with_module(uri)).map(|token| Kind::Token(Box::new(token))),
    };
    let kind = found.map_err(|error| unusable(&name, &error))?;
    Ok(Some(Remote { name, kind }))
}

fn with_module(uri: &TokenUri) -> TokenUri {
    uri.clone().with_default_module(env::var_os(MODULE_VARIABLE).map(Into::into))
}

#[cfg(unix)]
fn find_in_agent(fingerprint: &str) -> Result<Result<Kind, KeyError>, Failure> {
    use crate::signers::ssh_agent::AgentKey;
    let socket = env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).ok_or_else(|| {
        Failure::key("there is no SSH agent: SSH_AUTH_SOCK is not set")
            .with_hint(Hint::command("eval $(ssh-agent) && ssh-add"))
    })?;
    let found = AgentKey::find(socket.as_ref(), fingerprint, patience()?);
    Ok(found.map(|key| Kind::Ready(Box::new(key))))
}

#[cfg(not(unix))]
fn find_in_agent(_fingerprint: &str) -> Result<Result<Kind, KeyError>, Failure> {
    Ok(Err(KeyError::Unsupported { what: "an SSH agent on this system".to_owned() }))
}

fn patience() -> Result<Duration, Failure> {
    let Some(text) = env::var_os(TIMEOUT_VARIABLE) else { return Ok(PATIENCE) };
    let seconds =
        text.to_str().and_then(|text| text.parse().ok()).filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Failure::usage(format!("{TIMEOUT_VARIABLE} is not a number of seconds from 1 to 86400"))
    })
}

impl Remote {
    /// Tells what it takes to sign.
    pub(super) fn need(&self) -> Need {
        match &self.kind {
            Kind::Token(token) if token.wants_pin() => Need::Password,
            _ => Need::Nothing,
        }
    }

    /// Tells what it takes to know the public half.
    pub(super) fn need_for_public(&self) -> Result<Need, Failure> {
        match &self.kind {
            Kind::Token(token) if self.shown_by(token)?.is_none() => Ok(self.need()),
            _ => Ok(Need::Nothing),
        }
    }

    /// Returns the key, ready to sign.
    pub(super) fn open(
        self,
        passwords: &mut Passwords,
        opening: Opening,
    ) -> Result<Box<dyn Signer>, Failure> {
        match self.kind {
            Kind::Ready(signer) => Ok(signer),
            Kind::Token(token) => {
                let name = self.name;
                passwords.open_by(&name, "the PIN of the token of", opening, |pin| token.unlock(pin))?;
                let key = token.into_key().map_err(|error| unusable(&name, &error))?;
                Ok(Box::new(key))
            }
        }
    }

    /// Returns the public half, unlocking a token only where it hides it.
    pub(super) fn public_key(self, passwords: &mut Passwords, opening: Opening) -> Result<Key, Failure> {
        if let Kind::Token(token) = &self.kind
            && let Some(key) = self.shown_by(token)?
        {
            return Ok(key);
        }
        Ok(self.open(passwords, opening)?.public_key().clone())
    }

    fn shown_by(&self, token: &Token) -> Result<Option<Key>, Failure> {
        token.public_key().map_err(|error| unusable(&self.name, &error))
    }
}
