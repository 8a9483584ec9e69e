//! A full client's check of metadata on a disk: every role, every delegation, and what a client could never reach.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::accepted::{Accepted, Extent};
use super::bins::{BinSet, Delegatee, delegatees, left_out};
use super::error::{AtPath, Refusal, RepositoryError};
use super::fault::{Fault, Ground, Leading};
use super::gate::check_succession;
use super::layout::{Layout, MAX_METADATA, METADATA, STAGED, TARGETS};
use super::listing::is_covered;
use super::place::Destination;
use super::policy::Policy;
use super::presence::set_aside_elsewhere;
use super::publish::{at_places, listed_anew};
use super::role_names::awkward_names;
use super::staged::Staged;
use super::target_files::{ListedAt, all_listed, check_target_files};
use super::unfit::unfit_targets;
use crate::metadata::{MetaFile, Metadata, RoleName, Root, Signed, Snapshot, Targets, time};
use crate::storage::{Folder, Storage, regular_or_none};
use crate::trusted_set::{Origin, TrustError, TrustedMetadataSet};
use crate::verify::{Delegator, Verified};

/// How many bytes of a snapshot, and of a role that lists targets, clients take where their length is not listed: the
/// defaults of python-tuf's client and of `tuf-fetch`.
const USUAL_BOUNDS: (u64, u64) = (2_000_000, 5_000_000);

/// Which metadata of a repository is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `metadata.staged`, without the drafts.
    Staged,
    /// `metadata`, what clients download.
    Live,
}

impl Side {
    /// Returns the name of the folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Staged => STAGED,
            Self::Live => METADATA,
        }
    }
}

/// What is made of metadata that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It is an error.
    Enforce,
    /// It is a warning.
    Allow,
}

/// How target files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetBytes {
    /// Not at all.
    Ignore,
    /// Each file that clients ask for must be there with its length.
    Present,
    /// Each file is read and its digests compared.
    Digest,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckOptions {
    /// The metadata.
    pub side: Side,
    /// What is made of expired metadata.
    pub expiry: Expiry,
    /// The target files.
    pub targets: TargetBytes,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Clients fail.
    Error,
}

impl Severity {
    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The role that it is about.
    pub role: Option<RoleName>,
    /// The file that it is about, relative to the repository.
    pub file: Option<String>,
    /// One sentence.
    pub message: String,
}

/// What a check found in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings in the order of the client's workflow.
    pub findings: Vec<Finding>,
    /// The versions that a client ends up with.
    pub versions: BTreeMap<RoleName, u64>,
}

impl Report {
    /// Tells whether clients are served.
    pub fn ok(&self) -> bool {
        self.first_error().is_none()
    }

    /// Returns the first error.
    pub fn first_error(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error)
    }
}

/// Checks the metadata of a repository folder as a client would that starts from the first root; what is staged, also as
/// one that stands on what is live.
///
/// # Errors
/// [`RepositoryError::Io`]; what a client would not accept is in the report.
pub fn check(
    repository: &Path,
    options: CheckOptions,
    now: DateTime<Utc>,
) -> Result<Report, RepositoryError> {
    let folder = Folder::new(repository.join(options.side.folder()));
    let policy = Policy::read(repository)?;
    let first_root = policy.first_root();
    let mut checked = check_metadata(&folder, options.side.folder(), first_root, options.expiry, now, None)?;
    let mut report = checked.whole_report();
    if options.side == Side::Staged && report.ok() {
        report.findings.extend(check_succession(repository, first_root, &checked)?);
    }
    if options.targets != TargetBytes::Ignore {
        let targets = Folder::new(repository.join(TARGETS)).held();
        if policy.targets_elsewhere() {
            report.findings.extend(set_aside_elsewhere(&targets, &mut checked.targets)?);
        }
        report.findings.extend(check_target_files(
            &targets,
            checked.layout,
            &all_listed(&checked.targets),
            options.targets,
        )?);
    }
    Ok(report)
}

