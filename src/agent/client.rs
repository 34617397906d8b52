//! The worker's end of the bridge.
use std::time::Duration;

use super::wire;
use crate::config::{AgentTokenConfig, AgentUrl};
use crate::domain::{ProbeOutcome, UnreachableKind};

/// Why an agent's answer is none.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent could not be asked.
    #[error("the agent cannot be reached: {reason}")]
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
}

/// A client of one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentClient {}

impl AgentClient {
    /// A client for the agent at `url`.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new(_url: &AgentUrl, _token: &AgentTokenConfig) -> anyhow::Result<Self> {
        todo!()
    }

    /// Asks how fail2ban is; a failure to ask is an outcome too. Ends within `deadline`.
    pub async fn probe(&self, _deadline: Duration) -> ProbeOutcome {
        todo!()
    }

    /// Who the agent is.
    ///
    /// # Errors
    /// As [`AgentError`] tells.
    pub async fn info(&self) -> Result<wire::Info, AgentError> {
        todo!()
    }

    /// All running jails, with backend and idleness if `backend` says so.
    ///
    /// # Errors
    /// As [`AgentError`] tells.
    pub async fn jails(&self, _backend: bool) -> Result<Vec<wire::Jail>, AgentError> {
        todo!()
    }

    /// Asks fail2ban once whether it answers `get JAIL backend`.
    ///
    /// # Errors
    /// As [`AgentError`] tells.
    pub async fn backend_commands(&self) -> Result<Option<bool>, AgentError> {
        todo!()
    }
}
