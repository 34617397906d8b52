//! The task of a holder: joins, renews, applies revocations and confirms them, while the setting is on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::state::{Event, Next};
use crate::settings::Live;
use crate::store::connection::clock::millis;
use crate::store::connection::shared::Health;
use crate::store::connection::subscription::Subscription;
use crate::store::{Result, SessionId, Store, boot_now, hex, random, scripts};
use crate::telemetry::Lasting;

const RENEW_INTERVAL: Duration = Duration::from_millis(500);
/// The most holders; a revocation reads them all.
const HOLDERS: usize = 1_000;
/// How many messages can wait here. Further ones are lost, which the gap in their numbers reveals.
const MESSAGES: usize = 1_024;
/// The pause before joining again, in ms. After failures in a row it doubles, up to 2 s or so.
const REJOIN_MS: std::ops::Range<u64> = 50..150;
/// A lease that was held for longer than this says that joining works.
const SHORT_LIVED: Duration = Duration::from_secs(1);
/// Where there are too many holders, it is tried again after this time, in ms.
const RETRY_WHEN_FULL_MS: std::ops::Range<u64> = 5_000..10_000;

/// Why a term ended.
enum Ended {
    /// The setting has changed.
    Changed,
    /// The rules, or Redis, demand that this worker joins again.
    Rejoin,
    /// There are too many holders.
    Full,
}

impl Store {
    /// Caches sessions while the settings say so, and settles each Redis that this worker connects to. Never returns.
    pub async fn hold_sessions(&self, live: &Live) {
        // Neither should return. If one does, this function returns too, and its caller notices.
        tokio::select! {
            () = self.hold_while_on(live) => {}
            () = self.settle_after_connecting() => {}
        }
    }

    async fn hold_while_on(&self, live: &Live) {
        let mut settings = live.watch();
        let (mut failures, full) = (0_u32, Lasting::new());
        loop {
            let cache = settings.current().settings.session_cache;
            let ttl = if cache.enabled { millis(cache.ttl) } else { 0 };
            self.near_cache.ttl.store(ttl, Ordering::Relaxed);
            if ttl == 0 {
                settings.changed().await;
                continue;
            }
            let begun = Instant::now();
            let ended = tokio::select! {
                ended = self.hold(&full) => ended,
                _ = settings.until(|now| now.session_cache != cache) => Ok(Ended::Changed),
            };
            self.stop_holding().await;
            let wait = match ended {
                Ok(Ended::Changed) => continue,
                Ok(Ended::Rejoin) => REJOIN_MS,
                Ok(Ended::Full) => {
                    if full.fails("").is_some() {
                        tracing::warn!(
                            "{HOLDERS} near caches exist already: this worker checks each session in Redis"
                        );
                    }
                    if let Err(error) = self.remove_silent_holders().await {
                        tracing::debug!(error = %error, "failed to count live near caches");
                    }
                    RETRY_WHEN_FULL_MS
                }
                Err(ref error) => {
                    tracing::debug!(error = %error, "failed to renew the near cache's lease");
                    REJOIN_MS
                }
            };
            failures = if ended.is_ok() || begun.elapsed() > SHORT_LIVED { 0 } else { failures + 1 };
            let wait = Duration::from_millis(rand::rng().random_range(wait) << failures.min(4));
            let waiting = async {
                sleep(wait).await;
                if let Err(error) = &ended {
                    self.until_writable(error).await;
                }
            };
            tokio::select! {
                () = waiting => {}
                _ = settings.until(|now| now.session_cache != cache) => {}
            }
        }
    }

    /// Finds out whether Redis was replaced, and then waits for holders that it may have forgotten, so that no logout has to.
    async fn settle_after_connecting(&self) {
        let mut health = self.shared.health();
        while health.wait_for(|health| *health == Health::Answers).await.is_ok() {
            if let Err(error) = self.remove_silent_holders().await {
                tracing::debug!(error = %error, "failed to check for near caches that Redis has forgotten: retrying");
                let wait = rand::rng().random_range(300..700);
                sleep(Duration::from_millis(wait)).await;
                self.until_writable(&error).await;
            } else if health.changed().await.is_err() {
                return;
            }
        }
    }

    /// Empties the cache, then removes this holder from Redis, so that no revocation waits for it.
    pub async fn stop_holding(&self) {
        self.near_cache.lock().empty();
        metrics::gauge!("bangui_session_cache_holder").set(0.0);
        let id = self.near_cache.id().take();
        let Some(id) = id else { return };
        let command = redis::cmd("HDEL").arg(self.keys.holders()).arg(id).to_owned();
        if let Err(error) = self.shared.query::<()>("cache_leave", &command).await {
            tracing::debug!(error = %error, "failed to report an emptied near cache to Redis");
        }
    }

    /// One term: from joining to whatever ends it. When it returns, the cache may still answer: the caller empties it.
    async fn hold(&self, full: &Lasting) -> Result<Ended> {
        // Before joining: what is revoked from then on is heard.
        let channel = self.keys.revoked();
        let mut revoked = Subscription::open(&self.shared.dialer, channel, MESSAGES).await?;
        let id = hex(&random::<16>()?);
        *self.near_cache.id() = Some(id.clone());
        let join = scripts::CACHE_JOIN.call().key(self.keys.holders()).arg(&id).arg(HOLDERS);
        let sent = boot_now();
        let joined: Option<(String, u64)> = join.invoke(&mut revoked.connection).await?;
        let Some((incarnation, number)) = joined else { return Ok(Ended::Full) };
        if full.ends().is_some() {
            tracing::info!("there are fewer near caches than the limit: this worker caches sessions again");
        }
        self.step(Event::Joined { sent, incarnation, number });
        metrics::gauge!("bangui_session_cache_holder").set(1.0);
        tracing::debug!(holder.id = id, "near cache acquired its lease");
        let mut renewals = interval(RENEW_INTERVAL);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut next = tokio::select! {
                biased;
                push = revoked.next() => self.hear(push),
                _ = renewals.tick() => Next::Confirm,
            };
            // Messages that have arrived since are confirmed along with it, in one step.
            for _ in 0..MESSAGES {
                let Some(push) = revoked.arrived() else { break };
                next = next.max(self.hear(push));
            }
            if next == Next::Confirm {
                next = self.renew(&id, &mut revoked.connection).await?;
            }
            if next == Next::Rejoin {
                return Ok(Ended::Rejoin);
            }
        }
    }

    fn hear(&self, push: Option<PushInfo>) -> Next {
        match push {
            None => Next::Rejoin,
            Some(PushInfo { kind: PushKind::Message, data }) => {
                let [_, Value::BulkString(message)] = data.as_slice() else { return Next::Rejoin };
                let event = Event::of_message(message, SessionId::from_bytes);
                event.map_or(Next::Rejoin, |event| self.step(event))
            }
            Some(_) => Next::Wait,
        }
    }

    /// Confirms what was applied, and renews.
    async fn renew(&self, id: &str, connection: &mut MultiplexedConnection) -> Result<Next> {
        let applied = self.near_cache.lock().applied();
        let Some((incarnation, number)) = applied else { return Ok(Next::Rejoin) };
        let call =
            scripts::CACHE_RENEW.call().key(self.keys.holders()).arg(id).arg(&*incarnation).arg(number);
        let sent = boot_now();
        let answer = call.invoke(connection).await?;
        Ok(self.step(Event::of_renewal(answer, sent)))
    }

    fn step(&self, event: Event<SessionId>) -> Next {
        let mut state = self.near_cache.lock();
        state.step(event, boot_now())
    }
}
