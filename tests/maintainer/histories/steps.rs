//! The steps of a history: what people and cron jobs type, chosen at random for a copy as it is.

use std::fs;

use super::chance::Chance;
use super::copy::{Copy, Effective, KEYS};
use super::place::Kind;

/// Roles that are delegated to, each with what their targets begin with. The second is delegated to by the first, the third
/// are hash bins.
const DELEGATES: [(&str, &str); 3] = [("team", "team/"), ("nest", "team/nest/"), ("bin", "x")];

/// What a step means to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    Other,
    /// Targets are taken off the list.
    Removal(String),
    Publish,
    /// A publication that lets live versions of these roles go down.
    Recovery(Vec<String>),
    Pull,
    Discard,
    Collection,
}

/// One step: commands that are run one after the other until one fails.
#[derive(Debug, Clone)]
pub struct Step {
    pub meaning: Meaning,
    pub commands: Vec<Vec<String>>,
}

impl Step {
    fn of(meaning: Meaning, commands: &[&str]) -> Self {
        let words = |line: &&str| line.split(' ').map(str::to_owned).collect();
        Self { meaning, commands: commands.iter().map(words).collect() }
    }

    fn other(commands: &[&str]) -> Self {
        Self::of(Meaning::Other, commands)
    }
}

/// Chooses steps for a copy.
pub struct Chooser<'a> {
    pub copy: &'a Copy,
    pub kind: Kind,
    /// The place as commands name it.
    pub to: &'a str,
    /// Whether what is live is of the copy's past.
    pub is_current: bool,
    /// A number that no target has in its name yet.
    pub number: u64,
}

