//! Files of others at random: whatever is listed, written, published, unlisted and collected, in whichever layout, no command
//! changes a file that this test has put among the targets, and what a collection deletes was listed by metadata that goes
//! with it. The model reads JSON files and shares no code with the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tuf::repository::{Destination, Expiry, Layout, METADATA, Replace, Retention, STAGED, TARGETS};

use crate::world::{PATIENCE, World, contents};

/// What files hold; some of their digests are names of files, too.
const BYTES: [&str; 4] = ["one", "two", "three", "four"];

fn digest(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The names that files are put under. None is that of a folder of another one.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        ["a", "b.tar.gz", "css/s.css", ".dot", "dir/a", "dir/.x/y"].map(str::to_owned).to_vec();
    for bytes in BYTES {
        // content-addressed names, and names as copies of others of these files have
        names.push(format!("{}.tar.gz", digest(bytes)));
        names.push(format!("dir/{}.a", digest(bytes)));
        names.push(format!("{}.b.tar.gz", digest(bytes)));
    }
    names.push(format!("{}.z", "0c".repeat(64)));
    names
}

#[derive(Debug, Clone)]
enum Step {
    /// A file is put or replaced among the targets, here or where it is published.
    Put {
        name: usize,
        bytes: usize,
        in_www: bool,
    },
    /// Files are listed by name.
    Add {
        names: Vec<usize>,
    },
    /// Everything that is there is listed.
    AddAll,
    Remove {
        name: usize,
    },
    Write,
    Publish {
        to_www: bool,
    },
    Collect {
        keep: u64,
        from_www: bool,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let name = || 0..names().len();
    prop_oneof![
        4 => (name(), 0..BYTES.len(), any::<bool>()).prop_map(|(name, bytes, www)| Step::Put { name, bytes, in_www: www }),
        3 => prop::collection::vec(name(), 1..4).prop_map(|names| Step::Add { names }),
        1 => Just(Step::AddAll),
        2 => name().prop_map(|name| Step::Remove { name }),
        4 => Just(Step::Write),
        4 => any::<bool>().prop_map(|to_www| Step::Publish { to_www }),
        3 => (1..3_u64, any::<bool>()).prop_map(|(keep, from_www)| Step::Collect { keep, from_www }),
    ]
}

struct Model {
    world: World,
    layout: Layout,
    /// What this test has put among the targets, here and where it is published.
    own: BTreeMap<String, Vec<u8>>,
    www: BTreeMap<String, Vec<u8>>,
    collected: usize,
}

/// Everything below a folder that is a file.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    if !folder.is_dir() {
        return BTreeMap::new();
    }
    contents(folder).into_iter().filter(|(name, _)| !name.ends_with('/')).collect()
}

/// The names that a metadata file lists, as clients ask for them, with their digests.
fn listed(bytes: &[u8], layout: Layout) -> BTreeSet<(String, String)> {
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return BTreeSet::new() };
    let Some(targets) = json["signed"]["targets"].as_object() else { return BTreeSet::new() };
    let mut all = BTreeSet::new();
    for (path, file) in targets {
        let digest = file["hashes"]["sha256"].as_str().unwrap().to_owned();
        let (folder, name) =
            path.rsplit_once('/').map_or((String::new(), path.as_str()), |(a, b)| (format!("{a}/"), b));
        let name = match layout {
            Layout::Plain => path.clone(),
            Layout::Consistent => format!("{folder}{digest}.{name}"),
        };
        all.insert((name, digest));
    }
    all
}

impl Model {
    fn www_dir(&self) -> std::path::PathBuf {
        self.world.dir().join("../www")
    }

    /// All that metadata lists in some folders of metadata, drafts too.
    fn listed_in(&self, folders: &[&Path]) -> BTreeSet<(String, String)> {
        let all = folders.iter().flat_map(|folder| files(folder).into_values());
        all.flat_map(|bytes| listed(&bytes, self.layout)).collect()
    }

