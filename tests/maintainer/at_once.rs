//! Several at once: clients that fetch while it is published and collected, publishers beside each other, and who holds
//! the lock.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use tuf::repository::{
    Destination, Expiry, Layout, METADATA, Replace, Repository, RepositoryError, Retention, TARGETS,
};

use crate::cli::{NOW, Site};
use crate::client::{Standing, served};
use crate::support::finish;
use crate::world::{World, copy_folder, temporary};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_client_in_a_loop_sees_no_error_through_200_publications_and_collections() {
    let mut world = World::written(Layout::Consistent);
    world.put("a", b"content 0");
    world.add("targets", &["a"], Replace::Refuse).unwrap();
    world.delegate("targets", "django", 4, &["django/*"]).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    let (live, targets) = (world.path(METADATA), world.path(TARGETS));
    let first = Standing::at_root(&live, 1);
    let home = temporary();
    let fetch = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        command.args(["--metadata-dir", "trusted"]).args(args).current_dir(home.path());
        finish(command).exits(0)
    };
    fetch(&["init", live.join("1.root.json").to_str().unwrap()]);
    let url = format!("file://{}", world.dir().display());
    let (done, updates, fetches) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut deleted = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut client = first.clone();
            while !done.load(Ordering::Relaxed) {
                client = client.update(&live).unwrap_or_else(|error| panic!("{error}")).0;
                served(&live, &targets, &client, "a client in a loop");
                updates.fetch_add(1, Ordering::Relaxed);
            }
        });
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fetch(&["--target-dir", "fetched", "--repo", &url]);
                fetches.fetch_add(1, Ordering::Relaxed);
            }
        });
        // the clients end when this ends, whichever way
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _end = End(&done);
        for publication in 1..=200 {
            world.now = Utc::now();
            let (by, path) = if publication % 3 == 0 { ("django", "django/b") } else { ("targets", "a") };
            world.put(path, format!("content {publication}").as_bytes());
            world.add(by, &[path], Replace::Allow).unwrap();
            let key = if by == "django" { 4 } else { 1 };
            world.write(&[key, 2, 3]).unwrap();
            world.publish().unwrap();
            // what was replaced this little ago is still being fetched
            let retention = Retention { keep: 1, keep_within: TimeDelta::seconds(4) };
            let repository = world.lock().unwrap();
            let plan = repository.plan_gc(retention, PATIENCE).unwrap();
            repository.execute_gc(&plan, None).unwrap();
            deleted += plan.delete.len();
        }
    });
    let (updates, fetches) = (updates.into_inner(), fetches.into_inner());
    assert!(updates > 10 && fetches > 3, "{updates} updates, {fetches} fetches");
    assert!(deleted > 0, "it took {updates} updates, and nothing was old enough to go");
}

#[test]
fn of_two_publishers_at_once_one_waits_or_says_so() {
    let site = Site::written();
    let spawn = |more: &[&str]| -> Child {
        let mut command = site.command(&["publish", "--to", "../www"]);
        command.args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for _ in 0..5 {
        let both = [spawn(&["--wait", "60s"]), spawn(&["--wait", "60s"])];
        for mut child in both {
            assert!(child.wait().unwrap().success());
        }
        for mut child in [spawn(&[]), spawn(&[])] {
            assert!(matches!(child.wait().unwrap().code(), Some(0 | 6)));
        }
    }
    site.run(&["publish", "--to", "../www", "--wait", "60s"]).exits(0);
}

#[test]
fn publishers_of_two_repositories_to_one_folder_exclude_each_other() {
    let here = World::written(Layout::Consistent);
    here.publish().unwrap();
    let there = temporary();
    copy_folder(&here.dir(), &there.path().join("copy"));
    let other = Repository::open_locked(&there.path().join("copy"), here.now, PATIENCE).unwrap();
    let to = Destination::Folder(there.path().join("www"));
    let own = here.lock().unwrap();
    let plan = |from: &Repository, wait| from.plan_publish(&to, Expiry::Enforce, wait);
    own.execute_publish(&plan(&own, PATIENCE).unwrap(), &|_| {}).unwrap();
    let held = plan(&other, PATIENCE).unwrap();
    let refused = plan(&own, Duration::ZERO).unwrap_err();
    assert!(matches!(refused, RepositoryError::Locked { .. }), "{refused}");
    drop(held);
    plan(&own, PATIENCE).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_names_its_holder_and_is_released_by_its_death() {
    let site = Site::written();
    site.run(&["bump", "targets"]).exits(0);
    // a signer that takes its time holds the lock open
    // and waits for the lock, which the edits below have for a moment
    let slow = ["write", "--wait", "60s", "--key", "exec:sleep 20"];
    let mut holder = site.command(&slow).stderr(Stdio::null()).spawn().unwrap();
    let expected = format!("is in use by process {} (tuf-repo write)\n", holder.id());
    let began = Instant::now();
    loop {
        let ran = site.run(&["bump", "root", "--dry-run"]);
        if ran.code == 6 && ran.stderr.contains(&expected) {
            assert_eq!(
                ran.stderr,
                format!(
                    "error: ./metadata.staged {expected}hint: wait for the other process: \
                     tuf-repo bump root --dry-run --time {NOW} --wait 30s\n"
                )
            );
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{ran:?}");
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    site.run(&["bump", "root", "--wait", "60s"]).exits(0);
}
