//! Metadata that somebody planted with a key of this repository, one that was taken away or a delegate's, leads no collection to
//! a file: the history does not know it. What was written here is collected all the same.

use std::fs;

use tuf::repository::HISTORY;

use crate::cli::Site;
use crate::foreign::{COLLECT, digest, listing, signed};
use crate::support::Ran;

/// A folder of metadata, by the places that are collected.
const PLACES: [(&str, &[&str]); 2] = [("repository", &[]), ("www", &["--to", "../www"])];

impl Site {
    /// Lists a file with new bytes by a role, writes with some keys, and publishes, also to `www` beside the repository.
    fn release_by(&self, role: &str, name: &str, text: &str, keys: &[usize]) {
        self.put(name, text);
        let path = format!("targets/{name}");
        self.run(&["add-targets", "--replace", "--role", role, &path]).exits(0);
        self.write_with(keys).exits(0);
        self.run(&["publish"]).exits(0);
        self.run(&["publish", "--to", "../www"]).exits(0);
    }

    fn write_with(&self, keys: &[usize]) -> Ran {
        let keys: Vec<String> = keys.iter().map(|number| format!("--key=../key-{number}")).collect();
        let args: Vec<&str> = ["write"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        self.run(&args)
    }

    /// Puts metadata under a name into every folder of metadata, and the file that it lists to the target files.
    fn plant_everywhere(&self, name: &str, bytes: &[u8]) {
        let file = format!("{}.tar.gz", digest("mine"));
        for (place, _) in PLACES {
            fs::write(self.folder.path(place).join("metadata").join(name), bytes).unwrap();
            fs::write(self.folder.path(place).join("targets").join(&file), "mine").unwrap();
        }
        fs::write(self.path("metadata.staged").join(name), bytes).unwrap();
    }

    /// Collects both places. Returns what was deleted.
    fn collect_both(&self) -> Vec<String> {
        let of_place = |(_, more): (&str, &[&str])| {
            let json = self.collect(more);
            let deleted = json["deleted"].as_array().unwrap().clone();
            deleted.into_iter().map(|name| name.as_str().unwrap().to_owned())
        };
        PLACES.into_iter().flat_map(of_place).collect()
    }

    /// Sees that what was planted is there.
    fn see_planted(&self, name: &str, bytes: &[u8]) {
        let file = format!("{}.tar.gz", digest("mine"));
        for (place, _) in PLACES {
            let (metadata, targets) =
                (self.folder.path(place).join("metadata"), self.folder.path(place).join("targets"));
            assert_eq!(fs::read(targets.join(&file)).unwrap(), b"mine", "{place}: {name}");
            assert_eq!(fs::read(metadata.join(name)).unwrap(), bytes, "{place}: {name}");
        }
    }

    /// Four versions of the targets: the first one goes, when all is collected.
    fn with_team(paths: &[&str]) -> Self {
        let site = Self::written();
        let delegate = [&["delegate", "team", "--key", "../key-4.pub", "--paths"], paths].concat();
        site.run(&delegate).exits(0);
        for text in ["one", "two", "three", "four"] {
            site.release_by("team", "t/a", text, &[1, 2, 3, 4]);
            site.release_by("targets", "a", text, &[1, 2, 3, 4]);
        }
        site
    }
}

#[test]
fn metadata_signed_by_a_key_that_was_taken_away_leads_no_collection_to_a_file() {
    for collected_before in [true, false] {
        let site = Site::with_team(&["*", "t/*"]);
        for (role, old) in [("targets", "../key-1.pub"), ("team", "../key-4.pub")] {
            site.run(&["rotate-key", role, "--old", old, "--new", "../key-5.pub"]).exits(0);
        }
        site.release_by("targets", "a", "five", &[0, 2, 3, 5]);
        site.release_by("team", "t/a", "five", &[2, 3, 5]);
        if collected_before {
            assert!(site.collect_both().iter().any(|name| name.ends_with(".a")));
        }
        // under versions that were written, with other bytes
        for (name, key) in [("2.targets.json", 1), ("2.team.json", 4)] {
            let bytes = signed(listing(2, &["tar.gz"]), &[key]);
            site.plant_everywhere(name, &bytes);
            let deleted = site.collect_both();
            assert!(!deleted.iter().any(|gone| gone.ends_with(".tar.gz")), "{name}: {deleted:?}");
            site.see_planted(name, &bytes);
        }
        let told = site.run(&COLLECT).exits(0).stderr;
        assert!(told.contains("4 metadata files alone: .tuf-history does not know them"), "{told}");
    }
}

#[test]
fn a_delegate_leads_no_collection_to_a_file_outside_of_its_paths() {
    let site = Site::with_team(&["t/*"]);
    site.collect_both();
    let bytes = signed(listing(2, &["tar.gz"]), &[4]);
    site.plant_everywhere("2.team.json", &bytes);
    assert_eq!(site.collect_both(), Vec::<String>::new());
    site.see_planted("2.team.json", &bytes);
    // also where the history knows the file: it goes, and the target file stays
    let history = fs::read_to_string(site.path(HISTORY)).unwrap();
    let lines = history.lines().filter(|line| !line.starts_with("team 2 "));
    let lines: Vec<&str> = lines.collect();
    fs::write(site.path(HISTORY), format!("{}\nteam 2 {}\n", lines.join("\n"), digest(&bytes))).unwrap();
    let deleted = site.collect_both();
    assert_eq!(deleted, ["metadata/2.team.json", "metadata.staged/2.team.json", "metadata/2.team.json"]);
    for (place, _) in PLACES {
        let file = format!("{}.tar.gz", digest("mine"));
        assert!(site.folder.path(place).join("targets").join(file).exists(), "{place}");
    }
}

#[test]
fn a_role_file_is_collected_with_its_targets_though_its_role_has_other_paths_and_keys_by_now() {
    let site = Site::with_team(&["t/*"]);
    site.run(&["remove-targets", "t/a"]).exits(0);
    site.write_with(&[2, 3, 4]).exits(0);
    site.run(&["revoke", "team"]).exits(0);
    site.run(&["delegate", "team", "--key", "../key-5.pub", "--paths", "u/*"]).exits(0);
    for text in ["one", "two"] {
        site.release_by("team", "u/a", text, &[1, 2, 3, 5]);
    }
    let deleted = site.collect_both();
    for text in ["one", "two", "three", "four"] {
        let copy = format!("targets/t/{}.a", digest(text));
        assert_eq!(deleted.iter().filter(|name| **name == copy).count(), 2, "{copy}: {deleted:?}");
    }
    assert_eq!(site.collect_both(), Vec::<String>::new());
}

#[test]
fn without_the_history_older_role_files_elsewhere_stay_with_their_targets_and_are_counted() {
    let site = Site::with_team(&["t/*"]);
    let history = fs::read(site.path(HISTORY)).unwrap();
    fs::remove_file(site.path(HISTORY)).unwrap();
    // the files here make it again
    let own = site.collect(&[]);
    assert!(own["deleted"].to_string().contains(&format!("targets/t/{}.a", digest("one"))), "{own}");
    let ran = site.run(&[&COLLECT[..], &["--to", "../www"]].concat()).exits(0);
    assert!(!ran.stdout.contains("targets"), "{ran:?}");
    assert!(ran.stderr.contains("metadata files alone: .tuf-history does not know them"), "{ran:?}");
    fs::write(site.path(HISTORY), history).unwrap();
    let deleted = site.collect(&["--to", "../www"])["deleted"].to_string();
    assert!(deleted.contains(&format!("targets/t/{}.a", digest("one"))), "{deleted}");
}
