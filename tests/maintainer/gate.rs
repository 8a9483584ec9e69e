//! What `publish` refuses, in the order of the list that it is built by: each with exit code 5 and one line that names the
//! role, the file and the reason, live not touched in a bit; `verify` finds the same, and `verify --live` once it is live.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tuf::canonical;
use tuf::crypto::Signer;
use tuf::metadata::{Algorithm, Hasher};
use tuf::repository::{DeadEnd, KeyChoice, Layout, Replace};

use crate::cli::NOW;
use crate::support::{Ran, finish};
use crate::world::{
    World, contents, copy_folder, delegation, difference, keys, public, role, temporary, threshold,
};

/// A repository whose first state is live and whose second, which changes every role, is written and not yet published.
///
/// Root has a threshold of 2 and the keys 0 and 6, in its second version 0 and 7. Targets, snapshot and timestamp have
/// the keys 1, 2 and 3; `django`, which is trusted for `django/*`, a threshold of 2 and the keys 4 and 5.
fn scene(layout: Layout) -> World {
    static CONSISTENT: OnceLock<World> = OnceLock::new();
    static PLAIN: OnceLock<World> = OnceLock::new();
    let made = match layout {
        Layout::Consistent => &CONSISTENT,
        Layout::Plain => &PLAIN,
    };
    made.get_or_init(|| {
        let world = World::new(layout);
        for (name, number) in [("root", 0), ("root", 6), ("targets", 1), ("snapshot", 2), ("timestamp", 3)] {
            world.edit(|repository| repository.add_key(&role(name), public(number), None)).unwrap();
        }
        world
            .edit(|repository| repository.set_threshold(&role("root"), threshold(2), None, DeadEnd::Allow))
            .unwrap();
        let mut django = delegation("targets", "django", 4, &["django/*"]);
        django.keys.push(public(5).clone());
        django.threshold = threshold(2);
        world.edit(|repository| repository.delegate(django)).unwrap();
        world.put("a", b"first");
        world.put("django/b", b"second");
        world.add("targets", &["a"], Replace::Refuse).unwrap();
        world.add("django", &["django/b"], Replace::Refuse).unwrap();
        world.write(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
        world.publish().unwrap();
        world.put("c", b"third");
        world.put("django/d", b"fourth");
        world.add("targets", &["c"], Replace::Refuse).unwrap();
        world.add("django", &["django/d"], Replace::Refuse).unwrap();
        let old = KeyChoice::Key(public(6).clone());
        world.edit(|repository| repository.remove_key(&role("root"), &old, None, DeadEnd::Allow)).unwrap();
        world.edit(|repository| repository.add_key(&role("root"), public(7), None)).unwrap();
        world.write(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        world
    })
    .twin()
}

fn run(world: &World, args: &[&str]) -> Ran {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-repo"));
    // between fork and exec the child of another test holds every lock of this process
    command.args(args).args(["--time", NOW, "--wait", "20s"]).current_dir(world.dir()).env_remove("TUF_REPO");
    finish(command)
}

/// Changes what a written file says and signs it with keys, whoever they are.
fn forge(world: &World, name: &str, signers: &[usize], change: impl FnOnce(&mut Value)) {
    let path = world.path("metadata.staged").join(name);
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut file["signed"]);
    let message = canonical::from_value(&file["signed"]).unwrap();
    let signature = |number: &usize| {
        let sig = keys()[*number].sign("ed25519", &message).unwrap();
        json!({ "keyid": public(*number).id().to_string(), "sig": hex::encode(sig) })
    };
    file["signatures"] = signers.iter().map(signature).collect();
    let bytes = serde_json::to_vec(&file).unwrap();
    note_as_written(world, name, &file, &bytes);
    fs::write(path, bytes).unwrap();
}

/// Gives a forged file the line of `.tuf-history` that it would have if this copy had written it.
fn note_as_written(world: &World, name: &str, file: &Value, bytes: &[u8]) {
    let name = name.strip_suffix(".json").unwrap();
    let (version, role) = match name.split_once('.') {
        Some((version, role)) => (version.parse().unwrap(), role),
        None => (file["signed"]["version"].as_u64().unwrap_or(0), name),
    };
    if role == "timestamp" || version == 0 {
        return;
    }
    let digest = Hasher::digest([Algorithm::Sha256], bytes);
    let line = format!("{role} {version} {}", digest.of(Algorithm::Sha256).unwrap());
    let history = world.path(".tuf-history");
    let text = fs::read_to_string(&history).unwrap();
    let head = format!("{role} {version} ");
    let others = text.lines().filter(|line| !line.starts_with(&head));
    let lines: Vec<&str> = others.chain([line.as_str()]).collect();
    fs::write(&history, lines.join("\n") + "\n").unwrap();
}

/// As [`forge`] for a root, which is there under two names.
fn forge_root(world: &World, signers: &[usize], change: impl FnOnce(&mut Value)) {
    forge(world, "2.root.json", signers, change);
    let staged = world.path("metadata.staged");
    fs::copy(staged.join("2.root.json"), staged.join("root.json")).unwrap();
}

/// What a refusal names.
struct Named<'a> {
    role: &'a str,
    /// Relative to the repository; of metadata, in the staged folder.
    file: &'a str,
    reason: &'a str,
}

