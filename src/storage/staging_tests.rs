//! Who may have a staging folder, and what of it is swept.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::{Folder, NewFolder, ReadFiles};
use super::*;

/// Makes what a killed process leaves: a staging folder that nobody has locked.
fn left_behind(folder: &Path, number: u32) -> PathBuf {
    let left = folder.join(format!(".tuf-tmp-{number}"));
    fs::create_dir(&left).unwrap();
    fs::write(left.join(".tuf-0"), "half a fi").unwrap();
    fs::create_dir_all(left.join(".tuf-new/a/b")).unwrap();
    fs::write(left.join(".tuf-new/a/b/c"), "half").unwrap();
    left
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn sweeps_what_killed_processes_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    for number in [0, 1, SWEPT - 1] {
        left_behind(dir.path(), number);
    }
    drop(Staging::begin(dir.path()).unwrap());
    assert_eq!(names(dir.path()), [""; 0]);
    left_behind(dir.path(), 3);
    Folder::new(dir.path()).sweep().unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
    Folder::new(dir.path().join("nowhere")).sweep().unwrap();
}

#[test]
fn the_staging_folder_of_a_living_process_is_never_swept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let (mut one, mut two) = (folder.batch().unwrap(), folder.batch().unwrap());
    one.put("a", b"1").unwrap();
    two.put("b", b"2").unwrap();
    folder.sweep().unwrap();
    let new = NewFolder::begin(&Folder::new(dir.path().join("new"))).unwrap().unwrap();
    new.create("c").unwrap().write_all(b"3").unwrap();
    folder.put_new("d", b"4").unwrap();
    one.commit().unwrap();
    folder.sweep().unwrap();
    two.commit().unwrap();
    new.commit().unwrap();
    let read = |name: &str| folder.read(name, 9).unwrap().unwrap();
    assert_eq!([read("a"), read("b"), read("new/c"), read("d")].concat(), b"1234");
    assert_eq!(names(dir.path()), ["a", "b", "d", "new"]);
}

#[test]
fn a_hundred_writers_at_once_never_swap_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    std::thread::scope(|threads| {
        for writer in 0..10 {
            let folder = &folder;
            threads.spawn(move || {
                for round in 0..10 {
                    let name = format!("{writer}-{round}");
                    let mut batch = folder.batch().unwrap();
                    batch.put(&name, name.as_bytes()).unwrap();
                    batch.put(format!("{writer}"), name.as_bytes()).unwrap();
                    batch.commit().unwrap();
                }
            });
        }
    });
    for writer in 0..10 {
        for round in 0..10 {
            let name = format!("{writer}-{round}");
            assert_eq!(folder.read(&name, 9).unwrap().unwrap(), name.as_bytes());
        }
        assert_eq!(folder.read(&writer.to_string(), 9).unwrap().unwrap(), format!("{writer}-9").as_bytes());
    }
    assert_eq!(names(dir.path()).len(), 110);
}

#[test]
fn what_others_put_under_the_name_of_a_staging_folder_stays_and_is_in_nobodys_way() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    // a file, a link to a folder of the exact form elsewhere, a folder with things of its owner, one that cannot be opened
    fs::write(at(".tuf-tmp-0"), "a file").unwrap();
    left_behind(elsewhere.path(), 0);
    symlink(elsewhere.path().join(".tuf-tmp-0"), at(".tuf-tmp-1")).unwrap();
    fs::create_dir(at(".tuf-tmp-2")).unwrap();
    fs::write(at(".tuf-tmp-2/thesis.tex"), "years of work").unwrap();
    fs::write(at(".tuf-tmp-2/.tuf-notes"), "mine").unwrap();
    symlink(elsewhere.path(), at(".tuf-tmp-2/.tuf-7")).unwrap();
    fs::create_dir(at(".tuf-tmp-2/.tuf-8")).unwrap();
    fs::create_dir(at(".tuf-tmp-3")).unwrap();
    fs::write(at(".tuf-tmp-3/.tuf-0"), "kept").unwrap();
    fs::set_permissions(at(".tuf-tmp-3"), fs::Permissions::from_mode(0o500)).unwrap();
    rustix::fs::mknodat(CWD, at(".tuf-tmp-4"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    // a name that is not exactly ours
    for name in [".tuf-tmp", ".tuf-tmp-", ".tuf-tmp-00", ".tuf-tmp-mine"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join(".tuf-0"), "mine").unwrap();
    }
    let before: Vec<String> = names(dir.path());
    let folder = Folder::new(dir.path());
    let mut batch = folder.batch().unwrap();
    batch.put("a", b"1").unwrap();
    batch.commit().unwrap();
    folder.sweep().unwrap();
    // gone where root has cleared it
    let _ = fs::set_permissions(at(".tuf-tmp-3"), fs::Permissions::from_mode(0o700));
    fs::remove_file(at("a")).unwrap();
    // who is root may clear what others left
    let cleared = !at(".tuf-tmp-3").exists();
    assert!(!cleared || rustix::process::geteuid().is_root());
    let expected: Vec<&String> = before.iter().filter(|name| !cleared || *name != ".tuf-tmp-3").collect();
    assert_eq!(names(dir.path()).iter().collect::<Vec<_>>(), expected);
    assert_eq!(names(&elsewhere.path().join(".tuf-tmp-0")), [".tuf-0", ".tuf-new"]);
    assert_eq!(names(&at(".tuf-tmp-2")), [".tuf-7", ".tuf-8", ".tuf-notes", "thesis.tex"]);
}

