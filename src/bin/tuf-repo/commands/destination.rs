//! Where a repository is published, as it is typed: a folder or a bucket.

use std::path::Path;

use tuf::cli::failure::Failure;
use tuf::cli::hint::Hint;
use tuf::cli::text::{one_line, quoted, shell_word};
use tuf::repository::{BucketPlace, Destination, LockedPlace, PlaceLock, Policy, Repository};
use tuf::storage::{Bucket, BucketUrl};

use super::edit::wait;
use crate::context::Context;
use crate::failure::failure;

/// The place that a repository is published at.
#[derive(Debug, Clone, clap::Args)]
pub struct DestinationArgs {
    /// The place with metadata/ and targets/ in it: a folder, s3://bucket/prefix, gs://… or az://…
    /// [publish has a default: publish.to of tuf-repo.toml, else the repository itself].
    #[arg(long, value_name = "DEST")]
    pub to: Option<String>,

    /// The prefix of a bucket for metadata alone, where targets are elsewhere.
    #[arg(long, value_name = "URL", requires = "targets_to", conflicts_with = "to")]
    metadata_to: Option<String>,

    /// The prefix of a bucket for targets alone.
    #[arg(long, value_name = "URL", requires = "metadata_to", conflicts_with = "to")]
    targets_to: Option<String>,

    /// The server of the bucket, where it is not the cloud's own [default: publish.endpoint of tuf-repo.toml, else
    /// AWS_ENDPOINT_URL and the like].
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

impl DestinationArgs {
    /// Takes a place that was typed under other names: one with both parts in it, or one for each.
    pub fn at(place: Option<String>, apart: Option<(String, String)>, endpoint: Option<String>) -> Self {
        let (metadata_to, targets_to) = apart.unzip();
        Self { to: place, metadata_to, targets_to, endpoint }
    }

