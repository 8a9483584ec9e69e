//! The password of a private key, kept out of logs and out of freed memory.

use std::fmt;

use zeroize::Zeroizing;

/// The password of a private key. Its memory is overwritten when it is dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a string as a password, exactly as it is: nothing is trimmed or normalised.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// Returns the password as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_show_itself() {
        assert_eq!(format!("{:?}", Password::new("hunter2".into())), "Password(…)");
    }
}
