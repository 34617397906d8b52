//! The fail2ban servers and their jails.
//!
//! A server is shown from its document in Redis, as the last probe left it, so that no request waits for a fail2ban. Only its
//! jails are read from the agent itself. A name that is not configured, or is not a valid name, is refused the same way, before
//! Redis is asked.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::server_view::ServerView;
use super::sessions::List;
use crate::actions::request_probe::request_probe;
use crate::domain::ServerName;
use crate::http::auth::caller::Caller;
use crate::http::error::Result;
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::store::StoreError;

/// All servers that the account is for, as their last probes left them.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", responses((status = 200, body = List<ServerView>)))]
pub async fn list(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<List<ServerView>>> {
    let names: Vec<ServerName> = state.reached(&caller.session.access);
    let stored = state.store.servers(&names).await?;
    let hours = state.store.all_hours(&names).await?;
    let servers = names.iter().zip(stored).zip(&hours);
    let items = servers.map(|((name, stored), hours)| ServerView::read(name, stored, hours.as_ref()));
    Ok(axum::Json(List { items: items.collect(), next_cursor: None }))
}

/// One server.
#[utoipa::path(get, path = "/api/v1/servers/{server}", tag = "servers", params(("server" = String, Path)), responses((status = 200, body = ServerView)))]
pub async fn show(
    State(state): State<AppState>,
    _: Caller,
    Path(server): Path<String>,
) -> Result<axum::Json<ServerView>> {
    let name = state.server(&server)?.name;
    // As in the list: a state that cannot be decoded is shown with the reason, and without Redis the answer is 503.
    let stored = match state.store.server(&name).await {
        Err(unreadable @ StoreError::Corrupt { .. }) => Err(unreadable),
        stored => Ok(stored?),
    };
    let hours = state.store.all_hours(std::slice::from_ref(&name)).await?;
    Ok(axum::Json(ServerView::read(&name, stored, hours.first().and_then(Option::as_ref))))
}

/// The request was accepted, and will be carried out.
#[derive(Serialize, ToSchema)]
pub struct Requested {
    requested: bool,
}

/// Asks the leader to probe the server now.
#[utoipa::path(post, path = "/api/v1/servers/{server}/probe", tag = "servers", params(("server" = String, Path)), responses((status = 202, body = Requested)))]
pub async fn probe(
    State(state): State<AppState>,
    _: Caller,
    Path(server): Path<String>,
) -> Result<(StatusCode, axum::Json<Requested>)> {
    request_probe(&state, state.server(&server)?.name).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Requested { requested: true })))
}
