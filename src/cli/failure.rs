//! Why a command of `tuf-repo` ends without having done what it was asked, and the exit code that says so.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;

use super::hint::Hint;
use super::text::{io_cause, one_line, quoted};

/// The kinds of failure that scripts can tell apart, by exit code or by name. Both are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The machine failed: files, network, or a defect of this program.
    Io,
    /// The command or its input makes no sense; nothing was changed.
    Usage,
    /// Signatures are missing; those that were made are kept.
    SignaturesMissing,
    /// A check found something that a person should look at.
    Attention,
    /// A key or password is missing or wrong; nothing was changed.
    Key,
    /// Verification failed or was refused; nothing was changed.
    Verification,
    /// Another process holds the lock; nothing was changed.
    Locked,
}

impl FailureKind {
    /// Returns the name that stands in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Usage => "usage",
            Self::SignaturesMissing => "signatures_missing",
            Self::Attention => "attention",
            Self::Key => "key",
            Self::Verification => "verification",
            Self::Locked => "locked",
        }
    }

    /// Returns the exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Io => 1,
            Self::Usage => 2,
            Self::SignaturesMissing | Self::Attention => 3,
            Self::Key => 4,
            Self::Verification => 5,
            Self::Locked => 6,
        }
    }
}

/// What a command comes to.
pub type Outcome = Result<(), Failure>;

/// A failure as a person is told it. Its `Display` is the message on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What scripts are told.
    pub kind: FailureKind,
    /// A sentence that names the object and the cause.
    pub message: String,
    /// What a person can do to get further.
    pub hint: Option<Hint>,
}

impl Failure {
    /// Makes a failure without a hint.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Makes a failure of kind [`FailureKind::Io`].
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Io, message)
    }

    /// Makes a failure of kind [`FailureKind::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// Makes a failure of kind [`FailureKind::SignaturesMissing`].
    pub fn signatures_missing(message: impl Into<String>) -> Self {
        Self::new(FailureKind::SignaturesMissing, message)
    }

    /// Makes a failure of kind [`FailureKind::Attention`].
    pub fn attention(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Attention, message)
    }

    /// Makes a failure of kind [`FailureKind::Key`].
    pub fn key(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Key, message)
    }

    /// Makes a failure of kind [`FailureKind::Verification`].
    pub fn verification(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Verification, message)
    }

    /// Makes a failure of kind [`FailureKind::Locked`].
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Locked, message)
    }

    /// Makes the failure `cannot VERB 'PATH': CAUSE`, of kind [`FailureKind::Io`].
    pub fn cannot(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::io(format!("cannot {verb} {}: {}", quoted(path), io_cause(error)))
    }

    /// Adds what a person can do to get further.
    pub fn with_hint(self, hint: Hint) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Tells the hint which command line has failed: a program's name and the words after it.
    pub fn over(self, program: &str, words: &[OsString]) -> Self {
        Self { hint: self.hint.map(|hint| hint.over(program, words)), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        use FailureKind::*;
        let codes = [Io, Usage, SignaturesMissing, Attention, Key, Verification, Locked]
            .map(|kind| (kind.exit_code(), kind.code()));
        let fixed = [
            (1, "io"),
            (2, "usage"),
            (3, "signatures_missing"),
            (3, "attention"),
            (4, "key"),
            (5, "verification"),
            (6, "locked"),
        ];
        assert_eq!(codes, fixed);
    }

    #[test]
    fn is_told_on_one_line() {
        let failure = Failure::usage("no target 'a\nb'");
        assert_eq!(failure.to_string(), r"no target 'a\nb'");
        let missing = std::fs::read("/nonexistent/a\nb").unwrap_err();
        let failure = Failure::cannot("read", Path::new("/nonexistent/a\nb"), &missing);
        assert_eq!(failure.to_string(), r"cannot read '/nonexistent/a\nb': No such file or directory");
    }
}
