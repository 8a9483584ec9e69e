//! What the client makes of a network that fails: retries, ranges, redirects, proxies, mirrors.

use std::net::TcpListener;

use tuf::metadata::{Algorithm, Hasher};

use crate::host::{Answer, Host};
use crate::scene::{Scene, simulator};
use crate::simulator::Simulator;

const LARGE: usize = 3 << 20;

fn large_body() -> Vec<u8> {
    (0..LARGE).map(|index| (index / 7 % 251) as u8).collect()
}

/// A repository of one large target; returns the path that it is served under.
fn large() -> (Scene, String) {
    let mut simulator = Simulator::new();
    let body = large_body();
    simulator.add_target("targets", "large", &body);
    simulator.publish_all();
    let digest = Hasher::digest([Algorithm::Sha256], &body).of(Algorithm::Sha256).unwrap().to_owned();
    (Scene::started(&simulator), format!("/targets/{digest}.large"))
}

fn is_whole(scene: &Scene) {
    assert_eq!(std::fs::read(scene.work().join("targets/large")).unwrap(), large_body());
    let names: Vec<_> = std::fs::read_dir(scene.work().join("targets")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

fn dead() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let scene = Scene::started(&simulator());
    let host = Host::start(&scene.repository(), |request| match request.before {
        0 if request.target.ends_with("timestamp.json") => Answer::Status(503),
        0 if request.target.ends_with("snapshot.json") => Answer::Close,
        0 if request.target.ends_with("1.targets.json") => Answer::BreakAfter(10),
        _ => Answer::Serve,
    });
    scene.run(&["--repo", &host.url, "refresh"]).succeeds();
    let requests = host.requests();
    let asked = |name: &str| requests.iter().filter(|request| request.ends_with(name)).count();
    assert_eq!(asked("2.root.json"), 1, "a 404 is never asked for again");
    assert_eq!((asked("timestamp.json"), asked("snapshot.json"), asked("1.targets.json")), (2, 2, 2));
}

#[test]
fn retries_are_bounded() {
    let scene = Scene::started(&simulator());
    let host = Host::start(&scene.repository(), |request| match request.target.as_str() {
        "/metadata/timestamp.json" => Answer::Status(500),
        _ => Answer::Serve,
    });
    scene.run(&["--repo", &host.url, "refresh"]).fails(1, "timestamp: DownloadError: ");
    assert_eq!(host.requests().len(), 1 + 3);
}

#[test]
fn a_client_error_is_not_asked_for_again() {
    let scene = Scene::started(&simulator());
    let host = Host::start(&scene.repository(), |request| match request.target.as_str() {
        "/metadata/timestamp.json" => Answer::Status(400),
        _ => Answer::Serve,
    });
    scene.run(&["--repo", &host.url, "refresh"]).fails(1, "timestamp: DownloadError: ");
    assert_eq!(host.requests().len(), 2);
}

#[test]
fn a_broken_target_is_taken_up_where_it_broke() {
    let (scene, path) = large();
    let host = Host::start(&scene.repository(), |request| match request.before {
        0 => Answer::BreakAfter(1 << 20),
        _ => Answer::Serve,
    });
    scene.run(&["--repo", &host.url]).succeeds();
    is_whole(&scene);
    let requests: Vec<String> = host.requests().into_iter().filter(|line| line.starts_with(&path)).collect();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[1].contains(" from "), "{requests:?}");
}

#[test]
fn a_broken_target_is_taken_up_by_the_next_run() {
    let (scene, path) = large();
    let breaks = Host::start(&scene.repository(), |request| match request.target.contains("large") {
        true => Answer::BreakAfter(1 << 19),
        false => Answer::Serve,
    });
    scene.run(&["--repo", &breaks.url]).fails(1, "large: DownloadError: ");
    assert!(!scene.work().join("targets/large").exists());
    let honest = Host::start(&scene.repository(), |_| Answer::Serve);
    scene.run(&["--repo", &honest.url]).succeeds();
    is_whole(&scene);
    let requests = honest.requests();
    let taken_up = requests.iter().find_map(|line| line.strip_prefix(&format!("{path} from ")));
    assert!(taken_up.is_some_and(|from| from.parse::<usize>().unwrap() > 0), "{requests:?}");
}

#[test]
fn a_server_without_ranges_sends_the_whole() {
    let (scene, _) = large();
    let host = Host::start(&scene.repository(), |request| match request.before {
        0 => Answer::BreakAfter(1 << 20),
        _ => Answer::ServeWhole,
    });
    scene.run(&["--repo", &host.url]).succeeds();
    is_whole(&scene);
}

#[test]
fn another_range_than_asked_for_means_starting_over() {
    for answer in [|| Answer::OtherRange, || Answer::Status(416)] {
        let (scene, path) = large();
        let host = Host::start(&scene.repository(), move |request| match (request.before, request.from) {
            (0, _) => Answer::BreakAfter(1 << 20),
            (_, Some(_)) => answer(),
            (_, None) => Answer::Serve,
        });
        scene.run(&["--repo", &host.url]).succeeds();
        is_whole(&scene);
        assert_eq!(host.requests().iter().filter(|line| line.starts_with(&path)).count(), 3);
    }
}

