//! A repository on disk, a folder to work in, and runs of `tuf-fetch` there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc;

use serde_json::Value;

use crate::simulator::Simulator;

/// A repository on disk and an empty folder to work in.
pub struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    pub fn new(simulator: &Simulator) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        scene.publish(simulator);
        std::fs::create_dir(scene.work()).unwrap();
        scene
    }

    pub fn publish(&self, simulator: &Simulator) {
        for (path, bytes) in &simulator.files {
            // metadata is kept under encoded names, which the simulator serves them by too
            let path = self.repository().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::create_dir_all(self.repository().join("targets")).unwrap();
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn file_url(&self) -> String {
        format!("file://{}", self.repository().display())
    }

    /// Serves the repository for as long as the test runs.
    pub fn http_url(&self) -> String {
        let (sender, receiver) = mpsc::channel();
        let root = self.repository();
        std::thread::spawn(move || {
            let bind = SocketAddr::from(([127, 0, 0, 1], 0));
            tuf::cli::static_server::serve(&root, bind, |address| sender.send(address).unwrap(), |_| ())
                .unwrap();
        });
        format!("http://{}", receiver.recv().unwrap())
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_at("2030-01-01T00:00:00Z", args)
    }

    pub fn run_at(&self, time: &str, args: &[&str]) -> Run {
        Run(self.command(&[&["--time", time], args].concat()).output().unwrap())
    }

    /// Prepares a run, at a fixed time unless the arguments name one, and with no variable that steers it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-fetch"));
        command.current_dir(self.work()).env("NO_PROXY", "*");
        if !args.contains(&"--time") {
            command.args(["--time", "2030-01-01T00:00:00Z"]);
        }
        command.args(args);
        command
    }

    pub fn init(&self) -> Run {
        let root = self.repository().join("metadata/1.root.json");
        self.run(&["init", root.to_str().unwrap()])
    }

    pub fn started(simulator: &Simulator) -> Self {
        let scene = Self::new(simulator);
        scene.init().succeeds();
        scene
    }
}

pub struct Run(pub Output);

impl Run {
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.0.stdout).unwrap()
    }

    pub fn stderr(&self) -> &str {
        std::str::from_utf8(&self.0.stderr).unwrap()
    }

    pub fn succeeds(self) -> Self {
        assert_eq!(self.code(), 0, "{}{}", self.stdout(), self.stderr());
        self
    }

    /// Checks the exit code and how the first line on stderr starts.
    pub fn fails(self, code: i32, line: &str) -> Self {
        assert_eq!(self.code(), code, "{}{}", self.stdout(), self.stderr());
        assert!(self.stderr().starts_with(&format!("error: {line}")), "{}", self.stderr());
        assert_eq!(self.stderr().lines().filter(|line| line.starts_with("error:")).count(), 1);
        self
    }

    pub fn json(&self) -> Value {
        let json: Value = serde_json::from_str(self.stdout()).unwrap();
        assert_eq!(json["schema_version"], 1);
        json
    }
}

pub fn simulator() -> Simulator {
    let mut simulator = Simulator::new();
    simulator.delegate("targets", "a/b", |role| role.paths = Some(vec!["dir/*".into()]));
    simulator.add_target("targets", "one.txt", b"one");
    simulator.add_target("a/b", "dir/two +#%.txt", b"two");
    simulator.publish_all();
    simulator
}
