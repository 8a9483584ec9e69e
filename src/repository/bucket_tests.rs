//! Publishing to a bucket and collecting there, over a store in memory: order, conditions, breakdowns, races.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use super::testing::{copy, keys, open, repository, scratch, start, write};
use super::*;
use crate::crypto::{PrivateKey, Signer};
use crate::metadata::{RoleName, Threshold};
use crate::storage::Storage;
use crate::storage::testing::{Breakdown, Memory};

type Objects = BTreeMap<String, Vec<u8>>;

fn at(memory: &Memory) -> Destination {
    Destination::Bucket(BucketPlace::under(&memory.bucket()))
}

fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

/// Lists target files of the top-level role, by name and contents.
fn add(repository: &mut Repository, files: &[(&str, &str)]) {
    add_as(repository, "targets", files);
}

/// Lists target files of a role, by name and contents.
fn add_as(repository: &mut Repository, lister: &str, files: &[(&str, &str)]) {
    let targets = repository.dir().join(TARGETS);
    for (name, text) in files {
        fs::write(targets.join(name), text).unwrap();
        let source = TargetSource {
            targets: &targets,
            base: None,
            prefix: None,
            walk: Walk::Flat,
            symlinks: Symlinks::Refuse,
        };
        let found = find_targets(&[targets.join(name)], &source).unwrap();
        let request = AddTargets {
            role: &role(lister),
            found: &found,
            custom: None,
            replace: Replace::Allow,
            paths: Paths::Kept,
            progress: &|_| {},
        };
        let added = repository.add_targets(&request).unwrap();
        let plan = repository.plan_edit().unwrap();
        repository.save_added(&added, &plan, &|_| ()).unwrap();
    }
}

fn bump(repository: &mut Repository, roles: &[&str]) {
    for name in roles {
        repository.bump(&role(name), None).unwrap();
    }
}

/// A repository with two delegated roles and a target, written and not published.
fn workshop(layout: Layout) -> (TempDir, [PrivateKey; 4]) {
    let (dir, keys) = (scratch(), keys());
    match layout {
        Layout::Consistent => repository(dir.path(), &keys),
        Layout::Plain => {
            init(dir.path(), Layout::Plain, start(), Execution::Real, Duration::ZERO).unwrap();
            let mut repository = open(dir.path(), start());
            for (name, key) in ["root", "targets", "snapshot", "timestamp"].iter().zip(&keys) {
                repository.add_key(&role(name), key.public_key(), None).unwrap();
            }
            write(&mut repository, &keys);
        }
    }
    let mut repository = open(dir.path(), start());
    for name in ["one", "two"] {
        let delegation = Delegation {
            name: role(name),
            from: RoleName::targets(),
            keys: vec![keys[1].public_key().clone()],
            threshold: Threshold::ONE,
            trust: Trust::Paths(vec![format!("{name}/*")]),
            terminating: false,
            before: None,
        };
        repository.delegate(delegation).unwrap();
    }
    add(&mut repository, &[("a.txt", "a"), ("b.txt", "b")]);
    write(&mut repository, &keys);
    (dir, keys)
}

fn publish_at(dir: &Path, now: DateTime<Utc>, to: &Destination) -> Result<PublishPlan, RepositoryError> {
    let repository = open(dir, now);
    let plan = repository.plan_publish(to, Expiry::Enforce, Duration::ZERO)?;
    repository.execute_publish(&plan, &|_| {})?;
    Ok(plan)
}

fn publish(dir: &Path, to: &Destination) -> Result<PublishPlan, RepositoryError> {
    publish_at(dir, start(), to)
}

/// Checks what a new client gets, target bytes too. It goes by the numbered roots; `root.json` may lag behind them.
fn verify(dir: &Path, memory: &Memory) {
    let repository = Repository::open(dir, start()).unwrap();
    let mut report = repository.check_published(&at(memory), TargetBytes::Digest).unwrap();
    report.findings.retain(|finding| finding.file.as_deref() != Some("metadata/root.json"));
    assert!(report.ok(), "{:?}", report.findings);
}

fn changes(memory: &Memory) -> Vec<String> {
    memory.requests().into_iter().filter(|request| !request.starts_with(['L', 'G', 'H'])).collect()
}

#[test]
fn what_clients_ask_for_first_is_put_last() {
    let (dir, _) = workshop(Layout::Consistent);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    let puts = changes(&memory);
    assert!(puts[..2].iter().all(|put| put.starts_with("PUT targets/")), "{puts:?}");
    let metadata =
        ["1.root.json", "1.one.json", "1.two.json", "2.targets.json", "2.snapshot.json", "root.json"];
    let metadata: Vec<String> = metadata.iter().map(|name| format!("PUT metadata/{name}")).collect();
    assert_eq!(puts[2..puts.len() - 1], metadata);
    assert_eq!(puts.last().unwrap(), "PUT metadata/timestamp.json");
    verify(dir.path(), &memory);
}

