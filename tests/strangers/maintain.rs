//! Whatever a maintainer does, no command of `tuf-repo` touches a file that it did not make and that nobody listed, a command
//! that is refused changes nothing, and what is published is what a client finds by a search of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sha2::{Digest, Sha256};

use crate::config;
use crate::search::Live;
use crate::tree::{Change, Entry, Tree, changes, plant, tree};

/// Names of files, some of which look like files that the program makes itself. `#` stands for a digest that is none of the
/// file's own, `=` for its own.
const FILES: [&str; 14] = [
    "a.txt",
    "dir/b.txt",
    "dir/c",
    "up/d",
    "up/deep/e f",
    "é.bin",
    "-rf",
    ".hidden",
    "x.json",
    "1.targets.json",
    "#.tar.gz",
    "=.tar.gz",
    "dir/#.a.txt",
    "up/=.d",
];
/// Where files of others lie, below the top.
const FOREIGN: [&str; 20] = [
    "repo/README",
    "repo/notes/todo",
    "repo/metadata/index.html",
    "repo/metadata/2024.report.json",
    "repo/metadata/99.other.json",
    "repo/metadata/other.json",
    "repo/metadata/1.team.json.bak",
    "repo/metadata.staged/notes.txt",
    "repo/metadata.staged/2024.report.json",
    "repo/metadata.staged/.drafts/readme",
    "repo/metadata.staged/.drafts/root.json.orig",
    "repo/targets/.tuf-notes",
    "repo/targets/.tuf-tmp/letter",
    "repo/.tuf-notes",
    "www/index.html",
    "www/metadata/index.html",
    "www/metadata/7.other.json",
    "www/targets/notes",
    "archive/notes",
    "elsewhere/keep",
];
const ROLES: [&str; 6] = ["team", "a b", "é", "beta", "../out", ".hidden"];
const PATTERNS: [&str; 4] = ["*", "dir/*", "*/*", "up/*"];
const ROOM: [&str; 4] = ["repo", "www", "archive", "elsewhere"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    InPlace,
    Base,
    Recursive,
    Everything,
}

#[derive(Debug, Clone)]
enum Step {
    Add {
        how: How,
        file: usize,
        content: u8,
        role: Option<usize>,
    },
    Change {
        target: Index,
        content: u8,
    },
    Remove {
        target: Index,
    },
    Delegate {
        role: usize,
        pattern: usize,
        bins: bool,
    },
    Revoke {
        role: usize,
    },
    Write,
    Publish {
        www: bool,
    },
    Gc {
        www: bool,
        archive: bool,
        keep: u8,
    },
    Plain(usize),
    Look(usize),
    TakeOver,
    /// A file of somebody else among the targets.
    Stray {
        file: usize,
        content: u8,
        www: bool,
    },
    Foreign(usize),
}

/// Commands that change drafts and the like.
const PLAIN: [&[&str]; 9] = [
    &["bump", "targets"],
    &["discard"],
    &["expire", "targets", "40d"],
    &["refresh", "--within", "2d"],
    &["sign", "--key-dir", "../k"],
    &["init"],
    &["threshold", "targets", "1"],
    &["pull"],
    &["pull", "--from", "../www"],
];
/// Commands that change nothing.
const LOOKS: [&[&str]; 10] = [
    &["status"],
    &["verify", "--targets"],
    &["verify", "--live", "--targets"],
    &["doctor"],
    &["list"],
    &["diff"],
    &["gc", "--keep", "1", "--keep-within", "0s", "--dry-run"],
    &["write", "--key-dir", "../k", "--dry-run"],
    &["publish", "--to", "../www", "--dry-run"],
    &["gc", "--explain", "targets/a.txt"],
];

