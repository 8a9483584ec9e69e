//! Target paths, names of roles and what lies in the folders already, drawn at random: seen from outside, each file that
//! comes is what the role that answers for it lists, and nothing else changes.
//!
//! `PROPTEST_CASES` says how many cases are drawn and `PROPTEST_RNG_SEED` from which seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tuf::client::{ClientError, Removal, TargetDir, check_folders, clean};
use tuf::metadata::{Algorithm, Hasher, pattern_matches};

use crate::simulator::{Client, Simulator, earlier, key};

/// How many cases are drawn unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 12;

/// Names of roles that look like files of the client's own, like those of top-level roles, or like ways out.
const ROLES: [&str; 12] = [
    "plain",
    ".lock",
    ".verified",
    ".tuf-put",
    ".tuf-fetch",
    "1.root",
    "Root",
    "../root",
    "é",
    "x/y",
    "targets.json",
    "%2E",
];

/// Parts of target paths. `LARGE` stands for the digest of a target that is large enough to be taken up, `PROCESS` for
/// the number of this process.
const PARTS: [&str; 20] = [
    "a",
    "A",
    "b",
    "é",
    "e\u{301}",
    "release",
    "app.bin",
    ".tuf-fetch",
    ".TUF-fetch",
    ".tuf-put",
    ".tuf-x",
    ".tuf-fetch.LARGE.rest",
    "LARGE.rest",
    "PROCESS.0.part",
    ".tuf-fetch.PROCESS.0.part",
    "0",
    "..",
    ".lock",
    ".verified",
    "root.json",
];

/// What stands in the target folder before anything is fetched.
#[derive(Debug, Clone)]
enum Foreign {
    File,
    Folder,
    /// A link to a file or a folder elsewhere.
    LinkToFile,
    LinkToFolder,
}

/// A role, delegated by the top one or by another.
#[derive(Debug, Clone)]
struct Delegated {
    name: usize,
    by: Option<usize>,
    pattern: usize,
    terminating: bool,
    fault: usize,
}

const PATTERNS: [&[&str]; 5] =
    [&["*", "*/*", "*/*/*"], &["*"], &["*/*", "*/*/*"], &["release/*", "a/*"], &["a", "a/*", "b/*/*"]];

#[derive(Debug, Clone)]
struct Case {
    consistent: bool,
    roles: Vec<Delegated>,
    /// By which role, at which path, which bytes.
    targets: Vec<(usize, Vec<usize>, u8)>,
    foreign: Vec<(Vec<usize>, Foreign)>,
    /// Targets that go, and roles that are no longer delegated to, in the second version.
    gone: Vec<bool>,
    revoked: Vec<bool>,
    later: Vec<(usize, Vec<usize>, u8)>,
}

fn path() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..PARTS.len(), 1..4)
}

fn targets() -> impl Strategy<Value = Vec<(usize, Vec<usize>, u8)>> {
    prop::collection::vec((0..5_usize, path(), any::<u8>()), 0..9)
}

fn case() -> impl Strategy<Value = Case> {
    let role = (0..ROLES.len(), prop::option::of(0..4_usize), 0..PATTERNS.len(), any::<bool>(), 0..9_usize);
    let role = role.prop_map(|(name, by, pattern, terminating, fault)| Delegated {
        name,
        by,
        pattern,
        terminating,
        fault,
    });
    let foreign = prop_oneof![
        Just(Foreign::File),
        Just(Foreign::Folder),
        Just(Foreign::LinkToFile),
        Just(Foreign::LinkToFolder)
    ];
    let foreign = prop::collection::vec((path(), foreign), 0..6);
    let (gone, revoked) = (prop::collection::vec(any::<bool>(), 16), prop::collection::vec(any::<bool>(), 5));
    let roles = prop::collection::vec(role, 1..5);
    (any::<bool>(), roles, targets(), foreign, gone, revoked, targets()).prop_map(
        |(consistent, roles, targets, foreign, gone, revoked, later)| Case {
            consistent,
            roles,
            targets,
            foreign,
            gone,
            revoked,
            later,
        },
    )
}

fn large() -> Vec<u8> {
    (0..(1 << 20) + 5).map(|index| (index % 251) as u8).collect()
}

