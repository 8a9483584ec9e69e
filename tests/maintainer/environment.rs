//! The environment decides nothing about time.

use crate::cli::Site;
use crate::support::{Ran, finish};

/// Expired by the clock of any machine that runs this.
const LONG_AGO: &str = "2001-01-01T00:00:00Z";
/// The variable that build systems export, with times at which what was made [`LONG_AGO`] has not expired, and garbage.
const EPOCHS: [&str; 6] = ["978307200", "315532800", "0", "-1", "", "yesterday"];

/// A repository that was written and published long ago.
fn published_long_ago(flags: &[&str]) -> Site {
    let site = Site::empty();
    let run = |args: &[&str]| site.folder.run(&[&["--time", LONG_AGO], args].concat()).exits(0);
    run(&[&["init", "repository"], flags].concat());
    for (number, role) in ["root", "targets", "snapshot", "timestamp"].iter().enumerate() {
        run(&["-r", "repository", "add-key", role, &format!("key-{number}.pub")]);
    }
    run(&["-r", "repository", "expire", "root", "9999-01-01"]);
    run(&["-r", "repository", "write", "--key=key-0", "--key=key-1", "--key=key-2", "--key=key-3"]);
    run(&["-r", "repository", "publish"]);
    site
}

/// Runs a command by the clock of the machine, with the variable set.
fn run_at_epoch(site: &Site, epoch: &str, args: &[&str]) -> Ran {
    let mut command = site.folder.command(args);
    command.current_dir(site.repository()).env("SOURCE_DATE_EPOCH", epoch);
    finish(command)
}

#[test]
fn a_build_s_clock_does_not_hide_that_live_metadata_has_expired() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = published_long_ago(flags);
        for epoch in EPOCHS {
            run_at_epoch(&site, epoch, &["verify", "--live"]).exits(5);
            run_at_epoch(&site, epoch, &["verify"]).exits(5);
            run_at_epoch(&site, epoch, &["status", "--check"]).exits(3);
            run_at_epoch(&site, epoch, &["publish"]).exits(5);
        }
    }
}

#[test]
fn a_build_s_clock_does_not_stop_the_refresh() {
    let site = published_long_ago(&[]);
    for epoch in ["978307200", "yesterday"] {
        let keys = ["--key=../key-1", "--key=../key-2", "--key=../key-3"];
        let ran = run_at_epoch(&site, epoch, &[&["refresh", "--json"], &keys[..]].concat());
        let json = ran.exits(0).json();
        let names = json["roles"].as_object().unwrap().len();
        // the second time everything is fresh, by the clock of the machine again
        assert_eq!(names, if epoch == "yesterday" { 0 } else { 3 }, "{json}");
    }
    run_at_epoch(&site, "0", &["publish"]).exits(0);
    run_at_epoch(&site, "0", &["status", "--check"]).exits(0);
}

#[test]
fn new_metadata_is_not_dated_by_a_build_s_clock() {
    let site = published_long_ago(&[]);
    run_at_epoch(&site, "978307200", &["bump", "targets"]).exits(0);
    let json = run_at_epoch(&site, "978307200", &["status", "--json"]).exits(0).json();
    let expires = json["roles"]["targets"]["expires"].as_str().unwrap();
    assert!(expires > "2026", "{expires}");
}
