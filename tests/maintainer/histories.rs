//! Histories at random: two copies of one repository, three commands at a time, some of them killed, and one folder that
//! they publish to. Clients of every age watch it.
//!
//! `TUF_HISTORIES=N` runs N histories; each is told by its seed. What three processes do at the same time is not the same
//! twice, so a seed fixes the commands and not their outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cli::{NOW, Site};
use crate::client::{Standing, served};
use crate::support::finish;
use crate::world::{copy_folder, start};

/// How many histories are run where nobody says otherwise.
const HISTORIES: u64 = 2;
/// How many times commands are started at once in a history.
const ROUNDS: u64 = 20;
const KEYS: [&str; 4] = ["--key=key-0", "--key=key-1", "--key=key-2", "--key=key-3"];
/// The two copies of the repository; two commands at a time are given to the first.
const COPIES: [&str; 3] = ["a", "b", "a"];

/// Numbers that look random and follow from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

struct History {
    site: Site,
    chance: Chance,
    now: DateTime<Utc>,
    files: u64,
    /// The targets that a command was told to remove.
    removed: BTreeSet<String>,
    /// What was live at the end of each round.
    clients: Vec<Standing>,
    /// What has been done, to be told where something goes wrong.
    told: Vec<String>,
}

impl History {
    fn begin(seed: u64) -> Self {
        let site = Site::written();
        for copy in ["a", "b"] {
            copy_folder(&site.repository(), &site.folder.path(copy));
        }
        fs::create_dir(site.folder.path("ex")).unwrap();
        let chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut history = Self {
            site,
            chance,
            now: start(),
            files: 0,
            removed: BTreeSet::new(),
            clients: Vec::new(),
            told: vec![format!("seed {seed}")],
        };
        let args = ["publish", "--to", "www"].map(str::to_owned);
        finish(history.command("a", &args)).exits(0);
        history.clients.push(Standing::at_root(&history.live(), 1));
        history
    }

    fn live(&self) -> PathBuf {
        self.site.folder.path("www/metadata")
    }

