//! The connection that every request shares, and the watchdog that keeps it alive.
//!
//! One multiplexed connection per process: a session check costs one round trip on it, and thousands of them
//! travel at once. redis-rs's own `ConnectionManager` never heals from a link that accepts bytes and answers
//! nothing, because a response timeout is no reason for it to reconnect; hence a watchdog of our own:
//!
//! * about each second it asks Redis something: at times `TIME`, which keeps [`RedisClock`] right, and whether there are newer
//!   settings;
//! * three timeouts in a row, a closed socket, `READONLY` (a demoted primary), or Sentinels that name another primary drop
//!   the connection;
//! * while there is none, every verb fails at once, and the watchdog dials anew, with jitter, looking the
//!   address up again each time.
//!
//! Before a connection is shared it must pass the checks of `checks.rs`, and every script is loaded on it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rand::RngExt as _;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::checks;
use super::clock::{RedisClock, time_micros};
use super::dialer::{Dialer, Target};
use super::pool::Pool;
use super::request::Request;
use crate::config::RedisConfig;
use crate::store::error::in_script;
use crate::store::keys::Keys;
use crate::store::scripts::Call;
use crate::store::settings_revision::SettingsRevision;
use crate::store::{Result, StoreError};

/// Shorter than the response timeout, so that the answer of `WAIT` still arrives.
const CONFIRM_WITHIN: Duration = Duration::from_millis(400);
/// A little under the second within which a changed setting is in force, also where its message was lost.
const WATCH_EVERY: Duration = Duration::from_millis(900);
/// Clocks drift by microseconds a second, so asking for the time at each tenth tick is plenty.
const TIME_EACH_TICKS: u32 = 10;
/// A primary that was cut off from its Sentinels and not from us goes on answering, and is left within two seconds.
const SENTINELS_EACH_TICKS: u32 = 2;
const TIMEOUTS_BEFORE_REDIAL: u32 = 3;
const REDIAL_AFTER_MS: std::ops::Range<u64> = 100..300;
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Health {
    /// The last `TIME` was answered.
    Answers,
    /// It was not, or there is no connection.
    Away(String),
    /// This Redis must not be used (too old, newer data): the process is to end.
    Refused(String),
}

/// The shared connection.
pub(in crate::store) struct Shared {
    pub dialer: Dialer,
    pub clock: RedisClock,
    pub pool: Pool,
    min_replicas: u16,
    live: ArcSwapOption<MultiplexedConnection>,
    health: watch::Sender<Health>,
    suspect: Arc<Notify>,
    _stop: tokio_util::sync::DropGuard,
}

