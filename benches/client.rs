//! `tuf-fetch` beside python-tuf's client and curl, over nginx on loopback: whole processes, in one run; beside the large
//! target also what its digest alone takes.
//!
//! `cargo bench --bench client` prints a table. `TUF_BENCH_RUNS` (default 5) is the number of runs, `TUF_BENCH_BIG`
//! (default 1 GiB) the length of the large target, `TUF_BENCH_DIR` where everything lies (default: the temporary folder;
//! it wants a few GiB), `TUF_BENCH_PYTHON` a Python that has PyPI's `tuf` 7.x, `TUF_BENCH_FETCH` another `tuf-fetch` than
//! the one that is built with the benchmark. A peer that is not there is left out.
//! Times are medians; memory is the peak of the process, read by `/usr/bin/time` where that is installed.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::Utc;
use tuf::crypto::{KeyType, PrivateKey, Signer};
use tuf::metadata::{
    Algorithm, Extra, Hasher, MetaFile, MetaMap, Metadata, RoleKeys, Root, Signature, Signed, Snapshot,
    TargetFile, TargetMap, TargetPath, Targets, Threshold, Timestamp,
};

type Failure = Box<dyn std::error::Error>;

const MANY: usize = 100_000;
const SMALL: (usize, usize) = (1000, 4096);

