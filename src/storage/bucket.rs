//! A prefix of a bucket in an object store.
//!
//! A bucket has no lock and no rename. Instead an object is put whole, under a condition that the store checks: that there
//! is none of its name yet, or that it is still the one that was read. So of two writers one is told that it came second.
//!
//! The calls block; the requests run on a small runtime inside.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use md5::{Digest, Md5};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, Error, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    UpdateVersion,
};
use tokio::runtime::Runtime;

use super::cause::io_error;
use super::{BucketUrl, Folder, ReadFiles, Storage};

/// How often a put is tried again that collided with another one under way.
const COLLISIONS: u32 = 5;
/// The largest object that is kept in memory once it was read.
const KEPT: u64 = 1 << 20;

/// How names of files become names of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As they are.
    Plain,
    /// The files' names are percent-encoded, as they stand in URLs; a store decodes a URL, so its objects have the
    /// decoded names.
    Encoded,
}

/// What caches on the way to a client may do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Keep it: this name never means other bytes.
    Forever,
    /// Ask each time.
    Never,
}

/// What became of a put that must not replace anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is new.
    New,
    /// There is one with the same bytes.
    Same,
    /// There is one with other bytes.
    Other,
}

/// What became of a put that must replace what was read and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The object has the new bytes.
    Done,
    /// Somebody else has replaced or made it meanwhile.
    Overtaken,
}

/// A prefix of a bucket, as it was when it was first looked at.
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
    prefix: String,
    names: Names,
    twins: Vec<Folder>,
    view: Arc<View>,
}

/// What all prefixes of a bucket have in common.
struct Shared {
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    /// The bucket for people, without the prefix.
    shown: String,
    /// The server takes conditions only without the quotes around an entity tag.
    bare_tags: AtomicBool,
}

/// What has been seen of a prefix.
#[derive(Default)]
struct View {
    listing: OnceLock<BTreeMap<String, ObjectMeta>>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// An object as it was read; without a tag there was none.
#[derive(Clone)]
struct Seen {
    version: Option<UpdateVersion>,
    bytes: Option<Arc<[u8]>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.place("")).finish()
    }
}

impl Bucket {
    /// Connects to the bucket of a URL, with credentials from the environment. Makes no request.
    ///
    /// # Errors
    /// Where the environment's settings make no sense, or the system gives no sockets.
    pub fn connect(url: &BucketUrl) -> io::Result<Self> {
        let store = url.connect().map_err(io_error)?;
        let shown = url.to_string();
        let shown = shown.strip_suffix(url.prefix()).unwrap_or(&shown).trim_end_matches('/');
        Self::over(store, shown, url.prefix())
    }

    /// Looks at a prefix of a store.
    pub(crate) fn over(store: Arc<dyn ObjectStore>, shown: &str, prefix: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Shared { store, runtime, shown: shown.to_owned(), bare_tags: AtomicBool::new(false) };
        Ok(Self {
            shared: Arc::new(shared),
            prefix: prefix.to_owned(),
            names: Names::Plain,
            twins: Vec::new(),
            view: Arc::default(),
        })
    }

    /// Returns a prefix inside this one.
    pub fn below(&self, folder: &str) -> Self {
        let prefix = match self.prefix.as_str() {
            "" => folder.to_owned(),
            prefix => format!("{prefix}/{folder}"),
        };
        Self { prefix, view: Arc::default(), ..self.clone() }
    }

    /// Looks at the same prefix with names of another kind.
    pub fn with_names(&self, names: Names) -> Self {
        Self { names, view: Arc::default(), ..self.clone() }
    }

    /// Names folders of which a file is taken instead of an object of the same name, length and digest, so that it need
    /// not be sent from the store: where the listing tells a digest, which is MD5.
    pub fn with_twins(&self, twins: Vec<Folder>) -> Self {
        Self { twins, view: Arc::default(), ..self.clone() }
    }

    /// Puts an object unless there is one of its name.
    ///
    /// # Errors
    /// Where the store cannot be reached or refuses it.
    pub fn create(&self, name: &str, bytes: &[u8], caching: Caching) -> io::Result<Created> {
        self.shared.runtime.block_on(self.put_new(name, bytes.to_vec().into(), caching))
    }

