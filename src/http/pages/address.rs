//! The page of an address: whether it is banned, as a sentence; where and until when; and which servers could not be asked.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::address_never::{NeverBannedRow, Origin, never_banned};
use super::jail_bans_list::moment;
use super::marks::counted;
use super::page::Page;
use super::search::{address_path, jail_path, server_path};
use super::server_list::read;
use super::shell::{Shell, Visitor};
use crate::actions::look_up::{BannedAt, LookedUp, Unanswered, look_up};
use crate::domain::jail::Network;
use crate::domain::{JailName, ServerName, Timestamp};
use crate::http::api::bans::address;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// The maximum number of jails that can be chosen on one page.
pub const MAX_JAILS: usize = 200;

#[derive(Template)]
#[template(path = "address.html")]
struct Address {
    shell: Shell,
    ip: String,
    path: String,
    banned: Vec<BannedRow>,
    /// When the last of its bans ends.
    last_end: Option<Timestamp>,
    answered: usize,
    servers: usize,
    unanswered: Vec<UnansweredRow>,
    never_banned: Vec<NeverBannedRow>,
    /// Servers whose never-banned entries are not known, with their paths.
    entries_unknown: Vec<(String, String)>,
    /// Jails that run and do not ban it.
    others: Vec<JailChoice>,
    more: usize,
    own: bool,
}

struct BannedRow {
    place: JailChoice,
    /// The banned network, if the ban is not of the address itself.
    network: Option<String>,
    /// The network or address to unban.
    whom: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// A server that could not be asked.
struct UnansweredRow {
    path: String,
    server: String,
    reason: String,
    /// The bans in its lists: the jail, and what is banned there.
    last_known: Vec<(String, String)>,
    read_at: Option<Timestamp>,
}

impl From<Unanswered> for UnansweredRow {
    fn from(unanswered: Unanswered) -> Self {
        let known = |at: BannedAt| (at.jail.to_string(), at.network.to_string());
        Self {
            path: server_path(&unanswered.server),
            server: unanswered.server.to_string(),
            reason: unanswered.reason,
            last_known: unanswered.last_known.into_iter().map(known).collect(),
            read_at: unanswered.read_at,
        }
    }
}

/// A jail, as forms name it.
#[derive(Debug, Clone)]
struct JailChoice {
    value: String,
    server: String,
    server_path: String,
    jail: String,
    path: String,
}

impl JailChoice {
    fn of(server: &ServerName, jail: &JailName) -> Self {
        Self {
            value: format!("{server}/{jail}"),
            server: server.to_string(),
            server_path: server_path(server),
            jail: jail.to_string(),
            path: jail_path(server, jail),
        }
    }
}

/// The path of an address's page.
///
/// # Errors
/// If the text is not an address or network.
pub fn own_path(ip: Network) -> Result<String> {
    address_path(&ip.to_string()).ok_or_else(|| Problem::internal("an address has no page"))
}

/// The page of an address.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(ip): Path<String>,
) -> Result<Response> {
    let (ip, access) = (address(&ip)?, &visitor.actor.access);
    let (found, listed) = tokio::join!(look_up(&state, access, ip), read(&state, access));
    let listed = listed?;
    let LookedUp { mut banned, unanswered, never_banned: entries, entries_unknown, .. } = found?;
    let answered = listed.len().saturating_sub(unanswered.len());
    banned.sort_by(|a, b| (&a.server, &a.jail, a.network).cmp(&(&b.server, &b.jail, b.network)));
    let by: BTreeSet<_> = banned.iter().map(|ban| (ban.server.clone(), ban.jail.clone())).collect();
    let (mut others, mut more) = (Vec::new(), 0);
    for (server, stored) in listed {
        let Ok(stored) = stored else { continue };
        let jails = stored.state.status.jails.keys();
        let elsewhere = jails.filter(|jail| !by.contains(&(server.clone(), (*jail).clone())));
        // The others are counted, and not named.
        let room = MAX_JAILS.saturating_sub(others.len());
        let elsewhere: Vec<&JailName> = elsewhere.collect();
        more += elsewhere.len().saturating_sub(room);
        others.extend(elsewhere.into_iter().take(room).map(|jail| JailChoice::of(&server, jail)));
    }
    let servers: BTreeSet<_> = banned.iter().map(|ban| &ban.server).collect();
    let endless = banned.iter().any(|ban| ban.until.is_none());
    let last_end = banned.iter().filter_map(|ban| moment(ban.until)).max().filter(|_| !endless);
    let mut shell = visitor.shell;
    shell.query = ip.to_string();
    let page = Address {
        ip: ip.to_string(),
        path: own_path(ip)?,
        servers: servers.len(),
        last_end,
        answered,
        unanswered: unanswered.into_iter().map(UnansweredRow::from).collect(),
        never_banned: never_banned(entries),
        entries_unknown: entries_unknown.iter().map(|name| (server_path(name), name.to_string())).collect(),
        own: visitor.actor.address.is_some_and(|own| ip.net().contains(&own)),
        banned: banned
            .into_iter()
            .map(|ban| BannedRow {
                place: JailChoice::of(&ban.server, &ban.jail),
                network: (ban.network != ip).then(|| ban.network.to_string()),
                whom: ban.network.to_string(),
                since: moment(ban.since),
                until: moment(ban.until),
            })
            .collect(),
        others,
        more,
        shell,
    };
    Ok(Page::new(page).into_response())
}

impl Address {
    /// The heading: whether the address is banned, and where.
    fn heading(&self) -> String {
        let ip = &self.ip;
        match (self.places().len() as u64, self.unanswered.is_empty(), self.answered) {
            (0, true, 0) => format!("It is not known whether {ip} is banned: there is no server"),
            (0, true, _) => format!("{ip} is not banned"),
            (0, false, 0) => format!("It is not known whether {ip} is banned: no server answered"),
            (0, false, answered) => {
                format!("{ip} is not banned on {} that answered", counted(answered as u64, "server"))
            }
            (jails, ..) => {
                let (jails, servers) = (counted(jails, "jail"), counted(self.servers as u64, "server"));
                format!("{ip} is banned in {jails} on {servers}")
            }
        }
    }

    /// The jails that ban it, each once.
    fn places(&self) -> BTreeSet<&str> {
        self.banned.iter().map(|row| &*row.place.value).collect()
    }

    fn jails(&self) -> String {
        counted(self.places().len() as u64, "jail")
    }

    /// Networks around it that are banned, each once.
    fn networks(&self) -> Vec<&str> {
        let networks: BTreeSet<_> = self.banned.iter().filter_map(|row| row.network.as_deref()).collect();
        networks.into_iter().collect()
    }

    fn answered_without(&self) -> String {
        counted((self.answered - self.servers.min(self.answered)) as u64, "server")
    }
}
