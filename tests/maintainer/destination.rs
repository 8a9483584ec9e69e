//! What lies at a destination and was not put there by this repository stays: files, links, the folders of others. And what a
//! delegate puts in the place of its own file stops nobody else.

use std::fs;
use std::os::unix::fs::symlink;

use crate::cli::Site;
use crate::foreign::digest;
use crate::support::Ran;
use crate::world::{contents, copy_folder};

const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

impl Site {
    /// The name of a target's file where it is published.
    fn published_name(flags: &[&str], name: &str, text: &str) -> String {
        let (folder, base) = name.rsplit_once('/').map_or(("", name), |(folder, base)| (folder, base));
        let slash = if folder.is_empty() { "" } else { "/" };
        match flags.is_empty() {
            true => format!("{folder}{slash}{}.{base}", digest(text)),
            false => name.to_owned(),
        }
    }

    fn list(&self, name: &str, text: &str) {
        self.put(name, text);
        self.run(&["add-targets", "--replace", &format!("targets/{name}")]).exits(0);
        self.write_all().exits(0);
    }

    fn plant(&self, place: &str, text: &str) {
        let place = self.folder.path(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    /// Publishes to `www` beside the repository; that is refused, and nothing there changes.
    fn is_refused(&self, to: &str, code: i32) -> Ran {
        let before = contents(&self.folder.path("."));
        let ran = self.run(&["publish", "--to", to]).exits(code);
        assert!(ran.stderr.contains("hint:"), "{}", ran.words());
        let mut after = contents(&self.folder.path("."));
        after.retain(|name, _| before.contains_key(name));
        assert!(after == before, "{}", ran.words());
        ran
    }

    fn publish_to(&self, to: &str) {
        self.run(&["publish", "--to", to]).exits(0);
    }
}

#[test]
fn a_file_of_somebody_in_the_place_of_a_new_target_is_never_replaced() {
    for flags in LAYOUTS {
        for (name, planted) in
            [("index.html", "precious"), ("d/e/f", "fresh bytes"), ("index.html", "other bytes")]
        {
            let site = Site::written_with(flags);
            let file = Site::published_name(flags, name, "fresh BYTES");
            site.list(name, "fresh BYTES");
            site.plant(&format!("www/targets/{file}"), planted);
            let ran = site.is_refused("../www", 2);
            assert!(ran.stderr.contains(&format!("targets/{file}")), "{}", ran.words());
            // the hint works
            fs::rename(site.folder.path("www/targets").join(&file), site.folder.path("kept")).unwrap();
            site.publish_to("../www");
            assert_eq!(fs::read(site.folder.path("www/targets").join(&file)).unwrap(), b"fresh BYTES");
        }
    }
}

#[test]
fn other_bytes_of_the_same_length_under_a_new_name_do_not_count_as_published() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.list("a", "aaaa");
        site.publish_to("../www");
        site.list("b", "bbbb");
        site.plant(&format!("www/targets/{}", Site::published_name(flags, "b", "bbbb")), "bbbX");
        site.is_refused("../www", 2);
    }
}

#[test]
fn the_only_copy_of_a_colleague_who_edits_in_a_destination_is_never_replaced() {
    let site = Site::written_with(LAYOUTS[1]);
    site.list("app", "v1");
    site.run(&["publish"]).exits(0);
    copy_folder(&site.repository(), &site.folder.path("colleague"));
    site.plant("colleague/targets/app", "work of a colleague");
    // nothing new of that target, and a new version of it
    site.list("other", "x");
    site.is_refused("../colleague", 2);
    site.list("app", "v2");
    site.is_refused("../colleague", 2);
    assert_eq!(fs::read(site.folder.path("colleague/targets/app")).unwrap(), b"work of a colleague");
}

#[test]
fn a_new_version_takes_the_place_of_the_one_that_is_live_also_after_a_cut() {
    let site = Site::written_with(LAYOUTS[1]);
    site.list("d/app", "v1");
    site.publish_to("../www");
    site.list("d/app", "version 2");
    // killed once the file was there, before the metadata
    site.plant("www/targets/d/app", "version 2");
    site.publish_to("../www");
    site.list("d/app", "v3");
    site.publish_to("../www");
    assert_eq!(fs::read(site.folder.path("www/targets/d/app")).unwrap(), b"v3");
    site.run(&["publish", "--to", "../www"]).exits(0);
}

