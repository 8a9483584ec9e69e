//! How `tuf-fetch` fails: `WHAT: CODE: detail`, and what to type next.

use tuf::cli::failure;
use tuf::cli::text::shell_word;
use tuf::client::{ClientError, Code};

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// What it is about: a role, a target, a file, an option.
    pub what: String,
    /// The code that scripts know it by.
    pub code: &'static str,
    /// A sentence that says what is wrong.
    pub detail: String,
    /// What can be typed to get further.
    pub hint: Option<String>,
}

impl Failure {
    /// A command line that makes no sense.
    pub fn usage(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), code: "usage", detail: detail.into(), hint: None }
    }

    /// The machine failed.
    pub fn io(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), code: Code::Io.as_str(), detail: detail.into(), hint: None }
    }

    /// Adds what can be typed to get further.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns the line that people are told.
    pub fn line(&self) -> String {
        format!("{}: {}: {}", self.what, self.code, self.detail)
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        if self.code == "usage" { 2 } else { 1 }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = hint(&error);
        Self { what: error.subject(), code: error.code().as_str(), detail: error.to_string(), hint }
    }
}

impl From<failure::Failure> for Failure {
    fn from(error: failure::Failure) -> Self {
        Self { what: "output".to_owned(), code: error.kind.code(), detail: error.message, hint: error.hint }
    }
}

/// Says how to start in a folder that trusts nothing yet.
fn how_to_start(metadata_dir: &std::path::Path) -> String {
    format!("tuf-fetch --metadata-dir {} init ROOT.json, with a root that you trust", path_word(metadata_dir))
}

fn hint(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::NotInitialised { path } => how_to_start(path),
        ClientError::AlreadyInitialised { .. } => {
            "trust another repository in a folder of its own: --metadata-dir DIR".to_owned()
        }
        _ => match error.code() {
            Code::UnknownTarget => "see what there is: tuf-fetch --repo URL list".to_owned(),
            Code::ExpiredMetadata => {
                "check the clock: date -u; if it is right, the repository's maintainer must act".to_owned()
            }
            Code::SlowRetrieval => {
                "where the network is known to be slow: --min-speed 0 --timeout 60".to_owned()
            }
            _ => return None,
        },
    };
    Some(hint)
}

fn path_word(path: &std::path::Path) -> String {
    shell_word(&path.to_string_lossy())
}
