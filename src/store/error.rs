//! What can go wrong with Redis. *Unavailable is not absent*: an absent thing is `Ok(None)`, never an error.

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis did not answer, or is not in a state to: try again soon. 503 to users.
    #[error("Redis is unavailable: {0}")]
    Unavailable(String),
    /// Another write came between; the step may be retried.
    #[error("another change came between")]
    Conflict,
    /// The lease is lost: a scheduled write was refused.
    #[error("the scheduler's lease is lost, the write was refused")]
    Fenced,
    /// What is stored is not what this version can read: a defect or a foreign writer. 500 to users.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}
