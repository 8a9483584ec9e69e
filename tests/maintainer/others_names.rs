//! What a delegated role lists and delegates to that can be no file and no role here: where it was live before, it stops nobody,
//! and no command makes a file of it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Site;
use crate::delegates::forge;
use crate::foreign::digest;
use crate::support::{Ran, finish};
use crate::world::{contents, public};

/// Layouts, as flags of `init`.
const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];
const OURS: [&str; 4] = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];
/// Paths of targets that are none, the first below the paths that the role is trusted for.
const PATHS: [&str; 7] =
    ["team//x", "/etc/x", "..", "team/../../x", "team/a\u{1b}[31mb", "team/.tuf-x", "team/.TUF-put/x"];
/// Names that no role has.
const NAMES: [&str; 9] =
    ["../x", ".drafts", "x/.drafts", "1.root", "root.json", "TARGETS", "a\u{7}b", "a//b", "c:x"];

impl Site {
    /// A repository that is published in its own `metadata/` and in `www`, whose role `team` says what somebody made of it.
    fn planted(flags: &[&str], change: impl Fn(&mut Value)) -> Self {
        let site = Self::with_fine_team(flags);
        let name = if flags.is_empty() { "1.team.json" } else { "team.json" };
        for folder in ["repository/metadata", "repository/metadata.staged", "www/metadata"] {
            forge(&site.folder.path(folder).join(name), &[4], &change);
        }
        site
    }

    /// The same as this copy wrote it.
    fn with_fine_team(flags: &[&str]) -> Self {
        let site = Self::written_with(flags);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
        site.put("team/fine", "fine");
        site.run(&["add-targets", "targets/team/fine", "--role", "team"]).exits(0);
        site.run(&[&["write"], &OURS[..], &["--key=../key-4"]].concat()).exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        site
    }

    /// Runs a command in another copy of the repository.
    fn run_in(&self, copy: &str, args: &[&str]) -> Ran {
        let mut command = self.folder.command(args);
        command.current_dir(self.folder.path(copy)).args(["--time", crate::cli::NOW]);
        finish(command)
    }

    /// Releases a target of the top-level role in a copy, here and in `www`, and returns what the publications said.
    fn release_in(&self, copy: &str, name: &str) -> [Value; 2] {
        let file = self.folder.path(copy).join("targets").join(name);
        fs::write(&file, name).unwrap();
        self.run_in(copy, &["add-targets", &format!("targets/{name}")]).exits(0);
        self.run_in(copy, &[&["write"], &OURS[..]].concat()).exits(0);
        [&["publish", "--json"][..], &["publish", "--to", "../www", "--json"]]
            .map(|args| self.run_in(copy, args).exits(0).json())
    }

    fn fetch(&self, name: &str) -> Ran {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        command.current_dir(self.folder.path("")).args([
            "--metadata-dir",
            "client",
            "--time",
            crate::cli::NOW,
        ]);
        if !self.folder.path("client").exists() {
            let mut first = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            first.current_dir(self.folder.path("")).args([
                "--metadata-dir",
                "client",
                "--time",
                crate::cli::NOW,
            ]);
            first.args(["init", "www/metadata/1.root.json"]);
            finish(first).exits(0);
        }
        let url = format!("file://{}", self.folder.path("www").display());
        command.args(["--repo", &url, "--target-dir", "got", "update", name]);
        finish(command)
    }
}

/// Asserts that one warning names the role and the fault.
fn warns(warnings: &Value, role: &str, words: &str) {
    let is_it = |one: &&Value| {
        one["role"] == role
            && one["severity"] == "warning"
            && one["message"].as_str().unwrap().contains(words)
    };
    let all = warnings.as_array().unwrap();
    assert_eq!(all.iter().filter(is_it).count(), 1, "{role}: {words} in {warnings}");
}

/// Takes every way of a repository and of a copy that takes it over, and asserts that each goes on and names the faults.
fn goes_on(site: &Site, faults: &[(&str, String)]) {
    let from = ["init", "new", "--from", "www", "--trusted-root", "www/metadata/1.root.json", "--json"];
    let adopted = site.folder.run(&from).exits(0).json();
    for (role, words) in faults {
        warns(&adopted["warnings"], role, words);
    }
    for said in site.release_in("repository", "first") {
        faults.iter().for_each(|(role, words)| warns(&said["warnings"], role, words));
    }
    let pulled =
        site.run_in("new", &["pull", "--from", "../www", "--targets", "--yes", "--json"]).exits(0).json();
    for (role, words) in faults {
        warns(&pulled["warnings"], role, words);
    }
    for said in site.release_in("new", "second") {
        faults.iter().for_each(|(role, words)| warns(&said["warnings"], role, words));
    }
    for copy in ["repository", "new"] {
        site.run_in(copy, &[&["refresh", "--within", "3d"], &OURS[..]].concat()).exits(0);
        site.run_in(copy, &["gc", "--to", "../www", "--dry-run"]).exits(0);
        site.run_in(copy, &["status"]).exits(0);
        assert!(site.run_in(copy, &["verify"]).exits(5).stdout.contains("team"));
    }
    site.run(&["publish", "--to", "../elsewhere"]).exits(5);
    assert!(!site.folder.path("elsewhere").exists());
    site.fetch("second").exits(0);
    assert_eq!(fs::read_to_string(site.folder.path("got/second")).unwrap(), "second");
}

