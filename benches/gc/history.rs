//! A long history of publications, made with the library and without the commands: a thousand of them would take hours.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use tuf::crypto::{PrivateKey, Signer};
use tuf::metadata::{
    Algorithm, Extra, Hasher, MetaFile, Metadata, RoleName, Signature, Signed, Snapshot, TargetFile,
    TargetMap, Targets, Timestamp,
};
use tuf::repository::{METADATA, STAGED};

use crate::Failure;

/// What a history is like.
pub struct Shape {
    /// How many snapshots there are in the end.
    pub snapshots: usize,
    /// How many hash bins have changed from one to the next.
    pub changed: usize,
}

/// Makes live what is written, without a look at target files.
pub fn install(dir: &Path) -> Result<(), Failure> {
    let (staged, live) = folders(dir);
    fs::create_dir_all(&live)?;
    for entry in fs::read_dir(staged)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), live.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Adds publications until there are as many snapshots as wanted, each with new versions of some hash bins.
pub fn forge(dir: &Path, shape: &Shape) -> Result<(), Failure> {
    let timestamp: Metadata<Timestamp> = read(dir, "timestamp.json")?;
    let mut timestamp = timestamp.into_signed();
    let first = timestamp.snapshot().map_or(0, |listed| listed.version);
    let snapshot: Metadata<Snapshot> = read(dir, &format!("{first}.snapshot.json"))?;
    let mut snapshot = snapshot.into_signed();
    let bins = snapshot.meta.keys().filter(|path| path.starts_with("bin-"));
    let bins: Vec<String> = bins.map(Cow::into_owned).collect();
    let mut next = bins.iter().cycle();
    let present = fs::read_dir(folders(dir).0)?
        .filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().to_string_lossy().ends_with(".snapshot.json"))
        })
        .count();
    for _ in present..shape.snapshots {
        let mut changes = Vec::new();
        for path in next.by_ref().take(shape.changed.min(bins.len())) {
            let Some(mut listed) = snapshot.meta.get(path) else { continue };
            let role = RoleName::from_metapath(path).ok_or("no role")?.encoded();
            let bin: Metadata<Targets> = read(dir, &format!("{}.{role}.json", listed.version))?;
            listed.version += 1;
            let mut bin = bin.into_signed();
            bin.set_version(listed.version);
            put(dir, &format!("{}.{role}.json", listed.version), bin, "bins")?;
            changes.push((path, listed));
        }
        snapshot.meta.extend(changes)?;
        snapshot.set_version(snapshot.version + 1);
        put(dir, &format!("{}.snapshot.json", snapshot.version), snapshot.clone(), "snapshot")?;
    }
    timestamp.set_version(timestamp.version + 1);
    timestamp.meta.insert(RoleName::snapshot().metapath(), MetaFile::new(snapshot.version));
    put(dir, "timestamp.json", timestamp, "timestamp")
}

/// Puts a version of `targets` that lists some files by their bytes, and that no snapshot lists.
pub fn list(dir: &Path, version: u64, files: impl Iterator<Item = (String, String)>) -> Result<(), Failure> {
    let file = |(path, bytes): (String, String)| {
        let hashes = Hasher::digest([Algorithm::Sha256], bytes.as_bytes());
        (path, TargetFile { length: bytes.len() as u64, hashes, custom: None, extra: Extra::new() })
    };
    let mut targets = Targets::new("2100-01-01T00:00:00Z".parse()?);
    targets.set_version(version);
    targets.targets = TargetMap::of(files.map(file))?;
    put(dir, &format!("{version}.targets.json"), targets, "targets")
}

fn folders(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let repository = dir.join("repository");
    (repository.join(STAGED), repository.join(METADATA))
}

fn read<T: Signed>(dir: &Path, name: &str) -> Result<Metadata<T>, Failure> {
    Ok(Metadata::from_bytes(&fs::read(folders(dir).0.join(name))?)?)
}

/// Signs metadata and puts it on both sides.
fn put<T: Signed>(dir: &Path, name: &str, signed: T, key: &str) -> Result<(), Failure> {
    let key = PrivateKey::from_pem(&fs::read(dir.join("keystore").join(key))?, None)?;
    let mut metadata = Metadata::unsigned(signed)?;
    let made = key.sign(&key.public_key().scheme, metadata.signed_bytes())?;
    metadata.signatures.push(Signature::new(key.public_key().id(), &made));
    let (staged, live) = folders(dir);
    let bytes = metadata.to_bytes()?;
    fs::write(staged.join(name), &bytes)?;
    Ok(fs::write(live.join(name), &bytes)?)
}
