//! Keys that are known by their files: what people call a key, and where its private half lies. Only public halves are
//! read; a name helps the eye and decides nothing.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::policy::Policy;
use crate::crypto::{Fingerprint, fingerprint, read_public_key};
use crate::metadata::{Key, KeyId, RoleName};
use crate::storage::{Folder, ReadFiles};

/// The folders of keys that are looked into where the policy names none: in the repository's folder, and beside it.
const FOLDERS: [&str; 2] = ["keystore", "keys"];
/// The most that a file with a public key may hold, in bytes.
const LARGEST: u64 = 256 * 1024;
/// The most files of one folder that are looked at.
const MOST_FILES: usize = 1000;

/// What people call keys, by the keys themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyNames(BTreeMap<Fingerprint, String>);

impl KeyNames {
    /// Names one key; the first name stays.
    pub fn insert(&mut self, key: &Key, name: &str) {
        if let Some(identity) = fingerprint(key) {
            self.0.entry(identity).or_insert_with(|| name.to_owned());
        }
    }

    /// Returns what a key is called: the owner that its metadata states, else the name of a file that holds it.
    pub fn of(&self, key: &Key) -> Option<String> {
        let owner = key.owner().map(|owner| owner.chars().take(64).collect::<String>());
        let name = owner.or_else(|| self.0.get(&fingerprint(key)?).cloned())?;
        Some(name.escape_debug().to_string())
    }

    /// Returns the id in full and, in parentheses, what the key is called.
    pub fn in_full(&self, id: &KeyId, key: Option<&Key>) -> String {
        let shown = id.as_str().escape_debug();
        match key.and_then(|key| self.of(key)) {
            Some(name) => format!("{shown} ({name})"),
            None => shown.to_string(),
        }
    }

    /// Returns what a key is called and the start of its id.
    pub fn in_short(&self, id: &KeyId, key: Option<&Key>) -> String {
        short_words(id, key.and_then(|key| self.of(key)).as_deref())
    }
}

/// Returns a key's name, if it has one, and the start of its id: `alice 4cc3f338`.
pub fn short_words(id: &KeyId, name: Option<&str>) -> String {
    let shown = id.short().escape_debug();
    name.map_or_else(|| shown.to_string(), |name| format!("{name} {shown}"))
}

/// A key whose public half lies in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownKey {
    /// The name of the file, without `.pub`.
    pub name: String,
    /// The file of the public half, from the current folder.
    pub public: PathBuf,
    /// The file of the private half, where it is there.
    pub private: Option<PathBuf>,
    identity: Fingerprint,
}

/// The keys that are known by their files.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<KnownKey>,
    names: KeyNames,
    folder: PathBuf,
}

impl Keyring {
    /// Looks at the files that the policy names, and into its folders of keys. What cannot be read is no key here.
    pub(super) fn read(repository: &Path, policy: &Policy) -> Self {
        let mut ring = Self::default();
        for path in policy.keys().iter().filter_map(|reference| policy_path(repository, reference)) {
            if let Some((folder, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) {
                ring.add(&Folder::new(folder), &format!("{name}.pub"));
            }
        }
        let folders = folders(repository, policy);
        let first = folders.iter().find(|folder| folder.is_dir()).or(folders.first());
        ring.folder = first.cloned().unwrap_or_default();
        for folder in folders.into_iter().map(Folder::new) {
            let names = folder.names().unwrap_or_default();
            for name in names.iter().filter(|name| name.ends_with(".pub")).take(MOST_FILES) {
                ring.add(&folder, name);
            }
        }
        ring
    }

    fn add(&mut self, folder: &Folder, public: &str) {
        let Ok(Some(bytes)) = folder.read(public, LARGEST) else { return };
        let Ok(key) = read_public_key(&bytes) else { return };
        let Some(identity) = fingerprint(&key) else { return };
        let name = public.strip_suffix(".pub").unwrap_or(public);
        let private = Some(folder.file(name)).filter(|path| path.is_file());
        let listed = self.keys.iter_mut().find(|known| known.identity == identity);
        match listed {
            Some(known) if known.private.is_none() && private.is_some() => known.private = private,
            Some(_) => {}
            None => {
                self.names.insert(&key, name);
                let public = folder.file(public);
                self.keys.push(KnownKey { name: name.to_owned(), public, private, identity });
            }
        }
    }

    /// Returns what the keys are called.
    pub fn names(&self) -> &KeyNames {
        &self.names
    }

    /// Finds a key that metadata lists.
    pub fn find(&self, key: &Key) -> Option<&KnownKey> {
        let identity = fingerprint(key)?;
        self.keys.iter().find(|known| known.identity == identity)
    }

    /// Returns the keys whose files are named after a role, `targets`, `targets_key2`, `targets-alice`, and that are none
    /// of those given.
    pub fn meant_for(&self, role: &RoleName, besides: &[&Key]) -> Vec<&KnownKey> {
        let listed: Vec<Fingerprint> = besides.iter().filter_map(|key| fingerprint(key)).collect();
        let role = role.encoded();
        let named = |known: &&KnownKey| {
            let rest = known.name.strip_prefix(&*role);
            rest.is_some_and(|rest| rest.chars().next().is_none_or(|next| !next.is_alphabetic()))
        };
        self.keys.iter().filter(named).filter(|known| !listed.contains(&known.identity)).collect()
    }

    /// Returns a path for a new key of a role, where there is no file yet; `taken` are paths that were returned before.
    pub fn vacant(&self, role: &RoleName, taken: &[PathBuf]) -> PathBuf {
        let name = |number: u32| match number {
            1 => format!("{}_key", role.encoded()),
            number => format!("{}_key{number}", role.encoded()),
        };
        let is_free = |path: &PathBuf| {
            let public = PathBuf::from(format!("{}.pub", path.display()));
            !taken.contains(path) && path.symlink_metadata().is_err() && public.symlink_metadata().is_err()
        };
        let mut paths = (1..).map(|number| self.folder.join(name(number)));
        paths.find(is_free).unwrap_or_else(|| self.folder.join(name(1)))
    }
}

/// Returns where the file of a reference in the policy lies, from the current folder; none where it is no file.
pub fn policy_path(repository: &Path, reference: &str) -> Option<PathBuf> {
    let path = match reference.split_once(':') {
        Some(("file", path)) => path,
        Some(("env" | "exec" | "ssh-agent" | "pkcs11", _)) => return None,
        _ => reference,
    };
    Some(below(repository, path))
}

/// Returns a path below a folder, without `./` in front of it.
fn below(folder: &Path, path: &str) -> PathBuf {
    if folder == Path::new(".") { PathBuf::from(path) } else { folder.join(path) }
}

fn folders(repository: &Path, policy: &Policy) -> Vec<PathBuf> {
    if let Some(named) = policy.key_dirs() {
        return named.iter().map(|name| below(repository, name)).collect();
    }
    let beside = match repository.components().next_back() {
        Some(Component::Normal(_)) => repository.parent().unwrap_or(Path::new("")).to_owned(),
        _ => below(repository, ".."),
    };
    let inside = FOLDERS.iter().map(|name| below(repository, name));
    inside.chain(FOLDERS.iter().map(|name| beside.join(name))).collect()
}
