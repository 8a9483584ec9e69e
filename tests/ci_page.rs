//! Runs the steps of the files in `docs/ci.md` as a CI system would: each job in a fresh checkout and an empty environment,
//! each step of GitHub in a shell of its own with the secrets that it names, the script of a GitLab job in one shell with the
//! variables of its environment. Only what fetches the checkout, the artifacts and the program is left out.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

const RELEASES: [File; 2] = [File::GithubRelease, File::GitlabRelease];
const REFRESHES: [File; 2] = [File::GithubRefresh, File::GitlabRefresh];
const START: &str = "2030-01-01T00:00:00Z";
const KEYS: [&str; 3] = ["TUF_RELEASE_KEY", "TUF_SNAPSHOT_KEY", "TUF_TIMESTAMP_KEY"];

/// Who commits by hand.
const PERSON: &str = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost";

/// Where the page publishes to; here that is a folder.
const DESTINATION: &str = "s3://downloads/tuf";

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap()
}

/// Returns the blocks of the page in a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// One shell of a job: its commands, and the secrets that it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    commands: String,
    secrets: Vec<String>,
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns the lines below one, as far as they are indented further.
fn below<'a>(lines: &[&'a str], at: usize) -> Vec<&'a str> {
    let deeper = |next: &&&str| next.trim().is_empty() || indent(next) > indent(lines[at]);
    lines[at + 1..].iter().take_while(deeper).copied().collect()
}

/// Returns the steps of a job of the page.
fn steps(file: File, job: &str) -> Vec<Step> {
    let all = blocks(&page(), "yaml");
    assert_eq!(all.len(), 4);
    let lines: Vec<&str> = all[file as usize].lines().collect();
    let at = lines.iter().position(|line| line.trim() == format!("{job}:")).unwrap();
    let job = below(&lines, at);
    let steps = if matches!(file, File::GithubRelease | File::GithubRefresh) {
        github_steps(&job)
    } else {
        vec![gitlab_script(&job)]
    };
    assert!(!steps.is_empty(), "{file:?}");
    steps
}

fn github_steps(job: &[&str]) -> Vec<Step> {
    let start = job.iter().position(|line| line.trim() == "steps:").unwrap();
    assert!(!job[..start].iter().any(|line| line.trim() == "env:"), "secrets of a whole job");
    let lines = below(job, start);
    let starts = (0..lines.len()).filter(|at| lines[*at].trim_start().starts_with("- "));
    let mut steps = Vec::new();
    for at in starts {
        // the dash is indentation too
        let first = lines[at].replacen("- ", "  ", 1);
        let mut step = vec![first.as_str()];
        step.extend(below(&lines, at));
        let commands = step.iter().enumerate().find_map(|(at, line)| match line.trim() {
            "run: |" => Some(below(&step, at).iter().map(|line| format!("{}\n", line.trim())).collect()),
            line => line.strip_prefix("run: ").map(str::to_owned),
        });
        let secret = |line: &&str| {
            let (name, value) = line.trim().split_once(": ")?;
            assert_eq!(value.contains("secrets."), value == format!("${{{{ secrets.{name} }}}}"), "{line}");
            value.contains("secrets.").then(|| name.to_owned())
        };
        let secrets = step.iter().filter_map(secret).collect();
        steps.extend(commands.map(|commands| Step { commands, secrets }));
    }
    // the program is here already
    steps.retain(|step| !step.commands.starts_with("cargo install"));
    steps
}

fn gitlab_script(job: &[&str]) -> Step {
    let at = job.iter().position(|line| line.trim() == "script:").unwrap();
    // a command may go on in the next line, as YAML has it
    let mut commands = String::new();
    for line in below(job, at) {
        match line.trim().strip_prefix("- ") {
            Some(command) => commands.push_str(&format!("\n{command}")),
            None => commands.push_str(&format!(" {}", line.trim())),
        }
    }
    let commands = commands.trim().to_owned() + "\n";
    let in_environment = job.iter().any(|line| line.trim() == "name: tuf");
    let secrets =
        if in_environment { KEYS.iter().map(|key| (*key).to_owned()).collect() } else { Vec::new() };
    Step { commands, secrets }
}

