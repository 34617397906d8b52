//! Whether a trail of the audit is whole: every entry continues the hash of the one before (`scripts/shared/audit.lua`).
//!
//! So an entry that was removed, changed, moved or inserted is noticed. So is the loss of the newest ones, since the record
//! beside the stream knows how many there ever were.
//!
//! What this cannot detect: somebody who can write to Redis can compute the whole chain again, with the record. Each entry's digest
//! is in the log of the worker that wrote it, and the hash of the newest entry is printed: keep either elsewhere, and a forged
//! trail no longer matches it.

use sha2::{Digest as _, Sha256};

use super::audit::digest;
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
}

/// What is wrong with a trail, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenTrail {
    /// Entries are missing where there were some.
    #[error("{count} entries before entry {before} ({id}) are missing")]
    Missing {
        /// How many.
        count: u64,
        /// The number of the next one that is there.
        before: u64,
        /// Its id.
        id: String,
    },
    /// An entry does not continue the one before.
    #[error("entry {number} ({id}) was changed, or is not the one that followed")]
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
    #[error("the newest {count} entries, up to entry {number}, are missing")]
    NewestMissing {
        /// How many.
        count: u64,
        /// How many there ever were.
        number: u64,
    },
    /// The record beside the stream does not match it.
    #[error("the record of the chain is missing or was changed")]
    Record,
}

/// Follows a chain from its anchor on.
struct Walk {
    record: Record,
    number: u64,
    hash: [u8; 32],
    entries: u64,
    newest_seen: bool,
}

impl Walk {
    fn from(record: Record) -> Self {
        let newest_seen = record.number == record.trimmed;
        Self { number: record.trimmed, hash: record.trimmed_hash, record, entries: 0, newest_seen }
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
        (self.number, self.hash, self.entries) = (number, hash, self.entries + 1);
        if number == self.record.number {
            if hash != self.record.hash {
                return Err(BrokenTrail::Record);
            }
            self.newest_seen = true;
        }
        Ok(())
    }

    /// Entries that were written after the record was read are part of the chain too; the record as it is `now` counts them.
    fn end(self, now: Record) -> std::result::Result<WholeTrail, BrokenTrail> {
        if now.number < self.number {
            return Err(BrokenTrail::Record);
        }
        if !self.newest_seen {
            let number = self.record.number;
            return Err(BrokenTrail::NewestMissing { count: number.saturating_sub(self.number), number });
        }
        Ok(WholeTrail { entries: self.entries, number: self.number, hash: hex(&self.hash) })
    }
}

impl Store {
    /// Follows a trail from its oldest entry to its newest.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`]; what is wrong with the trail is an answer, not an error.
    pub async fn verify_audit(&self, trail: Trail) -> Result<std::result::Result<WholeTrail, BrokenTrail>> {
        let mut answer = self.walk(trail).await?;
        for _ in 1..TRIES {
            if answer.is_ok() {
                break;
            }
            // A trail that was trimmed while it was read looks like a loss, but the next walk begins at another anchor.
            answer = self.walk(trail).await?;
        }
        Ok(answer)
    }

