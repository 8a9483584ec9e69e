//! The ways of `sign` for ceremonies: a draft leaves in a file, is signed elsewhere, and the signatures come back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::{Map, json};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::output::Verbosity;
use tuf::cli::text::{one_line, quoted, shell_word};
use tuf::metadata::{KeyId, RoleName, Signature};
use tuf::repository::{Bundle, Imported, InputError, Repository, RepositoryError, SigningKey, sweep_beside};
use tuf::storage::{Folder, ReadFiles};

use super::common::{DryRun, KeyArgs};
use super::edit::{finish_planned, open_locked};
use crate::context::Context;
use crate::failure::failure;

/// How long a signer waits for others who put their signatures into the same file, which takes milliseconds.
const FOR_OTHER_SIGNERS: Duration = Duration::from_secs(10);
/// The largest file that is read as a bundle, as metadata or as a signature, in bytes.
const LARGEST: u64 = 1 << 28;

/// `sign --export FILE ROLE`.
pub fn export(file: &Path, roles: &[String], dry_run: DryRun, context: &Context) -> Outcome {
    let [name] = roles else {
        return Err(Failure::usage("--export takes exactly one role")
            .with_hint(Hint::command("tuf-repo sign --export FILE ROLE")));
    };
    if file.symlink_metadata().is_ok() {
        return Err(in_the_way(file));
    }
    let mut repository = open_locked(context)?;
    let role = repository.find_role(name).map_err(failure)?;
    let (bundle, plan) = repository.export(&role).map_err(failure)?;
    let bytes = bundle.to_bytes().map_err(|error| failure(error.into()))?;
    let changes = bundle.changes().map_err(|error| failure(error.into()))?;
    if !dry_run.dry_run {
        // the draft first: what is signed elsewhere is then what is here
        repository.save_edit(&plan).map_err(failure)?;
        put_new(file, &bytes)?;
    }
    let done = if dry_run.dry_run { "Dry run, nothing changed: would export" } else { "Exported" };
    let shown = shell_word(&file.to_string_lossy());
    context.output.talk(&format!(
        "{done} {role} v{} to {}. Next, wherever the keys are: tuf-repo sign --bundle {shown} --key KEY",
        bundle.version(),
        quoted(file)
    ));
    let json = json!({
        "dry_run": dry_run.dry_run,
        "role": role,
        "version": bundle.version(),
        "file": file.to_string_lossy(),
        "changes": changes,
    });
    context.output.result(|| changes.iter().map(|change| format!("  {}\n", one_line(change))).collect(), json)
}

/// `sign --bundle FILE --key KEY…`: there is no repository here.
pub fn sign_bundle(file: &Path, keys: &KeyArgs, dry_run: DryRun, context: &Context) -> Outcome {
    if keys.keys.is_empty() {
        return Err(Failure::usage("no key to sign with").with_hint(Hint::again("name one", "--key KEY")));
    }
    let mut bundle = Bundle::from_bytes(&read(file)?).map_err(|error| about(file, error))?;
    // what is going to be signed is shown before anybody types a password
    let changes = bundle.changes().map_err(|error| about(file, error))?;
    show(&bundle, &changes, context).map_err(|error| about(file, error))?;
    let loaded = keys.load(context)?;
    let mut signed = Vec::new();
    for key in &loaded {
        let key = SigningKey { name: &key.name, signer: key.signer.as_ref() };
        signed.extend(bundle.sign(&key).map_err(failure)?);
    }
    if !dry_run.dry_run && signed.is_empty() {
        sweep_beside(file);
    } else if !dry_run.dry_run {
        let wait = context.wait.and_then(|wait| wait.to_std().ok()).unwrap_or(FOR_OTHER_SIGNERS);
        bundle = bundle.add_to_file(file, wait).map_err(failure)?;
    }
    let counts: Vec<String> = bundle
        .thresholds()
        .iter()
        .map(|threshold| {
            let signed = bundle.signed(threshold);
            let mut words = format!("{}: {signed} of {} signatures", threshold.by, threshold.threshold);
            if threshold.threshold.lacking(signed) > 0 {
                words.push_str(&format!(" (missing {})", bundle.missing(threshold).join(", ")));
            }
            words
        })
        .collect();
    let done = match (signed.is_empty(), dry_run.dry_run) {
        (true, _) => "Nothing to do: these keys have signed already.",
        (false, true) => "Dry run, nothing changed: would sign.",
        (false, false) => "Signed.",
    };
    let shown = shell_word(&file.to_string_lossy());
    context
        .output
        .talk(&format!("{done} {}. Next, back home: tuf-repo sign --import {shown}", counts.join(", ")));
    let json = json!({
        "dry_run": dry_run.dry_run,
        "role": bundle.role(),
        "version": bundle.version(),
        "changes": changes,
        "keyids": signed,
    });
    context.output.result(String::new, json)
}

/// How many lines of a payload are shown without `-v`.
const MOST_LINES: usize = 60;

/// Shows what is going to be signed: all that the payload says, then what that changes against the version that came
/// along, which is only the sender's word.
fn show(bundle: &Bundle, changes: &[String], context: &Context) -> Result<(), InputError> {
    let content = bundle.content()?;
    if bundle.names_keys() {
        context.output.talk("The names of keys are those that whoever made the file gave them.");
    }
    let most = if context.output.verbosity() >= Verbosity::Verbose { usize::MAX } else { MOST_LINES };
    context.output.talk(&format!("{} v{} says:", bundle.role(), bundle.version()));
    content.iter().take(most).for_each(|line| context.output.talk(&format!("  {line}")));
    if content.len() > most {
        context.output.talk(&format!("  … and {} more; -v shows them all", content.len() - most));
    }
    if *changes != content {
        context.output.talk("Against the version that came with the file it changes:");
        changes.iter().for_each(|change| context.output.talk(&format!("  {change}")));
    }
    Ok(())
}

