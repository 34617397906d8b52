//! The lists of bans: pulled by the leader when a jail's counts have changed, and never else, so that pages and searches
//! cost fail2ban nothing, whatever the number of browsers.
//!
//! It looks at what the probes stored, beside them: a long list delays no probe.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Scheduler;
use super::jobs::on_error;
use super::term::Term;
use crate::agent::wire::Ban;
use crate::domain::{JailName, ServerName};
use crate::store::{BanCounts, StoreError, StoredBan};

/// How often the counts are looked at when no probe tells of itself.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// At least this lies between two looks: under attack the counts change all the time.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps the lists as new as the counts until the term is over. `probed` is signalled after each probe.
pub async fn follow(scheduler: &Scheduler, term: &Term, probed: &Notify) {
    let mut synced = HashMap::new();
    while !term.over.is_cancelled() {
        if let Err(error) = look(scheduler, term, &mut synced).await {
            on_error(term, "lists of bans", &error);
        }
        tokio::time::sleep(PAUSE).await;
        // A signal may be lost with its probe, so there is a timer too.
        let _ = timeout(LOOK_EVERY, probed.notified()).await;
    }
}

type Synced = HashMap<(ServerName, JailName), BanCounts>;

async fn look(scheduler: &Scheduler, term: &Term, synced: &mut Synced) -> Result<(), StoreError> {
    let names = scheduler.agents.names();
    let servers = scheduler.store.servers(&names).await?;
    for (name, server) in names.into_iter().zip(servers) {
        if !server.state.status.condition.online() {
            continue;
        }
        for (jail, counts) in server.state.status.jails {
            let counts = (counts.currently_banned, counts.total_banned);
            let place = (name.clone(), jail);
            if synced.get(&place) == Some(&counts) {
                continue;
            }
            // A new leader knows nothing: what the one before it wrote counts.
            let known = !synced.contains_key(&place)
                && scheduler.store.ban_counts(&place.0, &place.1).await? == Some(counts);
            if known || pull(scheduler, term, &place, counts).await? {
                synced.insert(place, counts);
            }
        }
    }
    Ok(())
}

/// Whether the list was written; an agent that cannot be asked is asked again at the next look.
async fn pull(
    scheduler: &Scheduler,
    term: &Term,
    (server, jail): &(ServerName, JailName),
    counts: BanCounts,
) -> Result<bool, StoreError> {
    let Some(agent) = scheduler.agents.get(server) else { return Ok(false) };
    let list = match agent.bans(jail).await {
        Ok(list) => list,
        Err(error) => {
            tracing::debug!(server.name = %server, jail = %jail, error = %error, "no list of bans");
            return Ok(false);
        }
    };
    let stored = |Ban(ip, since, until): &Ban| StoredBan { ip: ip.to_string(), since: *since, until: *until };
    let bans: Vec<StoredBan> = list.bans.iter().map(stored).collect();
    scheduler.store.write_bans(&term.fence, server, jail, counts, &bans).await?;
    Ok(true)
}