/// A project with a bare remote that publishes to a folder: its releases are a delegated role's.
struct Project {
    folder: Folder,
    /// How many checkouts there have been.
    checkouts: Cell<usize>,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: Folder::new(), checkouts: Cell::new(0) };
        for folder in ["home", "start"] {
            fs::create_dir(project.folder.path(folder)).unwrap();
        }
        project.git("", "git init -q --bare -b main remote");
        let [begin, commit, tag] = blocks(&page(), "sh").try_into().unwrap();
        assert!(tag.starts_with("git tag v1.0\n"), "{tag}");
        project.git("start", &format!("export ORIGIN=../remote\n{begin}"));
        project.folder.write("start/Makefile", "dist:\n\tmkdir -p dist && echo 1.0 >dist/app-1.0.txt\n");
        project.folder.write("start/.gitattributes", &blocks(&page(), "gitattributes")[0]);
        project.folder.write("start/.gitignore", &blocks(&page(), "gitignore")[0]);
        project.git("start", &format!("{PERSON}\n{commit}"));
        project
    }

    /// Runs commands in a folder, as a person of the project.
    fn git(&self, folder: &str, commands: &str) {
        let output = self.shell(START, &self.folder.path(folder), commands, &[]);
        assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit_and_push(&self, folder: &str, message: &str) {
        let person = "-c user.name=a -c user.email=a@localhost";
        self.git(
            folder,
            &format!("git add . && git {person} commit -qm '{message}' && git push -q origin HEAD:main"),
        );
    }

    /// Changes what is released, and tags it.
    fn tag(&self, version: &str) {
        let dist = format!("dist:\n\tmkdir -p dist && echo {version} >dist/app-{version}.txt\n");
        let person = self.checkout("main");
        fs::write(person.join("Makefile"), dist).unwrap();
        let person = person.file_name().unwrap().to_str().unwrap().to_owned();
        self.git(&person, "git config user.name a && git config user.email a@localhost");
        self.git(&person, &format!("git commit -qam {version} --allow-empty && git tag v{version}"));
        self.git(&person, &format!("git push -q origin main v{version}"));
    }

    /// Makes a fresh checkout of a branch or a tag, as a runner does.
    fn checkout(&self, what: &str) -> PathBuf {
        let name = format!("checkout-{}", self.checkouts.get());
        self.checkouts.set(self.checkouts.get() + 1);
        self.git("", &format!("git clone -q -b {what} remote {name}"));
        self.folder.path(&name)
    }

    /// Runs commands at a time in an empty environment, but for the secrets named and what CI systems set.
    fn shell(&self, now: &str, checkout: &Path, commands: &str, secrets: &[String]) -> Output {
        let commands = commands.replace(DESTINATION, self.folder.path("www").to_str().unwrap());
        let mut shell = Command::new("bash");
        shell.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &commands]).current_dir(checkout);
        shell.env_clear().env("PATH", path_at(&self.folder.path("programs"), now));
        shell.env("HOME", self.folder.path("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        shell.env("CI_PROJECT_DIR", checkout).env("CI_COMMIT_TAG", "v1").env("GITHUB_REF_NAME", "v1");
        shell.env("GITHUB_STEP_SUMMARY", self.folder.path("summary"));
        for name in secrets {
            let file = match name.as_str() {
                "TUF_RELEASE_KEY" => "releases",
                "TUF_SNAPSHOT_KEY" => "snapshot",
                "TUF_TIMESTAMP_KEY" => "timestamp",
                other => panic!("{other}"),
            };
            shell.env(name, fs::read_to_string(self.folder.path("keys").join(file)).unwrap());
        }
        shell.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs steps in a checkout; returns the exit code of the first that fails.
    fn run(&self, now: &str, checkout: &Path, steps: &[Step]) -> Result<(), i32> {
        for Step { commands, secrets } in steps {
            let output = self.shell(now, checkout, commands, secrets);
            if !output.status.success() {
                eprintln!("{commands}: {}", String::from_utf8_lossy(&output.stderr));
                return Err(output.status.code().unwrap());
            }
        }
        Ok(())
    }

    /// Builds a tag in a job of its own; returns where the artifact is.
    fn build(&self, file: File, tag: &str) -> PathBuf {
        let checkout = self.checkout(tag);
        self.run(START, &checkout, &steps(file, "build")).unwrap();
        checkout.join("dist")
    }

    /// Starts the job that signs, with an artifact.
    fn start(&self, dist: &Path) -> PathBuf {
        let checkout = self.checkout("main");
        let copied = Command::new("cp").arg("-r").arg(dist).arg(checkout.join("dist")).status().unwrap();
        assert!(copied.success());
        checkout
    }

    fn release(&self, now: &str, file: File, tag: &str) -> Result<(), i32> {
        self.run(now, &self.start(&self.build(file, tag)), &steps(file, "release"))
    }

    fn refresh(&self, now: &str, file: File) -> Result<(), i32> {
        self.run(now, &self.checkout("main"), &steps(file, "refresh"))
    }

    fn commits(&self) -> usize {
        let output = self.shell(START, &self.folder.path("remote"), "git rev-list --count main", &[]);
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    fn live_version(&self, role: &str) -> u64 {
        let checkout = self.checkout("main");
        let json = self.folder.run(&["-r", checkout.to_str().unwrap(), "--json", "status"]).exits(0).json();
        json["roles"][role]["live"].as_u64().unwrap()
    }

    /// Returns the targets that a new client finds, with what is in them.
    fn fetched(&self, now: &str) -> Vec<(String, String)> {
        let client = tempfile::tempdir().unwrap();
        let www = format!("file://{}", self.folder.path("www").display());
        let commands = format!(
            "tuf-fetch init '{}/www/metadata/1.root.json' && tuf-fetch --repo '{www}'",
            self.folder.path("").display()
        );
        let output = self.shell(now, client.path(), &commands, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found = Vec::new();
        if let Ok(entries) = fs::read_dir(client.path().join("targets/releases")) {
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(path).unwrap().trim().to_owned()));
            }
        }
        found.sort();
        found
    }
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
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
fn the_release_jobs_list_sign_and_publish_the_tag_that_was_pushed() {
    if !has_git_and_make() {
        return;
    }
    for file in RELEASES {
        let project = Project::new();
        project.tag("1.0");
        // the branch has gone on since
        project.git("start", "git pull -q --rebase origin main");
        project
            .folder
            .write("start/Makefile", "dist:\n\tmkdir -p dist && echo unfinished >dist/app-1.0.txt\n");
        project.commit_and_push("start", "the next release begins");
        let before = project.commits();
        assert_eq!(project.release("2030-01-01T06:00:00Z", file, "v1.0"), Ok(()), "{file:?}");
        assert_eq!(project.fetched("2030-01-01T06:00:00Z"), pairs(&[("app-1.0.txt", "1.0")]), "{file:?}");
        assert_eq!((project.live_version("releases"), project.live_version("targets")), (2, 1));
        assert_eq!(project.commits(), before + 1, "{file:?}");
        for kept in [".tuf-history", "metadata.staged/2.releases.json", "targets/releases/app-1.0.txt"] {
            assert!(project.checkout("main").join(kept).is_file(), "{file:?}: {kept}");
        }
        // nobody has drafts left, and what was only derived is not kept
        project.git(
            "remote",
            "! git ls-tree -r --name-only main | grep -E 'drafts|tuf-digests|tuf-published|dist/'",
        );
    }
}

#[test]
fn of_two_releases_in_the_queue_none_is_lost() {
    if !has_git_and_make() {
        return;
    }
    for file in RELEASES {
        let project = Project::new();
        project.tag("1.0");
        project.tag("1.1");
        // both are built before the first is signed
        let built = ["v1.0", "v1.1"].map(|tag| project.build(file, tag));
        for dist in &built {
            let job = project.start(dist);
            assert_eq!(
                project.run("2030-01-01T06:00:00Z", &job, &steps(file, "release")),
                Ok(()),
                "{file:?}"
            );
        }
        let both = pairs(&[("app-1.0.txt", "1.0"), ("app-1.1.txt", "1.1")]);
        assert_eq!(project.fetched("2030-01-01T06:00:00Z"), both, "{file:?}");
        // run once more they find nothing to do
        let commits = project.commits();
        for dist in &built {
            let job = project.start(dist);
            assert_eq!(
                project.run("2030-01-01T06:00:00Z", &job, &steps(file, "release")),
                Ok(()),
                "{file:?}"
            );
        }
        assert_eq!((project.commits(), project.fetched("2030-01-01T06:00:00Z")), (commits, both), "{file:?}");
    }
}

/// Pushes to a branch go on while a job runs, whatever its queue does.
#[test]
fn a_push_of_sources_while_a_job_runs_does_not_stop_it() {
    if !has_git_and_make() {
        return;
    }
    for file in RELEASES {
        let project = Project::new();
        project.tag("1.0");
        let (checkout, steps) = half_way(&project, file);
        project.git("start", "git pull -q --rebase origin main");
        project.folder.write("start/source", "new\n");
        project.commit_and_push("start", "a source");
        assert_eq!(project.run("2030-01-01T06:00:00Z", &checkout, &steps), Ok(()), "{file:?}");
        assert_eq!(project.fetched("2030-01-01T06:00:00Z"), pairs(&[("app-1.0.txt", "1.0")]));
    }
}

/// Without the queue, or with a person beside it: who pushes second publishes nothing, and makes it good by a new run.
#[test]
fn a_release_that_was_overtaken_publishes_nothing_and_succeeds_when_it_is_run_again() {
    if !has_git_and_make() {
        return;
    }
    let now = "2030-01-01T06:00:00Z";
    for file in RELEASES {
        let project = Project::new();
        project.tag("1.0");
        project.tag("1.1");
        let (checkout, rest) = half_way(&project, file);
        assert_eq!(project.release(now, file, "v1.1"), Ok(()));
        let first = pairs(&[("app-1.1.txt", "1.1")]);
        assert_eq!(project.fetched(now), first);
        assert!(project.run(now, &checkout, &rest).is_err(), "{file:?}");
        assert_eq!(project.fetched(now), first, "{file:?}: nothing went live");
        assert_eq!(project.release(now, file, "v1.0"), Ok(()));
        assert_eq!(
            project.fetched(now),
            pairs(&[("app-1.0.txt", "1.0"), ("app-1.1.txt", "1.1")]),
            "{file:?}"
        );
    }
}

/// Runs a release of 1.0 until its metadata is to be kept; returns its checkout and what is left to do.
fn half_way(project: &Project, file: File) -> (PathBuf, Vec<Step>) {
    let checkout = project.start(&project.build(file, "v1.0"));
    let all = steps(file, "release");
    let at = all.iter().position(|step| step.commands.contains("git config")).unwrap();
    let (before, after) = all[at].commands.split_at(all[at].commands.find("git config").unwrap());
    let part = |commands: &str| Step { commands: commands.to_owned(), ..all[at].clone() };
    let first = [&all[..at], &[part(before)]].concat();
    // what a shell has exported is gone with it
    let path = before.lines().filter(|line| line.starts_with("export ")).collect::<String>();
    let rest = [&[part(&format!("{path}\n{after}"))], &all[at + 1..]].concat();
    project.run("2030-01-01T06:00:00Z", &checkout, &first).unwrap();
    (checkout, rest)
}

#[test]
fn the_refresh_jobs_sign_what_is_due_and_raise_the_alarm_for_the_rest() {
    if !has_git_and_make() {
        return;
    }
    for file in REFRESHES {
        let project = Project::new();
        let before = project.commits();
        // nothing is due
        assert_eq!(project.refresh("2030-01-01T06:00:00Z", file), Ok(()), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.commits()), (1, before));
        assert_eq!(project.refresh("2030-01-01T13:00:00Z", file), Ok(()), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.live_version("snapshot")), (2, 1));
        assert_eq!(project.commits(), before + 1);
        // the snapshot too, and then the day on which targets expires, whose key is not here
        assert_eq!(project.refresh("2030-01-05T12:00:00Z", file), Ok(()), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.live_version("snapshot")), (3, 2));
        assert_eq!(project.refresh("2030-04-01T20:00:00Z", file), Err(3), "{file:?}");
        assert_eq!(project.live_version("timestamp"), 4);
    }
}

