//! Runs the steps of the files in `docs/ci.md` as a CI system would: each `run:` or `script:` entry in a shell of its own,
//! in a checkout, with the secrets as variables. Only what fetches the checkout and the program is left out.
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
use std::process::{Command, Output};

use support::Folder;
use support::programs::path_at;

/// The files of the page, by their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    GithubRelease,
    GitlabRelease,
    GithubRefresh,
    GitlabRefresh,
}

/// Returns the steps of one of the page's files: the text of each `run:`, or each line of `script:`.
fn steps(file: File) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap();
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 4);
    let lines: Vec<&str> = blocks[file as usize].lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut steps = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let entry = line.trim_start().trim_start_matches("- ");
        let below = || lines[at + 1..].iter().take_while(|next| indent(next) > indent(line));
        match entry {
            "run: |" => steps.push(below().map(|line| format!("{}\n", line.trim_start())).collect()),
            "script:" => steps.extend(below().map(|line| line.trim_start()[2..].to_owned())),
            _ => steps.extend(entry.strip_prefix("run: ").map(str::to_owned)),
        }
    }
    // the program is here already
    steps.retain(|step| step != "cargo install --locked tuf-repo");
    assert!(steps.len() >= 3, "{file:?}: {steps:?}");
    steps
}

/// A project with a bare remote: its releases are a delegated role's.
struct Project {
    folder: Folder,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: Folder::new() };
        for key in ["root", "targets", "snapshot", "timestamp", "releases"] {
            project.folder.run(&["keygen", "--no-password", &format!("secrets/{key}")]).exits(0);
        }
        fs::create_dir(project.folder.path("checkout")).unwrap();
        project.tuf("2030-01-01T00:00:00Z", &["init"]);
        for role in ["root", "targets", "snapshot", "timestamp"] {
            project.tuf("2030-01-01T00:00:00Z", &["add-key", role, &format!("secrets/{role}.pub")]);
        }
        let delegate = ["delegate", "releases", "--key", "secrets/releases.pub", "--paths", "releases/*"];
        project.tuf("2030-01-01T00:00:00Z", &delegate);
        project.tuf("2030-01-01T00:00:00Z", &["sign", "--key-dir", "secrets"]);
        project.tuf("2030-01-01T00:00:00Z", &["write"]);
        project.tuf("2030-01-01T00:00:00Z", &["publish"]);
        project.folder.write("checkout/Makefile", "dist:\n\tmkdir -p dist && echo 1.0 >dist/app-1.0.txt\n");
        project.folder.write("checkout/.gitignore", "dist\n");
        let setup = "git init -q --bare ../remote && git init -q -b main && git add . && git commit -qm start \
                     && git remote add origin ../remote && git push -q -u origin main";
        let output = project.step("2030-01-01T00:00:00Z", setup);
        assert!(output.status.success(), "{output:?}");
        project
    }

    fn tuf(&self, now: &str, args: &[&str]) {
        self.folder.run(&[&["--time", now, "-r", "checkout"], args].concat()).exits(0);
    }

    /// Runs one step at a time as given.
    fn step(&self, now: &str, text: &str) -> Output {
        let path = path_at(&self.folder.path("programs"), now);
        let mut shell = Command::new("bash");
        shell.args(["-eo", "pipefail", "-c", text]).current_dir(self.folder.path("checkout"));
        shell.env("PATH", path).env_remove("TUF_REPO");
        shell.env("GITHUB_STEP_SUMMARY", self.folder.path("summary"));
        for name in ["RELEASES", "SNAPSHOT", "TIMESTAMP"] {
            let secret =
                fs::read_to_string(self.folder.path(&format!("secrets/{}", name.to_lowercase()))).unwrap();
            shell
                .env(format!("TUF_{}_KEY", name.trim_end_matches("ES").replace("RELEAS", "RELEASE")), secret);
        }
        for who in ["AUTHOR", "COMMITTER"] {
            shell.env(format!("GIT_{who}_NAME"), "ci").env(format!("GIT_{who}_EMAIL"), "ci@localhost");
        }
        shell.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(std::process::Stdio::null());
        shell.output().unwrap()
    }

    /// Runs all steps of a file; returns the exit code of the first that fails, with its number from the end.
    fn job(&self, now: &str, file: File) -> Result<(), (i32, usize)> {
        let steps = steps(file);
        for (at, text) in steps.iter().enumerate() {
            let output = self.step(now, text);
            if !output.status.success() {
                eprintln!("{text}: {}", String::from_utf8_lossy(&output.stderr));
                return Err((output.status.code().unwrap(), steps.len() - at));
            }
        }
        Ok(())
    }

    fn commits(&self) -> usize {
        let output = self.step("2030-01-01T00:00:00Z", "git -C ../remote rev-list --count main");
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    fn live_version(&self, role: &str) -> u64 {
        let json = self.folder.run(&["-r", "checkout", "--json", "status"]).exits(0).json();
        json["roles"][role]["live"].as_u64().unwrap()
    }
}

fn has_git_and_make() -> bool {
    let is_there = |program| Command::new(program).arg("--version").output().is_ok();
    if is_there("git") && is_there("make") {
        return true;
    }
    eprintln!("skipped: no git or no make here");
    false
}

#[test]
fn the_release_jobs_list_sign_and_publish_what_was_built() {
    if !has_git_and_make() {
        return;
    }
    for file in [File::GithubRelease, File::GitlabRelease] {
        let project = Project::new();
        assert_eq!(project.job("2030-01-01T06:00:00Z", file), Ok(()), "{file:?}");
        let listed = project.folder.run(&["-r", "checkout", "--json", "list"]).exits(0).json();
        assert_eq!(listed["targets"]["releases/app-1.0.txt"]["role"], "releases");
        assert_eq!((project.live_version("releases"), project.live_version("targets")), (2, 1));
        assert_eq!(project.commits(), 2, "{file:?}");
    }
}

#[test]
fn the_refresh_jobs_sign_what_is_due_and_raise_the_alarm_for_the_rest() {
    if !has_git_and_make() {
        return;
    }
    for file in [File::GithubRefresh, File::GitlabRefresh] {
        let project = Project::new();
        // nothing is due
        assert_eq!(project.job("2030-01-01T06:00:00Z", file), Ok(()), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.commits()), (1, 1));
        assert_eq!(project.job("2030-01-01T13:00:00Z", file), Ok(()), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.live_version("snapshot")), (2, 1));
        assert_eq!(project.commits(), 2);
        // the snapshot too, and then the day on which targets expires, whose key is not here
        assert_eq!(project.job("2030-01-05T12:00:00Z", file), Ok(()), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.live_version("snapshot")), (3, 2));
        assert_eq!(project.job("2030-04-01T20:00:00Z", file), Err((3, 1)), "{file:?}");
        assert_eq!(project.live_version("timestamp"), 4);
    }
}
