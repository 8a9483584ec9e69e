//! The search for a target through delegations: its order, its bounds, and who is believed.

use tuf::client::{Code, Limits};
use tuf::metadata::path_hash;

use crate::simulator::{Client, Listing, Simulator, key};

/// Builds delegations given as `from-to`, `!` for a terminating one, and returns the delegated roles that a search for
/// a missing path asks for.
fn asked_for(edges: &[&str]) -> Vec<String> {
    let mut simulator = Simulator::new();
    for edge in edges {
        let (from, to) = edge.trim_end_matches('!').split_once('-').unwrap();
        simulator.delegate(from, to, |role| role.terminating = edge.ends_with('!'));
    }
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.find(&simulator, "missing").unwrap(), None);
    simulator.requests().split_off(4)
}

#[test]
fn delegated_roles_are_asked_for_in_pre_order() {
    let edges = ["targets-A", "targets-B", "A-C", "A-D", "C-E"];
    assert_eq!(asked_for(&edges), ["1.A.json", "1.C.json", "1.E.json", "1.D.json", "1.B.json"]);
}

#[test]
fn a_terminating_delegation_ends_the_search_below_it() {
    let edges = ["targets-A", "targets-B", "A-C!", "A-D", "C-E"];
    assert_eq!(asked_for(&edges), ["1.A.json", "1.C.json", "1.E.json"]);
}

#[test]
fn cycles_end() {
    let edges = ["targets-A", "A-B", "B-C", "C-A", "C-B"];
    assert_eq!(asked_for(&edges), ["1.A.json", "1.B.json", "1.C.json"]);
}

#[test]
fn a_role_that_two_delegate_to_is_visited_once() {
    assert_eq!(asked_for(&["targets-A", "targets-B", "A-C", "B-C"]), ["1.A.json", "1.C.json", "1.B.json"]);
}

#[test]
fn refresh_alone_loads_no_delegated_role() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |_| ());
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.refresh(&simulator).unwrap();
    assert_eq!(simulator.requests().len(), 4);
}

#[test]
fn the_first_role_that_lists_a_path_answers() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |_| ());
    simulator.delegate("targets", "B", |_| ());
    simulator.add_target("A", "both", b"a");
    simulator.add_target("B", "both", b"b");
    simulator.add_target("B", "one", b"b");
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.find(&simulator, "both").unwrap().as_deref(), Some("A"));
    assert_eq!(simulator.requests().split_off(4), ["1.A.json"]);
    assert_eq!(client.find(&simulator, "one").unwrap().as_deref(), Some("B"));
}

#[test]
fn a_role_is_not_believed_beyond_its_paths() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |role| role.paths = Some(vec!["a/*".into(), "foo-?.tgz".into()]));
    for path in ["a/x", "a/b/x", "x", "foo-1.tgz", "foo-12.tgz", "A/x"] {
        simulator.add_target("A", path, b"a");
    }
    simulator.publish_all();
    let client = Client::new(&simulator);
    for (path, found) in [
        ("a/x", true),
        ("a/b/x", false),
        ("x", false),
        ("foo-1.tgz", true),
        ("foo-12.tgz", false),
        ("A/x", false),
    ] {
        assert_eq!(client.find(&simulator, path).unwrap().is_some(), found, "{path}");
    }
}

#[test]
fn the_number_of_roles_visited_is_bounded() {
    let mut simulator = Simulator::new();
    for number in 0..5 {
        simulator.delegate("targets", &format!("role{number}"), |_| ());
    }
    simulator.add_target("role4", "last", b"x");
    simulator.publish_all();
    let mut client = Client::new(&simulator);
    client.limits = Limits { delegations: 4, ..Limits::default() };
    assert_eq!(client.find(&simulator, "last").unwrap(), None);
    assert_eq!(simulator.requests().split_off(4).len(), 4);
    client.limits.delegations = 5;
    assert_eq!(client.find(&simulator, "last").unwrap().as_deref(), Some("role4"));
}

