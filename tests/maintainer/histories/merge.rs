//! What version control makes of two copies: a file that one side changed is taken from there, of a file that both changed one
//! side is chosen, and `.tuf-history` keeps the lines of both (`merge=union`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::world::contents;

/// Whose file is kept where both sides changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Theirs,
}

const HISTORY: &str = ".tuf-history";

type Files = BTreeMap<String, Vec<u8>>;

/// Reads what is kept in version control: all but what is live.
pub fn tracked(copy: &Path) -> Files {
    let mut files = contents(copy);
    files.retain(|name, _| {
        !name.ends_with('/')
            && !name.starts_with("metadata/")
            && !name.contains(".tuf-tmp")
            && name != ".tuf-digests"
    });
    files
}

/// Merges their files into ours.
pub fn merge(base: &Files, ours: &Path, theirs: &Files, side: Side) {
    let mine = tracked(ours);
    let names: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
    for name in names {
        let (old, one, other) = (base.get(name), mine.get(name), theirs.get(name));
        let merged = match () {
            () if name == HISTORY => Some(union(old, one, other)),
            () if one == other || other == old => one.cloned(),
            () if one == old => other.cloned(),
            () => if side == Side::Ours { one } else { other }.cloned(),
        };
        let place = ours.join(name);
        match merged {
            Some(bytes) if one != Some(&bytes) => {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(place, bytes).unwrap();
            }
            None if one.is_some() => fs::remove_file(place).unwrap(),
            _ => {}
        }
    }
}

/// Keeps the lines of both, but for those that one of them took away.
fn union(base: Option<&Vec<u8>>, ours: Option<&Vec<u8>>, theirs: Option<&Vec<u8>>) -> Vec<u8> {
    let lines = |bytes: Option<&Vec<u8>>| -> BTreeSet<String> {
        let text = bytes.map(|bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let (base, ours, theirs) = (lines(base), lines(ours), lines(theirs));
    let stays = |line: &&String| !base.contains(*line) || (ours.contains(*line) && theirs.contains(*line));
    let all: BTreeSet<&String> = ours.union(&theirs).filter(stays).collect();
    all.into_iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}
