//! Copies of one repository whose files and histories were merged, by version control or by hand, and places that lost their
//! snapshot: no release of a colleague's vanishes, and each refusal says what leads on. With the real program.

use std::fs;

use crate::ancestors::Team;
use crate::world::{contents, difference};

const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

/// Two copies: A has released a target, B has written twice without knowing it.
fn apart(flags: &[&str]) -> Team {
    let team = Team::new(flags);
    team.copies("A", "B");
    team.release("A", "targets", "z");
    team.copy("A", &["publish", "--to", "www"]).exits(0);
    team.release("B", "targets", "q");
    team.release("B", "targets", "q2");
    team
}

/// Keeps the lines of both histories in B.
fn merge(team: &Team) {
    let read = |name: &str| fs::read_to_string(team.folder.path(name).join(".tuf-history")).unwrap();
    fs::write(team.folder.path("B/.tuf-history"), read("A") + &read("B")).unwrap();
}

/// Copies A's files of version 2 into B, as `git checkout --theirs` does.
fn take_files(team: &Team) {
    for entry in fs::read_dir(team.folder.path("A/metadata.staged")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("2.") {
            let from = team.folder.path("A/metadata.staged").join(&name);
            fs::copy(from, team.folder.path("B/metadata.staged").join(&name)).unwrap();
        }
    }
}

const PULL: &str =
    "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r B pull --from www";

#[test]
fn a_colleagues_files_beside_the_own_ones_are_no_ancestors_and_a_merge_is_called_a_merge() {
    let team = apart(&[]);
    take_files(&team);
    team.refused("B", &["publish", "--to", "www"], "metadata/2.targets.json", PULL);
    merge(&team);
    team.refused("B", &["publish", "--to", "www"], "metadata/2.targets.json", PULL);
    let said = team.copy("B", &["publish", "--to", "www"]).exits(5).stderr;
    assert!(said.contains("two copies of the repository wrote this version"), "{said}");
    // the way on is real: the copy that released it goes on, and this one says what is in its way
    team.copy("B", &["pull", "--from", "www"]).exits(3);
    team.release("A", "targets", "next");
    team.copy("A", &["publish", "--to", "www"]).exits(0);
}

#[test]
fn a_copy_that_skipped_versions_does_not_publish_over_a_release_whose_lines_were_merged_in() {
    for flags in LAYOUTS {
        for version in ["3", "20310301"] {
            let team = Team::new(flags);
            team.copies("A", "B");
            team.release("A", "targets", "z");
            team.copy("A", &["publish", "--to", "www"]).exits(0);
            for role in ["targets", "snapshot", "timestamp"] {
                team.copy("B", &["bump", role, "--version", version]).exits(0);
            }
            team.release("B", "targets", "q");
            merge(&team);
            let number = if flags.is_empty() { "2." } else { "" };
            let file = format!("metadata/{number}targets.json");
            team.refused("B", &["publish", "--to", "www"], &file, PULL);
        }
    }
}

#[test]
fn after_a_merge_that_keeps_what_is_live_a_pull_settles_whose_it_is() {
    for flags in LAYOUTS {
        let team = apart(flags);
        // B gives its own work up for A's, and its history keeps the lines of both
        merge(&team);
        let staged = team.folder.path("B/metadata.staged");
        fs::remove_dir_all(&staged).unwrap();
        team.copies("A/metadata.staged", "B/metadata.staged");
        fs::copy(team.folder.path("A/targets/z"), team.folder.path("B/targets/z")).unwrap();
        team.copy("B", &["pull", "--from", "www"]).exits(0);
        team.release("B", "targets", "more");
        team.copy("B", &["publish", "--to", "www"]).exits(0);
    }
}

#[test]
fn a_release_whose_files_were_lost_is_replaced_only_on_demand() {
    for flags in LAYOUTS {
        let team = apart(flags);
        let number = if flags.is_empty() { "2." } else { "" };
        let lose = |name: &str| {
            fs::remove_file(team.folder.path("www/metadata").join(format!("{number}{name}.json"))).unwrap();
        };
        lose("snapshot");
        let publish = ["publish", "--to", "www"];
        let away = "let the copy that wrote it publish once more, which mends the place";
        team.refused("B", &publish, &format!("metadata/{number}targets.json"), away);
        lose("targets");
        team.refused("B", &publish, "metadata/timestamp.json", away);
        let said = team.copy("B", &publish).exits(5).stderr;
        assert!(said.contains("where no copy has it, here: tuf-repo -r B"), "{said}");
        team.copy("B", &["publish", "--to", "www", "--replace-damaged"]).exits(0);
    }
}

