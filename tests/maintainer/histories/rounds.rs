//! The rounds of a history: one command alone, one that is killed and given again, several at once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use tuf::repository::Layout;

use super::history::History;
use super::place::Place;
use super::steps::{Chooser, Meaning, Step};
use crate::support::{Ran, finish};
use crate::world::{contents, copy_folder, difference};

/// The longest time that a command has before it is killed, in microseconds: most have ended by then.
const LONGEST: u64 = 30_000;

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A command failed, and those after it were not run.
    Failed,
    /// Its last command was killed: it may have done its work, or a part of it.
    Killed,
}

/// How a command ended.
pub struct Ended {
    /// Its exit code; nothing where it was killed.
    code: Option<i32>,
    words: String,
}

impl Ended {
    fn outcome(&self) -> Outcome {
        match self.code {
            Some(0) => Outcome::Done,
            Some(_) => Outcome::Failed,
            None => Outcome::Killed,
        }
    }
}

impl From<Ran> for Ended {
    fn from(ran: Ran) -> Self {
        Self { code: Some(ran.code), words: ran.words() }
    }
}

impl History {
    /// Takes the next round.
    pub fn round(&mut self) {
        self.now += TimeDelta::minutes(1 + self.chance.below(20) as i64);
        self.place.set_clock(self.now);
        match self.chance.below(20) {
            0..=10 => self.alone(),
            11..=14 => self.killed(),
            15..=17 => self.together(),
            _ => self.between(),
        }
        if self.chance.one_in(4) {
            let number = self.chance.below(self.clients.real() as u64) as usize;
            let fetched = self.clients.fetch(number, &self.live.release, &self.place, &self.time());
            fetched.unwrap_or_else(|error| panic!("{error}"));
        }
        if self.chance.one_in(12) && self.clients.real() < 3 {
            self.clients.settle(&self.site.folder);
        }
    }

    fn choose(&mut self, copy: usize) -> Step {
        self.number += 1;
        let to = self.place.to();
        let chooser = Chooser {
            copy: &self.copies[copy],
            kind: self.kind,
            to: &to,
            is_current: self.is_current(copy),
            number: self.number,
        };
        chooser.choose(&mut self.chance)
    }

    /// One command with nobody else about.
    fn alone(&mut self) {
        let copy = self.chance.below(2) as usize;
        if !self.is_current(copy) && self.chance.one_in(8) {
            return self.start_from_live(copy);
        }
        let step = self.choose(copy);
        let before = self.copies[copy].effective().targets();
        let outcome = self.run_all(copy, &step.commands);
        self.settle(copy, &step, outcome);
        self.finish_step(copy, &step, outcome);
        if outcome == Outcome::Done {
            self.refuse_lost_edits(copy, &step, &before);
        }
    }

    /// Runs commands until one fails.
    pub fn run_all(&mut self, copy: usize, commands: &[Vec<String>]) -> Outcome {
        let all = commands.iter().all(|args| self.run(copy, args) == 0);
        if all { Outcome::Done } else { Outcome::Failed }
    }

    /// Runs a command that nobody disturbs: one that fails has changed nothing.
    pub fn run(&mut self, copy: usize, args: &[String]) -> i32 {
        let before = self.everything(copy);
        let ran = finish(self.command(self.copies[copy].name, args));
        let code = ran.code;
        self.note(copy, args, &ran.into());
        assert!(code != 6, "{args:?}: nobody else has the lock");
        let differs = difference(&before, &self.everything(copy));
        // `refresh` signs what it can and names the rest; `pull` names what it has set aside
        let may_differ = code == 0 || (code == 3 && matches!(&*args[0], "refresh" | "pull"));
        assert!(may_differ || differs.is_empty(), "{args:?} failed with {code} and changed {differs:?}");
        code
    }

    /// Every file of a copy and of the place, but for a cache and what a killed command left.
    fn everything(&self, copy: usize) -> BTreeMap<String, Vec<u8>> {
        let mut all = contents(&self.copies[copy].dir);
        all.extend(self.place.contents().into_iter().map(|(name, bytes)| (format!("place: {name}"), bytes)));
        all.retain(|name, _| !name.contains(".tuf-tmp") && name != ".tuf-digests");
        all
    }

