//! `expire`: sets when a draft expires.

use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use tuf::cli::clock::{after, parse_duration, parse_time};
use tuf::cli::failure::{Failure, Outcome};
use tuf::metadata::time;

use super::common::DryRun;
use super::edit::{finish, open_locked};
use crate::context::Context;
use crate::failure::failure;

/// Set when a role expires: a date, or a duration from now.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role.
    role: String,

    /// 2030-01-31, 2030-01-31T12:00:00Z, or a duration such as 90d.
    #[arg(value_name = "DATE|DURATION")]
    when: String,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let expires = moment(&args.when, context.now)?;
    let mut repository = open_locked(context)?;
    for role in repository.find_members(&args.role).map_err(failure)? {
        repository.expire(&role, expires).map_err(failure)?;
    }
    let shown = time::format(&expires);
    let what = format!("'{}' expires on {shown}", args.role);
    let more = Map::from_iter([("role".to_owned(), json!(args.role)), ("expires".to_owned(), json!(shown))]);
    finish(context, repository, args.dry_run, &what, more)
}

fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    if let Ok(duration) = parse_duration(text) {
        return after(now, duration).map_err(|refusal| {
            Failure::usage(format!("'{}': {refusal}", text.escape_debug()))
                .with_hint("a shorter duration, such as 90d")
        });
    }
    parse_time(text).map_err(|refusal| Failure::usage(refusal).with_hint("or a duration such as 90d"))
}
