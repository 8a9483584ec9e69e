//! What version control makes of two copies without a conflict: a draft that was made upon something older lies upon what a
//! colleague has written since. To go on with it would undo that, so it is refused by name, and `discard` leads on.

use std::fs;

use crate::cli::Site;
use crate::world::{contents, copy_folder, difference};

const KEYS: [&str; 4] = ["--key=key-0", "--key=key-1", "--key=key-2", "--key=key-3"];
const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

/// Two copies `a` and `b` of a repository with a delegated role, published to `www`.
fn copies(flags: &[&str]) -> Site {
    let site = Site::written_with(flags);
    site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
    site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"]).exits(0);
    copy_twice(&site);
    run(&site, "b", "publish --to www", 0);
    site
}

fn copy_twice(site: &Site) {
    for copy in ["a", "b"] {
        copy_folder(&site.repository(), &site.folder.path(copy));
    }
}

fn run(site: &Site, copy: &str, line: &str, code: i32) -> String {
    let args: Vec<&str> =
        ["-r", copy, "--time", crate::cli::NOW].into_iter().chain(line.split(' ')).collect();
    site.folder.run(&args).exits(code).words()
}

fn add(site: &Site, copy: &str, path: &str, role: &str) {
    let file = site.folder.path(&format!("{copy}/targets/{path}"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, path).unwrap();
    run(site, copy, &format!("add-targets {copy}/targets/{path} --role {role}"), 0);
}

/// A copy writes with the keys of all top-level roles and more, and publishes.
fn release(site: &Site, copy: &str, more: &[&str]) {
    let keys: Vec<&str> = KEYS.iter().chain(more).copied().collect();
    run(site, copy, &format!("write {}", keys.join(" ")), 0);
    run(site, copy, "publish --to www", 0);
}

/// Version control takes the drafts that only `a` has into `b`.
fn merge_drafts(site: &Site) {
    copy_folder(
        &site.folder.path("a/metadata.staged/.drafts"),
        &site.folder.path("b/metadata.staged/.drafts"),
    );
    copy_folder(&site.folder.path("a/targets"), &site.folder.path("b/targets"));
}

/// No command goes on with the draft of a role, nothing changes, and `discard` leads on.
fn is_refused(site: &Site, role: &str, keys: &str) {
    let before = contents(&site.folder.path(""));
    let edit = &format!("bump {role}");
    for line in [&format!("write {keys}"), &format!("sign {keys}"), edit] {
        let words = run(site, "b", line, 5);
        assert!(words.contains(&format!(".drafts/{role}.json: was made before v")), "{words}");
        assert!(words.contains(&format!("discard {role}")), "{words}");
    }
    let words = run(site, "b", "status", 0);
    assert!(words.contains("was made before v"), "{words}");
    let differs = difference(&before, &contents(&site.folder.path("")));
    assert!(differs.is_empty(), "{differs:?}");
    run(site, "b", &format!("discard {role}"), 0);
    run(site, "b", &format!("write {keys}"), 0);
}

#[test]
fn a_merged_draft_does_not_take_a_colleagues_target_off_the_list() {
    for flags in LAYOUTS {
        let site = copies(flags);
        add(&site, "a", "draft", "targets");
        add(&site, "b", "release", "targets");
        release(&site, "b", &[]);
        merge_drafts(&site);
        is_refused(&site, "targets", &KEYS.join(" "));
        assert!(run(&site, "b", "list", 0).contains("release"));
    }
}

#[test]
fn a_merged_draft_of_a_delegated_role_does_not_either() {
    for flags in LAYOUTS {
        let site = copies(flags);
        add(&site, "a", "team/draft", "team");
        add(&site, "b", "team/release", "team");
        release(&site, "b", &["--key=key-4"]);
        merge_drafts(&site);
        is_refused(&site, "team", &format!("{} --key=key-4", KEYS.join(" ")));
        assert!(run(&site, "b", "list", 0).contains("team/release"));
    }
}

/// The written file that a draft was made upon is lost, or version control left it with the marks of a merge.
#[test]
fn a_merged_draft_is_refused_too_where_nobody_can_read_what_is_written() {
    for flags in LAYOUTS {
        for spoilt in [None, Some("<<<<<<< ours\n")] {
            let site = copies(flags);
            run(&site, "a", "bump team --version 7", 0);
            add(&site, "b", "team/release", "team");
            release(&site, "b", &["--key=key-4"]);
            merge_drafts(&site);
            spoil(&site, "b", "team.json", spoilt);
            let words = run(&site, "b", &format!("write {} --key=key-4", KEYS.join(" ")), 5);
            assert!(words.contains("made upon a written file that is missing or damaged"), "{words}");
            assert!(words.contains("discard team"), "{words}");
            // what is given up is the draft: the role is not made anew without its targets
            run(&site, "b", "discard team", 0);
            assert!(!site.folder.path("b/metadata.staged/.drafts/team.json").exists());
            run(&site, "b", "pull --from www", 0);
            assert!(run(&site, "b", "list", 0).contains("team/release"));
        }
    }
}

/// A role that is delegated again after a revocation has a draft above what clients may have seen, and nothing written.
#[test]
fn a_merged_draft_of_a_role_that_both_copies_delegate_again_is_refused() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        let delegate = ["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"];
        let write = [
            "write",
            "--key=../key-0",
            "--key=../key-1",
            "--key=../key-2",
            "--key=../key-3",
            "--key=../key-4",
        ];
        site.run(&delegate).exits(0);
        site.run(&write).exits(0);
        site.run(&["revoke", "team"]).exits(0);
        site.write_all().exits(0);
        copy_twice(&site);
        run(&site, "b", "publish --to www", 0);
        for copy in ["a", "b"] {
            run(&site, copy, "delegate team --key key-4.pub --paths team/*", 0);
        }
        run(&site, "a", "bump team --version 7", 0);
        add(&site, "b", "team/release", "team");
        release(&site, "b", &["--key=key-4"]);
        merge_drafts(&site);
        run(&site, "b", "discard targets", 0);
        is_refused(&site, "team", &format!("{} --key=key-4", KEYS.join(" ")));
        assert!(run(&site, "b", "list", 0).contains("team/release"));
    }
}

