//! The work that is measured.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::Failure;
use crate::commands::{KEYS, own, prepare, write};
use crate::measure::{Measured, measure};

const TARGET_BYTES: usize = 4096;
/// Longer than a file must be at rest before its digests are taken for known.
const AT_REST: Duration = Duration::from_millis(2500);

/// Where and how often.
pub struct Bench {
    pub base: PathBuf,
    pub runs: usize,
    pub python: Option<PathBuf>,
}

/// Repositories over files.
#[derive(Default)]
pub struct Files {
    pub create: Vec<Measured>,
    pub peer_create: Vec<Measured>,
    pub one_more: Vec<Measured>,
    pub peer_one_more: Vec<Measured>,
    pub publish: Vec<Measured>,
    pub first_add: Vec<Measured>,
    pub again: Vec<Measured>,
}

/// Repositories of hash bins from a manifest.
#[derive(Default)]
pub struct Bins {
    pub create: Vec<Measured>,
    pub peer_create: Vec<Measured>,
    pub one_more: Vec<Measured>,
    pub peer_one_more: Vec<Measured>,
}

impl Bench {
    fn dir(&self) -> Result<TempDir, Failure> {
        Ok(tempfile::Builder::new().prefix("tuf-bench").tempdir_in(&self.base)?)
    }

    fn peer(&self, dir: &Path, args: &[&str]) -> Result<Option<Measured>, Failure> {
        let Some(python) = &self.python else { return Ok(None) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
        let script = script.to_string_lossy();
        measure(dir, python, &[&[&*script], args].concat()).map(Some)
    }

    /// Lists files in one role.
    pub fn files(&self, number: usize) -> Result<Files, Failure> {
        let mut all = Files::default();
        for _ in 0..self.runs {
            let dir = self.dir()?;
            let dir = dir.path();
            prepare(dir)?;
            let mut bytes = vec![0_u8; TARGET_BYTES];
            for index in 0..number {
                bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
                fs::write(dir.join(format!("repository/targets/file-{index:07}.bin")), &bytes)?;
            }
            std::thread::sleep(AT_REST);
            let first = own(dir, &["add-targets", "repository/targets"])?;
            all.first_add.push(first);
            all.again.push(own(dir, &["add-targets", "repository/targets"])?);
            all.create.push(first + own(dir, &write(&KEYS[1..4]))?);
            all.publish.push(own(dir, &["publish"])?);
            fs::write(dir.join("repository/targets/one-more"), b"one more")?;
            let added = own(dir, &["add-targets", "repository/targets/one-more"])?;
            all.one_more.push(added + own(dir, &write(&KEYS[1..4]))?);
            fs::remove_file(dir.join("repository/targets/one-more"))?;
            all.peer_create.extend(self.peer(dir, &["create"])?);
            all.peer_one_more.extend(self.peer(dir, &["one-more"])?);
        }
        Ok(all)
    }

    /// Lists a manifest in hash bins.
    pub fn bins(&self, number: usize, bins: usize) -> Result<Bins, Failure> {
        let mut all = Bins::default();
        for _ in 0..self.runs {
            let dir = self.dir()?;
            let dir = dir.path();
            prepare(dir)?;
            manifest(&dir.join("manifest"), number)?;
            let delegate = ["delegate", "bin", "--bins", &bins.to_string(), "--key", "keystore/bins.pub"];
            let delegated = own(dir, &delegate)?;
            let added = own(dir, &["add-targets", "--role", "bin", "--from-manifest", "manifest"])?;
            all.create.push(delegated + added + own(dir, &write(&KEYS[1..]))?);
            fs::write(dir.join("repository/targets/another"), b"another")?;
            let added = own(dir, &["add-targets", "--role", "bin", "repository/targets/another"])?;
            all.one_more.push(added + own(dir, &write(&KEYS[1..]))?);
            let bits = bins.ilog2().to_string();
            all.peer_create.extend(self.peer(dir, &["bins", &bits])?);
            all.peer_one_more.extend(self.peer(dir, &["one-more-in-bins"])?);
        }
        Ok(all)
    }

    /// Digests large files, against `openssl dgst` over one after the other.
    pub fn large_files(&self) -> Result<(Vec<Measured>, Vec<Measured>), Failure> {
        let (mut mine, mut openssl) = (Vec::new(), Vec::new());
        let dir = self.dir()?;
        let dir = dir.path();
        prepare(dir)?;
        let names: Vec<String> = (0..8).map(|index| format!("repository/targets/large-{index}")).collect();
        for (index, name) in names.iter().enumerate() {
            let mut file = BufWriter::new(File::create(dir.join(name))?);
            let block = vec![index as u8; 1 << 20];
            (0..256).try_for_each(|_| file.write_all(&block))?;
        }
        for _ in 0..self.runs {
            mine.push(own(dir, &["add-targets", "--dry-run", "repository/targets"])?);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            openssl.push(measure(dir, Path::new("openssl"), &[&["dgst", "-sha256"], &names[..]].concat())?);
        }
        Ok((mine, openssl))
    }
}

fn manifest(file: &Path, number: usize) -> Result<(), Failure> {
    let mut lines = BufWriter::new(File::create(file)?);
    for index in 0..number {
        let sum = hex::encode(Sha256::digest(index.to_le_bytes()));
        let path = format!("packages/{:02x}/name-{index:07}-1.0.tar.gz", index % 256);
        writeln!(lines, r#"{{"path":"{path}","length":{index},"hashes":{{"sha256":"{sum}"}}}}"#)?;
    }
    Ok(lines.flush()?)
}
