//! Files that are somebody else's: no command deletes them, passes them over in silence, or takes them for its own by their
//! names.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tuf::crypto::Signer;
use tuf::metadata::{
    Algorithm, Extra, Hashes, Metadata, RoleName, Signature, Signed, TargetFile, TargetMap, Targets,
};

use crate::cli::Site;
use crate::support::Ran;
use crate::world::{contents, copy_folder, difference, keys, start};

pub(crate) const COLLECT: [&str; 5] = ["gc", "--keep", "1", "--keep-within", "0s"];
/// Layouts, as flags of `init`.
const LAYOUTS: [&[&str]; 2] = [&[], &["--no-consistent-snapshot"]];

pub(crate) fn digest(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Site {
    fn add(&self, names: &[&str]) -> Ran {
        let paths: Vec<String> = names.iter().map(|name| format!("targets/{name}")).collect();
        let paths = paths.iter().map(String::as_str);
        let args: Vec<&str> = ["add-targets", "--replace"].into_iter().chain(paths).collect();
        self.run(&args)
    }

    /// Lists a file with new bytes, writes, and publishes, also to another folder.
    pub(crate) fn release(&self, name: &str, text: &str, to: &[&str]) {
        self.put(name, text);
        self.add(&[name]).exits(0);
        self.write_all().exits(0);
        for to in to {
            self.run(&["publish", "--to", to]).exits(0);
        }
    }

    /// A repository that was published three times, also to `www` beside it, each time with other bytes of `a`.
    pub(crate) fn worn(flags: &[&str]) -> Self {
        let site = Self::written_with(flags);
        for text in ["one", "two", "three"] {
            site.release("a", text, &[".", "../www"]);
        }
        site
    }

    fn policy(&self, line: &str) {
        let path = self.path("tuf-repo.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("\n[publish]\n").next().unwrap().to_owned();
        fs::write(path, format!("{text}\n[publish]\n{line}\n")).unwrap();
    }

    pub(crate) fn collect(&self, more: &[&str]) -> Value {
        let args: Vec<&str> = COLLECT.iter().chain(more).copied().collect();
        self.json(&args, 0)
    }

    fn listed(&self) -> Vec<String> {
        let json = self.json(&["list"], 0);
        json["targets"].as_object().unwrap().keys().cloned().collect()
    }
}

/// Puts files of others into a folder of targets; returns them.
fn plant(targets: &Path) -> BTreeMap<String, Vec<u8>> {
    let sum = digest("mine");
    let names = [
        "index.html".to_owned(),
        "css/s.css".to_owned(),
        ".htaccess".to_owned(),
        format!("{sum}.mine"),
        format!("dir/{sum}.tar.gz"),
        format!("{}.not-its-digest", digest("other")),
        format!("{}.sha512", "0a".repeat(64)),
    ];
    for name in &names {
        let path = targets.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    names.into_iter().map(|name| (name, b"mine".to_vec())).collect()
}

fn see_untouched(targets: &Path, planted: &BTreeMap<String, Vec<u8>>, why: &str) {
    for (name, bytes) in planted {
        assert_eq!(fs::read(targets.join(name)).ok().as_ref(), Some(bytes), "{why}: {name}");
    }
}

#[test]
fn gc_leaves_the_files_of_a_web_server_and_anything_else_that_nothing_ever_listed() {
    for flags in LAYOUTS {
        let site = Site::worn(flags);
        let folders = [site.path("targets"), site.folder.path("www/targets")];
        let planted: Vec<_> = folders.iter().map(|folder| plant(folder)).collect();
        let all = [site.collect(&["--to", "../www"]), site.collect(&[])];
        for (folder, planted) in folders.iter().zip(&planted) {
            see_untouched(folder, planted, &format!("{flags:?}"));
        }
        if flags.is_empty() {
            let old = [digest("one"), digest("two")];
            for json in all {
                let deleted: Vec<&str> =
                    json["deleted"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                let targets: Vec<_> = deleted.iter().filter(|name| name.starts_with("targets/")).collect();
                assert_eq!(targets.len(), 2, "{deleted:?}");
                assert!(old.iter().all(|sum| deleted.contains(&format!("targets/{sum}.a").as_str())));
                assert_eq!(json["left"]["unlisted"], 4, "{json}");
            }
            let told = site.run(&["gc", "-v"]).exits(0).stderr;
            assert!(
                told.contains("Left 4 target files alone: no metadata that gc read lists them"),
                "{told}"
            );
            assert!(told.contains(&format!("  targets/{}.mine", digest("mine"))), "{told}");
        }
        site.run(&["publish", "--to", "../www"]).exits(0);
        site.run(&["verify", "--live", "--targets"]).exits(0);
    }
}

#[test]
fn gc_to_the_repository_itself_is_the_plain_one_however_it_is_spelled() {
    for flags in LAYOUTS {
        let site = Site::worn(flags);
        symlink("repository", site.folder.path("link")).unwrap();
        site.put("wip.tar", "wip");
        site.put("d.tar", "drafted");
        site.put("e", "written");
        site.add(&["e"]).exits(0);
        site.write_all().exits(0);
        site.add(&["d.tar"]).exits(0);
        let plain = site.json(&["gc", "--keep", "1", "--keep-within", "0s", "--dry-run"], 0);
        let absolute = site.repository();
        for to in [
            ".",
            "./",
            "../repository",
            "../repository/",
            "../link",
            "../link/../repository/.",
            absolute.to_str().unwrap(),
        ] {
            let json = site.json(&["gc", "--keep", "1", "--keep-within", "0s", "--dry-run", "--to", to], 0);
            assert_eq!(json, plain, "{to}");
        }
        site.collect(&["--to", "../link"]);
        for name in ["wip.tar", "d.tar", "e", "a"] {
            assert!(site.path("targets").join(name).is_file(), "{name}");
        }
        site.run(&["publish", "--to", "../repository/"]).exits(0);
        site.run(&["verify", "--live", "--targets"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
    }
}

#[test]
fn gc_of_a_folder_that_is_linked_to_the_repository_keeps_what_is_written_and_drafted_here() {
    for flags in LAYOUTS {
        let site = Site::worn(flags);
        site.policy("shared-targets = false");
        let www = site.folder.path("www");
        fs::remove_dir_all(www.join("targets")).unwrap();
        symlink("../repository/targets", www.join("targets")).unwrap();
        // bytes of long ago come back: what goes and what is written have one name
        site.put("a", "one");
        site.add(&["a"]).exits(0);
        site.write_all().exits(0);
        site.put("b", "two");
        fs::copy(site.path("targets/b"), site.path("targets/a")).unwrap();
        site.add(&["a", "b"]).exits(0);
        let before = contents(&site.path("targets"));
        let json = site.collect(&["--to", "../www"]);
        assert_eq!(difference(&before, &contents(&site.path("targets"))), Vec::<String>::new(), "{json}");
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
        // what is live in the repository's own folder stays as well
        site.run(&["verify", "--live", "--targets"]).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        site.run(&["verify", "--live", "--targets", "--to", "../www"]).exits(0);
    }
}

#[test]
fn a_folder_whose_metadata_is_what_is_written_here_is_no_place_to_publish_to() {
    let site = Site::worn(&[]);
    fs::create_dir(site.folder.path("odd")).unwrap();
    symlink("../repository/metadata.staged", site.folder.path("odd/metadata")).unwrap();
    let before = contents(&site.repository());
    for args in [&["publish", "--to", "../odd"][..], &["gc", "--to", "../odd"]] {
        let ran = site.run(args).exits(2);
        assert!(
            ran.stderr.contains("../odd cannot be published to: its metadata is the metadata.staged"),
            "{ran:?}"
        );
    }
    assert_eq!(difference(&before, &contents(&site.repository())), Vec::<String>::new());
}

#[test]
fn a_mirror_among_the_targets_is_not_collected_with_them() {
    let site = Site::worn(&[]);
    site.run(&["publish", "--to", "targets/mirror"]).exits(0);
    let before = contents(&site.path("targets/mirror"));
    site.release("a", "four", &["."]);
    site.collect(&[]);
    assert_eq!(difference(&before, &contents(&site.path("targets/mirror"))), Vec::<String>::new());
}

#[test]
fn gc_of_a_folder_where_another_repository_is_published_is_refused() {
    let (site, other) = (Site::worn(&[]), Site::written());
    other.run(&["bump", "root"]).exits(0);
    other.run(&["threshold", "root", "1"]).exits(0);
    let www = other.folder.path("www");
    // another first root
    let strange = Site::trusted(&[]);
    strange.run(&["expire", "root", "2040-01-01"]).exits(0);
    strange.write_all().exits(0);
    strange.run(&["publish", "--to", www.to_str().unwrap()]).exits(0);
    let before = contents(&www);
    let args = ["gc", "--keep", "1", "--to", www.to_str().unwrap()];
    let ran = site.run(&args).exits(5);
    assert!(ran.stderr.contains("another one is published there"), "{ran:?}");
    assert_eq!(difference(&before, &contents(&www)), Vec::<String>::new());
}

/// A repository with another first root, published once.
fn strange(flags: &[&str]) -> Site {
    let strange = Site::trusted(flags);
    strange.run(&["expire", "root", "2040-01-01"]).exits(0);
    strange.write_all().exits(0);
    strange.run(&["publish"]).exits(0);
    strange
}

#[test]
fn gc_of_a_folder_that_another_repository_works_in_is_refused() {
    for flags in LAYOUTS {
        let strange = strange(flags);
        let drafted = Site::trusted(flags);
        for other in [strange.path("metadata.staged"), drafted.path("metadata.staged")] {
            let site = Site::worn(flags);
            let www = site.folder.path("www");
            copy_folder(&other, &www.join("metadata.staged"));
            let before = contents(&www);
            let ran = site.run(&[&COLLECT[..], &["--to", "../www"]].concat()).exits(5);
            assert!(ran.stderr.contains("1.root.json: is not the first root of this repository"), "{ran:?}");
            assert!(ran.stderr.contains("another one is worked on there"), "{ran:?}");
            assert_eq!(difference(&before, &contents(&www)), Vec::<String>::new());
            // a copy of this repository may work there, and one that has nothing yet is nobody
            for copy in [Some(site.path("metadata.staged")), None] {
                fs::remove_dir_all(www.join("metadata.staged")).unwrap();
                match copy {
                    Some(copy) => copy_folder(&copy, &www.join("metadata.staged")),
                    None => fs::create_dir(www.join("metadata.staged")).unwrap(),
                }
                site.collect(&["--to", "../www"]);
            }
        }
    }
}

#[test]
fn verify_never_passes_a_place_where_another_repository_is_published() {
    for flags in LAYOUTS {
        let (site, strange) = (Site::worn(flags), strange(flags));
        let theirs = strange.repository();
        symlink(&theirs, site.folder.path("link")).unwrap();
        let refused = |args: &[&str]| {
            let ran = site.run(args).exits(5);
            assert!(ran.stderr.contains("another one is published there"), "{ran:?}");
            assert!(ran.stderr.contains("another folder or bucket"), "{ran:?}");
        };
        for to in [theirs.to_str().unwrap(), "../link", "../link/./"] {
            refused(&["verify", "--live", "--to", to]);
            refused(&["verify", "--live", "--targets", "--to", to]);
        }
        site.policy("to = \"../link\"");
        refused(&["verify", "--live"]);
        site.run(&["verify", "--live", "--to", "../www"]).exits(0);
    }
}

#[test]
fn a_place_whose_first_root_is_damaged_is_no_other_repositorys_to_any_command() {
    for flags in LAYOUTS {
        let site = Site::worn(flags);
        let first = site.folder.path("www/metadata/1.root.json");
        let whole = fs::read(&first).unwrap();
        let mut exchanged = whole.clone();
        // a signature that no longer fits
        let at = exchanged.windows(5).position(|part| part == b"\"sig\"").unwrap() + 9;
        exchanged[at] = if exchanged[at] == b'0' { b'1' } else { b'0' };
        for damaged in [&b"{}"[..], b"", &whole[..whole.len() / 2], &exchanged] {
            fs::write(&first, damaged).unwrap();
            for args in [&["verify", "--live", "--to", "../www"][..], &["gc", "--to", "../www"]] {
                let ran = site.run(args).exits(5);
                let words = ran.stdout + &ran.stderr;
                assert!(words.contains("1.root.json") && !words.contains("another"), "{args:?} {words}");
            }
            // and this copy mends it
            site.run(&["publish", "--to", "../www"]).exits(0);
            assert_eq!(fs::read(&first).unwrap(), whole);
            site.run(&["verify", "--live", "--to", "../www"]).exits(0);
        }
    }
}

#[test]
fn verify_and_gc_know_where_the_policy_publishes() {
    let site = Site::worn(&[]);
    site.policy("to = \"../www\"");
    let www = site.folder.path("www");
    let told = site.run(&["verify", "--live"]).exits(0).stdout;
    assert!(told.contains("../www' verifies"), "{told}");
    // what is live in the repository's own folder is not what clients get
    fs::remove_file(www.join("metadata/timestamp.json")).unwrap();
    site.run(&["verify", "--live"]).exits(5);
    site.run(&["verify", "--live", "--to", "."]).exits(0);
    let told = site.run(&["gc", "--dry-run"]).exits(0).stderr;
    assert!(told.contains("gc --to ./../www"), "{told}");
    site.run(&["publish"]).exits(0);
    let told = site.run(&["gc", "--dry-run", "--to", "../www"]).exits(0).stderr;
    assert!(!told.contains("gc --to"), "{told}");
}

/// Two repositories that keep their target files in one folder: the second one's roles have other keys.
fn two_with_one_folder(site: &Site, other: &Site) {
    let shared = site.folder.path("files");
    fs::create_dir(&shared).unwrap();
    for (one, to) in [(site, "www-1"), (other, "www-2")] {
        let www = site.folder.path(to);
        fs::create_dir(&www).unwrap();
        symlink("../files", www.join("targets")).unwrap();
        for text in ["one", "two"] {
            one.release("a", text, &[www.to_str().unwrap()]);
        }
    }
    // only the second has that one still
    let www = site.folder.path("www-2");
    other.release("a", "one", &[www.to_str().unwrap()]);
}

#[test]
fn a_folder_of_targets_that_may_be_shared_is_left_alone_until_the_policy_says_something() {
    let (site, other) = (Site::written(), Site::written());
    two_with_one_folder(&site, &other);
    let files = site.folder.path("files");
    let before = contents(&files);
    let told = site.run(&["gc", "--keep", "1", "--keep-within", "0s", "--to", "../www-1"]).exits(0).stderr;
    assert!(told.contains("Left 1 target file that only dropped metadata lists"), "{told}");
    assert!(told.contains("shared-targets = true") && told.contains("shared-targets = false"), "{told}");
    assert_eq!(difference(&before, &contents(&files)), Vec::<String>::new());
    // the snapshots went, and the record of whose the file is stayed
    let metadata = contents(&site.folder.path("www-1/metadata"));
    assert!(
        !metadata.contains_key("2.snapshot.json") && metadata.contains_key("2.targets.json"),
        "{metadata:?}"
    );
    site.policy("shared-targets = true");
    let json = site.collect(&["--to", "../www-1", "--dry-run"]);
    assert_eq!(
        (&json["left"]["shared"], json["deleted"].to_string()),
        (&json!(1), r#"["metadata/2.targets.json"]"#.to_owned())
    );
    other
        .run(&["verify", "--live", "--targets", "--to", site.folder.path("www-2").to_str().unwrap()])
        .exits(0);
    // whoever says that nobody else is there gets what was left before
    site.policy("shared-targets = false");
    let json = site.collect(&["--to", "../www-1"]);
    let sum = digest("one");
    assert_eq!(json["deleted"], json!([format!("targets/{sum}.a"), "metadata/2.targets.json"]));
}

#[test]
fn own_targets_that_are_a_link_are_left_alone_as_well() {
    let site = Site::worn(&[]);
    fs::rename(site.path("targets"), site.folder.path("files")).unwrap();
    symlink("../files", site.path("targets")).unwrap();
    let before = contents(&site.folder.path("files"));
    assert_eq!(site.collect(&[])["left"]["unsaid"], 2);
    assert_eq!(difference(&before, &contents(&site.folder.path("files"))), Vec::<String>::new());
    site.policy("shared-targets = false");
    let deleted = site.collect(&[]);
    assert!(deleted["deleted"].to_string().contains(&digest("one")), "{deleted}");
}

/// Signs metadata with some of the fixed keys.
pub(crate) fn signed<T: Signed>(signed: T, numbers: &[usize]) -> Vec<u8> {
    let mut metadata = Metadata::unsigned(signed).unwrap();
    for number in numbers {
        let key = &keys()[*number];
        let made = key.sign(&key.public_key().scheme, metadata.signed_bytes()).unwrap();
        metadata.signatures.push(Signature::new(key.public_key().id(), &made));
    }
    metadata.to_bytes().unwrap()
}

/// Metadata that lists some files with the bytes `mine`.
pub(crate) fn listing(version: u64, paths: &[&str]) -> Targets {
    let hashes: Hashes = [(Algorithm::Sha256, digest("mine"))].into_iter().collect();
    let file = TargetFile { length: 4, hashes, custom: None, extra: Extra::new() };
    let mut targets = Targets::new(start() + chrono::TimeDelta::days(400));
    targets.version = version;
    targets.targets = TargetMap::of(paths.iter().map(|path| (*path, file.clone()))).unwrap();
    targets
}

#[test]
fn metadata_that_somebody_planted_leads_no_collection_to_a_file() {
    for flags in LAYOUTS {
        let site = Site::worn(flags);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "*"]).exits(0);
        site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"]).exits(0);
        site.run(&["bump", "team", "--version", "9"]).exits(0);
        site.run(&["write", "--key=../key-2", "--key=../key-3", "--key=../key-4"]).exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        site.collect(&[]);
        let sum = digest("mine");
        let names = [format!("{sum}.tar.gz"), "index.html".to_owned()];
        let mut planted = Vec::new();
        for targets in [site.path("targets"), site.folder.path("www/targets")] {
            names.iter().for_each(|name| fs::write(targets.join(name), "mine").unwrap());
        }
        // unsigned; by a key that is no key here; by the key of another role; the right key and the wrong version
        for (file, version, numbers) in [
            ("1.targets.json", 1, &[][..]),
            ("2.targets.json", 2, &[5]),
            ("2.team.json", 2, &[5]),
            ("3.team.json", 3, &[]),
            ("4.team.json", 4, &[1]),
            ("5.team.json", 6, &[4]),
            ("1.other.json", 1, &[4]),
            ("other.json", 1, &[4]),
            ("1.snapshot.json", 1, &[]),
        ] {
            let bytes = signed(listing(version, &["tar.gz", "index.html"]), numbers);
            for folder in
                [site.path("metadata"), site.path("metadata.staged"), site.folder.path("www/metadata")]
            {
                if !folder.join(file).exists() {
                    fs::write(folder.join(file), &bytes).unwrap();
                    planted.push(folder.join(file));
                }
            }
        }
        let before = contents(&site.folder.path(""));
        let mut gone: Vec<String> = Vec::new();
        for (more, base) in [(&[][..], "repository"), (&["--to", "../www"], "www")] {
            let json = site.collect(more);
            let deleted: Vec<&str> =
                json["deleted"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert!(
                deleted.iter().all(|name| !name.starts_with("targets/") || flags.is_empty()),
                "{deleted:?}"
            );
            assert!(!deleted.iter().any(|name| names.iter().any(|mine| name.ends_with(mine))), "{deleted:?}");
            gone.extend(deleted.iter().map(|name| format!("- {base}/{name}")));
        }
        for path in planted {
            assert!(path.exists(), "{}: nobody vouched for it", path.display());
        }
        // nothing else happened than what was told
        gone.sort();
        assert_eq!(difference(&before, &contents(&site.folder.path(""))), gone);
        for targets in [site.path("targets"), site.folder.path("www/targets")] {
            names.iter().for_each(|name| assert!(targets.join(name).exists(), "{name}"));
        }
        let verbose: Vec<&str> = COLLECT.into_iter().chain(["-v"]).collect();
        let told = site.run(&verbose).exits(0).stderr;
        if flags.is_empty() {
            assert!(told.contains("or this repository's keys did not sign them."), "{told}");
            assert!(told.contains("\n  metadata/2.team.json\n"), "{told}");
        }
    }
}

#[test]
fn a_link_among_the_targets_leads_no_collection_out_of_them() {
    let site = Site::written();
    for text in ["one", "two"] {
        site.put("dir/a", text);
        site.put("b", text);
        site.add(&["dir/a", "b"]).exits(0);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
    }
    let outside = site.folder.path("outside");
    fs::create_dir(&outside).unwrap();
    let sum = digest("one");
    for name in [format!("{sum}.a"), format!("{sum}.b")] {
        fs::write(outside.join(name), "one").unwrap();
    }
    let two = format!("{}.a", digest("two"));
    fs::copy(site.path("targets/dir").join(&two), outside.join(&two)).unwrap();
    let before = contents(&outside);
    fs::remove_dir_all(site.path("targets/dir")).unwrap();
    symlink("../../outside", site.path("targets/dir")).unwrap();
    let copy = site.path("targets").join(format!("{sum}.b"));
    fs::remove_file(&copy).unwrap();
    symlink(outside.join(format!("{sum}.b")), &copy).unwrap();
    let json = site.collect(&[]);
    assert!(!json["deleted"].to_string().contains("targets/"), "{json}");
    assert_eq!(difference(&before, &contents(&outside)), Vec::<String>::new());
    assert!(copy.is_symlink());
}

#[test]
fn a_file_with_other_bytes_than_were_listed_stays_and_is_told() {
    let site = Site::worn(&[]);
    let copies = [digest("one"), digest("two")].map(|sum| site.path(&format!("targets/{sum}.a")));
    fs::write(&copies[0], "eno").unwrap();
    fs::write(&copies[1], "longer").unwrap();
    let json = site.collect(&[]);
    assert!(copies.iter().all(|copy| copy.is_file()), "{json}");
    assert_eq!((&json["left"]["changed"], &json["left"]["unlisted"]), (&json!(1), &json!(1)));
    // their record is gone by now
    assert_eq!(site.collect(&[])["left"]["unlisted"], 2);
}

#[test]
fn a_collection_killed_after_any_deletion_is_finished_by_the_next() {
    for more in [&[][..], &["--to", "../www"]] {
        let site = Site::worn(&[]);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "team/*"]).exits(0);
        for text in ["one", "two"] {
            site.put("team/t", text);
            site.run(&["add-targets", "--replace", "--role", "team", "targets/team/t"]).exits(0);
            let write = ["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"];
            site.run(&write).exits(0);
            site.run(&["publish"]).exits(0);
            site.run(&["publish", "--to", "../www"]).exits(0);
        }
        // the key is another one by now: only metadata that goes as well vouches for the first file
        site.run(&["rotate-key", "team", "--old", "../key-4.pub", "--new", "../key-5.pub"]).exits(0);
        site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-5"]).exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["publish", "--to", "../www"]).exits(0);
        let base = site.folder.path(if more.is_empty() { "repository" } else { "www" });
        let before = contents(&base);
        let json = site.collect(more);
        let end = contents(&base);
        let deleted: Vec<&str> =
            json["deleted"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(deleted.iter().any(|name| name.ends_with(".t")) && deleted.len() > 8, "{deleted:?}");
        for killed in 0..deleted.len() {
            for name in &deleted {
                fs::write(base.join(name), &before[*name]).unwrap();
            }
            deleted[..killed].iter().for_each(|name| fs::remove_file(base.join(name)).unwrap());
            site.collect(more);
            assert_eq!(difference(&end, &contents(&base)), Vec::<String>::new(), "{killed} of {deleted:?}");
        }
    }
}

#[test]
fn a_file_named_by_its_digest_is_listed_and_never_passed_over_or_collected() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        let names = [
            format!("{}.tar.gz", digest("layer")),
            format!("{}.tar.gz", digest("something else")),
            format!("dir/{}.x", digest("layer")),
            format!("{}.y", "0b".repeat(64)),
        ];
        names.iter().for_each(|name| site.put(name, "layer"));
        let ran = site.add(&[&names[0]]).exits(0);
        assert!(ran.stderr.starts_with("1 target added"), "{ran:?}");
        assert_eq!(site.listed(), [names[0].clone()]);
        site.run(&["add-targets", "-R", "targets"]).exits(0);
        let mut sorted = names.to_vec();
        sorted.sort();
        assert_eq!(site.listed(), sorted);
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
        site.run(&["verify", "--live", "--targets"]).exits(0);
        // unlisted again they still are somebody's files
        for name in &names {
            site.run(&["remove-targets", name]).exits(0);
        }
        site.write_all().exits(0);
        site.run(&["publish"]).exits(0);
        site.collect(&[]);
        for name in &names {
            assert_eq!(fs::read(site.path("targets").join(name)).unwrap(), b"layer", "{name}");
            let copy = name.rsplit_once('/').map_or_else(
                || format!("{}.{name}", digest("layer")),
                |(dir, file)| format!("{dir}/{}.{file}", digest("layer")),
            );
            assert!(!site.path("targets").join(&copy).exists(), "{copy}");
        }
    }
}

#[test]
fn every_way_to_list_a_file_named_by_its_digest_lists_it() {
    let site = Site::written();
    let name = format!("{}.tar.gz", digest("layer"));
    fs::create_dir_all(site.folder.path("dist/in")).unwrap();
    fs::write(site.folder.path("dist").join(&name), "layer").unwrap();
    fs::write(site.folder.path("dist/in").join(&name), "layer").unwrap();
    let file = format!("../dist/{name}");
    site.run(&["add-targets", &file, "--base", "../dist"]).exits(0);
    site.run(&["add-targets", "-R", "../dist", "--prefix", "p"]).exits(0);
    let line = json!({"path": format!("m/{name}"), "length": 5, "hashes": {"sha256": digest("layer")}});
    site.folder.write("manifest", &format!("{line}\n"));
    site.run(&["add-targets", "--from-manifest", "../manifest"]).exits(0);
    assert_eq!(
        site.listed(),
        [name.clone(), format!("m/{name}"), format!("p/{name}"), format!("p/in/{name}")]
    );
}

#[test]
fn add_targets_of_everything_passes_over_the_copies_that_write_made() {
    let site = Site::worn(&[]);
    site.put("dir/b", "b");
    site.add(&["dir/b"]).exits(0);
    site.write_all().exits(0);
    // three copies of `a`, two of which only older versions list, and one of `b`
    let all: Vec<String> = contents(&site.path("targets"))
        .into_keys()
        .filter(|name| !name.ends_with('/'))
        .map(|name| format!("targets/{name}"))
        .collect();
    assert_eq!(all.len(), 6);
    let copy = format!("targets/{}.a", digest("three"));
    let named: Vec<&str> = ["add-targets"].into_iter().chain(all.iter().map(String::as_str)).collect();
    for (args, copies) in [
        (&named[..], 4),
        (&["add-targets", "-R", "targets"], 4),
        (&["add-targets", "targets"], 3),
        (&["add-targets", &copy], 1),
        (&["add-targets", "-R", "targets", "--base", "targets"], 4),
        (&["add-targets", "-R", "targets", "--role", "targets", "--replace"], 4),
    ] {
        let json = site.json(args, 0);
        assert_eq!((&json["copies"], &json["changed"]), (&json!(copies), &json!(false)), "{args:?}");
        assert_eq!(site.listed(), ["a", "dir/b"], "{args:?}");
    }
    let ran = site.run(&["add-targets", &copy]).exits(0);
    assert!(ran.stderr.contains("1 copy that write made left out"), "{ran:?}");
    // the digest counts too, and what is a copy in one folder is none in another
    site.put(&format!("dir/{}.a", digest("three")), "three");
    assert_eq!(site.json(&["add-targets", "-R", "targets"], 0)["copies"], 4);
    assert_eq!(
        site.listed(),
        ["a".to_owned(), "dir/b".to_owned(), format!("dir/{}.a", digest("three"))]
            .map(|name| name)
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_copy_in_a_bin_or_of_a_draft_is_known_as_one() {
    let site = Site::written();
    site.run(&["delegate", "bin", "--bins", "4", "--key", "../key-4.pub"]).exits(0);
    let write = ["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"];
    site.run(&write).exits(0);
    for name in ["one", "two", "three"] {
        site.put(name, name);
    }
    site.run(&["add-targets", "-R", "targets", "--role", "bin"]).exits(0);
    site.run(&write).exits(0);
    site.put("one", "another");
    site.run(&["add-targets", "targets/one", "--role", "bin", "--replace"]).exits(0);
    site.run(&write).exits(0);
    let json = site.json(&["add-targets", "-R", "targets", "--role", "bin"], 0);
    assert_eq!((&json["copies"], &json["changed"]), (&json!(4), &json!(false)));
    // what a killed `write` has copied
    site.put("four", "four");
    site.run(&["add-targets", "targets/four", "--role", "bin"]).exits(0);
    site.put(&format!("{}.four", digest("four")), "four");
    let json = site.json(&["add-targets", "-R", "targets", "--role", "bin"], 0);
    assert_eq!((&json["copies"], &json["changed"]), (&json!(5), &json!(false)));
}

#[test]
fn a_file_in_the_place_of_a_copy_is_refused_where_its_bytes_are_others() {
    let site = Site::worn(&[]);
    let name = format!("{}.a", digest("three"));
    site.put(&name, "other");
    fs::write(site.folder.path(&name), "other").unwrap();
    let before = contents(&site.repository());
    for args in [
        &["add-targets", &format!("targets/{name}")][..],
        &["add-targets", "-R", "targets"],
        &["add-targets", &format!("targets/{name}"), "--replace"],
        &["add-targets", &format!("../{name}"), "--base", "..", "--replace"],
    ] {
        let ran = site.run(args).exits(2);
        assert!(ran.stderr.contains("the copy of 'a' for clients has this name"), "{args:?} {ran:?}");
        assert_eq!(difference(&before, &contents(&site.repository())), Vec::<String>::new());
    }
}

/// Paths that lead to names of our own.
const RESERVED: [&str; 5] = [".tuf-x", ".tuf-tmp/x", "a/.tuf-fetch.1", ".TUF-tmp/x/y", "a/.Tuf-x/b"];

#[test]
fn a_target_under_a_name_of_our_own_is_refused_by_every_way_to_list_it() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        for path in RESERVED {
            site.put(path, "x");
            let outside = site.folder.path("dist").join(path);
            fs::create_dir_all(outside.parent().unwrap()).unwrap();
            fs::write(outside, "x").unwrap();
        }
        fs::write(site.folder.path("plain"), "x").unwrap();
        let before = contents(&site.repository());
        for path in RESERVED {
            let line = json!({"path": path, "length": 1, "hashes": {"sha256": digest("x")}});
            site.folder.write("manifest", &format!("{line}\n"));
            let more = json!({"path": path, "length": 1, "hashes": {"sha256": digest("x")}, "custom": {}});
            site.folder.write("other", &format!("{more}\n"));
            let (prefix, _) = path.rsplit_once('/').unwrap_or((path, ""));
            let prefix = if prefix.contains(".tuf-") || prefix.contains(".T") { prefix } else { path };
            for args in [
                &["add-targets", &format!("targets/{path}")][..],
                &["add-targets", &format!("../dist/{path}"), "--base", "../dist"],
                &["add-targets", "../plain", "--prefix", prefix],
                &["add-targets", "-R", "../dist", "--base", "../dist"],
                &["add-targets", "--from-manifest", "../manifest"],
                &["add-targets", "--from-manifest", "../other"],
            ] {
                let ran = site.run(args).exits(2);
                assert!(ran.stderr.contains("names that begin with .tuf- are kept"), "{args:?} {ran:?}");
            }
        }
        assert_eq!(difference(&before, &contents(&site.repository())), Vec::<String>::new());
    }
}

#[test]
fn metadata_from_elsewhere_that_leads_to_names_of_our_own_is_refused() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "*", "*/*", "*/*/*"]).exits(0);
        site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"]).exits(0);
        site.run(&["publish"]).exits(0);
        let before = contents(&site.repository());
        let refuse = |targets: Targets, words: &str| {
            fs::write(site.folder.path("team.json"), signed(targets, &[4])).unwrap();
            let ran = site.run(&["sign", "--import", "../team.json"]).exits(2);
            assert!(ran.stderr.contains(words), "{words}: {ran:?}");
            assert_eq!(difference(&before, &contents(&site.repository())), Vec::<String>::new());
        };
        for path in RESERVED {
            refuse(listing(5, &["fine", path]), &format!("'team' lists it: '{path}' cannot be a target"));
        }
        // roles whose files would lie among our own, or be taken for a root
        for name in [".drafts/x", ".drafts", ".tuf-tmp", "../x", "x/../../y", "2.root", "a\u{7}b"] {
            let mut targets = listing(5, &[]);
            let delegations: tuf::metadata::Delegations = serde_json::from_value(json!({
                "keys": {}, "roles": [{"name": name, "keyids": [], "threshold": 1, "terminating": false, "paths": ["*"]}],
            }))
            .unwrap();
            targets.delegations = Some(delegations);
            refuse(targets, "the role name '");
        }
    }
}

