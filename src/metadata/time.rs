//! Date-times of metadata (specification 4.2.1): read generously, written as `YYYY-MM-DDTHH:MM:SSZ`.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes a time the way metadata does.
pub fn format(time: &DateTime<Utc>) -> String {
    time.trunc_subsecs(0).to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(time))
}

/// Reads RFC 3339 with any offset and with fractions, as old repositories wrote them.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    DateTime::parse_from_rfc3339(&text)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_| serde::de::Error::custom(format!("'{}' is not a date-time", text.escape_debug())))
}
