//! Findings: what is wrong, at risk or worth knowing about this installation, each with what it means and how to fix it.
//!
//! ```text
//! facts (state, agent, jail, Redis, request) ─▶ one pure function per finding ─▶ Report ─▶ seen.rs (since when) ─▶ API, check
//! ```
//!
//! | severity | heading | means |
//! |---|---|---|
//! | `error` | Not protected | bans do not happen as they should |
//! | `warning` | At risk | works now, may not tomorrow |
//! | `info` | Worth knowing | nothing is wrong |
//!
//! A check has three outcomes, not two: a [`Report`] holds what was found, and which checks were made at all. A check that is in
//! neither could not be made, and is never shown as fine.
//!
//! A new finding needs a [`Kind`], a function with a test at its boundary, and its call in `actions/diagnose.rs`.

pub mod agents;
pub mod front;
pub mod jails;
pub mod lists;
pub mod own_address;
pub mod redis;
mod report;
pub mod seen;
pub mod servers;
pub mod workers;

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::{JailName, ServerName, Timestamp};
pub use report::{CheckState, Report};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not protected: bans do not happen as they should.
    Error,
    /// At risk: works now, may not tomorrow.
    Warning,
    /// Worth knowing: nothing is wrong.
    Info,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        /// What a finding is about. These words never change: pages and scripts depend on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
        #[schema(rename_all = "kebab-case")]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Kind {
            /// All kinds, in the order in which findings of one severity are shown.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The kind's stable word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

kinds! {
    /// A crash after an activation waits for a decision.
    PendingRecovery = "pending-recovery";
    /// fail2ban does not answer.
    ServerDown = "server-down";
    /// The agent cannot be asked.
    ServerUnreachable = "server-unreachable";
    /// A jail that ran is missing.
    ServerDegraded = "server-degraded";
    /// fail2ban lists a jail and does not run it.
    JailNotRunning = "jail-not-running";
    /// fail2ban accepts connections and does not answer.
    ServerBusy = "server-busy";
    /// A list of bans is not read.
    BanListUnread = "ban-list-unread";
    /// A log file of a jail is missing.
    LogMissing = "log-missing";
    /// A log file of a jail has not grown while others have.
    LogStale = "log-stale";
    /// fail2ban keeps no database.
    DatabaseOff = "database-off";
    /// The agent runs another version than the workers.
    AgentVersion = "agent-version";
    /// The agent's clock is wrong.
    AgentClock = "agent-clock";
    /// The agent's certificate is about to expire.
    AgentCertificate = "agent-certificate";
    /// Two agents have one name.
    AgentNames = "agent-names";
    /// The caller may be banned.
    OwnAddress = "own-address";
    /// Redis keeps nothing on disk, or not everything.
    RedisPersistence = "redis-persistence";
    /// Redis may evict keys.
    RedisEviction = "redis-eviction";
    /// Redis is nearly full.
    RedisMemory = "redis-memory";
    /// Fewer replicas are connected than must confirm.
    RedisReplicas = "redis-replicas";
    /// Workers run different versions.
    WorkerVersions = "worker-versions";
    /// Requests arrive without TLS.
    NoHttps = "no-https";
    /// Requests arrive through a proxy that is not named.
    ProxyUnnamed = "proxy-unnamed";
    /// Login limits refuse often.
    LimitsMet = "limits-met";
    /// A filter has matched nothing since fail2ban started.
    FilterSilent = "filter-silent";
    /// A ban is shorter than the time in which failures add up.
    BanShort = "ban-short";
    /// The jail `recidive` runs.
    RecidiveOn = "recidive-on";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How to fix what a finding reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remedy {
    /// What to do, in a sentence.
    pub text: String,
    /// A command to run on the host.
    pub command: Option<String>,
    /// A call of the API that does it: method and path.
    pub action: Option<(&'static str, String)>,
}

impl Remedy {
    /// Something to do by hand.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    fn action(self, method: &'static str, path: String) -> Self {
        Self { action: Some((method, path)), ..self }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// The server it was found on; none if it is about bangui itself.
    pub server: Option<ServerName>,
    /// The jail.
    pub jail: Option<JailName>,
    /// What distinguishes it from others of its kind there: a log file, an address.
    pub about: Option<String>,
    /// Since when, where the facts say so.
    pub since: Option<Timestamp>,
    /// The finding in a few words.
    pub title: String,
    /// What the finding means for protection.
    pub detail: String,
    /// How to fix it.
    pub remedy: Remedy,
}

impl Finding {
    /// A finding about bangui itself.
    fn new(
        kind: Kind,
        severity: Severity,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: Remedy,
    ) -> Self {
        let (server, jail, about, since) = (None, None, None, None);
        let (title, detail) = (title.into(), detail.into());
        Self { kind, severity, server, jail, about, since, title, detail, remedy }
    }

    fn on(self, server: &ServerName) -> Self {
        Self { server: Some(server.clone()), ..self }
    }

    fn jail(self, jail: &JailName) -> Self {
        Self { jail: Some(jail.clone()), ..self }
    }

    fn about(self, about: impl Into<String>) -> Self {
        Self { about: Some(about.into()), ..self }
    }

    fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// Names this finding for as long as it lasts, on every worker: `KIND[:SERVER[/JAIL]][#ABOUT]`.
    #[must_use]
    pub fn id(&self) -> String {
        let word = self.kind.word();
        let parts = [
            (':', self.server.as_ref().map(ServerName::as_str)),
            ('/', self.jail.as_ref().map(JailName::as_str)),
            ('#', self.about.as_deref()),
        ];
        let long: usize = parts.iter().filter_map(|(_, part)| Some(part.as_ref()?.len() + 1)).sum();
        let mut id = String::with_capacity(word.len() + long);
        id.push_str(word);
        for (mark, part) in parts {
            if let Some(part) = part {
                id.push(mark);
                id.push_str(part);
            }
        }
        id
    }
}

/// A word of a shell command: names and paths come from configuration files and may hold anything.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A duration, rounded as people would say it.
fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds % 86_400 / 3_600, seconds % 3_600 / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (1, ..) => "1 day".to_owned(),
        _ => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_quotes_what_it_names() {
        assert_eq!(quoted("/var/log/a b.log"), "'/var/log/a b.log'");
        assert_eq!(quoted("a'; rm -rf $(x) '"), r"'a'\''; rm -rf $(x) '\'''");
    }

    #[test]
    fn times_are_worded_as_people_say_them() {
        let said = [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (5_400, "1 h 30 min")];
        for (seconds, text) in said.into_iter().chain([(86_400, "1 day"), (200_000, "2 days")]) {
            assert_eq!(duration(seconds), text);
        }
    }
}
