//! Whole commands of `tuf-repo` over repositories of small targets, beside a python-tuf script that does the same work
//! without any safety.
//!
//! `cargo bench --bench maintainer` prints a table. `TUF_BENCH_TARGETS` (default 1000) is the number of 4 KiB targets,
//! `TUF_BENCH_RUNS` (default 5) the number of runs, `TUF_BENCH_DIR` where the repositories are made (default `/dev/shm`
//! where it is there, else the temporary folder), `TUF_BENCH_PYTHON` a Python that has PyPI's `tuf` 7.x; without it the
//! peer is left out. Times are wall-clock medians of whole processes; memory is the peak of the process, read by
//! `/usr/bin/time` where that is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

const KEYS: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];
const TARGET_BYTES: usize = 4096;

fn main() -> Result<(), Failure> {
    let number = setting("TUF_BENCH_TARGETS", 1000)?;
    let runs = setting("TUF_BENCH_RUNS", 5)?;
    let base = env::var_os("TUF_BENCH_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let memory = PathBuf::from("/dev/shm");
        if memory.is_dir() { memory } else { env::temp_dir() }
    });
    let mut rows: Vec<(String, Vec<Measured>)> = Vec::new();
    let mut note = |name: &str, measured: Measured| match rows.iter_mut().find(|(known, _)| known == name) {
        Some((_, all)) => all.push(measured),
        None => rows.push((name.to_owned(), vec![measured])),
    };
    for _ in 0..runs {
        let dir = tempfile::Builder::new().prefix("tuf-bench").tempdir_in(&base)?;
        prepare(dir.path(), number)?;
        let own = |args: &[&str]| measure(dir.path(), Path::new(env!("CARGO_BIN_EXE_tuf-repo")), args);
        note("add-targets, all", own(&["add-targets", "repository/targets"])?);
        note("write, all", own(&write_with_keys())?);
        note("publish, all", own(&["publish"])?);
        note("publish --to a folder, all", own(&["publish", "--to", "elsewhere"])?);
        fs::write(dir.path().join("repository/targets/one-more"), b"one more")?;
        note("add-targets, one more", own(&["add-targets", "repository/targets/one-more"])?);
        note("write, one more", own(&write_with_keys())?);
        note("publish, one more", own(&["publish"])?);
        if let Some(python) = env::var_os("TUF_BENCH_PYTHON") {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
            let peer =
                |work: &str| measure(dir.path(), Path::new(&python), &[&script.to_string_lossy(), work]);
            note("python-tuf: create over all", peer("create")?);
            note("python-tuf: one more", peer("one-more")?);
        }
    }
    println!("{number} targets of {TARGET_BYTES} bytes in {}, {runs} runs", base.display());
    println!("| work | median | fastest | peak memory |\n|---|---|---|---|");
    for (name, mut all) in rows {
        all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let (median, fastest) = (all[all.len() / 2].seconds, all[0].seconds);
        let memory = all.iter().filter_map(|measured| measured.peak_kib).max();
        let memory = memory.map_or_else(|| "-".to_owned(), |kib| format!("{:.0} MiB", kib as f64 / 1024.0));
        println!("| {name} | {median:.3} s | {fastest:.3} s | {memory} |");
    }
    Ok(())
}

fn setting(name: &str, default: usize) -> Result<usize, Failure> {
    Ok(env::var(name).map_or(Ok(default), |text| text.parse())?)
}

/// Makes keys, an empty written repository, and the target files.
fn prepare(dir: &Path, number: usize) -> Result<(), Failure> {
    let own = |args: &[&str]| measure(dir, Path::new(env!("CARGO_BIN_EXE_tuf-repo")), args).map(drop);
    for key in KEYS {
        own(&["keygen", "--no-password", &format!("keystore/{key}")])?;
    }
    own(&["init", "repository"])?;
    for key in KEYS {
        own(&["add-key", key, &format!("keystore/{key}.pub")])?;
    }
    let mut first = write_with_keys();
    first.extend(["--key", "keystore/root"]);
    own(&first)?;
    let mut bytes = vec![0_u8; TARGET_BYTES];
    for index in 0..number {
        bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
        fs::write(dir.join(format!("repository/targets/file-{index:07}.bin")), &bytes)?;
    }
    Ok(())
}

fn write_with_keys() -> Vec<&'static str> {
    vec!["write", "--key", "keystore/targets", "--key", "keystore/snapshot", "--key", "keystore/timestamp"]
}

struct Measured {
    seconds: f64,
    peak_kib: Option<u64>,
}

/// Runs a program to its end and measures it; a failure ends the benchmark.
fn measure(dir: &Path, program: &Path, args: &[&str]) -> Result<Measured, Failure> {
    let time = Path::new("/usr/bin/time");
    let peak = dir.join("peak");
    let mut command = if time.exists() {
        let mut command = Command::new(time);
        command.args(["-f", "%M", "-o"]).arg(&peak).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(args).current_dir(dir).env("TUF_REPO", "repository").stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output()?;
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{} {} failed: {words}", program.display(), args.join(" ")).into());
    }
    let peak_kib = fs::read_to_string(&peak).ok().and_then(|text| text.trim().parse().ok());
    Ok(Measured { seconds, peak_kib })
}
