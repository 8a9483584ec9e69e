//! A server that speaks as much of S3 as `tuf-repo` uses, with its objects in memory: puts under conditions, reads, listings,
//! deletions. Credentials are not looked at. Everybody may read an object at its URL. `interop/bucket-server.sh` has a real
//! server; this one is there in every test run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::thread;

use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};

const BUCKET: &str = "bucket";

struct Object {
    bytes: Bytes,
    modified: DateTime<Utc>,
}

impl Object {
    fn tag(&self) -> String {
        format!("\"{}\"", hex::encode(Md5::digest(&self.bytes)))
    }
}

struct Store {
    objects: BTreeMap<String, Object>,
    now: DateTime<Utc>,
}

/// The server. It runs until the test program ends.
#[derive(Clone)]
pub struct BucketServer {
    endpoint: String,
    store: Arc<Mutex<Store>>,
}

impl BucketServer {
    /// Starts a server at a free port, with its clock at a time.
    pub fn start(now: DateTime<Utc>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let store = Arc::new(Mutex::new(Store { objects: BTreeMap::new(), now }));
        let server = Self { endpoint, store: Arc::clone(&store) };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, store));
        });
        server
    }

    /// The bucket, as it is named on the command line.
    pub fn to(&self) -> String {
        format!("s3://{BUCKET}")
    }

    /// The bucket, as everybody reads it.
    pub fn url(&self) -> String {
        format!("{}/{BUCKET}", self.endpoint)
    }

    /// The environment of a command that is to find the server.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "nobody".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nothing".to_owned()),
        ]
    }

    /// Sets the clock by which objects are put.
    pub fn set_clock(&self, now: DateTime<Utc>) {
        self.store.lock().unwrap().now = now;
    }

    /// Returns the bytes of an object.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.store.lock().unwrap().objects.get(key).map(|object| object.bytes.to_vec())
    }

    /// Returns every object with its bytes.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let store = self.store.lock().unwrap();
        store.objects.iter().map(|(key, object)| (key.clone(), object.bytes.to_vec())).collect()
    }
}

async fn serve(listener: std::net::TcpListener, store: Arc<Mutex<Store>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let answer = |request: Request<Incoming>| {
                let store = Arc::clone(&store);
                async move { Ok::<_, Infallible>(answer(request, &store).await) }
            };
            // a client that was killed hangs up
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>, store: &Mutex<Store>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    // what a killed client did not send to its end is not put
    let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let path = decoded(head.uri.path());
    let Some(key) = path.strip_prefix(&format!("/{BUCKET}")) else { return plain(StatusCode::NOT_FOUND) };
    let key = key.trim_start_matches('/').to_owned();
    let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut store = store.lock().unwrap();
    match head.method {
        Method::GET if key.is_empty() => listing(&store, head.uri.query().unwrap_or_default()),
        Method::GET | Method::HEAD => match store.objects.get(&key) {
            Some(object) => found(object, head.method == Method::GET),
            None => plain(StatusCode::NOT_FOUND),
        },
        Method::PUT => {
            let there = store.objects.get(&key).map(Object::tag);
            let is_refused = header(IF_NONE_MATCH).is_some() && there.is_some()
                || header(IF_MATCH).is_some_and(|tag| there.as_deref() != Some(tag));
            if is_refused {
                return plain(StatusCode::PRECONDITION_FAILED);
            }
            let object = Object { bytes: body, modified: store.now };
            let answer = Response::builder().header(ETAG, object.tag());
            store.objects.insert(key, object);
            answer.body(Full::default()).unwrap()
        }
        Method::POST if key.is_empty() => delete(&mut store, &String::from_utf8_lossy(&body)),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

fn found(object: &Object, with_bytes: bool) -> Response<Full<Bytes>> {
    let answer = Response::builder()
        .header(ETAG, object.tag())
        .header(LAST_MODIFIED, object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .header(CONTENT_LENGTH, object.bytes.len());
    let body = if with_bytes { object.bytes.clone() } else { Bytes::new() };
    answer.body(Full::new(body)).unwrap()
}

fn listing(store: &Store, query: &str) -> Response<Full<Bytes>> {
    let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = decoded(prefix);
    let mut text = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
    for (key, object) in store.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        let modified = object.modified.format("%Y-%m-%dT%H:%M:%S.000Z");
        text += &format!(
            "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            object.tag(),
            object.bytes.len()
        );
    }
    Response::new(Full::from(text + "</ListBucketResult>"))
}

/// Carries out a deletion of several objects at once.
fn delete(store: &mut Store, request: &str) -> Response<Full<Bytes>> {
    let mut text = "<DeleteResult>".to_owned();
    for key in request.split("<Key>").skip(1).filter_map(|part| part.split("</Key>").next()) {
        store.objects.remove(key);
        text += &format!("<Deleted><Key>{key}</Key></Deleted>");
    }
    Response::new(Full::from(text + "</DeleteResult>"))
}

/// Undoes the encoding of names in URLs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let coded = after.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        rest = if coded.is_some() { &after[2..] } else { after };
        bytes.extend(coded.unwrap_or_else(|| vec![*first]));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
