//! Who says which Redis is the primary, where there may be several that call themselves so: Sentinels, or the masters of a
//! Redis Cluster.
//!
//! | | Sentinels (`sentinel.rs`) | Redis Cluster (`redis_cluster.rs`) |
//! |---|---|---|
//! | primary | the one of a name | the owner of the slot that all keys lie in |
//! | named by | a majority of those in the URL | masters, by the rule of `slot_owner.rs` |
//!
//! Both raise a configuration epoch with each change, so one that was restored from an old disk is known by a lower one
//! ([`Primary::supersedes`]).

use redis::{Client, RedisError};

use super::connect::client;
use super::redis_cluster::RedisCluster;
use super::sentinel::Sentinels;
use crate::config::{ClusterUrl, SentinelUrl};
use crate::store::StoreError;

/// What names the primary.
pub(in crate::store) enum Authority {
    /// Sentinels.
    Sentinels(Sentinels),
    /// The masters of a Redis Cluster.
    Cluster(RedisCluster),
}

/// The primary that was named.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Primary {
    /// What it is known by.
    pub id: String,
    /// `host:port`
    pub address: String,
    /// The greatest configuration epoch of those that name it.
    pub epoch: u64,
    /// What is the matter with those that did not answer.
    pub silent: Vec<String>,
    /// Who named it, in messages: `the Sentinels`.
    pub by: &'static str,
}

/// A primary of a lower configuration epoch than the one in use was named.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct OlderConfiguration;

impl Primary {
    /// Whether this is another one than `settled`, which it replaces.
    pub fn supersedes(&self, settled: &Self) -> std::result::Result<bool, OlderConfiguration> {
        match self.id == settled.id {
            true => Ok(false),
            false if self.epoch < settled.epoch => Err(OlderConfiguration),
            false => Ok(true),
        }
    }
}

impl Authority {
    /// That of this URL, if it has one.
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

    /// The name of the part that asks it again and again.
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
                "no majority of the Sentinels has named{address} as the primary within the last 2 s: it may have been replaced"
            ),
            Self::Cluster(_) => format!(
                "too few masters of the cluster have named{address} as the owner of the slot within the last 2 s: it may have \
                 been replaced"
            ),
        }
    }
}

/// An error in words.
pub(super) fn plain(error: RedisError) -> String {
    match StoreError::from(error) {
        StoreError::Unavailable { reason, .. } => reason,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(address: &str, epoch: u64) -> Primary {
        Primary { id: address.to_owned(), address: address.to_owned(), epoch, silent: Vec::new(), by: "they" }
    }

    #[test]
    fn no_primary_of_a_lower_configuration_epoch_supersedes_the_one_in_use() {
        let settled = primary("new:1", 7);
        assert_eq!(primary("old:1", 6).supersedes(&settled), Err(OlderConfiguration));
        assert_eq!(primary("other:1", 8).supersedes(&settled), Ok(true));
        assert_eq!(
            primary("other:1", 7).supersedes(&settled),
            Ok(true),
            "an operator gave it another address"
        );
        assert_eq!(primary("new:1", 0).supersedes(&settled), Ok(false), "Sentinels that were set up again");
    }
}