#[test]
fn a_conflict_marker_in_the_history_stops_every_command_that_needs_it_and_none_that_does_not() {
    let team = apart(&[]);
    let history = team.folder.path("B/.tuf-history");
    let whole = fs::read_to_string(&history).unwrap();
    let cut = whole.trim_end().rsplit_once('0').unwrap().0;
    let damages = [
        format!("<<<<<<< HEAD\n{whole}=======\n>>>>>>> theirs\n"),
        whole.replacen("root 1 ", "root one ", 1),
        cut.to_owned(),
    ];
    for damaged in &damages {
        fs::write(&history, damaged).unwrap();
        let before = contents(&team.folder.path("."));
        for args in [
            &["publish", "--to", "www"][..],
            &["publish"],
            &["write", "--key", "key-targets"],
            &["refresh", "--key", "key-timestamp"],
            &["status"],
            &["status", "--check"],
            &["add-targets", "B/targets/q"],
            &["sign", "--key", "key-targets"],
            &["pull", "--from", "www"],
            &["gc"],
            &["bump", "targets"],
        ] {
            let ran = team.copy("B", args).exits(2);
            assert!(ran.stderr.contains(".tuf-history, line "), "{args:?} {ran:?}");
            assert!(ran.stderr.contains("keep the lines of both sides"), "{args:?} {ran:?}");
        }
        let changed = difference(&before, &contents(&team.folder.path(".")));
        assert!(changed.is_empty(), "{changed:?}");
        let doctor = team.copy("B", &["doctor"]).exits(0).stdout;
        assert!(
            doctor.contains(".tuf-history") && doctor.contains("keep the lines of both sides"),
            "{doctor}"
        );
        for args in [&["list"][..], &["diff"], &["discard"], &["verify"]] {
            team.copy("B", args).exits(0);
        }
    }
    // the hint works
    fs::write(
        &history,
        damages[0].lines().filter(|line| !line.contains(['<', '=', '>'])).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    team.copy("B", &["status"]).exits(0);
    team.release("B", "targets", "q3");
}

#[test]
fn an_own_second_place_that_is_older_than_what_gc_left_is_no_backup_that_was_put_back() {
    for flags in LAYOUTS {
        let team = Team::new(flags);
        team.copy("A", &["publish"]).exits(0);
        team.release("A", "targets", "b");
        team.release("A", "targets", "c");
        team.copy("A", &["publish", "--to", "second"]).exits(0);
        team.release("A", "targets", "d");
        team.release("A", "targets", "e");
        // the own metadata keeps its snapshot, the ones in between go
        team.copy("A", &["gc", "--keep", "1", "--keep-within", "0s"]).exits(0);
        if flags.is_empty() {
            let there = |name: &str| team.folder.path("A/metadata.staged").join(name).exists();
            assert!(there("1.snapshot.json") && !there("3.snapshot.json"));
        }
        team.copy("A", &["publish", "--to", "second"]).exits(0);
    }
}

/// B has A's history in the place of its own, as `git checkout --theirs .tuf-history` leaves it.
fn take_history(team: &Team) {
    fs::copy(team.folder.path("A/.tuf-history"), team.folder.path("B/.tuf-history")).unwrap();
}

/// A has released a target, B has another one under the versions that come after A's, and A's history.
fn with_their_history(flags: &[&str], jumps: bool) -> Team {
    let team = Team::new(flags);
    team.copies("A", "B");
    team.release("A", "targets", "z");
    team.copy("A", &["publish", "--to", "www"]).exits(0);
    if jumps {
        for role in ["targets", "snapshot", "timestamp"] {
            team.copy("B", &["bump", role, "--version", "3"]).exits(0);
        }
    } else {
        team.release("B", "targets", "q");
    }
    team.release("B", "targets", "q2");
    take_history(&team);
    team
}

/// Removes B's older files of the roles that it has written again, as `gc` does.
fn collect_older(team: &Team) {
    for version in [1, 2] {
        for role in ["targets", "snapshot"] {
            let file = team.folder.path("B/metadata.staged").join(format!("{version}.{role}.json"));
            if file.exists() {
                fs::remove_file(file).unwrap();
            }
        }
    }
}

#[test]
fn the_history_of_a_colleague_checked_out_over_the_own_one_does_not_make_the_release_an_ancestor() {
    for flags in LAYOUTS {
        for jumps in [true, false] {
            for collected in [true, false] {
                let team = with_their_history(flags, jumps);
                if collected {
                    collect_older(&team);
                }
                let number = if flags.is_empty() { "2." } else { "" };
                let file = format!("metadata/{number}targets.json");
                team.refused("B", &["publish", "--to", "www"], &file, PULL);
                // nor after one more write, which would have told a gap with the digest of A's file
                team.release("B", "targets", "q3");
                team.refused("B", &["publish", "--to", "www"], &file, PULL);
                // the hint leads on: B's work is kept aside, and made again upon A's
                team.copy("B", &["pull", "--from", "www"]).exits(3);
                team.copy("B", &["pull", "--from", "www", "--set-aside", "--yes"]).exits(3);
                team.release("B", "targets", "q4");
                team.copy("B", &["publish", "--to", "www"]).exits(0);
                assert!(team.copy("B", &["--json", "list"]).exits(0).stdout.contains("\"z\""));
            }
        }
    }
}

#[test]
fn a_copy_without_its_history_does_not_take_a_colleagues_files_beside_its_own_for_its_past() {
    let team = apart(&[]);
    fs::remove_file(team.folder.path("B/.tuf-history")).unwrap();
    take_files(&team);
    team.refused("B", &["publish", "--to", "www"], "metadata/2.targets.json", PULL);
    team.release("B", "targets", "q3");
    team.refused("B", &["publish", "--to", "www"], "metadata/2.targets.json", PULL);
}

const MEND: &str = "let the copy that wrote it publish once more";

#[test]
fn a_place_that_lost_a_root_is_not_published_over_by_a_copy_that_does_not_know_who_signed_there() {
    for flags in LAYOUTS {
        for lost in [&["2.root.json"][..], &["2.root.json", "3.root.json", "root.json"]] {
            let team = Team::new(flags);
            team.copies("A", "B");
            team.copy("A", &["bump", "root"]).exits(0);
            team.write("A").exits(0);
            team.copy("A", &["publish", "--to", "www"]).exits(0);
            for role in ["timestamp", "snapshot", "targets"] {
                let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
                team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
            }
            team.release("A", "targets", "z");
            team.copy("A", &["publish", "--to", "www"]).exits(0);
            for name in lost {
                fs::remove_file(team.folder.path("www/metadata").join(name)).unwrap();
            }
            team.release("B", "targets", "q");
            let file = if lost.len() == 1 { "metadata/3.root.json" } else { "metadata/timestamp.json" };
            team.refused("B", &["publish", "--to", "www"], file, MEND);
            team.refused("B", &["publish", "--to", "www", "--replace-damaged"], file, MEND);
            // the hint leads on
            team.copy("A", &["publish", "--to", "www"]).exits(0);
            team.copy("B", &["pull", "--from", "www", "--set-aside", "--yes"]).exits(3);
            team.release("B", "targets", "q2");
            team.copy("B", &["publish", "--to", "www"]).exits(0);
        }
    }
}

#[test]
fn a_release_beside_a_timestamp_that_was_put_back_is_not_put_out_of_sight() {
    let team = Team::new(&[]);
    team.copies("A", "B");
    team.release("A", "targets", "z");
    team.copy("A", &["publish", "--to", "www"]).exits(0);
    fs::copy(
        team.folder.path("B/metadata.staged/timestamp.json"),
        team.folder.path("www/metadata/timestamp.json"),
    )
    .unwrap();
    team.release("B", "targets", "q");
    team.release("B", "targets", "q2");
    let publish = ["publish", "--to", "www"];
    let said = team.copy("B", &[&publish[..], &["--dry-run"]].concat()).exits(0).stderr;
    assert!(said.contains("metadata/2.snapshot.json: is a newer snapshot"), "{said}");
    // the copy that wrote the release mends the place
    team.copy("A", &publish).exits(0);
    team.refused("B", &publish, "metadata/2.targets.json", PULL);
}