#[test]
fn what_is_there_is_not_sent_again_nor_asked_for_one_by_one() {
    let (dir, keys) = workshop(Layout::Consistent);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    memory.requests();
    let plan = publish(dir.path(), &at(&memory)).unwrap();
    assert!(plan.is_empty());
    assert_eq!(changes(&memory), Vec::<String>::new());
    let mut repository = open(dir.path(), start());
    add(&mut repository, &[("c.txt", "c")]);
    write(&mut repository, &keys);
    drop(repository);
    publish(dir.path(), &at(&memory)).unwrap();
    let requests = memory.requests();
    let about_targets: Vec<_> = requests.iter().filter(|request| request.contains(" targets")).collect();
    assert_eq!(about_targets.len(), 2, "{requests:?}");
    assert_eq!(about_targets[0], "LIST targets");
    assert!(about_targets[1].starts_with("PUT targets/") && about_targets[1].ends_with(".c.txt"));
    verify(dir.path(), &memory);
}

/// Stops a publication at every changing request, in both ways, and lets the next run finish.
fn break_down_everywhere(layout: Layout, check: impl Fn(&Path, &Memory, &Objects)) {
    let (dir, keys) = workshop(layout);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    let before = memory.contents();
    let mut repository = open(dir.path(), start());
    add(&mut repository, &[("a.txt", "other"), ("c.txt", "c")]);
    bump(&mut repository, &["root", "one"]);
    write(&mut repository, &keys);
    drop(repository);
    let again = |objects: &Objects| {
        let memory = Memory::new();
        objects.iter().for_each(|(name, bytes)| memory.plant(name, bytes));
        memory
    };
    let whole = again(&before);
    publish(dir.path(), &at(&whole)).unwrap();
    let steps = changes(&whole).len();
    assert!(steps >= 8, "{steps}");
    for breakdown in [Breakdown::Before, Breakdown::After] {
        for step in 1..=steps {
            let memory = again(&before);
            let result = publish(dir.path(), &at(&memory.breaks_at(step, breakdown)));
            assert!(matches!(result, Err(RepositoryError::Io { .. })), "{step} {breakdown:?}: {result:?}");
            check(dir.path(), &memory, &before);
            publish(dir.path(), &at(&memory)).unwrap();
            assert_eq!(memory.contents(), whole.contents(), "{step} {breakdown:?}");
        }
    }
}

#[test]
fn a_publication_that_breaks_down_is_invisible_and_the_next_finishes_it() {
    break_down_everywhere(Layout::Consistent, |dir, memory, before| {
        verify(dir, memory);
        // nothing that was there is gone or another one, but for the two names that clients ask for first
        let now = memory.contents();
        let versioned = |name: &&String| !name.ends_with("/root.json") && !name.ends_with("/timestamp.json");
        for name in before.keys().filter(versioned) {
            assert_eq!(now.get(name), before.get(name), "{name}");
        }
    });
}

#[test]
fn a_plain_publication_that_breaks_down_is_finished_by_the_next() {
    break_down_everywhere(Layout::Plain, |_, _, _| {});
}

#[test]
fn a_first_publication_that_breaks_down_is_finished_by_the_next() {
    let (dir, _) = workshop(Layout::Consistent);
    let whole = Memory::new();
    publish(dir.path(), &at(&whole)).unwrap();
    for step in 1..=changes(&whole).len() {
        let memory = Memory::new();
        assert!(publish(dir.path(), &at(&memory.breaks_at(step, Breakdown::Before))).is_err());
        assert!(!memory.contents().contains_key("metadata/timestamp.json"));
        publish(dir.path(), &at(&memory)).unwrap();
        assert_eq!(memory.contents(), whole.contents(), "{step}");
    }
}

/// What one of two publishers has to bring.
struct Edit {
    roles: &'static [&'static str],
    /// How often it was written before it is published.
    times: usize,
    target: Option<&'static str>,
}

const ROLES: Edit = Edit { roles: &["one", "two"], times: 1, target: None };
const OTHER_ROLE: Edit = Edit { roles: &["two"], times: 1, target: None };
const TWICE: Edit = Edit { roles: &["one", "two"], times: 2, target: None };
const TARGET: Edit = Edit { roles: &[], times: 1, target: Some("theirs") };
const TIMESTAMP: Edit = Edit { roles: &["timestamp"], times: 1, target: None };
const ROOT_AND_ROLE: Edit = Edit { roles: &["root", "one"], times: 1, target: None };
const ROOT: Edit = Edit { roles: &["root"], times: 1, target: None };
const ROOT_TWICE: Edit = Edit { roles: &["root", "one"], times: 2, target: None };

