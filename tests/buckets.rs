//! Publishing to a real S3 server and collecting there.
//!
//! The server comes from the environment: `TUF_TEST_BUCKET` is a prefix that may be written (`s3://bucket/prefix`) and
//! `TUF_TEST_BUCKET_URL` where everybody can read it over HTTP; the rest is what S3 clients read (`AWS_ENDPOINT_URL`, …).
//! `bash interop/bucket-server.sh run cargo test --test buckets` starts one. Without it these tests are skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use support::{Folder, Ran, finish};

/// A repository in a folder of its own, and a prefix of its own on the server.
struct Site {
    folder: Folder,
    to: String,
    url: String,
}

/// Returns a new site, or says why there is none.
fn site() -> Option<Site> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (Ok(to), Ok(url)) = (std::env::var("TUF_TEST_BUCKET"), std::env::var("TUF_TEST_BUCKET_URL")) else {
        eprintln!(
            "skipped: TUF_TEST_BUCKET names no server (bash interop/bucket-server.sh run CMD starts one)"
        );
        return None;
    };
    let own = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Some(Site { folder: Folder::new(), to: format!("{to}/{own}"), url: format!("{url}/{own}") })
}

impl Site {
    /// Makes a written repository with a target and a delegated role.
    fn new() -> Option<Self> {
        let site = site()?;
        site.run(&["keygen", "key", "--no-password"]);
        site.run(&["init", "one"]);
        for role in ["root", "targets", "snapshot", "timestamp"] {
            site.repo("one", &["add-key", role, "key.pub"]);
        }
        site.target("one", "a.txt", "a");
        site.repo("one", &["delegate", "team/x", "--key", "key.pub", "--paths", "x/*"]);
        site.write("one");
        Some(site)
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.folder.run(args).exits(0)
    }

    fn repo(&self, repository: &str, args: &[&str]) -> Ran {
        self.run(&[&["-r", repository], args].concat())
    }

    fn write(&self, repository: &str) {
        self.repo(repository, &["write", "--key", "key"]);
    }

    fn target(&self, repository: &str, name: &str, text: &str) {
        let path = format!("{repository}/targets/{name}");
        fs::create_dir_all(self.folder.path(&path).parent().unwrap()).unwrap();
        self.folder.write(&path, text);
        self.repo(repository, &["add-targets", &path, "--replace"]);
    }

    fn publish(&self, repository: &str) -> Value {
        self.repo(repository, &["--json", "publish", "--to", &self.to]).json()
    }

    fn verify(&self, repository: &str) {
        self.repo(repository, &["verify", "--live", "--to", &self.to, "--targets"]);
    }

    /// Brings a client up to date that may have been there before.
    fn refresh(&self, client: &str) -> Value {
        if !self.folder.path(client).exists() {
            self.fetch(client, &["init", "one/metadata.staged/1.root.json"]);
        }
        let metadata = format!("{}/metadata", self.url);
        serde_json::from_str(&self.fetch(client, &["--json", "--metadata-url", &metadata, "refresh"]))
            .unwrap()
    }

    fn fetch(&self, client: &str, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        command.args(["--metadata-dir", client, "--target-dir", "fetched"]).args(args);
        let ran = finish({
            command.current_dir(self.folder.path("")).stdin(Stdio::null());
            command
        });
        ran.exits(0).stdout
    }

