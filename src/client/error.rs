//! What can go wrong for a client, and the codes that scripts know each case by.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use url::Url;

use super::{Conflict, FetchCause, FetchError, MirrorFailure, Obstacle, shown};
use crate::metadata::{Mismatch, RoleName, TargetPathError, Threshold};
use crate::trusted_set::TrustError;

/// The name of a kind of failure, fixed for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Other bytes than metadata says.
    BadHash,
    /// Fewer or more bytes than metadata says.
    LengthMismatch,
    /// Metadata past its expiry.
    ExpiredMetadata,
    /// Metadata older than what is trusted already.
    ReplayedMetadata,
    /// Metadata of another version than announced.
    BadVersionNumber,
    /// Fewer valid signatures than the threshold.
    BadSignature,
    /// A server that is silent or too slow.
    SlowRetrieval,
    /// Metadata larger than its bound.
    EndlessData,
    /// No such target.
    UnknownTarget,
    /// No digest that can be checked.
    UnsupportedAlgorithm,
    /// Bytes that are not metadata, or metadata that contradicts itself.
    InvalidMetadata,
    /// Not one of several mirrors was of use.
    NoWorkingMirror,
    /// Whatever else kept a file from being downloaded.
    Download,
    /// A file or folder of this machine.
    Io,
    /// Something that was asked for makes no sense.
    Usage,
}