/// Damages the newest written files of a role, or removes them.
fn spoil(site: &Site, copy: &str, name: &str, bytes: Option<&str>) {
    let staged = site.folder.path(&format!("{copy}/metadata.staged"));
    let files = fs::read_dir(staged).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|file| file.to_str().unwrap().ends_with(name)) {
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
    }
}

#[test]
fn a_merged_draft_of_the_root_does_not_trust_a_key_again_that_was_taken_away() {
    for flags in LAYOUTS {
        let site = copies(flags);
        run(&site, "a", "expire root 200d", 0);
        run(&site, "b", "rotate-key timestamp --old key-3.pub --new key-5.pub", 0);
        run(&site, "b", "write --key=key-0 --key=key-5", 0);
        run(&site, "b", "publish --to www", 0);
        merge_drafts(&site);
        is_refused(&site, "root", "--key=key-0 --key=key-1 --key=key-2 --key=key-5");
    }
}

/// Two copies have written a root of the same version, and version control keeps one of them.
#[test]
fn a_merged_draft_upon_a_root_that_gave_way_is_refused_though_its_version_is_the_next() {
    for flags in LAYOUTS {
        let site = copies(flags);
        run(&site, "a", "rotate-key snapshot --old key-2.pub --new key-4.pub", 0);
        run(&site, "a", "write --key=key-0 --key=key-3 --key=key-4", 0);
        run(&site, "a", "expire root 200d", 0);
        run(&site, "b", "rotate-key timestamp --old key-3.pub --new key-5.pub", 0);
        run(&site, "b", "write --key=key-0 --key=key-5", 0);
        merge_drafts(&site);
        is_refused(&site, "root", "--key=key-0 --key=key-1 --key=key-2 --key=key-5");
    }
}

/// A draft of the old version that differs from what is written in nothing but its dates undoes nothing.
#[test]
fn a_merged_draft_of_new_dates_is_gone_on_with() {
    for flags in LAYOUTS {
        for bump in ["bump targets", "bump targets --version 9"] {
            let site = copies(flags);
            run(&site, "a", bump, 0);
            run(&site, "b", "expire targets 200d", 0);
            release(&site, "b", &[]);
            merge_drafts(&site);
            run(&site, "b", &format!("write {}", KEYS.join(" ")), 0);
            run(&site, "b", "publish --to www", 0);
        }
    }
}

#[test]
fn a_merged_draft_whose_version_was_chosen_by_hand_takes_nothing_off_the_list_either() {
    for flags in LAYOUTS {
        for (role, path, keys) in
            [("targets", "", KEYS.join(" ")), ("team", "team/", KEYS.join(" ") + " --key=key-4")]
        {
            for bump_first in [true, false] {
                let site = copies(flags);
                let bump = format!("bump {role} --version 5");
                if bump_first {
                    run(&site, "a", &bump, 0);
                }
                add(&site, "a", &format!("{path}draft"), role);
                if !bump_first {
                    run(&site, "a", &bump, 0);
                }
                add(&site, "b", &format!("{path}release"), role);
                release(&site, "b", &["--key=key-4"]);
                merge_drafts(&site);
                is_refused(&site, role, &keys);
                assert!(run(&site, "b", "list", 0).contains("release"));
            }
        }
    }
}

