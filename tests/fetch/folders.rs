//! The client's folders: apart from each other, apart from a repository's, and what lies in them that is not ours.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use crate::disk::after;
use crate::scene::{Scene, simulator};
use crate::simulator::Simulator;

/// Everything below a folder: the bytes of files, and where links lead.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(above) = folders.pop() {
        for entry in std::fs::read_dir(&above).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
                found.insert(name + "/", Vec::new());
            } else if kind.is_symlink() {
                found.insert(name, std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A repository whose delegated role lists a root of its own, for whoever keeps targets above metadata.
fn evil() -> Simulator {
    let mut simulator = simulator();
    simulator.delegate("targets", "plugins", |role| {
        role.paths = Some(["*", "*/*", "*/*/*"].map(str::to_owned).to_vec());
    });
    for path in ["metadata/root.json", "root.json", "x/metadata/root.json"] {
        simulator.add_target("plugins", path, b"the root of the author of plugins");
    }
    simulator.publish_all();
    simulator
}

/// Checks that folders are refused by every command that writes, before anything is asked or written.
fn refused(scene: &Scene, metadata: &str, targets: &str, says: &str) {
    let url = scene.file_url();
    let root = scene.repository().join("metadata/1.root.json");
    let before = tree(&scene.work());
    let folders = ["--metadata-dir", metadata, "--target-dir", targets, "--repo", &url, "-v"];
    let commands: [&[&str]; 8] = [
        &[],
        &["update", "one.txt"],
        &["download", "--all"],
        &["download", "-o", "-", "one.txt"],
        &["list"],
        &["refresh"],
        &["clean"],
        &["init", root.to_str().unwrap()],
    ];
    for command in commands {
        let run = scene.run(&[&folders[..], command].concat());
        assert_eq!(run.code(), 2, "{metadata} {targets} {command:?}: {}", run.stderr());
        assert!(run.stderr().contains(says), "{command:?}: {}", run.stderr());
        assert!(run.stderr().contains(metadata) && run.stderr().contains(targets), "{}", run.stderr());
        assert!(!run.stderr().contains("GET"), "{}", run.stderr());
        assert!(tree(&scene.work()) == before, "{command:?}");
        let hint = hinted(&folders, run.stderr());
        assert!(
            tuf::client::check_folders(&scene.work().join(&hint.0), &scene.work().join(&hint.1)).is_ok(),
            "{hint:?}"
        );
    }
}

/// The two folders that a hint leads to.
fn hinted(folders: &[&str], said: &str) -> (String, String) {
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
    let words: Vec<&str> = hint.split(' ').skip_while(|word| !word.starts_with("--")).collect();
    assert!(!words.is_empty(), "{hint}");
    let value = |option: &str| {
        let given = words.iter().chain(folders).skip_while(|word| **word != option).nth(1);
        (*given.unwrap()).to_owned()
    };
    (value("--metadata-dir"), value("--target-dir"))
}

#[test]
fn a_listed_target_never_reaches_the_trusted_root_however_the_folders_are_spelled() {
    let scene = Scene::started(&evil());
    let work = scene.work();
    std::fs::create_dir_all(work.join("x/metadata")).unwrap();
    std::fs::copy(work.join("metadata/root.json"), work.join("x/metadata/root.json")).unwrap();
    symlink(".", work.join("here")).unwrap();
    symlink(work.join("metadata"), work.join("meta")).unwrap();
    let absolute = work.to_str().unwrap().to_owned();
    for (metadata, targets) in [
        ("metadata", "."),
        ("metadata", ""),
        ("metadata", "here"),
        ("meta", "x/.."),
        ("metadata", &absolute),
        ("x/metadata", "here/x"),
        ("x/metadata", "../work"),
    ] {
        let targets = if targets.is_empty() { "./" } else { targets };
        refused(&scene, metadata, targets, "holds the metadata folder");
    }
    for (metadata, targets) in
        [("metadata", "metadata"), ("meta", "x/../metadata/."), ("here/metadata", "meta")]
    {
        refused(&scene, metadata, targets, "is the metadata folder");
    }
    for (metadata, targets) in [("metadata", "meta/files"), (".", "targets"), ("here", "not/there/yet")] {
        refused(&scene, metadata, targets, "lies in the metadata folder");
    }
    // the default for targets is meant too
    scene.run(&["--metadata-dir", ".", "--repo", &scene.file_url()]).fails(2, "targets: usage: ");
}

#[test]
fn a_bind_mount_of_the_metadata_folder_is_seen_through() {
    let scene = Scene::started(&evil());
    let (url, root) = (scene.file_url(), std::fs::read(scene.work().join("metadata/root.json")).unwrap());
    for folder in ["files/metadata", "mounted"] {
        std::fs::create_dir_all(scene.work().join(folder)).unwrap();
    }
    // the target folder is the metadata folder by another way
    let prepare = "mount --bind metadata mounted";
    let Some(run) = after(&scene, prepare, &["--repo", &url, "--target-dir", "mounted"]) else { return };
    run.fails(2, "mounted: usage: ");
    // the metadata folder lies in the one of targets by another way: its files are reached by no target
    let prepare = "mount --bind metadata files/metadata";
    let run = after(&scene, prepare, &["--repo", &url, "--target-dir", "files"]).unwrap();
    assert_eq!(run.code(), 1);
    assert!(run.stderr().contains("the folder of trusted metadata stands there"), "{}", run.stderr());
    assert!(run.stdout().contains("downloaded files/one.txt"), "{}", run.stdout());
    assert_eq!(std::fs::read(scene.work().join("metadata/root.json")).unwrap(), root);
}

/// Through an overlay the folder has another device and other inodes: it is known by its mark.
#[test]
fn an_overlay_over_the_metadata_folder_is_seen_through() {
    let scene = Scene::started(&evil());
    let (url, root) = (scene.file_url(), std::fs::read(scene.work().join("metadata/root.json")).unwrap());
    for folder in ["lower/metadata", "lower/x", "merged", "upper", "shm"] {
        std::fs::create_dir_all(scene.work().join(folder)).unwrap();
    }
    let overlay = |options: &str, at: &str| {
        format!(
            "mount -t tmpfs tmpfs shm && mkdir shm/work shm/up && mount -t overlay overlay -o {options} {at}"
        )
    };
    // the upper folder of an overlay must not be an overlay itself: a file system of its own holds it
    let prepare = overlay("lowerdir=metadata,upperdir=shm/up,workdir=shm/work", "merged");
    let Some(run) = after(&scene, &prepare, &["--repo", &url, "--target-dir", "merged"]) else { return };
    run.fails(2, "merged: usage: ");
    // deeper down, with the metadata folder as the one that is written to
    let move_in = "mount -t tmpfs tmpfs shm && mkdir -p shm/work shm/up/metadata && cp -a metadata/. shm/up/metadata/ \
                   && mount -t overlay overlay -o lowerdir=lower,upperdir=shm/up,workdir=shm/work merged";
    let dirs = ["--repo", &url, "--metadata-dir", "shm/up/metadata", "--target-dir", "merged"];
    let run = after(&scene, move_in, &dirs).unwrap();
    assert_eq!(run.code(), 1, "{}{}", run.stdout(), run.stderr());
    assert!(run.stderr().contains("a folder of what a client trusts stands there"), "{}", run.stderr());
    assert!(run.stdout().contains("downloaded merged/one.txt"), "{}", run.stdout());
    assert_eq!(std::fs::read(scene.work().join("metadata/root.json")).unwrap(), root);
}

/// Two clients that share a target folder do not share their trust.
#[test]
fn the_metadata_folder_of_another_client_is_no_target_folder() {
    let scene = Scene::started(&evil());
    let (url, root) = (scene.file_url(), scene.repository().join("metadata/1.root.json"));
    for other in ["other", "deep/other"] {
        scene.run(&["--metadata-dir", other, "init", root.to_str().unwrap()]).succeeds();
        refused(&scene, "metadata", other, "holds what a client trusts");
    }
    symlink("other", scene.work().join("linked")).unwrap();
    refused(&scene, "metadata", "linked", "holds what a client trusts");
    // above it all targets arrive but those that would lie in it
    scene.run(&["--metadata-dir", "shared/metadata", "init", root.to_str().unwrap()]).succeeds();
    let run = scene.run(&["--repo", &url, "--target-dir", "shared"]);
    assert_eq!(run.code(), 1, "{}", run.stdout());
    assert!(run.stderr().contains("a folder of what a client trusts stands there"), "{}", run.stderr());
    assert!(run.stdout().contains("downloaded shared/root.json"), "{}", run.stdout());
    let kept = std::fs::read(scene.work().join("shared/metadata/root.json")).unwrap();
    assert_eq!(kept, std::fs::read(&root).unwrap());
}

#[test]
fn a_repositorys_own_folders_are_refused_and_stay_as_they_are() {
    let scene = Scene::started(&simulator());
    let work = scene.work();
    // a repository that is being worked on, and one that is only published; the client's defaults are their folders
    for folder in ["repo/metadata.staged", "repo/metadata", "repo/targets", "repo/inner"] {
        std::fs::create_dir_all(work.join(folder)).unwrap();
    }
    std::fs::create_dir_all(work.join("live/targets")).unwrap();
    std::fs::create_dir(work.join("live/metadata")).unwrap();
    for name in ["7.root.json", "timestamp.json"] {
        std::fs::write(work.join("live/metadata").join(name), b"{}").unwrap();
    }
    std::fs::write(work.join("repo/targets/one.txt"), b"an edit of the maintainer").unwrap();
    symlink("live/metadata", work.join("link")).unwrap();
    symlink("repo", work.join("there")).unwrap();
    for metadata in ["repo/metadata", "repo/metadata.staged", "there/fresh", "live/metadata", "link"] {
        refused(&scene, metadata, "out", "is a repository's");
    }
    for targets in ["repo/targets", "there/targets/deep", "live/targets", "link/new"] {
        refused(&scene, "metadata", targets, "is a repository's");
    }
    // beside them is no harm
    let url = scene.file_url();
    scene.run(&["--repo", &url, "--target-dir", "repo/inner"]).succeeds();
    assert_eq!(std::fs::read(work.join("repo/targets/one.txt")).unwrap(), b"an edit of the maintainer");
}

#[test]
fn the_clients_own_folder_is_never_taken_for_a_repositorys() {
    let mut simulator = simulator();
    let scene = Scene::started(&simulator);
    for _ in 0..3 {
        simulator.next_root(|_| ());
        simulator.update_all();
        scene.publish(&simulator);
        scene.run(&["--repo", &scene.file_url()]).succeeds();
    }
    let names: Vec<String> = tree(&scene.work().join("metadata")).into_keys().collect();
    assert_eq!(
        names,
        [
            ".lock",
            ".tuf-put",
            ".verified",
            "a%2Fb.json",
            "root.json",
            "snapshot.json",
            "targets.json",
            "timestamp.json"
        ]
    );
}

/// Every command after that, `clean` too, would end with 2 for ever.
#[test]
fn a_target_folder_that_a_role_makes_look_like_a_repositorys_is_updated_as_before() {
    for listed in [
        &["metadata.staged/x"][..],
        &["1.root.json", "timestamp.json"],
        &["metadata/1.root.json", "metadata/timestamp.json"],
        &["root_history/1.root.json", "timestamp.json", "targets/metadata.staged/x"],
    ] {
        let mut simulator = simulator();
        simulator.delegate("targets", "contrib", |role| {
            role.paths = Some(["*", "*/*", "*/*/*"].map(str::to_owned).to_vec());
        });
        listed.iter().for_each(|path| simulator.add_target("contrib", path, b"x"));
        simulator.publish_all();
        let scene = Scene::started(&simulator);
        let url = scene.file_url();
        scene.run(&["--repo", &url]).succeeds();
        simulator.targets.get_mut("contrib").unwrap().targets.retain(|_| false);
        simulator.add_target("targets", "one.txt", b"a newer one");
        simulator.update_all();
        scene.publish(&simulator);
        scene.run(&["--repo", &url]).succeeds();
        assert_eq!(std::fs::read(scene.work().join("targets/one.txt")).unwrap(), b"a newer one");
        scene.run(&["clean"]).succeeds();
        listed.iter().for_each(|path| assert!(!scene.work().join("targets").join(path).exists(), "{path}"));
    }
}

#[test]
fn a_root_that_is_kept_in_the_clients_own_folder_shuts_nobody_out() {
    let scene = Scene::new(&simulator());
    let url = scene.file_url();
    std::fs::create_dir(scene.work().join("metadata")).unwrap();
    let kept = scene.work().join("metadata/1.root.json");
    std::fs::copy(scene.repository().join("metadata/1.root.json"), &kept).unwrap();
    scene.run(&["init", "metadata/1.root.json"]).succeeds();
    for command in [&[][..], &["update"], &["list"], &["clean"], &["init", "metadata/1.root.json"]] {
        scene.run(&[&["--repo", &url], command].concat()).succeeds();
    }
    // brought by hand and not by `init`
    let scene = Scene::new(&simulator());
    let url = scene.file_url();
    std::fs::create_dir(scene.work().join("metadata")).unwrap();
    for name in ["root.json", "1.root.json"] {
        let from = scene.repository().join("metadata/1.root.json");
        std::fs::copy(from, scene.work().join("metadata").join(name)).unwrap();
    }
    for command in [&["refresh"][..], &["update"], &["clean"]] {
        scene.run(&[&["--repo", &url], command].concat()).succeeds();
    }
}

#[test]
fn a_checkout_of_tuf_on_ci_is_not_overwritten() {
    let scene = Scene::started(&simulator());
    let co = scene.work().join("co");
    std::fs::create_dir_all(co.join("metadata/root_history")).unwrap();
    std::fs::create_dir_all(co.join("targets")).unwrap();
    let live = |name: &str| scene.repository().join("metadata").join(name);
    for (from, to) in [
        (live("1.root.json"), "metadata/root.json"),
        (live("1.root.json"), "metadata/root_history/1.root.json"),
        (live("timestamp.json"), "metadata/timestamp.json"),
    ] {
        std::fs::copy(from, co.join(to)).unwrap();
    }
    std::fs::write(co.join("targets/one.txt"), b"not signed yet").unwrap();
    refused(&scene, "co/metadata", "out", "is a repository's");
    refused(&scene, "metadata", "co/targets", "is a repository's");
    refused(&scene, "co/metadata", "co/targets", "is a repository's");
}

#[test]
fn folders_that_a_file_url_reads_are_refused_by_every_spelling() {
    let scene = Scene::started(&simulator());
    // nothing there says that it is a repository
    let plain = scene.work().join("plain");
    std::fs::create_dir_all(plain.join("metadata")).unwrap();
    std::fs::create_dir_all(plain.join("targets/deep")).unwrap();
    std::fs::copy(scene.repository().join("metadata/1.root.json"), plain.join("metadata/root.json")).unwrap();
    symlink("plain", scene.work().join("link")).unwrap();
    let before = tree(&scene.work());
    let (url, base) = (format!("file://{}", plain.display()), format!("file://{}/targets/", plain.display()));
    let root = scene.repository().join("metadata/1.root.json");
    let root = root.to_str().unwrap();
    for (metadata, targets, folder) in [
        ("plain/metadata", "out", "plain/metadata"),
        ("link/metadata", "out", "link/metadata"),
        ("metadata", "link/targets", "link/targets"),
        ("metadata", "plain/targets/deep", "plain/targets/deep"),
        ("metadata", "link", "link"),
    ] {
        for command in [&[][..], &["list"], &["refresh"], &["init", root], &["init", "--trust-first-use"]] {
            for sources in [&["--repo", &url][..], &["--repo", "http://x.test", "--mirror", &url]] {
                let dirs = ["--metadata-dir", metadata, "--target-dir", targets, "-v"];
                let run = scene.run(&[&dirs[..], sources, command].concat());
                let run = run.fails(2, &format!("{folder}: usage: a repository is read from there"));
                assert!(!run.stderr().contains("GET"), "{}", run.stderr());
                let hint = hinted(&dirs, run.stderr());
                assert_eq!(hint, ("client/metadata".to_owned(), "client/targets".to_owned()));
            }
        }
    }
    let targets =
        ["--metadata-url", "http://x.test", "--target-base-url", &base, "--target-dir", "link/targets"];
    scene.run(&[&targets[..], &["refresh"]].concat()).fails(2, "link/targets: usage: a repository is read");
    assert!(tree(&scene.work()) == before);
}

#[test]
fn folders_that_cannot_be_compared_are_refused_before_anything_is_written() {
    let scene = Scene::new(&simulator());
    let root = scene.repository().join("metadata/1.root.json");
    // deeper than the system names a folder
    let script = "set -e; n=$(printf 'd%.0s' $(seq 200)); for i in $(seq 25); do mkdir $n; cd -P ./$n 2>/dev/null || cd $n; done; \
                  set +e; \"$0\" \"$@\"; code=$?; ls -A; exit $code";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_tuf-fetch"), "init", root.to_str().unwrap()]);
    let run = crate::scene::Run(command.current_dir(scene.work()).output().unwrap());
    assert_eq!((run.code(), run.stdout()), (1, ""), "{}", run.stderr());
    assert!(run.stderr().starts_with("error: metadata: io: "), "{}", run.stderr());
    // two names of one folder that is not there yet
    let scene = Scene::new(&simulator());
    symlink("new", scene.work().join("link")).unwrap();
    let before = tree(&scene.work());
    let dirs = ["--metadata-dir", "new", "--target-dir", "link"];
    scene.run(&[&dirs[..], &["init", root.to_str().unwrap()]].concat()).fails(2, "link: usage: ");
    assert!(tree(&scene.work()) == before);
}

#[test]
fn clean_takes_only_what_tuf_fetch_put_and_says_so_before() {
    let mut simulator = simulator();
    let scene = Scene::started(&simulator);
    let (work, url) = (scene.work(), scene.file_url());
    std::fs::create_dir_all(work.join("Downloads/thesis")).unwrap();
    std::fs::write(work.join("Downloads/thesis/ch1"), b"precious").unwrap();
    std::fs::write(work.join("Downloads/tax.pdf"), b"tax").unwrap();
    std::fs::create_dir_all(work.join("Downloads/.git")).unwrap();
    std::fs::write(work.join("Downloads/.git/config"), b"g").unwrap();
    let dirs = ["--target-dir", "Downloads", "--repo", &url];
    let mine = tree(&work.join("Downloads"));
    scene.run(&dirs).succeeds();
    assert_eq!(scene.run(&[&dirs[..], &["clean"]].concat()).succeeds().stdout(), "");
    simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
    simulator.targets.get_mut("a/b").unwrap().targets.retain(|_| false);
    simulator.update_all();
    scene.publish(&simulator);
    // the delegated role is not at hand
    scene.run(&[&dirs[..], &["refresh"]].concat()).succeeds();
    let run = scene.run(&[&dirs[..], &["clean", "--dry-run"]].concat()).succeeds();
    assert_eq!(run.stdout(), "would remove target one.txt\n");
    assert!(run.stderr().contains("kept dir/two +#%.txt: a/b has version 1, not 2"), "{}", run.stderr());
    scene.run(&dirs).succeeds();
    let before = tree(&work);
    let planned = scene.run(&[&dirs[..], &["clean", "--dry-run"]].concat()).succeeds();
    assert_eq!(planned.stdout(), "would remove target dir/two +#%.txt\nwould remove target one.txt\n");
    assert!(tree(&work) == before);
    let other = scene.run(&["--target-dir", "elsewhere", "clean"]).succeeds();
    assert_eq!(other.stdout(), "");
    let done = scene.run(&[&dirs[..], &["clean", "--json"]].concat()).succeeds().json();
    assert_eq!(done["removed_targets"].as_array().unwrap().len(), 2);
    assert!(tree(&work.join("Downloads")) == mine);
    assert!(work.join("metadata/root.json").exists());
}

/// User A was killed in a group's folder, and user B was told of its permissions for ever.
#[test]
fn another_users_folder_for_unfinished_files_keeps_nobody_from_fetching() {
    let scene = Scene::started(&simulator());
    let (targets, url) = (scene.work().join("targets"), scene.file_url());
    let left = targets.join(".tuf-fetch/77.0.part");
    std::fs::create_dir_all(&left).unwrap();
    if left.metadata().unwrap().uid() != 0 {
        return;
    }
    std::fs::write(left.join("0"), b"half").unwrap();
    chown(targets.join(".tuf-fetch"), Some(2), Some(2)).unwrap();
    scene.run(&["--repo", &url]).succeeds();
    scene.run(&["clean"]).succeeds();
    assert!(left.join("0").exists() && targets.join("one.txt").exists());
    assert!(!targets.join(".tuf-fetch-0").exists());
    // both names: the folder is named, and the hint is the way on
    std::fs::create_dir(targets.join(".tuf-fetch-0")).unwrap();
    chown(targets.join(".tuf-fetch-0"), Some(2), Some(2)).unwrap();
    std::fs::remove_file(targets.join("one.txt")).unwrap();
    let before = tree(&targets);
    let run = scene.run(&["--repo", &url]).fails(1, "targets: io: ");
    assert!(run.stderr().contains("'.tuf-fetch-0' is no folder of the user who runs this command"));
    assert!(run.stderr().contains("hint: ") && run.stderr().contains("--target-dir DIR"), "{}", run.stderr());
    assert!(tree(&targets) == before);
    scene.run(&["--repo", &url, "--target-dir", "own"]).succeeds();
}

/// What another user had put at the place of a target, with the right bytes and for all to write to, was `unchanged`, and he
/// changed it afterwards. A folder of his above a target was used.
#[test]
fn what_another_user_plants_in_a_shared_target_folder_is_not_taken_for_ours() {
    for mut simulator in [simulator(), Simulator::plain()] {
        simulator.add_target("targets", "one.txt", b"one");
        for path in ["lib/x", "own/deep/x", "own/y", "last"] {
            simulator.add_target("targets", path, path.as_bytes());
        }
        simulator.publish_all();
        let scene = Scene::started(&simulator);
        let (targets, url) = (scene.work().join("targets"), scene.file_url());
        std::fs::create_dir_all(targets.join("own/deep")).unwrap();
        std::fs::create_dir(targets.join("lib")).unwrap();
        if targets.metadata().unwrap().uid() != 0 {
            return;
        }
        let give = |path: &str, mode: u32, owner: u32| {
            let path = targets.join(path);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(owner), Some(owner)).unwrap();
        };
        for (path, bytes) in [("one.txt", "one"), ("lib/x", "lib/x"), ("last", "last"), ("own/y", "own/y")] {
            std::fs::write(targets.join(path), bytes).unwrap();
        }
        give("", 0o1777, 0);
        give("one.txt", 0o666, 2);
        give("last", 0o644, 2);
        give("own/y", 0o666, 0);
        give("lib", 0o777, 2);
        give("lib/x", 0o644, 0);
        give("own/deep", 0o755, 2);
        let held = std::fs::File::options().write(true).open(targets.join("one.txt")).unwrap();
        let run = scene.run(&["--repo", &url]);
        assert_eq!(run.code(), 1, "{}", run.stdout());
        for (file, folder) in [("lib/x", "lib"), ("own/deep/x", "deep")] {
            let says =
                format!("error: targets/{file}: io: targets/{file}: '{folder}' belongs to another user");
            assert!(run.stderr().contains(&says), "{}", run.stderr());
        }
        assert!(run.stderr().contains("--target-dir DIR"), "{}", run.stderr());
        assert!(!targets.join("own/deep/x").exists());
        // what was right is not downloaded again, and nobody else changes it now
        for path in ["one.txt", "last", "own/y"] {
            assert!(run.stdout().contains(&format!("unchanged  targets/{path}\n")), "{}", run.stdout());
            let found = targets.join(path).metadata().unwrap();
            assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644), "{path}");
        }
        std::io::Write::write_all(&mut &held, b"EVIL").unwrap();
        assert_eq!(std::fs::read(targets.join("one.txt")).unwrap(), b"one");
        // it was there before: it is nobody's to remove
        simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
        simulator.update_all();
        scene.publish(&simulator);
        scene.run(&["--repo", &url]);
        scene.run(&["clean"]).succeeds();
        assert!(["one.txt", "last", "own/y"].iter().all(|path| targets.join(path).exists()));
        scene.run(&["--repo", &url, "--target-dir", "fresh"]).succeeds();
    }
}

