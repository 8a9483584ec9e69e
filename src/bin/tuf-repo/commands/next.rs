//! What to type next, as it can be typed in the same folder: the library's steps in words of this command line.

use std::path::Path;

use tuf::cli::terminal::Interaction;
use tuf::cli::text::shell_word;
use tuf::metadata::RoleName;
use tuf::repository::{KeyToUse, Step, duration};

use crate::context::Context;

/// Returns the commands of steps.
pub fn commands(steps: &[Step], context: &Context) -> Vec<String> {
    commands_in(&context.repo, steps, context)
}

/// Returns the commands of steps in another repository than the context's.
pub fn commands_in(repo: &Path, steps: &[Step], context: &Context) -> Vec<String> {
    steps.iter().map(|step| command(step, &program(repo), context)).collect()
}

/// Returns the name of the program with the repository, where that must be typed: as it was.
pub fn program(repo: &Path) -> String {
    let is_default = match std::env::var_os("TUF_REPO").filter(|repo| !repo.is_empty()) {
        Some(named) => Path::new(&named) == repo,
        None => repo == Path::new("."),
    };
    match is_default {
        true => "tuf-repo".to_owned(),
        false => format!("tuf-repo -r {}", path(repo)),
    }
}

fn command(step: &Step, program: &str, context: &Context) -> String {
    match step {
        Step::Discard(all) => format!("{program} discard{}", roles(all)),
        // who cannot be asked for a password cannot be given a key with one
        Step::MakeKey(key) => match context.interaction {
            Interaction::Allowed => format!("tuf-repo keygen {}", path(key)),
            Interaction::Forbidden => format!("tuf-repo keygen {} --no-password", path(key)),
        },
        Step::AddKey { role, key, delegator } => {
            let by = delegator.iter().map(|by| format!(" --delegator {}", word(by))).collect::<String>();
            format!("{program} add-key {} {}{by}", word(role), path(key))
        }
        Step::Expire { role, lifetime } => {
            format!("{program} expire {} {}", word(role), duration::format(*lifetime))
        }
        Step::Bump(all) => format!("{program} bump{}", roles(all)),
        Step::Write(all) => format!("{program} write{}", keys(all)),
        Step::Refresh(all) => format!("{program} refresh{}", keys(all)),
        Step::Pull => format!("{program} pull"),
        Step::Recover(all) => format!("{program} publish --recover{}", roles(all)),
        Step::Publish => format!("{program} publish"),
    }
}

fn roles(all: &[RoleName]) -> String {
    all.iter().map(|role| format!(" {}", word(role))).collect()
}

fn word(role: &RoleName) -> String {
    shell_word(role.as_str())
}

fn keys(all: &[KeyToUse]) -> String {
    let spelled = |key: &KeyToUse| match key {
        KeyToUse::Policy(reference) => shell_word(reference),
        KeyToUse::File(file) => path(file),
        KeyToUse::Unknown => "KEY".to_owned(),
    };
    all.iter().map(|key| format!(" --key {}", spelled(key))).collect()
}

/// A path that looks like an option is written with `./` before it.
fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    shell_word(&if text.starts_with('-') { format!("./{text}") } else { text.into_owned() })
}
