//! What `tuf-repo` makes, read by a client that others wrote: the `tough` crate, over its file transport.
//!
//! What tough does otherwise, and so cannot be shown here:
//! - It asks for a target in a folder as `HASH.dir/name`, where the specification (6.2.1), python-tuf and this project have
//!   `dir/HASH.name`. Its listing of such targets is compared; their bytes are not fetched by it.
//! - Its file transport looks for the percent-encoded name on disk: only names that need no encoding are fetched.
//! - It knows ed25519, RSA with PSS and ECDSA over P-256, and takes key ids for sums over the key. Other schemes and foreign
//!   key ids are left to the python-tuf part of the interoperability stage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::Folder;
use tough::{FilesystemTransport, IntoVec, Repository, RepositoryLoader, TargetName};
use url::Url;

const TYPES: [&str; 3] = ["ed25519", "rsa", "ecdsa"];

/// Makes a key of each type for a role.
fn make_keys(folder: &Folder, role: &str) {
    for kind in TYPES {
        let mut args = vec!["keygen".to_owned(), key(role, kind), "--type".into(), kind.into()];
        args.push("--no-password".into());
        if kind == "rsa" {
            args.extend(["--bits".into(), "2048".into()]);
        }
        folder.run(&args).exits(0);
    }
}

fn key(role: &str, kind: &str) -> String {
    format!("keys/{role}-{kind}")
}

fn run(folder: &Folder, args: &[&str]) {
    let mut all = vec!["-r", "repository"];
    all.extend(args);
    folder.run(&all).exits(0);
}

/// Makes and publishes a repository: three key types and a threshold of three for every role, a delegation and one inside.
fn publish(folder: &Folder, layout: &[&str]) {
    folder.run(&[&["init", "repository"], layout].concat()).exits(0);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        make_keys(folder, role);
        let publics = TYPES.map(|kind| key(role, kind) + ".pub");
        run(folder, &["add-key", role, &publics[0], &publics[1], &publics[2]]);
        run(folder, &["threshold", role, "3"]);
    }
    for (role, delegator, pattern) in
        [("letters", "targets", "letter-*"), ("greek", "letters", "letter-greek*")]
    {
        make_keys(folder, role);
        let publics = TYPES.map(|kind| key(role, kind) + ".pub");
        let mut args = vec!["delegate", role, "--from", delegator, "--threshold", "3", "--paths", pattern];
        publics.iter().for_each(|public| args.extend(["--key", public]));
        run(folder, &args);
    }
    for (name, role) in
        [("readme.txt", "targets"), ("letter-a.txt", "letters"), ("letter-greek-alpha+1.txt", "greek")]
    {
        let path = format!("repository/targets/{name}");
        folder.write(&path, &format!("what is in {name}\n"));
        run(folder, &["add-targets", &path, "--role", role]);
    }
    fs::create_dir(folder.path("repository/targets/below")).unwrap();
    folder.write("repository/targets/below/deep.txt", "deep\n");
    let custom = r#"{"note":"caf\u00e9 \"quoted\" \\ \u0001","size":9007199254740993}"#;
    run(folder, &["add-targets", "repository/targets/below/deep.txt", "--custom", custom]);
    write(folder, &[]);
}

/// Writes with all keys there are, and publishes.
fn write(folder: &Folder, more: &[&str]) {
    let mut args = vec!["write".to_owned()];
    for role in ["root", "targets", "snapshot", "timestamp", "letters", "greek"] {
        TYPES.iter().for_each(|kind| args.extend(["--key".to_owned(), key(role, kind)]));
    }
    args.extend(more.iter().map(|word| (*word).to_owned()));
    run(folder, &args.iter().map(String::as_str).collect::<Vec<_>>());
    run(folder, &["publish"]);
}

async fn load(folder: &Folder, datastore: &Path) -> Repository {
    let repository = folder.path("repository").canonicalize().unwrap();
    let root = fs::read(repository.join("metadata/1.root.json")).unwrap();
    let url = |name: &str| Url::from_directory_path(repository.join(name)).unwrap();
    RepositoryLoader::new(&root, url("metadata"), url("targets"))
        .transport(FilesystemTransport)
        .datastore(datastore)
        .load()
        .await
        .unwrap_or_else(|error| panic!("tough does not load it: {error}"))
}

async fn bytes(repository: &Repository, name: &str) -> Vec<u8> {
    let name = TargetName::new(name).unwrap();
    repository.read_target(&name).await.unwrap().expect("it is listed").into_vec().await.unwrap()
}