/// The version of the draft is above the written one because a killed `write` has used one up.
#[test]
fn a_merged_draft_after_a_write_that_was_killed_does_not_either() {
    let site = copies(&[]);
    add(&site, "a", "draft", "targets");
    copy_folder(&site.folder.path("a"), &site.folder.path("killed"));
    run(&site, "killed", &format!("write {}", KEYS.join(" ")), 0);
    let put = "metadata.staged/3.targets.json";
    fs::copy(site.folder.path("killed").join(put), site.folder.path("a").join(put)).unwrap();
    add(&site, "a", "more", "targets");
    add(&site, "b", "release", "targets");
    release(&site, "b", &[]);
    merge_drafts(&site);
    is_refused(&site, "targets", &KEYS.join(" "));
    assert!(run(&site, "b", "list", 0).contains("release"));
}

#[test]
fn a_merged_draft_of_a_delegation_does_not_take_a_colleagues_delegation_away() {
    for flags in LAYOUTS {
        let site = copies(flags);
        run(&site, "a", "delegate mine --key key-5.pub --paths m/*", 0);
        run(&site, "a", "bump targets --version 9", 0);
        run(&site, "b", "revoke team", 0);
        release(&site, "b", &[]);
        merge_drafts(&site);
        is_refused(&site, "targets", &KEYS.join(" "));
    }
}

#[test]
fn a_draft_from_before_the_first_write_does_not_replace_a_colleagues_first_release() {
    for flags in LAYOUTS {
        let site = Site::trusted(flags);
        copy_twice(&site);
        add(&site, "a", "draft", "targets");
        run(&site, "a", "bump targets --version 5", 0);
        add(&site, "b", "release", "targets");
        release(&site, "b", &[]);
        let drafts = site.folder.path("b/metadata.staged/.drafts");
        fs::create_dir_all(&drafts).unwrap();
        fs::copy(site.folder.path("a/metadata.staged/.drafts/targets.json"), drafts.join("targets.json"))
            .unwrap();
        copy_folder(&site.folder.path("a/targets"), &site.folder.path("b/targets"));
        is_refused(&site, "targets", &KEYS.join(" "));
        assert!(run(&site, "b", "list", 0).contains("release"));
    }
}

/// What the copy itself writes between two edits leaves the draft what it is.
#[test]
fn a_draft_with_a_chosen_version_goes_on_after_writes_of_other_roles() {
    for flags in LAYOUTS {
        let site = copies(flags);
        add(&site, "b", "draft", "targets");
        run(&site, "b", "bump targets --version 5", 0);
        run(&site, "b", "bump team", 0);
        run(&site, "b", "write team --key=key-2 --key=key-3 --key=key-4", 0);
        run(&site, "b", "refresh --within 3d --key=key-2 --key=key-3", 0);
        add(&site, "b", "more", "targets");
        release(&site, "b", &[]);
        assert!(run(&site, "b", "list", 0).contains("draft"));
    }
}

/// A draft that cannot be used stops neither the cron job nor a publication: neither of them uses it.
fn is_left_alone(site: &Site, role: &str, words: &str) {
    let draft = site.folder.path(&format!("b/metadata.staged/.drafts/{role}.json"));
    let before = fs::read(&draft).unwrap();
    for line in [
        "refresh --key=key-3",
        "refresh --within 8d --key=key-2 --key=key-3",
        "publish --to www --dry-run",
        "publish --to www",
    ] {
        let told = run(site, "b", line, 0);
        assert!(told.contains(words) && told.contains(&format!("discard {role}")), "{line}: {told}");
    }
    // due itself, the role is left and named, and the others are signed
    let told = run(site, "b", &format!("refresh --within 400d {} --key=key-4", KEYS.join(" ")), 3);
    assert!(told.contains(&format!("'{role}'")), "{told}");
    run(site, "b", "publish --to www", 0);
    assert_eq!(fs::read(&draft).unwrap(), before);
    let told = run(site, "b", &format!("write {role} {}", KEYS.join(" ")), 5);
    assert!(told.contains(&format!(".drafts/{role}.json: ")), "{told}");
    run(site, "b", &format!("discard {role}"), 0);
    assert!(!draft.exists());
}

