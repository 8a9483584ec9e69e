//! Several writers at once: nobody's files are swapped or lost, and whoever cannot go on says so in one line.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tuf::repository::{
    Bundle, Destination, Expiry, HISTORY, InputError, Repository, RepositoryError, Retention,
};

use crate::cli::Site;
use crate::support::Ran;
use crate::world::{PATIENCE, copy_folder, signing};

/// How often a race is run.
const ROUNDS: usize = 8;

/// A repository with a draft of root, which three of five keys must sign, and one of targets; both are exported to `ex`.
fn exported() -> Site {
    let site = Site::written();
    for key in [1, 2, 3, 4] {
        site.run(&["add-key", "root", &format!("../key-{key}.pub")]).exits(0);
    }
    site.run(&["threshold", "root", "3"]).exits(0);
    site.run(&["bump", "targets"]).exits(0);
    fs::create_dir(site.folder.path("ex")).unwrap();
    for role in ["root", "targets"] {
        site.run(&["sign", "--export", &format!("../ex/{role}.json"), role]).exits(0);
    }
    site
}

fn start(site: &Site, args: &[&str]) -> Child {
    site.command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs commands at once.
fn at_once(site: &Site, commands: &[Vec<&str>]) -> Vec<Ran> {
    let started: Vec<Child> = commands.iter().map(|args| start(site, args)).collect();
    started.into_iter().map(end).collect()
}

/// The role of a bundle and how many signatures it has.
fn bundle(path: &Path) -> (String, usize) {
    let bundle: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    (bundle["role"].as_str().unwrap().to_owned(), bundle["signatures"].as_array().unwrap().len())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One line says what went wrong, and another one perhaps what to do.
fn is_one_line(ran: &Ran) {
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
    assert!(matches!(lines.as_slice(), [line] if line.starts_with("error: ")), "{ran:?}");
}

#[test]
fn bundles_in_one_folder_that_are_signed_at_once_are_not_swapped() {
    let site = exported();
    copy_folder(&site.folder.path("ex"), &site.folder.path("whole"));
    for round in 0..ROUNDS {
        for name in ["root.json", "targets.json"] {
            fs::copy(site.folder.path("whole").join(name), site.folder.path("ex").join(name)).unwrap();
        }
        let sign = |name: &'static str, key: &'static str| vec!["sign", "--bundle", name, "--key", key];
        let ran =
            at_once(&site, &[sign("../ex/root.json", "../key-2"), sign("../ex/targets.json", "../key-1")]);
        ran.into_iter().for_each(|ran| drop(ran.exits(0)));
        assert_eq!(bundle(&site.folder.path("ex/root.json")), ("root".to_owned(), 1), "round {round}");
        assert_eq!(bundle(&site.folder.path("ex/targets.json")), ("targets".to_owned(), 1), "round {round}");
        assert_eq!(names(&site.folder.path("ex")), ["root.json", "targets.json"], "round {round}");
    }
}

#[cfg(unix)]
#[test]
fn the_signatures_of_all_who_sign_one_bundle_at_once_are_in_it_though_links_lead_there() {
    let site = exported();
    let whole = site.folder.path("whole.json");
    fs::rename(site.folder.path("ex/root.json"), &whole).unwrap();
    fs::create_dir(site.folder.path("elsewhere")).unwrap();
    for (link, to) in [("elsewhere/link.json", "../ex/root.json"), ("twice.json", "elsewhere/link.json")] {
        std::os::unix::fs::symlink(to, site.folder.path(link)).unwrap();
    }
    // what is in the way of a staging folder hinders nobody: a file, and a link to somebody's folder
    fs::write(site.folder.path("ex/.tuf-tmp-0"), "mine").unwrap();
    fs::create_dir(site.folder.path("elsewhere/mine")).unwrap();
    fs::write(site.folder.path("elsewhere/mine/.tuf-0"), "mine").unwrap();
    std::os::unix::fs::symlink("../elsewhere/mine", site.folder.path("ex/.tuf-tmp-1")).unwrap();
    for round in 0..ROUNDS {
        fs::copy(&whole, site.folder.path("ex/root.json")).unwrap();
        let sign = |name: &'static str, key: &'static str| vec!["sign", "--bundle", name, "--key", key];
        let ran = at_once(
            &site,
            &[
                sign("../ex/root.json", "../key-0"),
                sign("../elsewhere/link.json", "../key-1"),
                sign("../twice.json", "../key-2"),
                sign("../ex/../ex/root.json", "../key-3"),
                sign("../ex/root.json", "../key-4"),
            ],
        );
        ran.into_iter().for_each(|ran| drop(ran.exits(0)));
        assert_eq!(bundle(&site.folder.path("ex/root.json")), ("root".to_owned(), 5), "round {round}");
        assert!(site.folder.path("elsewhere/link.json").is_symlink(), "round {round}");
    }
    assert_eq!(names(&site.folder.path("ex")), [".tuf-tmp-0", ".tuf-tmp-1", "root.json", "targets.json"]);
    assert_eq!(names(&site.folder.path("elsewhere/mine")), [".tuf-0"]);
    site.run(&["sign", "--import", "../ex/root.json"]).exits(0);
}

#[test]
fn a_bundle_that_is_replaced_while_it_is_signed_is_not_overwritten() {
    let site = exported();
    let (file, other) = (site.folder.path("ex/root.json"), site.folder.path("ex/targets.json"));
    let mut signed = Bundle::from_bytes(&fs::read(&file).unwrap()).unwrap();
    for key in &signing(&[0, 1]) {
        signed.sign(key).unwrap();
    }
    let replaced =
        |error: RepositoryError| matches!(error, RepositoryError::Input(InputError::BundleReplaced { .. }));
    for bytes in [fs::read(&other).unwrap(), b"{}".to_vec()] {
        fs::write(&file, &bytes).unwrap();
        assert!(replaced(signed.add_to_file(&file, Duration::ZERO).unwrap_err()));
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    fs::remove_file(&file).unwrap();
    assert!(replaced(signed.add_to_file(&file, Duration::ZERO).unwrap_err()));
    assert_eq!(names(&site.folder.path("ex")), ["targets.json"]);
}

#[test]
fn a_signature_that_is_not_valid_does_not_keep_the_valid_one_of_its_key_out() {
    let site = exported();
    let file = site.folder.path("ex/root.json");
    site.run(&["sign", "--bundle", "../ex/root.json", "--key", "../key-0", "--key", "../key-1"]).exits(0);
    let whole = fs::read_to_string(&file).unwrap();
    let bundle: Value = serde_json::from_str(&whole).unwrap();
    let sig = bundle["signatures"][0]["sig"].as_str().unwrap();
    fs::write(&file, whole.replace(sig, &"00".repeat(64))).unwrap();
    let signed = Bundle::from_bytes(whole.as_bytes()).unwrap();
    signed.add_to_file(&file, Duration::ZERO).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
}

#[test]
fn of_those_who_export_to_one_file_at_once_one_makes_it() {
    let site = exported();
    for _ in 0..ROUNDS {
        let export = |role: &'static str| vec!["sign", "--export", "../ex/new.json", role, "--wait", "60s"];
        let ran = at_once(&site, &[export("root"), export("targets"), export("root")]);
        let made: Vec<&Ran> = ran.iter().filter(|ran| ran.code == 0).collect();
        assert_eq!(made.len(), 1, "{ran:?}");
        ran.iter().filter(|ran| ran.code != 0).for_each(|ran| assert_eq!(ran.code, 2, "{ran:?}"));
        fs::remove_file(site.folder.path("ex/new.json")).unwrap();
    }
    assert_eq!(names(&site.folder.path("ex")), ["root.json", "targets.json"]);
}

#[test]
fn of_those_who_make_a_repository_in_one_folder_at_once_one_does() {
    let site = Site::empty();
    for round in 0..ROUNDS {
        let dir = site.folder.path("new").join(round.to_string());
        let make = |flags: &[&str]| {
            let mut command = site.folder.command(&["init"]);
            command.arg(&dir).args(flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let ran: Vec<Ran> =
            [make(&[]), make(&["--no-consistent-snapshot"]), make(&["--wait", "60s"]), make(&[])]
                .map(end)
                .into();
        assert_eq!(ran.iter().filter(|ran| ran.code == 0).count(), 1, "{ran:?}");
        for ran in ran.iter().filter(|ran| ran.code != 0) {
            assert!(matches!(ran.code, 2 | 6), "{ran:?}");
            is_one_line(ran);
        }
        assert_eq!(names(&dir), ["metadata", "metadata.staged", "targets", "tuf-repo.toml"]);
    }
}

#[test]
fn of_those_who_take_over_into_one_folder_at_once_one_does() {
    let site = Site::written();
    site.put("a", "first");
    site.run(&["add-targets", "targets/a"]).exits(0);
    site.write_all().exits(0);
    site.run(&["publish"]).exits(0);
    for round in 0..ROUNDS / 2 {
        let dir = site.folder.path("taken").join(round.to_string());
        let over = ["--from", "repository", "--trusted-root", "repository/metadata/1.root.json"];
        let make = |flags: &[&str]| {
            let mut command = site.folder.command(&["init"]);
            command.arg(&dir).args(flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let ran: Vec<Ran> = [make(&over), make(&over), make(&[])].map(end).into();
        assert_eq!(ran.iter().filter(|ran| ran.code == 0).count(), 1, "{ran:?}");
        ran.iter().filter(|ran| ran.code != 0).for_each(is_one_line);
        let made: Vec<String> = names(&dir).into_iter().filter(|name| name != HISTORY).collect();
        assert_eq!(made, ["metadata", "metadata.staged", "targets", "tuf-repo.toml"]);
    }
}

#[test]
fn what_one_repository_publishes_into_another_never_swaps_the_targets_of_both() {
    let site = Site::written();
    site.run(&["publish"]).exits(0);
    copy_folder(&site.repository(), &site.folder.path("second"));
    let digests = |folder: &Path| {
        for name in names(folder).iter().filter(|name| name.len() > 65) {
            let digest = hex::encode(Sha256::digest(fs::read(folder.join(name)).unwrap()));
            assert!(name.starts_with(&digest), "{name} has the bytes of {digest}");
        }
    };
    for round in 0..ROUNDS {
        let (own, theirs) = (format!("own-{round}"), format!("theirs-{round}"));
        site.put(&own, &own.repeat(1000));
        let file = site.folder.path("second/targets").join(&theirs);
        fs::write(&file, theirs.repeat(1000)).unwrap();
        let second = |args: &[&str]| {
            let mut command = site.folder.command(&["-r", "second", "--time", crate::cli::NOW]);
            command.args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let keys = ["--key", "key-1", "--key", "key-2", "--key", "key-3"];
        end(second(&["add-targets", file.to_str().unwrap()])).exits(0);
        end(second(&[&["write"][..], &keys].concat())).exits(0);
        let published = second(&["publish", "--to", "repository"]);
        let added = start(&site, &["add-targets", &format!("targets/{own}")]);
        let written = start(&site, &["write", "--key", "../key-1", "--key", "../key-2", "--key", "../key-3"]);
        for ran in [end(published), end(added), end(written)] {
            // what is live may be ahead of either by then
            assert!(matches!(ran.code, 0 | 5 | 6), "{ran:?}");
        }
        digests(&site.path("targets"));
    }
    assert!(!names(&site.path("targets")).iter().any(|name| name.starts_with(".tuf-")));
}

#[test]
fn two_repositories_that_archive_to_one_folder_at_once_keep_both() {
    let site = Site::written();
    site.run(&["publish"]).exits(0);
    for _ in 0..4 {
        site.run(&["bump", "targets"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
    }
    for round in 0..ROUNDS {
        let archive = site.folder.path("archive").join(round.to_string());
        let collect = |number: usize| {
            let name = format!("copy-{round}-{number}");
            copy_folder(&site.repository(), &site.folder.path(&name));
            let mut command = site.folder.command(&["-r", &name, "--time", crate::cli::NOW]);
            command.args(["gc", "--keep", "1", "--keep-within", "0s", "--archive"]).arg(&archive);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for ran in [collect(0), collect(1), collect(2)].map(end) {
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        assert_eq!(names(&archive), ["metadata", "metadata.staged"]);
        for side in ["metadata", "metadata.staged"] {
            for name in names(&archive.join(side)) {
                let kept = fs::read(archive.join(side).join(&name)).unwrap();
                assert_eq!(kept, fs::read(site.path(side).join(&name)).unwrap(), "{side}/{name}");
            }
        }
    }
}

#[test]
fn of_two_different_repositories_that_archive_to_one_folder_at_once_none_loses_a_file() {
    // files of the same names, with other bytes
    let sites = [Site::written(), Site::written()];
    for (site, lifetime) in sites.iter().zip(["400d", "500d"]) {
        site.run(&["expire", "targets", lifetime]).exits(0);
        site.write_all().exits(0);
        for _ in 0..3 {
            site.run(&["bump", "targets"]).exits(0);
            site.write_all().exits(0);
        }
    }
    for round in 0..ROUNDS {
        let archive = sites[0].folder.path("archive").join(round.to_string());
        let collect = |site: &Site| {
            let copy = site.folder.path(&format!("copy-{round}"));
            copy_folder(&site.repository(), &copy);
            let mut command = site.folder.command(&["--time", crate::cli::NOW, "-r"]);
            command.arg(copy).args(["gc", "--keep", "1", "--keep-within", "0s", "--archive"]).arg(&archive);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let ran = [collect(&sites[0]), collect(&sites[1])].map(end);
        for (site, ran) in sites.iter().zip(ran) {
            assert!(matches!(ran.code, 0 | 5), "{ran:?}");
            // each file is where it was, or kept
            for name in names(&site.path("metadata.staged")).iter().filter(|name| *name != ".drafts") {
                let bytes = fs::read(site.path("metadata.staged").join(name)).unwrap();
                let here = site.folder.path(&format!("copy-{round}/metadata.staged")).join(name);
                let there = archive.join("metadata.staged").join(name);
                let is_kept = |path: &Path| fs::read(path).is_ok_and(|kept| kept == bytes);
                assert!(is_kept(&here) || is_kept(&there), "{name} is lost: {ran:?}");
            }
        }
    }
}

#[test]
fn publishing_into_a_repository_and_its_own_commands_exclude_each_other() {
    let site = Site::written();
    site.run(&["publish"]).exits(0);
    copy_folder(&site.repository(), &site.folder.path("second"));
    let now = crate::world::start();
    let open =
        |name: &str| Repository::open_locked(&site.folder.path(name), now, Duration::from_secs(20)).unwrap();
    let second = |args: &[&str]| {
        let mut command = site.folder.command(&["-r", "second", "--time", crate::cli::NOW]);
        command.args(args);
        crate::support::finish(command)
    };
    // a command of the repository is at work: others do not write into it
    let held = open("repository");
    for args in [
        &["publish", "--to", "repository"][..],
        &["gc", "--to", "repository"],
        &["gc", "--to", "./second/../repository"],
    ] {
        let ran = second(args).exits(6);
        is_one_line(&ran);
        assert!(ran.stderr.contains("repository/metadata.staged is in use by"), "{ran:?}");
    }
    drop(held);
    // and the other way round
    let other = open("second");
    let to = Destination::Folder(site.repository());
    let plan = other.plan_publish(&to, Expiry::Enforce, Duration::ZERO).unwrap();
    for args in [&["bump", "targets"][..], &["write"], &["gc"], &["publish"]] {
        is_one_line(&site.run(args).exits(6));
    }
    drop(plan);
    // nobody carries a collection out without the locks of the place
    let plan =
        other.plan_gc_of(&to, Retention { keep: 1, keep_within: TimeDelta::zero() }, PATIENCE).unwrap();
    for args in [&["bump", "targets"][..], &["publish"]] {
        is_one_line(&site.run(args).exits(6));
    }
    drop(plan);
    // a repository is no other one to itself, however it is named
    drop(other);
    for to in ["second", "./second/.", "second/../second"] {
        second(&["publish", "--to", to]).exits(0);
        second(&["gc", "--to", to]).exits(0);
    }
}

/// Two repositories that are copies of one, each published in itself; the one that comes first in the order of locks first.
fn two_copies(site: &Site) -> [&'static str; 2] {
    site.run(&["publish"]).exits(0);
    copy_folder(&site.repository(), &site.folder.path("second"));
    let mut both = ["repository", "second"];
    both.sort_by_key(|name| {
        let place = fs::metadata(site.folder.path(name).join("metadata.staged")).unwrap();
        (place.dev(), place.ino())
    });
    both
}

#[test]
fn whoever_takes_over_from_a_repository_that_is_in_use_waits_for_it_in_both_directions() {
    let site = Site::written();
    let [first, second] = two_copies(&site);
    let now = crate::world::start();
    for (own, from) in [(first, second), (second, first)] {
        for command in [["pull", "--from"], ["publish", "--to"], ["gc", "--to"]] {
            let run = |wait: &str| {
                let mut run = site.folder.command(&["-r", own, "--time", crate::cli::NOW, "--wait", wait]);
                run.args(command).arg(from);
                run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            };
            let held = Repository::open_locked(&site.folder.path(from), now, PATIENCE).unwrap();
            let begun = Instant::now();
            is_one_line(&end(run("1s")).exits(6));
            assert!(begun.elapsed() >= Duration::from_secs(1), "{own} {command:?}");
            let waiting = run("60s");
            drop(held);
            end(waiting).exits(0);
        }
    }
}

#[test]
fn a_collection_that_waited_goes_by_the_policy_that_is_there_when_its_turn_comes() {
    let site = Site::written();
    let [first, second] = two_copies(&site);
    let now = crate::world::start();
    let own = |args: &[&str]| {
        let mut run = site.folder.command(&["-r", second, "--time", crate::cli::NOW]);
        run.args(args);
        crate::support::finish(run).exits(0)
    };
    let keys = [1, 2, 3].map(|key| format!("--key=key-{key}"));
    for _ in 0..3 {
        own(&["bump", "targets"]);
        own(&[&["write"][..], &keys.each_ref().map(String::as_str)].concat());
        own(&["publish", "--to", first]);
    }
    let policy = site.folder.path(second).join("tuf-repo.toml");
    let before = fs::read_to_string(&policy).unwrap();
    let keeping = |number: u64| {
        let lines = format!("\nkeep = {number}\nkeep-within = \"0s\"\n");
        let text = before.replace("\nkeep = 10\n", &lines);
        assert_ne!(text, before);
        fs::write(&policy, text).unwrap();
    };
    keeping(1);
    let held = Repository::open_locked(&site.folder.path(first), now, PATIENCE).unwrap();
    let mut run = site.folder.command(&["-r", second, "--time", crate::cli::NOW, "--wait", "60s", "--json"]);
    run.args(["gc", "--to", first]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = run.spawn().unwrap();
    // somebody else has its turn at the own repository meanwhile, and keeps more
    let turn = Repository::open_locked(&site.folder.path(second), now, PATIENCE).unwrap();
    keeping(10);
    drop(turn);
    drop(held);
    let ran = end(waiting).exits(0);
    assert_eq!(ran.json()["deleted"], serde_json::json!([]), "{ran:?}");
    let ran = own(&["--json", "gc", "--to", first, "--keep", "1"]);
    assert_ne!(ran.json()["deleted"], serde_json::json!([]), "{ran:?}");
}

#[test]
fn two_repositories_that_publish_into_each_other_or_collect_there_do_not_wait_for_ever() {
    let site = Site::written();
    site.run(&["publish"]).exits(0);
    copy_folder(&site.repository(), &site.folder.path("second"));
    for commands in [["publish", "publish"], ["gc", "gc"], ["publish", "gc"], ["gc", "publish"]] {
        let start = |command: &str, from: &str, to: &str| {
            let mut run = site.folder.command(&["-r", from, "--time", crate::cli::NOW, "--wait", "60s"]);
            run.args([command, "--to", to]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [start(commands[0], "repository", "second"), start(commands[1], "second", "repository")];
        // whoever waits does not wait for the other's whole time
        for ran in both.map(end) {
            ran.exits(0);
        }
    }
}
