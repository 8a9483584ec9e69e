//! The attacker of `docs/attacks.sh`: test code, no part of the product.
//!
//! `attacker serve MODE` is a server that means harm; it prints its URL. The modes: `silent` takes a request and says
//! nothing, `drip` sends one byte of a body a second, `headers` never finishes its headers, `endless` never ends a body,
//! `resets` breaks each connection.
//!
//! `attacker forge METADATA SNAPSHOT_KEY TIMESTAMP_KEY` makes the next snapshot and timestamp of a repository with two
//! stolen keys, whatever the thresholds are.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use tuf::crypto::{PrivateKey, Signer};
use tuf::metadata::{MetaFile, Metadata, Signature, Signed, Snapshot, Timestamp};

type Outcome = Result<(), Box<dyn Error>>;

const USAGE: &str = "attacker serve silent|drip|headers|endless|resets, or \
                     attacker forge METADATA SNAPSHOT_KEY TIMESTAMP_KEY";

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", mode] => serve(mode),
        ["forge", metadata, snapshot, timestamp] => forge(metadata.as_ref(), snapshot, timestamp),
        _ => Err(USAGE.into()),
    }
}

fn serve(mode: &str) -> Outcome {
    let answer = match mode {
        "silent" => silent,
        "drip" => drip,
        "headers" => headers,
        "endless" => endless,
        "resets" => resets,
        _ => return Err(USAGE.into()),
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            // whoever hangs up has won
            let _ = stream.read(&mut [0; 4096]).and_then(|_| answer(stream));
        });
    }
    Ok(())
}

fn silent(_stream: TcpStream) -> std::io::Result<()> {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn drip(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
    loop {
        stream.write_all(b" ")?;
        thread::sleep(Duration::from_secs(1));
    }
}

fn headers(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ")?;
    loop {
        stream.write_all(b"x")?;
        thread::sleep(Duration::from_secs(1));
    }
}

fn endless(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    loop {
        stream.write_all(&[b' '; 65536])?;
    }
}

fn resets(_stream: TcpStream) -> std::io::Result<()> {
    Ok(())
}

fn forge(metadata: &Path, snapshot_key: &str, timestamp_key: &str) -> Outcome {
    let live: Metadata<Timestamp> = Metadata::from_bytes(&fs::read(metadata.join("timestamp.json"))?)?;
    let mut timestamp = live.into_signed();
    let version = timestamp.snapshot().ok_or("the timestamp names no snapshot")?.version;
    let live = fs::read(metadata.join(format!("{version}.snapshot.json")))?;
    let mut snapshot = Metadata::<Snapshot>::from_bytes(&live)?.into_signed();
    snapshot.version += 1;
    timestamp.version += 1;
    timestamp.meta.insert("snapshot.json".to_owned(), MetaFile::new(snapshot.version));
    let name = format!("{}.snapshot.json", snapshot.version);
    fs::write(metadata.join(name), signed(snapshot, snapshot_key)?)?;
    fs::write(metadata.join("timestamp.json"), signed(timestamp, timestamp_key)?)?;
    Ok(())
}

fn signed<T: Signed>(role: T, key: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let key = PrivateKey::from_pem(&fs::read(key)?, None)?;
    let mut metadata = Metadata::unsigned(role)?;
    let bytes = key.sign(&key.public_key().scheme, metadata.signed_bytes())?;
    metadata.signatures.push(Signature::new(key.public_key().id(), &bytes));
    Ok(metadata.to_bytes()?)
}
