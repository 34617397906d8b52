//! The page of a server: a pending decision, its jails with their switches, facts, and what happened there.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::attention::Attention;
use super::marks::{self, count, counted};
use super::page::Page;
use super::search::jail_path;
use super::server_history::{Happened, happened};
use super::server_jails::{JailRow, rows};
use super::shell::{Shell, Visitor};
use super::sparkline::Sparkline;
use crate::domain::{Condition, Timestamp, long_lists};
use crate::http::auth::permissions::Right;
use crate::http::error::Result;
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::store::StoreError;

/// How long a page waits for an agent. The agent itself waits longer for fail2ban, which answers nobody while it loads a jail or
/// lifts many bans: just then users open the page.
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
    /// Whether a jail is being changed: then the page reloads itself if scripts are off.
    switching: bool,
    /// Why the agent could not be asked for the jails that are off.
    not_asked: Option<String>,
    /// The parts of the configuration that fail2ban cannot read.
    unreadable: Vec<String>,
    /// Jails whose lists of bans are not read, and their paths.
    unread: Vec<(String, String)>,
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
        happened(&state, &name, visitor.shell.may(Right::ReadAudit)),
        state.store.all_hours(std::slice::from_ref(&name)),
        state.store.changes_of(&name),
    );
    let hours = hours?.into_iter().next().flatten();
    let shell = visitor.shell;
    let (known, attention) = match stored {
        Ok(stored) => {
            let attention = Attention::of(&name, &stored.state, &shell);
            (stored.state, attention.map(|attention| attention.back(&path)))
        }
        Err(error @ StoreError::Corrupt { .. }) => {
            (Arc::default(), Some(Attention::unreadable(&name, error.to_string(), &shell)))
        }
        Err(error) => return Err(error.into()),
    };
    let (views, unreadable, not_asked) = match views {
        Ok(views) => (views.jails, views.errors, None),
        Err(error) => (Vec::new(), Vec::new(), Some(error.to_string())),
    };
    let unread = long_lists::unread(&known);
    let rows = rows(&name, &known, views, changes?);
    let totals = known.status.totals();
    // Without an answer of fail2ban its bans may still be in force.
    let number =
        |of: u64| if known.status.condition == Condition::Down { "–".to_owned() } else { count(of) };
    let page = Server {
        name: name.to_string(),
        path,
        shown: marks::condition(known.status.condition),
        attention,
        running: counted(known.status.jails.len() as u64, "jail"),
        missing: super::attention::absent(&known).len() as u64,
        banned: number(totals.currently_banned),
        failing: number(totals.currently_failed),
        checked_at: known.status.checked_at,
        version: known.status.version.clone(),
        backend_commands: known.backend_commands.as_option(),
        online_since: known.online_since,
        off: rows.iter().filter(|row| row.is_off()).count(),
        switching: rows.iter().any(|row| row.switching.is_some() || row.change.is_there()),
        rows,
        not_asked,
        unreadable,
        unread: unread
            .into_iter()
            .map(|(jail, ..)| (jail.to_string(), jail_path(&target.name, &jail)))
            .collect(),
        happened: happened?,
        hours: hours.and_then(|hours| Sparkline::of(&hours.hours.shown(shell.clock.now))),
        shell,
    };
    Ok(Page::new(page).into_response())
}
