//! The passkeys of the user's own account, on the page of its second factors: added by a script, since only a browser makes one, and removed
//! without.

use axum::extract::State;
use axum::response::Response;

use super::account_factors::{PATH, hand_over};
use super::confirm;
use super::form::Form;
use super::message::{Message, done};
use super::shell::Visitor;
use crate::actions::passkeys::{self, PasskeyError};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::PasskeyId;

/// Adds the passkey that the browser has made. Without one, it asks for the password: the script could not begin.
pub async fn add(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    let name = form.text("name").to_owned();
    if form.raw("credential").is_empty() {
        return match passkeys::begin(&state, &visitor.actor).await {
            Err(PasskeyError::Unconfirmed(_)) => confirm::ask(visitor, "Add a passkey", PATH, &form),
            Err(error) => Ok(done(&state, &visitor.actor, PATH, Message::refused(&error.into())).await),
            Ok(_) => {
                let message = Message::wait("One step is left.").and("Press Add a passkey once more.");
                Ok(done(&state, &visitor.actor, PATH, message).await)
            }
        };
    }
    // What is no JSON is nothing that a browser made.
    let credential = serde_json::from_str(form.raw("credential")).unwrap_or_default();
    let message = match passkeys::add(&state, visitor.actor.clone(), name, credential).await {
        Ok(added) => {
            let message = Message::ok(format!("The passkey {} is added.", added.passkey.name));
            let Some(codes) = added.codes else {
                return Ok(done(&state, &visitor.actor, PATH, message).await);
            };
            let message = message.and("From now on the password alone is not enough to log in.");
            return Ok(hand_over(&state, &visitor, cookie, message, &codes).await);
        }
        Err(PasskeyError::Store(error)) => return Err(error.into()),
        Err(error) => Message::refused(&Problem::from(error)),
    };
    Ok(done(&state, &visitor.actor, PATH, message).await)
}

/// Removes a passkey.
pub async fn remove(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let id = PasskeyId::parse(form.text("id")).ok_or(PasskeyError::Unknown)?;
    let message = match passkeys::remove(&state, visitor.actor.clone(), id).await {
        Ok(()) => Message::ok("The passkey is removed.").and("It can no longer log in."),
        Err(PasskeyError::Unknown) => Message::ok("That passkey was removed before."),
        Err(PasskeyError::Unconfirmed(_)) => return confirm::ask(visitor, "Remove a passkey", PATH, &form),
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, PATH, message).await)
}