    async fn walk(&self, trail: Trail) -> Result<std::result::Result<WholeTrail, BrokenTrail>> {
        let mut walk = Walk::from(self.chain_record(trail).await?);
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
                return Ok(walk.end(self.chain_record(trail).await?));
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
mod tests {
    use super::*;

    fn fields_of(n: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(b"what".to_vec(), format!("deed {n}").into_bytes()), (b"user".to_vec(), b"admin".to_vec())]
    }

    /// A chain of so many entries, as the script writes it, and its record.
    fn chain(count: u64) -> (Vec<Entry>, Record) {
        let mut record = Record::default();
        let entries = (1..=count).map(|n| {
            let mut fields = fields_of(n);
            let digest = digest(fields.iter().map(|(name, value)| (&name[..], &value[..])));
            let hash = Sha256::new().chain_update(record.hash).chain_update(digest);
            record.hash = hash.chain_update(format!("{n}:{}", 100 + n)).finalize().into();
            record.number = n;
            for (name, value) in [
                ("hash", record.hash.to_vec()),
                ("number", n.to_string().into()),
                ("at", (100 + n).to_string().into()),
            ] {
                fields.push((name.into(), value));
            }
            Entry { id: format!("{}-0", 100 + n), fields }
        });
        (entries.collect(), record)
    }

    fn verify(entries: Vec<Entry>, record: Record) -> std::result::Result<WholeTrail, BrokenTrail> {
        let mut walk = Walk::from(record);
        for entry in entries {
            walk.step(entry)?;
        }
        walk.end(chain(5).1)
    }

    #[test]
    fn a_chain_is_whole_from_its_beginning_or_its_anchor_on_and_beyond_the_record_that_was_read() {
        let (entries, record) = chain(5);
        assert_eq!(verify(entries, record).unwrap().entries, 5);
        assert_eq!(verify(Vec::new(), Record::default()).unwrap().number, 0);
        let (mut entries, record) = chain(5);
        let (_, anchor) = chain(2);
        drop(entries.drain(..2));
        let trimmed = Record { trimmed: 2, trimmed_hash: anchor.hash, ..record };
        let whole = verify(entries, trimmed).unwrap();
        assert_eq!((whole.entries, whole.number, whole.hash), (3, 5, hex(&record.hash)));
        let (entries, _) = chain(5);
        assert_eq!(verify(entries, chain(3).1).unwrap().number, 5);
    }

    #[test]
    fn whatever_is_removed_changed_or_put_in_is_noticed() {
        let broken = |tamper: &dyn Fn(&mut Vec<Entry>, &mut Record)| {
            let (mut entries, mut record) = chain(5);
            tamper(&mut entries, &mut record);
            let mut walk = Walk::from(record);
            entries
                .into_iter()
                .try_for_each(|entry| walk.step(entry))
                .and_then(|()| walk.end(record))
                .unwrap_err()
        };
        let missing = BrokenTrail::Missing { count: 1, before: 3, id: "103-0".to_owned() };
        assert_eq!(broken(&|entries, _| drop(entries.remove(1))), missing);
        let missing = BrokenTrail::Missing { count: 2, before: 3, id: "103-0".to_owned() };
        assert_eq!(broken(&|entries, _| drop(entries.drain(..2))), missing);
        let gone = BrokenTrail::NewestMissing { count: 2, number: 5 };
        assert_eq!(broken(&|entries, _| entries.truncate(3)), gone);
        assert_eq!(broken(&|entries, _| entries.clear()), BrokenTrail::NewestMissing { count: 5, number: 5 });
        let changed = BrokenTrail::Changed { number: 2, id: "102-0".to_owned() };
        assert_eq!(broken(&|entries, _| entries[1].fields[0].1 = b"another deed".to_vec()), changed);
        assert_eq!(broken(&|entries, _| entries[1].fields[1].0 = b"target".to_vec()), changed);
        assert_eq!(broken(&|entries, _| entries[1].fields[4].1 = b"99".to_vec()), changed);
        assert_eq!(
            broken(&|entries, _| entries[1].fields.truncate(3)),
            BrokenTrail::Foreign { id: "102-0".to_owned() }
        );
        let foreign = Entry { id: "102-1".to_owned(), fields: fields_of(9) };
        let again = chain(2).0.pop().unwrap();
        for (n, entry) in [foreign, again].into_iter().enumerate() {
            let (mut entries, record) = chain(5);
            entries.insert(2, entry);
            assert!(matches!(verify(entries, record), Err(BrokenTrail::Foreign { .. })), "{n}");
        }
        assert_eq!(broken(&|_, record| *record = Record::default()), BrokenTrail::Record);
        assert_eq!(broken(&|_, record| record.hash = [7; 32]), BrokenTrail::Record);
    }
}
