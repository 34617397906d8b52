//! The search: it looks up an address, opens the page of a server or jail if exactly one matches, and else filters the overview.

use std::collections::BTreeSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::marks::counted;
use super::shell::Visitor;
use crate::domain::jail::Network;
use crate::domain::{JailName, ServerName};
use crate::http::error::Result;
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::store::StoredServer;

/// The maximum number of suggestions.
const MAX_SUGGESTIONS: usize = 7;

/// The servers and jails that a search found by name.
pub struct Found<'a> {
    servers: Vec<&'a ServerName>,
    jails: Vec<(&'a ServerName, &'a JailName)>,
    /// The servers of both.
    all: BTreeSet<&'a ServerName>,
}

impl<'a> Found<'a> {
    /// Servers and jails whose name contains these words.
    #[must_use]
    pub fn among(all: &'a [(ServerName, Option<StoredServer>)], words: &str) -> Self {
        let words = words.to_lowercase();
        let has = |name: &str| name.to_lowercase().contains(&words);
        let servers: Vec<_> = all.iter().map(|(name, _)| name).filter(|name| has(name.as_str())).collect();
        let jails = all.iter().flat_map(|(name, stored)| {
            let jails = stored.iter().flat_map(|stored| stored.state.status.jails.keys());
            jails.map(move |jail| (name, jail))
        });
        let jails: Vec<_> = jails.filter(|(_, jail)| has(jail.as_str())).collect();
        let all = servers.iter().copied().chain(jails.iter().map(|(server, _)| *server)).collect();
        Self { servers, jails, all }
    }

    /// Whether this server is among them, by its name or by one of its jails.
    #[must_use]
    pub fn has(&self, server: &ServerName) -> bool {
        self.all.contains(server)
    }

    /// The page to open, if there is only one: a complete name takes precedence over names that it is a part of.
    #[must_use]
    pub fn only(&self, words: &str) -> Option<String> {
        if let Some(whole) = self.servers.iter().find(|name| name.as_str() == words) {
            return Some(server_path(whole));
        }
        match (&self.servers[..], &self.jails[..]) {
            ([server], []) => Some(server_path(server)),
            ([], [(server, jail)]) => Some(jail_path(server, jail)),
            _ => None,
        }
    }
}

/// The page of a server.
#[must_use]
pub fn server_path(server: &ServerName) -> String {
    format!("/servers/{server}")
}

/// The page of a jail.
#[must_use]
pub fn jail_path(server: &ServerName, jail: &JailName) -> String {
    format!("/servers/{server}/jails/{}", jail.to_segment())
}

/// The page of an address or network, if that is what was typed.
#[must_use]
pub fn address_path(words: &str) -> Option<String> {
    let network = Network::parse(words.trim())?;
    Some(format!("/addresses/{}", network.to_string().replace('/', "%2F")))
}

/// What was typed.
#[derive(Deserialize)]
pub struct Words {
    #[serde(default)]
    q: String,
}

/// Suggestions, the best first.
#[derive(Serialize)]
pub struct Suggestions {
    items: Vec<Suggestion>,
}

#[derive(Serialize)]
struct Suggestion {
    text: String,
    href: String,
    mark: &'static str,
    count: Option<String>,
}

/// Suggestions for what was typed so far.
pub async fn suggest(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(Words { q }): Query<Words>,
) -> Result<axum::Json<Suggestions>> {
    let words = q.trim();
    let mut items = Vec::new();
    if words.is_empty() || words.len() > 200 {
        return Ok(axum::Json(Suggestions { items }));
    }
    if let Some(href) = address_path(words) {
        items.push(Suggestion { text: format!("Look up {words}"), href, mark: "barred", count: None });
    }
    let all: Vec<_> = super::server_list::read(&state, &visitor.actor.access)
        .await?
        .into_iter()
        .map(|(name, stored)| (name, stored.ok()))
        .collect();
    let found = Found::among(&all, words);
    for name in found.servers.iter().take(MAX_SUGGESTIONS) {
        let stored = all.iter().find(|(server, _)| server == *name).and_then(|(_, stored)| stored.as_ref());
        let jails = stored.map_or(0, |stored| stored.state.status.jails.len() as u64);
        let shown =
            super::marks::condition(stored.map(|stored| stored.state.status.condition).unwrap_or_default());
        items.push(Suggestion {
            text: format!("{name} ({})", shown.word),
            href: server_path(name),
            mark: shown.mark.0,
            count: Some(counted(jails, "jail")),
        });
    }
    for (server, jail) in found.jails.iter().take(MAX_SUGGESTIONS) {
        items.push(Suggestion {
            text: format!("{jail} on {server}"),
            href: jail_path(server, jail),
            mark: "right",
            count: None,
        });
    }
    items.truncate(MAX_SUGGESTIONS);
    Ok(axum::Json(Suggestions { items }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{JailCounts, ServerState};

    fn all() -> Vec<(ServerName, Option<StoredServer>)> {
        let one = |name: &str, jails: &[&str]| {
            let mut state = ServerState::default();
            state.status.jails =
                jails.iter().map(|jail| (JailName::parse(jail).unwrap(), JailCounts::default())).collect();
            let read_at = crate::domain::Timestamp::default();
            (
                ServerName::parse(name).unwrap(),
                Some(StoredServer { state: state.into(), revision: 1, read_at }),
            )
        };
        vec![one("web-1", &["sshd", "nginx"]), one("web-10", &["sshd"]), one("mail-1", &[])]
    }

    #[test]
    fn the_search_opens_the_only_match_and_prefers_a_whole_name() {
        let all = all();
        let only = |words: &str| Found::among(&all, words).only(words);
        assert_eq!(only("web-1").as_deref(), Some("/servers/web-1"));
        assert_eq!(only("MAIL").as_deref(), Some("/servers/mail-1"));
        assert_eq!(only("nginx").as_deref(), Some("/servers/web-1/jails/nginx"));
        assert_eq!((only("sshd"), only("web"), only("none")), (None, None, None));
        let found = Found::among(&all, "sshd");
        assert_eq!(all.iter().filter(|(name, _)| found.has(name)).count(), 2);
    }

    #[test]
    fn an_address_or_a_network_is_looked_up() {
        assert_eq!(address_path(" 203.0.113.77 ").as_deref(), Some("/addresses/203.0.113.77"));
        assert_eq!(address_path("2001:DB8::1").as_deref(), Some("/addresses/2001:db8::1"));
        assert_eq!(address_path("203.0.113.9/24").as_deref(), Some("/addresses/203.0.113.0%2F24"));
        assert_eq!(address_path("web-1"), None);
    }
}
