//! How `tuf-fetch` fails: `WHAT: CODE: detail`, and what to type next.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Value, json};
use tuf::cli::failure;
use tuf::cli::text::one_line;
use tuf::client::{
    ClientError, Code, Conflict, Obstacle, OthersFolder, PlaceTaken, check_folders, check_sources,
};

use crate::hint::{Given, Hint, free, path_word};

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
    pub hint: Option<Hint>,
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
    pub fn with_hint(self, hint: Hint) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Returns the line that people are told.
    pub fn line(&self) -> String {
        format!("{}: {}: {}", self.what, self.code, self.detail)
    }

    fn json(&self, given: &Given) -> Value {
        let hint = self.hint.as_ref().map(|hint| one_line(&hint.said(given)));
        json!({ "code": self.code, "message": one_line(&self.line()), "hint": hint })
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
    pub fn add_to(&self, object: &mut Value, given: &Given) {
        let errors: Vec<Value> = self.0.iter().map(|failure| failure.json(given)).collect();
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
        Self {
            what: "output".to_owned(),
            code: error.kind.code(),
            detail: error.message,
            hint: error.hint.map(|hint| Hint::Words(hint.to_string())),
        }
    }
}

fn hint(error: &ClientError) -> Option<Hint> {
    let hint = match error {
        ClientError::NotInitialised { .. } => {
            Hint::offline("with the file of a root that you trust", &["init", "ROOT.json"])
        }
        ClientError::AlreadyInitialised { .. } => {
            Hint::again("trust another repository in a folder of its own", &[("--metadata-dir", "DIR")])
        }
        ClientError::InTheWay { path, what, obstacle: Obstacle::Foreign } => {
            let is_inside = what.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
            Hint::MoveAway { path: if is_inside { path.clone() } else { what.clone() } }
        }
        ClientError::InTheWay { obstacle: Obstacle::Listed, .. } => {
            Hint::words("the repository's maintainers must give one of the two another name")
        }
        ClientError::InTheWay { obstacle: Obstacle::Unknown(cause), .. } => return hint(cause),
        ClientError::ReservedPath { .. } | ClientError::DeepPath { .. } => Hint::words(
            "the repository's maintainers must give it another name; all other targets can be fetched",
        ),
        // what the disk refuses leaves the record whole
        ClientError::Local { path, source }
            if path.ends_with(".tuf-put") && path.is_file() && source.kind() == ErrorKind::InvalidData =>
        {
            let copy = path_word(&free(|number| {
                path.with_extension(if number == 1 {
                    "damaged".to_owned()
                } else {
                    format!("damaged-{number}")
                })
            }));
            let path = path_word(path);
            // given once more it changes nothing: neither the copy nor the new record is replaced
            Hint::words(format!(
                "keep a copy and begin anew; what was put until now then stays when it is no longer trusted: mv -n -- {path} {copy} && {{ [ -e {path} ] || : > {path}; }}"
            ))
        }
        error if error.is_of_room() => {
            Hint::offline("make room; what nobody trusts any more goes by", &["clean"])
        }
        ClientError::Local { source, .. }
            if source
                .get_ref()
                .is_some_and(|cause| cause.is::<PlaceTaken>() || cause.is::<OthersFolder>()) =>
        {
            Hint::again("give the client a folder that only this user writes to", &[("--target-dir", "DIR")])
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
            Code::UnknownTarget => Hint::other("see what there is", &["list"]),
            Code::ExpiredMetadata => Hint::words(
                "if the clock is right, the repository's maintainer must act; see what it says: date -u",
            ),
            Code::SlowRetrieval => Hint::again(
                "where the network is known to be slow",
                &[("--min-speed", "0"), ("--timeout", "60")],
            ),
            _ => return None,
        },
    };
    Some(hint)
}

/// Names folders that would do.
fn apart(metadata: &Path, targets: &Path, conflict: Conflict) -> Hint {
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
        Some(targets) => {
            let changes = vec![("--target-dir", targets.to_string_lossy().into_owned())];
            Hint::Again { why: "keep targets apart from metadata", changes }
        }
        None => own_folders(None),
    }
}

fn own_folders(proposed: Option<(&Path, &Path)>) -> Hint {
    let (metadata, targets) = proposed.unwrap_or((Path::new("DIR"), Path::new("DIR")));
    let [metadata, targets] = [metadata, targets].map(|path| path.to_string_lossy().into_owned());
    let changes = vec![("--metadata-dir", metadata), ("--target-dir", targets)];
    Hint::Again { why: "give the client two folders of its own", changes }
}
