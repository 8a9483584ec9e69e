//! Whatever a repository lists, `tuf-fetch` changes nothing outside its two folders, installs under a path what the role that
//! answers for it lists, and removes nothing that it has not put.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::config;
use crate::search::Live;
use crate::simulator::{Simulator, role};
use crate::tree::{Change, Entry, Tree, changes, plant, tree};

/// The roles besides `targets`; the first are those that a sensible maintainer has.
const ROLES: [&str; 9] = ["a", "b", "team", "c/d", "x y", "é", "../e", ".tuf-f", "root.json"];
const NICE_ROLES: usize = 3;
/// Parts of target paths; the first are harmless.
const PARTS: [&str; 25] = [
    "app.bin",
    "a",
    "b",
    "notes.txt",
    "README",
    "dir",
    "é",
    "e\u{301}",
    "x y",
    "%2e%2e",
    "a:b",
    "-rf",
    "*",
    "root.json",
    "timestamp.json",
    ".tuf-put",
    ".tuf-fetch",
    "1.0.part",
    ".tuf-fetch.1.0.part",
    ".tuf-x",
    ".verified",
    ".rotated",
    ".lock",
    "a\\b",
    "..",
];
const NICE_PARTS: usize = 6;
/// Paths that aim at something.
const AIMED: [&str; 14] = [
    "../m/root.json",
    "../outside/secret",
    "../../work/outside/secret",
    "/etc/tuf-test",
    "m/root.json",
    "link/secret",
    ".tuf-put.json",
    ".tuf-fetch/1.0.part",
    "a/../../outside/secret",
    "./a",
    "a//b",
    "a/",
    "",
    "metadata/root.json",
];
const PATTERNS: [&str; 6] = ["*", "*/*", "dir/*", "a*", "*.bin", "*/*/*"];

/// Where the two folders of the client are, below the working folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    metadata: &'static str,
    targets: &'static str,
    /// Links to make first: name, and what it says.
    links: &'static [(&'static str, &'static str)],
    /// Where the folders really are, below the working folder.
    real: (&'static str, &'static str),
}

const APART: [Layout; 5] = [
    Layout { metadata: "m", targets: "t", links: &[], real: ("m", "t") },
    Layout { metadata: "deep/er/m", targets: "./deep/t", links: &[], real: ("deep/er/m", "deep/t") },
    Layout {
        metadata: "lm",
        targets: "lt",
        links: &[("lm", "real-m"), ("lt", "real-t")],
        real: ("real-m", "real-t"),
    },
    Layout { metadata: "t-not/../m", targets: "t", links: &[], real: ("m", "t") },
    Layout { metadata: "tt", targets: "t", links: &[], real: ("tt", "t") },
];
const OVERLAPPING: [Layout; 8] = [
    Layout { metadata: "m", targets: "m", links: &[], real: ("m", "m") },
    Layout { metadata: "m", targets: "./outside/../m/", links: &[], real: ("m", "m") },
    Layout { metadata: "m", targets: "m/t", links: &[], real: ("m", "m/t") },
    Layout { metadata: "t/deep/m", targets: "t", links: &[], real: ("t/deep/m", "t") },
    Layout { metadata: "m", targets: "lt", links: &[("lt", "m")], real: ("m", "m") },
    Layout { metadata: "lm", targets: "t", links: &[("lm", "t/sub")], real: ("t/sub", "t") },
    Layout { metadata: "m", targets: "lt/t", links: &[("lt", "m/sub")], real: ("m", "m/sub/t") },
    Layout { metadata: "m", targets: ".", links: &[], real: ("m", "") },
];

#[derive(Debug, Clone)]
struct Delegation {
    from: Index,
    to: usize,
    pattern: usize,
    terminating: bool,
}

#[derive(Debug, Clone)]
struct Listing {
    role: Index,
    path: String,
    content: u8,
}

#[derive(Debug, Clone)]
enum Step {
    Refresh,
    List,
    All {
        jobs: bool,
    },
    Some(Vec<Index>),
    Update,
    Clean {
        dry: bool,
    },
    /// A new version of the repository.
    Relist(Vec<Listing>),
    Unlist(Vec<Index>),
    /// A file of somebody else appears.
    Plant {
        place: usize,
        name: String,
        content: u8,
    },
}

