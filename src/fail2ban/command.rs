//! The closed list of the commands that this program ever sends to fail2ban.
//!
//! `stop` alone, `set ... action`, `addaction` and the like end the server or run commands as root; there is
//! no variant for them, and no variant that takes arbitrary words: names and marks are checked, all else is a number, an address
//! or a network.

use std::borrow::Cow;

use crate::domain::{BanMark, BanTime, FindTime, JailName, MaxRetry, Network};

/// The most addresses in one command, so that fail2ban's only command thread stays responsive: an action costs some
/// milliseconds for each.
pub const MAX_ADDRESSES: usize = 25;

/// A value that can be read of a jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `backend`: not every fail2ban knows it.
    Backend,
    /// `idle`: not every fail2ban knows it.
    Idle,
    /// `bantime`
    BanTime,
    /// `findtime`
    FindTime,
    /// `maxretry`
    MaxRetry,
    /// `ignoreip`
    IgnoreIp,
    /// `logpath`
    LogPath,
    /// `journalmatch`
    JournalMatch,
}

impl Field {
    fn word(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Idle => "idle",
            Self::BanTime => "bantime",
            Self::FindTime => "findtime",
            Self::MaxRetry => "maxretry",
            Self::IgnoreIp => "ignoreip",
            Self::LogPath => "logpath",
            Self::JournalMatch => "journalmatch",
        }
    }
}

/// A value that can be set of a jail, until its next reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `bantime SECONDS`
    BanTime(BanTime),
    /// `findtime SECONDS`
    FindTime(FindTime),
    /// `maxretry COUNT`
    MaxRetry(MaxRetry),
    /// `addignoreip NETWORK`
    Ignore(Network),
    /// `delignoreip NETWORK`
    IgnoreNoMore(Network),
}

impl Setting {
    fn words(self) -> [String; 2] {
        let (word, value) = match self {
            Self::BanTime(time) => ("bantime", time.to_string()),
            Self::FindTime(time) => ("findtime", time.to_string()),
            Self::MaxRetry(count) => ("maxretry", count.to_string()),
            Self::Ignore(network) => ("addignoreip", network.to_string()),
            Self::IgnoreNoMore(network) => ("delignoreip", network.to_string()),
        };
        [word.to_owned(), value]
    }
}

/// One command to fail2ban.
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
    /// `get JAIL ...`
    Get(JailName, Field),
    /// `get dbfile`
    Database,
    /// `get logtarget`
    LogTarget,
    /// `get JAIL banip --with-time`: every banned address of the jail, with the times of its ban.
    Bans(JailName),
    /// `banned IP...`: the jails that ban each of these.
    Banned(Vec<Network>),
    /// `get JAIL banned IP...`: whether the jail bans each of these.
    BannedIn(JailName, Vec<Network>),
    /// `set JAIL ...`: until the next reload. Changes something.
    Set(JailName, Setting),
    /// `set JAIL banip IP...`: as if the jail had found them. Changes something.
    Ban(JailName, Vec<Network>),
    /// `set JAIL unbanip IP...`: a network means every address in it. Changes something.
    Unban(JailName, Vec<Network>),
    /// `set JAIL unbanip MARK...`: bans of something other than an address. Changes something.
    UnbanMarks(JailName, Vec<BanMark>),
    /// `stop JAIL`: stops one jail, which a reload starts again. Changes something.
    StopJail(JailName),
}

impl Command {
    /// The jail that it is about, if it is about one.
    #[must_use]
    pub fn jail(&self) -> Option<&JailName> {
        match self {
            Self::ShortStatus(jail)
            | Self::Get(jail, _)
            | Self::Bans(jail)
            | Self::BannedIn(jail, _)
            | Self::Set(jail, _)
            | Self::Ban(jail, _)
            | Self::Unban(jail, _)
            | Self::UnbanMarks(jail, _)
            | Self::StopJail(jail) => Some(jail),
            Self::Ping
            | Self::Version
            | Self::Status
            | Self::Stats
            | Self::Database
            | Self::LogTarget
            | Self::Banned(_) => None,
        }
    }

