//! Whether a publication goes on from what is live. Versions do not tell: two copies of a repository give one version to
//! different files. What clients accept as live must have been written by this copy or taken over by it, and no version of
//! it goes down, whatever keys a new root has. A client may forget what it knew when keys go (specification 5.3.11); a
//! publisher knows what is live.
//!
//! `write`, `refresh` and `publish` ask the one function here, and `verify` finds what it refuses.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::accepted::{Accepted, AcceptedFile, Known, Roots, Twin, is_signed_well};
use super::error::{AtPath, Refusal, RepositoryError};
use super::history::{Entry, HISTORY, History, Testimony, stated_version};
use super::identity::begins_another;
use super::layout::{Layout, MAX_METADATA, METADATA, is_versioned, parse_versioned};
use super::signed_by::SignedBy;
use super::taken_away::TakenAway;
use crate::metadata::{Metadata, RoleName, Root, Snapshot, Targets};
use crate::storage::{Folder, ReadFiles, regular_or_none};
use crate::verify::{Authority, Delegator};

/// What becomes of a place where no root can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DamagedRoots {
    /// It is refused: nobody can tell what its clients trust.
    #[default]
    Refuse,
    /// What is written takes its place, where the rest of it goes on from the roots that are written here.
    Replace,
}

/// A role whose live version goes down, or gives way, since the keys that signed it are trusted no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The role.
    pub role: RoleName,
    /// The version that is live.
    pub from: u64,
    /// The version that takes its place.
    pub to: u64,
}

/// What would take the place of what is live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Successor<'a> {
    pub(super) root: Option<&'a Root>,
    pub(super) timestamp: Option<u64>,
    pub(super) snapshot: Option<&'a Snapshot>,
}

impl Successor<'_> {
    fn version(&self, role: &RoleName) -> Option<u64> {
        match role.as_str() {
            "root" => self.root.map(|root| root.version),
            "timestamp" => self.timestamp,
            "snapshot" => self.snapshot.map(|snapshot| snapshot.version),
            _ => self.snapshot.and_then(|snapshot| snapshot.role(role)).map(|listed| listed.version),
        }
    }

    /// Tells whether a live file is part of what is published now. An older one needs the history: it may lie here and be
    /// another copy's.
    fn is_written_now(&self, file: &AcceptedFile) -> bool {
        file.twin == Twin::Same && self.version(&file.role) == Some(file.version)
    }
}

/// What this copy of a repository knows of itself.
pub(super) struct Ours<'a> {
    /// The folder of the repository.
    repository: &'a Path,
    /// The folder of its written metadata.
    written: &'a Folder,
    /// How its written files are named.
    layout: Layout,
    /// The newest root here, written or drafted: what gives way to it can be recovered once it is written.
    newest_root: Option<&'a Root>,
    /// Read where the files that are written now do not vouch for what is live.
    history: OnceCell<History>,
}

impl<'a> Ours<'a> {
    pub(super) fn of(repository: &'a Path, written: &'a Folder, layout: Layout) -> Self {
        Self { repository, written, layout, newest_root: None, history: OnceCell::new() }
    }

    /// Names the newest root here.
    pub(super) fn with_newest_root(self, newest_root: Option<&'a Root>) -> Self {
        Self { newest_root, ..self }
    }

    fn history(&self) -> Result<&History, RepositoryError> {
        if let Some(history) = self.history.get() {
            return Ok(history);
        }
        let read = History::read(self.repository, self.written, self.layout)?;
        Ok(self.history.get_or_init(|| read))
    }

    /// Tells whether the written file under the name of a live one is no metadata of that version. Such a file is put nowhere.
    fn is_damaged(&self, file: &AcceptedFile) -> Result<bool, RepositoryError> {
        let bytes = regular_or_none(self.written.read(&file.name, MAX_METADATA));
        let bytes = bytes.at(self.written.file(&file.name))?;
        Ok(bytes.is_none_or(|bytes| stated_version(&bytes) != Some(file.version)))
    }

    /// Asks the history about a live file. That the file lies beside what is written is not enough: a merge, or a copy by
    /// hand, may have put it there.
    pub(super) fn testimony(&self, file: &AcceptedFile) -> Result<Testimony, RepositoryError> {
        let entry = match &file.entry {
            Some(entry) => Some(entry.clone()),
            None => {
                let bytes = regular_or_none(self.written.read(&file.name, MAX_METADATA));
                let bytes = bytes.at(self.written.file(&file.name))?;
                bytes.map(|bytes| Entry::new(file.role.clone(), file.version, &bytes))
            }
        };
        Ok(match entry {
            Some(entry) => self.history()?.testimony(&entry),
            None => Testimony::Unknown,
        })
    }
}

