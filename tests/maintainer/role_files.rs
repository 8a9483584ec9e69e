//! What somebody puts in the place of a delegated role's written file: no snapshot lists it, and nobody else is stopped by it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::Site;
use crate::support::{Ran, finish};

const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

/// What lies in the place of the file.
#[derive(Debug, Clone, Copy)]
enum Planted {
    /// Unsigned metadata of a version.
    Version(u64),
    /// The version before, as it was signed.
    Replay,
    /// A pipe that nobody writes to.
    Pipe,
    Folder,
    /// A link that leads to itself, which version control keeps.
    Loop,
    /// More than metadata may have, without a byte on the disk.
    Huge,
    Junk,
}

const ALL: [Planted; 9] = [
    Planted::Version(9_007_199_254_740_991),
    Planted::Version(6),
    Planted::Version(1),
    Planted::Replay,
    Planted::Pipe,
    Planted::Folder,
    Planted::Loop,
    Planted::Huge,
    Planted::Junk,
];

/// A live repository whose `team` (key 4) has been written twice.
struct Standing {
    site: Site,
    file: PathBuf,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Standing {
    fn of(flags: &[&str]) -> Self {
        let site = Site::written_with(flags);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
        let name = |version: u64| match flags.is_empty() {
            true => format!("metadata.staged/{version}.team.json"),
            false => "metadata.staged/team.json".to_owned(),
        };
        let mut written = Vec::new();
        for version in [1, 2] {
            site.put(&format!("team/t{version}"), "text");
            site.run(&["add-targets", "--role", "team", &format!("targets/team/t{version}")]).exits(0);
            site.run(&[
                "write",
                "--key=../key-0",
                "--key=../key-1",
                "--key=../key-2",
                "--key=../key-3",
                "--key=../key-4",
            ])
            .exits(0);
            site.run(&["publish"]).exits(0);
            written.push(fs::read(site.path(&name(version))).unwrap());
        }
        let second = written.pop().unwrap();
        Self { file: site.path(&name(2)), first: written.pop().unwrap(), second, site }
    }

    fn plant(&self, planted: Planted) {
        fs::remove_file(&self.file).unwrap();
        match planted {
            Planted::Version(version) => {
                let signed = serde_json::json!({"_type": "targets", "spec_version": "1.0.31", "version": version,
                    "expires": "2050-01-01T00:00:00Z", "targets": {}});
                let text = serde_json::json!({"signatures": [], "signed": signed});
                fs::write(&self.file, text.to_string()).unwrap();
            }
            Planted::Replay => fs::write(&self.file, &self.first).unwrap(),
            Planted::Pipe => assert!(Command::new("mkfifo").arg(&self.file).status().unwrap().success()),
            Planted::Folder => fs::create_dir(&self.file).unwrap(),
            Planted::Loop => std::os::unix::fs::symlink(self.file.file_name().unwrap(), &self.file).unwrap(),
            Planted::Huge => fs::File::create(&self.file).unwrap().set_len((1 << 30) + 1).unwrap(),
            Planted::Junk => fs::write(&self.file, "junk").unwrap(),
        }
    }

    fn restore(&self) {
        if self.file.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir(&self.file).unwrap();
        } else {
            fs::remove_file(&self.file).unwrap();
        }
        fs::write(&self.file, &self.second).unwrap();
    }

    /// Runs a command when the snapshot is due.
    fn later(&self, args: &[&str]) -> Ran {
        let mut command = self.site.folder.command(&["-r", "repository", "--time", "2031-03-05T12:00:00Z"]);
        command.args(args);
        finish(command)
    }

    fn refresh(&self) -> Ran {
        self.later(&["refresh", "--key", "key-2", "--key", "key-3"])
    }

    /// The version of `team` that the newest snapshot lists.
    fn listed(&self) -> u64 {
        let newest =
            |number: &u64| self.site.path(&format!("metadata.staged/{number}.snapshot.json")).exists();
        let name = (1..20).rfind(newest).map_or("snapshot.json".to_owned(), |n| format!("{n}.snapshot.json"));
        let text = fs::read(self.site.path("metadata.staged").join(name)).unwrap();
        let snapshot: serde_json::Value = serde_json::from_slice(&text).unwrap();
        snapshot["signed"]["meta"]["team.json"]["version"].as_u64().unwrap()
    }
}

#[test]
fn no_snapshot_takes_the_version_of_a_role_from_what_somebody_put_in_the_place_of_its_file() {
    for flags in LAYOUTS {
        for planted in ALL {
            let standing = Standing::of(flags);
            standing.plant(planted);
            let ran = standing.refresh().exits(0);
            assert!(ran.stderr.contains("team"), "{planted:?}: {}", ran.words());
            assert_eq!(standing.listed(), 2, "{flags:?} {planted:?}");
            let ran = standing.later(&["publish"]);
            assert!([0, 5].contains(&ran.code), "{planted:?}: {}", ran.words());
            standing.restore();
            standing.later(&["publish"]).exits(0);
            standing.later(&["verify", "--live", "--targets"]).exits(0);
        }
    }
}

