//! Time and memory of whole processes.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Failure;

/// What one process, or several one after the other, took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub seconds: f64,
    pub peak_kib: u64,
}

impl std::ops::Add for Measured {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, peak_kib: self.peak_kib.max(other.peak_kib) }
    }
}

/// Runs a program to its end in a folder and measures it; a failure ends the benchmark.
pub fn measure(dir: &Path, program: &Path, args: &[&str]) -> Result<Measured, Failure> {
    let time = Path::new("/usr/bin/time");
    let peak = dir.join("peak");
    let mut command = if time.exists() {
        let mut command = Command::new(time);
        command.args(["-f", "%M", "-o"]).arg(&peak).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(args).current_dir(dir).env("TUF_REPO", "repository");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let output = command.output()?;
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{} {} failed: {words}", program.display(), args.join(" ")).into());
    }
    let peak_kib = fs::read_to_string(&peak).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Ok(Measured { seconds, peak_kib })
}

/// Returns the median time, in seconds.
pub fn median(measured: &[Measured]) -> f64 {
    let mut all: Vec<f64> = measured.iter().map(|one| one.seconds).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One row of the table.
pub struct Row {
    name: String,
    own: Vec<Measured>,
    peer: Vec<Measured>,
}

impl Row {
    pub fn new(name: String, own: Vec<Measured>, peer: Vec<Measured>) -> Self {
        Self { name, own, peer }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = |all: &[Measured]| match all.iter().map(|one| one.peak_kib).max() {
            Some(kib) if kib > 0 => format!("{:.0} MiB", kib as f64 / 1024.0),
            _ => "-".to_owned(),
        };
        let own = median(&self.own);
        let (peer, ratio) = match self.peer.is_empty() {
            true => ("-".to_owned(), "-".to_owned()),
            false => {
                let peer = median(&self.peer);
                (format!("{peer:.3} s"), format!("{:.2}", own / peer))
            }
        };
        let (own_peak, peer_peak) = (peak(&self.own), peak(&self.peer));
        write!(f, "| {} | {own:.3} s | {peer} | {ratio} | {own_peak} | {peer_peak} |", self.name)
    }
}
