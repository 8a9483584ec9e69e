//! What `gc` makes of files that are not what their names say, and whom it names as a file's holder.

use std::fs;

use tuf::repository::{
    Destination, InputError, Layout, METADATA, Refusal, Replace, RepositoryError, Retention, STAGED,
};

use crate::cli::Site;
use crate::world::{PATIENCE, World, contents, difference, role};

const NONE: chrono::TimeDelta = chrono::TimeDelta::zero();

/// A repository whose role `d` was published and is revoked since; returns the name of its file.
fn revoked(layout: Layout) -> (World, String) {
    let world = World::written(layout);
    world.delegate("targets", "d", 4, &["d/*"]).unwrap();
    world.put("d/file", b"bytes");
    world.add("d", &["d/file"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    world.edit(|repository| repository.revoke(&role("d"), None)).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    world.publish().unwrap();
    let name = if layout == Layout::Plain { "d.json" } else { "1.d.json" };
    (world, name.to_owned())
}

#[test]
fn junk_in_place_of_a_revoked_roles_file_stays_and_is_told() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (world, name) = revoked(layout);
        let files = [METADATA, STAGED].map(|folder| format!("{folder}/{name}"));
        for file in &files {
            fs::write(world.path(file), "junk").unwrap();
        }
        let repository = world.lock().unwrap();
        let plan = repository.plan_gc(Retention { keep: 1, keep_within: NONE }, PATIENCE).unwrap();
        assert_eq!((&plan.unreadable, &plan.unknown), (&files.to_vec(), &Vec::new()), "{layout:?}");
        assert!(!plan.delete.names().any(|name| files.iter().any(|file| file == name)), "{layout:?}");
    }
}

#[test]
fn a_revoked_roles_file_that_is_gone_or_sound_is_nothing_to_tell() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (world, name) = revoked(layout);
        let retention = Retention { keep: 1, keep_within: NONE };
        for gone in [false, true] {
            if gone {
                fs::remove_file(world.path(METADATA).join(&name)).unwrap();
            }
            let plan = world.lock().unwrap().plan_gc(retention, PATIENCE).unwrap();
            assert_eq!((&plan.unreadable, &plan.unknown), (&Vec::new(), &Vec::new()), "{layout:?}");
            assert!(!plan.delete.names().any(|file| file.ends_with(&name)), "{layout:?}");
        }
    }
}

#[test]
fn a_role_that_clients_of_a_retained_snapshot_reach_may_not_be_lost_though_it_is_revoked_since() {
    let (world, name) = revoked(Layout::Consistent);
    for bytes in [Some("junk"), None] {
        for folder in [METADATA, STAGED] {
            let file = world.path(folder).join(&name);
            bytes.map_or_else(|| fs::remove_file(&file), |bytes| fs::write(&file, bytes)).unwrap();
        }
        let before = contents(&world.dir());
        let repository = world.lock().unwrap();
        let error = repository.plan_gc(Retention { keep: 2, keep_within: NONE }, PATIENCE).unwrap_err();
        let RepositoryError::Refused { file, reason } = error else { panic!("{error}") };
        assert_eq!(file, format!("{METADATA}/{name}"));
        match bytes {
            Some(_) => assert!(matches!(reason, Refusal::Unreadable(_)), "{reason}"),
            None => assert!(matches!(reason, Refusal::Missing), "{reason}"),
        }
        assert_eq!(difference(&before, &contents(&world.dir())), Vec::<String>::new());
        // the snapshot that is current does not lead there
        repository.plan_gc(Retention { keep: 1, keep_within: NONE }, PATIENCE).unwrap();
    }
}

#[test]
fn a_file_that_is_left_alone_is_told_on_both_streams() {
    let site = Site::written();
    site.run(&["delegate", "d", "--key", "../key-4.pub", "--paths", "d/*"]).exits(0);
    site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"]).exits(0);
    site.run(&["publish"]).exits(0);
    site.run(&["revoke", "d"]).exits(0);
    site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"]).exits(0);
    site.run(&["publish"]).exits(0);
    fs::write(site.path("metadata/1.d.json"), "junk").unwrap();
    fs::write(site.path("metadata/notes.txt"), "mine").unwrap();
    let dry = ["gc", "--keep", "1", "--dry-run"];
    let ran = site.run(&dry).exits(0);
    assert!(ran.stderr.contains("it is no metadata, and its role is revoked: metadata/1.d.json"), "{ran:?}");
    assert!(ran.stderr.contains("its name is not known here: metadata/notes.txt"), "{ran:?}");
    let all = site.json(&dry, 0);
    assert_eq!(all["unknown"], serde_json::json!(["metadata/notes.txt", "metadata/1.d.json"]));
    let deleted = all["deleted"].as_array().unwrap();
    assert_eq!(all["reasons"].as_object().unwrap().len(), deleted.len());
    let told: String = deleted
        .iter()
        .map(|name| name.as_str().unwrap())
        .map(|name| format!("delete {name}: {}\n", all["reasons"][name].as_str().unwrap()))
        .collect();
    assert!(!told.is_empty());
    assert_eq!(ran.stdout, told);
    site.run(&["gc", "--keep", "1"]).exits(0);
    assert!(site.path("metadata/1.d.json").is_file() && site.path("metadata/notes.txt").is_file());
}

#[test]
fn an_explanation_names_every_holder_with_its_snapshots() {
    let world = World::written(Layout::Consistent);
    world.put("file", b"bytes");
    world.add("targets", &["file"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    world.publish().unwrap();
    world.edit(|repository| repository.bump(&role("snapshot"), None)).unwrap();
    world.write(&[2, 3]).unwrap();
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    let copy = contents(&world.path("targets")).into_keys().find(|name| name != "file").unwrap();
    let repository = world.lock().unwrap();
    let explain = |keep, file: &str| {
        let retention = Retention { keep, keep_within: NONE };
        repository.explain_gc(&Destination::Own, retention, file).unwrap()
    };
    let holders = [
        "targets v2 (snapshot v2, v3)".to_owned(),
        "targets v3 (snapshot v4)".to_owned(),
        "the draft of targets".to_owned(),
    ];
    for file in [format!("targets/{copy}"), "./targets/file".to_owned()] {
        let found = explain(9, &file);
        assert_eq!((found.holders, found.would_go), (holders.to_vec(), None), "{file}");
    }
    let held = |keep, file: &str| (explain(keep, file).holders, explain(keep, file).would_go);
    let snapshots = ["snapshot v2", "snapshot v3"].map(str::to_owned);
    assert_eq!(held(9, "metadata.staged/2.targets.json"), (snapshots.to_vec(), None));
    assert_eq!(held(9, "metadata.staged/3.snapshot.json").0, ["snapshot v3 is retained"]);
    let why = |text: &str| (Vec::new(), Some(text.to_owned()));
    assert_eq!(held(1, "metadata.staged/1.targets.json"), why("no retained snapshot lists targets v1"));
    assert_eq!(held(1, "metadata.staged/3.snapshot.json"), why("snapshot v3 is not retained"));
    // nothing can be said of a name that nothing has and nothing holds
    let retention = Retention { keep: 1, keep_within: NONE };
    let error = repository.explain_gc(&Destination::Own, retention, "targets/nothing").unwrap_err();
    assert!(matches!(error, RepositoryError::Input(InputError::NoFile { .. })), "{error}");
    assert_eq!(held(1, "metadata/1.root.json").0, ["every client that starts from an older root"]);
}