#[test]
fn a_draft_of_a_role_that_is_due_raises_the_alarm_after_the_rest_is_published() {
    if !has_git_and_make() {
        return;
    }
    for file in REFRESHES {
        let project = Project::new();
        let draft = "tuf-repo add-targets --role releases --base . releases.txt --prefix releases";
        project.folder.write("start/releases.txt", "unfinished");
        let output = project.shell(START, &project.folder.path("start"), draft, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let policy = project.folder.path("start/tuf-repo.toml");
        let text = fs::read_to_string(&policy).unwrap() + "\n[roles.releases]\nrefresh = \"80d\"\n";
        fs::write(&policy, text).unwrap();
        project.commit_and_push("start", "a release that nobody has signed");
        assert_eq!(project.refresh("2030-01-20T20:00:00Z", file), Err(3), "{file:?}");
        assert_eq!((project.live_version("timestamp"), project.live_version("snapshot")), (2, 2));
    }
}

#[test]
fn the_refresh_goes_on_from_a_release() {
    if !has_git_and_make() {
        return;
    }
    for (release, refresh) in RELEASES.into_iter().zip(REFRESHES) {
        let project = Project::new();
        project.tag("1.0");
        assert_eq!(project.release("2030-01-01T06:00:00Z", release, "v1.0"), Ok(()));
        assert_eq!(project.refresh("2030-01-02T01:00:00Z", refresh), Ok(()), "{refresh:?}");
        assert_eq!(project.fetched("2030-01-02T01:00:00Z"), pairs(&[("app-1.0.txt", "1.0")]));
    }
}

#[test]
fn only_the_step_that_signs_has_the_keys() {
    for (file, jobs) in [
        (File::GithubRelease, &["build", "release"][..]),
        (File::GitlabRelease, &["build", "release"]),
        (File::GithubRefresh, &["refresh"]),
        (File::GitlabRefresh, &["refresh"]),
    ] {
        let all: Vec<Step> = jobs.iter().flat_map(|job| steps(file, job)).collect();
        let mut signing = 0;
        for step in &all {
            let lines: Vec<&str> = step.commands.lines().collect();
            let signs = lines.iter().position(|line| line.contains("--key env:"));
            assert_eq!(signs.is_some(), !step.secrets.is_empty(), "{file:?}: {step:?}");
            let Some(at) = signs else { continue };
            signing += 1;
            if lines.len() == 1 {
                continue;
            }
            // a script of GitLab is one shell: no program but the one that signs is started with a key
            let is_taken = lines[0].split(' ').all(|word| word.contains("=$TUF_"));
            assert!(is_taken && lines[at + 1].starts_with("unset "), "{file:?}: {lines:?}");
            for key in &step.secrets {
                assert!(lines[1].starts_with("unset ") && lines[1].contains(key.as_str()), "{file:?}: {key}");
                let others = lines.iter().enumerate().skip(2).filter(|(line, _)| *line != at);
                assert!(!others.into_iter().any(|(_, line)| line.contains(key.as_str())), "{file:?}: {key}");
            }
        }
        assert_eq!(signing, 1, "{file:?}");
    }
}

/// Whatever a job fetches cannot change under the same name, in the page and in the workflows of this project.
#[test]
fn nothing_that_can_change_is_installed() {
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let mut files = blocks(&page(), "yaml");
    files.extend(
        fs::read_dir(workflows).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()),
    );
    assert!(files.len() >= 6);
    let mut actions = 0;
    for line in files.iter().flat_map(|file| file.lines()) {
        let line = line.trim().trim_start_matches("- ");
        if let Some(action) = line.strip_prefix("uses: ") {
            let (name, version) = action.split_once(" # v").unwrap_or_else(|| panic!("{line}"));
            let hash = name.split_once('@').unwrap().1;
            let is_hash = hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_hash && !version.is_empty(), "{line}");
            actions += 1;
        }
        assert!(!line.starts_with("image:") || line.contains("@sha256:"), "{line}");
        assert!(!line.contains("-latest"), "{line}");
        for installer in ["cargo install", "pip install", "npm install", "curl ", "wget "] {
            let pinned = installer == "cargo install"
                && line.contains("--locked --git \"$TUF_SOURCE\" --rev \"$TUF_COMMIT\"");
            assert!(!line.contains(installer) || pinned, "{line}");
        }
    }
    assert!(actions >= 6);
}
