//! The lists of bans: pulled by the leader when a jail's counts have changed, and never else, so that pages and searches
//! cost fail2ban nothing, whatever the number of browsers.
//!
//! It looks at what the probes stored, beside them: a long list delays no probe. Under a permanent attack the counts
//! change all the time, and a long list takes fail2ban's one thread a second: so after each pull that list rests for nine
//! times as long as the pull took.
//!
//! An agent may be in a stranger's hands. A list that is too long by the counts (`domain/long_lists.rs`) is not asked for; one that
//! is longer than its count allows is cut off, and noted in the server's state. All lists that are read at once together hold no
//! more bans than one may: each takes as many of [`MAX_LIST`] permits as it may have bans.
//!
//! What is not of this term counts too: a new leader re-reads nothing whose counts equal the stored ones; a leader whose Redis
//! was replaced re-reads everything, since that Redis may have lost lists. A server that was away is re-read when it is back,
//! whatever its counts: they restart from zero with it. A jail that is gone loses its list.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

use super::context::Scheduler;
use super::outcome::on_error;
use super::term::Term;
use crate::agent::client::{FromBan, ListError};
use crate::domain::long_lists::{self, MAX_LIST};
use crate::domain::{ServerName, ServerState};
use crate::store::{BanCounts, BanPlace, HoursChange, StoreError, StoredBan, StoredServer};

/// What the lists need that a leader reads at once: each ban as it is stored, and its place in two lists.
pub const MAX_LIST_BYTES: usize = MAX_LIST * 160;
/// How often the counts are checked when no probe reports.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// How often a write about a list is tried when others write the same state.
const NOTE_TRIES: u32 = 5;
/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Lists that are pulled at once, as far as their bans are few enough.
const MAX_CONCURRENT_PULLS: usize = 4;
/// How many more bans than were counted a list may have: this many, and a quarter of the count.
const SINCE_COUNTED: usize = 20_000;
/// How many times as long as a pull took its list rests after it, and how long at most.
const REST: (u32, Duration) = (9, Duration::from_secs(60));
/// How often all stored lists are looked through for jails that are gone.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
/// A server that this worker does not know may be one that it does not know yet.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// Lists that are forgotten at one look.
const MAX_FORGOTTEN: usize = 100;

/// Keeps the lists as new as the counts until the term is over. `probed` is signalled after each probe.
pub async fn follow(scheduler: &Scheduler, term: &Term, probed: &Notify) {
    let mut lists = Lists::default();
    while !term.over.is_cancelled() {
        let wait = match lists.look(scheduler, term).await {
            Ok(wait) => wait,
            Err(error) => {
                on_error(term, "lists of bans", &error);
                POLL_INTERVAL
            }
        };
        tokio::time::sleep(PAUSE).await;
        // A signal may be lost with its probe, so there is a timer too.
        let _ = timeout(wait.min(POLL_INTERVAL), probed.notified()).await;
    }
}

/// What this term knows of one list.
struct KnownList {
    /// With which counts it was written; none if it must be read again.
    counts: Option<BanCounts>,
    rests_until: Instant,
}

/// What this term knows of all lists.
#[derive(Default)]
struct Lists {
    known: HashMap<BanPlace, KnownList>,
    looked_through: Option<Instant>,
    /// The connection that all of this was written over.
    connection: u64,
    unknown_since: HashMap<ServerName, Instant>,
    /// Those that were too long at the last look.
    long: HashSet<BanPlace>,
}

/// The outcome of asking for a list.
enum Pulled {
    Written,
    /// It was longer than its count allows.
    Cut,
    /// The agent cannot be asked, and is asked again at a later look.
    Nothing,
}

/// The servers with their states, as the last probes left them.
type States = HashMap<ServerName, std::sync::Arc<ServerState>>;

impl Lists {
    /// Pulls what has changed and forgets what is gone; after which time there may be more to do.
    async fn look(&mut self, scheduler: &Scheduler, term: &Term) -> Result<Duration, StoreError> {
        let names = scheduler.agents.names();
        let servers = scheduler.store.servers(&names).await?;
        // Of one whose state cannot be read nothing is known: its lists stay as they are.
        let state = |server: Result<StoredServer, _>| server.map(|server| server.state).unwrap_or_default();
        let states: States = names.into_iter().zip(servers.into_iter().map(state)).collect();
        self.suspect_those_away(&states);
        self.suspect_redis(scheduler.store.connection_number());
        self.take_over(scheduler, &states).await?;
        self.warn_of_long_ones(&states);
        let (due, wait) = self.due(&states, Instant::now());
        let permits = Semaphore::new(MAX_LIST);
        let permits = &permits;
        let mut pulls = stream::iter(due)
            .map(|(place, counts)| async move {
                let bound = bound(counts);
                // Never closed, and never more than there are.
                let _permits = permits.acquire_many(u32::try_from(bound).unwrap_or(u32::MAX)).await;
                let begun = Instant::now();
                let pulled = pull(scheduler, term, &place, counts, bound).await;
                (place, counts, pulled, begun.elapsed())
            })
            .buffer_unordered(MAX_CONCURRENT_PULLS);
        while let Some((place, counts, pulled, took)) = pulls.next().await {
            let (counts, rest) = match pulled? {
                Pulled::Written => (Some(counts), rest_after(took)),
                Pulled::Cut => (None, REST.1),
                Pulled::Nothing => (None, rest_after(took)),
            };
            self.known.insert(place, KnownList { counts, rests_until: Instant::now() + rest });
        }
        drop(pulls);
        self.forget(scheduler, term, &states).await?;
        Ok(wait)
    }