    /// Puts an object in place of the one that was read or listed, or where none was found then.
    ///
    /// # Errors
    /// Where the store cannot be reached or refuses it.
    pub fn replace(&self, name: &str, bytes: &[u8], caching: Caching) -> io::Result<Replaced> {
        self.shared.runtime.block_on(self.put_over(name, bytes.to_vec().into(), caching))
    }

    /// Tells whether an object is still the one that was read, or still absent.
    ///
    /// # Errors
    /// Where the store cannot be reached or refuses it.
    pub fn is_as_seen(&self, name: &str) -> io::Result<bool> {
        let seen = self.seen(name);
        let now = match self.shared.runtime.block_on(self.shared.store.head(&self.key(name)?)) {
            Err(Error::NotFound { .. }) => None,
            now => now.map_err(io_error)?.e_tag,
        };
        Ok(same_tag(&seen.and_then(|version| version.e_tag), &now))
    }

    /// Tells whether there is no object of a name now, whatever was seen before.
    ///
    /// # Errors
    /// Where the store cannot be reached or refuses it.
    pub fn is_absent(&self, name: &str) -> io::Result<bool> {
        match self.shared.runtime.block_on(self.shared.store.head(&self.key(name)?)) {
            Err(Error::NotFound { .. }) => Ok(true),
            found => found.map(|_| false).map_err(io_error),
        }
    }

    /// Lists the prefix, one request for a thousand objects. What is looked at from then on is what was listed.
    ///
    /// # Errors
    /// Where the store cannot be reached or refuses it.
    pub fn survey(&self) -> io::Result<()> {
        self.listing().map(drop)
    }

    fn listing(&self) -> io::Result<&BTreeMap<String, ObjectMeta>> {
        if let Some(listing) = self.view.listing.get() {
            return Ok(listing);
        }
        let prefix = Some(Key::parse(&self.prefix).map_err(|error| io_error(error.into()))?);
        let mut listing = BTreeMap::new();
        self.shared.runtime.block_on(async {
            let mut objects = self.shared.store.list(prefix.as_ref());
            while let Some(object) = objects.next().await {
                let object = object.map_err(io_error)?;
                if let Some(name) = self.name(&object.location) {
                    listing.insert(name, object);
                }
            }
            Ok::<_, io::Error>(())
        })?;
        Ok(self.view.listing.get_or_init(|| listing))
    }

    /// Returns the name of an object's file.
    fn name(&self, key: &Key) -> Option<String> {
        let below = match self.prefix.as_str() {
            "" => key.as_ref(),
            prefix => key.as_ref().strip_prefix(prefix)?.strip_prefix('/')?,
        };
        Some(match self.names {
            Names::Plain => below.to_owned(),
            Names::Encoded => encoded(below),
        })
    }

