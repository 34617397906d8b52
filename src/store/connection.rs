//! The connection that every request shares.
//!
//! One multiplexed connection per process: a session check costs one round trip on it, and thousands of them
//! travel at once. The watchdog (`watchdog.rs`) makes it, looks after it and replaces it; while there is none, every verb
//! fails at once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::clock::RedisClock;
use super::dialer::{Dialer, RESPONSE_TIMEOUT};
use super::keys::Keys;
use super::primary::{self, Standing, is_replica};
use super::scripts::Call;
use super::settings::Seen;
use super::{Result, StoreError, watchdog};
use crate::config::RedisConfig;

/// Shorter than the response timeout, so that the answer of `WAIT` still arrives.
const CONFIRM_WITHIN: Duration = Duration::from_millis(400);
const MOST_CONFIRMING: usize = 16;

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// The last `TIME` was answered.
    Answers,
    /// It was not, or there is no connection.
    Away(String),
    /// This Redis must not be used (too old, newer data): the process is to end.
    Refused(String),
}

/// What can be sent.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// One command.
    Command(&'a Cmd),
    /// Several in one round trip.
    Pipeline(&'a Pipeline),
    /// One atomic step.
    Script(&'a Call),
}

impl Request<'_> {
    pub async fn send<T: FromRedisValue>(
        self,
        connection: &mut MultiplexedConnection,
    ) -> std::result::Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(connection).await,
            Self::Script(call) => call.invoke(connection).await,
        }
    }
}

/// The shared connection.
pub(super) struct Shared {
    pub dialer: Dialer,
    pub clock: RedisClock,
    pub settings: Seen,
    min_replicas: u16,
    confirming: Semaphore,
    pub(super) live: ArcSwapOption<MultiplexedConnection>,
    health: watch::Sender<Health>,
    /// Why Redis refuses writes; none while it takes them.
    refusal: watch::Sender<Option<StoreError>>,
    /// Has the watchdog look at once.
    pub(super) suspect: Arc<Notify>,
    _stop: tokio_util::sync::DropGuard,
}

impl Shared {
    /// Begins to connect in the background.
    pub fn open(config: &RedisConfig, keys: &Keys) -> anyhow::Result<Arc<Self>> {
        let stop = CancellationToken::new();
        let shared = Arc::new(Self {
            dialer: Dialer::new(config)?,
            clock: RedisClock::default(),
            settings: Seen::default(),
            min_replicas: config.min_replicas,
            confirming: Semaphore::new(MOST_CONFIRMING),
            live: ArcSwapOption::empty(),
            health: watch::Sender::new(Health::Away("the first connection is not made yet".to_owned())),
            refusal: watch::Sender::new(None),
            suspect: Arc::new(Notify::new()),
            _stop: stop.clone().drop_guard(),
        });
        watchdog::start(&shared, keys, stop);
        Ok(shared)
    }

    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Why Redis refuses writes; none while it takes them.
    pub fn refusal(&self) -> watch::Receiver<Option<StoreError>> {
        self.refusal.subscribe()
    }

    /// Whether replicas are asked to confirm.
    pub fn confirms(&self) -> bool {
        self.min_replicas > 0
    }

    /// One command.
    pub async fn query<T: FromRedisValue>(&self, name: &'static str, command: &Cmd) -> Result<T> {
        self.run(name, Request::Command(command)).await
    }

    /// Several commands in one round trip, not atomic.
    pub async fn pipeline<T: FromRedisValue>(&self, name: &'static str, pipeline: &Pipeline) -> Result<T> {
        self.run(name, Request::Pipeline(pipeline)).await
    }

