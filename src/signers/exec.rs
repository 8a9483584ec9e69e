//! Keys behind a command: a script can be put in front of any signer.
//!
//! The command is run once per question, without a shell. It reads one line of JSON from its stdin and writes one to
//! its stdout; its stderr is the caller's. `docs/signers.md` has the protocol for those who write such commands.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384};

use super::out_of_reach;
use crate::crypto::{KeyError, Occasion, SignError, Signer, respelled};
use crate::metadata::Key;

/// How long a command may take for an answer where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// A command and its arguments, and the variables that it is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<String>,
    hidden: BTreeSet<String>,
}

impl CommandLine {
    /// Splits a text into words at spaces and tabs. `'…'` is taken as it is, in `"…"` a backslash precedes `"` and
    /// `\`, elsewhere it precedes any character. Nothing is expanded.
    ///
    /// # Errors
    /// What is wrong with it: no word, or a quote without its end.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                ' ' | '\t' => words.extend(word.take()),
                '\'' => quoted(&mut rest, word.get_or_insert_default())?,
                '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
                '\\' => word.get_or_insert_default().push(rest.next().ok_or("it ends in a backslash")?),
                plain => word.get_or_insert_default().push(plain),
            }
        }
        words.extend(word);
        match words.first() {
            Some(program) if !program.is_empty() && !text.contains('\0') => {
                Ok(Self { words, hidden: BTreeSet::new() })
            }
            _ => Err("it names no command"),
        }
    }

    /// Hides environment variables of this process from the command, such as those that hold passwords and keys for
    /// this process. The command has all others: a signer may need its credentials.
    pub fn without_variables(self, names: BTreeSet<String>) -> Self {
        Self { hidden: names, ..self }
    }
}

fn quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next().ok_or("a quote in it has no end")? {
            '\'' => return Ok(()),
            plain => word.push(plain),
        }
    }
}

fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    const NO_END: &str = "a quote in it has no end";
    loop {
        match rest.next().ok_or(NO_END)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(NO_END)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                plain => word.extend(['\\', plain]),
            },
            plain => word.push(plain),
        }
    }
}

/// A key that a command signs with.
pub struct ExecKey {
    uri: String,
    command: CommandLine,
    patience: Duration,
    public: Key,
}

impl fmt::Debug for ExecKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecKey({}, {})", self.uri, self.public.id())
    }
}

impl ExecKey {
    /// Asks a command for its public key. `uri` is what the command is told it was called by.
    ///
    /// # Errors
    /// [`KeyError::OutOfReach`] where the command fails, is too slow or answers something else, and what is wrong
    /// with the key it names.
    pub fn find(uri: &str, command: CommandLine, patience: Duration) -> Result<Self, KeyError> {
        let question = json!({"v": 1, "op": "public", "uri": uri});
        let answer = ask(&command, &question, patience).map_err(out_of_reach)?;
        let stated: Key = serde_json::from_value(answer)
            .map_err(|_| out_of_reach("the command's answer has no keytype, scheme and keyval"))?;
        let public = respelled(&stated)?;
        Ok(Self { uri: uri.to_owned(), command, patience, public })
    }

    fn ask_to_sign(
        &self,
        keyid: &str,
        role: Option<&str>,
        scheme: &str,
        message: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        #[derive(Deserialize)]
        struct Answer {
            sig: String,
        }
        let mut question = json!({
            "v": 1,
            "op": "sign",
            "uri": self.uri,
            "keyid": keyid,
            "scheme": scheme,
            "payload_b64": Base64::encode_string(message),
            "digest_hex": digest(scheme, message),
        });
        if let Some(role) = role {
            question["role"] = Value::from(role);
        }
        let failed = |reason: String| SignError::Failed { reason };
        let answer = ask(&self.command, &question, self.patience).map_err(failed)?;
        let answer: Answer = serde_json::from_value(answer)
            .map_err(|_| failed("the command's answer has no text \"sig\"".to_owned()))?;
        hex::decode(answer.sig).map_err(|_| failed("the command's signature is not hexadecimal".to_owned()))
    }
}

impl Signer for ExecKey {
    fn public_key(&self) -> &Key {
        &self.public
    }

    /// Signs under the key's own id, for the role that the bytes name as their type.
    fn sign(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        #[derive(Deserialize)]
        struct Signed {
            _type: String,
        }
        let role = serde_json::from_slice(message).ok().map(|signed: Signed| signed._type);
        self.ask_to_sign(self.public.id().as_str(), role.as_deref(), scheme, message)
    }

    fn sign_for(&self, occasion: Occasion<'_>, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.ask_to_sign(occasion.keyid, Some(occasion.role), scheme, message)
    }
}

/// The digest that a scheme signs. Ed25519 signs the bytes themselves; theirs is for show.
fn digest(scheme: &str, message: &[u8]) -> String {
    match scheme {
        "ecdsa-sha2-nistp384" => hex::encode(Sha384::digest(message)),
        _ => hex::encode(Sha256::digest(message)),
    }
}

/// Puts one question to a command and returns its answer.
fn ask(command: &CommandLine, question: &Value, patience: Duration) -> Result<Value, String> {
    let deadline = Instant::now() + patience;
    let [program, arguments @ ..] = &command.words[..] else { return Err("it names no command".to_owned()) };
    let mut process = Command::new(program);
    for name in &command.hidden {
        process.env_remove(name);
    }
    let mut child = process
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the command '{program}' cannot be run: {error}"))?;
    let result = converse(&mut child, format!("{question}\n"), deadline);
    if result.is_err() {
        // it may be gone already
        let _ = child.kill();
        let _ = child.wait();
    }
    let answer = match result {
        Ok((_, status)) if !status.success() => Err(format!("failed: {status}")),
        Ok((answer, _)) => parse_answer(&answer).map_err(str::to_owned),
        Err(Silence::TooLong) => Err(format!("took longer than {} s", patience.as_secs_f32())),
        Err(Silence::TooMuch) => Err(format!("answered with more than {MAX_ANSWER} bytes")),
        Err(Silence::Broken) => Err("could not be talked to".to_owned()),
    };
    answer.map_err(|reason| format!("the command '{program}' {reason}"))
}

/// Why a command gave no answer.
enum Silence {
    TooLong,
    TooMuch,
    Broken,
}

fn converse(
    child: &mut Child,
    question: String,
    deadline: Instant,
) -> Result<(Vec<u8>, ExitStatus), Silence> {
    let mut to = child.stdin.take().ok_or(Silence::Broken)?;
    let from = child.stdout.take().ok_or(Silence::Broken)?;
    // a command that does not read its question may answer it all the same
    thread::spawn(move || drop(to.write_all(question.as_bytes())));
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = from.take(MAX_ANSWER + 1).read_to_end(&mut bytes);
        // nobody waits any longer where this fails
        let _ = sender.send(read.map(|_| bytes));
    });
    let left = deadline.saturating_duration_since(Instant::now());
    let answer = answer.recv_timeout(left).map_err(|_| Silence::TooLong)?.map_err(|_| Silence::Broken)?;
    if answer.len() as u64 > MAX_ANSWER {
        // the command may be blocked by what nobody reads: it is not waited for
        return Err(Silence::TooMuch);
    }
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(|_| Silence::Broken)? {
            return Ok((answer, status));
        }
        if Instant::now() >= deadline {
            return Err(Silence::TooLong);
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// Reads one line of JSON, after which only blanks may follow.
fn parse_answer(bytes: &[u8]) -> Result<Value, &'static str> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| "did not answer with one line of JSON")?;
    if value.is_object() { Ok(value) } else { Err("did not answer with a JSON object") }
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