#[test]
fn a_repository_that_lists_names_of_our_own_is_taken_over_without_them_and_is_found_fault_with() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        site.run(&["delegate", "team", "--key", "../key-4.pub", "--paths", "*", "*/*"]).exits(0);
        site.run(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3", "--key=../key-4"]).exits(0);
        site.run(&["publish"]).exits(0);
        // as an older version of this program, or another one, wrote it
        let name = if flags.is_empty() { "1.team.json" } else { "team.json" };
        let bytes = signed(listing(1, &["a/.tuf-x"]), &[4]);
        for folder in ["metadata", "metadata.staged"] {
            fs::write(site.path(folder).join(name), &bytes).unwrap();
        }
        site.put("a/.tuf-x", "mine");
        site.put(&format!("a/{}..tuf-x", digest("mine")), "mine");
        let args =
            ["init", "new", "--from", "repository", "--trusted-root", "repository/metadata/1.root.json"];
        let ran = site.folder.run(&args).exits(0);
        assert!(ran.stderr.contains("lists 'a/.tuf-x', which cannot be a target"), "{ran:?}");
        assert_eq!(fs::read_dir(site.folder.path("new/targets")).unwrap().count(), 0);
        for args in [&["verify"][..], &["verify", "--live"], &["verify", "--live", "--targets"]] {
            let ran = site.run(args).exits(5);
            assert!(ran.words().contains("lists 'a/.tuf-x', which cannot be a target"), "{args:?} {ran:?}");
        }
        assert!(site.run(&["doctor"]).words().contains("lists 'a/.tuf-x', which cannot be a target"));
        let ran = site.run(&["publish", "--to", "../www"]).exits(5);
        assert!(ran.stderr.contains("hint: tuf-repo remove-targets PATH --role ROLE"), "{ran:?}");
        let _ = RoleName::targets();
    }
}