    /// One script.
    pub async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        self.run(call.name(), Request::Script(call)).await
    }

    /// One read, from a Redis that proves in the same round trip that it is the primary.
    pub async fn read_from_primary<T: FromRedisValue>(
        &self,
        name: &'static str,
        keys: &Keys,
        command: &Cmd,
    ) -> Result<T> {
        let live = self.live()?;
        let mut connection = MultiplexedConnection::clone(&live);
        let begun = Instant::now();
        let read = primary::read(&mut connection, keys, command).await;
        record(name, begun);
        let (standing, read) = read.map_err(|error| self.failed(&live, error))?;
        match standing {
            Standing::Primary => Ok(read),
            Standing::Refusing(reason) => {
                self.set_refusal(Some(reason));
                Ok(read)
            }
            Standing::Replica => {
                self.leave(&live);
                Err(StoreError::Unavailable(DEMOTED.to_owned()))
            }
        }
    }

    /// One script, answered once `BANGUI_REDIS_MIN_REPLICAS` replicas have it: for what must not be undone by a failover.
    ///
    /// `WAIT` holds up whatever else travels on its connection and tells only of what went before it on the same one.
    /// So it has one of its own, dialled for this call: such calls are rare, and a pool would hand out sockets that a
    /// failover has closed. It covers all that was written before, so a repetition that only writes the same once more confirms too.
    pub async fn call_confirmed<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        if self.min_replicas == 0 {
            return self.call(call).await;
        }
        let busy = |_| StoreError::Unavailable("too many changes wait for the replicas".to_owned());
        let closed = |_| StoreError::Unavailable("this process is ending".to_owned());
        let _turn =
            timeout(RESPONSE_TIMEOUT, self.confirming.acquire()).await.map_err(busy)?.map_err(closed)?;
        self.dialer.trusted()?;
        let mut connection = self.dialer.dial().await?;
        let answer = call.invoke(&mut connection).await.map_err(|error| self.noted(error))?;
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.min_replicas).arg(super::clock::millis(CONFIRM_WITHIN));
        // The write is done: whatever goes wrong from here on, it is only not confirmed.
        let confirmed: u64 = wait.query_async(&mut connection).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "Redis did not tell how many replicas confirmed a change");
            0
        });
        if confirmed < u64::from(self.min_replicas) {
            return Err(StoreError::Unconfirmed { confirmed, wanted: self.min_replicas });
        }
        Ok(answer)
    }

    async fn run<T: FromRedisValue>(&self, name: &'static str, request: Request<'_>) -> Result<T> {
        let live = self.live()?;
        let mut connection = MultiplexedConnection::clone(&live);
        let begun = Instant::now();
        let mut answer = request.send(&mut connection).await;
        // A single script is loaded by redis-rs when Redis has forgotten it (SCRIPT FLUSH); one in a pipeline is not.
        if matches!(request, Request::Pipeline(_)) && answer.as_ref().is_err_and(is_unknown_script) {
            super::scripts::load_all(&mut connection).await?;
            answer = request.send(&mut connection).await;
        }
        record(name, begun);
        answer.map_err(|error| self.failed(&live, error))
    }

    /// The connection, if there is one and it leads to a primary that may be answered from.
    fn live(&self) -> Result<Arc<MultiplexedConnection>> {
        if let Some(live) = self.live.load_full() {
            return self.dialer.trusted().map(|()| live);
        }
        Err(StoreError::Unavailable(match &*self.health.borrow() {
            Health::Away(reason) | Health::Refused(reason) => reason.clone(),
            Health::Answers => "the connection is being replaced".to_owned(),
        }))
    }

    /// Draws the conclusions from an error on this connection.
    fn failed(&self, live: &Arc<MultiplexedConnection>, error: RedisError) -> StoreError {
        if is_dead(&error) {
            self.leave(live);
        } else if error.is_timeout() {
            self.suspect.notify_one();
        }
        self.noted(error)
    }

    /// Drops this connection, if it is still the shared one; the watchdog makes another.
    fn leave(&self, live: &Arc<MultiplexedConnection>) {
        self.live.compare_and_swap(&Some(Arc::clone(live)), None);
        self.suspect.notify_one();
    }

    fn noted(&self, error: RedisError) -> StoreError {
        let error = error.into();
        if matches!(error, StoreError::Full(_) | StoreError::WritesRefused(_)) {
            self.set_refusal(Some(error.clone()));
        }
        error
    }

    pub(super) fn set_refusal(&self, refusal: Option<StoreError>) {
        metrics::gauge!("bangui_redis_writable").set(f64::from(u8::from(refusal.is_none())));
        let changed = self.refusal.send_if_modified(|current| {
            let changed = current.is_some() != refusal.is_some();
            current.clone_from(&refusal);
            changed
        });
        match refusal {
            Some(reason) if changed => {
                tracing::warn!(error = %reason, "Redis refuses writes: only reads are served")
            }
            None if changed => tracing::info!("Redis takes writes again"),
            _ => {}
        }
    }

    pub(super) fn set_health(&self, health: Health) {
        metrics::gauge!("bangui_redis_up").set(f64::from(u8::from(health == Health::Answers)));
        self.health.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
    }
}

/// Why nothing is read from a replica.
pub(super) const DEMOTED: &str = "it was demoted to a replica: reconnecting to the primary";

fn record(name: &'static str, begun: Instant) {
    metrics::histogram!("bangui_redis_command_duration_seconds", "command" => name).record(begun.elapsed());
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

/// Whether this error says that the connection itself is of no more use: the socket is, or it leads to a replica.
pub(super) fn is_dead(error: &RedisError) -> bool {
    is_replica(error) || (error.is_io_error() && !error.is_timeout())
}