impl Code {
    /// Returns the code as scripts know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadHash => "BadHashError",
            Self::LengthMismatch => "LengthMismatchError",
            Self::ExpiredMetadata => "ExpiredMetadataError",
            Self::ReplayedMetadata => "ReplayedMetadataError",
            Self::BadVersionNumber => "BadVersionNumberError",
            Self::BadSignature => "BadSignatureError",
            Self::SlowRetrieval => "SlowRetrievalError",
            Self::EndlessData => "EndlessDataError",
            Self::UnknownTarget => "UnknownTargetError",
            Self::UnsupportedAlgorithm => "UnsupportedAlgorithmError",
            Self::InvalidMetadata => "InvalidMetadataError",
            Self::NoWorkingMirror => "NoWorkingMirrorError",
            Self::Download => "DownloadError",
            Self::Io => "io",
            Self::Usage => "usage",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an update or a download failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Metadata is not trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A metadata file could not be downloaded.
    #[error("{source}")]
    Metadata {
        /// The role.
        role: RoleName,
        /// Why not.
        source: Box<FetchError>,
    },
    /// A metadata file is larger than it may be.
    #[error("{role} is longer than {limit} bytes")]
    Endless {
        /// The role.
        role: RoleName,
        /// The bound.
        limit: u64,
    },
    /// No role that is trusted for the path lists it.
    #[error("no trusted role lists the target '{}'", .path.escape_debug())]
    UnknownTarget {
        /// The path asked for.
        path: String,
    },
    /// A target is listed under a path that cannot be stored.
    #[error("{source}")]
    UnsafePath {
        /// What is wrong with it.
        source: TargetPathError,
    },
    /// A target is listed under a name that is kept for unfinished files.
    #[error("the target path '{}' has a part that begins with '.tuf-': such names are for the programs' own files", .path.escape_debug())]
    ReservedPath {
        /// The path.
        path: String,
    },
    /// A target is listed deeper in folders than a client follows.
    #[error("the target path '{}' has more than {} parts", .path.escape_debug(), super::listing::MOST_PARTS)]
    DeepPath {
        /// The path.
        path: String,
    },
    /// A target is listed with a text that is no digest in the place of one.
    #[error("the target '{}' is listed with a {algorithm} digest that is not one", .path.escape_debug())]
    NoDigest {
        /// The path.
        path: String,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// Something keeps a target from its place.
    #[error("{}", in_the_way(.path, .what, .obstacle))]
    InTheWay {
        /// The path of the target.
        path: String,
        /// The path of what stands there, below the target folder.
        what: String,
        /// Why it stays.
        obstacle: Obstacle,
    },
    /// A listing would ask for more roles than it may.
    #[error("{role} and further roles were not asked for: a listing asks for {limit} at most")]
    TooManyRoles {
        /// How many are asked for.
        limit: usize,
        /// The first role beyond.
        role: RoleName,
    },
    /// The roles below one delegation delegate more often than they may.
    #[error(
        "{role} and the roles below it have more than {limit} delegations: further ones were not followed"
    )]
    TooManyDelegations {
        /// The role that the top-level targets role delegates to.
        role: RoleName,
        /// How many are followed.
        limit: usize,
    },
    /// The roles below one delegation have more metadata than they may.
    #[error(
        "the metadata of {role} and of the roles below it is longer than {limit} bytes: further ones were not asked for"
    )]
    TooManyBytes {
        /// The role that the top-level targets role delegates to.
        role: RoleName,
        /// How many bytes are kept.
        limit: u64,
    },
    /// The snapshot does not list several roles that one role delegates to.
    #[error("the snapshot lists neither {role} nor {more} more roles that {delegator} delegates to")]
    NotInSnapshot {
        /// Who delegates to them.
        delegator: RoleName,
        /// The first of them.
        role: RoleName,
        /// How many more there are.
        more: usize,
    },
    /// More roles failed that one role delegates to than are named one by one.
    #[error("{more} more roles that {delegator} delegates to failed")]
    MoreFailed {
        /// Who delegates to them.
        delegator: RoleName,
        /// How many are not named.
        more: usize,
    },
    /// More targets of one role failed than are named one by one.
    #[error("{more} more targets of {role} failed")]
    MoreTargetsFailed {
        /// The role that lists them.
        role: RoleName,
        /// How many are not named.
        more: usize,
    },
    /// The patterns of a role, and of others below the same delegation, take more steps to match than they may.
    #[error(
        "matching the patterns of {role} takes more than {limit} steps: what is searched for there is not listed"
    )]
    TooManySteps {
        /// The role.
        role: RoleName,
        /// How many steps are taken.
        limit: u64,
    },
    /// After several that could not be had the rest was not tried.
    #[error("{left} more {kind} of {role} were not tried: {} could not be had", super::listing::FAILURES)]
    GivenUp {
        /// The role that delegates to them or lists them.
        role: RoleName,
        /// How many.
        left: usize,
        /// What they are.
        kind: &'static str,
    },
    /// The client's folders are not apart from each other, or not from a repository.
    #[error("{}", folders(.metadata, .targets, *.conflict))]
    Folders {
        /// The metadata folder.
        metadata: PathBuf,
        /// The target folder.
        targets: PathBuf,
        /// How they stand to each other.
        conflict: Conflict,
    },
    /// A folder of the client is one that the same command reads a repository from.
    #[error("a repository is read from there ({}), and what a client writes would change it", shown(.url))]
    ReadFrom {
        /// The metadata folder or the target folder.
        folder: PathBuf,
        /// The URL.
        url: Url,
    },
    /// A target could not be downloaded.
    #[error("{source}")]
    Target {
        /// The path.
        path: String,
        /// Why not.
        source: Box<FetchError>,
    },
    /// A target's bytes are not what metadata says.
    #[error("the target '{}' {mismatch}", .path.escape_debug())]
    Mismatch {
        /// The path.
        path: String,
        /// How they differ.
        mismatch: Mismatch,
    },
    /// Each of several mirrors failed.
    #[error("{}", listed(.causes))]
    NoWorkingMirror {
        /// The role or the target path.
        what: String,
        /// What each of them did, in their order.
        causes: Vec<MirrorFailure>,
    },
    /// A first root is not signed by enough of the pinned keys.
    #[error("root v{version} is signed by {found} of the pinned keys, and its threshold is {threshold}")]
    NotPinned {
        /// The version of the root.
        version: u64,
        /// How many of the pinned keys signed it.
        found: usize,
        /// How many have to.
        threshold: Threshold,
    },
    /// There is no trusted root to start from.
    #[error("there is no trusted root in {}", .path.display())]
    NotInitialised {
        /// The metadata folder.
        path: PathBuf,
    },
    /// There is a trusted root already, another one.
    #[error("{} holds a trusted root already, version {version}", .path.display())]
    AlreadyInitialised {
        /// The metadata folder.
        path: PathBuf,
        /// The version of the root that is there.
        version: u64,
    },
    /// A file or folder of this machine.
    #[error("{}: {source}", .path.display())]
    Local {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ClientError {
    pub(super) fn local(path: &Path, source: io::Error) -> Self {
        Self::Local { path: path.to_owned(), source }
    }

    /// Returns the code that scripts know this failure by.
    pub fn code(&self) -> Code {
        match self {
            Self::Trust(error) => trust_code(error),
            Self::Metadata { source, .. } | Self::Target { source, .. } => fetch_code(&source.cause),
            Self::Endless { .. } => Code::EndlessData,
            Self::UnknownTarget { .. } => Code::UnknownTarget,
            Self::InTheWay { .. } => Code::Io,
            Self::TooManyRoles { .. }
            | Self::TooManyDelegations { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManySteps { .. } => Code::EndlessData,
            Self::NotInSnapshot { .. } | Self::MoreFailed { .. } => Code::InvalidMetadata,
            Self::GivenUp { .. } | Self::MoreTargetsFailed { .. } => Code::Download,
            Self::UnsafePath { .. }
            | Self::ReservedPath { .. }
            | Self::DeepPath { .. }
            | Self::NoDigest { .. } => Code::InvalidMetadata,
            Self::Folders { .. } | Self::ReadFrom { .. } => Code::Usage,
            Self::Mismatch { mismatch, .. } => mismatch_code(mismatch),
            Self::NoWorkingMirror { .. } => Code::NoWorkingMirror,
            Self::NotPinned { .. } => Code::BadSignature,
            Self::NotInitialised { .. } | Self::AlreadyInitialised { .. } | Self::Local { .. } => Code::Io,
        }
    }

    /// Returns what the failure is about: a role, a target path, a URL or a file.
    pub fn subject(&self) -> String {
        match self {
            Self::Trust(error) => trust_subject(error),
            Self::Metadata { role, .. }
            | Self::Endless { role, .. }
            | Self::TooManyRoles { role, .. }
            | Self::TooManyDelegations { role, .. }
            | Self::TooManyBytes { role, .. }
            | Self::TooManySteps { role, .. }
            | Self::NotInSnapshot { delegator: role, .. }
            | Self::MoreFailed { delegator: role, .. }
            | Self::MoreTargetsFailed { role, .. }
            | Self::GivenUp { role, .. } => role.to_string(),
            Self::UnknownTarget { path }
            | Self::ReservedPath { path }
            | Self::DeepPath { path }
            | Self::NoDigest { path, .. }
            | Self::InTheWay { path, .. }
            | Self::Target { path, .. }
            | Self::Mismatch { path, .. } => path.clone(),
            Self::Folders { metadata, targets, conflict } => match conflict {
                Conflict::RepositoryMetadata => metadata.display().to_string(),
                _ => targets.display().to_string(),
            },
            Self::UnsafePath { source } => source.path.clone(),
            Self::NoWorkingMirror { what, .. } => what.clone(),
            Self::NotPinned { .. } => "root".to_owned(),
            Self::ReadFrom { folder: path, .. }
            | Self::NotInitialised { path }
            | Self::AlreadyInitialised { path, .. }
            | Self::Local { path, .. } => path.display().to_string(),
        }
    }

    /// Tells whether a server answered that there is no such file: of several mirrors one is enough to say so.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Metadata { source, .. } | Self::Target { source, .. } => source.is_not_found(),
            Self::NoWorkingMirror { causes, .. } => causes.iter().any(|cause| cause.error.is_not_found()),
            _ => false,
        }
    }

    /// Returns the path of a target that is listed and cannot be stored, where that is the failure.
    pub fn unstorable(&self) -> Option<&str> {
        match self {
            Self::UnsafePath { source } => Some(&source.path),
            Self::ReservedPath { path } | Self::DeepPath { path } => Some(path),
            _ => None,
        }
    }

    /// Tells whether the network or a server failed, and not what it brought: the same may well succeed another time.
    pub fn is_of_the_network(&self) -> bool {
        match self {
            Self::Metadata { source, .. } | Self::Target { source, .. } => {
                !source.is_not_found()
                    && !matches!(source.cause, FetchCause::Write(_) | FetchCause::OtherRange)
            }
            Self::NoWorkingMirror { causes, .. } => {
                causes.iter().any(|cause| cause.error.is_of_the_network())
            }
            _ => false,
        }
    }

    /// Tells whether the disk has no room: a smaller file, or the same one when others have gone, may fare better.
    pub fn is_of_room(&self) -> bool {
        self.disk()
            .is_some_and(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Tells whether the disk takes nothing at all: no other file would fare better.
    pub(super) fn is_of_the_disk(&self) -> bool {
        self.disk() == Some(io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Returns how this machine failed, where it did.
    fn disk(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Local { source, .. } => Some(source.kind()),
            Self::Metadata { source, .. } | Self::Target { source, .. } => match &source.cause {
                FetchCause::Write(error) => Some(error.kind()),
                _ => None,
            },
            Self::NoWorkingMirror { causes, .. } => causes.iter().find_map(|cause| cause.error.disk()),
            _ => None,
        }
    }

    /// Returns the URL that could not be read, where it was one.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Metadata { source, .. } | Self::Target { source, .. } => Some(shown(&source.url)),
            _ => None,
        }
    }
}

/// Says what keeps a target from its place.
fn in_the_way(path: &str, what: &str, obstacle: &Obstacle) -> String {
    let (path, what) = (path.escape_debug(), what.escape_debug());
    match obstacle {
        Obstacle::Foreign => {
            format!(
                "'{what}' stands in the way of the target '{path}', and tuf-fetch did not put it there as it is now"
            )
        }
        Obstacle::Listed => {
            format!("the target '{what}' comes before the target '{path}', and there is room for one of them")
        }
        Obstacle::Unknown(error) => {
            format!("'{what}' stands in the way of the target '{path}', and may still be a target: {error}")
        }
    }
}

/// Says how the two folders stand to each other.
fn folders(metadata: &Path, targets: &Path, conflict: Conflict) -> String {
    let (metadata, targets) = (metadata.display(), targets.display());
    match conflict {
        Conflict::Same => {
            format!(
                "the target folder {targets} is the metadata folder {metadata}: a target could replace the trusted root"
            )
        }
        Conflict::MetadataInTargets => {
            format!(
                "the target folder {targets} holds the metadata folder {metadata}: a target could replace the trusted root"
            )
        }
        Conflict::TargetsInMetadata => {
            format!(
                "the target folder {targets} lies in the metadata folder {metadata}, which is for trusted metadata only"
            )
        }
        Conflict::RepositoryMetadata => format!(
            "the metadata folder {metadata} is a repository's, and no place for what a client trusts (the target folder is {targets})"
        ),
        Conflict::ClientMetadata => format!(
            "the target folder {targets} holds what a client trusts ('.tuf-put' is there): a target could replace its root (the metadata folder is {metadata})"
        ),
        Conflict::RepositoryTargets => format!(
            "the target folder {targets} is a repository's, and no place for downloads (the metadata folder is {metadata})"
        ),
    }
}

fn listed(causes: &[MirrorFailure]) -> String {
    causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn trust_code(error: &TrustError) -> Code {
    match error {
        TrustError::Unsigned(_) => Code::BadSignature,
        TrustError::Rollback { .. } | TrustError::RoleDropped { .. } | TrustError::SameTimestamp { .. } => {
            Code::ReplayedMetadata
        }
        TrustError::Version { .. } => Code::BadVersionNumber,
        TrustError::Expired { .. } => Code::ExpiredMetadata,
        TrustError::Mismatch { mismatch, .. } => mismatch_code(mismatch),
        TrustError::Invalid { .. }
        | TrustError::NotInSnapshot { .. }
        | TrustError::NotDelegated { .. }
        | TrustError::OutOfOrder { .. } => Code::InvalidMetadata,
    }
}

fn trust_subject(error: &TrustError) -> String {
    match error {
        TrustError::Unsigned(unsigned) => unsigned.role.to_string(),
        TrustError::Invalid { role, .. }
        | TrustError::Rollback { role, .. }
        | TrustError::Version { role, .. }
        | TrustError::Expired { role, .. }
        | TrustError::Mismatch { role, .. }
        | TrustError::NotInSnapshot { role, .. }
        | TrustError::NotDelegated { role, .. } => role.to_string(),
        TrustError::RoleDropped { .. } => "snapshot".to_owned(),
        TrustError::SameTimestamp { .. } => "timestamp".to_owned(),
        TrustError::OutOfOrder { missing } => missing.to_string(),
    }
}

fn mismatch_code(mismatch: &Mismatch) -> Code {
    match mismatch {
        Mismatch::Length { .. } => Code::LengthMismatch,
        Mismatch::Hash { .. } => Code::BadHash,
        Mismatch::UnsupportedAlgorithms { .. } => Code::UnsupportedAlgorithm,
    }
}

fn fetch_code(cause: &FetchCause) -> Code {
    match cause {
        FetchCause::Silent { .. }
        | FetchCause::NoAnswer { .. }
        | FetchCause::Slow { .. }
        | FetchCause::TooLong { .. }
        | FetchCause::NoConnection { .. } => Code::SlowRetrieval,
        FetchCause::Write(_) => Code::Io,
        _ => Code::Download,
    }
}