#[derive(Debug, Clone)]
struct Case {
    nice: bool,
    consistent: bool,
    layout: Layout,
    delegations: Vec<Delegation>,
    listings: Vec<Listing>,
    steps: Vec<Step>,
}

fn a_path(nice: bool) -> BoxedStrategy<String> {
    let parts = if nice { &PARTS[..NICE_PARTS] } else { &PARTS[..] };
    let joined = prop::collection::vec(select(parts), 1..=3).prop_map(|parts| parts.join("/"));
    if nice {
        // no path is a folder of another
        return joined.prop_map(|path| format!("{}/{path}.x", path.matches('/').count())).boxed();
    }
    prop_oneof![5 => joined, 2 => select(&AIMED[..]).prop_map(str::to_owned)].boxed()
}

fn listing(nice: bool) -> impl Strategy<Value = Listing> {
    (any::<Index>(), a_path(nice), 0..4u8).prop_map(|(role, path, content)| Listing { role, path, content })
}

fn step(nice: bool) -> impl Strategy<Value = Step> {
    let plant = (0..4usize, a_path(nice), 0..4u8);
    prop_oneof![
        1 => Just(Step::Refresh),
        1 => Just(Step::List),
        3 => any::<bool>().prop_map(|jobs| Step::All { jobs }),
        2 => prop::collection::vec(any::<Index>(), 1..3).prop_map(Step::Some),
        1 => Just(Step::Update),
        2 => any::<bool>().prop_map(|dry| Step::Clean { dry }),
        2 => prop::collection::vec(listing(nice), 1..4).prop_map(Step::Relist),
        1 => prop::collection::vec(any::<Index>(), 1..4).prop_map(Step::Unlist),
        if nice { 1 } else { 3 } => plant.prop_map(|(place, name, content)| Step::Plant { place, name, content }),
    ]
}

fn case(layouts: &'static [Layout]) -> impl Strategy<Value = Case> {
    (any::<bool>(), any::<bool>(), select(layouts)).prop_flat_map(|(nice, consistent, layout)| {
        let roles = if nice { NICE_ROLES } else { ROLES.len() };
        let delegation = (any::<Index>(), 0..roles, 0..PATTERNS.len(), any::<bool>())
            .prop_map(|(from, to, pattern, terminating)| Delegation { from, to, pattern, terminating });
        let delegations = prop::collection::vec(delegation, 0..6);
        let listings = prop::collection::vec(listing(nice), 1..10);
        let steps = prop::collection::vec(step(nice), 2..8);
        (delegations, listings, steps).prop_map(move |(delegations, listings, steps)| Case {
            nice,
            consistent,
            layout,
            delegations,
            listings,
            steps,
        })
    })
}

/// A repository on disk, a client's folders, and files that are nobody's.
struct World {
    top: tempfile::TempDir,
    simulator: Simulator,
    layout: Layout,
    /// All metadata that was ever published.
    published: Vec<Vec<u8>>,
    /// What `tuf-fetch` has put in the target folder, as it was seen.
    put: BTreeMap<String, Vec<u8>>,
    /// What was live at the last refresh.
    trusted: Live,
}

impl World {
    fn new(case: &Case) -> Self {
        let mut simulator = if case.consistent { Simulator::new() } else { Simulator::plain() };
        let mut known = vec!["targets"];
        for delegation in &case.delegations {
            let (from, name) = (*delegation.from.get(&known), ROLES[delegation.to]);
            let there = simulator.targets[from].delegations.as_ref();
            if there.is_some_and(|there| there.role(&role(name)).is_some()) {
                continue;
            }
            simulator.delegate(from, name, |delegated| {
                delegated.paths = Some(vec![PATTERNS[delegation.pattern].to_owned()]);
                delegated.terminating = delegation.terminating;
            });
            if !known.contains(&name) {
                known.push(name);
            }
        }
        let top = tempfile::tempdir().unwrap();
        let mut world = Self {
            top,
            simulator,
            layout: case.layout,
            published: Vec::new(),
            put: BTreeMap::new(),
            trusted: Live::default(),
        };
        world.relist(&case.listings);
        world.publish();
        fs::create_dir(world.work()).unwrap();
        for (name, to) in case.layout.links {
            fs::create_dir_all(world.work().join(to)).unwrap();
            std::os::unix::fs::symlink(to, world.work().join(name)).unwrap();
        }
        plant(&world.work().join("outside/secret"), b"nobody's business");
        world
    }

