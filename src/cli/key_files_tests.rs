//! What is on the disk after a pair of key files was written, and after it was refused.

use super::*;
use crate::cli::failure::FailureKind;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn writes_a_pair_and_the_folder_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join("deep/keystore/root_key");
    write_pair(&private, "private", "public", Overwrite::Refuse).unwrap();
    assert_eq!(fs::read(&private).unwrap(), b"private");
    assert_eq!(fs::read(public_path(&private)).unwrap(), b"public");
    assert_eq!(names(private.parent().unwrap()), ["root_key", "root_key.pub"]);
    #[cfg(unix)]
    assert_eq!((mode(&private), mode(&public_path(&private))), (0o600, 0o644));
}

#[test]
fn refuses_what_is_in_the_way_and_changes_nothing() {
    for blocked in ["key", "key.pub"] {
        let folder = tempfile::tempdir().unwrap();
        let private = folder.path().join("key");
        fs::write(folder.path().join(blocked), "old").unwrap();
        let failure = write_pair(&private, "private", "public", Overwrite::Refuse).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Usage);
        assert!(failure.message.contains(blocked), "{failure}");
        assert_eq!(names(folder.path()), [blocked]);
        assert_eq!(fs::read(folder.path().join(blocked)).unwrap(), b"old");
    }
}

#[test]
fn replaces_both_where_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join("key");
    write_pair(&private, "1", "1", Overwrite::Refuse).unwrap();
    write_pair(&private, "2", "2", Overwrite::Replace).unwrap();
    assert_eq!(fs::read(&private).unwrap(), b"2");
    assert_eq!(fs::read(public_path(&private)).unwrap(), b"2");
    assert_eq!(names(folder.path()), ["key", "key.pub"]);
}

#[test]
fn a_file_that_appears_at_the_last_moment_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let new = Unfinished::write(&path, "new", Audience::Owner).unwrap();
    fs::write(&path, "another's").unwrap();
    assert_eq!(new.place().unwrap_err().kind, FailureKind::Usage);
    assert_eq!(fs::read(&path).unwrap(), b"another's");
    assert_eq!(names(folder.path()), ["key"]);
}

#[test]
fn a_path_that_names_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for path in ["", "..", "/", "new/", "new/.", "file/key"] {
        let path = if path.is_empty() { PathBuf::new() } else { folder.path().join(path) };
        for overwrite in [Overwrite::Refuse, Overwrite::Replace] {
            assert_eq!(check_place(&path, overwrite).unwrap_err().kind, FailureKind::Usage, "{path:?}");
        }
    }
    assert_eq!(check_place(folder.path(), Overwrite::Replace).unwrap_err().kind, FailureKind::Usage);
}

#[test]
fn what_a_killed_writer_left_is_gone_after_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join("key");
    fs::write(folder.path().join(".key.unfinished-0123456789abcdef"), "left").unwrap();
    let public = public_path(&private);
    let living = Unfinished::write(&public, "of a living writer", Audience::Owner).unwrap();
    write_pair(&private, "private", "public", Overwrite::Refuse).unwrap();
    assert!(living.path.exists());
    drop(living);
    assert_eq!(names(folder.path()), ["key", "key.pub"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_only_looks_like_an_unfinished_key_file_stays() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pipe = at(".key.unfinished-0000000000000000");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::write(at("precious"), "").unwrap();
    std::os::unix::fs::symlink("precious", at(".key.unfinished-1111111111111111")).unwrap();
    for name in [".key.unfinished-notes", ".key.unfinished-2222222222222222.bak", ".key.unfinished-"] {
        fs::write(at(name), "mine").unwrap();
    }
    let before = names(folder.path()).len();
    write_pair(&at("key"), "private", "public", Overwrite::Refuse).unwrap();
    assert_eq!(names(folder.path()).len(), before + 2);
}

#[cfg(unix)]
#[test]
fn a_linked_private_key_is_replaced_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    replace_private(&link, "new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((fs::read(&real).unwrap(), mode(&real)), (b"new".to_vec(), 0o600));
}