    /// Notes how a command ended: with a code that is documented, and without a panic.
    pub fn note(&mut self, copy: usize, args: &[String], ended: &Ended) {
        let told: Vec<&str> = args.iter().map(String::as_str).collect();
        let code = ended.code.map_or("killed".to_owned(), |code| code.to_string());
        *self.counts.entry(format!("{} {code}", args[0])).or_default() += 1;
        let words = if ended.code == Some(0) { "" } else { ended.words.trim_end() };
        let line = format!(
            "tuf-repo -r {} --time {} {}  # {code} {words}",
            self.copies[copy].name,
            self.time(),
            told.join(" ")
        );
        self.tell(line);
        let is_documented = matches!(ended.code, None | Some(0 | 2 | 3 | 4 | 5 | 6));
        assert!(is_documented && !ended.words.contains("panicked"), "{args:?}: {code}: {}", ended.words);
    }

    /// Takes into the model what a step did.
    fn settle(&mut self, copy: usize, step: &Step, outcome: Outcome) {
        let known = &mut self.copies[copy].known;
        match (&step.meaning, outcome) {
            (Meaning::Removal(path), Outcome::Done | Outcome::Killed) => known.removed.extend([path.clone()]),
            (Meaning::Pull, Outcome::Done) => known.join(&self.live.known),
            _ => {}
        }
    }

