//! A server for development: `metadata/` and `targets/` of a repository over HTTP/1.1, and nothing else.
//!
//! Not for production: one thread, no TLS. A file is sent in pieces, so the memory stays flat.

use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::static_body::FileBody;
use crate::client::confined::Folder;

/// Serves a repository until the process ends.
///
/// `on_ready` hears the address once connections are accepted (port 0 chooses a free one), `log` a line for each
/// request.
///
/// # Errors
/// [`io::Error`] where neither folder is there or the address is taken.
pub fn serve(
    root: &Path,
    bind: SocketAddr,
    on_ready: impl FnOnce(SocketAddr),
    log: impl Fn(&str) + 'static,
) -> io::Result<()> {
    let site = Rc::new(Site::open(root)?);
    let log: Rc<dyn Fn(&str)> = Rc::new(log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(bind).await?;
        on_ready(listener.local_addr()?);
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // out of file handles, or a client that went away: both pass
                    log(&format!("a connection was lost: {error}"));
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (site, log) = (Rc::clone(&site), Rc::clone(&log));
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = site.answer(&request);
                let length =
                    answer.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
                let (status, length) = (answer.status().as_u16(), length.unwrap_or("-"));
                log(&format!("{} {} {status} {length}", request.method(), request.uri().path()));
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::task::spawn_local(async move {
                let mut http = http1::Builder::new();
                // a client that goes away in the middle is its own affair
                let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

/// The folder that holds `metadata/` and `targets/`.
struct Site {
    root: PathBuf,
}

/// How the parts of a URL name files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// As they stand: the files of roles have percent-encoded names.
    AsRequested,
    /// Percent-decoded.
    Decoded,
}

impl Site {
    fn open(root: &Path) -> io::Result<Self> {
        let site = Self { root: root.to_owned() };
        if site.folder("metadata").is_none() && site.folder("targets").is_none() {
            let message = format!("{} has neither a folder metadata nor a folder targets", root.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(site)
    }

    /// Opens one of the two folders, with each request anew: a maintainer may have replaced it.
    fn folder(&self, name: &str) -> Option<Folder> {
        Folder::open(&self.root.join(name)).ok()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<FileBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let path = request.uri().path();
        let answer = match self.find(path).and_then(|file| Some((file.metadata().ok()?, file))) {
            Some((metadata, file)) => file_answer(path, file, &metadata, request.headers()),
            None => plain(StatusCode::NOT_FOUND, "not found"),
        };
        if *request.method() == Method::HEAD { answer.map(|_| FileBody::empty()) } else { answer }
    }

    fn find(&self, path: &str) -> Option<File> {
        let (top, rest) = path.strip_prefix('/')?.split_once('/')?;
        let namings: &[Naming] = match top {
            "metadata" => &[Naming::AsRequested, Naming::Decoded],
            "targets" => &[Naming::Decoded],
            _ => return None,
        };
        let folder = self.folder(top)?;
        namings.iter().find_map(|naming| {
            let parts: Option<Vec<String>> = rest.split('/').map(|part| named(part, *naming)).collect();
            find(&folder, &parts?)
        })
    }
}

/// Returns the name that a part of a URL means; `None` for what is never served: leaving the folder, dot files.
fn named(part: &str, naming: Naming) -> Option<String> {
    let name = match naming {
        Naming::AsRequested => part.to_owned(),
        Naming::Decoded => decoded(part)?,
    };
    let served = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    served.then_some(name)
}

fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn find(folder: &Folder, parts: &[String]) -> Option<File> {
    let (name, folders) = parts.split_last()?;
    let mut above: Option<Folder> = None;
    for part in folders {
        above = Some(above.as_ref().unwrap_or(folder).folder(part).ok()??);
    }
    above.as_ref().unwrap_or(folder).file(name).ok()?
}

fn file_answer(path: &str, file: File, metadata: &Metadata, asked: &HeaderMap) -> Response<FileBody> {
    let length = metadata.len();
    let tag =
        format!("\"{:x}-{length:x}-{:x}.{:x}\"", metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
    let kind = if path.ends_with(".json") { "application/json" } else { "application/octet-stream" };
    let (status, start, count) = match range(asked, &tag, length) {
        Range::All => (StatusCode::OK, 0, length),
        Range::Part { start, count } => (StatusCode::PARTIAL_CONTENT, start, count),
        Range::Unsatisfiable => {
            let mut refused = plain(StatusCode::RANGE_NOT_SATISFIABLE, "no such range");
            set(refused.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{length}"));
            return refused;
        }
    };
    let Ok(body) = FileBody::part(file, start, count) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read");
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    set(headers, header::CONTENT_TYPE, kind);
    set(headers, header::CONTENT_LENGTH, &count.to_string());
    set(headers, header::ACCEPT_RANGES, "bytes");
    set(headers, header::ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        set(headers, header::CONTENT_RANGE, &format!("bytes {start}-{}/{length}", start + count - 1));
    }
    answer
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    All,
    Part { start: u64, count: u64 },
    Unsatisfiable,
}

/// Reads a single range. Several ranges, other units and a file that has changed since lead to the whole file, as
/// RFC 9110 allows.
fn range(asked: &HeaderMap, tag: &str, length: u64) -> Range {
    if asked.get(header::IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != tag.as_bytes()) {
        return Range::All;
    }
    let range = asked.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Range::All;
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX));
    let (start, end) = match (first, last) {
        ("", "") => return Range::All,
        ("", suffix) => match number(suffix) {
            Some(suffix) => (length.saturating_sub(suffix), length),
            None => return Range::All,
        },
        (first, "") => match number(first) {
            Some(first) => (first, length),
            None => return Range::All,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(length)),
            _ => return Range::All,
        },
    };
    if start >= end { Range::Unsatisfiable } else { Range::Part { start, count: end - start } }
}

fn plain(status: StatusCode, text: &'static str) -> Response<FileBody> {
    let mut answer = Response::new(FileBody::text(text));
    *answer.status_mut() = status;
    set(answer.headers_mut(), header::CONTENT_TYPE, "text/plain; charset=utf-8");
    set(answer.headers_mut(), header::CONTENT_LENGTH, &text.len().to_string());
    answer
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(range).unwrap())])
    }

    #[test]
    fn reads_single_ranges() {
        for (text, expected) in [
            ("bytes=0-3", Range::Part { start: 0, count: 4 }),
            ("bytes=4-", Range::Part { start: 4, count: 6 }),
            ("bytes=-3", Range::Part { start: 7, count: 3 }),
            ("bytes=-99", Range::Part { start: 0, count: 10 }),
            ("bytes=8-99999999999999999999999", Range::Part { start: 8, count: 2 }),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-4", Range::All),
            ("bytes=0-1,4-5", Range::All),
            ("bytes=-", Range::All),
            ("lines=1-2", Range::All),
        ] {
            assert_eq!(range(&asked(text), "\"x\"", 10), expected, "{text}");
        }
        assert_eq!(range(&HeaderMap::new(), "\"x\"", 10), Range::All);
    }

    #[test]
    fn a_range_of_a_file_that_has_changed_is_the_whole_file() {
        let mut headers = asked("bytes=4-");
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"old\""));
        assert_eq!(range(&headers, "\"new\"", 10), Range::All);
        assert_eq!(range(&headers, "\"old\"", 10), Range::Part { start: 4, count: 6 });
    }

    #[test]
    fn no_part_of_a_path_leads_out_or_to_a_hidden_file() {
        for part in [
            "",
            ".",
            "..",
            ".drafts",
            "%2Edrafts",
            ".tuf-put",
            "%2etuf-fetch",
            ".TUF-tmp",
            "%2e%2e",
            "a%2Fb",
            "%2fetc",
            "a%00",
            "%",
            "%zz",
            "%ff",
        ] {
            assert_eq!(named(part, Naming::Decoded), None, "{part}");
        }
        assert_eq!(named("a%20b", Naming::Decoded).as_deref(), Some("a b"));
        assert_eq!(named("1.a%2Fb.json", Naming::AsRequested).as_deref(), Some("1.a%2Fb.json"));
        assert_eq!(named(".lock", Naming::AsRequested), None);
    }
}
