//! Opens connections to the one Redis, each with the timeouts that every command here has.
//!
//! With Sentinel the shared connection's watchdog alone looks for the primary ([`Dialer::search`]), and when it has a
//! connection that passed the checks, that is [`Dialer::settle`]d: every other connection of the process (lease,
//! subscriptions, confirmations) is dialled to the same Redis, and left when the watchdog has settled on another. So
//! no part of a worker stays behind on a primary that was superseded but still answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, RedisError};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::connect::{RESPONSE_TIMEOUT, settings_of_a_connection, timed};
use super::sentinel::{Primary, Sentinels};
use crate::config::{RedisConfig, SentinelUrl};
use crate::store::{Result, StoreError};

/// The way to Redis.
pub(in crate::store) struct Dialer {
    sentinels: Option<Sentinels>,
    root_cert: Option<Vec<u8>>,
    home: watch::Sender<Home>,
}

/// Where the process's connections lead.
#[derive(Clone, Default)]
struct Home {
    /// Counts the moves.
    number: u64,
    /// With Sentinel none before the first is found.
    target: Option<Target>,
}

/// A Redis that may be dialled.
#[derive(Clone)]
pub(in crate::store) struct Target {
    client: Arc<Client>,
    /// What the Sentinels say, if there are any.
    pub named: Option<Arc<Primary>>,
}

impl Dialer {
    pub fn new(config: &RedisConfig) -> anyhow::Result<Self> {
        let read = |ca: &PathBuf| {
            let unreadable = || format!("the file of BANGUI_REDIS_CA cannot be read: {}", ca.display());
            std::fs::read(ca).with_context(unreadable)
        };
        let root_cert = config.ca.as_ref().map(read).transpose()?;
        let url = config.url.expose_secret();
        let Some(sentinels) = SentinelUrl::parse(url) else {
            let target = Target { client: Arc::new(client(url, root_cert.as_ref())?), named: None };
            let home = watch::Sender::new(Home { number: 0, target: Some(target) });
            return Ok(Self { sentinels: None, root_cert, home });
        };
        let sentinels = sentinels.map_err(anyhow::Error::msg)?;
        let sentinels = Sentinels::new(sentinels, |url| client(url, root_cert.as_ref()))?;
        Ok(Self { sentinels: Some(sentinels), root_cert, home: watch::Sender::default() })
    }

    /// Where the primary is now.
    pub async fn search(&self) -> Result<Target> {
        let Some(sentinels) = &self.sentinels else { return self.target() };
        let primary = sentinels.primary().await.map_err(StoreError::Unavailable)?;
        let client = client(&sentinels.url_of(&primary), self.root_cert.as_ref())?;
        Ok(Target { client: Arc::new(client), named: Some(Arc::new(primary)) })
    }

    /// Whether the Sentinels name another Redis than the one that was settled on; `false` if they cannot tell.
    pub async fn superseded(&self) -> bool {
        let Some(sentinels) = &self.sentinels else { return false };
        let newest = sentinels.primary().await.map(|primary| primary.address);
        let home = self.home.borrow();
        let here = home.target.as_ref().and_then(|target| target.named.as_ref());
        matches!((newest, here), (Ok(newest), Some(here)) if newest != here.address)
    }

    /// Every new connection leads to this one from now on.
    pub fn settle(&self, target: &Target) {
        self.home.send_if_modified(|home| {
            let address = |target: &Target| target.named.as_ref().map(|primary| primary.address.clone());
            let moved = home.target.as_ref().map(address) != Some(address(target));
            if moved {
                *home = Home { number: home.number + 1, target: Some(target.clone()) };
            }
            moved
        });
    }

    /// Changes with each move; to be read before dialling what [`Self::moved_from`] is to end.
    pub fn number(&self) -> u64 {
        self.home.borrow().number
    }

    /// Waits until the process has moved to another Redis than it had at this number.
    pub fn moved_from(&self, number: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut home = self.home.subscribe();
        async move {
            // An error is the end of the store.
            let _ = home.wait_for(|home| home.number != number).await;
        }
    }

    fn target(&self) -> Result<Target> {
        let unknown = || StoreError::Unavailable("the Sentinels have not told of a primary yet".to_owned());
        self.home.borrow().target.clone().ok_or_else(unknown)
    }

    /// How to reach the Redis that was settled on.
    pub fn connection_info(&self) -> Result<ConnectionInfo> {
        Ok(self.target()?.client.get_connection_info().clone())
    }

    /// A connection of its own, within the connect timeout.
    pub async fn dial(&self) -> Result<MultiplexedConnection> {
        self.dial_patient(Duration::ZERO).await
    }

    /// The same for commands that wait for something as long as `wait`.
    pub async fn dial_patient(&self, wait: Duration) -> Result<MultiplexedConnection> {
        self.target()?.dial_patient(wait).await
    }

    /// A connection of its own on which commands and messages travel together (RESP3); `push` takes the messages.
    pub async fn dial_pushed(&self, push: impl redis::aio::AsyncPushSender) -> Result<MultiplexedConnection> {
        let info = self.target()?.client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let config = settings_of_a_connection().set_push_sender(push);
        Ok(timed(client.get_multiplexed_async_connection_with_config(&config)).await?)
    }

    /// A subscription, on a connection of its own.
    pub async fn subscriber(&self, channel: &str) -> Result<redis::aio::PubSub> {
        let client = self.target()?.client;
        let subscribing = async {
            let mut subscriber = client.get_async_pubsub().await?;
            subscriber.subscribe(channel).await?;
            Ok(subscriber)
        };
        Ok(timed(subscribing).await?)
    }
}

impl Target {
    /// A connection of its own, within the connect timeout.
    pub async fn dial(&self) -> Result<MultiplexedConnection> {
        self.dial_patient(Duration::ZERO).await
    }

    async fn dial_patient(&self, wait: Duration) -> Result<MultiplexedConnection> {
        let patient = settings_of_a_connection().set_response_timeout(Some(wait + RESPONSE_TIMEOUT));
        Ok(timed(self.client.get_multiplexed_async_connection_with_config(&patient)).await?)
    }
}

/// A client of this URL; `root_cert` is the CA, if it is one of our own.
fn client(url: &str, root_cert: Option<&Vec<u8>>) -> std::result::Result<Client, RedisError> {
    let info = url.into_connection_info()?;
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let info: ConnectionInfo = info.set_tcp_settings(tcp).set_redis_settings(settings);
    let Some(root_cert) = root_cert else { return Client::open(info) };
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(root_cert.clone()) };
    Client::build_with_tls(info, certificates)
}
