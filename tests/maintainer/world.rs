//! What the library tests share: fixed keys, a repository in a temporary folder, and whole folders as data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use tuf::crypto::{PrivateKey, Signer};
use tuf::metadata::{Key, RoleName, Threshold};
use tuf::repository::{
    AddTargets, Delegation, Destination, Execution, Expiry, Layout, Paths, Replace, Repository,
    RepositoryError, Retention, Selection, SigningKey, Symlinks, TARGETS, TargetSource, Trust, Walk, Written,
    find_targets,
};

/// How long a lock is waited for: between fork and exec the child of another test holds every lock of this process.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many fixed keys there are.
pub const KEYS: usize = 8;

/// A private key as a PEM that never changes; worthless, since anybody can make it.
pub fn pem(number: usize) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let head = hex::decode("302e020100300506032b657004220420").unwrap();
    let bytes: Vec<u8> = head.into_iter().chain([number as u8 + 1; 32]).collect();
    let text: String = bytes
        .chunks(3)
        .flat_map(|three| {
            let number = three.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[number >> shift & 63]))
        })
        .collect();
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

/// The fixed keys.
pub fn keys() -> &'static [PrivateKey] {
    static ALL: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    ALL.get_or_init(|| {
        (0..KEYS).map(|number| PrivateKey::from_pem(pem(number).as_bytes(), None).unwrap()).collect()
    })
}

/// The public half of a fixed key.
pub fn public(number: usize) -> &'static Key {
    keys()[number].public_key()
}

/// Fixed keys, ready to sign.
pub fn signing(numbers: &[usize]) -> Vec<SigningKey<'static>> {
    numbers.iter().map(|number| SigningKey { name: "a fixed key", signer: &keys()[*number] }).collect()
}

/// The role of a name.
pub fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

/// A moment well after any that this code was written at.
pub fn start() -> DateTime<Utc> {
    "2031-03-01T12:00:00Z".parse().unwrap()
}

/// Every file below a folder with its bytes and the time of its last change; empty folders by name.
pub type Tree = BTreeMap<String, (Vec<u8>, Option<SystemTime>)>;

/// Reads a folder as data.
pub fn tree(folder: &Path) -> Tree {
    fn walk(top: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                tree.insert(format!("{name}/"), (Vec::new(), None));
                walk(top, &path, tree);
            } else if metadata.is_symlink() {
                let to = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
                tree.insert(name, (to.into_bytes(), None));
            } else {
                tree.insert(name, (fs::read(&path).unwrap(), metadata.modified().ok()));
            }
        }
    }
    let mut all = Tree::new();
    walk(folder, folder, &mut all);
    all
}

/// Reads a folder as data without times.
pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    tree(folder).into_iter().map(|(name, (bytes, _))| (name, bytes)).collect()
}

/// Says what differs between two folders.
pub fn difference<T: PartialEq>(before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Vec<String> {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| format!("- {name}"));
    let new = after.iter().filter_map(|(name, bytes)| match before.get(name) {
        None => Some(format!("+ {name}")),
        Some(old) if old != bytes => Some(format!("~ {name}")),
        Some(_) => None,
    });
    gone.chain(new).collect()
}

/// Copies a folder.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Makes a temporary folder, in memory where the machine has such a place: these tests are many small files.
/// What a repository says of itself after `write` is what one says that reads the files.
fn same_as_read(after: &Repository, read: &Repository) {
    let status = after.status().unwrap();
    assert_eq!(status, read.status().unwrap());
    let dirty = status.dirty().into_iter().cloned().collect();
    assert_eq!(after.prospects().unwrap(), (dirty, status.steps));
    for role in read.staged().graph().order {
        let parts = |repository: &Repository| {
            let state = repository.staged().targets(&role);
            state.map(|state| (state.written.clone(), state.draft.clone(), state.floor))
        };
        assert_eq!(parts(after), parts(read), "{role}");
    }
    let (plan, again) = (after.plan_drafts().unwrap(), read.plan_drafts().unwrap());
    assert_eq!(plan, again);
}

pub fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory).ok() } else { None };
    made.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// A repository at a time.
pub struct World {
    folder: TempDir,
    pub now: DateTime<Utc>,
}

/// What an edit returns.
pub type Edited<R> = Result<R, RepositoryError>;

impl World {
    /// A new repository.
    pub fn new(layout: Layout) -> Self {
        let world = Self { folder: temporary(), now: start() };
        tuf::repository::init(&world.dir(), layout, world.now, Execution::Real, Duration::ZERO).unwrap();
        world
    }

    /// A repository whose four roles have one key each, 0 to 3, written once.
    pub fn written(layout: Layout) -> Self {
        let world = Self::new(layout);
        for (number, name) in ["root", "targets", "snapshot", "timestamp"].iter().enumerate() {
            world.edit(|repository| repository.add_key(&role(name), public(number), None)).unwrap();
        }
        world.write(&[0, 1, 2, 3]).unwrap();
        world
    }

