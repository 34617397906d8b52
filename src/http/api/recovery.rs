//! A pending recovery: a jail was switched on and fail2ban went down, or lost jails, soon after.
//!
//! It is put aside, or rolled back: the jail is switched off again and fail2ban brought back.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use utoipa::{IntoParams, ToSchema};

use super::jail_switch::{Change, to_the_end};
use super::servers::configured;
use super::time;
use crate::agent::wire;
use crate::domain::transition::{RecoveryChanged, clear_pending_recovery};
use crate::domain::{JailName, PendingRecovery, ServerName, ServerState, Timestamp};
use crate::http::auth::author::{Author, note};
use crate::http::error::{Problem, Result};
use crate::http::extract::{Path, Query};
use crate::http::state::AppState;

/// Which pending recovery the user saw.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RecoveryQuery {
    /// When the one that the user saw was detected.
    #[param(format = DateTime)]
    detected_at: Option<String>,
}

impl RecoveryQuery {
    fn detected_at(&self) -> Result<Option<Timestamp>> {
        let parse = |text: &String| {
            time::parse(text).ok_or_else(|| {
                Problem::malformed("`detected_at` must be a time such as 2026-01-31T12:00:00.000000Z")
            })
        };
        self.detected_at.as_ref().map(parse).transpose()
    }
}

/// Puts the pending recovery aside.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/recovery", tag = "servers", params(("server" = String, Path), RecoveryQuery),
    responses((status = 204), (status = 409, description = "Another one is pending than the one named")))]
pub async fn clear(
    State(state): State<AppState>,
    author: Author,
    Path(server): Path<String>,
    Query(query): Query<RecoveryQuery>,
) -> Result<StatusCode> {
    let (name, _) = configured(&state, &server)?;
    let expected = query.detected_at()?;
    let cleared = std::sync::Mutex::new(json!(null));
    let change = |before: ServerState, _now| {
        *cleared.lock().unwrap_or_else(PoisonError::into_inner) =
            before.pending_recovery.as_ref().map_or(json!(null), told);
        let (after, events) = clear_pending_recovery(before, expected)?;
        // no event: there was nothing to clear, so nothing is written
        Ok::<_, RecoveryChanged>((!events.is_empty()).then_some((after, events)))
    };
    state.store.change_server(&name, change).await?;
    let cleared = cleared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if cleared.is_null() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let record = author.record("recovery.clear", Some(name.to_string()), (cleared, json!(null)), "done");
    note(&state, &record).await;
    tracing::info!(
        server.name = %name,
        "`{}` put the pending recovery of server `{name}` aside", author.username()
    );
    Ok(StatusCode::NO_CONTENT)
}

/// A pending recovery, for the audit.
fn told(pending: &PendingRecovery) -> serde_json::Value {
    let at = |moment| time::Time(moment).to_string();
    json!({
        "jail_name": pending.jail_name, "activated_at": at(pending.activated_at),
        "detected_at": at(pending.detected_at), "recovered": pending.recovered,
    })
}

impl From<RecoveryChanged> for Problem {
    fn from(changed: RecoveryChanged) -> Self {
        let detected_at = time::Time(changed.detected_at).to_string();
        Self::conflict(
            "recovery-changed",
            "Another recovery has become pending",
            format!("the recovery that is pending now was detected at {detected_at}; nothing was cleared"),
        )
        .with("detected_at", detected_at)
    }
}

/// How things are after a rollback.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolledBack {
    /// The jail that was switched off.
    #[schema(value_type = String)]
    jail: JailName,
    /// Whether fail2ban had to be started.
    started: bool,
    /// The jails that run.
    #[schema(value_type = Vec<String>)]
    running: Vec<JailName>,
    /// Jails that are switched on and do not run, each with the reason.
    #[schema(value_type = BTreeMap<String, String>)]
    missing: BTreeMap<JailName, String>,
}

/// Switches the jail of the pending recovery off again, and brings fail2ban back.
#[utoipa::path(post, path = "/api/v1/servers/{server}/recovery/rollback", tag = "servers", params(("server" = String, Path), RecoveryQuery),
    responses((status = 200, body = RolledBack), (status = 409, description = "None is pending, or another one than the one named"),
        (status = 422, description = "fail2ban's configuration would be wrong"), (status = 502, description = "The agent cannot be reached")))]
pub async fn roll_back(
    State(state): State<AppState>,
    author: Author,
    Path(server): Path<String>,
    Query(query): Query<RecoveryQuery>,
) -> Result<axum::Json<RolledBack>> {
    let (name, _) = configured(&state, &server)?;
    let pending = pending(&state, &name, query.detected_at()?).await?;
    let change = Change::of(state, author, &server, pending.jail_name.as_str())?;
    to_the_end(bring_back(change, pending)).await.map(axum::Json)
}

/// The recovery that waits, if it is the one that the user saw.
async fn pending(
    state: &AppState,
    name: &ServerName,
    expected: Option<Timestamp>,
) -> Result<PendingRecovery> {
    let pending = state.store.server(name).await?.state.pending_recovery;
    let Some(pending) = pending.filter(|pending| !pending.recovered) else {
        return Err(Problem::conflict(
            "no-pending-recovery",
            "No recovery is pending",
            format!(
                "server `{name}` did not go down after an activation, or is back already; nothing was changed"
            ),
        ));
    };
    match expected {
        Some(expected) if expected != pending.detected_at => {
            Err(RecoveryChanged { detected_at: pending.detected_at }.into())
        }
        _ => Ok(pending),
    }
}

async fn bring_back(mut change: Change, pending: PendingRecovery) -> Result<RolledBack> {
    change.begin("recovery.roll_back", json!({ "active": false })).await?;
    let rolled_back = change.agent.roll_back(&change.jail).await;
    let outcome = rolled_back.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
    let after = rolled_back.as_ref().map_or_else(|_| json!(null), |back| json!(back));
    change.audit("recovery.roll_back", (told(&pending), after), outcome).await;
    let Change { state, server: name, .. } = change;
    let wire::RolledBack { jail, started, running, missing } = rolled_back.map_err(|error| {
        Problem::from(error).and("the jail may be off already; the recovery stays pending")
    })?;
    state.store.end_switch_off(&name, &jail).await?;
    let cleared = state.store.change_server(&name, |before, _now| {
        let (after, events) = clear_pending_recovery(before, Some(pending.detected_at))?;
        Ok::<_, RecoveryChanged>((!events.is_empty()).then_some((after, events)))
    });
    cleared.await?;
    state.store.request_probe(&name).await?;
    Ok(RolledBack { jail, started, running, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_recovery_is_a_conflict_that_names_the_one_there_is() {
        let detected_at = time::parse("2026-01-31T12:00:00.000001Z").unwrap();
        let problem = Problem::from(RecoveryChanged { detected_at });
        assert_eq!(problem.status(), StatusCode::CONFLICT);
        assert!(format!("{problem:?}").contains("2026-01-31T12:00:00.000001Z"));
    }
}
