//! The environment decides nothing about time, and its secrets stay with the program they are for.

use std::fs;

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

/// Puts a signer into the folder that notes its environment each time, and returns its reference.
fn nosy_signer(site: &Site) -> String {
    site.keygen("signing");
    let show = site.folder.run(&["--json", "key", "show", "signing.pub"]).exits(0).json();
    let public = serde_json::json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": show["keyval"]});
    site.folder.write("public.json", &public.to_string());
    let folder = site.folder.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let script = format!("env >>'{folder}/seen'; read line; cat '{folder}/public.json'");
    site.folder.write("signer.sh", &script);
    format!("exec:sh {folder}/signer.sh")
}

/// The secrets of these tests, by the variables that hold them.
fn with_secrets(site: &Site, args: &[&str]) -> Ran {
    let pem = |name: &str| fs::read_to_string(site.folder.path(name)).unwrap();
    let mut command = site.command(args);
    command.env("MY_PASSWORD", "correct horse").env("MY_NEW_PASSWORD", "battery staple");
    command.env("MY_KEY", pem("key-1")).env("POLICY_KEY", pem("key-3")).env("OTHER_POLICY_KEY", pem("key-0"));
    command.env("CLOUD_TOKEN", "for the signer");
    finish(command)
}

/// Returns what the signer has noted since the last call, after a look that it has been asked at all.
fn noted(site: &Site, ran: &Ran) -> String {
    let seen = fs::read_to_string(site.folder.path("seen"));
    let seen = seen.unwrap_or_else(|_| panic!("the signer was not asked: {ran:?}"));
    fs::remove_file(site.folder.path("seen")).unwrap();
    assert!(seen.contains("CLOUD_TOKEN=for the signer"), "the signer needs its own credentials: {seen}");
    seen
}

/// Checks that the signer was asked by the command, and was not given these variables.
fn hides(site: &Site, names: &[&str], ran: &Ran) {
    let seen = noted(site, ran);
    for name in names {
        assert!(!seen.lines().any(|line| line.starts_with(&format!("{name}="))), "{name}: {ran:?}");
    }
}

#[test]
fn a_signer_is_not_given_the_passwords_and_keys_that_the_command_line_names() {
    let site = Site::written();
    let signer = nosy_signer(&site);
    let secrets = ["MY_PASSWORD", "MY_KEY"];
    let named = ["--password-env", "MY_PASSWORD", "--key=env:MY_KEY", "--key", &signer];
    for command in
        [&["write"][..], &["sign", "targets"], &["refresh", "--within", "2y"], &["--no-input", "sign"]]
    {
        hides(&site, &secrets, &with_secrets(&site, &[command, &named[..]].concat()));
    }
    let add = ["add-key", "targets", "env:MY_KEY", &signer, "--password-env=MY_PASSWORD"];
    hides(&site, &secrets, &with_secrets(&site, &add).exits(0));
    hides(
        &site,
        &["MY_KEY"],
        &with_secrets(&site, &["delegate", "team", "--paths", "x", "--key", &signer, "--key=env:MY_KEY"])
            .exits(0),
    );
    hides(
        &site,
        &["MY_KEY"],
        &with_secrets(&site, &["rotate-key", "targets", "--old", "env:MY_KEY", "--new", &signer]),
    );
    hides(
        &site,
        &secrets,
        &with_secrets(
            &site,
            &["remove-key", "targets", &signer, "env:MY_KEY", "--password-env", "MY_PASSWORD"],
        ),
    );
    for command in [&["key", "id", &signer][..], &["key", "show", &signer]] {
        hides(
            &site,
            &["MY_PASSWORD"],
            &with_secrets(&site, &[command, &["--password-env", "MY_PASSWORD"]].concat()).exits(0),
        );
    }
}

#[test]
fn a_signer_is_not_given_the_keys_of_other_roles_that_the_policy_names() {
    let site = Site::written();
    let signer = nosy_signer(&site);
    with_secrets(&site, &["add-key", "targets", &signer]).exits(0);
    fs::remove_file(site.folder.path("seen")).unwrap();
    let policy = format!(
        "[roles.targets]\nkeys = [\"{signer}\"]\n[roles.timestamp]\nkeys = [\"env:POLICY_KEY\"]\n\
         [roles.root]\nkeys = [\"env:OTHER_POLICY_KEY\"]\n"
    );
    fs::write(site.path("tuf-repo.toml"), policy).unwrap();
    let secrets = ["POLICY_KEY", "OTHER_POLICY_KEY"];
    for command in [
        &["write"][..],
        &["sign", "targets"],
        &["refresh", "--within", "2y"],
        // a key on the command line takes the place of the policy's, which are secret all the same
        &["sign", "targets", "--key", &signer],
        &["key", "id", &signer],
    ] {
        hides(&site, &secrets, &with_secrets(&site, command));
    }
    // from elsewhere, where only the flag leads to the policy
    let mut command = site.folder.command(&["-r", "repository", "key", "show", &signer]);
    command.env("POLICY_KEY", "secret").env("CLOUD_TOKEN", "for the signer");
    hides(&site, &secrets, &finish(command).exits(0));
}

#[test]
fn a_signer_is_not_started_where_a_broken_policy_hides_what_is_secret() {
    let site = Site::trusted(&[]);
    let signer = nosy_signer(&site);
    fs::write(site.path("tuf-repo.toml"), "[roles.targets\nkeys = [\"env:POLICY_KEY\"]\n").unwrap();
    let ran = with_secrets(&site, &["key", "id", &signer]).exits(2);
    assert!(ran.stderr.contains("tuf-repo.toml"), "{ran:?}");
    assert!(!site.folder.path("seen").exists());
}
