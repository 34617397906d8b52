//! Opens connections to the one Redis, all with the same timeouts.
//!
//! Only the shared connection's watchdog looks for the primary ([`Dialer::search`]); once it has a connection that passed the
//! checks, it settles on that Redis ([`Dialer::settle`]). Every other connection of the process (lease, subscriptions,
//! confirmations) must lead to the same Redis, known by its `run_id`, and is left when there is a new shared one. An address
//! that moves only new connections (a proxy, a Service, a DNS name) would otherwise leave parts of a worker behind on a
//! Redis that was superseded; whichever connection finds out first, all of them move.
//!
//! With Sentinel, and on a Redis Cluster, an [`Authority`] names the primary. It is trusted for [`TRUST`] after that, and not a
//! moment longer, whatever is paused or cut off in that time: a worker counts on its own boot-time clock, from before it asked.
//! The others move no sooner than the authority names another one, and no revocation there is answered before a whole cache
//! lease has passed, which is longer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionInfo, RedisError};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::authority::Authority;
use super::clock::{boot_now, millis};
use super::connect::{RESPONSE_TIMEOUT, client, settings_of_a_connection, timed};
use super::named::Primary;
use crate::config::RedisConfig;
use crate::store::auth::near_cache::{LEASE, MARGIN};
use crate::store::{Result, StoreError};

/// How long a primary is trusted after the authority named it: less than a revocation waits on a Redis that has just become the
/// primary, since two machines' clocks do not run equally fast.
const TRUST: Duration = LEASE.saturating_sub(MARGIN);

/// The way to Redis.
pub(in crate::store) struct Dialer {
    authority: Option<Authority>,
    /// A client of the URL, where there is no authority.
    plain: Option<Arc<Client>>,
    root_cert: Option<Vec<u8>>,
    home: watch::Sender<Home>,
    /// Until when the primary is trusted, on the boot-time clock in ms; kept only where there is an authority.
    trusted_until: AtomicU64,
    pub elsewhere: Elsewhere,
}

/// Where the process's connections lead.
#[derive(Clone, Default)]
struct Home {
    /// Counts the shared connections.
    number: u64,
    /// None before the first.
    settled: Option<Settled>,
}

/// The number of the newest shared connection for which a new connection led to another Redis.
///
/// A number and not a mere signal: a connection that was compared with an earlier shared one says nothing about the present one.
#[derive(Clone, Default)]
pub(in crate::store) struct Elsewhere(Arc<watch::Sender<u64>>);

impl Elsewhere {
    /// A new connection led to another Redis than the shared one of this number.
    pub fn found(&self, number: u64) {
        self.0.send_if_modified(|newest| std::mem::replace(newest, number.max(*newest)) < number);
    }

    /// Waits until a new connection led to another Redis than the shared one of this number.
    pub fn than(&self, number: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut newest = self.0.subscribe();
        async move {
            // An error is the end of the store.
            let _ = newest.wait_for(|newest| *newest >= number).await;
        }
    }
}

/// The Redis of the shared connection.
#[derive(Clone)]
struct Settled {
    target: Target,
    /// None if the service does not report it.
    run_id: Option<String>,
}

/// A Redis that may be dialled.
#[derive(Clone)]
pub(in crate::store) struct Target {
    client: Arc<Client>,
    /// What the authority says, if there is one.
    pub named: Option<Arc<Primary>>,
    /// The time before the authority was asked, on the boot-time clock.
    asked_at: Duration,
}

/// What the authority says about the Redis that was settled on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// It names it.
    Confirmed,
    /// It names another one.
    Superseded,
    /// It has not answered.
    Unknown,
}

impl Dialer {
    /// `slot` is the slot of all keys, for a Redis Cluster.
    pub fn new(config: &RedisConfig, slot: u16) -> anyhow::Result<Self> {
        let read = |ca: &PathBuf| {
            let unreadable = || format!("the file of BANGUI_REDIS_CA cannot be read: {}", ca.display());
            std::fs::read(ca).with_context(unreadable)
        };
        let root_cert = config.ca.as_ref().map(read).transpose()?;
        let url = config.url.expose_secret();
        let authority = Authority::of(url, slot, root_cert.as_ref())?;
        let plain = match authority {
            None => Some(Arc::new(client(url, root_cert.as_ref())?)),
            Some(_) => None,
        };
        let (home, trusted_until) = (watch::Sender::default(), AtomicU64::new(0));
        Ok(Self { authority, plain, root_cert, home, trusted_until, elsewhere: Elsewhere::default() })
    }

