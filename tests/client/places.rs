//! Where targets may lie: never where unfinished files lie, nor in the place of another role's target.

use tuf::client::{ClientError, Obstacle, TargetDir};
use tuf::metadata::{Algorithm, Hasher};

use crate::simulator::{Client, Simulator};

fn sha256(bytes: &[u8]) -> String {
    Hasher::digest([Algorithm::Sha256], bytes).of(Algorithm::Sha256).unwrap().to_owned()
}

fn read(client: &Client, path: &str) -> String {
    String::from_utf8(std::fs::read(client.targets().join(path)).unwrap()).unwrap()
}

fn at(client: &Client, path: &str) -> std::path::PathBuf {
    client.targets().join(path)
}

fn said(faults: &[ClientError]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// contrib comes first and may list anything up to three folders deep; release lists its own.
fn two_roles() -> Simulator {
    let mut simulator = Simulator::new();
    let anything = ["*", "*/*", "*/*/*"].map(str::to_owned).to_vec();
    simulator.delegate("targets", "contrib", |role| role.paths = Some(anything.clone()));
    simulator.delegate("targets", "release", |role| role.paths = Some(anything));
    simulator
}

#[test]
fn no_role_decides_the_bytes_of_another_roles_target_by_naming_an_unfinished_file() {
    let large: Vec<u8> = (0..2 << 20).map(|index| (index % 251) as u8).collect();
    let process = std::process::id();
    let names = [
        format!(".tuf-fetch.{}.rest", sha256(&large)),
        format!(".tuf-fetch/{}.rest", sha256(&large)),
        format!(".TUF-Fetch/{}.rest", sha256(&large)),
        format!(".tuf-fetch/{process}.0.part/0"),
        format!(".tuf-fetch/{process}.0.part"),
        ".tuf-fetch".to_owned(),
        ".tuf-put".to_owned(),
        "release/.tuf-x/y".to_owned(),
    ];
    let mut simulator = two_roles();
    for name in &names {
        simulator.add_target("contrib", name, b"owned");
    }
    simulator.add_target("contrib", "good", b"good");
    simulator.add_target("release", "release/app.bin", &large);
    simulator.add_target("release", "release/small", b"small");
    simulator.publish_all();
    let client = Client::new(&simulator);
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!(downloaded, ["good", "release/app.bin", "release/small"]);
    assert_eq!(faults.len(), names.len(), "{:?}", said(&faults));
    assert!(
        faults.iter().all(|fault| matches!(fault, ClientError::ReservedPath { .. })),
        "{:?}",
        said(&faults)
    );
    assert_eq!(std::fs::read(at(&client, "release/app.bin")).unwrap(), large);
    assert_eq!(read(&client, "release/small"), "small");
    for name in &names {
        assert!(matches!(client.download(&simulator, name), Err(ClientError::ReservedPath { .. })), "{name}");
        assert!(!at(&client, name).exists(), "{name}");
    }
}

#[test]
fn a_file_that_becomes_a_folder_and_a_folder_that_becomes_a_file_are_followed() {
    let mut simulator = Simulator::new();
    for path in ["a", "b/deep/x", "b/y", "other"] {
        simulator.add_target("targets", path, path.as_bytes());
    }
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.download_all(&simulator).0.len(), 4);
    for (gone, new) in [("a", "a/x"), ("b/deep/x b/y", "b"), ("a/x", "a"), ("b", "b/deep")] {
        simulator
            .targets
            .get_mut("targets")
            .unwrap()
            .targets
            .retain(|path| !gone.split(' ').any(|gone| gone == path));
        simulator.add_target("targets", new, new.as_bytes());
        simulator.add_target("targets", "zz", new.as_bytes());
        simulator.update_all();
        let (downloaded, faults) = client.download_all(&simulator);
        assert_eq!(said(&faults), [""; 0]);
        assert!(downloaded.contains(&new.to_owned()), "{downloaded:?}");
        assert_eq!(read(&client, new), new);
        assert_eq!(read(&client, "zz"), new);
    }
}