    fn warn_of_long_ones(&mut self, states: &States) {
        let long: HashMap<BanPlace, u64> = states
            .iter()
            .flat_map(|(server, state)| {
                let long = long_lists::too_long(&state.status.jails).into_iter();
                long.map(|(jail, bans)| ((server.clone(), jail), bans))
            })
            .collect();
        for ((server, jail), bans) in long.iter().filter(|(place, _)| !self.long.contains(*place)) {
            tracing::warn!(
                server.name = %server, jail.name = %jail,
                "skipped the list of bans of {jail} on {server}: {bans} bans exceed the limit"
            );
        }
        self.long = long.into_keys().collect();
    }

    /// Counts restart from zero with fail2ban: equal counts may be of other bans.
    fn suspect_those_away(&mut self, states: &States) {
        for ((server, _), known) in &mut self.known {
            if states.get(server).is_some_and(|state| !state.status.condition.online()) {
                known.counts = None;
            }
        }
    }

    /// Redis may have lost what this term has written: what is stored there counts, as for a new leader. A failover that is
    /// shorter than the lease ends no term.
    fn suspect_redis(&mut self, connection: u64) {
        if self.connection != connection {
            self.connection = connection;
            // A list that must be read again must still be marked so.
            self.known.retain(|_, known| known.counts.is_none());
        }
    }

    /// What the leader before this one wrote counts.
    async fn take_over(&mut self, scheduler: &Scheduler, states: &States) -> Result<(), StoreError> {
        let new: Vec<BanPlace> =
            places(states).map(|(place, _)| place).filter(|place| !self.known.contains_key(place)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let counts = scheduler.store.ban_counts(&new).await?;
        let now = Instant::now();
        let known = |counts| KnownList { counts, rests_until: now };
        self.known.extend(new.into_iter().zip(counts.into_iter().map(known)));
        Ok(())
    }

    /// The lists whose counts have changed, and when a list that is backing off may be pulled.
    fn due(&self, states: &States, now: Instant) -> (Vec<(BanPlace, BanCounts)>, Duration) {
        let mut wait = POLL_INTERVAL;
        let mut due = Vec::new();
        for (place, counts) in places(states) {
            match self.known.get(&place) {
                Some(known) if known.counts == Some(counts) => {}
                Some(known) if known.rests_until > now => wait = wait.min(known.rests_until - now),
                _ => due.push((place, counts)),
            }
        }
        (due, wait)
    }

    /// Those of this term at once; those of other terms are looked through at times.
    async fn forget(
        &mut self,
        scheduler: &Scheduler,
        term: &Term,
        states: &States,
    ) -> Result<(), StoreError> {
        let mut all: Vec<BanPlace> = self.known.keys().cloned().collect();
        if self.looked_through.is_none_or(|at| at.elapsed() >= CLEANUP_INTERVAL) {
            all = scheduler.store.ban_lists().await?;
            self.looked_through = Some(Instant::now());
        }
        self.unknown_since.retain(|server, _| !states.contains_key(server));
        let gone: Vec<BanPlace> = all.into_iter().filter(|place| self.is_gone(place, states)).collect();
        for place in gone.into_iter().take(MAX_FORGOTTEN) {
            scheduler.store.forget_bans(&term.fence, &place).await?;
            tracing::info!(server.name = %place.0, jail.name = %place.1, "dropped the ban list of a jail that no longer exists");
            self.known.remove(&place);
        }
        Ok(())
    }

    fn is_gone(&mut self, (server, jail): &BanPlace, states: &States) -> bool {
        match states.get(server) {
            Some(state) => state.status.condition.online() && !state.status.jails.contains_key(jail),
            None => {
                self.unknown_since.entry(server.clone()).or_insert_with(Instant::now).elapsed() > UNKNOWN_FOR
            }
        }
    }
}

/// The jails that can be asked about, with their counts.
fn places(states: &States) -> impl Iterator<Item = (BanPlace, BanCounts)> {
    states.iter().filter(|(_, state)| state.status.condition.online()).flat_map(|(server, state)| {
        let long = long_lists::too_long(&state.status.jails);
        state.status.jails.iter().filter(move |(jail, _)| !long.contains_key(*jail)).map(|(jail, counts)| {
            ((server.clone(), jail.clone()), (counts.currently_banned, counts.total_banned))
        })
    })
}

/// How many bans a list may have by now of which so many were counted.
fn bound((banned, _): BanCounts) -> usize {
    let counted = usize::try_from(banned).unwrap_or(MAX_LIST).min(MAX_LIST);
    (counted + counted / 4 + SINCE_COUNTED).min(MAX_LIST)
}

fn rest_after(took: Duration) -> Duration {
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
    let bans: Vec<StoredBan> = match agent.bans_as(jail, bound).await {
        Ok(bans) => bans,
        Err(ListError::TooLong(bound)) => {
            tracing::warn!(
                server.name = %server, jail.name = %jail,
                "dropped the list of bans of {jail} on {server}: more than {bound} bans, though only {} were counted", counts.0
            );
            note_cut(scheduler, term, place, true).await?;
            return Ok(Pulled::Cut);
        }
        Err(ListError::Agent(error)) => {
            tracing::debug!(server.name = %server, jail.name = %jail, error = %error, "failed to read a jail's bans: keeping the previous list");
            return Ok(Pulled::Nothing);
        }
    };
    match scheduler.store.write_bans(&term.fence, place, counts, bans, notes).await {
        Err(error @ StoreError::Conflict) => {
            tracing::debug!(server.name = %server, jail.name = %jail, error = %error, "failed to write a list of bans: reading it again");
            return Ok(Pulled::Nothing);
        }
        written => written?,
    }
    note_cut(scheduler, term, place, false).await?;
    Ok(Pulled::Written)
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
            written => return written.map(drop),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Condition, JailCounts, JailName};

