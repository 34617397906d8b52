//! The lease that elects the leader.
//!
//! Redis decides who holds it (a key with a TTL); the holder decides only when its own deadline is over, by its own boot-time
//! clock, counted from *before* the request was sent: a late answer can only shorten the time that the holder counts on. No two
//! machines' clocks are compared.
//!
//! Holding the lease authorizes nothing by itself. What makes "one leader" true is the [`Fence`], owner and epoch, that
//! every scheduled write carries and that Redis compares in the same script. With asynchronous replication a failover
//! may forget the newest epoch; the old holder's fence is then refused by the new primary, and revisions still protect
//! every document.
//!
//! The lease has a dedicated connection, so that neither a slow request nor a large reply delays a renewal; it is redialled
//! after any error, and when the shared connection has moved to another Redis.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

use super::fence::{Fence, HeldTerm};
use crate::store::connection::clock::millis;
use crate::store::connection::request::Request;
use crate::store::history::stream::EVENTS_KEPT;
use crate::store::scripts;
use crate::store::scripts::Call;
use crate::store::{Result, Store, WorkerId};

/// The answer to asking for the lease.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours.
    Taken {
        /// What our writes carry.
        fence: Fence,
        /// Redis's clock, microseconds since 1970.
        redis_micros: i64,
    },
    /// Another holds it, for this long unless it renews.
    Held {
        /// What is left of its TTL.
        remaining: Duration,
    },
}

/// One worker's way to the lease.
pub struct Lease {
    pub(super) store: Store,
    pub(super) owner: WorkerId,
    ttl: Duration,
    /// With the number of the shared connection whose Redis it leads to.
    connection: Option<(u64, MultiplexedConnection)>,
    /// How many connections were opened.
    dialled: u64,
}

impl Store {
    /// The lease, as asked for by `owner`.
    #[must_use]
    pub fn lease(&self, owner: WorkerId, ttl: Duration) -> Lease {
        Lease { store: self.clone(), owner, ttl, connection: None, dialled: 0 }
    }

    /// The greatest epoch that this process has ever seen, of the lease or of a ban job: what it begins has a greater one, even if
    /// Redis has lost its data and its clock was set back.
    pub(in crate::store) fn greatest_epoch(&self) -> u64 {
        self.greatest_epoch.load(Ordering::Relaxed)
    }

    /// Records an epoch that this process has seen.
    pub fn see_epoch(&self, epoch: u64) {
        self.greatest_epoch.fetch_max(epoch, Ordering::Relaxed);
    }
}

impl Lease {
    /// How long the lease lasts without a renewal.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Changes with each connection that the lease uses: what was seen over one must not be combined with what another shows.
    #[must_use]
    pub fn connection_number(&self) -> u64 {
        self.dialled
    }

    /// Takes the lease if nobody holds it. An error means that it is not ours, until asking again says otherwise.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn acquire(&mut self) -> Result<Acquired> {
        self.ask(None).await
    }

    /// Takes the lease, even if it is still held for the term `gone`, unless the leader of that term subscribes to its channel.
    pub async fn take_over(&mut self, gone: &HeldTerm) -> Result<Acquired> {
        self.ask(Some(gone)).await
    }

    async fn ask(&mut self, gone: Option<&HeldTerm>) -> Result<Acquired> {
        let keys = &self.store.keys;
        let call = scripts::LEASE_ACQUIRE
            .call()
            .key(keys.lease())
            .key(keys.epoch())
            .key(keys.events())
            .key(keys.watcher())
            .arg(self.owner.as_str())
            .arg(millis(self.ttl))
            .arg(EVENTS_KEPT)
            .arg(self.store.greatest_epoch())
            .arg(gone.map_or("", HeldTerm::as_str))
            .arg(gone.map_or_else(String::new, |gone| keys.leader(gone.as_str())))
            .arg(keys.wake());
        let (taken, number, redis_micros, epoch): (bool, i64, i64, u64) = self.call(&call).await?;
        self.store.see_epoch(epoch);
        if !taken {
            return Ok(Acquired::Held {
                remaining: Duration::from_millis(u64::try_from(number).unwrap_or(0)),
            });
        }
        let fence = Fence { text: format!("{}|{epoch}", self.owner.as_str()), epoch };
        Ok(Acquired::Taken { fence, redis_micros })
    }

    /// Renews the lease; `None` if it is lost, otherwise Redis's clock in microseconds.
    pub async fn renew(&mut self, fence: &Fence) -> Result<Option<i64>> {
        let key = self.store.keys.lease();
        let call = scripts::LEASE_RENEW.call().key(key).arg(fence.as_str()).arg(millis(self.ttl));
        let (renewed, redis_micros): (bool, i64) = self.call(&call).await?;
        Ok(renewed.then_some(redis_micros))
    }

    /// The fence of a term of this process that was not released; `None` if the lease is free or another's.
    pub async fn left_behind(&mut self) -> Result<Option<Fence>> {
        let command = redis::cmd("GET").arg(self.store.keys.lease()).to_owned();
        let holder: Option<String> = self.run(Request::Command(&command)).await?;
        Ok(holder.and_then(|text| {
            let (owner, epoch) = text.split_once('|')?;
            let epoch = epoch.parse().ok()?;
            (owner == self.owner.as_str()).then_some(Fence { text, epoch })
        }))
    }

    /// Releases the lease and wakes the workers that wait for it. Call this after all work of the term has stopped.
    pub async fn release(&mut self, fence: &Fence) -> Result<bool> {
        let keys = &self.store.keys;
        let call = scripts::LEASE_RELEASE.call().key(keys.lease()).arg(fence.as_str()).arg(keys.wake());
        self.call(&call).await
    }

    pub(super) async fn call<T: FromRedisValue>(&mut self, call: &Call) -> Result<T> {
        self.run(Request::Script(call)).await
    }

    pub(super) async fn run<T: FromRedisValue>(&mut self, request: Request<'_>) -> Result<T> {
        let dialer = &self.store.shared.dialer;
        let number = dialer.number();
        let mut connection = match self.connection.take() {
            Some((same, connection)) if same == number => connection,
            _ => {
                self.dialled += 1;
                dialer.dial().await?
            }
        };
        let answer = request.send(&mut connection).await?;
        // Only a connection that has just answered is kept.
        self.connection = Some((number, connection));
        Ok(answer)
    }
}
