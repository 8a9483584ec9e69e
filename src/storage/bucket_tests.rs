use std::io::Cursor;
use std::ops::ControlFlow;

use object_store::Attribute;
use object_store::memory::InMemory;

use super::super::testing::{Breakdown, Memory};
use super::super::{OpenUpload, Upload, UploadError};
use super::*;

#[test]
fn a_name_is_taken_once() {
    let memory = Memory::new();
    let bucket = memory.bucket();
    assert_eq!(bucket.create("a", b"1", Caching::Forever).unwrap(), Created::New);
    assert_eq!(bucket.create("a", b"1", Caching::Forever).unwrap(), Created::Same);
    assert_eq!(bucket.create("a", b"2", Caching::Forever).unwrap(), Created::Other);
    assert_eq!(bucket.create("a", b"", Caching::Forever).unwrap(), Created::Other);
    assert_eq!(memory.contents()["a"], b"1");
}

#[test]
fn of_two_that_read_the_same_one_replaces_it() {
    let memory = Memory::new();
    memory.plant("a", b"0");
    let (one, two) = (memory.bucket(), memory.bucket());
    for bucket in [&one, &two] {
        assert_eq!(bucket.read("a", 10).unwrap().unwrap(), b"0");
    }
    assert_eq!(one.replace("a", b"1", Caching::Never).unwrap(), Replaced::Done);
    assert_eq!(two.replace("a", b"2", Caching::Never).unwrap(), Replaced::Overtaken);
    assert!(!two.is_as_seen("a").unwrap());
    assert_eq!(memory.contents()["a"], b"1");
}

#[test]
fn of_two_that_found_nothing_one_puts_it() {
    let memory = Memory::new();
    let (one, two) = (memory.bucket(), memory.bucket());
    for bucket in [&one, &two] {
        assert_eq!(bucket.read("a", 10).unwrap(), None);
        assert!(bucket.is_as_seen("a").unwrap());
    }
    assert_eq!(one.replace("a", b"1", Caching::Never).unwrap(), Replaced::Done);
    assert_eq!(two.replace("a", b"2", Caching::Never).unwrap(), Replaced::Overtaken);
    assert_eq!(memory.contents()["a"], b"1");
}

#[test]
fn what_was_listed_is_what_is_replaced() {
    let memory = Memory::new();
    memory.plant("a", b"0");
    let bucket = memory.bucket();
    bucket.survey().unwrap();
    memory.plant("a", b"1");
    assert_eq!(bucket.replace("a", b"2", Caching::Never).unwrap(), Replaced::Overtaken);
    let bucket = memory.bucket();
    bucket.survey().unwrap();
    assert_eq!(bucket.replace("a", b"2", Caching::Never).unwrap(), Replaced::Done);
    assert_eq!(memory.contents()["a"], b"2");
}

#[test]
fn a_put_whose_answer_was_lost_is_found_done() {
    let memory = Memory::new();
    memory.plant("a", b"0");
    let bucket = memory.breaks_at(1, Breakdown::After).bucket();
    bucket.read("a", 10).unwrap();
    assert!(bucket.replace("a", b"1", Caching::Never).is_err());
    // as the next run does, and as a request that is made once more by the layer below
    let seen = bucket.seen("a").unwrap();
    let again = memory.bucket();
    again.lock().insert("a".to_owned(), Seen { version: Some(seen), bytes: None });
    assert_eq!(again.replace("a", b"1", Caching::Never).unwrap(), Replaced::Done);
}

/// Version 16 of Ceph's gateway compares the tag in If-Match with its own, which has no quotes.
#[test]
fn a_server_that_wants_its_tags_bare_gets_them_bare() {
    let memory = Memory::new();
    memory.plant("a", b"0");
    let bucket = memory.bucket();
    bucket.read("a", 10).unwrap();
    let tag = bucket.seen("a").unwrap().e_tag.unwrap();
    assert!(tag.starts_with('"'), "the store in memory quotes its tags: {tag}");
    // the other way round here: this store wants quotes, and bare tags are tried first
    bucket.shared.bare_tags.store(true, Ordering::Relaxed);
    memory.requests();
    assert_eq!(bucket.replace("a", b"1", Caching::Never).unwrap(), Replaced::Done);
    assert_eq!(memory.requests(), ["PUT a", "GET a", "PUT a"]);
    assert!(!bucket.shared.bare_tags.load(Ordering::Relaxed), "what works is remembered");
}

