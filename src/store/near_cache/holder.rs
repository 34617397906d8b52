//! The task of a holder: joins, renews, applies revocations and confirms them, while the setting is on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::clock::millis;
use super::super::{Result, SessionId, Store, boot_now, hex, random, scripts};
use super::state::{Ends, Event, Next};
use crate::settings::Live;

const RENEW_EVERY: Duration = Duration::from_millis(500);
/// Holders at most; a revocation reads them all.
const HOLDERS: usize = 1_000;
/// Messages that wait here at most. One more is lost, which the gap in the numbers tells.
const MESSAGES: usize = 1_024;

/// Why a term ended.
enum Ended {
    /// The setting has changed.
    Changed,
    /// The rules, or Redis, want a new joining.
    Rejoin,
}

impl Store {
    /// Holds sessions near while the settings say so, for ever.
    pub async fn hold_sessions(&self, live: &Live) {
        let mut settings = live.watch();
        loop {
            let cache = settings.borrow_and_update().settings.session_cache;
            let ttl = if cache.enabled { millis(cache.ttl) } else { 0 };
            self.near_cache.ttl.store(ttl, Ordering::Relaxed);
            if ttl == 0 {
                if settings.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let ended = tokio::select! {
                ended = self.hold() => ended,
                () = changed(&mut settings, cache) => Ok(Ended::Changed),
            };
            self.stop_holding().await;
            if let Err(error) = &ended {
                tracing::debug!(error = %error, "the near cache has no lease");
            }
            if !matches!(ended, Ok(Ended::Changed)) {
                let wait = rand::rng().random_range(50..150);
                sleep(Duration::from_millis(wait)).await;
            }
        }
    }

    /// Empties the cache, then tells Redis that nobody needs to wait for it.
    pub async fn stop_holding(&self) {
        self.near_cache.lock().empty();
        metrics::gauge!("bangui_session_cache_holder").set(0.0);
        let id = self.near_cache.id.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(id) = id else { return };
        // A holder that was removed stays so: only a revoker that waits for this id reads it, and the next one removes it.
        let command = redis::cmd("HSET").arg(self.keys.holders()).arg(id).arg("left").to_owned();
        if let Err(error) = self.shared.query::<()>("cache_leave", &command).await {
            tracing::debug!(error = %error, "Redis was not told that the near cache is empty");
        }
    }

    /// One term: from joining to whatever ends it. Returns with the right to answer still there: the caller empties.
    async fn hold(&self) -> Result<Ended> {
        let (sender, mut pushed) = mpsc::channel(MESSAGES);
        let push = move |info: PushInfo| sender.try_send(info).map_err(|_| SendError);
        let mut connection = self.shared.dialer.dial_pushed(push).await?;
        connection.subscribe(self.keys.revoked()).await?;
        let id = hex(&random::<16>()?);
        *self.near_cache.id.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(id.clone());
        let sent = boot_now();
        let join = scripts::CACHE_JOIN
            .call()
            .key(self.keys.revocations())
            .key(self.keys.holders())
            .arg(&id)
            .arg(HOLDERS);
        let (incarnation, number): (String, u64) = join.invoke(&mut connection).await?;
        self.step(Event::Joined { sent, incarnation, number });
        metrics::gauge!("bangui_session_cache_holder").set(1.0);
        tracing::debug!(holder.id = id, "the near cache holds a lease");
        let mut renewals = interval(RENEW_EVERY);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                push = pushed.recv() => match push {
                    None | Some(PushInfo { kind: PushKind::Disconnection, .. }) => Next::Rejoin,
                    Some(push) => match revoked(&push) {
                        Some(event) => self.step(event),
                        None if push.kind == PushKind::Message => Next::Rejoin,
                        None => Next::Wait,
                    },
                },
                _ = renewals.tick() => Next::Confirm,
            };
            let next = if next == Next::Confirm { self.renew(&id, &mut connection).await? } else { next };
            if next == Next::Rejoin {
                return Ok(Ended::Rejoin);
            }
        }
    }

    /// Confirms what was applied, and renews.
    async fn renew(&self, id: &str, connection: &mut MultiplexedConnection) -> Result<Next> {
        let applied = {
            let state = self.near_cache.lock();
            state.applied().map(|(incarnation, number)| (incarnation.to_owned(), number))
        };
        let Some((incarnation, number)) = applied else { return Ok(Next::Rejoin) };
        let call = scripts::CACHE_RENEW
            .call()
            .key(self.keys.revocations())
            .key(self.keys.holders())
            .arg(id)
            .arg(incarnation)
            .arg(number);
        let sent = boot_now();
        let answer: i64 = call.invoke(connection).await?;
        Ok(self.step(match answer {
            1 => Event::Renewed { sent },
            0 => Event::Behind,
            _ => Event::Refused,
        }))
    }

    fn step(&self, event: Event<SessionId>) -> Next {
        self.near_cache.lock().step(event, boot_now())
    }
}

async fn changed(
    settings: &mut tokio::sync::watch::Receiver<std::sync::Arc<crate::settings::Effective>>,
    from: crate::config::SessionCacheConfig,
) {
    // The sender lives as long as the worker.
    let _ = settings.wait_for(|now| now.settings.session_cache != from).await;
}

/// The revocation in a message; `None` for anything else.
fn revoked(push: &PushInfo) -> Option<Event<SessionId>> {
    let (PushKind::Message, [_, Value::BulkString(bytes)]) = (&push.kind, push.data.as_slice()) else {
        return None;
    };
    let mut parts = bytes.splitn(4, |&byte| byte == b'|');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let incarnation = text()?.to_owned();
    let (previous, number) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let ends = match parts.next()? {
        b"all" => Ends::All,
        id => Ends::One(SessionId::from_bytes(id.try_into().ok()?)),
    };
    Some(Event::Revoked { incarnation, previous, number, ends })
}