/// Asserts that `publish` refuses what is written and that all stays as it is.
fn publish_refuses(world: &World, named: &Named<'_>) {
    let before = contents(&world.dir());
    for args in [&["publish"][..], &["publish", "--dry-run"], &["publish", "--to", "."]] {
        let ran = run(world, args).exits(5);
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
        let [line] = lines.as_slice() else { panic!("{args:?}: {ran:?}") };
        for part in [named.role, named.file, named.reason] {
            assert!(line.starts_with("error: ") && line.contains(part), "{args:?}: no '{part}' in {line}");
        }
        assert_eq!(ran.stdout, "", "{args:?}");
        let changed = difference(&before, &contents(&world.dir()));
        assert!(changed.is_empty(), "{args:?} changed {changed:?}");
    }
}

/// Asserts that `verify` has the finding.
fn verify_finds(world: &World, args: &[&str], named: &Named<'_>) {
    let all: Vec<&str> = ["verify", "--json"].iter().chain(args).copied().collect();
    let json = run(world, &all).exits(5).json();
    assert_eq!(json["ok"], false);
    let is_it = |finding: &Value| {
        finding["severity"] == "error"
            && finding["role"] == named.role
            && finding["file"] == named.file
            && finding["message"].as_str().unwrap().contains(named.reason)
    };
    assert!(json["findings"].as_array().unwrap().iter().any(is_it), "{args:?}: {json}");
}

/// Asserts the refusal of `publish` and the findings of `verify` and, with the state made live by force, of
/// `verify --live`.
fn refused_and_found(world: &World, more: &[&str], named: &Named<'_>) {
    publish_refuses(world, named);
    verify_finds(world, more, named);
    fs::remove_dir_all(world.path("metadata")).unwrap();
    fs::rename(world.path("metadata.staged"), world.path("metadata")).unwrap();
    copy_folder(&scene(Layout::Consistent).path("metadata.staged"), &world.path("metadata.staged"));
    let live = named.file.replace("metadata.staged/", "metadata/");
    let more: Vec<&str> = more.iter().copied().chain(["--live"]).collect();
    verify_finds(world, &more, &Named { file: &live, ..*named });
}

/// Returns the name of the copy that a target has in the consistent layout, relative to the repository.
fn copy_of(world: &World, folder: &str, name: &str) -> String {
    let files = contents(&world.path("targets").join(folder));
    let end = format!(".{name}");
    let found = files.into_keys().find(|file| file.ends_with(&end)).unwrap();
    Path::new("targets").join(folder).join(found).to_str().unwrap().to_owned()
}

#[test]
fn the_state_itself_is_published() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = scene(layout);
        run(&world, &["publish"]).exits(0);
        run(&world, &["verify", "--targets"]).exits(0);
        run(&world, &["verify", "--live", "--targets"]).exits(0);
    }
}

