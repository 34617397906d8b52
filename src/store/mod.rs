//! Redis, in the words of the domain.
//!
//! A [`Store`] offers verbs (`begin_session`, `check_session`, `change_server`, `begin_job` ...), one file for each kind of
//! thing; no Redis command is sent from anywhere else. Every verb is bounded in time and returns
//! [`StoreError::Unavailable`] when Redis does not answer, which is never the same as an absent thing.
//!
//! To add a verb: the key goes into `keys.rs`, an atomic step into `scripts/`, the verb into the file of its thing.

pub mod auth;
mod bytes;
pub mod cluster;
pub mod connection;
mod decoded;
pub mod error;
pub mod findings;
pub mod history;
pub mod idempotency;
pub mod jobs;
pub mod keys;
mod page;
pub mod redis_view;
mod scripts;
pub mod servers;
pub mod settings;
mod settings_revision;
mod slot;
pub mod undo;
pub mod wake;
mod worker_id;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use crate::domain::username::{Username, UsernameError};
pub use auth::account_fields::{Account, AccountStanding, App, Factors};
pub use auth::account_id::{AccountId, Owner};
pub use auth::accounts::{AccountChanged, PasswordSet};
pub use auth::api_tokens::{ApiTokenView, NewApiToken, TokenCreated};
pub use auth::factors::{
    AppSecretText, Asks, FactorChange, FactorUse, Fits, PROPOSED_FOR, WAITS_FOR, WaitingLogin,
};
pub use auth::invitations::{Accepted, Invitation, InvitationCode, InvitationId, Invited, NewInvitation};
pub use auth::limits::{Admission, Limit, LoginLimits, Standing};
pub use auth::networks::address_of;
pub use auth::once::{OnceHash, OnceKind, OnceSecret};
pub use auth::passkeys::PasskeysChanged;
pub use auth::provider_accounts::{NewProviderAccount, ProviderAccountCreated};
pub use auth::provider_sessions::{NotedSession, ProviderSession};
pub use auth::provider_user::ProviderUser;
pub use auth::sessions::api_grant::ApiGrant;
pub use auth::sessions::list::SessionsCursor;
pub use auth::sessions::record::{LiveSession, SessionLife};
pub use auth::sessions::token::{Proof, ProofKind, SessionId, SessionToken};
pub use auth::sessions::{Checked, LoginOrigin, SessionDetails};
pub use auth::stored_passkey::{MAX_PASSKEYS, PasskeyId, StoredPasskey};
pub(in crate::store) use bytes::{hex, random};
pub use cluster::{ClusterView, LeaseView, WorkerInfo, WorkerView};
pub use connection::clock::boot_now;
pub use error::{Result, StoreError};
pub use history::audit::{AuditRecord, BEGUN};
pub use history::audit_pages::{AuditCursor, AuditEntry};
pub use history::chain::{BrokenTrail, WholeTrail};
pub use history::events::{Feed, News, StoredEvent};
pub use history::mark::{MarkError, TrailMark};
pub use history::stream::StreamId;
pub use history::trail::Trail;
pub use idempotency::{Idempotent, IdempotentRun, KeptAnswer};
pub use jobs::ban_job_views::BanJobView;
pub use jobs::ban_jobs::{BanJobClaim, Cancelled, NewBanJob};
pub use jobs::fence::{Fence, HeldTerm};
pub use jobs::jail_changes::{JailChangeEnd, JailChangeView, NewJailChange};
pub use jobs::lease::{Acquired, Lease};
pub use jobs::running_changes::{ChangeEnd, NotedChange, RefusedChange, RunningChange, ServerChanges};
pub use jobs::schedule::{JobTurn, JobView};
pub use jobs::succession::{Held, Presence};
pub use page::Page;
pub use redis_view::{Persistence, RedisView, ReplicaView};
pub use servers::activations::JailSwitch;
pub use servers::ban_search::{FoundBan, FoundBans};
pub use servers::bans::{BanCounts, BanPlace, ReadList, StoredBan, StoredList};
pub use servers::discovered::StoredDiscoveries;
pub use servers::hours::HoursChange;
pub use servers::state::{ChangeError, StoredServer};
pub use settings::StoredSettings;
pub use undo::{Offer, Taken, UNDO_FOR};
pub use wake::Wake;
pub use worker_id::WorkerId;

use futures_util::future::BoxFuture;

use crate::config::RedisConfig;
use crate::domain::{Discoveries, ServerName, ServerState, Timestamp};
use auth::near_cache;
use auth::sessions::{checks, user_agents};
use connection::clock;
use connection::follow;
use connection::shared::{Health, SharedConnection};
use connection::watchdog;
use decoded::Decoded;
use keys::Keys;

/// Bytes of servers' states that were decoded.
const STATES_ROOM: usize = 4 * 1024 * 1024;
/// Bytes of the list of discovered servers that was decoded.
const DISCOVERED_ROOM: usize = 1024 * 1024;
/// While Redis refuses writes, the longest time until somebody who waits for that to end tries all the same.
const MAX_REFUSED_WAIT: Duration = Duration::from_secs(5);

/// The discovered servers, and the entries of their document that this version cannot read.
type Entries = (Arc<Discoveries>, Arc<BTreeMap<String, rmpv::Value>>);

