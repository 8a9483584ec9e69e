//! The commands that benchmarks run, and the repository they start from.

use std::env;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::measure::{Measured, measure};

/// The names of the keys: of the top-level roles, and of the hash bins.
pub const KEYS: [&str; 5] = ["root", "targets", "snapshot", "timestamp", "bins"];

/// Runs `tuf-repo`: the one that was built, or that of `TUF_BENCH_PROGRAM`.
pub fn own<S: AsRef<str>>(dir: &Path, args: &[S]) -> Result<Measured, Failure> {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let built = PathBuf::from(env!("CARGO_BIN_EXE_tuf-repo"));
    let program = env::var_os("TUF_BENCH_PROGRAM").map_or(built, PathBuf::from);
    measure(dir, &program, &args)
}

/// Returns the arguments of `write` with some keys.
pub fn write(keys: &[&str]) -> Vec<String> {
    let keys = keys.iter().flat_map(|key| ["--key".to_owned(), format!("keystore/{key}")]);
    std::iter::once("write".to_owned()).chain(keys).collect()
}

/// Makes keys and an empty written repository.
pub fn prepare(dir: &Path) -> Result<(), Failure> {
    for key in KEYS {
        own(dir, &["keygen", "--no-password", &format!("keystore/{key}")])?;
    }
    own(dir, &["init", "repository"])?;
    for key in &KEYS[..4] {
        own(dir, &["add-key", key, &format!("keystore/{key}.pub")])?;
    }
    own(dir, &write(&KEYS[..4]))?;
    Ok(())
}