#[test]
fn a_merged_draft_stops_neither_refresh_nor_publish() {
    for flags in LAYOUTS {
        let site = copies(flags);
        add(&site, "a", "draft", "targets");
        add(&site, "b", "release", "targets");
        run(&site, "b", &format!("write {}", KEYS.join(" ")), 0);
        merge_drafts(&site);
        is_left_alone(&site, "targets", "was made before v");
        assert!(run(&site, "b", "list", 0).contains("release"));
    }
}

#[test]
fn a_draft_that_is_no_metadata_stops_neither_refresh_nor_publish() {
    for flags in LAYOUTS {
        for role in ["root", "team", "targets"] {
            let site = copies(flags);
            let drafts = site.folder.path("b/metadata.staged/.drafts");
            fs::create_dir_all(&drafts).unwrap();
            fs::write(drafts.join(format!("{role}.json")), "<<<<<<< ours").unwrap();
            is_left_alone(&site, role, "cannot be used");
        }
    }
}

#[test]
fn refresh_names_a_draft_of_the_timestamp_that_is_no_metadata() {
    for flags in LAYOUTS {
        let site = copies(flags);
        let draft = site.folder.path("b/metadata.staged/.drafts/timestamp.json");
        fs::create_dir_all(draft.parent().unwrap()).unwrap();
        fs::write(&draft, "<<<<<<< ours").unwrap();
        run(&site, "b", "publish --to www", 0);
        let before = contents(&site.folder.path("b"));
        let told = run(&site, "b", "refresh --within 8d --key=key-2 --key=key-3", 5);
        assert!(told.contains(".drafts/timestamp.json") && told.contains("discard timestamp"), "{told}");
        let differs = difference(&before, &contents(&site.folder.path("b")));
        assert!(differs.is_empty(), "{differs:?}");
    }
}

/// A copy `b` in which a draft of a role cannot be used.
fn spoilt(flags: &[&str], role: &str, bytes: &str) -> Site {
    let site = copies(flags);
    let drafts = site.folder.path("b/metadata.staged/.drafts");
    fs::create_dir_all(&drafts).unwrap();
    fs::write(drafts.join(format!("{role}.json")), bytes).unwrap();
    site
}

const NO_METADATA: [&str; 3] = ["<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n", "", "{\"signed\": 1}"];

#[test]
fn a_draft_that_cannot_be_used_stops_no_edit_of_another_role_and_is_left_as_it_is() {
    for flags in LAYOUTS {
        for (role, bytes) in ["team", "targets", "root"].into_iter().zip(NO_METADATA) {
            let site = spoilt(flags, role, bytes);
            let file = format!("b/metadata.staged/.drafts/{role}.json");
            let edits = ["expire snapshot 30d", "bump timestamp", "expire timestamp 2d", "discard timestamp"];
            let of_targets = ["threshold team 1", "delegate other --key key-1.pub --paths other/*"];
            let of_targets = of_targets.iter().filter(|_| role != "targets");
            for line in edits.iter().chain(of_targets) {
                let told = run(&site, "b", line, 0);
                let is_discard = line.starts_with("discard");
                assert!(is_discard || told.contains(&format!("discard {role}")), "{line}: {told}");
            }
            if role != "targets" {
                add(&site, "b", "more", "targets");
            }
            assert_eq!(fs::read_to_string(site.folder.path(&file)).unwrap(), bytes);
            // an edit of the role itself would take its place
            let before = contents(&site.folder.path("b"));
            let told = run(&site, "b", &format!("bump {role}"), 5);
            assert!(told.contains(&format!(".drafts/{role}.json: ")), "{told}");
            assert!(told.contains(&format!("discard {role}")), "{told}");
            assert_eq!(difference(&before, &contents(&site.folder.path("b"))), Vec::<String>::new());
            let told = run(&site, "b", "doctor", 0);
            assert!(told.contains(&format!("the draft of '{role}' cannot be used")), "{told}");
            run(&site, "b", &format!("discard {role}"), 0);
            assert!(!site.folder.path(&file).exists());
            run(&site, "b", &format!("bump {role}"), 0);
        }
    }
}

#[test]
fn pull_names_a_draft_that_cannot_be_used_and_how_to_give_it_up() {
    for flags in LAYOUTS {
        for (role, bytes) in ["team", "timestamp", "targets"].into_iter().zip(NO_METADATA) {
            let site = spoilt(flags, role, bytes);
            add(&site, "a", "release", "targets");
            release(&site, "a", &[]);
            let before = contents(&site.folder.path("b"));
            for more in ["", " --set-aside", " --dry-run", " --yes --targets"] {
                let told = run(&site, "b", &format!("pull --from www{more}"), 3);
                assert!(told.contains(&format!("the draft of '{role}' cannot be used")), "{told}");
                assert!(told.contains(&format!("discard {role}")), "{told}");
            }
            assert_eq!(difference(&before, &contents(&site.folder.path("b"))), Vec::<String>::new());
            run(&site, "b", &format!("discard {role}"), 0);
            run(&site, "b", "pull --from www --yes", 0);
        }
    }
}

