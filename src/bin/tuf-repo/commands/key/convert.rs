//! `key convert`: writes a private key of any readable container as PKCS#8.

use std::path::Path;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::key_files::{Overwrite, check_place, public_path, write_pair};
use tuf::cli::keys::{KeyArgument, load_private};
use tuf::cli::passwords::noun;
use tuf::cli::text::{one_line, quoted, shell_word};
use tuf::crypto::{KeyError, Password, PrivateKey, Signer, public_key_to_pem};

use super::NewPassword;
use crate::commands::common::{DryRun, PasswordArgs};
use crate::context::Context;

/// Write a private key of any readable container as PKCS#8 at PATH, and its public half at PATH.pub.
///
/// Reads PKCS#8, PKCS#1 and SEC1 in PEM or DER, OpenSSL's old encrypted PEM, and the files of the old Python tools.
/// The key stays the same key: its id in a repository goes on working. The password given opens KEY and encrypts
/// PATH; where two are given, the second encrypts PATH.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The private key: a path, file:PATH or env:VAR.
    key: KeyArgument,

    /// Where to write it.
    #[arg(long, value_name = "PATH")]
    out: KeyArgument,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    new_password: NewPassword,

    /// Replace files that are in the way.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let path = args.out.path().ok_or_else(|| {
        Failure::usage(format!("a key is written to a file, not to '{}'", one_line(&args.out.to_string())))
    })?;
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    check_place(path, overwrite)?;
    args.new_password.check(&args.passwords)?;
    let mut passwords = args.passwords.read(context)?;
    let mut new_passwords = match args.new_password.is_given() {
        true => args.new_password.read(context)?,
        false => passwords.part_new(context.interaction),
    };
    let key = load_private(&args.key, &mut passwords)?;
    if args.dry_run.dry_run {
        return tell(&args, context, path, &key);
    }
    let password: Option<Password> = match args.new_password.no_password {
        true => None,
        false => {
            let what = format!("a password for the converted {}", noun(Some(&key.public_key().keytype)));
            Some(new_passwords.choose(&what, &args.out.to_string())?)
        }
    };
    let failed = |error: KeyError| Failure::io(format!("cannot write {}: {error}", quoted(path)));
    let private_pem = key.to_pkcs8_pem(password.as_ref()).map_err(failed)?;
    let public_pem = public_key_to_pem(key.public_key()).map_err(failed)?;
    write_pair(path, &private_pem, &public_pem, overwrite)?;
    tell(&args, context, path, &key)
}

fn tell(args: &Args, context: &Context, path: &Path, key: &PrivateKey) -> Outcome {
    let public = public_path(path);
    let wrote = if args.dry_run.dry_run { "Would write" } else { "Wrote" };
    let how = if args.new_password.no_password { "not encrypted" } else { "encrypted" };
    let noun = noun(Some(&key.public_key().keytype));
    context.output.talk(&format!(
        "{wrote} the {noun} {} ({how}) and its public half {}.",
        quoted(path),
        quoted(&public)
    ));
    let id = key.public_key().id();
    let json = json!({
        "keyid": id,
        "keytype": key.public_key().keytype,
        "scheme": key.public_key().scheme,
        "private": path.to_string_lossy(),
        "public": public.to_string_lossy(),
        "encrypted": !args.new_password.no_password,
        "dry_run": args.dry_run.dry_run,
    });
    context.output.result(|| id.to_string(), json)?;
    if !args.dry_run.dry_run {
        let word = shell_word(&path.to_string_lossy());
        context.output.talk(&format!("The same key under its old id: sign with --key {word}"));
    }
    Ok(())
}
