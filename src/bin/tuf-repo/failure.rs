//! What the library says went wrong, in the words, hints and exit codes of the command line.

use std::path::Path;

use tuf::cli::failure::{Failure, FailureKind};
use tuf::cli::hint::Hint;
use tuf::cli::text::shell_word;
use tuf::metadata::{KeyId, ParseError, RoleName};
use tuf::repository::{InputError, Lacking, Refusal, RepositoryError, TakenAway, Unfit, draft_of};
use tuf::trusted_set::TrustError;

use crate::commands::next::program;

/// Why `publish --recover` is the way on.
pub const GIVES_WAY: &str = "a colleague's release is kept by making the new root in the copy that published last; what a \
     thief published gives way once the root here is written";

/// What leads on where others have published too, with keys that stay.
const OTHERS_WORK: &str = "others have published too, with keys that stay: make the new root in the copy that published last, \
     and publish with --recover there";

/// What leads on besides, where the new root is no more than a draft.
const GIVE_ROOT_UP: &str =
    "; where no key was stolen (SECURITY.md), give the draft of the root up, pull, then make it again";

/// The most roles that a hint names.
const MOST_NAMED: usize = 20;

/// Turns a failure of the library into one of a command.
pub fn failure(error: RepositoryError) -> Failure {
    let kind = match &error {
        RepositoryError::Input(_) => FailureKind::Usage,
        RepositoryError::Io { .. } => FailureKind::Io,
        RepositoryError::MayNotSign { .. } | RepositoryError::Signing { .. } => FailureKind::Key,
        RepositoryError::Incomplete(_) => FailureKind::SignaturesMissing,
        RepositoryError::NothingWritten { .. }
        | RepositoryError::InTheWay { .. }
        | RepositoryError::UnusableDrafts(_)
        | RepositoryError::Forked { .. } => FailureKind::Attention,
        RepositoryError::Refused { .. } => FailureKind::Verification,
        RepositoryError::Locked { .. } | RepositoryError::Overtaken { .. } => FailureKind::Locked,
    };
    Failure { kind, message: error.to_string(), hint: hint(&error) }
}

/// Names the repository in a command that is proposed, where it was named in the one that failed.
pub fn name_repository(hint: Hint, repo: &Path) -> Hint {
    let is_elsewhere = |rest: &str| {
        let first = rest.split(' ').next().unwrap_or_default();
        ["-r", "init", "keygen", "key"].contains(&first)
    };
    hint.map_command(|command| match command.strip_prefix("tuf-repo ") {
        Some(rest) if !is_elsewhere(rest) => format!("{} {rest}", program(repo)),
        _ => command,
    })
}

