//! How `tuf-fetch` fails: `WHAT: CODE: detail`, and what to type next.

use std::path::Path;

use serde_json::{Value, json};
use tuf::cli::failure;
use tuf::cli::text::{one_line, shell_word};
use tuf::client::{ClientError, Code, Conflict, Obstacle, check_folders, check_sources};

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

    fn json(&self) -> Value {
        json!({ "code": self.code, "message": one_line(&self.line()), "hint": self.hint.as_deref().map(one_line) })
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        if self.code == "usage" { 2 } else { 1 }
    }
}

/// What a command could not do. Where it could do a part, that is printed already.
#[derive(Debug, Default)]
pub struct Failures(pub Vec<Failure>);

impl Failures {
    /// Ends a command: well where nothing failed.
    pub fn end(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Adds to the object that a command prints what it could not do; the first also stands where a command that could
    /// do nothing says it.
    pub fn add_to(&self, object: &mut Value) {
        let errors: Vec<Value> = self.0.iter().map(Failure::json).collect();
        if let Some(first) = errors.first() {
            object["error"] = first.clone();
        }
        object["errors"] = errors.into();
    }
}

impl From<Failure> for Failures {
    fn from(failure: Failure) -> Self {
        Self(vec![failure])
    }
}

impl From<ClientError> for Failures {
    fn from(error: ClientError) -> Self {
        Failure::from(error).into()
    }
}

impl From<failure::Failure> for Failures {
    fn from(error: failure::Failure) -> Self {
        Failure::from(error).into()
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
fn how_to_start(metadata_dir: &Path) -> String {
    format!("tuf-fetch --metadata-dir {} init ROOT.json, with a root that you trust", path_word(metadata_dir))
}

fn hint(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::NotInitialised { path } => how_to_start(path),
        ClientError::AlreadyInitialised { .. } => {
            "trust another repository in a folder of its own: --metadata-dir DIR".to_owned()
        }
        ClientError::InTheWay { what, obstacle: Obstacle::Foreign, .. } => {
            format!(
                "move it out of the target folder, or choose another one with --target-dir: {}",
                shell_word(what)
            )
        }
        ClientError::InTheWay { obstacle: Obstacle::Listed, .. } => {
            "the repository's maintainers must give one of the two another name".to_owned()
        }
        ClientError::InTheWay { obstacle: Obstacle::Unknown(cause), .. } => return hint(cause),
        ClientError::ReservedPath { .. } | ClientError::DeepPath { .. } => {
            "the repository's maintainers must give it another name; all other targets can be fetched"
                .to_owned()
        }
        ClientError::Local { path, .. } if path.ends_with(".tuf-put") && path.is_file() => {
            format!(
                "keep a copy and empty it; what was put until now then stays when it is no longer trusted: : > {}",
                path_word(path)
            )
        }
        ClientError::Folders { metadata, targets, conflict } => apart(metadata, targets, *conflict),
        ClientError::ReadFrom { url, .. } => {
            let (metadata, targets) = (Path::new("client/metadata"), Path::new("client/targets"));
            let would_do = |metadata: &Path, targets: &Path| {
                check_folders(metadata, targets)
                    .and_then(|()| check_sources(metadata, targets, [url]))
                    .is_ok()
            };
            own_folders(Some((metadata, targets)).filter(|(metadata, targets)| would_do(metadata, targets)))
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

/// Names folders that would do.
fn apart(metadata: &Path, targets: &Path, conflict: Conflict) -> String {
    let client = |folder: &str| Path::new("client").join(folder);
    let beside = |name: &str| metadata.parent().map(|above| above.join(name));
    let proposed = match conflict {
        Conflict::RepositoryMetadata => {
            // the other folder may be the repository's too
            for targets in [targets, &client("targets")] {
                if check_folders(&client("metadata"), targets).is_ok() {
                    return own_folders(Some((&client("metadata"), targets)));
                }
            }
            None
        }
        _ => [
            beside("targets"),
            Some(metadata.join("../targets")),
            beside("downloads"),
            Some(client("targets")),
        ]
        .into_iter()
        .flatten()
        .find(|targets| check_folders(metadata, targets).is_ok()),
    };
    match proposed {
        Some(targets) => format!("keep targets apart from metadata: --target-dir {}", path_word(&targets)),
        None => own_folders(None),
    }
}

fn own_folders(proposed: Option<(&Path, &Path)>) -> String {
    let Some((metadata, targets)) = proposed else {
        return "give the client two folders of its own: --metadata-dir DIR --target-dir DIR".to_owned();
    };
    let (metadata, targets) = (path_word(metadata), path_word(targets));
    format!("give the client folders of its own: --metadata-dir {metadata} --target-dir {targets}")
}

fn path_word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}
