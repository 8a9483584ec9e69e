//! A `write` killed after any of its steps: clients are served all along, and the next `write` ends where the first
//! would have.

use std::collections::BTreeMap;
use std::fs;

use tuf::repository::{
    DRAFTS, DeadEnd, HISTORY, KeyChoice, Layout, Replace, STAGED, Selection, Side, TARGETS,
};

use crate::client::new_client;
use crate::world::{World, contents, difference, public, role, signing};

const KEYS: [usize; 7] = [0, 1, 2, 3, 4, 5, 6];

/// A repository with a draft of everything: new targets, a new delegation, a new root.
fn drafted(layout: Layout) -> World {
    let world = World::written(layout);
    world.put("a", b"first");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    world.delegate("targets", "django", 4, &["django/*"]).unwrap();
    world.write(&KEYS[..5]).unwrap();
    world.put("b", b"second");
    world.put("django/c", b"third");
    world.add("targets", &["b"], Replace::Refuse).unwrap();
    world.add("django", &["django/c"], Replace::Refuse).unwrap();
    world.delegate("django", "nested", 5, &["django/*"]).unwrap();
    world.edit(|repository| repository.add_key(&role("root"), public(6), None)).unwrap();
    world
}

/// The states that a `write` of all drafts goes through, and the one in which it ends.
fn states(world: &World) -> (Vec<(String, World)>, World) {
    let end = world.twin();
    let put = end.write(&KEYS).unwrap().put();
    let mut states = Vec::new();
    // target copies appear first
    let state = world.twin();
    for name in put.iter().filter(|name| name.starts_with(TARGETS)) {
        fs::copy(end.path(name), state.path(name)).unwrap();
        states.push((format!("{name} is put"), state.twin()));
    }
    // then the drafts with their signatures
    let signed = world.twin();
    let metadata: Vec<&String> = put.iter().filter(|name| name.starts_with(STAGED)).collect();
    let mut repository = signed.lock().unwrap();
    let plan = repository.plan_write(&Selection::Whole(Vec::new()), &signing(&KEYS)).unwrap();
    let first = signed.path(metadata[0]);
    let present = fs::read(&first).ok();
    let _ = fs::remove_file(&first);
    fs::create_dir(&first).unwrap();
    repository.execute_write(&plan, &|_| ()).unwrap_err();
    fs::remove_dir(&first).unwrap();
    if let Some(bytes) = present {
        fs::write(&first, bytes).unwrap();
    }
    drop(repository);
    states.push(("the drafts are signed".to_owned(), signed.twin()));
    // then the metadata, file by file, and the drafts go last
    let state = signed;
    for name in metadata {
        fs::copy(end.path(name), state.path(name)).unwrap();
        states.push((format!("{name} is put"), state.twin()));
    }
    let drafts = format!("{STAGED}/{DRAFTS}");
    for entry in fs::read_dir(state.path(&drafts)).unwrap() {
        let path = entry.unwrap().path();
        fs::remove_file(&path).unwrap();
        states.push((format!("{} is removed", path.display()), state.twin()));
    }
    (states, end)
}

fn without_folders(world: &World) -> BTreeMap<String, Vec<u8>> {
    contents(&world.dir()).into_iter().filter(|(name, _)| !name.ends_with('/')).collect()
}

#[test]
fn a_write_killed_anywhere_is_finished_by_the_next_with_the_same_bytes() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = drafted(layout);
        let (states, end) = states(&world);
        assert!(states.len() > 10, "{}", states.len());
        for (name, state) in states {
            for folder in [STAGED.to_owned(), format!("{STAGED}/{DRAFTS}"), TARGETS.to_owned()] {
                let left = state.path(&folder).join(".tuf-tmp-0");
                fs::create_dir_all(&left).unwrap();
                fs::write(left.join(".tuf-0"), b"half a fi").unwrap();
            }
            if layout == Layout::Consistent {
                new_client(&state.dir(), Side::Staged, layout)
                    .or_else(
                        |error| if error.contains("metadata.staged/root.json") { Ok(()) } else { Err(error) },
                    )
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            state.write(&KEYS).unwrap_or_else(|error| panic!("{name}: {error}"));
            let differs = difference(&without_folders(&end), &without_folders(&state));
            assert!(differs.is_empty(), "{name}: {differs:?}");
        }
    }
}