/// A target that was put stays ours when somebody has opened it to a group; and a folder that people share by its mode is
/// theirs together.
#[test]
fn a_folder_that_a_group_shares_goes_on_to_be_used_by_all_of_it() {
    let mut simulator = simulator();
    simulator.add_target("targets", "lib/x", b"x");
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    let (targets, url) = (scene.work().join("targets"), scene.file_url());
    scene.run(&["--repo", &url]).succeeds();
    if targets.metadata().unwrap().uid() != 0 {
        return;
    }
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(targets.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("one.txt", 0o664);
    scene.run(&["--repo", &url]).succeeds();
    assert_eq!(targets.join("one.txt").metadata().unwrap().mode() & 0o777, 0o644);
    // in a shared folder
    mode("", 0o775);
    for path in ["lib", "lib/x", "one.txt"] {
        chown(targets.join(path), Some(2), Some(2)).unwrap();
    }
    let run = scene.run(&["--repo", &url]).succeeds();
    assert!(run.stdout().contains("unchanged  targets/lib/x"), "{}", run.stdout());
    mode("", 0o755);
    chown(targets.join("lib"), Some(0), Some(0)).unwrap();
    simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
    simulator.update_all();
    scene.publish(&simulator);
    scene.run(&["--repo", &url, "refresh"]).succeeds();
    let run = scene.run(&["clean"]).succeeds();
    assert!(run.stdout().contains("one.txt"), "{}", run.stdout());
}

/// The lock was its maker's alone: everybody else of the group was told of its permissions for ever.
#[test]
fn a_metadata_folder_that_a_group_shares_is_used_by_each_of_its_users() {
    use std::os::unix::process::CommandExt;
    let mut simulator = simulator();
    let scene = Scene::new(&simulator);
    let work = scene.work();
    if work.metadata().unwrap().uid() != 0 {
        return;
    }
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(work.parent().unwrap(), 0o755);
    chown(&work, Some(0), Some(7)).unwrap();
    mode(&work, 0o2775);
    let root = scene.repository().join("metadata/1.root.json");
    let url = scene.file_url();
    for (user, args) in [
        (2, &["init", root.to_str().unwrap()][..]),
        (3, &["--repo", &url]),
        (2, &["--repo", &url]),
        (3, &["--repo", &url, "clean"]),
    ] {
        let plain = scene.command(args);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "umask 002; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
        let output = command.current_dir(&work).uid(user).gid(7).output();
        // a folder above may be shut to other users
        let Ok(output) = output else { return };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("sh: ") {
            return;
        }
        assert!(output.status.success(), "{user} {args:?}: {said}");
        simulator.add_target("targets", "one.txt", format!("{user} {}", args.len()).as_bytes());
        simulator.update_all();
        scene.publish(&simulator);
    }
}

/// It once made a lock, and took an empty folder away.
#[test]
fn a_dry_run_of_clean_changes_nothing_not_even_the_lock() {
    let scene = Scene::started(&simulator());
    scene.run(&["--repo", &scene.file_url()]).succeeds();
    std::fs::remove_file(scene.work().join("metadata/.lock")).unwrap();
    std::fs::create_dir(scene.work().join("targets/.tuf-fetch")).unwrap();
    let before = tree(&scene.work());
    scene.run(&["clean", "--dry-run"]).succeeds();
    assert!(tree(&scene.work()) == before);
}

/// Whoever could read the metadata folder stopped the client in silence; a pipe did without any lock.
#[test]
fn a_lock_that_is_held_is_told_and_a_pipe_or_a_link_is_none() {
    use std::io::Read;
    let scene = Scene::started(&simulator());
    let (lock, url) = (scene.work().join("metadata/.lock"), scene.file_url());
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let mut command = scene.command(&["--repo", &url, "refresh"]);
    let mut waiting = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = [0; 30];
    waiting.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"another process holds metadata");
    drop(held);
    assert!(waiting.wait().unwrap().success());
    std::fs::remove_file(&lock).unwrap();
    symlink("elsewhere", &lock).unwrap();
    scene
        .run(&["--repo", &url, "refresh"])
        .fails(1, "metadata/.lock: io: metadata/.lock: '.lock' is a symbolic");
    assert!(!scene.work().join("metadata/elsewhere").exists());
    std::fs::remove_file(&lock).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    scene.run(&["--repo", &url, "refresh"]).fails(1, "metadata/.lock: io: ");
}

