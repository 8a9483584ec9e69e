//! Random histories of a repository: whatever the commands and their order, versions go up, a versioned file never
//! changes, a failure leaves no trace, and a copy of `metadata.staged` serves new clients and old ones.

use std::collections::BTreeMap;
use std::fs;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tuf::metadata::{RoleName, Threshold};
use tuf::repository::{
    BinKind, DRAFTS, DeadEnd, Delegation, Graph, KeyChoice, Layout, METADATA, Replace, Repository, STAGED,
    Selection, Side, TARGETS, Trust,
};

use crate::client::{Standing, new_client};
use crate::world::{KEYS, World, contents, copy_folder, difference, public, role, signing, temporary, tree};

const BINS: &str = "bin";
const NAMES: [&str; 4] = ["alpha", "beta", "team/gamma", "delta"];
const FILES: [&str; 5] = ["one", "two", "dir/one", "dir/three", "deep/er/four"];
const PATHS: [&[&str]; 4] = [&["*"], &["dir/*", "one"], &["*", "dir/*", "deep/er/*"], &["nothing/*"]];

/// One command. Numbers choose among what is there, so that most commands make sense.
#[derive(Debug, Clone)]
enum Step {
    AddKey { role: usize, key: usize, delegator: usize },
    RemoveKey { role: usize, key: usize, delegator: usize },
    RotateKey { role: usize, old: usize, new: usize, delegator: usize },
    Threshold { role: usize, threshold: u64, delegator: usize },
    Expire { role: usize, days: i64 },
    Bump { role: usize, further: Option<u64> },
    AddTargets { role: usize, files: Vec<usize>, bytes: u8, replace: bool },
    RemoveTargets { role: Option<usize>, pattern: &'static str },
    Delegate { name: usize, from: usize, keys: Vec<usize>, threshold: u64, paths: usize, flags: (bool, bool) },
    Revoke { name: usize, from: usize },
    DelegateBins { from: usize, keys: Vec<usize>, threshold: u64, bits: u32, classic: bool },
    AddToBins { files: Vec<usize>, bytes: u8, replace: bool },
    RevokeBins,
    Discard { roles: Vec<usize> },
    Sign { roles: Vec<usize>, keys: Vec<usize> },
    Write { partial: bool, roles: Vec<usize>, keys: Vec<usize> },
    KilledWrite { keys: Vec<usize>, after: usize },
    Refresh { keys: Vec<usize> },
    Publish,
    Gc { keep: u64 },
    Wait { hours: i64 },
}

fn some_keys() -> impl Strategy<Value = Vec<usize>> {
    let all: Vec<usize> = (0..KEYS).collect();
    prop_oneof![3 => Just(all.clone()), 2 => subsequence(all, 1..=4)]
}

fn some_roles() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..9_usize, 1..3)]
}