/// Everything the cluster remembers. Cheap to clone; dropping the last clone ends its connection.
#[derive(Clone)]
pub struct Store {
    shared: Arc<SharedConnection>,
    keys: Arc<Keys>,
    user_agents: Arc<user_agents::UserAgents>,
    checks: checks::SessionChecks,
    states: Arc<Decoded<ServerName, Arc<ServerState>>>,
    discovered: Arc<Decoded<(), Entries>>,
    near_cache: Arc<near_cache::NearCache>,
    settings_seen: Arc<settings_revision::SettingsRevision>,
    wakes: Arc<wake::Wakes>,
    greatest_epoch: Arc<std::sync::atomic::AtomicU64>,
    revocations_awaited: Arc<near_cache::SharedWait<Result<()>>>,
    /// The latest setup code that this worker has logged.
    logged_setup_code: Arc<std::sync::Mutex<Option<String>>>,
    /// How long entries of the audit are kept.
    audit_kept_ms: Arc<std::sync::atomic::AtomicU64>,
}

/// A task of the store, with its name in the log. It returns only once every clone of the store is dropped.
#[must_use = "the store does not work until its parts run"]
pub struct Part {
    /// `redis-connection` ...
    pub name: &'static str,
    /// Run it for as long as the store is used.
    pub run: BoxFuture<'static, ()>,
}

impl Part {
    fn new(name: &'static str, run: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name, run: Box::pin(run) }
    }
}

impl Store {
    /// A store and its parts, which the caller has to run: until then the store does not connect.
    ///
    /// # Errors
    /// If the URL is not one that a Redis client understands.
    pub fn open(config: &RedisConfig) -> anyhow::Result<(Self, Vec<Part>)> {
        let keys = Arc::new(Keys::of(config));
        let wakes = Arc::default();
        let settings_seen = Arc::new(settings_revision::SettingsRevision::new(&wakes));
        let (shared, stop) = SharedConnection::open(config, keys.slot())?;
        let checks = checks::SessionChecks::new(Arc::clone(&shared), Arc::clone(&keys));
        let store = Self {
            shared,
            keys,
            user_agents: Arc::default(),
            checks,
            states: Arc::new(Decoded::with_room(STATES_ROOM)),
            discovered: Arc::new(Decoded::with_room(DISCOVERED_ROOM)),
            near_cache: Arc::default(),
            settings_seen: Arc::clone(&settings_seen),
            wakes,
            greatest_epoch: Arc::default(),
            revocations_awaited: Arc::default(),
            logged_setup_code: Arc::default(),
            audit_kept_ms: Arc::new(clock::millis(history::trail::KEPT_FOR).into()),
        };
        let watched = Arc::downgrade(&store.shared);
        let watching = watchdog::run(watched.clone(), Keys::clone(&store.keys), settings_seen, stop.clone());
        let mut parts = vec![Part::new("redis-connection", watching)];
        if let Some(authority) = store.shared.dialer.authority() {
            parts.push(Part::new(authority.part(), follow::follow(watched, stop)));
        }
        Ok((store, parts))
    }

    /// A store whose parts run unsupervised until its last clone is dropped: for commands and tests, which use it briefly.
    ///
    /// # Errors
    /// If the URL is not one that a Redis client understands.
    pub fn open_unsupervised(config: &RedisConfig) -> anyhow::Result<Self> {
        let (store, parts) = Self::open(config)?;
        for part in parts {
            tokio::spawn(part.run);
        }
        Ok(store)
    }

    /// Whether Redis answers now, as the watchdog last saw it; asks nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason.
    pub fn available(&self) -> Result<()> {
        match &*self.shared.health().borrow() {
            Health::Answers => Ok(()),
            Health::Away(reason) | Health::Refused(reason) => Err(StoreError::unavailable(reason.clone())),
        }
    }

    /// Changes with each connection to Redis: what was written over an earlier one may be lost.
    #[must_use]
    pub fn connection_number(&self) -> u64 {
        self.shared.dialer.number()
    }

    /// Whether Redis takes writes, as it was last seen; asks nothing.
    ///
    /// # Errors
    /// [`StoreError::WritesRefused`] or [`StoreError::Full`], with Redis's words.
    pub fn writable(&self) -> Result<()> {
        self.shared.refusal().borrow().clone().map_or(Ok(()), Err)
    }

    /// If this error is that Redis refuses writes: waits until it takes them, 5 s at most.
    pub async fn until_writable(&self, error: &StoreError) {
        if error.refuses_writes() {
            let mut refusal = self.shared.refusal();
            // The sender lives in `self.shared`.
            let _ = tokio::time::timeout(MAX_REFUSED_WAIT, refusal.wait_for(Option::is_none)).await;
        }
    }

    /// Waits until Redis answers.
    ///
    /// # Errors
    /// The reason and the remedy, if this Redis must not be used: it is too old, or holds data of a newer version of bangui.
    pub async fn ready(&self) -> std::result::Result<(), String> {
        let mut health = self.shared.health();
        // The sender lives in `self.shared`, so this wait ends only with one of the two.
        match health.wait_for(|health| !matches!(health, Health::Away(_))).await.as_deref() {
            Ok(Health::Refused(reason)) => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    /// Waits until Redis answers. Never returns if this Redis must not be used: the worker, which waits for [`Self::refused`], is
    /// about to exit.
    pub async fn connected(&self) {
        if self.ready().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until this Redis turns out to be one that must not be used, after a reconnect say, and returns the reason.
    pub async fn refused(&self) -> String {
        let mut health = self.shared.health();
        match health.wait_for(|health| matches!(health, Health::Refused(_))).await.as_deref() {
            Ok(Health::Refused(reason)) => reason.clone(),
            _ => "the watchdog of the connection has ended".to_owned(),
        }
    }

    /// Waits until Redis no longer answers.
    pub async fn outage(&self) {
        // An error means that the watchdog is gone, and with it any use of waiting longer.
        let _ = self.shared.health().wait_for(|health| *health != Health::Answers).await;
    }

    /// About now on Redis's clock, accurate to a round trip: for showing and for hints, not for ordering.
    #[must_use]
    pub fn about_now(&self) -> Timestamp {
        clock::moment(self.shared.clock.now_micros())
    }
}
