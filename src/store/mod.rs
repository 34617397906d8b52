//! Redis, in the words of the domain.
pub mod accounts;
pub mod checks;
pub mod cluster;
pub mod error;
pub mod servers;
pub mod sessions;

pub use accounts::{Account, Username};
pub use cluster::{ClusterView, JobView, LeaseView, WorkerId, WorkerView};
pub use error::StoreError;
pub use servers::{ChangeError, StoredServer};
pub use sessions::{LiveSession, LoginOrigin, SessionDetails, SessionId, SessionLife, SessionToken};

use crate::config::RedisConfig;

/// Everything the cluster remembers. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

/// What every verb of the store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next page begins; none on the last page. Opaque to users.
    pub next_cursor: Option<String>,
}

impl Store {
    /// Begins to connect, in the background; never fails for a Redis that is not there yet.
    pub fn open(_config: &RedisConfig) -> anyhow::Result<Self> {
        todo!()
    }

    /// Whether Redis answers now, as the watchdog last saw it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason.
    pub fn available(&self) -> Result<()> {
        todo!()
    }
}
