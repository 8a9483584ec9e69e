//! Repositories that others made, taken over and continued: what the old Python tool wrote (0.12 to 0.20), what the
//! editor of the `tough` crate writes, and what is refused. What python-tuf writes today is taken over in `interop/run.sh`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};
use support::Folder;
use tough::editor::RepositoryEditor;
use tough::editor::signed::PathExists;
use tough::key_source::{KeySource, LocalKeySource};
use tough::schema::{PathPattern, PathSet};
use tough::{FilesystemTransport, RepositoryLoader};
use tuf::canonical;
use tuf::crypto::{KeyType, PrivateKey, Signer};
use url::Url;

/// Takes over `theirs` as `mine`, by its first root.
fn take_over(folder: &Folder, root: &str) {
    folder.run(&["init", "mine", "--from", "theirs", "--trusted-root", root]).exits(0);
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Runs `tuf-fetch` as a client that keeps what it trusts in `client`.
fn fetch(folder: &Folder, repository: &str, args: &[&str]) -> String {
    let url = format!("file://{}", folder.path(repository).display());
    let output = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"))
        .args(["--metadata-dir", "client", "--target-dir", "fetched", "--repo", &url])
        .args(args)
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// At once after it was taken over a repository is clean, and no byte of its metadata is another one.
fn is_as_it_was(folder: &Folder) {
    let (theirs, mine) = (files(&folder.path("theirs/metadata")), files(&folder.path("mine/metadata")));
    for (name, bytes) in &mine {
        assert_eq!(theirs.get(name), Some(bytes), "{name}");
    }
    assert_eq!(files(&folder.path("mine/metadata.staged")), mine);
    let status = folder.run(&["-r", "mine", "--json", "status"]).exits(0).json();
    assert_eq!((&status["dirty"], &status["next"]), (&json!([]), &json!([])), "{status}");
    for args in [&["verify"][..], &["verify", "--live", "--targets"], &["doctor"]] {
        folder.run(&[&["-r", "mine"], args].concat()).exits(0);
    }
}

/// Adds a target, signs, writes and publishes.
fn go_on(folder: &Folder, keys: &[&str]) {
    folder.write("mine/targets/new.txt", "new");
    folder.run(&["-r", "mine", "add-targets", "mine/targets/new.txt"]).exits(0);
    let mut sign = vec!["-r", "mine", "sign"];
    keys.iter().for_each(|key| sign.extend(["--key", key]));
    folder.run(&sign).exits(0);
    folder.run(&["-r", "mine", "write"]).exits(0);
    folder.run(&["-r", "mine", "publish"]).exits(0);
    folder.run(&["-r", "mine", "verify", "--live", "--targets"]).exits(0);
}

/// What of the old tool's formats differs between its versions.
#[derive(Debug, Clone, Copy)]
struct Shape {
    consistent: bool,
    spec_version: &'static str,
    /// Each key stands under its SHA-512 id too.
    two_ids: bool,
    /// The snapshot lists the root.
    lists_root: bool,
}

/// A key as the old tool stated it, with the ids that it gave it.
fn old_key(key: &PrivateKey) -> (Value, [String; 2]) {
    let public = key.public_key();
    let keytype = if public.keytype == "ecdsa" { "ecdsa-sha2-nistp256" } else { public.keytype.as_str() };
    let stated = json!({
        "keyid_hash_algorithms": ["sha256", "sha512"],
        "keytype": keytype, "keyval": {"public": public.public().unwrap()}, "scheme": public.scheme,
    });
    let text = canonical::from_value(&stated).unwrap();
    (stated, [hex::encode(Sha256::digest(&text)), hex::encode(Sha512::digest(&text))])
}

/// The old tool's repository: a delegation, targets with custom data, members that this program does not know.
struct OldTool {
    shape: Shape,
    keys: BTreeMap<&'static str, PrivateKey>,
    folder: PathBuf,
}

impl OldTool {
    fn ids(&self, role: &str) -> Vec<String> {
        let (_, [sha256, sha512]) = old_key(&self.keys[role]);
        if self.shape.two_ids { vec![sha256, sha512] } else { vec![sha256] }
    }

    fn stated(&self, roles: &[&str]) -> Map<String, Value> {
        let one = |role: &&str| {
            let (stated, _) = old_key(&self.keys[*role]);
            self.ids(role).into_iter().map(move |id| (id, stated.clone())).collect::<Vec<_>>()
        };
        roles.iter().flat_map(one).collect()
    }

    /// Writes a file as `json.dumps(…, indent=1, separators=(',', ': '), sort_keys=True)` did.
    fn put(&self, names: &[String], role: &str, signed: &Value) -> Vec<u8> {
        let key = &self.keys[role];
        let text = canonical::from_value(signed).unwrap();
        let sig = hex::encode(key.sign(&key.public_key().scheme, &text).unwrap());
        let whole = json!({"signatures": [{"keyid": self.ids(role)[0], "sig": sig}], "signed": signed});
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(&whole, &mut writer).unwrap();
        for name in names {
            fs::write(self.folder.join("metadata").join(name), &bytes).unwrap();
        }
        bytes
    }

    fn name(&self, version: u64, role: &str) -> String {
        if self.shape.consistent { format!("{version}.{role}.json") } else { format!("{role}.json") }
    }

    fn target(&self, name: &str, bytes: &str) -> Value {
        let (sha256, sha512) = (hex::encode(Sha256::digest(bytes)), hex::encode(Sha512::digest(bytes)));
        let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
        let place = self.folder.join("targets").join(folder);
        fs::create_dir_all(&place).unwrap();
        let names = match self.shape.consistent {
            true => vec![format!("{sha256}.{file}"), format!("{sha512}.{file}")],
            false => vec![file.to_owned()],
        };
        names.iter().for_each(|name| fs::write(place.join(name), bytes).unwrap());
        json!({"custom": {"note": "é"}, "hashes": {"sha256": sha256, "sha512": sha512}, "length": bytes.len()})
    }

    fn make(folder: &Folder, shape: Shape) -> Self {
        let mut keys = BTreeMap::new();
        for (role, kind) in [
            ("root", KeyType::Ed25519),
            ("targets", KeyType::EcdsaP256),
            ("snapshot", KeyType::Ed25519),
            ("timestamp", KeyType::Ed25519),
            ("project", KeyType::Ed25519),
        ] {
            let key = PrivateKey::generate(kind).unwrap();
            fs::write(folder.path(&format!("{role}.pem")), key.to_pkcs8_pem(None).unwrap().as_bytes())
                .unwrap();
            keys.insert(role, key);
        }
        fs::create_dir_all(folder.path("theirs/metadata")).unwrap();
        let tool = Self { shape, keys, folder: folder.path("theirs") };
        let (spec, expires) = (shape.spec_version, "2040-01-01T00:00:00Z");
        let tops = ["root", "targets", "snapshot", "timestamp"];
        let roles: Map<String, Value> = tops
            .iter()
            .map(|role| ((*role).to_owned(), json!({"keyids": tool.ids(role), "threshold": 1})))
            .collect();
        let root = json!({
            "_type": "root", "consistent_snapshot": shape.consistent, "expires": expires, "keys": tool.stated(&tops),
            "roles": roles, "spec_version": spec, "version": 1, "x-unknown": {"kept": [1, 2]},
        });
        tool.put(&["root.json".into(), "1.root.json".into()], "root", &root);
        let project = json!({
            "_type": "targets", "delegations": {"keys": {}, "roles": []}, "expires": expires, "spec_version": spec,
            "targets": {"project/a.txt": tool.target("project/a.txt", "a")}, "version": 1,
        });
        tool.put(&[tool.name(1, "project")], "project", &project);
        let targets = json!({
            "_type": "targets", "delegations": {
                "keys": tool.stated(&["project"]),
                "roles": [{"keyids": tool.ids("project"), "name": "project", "paths": ["project/*"],
                           "terminating": false, "threshold": 1}],
            },
            "expires": expires, "spec_version": spec, "version": 3, "x-unknown": "kept",
            "targets": {"file.txt": tool.target("file.txt", "file")},
        });
        tool.put(&[tool.name(3, "targets")], "targets", &targets);
        let mut meta = json!({"project.json": {"version": 1}, "targets.json": {"version": 3}});
        if shape.lists_root {
            meta["root.json"] = json!({"version": 1});
        }
        let snapshot = json!({
            "_type": "snapshot", "expires": expires, "meta": meta, "spec_version": spec, "version": 7,
        });
        let bytes = tool.put(&[tool.name(7, "snapshot")], "snapshot", &snapshot);
        let hashes = json!({"sha256": hex::encode(Sha256::digest(&bytes))});
        let timestamp = json!({
            "_type": "timestamp", "expires": expires, "spec_version": spec, "version": 12,
            "meta": {"snapshot.json": {"hashes": hashes, "length": bytes.len(), "version": 7}},
        });
        tool.put(&["timestamp.json".into()], "timestamp", &timestamp);
        tool
    }
}

#[test]
fn what_the_old_python_tool_made_is_taken_over_and_continued() {
    for shape in [
        Shape { consistent: false, spec_version: "1.0", two_ids: true, lists_root: true },
        Shape { consistent: false, spec_version: "1.0.0", two_ids: false, lists_root: false },
        Shape { consistent: true, spec_version: "1.0.0", two_ids: true, lists_root: false },
        Shape { consistent: true, spec_version: "1.0.19", two_ids: false, lists_root: false },
    ] {
        let folder = Folder::new();
        let tool = OldTool::make(&folder, shape);
        fetch(&folder, "theirs", &["init", "theirs/metadata/1.root.json"]);
        fetch(&folder, "theirs", &["update"]);
        take_over(&folder, "theirs/metadata/1.root.json");
        is_as_it_was(&folder);
        let key = folder.run(&["-r", "mine", "--json", "status"]).exits(0).json();
        assert_eq!(key["roles"]["targets"]["keyids"][0], tool.ids("targets")[0], "{shape:?}");

        go_on(&folder, &["targets.pem", "snapshot.pem", "timestamp.pem"]);
        assert!(fetch(&folder, "mine", &["update"]).contains("downloaded fetched/new.txt\n"), "{shape:?}");
        for (name, bytes) in [("file.txt", "file"), ("project/a.txt", "a"), ("new.txt", "new")] {
            assert_eq!(fs::read_to_string(folder.path("fetched").join(name)).unwrap(), bytes);
        }
        // what was not edited is what it was; of what was, the members that are not known here too
        let mine = files(&folder.path("mine/metadata"));
        let theirs = files(&folder.path("theirs/metadata"));
        for name in ["root.json", "1.root.json", &tool.name(1, "project")] {
            assert_eq!(mine[name], theirs[name], "{name}");
        }
        let targets: Value = serde_json::from_slice(&mine[&tool.name(4, "targets")]).unwrap();
        assert_eq!(
            (&targets["signed"]["version"], &targets["signed"]["x-unknown"]),
            (&json!(4), &json!("kept"))
        );
        assert_eq!(targets["signed"]["targets"]["file.txt"]["custom"]["note"], "é");
        // one key under two ids signs under one of them
        let signer = targets["signatures"][0]["keyid"].as_str().unwrap();
        assert!(tool.ids("targets").iter().any(|id| *id == signer), "{signer}");
        let stated = &targets["signed"]["delegations"]["keys"][&tool.ids("project")[0]];
        assert_eq!(stated["keyid_hash_algorithms"], json!(["sha256", "sha512"]));
        assert_eq!(targets["signed"]["spec_version"], shape.spec_version);
    }
}

#[test]
fn a_repository_from_before_1_0_is_refused_with_advice() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("theirs/metadata")).unwrap();
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let (stated, [id, _]) = old_key(&key);
    let role = json!({"keyids": [id], "threshold": 1});
    let signed = json!({
        "_type": "Root", "compression_algorithms": ["gz"], "consistent_snapshot": false,
        "expires": "2040-01-01T00:00:00Z", "keys": {&id: stated}, "version": 1,
        "roles": {"root": role, "targets": role, "snapshot": role, "timestamp": role},
    });
    let sig = hex::encode(key.sign("ed25519", &canonical::from_value(&signed).unwrap()).unwrap());
    let root = json!({"signatures": [{"keyid": id, "method": "ed25519", "sig": sig}], "signed": signed});
    folder.write("theirs/metadata/root.json", &root.to_string());
    let before = folder.files();
    let args = ["init", "mine", "--from", "theirs", "--trusted-root", "theirs/metadata/root.json"];
    let ran = folder.run(&args).exits(5);
    assert!(ran.stderr.contains("it is from before version 1.0 of the specification"), "{ran:?}");
    assert!(ran.stderr.contains("hint: ") && ran.stderr.ends_with(": tuf-repo init NEW\n"), "{ran:?}");
    assert_eq!(folder.files(), before);
    assert!(!folder.path("mine").exists());
}