    /// All that the metadata lists to which the timestamp of a folder leads, and the drafts in it.
    fn listed_now(&self, folder: &Path) -> BTreeSet<(String, String)> {
        let json =
            |name: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(name)).unwrap()).unwrap();
        let named = |name: &str, version: &Value| match self.layout {
            Layout::Consistent => format!("{version}.{name}"),
            Layout::Plain => name.to_owned(),
        };
        let timestamp = json("timestamp.json");
        let snapshot =
            json(&named("snapshot.json", &timestamp["signed"]["meta"]["snapshot.json"]["version"]));
        let mut all = self.listed_in(&[&folder.join(".drafts")]);
        for (name, listed_there) in snapshot["signed"]["meta"].as_object().unwrap() {
            let bytes = fs::read(folder.join(named(name, &listed_there["version"]))).unwrap();
            all.extend(listed(&bytes, self.layout));
        }
        all
    }

    fn take(&mut self, step: &Step) {
        let names = names();
        match step {
            Step::Put { name, bytes, in_www: false } => {
                let name = &names[*name];
                // a copy that is there is not this test's file
                let is_copy = self.world.path(TARGETS).join(name).exists() && !self.own.contains_key(name);
                if !is_copy {
                    self.world.put(name, BYTES[*bytes].as_bytes());
                    self.own.insert(name.clone(), BYTES[*bytes].as_bytes().to_vec());
                }
            }
            Step::Put { name, bytes, in_www: true } => {
                let path = self.www_dir().join(TARGETS).join(&names[*name]);
                if !path.exists() && self.www_dir().join(METADATA).exists() {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, BYTES[*bytes]).unwrap();
                    self.www.insert(names[*name].clone(), BYTES[*bytes].as_bytes().to_vec());
                }
            }
            Step::Add { names: some } => {
                let some: BTreeSet<&str> = some.iter().map(|name| names[*name].as_str()).collect();
                let some: Vec<&str> = some.into_iter().filter(|name| self.own.contains_key(*name)).collect();
                if !some.is_empty() && self.world.add("targets", &some, Replace::Allow).is_ok() {
                    // what is named is listed, unless it is a copy that was made here
                    let listed = self.world.open().list(&[]).unwrap();
                    for name in some {
                        assert!(
                            listed.contains_key(name) || self.is_listed_copy(name),
                            "{name} was passed over"
                        );
                    }
                }
            }
            Step::AddAll => {
                let all = files(&self.world.path(TARGETS));
                let all: Vec<&str> = all.keys().map(String::as_str).collect();
                if !all.is_empty() && self.world.add("targets", &all, Replace::Allow).is_ok() {
                    let listed = self.world.open().list(&[]).unwrap();
                    for name in all {
                        let is_own = self.own.contains_key(name);
                        assert!(
                            listed.contains_key(name) || self.is_listed_copy(name),
                            "{name} was passed over"
                        );
                        assert!(is_own || !listed.contains_key(name), "{name} is a copy and was listed");
                    }
                }
            }
            Step::Remove { name } => {
                let patterns = [names[*name].clone()];
                let _ = self.world.edit(|repository| repository.remove_targets(&patterns, None));
            }
            Step::Write => {
                // where a file has changed since it was listed
                let _ = self.world.write(&[1, 2, 3]);
            }
            Step::Publish { to_www: false } => drop(self.world.publish()),
            Step::Publish { to_www: true } => {
                let repository = self.world.lock().unwrap();
                let to = Destination::Folder(self.www_dir());
                let plan = repository.plan_publish(&to, Expiry::Enforce, Duration::ZERO);
                if let Ok(plan) = plan
                    && repository.execute_publish(&plan, &|_| ()).is_ok()
                {
                    // what it lists has its place there, whoever was there before
                    let listed = self.listed_in(&[&self.www_dir().join(METADATA)]);
                    self.www.retain(|name, _| !listed.iter().any(|(listed, _)| listed == name));
                }
            }
            Step::Collect { keep, from_www } => self.collect(*keep, *from_www),
        }
    }

    /// Whether written metadata, of any version that is there, or a draft lists a file as a copy with its bytes.
    fn is_listed_copy(&self, name: &str) -> bool {
        let staged = self.world.path(STAGED);
        let bytes = &files(&self.world.path(TARGETS))[name];
        self.layout == Layout::Consistent
            && self.listed_in(&[&staged]).contains(&(name.to_owned(), digest(bytes)))
    }

    fn collect(&mut self, keep: u64, from_www: bool) {
        let (base, at) = match from_www {
            true => (self.www_dir(), Destination::Folder(self.www_dir())),
            false => (self.world.dir(), Destination::Own),
        };
        if !base.join(METADATA).exists() {
            return;
        }
        let before = files(&base);
        let repository = self.world.lock().unwrap();
        let plan =
            repository.plan_gc_of(&at, Retention { keep, keep_within: TimeDelta::zero() }, PATIENCE).unwrap();
        repository.execute_gc(&plan, None).unwrap();
        drop(repository);
        let after = files(&base);
        let gone: BTreeSet<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
        assert_eq!(
            gone,
            plan.deleted().map(str::to_owned).collect::<BTreeSet<_>>().iter().collect::<BTreeSet<_>>()
        );
        let in_metadata = |name: &&&String| name.starts_with(METADATA);
        let dropped: BTreeSet<(String, String)> =
            gone.iter().filter(in_metadata).flat_map(|name| listed(&before[*name], self.layout)).collect();
        let staged = self.world.path(STAGED);
        let mut held = self.listed_in(&[&base.join(METADATA)]);
        // elsewhere only what is written now counts, here all that is retained
        held.extend(if from_www { self.listed_now(&staged) } else { self.listed_in(&[&staged]) });
        for name in gone {
            let Some(target) = name.strip_prefix(&format!("{TARGETS}/")) else { continue };
            self.collected += 1;
            let found = (target.to_owned(), digest(&before[name]));
            assert!(dropped.contains(&found), "{target} went, and no metadata lists it that went");
            assert!(!held.iter().any(|(held, _)| held == target), "{target} went, and metadata lists it");
            if from_www {
                self.www.remove(target);
            } else {
                // one that was put by hand just like the copy that it is listed as
                self.own.remove(target);
            }
        }
    }

    /// Whatever was put is there as it was put, and nothing else is there but what metadata lists or listed.
    fn look(&self) {
        let own = files(&self.world.path(TARGETS));
        for (name, bytes) in &self.own {
            assert_eq!(own.get(name), Some(bytes), "{TARGETS}/{name}");
        }
        let www = files(&self.www_dir().join(TARGETS));
        for (name, bytes) in &self.www {
            assert_eq!(www.get(name), Some(bytes), "www/{TARGETS}/{name}");
        }
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_command_touches_a_file_that_is_not_its_own(
        plain in any::<bool>(),
        history in prop::collection::vec(steps(), 10..60),
    ) {
        let layout = if plain { Layout::Plain } else { Layout::Consistent };
        let world = World::written(layout);
        world.publish().unwrap();
        let mut model =
            Model { world, layout, own: BTreeMap::new(), www: BTreeMap::new(), collected: 0 };
        for step in &history {
            model.take(step);
            model.look();
        }
    }
}

/// The property would hold of a collection that never deletes anything.
#[test]
fn the_histories_lead_to_collections_that_delete_targets() {
    let world = World::written(Layout::Consistent);
    world.publish().unwrap();
    let layout = Layout::Consistent;
    let mut model = Model { world, layout, own: BTreeMap::new(), www: BTreeMap::new(), collected: 0 };
    for bytes in 0..BYTES.len() {
        let publish = [Step::Write, Step::Publish { to_www: false }, Step::Publish { to_www: true }];
        let put = [Step::Put { name: 0, bytes, in_www: false }, Step::Add { names: vec![0] }];
        for step in put.iter().chain(&publish) {
            model.take(step);
            model.look();
        }
    }
    for from_www in [true, false] {
        model.take(&Step::Collect { keep: 1, from_www });
        model.look();
    }
    assert_eq!(model.collected, 6);
}