    fn command(&self, copy: &str, args: &[String]) -> Command {
        let time = self.now.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut command = self.site.folder.command(&["-r", copy, "--time", &time]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Chooses a command for a copy.
    fn choose(&mut self, copy: &str) -> Vec<String> {
        let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let with_keys = |words: Vec<String>| words.into_iter().chain(KEYS.map(str::to_owned)).collect();
        match self.chance.below(20) {
            0..=4 => {
                self.files += 1;
                let path = format!("{copy}/targets/f{}", self.files);
                fs::write(self.site.folder.path(&path), format!("{path} of {}", self.now)).unwrap();
                words(&format!("add-targets {path}"))
            }
            5..=8 => with_keys(words("write")),
            9..=12 => words("publish --to www"),
            13 => {
                let path = format!("f{}", self.chance.below(self.files + 1));
                self.removed.insert(path.clone());
                words(&format!("remove-targets {path}"))
            }
            14 | 15 => with_keys(words("refresh")),
            16 => words("gc --to www --keep 2 --keep-within 0s"),
            17 => {
                words(["expire timestamp 2d", "bump snapshot", "bump targets"][self.chance.below(3) as usize])
            }
            18 => with_keys(words("sign")),
            _ => words(["discard", "gc --archive kept", "gc --keep 3"][self.chance.below(3) as usize]),
        }
    }

    /// Starts three commands at once, kills some, and looks at what is left.
    fn round(&mut self) {
        self.now += TimeDelta::minutes(self.chance.below(300) as i64);
        let chosen: Vec<(&str, Vec<String>)> = COPIES.iter().map(|copy| (*copy, self.choose(copy))).collect();
        // a file of a snapshot that is collected is gone for a client that is in the middle of it
        let collects = chosen.iter().any(|(_, args)| args[0] == "gc");
        let delays: Vec<Option<Duration>> = chosen
            .iter()
            .map(|_| (self.chance.below(3) == 0).then(|| Duration::from_micros(self.chance.below(40_000))))
            .collect();
        self.told.push(format!("{} {chosen:?} {delays:?}", self.now));
        let done = AtomicBool::new(false);
        let before = self.clients.last().unwrap().clone();
        thread::scope(|threads| {
            if !collects {
                threads.spawn(|| self.watch(&before, &done));
            }
            let start = |((copy, args), delay): (&(&str, Vec<String>), Option<Duration>)| {
                let child = self.command(copy, args).spawn().unwrap();
                threads.spawn(move || end(child, delay))
            };
            let ends: Vec<_> = chosen.iter().zip(delays).map(start).collect();
            let ends: Vec<(Option<i32>, String)> = ends.into_iter().map(|end| end.join().unwrap()).collect();
            done.store(true, Ordering::Relaxed);
            for (command, (code, words)) in chosen.iter().zip(ends) {
                assert!(
                    matches!(code, None | Some(0 | 2 | 3 | 5 | 6)),
                    "{command:?}: {code:?}: {words}\n{}",
                    self.story()
                );
            }
        });
        self.look();
    }

    /// A client that updates again and again never fails.
    fn watch(&self, client: &Standing, done: &AtomicBool) {
        let mut client = client.clone();
        while !done.load(Ordering::Relaxed) {
            client =
                client.update(&self.live()).unwrap_or_else(|error| panic!("{error}\n{}", self.story())).0;
        }
    }

    fn story(&self) -> String {
        self.told.join("\n")
    }

    /// Clients of every age find what is live; nothing has gone back or vanished.
    fn look(&mut self) {
        let live = self.live();
        let story = self.story();
        let mut reached = None;
        for (age, client) in self.clients.iter().enumerate() {
            let (now, _) =
                client.update(&live).unwrap_or_else(|error| panic!("client {age}: {error}\n{story}"));
            reached = Some(now);
        }
        let reached = reached.unwrap();
        served(&live, &self.site.folder.path("www/targets"), &reached, &story);
        if let Some(before) = self.clients.last().filter(|before| before.snapshot.is_some()) {
            let (old, new) = (self.listed(before), self.listed(&reached));
            let vanished: Vec<&String> =
                old.keys().filter(|path| !new.contains_key(*path) && !self.removed.contains(*path)).collect();
            assert!(vanished.is_empty(), "{vanished:?} vanished\n{story}");
            let changed: Vec<&String> = old
                .iter()
                .filter(|(path, hash)| new.get(*path).is_some_and(|new| new != *hash))
                .map(|(path, _)| path)
                .collect();
            assert!(changed.is_empty(), "{changed:?} changed\n{story}");
        }
        self.clients.push(reached);
        for folder in ["a", "b", "www"] {
            copies_are_what_they_say(&self.site.folder.path(folder).join("targets"), &story);
        }
    }

    /// The targets that a client finds, with their digests; of a snapshot that is collected by now nothing is known.
    fn listed(&self, client: &Standing) -> BTreeMap<String, String> {
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let snapshot = json(client.snapshot.as_ref().unwrap());
        let version = &snapshot["signed"]["meta"]["targets.json"]["version"];
        let Ok(targets) = fs::read(self.live().join(format!("{version}.targets.json"))) else {
            return BTreeMap::new();
        };
        let targets = json(&targets);
        let listed = targets["signed"]["targets"].as_object().unwrap().iter();
        listed.map(|(path, file)| (path.clone(), file["hashes"]["sha256"].to_string())).collect()
    }

    /// Sometimes one copy starts over from the other, as after a pull of version control.
    fn start_over(&mut self) {
        if self.chance.below(4) == 0 {
            let (from, to) = if self.chance.below(2) == 0 { ("a", "b") } else { ("b", "a") };
            fs::remove_dir_all(self.site.folder.path(to)).unwrap();
            copy_folder(&self.site.folder.path(from), &self.site.folder.path(to));
            self.told.push(format!("{to} is {from}"));
        }
    }

    /// Two people sign one bundle of one of the copies at once: both signatures are in it.
    fn ceremony(&mut self) {
        let args = ["sign", "--export", "ex/root.json", "root"].map(str::to_owned);
        finish(self.command("a", &["bump", "root"].map(str::to_owned)));
        finish(self.command("a", &["add-key", "root", "key-4.pub"].map(str::to_owned)));
        if finish(self.command("a", &args)).code != 0 {
            return;
        }
        let sign = |key: &str| {
            let key = format!("--key={key}");
            self.command("nowhere", &["sign", "--bundle", "ex/root.json", &key].map(str::to_owned))
                .spawn()
                .unwrap()
        };
        for child in [sign("key-0"), sign("key-4")] {
            assert_eq!(end(child, None).0, Some(0), "{}", self.story());
        }
        let bundle: Value =
            serde_json::from_slice(&fs::read(self.site.folder.path("ex/root.json")).unwrap()).unwrap();
        assert_eq!(bundle["signatures"].as_array().unwrap().len(), 2, "{}", self.story());
        fs::remove_file(self.site.folder.path("ex/root.json")).unwrap();
        finish(self.command("a", &["discard", "root"].map(str::to_owned))).exits(0);
    }

    /// In the end each copy can still be worked with, and nothing of what was killed is left.
    fn end(mut self) {
        let write: Vec<String> = std::iter::once("write").chain(KEYS).map(str::to_owned).collect();
        for copy in ["a", "b"] {
            self.now += TimeDelta::minutes(1);
            let ran = finish(self.command(copy, &write));
            assert!(ran.code == 0, "{ran:?}\n{}", self.story());
            let ran = finish(self.command(copy, &["publish", "--to", "www"].map(str::to_owned)));
            assert!(matches!(ran.code, 0 | 5), "{ran:?}\n{}", self.story());
            self.look();
            for part in [".", "metadata.staged", "metadata.staged/.drafts", "targets"] {
                let left = names(&self.site.folder.path(copy).join(part));
                assert!(!left.iter().any(|name| name.starts_with(".tuf-tmp")), "{left:?}\n{}", self.story());
            }
        }
        let home = self.site.folder.path("home");
        let mut fetch = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        fetch
            .arg("--metadata-dir")
            .arg(&home)
            .args(["--time", NOW, "init"])
            .arg(self.live().join("1.root.json"));
        finish(fetch).exits(0);
        let mut fetch = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        let url = format!("file://{}", self.site.folder.path("www").display());
        fetch.arg("--metadata-dir").arg(&home).arg("--target-dir").arg(self.site.folder.path("fetched"));
        fetch.args(["--time", NOW, "--repo", &url]);
        let ran = finish(fetch);
        assert_eq!(ran.code, 0, "{ran:?}\n{}", self.story());
    }
}

/// Waits for the end of a command, or kills it after a while. Returns its exit code and what it said.
fn end(mut child: Child, delay: Option<Duration>) -> (Option<i32>, String) {
    if let Some(delay) = delay {
        thread::sleep(delay);
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn copies_are_what_they_say(folder: &Path, story: &str) {
    for name in names(folder).iter().filter(|name| name.len() > 65) {
        let digest = hex::encode(Sha256::digest(fs::read(folder.join(name)).unwrap()));
        assert!(name.starts_with(&digest), "{name} has the bytes of {digest}\n{story}");
    }
}

#[test]
fn two_copies_and_three_processes_lose_nothing_that_was_live() {
    let number = std::env::var("TUF_HISTORIES").ok().map_or(HISTORIES, |text| text.parse().unwrap());
    for seed in 1..=number {
        let mut history = History::begin(seed);
        for round in 0..ROUNDS {
            history.round();
            history.start_over();
            if round % 7 == 3 {
                history.ceremony();
            }
        }
        history.end();
    }
}
