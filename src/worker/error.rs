//! Why a worker ends by itself.

/// Why a worker ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It may not run with this configuration or this Redis: exit code 2.
    #[error("{0}")]
    Refused(String),
    /// It failed while running: exit code 1.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}
