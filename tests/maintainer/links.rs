//! Links that lead out of a folder, and folders that a refused command has made: the disk outside is as it was.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::cli::{NOW, Site};
use crate::foreign::digest;
use crate::support::Ran;
use crate::world::{contents, copy_folder, difference};

/// Layouts, as flags of `init`.
const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

impl Site {
    /// Runs a command that is refused by name, and changes nothing anywhere.
    fn refused_by_name(&self, args: &[&str], code: i32, named: &str) -> Ran {
        let before = contents(&self.folder.path(""));
        let ran = self.run(args).exits(code);
        assert!(ran.stderr.contains(named) && ran.stderr.contains("hint: "), "{named}: {ran:?}");
        assert_eq!(difference(&before, &contents(&self.folder.path(""))), Vec::<String>::new(), "{args:?}");
        ran
    }
}

/// A written repository with a folder of somebody beside it, to which a link among the targets leads.
fn linked(flags: &[&str]) -> Site {
    let site = Site::written_with(flags);
    for folder in ["outside/sub", "dist/d", "dist/real", "repository/targets/real"] {
        fs::create_dir_all(site.folder.path(folder)).unwrap();
    }
    for (name, text) in [("dist/d/x", "x"), ("dist/real/y", "y"), ("plain", "x"), ("outside/x", "x")] {
        fs::write(site.folder.path(name), text).unwrap();
    }
    symlink("../../outside", site.path("targets/d")).unwrap();
    symlink("real", site.path("targets/inside")).unwrap();
    site
}

#[test]
fn a_link_among_the_targets_leads_no_copy_of_add_targets_or_write_outside() {
    for flags in LAYOUTS {
        let site = linked(flags);
        let link = "targets/d is a link that leads out of the folder of targets";
        for dry in [&[][..], &["--dry-run"]] {
            for args in [
                &["add-targets", "../dist/d/x", "--base", "../dist"][..],
                &["add-targets", "-R", "../dist", "--base", "../dist"],
                &["add-targets", "../plain", "--prefix", "d"],
                &["add-targets", "../plain", "--prefix", "d/sub"],
                &["add-targets", "../plain", "--prefix", "inside/../d"],
            ] {
                // a path with dots is none
                let named = if args.contains(&"inside/../d") { "inside/../d" } else { link };
                site.refused_by_name(&[args, dry].concat(), 2, named);
            }
        }
        // a link that stays inside is a folder like any other
        site.run(&["add-targets", "../dist/real/y", "--base", "../dist/real", "--prefix", "inside"]).exits(0);
        assert_eq!(fs::read_to_string(site.path("targets/real/y")).unwrap(), "y");
        site.write_all().exits(0);
        // what a manifest lists needs no file here, and gets no copy outside either
        let line = json!({"path": "d/x", "length": 1, "hashes": {"sha256": digest("x")}});
        site.folder.write("manifest", &format!("{line}\n"));
        site.run(&["add-targets", "--from-manifest", "../manifest"]).exits(0);
        if flags.is_empty() {
            let keys = ["--key=../key-1", "--key=../key-2", "--key=../key-3"];
            for more in [&["--dry-run"][..], &[]] {
                site.refused_by_name(&[&["write"], &keys[..], more].concat(), 2, link);
            }
        }
        assert_eq!(contents(&site.folder.path("outside")).len(), 2);
    }
}

#[test]
fn a_link_among_the_targets_leads_no_pull_and_no_take_over_outside() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.put("d/x", "x");
        copy_folder(&site.repository(), &site.folder.path("b"));
        site.run(&["add-targets", "targets/d/x"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        fs::create_dir(site.folder.path("outside")).unwrap();
        let targets = site.folder.path("b/targets");
        fs::remove_dir_all(&targets).unwrap();
        fs::create_dir_all(&targets).unwrap();
        fs::create_dir_all(site.folder.path("new/targets")).unwrap();
        for targets in ["b/targets", "new/targets"] {
            symlink("../../outside", site.folder.path(targets).join("d")).unwrap();
        }
        let pull = ["-r", "../b", "pull", "--from", "../www", "--targets", "--yes"];
        for more in [&["--dry-run"][..], &[]] {
            site.refused_by_name(&[&pull[..], more].concat(), 2, "d is a link that leads out");
        }
        let from = ["init", "../new", "--from", "../www", "--trusted-root", "../www/metadata/1.root.json"];
        site.refused_by_name(&from, 2, "d is a link that leads out");
        assert_eq!(fs::read_dir(site.folder.path("outside")).unwrap().count(), 0);
        // without the link both go on
        for targets in ["b/targets", "new/targets"] {
            fs::remove_file(site.folder.path(targets).join("d")).unwrap();
        }
        site.run(&pull).exits(0);
        site.run(&from).exits(0);
    }
}