    /// Where the primary is now.
    pub async fn search(&self) -> Result<Target> {
        let asked_at = boot_now();
        if let Some(client) = &self.plain {
            return Ok(Target { client: Arc::clone(client), named: None, asked_at });
        }
        let authority = self.authority.as_ref().ok_or_else(not_connected)?;
        let settled = self.named();
        let primary = authority.primary(settled.as_deref()).await.map_err(StoreError::unavailable)?;
        if let Some(settled) = settled
            && primary.supersedes(&settled).is_err()
        {
            return Err(StoreError::unavailable(format!(
                "{} name {} with the configuration epoch {}, which is older than epoch {} of {}, named before: not followed. If \
                 they were set up from scratch, restart this worker",
                primary.by, primary.address, primary.epoch, settled.epoch, settled.address
            )));
        }
        let client = client(&authority.url_of(&primary), self.root_cert.as_ref())?;
        Ok(Target { client: Arc::new(client), named: Some(Arc::new(primary)), asked_at })
    }

    /// The authority, if there is one.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Asks the authority about the Redis that was settled on.
    pub async fn ask_authority(&self) -> Verdict {
        let (Some(authority), Some(settled)) = (&self.authority, self.named()) else {
            return Verdict::Unknown;
        };
        let asked_at = boot_now();
        let Ok(newest) = authority.primary(Some(&settled)).await else { return Verdict::Unknown };
        if self.named().is_none_or(|now| now.id != settled.id) {
            return Verdict::Unknown; // The watchdog has moved in the meantime.
        }
        match newest.supersedes(&settled) {
            Ok(false) => {
                self.note_epoch(newest);
                self.trust(asked_at);
                Verdict::Confirmed
            }
            Ok(true) => Verdict::Superseded,
            Err(_) => Verdict::Unknown,
        }
    }

    /// Records a newer configuration epoch of the same primary: the owner of a slot gets one with each further slot.
    fn note_epoch(&self, newest: Primary) {
        self.home.send_if_modified(|home| {
            let target = home.settled.as_mut().map(|settled| &mut settled.target);
            if let Some(target) = target
                && target
                    .named
                    .as_ref()
                    .is_some_and(|named| named.id == newest.id && named.epoch < newest.epoch)
            {
                target.named = Some(Arc::new(newest));
            }
            false
        });
    }

    fn trust(&self, asked_at: Duration) {
        self.trusted_until.fetch_max(millis(asked_at + TRUST), Ordering::Relaxed);
    }

    /// From now on nothing is answered from this Redis, until another one is settled on or the authority names it again.
    pub fn distrust(&self) {
        self.trusted_until.store(0, Ordering::Relaxed);
    }

    /// Whether requests may be answered from the Redis that was settled on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason why not.
    pub fn trusted(&self) -> Result<()> {
        let Some(authority) = &self.authority else { return Ok(()) };
        if millis(boot_now()) < self.trusted_until.load(Ordering::Relaxed) {
            return Ok(());
        }
        let address = self.named().map_or_else(String::new, |primary| format!(" {}", primary.address));
        Err(StoreError::unavailable(authority.untrusted(&address)))
    }

    /// Which Redis was settled on last, if it reports its id.
    pub fn run_id(&self) -> Option<String> {
        self.home.borrow().settled.as_ref()?.run_id.clone()
    }

    /// What the authority said about the current Redis.
    pub fn named(&self) -> Option<Arc<Primary>> {
        self.home.borrow().settled.as_ref()?.target.named.clone()
    }

    /// Its address, and who named it, as messages say it.
    pub fn named_by(&self) -> Option<(String, &'static str)> {
        self.named().map(|primary| (primary.address.clone(), primary.by))
    }

