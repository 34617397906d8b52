//! How an agent refuses: one list of kinds, for both ends.

use serde::{Deserialize, Serialize};

/// Why an agent does not do what it was asked. A new one goes in here, into `status_of` of the server and into
/// `AgentError::of` of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The request is invalid, or unknown to this agent.
    Request,
    /// The token is missing or wrong.
    Token,
    /// The agent or fail2ban is too busy to do it in time.
    Busy,
    /// Begun, and not finished yet.
    UnderWay,
    /// fail2ban does not answer.
    Down,
    /// There is no such jail.
    Jail,
    /// Another epoch of the job is known.
    Stale,
    /// fail2ban's configuration would be invalid.
    Configuration,
    /// Something on the host prevents it.
    Failed,
    /// What was begun could be neither finished nor undone yet.
    Unsettled,
    /// One that only another version knows.
    #[serde(other)]
    Unknown,
}

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub kind: RefusalKind,
    /// The reason, for people.
    pub reason: String,
    /// If the epoch was refused, the one that the agent knows: the next claim of the job needs a greater one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}
