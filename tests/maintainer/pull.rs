//! Two copies of one repository: what one has published, the other takes over before it goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use tempfile::TempDir;
use tuf::repository::{
    BinKind, Destination, Execution, Expiry, FolderSource, InputError, Layout, PullPlan, PullRequest,
    Relation, Replace, RepositoryError, Step, TargetFiles, Trust, Work, adopt,
};

use crate::cli::Site;
use crate::delegates::forge;
use crate::support::{Ran, finish};
use crate::world::{Edited, World, contents, copy_folder, delegation, difference, role, tree};

/// Between fork and exec the child of another test holds every lock of this process.
const WAIT: Duration = Duration::from_secs(20);
const LAYOUTS: [Layout; 2] = [Layout::Consistent, Layout::Plain];
const OURS: [usize; 4] = [0, 1, 2, 3];

/// Two copies of one repository that is published in a folder.
struct Team {
    one: World,
    two: World,
    www: TempDir,
}

impl Team {
    fn new(layout: Layout) -> Self {
        Self::of(World::written(layout))
    }

    fn of(one: World) -> Self {
        one.put("a", b"a");
        one.add("targets", &["a"], Replace::Refuse).unwrap();
        one.write(&OURS).unwrap();
        let www = crate::world::temporary();
        publish(&one, www.path()).unwrap();
        // the other has the metadata from version control, and no target files
        let two = one.twin();
        fs::remove_dir_all(two.path("targets")).unwrap();
        Self { one, two, www }
    }

    fn release(&self, world: &World, name: &str) -> Edited<()> {
        list(world, name)?;
        world.write(&OURS)?;
        publish(world, self.www.path())
    }

    fn pull(&self, world: &World) -> Edited<PullPlan> {
        pull(world, self.www.path(), TargetFiles::Leave)
    }
}

fn list(world: &World, name: &str) -> Edited<()> {
    world.put(name, name.as_bytes());
    world.add("targets", &[name], Replace::Refuse)
}

fn publish(world: &World, to: &Path) -> Edited<()> {
    let repository = world.lock()?;
    let to = Destination::Folder(to.to_owned());
    let plan = repository.plan_publish(&to, Expiry::Enforce, WAIT)?;
    repository.execute_publish(&plan, &|_| ())
}

fn pull(world: &World, from: &Path, targets: TargetFiles) -> Edited<PullPlan> {
    let from = Destination::Folder(from.to_owned());
    let mut repository = world.lock()?;
    let plan = repository.plan_pull(&from, targets, WAIT)?;
    repository.execute_pull(&plan, &from, &|_| ())?;
    Ok(plan)
}

/// The written files of a copy, and what is live: they say the same once it was pulled.
fn assert_same_state(world: &World, www: &Path) {
    let (staged, live) = (contents(&world.path("metadata.staged")), contents(&www.join("metadata")));
    let number = |name: &str| {
        name.split_once('.').and_then(|(number, rest)| Some((number.parse::<u64>().ok()?, rest.to_owned())))
    };
    for (name, bytes) in &live {
        let role = number(name).map(|(_, role)| role).filter(|role| role != "root.json");
        let is_newest = |role: &String| {
            !live
                .keys()
                .filter_map(|name| number(name))
                .any(|(version, of)| of == *role && number(name).is_some_and(|(own, _)| own < version))
        };
        if role.is_none_or(|role| is_newest(&role)) {
            assert!(staged.get(name) == Some(bytes), "{name}");
        }
    }
}

#[test]
fn a_release_of_a_colleague_is_taken_over_and_built_upon_and_neither_is_lost() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.release(&team.one, "b").unwrap();
        team.release(&team.one, "c").unwrap();
        let plan = team.pull(&team.two).unwrap();
        assert_eq!(plan.roles[&role("targets")], 4, "{plan:?}");
        assert!(plan.gone.is_empty() && plan.jumps.is_empty());
        assert_same_state(&team.two, team.www.path());
        assert!(team.pull(&team.two).unwrap().is_empty());
        // without the bytes of a, b and c
        team.release(&team.two, "d").unwrap();
        let plan = team.pull(&team.one).unwrap();
        assert_eq!(plan.changes.len(), 3, "{plan:?}");
        assert_same_state(&team.one, team.www.path());
        let repository = team.one.open();
        let listed = &repository
            .staged()
            .targets(&role("targets"))
            .unwrap()
            .written
            .as_ref()
            .unwrap()
            .signed()
            .targets;
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        // the first goes on without the bytes of d
        team.release(&team.one, "e").unwrap();
        team.pull(&team.two).unwrap();
    }
}

#[test]
fn delegated_roles_and_hash_bins_come_along() {
    for layout in LAYOUTS {
        for kind in [BinKind::Succinct, BinKind::Classic] {
            let world = World::written(layout);
            world.delegate("targets", "team", 1, &["team/*"]).unwrap();
            let team = Team::of(world);
            let mut bins = delegation("team", "bin", 1, &[]);
            bins.trust = Trust::Bins { number: 4, kind };
            team.one.edit(|repository| repository.delegate(bins)).unwrap();
            team.one.put("team/x", b"x");
            team.one.add("bin", &["team/x"], Replace::Refuse).unwrap();
            team.one.write(&OURS).unwrap();
            publish(&team.one, team.www.path()).unwrap();
            let plan = team.pull(&team.two).unwrap();
            assert!(plan.roles.contains_key(&role("bin-2")), "{plan:?}");
            assert_same_state(&team.two, team.www.path());
            team.release(&team.two, "y").unwrap();
        }
    }
}

