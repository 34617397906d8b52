//! Whether a trail of the audit is whole: every entry continues the hash of the one before (`scripts/shared/audit.lua`).
//!
//! So an entry that was removed, changed, moved or inserted is noticed. So is the loss of the newest ones, since the record
//! beside the stream knows how many there ever were.
//!
//! What the chain alone cannot detect: somebody who may write to Redis may take away its newest entries and set the record back,
//! take away its oldest and set the record on, or compute all of it again. Each entry's digest is in the log of the worker that
//! wrote it, and the newest entry is printed as a [`TrailMark`]: either of these, kept elsewhere, exposes a forgery.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::audit::digest;
use super::mark::{Ends, TrailMark};
use super::trail::Trail;
use crate::store::{Result, Store, hex};

/// The most entries in one read.
const PAGE: usize = 500;
/// How many times a trail is read, at most: it is read again when it was trimmed under the reader.
const TRIES: usize = 5;

/// The record beside a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Record {
    number: u64,
    hash: [u8; 32],
    trimmed: u64,
    trimmed_hash: [u8; 32],
}

/// An entry as it is stored.
struct Entry {
    id: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A trail that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeTrail {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the newest; how many there ever were.
    pub number: u64,
    /// Its hash.
    pub hash: String,
    /// When it was written, in seconds since 1970; none without entries.
    pub at: Option<i64>,
}

/// What is wrong with a trail, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenTrail {
    /// Entries are missing where there were some.
    #[error("missing entries: {count}, before entry {before} ({id})")]
    Missing {
        /// How many.
        count: u64,
        /// The number of the next one that is there.
        before: u64,
        /// Its id.
        id: String,
    },
    /// An entry does not continue the one before.
    #[error("entry {number} ({id}) was changed, or does not follow from the entry before it")]
    Changed {
        /// Its number.
        number: u64,
        /// Its id.
        id: String,
    },
    /// An entry that was not written by bangui.
    #[error("entry {id} has no number or hash, or repeats an earlier one: it was inserted")]
    Foreign {
        /// Its id.
        id: String,
    },
    /// The newest ones are gone.
    #[error("missing entries: {count}, the newest ones, up to entry {number}")]
    NewestMissing {
        /// How many.
        count: u64,
        /// How many there ever were.
        number: u64,
    },
    /// An entry that an earlier run has seen is not there.
    #[error("entry {number} of the earlier run is missing: the newest is number {newest}")]
    SeenMissing {
        /// Its number.
        number: u64,
        /// The number of the newest.
        newest: u64,
    },
    /// Another entry has its number.
    #[error("entry {number} is not the one of the earlier run")]
    SeenChanged {
        /// Its number.
        number: u64,
    },
    /// An entry that an earlier run has seen was trimmed before its time.
    #[error(
        "entry {number} of the earlier run was removed before it was too old (BANGUI_AUDIT_DAYS) and before the trail was full"
    )]
    SeenRemoved {
        /// Its number.
        number: u64,
    },
    /// There is an account, but no entry about its creation.
    #[error("there is an account, and no entry about it: the trail was removed")]
    Emptied,
    /// The record beside the stream is not the one that belongs to it.
    #[error("the record of the chain is missing or was changed")]
    Record,
}

/// Follows a chain from its anchor on.
struct Walk {
    record: Record,
    /// What an earlier run has seen of this trail.
    marks: Vec<TrailMark>,
    number: u64,
    hash: [u8; 32],
    entries: u64,
    bytes: u64,
    /// When the first and the last entry so far were written, in ms since 1970.
    times: Option<(i64, i64)>,
    newest_seen: bool,
}

impl Walk {
    fn from(record: Record, marks: Vec<TrailMark>) -> Self {
        // The newest entry of a trail is never trimmed.
        let newest_seen = record.number == 0 && record.trimmed == 0;
        let (number, hash) = (record.trimmed, record.trimmed_hash);
        Self { number, hash, record, marks, entries: 0, bytes: 0, times: None, newest_seen }
    }

