//! One delegated role's fault is that role's: `write`, `refresh` and `publish` refuse a fault that they would bring to clients
//! and warn of one that was there before.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tuf::canonical;
use tuf::crypto::Signer;
use tuf::repository::{
    BinKind, CheckOptions, Destination, Expiry, Finding, KeyChoice, Layout, Replace, RepositoryError,
    Retention, Selection, Side, TargetBytes, Trust, check,
};

use crate::cli::Site;
use crate::support::finish;
use crate::world::{Edited, World, contents, copy_folder, delegation, difference, keys, public, role, tree};

/// What is done to a role's file, and the fault that is told.
type Damaging<'a> = (&'a dyn Fn(&Path), &'a str);

/// Between fork and exec the child of another test holds every lock of this process.
const WAIT: Duration = Duration::from_secs(20);
const LAYOUTS: [Layout; 2] = [Layout::Consistent, Layout::Plain];
/// The keys of root, targets, snapshot and timestamp; `team` has key 4, `sub` below it has key 5.
const OURS: [usize; 4] = [0, 1, 2, 3];
/// The keys of a repository with hash bins, which have key 4.
const BINS: [usize; 5] = [0, 1, 2, 3, 4];
const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// A published repository that delegates `team/*` to `team`, which delegates `team/sub/*` to `sub`.
fn scene(layout: Layout) -> World {
    let world = World::written(layout);
    world.delegate("targets", "team", 4, &["team/*", "team/sub/*"]).unwrap();
    world.delegate("team", "sub", 5, &["team/sub/*"]).unwrap();
    for (by, name) in [("targets", "a"), ("team", "team/x"), ("sub", "team/sub/y")] {
        world.put(name, name.as_bytes());
        world.add(by, &[name], Replace::Refuse).unwrap();
    }
    for name in ["targets", "snapshot", "root"] {
        let late = world.now + TimeDelta::days(700);
        world.edit(|repository| repository.expire(&role(name), late)).unwrap();
    }
    world.write(&ALL).unwrap();
    world.publish().unwrap();
    world
}

fn expire(world: &World, name: &str, days: i64) {
    let expires = world.now + TimeDelta::days(days);
    world.edit(|repository| repository.expire(&role(name), expires)).unwrap();
    world.write(&ALL).unwrap();
    world.publish().unwrap();
}

/// Publishes and returns the warnings.
fn publish(world: &World, to: &Destination) -> Edited<Vec<Finding>> {
    let repository = world.lock()?;
    let plan = repository.plan_publish(to, Expiry::Enforce, WAIT)?;
    repository.execute_publish(&plan, &|_| ())?;
    Ok(plan.warnings)
}

/// Lists another target and writes it without the keys of the delegated roles.
fn release(world: &World, name: &str) -> Edited<Vec<Finding>> {
    world.put(name, name.as_bytes());
    world.add("targets", &[name], Replace::Refuse)?;
    Ok(world.write(&OURS)?.warnings)
}

/// Holds that a warning names the role, a delegator and the fault.
fn assert_warns(warnings: &[Finding], name: &str, by: &str, fault: &str) {
    let named = |finding: &&Finding| finding.role.as_ref() == Some(&role(name));
    let found = warnings.iter().find(named).unwrap_or_else(|| panic!("{name} in {warnings:?}"));
    for word in [&format!("'{name}'"), &format!("'{by}'"), fault] {
        assert!(found.message.contains(word), "{word} in {}", found.message);
    }
}

/// Holds that live is wrong in one role and that the others are what they should be.
fn assert_only_wrong(world: &World, name: &str) {
    let options = CheckOptions { side: Side::Live, expiry: Expiry::Enforce, targets: TargetBytes::Digest };
    let report = check(&world.dir(), options, world.now).unwrap();
    let wrong = |finding: &&Finding| finding.role.as_ref() != Some(&role(name));
    let others: Vec<_> = report.findings.iter().filter(wrong).collect();
    assert!(!report.ok() && others.is_empty(), "{:?}", report.findings);
}