    fn work(&self) -> PathBuf {
        self.top.path().join("work")
    }

    fn repository(&self) -> PathBuf {
        self.top.path().join("repository")
    }

    fn relist(&mut self, listings: &[Listing]) {
        let roles: Vec<String> = self.simulator.targets.keys().cloned().collect();
        for Listing { role, path, content } in listings {
            let role = role.get(&roles);
            let bytes = format!("{role} lists this {content}");
            // the simulator keeps what can be asked for, the hostile server has the rest wherever a path may lead
            self.simulator.add_target(role, path, bytes.as_bytes());
            let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes.as_bytes()));
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let place = self.repository().join("targets").join(folder.trim_start_matches('/'));
            if normal(&place).starts_with(self.repository()) {
                plant(&normal(&place).join(format!("{hash}.{name}")), bytes.as_bytes());
            }
        }
    }

    fn publish(&mut self) {
        for (path, bytes) in &self.simulator.files {
            let path = self.repository().join(path.trim_start_matches('/'));
            if path.strip_prefix(self.repository()).unwrap().starts_with("metadata") {
                self.published.push(bytes.clone());
            }
            let folder = fs::create_dir_all(path.parent().unwrap());
            // one path may be a folder of another: what cannot be served is not
            let _ = folder.and_then(|()| fs::write(&path, bytes));
        }
    }

    fn live(&self) -> Live {
        Live::read(&self.repository().join("metadata"))
    }

    fn real(&self) -> (PathBuf, PathBuf) {
        (self.work().join(self.layout.real.0), self.work().join(self.layout.real.1))
    }

    fn run(&self, words: &[&str]) -> Output {
        let url = format!("file://{}", self.repository().display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        command.current_dir(self.work()).env("NO_PROXY", "*");
        command.args(["--time", "2030-01-01T00:00:00Z", "--json", "--repo", &url]);
        command.args(["--metadata-dir", self.layout.metadata, "--target-dir", self.layout.targets]);
        command.args(words).output().unwrap()
    }

    fn init(&self) -> Output {
        let root = self.repository().join("metadata/1.root.json");
        self.run(&["init", root.to_str().unwrap()])
    }

    fn step(&mut self, step: &Step, nice: bool) {
        match step {
            Step::Refresh => self.fetch(&["refresh"], nice),
            Step::List => self.fetch(&["list"], nice),
            Step::All { jobs } => {
                self.fetch(&["download", "--all", "--jobs", if *jobs { "4" } else { "1" }], nice);
            }
            Step::Update => self.fetch(&["update"], nice),
            Step::Some(chosen) => {
                let paths: Vec<String> = self.live().paths().into_iter().collect();
                let Some(paths) = (!paths.is_empty()).then_some(paths) else { return };
                let chosen: Vec<&str> = chosen.iter().map(|index| index.get(&paths).as_str()).collect();
                self.fetch(&[&["download", "--"], &chosen[..]].concat(), false);
            }
            Step::Clean { dry: true } => {
                let before = tree(self.top.path());
                self.run(&["clean", "--dry-run"]);
                assert_eq!(changes(&before, &tree(self.top.path())), BTreeMap::new());
            }
            Step::Clean { dry: false } => self.clean(),
            Step::Relist(listings) => {
                self.relist(listings);
                self.simulator.update_all();
                self.publish();
            }
            Step::Unlist(chosen) => {
                for index in chosen {
                    let roles: Vec<String> = self.simulator.targets.keys().cloned().collect();
                    let targets = &mut self.simulator.targets.get_mut(index.get(&roles)).unwrap().targets;
                    let paths: Vec<String> = targets.keys().map(|path| path.into_owned()).collect();
                    if !paths.is_empty() {
                        let path = index.get(&paths);
                        targets.retain(|listed| listed != path);
                    }
                }
                self.simulator.update_all();
                self.publish();
            }
            Step::Plant { place, name, content } => self.plant(*place, name, *content),
        }
    }

    /// Puts a file, or a link, of somebody else into one of the folders or beside them.
    fn plant(&mut self, place: usize, name: &str, content: u8) {
        let (metadata, targets) = self.real();
        let name = name.trim_start_matches('/');
        let path = match place {
            // the client keeps its own metadata under such names
            0 if name.ends_with(".json") || name.starts_with('.') => return,
            0 => normal(&metadata.join(name)),
            1 => normal(&targets.join(name)),
            2 => normal(&self.work().join("outside").join(name)),
            _ => {
                if targets.is_dir() && targets.join("link").symlink_metadata().is_err() {
                    std::os::unix::fs::symlink(self.work().join("outside"), targets.join("link")).unwrap();
                }
                return;
            }
        };
        // not through a link, and not over the client's own record
        let own = path.strip_prefix(&targets).is_ok_and(|below| below.starts_with(".tuf-fetch"));
        let linked = path.ancestors().any(|above| above.is_symlink() && above.starts_with(&targets));
        if path.starts_with(self.work()) && !own && !linked && !name.is_empty() {
            plant(&path, format!("foreign {content}").as_bytes());
        }
    }

    /// Runs a command that may fetch, and judges what it did.
    fn fetch(&mut self, words: &[&str], must_succeed: bool) {
        let live = self.live();
        let before = tree(self.top.path());
        let output = self.run(words);
        let after = tree(self.top.path());
        let code = output.status.code().unwrap();
        let said = format!("{words:?}: {output:?}");
        assert!(code == 0 || code == 1 && !must_succeed, "{said}");
        let (metadata, targets) = self.below_top();
        for (name, change) in changes(&before, &after) {
            if let Some(path) = below(&name, &targets) {
                self.judge_target(path, &change, &live, &said);
            } else if let Some(file) = below(&name, &metadata) {
                self.judge_metadata(file, &change, &said);
            } else {
                let makes_folder = matches!(change, Change::New(Entry::Folder))
                    && (metadata.starts_with(&name) || targets.starts_with(&name));
                assert!(makes_folder, "outside the folders: {name}: {change:?}: {said}");
            }
        }
        self.trusted = live;
        if code == 0 && matches!(words[0], "update" | "download") && !words.contains(&"--") {
            self.judge_whole(&after, &said);
        }
        if words[0] == "list" {
            self.judge_list(&output);
        }
    }

    /// A new or changed file in the target folder is what the role that answers for its path lists.
    fn judge_target(&mut self, path: &str, change: &Change, live: &Live, said: &str) {
        let is_own = path.split('/').next().is_some_and(|first| first == ".tuf-fetch");
        match change {
            Change::New(Entry::Folder) => {}
            Change::New(Entry::File { .. }) | Change::Changed(_, Entry::File { .. }) if is_own => {}
            Change::New(entry @ Entry::File { bytes, .. })
            | Change::Changed(_, entry @ Entry::File { bytes, .. }) => {
                let listed = live.find(path);
                assert!(listed.is_some_and(|listed| listed.is(bytes)), "{path} is {entry:?}: {said}");
                assert!(!path.split('/').any(|part| part.starts_with(".tuf-")), "{path}: {said}");
                self.put.insert(path.to_owned(), bytes.clone());
            }
            // what it has put itself may make room for what is listed now
            Change::Gone(entry) => self.judge_gone(path, entry, live, said),
            change => panic!("{path}: {change:?}: {said}"),
        }
    }

    /// Only what `tuf-fetch` has put, as it has put it, and what nobody lists any more may go.
    fn judge_gone(&mut self, path: &str, entry: &Entry, live: &Live, said: &str) {
        let is_own = path.split('/').next() == Some(".tuf-fetch");
        // a folder in which something of somebody else was would show that too
        if is_own || *entry == Entry::Folder {
            return;
        }
        let put = self.put.remove(path);
        assert!(put.is_some() && put.as_deref() == entry.bytes(), "foreign: {path}: {entry:?}: {said}");
        let listed = live.find(path);
        let is_listed = listed.is_some_and(|listed| entry.bytes().is_some_and(|bytes| listed.is(bytes)));
        assert!(!is_listed, "{path} is listed: {said}");
    }

    /// A metadata folder holds what was published, and names of the client's own.
    fn judge_metadata(&self, file: &str, change: &Change, said: &str) {
        let is_own = file.starts_with('.');
        match change {
            Change::New(Entry::Folder) => {}
            Change::New(_) | Change::Changed(..) | Change::Gone(_) if is_own => {}
            Change::New(Entry::File { bytes, .. }) | Change::Changed(_, Entry::File { bytes, .. }) => {
                assert!(file.ends_with(".json") && !file.contains('/'), "{file}: {said}");
                assert!(self.published.contains(bytes), "{file} was never published: {said}");
                if file == "root.json" {
                    let root = fs::read(self.repository().join("metadata/1.root.json")).unwrap();
                    assert_eq!(*bytes, root, "the trusted root: {said}");
                }
            }
            change => panic!("{file}: {change:?}: {said}"),
        }
    }

    /// After success every path that a search finds is in place.
    fn judge_whole(&self, after: &Tree, said: &str) {
        let (_, targets) = self.below_top();
        for path in self.trusted.paths() {
            let Some(listed) = self.trusted.find(&path) else { continue };
            let entry = after.get(&format!("{targets}/{path}"));
            let bytes = entry.and_then(Entry::bytes);
            assert!(bytes.is_some_and(|bytes| listed.is(bytes)), "{path} is {entry:?}: {said}");
        }
    }

    /// What is listed is what a search finds, by the role that answers.
    fn judge_list(&self, output: &Output) {
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = json["targets"].as_object();
        for (path, target) in all.into_iter().flatten() {
            let found = self.trusted.find(path).unwrap_or_else(|| panic!("nobody lists {path}: {json}"));
            assert_eq!((&target["role"], &target["length"]), (&found.role.into(), &found.length.into()));
        }
        if output.status.success() {
            let found = self.trusted.paths().into_iter().filter(|path| self.trusted.find(path).is_some());
            assert_eq!(all.map_or(0, serde_json::Map::len), found.count(), "{json}");
        }
    }

    fn clean(&mut self) {
        let before = tree(self.top.path());
        let output = self.run(&["clean"]);
        let after = tree(self.top.path());
        let said = format!("clean: {output:?}");
        let (metadata, targets) = self.below_top();
        let trusted = self.trusted.clone();
        for (name, change) in changes(&before, &after) {
            match (below(&name, &targets), below(&name, &metadata), &change) {
                (Some(path), _, Change::Gone(entry)) => self.judge_gone(path, entry, &trusted, &said),
                (Some(path), ..) if path.starts_with(".tuf-fetch") => {}
                (_, Some(file), _) if file.starts_with('.') => {}
                (_, Some(file), Change::Gone(entry)) => {
                    let was_put =
                        entry.bytes().is_some_and(|bytes| self.published.iter().any(|one| one == bytes));
                    assert!(was_put && file != "root.json", "{file}: {said}");
                }
                _ => panic!("{name}: {change:?}: {said}"),
            }
        }
    }

    /// Returns where the two folders are, as the tree names them.
    fn below_top(&self) -> (String, String) {
        let (metadata, targets) = self.layout.real;
        (format!("work/{metadata}"), format!("work/{targets}"))
    }
}

