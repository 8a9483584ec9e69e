//! What the library says went wrong, in the words, hints and exit codes of the command line.

use tuf::cli::failure::{Failure, FailureKind};
use tuf::cli::text::shell_word;
use tuf::metadata::ParseError;
use tuf::repository::{InputError, Lacking, Refusal, RepositoryError, draft_of};
use tuf::trusted_set::TrustError;

/// Turns a failure of the library into one of a command.
pub fn failure(error: RepositoryError) -> Failure {
    let kind = match &error {
        RepositoryError::Input(_) => FailureKind::Usage,
        RepositoryError::Io { .. } => FailureKind::Io,
        RepositoryError::MayNotSign { .. } | RepositoryError::Signing { .. } => FailureKind::Key,
        RepositoryError::Incomplete(_) => FailureKind::SignaturesMissing,
        RepositoryError::NothingWritten { .. }
        | RepositoryError::InTheWay { .. }
        | RepositoryError::Forked { .. } => FailureKind::Attention,
        RepositoryError::Refused { .. } => FailureKind::Verification,
        RepositoryError::Locked { .. } | RepositoryError::Overtaken { .. } => FailureKind::Locked,
    };
    Failure { kind, message: error.to_string(), hint: hint(&error) }
}

/// Turns a failure as [`failure`] does. Where live is not of this copy, the hint says how it is taken over: by a program, from a
/// place if that must be named.
pub fn failure_over(error: RepositoryError, program: &str, from: Option<&str>) -> Failure {
    let pull = match &error {
        RepositoryError::Refused { reason, .. } => is_pulled(reason),
        _ => false,
    };
    let failure = failure(error);
    let from = from.map(|from| format!(" --from {}", shell_word(from))).unwrap_or_default();
    if pull { failure.with_hint(format!("{program} pull{from} takes over what is live")) } else { failure }
}

/// Tells whether `pull` is the way on.
fn is_pulled(reason: &Refusal) -> bool {
    matches!(
        reason,
        Refusal::NotOurs { .. } | Refusal::Disputed | Refusal::Behind { .. } | Refusal::OtherBytes
    )
}

fn hint(error: &RepositoryError) -> Option<String> {
    match error {
        RepositoryError::Input(error) => input_hint(error),
        RepositoryError::Io { .. } | RepositoryError::Signing { .. } => None,
        RepositoryError::MayNotSign { role: Some(role), may, .. } => Some(match may.as_slice() {
            [] => format!("tuf-repo add-key {} KEY.pub", shell_word(role.as_str())),
            ids => {
                let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
                format!("the keys that may: {}; or tuf-repo add-key {role} KEY.pub", ids.join(", "))
            }
        }),
        RepositoryError::MayNotSign { role: None, .. } => Some("tuf-repo add-key ROLE KEY.pub".to_owned()),
        RepositoryError::Incomplete(roles) => Some(incomplete_hint(roles)),
        // the command knows where live is
        RepositoryError::InTheWay { .. } | RepositoryError::Forked { .. } => None,
        RepositoryError::NothingWritten { .. } => Some("tuf-repo write --key KEY".to_owned()),
        RepositoryError::Refused { file, reason: Refusal::Unreadable(_) } if draft_of(file).is_some() => {
            draft_of(file).map(|role| format!("tuf-repo discard {}", shell_word(role.as_str())))
        }
        RepositoryError::Refused { file, reason: Refusal::StaleDraft { .. } } => draft_of(file)
            .map(|role| format!("tuf-repo discard {}, then make the edit again", shell_word(role.as_str()))),
        RepositoryError::Refused { reason, .. } => refusal_hint(reason),
        RepositoryError::Locked { .. } => Some("--wait 30s waits for it".to_owned()),
        RepositoryError::Overtaken { .. } => {
            Some("tuf-repo publish once more compares with what is live now".to_owned())
        }
    }
}

