//! One worker: `bangui serve`.
use crate::config::ServeConfig;

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What it was told to use cannot be used: exit 2.
    #[error("{0}")]
    Refused(String),
    /// It failed while running: exit 1.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Runs a worker until it is told to stop.
///
/// # Errors
/// As [`ServeError`] tells.
pub async fn run(_config: ServeConfig) -> Result<(), ServeError> {
    todo!()
}
