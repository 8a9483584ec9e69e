//! How many keys of a role must sign: a number that is never zero.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer, Serialize};

use super::{MAX_NUMBER, Positive};

/// How many distinct keys of a role must sign: from 1 to [`MAX_NUMBER`].
///
/// Nobody can make a threshold of zero, which metadata without any signature would meet, nor one that could not be read
/// again once it is written.
///
/// ```
/// use tuf::metadata::Threshold;
/// assert!(Threshold::new(0).is_none());
/// assert!(serde_json::from_str::<Threshold>("0").is_err());
/// assert_eq!(Threshold::new(2).map(Threshold::get), Some(2));
/// ```
///
/// Its number is private:
///
/// ```compile_fail,E0423
/// let zero = tuf::metadata::Threshold(0);
/// ```
///
/// and metadata takes no plain number in its place:
///
/// ```compile_fail,E0308
/// use tuf::metadata::RoleKeys;
/// let keys = RoleKeys { threshold: 0, ..RoleKeys::none() };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Threshold(NonZeroU64);

impl Threshold {
    /// One key is enough.
    pub const ONE: Self = Self(NonZeroU64::MIN);

    /// Makes a threshold; none of a number below 1 or above [`MAX_NUMBER`].
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).filter(|_| number <= MAX_NUMBER).map(Self)
    }

    /// Returns the number, 1 at least.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Tells how many more keys must sign where this many distinct ones have.
    pub fn lacking(self, signed: usize) -> u64 {
        self.get().saturating_sub(signed as u64)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Positive(number) = Positive::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom(format!("{number} is no threshold")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_and_numbers_that_could_not_be_read_again_are_no_thresholds() {
        for number in [0, MAX_NUMBER + 1, u64::MAX] {
            assert_eq!(Threshold::new(number), None);
            let error = serde_json::from_str::<Threshold>(&number.to_string()).unwrap_err().to_string();
            assert!(error.contains(&format!("{number} where an integer from 1 to {MAX_NUMBER}")), "{error}");
        }
        for text in ["-1", "1.0", "\"1\"", "null", "true"] {
            assert!(serde_json::from_str::<Threshold>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_signed_never_meets_a_threshold() {
        for number in [1, 2, MAX_NUMBER] {
            assert_eq!(Threshold::new(number).unwrap().lacking(0), number);
        }
        assert_eq!(Threshold::ONE.lacking(2), 0);
    }

    proptest! {
        #[test]
        fn what_can_be_made_can_be_read_again(number in any::<u64>()) {
            if let Some(threshold) = Threshold::new(number) {
                let text = serde_json::to_string(&threshold).unwrap();
                prop_assert_eq!(&text, &number.to_string());
                prop_assert_eq!(serde_json::from_str::<Threshold>(&text).unwrap(), threshold);
            } else {
                prop_assert!(number == 0 || number > MAX_NUMBER);
            }
        }
    }
}
