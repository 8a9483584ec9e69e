//! What is live is gone on from or left alone: copies of one repository that publish over each other, stolen keys, damaged
//! places. With both programs, as people and thieves would type it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::cli::NOW;
use crate::support::{Folder, Ran, finish};
use crate::world::{contents, copy_folder, difference};

/// All of them serve one repository, whose first copy is `A`. The keys are `key-root`, …, `key-team`, and `new-…`.
pub struct Team {
    pub folder: Folder,
}

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

impl Team {
    /// A repository with a delegated role and a target, published to `www`, where a client stands on it.
    pub fn new(flags: &[&str]) -> Self {
        let team = Self { folder: Folder::new() };
        for role in ROLES.iter().chain(&["team"]) {
            for key in [format!("key-{role}"), format!("new-{role}")] {
                team.folder.run(&["keygen", &key, "--no-password"]).exits(0);
            }
        }
        team.folder.run(&[&["init", "A", "--time", NOW][..], flags].concat()).exits(0);
        for role in ROLES {
            team.copy("A", &["add-key", role, &format!("key-{role}.pub")]).exits(0);
        }
        team.copy("A", &["delegate", "team", "--key", "key-team.pub", "--paths", "team/*"]).exits(0);
        team.release("A", "targets", "a");
        team.copy("A", &["publish", "--to", "www"]).exits(0);
        team.client("old", &["init", "www/metadata/1.root.json"]).exits(0);
        team.refresh("old").exits(0);
        team
    }

    /// Makes another copy.
    pub fn copies(&self, from: &str, to: &str) {
        copy_folder(&self.folder.path(from), &self.folder.path(to));
    }

    /// Runs a command on a copy.
    pub fn copy(&self, name: &str, args: &[&str]) -> Ran {
        // what two copies write under one version is rarely written in one second
        let time = if name == "B" { "2031-03-01T12:01:00Z" } else { NOW };
        self.folder.run(&[&["-r", name, "--time", time], args].concat())
    }

    pub fn write(&self, name: &str) -> Ran {
        let mut args = vec!["write".to_owned()];
        for role in ROLES.iter().chain(&["team"]) {
            for key in [format!("key-{role}"), format!("new-{role}")] {
                if self.is_trusted(name, &key) {
                    args.extend(["--key".to_owned(), key]);
                }
            }
        }
        self.copy(name, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn is_trusted(&self, name: &str, key: &str) -> bool {
        let id = self.folder.run(&["--json", "key", "id", &format!("{key}.pub")]).exits(0).json();
        let status = self.copy(name, &["--json", "status"]).exits(0).json();
        let all = status["roles"].as_object().unwrap().values();
        all.into_iter().any(|role| role["keyids"].as_array().unwrap().contains(&id["keyid"]))
            || key == "key-root"
    }

    /// Lists a new target of a role and writes.
    pub fn release(&self, name: &str, role: &str, target: &str) {
        let path = self.folder.path(name).join("targets").join(target);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{name} {target}")).unwrap();
        self.copy(name, &["add-targets", "--role", role, path.to_str().unwrap()]).exits(0);
        self.write(name).exits(0);
    }

    /// Runs `tuf-fetch` for a client.
    pub fn client(&self, name: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        command.args(["--time", NOW, "--metadata-dir", name]).args(args);
        command.current_dir(self.folder.path("."));
        finish(command)
    }

    pub fn refresh(&self, name: &str) -> Ran {
        let url = format!("file://{}/metadata", self.folder.path("www").display());
        self.client(name, &["--json", "--metadata-url", &url, "refresh"])
    }

    /// Runs a command that is refused with exit code 5, changes nothing, and names the file and the way on.
    #[track_caller]
    pub fn refused(&self, name: &str, args: &[&str], file: &str, hint: &str) {
        let before = contents(&self.folder.path("."));
        let ran = self.copy(name, args).exits(5);
        assert!(ran.stderr.contains(&format!("error: {file}: ")), "{ran:?}");
        assert!(ran.stderr.contains(&format!("hint: {hint}")), "{ran:?}");
        assert!(!ran.stderr.contains("bump"), "{ran:?}");
        let changed = difference(&before, &contents(&self.folder.path(".")));
        assert!(changed.is_empty(), "{changed:?}");
    }
}

#[test]
fn a_copy_that_wrote_twice_does_not_publish_over_a_colleagues_release() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for (role, target) in [("targets", "z"), ("team", "team/z")] {
            let team = Team::new(flags);
            team.copies("A", "B");
            team.release("A", role, target);
            team.copy("A", &["publish", "--to", "www"]).exits(0);
            team.release("B", "targets", "q");
            team.release("B", "team", "team/r");
            let number = if flags.is_empty() { "2." } else { "" };
            let file = format!("metadata/{number}{role}.json");
            let pull = "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r B pull --from www";
            team.refused("B", &["publish", "--to", "www"], &file, pull);
            team.refused("B", &["publish", "--to", "www", "--dry-run"], &file, pull);
            // the same place by another name
            std::os::unix::fs::symlink("www", team.folder.path("link")).unwrap();
            let link = "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r B pull --from ./link/";
            team.refused("B", &["publish", "--to", "./link/"], &file, link);
            // versions far above are no way round
            for name in ["targets", "team", "snapshot", "timestamp"] {
                team.copy("B", &["bump", name, "--version", "40"]).exits(0);
            }
            team.write("B").exits(0);
            team.refused("B", &["publish", "--to", "www"], &file, pull);
            // with the place in the policy it need not be named
            let policy = team.folder.path("B/tuf-repo.toml");
            let text = fs::read_to_string(&policy).unwrap() + "\n[publish]\nto = \"../www\"\n";
            fs::write(policy, text).unwrap();
            let file = format!("metadata/{number}{role}.json");
            team.refused(
                "B",
                &["publish"],
                &file,
                "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r B pull",
            );
            team.refresh("old").exits(0);
        }
    }
}

