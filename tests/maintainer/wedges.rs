//! States that no edit leaves on purpose: a role that is named and has no metadata, drafts that nobody delegates to, drafts
//! that are damaged. Each command goes on from there, or back.

use std::fs;

use crate::cli::Site;
use crate::support::Ran;
use crate::world::{contents, copy_folder, tree};

const WRITE: [&str; 5] = ["write", "--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];

/// A live repository whose `targets` delegates to `team` (key 4).
fn live() -> Site {
    let site = Site::written();
    site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
    site.put("team/a", "first");
    site.run(&["add-targets", "targets/team/a", "--role", "team"]).exits(0);
    site.run(&[&WRITE[..], &["--key=../key-4"]].concat()).exits(0);
    site.run(&["publish"]).exits(0);
    site
}

/// The same after a killed edit: a draft of `targets` names `zzz`, of which there is nothing.
fn wedged() -> Site {
    let site = live();
    site.put("zzz/b", "second");
    site.run(&["delegate", "zzz", "--key", "../key-5.pub", "--paths", "zzz/*"]).exits(0);
    fs::remove_file(site.path("metadata.staged/.drafts/zzz.json")).unwrap();
    site
}

/// The same without a kill: `team`, made elsewhere, delegates to `bob`, of whom there is nothing.
fn imported() -> Site {
    let site = live();
    copy_folder(&site.repository(), &site.folder.path("elsewhere"));
    let there = |args: &[&str]| {
        let mut command = site.folder.command(&["-r", "elsewhere", "--time", crate::cli::NOW]);
        command.args(args);
        crate::support::finish(command).exits(0)
    };
    there(&["delegate", "bob", "--from", "team", "--key", "key-5.pub", "--paths", "team/*"]);
    let keys = ["--key=key-2", "--key=key-3", "--key=key-4", "--key=key-5"];
    there(&[&["write"][..], &keys].concat());
    fs::copy(site.folder.path("elsewhere/metadata.staged/2.team.json"), site.folder.path("team.json"))
        .unwrap();
    site.put("team/b", "second");
    site.run(&["sign", "--import", "../team.json"]).exits(0);
    fs::remove_file(site.path("metadata.staged/.drafts/bob.json")).unwrap();
    site
}

fn drafts(site: &Site) -> Vec<String> {
    contents(&site.path("metadata.staged/.drafts")).into_keys().collect()
}

/// Runs a command in a copy of a site, so that each starts from the same.
fn from(site: &Site, args: &[&str]) -> (Site, Ran) {
    let copy = Site::empty();
    copy_folder(&site.repository(), &copy.repository());
    let ran = copy.run(args);
    (copy, ran)
}

#[test]
fn a_role_that_a_killed_edit_has_only_named_wedges_no_command() {
    let site = wedged();
    let dirty = ["targets", "zzz", "snapshot", "timestamp"];
    assert_eq!(site.json(&["status"], 0)["dirty"], serde_json::json!(dirty));
    let delegate = ["delegate", "zzz", "--key", "../key-5.pub", "--paths", "zzz/*"];
    for args in [
        &delegate[..],
        &["add-key", "zzz", "../key-3.pub"],
        &["bump", "zzz"],
        &["expire", "zzz", "3d"],
        &["add-targets", "targets/zzz/b", "--role", "zzz"],
        &["discard", "zzz"],
        &["sign", "--key", "../key-5"],
        &["sign", "--export", "../zzz.json", "zzz"],
    ] {
        let (copy, ran) = from(&site, args);
        ran.exits(0);
        assert!(drafts(&copy).contains(&"zzz.json".to_owned()), "{args:?}: {:?}", drafts(&copy));
        copy.run(&[&WRITE[..], &["--key=../key-5"]].concat()).exits(0);
        copy.run(&["publish"]).exits(0);
        copy.run(&["verify", "--live", "--targets"]).exits(0);
    }
    for args in [&["revoke", "zzz"][..], &["discard"], &["discard", "targets"]] {
        let (copy, ran) = from(&site, args);
        ran.exits(0);
        assert_eq!(drafts(&copy), [""; 0], "{args:?}");
        assert_eq!(copy.json(&["status"], 0)["dirty"], serde_json::json!([]), "{args:?}");
    }
    // what is missing is told in one line, and with the key it is no longer missing
    let (copy, ran) = from(&site, &WRITE);
    let ran = ran.exits(3);
    assert!(ran.stderr.contains("\nerror: zzz v1 has 0 of 1 required signatures, missing "), "{ran:?}");
    copy.run(&[&WRITE[..], &["--key=../key-5"]].concat()).exits(0);
    copy.run(&["publish"]).exits(0);
}

#[test]
fn a_role_that_metadata_from_elsewhere_names_wedges_no_command() {
    let site = imported();
    for args in [
        &["bump", "bob"][..],
        &["discard", "bob"],
        &["add-targets", "targets/team/b", "--role", "bob"],
        &["sign", "--import", "../team.json"],
    ] {
        let copy = Site::empty();
        copy_folder(&site.repository(), &copy.repository());
        fs::copy(site.folder.path("team.json"), copy.folder.path("team.json")).unwrap();
        let ran = copy.run(args);
        assert!(matches!(ran.code, 0 | 5), "{ran:?}");
        let ran = copy.run(&WRITE).exits(3);
        assert!(ran.stderr.contains("\nerror: bob v1 has 0 of 1 required signatures"), "{ran:?}");
        copy.run(&[&WRITE[..], &["--key=../key-5"]].concat()).exits(0);
        copy.run(&["publish"]).exits(0);
    }
    for args in [&["discard"][..], &["discard", "team"]] {
        let (copy, ran) = from(&site, args);
        ran.exits(0);
        assert_eq!(drafts(&copy), [""; 0], "{args:?}");
    }
    // the delegation goes, and with it the signature of the team
    let (copy, ran) = from(&site, &["revoke", "bob", "--from", "team"]);
    ran.exits(0);
    copy.run(&[&WRITE[..], &["--key=../key-4"]].concat()).exits(0);
    // the rest may be written without it
    let (copy, ran) = from(&site, &["bump", "targets"]);
    ran.exits(0);
    copy.run(&[&WRITE[..], &["--partial"]].concat()).exits(0);
    assert_eq!(drafts(&copy), ["bob.json", "team.json"]);
}

#[test]
fn taking_a_role_in_drafts_the_roles_that_it_names() {
    let site = imported();
    site.run(&["discard"]).exits(0);
    site.run(&["sign", "--import", "../team.json"]).exits(0);
    assert_eq!(drafts(&site), ["bob.json", "team.json"]);
}

#[test]
fn drafts_that_nobody_delegates_to_are_dropped_by_any_edit_and_by_name() {
    let site = live();
    site.run(&["delegate", "zzz", "--key", "../key-5.pub", "--paths", "zzz/*"]).exits(0);
    fs::remove_file(site.path("metadata.staged/.drafts/targets.json")).unwrap();
    assert_eq!(site.json(&["status"], 0)["dirty"], serde_json::json!([]));
    for args in [
        &["discard"][..],
        &["discard", "zzz"],
        &["revoke", "zzz"],
        &["bump", "targets"],
        &["delegate", "zzz", "--key", "../key-5.pub", "--paths", "zzz/*"],
    ] {
        let (copy, ran) = from(&site, args);
        ran.exits(0);
        copy.run(&["discard", "targets"]).exits(0);
        assert_eq!(drafts(&copy), [""; 0], "{args:?}");
    }
    // of a role that there is nothing of nothing is dropped
    let before = tree(&site.repository());
    for args in [&["discard", "nobody"][..], &["revoke", "nobody"]] {
        assert!(site.run(args).exits(2).stderr.contains("there is no role 'nobody'"), "{args:?}");
    }
    assert_eq!(tree(&site.repository()), before);
}

#[test]
fn what_is_no_draft_stays_in_the_drafts_folder() {
    let site = live();
    let mine = ["notes.txt", "team.json.bak", ".hidden", "a%2fb.json"];
    mine.iter().for_each(|name| fs::write(site.path("metadata.staged/.drafts").join(name), "mine").unwrap());
    // nor is a folder of a draft's name one
    fs::create_dir(site.path("metadata.staged/.drafts/team.json")).unwrap();
    site.run(&["bump", "targets"]).exits(0);
    site.write_all().exits(0);
    site.run(&["discard"]).exits(0);
    let mut expected = mine.map(str::to_owned).to_vec();
    expected.push("team.json/".to_owned());
    expected.sort();
    assert_eq!(drafts(&site), expected);
}

#[test]
fn discard_drops_drafts_that_are_damaged_whatever_they_hold() {
    for damage in ["", "{}", "\u{0}\u{1}", "{\"signed\":{\"_type\":\"root\"},\"signatures\":[]}"] {
        for name in ["root", "targets", "snapshot", "timestamp", "team", "nobody"] {
            let site = wedged();
            fs::write(site.path(&format!("metadata.staged/.drafts/{name}.json")), damage).unwrap();
            let (copy, ran) = from(&site, &["discard", name]);
            ran.exits(0);
            copy.run(&["discard"]).exits(0);
            assert_eq!(drafts(&copy), [""; 0], "{name}");
            site.run(&["discard"]).exits(0);
            assert_eq!(drafts(&site), [""; 0], "{name}");
        }
    }
}

#[test]
fn what_has_been_done_is_done_again_without_a_word_of_complaint() {
    let site = live();
    let zzz = ["delegate", "zzz", "--key", "../key-5.pub", "--paths", "zzz/*"];
    let bins = ["delegate", "bin", "--from", "team", "--bins", "4", "--key", "../key-5.pub"];
    for args in [&zzz[..], &["revoke", "team"], &["revoke", "zzz"]] {
        site.run(args).exits(0);
        let before = tree(&site.repository());
        let ran = site.run(args);
        if args[1] != "zzz" || args[0] == "delegate" {
            assert!(ran.exits(0).stderr.starts_with("Nothing to do: "), "{args:?}");
        } else {
            // it has never been anything but a draft
            ran.exits(2);
        }
        assert_eq!(tree(&site.repository()), before, "{args:?}");
    }
    site.run(&["discard"]).exits(0);
    for kind in [&["--classic"][..], &[]] {
        let args = [&bins[..], kind].concat();
        site.run(&args).exits(0);
        assert!(site.run(&args).exits(0).stderr.starts_with("Nothing to do: "));
        // other bins, and other keys, are another delegation
        site.run(&["delegate", "bin", "--from", "team", "--bins", "8", "--key", "../key-5.pub"]).exits(2);
        site.run(&["delegate", "bin", "--from", "team", "--bins", "4", "--key", "../key-3.pub"]).exits(2);
        site.run(&["discard"]).exits(0);
    }
    site.run(&zzz).exits(0);
    site.run(&["delegate", "zzz", "--key", "../key-5.pub", "--paths", "*"]).exits(2);
    site.run(&["delegate", "zzz", "--key", "../key-5.pub", "--paths", "zzz/*", "--terminating"]).exits(2);
}

#[test]
fn a_refresh_is_not_kept_back_by_drafts() {
    let site = live();
    let at = |time: &str, args: &[&str]| {
        let mut command = site.folder.command(&["--time", time]);
        command.args(args).current_dir(site.repository());
        crate::support::finish(command)
    };
    let refresh = ["refresh", "--key=../key-1", "--key=../key-2", "--key=../key-3"];
    // dates set by hand and never written
    site.run(&["expire", "timestamp", "2d"]).exits(0);
    site.run(&["bump", "snapshot"]).exits(0);
    at("2031-03-02T01:00:00Z", &refresh).exits(0);
    assert_eq!(drafts(&site), ["snapshot.json"]);
    at("2031-03-02T01:00:00Z", &["publish"]).exits(0);
    // content that somebody has not finished, of a role that is due: the others are signed, and it is told
    site.run(&["add-key", "team", "../key-5.pub"]).exits(0);
    let before = fs::read(site.path("metadata.staged/.drafts/targets.json")).unwrap();
    let ran = at("2031-03-05T12:00:00Z", &[&refresh[..], &["--key=../key-4", "--within", "100d"]].concat());
    let ran = ran.exits(3);
    assert!(ran.stderr.contains("error: 'targets' is due and has a draft"), "{ran:?}");
    assert!(
        ran.stderr.ends_with("hint: write what is drafted, or give it up: tuf-repo discard targets\n"),
        "{ran:?}"
    );
    assert_eq!(fs::read(site.path("metadata.staged/.drafts/targets.json")).unwrap(), before);
    at("2031-03-05T12:00:00Z", &["publish"]).exits(0);
    // every day for a month, with the draft in the way: the live timestamp never expires
    for day in 6..31 {
        at(&format!("2031-03-{day:02}T05:00:00Z"), &["verify", "--live"]).exits(0);
        let time = format!("2031-03-{day:02}T06:00:00Z");
        at(&time, &refresh).exits(0);
        at(&time, &["publish"]).exits(0);
    }
}

/// Where `team` or `targets` has expired while somebody has a draft of it, and whether the draft can be used.
fn expired_with_a_draft(flags: &[&str], role: &str, break_draft: bool) -> Site {
    let site = Site::written_with(flags);
    site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
    site.run(&["expire", role, "2d"]).exits(0);
    site.run(&[&WRITE[..], &["--key=../key-4"]].concat()).exits(0);
    site.run(&["publish"]).exits(0);
    site.put("team/a", "first");
    site.run(&["add-targets", "targets/team/a", "--role", role]).exits(0);
    if break_draft {
        fs::write(site.path("metadata.staged/.drafts").join(format!("{role}.json")), "{").unwrap();
    }
    site
}

#[test]
fn a_role_that_has_expired_and_has_a_draft_is_told_with_3_after_the_others_are_written() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for (role, break_draft) in [("targets", false), ("targets", true), ("team", false), ("team", true)] {
            let site = expired_with_a_draft(flags, role, break_draft);
            let file = format!("metadata.staged/.drafts/{role}.json");
            let draft = fs::read(site.path(&file)).unwrap();
            let later = |args: &[&str]| {
                let mut command = site.folder.command(&["--time", "2031-03-05T00:00:00Z"]);
                command.args(args).current_dir(site.repository());
                crate::support::finish(command)
            };
            // neither has a refresh window, and the job has neither key
            let refresh = ["refresh", "--key=../key-2", "--key=../key-3"];
            let before = tree(&site.repository());
            let dry = later(&[&refresh[..], &["--dry-run"]].concat()).exits(3);
            assert!(dry.stderr.contains(&format!("error: '{role}' is due and has a draft")), "{dry:?}");
            assert_eq!(tree(&site.repository()), before);
            let ran = later(&[&refresh[..], &["--json"]].concat()).exits(3);
            assert!(ran.json()["roles"]["timestamp"].is_u64(), "{ran:?}");
            assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran:?}");
            assert!(ran.stderr.contains(&format!("error: '{role}' is due and has a draft")), "{ran:?}");
            assert!(ran.stderr.ends_with(&format!("tuf-repo discard {role}\n")), "{ran:?}");
            assert_eq!(fs::read(site.path(&file)).unwrap(), draft);
            // once more there is nothing to sign, and the role is still due
            let again = tree(&site.repository());
            later(&refresh).exits(3);
            assert_eq!(tree(&site.repository()), again);
            later(&["discard", role]).exits(0);
            later(&refresh).exits(0);
        }
    }
}
