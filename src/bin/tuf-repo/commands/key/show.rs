//! `key show`: tells what is known about a key without its secret.

use serde_json::Value;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::keys::{KeyArgument, KeyDescription, Protection, describe};
use tuf::crypto::public_key_to_pem;

use super::id::in_json;
use crate::commands::common::PasswordArgs;
use crate::context::Context;

/// Show a key: its id, type, scheme and public half, and whether a password protects it.
///
/// A password is needed only for an encrypted key without KEY.pub beside it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A public or private key: a path or a reference (file:, env:, exec:, ssh-agent:, pkcs11:).
    key: KeyArgument,

    #[command(flatten)]
    passwords: PasswordArgs,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let description = describe(&args.key, &mut args.passwords.read(context)?)?;
    let pem = public_key_to_pem(&description.key)
        .map_err(|error| Failure::key(format!("cannot show the key '{}': {error}", args.key)))?;
    let mut json = in_json(&args.key, &description);
    json["public_pem"] = Value::from(pem.as_str());
    context.output.result(|| in_words(&description, &pem), json)
}

fn in_words(description: &KeyDescription, pem: &str) -> String {
    let key = &description.key;
    let private = match description.private {
        None => "not here, this is the public half",
        Some(Protection::Plain) => "not encrypted",
        Some(Protection::Encrypted) => "encrypted",
        Some(Protection::Elsewhere) => "kept elsewhere",
    };
    format!(
        "keyid    {}\ntype     {}\nscheme   {}\nprivate  {private}\n{pem}",
        key.id(),
        key.keytype,
        key.scheme
    )
}