    /// Returns the name of a file's object.
    pub(super) fn key(&self, name: &str) -> io::Result<Key> {
        let name = match self.names {
            Names::Plain => name.to_owned(),
            Names::Encoded => decoded(name),
        };
        let full = if self.prefix.is_empty() { name } else { format!("{}/{name}", self.prefix) };
        let key = Key::parse(&full).map_err(|error| io_error(error.into()))?;
        // a slash too many is dropped on the way there, and then it would be another object
        match key.as_ref() == full {
            true => Ok(key),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "no object can be called so")),
        }
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        self.shared.store.as_ref()
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.shared.runtime.block_on(work)
    }

    /// Returns the runtime, for work beside what is waited for.
    pub(super) fn handle(&self) -> &tokio::runtime::Handle {
        self.shared.runtime.handle()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.view.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns which version of an object was read, else listed.
    fn seen(&self, name: &str) -> Option<UpdateVersion> {
        if let Some(seen) = self.lock().get(name) {
            return seen.version.clone();
        }
        let listed = self.view.listing.get()?.get(name)?;
        Some(UpdateVersion { e_tag: listed.e_tag.clone(), version: listed.version.clone() })
    }

    /// Fetches an object as it is now.
    async fn fetch(&self, name: &str, limit: u64) -> io::Result<Option<(ObjectMeta, Vec<u8>)>> {
        let Some(found) = self.request(name).await? else { return Ok(None) };
        let (meta, mut chunks) = (found.meta.clone(), found.into_stream());
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(io_error)?);
            if bytes.len() as u64 > limit {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("longer than {limit} bytes"),
                ));
            }
        }
        Ok(Some((meta, bytes)))
    }

    async fn request(&self, name: &str) -> io::Result<Option<GetResult>> {
        match self.shared.store.get(&self.key(name)?).await {
            Err(error @ Error::NotFound { .. }) => {
                let error = io_error(error);
                if error.to_string().contains("bucket") { Err(error) } else { Ok(None) }
            }
            found => Ok(Some(found.map_err(io_error)?)),
        }
    }

    /// Returns the file of a twin that has the same bytes as the object.
    fn twin(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let listed = self.view.listing.get()?.get(name)?;
        let tag = listed.e_tag.as_deref().map(bare)?;
        self.twins.iter().find_map(|folder| {
            // a file that cannot be read is no twin
            let same_length = folder.length(name).is_ok_and(|length| length == Some(listed.size));
            let bytes = folder.read(name, limit).ok().flatten().filter(|_| same_length)?;
            (hex::encode(Md5::digest(&bytes)) == tag).then_some(bytes)
        })
    }

    pub(super) async fn put_new(
        &self,
        name: &str,
        bytes: bytes::Bytes,
        caching: Caching,
    ) -> io::Result<Created> {
        let key = self.key(name)?;
        for attempt in 0..COLLISIONS {
            let options = PutOptions {
                mode: PutMode::Create,
                attributes: attributes(name, caching),
                ..PutOptions::default()
            };
            match self.shared.store.put_opts(&key, bytes.clone().into(), options).await {
                Ok(_) => return Ok(Created::New),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                Err(error) => return Err(io_error(error)),
            }
            match self.fetch(name, bytes.len() as u64).await {
                Ok(Some((_, present))) if present == bytes => return Ok(Created::Same),
                Ok(Some(_)) => return Ok(Created::Other),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(Created::Other),
                // another put of this name is under way
                Ok(None) => tokio::time::sleep(Duration::from_millis(50 << attempt)).await,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the store says that it is there and does not have it"))
    }

    pub(super) async fn put_over(
        &self,
        name: &str,
        bytes: bytes::Bytes,
        caching: Caching,
    ) -> io::Result<Replaced> {
        let Some(seen) = self.seen(name) else {
            return Ok(match self.put_new(name, bytes, caching).await? {
                Created::New | Created::Same => Replaced::Done,
                Created::Other => Replaced::Overtaken,
            });
        };
        for attempt in 0..COLLISIONS {
            match self.put_update(name, &bytes, caching, &seen).await {
                Ok(()) => return Ok(Replaced::Done),
                Err(Error::Precondition { .. } | Error::AlreadyExists { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(io_error(error)),
            }
            match self.fetch(name, bytes.len().max(usize::try_from(KEPT).unwrap_or(usize::MAX)) as u64).await
            {
                // an answer got lost on its way, and the request was made again
                Ok(Some((_, present))) if present == bytes => return Ok(Replaced::Done),
                Ok(Some((meta, _))) if same_tag(&meta.e_tag, &seen.e_tag) => {
                    // it is what was read: either another put failed meanwhile, or the server wants its tags bare
                    self.shared.bare_tags.fetch_xor(true, Ordering::Relaxed);
                    if attempt > 0 {
                        tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::FileTooLarge => return Err(error),
                _ => return Ok(Replaced::Overtaken),
            }
        }
        Err(io::Error::other("the store refuses to replace what has not changed: it must know If-Match"))
    }

    async fn put_update(
        &self,
        name: &str,
        bytes: &bytes::Bytes,
        caching: Caching,
        seen: &UpdateVersion,
    ) -> Result<(), Error> {
        let mut version = seen.clone();
        version.e_tag = version.e_tag.map(|tag| match self.shared.bare_tags.load(Ordering::Relaxed) {
            true => bare(&tag).to_owned(),
            // listings of some stores leave the quotes out
            false => format!("\"{}\"", bare(&tag)),
        });
        let options = PutOptions {
            mode: PutMode::Update(version),
            attributes: attributes(name, caching),
            ..PutOptions::default()
        };
        let key = self.key(name).map_err(|error| Error::Generic { store: "key", source: error.into() })?;
        self.shared.store.put_opts(&key, bytes.clone().into(), options).await.map(drop)
    }
}

impl ReadFiles for Bucket {
    /// Reads an object. What was read once is what it is for as long as this value lives; where it was replaced in the
    /// meantime, and is too long to be kept, that is an error.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let known = self.lock().get(name).cloned();
        match &known {
            Some(Seen { version: None, .. }) => return Ok(None),
            Some(Seen { bytes: Some(bytes), .. }) => return Ok(Some(bytes.to_vec())),
            _ => {}
        }
        // with a listing, what it does not have is not asked for
        if self.view.listing.get().is_some_and(|listing| !listing.contains_key(name)) {
            return Ok(None);
        }
        if let Some(bytes) = self.twin(name, limit) {
            return Ok(Some(bytes));
        }
        let found = self.shared.runtime.block_on(self.fetch(name, limit))?;
        let Some((meta, bytes)) = found else {
            self.lock().insert(name.to_owned(), Seen { version: None, bytes: None });
            return Ok(None);
        };
        if known.and_then(|seen| seen.version).is_some_and(|version| !same_tag(&version.e_tag, &meta.e_tag)) {
            return Err(io::Error::other("somebody has replaced it while it was looked at"));
        }
        let version = Some(UpdateVersion { e_tag: meta.e_tag, version: meta.version });
        let kept = (bytes.len() as u64 <= KEPT).then(|| Arc::from(bytes.as_slice()));
        self.lock().insert(name.to_owned(), Seen { version, bytes: kept });
        Ok(Some(bytes))
    }
}

impl Storage for Bucket {
    fn place(&self, name: &str) -> PathBuf {
        let parts = [self.shared.shown.as_str(), &self.prefix, name];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        PathBuf::from(parts.join("/"))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let visible = |name: &&String| !name.starts_with('.') && !name.contains('/');
        Ok(self.listing()?.keys().filter(visible).cloned().collect())
    }

    fn walk(&self, visit: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        self.listing()?.keys().try_for_each(|name| visit(name))
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.listing()?.get(name).map(|object| object.size))
    }

    fn modified(&self, name: &str) -> io::Result<Option<SystemTime>> {
        Ok(self.listing()?.get(name).map(|object| object.last_modified.into()))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        if let Some(bytes) = self.twin(name, u64::MAX) {
            return Ok(Some(Box::new(io::Cursor::new(bytes))));
        }
        let Some(found) = self.shared.runtime.block_on(self.request(name))? else { return Ok(None) };
        let body = Body {
            shared: Arc::clone(&self.shared),
            chunks: found.into_stream(),
            chunk: bytes::Bytes::new(),
        };
        Ok(Some(Box::new(body)))
    }

    fn remove(&self, names: &[&str]) -> io::Result<()> {
        let keys: Vec<_> = names.iter().map(|name| self.key(name).map(Ok)).collect::<io::Result<_>>()?;
        self.shared.runtime.block_on(async {
            let mut removed = self.shared.store.delete_stream(futures_util::stream::iter(keys).boxed());
            while let Some(result) = removed.next().await {
                match result {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(io_error(error)),
                }
            }
            Ok(())
        })
    }
}

/// The bytes of an object as they arrive.
struct Body {
    shared: Arc<Shared>,
    chunks: BoxStream<'static, Result<bytes::Bytes, Error>>,
    chunk: bytes::Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.shared.runtime.block_on(self.chunks.next()) {
                None => return Ok(0),
                Some(chunk) => self.chunk = chunk.map_err(io_error)?,
            }
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// Says what an object is and how long it may be kept, to those who fetch it.
pub(super) fn attributes(name: &str, caching: Caching) -> Attributes {
    let kind = if name.ends_with(".json") { "application/json" } else { "application/octet-stream" };
    let caching = match caching {
        Caching::Forever => "public, max-age=31536000, immutable",
        Caching::Never => "no-cache",
    };
    Attributes::from_iter([(Attribute::ContentType, kind), (Attribute::CacheControl, caching)])
}

/// Compares entity tags in either spelling.
fn same_tag(one: &Option<String>, other: &Option<String>) -> bool {
    one.as_deref().map(bare) == other.as_deref().map(bare)
}

/// Returns an entity tag without its quotes.
fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Decodes what was encoded; a name that was not stays as it is.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let code = digit(rest.next())
            .zip(digit(rest.next()))
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let Some(code) = code else { return name.to_owned() };
        bytes.push(code);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