    fn step(&mut self, Entry { id, fields }: Entry) -> std::result::Result<(), BrokenTrail> {
        let own = |name: &[u8]| matches!(name, b"number" | b"at" | b"hash");
        let value =
            |wanted: &[u8]| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| &value[..]);
        let text = |name: &[u8]| std::str::from_utf8(value(name)?).ok();
        let number: Option<u64> = text(b"number").and_then(|number| number.parse().ok());
        let Some((number, at)) = number.zip(text(b"at")).filter(|(number, _)| *number > self.number) else {
            return Err(BrokenTrail::Foreign { id });
        };
        if number != self.number + 1 {
            return Err(BrokenTrail::Missing { count: number - self.number - 1, before: number, id });
        }
        let rest = fields.iter().filter(|(name, _)| !own(name));
        let digest = digest(rest.map(|(name, value)| (&name[..], &value[..])));
        let hash = Sha256::new().chain_update(self.hash).chain_update(digest);
        let hash: [u8; 32] = hash.chain_update(format!("{number}:{at}")).finalize().into();
        if value(b"hash") != Some(&hash[..]) {
            return Err(BrokenTrail::Changed { number, id });
        }
        let written: i64 = at.parse().unwrap_or_default();
        self.times = Some((self.times.map_or(written, |(oldest, _)| oldest), written));
        self.bytes += fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
        (self.number, self.hash, self.entries) = (number, hash, self.entries + 1);
        self.compare(number, hash)?;
        if number == self.record.number {
            if hash != self.record.hash {
                return Err(BrokenTrail::Record);
            }
            self.newest_seen = true;
        }
        Ok(())
    }

    /// Whether this entry is the one that was seen earlier.
    fn compare(&self, number: u64, hash: [u8; 32]) -> std::result::Result<(), BrokenTrail> {
        let differs = |mark: &TrailMark| mark.number == number && mark.hash != hex(&hash);
        if self.marks.iter().any(differs) { Err(BrokenTrail::SeenChanged { number }) } else { Ok(()) }
    }

    /// Whether what was seen earlier is there, or was due to go.
    fn end_of_marks(&self, now: i64, kept_for: Duration) -> std::result::Result<(), BrokenTrail> {
        self.compare(self.record.trimmed, self.record.trimmed_hash)?;
        let oldest_at = self.times.map_or(now, |(oldest, _)| oldest / 1000);
        let ends = Ends { oldest_at, bytes: self.bytes, now, kept_for };
        for mark in self.marks.iter().filter(|mark| mark.number > 0) {
            let number = mark.number;
            if number > self.number {
                return Err(BrokenTrail::SeenMissing { number, newest: self.number });
            }
            if number <= self.record.trimmed && !mark.was_due(ends) {
                return Err(BrokenTrail::SeenRemoved { number });
            }
        }
        Ok(())
    }

    /// What was written since the record was read is part of the chain too, and the record as it is `now` knows of it.
    fn end(self, now: Record) -> std::result::Result<WholeTrail, BrokenTrail> {
        if now.number < self.number {
            return Err(BrokenTrail::Record);
        }
        if !self.newest_seen {
            let number = self.record.number;
            // If the record says that all were trimmed, at least the newest is missing.
            let count = number.saturating_sub(self.number).max(1);
            return Err(BrokenTrail::NewestMissing { count, number });
        }
        let at = self.times.map(|(_, newest)| newest / 1000);
        Ok(WholeTrail { entries: self.entries, number: self.number, hash: hex(&self.hash), at })
    }
}

impl Store {
    /// Follows a trail from its oldest entry to its newest, and compares it with what was seen of it earlier.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`]; what is wrong with the trail is an answer, not an error.
    pub async fn verify_audit(
        &self,
        trail: Trail,
        seen: &[TrailMark],
    ) -> Result<std::result::Result<WholeTrail, BrokenTrail>> {
        let seen: Vec<TrailMark> = seen.iter().filter(|mark| mark.trail == trail).cloned().collect();
        let mut answer = self.walk(trail, &seen).await?;
        for _ in 1..TRIES {
            if answer.is_ok() {
                break;
            }
            // Trimming while it was read looks like a loss: then the next walk begins at another anchor.
            answer = self.walk(trail, &seen).await?;
        }
        if trail == Trail::Security
            && answer.as_ref().is_ok_and(|whole| whole.entries == 0)
            && self.has_lost_its_beginning().await?
        {
            return Ok(Err(BrokenTrail::Emptied));
        }
        Ok(answer)
    }

    /// Whether there is an account, which never comes without an entry, and no entry of any version.
    async fn has_lost_its_beginning(&self) -> Result<bool> {
        let mut earlier = redis::cmd("EXISTS");
        earlier.arg(self.keys.audit(Trail::Earlier));
        Ok(self.setup_complete().await? && !self.shared.query::<bool>("audit_earlier", &earlier).await?)
    }

    async fn walk(
        &self,
        trail: Trail,
        seen: &[TrailMark],
    ) -> Result<std::result::Result<WholeTrail, BrokenTrail>> {
        let mut walk = Walk::from(self.chain_record(trail).await?, seen.to_vec());
        let mut from = "-".to_owned();
        loop {
            let mut command = redis::cmd("XRANGE");
            command.arg(self.keys.audit(trail)).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            let read: Vec<(String, Vec<Vec<u8>>)> = self.shared.query_apart("audit_verify", &command).await?;
            let more = read.len() == PAGE;
            for (id, fields) in read {
                from = format!("({id}");
                let (pairs, _) = fields.as_chunks::<2>();
                let fields = pairs.iter().map(|[name, value]| (name.clone(), value.clone())).collect();
                if let Err(broken) = walk.step(Entry { id, fields }) {
                    return Ok(Err(broken));
                }
            }
            if !more {
                let now = self.chain_record(trail).await?;
                let kept_for = Duration::from_millis(self.audit_kept_ms.load(Ordering::Relaxed));
                let marks = walk.end_of_marks(self.about_now().timestamp(), kept_for);
                return Ok(walk.end(now).and_then(|whole| marks.map(|()| whole)));
            }
        }
    }

    async fn chain_record(&self, trail: Trail) -> Result<Record> {
        let mut command = redis::cmd("HMGET");
        let fields = ["number", "hash", "trimmed_number", "trimmed_hash"];
        command.arg(self.keys.audit_chain(trail)).arg(&fields);
        type Read = (Option<u64>, Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>);
        let (number, hash, trimmed, trimmed_hash): Read = self.shared.query("audit_chain", &command).await?;
        // A value that is not a hash must equal no computed one.
        let hash_of =
            |bytes: Option<Vec<u8>>| bytes.map_or([0; 32], |bytes| bytes.try_into().unwrap_or([0xff; 32]));
        Ok(Record {
            number: number.unwrap_or_default(),
            hash: hash_of(hash),
            trimmed: trimmed.unwrap_or_default(),
            trimmed_hash: hash_of(trimmed_hash),
        })
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
