//! `key passwd`: changes the password of a private key, or takes it off.

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::key_files::replace_private;
use tuf::cli::keys::{KeyArgument, load_private};
use tuf::cli::passwords::noun;
use tuf::cli::text::{one_line, quoted};
use tuf::crypto::{Password, Signer};

use super::NewPassword;
use crate::commands::common::{DryRun, PasswordArgs};
use crate::context::Context;

/// Change the password of a private key.
///
/// The old password comes from --password-file or --password-env, the new one from --new-password-file or
/// --new-password-env; what is not given is asked for. The file is replaced as a whole or not at all.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The private key: a path or file:PATH.
    key: KeyArgument,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    new_password: NewPassword,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let path = args.key.path().ok_or_else(|| {
        Failure::usage(format!(
            "'{}' is not a file: its password cannot be changed",
            one_line(&args.key.to_string())
        ))
    })?;
    args.new_password.check(&args.passwords)?;
    let key = load_private(&args.key, &mut args.passwords.read(context)?)?;
    if !args.dry_run.dry_run {
        let password = args.choose_password(context, &key.public_key().keytype)?;
        let pem = key
            .to_pkcs8_pem(password.as_ref())
            .map_err(|error| Failure::io(format!("cannot write {}: {error}", quoted(path))))?;
        replace_private(path, &pem)?;
    }
    let done = match (args.dry_run.dry_run, args.new_password.no_password) {
        (false, false) => "Changed the password of",
        (false, true) => "Took the password off",
        (true, false) => "Would change the password of",
        (true, true) => "Would take the password off",
    };
    context.output.talk(&format!("{done} {}.", quoted(path)));
    let json = json!({
        "keyid": key.public_key().id(),
        "private": path.to_string_lossy(),
        "encrypted": !args.new_password.no_password,
        "dry_run": args.dry_run.dry_run,
    });
    context.output.result(String::new, json)
}

impl Args {
    fn choose_password(&self, context: &Context, keytype: &str) -> Result<Option<Password>, Failure> {
        if self.new_password.no_password {
            return Ok(None);
        }
        let mut passwords = self.new_password.read(context)?;
        let what = format!("a new password for the {}", noun(Some(keytype)));
        passwords.choose(&what, &self.key.to_string()).map(Some)
    }
}
