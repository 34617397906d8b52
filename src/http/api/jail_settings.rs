//! Settings of a jail: until its next reload, or for good; and "unban, and ignore from now on".
//!
//! Only numbers, addresses and networks reach the agent: any other text in fail2ban's configuration could become a command that
//! root runs.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::jail_changes::{JailChange, answer};
use super::jails::JailView;
use crate::actions::{Actor, change_jail};
use crate::domain::{BanTime, FindTime, JailChangeId, JailChangeKind, JailSettings, MaxRetry, Network};
use crate::http::auth::allowed::require;
use crate::http::auth::permissions::Right;
use crate::http::error::Result;
use crate::http::extract::{Json, Path};
use crate::http::state::AppState;

/// The settings to change; those that are not named stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JailSettingsChange)]
pub struct SettingsChange {
    /// Duration of a ban in seconds; -1 is permanent.
    #[schema(value_type = Option<i64>, minimum = -1, maximum = 315_576_000)]
    bantime: Option<BanTime>,
    /// Seconds within which failures add up.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 315_576_000)]
    findtime: Option<FindTime>,
    /// Number of failures that lead to a ban.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000)]
    maxretry: Option<MaxRetry>,
    /// Addresses and networks that are never banned; this replaces the present list.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000)]
    ignoreip: Option<Vec<Network>>,
    /// Also after the next reload or restart.
    #[serde(default)]
    persistent: bool,
}

/// Changes settings of a jail.
#[utoipa::path(patch, path = "/api/v1/servers/{server}/jails/{jail}", tag = "jails", request_body = SettingsChange,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailView), (status = 202, body = JailChange, description = "It takes longer than 30 s: follow it at `Location`"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn change(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
    Json(wanted): Json<SettingsChange>,
) -> Result<Response> {
    let (target, id) = (state.jail(&server, &jail)?, JailChangeId::of(rand::random()));
    let SettingsChange { bantime, findtime, maxretry, ignoreip, persistent } = wanted;
    let settings = JailSettings { bantime, findtime, maxretry, ignoreip };
    let change = {
        let (state, actor, target, id) = (state.clone(), actor.clone(), target.clone(), id.clone());
        async move {
            let view = change_jail::change_settings(&state, actor, target, settings, persistent, id).await?;
            Ok(JailView::new(view, None))
        }
    };
    answer(&state, &actor, &target, (JailChangeKind::Settings, id), change).await
}

/// The address to ignore.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IgnoreRequest)]
pub struct IgnoreRequest {
    /// An address or a network.
    #[schema(value_type = String, examples("203.0.113.7", "2001:db8::/48"))]
    network: Network,
    /// Also after the next reload or restart; for admins.
    #[serde(default)]
    persistent: bool,
}

/// Unbans an address or network and never bans it again (`ignoreip`), in one step.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/ignore", tag = "jails", request_body = IgnoreRequest,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailView), (status = 202, body = JailChange, description = "It takes longer than 30 s: follow it at `Location`"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn ignore(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
    Json(IgnoreRequest { network, persistent }): Json<IgnoreRequest>,
) -> Result<Response> {
    if persistent {
        require(&state, &actor, Right::NeverBanForGood)?;
    }
    let (target, id) = (state.jail(&server, &jail)?, JailChangeId::of(rand::random()));
    let change = {
        let (state, actor, target, id) = (state.clone(), actor.clone(), target.clone(), id.clone());
        async move {
            let view = change_jail::ignore(&state, actor, target, network, persistent, id).await?;
            Ok(JailView::new(view, None))
        }
    };
    answer(&state, &actor, &target, (JailChangeKind::Ignore, id), change).await
}
