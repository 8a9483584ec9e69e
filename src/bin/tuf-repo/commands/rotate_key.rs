//! `rotate-key`: replaces a key of a role.

use serde_json::{Map, json};
use tuf::cli::failure::Outcome;
use tuf::cli::keys::{KeyArgument, load_public};

use super::common::{DryRun, Force, PasswordArgs, Scheme, key_choice, with_scheme};
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Trust a key of a role in the place of another one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role.
    role: String,

    /// The key that is trusted no longer: its id, at least the first eight characters, or a PEM file.
    #[arg(long, value_name = "KEYID|KEY")]
    old: String,

    /// The key that is trusted from now on: a PEM file of the public or private half.
    #[arg(long, value_name = "KEY")]
    new: KeyArgument,

    /// Who delegates to the role, where several do.
    #[arg(long, value_name = "ROLE")]
    delegator: Option<String>,

    /// The signature scheme of an RSA key.
    #[arg(long, value_enum, value_name = "SCHEME")]
    scheme: Option<Scheme>,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    force: Force,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut passwords = args.passwords.read(context)?;
    let old = key_choice(&args.old, &mut passwords)?;
    let new = with_scheme(load_public(&args.new, &mut passwords)?, args.scheme)?;
    let mut repository = open_past_drafts(context)?;
    let role = repository.find_trusted(&args.role).map_err(failure)?;
    let delegator =
        args.delegator.as_deref().map(|name| repository.find_role(name)).transpose().map_err(failure)?;
    let ((out, into), _) = repository
        .rotate_key(&role, &old, &new, delegator.as_ref(), args.force.dead_end())
        .map_err(failure)?;
    let what = format!("'{role}' trusts {} in the place of {}", into.short(), out.short());
    let more = Map::from_iter([
        ("role".to_owned(), json!(role)),
        ("old".to_owned(), json!(out)),
        ("new".to_owned(), json!(into)),
    ]);
    finish(context, repository, args.dry_run, &what, more)
}
