//! Hash bins that have just been delegated to: empty drafts that follow from the delegation, without files of their own.

use std::fs;

use chrono::{TimeDelta, Utc};
use tuf::crypto::Signer;
use tuf::metadata::{Delegations, Extra, Metadata, RoleName, Signature, SuccinctRoles, Targets, Threshold};
use tuf::repository::bins::BinSet;
use tuf::repository::{
    BinKind, Delegation, Imported, Layout, Replace, Repository, RepositoryError, Side, Trust,
};

use crate::client::new_client;
use crate::world::{World, delegation, keys, public, role, signing, threshold};

/// A repository with 16 new bins of key 4, which nobody has written yet.
fn with_new_bins(layout: Layout) -> World {
    with_new_bins_of(layout, BinKind::Succinct)
}

fn with_new_bins_of(layout: Layout, kind: BinKind) -> World {
    let world = World::written(layout);
    world
        .edit(|repository| {
            let trust = Trust::Bins { number: 16, kind };
            repository.delegate(Delegation { trust, ..delegation("targets", "bin", 4, &[]) })
        })
        .unwrap();
    world
}

/// The names of the drafts' files.
fn drafts(world: &World) -> Vec<String> {
    let folder = fs::read_dir(world.path("metadata.staged/.drafts")).unwrap();
    let mut names: Vec<String> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn bins() -> BinSet {
    BinSet::new("bin", 16).unwrap()
}

fn expiry(repository: &Repository, name: &str) -> chrono::DateTime<Utc> {
    repository.staged().role(&role(name)).unwrap().expires().unwrap()
}

#[test]
fn new_bins_are_dirty_drafts_without_files_and_are_written_with_the_rest() {
    let layouts = [Layout::Consistent, Layout::Plain];
    let all = [BinKind::Succinct, BinKind::Classic]
        .into_iter()
        .flat_map(|kind| layouts.map(|layout| (kind, layout)));
    for (kind, layout) in all {
        let mut world = with_new_bins_of(layout, kind);
        assert_eq!(drafts(&world), ["targets.json"]);
        assert_eq!(world.dirty().len(), 1 + 16 + 2);
        assert_eq!(world.versions("bin-7"), (None, Some(1)));
        // signed when they are written, and valid from then on
        world.after(TimeDelta::days(20));
        assert!(matches!(world.write(&[1, 2, 3]), Err(RepositoryError::Incomplete(_))));
        assert_eq!(drafts(&world), ["targets.json"]);
        let written = world.write(&[1, 2, 3, 4]).unwrap();
        assert!(bins().all().all(|bin| written.roles.get(&bin) == Some(&1)));
        assert_eq!(drafts(&world), [""; 0]);
        assert_eq!(world.versions("bin-7"), (Some(1), None));
        assert_eq!(expiry(&world.open_whole(), "bin-7"), world.now + TimeDelta::weeks(13));
        new_client(&world.dir(), Side::Staged, layout).unwrap();
        world.publish().unwrap();
    }
}

#[test]
fn only_bins_in_which_something_is_listed_get_files() {
    let world = with_new_bins(Layout::Consistent);
    world.put("file", b"file");
    world.add("bin", &["file"], Replace::Refuse).unwrap();
    let bin = bins().name(bins().index_for("file"));
    assert_eq!(drafts(&world), [format!("{bin}.json"), "targets.json".to_owned()]);
    // somebody changes their mind
    let again = world.twin();
    again.edit(|repository| repository.discard(&[role(&bin)]).map(drop)).unwrap();
    assert_eq!(drafts(&again), ["targets.json"]);
    assert_eq!(again.versions(&bin), (None, Some(1)));
    again.write(&[1, 2, 3, 4]).unwrap();
    assert!(again.open_whole().list(&[]).unwrap().is_empty());
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    assert_eq!(world.open_whole().list(&[]).unwrap().len(), 1);
}

#[test]
fn nothing_is_left_of_new_bins_that_are_revoked_or_discarded() {
    let world = with_new_bins(Layout::Consistent);
    let revoked = world.twin();
    let set = revoked.open().find_bins(&role("bin")).unwrap();
    revoked.edit(|repository| repository.revoke_bins(&set, None).map(drop)).unwrap();
    assert_eq!((drafts(&revoked), revoked.dirty()), (Vec::new(), Vec::new()));
    let dropped = world.edit(|repository| repository.discard(&[])).unwrap();
    assert_eq!(dropped, [RoleName::targets()]);
    assert_eq!((drafts(&world), world.dirty()), (Vec::new(), Vec::new()));
}

#[test]
fn a_new_bin_that_somebody_signs_or_dates_is_kept_as_it_is() {
    let mut world = with_new_bins(Layout::Consistent);
    let then = world.now;
    world.sign(&[role("bin-0")], &[4]).unwrap();
    world.edit(|repository| repository.expire(&role("bin-1"), then + TimeDelta::weeks(13))).unwrap();
    world.edit(|repository| repository.bump(&role("bin-2"), Some(5))).unwrap();
    assert_eq!(drafts(&world), ["bin-0.json", "bin-1.json", "bin-2.json", "targets.json"]);
    world.after(TimeDelta::days(20));
    world.write(&[1, 2, 3, 4]).unwrap();
    let whole = world.open_whole();
    for (name, from) in [("bin-0", then), ("bin-1", then), ("bin-3", world.now)] {
        assert_eq!(expiry(&whole, name), from + TimeDelta::weeks(13), "{name}");
    }
    assert_eq!(world.versions("bin-2"), (Some(5), None));
}

#[test]
fn the_signature_of_a_new_bin_that_was_carried_away_comes_back_later() {
    let mut world = with_new_bins(Layout::Consistent);
    let mut repository = world.lock().unwrap();
    let (mut bundle, plan) = repository.export(&role("bin-9")).unwrap();
    repository.save_edit(&plan).unwrap();
    drop(repository);
    bundle.sign(&signing(&[4])[0]).unwrap();
    world.after(TimeDelta::days(3));
    let mut imported = Imported::default();
    world.edit(|repository| repository.import(&bundle, &mut imported)).unwrap();
    assert_eq!(drafts(&world), ["bin-9.json", "targets.json"]);
    let status = world.open().status().unwrap();
    assert_eq!(status.roles.iter().find(|found| found.role == role("bin-9")).unwrap().missing, 0);
    world.write(&[1, 2, 3, 4]).unwrap();
    assert_eq!(expiry(&world.open_whole(), "bin-9"), world.now - TimeDelta::days(3) + TimeDelta::weeks(13));
}

#[test]
fn a_bin_whose_draft_cannot_be_read_starts_over_empty() {
    let world = with_new_bins(Layout::Consistent);
    fs::write(world.path("metadata.staged/.drafts/bin-3.json"), "half a dra").unwrap();
    let damaged = || Repository::open_damaged(&world.dir(), world.now).unwrap();
    assert!(damaged().status().unwrap().roles.iter().any(|found| {
        found.role == role("bin-3")
            && found.reasons.iter().any(|reason| reason.to_string().contains("cannot be used"))
    }));
    let mut repository =
        Repository::open_damaged_locked(&world.dir(), world.now, std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(repository.discard(&[role("bin-3")]).unwrap(), [role("bin-3")]);
    let plan = repository.plan_edit().unwrap();
    repository.save_edit(&plan).unwrap();
    drop(repository);
    assert_eq!(drafts(&world), ["targets.json"]);
    world.write(&[1, 2, 3, 4]).unwrap();
    assert_eq!(world.versions("bin-3"), (Some(1), None));
}

#[test]
fn a_date_set_by_hand_stays_though_it_is_the_one_that_was_implied() {
    let mut world = with_new_bins(Layout::Consistent);
    world.put("file", b"file");
    let bin = bins().name(bins().index_for("file"));
    let then = world.now + TimeDelta::weeks(13);
    assert!(world.edit(|repository| repository.expire(&role(&bin), then)).unwrap());
    assert!(!world.edit(|repository| repository.expire(&role(&bin), then)).unwrap());
    world.after(TimeDelta::days(10));
    world.add("bin", &["file"], Replace::Refuse).unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    assert_eq!(expiry(&world.open_whole(), &bin), then);
}

#[test]
fn classic_bins_among_which_another_delegation_is_put_stay_roles() {
    let world = with_new_bins_of(Layout::Consistent, BinKind::Classic);
    let among =
        Delegation { before: Some(role("bin-8")), ..delegation("targets", "special", 5, &["special/*"]) };
    world.edit(|repository| repository.delegate(among)).unwrap();
    assert_eq!(drafts(&world).len(), 16 + 2);
    assert_eq!(world.dirty().len(), 1 + 16 + 1 + 2);
    world.write(&[1, 2, 3, 4, 5]).unwrap();
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
    world.publish().unwrap();
}

#[test]
fn bins_that_nobody_would_make_are_left_alone_in_metadata_from_elsewhere() {
    for (bits, prefix, implied) in
        [(4, "usual", true), (32, "many", false), (20, "many", false), (4, "", false)]
    {
        let world = World::written(Layout::Consistent);
        world.delegate("targets", "project", 4, &["*"]).unwrap();
        let mut theirs = Targets::new(world.now + TimeDelta::weeks(13));
        let mut delegations = Delegations::new();
        let id = public(5).id();
        delegations.keys.insert(id.clone(), public(5).clone());
        delegations.roles = None;
        delegations.succinct_roles = Some(SuccinctRoles {
            keyids: vec![id],
            threshold: Threshold::ONE,
            bit_length: bits,
            name_prefix: prefix.to_owned(),
            extra: Extra::new(),
        });
        theirs.delegations = Some(delegations);
        let mut metadata = Metadata::unsigned(theirs).unwrap();
        let made = keys()[4].sign("ed25519", metadata.signed_bytes()).unwrap();
        metadata.signatures = vec![Signature::new(public(4).id(), &made)];
        let bytes = metadata.to_bytes().unwrap();
        let mut imported = Imported::default();
        world.edit(|repository| repository.import_metadata(&role("project"), &bytes, &mut imported)).unwrap();
        assert_eq!(world.dirty().iter().any(|name| name.starts_with("usual-")), implied, "{bits} {prefix}");
        // and nothing stands in the way of another decision
        let dropped = world.edit(|repository| repository.discard(&[])).unwrap();
        assert!(dropped.contains(&role("project")), "{bits} {prefix}");
        assert_eq!(world.dirty(), Vec::<String>::new());
    }
}

#[test]
fn what_is_listed_in_a_bin_that_was_a_role_of_its_own_is_not_lost() {
    let world = World::written(Layout::Consistent);
    let name = bins().name(bins().index_for("file"));
    world.delegate("targets", &name, 5, &["*"]).unwrap();
    world.write(&[1, 2, 3, 5]).unwrap();
    world.edit(|repository| repository.revoke(&role(&name), None).map(drop)).unwrap();
    let trust = Trust::Bins { number: 16, kind: BinKind::Succinct };
    world
        .edit(|repository| repository.delegate(Delegation { trust, ..delegation("targets", "bin", 4, &[]) }))
        .unwrap();
    world.put("file", b"file");
    world.add("bin", &["file"], Replace::Refuse).unwrap();
    // any other edit
    world
        .edit(|repository| repository.expire(&RoleName::targets(), world.now + TimeDelta::days(30)))
        .unwrap();
    world.write(&[1, 2, 3, 4]).unwrap();
    world.publish().unwrap();
    assert_eq!(world.open_whole().list(&[]).unwrap().len(), 1);
}

#[test]
fn keys_that_are_added_to_new_bins_must_sign_them() {
    let world = with_new_bins(Layout::Consistent);
    world
        .edit(|repository| {
            repository.add_key(&role("bin-0"), public(5), None)?;
            repository.set_threshold(&role("bin-0"), threshold(2), None, tuf::repository::DeadEnd::Refuse)
        })
        .unwrap();
    assert_eq!(drafts(&world), ["targets.json"]);
    assert!(matches!(world.write(&[1, 2, 3, 4]), Err(RepositoryError::Incomplete(_))));
    world.write(&[1, 2, 3, 4, 5]).unwrap();
    new_client(&world.dir(), Side::Staged, Layout::Consistent).unwrap();
}
