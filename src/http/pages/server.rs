//! The page of a server: a decision that waits, its jails with their switches, facts, and what happened there.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::attention::Attention;
use super::marks::{self, count, counted};
use super::page::Page;
use super::server_history::{Happened, happened};
use super::server_jails::{JailRow, rows};
use super::shell::{Shell, Visitor};
use super::sparkline::Sparkline;
use crate::domain::Timestamp;
use crate::http::error::Result;
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::store::StoreError;

/// How long a page waits for an agent. Its own way to fail2ban waits longer, while that loads a jail or lifts many bans and answers
/// nobody: just then the page is looked at.
pub const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Template)]
#[template(path = "server.html")]
struct Server {
    shell: Shell,
    name: String,
    path: String,
    shown: marks::Shown,
    attention: Option<Attention>,
    running: String,
    missing: u64,
    banned: String,
    failing: String,
    checked_at: Option<Timestamp>,
    version: Option<String>,
    backend_commands: Option<bool>,
    online_since: Option<Timestamp>,
    rows: Vec<JailRow>,
    off: usize,
    /// Whether a jail is being changed: then the page loads itself again, where no script keeps it as it is.
    switching: bool,
    /// Why the agent could not be asked for the jails that are off.
    not_asked: Option<String>,
    /// What fail2ban cannot read of its configuration.
    unreadable: Vec<String>,
    happened: Vec<Happened>,
    /// Its bans by the hour.
    hours: Option<Sparkline>,
}

/// The page of a server.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(server): Path<String>,
) -> Result<Response> {
    let target = state.server(&server)?;
    let name = target.name.clone();
    let path = super::search::server_path(&name);
    let (stored, views, happened, hours, changes) = tokio::join!(
        state.store.server(&name),
        target.agent.jail_views_within(PATIENCE),
        happened(&state, &name),
        state.store.all_hours(std::slice::from_ref(&name)),
        state.store.changes_of(&name),
    );
    let hours = hours?.into_iter().next().flatten();
    let shell = visitor.shell;
    let (known, attention) = match stored {
        Ok(stored) => {
            let attention = Attention::of(&name, &stored.state, &shell.clock);
            (stored.state, attention.map(|attention| attention.back(&path)))
        }
        Err(error @ StoreError::Corrupt { .. }) => {
            (Arc::default(), Some(Attention::unreadable(&name, error.to_string())))
        }
        Err(error) => return Err(error.into()),
    };
    let (views, unreadable, not_asked) = match views {
        Ok(views) => (views.jails, views.errors, None),
        Err(error) => (Vec::new(), Vec::new(), Some(error.to_string())),
    };
    let rows = rows(&name, &known, views, changes?);
    let totals = known.status.totals();
    let page = Server {
        name: name.to_string(),
        path,
        shown: marks::condition(known.status.condition),
        attention,
        running: counted(known.status.jails.len() as u64, "jail"),
        missing: super::attention::absent(&known).len() as u64,
        banned: count(totals.currently_banned),
        failing: count(totals.currently_failed),
        checked_at: known.status.checked_at,
        version: known.status.version.clone(),
        backend_commands: known.backend_commands.as_option(),
        online_since: known.online_since,
        off: rows.iter().filter(|row| row.is_off()).count(),
        switching: rows.iter().any(|row| row.switching.is_some() || row.change.is_there()),
        rows,
        not_asked,
        unreadable,
        happened: happened?,
        hours: hours.and_then(|hours| Sparkline::of(&hours.hours.shown(shell.clock.now))),
        shell,
    };
    Ok(Page::new(page).into_response())
}
