//! Durations as people type them: `90s`, `15m`, `6h`, `15d`, `2w`, `3mo`, `1y` and sums of them.

use chrono::TimeDelta;

/// The seconds of each unit that a duration may use, largest first. A year is 365 days.
const UNITS: [(char, i64); 6] =
    [('y', 365 * 86_400), ('w', 7 * 86_400), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The seconds of a month, `mo`: 30 days. Durations are never written in months.
const MONTH: i64 = 30 * 86_400;

/// Reads a duration: `90s`, `15m`, `6h`, `15d`, `2w`, `3mo`, `1y` and sums of them such as `1d12h`.
///
/// # Errors
/// A sentence for people.
pub fn parse(text: &str) -> Result<TimeDelta, String> {
    let refused = || {
        std::format!(
            "'{}' is not a duration such as 90s, 15m, 6h, 15d, 2w, 3mo, 1y or 1d12h",
            text.escape_debug()
        )
    };
    let mut seconds: i64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().map_err(|_| refused())?;
        let unit = rest[digits..].chars().next().ok_or_else(refused)?;
        let is_month = rest[digits..].starts_with("mo");
        let of_unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = if is_month { MONTH } else { of_unit.ok_or_else(refused)? };
        seconds =
            number.checked_mul(factor).and_then(|more| seconds.checked_add(more)).ok_or_else(refused)?;
        rest = &rest[digits + if is_month { 2 } else { unit.len_utf8() }..];
    }
    TimeDelta::try_seconds(seconds).ok_or_else(refused)
}

/// Writes a duration the way [`parse`] reads it, largest units first.
pub fn format(duration: TimeDelta) -> String {
    let mut seconds = duration.num_seconds().max(0);
    let mut text = String::new();
    for (unit, factor) in UNITS {
        let count = seconds / factor;
        if count > 0 {
            text.push_str(&std::format!("{count}{unit}"));
            seconds -= count * factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_and_sums_of_them() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("6h", 21_600),
            ("15d", 1_296_000),
            ("2w", 1_209_600),
            ("1y", 31_536_000),
            ("3mo", 7_776_000),
            ("1y6mo2m", 47_088_120),
            ("1d12h", 129_600),
        ] {
            assert_eq!(parse(text).unwrap().num_seconds(), seconds, "{text}");
            assert_eq!(parse(&format(parse(text).unwrap())).unwrap().num_seconds(), seconds);
        }
        for text in [
            "",
            "1",
            "d",
            "1x",
            "-1d",
            "1.5h",
            " 1d",
            "mo",
            "1o",
            "1moo",
            "99999999999999999999y",
            "9999999999999y",
            "1é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
