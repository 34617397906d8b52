//! The caller's password. Changing it ends every session but the one that asks. Whoever has a session is limited in
//! trying passwords as whoever logs in is: it may be a stolen one.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::setup::{PASSWORD_BYTES, check_length};
use crate::http::auth::attempt::Attempt;
use crate::http::auth::author::Author;
use crate::http::error::{Problem, Result};
use crate::http::extract::Json;
use crate::http::state::AppState;

/// The body of the change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    current: String,
    /// 10 to 1,024 bytes.
    #[schema(min_length = 10, max_length = 1024)]
    new: String,
}

/// Sets another password, and ends every other session.
#[utoipa::path(put, path = "/api/v1/password", tag = "session", request_body = Change,
    responses((status = 204), (status = 403, description = "`current` is wrong, or the request comes from another site"),
        (status = 409, description = "Another changed it meanwhile"), (status = 429, description = "Too many attempts")))]
pub async fn change(
    State(state): State<AppState>,
    author: Author,
    Json(change): Json<Change>,
) -> Result<StatusCode> {
    check_length(&change.new)?;
    let attempt = Attempt::begin(&state, author.username(), author.address).await?;
    let outcome = replace(&state, &author, &change).await;
    attempt.settle(outcome, StatusCode::FORBIDDEN).await
}

async fn replace(state: &AppState, author: &Author, change: &Change) -> Result<StatusCode> {
    let caller = &author.caller.session;
    let account = state.store.account(&caller.username).await?.ok_or_else(Problem::no_session)?;
    let possible = change.current.len() <= *PASSWORD_BYTES.end();
    if !possible || !state.gate.verify(&change.current, Some(&account.password_hash)).await? {
        return Err(wrong_password());
    }
    let hash = state.gate.hash(&change.new).await?;
    let changing = state.store.change_password(&caller.username, &account, &hash, &caller.id).await;
    if matches!(changing, Ok(false)) {
        return Err(Problem::conflict(
            "password-changed",
            "The password was changed by another",
            "the password was changed while this change was under way; this one was not made",
        ));
    }
    author.note_done(state, "password.change", None, changing).await?;
    tracing::info!("the password of `{}` was changed, all other sessions ended", caller.username.as_str());
    Ok(StatusCode::NO_CONTENT)
}

/// 403, not 401: the session lives, and a 401 would take its cookie away.
fn wrong_password() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "wrong-password",
        "Wrong password",
        "`current` is not the password of this account; nothing was changed",
    )
}
