//! What can go wrong on the maintainer's side, with the data to say it in one line.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::history::sha256;
use super::role_names::alike_words;
use super::taken_away::TakenAway;
use super::unfit::Unfit;
use crate::canonical::CanonicalError;
use crate::crypto::SignError;
use crate::metadata::{
    KeyId, MAX_NUMBER, Metadata, ParseError, RoleName, RoleNameError, Root, TargetPathError, Threshold,
};
use crate::storage::Holder;
use crate::trusted_set::TrustError;
use crate::verify::Delegator;

/// Any failure of a repository operation. Nothing has changed on disk when one is returned, except that an
/// [`RepositoryError::Io`] in the middle of an execution leaves what the next run completes.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The request makes no sense for this repository.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key may not sign for a role.
    #[error("key {keyid} ({name}) may not sign for {}", target(.role))]
    MayNotSign {
        /// Its id, as computed from the public half.
        keyid: KeyId,
        /// What the user called it.
        name: String,
        /// The role that was asked for; `None` where it is no role's key at all.
        role: Option<RoleName>,
        /// The ids that may sign.
        may: Vec<KeyId>,
    },
    /// A key refused to sign.
    #[error("key {keyid} ({name}) cannot sign: {reason}")]
    Signing {
        /// Its id.
        keyid: KeyId,
        /// What the user called it.
        name: String,
        /// Why.
        reason: SignError,
    },
    /// Signatures are missing.
    #[error("{}", lacking_words(.0))]
    Incomplete(Vec<Lacking>),
    /// Nothing has been written yet that could be checked or published.
    #[error("nothing has been written in {} yet", folder.display())]
    NothingWritten {
        /// The folder.
        folder: PathBuf,
    },
    /// The metadata on disk is not what a client would accept.
    #[error("{file}: {reason}")]
    Refused {
        /// The file, relative to the repository.
        file: String,
        /// Why.
        reason: Refusal,
    },
    /// Work of this copy would be lost by taking over what is live.
    #[error("{}", in_the_way_words(.drafted, .unpublished))]
    InTheWay {
        /// The roles with drafts.
        drafted: Vec<RoleName>,
        /// The roles that are written here and not live, with their versions.
        unpublished: Vec<(RoleName, u64)>,
    },
    /// Drafts that cannot be used, with the reasons: nobody knows what would become of them beside what is live.
    #[error("{}", .0.iter().map(|(role, reason)| format!("the draft of '{role}' cannot be used: {reason}")).collect::<Vec<_>>().join("; "))]
    UnusableDrafts(BTreeMap<RoleName, String>),
    /// The roots of this copy and of what is live went apart.
    #[error("root v{version} here ({ours}) is not root v{version} in {} ({theirs}): two histories of trust are never merged", place.display())]
    Forked {
        /// The newest version that both have.
        version: u64,
        /// Where the other one is live.
        place: PathBuf,
        /// The root of this copy.
        ours: RootMark,
        /// The root that is live.
        theirs: RootMark,
    },
    /// Another publisher came first, at a place that cannot be locked.
    #[error("{object}: another publisher has replaced it meanwhile")]
    Overtaken {
        /// The object.
        object: String,
    },
    /// Another process is at work.
    #[error("{} is in use by {}", folder.display(), process(.holder))]
    Locked {
        /// The folder that is locked.
        folder: PathBuf,
        /// Who that is, where the system tells.
        holder: Option<Holder>,
    },
}

/// What tells one root file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootMark {
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The ids of the keys that it trusts for the root role; none where it cannot be read.
    pub keyids: Vec<KeyId>,
}

impl RootMark {
    /// Describes the bytes of a root file.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let role = RoleName::root();
        let root = Metadata::<Root>::from_bytes(bytes).ok().map(Metadata::into_signed);
        let keys = root.as_ref().and_then(|root| root.authority(&role));
        let keyids = keys.iter().flat_map(|authority| authority.keys()).map(|(id, _)| (*id).clone());
        Self { sha256: hex::encode(sha256(bytes)), keyids: keyids.collect() }
    }
}

impl fmt::Display for RootMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keyids.iter().map(|id| id.short().escape_debug().to_string()).collect();
        let keys = if keys.is_empty() { "none that can be read".to_owned() } else { keys.join(", ") };
        write!(f, "sha256 {}, root keys {keys}", self.sha256)
    }
}