#[test]
fn a_role_whose_file_cannot_be_read_is_revoked_and_its_keys_are_changed_all_the_same() {
    let edits: [&[&str]; 3] = [
        &["revoke", "team"],
        &["add-key", "team", "../key-5.pub"],
        &["rotate-key", "team", "--old", "../key-4.pub", "--new", "../key-5.pub"],
    ];
    for flags in LAYOUTS {
        for planted in ALL {
            for edit in edits {
                let standing = Standing::of(flags);
                standing.plant(planted);
                standing.site.run(edit).exits(0);
                if edit[0] == "revoke" {
                    standing.site.write_all().exits(0);
                    standing.site.run(&["publish"]).exits(0);
                    standing.site.run(&["verify", "--live", "--targets"]).exits(0);
                }
            }
        }
    }
}

#[test]
fn pull_puts_a_file_that_cannot_be_read_right_from_what_is_live() {
    for flags in LAYOUTS {
        for planted in [Planted::Junk, Planted::Version(1), Planted::Replay] {
            let standing = Standing::of(flags);
            standing.plant(planted);
            standing.site.run(&["pull"]).exits(0);
            assert_eq!(fs::read(&standing.file).unwrap(), standing.second, "{flags:?} {planted:?}");
            standing.site.run(&["publish"]).exits(0);
        }
    }
}

#[test]
fn an_older_file_that_was_put_back_is_not_gone_on_from() {
    for role in ["targets", "team"] {
        let site = Site::written_with(&["--no-consistent-snapshot"]);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
        let write = [
            "write",
            "--key=../key-0",
            "--key=../key-1",
            "--key=../key-2",
            "--key=../key-3",
            "--key=../key-4",
        ];
        let file = site.path(&format!("metadata.staged/{role}.json"));
        let mut old = Vec::new();
        for name in ["team/a", "team/b"] {
            site.put(name, name);
            old = fs::read(&file).unwrap_or_default();
            site.run(&["add-targets", "--role", role, &format!("targets/{name}")]).exits(0);
            site.run(&write).exits(0);
        }
        site.run(&["publish", "--to", "../www"]).exits(0);
        fs::write(&file, old).unwrap();
        site.put("team/c", "team/c");
        let ran = site.run(&["add-targets", "--role", role, "targets/team/c"]).exits(5);
        assert!(ran.stderr.contains(&format!("{role}.json: states version")), "{}", ran.words());
        if role == "targets" {
            // without its own list this copy knows nothing of what it delegates to
            fs::copy(site.folder.path("www/metadata/targets.json"), &file).unwrap();
        }
        site.run(&["pull", "--from", "../www"]).exits(0);
        site.run(&["add-targets", "--role", role, "targets/team/c"]).exits(0);
        site.run(&write).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        let listed = site.run(&["list"]).exits(0).stdout;
        assert!(["team/a", "team/b", "team/c"].iter().all(|name| listed.contains(name)), "{listed}");
    }
}

#[test]
fn what_somebody_put_in_the_place_of_a_roles_file_stops_no_write_of_another_role() {
    for flags in LAYOUTS {
        for planted in ALL {
            let standing = Standing::of(flags);
            standing.plant(planted);
            let site = &standing.site;
            site.put("other", "text");
            site.run(&["add-targets", "targets/other"]).exits(0);
            let ran = site.write_all().exits(0);
            assert!(ran.stderr.contains("team"), "{planted:?}: {}", ran.words());
            assert_eq!(standing.listed(), 2, "{flags:?} {planted:?}");
            standing.restore();
            site.run(&["publish"]).exits(0);
            site.run(&["verify", "--live", "--targets"]).exits(0);
        }
    }
}

#[test]
fn a_pipe_in_the_place_of_a_target_is_refused_at_once() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.put("a", "text");
        site.run(&["add-targets", "targets/a"]).exits(0);
        fs::remove_file(site.path("targets/a")).unwrap();
        assert!(Command::new("mkfifo").arg(site.path("targets/a")).status().unwrap().success());
        let ran = site.write_all().exits(5);
        assert!(ran.stderr.contains("targets/a"), "{}", ran.words());
    }
}

#[test]
fn lengths_that_add_up_to_more_than_a_number_holds_are_no_panic() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        for name in ["a", "b"] {
            site.put(name, "text");
            site.run(&["add-targets", &format!("targets/{name}")]).exits(0);
        }
        let draft = site.path("metadata.staged/.drafts/targets.json");
        let text = fs::read_to_string(&draft).unwrap();
        let edited = text.replace("\"length\": 4", &format!("\"length\": {}", u64::MAX));
        let edited = edited.replace("\"length\":4", &format!("\"length\":{}", u64::MAX));
        assert_ne!(text, edited);
        fs::write(&draft, edited).unwrap();
        let ran = site.write_all();
        assert!([2, 5].contains(&ran.code), "{}", ran.words());
    }
}
