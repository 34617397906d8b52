//! A primary that Sentinels or the masters of a Redis Cluster have named.

use redis::RedisError;

use crate::store::StoreError;

/// The primary that was named.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Primary {
    /// Identifies it: the address, or the id of the node on a Redis Cluster.
    pub id: String,
    /// `host:port`
    pub address: String,
    /// The greatest configuration epoch of those that name it.
    pub epoch: u64,
    /// Those that did not answer, each with the reason.
    pub silent: Vec<String>,
    /// Who named it, in messages: `the Sentinels`.
    pub by: &'static str,
}

/// A primary of a lower configuration epoch than the one in use was named.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct OlderConfiguration;

impl Primary {
    /// Whether this is another one than `settled`, which it replaces.
    pub fn supersedes(&self, settled: &Self) -> Result<bool, OlderConfiguration> {
        match self.id == settled.id {
            true => Ok(false),
            false if self.epoch < settled.epoch => Err(OlderConfiguration),
            false => Ok(true),
        }
    }
}

/// The text of an error, without "Redis is unavailable".
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
