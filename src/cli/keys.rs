//! Keys that commands were given: read, opened, and turned into signers and public keys.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::failure::Failure;
use super::hint::Hint;
use super::key_argument::Place;
use super::key_files::public_path;
use super::password_source::{read_file_bounded, variable};
use super::passwords::{LockedKey, Need, Opening, Passwords, unusable};
use super::remote_keys::{Remote, find_remote};
use super::secret_variables::SecretVariables;
use super::text::{io_cause, one_line, quoted, shell_word};
use crate::crypto::{PrivateKey, Signer, is_encrypted, is_private, read_public_key};
use crate::metadata::Key;

pub use super::key_argument::KeyArgument;

/// The most that a key may take, in bytes.
const LIMIT: usize = 256 * 1024;

/// A private key that is ready to sign.
pub struct LoadedKey {
    /// The key as the command names it.
    pub name: String,
    /// The key.
    pub signer: Box<dyn Signer>,
}

impl fmt::Debug for LoadedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedKey({:?}, {})", self.name, self.signer.public_key().id())
    }
}

/// Private keys, all of them open.
#[derive(Debug)]
pub struct LoadedKeys {
    /// The keys, in the order of the arguments.
    pub keys: Vec<LoadedKey>,
    /// What the person should know, such as a key file that others may read; once per file.
    pub warnings: Vec<String>,
}

/// What can be told about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// The public half.
    pub key: Key,
    /// How the private half is kept, where the argument names one.
    pub private: Option<Protection>,
    /// The file that holds the public half: the argument's own, or the one beside the private key.
    pub public: Option<PathBuf>,
}

/// How a private key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// As it is.
    Plain,
    /// By a password.
    Encrypted,
    /// By an agent, a token or another program, which does not give it away.
    Elsewhere,
}

/// Opens all private keys, or none.
///
/// # Errors
/// Of kind `Key`: a key is missing or unreadable, or is a public one, or its password is missing or wrong.
pub fn load_signers(arguments: &[KeyArgument], passwords: &mut Passwords) -> Result<LoadedKeys, Failure> {
    let found = arguments
        .iter()
        .map(|argument| Found::private(argument, passwords.secrets()))
        .collect::<Result<Vec<_>, _>>()?;
    let needs: Vec<_> = found.iter().map(Found::need).collect();
    let plan = passwords.plan(&needs)?;
    let mut keys = Vec::with_capacity(found.len());
    for ((argument, found), opening) in arguments.iter().zip(found).zip(plan) {
        keys.push(LoadedKey { name: argument.to_string(), signer: found.open(passwords, opening)? });
    }
    Ok(LoadedKeys { keys, warnings: warnings(arguments) })
}

/// Opens one private key, for writing it elsewhere.
///
/// # Errors
/// As [`load_signers`].
pub fn load_private(argument: &KeyArgument, passwords: &mut Passwords) -> Result<PrivateKey, Failure> {
    if !matches!(argument.place(), Place::File(_) | Place::Variable(_)) {
        let name = one_line(&argument.to_string());
        return Err(Failure::usage(format!("the private half of '{name}' does not leave where it is kept")));
    }
    let text = KeyText::read_private(argument)?;
    passwords.unlock(&[text.locked()])?.pop().ok_or_else(|| Failure::io("no key was opened"))
}

/// Reads one public key: from a public key file, or as the public half of a private one. For an encrypted key
/// `PATH.pub` is read where it is there, and only else the key is opened.
///
/// # Errors
/// As [`load_signers`]; a malformed `PATH.pub` is one too.
pub fn load_public(argument: &KeyArgument, passwords: &mut Passwords) -> Result<Key, Failure> {
    describe(argument, passwords).map(|description| description.key)
}

/// Reads public keys as [`load_public`] does; several passwords go in the order of the keys.
///
/// # Errors
/// As [`load_public`].
pub fn load_all_public(arguments: &[KeyArgument], passwords: &mut Passwords) -> Result<Vec<Key>, Failure> {
    describe_all(arguments, passwords).map(|all| all.into_iter().map(|description| description.key).collect())
}