#[test]
fn a_stale_copy_does_not_roll_live_back_by_giving_a_role_another_key() {
    let rotations: [&[&[&str]]; 4] = [
        &[&["rotate-key", "timestamp", "--old", "key-timestamp.pub", "--new", "new-timestamp.pub"]],
        &[&["rotate-key", "snapshot", "--old", "key-snapshot.pub", "--new", "new-snapshot.pub"]],
        &[&["add-key", "timestamp", "new-timestamp.pub"], &["remove-key", "timestamp", "key-timestamp.pub"]],
        &[&["rotate-key", "root", "--old", "key-root.pub", "--new", "new-root.pub"]],
    ];
    for rotation in rotations {
        let team = Team::new(&[]);
        team.copies("A", "stale");
        for target in ["f1", "f2", "f3"] {
            team.release("A", "targets", target);
        }
        team.copy("A", &["publish", "--to", "www"]).exits(0);
        let seen = team.refresh("old").exits(0).json();
        for args in rotation {
            team.copy("stale", args).exits(0);
        }
        team.write("stale").exits(0);
        // the timestamp of the colleague was signed with a key that goes, and the targets with one that stays
        let hint = match rotation[0][1] {
            "root" => {
                "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r stale pull --from www"
            }
            _ => {
                "others have published too, with keys that stay: make the new root in the copy that published last"
            }
        };
        team.refused("stale", &["publish", "--to", "www"], "metadata/4.targets.json", hint);
        let after = team.refresh("old").exits(0).json();
        assert_eq!((&after["timestamp"], &after["snapshot"]), (&seen["timestamp"], &seen["snapshot"]));
    }
}