fn steps() -> impl Strategy<Value = Step> {
    let (one, key) = (0..9_usize, 0..KEYS);
    prop_oneof![
        3 => (one.clone(), key.clone(), 0..3_usize)
            .prop_map(|(role, key, delegator)| Step::AddKey { role, key, delegator }),
        1 => (one.clone(), key.clone(), 0..3_usize)
            .prop_map(|(role, key, delegator)| Step::RemoveKey { role, key, delegator }),
        2 => (one.clone(), 0..4_usize, key, 0..3_usize)
            .prop_map(|(role, old, new, delegator)| Step::RotateKey { role, old, new, delegator }),
        2 => (one.clone(), 1..3_u64, 0..3_usize)
            .prop_map(|(role, threshold, delegator)| Step::Threshold { role, threshold, delegator }),
        1 => (one.clone(), -1..40_i64).prop_map(|(role, days)| Step::Expire { role, days }),
        2 => (one.clone(), prop::option::weighted(0.3, 0..3_u64))
            .prop_map(|(role, further)| Step::Bump { role, further }),
        6 => (one.clone(), subsequence((0..FILES.len()).collect::<Vec<_>>(), 1..3), 0..3_u8, any::<bool>())
            .prop_map(|(role, files, bytes, replace)| Step::AddTargets { role, files, bytes, replace }),
        2 => (prop::option::of(one.clone()), select(vec!["*", "dir/*", "one", "absent"]))
            .prop_map(|(role, pattern)| Step::RemoveTargets { role, pattern }),
        6 => (0..NAMES.len(), one.clone(), subsequence((0..KEYS).collect::<Vec<_>>(), 1..3), 1..3_u64, 0..PATHS.len(), any::<(bool, bool)>())
            .prop_map(|(name, from, keys, threshold, paths, flags)| Step::Delegate { name, from, keys, threshold, paths, flags }),
        3 => (one, 0..3_usize).prop_map(|(name, from)| Step::Revoke { name, from }),
        4 => (prop_oneof![2 => Just(0_usize), 1 => 0..9_usize], subsequence((0..KEYS).collect::<Vec<_>>(), 1..3), 1..3_u64, 1..4_u32, any::<bool>())
            .prop_map(|(from, keys, threshold, bits, classic)| Step::DelegateBins { from, keys, threshold, bits, classic }),
        5 => (subsequence((0..FILES.len()).collect::<Vec<_>>(), 1..4), 0..3_u8, any::<bool>())
            .prop_map(|(files, bytes, replace)| Step::AddToBins { files, bytes, replace }),
        1 => Just(Step::RevokeBins),
        1 => some_roles().prop_map(|roles| Step::Discard { roles }),
        5 => (some_roles(), some_keys()).prop_map(|(roles, keys)| Step::Sign { roles, keys }),
        10 => (any::<bool>(), some_roles(), some_keys())
            .prop_map(|(partial, roles, keys)| Step::Write { partial, roles, keys }),
        2 => (some_keys(), 0..9_usize).prop_map(|(keys, after)| Step::KilledWrite { keys, after }),
        2 => some_keys().prop_map(|keys| Step::Refresh { keys }),
        4 => Just(Step::Publish),
        2 => (0..3_u64).prop_map(|keep| Step::Gc { keep }),
        2 => (1..30_i64).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// What the numbers of a step choose among: fixed, so that the same command can be run again.
struct Known {
    roles: Vec<RoleName>,
    graph: Graph,
}

impl Known {
    fn of(repository: &Repository) -> Self {
        let roles: Vec<RoleName> =
            repository.status().unwrap().roles.into_iter().map(|status| status.role).collect();
        Self { roles, graph: repository.staged().graph() }
    }
}

/// A repository and everything that has been seen of it.
struct Model {
    world: World,
    layout: Layout,
    /// Every version of every versioned file that ever was.
    seen: BTreeMap<String, Vec<u8>>,
    /// The newest of each file that is replaced in place.
    newest: BTreeMap<String, (u64, Vec<u8>)>,
    /// The clients that updated after each publication.
    clients: Vec<Standing>,
    /// Where no client can be served for the moment: a `write` was killed in the middle of new roots or plain files.
    torn: bool,
    looks: usize,
}

impl Model {
    fn new(layout: Layout) -> Self {
        let mut model = Self {
            world: World::written(layout),
            layout,
            seen: BTreeMap::new(),
            newest: BTreeMap::new(),
            clients: Vec::new(),
            torn: false,
            looks: 0,
        };
        fs::create_dir_all(model.world.path(TARGETS).join("deep/er")).unwrap();
        fs::create_dir_all(model.world.path(TARGETS).join("dir")).unwrap();
        model.look();
        model
    }

    /// Runs a step as a command, and again where it worked; then looks at everything.
    fn take(&mut self, step: &Step) {
        let before = tree(&self.world.dir());
        let known = Known::of(&self.world.open_whole());
        let done = self.run(step, &known);
        let after = tree(&self.world.dir());
        match &done {
            Err(_) if matches!(step, Step::KilledWrite { .. }) => {}
            Err(error) => {
                let differs = difference(&before, &after);
                assert!(differs.is_empty(), "{step:?} failed ({error}) and changed {differs:?}");
            }
            Ok(()) if !matches!(step, Step::Wait { .. } | Step::KilledWrite { .. }) => {
                let again = self.run(step, &known);
                let differs = difference(&after, &tree(&self.world.dir()));
                assert!(differs.is_empty(), "{step:?} again ({again:?}) changed {differs:?}");
            }
            Ok(()) => {}
        }
        if matches!(step, Step::Write { .. }) && done.is_ok() && self.world.dirty().is_empty() {
            self.torn = false;
        }
        self.look();
    }

    fn run(&mut self, step: &Step, known: &Known) -> Result<(), String> {
        let one = |number: usize| known.roles[number % known.roles.len()].clone();
        let several = |numbers: &[usize]| numbers.iter().map(|number| one(*number)).collect::<Vec<_>>();
        let by = |role: &RoleName, number: usize| {
            let all = known.graph.delegators(role);
            if role.is_top_level() || all.len() < 2 { None } else { Some(all[number % all.len()].clone()) }
        };
        let world = &self.world;
        let done = match step {
            Step::AddKey { role, key, delegator } => world.edit(|repository| {
                let delegator = by(&one(*role), *delegator);
                repository.add_key(&one(*role), public(*key), delegator.as_ref()).map(drop)
            }),
            Step::RemoveKey { role, key, delegator } => world.edit(|repository| {
                let delegator = by(&one(*role), *delegator);
                let choice = KeyChoice::Key(public(*key).clone());
                repository.remove_key(&one(*role), &choice, delegator.as_ref(), DeadEnd::Allow).map(drop)
            }),
            Step::RotateKey { role, old, new, delegator } => {
                let status = world.open_whole().status().unwrap();
                let listed = &status.roles[*role % status.roles.len()].keys;
                let Some(old) = listed.get(*old % listed.len().max(1)) else { return Ok(()) };
                // the same command again would rotate another key away
                if old.keyid == public(*new).id() || listed.iter().any(|key| key.keyid == public(*new).id()) {
                    return Ok(());
                }
                let choice = KeyChoice::Id(old.keyid.to_string());
                world.edit(|repository| {
                    let delegator = by(&one(*role), *delegator);
                    repository.remove_key(&one(*role), &choice, delegator.as_ref(), DeadEnd::Allow)?;
                    repository.add_key(&one(*role), public(*new), delegator.as_ref()).map(drop)
                })
            }
            Step::Threshold { role, threshold, delegator } => world.edit(|repository| {
                let delegator = by(&one(*role), *delegator);
                let threshold = Threshold::new(*threshold).unwrap();
                repository.set_threshold(&one(*role), threshold, delegator.as_ref(), DeadEnd::Allow).map(drop)
            }),
            Step::Expire { role, days } => {
                let moment = world.now + TimeDelta::days(*days);
                world.edit(|repository| repository.expire(&one(*role), moment).map(drop))
            }
            Step::Bump { role, further } => world.edit(|repository| {
                // absolute, so that it means the same when it is run again
                let role = repository.find_role(one(*role).as_str())?;
                let written = repository.staged().role(&role).unwrap().written_version().unwrap_or(0);
                let version = further.map(|further| written + further);
                repository.bump(&role, version).map(drop)
            }),
            Step::AddTargets { role, files, bytes, replace } => {
                return self.add_targets(&one(*role), files, *bytes, *replace);
            }
            Step::RemoveTargets { role, pattern } => world.edit(|repository| {
                let from = role.map(one);
                repository.remove_targets(&[(*pattern).to_owned()], from.as_ref()).map(drop)
            }),
            Step::Delegate { name, from, keys, threshold, paths, flags } => world.edit(|repository| {
                let from = one(*from);
                let first = repository.staged().targets(&from).and_then(|state| state.effective());
                let first = first.and_then(|targets| targets.delegations.as_ref());
                let before = first.and_then(|all| all.roles().first()).map(|first| first.name.clone());
                repository.delegate(Delegation {
                    name: role(NAMES[*name]),
                    from,
                    keys: keys.iter().map(|key| public(*key).clone()).collect(),
                    threshold: Threshold::new((*threshold).min(keys.len() as u64)).unwrap(),
                    trust: Trust::Paths(PATHS[*paths].iter().map(|path| (*path).to_owned()).collect()),
                    terminating: flags.0,
                    before: before.filter(|_| flags.1),
                })
            }),
            Step::Revoke { name, from } => world.edit(|repository| {
                let name = one(*name);
                let from = by(&name, *from);
                repository.revoke(&name, from.as_ref()).map(drop)
            }),
            Step::DelegateBins { from, keys, threshold, bits, classic } => world.edit(|repository| {
                let kind = if *classic { BinKind::Classic } else { BinKind::Succinct };
                repository.delegate(Delegation {
                    name: role(BINS),
                    // mostly the top-level role
                    from: if *from == 0 { role("targets") } else { one(*from) },
                    keys: keys.iter().map(|key| public(*key).clone()).collect(),
                    threshold: Threshold::new((*threshold).min(keys.len() as u64)).unwrap(),
                    trust: Trust::Bins { number: 1 << bits, kind },
                    terminating: true,
                    before: None,
                })
            }),
            Step::AddToBins { files, bytes, replace } => {
                return self.add_targets(&role(BINS), files, *bytes, *replace);
            }
            Step::RevokeBins => world.edit(|repository| match repository.find_bins(&role(BINS)) {
                Some(set) => repository.revoke_bins(&set, None).map(drop),
                None => repository.find_role(BINS).map(drop),
            }),
            Step::Discard { roles } => {
                let roles = several(roles);
                world.edit(|repository| repository.discard(&roles).map(drop))
            }
            Step::Sign { roles, keys } => {
                let roles = several(roles);
                // a person signs a role with the keys of that role
                world.sign(&roles, &self.fitting(keys, &roles))
            }
            Step::Write { partial, roles, keys } => {
                let roles = several(roles);
                let selection = if *partial { Selection::Complete(roles) } else { Selection::Whole(roles) };
                world.write_some(&selection, &self.fitting(keys, &[])).map(drop)
            }
            Step::KilledWrite { keys, after } => return self.killed_write(keys, *after),
            Step::Refresh { keys } => world.refresh(&self.fitting(keys, &[])).map(drop),
            Step::Publish => return self.publish(),
            Step::Gc { keep } => world.gc(*keep).map(|deleted| self.forget(&deleted)),
            Step::Wait { hours } => {
                self.world.after(TimeDelta::hours(*hours));
                Ok(())
            }
        };
        done.map_err(|error| error.to_string())
    }

    /// Of some keys those that may sign for every one of the roles; for any role where none is named.
    fn fitting(&self, numbers: &[usize], roles: &[RoleName]) -> Vec<usize> {
        let repository = self.world.open();
        let fits = |number: &&usize| match roles {
            [] => repository.may_sign(public(**number), &[]),
            roles => {
                roles.iter().all(|role| repository.may_sign(public(**number), std::slice::from_ref(role)))
            }
        };
        numbers.iter().filter(fits).copied().collect()
    }

    /// Changes files and lists them; where that fails the files are put back, as if they had never changed.
    fn add_targets(&self, by: &RoleName, files: &[usize], bytes: u8, replace: bool) -> Result<(), String> {
        let names: Vec<&str> = files.iter().map(|number| FILES[*number]).collect();
        let before = tree(&self.world.path(TARGETS));
        for name in &names {
            let text = format!("{name}{}", "+".repeat(usize::from(bytes)));
            if before.get(*name).is_none_or(|(bytes, _)| bytes != text.as_bytes()) {
                self.world.put(name, text.as_bytes());
            }
        }
        let replace = if replace { Replace::Allow } else { Replace::Refuse };
        let done = self.world.add(by.as_str(), &names, replace);
        if done.is_err() {
            for name in names {
                let path = self.world.path(TARGETS).join(name);
                match before.get(name) {
                    Some((bytes, changed)) => {
                        self.world.put(name, bytes);
                        let file = fs::File::options().write(true).open(path).unwrap();
                        file.set_modified(changed.unwrap()).unwrap();
                    }
                    None => fs::remove_file(path).unwrap(),
                }
            }
        }
        done.map_err(|error| error.to_string())
    }

    fn publish(&mut self) -> Result<(), String> {
        self.world.publish().map_err(|error| error.to_string())?;
        let live = self.world.path(METADATA);
        for client in self.clients.clone() {
            client.update(&live).unwrap_or_else(|error| panic!("an old client at what is live: {error}"));
        }
        let (standing, _) = Standing::at_root(&live, 1).update(&live).unwrap();
        if !self.clients.contains(&standing) {
            self.clients.push(standing);
        }
        Ok(())
    }

    /// Leaves behind what a `write` does that is killed after some of its files have been put.
    fn killed_write(&mut self, keys: &[usize], after: usize) -> Result<(), String> {
        let keys = &self.fitting(keys, &[]);
        let twin = self.world.twin();
        let told = |error: tuf::repository::RepositoryError| error.to_string();
        let written = twin.write(keys).map_err(told)?;
        if written.is_empty() {
            return Ok(());
        }
        // the drafts as the killed command had saved them: the first metadata file cannot be read, so that nothing is put
        let mut repository = self.world.lock().map_err(told)?;
        let plan = repository.plan_write(&Selection::Whole(Vec::new()), &signing(keys)).map_err(told)?;
        let staged: Vec<String> = plan.put().into_iter().filter(|name| name.starts_with(STAGED)).collect();
        let first = self.world.path(&staged[0]);
        let present = fs::read(&first).ok();
        let _ = fs::remove_file(&first);
        fs::create_dir(&first).unwrap();
        repository.execute_write(&plan, &|_| ()).unwrap_err();
        fs::remove_dir(&first).unwrap();
        if let Some(present) = present {
            fs::write(&first, present).unwrap();
        }
        let count = after % (staged.len() + 1);
        for name in &staged[..count] {
            fs::copy(twin.path(name), self.world.path(name)).unwrap();
        }
        fs::create_dir_all(self.world.path(STAGED).join(".tuf-tmp-0")).unwrap();
        fs::write(self.world.path(STAGED).join(".tuf-tmp-0/.tuf-0"), b"half").unwrap();
        let put = |name: &String| self.world.path(name).is_file() && staged[..count].contains(name);
        let root = staged.iter().any(|name| name.ends_with("root.json") && put(name));
        let last = staged.last().is_some_and(put);
        if !last && (root || self.layout == Layout::Plain) {
            self.torn = true;
        }
        Err("killed".to_owned())
    }

    /// Forgets files that were collected and have no version in their names: nothing has ever led a client to one, so that
    /// its version is free again.
    fn forget(&mut self, collected: &[String]) {
        for file in collected.iter().filter(|file| !file.starts_with(TARGETS)) {
            let (side, name) = file.split_once('/').unwrap();
            if self.newest.remove(file).is_some() {
                let snapshot = fs::read(self.world.path(side).join("snapshot.json")).unwrap();
                let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
                assert!(snapshot["signed"]["meta"].get(name).is_none(), "{file} was listed and collected");
            }
        }
    }

    /// Holds what is on disk against what has been seen and against every client.
    fn look(&mut self) {
        for side in [STAGED, METADATA] {
            for entry in fs::read_dir(self.world.path(side)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    assert!(side == STAGED && (name == DRAFTS || name == ".tuf-tmp-0"), "{side}/{name}");
                    continue;
                }
                let bytes = fs::read(entry.path()).unwrap();
                let version = version(&bytes);
                if name.starts_with(&format!("{version}.")) {
                    let known = self.seen.entry(name.clone()).or_insert_with(|| bytes.clone());
                    assert!(*known == bytes, "{side}/{name} changed");
                } else {
                    let known = self
                        .newest
                        .entry(format!("{side}/{name}"))
                        .or_insert_with(|| (version, bytes.clone()));
                    let higher = version > known.0;
                    assert!(higher || known.1 == bytes, "{side}/{name} v{version} after v{}", known.0);
                    *known = (version, bytes);
                }
            }
        }
        self.looks += 1;
        if self.looks.is_multiple_of(4) {
            self.look_at_status();
        }
        if self.torn {
            return;
        }
        new_client(&self.world.dir(), Side::Staged, self.layout).unwrap();
        let staged = self.world.path(STAGED);
        for client in &self.clients {
            client.update(&staged).unwrap_or_else(|error| panic!("a client of old: {error}"));
        }
        if !self.clients.is_empty() {
            new_client(&self.world.dir(), Side::Live, self.layout).unwrap();
        }
    }

    /// The status says the same whenever and wherever it is asked.
    fn look_at_status(&self) {
        let status = self.world.open_whole().status().unwrap();
        assert_eq!(self.world.open_whole().status().unwrap(), status);
        let elsewhere = temporary();
        copy_folder(&self.world.dir(), &elsewhere.path().join("other"));
        let mut copied = Repository::open(&elsewhere.path().join("other"), self.world.now).unwrap();
        copied.read_all().unwrap();
        // only the proposal of a place for a new key tells where the repository is
        let mut copied = copied.status().unwrap();
        copied.steps.clone_from(&status.steps);
        assert_eq!(copied, status);
    }

    /// Lists files that have changed since with the bytes that they have now, or not at all.
    fn list_as_they_are(&self) {
        let repository = self.world.open_whole();
        for by in repository.staged().graph().order {
            for (path, length) in listed(&repository, &by) {
                let now = fs::metadata(self.world.path(TARGETS).join(&path)).map(|file| file.len());
                if now.is_ok_and(|now| now == length) {
                    continue;
                }
                if self.world.add(by.as_str(), &[&path], Replace::Allow).is_err() {
                    let patterns = [path];
                    self.world.edit(|repository| repository.remove_targets(&patterns, Some(&by))).unwrap();
                }
            }
        }
    }

    /// Gives every role what it lacks and writes: no history leads into a dead end.
    fn recover(&mut self) {
        let soon = self.world.now + TimeDelta::hours(1);
        let later = self.world.now + TimeDelta::days(300);
        for _ in 0..3 {
            let status = self.world.open_whole().status().unwrap();
            for found in &status.roles {
                let name = &found.role;
                let graph = self.world.open().staged().graph();
                let delegators =
                    if name.is_top_level() { Vec::new() } else { graph.delegators(name).to_vec() };
                let delegators: Vec<Option<RoleName>> = if delegators.is_empty() {
                    vec![None]
                } else {
                    delegators.into_iter().map(Some).collect()
                };
                for delegator in delegators {
                    if (found.distinct_keys as u64) < found.threshold {
                        let given = |repository: &mut Repository| {
                            repository.set_threshold(
                                name,
                                Threshold::ONE,
                                delegator.as_ref(),
                                DeadEnd::Allow,
                            )?;
                            repository.add_key(name, public(7), delegator.as_ref())
                        };
                        self.world.edit(given).unwrap();
                    }
                }
                if found.expires.is_some_and(|expires| expires <= soon) {
                    self.world.edit(|repository| repository.expire(name, later)).unwrap();
                }
            }
        }
        self.list_as_they_are();
        let all: Vec<usize> = (0..KEYS).collect();
        self.world.write(&self.fitting(&all, &[])).unwrap();
        self.torn = false;
        self.look();
        assert_eq!(self.world.dirty(), Vec::<String>::new());
        let names = contents(&self.world.path(STAGED));
        assert!(!names.keys().any(|name| name.starts_with(&format!("{DRAFTS}/")) && !name.ends_with('/')));
        assert!(!names.contains_key(".tuf-tmp-0/"), "what a killed command left is gone");
        self.publish().unwrap();
        self.look();
        assert_eq!(self.world.publish().unwrap(), Vec::<String>::new());
        // every collection keeps what clients need now
        self.world.gc(1).unwrap();
        self.look();
        assert!(self.world.write(&self.fitting(&all, &[])).unwrap().is_empty());
    }
}

/// Returns the targets that a role lists with the drafts in force.
fn listed(repository: &Repository, role: &RoleName) -> BTreeMap<String, u64> {
    let state = repository.staged().targets(role).unwrap();
    let targets = state.effective().unwrap();
    targets.targets.iter().map(|(path, file)| (path.into_owned(), file.length)).collect()
}

fn version(bytes: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    value["signed"]["version"].as_u64().unwrap()
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_keeps_its_promises(
        plain in any::<bool>(),
        history in prop::collection::vec(steps(), 1..40),
    ) {
        let layout = if plain { Layout::Plain } else { Layout::Consistent };
        let mut model = Model::new(layout);
        for step in &history {
            model.take(step);
        }
        model.recover();
    }
}

/// A `write` into plain names was killed, its bins were revoked and collected: they start anew, from version 1.
#[test]
fn bins_that_no_snapshot_ever_listed_start_anew_once_they_are_collected() {
    let all = || (0..KEYS).collect::<Vec<_>>();
    let bins = |key, classic| Step::DelegateBins { from: 0, keys: vec![key], threshold: 1, bits: 1, classic };
    let history = [
        Step::AddKey { role: 0, key: 0, delegator: 0 },
        bins(4, false),
        Step::KilledWrite { keys: all(), after: 2 },
        Step::RevokeBins,
        Step::Delegate { name: 0, from: 5, keys: vec![0], threshold: 1, paths: 0, flags: (false, false) },
        Step::Write { partial: false, roles: vec![], keys: all() },
        Step::Gc { keep: 0 },
        bins(7, true),
    ];
    let mut model = Model::new(Layout::Plain);
    for step in &history {
        model.take(step);
    }
    model.recover();
}
