//! Errors of fail2ban's programs.

use std::time::Duration;

/// Why a program gave no usable answer.
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
    /// It did not end in time.
    #[error("{program} did not finish within {limit:?} and was killed")]
    Late {
        /// The program.
        program: String,
        /// The deadline.
        limit: Duration,
    },
    /// Its output is not what it should be.
    #[error("{program} printed something unexpected: {said}")]
    Strange {
        /// The program.
        program: String,
        /// What it printed.
        said: String,
    },
}