impl Shared {
    /// With the watchdog, which is to be run: it connects, and tells `settings` of newer ones.
    pub fn open(
        config: &RedisConfig,
        keys: &Keys,
        settings: &Arc<SettingsRevision>,
    ) -> anyhow::Result<(Arc<Self>, impl Future<Output = ()> + Send + 'static + use<>)> {
        let stop = CancellationToken::new();
        let shared = Arc::new(Self {
            dialer: Dialer::new(config)?,
            clock: RedisClock::default(),
            min_replicas: config.min_replicas,
            pool: Pool::new(config.pool_size),
            live: ArcSwapOption::empty(),
            health: watch::Sender::new(Health::Away("the first connection is not made yet".to_owned())),
            suspect: Arc::new(Notify::new()),
            _stop: stop.clone().drop_guard(),
        });
        // The watchdog holds no strong reference while it waits, so that dropping the store ends it.
        let watchdog = watchdog(Arc::downgrade(&shared), keys.clone(), Arc::clone(settings), stop);
        Ok((shared, watchdog))
    }

    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
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
    /// `WAIT` blocks whatever else travels on its connection and covers only what was written on the same one before, so both
    /// go over a lent one. A repetition that changes nothing confirms what was written before it, too.
    pub async fn call_confirmed<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        if self.min_replicas == 0 {
            return self.call(call).await;
        }
        let mut lent = self.pool.lend(&self.dialer, Duration::ZERO).await?;
        let answer = lent.send(Request::Script(call)).await?;
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.min_replicas).arg(super::clock::millis(CONFIRM_WITHIN));
        // The write is done: whatever goes wrong from here on, it is only not confirmed.
        let confirmed: u64 = lent.send(Request::Command(&wait)).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "failed to ask how many replicas confirmed a change");
            0
        });
        if confirmed < u64::from(self.min_replicas) {
            return Err(StoreError::Unconfirmed { confirmed, wanted: self.min_replicas });
        }
        Ok(answer)
    }

    /// Without a pool over the shared connection, as everything else.
    async fn run_apart<T: FromRedisValue>(&self, name: &'static str, request: Request<'_>) -> Result<T> {
        if !self.pool.is_on() {
            return self.run(name, request).await;
        }
        // While the shared connection is away, so is this Redis; and the reason is known already.
        self.live()?;
        let mut lent = self.pool.lend(&self.dialer, Duration::ZERO).await?;
        let moved = self.dialer.moved_from(lent.number());
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = lent.send(request) => answer,
            () = moved => {
                return Err(StoreError::Unavailable("this worker has moved to another Redis".to_owned()));
            }
        };
        metrics::histogram!("bangui_redis_command_duration_seconds", "command" => name)
            .record(begun.elapsed());
        answer.map_err(|error| {
            if is_dead(&error) || error.is_timeout() {
                self.suspect.notify_one();
            }
            error.into()
        })
    }

    /// The shared connection.
    fn live(&self) -> Result<Arc<MultiplexedConnection>> {
        self.live.load_full().ok_or_else(|| {
            StoreError::Unavailable(match &*self.health.borrow() {
                Health::Away(reason) | Health::Refused(reason) => reason.clone(),
                Health::Answers => "the connection is being replaced".to_owned(),
            })
        })
    }

    async fn run<T: FromRedisValue>(&self, name: &'static str, request: Request<'_>) -> Result<T> {
        let live = self.live()?;
        let mut connection = MultiplexedConnection::clone(&live);
        let begun = Instant::now();
        let mut answer = request.send(&mut connection).await;
        // A single script is loaded by redis-rs when Redis has forgotten it (SCRIPT FLUSH); one in a pipeline is not.
        if matches!(request, Request::Pipeline(_)) && answer.as_ref().is_err_and(is_unknown_script) {
            crate::store::scripts::load_all(&mut connection).await?;
            answer = request.send(&mut connection).await;
        }
        metrics::histogram!("bangui_redis_command_duration_seconds", "command" => name)
            .record(begun.elapsed());
        answer.map_err(|error| {
            if is_dead(&error) {
                // The watchdog's own reads are answered by a demoted primary too, so it would not notice.
                self.live.compare_and_swap(&Some(live), None);
            }
            if is_dead(&error) || error.is_timeout() {
                self.suspect.notify_one();
            }
            error.into()
        })
    }

    fn set_health(&self, health: Health) {
        metrics::gauge!("bangui_redis_up").set(f64::from(u8::from(health == Health::Answers)));
        self.health.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

/// Whether this error says that the connection itself is of no more use: the socket is, or it leads to a replica.
fn is_dead(error: &RedisError) -> bool {
    error.code() == Some("READONLY")
        || in_script(error).is_some_and(|words| words.contains("READONLY"))
        || (error.is_io_error() && !error.is_timeout())
}

async fn watchdog(
    shared: std::sync::Weak<Shared>,
    keys: Keys,
    settings: Arc<SettingsRevision>,
    stop: CancellationToken,
) {
    let mut complained: Option<Instant> = None;
    while let Some(this) = shared.upgrade() {
        match connect(&this, &keys).await {
            Ok(connection) => {
                this.live.store(Some(Arc::new(connection)));
                this.set_health(Health::Answers);
                tracing::info!("connected to Redis");
                complained = None;
                drop(this);
                watch_over(&shared, &keys, &settings, &stop).await;
            }
            Err(ConnectError::Refused(reason)) => {
                this.set_health(Health::Refused(reason));
                drop(this);
                // Whoever waits for this health ends the process: with the reason, and not as a crash of this task.
                return stop.cancelled().await;
            }
            Err(ConnectError::Away(reason)) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    tracing::warn!(error = %reason, "Redis is out of reach, still trying: requests are answered 503 meanwhile");
                    complained = Some(Instant::now());
                }
                this.set_health(Health::Away(reason));
            }
        }
        let wait = Duration::from_millis(rand::rng().random_range(REDIAL_AFTER_MS));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

enum ConnectError {
    Away(String),
    Refused(String),
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => Self::Away(reason),
            other => Self::Away(other.to_string()),
        }
    }
}