fn step() -> impl Strategy<Value = Step> {
    let how = select(&[How::InPlace, How::InPlace, How::Base, How::Recursive, How::Everything][..]);
    let role = prop_oneof![3 => Just(None), 1 => (0..3usize).prop_map(Some)];
    prop_oneof![
        6 => (how, 0..FILES.len(), 0..3u8, role)
            .prop_map(|(how, file, content, role)| Step::Add { how, file, content, role }),
        2 => (any::<Index>(), 0..3u8).prop_map(|(target, content)| Step::Change { target, content }),
        2 => any::<Index>().prop_map(|target| Step::Remove { target }),
        2 => (0..ROLES.len(), 0..PATTERNS.len(), prop::bool::weighted(0.2))
            .prop_map(|(role, pattern, bins)| Step::Delegate { role, pattern, bins }),
        1 => (0..ROLES.len()).prop_map(|role| Step::Revoke { role }),
        5 => Just(Step::Write),
        5 => any::<bool>().prop_map(|www| Step::Publish { www }),
        4 => (any::<bool>(), any::<bool>(), 1..3u8).prop_map(|(www, archive, keep)| Step::Gc { www, archive, keep }),
        2 => (0..PLAIN.len()).prop_map(Step::Plain),
        2 => (0..LOOKS.len()).prop_map(Step::Look),
        1 => Just(Step::TakeOver),
        3 => (0..FILES.len(), 0..3u8, any::<bool>())
            .prop_map(|(file, content, www)| Step::Stray { file, content, www }),
        3 => (0..FOREIGN.len()).prop_map(Step::Foreign),
    ]
}

/// A written and published repository with its keys, made once for each layout.
fn template(consistent: bool) -> &'static Path {
    static TEMPLATES: [OnceLock<tempfile::TempDir>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = TEMPLATES[usize::from(consistent)].get_or_init(|| {
        let top = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let output = repo_command(top.path(), "2030-01-01T00:00:00Z", args).output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
        };
        for key in ["root", "targets", "snapshot", "timestamp", "team"] {
            run(&["keygen", "--no-password", &format!("k/{key}")]);
        }
        fs::create_dir(top.path().join("dist")).unwrap();
        let init = ["init", "repo", "--no-consistent-snapshot"];
        run(if consistent { &init[..2] } else { &init });
        for role in ["root", "targets", "snapshot", "timestamp"] {
            run(&["-r", "repo", "add-key", role, &format!("k/{role}.pub")]);
        }
        run(&["-r", "repo", "write", "--key-dir", "k"]);
        run(&["-r", "repo", "publish"]);
        top
    });
    made.path()
}

fn repo_command(folder: &Path, time: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-repo"));
    command.current_dir(folder).env_remove("TUF_REPO").args(["--time", time, "--no-input"]).args(args);
    command
}

/// A repository with its surroundings, and what a stranger knows of it.
struct World {
    top: tempfile::TempDir,
    hours: u32,
    /// What was listed under a path at any time, by digest.
    ever: BTreeMap<String, BTreeSet<String>>,
    /// Files that no command was told to list, as they were put; by their path below the top.
    foreign: Tree,
    /// How often the repository was taken over.
    copies: usize,
}

