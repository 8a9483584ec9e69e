//! The traps of older tools, one test each.

use std::fs;
use std::time::{Duration, SystemTime};

use tuf::metadata::RoleName;
use tuf::repository::{
    BinKind, DRAFTS, DeadEnd, Delegation, Execution, InputError, KeyChoice, Layout, POLICY, Replace,
    Repository, RepositoryError, STAGED, Selection, Side, TARGETS, Trust,
};

use crate::cli::Site;
use crate::client::new_client;
use crate::world::{
    World, contents, delegation, difference, public, role, start, temporary, threshold, tree,
};

#[test]
fn a_change_of_targets_makes_snapshot_and_timestamp_dirty_too() {
    let world = World::written(Layout::Consistent);
    assert_eq!(world.dirty(), Vec::<String>::new());
    world.put("a", b"1");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    assert_eq!(world.dirty(), ["targets", "snapshot", "timestamp"]);
    let written = world.write(&[1, 2, 3]).unwrap();
    let roles: Vec<&str> = written.roles.keys().map(RoleName::as_str).collect();
    assert_eq!(roles, ["snapshot", "targets", "timestamp"]);
    assert_eq!(world.dirty(), Vec::<String>::new());
}

#[test]
fn a_change_of_a_delegated_role_makes_what_lists_it_dirty_and_not_its_delegator() {
    let world = World::written(Layout::Consistent);
    world.delegate("targets", "django", 4, &["django/*"]).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.put("django/a", b"1");
    world.add("django", &["django/a"], Replace::Refuse).unwrap();
    assert_eq!(world.dirty(), ["django", "snapshot", "timestamp"]);
}

#[test]
fn dirty_is_read_from_the_disk_by_whoever_asks() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.bump(&role("targets"), None)).unwrap();
    assert_eq!(world.twin().dirty(), world.dirty());
    assert_eq!(world.twin().dirty(), ["targets", "snapshot", "timestamp"]);
}

#[test]
fn a_new_key_makes_root_dirty() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.add_key(&role("snapshot"), public(5), None)).unwrap();
    assert_eq!(world.dirty(), ["root"]);
}

#[test]
fn a_new_threshold_makes_root_dirty_and_what_is_signed_by_too_few() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.add_key(&role("targets"), public(5), None)).unwrap();
    world
        .edit(|repository| repository.set_threshold(&role("targets"), threshold(2), None, DeadEnd::Allow))
        .unwrap();
    assert_eq!(world.dirty(), ["root", "targets", "snapshot", "timestamp"]);
}

#[test]
fn a_withdrawn_key_makes_root_dirty_and_what_it_signed() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.add_key(&role("timestamp"), public(5), None)).unwrap();
    let choice = KeyChoice::Key(public(3).clone());
    world
        .edit(|repository| repository.remove_key(&role("timestamp"), &choice, None, DeadEnd::Allow))
        .unwrap();
    assert_eq!(world.dirty(), ["root", "timestamp"]);
}

#[test]
fn a_key_that_may_not_sign_is_refused_by_name_and_nothing_changes() {
    let site = Site::written();
    site.keygen("stranger");
    let before = tree(&site.repository());
    for command in [["sign", "--key"], ["write", "--key"]] {
        let ran = site.run(&[command[0], command[1], "../stranger"]).exits(4);
        assert!(ran.stderr.starts_with("error: key "), "{ran:?}");
        assert!(ran.stderr.contains("stranger") && ran.stderr.contains("may not sign"), "{ran:?}");
    }
    // a key of another role is no better
    let ran = site.run(&["sign", "root", "--key", "../key-3"]).exits(4);
    assert!(ran.stderr.contains("key-3") && ran.stderr.contains("may not sign for 'root'"), "{ran:?}");
    assert_eq!(tree(&site.repository()), before);
}

#[test]
fn write_keeps_the_signatures_that_are_there_already() {
    let world = World::written(Layout::Consistent);
    world.edit(|repository| repository.add_key(&role("targets"), public(4), None)).unwrap();
    world
        .edit(|repository| repository.set_threshold(&role("targets"), threshold(2), None, DeadEnd::Allow))
        .unwrap();
    world.write(&[0, 1, 2, 3, 4]).unwrap();
    world.put("a", b"1");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    world.sign(&[role("targets")], &[4]).unwrap();
    let by = |world: &World| -> Vec<String> {
        let file = fs::read(world.path(STAGED).join("3.targets.json")).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
        value["signatures"].as_array().unwrap().iter().map(|s| s["keyid"].as_str().unwrap().into()).collect()
    };
    world.write(&[1, 2, 3]).unwrap();
    let mut both = vec![public(1).id().to_string(), public(4).id().to_string()];
    both.sort();
    assert_eq!(by(&world), both);
}

