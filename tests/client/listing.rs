//! What `list` shows: for each path the answer that a search gives.

use crate::simulator::{Client, Simulator};

fn listed(simulator: &Simulator) -> Vec<String> {
    let client = Client::new(simulator);
    let mut updater = client.updater(simulator).unwrap();
    let listed = updater.list().unwrap().targets;
    for target in &listed {
        let (role, info) = updater.target_info(target.path.as_str()).unwrap().unwrap();
        assert_eq!((&role, &info), (&target.role, &target.info));
    }
    listed.iter().map(|target| format!("{} {}", target.role, target.path)).collect()
}

#[test]
fn lists_in_pre_order_and_the_first_role_wins() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "B", |_| ());
    simulator.delegate("targets", "A", |_| ());
    simulator.delegate("B", "C", |_| ());
    for (name, path) in [
        ("targets", "top"),
        ("A", "in-a"),
        ("A", "both"),
        ("B", "both"),
        ("B", "top"),
        ("C", "in-c"),
        ("C", "both"),
    ] {
        simulator.add_target(name, path, name.as_bytes());
    }
    simulator.publish_all();
    assert_eq!(listed(&simulator), ["targets top", "B both", "C in-c", "A in-a"]);
}

#[test]
fn does_not_list_what_the_way_to_it_does_not_trust() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |role| role.paths = Some(vec!["a/*".into()]));
    simulator.delegate("A", "B", |role| role.paths = Some(vec!["*".into(), "a/*".into()]));
    simulator.add_target("A", "x", b"x");
    simulator.add_target("B", "y", b"y");
    simulator.add_target("B", "a/z", b"z");
    simulator.publish_all();
    assert_eq!(listed(&simulator), ["B a/z"]);
}

#[test]
fn does_not_list_what_a_terminating_delegation_hides() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |role| role.terminating = true);
    simulator.delegate("targets", "B", |_| ());
    simulator.add_target("B", "hidden", b"x");
    simulator.add_target("A", "seen", b"x");
    simulator.publish_all();
    assert_eq!(listed(&simulator), ["A seen"]);
}

#[test]
fn lists_the_bins_that_the_snapshot_knows() {
    let mut simulator = Simulator::new();
    simulator.delegate_bins("targets", "bin", 2);
    let bins = simulator.targets["targets"].delegations.clone().unwrap().succinct_roles.unwrap();
    let paths = ["a", "b", "c", "d", "e"];
    for path in paths {
        simulator.add_target(&bins.bin_for(path), path, path.as_bytes());
    }
    simulator.publish_all();
    let mut listed = listed(&simulator);
    listed.sort_by_key(|line| line.split(' ').nth(1).unwrap().to_owned());
    let expected: Vec<String> = paths.iter().map(|path| format!("{} {path}", bins.bin_for(path))).collect();
    assert_eq!(listed, expected);
}

#[test]
fn a_cycle_is_listed_once() {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "A", |_| ());
    simulator.delegate("A", "B", |_| ());
    simulator.delegate("B", "A", |_| ());
    simulator.add_target("B", "file", b"x");
    simulator.publish_all();
    assert_eq!(listed(&simulator), ["B file"]);
}
