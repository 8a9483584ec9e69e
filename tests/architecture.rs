//! Holds the rule of who may use whom, by reading the sources. docs/ARCHITECTURE.md explains it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the library with what each may use besides itself. A module uses what stands before it, with these
/// exceptions: storage knows no TUF, and the maintainer's side, the consumer's and the signers do not know each other.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("canonical", &[]),
    ("metadata", &["canonical"]),
    ("crypto", &["canonical", "metadata"]),
    ("verify", &["canonical", "metadata", "crypto"]),
    ("trusted_set", &["canonical", "metadata", "crypto", "verify"]),
    ("signers", &["canonical", "metadata", "crypto"]),
    ("tls", &[]),
    ("storage", &["tls"]),
    ("repository", &["canonical", "metadata", "crypto", "verify", "trusted_set", "storage"]),
    ("client", &["canonical", "metadata", "crypto", "verify", "trusted_set", "tls", "storage"]),
    (
        "cli",
        &[
            "canonical",
            "metadata",
            "crypto",
            "verify",
            "trusted_set",
            "signers",
            "storage",
            "repository",
            "client",
        ],
    ),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns every source file below a folder, relative to `src`, with its code: comments left out.
fn files(below: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![source().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                files.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    files.sort();
    files
}

/// Returns the names that follow a prefix such as `crate::` in code; of a group in braces, each.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_$:".contains(c)) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let paths: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        let name = |path: &&str| {
            path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        names.extend(paths.iter().map(name).filter(|name| !name.is_empty()));
    }
    names
}

/// Returns the module of the library that a file belongs to; none for the crate's own file.
fn module(file: &str) -> Option<&str> {
    let name = file.split('/').next().unwrap();
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (name != "lib").then_some(name)
}

fn library() -> Vec<(String, String)> {
    files("").into_iter().filter(|(name, _)| !name.starts_with("bin/")).collect()
}

#[test]
fn modules_use_only_those_below_them() {
    let modules: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    let mut broken = Vec::new();
    for (file, code) in library() {
        let Some(own) = module(&file) else { continue };
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(module, _)| *module == own)
            .unwrap_or_else(|| panic!("src/{file}: add the module '{own}' to the rule"));
        let mut used = names_after(&code, "crate::");
        // from the file of a module itself, `super` is the crate
        if !file.contains('/') || file.ends_with("/mod.rs") {
            used.extend(names_after(&code, "super::"));
        }
        for name in used.iter().filter(|name| modules.contains(name.as_str())) {
            if name != own && !allowed.contains(&name.as_str()) {
                broken.push(format!("src/{file}: '{own}' may not use '{name}'"));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// Files of a program that use the other side all the same.
const BOTH_SIDES: [&str; 1] = [
    // a repository at a URL is taken over: the maintainer's side asks for bytes, the consumer's fetches them
    "bin/tuf-repo/commands/init.rs",
];

#[test]
fn each_program_knows_its_own_side_only() {
    for (program, other) in [("bin/tuf-repo", "client"), ("bin/tuf-fetch", "repository")] {
        for (file, code) in files(program) {
            let used = names_after(&code, "tuf::").contains(other);
            assert_eq!(used, BOTH_SIDES.contains(&file.as_str()), "src/{file} and tuf::{other}");
        }
    }
}

#[test]
fn only_the_command_line_side_prints() {
    for (file, code) in library().iter().filter(|(file, _)| !file.starts_with("cli/")) {
        for call in ["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout", "io::stderr"] {
            assert!(!code.contains(call), "src/{file} has {call}");
        }
    }
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    let readers: Vec<String> = files("")
        .into_iter()
        .filter(|(_, code)| code.contains("Utc::now") || code.contains("SystemTime::now"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(readers, ["cli/clock.rs"]);
}

#[test]
fn names_are_found_in_lines_and_in_groups() {
    let code = "use crate::metadata::Key;\nuse crate::{canonical, crypto::Signer};\nlet a = crate::verify::b;\n\
                use $crate::storage; use othercrate::client;";
    let names = names_after(code, "crate::");
    let expected = ["canonical", "crypto", "metadata", "verify"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
}
