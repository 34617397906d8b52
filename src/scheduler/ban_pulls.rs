//! How lists of bans are read and written: those of one server one after the other, each as heavy as its count and the room left
//! for that server allow; those of several servers concurrently.
//!
//! ```text
//! due lists ─▶ by server ─▶ one at a time: room (domain/long_lists.rs) ─▶ permits ─▶ agent ─▶ Redis ─▶ charged to the server
//! ```
//!
//! All lists that are read at once weigh no more than one may: each takes as many of the [`MAX_LIST`] permits as it may weigh.
//! Within a server they are read one after the other, so that each is charged with what the others really weighed; fail2ban has one
//! thread anyway.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::context::Scheduler;
use super::probe::note_findings;
use super::term::Term;
use crate::agent::client::{FromBan, ListError, UNPARSED_BYTES};
use crate::domain::long_lists::{self, BAN_TEXT, Charge, MAX_LIST};
use crate::domain::{JailName, ServerName, ServerState};
use crate::store::{BanCounts, BanPlace, HoursChange, ReadList, StoreError, StoredBan, StoredList};

/// The memory for the lists that a leader reads at once: for each ban its text, as it is stored, and its place in two lists; and
/// for each answer the part that has arrived and is not parsed.
pub const MAX_LIST_BYTES: usize = MAX_LIST * (BAN_TEXT + 128) + MAX_CONCURRENT_PULLS * UNPARSED_BYTES;
/// The most servers whose lists are pulled at once, if these are light enough.
const MAX_CONCURRENT_PULLS: usize = 4;
/// How long a list rests after a pull: this many times as long as the pull took, and how long at most.
const REST: (u32, Duration) = (9, Duration::from_secs(60));
/// How often a write about a list is tried when others write the same state.
const NOTE_TRIES: u32 = 5;

/// What this term knows of one list.
pub(super) struct KnownList {
    /// The counts that it was written with; `None` if it must be read again.
    pub counts: Option<BanCounts>,
    pub rests_until: Instant,
    /// What is stored of it.
    pub charge: Charge,
}

impl KnownList {
    /// As an earlier leader has left it; `None` if it is not stored.
    pub fn stored(list: Option<StoredList>) -> Self {
        let charge = list.map_or_else(Charge::default, |list| list.charge());
        Self { counts: list.map(|list| list.counts), rests_until: Instant::now(), charge }
    }
}

/// The outcome of asking for a list.
enum Pulled {
    /// With what it costs.
    Written(Charge),
    /// It was larger than its count, or the room left for its server, allows.
    Cut,
    /// The agent cannot be asked, and is asked again at a later look.
    Nothing,
}

/// The lists of a server that are to be read, and what is stored of all of its lists.
#[derive(Default)]
struct Due {
    lists: Vec<(BanPlace, BanCounts)>,
    stored: HashMap<JailName, Charge>,
}

/// What is known of all lists, by those who pull some of them.
type Known<'a> = Mutex<&'a mut HashMap<BanPlace, KnownList>>;

/// Pulls these lists, and notes in `known` what came of it.
pub(super) async fn all(
    scheduler: &Scheduler,
    term: &Term,
    due: Vec<(BanPlace, BanCounts)>,
    known: &mut HashMap<BanPlace, KnownList>,
) -> Result<(), StoreError> {
    let mut by_server: HashMap<ServerName, Due> = HashMap::new();
    for (place, counts) in due {
        by_server.entry(place.0.clone()).or_default().lists.push((place, counts));
    }
    for (place, list) in known.iter() {
        if let Some(due) = by_server.get_mut(&place.0) {
            due.stored.insert(place.1.clone(), list.charge);
        }
    }
    let (known, permits) = (Mutex::new(known), Semaphore::new(MAX_LIST));
    let (known, permits) = (&known, &permits);
    stream::iter(by_server.into_values().map(Ok))
        .try_for_each_concurrent(MAX_CONCURRENT_PULLS, |due| of_server(scheduler, term, due, known, permits))
        .await
}

/// Those that have become shorter first: they make room for the others.
async fn of_server(
    scheduler: &Scheduler,
    term: &Term,
    Due { mut lists, mut stored }: Due,
    known: &Known<'_>,
    permits: &Semaphore,
) -> Result<(), StoreError> {
    lists.sort_by_cached_key(|((_, jail), counts)| {
        i128::from(counts.0) - i128::from(stored.get(jail).map_or(0, |list| list.weight))
    });
    for (place, counts) in lists {
        let bound = room(&stored, &place.1, counts);
        // Never closed, and never more than there are.
        let permitted = permits.acquire_many(u32::try_from(bound).unwrap_or(u32::MAX)).await;
        let begun = Instant::now();
        let pulled = pull(scheduler, term, &place, counts, bound).await?;
        drop(permitted);
        let (counts, rest) = match pulled {
            Pulled::Written(charge) => {
                stored.insert(place.1.clone(), charge);
                (Some(counts), rest_after(begun.elapsed()))
            }
            Pulled::Cut => (None, REST.1),
            Pulled::Nothing => (None, rest_after(begun.elapsed())),
        };
        let charge = stored.get(&place.1).copied().unwrap_or_default();
        let list = KnownList { counts, rests_until: Instant::now() + rest, charge };
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(place, list);
    }
    Ok(())
}

