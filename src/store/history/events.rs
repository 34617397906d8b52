//! The events: a capped stream, written in the same step as the change they report, read by every worker for its clients.
//!
//! ```text
//! XADD by scripts ─▶ stream ─▶ one blocking reader a worker ─▶ Feed (a bounded ring) ─▶ its clients
//!                       └──────────── XRANGE: a client that resumes, or was slower than the ring ───▶ it
//! ```
//!
//! The ids order everything: a client names the last id it has, at whichever worker, and gets what comes after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use redis::streams::{StreamId as Entry, StreamRangeReply, StreamReadReply};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::sleep;

use crate::domain::{ServerName, Timestamp};
use crate::store::connection::pool::Lent;
use crate::store::connection::request::Request;
use crate::store::{Result, Store, StreamId};

/// Events that a client may be behind before it has to read the stream for itself.
const RING: usize = 1_024;
/// How long one read waits for an event: the longer, the fewer commands an idle worker sends.
const WAIT: Duration = Duration::from_secs(10);
/// The most events in one read.
const BATCH_SIZE: usize = 200;

/// An event as it was read. A field that is not there, since another version wrote it, is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its place in the stream.
    pub id: StreamId,
    /// Its type: `server.went_offline` ...
    pub kind: String,
    /// The server it is about; `None` for an event of the cluster.
    pub server: Option<String>,
    /// Its details.
    pub facts: Value,
}

impl StoredEvent {
    fn from_stored(entry: Entry) -> Option<Self> {
        let Entry { id, map, .. } = entry;
        let mut map: HashMap<String, redis::Value> = map;
        let mut text = |name| -> Option<String> {
            map.remove(name).and_then(|value| redis::from_redis_value(value).ok())
        };
        Some(Self {
            id: StreamId::parse(&id)?,
            kind: text("type").unwrap_or_default(),
            server: text("server"),
            facts: text("facts").and_then(|facts| serde_json::from_str(&facts).ok()).unwrap_or_default(),
        })
    }
}

/// What a worker sends to its clients, in order.
#[derive(Debug, Clone)]
pub enum News {
    /// An event.
    Event(Arc<StoredEvent>),
    /// Events after this place may be missing: the stream was cut while Redis could not be read.
    Gap(StreamId),
}

/// A worker's events for its clients. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Feed(broadcast::Sender<News>);

