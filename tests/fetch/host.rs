//! A small HTTP server over a folder that does to each request what a test tells it to, and writes all of them down.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A request, as far as tests care.
#[derive(Debug, Clone)]
pub struct Request {
    /// What stands in the request line: a path, or a whole URL where the server is a proxy.
    pub target: String,
    /// From which byte on the file is wanted, where a range is.
    pub from: Option<usize>,
    /// How many requests for the same target came before this one.
    pub before: usize,
}

/// What becomes of a request.
pub enum Answer {
    /// The file, or the range of it.
    Serve,
    /// The whole file, range or not.
    ServeWhole,
    /// The file, but the connection breaks after so many bytes of it.
    BreakAfter(usize),
    /// An empty answer of a status.
    Status(u16),
    /// A redirect.
    Redirect(String),
    /// A range that starts elsewhere than asked for.
    OtherRange,
    /// No answer: the connection is closed.
    Close,
}

/// A running server; it ends with the test program.
pub struct Host {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Host {
    pub fn start(folder: &Path, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (folder, seen) = (folder.to_owned(), Arc::clone(&requests));
        std::thread::spawn(move || {
            let answer = Arc::new(answer);
            for stream in listener.incoming().flatten() {
                let (folder, seen, answer) = (folder.clone(), Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    if let Some(request) = read(&stream, &seen) {
                        // a client that hangs up is no failure of a test
                        let _ = reply(&stream, &folder, &request, &answer(&request));
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// Returns the targets of the requests since the last call, with ` from N` where a range was asked for.
    pub fn requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        let line = |request: &Request| match request.from {
            Some(from) => format!("{} from {from}", request.target),
            None => request.target.clone(),
        };
        requests.iter().map(line).collect()
    }
}

fn read(stream: &TcpStream, seen: &Mutex<Vec<Request>>) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let target = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut from = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.split('-').next().and_then(|from| from.parse().ok());
        }
    }
    let mut seen = seen.lock().unwrap();
    let before = seen.iter().filter(|request| request.target == target).count();
    let request = Request { target, from, before };
    seen.push(request.clone());
    Some(request)
}

fn reply(mut stream: &TcpStream, folder: &Path, request: &Request, answer: &Answer) -> std::io::Result<()> {
    let empty = |status: u16, header: &str| {
        format!("HTTP/1.1 {status} X\r\n{header}content-length: 0\r\nconnection: close\r\n\r\n")
    };
    let Ok(body) = std::fs::read(file(folder, &request.target)) else {
        return stream.write_all(empty(404, "").as_bytes());
    };
    let (start, end) = match answer {
        Answer::Status(status) => return stream.write_all(empty(*status, "").as_bytes()),
        Answer::Redirect(to) => {
            return stream.write_all(empty(302, &format!("location: {to}\r\n")).as_bytes());
        }
        Answer::Close => return Ok(()),
        Answer::Serve => (request.from.unwrap_or(0), body.len()),
        Answer::OtherRange => (request.from.unwrap_or(1) - 1, body.len()),
        Answer::ServeWhole => (0, body.len()),
        Answer::BreakAfter(count) => (request.from.unwrap_or(0), request.from.unwrap_or(0) + count),
    };
    let partial = request.from.is_some() && !matches!(answer, Answer::ServeWhole);
    let (status, range) = if partial {
        (206, format!("content-range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len()))
    } else {
        (200, String::new())
    };
    let length = body.len() - start;
    let head = format!("HTTP/1.1 {status} X\r\n{range}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[start..end.min(body.len())])
}

/// Finds the file of a path or a URL.
fn file(folder: &Path, target: &str) -> PathBuf {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => target,
    };
    find(folder, path)
}

/// Finds the file of a path: metadata lies under the encoded name, targets do not.
pub fn find(folder: &Path, path: &str) -> PathBuf {
    let path = path.trim_start_matches('/');
    Some(folder.join(path)).filter(|file| file.exists()).unwrap_or_else(|| folder.join(decoded(path)))
}

/// Decodes `%XX` in a path of a URL.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
