//! The signs of life of a leader: both ends of the channel of its term.
//!
//! The leader subscribes to it on a dedicated connection, which the kernel closes when the process is killed. One of the waiting
//! workers, the watcher, counts the subscriptions, on the connection of its lease. [`crate::domain::succession`] decides when that
//! means that the leader is gone; taking over is a case of `lease_acquire.lua`.
//!
//! The watcher has a claim that expires; it is not chosen from the list of workers, since that list keeps a killed worker for 15 s,
//! and does not show that one is paused, or that its version cannot watch. The claim is read together with the lease, so that the
//! workers that do not watch cost Redis no more than if nobody did.

use std::time::Duration;

use tokio::time::sleep;

use super::fence::{Fence, HeldTerm};
use super::lease::Lease;
use crate::store::connection::clock::millis;
use crate::store::connection::request::Request;
use crate::store::connection::subscription::Subscription;
use crate::store::{Result, Store, scripts};

/// A watcher that was killed or is paused is replaced after this time, as soon as another worker next reads the lease.
const WATCH_FOR: Duration = Duration::from_secs(3);
/// How often the leader sends something on this connection: a firewall may silently drop an idle one, and Redis would then end the
/// subscription of a healthy leader hours later.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);
/// Pushes that wait to be read: the answers to the checks, and the end of the connection.
const PUSHES: usize = 16;

/// A lease that is held.
#[derive(Debug, Clone)]
pub struct Held {
    /// The leader and its term.
    pub term: HeldTerm,
    /// How long the holder has left.
    pub remaining: Duration,
    /// Whether another worker watches the holder.
    pub watched: bool,
}

/// A leader's subscription to the channel of its term; it ends when this is dropped.
pub struct Presence(Subscription);

impl Store {
    /// Subscribes to the channel of this term, so that others see that its leader's process runs.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn subscribe_as_leader(&self, fence: &Fence) -> Result<Presence> {
        let channel = self.keys.leader(fence.as_str());
        Subscription::open(&self.shared.dialer, channel, PUSHES).await.map(Presence)
    }
}

impl Presence {
    /// Waits until it is broken, or belongs to a Redis that this worker has left.
    pub async fn lost(&mut self) {
        loop {
            tokio::select! {
                pushed = self.0.next() => {
                    if pushed.is_none() {
                        return;
                    }
                }
                () = sleep(CHECK_INTERVAL) => {
                    if !self.0.works().await {
                        return;
                    }
                }
            }
        }
    }
}

impl Lease {
    /// Who holds it and for how long, by reads alone; `None` if nobody does. This is how the waiting workers learn of each epoch.
    pub async fn held(&mut self) -> Result<Option<Held>> {
        let keys = &self.store.keys;
        let (lease, watcher) = (keys.lease(), keys.watcher());
        let mut both = redis::pipe();
        both.cmd("PTTL").arg(&lease).cmd("MGET").arg(&lease).arg(&watcher);
        let (ttl, (held, watcher)): (i64, (Option<String>, Option<String>)) =
            self.run(Request::Pipeline(&both)).await?;
        let term = held.map(HeldTerm);
        if let Some(epoch) = term.as_ref().and_then(HeldTerm::epoch) {
            self.store.see_epoch(epoch);
        }
        Ok(term.zip(u64::try_from(ttl).ok()).map(|(term, ttl)| Held {
            term,
            remaining: Duration::from_millis(ttl),
            watched: watcher.is_some_and(|watcher| watcher != self.owner.as_str()),
        }))
    }

    /// Claims the watch over the leader, or keeps it; false if another worker has it.
    pub async fn claim_watch(&mut self) -> Result<bool> {
        let key = self.store.keys.watcher();
        let call = scripts::WATCHER_CLAIM.call().key(key).arg(self.owner.as_str()).arg(millis(WATCH_FOR));
        self.call(&call).await
    }

    /// Whether the leader of this term subscribes to its channel.
    pub async fn is_present(&mut self, term: &HeldTerm) -> Result<bool> {
        let channel = self.store.keys.leader(term.as_str());
        let command = redis::cmd("PUBSUB").arg("NUMSUB").arg(&channel).to_owned();
        let (_, subscriptions): (String, u64) = self.run(Request::Command(&command)).await?;
        Ok(subscriptions > 0)
    }
}
