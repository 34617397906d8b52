//! Which revision of the settings this worker has read, and whether there is a newer one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::keys::Keys;
use super::wake::{Wake, Wakes};

/// What a worker knows about the stored settings.
#[derive(Debug)]
pub(super) struct SettingsRevision {
    pub(super) revision: AtomicU64,
    /// One read at a time: of two at once, the older settings could be applied last.
    pub(super) turn: Mutex<()>,
    wakes: Arc<Wakes>,
}

impl SettingsRevision {
    /// Nothing read yet; newer settings will ring this worker's bell.
    pub fn new(wakes: &Arc<Wakes>) -> Self {
        Self { revision: AtomicU64::default(), turn: Mutex::default(), wakes: Arc::clone(wakes) }
    }

    /// Asks Redis for the revision.
    pub async fn look(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
    ) -> std::result::Result<(), redis::RedisError> {
        let mut command = redis::cmd("HGET");
        command.arg(keys.settings()).arg("revision");
        let stored: Option<u64> = command.query_async(connection).await?;
        if stored.unwrap_or_default() != self.revision.load(Ordering::Relaxed) {
            self.wakes.ring(Wake::SettingsChanged);
        }
        Ok(())
    }
}