/// Two publishers that planned from the same live state: the second comes in between at every request of the first.
/// Returns how often which of them was through.
fn race(layout: Layout, first: &Edit, second: &Edit) -> [usize; 2] {
    let (one, keys) = workshop(layout);
    let before = Memory::new();
    publish(one.path(), &at(&before)).unwrap();
    let two = scratch();
    copy(one.path(), two.path());
    // clocks that differ make the bytes differ under the same version
    let later = start() + TimeDelta::hours(1);
    for (dir, now, edit) in [(&one, start(), first), (&two, later, second)] {
        for _ in 0..edit.times {
            let mut repository = open(dir.path(), now);
            bump(&mut repository, edit.roles);
            add(&mut repository, &edit.target.map(|text| ("a.txt", text)).into_iter().collect::<Vec<_>>());
            write(&mut repository, &keys);
        }
    }
    let mut wins = [0, 0];
    for step in 0.. {
        let memory = Memory::new();
        before.contents().iter().for_each(|(name, bytes)| memory.plant(name, bytes));
        let rival = open(two.path(), later);
        let rivals_plan = rival.plan_publish(&at(&memory), Expiry::Enforce, Duration::ZERO).unwrap();
        let repository = open(one.path(), start());
        let plan = repository.plan_publish(&at(&memory), Expiry::Enforce, Duration::ZERO).unwrap();
        let outcome = Arc::new(Mutex::new(None));
        let (result, pending, seen) =
            (Arc::clone(&outcome), Mutex::new(Some((rival, rivals_plan))), Mutex::new(0));
        memory.before_requests(move |_| {
            let mut seen = seen.lock().unwrap();
            if *seen < step {
                *seen += 1;
                return ControlFlow::Continue(());
            }
            let (rival, plan) = pending.lock().unwrap().take().unwrap();
            // it has a runtime of its own
            let run = thread::spawn(move || rival.execute_publish(&plan, &|_| {}));
            *result.lock().unwrap() = Some(run.join().unwrap());
            ControlFlow::Break(())
        });
        let ours = repository.execute_publish(&plan, &|_| {});
        let theirs = outcome.lock().unwrap().take();
        let Some(theirs) = theirs else {
            ours.unwrap();
            return wins;
        };
        for result in [&ours, &theirs] {
            let fine = matches!(
                result,
                Ok(())
                    | Err(RepositoryError::Overtaken { .. })
                    | Err(RepositoryError::Refused { reason: Refusal::OtherBytes, .. })
            );
            assert!(fine, "{result:?}");
        }
        let through = usize::from(ours.is_ok()) + usize::from(theirs.is_ok());
        assert_eq!(through, 1, "{step}: {ours:?} {theirs:?}");
        wins[usize::from(theirs.is_ok())] += 1;
        verify(two.path(), &memory);
        let live = &memory.contents()["metadata/timestamp.json"];
        let winner = if ours.is_ok() { one.path() } else { two.path() };
        assert_eq!(*live, fs::read(winner.join("metadata.staged/timestamp.json")).unwrap(), "{step}");
    }
    unreachable!("it ends where the first one is through before the second comes")
}

#[test]
fn of_two_publishers_exactly_one_gets_through_wherever_they_meet() {
    for (name, first, second) in [
        ("the same roles", &ROLES, &ROLES),
        ("some of the same roles", &ROLES, &OTHER_ROLE),
        ("the same roles, one of them a version ahead", &ROLES, &TWICE),
        ("a target", &TARGET, &ROLES),
        ("a timestamp only", &ROLES, &TIMESTAMP),
        ("a timestamp against all", &TIMESTAMP, &TWICE),
        ("a root and a role against a timestamp", &ROOT_AND_ROLE, &TIMESTAMP),
        ("two roots", &ROOT, &ROOT),
        ("two roots, one of them ahead", &ROOT, &ROOT_TWICE),
    ] {
        let wins = race(Layout::Consistent, first, second);
        assert!(wins[1] > 0, "{name}: {wins:?}");
    }
}

#[test]
fn of_two_plain_publishers_exactly_one_gets_through() {
    let wins = race(Layout::Plain, &ROLES, &ROLES);
    assert!(wins[1] > 0, "{wins:?}");
}

#[test]
fn a_version_that_is_there_with_bytes_that_no_client_accepts_is_named_and_replaced() {
    let (dir, _) = workshop(Layout::Consistent);
    for (name, bytes) in [("metadata/2.targets.json", &b"{}"[..]), ("metadata/1.root.json", b"{}")] {
        let memory = Memory::new();
        memory.plant(name, bytes);
        memory.plant("metadata/root.json", &fs::read(dir.path().join("metadata/root.json")).unwrap());
        let plan = publish(dir.path(), &at(&memory)).unwrap();
        let warned = |finding: &Finding| finding.file.as_deref() == Some(name);
        assert_eq!(plan.warnings.iter().filter(|finding| warned(finding)).count(), 1, "{:?}", plan.warnings);
        verify(dir.path(), &memory);
    }
}

#[test]
fn a_version_that_another_copy_has_signed_is_refused_and_nothing_is_put() {
    let (one, keys) = workshop(Layout::Consistent);
    let memory = Memory::new();
    publish(one.path(), &at(&memory)).unwrap();
    let other = scratch();
    copy(one.path(), other.path());
    for (dir, text) in [(one.path(), "one"), (other.path(), "other")] {
        let mut repository = open(dir, start());
        add(&mut repository, &[("c.txt", text)]);
        write(&mut repository, &keys);
    }
    // the publication of one copy was cut short before anybody was led to its files
    let name = "metadata/3.targets.json";
    memory.plant(name, &fs::read(one.path().join("metadata.staged/3.targets.json")).unwrap());
    let before = memory.contents();
    let error = publish(other.path(), &at(&memory)).unwrap_err();
    let RepositoryError::Refused { file, reason: Refusal::Taken } = error else { panic!("{error}") };
    assert_eq!((file.as_str(), memory.contents()), (name, before));
    // that copy goes on, and the other one could have gone round it
    let mut repository = open(other.path(), start());
    bump(&mut repository, &["targets"]);
    write(&mut repository, &keys);
    drop(repository);
    publish(other.path(), &at(&memory)).unwrap();
    let error = publish(one.path(), &at(&memory)).unwrap_err();
    let RepositoryError::Refused { file, reason: Refusal::NotOurs { .. } } = error else { panic!("{error}") };
    assert_eq!(file, "metadata/4.targets.json");
    verify(other.path(), &memory);
}

