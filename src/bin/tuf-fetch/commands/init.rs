//! `init`: the root that trust begins with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;
use tuf::client::{self, Code, FirstRoot, Limits, LocalMetadata};
use tuf::metadata::KeyId;

use crate::failure::Failure;
use crate::hint::with_value;
use crate::session::{Need, Session};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A root that you trust, from a source that you trust
    #[arg(value_name = "ROOT.json", required_unless_present_any = ["trust_first_use", "pin"])]
    root: Option<PathBuf>,
    /// Take the first root from the repository and trust it, whoever answers; never a second time
    #[arg(long, conflicts_with_all = ["root", "pin"])]
    trust_first_use: bool,
    /// Take the first root from the repository and trust it if keys with these ids signed it to its threshold; an id
    /// counts only where it is the hash of its key
    #[arg(long, value_name = "KEYID", num_args = 1.., conflicts_with = "root")]
    pin: Vec<String>,
}

impl Args {
    /// Returns the words that say these again.
    pub fn words(&self) -> Vec<String> {
        let root = self.root.iter().map(|root| root.to_string_lossy().into_owned());
        let first_use = self.trust_first_use.then(|| "--trust-first-use".to_owned());
        let pins = self.pin.iter().flat_map(|pin| with_value("--pin", pin));
        root.chain(first_use).chain(pins).collect()
    }
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failure> {
    let dir = session.metadata_dir();
    let made = missing_folders(dir);
    let version = match trust(session, args) {
        Ok(version) => version,
        Err(failure) => {
            // the lowest first; one that holds anything stays, and so do those above it
            let _ = made.iter().try_for_each(std::fs::remove_dir);
            return Err(failure);
        }
    };
    let human = || format!("root v{version} is trusted in {}", dir.display());
    let json =
        json!({ "root": version, "timestamp": null, "snapshot": null, "targets": null, "downloaded": [] });
    session.output.result(human, json)?;
    session.output.talk(&format!("next: {}", session.given.next(&[])));
    Ok(())
}

/// Returns a folder and those above it that are not there, the lowest first.
fn missing_folders(folder: &Path) -> Vec<PathBuf> {
    let named = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty());
    named.take_while(|folder| folder.symlink_metadata().is_err()).map(Path::to_owned).collect()
}

/// Takes the first root, and returns its version.
fn trust(session: &Session<'_>, args: Args) -> Result<u64, Failure> {
    let dir = session.metadata_dir();
    match &args.root {
        Some(path) => {
            // read before the folder is made, so that a wrong path leaves nothing behind
            let root = read(path)?;
            Ok(client::init(&LocalMetadata::create(dir)?, &root, session.now)?)
        }
        None => {
            let mirrors = session.mirrors(Need::Metadata)?;
            let fetcher = session.fetcher()?;
            let local = LocalMetadata::create(dir)?;
            let first = match args.pin.is_empty() {
                true => FirstRoot::TrustFirstUse,
                false => FirstRoot::Pinned(args.pin.into_iter().map(KeyId::new).collect()),
            };
            let limits = Limits::default();
            Ok(client::init_from_repository(&local, &fetcher, &mirrors, &first, &limits, session.now)?)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let what = path.display().to_string();
    let limit = Limits::default().root;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::io(what.as_str(), format!("the root cannot be read: {error}")))?;
    if bytes.len() as u64 > limit {
        let detail = format!("it is longer than the {limit} bytes that a root may have");
        return Err(Failure { what, code: Code::EndlessData.as_str(), detail, hint: None });
    }
    Ok(bytes)
}
