//! Keeps the shared connection alive.
//!
//! redis-rs's own `ConnectionManager` never heals from a link that accepts bytes and answers nothing, because a response
//! timeout is no reason for it to reconnect; hence a watchdog of our own:
//!
//! * about each second it asks whether Redis is the primary and takes writes ([`primary`]), and whether there are newer
//!   settings; at times `TIME`, which keeps [`RedisClock`](super::clock::RedisClock) right;
//! * three timeouts in a row, a closed socket, a replica, a node of a cluster that does not own the slot, a connection that led
//!   to another Redis, or an authority that names another primary (`follow.rs`) drop the connection;
//! * while there is none, it reconnects, with jitter, looking the address up again each time.
//!
//! Before a connection is shared it must pass the checks of `checks.rs`, and every script is loaded on it. A Redis that refuses
//! writes is connected to and read from all the same.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::RngExt as _;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::checks;
use super::clock::time_micros;
use super::dialer::{Target, run_id};
use super::primary::{self, Standing, is_on_its_way};
use super::shared::{DEMOTED, Health, SharedConnection, is_dead};
use crate::store::StoreError;
use crate::store::keys::Keys;
use crate::store::settings_revision::SettingsRevision;
use crate::telemetry::Lasting;

/// A little under the second within which a changed setting takes effect, even if its message was lost.
const WATCH_INTERVAL: Duration = Duration::from_millis(900);
/// Clocks drift by microseconds a second, so asking for the time at every tenth check is plenty.
const TIME_EACH_TICKS: u32 = 10;
/// The interval of the checks while a slot is being moved to another node.
const MOVING_INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUTS_BEFORE_REDIAL: u32 = 3;
const REDIAL_AFTER_MS: std::ops::Range<u64> = 100..300;
/// The least time between two lines about it, if the reason is another one.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// Connects, and watches the connection until `stop`. It holds no strong reference while it waits, so that dropping the store ends
/// it.
pub(in crate::store) async fn run(
    shared: Weak<SharedConnection>,
    keys: Keys,
    settings: Arc<SettingsRevision>,
    stop: CancellationToken,
) {
    let away = Lasting::with_quiet(COMPLAINT_INTERVAL);
    while let Some(this) = shared.upgrade() {
        match connect(&this, &keys).await {
            Ok(connection) => {
                this.live.store(Some(Arc::new(connection)));
                this.set_health(Health::Answers);
                tracing::info!("connected to Redis");
                away.ends();
                drop(this);
                watch_over(&shared, &keys, &settings, &stop).await;
            }
            Err(ConnectError::Refused(reason)) => {
                this.set_health(Health::Refused(reason));
                drop(this);
                // The task that waits for this health ends the process: with the reason, and not as a crash of this task.
                return stop.cancelled().await;
            }
            Err(ConnectError::Away(reason)) => {
                if let Some(lasts) = away.fails(&reason) {
                    let lasts_s = lasts.as_secs();
                    tracing::warn!(error = %reason, lasts_s, "Redis is out of reach: retrying, requests are answered 503");
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
            StoreError::Unavailable { reason, .. } => Self::Away(reason),
            other => Self::Away(other.to_string()),
        }
    }
}

async fn connect(
    shared: &SharedConnection,
    keys: &Keys,
) -> std::result::Result<MultiplexedConnection, ConnectError> {
    let target = shared.dialer.search().await?;
    let mut connection = target.dial().await.map_err(|error| at(&target, error.into()))?;
    let run_id = run_id(&mut connection).await.map_err(StoreError::from)?;
    let findings = checks::run(&mut connection, keys).await.map_err(|error| at(&target, error.into()))?;
    if let Some(refused) = findings.iter().find(|finding| finding.level == checks::Level::Refuse) {
        return Err(ConnectError::Refused(refused.message.clone()));
    }
    if let Some(away) = findings.iter().find(|finding| finding.level == checks::Level::Away) {
        return Err(at(&target, ConnectError::Away(away.message.clone())));
    }
    for finding in findings.iter().filter(|finding| finding.level == checks::Level::Warn) {
        tracing::warn!(check = finding.what, "{}", finding.message);
    }
    let refusal = match write_layout(&mut connection, keys).await.map_err(StoreError::from) {
        Ok(()) => None,
        // Reads work all the same.
        Err(refusal) if refusal.refuses_writes() => Some(refusal),
        Err(error) => return Err(error.into()),
    };
    crate::store::scripts::load_all(&mut connection).await.map_err(StoreError::from)?;
    sync_clock(shared, &mut connection).await.map_err(StoreError::from)?;
    shared.dialer.settle(&target, run_id);
    shared.set_refusal(refusal);
    Ok(connection)
}

async fn write_layout(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> std::result::Result<(), RedisError> {
    redis::cmd("SET").arg(keys.layout()).arg(checks::LAYOUT).arg("NX").exec_async(connection).await
}

/// Adds to the error which Redis the authority named, if there is one.
fn at(target: &Target, error: ConnectError) -> ConnectError {
    match (&target.named, error) {
        (Some(primary), ConnectError::Away(reason)) => {
            ConnectError::Away(format!("{}, which {} name: {reason}", primary.address, primary.by))
        }
        (_, error) => error,
    }
}

async fn sync_clock(
    shared: &SharedConnection,
    connection: &mut MultiplexedConnection,
) -> std::result::Result<(), RedisError> {
    let time = redis::cmd("TIME").query_async(connection).await?;
    shared.clock.heard(time_micros(time));
    Ok(())
}

/// One check: the standing, then the time or the settings.
async fn look(
    shared: &SharedConnection,
    keys: &Keys,
    settings: &SettingsRevision,
    connection: &mut MultiplexedConnection,
    ticks: u32,
) -> std::result::Result<Standing, RedisError> {
    let standing = primary::ask(connection, keys).await?;
    if ticks.is_multiple_of(TIME_EACH_TICKS) {
        sync_clock(shared, connection).await?;
    } else {
        settings.look(connection, keys).await?;
    }
    if matches!(standing, Standing::Primary) && shared.refusal().borrow().is_some() {
        write_layout(connection, keys).await?;
    }
    Ok(standing)
}

/// Returns when the connection has been given up.
async fn watch_over(
    shared: &Weak<SharedConnection>,
    keys: &Keys,
    settings: &SettingsRevision,
    stop: &CancellationToken,
) {
    let mut timeouts = 0;
    let mut ticks: u32 = 0;
    let Some(number) = shared.upgrade().map(|this| this.dialer.number()) else { return };
    loop {
        let Some(this) = shared.upgrade() else { return };
        let Some(live) = this.live.load_full() else {
            this.set_health(Health::Away("the connection is being replaced".to_owned()));
            return;
        };
        let mut connection = MultiplexedConnection::clone(&live);
        let mut wait = WATCH_INTERVAL;
        match look(&this, keys, settings, &mut connection, ticks).await {
            Ok(Standing::Replica) => {
                tracing::warn!("Redis was demoted to a replica: reconnecting to the primary");
                this.live.store(None);
                this.set_health(Health::Away(DEMOTED.to_owned()));
                return;
            }
            Ok(standing) => {
                ticks = ticks.wrapping_add(1);
                timeouts = 0;
                this.set_refusal(match standing {
                    Standing::Refusing(reason) => Some(reason),
                    _ => None,
                });
                this.set_health(match this.dialer.trusted() {
                    Err(StoreError::Unavailable { reason, .. }) => Health::Away(reason),
                    _ => Health::Answers,
                });
            }
            // It still is the primary, and stays so until the last key has moved.
            Err(error) if is_on_its_way(&error) => {
                this.set_health(Health::Away(StoreError::from(error).to_string()));
                wait = MOVING_INTERVAL;
            }
            Err(error) => {
                timeouts += 1;
                this.set_health(Health::Away(StoreError::from(error.clone()).to_string()));
                if is_dead(&error) || timeouts >= TIMEOUTS_BEFORE_REDIAL {
                    tracing::warn!(error = %error, "lost the connection to Redis: reconnecting");
                    this.live.store(None);
                    return;
                }
                // After a timeout the wait is over already: ask again at once, so that three take 1.5 s.
                continue;
            }
        }
        let (suspect, elsewhere) = (Arc::clone(&this.suspect), this.dialer.elsewhere.than(number));
        drop((this, live));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
            // A request's own timeout counts as the first of the three.
            () = suspect.notified() => timeouts = 1,
            () = elsewhere => {
                // The end of the store wakes it too.
                let Some(this) = shared.upgrade() else { return };
                tracing::warn!("a new connection led to another Redis than the one in use: reconnecting");
                this.live.store(None);
                this.set_health(Health::Away("a new connection led to another Redis: reconnecting".to_owned()));
                return;
            }
        }
    }
}