fn incomplete_hint(roles: &[Lacking]) -> String {
    match roles.iter().find(|lacking| lacking.threshold.lacking(lacking.keys) > 0) {
        Some(lacking) => format!("tuf-repo add-key {} KEY.pub", shell_word(lacking.role.as_str())),
        None => {
            let together = Lacking::together(roles);
            let first = |some: &&[Lacking]| some.first().map(|lacking| lacking.role.to_string());
            let mut names: Vec<String> = together.iter().take(20).filter_map(first).collect();
            if together.len() > names.len() {
                names.push("…".to_owned());
            }
            format!("tuf-repo sign --key KEY, with a key of {}", names.join(", "))
        }
    }
}

fn refusal_hint(reason: &Refusal) -> Option<String> {
    match reason {
        Refusal::TargetChanged(_) => Some("tuf-repo add-targets --replace PATH".to_owned()),
        reason if is_pulled(reason) => Some("tuf-repo pull takes over what is live".to_owned()),
        Refusal::Unannounced { .. } => Some(
            "tuf-repo publish from the copy that wrote it mends the place, then tuf-repo pull here".to_owned(),
        ),
        Refusal::CutShort(_) => Some("tuf-repo write --key KEY, once more, finishes it".to_owned()),
        Refusal::OtherHistory => Some(
            "put .tuf-history back as it was before that merge, or take the lines of the other repository out"
                .to_owned(),
        ),
        Refusal::LostSnapshot { .. } => Some(
            "tuf-repo publish from the copy that wrote it mends the place; where no copy has it, tuf-repo publish --replace-damaged here"
                .to_owned(),
        ),
        Refusal::Taken => Some(
            "tuf-repo publish from the copy that has begun it, then tuf-repo pull here; if that copy is lost, tuf-repo bump ROLE, write and publish"
                .to_owned(),
        ),
        Refusal::OtherRepository => {
            Some("tuf-repo publish --to DEST, another folder or bucket".to_owned())
        }
        Refusal::NoRoot(_) => {
            Some("tuf-repo publish --replace-damaged, where this repository was published there".to_owned())
        }
        Refusal::NotRecovered(_) => {
            Some("tuf-repo rotate-key ROLE --old KEY --new KEY, write, then publish --recover ROLE".to_owned())
        }
        Refusal::Untrusted(TrustError::Invalid { reason: ParseError::SpecVersion { found }, .. })
            if !found.starts_with("1.") =>
        {
            let advice = "no client of today reads that: tuf-repo init makes a new repository, tuf-repo key convert takes its keys over, tuf-repo add-targets lists its targets anew";
            Some(advice.to_owned())
        }
        Refusal::Untrusted(TrustError::Expired { role, .. }) => {
            Some(format!("tuf-repo expire {} 90d, then sign and write", shell_word(role.as_str())))
        }
        Refusal::Finding(message) if message.contains("expired") => {
            Some("tuf-repo bump ROLE, then write; or publish --allow-expired".to_owned())
        }
        Refusal::Finding(message) if message.contains("which no delegation trusts it for") => Some(
            "tuf-repo remove-targets PATH --role ROLE, or tuf-repo delegate with wider --paths".to_owned(),
        ),
        Refusal::Finding(message) if message.contains("names that begin with .tuf- are kept") => {
            Some("tuf-repo remove-targets PATH --role ROLE".to_owned())
        }
        _ => Some("tuf-repo verify lists all that is wrong".to_owned()),
    }
}