/// Asserts that no file below a folder has an odd name.
fn has_no_odd_file(folder: &Path) {
    for name in contents(folder).into_keys() {
        let is_odd = |part: &str| {
            let small = part.to_lowercase();
            ["etc", ".tuf-x", ".tuf-put", "%2f", "%3a", "%07", "\u{1b}"].iter().any(|odd| small.contains(odd))
                || [".drafts.json", "1.root.json.json", "root.json.json"]
                    .iter()
                    .any(|odd| small.ends_with(odd))
                || part.contains("TARGETS")
        };
        assert!(!name.split('/').any(is_odd), "{name}");
    }
}

#[test]
fn paths_that_a_delegatee_lists_and_that_are_no_files_stop_nobody() {
    for flags in LAYOUTS {
        let long = format!("team/{}", "n".repeat(300));
        let file = json!({"length": 3, "hashes": {"sha256": digest("abc")}});
        let site = Site::planted(flags, |signed| {
            for path in PATHS.into_iter().chain([&*long]) {
                signed["targets"][path] = file.clone();
            }
            signed["targets"]["team/blake"] = json!({"length": 3, "hashes": {"blake2b-256": "ab"}});
        });
        let shown =
            |path: &str| ("team", format!("lists '{}', which cannot be a target", path.escape_debug()));
        let mut faults: Vec<_> = PATHS.into_iter().chain([&*long]).map(shown).collect();
        faults.push((
            "team",
            "lists 'team/blake', which cannot be a target: it is listed with unknown".to_owned(),
        ));
        goes_on(&site, &faults);
        for copy in ["repository", "new", "www"] {
            has_no_odd_file(&site.folder.path(copy));
        }
        assert!(!site.folder.path("x").exists());
    }
}

#[test]
fn targets_of_a_delegatee_whose_bytes_nobody_has_stop_nobody() {
    for flags in LAYOUTS {
        let site = Site::planted(flags, |signed| {
            signed["targets"]["team/gone"] = json!({"length": 3, "hashes": {"sha256": digest("abc")}});
        });
        let name =
            if flags.is_empty() { format!("team/{}.gone", digest("abc")) } else { "team/gone".to_owned() };
        let from = ["init", "new", "--from", "www", "--trusted-root", "www/metadata/1.root.json"];
        assert!(site.folder.run(&from).exits(0).stderr.contains(&name));
        let words = format!("targets/{name}: missing");
        for said in site.release_in("repository", "first") {
            warns(&said["warnings"], "team", &words);
        }
        let ran = site.run_in("new", &["pull", "--from", "../www", "--targets", "--yes"]).exits(0);
        assert!(ran.stderr.contains(&format!("targets/{name} is not there")), "{ran:?}");
        for said in site.release_in("new", "second") {
            warns(&said["warnings"], "team", &words);
        }
        site.fetch("second").exits(0);
        // what a top-level role lists is refused as ever
        let mine = if flags.is_empty() { format!("{}.first", digest("first")) } else { "first".to_owned() };
        fs::remove_file(site.path("targets").join(mine)).unwrap();
        site.run(&["publish", "--to", "../new-place"]).exits(5);
        site.run(&["publish"]).exits(5);
        // so is what team lists anew
        let fresh = json!({"path": "team/anew", "length": 3, "hashes": {"sha256": digest("abc")}});
        site.folder.write("manifest", &format!("{fresh}\n"));
        site.run_in("new", &["add-targets", "--from-manifest", "../manifest", "--role", "team"]).exits(0);
        let keys = [&["write"], &OURS[..], &["--key=../key-4"]].concat();
        if site.run_in("new", &keys).code == 0 {
            let ran = site.run_in("new", &["publish", "--to", "../www"]).exits(5);
            assert!(ran.stderr.contains("anew"), "{ran:?}");
        }
    }
}

