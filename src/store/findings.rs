//! What the diagnosis needs from Redis: since when each finding has been seen, how Redis itself is, which names discovery found
//! twice, how often logins were refused.

use std::collections::HashMap;

use super::connection::checks::parse_info;
use super::connection::clock::moment;
use super::{Fence, Result, Store, scripts};
use crate::domain::discovery::Conflict;
use crate::domain::findings::redis::RedisFacts;
use crate::domain::findings::seen::{Changes, FindingTimes, Notes};

/// The most findings that are recorded; any others are shown as new each time.
const MAX_NOTES: usize = 5_000;
/// The most conflicts that are stored.
const MAX_CONFLICTS: usize = 100;
/// How long the count of an hour is kept, in seconds: until the hour after it has ended.
const COUNT_KEPT: i64 = 3 * 3_600;
const MICROS_PER_HOUR: i64 = 3_600_000_000;

impl Store {
    /// Which findings were seen, by anybody, and when.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn finding_notes(&self) -> Result<Notes> {
        let command = redis::cmd("HGETALL").arg(self.keys.findings()).to_owned();
        let notes: Vec<(String, String)> = self.shared.query_apart("finding_notes", &command).await?;
        // A note that a newer version wrote in another form is ignored: the finding counts as new.
        Ok(notes.into_iter().filter_map(|(id, note)| Some((id, read_note(&note)?))).collect())
    }

    /// Records which findings are new, and which are gone, since they were last looked for.
    pub async fn note_findings(&self, changes: &Changes) -> Result<()> {
        let gone = changes.gone.iter().map(|(id, seen)| (id.as_str(), write_note(seen)));
        self.write_notes("", &changes.there, gone).await
    }

    /// Records which findings a probe has found and which are gone, if `fence` still holds the lease.
    pub async fn note_probed_findings(&self, fence: &Fence, there: &[String], gone: &[String]) -> Result<()> {
        let gone = gone.iter().map(|id| (id.as_str(), String::new()));
        self.write_notes(fence.as_str(), there, gone).await
    }

    async fn write_notes<'a>(
        &self,
        fence: &str,
        there: &[String],
        gone: impl Iterator<Item = (&'a str, String)>,
    ) -> Result<()> {
        let call = scripts::FINDINGS_NOTE.call().key(self.keys.findings()).key(self.keys.lease());
        let there = &there[..there.len().min(MAX_NOTES)];
        let call =
            there.iter().fold(call.arg(fence).arg(MAX_NOTES).arg(there.len()), |call, id| call.arg(id));
        let call = gone.take(MAX_NOTES).fold(call, |call, (id, note)| call.arg(id).arg(note));
        let _: u64 = self.shared.call_apart(&call).await?;
        Ok(())
    }

    /// How Redis is.
    pub async fn redis_facts(&self) -> Result<RedisFacts> {
        let info: String = self.shared.query("redis_facts", &redis::cmd("INFO")).await?;
        let info = parse_info(&info);
        let number = |name: &str| info.get(name).and_then(|text| text.parse().ok()).unwrap_or_default();
        let append_only = info.get("aof_enabled").map(|on| *on == "1");
        let in_step = info.iter().filter(|(name, replica)| {
            name.strip_prefix("slave").is_some_and(|n| n.parse::<u32>().is_ok())
                && replica.contains("state=online")
        });
        Ok(RedisFacts {
            append_only,
            snapshots: if append_only == Some(false) { self.snapshots().await } else { None },
            eviction_policy: info.get("maxmemory_policy").map(|policy| (*policy).to_owned()),
            used_memory: number("used_memory"),
            max_memory: number("maxmemory"),
            named: self.shared.dialer.named_by(),
            replicas: in_step.count() as u64,
            min_replicas: self.shared.min_replicas().into(),
        })
    }

    /// Whether snapshots are on; none where `CONFIG` is not allowed.
    async fn snapshots(&self) -> Option<bool> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("save");
        let answer: HashMap<String, String> = self.shared.query("redis_snapshots", &command).await.ok()?;
        answer.get("save").map(|save| !save.is_empty())
    }

    /// Names that discovery found twice, each with a description of the conflict.
    pub async fn discovery_conflicts(&self) -> Result<Vec<(String, String)>> {
        let command = redis::cmd("HGET").arg(self.keys.discovered()).arg("conflicts").to_owned();
        let conflicts: Option<Vec<u8>> = self.shared.query("discovery_conflicts", &command).await?;
        Ok(conflicts.map(|bytes| rmp_serde::from_slice(&bytes)).transpose()?.unwrap_or_default())
    }

    /// Writes them, if `fence` still holds the lease.
    pub async fn write_conflicts(&self, fence: &Fence, conflicts: &[Conflict]) -> Result<()> {
        let conflicts = conflicts.iter().take(MAX_CONFLICTS);
        let named: Vec<(String, String)> =
            conflicts.map(|conflict| (conflict.name.to_string(), conflict.to_string())).collect();
        let call = scripts::CONFLICTS_WRITE.call().key(self.keys.lease()).key(self.keys.discovered());
        self.shared.call(&call.arg(fence.as_str()).arg(rmp_serde::to_vec_named(&named)?)).await
    }

    /// Counts an attempt at a password that a limit refused.
    pub async fn count_refused_login(&self) -> Result<()> {
        let key = self.keys.refused_logins(self.hour());
        let mut pipeline = redis::pipe();
        pipeline.cmd("INCR").arg(&key).ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(COUNT_KEPT).ignore();
        self.shared.pipeline("login_refused", &pipeline).await
    }

    /// How many were refused in this hour and the one before.
    pub async fn refused_logins(&self) -> Result<u64> {
        let hour = self.hour();
        let mut command = redis::cmd("MGET");
        command.arg(self.keys.refused_logins(hour)).arg(self.keys.refused_logins(hour - 1));
        let counts: Vec<Option<u64>> = self.shared.query("refused_logins", &command).await?;
        Ok(counts.into_iter().flatten().sum())
    }

    /// The hour on Redis's clock, about: a refusal at its very edge may count to the next.
    fn hour(&self) -> i64 {
        self.shared.clock.now_micros() / MICROS_PER_HOUR
    }
}

fn read_note(note: &str) -> Option<FindingTimes> {
    let (first, last) = note.split_once(':')?;
    Some(FindingTimes { first: moment(first.parse().ok()?), last: moment(last.parse().ok()?) })
}

fn write_note(seen: &FindingTimes) -> String {
    format!("{}:{}", seen.first.timestamp_micros(), seen.last.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_written_as_it_was_read() {
        for note in ["1700000000000001:1700000000000002", "0:0"] {
            assert_eq!(write_note(&read_note(note).unwrap()), note);
        }
        assert_eq!(read_note("soon"), None);
    }
}
