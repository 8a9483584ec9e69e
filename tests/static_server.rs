//! The development server as an HTTP client meets it: `metadata/` and `targets/`, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

use tuf::cli::static_server::serve;

fn site() -> (tempfile::TempDir, SocketAddr) {
    let site = tempfile::tempdir().unwrap();
    for folder in ["metadata", "targets/dir", "targets/.hidden", "keystore"] {
        std::fs::create_dir_all(site.path().join(folder)).unwrap();
    }
    for (name, text) in [
        ("metadata/1.root.json", "{}"),
        ("metadata/a%2Fb.json", "encoded"),
        ("metadata/.lock", "hidden"),
        ("targets/file", "0123456789"),
        ("targets/dir/with space+%.txt", "spaced"),
        ("targets/.hidden/file", "hidden"),
        ("keystore/root_key", "secret"),
    ] {
        std::fs::write(site.path().join(name), text).unwrap();
    }
    symlink(site.path().join("keystore"), site.path().join("targets/keys")).unwrap();
    symlink(site.path().join("keystore/root_key"), site.path().join("targets/key")).unwrap();
    let address = start(site.path());
    (site, address)
}

fn start(root: &Path) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    let root = root.to_owned();
    std::thread::spawn(move || {
        let bind = SocketAddr::from(([127, 0, 0, 1], 0));
        serve(&root, bind, |address| sender.send(address).unwrap(), |_| ()).unwrap();
    });
    receiver.recv().unwrap()
}

/// Sends lines as they stand and returns the head and the body of the answer.
fn ask(address: SocketAddr, lines: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{lines}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = ask(address, &format!("GET {path} HTTP/1.1"));
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

#[test]
fn serves_both_folders() {
    let (_site, address) = site();
    for (path, text) in [
        ("/metadata/1.root.json", "{}"),
        ("/metadata/a%2Fb.json", "encoded"),
        ("/metadata/a%252Fb.json", "encoded"),
        ("/targets/file", "0123456789"),
        ("/targets/file?query", "0123456789"),
        ("/targets/dir/with%20space%2B%25.txt", "spaced"),
    ] {
        assert_eq!(get(address, path), (200, text.to_owned()), "{path}");
    }
}

#[test]
fn serves_nothing_else() {
    let (_site, address) = site();
    for path in [
        "/",
        "/metadata",
        "/metadata/",
        "/targets/dir",
        "/targets/dir/",
        "/targets//file",
        "/targets/absent",
        "/metadata/.lock",
        "/metadata/%2Elock",
        "/targets/.hidden/file",
        "/keystore/root_key",
        "/targets/../keystore/root_key",
        "/targets/%2e%2e/keystore/root_key",
        "/targets/..%2fkeystore%2froot_key",
        "/targets/dir%2Ffile",
        "/targets/keys/root_key",
        "/targets/key",
        "/targets/file%00",
        "/targets/%zz",
        "http://x/targets/../keystore/root_key",
    ] {
        assert_eq!(get(address, path).0, 404, "{path}");
    }
}

#[test]
fn only_reads() {
    let (_site, address) = site();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) = ask(address, &format!("{method} /targets/file HTTP/1.1"));
        assert!(head.starts_with("HTTP/1.1 405"), "{head}");
        assert!(head.contains("allow: GET, HEAD"), "{head}");
    }
}

#[test]
fn head_says_the_length_and_sends_nothing() {
    let (_site, address) = site();
    let (head, body) = ask(address, "HEAD /targets/file HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 10"), "{head}");
    assert_eq!(body, b"");
}

#[test]
fn serves_single_ranges() {
    let (_site, address) = site();
    let (head, body) = ask(address, "GET /targets/file HTTP/1.1\r\nrange: bytes=4-");
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("content-range: bytes 4-9/10"), "{head}");
    assert_eq!(body, b"456789");
    let (head, _) = ask(address, "GET /targets/file HTTP/1.1\r\nrange: bytes=10-");
    assert!(head.starts_with("HTTP/1.1 416") && head.contains("content-range: bytes */10"), "{head}");
}

#[test]
fn one_connection_serves_many_requests() {
    let (_site, address) = site();
    let mut stream = TcpStream::connect(address).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /targets/file HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0123456789") {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0);
            answer.extend_from_slice(&piece[..count]);
        }
    }
}

#[test]
fn a_large_file_arrives_whole() {
    let (site, address) = site();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(site.path().join("targets/large"), &bytes).unwrap();
    let (_, body) = ask(address, "GET /targets/large HTTP/1.1");
    assert!(body == bytes);
}

#[test]
fn a_folder_that_is_no_repository_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let error = serve(empty.path(), bind, |_| panic!("it is not ready"), |_| ()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