fn refused<T: std::fmt::Debug>(result: Edited<T>, word: &str) {
    match result {
        Err(RepositoryError::Refused { file, reason }) => {
            let message = format!("{file}: {reason}");
            assert!(message.contains(word), "{word} in {message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Changes what a file says and signs it with keys.
pub fn forge(path: &Path, signers: &[usize], change: impl FnOnce(&mut Value)) {
    let mut file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut file["signed"]);
    let message = canonical::from_value(&file["signed"]).unwrap();
    let signature = |number: &usize| {
        let sig = keys()[*number].sign("ed25519", &message).unwrap();
        json!({ "keyid": public(*number).id().to_string(), "sig": hex::encode(sig) })
    };
    file["signatures"] = signers.iter().map(signature).collect();
    fs::write(path, serde_json::to_vec(&file).unwrap()).unwrap();
}

fn file_of(world: &World, side: &str, name: &str) -> std::path::PathBuf {
    let (version, _) = world.versions(name);
    let staged = world.open();
    let name = match staged.staged().layout() {
        Layout::Consistent => format!("{}.{name}.json", version.unwrap()),
        Layout::Plain => format!("{name}.json"),
    };
    world.path(side).join(name)
}

/// Does something to a role's file, staged and live alike: what clients meet is what they met before.
fn damage(world: &World, name: &str, damage: impl Fn(&Path)) {
    for file in ["metadata.staged", "metadata"].map(|side| file_of(world, side, name)) {
        damage(&file);
    }
}

#[test]
fn an_expired_role_of_another_team_stops_neither_refresh_nor_write_nor_publish() {
    for layout in LAYOUTS {
        for (late, by) in [("team", "targets"), ("sub", "team")] {
            let mut world = scene(layout);
            expire(&world, late, 2);
            world.after(TimeDelta::days(3));
            let refreshed = world.refresh(&OURS).unwrap();
            assert_warns(&refreshed.warnings, late, by, "expired on");
            assert_warns(&publish(&world, &Destination::Own).unwrap(), late, by, "expired on");
            assert_warns(&release(&world, "b").unwrap(), late, by, "expired on");
            assert_warns(&publish(&world, &Destination::Own).unwrap(), late, by, "expired on");
            world.put("c", b"c");
            world.add("targets", &["c"], Replace::Refuse).unwrap();
            let some = Selection::Complete(vec![role("targets")]);
            assert_warns(&world.write_some(&some, &OURS).unwrap().warnings, late, by, "expired on");
            assert_warns(&publish(&world, &Destination::Own).unwrap(), late, by, "expired on");
            assert_only_wrong(&world, late);
            // the team comes back
            world.edit(|repository| repository.bump(&role(late), None)).unwrap();
            assert_eq!(world.write(&ALL).unwrap().warnings, []);
            assert_eq!(publish(&world, &Destination::Own).unwrap(), []);
        }
    }
}

#[test]
fn a_missing_or_unreadable_file_of_another_team_is_a_warning_where_it_was_live() {
    let remove = |file: &Path| fs::remove_file(file).unwrap();
    let garble = |file: &Path| fs::write(file, "<html>").unwrap();
    let actions: [Damaging<'_>; 2] = [(&remove, "missing"), (&garble, "1.team.json")];
    for layout in LAYOUTS {
        for (act, fault) in actions {
            let world = scene(layout);
            damage(&world, "team", act);
            let fault = if layout == Layout::Plain { fault.trim_start_matches("1.") } else { fault };
            assert_warns(&release(&world, "b").unwrap(), "team", "targets", fault);
            assert_warns(&publish(&world, &Destination::Own).unwrap(), "team", "targets", fault);
            let status = world.open().status().unwrap();
            let team = status.roles.iter().find(|found| found.role == role("team")).unwrap();
            assert!(team.reasons[0].to_string().contains("cannot be read"), "{:?}", team.reasons);
            assert_only_wrong(&world, "team");
        }
    }
}

#[test]
fn what_lies_below_a_role_that_cannot_be_judged_is_kept_and_put() {
    let world = scene(Layout::Consistent);
    let to = tempfile::tempdir().unwrap();
    let www = Destination::Folder(to.path().to_owned());
    publish(&world, &www).unwrap();
    damage(&world, "team", |file| fs::remove_file(file).unwrap());
    fs::remove_file(to.path().join("metadata/1.team.json")).unwrap();
    fs::remove_file(to.path().join("metadata/1.sub.json")).unwrap();
    // a draft of a role below it is nobody's to drop
    let draft = world.path("metadata.staged/.drafts");
    fs::create_dir_all(&draft).unwrap();
    fs::copy(world.path("metadata.staged/1.sub.json"), draft.join("sub.json")).unwrap();
    forge(&draft.join("sub.json"), &[], |signed| signed["version"] = json!(2));
    let before = fs::read(draft.join("sub.json")).unwrap();
    release(&world, "b").unwrap();
    assert_eq!(fs::read(draft.join("sub.json")).unwrap(), before);
    assert_warns(&publish(&world, &www).unwrap(), "team", "targets", "missing");
    let same = |name: &str| fs::read(to.path().join("metadata").join(name)).ok();
    assert_eq!(same("1.sub.json"), fs::read(world.path("metadata.staged/1.sub.json")).ok());
    assert_eq!(same("1.team.json"), None);
    let snapshot: Value =
        serde_json::from_slice(&same("2.snapshot.json").or(same("3.snapshot.json")).unwrap()).unwrap();
    assert_eq!(snapshot["signed"]["meta"]["sub.json"]["version"], 1);
}

#[test]
fn a_role_that_one_of_two_delegators_does_not_trust_is_told_once_for_that_one() {
    let world = scene(Layout::Consistent);
    // `other` trusts `sub` as well, with a key that has not signed: only tools that do not look make such a thing
    world.delegate("targets", "other", 6, &["other/*"]).unwrap();
    world.write(&[0, 1, 2, 3, 6]).unwrap();
    world.publish().unwrap();
    for side in ["metadata.staged", "metadata"] {
        forge(&file_of(&world, side, "other"), &[6], |signed| {
            let key = serde_json::to_value(public(7)).unwrap();
            let id = public(7).id().to_string();
            signed["delegations"] = json!({
                "keys": { id.clone(): key },
                "roles": [{ "name": "sub", "keyids": [id], "threshold": 1, "terminating": false, "paths": ["*"] }],
            });
        });
    }
    assert_eq!(release(&world, "b").unwrap(), []);
    let warnings = publish(&world, &Destination::Own).unwrap();
    assert_warns(&warnings, "sub", "other", "0 of 1 required signatures");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    // it is new in the eyes of another place
    let to = tempfile::tempdir().unwrap();
    refused(publish(&world, &Destination::Folder(to.path().join("www"))), "0 of 1 required signatures");
    assert!(!to.path().join("www").exists());
}

#[test]
fn a_first_publication_is_no_place_for_faults() {
    let mut world = scene(Layout::Consistent);
    expire(&world, "sub", 2);
    world.after(TimeDelta::days(3));
    world.refresh(&OURS).unwrap();
    let to = tempfile::tempdir().unwrap();
    refused(publish(&world, &Destination::Folder(to.path().join("www"))), "sub v2 expired");
}

#[test]
fn a_fault_that_is_staged_and_not_live_is_refused() {
    let acts: [Damaging<'_>; 2] = [
        (&|file| forge(file, &[7], |_| ()), "0 of 1 required signatures"),
        (&|file| forge(file, &[4], |signed| signed["version"] = json!(9)), "version 9"),
    ];
    for layout in LAYOUTS {
        for (act, fault) in acts {
            let world = scene(layout);
            act(&file_of(&world, "metadata.staged", "team"));
            let before = tree(&world.path("metadata"));
            let error = publish(&world, &Destination::Own).unwrap_err();
            assert!(matches!(error, RepositoryError::Refused { .. }), "{error}");
            // two files of one version are refused before either is judged
            let message = error.to_string();
            let is_taken = fault != "missing" && message.contains("exists with other bytes");
            assert!(is_taken || message.contains(fault), "{fault} in {message}");
            assert!(tree(&world.path("metadata")) == before);
        }
    }
}

#[test]
fn a_file_that_is_missing_here_and_live_there_stays_live_and_is_a_warning() {
    for layout in LAYOUTS {
        let world = scene(layout);
        fs::remove_file(file_of(&world, "metadata.staged", "team")).unwrap();
        let before = tree(&world.path("metadata"));
        assert_warns(&publish(&world, &Destination::Own).unwrap(), "team", "targets", "missing");
        assert!(tree(&world.path("metadata")) == before);
    }
}

#[test]
fn a_new_way_to_a_faulty_role_is_refused_where_an_old_one_is_a_warning() {
    let mut world = scene(Layout::Consistent);
    expire(&world, "sub", 2);
    world.after(TimeDelta::days(3));
    let before = contents(&world.dir());
    let mut repository = world.lock().unwrap();
    repository.delegate(delegation("targets", "sub", 5, &["team/sub/*"])).unwrap();
    let plan = repository.plan_write(&Selection::Whole(Vec::new()), &crate::world::signing(&OURS));
    refused(plan, "sub v2 expired");
    drop(repository);
    assert_eq!(difference(&before, &contents(&world.dir())), Vec::<String>::new());
}

#[test]
fn a_delegation_before_or_after_a_faulty_one_does_not_change_its_place() {
    for before in [None, Some(role("team"))] {
        let mut world = scene(Layout::Consistent);
        expire(&world, "team", 2);
        world.after(TimeDelta::days(3));
        let mut other = delegation("targets", "other", 6, &["other/*"]);
        other.before = before;
        world.edit(|repository| repository.delegate(other)).unwrap();
        assert_warns(&world.write(&[0, 1, 2, 3, 6]).unwrap().warnings, "team", "targets", "expired");
        assert_warns(&publish(&world, &Destination::Own).unwrap(), "team", "targets", "expired");
    }
}

#[test]
fn a_faulty_role_that_is_searched_earlier_than_before_is_refused() {
    let mut world = scene(Layout::Consistent);
    world.delegate("targets", "other", 6, &["other/*"]).unwrap();
    world.write(&[0, 1, 2, 3, 6]).unwrap();
    world.publish().unwrap();
    let late = world.now + TimeDelta::days(2);
    world.edit(|repository| repository.expire(&role("other"), late)).unwrap();
    world.write(&[0, 1, 2, 3, 6]).unwrap();
    world.publish().unwrap();
    world.after(TimeDelta::days(3));
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    world.write(&OURS).unwrap();
    let file = file_of(&world, "metadata.staged", "targets");
    forge(&file, &[1], |signed| signed["delegations"]["roles"].as_array_mut().unwrap().reverse());
    refused(publish(&world, &Destination::Own), "other v2 expired");
}

#[test]
fn keys_or_paths_that_are_taken_from_a_role_are_this_change() {
    let narrow = |world: &World| {
        world.edit(|repository| repository.revoke(&role("team"), None)).unwrap();
        world.delegate("targets", "team", 4, &["team/sub/*"]).unwrap();
        world.write(&ALL)
    };
    for layout in LAYOUTS {
        let world = scene(layout);
        let mut before = contents(&world.path("metadata.staged"));
        before.retain(|name, _| !name.starts_with(".drafts"));
        refused(narrow(&world), "lists 'team/x', which no delegation trusts it for");
        let mut after = contents(&world.path("metadata.staged"));
        after.retain(|name, _| !name.starts_with(".drafts"));
        assert_eq!(difference(&before, &after), Vec::<String>::new());
    }
    // the key is gone, and with it what it has signed: signatures are missing, not a fault to be warned of
    let world = scene(Layout::Consistent);
    world.edit(|repository| repository.add_key(&role("team"), public(6), None)).unwrap();
    world.write(&ALL).unwrap();
    world.publish().unwrap();
    let old = KeyChoice::Key(public(4).clone());
    world
        .edit(|repository| repository.remove_key(&role("team"), &old, None, tuf::repository::DeadEnd::Refuse))
        .unwrap();
    let error = world.write(&OURS).unwrap_err();
    assert!(
        matches!(&error, RepositoryError::Incomplete(lacking) if lacking[0].role == role("team")),
        "{error}"
    );
}

#[test]
fn a_stray_that_a_delegatee_signs_is_refused_by_write_as_by_publish() {
    for layout in LAYOUTS {
        let world = scene(layout);
        let drafts = world.path("metadata.staged/.drafts");
        fs::create_dir_all(&drafts).unwrap();
        fs::copy(file_of(&world, "metadata.staged", "team"), drafts.join("team.json")).unwrap();
        forge(&drafts.join("team.json"), &[4], |signed| {
            signed["version"] = json!(2);
            let listed = signed["targets"]["team/x"].clone();
            signed["targets"]["a"] = listed;
        });
        refused(world.write(&OURS), "lists 'a', which no delegation trusts it for");
    }
}

#[test]
fn hash_bins_that_have_expired_or_are_gone_are_warned_of_one_by_one() {
    for layout in LAYOUTS {
        for kind in [BinKind::Succinct, BinKind::Classic] {
            let mut world = World::written(layout);
            let mut bins = delegation("targets", "bin", 4, &[]);
            bins.trust = Trust::Bins { number: 4, kind };
            world.edit(|repository| repository.delegate(bins)).unwrap();
            for name in ["targets", "snapshot", "root"] {
                let late = world.now + TimeDelta::days(700);
                world.edit(|repository| repository.expire(&role(name), late)).unwrap();
            }
            world
                .edit(|repository| repository.expire(&role("bin-1"), repository.now() + TimeDelta::days(2)))
                .unwrap();
            world.write(&BINS).unwrap();
            world.publish().unwrap();
            damage(&world, "bin-2", |file| fs::remove_file(file).unwrap());
            world.after(TimeDelta::days(3));
            world.refresh(&OURS).unwrap();
            let warnings = publish(&world, &Destination::Own).unwrap();
            assert_warns(&warnings, "bin-1", "targets", "expired");
            assert_warns(&warnings, "bin-2", "targets", "missing");
            assert_eq!(warnings.len(), 2, "{warnings:?}");
        }
    }
}

#[test]
fn copies_that_were_made_before_see_the_same_faults_as_ever() {
    // an old client that stands on live takes the step too
    let mut world = scene(Layout::Consistent);
    expire(&world, "team", 2);
    let old = tempfile::tempdir().unwrap();
    copy_folder(&world.path("metadata"), old.path());
    world.after(TimeDelta::days(3));
    release(&world, "b").unwrap();
    publish(&world, &Destination::Own).unwrap();
    let standing = crate::client::Standing::at_root(old.path(), 1);
    let (standing, _) = standing.update(old.path()).unwrap();
    standing.update(&world.path("metadata")).unwrap();
}

#[test]
fn the_cron_job_and_a_client_by_name_go_on_while_another_teams_role_has_expired() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = Site::written_with(flags);
        site.put("a.txt", "hello");
        site.run(&["add-targets", "targets/a.txt"]).exits(0);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
        site.run(&["expire", "team", "2d"]).exits(0);
        let ours = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];
        let all = [&["write", "--key=../key-4"], &ours[..]].concat();
        site.run(&all).exits(0);
        site.run(&["publish"]).exits(0);
        let later = |args: &[&str]| {
            let mut command = site.folder.command(args);
            command.current_dir(site.repository()).args(["--time", "2031-03-04T12:00:00Z"]);
            finish(command)
        };
        for command in [&["refresh"][..], &["publish"]] {
            let keys = if command == ["refresh"] { &ours[..] } else { &[] };
            let ran = later(&[command, keys].concat()).exits(0);
            for word in
                ["warning: ", "'targets' delegates to 'team'", "team v1 expired on 2031-03-03T12:00:00Z"]
            {
                assert!(ran.stderr.contains(word), "{word}: {ran:?}");
            }
        }
        let json = later(&["publish", "--json"]).exits(0).json();
        assert_eq!(json["warnings"][0]["role"], "team", "{json}");
        for command in [&["verify"][..], &["verify", "--live"]] {
            assert!(later(command).exits(5).stdout.contains("team v1 expired"), "{command:?}");
        }
        assert!(later(&["status"]).exits(0).stdout.contains("EXPIRED"));
        let told = later(&["doctor"]).words();
        for expired in ["team v1 expired on 2031-03-03T12:00:00Z", "timestamp v"] {
            assert_eq!(told.contains(expired), expired.starts_with("team"), "{told}");
        }
        let fetch = |args: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
            command.args(["--metadata-dir", "client", "--time", "2031-03-04T12:00:00Z"]).args(args);
            command.current_dir(site.folder.path(""));
            finish(command)
        };
        fetch(&["init", "repository/metadata/1.root.json"]).exits(0);
        let [metadata, targets] =
            ["metadata", "targets"].map(|part| format!("file://{}", site.path(part).display()));
        fetch(&[
            "--metadata-url",
            &metadata,
            "--target-base-url",
            &targets,
            "--target-dir",
            "got",
            "--target-name",
            "a.txt",
            "download",
        ])
        .exits(0);
        assert_eq!(fs::read_to_string(site.folder.path("got/a.txt")).unwrap(), "hello");
    }
}

