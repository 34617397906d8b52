//! The lists of bans: pulled by the leader when a jail's counts have changed, and only then, so that pages and searches
//! cost fail2ban nothing, whatever the number of browsers.
//!
//! This runs beside the probes and reads the counts that they stored: a long list delays no probe. Under a permanent attack the
//! counts change all the time, and a long list takes a second of fail2ban's only command thread, so after each pull that list rests
//! for nine times as long as the pull took.
//!
//! An agent may be in a stranger's hands. A list that is too long by its count (`domain/long_lists.rs`) is not asked for. One that
//! turns out larger than its count and the other lists of its server allow is cut off, and noted in the server's state
//! (`ban_pulls.rs`).
//!
//! Lists that an earlier leader wrote count too: a new leader does not read a list again whose counts equal the stored ones. A
//! leader whose connection to Redis was replaced compares all lists with what is stored there, since that Redis may have lost some.
//! A server that was offline is read again when it is back, whatever its counts: they restart from zero with it. A jail that is
//! gone loses its list.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::ban_pulls::{self, KnownList};
use super::context::Scheduler;
use super::outcome::{on_error, on_success};
use super::term::Term;
use crate::domain::long_lists::{self, MAX_LIST, MAX_SERVER};
use crate::domain::{ServerName, ServerState};
use crate::store::{BanCounts, BanPlace, StoreError, StoredServer};

/// How often the counts are checked when no probe reports.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How often all stored lists are looked through for jails that are gone.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
/// How long the lists of a server that this worker does not know are kept: it may have been added elsewhere just now.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// What the log calls this.
const STEP: &str = "lists of bans";
/// The most lists that are dropped in one pass.
const MAX_FORGOTTEN: usize = 100;

/// Keeps the lists as new as the counts until the term is over. `probed` is signalled after each probe.
pub async fn follow(scheduler: &Scheduler, term: &Term, probed: &Notify) {
    let mut lists = Lists::default();
    while !term.over.is_cancelled() {
        let wait = match lists.look(scheduler, term).await {
            Ok(wait) => {
                on_success(term, STEP);
                wait
            }
            Err(error) => {
                on_error(&scheduler.store, term, STEP, &error);
                POLL_INTERVAL
            }
        };
        tokio::time::sleep(PAUSE).await;
        // A signal may be lost with its probe, so there is a timer too.
        let _ = timeout(wait.min(POLL_INTERVAL), probed.notified()).await;
    }
}

/// What this term knows of all lists.
#[derive(Default)]
struct Lists {
    known: HashMap<BanPlace, KnownList>,
    looked_through: Option<Instant>,
    /// The connection that all of this was written over.
    connection: u64,
    unknown_since: HashMap<ServerName, Instant>,
    /// The lists that were too long in the last pass.
    long: HashSet<BanPlace>,
}

/// The servers with their states, as the last probes left them.
type States = HashMap<ServerName, std::sync::Arc<ServerState>>;

