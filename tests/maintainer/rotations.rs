//! Twenty root rotations with keys of every type: whoever pinned any of the roots arrives at the newest.

use std::fs;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tuf::crypto::{KeyType, PrivateKey, Signer};
use tuf::metadata::{KeyId, RoleName};
use tuf::repository::{DeadEnd, KeyChoice, Layout, METADATA, Repository, Selection, Side, SigningKey};

use crate::client::{Standing, new_client};
use crate::world::{World, role};

const ROTATIONS: u64 = 20;

/// Two keys of each type; RSA keys take long to make, so these are fixed, and worthless.
fn pool() -> Vec<PrivateKey> {
    let made = [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::EcdsaP384];
    let mut pool: Vec<PrivateKey> =
        made.iter().chain(&made).map(|kind| PrivateKey::generate(*kind).unwrap()).collect();
    for pem in [include_str!("keys/rsa-1.pem"), include_str!("keys/rsa-2.pem")] {
        pool.push(PrivateKey::from_pem(pem.as_bytes(), None).unwrap());
    }
    pool
}

/// Gives a role exactly these keys and a threshold.
fn trust(repository: &mut Repository, name: &RoleName, keys: &[&PrivateKey], threshold: u64) {
    for key in keys {
        repository.add_key(name, key.public_key(), None).unwrap();
    }
    let wanted: Vec<KeyId> = keys.iter().map(|key| key.public_key().id()).collect();
    let root = repository.staged().root.effective().unwrap();
    let listed = root.roles[name.as_str()].keyids.clone();
    for id in listed.into_iter().filter(|id| !wanted.contains(id)) {
        repository.remove_key(name, &KeyChoice::Id(id.to_string()), None, DeadEnd::Allow).unwrap();
    }
    repository.set_threshold(name, crate::world::threshold(threshold), None, DeadEnd::Allow).unwrap();
}

fn write(world: &World, pool: &[PrivateKey]) {
    let mut repository = world.lock().unwrap();
    let fitting = pool.iter().filter(|key| repository.may_sign(key.public_key(), &[]));
    let keys: Vec<SigningKey<'_>> =
        fitting.map(|key| SigningKey { name: "a key of the pool", signer: key }).collect();
    let written = repository.plan_write(&Selection::Whole(Vec::new()), &keys).unwrap();
    repository.execute_write(&written, &|_| ()).unwrap();
}

/// A history with consistent snapshots, made once.
fn consistent() -> &'static (World, Vec<Standing>) {
    static HISTORY: OnceLock<(World, Vec<Standing>)> = OnceLock::new();
    HISTORY.get_or_init(|| history(Layout::Consistent, 1))
}

/// Makes the history; returns the repository and where clients stood after each publication.
fn history(layout: Layout, seed: u8) -> (World, Vec<Standing>) {
    let pool = pool();
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let mut pick = |least: usize, most: usize| -> Vec<usize> {
        let all: Vec<usize> = (0..pool.len()).collect();
        let some = prop::sample::subsequence(all, least..=most);
        some.new_tree(&mut runner).unwrap().current()
    };
    let world = World::new(layout);
    let live = world.path(METADATA);
    let mut clients: Vec<Standing> = Vec::new();
    let mut before: Vec<usize> = Vec::new();
    let mut replaced = vec![false; pool.len()];
    for rotation in 0..=ROTATIONS {
        // at times nobody of the old root remains
        let chosen = match rotation % 5 {
            0 => (0..pool.len()).filter(|number| !before.contains(number)).take(3).collect(),
            _ => pick(1, 4),
        };
        let chosen: Vec<usize> = if chosen.is_empty() { pick(1, 4) } else { chosen };
        for number in before.iter().filter(|number| !chosen.contains(number)) {
            replaced[*number] = true;
        }
        let threshold = 1 + rotation % chosen.len() as u64;
        let others = [pick(1, 2), pick(1, 2), pick(1, 2)];
        world
            .edit(|repository| {
                let keys =
                    |numbers: &[usize]| numbers.iter().map(|number| &pool[*number]).collect::<Vec<_>>();
                trust(repository, &role("root"), &keys(&chosen), threshold);
                for (name, numbers) in ["targets", "snapshot", "timestamp"].iter().zip(&others) {
                    let threshold = 1 + rotation % numbers.len() as u64;
                    trust(repository, &role(name), &keys(numbers), threshold);
                }
                // a root that happens to say the same would be no rotation
                repository.bump(&role("root"), None)
            })
            .unwrap();
        write(&world, &pool);
        world.publish().unwrap();
        clients.push(Standing::at_root(&live, 1).update(&live).unwrap().0);
        before = chosen;
    }
    assert_eq!(replaced, vec![true; pool.len()], "every key is replaced at least once");
    (world, clients)
}

#[test]
fn a_client_pinned_at_any_old_root_reaches_the_newest() {
    let plain = history(Layout::Plain, 2);
    for (layout, (world, clients)) in [(Layout::Consistent, consistent()), (Layout::Plain, &plain)] {
        let live = world.path(METADATA);
        let newest = ROTATIONS + 1;
        for version in 1..=newest {
            let (_, reached) = Standing::at_root(&live, version).update(&live).unwrap();
            assert_eq!(reached, newest, "from root v{version}");
        }
        for client in clients {
            assert_eq!(client.update(&live).unwrap().1, newest);
        }
        for side in [Side::Live, Side::Staged] {
            new_client(&world.dir(), side, layout).unwrap();
        }
    }
}

#[test]
fn tuf_fetch_pinned_at_an_old_root_reaches_the_newest() {
    let (world, _) = consistent();
    let live = world.path(METADATA);
    let folder = crate::support::Folder::new();
    for version in [1, 2, 9, ROTATIONS, ROTATIONS + 1] {
        let metadata = format!("metadata-{version}");
        let pinned = live.join(format!("{version}.root.json"));
        let url = format!("file://{}", live.display());
        let time = crate::cli::NOW;
        let fetch = |args: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command.current_dir(folder.path("")).args(["--metadata-dir", &metadata, "--time", time]);
            crate::support::finish({
                command.args(args);
                command
            })
        };
        fetch(&["init", pinned.to_str().unwrap()]).exits(0);
        fetch(&["--metadata-url", &url, "refresh"]).exits(0);
        let trusted = fs::read(folder.path(&metadata).join("root.json")).unwrap();
        assert_eq!(trusted, fs::read(live.join("root.json")).unwrap(), "from root v{version}");
    }
}