async fn tough_reads(layout: &[&str]) {
    let folder = Folder::new();
    let datastore = tempfile::tempdir().unwrap();
    publish(&folder, layout);
    let repository = load(&folder, datastore.path()).await;
    let listed: BTreeSet<&str> = repository.all_targets().map(|(name, _)| name.raw()).collect();
    let expected =
        ["readme.txt", "letter-a.txt", "letter-greek-alpha+1.txt", "below/deep.txt"].into_iter().collect();
    assert_eq!(listed, expected);
    for name in ["readme.txt", "letter-a.txt", "letter-greek-alpha+1.txt"] {
        assert_eq!(
            bytes(&repository, name).await,
            fs::read(folder.path("repository/targets").join(name)).unwrap()
        );
    }
    let deep = repository.all_targets().find(|(name, _)| name.raw() == "below/deep.txt").unwrap().1;
    assert_eq!(deep.length, 5);
    assert_eq!(deep.custom["size"], serde_json::json!(9_007_199_254_740_993_u64));
    assert_eq!(deep.custom["note"], "caf\u{e9} \"quoted\" \\ \u{1}");
    for name in ["letters", "greek"] {
        assert!(repository.delegated_role(name).is_some(), "{name}");
    }

    // an update: another key for root, another target, read by the client that has the old state
    folder.run(&["keygen", "keys/new", "--no-password"]).exits(0);
    run(&folder, &["add-key", "root", "keys/new.pub"]);
    run(&folder, &["remove-key", "root", &(key("root", "ed25519") + ".pub")]);
    folder.write("repository/targets/second.txt", "second\n");
    run(&folder, &["add-targets", "repository/targets/second.txt"]);
    write(&folder, &["--key", "keys/new"]);
    let repository = load(&folder, datastore.path()).await;
    assert_eq!(repository.root().signed.version.get(), 2);
    assert_eq!(repository.targets().signed.version.get(), 2);
    assert_eq!(bytes(&repository, "second.txt").await, b"second\n");
}

/// Makes a key of one type for each name.
fn make_plain_keys(folder: &Folder, names: &[&str]) {
    for name in names {
        folder.run(&["keygen", &format!("keys/{name}"), "--no-password"]).exits(0);
    }
}

/// Makes a repository with one key a role, and a delegation by digests of paths as the arguments say it.
fn delegate_by_digests(folder: &Folder, delegation: &[&str]) {
    let top = ["root", "targets", "snapshot", "timestamp"];
    make_plain_keys(folder, &[&top[..], &["bin"]].concat());
    folder.run(&["init", "repository"]).exits(0);
    for role in top {
        run(folder, &["add-key", role, &format!("keys/{role}.pub")]);
    }
    run(folder, &[&["delegate", "bin", "--key", "keys/bin.pub"], delegation].concat());
}

/// Writes with the keys of the folder `keys`, publishes, and has tough fetch every target by its name.
async fn tough_finds(folder: &Folder, datastore: &Path, names: &[String]) {
    run(folder, &["write", "--key-dir", "keys"]);
    run(folder, &["publish"]);
    let repository = load(folder, datastore).await;
    let listed: BTreeSet<&str> = repository.all_targets().map(|(name, _)| name.raw()).collect();
    assert_eq!(listed, names.iter().map(String::as_str).collect());
    for name in names {
        assert_eq!(
            bytes(&repository, name).await,
            fs::read(folder.path("repository/targets").join(name)).unwrap(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn tough_finds_targets_through_classic_hash_bins() {
    for number in [16, 1024] {
        let folder = Folder::new();
        let datastore = tempfile::tempdir().unwrap();
        delegate_by_digests(&folder, &["--bins", &number.to_string(), "--classic"]);
        let mut names: Vec<String> = (0..40).map(|number| format!("release-{number}.txt")).collect();
        for name in &names {
            folder.write(&format!("repository/targets/{name}"), &format!("what is in {name}\n"));
        }
        run(&folder, &["add-targets", "repository/targets", "--role", "bin"]);
        tough_finds(&folder, datastore.path(), &names).await;

        folder.write("repository/targets/later.txt", "added later\n");
        run(&folder, &["add-targets", "repository/targets/later.txt", "--role", "bin"]);
        names.push("later.txt".to_owned());
        tough_finds(&folder, datastore.path(), &names).await;
    }
}

#[tokio::test]
async fn tough_finds_a_target_through_a_prefix_of_its_digest_given_by_hand() {
    let folder = Folder::new();
    let datastore = tempfile::tempdir().unwrap();
    // sha256sum says 2f0baa14… for inside.txt
    delegate_by_digests(&folder, &["--path-hash-prefixes", "0", "2f0"]);
    folder.write("repository/targets/inside.txt", "inside\n");
    run(&folder, &["add-targets", "repository/targets/inside.txt", "--role", "bin"]);
    tough_finds(&folder, datastore.path(), &["inside.txt".to_owned()]).await;
}

#[tokio::test]
async fn tough_reads_consistent_snapshots_signed_by_all_key_types() {
    tough_reads(&[]).await;
}

#[tokio::test]
async fn tough_reads_the_plain_layout() {
    tough_reads(&["--no-consistent-snapshot"]).await;
}