#[test]
fn a_folder_made_for_one_roles_target_does_not_block_anothers_for_ever() {
    let mut simulator = two_roles();
    simulator.add_target("contrib", "release/app.bin/x", b"bad");
    simulator.add_target("release", "release/app.bin", b"app");
    simulator.add_target("release", "release/zz", b"zz");
    simulator.publish_all();
    let client = Client::new(&simulator);
    // the role that comes first has the place, the other one is named, and the rest is fetched
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!(downloaded, ["release/zz", "release/app.bin/x"]);
    assert!(
        matches!(&faults[..], [ClientError::InTheWay { path, what, obstacle: Obstacle::Listed }]
            if path == "release/app.bin" && what == "release/app.bin/x"),
        "{:?}",
        said(&faults)
    );
    let error = client.download(&simulator, "release/app.bin").unwrap_err();
    assert!(matches!(error, ClientError::InTheWay { obstacle: Obstacle::Listed, .. }), "{error}");
    // once the bad target has been thrown out, by name too
    simulator.targets.get_mut("contrib").unwrap().targets.retain(|_| false);
    simulator.update_all();
    client.download(&simulator, "release/app.bin").unwrap();
    assert_eq!(read(&client, "release/app.bin"), "app");
    assert_eq!(said(&client.download_all(&simulator).1), [""; 0]);
}

#[test]
fn the_order_of_the_roles_decides_even_against_what_is_there() {
    let mut simulator = two_roles();
    simulator.add_target("contrib", "release/app.bin/x", b"bad");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download_all(&simulator);
    simulator.add_target("release", "release/app.bin", b"app");
    let delegations = simulator.targets.get_mut("targets").unwrap().delegations.as_mut().unwrap();
    delegations.roles.as_mut().unwrap().reverse();
    simulator.update_all();
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!(downloaded, ["release/app.bin"]);
    assert_eq!(faults.len(), 1, "{:?}", said(&faults));
    assert_eq!(read(&client, "release/app.bin"), "app");
}

#[test]
fn what_somebody_else_put_in_the_way_stays_and_is_named() {
    for (foreign, wanted) in [("tools/notes", "tools"), ("tools", "tools/x"), ("tools/deep/", "tools")] {
        let mut simulator = Simulator::new();
        simulator.add_target("targets", wanted, b"tool");
        simulator.add_target("targets", "zz", b"zz");
        simulator.publish_all();
        let client = Client::new(&simulator);
        std::fs::create_dir_all(at(&client, foreign.rsplit_once('/').map_or("", |(above, _)| above)))
            .unwrap();
        if !foreign.ends_with('/') {
            std::fs::write(at(&client, foreign), b"mine").unwrap();
        }
        let (downloaded, faults) = client.download_all(&simulator);
        assert_eq!(downloaded, ["zz"]);
        assert!(
            matches!(&faults[..], [ClientError::InTheWay { obstacle: Obstacle::Foreign, .. }]),
            "{:?}",
            said(&faults)
        );
        assert!(at(&client, foreign).exists());
    }
}

#[test]
fn a_target_that_was_changed_here_is_not_cleared_away() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "tools/x", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download_all(&simulator);
    std::fs::write(at(&client, "tools/x"), b"edited").unwrap();
    simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
    simulator.add_target("targets", "tools", b"tools");
    simulator.update_all();
    let (_, faults) = client.download_all(&simulator);
    assert!(matches!(&faults[..], [ClientError::InTheWay { obstacle: Obstacle::Foreign, .. }]));
    assert_eq!(read(&client, "tools/x"), "edited");
}