/// In the plain layout what an earlier publication has left tells nothing of itself.
#[test]
fn a_place_that_an_earlier_publication_has_left_in_disorder_is_published_to_again() {
    let site = Site::written_with(LAYOUTS[1]);
    site.list("app", "v1");
    site.publish_to("../www");
    // killed between the target and the metadata; the next build has other bytes
    site.plant("www/targets/app", "a build that was never announced");
    site.list("app", "v2");
    site.publish_to("../www");
    assert_eq!(fs::read(site.folder.path("www/targets/app")).unwrap(), b"v2");
    // damaged, with nothing new to publish of it
    site.plant("www/targets/app", "v?");
    site.run(&["publish", "--to", "../www"]).exits(0);
    // taken off the list, and listed again
    site.run(&["remove-targets", "app"]).exits(0);
    site.write_all().exits(0);
    site.publish_to("../www");
    site.list("app", "v3");
    let ran = site.is_refused("../www", 2);
    assert!(ran.stderr.contains("--replace-damaged"), "{}", ran.words());
    site.run(&["publish", "--to", "../www", "--replace-damaged"]).exits(0);
    assert_eq!(fs::read(site.folder.path("www/targets/app")).unwrap(), b"v3");
}

#[test]
fn a_link_below_the_targets_of_a_destination_leads_no_file_out_of_it() {
    for flags in LAYOUTS {
        for (link, to, name) in [
            ("d", "../../out", "d/f"),
            ("d", "../metadata", "d/f"),
            ("d", "../../absent", "d/f"),
            ("x/d", "/tmp", "x/d/f"),
        ] {
            let site = Site::written_with(flags);
            site.list("first", "1");
            site.publish_to("../www");
            fs::create_dir_all(site.folder.path("out")).unwrap();
            fs::create_dir_all(site.folder.path("www/targets").join(link).parent().unwrap()).unwrap();
            symlink(to, site.folder.path("www/targets").join(link)).unwrap();
            site.list(name, "text");
            let ran = site.is_refused("../www", 2);
            assert!(ran.stderr.contains(&format!("targets/{link}")), "{}", ran.words());
            assert!(!site.folder.path("absent").exists());
            assert!(contents(&site.folder.path("out")).is_empty());
        }
        // a link within is the business of whoever keeps the folder
        let site = Site::written_with(flags);
        fs::create_dir_all(site.folder.path("www/targets/real")).unwrap();
        symlink("real", site.folder.path("www/targets/d")).unwrap();
        site.list("d/f", "text");
        site.publish_to("../www");
        assert!(
            site.folder.path("www/targets/real").join(Site::published_name(flags, "f", "text")).is_file()
        );
    }
}

#[test]
fn what_is_no_file_in_the_place_of_a_target_is_named_before_anything_is_put() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.list("a", "first");
        site.list("d/f", "text");
        let file = Site::published_name(flags, "d/f", "text");
        let place = site.folder.path("www/targets").join(&file);
        // a folder, a link that leads nowhere, and a file in the place of the folder above
        fs::create_dir_all(&place).unwrap();
        site.is_refused("../www", 2);
        fs::remove_dir(&place).unwrap();
        symlink("nowhere", &place).unwrap();
        site.is_refused("../www", 2);
        fs::remove_file(&place).unwrap();
        fs::remove_dir(place.parent().unwrap()).unwrap();
        fs::write(place.parent().unwrap(), "mine").unwrap();
        site.is_refused("../www", 2);
        fs::remove_file(place.parent().unwrap()).unwrap();
        site.publish_to("../www");
    }
}

#[test]
fn the_working_folder_of_another_repository_is_no_destination() {
    for flags in LAYOUTS {
        let (site, other) = (Site::written_with(flags), Site::trusted(flags));
        copy_folder(&other.repository(), &site.folder.path("drafted"));
        // another first root
        other.run(&["expire", "root", "2040-01-01"]).exits(0);
        other.write_all().exits(0);
        copy_folder(&other.repository(), &site.folder.path("written"));
        symlink("written", site.folder.path("linked")).unwrap();
        site.list("a", "text");
        for to in ["../drafted", "../written", "../linked", "../linked/../written/"] {
            let ran = site.is_refused(to, 5);
            assert!(ran.stderr.contains("another one is worked on there"), "{}", ran.words());
        }
        // a colleague's copy of this repository is none
        copy_folder(&site.repository(), &site.folder.path("copy"));
        site.publish_to("../copy");
    }
}

#[test]
fn the_folder_of_a_client_is_no_destination() {
    for flags in LAYOUTS {
        for folder in ["metadata", "targets"] {
            let site = Site::written_with(flags);
            site.list("a", "text");
            site.plant(&format!("www/{folder}/.tuf-put"), "");
            let ran = site.is_refused("../www", 2);
            assert!(ran.stderr.contains(folder) && ran.stderr.contains(".tuf-put"), "{}", ran.words());
        }
    }
}
