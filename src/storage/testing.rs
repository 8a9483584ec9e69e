//! A store in memory that notes what is asked of it and breaks down when it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::Bucket;

/// Which moment of a changing request is the last thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakdown {
    /// The request is not carried out.
    Before,
    /// It is carried out, and its answer is lost.
    After,
}

/// What a request is told before it is carried out.
type Hook = Box<dyn Fn(&str) -> ControlFlow<()> + Send + Sync>;

/// The store. Its clones share everything.
#[derive(Clone)]
pub struct Memory {
    objects: Arc<InMemory>,
    log: Arc<Mutex<Vec<String>>>,
    left: Arc<AtomicUsize>,
    breakdown: Breakdown,
    name: &'static str,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Memory {
    pub fn new() -> Self {
        Self::named("s3://memory")
    }

    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            objects: Arc::new(InMemory::new()),
            log: Arc::default(),
            left: Arc::new(AtomicUsize::new(usize::MAX)),
            breakdown: Breakdown::Before,
            hook: Arc::default(),
        }
    }

    /// Breaks down at the n-th changing request from now on, counted from 1, and stays so.
    pub fn breaks_at(&self, n: usize, breakdown: Breakdown) -> Self {
        Self { left: Arc::new(AtomicUsize::new(n)), breakdown, ..self.clone() }
    }

    /// Does something before each request, such as `PUT metadata/1.root.json`, as long as that says to continue.
    pub fn before_requests(&self, hook: impl Fn(&str) -> ControlFlow<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Returns what was asked since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Looks at the whole store.
    pub fn bucket(&self) -> Bucket {
        Bucket::over(Arc::new(self.clone()), self.name, "").unwrap()
    }

    /// Returns every object with its bytes.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = self.objects.list(None).try_collect::<Vec<_>>().now_or_never().unwrap().unwrap();
        let read = |meta: ObjectMeta| {
            let found = self.objects.get(&meta.location).now_or_never().unwrap().unwrap();
            (meta.location.to_string(), found.bytes().now_or_never().unwrap().unwrap().to_vec())
        };
        objects.into_iter().map(read).collect()
    }

    /// Puts an object behind everybody's back.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        let at = Path::parse(name).unwrap();
        self.objects.put(&at, bytes.to_vec().into()).now_or_never().unwrap().unwrap();
    }

    /// Removes an object behind everybody's back.
    pub fn lose(&self, name: &str) {
        self.objects.delete(&Path::parse(name).unwrap()).now_or_never().unwrap().unwrap();
    }

    fn note(&self, request: String) {
        // taken out while it runs: it may make requests itself
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook
            && hook(&request).is_continue()
        {
            self.hook.lock().unwrap().get_or_insert(hook);
        }
        self.log.lock().unwrap().push(request);
    }

    /// Notes a request that changes something; tells whether it is to be carried out, and whether its answer arrives.
    fn change(&self, request: String) -> (bool, bool) {
        self.note(request);
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => (false, false),
            1 => (self.breakdown == Breakdown::After, false),
            _ => (true, true),
        }
    }
}

fn broken<T>() -> Result<T> {
    Err(Error::Generic { store: "memory", source: "it broke down".into() })
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

#[async_trait]
impl ObjectStore for Memory {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (happens, arrives) = self.change(format!("PUT {at}"));
        let result = if happens { self.objects.put_opts(at, payload, options).await } else { broken() };
        if arrives { result } else { broken() }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (happens, arrives) = self.change(format!("POST {at}"));
        if happens && arrives { self.objects.put_multipart_opts(at, options).await } else { broken() }
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(format!("{} {at}", if options.head { "HEAD" } else { "GET" }));
        self.objects.get_opts(at, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |at: Result<Path>| {
            let store = store.clone();
            async move {
                let at = at?;
                let (happens, arrives) = store.change(format!("DELETE {at}"));
                if happens {
                    store.objects.delete(&at).await?;
                }
                if arrives { Ok(at) } else { broken() }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note(format!("LIST {}", prefix.map_or("", |prefix| prefix.as_ref())));
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
