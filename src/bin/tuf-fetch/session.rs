//! What a command works with: options resolved, the clock read once, the network at hand.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tuf::cli::clock;
use tuf::cli::output::Output;
use tuf::client::{
    Authorities, FetchError, Fetched, Fetcher, HttpFetcher, HttpOptions, LOCK_WAIT, Limits, LocalMetadata,
    Mirrors, Repository, Retries, Retrying, SchemeFetcher, Sink, Updater, Versions, check_folders,
    check_sources, shown,
};
use url::Url;

use crate::args::{Command, Options};
use crate::failure::Failure;
use crate::hint::Given;

/// How many targets are downloaded at once where nothing is said.
const JOBS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// One run of the program.
pub struct Session<'a> {
    /// Where results and talk go.
    pub output: &'a Output,
    /// The time that the run began at (specification 5.1).
    pub now: DateTime<Utc>,
    /// What was typed, for hints.
    pub given: Given,
    options: Options,
}

/// Who answers for targets: a command that downloads none does not need to know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Metadata only.
    Metadata,
    /// Metadata and targets.
    Targets,
}

impl<'a> Session<'a> {
    /// Reads the clock.
    pub fn new(options: Options, command: &Command, output: &'a Output) -> Self {
        let given = Given::new(&options, command);
        Self { output, now: clock::now(options.time), given, options }
    }

    /// Returns the folder of trusted metadata.
    pub fn metadata_dir(&self) -> &Path {
        self.options.metadata_dir.as_deref().unwrap_or(Path::new("metadata"))
    }

    /// Returns the folder of verified targets.
    pub fn target_dir(&self) -> &Path {
        self.options.target_dir.as_deref().unwrap_or(Path::new("targets"))
    }

    /// Refuses folders that are not apart, before anything is fetched or written.
    pub fn check_folders(&self) -> Result<(), Failure> {
        check_folders(self.metadata_dir(), self.target_dir())?;
        Ok(check_sources(self.metadata_dir(), self.target_dir(), &self.sources())?)
    }

    /// Returns the URLs of all folders that the options name.
    fn sources(&self) -> Vec<Url> {
        let below = self.options.repo.iter().chain(&self.options.mirror).map(Repository::at);
        let named = self.options.metadata_url.iter().chain(&self.options.target_base_url).cloned();
        below.flat_map(|repository| [repository.metadata, repository.targets]).chain(named).collect()
    }

    /// Returns the targets that options name.
    pub fn target_names(&self) -> &[String] {
        &self.options.target_name
    }

    /// Returns how many targets are downloaded at once.
    pub fn jobs(&self) -> NonZeroUsize {
        self.options.jobs.unwrap_or(JOBS)
    }

    /// Returns where the repository and its mirrors are.
    pub fn mirrors(&self, need: Need) -> Result<Mirrors, Failure> {
        Ok(Mirrors::new(self.repository(need)?, self.options.mirror.iter().map(Repository::at)))
    }

    fn repository(&self, need: Need) -> Result<Repository, Failure> {
        let usual = self.options.repo.as_ref().map(Repository::at);
        let metadata =
            self.options.metadata_url.clone().or_else(|| usual.as_ref().map(|usual| usual.metadata.clone()));
        let metadata = metadata.ok_or_else(|| missing("--metadata-url"))?;
        let targets = self.options.target_base_url.clone().or_else(|| usual.map(|usual| usual.targets));
        match (targets, need) {
            (Some(targets), _) => Ok(Repository { metadata, targets }),
            // never asked
            (None, Need::Metadata) => Ok(Repository { targets: metadata.clone(), metadata }),
            (None, Need::Targets) => Err(missing("--target-base-url")),
        }
    }

    /// Opens the network.
    pub fn fetcher(&self) -> Result<impl Fetcher, Failure> {
        let mut options = HttpOptions { authorities: self.authorities()?, ..HttpOptions::default() };
        if let Some(seconds) = self.options.timeout {
            let patience = Duration::from_secs(seconds);
            options.connect = options.connect.min(patience);
            (options.silence, options.stretch) = (patience, patience);
        }
        if let Some(speed) = self.options.min_speed {
            options.minimum_speed = speed;
        }
        let http = HttpFetcher::new(options).map_err(|detail| Failure::io("network", detail))?;
        let told = Told { output: self.output, fetcher: SchemeFetcher::new(http) };
        Ok(Retrying::new(told, Retries::default(), std::thread::sleep))
    }

    fn authorities(&self) -> Result<Authorities, Failure> {
        let Some(path) = &self.options.ca_cert else { return Ok(Authorities::default()) };
        let pem = std::fs::read(path).map_err(|error| error.to_string());
        let authorities = pem.and_then(|pem| Authorities::default().with_pem(&pem));
        authorities.map_err(|detail| Failure::io(path.display().to_string(), detail))
    }

    /// Brings the trusted metadata up to date.
    pub fn refreshed<'f>(&self, fetcher: &'f dyn Fetcher, mirrors: Mirrors) -> Result<Updater<'f>, Failure> {
        let local = LocalMetadata::open(self.metadata_dir())?;
        if local.is_locked() {
            let (path, most) = (local.path().join(".lock"), LOCK_WAIT.as_secs());
            let said = format!("another process holds {}: waiting {most} seconds at most", path.display());
            self.output.talk(&said);
        }
        Ok(Updater::refreshed(fetcher, local, mirrors, Limits::default(), self.now)?)
    }
}

/// Returns the JSON object that all commands build upon.
pub fn versions_json(versions: Versions) -> Value {
    json!({
        "root": versions.root,
        "timestamp": versions.timestamp,
        "snapshot": versions.snapshot,
        "targets": versions.targets,
        "downloaded": [],
    })
}

/// Says the versions for people.
pub fn versions_text(versions: Versions) -> String {
    let mut text = format!("root v{}", versions.root);
    let others =
        [("timestamp", versions.timestamp), ("snapshot", versions.snapshot), ("targets", versions.targets)];
    for (role, version) in others {
        if let Some(version) = version {
            text.push_str(&format!(", {role} v{version}"));
        }
    }
    text
}

fn missing(option: &str) -> Failure {
    Failure::usage(option, format!("{option} URL or --repo URL is needed"))
}

/// Tells each request to those who want to know.
struct Told<'a, F> {
    output: &'a Output,
    fetcher: F,
}

impl<F: Fetcher> Fetcher for Told<'_, F> {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
        let fetched = self.fetcher.fetch(url, max_length, sink);
        match &fetched {
            Ok(Fetched::Whole) => self.output.detail(&format!("GET {}", shown(url))),
            Ok(Fetched::Cut) => {
                self.output.detail(&format!("GET {} (cut at {max_length} bytes)", shown(url)))
            }
            Err(error) => self.output.detail(&format!("GET {error}")),
        }
        fetched
    }
}
