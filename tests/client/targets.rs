//! Targets: fetched, verified, kept, and never outside their folder.

use std::os::unix::fs::symlink;

use tuf::client::{ClientError, Code, Obstacle};
use tuf::metadata::{Algorithm, Extra, Hashes, TargetFile};

use crate::simulator::{Client, Simulator, target_file};

fn with_target(path: &str, bytes: &[u8]) -> (Simulator, Client) {
    let mut simulator = Simulator::new();
    simulator.add_target("targets", path, bytes);
    simulator.publish_all();
    let client = Client::new(&simulator);
    (simulator, client)
}

fn sha256(bytes: &[u8]) -> String {
    target_file(bytes, &[Algorithm::Sha256]).hashes.of(Algorithm::Sha256).unwrap().to_owned()
}

/// Lists everything below the target folder.
fn visible(client: &Client) -> Vec<String> {
    fn walk(folder: &std::path::Path, below: &str, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => walk(&entry.path(), &format!("{name}/"), names),
                false => names.push(name),
            }
        }
    }
    let mut names = Vec::new();
    walk(&client.targets(), "", &mut names);
    names.sort();
    names
}

#[test]
fn a_target_lands_under_its_path() {
    let (simulator, client) = with_target("dir/sub/file.txt", b"content");
    assert!(!client.download(&simulator, "dir/sub/file.txt").unwrap());
    let requested = simulator.requests().split_off(4);
    assert_eq!(requested, [format!("/targets/dir/sub/{}.file.txt", sha256(b"content"))]);
    assert_eq!(std::fs::read(client.targets().join("dir/sub/file.txt")).unwrap(), b"content");
    assert_eq!(visible(&client), ["dir/sub/file.txt"]);
}

#[test]
fn the_plain_layout_has_no_hash_in_the_name() {
    let mut simulator = Simulator::plain();
    simulator.add_target("targets", "dir/file", b"content");
    simulator.publish_all();
    let client = Client::new(&simulator);
    client.download(&simulator, "dir/file").unwrap();
    assert_eq!(simulator.requests().split_off(4), ["/targets/dir/file"]);
}

#[test]
fn an_empty_target_is_a_target() {
    let (simulator, client) = with_target("empty", b"");
    client.download(&simulator, "empty").unwrap();
    assert_eq!(std::fs::read(client.targets().join("empty")).unwrap(), b"");
}

