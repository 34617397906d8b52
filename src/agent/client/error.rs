//! Why an agent was not asked, or did not do what it was asked to.

use crate::agent::refusal::{Refusal, RefusalKind};
use crate::cause::Cause;
use crate::domain::{ProbeOutcome, UnreachableKind};

/// Why a call of an agent failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The agent could not be asked.
    #[error("{reason}")]
    Unreachable {
        /// What kind of failure.
        kind: UnreachableKind,
        /// The reason, for people.
        reason: String,
        /// The error below.
        #[source]
        cause: Option<Cause>,
    },
    /// fail2ban accepts connections but does not answer in time.
    #[error("fail2ban is busy: {reason}")]
    Busy {
        /// The reason, for people.
        reason: String,
    },
    /// fail2ban does not answer.
    #[error("fail2ban is down: {reason}")]
    Down {
        /// The reason, for people.
        reason: String,
    },
    /// The agent understood and did not do it.
    #[error("{reason}")]
    Refused {
        /// Why.
        kind: RefusedKind,
        /// The reason, for people; for an invalid configuration in fail2ban's own words.
        reason: String,
    },
}

/// Why an agent did not do what it understood. Nothing was changed, unless it is `Unsettled` or `UnderWay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// There is no such jail.
    Jail,
    /// The agent knows another epoch of the job: a newer one, or the same one from another worker.
    Stale {
        /// The one that it knows.
        known: Option<u64>,
    },
    /// fail2ban's configuration would be invalid.
    Configuration,
    /// Something on the host prevents it.
    Failed,
    /// What was begun could be neither finished nor undone yet.
    Unsettled,
    /// What was begun is not finished yet: asking for it again waits for its end.
    UnderWay,
}

impl AgentError {
    /// Adds the error that caused it.
    pub(super) fn because(mut self, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        if let Self::Unreachable { cause, .. } = &mut self {
            *cause = Some(Cause::of(error));
        }
        self
    }

    /// The meaning of a refusal; `None` for one that means that the versions of the two ends do not match.
    pub(super) fn of(refusal: Refusal) -> Option<Self> {
        let Refusal { kind, reason, epoch } = refusal;
        let kind = match kind {
            RefusalKind::Busy => return Some(Self::Busy { reason }),
            RefusalKind::Down => return Some(Self::Down { reason }),
            RefusalKind::Jail => RefusedKind::Jail,
            RefusalKind::Stale => RefusedKind::Stale { known: epoch },
            RefusalKind::Configuration => RefusedKind::Configuration,
            RefusalKind::Failed => RefusedKind::Failed,
            RefusalKind::Unsettled => RefusedKind::Unsettled,
            RefusalKind::UnderWay => RefusedKind::UnderWay,
            RefusalKind::Request | RefusalKind::Token | RefusalKind::Unknown => return None,
        };
        Some(Self::Refused { kind, reason })
    }
}

impl From<AgentError> for ProbeOutcome {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Unreachable { kind, reason, .. } => Self::Unreachable { kind, reason },
            AgentError::Busy { reason } => Self::Busy { reason, working: false },
            AgentError::Down { reason } => Self::Down { reason },
            // An agent never refuses a probe, so this is not one.
            AgentError::Refused { reason, .. } => {
                Self::Unreachable { kind: UnreachableKind::Protocol, reason }
            }
        }
    }
}
