//! Ending sessions: one, all others, or all.

use axum::extract::State;
use axum::response::Response;

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

/// Ends what the form names: `others`, `all`, or the id of one.
pub async fn end(
    State(state): State<AppState>,
    AwaitRevocation(visitor): AwaitRevocation<Visitor>,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    let actor = visitor.actor.clone();
    let message = match form.text("end") {
        "all" => {
            revoke_all(&state, actor, false).await?;
            return Ok(logged_out(cookie));
        }
        "others" => {
            revoke_all(&state, actor, true).await?;
            Message::ok("All other sessions have ended.").and("This one continues.")
        }
        id => {
            let ended = match SessionId::parse(id) {
                Some(id) => revoke_one(&state, actor, id).await,
                None => Err(RevokeError::Unknown),
            };
            match ended {
                Ok(revoked) if revoked.own => return Ok(logged_out(cookie)),
                Ok(_) => Message::ok("The session has ended.").and("Whoever used it has to log in again."),
                Err(RevokeError::Unknown) => Message::ok("That session had ended before."),
                Err(error) => return Err(error.into()),
            }
        }
    };
    Ok(done(&state, &visitor.actor, "/account", message).await)
}