/// Turns a failure as [`failure`] does. Where live is not of this copy, the hint says how it is taken over, with the options of a
/// place if that must be named; `recover` makes the hint where a new root takes the roles from whoever has published them.
pub fn failure_over(
    error: RepositoryError,
    from: Option<&str>,
    recover: impl FnOnce(&str) -> Hint,
) -> Failure {
    let hint = match &error {
        RepositoryError::Refused { reason, .. } => match (taken_away(reason), is_pulled(reason)) {
            (Some(taken), _) => Some(taken_away_hint(taken, recover)),
            (None, true) => Some(pull_hint(from)),
            (None, false) => None,
        },
        _ => None,
    };
    let failure = failure(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Returns what a new root here takes away of what is live, where a refusal has found that.
fn taken_away(reason: &Refusal) -> Option<&TakenAway> {
    match reason {
        Refusal::GivesWay { taken, .. } | Refusal::TakenAway { taken, .. } => Some(taken),
        _ => None,
    }
}

fn pull_hint(from: Option<&str>) -> Hint {
    let from = from.unwrap_or_default();
    Hint::explained(
        "where no key was stolen (SECURITY.md), take over what is live",
        format!("tuf-repo pull{from}"),
    )
}

/// Says what leads on where a root takes away all keys that signed what is live.
fn taken_away_hint(taken: &TakenAway, recover: impl FnOnce(&str) -> Hint) -> Hint {
    let roles: Vec<String> = taken.roles.iter().map(|role| shell_word(role.as_str())).collect();
    match (taken.others, taken.is_drafted) {
        (false, _) => recover(&roles.join(" ")),
        (true, false) => Hint::advice(OTHERS_WORK),
        (true, true) => Hint::explained(format!("{OTHERS_WORK}{GIVE_ROOT_UP}"), "tuf-repo discard root"),
    }
}

/// Says how what is live gives way where a root takes away all keys that signed it, with the options of a place if that must be
/// named.
pub fn recover_hint(roles: &str, to: Option<&str>) -> Hint {
    let to = to.unwrap_or_default();
    Hint::explained(GIVES_WAY, format!("tuf-repo publish{to} --recover {roles}"))
}

/// Tells whether `pull` is the way on.
fn is_pulled(reason: &Refusal) -> bool {
    matches!(
        reason,
        Refusal::NotOurs { .. } | Refusal::Disputed | Refusal::Behind { .. } | Refusal::OtherBytes
    )
}

fn hint(error: &RepositoryError) -> Option<Hint> {
    Some(match error {
        RepositoryError::Input(error) => input_hint(error),
        RepositoryError::Io { .. } | RepositoryError::Signing { .. } => return None,
        RepositoryError::MayNotSign { role, may, .. } => may_not_sign_hint(role.as_ref(), may),
        RepositoryError::Incomplete(roles) => incomplete_hint(roles),
        // the command knows what it was asked
        RepositoryError::InTheWay { .. } => return None,
        RepositoryError::UnusableDrafts(drafts) => {
            let roles: Vec<String> = drafts.keys().map(|role| shell_word(role.as_str())).collect();
            Hint::explained(
                "give it up, then make the edit again",
                format!("tuf-repo discard {}", roles.join(" ")),
            )
        }
        RepositoryError::Forked { .. } => Hint::advice(
            "ask the people who signed the two roots which one is right; no command here takes one for the other",
        ),
        RepositoryError::NothingWritten { .. } => Hint::command("tuf-repo write --key KEY"),
        RepositoryError::Refused { file, reason } => match (draft_of(file), reason) {
            (Some(role), Refusal::Unreadable(_) | Refusal::UnusableDraft(_)) => {
                Hint::command(format!("tuf-repo discard {}", shell_word(role.as_str())))
            }
            (Some(role), Refusal::StaleDraft { .. }) => Hint::explained(
                "give the draft up, then make the edit again",
                format!("tuf-repo discard {}", shell_word(role.as_str())),
            ),
            (Some(role), Refusal::LostBase) => Hint::explained(
                "put the written file back from version control, or give the draft up",
                format!("tuf-repo discard {}", shell_word(role.as_str())),
            ),
            _ => refusal_hint(reason),
        },
        RepositoryError::Locked { .. } => Hint::again("wait for the other process", "--wait 30s"),
        RepositoryError::Overtaken { .. } => {
            Hint::explained("compare with what is live now", "tuf-repo publish")
        }
    })
}

fn may_not_sign_hint(role: Option<&RoleName>, may: &[KeyId]) -> Hint {
    let role = role.map_or("ROLE".to_owned(), |role| shell_word(role.as_str()));
    let add = format!("tuf-repo add-key {role} KEY.pub");
    let ids: Vec<&str> = may.iter().map(|id| id.as_str()).collect();
    match ids.is_empty() {
        true => Hint::command(add),
        false => {
            Hint::explained(format!("the keys that may sign: {}; to trust this one too", ids.join(", ")), add)
        }
    }
}

fn incomplete_hint(roles: &[Lacking]) -> Hint {
    if let Some(lacking) = roles.iter().find(|lacking| lacking.threshold.lacking(lacking.keys) > 0) {
        return Hint::command(format!("tuf-repo add-key {} KEY.pub", shell_word(lacking.role.as_str())));
    }
    let together = Lacking::together(roles);
    let first = |some: &&[Lacking]| some.first().map(|lacking| lacking.role.to_string());
    let mut names: Vec<String> = together.iter().take(MOST_NAMED).filter_map(first).collect();
    if together.len() > names.len() {
        names.push("…".to_owned());
    }
    Hint::explained(format!("with a key of {}", names.join(", ")), "tuf-repo sign --key KEY")
}

fn refusal_hint(reason: &Refusal) -> Hint {
    match reason {
        Refusal::TargetChanged(_) => {
            Hint::explained("list the bytes that are there now", "tuf-repo add-targets --replace PATH")
        }
        reason if is_pulled(reason) => pull_hint(None),
        Refusal::GivesWay { taken, .. } | Refusal::TakenAway { taken, .. } => {
            taken_away_hint(taken, |roles| recover_hint(roles, None))
        }
        Refusal::Unannounced { .. } => Hint::explained(
            "let the copy that wrote it publish once more, which mends the place; then here",
            "tuf-repo pull",
        ),
        Refusal::CutShort(_) => Hint::explained("finish it", "tuf-repo write --key KEY"),
        Refusal::OtherHistory => Hint::advice(
            "put .tuf-history back as it was before that merge, or take the lines of the other repository out",
        ),
        Refusal::LostSnapshot { .. } => Hint::again(
            "let the copy that wrote it publish once more, which mends the place; where no copy has it, here",
            "--replace-damaged",
        ),
        Refusal::Taken => Hint::explained(
            "let the copy that has begun it publish once more, then pull here; where that copy is lost, take the next version, write and publish",
            "tuf-repo bump ROLE",
        ),
        Refusal::OtherWorkshop => Hint::advice("name another folder or bucket with --to"),
        Refusal::OtherRepository => {
            Hint::explained("publish to another folder or bucket", "tuf-repo publish --to DEST")
        }
        Refusal::LedBack { .. } => Hint::again(
            "where no key was stolen (SECURITY.md), keep this copy's work aside and take over what is live",
            "--set-aside",
        ),
        Refusal::Unreached { .. } => Hint::advice(
            "let the copy that wrote it publish once more, which mends the place, then pull here; to a place of another repository publish nothing; where nobody has written it, delete that file there",
        ),
        Refusal::NoRoot(_) => {
            Hint::again("where you know that this repository was published there", "--replace-damaged")
        }
        Refusal::NotRecovered(_) => Hint::explained(
            "first let a new root take away the key, and write it",
            "tuf-repo rotate-key ROLE --old KEY --new KEY",
        ),
        Refusal::Untrusted(TrustError::Invalid { reason: ParseError::SpecVersion { found }, .. })
            if !found.starts_with("1.") =>
        {
            Hint::explained(
                "no client of today reads that; a new repository takes the keys over by key convert and the targets by add-targets",
                "tuf-repo init NEW",
            )
        }
        Refusal::Untrusted(TrustError::Expired { role, .. }) => Hint::explained(
            "let it be valid for longer, then sign and write",
            format!("tuf-repo expire {} 90d", shell_word(role.as_str())),
        ),
        Refusal::Finding(message) if message.contains("expired") => Hint::explained(
            "sign it again, then write; or publish with --allow-expired",
            "tuf-repo bump ROLE",
        ),
        Refusal::Finding(message) if message.contains("which no delegation trusts it for") => {
            Hint::explained(
                "take the target off the list, or trust the role for it by a new delegation with wider --paths",
                "tuf-repo remove-targets PATH --role ROLE",
            )
        }
        Refusal::Finding(message) if message.contains("which cannot be a target") => {
            Hint::command("tuf-repo remove-targets PATH --role ROLE")
        }
        _ => Hint::explained("list all that is wrong", "tuf-repo verify"),
    }
}

fn input_hint(error: &InputError) -> Hint {
    let role_word = |role: &RoleName| shell_word(role.as_str());
    match error {
        InputError::NotARepository(_) => {
            Hint::explained("name the repository with --repo DIR, or make one", "tuf-repo init")
        }
        InputError::AlreadyThere(_) => Hint::explained("look at what is there", "tuf-repo status"),
        InputError::UnknownRole(_) | InputError::NotDelegated { .. } => {
            Hint::explained("see which roles there are", "tuf-repo status")
        }
        InputError::AmbiguousDelegator { .. } => {
            Hint::advice("name it with --delegator ROLE; for revoke with --from ROLE")
        }
        InputError::NotDelegatedBy { .. } | InputError::Cycle { .. } => {
            Hint::explained("see who delegates to whom", "tuf-repo graph")
        }
        InputError::NoSuchKey { .. } | InputError::AmbiguousKey { .. } => {
            Hint::explained("see the keys in full", "tuf-repo status -v")
        }
        InputError::DeadEnd { role, .. } => Hint::explained(
            "where the missing keys follow later, add --force; else trust another key first",
            format!("tuf-repo add-key {} KEY.pub", role_word(role)),
        ),
        InputError::Destination { .. } => {
            Hint::advice("name another folder with --to, or none for the repository's own metadata/")
        }
        InputError::Unfit { role: None, .. } => Hint::advice("choose another name, or add --prefix P"),
        InputError::Unfit { role: Some(_), why: Unfit::Digest(_), .. } => {
            Hint::advice("whoever maintains that role must list the target with its digest")
        }
        InputError::Unfit { role: Some(_), .. } => {
            Hint::advice("whoever maintains that role must list the target under another name")
        }
        InputError::ArchiveInside { .. } => {
            Hint::advice("name a folder outside the repository with --archive")
        }
        InputError::LastVersion { .. } => Hint::advice("ask for a lower version"),
        InputError::Threshold { number: 0, .. } => Hint::advice("a threshold of 1 is the least"),
        InputError::Threshold { .. } => Hint::advice("ask for as many as there are keys, or fewer"),
        InputError::PastExpiry { .. } => Hint::advice("give a date to come, or a duration such as 90d"),
        InputError::ShortExpiry { months: true, .. } => {
            Hint::again("write 6mo for six months; where minutes are meant", "--force")
        }
        InputError::ShortExpiry { .. } => {
            Hint::again("give a longer duration such as 90d; where it is meant", "--force")
        }
        InputError::FarExpiry(_) => Hint::advice("set a shorter duration in tuf-repo.toml"),
        InputError::VersionNotHigher { role, written, .. } => {
            Hint::command(format!("tuf-repo bump {} --version {}", role_word(role), written + 1))
        }
        InputError::RootVersion { .. } => Hint::command("tuf-repo bump root"),
        InputError::DelegationThere { name, .. } => Hint::explained(
            "trust one key more; or revoke it first and delegate anew",
            format!("tuf-repo add-key {} KEY.pub", role_word(name)),
        ),
        InputError::LinkOutside { .. } => Hint::advice(
            "copy the files in without the link, or name the folder that it leads to with --base",
        ),
        InputError::OutsideTargets { .. } => {
            Hint::again("copy files in, named by their paths below DIR", "--base DIR")
        }
        InputError::LeadsOutside { .. } => {
            Hint::advice("put a folder in the place of the link, then run the same command again")
        }
        InputError::TargetThere { .. } => Hint::advice("move it away, then run the same command again"),
        InputError::NotOurFile { place } if place.is_dir() => {
            Hint::advice("move it away, then run the same command again")
        }
        InputError::NotOurFile { .. } => Hint::again(
            "move it away, or, where nobody needs that file, let it be replaced",
            "--replace-damaged",
        ),
        InputError::Changed { .. } | InputError::InTheWay { .. } => {
            Hint::again("take the new bytes", "--replace")
        }
        InputError::NotTrusted { .. } => Hint::advice("name another --role, or delegate with wider --paths"),
        InputError::NoMatch(_) => Hint::explained("see what is listed", "tuf-repo list"),
        InputError::NoFile { reason: "is a symbolic link", .. } => {
            Hint::again("list what links lead to", "--follow-links")
        }
        InputError::NoFile { reason: "no repository has been published there", .. } => {
            Hint::command("tuf-repo publish --to DEST")
        }
        InputError::NoFile { reason: "no such file in what is collected", .. } => {
            Hint::advice("name targets/NAME, metadata/NAME or metadata.staged/NAME")
        }
        InputError::NoFile { reason: "no such file", .. } => {
            Hint::advice("paths are relative to the current folder, such as targets/NAME")
        }
        InputError::NoFile { .. } => Hint::advice("name a regular file, or leave it out"),
        InputError::Policy { .. } => Hint::advice("correct the line in tuf-repo.toml"),
        InputError::NotRecoverable { .. } => {
            Hint::advice("name targets, snapshot or timestamp with --recover")
        }
        InputError::History { .. } => {
            Hint::advice("keep the lines of both sides of the merge, and no others")
        }
        InputError::ListsNoTargets { .. } => Hint::explained(
            "name a role that lists targets with --role: targets, or a delegated one",
            "tuf-repo status",
        ),
        InputError::VersionTooHigh { role, .. } => {
            Hint::command(format!("tuf-repo bump {}", role_word(role)))
        }
        InputError::Manifest { .. } => Hint::advice(
            "each line is an object such as {\"path\": …, \"length\": …, \"hashes\": {\"sha256\": …}}",
        ),
        InputError::HashBin { bins, .. } => Hint::advice(format!("name all of them: {}", shell_word(bins))),
        InputError::Delegation(_) => Hint::command("tuf-repo delegate --help"),
        InputError::Bundle { .. } => Hint::explained("make a new one", "tuf-repo sign --export FILE ROLE"),
        InputError::BundleReplaced { .. } => Hint::advice("look at what is there now, and sign it once more"),
        InputError::NothingToSign { role } => Hint::command(format!("tuf-repo bump {}", role_word(role))),
        InputError::RoleName(_) | InputError::AlikeRole { .. } => {
            Hint::advice("choose a name such as django or team/django")
        }
        InputError::TargetPath(_) => {
            Hint::advice("--prefix P or --base DIR names it by a plain relative path")
        }
        InputError::Clash { .. } => {
            Hint::explained("add another --prefix; see what is listed", "tuf-repo list")
        }
        InputError::Canonical { .. } => Hint::advice("integers, strings, lists and objects only"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use clap::CommandFactory;

    use crate::args::Cli;

    /// What a bundle calls itself in its file: it begins like a command and is none.
    const BUNDLE_MARK: &str = "tuf-repo signing bundle";

    /// Returns the source of the library and both programs, without tests and comments.
    fn sources() -> Vec<(PathBuf, String)> {
        let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut sources = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_code = path.extension().is_some_and(|end| end == "rs");
                if path.is_dir() {
                    folders.push(path);
                } else if is_code && !path.to_string_lossy().ends_with("_tests.rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                    sources.push((path, code.collect::<Vec<_>>().join("\n")));
                }
            }
        }
        sources
    }

    /// Returns the string literals of code. Byte strings are the beginnings of files, which nobody types.
    fn literals(code: &str) -> Vec<String> {
        let (mut found, mut rest) = (Vec::new(), code);
        while let Some((before, after)) = rest.split_once('"') {
            let (mut text, mut letters) = (String::new(), after.char_indices());
            let mut end = after.len();
            while let Some((at, letter)) = letters.next() {
                match letter {
                    '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    letter => text.push(letter),
                }
            }
            if !before.ends_with('b') {
                found.push(text);
            }
            rest = after.get(end..).unwrap_or_default();
        }
        found
    }

    /// Fills the places of a format in, those that stick to the word before them with `attached`.
    fn filled(format: &str, attached: &str) -> String {
        let mut text = String::new();
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or_default();
            match name {
                "program" => text.push_str("tuf-repo"),
                _ if before.ends_with(' ') => text.push('7'),
                _ => text.push_str(attached),
            }
            rest = after;
        }
        text + rest
    }

    fn is_typed(command: &str) -> bool {
        // of the words to fill in only the number must be one
        let words = command.split_whitespace().map(|word| if word == "N" { "7" } else { word });
        match Cli::command().try_get_matches_from(words) {
            Ok(_) => true,
            Err(error) => error.kind() == clap::error::ErrorKind::DisplayHelp,
        }
    }

    #[test]
    fn each_command_that_a_hint_or_a_next_step_proposes_is_one_that_can_be_typed() {
        let mut commands = 0;
        for (path, code) in sources() {
            for literal in literals(&code).into_iter().filter(|literal| literal != BUNDLE_MARK) {
                let command = ["tuf-repo ", "{program} "].iter().any(|program| {
                    literal
                        .strip_prefix(program)
                        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('{') && rest != "-r {}")
                });
                if command {
                    commands += 1;
                    let typed = ["", " 7"].iter().any(|attached| is_typed(&filled(&literal, attached)));
                    assert!(typed, "{}: {literal:?}", path.display());
                } else {
                    // prose has no command in it: nobody would know where that ends
                    let is_prose = literal.contains("tuf-repo ") && !literal.contains("tuf-repo.toml");
                    let in_hint = code.contains(&format!("Hint::advice(\"{literal}"));
                    assert!(!(is_prose && in_hint), "{}: {literal:?}", path.display());
                }
            }
        }
        assert!(commands > 40, "{commands}");
    }
}
