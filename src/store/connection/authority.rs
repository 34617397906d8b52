//! Who says which Redis is the primary, where there may be several that call themselves so: Sentinels, or the masters of a
//! Redis Cluster.
//!
//! | | Sentinels (`sentinel.rs`) | Redis Cluster (`redis_cluster.rs`) |
//! |---|---|---|
//! | primary | the one of a name | the owner of the slot that all keys lie in |
//! | named by | a majority of those in the URL | masters, by the rule of `slot_owner.rs` |
//!
//! Both raise a configuration epoch with each change, so an authority that was restored from an old disk is recognized by a lower
//! one ([`Primary::supersedes`]).

use redis::{Client, RedisError};

use super::connect::client;
use super::named::Primary;
use super::redis_cluster::RedisCluster;
use super::sentinel::Sentinels;
use crate::config::{ClusterUrl, SentinelUrl};

/// What names the primary.
pub(in crate::store) enum Authority {
    /// Sentinels.
    Sentinels(Sentinels),
    /// The masters of a Redis Cluster.
    Cluster(RedisCluster),
}

impl Authority {
    /// The authority of this URL, if it has one.
    pub fn of(url: &str, slot: u16, root_cert: Option<&Vec<u8>>) -> anyhow::Result<Option<Self>> {
        if let Some(sentinels) = SentinelUrl::parse(url) {
            let sentinels = sentinels.map_err(anyhow::Error::msg)?;
            let client = |url: &str| -> std::result::Result<Client, RedisError> { client(url, root_cert) };
            return Ok(Some(Self::Sentinels(Sentinels::new(sentinels, client)?)));
        }
        let Some(cluster) = ClusterUrl::parse(url) else { return Ok(None) };
        let cluster = cluster.map_err(anyhow::Error::msg)?;
        Ok(Some(Self::Cluster(RedisCluster::new(cluster, slot, root_cert.cloned()))))
    }

    /// Asks; an error says why none is named. `settled` is the one in use.
    pub async fn primary(&self, settled: Option<&Primary>) -> std::result::Result<Primary, String> {
        match self {
            Self::Sentinels(sentinels) => sentinels.primary().await,
            Self::Cluster(cluster) => cluster.owner(settled).await,
        }
    }

    /// The URL of the primary.
    pub fn url_of(&self, primary: &Primary) -> String {
        match self {
            Self::Sentinels(sentinels) => sentinels.url_of(primary),
            Self::Cluster(cluster) => cluster.url_of(primary),
        }
    }

    /// The name of the worker's part that asks it again and again.
    pub fn part(&self) -> &'static str {
        match self {
            Self::Sentinels(_) => "sentinels",
            Self::Cluster(_) => "cluster-masters",
        }
    }

    /// Why nothing is answered from the primary: it has not been named lately.
    pub fn untrusted(&self, address: &str) -> String {
        match self {
            Self::Sentinels(_) => format!(
                "no majority of the Sentinels has named{address} as the primary within the last 1.75 s: it may have been replaced"
            ),
            Self::Cluster(_) => format!(
                "too few masters of the Redis Cluster have named{address} as the owner of the slot within the last 1.75 s: \
                 it may have been replaced"
            ),
        }
    }
}