/// A role whose signatures do not suffice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The role.
    pub role: RoleName,
    /// The version that is not signed enough.
    pub version: u64,
    /// How many signatures there are.
    pub signed: u64,
    /// How many there must be.
    pub threshold: Threshold,
    /// How many keys the role has.
    pub keys: usize,
    /// The keys that could still sign.
    pub missing: Vec<KeyId>,
    /// What people call those keys, as far as it is known.
    pub names: BTreeMap<KeyId, String>,
    /// The root version whose threshold is not met, where it is the old root's.
    pub old_root: Option<u64>,
}

impl Lacking {
    /// Puts hash bins together that follow one another and lack the same, as they do by the thousand. A few stay alone, and so
    /// do all other roles: each of those is named.
    pub fn together(roles: &[Self]) -> Vec<&[Self]> {
        let same = |a: &Self, b: &Self| {
            let lacks = |one: &Self| (one.signed, one.threshold, one.keys, one.old_root);
            let prefix = a.bin_prefix();
            prefix.is_some() && prefix == b.bin_prefix() && lacks(a) == lacks(b) && a.missing == b.missing
        };
        let size = |some: &[Self]| if some.len() > FEW_ALIKE { some.len() } else { 1 };
        roles.chunk_by(same).flat_map(|some| some.chunks(size(some))).collect()
    }

    /// Returns what stands before the index, where the role is called as hash bins are.
    fn bin_prefix(&self) -> Option<&str> {
        let (prefix, index) = self.role.as_str().rsplit_once('-')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (!index.is_empty() && index.bytes().all(is_digit)).then_some(prefix)
    }
}

/// Up to this many roles that lack the same are named one by one.
const FEW_ALIKE: usize = 8;
/// How many roles a sentence names.
const MOST_NAMED: usize = 20;

/// Says which end of the range of thresholds a number is beyond.
fn threshold_bound(number: u64) -> String {
    if number == 0 { "at least 1".to_owned() } else { format!("at most {MAX_NUMBER}") }
}

fn lacking_words(roles: &[Lacking]) -> String {
    let words = |lacking: &Lacking| {
        let Lacking { role, version, signed, threshold, keys, .. } = lacking;
        if threshold.lacking(*keys) > 0 {
            return format!("'{role}' role contains {keys} / {threshold} public keys");
        }
        let whose = lacking.old_root.map(|old| format!(" of root v{old}'s keys")).unwrap_or_default();
        let name = |id: &KeyId| lacking.names.get(id).map(|name| format!(" ({name})")).unwrap_or_default();
        let keyids = lacking.missing.iter().map(|id| format!("{}{}", id.as_str(), name(id)));
        let keyids = keyids.collect::<Vec<_>>().join(", ");
        format!("{role} v{version} has {signed} of {threshold} required signatures{whose}, missing {keyids}")
    };
    let together = Lacking::together(roles);
    let of_some = |some: &&[Lacking]| match some {
        [] => String::new(),
        [one] => words(one),
        [first, .., last] => {
            format!("{}, and {} more up to {} lack the same", words(first), some.len() - 1, last.role)
        }
    };
    let rest = match together.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    together.iter().take(MOST_NAMED).map(of_some).collect::<Vec<_>>().join("; ") + &rest
}

fn in_the_way_words(drafted: &[RoleName], unpublished: &[(RoleName, u64)]) -> String {
    let some = |words: Vec<String>| match words.len().checked_sub(MOST_NAMED) {
        None | Some(0) => words.join(", "),
        Some(more) => format!("{}, and {more} more", words[..MOST_NAMED].join(", ")),
    };
    let mut words = Vec::new();
    if !drafted.is_empty() {
        words.push(format!("drafted here: {}", some(drafted.iter().map(ToString::to_string).collect())));
    }
    if !unpublished.is_empty() {
        let versions = unpublished.iter().map(|(role, version)| format!("{role} v{version}")).collect();
        words.push(format!("written here and not live: {}", some(versions)));
    }
    format!("live has what this copy does not know, and work here is in the way ({})", words.join("; "))
}

