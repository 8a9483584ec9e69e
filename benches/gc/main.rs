//! What it costs to collect: beside listing the same names and unlinking the same files, and over a long history.
//!
//! `cargo bench --bench gc` prints a table. `TUF_BENCH_NAMES` (default 1000000) is the number of names that are listed,
//! `TUF_BENCH_GOING` (default 70000) how many of them nothing holds, `TUF_BENCH_BINS` (default 16384) the number of hash
//! bins, `TUF_BENCH_ENTRIES` (default 1000000) that of the targets in them, `TUF_BENCH_SNAPSHOTS` (default 1000) the length
//! of the history, `TUF_BENCH_CHANGED` (default 16) how many bins each publication of it changes, `TUF_BENCH_RUNS`
//! (default 3) the number of runs, `TUF_BENCH_DIR` where the repositories are made (default `/dev/shm` where it is there, else
//! the temporary folder; it takes about 4 GiB and two million names), `TUF_BENCH_PROGRAM` another `tuf-repo` than the one
//! that was built. The peer is find(1), which
//! lists and unlinks the same names in the same folder before. Times are wall-clock medians of whole processes; memory is the peak of the process, read by
//! `/usr/bin/time` where that is installed. The history is forged with the library, file by file as commands write it;
//! every collection is the real command.

#[path = "../scale/commands.rs"]
mod commands;
mod history;
#[path = "../scale/measure.rs"]
mod measure;

use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use commands::{KEYS, own, prepare, write};
use measure::{Measured, Row, measure};
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

const TARGETS: &str = "repository/targets";

/// How much of everything there is.
struct Sizes {
    names: usize,
    going: usize,
    bins: usize,
    entries: usize,
    history: history::Shape,
}

fn main() -> Result<(), Failure> {
    let base = env::var_os("TUF_BENCH_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let memory = PathBuf::from("/dev/shm");
        if memory.is_dir() { memory } else { env::temp_dir() }
    });
    let sizes = Sizes {
        names: setting("TUF_BENCH_NAMES", 1_000_000)?,
        going: setting("TUF_BENCH_GOING", 70_000)?,
        bins: setting("TUF_BENCH_BINS", 16_384)?,
        entries: setting("TUF_BENCH_ENTRIES", 1_000_000)?,
        history: history::Shape {
            snapshots: setting("TUF_BENCH_SNAPSHOTS", 1_000)?,
            changed: setting("TUF_BENCH_CHANGED", 16)?,
        },
    };
    let runs = setting("TUF_BENCH_RUNS", 3)?;
    let mut rows: Vec<(String, Vec<Measured>, Vec<Measured>)> = Vec::new();
    for _ in 0..runs {
        for (name, own, peer) in run(&base, &sizes)? {
            match rows.iter_mut().find(|(known, _, _)| *known == name) {
                Some((_, all, peers)) => {
                    all.push(own);
                    peers.extend(peer);
                }
                None => rows.push((name, vec![own], peer.into_iter().collect())),
            }
        }
    }
    println!("{runs} runs in {}; the peer lists and unlinks the same with find", base.display());
    println!("\n| work | median | peer | ratio | peak memory | peer |\n|---|---|---|---|---|---|");
    rows.into_iter().for_each(|(name, own, peer)| println!("{}", Row::new(name, own, peer)));
    Ok(())
}

fn setting(name: &str, default: usize) -> Result<usize, Failure> {
    Ok(env::var(name).map_or(Ok(default), |text| text.parse())?)
}

type Measurement = (String, Measured, Option<Measured>);

fn run(base: &Path, sizes: &Sizes) -> Result<Vec<Measurement>, Failure> {
    let temporary = || tempfile::Builder::new().prefix("tuf-bench").tempdir_in(base);
    let mut rows = Vec::new();
    for part in [folder, bins] {
        let dir = temporary()?;
        rows.extend(part(dir.path(), sizes)?);
    }
    Ok(rows)
}

/// A small repository, and a folder with a great many names.
fn folder(dir: &Path, sizes: &Sizes) -> Result<Vec<Measurement>, Failure> {
    let &Sizes { names, going, .. } = sizes;
    prepare(dir)?;
    leave_room(dir)?;
    own(dir, &["publish"])?;
    (0..names).try_for_each(|index| put(dir, &format!("kept-{index:07}.file")))?;
    let gc = ["gc", "--keep", "1", "-q"];
    let told = ["gc", "--keep", "1", "-q", "--json"];
    Ok(vec![
        beside(dir, format!("gc that finds nothing among {names} files"), 0, &gc)?,
        beside(dir, format!("gc of {going} copies among {names} other files"), going, &gc)?,
        beside(dir, format!("the same with --json, {going} files told"), going, &told)?,
        beside(dir, format!("gc of {names} copies among as many other files"), names, &gc)?,
    ])
}

