//! Servers that mean harm or are in trouble: each is given up, in time and by name.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::scene::{Scene, simulator};

/// A server that answers each connection by a function, until the test ends.
fn server(answer: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                answer(stream);
            });
        }
    });
    url
}

fn drip(mut stream: TcpStream, head: &str) {
    let _ = stream.write_all(head.as_bytes());
    while stream.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn gives_up(answer: fn(TcpStream), line: &str) {
    let scene = Scene::started(&simulator());
    let started = Instant::now();
    scene.run(&["--repo", &server(answer), "--timeout", "1", "refresh"]).fails(1, line);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_silent_server_is_given_up() {
    gives_up(|_stream| std::thread::sleep(Duration::from_secs(60)), "root: SlowRetrievalError: ");
}

#[test]
fn a_server_that_never_finishes_its_headers_is_given_up() {
    gives_up(|stream| drip(stream, "HTTP/1.1 200 OK\r\nx-endless: "), "root: SlowRetrievalError: ");
}

#[test]
fn a_dripping_server_is_given_up() {
    let answer = |stream| drip(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
    gives_up(answer, "root: SlowRetrievalError: ");
}

#[test]
fn an_endless_answer_is_cut_off() {
    fn answer(mut stream: TcpStream) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b' '; 4096]).is_ok() {}
    }
    gives_up(answer, "root: EndlessDataError: ");
}

#[test]
fn a_server_in_trouble_is_no_end_of_the_root_chain() {
    fn answer(mut stream: TcpStream) {
        let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    }
    gives_up(answer, "root: DownloadError: ");
}

#[test]
fn redirects_lead_to_http_only() {
    fn answer(mut stream: TcpStream) {
        let _ = stream
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n");
    }
    gives_up(answer, "root: DownloadError: ");
    fn circle(mut stream: TcpStream) {
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n");
    }
    gives_up(circle, "root: DownloadError: ");
}

#[test]
fn a_connection_that_breaks_is_no_shorter_file() {
    fn answer(mut stream: TcpStream) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}");
    }
    gives_up(answer, "root: DownloadError: ");
}

#[test]
fn nobody_there_is_a_download_error() {
    let scene = Scene::started(&simulator());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = scene.run(&["--repo", &format!("http://{closed}"), "refresh"]);
    assert!(run.fails(1, "root: DownloadError: ").stderr().contains("Connection refused"));
}
