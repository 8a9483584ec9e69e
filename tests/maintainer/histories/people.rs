//! What people do with copies between their commands: make one of the other or of what is live, keep a backup and put it back,
//! merge by version control; and what they do in the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use tuf::repository::Layout;

use super::history::History;
use super::merge::{Side, merge, tracked};
use super::place::Kind;
use super::rounds::Outcome;
use super::steps::{Meaning, Step, keys};
use crate::support::finish;
use crate::world::copy_folder;

impl History {
    /// What people do with copies: make one of the other, keep a backup, put it back.
    pub fn between(&mut self) {
        let copy = self.chance.below(2) as usize;
        let name = self.copies[copy].name;
        match self.chance.below(8) {
            0 | 1 => self.start_over(copy),
            6 | 7 => self.start_from_live(copy),
            2 | 3 if std::env::var("TUF_HISTORIES_MERGES").is_ok() => self.merge(copy),
            2 | 3 => {}
            4 => {
                self.copies[copy].back_up();
                self.tell(format!("# {name} is backed up"));
            }
            _ if self.copies[copy].backup.is_some() => {
                let history = self.chance.one_in(2);
                self.copies[copy].restore(history);
                self.tell(format!("# the backup of {name} is put back, with its history: {history}"));
            }
            _ => {}
        }
        self.look(&[], &BTreeSet::new());
    }

    /// Somebody whose copy went apart takes what is live into a new one, as the hint of `pull` says.
    pub fn start_from_live(&mut self, copy: usize) {
        let name = self.copies[copy].name;
        let new = self.site.folder.path("new");
        let _ = fs::remove_dir_all(&new);
        let from = self.place.to();
        let root = format!("{name}/metadata.staged/1.root.json");
        let args = ["init", "new", "--from", &from, "--trusted-root", &root].map(str::to_owned);
        let ran = finish(self.command("new", &args));
        let code = ran.code;
        self.note(copy, &args, &ran.into());
        assert_eq!(code, 0, "{args:?}");
        for part in ["metadata.staged", ".tuf-history"] {
            replace(&new.join(part), &self.copies[copy].dir.join(part));
        }
        copy_folder(&new.join("targets"), &self.copies[copy].dir.join("targets"));
        self.copies[copy].known = self.live.known.clone();
        self.tell(format!("# {name} is made of what is live: new takes its place"));
        self.look(&[], &BTreeSet::new());
    }

    /// A copy gives way to one of the other copy.
    fn start_over(&mut self, copy: usize) {
        let other = 1 - copy;
        let (from, to) = (self.copies[other].dir.clone(), self.copies[copy].dir.clone());
        for entry in fs::read_dir(&from).unwrap() {
            let name = entry.unwrap().file_name();
            // what is live stays where it is
            if self.kind == Kind::Own && (name == "metadata" || name == "targets") {
                continue;
            }
            replace(&from.join(&name), &to.join(&name));
        }
        if self.kind == Kind::Own {
            copy_folder(&from.join("targets"), &to.join("targets"));
        }
        self.copies[copy].known = self.copies[other].known.clone();
        self.base = tracked(&self.copies[copy].dir);
        self.tell(format!("# {} is a copy of {} now", self.copies[copy].name, self.copies[other].name));
    }

    /// A person merges the other copy into one by version control.
    fn merge(&mut self, copy: usize) {
        let other = 1 - copy;
        let side = *self.chance.choose(&[Side::Ours, Side::Theirs]);
        let theirs = tracked(&self.copies[other].dir);
        merge(&self.base, &self.copies[copy].dir, &theirs, side);
        let known = self.copies[other].known.clone();
        self.copies[copy].known.join(&known);
        self.base = theirs;
        self.was_merged = true;
        self.tell(format!(
            "# {} is merged into {}, {side:?}",
            self.copies[other].name, self.copies[copy].name
        ));
    }

    /// In the end each copy can be worked with, and what is published then is live.
    pub fn end(&mut self) {
        for copy in [0, 1] {
            self.now += TimeDelta::minutes(1);
            self.place.set_clock(self.now);
            self.catch_up_and_publish(copy);
        }
        for number in 0..self.clients.real() {
            let fetched = self.clients.fetch(number, &self.live.release, &self.place, &self.time());
            fetched.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    fn catch_up_and_publish(&mut self, copy: usize) {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let to = self.place.to();
        let (publish, pull) = match (self.kind, copy) {
            (Kind::Own, 0) => ("publish".to_owned(), "pull --targets --yes".to_owned()),
            _ => (format!("publish --to {to}"), format!("pull --targets --yes --from {to}")),
        };
        let was_current = self.is_current(copy);
        let write = format!("write{}", keys(&self.copies[copy].effective()));
        let mut code = self.run(copy, &words(&write));
        if code == 5 && self.was_merged {
            // a draft that was merged upon something newer is refused by name, and so is one whose file was changed
            assert_eq!(self.run(copy, &words("discard")), 0, "what is refused can be discarded");
            code = self.run(copy, &words(&format!("write{}", keys(&self.copies[copy].effective()))));
        }
        let may_differ = self.was_merged || (self.kind == Kind::Own && !was_current);
        assert!(code == 0 || (code == 5 && may_differ), "{write}: {code}");
        let pulled = self.run(copy, &words(&pull));
        // in the plain layout a file of one's own may lie where one of live belongs
        let may_fail = !was_current || (pulled == 2 && self.kind.layout() == Layout::Plain);
        assert!(pulled == 0 || may_fail, "what is live is of this copy's past");
        if pulled != 0 {
            return;
        }
        let write = format!("write{}", keys(&self.copies[copy].effective()));
        let step = Step { meaning: Meaning::Publish, commands: vec![words(&write), words(&publish)] };
        let outcome = self.run_all(copy, &step.commands);
        self.finish_step(copy, &step, outcome);
        assert!(outcome == Outcome::Done, "who has pulled publishes");
    }
}

fn replace(from: &Path, to: &Path) {
    if from.is_dir() {
        let _ = fs::remove_dir_all(to);
        copy_folder(from, to);
    } else {
        fs::copy(from, to).unwrap();
    }
}