#[test]
fn write_puts_no_copy_over_a_file_that_has_its_name() {
    for listed_too in [true, false] {
        let site = Site::written_with(&[]);
        let name = format!("{}.b", digest("four"));
        site.put("b", "four");
        site.put(&name, "the only one");
        let names = if listed_too { vec!["b", name.as_str()] } else { vec!["b"] };
        site.add(&names).exits(0);
        let before = contents(&site.path(""));
        let refused = site.write_all().exits(2);
        assert!(refused.words().contains(&format!("targets/{name}")), "{refused:?}");
        assert_eq!(difference(&before, &contents(&site.path(""))), Vec::<String>::new());
        // the hint: the file is moved away
        fs::rename(site.path(&format!("targets/{name}")), site.path("moved")).unwrap();
        if listed_too {
            site.run(&["remove-targets", &name]).exits(0);
        }
        site.write_all().exits(0);
        assert_eq!(fs::read_to_string(site.path(&format!("targets/{name}"))).unwrap(), "four");
        assert_eq!(fs::read_to_string(site.path("moved")).unwrap(), "the only one");
    }
}

#[test]
fn add_targets_of_everything_passes_over_copies_whose_names_are_as_long_as_names_can_be() {
    let site = Site::written();
    let long = "n".repeat(190);
    for name in [long.clone(), format!("dir/{long}")] {
        site.put(&name, "x");
        site.add(&[&name]).exits(0);
    }
    site.write_all().exits(0);
    let copy = format!("targets/{}.{long}", digest("x"));
    assert_eq!(copy.len(), "targets/".len() + 255);
    for (args, copies) in [
        (&["add-targets", &format!("targets/{long}"), &copy][..], 1),
        (&["add-targets", "-R", "targets"], 2),
        (&["add-targets", &copy], 1),
        (&["add-targets", "-R", "targets", "--base", "targets"], 2),
    ] {
        let json = site.json(args, 0);
        assert_eq!((&json["copies"], &json["changed"]), (&json!(copies), &json!(false)), "{args:?}");
    }
    // another file of such a name is refused as before
    site.put(&format!("{}.{long}", digest("y")), "z");
    let ran = site.run(&["add-targets", "-R", "targets"]).exits(2);
    assert!(ran.stderr.contains("its name is too long beside a digest"), "{ran:?}");
}