#[test]
fn what_a_role_that_cannot_be_had_may_list_is_not_cleared_away() {
    let mut simulator = two_roles();
    simulator.add_target("contrib", "tools/x", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download_all(&simulator);
    simulator.add_target("targets", "tools", b"tools");
    simulator.update_all();
    simulator.statuses.insert("/metadata/2.contrib.json".to_owned(), 404);
    let error = client.download(&simulator, "tools").unwrap_err();
    assert!(matches!(error, ClientError::InTheWay { obstacle: Obstacle::Unknown(_), .. }), "{error}");
    assert_eq!(read(&client, "tools/x"), "x");
}

/// To compare two targets that need one place, all roles of the repository were asked for.
#[test]
fn a_conflict_at_one_target_asks_for_no_role_but_those_on_the_way_to_the_two() {
    let mut simulator = two_roles();
    for name in ["far", "farther"] {
        simulator.delegate("targets", name, |role| role.paths = Some(vec![format!("{name}/*")]));
        simulator.add_target(name, &format!("{name}/x"), b"x");
    }
    simulator.add_target("contrib", "app/x", b"contrib's");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download(&simulator, "app/x").unwrap();
    simulator.add_target("release", "app", b"release's");
    simulator.update_all();
    simulator.requests();
    let error = client.download(&simulator, "app").unwrap_err();
    assert!(matches!(error, ClientError::InTheWay { obstacle: Obstacle::Listed, .. }), "{error}");
    let requests = simulator.requests();
    assert!(requests.iter().any(|request| request.contains("release")), "{requests:?}");
    assert!(requests.iter().all(|request| !request.contains("far")), "{requests:?}");
    // the other way round the one that comes first has the place, by the same requests
    let delegations = simulator.targets.get_mut("targets").unwrap().delegations.as_mut().unwrap();
    delegations.roles.as_mut().unwrap().swap(0, 1);
    simulator.update_all();
    client.download(&simulator, "app").unwrap();
    assert!(simulator.requests().iter().all(|request| !request.contains("far")));
    assert_eq!(read(&client, "app"), "release's");
    // of two that are asked for together, too
    let (downloaded, faults) = client.download_all(&simulator);
    assert!(downloaded.contains(&"app".to_owned()) && faults.len() == 1, "{:?}", said(&faults));
}

/// A target that another client's metadata folder lies at could replace what that one trusts.
#[test]
fn no_target_is_put_where_another_client_keeps_what_it_trusts() {
    let mut simulator = Simulator::new();
    for path in ["other/metadata/root.json", "other/metadata/deep/x", "other/metadata/.tuf.json", "good"] {
        simulator.add_target("targets", path, b"owned");
    }
    simulator.publish_all();
    let client = Client::new(&simulator);
    let other = tuf::client::LocalMetadata::create(&at(&client, "other/metadata")).unwrap();
    let root = &simulator.files["/metadata/1.root.json"];
    tuf::client::init(&other, root, crate::simulator::now()).unwrap();
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!((downloaded, faults.len()), (vec!["good".to_owned()], 3), "{:?}", said(&faults));
    assert!(faults.iter().all(|fault| fault.to_string().contains("a folder of what a client trusts")));
    assert_eq!(&std::fs::read(at(&client, "other/metadata/root.json")).unwrap(), root);
    // and as the target folder itself it is refused
    let conflict =
        tuf::client::check_folders(&client.path().join("metadata"), &at(&client, "other/metadata"));
    assert!(
        matches!(conflict, Err(ClientError::Folders { conflict: tuf::client::Conflict::ClientMetadata, .. })),
        "{conflict:?}"
    );
}

#[test]
fn a_record_that_cannot_be_read_lets_nothing_be_cleared_away() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "tools/x", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download_all(&simulator);
    let record = std::fs::read_to_string(client.file(".tuf-put")).unwrap();
    std::fs::write(client.file(".tuf-put"), record + "half a line and a newline\n").unwrap();
    simulator.targets.get_mut("targets").unwrap().targets.retain(|_| false);
    simulator.add_target("targets", "tools", b"tools");
    simulator.add_target("targets", "zz", b"zz");
    simulator.update_all();
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!((downloaded, faults.len()), (vec!["zz".to_owned()], 1));
    assert!(faults[0].to_string().contains(".tuf-put: line"), "{}", faults[0]);
    assert_eq!(read(&client, "tools/x"), "x");
}