#[test]
fn links_in_a_tree_that_was_left_behind_are_not_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("precious"), "").unwrap();
    let left = left_behind(dir.path(), 0);
    symlink(elsewhere.path(), left.join(".tuf-new/a/link")).unwrap();
    Folder::new(dir.path()).sweep().unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
    assert_eq!(names(elsewhere.path()), ["precious"]);
    // nor is a link in the place of the tree
    let left = left_behind(dir.path(), 0);
    fs::rename(left.join(".tuf-new"), elsewhere.path().join("tree")).unwrap();
    symlink(elsewhere.path().join("tree"), left.join(".tuf-new")).unwrap();
    Folder::new(dir.path()).sweep().unwrap();
    assert_eq!(names(&elsewhere.path().join("tree")), ["a"]);
    assert_eq!(names(&left), [".tuf-new"]);
}

#[test]
fn a_new_file_never_replaces_another() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    folder.put_new("a", b"1").unwrap();
    symlink("nowhere", dir.path().join("link")).unwrap();
    for name in ["a", "link"] {
        assert_eq!(folder.put_new(name, b"2").unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    let mut batch = folder.batch().unwrap();
    for name in ["a", "sub/b", "link"] {
        batch.put(name, b"3").unwrap();
    }
    assert_eq!(batch.commit_new().unwrap(), ["a", "link"]);
    assert_eq!(folder.read("a", 9).unwrap().unwrap(), b"1");
    assert_eq!(folder.read("sub/b", 9).unwrap().unwrap(), b"3");
    assert_eq!(names(dir.path()), ["a", "link", "sub"]);
}

#[test]
fn walks_see_no_staging_folder_and_any_other_hidden_one() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(dir.path(), 0);
    fs::create_dir(dir.path().join(".tuf-tmp-mine")).unwrap();
    fs::write(dir.path().join(".tuf-tmp-mine/a"), "").unwrap();
    let mut seen = Vec::new();
    let visit = &mut |name: &str| {
        seen.push(name.to_owned());
        Ok(())
    };
    super::super::Storage::walk(&Folder::new(dir.path()), visit).unwrap();
    assert_eq!(seen, [".tuf-tmp-mine/a"]);
}

#[test]
fn without_locks_what_killed_processes_left_goes_after_a_week_and_no_living_ones() {
    let dir = tempfile::tempdir().unwrap();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    // by the clock of the file system, which is the one that is asked
    let now = fs::metadata(dir.path()).unwrap().modified().unwrap();
    let date = |path: &Path, days: u32| {
        fs::File::open(path).unwrap().set_modified(now - day * days).unwrap();
    };
    // the second one's file still grows, the third is young, the fourth has things of its owner
    for (number, file, folder) in [(0, 9, 9), (1, 1, 9), (2, 6, 6), (3, 9, 9)] {
        let left = left_behind(dir.path(), number);
        if number == 3 {
            fs::write(left.join("thesis.tex"), "years of work").unwrap();
            date(&left.join("thesis.tex"), 9);
        }
        date(&left.join(".tuf-0"), file);
        date(&left.join(".tuf-new"), folder);
        date(&left, folder);
    }
    let above = open_folder(CWD, dir.path()).unwrap();
    let new = claim(&above, ".tuf-tmp-7").unwrap().unwrap();
    assert_eq!(new.owner, Owner::Locked);
    clear_forgotten(&above, 7, &new.folder);
    assert_eq!(names(dir.path()), [1, 2, 3, 7].map(|number| format!(".tuf-tmp-{number}")));
    assert_eq!(names(&dir.path().join(".tuf-tmp-3")), ["thesis.tex"]);
}