#[test]
fn a_hash_named_target_of_another_length_is_refused_and_nothing_is_put() {
    let (dir, _) = workshop(Layout::Consistent);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    let target = memory.contents().into_keys().find(|name| name.ends_with(".a.txt")).unwrap();
    let other = Memory::new();
    other.plant(&target, b"longer");
    let error = publish(dir.path(), &at(&other)).unwrap_err();
    assert!(matches!(&error, RepositoryError::Refused { .. }), "{error}");
    assert_eq!(other.contents().len(), 1);
}

#[test]
fn a_target_of_a_delegatee_that_is_gone_or_other_bytes_stops_no_publication_to_a_bucket() {
    for layout in [Layout::Consistent, Layout::Plain] {
        for planted in [None, Some(&b"longer than it is"[..])] {
            let (dir, keys) = workshop(layout);
            let memory = Memory::new();
            let mut repository = open(dir.path(), start());
            fs::create_dir(dir.path().join("targets/one")).unwrap();
            add_as(&mut repository, "one", &[("one/x", "x")]);
            write(&mut repository, &keys);
            drop(repository);
            publish(dir.path(), &at(&memory)).unwrap();
            let name = memory.contents().into_keys().find(|name| name.starts_with("targets/one/")).unwrap();
            match planted {
                Some(bytes) => memory.plant(&name, bytes),
                None => {
                    memory.lose(&name);
                    fs::remove_file(dir.path().join(&name)).unwrap();
                }
            }
            let mut repository = open(dir.path(), start());
            add(&mut repository, &[("new.txt", "fresh")]);
            write(&mut repository, &keys);
            drop(repository);
            let plan = publish(dir.path(), &at(&memory)).unwrap();
            let told = plan.warnings.iter().filter(|warning| warning.file.as_deref() == Some(&*name));
            let told: Vec<_> = told.map(|warning| warning.role.clone().unwrap()).collect();
            if layout == Layout::Plain && planted.is_some() {
                // live metadata leads to that name: the bytes that it lists are put there again
                assert_eq!((told, &memory.contents()[&name][..]), (vec![], &b"x"[..]));
                continue;
            }
            assert_eq!(told, [role("one")], "{layout:?} {:?}", plan.warnings);
            assert_eq!(memory.contents().get(&name).map(Vec::as_slice), planted);
            // what it lists anew is refused
            let mut repository = open(dir.path(), start());
            add_as(&mut repository, "one", &[("one/y", "y")]);
            write(&mut repository, &keys);
            drop(repository);
            let error = publish(dir.path(), &at(&memory)).unwrap_err();
            assert!(error.to_string().contains(&name), "{error}");
        }
    }
}

#[test]
fn an_object_of_somebody_in_the_place_of_a_new_target_is_never_replaced() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (dir, keys) = workshop(layout);
        let memory = Memory::new();
        publish(dir.path(), &at(&memory)).unwrap();
        let mut repository = open(dir.path(), start());
        add(&mut repository, &[("new.txt", "fresh"), ("a.txt", "b")]);
        write(&mut repository, &keys);
        drop(repository);
        let repository = open(dir.path(), start());
        let all = repository.plan_publish(&at(&memory), Expiry::Enforce, Duration::ZERO).unwrap().put();
        let name = all.iter().find(|name| name.ends_with("new.txt")).unwrap();
        drop(repository);
        // of the same length and, in the plain layout, of another one
        let planted: &[&[u8]] = if layout == Layout::Plain { &[b"other", b"longer"] } else { &[b"other"] };
        for bytes in planted {
            memory.plant(name, bytes);
            let before = memory.contents();
            let error = publish(dir.path(), &at(&memory)).unwrap_err();
            assert!(matches!(&error, RepositoryError::Input(InputError::NotOurFile { .. })), "{error}");
            assert_eq!(memory.contents(), before);
        }
        // what a publication that broke down has put stands, and a new version takes the place of a listed one
        memory.plant(name, b"fresh");
        let put = publish(dir.path(), &at(&memory)).unwrap().put();
        assert!(!put.contains(name), "{put:?}");
        verify(dir.path(), &memory);
    }
}

#[test]
fn a_live_state_without_its_roots_is_refused_and_one_of_them_is_enough() {
    let (dir, _) = workshop(Layout::Consistent);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    memory.lose("metadata/root.json");
    assert_eq!(publish(dir.path(), &at(&memory)).unwrap().put(), ["metadata/root.json"]);
    memory.lose("metadata/root.json");
    memory.lose("metadata/1.root.json");
    let error = publish(dir.path(), &at(&memory)).unwrap_err();
    assert!(matches!(error, RepositoryError::Refused { reason: Refusal::NoRoot(_), .. }), "{error}");
    let retention = Retention { keep: 1, keep_within: TimeDelta::zero() };
    assert!(open(dir.path(), start()).plan_gc_of(&at(&memory), retention, Duration::ZERO).is_err());
}

