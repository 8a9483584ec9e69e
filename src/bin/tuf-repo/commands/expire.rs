//! `expire`: sets when a draft expires.

use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use tuf::cli::clock::{after, format_duration, parse_duration, parse_time};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::metadata::time;
use tuf::repository::{Haste, InputError, Spelling};

use super::common::DryRun;
use super::edit::{finish, open_past_drafts};
use crate::context::Context;
use crate::failure::failure;

/// Set when a role expires: a date, or a duration from now.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The role.
    role: String,

    /// 2030-01-31, 2030-01-31T12:00:00Z, or a duration such as 90d or 6mo.
    #[arg(value_name = "DATE|DURATION")]
    when: String,

    /// Take an expiry of less than an hour, or of minutes for root and for roles that list targets.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    dry_run: DryRun,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let expires = moment(&args.when, context.now)?;
    let mut repository = open_past_drafts(context)?;
    let roles = repository.find_members(&args.role).map_err(failure)?;
    let (shown, left) = (time::format(&expires), format_duration(expires - context.now));
    let mut soon_due = false;
    for role in &roles {
        let haste = repository.haste(role, expires, spelling(&args.when));
        repository.expire(role, expires).map_err(failure)?;
        if let (Haste::TooShort | Haste::MinutesForMonths, false) = (haste, args.force) {
            let (role, months) = (role.clone(), haste == Haste::MinutesForMonths);
            let short = InputError::ShortExpiry { role, expires: shown, after: left, months };
            return Err(failure(short.into()));
        }
        soon_due |= haste == Haste::WithinRefreshWindow;
    }
    if soon_due {
        let role = &args.role;
        let warning =
            format!("'{role}': the next refresh signs it again at once, since its window is longer");
        context.output.warn(&warning);
    }
    let what = format!("'{}' expires on {shown}, {left} from now", args.role);
    let more = Map::from_iter([("role".to_owned(), json!(args.role)), ("expires".to_owned(), json!(shown))]);
    finish(context, repository, args.dry_run, &what, more)
}

/// Tells whether a time was written as minutes alone.
fn spelling(text: &str) -> Spelling {
    let digits = text.strip_suffix('m').filter(|digits| !digits.is_empty());
    let is_minutes = digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if is_minutes { Spelling::Minutes } else { Spelling::Other }
}

fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    if let Ok(duration) = parse_duration(text) {
        return after(now, duration).map_err(|refusal| {
            Failure::usage(format!("'{}': {refusal}", text.escape_debug()))
                .with_hint(Hint::advice("give a shorter duration, such as 90d"))
        });
    }
    parse_time(text).map_err(|refusal| {
        Failure::usage(refusal).with_hint(Hint::advice("give a duration such as 90d, or such a time"))
    })
}
