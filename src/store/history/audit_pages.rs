//! The audit as it is read: the trails together, page by page, the newest entries first.
//!
//! Each stream assigns its own ids, so entries of two trails may have the same one: they are in the order of [`Trail::ALL`], and
//! an [`AuditCursor`] has the trail of the last entry that was shown besides its id.

use std::collections::HashMap;
use std::fmt;

use redis::streams::{StreamId as Stored, StreamRangeReply};
use serde_json::Value;

use super::trail::Trail;
use crate::domain::Timestamp;
use crate::store::connection::clock::moment;
use crate::store::{Page, Result, Store, StreamId};

/// An entry as it was read. A field that is not there, since another version wrote it, is empty.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// Its place in its trail.
    pub id: String,
    /// The trail it is in.
    pub trail: Trail,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub username: String,
    /// In which session.
    pub session: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// On which worker.
    pub worker: Option<String>,
    /// What was done.
    pub what: String,
    /// What it was done to.
    pub target: Option<String>,
    /// The values before.
    pub before: Value,
    /// The values after.
    pub after: Value,
    /// `done`, [`super::audit::BEGUN`], or why not.
    pub outcome: String,
    /// The entry of its beginning, in the same trail.
    pub begun: Option<String>,
}

impl AuditEntry {
    fn from_stored(trail: Trail, id: String, mut fields: HashMap<String, redis::Value>) -> Self {
        let mut text = |name| -> String {
            fields.remove(name).and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        // What is not JSON is shown as it is.
        let json = |text: String| match serde_json::from_str(&text) {
            Err(_) if !text.is_empty() => Value::String(text),
            read => read.unwrap_or_default(),
        };
        let millis: i64 = id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or_default();
        Self {
            trail,
            at: moment(millis.saturating_mul(1000)),
            username: text("user"),
            session: some(text("session")),
            address: some(text("address")),
            worker: some(text("worker")),
            begun: some(text("begun")),
            what: text("what"),
            target: some(text("target")),
            before: json(text("before")),
            after: json(text("after")),
            outcome: text("outcome"),
            id,
        }
    }

    /// Its place among the entries of all trails, the newest first.
    fn place(&self) -> (std::cmp::Reverse<StreamId>, usize) {
        (std::cmp::Reverse(StreamId::parse(&self.id).unwrap_or_default()), rank(self.trail))
    }
}

fn rank(trail: Trail) -> usize {
    Trail::ALL.iter().position(|other| *other == trail).unwrap_or_default()
}

/// Where a page ended: at the entry with this id, of the trail with this rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor {
    id: StreamId,
    rank: usize,
}

impl AuditCursor {
    /// Reads a [`Page::next_cursor`]. Those of version 0.2 were an id alone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let last = Trail::ALL.len() - 1;
        match text.rsplit_once('.') {
            Some((id, rank)) => {
                let rank = rank.parse().ok().filter(|rank| *rank <= last)?;
                Some(Self { id: StreamId::parse(id)?, rank })
            }
            None => StreamId::parse(text).map(Self::below),
        }
    }

    /// The place before every entry with this id.
    #[must_use]
    pub fn below(id: StreamId) -> Self {
        Self { id, rank: Trail::ALL.len() - 1 }
    }

    /// The id of the entry.
    #[must_use]
    pub fn id(self) -> StreamId {
        self.id
    }

    /// The greatest id of this trail that comes after it; none if none can.
    fn newest_of(self, trail: Trail) -> Option<String> {
        if rank(trail) > self.rank { Some(self.id.to_string()) } else { self.id.last_below() }
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.rank)
    }
}

impl Store {
    /// The entries after `cursor`, newest first.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn audit_page(&self, cursor: Option<AuditCursor>, limit: usize) -> Result<Page<AuditEntry>> {
        let newest = |trail| cursor.map_or_else(|| Some("+".to_owned()), |cursor| cursor.newest_of(trail));
        let trails: Vec<(Trail, String)> =
            Trail::ALL.into_iter().filter_map(|trail| Some((trail, newest(trail)?))).collect();
        let mut pipeline = redis::pipe();
        for (trail, newest) in &trails {
            pipeline.cmd("XREVRANGE").arg(self.keys.audit(*trail)).arg(newest);
            pipeline.arg("-").arg("COUNT").arg(limit + 1);
        }
        if trails.is_empty() {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        }
        let read: Vec<StreamRangeReply> = self.shared.pipeline_apart("audit_page", &pipeline).await?;
        let entries = trails.iter().zip(read).flat_map(|((trail, _), StreamRangeReply { ids })| {
            ids.into_iter().map(|Stored { id, map, .. }| AuditEntry::from_stored(*trail, id, map))
        });
        let mut items: Vec<AuditEntry> = entries.collect();
        items.sort_by_key(AuditEntry::place);
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.and_then(|entry| {
            let cursor = AuditCursor { id: StreamId::parse(&entry.id)?, rank: rank(entry.trail) };
            Some(cursor.to_string())
        });
        Ok(Page { items, next_cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_another_version_lacks_what_it_lacks() {
        let entry = AuditEntry::from_stored(Trail::Earlier, "1700000000123-4".to_owned(), HashMap::new());
        assert_eq!(entry.at.timestamp_millis(), 1_700_000_000_123);
        assert_eq!((entry.what.as_str(), entry.target, entry.before), ("", None, Value::Null));
        let fields = HashMap::from([("after".to_owned(), redis::Value::BulkString(b"{torn".to_vec()))]);
        let entry = AuditEntry::from_stored(Trail::Earlier, "1700000000123-4".to_owned(), fields);
        assert_eq!(entry.after, Value::String("{torn".to_owned()));
    }

    #[test]
    fn a_cursor_leaves_out_no_entry_that_has_the_same_id_in_another_trail() {
        let cursor = AuditCursor::parse("7-3.1").unwrap();
        assert_eq!(cursor.to_string(), "7-3.1");
        let newest: Vec<_> = Trail::ALL.iter().map(|trail| cursor.newest_of(*trail).unwrap()).collect();
        assert_eq!(newest, ["7-2", "7-2", "7-3", "7-3"]);
        // One of version 0.2, which knew no trails.
        let earlier = AuditCursor::parse("7-3").unwrap();
        assert!(Trail::ALL.iter().all(|trail| earlier.newest_of(*trail).as_deref() == Some("7-2")));
        for wrong in ["", "7", "7-3.4", "7-3.", "7-3.-1", "7-3.1.1", "x"] {
            assert_eq!(AuditCursor::parse(wrong), None, "{wrong}");
        }
    }
}