#[test]
fn a_copy_that_only_refreshes_and_one_that_releases_go_on_after_each_other() {
    for layout in LAYOUTS {
        let mut team = Team::new(layout);
        for day in 0..9 {
            team.two.after(TimeDelta::hours(20));
            team.one.now = team.two.now;
            team.two.refresh(&[2, 3]).unwrap();
            publish(&team.two, team.www.path()).unwrap();
            team.pull(&team.one).unwrap();
            if day % 3 == 0 {
                team.release(&team.one, &format!("day-{day}")).unwrap();
                team.pull(&team.two).unwrap();
            }
        }
        assert_same_state(&team.one, team.www.path());
    }
}

#[test]
fn a_timestamp_of_the_cron_job_is_pulled_under_drafts_and_under_a_release_that_waits() {
    for layout in LAYOUTS {
        let mut team = Team::new(layout);
        list(&team.one, "b").unwrap();
        team.two.after(TimeDelta::hours(13));
        team.one.now = team.two.now;
        team.two.refresh(&[3]).unwrap();
        publish(&team.two, team.www.path()).unwrap();
        // drafts stay what they are
        let plan = team.pull(&team.one).unwrap();
        assert_eq!(plan.roles.keys().map(|role| role.as_str()).collect::<Vec<_>>(), ["timestamp"]);
        team.one.write(&OURS).unwrap();
        // the cron job is quicker once more
        team.two.after(TimeDelta::hours(13));
        team.one.now = team.two.now;
        for _ in 0..2 {
            team.two.edit(|repository| repository.bump(&role("timestamp"), None)).unwrap();
            team.two.write(&[3]).unwrap();
            publish(&team.two, team.www.path()).unwrap();
        }
        let plan = team.pull(&team.one).unwrap();
        let live = team.two.versions("timestamp").0.unwrap();
        assert_eq!((plan.timestamp, plan.roles.len()), (Some(live + 1), 0));
        assert!(team.pull(&team.one).unwrap().is_empty());
        team.one.write(&[3]).unwrap();
        publish(&team.one, team.www.path()).unwrap();
        team.pull(&team.two).unwrap();
        assert_same_state(&team.two, team.www.path());
    }
}

#[test]
fn drafts_and_unpublished_work_are_named_and_nothing_moves() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        list(&team.two, "mine").unwrap();
        team.release(&team.one, "b").unwrap();
        let before = tree(&team.two.dir());
        match team.pull(&team.two) {
            Err(RepositoryError::InTheWay { drafted, unpublished }) => {
                assert_eq!((drafted, unpublished), (vec![role("targets")], Vec::new()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
        team.two.write(&OURS).unwrap();
        let before = tree(&team.two.dir());
        match team.pull(&team.two) {
            Err(RepositoryError::InTheWay { drafted, unpublished }) => {
                assert_eq!((drafted, unpublished), (Vec::new(), vec![(role("targets"), 3)]));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
    }
}

#[test]
fn where_nothing_or_less_is_live_there_is_nothing_to_do() {
    let team = Team::new(Layout::Consistent);
    let empty = crate::world::temporary();
    let plan = pull(&team.one, empty.path(), TargetFiles::Leave).unwrap();
    assert!(plan.is_empty() && !plan.is_published);
    list(&team.one, "b").unwrap();
    team.one.write(&OURS).unwrap();
    let before = tree(&team.one.dir());
    let plan = team.pull(&team.one).unwrap();
    assert!(plan.is_empty() && plan.is_published);
    assert_eq!(difference(&before, &tree(&team.one.dir())), Vec::<String>::new());
}

#[test]
fn a_root_that_went_apart_is_never_merged() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        for (world, key) in [(&team.one, 4), (&team.two, 5)] {
            world
                .edit(|repository| repository.add_key(&role("root"), crate::world::public(key), None))
                .unwrap();
            world.write(&[0, 1, 2, 3]).unwrap();
        }
        publish(&team.one, team.www.path()).unwrap();
        let before = tree(&team.two.dir());
        match team.pull(&team.two) {
            Err(RepositoryError::Forked { version, ours, theirs, .. }) => {
                assert_eq!((version, ours.keyids.len(), theirs.keyids.len()), (2, 2, 2));
                assert!(ours.sha256 != theirs.sha256 && ours.keyids != theirs.keyids);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
    }
}

#[test]
fn of_roots_that_went_apart_both_are_named_and_no_command_takes_one_for_the_other() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        for (world, key) in [(&team.one, 4), (&team.two, 5)] {
            world
                .edit(|repository| repository.add_key(&role("root"), crate::world::public(key), None))
                .unwrap();
            world.write(&[0, 1, 2, 3]).unwrap();
        }
        publish(&team.one, team.www.path()).unwrap();
        let before = tree(&team.two.dir());
        let www = team.www.path().to_str().unwrap();
        for more in [&[][..], &["--yes"], &["--set-aside", "--yes"]] {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tuf-repo"));
            command.args(["--time", crate::cli::NOW, "pull", "--from", www]).args(more);
            command.current_dir(team.two.dir()).env_remove("TUF_REPO");
            let ran = finish(command).exits(3);
            for file in
                [team.two.path("metadata.staged/2.root.json"), team.www.path().join("metadata/2.root.json")]
            {
                let bytes = fs::read(file).unwrap();
                let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes));
                assert!(ran.stderr.contains(&digest), "{ran:?}");
            }
            let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap();
            assert!(
                hint.starts_with("hint: ask the people who signed") && !hint.contains("tuf-repo"),
                "{hint}"
            );
        }
        assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
    }
}