#[test]
fn a_take_over_that_was_killed_is_done_by_the_next_or_by_publish() {
    let folder = Folder::new();
    let shape = Shape { consistent: true, spec_version: "1.0.0", two_ids: false, lists_root: false };
    OldTool::make(&folder, shape);
    take_over(&folder, "theirs/metadata/1.root.json");
    let whole = folder.files();
    // while files are copied, and once targets and the policy are in place
    for part in
        [&["metadata", "metadata.staged", "targets", "tuf-repo.toml"][..], &["metadata", "metadata.staged"]]
    {
        for name in part {
            let path = folder.path("mine").join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        for (number, file) in [".tuf-new/1.root.json", ".tuf-0"].iter().enumerate() {
            let left = format!("mine/.tuf-tmp-{number}/{file}");
            fs::create_dir_all(folder.path(&left).parent().unwrap()).unwrap();
            folder.write(&left, "half");
        }
        take_over(&folder, "theirs/metadata/1.root.json");
        assert_eq!(folder.files(), whole);
    }
    // between the staged metadata and the live one
    fs::remove_dir_all(folder.path("mine/metadata")).unwrap();
    let status = folder.run(&["-r", "mine", "--json", "status"]).exits(0).json();
    assert_eq!(status["next"], json!(["tuf-repo -r mine publish"]));
    folder.run(&["-r", "mine", "publish"]).exits(0);
    assert_eq!(folder.files(), whole);
}

#[test]
fn an_older_root_that_the_trusted_keys_have_not_signed_is_not_believed() {
    let folder = Folder::new();
    let shape = Shape { consistent: true, spec_version: "1.0.0", two_ids: false, lists_root: false };
    let tool = OldTool::make(&folder, shape);
    // the real second root
    let first: Value =
        serde_json::from_slice(&fs::read(folder.path("theirs/metadata/1.root.json")).unwrap()).unwrap();
    let mut second = first["signed"].clone();
    second["version"] = json!(2);
    tool.put(&["root.json".into(), "2.root.json".into()], "root", &second);
    take_over(&folder, "theirs/metadata/2.root.json");
    assert!(folder.path("mine/metadata/1.root.json").exists());
    fs::remove_dir_all(folder.path("mine")).unwrap();
    // a first root of somebody's: it trusts the real key beside its own, so that the second one follows from it
    let stranger = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let (stated, [id, _]) = old_key(&stranger);
    let mut forged = first["signed"].clone();
    forged["keys"][&id] = stated;
    for role in ["root", "targets", "snapshot", "timestamp"] {
        forged["roles"][role]["keyids"].as_array_mut().unwrap().push(json!(id));
    }
    let sig = hex::encode(stranger.sign("ed25519", &canonical::from_value(&forged).unwrap()).unwrap());
    let forged = json!({"signatures": [{"keyid": id, "sig": sig}], "signed": forged});
    folder.write("theirs/metadata/1.root.json", &forged.to_string());
    let args = ["init", "mine", "--from", "theirs", "--trusted-root", "theirs/metadata/2.root.json"];
    let ran = folder.run(&args).exits(0);
    assert!(ran.stderr.contains("a root before v2 are stranded"), "{ran:?}");
    assert!(!folder.path("mine/metadata/1.root.json").exists());
    folder.run(&["-r", "mine", "verify", "--live"]).exits(0);
}

/// The root that tough's editor starts from, with keys that tough reads: RSA in PEM.
fn root_for_tough(folder: &Folder) {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/maintainer/keys");
    for (name, file) in [("root.pem", "rsa-1.pem"), ("other.pem", "rsa-2.pem")] {
        fs::copy(keys.join(file), folder.path(name)).unwrap();
    }
    folder.run(&["init", "scratch"]).exits(0);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let key = if role == "root" { "root.pem" } else { "other.pem" };
        folder.run(&["-r", "scratch", "add-key", role, key]).exits(0);
    }
    folder.run(&["-r", "scratch", "sign", "root", "--key", "root.pem"]).exits(0);
    fs::copy(folder.path("scratch/metadata.staged/.drafts/root.json"), folder.path("root.json")).unwrap();
}