impl World {
    fn new(consistent: bool) -> Self {
        let top = tempfile::tempdir().unwrap();
        let copied =
            Command::new("cp").arg("-r").arg(template(consistent).join(".")).arg(top.path()).status();
        assert!(copied.unwrap().success());
        Self { top, hours: 1, ever: BTreeMap::new(), foreign: Tree::new(), copies: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn time(&self) -> String {
        format!("2030-01-{:02}T{:02}:00:00Z", 1 + self.hours / 24, self.hours % 24)
    }

    /// Runs a command in the repository and judges what it touched.
    fn run(&mut self, args: &[&str]) -> Output {
        self.hours += 1;
        let before = tree(self.top.path());
        let output = repo_command(&self.path("repo"), &self.time(), args).output().unwrap();
        let after = tree(self.top.path());
        let said = format!("{args:?} at {}: {output:?}", self.time());
        let code = output.status.code().unwrap_or_else(|| panic!("{said}"));
        let changed = changes(&before, &after);
        let found = |name: &String| after.get(name);
        for (name, entry) in &self.foreign {
            assert_eq!(found(name), Some(entry), "the foreign {name}: {said}");
        }
        assert!((0..=5).contains(&code) && !output.stderr.starts_with(b"thread"), "{said}");
        if matches!(code, 2 | 4 | 5) {
            assert_eq!(changed, BTreeMap::new(), "refused, and changed: {said}");
        }
        for (name, change) in &changed {
            self.judge(args[0], name, change, &said);
        }
        output
    }

    /// Judges one change by the place in which it is.
    fn judge(&self, command: &str, name: &str, change: &Change, said: &str) {
        let words = || format!("{name}: {change:?}: {said}");
        let (room, below) = name.split_once('/').unwrap_or((name, ""));
        // folders come with the first file in them, and may go with the last
        let is_folder = matches!(change, Change::New(Entry::Folder) | Change::Gone(Entry::Folder));
        if is_folder && (ROOM.contains(&room) || room.starts_with("copy")) {
            return;
        }
        // what the program keeps for itself
        let of_own = [".tuf-history", ".tuf-digests", ".tuf-published"];
        if room == "repo" && of_own.contains(&below) {
            return;
        }
        match (room, below.split_once('/'), change) {
            ("repo", Some(("metadata.staged", file)), _) if file.starts_with(".drafts/") => {
                assert!(file.ends_with(".json"), "{}", words());
            }
            ("repo" | "www", Some(("targets", path)), Change::New(Entry::File { bytes, .. })) => {
                assert!(self.is_listed(path, bytes), "{}", words());
            }
            ("repo" | "www" | "archive", Some((folder, path)), Change::Gone(entry)) => {
                assert!(command == "gc" && room != "archive", "{}", words());
                let bytes = entry.bytes().unwrap_or_else(|| panic!("{}", words()));
                match folder {
                    "targets" => assert!(self.is_listed(path, bytes), "{}", words()),
                    _ => assert!(is_signed(bytes) && !path.ends_with("root.json"), "{}", words()),
                }
            }
            (
                "repo" | "www",
                Some(("metadata" | "metadata.staged", file)),
                Change::New(Entry::File { bytes, .. }),
            ) => {
                assert!(is_signed(bytes) && file.ends_with(".json"), "{}", words());
            }
            (
                "repo" | "www",
                Some(("metadata" | "metadata.staged", file)),
                Change::Changed(Entry::File { .. }, Entry::File { bytes, .. }),
            ) => {
                let versioned = file
                    .split('.')
                    .next()
                    .is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_digit()));
                assert!(is_signed(bytes) && !versioned, "{}", words());
            }
            ("archive", _, Change::New(Entry::File { .. })) if command == "gc" => {}
            (copy, _, Change::New(_)) if copy.starts_with("copy") && command == "init" => {}
            _ => panic!("{}", words()),
        }
    }