#[test]
fn nothing_is_written_upon_what_somebody_else_has_published_into_the_repository() {
    let team = Team::new(&[]);
    team.copies("A", "B");
    team.release("A", "targets", "z");
    team.copy("A", &["publish", "--to", "B"]).exits(0);
    team.copy("B", &["bump", "targets"]).exits(0);
    let keys: Vec<String> =
        ROLES.iter().flat_map(|role| ["--key".to_owned(), format!("key-{role}")]).collect();
    let with = |command: &'static [&'static str]| -> Vec<String> {
        command.iter().map(|word| (*word).to_owned()).chain(keys.clone()).collect()
    };
    for command in [&["write"][..], &["write", "--partial"], &["write", "timestamp"], &["write", "--dry-run"]]
    {
        let args = with(command);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let pull = "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r B pull";
        team.refused("B", &args, "metadata/2.snapshot.json", pull);
    }
    team.copy("B", &["discard"]).exits(0);
    let policy = team.folder.path("B/tuf-repo.toml");
    let text = fs::read_to_string(&policy).unwrap() + "\n[publish]\nto = \"../www\"\n";
    fs::write(policy, text).unwrap();
    let args = with(&["refresh", "--within", "900d"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let pull = "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r B pull --from B";
    team.refused("B", &args, "metadata/2.snapshot.json", pull);
}

#[test]
fn a_backup_that_is_put_back_is_no_ancestor_of_what_was_published_since() {
    for whole in [true, false] {
        let team = Team::new(&[]);
        team.copies("A", "backup");
        team.release("A", "targets", "z");
        team.copy("A", &["publish", "--to", "www"]).exits(0);
        let back = if whole { "" } else { "/metadata.staged" };
        fs::remove_dir_all(team.folder.path(&format!("A{back}"))).unwrap();
        team.copies(&format!("backup{back}"), &format!("A{back}"));
        for name in ["targets", "snapshot", "timestamp"] {
            team.copy("A", &["bump", name, "--version", "9"]).exits(0);
        }
        team.write("A").exits(0);
        let pull =
            "where no key was stolen (SECURITY.md), take over what is live: tuf-repo -r A pull --from www";
        team.refused("A", &["publish", "--to", "www"], "metadata/2.targets.json", pull);
    }
}

#[test]
fn a_history_that_was_merged_badly_is_refused_by_its_line() {
    let team = Team::new(&[]);
    let history = team.folder.path("A/.tuf-history");
    let good = fs::read_to_string(&history).unwrap();
    team.copies("A", "B");
    team.release("B", "targets", "q");
    team.copy("A", &["bump", "targets"]).exits(0);
    for bad in ["<<<<<<< HEAD", "targets 2", "targets two 00"] {
        fs::write(&history, format!("{bad}\n{good}")).unwrap();
        let before = contents(&team.folder.path("A"));
        let ran = team.copy("A", &["write", "--key", "key-targets"]).exits(2);
        let named = ran.stderr.contains("A/.tuf-history, line 1: ") && ran.stderr.contains("hint: ");
        assert!(named, "{ran:?}");
        assert_eq!(contents(&team.folder.path("A")), before);
    }
    fs::write(&history, &good).unwrap();
    team.write("A").exits(0);
    team.copy("B", &["publish", "--to", "www"]).exits(0);
    // live is another copy's: now the history is asked
    fs::write(&history, format!("{good}=======\n")).unwrap();
    let ran = team.copy("A", &["publish", "--to", "www"]).exits(2);
    assert!(ran.stderr.contains(&format!("line {}: ", good.lines().count() + 1)), "{ran:?}");
}

#[test]
fn a_damaged_place_is_mended_by_its_own_copy_and_won_by_no_other() {
    for (name, bytes) in [("timestamp.json", "{\"sig"), ("2.snapshot.json", ""), ("2.targets.json", "<html>")]
    {
        let team = Team::new(&[]);
        team.copies("A", "B");
        team.release("A", "targets", "z");
        team.copy("A", &["publish", "--to", "www"]).exits(0);
        for target in ["q", "r", "s"] {
            team.release("B", "targets", target);
        }
        let place = team.folder.path("www/metadata").join(name);
        let good = fs::read(&place).unwrap();
        fs::write(&place, bytes).unwrap();
        let before = contents(&team.folder.path("www"));
        let ran = team.copy("B", &["publish", "--to", "www"]).exits(5);
        assert!(ran.stderr.contains("was not written by this copy"), "{ran:?}");
        if name != "2.targets.json" {
            let hint = "hint: let the copy that wrote it publish once more, which mends the place; then here: tuf-repo -r ";
            assert!(ran.stderr.contains(hint), "{ran:?}");
        }
        assert_eq!(contents(&team.folder.path("www")), before);
        let ran = team.copy("A", &["publish", "--to", "www"]).exits(0);
        assert!(ran.stderr.contains(&format!("metadata/{name}: no client accepts it")), "{ran:?}");
        assert_eq!(fs::read(&place).unwrap(), good);
        team.refresh("old").exits(0);
    }
}

#[test]
fn another_repositorys_place_and_one_without_roots_are_refused_with_a_way_on() {
    let team = Team::new(&[]);
    let other = Team::new(&[]);
    copy_folder(&other.folder.path("www"), &team.folder.path("theirs"));
    let away = "publish to another folder or bucket: tuf-repo -r A publish --to DEST";
    team.refused("A", &["publish", "--to", "theirs"], "metadata/1.root.json", away);
    team.refused("A", &["publish", "--to", "theirs", "--replace-damaged"], "metadata/1.root.json", away);
    for name in ["root.json", "1.root.json"] {
        fs::write(team.folder.path("www/metadata").join(name), "").unwrap();
    }
    let replace = &format!(
        "where you know that this repository was published there: \
         tuf-repo -r A --time {NOW} publish --to www --replace-damaged"
    );
    team.refused("A", &["publish", "--to", "www"], "metadata/1.root.json", replace);
    team.copy("A", &["publish", "--to", "www", "--replace-damaged"]).exits(0);
    team.client("new", &["init", "www/metadata/1.root.json"]).exits(0);
    team.refresh("new").exits(0);
}

/// Somebody has stolen the keys of some roles and published versions far above, and a client has taken them.
fn stolen(keys: &[&str]) -> Team {
    stolen_with(keys, &[])
}

/// The same in a repository that was made with more flags.
fn stolen_with(keys: &[&str], flags: &[&str]) -> Team {
    let team = Team::new(flags);
    team.copies("A", "thief");
    for role in keys {
        team.copy("thief", &["bump", role, "--version", "2000000000"]).exits(0);
    }
    team.write("thief").exits(0);
    team.copy("thief", &["publish", "--to", "www"]).exits(0);
    assert_eq!(team.refresh("old").exits(0).json()["timestamp"], 2_000_000_000);
    for role in keys {
        let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
        team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
    }
    team
}

#[test]
fn after_a_fast_forward_by_stolen_keys_old_clients_get_through_again() {
    for keys in [&["timestamp"][..], &["snapshot", "timestamp"], &["targets", "snapshot", "timestamp"]] {
        let team = stolen(keys);
        team.write("A").exits(0);
        let recover = format!(
            "a colleague's release is kept by making the new root in the copy that published last; what a thief published \
             gives way once the root here is written: tuf-repo -r A --time {NOW} publish --to www --recover {}",
            keys.join(" ")
        );
        let named = match keys {
            ["timestamp"] => "metadata/timestamp.json",
            ["snapshot", _] => "metadata/2000000000.snapshot.json",
            _ => "metadata/2000000000.targets.json",
        };
        team.refused("A", &["publish", "--to", "www"], named, &recover);
        let recover: Vec<&str> =
            ["publish", "--to", "www", "--recover"].iter().chain(keys).copied().collect();
        // nobody is there to agree
        let before = contents(&team.folder.path("."));
        let ran = team.copy("A", &recover).exits(3);
        for role in keys {
            let line = format!("{role} goes from v2000000000, which is live, to v");
            assert!(ran.stderr.contains(&line), "{ran:?}");
        }
        let plan = team.copy("A", &[&recover[..], &["--dry-run", "--json"]].concat()).exits(0).json();
        assert_eq!(plan["recovered"].as_array().unwrap().len(), keys.len(), "{plan}");
        assert_eq!(contents(&team.folder.path(".")), before);
        let done = team.copy("A", &[&recover[..], &["--yes", "--json"]].concat()).exits(0).json();
        assert_eq!(done["recovered"], plan["recovered"]);
        let seen = team.refresh("old").exits(0).json();
        assert!(seen["timestamp"].as_u64().unwrap() < 9, "{seen}");
        team.client("new", &["init", "www/metadata/1.root.json"]).exits(0);
        team.refresh("new").exits(0);
        // the same again is nothing to do, and from here on all is as ever
        assert_eq!(team.copy("A", &[&recover[..], &["--json"]].concat()).exits(0).json()["put"], json!([]));
        team.release("A", "targets", "afterwards");
        team.copy("A", &["publish", "--to", "www"]).exits(0);
        team.refresh("old").exits(0);
    }
}

#[test]
fn a_recovery_says_which_targets_vanish_and_keeps_everything_that_is_not_named_bounded() {
    let team = stolen(&["targets", "snapshot", "timestamp"]);
    team.release("thief", "targets", "malware");
    team.copy("thief", &["publish", "--to", "www"]).exits(0);
    team.write("A").exits(0);
    let all = ["publish", "--to", "www", "--recover", "targets", "snapshot", "timestamp", "--yes"];
    for left in ["targets", "snapshot"] {
        let some: Vec<&str> = all.into_iter().filter(|word| *word != left).collect();
        let ran = team.copy("A", &some).exits(5);
        assert!(ran.stderr.contains(&format!("{left}.json: was not written by this copy")), "{ran:?}");
    }
    let done: Value = team.copy("A", &[&all[..], &["--json"]].concat()).exits(0).json();
    assert_eq!(done["gone"], json!(["malware"]));
    // the thief has no key that counts
    let ran = team.copy("thief", &["publish", "--to", "www"]).exits(5);
    assert!(ran.stderr.contains("metadata/2.root.json: was not written by this copy"), "{ran:?}");
}

#[test]
fn a_recovery_names_the_roles_that_a_thief_delegated_to_and_their_targets() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let team = stolen_with(&["targets", "snapshot", "timestamp"], flags);
        let write = |more: &str| {
            let keys = ["targets", "snapshot", "timestamp"].map(|role| format!("--key=key-{role}"));
            let args: Vec<&str> =
                ["write"].into_iter().chain(keys.iter().map(String::as_str)).chain([more]).collect();
            team.copy("thief", &args).exits(0);
        };
        team.copy("thief", &["delegate", "gang", "--key", "key-team.pub", "--paths", "gang/*", "*"]).exits(0);
        team.copy(
            "thief",
            &["delegate", "mob", "--key", "key-team.pub", "--from", "gang", "--paths", "gang/*"],
        )
        .exits(0);
        let names: Vec<String> = (10..22).map(|number| format!("gang/{number}")).collect();
        for (role, names) in [("gang", &names[..]), ("mob", &["gang/mob".to_owned()])] {
            for name in names {
                let file = team.folder.path("thief/targets").join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, name).unwrap();
                team.copy("thief", &["add-targets", &format!("thief/targets/{name}"), "--role", role])
                    .exits(0);
            }
        }
        write("--key=key-team");
        team.copy("thief", &["publish", "--to", "www"]).exits(0);
        team.write("A").exits(0);
        let recover = ["publish", "--to", "www", "--recover", "targets", "snapshot", "timestamp"];
        let told = team.copy("A", &recover).exits(3).stderr;
        for words in [
            "2 roles live and will not be trusted: gang, mob",
            "13 targets live and will not be listed: gang/10, gang/11",
            "and 3 more",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        for more in [&["--dry-run", "--json"][..], &["--yes", "--json"]] {
            let plan: Value = team.copy("A", &[&recover[..], more].concat()).exits(0).json();
            assert_eq!(plan["gone_roles"], json!(["gang", "mob"]), "{plan}");
            let gone: Vec<&str> = names.iter().map(String::as_str).chain(["gang/mob"]).collect();
            assert_eq!(plan["gone"], json!(gone), "{plan}");
        }
    }
}

