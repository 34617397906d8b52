//! All sessions of the caller's account: list them, end one, end all. A session of another account is 404.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::session::SessionView;
use crate::actions::revoke_sessions::{RevokeError, Revoked, revoke_all, revoke_one};
use crate::http::auth::actor::Person;
use crate::http::auth::caller::AwaitRevocation;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Path, Query};
use crate::http::query::cursor_of_list;
use crate::http::state::AppState;
use crate::store::{SessionId, SessionsCursor};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// The page of the list to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// The `next_cursor` of the previous page.
    pub(in crate::http) cursor: Option<String>,
    /// Number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

impl PageQuery {
    /// The number of items; 400 if it is out of range.
    pub(in crate::http) fn limit(&self) -> Result<usize> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::malformed(format!("`limit` must be 1 to {MAX_LIMIT}, it is {limit}")))
    }
}

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct List<T> {
    pub(in crate::http) items: Vec<T>,
    /// Where the next page begins; `null` on the last one.
    pub(in crate::http) next_cursor: Option<String>,
}

/// The sessions of the caller's account, in pages; within each page the newest first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "session",
    params(
        ("cursor" = Option<String>, Query, pattern = r"^[A-Za-z0-9_-]{10}([AEIMQUYcgkosw048]|[A-Za-z0-9_-]{43}[AQgw])$",
            description = "The `next_cursor` of the previous page"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Number of items; 50 by default")
    ),
    responses((status = 200, body = List<SessionView>), (status = 403, description = "Tokens may not do this")))]
pub async fn list(
    State(state): State<AppState>,
    Person(actor): Person,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<List<SessionView>>> {
    let limit = page.limit()?;
    let cursor = cursor_of_list(page.cursor.as_deref(), SessionsCursor::parse)?;
    let page = state.store.list_sessions(&actor.owner(), cursor, limit, state.session_life()).await?;
    let items = page.items.into_iter().map(|details| SessionView::new(details, actor.session)).collect();
    Ok(axum::Json(List { items, next_cursor: page.next_cursor }))
}

/// Ends one session of the caller's account. Any but the caller's own needs a confirmed password.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "session", params(("id" = String, Path)),
    responses((status = 204), (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes")))]
pub async fn end_one(
    State(state): State<AppState>,
    AwaitRevocation(Person(actor)): AwaitRevocation<Person>,
    cookie: CookieKind,
    Path(id): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    let id = SessionId::parse(&id).ok_or(RevokeError::Unknown)?;
    Ok(ended(cookie, revoke_one(&state, actor, id).await?))
}

/// The parameters for ending all sessions.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EndAllQuery {
    /// Whether to keep the caller's own session.
    #[serde(default)]
    #[param(required = false)]
    keep_current: bool,
}

/// Ends all sessions of the caller's account. Needs a confirmed password.
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "session", params(EndAllQuery),
    responses((status = 204), (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes")))]
pub async fn end_all(
    State(state): State<AppState>,
    AwaitRevocation(Person(actor)): AwaitRevocation<Person>,
    cookie: CookieKind,
    Query(query): Query<EndAllQuery>,
) -> Result<(StatusCode, HeaderMap)> {
    Ok(ended(cookie, revoke_all(&state, actor, query.keep_current).await?))
}

/// 204; removes the cookie if the caller's own session has ended.
fn ended(cookie: CookieKind, revoked: Revoked) -> (StatusCode, HeaderMap) {
    let removal = revoked.own.then(|| (header::SET_COOKIE, cookie.remove()));
    (StatusCode::NO_CONTENT, removal.into_iter().collect())
}