#[test]
fn a_first_write_killed_anywhere_is_finished_by_the_next() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = World::new(layout);
        for (number, name) in ["root", "targets", "snapshot", "timestamp"].iter().enumerate() {
            world.edit(|repository| repository.add_key(&role(name), public(number), None)).unwrap();
        }
        let end = world.twin();
        let put = end.write(&KEYS[..4]).unwrap().put();
        for count in 0..=put.len() {
            let state = world.twin();
            state.sign(&[], &KEYS[..4]).unwrap();
            for name in put[..count].iter().map(String::as_str).chain([HISTORY]) {
                fs::copy(end.path(name), state.path(name)).unwrap();
            }
            state.write(&KEYS[..4]).unwrap_or_else(|error| panic!("{:?}: {error}", &put[..count]));
            let differs = difference(&without_folders(&end), &without_folders(&state));
            assert!(differs.is_empty(), "{:?}: {differs:?}", &put[..count]);
        }
    }
}

#[test]
fn an_edit_after_a_killed_write_takes_a_version_that_no_file_has() {
    let world = drafted(Layout::Consistent);
    let (states, end) = states(&world);
    let put = contents(&end.dir());
    for (name, state) in states {
        state.put("late", b"late");
        state.add("targets", &["late"], Replace::Refuse).unwrap();
        state.write(&KEYS).unwrap_or_else(|error| panic!("{name}: {error}"));
        new_client(&state.dir(), Side::Staged, Layout::Consistent).unwrap();
        let after = contents(&state.dir());
        assert!(after.keys().any(|name| name.ends_with(".late")), "{name}");
        for (file, bytes) in contents(&world.dir()).iter().filter(|(file, _)| file.contains(".staged/")) {
            let is_versioned = file.split('/').next_back().unwrap().starts_with(|c: char| c.is_ascii_digit());
            assert!(!is_versioned || after[file] == *bytes, "{name}: {file}");
        }
        // what the killed command had put is still there, byte for byte
        let there = contents(&state.dir());
        for file in ["metadata.staged/2.targets.json", "metadata.staged/1.django.json"] {
            assert_eq!(there[file], put[file], "{name}");
        }
    }
}

#[test]
fn a_first_root_that_a_killed_write_has_put_counts_as_written() {
    let world = World::new(Layout::Consistent);
    for (number, name) in ["root", "targets", "snapshot", "timestamp"].iter().enumerate() {
        world.edit(|repository| repository.add_key(&role(name), public(number), None)).unwrap();
    }
    let end = world.twin();
    end.write(&KEYS[..4]).unwrap();
    let first = format!("{STAGED}/1.root.json");
    fs::copy(end.path(&first), world.path(&first)).unwrap();
    world.edit(|repository| repository.add_key(&role("root"), public(4), None)).unwrap();
    assert_eq!(world.versions("root"), (Some(1), Some(2)));
    world.write(&KEYS[..4]).unwrap();
    assert_eq!(fs::read(end.path(&first)).unwrap(), fs::read(world.path(&first)).unwrap());
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
}

#[test]
fn a_signature_that_comes_after_a_killed_write_does_not_block_the_next() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.add_key(&role("targets"), public(4), None)).unwrap();
    world.write(&KEYS[..5]).unwrap();
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    world.sign(&[], &[1, 2, 3]).unwrap();
    let end = world.twin();
    end.write(&[]).unwrap();
    let put = format!("{STAGED}/2.targets.json");
    fs::copy(end.path(&put), world.path(&put)).unwrap();
    world.sign(&[role("targets")], &[4]).unwrap();
    world.write(&[2, 3]).unwrap();
    assert_eq!(without_folders(&world), without_folders(&end));
}