/// A repository of hash bins whose copies are all there, before and after a long history.
fn bins(dir: &Path, sizes: &Sizes) -> Result<Vec<Measurement>, Failure> {
    let &Sizes { going, bins, entries, ref history, .. } = sizes;
    prepare(dir)?;
    leave_room(dir)?;
    own(dir, &["delegate", "bin", "--bins", &bins.to_string(), "--key", "keystore/bins.pub"])?;
    manifest(dir, entries)?;
    own(dir, &["add-targets", "--role", "bin", "--from-manifest", "manifest"])?;
    own(dir, &write(&KEYS[1..]))?;
    // `write` would look into copies that were there
    for (folder, name, sum) in (0..entries).map(target) {
        put(dir, &format!("{folder}/{sum}.{name}"))?;
    }
    history::install(dir)?;
    let one = ["gc", "--keep", "1", "--keep-within", "0s", "-q"];
    let name = format!("gc of {going} copies among {entries} held by {bins} bins");
    let before = beside(dir, name, going, &one)?;
    history::forge(dir, history)?;
    let snapshots = history.snapshots;
    let all = ["gc", "--keep", &snapshots.to_string(), "--keep-within", "0s", "-q"];
    let name = format!("the same, with {snapshots} snapshots retained");
    let retained = beside(dir, name, going, &all)?;
    let name = format!("gc of all but one of {snapshots} snapshots");
    Ok(vec![before, retained, (name, own(dir, &one)?, None)])
}

/// Leaves versions of `targets` free: metadata that lists what is to be collected takes one of them.
fn leave_room(dir: &Path) -> Result<(), Failure> {
    own(dir, &["bump", "targets", "--version", &(2 * JUNK_VERSION).to_string()])?;
    own(dir, &write(&KEYS[1..4])).map(drop)
}

/// The version of `targets` that lists what is to be collected. No snapshot lists it, as a collection that was killed leaves it.
const JUNK_VERSION: u64 = 5;

/// Puts copies that only metadata lists which goes, and has the peer unlink them; then once more for a collection.
fn beside(dir: &Path, name: String, junk: usize, gc: &[&str]) -> Result<Measurement, Failure> {
    put_junk(dir, junk)?;
    let find = ["repository/targets", "-type", "f", "-name", "*.junk", "-delete"];
    let peer = measure(dir, Path::new("find"), &find)?;
    put_junk(dir, junk)?;
    history::list(dir, JUNK_VERSION, (0..junk).map(|index| (format!("{index}.junk"), junk_bytes(index))))?;
    let measured = own(dir, gc)?;
    let is_left = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".junk");
    if fs::read_dir(dir.join(TARGETS))?.any(|entry| entry.is_ok_and(|entry| is_left(&entry))) {
        return Err("a collection has left what it should collect".into());
    }
    Ok((name, measured, Some(peer)))
}

/// Puts an empty file among the targets.
fn put(dir: &Path, name: &str) -> Result<(), Failure> {
    let path = dir.join(TARGETS).join(name);
    if let Err(error) = File::create(&path) {
        fs::create_dir_all(path.parent().ok_or(error)?)?;
        File::create(&path)?;
    }
    Ok(())
}

fn put_junk(dir: &Path, number: usize) -> Result<(), Failure> {
    let put = |index: usize| {
        let bytes = junk_bytes(index);
        fs::write(dir.join(TARGETS).join(format!("{}.{index}.junk", digest(&bytes))), bytes)
    };
    Ok((0..number).try_for_each(put)?)
}

fn junk_bytes(index: usize) -> String {
    format!("junk {index}")
}

/// Returns the folder and the name of a target, and the digest that it is listed with.
fn target(index: usize) -> (String, String, String) {
    let folder = format!("packages/{:02x}", index % 256);
    (folder, format!("name-{index:07}-1.0.tar.gz"), digest(&format!("target {index}")))
}

/// Writes a manifest of targets.
fn manifest(dir: &Path, entries: usize) -> Result<(), Failure> {
    let mut lines = BufWriter::new(File::create(dir.join("manifest"))?);
    for index in 0..entries {
        let (folder, name, sum) = target(index);
        writeln!(lines, r#"{{"path":"{folder}/{name}","length":{index},"hashes":{{"sha256":"{sum}"}}}}"#)?;
    }
    Ok(lines.flush()?)
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
