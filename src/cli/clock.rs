//! Times and durations as people type them, and the clock that commands read.

use std::env;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

/// The seconds of each unit that a duration may use, largest first. A year is 365 days.
const UNITS: [(char, i64); 6] =
    [('y', 365 * 86_400), ('w', 7 * 86_400), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The last year that metadata can express with four digits.
const LAST_YEAR: i32 = 9999;

/// Reads a duration: `90s`, `15m`, `6h`, `15d`, `2w`, `1y` and sums of them such as `1d12h`.
///
/// # Errors
/// A sentence for people.
pub fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let refused = || format!("'{}' is not a duration such as 90s, 15m, 6h, 15d, 2w, 1y or 1d12h", text.escape_debug());
    let mut seconds: i64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().map_err(|_| refused())?;
        let unit = rest[digits..].chars().next().ok_or_else(refused)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        seconds = number.checked_mul(*factor).and_then(|more| seconds.checked_add(more)).ok_or_else(refused)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    TimeDelta::try_seconds(seconds).ok_or_else(refused)
}

/// Writes a duration the way [`parse_duration`] reads it, largest units first.
pub fn format_duration(duration: TimeDelta) -> String {
    let mut seconds = duration.num_seconds().max(0);
    let mut text = String::new();
    for (unit, factor) in UNITS {
        let count = seconds / factor;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            seconds -= count * factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

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
    let sum = time.checked_add_signed(duration).ok_or_else(|| "the time lies too far in the future".to_owned())?;
    in_range(sum)
}

fn in_range(time: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    use chrono::Datelike;
    if (0..=LAST_YEAR).contains(&time.year()) { Ok(time) } else { Err(format!("the year {} has not four digits", time.year())) }
}

/// Returns the time that a command works by: `--time` where given, else `SOURCE_DATE_EPOCH`, else the clock.
///
/// # Errors
/// A sentence for people where `SOURCE_DATE_EPOCH` is not a number of seconds.
pub fn now(time: Option<DateTime<Utc>>) -> Result<DateTime<Utc>, String> {
    if let Some(time) = time {
        return Ok(time);
    }
    let Some(epoch) = env::var_os("SOURCE_DATE_EPOCH").filter(|epoch| !epoch.is_empty()) else {
        return Ok(Utc::now());
    };
    let seconds = epoch.to_str().and_then(|text| text.parse::<i64>().ok());
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.ok_or_else(|| "SOURCE_DATE_EPOCH is not a number of seconds since 1970".to_owned()).and_then(in_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_and_sums_of_them() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("6h", 21_600), ("15d", 1_296_000), ("2w", 1_209_600), ("1y", 31_536_000), ("1d12h", 129_600)]
        {
            assert_eq!(parse_duration(text).unwrap().num_seconds(), seconds, "{text}");
            assert_eq!(parse_duration(&format_duration(parse_duration(text).unwrap())).unwrap().num_seconds(), seconds);
        }
        for text in ["", "1", "d", "1x", "-1d", "1.5h", " 1d", "99999999999999999999y", "9999999999999y", "1é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_times_and_dates() {
        assert_eq!(parse_time("2030-01-31").unwrap(), parse_time("2030-01-31T01:00:00+01:00").unwrap());
        for text in ["", "tomorrow", "2030-02-30", "+12030-01-01T00:00:00Z"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert!(after(parse_time("9999-12-31").unwrap(), parse_duration("1d").unwrap()).is_err());
    }
}
