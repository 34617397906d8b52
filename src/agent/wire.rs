//! What travels between workers and agents: JSON bodies, both directions, one file so that the ends cannot drift.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/info` | [`Info`] |
//! | `GET /v1/status` | [`Status`]: the probe |
//! | `GET /v1/jails?backend=true\|false` | [`Jails`] |
//! | `GET /v1/backend-commands` | [`BackendSupport`]: the one-time detection |
//!
//! Every call carries `Authorization: Bearer <agent token>`, and [`DEADLINE_HEADER`] if the caller waits for less
//! than [`DEFAULT_DEADLINE`]. What is refused has a [`Refusal`] as its body: 400, 404, 405 and 413 `request`, 401
//! `token`, 503 `busy` or `down`. `/v1/status` tells of a fail2ban that does not answer in a 200, since that is what it was
//! asked; the other calls refuse with 503.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Answer, JailCounts, JailName, ProbeOutcome};
use crate::fail2ban::Fail2banError;

/// In how many milliseconds the answer must be on its way. The agent gives up on fail2ban in time to say so, so
/// that a busy fail2ban is not taken for an agent out of reach.
pub const DEADLINE_HEADER: &str = "x-bangui-deadline-ms";

/// What holds without that header.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

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
            Ok(Answer { version, jails }) => Self::Up { version, jails },
            Err(Fail2banError::Busy(reason)) => Self::Busy { reason },
            Err(error) => Self::Down { reason: error.to_string() },
        }
    }
}

impl From<Status> for ProbeOutcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Up { version, jails } => Self::Answered(Answer { version, jails }),
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

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `busy`, `down`, `token`, `request`.
    pub kind: String,
    /// In words.
    pub reason: String,
}