#[test]
fn nothing_is_recovered_while_a_key_that_signed_it_is_trusted() {
    let team = stolen(&["snapshot", "timestamp"]);
    // one of the keys is still there, beside the new one
    team.copy("A", &["add-key", "snapshot", "key-snapshot.pub"]).exits(0);
    team.write("A").exits(0);
    let recover = ["publish", "--to", "www", "--yes", "--recover", "snapshot", "timestamp"];
    let hint = "first let a new root take away the key, and write it: tuf-repo -r A rotate-key ROLE --old KEY --new KEY";
    team.refused("A", &recover, "metadata/2000000000.snapshot.json", hint);
    let team = Team::new(&[]);
    for role in ["root", "team"] {
        let ran = team.copy("A", &["publish", "--to", "www", "--recover", role]).exits(2);
        assert!(ran.stderr.contains(&format!("'{role}' cannot be recovered")), "{ran:?}");
    }
    team.copy("A", &["publish", "--to", "www", "--yes"]).exits(2);
}

/// Returns the commands that hints and next steps propose, without what explains them.
fn proposed(ran: &Ran) -> Vec<String> {
    let command = |line: &str| {
        let hint = line.strip_prefix("hint: ")?;
        hint.find("tuf-repo ").map(|at| hint[at..].to_owned())
    };
    ran.stderr.lines().filter_map(command).collect()
}