impl Chooser<'_> {
    pub fn choose(&self, chance: &mut Chance) -> Step {
        let now = self.copy.effective();
        // who is behind does something about it, mostly
        if !self.is_current && chance.one_in(2) {
            return self.catch_up(chance);
        }
        match chance.below(32) {
            0..=5 => self.add(&now, chance),
            6 => self.replace(&now, chance),
            7 | 8 => self.remove(&now, chance),
            9 => self.delegate(chance),
            10 => self.revoke(chance),
            11 | 12 => self.rotate(&now, chance),
            13 => self.bump(&now, chance),
            14 => Step::other(&[&format!("expire {} 200d", chance.choose(&["targets", "snapshot", "root"]))]),
            15 => Step::other(&[&format!("sign{}", keys(&now))]),
            16 | 17 => {
                Step::other(&[&format!("refresh --within {}{}", chance.choose(&["1h", "400d"]), keys(&now))])
            }
            18 => Step::of(
                Meaning::Publish,
                &[&format!("refresh --within 400d{}", keys(&now)), &self.publish()],
            ),
            19 | 20 => Step::other(&[&self.write(&now)]),
            21..=25 => Step::of(Meaning::Publish, &[&self.write(&now), &self.publish()]),
            26 => Step::of(Meaning::Publish, &[&self.publish()]),
            27 => self.recover(chance),
            28 => self.catch_up(chance),
            29 => self.collect(chance),
            30 => {
                Step::of(Meaning::Discard, &[*chance.choose(&["discard", "discard targets", "discard root"])])
            }
            _ => self.sign_apart(&now, chance),
        }
    }

    fn write(&self, now: &Effective) -> String {
        format!("write{}", keys(now))
    }

    fn publish(&self) -> String {
        match (self.kind, self.copy.name) {
            (Kind::Own, "a") => "publish".to_owned(),
            _ => format!("publish --to {}", self.to),
        }
    }

    fn add(&self, now: &Effective, chance: &mut Chance) -> Step {
        let delegates: Vec<_> = DELEGATES.iter().filter(|(role, _)| now.delegates_to(role)).collect();
        let (role, start) = match delegates.is_empty() || chance.one_in(2) {
            true => ("targets", "f"),
            false => **chance.choose(&delegates),
        };
        let path = format!("{start}{}", self.number);
        self.put(&path, &format!("{path} of {}", self.copy.name));
        Step::other(&[&format!("add-targets {}/targets/{path} --role {role}", self.copy.name)])
    }

    fn put(&self, path: &str, text: &str) {
        let place = self.copy.dir.join("targets").join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    fn replace(&self, now: &Effective, chance: &mut Chance) -> Step {
        let listed = now.targets();
        let of_top: Vec<&String> = listed.keys().filter(|path| path.starts_with('f')).collect();
        if of_top.is_empty() {
            return self.add(now, chance);
        }
        let path = chance.choose(&of_top);
        self.put(path, &format!("{} of {}", self.number, self.copy.name));
        Step::other(&[&format!("add-targets {}/targets/{path} --replace", self.copy.name)])
    }

    fn remove(&self, now: &Effective, chance: &mut Chance) -> Step {
        let listed: Vec<String> = now.targets().into_keys().collect();
        let path = if listed.is_empty() { "absent" } else { chance.choose(&listed) };
        Step::of(Meaning::Removal(path.to_owned()), &[&format!("remove-targets {path}")])
    }

    fn delegate(&self, chance: &mut Chance) -> Step {
        Step::other(&[*chance.choose(&[
            "delegate team --key key-4.pub --paths team/* team/nest/*",
            "delegate nest --from team --key key-5.pub --paths team/nest/*",
            "delegate bin --key key-6.pub --bins 4",
        ])])
    }

    fn revoke(&self, chance: &mut Chance) -> Step {
        let (role, start) = chance.choose(&DELEGATES);
        Step::of(Meaning::Removal(format!("{start}*")), &[&format!("revoke {role}")])
    }

    fn rotate(&self, now: &Effective, chance: &mut Chance) -> Step {
        let role = *chance.choose(&["root", "targets", "snapshot", "timestamp", "timestamp", "team"]);
        let listed = now.keys(role);
        let others: Vec<usize> = (0..KEYS).filter(|number| !listed.contains(number)).collect();
        if listed.is_empty() || others.is_empty() {
            return self.delegate(chance);
        }
        let (old, new) = (chance.choose(&listed), chance.choose(&others));
        Step::other(&[&format!("rotate-key {role} --old key-{old}.pub --new key-{new}.pub")])
    }

    fn bump(&self, now: &Effective, chance: &mut Chance) -> Step {
        let role = *chance.choose(&["targets", "snapshot", "timestamp", "team", "root"]);
        let farther = match role {
            "root" => 0,
            // people are asked about a jump of more than 1,000
            _ => *chance.choose(&[0, 1, 2, 3, 10, 1500]),
        };
        match farther {
            0 => Step::other(&[&format!("bump {role}")]),
            farther => Step::other(&[&format!("bump {role} --version {}", now.version(role) + farther)]),
        }
    }

    fn recover(&self, chance: &mut Chance) -> Step {
        let all = ["timestamp", "snapshot", "targets"];
        let roles = match chance.below(3) {
            0 => vec!["timestamp"],
            1 => vec!["timestamp", "snapshot"],
            _ => all.to_vec(),
        };
        let line = format!("{} --yes --recover {}", self.publish(), roles.join(" "));
        Step::of(Meaning::Recovery(roles.into_iter().map(str::to_owned).collect()), &[&line])
    }

    fn catch_up(&self, chance: &mut Chance) -> Step {
        let from = match (self.kind, self.copy.name) {
            (Kind::Own, "a") => String::new(),
            _ => format!(" --from {}", self.to),
        };
        let pull = format!("pull{from}");
        match chance.below(4) {
            0 => Step::of(Meaning::Pull, &[&pull]),
            1 => Step::of(Meaning::Pull, &[&format!("{pull} --targets --yes")]),
            2 => Step::of(Meaning::Pull, &["discard", &format!("{pull} --targets --yes")]),
            _ => Step::of(Meaning::Pull, &[&format!("{pull} --targets")]),
        }
    }

    fn collect(&self, chance: &mut Chance) -> Step {
        let place = match (self.kind, self.copy.name) {
            (Kind::Own, "a") => String::new(),
            _ => chance.choose(&[format!(" --to {}", self.to), String::new()]).clone(),
        };
        let keep = chance.below(2) + 1;
        Step::of(Meaning::Collection, &[&format!("gc{place} --keep {keep} --keep-within 0s")])
    }

    /// A person signs a role at another machine.
    fn sign_apart(&self, now: &Effective, chance: &mut Chance) -> Step {
        let role = *chance.choose(&["root", "targets"]);
        let bundle = format!("bundle-{}-{}.json", self.copy.name, self.number);
        let keys: String = now.keys(role).iter().map(|key| format!(" --key key-{key}")).collect();
        Step::other(&[
            &format!("bump {role}"),
            &format!("sign --export {bundle} {role}"),
            &format!("sign --bundle {bundle}{keys}"),
            &format!("sign --import {bundle}"),
        ])
    }
}

pub fn keys(now: &Effective) -> String {
    now.all_keys().iter().map(|number| format!(" --key key-{number}")).collect()
}