fn input_hint(error: &InputError) -> Option<String> {
    let hint = match error {
        InputError::NotARepository(_) => "tuf-repo init, or name the repository with --repo DIR",
        InputError::AlreadyThere(_) => "tuf-repo status looks at what is there",
        InputError::UnknownRole(_) => "tuf-repo status lists the roles",
        InputError::AmbiguousDelegator { .. } => "--delegator ROLE (of revoke: --from ROLE)",
        InputError::NotDelegatedBy { .. } | InputError::Cycle { .. } => "tuf-repo diff, tuf-repo status",
        InputError::NoSuchKey { .. } | InputError::AmbiguousKey { .. } => {
            "tuf-repo status -v lists the keys in full"
        }
        InputError::DeadEnd { role, .. } => {
            return Some(format!(
                "tuf-repo add-key {} KEY.pub first; or --force, where keys are to follow",
                shell_word(role.as_str())
            ));
        }
        InputError::Destination { .. } => {
            "another folder for --to, or none for the repository's own metadata/"
        }
        InputError::ReservedPath { role: None, .. } => "another name, or --prefix P",
        InputError::ReservedPath { role: Some(_), .. } => {
            "whoever maintains that role lists the target under another name"
        }
        InputError::ArchiveInside { .. } => "--archive with a folder outside the repository",
        InputError::LastVersion { .. } => "ask for a lower version",
        InputError::Threshold { number: 0, .. } => "a threshold of 1 is the least",
        InputError::Threshold { .. } => "as many as there are keys, or fewer",
        InputError::PastExpiry { .. } => "a date to come, or a duration such as 90d",
        InputError::ShortExpiry { months: true, .. } => {
            "6mo for six months; --force, where minutes are meant"
        }
        InputError::ShortExpiry { .. } => "a longer duration such as 90d; --force, where it is meant",
        InputError::FarExpiry(_) => "a shorter duration in tuf-repo.toml",
        InputError::VersionNotHigher { role, written, .. } => {
            return Some(format!("tuf-repo bump {} --version {}", shell_word(role.as_str()), written + 1));
        }
        InputError::RootVersion { .. } => "tuf-repo bump root",
        InputError::DelegationThere { name, .. } => {
            return Some(format!("tuf-repo revoke {0}, or add-key {0} KEY.pub", shell_word(name.as_str())));
        }
        InputError::OutsideTargets { .. } => "--base DIR copies files in, named by their paths below DIR",
        InputError::TargetThere { .. } => "move it away, then run the same command again",
        InputError::Changed { .. } | InputError::InTheWay { .. } => "--replace takes the new bytes",
        InputError::NotTrusted { .. } => "another --role, or tuf-repo delegate with a wider --paths",
        InputError::NoMatch(_) => "tuf-repo list",
        InputError::NoFile { reason: "is a symbolic link", .. } => "--follow-links",
        InputError::NoFile { reason: "no repository has been published there", .. } => {
            "tuf-repo publish --to DEST"
        }
        InputError::NoFile { reason: "no such file", .. } => {
            "paths are relative to the current folder, such as targets/NAME"
        }
        InputError::NoFile { .. } => "another name for a regular file, or leave it out",
        InputError::Policy { .. } => "correct the line in tuf-repo.toml",
        InputError::NotRecoverable { .. } => "--recover targets, snapshot or timestamp",
        InputError::History { .. } => "keep the lines of both sides of the merge, and no others",
        InputError::ListsNoTargets { .. } => {
            "--role targets, or a delegated role (tuf-repo status lists them)"
        }
        InputError::VersionTooHigh { role, .. } => {
            return Some(format!("tuf-repo bump {}", shell_word(role.as_str())));
        }
        InputError::Manifest { .. } => {
            "{\"path\": …, \"length\": …, \"hashes\": {\"sha256\": …}} on each line"
        }
        InputError::HashBin { bins, .. } => {
            return Some(format!("name all of them: {}", shell_word(bins)));
        }
        InputError::Delegation(_) => "tuf-repo delegate --help",
        InputError::Bundle { .. } => "tuf-repo sign --export FILE ROLE makes one",
        InputError::BundleReplaced { .. } => "look at what is there now, and sign it once more",
        InputError::NothingToSign { role } => {
            return Some(format!("tuf-repo bump {}", shell_word(role.as_str())));
        }
        InputError::NotDelegated { .. } => "tuf-repo status lists the roles",
        InputError::RoleName(_) => "a name such as django or team/django",
        InputError::TargetPath(_) => "--prefix P or --base DIR names it by a plain relative path",
        InputError::Clash { .. } => "another --prefix, or tuf-repo list to see what is listed",
        InputError::Canonical { .. } => "integers, strings, lists and objects only",
    };
    Some(hint.to_owned())
}
