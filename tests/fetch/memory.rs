//! Memory stays flat whatever a server sends: a large target, answers and heads of answers without end.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use tuf::metadata::{Algorithm, Extra, Hasher, TargetFile};

use crate::host::find;
use crate::scene::{Scene, simulator};
use crate::simulator::Simulator;

/// What a run may take at most, in KiB: half of what the smallest machines have, and far below what is sent here.
const MOST_KIB: u64 = 32 * 1024;
const LARGE: u64 = 256 << 20;

/// What a server does with a connection.
type Answer = fn(&mut TcpStream) -> std::io::Result<()>;

/// A repository whose one target is large and all zero.
fn scene() -> Scene {
    let mut hasher = Hasher::new([Algorithm::Sha256]);
    let block = vec![0; 1 << 20];
    (0..LARGE >> 20).for_each(|_| hasher.update(&block));
    let (length, hashes) = hasher.finish();
    let mut simulator = Simulator::new();
    simulator.add_target_file(
        "targets",
        "large",
        b"",
        TargetFile { length, hashes, custom: None, extra: Extra::new() },
    );
    simulator.publish_all();
    Scene::started(&simulator)
}

/// Serves the metadata of a scene; requests whose path holds `marked` are answered by a function.
fn serve(scene: &Scene, marked: &'static str, answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = scene.repository();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                let request = lines.next().unwrap_or(Ok(String::new()))?;
                lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
                let path = request.split(' ').nth(1).unwrap_or_default();
                if path.contains(marked) {
                    return answer(&mut stream);
                }
                let (status, body) =
                    std::fs::read(find(&folder, path)).map_or((404, vec![]), |body| (200, body));
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                )?;
                stream.write_all(&body)
            });
        }
    });
    url
}

/// Sends zeros until the client has had enough.
fn zeros(stream: &mut TcpStream) -> std::io::Result<()> {
    let block = vec![0; 1 << 16];
    loop {
        stream.write_all(&block)?;
    }
}

fn endless_body(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
    zeros(stream)
}

fn endless_header(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ")?;
    let block = vec![b'x'; 1 << 16];
    loop {
        stream.write_all(&block)?;
    }
}

fn endless_headers(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
    loop {
        stream.write_all(b"x-endless: x\r\n")?;
    }
}

/// Runs `tuf-fetch`; returns its exit code, what it said, and the most memory it had, in KiB.
fn watched(scene: &Scene, args: &[&str]) -> (i32, String, u64) {
    let mut command = scene.command(args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        most = peak.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0).max(most);
        if let Some(code) = child.try_wait().unwrap() {
            break code.code().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(most > 1024, "the memory of the run was not seen");
    (code, said, most)
}

#[test]
fn memory_stays_flat_while_a_large_target_comes() {
    let scene = scene();
    let url = serve(&scene, "large", endless_body);
    // more comes than is listed: it is cut at the length, where it is right
    let (code, said, most) = watched(&scene, &["--repo", &url, "update", "large"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::metadata(scene.work().join("targets/large")).unwrap().len(), LARGE);
    assert!(most < MOST_KIB, "{most} KiB for a target of {LARGE} bytes");
}

#[test]
fn memory_stays_flat_under_metadata_and_heads_without_end() {
    let answers: [(&str, Answer); 3] = [
        ("EndlessDataError", endless_body),
        ("DownloadError", endless_header),
        ("DownloadError", endless_headers),
    ];
    for (code, answer) in answers {
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let scene = Scene::started(&simulator());
            let url = serve(&scene, role, answer);
            let (exit, said, most) = watched(&scene, &["--repo", &url, "refresh"]);
            assert_eq!(exit, 1, "{said}");
            assert!(said.starts_with(&format!("error: {role}: {code}: ")), "{said}");
            assert!(most < MOST_KIB, "{most} KiB for {said}");
        }
    }
}