/// What a list may weigh beside all others that are stored of its server.
fn room(stored: &HashMap<JailName, Charge>, jail: &JailName, (counted, _): BanCounts) -> usize {
    long_lists::bound(counted, stored.iter().filter(|(other, _)| *other != jail).map(|(_, charge)| *charge))
}

pub(super) fn rest_after(took: Duration) -> Duration {
    (took * REST.0).min(REST.1)
}

async fn pull(
    scheduler: &Scheduler,
    term: &Term,
    place: &BanPlace,
    counts: BanCounts,
    bound: usize,
) -> Result<Pulled, StoreError> {
    let (server, jail) = place;
    let Some(agent) = scheduler.agents.get(server) else { return Ok(Pulled::Nothing) };
    let notes = scheduler.store.ban_notes(place).await?;
    let listed = match usize::try_from(counts.0) {
        Ok(counted) if counted <= bound => agent.bans_as(jail, bound).await,
        _ => Err(ListError::TooLong(bound)),
    };
    let (bans, tag): (Vec<StoredBan>, _) = match listed {
        Ok(listed) => listed,
        Err(ListError::TooLong(bound)) => {
            tracing::warn!(
                server.name = %server, jail.name = %jail,
                "dropped the list of bans of {jail} on {server}: it has more than {bound} bans, the limit that follows from the jail's count and the server's other lists"
            );
            note_cut(scheduler, term, place, true).await?;
            return Ok(Pulled::Cut);
        }
        Err(ListError::Agent(error)) => {
            tracing::debug!(server.name = %server, jail.name = %jail, error = %error, "failed to read a jail's bans: keeping the previous list");
            return Ok(Pulled::Nothing);
        }
    };
    let text = bans.iter().map(|ban| ban.ip.len()).sum();
    let weight = long_lists::weight(bans.len(), text) as u64;
    let read = ReadList { counts, weight, tag };
    match scheduler.store.write_bans(&term.fence, place, read, bans, notes).await {
        Err(error @ StoreError::Conflict) => {
            tracing::debug!(server.name = %server, jail.name = %jail, error = %error, "failed to write a list of bans: reading it again");
            return Ok(Pulled::Nothing);
        }
        written => written?,
    }
    note_cut(scheduler, term, place, false).await?;
    Ok(Pulled::Written(Charge { weight, counted: counts.0 }))
}

impl FromBan for StoredBan {
    fn from_ban(what: String, since: Option<i64>, until: Option<i64>) -> Self {
        Self { ip: what, since, until }
    }
}

/// Notes in the server's state whether the list of a jail was cut off. A write between the look and this one is no reason to give
/// up: the next pull may be long in coming.
async fn note_cut(
    scheduler: &Scheduler,
    term: &Term,
    (server, jail): &BanPlace,
    cut: bool,
) -> Result<(), StoreError> {
    for _ in 0..NOTE_TRIES {
        let read = scheduler.store.server(server).await?;
        if read.state.cut_lists.contains(jail) == cut {
            return Ok(());
        }
        let mut state = ServerState::clone(&read.state);
        // A host may name other jails each time.
        let jails = &state.status.jails;
        state.cut_lists.retain(|jail| jails.contains_key(jail));
        if cut {
            state.cut_lists.insert(jail.clone());
        } else {
            state.cut_lists.remove(jail);
        }
        match scheduler
            .store
            .write_probed(&term.fence, server, &read, &state, &HoursChange::default(), &[])
            .await
        {
            Err(StoreError::Conflict) => {}
            written => {
                written?;
                note_findings((scheduler, term), server, &read, &state).await;
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JailName;

    #[test]
    fn a_list_has_the_room_that_the_others_of_its_server_leave_and_its_own_old_one_takes_none() {
        let jail = |name| JailName::parse(name).unwrap();
        let list = |weight| Charge { weight, counted: weight };
        let mut stored: HashMap<JailName, Charge> =
            [(jail("a"), list(200_000)), (jail("b"), list(150_000))].into();
        assert_eq!(room(&stored, &jail("c"), (200_000, 0)), 50_000);
        assert_eq!(room(&stored, &jail("b"), (200_000, 0)), 200_000);
        stored.remove(&jail("a"));
        assert_eq!(room(&stored, &jail("c"), (200_000, 0)), 200_000);
    }
}