    /// The words that are sent.
    #[must_use]
    pub fn words(&self) -> Vec<Cow<'_, str>> {
        let (words, values): (Vec<&str>, Vec<String>) = match self {
            Self::Ping => (vec!["ping"], vec![]),
            Self::Version => (vec!["version"], vec![]),
            Self::Status => (vec!["status"], vec![]),
            Self::ShortStatus(jail) => (vec!["status", jail.as_str(), "short"], vec![]),
            Self::Stats => (vec!["stats"], vec![]),
            Self::Get(jail, field) => (vec!["get", jail.as_str(), field.word()], vec![]),
            Self::Database => (vec!["get", "dbfile"], vec![]),
            Self::LogTarget => (vec!["get", "logtarget"], vec![]),
            Self::Bans(jail) => (vec!["get", jail.as_str(), "banip", "--with-time"], vec![]),
            Self::Banned(networks) => (vec!["banned"], texts(networks)),
            Self::BannedIn(jail, networks) => (vec!["get", jail.as_str(), "banned"], texts(networks)),
            Self::Set(jail, setting) => (vec!["set", jail.as_str()], setting.words().into()),
            Self::Ban(jail, networks) => (vec!["set", jail.as_str(), "banip"], texts(networks)),
            Self::Unban(jail, networks) => (vec!["set", jail.as_str(), "unbanip"], texts(networks)),
            Self::UnbanMarks(jail, marks) => {
                (vec!["set", jail.as_str(), "unbanip"], marks.iter().map(BanMark::to_string).collect())
            }
            Self::StopJail(jail) => (vec!["stop", jail.as_str()], vec![]),
        };
        words.into_iter().map(Cow::Borrowed).chain(values.into_iter().map(Cow::Owned)).collect()
    }

    /// Whether it changes something: then it must not be sent again once it may have been read.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Set(..) | Self::Ban(..) | Self::Unban(..) | Self::UnbanMarks(..) | Self::StopJail(_) => {
                true
            }
            Self::Ping
            | Self::Version
            | Self::Status
            | Self::ShortStatus(_)
            | Self::Stats
            | Self::Get(..)
            | Self::Database
            | Self::LogTarget
            | Self::Bans(_)
            | Self::Banned(_)
            | Self::BannedIn(..) => false,
        }
    }
}

fn texts(networks: &[Network]) -> Vec<String> {
    networks.iter().map(Network::to_string).collect()
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole list: a new command must be added here, and reviewed for what it lets fail2ban do.
    #[test]
    fn these_are_all_commands_there_are() {
        let jail = || JailName::parse("sshd").unwrap();
        let some = || vec![Network::parse("203.0.113.7").unwrap(), Network::parse("2001:db8::/32").unwrap()];
        let get = |field| Command::Get(jail(), field);
        let set = |setting| Command::Set(jail(), setting);
        let all = [
            (Command::Ping, "ping"),
            (Command::Version, "version"),
            (Command::Status, "status"),
            (Command::ShortStatus(jail()), "status sshd short"),
            (Command::Stats, "stats"),
            (get(Field::Backend), "get sshd backend"),
            (get(Field::Idle), "get sshd idle"),
            (get(Field::BanTime), "get sshd bantime"),
            (get(Field::FindTime), "get sshd findtime"),
            (get(Field::MaxRetry), "get sshd maxretry"),
            (get(Field::IgnoreIp), "get sshd ignoreip"),
            (get(Field::LogPath), "get sshd logpath"),
            (get(Field::JournalMatch), "get sshd journalmatch"),
            (Command::Database, "get dbfile"),
            (Command::LogTarget, "get logtarget"),
            (Command::Bans(jail()), "get sshd banip --with-time"),
            (Command::Banned(some()), "banned 203.0.113.7 2001:db8::/32"),
            (Command::BannedIn(jail(), some()), "get sshd banned 203.0.113.7 2001:db8::/32"),
            (set(Setting::BanTime((-1).try_into().unwrap())), "set sshd bantime -1"),
            (set(Setting::FindTime(600.try_into().unwrap())), "set sshd findtime 600"),
            (set(Setting::MaxRetry(5.try_into().unwrap())), "set sshd maxretry 5"),
            (set(Setting::Ignore(some()[1])), "set sshd addignoreip 2001:db8::/32"),
            (set(Setting::IgnoreNoMore(some()[0])), "set sshd delignoreip 203.0.113.7"),
            (Command::Ban(jail(), some()), "set sshd banip 203.0.113.7 2001:db8::/32"),
            (Command::Unban(jail(), some()), "set sshd unbanip 203.0.113.7 2001:db8::/32"),
            (
                Command::UnbanMarks(jail(), vec![BanMark::parse("mallory").unwrap()]),
                "set sshd unbanip mallory",
            ),
            (Command::StopJail(jail()), "stop sshd"),
        ];
        for (command, words) in all {
            assert_eq!(command.to_string(), words);
            assert_eq!(command.jail().is_some(), words.contains("sshd"), "{words}");
            assert_eq!(command.changes(), words.starts_with("set") || words.starts_with("stop"), "{words}");
            for forbidden in
                ["action", "addaction", "set logtarget", "dbfile ", "--all", "reload", "server-stream"]
            {
                assert!(!words.contains(forbidden), "{words}");
            }
        }
    }
}
