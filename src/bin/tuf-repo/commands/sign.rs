//! `sign`: adds signatures to drafts.

use std::path::PathBuf;

use serde_json::{Map, json};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::text::quoted;
use tuf::repository::SigningKey;

use super::ceremony;
use super::common::{DryRun, KeyArgs, key_dir, show_trust};
use super::edit::{finish_planned, open_locked, some};
use crate::context::Context;
use crate::failure::failure;

/// Sign drafts: the roles named, or every dirty role that the keys may sign for, snapshot and timestamp included.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The roles [default: all that are dirty].
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,

    /// Write the role's draft to a file that can be signed where there is no repository.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "import", "sig", "keys", "key_dir"])]
    export: Option<PathBuf>,

    /// Sign such a file instead of a repository's drafts; what it changes is shown before a password is asked for.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["import", "sig", "roles", "key_dir"])]
    bundle: Option<PathBuf>,

    /// Take the signatures of such files into the drafts, or the metadata of delegated roles made elsewhere (ROLE.json).
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["sig", "keys", "key_dir", "roles"])]
    import: Vec<PathBuf>,

    /// Take a signature that another program made over the role's canonical bytes: hexadecimal, base64 or binary.
    #[arg(long, value_name = "FILE", requires = "key_id", conflicts_with_all = ["keys", "key_dir"])]
    sig: Option<PathBuf>,

    /// The id of the key that made the signature.
    #[arg(long, value_name = "ID", requires = "sig")]
    key_id: Option<String>,

    /// Sign with the keys of this folder that may sign for the roles.
    #[arg(long, value_name = "DIR")]
    key_dir: Option<PathBuf>,

    #[command(flatten)]
    keys: KeyArgs,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    if let Some(file) = &args.export {
        return ceremony::export(file, &args.roles, args.dry_run, context);
    }
    if let Some(file) = &args.bundle {
        return ceremony::sign_bundle(file, &args.keys, args.dry_run, context);
    }
    if !args.import.is_empty() {
        return ceremony::import(&args.import, args.dry_run, context);
    }
    if let Some((file, keyid)) = args.sig.as_deref().zip(args.key_id.as_deref()) {
        return ceremony::import_raw(keyid, file, &args.roles, args.dry_run, context);
    }
    sign_drafts(args, context)
}

fn no_key() -> Failure {
    Failure::usage("no key to sign with")
        .with_hint(Hint::again("write keys = […] for the roles in tuf-repo.toml, or name one", "--key KEY"))
}

fn sign_drafts(mut args: Args, context: &Context) -> Outcome {
    let mut repository = open_locked(context)?;
    let roles = repository.find_roles(&args.roles).map_err(failure)?;
    if let Some(dir) = &args.key_dir {
        let found = key_dir(dir, &repository, &roles, context)?;
        if found.is_empty() && args.keys.keys.is_empty() {
            return Err(Failure::key(format!("no key in {} may sign here", quoted(dir)))
                .with_hint(Hint::explained("see which keys may sign", "tuf-repo status -v")));
        }
        args.keys.keys.extend(found);
    }
    args.keys.add_policy_keys(&repository, &roles, context)?;
    let is_dirty = !repository.status().map_err(failure)?.dirty().is_empty();
    if args.keys.keys.is_empty() && is_dirty {
        return Err(no_key());
    }
    show_trust(&repository, &roles, &args.keys, context);
    let loaded = args.keys.load(context)?;
    let keys: Vec<SigningKey<'_>> =
        loaded.iter().map(|key| SigningKey { name: &key.name, signer: key.signer.as_ref() }).collect();
    let report = repository.sign(&roles, &keys).map_err(failure)?;
    drop(loaded);
    let plan = repository.plan_drafts().map_err(failure)?;
    let signed: Vec<String> =
        report.signed.iter().map(|(role, version, _)| format!("{role} v{version}")).collect();
    let what = match signed.is_empty() {
        true => "nothing is dirty that these keys have not signed".to_owned(),
        false => format!("signed {}", some(&signed)),
    };
    let signatures: Map<String, _> = report
        .signed
        .iter()
        .map(|(role, version, keyids)| (role.to_string(), json!({"version": version, "keyids": keyids})))
        .collect();
    let more = Map::from_iter([("signed".to_owned(), json!(signatures))]);
    finish_planned(context, repository, &plan, args.dry_run, &what, more, |repository, plan| {
        repository.save_edit(plan).map_err(failure)
    })
}