#[test]
fn other_bytes_than_a_delegatee_lists_stop_nobody() {
    for flags in LAYOUTS {
        let site = Site::planted(flags, |_| ());
        let name =
            if flags.is_empty() { format!("team/{}.fine", digest("fine")) } else { "team/fine".to_owned() };
        for text in ["evil", "longer than it"] {
            fs::write(site.folder.path("www/targets").join(&name), text).unwrap();
            let new = format!("new-{}", text.len());
            let from = ["init", &new, "--from", "www", "--trusted-root", "www/metadata/1.root.json"];
            let ran = site.folder.run(&from).exits(0);
            assert!(ran.stderr.contains(&name) && ran.stderr.contains("as 'team' lists it"), "{ran:?}");
            site.release_in("repository", text);
            site.run_in(&new, &["pull", "--from", "../www", "--targets", "--yes"]).exits(0);
            // whoever has the right bytes may have mended the place meanwhile
            let got = fs::read_to_string(site.folder.path(&new).join("targets").join(&name));
            assert!(got.is_err() || got.unwrap() == "fine");
        }
    }
}

#[test]
fn lengths_that_no_sum_holds_stop_nobody() {
    for flags in LAYOUTS {
        let site = Site::planted(flags, |signed| {
            for path in ["team/huge", "team/vast"] {
                signed["targets"][path] = json!({"length": u64::MAX, "hashes": {"sha256": digest("abc")}});
            }
        });
        let from = ["init", "new", "--from", "www", "--trusted-root", "www/metadata/1.root.json"];
        site.folder.run(&from).exits(0);
        site.release_in("repository", "first");
        for dry in [&["--dry-run"][..], &[]] {
            site.run_in("new", &[&["pull", "--from", "../www", "--targets", "--yes"], dry].concat()).exits(0);
        }
        site.release_in("new", "second");
        site.run(&["list", "--json"]).exits(0);
        site.run(&["report"]);
        site.run(&["gc", "--dry-run"]).exits(0);
    }
}

#[test]
fn names_of_roles_that_no_role_has_stop_nobody_and_can_be_revoked() {
    for flags in LAYOUTS {
        let delegating = |signed: &mut Value| {
            let id = public(4).id().to_string();
            let key = serde_json::to_value(public(4)).unwrap();
            let role = |name: &str| json!({"name": name, "keyids": [id], "threshold": 1, "terminating": false, "paths": ["team/*"]});
            let roles: Vec<Value> = NAMES.iter().map(|name| role(name)).collect();
            signed["delegations"] = json!({"keys": {&id: key}, "roles": roles});
        };
        let site = Site::planted(flags, delegating);
        let shown = |name: &&'static str| (*name, format!("'{}'", name.escape_debug()));
        goes_on(&site, &NAMES.iter().map(shown).collect::<Vec<_>>());
        for copy in ["repository", "new", "www"] {
            has_no_odd_file(&site.folder.path(copy));
        }
        for name in NAMES {
            site.run_in("new", &["revoke", name]).exits(0);
        }
        site.run_in("new", &[&["write"], &OURS[..], &["--key=../key-4"]].concat()).exits(0);
        let said = site.run_in("new", &["publish", "--json"]).exits(0).json();
        assert_eq!(said["warnings"], json!([]), "{said}");
    }
}

#[test]
fn a_role_that_is_missing_or_badly_signed_is_no_reason_not_to_take_a_repository_over() {
    for flags in LAYOUTS {
        let name = if flags.is_empty() { "1.team.json" } else { "team.json" };
        type Damage = (&'static str, fn(&Path));
        let damages: [Damage; 4] = [
            ("missing", |file| fs::remove_file(file).unwrap()),
            ("signatures", |file| forge(file, &[5], |_| ())),
            ("targets", |file| fs::write(file, "<html>").unwrap()),
            ("version", |file| forge(file, &[4], |signed| signed["version"] = json!(7))),
        ];
        for (words, damage) in damages {
            let site = Site::planted(flags, |_| ());
            damage(&site.folder.path("www/metadata").join(name));
            let from =
                ["init", "new", "--from", "www", "--trusted-root", "www/metadata/1.root.json", "--json"];
            let adopted = site.folder.run(&from).exits(0).json();
            warns(&adopted["warnings"], "team", words);
            site.release_in("new", "second");
            site.fetch("second").exits(0);
        }
    }
}

#[test]
fn delegate_takes_no_name_that_a_file_system_or_a_reader_takes_for_another() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        let delegate = |name: &str, more: &[&str]| {
            let trust: &[&str] = if more.is_empty() { &["--paths", "x/*"] } else { more };
            site.run(&[&["delegate", name, "--key", "../key-4.pub"], trust].concat())
        };
        for name in ["team", "\u{e9}quipe", "a/b", "json", "roots"] {
            delegate(name, &[]).exits(0);
        }
        delegate("bins", &["--bins", "4", "--from", "team"]).exits(0);
        let before = contents(&site.repository());
        let long = format!("a/{}", "n".repeat(201));
        let mut names = vec![
            "root.json",
            "timestamp.json",
            "a.json/b",
            "x.JSON",
            "TARGETS",
            "ROOT",
            "Timestamp",
            "sNapshot",
            "1.root",
            "Team",
            "TEAM",
            "e\u{301}quipe",
            "\u{c9}quipe",
            "A/b",
            "a/.b",
            "a\\b",
            "a:b",
            &long,
            "Bins-0",
            "BINS-3",
        ];
        if !flags.is_empty() {
            names.extend(["1.snapshot", "2.targets", "007.x"]);
        }
        for name in names {
            let ran = delegate(name, &[]).exits(2);
            assert!(ran.stderr.contains("hint: "), "{ran:?}");
            delegate(name, &["--paths", "x/*", "--from", "a/b"]).exits(2);
        }
        for name in ["TEAM-x", "targets.json", "Bins", "BINS"] {
            let code = if name == "TEAM-x" { 0 } else { 2 };
            delegate(name, &["--bins", "4", "--from", "json", "--dry-run"]).exits(code);
        }
        assert_eq!(crate::world::difference(&before, &contents(&site.repository())), Vec::<String>::new());
        if flags.is_empty() {
            delegate("1.snapshot", &[]).exits(0);
        }
        // a second delegator of a role that is there
        delegate("a/b", &["--paths", "x/*", "--from", "json"]).exits(0);
        // the name of a role that was revoked has files still
        site.run(&[&["write"], &OURS[..], &["--key=../key-4"]].concat()).exits(0);
        site.run(&["revoke", "json"]).exits(0);
        site.run(&[&["write"], &OURS[..], &["--key=../key-4"]].concat()).exits(0);
        delegate("JSON", &[]).exits(2);
        delegate("json", &[]).exits(0);
    }
}

