//! `init`: makes a repository, or takes over one that others made.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::progress::Progress;
use tuf::cli::text::{one_line, quoted};
use tuf::client::{Fetched, Fetcher, HttpFetcher, HttpOptions, SchemeFetcher, Sink};
use tuf::repository::{
    Adopted, BucketPlace, Execution, FolderSource, InputError, Layout, METADATA, Repository, RepositoryError,
    Source, TARGETS, adopt,
};
use tuf::storage::BucketUrl;
use url::Url;

use super::common::{DryRun, warn_of};
use super::destination::bucket;
use super::edit::wait;
use super::next;
use super::verify::finding_json;
use crate::context::Context;
use crate::failure::failure;

/// Make a repository: its folders, its policy, and unsigned drafts of the four top-level roles. With --from take over a
/// repository as it is published, every signature kept valid.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the repository [default: that of --repo].
    dir: Option<PathBuf>,

    /// Name files plainly: targets.json instead of N.targets.json, name instead of HASH.name.
    #[arg(long, conflicts_with = "from")]
    no_consistent_snapshot: bool,

    /// Take over the repository in this folder, at this URL or in this bucket (s3://, gs://, az://), which holds metadata/
    /// and targets/ or is the metadata.
    #[arg(long, value_name = "DIR|URL", requires = "trusted_root")]
    from: Option<String>,

    /// The root that you trust the other repository by.
    #[arg(long, value_name = "FILE", requires = "from")]
    trusted_root: Option<PathBuf>,

    /// The server of the bucket, where it is not the cloud's own [default: AWS_ENDPOINT_URL and the like].
    #[arg(long, value_name = "URL", requires = "from")]
    endpoint: Option<String>,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let dir = args.dir.as_ref().unwrap_or(&context.repo);
    let execution = if args.dry_run.dry_run { Execution::DryRun } else { Execution::Real };
    if let Some((from, root)) = args.from.as_deref().zip(args.trusted_root.as_deref()) {
        return take_over(dir, from, (root, args.endpoint.as_deref()), execution, context);
    }
    let layout = if args.no_consistent_snapshot { Layout::Plain } else { Layout::Consistent };
    let put = tuf::repository::init(dir, layout, context.now, execution, wait(context))
        .map_err(|error| in_the_way(error, dir))?;
    let (made, next) = match execution {
        Execution::DryRun => (
            "Dry run, nothing changed: would make",
            vec![format!("{} add-key root KEY.pub", next::program(dir))],
        ),
        Execution::Real => {
            let status =
                Repository::open(dir, context.now).and_then(|made| made.status()).map_err(failure)?;
            ("Made", next::commands_in(dir, &status.steps, context))
        }
    };
    let first = next.first().map(|next| format!(" Next: {next}")).unwrap_or_default();
    context.output.talk(&format!("{made} the repository {} with unsigned drafts.{first}", quoted(dir)));
    let json = json!({
        "dry_run": args.dry_run.dry_run,
        "repository": dir.to_string_lossy(),
        "consistent_snapshot": layout == Layout::Consistent,
        "put": put,
        "next": next,
    });
    context.output.result(String::new, json)
}

/// Turns a failure; where a repository is there already, the hint names the folder that was typed.
fn in_the_way(error: RepositoryError, dir: &Path) -> Failure {
    let is_there = matches!(error, RepositoryError::Input(InputError::AlreadyThere(_)));
    let failure = failure(error);
    match is_there {
        true => failure
            .with_hint(Hint::explained("look at what is there", format!("{} status", next::program(dir)))),
        false => failure,
    }
}

fn take_over(
    dir: &Path,
    from: &str,
    (trusted_root, endpoint): (&Path, Option<&str>),
    execution: Execution,
    context: &Context,
) -> Outcome {
    let root = std::fs::read(trusted_root).map_err(|error| {
        let Failure { message, .. } = Failure::cannot("read", trusted_root, &error);
        Failure::usage(message)
    })?;
    let bar = Progress::stream(context.output.verbosity(), "Copying targets");
    let progress = |bytes| bar.advance(bytes);
    let wait = wait(context);
    let adopted = if BucketUrl::is_of_bucket(from) {
        let source = bucket_source(from, endpoint)?;
        adopt(dir, &source, &root, context.now, execution, wait, &progress)
    } else if from.contains("://") {
        let source = UrlSource::new(from)?;
        adopt(dir, &source, &root, context.now, execution, wait, &progress)
    } else if Path::new(from).is_dir() {
        adopt(dir, &FolderSource::new(Path::new(from)), &root, context.now, execution, wait, &progress)
    } else {
        let refusal = format!("{} is neither a folder nor a URL", quoted(Path::new(from)));
        return Err(
            Failure::usage(refusal).with_hint(Hint::advice("give --from DIR or --from https://HOST/PATH"))
        );
    };
    drop(bar);
    tell(dir, from, &adopted.map_err(failure)?, execution, context)
}