    /// Looks at what is live after a step.
    pub fn finish_step(&mut self, copy: usize, step: &Step, outcome: Outcome) {
        let done = outcome == Outcome::Done;
        let recovered: BTreeSet<String> = match &step.meaning {
            Meaning::Recovery(roles) if done => roles.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        let publishes = matches!(step.meaning, Meaning::Publish | Meaning::Recovery(_));
        let publishers = if publishes { vec![copy] } else { Vec::new() };
        self.look(&publishers, &recovered);
        if publishes && done {
            self.verify(copy);
        }
        if done {
            self.look_for_leftovers(copy);
        }
    }

    /// No command takes a target off the list that a person has put there, but one that says so.
    fn refuse_lost_edits(&self, copy: usize, step: &Step, before: &BTreeMap<String, String>) {
        let known = &self.copies[copy].known;
        if step.meaning == Meaning::Discard || step.commands.iter().any(|args| args[0] == "discard") {
            return;
        }
        let after = self.copies[copy].effective().targets();
        let lost: Vec<&String> =
            before.keys().filter(|path| !after.contains_key(*path) && !known.was_removed(path)).collect();
        assert!(lost.is_empty(), "{:?} took {lost:?} off the list", step.commands);
    }

    /// The last command of a step is killed, and given again.
    fn killed(&mut self) {
        let copy = self.chance.below(2) as usize;
        let step = self.choose(copy);
        let Some((last, first)) = step.commands.split_last() else { return };
        if self.run_all(copy, first) != Outcome::Done {
            return self.finish_step(copy, &step, Outcome::Failed);
        }
        let twin = self.twin();
        let delay = Duration::from_micros(self.chance.below(LONGEST));
        let child = self.command(self.copies[copy].name, last).spawn().unwrap();
        let ended = end(child, Some(delay));
        self.note(copy, last, &ended);
        if ended.code.is_some() {
            self.settle(copy, &step, ended.outcome());
            return self.finish_step(copy, &step, ended.outcome());
        }
        self.settle(copy, &step, Outcome::Killed);
        if !matches!(step.meaning, Meaning::Recovery(_)) && !self.is_torn() {
            self.finish_step(copy, &step, Outcome::Killed);
        }
        let ended = self.run_again(copy, &step);
        self.finish_step(copy, &step, ended.outcome());
        if let (Outcome::Failed, Some(twin)) = (ended.outcome(), twin) {
            self.refuse_dead_end(copy, &step, &twin, &ended);
        }
    }

    /// Runs the last command of a step that was killed once more.
    fn run_again(&mut self, copy: usize, step: &Step) -> Ended {
        let last = step.commands.last().unwrap();
        let ended = Ended::from(finish(self.command(self.copies[copy].name, last)));
        self.note(copy, last, &ended);
        self.settle(copy, step, ended.outcome());
        ended
    }

    /// Tells whether clients may fail until a publication that was killed has run to its end: the plain layout has no names
    /// of its own for new files, and a new root may demand keys that have not signed what is live yet.
    fn is_torn(&self) -> bool {
        let next = self.live.release.versions["root"] + 1;
        self.kind.layout() == Layout::Plain
            || self.place.read(&format!("metadata/{next}.root.json")).is_some()
    }

    /// A copy of everything that commands use, where it can be copied.
    fn twin(&self) -> Option<tempfile::TempDir> {
        let Place::Folder(_) = self.place else { return None };
        let twin = crate::world::temporary();
        copy_folder(&self.site.folder.path(""), twin.path());
        Some(twin)
    }

    /// What fails after a kill had failed without it, too. Edits that are done already may say so.
    fn refuse_dead_end(&self, copy: usize, step: &Step, twin: &tempfile::TempDir, ended: &Ended) {
        let last = step.commands.last().unwrap();
        let is_edit =
            !matches!(&*last[0], "write" | "refresh" | "publish" | "pull" | "gc" | "sign" | "discard");
        let mut command = self.command(self.copies[copy].name, last);
        let untouched = finish({
            command.current_dir(twin.path());
            command
        });
        // signatures that are there already are refused a second time
        let is_done = (is_edit && ended.code == Some(2)) || ended.words.contains("has signed already");
        let is_same = ended.code == Some(untouched.code) || is_done;
        assert!(is_same, "killed, {last:?} ends with {:?} {}; else {untouched:?}", ended.code, ended.words);
    }

    /// Several commands at once, some of them killed; in the plain layout none, and one for each copy: there, a client may see
    /// two states until a command has run to its end.
    fn together(&mut self) {
        let is_plain = self.kind.layout() == Layout::Plain;
        let slots: &[usize] = if is_plain { &[0, 1] } else { &[0, 1, 0] };
        let chosen: Vec<(usize, Step)> = slots.iter().map(|copy| (*copy, self.choose(*copy))).collect();
        let delays: Vec<Option<Duration>> = chosen
            .iter()
            .map(|_| {
                (!is_plain && self.chance.one_in(3))
                    .then(|| Duration::from_micros(self.chance.below(LONGEST)))
            })
            .collect();
        // a client that is in the middle of a snapshot does not find what is collected
        let collects = chosen.iter().any(|(_, step)| step.meaning == Meaning::Collection);
        let is_over = AtomicBool::new(false);
        let (ends, watched) = thread::scope(|threads| {
            let watcher = (!collects && !is_plain).then(|| {
                threads.spawn(|| self.clients.watch(&self.place, &|| is_over.load(Ordering::Relaxed)))
            });
            let this = &*self;
            let start = |((copy, step), delay): (&(usize, Step), &Option<Duration>)| {
                let (copy, step, delay) = (*copy, step.clone(), *delay);
                threads.spawn(move || this.run_beside_others(copy, &step, delay))
            };
            let running: Vec<_> = chosen.iter().zip(&delays).map(start).collect();
            let ends: Vec<_> = running.into_iter().map(|one| one.join().unwrap()).collect();
            is_over.store(true, Ordering::Relaxed);
            (ends, watcher.map_or_else(BTreeSet::new, |watcher| watcher.join().unwrap()))
        });
        self.tell("at once:".to_owned());
        let mut recovered = BTreeSet::new();
        let mut publishers = Vec::new();
        let mut killed = Vec::new();
        for ((copy, step), ends) in chosen.iter().zip(ends) {
            let outcome = ends.last().unwrap().outcome();
            for (args, ended) in step.commands.iter().zip(&ends) {
                self.note(*copy, args, ended);
            }
            match &step.meaning {
                Meaning::Publish => publishers.push(*copy),
                Meaning::Recovery(roles) => {
                    publishers.push(*copy);
                    recovered.extend(roles.iter().cloned());
                }
                _ => {}
            }
            if outcome == Outcome::Killed {
                killed.push((*copy, step.clone()));
            }
            self.settle(*copy, step, outcome);
        }
        self.tell("that is all".to_owned());
        let is_torn = self.is_torn();
        let errors = watched.into_iter().filter(|error| !is_torn || !error.contains("required signatures"));
        let errors: Vec<String> = errors.collect();
        assert!(errors.is_empty(), "a client at the same time: {errors:?}");
        if !killed.is_empty() && !is_torn {
            self.look(&publishers, &recovered);
        }
        for (copy, step) in killed {
            self.run_again(copy, &step);
        }
        self.look(&publishers, &recovered);
    }

    fn run_beside_others(&self, copy: usize, step: &Step, delay: Option<Duration>) -> Vec<Ended> {
        let mut ends = Vec::new();
        for (number, args) in step.commands.iter().enumerate() {
            let is_last = number + 1 == step.commands.len();
            let child = self.command(self.copies[copy].name, args).spawn().unwrap();
            ends.push(end(child, delay.filter(|_| is_last)));
            if ends.last().is_some_and(|ended| ended.code != Some(0)) {
                break;
            }
        }
        ends
    }
}

/// Waits for the end of a command, or kills it after a while.
fn end(mut child: Child, delay: Option<Duration>) -> Ended {
    if let Some(delay) = delay {
        thread::sleep(delay);
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    Ended { code: output.status.code(), words: String::from_utf8_lossy(&output.stderr).into_owned() }
}
