//! `demo-repository/` is what `demo-repository/generate.sh` makes, byte for byte: written metadata is deterministic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Returns every file below a folder with its bytes.
fn files(top: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(top).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_demo_repository_is_what_its_script_makes() {
    let fresh = tempfile::tempdir().unwrap();
    let made = fresh.path().join("repository");
    let programs = Path::new(env!("CARGO_BIN_EXE_tuf-repo")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let script = Path::new(TOP).join("demo-repository/generate.sh");
    let output = Command::new("bash").arg(script).arg(&made).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (kept, made) = (files(&Path::new(TOP).join("demo-repository/repository")), files(&made));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&kept), names(&made), "run bash demo-repository/generate.sh");
    for (name, bytes) in &kept {
        assert!(made[name] == *bytes, "{} differs: run bash demo-repository/generate.sh", name.display());
    }
    assert!(kept.len() > 20, "{}", kept.len());
}

#[test]
fn every_example_key_is_said_to_be_worthless() {
    let readme = fs::read_to_string(Path::new(TOP).join("keystore-example/README.txt")).unwrap();
    assert!(readme.starts_with("THESE KEYS ARE WORTHLESS."));
}