/// Checks as [`check`] does what is written; a target that is live with the same bytes where the repository is published need not
/// be here as well, and if it is here it must be what is listed.
///
/// # Errors
/// As [`check`].
pub fn check_beside(
    repository: &Path,
    options: CheckOptions,
    now: DateTime<Utc>,
    published: &Destination,
) -> Result<Report, RepositoryError> {
    let here = check(repository, options, now)?;
    let is_target = |finding: &Finding| finding.file.as_ref().is_some_and(|file| file.starts_with(TARGETS));
    let targets = Folder::new(repository.join(TARGETS)).held();
    let (metadata, files): (Box<dyn Storage>, Box<dyn Storage>) = match published {
        Destination::Folder(base) => {
            (Box::new(Folder::new(base.join(METADATA))), Box::new(Folder::new(base.join(TARGETS)).held()))
        }
        Destination::Bucket(place) => {
            for part in [&place.metadata, &place.targets] {
                part.survey().at(part.place(""))?;
            }
            (Box::new(place.metadata.clone()), Box::new(place.targets.clone()))
        }
        Destination::Own => return Ok(here),
    };
    if options.side == Side::Live || !here.findings.iter().any(is_target) {
        return Ok(here);
    }
    let first_root = Policy::read(repository)?.first_root();
    let staged = Folder::new(repository.join(STAGED));
    let written = check_metadata(&staged, STAGED, first_root, Expiry::Allow, now, None)?;
    let live = Accepted::read(&*metadata, &staged, first_root, Extent::Whole)?;
    let listed = all_listed(&written.targets);
    let new = listed_anew(&written.targets, &live.targets);
    let is_new: BTreeSet<usize> = new.iter().copied().collect();
    let old: Vec<usize> = (0..listed.len()).filter(|place| !is_new.contains(place)).collect();
    let look = |place: &usize| {
        OldTarget::look(&targets, written.layout, &at_places(&listed, &[*place]), options.targets)
    };
    let looked: Vec<OldTarget> = old.par_iter().map(look).collect::<Result<_, _>>()?;
    let there: Vec<usize> =
        old.iter().zip(&looked).filter(|(_, looked)| looked.is_absent).map(|(place, _)| *place).collect();
    let mut report =
        Report { findings: here.findings.into_iter().filter(|it| !is_target(it)).collect(), ..here };
    report.findings.extend(looked.into_iter().flat_map(|looked| looked.wrong));
    for (folder, places) in [(&targets as &dyn Storage, &new), (&*files, &there)] {
        let found = check_target_files(folder, written.layout, &at_places(&listed, places), options.targets);
        report.findings.extend(found?);
    }
    Ok(report)
}

/// A target that is live with the bytes that are written.
struct OldTarget {
    /// What is wrong with its files here.
    wrong: Vec<Finding>,
    /// Whether one of its files is not here.
    is_absent: bool,
}

impl OldTarget {
    fn look(
        targets: &Folder,
        layout: Layout,
        listed: &[ListedAt<'_>],
        how: TargetBytes,
    ) -> Result<Self, RepositoryError> {
        let mut looked = Self { wrong: Vec::new(), is_absent: false };
        for finding in check_target_files(targets, layout, listed, how)? {
            let name = finding.file.as_deref().and_then(|file| file.strip_prefix(TARGETS)?.strip_prefix('/'));
            match name {
                Some(name) if targets.length(name).at(targets.file(name))?.is_none() => {
                    looked.is_absent = true
                }
                _ => looked.wrong.push(finding),
            }
        }
        Ok(looked)
    }
}

/// What a check of metadata found, with the metadata for further checks.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// What is found of the top-level roles, and warnings.
    pub(super) report: Report,
    /// What is wrong with delegated roles; among it targets that no delegation trusts their role for, and of any role those
    /// that have names of our own.
    pub(super) faults: Vec<Fault>,
    pub(super) layout: Layout,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) targets: BTreeMap<RoleName, Targets>,
    /// The files that clients ask for, in the order in which they are published, the timestamp last.
    pub(super) files: Vec<String>,
}

impl Checked {
    /// Returns all that was found, the faults of delegated roles as errors; forgets the findings.
    pub(super) fn whole_report(&mut self) -> Report {
        let findings = std::mem::take(&mut self.report.findings);
        let mut report = Report { findings, versions: self.report.versions.clone() };
        report.findings.extend(self.faults.drain(..).map(|fault| fault.finding()));
        report
    }

    /// Returns the files that are listed and that nobody could judge: see [`unjudged_files`].
    pub(super) fn unjudged(&self) -> Vec<String> {
        let listed =
            self.snapshot.as_ref().map(|snapshot| unjudged_files(self.layout, snapshot, &self.files));
        listed.unwrap_or_default()
    }

