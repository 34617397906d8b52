//! The discovered servers: one document with a revision, written by the scheduler, read by every worker.
//!
//! How a worker hears of a change: a message on the wake channel, at once; and, since messages get lost, a look every
//! `LOOK_EVERY`. A worker whose configuration discovers nothing does neither.

use std::time::Duration;

use tokio::time::timeout;

use crate::domain::discovery::Reconciled;
use crate::domain::{Discoveries, JailName, ServerName, Timestamp};
use crate::store::connection::clock::{moment, time_micros};
use crate::store::history::stream::EVENTS_KEPT;
use crate::store::{Fence, Result, Store, StoreError, Wake, scripts};

/// How often a worker looks when no message wakes it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The servers as they were read.
#[derive(Debug, Clone, Default)]
pub struct StoredDiscoveries {
    /// By name.
    pub servers: Discoveries,
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
        let servers = servers.map(|bytes| rmp_serde::from_slice(&bytes)).transpose()?.unwrap_or_default();
        let read_at = moment(time_micros(time));
        Ok(StoredDiscoveries { servers, revision: revision.unwrap_or_default(), read_at })
    }

    /// Writes what a look led to, if `fence` still holds the lease and nobody wrote since `read`; the new revision.
    /// Of servers that are gone for good the state goes, and the lists of the jails in `jails`.
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
            .arg(rmp_serde::to_vec_named(&reconciled.servers)?)
            .arg(keys.wake())
            .arg(EVENTS_KEPT);
        let call = reconciled.events.iter().fold(call, |call, (server, event)| {
            call.arg(server.as_str()).arg(event.kind()).arg(event.facts().to_string())
        });
        self.shared.call(&call).await
    }

    /// Hands over the discovered servers whenever they change. Never returns. While Redis is away the last ones are kept.
    pub async fn follow_discoveries(&self, apply: impl Fn(&Discoveries)) {
        let mut applied = None;
        loop {
            match self.discoveries().await {
                // By value: a Redis that lost its last writes counts the same revisions once more.
                Ok(stored) if applied.as_ref() == Some(&stored.servers) => {}
                Ok(stored) => {
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
            let _ = timeout(LOOK_EVERY, self.woken(Wake::ServersChanged)).await;
        }
    }
}
