//! Version control keeps no empty folders: a fresh clone of a repository may lack any folder in which nothing is yet.

use std::fs;
use std::path::Path;

use crate::cli::Site;
use crate::world::contents;

/// How far the repository has come before it is cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Drafted,
    Written,
    Published,
}

/// A clone of a repository that lists nothing, beside a folder `dist` with a release.
fn fresh_clone(flags: &[&str], state: State) -> Site {
    let site = Site::trusted(flags);
    if state != State::Drafted {
        site.write_all().exits(0);
    }
    if state == State::Published {
        site.run(&["publish"]).exits(0);
    }
    remove_empty_folders(&site.repository());
    assert!(!site.path("targets").exists());
    fs::create_dir_all(site.folder.path("dist/sub")).unwrap();
    site.folder.write("dist/app", "1.0");
    site.folder.write("dist/sub/manual", "read me");
    site
}

/// Removes the folders that hold nothing but such folders.
fn remove_empty_folders(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_empty_folders(&path);
        }
    }
    // what holds something stays
    let _ = fs::remove_dir(folder);
}

#[test]
fn the_first_release_can_be_made_in_a_fresh_clone() {
    let folder = &["add-targets", "-R", "../dist", "--base", "../dist"][..];
    let prefixed = &["add-targets", "../dist/app", "--base", "../dist", "--prefix", "releases/1"][..];
    let several = &["add-targets", "../dist/sub/manual", "../dist/app", "--base", "../dist"][..];
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for (state, add) in
            [(State::Drafted, folder), (State::Written, prefixed), (State::Published, several)]
        {
            let site = fresh_clone(flags, state);
            let before = contents(&site.repository());
            site.run(&[add, &["--dry-run"]].concat()).exits(0);
            assert_eq!(contents(&site.repository()), before, "{state:?}: a dry run changes nothing");
            site.run(add).exits(0);
            site.write_all().exits(0);
            site.run(&["publish"]).exits(0);
            site.run(&["verify", "--live", "--targets"]).exits(0);
        }
    }
}

#[test]
fn hash_bins_get_their_first_files_in_a_fresh_clone() {
    let site = fresh_clone(&[], State::Written);
    site.run(&["delegate", "bins", "--bins", "4", "--key", "../key-4.pub"]).exits(0);
    site.run(&["add-targets", "-R", "../dist", "--base", "../dist", "--role", "bins"]).exits(0);
    let keys = ["--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"];
    site.run(&[&["write"], &keys[..]].concat()).exits(0);
    site.run(&["publish", "--to", "../www"]).exits(0);
    site.run(&["verify", "--live", "--targets", "--to", "../www"]).exits(0);
}

#[test]
fn no_command_misses_an_empty_folder_of_a_fresh_clone() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for state in [State::Drafted, State::Written, State::Published] {
            for (args, code) in [
                (&["status"][..], 0),
                (&["list"], 0),
                (&["diff"], 0),
                (&["doctor"], 0),
                (&["graph"], 0),
                (&["discard"], 0),
                (&["bump", "targets"], 0),
                (&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"], 0),
                (&["sign", "--key", "../key-1"], 0),
                (&["refresh", "--key=../key-2", "--key=../key-3"], 0),
                (&["add-targets", "targets/app"], 2),
                (&["add-targets", "-R", "targets"], 2),
            ] {
                let site = fresh_clone(flags, state);
                let ran = site.run(args).exits(code);
                assert!(!ran.words().contains("os error"), "{state:?}: {ran:?}");
            }
            if state != State::Drafted {
                let site = fresh_clone(flags, state);
                site.run(&["verify", "--targets"]).exits(0);
                site.run(&["publish", "--to", "../new/deep/www"]).exits(0);
                site.run(&["publish"]).exits(0);
                site.run(&["gc", "--keep", "1", "--keep-within", "0s"]).exits(0);
            }
        }
    }
}

#[test]
fn targets_that_only_a_manifest_knows_need_no_folder() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = fresh_clone(flags, State::Published);
        let hash = "00".repeat(32);
        let line = format!("{{\"path\":\"a/b\",\"length\":1,\"hashes\":{{\"sha256\":\"{hash}\"}}}}\n");
        site.folder.write("manifest", &line);
        let policy = fs::read_to_string(site.path("tuf-repo.toml")).unwrap();
        let policy =
            policy.replace("# [publish]", "[publish]").replace("# targets-elsewhere", "targets-elsewhere");
        fs::write(site.path("tuf-repo.toml"), policy).unwrap();
        site.run(&["add-targets", "--from-manifest", "../manifest"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["verify", "--live"]).exits(0);
    }
}

#[cfg(unix)]
#[test]
fn a_targets_link_that_leads_nowhere_is_no_empty_folder() {
    let site = fresh_clone(&[], State::Written);
    std::os::unix::fs::symlink("nowhere", site.path("targets")).unwrap();
    let before = contents(&site.repository());
    let ran = site.run(&["add-targets", "-R", "../dist", "--base", "../dist"]).exits(1);
    assert!(ran.stderr.contains("targets"), "{ran:?}");
    assert_eq!(contents(&site.repository()), before);
    assert!(!site.path("nowhere").exists());
}