fn spelled(parts: &[usize]) -> String {
    let digest = Hasher::digest([Algorithm::Sha256], &large()).of(Algorithm::Sha256).unwrap().to_owned();
    let parts: Vec<String> = parts
        .iter()
        .map(|part| {
            PARTS[*part].replace("LARGE", &digest).replace("PROCESS", &std::process::id().to_string())
        })
        .collect();
    parts.join("/")
}

/// Whether a client may store a path, by the rule as it is written down.
fn is_storable(path: &str) -> bool {
    path.split('/').all(|part| {
        !matches!(part, "" | "." | "..")
            && !part.to_ascii_lowercase().starts_with(".tuf-")
            && part.len() < 256
    })
}

/// A repository that is built from a case, and what is known of it.
struct World {
    simulator: Simulator,
    bodies: BTreeMap<(String, String), Vec<u8>>,
    faulty: BTreeSet<String>,
}

impl World {
    fn new(case: &Case) -> Self {
        let simulator = if case.consistent { Simulator::new() } else { Simulator::plain() };
        let mut world = Self { simulator, bodies: BTreeMap::new(), faulty: BTreeSet::new() };
        let mut names: Vec<String> = Vec::new();
        for role in &case.roles {
            let name = ROLES[role.name].to_owned();
            // in the plain layout such a role would be served in the root's place
            if names.contains(&name) || (!case.consistent && name == "1.root") {
                continue;
            }
            let by = role.by.and_then(|by| names.get(by).cloned()).unwrap_or_else(|| "targets".to_owned());
            world.simulator.delegate(&by, &name, |delegated| {
                delegated.paths =
                    Some(PATTERNS[role.pattern].iter().map(|pattern| (*pattern).to_owned()).collect());
                delegated.terminating = role.terminating;
            });
            match role.fault {
                0 => world.simulator.targets.get_mut(&name).unwrap().expires = earlier(),
                1 => drop(world.simulator.keys.insert(name.clone(), vec![key()])),
                _ => {}
            }
            if role.fault < 2 {
                world.faulty.insert(name.clone());
            }
            names.push(name);
        }
        // one large target, which others may try to give their bytes
        world.list("targets", "big", large());
        world.add(&names, &case.targets);
        world.publish();
        world
    }

    fn list(&mut self, role: &str, path: &str, body: Vec<u8>) {
        // a plain layout has one file for a path, whichever role lists it
        let body = match self.bodies.iter().find(|((_, other), _)| other == path) {
            Some((_, other)) if !self.simulator.root.consistent_snapshot => other.clone(),
            _ => body,
        };
        self.simulator.add_target(role, path, &body);
        self.bodies.insert((role.to_owned(), path.to_owned()), body);
    }

    fn add(&mut self, names: &[String], targets: &[(usize, Vec<usize>, u8)]) {
        for (role, parts, byte) in targets {
            let role = names.get(*role).map_or("targets", String::as_str).to_owned();
            self.list(&role, &spelled(parts), vec![*byte; 3 + usize::from(*byte % 5)]);
        }
    }

    fn publish(&mut self) {
        self.simulator.publish_all();
        // a delegated role may be served under the name of a root
        self.simulator.publish_root();
    }

    fn next(&mut self, case: &Case) {
        let mut index = 0;
        for (name, role) in &mut self.simulator.targets {
            role.targets.retain(|path| {
                index += 1;
                let stays = path == "big" || !case.gone[index % case.gone.len()];
                if !stays {
                    self.bodies.remove(&(name.clone(), path.to_owned()));
                }
                stays
            });
        }
        let top = self.simulator.targets.get_mut("targets").unwrap();
        if let Some(roles) = top.delegations.as_mut().and_then(|delegations| delegations.roles.as_mut()) {
            let mut index = 0;
            roles.retain(|_| {
                index += 1;
                !case.revoked[index % case.revoked.len()]
            });
        }
        let names: Vec<String> =
            self.simulator.targets.keys().filter(|name| *name != "targets").cloned().collect();
        self.add(&names, &case.later);
        self.simulator.update_all();
        self.simulator.publish_root();
    }