/// A kind of damage to a role's file, and what is said of it.
type Damage = (fn(&Path), &'static str);

fn damages() -> [Damage; 4] {
    [
        (|file| fs::remove_file(file).unwrap(), "missing"),
        (|file| fs::write(file, "<html>").unwrap(), "team"),
        (|file| forge(file, &[7], |_| ()), "0 of 1 required signatures"),
        (|file| forge(file, &[4, 5], |signed| signed["version"] = json!(9)), "version 9"),
    ]
}

/// The scene with all three targets replaced once, so that old copies are left over.
fn worn(layout: Layout) -> World {
    let world = scene(layout);
    for (by, name) in [("targets", "a"), ("team", "team/x"), ("sub", "team/sub/y")] {
        world.put(name, b"new bytes");
        world.add(by, &[name], Replace::Allow).unwrap();
    }
    world.write(&ALL).unwrap();
    world.publish().unwrap();
    world
}

const OLDEST: Retention = Retention { keep: 1, keep_within: TimeDelta::zero() };

/// The copy of a target with its first bytes.
fn old_copy(name: &str) -> String {
    let (folder, base) = name.rsplit_once('/').map_or(("", name), |(folder, base)| (folder, base));
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    format!("targets/{folder}{}.{base}", crate::foreign::digest(name))
}

#[test]
fn one_delegatees_fault_stops_no_collection_and_nothing_goes_that_it_may_list() {
    let all = ["a", "team/x", "team/sub/y"];
    for (at_fault, kept) in [("team", &all[1..]), ("sub", &all[2..])] {
        for (damage_of, word) in damages() {
            for sides in [&["metadata.staged"][..], &["metadata"], &["metadata.staged", "metadata"]] {
                let world = worn(Layout::Consistent);
                let files: Vec<_> = sides.iter().map(|side| file_of(&world, side, at_fault)).collect();
                files.iter().for_each(|file| damage_of(file));
                let repository = world.lock().unwrap();
                let plan = repository.plan_gc(OLDEST, WAIT).unwrap();
                let word = if word == "team" { at_fault } else { word };
                let warning = plan.warnings.iter().find(|one| one.role == Some(role(at_fault))).unwrap();
                assert!(warning.message.contains(word), "{word} in {}", warning.message);
                let told = format!("no target that '{at_fault}' may list is collected");
                assert!(warning.message.contains(&told), "{}", warning.message);
                assert_eq!(plan.left.undecided, kept.len());
                let deleted: Vec<&str> = plan.deleted().collect();
                for name in all {
                    let goes = deleted.contains(&old_copy(name).as_str());
                    assert_eq!(goes, !kept.contains(&name), "{name} of {deleted:?}");
                }
                // the record that lists what stays for now stays as well
                for side in ["metadata.staged", "metadata"] {
                    assert!(!deleted.contains(&format!("{side}/1.{at_fault}.json").as_str()), "{deleted:?}");
                }
                repository.execute_gc(&plan, None).unwrap();
            }
        }
    }
}

#[test]
fn what_a_delegatees_fault_has_kept_goes_once_it_is_mended() {
    let world = worn(Layout::Consistent);
    let file = file_of(&world, "metadata", "team");
    let good = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let collect = || {
        let repository = world.lock().unwrap();
        let plan = repository.plan_gc(OLDEST, WAIT).unwrap();
        repository.execute_gc(&plan, None).unwrap();
        plan.deleted().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!collect().contains(&old_copy("team/x")));
    fs::write(&file, good).unwrap();
    let deleted = collect();
    assert!(
        deleted.contains(&old_copy("team/x")) && deleted.contains(&old_copy("team/sub/y")),
        "{deleted:?}"
    );
    assert!(deleted.contains(&"metadata/1.team.json".to_owned()), "{deleted:?}");
}

#[test]
fn a_collection_goes_on_in_the_plain_layout_too_and_never_past_a_fault_of_the_top_level_targets() {
    for layout in LAYOUTS {
        for (damage_of, _) in damages() {
            let world = worn(layout);
            damage(&world, "team", damage_of);
            let repository = world.lock().unwrap();
            assert_eq!(repository.plan_gc(OLDEST, WAIT).unwrap().warnings.len(), 2);
            drop(repository);
            damage(&world, "targets", damage_of);
            let before = contents(&world.dir());
            // where these targets are missing or no metadata, nothing can even be opened
            let planned = world.lock().and_then(|repository| repository.plan_gc(OLDEST, WAIT));
            assert!(matches!(planned, Err(RepositoryError::Refused { .. })), "{planned:?}");
            assert_eq!(difference(&before, &contents(&world.dir())), Vec::<String>::new());
        }
    }
}

#[test]
fn gc_names_the_delegatee_at_fault_and_exits_0() {
    let site = Site::written();
    site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
    let keys = ["--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"];
    for text in ["one", "two"] {
        site.put("team/x", text);
        site.put("a", text);
        site.run(&["add-targets", "targets/team/x", "--role", "team", "--replace"]).exits(0);
        site.run(&["add-targets", "targets/a", "--replace"]).exits(0);
        site.run(&[&["write"], &keys[..]].concat()).exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
    }
    let newest = |folder: &Path| {
        let files = contents(folder).into_keys().filter(|name| name.ends_with(".team.json"));
        folder.join(files.max().unwrap())
    };
    fs::write(newest(&site.folder.path("www/metadata")), "junk").unwrap();
    for to in [&["--to", "../www"][..], &[]] {
        let ran = site.run(&[&["gc", "--keep", "1", "--keep-within", "0s"], to].concat()).exits(0);
        let is_here = to.is_empty();
        assert_eq!(ran.stderr.contains("no target that 'team' may list is collected"), !is_here, "{ran:?}");
        let old = format!("targets/team/{}.x", crate::foreign::digest("one"));
        assert_eq!(ran.stdout.contains(&old), is_here, "{ran:?}");
        assert!(ran.stdout.contains(&format!("targets/{}.a", crate::foreign::digest("one"))), "{ran:?}");
    }
    let json = site.json(&["gc", "--dry-run", "--to", "../www"], 0);
    assert_eq!(json["warnings"][0]["role"], "team", "{json}");
}

#[test]
fn verify_refuses_a_role_that_its_second_delegators_keys_do_not_sign() {
    for layout in LAYOUTS {
        let world = scene(layout);
        world.delegate("targets", "other", 6, &["other/*"]).unwrap();
        world.write(&[0, 1, 2, 3, 6]).unwrap();
        world.publish().unwrap();
        // before and after the delegator whose keys have signed
        for second in ["other", "team"] {
            let (mut good, signer) = (Vec::new(), if second == "other" { 6 } else { 4 });
            for side in ["metadata.staged", "metadata"] {
                let file = file_of(&world, side, second);
                good.push((file.clone(), fs::read(&file).unwrap()));
                forge(&file, &[signer], |signed| {
                    let id = public(7).id().to_string();
                    let mut roles = vec![json!({
                        "name": if second == "other" { "sub" } else { "other" },
                        "keyids": [id], "threshold": 1, "terminating": false, "paths": ["*"],
                    })];
                    let mut keys = json!({ id: serde_json::to_value(public(7)).unwrap() });
                    if let Some(old) = signed.get("delegations") {
                        roles.extend(old["roles"].as_array().unwrap().iter().cloned());
                        let old = old["keys"].as_object().unwrap().clone();
                        keys.as_object_mut().unwrap().extend(old);
                    }
                    signed["delegations"] = json!({ "keys": keys, "roles": roles });
                });
            }
            for side in [Side::Staged, Side::Live] {
                let options = CheckOptions { side, expiry: Expiry::Enforce, targets: TargetBytes::Ignore };
                let report = check(&world.dir(), options, world.now).unwrap();
                let found = report.first_error().unwrap();
                let shared = if second == "other" { "sub" } else { "other" };
                assert_eq!(found.role, Some(role(shared)), "{found:?}");
                assert!(found.message.contains("0 of 1 required signatures"), "{found:?}");
            }
            good.into_iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
        }
    }
}
