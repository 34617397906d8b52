//! The closed list of what this program ever asks fail2ban. All of it only reads.
//!
//! `stop`, `set ... action`, `addaction` and their like run commands as root or end the server; there is
//! no variant for them, and no variant that takes free words.

use crate::domain::JailName;

/// One question to fail2ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `ping`
    Ping,
    /// `version`
    Version,
    /// `status`: the names of the jails.
    Status,
    /// `status JAIL short`: counts without addresses; only from 0.11.2 on.
    ShortStatus(JailName),
    /// `stats`: the counts of all jails; only from 1.1.0 on.
    Stats,
    /// `get JAIL backend`: not every fail2ban knows it.
    Backend(JailName),
    /// `get JAIL idle`: not every fail2ban knows it.
    Idle(JailName),
}

impl Command {
    /// The words that are sent.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::Ping => vec!["ping"],
            Self::Version => vec!["version"],
            Self::Status => vec!["status"],
            Self::ShortStatus(jail) => vec!["status", jail.as_str(), "short"],
            Self::Stats => vec!["stats"],
            Self::Backend(jail) => vec!["get", jail.as_str(), "backend"],
            Self::Idle(jail) => vec!["get", jail.as_str(), "idle"],
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}