#[test]
fn a_target_that_changes_while_it_is_sent_is_refused() {
    let (dir, _) = workshop(Layout::Consistent);
    let memory = Memory::new();
    let repository = open(dir.path(), start());
    let plan = repository.plan_publish(&at(&memory), Expiry::Enforce, Duration::ZERO).unwrap();
    let mut copies = fs::read_dir(dir.path().join(TARGETS)).unwrap().map(|entry| entry.unwrap().path());
    let copy = copies.find(|path| path.to_string_lossy().ends_with(".a.txt")).unwrap();
    fs::write(copy, "x").unwrap();
    let error = repository.execute_publish(&plan, &|_| {}).unwrap_err();
    assert!(matches!(error, RepositoryError::Refused { reason: Refusal::TargetChanged(_), .. }), "{error}");
    assert!(memory.contents().keys().all(|name| name.ends_with(".b.txt")));
}

#[test]
fn what_is_published_is_checked_where_it_is() {
    let (dir, _) = workshop(Layout::Consistent);
    let memory = Memory::new();
    let repository = open(dir.path(), start());
    let nothing = repository.check_published(&at(&memory), TargetBytes::Present).unwrap_err();
    assert!(matches!(nothing, RepositoryError::Input(InputError::NoFile { .. })), "{nothing}");
    drop(repository);
    publish(dir.path(), &at(&memory)).unwrap();
    verify(dir.path(), &memory);
    let target = memory.contents().into_keys().find(|name| name.ends_with(".a.txt")).unwrap();
    let found = |how| {
        let repository = open(dir.path(), start());
        let report = repository.check_published(&at(&memory), how).unwrap();
        report.findings.into_iter().map(|finding| finding.file.unwrap_or_default()).collect::<Vec<_>>()
    };
    memory.plant(&target, b"x");
    assert_eq!(found(TargetBytes::Present), Vec::<String>::new());
    assert_eq!(found(TargetBytes::Digest), std::slice::from_ref(&target));
    memory.lose(&target);
    assert_eq!(found(TargetBytes::Present), std::slice::from_ref(&target));
    memory.plant("metadata/1.one.json", b"{}");
    assert_eq!(found(TargetBytes::Ignore), ["metadata/1.one.json"]);
}

#[test]
fn metadata_and_targets_may_be_apart() {
    let (dir, _) = workshop(Layout::Consistent);
    let (metadata, targets) = (Memory::new(), Memory::new());
    let place = BucketPlace::apart(&metadata.bucket().below("m"), &targets.bucket());
    assert_eq!(place.shown(), "s3://memory/m and s3://memory");
    publish(dir.path(), &Destination::Bucket(place)).unwrap();
    assert!(metadata.contents().keys().all(|name| name.starts_with("m/")));
    assert_eq!(targets.contents().len(), 2);
}

#[test]
fn a_published_repository_is_taken_over_from_a_bucket() {
    let (dir, keys) = workshop(Layout::Consistent);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    let into = scratch();
    let root = fs::read(dir.path().join("metadata.staged/1.root.json")).unwrap();
    let source = BucketPlace::under(&memory.bucket());
    let adopted =
        adopt(into.path(), &source, &root, start(), Execution::Real, Duration::ZERO, &|_| {}).unwrap();
    assert_eq!(adopted.missing, Vec::<String>::new());
    let mut repository = open(into.path(), start());
    bump(&mut repository, &["targets"]);
    write(&mut repository, &keys);
    drop(repository);
    publish(into.path(), &at(&memory)).unwrap();
    verify(into.path(), &memory);
}

/// A bucket with three snapshots, the first of which nobody retains: with a replaced target and a revoked role's file.
fn worn(layout: Layout) -> (TempDir, [PrivateKey; 4], Memory) {
    let (dir, keys) = workshop(layout);
    let memory = Memory::new();
    publish(dir.path(), &at(&memory)).unwrap();
    for text in ["other", "third"] {
        let mut repository = open(dir.path(), start());
        add(&mut repository, &[("a.txt", text)]);
        write(&mut repository, &keys);
        drop(repository);
        publish(dir.path(), &at(&memory)).unwrap();
    }
    memory.plant("metadata/notes.txt", b"whose?");
    memory.requests();
    (dir, keys, memory)
}

/// The store stamps its objects by the real clock; to the collection they are old.
fn long_after() -> DateTime<Utc> {
    start() + TimeDelta::days(365 * 50)
}

const ONE: Retention = Retention { keep: 1, keep_within: TimeDelta::zero() };

fn collect(dir: &Path, memory: &Memory, archive: Option<&Archive>) -> Result<Collection, RepositoryError> {
    let repository = open(dir, long_after());
    let plan = repository.plan_gc_of(&at(memory), ONE, Duration::ZERO)?;
    repository.execute_gc(&plan, archive)?;
    Ok(plan.into_collection())
}

#[test]
fn a_collection_deletes_snapshots_first_and_the_record_of_target_files_last() {
    let (dir, _, memory) = worn(Layout::Consistent);
    let plan = collect(dir.path(), &memory, None).unwrap();
    assert_eq!(plan.unknown, ["metadata/notes.txt"]);
    let requests = memory.requests();
    assert!(requests.iter().all(|request| !request.starts_with("HEAD targets")), "{requests:?}");
    let deleted: Vec<&str> = requests.iter().filter_map(|request| request.strip_prefix("DELETE ")).collect();
    assert_eq!(deleted, plan.deleted().collect::<Vec<_>>());
    let kind = |name: &&str| match name {
        name if name.contains(".snapshot.json") => 0,
        name if name.starts_with("targets/") => 1,
        // the record of whose the target files are goes last
        _ => 2,
    };
    assert!(deleted.is_sorted_by_key(kind) && deleted.len() == 6, "{deleted:?}");
    verify(dir.path(), &memory);
    assert!(collect(dir.path(), &memory, None).unwrap().delete.is_empty());
}