#[test]
fn an_import_brings_no_name_that_delegate_refuses() {
    for flags in LAYOUTS {
        let site = Site::planted(flags, |_| ());
        let name = if flags.is_empty() { "1.team.json" } else { "team.json" };
        let before = contents(&site.repository());
        let mut cases = vec![
            vec!["TEAM"],
            vec!["x", "X"],
            vec!["\u{e9}", "e\u{301}"],
            vec!["root.json"],
            vec!["Timestamp"],
            vec!["a:b"],
        ];
        if !flags.is_empty() {
            cases.extend([vec!["1.snapshot"], vec!["2.targets"]]);
        }
        for names in cases {
            let file = site.folder.path("team.json");
            fs::copy(site.path("metadata").join(name), &file).unwrap();
            forge(&file, &[4], |signed| {
                let id = public(4).id().to_string();
                let key = serde_json::to_value(public(4)).unwrap();
                let role = |name: &&str| json!({"name": name, "keyids": [id], "threshold": 1, "terminating": false, "paths": ["team/*"]});
                let roles: Vec<Value> = names.iter().map(role).collect();
                signed["version"] = json!(2);
                signed["delegations"] = json!({"keys": {&id: key}, "roles": roles});
            });
            site.run(&["sign", "--import", "../team.json"]).exits(2);
            assert_eq!(
                crate::world::difference(&before, &contents(&site.repository())),
                Vec::<String>::new()
            );
        }
    }
}

#[test]
fn roles_of_others_whose_names_differ_only_in_capitals_are_told() {
    for flags in LAYOUTS {
        let site = Site::planted(flags, |_| ());
        site.run(&["delegate", "other", "--key", "../key-4.pub", "--paths", "other/*"]).exits(0);
        site.run(&[&["write"], &OURS[..], &["--key=../key-4"]].concat()).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        // another program has called it so
        let (targets, team, other, snapshot) = match flags.is_empty() {
            true => ("3.targets.json", "TEAM", "1.other.json", "3.snapshot.json"),
            false => ("targets.json", "TEAM", "other.json", "snapshot.json"),
        };
        let www = site.folder.path("www/metadata");
        forge(&www.join(targets), &[1], |signed| {
            for role in signed["delegations"]["roles"].as_array_mut().unwrap() {
                if role["name"] == "other" {
                    role["name"] = json!(team);
                }
            }
        });
        fs::rename(www.join(other), www.join(other.replace("other", team))).unwrap();
        forge(&www.join(snapshot), &[2], |signed| {
            let meta = signed["meta"].as_object_mut().unwrap();
            let entry = meta.remove("other.json").unwrap();
            meta.insert(format!("{team}.json"), entry);
        });
        let from = ["init", "new", "--from", "www", "--trusted-root", "www/metadata/1.root.json", "--json"];
        let adopted = site.folder.run(&from).exits(0).json();
        warns(&adopted["warnings"], "team", "'team' differs from the role 'TEAM' only in capitals");
        let said = site.run_in("new", &["publish", "--json"]).exits(0).json();
        warns(&said["warnings"], "team", "differs from the role");
        let verified = site.run_in("new", &["verify", "--json"]).exits(0).json();
        warns(&verified["findings"], "team", "differs from the role");
    }
}
