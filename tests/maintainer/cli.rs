//! What the command-line tests share: the built program, keys in files, a repository beside them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Folder, Ran, finish};
use crate::world::pem;

/// The time that every command works by.
pub const NOW: &str = "2031-03-01T12:00:00Z";

/// A folder with the keys `key-0` to `key-5` (and their public halves) and a repository in `repository`.
pub struct Site {
    pub folder: Folder,
}

impl Site {
    /// Only the keys.
    pub fn empty() -> Self {
        let site = Self { folder: Folder::new() };
        for number in 0..6 {
            let name = format!("key-{number}");
            site.folder.write(&name, &pem(number));
            owner_only(&site.folder.path(&name));
            let public = tuf::crypto::public_key_to_pem(crate::world::public(number)).unwrap();
            site.folder.write(&format!("{name}.pub"), &public);
        }
        site
    }

    /// A repository made with more flags for `init`.
    pub fn made(flags: &[&str]) -> Self {
        let site = Self::empty();
        let all: Vec<&str> =
            ["init", "repository", "--time", NOW].into_iter().chain(flags.iter().copied()).collect();
        site.folder.run(&all).exits(0);
        site
    }

    /// A repository whose four roles have the keys 0 to 3, not yet signed.
    pub fn trusted(flags: &[&str]) -> Self {
        let site = Self::made(flags);
        for (number, role) in ["root", "targets", "snapshot", "timestamp"].iter().enumerate() {
            site.run(&["add-key", role, &format!("../key-{number}.pub")]).exits(0);
        }
        site
    }

    /// A repository that is written once, with consistent snapshots.
    pub fn written() -> Self {
        Self::written_with(&[])
    }

    pub fn written_with(flags: &[&str]) -> Self {
        let site = Self::trusted(flags);
        site.write_all().exits(0);
        site
    }

    /// Writes with the keys of all top-level roles.
    pub fn write_all(&self) -> Ran {
        self.run(&[
            "write", "--key", "../key-0", "--key", "../key-1", "--key", "../key-2", "--key", "../key-3",
        ])
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.path("repository")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.repository().join(name)
    }

    /// Puts a file among the targets.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.path("targets").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Makes a key without a password beside the repository.
    pub fn keygen(&self, name: &str) {
        self.folder.run(&["keygen", name, "--no-password"]).exits(0);
    }

    /// Prepares a command in the repository at the fixed time.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.folder.command(args);
        command.current_dir(self.repository()).args(["--time", NOW]);
        command
    }

    /// Runs a command in the repository at the fixed time.
    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args))
    }

    /// Runs a command with `--json` and returns the object that it printed.
    pub fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.run(&all).exits(code).json()
    }
}

fn owner_only(path: &std::path::Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = path;
}