fn download_into(
    client: &Client,
    simulator: &Simulator,
    dir: &TargetDir,
) -> Result<tuf::client::Downloads, ClientError> {
    let mut updater = client.updater(simulator).unwrap();
    let listed = updater.list().unwrap().targets;
    updater.download_targets(&listed, dir, std::num::NonZeroUsize::MIN, &|_| ())
}

/// What `download app -o -` reads from.
fn printed_target(client: &Client, simulator: &Simulator) -> std::fs::File {
    let mut updater = client.updater(simulator).unwrap();
    let (_, info) = updater.target_info("app").unwrap().unwrap();
    let dir = TargetDir::create(&client.targets()).unwrap();
    updater.open_target(&tuf::client::storable("app").unwrap(), &info, Some(&dir), &|_| ()).unwrap()
}

/// Somebody with rights in the folder above the target folder switches its path between two folders. The path was safe each
/// time it was asked; the folder that had been opened was that of the trusted root.
#[test]
fn a_target_folder_whose_path_is_switched_after_it_was_opened_never_replaces_a_trusted_root() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "plugins", |role| role.paths = Some(vec!["*".into(), "*/*".into()]));
    for path in ["root.json", "metadata/root.json", "deep/root.json"] {
        simulator.add_target("plugins", path, b"the root of the author of plugins");
    }
    simulator.publish_all();
    let own = Client::new(&simulator);
    let other = Client::new(&simulator);
    let (work, own_folder) = (tempfile::tempdir().unwrap(), own.file("."));
    std::fs::create_dir(work.path().join("safe")).unwrap();
    std::fs::create_dir_all(other.file("deep")).unwrap();
    let above = own_folder.canonicalize().unwrap().parent().unwrap().to_owned();
    std::fs::create_dir_all(own.file("below")).unwrap();
    let opened = [own.file("."), own.file("below"), other.file("."), above];
    let roots = || [&own, &other].map(|client| std::fs::read(client.file("root.json")).unwrap());
    let before = roots();
    for folder in opened {
        let link = work.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let dir = TargetDir::create(&link).unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("safe", &link).unwrap();
        let downloaded = download_into(&own, &simulator, &dir);
        assert!(matches!(downloaded, Err(ClientError::Folders { .. })), "{folder:?}");
        assert_eq!(roots(), before, "{folder:?}");
        assert!(!folder.join("deep/root.json").exists(), "{folder:?}");
        std::fs::remove_file(&link).unwrap();
    }
}

/// `download -o -` printed bytes that were changed in place after they had been verified.
#[test]
fn a_target_that_is_changed_in_its_place_while_it_is_printed_is_printed_as_it_was_verified() {
    let large: Vec<u8> = (0..3 << 20).map(|index| (index % 251) as u8).collect();
    for bytes in [&b"verified"[..], &large] {
        let mut simulator = Simulator::new();
        simulator.add_target("targets", "app", bytes);
        simulator.publish_all();
        let client = Client::new(&simulator);
        client.download_all(&simulator);
        for changed in [&b"owned"[..], &vec![b'x'; bytes.len()]] {
            let mut opened = printed_target(&client, &simulator);
            let before = std::fs::read(at(&client, "app")).unwrap();
            std::fs::write(at(&client, "app"), changed).unwrap();
            let mut printed = Vec::new();
            std::io::Read::read_to_end(&mut opened, &mut printed).unwrap();
            assert!(printed == bytes);
            // what is wrong already is not taken up either
            let mut opened = printed_target(&client, &simulator);
            printed.clear();
            std::io::Read::read_to_end(&mut opened, &mut printed).unwrap();
            assert!(printed == bytes);
            std::fs::write(at(&client, "app"), before).unwrap();
        }
        assert!(!client.file(".tuf-fetch").exists());
    }
}