#[test]
fn hash_prefixes_choose_the_role() {
    let mut simulator = Simulator::new();
    let hash = path_hash("file");
    let other = if hash.starts_with('0') { "1" } else { "0" };
    simulator.delegate("targets", "other", |role| {
        (role.paths, role.path_hash_prefixes) = (None, Some(vec![other.into()]));
    });
    simulator.delegate("targets", "ours", |role| {
        (role.paths, role.path_hash_prefixes) = (None, Some(vec![hash[..3].into()]));
    });
    simulator.add_target("other", "file", b"x");
    simulator.add_target("ours", "file", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.find(&simulator, "file").unwrap().as_deref(), Some("ours"));
    assert_eq!(simulator.requests().split_off(4), ["1.ours.json"]);
}

#[test]
fn succinct_bins_cost_one_request() {
    let mut simulator = Simulator::new();
    simulator.delegate_bins("targets", "bin", 5);
    let delegations = simulator.targets["targets"].delegations.clone().unwrap();
    let bin = delegations.succinct_roles.unwrap().bin_for("dir/file");
    simulator.add_target(&bin, "dir/file", b"x");
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.find(&simulator, "dir/file").unwrap(), Some(bin.clone()));
    assert_eq!(simulator.requests().split_off(4), [format!("1.{bin}.json")]);
}

#[test]
fn unusual_role_names_are_safe_in_urls_and_folders() {
    for (name, encoded) in [
        ("?", "%3F"),
        ("#", "%23"),
        ("/x", "%2Fx"),
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("%2F", "%252F"),
        ("naïve", "na%C3%AFve"),
    ] {
        let mut simulator = Simulator::new();
        simulator.delegate("targets", name, |_| ());
        simulator.add_target(name, "file", b"x");
        simulator.publish_all();
        let client = Client::new(&simulator);
        assert_eq!(client.find(&simulator, "file").unwrap().as_deref(), Some(name));
        assert_eq!(simulator.requests().split_off(4), [format!("1.{encoded}.json")]);
        assert!(client.file(&format!("{encoded}.json")).is_file());
        assert_eq!(client.find(&simulator, "file").unwrap().as_deref(), Some(name));
        assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json"]);
    }
}

#[test]
fn a_role_that_the_snapshot_does_not_list_is_not_asked_for() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |_| ());
    simulator.publish_targets("targets");
    simulator.publish_snapshot();
    simulator.publish_timestamp();
    let client = Client::new(&simulator);
    let error = client.find(&simulator, "file").unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::InvalidMetadata, "A"));
    assert_eq!(simulator.requests().len(), 4);
}

#[test]
fn a_role_known_through_one_delegator_is_verified_again_for_another() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |role| role.paths = Some(vec!["a/*".into()]));
    simulator.delegate("targets", "B", |role| role.paths = Some(vec!["b/*".into()]));
    simulator.delegate("A", "joint", |role| role.paths = Some(vec!["a/*".into()]));
    let honest = simulator.keys["joint"].clone();
    simulator.keys.insert("joint".to_owned(), vec![key()]);
    simulator.delegate("B", "joint", |role| role.paths = Some(vec!["b/*".into()]));
    simulator.keys.insert("joint".to_owned(), honest);
    simulator.add_target("joint", "a/file", b"a");
    simulator.add_target("joint", "b/file", b"b");
    simulator.publish_all();
    let client = Client::new(&simulator);
    let mut updater = client.updater(&simulator).unwrap();
    assert!(updater.target_info("a/file").unwrap().is_some());
    assert_eq!(updater.target_info("b/file").unwrap_err().code(), Code::BadSignature);
    assert!(updater.target_info("a/file").unwrap().is_some());
}

#[test]
fn a_delegated_role_of_digests_is_checked_by_them() {
    let mut simulator = Simulator::new();
    simulator.listing = Listing::Digests;
    simulator.delegate("targets", "A", |_| ());
    simulator.publish_all();
    let client = Client::new(&simulator);
    let file = simulator.files.get_mut("/metadata/1.A.json").unwrap();
    let last = file.len() - 1;
    file[last] = b' ';
    assert_eq!(client.find(&simulator, "x").unwrap_err().code(), Code::BadHash);
}