fn target(role: &Option<RoleName>) -> String {
    role.as_ref().map_or_else(|| "any role".to_owned(), |role| format!("'{role}'"))
}

fn process(holder: &Option<Holder>) -> String {
    match holder {
        None => "another process".to_owned(),
        Some(Holder { process, command: None }) => format!("process {process}"),
        Some(Holder { process, command: Some(command) }) => format!("process {process} ({command})"),
    }
}

fn unreached_words(root: Option<u64>) -> String {
    match root {
        Some(version) => format!("is root v{version}, and a root on the way to it is missing or damaged there"),
        None => {
            "is signed with a key that no known root names: a root is missing or damaged there, or the place is another repository's"
                .to_owned()
        }
    }
}

/// Why metadata or a target on disk is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A client would not trust it.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    /// It is not metadata.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// It delegates to a name that no role has here.
    #[error(transparent)]
    RoleName(RoleNameError),
    /// It is not there.
    #[error("missing")]
    Missing,
    /// A versioned file is there with other bytes: clients may have it already.
    #[error("exists with other bytes, and clients may have it already")]
    OtherBytes,
    /// It is live, and this copy does not know it.
    #[error("was not written by this copy of the repository, nor taken over{}", and_more(*.more))]
    NotOurs {
        /// How many other files are refused for the same reason.
        more: usize,
    },
    /// It is live, and the history has a line of it and says as well that this copy wrote another file of that version, or
    /// skipped it: the histories of two copies were merged.
    #[error(
        "two copies of the repository wrote this version, or one skipped it; their histories were merged, and what is written here need not go on from it"
    )]
    Disputed,
    /// As [`Refusal::NotOurs`], where no timestamp and snapshot lead there that clients accept.
    #[error(
        "was not written by this copy of the repository, nor taken over, and what led clients there is damaged{}",
        and_more(*.more)
    )]
    Unannounced {
        /// How many other files are refused for the same reason.
        more: usize,
    },
    /// It is live, and what would take its place has a lower version, or another file of the same one.
    #[error("{role} v{live} is live, and what is written here is {}", written_version(.written))]
    Behind {
        /// The role.
        role: RoleName,
        /// The version that is live.
        live: u64,
        /// The version that is written; `None` where there is none.
        written: Option<u64>,
    },
    /// The live timestamp names a snapshot that is missing or damaged there, and what else is live does not tell whose
    /// release that was.
    #[error(
        "names snapshot v{snapshot}, which is missing or damaged there: nobody can tell whether this copy wrote that release"
    )]
    LostSnapshot {
        /// The version that is named.
        snapshot: u64,
    },
    /// It is this copy's, and the live timestamp leads to an older snapshot of another copy.
    #[error(
        "is a snapshot of this copy, and timestamp.json names v{snapshot} of another one: this copy was overtaken while it published, or live was led back"
    )]
    LedBack {
        /// The version that is named.
        snapshot: u64,
    },
    /// It is whole, and no known root leads to it.
    #[error("{}", unreached_words(*.root))]
    Unreached {
        /// The version, of a root.
        root: Option<u64>,
    },
    /// A `write` was killed: the files that are written do not go together.
    #[error("{0}: a write was killed before it was done")]
    CutShort(String),
    /// The history has lines of another repository: its first root is another one.
    #[error(
        "has lines of another repository, whose first root is not this one's, so that nobody can tell whose a file is"
    )]
    OtherHistory,
    /// It is no part of the live state, and well signed: somebody has put it whose publication goes on, or was cut short.
    #[error("is there already with other bytes, by a publication that goes on or was cut short")]
    Taken,
    /// The roots at a place are not those of this repository.
    #[error("is not the first root of this repository: another one is published there")]
    OtherRepository,
    /// A folder of written metadata that is to be read is not a copy of this repository's.
    #[error("is not the first root of this repository: another one is worked on there")]
    OtherWorkshop,
    /// No root at a place can be read, and clients trust one.
    #[error("{0}, and no other root there can be read: nobody can tell what its clients trust")]
    NoRoot(String),
    /// What is to be recovered was signed by a key that the new root still trusts, or there is no new root.
    #[error("cannot be recovered: {0}")]
    NotRecovered(String),
    /// It is live, and this copy does not go on from it; that or something else was signed only by keys that the newest root
    /// here takes away.
    #[error("{why}")]
    GivesWay {
        /// Why it is refused.
        why: Box<Refusal>,
        /// What can be recovered.
        taken: TakenAway,
    },
    /// It is live, and was signed only by keys that the newest root here takes away.
    #[error("what is live of {} was signed only by keys that root v{root} here takes away", .taken.roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(", "))]
    TakenAway {
        /// The roles.
        taken: TakenAway,
        /// The version of the root.
        root: u64,
    },
    /// A target's bytes are not the listed ones.
    #[error("changed since add-targets ({0})")]
    TargetChanged(String),
    /// A draft was made upon something older than what is written now.
    #[error(
        "was made before v{written} was written, by another copy of the repository: to go on with it would undo what that says"
    )]
    StaleDraft {
        /// The written version.
        written: u64,
    },
    /// A draft was made upon a written file that is missing or damaged now.
    #[error(
        "was made upon a written file that is missing or damaged now: nobody can tell what it would undo"
    )]
    LostBase,
    /// The draft of a role that is to be written cannot be used.
    #[error("{0}")]
    UnusableDraft(String),
    /// Anything else that a check found.
    #[error("{0}")]
    Finding(String),
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
}

