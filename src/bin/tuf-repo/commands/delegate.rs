//! `delegate`: trusts another role for some paths.

use serde_json::{Map, json};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::keys::{KeyArgument, load_all_public};
use tuf::metadata::RoleName;
use tuf::repository::{BinKind, Delegation, InputError, Trust};

use super::common::{DryRun, PasswordArgs, Scheme, threshold, with_scheme};
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Delegate paths to another role. The role's own metadata is drafted at once.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("trust").required(true))]
pub struct Args {
    /// The name of the role that is trusted; of hash bins what their names start with.
    name: String,

    /// The public keys of the role. Repeat it for several.
    #[arg(long = "key", required = true, value_name = "PUB")]
    keys: Vec<KeyArgument>,

    /// Patterns of the target paths that it is trusted for; `*` and `?` do not match a slash.
    #[arg(long, group = "trust", num_args = 1.., value_name = "GLOB")]
    paths: Vec<String>,

    /// Prefixes of the SHA-256 of the target paths that it is trusted for.
    #[arg(long, group = "trust", num_args = 1.., value_name = "HEX")]
    path_hash_prefixes: Vec<String>,

    /// Share all target paths out among this many hash bins, a power of two up to 65536. NAME is what their names start
    /// with, and stands for them wherever a role is named.
    #[arg(long, group = "trust", value_name = "N")]
    bins: Option<u64>,

    /// State the hash bins role by role, for clients that do not know TAP 15.
    #[arg(long, requires = "bins")]
    classic: bool,

    /// Who delegates.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    from: String,

    /// How many of the keys must sign.
    #[arg(long, default_value_t = 1, value_name = "N")]
    threshold: u64,

    /// End the search for a target that matches here, found or not.
    #[arg(long)]
    terminating: bool,

    /// The delegation that this one takes precedence over [default: it comes last].
    #[arg(long, value_name = "NAME")]
    before: Option<String>,

    /// The signature scheme of RSA keys.
    #[arg(long, value_enum, value_name = "SCHEME")]
    scheme: Option<Scheme>,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let name = RoleName::parse(&args.name).map_err(|error| failure(InputError::from(error).into()))?;
    let keys = load_all_public(&args.keys, &mut args.passwords.read(context)?)?;
    let keys = keys.into_iter().map(|key| with_scheme(key, args.scheme)).collect::<Result<Vec<_>, _>>()?;
    if (keys.len() as u64) < args.threshold {
        return Err(Failure::usage(format!(
            "'{name}' has {} keys for a threshold of {}",
            keys.len(),
            args.threshold
        ))
        .with_hint(Hint::again("name more keys, or a smaller --threshold", "--key KEY.pub")));
    }
    let threshold = threshold(&name, args.threshold)?;
    let mut repository = open_past_drafts(context)?;
    let from = repository.find_role(&args.from).map_err(failure)?;
    let before =
        args.before.as_deref().map(|name| repository.find_role(name)).transpose().map_err(failure)?;
    let keyids: Vec<_> = keys.iter().map(tuf::metadata::Key::id).collect();
    let kind = if args.classic { BinKind::Classic } else { BinKind::Succinct };
    let trust = match args.bins {
        Some(number) => Trust::Bins { number, kind },
        None if args.paths.is_empty() => Trust::PathHashPrefixes(args.path_hash_prefixes),
        None => Trust::Paths(args.paths),
    };
    let what = match args.bins {
        Some(number) => format!("'{from}' delegates to {number} hash bins '{name}'"),
        None => format!("'{from}' delegates to '{name}'"),
    };
    let more = Map::from_iter([
        ("role".to_owned(), json!(name)),
        ("delegator".to_owned(), json!(from)),
        ("keyids".to_owned(), json!(keyids)),
    ]);
    let delegation = Delegation { name, from, keys, threshold, trust, terminating: args.terminating, before };
    repository.delegate(delegation).map_err(failure)?;
    finish(context, repository, args.dry_run, &what, more)
}