    /// Searches as the specification says (5.6.7): the role that answers, or the one that ends the search with a fault.
    fn answer(&self, path: &str) -> Result<Option<String>, String> {
        let mut pending = vec!["targets".to_owned()];
        let mut visited = BTreeSet::new();
        while let Some(name) = pending.pop() {
            if !visited.insert(name.clone()) {
                continue;
            }
            if self.faulty.contains(&name) {
                return Err(name);
            }
            if self.bodies.contains_key(&(name.clone(), path.to_owned())) {
                return Ok(Some(name));
            }
            let mut children = Vec::new();
            let delegations = self.simulator.targets[&name].delegations.clone();
            for child in delegations.and_then(|delegations| delegations.roles).unwrap_or_default() {
                if child.paths.unwrap().iter().any(|pattern| pattern_matches(pattern, path)) {
                    children.push(child.name.to_string());
                    if child.terminating {
                        pending.clear();
                        break;
                    }
                }
            }
            pending.extend(children.into_iter().rev());
        }
        Ok(None)
    }
}

/// A thing on the disk, as it is seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    File(Vec<u8>),
    Folder,
    Link(std::path::PathBuf),
}

fn tree(folder: &Path) -> BTreeMap<String, Seen> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(above) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&above) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let kind = path.symlink_metadata().unwrap().file_type();
            let seen = if kind.is_symlink() {
                Seen::Link(std::fs::read_link(&path).unwrap())
            } else if kind.is_dir() {
                folders.push(path);
                Seen::Folder
            } else {
                Seen::File(std::fs::read(&path).unwrap())
            };
            found.insert(name, seen);
        }
    }
    found
}

/// Puts things of somebody else into the target folder, a notes file into the metadata folder, and a world outside both.
fn plant(client: &Client, case: &Case) {
    let outside = client.path().join("outside");
    std::fs::create_dir_all(outside.join("folder")).unwrap();
    std::fs::write(outside.join("file"), b"outside").unwrap();
    std::fs::create_dir_all(client.targets()).unwrap();
    for (parts, foreign) in &case.foreign {
        let path = spelled(parts);
        // what lies in the folder for unfinished files under their very names is theirs
        let is_ours =
            path.starts_with(".tuf-fetch/") || (path == ".tuf-fetch" && matches!(foreign, Foreign::Folder));
        if is_ours || path.split('/').any(|part| part == "..") {
            continue;
        }
        let at = client.targets().join(&path);
        if at.symlink_metadata().is_ok() || std::fs::create_dir_all(at.parent().unwrap()).is_err() {
            continue;
        }
        // a link that is planted leads outside, and so would whatever is planted below it
        if !at.parent().unwrap().canonicalize().unwrap().starts_with(client.targets().canonicalize().unwrap())
        {
            continue;
        }
        match foreign {
            // its bytes are no target's
            Foreign::File => std::fs::write(&at, format!("mine: {path}")).unwrap(),
            Foreign::Folder => std::fs::create_dir(&at).unwrap(),
            Foreign::LinkToFile => std::os::unix::fs::symlink(outside.join("file"), &at).unwrap(),
            Foreign::LinkToFolder => std::os::unix::fs::symlink(outside.join("folder"), &at).unwrap(),
        }
    }
    for name in [".tuf-fetch.1.0.part", "notes", "stranger.json", ".tuf-x"] {
        std::fs::write(client.file(name), b"mine").unwrap();
    }
}

/// What is checked after each command.
struct Watch {
    outside: BTreeMap<String, Seen>,
    root: Vec<u8>,
    /// What was in the target folder before the first command.
    foreign: BTreeMap<String, Seen>,
    /// What the commands are known to have put.
    put: BTreeMap<String, Vec<u8>>,
}

impl Watch {
    fn new(client: &Client) -> Self {
        Self {
            outside: tree(&client.path().join("outside")),
            root: std::fs::read(client.file("root.json")).unwrap(),
            foreign: tree(&client.targets()),
            put: BTreeMap::new(),
        }
    }