    /// Returns the place that was typed, if any.
    pub fn typed(&self, policy: &Policy, repository: &Path) -> Result<Option<Destination>, Failure> {
        let endpoint = self.endpoint(policy);
        match (&self.to, self.metadata_to.as_deref().zip(self.targets_to.as_deref())) {
            (Some(to), _) => destination(to, Path::new(to), repository, endpoint).map(Some),
            (None, Some((metadata, targets))) => apart(metadata, targets, endpoint).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Tells whether a place was typed.
    pub fn is_typed(&self) -> bool {
        self.to.is_some() || self.metadata_to.is_some()
    }

    /// Tells whether it is the policy's place, typed or not.
    pub fn is_policys(&self, policy: &Policy) -> bool {
        let typed = (self.to.as_deref(), self.metadata_to.as_deref().zip(self.targets_to.as_deref()));
        (!self.is_typed() || typed == (policy.publish_to(), policy.publish_apart()))
            && self.endpoint(policy) == policy.publish_endpoint()
    }

    /// Returns the place that was typed, else the policy's, else the repository's own. A folder in the policy is relative
    /// to the policy's own folder, the repository.
    pub fn or_policy(&self, policy: &Policy, repository: &Path) -> Result<Destination, Failure> {
        if let Some(typed) = self.typed(policy, repository)? {
            return Ok(typed);
        }
        let endpoint = self.endpoint(policy);
        if let Some((metadata, targets)) = policy.publish_apart() {
            return apart(metadata, targets, endpoint);
        }
        match policy.publish_to() {
            None => Ok(Destination::Own),
            Some(to) => destination(to, &repository.join(to), repository, endpoint),
        }
    }

    /// Returns the options that name the place for another command: as they were typed, else those of the policy's place.
    pub fn or_policy_typed(&self, policy: &Policy, repository: &Path) -> String {
        let typed = (self.to.as_deref(), self.metadata_to.as_deref().zip(self.targets_to.as_deref()));
        let (to, apart) = match self.is_typed() {
            true => (typed.0.map(str::to_owned), typed.1),
            false => {
                let in_folder = |to: &str| match BucketUrl::is_meant(to) {
                    true => to.to_owned(),
                    false => repository.join(to).display().to_string(),
                };
                (policy.publish_to().map(in_folder), policy.publish_apart())
            }
        };
        options(Way::To, to.as_deref(), apart, self.endpoint.as_deref())
    }

    /// Returns the options that name the place that was typed for another command.
    pub fn options(&self, way: Way) -> Option<String> {
        let apart = self.metadata_to.as_deref().zip(self.targets_to.as_deref());
        self.is_typed().then(|| options(way, self.to.as_deref(), apart, self.endpoint.as_deref()))
    }

    /// Returns the server that was typed, else the policy's.
    pub fn endpoint<'a>(&'a self, policy: &'a Policy) -> Option<&'a str> {
        self.endpoint.as_deref().or_else(|| policy.publish_endpoint())
    }
}

/// Whether a command brings something to a place or takes it from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As `publish`, `verify --live` and `gc` do.
    To,
    /// As `pull` does.
    From,
}

/// Returns the options that name a place to a command, each after a space.
fn options(way: Way, whole: Option<&str>, apart: Option<(&str, &str)>, endpoint: Option<&str>) -> String {
    let names = match way {
        Way::To => ["--to", "--metadata-to", "--targets-to"],
        Way::From => ["--from", "--metadata-from", "--targets-from"],
    };
    let (metadata, targets) = apart.unzip();
    let values = names.into_iter().zip([whole, metadata, targets]).chain([("--endpoint", endpoint)]);
    let values = values.filter_map(|(name, value)| Some((name, value?)));
    values.map(|(name, value)| format!(" {name} {}", shell_word(value))).collect()
}

/// Returns the options that name a folder to a command.
pub fn folder_options(way: Way, folder: &str) -> String {
    options(way, Some(folder), None, None)
}

/// Locks the repository and the place that its policy and the command line come to. The policy is
/// read again once the locks are held. Where it names another place by then, that place is locked instead.
pub fn lock_place(
    context: &Context,
    find: impl Fn(&Policy, &Path) -> Result<Destination, Failure>,
) -> Result<LockedPlace, Failure> {
    let wait = wait(context);
    let mut unread = Repository::lock(&context.repo, context.now, wait).map_err(failure)?;
    loop {
        let at = find(unread.policy(), unread.dir())?;
        match unread.lock_place(at, wait).map_err(failure)? {
            PlaceLock::Held(place) => return Ok(place),
            PlaceLock::PolicyChanged(again) => unread = again,
        }
    }
}

/// Reads a destination: a folder, by where it is, or a bucket with both parts.
fn destination(
    to: &str,
    folder: &Path,
    repository: &Path,
    endpoint: Option<&str>,
) -> Result<Destination, Failure> {
    match BucketUrl::is_meant(to) {
        true => Ok(Destination::Bucket(BucketPlace::under(&bucket(to, endpoint)?))),
        false => Destination::folder(repository, folder).map_err(|error| failure(error.into())),
    }
}

fn apart(metadata: &str, targets: &str, endpoint: Option<&str>) -> Result<Destination, Failure> {
    let (metadata, targets) = (bucket(metadata, endpoint)?, bucket(targets, endpoint)?);
    Ok(Destination::Bucket(BucketPlace::apart(&metadata, &targets)))
}

/// Connects to a bucket.
pub fn bucket(text: &str, endpoint: Option<&str>) -> Result<Bucket, Failure> {
    let url = BucketUrl::parse(text, endpoint).map_err(|error| {
        Failure::usage(error.to_string())
            .with_hint(Hint::advice("name a folder, or s3://, gs:// or az://, then bucket/prefix"))
    })?;
    Bucket::connect(&url).map_err(|error| {
        Failure::usage(format!("{url}: {}", one_line(&error.to_string())))
            .with_hint(Hint::advice("docs/buckets.md lists the environment variables that are read"))
    })
}

/// Says where a place is.
pub fn shown(destination: &Destination, repository: &Repository) -> String {
    match destination {
        Destination::Own => quoted(repository.dir()),
        Destination::Folder(folder) => quoted(folder),
        Destination::Bucket(place) => one_line(&place.shown()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_place_is_named_to_a_command_by_options_that_it_takes() {
        let places = [
            (Some("s3://a b/c"), None, None),
            (None, Some(("s3://a/m", "s3://b/t")), None),
            (None, Some(("s3://a/m", "s3://b/t")), Some("http://localhost:1")),
            (Some("../www"), None, Some("http://localhost:1")),
        ];
        for (whole, apart, endpoint) in places {
            let apart = apart.map(|(metadata, targets)| (metadata.to_owned(), targets.to_owned()));
            let args = DestinationArgs::at(whole.map(str::to_owned), apart, endpoint.map(str::to_owned));
            for (way, command) in
                [(Way::From, "pull"), (Way::To, "publish"), (Way::To, "verify --live"), (Way::To, "gc")]
            {
                let line = format!("tuf-repo {command}{}", args.options(way).unwrap());
                let words = shell_words(&line);
                assert!(Cli::command().try_get_matches_from(&words).is_ok(), "{line}");
                for value in [whole, args.metadata_to.as_deref(), args.targets_to.as_deref(), endpoint] {
                    assert!(value.is_none_or(|value| words.iter().any(|word| word == value)), "{line}");
                }
            }
        }
        let none = DestinationArgs::at(None, None, Some("http://localhost:1".to_owned()));
        assert_eq!(none.options(Way::From), None);
    }

    /// Splits a line as a shell does that knows single quotes.
    fn shell_words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let mark =
            |(at, part): (usize, &str)| if at % 2 == 0 { part.replace(' ', "\n") } else { part.to_owned() };
        parts.map(mark).collect::<String>().split('\n').map(str::to_owned).collect()
    }
}