/// What becomes of a live timestamp that names a snapshot which is not there, where nobody can tell whose release that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LostSnapshot {
    /// It is refused.
    Refuse,
    /// It gives way.
    Replace,
    /// It is left to `publish`: nothing live changes now.
    Leave,
}

/// What a publication may do besides going on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permissions<'a> {
    pub(super) damaged_roots: DamagedRoots,
    pub(super) lost_snapshot: LostSnapshot,
    /// The roles that are recovered.
    pub(super) recover: &'a BTreeSet<RoleName>,
}

/// A file that is in the way.
struct Objection {
    role: RoleName,
    /// The version that is live.
    version: u64,
    file: String,
    reason: Refusal,
    /// The keys that signed this very file.
    signed_by: SignedBy,
}

impl Objection {
    /// Tells whether somebody else has published it: not where only a version of this copy would go down. Of a timestamp
    /// nobody keeps a history.
    fn is_of_others(&self) -> bool {
        self.role.as_str() == "timestamp" || !matches!(self.reason, Refusal::Behind { .. })
    }
}

/// The roles that can be recovered: those whose keys the root names, but for the root.
pub(super) const RECOVERABLE: [&str; 3] = ["targets", "snapshot", "timestamp"];

/// Refuses a successor of what is live that does not go on from it. Returns the roles that are recovered.
///
/// # Errors
/// [`RepositoryError::Refused`] for the first file that is in the way; [`RepositoryError::Io`].
pub(super) fn refuse_what_is_not_ours(
    live: &Accepted,
    successor: Successor<'_>,
    ours: &Ours<'_>,
    permissions: Permissions<'_>,
) -> Result<Vec<Recovered>, RepositoryError> {
    refuse_roots(live, ours, permissions.damaged_roots)?;
    let judge = Judge { live, successor, ours, own_snapshot: own_snapshot(live, successor, ours)? };
    let recover = |role: &RoleName| permissions.recover.contains(role);
    let mut recovered: BTreeMap<RoleName, Recovered> = BTreeMap::new();
    let mut refused = Vec::new();
    for objection in judge.objections(permissions.lost_snapshot, recover)? {
        if !recover(&objection.role) {
            refused.push(objection);
            continue;
        }
        let found = judge.recovered(&objection)?;
        let newest = recovered.entry(objection.role.clone()).or_insert_with(|| found.clone());
        newest.from = newest.from.max(found.from);
    }
    if refused.iter().any(|objection| matches!(objection.reason, Refusal::Disputed))
        && let Some(first) = live.files.first().filter(|first| first.twin == Twin::Same)
        && ours.testimony(first)? == Testimony::Disputed
    {
        // copies of one repository have one first root
        return Err(RepositoryError::Refused { file: HISTORY.to_owned(), reason: Refusal::OtherHistory });
    }
    let unknown = refused.iter().filter(|objection| matches!(objection.reason, Refusal::NotOurs { .. }));
    let more = unknown.count().saturating_sub(1);
    let Some(Objection { file, reason, .. }) = refused.into_iter().next() else {
        return Ok(recovered.into_values().collect());
    };
    let reason = match reason {
        Refusal::NotOurs { .. } | Refusal::Disputed if !live.is_announced() => Refusal::Unannounced { more },
        Refusal::NotOurs { .. } => Refusal::NotOurs { more },
        reason => reason,
    };
    let taken = judge.taken_away()?;
    let reason = match taken.roles.is_empty() {
        true => reason,
        false => Refusal::GivesWay { why: Box::new(reason), taken },
    };
    Err(RepositoryError::Refused { file, reason })
}

/// Finds what is live, not of this copy, and was signed only by keys that the newest root here takes away.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn taken_away(
    live: &Accepted,
    successor: Successor<'_>,
    ours: &Ours<'_>,
) -> Result<TakenAway, RepositoryError> {
    Judge { live, successor, ours, own_snapshot: own_snapshot(live, successor, ours)? }.taken_away()
}

/// Finds the files of snapshots above the live one that this copy does not know. Clients may have them, where the timestamp was
/// put back. A publication that was cut short, or that another one overtook, leaves the same, so they stop nobody.
///
/// # Errors
/// [`RepositoryError::Io`].
pub(super) fn unknown_above<'a>(
    live: &'a Accepted,
    successor: Successor<'_>,
    ours: &Ours<'_>,
) -> Result<Vec<&'a AcceptedFile>, RepositoryError> {
    let mut unknown = Vec::new();
    for file in &live.above {
        if !successor.is_written_now(file) && ours.testimony(file)? != Testimony::Ours {
            unknown.push(file);
        }
    }
    Ok(unknown)
}

