//! Passwords that are not typed: lines of a file, of stdin or of an environment variable.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::failure::Failure;
use super::hint::Hint;
use super::text::{io_cause, one_line, quoted};
use crate::crypto::Password;

/// The most that a source may hold, in bytes.
const LIMIT: usize = 64 * 1024;

/// Where passwords are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl PasswordSource {
    /// Takes the value of `--password-file`: a path, or `-` for stdin.
    pub fn file(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

/// Reads all passwords of all sources, in order: every line is one, the end of the last line is optional.
///
/// # Errors
/// Of kind `Key` where a source is missing, empty, too large or not UTF-8; of kind `Usage` where stdin is
/// named twice or is a terminal.
pub fn read_passwords(sources: &[PasswordSource]) -> Result<Vec<Password>, Failure> {
    let from_stdin = sources.iter().filter(|source| **source == PasswordSource::Stdin).count();
    if from_stdin > 1 {
        return Err(Failure::usage("standard input is named twice as the source of passwords"));
    }
    let mut passwords = Vec::new();
    for source in sources {
        passwords.extend(source.read()?);
    }
    Ok(passwords)
}

impl PasswordSource {
    fn read(&self) -> Result<Vec<Password>, Failure> {
        let name = self.name();
        let bytes = self.bytes()?;
        if bytes.is_empty() {
            return Err(Failure::key(format!("{name} is empty: it holds no password"))
                .with_hint(Hint::advice("write one password on each line")));
        }
        if bytes.len() > LIMIT {
            return Err(Failure::key(format!("{name} is too large to be passwords")));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Failure::key(format!("{name} holds a password that is not UTF-8")))?;
        Ok(lines(text).map(|line| Password::new(line.to_owned())).collect())
    }

    fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => format!("the password file {}", quoted(path)),
            Self::Variable(name) => format!("the environment variable '{}'", one_line(name)),
        }
    }

    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let unreadable = |error: io::Error| {
            Failure::key(format!("cannot read {}: {}", self.name(), io_cause(&error)))
                .with_hint(Hint::advice("name a file with one password on each line"))
        };
        match self {
            Self::Stdin if io::stdin().is_terminal() => {
                Err(Failure::usage("standard input is a terminal: a password typed there would be seen")
                    .with_hint(Hint::advice("leave --password-file out to be asked for the password")))
            }
            Self::Stdin => read_bounded(io::stdin().lock(), LIMIT).map_err(unreadable),
            Self::File(path) => read_file_bounded(path, LIMIT).map_err(unreadable),
            Self::Variable(name) => variable(name),
        }
    }
}

/// Reads an environment variable as bytes.
pub(super) fn variable(name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let value = env::var_os(name).ok_or_else(|| {
        Failure::key(format!("the environment variable '{}' is not set", one_line(name)))
            .with_hint(Hint::advice("export it, or name another one"))
    })?;
    Ok(Zeroizing::new(value.into_encoded_bytes()))
}

/// Reads a file that may hold a secret, up to one byte more than the limit.
pub(super) fn read_file_bounded(path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    // a pipe has no length, and what is zeroised costs by the byte
    let length = if metadata.is_file() { metadata.len() } else { u64::MAX };
    read_some(file, usize::try_from(length).unwrap_or(limit), limit)
}

fn read_bounded(from: impl Read, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    read_some(from, limit, limit)
}

/// Reads bytes; how many they probably are is known.
fn read_some(mut from: impl Read, length: usize, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // The final size at once: a buffer that grows by itself leaves copies of a secret behind.
    let mut bytes = Zeroizing::new(vec![0; length.min(limit) + 1]);
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            if filled > limit {
                break;
            }
            // a file that has grown
            let mut all = Zeroizing::new(vec![0; limit + 1]);
            all[..filled].copy_from_slice(&bytes);
            bytes = all;
        }
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::FailureKind;

    fn read(text: &[u8]) -> Result<Vec<String>, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let passwords = read_passwords(&[PasswordSource::file(file.path().to_owned())])?;
        Ok(passwords.iter().map(|password| password.as_str().to_owned()).collect())
    }

    #[test]
    fn a_file_is_read_whole_though_it_is_longer_than_it_said() {
        let text = [7; 100];
        for length in [0, 1, 99, 100, 101, 1000, usize::MAX] {
            assert_eq!(read_some(&text[..], length, 200).unwrap().as_slice(), text, "{length}");
            assert_eq!(read_some(&text[..], length, 99).unwrap().len(), 100, "{length}");
            assert_eq!(read_some(&text[..], length, 50).unwrap().len(), 51, "{length}");
        }
    }

    #[test]
    fn every_line_is_one_password() {
        assert_eq!(read(b"one").unwrap(), ["one"]);
        assert_eq!(read(b"one\n").unwrap(), ["one"]);
        assert_eq!(read(b" one \r\ntwo\r\n").unwrap(), [" one ", "two"]);
        assert_eq!(read(b"one\n\nthree\n").unwrap(), ["one", "", "three"]);
        assert_eq!(read(b"\n").unwrap(), [""]);
    }

    #[test]
    fn a_source_without_passwords_is_refused() {
        for text in [&b""[..], b"\xff\n", &vec![b'x'; LIMIT + 1]] {
            assert_eq!(read(text).unwrap_err().kind, FailureKind::Key);
        }
        let missing = [PasswordSource::file("/nonexistent/password".into())];
        let failure = read_passwords(&missing).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Key);
        assert_eq!(
            failure.message,
            "cannot read the password file '/nonexistent/password': No such file or directory"
        );
        let unset = [PasswordSource::Variable("A_VARIABLE_THAT_NOBODY_SETS".into())];
        assert_eq!(read_passwords(&unset).unwrap_err().kind, FailureKind::Key);
    }

    #[test]
    fn stdin_is_read_once() {
        let twice = [PasswordSource::file("-".into()), PasswordSource::Stdin];
        assert_eq!(read_passwords(&twice).unwrap_err().kind, FailureKind::Usage);
    }
}
