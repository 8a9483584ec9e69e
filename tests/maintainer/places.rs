//! Places that `publish` must not take for what they are not: damaged, somebody else's, or the repository's own folders. With
//! the real programs.

use std::fs;

use crate::ancestors::Team;
use crate::cli::Site;
use crate::world::{contents, difference};

const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

#[test]
fn a_damaged_root_above_the_written_one_is_not_said_to_be_replaced() {
    for flags in LAYOUTS {
        for bytes in ["{", "{\"signatures\": [], \"signed\": {}}"] {
            let team = Team::new(flags);
            let damaged = team.folder.path("www/metadata/2.root.json");
            fs::write(&damaged, bytes).unwrap();
            team.release("A", "targets", "b");
            let said = team.copy("A", &["publish", "--to", "www"]).exits(0).stderr;
            assert!(said.contains("metadata/2.root.json: no client accepts it"), "{said}");
            assert!(said.contains("every client stops at it"), "{said}");
            assert!(!said.contains("takes its place"), "{said}");
            assert_eq!(fs::read_to_string(&damaged).unwrap(), bytes);
            // a new root does take its place
            team.copy("A", &["bump", "root"]).exits(0);
            team.write("A").exits(0);
            let said = team.copy("A", &["publish", "--to", "www"]).exits(0).stderr;
            assert_eq!(said.matches("what is written takes its place").count(), 1, "{said}");
            team.refresh("old").exits(0);
        }
    }
}

#[test]
fn a_damaged_file_that_nothing_is_put_over_is_not_said_to_be_replaced() {
    let team = Team::new(&[]);
    let damaged = team.folder.path("www/metadata/1.team.json");
    fs::write(&damaged, "{").unwrap();
    team.release("A", "team", "team/b");
    let said = team.copy("A", &["publish", "--to", "www"]).exits(0).stderr;
    assert!(said.contains("metadata/1.team.json: no client accepts it"), "{said}");
    assert!(said.contains("no client is led to it any more"), "{said}");
}

#[test]
fn a_place_that_lost_its_roots_and_its_timestamp_is_no_free_place() {
    for flags in LAYOUTS {
        for kept in ["targets", "snapshot"] {
            let (team, stranger) = (Team::new(flags), Team::new(flags));
            let number = if flags.is_empty() { "1." } else { "" };
            let name = format!("{number}{kept}.json");
            let place = team.folder.path("lost/metadata");
            fs::create_dir_all(&place).unwrap();
            fs::copy(stranger.folder.path("www/metadata").join(&name), place.join(&name)).unwrap();
            let hint = "let the copy that wrote it publish once more, which mends the place";
            team.refused("A", &["publish", "--to", "lost"], &format!("metadata/{name}"), hint);
            // this copy's own file is left of a publication that was cut short
            fs::copy(team.folder.path("www/metadata").join(&name), place.join(&name)).unwrap();
            team.copy("A", &["publish", "--to", "lost"]).exits(0);
        }
    }
}

#[test]
fn the_repositorys_own_folders_and_what_lies_in_them_are_no_destinations() {
    for flags in LAYOUTS {
        let team = Team::new(flags);
        #[cfg(unix)]
        std::os::unix::fs::symlink("A/metadata.staged", team.folder.path("link")).unwrap();
        let before = contents(&team.folder.path("."));
        for to in [
            "A/metadata.staged",
            "A/metadata.staged/.drafts",
            "A/metadata.staged/.drafts/new/er",
            "A/targets",
            "A/metadata",
            "./A/../A/targets",
            "link/x",
        ] {
            if cfg!(not(unix)) && to.starts_with("link") {
                continue;
            }
            for command in [&["publish", "--to", to][..], &["publish", "--dry-run", "--to", to]] {
                let ran = team.copy("A", command).exits(2);
                assert!(ran.stderr.contains("it is one of this repository's own folders"), "{to} {ran:?}");
            }
        }
        let changed = difference(&before, &contents(&team.folder.path(".")));
        assert!(changed.is_empty(), "{changed:?}");
        team.copy("A", &["publish", "--to", "A/www"]).exits(0);
    }
}

#[test]
fn a_killed_write_of_the_plain_layout_is_called_so() {
    let team = Team::new(&["--no-consistent-snapshot"]);
    let staged = team.folder.path("A/metadata.staged");
    for kept in [&["timestamp.json"][..], &["snapshot.json", "timestamp.json"]] {
        let before: Vec<Vec<u8>> = kept.iter().map(|name| fs::read(staged.join(name)).unwrap()).collect();
        team.release("A", "targets", &format!("b{}", kept.len()));
        for (name, bytes) in kept.iter().zip(before) {
            fs::write(staged.join(name), bytes).unwrap();
        }
        let ran = team.copy("A", &["publish", "--to", "www"]).exits(5);
        assert!(ran.stderr.contains("a write was killed before it was done"), "{ran:?}");
        assert!(ran.stderr.contains("hint: finish it: tuf-repo -r A write --key KEY\n"), "{ran:?}");
        team.write("A").exits(0);
        team.copy("A", &["publish", "--to", "www"]).exits(0);
    }
}

#[test]
fn the_history_of_another_repository_is_called_so_and_not_a_colleagues() {
    for flags in LAYOUTS {
        let (team, stranger) = (Team::new(flags), Team::new(flags));
        let history = team.folder.path("A/.tuf-history");
        let own = fs::read_to_string(&history).unwrap();
        let theirs = fs::read_to_string(stranger.folder.path("A/.tuf-history")).unwrap();
        team.release("A", "targets", "b");
        fs::write(&history, fs::read_to_string(&history).unwrap() + &theirs).unwrap();
        let hint = "put .tuf-history back as it was before that merge";
        team.refused("A", &["publish", "--to", "www"], ".tuf-history", hint);
        assert!(own.lines().count() < fs::read_to_string(&history).unwrap().lines().count());
        // the hint works
        let kept: Vec<String> = fs::read_to_string(&history)
            .unwrap()
            .lines()
            .filter(|line| !theirs.contains(*line))
            .map(ToOwned::to_owned)
            .collect();
        fs::write(&history, kept.join("\n")).unwrap();
        team.copy("A", &["publish", "--to", "www"]).exits(0);
    }
}

#[test]
fn a_bins_file_that_is_gone_here_and_live_there_stops_neither_the_cron_job_nor_its_publication() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.run(&["delegate", "bins", "--key", "../key-4.pub", "--bins", "4"]).exits(0);
        let ours = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"];
        site.run(&[&["write"][..], &ours[..]].concat()).exits(0);
        site.run(&["publish"]).exits(0);
        let name = if flags.is_empty() { "1.bins-2.json" } else { "bins-2.json" };
        fs::remove_file(site.path("metadata.staged").join(name)).unwrap();
        site.run(&["refresh", "--within", "2d", "--key=../key-3"]).exits(0);
        let said = site.run(&["publish"]).exits(0).stderr;
        assert_eq!(said.matches(name).count(), 1, "{said}");
        // a place that does not have it would go without
        site.run(&["publish", "--to", "../elsewhere"]).exits(5);
    }
}
