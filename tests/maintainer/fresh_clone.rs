//! Version control keeps no empty folders: a fresh clone of a repository may lack any folder in which nothing is yet.

use std::fs;
use std::path::Path;

use crate::cli::Site;
use crate::world::contents;

/// How far the repository has come before it is cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Drafted,
    Written,
    Published,
}

/// A clone of a repository that lists nothing, beside a folder `dist` with a release.
fn fresh_clone(flags: &[&str], state: State) -> Site {
    let site = Site::trusted(flags);
    if state != State::Drafted {
        site.write_all().exits(0);
    }
    if state == State::Published {
        site.run(&["publish"]).exits(0);
    }
    remove_empty_folders(&site.repository());
    assert!(!site.path("targets").exists());
    fs::create_dir_all(site.folder.path("dist/sub")).unwrap();
    site.folder.write("dist/app", "1.0");
    site.folder.write("dist/sub/manual", "read me");
    site
}

/// Removes the folders that hold nothing but such folders.
fn remove_empty_folders(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_empty_folders(&path);
        }
    }
    // what holds something stays
    let _ = fs::remove_dir(folder);
}

#[test]
fn the_first_release_can_be_made_in_a_fresh_clone() {
    let folder = &["add-targets", "-R", "../dist", "--base", "../dist"][..];
    let prefixed = &["add-targets", "../dist/app", "--base", "../dist", "--prefix", "releases/1"][..];
    let several = &["add-targets", "../dist/sub/manual", "../dist/app", "--base", "../dist"][..];
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for (state, add) in
            [(State::Drafted, folder), (State::Written, prefixed), (State::Published, several)]
        {
            let site = fresh_clone(flags, state);
            let before = contents(&site.repository());
            site.run(&[add, &["--dry-run"]].concat()).exits(0);
            assert_eq!(contents(&site.repository()), before, "{state:?}: a dry run changes nothing");
            site.run(add).exits(0);
            site.write_all().exits(0);
            site.run(&["publish"]).exits(0);
            site.run(&["verify", "--live", "--targets"]).exits(0);
        }
    }
}

#[test]
fn hash_bins_get_their_first_files_in_a_fresh_clone() {
    let site = fresh_clone(&[], State::Written);
    site.run(&["delegate", "bins", "--bins", "4", "--key", "../key-4.pub"]).exits(0);
    site.run(&["add-targets", "-R", "../dist", "--base", "../dist", "--role", "bins"]).exits(0);
    let keys = ["--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"];
    site.run(&[&["write"], &keys[..]].concat()).exits(0);
    site.run(&["publish", "--to", "../www"]).exits(0);
    site.run(&["verify", "--live", "--targets", "--to", "../www"]).exits(0);
}

#[test]
fn no_command_misses_an_empty_folder_of_a_fresh_clone() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for state in [State::Drafted, State::Written, State::Published] {
            for (args, code) in [
                (&["status"][..], 0),
                (&["list"], 0),
                (&["diff"], 0),
                (&["doctor"], 0),
                (&["graph"], 0),
                (&["discard"], 0),
                (&["bump", "targets"], 0),
                (&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"], 0),
                (&["sign", "--key", "../key-1"], 0),
                (&["refresh", "--key=../key-2", "--key=../key-3"], 0),
                (&["add-targets", "targets/app"], 2),
                (&["add-targets", "-R", "targets"], 2),
            ] {
                let site = fresh_clone(flags, state);
                let ran = site.run(args).exits(code);
                assert!(!ran.words().contains("os error"), "{state:?}: {ran:?}");
            }
            if state != State::Drafted {
                let site = fresh_clone(flags, state);
                site.run(&["verify", "--targets"]).exits(0);
                site.run(&["publish", "--to", "../new/deep/www"]).exits(0);
                site.run(&["publish"]).exits(0);
                site.run(&["gc", "--keep", "1", "--keep-within", "0s"]).exits(0);
            }
        }
    }
}

