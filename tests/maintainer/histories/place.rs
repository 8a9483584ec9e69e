//! Where the two copies publish to, read from outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use tuf::repository::Layout;

use super::server::BucketServer;
use crate::world::{contents, start};

/// The kinds of places, each with the layout of the repository that is published there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Folder,
    PlainFolder,
    /// The first copy's own `metadata/`, to which the second publishes too.
    Own,
    Bucket,
    PlainBucket,
}

impl Kind {
    pub fn layout(self) -> Layout {
        match self {
            Self::Folder | Self::Own | Self::Bucket => Layout::Consistent,
            Self::PlainFolder | Self::PlainBucket => Layout::Plain,
        }
    }
}

/// A place of one history.
pub enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// A prefix of a bucket: of a server that the environment names, else of one within this test.
pub struct Bucket {
    to: String,
    url: String,
    server: Option<BucketServer>,
}

impl Bucket {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let own = format!("histories-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        match (std::env::var("TUF_TEST_BUCKET"), std::env::var("TUF_TEST_BUCKET_URL")) {
            (Ok(to), Ok(url)) => {
                Self { to: format!("{to}/{own}"), url: format!("{url}/{own}"), server: None }
            }
            _ => {
                let server = BucketServer::start(start());
                Self { to: server.to(), url: server.url(), server: Some(server) }
            }
        }
    }
}

impl Place {
    /// A place of a kind, for copies that lie in a folder.
    pub fn new(kind: Kind, folder: &Path) -> Self {
        match kind {
            Kind::Folder | Kind::PlainFolder => Self::Folder(folder.join("www")),
            Kind::Own => Self::Folder(folder.join("a")),
            Kind::Bucket | Kind::PlainBucket => Self::Bucket(Bucket::new()),
        }
    }

    /// The place as commands name it.
    pub fn to(&self) -> String {
        match self {
            Self::Folder(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
            Self::Bucket(bucket) => bucket.to.clone(),
        }
    }

    /// The place as clients name it.
    pub fn url(&self) -> String {
        match self {
            Self::Folder(path) => format!("file://{}", path.display()),
            Self::Bucket(bucket) => bucket.url.clone(),
        }
    }

    /// The environment that commands need to find it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Bucket(Bucket { server: Some(server), .. }) => server.variables().to_vec(),
            _ => Vec::new(),
        }
    }

    pub fn set_clock(&self, now: DateTime<Utc>) {
        if let Self::Bucket(Bucket { server: Some(server), .. }) = self {
            server.set_clock(now);
        }
    }

    /// Reads a file as clients do, such as `metadata/1.root.json`.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        match self {
            Self::Folder(path) => fs::read(path.join(name)).ok(),
            Self::Bucket(Bucket { server: Some(server), .. }) => server.object(name),
            Self::Bucket(bucket) => get(&format!("{}/{name}", bucket.url)),
        }
    }

    /// Everything that is there, as far as it can be listed: of a server outside of this test nothing is.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let part = |path: &Path, part: &str| {
            let folder = path.join(part);
            let files = if folder.is_dir() { contents(&folder) } else { BTreeMap::new() };
            files.into_iter().map(|(name, bytes)| (format!("{part}/{name}"), bytes)).collect::<Vec<_>>()
        };
        match self {
            Self::Folder(path) => ["metadata", "targets"].iter().flat_map(|it| part(path, it)).collect(),
            Self::Bucket(bucket) => bucket.server.as_ref().map(BucketServer::contents).unwrap_or_default(),
        }
    }
}

/// Asks an HTTP server for a file.
fn get(url: &str) -> Option<Vec<u8>> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    // the older protocol sends the bytes as they are, up to the end
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    head.lines().next().unwrap().contains(" 200").then(|| answer.split_off(end + 4))
}
