//! After keys were stolen and `publish --recover` has put things right: what the thief left at the destination, and copies that had
//! taken his release over.

use std::fs;
use std::path::Path;

use crate::ancestors::Team;
use crate::support::Ran;

const STOLEN: [&str; 3] = ["targets", "snapshot", "timestamp"];

/// Lets a thief publish releases with the stolen keys, then the copy `A` recover. `B` had pulled the thief's last release.
/// `ahead` is the version that the thief's roles have at least.
fn recovered(flags: &[&str], ahead: &str) -> Team {
    let team = Team::new(flags);
    team.copies("A", "thief");
    team.copies("A", "B");
    for role in STOLEN {
        team.copy("thief", &["bump", role, "--version", ahead]).exits(0);
    }
    team.copy("thief", &["delegate", "evilrole", "--key", "new-team.pub", "--paths", "x/*"]).exits(0);
    team.release("thief", "targets", "evil");
    team.release("thief", "evilrole", "x/more");
    team.copy("thief", &["publish", "--to", "www"]).exits(0);
    team.copy("B", &["pull", "--from", "www", "--yes", "--targets"]).exits(0);
    for role in STOLEN {
        let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
        team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
    }
    team.write("A").exits(0);
    let recover = ["publish", "--to", "www", "--recover", "targets", "snapshot", "timestamp", "--yes"];
    team.copy("A", &recover).exits(0);
    team
}

fn collect(team: &Team, copy: &str, more: &[&str]) -> Ran {
    let gc = ["gc", "--to", "www", "--keep", "1", "--keep-within", "0s"];
    team.copy(copy, &[&gc[..], more].concat()).exits(0)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        names.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
    }
    names.sort();
    names
}

#[test]
fn what_a_thief_left_above_all_versions_is_named_by_gc_and_nothing_of_it_is_deleted_unproved() {
    let team = recovered(&[], "7");
    let www = team.folder.path("www");
    let before = names(&www.join("targets/x"));
    let ran = collect(&team, "A", &["-v"]);
    // role files that this copy never knew stay, and are named; so are the targets that nothing else lists
    for file in ["metadata/7.targets.json", "metadata/8.targets.json", "metadata/2.evilrole.json"] {
        let is_there = www.join(file).exists();
        assert_eq!(ran.stderr.contains(&format!("(SECURITY.md): {file}")), is_there, "{file}: {ran:?}");
    }
    assert!(ran.stderr.contains("metadata/7.targets.json"), "{ran:?}");
    assert!(ran.stderr.contains(".evil\n") && ran.stderr.contains(".more\n"), "{ran:?}");
    assert_eq!(names(&www.join("targets/x")), before);
    // snapshots list no file, and the roots vouch for them
    assert!(!www.join("metadata/8.snapshot.json").exists(), "{ran:?}");
    team.copy("A", &["verify", "--live", "--to", "www"]).exits(0);
    let json = collect(&team, "A", &["--json"]).json();
    assert!(json["unknown"].as_array().unwrap().contains(&"metadata/7.targets.json".into()), "{json}");
    assert!(json["left"]["unlisted"].as_u64().unwrap() >= 2, "{json}");
}

#[test]
fn a_copy_that_had_taken_the_thiefs_release_over_deletes_no_target_by_what_the_thief_listed() {
    let team = recovered(&[], "7");
    team.copy("B", &["pull", "--from", "www", "--yes"]).exits(3);
    let www = team.folder.path("www");
    // somebody else's file beside the thief's
    fs::write(www.join("targets/x/page.html"), "mine").unwrap();
    let before = names(&www.join("targets/x"));
    let ran = collect(&team, "B", &[]);
    assert!(ran.stderr.contains("(SECURITY.md): metadata/7.targets.json"), "{ran:?}");
    assert!(ran.stderr.contains("(SECURITY.md): metadata/2.evilrole.json"), "{ran:?}");
    assert!(!www.join("metadata/8.snapshot.json").exists(), "{ran:?}");
    assert_eq!(names(&www.join("targets/x")), before);
    team.copy("A", &["verify", "--live", "--targets", "--to", "www"]).exits(0);
}

#[test]
fn a_copy_that_had_taken_the_thiefs_release_over_goes_on_unattended() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for ahead in ["2", "7"] {
            let team = recovered(flags, ahead);
            let ran = team.copy("B", &["pull", "--from", "www", "--yes"]).exits(3);
            assert!(ran.stderr.contains("only keys signed it that the live root takes away"), "{ran:?}");
            assert!(ran.stderr.contains("hint: a thief may have published it"), "{ran:?}");
            team.copy("B", &["pull", "--from", "www", "--yes"]).exits(0);
            let listed = team.copy("B", &["list"]).exits(0).stdout;
            assert!(listed.contains('a') && !listed.contains("evil"), "{listed}");
            team.release("B", "targets", "b");
            team.copy("B", &["publish", "--to", "www"]).exits(0);
        }
    }
}

#[test]
fn a_draft_upon_a_thiefs_release_is_named_before_anything_moves() {
    let team = recovered(&[], "7");
    // a draft upon the thief's release
    fs::write(team.folder.path("B/targets/mine"), "mine").unwrap();
    team.copy("B", &["add-targets", "B/targets/mine"]).exits(0);
    let ran = team.copy("B", &["pull", "--from", "www", "--yes"]).exits(3);
    assert!(ran.stderr.contains("work here is in the way"), "{ran:?}");
    team.copy("B", &["pull", "--from", "www", "--yes", "--set-aside"]).exits(3);
}

#[test]
fn fewer_roles_than_must_be_recovered_get_a_hint_that_can_be_pasted() {
    let team = Team::new(&[]);
    team.copies("A", "thief");
    team.release("thief", "targets", "evil");
    team.copy("thief", &["publish", "--to", "www"]).exits(0);
    for role in STOLEN {
        let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
        team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
    }
    team.write("A").exits(0);
    for recover in [
        &["publish", "--recover", "snapshot", "--to", "www"][..],
        &["publish", "--to", "www", "--recover", "targets"],
        &["publish", "--to", "www", "--recover=timestamp"],
    ] {
        let ran = team.copy("A", recover).exits(5);
        let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap();
        let (_, command) = hint.split_once(": tuf-repo ").unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        team.folder.run(&[&words[..], &["--dry-run"]].concat()).exits(0);
    }
}