/// Returns a name below a folder.
fn below<'n>(name: &'n str, folder: &str) -> Option<&'n str> {
    name.strip_prefix(folder)?.strip_prefix('/')
}

/// Takes `.` and `..` out of a path, whatever is there.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(normal.pop()),
            std::path::Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_repository_s_names_reach_only_what_their_roles_list(case in case(&APART)) {
        let mut world = World::new(&case);
        let started = world.init();
        prop_assert_eq!(started.status.code(), Some(0), "{:?}", started);
        // in the plain layout a path has one file, whatever several roles list under it
        let is_alone = !case.steps.iter().any(|step| matches!(step, Step::Plant { .. }));
        for step in &case.steps {
            world.step(step, case.nice && case.consistent && is_alone);
        }
        world.fetch(&["download", "--all"], false);
        world.clean();
    }

    #[test]
    fn folders_that_overlap_are_refused_and_nothing_changes(case in case(&OVERLAPPING)) {
        let world = World::new(&case);
        // the root is trusted already, from a time when the folders were apart
        let other = World { layout: Layout { targets: "apart", ..case.layout }, ..world };
        let started = other.init();
        let world = World { layout: case.layout, ..other };
        let before = tree(world.top.path());
        let is_there = started.status.success();
        for words in [&["refresh"][..], &["list"], &["download", "--all"], &["update"], &["clean"]] {
            let output = world.run(words);
            prop_assert_eq!(output.status.code(), Some(2), "{:?} {:?} {}", words, output, is_there);
            prop_assert_eq!(changes(&before, &tree(world.top.path())), BTreeMap::new());
        }
    }
}