#[test]
fn somebody_between_two_spellings_of_a_tag_is_noticed() {
    let memory = Memory::new();
    memory.plant("a", b"0");
    let bucket = memory.bucket();
    bucket.read("a", 10).unwrap();
    bucket.shared.bare_tags.store(true, Ordering::Relaxed);
    let other = memory.clone();
    let puts = AtomicBool::new(false);
    memory.before_requests(move |request| {
        if request != "PUT a" || !puts.swap(true, Ordering::Relaxed) {
            return ControlFlow::Continue(());
        }
        other.plant("a", b"other");
        ControlFlow::Break(())
    });
    assert_eq!(bucket.replace("a", b"1", Caching::Never).unwrap(), Replaced::Overtaken);
    assert_eq!(memory.contents()["a"], b"other");
}

#[test]
fn a_listing_answers_for_lengths_ages_and_what_is_not_there() {
    let memory = Memory::new();
    memory.plant("p/a", b"12");
    memory.plant("p/sub/b", b"1");
    memory.plant("p/.hidden", b"");
    memory.plant("px", b"");
    let bucket = memory.bucket().below("p");
    assert_eq!(bucket.names().unwrap(), ["a"]);
    let mut all = Vec::new();
    let mut visit = |name: &str| {
        all.push(name.to_owned());
        Ok(())
    };
    bucket.walk(&mut visit).unwrap();
    assert_eq!(all, [".hidden", "a", "sub/b"]);
    assert_eq!((bucket.length("a").unwrap(), bucket.length("b").unwrap()), (Some(2), None));
    assert!(bucket.modified("sub/b").unwrap().is_some());
    assert_eq!(bucket.read("b", 10).unwrap(), None);
    assert_eq!(bucket.place("a").display().to_string(), "s3://memory/p/a");
    assert_eq!(memory.requests(), ["LIST p"]);
}

