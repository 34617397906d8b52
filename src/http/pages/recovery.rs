//! The decision about a pending recovery, and the request for a check: forms of the overview and of a server's page.

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::form::Form;
use super::jail_switches::{Outcome, answer};
use super::message::{Message, done, is_own, see_other};
use super::shell::Visitor;
use crate::actions::dismiss_recovery::{DismissError, dismiss};
use crate::actions::request_probe::request_probe;
use crate::actions::roll_back::{pending, roll_back};
use crate::actions::{Actor, ServerTarget};
use crate::domain::{JailChangeId, JailChangeKind, ServerName, Timestamp};
use crate::http::api::rolled_back::RolledBack;
use crate::http::api::time;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Rolls back, or dismisses. The form names the recovery that the user saw: a newer one is left alone.
pub async fn decide(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(server): Path<String>,
    form: Form,
) -> Result<Response> {
    let server = state.server(&server)?;
    let name = server.name.clone();
    let seen = time::parse(form.text("detected_at"));
    let seen = seen.ok_or_else(|| {
        Problem::malformed(
            "the form does not say which pending recovery it is about; nothing was changed: reload the page",
        )
    })?;
    let actor = visitor.actor.clone();
    let message = if form.text("do") == "roll_back" {
        match rolled_back(&state, &actor, server, seen).await {
            Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
            Ok(Outcome::Done(back)) => said(&name, &back),
            Err(problem) => Message::refused(&problem),
        }
    } else {
        match dismiss(&state, actor, name.clone(), Some(seen)).await {
            Ok(()) => Message::ok(format!("Dismissed. Nothing was changed on {name}.")),
            Err(DismissError::Changed(_)) => Message::bad("Nothing was dismissed.")
                .and(format!("Something else happened on {name} since: it is shown now.")),
            Err(error) => Message::refused(&error.into()),
        }
    };
    Ok(done(&state, &visitor.actor, &back(&form), message).await)
}

/// Rolls back the recovery that was seen.
async fn rolled_back(
    state: &AppState,
    actor: &Actor,
    server: ServerTarget,
    seen: Timestamp,
) -> Result<Outcome> {
    let pending = pending(state, &server.name, Some(seen)).await?;
    let target = server.jail(pending.jail_name.clone());
    let change = {
        let (context, actor, target) = (state.clone(), actor.clone(), target.clone());
        async move {
            let back = RolledBack::from(roll_back(&context, actor, target, pending).await?);
            serde_json::to_value(back).map_err(Problem::internal)
        }
    };
    answer(state, actor, &target, (JailChangeKind::RollBack, JailChangeId::of(rand::random())), change).await
}

/// The message about a rollback: which jails run again, and which do not.
fn said(server: &ServerName, back: &Value) -> Message {
    let how = if back["started"] == true { " and started fail2ban" } else { "" };
    let running = back["running"].as_array().map_or(0, Vec::len);
    let running = super::marks::counted(running as u64, "jail");
    let jail = back["jail"].as_str().unwrap_or_default();
    let title = format!("Switched {jail} off on {server}{how}. Running now: {running}.");
    let missing = back["missing"].as_object().into_iter().flatten();
    let missing: Vec<String> = missing
        .map(|(jail, why)| format!("{jail} does not run: {}.", why.as_str().unwrap_or_default()))
        .collect();
    if missing.is_empty() { Message::ok(title) } else { Message::wait(title).and(missing.join(" ")) }
}

/// Asks the leader to check a server now.
pub async fn check_again(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(server): Path<String>,
    form: Form,
) -> Result<Response> {
    let server = state.server(&server)?.name;
    let message = match request_probe(&state, server.clone()).await {
        Ok(()) => Message::ok(format!("{server} is being checked."))
            .and("What it answers is shown here within a few seconds."),
        Err(error) => Message::refused(&error.into()),
    };
    Ok(done(&state, &visitor.actor, &back(&form), message).await)
}

/// The page of the form, from its field `back`; else the overview.
fn back<const LIMIT: usize>(form: &Form<LIMIT>) -> String {
    let back = form.text("back");
    if is_own(back) { back.to_owned() } else { "/".to_owned() }
}