    /// Returns how a client is led to delegated roles; `files` are those that were checked.
    pub(super) fn leading<'a>(&'a self, files: &'a dyn Storage) -> Leading<'a> {
        let read =
            move |name: &str| regular_or_none(files.read(name, MAX_METADATA)).at_place(|| files.place(name));
        let delegates = |(_, targets): &(&RoleName, &Targets)| targets.delegations.is_some();
        let delegators = self.targets.iter().filter(delegates);
        Leading {
            layout: self.layout,
            snapshot: self.snapshot.as_ref(),
            delegators: delegators.map(|(role, targets)| (role.clone(), targets)).collect(),
            read: Box::new(read),
        }
    }
}

/// Returns the files that a snapshot lists beside those that were judged: of revoked roles, for old clients, and of roles that
/// could not be judged. Whoever signs snapshots chooses these names: only those of roles that could be delegated to are
/// among them, never a version of root.
pub(super) fn unjudged_files(layout: Layout, snapshot: &Snapshot, judged: &[String]) -> Vec<String> {
    let judged: BTreeSet<&String> = judged.iter().collect();
    let listed = snapshot.meta.into_iter().filter_map(|(path, file)| {
        let role = RoleName::from_metapath(&path)?;
        let name = layout.metadata_name(&role, file.version);
        (!judged.contains(&name) && RoleName::parse(role.as_str()).is_ok()).then_some(name)
    });
    listed.collect()
}

/// Checks metadata as a client would that starts from the first root; `prefix` names the folder in findings,
/// `first_root` the version of that root. What `known` says is written was read from these files and is not read again;
/// it is judged like the rest.
pub(super) fn check_metadata(
    files: &dyn Storage,
    prefix: &str,
    first_root: u64,
    expiry: Expiry,
    now: DateTime<Utc>,
    known: Option<&Staged>,
) -> Result<Checked, RepositoryError> {
    let mut checker = Checker {
        files,
        known,
        prefix,
        first_root,
        expiry,
        now,
        report: Report::default(),
        faults: Vec::new(),
        roots: Vec::new(),
        names: Vec::new(),
    };
    let mut layout = Layout::Consistent;
    let (mut targets, mut snapshot) = (BTreeMap::new(), None);
    if let Some(set) = checker.run()? {
        layout = Layout::of(set.root().consistent_snapshot);
        snapshot = set.snapshot().cloned();
        targets = set.into_targets();
    }
    let files = checker.roots.into_iter().chain(checker.names.into_iter().rev()).collect();
    Ok(Checked { report: checker.report, faults: checker.faults, layout, snapshot, targets, files })
}

/// How long the file of a role is, and what was judged of it.
type Taken = (u64, Result<Verified<Targets>, TrustError>);

struct Checker<'a> {
    files: &'a dyn Storage,
    known: Option<&'a Staged>,
    prefix: &'a str,
    first_root: u64,
    expiry: Expiry,
    now: DateTime<Utc>,
    report: Report,
    faults: Vec<Fault>,
    roots: Vec<String>,
    /// The other files, in the order in which a client asks for them.
    names: Vec<String>,
}