fn main() -> Result<(), Failure> {
    let runs = setting("TUF_BENCH_RUNS", 5)?;
    let big = setting("TUF_BENCH_BIG", 1 << 30)?;
    let base = env::var_os("TUF_BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("tuf-bench").tempdir_in(base)?;
    let bench = Bench { dir: dir.path().to_owned(), url: String::new() };
    bench.prepare(big)?;
    let server = Server::start(dir.path())?;
    let bench = Bench { url: server.url.clone(), ..bench };
    println!("| work | program | median | CPU | peak memory |\n|---|---|---|---|---|");
    bench.compare(runs, "fresh refresh, 100,000 targets", "many", Work::Refresh)?;
    bench.compare(runs, "refresh, nothing new, 100,000 targets", "many", Work::NothingNew)?;
    bench.compare(runs, "1,000 targets of 4 KiB", "small", Work::Download)?;
    bench.compare(runs, &format!("one target of {} MiB", big >> 20), "big", Work::Download)?;
    Ok(())
}

fn setting(name: &str, default: usize) -> Result<usize, Failure> {
    Ok(env::var(name).map_or(Ok(default), |text| text.parse())?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Refresh,
    NothingNew,
    Download,
}

struct Bench {
    dir: PathBuf,
    url: String,
}

impl Bench {
    /// Makes three repositories.
    fn prepare(&self, big: usize) -> Result<(), Failure> {
        let listed = |index: usize| {
            let path = format!("packages/{:02x}/package-{index:06}.tar.gz", index % 256);
            (path.clone(), described(path.as_bytes()))
        };
        publish(&self.dir.join("many"), (0..MANY).map(listed).collect())?;
        let mut small = BTreeMap::new();
        for index in 0..SMALL.0 {
            let mut bytes = vec![0; SMALL.1];
            bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
            let info = described(&bytes);
            let path = format!("file-{index:04}");
            put(&self.dir.join("small"), &path, &info, &bytes)?;
            small.insert(path, info);
        }
        publish(&self.dir.join("small"), small)?;
        let bytes: Vec<u8> = (0..big).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let info = described(&bytes);
        put(&self.dir.join("big"), "large", &info, &bytes)?;
        publish(&self.dir.join("big"), BTreeMap::from([("large".to_owned(), info)]))
    }

    fn compare(&self, runs: usize, title: &str, repository: &str, work: Work) -> Result<(), Failure> {
        let mut rows: [(&str, Vec<Measured>); 4] =
            [("tuf-fetch", vec![]), ("python-tuf", vec![]), ("curl", vec![]), ("openssl dgst", vec![])];
        for _ in 0..runs {
            rows[0].1.push(self.own(repository, work)?);
            if let Some(python) = env::var_os("TUF_BENCH_PYTHON") {
                rows[1].1.push(self.peer(Path::new(&python), repository, work)?);
            }
            if work != Work::NothingNew && present("curl") {
                rows[2].1.push(self.curl(repository, work)?);
            }
            if repository == "big" && present("openssl") {
                rows[3].1.push(self.digest(repository)?);
            }
        }
        for (program, mut all) in rows {
            if program == "openssl dgst" && repository != "big" {
                continue;
            }
            if all.is_empty() {
                println!("| {title} | {program} | left out | | |");
                continue;
            }
            all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
            let median = all[all.len() / 2].seconds;
            let cpu = all.iter().map(|measured| measured.cpu_seconds).sum::<f64>() / all.len() as f64;
            let memory = all.iter().filter_map(|measured| measured.peak_kib).max();
            let memory = memory.map_or("-".to_owned(), |kib| format!("{:.0} MiB", kib as f64 / 1024.0));
            println!("| {title} | {program} | {:.1} ms | {:.1} ms | {memory} |", median * 1e3, cpu * 1e3);
        }
        Ok(())
    }

    fn urls(&self, repository: &str) -> (String, String) {
        (format!("{}/{repository}/metadata/", self.url), format!("{}/{repository}/targets/", self.url))
    }

    fn names(&self, repository: &str) -> PathBuf {
        self.dir.join(repository).join("names")
    }

    fn own(&self, repository: &str, work: Work) -> Result<Measured, Failure> {
        let client = self.fresh("client")?;
        let (metadata, targets) = self.urls(repository);
        let root = self.dir.join(repository).join("metadata/1.root.json");
        let run = |args: &[&str], times: usize| {
            let usual = || env!("CARGO_BIN_EXE_tuf-fetch").into();
            let mut command = Command::new(env::var_os("TUF_BENCH_FETCH").unwrap_or_else(usual));
            command.current_dir(&client).args(["-q", "--metadata-url", &metadata]);
            command.args(["--target-base-url", &targets]).args(args);
            measure(&self.dir, command, times)
        };
        run(&["init", &root.to_string_lossy()], 1)?;
        match work {
            Work::Refresh => run(&["refresh"], 1),
            Work::NothingNew => {
                run(&["refresh"], 1)?;
                run(&["refresh"], 20)
            }
            Work::Download => {
                run(&["refresh"], 1)?;
                run(&["download", "--all"], 1)
            }
        }
    }

    fn peer(&self, python: &Path, repository: &str, work: Work) -> Result<Measured, Failure> {
        let client = self.fresh("peer")?;
        let (metadata, targets) = self.urls(repository);
        let root = self.dir.join(repository).join("metadata/1.root.json");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/client_peer.py");
        let run = |names: Option<&Path>| {
            let mut command = Command::new(python);
            command.current_dir(&client).arg(&script).args(["metadata", &metadata, "targets", &targets]);
            command.arg(&root).args(names);
            measure(&self.dir, command, 1)
        };
        match work {
            Work::Refresh => run(None),
            Work::NothingNew => {
                run(None)?;
                run(None)
            }
            Work::Download => {
                run(None)?;
                run(Some(&self.names(repository)))
            }
        }
    }

    /// One curl, with one connection, to files.
    fn curl(&self, repository: &str, work: Work) -> Result<Measured, Failure> {
        let client = self.fresh("curl")?;
        let (metadata, targets) = self.urls(repository);
        let mut config = String::new();
        if work == Work::Refresh {
            config = format!("url = \"{metadata}1.targets.json\"\noutput = \"targets.json\"\n");
        } else {
            for name in fs::read_to_string(self.dir.join(repository).join("copies"))?.split_whitespace() {
                config.push_str(&format!("url = \"{targets}{name}\"\noutput = \"{name}\"\n"));
            }
        }
        fs::write(client.join("config"), config)?;
        let mut command = Command::new("curl");
        command.current_dir(&client).args(["-s", "-S", "-f", "-K", "config"]);
        measure(&self.dir, command, 1)
    }

    /// One SHA-256 over a target where the server has it: less than that no client takes that verifies it.
    fn digest(&self, repository: &str) -> Result<Measured, Failure> {
        let copy = fs::read_to_string(self.dir.join(repository).join("copies"))?;
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256"]).arg(self.dir.join(repository).join("targets").join(copy.trim()));
        measure(&self.dir, command, 1)
    }

    fn fresh(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }
}

fn described(bytes: &[u8]) -> TargetFile {
    let hashes = Hasher::digest([Algorithm::Sha256], bytes);
    TargetFile { length: bytes.len() as u64, hashes, custom: None, extra: Extra::new() }
}

/// Puts a target's copy where consistent snapshots have it.
fn put(dir: &Path, path: &str, info: &TargetFile, bytes: &[u8]) -> Result<(), Failure> {
    fs::create_dir_all(dir.join("targets"))?;
    let digest = info.hashes.name_digest(Algorithm::Sha256).ok_or("the target has no SHA-256")?;
    let copy = TargetPath::parse(path)?.hash_named(digest);
    fs::write(dir.join("targets").join(&copy), bytes)?;
    let mut copies = File::options().create(true).append(true).open(dir.join("copies"))?;
    writeln!(copies, "{copy}")?;
    let mut names = File::options().create(true).append(true).open(dir.join("names"))?;
    Ok(writeln!(names, "{path}")?)
}

/// Signs and writes the four top-level roles, with lengths and digests listed.
fn publish(dir: &Path, targets: BTreeMap<String, TargetFile>) -> Result<(), Failure> {
    let expires = Utc::now() + chrono::Duration::days(30);
    let key = PrivateKey::generate(KeyType::Ed25519)?;
    let id = key.public_key().id();
    let mut root = Root::new(true, expires);
    root.keys.insert(id.clone(), key.public_key().clone());
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let keys = RoleKeys { keyids: vec![id.clone()], threshold: Threshold::ONE, extra: Extra::new() };
        root.roles.insert(role.to_owned(), keys);
    }
    fs::create_dir_all(dir.join("metadata"))?;
    let write = |name: &str, bytes: &[u8]| -> Result<MetaFile, Failure> {
        fs::write(dir.join("metadata").join(name), bytes)?;
        let hashes = Some(Hasher::digest([Algorithm::Sha256], bytes));
        Ok(MetaFile { length: Some(bytes.len() as u64), hashes, ..MetaFile::new(1) })
    };
    write("1.root.json", &signed(root, &key)?)?;
    let mut role = Targets::new(expires);
    role.targets = TargetMap::of(targets)?;
    let listed = write("1.targets.json", &signed(role, &key)?)?;
    let snapshot = Snapshot::new(MetaMap::of([("targets.json", listed)])?, expires);
    let listed = write("1.snapshot.json", &signed(snapshot, &key)?)?;
    write("timestamp.json", &signed(Timestamp::new(listed, expires), &key)?)?;
    Ok(())
}

fn signed<T: Signed>(role: T, key: &PrivateKey) -> Result<Vec<u8>, Failure> {
    let mut metadata = Metadata::unsigned(role)?;
    let bytes = key.sign(&key.public_key().scheme, metadata.signed_bytes())?;
    metadata.signatures.push(Signature::new(key.public_key().id(), &bytes));
    Ok(metadata.to_bytes()?)
}

/// nginx over a folder; where it is not installed, this project's own server.
struct Server {
    url: String,
    nginx: Option<Child>,
}

impl Server {
    fn start(dir: &Path) -> Result<Self, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let url = format!("http://{address}");
        if !present("nginx") {
            println!("nginx is not installed: the files come from this project's own server\n");
            let dir = dir.to_owned();
            std::thread::spawn(move || tuf::cli::static_server::serve(&dir, address, |_| (), |_| ()));
            wait_for(&address.to_string())?;
            return Ok(Self { url, nginx: None });
        }
        let config = format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
             events {{}}\nhttp {{ access_log off; sendfile on; keepalive_requests 100000;\n\
             client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3;\n\
             uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;\n\
             server {{ listen {address}; root {0}; }} }}\n",
            dir.display()
        );
        fs::write(dir.join("nginx.conf"), config)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(dir.join("nginx.conf")).stderr(Stdio::null());
        let server = Self { url, nginx: Some(command.spawn()?) };
        wait_for(&address.to_string())?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(nginx) = &mut self.nginx {
            // it is ours, and there is nothing to keep
            let _ = nginx.kill().and_then(|()| nginx.wait());
        }
    }
}

