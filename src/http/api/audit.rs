//! Who did what, from where, when, with what outcome; the newest first.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::sessions::{List, PageQuery};
use super::time::Time;
use crate::http::auth::caller::Caller;
use crate::http::error::Result;
use crate::http::extract::Query;
use crate::http::query::cursor_of_list;
use crate::http::state::AppState;
use crate::store::{AuditCursor, AuditEntry};

/// Who did what, from where, when, with what outcome; the newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "cluster",
    params(
        ("cursor" = Option<String>, Query, pattern = r"^[0-9]{1,15}-[0-9]{1,15}([.][0-3])?$",
            description = "The `next_cursor` of the previous page"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Number of items; 50 by default")
    ),
    responses((status = 200, body = List<Entry>)))]
pub async fn list(
    State(state): State<AppState>,
    _: Caller,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<List<Entry>>> {
    let limit = page.limit()?;
    let cursor = cursor_of_list(page.cursor.as_deref(), AuditCursor::parse)?;
    let page = state.store.audit_page(cursor, limit).await?;
    let items = page.items.into_iter().map(Entry::from).collect();
    Ok(axum::Json(List { items, next_cursor: page.next_cursor }))
}

/// An entry as users see it.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct Entry {
    /// Its place in its trail.
    id: String,
    /// `security`, `changes`, `refusals`, or `earlier` for what version 0.2 wrote: trail and `id` together identify an entry.
    trail: &'static str,
    at: Time,
    /// `-` if no existing account was named.
    username: String,
    /// `null` if nobody was logged in: at the setup, a refused login, an accepted invitation, or a command on a host.
    session: Option<String>,
    ip: Option<String>,
    worker: Option<String>,
    what: String,
    target: Option<String>,
    before: Value,
    after: Value,
    /// `done`; `begun`; of a ban job also `queued`, `asked` (to cancel it) or `cancelled`; otherwise why it was not done.
    outcome: String,
    /// The `id` of the entry, in the same trail, that recorded the beginning of this change. If no entry refers to a beginning,
    /// its outcome is not known.
    begun: Option<String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            trail: entry.trail.as_str(),
            at: entry.at.into(),
            username: entry.username,
            session: entry.session,
            ip: entry.address,
            worker: entry.worker,
            what: entry.what,
            target: entry.target,
            before: entry.before,
            after: entry.after,
            outcome: entry.outcome,
            begun: entry.begun,
        }
    }
}
