//! `clean`: only what tuf-fetch itself has put goes, and only where nobody can still want it.

use tuf::client::{Cleaned, Removal, TargetDir, clean};

use crate::simulator::{Client, Simulator, now};

fn cleaned_with(client: &Client, removal: Removal) -> Cleaned {
    let dir = TargetDir::create(&client.targets()).unwrap();
    clean(&client.local(), Some(&dir), &client.limits, client.now, removal).unwrap()
}

/// Cleans, after a rehearsal that says the same and changes nothing.
fn cleaned(client: &Client) -> Cleaned {
    let before = tree(client);
    let planned = cleaned_with(client, Removal::Planned);
    assert_eq!(tree(client), before);
    let cleaned = cleaned_with(client, Removal::Done);
    assert_eq!(cleaned, planned);
    cleaned
}

/// Everything below the client's folders, with the bytes.
fn tree(client: &Client) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![client.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(client.path()).unwrap().to_str().unwrap().to_owned();
            if path.symlink_metadata().unwrap().is_dir() {
                found.push((format!("{name}/"), Vec::new()));
                folders.push(path);
            } else {
                found.push((name, std::fs::read(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

fn targets(client: &Client) -> Vec<String> {
    let names =
        tree(client).into_iter().filter_map(|(name, _)| Some(name.strip_prefix("targets/")?.to_owned()));
    names.filter(|name| !name.is_empty()).collect()
}

/// A repository with targets of its own, and a client that has them all.
fn with_all(paths: &[&str]) -> (Simulator, Client) {
    let mut simulator = Simulator::new();
    paths.iter().for_each(|path| simulator.add_target("targets", path, path.as_bytes()));
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.download_all(&simulator).0, paths);
    (simulator, client)
}

fn drop_targets(simulator: &mut Simulator, role: &str, kept: impl Fn(&str) -> bool) {
    simulator.targets.get_mut(role).unwrap().targets.retain(kept);
    simulator.update_all();
}

#[test]
fn what_is_trusted_stays_and_what_is_not_listed_any_more_goes() {
    let (mut simulator, client) = with_all(&["dir/deep/gone", "dir/gone", "kept"]);
    assert_eq!(cleaned(&client), Cleaned::default());
    drop_targets(&mut simulator, "targets", |path| path == "kept");
    client.refresh(&simulator).unwrap();
    assert_eq!(cleaned(&client).targets, ["dir/deep/gone", "dir/gone"]);
    assert_eq!(targets(&client), ["kept"]);
    assert_eq!(cleaned(&client), Cleaned::default());
}

#[test]
fn files_that_never_were_targets_stay_where_they_are() {
    let (mut simulator, client) = with_all(&["app", "thesis/app"]);
    let at = |path: &str| client.targets().join(path);
    std::fs::create_dir_all(at("thesis")).unwrap();
    for path in ["tax.pdf", "thesis/ch1", ".hidden"] {
        std::fs::write(at(path), b"precious").unwrap();
    }
    std::os::unix::fs::symlink("tax.pdf", at("link")).unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    assert_eq!(cleaned(&client).targets, ["app", "thesis/app"]);
    assert_eq!(targets(&client), [".hidden", "empty/", "link", "tax.pdf", "thesis/", "thesis/ch1"]);
}

#[test]
fn a_file_that_was_there_already_is_nobodys_to_remove() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "mine", b"content");
    simulator.publish_all();
    let client = Client::new(&simulator);
    std::fs::create_dir(client.targets()).unwrap();
    std::fs::write(client.targets().join("mine"), b"content").unwrap();
    assert!(client.download(&simulator, "mine").unwrap(), "it is compared and found right");
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    assert_eq!(cleaned(&client), Cleaned::default());
    assert_eq!(targets(&client), ["mine"]);
}

#[test]
fn a_target_that_its_user_has_changed_or_replaced_is_his() {
    let (mut simulator, client) = with_all(&["edited", "linked", "moved"]);
    std::fs::write(client.targets().join("edited"), b"EDITED").unwrap();
    std::fs::remove_file(client.targets().join("linked")).unwrap();
    std::os::unix::fs::symlink("moved", client.targets().join("linked")).unwrap();
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    for _ in 0..2 {
        let result = cleaned(&client);
        // named each time, and left
        let kept: Vec<&str> = result.kept.iter().map(|kept| kept.what.as_str()).collect();
        assert_eq!((kept, result.unsure.len()), (vec!["edited", "linked"], 0));
        assert!(result.kept.iter().all(|kept| kept.reason == "it is not as tuf-fetch put it"));
    }
    assert_eq!(targets(&client), ["edited", "linked"]);
}

/// A file with the very bytes of a target, which somebody has put where the target was, is not the file that was put.
#[test]
fn a_file_of_somebody_else_with_the_bytes_of_the_target_before_stays() {
    for way in ["copy over", "new file", "touched"] {
        let (mut simulator, client) = with_all(&["app"]);
        let at = client.targets().join("app");
        match way {
            "copy over" => {
                std::fs::write(client.path().join("mine"), b"app").unwrap();
                std::fs::rename(client.path().join("mine"), &at).unwrap();
            }
            "new file" => {
                std::fs::remove_file(&at).unwrap();
                std::fs::write(&at, b"app").unwrap();
            }
            _ => {
                let file = std::fs::File::options().write(true).open(&at).unwrap();
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            }
        }
        drop_targets(&mut simulator, "targets", |_| false);
        client.refresh(&simulator).unwrap();
        let result = cleaned(&client);
        assert_eq!((result.targets, result.kept.len()), (vec![], 1), "{way}");
        assert_eq!(std::fs::read(&at).unwrap(), b"app");
    }
}

#[test]
fn a_record_with_a_line_that_cannot_be_read_is_refused_and_nothing_goes() {
    for line in ["{}", "not json", "{\"took\":{\"path\":\"app\"}}"] {
        let (mut simulator, client) = with_all(&["app", "kept"]);
        drop_targets(&mut simulator, "targets", |path| path == "kept");
        client.refresh(&simulator).unwrap();
        let record = std::fs::read_to_string(client.file(".tuf-put")).unwrap();
        std::fs::write(client.file(".tuf-put"), format!("{line}\n{record}")).unwrap();
        let before = tree(&client);
        for removal in [Removal::Planned, Removal::Done] {
            let dir = TargetDir::create(&client.targets()).unwrap();
            let error = clean(&client.local(), Some(&dir), &client.limits, client.now, removal).unwrap_err();
            assert!(error.to_string().contains("metadata/.tuf-put: line 1 cannot be read"), "{error}");
            assert_eq!(tree(&client), before);
        }
    }
}

/// Runs as a user whom modes of folders keep out; skipped where the tests run as somebody whom they do not.
#[test]
fn what_cannot_be_removed_is_named_and_keeps_nothing_else_from_going() {
    use std::os::unix::fs::PermissionsExt;
    let (mut simulator, client) = with_all(&["a/x", "b/x", "c/x"]);
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    let locked = client.targets().join("b");
    let mode = |mode| std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    if std::fs::write(locked.join("probe"), b"").is_ok() {
        std::fs::remove_file(locked.join("probe")).unwrap();
        eprintln!("skipped: no mode of a folder keeps this user out");
        return;
    }
    let result = cleaned_with(&client, Removal::Done);
    assert_eq!(result.targets, ["a/x", "c/x"]);
    assert_eq!(result.failed.len(), 1, "{result:?}");
    assert!(result.failed[0].what.ends_with("targets/b/x"), "{result:?}");
    mode(0o755);
    assert_eq!(cleaned(&client).targets, ["b/x"]);
    assert_eq!(targets(&client), [""; 0]);
}

#[test]
fn nothing_goes_in_another_folder_of_the_same_name_or_without_a_record() {
    let (mut simulator, client) = with_all(&["app"]);
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    let record = std::fs::read(client.file(".tuf-put")).unwrap();
    std::fs::remove_file(client.file(".tuf-put")).unwrap();
    assert_eq!(cleaned(&client), Cleaned::default());
    std::fs::write(client.file(".tuf-put"), record).unwrap();
    // another folder in the place of the one that was filled, with the very same file
    std::fs::rename(client.targets(), client.path().join("old")).unwrap();
    std::fs::create_dir(client.targets()).unwrap();
    std::fs::write(client.targets().join("app"), b"app").unwrap();
    assert_eq!(cleaned(&client), Cleaned::default());
    assert_eq!(targets(&client), ["app"]);
    // and the one that was filled, under another name
    std::fs::remove_dir_all(client.targets()).unwrap();
    std::os::unix::fs::symlink("old", client.targets()).unwrap();
    assert_eq!(cleaned(&client), Cleaned::default());
    std::fs::remove_file(client.targets()).unwrap();
    std::fs::rename(client.path().join("old"), client.targets()).unwrap();
    assert_eq!(cleaned(&client).targets, ["app"]);
}

/// Role d lists d/x; role e lists e/x. The client has both.
fn with_two_roles() -> (Simulator, Client) {
    let mut simulator = Simulator::new();
    for name in ["d", "e"] {
        simulator.delegate("targets", name, |role| role.paths = Some(vec![format!("{name}/*")]));
        simulator.add_target(name, &format!("{name}/x"), b"x");
    }
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.download_all(&simulator).0, ["d/x", "e/x"]);
    (simulator, client)
}

#[test]
fn a_target_stays_while_a_role_that_may_list_it_is_not_at_hand() {
    let (mut simulator, client) = with_two_roles();
    // a newer version of both, d's unchanged, and only the top-level roles brought up to date
    drop_targets(&mut simulator, "e", |_| false);
    client.refresh(&simulator).unwrap();
    let result = cleaned(&client);
    assert_eq!((result.roles, result.targets), (vec![], vec![]));
    let kept: Vec<&str> = result.unsure.iter().map(|kept| kept.what.as_str()).collect();
    assert_eq!(kept, ["d/x", "e/x"]);
    assert_eq!(client.find(&simulator, "e/x").unwrap(), None);
    let result = cleaned(&client);
    assert_eq!(result.targets, ["e/x"]);
    assert_eq!(targets(&client), ["d/", "d/x"]);
}

#[test]
fn a_target_stays_while_the_metadata_on_the_way_to_it_has_expired() {
    let (mut simulator, mut client) = with_all(&["app"]);
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    client.now = simulator.root.expires;
    let result = cleaned(&client);
    assert_eq!((result.targets, result.unsure.len()), (vec![], 1));
    assert!(result.unsure[0].reason.contains("expired"), "{:?}", result.unsure);
    client.now = now();
    assert_eq!(cleaned(&client).targets, ["app"]);
}

#[test]
fn a_target_stays_while_the_metadata_on_the_way_to_it_is_damaged_or_missing() {
    for name in ["timestamp.json", "snapshot.json", "targets.json"] {
        for bytes in [Some(&b"damaged"[..]), None] {
            let (mut simulator, client) = with_all(&["app"]);
            drop_targets(&mut simulator, "targets", |_| false);
            client.refresh(&simulator).unwrap();
            match bytes {
                Some(bytes) => std::fs::write(client.file(name), bytes).unwrap(),
                None => std::fs::remove_file(client.file(name)).unwrap(),
            }
            let result = cleaned(&client);
            assert_eq!((result.roles, result.targets, result.unsure.len()), (vec![], vec![], 1), "{name}");
            client.refresh(&simulator).unwrap();
            assert_eq!(cleaned(&client).targets, ["app"]);
        }
    }
}

#[test]
fn only_metadata_that_was_stored_here_and_that_nobody_delegates_to_goes() {
    let (mut simulator, client) = with_two_roles();
    for (name, bytes) in
        [("stranger.json", "{}"), ("1.root.json", "{}"), ("notes.txt", "mine"), ("x.json", "mine")]
    {
        std::fs::write(client.file(name), bytes).unwrap();
    }
    let delegations = simulator.targets.get_mut("targets").unwrap().delegations.as_mut().unwrap();
    delegations.roles.as_mut().unwrap().retain(|role| role.name.as_str() != "e");
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    let result = cleaned(&client);
    assert_eq!((result.roles, result.targets), (vec![], vec!["e/x".to_owned()]));
    assert_eq!(result.unsure[0].what, "e", "d is not at hand, and may delegate to it");
    client.find(&simulator, "d/x").unwrap();
    assert_eq!(cleaned(&client).roles.len(), 1);
    let left = std::fs::read_dir(client.path().join("metadata")).unwrap();
    let mut left: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.retain(|name| !name.starts_with('.'));
    left.sort();
    assert_eq!(
        left,
        [
            "1.root.json",
            "d.json",
            "notes.txt",
            "root.json",
            "snapshot.json",
            "stranger.json",
            "targets.json",
            "timestamp.json",
            "x.json"
        ]
    );
}

/// A role of another party that nobody publishes kept it for good.
#[test]
fn metadata_that_nobody_delegates_to_goes_though_another_party_delegates_to_a_role_that_is_not_published() {
    for is_listed in [false, true] {
        let (mut simulator, client) = with_two_roles();
        simulator.delegate("d", "ghost", |role| role.paths = Some(vec!["d/*".to_owned()]));
        let delegations = simulator.targets.get_mut("targets").unwrap().delegations.as_mut().unwrap();
        delegations.roles.as_mut().unwrap().retain(|role| role.name.as_str() != "e");
        simulator.update_all();
        if !is_listed {
            simulator.snapshot.meta.retain(|name| name != "ghost.json");
            simulator.publish_snapshot();
            simulator.publish_timestamp();
        }
        simulator.files.retain(|path, _| !path.contains("ghost"));
        client.download_all(&simulator);
        let roles: Vec<String> = cleaned(&client).roles.iter().map(ToString::to_string).collect();
        // a role that the snapshot lists may have metadata that delegates to it
        assert_eq!(roles, if is_listed { vec![] } else { vec!["e"] });
    }
}

#[test]
fn a_delegated_roles_file_that_was_changed_here_stays() {
    let (mut simulator, client) = with_two_roles();
    std::fs::write(client.file("e.json"), b"my own notes").unwrap();
    simulator.targets.get_mut("targets").unwrap().delegations = None;
    simulator.update_all();
    client.refresh(&simulator).unwrap();
    let roles: Vec<String> = cleaned(&client).roles.iter().map(ToString::to_string).collect();
    assert_eq!(roles, ["d"]);
    assert_eq!(std::fs::read(client.file("e.json")).unwrap(), b"my own notes");
}

#[test]
fn an_unfinished_download_goes_only_where_it_is_of_no_use_and_nobody_is_at_work_on_it() {
    let body: Vec<u8> = (0..2 << 20).map(|index| (index % 253) as u8).collect();
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "large", &body);
    simulator.add_target("targets", "small", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    let url = simulator.files.keys().find(|path| path.ends_with(".large")).unwrap().clone();
    simulator.breaks.insert(url, 1 << 20);
    client.download(&simulator, "large").unwrap_err();
    // another target that arrives leaves it alone, and so does clean while it is listed
    client.download(&simulator, "small").unwrap();
    assert_eq!(cleaned(&client), Cleaned::default());
    let kept = |client: &Client| targets(client).into_iter().find(|name| name.ends_with(".rest"));
    assert!(kept(&client).is_some());
    drop_targets(&mut simulator, "targets", |path| path == "small");
    client.refresh(&simulator).unwrap();
    let at_work = std::fs::File::open(client.targets().join(kept(&client).unwrap())).unwrap();
    at_work.lock().unwrap();
    assert_eq!(cleaned(&client).unfinished, 0);
    drop(at_work);
    assert_eq!(cleaned(&client).unfinished, 1);
    assert_eq!(targets(&client), ["small"]);
}

/// Whoever delegated to a role that nobody publishes held the room of everybody's interrupted targets for good.
#[test]
fn an_unfinished_download_that_nobody_lists_any_more_goes_whatever_role_is_missing() {
    for is_listed in [false, true] {
        let mut simulator = Simulator::new();
        simulator.delegate("targets", "evil", |role| role.paths = Some(vec!["evil/*".to_owned()]));
        simulator.delegate("evil", "ghost", |role| role.paths = Some(vec!["evil/*".to_owned()]));
        for name in ["large", "other"] {
            simulator.add_target("targets", name, &vec![name.len() as u8; 2 << 20]);
        }
        let publish = |simulator: &mut Simulator| {
            simulator.update_all();
            // the snapshot does not list it, or its file is missing
            if !is_listed {
                simulator.snapshot.meta.retain(|name| name != "ghost.json");
                simulator.publish_snapshot();
                simulator.publish_timestamp();
            }
            simulator.files.retain(|path, _| !path.contains("ghost"));
        };
        publish(&mut simulator);
        let client = Client::new(&simulator);
        for name in ["large", "other"] {
            let url =
                simulator.files.keys().find(|path| path.ends_with(&format!(".{name}"))).unwrap().clone();
            simulator.breaks.insert(url, 1 << 18);
            client.download(&simulator, name).unwrap_err();
        }
        client.download_all(&simulator);
        let rests = || targets(&client).iter().filter(|name| name.ends_with(".rest")).count();
        assert_eq!((rests(), cleaned(&client).unfinished), (2, 0));
        simulator.targets.get_mut("targets").unwrap().targets.retain(|path| path == "other");
        publish(&mut simulator);
        client.download_all(&simulator);
        assert_eq!(cleaned_with(&client, Removal::Planned).unfinished, 1);
        assert_eq!((cleaned(&client).unfinished, rests()), (1, 1));
        // without the top-level role nobody knows
        simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
        publish(&mut simulator);
        std::fs::remove_file(client.file("targets.json")).unwrap();
        assert_eq!((cleaned(&client).unfinished, rests()), (0, 1));
    }
}

#[test]
fn a_run_that_was_killed_before_it_could_record_leaves_its_files_for_good() {
    let (mut simulator, client) = with_all(&["one"]);
    let record = std::fs::read(client.file(".tuf-put")).unwrap();
    simulator.add_target("targets", "two", b"two");
    simulator.update_all();
    client.download_all(&simulator);
    // what the record was before, and half a line of what it was to become
    let longer = std::fs::read(client.file(".tuf-put")).unwrap();
    std::fs::write(client.file(".tuf-put"), &longer[..record.len() + 20]).unwrap();
    drop_targets(&mut simulator, "targets", |_| false);
    client.refresh(&simulator).unwrap();
    assert_eq!(cleaned(&client).targets, ["one"]);
    assert_eq!(targets(&client), ["two"]);
}

#[test]
fn a_recorded_path_below_a_link_or_a_file_does_not_keep_clean_from_the_others() {
    for obstacle in ["link", "file"] {
        let mut simulator = Simulator::new();
        for path in ["a/b", "c"] {
            simulator.add_target("targets", path, b"x");
        }
        simulator.publish_all();
        let client = Client::new(&simulator);
        client.download_all(&simulator);
        simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
        simulator.update_all();
        client.refresh(&simulator).unwrap();
        std::fs::rename(client.targets().join("a"), client.path().join("elsewhere")).unwrap();
        if obstacle == "link" {
            std::os::unix::fs::symlink("../elsewhere", client.targets().join("a")).unwrap();
        } else {
            std::fs::write(client.targets().join("a"), b"mine").unwrap();
        }
        let dir = tuf::client::TargetDir::create(&client.targets()).unwrap();
        let done = tuf::client::clean(
            &client.local(),
            Some(&dir),
            &client.limits,
            client.now,
            tuf::client::Removal::Done,
        );
        let cleaned = done.unwrap();
        assert_eq!(cleaned.targets, ["c"], "{obstacle}");
        assert_eq!(cleaned.kept[0].what, "a/b", "{obstacle}");
        assert!(client.path().join("elsewhere/b").exists(), "{obstacle}");
    }
}