async fn load(folder: &Folder, repository: &str) -> tough::Repository {
    let place = folder.path(repository).canonicalize().unwrap();
    let url = |name: &str| Url::from_directory_path(place.join(name)).unwrap();
    fs::create_dir_all(folder.path("datastore")).unwrap();
    RepositoryLoader::new(&fs::read(folder.path("root.json")).unwrap(), url("metadata"), url("targets"))
        .transport(FilesystemTransport)
        .datastore(folder.path("datastore"))
        .load()
        .await
        .unwrap_or_else(|error| panic!("tough does not load {repository}: {error}"))
}

#[tokio::test]
async fn what_the_editor_of_tough_made_is_taken_over_and_continued() {
    let folder = Folder::new();
    root_for_tough(&folder);
    fs::create_dir_all(folder.path("files")).unwrap();
    for name in ["one.txt", "team-two.txt"] {
        folder.write(&format!("files/{name}"), name);
    }
    let keys = |name: &str| -> Vec<Box<dyn KeySource>> {
        vec![Box::new(LocalKeySource { path: folder.path(name) })]
    };
    let number = |number| NonZeroU64::new(number).unwrap();
    let mut editor = RepositoryEditor::new(folder.path("root.json")).await.unwrap();
    let pattern = PathSet::Paths(vec![PathPattern::new("team-*").unwrap()]);
    editor
        .targets_version(number(5))
        .unwrap()
        .targets_expires("2040-01-01T00:00:00Z".parse().unwrap())
        .unwrap();
    editor.add_target_path(folder.path("files/one.txt")).await.unwrap();
    let expires = "2040-01-01T00:00:00Z".parse().unwrap();
    editor
        .delegate_role("team", &keys("root.pem"), pattern, false, number(1), expires, number(1))
        .await
        .unwrap();
    editor.sign_targets_editor(&keys("other.pem")).await.unwrap();
    editor.change_delegated_targets("team").unwrap();
    editor.add_target_path(folder.path("files/team-two.txt")).await.unwrap();
    editor.targets_version(number(2)).unwrap().targets_expires(expires).unwrap();
    editor.sign_targets_editor(&keys("root.pem")).await.unwrap();
    editor.snapshot_version(number(8)).snapshot_expires(expires);
    editor.timestamp_version(number(9)).timestamp_expires(expires);
    let signed = editor.sign(&keys("other.pem")).await.unwrap();
    fs::create_dir_all(folder.path("theirs/targets")).unwrap();
    signed.write(folder.path("theirs/metadata")).await.unwrap();
    signed.copy_targets(folder.path("files"), folder.path("theirs/targets"), PathExists::Fail).await.unwrap();
    fs::copy(folder.path("root.json"), folder.path("theirs/metadata/root.json")).unwrap();

    assert_eq!(load(&folder, "theirs").await.timestamp().signed.version, number(9));
    fetch(&folder, "theirs", &["init", "root.json"]);
    fetch(&folder, "theirs", &["update"]);
    take_over(&folder, "root.json");
    is_as_it_was(&folder);
    let listed = folder.run(&["-r", "mine", "--json", "list"]).exits(0).json();
    assert_eq!(listed["targets"]["one.txt"]["role"], "targets");
    assert_eq!(listed["targets"]["team-two.txt"]["role"], "team");

    go_on(&folder, &["other.pem"]);
    assert!(fetch(&folder, "mine", &["update"]).contains("downloaded fetched/new.txt\n"));
    let repository = load(&folder, "mine").await;
    assert_eq!(repository.targets().signed.version, number(6));
    assert_eq!(repository.snapshot().signed.version, number(9));
    assert!(repository.all_targets().any(|(name, _)| name.raw() == "new.txt"));
}
