//! A history: two copies, a place, and what must hold between any two rounds. It is checked from outside, by files alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use tuf::repository::Layout;

use super::chance::Chance;
use super::clients::Clients;
use super::copy::{Copy, Known, names};
use super::merge::tracked;
use super::place::{Kind, Place};
use super::release::{Release, digest};
use crate::cli::Site;
use crate::support::finish;
use crate::world::{copy_folder, pem, public, start};

/// What is live, and what the copy knew that published it.
pub struct Live {
    pub release: Release,
    pub known: Known,
}

pub struct History {
    pub site: Site,
    pub kind: Kind,
    pub place: Place,
    pub chance: Chance,
    pub now: DateTime<Utc>,
    /// The next number that no target has in its name.
    pub number: u64,
    pub copies: [Copy; 2],
    /// The files of both copies when they were last brought together.
    pub base: BTreeMap<String, Vec<u8>>,
    /// Whether version control has ever merged them.
    pub was_merged: bool,
    pub live: Live,
    pub clients: Clients,
    /// Every root that was ever live.
    roots: BTreeMap<u64, Vec<u8>>,
    /// What has been done, to be told where something goes wrong.
    pub told: Vec<String>,
    /// How often which command ended how.
    pub counts: BTreeMap<String, u64>,
}

impl History {
    /// Makes the two copies, and publishes for the first time.
    pub fn begin(kind: Kind, seed: u64) -> Self {
        let flags: &[&str] = if kind.layout() == Layout::Plain { &["--no-consistent-snapshot"] } else { &[] };
        let site = Site::written_with(flags);
        for number in [6, 7] {
            let name = format!("key-{number}");
            site.folder.write(&name, &pem(number));
            let public = tuf::crypto::public_key_to_pem(public(number)).unwrap();
            site.folder.write(&format!("{name}.pub"), &public);
        }
        let copies = ["a", "b"].map(|name| Copy::new(name, site.folder.path(name)));
        for copy in &copies {
            copy_folder(&site.repository(), &copy.dir);
        }
        let place = Place::new(kind, &site.folder.path(""));
        let to = place.to();
        let mut publish =
            site.folder.command(&["-r", "a", "--time", "2031-03-01T12:00:00Z", "publish", "--to", &to]);
        publish.envs(place.variables());
        finish(publish).exits(0);
        let clients = Clients::new(&place);
        let seen = clients.newest(&place).unwrap();
        let live = Live { release: Release::of(&seen), known: Known::default() };
        let mut history = Self {
            site,
            kind,
            place,
            chance: Chance::of(seed, 0),
            now: start(),
            number: 0,
            base: tracked(&copies[0].dir),
            was_merged: false,
            copies,
            live,
            clients,
            roots: BTreeMap::new(),
            told: Vec::new(),
            counts: BTreeMap::new(),
        };
        history.clients.settle(&history.site.folder);
        history.look(&[], &BTreeSet::new());
        history
    }