    /// Tells whether a file is what was listed under its path at any time, or a copy of it for clients.
    fn is_listed(&self, path: &str, bytes: &[u8]) -> bool {
        let digest = hex::encode(Sha256::digest(bytes));
        let was = |path: &str| self.ever.get(path).is_some_and(|all| all.contains(&digest));
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let source =
            name.split_once('.').filter(|(hash, _)| *hash == digest).map(|(_, source)| match folder {
                "" => source.to_owned(),
                folder => format!("{folder}/{source}"),
            });
        was(path) || source.is_some_and(|source| was(&source))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Add { how, file, content, role } => self.add(*how, *file, *content, *role),
            Step::Change { target, content } => self.change(*target, *content),
            Step::Remove { target } => {
                if let Some(path) = self.any_listed(*target) {
                    self.run(&["remove-targets", &path]);
                }
            }
            Step::Delegate { role, bins: true, .. } => {
                self.run(&["delegate", ROLES[*role], "--key", "../k/team.pub", "--bins", "2", "--classic"]);
            }
            Step::Delegate { role, pattern, .. } => {
                let paths = PATTERNS[*pattern];
                self.run(&["delegate", ROLES[*role], "--key", "../k/team.pub", "--paths", paths]);
            }
            Step::Revoke { role } => drop(self.run(&["revoke", ROLES[*role]])),
            Step::Write => drop(self.run(&["write", "--key-dir", "../k"])),
            Step::Publish { www } => self.publish(*www),
            Step::Gc { www, archive, keep } => self.collect(*www, *archive, *keep),
            Step::Plain(which) => drop(self.run(PLAIN[*which])),
            Step::Look(which) => {
                let before = tree(self.top.path());
                self.run(LOOKS[*which]);
                assert_eq!(changes(&before, &tree(self.top.path())), BTreeMap::new(), "{:?}", LOOKS[*which]);
            }
            Step::TakeOver => {
                self.copies += 1;
                let copy = format!("../copy{}", self.copies);
                self.run(&["init", &copy, "--from", ".", "--trusted-root", "metadata/1.root.json"]);
            }
            Step::Stray { file, content, www } => {
                let bytes = format!("foreign {content}");
                let room = if *www { "www" } else { "repo" };
                self.put_foreign(&format!("{room}/targets/{}", file_name(*file, &bytes)), &bytes);
            }
            Step::Foreign(which) => self.put_foreign(FOREIGN[*which], "somebody else's"),
        }
    }

    fn put_foreign(&mut self, name: &str, bytes: &str) {
        if plant(&self.path(name), bytes.as_bytes()) {
            let entry = tree(self.top.path()).remove(name).unwrap();
            self.foreign.insert(name.to_owned(), entry);
        }
    }

    fn note_listed(&mut self, path: &str) {
        let name = format!("repo/targets/{path}");
        if let Ok(bytes) = fs::read(self.path(&name)) {
            self.foreign.remove(&name);
            self.ever.entry(path.to_owned()).or_default().insert(hex::encode(Sha256::digest(bytes)));
        }
    }

    fn any_listed(&self, which: Index) -> Option<String> {
        let all: Vec<&String> = self.ever.keys().collect();
        (!all.is_empty()).then(|| (*which.get(&all)).clone())
    }

    /// Lists a file, made where it is not there.
    fn add(&mut self, how: How, file: usize, content: u8, role: Option<usize>) {
        let bytes = format!("target {content}");
        let name = file_name(file, &bytes);
        let in_place = format!("targets/{name}");
        let from_dist = format!("../dist/{name}");
        let mut args = vec!["add-targets"];
        // what is copied in is listed only if the command succeeds
        let mut noted = None;
        match how {
            How::InPlace | How::Everything | How::Recursive => {
                self.put_foreign(&format!("repo/{in_place}"), &bytes);
                match how {
                    How::InPlace => args.extend(["--", &in_place]),
                    How::Everything => args.extend(["-R", "targets"]),
                    _ => args.extend(["-R", "targets/up"]),
                }
            }
            How::Base => {
                let place = self.path("dist").join(&name);
                // a changed file in dist would be refused; here each is what it was at first
                plant(&place, bytes.as_bytes());
                let there = self.path("repo").join(&in_place);
                if fs::read(&place).ok() == fs::read(&there).ok() || !there.exists() {
                    let digest = hex::encode(Sha256::digest(fs::read(&place).unwrap()));
                    if self.ever.entry(name.clone()).or_default().insert(digest.clone()) {
                        noted = Some(digest);
                    }
                }
                args.extend(["--base", "../dist", "--", &from_dist]);
            }
        }
        if let Some(role) = role {
            args.splice(1..1, ["--role", ROLES[role]]);
        }
        let named: Vec<String> = match how {
            How::InPlace | How::Base => vec![name.clone()],
            How::Recursive | How::Everything => self.files_below(how),
        };
        if self.run(&args).status.success() {
            for path in named {
                self.note_listed(&path);
            }
        } else if let Some(digest) = noted
            && let Some(digests) = self.ever.get_mut(&name)
        {
            digests.remove(&digest);
            if digests.is_empty() {
                self.ever.remove(&name);
            }
        }
    }

    /// Returns the files that a walk finds, without copies that the program has made.
    fn files_below(&self, how: How) -> Vec<String> {
        let prefix = if how == How::Everything { "repo/targets/" } else { "repo/targets/up/" };
        let all = tree(self.top.path());
        let files =
            all.into_iter().filter(|(name, entry)| name.starts_with(prefix) && entry.bytes().is_some());
        let named = files.map(|(name, entry)| (name["repo/targets/".len()..].to_owned(), entry));
        let is_new = |(path, entry): &(String, Entry)| {
            self.foreign.contains_key(&format!("repo/targets/{path}"))
                || !self.is_listed(path, entry.bytes().unwrap())
        };
        named.filter(is_new).map(|(path, _)| path).collect()
    }

    /// Changes the bytes of a file that is listed, as its maintainer does.
    fn change(&mut self, target: Index, content: u8) {
        let Some(path) = self.any_listed(target) else { return };
        let name = format!("repo/targets/{path}");
        if !self.path(&name).is_file() || self.foreign.contains_key(&name) {
            return;
        }
        fs::write(self.path(&name), format!("edition {content}")).unwrap();
        let file = format!("targets/{path}");
        let output = self.run(&["add-targets", "--replace", "--", &file]);
        if output.status.success() {
            self.note_listed(&path);
        }
    }

    fn publish(&mut self, www: bool) {
        let output = self.run(if www { &["publish", "--to", "../www"] } else { &["publish"] });
        if output.status.success() {
            self.judge_client(if www { "www" } else { "repo" });
        }
    }

    fn collect(&mut self, www: bool, archive: bool, keep: u8) {
        let keep = keep.to_string();
        let mut args = vec!["gc", "--keep", &keep, "--keep-within", "0s"];
        if www {
            args.extend(["--to", "../www"]);
        }
        if archive {
            args.extend(["--archive", "../archive"]);
        }
        let place = if www { "www" } else { "repo" };
        let was_whole = self.path(place).join("metadata/timestamp.json").exists() && self.fetch(place).0;
        self.run(&args);
        if was_whole {
            self.judge_client(place);
        }
    }

    /// Fetches everything with a new client; tells whether that succeeded, with the files.
    fn fetch(&self, place: &str) -> (bool, Tree, String) {
        let client = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command.current_dir(client.path()).env("NO_PROXY", "*").args(["--time", &self.time()]);
            command.args(args).output().unwrap()
        };
        let root = self.path(place).join("metadata/1.root.json");
        run(&["init", root.to_str().unwrap()]);
        let url = format!("file://{}", self.path(place).display());
        let output = run(&["--repo", &url, "update"]);
        (output.status.success(), tree(&client.path().join("targets")), format!("{output:?}"))
    }

    /// A new client finds what a search finds, and nothing else.
    fn judge_client(&self, place: &str) {
        let (succeeded, files, said) = self.fetch(place);
        assert!(succeeded, "{place}: {said}");
        let live = Live::read(&self.path(place).join("metadata"));
        let own = |name: &str| name.starts_with(".tuf-");
        for (name, entry) in files.iter().filter(|(name, _)| !own(name)) {
            let Some(bytes) = entry.bytes() else { continue };
            assert!(live.find(name).is_some_and(|listed| listed.is(bytes)), "{place}: {name}: {entry:?}");
        }
        for path in live.paths().into_iter().filter(|path| live.find(path).is_some()) {
            assert!(files.contains_key(&path), "{place}: {path} was not fetched: {said}");
        }
    }
}

/// Returns the name of a file that holds these bytes.
fn file_name(file: usize, bytes: &str) -> String {
    let digest = |bytes: &str| hex::encode(Sha256::digest(bytes));
    FILES[file].replace('=', &digest(bytes)).replace('#', &digest("something else"))
}

fn is_signed(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|json| json["signatures"].is_array())
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn no_command_touches_a_file_that_is_nobody_s(
        consistent in prop::bool::weighted(0.7),
        steps in prop::collection::vec(step(), 4..16),
    ) {
        let mut world = World::new(consistent);
        for step in &steps {
            world.step(step);
        }
        world.run(&["write", "--key-dir", "../k"]);
        world.publish(false);
        world.collect(false, false, 1);
    }
}