async fn connect(shared: &Shared, keys: &Keys) -> std::result::Result<MultiplexedConnection, ConnectError> {
    let target = shared.dialer.search().await?;
    let mut connection = target.dial().await.map_err(|error| at(&target, error.into()))?;
    let findings = checks::run(&mut connection, keys).await?;
    if let Some(refused) = findings.iter().find(|finding| finding.level == checks::Level::Refuse) {
        return Err(ConnectError::Refused(refused.message.clone()));
    }
    if let Some(away) = findings.iter().find(|finding| finding.level == checks::Level::Away) {
        return Err(at(&target, ConnectError::Away(away.message.clone())));
    }
    for finding in findings.iter().filter(|finding| finding.level == checks::Level::Warn) {
        tracing::warn!(check = finding.what, "{}", finding.message);
    }
    let layout = redis::cmd("SET").arg(keys.layout()).arg(checks::LAYOUT).arg("NX").to_owned();
    match layout.exec_async(&mut connection).await.map_err(StoreError::from) {
        // What is there can be read all the same.
        Ok(()) | Err(StoreError::Full(_)) => {}
        Err(error) => return Err(error.into()),
    }
    crate::store::scripts::load_all(&mut connection).await.map_err(StoreError::from)?;
    tell_time(shared, &mut connection).await.map_err(StoreError::from)?;
    shared.dialer.settle(&target);
    Ok(connection)
}

/// Tells which Redis the Sentinels have named, where they have.
fn at(target: &Target, error: ConnectError) -> ConnectError {
    match (&target.named, error) {
        (Some(primary), ConnectError::Away(reason)) => {
            ConnectError::Away(format!("{}, which the Sentinels name: {reason}", primary.address))
        }
        (_, error) => error,
    }
}

async fn tell_time(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
) -> std::result::Result<(), RedisError> {
    let time = redis::cmd("TIME").query_async(connection).await?;
    shared.clock.heard(time_micros(time));
    Ok(())
}

/// Returns when the connection has been given up.
async fn watch_over(
    shared: &std::sync::Weak<Shared>,
    keys: &Keys,
    settings: &SettingsRevision,
    stop: &CancellationToken,
) {
    let mut timeouts = 0;
    let mut ticks: u32 = 0;
    loop {
        let Some(this) = shared.upgrade() else { return };
        let Some(live) = this.live.load_full() else {
            this.set_health(Health::Away("the connection is being replaced".to_owned()));
            return;
        };
        let mut connection = MultiplexedConnection::clone(&live);
        // One command a tick: mostly for a change of settings that no message told of, at times for the clock.
        let asking = async {
            if ticks.is_multiple_of(TIME_EACH_TICKS) {
                tell_time(&this, &mut connection).await
            } else {
                settings.look(&mut connection, keys).await
            }
        };
        let looking = async { ticks.is_multiple_of(SENTINELS_EACH_TICKS) && this.dialer.superseded().await };
        let (answered, superseded) = tokio::join!(asking, looking);
        if superseded {
            tracing::warn!("the Sentinels name another primary, dialling that");
            this.live.store(None);
            this.set_health(Health::Away("the Sentinels name another primary".to_owned()));
            return;
        }
        match answered {
            Ok(()) => {
                ticks = ticks.wrapping_add(1);
                timeouts = 0;
                this.set_health(Health::Answers);
            }
            Err(error) => {
                timeouts += 1;
                this.set_health(Health::Away(StoreError::from(error.clone()).to_string()));
                if is_dead(&error) || timeouts >= TIMEOUTS_BEFORE_REDIAL {
                    tracing::warn!(error = %error, "the connection to Redis is given up, dialling anew");
                    this.live.store(None);
                    return;
                }
                // The answer was waited for already: ask again at once, so that three take 1.5 s.
                continue;
            }
        }
        let suspect = Arc::clone(&this.suspect);
        drop((this, live));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(WATCH_EVERY) => {}
            // A request's own timeout counts as the first of the three.
            () = suspect.notified() => timeouts = 1,
        }
    }
}