    /// There is a new shared connection: every other one is to end, and new ones lead to this Redis.
    pub fn settle(&self, target: &Target, run_id: Option<String>) {
        self.trust(target.asked_at);
        self.home.send_modify(|home| {
            home.number += 1;
            home.settled = Some(Settled { target: target.clone(), run_id });
        });
    }

    /// Changes with each shared connection. Read it before dialling a connection that [`Self::moved_from`] must end.
    pub fn number(&self) -> u64 {
        self.home.borrow().number
    }

    /// Waits until there is another shared connection than there was at this number.
    pub fn moved_from(&self, number: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut home = self.home.subscribe();
        async move {
            // An error is the end of the store.
            let _ = home.wait_for(|home| home.number != number).await;
        }
    }

    /// The Redis that was settled on, and the number of its shared connection.
    fn settled(&self) -> Result<(Settled, u64)> {
        let home = self.home.borrow();
        Ok((home.settled.clone().ok_or_else(not_connected)?, home.number))
    }

    /// How to reach the Redis that was settled on, and which one it is, if it reports its id.
    pub fn connection_info(&self) -> Result<(ConnectionInfo, Option<String>)> {
        let (settled, _) = self.settled()?;
        Ok((settled.target.client.get_connection_info().clone(), settled.run_id))
    }

    /// A new connection, within the connect timeout.
    pub async fn dial(&self) -> Result<MultiplexedConnection> {
        self.dial_patient(Duration::ZERO).await
    }

    /// The same for commands that wait for something as long as `wait`.
    pub async fn dial_patient(&self, wait: Duration) -> Result<MultiplexedConnection> {
        let (settled, number) = self.settled()?;
        let connection = settled.target.dial_patient(wait).await?;
        self.identified(connection, &settled, number).await
    }

    /// A new connection on which commands and messages travel together (RESP3); `push` takes the messages.
    pub async fn dial_pushed(&self, push: impl redis::aio::AsyncPushSender) -> Result<MultiplexedConnection> {
        let (settled, number) = self.settled()?;
        let info = settled.target.client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let config = settings_of_a_connection().set_push_sender(push);
        let connection = timed(client.get_multiplexed_async_connection_with_config(&config)).await?;
        self.identified(connection, &settled, number).await
    }

    /// The connection, if it leads to the Redis of the shared one.
    async fn identified(
        &self,
        mut connection: MultiplexedConnection,
        settled: &Settled,
        number: u64,
    ) -> Result<MultiplexedConnection> {
        let run_id = run_id(&mut connection).await?;
        if run_id == settled.run_id {
            return Ok(connection);
        }
        self.elsewhere.found(number);
        let reason = "a new connection led to another Redis than the one in use: reconnecting";
        Err(StoreError::unavailable(reason.to_owned()))
    }
}

fn not_connected() -> StoreError {
    StoreError::unavailable("the first connection is not made yet".to_owned())
}

/// The id of the Redis process: another one after each restart.
pub(super) async fn run_id(
    connection: &mut MultiplexedConnection,
) -> std::result::Result<Option<String>, RedisError> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    Ok(info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned()))
}

impl Target {
    /// A new connection, within the connect timeout.
    pub async fn dial(&self) -> Result<MultiplexedConnection> {
        self.dial_patient(Duration::ZERO).await
    }

    async fn dial_patient(&self, wait: Duration) -> Result<MultiplexedConnection> {
        let patient = settings_of_a_connection().set_response_timeout(Some(wait + RESPONSE_TIMEOUT));
        Ok(timed(self.client.get_multiplexed_async_connection_with_config(&patient)).await?)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Elsewhere;

    #[test]
    fn what_was_found_of_an_earlier_shared_connection_does_not_end_the_next_one() {
        let elsewhere = Elsewhere::default();
        elsewhere.found(1);
        let next = elsewhere.than(2);
        assert!(next.now_or_never().is_none());
        elsewhere.found(2);
        elsewhere.found(1);
        assert!(elsewhere.than(2).now_or_never().is_some());
    }
}