    /// Returns the headers of an object as everybody gets it, in lower case.
    fn headers(&self, name: &str) -> String {
        let output = Command::new("curl").args(["-sI", &format!("{}/{name}", self.url)]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().to_lowercase()
    }

    /// Returns the bytes of an object as everybody gets it.
    fn object(&self, name: &str) -> Vec<u8> {
        Command::new("curl").args(["-sf", &format!("{}/{name}", self.url)]).output().unwrap().stdout
    }
}

fn put(json: &Value) -> Vec<&str> {
    json["put"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn a_client_fetches_what_was_published_and_only_changes_are_sent() {
    let Some(site) = Site::new() else { return };
    site.target("one", "sub/b +ü.txt", "b");
    site.repo("one", &["add-targets", "one/targets/sub/b +ü.txt", "--replace"]);
    site.write("one");
    let first = site.publish("one");
    assert!(put(&first).contains(&"metadata/1.team%2Fx.json"), "{first}");
    site.verify("one");
    site.refresh("client");
    site.fetch("client", &["--repo", &site.url, "update"]);
    assert_eq!(fs::read(site.folder.path("fetched/a.txt")).unwrap(), b"a");
    assert_eq!(fs::read(site.folder.path("fetched/sub/b +ü.txt")).unwrap(), b"b");
    let again = site.publish("one");
    assert_eq!((put(&again), again["kept"].as_u64()), (Vec::new(), Some(put(&first).len() as u64)));
    site.target("one", "c.txt", "c");
    site.write("one");
    let third = site.publish("one");
    let targets: Vec<_> = put(&third).into_iter().filter(|name| name.starts_with("targets/")).collect();
    assert!(targets.len() == 1 && targets[0].ends_with(".c.txt"), "{third}");
    assert_eq!(*put(&third).last().unwrap(), "metadata/timestamp.json");
    site.refresh("client");
}

#[test]
fn objects_tell_what_they_are_and_how_long_they_may_be_kept() {
    let Some(site) = Site::new() else { return };
    let published = site.publish("one");
    for name in put(&published) {
        // a server decodes the names that it is asked for
        let headers = site.headers(name);
        let kind = if name.ends_with(".json") { "application/json" } else { "application/octet-stream" };
        let caching = match name {
            "metadata/timestamp.json" | "metadata/root.json" => "no-cache",
            _ => "public, max-age=31536000, immutable",
        };
        assert!(headers.starts_with("http/1.1 200"), "{name}: {headers}");
        for line in [format!("content-type: {kind}\r\n"), format!("cache-control: {caching}\r\n")] {
            assert!(headers.contains(&line), "{name}: {headers}");
        }
    }
}

#[test]
fn a_large_target_is_sent_in_pieces() {
    let Some(site) = Site::new() else { return };
    let bytes: Vec<u8> = (0..25_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(site.folder.path("one/targets/large"), &bytes).unwrap();
    site.repo("one", &["add-targets", "one/targets/large"]);
    site.write("one");
    site.publish("one");
    site.verify("one");
    assert_eq!(put(&site.publish("one")), Vec::<&str>::new());
    site.refresh("client");
    site.fetch("client", &["--repo", &site.url, "update", "large"]);
    assert!(fs::read(site.folder.path("fetched/large")).unwrap() == bytes);
}

#[test]
fn metadata_and_targets_may_be_apart_and_the_policy_says_where() {
    let Some(site) = Site::new() else { return };
    let policy = fs::read_to_string(site.folder.path("one/tuf-repo.toml")).unwrap();
    let (metadata, targets) = (format!("{}/m", site.to), format!("{}/t/deep", site.to));
    let lines = format!("{policy}\n[publish]\nmetadata-to = \"{metadata}\"\ntargets-to = \"{targets}\"\n");
    site.folder.write("one/tuf-repo.toml", &lines);
    let published = site.repo("one", &["--json", "publish"]).json();
    assert!(!site.object("m/timestamp.json").is_empty());
    let target = put(&published)[0].strip_prefix("targets/").unwrap();
    assert_eq!(site.object(&format!("t/deep/{target}")), b"a");
    let to = ["--metadata-to", &metadata, "--targets-to", &targets];
    site.repo("one", &[&["verify", "--live", "--targets"], &to[..]].concat());
    let again = site.repo("one", &[&["--json", "publish"], &to[..]].concat()).json();
    assert_eq!(put(&again), Vec::<&str>::new());
    // a copy that the policy does not tell is told, and the hint of what it is refused for can be typed
    site.folder.write("one/tuf-repo.toml", &policy);
    copy(&site.folder.path("one"), &site.folder.path("two"));
    site.target("one", "a.txt", "second");
    site.write("one");
    site.repo("one", &[&["publish"], &to[..]].concat());
    site.target("two", "a.txt", "third");
    site.write("two");
    let refused = site.folder.run(&[&["-r", "two", "publish"], &to[..]].concat()).exits(5);
    let from = ["--metadata-from", &metadata, "--targets-from", &targets];
    assert!(refused.stderr.contains(&format!("pull {}", from.join(" "))), "{refused:?}");
    let pull = [&["-r", "two", "pull", "--set-aside", "--targets", "--yes"], &from[..]].concat();
    site.folder.run(&pull).exits(3);
    let file =
        |side: &str| fs::read(site.folder.path(&format!("{side}/metadata.staged/2.targets.json"))).unwrap();
    assert_eq!(file("two"), file("one"));
}

#[test]
fn a_repository_is_taken_over_from_a_bucket() {
    let Some(site) = Site::new() else { return };
    site.publish("one");
    let root = "one/metadata.staged/1.root.json";
    for (from, into) in [(site.to.clone(), "whole"), (format!("{}/metadata", site.to), "by-its-metadata")] {
        site.run(&["init", into, "--from", &from, "--trusted-root", root]);
        for name in ["1.team%2Fx.json", "timestamp.json"] {
            let file =
                |side: &str| fs::read(site.folder.path(&format!("{side}/metadata.staged/{name}"))).unwrap();
            assert_eq!(file(into), file("one"));
        }
        assert_eq!(fs::read_dir(site.folder.path(&format!("{into}/targets"))).unwrap().count(), 1);
        assert_eq!(put(&site.publish(into)), Vec::<&str>::new());
    }
}

#[test]
fn a_collection_keeps_what_clients_need_and_the_rest_in_the_archive() {
    let Some(site) = Site::new() else { return };
    site.publish("one");
    for text in ["second", "third"] {
        site.target("one", "a.txt", text);
        site.write("one");
        site.publish("one");
    }
    let archive = format!("{}-archive", site.to);
    let gc = ["--json", "gc", "--to", &site.to, "--keep", "1", "--keep-within", "0s", "--archive", &archive];
    // what was put in this second may be a publisher's; the server's clock counts whole seconds
    thread::sleep(Duration::from_millis(1500));
    let dry = site.repo("one", &[&gc[..], &["--dry-run"]].concat()).json();
    let ran = site.repo("one", &gc).json();
    assert_eq!(dry["deleted"], ran["deleted"]);
    let deleted: Vec<&str> =
        ran["deleted"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    // the role files go last: a run that is cut short still has the records of what it may delete
    assert_eq!(deleted[..2], ["metadata/1.snapshot.json", "metadata/2.snapshot.json"]);
    assert!(deleted[2..4].iter().all(|name| name.starts_with("targets/")), "{deleted:?}");
    assert_eq!(deleted[4..], ["metadata/1.targets.json", "metadata/2.targets.json"]);
    for name in &deleted {
        assert_eq!(site.object(name), b"", "{name}");
        let kept = format!("{}-archive/{name}", site.url);
        let found = Command::new("curl").args(["-sf", "-o", "/dev/null", &kept]).status().unwrap();
        assert!(found.success(), "{kept}");
    }
    assert_eq!(site.repo("one", &gc).json()["deleted"], serde_json::json!([]));
    site.verify("one");
    site.refresh("client");
}

#[test]
fn a_failure_names_its_object_and_cause_and_no_secret() {
    let Some(site) = Site::new() else { return };
    let bucket = site.to.strip_prefix("s3://").and_then(|rest| rest.split('/').next()).unwrap().to_owned();
    let elsewhere = site.to.replacen(&bucket, "there-is-no-such-bucket-here", 1);
    for (to, variables, code, cause) in [
        (&elsewhere, &[][..], 1, "there is no such bucket"),
        (
            &site.to,
            &[("AWS_SECRET_ACCESS_KEY", "hunter2-wrong")][..],
            1,
            "the server does not accept the credentials",
        ),
        (&site.to, &[("AWS_ACCESS_KEY_ID", "NOBODY")][..], 1, "the server does not accept the credentials"),
        (&site.to, &[("AWS_SKIP_SIGNATURE", "true")][..], 1, "the credentials do not permit it"),
        (&site.to, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")][..], 1, "refused"),
    ] {
        let mut command = site.folder.command(&["-r", "one", "publish", "--to", to]);
        command.envs(variables.iter().copied());
        let ran = finish(command).exits(code);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{ran:?}");
        assert!(lines[0].contains(&format!("{to}/metadata")) && lines[0].contains(cause), "{ran:?}");
        for secret in ["hunter2", &std::env::var("AWS_SECRET_ACCESS_KEY").unwrap()] {
            assert!(!ran.words().contains(secret), "{ran:?}");
        }
    }
    assert_eq!(site.object("metadata/timestamp.json"), b"");
}

/// Publishers are killed at moments that differ; clients see a whole state all the time, and the next run finishes.
#[test]
fn a_killed_publisher_is_finished_by_the_next() {
    let Some(site) = Site::new() else { return };
    site.publish("one");
    for round in 0..15 {
        let text = format!("round {round}");
        for name in ["a.txt", "b.txt", "c.txt"] {
            site.target("one", name, &format!("{text} {name}"));
        }
        site.repo("one", &["bump", "root", "team/x"]);
        site.write("one");
        let args = ["-r", "one", "publish", "--to", site.to.as_str()];
        let mut child = quiet(site.folder.command(&args));
        thread::sleep(Duration::from_millis(4 * round));
        // it may be through already
        let _ = child.kill();
        child.wait().unwrap();
        site.verify("one");
        site.refresh("client");
        site.publish("one");
        assert_eq!(put(&site.publish("one")), Vec::<&str>::new());
        site.verify("one");
        site.refresh("client");
    }
}

fn quiet(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// The clock so many hours from now.
fn in_hours(hours: usize) -> String {
    let later = Utc::now() + TimeDelta::hours(hours.try_into().unwrap());
    later.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Two publishers with two copies of a repository, which both have something new on top of the same live state.
#[test]
fn of_two_racing_publishers_exactly_one_wins_each_of_fifty_rounds() {
    const ROUNDS: usize = 50;
    let Some(site) = Site::new() else { return };
    site.publish("one");
    let mut wins = [0, 0];
    let mut codes = [0, 0];
    for round in 0..ROUNDS {
        let _ = fs::remove_dir_all(site.folder.path("two"));
        copy(&site.folder.path("one"), &site.folder.path("two"));
        for (number, repository) in ["one", "two"].into_iter().enumerate() {
            // numbers of their own, so that what a loser leaves behind is in nobody's way
            let (same, own) = (10 * (round + 1), 10 * (round + 1) + 1 + number);
            let (role, snapshot) = match round % 4 {
                0 => (Some(same), Some(same)),
                1 => (Some(own), Some(same)),
                2 => (Some(own), Some(own)),
                _ => (None, None),
            };
            // other clocks make other bytes under the same version
            let time = format!("--time={}", in_hours(number));
            let bump = |name: &str, version: Option<usize>| {
                if let Some(version) = version {
                    site.repo(repository, &[&time, "bump", name, "--version", &version.to_string()]);
                }
            };
            bump("team/x", role);
            bump("targets", role);
            bump("snapshot", snapshot);
            site.repo(repository, &[&time, "bump", "timestamp"]);
            site.repo(repository, &[&time, "write", "--key", "key"]);
        }
        let racers = ["one", "two"].map(|repository| {
            let args = ["-r", repository, "publish", "--to", &site.to];
            quiet(site.folder.command(&args))
        });
        let outcomes = racers.map(|racer| racer.wait_with_output().unwrap());
        let ended = outcomes.each_ref().map(|outcome| outcome.status.code().unwrap());
        let words = outcomes.map(|outcome| String::from_utf8(outcome.stderr).unwrap());
        let winner = match ended {
            [0, 5 | 6] => 0,
            [5 | 6, 0] => 1,
            _ => panic!("round {round}: {ended:?} {words:?}"),
        };
        wins[winner] += 1;
        codes[usize::from(ended[1 - winner] == 6)] += 1;
        let lost = words[1 - winner].lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(lost.contains("another publisher") || lost.contains("exists with other bytes"), "{lost}");
        let name = ["one", "two"][winner];
        let staged = fs::read(site.folder.path(&format!("{name}/metadata.staged/timestamp.json"))).unwrap();
        assert!(site.object("metadata/timestamp.json") == staged, "round {round}: another timestamp is live");
        site.verify(name);
        for client in ["long-standing".to_owned(), format!("new-{round}")] {
            let trusted = site.refresh(&client);
            let live: Value = serde_json::from_slice(&staged).unwrap();
            assert_eq!(trusted["timestamp"], live["signed"]["version"], "round {round}, {client}");
        }
        if winner == 1 {
            fs::remove_dir_all(site.folder.path("one")).unwrap();
            copy(&site.folder.path("two"), &site.folder.path("one"));
        }
    }
    println!(
        "{ROUNDS} rounds: won by {wins:?}, the loser refused by a version {} times, overtaken {}",
        codes[0], codes[1]
    );
}

#[test]
fn doing_what_next_says_ends_where_the_policy_publishes_to_a_bucket() {
    let Some(site) = Site::new() else { return };
    let policy = fs::read_to_string(site.folder.path("one/tuf-repo.toml")).unwrap();
    site.folder.write("one/tuf-repo.toml", &format!("{policy}\n[publish]\nto = \"{}\"\n", site.to));
    let next = || site.repo("one", &["--json", "status"]).json()["next"].clone();
    let publish = serde_json::json!(["tuf-repo -r one publish"]);
    assert_eq!(next(), publish);
    // what goes elsewhere, and what is only planned, is not there
    site.repo("one", &["publish", "--to", "www"]);
    site.repo("one", &["publish", "--dry-run"]);
    assert_eq!(next(), publish);
    site.repo("one", &["publish"]);
    assert_eq!(next(), serde_json::json!([]));
    site.target("one", "b.txt", "b");
    site.write("one");
    assert_eq!(next(), publish);
    // the policy's place, typed
    site.publish("one");
    assert_eq!(next(), serde_json::json!([]));
    fs::remove_file(site.folder.path("one/.tuf-published")).unwrap();
    assert_eq!(next(), publish);
    let again = site.repo("one", &["--json", "publish"]).json();
    assert!(put(&again).is_empty(), "{again}");
    assert_eq!(next(), serde_json::json!([]));
}