/// Finds out what can be told about a key, asking for a password only where [`load_public`] would.
///
/// # Errors
/// As [`load_public`].
pub fn describe(argument: &KeyArgument, passwords: &mut Passwords) -> Result<KeyDescription, Failure> {
    let mut all = describe_all(std::slice::from_ref(argument), passwords)?;
    all.pop().ok_or_else(|| Failure::io("no key was read"))
}

fn describe_all(
    arguments: &[KeyArgument],
    passwords: &mut Passwords,
) -> Result<Vec<KeyDescription>, Failure> {
    let found = arguments
        .iter()
        .map(|argument| Found::any(argument, passwords.secrets()))
        .collect::<Result<Vec<_>, _>>()?;
    let needs = found.iter().map(Found::need_for_public).collect::<Result<Vec<_>, _>>()?;
    let plan = passwords.plan(&needs)?;
    found.into_iter().zip(plan).map(|(found, opening)| found.describe(passwords, opening)).collect()
}

/// A key where its argument points, not yet opened.
enum Found {
    Here(KeyText),
    Elsewhere(Remote),
}

impl Found {
    fn any(argument: &KeyArgument, secrets: &SecretVariables) -> Result<Self, Failure> {
        match find_remote(argument, secrets)? {
            Some(remote) => Ok(Self::Elsewhere(remote)),
            None => KeyText::read(argument).map(Self::Here),
        }
    }

    fn private(argument: &KeyArgument, secrets: &SecretVariables) -> Result<Self, Failure> {
        match find_remote(argument, secrets)? {
            Some(remote) => Ok(Self::Elsewhere(remote)),
            None => KeyText::read_private(argument).map(Self::Here),
        }
    }

    fn need(&self) -> Need {
        match self {
            Self::Here(text) => text.need(),
            Self::Elsewhere(remote) => remote.need(),
        }
    }

    fn need_for_public(&self) -> Result<Need, Failure> {
        match self {
            Self::Here(text) => Ok(text.need_for_public()),
            Self::Elsewhere(remote) => remote.need_for_public(),
        }
    }

    fn open(self, passwords: &mut Passwords, opening: Opening) -> Result<Box<dyn Signer>, Failure> {
        match self {
            Self::Here(text) => Ok(Box::new(passwords.open(&text.locked(), opening)?)),
            Self::Elsewhere(remote) => remote.open(passwords, opening),
        }
    }

    fn describe(self, passwords: &mut Passwords, opening: Opening) -> Result<KeyDescription, Failure> {
        match self {
            Self::Here(text) => {
                let key = match &text.public {
                    Some(key) => key.clone(),
                    None => passwords.open(&text.locked(), opening)?.public_key().clone(),
                };
                Ok(KeyDescription { key, private: text.protection, public: text.public_file })
            }
            Self::Elsewhere(remote) => {
                let key = remote.public_key(passwords, opening)?;
                Ok(KeyDescription { key, private: Some(Protection::Elsewhere), public: None })
            }
        }
    }
}

/// The text of a key: of a file or of an environment variable.
struct KeyText {
    name: String,
    contents: Zeroizing<Vec<u8>>,
    protection: Option<Protection>,
    /// The public half, where no private key must be opened for it.
    public: Option<Key>,
    public_file: Option<PathBuf>,
}

impl KeyText {
    fn read(argument: &KeyArgument) -> Result<Self, Failure> {
        let name = argument.to_string();
        let contents = contents_of(argument)?;
        if !is_private(&contents) {
            let public = Some(read_public_key(&contents).map_err(|error| unusable(&name, &error))?);
            let public_file = argument.path().map(Path::to_owned);
            return Ok(Self { name, contents, protection: None, public, public_file });
        }
        let public_file = argument.path().map(public_path).filter(|path| path.is_file());
        if !is_encrypted(&contents) {
            return Ok(Self {
                name,
                contents,
                protection: Some(Protection::Plain),
                public: None,
                public_file,
            });
        }
        let public = public_file.as_deref().map(read_public_file).transpose()?;
        Ok(Self { name, contents, protection: Some(Protection::Encrypted), public, public_file })
    }