#[test]
fn refuses_a_root_not_signed_by_the_old_threshold() {
    let world = scene(Layout::Consistent);
    forge_root(&world, &[0, 7], |_| ());
    let reason = "root v2 has 1 of 2 required signatures";
    refused_and_found(&world, &[], &Named { role: "root", file: "metadata.staged/2.root.json", reason });
}

#[test]
fn refuses_a_root_not_signed_by_the_new_threshold() {
    let world = scene(Layout::Consistent);
    forge_root(&world, &[0, 6], |_| ());
    let reason = "root v2 has 1 of 2 required signatures";
    refused_and_found(&world, &[], &Named { role: "root", file: "metadata.staged/2.root.json", reason });
}

#[test]
fn refuses_one_key_counted_twice() {
    let world = scene(Layout::Consistent);
    forge(&world, "2.django.json", &[4, 4], |_| ());
    let named = Named { role: "django", file: "metadata.staged/2.django.json", reason: "django" };
    refused_and_found(&world, &[], &named);
}

#[test]
fn refuses_one_key_counted_twice_under_two_ids() {
    let world = scene(Layout::Consistent);
    let (honest, other) = (public(4).id().to_string(), "ab".repeat(32));
    forge(&world, "2.targets.json", &[1], |signed| {
        let delegations = &mut signed["delegations"];
        delegations["keys"][&other] = delegations["keys"][&honest].clone();
        delegations["roles"][0]["keyids"] = json!([honest, other]);
    });
    forge(&world, "2.django.json", &[4, 4], |_| ());
    let path = world.path("metadata.staged/2.django.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["signatures"][1]["keyid"] = json!(other);
    fs::write(path, file.to_string()).unwrap();
    let reason = "django v2 has 1 of 2 required signatures";
    refused_and_found(&world, &[], &Named { role: "django", file: "metadata.staged/2.django.json", reason });
}

#[test]
fn refuses_a_delegated_role_one_signature_short() {
    let world = scene(Layout::Consistent);
    forge(&world, "2.django.json", &[5], |_| ());
    let reason = "django v2 has 1 of 2 required signatures";
    refused_and_found(&world, &[], &Named { role: "django", file: "metadata.staged/2.django.json", reason });
}

#[test]
fn refuses_a_snapshot_that_lists_another_version_than_the_file_has() {
    let world = scene(Layout::Consistent);
    forge(&world, "2.django.json", &[4, 5], |signed| signed["version"] = json!(3));
    let reason = "django has version 3, not 2";
    refused_and_found(&world, &[], &Named { role: "django", file: "metadata.staged/2.django.json", reason });
}

#[test]
fn refuses_a_missing_target() {
    let world = scene(Layout::Consistent);
    let file = copy_of(&world, "", "c");
    fs::remove_file(world.path(&file)).unwrap();
    refused_and_found(&world, &[], &Named { role: "targets", file: &file, reason: "missing" });
    // nothing is left of it: no better
    fs::remove_file(world.path("targets/c")).unwrap();
    refused_and_found(&world, &[], &Named { role: "targets", file: &file, reason: "missing" });
}

#[test]
fn refuses_an_altered_target_elsewhere_too_and_leaves_nothing_there() {
    let world = scene(Layout::Consistent);
    let file = copy_of(&world, "", "c");
    fs::write(world.path(&file), b"thirD").unwrap();
    let before = contents(&world.dir());
    for args in [&["publish", "--to", "www/there"][..], &["publish", "--to", "www/there", "--dry-run"]] {
        let words = run(&world, args).exits(5).stderr;
        assert!(
            words.contains(&file) && words.contains("as 'targets' lists it") && words.contains("sha256"),
            "{words}"
        );
        assert_eq!(contents(&world.dir()), before, "{args:?}");
        assert!(!world.path("www").exists(), "{args:?}");
    }
}

#[test]
fn refuses_an_altered_target() {
    let world = scene(Layout::Consistent);
    let file = copy_of(&world, "", "c");
    fs::write(world.path(&file), b"thirD").unwrap();
    refused_and_found(&world, &["--targets"], &Named { role: "targets", file: &file, reason: "sha256" });
    let world = scene(Layout::Consistent);
    fs::write(world.path(&file), b"thi").unwrap();
    let reason = "is 3 bytes long, not 5";
    refused_and_found(&world, &[], &Named { role: "targets", file: &file, reason });
}

#[test]
fn refuses_a_missing_role() {
    for (role, file) in [
        ("django", "metadata.staged/2.django.json"),
        ("targets", "metadata.staged/2.targets.json"),
        ("snapshot", "metadata.staged/2.snapshot.json"),
    ] {
        let world = scene(Layout::Consistent);
        fs::remove_file(world.path(file)).unwrap();
        refused_and_found(&world, &[], &Named { role, file, reason: "missing" });
    }
}

#[test]
fn refuses_a_role_whose_file_is_not_the_one_that_the_snapshot_lists() {
    let world = scene(Layout::Consistent);
    let file = "metadata.staged/2.targets.json";
    let mut bytes = fs::read(world.path(file)).unwrap();
    let hashes = Hasher::digest([Algorithm::Sha256], &bytes);
    forge(&world, "2.snapshot.json", &[2], |signed| {
        signed["meta"]["targets.json"]["length"] = json!(bytes.len());
        signed["meta"]["targets.json"]["hashes"] = json!({ "sha256": hashes.of(Algorithm::Sha256) });
    });
    run(&world, &["publish", "--dry-run"]).exits(0);
    // the same metadata, laid out otherwise
    assert_eq!(bytes.pop(), Some(b'\n'));
    bytes.push(b' ');
    fs::write(world.path(file), bytes).unwrap();
    refused_and_found(&world, &[], &Named { role: "targets", file, reason: "sha256" });
}

#[test]
fn refuses_an_expired_role() {
    for (role, file, signers) in [
        ("django", "2.django.json", &[4, 5][..]),
        ("targets", "2.targets.json", &[1]),
        ("snapshot", "2.snapshot.json", &[2]),
        ("timestamp", "timestamp.json", &[3]),
    ] {
        let world = scene(Layout::Consistent);
        forge(&world, file, signers, |signed| signed["expires"] = json!("2031-02-28T00:00:00Z"));
        let file = format!("metadata.staged/{file}");
        refused_and_found(&world, &[], &Named { role, file: &file, reason: "expired on 2031-02-28" });
    }
    let world = scene(Layout::Consistent);
    forge_root(&world, &[0, 6, 7], |signed| signed["expires"] = json!("2031-02-28T00:00:00Z"));
    let file = "metadata.staged/2.root.json";
    refused_and_found(&world, &[], &Named { role: "root", file, reason: "expired on 2031-02-28" });
}

#[test]
fn refuses_a_version_that_is_live_with_other_content() {
    for layout in [Layout::Consistent, Layout::Plain] {
        for (role, versioned, plain, signers) in [
            ("django", "2.django.json", "django.json", &[4, 5][..]),
            ("targets", "2.targets.json", "targets.json", &[1]),
            ("snapshot", "2.snapshot.json", "snapshot.json", &[2]),
            ("timestamp", "timestamp.json", "timestamp.json", &[3]),
        ] {
            let world = scene(layout);
            world.publish().unwrap();
            let name = if layout == Layout::Consistent { versioned } else { plain };
            forge(&world, name, signers, |signed| signed["x-note"] = json!("other content"));
            let file = format!("metadata/{name}");
            // that live is no longer what it was can only be told beside what is written
            let reason = if role == "timestamp" { "other bytes" } else { "was not written by this copy" };
            let named = Named { role, file: &file, reason };
            publish_refuses(&world, &named);
            verify_finds(&world, &[], &named);
        }
    }
    let world = scene(Layout::Consistent);
    world.publish().unwrap();
    forge_root(&world, &[0, 6, 7], |signed| signed["x-note"] = json!("other content"));
    let reason = "was not written by this copy";
    let named = Named { role: "root", file: "metadata/2.root.json", reason };
    publish_refuses(&world, &named);
    verify_finds(&world, &[], &named);
}

#[test]
fn refuses_a_version_below_live() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let world = scene(layout);
        world.edit(|repository| repository.bump(&role("django"), Some(9))).unwrap();
        world.edit(|repository| repository.bump(&role("timestamp"), None)).unwrap();
        let old = world.twin();
        world.write(&[2, 3, 4, 5]).unwrap();
        world.publish().unwrap();
        // a backup is put back over what was worked on, and worked on again
        fs::remove_dir_all(world.path("metadata.staged")).unwrap();
        copy_folder(&old.path("metadata.staged"), &world.path("metadata.staged"));
        world.edit(|repository| repository.discard(&[])).unwrap();
        let file = match layout {
            Layout::Consistent => "metadata/3.snapshot.json",
            Layout::Plain => "metadata/snapshot.json",
        };
        let reason = "snapshot v3 is live, and what is written here is v2";
        let named = Named { role: "snapshot", file, reason };
        publish_refuses(&world, &named);
        verify_finds(&world, &[], &named);
        // a version above those that are live changes nothing
        for name in ["timestamp", "snapshot", "targets", "django"] {
            world.edit(|repository| repository.bump(&role(name), Some(20))).unwrap();
        }
        let before = contents(&world.dir());
        let error = world.write(&[1, 2, 3, 4, 5]).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(reason), "{error}");
        assert_eq!(contents(&world.dir()), before);
    }
}