#[test]
fn after_a_theft_no_hint_and_no_next_step_leads_to_a_pull() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        for keys in [&["timestamp"][..], &["snapshot", "timestamp"], &["targets", "snapshot", "timestamp"]] {
            let team = stolen_with(keys, flags);
            let policy = team.folder.path("A/tuf-repo.toml");
            let text = fs::read_to_string(&policy).unwrap() + "\n[publish]\nto = \"../www\"\n";
            fs::write(&policy, text).unwrap();
            let next = || {
                let status = team.copy("A", &["status", "--json"]).exits(0).json();
                status["next"][0].as_str().unwrap_or_default().to_owned()
            };
            let recover = format!("publish --recover {}", keys.join(" "));
            // the new root is drafted, then written
            for is_written in [false, true] {
                if is_written {
                    team.write("A").exits(0);
                }
                let before = contents(&team.folder.path("A"));
                for args in
                    [&["pull"][..], &["pull", "--yes"], &["pull", "--yes", "--set-aside"], &["publish"]]
                {
                    let ran = team.copy("A", args).exits(5);
                    let proposed = proposed(&ran);
                    let leads =
                        proposed.iter().all(|line| line.contains("--recover") && !line.contains("pull "));
                    assert!(leads && proposed.len() == 1, "{args:?}: {ran:?}");
                    assert!(proposed[0].ends_with(&recover["publish ".len()..]), "{proposed:?}");
                }
                let changed = difference(&before, &contents(&team.folder.path("A")));
                assert!(changed.is_empty(), "{changed:?}");
                let step = next();
                match is_written {
                    false => assert!(step.starts_with("tuf-repo -r A write"), "{step}"),
                    true => assert_eq!(step, format!("tuf-repo -r A {recover}")),
                }
            }
            // what is proposed works, once somebody agrees
            let words: Vec<&str> = recover.split(' ').chain(["--yes"]).collect();
            team.copy("A", &words).exits(0);
            assert_eq!(next(), "");
            team.refresh("old").exits(0);
        }
    }
}

