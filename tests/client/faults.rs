//! One role's fault is that role's: the rest is listed and fetched, and nothing is let in because of it.

use tuf::client::{ClientError, Code, Limits};

use crate::simulator::{Client, Simulator, earlier, key, now, role};

/// The paths that are listed, and the subjects and codes of what failed. Checks that by name the same is found.
fn listed(simulator: &Simulator, client: &Client) -> (Vec<String>, Vec<(String, Code)>) {
    let mut updater = client.updater(simulator).unwrap();
    let listing = updater.list().unwrap();
    let listed: Vec<String> = listing.targets.iter().map(|target| target.path.to_string()).collect();
    let all: Vec<String> =
        simulator.targets.values().flat_map(|role| role.targets.keys().map(String::from)).collect();
    for path in all {
        let found = client.updater(simulator).and_then(|mut updater| updater.target_info(&path));
        let by_name = matches!(found, Ok(Some(_))) && tuf::client::storable(&path).is_ok();
        assert_eq!(by_name, listed.contains(&path), "{path}: {found:?}");
    }
    let faults = listing.faults.iter().map(|fault| (fault.subject(), fault.code())).collect();
    (listed, faults)
}

/// Three roles of the top one, each with a folder of its own, and what is done to the one in the middle.
fn three(change: impl FnOnce(&mut Simulator)) -> (Simulator, Client) {
    let mut simulator = Simulator::new();
    for name in ["a", "m", "z"] {
        simulator.delegate("targets", name, |role| role.paths = Some(vec![format!("{name}/*")]));
        simulator.add_target(name, &format!("{name}/x"), name.as_bytes());
    }
    simulator.add_target("targets", "top", b"top");
    change(&mut simulator);
    simulator.publish_all();
    let client = Client::new(&simulator);
    (simulator, client)
}

#[test]
fn a_role_that_has_expired_is_missing_or_is_not_signed_keeps_no_other_back() {
    type Change = fn(&mut Simulator);
    let changes: [(Change, Code); 3] = [
        (|simulator| simulator.targets.get_mut("m").unwrap().expires = earlier(), Code::ExpiredMetadata),
        (|simulator| simulator.statuses.extend([("/metadata/1.m.json".to_owned(), 404)]), Code::Download),
        (|simulator| drop(simulator.keys.insert("m".to_owned(), vec![key()])), Code::BadSignature),
    ];
    for (change, code) in changes {
        let (simulator, client) = three(change);
        let (paths, faults) = listed(&simulator, &client);
        assert_eq!(paths, ["top", "a/x", "z/x"]);
        assert_eq!(faults, [("m".to_owned(), code)]);
        let (downloaded, faults) = client.download_all(&simulator);
        assert_eq!((downloaded, faults.len()), (paths, 1));
    }
}

#[test]
fn a_role_that_the_snapshot_does_not_list_keeps_no_other_back() {
    let (mut simulator, client) = three(|_| ());
    simulator.snapshot.meta = simulator
        .snapshot
        .meta
        .keys()
        .filter(|path| path != "m.json")
        .map(|path| (path.into_owned(), tuf::metadata::MetaFile::new(1)))
        .fold(tuf::metadata::MetaMap::new(), |mut map, (path, file)| {
            map.insert(path, file).unwrap();
            map
        });
    simulator.publish_snapshot();
    simulator.publish_timestamp();
    let (paths, faults) = listed(&simulator, &client);
    assert_eq!(paths, ["top", "a/x", "z/x"]);
    assert_eq!(faults, [("m".to_owned(), Code::InvalidMetadata)]);
}

#[test]
fn a_path_that_cannot_be_stored_keeps_no_other_back() {
    let unsafe_paths = ["../evil", "a//b", "/abs", "x/../y", "with\nline"];
    let (simulator, client) = three(|simulator| {
        for path in unsafe_paths {
            simulator.add_target("targets", path, b"evil");
        }
    });
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!(downloaded, ["top", "a/x", "m/x", "z/x"]);
    let unsafe_faults = faults.iter().filter(|fault| matches!(fault, ClientError::UnsafePath { .. }));
    assert_eq!(unsafe_faults.count(), unsafe_paths.len());
    assert_eq!(std::fs::read_dir(client.path()).unwrap().count(), 2);
}

