//! `keygen`: makes a key.

use std::path::PathBuf;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::key_files::{Overwrite, check_place, public_path, write_pair};
use tuf::cli::keys::KeyArgument;
use tuf::cli::passwords::{Passwords, noun};
use tuf::cli::text::{one_line, quoted, shell_word};
use tuf::crypto::{
    KeyError, KeyType, MAX_RSA_BITS, MIN_RSA_BITS, Password, PrivateKey, Signer, public_key_to_pem,
};

use super::common::{DryRun, PasswordArgs};
use crate::context::Context;

/// The length of a new RSA key, in bits.
const RSA_BITS: usize = 3072;

/// Make a key: PATH holds the private half, PATH.pub the public one.
///
/// The private half is PKCS#8 in PEM, encrypted by a password and readable by its owner only. The password is
/// asked for twice, or read from --password-file or --password-env.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write the private half.
    path: KeyArgument,

    /// The type of the key.
    #[arg(long = "type", value_enum, default_value_t, value_name = "TYPE")]
    kind: Kind,

    /// The length of the key: 2048 or more for rsa [default: 3072], 256 or 384 for ecdsa [default: 256].
    #[arg(long, value_name = "N")]
    bits: Option<usize>,

    /// Write the private half as it is, without a password.
    #[arg(long, conflicts_with_all = ["password_file", "password_env"])]
    no_password: bool,

    /// Replace files that are in the way.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    passwords: PasswordArgs,

    #[command(flatten)]
    dry_run: DryRun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Kind {
    #[default]
    Ed25519,
    Rsa,
    Ecdsa,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let key_type = args.key_type()?;
    let path = args.path.path().ok_or_else(|| {
        Failure::usage(format!(
            "a new key is written to a file, not to '{}'",
            one_line(&args.path.to_string())
        ))
    })?;
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    check_place(path, overwrite)?;
    if args.dry_run.dry_run {
        return tell(&args, context, path.to_owned(), None);
    }
    let password = args.password(context)?;
    if matches!(key_type, KeyType::Rsa { .. }) {
        context.output.detail("Searching two primes for the RSA key …");
    }
    let failed = |error: KeyError| Failure::io(format!("cannot make {}: {error}", quoted(path)));
    let key = PrivateKey::generate(key_type).map_err(failed)?;
    let private_pem = key.to_pkcs8_pem(password.as_ref()).map_err(failed)?;
    let public_pem = public_key_to_pem(key.public_key()).map_err(failed)?;
    write_pair(path, &private_pem, &public_pem, overwrite)?;
    tell(&args, context, path.to_owned(), Some(&key))
}

impl Args {
    fn key_type(&self) -> Result<KeyType, Failure> {
        match (self.kind, self.bits) {
            (Kind::Ed25519, None) => Ok(KeyType::Ed25519),
            (Kind::Ed25519, Some(_)) => Err(Failure::usage("an ed25519 key has one length only")
                .with_hint(Hint::advice("leave --bits out, or add --type rsa"))),
            (Kind::Rsa, bits) => match bits.unwrap_or(RSA_BITS) {
                bits if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) => Ok(KeyType::Rsa { bits }),
                bits => Err(Failure::usage(KeyError::RsaBits { bits }.to_string())
                    .with_hint(Hint::advice(format!("give --bits {RSA_BITS}")))),
            },
            (Kind::Ecdsa, None | Some(256)) => Ok(KeyType::EcdsaP256),
            (Kind::Ecdsa, Some(384)) => Ok(KeyType::EcdsaP384),
            (Kind::Ecdsa, Some(bits)) => {
                Err(Failure::usage(format!("an ecdsa key of {bits} bits is not supported"))
                    .with_hint(Hint::advice("give --bits 256 or --bits 384")))
            }
        }
    }

    fn keytype(&self) -> &'static str {
        match self.kind {
            Kind::Ed25519 => "ed25519",
            Kind::Rsa => "rsa",
            Kind::Ecdsa => "ecdsa",
        }
    }

    fn password(&self, context: &Context) -> Result<Option<Password>, Failure> {
        if self.no_password {
            return Ok(None);
        }
        let mut passwords: Passwords = self.passwords.read(context)?;
        let what = format!("a password for the new {}", noun(Some(self.keytype())));
        passwords.choose(&what, &self.path.to_string()).map(Some)
    }
}

/// Reports the key that was made, or with none the one that would be.
fn tell(args: &Args, context: &Context, path: PathBuf, key: Option<&PrivateKey>) -> Outcome {
    let public = public_path(&path);
    let made = if key.is_some() { "Wrote" } else { "Would write" };
    let how = if args.no_password { "not encrypted" } else { "encrypted" };
    let noun = noun(Some(args.keytype()));
    context.output.talk(&format!(
        "{made} the {noun} {} ({how}) and its public half {}.",
        quoted(&path),
        quoted(&public)
    ));
    let id = key.map(|key| key.public_key().id());
    context.output.result(
        || id.as_ref().map(ToString::to_string).unwrap_or_default(),
        json!({
            "keyid": id,
            "keytype": args.keytype(),
            "scheme": key.map(|key| key.public_key().scheme.as_str()),
            "private": path.to_string_lossy(),
            "public": public.to_string_lossy(),
            "encrypted": !args.no_password,
            "dry_run": args.dry_run.dry_run,
        }),
    )?;
    if key.is_some() {
        let word = shell_word(&public.to_string_lossy());
        context.output.talk(&format!("Next: tuf-repo add-key ROLE {word}"));
    }
    Ok(())
}