impl Feed {
    /// A feed for [`Store::follow_events`] to fill.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(RING).0)
    }

    /// All news from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.0.subscribe()
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// The place of the newest event.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn newest_event(&self) -> Result<StreamId> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.keys.events()).arg("+").arg("-").arg("COUNT").arg(1);
        let StreamRangeReply { ids } = self.shared.query("newest_event", &command).await?;
        Ok(ids.first().and_then(|entry| StreamId::parse(&entry.id)).unwrap_or_default())
    }

    /// Whether the event at this place is still there: if not, others after it may be gone as well. The beginning, where
    /// there never was one, counts as there.
    pub async fn event_is_kept(&self, id: StreamId) -> Result<bool> {
        if id == StreamId::default() {
            return Ok(true);
        }
        let mut command = redis::cmd("XRANGE");
        command.arg(self.keys.events()).arg(id.to_string()).arg(id.to_string()).arg("COUNT").arg(1);
        let StreamRangeReply { ids } = self.shared.query("event_is_kept", &command).await?;
        Ok(!ids.is_empty())
    }

    /// The events after this place, the oldest first, and whether those are all.
    pub async fn events_after(&self, id: StreamId) -> Result<(Vec<StoredEvent>, bool)> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.keys.events()).arg(format!("({id}")).arg("+").arg("COUNT").arg(BATCH_SIZE);
        let StreamRangeReply { ids } = self.shared.query_apart("events_after", &command).await?;
        let all = ids.len() < BATCH_SIZE;
        Ok((ids.into_iter().filter_map(StoredEvent::from_stored).collect(), all))
    }

    /// The events before this place, the newest first, and whether there are older ones.
    pub async fn events_before(
        &self,
        cursor: Option<StreamId>,
        limit: usize,
    ) -> Result<(Vec<StoredEvent>, bool)> {
        let Some(newest) = cursor.map_or_else(|| Some("+".to_owned()), StreamId::last_below) else {
            return Ok((Vec::new(), false));
        };
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.keys.events()).arg(newest).arg("-").arg("COUNT").arg(limit);
        let StreamRangeReply { ids } = self.shared.query_apart("events_before", &command).await?;
        let more = ids.len() == limit;
        Ok((ids.into_iter().filter_map(StoredEvent::from_stored).collect(), more))
    }

    /// The events of a server since that time among the newest `limit` of all, the newest first.
    pub async fn latest_events_of(
        &self,
        server: &ServerName,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<StoredEvent>> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.keys.events()).arg("+").arg(since.timestamp_millis().max(0)).arg("COUNT").arg(limit);
        let StreamRangeReply { ids } = self.shared.query_apart("latest_events_of", &command).await?;
        let is_its = |entry: &Entry| match entry.map.get("server") {
            Some(redis::Value::BulkString(name)) => name == server.as_str().as_bytes(),
            _ => false,
        };
        Ok(ids.into_iter().filter(is_its).filter_map(StoredEvent::from_stored).collect())
    }

    /// Reads events into `feed` on a dedicated connection. Never returns.
    pub async fn follow_events(&self, feed: &Feed) {
        let mut at = None;
        loop {
            self.connected().await;
            let Err(error) = self.read_events(feed, &mut at).await;
            tracing::debug!(error = %error, "failed to read events: retrying");
            let wait = rand::rng().random_range(100..300);
            sleep(Duration::from_millis(wait)).await;
        }
    }

    /// Returns only with the error that ended it. `at` is the place of the last event read; none before the first connection.
    async fn read_events(&self, feed: &Feed, at: &mut Option<StreamId>) -> Result<std::convert::Infallible> {
        let dialer = &self.shared.dialer;
        let mut moved = std::pin::pin!(dialer.moved_from(dialer.number()));
        let mut place = match *at {
            None => self.newest_event().await?,
            // The event at that place may be gone, or Redis may have lost data and its ids are older now.
            Some(before) if !self.event_is_kept(before).await? => {
                // An error only means that nobody is subscribed.
                let _ = feed.0.send(News::Gap(before));
                before.min(self.newest_event().await?)
            }
            Some(before) => before,
        };
        *at = Some(place);
        let mut lent = self.shared.pool.lend(dialer, WAIT).await?;
        loop {
            let read = tokio::select! {
                () = &mut moved => return Err(crate::store::StoreError::unavailable("this worker has moved to another one".to_owned())),
                // Do not keep waiting on a connection that may have lost bytes.
                () = self.outage() => return Err(crate::store::StoreError::unavailable("the connection to it was lost".to_owned())),
                read = self.read_some(&mut lent, place) => read?,
            };
            for event in read {
                place = event.id;
                *at = Some(place);
                let _ = feed.0.send(News::Event(Arc::new(event)));
            }
        }
    }

    async fn read_some(&self, lent: &mut Lent, after: StreamId) -> Result<Vec<StoredEvent>> {
        let mut command = redis::cmd("XREAD");
        command.arg("BLOCK").arg(crate::store::connection::clock::millis(WAIT)).arg("COUNT").arg(BATCH_SIZE);
        command.arg("STREAMS").arg(self.keys.events()).arg(after.to_string());
        let read: Option<StreamReadReply> = lent.send(Request::Command(&command)).await?;
        let entries = read.into_iter().flat_map(|read| read.keys).flat_map(|stream| stream.ids);
        Ok(entries.filter_map(StoredEvent::from_stored).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_another_version_lacks_what_it_lacks() {
        let entry = Entry { id: "1700000000123-4".to_owned(), ..Entry::default() };
        let event = StoredEvent::from_stored(entry).unwrap();
        assert_eq!(event.id.at().timestamp_millis(), 1_700_000_000_123);
        assert_eq!((event.kind.as_str(), event.server, event.facts), ("", None, Value::Null));
    }
}