#[test]
fn a_failed_write_keeps_the_signatures_that_are_there_already() {
    let world = World::written(Layout::Consistent);
    world.put("a", b"1");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    world.sign(&[role("targets")], &[1]).unwrap();
    let before = tree(&world.dir());
    assert!(matches!(world.write(&[2]), Err(RepositoryError::Incomplete(_))));
    assert_eq!(difference(&before, &tree(&world.dir())), Vec::<String>::new());
}

#[test]
fn a_timestamp_signed_ahead_of_its_snapshot_stays_signed() {
    let world = World::written(Layout::Consistent);
    world.put("a", b"1");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    // the timestamp's signer comes first, then another edit, then the others
    world.sign(&[], &[3]).unwrap();
    let draft = world.path(STAGED).join(DRAFTS).join("timestamp.json");
    let signed = fs::read(&draft).unwrap();
    world.put("b", b"2");
    world.add("targets", &["b"], Replace::Refuse).unwrap();
    assert_eq!(fs::read(&draft).unwrap(), signed);
    world.write(&[1, 2]).unwrap();
    assert_eq!(fs::read(world.path(STAGED).join("timestamp.json")).unwrap(), signed);
}

#[test]
fn adding_identical_bytes_again_bumps_nothing() {
    let world = World::written(Layout::Consistent);
    world.put("a", b"1");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    let before = tree(&world.dir());
    for replace in [Replace::Refuse, Replace::Allow] {
        world.add("targets", &["a"], replace).unwrap();
    }
    world.add("targets", &["."], Replace::Refuse).unwrap();
    assert_eq!(difference(&before, &tree(&world.dir())), Vec::<String>::new());
    assert_eq!(world.dirty(), Vec::<String>::new());
}

#[test]
fn adding_a_file_that_does_not_exist_bumps_nothing() {
    let world = World::written(Layout::Consistent);
    let before = tree(&world.dir());
    let refused = world.add("targets", &["absent"], Replace::Refuse).unwrap_err();
    assert!(matches!(refused, RepositoryError::Input(InputError::NoFile { .. })), "{refused}");
    assert!(refused.to_string().contains("absent: no such file"), "{refused}");
    assert_eq!(difference(&before, &tree(&world.dir())), Vec::<String>::new());
}

#[test]
fn taking_an_edit_back_leaves_no_draft() {
    let world = World::written(Layout::Consistent);
    world.put("a", b"1");
    let before = contents(&world.dir());
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    world.edit(|repository| repository.remove_targets(&["a".into()], None)).unwrap();
    world.edit(|repository| repository.add_key(&role("targets"), public(4), None)).unwrap();
    let choice = KeyChoice::Key(public(4).clone());
    world.edit(|repository| repository.remove_key(&role("targets"), &choice, None, DeadEnd::Allow)).unwrap();
    world.delegate("targets", "django", 4, &["*"]).unwrap();
    world.edit(|repository| repository.revoke(&role("django"), None)).unwrap();
    let expires = world.open().staged().targets(&role("targets")).unwrap().effective().unwrap().expires;
    world
        .edit(|repository| repository.expire(&role("targets"), start() + chrono::TimeDelta::days(9)))
        .unwrap();
    world.edit(|repository| repository.expire(&role("targets"), expires)).unwrap();
    assert_eq!(difference(&before, &contents(&world.dir())), Vec::<String>::new());
}

#[test]
fn a_draft_that_only_renews_signatures_goes_with_its_cause() {
    let world = World::written(Layout::Consistent);
    let before = contents(&world.dir());
    world.edit(|repository| repository.add_key(&role("targets"), public(4), None)).unwrap();
    world
        .edit(|repository| repository.set_threshold(&role("targets"), threshold(2), None, DeadEnd::Allow))
        .unwrap();
    world.sign(&[], &[1]).unwrap();
    assert_eq!(world.versions("targets"), (Some(1), Some(2)));
    world.edit(|repository| repository.discard(&[role("root")])).unwrap();
    assert_eq!(world.dirty(), Vec::<String>::new());
    assert_eq!(difference(&before, &contents(&world.dir())), Vec::<String>::new());
}

