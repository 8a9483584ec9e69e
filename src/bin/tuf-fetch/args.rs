//! The command line. Its doc comments are the help.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgAction, Args, Parser, Subcommand};
use tuf::cli::clock::parse_time;
use tuf::cli::output::{ColorChoice, Format, Output, Verbosity};
use tuf::client::{parse_base, shown};
use tuf::metadata::time;
use url::Url;

use crate::commands::{clean, download, init, list, update};

/// Fetches files from a TUF repository, each one verified.
///
/// Start with a root that you trust: `tuf-fetch init ROOT.json`. From then on `tuf-fetch --repo URL` brings the
/// metadata up to date and downloads all targets. Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "tuf-fetch", version)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<With>,
}

/// Options that stand before the command or after it.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Folder of trusted metadata [default: ./metadata]
    #[arg(long, value_name = "DIR", help_heading = "Common options")]
    pub metadata_dir: Option<PathBuf>,
    /// Base URL of the repository's metadata: http, https or file
    #[arg(long, value_name = "URL", value_parser = parse_base, help_heading = "Common options")]
    pub metadata_url: Option<Url>,
    /// Base URL of the repository's targets
    #[arg(long, value_name = "URL", value_parser = parse_base, help_heading = "Common options")]
    pub target_base_url: Option<Url>,
    /// Folder for verified targets, which belongs to one metadata folder; a file at a fetched target's path is replaced,
    /// whoever put it there [default: ./targets]
    #[arg(long, value_name = "DIR", help_heading = "Common options")]
    pub target_dir: Option<PathBuf>,
    /// Target to download, exactly as it is listed; repeatable
    #[arg(long, value_name = "PATH", help_heading = "Common options")]
    pub target_name: Vec<String>,
    /// Base URL of a repository that has URL/metadata and URL/targets
    #[arg(long, value_name = "URL", value_parser = parse_base, help_heading = "Common options")]
    pub repo: Option<Url>,
    /// Another place that holds the same repository, as URL/metadata and URL/targets, asked where those before it are
    /// of no use; repeatable
    #[arg(long, value_name = "URL", value_parser = parse_base, help_heading = "Common options")]
    pub mirror: Vec<Url>,
    /// How many targets are downloaded at once [default: 4]
    #[arg(long, value_name = "N", help_heading = "Common options")]
    pub jobs: Option<NonZeroUsize>,
    /// File in PEM with more certificate authorities to trust for https; SSL_CERT_FILE replaces those of the system
    #[arg(long, value_name = "FILE", help_heading = "Common options")]
    pub ca_cert: Option<PathBuf>,
    /// Give up on a server that sends nothing, or less than --min-speed, for this long [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400), help_heading = "Common options")]
    pub timeout: Option<u64>,
    /// The least average speed of a server in bytes per second; 0 waits for any [default: 1024]
    #[arg(long, value_name = "BYTES/S", help_heading = "Common options")]
    pub min_speed: Option<u64>,
    /// Print one JSON object
    #[arg(long, help_heading = "Common options")]
    pub json: bool,
    /// The time that expiry is judged by, instead of the clock; no environment variable sets it
    #[arg(long, value_name = "RFC3339", value_parser = parse_time, help_heading = "Common options")]
    pub time: Option<DateTime<Utc>>,
    /// When to colour
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Common options")]
    pub color: Option<ColorChoice>,
    /// Print results and errors only
    #[arg(short, long, help_heading = "Common options")]
    pub quiet: bool,
    /// Tell each request; repeatable, for those who are used to it
    #[arg(short, long, action = ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum With {
    /// Start to trust a repository: store its first root
    Init {
        #[command(flatten)]
        args: init::Args,
        #[command(flatten)]
        options: Options,
    },
    /// Bring the trusted metadata up to date
    Refresh {
        #[command(flatten)]
        options: Options,
    },
    /// Bring the metadata up to date, then download targets
    Download {
        #[command(flatten)]
        args: download::Args,
        #[command(flatten)]
        options: Options,
    },
    /// List the targets of a repository
    List {
        #[command(flatten)]
        args: list::Args,
        #[command(flatten)]
        options: Options,
    },
    /// Show the trusted metadata, without a request
    Status {
        #[command(flatten)]
        options: Options,
    },
    /// Remove metadata and targets that tuf-fetch has put here and that are no longer trusted, without a request
    Clean {
        #[command(flatten)]
        args: clean::Args,
        #[command(flatten)]
        options: Options,
    },
    /// Download all targets, or those named; the default
    Update {
        #[command(flatten)]
        args: update::Args,
        #[command(flatten)]
        options: Options,
    },
}

/// The command, apart from the options that all share.
pub enum Command {
    Init(init::Args),
    Refresh,
    Download(download::Args),
    List(list::Args),
    Status,
    Clean(clean::Args),
    Update(update::Args),
}

