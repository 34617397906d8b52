//! Why a program of fail2ban gave no answer.

use std::time::Duration;

/// Why a program said nothing of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It is not there, or cannot be run.
    #[error("failed to run {program}: {reason}")]
    Missing {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// It did not end.
    #[error("{program} did not finish within {limit:?} and was killed")]
    Late {
        /// The program.
        program: String,
        /// The deadline.
        limit: Duration,
    },
    /// It said something else than it should.
    #[error("{program} printed something unexpected: {said}")]
    Strange {
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
}
