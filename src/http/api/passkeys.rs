//! The caller's passkeys.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::time::Time;
use crate::actions::passkeys::{self, Added, PasskeyError};
use crate::domain::second_factor::RecoveryCode;
use crate::http::auth::actor::Person;
use crate::http::error::Result;
use crate::http::extract::{Json, Path};
use crate::http::state::AppState;
use crate::store::{PasskeyId, StoredPasskey};

/// A passkey.
#[derive(Serialize, ToSchema)]
pub struct PasskeyView {
    id: String,
    name: String,
    created_at: Time,
    /// `null` if it was never used.
    last_used_at: Option<Time>,
}

impl From<StoredPasskey> for PasskeyView {
    fn from(passkey: StoredPasskey) -> Self {
        Self {
            id: passkey.id.as_str().to_owned(),
            name: passkey.name,
            created_at: passkey.since.into(),
            last_used_at: passkey.used.map(Time::from),
        }
    }
}

/// The options with which a browser makes a passkey.
#[derive(Serialize, ToSchema)]
pub struct PasskeyOptions {
    /// For `navigator.credentials.create`, as JSON.
    #[schema(value_type = Object)]
    pub(super) options: Value,
}

/// Begins to add a passkey; it is to be added from the same session within five minutes. Needs a confirmed password.
#[utoipa::path(post, path = "/api/v1/factors/passkeys", tag = "session", responses((status = 200, body = PasskeyOptions),
    (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes"),
    (status = 409, description = "Passkeys cannot be used here, or you have too many")))]
pub async fn begin(
    State(state): State<AppState>,
    Person(actor): Person,
) -> Result<axum::Json<PasskeyOptions>> {
    Ok(axum::Json(PasskeyOptions { options: passkeys::begin(&state, &actor).await? }))
}

/// The passkey that a browser has made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// What you call it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What `navigator.credentials.create` gave, as JSON.
    #[schema(value_type = Object)]
    credential: Value,
}

/// A passkey that was added.
#[derive(Serialize, ToSchema)]
pub struct PasskeyAdded {
    passkey: PasskeyView,
    /// If it is the first second factor: recovery codes, which are not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// Adds the passkey that the browser has made.
#[utoipa::path(post, path = "/api/v1/factors/passkeys/finish", tag = "session", request_body = NewPasskey,
    responses((status = 201, body = PasskeyAdded), (status = 403, description = "Tokens may not do this; or the passkey is refused"),
        (status = 409, description = "No passkey is being added in this session; or it is known already")))]
pub async fn add(
    State(state): State<AppState>,
    Person(actor): Person,
    Json(NewPasskey { name, credential }): Json<NewPasskey>,
) -> Result<(StatusCode, axum::Json<PasskeyAdded>)> {
    let Added { passkey, codes } = passkeys::add(&state, actor, name, credential).await?;
    let shown = |codes: Vec<RecoveryCode>| codes.iter().map(RecoveryCode::shown).collect();
    let added = PasskeyAdded { passkey: passkey.into(), recovery_codes: codes.map(shown) };
    Ok((StatusCode::CREATED, axum::Json(added)))
}

/// Removes a passkey; without another second factor, the recovery codes too. Needs a confirmed password.
#[utoipa::path(delete, path = "/api/v1/factors/passkeys/{id}", tag = "session", params(("id" = String, Path)), responses((status = 204),
    (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes")))]
pub async fn remove(
    State(state): State<AppState>,
    Person(actor): Person,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = PasskeyId::parse(&id).ok_or(PasskeyError::Unknown)?;
    passkeys::remove(&state, actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