#[test]
fn gc_goes_on_beside_a_draft_that_cannot_be_used_where_it_knows_what_that_lists() {
    for flags in LAYOUTS {
        let collect = ["gc", "gc --to www", "gc --dry-run"];
        for (role, bytes) in ["root", "timestamp", "snapshot"].into_iter().zip(NO_METADATA) {
            let site = spoilt(flags, role, bytes);
            for line in collect {
                assert!(run(&site, "b", line, 0).contains(&format!("discard {role}")), "{role} {line}");
            }
        }
        // what a draft lists that is no metadata nobody knows
        for (role, bytes) in ["team", "targets", "team"].into_iter().zip(NO_METADATA) {
            let site = spoilt(flags, role, bytes);
            for line in collect {
                let told = run(&site, "b", line, 5);
                assert!(told.contains(&format!(".drafts/{role}.json: ")), "{told}");
                assert!(told.contains(&format!("discard {role}")), "{told}");
            }
            run(&site, "b", &format!("discard {role}"), 0);
            run(&site, "b", "gc", 0);
        }
        // one that was made upon something older says what it lists
        let site = copies(flags);
        add(&site, "a", "draft", "targets");
        add(&site, "b", "release", "targets");
        run(&site, "b", &format!("write {}", KEYS.join(" ")), 0);
        merge_drafts(&site);
        for line in collect {
            assert!(run(&site, "b", line, 0).contains("discard targets"), "{line}");
        }
    }
}

#[test]
fn an_edit_leaves_the_drafts_of_roles_that_only_an_unusable_draft_leads_to() {
    for flags in LAYOUTS {
        let site = copies(flags);
        run(&site, "b", "delegate new --key key-1.pub --paths new/*", 0);
        let drafts = site.folder.path("b/metadata.staged/.drafts");
        let new = fs::read(drafts.join("new.json")).unwrap();
        fs::write(drafts.join("targets.json"), "<<<<<<< ours").unwrap();
        for line in ["expire snapshot 30d", "bump timestamp", "discard timestamp"] {
            run(&site, "b", line, 0);
        }
        assert_eq!(fs::read(drafts.join("new.json")).unwrap(), new);
        run(&site, "b", "discard new", 0);
        assert!(!drafts.join("new.json").exists() && drafts.join("targets.json").exists());
        run(&site, "b", "discard", 0);
        assert!(!drafts.join("targets.json").exists());
    }
}

#[test]
fn conflict_marks_in_what_is_written_stop_neither_discard_nor_doctor() {
    for flags in LAYOUTS {
        let snapshot = "snapshot.json";
        for (name, bytes) in [
            ("timestamp.json", "<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n"),
            (snapshot, "{"),
            ("root.json", ""),
            ("../tuf-repo.toml", "<<<<<<< ours\n"),
        ] {
            let site = copies(flags);
            run(&site, "b", "expire targets 30d", 0);
            run(&site, "b", "bump team", 0);
            let drafts = site.folder.path("b/metadata.staged/.drafts");
            let written = site.folder.path("b/metadata.staged").join(name);
            let all = contents(&site.folder.path("b/metadata.staged"));
            let newest = all.keys().rfind(|known| known.ends_with(name)).cloned().unwrap_or_default();
            let written =
                if newest.is_empty() { written } else { site.folder.path("b/metadata.staged").join(newest) };
            fs::write(&written, bytes).unwrap();
            let before = contents(&site.folder.path("b"));
            run(&site, "b", "discard --dry-run", 0);
            assert!(run(&site, "b", "discard nobody", 2).contains("no role 'nobody'"));
            assert_eq!(difference(&before, &contents(&site.folder.path("b"))), Vec::<String>::new());
            if name.ends_with(".json") {
                let told = run(&site, "b", "doctor", 0);
                let name = written.file_name().unwrap().to_str().unwrap();
                assert!(told.contains(name) && told.contains("version control"), "{told}");
            }
            run(&site, "b", "discard team", 0);
            assert!(drafts.join("targets.json").exists() && !drafts.join("team.json").exists());
            run(&site, "b", "discard", 0);
            assert!(!drafts.join("targets.json").exists());
            assert_eq!(fs::read_to_string(&written).unwrap(), bytes);
        }
    }
}
