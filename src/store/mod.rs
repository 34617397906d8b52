//! Redis, in the words of the domain.
//!
//! A [`Store`] offers verbs (`begin_session`, `check_session`, `change_server`, `begin_job` ...), one file per
//! thing; no Redis command is sent from anywhere else. Every verb is bounded in time and answers
//! [`StoreError::Unavailable`] when Redis does not, which is never the same as an absent thing.
//!
//! To add one: the key in `keys.rs`, an atomic step in `scripts/`, the verb in the file of its thing.

pub mod accounts;
pub mod acl;
pub mod activations;
pub mod audit;
pub mod ban_job_views;
pub mod ban_jobs;
mod ban_notes;
pub mod bans;
pub mod checks;
pub mod clock;
pub mod cluster;
mod connection;
mod dialer;
pub mod discovered;
pub mod error;
pub mod events;
pub mod idempotency;
pub mod jobs;
pub mod keys;
pub mod lease;
pub mod limits;
mod near_cache;
mod scripts;
mod sentinel;
pub mod servers;
mod session_checks;
mod session_list;
pub mod session_token;
pub mod sessions;
pub mod settings;
mod stream;

use std::sync::Arc;

pub use accounts::{Account, Username};
pub use activations::Replaced;
pub use audit::{AuditEntry, AuditRecord, BEGUN};
pub use ban_job_views::BanJobView;
pub use ban_jobs::{BanJobClaim, Cancelled, NewBanJob};
pub use bans::{BanCounts, BanPlace, StoredBan};
pub use clock::boot_now;
pub use cluster::{ClusterView, JobView, LeaseView, WorkerId, WorkerInfo, WorkerView};
pub use discovered::StoredDiscoveries;
pub use error::StoreError;
pub use events::{Feed, News, StoredEvent};
pub use idempotency::{Idempotent, IdempotentRun, KeptAnswer};
pub use jobs::JobTurn;
pub use lease::{Acquired, Fence, Lease, Wake};
pub use limits::{Admission, Limit, LoginLimits};
pub use servers::{ChangeError, StoredServer};
pub use session_token::{SessionId, SessionToken};
pub use sessions::{Checked, LiveSession, LoginOrigin, SessionDetails, SessionLife};
pub use settings::StoredSettings;
pub use stream::StreamId;

use crate::config::RedisConfig;
use crate::domain::Timestamp;
use connection::{Health, Shared};
use keys::Keys;

/// Everything the cluster remembers. Cheap to clone; dropping the last clone ends its connection.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    keys: Arc<Keys>,
    user_agents: Arc<session_list::UserAgents>,
    checks: session_checks::SessionChecks,
    discovered: Arc<discovered::Seen>,
    near_cache: Arc<near_cache::NearCache>,
    /// Signalled when a ban job may be claimed.
    ban_job: Arc<tokio::sync::Notify>,
}

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
    /// Begins to connect, in the background: a Redis that is not there yet is waited for.
    ///
    /// # Errors
    /// If the URL is none that a Redis client understands.
    pub fn open(config: &RedisConfig) -> anyhow::Result<Self> {
        let keys = Arc::new(Keys::new(&config.prefix));
        let shared = Shared::open(config, &keys)?;
        let checks = session_checks::SessionChecks::open(Arc::clone(&shared), Arc::clone(&keys));
        Ok(Self {
            shared,
            keys,
            user_agents: Arc::default(),
            checks,
            discovered: Arc::default(),
            near_cache: Arc::default(),
            ban_job: Arc::default(),
        })
    }

    /// Whether Redis answers now, as the watchdog last saw it; asks nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason.
    pub fn available(&self) -> Result<()> {
        match &*self.shared.health().borrow() {
            Health::Answers => Ok(()),
            Health::Away(reason) | Health::Refused(reason) => Err(StoreError::Unavailable(reason.clone())),
        }
    }

    /// Waits until Redis answers.
    ///
    /// # Errors
    /// With the reason and the remedy, when this Redis must not be used: it is too old, or holds data of a newer
    /// version of bangui.
    pub async fn ready(&self) -> std::result::Result<(), String> {
        let mut health = self.shared.health();
        // The sender lives in `self.shared`, so this wait ends only with one of the two.
        match health.wait_for(|health| !matches!(health, Health::Away(_))).await.as_deref() {
            Ok(Health::Refused(reason)) => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    /// Waits until this Redis turns out to be one that must not be used, after a reconnect say; the reason.
    pub async fn refused(&self) -> String {
        let mut health = self.shared.health();
        match health.wait_for(|health| matches!(health, Health::Refused(_))).await.as_deref() {
            Ok(Health::Refused(reason)) => reason.clone(),
            _ => "the watchdog of the connection has ended".to_owned(),
        }
    }

    /// Waits until Redis does not answer.
    pub async fn outage(&self) {
        // An error means that the watchdog is gone, and with it any use of waiting longer.
        let _ = self.shared.health().wait_for(|health| *health != Health::Answers).await;
    }

    /// About now on Redis's clock: right to a round trip, for showing and for hints, not for ordering.
    #[must_use]
    pub fn about_now(&self) -> Timestamp {
        clock::moment(self.shared.clock.now_micros())
    }
}

/// Random bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Unavailable(format!("the system gives no random numbers: {error}")))?;
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