#[test]
fn refuses_a_gap_in_the_roots() {
    let world = scene(Layout::Consistent);
    world.edit(|repository| repository.bump(&role("root"), None)).unwrap();
    world.write(&[0, 7]).unwrap();
    fs::remove_file(world.path("metadata.staged/2.root.json")).unwrap();
    let named = Named { role: "root", file: "metadata.staged/2.root.json", reason: "missing" };
    publish_refuses(&world, &named);
    verify_finds(&world, &[], &named);
    let mut live = world.path("metadata");
    fs::remove_dir_all(&live).unwrap();
    copy_folder(&world.path("metadata.staged"), &live);
    live.push("2.root.json");
    assert!(!live.exists());
    verify_finds(&world, &["--live"], &Named { file: "metadata/2.root.json", ..named });
}

#[test]
fn refuses_a_wrong_type() {
    let world = scene(Layout::Consistent);
    forge(&world, "2.django.json", &[4, 5], |signed| signed["_type"] = json!("snapshot"));
    let named = Named { role: "django", file: "metadata.staged/2.django.json", reason: "snapshot" };
    refused_and_found(&world, &[], &named);
    let world = scene(Layout::Consistent);
    let staged = world.path("metadata.staged");
    // signed well, and by the very key, as something else
    fs::copy(staged.join("timestamp.json"), staged.join("2.snapshot.json")).unwrap();
    let named = Named { role: "snapshot", file: "metadata.staged/2.snapshot.json", reason: "timestamp" };
    refused_and_found(&world, &[], &named);
}

