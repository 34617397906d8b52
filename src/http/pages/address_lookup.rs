//! Where an address is banned: asked of all agents at once, with the times that the lists have.

use futures_util::{StreamExt as _, stream};

use crate::domain::jail::Network;
use crate::domain::{JailName, ServerName};
use crate::http::error::Result;
use crate::http::state::AppState;

/// Agents that are asked at once.
const ASKED_AT_ONCE: usize = 64;

/// A ban that the address is under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BannedAt {
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// What is banned: the address, or a network that contains it.
    pub network: Network,
    /// Since when, in seconds since 1970; none where that is not known.
    pub since: Option<i64>,
    /// Until when; none for ever, or where that is not known.
    pub until: Option<i64>,
}

/// A server that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The server.
    pub server: ServerName,
    /// Why.
    pub reason: String,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct LookedUp {
    /// The bans it is under.
    pub banned: Vec<BannedAt>,
    /// Servers that could not be asked.
    pub unanswered: Vec<Unanswered>,
    /// How many answered.
    pub answered: usize,
}

/// Looks an address or a network up everywhere.
///
/// # Errors
/// If Redis cannot be asked; an agent that cannot be is named in the answer.
pub async fn look_up(state: &AppState, ip: Network) -> Result<LookedUp> {
    let agents = state.agents.names().into_iter().filter_map(|name| Some((state.agents.get(&name)?, name)));
    let asked: Vec<_> = stream::iter(agents)
        .map(|(agent, server)| async move { (server, agent.banned(&[ip]).await) })
        .buffered(ASKED_AT_ONCE)
        .collect()
        .await;
    let mut all = LookedUp::default();
    for (server, answer) in asked {
        match answer {
            Ok(lookups) => {
                all.answered += 1;
                for jail in lookups.into_iter().flat_map(|lookup| lookup.jails) {
                    let (since, until) = times(state, &server, &jail, ip).await?;
                    all.banned.push(BannedAt { server: server.clone(), jail, network: ip, since, until });
                }
            }
            Err(error) => all.unanswered.push(Unanswered { server, reason: error.to_string() }),
        }
    }
    Ok(all)
}

/// Since when and until when, as the list of the jail has it.
async fn times(
    state: &AppState,
    server: &ServerName,
    jail: &JailName,
    ip: Network,
) -> Result<(Option<i64>, Option<i64>)> {
    let text = ip.to_string();
    let (page, _) = state.store.bans(server, jail, &text, None, 1).await?;
    let ban = page.items.into_iter().find(|ban| ban.ip == text);
    Ok(ban.map_or((None, None), |ban| (ban.since, ban.until)))
}