/// Takes over what is live, and keeps the work that is in the way.
fn pull_aside(world: &World, from: &Path) -> Edited<PullPlan> {
    let from = Destination::Folder(from.to_owned());
    let mut repository = world.lock()?;
    let request = PullRequest { targets: TargetFiles::Leave, work: Work::SetAside, wait: WAIT };
    let plan = repository.plan_pull_with(&from, request)?;
    repository.execute_pull(&plan, &from, &|_| ())?;
    Ok(plan)
}

#[test]
fn two_releases_that_nobody_published_and_a_draft_are_kept_aside_byte_for_byte_and_can_be_made_again() {
    for layout in LAYOUTS {
        let world = World::written(layout);
        world.delegate("targets", "team", 1, &["team/*"]).unwrap();
        let team = Team::of(world);
        for name in ["mine", "mine too"] {
            list(&team.two, name).unwrap();
            team.two.write(&OURS).unwrap();
        }
        team.two.put("team/x", b"x");
        team.two.add("team", &["team/x"], Replace::Refuse).unwrap();
        team.release(&team.one, "b").unwrap();
        team.one.put("team/y", b"y");
        team.one.add("team", &["team/y"], Replace::Refuse).unwrap();
        team.one.write(&OURS).unwrap();
        publish(&team.one, team.www.path()).unwrap();
        let policy = fs::read(team.two.path("tuf-repo.toml")).unwrap();
        let number = if layout == Layout::Consistent { "4." } else { "" };
        let written = fs::read(team.two.path(&format!("metadata.staged/{number}targets.json"))).unwrap();
        let draft = fs::read(team.two.path("metadata.staged/.drafts/team.json")).unwrap();
        let plan = pull_aside(&team.two, team.www.path()).unwrap();
        let kept: Vec<Vec<u8>> =
            plan.aside.keys().map(|name| fs::read(team.two.path(name)).unwrap()).collect();
        assert_eq!(kept.len(), 2, "{:?}", plan.aside.keys());
        assert!(kept.contains(&written) && kept.contains(&draft), "{:?}", plan.aside.keys());
        assert_eq!(fs::read(team.two.path("tuf-repo.toml")).unwrap(), policy);
        assert_same_state(&team.two, team.www.path());
        assert_eq!(team.two.dirty(), Vec::<String>::new());
        assert!(pull_aside(&team.two, team.www.path()).unwrap().aside.is_empty());
        // made again, it goes on from the colleague's release
        list(&team.two, "mine").unwrap();
        team.two.write(&OURS).unwrap();
        publish(&team.two, team.www.path()).unwrap();
        team.pull(&team.one).unwrap();
        let repository = team.one.open();
        let listed = repository.staged().targets(&role("targets")).unwrap().written.as_ref().unwrap();
        assert_eq!(listed.signed().targets.keys().collect::<Vec<_>>(), ["a", "b", "mine"]);
    }
}

#[test]
fn a_written_root_that_goes_on_from_lives_stays_while_the_rest_is_taken_over() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.two.edit(|repository| repository.add_key(&role("root"), crate::world::public(4), None)).unwrap();
        team.two.write(&OURS).unwrap();
        // the colleague's cron job publishes while the ceremony goes on
        for name in ["b", "c"] {
            team.release(&team.one, name).unwrap();
        }
        assert!(publish(&team.two, team.www.path()).is_err());
        let plan = team.pull(&team.two).unwrap();
        assert!(!plan.roles.contains_key(&role("root")), "{:?}", plan.roles);
        assert!(team.two.path("metadata.staged/2.root.json").exists());
        publish(&team.two, team.www.path()).unwrap();
        assert_eq!(team.pull(&team.one).unwrap().roles[&role("root")], 2);
        team.release(&team.one, "d").unwrap();
    }
}

#[test]
fn of_an_older_place_with_a_newer_root_only_the_root_is_taken() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        let apart = crate::world::temporary();
        publish(&team.one, apart.path()).unwrap();
        team.two.edit(|repository| repository.add_key(&role("root"), crate::world::public(4), None)).unwrap();
        team.two.write(&OURS).unwrap();
        publish(&team.two, apart.path()).unwrap();
        team.release(&team.one, "b").unwrap();
        let timestamp = || fs::read(team.one.path("metadata.staged/timestamp.json")).unwrap();
        let before = timestamp();
        let plan = pull(&team.one, apart.path(), TargetFiles::Leave).unwrap();
        assert_eq!(plan.roles.keys().collect::<Vec<_>>(), [&role("root")]);
        assert_eq!(timestamp(), before);
        publish(&team.one, team.www.path()).unwrap();
        team.release(&team.one, "c").unwrap();
    }
}

