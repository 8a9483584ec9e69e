//! What it costs to publish, beside what the disk asks for the same.
//!
//! `cargo bench --bench publish` prints a table. `TUF_BENCH_TARGETS` (default 100000) is the number of 1 KiB targets,
//! `TUF_BENCH_RUNS` (default 3) the number of runs, `TUF_BENCH_DIR` where the repositories are made (default `/dev/shm` where it is there,
//! else the temporary folder), `TUF_BENCH_PROGRAM` another `tuf-repo` than the one that was built. Times are wall-clock
//! medians of whole processes; memory is the peak of the process, read by `/usr/bin/time` where that is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

const KEYS: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];
const TARGET_BYTES: usize = 1024;

fn main() -> Result<(), Failure> {
    let targets = setting("TUF_BENCH_TARGETS", 100_000)?;
    let runs = setting("TUF_BENCH_RUNS", 3)?;
    let base = env::var_os("TUF_BENCH_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let memory = PathBuf::from("/dev/shm");
        if memory.is_dir() { memory } else { env::temp_dir() }
    });
    let mut rows: Vec<(&str, Vec<Measured>)> = Vec::new();
    for _ in 0..runs {
        let dir = tempfile::Builder::new().prefix("tuf-bench").tempdir_in(&base)?;
        for (row, measured) in run(&Bench { dir: dir.path() }, targets)? {
            match rows.iter_mut().find(|(known, _)| *known == row) {
                Some((_, all)) => all.push(measured),
                None => rows.push((row, vec![measured])),
            }
        }
    }
    println!("{targets} targets of {TARGET_BYTES} bytes in {}, {runs} runs", base.display());
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

/// One run of everything, in a folder of its own.
fn run(bench: &Bench<'_>, targets: usize) -> Result<Vec<(&'static str, Measured)>, Failure> {
    let mut rows = Vec::new();
    bench.prepare(targets)?;
    // as many files as are published, and of the same size
    rows.push(("cp -r of as many files", bench.measure(Path::new("cp"), &["-r", "files", "copied"])?));
    bench.own(&["add-targets", "repository/targets"])?;
    bench.own(&write())?;
    rows.push(("publish --to a folder, all new", bench.own(&["publish", "--to", "www"])?));
    bench.own(&["publish"])?;
    fs::write(bench.dir.join("repository/targets/file-0000000.bin"), b"changed")?;
    bench.own(&["add-targets", "repository/targets/file-0000000.bin", "--replace"])?;
    bench.own(&write())?;
    rows.push(("publish, one changed", bench.own(&["publish"])?));
    rows.push(("publish --to a folder, one changed", bench.own(&["publish", "--to", "www"])?));
    Ok(rows)
}

fn write() -> [&'static str; 7] {
    ["write", "--key", "keystore/targets", "--key", "keystore/snapshot", "--key", "keystore/timestamp"]
}

struct Bench<'a> {
    dir: &'a Path,
}

struct Measured {
    seconds: f64,
    peak_kib: Option<u64>,
}

impl Bench<'_> {
    /// Makes keys, an empty written repository, the target files, and the same files once more.
    fn prepare(&self, targets: usize) -> Result<(), Failure> {
        for key in KEYS {
            self.own(&["keygen", "--no-password", &format!("keystore/{key}")])?;
        }
        self.own(&["init", "repository"])?;
        for key in KEYS {
            self.own(&["add-key", key, &format!("keystore/{key}.pub")])?;
        }
        self.own(&[&write()[..], &["--key", "keystore/root"]].concat())?;
        fs::create_dir(self.dir.join("files"))?;
        let mut bytes = vec![0_u8; TARGET_BYTES];
        for index in 0..targets {
            bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
            for folder in ["repository/targets", "files"] {
                fs::write(self.dir.join(folder).join(format!("file-{index:07}.bin")), &bytes)?;
            }
        }
        Ok(())
    }

    fn own(&self, args: &[&str]) -> Result<Measured, Failure> {
        let built = PathBuf::from(env!("CARGO_BIN_EXE_tuf-repo"));
        let program = env::var_os("TUF_BENCH_PROGRAM").map_or(built, PathBuf::from);
        self.measure(&program, args)
    }

    /// Runs a program to its end and measures it; a failure ends the benchmark.
    fn measure(&self, program: &Path, args: &[&str]) -> Result<Measured, Failure> {
        let time = Path::new("/usr/bin/time");
        let peak = self.dir.join("peak");
        let mut command = if time.exists() {
            let mut command = Command::new(time);
            command.args(["-f", "%M", "-o"]).arg(&peak).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args).current_dir(self.dir).env("TUF_REPO", "repository").stdin(Stdio::null());
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
}