#[test]
fn an_object_that_changed_meanwhile_is_downloaded_anew() {
    let (scene, path) = large();
    let file = scene.repository().join(&path[1..]);
    std::fs::write(&file, vec![b'x'; LARGE]).unwrap();
    let stale = Host::start(&scene.repository(), |request| match request.target.contains("large") {
        true => Answer::BreakAfter(1 << 18),
        false => Answer::Serve,
    });
    scene.run(&["--repo", &stale.url]).fails(1, "large: DownloadError: ");
    std::fs::write(&file, large_body()).unwrap();
    let honest = Host::start(&scene.repository(), |_| Answer::Serve);
    scene.run(&["--repo", &honest.url]).succeeds();
    is_whole(&scene);
    let requests: Vec<String> =
        honest.requests().into_iter().filter(|line| line.starts_with(&path)).collect();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[1], path);
}

#[test]
fn redirects_within_the_scheme_are_followed() {
    let scene = Scene::started(&simulator());
    let real = Host::start(&scene.repository(), |_| Answer::Serve);
    let to = real.url.clone();
    let host =
        Host::start(&scene.repository(), move |request| Answer::Redirect(to.clone() + &request.target));
    scene.run(&["--repo", &host.url]).succeeds();
}

#[test]
fn a_proxy_from_the_environment_is_asked() {
    let scene = Scene::started(&simulator());
    let proxy = Host::start(&scene.repository(), |_| Answer::Serve);
    let mut command = scene.command(&["--repo", "http://repository.test", "refresh"]);
    command.env_remove("NO_PROXY").env("http_proxy", &proxy.url);
    crate::scene::Run(command.output().unwrap()).succeeds();
    assert_eq!(proxy.requests()[0], "http://repository.test/metadata/2.root.json");
}

#[test]
fn a_mirror_stands_in_for_a_dead_repository() {
    let scene = Scene::started(&simulator());
    let mirror = Host::start(&scene.repository(), |_| Answer::Serve);
    scene.run(&["--repo", &dead(), "--mirror", &mirror.url]).succeeds();
    assert!(scene.work().join("targets/one.txt").exists());
}

#[test]
fn mirrors_that_all_fail_are_named_with_their_causes() {
    let scene = Scene::started(&simulator());
    let bad = Host::start(&scene.repository(), |_| Answer::Status(500));
    let dead = dead();
    let run = scene.run(&["--repo", &dead, "--mirror", &bad.url, "refresh"]);
    let run = run.fails(1, &format!("timestamp: NoWorkingMirrorError: {dead}/metadata: DownloadError: "));
    assert!(run.stderr().contains(&format!("; {}/metadata: DownloadError: ", bad.url)), "{}", run.stderr());
    scene.run(&["--repo", &dead, "refresh"]).fails(1, "root: DownloadError: ");
}

#[test]
fn many_targets_are_fetched_by_several_jobs() {
    let mut simulator = Simulator::new();
    for index in 0..40 {
        simulator.add_target("targets", &format!("d{}/{index}", index % 3), format!("{index}").as_bytes());
    }
    simulator.publish_all();
    for jobs in ["1", "7"] {
        let scene = Scene::started(&simulator);
        let host = Host::start(&scene.repository(), |_| Answer::Serve);
        let run = scene.run(&["--repo", &host.url, "--jobs", jobs, "--json"]).succeeds();
        let downloaded = run.json()["downloaded"].as_array().unwrap().clone();
        assert_eq!(downloaded.len(), 40);
        for target in downloaded {
            let path = target["path"].as_str().unwrap();
            let bytes = std::fs::read(scene.work().join("targets").join(path)).unwrap();
            assert_eq!(Some(std::str::from_utf8(&bytes).unwrap()), path.split('/').nth(1));
        }
        assert_eq!(std::fs::read_dir(scene.work().join("targets")).unwrap().count(), 3);
    }
    Scene::started(&simulator).run(&["--jobs", "0"]).fails(2, "command line: usage: ");
}

#[test]
fn one_verified_target_goes_to_standard_output() {
    let scene = Scene::started(&simulator());
    let url = scene.http_url();
    let run = scene.run(&["--repo", &url, "download", "-o", "-", "one.txt"]).succeeds();
    assert_eq!(run.stdout(), "one");
    assert!(!scene.work().join("targets").exists());
    scene.run(&["--repo", &url, "download", "-o", "-", "*"]).succeeds();
    scene
        .run(&["--repo", &url, "download", "-o", "-", "one.txt", "dir/*"])
        .fails(2, "--output: usage: 2 targets");
    scene.run(&["--repo", &url, "--json", "download", "-o", "-", "one.txt"]).fails(2, "--output: usage: ");
    for entry in std::fs::read_dir(scene.repository().join("targets")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"bad").unwrap();
        }
    }
    let run = scene.run(&["--repo", &url, "download", "-o", "-", "one.txt"]);
    assert_eq!(run.fails(1, "one.txt: BadHashError: ").stdout(), "");
}