#[test]
fn written_work_that_was_never_live_is_named_however_far_live_is_ahead() {
    let team = Team::new(Layout::Consistent);
    list(&team.two, "mine").unwrap();
    team.two.write(&OURS).unwrap();
    for path in ["b", "c", "d"] {
        team.release(&team.one, path).unwrap();
    }
    let before = tree(&team.two.dir());
    match team.pull(&team.two) {
        Err(RepositoryError::InTheWay { unpublished, .. }) => assert_eq!(unpublished, [(role("targets"), 3)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
    pull_aside(&team.two, team.www.path()).unwrap();
}

#[test]
fn a_new_root_is_followed_step_by_step_and_a_forged_one_is_refused() {
    let team = Team::new(Layout::Consistent);
    for key in [4, 5] {
        team.one
            .edit(|repository| repository.add_key(&role("root"), crate::world::public(key), None))
            .unwrap();
        team.one.write(&[0, 1, 2, 3]).unwrap();
    }
    publish(&team.one, team.www.path()).unwrap();
    let second = team.www.path().join("metadata/2.root.json");
    let good = fs::read_to_string(&second).unwrap();
    fs::write(&second, good.replace("\"sig\": \"", "\"sig\": \"00")).unwrap();
    assert!(matches!(team.pull(&team.two), Err(RepositoryError::Refused { .. })));
    fs::write(&second, good).unwrap();
    assert_eq!(team.pull(&team.two).unwrap().roles[&role("root")], 3);
    assert_same_state(&team.two, team.www.path());
}

/// What somebody with the keys of snapshot and timestamp can make of a copy that has not followed for some time.
fn thief(old: &Path, of: &World) -> World {
    let thief = of.twin();
    fs::remove_dir_all(thief.dir()).unwrap();
    copy_folder(old, &thief.dir());
    thief.edit(|repository| repository.bump(&role("timestamp"), Some(9))).unwrap();
    thief
}

#[test]
fn live_that_leads_back_to_an_older_snapshot_is_refused() {
    let team = Team::new(Layout::Consistent);
    let old = crate::world::temporary();
    copy_folder(&team.one.dir(), old.path());
    team.release(&team.one, "b").unwrap();
    team.release(&team.one, "c").unwrap();
    team.pull(&team.two).unwrap();
    let thief = thief(old.path(), &team.one);
    thief.edit(|repository| repository.bump(&role("snapshot"), Some(3))).unwrap();
    thief.write(&[2, 3]).unwrap();
    for name in ["3.snapshot.json", "timestamp.json"] {
        let to = team.www.path().join("metadata").join(name);
        fs::copy(thief.path("metadata.staged").join(name), to).unwrap();
    }
    let before = tree(&team.two.dir());
    match team.pull(&team.two) {
        Err(RepositoryError::Refused { file, .. }) => assert_eq!(file, "metadata/4.snapshot.json"),
        other => panic!("{other:?}"),
    }
    assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
}

#[test]
fn a_new_timestamp_over_a_snapshot_of_the_past_is_only_signed_over() {
    let team = Team::new(Layout::Consistent);
    let old = crate::world::temporary();
    copy_folder(&team.one.dir(), old.path());
    team.release(&team.one, "b").unwrap();
    team.pull(&team.two).unwrap();
    let thief = thief(old.path(), &team.one);
    thief.write(&[3]).unwrap();
    let to = team.www.path().join("metadata/timestamp.json");
    fs::copy(thief.path("metadata.staged/timestamp.json"), to).unwrap();
    // what it leads to is known; the timestamp alone is another one
    let plan = team.pull(&team.two).unwrap();
    assert_eq!((plan.roles.len(), plan.timestamp), (0, Some(10)));
}

/// Returns where the file of a role is live.
fn live(team: &Team, layout: Layout, name: &str, version: u64) -> PathBuf {
    let name = match layout {
        Layout::Consistent => format!("{version}.{name}.json"),
        Layout::Plain => format!("{name}.json"),
    };
    team.www.path().join("metadata").join(name)
}

#[test]
fn names_of_our_own_come_in_by_no_pull_and_roles_that_none_can_be_are_left_out() {
    for layout in LAYOUTS {
        for name in [".tuf-x", "a/.TUF-tmp/x"] {
            let team = Team::new(layout);
            team.release(&team.one, "b").unwrap();
            forge(&live(&team, layout, "targets", 3), &[1], |signed| {
                signed["targets"][name] = signed["targets"]["b"].clone();
            });
            let before = tree(&team.two.dir());
            match team.pull(&team.two) {
                Err(RepositoryError::Input(InputError::Unfit { path, .. })) => assert_eq!(path, name),
                other => panic!("{other:?}"),
            }
            assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
        }
        for name in [".drafts/x", "../x", "2.root"] {
            let team = Team::new(layout);
            team.release(&team.one, "b").unwrap();
            let key = crate::world::public(4);
            forge(&live(&team, layout, "targets", 3), &[1], |signed| {
                signed["delegations"] = serde_json::json!({
                    "keys": { key.id().to_string(): key },
                    "roles": [{
                        "name": name, "keyids": [key.id().to_string()], "threshold": 1, "terminating": false,
                        "paths": ["*"],
                    }],
                });
            });
            team.pull(&team.two).unwrap();
            let repository = team.two.open();
            assert!(!repository.staged().graph().contains(&crate::world::role(name)), "{name}");
        }
    }
}

#[test]
fn the_key_of_the_snapshot_plants_no_root_and_no_other_file_that_no_role_could_have() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.release(&team.one, "b").unwrap();
        forge(&live(&team, layout, "snapshot", 3), &[2], |signed| {
            for (name, version) in [("root", 9), ("8.root", 1), ("timestamp", 7), ("snapshot", 6), (".x", 1)]
            {
                signed["meta"][format!("{name}.json")] = serde_json::json!({ "version": version });
            }
        });
        let planted = [
            "9.root.json",
            "8.root.json",
            "1.8.root.json",
            "7.timestamp.json",
            "6.snapshot.json",
            "1..x.json",
            ".x.json",
        ];
        let live = team.www.path().join("metadata");
        planted.iter().for_each(|name| fs::write(live.join(name), "planted").unwrap());
        let assert_none = |folder: PathBuf| {
            for name in planted {
                assert!(!folder.join(name).exists(), "{layout:?}: {}/{name}", folder.display());
            }
        };
        team.pull(&team.two).unwrap();
        assert_none(team.two.path("metadata.staged"));
        let adopted = crate::world::temporary();
        let source = FolderSource::new(team.www.path());
        let root = fs::read(live.join("1.root.json")).unwrap();
        let into = adopted.path().join("new");
        adopt(&into, &source, &root, team.one.now, Execution::Real, WAIT, &|_| ()).unwrap();
        assert_none(into.join("metadata.staged"));
        assert_none(into.join("metadata"));
        for name in planted {
            fs::write(team.two.path("metadata.staged").join(name), "planted").unwrap();
        }
        copy_folder(&team.www.path().join("targets"), &team.two.path("targets"));
        let www = crate::world::temporary();
        publish(&team.two, www.path()).unwrap();
        assert_none(www.path().join("metadata"));
    }
}

#[test]
fn a_file_that_nobody_could_verify_gets_no_line_and_replaces_nothing() {
    for layout in LAYOUTS {
        for version in [1, 2] {
            let world = World::written(layout);
            world.delegate("targets", "team", 1, &["team/*"]).unwrap();
            let team = Team::of(world);
            if version == 2 {
                team.one.edit(|repository| repository.bump(&role("team"), None)).unwrap();
            }
            team.release(&team.one, "b").unwrap();
            let file = live(&team, layout, "team", version);
            // by a key that nobody trusts
            forge(&file, &[7], |signed| signed["planted"] = true.into());
            let before = contents(&team.two.dir());
            if version == 1 {
                // other bytes of the very version that is written here
                let refused = team.pull(&team.two).unwrap_err();
                assert!(matches!(refused, RepositoryError::InTheWay { .. }), "{refused}");
                assert_eq!(difference(&before, &contents(&team.two.dir())), Vec::<String>::new());
                continue;
            }
            let plan = team.pull(&team.two).unwrap();
            assert!(!plan.roles.contains_key(&role("team")) && !plan.warnings.is_empty(), "{plan:?}");
            let after = contents(&team.two.dir());
            let ours = before.iter().filter(|(name, _)| name.ends_with("team.json"));
            ours.for_each(|(name, bytes)| assert!(after.get(name) == Some(bytes), "{name} is replaced"));
            let lines = |files: &std::collections::BTreeMap<String, Vec<u8>>| -> Vec<String> {
                let text = String::from_utf8(files[".tuf-history"].clone()).unwrap();
                text.lines().filter(|line| line.starts_with("team ")).map(str::to_owned).collect()
            };
            assert_eq!(lines(&before), lines(&after));
        }
    }
}

#[test]
fn a_timestamp_and_a_listed_version_that_jump_are_named_on_every_path() {
    let team = Team::new(Layout::Consistent);
    let old = crate::world::temporary();
    copy_folder(&team.one.dir(), old.path());
    team.release(&team.one, "b").unwrap();
    team.pull(&team.two).unwrap();
    let thief = thief(old.path(), &team.one);
    thief.write(&[3]).unwrap();
    let timestamp = team.www.path().join("metadata/timestamp.json");
    fs::copy(thief.path("metadata.staged/timestamp.json"), &timestamp).unwrap();
    forge(&timestamp, &[3], |signed| signed["version"] = 5000.into());
    let copy = team.two.twin();
    let plan = team.pull(&copy).unwrap();
    assert_eq!((plan.roles.len(), plan.timestamp), (0, Some(5001)));
    assert!(plan.is_doubtful() && plan.jumps[0].contains("timestamp"), "{:?}", plan.jumps);
    assert!(!team.pull(&copy).unwrap().is_doubtful());
    // a role that only the snapshot lists
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.release(&team.one, "b").unwrap();
        forge(&live(&team, layout, "snapshot", 3), &[2], |signed| {
            signed["meta"]["gone.json"] = serde_json::json!({ "version": 5000 });
        });
        let plan = team.pull(&team.two).unwrap();
        assert!(plan.jumps.len() == 1 && plan.jumps[0].contains("gone v0 to v5000"), "{:?}", plan.jumps);
    }
}