    /// Reads a private key. The file beside it only serves the prompt here: it may be missing or malformed.
    fn read_private(argument: &KeyArgument) -> Result<Self, Failure> {
        let contents = contents_of(argument)?;
        if !is_private(&contents) {
            let name = argument.to_string();
            let failure = match read_public_key(&contents) {
                Ok(_) => Failure::key(format!("'{name}' is a public key, a private one is needed")),
                Err(_) => Failure::key(format!("'{name}' holds no private key")),
            };
            return Err(match name.strip_suffix(".pub") {
                Some(private) => {
                    failure.with_hint(Hint::advice(format!("the private key may be {}", shell_word(private))))
                }
                None => failure.with_hint(Hint::explained(
                    "see what it is",
                    format!("tuf-repo key id {}", shell_word(&name)),
                )),
            });
        }
        let protection = if is_encrypted(&contents) { Protection::Encrypted } else { Protection::Plain };
        let public_file = argument.path().map(public_path).filter(|path| path.is_file());
        let public = public_file.as_deref().and_then(|path| read_public_file(path).ok());
        Ok(Self { name: argument.to_string(), contents, protection: Some(protection), public, public_file })
    }

    fn need(&self) -> Need {
        match self.protection {
            Some(Protection::Encrypted) => Need::Password,
            _ => Need::Nothing,
        }
    }

    fn need_for_public(&self) -> Need {
        match (self.protection, &self.public) {
            (Some(Protection::Encrypted), None) => Need::Password,
            _ => Need::Nothing,
        }
    }

    fn locked(&self) -> LockedKey<'_> {
        let keytype = self.public.as_ref().map(|key| key.keytype.as_str());
        LockedKey { name: &self.name, keytype, contents: &self.contents }
    }
}

fn contents_of(argument: &KeyArgument) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let contents = match argument.place() {
        Place::Variable(name) => variable(name)?,
        Place::File(path) => read_file_bounded(path, LIMIT).map_err(|error| {
            let failure = Failure::key(format!("cannot read the key '{argument}': {}", io_cause(&error)));
            let elsewhere = || Hint::advice("name the file of a private key by its path");
            failure.with_hint(hint_for_missing(path).unwrap_or_else(elsewhere))
        })?,
        Place::Command(_) | Place::Agent(_) | Place::Token(_) => Zeroizing::default(),
    };
    if contents.len() > LIMIT {
        return Err(Failure::key(format!("'{argument}' is too large to be a key")));
    }
    Ok(contents)
}

/// Says what lies near a key that cannot be read: its public half, or keys of nearly the same name.
fn hint_for_missing(path: &Path) -> Option<Hint> {
    let public = public_path(path);
    let word = |path: &Path| shell_word(&one_line(&path.to_string_lossy()));
    if public.is_file() {
        return Some(Hint::advice(format!("its public half is {}", word(&public))));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let typed = path.file_name()?.to_string_lossy().to_lowercase();
    let entries = std::fs::read_dir(folder).ok()?.take(MOST_NEIGHBOURS).flatten();
    let is_near = |name: &str| strsim::osa_distance(&name.to_lowercase(), &typed) <= MOST_TYPOS;
    let near =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_none_or(|end| end != "pub"));
    let near = near.filter(|path| path.file_name().is_some_and(|name| is_near(&name.to_string_lossy())));
    let near = near.filter(|path| path.is_file()).min()?;
    Some(Hint::advice(format!("there is {}", word(&near))))
}

/// How many files of a folder are looked through for a name like the one that was typed.
const MOST_NEIGHBOURS: usize = 1000;
/// How many letters two names may differ in where one is taken for the other, typed wrongly.
const MOST_TYPOS: usize = 2;

fn read_public_file(path: &Path) -> Result<Key, Failure> {
    let name = one_line(&path.to_string_lossy());
    let contents = read_file_bounded(path, LIMIT)
        .map_err(|error| Failure::key(format!("cannot read the key '{name}': {}", io_cause(&error))))?;
    read_public_key(&contents).map_err(|error| unusable(&name, &error))
}

fn warnings(arguments: &[KeyArgument]) -> Vec<String> {
    let paths: BTreeSet<&Path> = arguments.iter().filter_map(KeyArgument::path).collect();
    paths
        .into_iter()
        .filter(|path| others_may_read(path))
        .map(|path| {
            let word = shell_word(&one_line(&path.to_string_lossy()));
            format!("the private key {} can be read by others: chmod 600 {word}", quoted(path))
        })
        .collect()
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    // pipes and devices have no mode of their own; a file that is gone by now is nobody's to read
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_path: &Path) -> bool {
    false
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
