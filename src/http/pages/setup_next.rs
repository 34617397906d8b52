//! After the setup: what to do next, and why.

use askama::Template;
use axum::extract::State;

use super::marks::{self, count, counted};
use super::never_ban;
use super::page::Page;
use super::shell::{Shell, Visitor};
use crate::domain::Condition;
use crate::http::auth::cookie::CookieKind;
use crate::http::auth::permissions::Right;
use crate::http::error::Result;
use crate::http::state::AppState;

/// The maximum number of servers that are listed; the overview has the rest.
const MAX_LISTED: usize = 20;

#[derive(Template)]
#[template(path = "setup_next.html")]
pub struct Next {
    shell: Shell,
    servers: Vec<Found>,
    more: usize,
    total: String,
    https: bool,
    address: String,
    /// Whether the user's address is this machine's own, which no ban keeps out.
    here: bool,
    jails: String,
}

struct Found {
    name: String,
    shown: marks::Shown,
    text: String,
}

/// The list.
pub async fn show(State(state): State<AppState>, visitor: Visitor, cookie: CookieKind) -> Result<Page<Next>> {
    let mut servers = Vec::new();
    for (name, stored) in super::server_list::read(&state, &visitor.actor.access).await? {
        let state = stored.map(|stored| stored.state).unwrap_or_default();
        let status = &state.status;
        let totals = status.totals();
        let text = match status.condition {
            Condition::Up | Condition::Degraded => {
                format!(
                    "{}, {} banned",
                    counted(status.jails.len() as u64, "jail"),
                    count(totals.currently_banned)
                )
            }
            Condition::Unknown => "not checked yet".to_owned(),
            _ => status.error.clone().unwrap_or_else(|| "no answer".to_owned()),
        };
        servers.push(Found { name: name.to_string(), shown: marks::condition(status.condition), text });
    }
    let total = counted(servers.len() as u64, "server");
    let more = servers.len().saturating_sub(MAX_LISTED);
    servers.truncate(MAX_LISTED);
    let https = cookie == CookieKind::Secure;
    let address = visitor.actor.address.map(|address| address.to_string()).unwrap_or_default();
    let here = visitor.actor.address.is_none_or(|address| address.is_loopback());
    let jails = never_ban::jails(&state, &visitor.actor.access).await?.len() as u64;
    let jails = if jails == 0 { String::new() } else { counted(jails, "jail") };
    Ok(Page::new(Next { shell: visitor.shell, servers, more, total, https, address, here, jails }))
}
