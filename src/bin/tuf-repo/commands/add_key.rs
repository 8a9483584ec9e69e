//! `add-key`: trusts keys for a role.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;
use tuf::cli::keys::{KeyArgument, load_all_public};

use super::common::{DryRun, PasswordArgs, Scheme, with_scheme};
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Trust keys for a role. The public halves suffice.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role.
    role: String,

    /// The keys: PEM files of public or private keys.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<KeyArgument>,

    /// Who delegates to the role, where several do.
    #[arg(long, value_name = "ROLE")]
    delegator: Option<String>,

    /// The signature scheme of RSA keys.
    #[arg(long, value_enum, value_name = "SCHEME")]
    scheme: Option<Scheme>,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let keys = load_all_public(&args.keys, &mut args.passwords.read(context)?)?;
    let mut repository = open_past_drafts(context)?;
    let role = repository.find_trusted(&args.role).map_err(failure)?;
    let delegator =
        args.delegator.as_deref().map(|name| repository.find_role(name)).transpose().map_err(failure)?;
    let (mut keyids, mut added) = (Vec::new(), Vec::new());
    for key in keys {
        let key = with_scheme(key, args.scheme)?;
        let (id, changed) = repository.add_key(&role, &key, delegator.as_ref()).map_err(failure)?;
        if changed {
            added.push(id.short().to_owned());
        }
        keyids.push(id);
    }
    let what = match added.as_slice() {
        [] => format!("'{role}' trusts {} already", if keyids.len() == 1 { "the key" } else { "the keys" }),
        ids => format!("'{role}' trusts {}", ids.join(", ")),
    };
    let more = Map::from_iter([("role".to_owned(), json!(role)), ("keyids".to_owned(), json!(keyids))]);
    finish(context, repository, args.dry_run, &what, more)
}
