//! Making and lifting bans: a few at once, many as a job (`ban_jobs.rs`).
//!
//! Addresses go to fail2ban up to 25 at a time, since its one command thread does nothing else during a command. After each
//! command the agent asks for the resulting state, which the answer reports address by address.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ban_jobs::{BanJob, Name, accepted};
use super::bans::address;
use crate::actions::Actor;
use crate::actions::ban::{self, BanOutcome};
use crate::actions::unban_all::{self, UnbanAllOutcome};
use crate::agent::client::BanResult;
use crate::domain::Network;
use crate::http::error::Result;
use crate::http::extract::{Json, LARGE_BODY, Path};
use crate::http::state::AppState;

/// The addresses to ban.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BansRequest)]
pub struct Bans {
    /// Addresses and networks.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 20000, examples("203.0.113.7"))]
    ips: Vec<Network>,
    /// Whether to ban your own address, a trusted proxy, a loopback address, or a network larger than a /8 (IPv6: /16), too.
    #[serde(default)]
    force: bool,
}

/// The resulting state of each address.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    results: Vec<AddressOutcome>,
}

/// The resulting state of one address.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressOutcome {
    ip: String,
    /// Whether the jail bans it now, read back from fail2ban (in a jail with very many bans: as fail2ban answered the command);
    /// `null` if not known.
    banned: Option<bool>,
    /// Whether the request changed this.
    changed: Option<bool>,
    /// Why it is not known.
    error: Option<String>,
}

/// The addresses to unban.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UnbansRequest)]
pub struct Unbans {
    /// Addresses and networks.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 20000, examples("203.0.113.7"))]
    ips: Vec<Network>,
}

/// Bans addresses in a jail: up to 100 at once; more of them, or what is left after 25 s, as a job.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans", request_body = Bans,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = Outcome),
        (status = 202, body = BanJob, headers(("Location" = String, description = "The job")), description = "A job"),
        (status = 429, description = "Too many ban jobs are open"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn ban(
    State(state): State<AppState>,
    actor: Actor,
    Name(job): Name,
    Path((server, jail)): Path<(String, String)>,
    Json(Bans { ips, force }): Json<Bans, LARGE_BODY>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    Ok(shown(ban::ban(&state, actor, target, ips, force, job).await?))
}

/// Unbans addresses in a jail: up to 100 at once; more of them, or what is left after 25 s, as a job.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/unban", tag = "bans", request_body = Unbans,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = Outcome),
        (status = 202, body = BanJob, headers(("Location" = String, description = "The job")), description = "A job"),
        (status = 429, description = "Too many ban jobs are open"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban_some(
    State(state): State<AppState>,
    actor: Actor,
    Name(job): Name,
    Path((server, jail)): Path<(String, String)>,
    Json(Unbans { ips }): Json<Unbans, LARGE_BODY>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    Ok(shown(ban::unban(&state, actor, target, ips, job).await?))
}

/// 200 with the resulting state of each address, or 202 with the job.
fn shown(outcome: BanOutcome) -> Response {
    match outcome {
        BanOutcome::AtOnce(outcomes) => {
            let results = outcomes.into_iter().map(AddressOutcome::from).collect();
            axum::Json(Outcome { results }).into_response()
        }
        BanOutcome::Job(view) => accepted(*view),
    }
}

/// Unbans one address or network in a jail.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/jails/{jail}/bans/{ip}", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path), ("ip" = String, Path)),
    responses((status = 200, body = Outcome),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban(
    State(state): State<AppState>,
    actor: Actor,
    Name(job): Name,
    Path((server, jail, ip)): Path<(String, String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let ip = address(&ip)?;
    Ok(shown(ban::unban(&state, actor, target, vec![ip], job).await?))
}

/// The outcome of lifting all bans of a jail.
#[derive(Serialize, ToSchema)]
pub struct UnbannedAll {
    unbanned: usize,
    /// Number of bans that are left: if it is not 0, send the request again.
    remaining: usize,
}

/// Lifts all bans of a jail: at once if it has up to 100, as the last probe counted them, else as a job.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = UnbannedAll),
        (status = 202, body = BanJob, headers(("Location" = String, description = "The job")), description = "A job"),
        (status = 429, description = "Too many ban jobs are open"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban_all(
    State(state): State<AppState>,
    actor: Actor,
    Name(job): Name,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    Ok(match unban_all::unban_all(&state, actor, target, job).await? {
        UnbanAllOutcome::AtOnce { unbanned, remaining } => {
            axum::Json(UnbannedAll { unbanned, remaining }).into_response()
        }
        UnbanAllOutcome::Job(view) => accepted(*view),
    })
}

impl From<ban::AddressOutcome> for AddressOutcome {
    fn from(outcome: ban::AddressOutcome) -> Self {
        match outcome {
            ban::AddressOutcome::Known(BanResult { ip, banned, changed }) => {
                Self { ip: ip.to_string(), banned: Some(banned), changed: Some(changed), error: None }
            }
            ban::AddressOutcome::Unknown { ip, reason } => {
                Self { ip: ip.to_string(), banned: None, changed: None, error: Some(reason) }
            }
        }
    }
}