#[test]
fn a_version_that_leaves_no_room_for_the_next_is_never_pulled() {
    const LAST: u64 = i64::MAX as u64;
    for layout in LAYOUTS {
        for version in [LAST, LAST - 1, 1 << 53] {
            let team = Team::new(layout);
            let timestamp = team.www.path().join("metadata/timestamp.json");
            forge(&timestamp, &[3], |signed| signed["version"] = version.into());
            // where live is what this copy went on from, and where it is not
            let ahead = team.two.twin();
            copy_folder(&team.one.path("targets"), &ahead.path("targets"));
            list(&ahead, "mine").unwrap();
            ahead.write(&OURS).unwrap();
            for world in [&team.two, &ahead] {
                let before = tree(&world.dir());
                match team.pull(world) {
                    Err(RepositoryError::Input(InputError::LastVersion { role: of, version: stated })) => {
                        assert_eq!((of, stated), (role("timestamp"), version));
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(difference(&before, &tree(&world.dir())), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn the_command_line_asks_before_it_drafts_a_timestamp_above_one_that_jumps() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let sites = Sites::new(flags);
        sites.second(&["bump", "targets"]).exits(0);
        sites.second(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"]).exits(0);
        sites.site.run(&["bump", "timestamp", "--version", "5000"]).exits(0);
        sites.site.write_all().exits(0);
        sites.site.run(&["publish", "--to", "../www"]).exits(0);
        let before = tree(&sites.two);
        let refused = sites.second(&["pull", "--from", "../www"]).exits(3);
        assert!(
            refused.stderr.starts_with("error: `pull` needs `--yes`: versions would jump: ")
                && refused.stderr.contains("v5000"),
            "{refused:?}"
        );
        assert_eq!(difference(&before, &tree(&sites.two)), Vec::<String>::new());
        let dry = sites.second(&["pull", "--from", "../www", "--dry-run"]).exits(0);
        assert!(dry.stderr.contains("versions would jump: metadata: timestamp v2 to v5000"), "{dry:?}");
        let ran = sites.second(&["pull", "--from", "../www", "--yes"]).exits(0);
        assert!(ran.stderr.contains("Drafted timestamp v5001"), "{ran:?}");
    }
}

#[test]
fn what_vanishes_and_what_jumps_is_named() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.one.edit(|repository| repository.remove_targets(&["a".to_owned()], None)).unwrap();
        team.one.edit(|repository| repository.bump(&role("targets"), Some(5000))).unwrap();
        team.release(&team.one, "b").unwrap();
        let plan = team.pull(&team.two).unwrap();
        assert_eq!(plan.gone, ["target 'a'"]);
        assert!(plan.jumps.len() == 1 && plan.jumps[0].contains("targets v2 to v5000"), "{:?}", plan.jumps);
        assert!(plan.is_doubtful());
    }
}

#[test]
fn a_killed_pull_is_finished_by_the_next_wherever_it_was() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.one.delegate("targets", "team", 1, &["team/*"]).unwrap();
        team.one.edit(|repository| repository.add_key(&role("root"), crate::world::public(4), None)).unwrap();
        team.release(&team.one, "b").unwrap();
        let done = team.two.twin();
        team.pull(&done).unwrap();
        let (before, after) = (contents(&team.two.dir()), contents(&done.dir()));
        // in the order in which they are put
        let rank = |name: &str| match name {
            ".tuf-history" => 0,
            name if name.ends_with("timestamp.json") => 5,
            "metadata.staged/root.json" => 4,
            name if name.ends_with("root.json") => 3,
            name if name.ends_with("snapshot.json") => 2,
            _ => 1,
        };
        let mut names: Vec<&String> =
            after.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
        names.sort_by_key(|name| rank(name));
        assert!(names.len() >= 6, "{names:?}");
        for killed in 0..names.len() {
            let copy = team.two.twin();
            for name in &names[..killed] {
                fs::write(copy.path(name), &after[*name]).unwrap();
            }
            team.pull(&copy).unwrap_or_else(|error| panic!("after {killed} of {names:?}: {error}"));
            assert_eq!(
                difference(&after, &contents(&copy.dir())),
                Vec::<String>::new(),
                "{killed} of {names:?}"
            );
        }
    }
}

#[test]
fn target_files_are_copied_where_they_are_asked_for_and_checked() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.release(&team.one, "b").unwrap();
        pull(&team.two, team.www.path(), TargetFiles::Copy).unwrap();
        let names = |world: &Path| {
            contents(&world.join("targets"))
                .into_keys()
                .filter(|name| !name.ends_with('/'))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&team.two.dir()), names(team.www.path()));
        team.release(&team.one, "c").unwrap();
        for name in names(team.www.path()).iter().filter(|name| name.ends_with('c')) {
            fs::write(team.www.path().join("targets").join(name), "!").unwrap();
        }
        let before = tree(&team.two.dir());
        assert!(matches!(
            pull(&team.two, team.www.path(), TargetFiles::Copy),
            Err(RepositoryError::Refused { .. })
        ));
        assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
    }
}