#[test]
fn add_targets_lists_nothing_that_a_link_leads_to_outside_of_the_folder_named() {
    for flags in LAYOUTS {
        let site = linked(flags);
        let at = |name: &str| site.folder.path(name);
        fs::create_dir(at("tree")).unwrap();
        fs::write(at("tree/own"), "own").unwrap();
        for (to, link) in [("own", "alias"), (".", "loop")] {
            symlink(to, at("tree").join(link)).unwrap();
        }
        let all = ["add-targets", "-R", "../tree", "--base", "../tree", "--follow-links"];
        site.run(&[&all[..], &["--dry-run"]].concat()).exits(0);
        for (to, link, typed) in [
            ("../outside", "folder", "../tree/folder/x"),
            ("../outside/x", "file", "../tree/file"),
            ("../plain", "plain", "../tree/plain"),
        ] {
            symlink(to, at("tree").join(link)).unwrap();
            let named = format!("tree/{link} is a link that leads out of ");
            site.refused_by_name(&all, 2, &named);
            site.refused_by_name(&["add-targets", typed, "--base", "../tree", "--follow-links"], 2, &named);
            // links are left out as ever
            site.run(&["add-targets", "-R", "../tree", "--base", "../tree", "--dry-run"]).exits(0);
            fs::remove_file(at("tree").join(link)).unwrap();
        }
        // the same among the targets themselves
        for args in [
            &["add-targets", "-R", "targets", "--follow-links"][..],
            &["add-targets", "targets/d/x", "--follow-links"],
            &["add-targets", "targets/d/x"],
        ] {
            site.refused_by_name(args, 2, "targets/d is a link that leads out of ");
        }
    }
}

#[test]
fn a_refused_init_leaves_the_disk_as_it_was() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.put("a", "a");
        site.run(&["add-targets", "targets/a"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        let from = ["--from", "www", "--trusted-root", "www/metadata/1.root.json", "--time", NOW];
        let plain = [&["--time", NOW][..], flags].concat();
        fs::create_dir(site.folder.path("junk")).unwrap();
        fs::write(site.folder.path("junk/.tuf-history"), "<<<<<<< ours\n").unwrap();
        fs::create_dir(site.folder.path("other")).unwrap();
        fs::copy(site.path(".tuf-history"), site.folder.path("other/.tuf-history")).unwrap();
        fs::write(site.folder.path("other/.tuf-history"), format!("x 1 {}\n", digest("x"))).unwrap();
        fs::write(site.folder.path("file"), "").unwrap();
        let before = contents(&site.folder.path(""));
        for place in
            ["junk", "other", "R2/../repository", "deep/R2/../../repository", "file/R", "new/../file/R"]
        {
            for more in [&plain[..], &from] {
                for dry in [&[][..], &["--dry-run"]] {
                    let ran = site.folder.run(&[&["init", place], more, dry].concat());
                    let is_seen_late = !dry.is_empty() && place.contains("..") || place.contains("file");
                    assert!(ran.code == 2 || is_seen_late, "{place}: {ran:?}");
                    assert!(ran.code != 0 || !dry.is_empty(), "{place}: {ran:?}");
                    let differs = difference(&before, &contents(&site.folder.path("")));
                    assert_eq!(differs, Vec::<String>::new(), "{place} {more:?}");
                }
            }
        }
        // a source that is refused once its targets are read
        let name = if flags.is_empty() { format!("{}.a", digest("a")) } else { "a".to_owned() };
        fs::write(site.folder.path("www/targets").join(name), "b").unwrap();
        let before = contents(&site.folder.path(""));
        site.folder.run(&[&["init", "deep/er/new"], &from[..]].concat()).exits(5);
        fs::create_dir_all(site.folder.path("b")).unwrap();
        fs::remove_dir(site.folder.path("b")).unwrap();
        assert_eq!(difference(&before, &contents(&site.folder.path(""))), Vec::<String>::new());
        // a new folder is made where nothing is in the way
        site.folder.run(&[&["init", "deep/er/made"], &plain[..]].concat()).exits(0);
    }
}

#[test]
fn a_refused_pull_leaves_no_folder_of_targets() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        copy_folder(&site.repository(), &site.folder.path("b"));
        fs::remove_dir_all(site.folder.path("b/targets")).unwrap();
        site.put("a", "a");
        site.run(&["add-targets", "targets/a"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        let name = if flags.is_empty() { format!("{}.a", digest("a")) } else { "a".to_owned() };
        fs::write(site.folder.path("www/targets").join(name), "b").unwrap();
        let before = contents(&site.folder.path("b"));
        site.run(&["-r", "../b", "pull", "--from", "../www", "--targets", "--yes"]).exits(5);
        assert_eq!(difference(&before, &contents(&site.folder.path("b"))), Vec::<String>::new());
    }
}
