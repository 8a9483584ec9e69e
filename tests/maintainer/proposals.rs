//! What commands propose works as it stands: hints after mistypings, and next steps that come to an end.

use std::fs;

use crate::cli::Site;
use crate::world::{contents, tree};

#[test]
fn a_bucket_with_one_slash_is_refused_with_the_right_spelling_and_makes_no_folder() {
    let site = Site::written();
    let before = tree(&site.folder.path(""));
    for to in ["s3:/bucket/x", "s3:bucket", "GS:/bucket/x", "az:/c/x"] {
        for args in [
            &["publish", "--to", to][..],
            &["pull", "--from", to],
            &["gc", "--to", to],
            &["gc", "--archive", to],
            &["verify", "--live", "--to", to],
            &["init", "../other", "--from", to, "--trusted-root", "metadata.staged/1.root.json"],
        ] {
            let ran = site.run(args).exits(2);
            let (scheme, _) = to.split_once(':').unwrap();
            let right = format!("{}://bucket/prefix", scheme.to_lowercase());
            assert!(ran.stderr.contains(&right), "{args:?}: {ran:?}");
        }
    }
    assert_eq!(tree(&site.folder.path("")), before);
    // a folder of that name has a path of its own
    site.run(&["publish", "--to", "./s3:/bucket"]).exits(0);
    assert!(site.path("s3:/bucket/metadata/timestamp.json").exists());
}

#[test]
fn a_key_whose_path_was_mistyped_names_the_file_that_is_near() {
    let site = Site::written();
    for (typed, hint) in [
        ("../key-00", Some("../key-0")),
        ("../kye-1", Some("../key-1")),
        ("../Key-2", Some("../key-2")),
        ("../nothing/key-0", None),
        ("../quite-another", None),
    ] {
        site.run(&["bump", "targets"]).exits(0);
        let ran = site.run(&["sign", "--key", typed]).exits(4);
        assert!(ran.stderr.contains(&format!("cannot read the key '{typed}'")), "{ran:?}");
        assert!(!ran.stderr.contains("keygen"), "{ran:?}");
        let told = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: there is "));
        match hint {
            Some(near) => assert!(told.is_some_and(|told| told.starts_with("../key-")), "{near}: {ran:?}"),
            None => assert_eq!(told, None, "{ran:?}"),
        }
    }
}

#[test]
fn init_over_a_repository_proposes_its_status_by_the_folder_that_was_typed() {
    let site = Site::written();
    for dir in ["repository", "./repository/../repository"] {
        let ran = site.folder.run(&["init", dir]).exits(2);
        assert!(ran.stderr.ends_with(&format!(": tuf-repo -r {dir} status\n")), "{ran:?}");
    }
    let ran = site.run(&["init"]).exits(2);
    assert!(ran.stderr.ends_with(": tuf-repo status\n"), "{ran:?}");
}

#[test]
fn the_lost_file_of_a_delegated_role_is_pulled_and_the_next_steps_come_to_an_end() {
    for to in [None, Some("../www")] {
        let site = Site::written();
        if let Some(to) = to {
            let policy = site.path("tuf-repo.toml");
            let text = fs::read_to_string(&policy).unwrap() + &format!("\n[publish]\nto = \"{to}\"\n");
            fs::write(&policy, text).unwrap();
        }
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
        let keys: Vec<String> = (0..5).map(|number| format!("--key=../key-{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        site.run(&[&["write"][..], &keys].concat()).exits(0);
        site.run(&["publish"]).exits(0);
        let before = contents(&site.path("metadata.staged"));
        fs::remove_file(site.path("metadata.staged/1.team.json")).unwrap();
        let next = site.json(&["status"], 0)["next"].clone();
        assert_eq!(next, serde_json::json!(["tuf-repo pull"]));
        site.run(&["pull"]).exits(0);
        assert!(contents(&site.path("metadata.staged")) == before);
        assert_eq!(site.json(&["status"], 0)["next"], serde_json::json!([]));
        // where nobody has it any more, nothing that can be typed here brings it back
        fs::remove_file(site.path("metadata.staged/1.team.json")).unwrap();
        let live = if to.is_some() { "../www/metadata" } else { "metadata" };
        fs::remove_file(site.path(live).join("1.team.json")).unwrap();
        assert_eq!(site.json(&["status"], 0)["next"], serde_json::json!([]));
    }
}

#[test]
fn a_dry_run_of_gc_says_that_copies_would_be_kept() {
    let site = Site::written();
    for _ in 0..3 {
        site.run(&["bump", "targets"]).exits(0);
        site.write_all().exits(0);
    }
    let gc = ["gc", "--keep", "1", "--keep-within", "0s", "--archive", "../archive"];
    let ran = site.run(&[&gc[..], &["--dry-run"]].concat()).exits(0);
    assert!(ran.stderr.contains("Copies would be kept in '../archive'."), "{ran:?}");
    assert!(!site.folder.path("archive").exists());
    let ran = site.run(&gc).exits(0);
    assert!(ran.stderr.contains("Copies are in '../archive'."), "{ran:?}");
}
