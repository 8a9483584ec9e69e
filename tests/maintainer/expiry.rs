//! `expire`: what would lock clients out sooner than anybody means is refused unless `--force` says that it is meant.

use crate::cli::Site;
use crate::world::{contents, difference};

#[track_caller]
fn refused(site: &Site, args: &[&str], hint: &str) {
    let before = contents(&site.repository());
    let ran = site.run(args).exits(2);
    assert!(ran.stderr.contains("would expire on"), "{ran:?}");
    assert!(ran.stderr.contains(hint) && ran.stderr.contains("--force"), "{ran:?}");
    let changed = difference(&before, &contents(&site.repository()));
    assert!(changed.is_empty(), "{changed:?}");
    site.run(&[args, &["--force"]].concat()).exits(0);
}

#[test]
fn minutes_that_were_meant_as_months_and_less_than_an_hour_want_force() {
    for flags in [&[][..], &["--no-consistent-snapshot"]] {
        let site = Site::written_with(flags);
        site.run(&["delegate", "bins", "--key", "../key-4.pub", "--bins", "4"]).exits(0);
        for (role, when) in [("root", "6m"), ("targets", "90m"), ("bins", "1439m")] {
            refused(&site, &["expire", role, when], "6mo for six months");
        }
        for (role, when) in
            [("timestamp", "59m"), ("root", "3599s"), ("snapshot", "2031-03-01T12:20:00Z"), ("bins", "0h30m")]
        {
            refused(&site, &["expire", role, when], "a longer duration");
        }
    }
}

#[test]
fn what_the_next_refresh_signs_again_is_a_warning_and_months_are_months() {
    let site = Site::written();
    let ran = site.run(&["expire", "timestamp", "2h"]).exits(0);
    assert!(ran.stderr.contains("the next refresh signs it again at once"), "{ran:?}");
    assert!(ran.stderr.contains("2h from now"), "{ran:?}");
    let months = site.json(&["--json", "expire", "root", "6mo"], 0);
    assert_eq!(months["expires"], "2031-08-28T12:00:00Z");
    // an hour and a day are the least
    for (role, when) in [("timestamp", "1h"), ("root", "1440m"), ("targets", "1h")] {
        site.run(&["expire", role, when]).exits(0);
    }
}