#[test]
fn a_target_in_place_is_not_downloaded_again() {
    let (simulator, client) = with_target("file", b"content");
    client.download(&simulator, "file").unwrap();
    simulator.requests();
    assert!(client.download(&simulator, "file").unwrap());
    assert_eq!(simulator.requests(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn a_damaged_target_in_place_is_downloaded_again() {
    for damage in [&b"CONTENT"[..], b"content and more", b""] {
        let (simulator, client) = with_target("file", b"content");
        client.download(&simulator, "file").unwrap();
        std::fs::write(client.targets().join("file"), damage).unwrap();
        assert!(!client.download(&simulator, "file").unwrap());
        assert_eq!(std::fs::read(client.targets().join("file")).unwrap(), b"content");
    }
}

#[test]
fn any_known_digest_will_do_and_each_listed_one_counts() {
    for algorithms in [&[Algorithm::Sha256][..], &[Algorithm::Sha512], &Algorithm::ALL] {
        let mut simulator = Simulator::new();
        simulator.add_target_file("targets", "file", b"content", target_file(b"content", algorithms));
        simulator.publish_all();
        let client = Client::new(&simulator);
        client.download(&simulator, "file").unwrap();
        assert_eq!(simulator.requests().len(), 5);
    }
    let mut simulator = Simulator::new();
    let mut file = target_file(b"content", &Algorithm::ALL);
    file.hashes.insert("sha512", &"0".repeat(128));
    simulator.add_target_file("targets", "file", b"content", file);
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.download(&simulator, "file").unwrap_err().code(), Code::BadHash);
    assert_eq!(visible(&client), [""; 0]);
}

#[test]
fn a_target_with_unknown_digests_only_is_refused_without_a_request() {
    let mut simulator = Simulator::new();
    let mut hashes = Hashes::default();
    hashes.insert("blake9", "00");
    let file = TargetFile { length: 7, hashes, custom: None, extra: Extra::new() };
    simulator.add_target_file("targets", "file", b"content", file);
    simulator.publish_all();
    let client = Client::new(&simulator);
    assert_eq!(client.download(&simulator, "file").unwrap_err().code(), Code::UnsupportedAlgorithm);
    assert_eq!(simulator.requests().len(), 4);
}

#[test]
fn substituted_bytes_are_refused_and_the_old_ones_stay() {
    let (mut simulator, client) = with_target("file", b"content");
    client.download(&simulator, "file").unwrap();
    simulator.add_target("targets", "file", b"CONTENT");
    simulator.update_all();
    simulator.files.insert(format!("/targets/{}.file", sha256(b"CONTENT")), b"malware".to_vec());
    assert_eq!(client.download(&simulator, "file").unwrap_err().code(), Code::BadHash);
    assert_eq!(std::fs::read(client.targets().join("file")).unwrap(), b"content");
    assert_eq!(visible(&client), ["file"]);
}

#[test]
fn a_shorter_target_is_a_length_mismatch() {
    let (mut simulator, client) = with_target("file", b"content");
    simulator.files.insert(format!("/targets/{}.file", sha256(b"content")), b"cont".to_vec());
    assert_eq!(client.download(&simulator, "file").unwrap_err().code(), Code::LengthMismatch);
    assert_eq!(visible(&client), [""; 0]);
}

#[test]
fn an_endless_target_is_cut_at_its_length_and_judged_by_its_hash() {
    let (mut simulator, client) = with_target("file", b"content");
    let url = format!("/targets/{}.file", sha256(b"content"));
    simulator.files.insert(url.clone(), b"malware and more".to_vec());
    assert_eq!(client.download(&simulator, "file").unwrap_err().code(), Code::BadHash);
    simulator.files.insert(url, b"content and more".to_vec());
    client.download(&simulator, "file").unwrap();
    assert_eq!(std::fs::read(client.targets().join("file")).unwrap(), b"content");
}

#[test]
fn a_missing_target_is_named() {
    let (simulator, client) = with_target("file", b"content");
    let error = client.download(&simulator, "other").unwrap_err();
    assert_eq!((error.code(), error.subject().as_str()), (Code::UnknownTarget, "other"));
}

#[test]
fn a_path_that_is_no_place_in_a_folder_is_refused() {
    for path in ["../x", "/abs", "a//b", "a/../b", ".", "", "a\0b", "dir/", "a\nb"] {
        let (simulator, client) = with_target(path, b"content");
        let error = client.download(&simulator, path).unwrap_err();
        assert!(matches!(error, ClientError::UnsafePath { .. }), "{path:?}: {error}");
        assert_eq!(simulator.requests().len(), 4);
        assert_eq!(std::fs::read_dir(client.path()).unwrap().count(), 1, "{path:?}");
    }
}

#[test]
fn one_base_name_in_two_folders_is_two_targets() {
    let (mut simulator, client) = with_target("a/file", b"one");
    simulator.add_target("targets", "b/file", b"two");
    simulator.update_all();
    client.download(&simulator, "a/file").unwrap();
    client.download(&simulator, "b/file").unwrap();
    assert_eq!(std::fs::read(client.targets().join("a/file")).unwrap(), b"one");
    assert_eq!(std::fs::read(client.targets().join("b/file")).unwrap(), b"two");
}

#[test]
fn a_file_in_the_way_of_a_folder_is_named() {
    let (mut simulator, client) = with_target("dir", b"a file");
    simulator.add_target("targets", "dir/file", b"below it");
    simulator.update_all();
    client.download(&simulator, "dir").unwrap();
    let error = client.download(&simulator, "dir/file").unwrap_err();
    assert_eq!(error.code(), Code::Io);
    assert!(matches!(error, ClientError::InTheWay { obstacle: Obstacle::Listed, .. }), "{error}");
    assert_eq!(visible(&client), ["dir"]);
}

#[test]
fn a_folder_in_the_way_of_a_file_is_named_before_any_request() {
    let (simulator, client) = with_target("dir", b"a file");
    std::fs::create_dir_all(client.targets().join("dir")).unwrap();
    assert_eq!(client.download(&simulator, "dir").unwrap_err().code(), Code::Io);
    assert_eq!(simulator.requests().len(), 4);
}

#[test]
fn a_planted_link_leads_nowhere() {
    let (mut simulator, client) = with_target("dir/file", b"content");
    simulator.add_target("targets", "plain", b"content");
    simulator.update_all();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("plain"), b"untouched").unwrap();
    std::fs::create_dir(client.targets()).unwrap();
    symlink(outside.path(), client.targets().join("dir")).unwrap();
    symlink(outside.path().join("plain"), client.targets().join("plain")).unwrap();
    let error = client.download(&simulator, "dir/file").unwrap_err();
    assert!(error.to_string().ends_with("'dir' is a symbolic link"), "{error}");
    client.download(&simulator, "plain").unwrap();
    assert_eq!(std::fs::read(outside.path().join("plain")).unwrap(), b"untouched");
    assert!(client.targets().join("plain").symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn left_overs_of_a_killed_download_are_swept() {
    let (simulator, client) = with_target("file", b"content");
    let left_over = client.targets().join(".tuf-fetch/1.0.part");
    std::fs::create_dir_all(&left_over).unwrap();
    std::fs::write(left_over.join("0"), b"half").unwrap();
    client.download(&simulator, "file").unwrap();
    assert_eq!(visible(&client), ["file"]);
}