#[test]
fn a_collection_that_breaks_down_is_finished_by_the_next() {
    let (dir, _, memory) = worn(Layout::Consistent);
    let before = memory.contents();
    collect(dir.path(), &memory, None).unwrap();
    let after = memory.contents();
    for step in 1..=before.len() - after.len() {
        let memory = Memory::new();
        before.iter().for_each(|(name, bytes)| memory.plant(name, bytes));
        assert!(collect(dir.path(), &memory.breaks_at(step, Breakdown::After), None).is_err());
        verify(dir.path(), &memory);
        collect(dir.path(), &memory, None).unwrap();
        assert_eq!(memory.contents(), after, "{step}");
    }
}

#[test]
fn an_object_that_a_publisher_may_have_just_put_stays() {
    let (dir, _, memory) = worn(Layout::Consistent);
    let young = Retention { keep: 1, keep_within: TimeDelta::days(1) };
    // the age of an object is the real clock's
    let bucket = memory.bucket();
    let now = bucket.modified("metadata/timestamp.json").unwrap().unwrap().into();
    let plan = open(dir.path(), now).plan_gc_of(&at(&memory), young, Duration::ZERO).unwrap();
    assert_eq!(plan.deleted().next(), None);
}

#[test]
fn a_collection_steps_back_where_somebody_has_published_since() {
    let (dir, keys, memory) = worn(Layout::Consistent);
    let repository = open(dir.path(), long_after());
    let plan = repository.plan_gc_of(&at(&memory), ONE, Duration::ZERO).unwrap();
    // a bucket has no lock that another copy of the repository would meet
    let copied = scratch();
    super::testing::copy(dir.path(), copied.path());
    let mut other = open(copied.path(), start());
    bump(&mut other, &["targets"]);
    write(&mut other, &keys);
    drop(other);
    publish(copied.path(), &at(&memory)).unwrap();
    let before = memory.contents();
    let error = repository.execute_gc(&plan, None).unwrap_err();
    assert!(matches!(error, RepositoryError::Overtaken { .. }), "{error}");
    assert_eq!(memory.contents(), before);
}

#[test]
fn what_goes_is_in_the_archive_first() {
    let (dir, _, memory) = worn(Layout::Consistent);
    let (before, kept) = (memory.contents(), Memory::named("s3://archive"));
    let folder = scratch();
    let plan = open(dir.path(), long_after()).plan_gc_of(&at(&memory), ONE, Duration::ZERO).unwrap();
    let plan = plan.into_collection();
    for archive in [Archive::Bucket(kept.bucket()), Archive::Folder(folder.path().to_owned())] {
        let memory = Memory::new();
        before.iter().for_each(|(name, bytes)| memory.plant(name, bytes));
        // where the archive breaks down, nothing goes
        if let Archive::Bucket(_) = archive {
            let broken = Archive::Bucket(kept.breaks_at(2, Breakdown::Before).bucket());
            assert!(collect(dir.path(), &memory, Some(&broken)).is_err());
            assert_eq!(memory.contents(), before);
        }
        collect(dir.path(), &memory, Some(&archive)).unwrap();
        assert!(!memory.contents().contains_key(plan.deleted().next().unwrap()));
    }
    for name in plan.deleted() {
        assert_eq!(kept.contents()[name], before[name], "{name}");
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), before[name], "{name}");
    }
    assert_eq!(kept.contents().len(), plan.delete.len());
}

#[test]
fn an_archive_with_other_bytes_is_refused_and_nothing_goes() {
    let (dir, _, memory) = worn(Layout::Consistent);
    let plan = open(dir.path(), long_after()).plan_gc_of(&at(&memory), ONE, Duration::ZERO).unwrap();
    let plan = plan.into_collection();
    let (before, archive) = (memory.contents(), Memory::named("s3://archive"));
    archive.plant(plan.deleted().next_back().unwrap(), b"something else");
    let error = collect(dir.path(), &memory, Some(&Archive::Bucket(archive.bucket()))).unwrap_err();
    assert!(matches!(error, RepositoryError::Refused { reason: Refusal::OtherBytes, .. }), "{error}");
    assert_eq!((memory.contents(), archive.contents().len()), (before, 1));
}

#[test]
fn an_archive_among_what_is_collected_is_refused() {
    let (dir, _, memory) = worn(Layout::Consistent);
    for inside in [memory.bucket(), memory.bucket().below("metadata"), memory.bucket().below("targets/old")] {
        let error = collect(dir.path(), &memory, Some(&Archive::Bucket(inside))).unwrap_err();
        assert!(matches!(error, RepositoryError::Input(InputError::ArchiveInside { .. })), "{error}");
    }
}

/// Says what `status` says to do next, and whether all that is written is live.
fn state(dir: &Path) -> (Vec<Step>, bool) {
    let status = Repository::open(dir, start()).unwrap().status().unwrap();
    (status.steps, status.published)
}

