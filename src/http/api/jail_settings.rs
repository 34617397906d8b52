//! Settings of a jail: at once and until its next reload, or for good; and "unban, and ignore from now on".
//!
//! Values are numbers, addresses and networks, and nothing else reaches the agent: a line in fail2ban's configuration
//! is a command of root if one lets it.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::jail_switch::{Change, to_the_end};
use super::jails::JailView;
use crate::agent::client::{AgentError, RefusedKind};
use crate::agent::wire;
use crate::domain::{BanTime, FindTime, JailSettings, MaxRetry, Network};
use crate::http::auth::author::Author;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Json, Path};
use crate::http::state::AppState;

/// What is to be set; what is not named stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JailSettingsChange)]
pub struct SettingsChange {
    /// Seconds of a ban; -1 is for ever.
    #[schema(value_type = Option<i64>, minimum = -1, maximum = 315_576_000)]
    bantime: Option<BanTime>,
    /// Seconds within which failures add up.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 315_576_000)]
    findtime: Option<FindTime>,
    /// Failures until a ban.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000)]
    maxretry: Option<MaxRetry>,
    /// Addresses and networks that are never banned, in place of those there were.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000)]
    ignoreip: Option<Vec<Network>>,
    /// Also after the next reload or restart.
    #[serde(default)]
    persistent: bool,
}

/// Changes settings of a jail.
#[utoipa::path(patch, path = "/api/v1/servers/{server}/jails/{jail}", tag = "jails", request_body = SettingsChange,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailView), (status = 502, description = "The agent cannot be reached")))]
pub async fn change(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
    Json(wanted): Json<SettingsChange>,
) -> Result<axum::Json<JailView>> {
    let mut change = Change::of(state, author, &server, &jail)?;
    let SettingsChange { bantime, findtime, maxretry, ignoreip, persistent } = wanted;
    let settings = JailSettings { bantime, findtime, maxretry, ignoreip };
    if settings.is_empty() {
        return Err(Problem::invalid("name at least one of bantime, findtime, maxretry and ignoreip"));
    }
    let wanted = wire::ChangeSettings { settings, persistent };
    to_the_end(async move {
        let before = change.agent.jail_view(&change.jail).await?;
        change.begin("jail.settings", json!(wanted)).await?;
        let answer = change.agent.change_settings(&change.jail, &wanted).await;
        conclude(change, "jail.settings", before, json!(wanted), answer).await
    })
    .await
}

/// What is to be ignored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IgnoreRequest)]
pub struct IgnoreRequest {
    /// An address or a network.
    #[schema(value_type = String, examples("203.0.113.7", "2001:db8::/48"))]
    network: Network,
    /// Also after the next reload or restart.
    #[serde(default)]
    persistent: bool,
}

/// Unbans an address or network and ignores it from now on, in one step.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/ignore", tag = "jails", request_body = IgnoreRequest,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailView), (status = 502, description = "The agent cannot be reached")))]
pub async fn ignore(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
    Json(IgnoreRequest { network, persistent }): Json<IgnoreRequest>,
) -> Result<axum::Json<JailView>> {
    let mut change = Change::of(state, author, &server, &jail)?;
    to_the_end(async move {
        let before = change.agent.jail_view(&change.jail).await?;
        let wanted = json!({ "ignore": network, "persistent": persistent });
        change.begin("jail.ignore", wanted.clone()).await?;
        let answer = change.agent.ignore(&change.jail, network, persistent).await;
        conclude(change, "jail.ignore", before, wanted, answer).await
    })
    .await
}

/// Audits, and shows the jail as it is now.
async fn conclude(
    change: Change,
    what: &'static str,
    before: Option<wire::JailView>,
    wanted: Value,
    answer: std::result::Result<Option<wire::JailView>, AgentError>,
) -> Result<axum::Json<JailView>> {
    let settings = |view: &wire::JailView| json!({ "bantime": view.bantime, "findtime": view.findtime, "maxretry": view.maxretry, "ignoreip": view.ignoreip });
    let before = before.as_ref().map_or(Value::Null, settings);
    let (after, outcome) = match &answer {
        Ok(view) => (view.as_ref().map_or(wanted, settings), "done".to_owned()),
        Err(error) => (wanted, error.to_string()),
    };
    change.audit(what, (before, after), outcome).await;
    change.show(matches!(answer, Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }))).await;
    let view = answer.map_err(|error| match error {
        AgentError::Refused { .. } => Problem::from(error),
        error => Problem::from(error)
            .and("whether the settings were changed is not known: look at the jail before trying again"),
    })?;
    let view = view.ok_or_else(|| Problem::not_found("jail"))?;
    Ok(axum::Json(JailView::new(view, None)))
}