impl Lists {
    /// One pass: pulls what has changed and drops what is gone; returns after which time there may be more to do.
    async fn look(&mut self, scheduler: &Scheduler, term: &Term) -> Result<Duration, StoreError> {
        let names = scheduler.agents.names();
        let servers = scheduler.store.servers(&names).await?;
        // A server whose state cannot be read counts as never probed: its lists stay as they are.
        let state = |server: Result<StoredServer, _>| server.map(|server| server.state).unwrap_or_default();
        let states: States = names.into_iter().zip(servers.into_iter().map(state)).collect();
        self.suspect_those_away(&states);
        self.suspect_redis(scheduler.store.connection_number());
        // Before others are read: what is stored of a server is charged to it.
        let kept = self.forget(scheduler, term, &states).await?;
        self.take_over(scheduler, &states, kept).await?;
        self.warn_of_long_ones(&states);
        let (due, wait) = self.due(&states, Instant::now());
        ban_pulls::all(scheduler, term, due, &mut self.known).await?;
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
                "skipped the list of bans of {jail} on {server}: its {bans} bans exceed the limit, {MAX_LIST} for a jail and {MAX_SERVER} for all lists of a server"
            );
        }
        self.long = long.into_keys().collect();
    }

    /// Counts restart from zero with fail2ban: equal counts may stand for other bans.
    fn suspect_those_away(&mut self, states: &States) {
        for ((server, _), known) in &mut self.known {
            if states.get(server).is_some_and(|state| !state.status.condition.online()) {
                known.counts = None;
            }
        }
    }

    /// After a reconnect, Redis may have lost what this term has written, so only what is stored there counts, as for a new leader: a
    /// failover that is shorter than the lease does not end the term.
    fn suspect_redis(&mut self, connection: u64) {
        if self.connection != connection {
            self.connection = connection;
            // A list that must be read again must still be marked so.
            self.known.retain(|_, known| known.counts.is_none());
        }
    }

    /// What the leader before this one wrote counts, and so does what is stored beside the jails that run.
    async fn take_over(
        &mut self,
        scheduler: &Scheduler,
        states: &States,
        stored: Vec<BanPlace>,
    ) -> Result<(), StoreError> {
        let all = places(states).map(|(place, _)| place).chain(stored);
        let new: HashSet<BanPlace> = all.filter(|place| !self.known.contains_key(place)).collect();
        let new: Vec<BanPlace> = new.into_iter().collect();
        if new.is_empty() {
            return Ok(());
        }
        let lists = scheduler.store.ban_counts(&new).await?;
        let known = lists.into_iter().map(KnownList::stored);
        self.known.extend(new.into_iter().zip(known));
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

    /// Drops lists of this term at once, and from time to time looks for those of other terms. Returns which of these are still
    /// stored.
    async fn forget(
        &mut self,
        scheduler: &Scheduler,
        term: &Term,
        states: &States,
    ) -> Result<Vec<BanPlace>, StoreError> {
        let mut all: Vec<BanPlace> = self.known.keys().cloned().collect();
        if self.looked_through.is_none_or(|at| at.elapsed() >= CLEANUP_INTERVAL) {
            all = scheduler.store.ban_lists().await?;
            self.looked_through = Some(Instant::now());
        }
        self.unknown_since.retain(|server, _| !states.contains_key(server));
        let (mut gone, mut kept): (Vec<BanPlace>, _) =
            all.into_iter().partition(|place| self.is_gone(place, states));
        kept.extend(gone.split_off(gone.len().min(MAX_FORGOTTEN)));
        for place in gone {
            scheduler.store.forget_bans(&term.fence, &place).await?;
            tracing::info!(server.name = %place.0, jail.name = %place.1, "dropped the ban list of a jail that no longer runs");
            self.known.remove(&place);
        }
        Ok(kept)
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

/// The jails whose lists can be read, with their counts.
fn places(states: &States) -> impl Iterator<Item = (BanPlace, BanCounts)> {
    states.iter().filter(|(_, state)| state.status.condition.online()).flat_map(|(server, state)| {
        let long = long_lists::too_long(&state.status.jails);
        state.status.jails.iter().filter(move |(jail, _)| !long.contains_key(*jail)).map(|(jail, counts)| {
            ((server.clone(), jail.clone()), (counts.currently_banned, counts.total_banned))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::ban_pulls::rest_after;
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
        lists
            .known
            .insert(place(), KnownList { counts: Some((3, 3)), rests_until, ..KnownList::stored(None) });
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
        lists.known.insert(place(), KnownList { counts: Some((3, 3)), ..KnownList::stored(None) });
        lists.suspect_redis(1);
        assert!(lists.known.contains_key(&place()));
        lists.suspect_redis(2);
        assert!(!lists.known.contains_key(&place()));
        lists.known.insert(place(), KnownList::stored(None));
        lists.suspect_redis(3);
        assert_eq!(
            lists.due(&states(Condition::Up, 3), Instant::now()).0.len(),
            1,
            "it is read again all the same"
        );
    }

    #[tokio::test]
    async fn a_list_that_is_too_long_is_never_due() {
        let lists = Lists::default();
        let due = |banned| lists.due(&states(Condition::Up, banned), Instant::now()).0.len();
        assert_eq!([due(200_000), due(200_001), due(u64::MAX)], [1, 0, 0]);
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