/// Refuses a place that is another repository's, or where nobody can tell.
fn refuse_roots(live: &Accepted, ours: &Ours<'_>, damaged: DamagedRoots) -> Result<(), RepositoryError> {
    let refused = |file: String, reason| Err(RepositoryError::Refused { file, reason });
    if live.roots == Roots::Foreign
        && let Some(first) = live.files.first()
        && begins_another(ours, first)?
    {
        return refused(format!("{METADATA}/{}", first.name), Refusal::OtherRepository);
    }
    if let Some(unreached) = &live.unreached {
        return Err(unreached.refused());
    }
    if live.roots == Roots::Unreadable && damaged == DamagedRoots::Refuse {
        let found = live.damaged.iter().find(|damaged| damaged.role.as_str() == "root");
        let name = found.map_or("root.json", |damaged| damaged.name.as_str());
        let reason = found.map_or("missing".to_owned(), |damaged| damaged.reason.clone());
        return refused(format!("{METADATA}/{name}"), Refusal::NoRoot(reason));
    }
    Ok(())
}

/// Who may sign for roles once a publication is live.
pub(super) struct Signers<'a> {
    pub(super) root: Option<&'a Root>,
    pub(super) targets: &'a BTreeMap<RoleName, Targets>,
}

/// Refuses to put a versioned file over another one that a client may be led to, now or afterwards.
///
/// # Errors
/// [`RepositoryError::Refused`].
pub(super) fn refuse_taken(
    live: &Accepted,
    signers: &Signers<'_>,
    name: &str,
    theirs: &[u8],
) -> Result<(), RepositoryError> {
    let Some((version, role)) = parse_versioned(name) else { return Ok(()) };
    let ours = signers.root.into_iter().filter_map(|root| root.authority(&role));
    let delegated = signers.targets.values().filter_map(|targets| targets.authority(&role));
    let all: Vec<Authority<'_>> = live.authorities(&role).chain(ours).chain(delegated).collect();
    if !is_signed_well(&role, version, theirs, all.into_iter()) {
        return Ok(());
    }
    let is_live = live.files.iter().any(|file| file.name == name);
    let reason = if is_live { Refusal::OtherBytes } else { Refusal::Taken };
    Err(RepositoryError::Refused { file: format!("{METADATA}/{name}"), reason })
}

/// Finds this copy's snapshot that the live timestamp names, where the live one is missing or damaged and all else that is
/// live is as that snapshot says: then it was this copy's release.
fn own_snapshot(
    live: &Accepted,
    successor: Successor<'_>,
    ours: &Ours<'_>,
) -> Result<Option<Snapshot>, RepositoryError> {
    let role = RoleName::snapshot();
    let named = live.timestamp.as_ref().and_then(|known| known.metadata.signed().snapshot());
    let Some(named) = named.filter(|_| !live.is_announced()) else { return Ok(None) };
    let name = ours.layout.metadata_name(&role, named.version);
    let Some(bytes) = ours.written.read(&name, MAX_METADATA).at(ours.written.file(&name))? else {
        return Ok(None);
    };
    let is_named = named.check(&bytes).is_ok();
    let entry = Entry::new(role.clone(), named.version, &bytes);
    let snapshot = Metadata::<Snapshot>::from_file(bytes).ok().map(Metadata::into_signed);
    let Some(snapshot) = snapshot.filter(|found| is_named && found.version == named.version) else {
        return Ok(None);
    };
    if successor.version(&role) != Some(named.version) && !ours.history()?.vouches_for(&entry) {
        return Ok(None);
    }
    let is_live = |role: &RoleName, version: u64| {
        let found = live.files.iter().filter(|file| file.role == *role);
        let newest = found.max_by_key(|file| file.version);
        match newest {
            Some(file) => file.version == version && file.twin == Twin::Same,
            // nobody delegates to a role that was revoked
            None => live.authorities(role).next().is_none(),
        }
    };
    let mut listed = snapshot.meta.into_iter();
    let all = listed
        .all(|(path, file)| RoleName::from_metapath(&path).is_none_or(|role| is_live(&role, file.version)));
    Ok(Some(snapshot).filter(|_| all))
}

struct Judge<'a> {
    live: &'a Accepted,
    successor: Successor<'a>,
    ours: &'a Ours<'a>,
    /// What stands in for a live snapshot that is missing or damaged.
    own_snapshot: Option<Snapshot>,
}

