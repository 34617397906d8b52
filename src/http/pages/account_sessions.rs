//! Ending sessions: one, all others, or all. It needs the password again (`confirm.rs`).

use axum::extract::State;
use axum::response::Response;

use super::confirm;
use super::form::Form;
use super::login::logged_out;
use super::message::{Message, done};
use super::shell::Visitor;
use crate::actions::revoke_sessions::{RevokeError, revoke_all, revoke_one};
use crate::http::auth::caller::AwaitRevocation;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::SessionId;

/// Ends the sessions that the form names: `others`, `all`, or the id of one.
pub async fn end(
    State(state): State<AppState>,
    AwaitRevocation(visitor): AwaitRevocation<Visitor>,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    let actor = visitor.actor.clone();
    let end = form.text("end");
    let ended = match (end, SessionId::parse(end)) {
        ("all" | "others", _) => revoke_all(&state, actor, end == "others").await,
        (_, Some(id)) => revoke_one(&state, actor, id).await,
        (_, None) => Err(RevokeError::Unknown),
    };
    let message = match ended {
        Ok(revoked) if revoked.own => return Ok(logged_out(cookie)),
        Ok(_) if end == "others" => Message::ok("All other sessions have ended.").and("This one continues."),
        Ok(_) => Message::ok("The session has ended.").and("Anyone who was using it has to log in again."),
        Err(RevokeError::Unknown) => Message::ok("That session had already ended."),
        Err(RevokeError::Unconfirmed(_)) => {
            let what = match end {
                "all" => "End all sessions, log out here",
                "others" => "End all other sessions",
                _ => "End one of your sessions",
            };
            return confirm::ask(visitor, what, "/account", &form);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, "/account", message).await)
}
