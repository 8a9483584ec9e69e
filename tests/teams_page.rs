//! Runs the recipes of `docs/teams.md` as a job and people would, in copies of one repository that publish to one folder.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::Folder;
use support::programs::path_at;

const START: &str = "2030-01-01T00:00:00Z";
/// Who commits.
const PERSON: &str = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost";

/// Returns the blocks of commands of the page below a heading.
fn recipes(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/teams.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// The copy `ann`, in which people work, published to `www`; the keys lie beside it.
struct Team {
    folder: Folder,
}

impl Team {
    fn new() -> Self {
        let team = Self { folder: Folder::new() };
        for role in ["root", "targets", "snapshot", "timestamp"] {
            team.folder.run(&["keygen", "--no-password", &format!("keys/{role}")]).exits(0);
        }
        team.ann(START, &["init"]);
        for role in ["root", "targets", "snapshot", "timestamp"] {
            team.ann(START, &["add-key", role, &format!("keys/{role}.pub")]);
        }
        let policy = team.folder.path("ann/tuf-repo.toml");
        let text = fs::read_to_string(&policy).unwrap() + "\n[publish]\nto = \"../www\"\n";
        fs::write(&policy, text).unwrap();
        team.ann(START, &["sign", "--key-dir", "keys"]);
        team.release(START, &["a", "b"], &[]);
        team
    }

    /// Runs `tuf-repo` on the copy of people.
    fn ann(&self, now: &str, args: &[&str]) {
        self.folder.run(&[&["--time", now, "-r", "ann"], args].concat()).exits(0);
    }

    /// Lists targets, takes others off the list, writes.
    fn write(&self, now: &str, listed: &[&str], removed: &[&str]) {
        fs::create_dir_all(self.folder.path("ann/targets")).unwrap();
        for name in listed {
            self.folder.write(&format!("ann/targets/{name}"), name);
            self.ann(now, &["add-targets", &format!("ann/targets/{name}")]);
        }
        for name in removed {
            self.ann(now, &["remove-targets", name]);
        }
        self.ann(now, &["write", "--key-dir", "keys"]);
    }

    fn release(&self, now: &str, listed: &[&str], removed: &[&str]) {
        self.write(now, listed, removed);
        self.ann(now, &["publish"]);
    }

    /// Runs commands in a folder as a script does that says nothing of failures; returns the exit code.
    fn shell(&self, now: &str, folder: &str, commands: &str) -> i32 {
        let mut shell = Command::new("sh");
        shell.args(["-c", commands]);
        shell.current_dir(self.folder.path(folder)).env_clear();
        shell.env("PATH", path_at(&self.folder.path("programs"), now)).env("GIT_CONFIG_NOSYSTEM", "1");
        shell.env("HOME", self.folder.path("")).stdin(Stdio::null());
        let output = shell.output().unwrap();
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.code().unwrap()
    }

    /// Runs commands in a folder one by one, as a person types them; each must succeed.
    fn typed(&self, now: &str, folder: &str, commands: &str) {
        for command in commands.lines() {
            assert_eq!(self.shell(now, folder, command), 0, "{command}");
        }
    }

    /// Puts `ann` under version control, with a remote that people and the clone `job` push to.
    fn share(&self) {
        let begin = format!(
            "set -eu\n{PERSON}\ngit init -q -b main\n\
             printf '.tuf-history -text merge=union\\nmetadata.staged/** -text\\n' >.gitattributes\n\
             printf '.tuf-digests\\n.tuf-published\\ntargets\\n' >.gitignore\ngit add .\ngit commit -qm start\n\
             git clone -q --bare . ../remote\ngit remote add origin ../remote\ngit fetch -q\n\
             git branch -q -u origin/main\ngit clone -q ../remote ../job"
        );
        assert_eq!(self.shell(START, "ann", &begin), 0);
    }

    fn live(&self, now: &str, role: &str) -> u64 {
        let json = self.folder.run(&["--time", now, "-r", "ann", "--json", "status"]).exits(0).json();
        json["roles"][role]["live"].as_u64().unwrap()
    }
}

fn has_git() -> bool {
    let is_there = Command::new("git").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: no git here");
    }
    is_there
}

#[test]
fn the_job_goes_on_where_a_colleague_has_removed_a_target_and_never_lets_the_timestamp_expire() {
    let team = Team::new();
    let [job] = recipes("A job that signs the timestamp again").try_into().unwrap();
    assert_eq!(team.shell(START, "", "cp -r ann job && rm -r job/targets"), 0);
    for day in 1..8 {
        let (morning, evening) = (format!("2030-01-0{day}T13:00:00Z"), format!("2030-01-0{day}T18:00:00Z"));
        assert_eq!(team.shell(&morning, "job", &job), 0, "{day}");
        team.ann(&morning, &["verify", "--live", "--to", "www"]);
        assert_eq!(team.shell(&evening, "ann", "tuf-repo pull"), 0, "{day}");
        match day {
            2 => team.release(&evening, &["c"], &["a"]),
            4 => team.release(&evening, &[], &["b"]),
            _ => {}
        }
    }
    assert_eq!(team.live("2030-01-07T18:00:00Z", "targets"), 3);
    // without `--yes` it stops, and says so
    team.release("2030-01-07T19:00:00Z", &[], &["c"]);
    let stops = job.replace(" --yes", "");
    assert_ne!(stops, job);
    assert_eq!(team.shell("2030-01-08T07:00:00Z", "job", &stops), 3);
}