    fn check(&self, client: &Client) {
        assert_eq!(tree(&client.path().join("outside")), self.outside);
        let beside: BTreeSet<_> =
            std::fs::read_dir(client.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["metadata", "outside", "targets"].map(Into::into).into());
        assert_eq!(std::fs::read(client.file("root.json")).unwrap(), self.root);
        for name in [".tuf-fetch.1.0.part", "notes", "stranger.json", ".tuf-x"] {
            assert_eq!(std::fs::read(client.file(name)).unwrap(), b"mine", "{name}");
        }
        check_folders(&client.path().join("metadata"), &client.targets()).unwrap();
        let now = tree(&client.targets());
        for (path, seen) in &self.foreign {
            if !self.put.contains_key(path) {
                assert_eq!(now.get(path), Some(seen), "{path} was somebody else's");
            }
        }
        for (path, seen) in &now {
            match seen {
                _ if self.foreign.get(path) == Some(seen) => {}
                Seen::File(bytes) => assert_eq!(Some(bytes), self.put.get(path), "{path} came from nowhere"),
                Seen::Folder => {}
                Seen::Link(_) => panic!("{path} is a link that nobody planted"),
            }
        }
    }

    /// Fetches everything, and checks that it is what a search in the repository says.
    fn fetch(&mut self, world: &World, client: &Client) {
        let (downloaded, faults) = client.download_all(&world.simulator);
        let blocked: BTreeSet<String> =
            faults.iter().filter(|fault| is_in_place(fault)).map(ClientError::subject).collect();
        let mut paths: BTreeSet<&str> = world.bodies.keys().map(|(_, path)| path.as_str()).collect();
        for path in &downloaded {
            let role = world.answer(path).unwrap().unwrap();
            let body = &world.bodies[&(role, path.clone())];
            assert_eq!(&std::fs::read(client.targets().join(path)).unwrap(), body, "{path}");
            assert!(is_storable(path), "{path}");
            self.put.insert(path.clone(), body.clone());
            paths.remove(path.as_str());
        }
        for path in paths {
            let is_wanted = is_storable(path) && matches!(world.answer(path), Ok(Some(_)));
            let [all, at] =
                [client.targets(), client.targets().join(path)].map(|at| at.display().to_string());
            let is_excused = [path, &at, &all].iter().any(|place| blocked.contains(*place));
            assert!(!is_wanted || is_excused, "{path}: {faults:?}");
        }
        self.drop_what_was_cleared(client);
        self.check(client);
    }

    /// What a target that became a folder, or the other way round, took with it was put by a command.
    fn drop_what_was_cleared(&mut self, client: &Client) {
        self.put.retain(|path, _| {
            client.targets().join(path).symlink_metadata().is_ok_and(|found| found.is_file())
        });
    }

    fn clean(&mut self, world: &World, client: &Client) {
        let dir = TargetDir::create(&client.targets()).unwrap();
        let run = |removal| clean(&client.local(), Some(&dir), &client.limits, client.now, removal).unwrap();
        let planned = run(Removal::Planned);
        self.check(client);
        let cleaned = run(Removal::Done);
        assert_eq!(cleaned, planned);
        for path in &cleaned.targets {
            assert!(self.put.remove(path).is_some(), "{path} was put by nobody");
            assert!(!self.foreign.contains_key(path) || !client.targets().join(path).exists());
            assert_eq!(world.answer(path), Ok(None), "{path} is a target");
        }
        self.foreign.retain(|path, _| !cleaned.targets.contains(path));
        self.check(client);
    }
}

/// Tells whether something on the disk kept a target from its place.
fn is_in_place(fault: &ClientError) -> bool {
    matches!(fault, ClientError::InTheWay { .. } | ClientError::Local { .. })
}

fn config() -> ProptestConfig {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = given("PROPTEST_CASES").map_or(CASES, |cases: u64| cases.try_into().unwrap());
    let rng_seed = RngSeed::Fixed(given("PROPTEST_RNG_SEED").unwrap_or(1));
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_file_is_what_its_own_role_lists_and_nothing_of_anybody_elses_changes(case in case()) {
        let mut world = World::new(&case);
        let client = Client::new(&world.simulator);
        plant(&client, &case);
        let mut watch = Watch::new(&client);
        watch.fetch(&world, &client);
        watch.clean(&world, &client);
        world.next(&case);
        // without the delegated roles at hand
        client.refresh(&world.simulator).unwrap();
        watch.clean(&world, &client);
        watch.fetch(&world, &client);
        watch.clean(&world, &client);
        watch.fetch(&world, &client);
    }
}