#[test]
fn copied_targets_never_replace_a_file_that_is_not_the_listed_one() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        team.release(&team.one, "b").unwrap();
        let names = contents(&team.www.path().join("targets")).into_keys();
        // longer, empty, and as long as what is listed
        for (name, own) in names.flat_map(|name| ["mine", "", "!"].map(|own| (name.clone(), own))) {
            let copy = team.two.twin();
            fs::create_dir(copy.path("targets")).unwrap();
            fs::write(copy.path("targets").join(&name), own).unwrap();
            let before = tree(&copy.dir());
            match pull(&copy, team.www.path(), TargetFiles::Copy) {
                Err(RepositoryError::Input(InputError::TargetThere { path })) => assert_eq!(path, name),
                other => panic!("{name} with '{own}': {other:?}"),
            }
            assert_eq!(difference(&before, &tree(&copy.dir())), Vec::<String>::new());
            // moved away, the same pull goes on
            fs::remove_file(copy.path("targets").join(&name)).unwrap();
            pull(&copy, team.www.path(), TargetFiles::Copy).unwrap();
            assert!(pull(&copy, team.www.path(), TargetFiles::Copy).unwrap().is_empty());
        }
    }
}

#[test]
fn copied_targets_never_replace_a_folder_or_a_file_that_came_after_the_question() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        let name = contents(&team.www.path().join("targets")).into_keys().next().unwrap();
        let place = team.two.path("targets").join(&name);
        fs::create_dir_all(&place).unwrap();
        let refused = pull(&team.two, team.www.path(), TargetFiles::Copy).unwrap_err();
        assert!(matches!(refused, RepositoryError::Input(InputError::TargetThere { .. })), "{refused}");
        fs::remove_dir(&place).unwrap();
        let from = Destination::Folder(team.www.path().to_owned());
        let mut repository = team.two.lock().unwrap();
        let plan = repository.plan_pull(&from, TargetFiles::Copy, WAIT).unwrap();
        fs::write(&place, "mine").unwrap();
        let before = tree(&team.two.dir());
        let refused = repository.execute_pull(&plan, &from, &|_| ()).unwrap_err();
        assert!(matches!(refused, RepositoryError::Input(InputError::TargetThere { .. })), "{refused}");
        assert_eq!(difference(&before, &tree(&team.two.dir())), Vec::<String>::new());
    }
}

