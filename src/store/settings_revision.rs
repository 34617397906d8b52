//! Which revision of the settings this worker has read, and whether there may be a newer one.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

use super::keys::Keys;

/// What a worker knows of the stored settings.
#[derive(Debug, Default)]
pub(super) struct SettingsRevision {
    pub(super) revision: AtomicU64,
    pub(super) stale: Notify,
}

impl SettingsRevision {
    /// There may be newer ones.
    pub fn suspect(&self) {
        self.stale.notify_one();
    }

    /// Asks for the revision.
    pub async fn look(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
    ) -> std::result::Result<(), redis::RedisError> {
        let mut command = redis::cmd("HGET");
        command.arg(keys.settings()).arg("revision");
        let stored: Option<u64> = command.query_async(connection).await?;
        if stored.unwrap_or_default() != self.revision.load(Ordering::Relaxed) {
            self.suspect();
        }
        Ok(())
    }
}
