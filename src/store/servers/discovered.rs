//! The discovered servers: one document with a revision, written by the leader, read by every worker.
//!
//! A worker learns of a change at once by a message on the wake channel; and, since messages get lost, it also reads the document
//! every `POLL_INTERVAL`. A worker whose configuration discovers nothing does neither.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rmpv::Value;
use tokio::time::timeout;

use crate::domain::discovery::Reconciled;
use crate::domain::{Discoveries, JailName, ServerName, Timestamp};
use crate::store::connection::clock::{moment, time_micros};
use crate::store::history::stream::EVENTS_KEPT;
use crate::store::{Fence, Result, Store, StoreError, Wake, scripts};

/// How often a worker reads the document when no message wakes it.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The servers as they were read.
#[derive(Debug, Clone, Default)]
pub struct StoredDiscoveries {
    /// By name.
    pub servers: Arc<Discoveries>,
    /// Entries that this version cannot read, by their keys: they are kept as they are, and do not affect the others.
    pub unread: Arc<BTreeMap<String, Value>>,
    /// Counts writes; 0 before the first.
    pub revision: u64,
    /// Redis's clock at the read.
    pub read_at: Timestamp,
}

impl Store {
    /// The discovered servers.
    ///
    /// # Errors
    /// See [`StoreError`], here and below.
    pub async fn discoveries(&self) -> Result<StoredDiscoveries> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(self.keys.discovered()).arg("revision").arg("servers").cmd("TIME");
        type Answer = ((Option<u64>, Option<Vec<u8>>), (i64, i64));
        let ((revision, servers), time): Answer = self.shared.pipeline("discoveries", &pipeline).await?;
        let decoded = |bytes: &[u8]| {
            let (servers, unread) = decode(bytes)?;
            Ok((Arc::new(servers), Arc::new(unread)))
        };
        let entries = servers.map(|bytes| self.discovered.read(&(), bytes, decoded)).transpose()?;
        let (servers, unread) = entries.unwrap_or_default();
        let read_at = moment(time_micros(time));
        Ok(StoredDiscoveries { servers, unread, revision: revision.unwrap_or_default(), read_at })
    }

    /// Writes the outcome of a discovery, if `fence` still holds the lease and nobody wrote since `read`; returns the new revision.
    /// Deletes the state of servers that are gone for good, and the lists of the jails in `jails`.
    pub async fn write_discoveries(
        &self,
        fence: &Fence,
        read: &StoredDiscoveries,
        reconciled: &Reconciled,
        jails: &[(ServerName, JailName)],
    ) -> Result<u64> {
        let keys = &self.keys;
        let call =
            scripts::DISCOVERED_WRITE.call().key(keys.lease()).key(keys.discovered()).key(keys.events());
        let forgotten = reconciled.forgotten.iter();
        let call = forgotten.fold(call, |call, name| call.key(keys.server(name)).key(keys.hours(name)));
        let call = jails.iter().fold(call, |call, (server, jail)| {
            call.key(keys.bans(server, jail)).key(keys.bans_known(server, jail))
        });
        let call = call
            .arg(fence.as_str())
            .arg(read.revision)
            .arg(encode(&reconciled.servers, &read.unread)?)
            .arg(keys.wake())
            .arg(EVENTS_KEPT);
        let call = reconciled.events.iter().fold(call, |call, (server, event)| {
            call.arg(server.as_str()).arg(event.kind()).arg(event.facts().to_string())
        });
        self.shared.call(&call).await
    }

    /// Passes the discovered servers to `apply` whenever they change. Never returns. While Redis is unavailable the last ones are kept.
    pub async fn follow_discoveries(&self, apply: impl Fn(&Discoveries)) {
        let mut applied = None;
        loop {
            match self.discoveries().await {
                // Compared by value: a Redis that lost its last writes may assign the same revision again.
                Ok(stored) if applied.as_ref() == Some(&stored.servers) => {}
                Ok(stored) => {
                    for name in stored.unread.keys() {
                        tracing::error!(server.name = %name, "failed to decode a discovered server: ignoring it");
                    }
                    apply(&stored.servers);
                    applied = Some(stored.servers);
                }
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(error = %error, "failed to decode the discovered servers: keeping the previous ones");
                }
                Err(error) => {
                    tracing::debug!(error = %error, "failed to read the discovered servers: retrying")
                }
            }
            let _ = timeout(POLL_INTERVAL, self.woken(Wake::ServersChanged)).await;
        }
    }
}

/// Reads each entry by itself: one that a newer version wrote in another form does not affect the others.
fn decode(bytes: &[u8]) -> Result<(Discoveries, BTreeMap<String, Value>)> {
    let entries: BTreeMap<String, Value> = rmp_serde::from_slice(bytes)?;
    let (mut servers, mut unread) = (Discoveries::new(), BTreeMap::new());
    for (key, value) in entries {
        let read = rmp_serde::to_vec_named(&value).ok().and_then(|bytes| rmp_serde::from_slice(&bytes).ok());
        match (ServerName::parse(&key), read) {
            (Ok(name), Some(server)) => drop(servers.insert(name, server)),
            _ => drop(unread.insert(key, value)),
        }
    }
    Ok((servers, unread))
}

/// Writes the servers, along with the entries that could not be read. A server that was found again replaces its unread entry.
fn encode(servers: &Discoveries, unread: &BTreeMap<String, Value>) -> Result<Vec<u8>> {
    let mut entries = unread.clone();
    for (name, server) in servers {
        let value = rmp_serde::from_slice(&rmp_serde::to_vec_named(server)?)?;
        entries.insert(name.to_string(), value);
    }
    Ok(rmp_serde::to_vec_named(&entries)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_that_cannot_be_read_hides_no_other_and_is_kept_through_a_rewrite() {
        let entry =
            json!({ "group": "nodes", "address": "127.0.0.2:9000", "tls": true, "missing_since": null });
        let newer = json!({ "group": "nodes", "address": { "vsock": [3, 9000] } });
        let stored = json!({ "node-1": entry, "node-2": newer, "no name": entry });
        let (servers, unread) = decode(&rmp_serde::to_vec_named(&stored).unwrap()).unwrap();
        assert_eq!(servers.keys().map(ServerName::as_str).collect::<Vec<_>>(), ["node-1"]);
        assert_eq!(unread.keys().collect::<Vec<_>>(), ["no name", "node-2"]);
        let again: serde_json::Value = rmp_serde::from_slice(&encode(&servers, &unread).unwrap()).unwrap();
        assert_eq!((&again["node-2"], &again["no name"]), (&newer, &entry));
        assert_eq!(again["node-1"]["address"], "127.0.0.2:9000");
        // Found by this version now.
        let found = Discoveries::from([(
            ServerName::parse("node-2").unwrap(),
            servers.values().next().unwrap().clone(),
        )]);
        let again: serde_json::Value = rmp_serde::from_slice(&encode(&found, &unread).unwrap()).unwrap();
        assert_eq!(again["node-2"]["address"], "127.0.0.2:9000");
    }
}