/// A path of so many parts.
fn deep(parts: usize) -> String {
    vec!["d"; parts].join("/")
}

#[test]
fn a_target_deeper_than_clients_go_is_refused_by_every_way_to_list_it() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        let (most, more) = (deep(64), deep(65));
        let outside = site.folder.path("dist").join(&more);
        fs::create_dir_all(outside.parent().unwrap()).unwrap();
        fs::write(outside, "x").unwrap();
        fs::write(site.folder.path("plain"), "x").unwrap();
        site.put(&format!("in/{more}"), "x");
        let line = |path: &str, custom: &str| {
            let hash = digest("x");
            format!("{{\"path\":\"{path}\",\"length\":1,\"hashes\":{{\"sha256\":\"{hash}\"}}{custom}}}\n")
        };
        site.folder.write("manifest", &line(&more, ""));
        site.folder.write("other", &line(&more, ",\"custom\":{}"));
        site.folder.write("fine", &line(&most, ""));
        let before = contents(&site.repository());
        for args in [
            &["add-targets", &format!("targets/in/{more}")][..],
            &["add-targets", "-R", "targets"],
            &["add-targets", "-R", "../dist", "--base", "../dist"],
            &["add-targets", "../plain", "--prefix", &most],
            &["add-targets", "--from-manifest", "../manifest"],
            &["add-targets", "--from-manifest", "../other"],
        ] {
            let ran = site.run(args).exits(2);
            assert!(ran.stderr.contains("clients take at most 64 parts"), "{args:?} {ran:?}");
        }
        assert_eq!(difference(&before, &contents(&site.repository())), Vec::<String>::new());
        site.run(&["add-targets", "--from-manifest", "../fine"]).exits(0);
        assert_eq!(site.listed(), [most]);
    }
}

