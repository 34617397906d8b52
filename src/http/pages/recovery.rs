//! The decision about a pending recovery, and asking for a check at once: forms of the overview and of a server's page.

use axum::extract::State;
use axum::response::Response;

use super::form::Form;
use super::message::{Message, done, is_own};
use super::shell::Visitor;
use crate::actions::dismiss_recovery::{DismissError, dismiss};
use crate::actions::request_probe::request_probe;
use crate::actions::roll_back::roll_back;
use crate::http::api::time;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Rolls back, or dismisses. The form names the recovery that was seen: another one since is left alone.
pub async fn decide(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(server): Path<String>,
    form: Form,
) -> Result<Response> {
    let server = state.server(&server)?;
    let name = server.name.clone();
    let seen = time::parse(form.text("detected_at"));
    let seen =
        seen.ok_or_else(|| Problem::malformed("the form does not name the recovery that was shown"))?;
    let actor = visitor.actor.clone();
    let message = if form.text("do") == "roll_back" {
        match roll_back(&state, actor, server, Some(seen)).await {
            Ok(back) => {
                let how = if back.started { " and started fail2ban" } else { "" };
                let running = super::marks::counted(back.running.len() as u64, "jail");
                let missing: Vec<String> =
                    back.missing.iter().map(|(jail, why)| format!("{jail} does not run: {why}.")).collect();
                let title = format!("Switched {} off on {name}{how}. {running} run.", back.jail);
                if missing.is_empty() {
                    Message::ok(title)
                } else {
                    Message::wait(title).and(missing.join(" "))
                }
            }
            Err(error) => Message::refused(&error.into()),
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

/// Asks the leader for a check at once.
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

/// The page that the form was on, as it says itself; else the overview.
fn back<const LIMIT: usize>(form: &Form<LIMIT>) -> String {
    let back = form.text("back");
    if is_own(back) { back.to_owned() } else { "/".to_owned() }
}
