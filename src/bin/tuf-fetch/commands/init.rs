//! `init`: the root that trust begins with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;
use tuf::client::{self, Code, Limits, LocalMetadata};

use crate::failure::Failure;
use crate::session::{Need, Session};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A root that you trust, from a source that you trust
    #[arg(value_name = "ROOT.json", required_unless_present = "trust_first_use")]
    root: Option<PathBuf>,
    /// Take the first root from the repository and trust it, whoever answers; never a second time
    #[arg(long, conflicts_with = "root")]
    trust_first_use: bool,
}

pub fn run(session: &Session<'_>, args: Args) -> Result<(), Failure> {
    let dir = session.metadata_dir();
    let version = match &args.root {
        Some(path) => {
            // read before the folder is made, so that a wrong path leaves nothing behind
            let root = read(path)?;
            client::init(&LocalMetadata::create(dir)?, &root, session.now)?
        }
        None => {
            let repository = session.repository(Need::Metadata)?;
            let fetcher = session.fetcher()?;
            let local = LocalMetadata::create(dir)?;
            client::trust_first_use(&local, &fetcher, &repository.metadata, &Limits::default(), session.now)?
        }
    };
    let human = || format!("root v{version} is trusted in {}", dir.display());
    let json =
        json!({ "root": version, "timestamp": null, "snapshot": null, "targets": null, "downloaded": [] });
    session.output.result(human, json)?;
    session.output.talk("next: tuf-fetch --repo URL");
    Ok(())
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