#[test]
fn refuses_a_target_outside_the_paths_of_its_delegation() {
    let world = scene(Layout::Consistent);
    forge(&world, "2.django.json", &[4, 5], |signed| {
        let targets = signed["targets"].as_object_mut().unwrap();
        let file = targets.remove("django/d").unwrap();
        targets.insert("elsewhere/d".to_owned(), file);
    });
    fs::create_dir_all(world.path("targets/elsewhere")).unwrap();
    let copy = copy_of(&world, "django", "d");
    fs::copy(world.path(&copy), world.path(&copy.replace("django", "elsewhere"))).unwrap();
    let reason = "lists 'elsewhere/d', which no delegation trusts it for";
    refused_and_found(&world, &[], &Named { role: "django", file: "metadata.staged/2.django.json", reason });
}

#[test]
fn refuses_a_root_that_can_never_be_replaced() {
    let world = scene(Layout::Consistent);
    forge_root(&world, &[0, 6, 7], |signed| signed["roles"]["root"]["threshold"] = json!(3));
    let reason = "can never be replaced: 'root' has 2 keys for a threshold of 3";
    refused_and_found(&world, &[], &Named { role: "root", file: "metadata.staged/2.root.json", reason });
    // no better: keys enough by their ids, and two ids for one key
    let world = scene(Layout::Consistent);
    forge_root(&world, &[0, 6, 7], |signed| {
        let honest = public(7).id().to_string();
        signed["keys"]["cd".repeat(32)] = signed["keys"][&honest].clone();
        signed["roles"]["root"]["keyids"].as_array_mut().unwrap().push(json!("cd".repeat(32)));
        signed["roles"]["root"]["threshold"] = json!(3);
    });
    refused_and_found(&world, &[], &Named { role: "root", file: "metadata.staged/2.root.json", reason });
}

