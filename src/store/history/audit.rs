//! The audit: who changed what, from where, with what outcome; a capped stream, whose ids tell when, on Redis's clock.
//!
//! What a change must not go without belongs into the script that makes it (`AuditRecord::append_to`); what has no
//! script of its own is written by [`Store::audit`]. A change that is made elsewhere, on a host, has two entries: one
//! that it was begun, written before, and one with the outcome, which names the first. Where the second is missing, the worker
//! died in between, or Redis was away: what came of it is not known.

use std::collections::HashMap;
use std::net::IpAddr;

use redis::streams::StreamRangeReply;
use serde_json::Value;

use crate::domain::Timestamp;
use crate::store::connection::clock::moment;
use crate::store::scripts::Call;
use crate::store::{Page, Result, SessionId, Store, StreamId, WorkerId};

/// How many entries the stream keeps, about.
pub(in crate::store) const KEPT: u32 = 10_000;

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// Who.
    pub username: String,
    /// In which session; in none at the setup, and past the workers.
    pub session: Option<SessionId>,
    /// From where; none past the workers.
    pub address: Option<IpAddr>,
    /// On which worker; none past the workers.
    pub worker: Option<WorkerId>,
    /// What was done: `settings.change`, `jail.activate` ...
    pub what: &'static str,
    /// To what: a server, a jail, an address; nothing for what there is one of.
    pub target: Option<String>,
    /// How it was before, as far as it was changed.
    pub before: Value,
    /// How it is after.
    pub after: Value,
    /// `done`, [`BEGUN`], or why not.
    pub outcome: String,
    /// The entry that told of its beginning.
    pub begun: Option<String>,
}

/// The outcome of what is only begun.
pub const BEGUN: &str = "begun";

impl AuditRecord {
    /// Fields of an entry.
    const FIELDS: usize = 10;
    /// How many arguments of a script an entry is: a name and a value for each field.
    pub(in crate::store) const ARGUMENTS: usize = 2 * Self::FIELDS;

    fn fields(&self) -> [(&'static str, String); Self::FIELDS] {
        let text = |value: Option<String>| value.unwrap_or_default();
        [
            ("user", self.username.clone()),
            ("session", text(self.session.as_ref().map(ToString::to_string))),
            ("address", text(self.address.map(|address| address.to_string()))),
            ("worker", text(self.worker.as_ref().map(|worker| worker.as_str().to_owned()))),
            ("begun", text(self.begun.clone())),
            ("what", self.what.to_owned()),
            ("target", self.target.clone().unwrap_or_default()),
            ("before", self.before.to_string()),
            ("after", self.after.to_string()),
            ("outcome", self.outcome.clone()),
        ]
    }

    /// Appends its fields to a script's arguments.
    pub(in crate::store) fn append_to(&self, call: Call) -> Call {
        self.fields().into_iter().fold(call, |call, (name, value)| call.arg(name).arg(value))
    }
}

/// An entry as it was read. A field that is not there, since another version wrote it, is empty.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// Its place in the stream.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub username: String,
    /// In which session.
    pub session: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// On which worker.
    pub worker: Option<String>,
    /// What was done.
    pub what: String,
    /// To what.
    pub target: Option<String>,
    /// How it was before.
    pub before: Value,
    /// How it is after.
    pub after: Value,
    /// `done`, [`BEGUN`], or why not.
    pub outcome: String,
    /// The entry that told of its beginning.
    pub begun: Option<String>,
}

impl AuditEntry {
    fn from_stored(id: String, mut fields: HashMap<String, redis::Value>) -> Self {
        let mut text = |name| -> String {
            fields.remove(name).and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        // What is no JSON is shown as it is.
        let json = |text: String| match serde_json::from_str(&text) {
            Err(_) if !text.is_empty() => Value::String(text),
            read => read.unwrap_or_default(),
        };
        let millis: i64 = id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or_default();
        Self {
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
}

impl Store {
    /// Writes an entry; its id.
    ///
    /// # Errors
    /// As [`crate::store::StoreError`] tells, here and below.
    pub async fn audit(&self, record: &AuditRecord) -> Result<String> {
        let mut command = redis::cmd("XADD");
        command.arg(self.keys.audit()).arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(&record.fields()[..]);
        self.shared.query("audit", &command).await
    }

    /// The entries before `cursor`, newest first.
    pub async fn audit_page(&self, cursor: Option<StreamId>, limit: usize) -> Result<Page<AuditEntry>> {
        let Some(newest) = cursor.map_or_else(|| Some("+".to_owned()), StreamId::last_below) else {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        };
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.keys.audit()).arg(newest);
        command.arg("-").arg("COUNT").arg(limit + 1);
        let StreamRangeReply { mut ids } = self.shared.query_apart("audit_page", &command).await?;
        let more = ids.len() > limit;
        ids.truncate(limit);
        let items: Vec<AuditEntry> =
            ids.into_iter().map(|entry| AuditEntry::from_stored(entry.id, entry.map)).collect();
        let next_cursor = items.last().filter(|_| more).map(|entry| entry.id.clone());
        Ok(Page { items, next_cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_another_version_lacks_what_it_lacks() {
        let entry = AuditEntry::from_stored("1700000000123-4".to_owned(), HashMap::new());
        assert_eq!(entry.at.timestamp_millis(), 1_700_000_000_123);
        assert_eq!((entry.what.as_str(), entry.target, entry.before), ("", None, Value::Null));
        let fields = HashMap::from([("after".to_owned(), redis::Value::BulkString(b"{torn".to_vec()))]);
        let entry = AuditEntry::from_stored("1700000000123-4".to_owned(), fields);
        assert_eq!(entry.after, Value::String("{torn".to_owned()));
    }
}
