//! What travels between workers and agents: JSON bodies, both directions, one file so that the ends cannot drift.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/info` | [`Info`] |
//! | `GET /v1/status` | [`Status`]: the probe |
//! | `GET /v1/jails?backend=true\|false` | [`Jails`] |
//! | `GET /v1/backend-commands` | [`BackendSupport`]: the one-time detection |
//! | `POST /v1/jails/{jail}/activate`, `.../deactivate` | [`JailChanged`]: a transaction, see `change.rs` |
//!
//! Every call carries `Authorization: Bearer <agent token>`, and [`DEADLINE_HEADER`] if the caller waits for less
//! than [`DEFAULT_DEADLINE`] ([`CHANGE_DEADLINE`] for a change). What is refused has a [`Refusal`] as its body:
//! 400, 404, 405 and 413 `request`, 401 `token`, 404 `jail`, 422 `configuration`, 500 `failed`, 503 `busy` or `down`. `/v1/status` tells of a fail2ban that does not answer in a 200, since that is what it was
//! asked; the other calls refuse with 503.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Answer, JailCounts, JailName, ProbeOutcome};
use crate::fail2ban::Fail2banError;

/// In how many milliseconds the answer must be on its way. The agent gives up on fail2ban in time to say so, so
/// that a busy fail2ban is not taken for an agent out of reach.
pub const DEADLINE_HEADER: &str = "x-bangui-deadline-ms";

/// What holds without that header.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// What holds without it for a call that changes jails: fail2ban's programs take a second or two, an undoing as much again,
/// and a jail that ends runs the unban action of each of its bans.
pub const CHANGE_DEADLINE: Duration = Duration::from_secs(120);

/// No answer is larger: some 20,000 jails.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Who the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The version of bangui it runs.
    pub agent_version: String,
    /// The version of fail2ban it last spoke with.
    pub fail2ban_version: Option<String>,
    /// Probes it has answered since its start.
    pub probes: u64,
    /// Detections of the backend commands it has made since its start.
    pub backend_detections: u64,
    /// The jail whose change was interrupted and is being undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_change: Option<JailName>,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// fail2ban answered.
    Up {
        /// Its version.
        version: String,
        /// Each running jail with its counts.
        jails: BTreeMap<JailName, JailCounts>,
        /// Jails that it lists and that do not run.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        stalled: BTreeSet<JailName>,
    },
    /// It accepted the connection and did not answer in time.
    Busy {
        /// In words.
        reason: String,
    },
    /// It does not answer, or not in its protocol.
    Down {
        /// In words.
        reason: String,
    },
}

impl From<Result<Answer, Fail2banError>> for Status {
    fn from(probe: Result<Answer, Fail2banError>) -> Self {
        match probe {
            Ok(Answer { version, jails, stalled }) => Self::Up { version, jails, stalled },
            Err(Fail2banError::Busy(reason)) => Self::Busy { reason },
            Err(error) => Self::Down { reason: error.to_string() },
        }
    }
}

impl From<Status> for ProbeOutcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Up { version, jails, stalled } => Self::Answered(Answer { version, jails, stalled }),
            Status::Busy { reason } => Self::Busy { reason },
            Status::Down { reason } => Self::Down { reason },
        }
    }
}

/// One jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Its name.
    pub name: JailName,
    /// Its counts.
    #[serde(flatten)]
    pub counts: JailCounts,
    /// `polling`, `pyinotify`, `systemd`: only if asked for, and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Whether the jail is idle: only if asked for, and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<bool>,
}

/// All running jails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jails {
    /// By name.
    pub jails: Vec<Jail>,
}

/// Whether fail2ban answers `get JAIL backend` and `get JAIL idle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendSupport {
    /// `None` if there is no jail to ask about.
    pub supported: Option<bool>,
}

/// What became of an activation, a deactivation or a change of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailChanged {
    /// Which jail.
    pub jail: JailName,
    /// Whether it runs now.
    pub active: bool,
    /// False if it was so already.
    pub changed: bool,
}

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `busy`, `down`, `token`, `request`, `jail`, `configuration`, `failed`.
    pub kind: String,
    /// In words.
    pub reason: String,
}