#[test]
fn targets_that_only_a_manifest_knows_need_no_folder() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = fresh_clone(flags, State::Published);
        let hash = "00".repeat(32);
        let line = format!("{{\"path\":\"a/b\",\"length\":1,\"hashes\":{{\"sha256\":\"{hash}\"}}}}\n");
        site.folder.write("manifest", &line);
        let policy = fs::read_to_string(site.path("tuf-repo.toml")).unwrap();
        let policy =
            policy.replace("# [publish]", "[publish]").replace("# targets-elsewhere", "targets-elsewhere");
        fs::write(site.path("tuf-repo.toml"), policy).unwrap();
        site.run(&["add-targets", "--from-manifest", "../manifest"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["verify", "--live"]).exits(0);
    }
}

#[cfg(unix)]
#[test]
fn a_targets_link_that_leads_nowhere_is_no_empty_folder() {
    let site = fresh_clone(&[], State::Written);
    std::os::unix::fs::symlink("nowhere", site.path("targets")).unwrap();
    let before = contents(&site.repository());
    let ran = site.run(&["add-targets", "-R", "../dist", "--base", "../dist"]).exits(1);
    assert!(ran.stderr.contains("targets"), "{ran:?}");
    assert_eq!(contents(&site.repository()), before);
    assert!(!site.path("nowhere").exists());
}

#[test]
fn verify_tells_a_file_that_is_here_with_wrong_bytes_although_live_has_the_right_ones() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = Site::written_with(flags);
        fs::write(site.path("tuf-repo.toml"), "[publish]\nto = \"../www\"\n").unwrap();
        for name in ["a", "dir/b"] {
            site.put(name, "three");
        }
        site.run(&["add-targets", "-R", "targets"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
        let copies: Vec<String> = contents(&site.path("targets"))
            .into_keys()
            .filter(|name| name.ends_with(if flags.is_empty() { ".a" } else { "a" }))
            .collect();
        let [copy] = copies.as_slice() else { panic!("{copies:?}") };
        // a copy need not have what is live; what it has must be right, whatever else is missing
        fs::remove_dir_all(site.path("targets/dir")).unwrap();
        site.run(&["verify", "--targets"]).exits(0);
        for (bytes, plain_verify) in [("eerht", 0), ("longer than three", 5)] {
            fs::write(site.path("targets").join(copy), bytes).unwrap();
            site.run(&["verify"]).exits(plain_verify);
            let json = site.json(&["verify", "--targets"], 5);
            let findings = json["findings"].as_array().unwrap();
            assert_eq!(findings.len(), 1, "{json}");
            assert_eq!(findings[0]["file"], format!("targets/{copy}"), "{json}");
        }
        fs::remove_file(site.path("targets").join(copy)).unwrap();
        site.run(&["verify", "--targets"]).exits(0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_deep_tree_of_targets_needs_no_more_open_files_than_a_flat_one() {
    let deep = "d/".repeat(tuf::metadata::TargetPath::MOST_PARTS - 1);
    let site = Site::written();
    site.put(&format!("{deep}x"), "x");
    // so many that their folder is listed instead of asked
    (0..1100).for_each(|number| fs::write(site.path(&format!("targets/{number}")), "x").unwrap());
    let keys = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];
    for args in [
        &["add-targets", "-R", "targets"][..],
        &[&["write"], &keys[..]].concat(),
        &["verify", "--targets"],
        &["publish"],
        &["publish", "--to", "../www"],
        &["gc", "--keep", "1", "--keep-within", "0s"],
    ] {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 40; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_tuf-repo")]);
        limited.args(args).args(["--time", crate::cli::NOW]).env("RAYON_NUM_THREADS", "2");
        crate::support::finish({
            limited.current_dir(site.repository()).stdin(std::process::Stdio::null());
            limited
        })
        .exits(0);
    }
}