#[test]
fn what_was_published_to_the_bucket_of_the_policy_is_known_without_asking_it() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (dir, keys) = workshop(layout);
        let memory = Memory::new();
        let (dir, policy) = (dir.path(), dir.path().join("tuf-repo.toml"));
        let template = fs::read_to_string(&policy).unwrap();
        let publish_to =
            |to: &str| fs::write(&policy, format!("{template}\n[publish]\nto = \"{to}\"\n")).unwrap();
        publish_to("s3://downloads/tuf");
        let left = (vec![Step::Publish], false);
        let done = (Vec::new(), true);
        assert_eq!(state(dir), left);
        let publish = || {
            let plan = publish(dir, &at(&memory)).unwrap();
            open(dir, start()).remember_published(&plan).unwrap();
        };
        publish();
        assert_eq!(state(dir), done);
        let status = Repository::open(dir, start()).unwrap().status().unwrap();
        assert!(status.roles.iter().all(|role| role.live.is_some() && role.live == role.written));

        // what is written afterwards is not live, of whichever role
        for name in ["timestamp", "one"] {
            let mut repository = open(dir, start());
            bump(&mut repository, &[name]);
            write(&mut repository, &keys);
            drop(repository);
            assert_eq!(state(dir), left, "{name}");
            publish();
            assert_eq!(state(dir), done, "{name}");
        }
        // another place, or nothing known: it is to be published, which finds it in place
        publish_to("s3://elsewhere/tuf");
        assert_eq!(state(dir), left);
        publish_to("s3://downloads/tuf");
        assert_eq!(state(dir), done);
        for spoilt in [&b"{}"[..], b"no JSON"] {
            fs::write(dir.join(".tuf-published"), spoilt).unwrap();
            assert_eq!(state(dir), left);
        }
        fs::remove_file(dir.join(".tuf-published")).unwrap();
        assert_eq!(state(dir), left);
        publish();
        assert_eq!(state(dir), done);
    }
}

#[test]
fn an_expired_delegated_role_is_a_warning_where_the_bucket_has_it_and_a_refusal_where_it_has_not() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (dir, keys) = workshop(layout);
        let memory = Memory::new();
        let mut repository = open(dir.path(), start());
        repository.expire(&role("one"), start() + TimeDelta::days(2)).unwrap();
        write(&mut repository, &keys);
        drop(repository);
        publish(dir.path(), &at(&memory)).unwrap();
        let late = start() + TimeDelta::days(3);
        let mut repository = open(dir.path(), late);
        bump(&mut repository, &["timestamp"]);
        write(&mut repository, &keys);
        drop(repository);
        let plan = publish_at(dir.path(), late, &at(&memory)).unwrap();
        let [warning] = &plan.warnings[..] else { panic!("{:?}", plan.warnings) };
        assert!(warning.message.contains("one v2 expired"), "{warning:?}");
        let error = publish_at(dir.path(), late, &at(&Memory::new())).unwrap_err().to_string();
        assert!(error.contains("one v2 expired"), "{error}");
    }
}

/// The objects of a collection's targets: which are there that one does not list.
fn targets_of(memory: &Memory) -> Vec<String> {
    memory
        .contents()
        .into_keys()
        .filter(|name| name.starts_with("targets/") || name.starts_with("files/"))
        .collect()
}

#[test]
fn objects_that_no_record_names_stay_in_either_layout() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (dir, _, memory) = worn(layout);
        let old = "targets/ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb.a.txt";
        let foreign = [
            "targets/index.html".to_owned(),
            format!("targets/{}.tar.gz", "0a".repeat(32)),
            format!("targets/dir/{}.x", "0b".repeat(64)),
        ];
        foreign.iter().for_each(|name| memory.plant(name, b"mine"));
        // one byte, as was listed, and another one
        if layout == Layout::Consistent {
            memory.plant(old, b"b");
        }
        let plan = collect(dir.path(), &memory, None).unwrap();
        let left = targets_of(&memory);
        assert!(foreign.iter().all(|name| left.contains(name)), "{left:?}");
        assert_eq!(left.contains(&old.to_owned()), layout == Layout::Consistent);
        assert_eq!(plan.left.changed.number, usize::from(layout == Layout::Consistent));
        assert!(layout == Layout::Consistent || !plan.deleted().any(|name| name.starts_with("targets/")));
        verify(dir.path(), &memory);
    }
}

#[test]
fn the_record_of_an_object_that_is_too_young_to_go_stays_until_it_goes() {
    let (dir, _, memory) = worn(Layout::Consistent);
    let old = "targets/ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb.a.txt";
    memory.plant(old, b"a");
    let modified: DateTime<Utc> = memory.bucket().modified(old).unwrap().unwrap().into();
    let now = modified + TimeDelta::seconds(1);
    let repository = open(dir.path(), now);
    // the object is younger than that, and what the last snapshot has replaced is not
    let last = memory.bucket().modified("metadata/4.snapshot.json").unwrap().unwrap();
    let keep_within = now - DateTime::<Utc>::from(last) - TimeDelta::nanoseconds(1);
    let young = Retention { keep: 1, keep_within };
    let plan = repository.plan_gc_of(&at(&memory), young, Duration::ZERO).unwrap();
    repository.execute_gc(&plan, None).unwrap();
    let plan = plan.into_collection();
    drop(repository);
    let left = memory.contents();
    assert_eq!(plan.left.young, 1);
    assert!(left.contains_key(old) && left.contains_key("metadata/2.targets.json"), "{:?}", left.keys());
    assert!(!left.contains_key("metadata/2.snapshot.json") && !left.contains_key("metadata/3.targets.json"));
    let plan = collect(dir.path(), &memory, None).unwrap();
    assert_eq!(plan.deleted().collect::<Vec<_>>(), [old, "metadata/2.targets.json"]);
}

