//! A ban of something that is not an address: fail2ban lets a filter ban a user name, a session or any other failure ID, and
//! `fail2ban-client set JAIL banip` takes any text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Several times as long as failure IDs are in practice.
const MAX_BYTES: usize = 1024;

/// A text that a jail bans, if it fits into a list and a command: no control characters, nothing that fail2ban would take for an
/// option or for the end of the command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BanMark(String);

/// Why a text is not a mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a banned text must have 1 to {MAX_BYTES} bytes, no control characters, and nothing that fail2ban would misread"
)]
pub struct MarkError;

impl BanMark {
    /// Checks and wraps a mark.
    ///
    /// # Errors
    /// If it does not fit into a command of fail2ban.
    pub fn parse(text: &str) -> Result<Self, MarkError> {
        let fits = (1..=MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        // `unbanip` takes an option that begins with `--`, and the protocol ends a command with `<F2B_END_COMMAND>`.
        if fits && !text.starts_with("--") && !text.contains("<F2B_") {
            return Ok(Self(text.to_owned()));
        }
        Err(MarkError)
    }

    /// The mark as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BanMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BanMark {
    type Error = MarkError;
    fn try_from(text: String) -> Result<Self, MarkError> {
        Self::parse(&text)
    }
}

impl From<BanMark> for String {
    fn from(mark: BanMark) -> Self {
        mark.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_any_text_that_a_command_can_carry() {
        for good in ["mallory", "größe", "a b", "-x", "user@host", "%(x)s", &"x".repeat(MAX_BYTES)] {
            assert!(BanMark::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(MAX_BYTES + 1);
        for bad in ["", "a\nb", "a\tb", "\0", "--report-absent", "--all", "x<F2B_END_COMMAND>", &long] {
            assert!(BanMark::parse(bad).is_err(), "{bad:?}");
        }
    }
}
