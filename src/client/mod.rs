//! The consumer's side: brings trusted metadata up to date and fetches targets (specification section 5).
//!
//! The decisions are [`crate::trusted_set`]'s; here is what surrounds them: [`Updater`] asks for the files that the
//! workflow needs, in its order, [`LocalMetadata`] keeps what has become trusted, [`TargetDir`] keeps verified
//! targets, and a [`Fetcher`] reaches out. Nothing here prints, and the time comes from the caller.

mod apart;
mod arrivals;
mod clean;
pub mod confined;
mod digesting;
mod download;
mod error;
mod fetcher;
mod file_url;
mod http;
mod init;
mod listing;
mod local;
mod matching;
mod mirrors;
mod noted;
mod obstacles;
mod of_repository;
mod owners;
mod record;
mod retry;
mod rotation;
mod status;
mod target_dir;
mod transfer;
mod unfinished;
mod updater;
mod urls;

pub use apart::{Conflict, check_folders, check_sources};
pub use clean::{Cleaned, Kept, clean};
pub use download::{Downloaded, Downloads};
pub use error::{ClientError, Code};
pub use fetcher::{FetchCause, FetchError, Fetched, Fetcher, SchemeFetcher, Sink};
pub use file_url::FileFetcher;
pub use http::{HttpFetcher, HttpOptions};
pub use init::{FirstRoot, init, init_from_repository};
pub use listing::{ListedTarget, Listing, storable};
pub use local::{LOCK_WAIT, LocalMetadata};
pub use mirrors::{MirrorFailure, Mirrors, Repository};
pub use obstacles::Obstacle;
pub use owners::OthersFolder;
pub use retry::{Retries, Retrying};
pub use status::{LocalRole, Standing, status};
pub use target_dir::TargetDir;
pub use transfer::OnBytes;
pub use unfinished::{PlaceTaken, Removal};
pub use updater::{Limits, Updater, Versions};
pub use urls::{parse_base, shown};

pub use crate::tls::Authorities;
