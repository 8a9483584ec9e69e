//! Times and durations as people type them, and the clock that commands read.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

pub use crate::repository::duration::{format as format_duration, parse as parse_duration};

/// The last year that metadata can express with four digits.
const LAST_YEAR: i32 = 9999;

/// Reads a moment: RFC 3339, or a date that means its first second in UTC.
///
/// # Errors
/// A sentence for people.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return in_range(time.with_timezone(&Utc));
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return in_range(date.and_time(NaiveTime::MIN).and_utc());
    }
    Err(format!("'{}' is not a time such as 2030-01-31T12:00:00Z or 2030-01-31", text.escape_debug()))
}

/// Adds a duration to a moment.
///
/// # Errors
/// A sentence for people where the sum lies beyond what metadata can express.
pub fn after(time: DateTime<Utc>, duration: TimeDelta) -> Result<DateTime<Utc>, String> {
    let sum =
        time.checked_add_signed(duration).ok_or_else(|| "the time lies too far in the future".to_owned())?;
    in_range(sum)
}

fn in_range(time: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    use chrono::Datelike;
    if (0..=LAST_YEAR).contains(&time.year()) {
        Ok(time)
    } else {
        Err(format!("the year {} has not four digits", time.year()))
    }
}

/// Returns the time that a command works by: `--time` where given, else the clock. No environment variable sets it: build
/// systems export `SOURCE_DATE_EPOCH`, and metadata that expired long ago must not look fresh inside a build.
pub fn now(time: Option<DateTime<Utc>>) -> DateTime<Utc> {
    time.unwrap_or_else(Utc::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_and_dates() {
        assert_eq!(parse_time("2030-01-31").unwrap(), parse_time("2030-01-31T01:00:00+01:00").unwrap());
        for text in ["", "tomorrow", "2030-02-30", "+12030-01-01T00:00:00Z"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert!(after(parse_time("9999-12-31").unwrap(), parse_duration("1d").unwrap()).is_err());
    }
}
