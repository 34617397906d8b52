//! Everything known about one address: where it is banned and until when, also by a network that contains it; what keeps it
//! from being banned; and which servers did not answer.
//!
//! ```text
//! lists in Redis ─▶ networks that contain it ─▶ each agent at once: are these banned, and by which entry never? ─▶ answer
//!              └──▶ tags of the lists ───────▶ which jails still ban what their list says?
//! ```
//!
//! The lists in Redis say which networks to ask for, and since when and until when each is banned; the agents report the current
//! state. Where an agent reports that a jail's list still holds, the list is the answer: fail2ban would search its bans one by one. A
//! network that was banned after its list was read is found once the list is read again.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use super::Context;
use crate::agent::client::AgentClient;
use crate::agent::wire;
use crate::domain::access::Access;
use crate::domain::{JailName, Network, ServerName, Timestamp};
use crate::store::{FoundBan, FoundBans, StoreError};

/// The most agents that are asked at once.
const MAX_CONCURRENT_AGENTS: usize = 64;

/// A ban that covers the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BannedAt {
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// What is banned: the address, or a network that contains it.
    pub network: Network,
    /// Since when, in seconds since 1970; `None` if that is not known.
    pub since: Option<i64>,
    /// When the ban ends; `None` if it is permanent or the end is not known.
    pub until: Option<i64>,
}

impl From<FoundBan> for BannedAt {
    fn from(FoundBan { place: (server, jail), network, ban, .. }: FoundBan) -> Self {
        Self { server, jail, network, since: ban.since, until: ban.until }
    }
}

/// An entry that keeps a jail from banning the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverBannedAt {
    /// The server.
    pub server: ServerName,
    /// The jail and the entry.
    pub entry: wire::NeverBanned,
}

/// A server that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The server.
    pub server: ServerName,
    /// Why.
    pub reason: String,
    /// The bans in its lists.
    pub last_known: Vec<BannedAt>,
    /// When the oldest of those lists was read.
    pub read_at: Option<Timestamp>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// The address or network.
    pub ip: Network,
    /// The bans that cover it.
    pub banned: Vec<BannedAt>,
    /// What keeps it from being banned.
    pub never_banned: Vec<NeverBannedAt>,
    /// Servers that could not be asked.
    pub unanswered: Vec<Unanswered>,
    /// Servers that answered, but not which entries keep it from being banned.
    pub entries_unknown: Vec<ServerName>,
}

/// Looks an address or a network up on all servers that the account is for.
///
/// # Errors
/// If Redis does not answer. An agent that does not is named in the result.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn look_up(context: &Context, access: &Access, ip: Network) -> Result<LookedUp, StoreError> {
    let mut lists: BTreeMap<ServerName, Lists> = BTreeMap::new();
    let FoundBans { bans, tags } = context.store.find_bans(ip).await?;
    for found in bans {
        lists.entry(found.place.0.clone()).or_default().found.push(found);
    }
    for ((server, jail), tag) in tags {
        lists.entry(server).or_default().tags.insert(jail, tag);
    }
    let agents = context.reached(access).into_iter().filter_map(|name| {
        let listed = lists.remove(&name).unwrap_or_default();
        Some((context.agents.get(&name)?, name, listed))
    });
    let answers: Vec<_> = stream::iter(agents)
        .map(|(agent, server, Lists { found, tags })| async move {
            let answer = ask(&agent, ip, &found, tags).await;
            (server, found, answer)
        })
        .buffered(MAX_CONCURRENT_AGENTS)
        .collect()
        .await;
    let mut all = LookedUp {
        ip,
        banned: Vec::new(),
        never_banned: Vec::new(),
        unanswered: Vec::new(),
        entries_unknown: Vec::new(),
    };
    for (server, listed, answer) in answers {
        match answer {
            Ok(lookups) => all.add(&server, &listed, lookups),
            Err(reason) => all.unanswered.push(unanswered(server, reason, listed)),
        }
    }
    Ok(all)
}

/// What the lists of one server say.
#[derive(Default)]
struct Lists {
    found: Vec<FoundBan>,
    tags: BTreeMap<JailName, String>,
}

