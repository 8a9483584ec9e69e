//! `gc` against a model: random histories of publications, and after some of them a collection whose survivors must be
//! those that a walk over the JSON files finds. The walk shares no code with the collection.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tuf::repository::{
    DamagedRoots, Destination, Expiry, HISTORY, Layout, METADATA, PublishRequest, Replace, Retention, STAGED,
    TARGETS,
};

use crate::client::{Standing, served};
use crate::world::{PATIENCE, World, contents, difference, role};

/// How many publications a history has.
const PUBLICATIONS: usize = 150;
/// The delegated roles that come and go.
const ROLES: [&str; 4] = ["d0", "d1", "d2", "d3"];

/// Numbers that look random and are the same in every run (Marsaglia's xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The names of the files directly in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Splits `3.name.json`.
fn versioned(name: &str) -> Option<(u64, &str)> {
    let (number, rest) = name.strip_suffix(".json")?.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// The versions of the snapshots that a folder retains, straight from what the contract says.
fn retained(folder: &Path, retention: Retention, now: DateTime<Utc>) -> BTreeSet<u64> {
    let current =
        json(&folder.join("timestamp.json"))["signed"]["meta"]["snapshot.json"]["version"].as_u64().unwrap();
    let files = names(folder);
    let mut versions: Vec<u64> = files
        .iter()
        .filter_map(|name| versioned(name))
        .filter(|(version, name)| *name == "snapshot" && *version <= current)
        .map(|(version, _)| version)
        .collect();
    versions.sort();
    let count = versions.len();
    let mut kept = BTreeSet::new();
    for (index, version) in versions.iter().enumerate() {
        let last = count - index <= (retention.keep as usize).max(1);
        let young = versions.get(index + 1).is_none_or(|next| {
            let file = fs::metadata(folder.join(format!("{next}.snapshot.json"))).unwrap();
            let replaced: DateTime<Utc> = file.modified().unwrap().into();
            replaced + retention.keep_within >= now
        });
        if last || young {
            kept.insert(*version);
        }
    }
    kept
}

/// What a collection must leave of a repository with consistent snapshots: of the target files all but those that a role file
/// lists which goes, that nothing else lists, and that have the bytes which are listed.
fn survivors(world: &World, retention: Retention, foreign: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let folders = [METADATA, STAGED].map(|name| (name, world.path(name)));
    let snapshots: BTreeSet<u64> =
        folders.iter().flat_map(|(_, folder)| retained(folder, retention, world.now)).collect();
    let find = |name: &str| folders.iter().map(|(_, folder)| folder.join(name)).find(|path| path.exists());
    let mut roles: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut targets: BTreeSet<String> = BTreeSet::new();
    let list = |signed: &Value, targets: &mut BTreeSet<String>| {
        for (path, file) in signed["targets"].as_object().unwrap() {
            let (folder, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(a, b)| (a, b));
            for hash in file["hashes"].as_object().unwrap().values() {
                let copy = format!("{}.{name}", hash.as_str().unwrap());
                targets.insert(if folder.is_empty() { copy } else { format!("{folder}/{copy}") });
            }
        }
    };
    for snapshot in &snapshots {
        let snapshot = json(&find(&format!("{snapshot}.snapshot.json")).unwrap());
        for (name, listed) in snapshot["signed"]["meta"].as_object().unwrap() {
            let version = listed["version"].as_u64().unwrap();
            roles.entry(name.strip_suffix(".json").unwrap().to_owned()).or_default().insert(version);
            // of revoked roles the file may be gone, and nobody asks for it
            if let Some(path) = find(&format!("{version}.{name}")) {
                list(&json(&path)["signed"], &mut targets);
            }
        }
    }
    let drafts = world.path(STAGED).join(".drafts");
    for name in if drafts.is_dir() { names(&drafts) } else { BTreeSet::new() } {
        let draft = json(&drafts.join(name));
        if draft["signed"]["_type"] == "targets" {
            list(&draft["signed"], &mut targets);
        }
    }
    let (mut all, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    for (prefix, folder) in &folders {
        for name in names(folder) {
            let is_foreign = foreign.contains_key(&format!("{prefix}/{name}"));
            let stays = match versioned(&name).filter(|_| !is_foreign) {
                None | Some((_, "root")) => true,
                Some((version, "snapshot")) => {
                    snapshots.contains(&version) || version > *snapshots.last().unwrap()
                }
                Some((version, role)) => roles
                    .get(role)
                    .is_none_or(|known| known.contains(&version) || version > *known.last().unwrap()),
            };
            if stays {
                all.insert(format!("{prefix}/{name}"));
            } else if !name.ends_with(".snapshot.json") {
                list(&json(&folder.join(name))["signed"], &mut dropped);
            }
        }
    }
    for name in contents(&world.path(TARGETS)).into_keys().filter(|name| !name.ends_with('/')) {
        let file = name.rsplit('/').next().unwrap();
        let digest = hex::encode(Sha256::digest(fs::read(world.path(TARGETS).join(&name)).unwrap()));
        let goes = dropped.contains(&name) && !targets.contains(&name) && file.starts_with(&digest);
        if !goes {
            all.insert(format!("{TARGETS}/{name}"));
        }
    }
    all
}

/// The files that a collection is about.
fn files(world: &World) -> BTreeSet<String> {
    let all = contents(&world.dir()).into_keys();
    all.filter(|name| !name.ends_with('/') && !name.contains("/.drafts/") && !name.ends_with(".toml"))
        .filter(|name| name != HISTORY)
        .collect()
}

/// Someone who edits at random.
struct Editor {
    world: World,
    dice: Dice,
    /// The targets that each role lists.
    listed: BTreeMap<String, BTreeSet<String>>,
    /// Files that others have put there.
    foreign: BTreeMap<String, Vec<u8>>,
}

impl Editor {
    fn new(layout: Layout, seed: u64) -> Self {
        let world = World::written(layout);
        let listed = BTreeMap::from([("targets".to_owned(), BTreeSet::new())]);
        Self { world, dice: Dice(seed), listed, foreign: BTreeMap::new() }
    }

    /// Puts a file that is nobody's affair, under a name that looks as if it were.
    fn plant(&mut self) {
        let number = self.dice.below(1 << 40);
        let bytes = format!("foreign {number}");
        let digest = hex::encode(Sha256::digest(&bytes));
        let version = self.dice.below(60) + 1;
        let name = match self.dice.below(9) {
            0 => format!("{TARGETS}/{digest}.tar.gz"),
            1 => format!("{TARGETS}/d0/{digest}.file-{}", number % 12),
            2 => format!("{TARGETS}/{}.file-3", hex::encode(Sha256::digest(format!("{number}")))),
            3 => format!("{TARGETS}/css/{number}.css"),
            4 => format!("{TARGETS}/.hidden-{number}"),
            5 => format!("{METADATA}/{version}.team.json"),
            6 => format!("{STAGED}/notes-{number}.txt"),
            _ => format!("{METADATA}/{version}.targets.json"),
        };
        let path = self.world.path(&name);
        if path.exists() {
            return;
        }
        // metadata that lists somebody else's file is signed by nobody
        let listed =
            self.foreign.iter().find(|(name, _)| name.starts_with(TARGETS) && name.ends_with(".tar.gz"));
        let bytes = match listed.filter(|_| name.ends_with(".json")) {
            Some((_, bytes)) => unsigned_listing(version, "tar.gz", bytes),
            None if name.ends_with(".targets.json") => return,
            None => bytes.into_bytes(),
        };
        // a version that is not there yet would be in the way of the next `write`
        let newest = names(&self.world.path(METADATA));
        let newest = newest.iter().filter_map(|name| versioned(name)).filter(|(_, role)| *role == "targets");
        if name.ends_with(".targets.json") && newest.map(|(version, _)| version).max() <= Some(version) {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        self.foreign.insert(name, bytes);
    }

    /// Sees that nobody has touched what others have put there.
    fn look_at_foreign_files(&self, why: &str) {
        for (name, bytes) in &self.foreign {
            assert_eq!(fs::read(self.world.path(name)).ok().as_ref(), Some(bytes), "{why}: {name}");
        }
    }

    fn edit(&mut self) {
        let names: Vec<String> = self.listed.keys().cloned().collect();
        let by = names[self.dice.below(names.len() as u64) as usize].clone();
        let number = self.dice.below(12);
        let path = if by == "targets" { format!("file-{number}") } else { format!("{by}/file-{number}") };
        match self.dice.below(12) {
            0..6 => {
                // the same bytes come back now and then, also under another name
                let bytes = format!("content {}", self.dice.below(40));
                self.world.put(&path, bytes.as_bytes());
                self.world.add(&by, &[&path], Replace::Allow).unwrap();
                self.listed.get_mut(&by).unwrap().insert(path);
            }
            6..8 => {
                if self.listed.get_mut(&by).unwrap().remove(&path) {
                    let role = role(&by);
                    self.world.edit(|repository| repository.remove_targets(&[path], Some(&role))).unwrap();
                }
            }
            8..10 => {
                let name = ROLES[self.dice.below(4) as usize];
                if !self.listed.contains_key(name) {
                    self.world.delegate("targets", name, 4, &[&format!("{name}/*")]).unwrap();
                    let found = self.world.open().list(&[]).unwrap();
                    let own = found.into_iter().filter(|(_, listed)| listed.role.as_str() == name);
                    self.listed.insert(name.to_owned(), own.map(|(path, _)| path).collect());
                }
            }
            10 => {
                if by != "targets" {
                    self.world.edit(|repository| repository.revoke(&role(&by), None)).unwrap();
                    self.listed.remove(&by);
                }
            }
            _ => {
                self.world.edit(|repository| repository.bump(&role(&by), None)).unwrap();
            }
        }
    }

    fn write(&mut self) {
        let repository = self.world.open();
        let fitting: Vec<usize> =
            (0..5).filter(|key| repository.may_sign(crate::world::public(*key), &[])).collect();
        self.world.write(&fitting).unwrap();
    }

    /// Gives the snapshots the times at which they would have been put, had the clock run as the model's does.
    fn date(&self, dated: &mut BTreeSet<String>) {
        for folder in [METADATA, STAGED] {
            for name in
                names(&self.world.path(folder)).into_iter().filter(|name| name.ends_with(".snapshot.json"))
            {
                let name = format!("{folder}/{name}");
                if dated.insert(name.clone()) {
                    let file = fs::OpenOptions::new().append(true).open(self.world.path(&name)).unwrap();
                    file.set_modified(SystemTime::from(self.world.now)).unwrap();
                }
            }
        }
    }
}

/// Metadata without signatures that lists one file.
fn unsigned_listing(version: u64, path: &str, bytes: &[u8]) -> Vec<u8> {
    let file = serde_json::json!({
        "hashes": {"sha256": hex::encode(Sha256::digest(bytes))}, "length": bytes.len(),
    });
    let signed = serde_json::json!({
        "_type": "targets", "spec_version": "1.0.31", "version": version, "expires": "2040-01-01T00:00:00Z",
        "targets": {path: file},
    });
    serde_json::to_vec(&serde_json::json!({"signatures": [], "signed": signed})).unwrap()
}

fn collect(world: &World, retention: Retention) -> BTreeSet<String> {
    let repository = world.lock().unwrap();
    let plan = repository.plan_gc(retention, PATIENCE).unwrap();
    repository.execute_gc(&plan, None).unwrap();
    plan.deleted().map(str::to_owned).collect()
}

fn a_history_with_consistent_snapshots(seed: u64) {
    let mut editor = Editor::new(Layout::Consistent, seed);
    editor.world.publish().unwrap();
    let live = editor.world.path(METADATA);
    let mut dated = BTreeSet::new();
    let mut clients = vec![Standing::at_root(&live, 1)];
    let (mut deleted, mut collections) = (0, 0);
    for publication in 0..PUBLICATIONS {
        for _ in 0..=editor.dice.below(4) {
            editor.edit();
        }
        editor.write();
        if editor.dice.below(5) == 0 {
            editor.edit();
            editor.write();
        }
        editor.world.publish().unwrap();
        editor.date(&mut dated);
        clients.push(clients[0].update(&live).unwrap().0);
        let hours = editor.dice.below(20) as i64;
        editor.world.after(TimeDelta::hours(hours));
        if editor.dice.below(4) != 0 {
            continue;
        }
        // something is in the making while it is collected
        match editor.dice.below(3) {
            0 => editor.edit(),
            1 => {
                editor.edit();
                editor.write();
                editor.date(&mut dated);
            }
            _ => {}
        }
        let keep_within = TimeDelta::hours(editor.dice.below(48) as i64);
        let retention = Retention { keep: editor.dice.below(6), keep_within };
        let why = format!("seed {seed}, publication {publication}, {retention:?}");
        (0..3).for_each(|_| editor.plant());
        let before = files(&editor.world);
        let expected = survivors(&editor.world, retention, &editor.foreign);
        let gone = collect(&editor.world, retention);
        let after = files(&editor.world);
        assert_eq!(after, expected, "{why}");
        assert_eq!(gone, before.difference(&after).cloned().collect(), "{why}");
        assert!(collect(&editor.world, retention).is_empty(), "{why}");
        editor.look_at_foreign_files(&why);
        deleted += gone.len();
        collections += 1;
        // a client that had a retained snapshot when the collection came gets everything that it lists
        for version in retained(&live, retention, editor.world.now) {
            let snapshot = fs::read(live.join(format!("{version}.snapshot.json"))).unwrap();
            let standing = Standing { snapshot: Some(snapshot), ..Standing::at_root(&live, 1) };
            let listed = served(&live, &editor.world.path(TARGETS), &standing, &why);
            assert!(listed <= 12 * 5, "{why}");
        }
        for client in &clients {
            client.update(&live).unwrap_or_else(|error| panic!("{why}: {error}"));
        }
    }
    assert!(deleted > PUBLICATIONS && collections > 20, "{deleted} files in {collections} collections");
}

#[test]
fn survivors_are_what_a_walk_over_the_files_reaches() {
    a_history_with_consistent_snapshots(0x9e37_79b9_7f4a_7c15);
}

#[test]
fn survivors_are_what_a_walk_over_the_files_reaches_in_another_history() {
    a_history_with_consistent_snapshots(0xd1b5_4a32_d192_ed03);
}

#[test]
fn of_plain_names_no_target_file_goes_since_its_record_is_overwritten() {
    let mut editor = Editor::new(Layout::Plain, 0x2545_f491_4f6c_dd1d);
    let www = editor.world.path("www");
    let publish = |world: &World| {
        let repository = world.lock().unwrap();
        let to = Destination::Folder(www.clone());
        // a target that was removed and is listed again with other bytes: no record is left of the old ones
        let request = PublishRequest {
            damaged_roots: DamagedRoots::Replace,
            ..PublishRequest::new(Expiry::Enforce, std::time::Duration::ZERO)
        };
        let plan = repository.plan_publication(&to, &request).unwrap();
        repository.execute_publish(&plan, &|_| ()).unwrap();
    };
    let retention = Retention { keep: 1, keep_within: TimeDelta::zero() };
    for publication in 0..PUBLICATIONS / 5 {
        for _ in 0..=editor.dice.below(4) {
            editor.edit();
        }
        editor.write();
        publish(&editor.world);
        fs::write(www.join(TARGETS).join(format!("mine-{publication}")), "mine").unwrap();
        let before = contents(&editor.world.dir());
        let repository = editor.world.lock().unwrap();
        for to in [Destination::Own, Destination::Folder(www.clone())] {
            let plan = repository.plan_gc_of(&to, retention, PATIENCE).unwrap();
            repository.execute_gc(&plan, None).unwrap();
            let left = plan.left.unlisted.number;
            assert!(matches!(to, Destination::Own) || left > publication, "{publication}: {left}");
            assert_eq!(plan.deleted().next(), None, "{publication}");
        }
        assert_eq!(difference(&before, &contents(&editor.world.dir())), Vec::<String>::new());
    }
}