impl Command {
    /// Returns the words that say this command again.
    pub fn words(&self) -> Vec<String> {
        let (word, options, plain): (Option<&str>, Vec<String>, &[String]) = match self {
            Self::Init(args) => (Some("init"), args.words(), &[]),
            Self::Refresh => (Some("refresh"), Vec::new(), &[]),
            Self::Download(args) => (Some("download"), args.options(), args.globs()),
            Self::List(args) => (Some("list"), Vec::new(), args.globs()),
            Self::Status => (Some("status"), Vec::new(), &[]),
            Self::Clean(args) => (Some("clean"), args.options(), &[]),
            Self::Update(args) if args.targets().is_empty() => (None, Vec::new(), &[]),
            Self::Update(args) => (Some("update"), Vec::new(), args.targets()),
        };
        let mut words: Vec<String> = word.into_iter().map(str::to_owned).chain(options).collect();
        if plain.iter().any(|word| word.starts_with('-')) {
            words.push("--".to_owned());
        }
        words.extend(plain.iter().cloned());
        words
    }
}

impl Cli {
    /// Puts the options before the command and after it together; those after it win.
    pub fn merged(self) -> (Options, Command) {
        let (options, command) = match self.command {
            Some(With::Init { args, options }) => (options, Command::Init(args)),
            Some(With::Refresh { options }) => (options, Command::Refresh),
            Some(With::Download { args, options }) => (options, Command::Download(args)),
            Some(With::List { args, options }) => (options, Command::List(args)),
            Some(With::Status { options }) => (options, Command::Status),
            Some(With::Clean { args, options }) => (options, Command::Clean(args)),
            Some(With::Update { args, options }) => (options, Command::Update(args)),
            None => (Options::default(), Command::Update(update::Args::default())),
        };
        (options.over(self.options), command)
    }
}

impl Options {
    // not clap's global arguments: of a repeated one they keep only those on one side of the command
    fn over(self, before: Self) -> Self {
        let target_name = before.target_name.into_iter().chain(self.target_name).collect();
        let mirror = before.mirror.into_iter().chain(self.mirror).collect();
        Self {
            metadata_dir: self.metadata_dir.or(before.metadata_dir),
            metadata_url: self.metadata_url.or(before.metadata_url),
            target_base_url: self.target_base_url.or(before.target_base_url),
            target_dir: self.target_dir.or(before.target_dir),
            target_name,
            repo: self.repo.or(before.repo),
            mirror,
            jobs: self.jobs.or(before.jobs),
            ca_cert: self.ca_cert.or(before.ca_cert),
            timeout: self.timeout.or(before.timeout),
            min_speed: self.min_speed.or(before.min_speed),
            json: self.json || before.json,
            time: self.time.or(before.time),
            color: self.color.or(before.color),
            quiet: self.quiet || before.quiet,
            verbose: self.verbose.saturating_add(before.verbose),
        }
    }

    /// Returns the words that say these options again, those that say how results are printed left out. Secrets in URLs are
    /// not said.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |option: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([option.to_owned(), value]);
            }
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        add("--metadata-dir", path(&self.metadata_dir));
        add("--metadata-url", self.metadata_url.as_ref().map(shown));
        add("--target-base-url", self.target_base_url.as_ref().map(shown));
        add("--target-dir", path(&self.target_dir));
        add("--repo", self.repo.as_ref().map(shown));
        self.mirror.iter().for_each(|mirror| add("--mirror", Some(shown(mirror))));
        add("--jobs", self.jobs.map(|jobs| jobs.to_string()));
        add("--ca-cert", path(&self.ca_cert));
        add("--timeout", self.timeout.map(|seconds| seconds.to_string()));
        add("--min-speed", self.min_speed.map(|speed| speed.to_string()));
        add("--time", self.time.as_ref().map(time::format));
        words
    }

    /// Makes the output that these options ask for.
    pub fn output(&self) -> Output {
        let format = if self.json { Format::Json } else { Format::Human };
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Verbose,
        };
        Output::new(format, verbosity, self.color.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_the_command_or_after_it() {
        let before = "tuf-fetch --metadata-dir d --target-name a --json download --target-name b --timeout 5";
        let (options, command) = Cli::try_parse_from(before.split(' ')).unwrap().merged();
        assert_eq!(options.target_name, ["a", "b"]);
        assert_eq!((options.metadata_dir, options.timeout, options.json), (Some("d".into()), Some(5), true));
        assert!(matches!(command, Command::Download(_)));
    }

    #[test]
    fn no_command_means_update() {
        let (_, command) = Cli::try_parse_from(["tuf-fetch", "--repo", "file:///r"]).unwrap().merged();
        assert!(matches!(command, Command::Update(_)));
    }
}