impl Checker<'_> {
    /// Follows the workflow; `None` where it ends before the roots are through.
    fn run(&mut self) -> Result<Option<TrustedMetadataSet>, RepositoryError> {
        let Some(mut set) = self.roots()? else { return Ok(None) };
        let root = set.root().clone();
        let layout = Layout::of(root.consistent_snapshot);
        let name = Layout::Plain.metadata_name(&RoleName::root(), root.version);
        self.judge(&RoleName::root(), &name, &root);
        for message in root.roles.keys().filter_map(|role| out_of_reach(&root, role)) {
            self.error(&RoleName::root(), Some(&name), message);
        }
        self.names.push("root.json".to_owned());
        let role = RoleName::timestamp();
        let Some(bytes) = self.required(&role, "timestamp.json")? else { return Ok(Some(set)) };
        let timestamp = set.update_timestamp(&bytes).cloned();
        let Some(timestamp) = self.judged(&role, "timestamp.json", timestamp) else { return Ok(Some(set)) };
        self.names.insert(0, "timestamp.json".to_owned());

        let role = RoleName::snapshot();
        let name = layout.metadata_name(&role, timestamp.snapshot().map_or(0, |listed| listed.version));
        let Some(bytes) = self.required(&role, &name)? else { return Ok(Some(set)) };
        let snapshot = set.update_snapshot(&bytes, Origin::Remote).cloned();
        let Some(snapshot) = self.judged(&role, &name, snapshot) else { return Ok(Some(set)) };
        self.measure(&role, &name, bytes.len() as u64, timestamp.snapshot(), USUAL_BOUNDS.0);
        self.names.push(name);
        self.delegations(&mut set, layout, &snapshot)?;
        Ok(Some(set))
    }

    /// Takes the roots from the first to the last.
    fn roots(&mut self) -> Result<Option<TrustedMetadataSet>, RepositoryError> {
        let role = RoleName::root();
        let Some(newest) = self.required(&role, "root.json")? else { return Ok(None) };
        let first_name = format!("{}.root.json", self.first_root);
        let first = self.read(&first_name)?;
        if first.is_none() {
            self.error(
                &role,
                Some(&first_name),
                "missing: clients that start from it are stranded".to_owned(),
            );
            return Ok(None);
        }
        let first = first.unwrap_or_default();
        // expiry is judged role by role, so that one expired role does not hide the rest
        let set = TrustedMetadataSet::new(&first, DateTime::<Utc>::MIN_UTC);
        let mut set = match set {
            Ok(set) => set,
            Err(error) => {
                self.error(&role, Some(&first_name), irreplaceable(&first).unwrap_or(error.to_string()));
                return Ok(None);
            }
        };
        let mut last = first;
        self.roots.push(first_name);
        loop {
            let name = format!("{}.root.json", set.root().version + 1);
            let Some(bytes) = self.read(&name)? else { break };
            if let Err(error) = set.update_root(&bytes) {
                self.error(&role, Some(&name), irreplaceable(&bytes).unwrap_or(error.to_string()));
                return Ok(None);
            }
            self.roots.push(name);
            last = bytes;
        }
        if newest != last {
            let reached = set.root().version;
            match Metadata::<Root>::from_bytes(&newest).map(|newest| newest.signed().version) {
                Ok(version) if version > reached => {
                    let name = format!("{}.root.json", reached + 1);
                    let message = format!("missing: clients cannot go from root v{reached} to v{version}");
                    self.error(&role, Some(&name), message);
                }
                _ => {
                    let message = format!("is not {reached}.root.json, the last of the roots without a gap");
                    self.error(&role, Some("root.json"), message);
                }
            }
        }
        Ok(Some(set))
    }

    /// Takes the roles that list targets, from the top down, each for every role that delegates to it.
    fn delegations(
        &mut self,
        set: &mut TrustedMetadataSet,
        layout: Layout,
        listed: &Snapshot,
    ) -> Result<(), RepositoryError> {
        let mut pending = vec![(RoleName::targets(), RoleName::root())];
        let mut seen: BTreeSet<(RoleName, RoleName)> = BTreeSet::new();
        let mut delegators: BTreeMap<RoleName, Vec<RoleName>> = BTreeMap::new();
        let mut reachable: BTreeSet<RoleName> = BTreeSet::new();
        let mut bins: Vec<(RoleName, RoleName)> = Vec::new();
        while let Some((role, delegator)) = pending.pop() {
            if !seen.insert((role.clone(), delegator.clone())) {
                continue;
            }
            let Some(name) = self.listed_name(&role, &delegator, layout, listed) else { continue };
            delegators.entry(role.clone()).or_default().push(delegator.clone());
            if set.targets(&role).is_some() {
                if let Err(error) = set.verify_again(&role, &delegator) {
                    self.fault(
                        &role,
                        &delegator,
                        Some(&name),
                        format!("delegated by '{delegator}': {error}"),
                    );
                }
                continue;
            }
            let file = listed.role(&role);
            let file = file.as_ref();
            let Some((length, taken)) = self.judge_targets(set, &role, &delegator, &name, file)? else {
                self.fault(&role, &delegator, Some(&name), "missing".to_owned());
                continue;
            };
            self.measure(&role, &name, length, file, USUAL_BOUNDS.1);
            let file = format!("{}/{name}", self.prefix);
            let Some(targets) = self.taken(set, &role, &delegator, name, taken) else { continue };
            reachable.insert(role.clone());
            let found = targets.delegations.as_ref().map(delegatees).unwrap_or_default();
            let unnamed = targets.delegations.as_ref().map(left_out).unwrap_or_default();
            let unnamed = unnamed.into_iter().map(|named| Fault::of_left_out(&role, named, file.clone()));
            self.faults.extend(unnamed);
            for delegatee in found.into_iter().rev() {
                match delegatee {
                    Delegatee::Role(child) => pending.push((child, role.clone())),
                    Delegatee::Bins(set) => {
                        let found: Vec<RoleName> = set.listed_by(listed).collect();
                        self.count_bins(&set, &role, &found);
                        bins.extend(found.into_iter().map(|child| (child, role.clone())));
                    }
                }
            }
        }
        self.bins(set, layout, listed, bins, &mut delegators, &mut reachable)?;
        for role in reachable.iter().filter(|role| !role.is_top_level()) {
            self.judge_delegated(set, layout, role, delegators.get(role).map_or(&[], Vec::as_slice));
        }
        for (role, message) in awkward_names(layout, reachable.iter()) {
            let (severity, role) = (Severity::Warning, Some(role));
            self.report.findings.push(Finding { severity, role, file: None, message });
        }
        let misplaced: Vec<Vec<Refusal>> = {
            let roles: Vec<&RoleName> = reachable.iter().collect();
            roles.par_iter().map(|role| misplaced_targets(set, &delegators, role)).collect()
        };
        for (role, reasons) in reachable.iter().zip(misplaced) {
            let version = set.targets(role).map_or(0, |targets| targets.version);
            for reason in reasons {
                self.faults.push(Fault {
                    role: role.clone(),
                    ground: Ground::Chain(delegators.get(role).cloned().unwrap_or_default()),
                    file: Some(format!("{}/{}", self.prefix, layout.metadata_name(role, version))),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Takes hash bins, on all cores: there may be many, and none leads to another role.
    fn bins(
        &mut self,
        set: &mut TrustedMetadataSet,
        layout: Layout,
        listed: &Snapshot,
        bins: Vec<(RoleName, RoleName)>,
        delegators: &mut BTreeMap<RoleName, Vec<RoleName>>,
        reachable: &mut BTreeSet<RoleName>,
    ) -> Result<(), RepositoryError> {
        let judge = |(role, delegator): &(RoleName, RoleName)| -> Result<Option<Taken>, RepositoryError> {
            let file = listed.role(role);
            let name = layout.metadata_name(role, file.as_ref().map_or(0, |file| file.version));
            self.judge_targets(set, role, delegator, &name, file.as_ref())
        };
        let judged: Vec<Option<Taken>> = bins.par_iter().map(judge).collect::<Result<_, _>>()?;
        for ((role, delegator), taken) in bins.into_iter().zip(judged) {
            let Some(name) = self.listed_name(&role, &delegator, layout, listed) else { continue };
            let Some((length, taken)) = taken else {
                self.fault(&role, &delegator, Some(&name), "missing".to_owned());
                continue;
            };
            self.measure(&role, &name, length, listed.role(&role).as_ref(), USUAL_BOUNDS.1);
            delegators.entry(role.clone()).or_default().push(delegator.clone());
            if set.targets(&role).is_some() {
                if let Err(error) = taken {
                    self.fault(
                        &role,
                        &delegator,
                        Some(&name),
                        format!("delegated by '{delegator}': {error}"),
                    );
                }
            } else if let Some(targets) = self.taken(set, &role, &delegator, name, taken) {
                if targets.delegations.is_some() {
                    let message = "is a hash bin and delegates further, which is not followed".to_owned();
                    self.fault(&role, &delegator, None, message);
                }
                reachable.insert(role);
            }
        }
        Ok(())
    }

    /// Judges the file of a role that lists targets; `None` where it is missing.
    fn judge_targets(
        &self,
        set: &TrustedMetadataSet,
        role: &RoleName,
        delegator: &RoleName,
        name: &str,
        listed: Option<&MetaFile>,
    ) -> Result<Option<Taken>, RepositoryError> {
        if let Some(known) = self.known_targets(role, listed) {
            let length = self.files.length(name).at(format!("{}/{name}", self.prefix))?;
            let judged = |length| (length, set.verify_read_targets(known.clone(), role, delegator));
            return Ok(length.map(judged));
        }
        let bytes = self.read(name)?;
        Ok(bytes.map(|bytes| (bytes.len() as u64, set.verify_targets(bytes, role, delegator))))
    }

    /// Returns what has been read of a role already, in the version that is listed. Where length or digests are listed, they
    /// are those of the file.
    fn known_targets(&self, role: &RoleName, listed: Option<&MetaFile>) -> Option<&Metadata<Targets>> {
        let listed = listed.filter(|listed| listed.length.is_none() && listed.hashes.is_none())?;
        let written = self.known?.targets(role)?.written.as_ref()?;
        (written.signed().version == listed.version).then_some(written)
    }

    /// Returns the name of a role's file; notes a role that the snapshot does not list.
    fn listed_name(
        &mut self,
        role: &RoleName,
        delegator: &RoleName,
        layout: Layout,
        listed: &Snapshot,
    ) -> Option<String> {
        match listed.role(role) {
            Some(file) => Some(layout.metadata_name(role, file.version)),
            None => {
                let message = format!("'{delegator}' delegates to it, and the snapshot does not list it");
                self.fault(role, delegator, None, message);
                None
            }
        }
    }

    /// Keeps a role that was taken, or notes why it was not.
    fn taken<'s>(
        &mut self,
        set: &'s mut TrustedMetadataSet,
        role: &RoleName,
        delegator: &RoleName,
        name: String,
        taken: Result<Verified<Targets>, TrustError>,
    ) -> Option<&'s Targets> {
        match taken {
            Ok(targets) => {
                if role.is_top_level() {
                    self.judge(role, &name, targets.signed());
                }
                self.names.push(name);
                Some(set.keep_targets(role, targets))
            }
            Err(error) => {
                self.fault(role, delegator, Some(&name), error.to_string());
                None
            }
        }
    }

    /// Notes a file that is longer than what clients take unless its length is listed.
    fn measure(&mut self, role: &RoleName, name: &str, length: u64, listed: Option<&MetaFile>, bound: u64) {
        if length <= bound || listed.is_some_and(|listed| listed.length.is_some()) {
            return;
        }
        self.report.findings.push(Finding {
            severity: Severity::Warning,
            role: Some(role.clone()),
            file: Some(format!("{}/{name}", self.prefix)),
            message: format!(
                "{role} is {length} bytes long, and clients take {bound} unless they are told otherwise: spread its \
                 targets over delegated roles, such as the hash bins of 'tuf-repo delegate NAME --bins N'"
            ),
        });
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        regular_or_none(self.files.read(name, MAX_METADATA)).at(format!("{}/{name}", self.prefix))
    }

    fn required(&mut self, role: &RoleName, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        let bytes = self.read(name)?;
        if bytes.is_none() {
            self.error(role, Some(name), "missing".to_owned());
        }
        Ok(bytes)
    }

    /// Notes a role that was taken, or why it was not.
    fn judged<T: Signed>(&mut self, role: &RoleName, name: &str, taken: Result<T, TrustError>) -> Option<T> {
        match taken {
            Ok(signed) => {
                self.judge(role, name, &signed);
                Some(signed)
            }
            Err(error) => {
                self.error(role, Some(name), error.to_string());
                None
            }
        }
    }

    fn judge<T: Signed>(&mut self, role: &RoleName, name: &str, signed: &T) {
        self.report.versions.insert(role.clone(), signed.version());
        let Some(message) = expired(role, signed, self.now) else { return };
        let severity = if self.expiry == Expiry::Enforce { Severity::Error } else { Severity::Warning };
        let file = Some(format!("{}/{name}", self.prefix));
        self.report.findings.push(Finding { severity, role: Some(role.clone()), file, message });
    }

    /// Notes a delegated role that was taken, and whether it has expired: that is so for all who delegate to it.
    fn judge_delegated(
        &mut self,
        set: &TrustedMetadataSet,
        layout: Layout,
        role: &RoleName,
        delegators: &[RoleName],
    ) {
        let Some(targets) = set.targets(role) else { return };
        let name = layout.metadata_name(role, targets.version);
        if self.expiry == Expiry::Allow {
            return self.judge(role, &name, targets);
        }
        self.report.versions.insert(role.clone(), targets.version);
        if let Some(message) = expired(role, targets, self.now) {
            self.faults.push(Fault {
                role: role.clone(),
                ground: Ground::Delegators(delegators.to_vec()),
                file: Some(format!("{}/{name}", self.prefix)),
                reason: Refusal::Finding(message),
            });
        }
    }

    /// Notes hash bins that the snapshot does not list; the first of them stands for all.
    fn count_bins(&mut self, bins: &BinSet, delegator: &RoleName, listed: &[RoleName]) {
        if let Some((bin, message)) = missing_bin(bins, delegator, listed) {
            self.fault(&bin, delegator, None, message);
        }
    }

    /// Notes what is wrong with a role, as one of its delegators has it.
    fn fault(&mut self, role: &RoleName, delegator: &RoleName, file: Option<&str>, message: String) {
        if role.is_top_level() {
            return self.error(role, file, message);
        }
        self.faults.push(Fault {
            role: role.clone(),
            ground: Ground::Delegator(delegator.clone()),
            file: file.map(|name| format!("{}/{name}", self.prefix)),
            reason: Refusal::Finding(message),
        });
    }

    fn error(&mut self, role: &RoleName, file: Option<&str>, message: String) {
        let file = file.map(|name| format!("{}/{name}", self.prefix));
        self.report.findings.push(Finding {
            severity: Severity::Error,
            role: Some(role.clone()),
            file,
            message,
        });
    }
}

/// Says that metadata has expired.
fn expired<T: Signed>(role: &RoleName, signed: &T, now: DateTime<Utc>) -> Option<String> {
    let expires = signed.expires();
    (expires <= now).then(|| format!("{role} v{} expired on {}", signed.version(), time::format(&expires)))
}

/// Says that a snapshot does not list all hash bins of a set, and which is the first of those that it does not.
pub(super) fn missing_bin(
    bins: &BinSet,
    delegator: &RoleName,
    listed: &[RoleName],
) -> Option<(RoleName, String)> {
    if listed.len() as u64 == bins.number() {
        return None;
    }
    let message = format!(
        "'{delegator}' delegates to {} hash bins named '{}', and the snapshot lists {} of them",
        bins.number(),
        bins.prefix().escape_debug(),
        listed.len()
    );
    let present = listed.iter().map(Some).chain([None]);
    let named = (0..).zip(present).map(|(index, present)| (bins.bin(index), present));
    let missing = named.into_iter().find_map(|(bin, present)| bin.filter(|bin| Some(bin) != present));
    // a prefix that no role's name can start with
    Some((missing.unwrap_or_else(|| delegator.clone()), message))
}

/// Says that a target is one that no client finds.
fn stray(path: &str) -> Refusal {
    Refusal::Finding(format!("lists '{}', which no delegation trusts it for", path.escape_debug()))
}

/// Says that no keys could ever sign for a role as often as a root demands.
fn out_of_reach(root: &Root, role: &str) -> Option<String> {
    let authority = root.authority(&RoleName::new(role).ok()?)?;
    let (keys, threshold) = (authority.distinct_keys(), authority.threshold());
    let never = if role == "root" { "can never be replaced: " } else { "" };
    (threshold.lacking(keys) > 0)
        .then(|| format!("{never}'{role}' has {keys} keys for a threshold of {threshold}"))
}

/// Says that a root that is not signed enough never can be, nor what would replace it.
fn irreplaceable(bytes: &[u8]) -> Option<String> {
    out_of_reach(Metadata::<Root>::from_bytes(bytes).ok()?.signed(), "root")
}

/// Says which targets of a role are listed where they can be none.
fn misplaced_targets(
    set: &TrustedMetadataSet,
    delegators: &BTreeMap<RoleName, Vec<RoleName>>,
    role: &RoleName,
) -> Vec<Refusal> {
    let Some(targets) = set.targets(role) else { return Vec::new() };
    let delegators = |role: &RoleName| delegators.get(role).map(Vec::as_slice).unwrap_or_default();
    let delegations = |role: &RoleName| set.targets(role).and_then(|targets| targets.delegations.as_ref());
    let is_found = |path: &str| is_covered(role, path, &delegators, &delegations);
    misplaced(targets, is_found)
}

/// Says what is wrong with targets that a role lists: no client takes them, or no chain of delegations from the top trusts the
/// role for them, so that no client finds them.
pub(super) fn misplaced(targets: &Targets, is_found: impl Fn(&str) -> bool) -> Vec<Refusal> {
    let unfit: BTreeMap<String, Refusal> = unfit_targets(targets)
        .map(|unfit| {
            let words = unfit.words();
            (unfit.path, Refusal::Finding(words))
        })
        .collect();
    let strays = targets.targets.keys().filter(|path| !unfit.contains_key(&**path) && !is_found(path));
    let strays: Vec<Refusal> = strays.map(|path| stray(&path)).collect();
    unfit.into_values().chain(strays).collect()
}