#[test]
fn a_draft_of_a_role_that_is_due_ends_the_jobs_with_3_after_the_timestamp_is_published() {
    let team = Team::new();
    let [job] = recipes("A job that signs the timestamp again").try_into().unwrap();
    assert_eq!(team.shell(START, "", "cp -r ann job && rm -r job/targets"), 0);
    // somebody has begun an edit in the copy of the job, and `targets` is due
    team.folder.run(&["--time", START, "-r", "job", "remove-targets", "a"]).exits(0);
    assert_eq!(team.shell("2030-01-01T13:00:00Z", "job", &job), 0);
    let policy = team.folder.path("job/tuf-repo.toml");
    let text = fs::read_to_string(&policy).unwrap().replace("\"13w\"", "\"13w\"\nrefresh = \"80d\"");
    fs::write(&policy, text).unwrap();
    let late = "2030-01-20T00:00:00Z";
    let before = (team.live(late, "timestamp"), team.live(late, "snapshot"));
    assert_eq!(team.shell(late, "job", &job), 3);
    assert_eq!((team.live(late, "timestamp"), team.live(late, "snapshot")), (before.0 + 1, before.1 + 1));
}

#[test]
fn the_job_in_a_clone_commits_before_it_publishes_and_sees_what_nobody_has_committed() {
    if !has_git() {
        return;
    }
    let team = Team::new();
    let [job] = recipes("With git").try_into().unwrap();
    let job = format!("{PERSON}\n{job}");
    team.share();
    let save = format!("{PERSON}\ngit add . && git commit -qm work && git push -q origin HEAD:main");
    for day in 1..6 {
        let (noon, evening) = (format!("2030-01-0{day}T13:00:00Z"), format!("2030-01-0{day}T18:00:00Z"));
        assert_eq!(team.shell(&noon, "job", &job), 0, "{day}");
        assert_eq!(team.shell(&evening, "ann", "git pull -q --ff-only && tuf-repo pull"), 0, "{day}");
        if day == 2 {
            // a removal that is committed stops nobody
            team.write(&evening, &["c"], &["a"]);
            assert_eq!(team.shell(&evening, "ann", &format!("{save} && tuf-repo publish")), 0);
        }
    }
    let now = "2030-01-06T13:00:00Z";
    assert_eq!(team.live(now, "targets"), 2);
    // somebody has removed a target and published it, and not committed: a person should look
    team.release(now, &[], &["b"]);
    assert_eq!(team.shell(now, "job", &job), 3);
    // and then it goes on
    assert_eq!(team.shell(now, "ann", &save), 0);
    assert_eq!(team.shell(now, "job", &job), 0);
}

#[test]
fn a_job_ends_at_the_first_command_that_fails_before_anything_is_live() {
    let team = Team::new();
    let [job] = recipes("A job that signs the timestamp again").try_into().unwrap();
    assert_eq!(team.shell(START, "", "cp -r ann job && rm -r job/targets"), 0);
    let noon = "2030-01-01T13:00:00Z";
    let before = team.live(noon, "timestamp");
    // a key that is not there: what is written is not signed again, and the scheduler must hear of it
    fs::rename(team.folder.path("keys/timestamp"), team.folder.path("keys/away")).unwrap();
    assert_ne!(team.shell(noon, "job", &job), 0);
    fs::rename(team.folder.path("keys/away"), team.folder.path("keys/timestamp")).unwrap();
    assert_eq!(team.live(noon, "timestamp"), before);
    assert_eq!(team.shell(noon, "job", &job), 0);
    assert_eq!(team.live(noon, "timestamp"), before + 1);
}

#[test]
fn a_job_in_a_clone_whose_pull_or_push_git_refuses_publishes_nothing() {
    if !has_git() {
        return;
    }
    let team = Team::new();
    let [job] = recipes("With git").try_into().unwrap();
    let job = format!("{PERSON}\n{job}");
    team.share();
    let noon = "2030-01-01T13:00:00Z";
    let before = team.live(noon, "timestamp");
    let hook =
        "printf '#!/bin/sh\\nexit 1\\n' >remote/hooks/pre-receive && chmod +x remote/hooks/pre-receive";
    assert_eq!(team.shell(noon, "", hook), 0);
    assert_ne!(team.shell(noon, "job", &job), 0);
    assert_eq!(team.live(noon, "timestamp"), before);
    // somebody else's commit, and one of the job's that was not pushed
    let commit = format!(
        "rm ../remote/hooks/pre-receive && {PERSON}\ngit commit -q --allow-empty -m other && git push -q"
    );
    assert_eq!(team.shell(noon, "ann", &commit), 0);
    assert_ne!(team.shell(noon, "job", &job), 0);
    assert_eq!(team.live(noon, "timestamp"), before);
    // as the page says
    assert_eq!(team.shell(noon, "job", "git reset -q --hard origin/main"), 0);
    assert_eq!(team.shell(noon, "job", &job), 0);
    assert_eq!(team.live(noon, "timestamp"), before + 1);
}

#[test]
fn the_ceremony_brings_a_signature_to_the_repository_that_was_made_without_it() {
    let team = Team::new();
    let [prepare, sign, take] = recipes("A ceremony").try_into().unwrap();
    team.typed(START, "ann", &prepare);
    fs::create_dir(team.folder.path("elsewhere")).unwrap();
    team.typed(START, "elsewhere", &sign);
    team.typed(START, "ann", &take);
    assert_eq!(team.live(START, "root"), 2);
}
