//! The closed list of what this program ever asks fail2ban.
//!
//! `stop` alone, `set ... action`, `addaction` and their like end the server or run commands as root; there is
//! no variant for them, and no variant that takes free words: names are checked, all else is a number, an address or a
//! network.

use std::borrow::Cow;

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
    /// `get dbfile`
    Database,
    /// `stop JAIL`: ends one jail, which is started again by a reload. Changes something.
    StopJail(JailName),
}

impl Command {
    /// The words that are sent.
    #[must_use]
    pub fn words(&self) -> Vec<Cow<'_, str>> {
        let words: Vec<&str> = match self {
            Self::Ping => vec!["ping"],
            Self::Version => vec!["version"],
            Self::Status => vec!["status"],
            Self::ShortStatus(jail) => vec!["status", jail.as_str(), "short"],
            Self::Stats => vec!["stats"],
            Self::Backend(jail) => vec!["get", jail.as_str(), "backend"],
            Self::Idle(jail) => vec!["get", jail.as_str(), "idle"],
            Self::Database => vec!["get", "dbfile"],
            Self::StopJail(jail) => vec!["stop", jail.as_str()],
        };
        words.into_iter().map(Cow::Borrowed).collect()
    }

    /// Whether it changes something: such a one must not be sent again once it may have been read.
    #[must_use]
    pub fn changes(&self) -> bool {
        matches!(self, Self::StopJail(_))
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}
