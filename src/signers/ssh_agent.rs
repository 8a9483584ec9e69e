//! Keys that an SSH agent keeps: Ed25519 and ECDSA, over the Unix socket of the agent protocol
//! (draft-ietf-sshm-ssh-agent).
//!
//! The keys of security keys (`sk-…`) sign something else than the bytes given and cannot serve here.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64ct::{Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};

use super::{ecdsa, out_of_reach};
use crate::crypto::{KeyError, SignError, Signer, respelled};
use crate::metadata::Key;

/// The longest message that OpenSSH's agent takes, and the longest answer that is read, in bytes.
const MAX_MESSAGE: usize = 256 * 1024;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// A key that an agent keeps.
#[derive(Debug)]
pub struct AgentKey {
    agent: Agent,
    identity: Identity,
}

impl AgentKey {
    /// Finds a key in the agent behind a socket, by the fingerprint that `ssh-add -l` prints (`SHA256:…`) or by its
    /// key id. The agent may take `patience` for each answer: it may have to ask a person.
    ///
    /// # Errors
    /// [`KeyError::OutOfReach`]: no agent answers, or it has no such key.
    pub fn find(socket: &Path, fingerprint: &str, patience: Duration) -> Result<Self, KeyError> {
        let agent = Agent { socket: socket.to_owned(), patience };
        let answer = agent.ask(REQUEST_IDENTITIES, &[], IDENTITIES_ANSWER).map_err(out_of_reach)?;
        let blobs =
            identities(&answer).ok_or_else(|| out_of_reach("the SSH agent's list of keys is malformed"))?;
        let known: Vec<Identity> = blobs.into_iter().filter_map(Identity::read).collect();
        let count = known.len();
        let found = known.into_iter().find(|identity| identity.answers_to(fingerprint));
        let identity = found.ok_or_else(|| {
            out_of_reach(format!(
                "the SSH agent has {count} keys that can sign here and this one is not among them"
            ))
        })?;
        Ok(Self { agent, identity })
    }
}

impl Signer for AgentKey {
    fn public_key(&self) -> &Key {
        &self.identity.public
    }

    fn sign(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let Key { keytype, scheme: own, .. } = &self.identity.public;
        if scheme != own {
            return Err(SignError::UnsupportedScheme { keytype: keytype.clone(), scheme: scheme.to_owned() });
        }
        let mut request = Vec::with_capacity(message.len() + self.identity.blob.len() + 12);
        put_string(&mut request, &self.identity.blob);
        put_string(&mut request, message);
        request.extend(0_u32.to_be_bytes());
        let failed = |reason: String| SignError::Failed { reason };
        let answer = self.agent.ask(SIGN_REQUEST, &request, SIGN_RESPONSE).map_err(failed)?;
        signature(&answer, self.identity.kind)
            .ok_or_else(|| failed("the SSH agent's signature is malformed".to_owned()))
    }
}

#[derive(Debug)]
struct Agent {
    socket: PathBuf,
    patience: Duration,
}

impl Agent {
    /// Sends one request over a connection of its own and returns what follows the type of the answer.
    fn ask(&self, kind: u8, body: &[u8], expected: u8) -> Result<Vec<u8>, String> {
        if body.len() >= MAX_MESSAGE - 4 {
            return Err(format!("an SSH agent takes no message longer than {MAX_MESSAGE} bytes"));
        }
        let broken = |error: io::Error| {
            format!("the SSH agent at '{}' does not answer: {error}", self.socket.display())
        };
        let answer = self.exchange(kind, body).map_err(broken)?;
        match answer.split_first() {
            Some((found, rest)) if *found == expected => Ok(rest.to_vec()),
            Some(_) if kind == SIGN_REQUEST => Err("the SSH agent refused to sign".to_owned()),
            _ => Err("the SSH agent refused the request".to_owned()),
        }
    }

    fn exchange(&self, kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        let length = u32::try_from(body.len() + 1).map_err(io::Error::other)?;
        let mut message = length.to_be_bytes().to_vec();
        message.push(kind);
        message.extend(body);
        stream.write_all(&message)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    Ecdsa {
        /// The length of each of the two numbers of a signature, in bytes.
        order: usize,
    },
}

/// A public key as the agent names it.
#[derive(Debug)]
struct Identity {
    blob: Vec<u8>,
    kind: Kind,
    public: Key,
}

impl Identity {
    /// Reads a key; none where it is of a kind that cannot sign metadata.
    fn read(blob: &[u8]) -> Option<Self> {
        let mut fields = Fields(blob);
        let (kind, public) = match fields.string()? {
            b"ssh-ed25519" => (Kind::Ed25519, Key::new("ed25519", "ed25519", hex::encode(fields.string()?))),
            name @ (b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384") => {
                let scheme = std::str::from_utf8(name).ok()?;
                fields.string()?;
                let order = if scheme.ends_with("384") { 48 } else { 32 };
                (Kind::Ecdsa { order }, Key::new("ecdsa", scheme, hex::encode(fields.string()?)))
            }
            _ => return None,
        };
        Some(Self { blob: blob.to_vec(), kind, public: respelled(&public).ok()? })
    }

    fn answers_to(&self, fingerprint: &str) -> bool {
        match fingerprint.strip_prefix("SHA256:") {
            Some(digest) => {
                let own = Base64Unpadded::encode_string(&Sha256::digest(&self.blob));
                digest.trim_end_matches('=') == own
            }
            None => self.public.id().as_str() == fingerprint,
        }
    }
}

/// Reads the key blobs of an agent's list.
fn identities(answer: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Fields(answer);
    let count = fields.number()?;
    let mut blobs = Vec::new();
    for _ in 0..count {
        blobs.push(fields.string()?);
        fields.string()?; // the comment
    }
    Some(blobs)
}

/// Reads a signature in the form that metadata holds it.
fn signature(answer: &[u8], kind: Kind) -> Option<Vec<u8>> {
    let mut signature = Fields(Fields(answer).string()?);
    signature.string()?; // the algorithm, which the key decides
    let bytes = signature.string()?;
    match kind {
        Kind::Ed25519 => Some(bytes.to_vec()),
        Kind::Ecdsa { order } => {
            let mut numbers = Fields(bytes);
            let mut raw = vec![0; 2 * order];
            let (r, s) = raw.split_at_mut(order);
            put_number(numbers.string()?, r)?;
            put_number(numbers.string()?, s)?;
            ecdsa::to_der(&raw)
        }
    }
}

/// Writes a number without its leading zeros at the end of a field of zeros.
fn put_number(number: &[u8], field: &mut [u8]) -> Option<()> {
    let digits = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    let start = field.len().checked_sub(digits.len())?;
    field[start..].copy_from_slice(digits);
    Some(())
}

fn put_string(message: &mut Vec<u8>, bytes: &[u8]) {
    // longer ones are refused before they are sent
    message.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend(bytes);
}

/// The fields of a message, not yet read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (string, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
#[path = "ssh_agent_tests.rs"]
mod tests;