#[test]
fn after_a_theft_the_repositorys_own_live_folder_is_recovered_too() {
    for keys in [&["timestamp"][..], &["snapshot", "timestamp"]] {
        let team = Team::new(&[]);
        team.copy("A", &["publish"]).exits(0);
        team.copies("A", "thief");
        for role in keys {
            team.copy("thief", &["bump", role, "--version", "2000000000"]).exits(0);
        }
        team.write("thief").exits(0);
        team.copy("thief", &["publish", "--to", "A"]).exits(0);
        for role in keys {
            let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
            team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
        }
        let ran = team.copy("A", &["pull", "--yes"]).exits(5);
        assert!(proposed(&ran)[0].starts_with("tuf-repo -r A publish --recover"), "{ran:?}");
        team.write("A").exits(0);
        let words = [&["publish", "--yes", "--recover"][..], keys].concat();
        team.copy("A", &words).exits(0);
        team.copy("A", &["verify", "--live"]).exits(0);
    }
}

#[test]
fn a_rotation_without_a_theft_is_pulled_and_published_as_ever() {
    let team = Team::new(&[]);
    team.copies("A", "B");
    for role in ["snapshot", "timestamp"] {
        let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
        team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
    }
    // what is live is this copy's own
    let ran = team.copy("A", &["pull", "--from", "www"]).exits(0);
    assert!(ran.stderr.contains("Nothing to do"), "{ran:?}");
    team.write("A").exits(0);
    team.copy("A", &["pull", "--from", "www"]).exits(0);
    team.copy("A", &["publish", "--to", "www"]).exits(0);
    team.copy("B", &["pull", "--from", "www", "--yes"]).exits(0);
    team.release("B", "targets", "b");
    team.copy("B", &["publish", "--to", "www"]).exits(0);
}

#[test]
fn a_rotation_that_meets_a_colleagues_release_is_given_up_pulled_over_and_made_again() {
    let team = Team::new(&[]);
    team.copies("A", "B");
    team.release("B", "targets", "b");
    team.copy("B", &["publish", "--to", "www"]).exits(0);
    let rotate = || {
        for role in ["snapshot", "timestamp"] {
            let (old, new) = (format!("key-{role}.pub"), format!("new-{role}.pub"));
            team.copy("A", &["rotate-key", role, "--old", &old, "--new", &new]).exits(0);
        }
    };
    rotate();
    let ran = team.copy("A", &["pull", "--from", "www", "--yes"]).exits(5);
    assert!(ran.stderr.contains("others have published too, with keys that stay"), "{ran:?}");
    assert_eq!(proposed(&ran), ["tuf-repo -r A discard root"]);
    team.copy("A", &["discard", "root"]).exits(0);
    team.copy("A", &["pull", "--from", "www", "--yes"]).exits(0);
    rotate();
    team.write("A").exits(0);
    team.copy("A", &["publish", "--to", "www"]).exits(0);
    team.refresh("old").exits(0);
}
