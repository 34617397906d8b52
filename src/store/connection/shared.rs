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
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::clock::RedisClock;
use super::dialer::Dialer;
use super::pool::Pool;
use super::primary::{self, Standing, is_not_served, is_replica};
use super::request::{Patience, Request};
use crate::cause::chain;
use crate::config::RedisConfig;
use crate::store::keys::Keys;
use crate::store::scripts::Call;
use crate::store::{Result, StoreError};
use crate::telemetry::{Lasting, traces};

/// Shorter than the response timeout, so that the answer of `WAIT` still arrives.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(400);

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Health {
    /// The last `TIME` was answered.
    Answers,
    /// It was not, or there is no connection.
    Away(String),
    /// This Redis must not be used (too old, or its data is of a newer version): the process must end.
    Refused(String),
}

/// The shared connection.
pub(in crate::store) struct SharedConnection {
    pub dialer: Dialer,
    pub clock: RedisClock,
    pub pool: Pool,
    min_replicas: u16,
    pub(in crate::store) live: ArcSwapOption<MultiplexedConnection>,
    health: watch::Sender<Health>,
    /// Why Redis refuses writes; none while it takes them.
    refusal: watch::Sender<Option<StoreError>>,
    /// What is logged of that.
    refusing: Lasting,
    /// Makes the watchdog check the connection at once.
    pub(in crate::store) suspect: Arc<Notify>,
    _stop: tokio_util::sync::DropGuard,
}

impl SharedConnection {
    /// Not connected yet: the watchdog does that. The token is cancelled when the last clone is dropped.
    pub fn open(config: &RedisConfig, slot: u16) -> anyhow::Result<(Arc<Self>, CancellationToken)> {
        let stop = CancellationToken::new();
        let shared = Arc::new(Self {
            dialer: Dialer::new(config, slot)?,
            clock: RedisClock::default(),
            pool: Pool::new(config.pool_size),
            min_replicas: config.min_replicas,
            live: ArcSwapOption::empty(),
            health: watch::Sender::new(Health::Away("the first connection is not made yet".to_owned())),
            refusal: watch::Sender::new(None),
            refusing: Lasting::new(),
            suspect: Arc::new(Notify::new()),
            _stop: stop.clone().drop_guard(),
        });
        Ok((shared, stop))
    }

    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Why Redis refuses writes; none while it takes them.
    pub fn refusal(&self) -> watch::Receiver<Option<StoreError>> {
        self.refusal.subscribe()
    }