    fn state(condition: Condition, banned: u64) -> ServerState {
        let mut state = ServerState::default();
        state.status.condition = condition;
        let counts = JailCounts { currently_banned: banned, total_banned: banned, ..JailCounts::default() };
        state.status.jails.insert(JailName::parse("sshd").unwrap(), counts);
        state
    }

    fn place() -> BanPlace {
        (ServerName::parse("web").unwrap(), JailName::parse("sshd").unwrap())
    }

    fn states(condition: Condition, banned: u64) -> States {
        [(place().0, state(condition, banned).into())].into()
    }

    #[tokio::test]
    async fn a_list_is_due_when_its_counts_have_changed_and_it_has_rested() {
        let now = Instant::now();
        let mut lists = Lists::default();
        let rests_until = now + rest_after(Duration::from_secs(1));
        lists.known.insert(place(), KnownList { counts: Some((3, 3)), rests_until });
        let due = |lists: &Lists, banned, at| lists.due(&states(Condition::Up, banned), at);
        assert!(due(&lists, 3, now).0.is_empty());
        assert_eq!(due(&lists, 4, now), (vec![], Duration::from_secs(9)), "a tenth of fail2ban's time");
        assert_eq!(due(&lists, 4, rests_until).0, [(place(), (4, 4))]);
        // Its counts restarted while it was away.
        lists.suspect_those_away(&states(Condition::Down, 3));
        assert!(lists.due(&states(Condition::Down, 3), rests_until).0.is_empty());
        assert_eq!(due(&lists, 3, rests_until).0, [(place(), (3, 3))]);
    }

    #[tokio::test]
    async fn what_is_known_of_a_list_ends_with_the_connection_that_it_was_written_over() {
        let mut lists = Lists::default();
        lists.suspect_redis(1);
        lists.known.insert(place(), KnownList { counts: Some((3, 3)), rests_until: Instant::now() });
        lists.suspect_redis(1);
        assert!(lists.known.contains_key(&place()));
        lists.suspect_redis(2);
        assert!(!lists.known.contains_key(&place()));
        lists.known.insert(place(), KnownList { counts: None, rests_until: Instant::now() });
        lists.suspect_redis(3);
        assert_eq!(
            lists.due(&states(Condition::Up, 3), Instant::now()).0.len(),
            1,
            "it is read again all the same"
        );
    }

    #[tokio::test]
    async fn a_list_that_is_too_long_is_never_due_and_one_that_grew_may_be_somewhat_longer() {
        let lists = Lists::default();
        let due = |banned| lists.due(&states(Condition::Up, banned), Instant::now()).0.len();
        assert_eq!([due(200_000), due(200_001), due(u64::MAX)], [1, 0, 0]);
        assert_eq!([0, 3, 100_000, 200_000].map(|n| bound((n, n))), [20_000, 20_003, 145_000, 200_000]);
        assert_eq!(bound((u64::MAX, 0)), MAX_LIST);
    }

    #[tokio::test]
    async fn a_jail_is_gone_when_its_server_says_so_and_not_when_it_cannot() {
        let mut lists = Lists::default();
        let other = (place().0, JailName::parse("gone").unwrap());
        assert!(!lists.is_gone(&place(), &states(Condition::Up, 1)));
        assert!(lists.is_gone(&other, &states(Condition::Up, 1)));
        assert!(!lists.is_gone(&other, &states(Condition::Down, 1)));
        assert!(!lists.is_gone(&other, &States::new()), "a server that is not known yet, maybe");
    }
}