fn wait_for(address: &str) -> Result<(), Failure> {
    for _ in 0..100 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("no server at {address}").into())
}

fn present(program: &str) -> bool {
    let version = if program == "openssl" { "version" } else { "-V" };
    let found = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

struct Measured {
    seconds: f64,
    cpu_seconds: f64,
    peak_kib: Option<u64>,
}

/// Runs a program so many times, for averages, and then once more for its memory.
fn measure(dir: &Path, mut command: Command, times: usize) -> Result<Measured, Failure> {
    command.stdin(Stdio::null()).env("NO_PROXY", "*");
    let time = Path::new("/usr/bin/time");
    let peak = dir.join("peak");
    if time.exists() {
        let mut timed = Command::new(time);
        timed.args(["-f", "%M", "-o"]).arg(&peak).arg(command.get_program()).args(command.get_args());
        timed.current_dir(command.get_current_dir().unwrap_or(dir)).stdin(Stdio::null()).env("NO_PROXY", "*");
        command = timed;
    }
    let (start, cpu) = (Instant::now(), children_cpu());
    for _ in 0..times {
        let output = command.output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{command:?} failed: {words}").into());
        }
    }
    let seconds = start.elapsed().as_secs_f64() / times as f64;
    let cpu_seconds = (children_cpu() - cpu) / times as f64;
    let peak_kib = fs::read_to_string(&peak).ok().and_then(|text| text.trim().parse().ok());
    Ok(Measured { seconds, cpu_seconds, peak_kib })
}

/// Reads how long processes that have ended computed, in seconds, where there is `/proc`.
fn children_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // user and system time of children, in hundredths of a second; the name in parentheses may hold anything
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