    /// How many replicas must confirm a write that a failover must not undo.
    pub fn min_replicas(&self) -> u16 {
        self.min_replicas
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
        let (begun, span) = (Instant::now(), traces::call("redis", name));
        let patience = Patience::new();
        let read = loop {
            let read = primary::read(&mut connection, keys, command).instrument(span.clone()).await;
            if !patience.lasts(&read).await {
                break read;
            }
        };
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
                Err(StoreError::unavailable(DEMOTED.to_owned()))
            }
        }
    }

    /// As [`Self::query`], over a connection that no session check waits behind: for large answers.
    pub async fn query_apart<T: FromRedisValue>(&self, name: &'static str, command: &Cmd) -> Result<T> {
        self.run_apart(name, Request::Command(command)).await
    }

    /// As [`Self::pipeline`], over a connection that no session check waits behind.
    pub async fn pipeline_apart<T: FromRedisValue>(
        &self,
        name: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T> {
        self.run_apart(name, Request::Pipeline(pipeline)).await
    }

    /// As [`Self::call`], over a connection that no session check waits behind: for large arguments.
    pub async fn call_apart<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        self.run_apart(call.name(), Request::Script(call)).await
    }

    /// One script, answered once `BANGUI_REDIS_MIN_REPLICAS` replicas have it: for what must not be undone by a failover.
    ///
    /// `WAIT` blocks everything else on its connection and covers only what was written on the same connection before, so both use a
    /// lent one. Replicas apply writes in order, so a later write that is confirmed confirms all writes before it, too.
    pub async fn call_confirmed<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        if self.min_replicas == 0 {
            return self.call(call).await;
        }
        self.dialer.trusted()?;
        let mut lent = self.pool.lend(&self.dialer, Duration::ZERO).await?;
        let span = traces::call("redis", call.name());
        let answer = lent.send(Request::Script(call)).instrument(span).await;
        let answer = answer.map_err(|error| self.noted(error))?;
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.min_replicas).arg(super::clock::millis(CONFIRM_TIMEOUT));
        // The write is done: if anything goes wrong from here on, it is merely not confirmed.
        let waited = lent.send(Request::Command(&wait)).instrument(traces::call("redis", "wait")).await;
        let confirmed: u64 = waited.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "failed to ask how many replicas confirmed a change");
            0
        });
        if confirmed < u64::from(self.min_replicas) {
            return Err(StoreError::Unconfirmed { confirmed, wanted: self.min_replicas });
        }
        Ok(answer)
    }

    /// If there is no pool: over the shared connection, like everything else.
    async fn run_apart<T: FromRedisValue>(&self, name: &'static str, request: Request<'_>) -> Result<T> {
        if !self.pool.is_on() {
            return self.run(name, request).await;
        }
        // Without a shared connection this Redis cannot be used, and the reason is known already.
        self.live()?;
        // Boxed: what may dial is large, and would be a part of every future that may ask here.
        Box::pin(self.run_lent(name, request)).await
    }

    /// Over a connection of the pool.
    async fn run_lent<T: FromRedisValue>(&self, name: &'static str, request: Request<'_>) -> Result<T> {
        let mut lent = self.pool.lend(&self.dialer, Duration::ZERO).await?;
        let moved = self.dialer.moved_from(lent.number());
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = lent.send(request).instrument(traces::call("redis", name)) => answer,
            () = moved => {
                return Err(StoreError::unavailable("this worker has moved to another Redis".to_owned()));
            }
        };
        record(name, begun);
        answer.map_err(|error| {
            if is_dead(&error) || error.is_timeout() {
                self.suspect.notify_one();
            }
            self.noted(error)
        })
    }

    async fn run<T: FromRedisValue>(&self, name: &'static str, request: Request<'_>) -> Result<T> {
        let live = self.live()?;
        let mut connection = MultiplexedConnection::clone(&live);
        let (begun, span) = (Instant::now(), traces::call("redis", name));
        let mut answer = request.send(&mut connection).instrument(span).await;
        // A single script is loaded by redis-rs when Redis has forgotten it (SCRIPT FLUSH); one in a pipeline is not.
        if matches!(request, Request::Pipeline(_)) && answer.as_ref().is_err_and(is_unknown_script) {
            crate::store::scripts::load_all(&mut connection).await?;
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
        Err(StoreError::unavailable(match &*self.health.borrow() {
            Health::Away(reason) | Health::Refused(reason) => reason.clone(),
            Health::Answers => "the connection is being replaced".to_owned(),
        }))
    }

    /// Acts on an error of this connection: leaves it, or has the watchdog check it.
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
        let error = StoreError::from(error);
        if error.refuses_writes() {
            self.set_refusal(Some(error.clone()));
        }
        error
    }

    pub(in crate::store) fn set_refusal(&self, refusal: Option<StoreError>) {
        metrics::gauge!("bangui_redis_writable").set(f64::from(u8::from(refusal.is_none())));
        match &refusal {
            Some(reason) => {
                if let Some(lasts) = self.refusing.fails(&reason.to_string()) {
                    tracing::warn!(
                        error = chain(reason),
                        lasts_s = lasts.as_secs(),
                        "Redis refuses writes: only reads are served, and no server is probed"
                    );
                }
            }
            None => {
                if let Some(lasted) = self.refusing.ends() {
                    tracing::info!(lasted_s = lasted.as_secs(), "Redis takes writes again");
                }
            }
        }
        self.refusal.send_if_modified(|current| {
            let changed = current.is_some() != refusal.is_some();
            *current = refusal;
            changed
        });
    }

    pub(in crate::store) fn set_health(&self, health: Health) {
        metrics::gauge!("bangui_redis_up").set(f64::from(u8::from(health == Health::Answers)));
        self.health.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
    }
}

/// Why nothing is read from a replica.
pub(in crate::store) const DEMOTED: &str = "it was demoted to a replica: reconnecting to the primary";

fn record(name: &'static str, begun: Instant) {
    metrics::histogram!("bangui_redis_command_duration_seconds", "command" => name).record(begun.elapsed());
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

/// Whether this error says that the connection must be replaced: it is broken, or leads to a replica or to a node that does not
/// serve the keys.
pub(in crate::store) fn is_dead(error: &RedisError) -> bool {
    is_replica(error) || is_not_served(error) || (error.is_io_error() && !error.is_timeout())
}