    pub fn time(&self) -> String {
        self.now.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Prepares a command in a copy.
    pub fn command(&self, copy: &str, args: &[String]) -> Command {
        let mut command = self.site.folder.command(&["-r", copy, "--time", &self.time()]);
        command.args(args).envs(self.place.variables());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Notes what was done.
    pub fn tell(&mut self, line: String) {
        self.told.push(line);
    }

    /// Tells whether what is live is of a copy's past.
    pub fn is_current(&self, copy: usize) -> bool {
        self.copies[copy].known.past.has(&self.live.release)
    }

    /// Clients of every age find what is live; nothing has gone back or vanished, unless somebody recovered these roles.
    pub fn look(&mut self, publishers: &[usize], recovered: &BTreeSet<String>) {
        self.copies.iter_mut().for_each(Copy::look);
        let seen = self.clients.newest(&self.place).unwrap_or_else(|error| panic!("a new client: {error}"));
        self.look_at_roots();
        let release = Release::of(&seen);
        if release != self.live.release {
            let publisher = self.publisher(&release, publishers, recovered);
            self.refuse_lower(&release, recovered);
            self.live = Live { release, known: self.copies[publisher].known.clone() };
            self.clients.leave(&seen, &mut self.chance);
        }
        let agreed = self.clients.agree(&seen, &self.place, &mut self.chance);
        agreed.unwrap_or_else(|error| panic!("a client of old: {error}"));
        self.look_at_targets();
    }

    /// Finds the copy that published: one that has written the release, had what was live before in its past, and where
    /// somebody took off the list what is gone.
    fn publisher(&self, new: &Release, candidates: &[usize], recovered: &BTreeSet<String>) -> usize {
        let old = &self.live.release;
        let may_part = recovered.iter().any(|role| matches!(role.as_str(), "snapshot" | "targets"));
        let gone = || old.targets.keys().filter(|path| !new.targets.contains_key(*path));
        let mut why = vec!["nobody published".to_owned()];
        for candidate in candidates {
            let (copy, known) = (self.copies[*candidate].name, &self.copies[*candidate].known);
            let lost: Vec<&String> = gone().filter(|path| !known.was_removed(path)).collect();
            if !known.past.has(new) {
                why.push(format!("{copy} has not written what is live"));
            } else if !may_part && !known.past.has(old) {
                why.push(format!("{copy} did not know what was live; gone: {lost:?}"));
            } else if !may_part && !lost.is_empty() {
                why.push(format!("{copy} lost {lost:?}"));
            } else {
                return *candidate;
            }
        }
        panic!("a lost update: {}", why.join("; "));
    }

    fn refuse_lower(&self, new: &Release, recovered: &BTreeSet<String>) {
        for (role, version) in &self.live.release.versions {
            let now = new.versions.get(role).copied().unwrap_or(0);
            let may_fall = recovered.contains(role) || recovered.contains("snapshot");
            assert!(now >= *version || may_fall, "{role} went from v{version} to v{now}");
        }
    }

    /// A root that was live once stays, with its bytes.
    fn look_at_roots(&mut self) {
        let mut version = 1;
        while let Some(bytes) = self.place.read(&format!("metadata/{version}.root.json")) {
            let known = self.roots.entry(version).or_insert_with(|| bytes.clone());
            assert!(*known == bytes, "root v{version} has other bytes");
            version += 1;
        }
        assert_eq!(self.roots.len() as u64, version - 1, "a root is gone");
    }

    /// Each target that clients find can be had, with the digest that is listed.
    fn look_at_targets(&self) {
        for (path, expected) in &self.live.release.targets {
            let (folder, name) = path.rsplit_once('/').map_or(("", &**path), |(folder, name)| (folder, name));
            let slash = if folder.is_empty() { "" } else { "/" };
            let served = match self.kind.layout() {
                Layout::Consistent => format!("targets/{folder}{slash}{expected}.{name}"),
                Layout::Plain => format!("targets/{path}"),
            };
            let bytes = self.place.read(&served).unwrap_or_else(|| panic!("{served} is not served"));
            assert_eq!(digest(&bytes), *expected, "{served}");
        }
    }

    /// What is live and what the copy says that published it are the same.
    pub fn verify(&mut self, copy: usize) {
        let args = match (self.kind, self.copies[copy].name) {
            (Kind::Own, "a") => vec!["verify".to_owned(), "--live".to_owned(), "--targets".to_owned()],
            _ => ["verify", "--live", "--targets", "--to"]
                .map(str::to_owned)
                .into_iter()
                .chain([self.place.to()])
                .collect(),
        };
        let mut command = self.command(self.copies[copy].name, &args);
        command.stdout(Stdio::piped());
        let ran = finish(command);
        assert!(ran.code == 0, "{args:?}: {ran:?}");
    }

    /// Nothing is left of commands that were killed, and nothing has a name that nobody expects.
    pub fn look_for_leftovers(&self, copy: usize) {
        let dir = &self.copies[copy].dir;
        for part in ["", "metadata.staged", "metadata.staged/.drafts", "targets"] {
            let left: Vec<String> =
                names(&dir.join(part)).into_iter().filter(|name| name.starts_with(".tuf-tmp")).collect();
            assert!(left.is_empty(), "{}: {left:?} is left", dir.join(part).display());
        }
        for part in [dir.join("metadata.staged"), self.site.folder.path("www/metadata")] {
            only_known(&part);
        }
    }
}

fn only_known(folder: &Path) {
    let other: Vec<String> =
        names(folder).into_iter().filter(|name| !name.ends_with(".json") && !name.starts_with('.')).collect();
    assert!(other.is_empty(), "{}: {other:?}", folder.display());
}
