//! What can be undone, at any worker, for [`UNDO_FOR`]: what was done, its addresses if there are many, and the audit entry that
//! recorded it.
//!
//! An undo is claimed before it is made, so that if two people press at once only one does it. The claim is given back if the undo
//! was not made.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::clock::{millis, moment, time_micros};
use super::{Result, Store, scripts};
use crate::domain::undo::{UndoId, Undoable};
use crate::domain::{Network, Timestamp};

/// How long something can be undone.
pub const UNDO_FOR: Duration = Duration::from_secs(600);
/// The most changes that are listed as undoable; an older one can still be undone from the message about it.
const MAX_LISTED: usize = 1_000;

/// The outcome of claiming an undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// This caller has it; this is what was done.
    Yours(Box<Undoable>),
    /// Somebody else has claimed it.
    Before {
        /// When.
        at: Timestamp,
        /// Who did.
        by: String,
    },
    /// It cannot be undone any more, or never could.
    Over,
}

/// What an entry of the audit offers to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: UndoId,
    /// Until when.
    pub until: Timestamp,
}

impl Store {
    /// Records a change that can be undone; `entry` is the place of its audit entry, `TRAIL/ID`, or `job/ID` for a ban job.
    ///
    /// # Errors
    /// As [`crate::store::StoreError`] says, here and below.
    pub async fn keep_undo(&self, id: &UndoId, done: &Undoable, entry: &str) -> Result<()> {
        let call = scripts::UNDO_KEEP
            .call()
            .key(self.keys.undo(id))
            .key(self.keys.undos())
            .key(self.keys.undo_ips(id))
            .arg(rmp_serde::to_vec_named(done)?)
            .arg(format!("{entry} {id}"))
            .arg(millis(UNDO_FOR))
            .arg(MAX_LISTED);
        self.shared.call::<()>(&call).await
    }

    /// Claims an undo for `who`.
    pub async fn take_undo(&self, id: &UndoId, who: &str) -> Result<Taken> {
        let call = scripts::UNDO_TAKE.call().key(self.keys.undo(id)).arg(who);
        let answer: Vec<Option<Vec<u8>>> = self.shared.call(&call).await?;
        Ok(match &answer[..] {
            [Some(done)] => Taken::Yours(Box::new(rmp_serde::from_slice(done)?)),
            [_, Some(taken)] => before(taken).unwrap_or(Taken::Over),
            _ => Taken::Over,
        })
    }

    /// Gives back an undo that was claimed but not made.
    pub async fn give_undo_back(&self, id: &UndoId) -> Result<()> {
        let mut command = redis::cmd("HDEL");
        command.arg(self.keys.undo(id)).arg("taken");
        self.shared.query("undo_give_back", &command).await
    }

    /// The addresses that are kept beside it, each once.
    pub async fn undo_ips(&self, id: &UndoId) -> Result<Vec<Network>> {
        let command = redis::cmd("GET").arg(self.keys.undo_ips(id)).to_owned();
        let ips: Option<String> = self.shared.query_apart("undo_ips", &command).await?;
        let mut ips: Vec<Network> = ips.unwrap_or_default().lines().filter_map(Network::parse).collect();
        ips.sort_unstable();
        ips.dedup();
        Ok(ips)
    }

    /// What can be undone now, by the place of its entry in the audit.
    pub async fn undo_offers(&self) -> Result<BTreeMap<String, Offer>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZRANGE").arg(self.keys.undos()).arg(0).arg(-1).arg("WITHSCORES");
        pipeline.cmd("TIME");
        let (members, time): (Vec<(String, f64)>, (i64, i64)) =
            self.shared.pipeline_apart("undo_offers", &pipeline).await?;
        let now = time_micros(time) / 1000;
        let read = |(member, until): (String, f64)| {
            let (entry, id) = member.split_once(' ')?;
            let until: i64 = format!("{until:.0}").parse().ok()?;
            let offer = Offer { id: UndoId::parse(id)?, until: moment(until.checked_mul(1000)?) };
            (until > now).then(|| (entry.to_owned(), offer))
        };
        Ok(members.into_iter().filter_map(read).collect())
    }

    /// What was done, of each of these that can still be undone and was not.
    pub async fn undoable(&self, ids: &[UndoId]) -> Result<Vec<Option<Undoable>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.cmd("HMGET").arg(self.keys.undo(id)).arg("done").arg("taken");
        }
        type Kept = (Option<Vec<u8>>, Option<Vec<u8>>);
        let kept: Vec<Kept> = self.shared.pipeline_apart("undoable", &pipeline).await?;
        let read = |(done, taken): Kept| {
            let done = done.filter(|_| taken.is_none())?;
            rmp_serde::from_slice(&done).ok()
        };
        Ok(kept.into_iter().map(read).collect())
    }
}

fn before(taken: &[u8]) -> Option<Taken> {
    let (at, by) = std::str::from_utf8(taken).ok()?.split_once(' ')?;
    Some(Taken::Before { at: moment(at.parse::<i64>().ok()?.checked_mul(1000)?), by: by.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_taken_an_undo_is_read_back() {
        let expected = Taken::Before { at: moment(5_000_000), by: "admin of x".to_owned() };
        assert_eq!(before(b"5000 admin of x"), Some(expected));
        assert_eq!((before(b"5000"), before(b"x y")), (None, None));
    }
}