#[test]
fn a_delegation_named_targets_is_refused() {
    let site = Site::written();
    site.keygen("other");
    let before = tree(&site.repository());
    for name in ["targets", "root", "snapshot", "timestamp", "../root", "a/../b", "", "1.root"] {
        let ran = site.run(&["delegate", name, "--key", "../other.pub", "--paths", "*"]).exits(2);
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    assert_eq!(tree(&site.repository()), before);
}

#[test]
fn a_path_that_leaves_the_targets_folder_is_refused() {
    let site = Site::written();
    fs::write(site.folder.path("passwd"), "root:x:0:0").unwrap();
    let before = tree(&site.repository());
    for path in ["../../etc/passwd", "/etc/passwd", "../passwd", "targets/../../passwd"] {
        site.run(&["add-targets", path]).exits(2);
    }
    for prefix in ["..", "../..", "/", "a/../.."] {
        site.run(&["add-targets", "../passwd", "--prefix", prefix]).exits(2);
    }
    assert_eq!(tree(&site.repository()), before);
}

#[test]
fn init_over_an_existing_repository_is_refused() {
    let site = Site::written();
    let before = tree(&site.repository());
    let ran = site.run(&["init"]).exits(2);
    assert!(ran.stderr.contains("metadata.staged is there already"), "{ran:?}");
    assert_eq!(tree(&site.repository()), before);
    // one that was only published, and one that has a policy of its own
    for (name, text) in [("metadata/root.json", "{}"), ("tuf-repo.toml", "# mine\n")] {
        let folder = temporary();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let refused = tuf::repository::init(
            folder.path(),
            Layout::Consistent,
            start(),
            Execution::Real,
            Duration::ZERO,
        );
        assert!(matches!(refused, Err(RepositoryError::Input(InputError::AlreadyThere(_)))));
        assert_eq!(contents(folder.path()).len(), name.split('/').count());
    }
}

#[test]
fn init_goes_on_where_a_killed_one_stopped() {
    let whole = World::new(Layout::Consistent);
    let folder = temporary();
    for name in ["metadata", TARGETS, ".tuf-tmp-0/.tuf-new/.drafts", ".tuf-tmp-1"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join(".tuf-tmp-0/.tuf-new/.drafts/root.json"), "half").unwrap();
    fs::copy(whole.path(POLICY), folder.path().join(POLICY)).unwrap();
    tuf::repository::init(folder.path(), Layout::Consistent, start(), Execution::Real, Duration::ZERO)
        .unwrap();
    assert_eq!(contents(folder.path()), contents(&whole.dir()));
}

#[cfg(unix)]
#[test]
fn key_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::empty();
    site.keygen("plain");
    fs::write(site.folder.path("password"), "correct-horse\n").unwrap();
    site.folder.run(&["keygen", "locked", "--password-file", "password"]).exits(0);
    for name in ["plain", "locked"] {
        let mode = fs::metadata(site.folder.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
}

#[test]
fn rotating_root_never_rewrites_an_old_root() {
    let world = World::written(Layout::Consistent);
    let mut roots = vec![fs::read(world.path(STAGED).join("1.root.json")).unwrap()];
    for number in [4, 5, 6] {
        let old = if number == 4 { 0 } else { number - 1 };
        let choice = KeyChoice::Key(public(old).clone());
        world.edit(|repository| repository.remove_key(&role("root"), &choice, None, DeadEnd::Allow)).unwrap();
        world.edit(|repository| repository.add_key(&role("root"), public(number), None)).unwrap();
        world.write(&[old, number]).unwrap();
        for (version, bytes) in roots.iter().enumerate() {
            let name = format!("{}.root.json", version + 1);
            assert_eq!(&fs::read(world.path(STAGED).join(name)).unwrap(), bytes);
        }
        roots.push(fs::read(world.path(STAGED).join("root.json")).unwrap());
        new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
    }
}

#[test]
fn delegate_makes_the_draft_of_the_role_at_once() {
    let world = World::written(Layout::Consistent);
    world.delegate("targets", "team/django", 4, &["django/*"]).unwrap();
    assert!(world.path(STAGED).join(DRAFTS).join("team%2Fdjango.json").is_file());
    assert_eq!(world.versions("team/django"), (None, Some(1)));
    // the repository loads, and neither the one nor the other can be written alone
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
    assert!(matches!(world.write(&[1, 2, 3]), Err(RepositoryError::Incomplete(_))));
    world.write(&[1, 2, 3, 4]).unwrap();
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
}

#[cfg(unix)]
#[test]
fn a_hash_named_copy_does_not_change_when_the_file_is_edited_in_place() {
    use std::os::unix::fs::MetadataExt;
    let world = World::written(Layout::Consistent);
    let path = world.put("dir/a", b"first");
    world.add("targets", &["dir/a"], Replace::Refuse).unwrap();
    let written = world.write(&[1, 2, 3]).unwrap();
    let copy = world.path(written.put().iter().find(|name| name.starts_with("targets/dir/")).unwrap());
    assert_ne!(fs::metadata(&copy).unwrap().ino(), fs::metadata(&path).unwrap().ino());
    fs::OpenOptions::new().append(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::write(&path, b"edited in place").unwrap();
    assert_eq!(fs::read(&copy).unwrap(), b"first");
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
    world.publish().unwrap();
}

#[test]
fn one_base_name_in_two_folders_is_two_targets() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = World::written(layout);
        world.put("linux/tool", b"for linux");
        world.put("windows/tool", b"for windows");
        world.put("tool", b"for nobody");
        world.add("targets", &["."], Replace::Refuse).unwrap();
        world.write(&[1, 2, 3]).unwrap();
        let listed: Vec<String> = world.open().list(&[]).unwrap().into_keys().collect();
        assert_eq!(listed, ["linux/tool", "tool", "windows/tool"]);
        new_client(&world.dir(), Side::Staged, layout).unwrap();
        if layout == Layout::Consistent {
            let copies = contents(&world.path(TARGETS));
            let ends = |end: &str| copies.keys().filter(|name| name.ends_with(end)).count();
            // each folder holds the file and its copy
            assert_eq!([ends("tool"), copies.len()], [6, 8]);
        }
    }
}

#[test]
fn a_role_below_another_lists_only_what_the_whole_chain_trusts_it_for() {
    let world = World::written(Layout::Consistent);
    world.delegate("targets", "upper", 4, &["upper/*"]).unwrap();
    world.delegate("upper", "lower", 5, &["*", "upper/*"]).unwrap();
    world.put("outside", b"1");
    world.put("upper/inside", b"1");
    let refused = world.add("lower", &["outside"], Replace::Refuse).unwrap_err();
    assert!(matches!(refused, RepositoryError::Input(InputError::NotTrusted { .. })), "{refused}");
    world.add("lower", &["upper/inside"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3, 4, 5]).unwrap();
    // narrowed later, the target is out of reach: it goes before anything is published
    world.edit(|repository| repository.revoke(&role("upper"), None)).unwrap();
    world.delegate("targets", "upper", 4, &["other/*"]).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    let refused = world.publish().unwrap_err();
    assert!(
        refused.to_string().contains("lists 'upper/inside', which no delegation trusts it for"),
        "{refused}"
    );
    world.edit(|repository| repository.remove_targets(&["upper/inside".into()], None)).unwrap();
    world.write(&[2, 3, 5]).unwrap();
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
    world.publish().unwrap();
}

#[test]
fn a_revoked_role_stays_in_the_snapshot_and_goes_on_from_its_version() {
    let world = World::written(Layout::Consistent);
    world.delegate("targets", "django", 4, &["*"]).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.edit(|repository| repository.bump(&role("django"), Some(7))).unwrap();
    world.write(&[2, 3, 4]).unwrap();
    world.publish().unwrap();
    world.edit(|repository| repository.revoke(&role("django"), None)).unwrap();
    world.write(&[1, 2, 3]).unwrap();
    world.publish().unwrap();
    let snapshot = world.open().staged().snapshot.written.clone().unwrap();
    assert_eq!(snapshot.signed().role(&role("django")).unwrap().version, 7);
    world.delegate("targets", "django", 5, &["*"]).unwrap();
    assert_eq!(world.versions("django"), (None, Some(8)));
    world.write(&[1, 2, 3, 5]).unwrap();
    world.publish().unwrap();
}

#[test]
fn a_role_is_not_signed_anew_for_a_delegator_that_is_not_written_yet() {
    let world = World::written(Layout::Consistent);
    world
        .edit(|repository| repository.set_threshold(&role("targets"), threshold(2), None, DeadEnd::Allow))
        .unwrap();
    let before = contents(&world.dir());
    for selection in [Selection::Whole(vec![role("targets")]), Selection::Complete(vec![role("targets")])] {
        let written = world.write_some(&selection, &[0, 1, 2, 3]).unwrap();
        assert!(written.is_empty(), "{selection:?}");
        assert_eq!(difference(&before, &contents(&world.dir())), Vec::<String>::new());
    }
}

#[test]
fn gc_keeps_a_target_that_is_called_like_a_copy() {
    let site = Site::written();
    let name = format!("{}.iso", "ab".repeat(32));
    site.folder.write(&name, "an image");
    site.run(&["add-targets", &format!("../{name}"), "--base", ".."]).exits(0);
    site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"]).exits(0);
    site.run(&["gc", "--keep", "1"]).exits(0);
    assert!(site.path("targets").join(&name).is_file());
    site.run(&["verify", "--targets"]).exits(0);
}

#[test]
fn gc_keeps_files_that_are_yet_to_be_added() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let mut world = World::written(layout);
        let path = world.put("dir/copied-with-its-old-date", b"work of days");
        fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        world.after(chrono::TimeDelta::days(400));
        assert_eq!(world.gc(0).unwrap(), Vec::<String>::new());
        assert!(path.is_file());
    }
}