impl Judge<'_> {
    /// Finds all that is in the way, where some roles are recovered.
    fn objections(
        &self,
        lost: LostSnapshot,
        recover: impl Fn(&RoleName) -> bool,
    ) -> Result<Vec<Objection>, RepositoryError> {
        let mut objections = self.files()?;
        let snapshot = RoleName::snapshot();
        let is_recovered = recover(&snapshot) && objections.iter().any(|one| one.role == snapshot);
        objections.extend(self.lower(is_recovered));
        // where the snapshot is refused, it is named and not the timestamp
        if is_recovered || objections.iter().all(|one| one.role != snapshot) {
            objections.extend(self.timestamp(lost)?);
        }
        Ok(objections)
    }

    /// Finds the roles that could be recovered with the newest root here, and whether all else that is live is of this copy.
    fn taken_away(&self) -> Result<TakenAway, RepositoryError> {
        let old = self.live.root.as_ref().map(|root| root.metadata.signed());
        let newest = self.ours.newest_root.or(self.successor.root);
        let newer = newest.filter(|new| old.is_some_and(|old| new.version > old.version));
        let Some(new) = newer else { return Ok(TakenAway::default()) };
        let recoverable = |role: &RoleName| RECOVERABLE.contains(&role.as_str());
        let objections = self.objections(LostSnapshot::Refuse, recoverable)?;
        let gives_way = |role: &RoleName| {
            let mut of_role = objections.iter().filter(|one| one.role == *role);
            let stays = |one: &Objection| one.signed_by.refuse_kept(role, new).is_err();
            of_role.clone().any(Objection::is_of_others) && !of_role.any(stays)
        };
        let all = [RoleName::targets(), RoleName::snapshot(), RoleName::timestamp()];
        let roles: Vec<RoleName> = all.into_iter().filter(gives_way).collect();
        let others = !roles.is_empty() && objections.iter().any(|one| !roles.contains(&one.role));
        let is_drafted = self.successor.root.is_none_or(|written| written.version < new.version);
        Ok(TakenAway { roles, others, is_drafted })
    }

    /// Finds accepted files that this copy does not know, roots first, the snapshot last.
    fn files(&self) -> Result<Vec<Objection>, RepositoryError> {
        let mut objections = Vec::new();
        let asked = |file: &&AcceptedFile| {
            !self.successor.is_written_now(file)
                && !self.is_replaced(file)
                && !self.leads_to_newest_root(file)
        };
        for file in self.live.files.iter().filter(asked) {
            if let Some(reason) = self.objection(file)? {
                objections.push(Objection {
                    role: file.role.clone(),
                    version: file.version,
                    file: format!("{METADATA}/{}", file.name),
                    reason,
                    signed_by: file.signed_by.clone(),
                });
            }
        }
        let rank = |objection: &Objection| match objection.role.as_str() {
            "root" => 0,
            "targets" => 1,
            "snapshot" => 3,
            _ => 2,
        };
        objections.sort_by_key(rank);
        Ok(objections)
    }

    /// Tells whether a file is a root that is written here as well and leads to a newer one that is live: what is asked is
    /// whose the newest is.
    fn leads_to_newest_root(&self, file: &AcceptedFile) -> bool {
        let newest = self.live.root.as_ref().map(|root| root.metadata.signed().version);
        file.role.as_str() == "root" && file.twin == Twin::Same && Some(file.version) < newest
    }

    /// Tells whether this copy's own snapshot, which the live timestamp names, has a newer file in the place of this one.
    fn is_replaced(&self, file: &AcceptedFile) -> bool {
        let Some(snapshot) = &self.own_snapshot else { return false };
        match file.role.as_str() {
            "root" => false,
            "snapshot" => file.version < snapshot.version,
            _ => snapshot.role(&file.role).is_some_and(|listed| file.version < listed.version),
        }
    }

    fn objection(&self, file: &AcceptedFile) -> Result<Option<Refusal>, RepositoryError> {
        match self.ours.testimony(file)? {
            Testimony::Ours => {}
            Testimony::Disputed => return Ok(Some(Refusal::Disputed)),
            Testimony::Unknown => return Ok(Some(Refusal::NotOurs { more: 0 })),
        }
        // it was written here once: what is written now must go on from it
        let same_version = is_versioned(self.live.layout(), &file.name)
            || self.successor.version(&file.role) == Some(file.version);
        let differs = file.twin == Twin::Other && same_version && !self.ours.is_damaged(file)?;
        Ok(differs.then_some(Refusal::OtherBytes))
    }

    /// Finds roles whose versions would go down.
    fn lower(&self, snapshot_recovered: bool) -> Vec<Objection> {
        let mut objections = Vec::new();
        let mut compare = |role: &RoleName, live: u64, signed_by: SignedBy| {
            let written = self.successor.version(role);
            if written.is_none_or(|written| written < live) {
                let file = format!("{METADATA}/{}", self.live.layout().metadata_name(role, live));
                let reason = Refusal::Behind { role: role.clone(), live, written };
                objections.push(Objection { role: role.clone(), version: live, file, reason, signed_by });
            }
        };
        for file in &self.live.files {
            compare(&file.role, file.version, file.signed_by.clone());
        }
        // after a recovered snapshot only files that exist count, not what it lists
        if let Some(listed) = self.live.snapshot.as_ref().filter(|_| !snapshot_recovered) {
            let listed = &listed.metadata.signed().meta;
            let none = Default::default();
            let differing =
                listed.differing(self.successor.snapshot.map_or(&none, |snapshot| &snapshot.meta));
            // a file that is there has been compared, with the keys that signed it
            let there: BTreeSet<(&RoleName, u64)> =
                self.live.files.iter().map(|file| (&file.role, file.version)).collect();
            for (path, file) in differing.into_iter().filter_map(|place| listed.at(place)) {
                if let Some(role) = RoleName::from_metapath(&path)
                    && !there.contains(&(&role, file.version))
                {
                    compare(&role, file.version, SignedBy::default());
                }
            }
        }
        objections
    }

    /// Finds out whether the timestamp is of this copy: its snapshot is, and no timestamp is written here that is older, or
    /// another one of its version.
    fn timestamp(&self, lost: LostSnapshot) -> Result<Option<Objection>, RepositoryError> {
        let Some(Known { metadata, twin, .. }) = self.live.timestamp.as_ref() else { return Ok(None) };
        if *twin == Twin::Same {
            return Ok(None);
        }
        let (role, live) = (RoleName::timestamp(), metadata.signed().version);
        let object = |reason| {
            let file = format!("{METADATA}/timestamp.json");
            let root = self.live.root.as_ref().map(|root| root.metadata.signed());
            let authority = root.and_then(|root| root.authority(&role));
            let signed_by = SignedBy::of(metadata, authority.as_ref());
            Ok(Some(Objection { role: role.clone(), version: live, file, reason, signed_by }))
        };
        // the files of all roles stand in the place of the snapshot; where they are not as this copy's own snapshot says, the
        // number alone tells nothing: two copies give it to different releases
        let named = metadata.signed().snapshot().map_or(0, |named| named.version);
        if !self.live.is_announced() && self.own_snapshot.is_none() && !self.has_begun_above(named) {
            match lost {
                LostSnapshot::Refuse => return object(Refusal::LostSnapshot { snapshot: named }),
                LostSnapshot::Leave => return Ok(None),
                LostSnapshot::Replace => {}
            }
        }
        match self.successor.timestamp {
            Some(written) if written > live => Ok(None),
            Some(written) if written == live => object(Refusal::OtherBytes),
            written => object(Refusal::Behind { role: role.clone(), live, written }),
        }
    }

    /// Tells whether a publication that was cut short has put its snapshot over the one that the timestamp names, which only
    /// the plain layout does. Whose it was is asked of that snapshot.
    fn has_begun_above(&self, named: u64) -> bool {
        let found = self.live.snapshot.as_ref().map(|known| known.metadata.signed().version);
        self.live.layout() == Layout::Plain && found > Some(named)
    }

    /// Makes sure that a new root takes away all keys that signed what is live of a role.
    fn recovered(&self, objection: &Objection) -> Result<Recovered, RepositoryError> {
        let role = &objection.role;
        let refused = |reason: String| RepositoryError::Refused {
            file: objection.file.clone(),
            reason: Refusal::NotRecovered(reason),
        };
        let old = self.live.root.as_ref().map(|root| root.metadata.signed());
        let new = self.successor.root.filter(|new| old.is_some_and(|old| new.version > old.version));
        let Some(new) = new else {
            return Err(refused(format!(
                "no new root is part of this publication that takes away the keys of '{role}'"
            )));
        };
        objection.signed_by.refuse_kept(role, new).map_err(refused)?;
        let Some(to) = self.successor.version(role) else {
            return Err(refused(format!("nothing is written of '{role}' that could take its place")));
        };
        Ok(Recovered { role: role.clone(), from: objection.version, to })
    }
}
