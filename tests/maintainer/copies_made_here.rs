//! `add-targets` passes over the copies that `write` has made, whichever role file lists them: `HASH.name` never becomes a target.

use std::fs;
use std::path::PathBuf;

use crate::cli::{NOW, Site};
use crate::support::{Ran, finish};
use crate::world::copy_folder;

const KEYS: [&str; 4] = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];

/// Runs a command in a copy of the repository that lies beside it.
fn beside(site: &Site, copy: &str, args: &[&str]) -> Ran {
    let mut command = site.folder.command(&["--time", NOW]);
    command.args(args).current_dir(site.folder.path(copy));
    finish(command)
}

fn copy_of(site: &Site, copy: &str, name: &str) -> PathBuf {
    let is_copy = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_str().unwrap();
        file.strip_suffix(name).and_then(|head| head.strip_suffix('.')).is_some_and(|head| head.len() == 64)
    };
    let folder = site.folder.path(copy).join("targets");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(is_copy).unwrap()
}

/// Lists everything below `targets`, by the folder and file by file; returns the paths that are listed then.
fn listed_after_adding_all(site: &Site, copy: &str) -> Vec<String> {
    beside(site, copy, &["add-targets", "-R", "targets"]).exits(0);
    let files = fs::read_dir(site.folder.path(copy).join("targets")).unwrap();
    let files: Vec<String> =
        files.map(|entry| format!("targets/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    let named: Vec<&str> = files.iter().map(String::as_str).collect();
    beside(site, copy, &[&["add-targets"][..], &named].concat()).exits(0);
    let json = beside(site, copy, &["list", "--json"]).exits(0).json();
    json["targets"].as_object().unwrap().keys().cloned().collect()
}

/// A repository that is published to `www`, and a copy `B` of it.
fn two_copies() -> Site {
    let site = Site::written();
    site.run(&["publish", "--to", "../www"]).exits(0);
    copy_folder(&site.repository(), &site.folder.path("B"));
    site
}

fn put(site: &Site, copy: &str, name: &str) {
    fs::write(site.folder.path(copy).join("targets").join(name), name).unwrap();
}

/// A release of `B` that is written and not live, in the way of another one that is live.
fn set_aside(work: &[&[&str]]) -> Site {
    let site = two_copies();
    site.put("z", "z");
    site.run(&["add-targets", "targets/z"]).exits(0);
    site.write_all().exits(0);
    site.run(&["publish", "--to", "../www"]).exits(0);
    put(&site, "B", "b");
    beside(&site, "B", &["add-targets", "targets/b"]).exits(0);
    beside(&site, "B", &[&["write"][..], &KEYS].concat()).exits(0);
    work.iter().for_each(|args| drop(beside(&site, "B", args).exits(0)));
    let ran = beside(&site, "B", &["pull", "--from", "../www", "--set-aside", "--yes"]).exits(3);
    assert!(ran.stderr.contains(".aside/targets.v2."), "{ran:?}");
    site
}

#[test]
fn a_copy_that_only_metadata_lists_which_was_set_aside_is_no_new_target() {
    for work in [&[][..], &[&["remove-targets", "b"][..]]] {
        let site = set_aside(work);
        assert!(copy_of(&site, "B", "b").exists());
        assert_eq!(listed_after_adding_all(&site, "B"), ["b", "z"], "{work:?}");
    }
}

#[test]
fn a_set_aside_that_was_killed_is_named_by_the_same_command_until_it_is_deleted() {
    let site = set_aside(&[]);
    let pull = ["pull", "--from", "../www", "--set-aside", "--yes"];
    // as after a kill in the last moment: all is done, and nobody was told
    let again = beside(&site, "B", &pull).exits(3);
    assert!(again.stderr.contains("error: work of this copy is kept aside: "), "{again:?}");
    assert!(again.stderr.contains(".aside/targets.v2."), "{again:?}");
    let json = beside(&site, "B", &[&pull[..], &["--json"]].concat()).exits(3).json();
    assert_eq!(json["aside"].as_array().unwrap().len(), 1, "{json}");
    // somebody's note there is not ours, and a dry run has kept nothing
    let aside = site.folder.path("B/metadata.staged/.drafts/.aside");
    fs::write(aside.join("note.txt"), "to do").unwrap();
    beside(&site, "B", &[&pull[..], &["--dry-run"]].concat()).exits(0);
    beside(&site, "B", &["pull", "--from", "../www"]).exits(0);
    for entry in fs::read_dir(&aside).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            fs::remove_file(path).unwrap();
        }
    }
    beside(&site, "B", &pull).exits(0);
    assert!(aside.join("note.txt").exists());
}

#[test]
fn a_copy_that_only_live_metadata_lists_is_no_new_target() {
    let site = Site::written();
    site.put("b", "b");
    site.run(&["add-targets", "targets/b"]).exits(0);
    site.write_all().exits(0);
    site.run(&["publish"]).exits(0);
    site.run(&["remove-targets", "b"]).exits(0);
    site.write_all().exits(0);
    // as in a clone that keeps the newest metadata alone
    fs::remove_file(site.path("metadata.staged/2.targets.json")).unwrap();
    assert_eq!(listed_after_adding_all(&site, "repository"), ["b"]);
}

#[test]
fn a_copy_that_an_older_set_of_bins_lists_is_no_new_target() {
    let site = Site::written();
    let keys = [&KEYS[..], &["--key=../key-4"]].concat();
    let bins = |number| ["delegate", "bin", "--bins", number, "--key", "../key-4.pub"];
    site.run(&bins("4")).exits(0);
    let names: Vec<String> = (0..12).map(|number| format!("file-{number}")).collect();
    let files: Vec<String> = names.iter().map(|name| format!("targets/{name}")).collect();
    names.iter().for_each(|name| site.put(name, name));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    site.run(&[&["add-targets", "--role", "bin"][..], &files].concat()).exits(0);
    site.run(&[&["write"][..], &keys].concat()).exits(0);
    site.run(&["revoke", "bin"]).exits(0);
    site.write_all().exits(0);
    // the new bins have the names of the old ones, and other paths in them
    site.run(&bins("16")).exits(0);
    site.run(&[&["write"][..], &keys].concat()).exits(0);
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(listed_after_adding_all(&site, "repository"), expected);
}

#[test]
fn a_file_that_only_looks_like_a_copy_is_listed() {
    let site = two_copies();
    put(&site, "B", "b");
    beside(&site, "B", &["add-targets", "targets/b"]).exits(0);
    beside(&site, "B", &[&["write"][..], &KEYS].concat()).exits(0);
    let copy = copy_of(&site, "B", "b");
    let name = copy.file_name().unwrap().to_str().unwrap().to_owned();
    // the digest of its bytes, and another target's name
    let other = name.replace(".b", ".c");
    fs::copy(&copy, copy.with_file_name(&other)).unwrap();
    let mut expected = vec!["b".to_owned(), other];
    expected.sort();
    assert_eq!(listed_after_adding_all(&site, "B"), expected);
}