#[test]
fn clean_leaves_what_another_process_is_at_work_on() {
    let scene = Scene::started(&simulator());
    scene.run(&["--repo", &scene.file_url()]).succeeds();
    let part = scene.work().join("targets/.tuf-fetch/1.0.part");
    std::fs::create_dir_all(&part).unwrap();
    std::fs::write(part.join("0"), b"half").unwrap();
    let alive = std::fs::File::open(&part).unwrap();
    alive.lock().unwrap();
    for command in [&["clean"][..], &["update", "--repo", &scene.file_url()], &["clean", "--dry-run"]] {
        scene.run(command).succeeds();
        assert_eq!(std::fs::read(part.join("0")).unwrap(), b"half");
    }
    drop(alive);
    scene.run(&["clean"]).succeeds();
    assert!(!scene.work().join("targets/.tuf-fetch").exists());
}

#[test]
fn more_targets_in_folders_than_a_process_may_open_are_fetched_in_one_run() {
    let mut simulator = Simulator::new();
    for index in 0..600 {
        simulator.add_target("targets", &format!("pkg{index}/file"), format!("{index}").as_bytes());
    }
    simulator.publish_all();
    let scene = Scene::started(&simulator);
    let script = "ulimit -n 256 && exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_tuf-fetch"), "--time", "2030-01-01T00:00:00Z", "-q"]);
    let output = command.args(["--repo", &scene.file_url()]).current_dir(scene.work()).output().unwrap();
    crate::scene::Run(output).succeeds();
    assert_eq!(std::fs::read_dir(scene.work().join("targets")).unwrap().count(), 600);
}