    /// The same repository, in another folder.
    pub fn twin(&self) -> Self {
        let folder = temporary();
        copy_folder(&self.dir(), &folder.path().join("repository"));
        Self { folder, now: self.now }
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub fn after(&mut self, time: TimeDelta) {
        self.now += time;
    }

    pub fn open(&self) -> Repository {
        Repository::open(&self.dir(), self.now).unwrap()
    }

    /// The repository with all of its hash bins.
    pub fn open_whole(&self) -> Repository {
        let mut repository = self.open();
        repository.read_all().unwrap();
        repository
    }

    pub fn lock(&self) -> Edited<Repository> {
        // between fork and exec the child of another test holds every lock of this process
        Repository::open_locked(&self.dir(), self.now, Duration::from_secs(20))
    }

    /// Edits drafts as a command does: all or nothing.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut Repository) -> Edited<R>) -> Edited<R> {
        let mut repository = self.lock()?;
        let result = edit(&mut repository)?;
        let plan = repository.plan_edit()?;
        repository.save_edit(&plan)?;
        let status = repository.status()?;
        let dirty = status.dirty().into_iter().cloned().collect();
        assert_eq!(repository.prospects()?, (dirty, status.steps));
        Ok(result)
    }

    pub fn sign(&self, roles: &[RoleName], numbers: &[usize]) -> Edited<()> {
        let mut repository = self.lock()?;
        repository.sign(roles, &signing(numbers))?;
        let plan = repository.plan_drafts()?;
        repository.save_edit(&plan)
    }

    pub fn write(&self, numbers: &[usize]) -> Edited<Written> {
        self.write_some(&Selection::Whole(Vec::new()), numbers)
    }

    pub fn write_some(&self, selection: &Selection, numbers: &[usize]) -> Edited<Written> {
        let mut repository = self.lock()?;
        let written = repository.plan_write(selection, &signing(numbers))?;
        repository.execute_write(&written, &|_| ())?;
        same_as_read(&repository, &self.open());
        Ok(written)
    }

    pub fn refresh(&self, numbers: &[usize]) -> Edited<Written> {
        let mut repository = self.lock()?;
        let written = repository.plan_refresh(None, &signing(numbers))?;
        repository.execute_write(&written, &|_| ())?;
        same_as_read(&repository, &self.open());
        Ok(written)
    }

    pub fn publish(&self) -> Edited<Vec<String>> {
        let repository = self.lock()?;
        let plan = repository.plan_publish(&Destination::Own, Expiry::Enforce, Duration::ZERO)?;
        repository.execute_publish(&plan, &|_| ())?;
        Ok(plan.put())
    }

    pub fn gc(&self, keep: u64) -> Edited<Vec<String>> {
        let repository = self.lock()?;
        let plan =
            repository.plan_gc(Retention { keep, keep_within: chrono::TimeDelta::zero() }, PATIENCE)?;
        repository.execute_gc(&plan, None)?;
        Ok(plan.deleted().map(str::to_owned).collect())
    }

    /// Puts a file among the targets.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(TARGETS).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Lists files that lie among the targets.
    pub fn add(&self, by: &str, names: &[&str], replace: Replace) -> Edited<()> {
        let targets = self.path(TARGETS);
        let paths: Vec<PathBuf> = names.iter().map(|name| targets.join(name)).collect();
        let source = TargetSource {
            targets: &targets,
            base: None,
            prefix: None,
            walk: Walk::Recursive,
            symlinks: Symlinks::Refuse,
        };
        let mut repository = self.lock()?;
        let found = find_targets(&paths, &source)?;
        let by = repository.find_lister(by)?;
        let request = AddTargets {
            role: &by,
            found: &found,
            custom: None,
            replace,
            paths: Paths::Kept,
            progress: &|_| (),
        };
        let added = repository.add_targets(&request)?;
        let plan = repository.plan_edit()?;
        repository.save_added(&added, &plan, &|_| ())
    }

    /// Delegates some paths with one key.
    pub fn delegate(&self, from: &str, name: &str, number: usize, paths: &[&str]) -> Edited<()> {
        self.edit(|repository| repository.delegate(delegation(from, name, number, paths)))
    }

    pub fn dirty(&self) -> Vec<String> {
        self.open().status().unwrap().dirty().into_iter().map(ToString::to_string).collect()
    }

    /// The versions of a role: written and draft.
    pub fn versions(&self, name: &str) -> (Option<u64>, Option<u64>) {
        let status = self.open_whole().status().unwrap();
        let found = status.roles.iter().find(|found| found.role.as_str() == name);
        found.map_or((None, None), |found| (found.written, found.draft))
    }
}

/// So many keys must sign.
pub fn threshold(number: u64) -> Threshold {
    Threshold::new(number).unwrap()
}

/// A delegation of some paths with one key.
pub fn delegation(from: &str, name: &str, number: usize, paths: &[&str]) -> Delegation {
    Delegation {
        name: role(name),
        from: role(from),
        keys: vec![public(number).clone()],
        threshold: Threshold::ONE,
        trust: Trust::Paths(paths.iter().map(|path| (*path).to_owned()).collect()),
        terminating: false,
        before: None,
    }
}
