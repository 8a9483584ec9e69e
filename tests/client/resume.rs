//! Targets that were interrupted: what is there is taken up, and believed no more than anything else.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tuf::client::Code;

use crate::simulator::{Client, Simulator};

const LENGTH: usize = 2 << 20;

fn body() -> Vec<u8> {
    (0..LENGTH).map(|index| (index % 253) as u8).collect()
}

fn url(simulator: &Simulator) -> String {
    simulator.files.keys().find(|path| path.ends_with(".large")).unwrap().clone()
}

/// A client whose download broke after one MiB.
fn interrupted() -> (Simulator, Client) {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "large", &body());
    simulator.publish_all();
    let client = Client::new(&simulator);
    let url = url(&simulator);
    simulator.breaks.insert(url, 1 << 20);
    assert_eq!(client.download(&simulator, "large").unwrap_err().code(), Code::Download);
    simulator.breaks.clear();
    simulator.requests();
    (simulator, client)
}

/// The only file in a folder.
fn only(folder: PathBuf) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    path
}

/// The beginning of the target that was interrupted.
fn kept(client: &Client) -> PathBuf {
    only(client.targets().join(".tuf-fetch"))
}

fn arrives(simulator: &Simulator, client: &Client) -> Vec<String> {
    client.download(simulator, "large").unwrap();
    assert_eq!(std::fs::read(client.targets().join("large")).unwrap(), body());
    assert_eq!(only(client.targets()), client.targets().join("large"));
    simulator.requests().into_iter().filter(|request| request.contains(".large")).collect()
}

#[test]
fn an_interrupted_target_is_taken_up() {
    let (simulator, client) = interrupted();
    assert!(kept(&client).to_str().unwrap().ends_with(".rest"));
    assert_eq!(arrives(&simulator, &client), [format!("{} from 1048576", url(&simulator))]);
}

#[test]
fn a_beginning_that_was_altered_is_downloaded_anew() {
    for bytes in [vec![0; 1 << 20], vec![0; LENGTH]] {
        let (simulator, client) = interrupted();
        std::fs::write(kept(&client), bytes).unwrap();
        assert_eq!(arrives(&simulator, &client).last(), Some(&url(&simulator)));
    }
}

#[test]
fn a_beginning_that_is_too_long_or_whole_costs_what_it_must() {
    let (simulator, client) = interrupted();
    std::fs::write(kept(&client), vec![0; LENGTH + 1]).unwrap();
    assert_eq!(arrives(&simulator, &client), [url(&simulator)]);
    let (simulator, client) = interrupted();
    std::fs::write(kept(&client), body()).unwrap();
    assert_eq!(arrives(&simulator, &client), [""; 0]);
}

#[test]
fn bytes_that_were_refused_are_not_kept() {
    let (mut simulator, client) = interrupted();
    let url = url(&simulator);
    simulator.files.insert(url, vec![0; LENGTH]);
    assert_eq!(client.download(&simulator, "large").unwrap_err().code(), Code::BadHash);
    assert_eq!(std::fs::read_dir(client.targets()).unwrap().count(), 0);
}

#[test]
fn a_link_planted_for_the_beginning_leads_nowhere() {
    let (simulator, client) = interrupted();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, b"untouched").unwrap();
    let kept = kept(&client);
    std::fs::remove_file(&kept).unwrap();
    symlink(&victim, &kept).unwrap();
    client.download(&simulator, "large").unwrap();
    assert_eq!(std::fs::read(victim).unwrap(), b"untouched");
    assert_eq!(std::fs::read(client.targets().join("large")).unwrap(), body());
}

#[test]
fn a_beginning_that_another_client_is_at_work_on_is_left_to_it() {
    let (simulator, client) = interrupted();
    let kept = kept(&client);
    let other = std::fs::File::open(&kept).unwrap();
    other.lock().unwrap();
    client.download(&simulator, "large").unwrap();
    assert_eq!(simulator.requests().last(), Some(&url(&simulator)));
    assert!(kept.exists());
    assert_eq!(std::fs::read(client.targets().join("large")).unwrap(), body());
}

#[test]
fn a_small_target_is_not_kept() {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", "small", b"content");
    simulator.publish_all();
    let client = Client::new(&simulator);
    let url = simulator.files.keys().find(|path| path.ends_with(".small")).unwrap().clone();
    simulator.breaks.insert(url, 3);
    assert_eq!(client.download(&simulator, "small").unwrap_err().code(), Code::Download);
    assert_eq!(std::fs::read_dir(client.targets()).unwrap().count(), 0);
}