#[test]
fn what_a_role_that_failed_might_have_listed_is_taken_from_no_later_one() {
    for terminating in [false, true] {
        let mut simulator = Simulator::new();
        let anything = || Some(vec!["*".to_owned(), "*/*".to_owned()]);
        simulator.delegate("targets", "first", |role| {
            role.paths = Some(vec!["shared/*".to_owned()]);
            role.terminating = terminating;
        });
        simulator.delegate("targets", "later", |role| role.paths = anything());
        simulator.add_target("later", "shared/x", b"later");
        simulator.add_target("later", "own", b"own");
        simulator.targets.get_mut("first").unwrap().expires = earlier();
        simulator.publish_all();
        let client = Client::new(&simulator);
        let (paths, faults) = listed(&simulator, &client);
        assert_eq!(paths, ["own"], "terminating: {terminating}");
        assert_eq!(faults, [("first".to_owned(), Code::ExpiredMetadata)]);
        let error = client.find(&simulator, "shared/x").unwrap_err();
        assert_eq!((error.subject().as_str(), error.code()), ("first", Code::ExpiredMetadata));
        assert_eq!(client.download_all(&simulator).0, ["own"]);
    }
}

#[test]
fn a_delegation_with_a_wrong_key_does_not_spoil_a_role_that_another_delegates_to_well() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "alice", |role| role.paths = Some(vec!["alice/*".into()]));
    simulator.delegate("targets", "bob", |role| role.paths = Some(vec!["bob/*".into()]));
    let (honest, wrong) = (simulator.keys["bob"].clone(), key());
    simulator.keys.insert("bob".to_owned(), vec![wrong]);
    simulator.delegate("alice", "bob", |role| role.paths = Some(vec!["bob/*".into(), "alice/*".into()]));
    simulator.keys.insert("bob".to_owned(), honest);
    simulator.add_target("alice", "alice/x", b"alice");
    simulator.add_target("bob", "bob/x", b"bob");
    simulator.add_target("bob", "alice/y", b"bob for alice");
    simulator.publish_all();
    let client = Client::new(&simulator);
    let (paths, faults) = listed(&simulator, &client);
    assert_eq!(paths, ["alice/x", "bob/x"]);
    assert_eq!(faults, [("bob".to_owned(), Code::BadSignature)]);
}

#[test]
fn a_target_that_cannot_be_had_keeps_no_other_back() {
    let (mut simulator, client) = three(|_| ());
    let file = |simulator: &Simulator, from: &str, end: &str| {
        simulator.files.keys().find(|path| path.contains(from) && path.ends_with(end)).unwrap().clone()
    };
    let (a, m) = (file(&simulator, "/a/", ".x"), file(&simulator, "/m/", ".x"));
    simulator.files.remove(&a);
    simulator.files.insert(m, b"other bytes".to_vec());
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!(downloaded, ["top", "z/x"]);
    let codes: Vec<Code> = faults.iter().map(ClientError::code).collect();
    assert_eq!(codes, [Code::Download, Code::BadHash]);
}

#[test]
fn a_role_whose_targets_break_the_connection_does_not_hold_up_the_others() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "a", |role| role.paths = Some(vec!["a/*".into()]));
    for index in 0..50 {
        simulator.add_target("a", &format!("a/{index}"), format!("{index}").as_bytes());
    }
    simulator.delegate("targets", "z", |role| role.paths = Some(vec!["z/*".into()]));
    simulator.add_target("z", "z/x", b"z");
    simulator.publish_all();
    let broken = simulator.files.keys().filter(|path| path.starts_with("/targets/a/"));
    simulator.statuses.extend(broken.map(|path| (path.clone(), 503)));
    let client = Client::new(&simulator);
    let (downloaded, faults) = client.download_all(&simulator);
    assert_eq!(downloaded, ["z/x"]);
    assert_eq!(faults.len(), 4);
    assert!(matches!(&faults[3], ClientError::GivenUp { left: 47, .. }), "{}", faults[3]);
    let asked = simulator.requests().into_iter().filter(|path| path.starts_with("/targets/")).count();
    assert_eq!(asked, 4);
}

