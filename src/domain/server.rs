//! A fail2ban server as the cluster knows it: what a probe can find, what is shown, what is stored.

use std::collections::{BTreeMap, BTreeSet};

use chrono::serde::ts_microseconds_option;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::newer::Newer;
use super::{Activation, JailName, PendingRecovery, Switch, Timestamp, Unknown};

/// The condition of a server, in one word; it determines `online`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Never probed.
    #[default]
    Unknown,
    /// Answers, and every expected jail runs.
    Up,
    /// Answers, but jails that ran before are missing.
    Degraded,
    /// Accepts connections but does not answer in time.
    Busy,
    /// Its agent says that fail2ban does not answer.
    Down,
    /// The agent cannot be reached, which says nothing about fail2ban.
    Unreachable,
}

impl Condition {
    /// Whether the server is shown as online.
    #[must_use]
    pub fn online(self) -> bool {
        matches!(self, Self::Up | Self::Degraded | Self::Busy)
    }
}

/// The numbers of one jail, as fail2ban counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct JailCounts {
    /// Addresses with failures inside the find time.
    pub currently_failed: u64,
    /// Failures since fail2ban started.
    pub total_failed: u64,
    /// Addresses banned now.
    pub currently_banned: u64,
    /// Bans since fail2ban started.
    pub total_banned: u64,
}

/// The answer of a fail2ban that is healthy enough to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its version, such as `1.0.2`.
    pub version: String,
    /// Every jail that runs, with its counts.
    pub jails: BTreeMap<JailName, JailCounts>,
    /// Jails that fail2ban lists but does not run, because it failed to start them.
    #[serde(default)]
    pub stalled: BTreeSet<JailName>,
}

/// Why an agent could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnreachableKind {
    /// No connection, or it broke, or no answer in time.
    Network,
    /// The certificate was not trusted.
    Tls,
    /// The agent refused the token.
    Token,
    /// The agent's answer could not be understood.
    Protocol,
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// fail2ban answered.
    Answered(Answer),
    /// fail2ban accepted the connection but did not answer in time.
    Busy {
        /// In words, for the user.
        reason: String,
        /// Whether it is making visible progress with a change of a jail: then it does not hang, however long that takes.
        working: bool,
    },
    /// The agent answered that fail2ban does not.
    Down {
        /// In words, for the user.
        reason: String,
    },
    /// The agent itself could not be asked.
    Unreachable {
        /// What kind of failure.
        kind: UnreachableKind,
        /// In words, for the user.
        reason: String,
    },
}

impl ProbeOutcome {
    /// One word for logs and the `outcome` label of the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Busy { .. } => "busy",
            Self::Down { .. } => "down",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// The last probe, as it is shown.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerStatus {
    /// How the server is.
    #[serde(default)]
    pub condition: Condition,
    /// fail2ban's version, if known.
    #[serde(default)]
    pub version: Option<String>,
    /// Every running jail with its counts; while the server is `busy` or `unreachable`, those of the last answer.
    #[serde(default)]
    pub jails: BTreeMap<JailName, JailCounts>,
    /// Expected jails that do not run.
    #[serde(default)]
    pub missing_jails: Vec<JailName>,
    /// Jails that fail2ban lists and that do not run, expected or not.
    #[serde(default)]
    pub stalled_jails: Vec<JailName>,
    /// When this was found, on Redis's clock; none before the first probe.
    #[serde(default, with = "ts_microseconds_option")]
    pub checked_at: Option<Timestamp>,
    /// Why the condition is not `up`, in words.
    #[serde(default)]
    pub error: Option<String>,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl ServerStatus {
    /// The sum over all jails.
    #[must_use]
    pub fn totals(&self) -> JailCounts {
        self.jails.values().fold(JailCounts::default(), |sum, jail| JailCounts {
            currently_failed: sum.currently_failed + jail.currently_failed,
            total_failed: sum.total_failed + jail.total_failed,
            currently_banned: sum.currently_banned + jail.currently_banned,
            total_banned: sum.total_banned + jail.total_banned,
        })
    }
}

/// Whether this fail2ban knows the commands `get JAIL backend` and `get JAIL idle`: detected once for the whole cluster.
///
/// It is valid for the version and the run of fail2ban on which it was made ([`ServerState::online_since`]): a detection that
/// ends after a restart or an upgrade is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendCommands {
    /// Not asked yet, or forgotten.
    #[default]
    Unknown,
    /// It answers them.
    Supported,
    /// It refuses them.
    Unsupported,
}

impl BackendCommands {
    /// As the HTTP interface shows it: `null`, `true` or `false`.
    #[must_use]
    pub fn as_option(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Supported => Some(true),
            Self::Unsupported => Some(false),
        }
    }
}

impl From<bool> for BackendCommands {
    fn from(supported: bool) -> Self {
        if supported { Self::Supported } else { Self::Unsupported }
    }
}

/// All that is stored about one server: one document with a revision in Redis.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerState {
    /// The last probe, as shown.
    #[serde(default)]
    pub status: ServerStatus,
    /// The last condition of fail2ban itself, with which the next probe is compared. It differs from `status.condition` only while
    /// the agent is unreachable.
    #[serde(default)]
    pub settled: Condition,
    /// Jails that ran before and were not switched off through bangui.
    #[serde(default)]
    pub expected_jails: BTreeSet<JailName>,
    /// Since when fail2ban has accepted connections without answering; none unless it does so now.
    #[serde(default, with = "ts_microseconds_option")]
    pub busy_since: Option<Timestamp>,
    /// When fail2ban last came online, which identifies this run of it.
    #[serde(default, with = "ts_microseconds_option")]
    pub online_since: Option<Timestamp>,
    /// A crash after an activation.
    #[serde(default)]
    pub pending_recovery: Option<PendingRecovery>,
    /// The latest activation.
    #[serde(default)]
    pub last_activation: Option<Activation>,
    /// Jails that are being switched on or off, and since when: what a probe sees of them in that time is ignored.
    #[serde(default)]
    pub switching: Vec<Switch>,
    /// The latest activation apart from those in `switching`; none while `switching` is empty, since it is `last_activation` then.
    #[serde(default)]
    pub settled_activation: Option<Activation>,
    /// Jails whose list of bans was dropped: it was larger than its count and the other lists of the server allow.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cut_lists: BTreeSet<JailName>,
    /// Whether `get JAIL backend` is answered.
    #[serde(default)]
    pub backend_commands: BackendCommands,
    /// Words and records of a newer version.
    #[serde(skip)]
    pub newer: Newer,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl ServerState {
    /// The state without the jails whose names versions before 0.3 cannot read; none if there are no such jails.
    #[must_use]
    pub fn with_plain_names(&self) -> Option<Self> {
        let mut plain = self.clone();
        plain.status.jails.retain(|jail, _| jail.is_plain());
        plain.status.missing_jails.retain(JailName::is_plain);
        plain.status.stalled_jails.retain(JailName::is_plain);
        plain.expected_jails.retain(JailName::is_plain);
        plain.cut_lists.retain(JailName::is_plain);
        plain.switching.retain(|switch| switch.jail_name.is_plain());
        for switch in &mut plain.switching {
            switch.previous = switch.previous.take().filter(|activation| activation.jail_name.is_plain());
        }
        plain.pending_recovery = plain.pending_recovery.filter(|pending| pending.jail_name.is_plain());
        plain.settled_activation =
            plain.settled_activation.filter(|activation| activation.jail_name.is_plain());
        plain.last_activation = plain.last_activation.filter(|activation| activation.jail_name.is_plain());
        (plain != *self).then_some(plain)
    }
}