/// A target whose digest is a text.
fn undigested(path: &str, algorithm: &str, text: &str) -> Targets {
    let mut targets = listing(5, &["fine", path]);
    let mut hashes = Hashes::default();
    hashes.insert(Algorithm::Sha256.name(), &digest("x"));
    hashes.insert(algorithm, text);
    let file = TargetFile { length: 1, hashes, custom: None, extra: Extra::new() };
    targets.targets = TargetMap::of([(path, file)]).unwrap();
    targets
}

fn of_version(targets: &Targets, version: u64) -> Targets {
    let mut other = targets.clone();
    other.version = version;
    other
}

#[test]
fn deep_paths_and_digests_that_are_none_come_in_by_no_import_and_are_found_where_they_are() {
    for flags in LAYOUTS {
        let site = Site::written_with(flags);
        let anything = ["--paths", "*", "*/*", "*/*/*", &["*"; 65].join("/")];
        site.run(&[&["delegate", "team", "--key", "../key-4.pub"], &anything[..]].concat()).exits(0);
        let write = ["write", "--key=../key-0", "--key=../key-1", "--key=../key-2", "--key=../key-3"];
        site.run(&[&write[..], &["--key=../key-4"]].concat()).exits(0);
        site.run(&["publish"]).exits(0);
        for (name, text) in [("fine", "mine"), ("b", "x"), ("dir/b", "x")] {
            site.put(name, text);
        }
        let long = deep(65);
        let cases = [
            (listing(5, &["fine", &long]), "clients take at most 64 parts"),
            (undigested("b", "sha256", "../../root"), "its sha256 is no digest in hexadecimal"),
            (undigested("b", "sha256", &digest("x")[1..]), "its sha256 is no digest in hexadecimal"),
            (undigested("dir/b", "sha512", &digest("x")), "its sha512 is no digest in hexadecimal"),
        ];
        for (targets, words) in cases {
            let before = contents(&site.repository());
            fs::write(site.folder.path("team.json"), signed(targets.clone(), &[4])).unwrap();
            let ran = site.run(&["sign", "--import", "../team.json"]).exits(2);
            assert!(ran.stderr.contains(words) && ran.stderr.contains("'team' lists it: "), "{ran:?}");
            assert_eq!(difference(&before, &contents(&site.repository())), Vec::<String>::new());
            // as another program wrote it
            let name = if flags.is_empty() { "1.team.json" } else { "team.json" };
            let good = fs::read(site.path("metadata").join(name)).unwrap();
            let planted = signed(of_version(&targets, 1), &[4]);
            for folder in ["metadata", "metadata.staged"] {
                fs::write(site.path(folder).join(name), &planted).unwrap();
            }
            for args in [&["verify"][..], &["verify", "--live"], &["verify", "--live", "--targets"]] {
                let ran = site.run(args).exits(5);
                assert!(ran.words().contains(words), "{args:?} {ran:?}");
            }
            let told = site.run(&["doctor"]).words();
            assert!(told.contains(words), "{told}");
            let ran = site.run(&["publish", "--to", "../www"]).exits(5);
            assert!(ran.stderr.contains(words), "{ran:?}");
            for folder in ["metadata", "metadata.staged"] {
                fs::write(site.path(folder).join(name), &good).unwrap();
            }
            // a draft that somebody has edited by hand
            let drafts = site.path("metadata.staged/.drafts");
            fs::create_dir_all(&drafts).unwrap();
            fs::write(drafts.join("team.json"), signed(of_version(&targets, 2), &[4])).unwrap();
            let ran = site.run(&[&write[..], &["--key=../key-4"]].concat()).exits(5);
            assert!(ran.stderr.contains(words), "{ran:?}");
            fs::remove_file(drafts.join("team.json")).unwrap();
        }
    }
}