async fn ask(
    agent: &AgentClient,
    ip: Network,
    listed: &[FoundBan],
    tags: BTreeMap<JailName, String>,
) -> Result<wire::Lookups, String> {
    let mut networks: Vec<Network> = listed.iter().map(|found| found.network).collect();
    networks.retain(|network| *network != ip);
    networks.sort_unstable();
    networks.dedup();
    networks.insert(0, ip);
    agent.look_up(&networks, tags).await.map_err(|error| error.to_string())
}

impl LookedUp {
    fn add(&mut self, server: &ServerName, listed: &[FoundBan], lookups: wire::Lookups) {
        let wire::Lookups { results, unchanged } = lookups;
        let holds = |found: &&FoundBan| unchanged.contains(&found.place.1);
        let mut banned: Vec<BannedAt> = listed.iter().filter(holds).cloned().map(BannedAt::from).collect();
        for wire::Lookup { ip, jails, never_banned } in results {
            for jail in jails {
                let found = listed.iter().find(|found| found.network == ip && found.place.1 == jail);
                let (since, until) = found.map_or((None, None), |found| (found.ban.since, found.ban.until));
                banned.push(BannedAt { server: server.clone(), jail, network: ip, since, until });
            }
            // What keeps a larger network from being banned says nothing about this address.
            if ip != self.ip {
                continue;
            }
            match never_banned {
                Some(entries) => self
                    .never_banned
                    .extend(entries.into_iter().map(|entry| NeverBannedAt { server: server.clone(), entry })),
                None => self.entries_unknown.push(server.clone()),
            }
        }
        // The address itself before the networks.
        banned.sort_by_key(|at| (at.network != self.ip, at.network));
        self.banned.extend(banned);
    }
}

fn unanswered(server: ServerName, reason: String, listed: Vec<FoundBan>) -> Unanswered {
    let read_at = listed.iter().filter_map(|found| found.read_at).min();
    Unanswered { server, reason, last_known: listed.into_iter().map(BannedAt::from).collect(), read_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredBan;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    fn name(text: &str) -> ServerName {
        ServerName::parse(text).unwrap()
    }

    fn jail(text: &str) -> JailName {
        JailName::parse(text).unwrap()
    }

    fn listed(text: &str) -> FoundBan {
        FoundBan {
            place: (name("web"), jail("sshd")),
            network: network(text),
            ban: StoredBan { ip: text.to_owned(), since: Some(5), until: Some(65) },
            read_at: None,
        }
    }

    #[test]
    fn the_agent_says_what_is_banned_and_the_list_since_when_and_until_when() {
        let ip = network("198.51.100.9");
        let lookup = |text: &str, jails: &[&str]| wire::Lookup {
            ip: network(text),
            jails: jails.iter().map(|text| jail(text)).collect(),
            never_banned: None,
        };
        let mut all = LookedUp {
            ip,
            banned: vec![],
            never_banned: vec![],
            unanswered: vec![],
            entries_unknown: vec![],
        };
        let list = [listed("198.51.100.9"), listed("198.51.100.0/24")];
        let results = vec![lookup("198.51.100.9", &["nginx"]), lookup("198.51.100.0/24", &["sshd"])];
        let mut unsearched = all.clone();
        all.add(&name("web"), &list, wire::Lookups { results, unchanged: vec![] });
        let seen: Vec<_> =
            all.banned.iter().map(|at| (at.jail.as_str(), at.network.to_string(), at.until)).collect();
        let expected = [("nginx", ip.to_string(), None), ("sshd", "198.51.100.0/24".to_owned(), Some(65))];
        assert_eq!(seen, expected, "it is unbanned in sshd since the list was read, and banned in nginx");
        assert_eq!(all.entries_unknown, [name("web")], "once, for the address itself");

        let results = vec![lookup("198.51.100.9", &["nginx"]), lookup("198.51.100.0/24", &[])];
        unsearched.add(&name("web"), &list, wire::Lookups { results, unchanged: vec![jail("sshd")] });
        let seen: Vec<_> =
            unsearched.banned.iter().map(|at| (at.jail.as_str(), at.network.to_string(), at.until)).collect();
        let expected = [
            ("sshd", ip.to_string(), Some(65)),
            ("nginx", ip.to_string(), None),
            ("sshd", "198.51.100.0/24".to_owned(), Some(65)),
        ];
        assert_eq!(seen, expected, "where the list still holds, all of it is the answer");
    }
}
