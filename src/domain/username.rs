//! Names of accounts.

use std::borrow::Cow;
use std::fmt;

/// The name of an account that can exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(Cow<'static, str>);

/// Why a text is no name of an account. It is not repeated: people type passwords into the name field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// It has upper case: two names that differ only in that would be taken for one another.
    #[error("a name must be in lower case")]
    UpperCase,
    /// It is empty, too long, or has other characters.
    #[error(
        "a name must be 1 to 32 characters of a-z, 0-9, '.', '_' and '-', and begin with a letter or a digit"
    )]
    Shape,
}

impl Username {
    /// The account that the setup creates.
    pub const ADMIN: &str = "admin";
    /// The most characters.
    const MAX: usize = 32;

    /// The account that the setup creates.
    #[must_use]
    pub fn admin() -> Self {
        Self(Cow::Borrowed(Self::ADMIN))
    }

    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`UsernameError`].
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        if text == Self::ADMIN {
            return Ok(Self::admin());
        }
        let other = |c: char| matches!(c, '.' | '_' | '-');
        let fits = (1..=Self::MAX).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || other(c))
            && !text.starts_with(other);
        if !fits {
            return Err(UsernameError::Shape);
        }
        if text.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(UsernameError::UpperCase);
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_plain_and_in_lower_case() {
        for name in ["admin", "a", "7", "anna.b-c_d", "0-", &"x".repeat(32)] {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
        for name in ["Anna", "aNNA", "ADMIN"] {
            assert_eq!(Username::parse(name), Err(UsernameError::UpperCase), "{name}");
        }
        for name in ["", ".a", "-a", "_a", "a b", "a:b", "a/b", "a{b}", "ä", "a\n", "A B", &"x".repeat(33)] {
            assert_eq!(Username::parse(name), Err(UsernameError::Shape), "{name:?}");
        }
    }
}