#[test]
fn objects_that_two_repositories_keep_together_stay_until_the_policy_says_whose_they_are() {
    let (memory, mut places) = (Memory::new(), Vec::new());
    for name in ["one", "two"] {
        let (dir, keys) = workshop(Layout::Consistent);
        let bucket = memory.bucket();
        let place = BucketPlace::apart(&bucket.below(name).below("metadata"), &bucket.below("files"));
        for text in ["a", "other"] {
            let mut repository = open(dir.path(), start());
            add(&mut repository, &[("a.txt", text)]);
            // whoever is second has the first bytes still
            let order: &[&str] = if name == "one" { &["targets"] } else { &["one"] };
            bump(&mut repository, order);
            write(&mut repository, &keys);
            drop(repository);
            if name == "one" || text == "a" {
                publish(dir.path(), &Destination::Bucket(place.clone())).unwrap();
            }
        }
        places.push(dir);
    }
    let dir = &places[0];
    let fresh = |name: &str| {
        let bucket = memory.bucket();
        Destination::Bucket(BucketPlace::apart(&bucket.below(name).below("metadata"), &bucket.below("files")))
    };
    let before = targets_of(&memory);
    let gc = |dir: &Path| {
        let repository = open(dir, long_after());
        let plan = repository.plan_gc_of(&fresh("one"), ONE, Duration::ZERO).unwrap();
        repository.execute_gc(&plan, None).unwrap();
        plan.into_collection()
    };
    let plan = gc(dir.path());
    assert_eq!((plan.left.unsaid, targets_of(&memory)), (1, before.clone()));
    let policy = dir.path().join("tuf-repo.toml");
    let template = fs::read_to_string(&policy).unwrap();
    let say =
        |word: &str| fs::write(&policy, format!("{template}\n[publish]\nshared-targets = {word}\n")).unwrap();
    say("true");
    let repository = open(dir.path(), long_after());
    assert_eq!(repository.plan_gc_of(&fresh("one"), ONE, Duration::ZERO).unwrap().left.shared, 1);
    drop(repository);
    let report = open(places[1].path(), start()).check_published(&fresh("two"), TargetBytes::Digest).unwrap();
    assert!(report.ok(), "{:?}", report.findings);
    say("false");
    assert_eq!(gc(dir.path()).deleted().filter(|name| name.starts_with("targets/")).count(), 1);
    assert_eq!(targets_of(&memory).len(), before.len() - 1);
}

#[test]
fn a_copy_pulls_from_a_bucket_and_publishes_without_the_target_files_that_are_there() {
    for layout in [Layout::Consistent, Layout::Plain] {
        let (dir, keys) = workshop(layout);
        let memory = Memory::new();
        publish(dir.path(), &at(&memory)).unwrap();
        let other = scratch();
        copy(dir.path(), other.path());
        fs::remove_dir_all(other.path().join(TARGETS)).unwrap();
        fs::create_dir(other.path().join(TARGETS)).unwrap();
        let pull = |dir: &Path| -> Result<PullPlan, RepositoryError> {
            let mut repository = open(dir, start());
            let plan = repository.plan_pull(&at(&memory), TargetFiles::Leave, Duration::ZERO)?;
            repository.execute_pull(&plan, &at(&memory), &|_| {})?;
            Ok(plan)
        };
        let release = |dir: &Path, name: &str| {
            let mut repository = open(dir, start());
            add(&mut repository, &[(name, name)]);
            write(&mut repository, &keys);
            drop(repository);
            publish(dir, &at(&memory)).unwrap()
        };
        release(dir.path(), "c.txt");
        assert!(pull(other.path()).unwrap().roles.contains_key(&role("targets")));
        release(other.path(), "d.txt");
        assert_eq!(pull(dir.path()).unwrap().gone, Vec::<String>::new());
        assert!(pull(dir.path()).unwrap().is_empty());
        let mut repository = open(other.path(), start());
        let plan = repository.plan_pull(&at(&memory), TargetFiles::Copy, Duration::ZERO).unwrap();
        let absent = repository.execute_pull(&plan, &at(&memory), &|_| {}).unwrap();
        assert!(absent.is_empty() && !plan.put().is_empty());
        drop(repository);
        let options =
            CheckOptions { side: Side::Staged, expiry: Expiry::Allow, targets: TargetBytes::Digest };
        assert!(check(other.path(), options, start()).unwrap().ok());
        // what is not in the bucket either is named
        fs::remove_dir_all(other.path().join(TARGETS)).unwrap();
        fs::create_dir(other.path().join(TARGETS)).unwrap();
        assert!(check_beside(other.path(), options, start(), &at(&memory)).unwrap().ok());
        let name = memory.contents().into_keys().find(|name| name.ends_with("a.txt")).unwrap();
        memory.lose(&name);
        assert!(!check_beside(other.path(), options, start(), &at(&memory)).unwrap().ok());
    }
}
