//! What `bangui check` and each start say about Redis itself.
use super::StoreError;
use crate::config::RedisConfig;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// A worker starts, and says so each time.
    Warn,
    /// A worker refuses to start.
    Refuse,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: `version`, `persistence`, `eviction`, `clock`, `layout`.
    pub what: &'static str,
    /// How bad it is.
    pub level: Level,
    /// In words, with the remedy.
    pub message: String,
}

/// Looks at everything once.
///
/// # Errors
/// If Redis does not answer.
pub async fn inspect(_config: &RedisConfig) -> Result<Vec<Finding>, StoreError> {
    todo!()
}