#[test]
fn gc_explains_no_file_that_is_not_there() {
    let site = Site::worn(&[]);
    for name in
        ["targets/nope", "metadata/9.targets.json", "nope", "../key-0", "metadata.staged", "tuf-repo.toml"]
    {
        for more in [&[][..], &["--to", "../www"]] {
            let ran = site.run(&[&["gc", "--explain", name], more].concat()).exits(2);
            assert!(ran.stderr.contains("no such file in what is collected"), "{ran:?}");
            assert!(ran.stderr.contains("hint: name targets/NAME, metadata/NAME"), "{ran:?}");
        }
    }
    // a name that something holds is explained, although a clone need not have the file
    fs::remove_file(site.path("targets/a")).unwrap();
    let json = site.json(&["gc", "--explain", "targets/a"], 0);
    assert_eq!((&json["exists"], &json["would_delete"]), (&json!(false), &json!(false)), "{json}");
    let told = site.run(&["gc", "--explain", "targets/a"]).exits(0).stdout;
    assert!(told.contains("there is no such file: only its name is held"), "{told}");
    let copy = format!("targets/{}.a", digest("three"));
    assert_eq!(site.json(&["gc", "--explain", &copy], 0)["exists"], true);
}

#[test]
fn a_retention_beyond_the_calendar_keeps_everything() {
    for flags in LAYOUTS {
        let site = Site::worn(flags);
        let before = contents(&site.folder.path(""));
        for within in ["999999y", "9999999999d", "292000000y"] {
            for to in [&[][..], &["--to", "../www"]] {
                let json = site.json(&[&["gc", "--keep", "1", "--keep-within", within], to].concat(), 0);
                assert_eq!(json["deleted"], json!([]), "{within}");
            }
        }
        fs::write(site.path("tuf-repo.toml"), "[gc]\nkeep = 1\nkeep-within = \"999999y\"\n").unwrap();
        assert_eq!(site.json(&["gc"], 0)["deleted"], json!([]));
        fs::remove_file(site.path("tuf-repo.toml")).unwrap();
        let mut after = contents(&site.folder.path(""));
        let mut before = before;
        for files in [&mut before, &mut after] {
            files.remove("repository/tuf-repo.toml");
        }
        assert_eq!(difference(&before, &after), Vec::<String>::new());
    }
}
