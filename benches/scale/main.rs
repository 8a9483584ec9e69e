//! Whole commands of `tuf-repo` from a thousand to a million targets, beside a python-tuf script that does the same work
//! without any safety, in one run.
//!
//! `cargo bench --bench scale` prints a table and draws the curve. `TUF_BENCH_RUNS` (default 3) is the number of runs,
//! `TUF_BENCH_DIR` where the repositories are made (default `/dev/shm` where it is there, else the temporary folder),
//! `TUF_BENCH_PYTHON` a Python that has PyPI's `tuf` 7.x (without it the peer is left out), `TUF_BENCH_ROWS` a part of
//! the names of the rows that are wanted (default all), `TUF_BENCH_PROGRAM` another `tuf-repo` than the one that was built, `TUF_BENCH_SVG` the file that the curve is drawn into. Times are
//! wall-clock medians of whole processes; memory is the peak of the largest process, read by `/usr/bin/time` where that is
//! installed.

mod commands;
mod measure;
mod plot;
mod work;

use std::env;
use std::path::PathBuf;

use measure::{Measured, Row};
use work::Bench;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let base = env::var_os("TUF_BENCH_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let memory = PathBuf::from("/dev/shm");
        if memory.is_dir() { memory } else { env::temp_dir() }
    });
    let runs: usize = env::var("TUF_BENCH_RUNS").map_or(Ok(3), |text| text.parse())?;
    let bench = Bench { base, runs, python: env::var_os("TUF_BENCH_PYTHON").map(PathBuf::from) };
    let wanted = env::var("TUF_BENCH_ROWS").unwrap_or_default();
    let mut rows: Vec<Row> = Vec::new();
    let mut curve: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for number in [1_000, 10_000, 100_000] {
        if !format!("{number} files").contains(&wanted) {
            continue;
        }
        let files = bench.files(number)?;
        note(&mut curve, "create", number, &files.create);
        note(&mut curve, "one more, in one role", number, &files.one_more);
        rows.push(Row::new(format!("create, {number} files of 4 KiB"), files.create, files.peer_create));
        rows.push(Row::new(format!("one more target, {number} files"), files.one_more, files.peer_one_more));
        rows.push(Row::new(format!("publish, {number} files"), files.publish, Vec::new()));
        let name = format!("second add-targets, {number} files, against the first");
        rows.push(Row::new(name, files.again, files.first_add));
    }
    for (number, bins) in [(1_000, 16), (10_000, 256), (100_000, 2_048), (1_000_000, 16_384)] {
        if !format!("{number} entries").contains(&wanted) {
            continue;
        }
        let filled = bench.bins(number, bins)?;
        note(&mut curve, "create, in bins", number, &filled.create);
        note(&mut curve, "one more, in bins", number, &filled.one_more);
        let name = format!("{bins} bins, {number} entries from a manifest");
        rows.push(Row::new(name, filled.create, filled.peer_create));
        let name = format!("one more target, {bins} bins, {number} entries");
        rows.push(Row::new(name, filled.one_more, filled.peer_one_more));
    }
    if "8 x 256 MiB".contains(&wanted) {
        let (own, openssl) = bench.large_files()?;
        rows.push(Row::new("digest 8 x 256 MiB, against openssl".to_owned(), own, openssl));
    }
    println!("{runs} runs in {}", bench.base.display());
    println!("\n| work | median | peer | ratio | peak memory | peer |\n|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
    if let Some(file) = env::var_os("TUF_BENCH_SVG") {
        std::fs::write(file, plot::curve(&curve))?;
    }
    Ok(())
}

fn note(
    curve: &mut Vec<(&'static str, Vec<(f64, f64)>)>,
    name: &'static str,
    number: usize,
    measured: &[Measured],
) {
    let point = (number as f64, measure::median(measured));
    match curve.iter_mut().find(|(known, _)| *known == name) {
        Some((_, points)) => points.push(point),
        None => curve.push((name, vec![point])),
    }
}