/// `sign --import FILE…`.
pub fn import(files: &[PathBuf], dry_run: DryRun, context: &Context) -> Outcome {
    let mut repository = open_locked(context)?;
    let mut imported = Imported::default();
    for file in files {
        let bytes = read(file)?;
        match Bundle::from_bytes(&bytes) {
            Ok(bundle) => repository.import(&bundle, &mut imported).map_err(failure)?,
            Err(error) => import_metadata(file, &bytes, &error, &mut repository, &mut imported)?,
        }
    }
    finish(repository, &imported, dry_run, context)
}

/// `sign ROLE --key-id ID --sig FILE`: a signature that another program made.
pub fn import_raw(keyid: &str, file: &Path, roles: &[String], dry_run: DryRun, context: &Context) -> Outcome {
    let [name] = roles else {
        return Err(Failure::usage("--sig takes exactly one role")
            .with_hint(Hint::command("tuf-repo sign ROLE --key-id ID --sig FILE")));
    };
    let bytes = signature_bytes(&read(file)?);
    let mut repository = open_locked(context)?;
    let role = repository.find_role(name).map_err(failure)?;
    let mut imported = Imported::default();
    let signature = Signature::new(KeyId::new(keyid), &bytes);
    repository.import_signature(&role, signature, &mut imported).map_err(failure)?;
    finish(repository, &imported, dry_run, context)
}

/// Reads a signature as hexadecimal or base64 text, else as the bytes themselves.
fn signature_bytes(bytes: &[u8]) -> Vec<u8> {
    let text: Option<String> = std::str::from_utf8(bytes).ok().map(|text| text.split_whitespace().collect());
    let decoded = text
        .filter(|text| !text.is_empty())
        .and_then(|text| hex::decode(&text).ok().or_else(|| Base64::decode_vec(&text).ok()));
    decoded.unwrap_or_else(|| bytes.to_vec())
}

/// Takes the file of a delegated role that was made elsewhere; the file is named after the role, as clients ask for it.
fn import_metadata(
    file: &Path,
    bytes: &[u8],
    no_bundle: &InputError,
    repository: &mut Repository,
    imported: &mut Imported,
) -> Outcome {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(".json"))
        .unwrap_or_default();
    let bare = name
        .split_once('.')
        .filter(|(version, _)| version.parse::<u64>().is_ok())
        .map_or(name, |(_, bare)| bare);
    let role = RoleName::from_encoded(bare).map(|role| repository.find_role(role.as_str()));
    let Some(Ok(role)) = role else {
        return Err(Failure::usage(format!(
            "{}: {no_bundle}, and it is not named after a role",
            quoted(file)
        ))
        .with_hint(Hint::advice("a delegated role's file is called ROLE.json")));
    };
    repository.import_metadata(&role, bytes, imported).map_err(failure)
}

fn finish(mut repository: Repository, imported: &Imported, dry_run: DryRun, context: &Context) -> Outcome {
    if imported.taken.is_empty() && !imported.refused.is_empty() {
        return Err(Failure::verification(imported.refused.join("; "))
            .with_hint(Hint::explained("start anew", "tuf-repo sign --export FILE ROLE")));
    }
    imported.refused.iter().for_each(|reason| context.output.warn(&format!("not taken: {reason}")));
    let plan = repository.plan_edit().map_err(failure)?;
    let words: Vec<String> = imported
        .taken
        .iter()
        .map(|(role, version, keyid)| format!("{role} v{version} by {}", keyid.short()))
        .collect();
    let what = match words.is_empty() {
        true => "no signature in the files".to_owned(),
        false => format!("took the signatures of {}", words.join(", ")),
    };
    let taken = |(role, version, keyid): &(RoleName, u64, KeyId)| json!({"role": role, "version": version, "keyid": keyid});
    let more = Map::from_iter([
        ("imported".to_owned(), json!(imported.taken.iter().map(taken).collect::<Vec<_>>())),
        ("refused".to_owned(), json!(imported.refused)),
    ]);
    finish_planned(context, repository, &plan, dry_run, &what, more, |repository, plan| {
        repository.save_edit(plan).map_err(failure)
    })?;
    match imported.refused.len() {
        0 => Ok(()),
        refused => Err(Failure::attention(format!(
            "{refused} of the signatures were not taken: {}",
            imported.refused.join("; ")
        ))),
    }
}

fn in_the_way(file: &Path) -> Failure {
    Failure::usage(format!("{} is there already", quoted(file)))
        .with_hint(Hint::advice("choose another FILE"))
}

fn about(file: &Path, error: InputError) -> Failure {
    let Failure { kind, message, hint } = failure(RepositoryError::from(error));
    Failure { kind, message: format!("{}: {message}", quoted(file)), hint }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let (folder, name) = split(file)?;
    match folder.read(name, LARGEST) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Failure::usage(format!("{}: no such file", quoted(file)))),
        Err(error) => Err(Failure::cannot("read", file, &error)),
    }
}

/// Puts a new file: a file that has its name stays.
fn put_new(file: &Path, bytes: &[u8]) -> Outcome {
    let (folder, name) = split(file)?;
    match folder.put_new(name, bytes) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(in_the_way(file)),
        put => put.map_err(|error| Failure::cannot("write", file, &error)),
    }
}

fn split(file: &Path) -> Result<(Folder, &str), Failure> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().and_then(|name| name.to_str());
    name.map(|name| (Folder::new(parent), name))
        .ok_or_else(|| Failure::usage(format!("{} is not a file's name", quoted(file))))
}
