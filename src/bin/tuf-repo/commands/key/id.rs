//! `key id`: prints the id that metadata knows a key by.

use serde_json::{Value, json};
use tuf::cli::failure::Outcome;
use tuf::cli::keys::{KeyArgument, KeyDescription, Protection, describe};

use crate::commands::common::PasswordArgs;
use crate::context::Context;

/// Print the id of a key.
///
/// A public half suffices. A password is needed only for an encrypted key without KEY.pub beside it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A public or private key: a path or a reference (file:, env:, exec:, ssh-agent:, pkcs11:).
    key: KeyArgument,

    #[command(flatten)]
    passwords: PasswordArgs,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let description = describe(&args.key, &mut args.passwords.read(context)?)?;
    context.output.result(|| description.key.id().to_string(), in_json(&args.key, &description))
}

/// Returns what both `key id` and `key show` print in JSON.
pub(super) fn in_json(argument: &KeyArgument, description: &KeyDescription) -> Value {
    let key = &description.key;
    json!({
        "keyid": key.id(),
        "keytype": key.keytype,
        "scheme": key.scheme,
        "private": description.private.map(|_| argument.to_string()),
        "public": description.public.as_deref().map(|path| path.to_string_lossy()),
        "encrypted": match description.private {
            None | Some(Protection::Elsewhere) => None,
            Some(protection) => Some(protection == Protection::Encrypted),
        },
        "keyval": key.keyval,
    })
}