#[test]
fn a_chain_of_roles_is_followed_no_further_than_a_search_goes() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "role0", |_| ());
    for number in 0..60 {
        simulator.delegate(&format!("role{number}"), &format!("role{}", number + 1), |_| ());
    }
    simulator.delegate("targets", "z", |_| ());
    simulator.add_target("z", "zz", b"z");
    simulator.publish_all();
    let client = Client::new(&simulator);
    let mut updater = client.updater(&simulator).unwrap();
    simulator.requests();
    let listing = updater.list().unwrap();
    assert_eq!(listing.faults.len(), 0);
    // the search for zz ends before it comes to z, by name as well
    assert_eq!(listing.targets.len(), 0);
    assert!(simulator.requests().len() <= 34);
}

#[test]
fn a_role_with_countless_delegations_does_not_keep_the_nearer_ones_from_being_asked() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "crowd", |role| role.paths = Some(vec!["crowd/*".into()]));
    for number in 0..40 {
        simulator.delegate("crowd", &format!("c{number}"), |role| role.paths = Some(vec!["crowd/*".into()]));
    }
    simulator.delegate("targets", "z", |role| role.paths = Some(vec!["z/*".into()]));
    simulator.add_target("z", "z/x", b"z");
    simulator.publish_all();
    let mut client = Client::new(&simulator);
    client.limits = Limits { listed_roles: 20, ..Limits::default() };
    let mut updater = client.updater(&simulator).unwrap();
    simulator.requests();
    let listing = updater.list().unwrap();
    assert_eq!(simulator.requests().len(), 19);
    assert_eq!(listing.targets.len(), 1);
    assert!(matches!(&listing.faults[..], [ClientError::TooManyRoles { limit: 20, .. }]));
}

#[test]
fn a_note_that_cannot_be_written_stops_nobody() {
    let simulator = Simulator::new();
    let client = Client::new(&simulator);
    std::fs::create_dir(client.file(".verified")).unwrap();
    client.refresh(&simulator).unwrap();
    client.refresh(&simulator).unwrap();
}

#[test]
fn a_delegated_role_cannot_make_the_clients_folder_look_like_a_repositorys() {
    let mut simulator = Simulator::new();
    for name in ["1.root", "Root", "TIMESTAMP"] {
        simulator.delegate("targets", name, |_| ());
    }
    simulator.add_target("TIMESTAMP", "x", b"x");
    simulator.publish_all();
    // in the plain layout the first of them has the file of a root
    simulator.publish_root();
    let client = Client::new(&simulator);
    for _ in 0..2 {
        client.download(&simulator, "x").unwrap();
        tuf::client::check_folders(&client.path().join("metadata"), &client.targets()).unwrap();
    }
    let roles = tuf::client::status(&client.local(), now()).unwrap();
    assert!(roles.iter().any(|known| known.role == role("1.root")));
}

/// A fetcher with a defect.
struct Defective<'a>(&'a Simulator);

impl tuf::client::Fetcher for Defective<'_> {
    fn fetch(
        &self,
        url: &url::Url,
        max_length: u64,
        sink: &mut dyn tuf::client::Sink,
    ) -> Result<tuf::client::Fetched, tuf::client::FetchError> {
        assert!(!url.path().ends_with(".bad"), "a defect");
        self.0.fetch(url, max_length, sink)
    }
}

/// The targets of a thread that panicked once counted as not wanted.
#[test]
fn a_target_whose_download_panics_is_named_and_keeps_no_other_back() {
    let mut simulator = Simulator::new();
    for index in 0..12 {
        let end = if index % 4 == 1 { "bad" } else { "good" };
        simulator.add_target("targets", &format!("{index}.{end}"), format!("{index}").as_bytes());
    }
    simulator.publish_all();
    for jobs in [1, 3] {
        let client = Client::new(&simulator);
        let fetcher = Defective(&simulator);
        let repository = tuf::client::Repository::at(&url::Url::parse(crate::simulator::BASE).unwrap());
        let mut updater = tuf::client::Updater::refreshed(
            &fetcher,
            client.local(),
            repository,
            client.limits.clone(),
            client.now,
        )
        .unwrap();
        let targets = updater.list().unwrap().targets;
        let dir = tuf::client::TargetDir::create(&client.targets()).unwrap();
        let jobs = jobs.try_into().unwrap();
        let downloads = updater.download_targets(&targets, &dir, jobs, &|_| ()).unwrap();
        assert_eq!((downloads.downloaded.len(), downloads.faults.len()), (9, 3));
        for fault in downloads.faults {
            assert!(fault.subject().ends_with(".bad") && fault.to_string().contains("defect"), "{fault}");
        }
    }
}