#[test]
fn a_role_may_have_a_delegator_that_is_searched_after_it() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = World::written(layout);
        world.delegate("targets", "upper", 4, &["*"]).unwrap();
        world.delegate("upper", "lower", 5, &["*"]).unwrap();
        let before = Delegation { before: Some(role("upper")), ..delegation("targets", "lower", 5, &["*"]) };
        world.edit(|repository| repository.delegate(before)).unwrap();
        world.write(&[1, 2, 3, 4, 5]).unwrap();
        new_client(&world.dir(), Side::Staged, layout).unwrap();
        // and it must satisfy both of them
        world.edit(|repository| repository.add_key(&role("lower"), public(6), Some(&role("upper")))).unwrap();
        let two = |repository: &mut Repository| {
            repository.set_threshold(&role("lower"), threshold(2), Some(&role("upper")), DeadEnd::Allow)
        };
        world.edit(two).unwrap();
        assert_eq!(world.dirty(), ["lower", "upper", "snapshot", "timestamp"]);
        assert!(matches!(world.write(&[2, 3, 4, 5]), Err(RepositoryError::Incomplete(_))));
        world.write(&[2, 3, 4, 5, 6]).unwrap();
        new_client(&world.dir(), Side::Staged, layout).unwrap();
        world.publish().unwrap();
    }
}