#[test]
fn what_is_not_here_and_not_there_is_refused_by_publish() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        let site = team.www.path().join("targets");
        for name in contents(&site).into_keys() {
            fs::remove_file(site.join(name)).unwrap();
        }
        let error = team.release(&team.two, "b").unwrap_err().to_string();
        assert!(error.contains("targets/") && error.contains("missing"), "{error}");
        // a new target needs its bytes here
        let team = Team::new(layout);
        list(&team.two, "b").unwrap();
        team.two.write(&OURS).unwrap();
        fs::remove_dir_all(team.two.path("targets")).unwrap();
        fs::create_dir(team.two.path("targets")).unwrap();
        let error = publish(&team.two, team.www.path()).unwrap_err().to_string();
        assert!(error.contains("b: missing"), "{error}");
    }
}

/// Two checkouts beside each other that publish to a third folder.
struct Sites {
    site: Site,
    two: PathBuf,
}

impl Sites {
    fn new(flags: &[&str]) -> Self {
        let site = Site::written_with(flags);
        site.run(&["publish", "--to", "../www"]).exits(0);
        let two = site.folder.path("two");
        copy_folder(&site.repository(), &two);
        Self { site, two }
    }

    fn second(&self, args: &[&str]) -> Ran {
        let mut command = self.site.folder.command(args);
        command.current_dir(&self.two).args(["--time", crate::cli::NOW]);
        finish(command)
    }

    fn release(&self, name: &str) {
        self.site.put(name, name);
        self.site.run(&["add-targets", &format!("targets/{name}")]).exits(0);
        self.site.write_all().exits(0);
        self.site.run(&["publish", "--to", "../www"]).exits(0);
    }
}

#[test]
fn the_command_line_takes_over_asks_and_says_what_leads_on() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let sites = Sites::new(flags);
        let pull = ["pull", "--from", "../www"];
        assert!(sites.second(&pull).exits(0).stderr.contains("Nothing to do"));
        let nothing = sites.second(&["pull", "--from", "../nothing"]).exits(2);
        assert!(nothing.stderr.contains("no repository has been published there"), "{nothing:?}");
        assert!(sites.second(&["pull"]).exits(0).stderr.contains("nothing is published"));
        sites.release("a.txt");
        let before = tree(&sites.two);
        let dry = sites.second(&["pull", "--from", "../www", "--dry-run"]).exits(0);
        assert!(dry.stderr.contains("target 'a.txt' added"), "{dry:?}");
        assert_eq!(difference(&before, &tree(&sites.two)), Vec::<String>::new());
        let ran = sites.second(&pull).exits(0);
        assert!(ran.stderr.contains("Took") && ran.stderr.contains("targets v2"), "{ran:?}");
        // what vanishes is not taken without a word
        sites.site.run(&["remove-targets", "a.txt"]).exits(0);
        sites.release("b.txt");
        let before = tree(&sites.two);
        let refused = sites.second(&pull).exits(3);
        assert!(
            refused.stderr.contains("error: `pull` needs `--yes`: target 'a.txt' would vanish\n"),
            "{refused:?}"
        );
        assert_eq!(difference(&before, &tree(&sites.two)), Vec::<String>::new());
        let json = sites.second(&["pull", "--from", "../www", "--yes", "--json"]).exits(0).json();
        assert_eq!(
            (&json["gone"][0], &json["roles"]["targets"]),
            (&"target 'a.txt'".into(), &3.into()),
            "{json}"
        );
        // work in the way, and the hint that leads on
        sites.release("c.txt");
        sites.second(&["expire", "targets", "90d"]).exits(0);
        let refused = sites.second(&pull).exits(3);
        assert!(refused.stderr.contains("drafted here: targets"), "{refused:?}");
        sites.second(&["discard", "targets"]).exits(0);
        sites.second(&pull).exits(0);
        sites.second(&["bump", "targets"]).exits(0);
        sites.second(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"]).exits(0);
        sites.release("d.txt");
        let refused = sites.second(&pull).exits(3);
        assert!(refused.stderr.contains("written here and not live: targets v5"), "{refused:?}");
        // as it is typed: the work is kept, the policy too, and live is taken over
        let hint = refused.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
        let (_, line) = hint.split_once(": tuf-repo ").unwrap();
        let policy = fs::read(sites.two.join("tuf-repo.toml")).unwrap();
        let mut command = sites.site.folder.command(&line.split(' ').collect::<Vec<_>>());
        command.current_dir(&sites.two);
        let kept = finish(command).exits(3);
        assert!(
            kept.stderr
                .contains("work of this copy is kept aside: metadata.staged/.drafts/.aside/targets.v5.")
        );
        assert_eq!(fs::read(sites.two.join("tuf-repo.toml")).unwrap(), policy);
        assert_eq!(sites.second(&["status", "--json"]).exits(0).json()["dirty"], serde_json::json!([]));
        sites.second(&pull).exits(0);
        // the change is made again, and released
        sites.second(&["bump", "targets"]).exits(0);
        sites.second(&["write", "--key=../key-1", "--key=../key-2", "--key=../key-3"]).exits(0);
        sites.second(&["publish", "--to", "../www"]).exits(0);
    }
}