#[test]
fn publishes_to_a_folder_that_knows_nothing_of_the_roots_gone_by() {
    let world = scene(Layout::Consistent);
    let elsewhere = temporary();
    let to = elsewhere.path().join("www");
    run(&world, &["publish", "--to", to.to_str().unwrap()]).exits(0);
    assert!(to.join("metadata/1.root.json").is_file() && to.join("metadata/2.root.json").is_file());
}

/// python-tuf and `tuf-fetch` both give up at five million bytes where the snapshot lists no length.
#[test]
fn warns_of_metadata_that_is_longer_than_clients_take() {
    let world = scene(Layout::Consistent);
    let line = |number: u32| {
        let (path, hash) = (format!("package-{number:06}"), format!("{number:064x}"));
        format!("{{\"path\":\"{path}\",\"length\":1,\"hashes\":{{\"sha256\":\"{hash}\"}}}}\n")
    };
    fs::write(world.path("manifest"), (0..40_000).map(line).collect::<String>()).unwrap();
    run(&world, &["add-targets", "--from-manifest", "manifest"]).exits(0);
    world.write(&[1, 2, 3]).unwrap();
    // nothing is here of a target: that must be meant; of so many a person is shown some
    let verified = run(&world, &["verify"]).exits(5);
    assert_eq!(verified.stdout.lines().count(), 101);
    assert!(verified.stdout.ends_with("and 39901 more, which --json lists\n"), "{:.300}", verified.stdout);
    let refused = run(&world, &["publish"]).exits(5);
    assert!(refused.stderr.contains("package-0"), "{}", refused.stderr);
    let policy = fs::read_to_string(world.path("tuf-repo.toml")).unwrap_or_default();
    fs::write(world.path("tuf-repo.toml"), format!("{policy}\n[publish]\ntargets-elsewhere = true\n"))
        .unwrap();
    let ran = run(&world, &["publish"]).exits(0);
    assert!(
        ran.stderr.contains("40000 targets such as 'package-000000' have no file here"),
        "{}",
        ran.stderr
    );
    // the same of another place, where what is here must be nevertheless
    run(&world, &["publish", "--to", "www"]).exits(0);
    let to_www = ["verify", "--live", "--to", "www", "--targets"];
    let verified = run(&world, &to_www).exits(0);
    assert!(verified.stdout.contains("40000 targets such as"), "{:.300}", verified.stdout);
    let copy = fs::read_dir(world.path("www/targets")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.is_file().then_some(path)
    });
    fs::remove_file(copy.unwrap()).unwrap();
    run(&world, &to_www).exits(5);
    assert!(ran.stderr.contains("targets is "), "{}", ran.stderr);
    assert!(ran.stderr.contains("clients take 5000000"), "{}", ran.stderr);
    let verified = run(&world, &["--json", "verify", "--live"]).exits(0);
    let found: Value = serde_json::from_str(&verified.stdout).unwrap();
    let finding = found["findings"].as_array().unwrap().iter().find(|finding| finding["role"] == "targets");
    assert_eq!(finding.unwrap()["severity"], "warning");
    assert_eq!(finding.unwrap()["file"], "metadata/3.targets.json");
}
