//! Why an agent was not asked, or did not do what it was asked to.

use crate::domain::{ProbeOutcome, UnreachableKind};

/// Why an agent's answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The agent could not be asked.
    #[error("{reason}")]
    Unreachable {
        /// What kind of failure.
        kind: UnreachableKind,
        /// In words.
        reason: String,
    },
    /// fail2ban accepts connections but does not answer in time.
    #[error("fail2ban is busy: {reason}")]
    Busy {
        /// In words.
        reason: String,
    },
    /// fail2ban does not answer.
    #[error("fail2ban is down: {reason}")]
    Down {
        /// In words.
        reason: String,
    },
    /// The agent understood and did not do it.
    #[error("{reason}")]
    Refused {
        /// Why.
        kind: RefusedKind,
        /// In words; of a wrong configuration fail2ban's own.
        reason: String,
    },
}

/// Why an agent did not do what it understood. Nothing was changed, unless it is `Unsettled` or `UnderWay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// There is no such jail.
    Jail,
    /// Another epoch of the job is known to the agent: a newer one, or the same of another worker.
    Stale {
        /// The one that it knows.
        known: Option<u64>,
    },
    /// fail2ban's configuration would be wrong.
    Configuration,
    /// The host does not let it.
    Failed,
    /// What was begun could be neither finished nor undone yet.
    Unsettled,
    /// What was begun is not finished yet: asking for it again waits for its end.
    UnderWay,
}

impl RefusedKind {
    pub(super) fn of(kind: &str, epoch: Option<u64>) -> Option<Self> {
        match kind {
            "jail" => Some(Self::Jail),
            "stale" => Some(Self::Stale { known: epoch }),
            "configuration" => Some(Self::Configuration),
            "failed" => Some(Self::Failed),
            "unsettled" => Some(Self::Unsettled),
            "under-way" => Some(Self::UnderWay),
            _ => None,
        }
    }
}

impl From<AgentError> for ProbeOutcome {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Unreachable { kind, reason } => Self::Unreachable { kind, reason },
            AgentError::Busy { reason } => Self::Busy { reason, working: false },
            AgentError::Down { reason } => Self::Down { reason },
            // No probe is refused by an agent that is one.
            AgentError::Refused { reason, .. } => {
                Self::Unreachable { kind: UnreachableKind::Protocol, reason }
            }
        }
    }
}