#[test]
fn reads_no_more_than_the_limit() {
    let memory = Memory::new();
    memory.plant("a", b"12345");
    assert_eq!(memory.bucket().read("a", 5).unwrap().unwrap(), b"12345");
    assert_eq!(memory.bucket().read("a", 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn a_percent_encoded_file_is_an_object_of_the_decoded_name() {
    let memory = Memory::new();
    let bucket = memory.bucket().with_names(Names::Encoded);
    for name in ["1.a%2Fb.json", "1.gr%C3%BC%C3%9Fe.json", "1.50%25.json", "root.json"] {
        bucket.create(name, b"x", Caching::Forever).unwrap();
    }
    let objects: Vec<String> = memory.contents().into_keys().collect();
    assert_eq!(objects, ["1.50%.json", "1.a/b.json", "1.grüße.json", "root.json"]);
    let mut names = bucket.with_names(Names::Encoded).names().unwrap();
    names.sort();
    assert_eq!(names, ["1.50%25.json", "1.a%2Fb.json", "1.gr%C3%BC%C3%9Fe.json", "root.json"]);
}

#[test]
fn names_that_no_object_can_have_are_refused() {
    for name in ["a//b", "../a", "a/./b"] {
        assert!(Memory::new().bucket().create(name, b"", Caching::Never).is_err(), "{name}");
    }
}

#[test]
fn an_object_tells_its_type_and_how_long_it_may_be_kept() {
    let told = |name, caching| {
        let attributes = attributes(name, caching);
        let value = |key| attributes.get(&key).unwrap().to_string();
        (value(Attribute::ContentType), value(Attribute::CacheControl))
    };
    let forever = "public, max-age=31536000, immutable".to_owned();
    assert_eq!(told("1.root.json", Caching::Forever), ("application/json".to_owned(), forever.clone()));
    assert_eq!(told("a.txt", Caching::Forever), ("application/octet-stream".to_owned(), forever));
    assert_eq!(
        told("timestamp.json", Caching::Never),
        ("application/json".to_owned(), "no-cache".to_owned())
    );
}

#[test]
fn a_file_with_the_listed_digest_is_read_instead_of_the_object() {
    let memory = Memory::new();
    memory.plant("same", b"same bytes");
    memory.plant("other", b"theirs");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("same"), b"same bytes").unwrap();
    std::fs::write(dir.path().join("other"), b"its own").unwrap();
    let tagged = |bytes: &[u8]| Some(format!("\"{}\"", hex::encode(Md5::digest(bytes))));
    let bucket = memory.bucket().with_twins(vec![Folder::new(dir.path())]);
    // a store of this kind has digests for tags
    let mut listing = bucket.listing().unwrap().clone();
    listing.get_mut("same").unwrap().e_tag = tagged(b"same bytes");
    listing.get_mut("other").unwrap().e_tag = tagged(b"theirs");
    let bucket = bucket.with_twins(vec![Folder::new(dir.path())]);
    bucket.view.listing.set(listing).unwrap();
    memory.requests();
    assert_eq!(bucket.read("same", 100).unwrap().unwrap(), b"same bytes");
    assert_eq!(memory.requests(), Vec::<String>::new());
    assert_eq!(bucket.read("other", 100).unwrap().unwrap(), b"theirs");
    assert_eq!(memory.requests(), ["GET other"]);
}

fn upload(name: &str, length: u64, caching: Caching) -> Upload {
    Upload { name: name.to_owned(), length, caching }
}

/// Bytes that differ everywhere.
fn bytes(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn open(upload: &Upload) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(Cursor::new(bytes(upload.length))))
}

#[test]
fn many_files_and_one_in_pieces_arrive_whole() {
    let memory = Memory::new();
    let mut files: Vec<Upload> =
        (0..40).map(|at| upload(&format!("{at}"), 1000 + at, Caching::Forever)).collect();
    files.push(upload("large", (8 << 20) * 2 + 5, Caching::Forever));
    let sent = Mutex::new(0);
    memory.bucket().upload(&files, &open, &|count| *sent.lock().unwrap() += count).unwrap();
    assert_eq!(*sent.lock().unwrap(), files.iter().map(|file| file.length).sum::<u64>());
    let contents = memory.contents();
    assert_eq!(contents.len(), 41);
    for file in &files {
        assert!(contents[&file.name] == bytes(file.length), "{}", file.name);
    }
}

#[test]
fn an_upload_does_not_replace_what_may_be_kept() {
    let memory = Memory::new();
    memory.plant("a", b"other");
    let error = memory.bucket().upload(&[upload("a", 5, Caching::Forever)], &open, &|_| {}).unwrap_err();
    assert!(matches!(&error, UploadError::Other { name } if name == "a"), "{error}");
    assert_eq!(memory.contents()["a"], b"other");
}

#[test]
fn a_file_that_fails_its_check_does_not_appear() {
    struct Bad(Cursor<Vec<u8>>);
    impl Read for Bad {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::InvalidData.into()),
                count => Ok(count),
            }
        }
    }
    let memory = Memory::new();
    let open: &OpenUpload<'_> = &|upload| Ok(Box::new(Bad(Cursor::new(bytes(upload.length)))));
    for length in [5, (8 << 20) + 5, 8 << 21] {
        let error =
            memory.bucket().upload(&[upload("a", length, Caching::Forever)], open, &|_| {}).unwrap_err();
        let UploadError::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::InvalidData);
        assert!(memory.contents().is_empty());
    }
}

#[test]
fn what_is_not_there_can_be_read_and_removed() {
    let bucket = Bucket::over(Arc::new(InMemory::new()), "s3://memory", "").unwrap();
    assert_eq!(bucket.read("a", 1).unwrap(), None);
    assert!(bucket.is_absent("a").unwrap());
    bucket.remove(&["a", "b"]).unwrap();
}