/// How a copy stands to what is live, and the next step.
fn stands(world: &World) -> (Relation, Vec<Step>) {
    let status = world.open().status().unwrap();
    assert_eq!(status.published, status.relation == Relation::Published);
    (status.relation, status.steps)
}

#[test]
fn status_compares_bytes_and_says_pull_where_live_has_something_new() {
    for layout in LAYOUTS {
        let team = Team::new(layout);
        let policy = format!("\n[publish]\nto = \"{}\"\n", team.www.path().display());
        for world in [&team.one, &team.two] {
            let file = world.path("tuf-repo.toml");
            fs::write(&file, fs::read_to_string(&file).unwrap() + &policy).unwrap();
            assert_eq!(stands(world), (Relation::Published, Vec::new()));
        }
        list(&team.one, "b").unwrap();
        team.one.write(&OURS).unwrap();
        assert_eq!(stands(&team.one), (Relation::Ahead, vec![Step::Publish]));
        publish(&team.one, team.www.path()).unwrap();
        assert_eq!(stands(&team.two), (Relation::Behind, vec![Step::Pull]));
        // the same versions, and other bytes
        list(&team.two, "c").unwrap();
        team.two.write(&OURS).unwrap();
        assert_eq!(team.one.versions("targets"), team.two.versions("targets"));
        assert_eq!(stands(&team.two), (Relation::Diverged, vec![Step::Pull]));
        let away = team.one.twin();
        let file = away.path("tuf-repo.toml");
        fs::write(
            &file,
            fs::read_to_string(&file)
                .unwrap()
                .replace("www", "nowhere")
                .replace(&team.www.path().display().to_string(), "/nonexistent"),
        )
        .unwrap();
        assert_eq!(stands(&away), (Relation::Unpublished, vec![Step::Publish]));
        // a timestamp that somebody else has signed again
        team.one.edit(|repository| repository.bump(&role("timestamp"), None)).unwrap();
        let behind = team.one.twin();
        team.one.write(&OURS).unwrap();
        publish(&team.one, team.www.path()).unwrap();
        fs::remove_dir_all(behind.path("metadata.staged/.drafts")).unwrap();
        assert_eq!(stands(&behind), (Relation::Behind, vec![Step::Pull]));
        team.pull(&behind).unwrap();
        assert_eq!(stands(&behind), (Relation::Published, Vec::new()));
    }
}

#[test]
fn verify_asks_the_destination_for_targets_that_this_copy_does_not_have() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let sites = Sites::new(flags);
        sites.release("a.txt");
        sites.second(&["pull", "--from", "../www"]).exits(0);
        assert!(sites.second(&["verify"]).exits(5).stdout.contains("missing"));
        let policy = sites.two.join("tuf-repo.toml");
        fs::write(&policy, fs::read_to_string(&policy).unwrap() + "\n[publish]\nto = \"../www\"\n").unwrap();
        sites.second(&["verify"]).exits(0);
        sites.second(&["verify", "--targets"]).exits(0);
        // what lies in a copy's own metadata/ is its past
        sites.site.run(&["publish"]).exits(0);
        sites.site.run(&["verify"]).exits(0);
        assert_eq!(sites.second(&["status", "--json"]).exits(0).json()["relation"], "published");
        for (name, _) in contents(&sites.site.folder.path("www/targets"))
            .iter()
            .filter(|(name, _)| name.ends_with("a.txt"))
        {
            fs::write(sites.site.folder.path("www/targets").join(name), "A.TXT").unwrap();
        }
        sites.second(&["verify"]).exits(0);
        assert!(sites.second(&["verify", "--targets"]).exits(5).stdout.contains("a.txt"));
    }
}