#[test]
fn bins_of_another_number_do_not_list_what_falls_into_others() {
    let world = World::written(Layout::Consistent);
    let names: Vec<String> = (0..100).map(|index| format!("file-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.iter().for_each(|name| drop(world.put(name, name.as_bytes())));
    let delegate = |number: u64| {
        world.edit(|repository| {
            let trust = Trust::Bins { number, kind: BinKind::Succinct };
            repository.delegate(Delegation { trust, ..delegation("targets", "bin", 4, &[]) })
        })
    };
    delegate(16).unwrap();
    world.add("bin", &names, Replace::Refuse).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world
        .edit(|repository| {
            let set = repository.find_bins(&role("bin")).unwrap();
            repository.revoke_bins(&set, None).map(drop)
        })
        .unwrap();
    // bin-0 to bin-3 of 4 have the names of four of the 16
    delegate(4).unwrap();
    // somebody changes their mind
    let again = world.twin();
    again.edit(|repository| repository.discard(&[role("targets")]).map(drop)).unwrap();
    assert_eq!(again.dirty(), Vec::<String>::new());
    assert_eq!(again.open_whole().list(&[]).unwrap().len(), 100);
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    let kept = world.open_whole().list(&[]).unwrap().len();
    assert!((1..100).contains(&kept), "{kept}");
    world.add("bin", &names, Replace::Refuse).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    assert_eq!(world.open_whole().list(&[]).unwrap().len(), 100);
}