fn tell(dir: &Path, from: &str, adopted: &Adopted, execution: Execution, context: &Context) -> Outcome {
    let names: Vec<String> =
        adopted.roles.iter().map(|(role, version)| format!("{role} v{version}")).collect();
    let done = match execution {
        Execution::Real => "Took over",
        Execution::DryRun => "Dry run, nothing changed: would take over",
    };
    let next = format!("{} status", next::program(dir));
    // a URL may hold a password
    let shown = Url::parse(from).map_or_else(|_| one_line(from), |url| tuf::client::shown(&url));
    context.output.talk(&format!("{done} {} from {shown}. Next: {next}", names.join(", ")));
    if adopted.first_root > 1 {
        context.output.warn(&format!(
            "clients that start from a root before v{} are stranded already",
            adopted.first_root
        ));
    }
    if !adopted.expired.is_empty() {
        let roles: Vec<&str> = adopted.expired.iter().map(|role| role.as_str()).collect();
        context.output.warn(&format!("expired: {}; tuf-repo refresh revives them", roles.join(", ")));
    }
    warn_of(&adopted.warnings, context);
    for name in &adopted.missing {
        context.output.warn(&format!("the source lists {TARGETS}/{name} and does not have it"));
    }
    let json = json!({
        "dry_run": execution == Execution::DryRun,
        "repository": dir.to_string_lossy(),
        "consistent_snapshot": adopted.consistent_snapshot,
        "roles": adopted.roles,
        "put": adopted.put,
        "missing": adopted.missing,
        "expired": adopted.expired,
        "warnings": adopted.warnings.iter().map(finding_json).collect::<Vec<_>>(),
        "first_root": adopted.first_root,
        "next": [next],
    });
    context.output.result(String::new, json)
}

fn bucket_source(from: &str, endpoint: Option<&str>) -> Result<BucketPlace, Failure> {
    let place = BucketPlace::under(&bucket(from, endpoint)?);
    match place.metadata("timestamp.json", 1 << 20) {
        // the prefix of the metadata itself has its timestamp right there
        Ok(None) => {
            let from = from.trim_end_matches('/');
            let above = from.rsplit_once('/').filter(|(above, _)| !above.ends_with('/'));
            let targets = format!("{}/{TARGETS}", above.map_or(from, |(above, _)| above));
            Ok(BucketPlace::apart(&bucket(from, endpoint)?, &bucket(&targets, endpoint)?))
        }
        // what else goes wrong is told when the first file is read
        _ => Ok(place),
    }
}

/// A repository behind a URL.
struct UrlSource {
    fetcher: SchemeFetcher,
    metadata: Url,
    targets: Url,
}

impl UrlSource {
    fn new(from: &str) -> Result<Self, Failure> {
        let refused = |reason: String| {
            Failure::usage(format!("--from is not a URL that can be read: {reason}"))
                .with_hint(Hint::advice("give --from https://HOST/PATH"))
        };
        let base = Url::parse(&format!("{}/", from.trim_end_matches('/')))
            .map_err(|error| refused(error.to_string()))?;
        let join = |name: &str| base.join(name).map_err(|error| refused(error.to_string()));
        let http = HttpFetcher::new(HttpOptions::default()).map_err(Failure::io)?;
        let (metadata, targets) = (join(&format!("{METADATA}/"))?, join(&format!("{TARGETS}/"))?);
        let source = Self { fetcher: SchemeFetcher::new(http), metadata, targets };
        // a URL of the metadata folder itself has its timestamp right there
        if matches!(source.metadata("timestamp.json", 1 << 20), Ok(None)) {
            return Ok(Self { metadata: base.clone(), targets: join(&format!("../{TARGETS}/"))?, ..source });
        }
        Ok(source)
    }

    fn fetch(&self, url: &Url, limit: u64, to: &mut dyn Sink) -> io::Result<bool> {
        match self.fetcher.fetch(url, limit, to) {
            Ok(Fetched::Whole) => Ok(true),
            Ok(Fetched::Cut) => {
                Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes")))
            }
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

impl Source for UrlSource {
    fn metadata(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let url = self.metadata.join(name).map_err(|error| io::Error::other(error.to_string()))?;
        let mut bytes = Vec::new();
        Ok(self.fetch(&url, limit, &mut bytes)?.then_some(bytes))
    }

    fn target(&self, name: &str, limit: u64, to: &mut File) -> io::Result<bool> {
        let mut url = self.targets.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(name.split('/'));
        }
        self.fetch(&url, limit, &mut Copy(to))
    }
}

/// Takes a target into a file; a request that is made once more starts the file over.
struct Copy<'a>(&'a mut File);

impl Sink for Copy<'_> {
    fn begin(&mut self) -> io::Result<u64> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        Ok(0)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}
