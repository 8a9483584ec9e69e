//! Clients of every age: one that knows the first root only, one of each release since, and real ones that keep a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::chance::Chance;
use super::place::Place;
use super::release::{Release, digest};
use crate::client::{Seen, Standing};
use crate::support::{Folder, finish};

/// How many clients of old are asked after each round.
const MOST: usize = 16;

pub struct Clients {
    pub first: Standing,
    /// Each stands where it was left.
    standing: Vec<Standing>,
    /// The folders of real clients.
    folders: Vec<PathBuf>,
}

fn follow(client: &Standing, place: &Place) -> Result<Seen, String> {
    client.follow(&|name| place.read(&format!("metadata/{name}")))
}

impl Clients {
    pub fn new(place: &Place) -> Self {
        let root = place.read("metadata/1.root.json").unwrap();
        let first = Standing { root, timestamp: None, snapshot: None };
        Self { first, standing: Vec::new(), folders: Vec::new() }
    }

    /// Returns what a client finds that knows the first root.
    pub fn newest(&self, place: &Place) -> Result<Seen, String> {
        follow(&self.first, place)
    }

    /// Leaves a client behind that stands at what was seen; where there are many, in the place of another one.
    pub fn leave(&mut self, seen: &Seen, chance: &mut Chance) {
        if self.standing.len() >= MOST {
            self.standing.swap_remove(chance.below(MOST as u64) as usize);
        }
        self.standing.push(seen.standing.clone());
    }

    /// All find the same state, byte for byte. Some keep it, others stay as old as they are.
    pub fn agree(&mut self, newest: &Seen, place: &Place, chance: &mut Chance) -> Result<(), String> {
        for client in &mut self.standing {
            let seen = follow(client, place)?;
            if seen.standing != newest.standing || seen.roles != newest.roles {
                return Err("two clients find different states".to_owned());
            }
            if chance.one_in(10) {
                *client = seen.standing;
            }
        }
        Ok(())
    }

    /// A client updates again and again until it is told that it is over. Returns the errors that it met.
    pub fn watch(&self, place: &Place, is_over: &dyn Fn() -> bool) -> BTreeSet<String> {
        let mut client = self.standing.last().unwrap_or(&self.first).clone();
        let mut errors = BTreeSet::new();
        while !is_over() {
            match follow(&client, place) {
                Ok(seen) => client = seen.standing,
                Err(error) => drop(errors.insert(error)),
            }
        }
        errors
    }

    /// Makes the folder of a real client that trusts the first root.
    pub fn settle(&mut self, folder: &Folder) {
        let home = folder.path(&format!("client-{}", self.folders.len()));
        fs::create_dir(&home).unwrap();
        fs::write(home.join("trusted.json"), &self.first.root).unwrap();
        let mut init = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        init.args(["--metadata-dir", "metadata", "init", "trusted.json"]).current_dir(&home);
        finish(init).exits(0);
        self.folders.push(home);
    }

    pub fn real(&self) -> usize {
        self.folders.len()
    }

    /// A real client updates, and has what is live.
    pub fn fetch(&self, number: usize, live: &Release, place: &Place, time: &str) -> Result<(), String> {
        let Some(home) = self.folders.get(number) else { return Ok(()) };
        let mut update = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        update.args(["--metadata-dir", "metadata", "--target-dir", "targets", "--time", time, "--repo"]);
        update.arg(place.url()).arg("update").current_dir(home);
        let ran = finish(update);
        if ran.code != 0 {
            return Err(format!("client {number}: {ran:?}"));
        }
        if fs::read(home.join("metadata/timestamp.json")).unwrap() != live.timestamp {
            return Err(format!("client {number} has not the timestamp that is live"));
        }
        for (path, expected) in &live.targets {
            match fs::read(home.join("targets").join(path)) {
                Ok(bytes) if digest(&bytes) == *expected => {}
                Ok(_) => return Err(format!("client {number} has other bytes of {path}")),
                Err(error) => return Err(format!("client {number} has not fetched {path}: {error}")),
            }
        }
        Ok(())
    }
}