#[test]
fn a_file_that_a_killed_write_signed_with_keys_withdrawn_since_is_left_behind() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    world.sign(&[], &KEYS[..4]).unwrap();
    let end = world.twin();
    end.write(&[]).unwrap();
    for name in ["2.targets.json", "2.snapshot.json"] {
        let put = format!("{STAGED}/{name}");
        fs::copy(end.path(&put), world.path(&put)).unwrap();
    }
    for (name, old, new) in [("targets", 1, 4), ("snapshot", 2, 5)] {
        let choice = KeyChoice::Key(public(old).clone());
        world.edit(|repository| repository.remove_key(&role(name), &choice, None, DeadEnd::Allow)).unwrap();
        world.edit(|repository| repository.add_key(&role(name), public(new), None)).unwrap();
    }
    world.write(&[0, 3, 4, 5]).unwrap();
    assert_eq!((world.versions("targets").0, world.versions("snapshot").0), (Some(3), Some(3)));
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
}

#[test]
fn an_edit_after_a_killed_write_takes_a_free_version_even_from_one_set_by_hand() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.bump(&role("targets"), Some(5))).unwrap();
    world.sign(&[], &KEYS[..4]).unwrap();
    let end = world.twin();
    end.write(&[]).unwrap();
    let put = format!("{STAGED}/5.targets.json");
    fs::copy(end.path(&put), world.path(&put)).unwrap();
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    assert_eq!(world.versions("targets"), (Some(1), Some(5)));
    let (edited, dated) = (world.twin(), world.twin());
    edited.delegate("targets", "django", 4, &["*"]).unwrap();
    let later = world.now + chrono::TimeDelta::days(9);
    dated.edit(|repository| repository.expire(&role("targets"), later)).unwrap();
    for world in [edited, dated] {
        assert_eq!(world.versions("targets"), (Some(1), Some(6)));
        let repository = world.open();
        let fitting: Vec<usize> =
            KEYS.into_iter().filter(|key| repository.may_sign(public(*key), &[])).collect();
        world.write(&fitting).unwrap();
        new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
        assert_eq!(fs::read(world.path(&put)).unwrap(), fs::read(end.path(&put)).unwrap());
    }
}

#[test]
fn gc_leaves_what_a_killed_write_has_put_so_that_its_version_is_never_used_again() {
    let world = drafted(Layout::Consistent);
    world.publish().unwrap();
    let known = contents(&world.dir());
    let (states, _) = states(&world);
    for (name, state) in states {
        // where root.json is behind it refuses to count, which is as good
        let deleted = state.gc(0).unwrap_or_default();
        let lost = deleted.iter().find(|name| name.starts_with(STAGED) && !known.contains_key(*name));
        assert_eq!(lost, None, "{name}");
    }
}

#[test]
fn a_publication_killed_anywhere_is_finished_by_the_next() {
    let world = drafted(Layout::Consistent);
    world.write(&KEYS).unwrap();
    world.publish().unwrap();
    let choice = KeyChoice::Key(public(3).clone());
    world.edit(|repository| repository.add_key(&role("timestamp"), public(5), None)).unwrap();
    world
        .edit(|repository| repository.remove_key(&role("timestamp"), &choice, None, DeadEnd::Allow))
        .unwrap();
    world.write(&[0, 5]).unwrap();
    let end = world.twin();
    let put = end.publish().unwrap();
    assert!(
        put.ends_with(&["metadata/root.json".to_owned(), "metadata/timestamp.json".to_owned()]),
        "{put:?}"
    );
    for count in 0..=put.len() {
        let state = world.twin();
        for name in &put[..count] {
            fs::copy(end.path(name), state.path(name)).unwrap();
        }
        fs::create_dir(state.path("metadata/.tuf-tmp-0")).unwrap();
        state.publish().unwrap();
        assert_eq!(contents(&state.dir()), contents(&end.dir()));
    }
}
