//! What a new password must be.

use std::ops::RangeInclusive;

/// How many bytes a password may have. The upper end bounds what is hashed.
pub const LENGTH: RangeInclusive<usize> = 10..=1024;

/// The password is too short or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a password must have {} to {} bytes, this one has {has}", LENGTH.start(), LENGTH.end())]
pub struct WrongLength {
    /// How many bytes it has.
    pub has: usize,
}

/// Checks a new password. What is merely typed to log in is not checked, but never hashed beyond [`LENGTH`].
///
/// # Errors
/// [`WrongLength`].
pub fn check(password: &str) -> Result<(), WrongLength> {
    let has = password.len();
    if LENGTH.contains(&has) { Ok(()) } else { Err(WrongLength { has }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_10_to_1024_bytes_is_taken() {
        for (length, ok) in [(0, false), (9, false), (10, true), (1024, true), (1025, false)] {
            assert_eq!(check(&"x".repeat(length)).is_ok(), ok, "{length}");
        }
        assert!(check("äöüäö").is_ok(), "bytes count, not characters");
    }
}