fn written_version(version: &Option<u64>) -> String {
    version.map_or("nothing yet".to_owned(), |version| format!("v{version}"))
}

/// A request that makes no sense for this repository: nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// No repository there.
    #[error("{} is not a repository: it has no metadata.staged", .0.display())]
    NotARepository(PathBuf),
    /// Something is in the way of a new repository.
    #[error("{} is there already", .0.display())]
    AlreadyThere(PathBuf),
    /// The policy file is not understood.
    #[error("{}: {reason}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A role that no new root can recover.
    #[error(
        "'{role}' cannot be recovered: only targets, snapshot and timestamp can, whose keys the root names"
    )]
    NotRecoverable {
        /// The role.
        role: RoleName,
    },
    /// A line of the history is not understood.
    #[error("{}, line {line}: {reason}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: u64,
        /// Why.
        reason: &'static str,
    },
    /// A role that the repository does not have.
    #[error("there is no role '{0}'")]
    UnknownRole(String),
    /// A role that cannot be edited like this.
    #[error("'{role}' does not list targets")]
    ListsNoTargets {
        /// The role.
        role: RoleName,
    },
    /// Several roles delegate to this one.
    #[error("'{role}' is delegated by {}: name one", .delegators.iter().map(|d| format!("'{d}'")).collect::<Vec<_>>().join(" and "))]
    AmbiguousDelegator {
        /// The role.
        role: RoleName,
        /// Who delegates to it.
        delegators: Vec<RoleName>,
    },
    /// The named delegator does not delegate to the role.
    #[error("'{delegator}' does not delegate to '{role}'")]
    NotDelegatedBy {
        /// The role.
        role: RoleName,
        /// Who was named.
        delegator: RoleName,
    },
    /// A role does not have the key.
    #[error("'{role}' has no key {key}")]
    NoSuchKey {
        /// The role.
        role: RoleName,
        /// What was asked for.
        key: String,
    },
    /// Several keys start with the characters given.
    #[error("several keys of '{role}' start with {key}")]
    AmbiguousKey {
        /// The role.
        role: RoleName,
        /// What was asked for.
        key: String,
    },
    /// A number that is no threshold.
    #[error("the threshold of '{role}' must be {}", threshold_bound(*.number))]
    Threshold {
        /// The role.
        role: RoleName,
        /// What was asked for.
        number: u64,
    },
    /// More keys would have to sign than there are.
    #[error("'{role}' would have {keys} keys for a threshold of {threshold}: nobody could sign for it")]
    DeadEnd {
        /// The role.
        role: RoleName,
        /// How many keys it would have.
        keys: usize,
        /// How many of them would have to sign.
        threshold: Threshold,
    },
    /// An expiry that has passed.
    #[error("'{role}' would expire on {expires}, which has passed")]
    PastExpiry {
        /// The role.
        role: RoleName,
        /// The time asked for.
        expires: String,
    },
    /// An expiry sooner than anybody means.
    #[error("'{role}' would expire on {expires}, {after} from now{}", if *.months { "; m are minutes, mo are months" } else { "" })]
    ShortExpiry {
        /// The role.
        role: RoleName,
        /// The time asked for.
        expires: String,
        /// How long that is from now.
        after: String,
        /// Whether months may have been meant.
        months: bool,
    },
    /// A time beyond what metadata can express.
    #[error("the expiry of '{0}' lies too far in the future")]
    FarExpiry(RoleName),
    /// Not a higher version.
    #[error("version {version} of '{role}' is not higher than the written version {written}")]
    VersionNotHigher {
        /// The role.
        role: RoleName,
        /// The version asked for.
        version: u64,
        /// The version that is written.
        written: u64,
    },
    /// A folder that cannot be published to.
    #[error("{} cannot be published to: {reason}", path.display())]
    Destination {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// An archive in the way of what it keeps.
    #[error("{} is no place for an archive: it lies among the files that are collected", archive.display())]
    ArchiveInside {
        /// The folder.
        archive: PathBuf,
    },
    /// A version that leaves no room for the next ones.
    #[error("version {version} of '{role}' leaves no room for the next one")]
    LastVersion {
        /// The role.
        role: RoleName,
        /// The version.
        version: u64,
    },
    /// A file that should hold a draft to be signed, and does not.
    #[error("not a signing bundle: {reason}")]
    Bundle {
        /// Why.
        reason: String,
    },
    /// The file of a bundle that holds something else by now.
    #[error("{} has been replaced or removed meanwhile, and is not signed", path.display())]
    BundleReplaced {
        /// The file.
        path: PathBuf,
    },
    /// A role without a draft.
    #[error("'{role}' has no draft to sign")]
    NothingToSign {
        /// The role.
        role: RoleName,
    },
    /// A top-level role where a delegated one belongs.
    #[error("'{role}' is not a delegated role")]
    NotDelegated {
        /// The role.
        role: RoleName,
    },
    /// A version that leaves no room.
    #[error("version {version} of '{role}' is higher than {highest}, and versions never go down again")]
    VersionTooHigh {
        /// The role.
        role: RoleName,
        /// The version asked for.
        version: u64,
        /// The highest that can be chosen.
        highest: u64,
    },
    /// Roots are numbered without gaps, or clients cannot follow them.
    #[error("root v{version} would leave a gap: the next root is v{next}")]
    RootVersion {
        /// The version asked for.
        version: u64,
        /// The version that must be next.
        next: u64,
    },
    /// A delegation of this name is there.
    #[error("'{delegator}' delegates to '{name}' already")]
    DelegationThere {
        /// The delegated role.
        name: RoleName,
        /// Who delegates.
        delegator: RoleName,
    },
    /// A role would delegate to itself in the end.
    #[error("'{delegator}' cannot delegate to '{name}', which leads back to it")]
    Cycle {
        /// The delegated role.
        name: RoleName,
        /// Who would delegate.
        delegator: RoleName,
    },
    /// A delegation that trusts nothing, or in a wrong spelling.
    #[error("{0}")]
    Delegation(String),
    /// A line of a manifest.
    #[error("line {line} of the manifest: {reason}")]
    Manifest {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A hash bin where a role of its own belongs.
    #[error("'{bin}' is one of the hash bins '{bins}'")]
    HashBin {
        /// The bin.
        bin: RoleName,
        /// The prefix of the bins.
        bins: String,
    },
    /// A name that differs from another role's only in capitals or in the way its letters are written.
    #[error("{}", alike_words(name, other))]
    AlikeRole {
        /// The new name.
        name: RoleName,
        /// The role that is there.
        other: RoleName,
    },
    /// Not a name for a role.
    #[error(transparent)]
    RoleName(#[from] RoleNameError),
    /// Not a path for a target.
    #[error(transparent)]
    TargetPath(#[from] TargetPathError),
    /// No such file.
    #[error("{}: {reason}", path.display())]
    NoFile {
        /// The path as typed.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file lies outside the targets folder.
    #[error("{} is not under {}", path.display(), targets.display())]
    OutsideTargets {
        /// The path as typed.
        path: PathBuf,
        /// The folder.
        targets: PathBuf,
    },
    /// A link on the way to a file that is to be listed.
    #[error("{} is a link that leads out of {}", link.display(), base.display())]
    LinkOutside {
        /// The link.
        link: PathBuf,
        /// The folder in which the files to list are.
        base: PathBuf,
    },
    /// Listed with other bytes.
    #[error("'{path}' is listed in '{role}' with other bytes")]
    Changed {
        /// The target.
        path: String,
        /// The role.
        role: RoleName,
    },
    /// Another file stands where a target is to be copied.
    #[error("targets/{path} exists with other bytes")]
    InTheWay {
        /// The target.
        path: String,
    },
    /// Something else lies where a target of others would be put.
    #[error("targets/{} is there and is not what is listed", path.escape_debug())]
    TargetThere {
        /// The name of the file, below `targets/`.
        path: String,
    },
    /// Something lies where a target would be published, and nothing live leads to it.
    #[error("{} is there, and no live metadata leads to it: somebody else's, or left of an earlier publication", place.display())]
    NotOurFile {
        /// The place of the file, or of a folder above it.
        place: PathBuf,
    },
    /// A link in the folder of targets of a destination.
    #[error("{} is a link that leads out of the folder of targets", place.display())]
    LeadsOutside {
        /// The link.
        place: PathBuf,
    },
    /// A target and a folder of the same name.
    #[error("'{path}' cannot be a target: {reason}")]
    Clash {
        /// The target.
        path: String,
        /// Why.
        reason: String,
    },
    /// A target that no client takes.
    #[error("{}'{path}' cannot be a target: {why}", .role.as_ref().map(|role| format!("'{role}' lists it: ")).unwrap_or_default())]
    Unfit {
        /// The path.
        path: String,
        /// The role that lists it, where it is listed already.
        role: Option<RoleName>,
        /// Why no client takes it.
        why: Unfit,
    },
    /// The role is not trusted for the path, so that no client would find it.
    #[error("'{role}' is not trusted for '{path}' by its delegation")]
    NotTrusted {
        /// The role.
        role: RoleName,
        /// The target.
        path: String,
    },
    /// Nothing matches.
    #[error("no target matches '{0}'")]
    NoMatch(String),
    /// What canonical JSON cannot express.
    #[error("{what} has no canonical form: {reason}")]
    Canonical {
        /// What it is about.
        what: String,
        /// Why.
        reason: CanonicalError,
    },
}

/// Adds the path to an I/O error.
pub(crate) trait AtPath<T> {
    /// Names the file that the operation was about.
    fn at(self, path: impl Into<PathBuf>) -> Result<T, RepositoryError>;

    /// Names the file where it takes work to find its name and there are many.
    fn at_place(self, place: impl FnOnce() -> PathBuf) -> Result<T, RepositoryError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, RepositoryError> {
        self.at_place(|| path.into())
    }

    fn at_place(self, place: impl FnOnce() -> PathBuf) -> Result<T, RepositoryError> {
        self.map_err(|source| RepositoryError::Io { path: place(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_roles_that_lack_the_same_are_told_in_one_breath() {
        let lacking = |role: String, key: &str| Lacking {
            role: RoleName::new(role).unwrap(),
            version: 1,
            signed: 0,
            threshold: Threshold::ONE,
            keys: 1,
            missing: vec![KeyId::new(key)],
            names: BTreeMap::new(),
            old_root: None,
        };
        let bins = |number: usize| (0..number).map(|index| lacking(format!("bins-{index:x}"), "b"));
        let words = |number: usize| {
            let all = [lacking("targets".to_owned(), "t")].into_iter().chain(bins(number)).collect();
            RepositoryError::Incomplete(all).to_string()
        };
        assert_eq!(
            words(16),
            "targets v1 has 0 of 1 required signatures, missing t; bins-0 v1 has 0 of 1 required signatures, \
             missing b, and 15 more up to bins-f lack the same"
        );
        let all = ('a'..='l').map(|name| lacking(name.to_string(), "k")).collect();
        assert_eq!(RepositoryError::Incomplete(all).to_string().matches("missing k").count(), 12);
        let few = words(2);
        assert!(few.ends_with("missing b; bins-1 v1 has 0 of 1 required signatures, missing b"), "{few}");
    }
}
